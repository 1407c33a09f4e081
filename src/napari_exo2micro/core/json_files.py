"""Small JSON files: written whole, and read whoever wrote or damaged them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_exo2micro.core.errors import OutputError
from napari_exo2micro.core.whole_files import replace_file

__all__ = ["read_json", "write_json"]


def read_json(path: Path | str, most_bytes: int = 50_000_000) -> Any:
    """Return what a JSON file holds.

    Parameters
    ----------
    path : Path or str
        The file. A pipe or a device is not waited for.
    most_bytes : int
        A larger file is not read.

    Raises
    ------
    OSError
        When there is no such file, or it cannot be read.
    ValueError
        When it is too large, no text, no JSON, or nested too deeply.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.json"
    ...     _ = path.write_text("[1, 2]")
    ...     read_json(path)
    [1, 2]
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        raw = file.read(most_bytes + 1)
    if len(raw) > most_bytes:
        raise ValueError(f"it has more than {most_bytes} bytes")
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_json(path: Path | str, content: Any) -> Path:
    """Write a JSON file, whole or not at all.

    Parameters
    ----------
    path : Path or str
        The file; its folder is made.
    content : object
        What JSON can hold; no NaN.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        When it cannot be written; a file of that name stays as it was.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(
            f"cannot write {path}: it is a folder; give the name of a file in it"
        )
    with replace_file(path) as part:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")
    return path
