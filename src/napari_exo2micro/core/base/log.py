"""What the package logs: heard by whom it concerns, and kept in one bounded file.

The package logs its doings as `INFO`, which Python does not even make unless somebody
asked for that level. Asking by ``setLevel`` would show them in every console that
listens to warnings; a handler of one's own would silence the warnings that Python
prints where nobody listens. Listeners that are added here do neither.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from filelock import FileLock

from napari_exo2micro.core.base.errors import OutputError, ParameterError
from napari_exo2micro.core.base.text import visible

WarningListener = Callable[[Warning | str, type[Warning]], None]

#: The logger above all of the package's.
PACKAGE_LOGGER = logging.getLogger("napari_exo2micro")

_NAME = ".exo2micro_run_log"
_MOST_BYTES = 1_000_000
_OLD_FILES = 4
_MOST_READ = 4_000_000  # of a file that another program has let grow
_WAIT = 1.0  # s, for another process that writes one record
_LOCK = threading.Lock()


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


@contextmanager
def warnings_told(listener: WarningListener) -> Iterator[None]:
    """Call ``listener(message, category)`` for every warning that Python shows.

    It is called in the thread that warns, before the warning is shown as ever.
    """
    before: Any = warnings.showwarning
    is_over = False

    def show(
        message: Warning | str, category: type[Warning], *more: Any, **named: Any
    ) -> None:
        if not is_over:  # another one may stand before this one, and call it
            listener(message, category)
        before(message, category, *more, **named)

    warnings.showwarning = show
    try:
        yield
    finally:
        is_over = True
        if warnings.showwarning is show:
            warnings.showwarning = before


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
    newest = log_path(output_dir)
    older = [newest.with_name(_older(n)) for n in range(1, _OLD_FILES + 1)]
    return [path for path in (newest, *older) if path.is_file()]


def _older(number: int) -> str:
    return f"{_NAME}.{number}.txt"


def read_log_tail(output_dir: str | Path, lines: int = 200) -> list[str]:
    """Return the last lines of an output folder's run log.

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
    tail: list[str] = []
    for path in list_logs(output_dir):
        if len(tail) >= lines:
            break
        try:
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - _MOST_READ, 0))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            continue  # it became an older part just now
        except OSError as error:
            raise OutputError(
                f"cannot read {path}: {error.strerror or error}; ask its owner, or "
                "choose another output folder"
            ) from error
        own = text.removesuffix("\n").split("\n") if text else []
        tail = [line.rstrip("\r") for line in own] + tail
    return tail[-lines:]


class RunLogFile(RotatingFileHandler):
    """Appends records to an output folder's run log, beside other processes.

    The file is opened for each record, under a lock that all processes share, so that
    any of them may rotate it. Where the lock cannot be had the record is written all
    the same, and the file is not rotated. `on_error` is told why one was not written.
    """

    def __init__(self, output_dir: Path, on_error: Callable[[OSError], None]) -> None:
        super().__init__(
            log_path(output_dir),
            maxBytes=_MOST_BYTES,
            backupCount=_OLD_FILES,
            encoding="utf-8",
            errors="backslashreplace",
            delay=True,
        )
        self._on_error = on_error
        path = Path(self.baseFilename)
        self._shared = FileLock(path.with_name(f"{_NAME}.lock"), timeout=_WAIT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; never raises."""
        with suppress(OSError, NotImplementedError):  # a timeout is an OSError
            self._shared.acquire(poll_interval=0.005)
        try:
            super().emit(record)
        finally:
            self.close()
            self._shared.release()

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record; people look at them in terminals, too."""
        return visible(super().format(record), keep="\n\t")

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Return whether the record does not fit in the file any more."""
        path = Path(self.baseFilename)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise OSError("it is not a plain file")
        return self._shared.is_locked and bool(super().shouldRollover(record))

    def rotation_filename(self, default_name: str) -> str:
        """Return the name of an older part: its number stands before the suffix."""
        number = int(default_name.rpartition(".")[2])
        return str(Path(default_name).with_name(_older(number)))

    def handleError(self, record: logging.LogRecord) -> None:
        """Tell why a record could not be written."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._on_error(error)
        else:
            super().handleError(record)
