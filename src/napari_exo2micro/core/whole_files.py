"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from napari_exo2micro.core.errors import OutputError

__all__ = ["output_error", "replace_file", "replace_files"]

# Process numbers mean something on one's own machine only.
_HOST = re.sub("[^A-Za-z0-9-]", "", platform.node())[:20] or "host"
_LONG_PATH = 240  # from here on Windows may not find it


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary name in the folder of `path`; it becomes `path` at the end.

    On any error the temporary file is removed and `path` stays as it was.

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
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            parts.append(path.with_name(_temporary_name(path)))
        yield parts
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
    for part in path.parent.glob(f".{_escaped(path.name)}.{_HOST}.*.part"):
        pid = part.name.removesuffix(".part").split(".")[-2]
        if not pid.isdigit() or not psutil.pid_exists(int(pid)):
            with suppress(OSError):
                part.unlink()


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


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
    reasons = {
        errno.ENOSPC: "the disk is full; free some space and run again",
        errno.EDQUOT: "your disk quota is used up; free some space and run again",
        errno.EACCES: "writing there is not permitted; choose another folder",
        errno.EPERM: "writing there is not permitted; choose another folder",
        errno.EROFS: "that disk is read-only; choose another folder",
        errno.ENOTDIR: "a part of the path is a file; choose another folder",
        errno.EEXIST: "a part of the path is a file; choose another folder",
        errno.ENAMETOOLONG: "that name is too long; choose a shorter output folder",
    }
    if error.errno in (errno.ENOENT, errno.EINVAL) and len(str(path)) > _LONG_PATH:
        error = OSError(errno.ENAMETOOLONG, "")
    reason = reasons.get(error.errno or 0, f"{error.strerror or error}; run again")
    return OutputError(f"cannot write {path}: {reason}")
