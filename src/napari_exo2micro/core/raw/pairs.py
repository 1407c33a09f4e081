"""The pairs that a file or a folder stands for, whichever one a person chose."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_exo2micro.core.errors import RawDataError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw.files import DyeFiles, RawFiles, classify_raw_files
from napari_exo2micro.core.raw.names import is_tiff_name, parse_raw_name

__all__ = ["FoundPairs", "PairFiles", "find_pairs", "may_be_raw"]

_MOST_FOLDERS = 2000
_SURE = ("prestain", "poststain", "pre-stain", "post-stain", "pre_stain", "post_stain")


@dataclass(frozen=True, slots=True)
class PairFiles:
    """The two files of one sample and dye.

    Attributes
    ----------
    sample, dye : str
        From the folder's and the files' names.
    post, pre : pathlib.Path
        The files.
    """

    sample: str
    dye: str
    post: Path
    pre: Path

    @property
    def raw_dir(self) -> Path:
        """The raw folder: the one that holds the sample's folder."""
        return self.post.parent.parent


@dataclass(frozen=True, slots=True)
class FoundPairs:
    """What a file or a folder stands for.

    Attributes
    ----------
    pairs : tuple of PairFiles
        The complete pairs, by sample and dye.
    problems : tuple of str
        What is wrong with others, and the fix, one line each.
    """

    pairs: tuple[PairFiles, ...] = ()
    problems: tuple[str, ...] = ()


def may_be_raw(path: Path | str, monitor: Monitor | None = None) -> bool:
    """Tell from names alone whether a file or a folder is for us.

    A file is when its name and that of another one beside it make a pair, or when
    it says ``PreStain`` or ``PostStain``; a folder when it, or one of the folders in
    it, holds such files.

    Parameters
    ----------
    path : pathlib.Path or str
        What a person chose; it may not exist.
    monitor : Monitor, optional
        Asked between the folders whether to stop.
    """
    path, monitor = _absolute(path), monitor or Monitor()
    if path.is_dir():
        if _holds_raw(path):
            return True
        for folder in _folders(path):
            monitor.check()
            if _holds_raw(folder):
                return True
        return False
    if not is_tiff_name(path.name) or parse_raw_name(path).dye is None:
        return False
    return _is_sure(path) or _both_sides(_own_dye(path))


def find_pairs(path: Path | str, monitor: Monitor | None = None) -> FoundPairs:
    """Find the pairs that a file or a folder stands for.

    Parameters
    ----------
    path : pathlib.Path or str
        One file of a pair, the folder of a sample, or the raw folder.
    monitor : Monitor, optional
        Told the progress, and asked between the folders whether to stop.

    Returns
    -------
    FoundPairs
        For a file the pair that it belongs to.

    Raises
    ------
    RawFileNotFoundError
        If a folder cannot be listed.
    """
    path = _absolute(path)
    if not path.is_dir():
        return _pairs_of(path.parent.name, [_own_dye(path)])
    own = classify_raw_files(path)
    if own.dyes:
        return _in_folder(own)
    folders, monitor = _folders(path), monitor or Monitor()
    found = []
    for index, folder in enumerate(folders):
        monitor.report(index / len(folders), folder.name)
        found.append(_in_folder(classify_raw_files(folder)))
    return FoundPairs(
        tuple(pair for one in found for pair in one.pairs),
        tuple(text for one in found for text in one.problems),
    )


def _absolute(path: Path | str) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are named


def _folders(path: Path) -> list[Path]:
    try:
        entries = sorted(path.iterdir())
    except OSError:
        return []
    folders = (one for one in entries if not one.name.startswith(".") and one.is_dir())
    return [folder for folder, _ in zip(folders, range(_MOST_FOLDERS), strict=False)]


def _own_dye(path: Path) -> DyeFiles:
    """Return the files of the dye that a file's name tells."""
    dye = parse_raw_name(path).dye or ""
    try:
        known = classify_raw_files(path.parent).dyes.get(dye)
    except RawDataError:
        known = None
    return known or DyeFiles(dye)


def _both_sides(files: DyeFiles) -> bool:
    return bool(files.post and files.pre)


def _is_sure(path: Path) -> bool:
    return any(word in path.name.lower() for word in _SURE)


def _holds_raw(folder: Path) -> bool:
    try:
        dyes = classify_raw_files(folder).dyes.values()
    except RawDataError:
        return False
    return any(
        _both_sides(files) or any(map(_is_sure, (*files.post, *files.pre)))
        for files in dyes
    )


def _in_folder(found: RawFiles) -> FoundPairs:
    pairs = _pairs_of(found.folder.name, found.dyes.values())
    return FoundPairs(pairs.pairs, found.warnings)


def _pairs_of(sample: str, dyes: Iterable[DyeFiles]) -> FoundPairs:
    pairs, problems = [], []
    for files in dyes:
        if files.is_complete:
            pairs.append(PairFiles(sample, files.dye, files.post[0], files.pre[0]))
        elif problem := files.problem():
            problems.append(f"{sample}: {problem}")
    return FoundPairs(tuple(pairs), tuple(problems))
