"""Ctrl-C reaches every process of a terminal; only the one that asked may hear it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["deaf_to_ctrl_c"]


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes and threads that the block starts never hear Ctrl-C.

    From their first moment on, and for all that they start themselves: a process
    that loads its libraries would end with a traceback in the middle of the table.
    This thread hears in the end what came meanwhile. On Windows it does nothing.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    # Its first start lifts the block again (Python 3.11).
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
