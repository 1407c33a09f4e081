"""What is kept for a person: Preferences, what was used lately, presets."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import write_json

_PLUGIN = "napari-exo2micro"
_MOST = 8  # of each list of recent files


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the workbench begins with; folders that are not set are None.

    `workers` is how many pairs a batch works on at the same time.
    """

    raw_dir: Path | None = None
    output_dir: Path | None = None
    workers: int = 2
    checkpoint_format: str = "both"

    def output_dir_for(self, raw_dir: Path | str) -> Path:
        """Return where results of a raw folder go: as set, or beside that folder."""
        return self.output_dir or Path(raw_dir).absolute().parent / "processed"


def read_defaults() -> Defaults:
    """Return what is set; what is not set, or cannot be read, is as in `Defaults`."""
    try:
        from napari.settings import get_plugin_settings

        stored: Any = get_plugin_settings(_PLUGIN)
    except KeyError:  # napari does not know the plugin: a script, or it is disabled
        return Defaults()
    defaults = stored.defaults
    return Defaults(
        raw_dir=_folder(defaults.raw_folder),
        output_dir=_folder(defaults.output_folder),
        workers=defaults.workers,
        checkpoint_format=defaults.checkpoint_format,
    )


def default_source() -> dict[str, Any]:
    """Return the set folders and format as `Session.set_source` takes them."""
    defaults = read_defaults()
    output = defaults.output_dir
    if defaults.raw_dir is not None:
        output = defaults.output_dir_for(defaults.raw_dir)
    folders = {"raw_dir": defaults.raw_dir, "output_dir": output}
    known = {name: folder for name, folder in folders.items() if folder is not None}
    return {"checkpoint_format": defaults.checkpoint_format, **known}


def _folder(text: str) -> Path | None:
    return Path(text.strip()).expanduser() if text.strip() else None


def recent_file() -> Path | None:
    """Return where the lists are kept; None where napari keeps no settings."""
    from napari.settings import get_settings

    settings = get_settings().config_path
    return Path(settings).parent / "napari-exo2micro-recent.json" if settings else None


def recent(kind: str) -> list[str]:
    """Return what was used lately of a kind such as ``'raw folder'``, newest first."""
    return [path for path in _lists().get(kind, []) if isinstance(path, str)][:_MOST]


def remember(kind: str, path: Path | str) -> list[str]:
    """Put a path at the head of a list and return that; kept on disk where it can."""
    file, name = recent_file(), str(path)
    lists = _lists()
    others = [other for other in recent(kind) if other != name]
    lists[kind] = [name, *others[: _MOST - 1]]
    if file is None:
        return lists[kind]
    # A list of conveniences is not worth a message.
    with contextlib.suppress(OSError):
        write_json(file, lists)
    return lists[kind]


def _lists() -> dict[str, list[Any]]:
    file = recent_file()
    try:
        stored = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):  # a person may have damaged it
        return {}
    return {kind: paths for kind, paths in stored.items() if isinstance(paths, list)}


#: The list of recent files that presets are in.
PRESET = "preset"


@dataclass(frozen=True, slots=True)
class Preset:
    """A file and its parameters: those it names when it was read, all when written."""

    path: Path
    params: Mapping[str, parameters.ParameterValue]


def read_preset(path: Path) -> Preset:
    """Return what a preset says, and remember the file; see `load_preset`."""
    values = parameters.load_preset(path)
    remember(PRESET, path.absolute())
    return Preset(path, values)


def write_preset(preset: Preset) -> Preset:
    """Write a preset and remember its file; see `save_preset`."""
    parameters.save_preset(preset.path, preset.params)
    remember(PRESET, preset.path.absolute())
    return preset


def last_folder() -> Path:
    """Return where a dialog begins: where the last preset was, if that is there."""
    folders = [Path(file).parent for file in recent(PRESET)]
    return next((folder for folder in folders if folder.is_dir()), Path.home())
