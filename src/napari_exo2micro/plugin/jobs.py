"""The one place that works in the background: progress, cancelling, errors."""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from napari.utils.notifications import show_error
from napari.utils.progress import cancelable_progress
from qtpy.QtCore import QObject, Qt, Signal

from napari_exo2micro.core.errors import CancelledError, Exo2MicroError
from napari_exo2micro.core.monitor import Monitor

__all__ = ["Job", "Jobs", "error_text"]

logger = logging.getLogger(__name__)

_WAIT_AT_THE_END = 5.0
_BETWEEN_PICTURES = 0.2  # s, of the bar in the activity dock


def error_text(error: BaseException) -> str:
    """Return what a person is told of an error."""
    if isinstance(error, (Exo2MicroError, OSError)) and str(error):
        return str(error)
    return (
        f"Something unexpected happened ({type(error).__name__}: {error}). Nothing "
        "that was finished is lost; the log has the details."
    )


class Job(QObject):
    """One piece of work in the background; its signals arrive in the GUI thread.

    Attributes
    ----------
    progressed : Signal(float, str)
        Fraction done and what is being done.
    sent : Signal(object)
        What the work sent on its way, see `Jobs.start`.
    returned : Signal(object)
        Its result.
    failed : Signal(object)
        The exception; not for a cancelled job.
    finished : Signal()
        Always the last one, also after `cancel`.
    """

    progressed = Signal(float, str)
    sent = Signal(object)
    returned = Signal(object)
    failed = Signal(object)
    finished = Signal()

    _message = Signal(str, object)

    def __init__(self, title: str, *, show_progress: bool) -> None:
        super().__init__()
        self.title = title
        self.is_running = True
        self._cancel = threading.Event()
        self._closed = False
        self._last_fraction = -1.0
        self._last_text = ""
        self._is_showing = False
        self._shown, self._shown_at = title, 0.0
        self._bar = (
            cancelable_progress(total=100, desc=title) if show_progress else None
        )
        # Queued: whatever thread it comes from, it arrives in this object's.
        self._message.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to stop: here or in napari's activity dock."""
        return self._cancel.is_set() or (
            self._bar is not None and self._bar.is_canceled
        )

    def cancel(self) -> None:
        """Ask the work to stop; it ends at its next window."""
        self._cancel.set()

    def monitor(self) -> Monitor:
        """Return what the work reports to."""
        return Monitor(self._on_progress, lambda: self.is_cancelled)

    def send(self, value: Any) -> None:
        """Hand something to `sent` from within the work."""
        self._message.emit("sent", value)

    def run(self, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        """Do the work in the thread that calls this; never raises."""
        try:
            if self._cancel.is_set():
                raise CancelledError("stopped before it began")
            result = function(**arguments)
        except CancelledError:
            if self._bar is not None:  # what nobody sees is stopped all the time
                logger.info("%s: stopped", self.title)
            self._post("finished", None)
        except Exception as error:
            if self._cancel.is_set():  # what breaks on the way out is no news
                logger.debug("%s: stopped", self.title, exc_info=True)
            elif isinstance(error, Exo2MicroError):
                logger.error("%s: %s", self.title, error)
            else:
                logger.exception("%s failed", self.title)
            self._post("failed", error)
        else:
            self._post("returned", result)

    def close(self) -> None:
        """Deliver nothing any more: the window is gone."""
        self._closed = True
        self.cancel()
        if self._bar is not None:
            # napari keeps a list of bars; its own part may be gone already.
            with contextlib.suppress(RuntimeError):
                self._bar.close()

    def _post(self, what: str, value: Any) -> None:
        # The object may be gone when the window was closed meanwhile.
        with contextlib.suppress(RuntimeError):
            self._message.emit(what, value)

    def _on_progress(self, fraction: float, text: str) -> None:
        # Hundreds of windows report; a person reads ten steps a second at most.
        moved = abs(fraction - self._last_fraction) >= 0.005
        if moved or (text and text != self._last_text):
            self._last_fraction = fraction
            self._last_text = text or self._last_text
            self._post("progressed", (fraction, self._last_text))

    def _deliver(self, what: str, value: Any) -> None:
        if self._closed:
            return
        if what == "progressed":
            # First, for what waits may be delivered while napari draws its bar.
            self.progressed.emit(*value)
            self._show(*value)
        elif what == "sent":
            if not self.is_cancelled:
                self.sent.emit(value)
        else:
            self.is_running = False
            if self._bar is not None:
                self._bar.close()
            if what == "returned" and not self.is_cancelled:
                self.returned.emit(value)
            elif what == "failed":
                self.failed.emit(value)
            self.finished.emit()

    def _show(self, fraction: float, text: str) -> None:
        """Show the progress in the activity dock.

        napari handles all waiting events while it draws its bar, other progress of
        this job among them: that is left out, or each would be drawn in the last.
        """
        words = f"{self.title}: {text}" if text else self.title
        now = time.monotonic()
        is_news = words != self._shown or now - self._shown_at >= _BETWEEN_PICTURES
        if self._bar is None or self._is_showing or not is_news:
            return
        self._is_showing, self._shown_at = True, now
        try:
            if words != self._shown:
                self._shown = words
                self._bar.set_description(words)
            step = int(fraction * 100) - self._bar.n
            if step and self.is_running:
                self._bar.update(step)
        finally:
            self._is_showing = False


class Jobs(QObject):
    """Starts jobs for one viewer and ends them with it.

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
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="exo2micro")
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
            and its result is dropped.
        exclusive : bool
            It writes results; a second one is refused while it runs.
        show_progress : bool
            Whether it appears in napari's activity dock.

        Raises
        ------
        RuntimeError
            When it is exclusive and another exclusive one runs: widgets disable
            their buttons meanwhile (`busy_changed`).
        """
        if self._closed:
            # The window is gone: nothing is started and nothing is told.
            ended = Job(title, show_progress=False)
            ended.close()
            ended.is_running = False
            return ended
        if exclusive and self._exclusive is not None:
            raise RuntimeError(f"'{self._exclusive.title}' has not ended yet")
        job = Job(title, show_progress=show_progress)
        if newest:
            older = self._newest.get(newest)
            if older is not None:
                older.cancel()
            self._newest[newest] = job
        if "send" in inspect.signature(function).parameters:
            arguments["send"] = job.send
        if on_result is not None:
            job.returned.connect(on_result)
        if on_sent is not None:
            job.sent.connect(on_sent)
        if on_progress is not None:
            job.progressed.connect(on_progress)
        job.failed.connect(lambda error: _tell(job, error, on_error))
        if on_finished is not None:
            job.finished.connect(on_finished)
        job.finished.connect(lambda: self._forget(job))
        self._running.append(job)
        if exclusive:
            self._exclusive = job
            self.busy_changed.emit(True)
        self._pool.submit(job.run, function, {**arguments, "monitor": job.monitor()})
        return job

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
        self._pool.shutdown(wait=False, cancel_futures=True)
        limit = _WAIT_AT_THE_END / max(len(self._pool._threads), 1)
        for thread in list(self._pool._threads):
            thread.join(limit)

    def _forget(self, job: Job) -> None:
        if job in self._running:
            self._running.remove(job)
        for word, newest in list(self._newest.items()):
            if newest is job:
                del self._newest[word]
        if job is self._exclusive:
            self._exclusive = None
            self.busy_changed.emit(False)


def _tell(job: Job, error: Exception, on_error: Callable[[str], None] | None) -> None:
    if job.is_cancelled:
        return
    if on_error is not None:
        on_error(error_text(error))
    else:
        show_error(error_text(error))
