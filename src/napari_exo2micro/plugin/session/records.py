"""What the package logged lately, kept for the log panel: also before it is opened."""

import contextlib
import itertools
import logging
from collections import deque
from dataclasses import dataclass

from qtpy.QtCore import QObject, Signal

from napari_exo2micro.core.base import add_listener, remove_listener

#: kind -> the lowest level of Python's logging that it stands for.
KINDS = {"note": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_MOST = 2000
_MOST_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """One record: its number from 1, seconds since 1970, kind (see `KINDS`) and text.

    A text may have several lines: a traceback follows the message.
    """

    number: int
    time: float
    kind: str
    text: str


class _Signals(QObject):
    added = Signal()


class KeptRecords(logging.Handler):
    """The last records of the package's loggers, of all threads.

    Attributes
    ----------
    added : Signal()
        There is a new one; emitted in the thread that logs, so that it arrives in
        the thread of the widget that is connected.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: deque[KeptRecord] = deque(maxlen=_MOST)
        self._numbers = itertools.count(1)
        self._signals = _Signals()
        self.added = self._signals.added
        self.setFormatter(logging.Formatter("%(message)s"))
        add_listener(self)

    def since(self, number: int = 0) -> list[KeptRecord]:
        """Return the records after the one with this number, oldest first."""
        new = itertools.takewhile(
            lambda record: record.number > number, reversed(self._kept.copy())
        )
        return list(new)[::-1]

    def close(self) -> None:
        """Hear no more; what was kept stays."""
        remove_listener(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        try:
            text = self.format(record)[:_MOST_TEXT]
            kind = next(k for k in reversed(KINDS) if record.levelno >= KINDS[k])
            kept = KeptRecord(next(self._numbers), record.created, kind, text)
        except Exception:  # noqa: BLE001 - as every handler of Python's
            self.handleError(record)
            return
        self._kept.append(kept)
        with contextlib.suppress(RuntimeError):  # the window was closed meanwhile
            self.added.emit()
