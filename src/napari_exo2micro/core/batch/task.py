"""One task of a batch: what it is, what it tells, and how it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from napari_exo2micro.core.base import Monitor, errors, lock_holder, log, machine
from napari_exo2micro.core.base.registry import REGISTRIES
from napari_exo2micro.core.parameters import STAGES, RunSettings, State
from napari_exo2micro.core.pipeline import RunResult, SampleDye, stages_done
from napari_exo2micro.core.store.checkpoints import CheckpointStatus

logger = logging.getLogger(__name__)

#: The states of a task under the name that scripts know.
TaskState = State

#: States of a task that came to its end.
ENDED_WELL = (State.DONE, State.DEGRADED)

#: Why a task was stopped.
BY_REQUEST = "finished stages are kept, run again to go on"

_EVENT_INTERVAL = 0.2  # s between two events that only tell progress


def registered_here() -> dict[str, tuple[Any, ...]]:
    """Return what this process has registered and another one cannot know of.

    That is: kind of entry -> keys. Loaders travel with their tasks and are left out.
    """
    return {
        kind: registry.added
        for kind, registry in REGISTRIES.items()
        if registry.added and kind != "loader"
    }


def refuse_unknown_here(wanted: Mapping[str, Iterable[Any]]) -> None:
    """Refuse when another process has registered what this one does not know.

    `wanted` is what `registered_here` returned there. The `ParameterError` names what
    is missing and how a worker process gets it.
    """
    missing = [
        f"the {kind} '{key}'"
        for kind, keys in wanted.items()
        for key in keys
        if kind not in REGISTRIES or key not in REGISTRIES[kind]
    ]
    if missing:
        raise errors.ParameterError(
            f"{', '.join(missing)} was registered where the batch was started, and "
            "this worker process does not know it; offer it from an installed package "
            "by an entry point, or run without worker processes (parallel=False)"
        )


@dataclass(frozen=True, slots=True)
class Task:
    """One sample with one dye, and all that its run depends on; can be pickled.

    Attributes
    ----------
    number : int
        Its place in the batch, from 0.
    sample, dye : str
        Names as in the raw folder.
    settings : RunSettings
        Folders (absolute: a worker may start elsewhere), parameters, stages.
    wait_for_lock : float
        Seconds to wait for another run of the same sample and dye.
    time_limit : float, optional
        Seconds that it may take; between two windows it notices.
    least_memory : int
        Bytes of free memory below which it stops; 0 for never.
    memory_debug : bool
        Tell the memory of the process before, during and after.
    verify : bool
        Read the raw files and the pixels of results to see whether they are still the
        same.
    registered : mapping
        What the process that made the task has registered (stages, parameters, plots,
        scale methods): a worker that does not know it refuses the task.
    """

    number: int
    sample: str
    dye: str
    settings: RunSettings = field(default_factory=RunSettings)
    wait_for_lock: float = 0.0
    time_limit: float | None = None
    least_memory: int = 0
    memory_debug: bool = False
    verify: bool = False
    registered: Mapping[str, tuple[Any, ...]] = field(default_factory=registered_here)

    @property
    def takes_over(self) -> bool:
        """Whether it takes the transform of another dye, which must be run before."""
        return self.settings.register_on not in (None, self.dye)

    def open(self) -> SampleDye:
        """Return the sample and dye with the task's parameters set.

        Returns
        -------
        SampleDye
            Nothing has run yet.

        Raises
        ------
        ParameterError
            When a name, the loader or a parameter does not fit, or when this
            process does not know what the batch's own process has registered.
        """
        refuse_unknown_here(self.registered)
        opened = SampleDye.from_settings(self.sample, self.dye, self.settings)
        if self.verify:
            opened.store.verify()
        return opened


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something that happened to a task.

    Attributes
    ----------
    number : int
        The task's place in the batch.
    sample, dye : str
        Whose task it is.
    state : State
        Where it is now.
    stage : int
        The stage that runs, 0 before the first one.
    fraction : float
        Done of the whole task, 0..1.
    text : str
        What is being done, the status in the end, or why there is none.
    result : RunResult, optional
        In the end: what the run returned.
    seconds : float, optional
        Since it began, or that it took: a `BatchBoard` knows.
    """

    number: int
    sample: str
    dye: str
    state: State
    stage: int = 0
    fraction: float = 0.0
    text: str = ""
    result: RunResult | None = None
    seconds: float | None = None

    @property
    def word(self) -> str:
        """The state in a word; a task that waits for another run is waiting."""
        return (State.WAITING if self.is_waiting else self.state).word

    @property
    def is_waiting(self) -> bool:
        """Whether another run holds it up: no stage has begun, and it says why."""
        return self.state is State.RUNNING and not self.stage and self.text != ""

    @property
    def step(self) -> str:
        """What is being done, or in the end why it is as it is; in words."""
        if self.state is State.RUNNING and self.stage:
            title = f"{self.stage} {STAGES[self.stage].title}"
            return f"{title}, {self.text}" if self.text else title
        return self.text

    @property
    def reason(self) -> str:
        """Why the task is not done; empty when it is, and before its end."""
        return "" if self.result is None else self.result.reason

    @classmethod
    def ended(cls, number: int, result: RunResult) -> TaskEvent:
        """Return the last event of a task.

        Parameters
        ----------
        number : int
            The task's place in the batch.
        result : RunResult
            What its run returned.

        Returns
        -------
        TaskEvent
            Its state is that of the result.
        """
        return cls(
            number,
            result.sample,
            result.dye,
            result.state,
            fraction=1.0 if result.state in ENDED_WELL else 0.0,
            text=result.status,
            result=result,
        )


OnEvent = Callable[[TaskEvent], None]
ShouldStop = Callable[[], bool]


def event_of(task: Task, state: State, **more: Any) -> TaskEvent:
    """Return an event of a task that has not ended."""
    return TaskEvent(task.number, task.sample, task.dye, state, **more)


def without_run(task: Task, state: State, reason: str) -> RunResult:
    """Return the result of a task that gave none."""
    return RunResult(task.sample, task.dye, state, reason, seconds=0.0)


def run_task(
    task: Task,
    on_event: OnEvent | None = None,
    should_stop: ShouldStop | None = None,
) -> RunResult:
    """Run one task in this process; every executor calls this function.

    Whatever goes wrong becomes the state of the result, `FAILED` or `STOPPED`, and its
    reason. Events tell how far it is, a few each second; a true answer to `should_stop`
    stops it between two windows of an image.
    """
    machine.share_memory_pools()
    start = time.perf_counter()
    memory: dict[str, int] = {}
    if task.memory_debug:
        memory["before"] = memory["peak"] = machine.private_memory()
    with _collected_warnings() as notes:
        try:
            monitor = _monitor(task, on_event, should_stop, memory)
            result = task.open().run(monitor=monitor, wait_for_lock=task.wait_for_lock)
        except errors.CancelledError:
            result = without_run(task, State.STOPPED, BY_REQUEST)
        except Exception as error:  # noqa: BLE001 - one task must not end the others
            result = without_run(task, State.FAILED, _words_of(error))
    machine.release_memory()
    if memory:
        memory["after"] = machine.private_memory()
        memory["peak"] = max(memory["peak"], memory["after"])
    return replace(
        result,
        warnings=tuple(dict.fromkeys((*result.warnings, *notes))),
        seconds=round(time.perf_counter() - start, 3),
        memory=memory or None,
    )


def _words_of(error: Exception) -> str:
    """Return why a task failed."""
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"not enough memory{detail}; close other programs or use fewer workers"
    if isinstance(error, (errors.Exo2MicroError, OSError)) and str(error):
        return str(error)
    logger.error("a task failed", exc_info=error)
    return f"unexpected {type(error).__name__}: {error}"


def _monitor(
    task: Task,
    on_event: OnEvent | None,
    should_stop: ShouldStop | None,
    memory: dict[str, int],
) -> Monitor:
    """Return what the run reports to: each stage that begins, else now and then."""
    stage, text, is_new, last = 0, "", True, 0.0

    def begin(number: int) -> None:
        nonlocal stage, is_new
        stage, is_new = number, True

    def report(fraction: float, words: str) -> None:
        nonlocal text, is_new, last
        if memory:
            memory["peak"] = max(memory["peak"], machine.private_memory())
        now = time.monotonic()
        if on_event is None or not (is_new or now - last >= _EVENT_INTERVAL):
            return
        text = "" if is_new else words or text  # the stage says it in the beginning
        is_new, last = False, now
        more = {"stage": stage, "fraction": fraction, "text": text}
        on_event(event_of(task, State.RUNNING, **more))

    monitor = Monitor(report, should_stop, begin)
    if task.least_memory:
        monitor = machine.watch_memory(monitor, task.least_memory)
    if task.time_limit is not None:
        monitor = machine.watch_time(monitor, task.time_limit)
    monitor.report(0.0)
    return monitor


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Collect what the package logs as warnings in this thread."""
    texts: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and record.levelno == logging.WARNING:
                texts.append(record.getMessage())

    handler = Collector(logging.WARNING)
    log.PACKAGE_LOGGER.addHandler(handler)
    try:
        yield texts
    finally:
        log.PACKAGE_LOGGER.removeHandler(handler)


@dataclass(frozen=True, slots=True)
class StoredState:
    """What is on disk for a task.

    Attributes
    ----------
    state : State
        `MISSING`: nothing; `PART`: the first stages; `STALE`: results that are not
        used any more; `DONE`: all that the task would make; `DEGRADED`: the same, and
        a stage does not vouch for its result.
    reason : str
        Why results are stale or degraded; for a part, which stages there are.
    to_run : tuple of int
        Stages that the task would run now.
    holder : str
        Who works on this sample and dye now; empty when nobody does.
    result : RunResult, optional
        As `SampleDye.run` returned it, where all is done.
    """

    state: State
    reason: str = ""
    to_run: tuple[int, ...] = ()
    holder: str = ""
    result: RunResult | None = None

    @property
    def has_results(self) -> bool:
        """Whether at least one stage has results that are used."""
        return self.state in (State.PART, State.DONE, State.DEGRADED)


def stages_to_run(task: Task) -> tuple[int, ...]:
    """Return the stages that a task would run now; nothing is written."""
    return _to_run(task, task.open().status())


def stored_state(task: Task) -> StoredState:
    """Return what is on disk for a task; nothing is written.

    Raises
    ------
    Exo2MicroError
        When a name or a parameter does not fit.
    """
    opened = task.open()
    lines = opened.status()
    to_run = _to_run(task, lines)
    lock = lock_holder(task.settings.output_dir, task.sample, task.dye)
    holder = "" if lock is None else str(lock)
    _, last = task.settings.stages
    own = [line for line in lines if line.stage <= last]
    if all(line.state == State.VALID for line in own):
        result = opened.result(last)
        return StoredState(result.state, result.reason, to_run, holder, result)
    for line in own:
        if line.state == State.STALE:
            why = f"stage {line.stage} {STAGES[line.stage].title}: {line.reason}"
            return StoredState(State.STALE, why, to_run, holder)
    done = stages_done(own)
    if done:
        words = "stage 1 is" if done == 1 else f"stages 1 to {done} are"
        return StoredState(State.PART, f"{words} done", to_run, holder)
    return StoredState(State.MISSING, "", to_run, holder)


def _to_run(task: Task, lines: list[CheckpointStatus]) -> tuple[int, ...]:
    first, last = task.settings.stages
    stages = {line.stage for line in lines if line.state != State.VALID}
    if task.settings.force:
        stages.update(range(first, last + 1))
    return tuple(sorted(stage for stage in stages if stage <= last))
