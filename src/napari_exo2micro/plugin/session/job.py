"""Work in the background: one place starts it, shows progress and tells errors."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from napari.utils.progress import cancelable_progress
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_exo2micro.core.base import CancelledError, Exo2MicroError, Monitor
from napari_exo2micro.plugin.widgets.controls import error_text, literal, notify_error

logger = logging.getLogger(__name__)

#: Between two looks at the bars in the activity dock, ms.
_BETWEEN_PICTURES = 200
_WAIT_AT_THE_END = 4.0  # s, for all jobs together
#: How long the newest job of a word waits for the one that it replaces, ms. What
#: hangs, in a file on a network drive, is left behind then.
_PATIENCE = 250
#: Jobs that had not ended when their window was closed: they may not be taken apart
#: in a thread of their own.
_LEFT_BEHIND: list[Job] = []


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

    def __init__(
        self,
        title: str,
        function: Callable[..., Any],
        arguments: dict[str, Any],
        *,
        show_progress: bool,
        on_error: Callable[[str], None] | None = None,
        on_end: Callable[[Job], None] | None = None,
        keep_sent: bool = False,
    ) -> None:
        super().__init__()
        self.title = title
        self.is_running = True
        #: The job that it replaces, while it waits for its end.
        self.waits_for: Job | None = None
        self._on_error, self._on_end = on_error, on_end
        self._keep_sent = keep_sent
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._closed = False
        self._last_fraction, self._last_text = -1.0, ""
        self._shows_progress = show_progress
        self._bar: cancelable_progress | None = None
        monitor = Monitor(self._on_progress, lambda: self.is_cancelled)
        ours = {"monitor": monitor, "send": functools.partial(self._post, "sent")}
        known = inspect.signature(function).parameters
        arguments |= {name: part for name, part in ours.items() if name in known}
        self._work: Callable[[], Any] | None = functools.partial(function, **arguments)
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

    def begin(self) -> None:
        """Do the work in a thread of its own; nothing when it has begun or ended."""
        if self._thread is None and self.is_running and not self._closed:
            # A daemon: a read that hangs keeps neither window nor program from ending.
            name = f"exo2micro {self.title}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    @property
    def has_begun(self) -> bool:
        """Whether its work was started."""
        return self._thread is not None

    def wait(self, seconds: float) -> bool:
        """Wait for so long at most; return whether the work's thread has ended."""
        if self._thread is None:
            return True
        if self._thread is not threading.current_thread():  # none waits for itself
            self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    def _run(self) -> None:
        """Do the work; never raises."""
        work, self._work = self._work, None
        try:
            if self._cancel.is_set() or work is None:
                raise CancelledError("stopped before it began")
            result = work()
        except CancelledError:
            if self._shows_progress:  # what nobody sees is stopped all the time
                logger.info("%s: stopped", self.title)
            self._post("finished", None)
        except Exception as error:  # whatever it is, somebody waits for the end
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
        self._on_end = self._on_error = None
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
            self.progressed.emit(*value)
        elif what == "sent":
            if self._keep_sent or not self.is_cancelled:
                self.sent.emit(value)
        else:
            self.is_running = False
            self.wait(1.0)  # this was its last word: now it lets go of this object
            if self._bar is not None:
                self._bar.close()
            if what == "returned" and not self.is_cancelled:
                self.returned.emit(value)
            elif what == "failed":
                self.failed.emit(value)
                self._tell(value)
            self.finished.emit()
            if self._on_end is not None:
                self._on_end(self)
            # Nothing that a callback holds is kept alive by a job that has ended.
            self._on_end = self._on_error = None

    def _tell(self, error: Exception) -> None:
        if self.is_cancelled:
            return
        text = error_text(error, wanted=self.title)
        try:
            (self._on_error or notify_error)(text)
        except RuntimeError as gone:  # the dock that asked was closed
            if "deleted" not in str(gone):
                raise
            notify_error(text)

    def draw_progress(self) -> None:
        """Bring the bar in the activity dock up to date; see `Jobs`."""
        if not self._shows_progress or self._closed:
            return
        text = self._last_text
        words = literal(f"{self.title}: {text}" if text else self.title)
        if self._bar is None:
            self._bar = cancelable_progress(total=100, desc=words)
        # Each of these handles waiting events: the job may end meanwhile.
        if self.is_running and self._bar.desc != f"{words}: ":
            self._bar.set_description(words)
        step = max(int(100 * self._last_fraction), 0) - self._bar.n
        if self.is_running and step:
            self._bar.update(step)


class Jobs(QObject):
    """Starts jobs for one viewer and ends them with it.

    Each one has a thread of its own: a run never waits behind previews, nor anything
    behind a file that cannot be read for minutes. The bars in napari's activity dock
    follow a timer: napari handles all waiting events while it draws one, which may not
    happen while a result is delivered.

    Attributes
    ----------
    busy_changed : Signal(bool)
        Whether an exclusive job runs: one that writes results.
    closed : Signal()
        The window is gone: no job delivers anything any more.
    exclusive : Job or None
        The job that writes results now.
    """

    busy_changed = Signal(bool)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._running: list[Job] = []
        self._newest: dict[str, Job] = {}
        self.exclusive: Job | None = None
        self._closed = False
        self._is_drawing = False
        self._clock = QTimer(self)
        self._clock.setInterval(_BETWEEN_PICTURES)
        self._clock.timeout.connect(self._draw_progress)

    @property
    def is_busy(self) -> bool:
        """Whether an exclusive job runs."""
        return self.exclusive is not None

    @property
    def is_working(self) -> bool:
        """Whether any job runs, also one that only reads or draws."""
        return bool(self._running)

    def is_running(self, word: str) -> bool:
        """Return whether a job of this word runs; see `newest` of `start`."""
        return word in self._newest

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
        """Call ``function(**arguments)`` in a thread of its own.

        All callbacks are called in the GUI thread: use bound methods of widgets.

        Parameters
        ----------
        function : callable
            It may not touch the viewer or a widget. Where it takes a `monitor`, it
            stops when that says so; what it hands to a `send` arrives at `on_sent`.
        title : str
            In words, for the activity dock.
        on_result, on_sent, on_progress, on_finished : callable, optional
            See `Job`; there is no result of a cancelled one.
        on_error : callable, optional
            Takes the error's text; without it napari shows a notification.
        newest : str
            Jobs of the same word replace each other: the one that runs is cancelled.
            The new one begins when that has ended, or after a quarter of a second.
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
            When it is exclusive and another exclusive one runs.
        """
        if exclusive and self.exclusive is not None:
            raise RuntimeError(f"'{self.exclusive.title}' has not ended yet")
        job = Job(
            title,
            function,
            arguments,
            show_progress=show_progress,
            on_error=on_error,
            on_end=self._forget,
            keep_sent=keep_sent,
        )
        if self._closed:  # the window is gone: nothing is started nor told
            job.close()
            job.is_running = False
            return job
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
        self._clock.start()
        if newest:
            self._newest[newest] = job
        if exclusive:
            self.exclusive = job
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
        self._clock.stop()
        for job in self._running:
            job.close()
        self.exclusive = None
        self.closed.emit()
        end = time.monotonic() + _WAIT_AT_THE_END
        for job in self._running:
            if not job.wait(end - time.monotonic()):
                _LEFT_BEHIND.append(job)
        self._running.clear()
        self._newest.clear()

    def _draw_progress(self) -> None:
        if self._is_drawing:
            return
        self._is_drawing = True
        try:
            for job in list(self._running):
                if job.is_running:  # it may have ended while another one was drawn
                    job.draw_progress()
        finally:
            self._is_drawing = False

    def _forget(self, job: Job) -> None:
        self._running.remove(job)
        if not self._running:
            self._clock.stop()
        self._newest = {w: j for w, j in self._newest.items() if j is not job}
        for other in self._running:
            if other.waits_for is job:
                other.waits_for = None
                other.begin()
        if job is self.exclusive:
            self.exclusive = None
            self.busy_changed.emit(False)
