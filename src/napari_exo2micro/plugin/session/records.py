"""What the package logged lately, kept for the log panel: also before it is opened."""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
import weakref
from collections import deque
from dataclasses import dataclass

from qtpy.QtCore import QObject, Qt, Signal

from napari_exo2micro.core.base import add_listener, remove_listener

#: kind -> the lowest level of Python's logging that it stands for.
KINDS = {"note": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_MOST = 2000
_MOST_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """One record.

    Attributes
    ----------
    number : int
        Counts from 1.
    time : float
        Seconds since 1970, UTC.
    kind : {'note', 'warning', 'error'}
        How grave it is.
    text : str
        May have several lines.
    """

    number: int
    time: float
    kind: str
    text: str


class KeptRecords(QObject):
    """The last records of the package's loggers, of all threads.

    Attributes
    ----------
    added : Signal()
        There are new ones; arrives in the GUI thread, once for many.
    """

    added = Signal()

    _arrived = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._kept: deque[KeptRecord] = deque(maxlen=_MOST)
        self._lock = threading.Lock()
        self._is_told = True
        self._last = 0
        self._handler = _Handler(self)
        # Queued: whatever thread logs, it arrives in this object's.
        self._arrived.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        add_listener(self._handler)

    def since(self, number: int = 0) -> list[KeptRecord]:
        """Return the records after the one with this number, oldest first."""
        with self._lock:
            return [record for record in self._kept if record.number > number]

    def close(self) -> None:
        """Hear no more; what was kept stays."""
        remove_listener(self._handler)

    def keep(self, time: float, kind: str, text: str) -> None:
        """Keep a record; may be called in any thread."""
        with self._lock:
            self._last += 1
            self._kept.append(KeptRecord(self._last, time, kind, text))
            told, self._is_told = self._is_told, False
        if told:
            # The object may be gone when the window was closed meanwhile.
            with contextlib.suppress(RuntimeError):
                self._arrived.emit()

    def _deliver(self) -> None:
        with self._lock:
            self._is_told = True
        self.added.emit()


class _Handler(logging.Handler):
    """Hands records over, without keeping the object alive."""

    def __init__(self, records: KeptRecords) -> None:
        super().__init__(logging.INFO)
        self._keep = weakref.WeakMethod(records.keep)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        keep = self._keep()
        if keep is None:
            remove_listener(self)
            return
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                text += "\n" + "".join(traceback.format_exception(*record.exc_info))
            kind = next(k for k in reversed(KINDS) if record.levelno >= KINDS[k])
            keep(record.created, kind, text.rstrip()[:_MOST_TEXT])
        except Exception:  # noqa: BLE001 - as every handler of Python's
            self.handleError(record)
