"""The compare dock: one parameter over several values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout

from napari_exo2micro.core.base import Exo2MicroError, Monitor
from napari_exo2micro.plugin.compare.form import Compared, CompareForm, words_label
from napari_exo2micro.plugin.compare.results import CompareResults, enable
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.widgets.controls import MessageStrip, button
from napari_exo2micro.plugin.widgets.dock import Dock

_NO_SOURCE = "Choose the raw folder, the sample and the dye in the workbench first."
_BUSY = "Something runs already; wait for it or stop it."


class CompareDock(Dock):
    """Runs a sample with several values of a parameter and shows what comes out.

    Parameters
    ----------
    napari_viewer : ViewerModel
        The viewer whose session it works on.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self.setObjectName("compare_dock")
        self._session = shared_session(napari_viewer, self)
        self._job: Job | None = None
        self._count = 0
        self._ended = ""
        self._message = MessageStrip(self)
        self._form = CompareForm(self._session, self)
        self._results = CompareResults(self._session, self._message, self)
        self._run = button(self, "run_comparison", "Run comparison")
        self._abort = button(
            self,
            "abort",
            "Abort",
            "Stop; the rows that are there already stay. Closing this dock stops, too.",
        )
        self._bar = QProgressBar(self)
        self._bar.setObjectName("progress")
        self._bar.setRange(0, 1000)
        self._bar.setFormat("%p %")
        self._text = words_label("progress_text")
        start = QHBoxLayout()
        start.addWidget(self._run, 1)
        start.addWidget(self._abort)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._message)
        layout.addWidget(self._form)
        layout.addLayout(start)
        layout.addWidget(self._bar)
        layout.addWidget(self._text)
        layout.addWidget(self._results, 1)
        self.setMinimumWidth(300)
        self._session.jobs.busy_changed.connect(self._update)
        self._session.source_changed.connect(self._update)
        self._form.changed.connect(self._update)
        self._run.clicked.connect(self.run)
        self._abort.clicked.connect(self._stop)
        self._update()

    def run(self) -> None:
        """Run once for each value; rows appear as the runs end."""
        self._message.clear()
        session, form = self._session, self._form
        if problem := session.refusal():
            self._message.error(problem)
            return
        try:
            compared = Compared(
                source=session.task_source(),
                sample=session.sample,
                dye=session.dye,
                folders=(session.raw_dir, session.output_dir),
                params=session.params,
                entry=form.entry,
                values=form.values,
                to_stage=form.to_stage,
                keep=form.keep,
            )
            job = session.jobs.start(
                _compare,
                title=f"comparing {form.entry.title} of {session.sample} {session.dye}",
                on_sent=self._results.add,
                on_error=self._message.error,
                on_progress=self._on_progress,
                on_finished=self._on_finished,
                exclusive=True,
                compared=compared,
            )
        except (Exo2MicroError, RuntimeError) as error:
            self._message.error(str(error))
            return
        self._job, self._count = job, len(compared.values)
        self._results.begin(compared)
        self._bar.setValue(0)
        self._text.setText("Starting …")
        self._update()

    def save_table(self, path: Path) -> None:
        """Write the table as a CSV file; what goes wrong is said in the dock."""
        self._results.save_table(path)

    # Coming and going -------------------------------------------------------------

    def close_down(self) -> None:
        """Stop, take the pictures away and follow the viewer no more."""
        if self._is_closed:
            return
        self._stop()
        self._results.close_down()
        super().close_down()

    def stay_hidden(self) -> None:
        """Take the pictures away; the runs go on."""
        self._results.stop()

    # How a comparison goes on -----------------------------------------------------

    def _stop(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._text.setText("Stopping …")

    def _on_progress(self, fraction: float, text: str) -> None:
        if self._job is not None and not self._job.is_cancelled:
            self._bar.setValue(round(1000 * fraction))
            number = min(self._results.done + 1, self._count)
            self._text.setText(f"Value {number} of {self._count}, {text}")

    def _on_finished(self) -> None:
        stopped = self._job is not None and self._job.is_cancelled
        self._job = None
        self._ended = "Stopped." if stopped else ""
        self._results.end()
        self._update()
        self._session.refresh_status()

    def _update(self, *_: object) -> None:
        running = self._job is not None
        waits = ""
        if not self._session.has_source:
            waits = _NO_SOURCE
        elif self._session.jobs.is_busy:
            waits = _BUSY
        problem = waits or self._form.problem
        enable(self._run, problem, "Run once for each value.")
        self._abort.setEnabled(running)
        self._bar.setVisible(running)
        if not running:
            self._text.setText(waits or self._ended)
        self._text.setVisible(bool(self._text.text()))


def _compare(compared: Compared, monitor: Monitor, send: Callable[[Any], None]) -> None:
    """Run the comparison; send the result of each value."""
    compared.source.check_output()
    compared.source.task(compared.params).compare(
        compared.entry.name,
        compared.values,
        keep=compared.keep,
        to_stage=compared.to_stage,
        monitor=monitor,
        on_result=send,
    )
