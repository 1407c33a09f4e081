"""The log of runs beside their results.

One file for an output folder, ``.exo2micro_run_log.txt``. A line has the time, six
letters that stand for the run, what kind of line it is (`begin`, `note`, `warning`,
`error`, `end`) and the text, so that runs that go on at once can be told apart::

    2026-11-22 14:05:31 4be2f0 note    stage 2, boundary alignment: begins
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import re
import secrets
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import psutil

from napari_exo2micro.core.base.errors import (
    CancelledError,
    DataWarning,
    Exo2MicroError,
)
from napari_exo2micro.core.base.log import (
    LogFile,
    add_listener,
    add_warning_listener,
    log_path,
    remove_listener,
    remove_warning_listener,
)

logger = logging.getLogger(__name__)

_PACKAGES = (
    "napari-exo2micro numpy scipy scikit-image opencv-python opencv-python-headless "
    "tifffile imagecodecs astropy matplotlib"
).split()
_MOST_TEXT = 50_000
_MOST_WAITING = 200
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class LoggedTask(Protocol):
    """What the header of a log tells of a `SampleDye`."""

    @property
    def sample(self) -> str: ...  # noqa: D102
    @property
    def dye(self) -> str: ...  # noqa: D102
    @property
    def raw_dir(self) -> Path: ...  # noqa: D102
    @property
    def output_dir(self) -> Path: ...  # noqa: D102
    def non_default_params(self) -> Mapping[str, object]: ...  # noqa: D102


class RunLog:
    """What one run says in the run log; `run_log` makes it.

    Parameters
    ----------
    output_dir : Path
        Nothing is written as long as this folder does not exist: a run that fails
        before it makes anything leaves nothing.
    """

    def __init__(self, output_dir: Path) -> None:
        self.path = log_path(output_dir)
        self._file = LogFile(output_dir)
        self._tag = secrets.token_hex(3)
        self._waiting: list[bytes] = []
        self._warned: set[str] = set()
        self.status = "ended"

    def write(self, kind: str, text: str) -> None:
        """Write a record; never raises.

        Parameters
        ----------
        kind : {'begin', 'note', 'warning', 'error', 'end'}
            What kind of line it is. A warning that was written is not repeated.
        text : str
            May have several lines; each gets the time and the letters of the run.
        """
        if kind == "warning":
            if text in self._warned:
                return
            self._warned.add(text)
        if len(text) > _MOST_TEXT:
            text = f"{text[:_MOST_TEXT]} ..."
        now = f"{datetime.now():%Y-%m-%d %H:%M:%S} {self._tag}"
        rows = _CONTROL.sub(_visible, text.replace("\r\n", "\n")).split("\n")
        kinds = [kind] + [""] * (len(rows) - 1)
        record = "".join(
            f"{now} {word:<7} {row}".rstrip() + "\n"
            for word, row in zip(kinds, rows, strict=True)
        )
        space = "\n" if kind == "begin" else ""
        self._append((space + record).encode("utf-8", "backslashreplace"))

    def conclude(self, status: str, notes: Iterable[str] = ()) -> None:
        """Say how the run ended.

        Parameters
        ----------
        status : str
            For the last line, for example ``'complete'``.
        notes : iterable of str
            What a reader should know, written as warnings.
        """
        for text in notes:
            self.write("warning", text)
        self.status = status

    def catch_up(self) -> None:
        """Write what could not be written yet, when the folder exists by now."""
        if self._waiting:
            self._write_waiting()

    def _append(self, record: bytes) -> None:
        self._waiting = [*self._waiting[-_MOST_WAITING:], record]
        self._write_waiting()

    def _write_waiting(self) -> None:
        try:
            if self.path.parent.is_dir():
                self._file.append(b"".join(self._waiting))
                self._waiting = []
        except OSError as error:
            self._waiting = []
            _tell_once(self.path, error)


def _visible(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


_UNWRITABLE: set[Path] = set()


def _tell_once(path: Path, error: OSError) -> None:
    """Warn that a log cannot be written, once for each."""
    if path not in _UNWRITABLE:
        _UNWRITABLE.add(path)
        logger.warning(
            "the run log %s cannot be written (%s); the run goes on without it",
            path,
            error.strerror or error,
        )


@contextmanager
def run_log(
    output_dir: str | Path,
    *,
    title: str,
    task: LoggedTask | None = None,
    details: Mapping[str, object] | None = None,
) -> Iterator[RunLog]:
    """Record a run in the run log of its output folder.

    Everything that the package logs from `INFO` on in this thread, and all warnings
    that are issued in it, go to the log until the block ends; then a line says how
    it ended and how long it took. A log that cannot be written never ends a run:
    one warning is logged instead. Logs may be nested: a record goes to the inner
    one of the same folder.

    Parameters
    ----------
    output_dir : str or Path
        The folder that results are written to; see `RunLog`.
    title : str
        What runs, in a few words.
    task : SampleDye, optional
        Its names, folders and parameters go into the header.
    details : mapping, optional
        More lines of the header: what -> value.

    Yields
    ------
    RunLog
        Its `conclude` takes the status for the last line.
    """
    log = RunLog(Path(output_dir))
    handler = _RunHandler(log)
    start = time.perf_counter()
    header = [title]
    with suppress(Exception):  # what is not known must not end a run
        header += _header(task, details or {})
    log.write("begin", "\n".join(header))
    stack = _stack()
    stack.append(log)
    add_listener(handler)
    add_warning_listener(handler.on_warning)
    try:
        yield log
    except BaseException as error:
        log.status = _failure(log, error)
        raise
    finally:
        remove_warning_listener(handler.on_warning)
        remove_listener(handler)
        stack.remove(log)
        seconds = time.perf_counter() - start
        log.write("end", f"after {seconds:.1f} s: {log.status}")


def _failure(log: RunLog, error: BaseException) -> str:
    """Return the status of a run that did not reach its end."""
    if isinstance(error, CancelledError):
        return "stopped on request"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if not isinstance(error, Exo2MicroError):
        log.write("error", "".join(traceback.format_exception(error)).rstrip())
    return f"error: {type(error).__name__}: {error}"


# The header ------------------------------------------------------------------


def _header(task: LoggedTask | None, details: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines that say what ran, where, and with what."""
    now = datetime.now().astimezone()
    facts: dict[str, object] = {"date": now.isoformat(timespec="seconds")}
    if task is not None:
        changed = task.non_default_params()
        facts["sample, dye"] = f"{task.sample}, {task.dye}"
        facts["raw files"] = task.raw_dir.absolute()
        facts["results"] = task.output_dir.absolute()
        facts["parameters"] = ", ".join(
            [f"{name}={value!r}" for name, value in changed.items()]
            + ["others at their defaults" if changed else "all at their defaults"]
        )
    facts |= details
    facts["computer"] = _computer()
    facts["versions"] = ", ".join(_versions())
    for name, value in facts.items():
        yield f"  {name:<12} {value}"


def _computer() -> str:
    words = [platform.node(), f"{platform.system()} {platform.machine()}"]
    words.append(f"{os.cpu_count() or 1} processors")
    with suppress(OSError, RuntimeError, psutil.Error):
        memory = psutil.virtual_memory()
        words.append(
            f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB memory free"
        )
    words.append(f"process {os.getpid()}")
    return ", ".join(words)


@functools.cache
def _versions() -> tuple[str, ...]:
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return tuple(found)


# Records and warnings of one thread ------------------------------------------

_LOCAL = threading.local()


def _stack() -> list[RunLog]:
    """Return the logs that this thread writes, the innermost last."""
    if not hasattr(_LOCAL, "stack"):
        _LOCAL.stack = []
    stack: list[RunLog] = _LOCAL.stack
    return stack


class _RunHandler(logging.Handler):
    """Writes the records of one thread into its run log."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.INFO)
        self._log = log
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through this run's own records, but none about the log itself."""
        return record.name != __name__ and self._is_mine()

    def _is_mine(self) -> bool:
        """Return whether what happens in this thread now belongs to this run."""
        if threading.get_ident() != self._thread:
            return False
        same = [log for log in _stack() if log.path == self._log.path]
        return same[-1:] == [self._log]

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                text += "\n" + "".join(traceback.format_exception(*record.exc_info))
            kind = "note"
            if record.levelno >= logging.WARNING:
                kind = "error" if record.levelno >= logging.ERROR else "warning"
            self._log.write(kind, text.rstrip())
        except Exception:  # noqa: BLE001 - as every handler of Python's
            self.handleError(record)

    def on_warning(self, message: Warning | str, category: type[Warning]) -> None:
        """Write a warning of this run's thread."""
        if self._is_mine():
            named = "" if issubclass(category, DataWarning) else category.__name__
            self._log.write("warning", f"{named}: {message}" if named else str(message))
