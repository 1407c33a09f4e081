"""Hearing what the package logs and warns of, without changing what others hear of it.

The package logs its doings as `INFO`, which Python does not even make unless somebody
asked for that level. Asking by ``setLevel`` would show them in every console that
listens to warnings; a handler of one's own would silence the warnings that Python
prints where nobody listens. Listeners that are added here do neither.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any, TextIO

__all__ = [
    "PACKAGE_LOGGER",
    "WarningListener",
    "add_listener",
    "add_warning_listener",
    "remove_listener",
    "remove_warning_listener",
]

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
