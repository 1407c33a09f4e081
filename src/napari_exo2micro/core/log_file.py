"""The file of the run log: appended by many at once, rotated, read from its end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from napari_exo2micro.core.errors import OutputError, ParameterError

__all__ = ["LogFile", "list_logs", "log_path", "read_log_tail"]

_NAME = ".exo2micro_run_log"
_MOST_BYTES = 1_000_000
_OLD_FILES = 4
_WAIT = 1.0  # s, for another process that writes one record
_BLOCK = 65_536
_MOST_READ = 8_000_000

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT
# Not through a link to elsewhere, not waiting for the reader of a pipe, no change of
# line ends; each where the system knows it.
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):
    _FLAGS |= getattr(os, _flag, 0)


def log_path(output_dir: str | Path) -> Path:
    """Return the path of an output folder's run log.

    Parameters
    ----------
    output_dir : str or Path
        The folder that results are written to.

    Returns
    -------
    Path
        Whether or not it exists.
    """
    return Path(output_dir) / f"{_NAME}.txt"


def list_logs(output_dir: str | Path) -> list[Path]:
    """Return the run log and its older parts, those that exist, newest first.

    Parameters
    ----------
    output_dir : str or Path
        The folder that results are written to.

    Returns
    -------
    list of Path
        Empty when nothing was run.
    """
    folder = Path(output_dir)
    return [path for path in _names(folder) if path.is_file()]


def _names(folder: Path) -> list[Path]:
    older = [folder / f"{_NAME}.{n}.txt" for n in range(1, _OLD_FILES + 1)]
    return [log_path(folder), *older]


class LogFile:
    """Appends records; for one thread, beside any number of others.

    A record is one write to the end of the file, under a lock that all processes
    share. Where the lock cannot be had the record is written all the same, and the
    file is not rotated.

    Parameters
    ----------
    output_dir : str or Path
        The folder; it must exist when something is written.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.path = log_path(output_dir)
        self._lock: FileLock | None = None
        self._may_lock = True

    def append(self, record: bytes) -> None:
        """Write one record, whole lines, to the end.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        with self._locked() as locked:
            if locked:
                self._rotate(len(record))
            handle = os.open(self.path, _FLAGS, 0o666)
            try:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise OSError("it is not a plain file")
                if status.st_size and not _ends_a_line(handle, status.st_size):
                    record = b"\n" + record  # somebody was killed while writing
                while record:
                    record = record[os.write(handle, record) :]
            finally:
                os.close(handle)

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        if self._may_lock:
            try:
                if self._lock is None:
                    lock = self.path.with_name(f"{_NAME}.lock")
                    self._lock = FileLock(lock, timeout=_WAIT, thread_local=False)
                self._lock.acquire(poll_interval=0.005)
            except (OSError, NotImplementedError):  # a timeout is an OSError
                self._may_lock = False  # to wait at every record would take long
        if not self._may_lock or self._lock is None:
            yield False
            return
        try:
            yield True
        finally:
            self._lock.release()

    def _rotate(self, more: int) -> None:
        """Make room for `more` bytes: the file becomes an older part."""
        try:
            size = self.path.lstat().st_size
        except OSError:
            return
        if not size or size + more <= _MOST_BYTES:
            return
        names = _names(self.path.parent)
        with suppress(OSError):  # for example one that a Windows program shows
            for newer, older in reversed(list(pairwise(names))):
                with suppress(FileNotFoundError):
                    newer.replace(older)


def _ends_a_line(handle: int, size: int) -> bool:
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1) in (b"\n", b"")


def read_log_tail(output_dir: str | Path, lines: int = 200) -> list[str]:
    """Return the last lines of an output folder's run log.

    Only the end of the file is read, and of its older parts as much as is needed.

    Parameters
    ----------
    output_dir : str or Path
        The folder that results are written to.
    lines : int
        How many lines at most.

    Returns
    -------
    list of str
        Oldest first; empty when there is no log. Bytes that are no text are shown
        as replacement characters.

    Raises
    ------
    ParameterError
        When `lines` is not a whole number of at least 1.
    OutputError
        When a log exists but cannot be read.
    """
    if lines < 1:
        raise ParameterError(
            f"lines takes a whole number of at least 1, found {lines!r}"
        )
    found: list[bytes] = []
    seen: set[tuple[int, int]] = set()
    for path in _names(Path(output_dir)):
        if len(found) >= lines:
            break
        try:
            if not path.is_file():
                continue
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                # It may be moved on while this reads: then it comes twice.
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                found = _last_lines(file, lines - len(found)) + found
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                continue
            raise OutputError(
                f"cannot read {path}: {error.strerror or error}; ask its owner, or "
                "choose another output folder"
            ) from error
    return [line.decode("utf-8", "replace").rstrip("\r") for line in found]


def _last_lines(file: BinaryIO, count: int) -> list[bytes]:
    """Return the last lines of an open file, read from its end in blocks."""
    start = end = file.seek(0, os.SEEK_END)
    tail = b""
    while start > 0 and tail.count(b"\n") <= count and end - start < _MOST_READ:
        size = min(max(_BLOCK, end - start), start)  # twice as much each time
        start = file.seek(start - size)
        tail = file.read(size) + tail
    found = tail.split(b"\n")
    if found[-1] == b"":
        found.pop()
    return found[-count:]
