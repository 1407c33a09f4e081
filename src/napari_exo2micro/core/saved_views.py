"""Saved views: places that somebody wants to find again, as a small file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from napari_exo2micro import __version__
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.json_files import read_json, write_json

__all__ = ["VIEWS_FILE", "VIEWS_FORMAT", "SavedView", "load_views", "save_views"]

#: The file's name next to the results of a sample and dye.
VIEWS_FILE = "saved_views.json"

#: What a file of saved views says that it is.
VIEWS_FORMAT = "napari-exo2micro views"

_VERSION = 1
_MOST_BYTES = 10_000_000
_FIX = "choose a file that was written with 'Write list'"


@dataclass(frozen=True, slots=True)
class SavedView:
    """A place with a name: where the viewer looks and where the zoom box is.

    Attributes
    ----------
    name : str
        As a person called it.
    row, column : float
        Middle of the view, px of the raw post-stain image.
    zoom : float
        Screen pixels for one pixel of the image.
    box_row, box_column, box_size : int
        Middle and side of the zoom box, px of the raw post-stain image.
    blur : float
        Sigma of the zoom box's blur, px.
    sample, dye : str
        Whose image it was.
    """

    name: str
    row: float
    column: float
    zoom: float
    box_row: int
    box_column: int
    box_size: int
    blur: float = 0.0
    sample: str = ""
    dye: str = ""


def save_views(path: str | Path, views: Iterable[SavedView]) -> Path:
    """Write views as a JSON file, whole or not at all.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    content = {
        "format": VIEWS_FORMAT,
        "version": _VERSION,
        "written_by": f"napari-exo2micro {__version__}",
        "views": [asdict(view) for view in views],
    }
    return write_json(path, content)


def load_views(path: str | Path) -> list[SavedView]:
    """Return the views of a file that `save_views` wrote.

    Raises
    ------
    ParameterError
        When the file cannot be read or holds something else; the message names the
        entry.
    """
    path = Path(path)
    try:
        content = read_json(path, _MOST_BYTES)
    except OSError as error:
        raise ParameterError(
            f"the saved views {path} cannot be read: {error.strerror or error}; {_FIX}"
        ) from error
    except ValueError as error:
        raise ParameterError(
            f"{path} holds no saved views: it is not a list of some kB as JSON text "
            f"({error}); {_FIX}"
        ) from error
    if not isinstance(content, dict) or content.get("format") != VIEWS_FORMAT:
        raise ParameterError(
            f'{path} holds no saved views: it lacks "format": "{VIEWS_FORMAT}"; {_FIX}'
        )
    version = content.get("version")
    if version != _VERSION:
        raise ParameterError(
            f"the saved views {path} have version {version!r} of the format, this "
            f"program reads {_VERSION}; update napari-exo2micro"
        )
    entries = content.get("views")
    if not isinstance(entries, list):
        raise ParameterError(f"{path} holds no list of views; {_FIX}")
    return [_view(path, number, entry) for number, entry in enumerate(entries, 1)]


def _view(path: Path, number: int, entry: Any) -> SavedView:
    """Return one view, or say what is wrong with it."""
    where = f"view {number} of {path}"
    if not isinstance(entry, dict):
        raise ParameterError(f"{where} is no view (found {entry!r:.60}); {_FIX}")
    values: dict[str, Any] = {}
    for field in fields(SavedView):
        if field.name not in entry:
            if field.name in ("blur", "sample", "dye"):
                continue
            raise ParameterError(f"{where} lacks '{field.name}'; {_FIX}")
        value = entry[field.name]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if field.type == "str":
            fits = isinstance(value, str)
        else:
            fits = is_number and math.isfinite(value)
            if field.name in ("zoom", "box_size"):
                fits = fits and value > 0
        if not fits:
            raise ParameterError(
                f"{where} has an impossible '{field.name}': {value!r:.60}; correct it"
            )
        values[field.name] = (
            value
            if field.type == "str"
            else (int(value) if field.type == "int" else float(value))
        )
    return SavedView(**values)
