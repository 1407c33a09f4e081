"""The files of a sample: sorted by dye and stain, and found by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_exo2micro.core.errors import RawDataError, RawFileNotFoundError
from napari_exo2micro.core.raw.names import (
    ParsedName,
    check_name,
    is_tiff_name,
    normalise,
    parse_raw_name,
)

__all__ = [
    "DyeFiles",
    "RawFiles",
    "classify_raw_files",
    "find_pair",
    "list_dyes",
    "list_samples",
]

EXPECTED = "<sample>/<anything>Pre<anything>_<Dye>.tif and the same with Post"


@dataclass(frozen=True, slots=True)
class DyeFiles:
    """The files of one dye of a sample.

    Attributes
    ----------
    dye : str
        The dye.
    post, pre : tuple of pathlib.Path
        The post-stain and pre-stain files, sorted; one each when all is well.
    """

    dye: str
    post: tuple[Path, ...] = ()
    pre: tuple[Path, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Exactly one post and one pre file."""
        return len(self.post) == 1 and len(self.pre) == 1

    @property
    def has_duplicates(self) -> bool:
        """More than one file on a side."""
        return len(self.post) > 1 or len(self.pre) > 1

    def problem(self) -> str:
        """Return what is wrong with its fix, in one line; empty when complete.

        Returns
        -------
        str
            What was wanted, what was found, and what to do.
        """
        for side, files in (("post", self.post), ("pre", self.pre)):
            if len(files) > 1:
                names = ", ".join(path.name for path in files)
                return (
                    f"{len(files)} {side}-stain files for dye '{self.dye}', 1 wanted: "
                    f"{names}; move all but one of them away"
                )
        for side, files, other in (
            ("post", self.post, self.pre),
            ("pre", self.pre, self.post),
        ):
            if not files and other:
                return (
                    f"no {side}-stain file for dye '{self.dye}' beside "
                    f"{other[0].name}; add a file with '{side}' in its name that "
                    f"ends with '_{self.dye}.tif'"
                )
        return ""


@dataclass(frozen=True, slots=True)
class RawFiles:
    """All TIFF files of one sample folder, sorted by what their names say.

    Attributes
    ----------
    folder : pathlib.Path
        The sample folder.
    dyes : mapping of str to DyeFiles
        By dye, in alphabetical order.
    problems : tuple of ParsedName
        Files whose names cannot be used, each with a message.
    """

    folder: Path
    dyes: Mapping[str, DyeFiles] = field(default_factory=dict)
    problems: tuple[ParsedName, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each problem, of names and of pairs."""
        pairs = (files.problem() for files in self.dyes.values())
        return tuple(
            [f"{self.folder.name}: {text}" for text in pairs if text]
            + [f"{self.folder.name}: {parsed.message}" for parsed in self.problems]
        )


def classify_raw_files(sample_dir: Path | str) -> RawFiles:
    """Sort the TIFF files of a sample folder by dye and stain.

    Hidden files and files that are no TIFFs by name are left out.

    Parameters
    ----------
    sample_dir : pathlib.Path or str
        The folder of one sample.

    Returns
    -------
    RawFiles
        Files by dye, and the files whose names cannot be used.

    Raises
    ------
    RawFileNotFoundError
        If the folder does not exist or cannot be listed.
    """
    folder = Path(sample_dir)
    post: dict[str, list[Path]] = {}
    pre: dict[str, list[Path]] = {}
    problems = []
    for path in tiffs_in(folder):
        parsed = parse_raw_name(path)
        if parsed.dye is None:
            problems.append(parsed)
        else:
            side = pre if parsed.stain == "pre" else post
            side.setdefault(parsed.dye, []).append(path)
    dyes = {
        dye: DyeFiles(dye, tuple(post.get(dye, ())), tuple(pre.get(dye, ())))
        for dye in sorted(post.keys() | pre.keys())
    }
    return RawFiles(folder, dyes, tuple(problems))


def list_samples(raw_dir: Path | str = "raw") -> tuple[str, ...]:
    """Return the names of the sample folders, in alphabetical order.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    tuple of str
        Names of folders; whether they hold pairs is not looked at.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder does not exist or cannot be listed.
    """
    raw_dir = Path(raw_dir)
    return tuple(name for name in _names(raw_dir) if (raw_dir / name).is_dir())


def list_dyes(
    sample: str | None = None,
    raw_dir: Path | str = "raw",
    *,
    complete_only: bool = True,
) -> tuple[str, ...]:
    """Return the dyes of one sample, or of all samples together.

    Parameters
    ----------
    sample : str, optional
        One sample; all of them by default.
    raw_dir : pathlib.Path or str
        The raw folder.
    complete_only : bool
        Leave out dyes without exactly one post and one pre file.

    Returns
    -------
    tuple of str
        In alphabetical order.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder or the sample folder does not exist.
    """
    if sample is None:
        folders = [Path(raw_dir) / name for name in list_samples(raw_dir)]
    else:
        folders = [sample_folder(sample, Path(raw_dir))]
    dyes = {
        dye
        for folder in folders
        for dye, files in classify_raw_files(folder).dyes.items()
        if files.is_complete or not complete_only
    }
    return tuple(sorted(dyes))


def find_pair(
    sample: str, dye: str, raw_dir: Path | str = "raw"
) -> tuple[Path, Path, tuple[str, ...]]:
    """Find the two files of a pair.

    Parameters
    ----------
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    post_path, pre_path : pathlib.Path
        The files.
    warnings : tuple of str
        Files of the same sample whose names cannot be used.

    Raises
    ------
    RawFileNotFoundError
        If the sample folder, the dye or one of its sides does not exist.
    RawDataError
        If a side has more than one file.
    ParameterError
        If a name is not safe as a folder name.
    """
    check_name("dye", dye)
    folder = sample_folder(sample, Path(raw_dir))
    found = classify_raw_files(folder)
    files = found.dyes.get(normalise(dye))
    if files is None:
        raise RawFileNotFoundError(_no_such_dye(dye, found))
    if files.has_duplicates:
        raise RawDataError(f"{folder}: {files.problem()}")
    if not files.is_complete:
        raise RawFileNotFoundError(f"{folder}: {files.problem()}")
    warnings = tuple(f"{folder.name}: {parsed.message}" for parsed in found.problems)
    return files.post[0], files.pre[0], warnings


def _names(folder: Path) -> list[str]:
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError as error:
        raise RawFileNotFoundError(
            f"{folder}: the folder does not exist; check the path"
        ) from error
    except NotADirectoryError as error:
        raise RawFileNotFoundError(
            f"{folder}: is a file, not a folder; name the folder that holds it"
        ) from error
    except OSError as error:
        raise RawFileNotFoundError(
            f"{folder}: cannot be listed ({error.strerror}); check its permissions"
        ) from error
    return sorted(name for name in names if not name.startswith("."))


def tiffs_in(folder: Path) -> list[Path]:
    """Return the visible TIFF files of a folder, sorted by name."""
    # a link whose target is gone is kept: reading it then says so
    return [
        folder / name
        for name in _names(folder)
        if is_tiff_name(name) and not (folder / name).is_dir()
    ]


def sample_folder(sample: str, raw_dir: Path) -> Path:
    """Return the folder of a sample, or say which samples there are."""
    check_name("sample", sample)
    samples = list_samples(raw_dir)
    # compared by name: a file system that ignores case would find 'cd070' too
    for name in samples:
        if normalise(name) == normalise(sample):
            return raw_dir / name
    hint = _like(sample, samples)
    if (raw_dir / sample).is_file():
        hint = "; it is a file there"
    listed = f"samples there: {some(samples)}" if samples else "it has no samples"
    raise RawFileNotFoundError(
        f"{raw_dir}: no folder for sample '{sample}'{hint}; {listed}"
    )


def _no_such_dye(dye: str, found: RawFiles) -> str:
    hint = _like(dye, found.dyes)
    if "_" in dye:
        hint = (
            "; a dye has no underscore, it is what follows the last one in the file "
            f"name: ask for '{dye.rpartition('_')[2]}'?"
        )
    if found.dyes:
        listed = f"dyes there: {some(tuple(found.dyes))}"
    elif found.problems:
        listed = f"no file name there can be used ({found.problems[0].message})"
    else:
        listed = f"it holds no TIFFs; add {EXPECTED}"
    return f"{found.folder}: no file for dye '{dye}'{hint}; {listed}"


def _like(name: str, names: Iterable[str]) -> str:
    names = tuple(names)
    for other in names:
        if other.casefold() == normalise(name).casefold():
            return f" (case matters: there is '{other}')"
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def some(names: Sequence[str], limit: int = 8) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown
