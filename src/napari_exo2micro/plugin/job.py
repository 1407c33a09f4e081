"""One piece of work in the background: its thread, progress, end and errors."""

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
from qtpy.QtCore import QObject, Qt, Signal

from napari_exo2micro.core.errors import CancelledError, Exo2MicroError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.error_words import error_text
from napari_exo2micro.plugin.plain_text import literal, notify_error

__all__ = ["Job"]

logger = logging.getLogger(__name__)

_BETWEEN_PICTURES = 0.2  # s, of the bar in the activity dock


class Job(QObject):
    """One piece of work in the background; its signals arrive in the GUI thread.

    Made by `jobs.Jobs.start`.

    Attributes
    ----------
    progressed : Signal(float, str)
        Fraction done and what is being done.
    sent : Signal(object)
        What the work sent on its way, see `jobs.Jobs.start`.
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
        self._last_fraction = -1.0
        self._last_text = ""
        self._is_showing = False
        self._shown, self._shown_at = literal(title), 0.0
        self._bar = (
            cancelable_progress(total=100, desc=literal(title))
            if show_progress
            else None
        )
        more: dict[str, Any] = {"monitor": self.monitor()}
        if "send" in inspect.signature(function).parameters:
            more["send"] = self.send
        self._work: Callable[[], Any] | None
        self._work = functools.partial(function, **arguments, **more)
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
            if self._bar is not None:  # what nobody sees is stopped all the time
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
            # First, for what waits may be delivered while napari draws its bar.
            self.progressed.emit(*value)
            self._show(*value)
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
        if not self.is_cancelled:
            text = error_text(error, wanted=self.title)
            tell = notify_error if self._on_error is None else self._on_error
            try:
                tell(text)
            except RuntimeError as gone:  # the dock that asked was closed
                if "deleted" not in str(gone):
                    raise
                notify_error(text)

    def _show(self, fraction: float, text: str) -> None:
        """Show the progress in the activity dock.

        napari handles all waiting events while it draws its bar, other progress of
        this job among them: that is left out, or each would be drawn in the last.
        """
        words = literal(f"{self.title}: {text}" if text else self.title)
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
