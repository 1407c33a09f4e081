"""Waiting for work whose result napari wants at once, with a window that lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEventLoop, Qt, QThread
from qtpy.QtWidgets import QApplication, QLabel, QMainWindow, QProgressDialog

from napari_exo2micro.core.errors import CancelledError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.jobs import Jobs
from napari_exo2micro.plugin.session import Session

__all__ = ["main_window", "wait_for"]

Result = TypeVar("Result")

_SHOWN_AFTER_MS = 700


def main_window() -> QMainWindow | None:
    """Return the window of napari that is in front; None where there is none."""
    if not isinstance(QApplication.instance(), QApplication):
        return None
    active = QApplication.activeWindow()
    shown = [
        widget
        for widget in QApplication.topLevelWidgets()
        if isinstance(widget, QMainWindow) and widget.isVisible()
    ]
    return active if active in shown else (shown[0] if shown else None)


def wait_for(
    function: Callable[..., Result],
    *,
    title: str,
    viewer: ViewerModel | None = None,
    **arguments: Any,
) -> Result:
    """Call ``function(monitor=..., **arguments)`` and return its result.

    napari asks readers and writers for a result at once. Where there is a window,
    the work is done in a thread, and after a moment a box shows the progress and
    offers to cancel; without a window it is simply done.

    Parameters
    ----------
    function : callable
        As `Jobs.start` takes it; it may not touch the viewer.
    title : str
        In words, for the box.
    viewer : ViewerModel, optional
        Whose session starts the job.
    **arguments
        For the function.

    Raises
    ------
    CancelledError
        When the person asked to stop.
    Exception
        What the function raised.
    """
    window = main_window()
    application = QCoreApplication.instance()
    if (
        window is None
        or application is None
        or QThread.currentThread() is not application.thread()
    ):
        return function(monitor=Monitor(), **arguments)
    jobs = Session.of(viewer).jobs if viewer is not None else Jobs()
    done: dict[str, Any] = {}
    loop = QEventLoop()
    box = QProgressDialog(title, "Cancel", 0, 100, window)
    box.setObjectName("waiting")
    words = QLabel(title, box)
    words.setTextFormat(Qt.TextFormat.PlainText)
    box.setLabel(words)
    box.setWindowTitle("Exo2Micro")
    box.setWindowModality(Qt.WindowModality.ApplicationModal)
    box.setMinimumDuration(_SHOWN_AFTER_MS)
    box.setAutoReset(False)

    def work(monitor: Monitor) -> Result:
        return function(monitor=monitor, **arguments)

    job = jobs.start(
        work,
        title=title,
        on_result=lambda result: done.update(result=result),
        on_error=_leave,
        on_progress=lambda fraction, text: _show(box, title, fraction, text),
        on_finished=loop.quit,
    )
    job.failed.connect(lambda error: done.update(error=error))
    box.canceled.connect(job.cancel)
    jobs.closed.connect(loop.quit)
    if job.is_running:
        loop.exec()
    jobs.closed.disconnect(loop.quit)
    box.canceled.disconnect(job.cancel)
    box.close()
    box.deleteLater()
    if viewer is None:
        jobs.close()
    if "error" in done:
        raise done["error"]
    if "result" not in done:
        raise CancelledError("stopped on request; nothing was opened or written")
    result: Result = done["result"]
    return result


def _leave(text: str) -> None:
    """Say nothing of an error: it is raised where the work was asked for."""


def _show(box: QProgressDialog, title: str, fraction: float, text: str) -> None:
    box.setLabelText(f"{title}\n{text}")
    box.setValue(min(int(100 * fraction), 99))
