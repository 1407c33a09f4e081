"""What the package logs: heard by whom it concerns, appended to one file by many.

The package logs its doings as `INFO`, which Python does not even make unless somebody
asked for that level. Asking by ``setLevel`` would show them in every console that
listens to warnings; a handler of one's own would silence the warnings that Python
prints where nobody listens. Listeners that are added here do neither.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from filelock import FileLock

from napari_exo2micro.core.base.errors import OutputError, ParameterError

WarningListener = Callable[[Warning | str, type[Warning]], None]

#: The logger above all of the package's.
PACKAGE_LOGGER = logging.getLogger("napari_exo2micro")


class _Tap(logging.Handler):
    """Hands records to the listeners, and on to where they would go without it."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: tuple[logging.Handler, ...] = ()
        self.level_before = logging.NOTSET
        self.propagated = True

    def handle(self, record: logging.LogRecord) -> bool:
        """Hand over one record; each listener has a lock of its own."""
        for listener in self.listeners:
            if record.levelno >= listener.level:
                listener.handle(record)
        above = PACKAGE_LOGGER.parent
        # Somebody may have let the logger propagate by itself again meanwhile.
        stands_in = self.propagated and not PACKAGE_LOGGER.propagate
        if stands_in and above is not None:
            threshold = self.level_before or above.getEffectiveLevel()
            if record.levelno >= threshold:
                above.callHandlers(record)
        return True


_TAP = _Tap()
_LOCK = threading.Lock()


def add_listener(handler: logging.Handler) -> None:
    """Hand every record of the package, from `INFO` on, to a handler.

    Parameters
    ----------
    handler : logging.Handler
        Gets the records of all threads, in the thread that logs; its level and
        filters count. Adding it twice has no effect.

    Examples
    --------
    >>> import logging
    >>> class Collect(logging.Handler):
    ...     def emit(self, record):
    ...         print(record.getMessage())
    >>> handler = Collect()
    >>> add_listener(handler)
    >>> logging.getLogger("napari_exo2micro.core").info("%d matches", 12)
    12 matches
    >>> remove_listener(handler)
    """
    with _LOCK:
        if handler in _TAP.listeners:
            return
        if not _TAP.listeners:
            level = PACKAGE_LOGGER.level
            _TAP.level_before, _TAP.propagated = level, PACKAGE_LOGGER.propagate
            PACKAGE_LOGGER.addHandler(_TAP)
            PACKAGE_LOGGER.propagate = False
            if level == logging.NOTSET or level > logging.INFO:
                PACKAGE_LOGGER.setLevel(logging.INFO)
        _TAP.listeners = (*_TAP.listeners, handler)


def remove_listener(handler: logging.Handler) -> None:
    """Hand no more records to a handler; without effect for an unknown one."""
    with _LOCK:
        if handler not in _TAP.listeners:
            return
        _TAP.listeners = tuple(h for h in _TAP.listeners if h is not handler)
        if not _TAP.listeners:
            PACKAGE_LOGGER.removeHandler(_TAP)
            PACKAGE_LOGGER.propagate = _TAP.propagated
            PACKAGE_LOGGER.setLevel(_TAP.level_before)


class _WarningTap:
    """Tells the listeners of warnings that Python shows."""

    def __init__(self) -> None:
        self.listeners: tuple[WarningListener, ...] = ()
        self.show: Any = None
        self.show_before: Any = None

    def install(self) -> None:
        """Stand before the function that shows warnings."""
        before = warnings.showwarning

        # A function of its own each time: another one that came in between and
        # calls an earlier one of these must not be called by that again.
        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            for listener in self.listeners:
                listener(message, category)
            before(message, category, filename, lineno, file, line)

        self.show, self.show_before = show, before
        warnings.showwarning = show

    def remove(self) -> None:
        """Leave, unless another function stands before this one by now."""
        if warnings.showwarning is self.show:
            warnings.showwarning = self.show_before


_WARNING_TAP = _WarningTap()


def add_warning_listener(listener: WarningListener) -> None:
    """Have a function called with every warning that Python shows.

    Parameters
    ----------
    listener : callable
        Called as ``listener(message, category)`` in the thread that warns, before
        the warning is shown as ever. Warnings that a filter hides are not told.
    """
    with _LOCK:
        if not _WARNING_TAP.listeners:
            _WARNING_TAP.install()
        _WARNING_TAP.listeners = (*_WARNING_TAP.listeners, listener)


def remove_warning_listener(listener: WarningListener) -> None:
    """Call a function no more; without effect for an unknown one."""
    with _LOCK:
        if listener not in _WARNING_TAP.listeners:
            return
        left = tuple(one for one in _WARNING_TAP.listeners if one != listener)
        _WARNING_TAP.listeners = left
        if not left:
            _WARNING_TAP.remove()


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
