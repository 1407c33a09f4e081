"""One task of a batch: what it is, what it tells, and how it ends."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from napari_exo2micro.core.base.errors import CancelledError, Exo2MicroError
from napari_exo2micro.core.base.locks import lock_holder
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.base.registry import refuse_unknown_here, registered_here
from napari_exo2micro.core.parameters.stages import STAGES, stage_range
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.pipeline.result import (
    RunResult,
    result_without_run,
    stages_done,
)

if TYPE_CHECKING:
    from napari_exo2micro.core.parameters.parameters import ParameterValue
    from napari_exo2micro.core.pipeline.sample_dye import SampleDye
    from napari_exo2micro.core.raw.pair import Loader
    from napari_exo2micro.core.store.checkpoint import CheckpointStatus


#: The states of a task under the name that scripts know.
TaskState = State


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something that happened to a task.

    Attributes
    ----------
    number : int
        The task's place in the batch.
    sample, dye : str
        Whose task it is.
    state : TaskState
        Where it is now.
    stage : int
        The stage that runs, 0 before the first one.
    fraction : float
        Done of the whole task, 0..1.
    text : str
        What is being done, the status in the end, or why there is none.
    result : RunResult, optional
        In the end: what the run returned.
    """

    number: int
    sample: str
    dye: str
    state: TaskState
    stage: int = 0
    fraction: float = 0.0
    text: str = ""
    result: RunResult | None = None

    @classmethod
    def queued(cls, task: Task, text: str = "") -> TaskEvent:
        """Return the event of a task that waits for its turn.

        Parameters
        ----------
        task : Task
            Which one.
        text : str
            What it waits for, in words.

        Returns
        -------
        TaskEvent
            Its state is `queued`.
        """
        return cls(task.number, task.sample, task.dye, TaskState.QUEUED, text=text)

    @classmethod
    def ended(cls, number: int, result: RunResult) -> TaskEvent:
        """Return the last event of a task.

        Parameters
        ----------
        number : int
            The task's place in the batch.
        result : RunResult
            As `run_batch` returns it.

        Returns
        -------
        TaskEvent
            Its state follows from the result's status.
        """
        state = state_of(result)
        return cls(
            number,
            result["sample"],
            result["dye"],
            state,
            fraction=1.0 if state is TaskState.DONE else 0.0,
            text=result["status"],
            result=result,
        )


OnEvent = Callable[[TaskEvent], None]


def state_of(result: Mapping[str, Any]) -> TaskState:
    """Return the state that a result's status stands for."""
    word = str(result["status"]).partition(":")[0]
    return {
        "error": TaskState.FAILED,
        "skipped": TaskState.NO_FILES,
        "stopped": TaskState.STOPPED,
    }.get(word, TaskState.DONE)


logger = logging.getLogger(__name__)

_STAGE = re.compile(r"stage (\d+)")
_EVENT_INTERVAL = 0.2  # s between two events that only tell progress

STOPPED = "stopped: finished stages are kept, run again to go on"


@dataclass(frozen=True, slots=True)
class Task:
    """One sample with one dye, and all that its run depends on; can be pickled.

    Attributes
    ----------
    number : int
        Its place in the batch, from 0.
    sample, dye : str
        Names as in the raw folder.
    raw_dir, output_dir : str
        Absolute paths: a worker may start elsewhere.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What checkpoints are written as.
    loader : str, optional
        Name of the loader of raw images.
    loader_function : callable, optional
        That loader, where workers could not find it by its name.
    params : mapping
        Parameters that are set.
    from_stage, to_stage : int, optional
        First and last stage.
    force : bool
        Run stages even where a valid result exists.
    register_on : str, optional
        The dye whose transform is taken; the task's own dye for one of its own.
    wait_for_lock : float
        Seconds to wait for another run of the same sample and dye.
    time_limit : float, optional
        Seconds that it may take; between two windows it notices.
    least_memory : int
        Bytes of free memory below which it stops; 0 for never.
    memory_debug : bool
        Tell the memory of the process before, during and after.
    registered : mapping
        What the process that made the task has registered (stages, parameters, plots,
        scale methods): a worker that does not know it refuses the task.
    """

    number: int
    sample: str
    dye: str
    raw_dir: str
    output_dir: str
    checkpoint_format: str = "both"
    loader: str | None = None
    loader_function: Loader | None = None
    params: Mapping[str, ParameterValue] = field(default_factory=dict)
    from_stage: int | None = None
    to_stage: int | None = None
    force: bool = False
    register_on: str | None = None
    wait_for_lock: float = 0.0
    time_limit: float | None = None
    least_memory: int = 0
    memory_debug: bool = False
    registered: Mapping[str, tuple[Any, ...]] = field(default_factory=registered_here)

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
        from napari_exo2micro.core.pipeline.sample_dye import SampleDye
        from napari_exo2micro.core.raw.pair import NamedLoader

        refuse_unknown_here(self.registered)
        loader: str | Loader | None = self.loader
        if self.loader is not None and self.loader_function is not None:
            # Not registered: it may be another copy of the function for every task.
            loader = NamedLoader(self.loader, self.loader_function)
        made = SampleDye(
            self.sample,
            self.dye,
            output_dir=self.output_dir,
            raw_dir=self.raw_dir,
            checkpoint_format=self.checkpoint_format,
            loader=loader,
            register_on=self.register_on,
        )
        made.set_params(**self.params)
        return made

    def all_params(self) -> dict[str, ParameterValue]:
        """Return every parameter, those that are not set at their defaults.

        Returns
        -------
        dict
            Parameter name -> value.

        Raises
        ------
        ParameterError
            When a parameter does not fit.
        """
        from napari_exo2micro.core.parameters.parameters import (
            check_parameters,
            default_params,
        )

        return {**default_params(), **check_parameters(self.params)}


def run_task(
    task: Task,
    on_event: OnEvent | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> RunResult:
    """Run one task in this process; every executor calls this function.

    Parameters
    ----------
    task : Task
        What to run.
    on_event : callable, optional
        Told how far it is: events of the state `running`, a few each second.
    should_stop : callable, optional
        A true answer stops the task between two windows of an image.

    Returns
    -------
    RunResult
        What `SampleDye.run` returns, `seconds` with it, and `memory` (bytes
        `before`, `peak`, `after`) when that was asked for. Whatever goes wrong
        becomes the status: ``'error: ...'``, or ``'stopped: ...'``.
    """
    from napari_exo2micro.core.base.machine import release_memory, share_memory_pools

    share_memory_pools()
    start = time.perf_counter()
    watch = _MemoryDiary() if task.memory_debug else None
    with _collected_warnings() as notes:
        try:
            monitor = _monitor(task, on_event, should_stop, watch)
            result = task.open().run(
                from_stage=task.from_stage,
                to_stage=task.to_stage,
                force=task.force,
                monitor=monitor,
                wait_for_lock=task.wait_for_lock,
            )
        except Exception as error:  # noqa: BLE001 - one task must not end the others
            result = result_without_run(task.sample, task.dye, _status_of(error))
    release_memory()
    manual = task.params.get("manual_scale")
    return replace(
        result,
        manual_scale=float(manual) if isinstance(manual, (int, float)) else None,
        warnings=tuple(dict.fromkeys((*result.warnings, *notes))),
        seconds=round(time.perf_counter() - start, 3),
        memory=None if watch is None else watch.close(),
    )


def _status_of(error: Exception) -> str:
    """Return the status of a task that ended with an error."""
    if isinstance(error, CancelledError):
        return STOPPED
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return (
            f"error: not enough memory{detail}; close other programs or use fewer "
            "workers"
        )
    if isinstance(error, (Exo2MicroError, OSError)) and str(error):
        return f"error: {error}"
    logger.error("a task failed", exc_info=error)
    return f"error: unexpected {type(error).__name__}: {error}"


def _monitor(
    task: Task,
    on_event: OnEvent | None,
    should_stop: Callable[[], bool] | None,
    diary: _MemoryDiary | None,
) -> Monitor:
    """Return what the run reports to."""
    from napari_exo2micro.core.base.machine import watch_memory, watch_time

    stage, said, last = 0, "", 0.0

    def report(fraction: float, text: str) -> None:
        nonlocal stage, said, last
        if diary is not None:
            diary.look()
        found = _STAGE.match(text)
        if found:
            stage = int(found[1])
        now = time.monotonic()
        if on_event is None or (not found and now - last < _EVENT_INTERVAL):
            return
        said, last = text or said, now
        on_event(
            TaskEvent(
                task.number,
                task.sample,
                task.dye,
                TaskState.RUNNING,
                stage=stage,
                fraction=fraction,
                text=said,
            )
        )

    monitor = Monitor(report, should_stop)
    if task.least_memory:
        monitor = watch_memory(monitor, task.least_memory)
    if task.time_limit is not None:
        monitor = watch_time(monitor, task.time_limit)
    monitor.report(0.0, "")
    return monitor


class _MemoryDiary:
    """Private memory of this process before, during and after a task."""

    def __init__(self) -> None:
        from napari_exo2micro.core.base.machine import private_memory

        self._measure = private_memory
        self.before = self.peak = private_memory()

    def look(self) -> None:
        """Note the memory that is taken now."""
        self.peak = max(self.peak, self._measure())

    def close(self) -> dict[str, int]:
        """Return the bytes of all three."""
        after = self._measure()
        return {
            "before": self.before,
            "peak": max(self.peak, after),
            "after": after,
        }


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Collect what the package logs as warnings in this thread."""
    texts: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and record.levelno == logging.WARNING:
                text = record.getMessage()
                if text not in texts:
                    texts.append(text)

    handler = Collector(logging.WARNING)
    package = logging.getLogger("napari_exo2micro")
    package.addHandler(handler)
    try:
        yield texts
    finally:
        package.removeHandler(handler)


@dataclass(frozen=True, slots=True)
class StoredState:
    """What is on disk for a task.

    Attributes
    ----------
    state : {'none', 'part', 'stale', 'done', 'degraded'}
        Nothing; the first stages; results that are not used any more; all that the
        task would make; the same, and a stage does not vouch for its result.
    reason : str
        Why results are stale or degraded; for a part, which stages there are.
    to_run : tuple of int
        Stages that the task would run now.
    holder : str
        Who works on this sample and dye now; empty when nobody does.
    result : RunResult, optional
        As `SampleDye.run` returned it, where all is done.
    """

    state: Literal["none", "part", "stale", "done", "degraded"]
    reason: str = ""
    to_run: tuple[int, ...] = ()
    holder: str = ""
    result: RunResult | None = None

    @property
    def has_results(self) -> bool:
        """Whether at least one stage has results that are used."""
        return self.state in ("part", "done", "degraded")


def stages_to_run(task: Task) -> tuple[int, ...]:
    """Return the stages that a task would run now.

    Parameters
    ----------
    task : Task
        Its files are looked at, nothing is written.
    """
    return _to_run(task, task.open().status())


def stored_state(task: Task) -> StoredState:
    """Return what is on disk for a task.

    Parameters
    ----------
    task : Task
        Its files are looked at, nothing is written.

    Raises
    ------
    Exo2MicroError
        When a name or a parameter does not fit.
    """
    opened = task.open()
    lines = opened.status()
    to_run = _to_run(task, lines)
    found = lock_holder(task.output_dir, task.sample, task.dye)
    holder = str(found) if found is not None else ""
    _, last = stage_range(task.from_stage, task.to_stage)
    own = [line for line in lines if line.stage <= last]
    if all(line.state == "valid" for line in own):
        result = opened.result(last)
        word, _, reason = str(result["status"]).partition(": ")
        state: Literal["done", "degraded"] = "done"
        if word == "degraded":
            state = "degraded"
        return StoredState(state, reason, to_run, holder, result)
    for line in own:
        if line.state == "stale":
            title = f"stage {line.stage} {STAGES[line.stage].title}"
            return StoredState("stale", f"{title}: {line.reason}", to_run, holder)
    done = stages_done(own)
    if done:
        words = "stage 1 is" if done == 1 else f"stages 1 to {done} are"
        return StoredState("part", f"{words} done", to_run, holder)
    return StoredState("none", "", to_run, holder)


def _to_run(task: Task, lines: list[CheckpointStatus]) -> tuple[int, ...]:
    first, last = stage_range(task.from_stage, task.to_stage)
    invalid = {line.stage for line in lines if line.state != "valid"}
    return tuple(
        stage
        for stage in range(1, last + 1)
        if stage in invalid or (task.force and stage >= first)
    )
