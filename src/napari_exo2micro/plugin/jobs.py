"""The one place that works in the background: it starts, replaces and ends jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_exo2micro.plugin.job import Job

__all__ = ["Jobs"]

_WAIT_AT_THE_END = 4.0  # s, for all jobs together
#: How long the newest job of a word waits for the one that it replaces, ms. What
#: hangs, in a file on a network drive, is left behind then.
_PATIENCE = 250
#: Jobs that had not ended when their window was closed: they may not be taken apart
#: in a thread of their own.
_LEFT_BEHIND: list[Job] = []


class Jobs(QObject):
    """Starts jobs for one viewer and ends them with it.

    Each one has a thread of its own: a run never waits behind previews, nor anything
    behind a file that cannot be read for minutes.

    Attributes
    ----------
    busy_changed : Signal(bool)
        Whether an exclusive job runs: one that writes results.
    closed : Signal()
        The window is gone: no job delivers anything any more.
    """

    busy_changed = Signal(bool)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._running: list[Job] = []
        self._newest: dict[str, Job] = {}
        self._exclusive: Job | None = None
        self._closed = False

    @property
    def is_busy(self) -> bool:
        """Whether an exclusive job runs."""
        return self._exclusive is not None

    @property
    def is_working(self) -> bool:
        """Whether any job runs, also one that only reads or draws."""
        return bool(self._running)

    @property
    def exclusive(self) -> Job | None:
        """The job that writes results now, if any."""
        return self._exclusive

    def start(
        self,
        function: Callable[..., Any],
        *,
        title: str,
        on_result: Callable[[Any], None] | None = None,
        on_error: Callable[[str], None] | None = None,
        on_sent: Callable[[Any], None] | None = None,
        on_progress: Callable[[float, str], None] | None = None,
        on_finished: Callable[[], None] | None = None,
        newest: str = "",
        exclusive: bool = False,
        show_progress: bool = True,
        keep_sent: bool = False,
        **arguments: Any,
    ) -> Job:
        """Call ``function(monitor=..., **arguments)`` in a thread of its own.

        All callbacks are called in the GUI thread: use bound methods of widgets.

        Parameters
        ----------
        function : callable
            Takes `monitor`, a `core.Monitor`, and stops when that says so. It may
            not touch the viewer or a widget. If it takes an argument `send`, it gets
            a function whose values arrive at `on_sent` on the way.
        title : str
            In words, for the activity dock.
        on_result : callable, optional
            Takes the result; not called for a cancelled job.
        on_error : callable, optional
            Takes the error's text. Without it napari shows a notification; so an
            error appears once, here or there.
        on_sent, on_progress, on_finished : callable, optional
            See `Job`.
        newest : str
            Jobs of the same word replace each other: the one that runs is cancelled
            and its result is dropped. The new one begins when that has ended, or
            after a quarter of a second.
        exclusive : bool
            It writes results; a second one is refused while it runs.
        show_progress : bool
            Whether it appears in napari's activity dock.
        keep_sent : bool
            Whether what the work sends is told after `cancel`, too: results that are
            on disk by then.

        Raises
        ------
        RuntimeError
            When it is exclusive and another exclusive one runs: widgets disable
            their buttons meanwhile (`busy_changed`).
        """
        if self._closed:
            # The window is gone: nothing is started and nothing is told.
            ended = Job(title, function, arguments, show_progress=False)
            ended.close()
            ended.is_running = False
            return ended
        if exclusive and self._exclusive is not None:
            raise RuntimeError(f"'{self._exclusive.title}' has not ended yet")
        job = Job(
            title,
            function,
            arguments,
            show_progress=show_progress,
            on_error=on_error,
            on_end=self._forget,
            keep_sent=keep_sent,
        )
        for signal, slot in (
            (job.returned, on_result),
            (job.sent, on_sent),
            (job.progressed, on_progress),
            (job.finished, on_finished),
        ):
            if slot is not None:
                signal.connect(slot)
        older = self._newest.get(newest) if newest else None
        self._running.append(job)
        if newest:
            self._newest[newest] = job
        if exclusive:
            self._exclusive = job
            self.busy_changed.emit(True)
        if older is None:
            job.begin()
        else:
            self._replace(older, job)
        return job

    def _replace(self, older: Job, job: Job) -> None:
        """Cancel a job and begin another one when it has ended, or soon."""
        older.cancel()
        job.waits_for = older if older.has_begun else older.waits_for
        if not older.has_begun:
            older.begin()  # its work is not done: it was cancelled
        if job.waits_for is None or not job.waits_for.is_running:
            job.begin()
        else:
            QTimer.singleShot(_PATIENCE, job.begin)

    def cancel(self, *words: str) -> None:
        """Ask the newest jobs of these words to stop; their results are dropped."""
        for word in words:
            if word in self._newest:
                self._newest[word].cancel()

    def cancel_all(self) -> None:
        """Ask every job to stop."""
        for job in self._running:
            job.cancel()

    def close(self) -> None:
        """Stop everything, deliver nothing more and wait for a few seconds."""
        self._closed = True
        for job in self._running:
            job.close()
        self._exclusive = None
        self.closed.emit()
        end = time.monotonic() + _WAIT_AT_THE_END
        for job in self._running:
            if not job.wait(end - time.monotonic()):
                _LEFT_BEHIND.append(job)
        self._running.clear()
        self._newest.clear()

    def _forget(self, job: Job) -> None:
        if job in self._running:
            self._running.remove(job)
        for word, newest in list(self._newest.items()):
            if newest is job:
                del self._newest[word]
        for other in self._running:
            if other.waits_for is job:
                other.waits_for = None
                other.begin()
        if job is self._exclusive:
            self._exclusive = None
            self.busy_changed.emit(False)
