"""`run_batch`: many samples and dyes, on this computer or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from napari_exo2micro.core.batch_plan import BatchPlan, plan_batch
from napari_exo2micro.core.batch_summary import summarise_batch
from napari_exo2micro.core.errors import (
    CancelledError,
    ParameterError,
    ResourceError,
)
from napari_exo2micro.core.executors import Executor, make_executor
from napari_exo2micro.core.folders import check_output
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw import Loader
from napari_exo2micro.core.resources import check_resources
from napari_exo2micro.core.runlog import RunLog, run_log
from napari_exo2micro.core.tasks import (
    OnEvent,
    Task,
    TaskEvent,
    TaskState,
    result_without_run,
    state_of,
)

__all__ = ["plan_batch", "run_batch", "run_plan", "summarise_batch"]

logger = logging.getLogger(__name__)

Parallel = bool | Literal["pool", "subprocess", "dask"]


def run_batch(
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
    parallel: Parallel = False,
    n_workers: int = 4,
    params: Mapping[str, Any] | None = None,
    output_dir: str | Path = "processed",
    raw_dir: str | Path = "raw",
    from_stage: int | None = None,
    to_stage: int | None = None,
    force: bool = False,
    checkpoint_format: str = "both",
    strict_dyes: bool = True,
    memory_debug: bool = False,
    timeout_per_task: float | None = None,
    force_run: bool = False,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    scheduler: Any = None,
    register_on: str | None = None,
    loader: Loader | str | None = None,
    wait_for_lock: float = 600.0,
    monitor: Monitor | None = None,
    on_event: OnEvent | None = None,
) -> list[dict[str, Any]]:
    """Run every combination of samples and dyes; a failed one stops no other.

    Parameters
    ----------
    samples, dyes : sequence of str, optional
        Names as in the raw folder. All samples, and for each sample all of its
        dyes, when left out.
    parallel : bool or {'pool', 'subprocess', 'dask'}
        False: one after the other in this process. True or ``'pool'``: in worker
        processes. ``'subprocess'``: in a new process for each task. ``'dask'``:
        see `scheduler`.
    n_workers : int
        How many tasks run at once.
    params : mapping, optional
        Parameters that differ from their defaults.
    output_dir, raw_dir : str or Path
        Results go to ``<output_dir>/<sample>/<dye>``; where raw files are.
    from_stage, to_stage : int, optional
        First and last stage; all of them by default.
    force : bool
        Run the stages even where a valid result exists.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What checkpoints are written as.
    strict_dyes : bool
        Any pair that cannot run is an error that lists them all, before anything
        runs; otherwise such pairs are skipped, with reasons.
    memory_debug : bool
        Each result tells the memory of its process: `memory`, bytes.
    timeout_per_task : float, optional
        Seconds after which a task is ended.
    force_run : bool
        Run even when memory or disk look too small.
    pairs : sequence of (str, str), optional
        Samples with dyes, in place of `samples` and `dyes`, where not every
        combination is wanted.
    scheduler : str, distributed.Client or cluster, optional
        Run on the workers of dask: ``'tcp://...'``, an existing client or cluster
        (one of dask-jobqueue for SLURM, for example), or ``'local'``.
    register_on : str, optional
        Register this dye only: the other dyes of a sample take its transform.
    loader : callable or str, optional
        Reads a pair instead of `load_image_pair`; samples and dyes must then be
        named.
    wait_for_lock : float
        Seconds to wait where another program works on the same sample and dye.
    monitor : Monitor, optional
        Told the fraction of the whole batch; stopping it ends running tasks
        between two windows and leaves finished ones alone.
    on_event : callable, optional
        Told in the calling thread what happens to each task, see `TaskEvent`.

    Returns
    -------
    list of dict
        What `SampleDye.run` returns, in the order asked for, with `seconds`; where
        there is no result the `status` is ``'error: ...'``, ``'skipped: ...'`` or
        ``'stopped: ...'``. `summarise_batch` counts them.

    Raises
    ------
    RawFileNotFoundError
        When there is nothing to run, or `strict_dyes` finds pairs that cannot.
    ParameterError
        When an argument does not fit.
    OutputError
        When results cannot go to `output_dir`; nothing is written then.
    ResourceError
        When memory or disk are too small; the message has the numbers.

    Examples
    --------
    >>> results = run_batch(["CD070"], ["SybrGld", "DAPI"], params={"pad": 60})
    >>> print(summarise_batch(results).sentence())
    2 tasks: 2 complete
    """
    plan = plan_batch(
        samples,
        dyes,
        pairs=pairs,
        params=params,
        output_dir=output_dir,
        raw_dir=raw_dir,
        from_stage=from_stage,
        to_stage=to_stage,
        force=force,
        checkpoint_format=checkpoint_format,
        strict_dyes=strict_dyes,
        register_on=register_on,
        loader=loader,
        timeout_per_task=timeout_per_task,
        wait_for_lock=wait_for_lock,
        memory_debug=memory_debug,
    )
    executor = make_executor(
        executor_kind(parallel, scheduler),
        n_workers=n_workers,
        timeout_per_task=timeout_per_task,
        scheduler=scheduler,
        monitor=monitor,
    )
    return run_plan(
        plan, executor, force_run=force_run, monitor=monitor, on_event=on_event
    )


def executor_kind(parallel: Parallel, scheduler: Any = None) -> str:
    """Return the name of the executor that `parallel` and `scheduler` stand for.

    Raises
    ------
    ParameterError
        When `parallel` is something else.
    """
    if scheduler is not None:
        return "dask"
    kinds = {False: "serial", True: "pool"}
    named = ("pool", "subprocess", "dask")
    if isinstance(parallel, bool):
        return kinds[parallel]
    if parallel not in named:
        raise ParameterError(
            f"parallel takes False, True or one of {', '.join(named)}, found "
            f"{parallel!r}"
        )
    return parallel


def run_plan(
    plan: BatchPlan,
    executor: Executor,
    *,
    force_run: bool = False,
    monitor: Monitor | None = None,
    on_event: OnEvent | None = None,
) -> list[dict[str, Any]]:
    """Run what `plan_batch` has decided; `run_batch` is both in one.

    Parameters
    ----------
    plan : BatchPlan
        What to run.
    executor : Executor
        Where; it is closed in the end.
    force_run, monitor, on_event
        As for `run_batch`.

    Raises
    ------
    OutputError
        When results cannot go to their folder; nothing is written then.
    ResourceError
        When memory or disk are too small.
    """
    board = _Board(plan, monitor or Monitor(), on_event)
    try:
        _check(plan, executor, force_run)
        if not plan.tasks:
            return board.run(executor)
        with run_log(
            plan.tasks[0].output_dir,
            title=f"batch, tasks: {len(plan.tasks)}",
            details=_details(plan, executor),
        ) as log:
            results = board.run(executor, log)
            summary = summarise_batch(results)
            for problem in summary.problems:
                logger.info(
                    "%s / %s: %s: %s",
                    problem.sample,
                    problem.dye,
                    problem.kind,
                    problem.reason,
                )
            log.conclude(summary.sentence())
    finally:
        executor.close()
    return results


def _check(plan: BatchPlan, executor: Executor, force_run: bool) -> None:
    """Refuse what does not fit, and warn where it is tight."""
    for output_dir, raw_dir in {(one.output_dir, one.raw_dir) for one in plan.tasks}:
        check_output(output_dir, raw_dir)
    found = check_resources(plan.tasks, executor.n_workers, here=executor.is_here)
    if found.level == "too little" and not force_run:
        raise ResourceError(
            f"{found.message}. Run all the same with force_run (--force-run)"
        )
    if found.level != "enough":
        logger.warning("%s", found.message)


def _details(plan: BatchPlan, executor: Executor) -> dict[str, object]:
    """Return what the run log's header tells of a batch."""
    first = plan.tasks[0]
    tasks = ", ".join(f"{task.sample} / {task.dye}" for task in plan.tasks)
    return {
        "tasks": tasks,
        "skipped": ", ".join(f"{t.sample} / {t.dye}" for t in plan.skipped) or "none",
        "raw files": first.raw_dir,
        "parameters": ", ".join(f"{n}={v!r}" for n, v in first.params.items())
        or "all at their defaults",
        "workers": executor.n_workers,
    }


class _Board:
    """Keeps what is known of each task, and runs those that can run."""

    def __init__(
        self, plan: BatchPlan, monitor: Monitor, on_event: OnEvent | None
    ) -> None:
        self._plan = plan
        self._monitor = monitor
        self._listener = on_event
        self._fractions = dict.fromkeys((task.number for task in plan.tasks), 0.0)
        self._results: dict[int, dict[str, Any]] = {}
        self._log: RunLog | None = None

    def run(
        self, executor: Executor, log: RunLog | None = None
    ) -> list[dict[str, Any]]:
        """Run all tasks and return their results, the skipped ones last."""
        self._log = log
        for task in self._plan.tasks:
            self._tell(TaskEvent.queued(task))
        skipped = []
        for number, pair in enumerate(self._plan.skipped, len(self._plan.tasks)):
            status = f"skipped: {pair.reason}"
            skipped.append(result_without_run(pair.sample, pair.dye, status))
            self._tell(TaskEvent.ended(number, skipped[-1]))
        for phase in self._plan.phases():
            ready = [task for task in phase if self._may_run(task)]
            if ready:
                found = executor.run(ready, self._tell, self._should_stop)
                for task, result in zip(ready, found, strict=True):
                    self._results[task.number] = result
        return [self._results[task.number] for task in self._plan.tasks] + skipped

    def _may_run(self, task: Task) -> bool:
        """Return whether the transform that a task takes over was found."""
        for other in self._plan.tasks:
            if (other.sample, other.dye) != (task.sample, task.register_on):
                continue
            done = self._results.get(other.number)
            if done is None or state_of(done) is TaskState.DONE:
                continue
            word, _, reason = str(done["status"]).partition(": ")
            if word == "error":
                reason = f"its transform would be that of {other.dye}, which failed: "
                reason += str(done["status"]).partition(": ")[2]
            status = f"{word}: {reason}"
            result = result_without_run(task.sample, task.dye, status)
            self._results[task.number] = result
            self._tell(TaskEvent.ended(task.number, result))
            return False
        return True

    def _tell(self, event: TaskEvent) -> None:
        """Hand an event on, and the fraction of the whole to the monitor."""
        if self._log is not None:
            self._log.catch_up()  # a task may have made the folder just now
        if event.number in self._fractions:
            ended = event.result is not None
            self._fractions[event.number] = 1.0 if ended else event.fraction
        if self._listener is not None:
            self._listener(event)
        fractions = self._fractions.values()
        whole = sum(fractions) / len(fractions) if fractions else 1.0
        text = f"{event.sample} {event.dye}: {event.text or event.state}"
        with suppress(CancelledError):  # `_should_stop` says so to the executor
            self._monitor.report(whole, text)

    def _should_stop(self) -> bool:
        try:
            self._monitor.check()
        except CancelledError:
            return True
        return False
