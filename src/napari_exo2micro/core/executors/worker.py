"""What a worker process does: takes tasks from a pipe, runs them, answers."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_exo2micro.core.tasks import TaskEvent

__all__ = ["STOP", "work"]

#: Sent to a worker whose task is to end; None ends the worker itself.
STOP = "stop"

_LOOK_INTERVAL = 0.1  # s between two looks into the pipe
# Read when a library is loaded: workers share the processors.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def work(connection: Connection, threads: int) -> None:
    """Run tasks until None comes or the other end is closed.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        Takes tasks and `STOP`, gives events and results (dict).
    threads : int
        How many threads libraries may use.
    """
    # Ctrl-C reaches all processes of a terminal; who started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))
    # Results carry the warnings; a live table must not be disturbed.
    logging.captureWarnings(True)
    logging.getLogger().addHandler(logging.NullHandler())
    import cv2

    from napari_exo2micro.core.tasks import run_task

    cv2.setNumThreads(threads)
    talk = _Talk(connection)
    while True:
        task = talk.next_task()
        if task is None:
            return
        talk.answer(run_task(task, talk.tell, talk.should_stop))


class _Talk:
    """The worker's end of the pipe; an end that was closed asks it to stop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stopping = False
        self._closed = False
        self._last_look = 0.0

    def next_task(self) -> Any:
        """Wait for a task; None when there is none any more."""
        self._stopping = False
        message: Any = STOP
        while message == STOP and not self._closed:
            message = self._safely(self._connection.recv)
        return None if self._closed else message

    def tell(self, event: TaskEvent) -> None:
        """Send an event."""
        self._safely(lambda: self._connection.send(event))

    def answer(self, result: dict[str, Any]) -> None:
        """Send a result."""
        self._safely(lambda: self._connection.send(result))

    def should_stop(self) -> bool:
        """Return whether the task is to end."""
        now = time.monotonic()
        if now - self._last_look >= _LOOK_INTERVAL:
            self._last_look = now
            while self._safely(self._connection.poll) and not self._closed:
                if self._safely(self._connection.recv) == STOP:
                    self._stopping = True
        return self._stopping or self._closed

    def _safely(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (OSError, EOFError):
            self._closed = True
            return None
