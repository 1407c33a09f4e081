"""Run, Force and Abort with the progress of whatever runs."""

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.core.batch import BatchSummary
from napari_exo2micro.core.parameters import STAGES, State
from napari_exo2micro.core.pipeline import RunResult
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal, notify_error

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
    and each Abort stops it.

    Attributes
    ----------
    started : Signal()
        A run began from this bar; a dock clears its old message then.
    stage : int or None
        The stage of "Run this stage" and "Run to here"; see `set_stage`.
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
        self.stage = stage
        self._message = message if message is not None else notify_error
        self._job: Job | None = None
        runs = {
            "run_stage": self.run_stage,
            "run_to_here": self.run_to_here,
            "run_all": self.run_all,
        }
        self._buttons = {
            name: controls.button(self, name, BUTTONS[name], on_click=runs[name])
            for name in buttons
        }
        tip = "Run also where a valid result exists already, and replace it."
        self._force = controls.check_box(self, "force", "Force", tip)
        self._abort = controls.button(self, "abort", "Abort", on_click=self.abort)
        self._bar = controls.progress_bar(self, "How much of the run is done.")
        self._bar.hide()
        self._text = controls.WordsLabel("progress_text", self)
        controls.column(
            controls.row(*((button, 1) for button in self._buttons.values())),
            controls.row(self._force, None, self._abort),
            self._bar,
            self._text,
            parent=self,
            margin=0,
        )
        session.jobs.busy_changed.connect(self._on_busy)
        session.source_changed.connect(self._on_source)
        self._on_busy(session.jobs.is_busy)

    def set_stage(self, number: int | None) -> None:
        """Say which stage "Run this stage" and "Run to here" mean."""
        self.stage = number
        self._update()

    def run_stage(self) -> None:
        """Run the stage; one before it runs as well when its result is missing."""
        if self.stage is not None:
            self._start(self.stage, self.stage)

    def run_to_here(self) -> None:
        """Run from the first stage to this one."""
        if self.stage is not None:
            self._start(min(STAGES), self.stage)

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
            self._on_progress(0.0, "")
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

    def _update(self) -> None:
        """Enable what can be done now, and say why where it cannot."""
        job = self._job
        why = "" if self._session.has_source else _NO_SOURCE
        not_stopping, stop = "Nothing runs at the moment.", ""
        if job is not None:
            why = f"'{job.title}' runs; wait for it, or press Abort."
            not_stopping = "It stops at its next step." if job.is_cancelled else ""
            stop = literal(f"Stop '{job.title}'; results of finished stages are kept.")
        controls.enable(self._abort, not_stopping, stop)
        for name, button in self._buttons.items():
            without_stage = name != "run_all" and self.stage is None
            reason = why or (_NO_STAGE if without_stage else "")
            controls.enable(button, reason, _purpose(name, self.stage))


def _purpose(name: str, stage: int | None) -> str:
    """Return the tooltip of an enabled button."""
    if name == "run_all" or stage is None:
        return "Run every stage whose result is missing or no longer valid."
    title = f"stage {stage}, {STAGES[stage].title}"
    if name == "run_stage":
        before = " A stage before it runs as well when its result is missing."
        words = f"Run {title}, unless its result is valid already."
        return words if stage == min(STAGES) else words + before
    return (
        f"Run every stage up to {title}, where a result is missing or no longer "
        "valid. With Force, all of them run again."
    )


def _ended(result: Any) -> str:
    """Return how something ended; empty where the dock that started it says so."""
    if isinstance(result, BatchSummary):
        return f"The batch has ended, {result.sentence('pair')}."
    if not isinstance(result, RunResult):
        return ""
    if result.state != State.DEGRADED:
        return "Done."
    numbers = " and ".join(map(str, result.doubtful_stages))
    which = f" of stage {numbers}" if numbers else ""
    return f"Done, but look at the result{which}."
