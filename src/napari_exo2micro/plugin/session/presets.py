"""Presets on disk, as jobs read and write them: a network drive may take its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.parameters import ParameterValue, load_preset, save_preset
from napari_exo2micro.plugin.session.settings import recent, remember

#: The list of recent files that presets are in.
PRESET = "preset"


@dataclass(frozen=True, slots=True)
class Preset:
    """Parameters and their file.

    Attributes
    ----------
    path : Path
        The file.
    params : mapping
        Parameter name -> value: those that the file names when it was read, all
        when it was written.
    """

    path: Path
    params: Mapping[str, ParameterValue]


def read_preset(path: Path, monitor: Monitor) -> Preset:
    """Return what a preset says, and remember the file.

    Raises
    ------
    ParameterError
        When the file cannot be read or used; see `core.presets.load_preset`.
    """
    values = load_preset(path)
    monitor.check()
    remember(PRESET, path.absolute())
    return Preset(path, values)


def write_preset(preset: Preset, monitor: Monitor) -> Preset:
    """Write a preset and remember its file.

    Raises
    ------
    OutputError
        When the file cannot be written; see `core.presets.save_preset`.
    """
    monitor.check()
    save_preset(preset.path, preset.params)
    remember(PRESET, preset.path.absolute())
    return preset


def last_folder(monitor: Monitor) -> Path:
    """Return where a dialog begins: where the last preset was, if that is there."""
    monitor.check()
    folders = [Path(file).parent for file in recent(PRESET)]
    return next((folder for folder in folders if folder.is_dir()), Path.home())
