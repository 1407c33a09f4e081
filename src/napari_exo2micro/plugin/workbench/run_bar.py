"""Run, Force and Abort with the progress of whatever runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QProgressBar,
    QPushButton,
    QWidget,
)

from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.core.batch import BatchSummary
from napari_exo2micro.core.parameters import STAGES, State
from napari_exo2micro.core.pipeline import RunResult
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.errors import literal, notify_error

#: objectName -> text of the buttons that start a run.
BUTTONS = {
    "run_stage": "Run this stage",
    "run_to_here": "Run to here",
    "run_all": "Run all",
}

_NO_SOURCE = "Choose the raw folder, the sample and the dye first."
_NO_STAGE = "No stage is in front."


class RunBar(QWidget):
    """Buttons that run stages, a tick box to force them, Abort, and the progress.

    Every bar of a viewer follows the same run: while results are being written,
    here, in another dock or by a comparison, the buttons of all bars are disabled
    (their tooltips say why) and each Abort stops it.

    Parameters
    ----------
    session : Session
        Whose stages are run.
    stage : int, optional
        The stage of "Run this stage" and "Run to here"; see `set_stage`.
    buttons : sequence of str
        Which of `BUTTONS` there are.
    message : callable, optional
        Takes the text of an error, for example ``strip.error``; without it napari
        shows a notification.

    Attributes
    ----------
    started : Signal()
        A run began from this bar; a dock clears its old message then.
    """

    started = Signal()

    def __init__(
        self,
        session: Session,
        stage: int | None = None,
        *,
        buttons: Sequence[str] = tuple(BUTTONS),
        message: Callable[[str], None] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("run_bar")
        self._session = session
        self._stage = stage
        self._message = message if message is not None else notify_error
        self._job: Job | None = None
        self._buttons = {name: self._run_button(name) for name in buttons}
        tip = "Run also where a valid result exists already, and replace it."
        self._force = controls.check_box(self, "force", "Force", tip)
        self._abort = controls.button(self, "abort", "Abort")
        self._abort.clicked.connect(self.abort)
        self._bar = QProgressBar(self)
        self._bar.setObjectName("progress")
        self._bar.setRange(0, 1000)
        self._bar.setFormat("%p %")
        self._bar.setToolTip("How much of the run is done.")
        self._bar.hide()
        self._text = controls.WordsLabel("progress_text", self)
        self._arrange()
        session.jobs.busy_changed.connect(self._on_busy)
        session.source_changed.connect(self._on_source)
        self._on_busy(session.jobs.is_busy)

    # What it does ----------------------------------------------------------------

    @property
    def stage(self) -> int | None:
        """The stage of "Run this stage" and "Run to here"."""
        return self._stage

    def set_stage(self, number: int | None) -> None:
        """Say which stage "Run this stage" and "Run to here" mean."""
        self._stage = number
        self._update()

    def run_stage(self) -> None:
        """Run the stage; one before it runs as well when its result is missing."""
        if self._stage is not None:
            self._start(self._stage, self._stage)

    def run_to_here(self) -> None:
        """Run from the first stage to this one."""
        if self._stage is not None:
            self._start(min(STAGES), self._stage)

    def run_all(self) -> None:
        """Run all stages."""
        self._start(min(STAGES), max(STAGES))

    def abort(self) -> None:
        """Ask what runs to stop; results of finished stages stay."""
        if self._job is not None:
            self._job.cancel()
            self._text.say("Stopping …")
            self._update()

    def _start(self, first: int, last: int) -> None:
        try:
            self._session.run(
                first, last, force=self._force.isChecked(), on_error=self._message
            )
        except (Exo2MicroError, RuntimeError) as error:
            self._message(str(error))
        else:
            self.started.emit()

    # What runs -------------------------------------------------------------------

    def _on_source(self) -> None:
        if self._job is None:  # what was said is about another sample
            self._bar.hide()
            self._text.say("")
        self._update()

    def _on_busy(self, busy: bool) -> None:
        job = self._session.jobs.exclusive
        if busy and job is not None and job is not self._job:
            self._job = job
            self._bar.show()
            self._bar.setValue(0)
            self._text.say(f"{job.title} …")
            job.progressed.connect(self._on_progress)
            job.returned.connect(self._on_returned)
            job.failed.connect(self._on_failed)
        elif not busy:
            if self._job is not None and self._job.is_cancelled:
                self._bar.setValue(0)
                self._text.say("Stopped. What was finished is kept.")
            self._job = None
        self._update()

    def _on_progress(self, fraction: float, text: str) -> None:
        self._bar.setValue(round(1000 * fraction))
        job = self._job
        if job is not None and not job.is_cancelled:
            self._text.say(f"{job.title}: {text}" if text else f"{job.title} …")

    def _on_returned(self, result: Any) -> None:
        self._bar.setValue(self._bar.maximum())
        self._text.say(_ended(result))

    def _on_failed(self, _error: object) -> None:
        self._bar.setValue(0)
        self._text.say("Not finished: something went wrong.")

    # How it looks ----------------------------------------------------------------

    def _run_button(self, name: str) -> QPushButton:
        made = controls.button(self, name, BUTTONS[name])
        action: dict[str, Callable[[], None]] = {
            "run_stage": self.run_stage,
            "run_to_here": self.run_to_here,
            "run_all": self.run_all,
        }
        # `clicked` brings whether it is checked; the methods take nothing.
        made.clicked.connect(lambda: action[name]())
        return made

    def _arrange(self) -> None:
        buttons = controls.row(
            *((run_button, 1) for run_button in self._buttons.values())
        )
        switches = controls.row(self._force, None, self._abort)
        controls.column(buttons, switches, self._bar, self._text, parent=self, margin=0)

    def _update(self) -> None:
        """Enable what can be done now, and say why where it cannot."""
        why = self._why_not()
        for name, run_button in self._buttons.items():
            without_stage = name != "run_all" and self._stage is None
            reason = why or (_NO_STAGE if without_stage else "")
            controls.enable(run_button, reason, _purpose(name, self._stage))
        stopping = self._job is not None and self._job.is_cancelled
        self._abort.setEnabled(self._job is not None and not stopping)
        if stopping:
            self._abort.setToolTip("It stops at its next step.")
        elif self._job is not None:
            self._abort.setToolTip(
                literal(
                    f"Stop '{self._job.title}'; results of finished stages are kept."
                )
            )
        else:
            self._abort.setToolTip("Nothing runs at the moment.")

    def _why_not(self) -> str:
        """Return why nothing can be run now; empty when it can."""
        if self._job is not None:
            return f"'{self._job.title}' runs; wait for it, or press Abort."
        return "" if self._session.has_source else _NO_SOURCE


def _purpose(name: str, stage: int | None) -> str:
    """Return the tooltip of an enabled button."""
    if name == "run_all" or stage is None:
        return "Run every stage whose result is missing or no longer valid."
    title = f"stage {stage}, {STAGES[stage].title}"
    if name == "run_stage":
        if stage == min(STAGES):
            return f"Run {title}, unless its result is valid already."
        return (
            f"Run {title}, unless its result is valid already. A stage before it "
            "runs as well when its result is missing."
        )
    return (
        f"Run every stage up to {title}, where a result is missing or no longer "
        "valid. With Force, all of them run again."
    )


def _ended(result: Any) -> str:
    """Return in words how something ended that came to its end.

    Empty where the dock that started it says so itself.
    """
    if isinstance(result, BatchSummary):
        return f"The batch has ended, {result.sentence('pair')}."
    if not isinstance(result, RunResult):
        return ""
    if result.state != State.DEGRADED:
        return "Done."
    numbers = " and ".join(map(str, result.doubtful_stages))
    which = f" of stage {numbers}" if numbers else ""
    return f"Done, but look at the result{which}."
