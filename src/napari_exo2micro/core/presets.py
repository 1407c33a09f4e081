"""Presets: parameters as a small file that the viewer and the command line take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from napari_exo2micro import __version__
from napari_exo2micro.core.defaults import (
    PARAMETER_REGISTRY,
    check_parameters,
    default_params,
    non_default_params,
)
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.json_files import write_json
from napari_exo2micro.core.parameter_entry import ParameterValue

__all__ = ["PRESET_FORMAT", "PRESET_VERSION", "load_preset", "save_preset"]

#: What a preset says that it is.
PRESET_FORMAT = "napari-exo2micro preset"

#: The version of the format that is written, and the newest one that is read.
PRESET_VERSION = 1

_ENTRIES = ("format", "version", "written_by", "parameters")
_MOST_BYTES = 100_000
_MOST_TOLD = 8
_FIX = "choose a file that was saved as a preset"


def save_preset(path: str | Path, params: Mapping[str, Any]) -> Path:
    """Write the parameters that differ from their defaults as a preset.

    The file is written whole or not at all; an older one is replaced.

    Parameters
    ----------
    path : str or Path
        The file, usually ``<name>.json``; its folder is made where it is missing.
    params : mapping
        Parameter name -> value, for example ``SampleDye.params``; a missing name
        counts as its default.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterError
        When a name is unknown or a value does not fit.
    OutputError
        When the file cannot be written.
    """
    changed = non_default_params(check_parameters({**default_params(), **params}))
    content = {
        "format": PRESET_FORMAT,
        "version": PRESET_VERSION,
        "written_by": f"napari-exo2micro {__version__}",
        "parameters": changed,
    }
    return write_json(path, content)


def load_preset(path: str | Path) -> dict[str, ParameterValue]:
    """Return the parameters of a preset, checked.

    Parameters
    ----------
    path : str or Path
        A file that `save_preset` wrote, or one written by hand in its form.

    Returns
    -------
    dict
        Parameter name -> value, in registry order: those that the file names.
        All others are meant to be at their defaults.

    Raises
    ------
    ParameterError
        When the file cannot be read, is no preset, or any of its entries is
        unknown or does not fit; the message names all of these.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = save_preset(Path(folder) / "wide.json", {"boundary_width": 20})
    ...     load_preset(path)
    {'boundary_width': 20}
    """
    path = Path(path)
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != PRESET_FORMAT:
        raise ParameterError(
            f"{path} is no preset: a preset has the entry "
            f'"format": "{PRESET_FORMAT}"; {_FIX}'
        )
    version = content.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ParameterError(
            f"the preset {path} must tell its version as a whole number from 1 to "
            f"{PRESET_VERSION}, found {_shown(version)}; {_FIX}"
        )
    if version > PRESET_VERSION:
        raise ParameterError(
            f"the preset {path} has version {version} of the format, this program "
            f"reads up to {PRESET_VERSION}; update napari-exo2micro"
        )
    values = content.get("parameters")
    if not isinstance(values, dict):
        raise ParameterError(
            f'the preset {path} must hold its values as "parameters": '
            f"{{name: value, ...}}, found {_shown(values)}; {_FIX}"
        )
    problems = _problems(content, values)
    if problems:
        raise ParameterError(
            f"the preset {path} cannot be used: {'; '.join(problems)}; correct the "
            "file, nothing was changed"
        )
    checked = check_parameters(values)
    return {name: checked[name] for name in PARAMETER_REGISTRY if name in checked}


def _read(path: Path) -> Any:
    """Return what a small JSON file holds."""
    try:
        if path.is_file():  # what is none, such as a pipe, could be waited for
            with path.open("rb") as file:
                raw = file.read(_MOST_BYTES + 1)
        else:
            what = "it is not a file" if path.exists() else "there is no such file"
            raise ParameterError(f"the preset {path} cannot be read: {what}; {_FIX}")
    except OSError as error:
        raise ParameterError(
            f"the preset {path} cannot be read: {error.strerror or error}; {_FIX}"
        ) from error
    if len(raw) > _MOST_BYTES:
        raise ParameterError(
            f"{path} is no preset: it has more than {_MOST_BYTES // 1000} kB, a "
            f"preset has a few; {_FIX}"
        )
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except ParameterError as error:
        raise ParameterError(f"the preset {path} cannot be used: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ParameterError(
            f"{path} is no preset: it is not JSON text ({error}); {_FIX}"
        ) from error


def _without_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ParameterError(f"{_shown(name)} comes twice; keep one of them")
        found[name] = value
    return found


def _problems(content: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return in words everything that keeps a preset from being used."""
    problems = [
        f"unknown entry {_shown(name)} beside the parameters"
        for name in content
        if name not in _ENTRIES
    ]
    known: dict[str, Any] = {}
    for name, value in values.items():
        entry = PARAMETER_REGISTRY.get(name)
        if entry is None:
            problems.append(_unknown(name))
            continue
        try:
            known[name] = entry.check(value)
        except ParameterError as error:
            problems.append(_shortened(str(error)))
    try:
        check_parameters({**default_params(), **known})
    except ParameterError as error:
        problems.append(str(error))
    more = len(problems) - _MOST_TOLD
    return problems[:_MOST_TOLD] + ([f"and {more} more"] if more > 0 else [])


def _unknown(name: str) -> str:
    """Return the words about a name that is no parameter, with the nearest one."""
    text = f"unknown parameter {_shown(name)}"
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    for entry in PARAMETER_REGISTRY.values():
        if plain == entry.abbreviation:
            return f"{text} (did you mean '{entry.name}'?)"
    near = get_close_matches(plain[:100], PARAMETER_REGISTRY, n=1)
    return f"{text} (did you mean '{near[0]}'?)" if near else text


def _shown(value: Any) -> str:
    return "nothing" if value is None else _shortened(repr(value), 60)


def _shortened(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
