"""A batch as it was asked for, and its run in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_exo2micro.core.base import Exo2MicroError, Monitor, check_output
from napari_exo2micro.core.batch import BatchBoard, StoredState, clock_words
from napari_exo2micro.core.parameters import RunSettings, State
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session

if TYPE_CHECKING:
    from napari_exo2micro.core.batch import BatchPlan, BatchSummary, Preflight

#: Sample and dye.
Pair = tuple[str, str]

#: How long a pair waits for another run of it, s.
_WAIT = 600.0


def count_words(number: int) -> str:
    """Return a number of pairs.

    Examples
    --------
    >>> count_words(1), count_words(2)
    ('1 pair', '2 pairs')
    """
    return "1 pair" if number == 1 else f"{number} pairs"


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a batch is asked to do.

    The settings are the same for all pairs; `executor` names one of
    `core.batch.executors.EXECUTORS`, `scheduler` is the address of one of dask.
    """

    pairs: tuple[Pair, ...]
    settings: RunSettings
    executor: str
    n_workers: int
    scheduler: str

    @property
    def folders(self) -> tuple[Path, Path]:
        """Where the images are and results go."""
        return self.settings.raw_dir, self.settings.output_dir

    def plan(self) -> BatchPlan:
        """Return what would run; pairs that cannot are listed as skipped."""
        from napari_exo2micro.core.batch import plan_batch

        return plan_batch(
            pairs=self.pairs, strict_dyes=False, wait_for_lock=_WAIT, **self._settings()
        )

    def recipe(self, make: Callable[..., str], *, strict: bool) -> str:
        """Return the batch as text, see `batch_as_python`."""
        raw_dir, output_dir = (folder.absolute() for folder in self.folders)
        settings = {**self._settings(), "raw_dir": raw_dir, "output_dir": output_dir}
        del settings["loader"]
        return make(
            self.pairs,
            executor=self.executor,
            n_workers=self.n_workers,
            scheduler=self.scheduler,
            strict=strict,
            **settings,
        )

    def _settings(self) -> dict[str, Any]:
        names = (entry.name for entry in fields(self.settings))
        return {name: getattr(self.settings, name) for name in names}


def read_states(
    request: BatchRequest, monitor: Monitor, send: Callable[[Any], None]
) -> None:
    """Send each pair with what is on disk for it, see `stored_state`."""
    from napari_exo2micro.core.batch import StoredState, stored_state

    for task in request.plan().tasks:
        monitor.check()
        try:
            state = stored_state(task)
        except Exo2MicroError as error:
            state = StoredState(State.MISSING, str(error))
        send(((task.sample, task.dye), state))


def check_request(
    request: BatchRequest, monitor: Monitor
) -> tuple[BatchPlan, Preflight]:
    """Return what would run, and whether memory and disk are enough for it."""
    from napari_exo2micro.core.batch import check_resources

    raw_dir, output_dir = request.folders
    check_output(output_dir, raw_dir)
    monitor.check()
    plan = request.plan()
    monitor.check()
    n_workers = 1 if request.executor == "serial" else request.n_workers
    here = not request.scheduler
    return plan, check_resources(plan.tasks, n_workers, here=here)


def run_request(
    request: BatchRequest, plan: BatchPlan, board: BatchBoard, monitor: Monitor
) -> BatchSummary:
    """Run a batch; the board is told what happens to each pair."""
    from napari_exo2micro.core.batch import make_executor, run_plan, summarise_batch

    try:
        executor = make_executor(
            request.executor,
            n_workers=request.n_workers,
            scheduler=request.scheduler or None,
            monitor=monitor,
        )
        # Memory and disk were checked just now; a person may have overruled that.
        results = run_plan(
            plan, executor, force_run=True, monitor=monitor, on_event=board.take
        )
    finally:
        board.end()
    return summarise_batch(results)


_INTERVAL = 200  # ms between two looks at the board
_MOST_LISTED, _MOST_TOLD = 8, 3


class BatchRun(QObject):
    """Runs one batch at a time in the background; get it with `BatchRun.of`.

    It is the session's: a batch that still ends when its panel was closed is shown by
    the next one.

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
        run = session.findChild(cls)
        return run if isinstance(run, cls) else cls(session)

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
        folders = (session.raw_dir, session.output_dir)
        return request is not None and request.folders == folders

    def start(self, request: BatchRequest, states: Mapping[Pair, StoredState]) -> None:
        """Check what would run and what it needs; then run it, or ask first.

        The states tell what is on disk already, for an estimate of the time.
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

    def _on_checked(self, checked: tuple[BatchPlan, Preflight]) -> None:
        plan, needs = checked
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


def time_words(seconds: float) -> str:
    """Return a time that is not known to the second.

    Examples
    --------
    >>> time_words(23), time_words(200), time_words(7200)
    ('20 s', '3 min', '2.0 h')
    """
    if seconds < 50:
        return f"{max(round(seconds / 10), 1) * 10} s"
    if seconds < 5400:
        return f"{max(round(seconds / 60), 1)} min"
    return f"{seconds / 3600:.1f} h"


def progress_words(board: BatchBoard, *, is_stopping: bool) -> str:
    """Return how far a batch is and how long it still takes."""
    left = board.seconds_left
    if is_stopping:
        rest = "stopping: what runs ends at its next step"
    elif left is None:
        rest = "the time left is known when a pair is done"
    else:
        rest = f"about {time_words(left)} left"
    words = (board.counts_in_words(), clock_words(board.elapsed), rest)
    return "; ".join(filter(None, words))


def needs_words(needs: Preflight) -> str:
    """Return what a batch needs, and which of its pairs will fail."""
    words = [f"Needs {needs.summary()}."] if needs.memory_needed else []
    if needs.level != "enough":
        words.append(f"{needs.message}.")
    for text in needs.not_estimated[:_MOST_TOLD]:
        pair, _, why = text.partition(": ")
        words.append(f"{pair} will fail: {why}.")
    more = len(needs.not_estimated) - _MOST_TOLD
    if more > 0:
        words.append(f"So will {more} more.")
    return " ".join(words)
