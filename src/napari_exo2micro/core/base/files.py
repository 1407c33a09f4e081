"""Files and folders of results: written whole or not at all, asked before a run."""

import csv
import errno
import glob
import hashlib
import io
import json
import os
import platform
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from napari_exo2micro.core.base.errors import OutputError

# Process numbers mean something on one's own machine only.
_HOST = re.sub("[^A-Za-z0-9-]", "", platform.node())[:20] or "host"
_LONG_PATH = 240  # from here on Windows may not find it
_LEFT_BEHIND = ("Thumbs.db", "desktop.ini")  # by file managers


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a folder, sorted by name; hidden entries are left out."""

    folder: Path
    folders: tuple[str, ...]
    files: tuple[str, ...]  # links whose target is gone are among them


def list_folder(folder: Path) -> Listing:
    """List a folder once; whatever cannot be listed is an `OSError`.

    What an entry is comes with its name on most file systems, so that large folders
    on network drives need no question for each entry.
    """
    names: tuple[list[str], list[str]] = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                names[_is_folder(entry)].append(entry.name)
    files, folders = map(tuple, map(sorted, names))
    return Listing(folder, folders, files)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that goes in a circle, or to where one may not look
        return False


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary name in the folder of `path`; it becomes `path` at the end.

    On any error the temporary file is removed and `path` stays as it was. After a
    power cut there is either what was there before or the whole new file.

    Raises
    ------
    OutputError
        When the folder or the file cannot be written.
    """
    with replace_files([path]) as (part,):
        yield part


@contextmanager
def replace_files(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give temporary names for several files, see `replace_file`."""
    parts: list[Path] = []
    try:
        for path in paths:
            _make_folder(path.parent)
            _remove_leftovers(path)
            parts.append(path.with_name(_temporary_name(path)))
        yield parts
        # All contents before any name: a name must never stand for pages that were
        # not written yet.
        for part in parts:
            sync_file(part)
        for path, part in zip(paths, parts, strict=True):
            part.replace(path)
            _sync_folder(path.parent)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise output_error(paths[0], error) from error
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _temporary_name(path: Path) -> str:
    return f".{path.name}.{_HOST}.{os.getpid()}.{secrets.token_hex(4)}.part"


def _remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while writing `path` left behind."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.{_HOST}.*.part"):
        pid = part.name.removesuffix(".part").split(".")[-2]
        if not pid.isdigit() or not psutil.pid_exists(int(pid)):
            with suppress(OSError):
                part.unlink()


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they last through a power cut."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync_folder(new.parent)


def sync_file(path: Path) -> None:
    """Have the disk take a file's content: it lasts through a power cut then.

    Raises
    ------
    OSError
        When the disk cannot take it, for one that is full.
    """
    with path.open("r+b") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            # some network and user file systems know no such request
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
                raise


class Stamp(NamedTuple):
    """What changes when a file is written again, or another takes its name."""

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int


def stamp(path: Path) -> Stamp:
    """Return the stamp of a file, or of an image that is a folder of files.

    That of a folder has the latest times and all bytes of its files; its number stands
    for names, sizes, times and numbers of all of them.
    """
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        return _stamp_of(status)
    stamps = {name: _stamp_of(status) for name, status in files_below(path).items()}
    if not stamps:
        return Stamp(status.st_mtime_ns, status.st_ctime_ns, 0, status.st_ino)
    mtimes, ctimes, sizes, _ = zip(*stamps.values(), strict=True)
    marks = hashlib.sha256(repr(tuple(stamps.items())).encode(errors="replace"))
    number = int.from_bytes(marks.digest()[:6])  # JSON of any program holds it
    return Stamp(max(mtimes), max(ctimes), sum(sizes), number)


def _stamp_of(status: os.stat_result) -> Stamp:
    times = status.st_mtime_ns, status.st_ctime_ns
    return Stamp(*times, status.st_size, status.st_ino)


def files_below(folder: Path) -> dict[str, os.stat_result]:
    """Return all files of an image that is a folder, by name in it, in order.

    Not those that file managers leave behind. Names have ``/``.
    """
    found: dict[str, os.stat_result] = {}
    for place, _, names in os.walk(folder, onerror=_raise):
        own = os.path.relpath(place, folder).replace(os.sep, "/")
        for name in names:
            is_left = name.startswith(".") and not name.startswith(".z")
            if not is_left and name not in _LEFT_BEHIND:
                status = os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118
                found[name if own == "." else f"{own}/{name}"] = status
    return dict(sorted(found.items()))


def _raise(error: OSError) -> None:
    raise error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a small file's bytes; empty where there is no such file.

    Each version of a file is read once.
    """
    try:
        return _digest(path, stamp(path)) if path.is_file() else ""
    except OSError:
        return ""


@lru_cache(maxsize=512)
def _digest(path: Path, _stamp: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the error that says why a file could not be written, and what to do."""
    not_permitted = "writing there is not permitted; choose another folder"
    no_folder = "a part of the path is a file; choose another folder"
    reasons = {
        errno.ENOSPC: "the disk is full; free some space and run again",
        errno.EDQUOT: "your disk quota is used up; free some space and run again",
        errno.EACCES: not_permitted,
        errno.EPERM: not_permitted,
        errno.EROFS: "that disk is read-only; choose another folder",
        errno.ENOTDIR: no_folder,
        errno.EEXIST: no_folder,
        errno.ENAMETOOLONG: "that name is too long; choose a shorter output folder",
    }
    if error.errno in (errno.ENOENT, errno.EINVAL) and len(str(path)) > _LONG_PATH:
        error = OSError(errno.ENAMETOOLONG, "")
    reason = reasons.get(error.errno or 0, f"{error.strerror or error}; run again")
    return OutputError(f"cannot write {path}: {reason}")


def read_json(path: Path | str, most_bytes: int = 50_000_000) -> Any:
    """Return what a JSON file holds; a pipe or a device is not waited for.

    Raises
    ------
    OSError
        When there is no such file, or it cannot be read.
    ValueError
        When it is larger than `most_bytes`, no text, no JSON, or nested too deeply.
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


def read_rows(
    path: Path | str, most_bytes: int = 10_000_000
) -> list[tuple[int, list[str]]]:
    """Return the rows of a table as programs and people write it.

    Commas, semicolons or tabs between the cells, whichever the first row has most of;
    a mark of the encoding and a line ``sep=`` are passed over, and so are empty rows.

    Parameters
    ----------
    path : Path or str
        The file.
    most_bytes : int
        What it may have at most.

    Returns
    -------
    list of (int, list of str)
        The number of each row in the file, and its cells without blanks around them.

    Raises
    ------
    OSError
        When there is no such file, or it cannot be read.
    ValueError
        When it is larger than `most_bytes`, not UTF-8, or no table.
    """
    with Path(path).open("rb") as file:
        raw = file.read(most_bytes + 1)
    if len(raw) > most_bytes:
        raise ValueError(f"it has more than {most_bytes} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8; save it as 'CSV UTF-8'") from error
    head, _, body = text.partition("\n")
    first = 1
    if head.strip().lower().startswith("sep="):  # a hint for spreadsheets
        text, first = body, 2
        head = body.partition("\n")[0]
    separator = max(";\t,", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = [(reader.line_num + first - 1, row) for row in reader]
    except csv.Error as error:
        raise ValueError(f"row {reader.line_num}: {error}") from error
    return [(n, cells) for n, row in rows if any(cells := [c.strip() for c in row])]


def json_text(content: Any, *, indent: int | None = 2) -> str:
    """Return what JSON can hold, no NaN, as the text of a file."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def write_json(path: Path | str, content: Any, *, indent: int | None = 2) -> Path:
    """Write what JSON can hold, no NaN, to a file, and return its path.

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
        part.write_text(json_text(content, indent=indent), encoding="utf-8")
    return path


def output_problem(output_dir: Path | str, raw_dir: Path | str | None = None) -> str:
    """Return why results cannot go to a folder, with the fix; empty when they can.

    Parameters
    ----------
    output_dir : Path or str
        Where results would go; it need not exist.
    raw_dir : Path or str, optional
        The raw folder, which results must stay out of: its folders are samples.

    Examples
    --------
    >>> output_problem("raw/processed", "raw").partition(":")[2]
    ' it lies in the raw folder; choose a folder outside of it'
    """
    try:
        output = Path(os.path.abspath(output_dir))  # noqa: PTH100 - links stay as named
        raw = None if raw_dir is None else Path(raw_dir).resolve()
    except FileNotFoundError:  # of a relative path
        return (
            "the folder that this program was started in was removed; change to one "
            "that exists and start it again"
        )
    if raw is not None:
        real = output.resolve()
        if _is_same(real, raw):
            return (
                f"Results cannot go to {output}: it is the raw folder; choose "
                "another folder, best beside it"
            )
        if any(_is_same(folder, raw) for folder in real.parents):
            return (
                f"Results cannot go to {output}: it lies in the raw folder; choose a "
                "folder outside of it"
            )
    there = output
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        what = "is a file" if there.exists() else "leads nowhere"
        return f"Results cannot go to {output}: {there} {what}; choose another folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return (
            f"Results cannot go to {output}: writing in {there} is not permitted; "
            "choose another folder"
        )
    return ""


def _is_same(first: Path, second: Path) -> bool:
    """Return whether two paths are one folder: letters may differ in their case."""
    if first == second:
        return True
    with suppress(OSError):
        return first.samefile(second)
    return False


def check_output(output_dir: Path | str, raw_dir: Path | str | None = None) -> None:
    """Stop with an `OutputError` where `output_problem` has something to say."""
    problem = output_problem(output_dir, raw_dir)
    if problem:
        raise OutputError(problem)
