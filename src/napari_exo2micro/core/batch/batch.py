"""`run_batch`: many samples and dyes, planned and checked before anything runs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari_exo2micro.core.base import errors
from napari_exo2micro.core.base.files import check_output
from napari_exo2micro.core.base.machine import LEAST_MEMORY
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.batch.board import summarise_batch
from napari_exo2micro.core.batch.executors import ALSO_CALLED, Executor, make_executor
from napari_exo2micro.core.batch.resources import check_resources
from napari_exo2micro.core.batch.task import (
    ENDED_WELL,
    OnEvent,
    Task,
    TaskEvent,
)
from napari_exo2micro.core.parameters.run import RunSettings
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.pipeline.log import RunLog, run_log
from napari_exo2micro.core.pipeline.result import RunResult
from napari_exo2micro.core.raw.folder import SkippedTask, discover_tasks
from napari_exo2micro.core.raw.names import check_name, find_pair
from napari_exo2micro.core.raw.pair import (
    Loader,
    NamedLoader,
    get_loader,
    load_image_pair,
    loader_name,
)

logger = logging.getLogger(__name__)

Parallel = bool | Literal["workers", "pool", "subprocess", "dask"]

#: The last stage whose transform other dyes take over.
_LAST_SHARED_STAGE = 3

# Tasks that run at once must not all stop when memory runs out: one is the first.
_MEMORY_STEPS, _MEMORY_STEP = 8, 40_000_000


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch will run.

    Attributes
    ----------
    tasks : tuple of Task
        In the order asked for; their numbers count from 0.
    skipped : tuple of SkippedTask
        Pairs asked for that cannot run, each with its reason.
    warnings : tuple of str
        Problems of other files in the same folders.
    """

    tasks: tuple[Task, ...]
    skipped: tuple[SkippedTask, ...] = ()
    warnings: tuple[str, ...] = ()

    def phases(self) -> tuple[tuple[Task, ...], ...]:
        """Return the tasks in groups: each needs nothing but the groups before it."""
        waits = [task for task in self.tasks if _takes_over(task)]
        first = [task for task in self.tasks if not _takes_over(task)]
        return tuple(tuple(group) for group in (first, waits) if group)


def plan_batch(
    samples: Iterable[str] | None = None,
    dyes: Iterable[str] | None = None,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    params: Mapping[str, Any] | None = None,
    output_dir: str | Path = "processed",
    raw_dir: str | Path = "raw",
    from_stage: int | None = None,
    to_stage: int | None = None,
    force: bool = False,
    checkpoint_format: str = "both",
    strict_dyes: bool = True,
    register_on: str | None = None,
    loader: Loader | str | None = None,
    timeout_per_task: float | None = None,
    wait_for_lock: float = 0.0,
    memory_debug: bool = False,
) -> BatchPlan:
    """Return what a batch will run; nothing runs yet.

    Parameters
    ----------
    samples, dyes : iterable of str, optional
        Names as in the raw folder. All samples, and for each sample all of its
        dyes, when left out.
    pairs : iterable of (str, str), optional
        Samples with dyes, in place of `samples` and `dyes`.
    params : mapping, optional
        Parameters that differ from their defaults.
    output_dir, raw_dir : str or Path
        Where results go and where raw files are.
    from_stage, to_stage : int, optional
        First and last stage.
    force : bool
        Run the stages even where a valid result exists.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What checkpoints are written as.
    strict_dyes : bool
        Any pair that cannot run is an error that lists them all; otherwise such
        pairs are in `BatchPlan.skipped`, with reasons.
    register_on : str, optional
        Register this dye only: the other dyes of a sample take its transform.
    loader : callable or str, optional
        Reads a pair instead of `load_image_pair`; samples and dyes must then be
        named.
    timeout_per_task : float, optional
        Seconds after which a task is ended.
    wait_for_lock : float
        Seconds to wait where another program works on the same sample and dye.
    memory_debug : bool
        Each result tells the memory of its process.

    Returns
    -------
    BatchPlan
        The tasks in their order, and the pairs that cannot run.

    Raises
    ------
    RawFileNotFoundError
        With `strict_dyes`: when a pair cannot run. The message lists all of them.
    ParameterError
        When an argument does not fit.
    """
    settings = RunSettings(
        raw_dir=Path(raw_dir).absolute(),
        output_dir=Path(output_dir).absolute(),
        checkpoint_format=checkpoint_format,
        params=dict(params or {}),
        loader=_loader_for_workers(loader),
        register_on=register_on,
        from_stage=from_stage,
        to_stage=to_stage,
        force=force,
    )
    if register_on is not None:
        check_name("dye", register_on)
    # Each is read more than once, which an iterator does not bear.
    samples, dyes = _listed(samples), _listed(dyes)
    pairs = None if pairs is None else [(sample, dye) for sample, dye in pairs]
    present, skipped, warnings = _pairs(samples, dyes, pairs, raw_dir, loader)
    if register_on is not None:
        present, more = _with_references(present, register_on, raw_dir, loader)
        skipped = (*skipped, *more)
    if strict_dyes and skipped:
        raise errors.RawFileNotFoundError(_all_missing(skipped, len(present)))
    of_reference = settings
    if register_on is not None:
        # Only its transform was asked for, not its difference.
        last = min(to_stage or _LAST_SHARED_STAGE, _LAST_SHARED_STAGE)
        first = None if from_stage is None else min(from_stage, last)
        of_reference = replace(settings, from_stage=first, to_stage=last)
    tasks = []
    for number, (sample, dye) in enumerate(present):
        is_extra = dye == register_on and not _was_asked_for(sample, dye, dyes, pairs)
        tasks.append(
            Task(
                number,
                sample,
                dye,
                of_reference if is_extra else settings,
                wait_for_lock=wait_for_lock,
                time_limit=timeout_per_task,
                least_memory=LEAST_MEMORY + number % _MEMORY_STEPS * _MEMORY_STEP,
                memory_debug=memory_debug,
            )
        )
    return BatchPlan(tuple(tasks), tuple(skipped), tuple(warnings))


def _was_asked_for(
    sample: str,
    dye: str,
    dyes: Sequence[str] | None,
    pairs: Sequence[tuple[str, str]] | None,
) -> bool:
    if pairs is not None:
        return (sample, dye) in pairs
    return dyes is None or dye in dyes


def _listed(names: Iterable[str] | None) -> list[str] | None:
    """Return names as a list; one name may stand for itself."""
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


def _pairs(
    samples: Sequence[str] | None,
    dyes: Sequence[str] | None,
    pairs: Sequence[tuple[str, str]] | None,
    raw_dir: str | Path,
    loader: Loader | str | None,
) -> tuple[list[tuple[str, str]], tuple[SkippedTask, ...], tuple[str, ...]]:
    """Return the pairs that can run, those that cannot, and warnings."""
    if pairs is not None:
        if samples is not None or dyes is not None:
            raise errors.ParameterError(
                "either samples and dyes are named, or pairs of them; found both"
            )
        return _named_pairs(pairs, raw_dir, loader)
    if _is_built_in(loader):
        discovered = discover_tasks(samples, dyes, raw_dir)
        return list(discovered.present), discovered.skipped, discovered.warnings
    if samples is None or dyes is None:
        raise errors.ParameterError(
            "with a loader of one's own the samples and dyes must be named: only it "
            "knows where they are"
        )
    product = [(sample, dye) for sample in samples for dye in dyes]
    return list(dict.fromkeys(product)), (), ()


def _named_pairs(
    pairs: Sequence[tuple[str, str]], raw_dir: str | Path, loader: Loader | str | None
) -> tuple[list[tuple[str, str]], tuple[SkippedTask, ...], tuple[str, ...]]:
    wanted = list(dict.fromkeys(pairs))
    if not _is_built_in(loader) or not wanted:
        return wanted, (), ()
    discovered = discover_tasks(
        list(dict.fromkeys(sample for sample, _ in wanted)),
        list(dict.fromkeys(dye for _, dye in wanted)),
        raw_dir,
    )
    present = set(discovered.present)
    return (
        [pair for pair in wanted if pair in present],
        tuple(task for task in discovered.skipped if (task.sample, task.dye) in wanted),
        discovered.warnings,
    )


def _with_references(
    present: Sequence[tuple[str, str]],
    dye: str,
    raw_dir: str | Path,
    loader: Loader | str | None,
) -> tuple[list[tuple[str, str]], list[SkippedTask]]:
    """Add the dye that is registered where it was not asked for.

    Pairs of samples that do not have it cannot run.
    """
    kept: list[tuple[str, str]] = []
    skipped: list[SkippedTask] = []
    problems: dict[str, str] = {}
    for sample in dict.fromkeys(sample for sample, _ in present):
        if (sample, dye) in present or not _is_built_in(loader):
            problems[sample] = ""
        else:
            problems[sample] = _problem_of(sample, dye, raw_dir)
    for sample, own in present:
        if problems[sample]:
            reason = f"it is to take the transform of {dye}: {problems[sample]}"
            skipped.append(SkippedTask(sample, own, reason))
            continue
        if (sample, dye) not in present and (sample, dye) not in kept:
            kept.append((sample, dye))
        kept.append((sample, own))
    return kept, skipped


def _problem_of(sample: str, dye: str, raw_dir: str | Path) -> str:
    try:
        find_pair(sample, dye, raw_dir)
    except errors.Exo2MicroError as error:
        return str(error)
    return ""


def _all_missing(skipped: Sequence[SkippedTask], n_present: int) -> str:
    """Return one line that names every pair that cannot run."""
    listed = " | ".join(task.sentence() for task in skipped)
    return (
        f"{len(skipped)} of {len(skipped) + n_present} pairs cannot run, nothing was "
        f"started: {listed} | put these right, or run the rest without them "
        "(strict_dyes=False, --lenient)"
    )


def _is_built_in(loader: Loader | str | None) -> bool:
    return get_loader(loader) is load_image_pair


def _loader_for_workers(loader: Loader | str | None) -> NamedLoader | None:
    """Return a loader itself with its name, by which workers may not know it."""
    if _is_built_in(loader):
        return None
    function = get_loader(loader)
    return NamedLoader(loader_name(function), function)


def _takes_over(task: Task) -> bool:
    return task.settings.register_on not in (None, task.dye)


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
) -> list[RunResult]:
    """Run every combination of samples and dyes; a failed one stops no other.

    Parameters
    ----------
    samples, dyes : sequence of str, optional
        Names as in the raw folder. All samples, and for each sample all of its
        dyes, when left out.
    parallel : bool or {'workers', 'dask'}
        False: one after the other in this process. True or ``'workers'`` (also
        ``'pool'`` and ``'subprocess'``): in worker processes of this computer.
        ``'dask'``: see `scheduler`.
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
    if isinstance(parallel, bool):
        return "workers" if parallel else "serial"
    if ALSO_CALLED.get(parallel, parallel) not in ("workers", "dask"):
        raise errors.ParameterError(
            f"parallel takes False, True or one of workers, dask, found {parallel!r}"
        )
    return parallel


def run_plan(
    plan: BatchPlan,
    executor: Executor,
    *,
    force_run: bool = False,
    monitor: Monitor | None = None,
    on_event: OnEvent | None = None,
) -> list[RunResult]:
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
            plan.tasks[0].settings.output_dir,
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
    if plan.tasks:
        settings = plan.tasks[0].settings
        check_output(settings.output_dir, settings.raw_dir)
    needs = check_resources(plan.tasks, executor.n_workers, here=executor.is_here)
    if needs.level == "too little" and not force_run:
        raise errors.ResourceError(
            f"{needs.message}. Run all the same with force_run (--force-run)"
        )
    if needs.level != "enough":
        logger.warning("%s", needs.message)


def _details(plan: BatchPlan, executor: Executor) -> dict[str, object]:
    """Return what the run log's header tells of a batch."""
    settings = plan.tasks[0].settings
    tasks = ", ".join(f"{task.sample} / {task.dye}" for task in plan.tasks)
    return {
        "tasks": tasks,
        "skipped": ", ".join(f"{t.sample} / {t.dye}" for t in plan.skipped) or "none",
        "raw files": settings.raw_dir,
        "parameters": ", ".join(f"{n}={v!r}" for n, v in settings.params.items())
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
        self._results: dict[int, RunResult] = {}
        self._log: RunLog | None = None

    def run(self, executor: Executor, log: RunLog | None = None) -> list[RunResult]:
        """Run all tasks and return their results, the skipped ones last."""
        self._log = log
        for task in self._plan.tasks:
            self._tell(TaskEvent.queued(task))
        skipped = []
        for number, pair in enumerate(self._plan.skipped, len(self._plan.tasks)):
            skipped.append(
                RunResult(
                    *(pair.sample, pair.dye, State.NO_FILES, pair.reason), seconds=0.0
                )
            )
            self._tell(TaskEvent.ended(number, skipped[-1]))
        for phase in self._plan.phases():
            ready = [task for task in phase if self._may_run(task)]
            if ready:
                results = executor.run(ready, self._tell, self._should_stop)
                for task, result in zip(ready, results, strict=True):
                    self._results[task.number] = result
        return [self._results[task.number] for task in self._plan.tasks] + skipped

    def _may_run(self, task: Task) -> bool:
        """Return whether the transform that a task takes over was found."""
        for other in self._plan.tasks:
            if (other.sample, other.dye) != (task.sample, task.settings.register_on):
                continue
            done = self._results.get(other.number)
            if done is None or done.state in ENDED_WELL:
                continue
            reason = done.reason
            if done.state is State.FAILED:
                reason = (
                    f"its transform would be that of {other.dye}, which failed: "
                    f"{reason}"
                )
            result = task.without_run(done.state, reason)
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
        text = f"{event.sample} {event.dye}: {event.text or event.state.word}"
        with suppress(errors.CancelledError):  # `_should_stop` says so to the executor
            self._monitor.report(whole, text)

    def _should_stop(self) -> bool:
        try:
            self._monitor.check()
        except errors.CancelledError:
            return True
        return False
