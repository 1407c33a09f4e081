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
from contextvars import ContextVar
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from logging.handlers import MemoryHandler
from pathlib import Path

import psutil

from napari_exo2micro.core.base import CancelledError, DataWarning, Exo2MicroError
from napari_exo2micro.core.base.log import (
    RunLogFile,
    add_listener,
    log_path,
    remove_listener,
    warnings_told,
)
from napari_exo2micro.core.store.checkpoints import HasStore

logger = logging.getLogger(__name__)

_PACKAGES = (
    "napari-exo2micro numpy scipy scikit-image opencv-python opencv-python-headless "
    "tifffile imagecodecs astropy matplotlib"
).split()
_MOST_TEXT = 50_000
_MOST_WAITING = 200
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

# The logs that this thread writes, the innermost last.
_open_logs: ContextVar[tuple[RunLog, ...]] = ContextVar("open_logs", default=())
_told: set[Path] = set()  # logs that cannot be written


@contextmanager
def run_log(
    output_dir: str | Path,
    *,
    title: str,
    task: HasStore | None = None,
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
    start = time.perf_counter()
    header = [title]
    with suppress(Exception):  # what is not known must not end a run
        header += _header(task, details or {})
    log.write("begin", "\n".join(header))
    token = _open_logs.set((*_open_logs.get(), log))
    add_listener(log)
    try:
        with warnings_told(log.on_warning):
            yield log
    except BaseException as error:
        log.status = _failure(log, error)
        raise
    finally:
        remove_listener(log)
        _open_logs.reset(token)
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


class RunLog(MemoryHandler):
    """What one run says in the run log of an output folder; `run_log` makes it.

    It keeps what it is told as long as the folder does not exist: a run that fails
    before it makes anything leaves nothing.
    """

    def __init__(self, output_dir: Path) -> None:
        file = RunLogFile(output_dir, functools.partial(_tell_once, output_dir))
        file.setFormatter(_Lines())
        super().__init__(_MOST_WAITING, target=file)
        self.setLevel(logging.INFO)
        self.output_dir = output_dir
        self.status = "ended"
        self._thread = threading.get_ident()
        self._warned: set[str] = set()

    def write(self, kind: str, text: str) -> None:
        """Write a record of the run itself; a warning that was written comes once.

        `kind` is 'begin', 'note', 'warning', 'error' or 'end'.
        """
        level = logging.WARNING if kind == "warning" else logging.INFO
        extra = {"kind": kind}
        place = (logger.name, level, __file__, 0)
        self.emit(logger.makeRecord(*place, text, (), None, extra=extra))

    def conclude(self, status: str, notes: Iterable[str] = ()) -> None:
        """Say how the run ended, in its last line; notes are written as warnings."""
        for text in notes:
            self.write("warning", text)
        self.status = status

    def catch_up(self) -> None:
        """Write what could not be written yet, when the folder exists by now."""
        if self.buffer and self.output_dir.is_dir():
            self.flush()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through this run's own records, but none about the log itself."""
        return record.name != __name__ and self._is_mine()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, and write all when the folder exists."""
        if record.levelno == logging.WARNING:
            text = record.getMessage()
            if text in self._warned:
                return
            self._warned.add(text)
        self.buffer = [*self.buffer[-_MOST_WAITING:], record]
        self.catch_up()

    def on_warning(self, message: Warning | str, category: type[Warning]) -> None:
        """Write a warning of this run's thread."""
        if self._is_mine():
            named = "" if issubclass(category, DataWarning) else category.__name__
            self.write("warning", f"{named}: {message}" if named else str(message))

    def _is_mine(self) -> bool:
        """Return whether what happens in this thread now belongs to this run."""
        if threading.get_ident() != self._thread:
            return False
        same = [log for log in _open_logs.get() if log.output_dir == self.output_dir]
        return same[-1:] == [self]


def _tell_once(output_dir: Path, error: OSError) -> None:
    """Warn that a log cannot be written, once for each."""
    path = log_path(output_dir)
    if path not in _told:
        _told.add(path)
        logger.warning(
            "the run log %s cannot be written (%s); the run goes on without it",
            path,
            error.strerror or error,
        )


class _Lines(logging.Formatter):
    """Each line of a record gets the time and the letters of the run."""

    def __init__(self) -> None:
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")
        self._tag = secrets.token_hex(3)

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines; a control character is shown, not written."""
        text = super().format(record).replace("\r\n", "\n").rstrip()
        if len(text) > _MOST_TEXT:
            text = f"{text[:_MOST_TEXT]} ..."
        now = f"{self.formatTime(record, self.datefmt)} {self._tag}"
        kind = getattr(record, "kind", None) or _kind(record.levelno)
        lines = [""] if kind == "begin" else []
        for row in _CONTROL.sub(_visible, text).split("\n"):
            lines.append(f"{now} {kind:<7} {row}".rstrip())
            kind = ""
        return "\n".join(lines)


def _kind(level: int) -> str:
    if level >= logging.ERROR:
        return "error"
    return "warning" if level >= logging.WARNING else "note"


def _visible(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode("ascii")


# The header ------------------------------------------------------------------


def _header(task: HasStore | None, details: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines that say what ran, where, and with what."""
    now = datetime.now().astimezone()
    facts: dict[str, object] = {"date": now.isoformat(timespec="seconds")}
    if task is not None:
        settings = task.store.settings
        changed = settings.changed_params
        facts["sample, dye"] = f"{task.store.sample}, {task.store.dye}"
        facts["raw files"] = settings.raw_dir.absolute()
        facts["results"] = settings.output_dir.absolute()
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
    known = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            known.append(f"{package} {version(package)}")
    return tuple(known)
