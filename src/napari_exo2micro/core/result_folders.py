"""Finding checkpoints in folders by their names; nothing is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from napari_exo2micro.core.checkpoint_names import parse_checkpoint_name
from napari_exo2micro.core.monitor import Monitor

__all__ = [
    "FORMATS",
    "checkpoint_files",
    "find_result_folders",
    "holds_results",
    "may_be_checkpoint",
]

#: The folders of a sample and dye, which are the formats of the files in them.
FORMATS = ("tiff", "fits")

_MOST_ENTRIES = 2000
_HEAD = 1 << 16
_MARK = b"napari-exo2micro"


def find_result_folders(
    path: Path | str, monitor: Monitor | None = None
) -> tuple[Path, ...]:
    """Return the ``<sample>/<dye>`` folders with checkpoints, in and below a folder.

    Parameters
    ----------
    path : Path or str
        Such a folder, one of the folders in it, the folder of a sample, or the
        output folder. Of large folders the first 2000 entries are looked at.
    monitor : Monitor, optional
        Asked between the folders whether to stop.
    """
    return tuple(sorted(_result_folders(Path(path).absolute(), monitor or Monitor())))


def holds_results(path: Path | str, monitor: Monitor | None = None) -> bool:
    """Tell whether `find_result_folders` finds any; looks no further than the first.

    Parameters
    ----------
    path : Path or str
        A folder.
    monitor : Monitor, optional
        Asked between the folders whether to stop.
    """
    found = _result_folders(Path(path).absolute(), monitor or Monitor())
    return next(found, None) is not None


def _result_folders(path: Path, monitor: Monitor) -> Iterator[Path]:
    if path.name in (*FORMATS, "pipeline_output") and _has_results(path.parent):
        yield path.parent
    elif _has_results(path):
        yield path
    else:
        rest = []
        for sample in _folders([path]):
            monitor.check()
            if _has_results(sample):
                yield sample
            else:
                rest.append(sample)
        for folder in _folders(rest):
            monitor.check()
            if _has_results(folder):
                yield folder


def checkpoint_files(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints of a sample and dye, TIFFs first, each kind by name.

    Parameters
    ----------
    folder : Path
        ``<output_dir>/<sample>/<dye>``.
    """
    for kind in FORMATS:
        try:
            paths = sorted((folder / kind).iterdir())
        except OSError:
            continue
        for path in paths:
            if path.suffix == f".{kind}" and parse_checkpoint_name(path) is not None:
                yield path


def may_be_checkpoint(path: Path | str) -> bool:
    """Tell whether a file is one of ours by its name or its first bytes.

    Parameters
    ----------
    path : Path or str
        A file; one that cannot be opened is none of ours.
    """
    path = Path(path)
    if parse_checkpoint_name(path) is not None:
        return True
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_HEAD)
    except OSError:
        return False


def _has_results(folder: Path) -> bool:
    return next(checkpoint_files(folder), None) is not None


def _folders(parents: Iterable[Path]) -> list[Path]:
    """Return the visible folders in some folders."""
    found: list[Path] = []
    for parent in parents:
        try:
            for index, entry in enumerate(parent.iterdir()):
                if index >= _MOST_ENTRIES or len(found) >= _MOST_ENTRIES:
                    break
                if not entry.name.startswith(".") and entry.is_dir():
                    found.append(entry)
        except OSError:
            continue
    return found
