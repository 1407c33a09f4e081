"""A batch from the press of its button to its end: asked, started, watched, stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_exo2micro.core.batch_board import BatchBoard
from napari_exo2micro.core.stored_state import StoredState
from napari_exo2micro.plugin.batch.batch_request import (
    BatchRequest,
    Pair,
    check_request,
    run_request,
)
from napari_exo2micro.plugin.batch.batch_words import count_words
from napari_exo2micro.plugin.job import Job
from napari_exo2micro.plugin.session import Session

if TYPE_CHECKING:
    from napari_exo2micro.core.batch_plan import BatchPlan
    from napari_exo2micro.core.resources import Preflight

__all__ = ["BatchRun"]

_INTERVAL = 200  # ms between two looks at the board
_MOST_LISTED = 8


class BatchRun(QObject):
    """Runs one batch at a time in the background; get it with `BatchRun.of`.

    It is the session's: a batch that still ends when its panel was closed is shown by
    the next one.

    Parameters
    ----------
    session : Session
        Whose jobs it is one of.

    Attributes
    ----------
    changed : Signal()
        It began, goes on, is stopping or has ended.
    asked : Signal(str, str, str)
        A question before the start: what was found, what the button that goes on
        says, and what that does; see `go_on`.
    refused : Signal(str)
        Why it does not run, or why it ended early.
    ended : Signal()
        It is over; `board` has what came out.
    board : BatchBoard or None
        What is known of each pair of the last batch.
    request : BatchRequest or None
        What was asked for.
    """

    changed = Signal()
    asked = Signal(str, str, str)
    refused = Signal(str)
    ended = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._check: Job | None = None
        self._job: Job | None = None
        self._answers: set[str] = set()
        self._question = ""
        self._states: Mapping[Pair, StoredState] = {}
        self.board: BatchBoard | None = None
        self.request: BatchRequest | None = None
        self.was_stopped = False
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL)
        self._timer.timeout.connect(self.changed)
        session.jobs.closed.connect(self._timer.stop)

    @classmethod
    def of(cls, session: Session) -> BatchRun:
        """Return the batches of a session, made when first asked for."""
        found = session.findChild(cls)
        return found if isinstance(found, cls) else cls(session)

    @property
    def is_active(self) -> bool:
        """Whether it is checked what runs, or a batch runs."""
        return self._check is not None or self._job is not None

    @property
    def is_running(self) -> bool:
        """Whether a batch runs."""
        return self._job is not None

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked to stop: here, in another dock or in napari."""
        job = self._job or self._check
        return job is not None and job.is_cancelled

    @property
    def is_of_session(self) -> bool:
        """Whether the last batch was of the folders that the session has now."""
        request, session = self.request, self._session
        return request is not None and (
            (request.raw_dir, request.output_dir)
            == (session.raw_dir, session.output_dir)
        )

    def start(self, request: BatchRequest, states: Mapping[Pair, StoredState]) -> None:
        """Check what would run and what it needs; then run it, or ask first.

        Parameters
        ----------
        request : BatchRequest
            What is asked for.
        states : mapping
            What is on disk already, for an estimate of the time.
        """
        self.request, self._states = request, dict(states)
        self._answers = set()
        self._look()

    def go_on(self) -> None:
        """Go on after a question."""
        self._answers.add(self._question)
        self._look()

    def stop(self) -> None:
        """Ask it to stop; what is finished stays."""
        for job in (self._check, self._job):
            if job is not None:
                job.cancel()
        self.changed.emit()

    def _look(self) -> None:
        if self.is_active or self.request is None:
            return
        self._check = self._session.jobs.start(
            check_request,
            title="checking what the batch needs",
            on_result=self._on_checked,
            on_error=self.refused.emit,
            on_finished=self._on_check_ended,
            request=self.request,
        )
        self.changed.emit()

    def _on_check_ended(self) -> None:
        self._check = None
        self.changed.emit()

    def _on_checked(self, found: tuple[BatchPlan, Preflight]) -> None:
        plan, needs = found
        if not plan.tasks:
            reasons = [task.sentence() for task in plan.skipped]
            self.refused.emit("No pair can be run. " + " ".join(reasons[:3]))
        elif plan.skipped and "files" not in self._answers:
            self._question = "files"
            self.asked.emit(
                _missing(plan),
                f"Run the rest ({count_words(len(plan.tasks))})",
                "Run the pairs that have their files, and leave the others out.",
            )
        elif needs.level == "too little" and "room" not in self._answers:
            self._question = "room"
            self.asked.emit(
                f"Too little room: {needs.message}.",
                "Run all the same",
                "Start although it may not fit. A pair that finds too little memory "
                "stops and says so; what is finished stays.",
            )
        else:
            self._begin(plan)

    def _begin(self, plan: BatchPlan) -> None:
        work = {
            task.number: float(len(state.to_run))
            for task in plan.tasks
            if (state := self._states.get((task.sample, task.dye))) is not None
        }
        board = BatchBoard(work)
        try:
            self._job = self._session.jobs.start(
                run_request,
                title=f"batch of {count_words(len(plan.tasks))}",
                on_error=self.refused.emit,
                on_finished=self._on_ended,
                exclusive=True,
                request=self.request,
                plan=plan,
                board=board,
            )
        except RuntimeError as error:
            self.refused.emit(f"{error}; wait for it or stop it, then run the batch")
            return
        # Other docks show the state of the files.
        self._job.finished.connect(self._session.refresh_status)
        self.board = board
        self.was_stopped = False
        self._timer.start()
        self.changed.emit()

    def _on_ended(self) -> None:
        self.was_stopped = self.is_stopping
        self._job = None
        self._timer.stop()
        self.changed.emit()
        self.ended.emit()


def _missing(plan: BatchPlan) -> str:
    """Return which pairs have no files, one a line."""
    total = len(plan.skipped) + len(plan.tasks)
    lines = [f"{len(plan.skipped)} of {count_words(total)} cannot run:"]
    lines += [task.sentence() for task in plan.skipped[:_MOST_LISTED]]
    more = len(plan.skipped) - _MOST_LISTED
    if more > 0:
        lines.append(f"and {more} more")
    return "\n".join(lines)
