"""`run_batch`: many samples and dyes, planned and checked before anything runs."""

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari_exo2micro.core.base import Monitor, check_output, errors, machine, text
from napari_exo2micro.core.batch.board import BatchBoard, BatchResults, summarise_batch
from napari_exo2micro.core.batch.executors import Executor, executor_kind, make_executor
from napari_exo2micro.core.batch.resources import check_resources
from napari_exo2micro.core.batch.task import (
    ENDED_WELL,
    OnEvent,
    Task,
    TaskEvent,
    event_of,
    without_run,
)
from napari_exo2micro.core.parameters import RunSettings, State
from napari_exo2micro.core.pipeline.log import RunLog, run_log
from napari_exo2micro.core.pipeline.result import RunResult
from napari_exo2micro.core.raw import SkippedTask, TaskDiscovery, check_name, folder
from napari_exo2micro.core.raw.pair import (
    Loader,
    NamedLoader,
    get_loader,
    load_image_pair,
    loader_name,
    reader_of,
)

logger = logging.getLogger(__name__)

Parallel = bool | Literal["serial", "workers", "pool", "subprocess", "dask"]

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
        first = tuple(task for task in self.tasks if not task.takes_over)
        after = tuple(task for task in self.tasks if task.takes_over)
        return tuple(filter(None, (first, after)))


def plan_batch(
    samples: Iterable[str] | None = None,
    dyes: Iterable[str] | None = None,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    strict_dyes: bool = True,
    timeout_per_task: float | None = None,
    wait_for_lock: float = 0.0,
    memory_debug: bool = False,
    verify: bool = False,
    **fields: Any,
) -> BatchPlan:
    """Return what a batch will run; nothing runs yet.

    Parameters
    ----------
    samples, dyes, pairs : iterable, optional
        What to run, as for `run_batch`.
    strict_dyes : bool
        Any pair that cannot run is an error; otherwise `BatchPlan.skipped` has them.
    timeout_per_task, wait_for_lock : float
        Seconds, as for `run_batch`.
    memory_debug : bool
        Each result tells the memory of its process.
    verify : bool
        As for `run_batch`.
    **fields : optional
        Those of `RunSettings`, such as ``raw_dir="raw"``.

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
    if timeout_per_task is not None and not timeout_per_task > 0:
        raise errors.ParameterError(
            "timeout_per_task takes a number of seconds above 0 or None, found "
            f"{timeout_per_task!r}"
        )
    settings = RunSettings(**fields)
    if settings.landmarks is not None or settings.regions is not None:
        raise errors.ParameterError(
            "landmarks and regions are of one pair of images, a batch cannot take them "
            "for all; name the files of each pair in pairs.csv"
        )
    settings = replace(
        settings,
        raw_dir=settings.raw_dir.absolute(),
        output_dir=settings.output_dir.absolute(),
        loader=_loader_for_workers(settings.loader),
    )
    asked = _asked_for(samples, dyes, pairs, settings)
    planned, skipped = list(asked.present), list(asked.skipped)
    of_reference = settings
    if settings.register_on is not None:
        check_name("dye", settings.register_on)
        planned, more = _with_references(asked.present, settings)
        skipped += more
        # Only its transform is needed, not its difference.
        last = min(settings.to_stage or _LAST_SHARED_STAGE, _LAST_SHARED_STAGE)
        first = None if settings.from_stage is None else min(settings.from_stage, last)
        of_reference = replace(settings, from_stage=first, to_stage=last)
    if strict_dyes and skipped:
        listed = " | ".join(task.sentence() for task in skipped)
        raise errors.RawFileNotFoundError(
            f"{len(skipped)} of {len(skipped) + len(planned)} pairs cannot run, "
            f"nothing was started: {listed} | put these right, or run the rest without "
            "them (strict_dyes=False, --lenient)"
        )
    tasks = [
        Task(
            number,
            *pair,
            settings if pair in asked.present else of_reference,
            wait_for_lock=wait_for_lock,
            time_limit=timeout_per_task,
            least_memory=machine.LEAST_MEMORY + number % _MEMORY_STEPS * _MEMORY_STEP,
            memory_debug=memory_debug,
            verify=verify,
        )
        for number, pair in enumerate(planned)
    ]
    return BatchPlan(tuple(tasks), tuple(skipped), asked.warnings)


def _asked_for(
    samples: Iterable[str] | None,
    dyes: Iterable[str] | None,
    pairs: Iterable[tuple[str, str]] | None,
    settings: RunSettings,
) -> TaskDiscovery:
    """Return the pairs that can run and those that cannot."""
    if pairs is not None:
        if samples is not None or dyes is not None:
            raise errors.ParameterError(
                "either samples and dyes are named, or pairs of them; found both"
            )
        wanted = list(dict.fromkeys((sample, dye) for sample, dye in pairs))
        if not _reads_files(settings) or not wanted:
            return TaskDiscovery(tuple(wanted), (), ())
        samples, dyes = map(dict.fromkeys, zip(*wanted, strict=True))
        found = folder.discover_tasks(list(samples), list(dyes), settings.raw_dir)
        present, asked = set(found.present), set(wanted)
        return TaskDiscovery(
            tuple(pair for pair in wanted if pair in present),
            tuple(t for t in found.skipped if (t.sample, t.dye) in asked),
            found.warnings,
        )
    samples, dyes = _listed(samples), _listed(dyes)
    if _reads_files(settings):
        return folder.discover_tasks(samples, dyes, settings.raw_dir)
    if samples is None or dyes is None:
        raise errors.ParameterError(
            "with a loader of one's own the samples and dyes must be named: only it "
            "knows where they are"
        )
    product = dict.fromkeys(itertools.product(samples, dyes))
    return TaskDiscovery(tuple(product), (), ())


def _listed(names: Iterable[str] | None) -> list[str] | None:
    """Return names as a list; one name may stand for itself."""
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


def _with_references(
    present: Iterable[tuple[str, str]], settings: RunSettings
) -> tuple[list[tuple[str, str]], list[SkippedTask]]:
    """Add the dye that is registered where it was not asked for.

    Pairs of samples that do not have it cannot run.
    """
    present = list(present)
    known, why = set(present), dict[tuple[str, str], str]()
    missing = {
        sample
        for sample, _ in present
        if (sample, str(settings.register_on)) not in known
    }
    if missing and _reads_files(settings):
        asked = sorted(missing), [str(settings.register_on)]
        found = folder.discover_tasks(*asked, settings.raw_dir)
        why = {(task.sample, task.dye): task.reason for task in found.skipped}
    planned: list[tuple[str, str]] = []
    skipped: list[SkippedTask] = []
    for sample, dye in present:
        reference = (sample, str(settings.register_on))
        if reference not in known:
            if reference in why:
                reason = (
                    f"it is to take the transform of {reference[1]}: {why[reference]}"
                )
                skipped.append(SkippedTask(sample, dye, reason))
                continue
            known.add(reference)
            planned.append(reference)
        planned.append((sample, dye))
    return planned, skipped


def _reads_files(settings: RunSettings) -> bool:
    """Return whether pairs are found by the names of their files."""
    return reader_of(get_loader(settings.loader)) is not None


def _loader_for_workers(loader: Loader | str | None) -> NamedLoader | None:
    """Return a loader itself with its name, by which workers may not know it."""
    function = get_loader(loader)
    if function is load_image_pair:
        return None
    return NamedLoader(loader_name(function), function)


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
    verify: bool = False,
    monitor: Monitor | None = None,
    on_event: OnEvent | None = None,
    progress: bool = True,
) -> BatchResults:
    """Run every combination of samples and dyes; a failed one stops no other.

    Parameters
    ----------
    samples, dyes : sequence of str, optional
        Names as in the raw folder. All samples, and for each sample all of its
        dyes, when left out.
    parallel : bool or {'serial', 'workers', 'dask'}
        False or ``'serial'``: one after the other in this process. True or
        ``'workers'`` (also ``'pool'`` and ``'subprocess'``): in worker processes of
        this computer. ``'dask'``: see `scheduler`.
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
    verify : bool
        Read the raw files to see whether they are those that results were made from,
        and the pixels of all results, also where size, times and place on the disk
        say that they are as they were.
    monitor : Monitor, optional
        Told the fraction of the whole batch; stopping it ends running tasks
        between two windows and leaves finished ones alone.
    on_event : callable, optional
        Told in the calling thread what happens to each task, see `TaskEvent`.
    progress : bool
        Show how far it is, and in the end the table of results, in a terminal or a
        notebook, where no `monitor` is given.

    Returns
    -------
    list of RunResult
        What `SampleDye.run` returns, in the order asked for, with `seconds`; where
        there is no result the `status` is ``'error: ...'``, ``'skipped: ...'`` or
        ``'stopped: ...'``. It prints as a table; `summarise_batch` counts them.

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
    2 tasks: 2 done
    """
    executor_kind(parallel, scheduler)  # a wrong one is told before anything is read
    plan = plan_batch(
        samples,
        dyes,
        pairs=pairs,
        strict_dyes=strict_dyes,
        timeout_per_task=timeout_per_task,
        wait_for_lock=wait_for_lock,
        memory_debug=memory_debug,
        verify=verify,
        params=params or {},
        output_dir=output_dir,
        raw_dir=raw_dir,
        from_stage=from_stage,
        to_stage=to_stage,
        force=force,
        checkpoint_format=checkpoint_format,
        register_on=register_on,
        loader=loader,
    )
    title = f"batch of {len(plan.tasks)}"
    with text.told(monitor, title, progress) as whole:
        executor = make_executor(
            parallel, n_workers=n_workers, scheduler=scheduler, monitor=whole
        )
        results = run_plan(
            plan, executor, force_run=force_run, monitor=whole, on_event=on_event
        )
    if monitor is None and progress:
        text.show(results)
    return results


def run_plan(
    plan: BatchPlan,
    executor: Executor,
    *,
    force_run: bool = False,
    monitor: Monitor | None = None,
    on_event: OnEvent | None = None,
) -> BatchResults:
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
    run = _PlanRun(plan, monitor or Monitor(), on_event)
    try:
        _check(plan, executor, force_run)
        if not plan.tasks:
            return run.until_done(executor)
        with run_log(
            plan.tasks[0].settings.output_dir,
            title=f"batch, tasks: {len(plan.tasks)}",
            details=_details(plan, executor),
        ) as log:
            results = run.until_done(executor, log)
            summary = summarise_batch(results)
            for problem in summary.problems:
                who = f"{problem.sample} / {problem.dye}"
                logger.info("%s: %s: %s", who, problem.state.word, problem.reason)
            log.conclude(summary.sentence())
            return results
    finally:
        executor.close()


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
    return {
        "tasks": ", ".join(f"{task.sample} / {task.dye}" for task in plan.tasks),
        "skipped": ", ".join(f"{t.sample} / {t.dye}" for t in plan.skipped) or "none",
        "raw files": settings.raw_dir,
        "parameters": ", ".join(f"{n}={v!r}" for n, v in settings.params.items())
        or "all at their defaults",
        "workers": executor.n_workers,
    }


class _PlanRun:
    """Runs the tasks of a plan that can run, and hands on what happens to them."""

    def __init__(
        self, plan: BatchPlan, monitor: Monitor, on_event: OnEvent | None
    ) -> None:
        self._plan = plan
        self._monitor = monitor
        self._on_event = on_event
        self._board = BatchBoard()
        self._log: RunLog | None = None

    def until_done(self, executor: Executor, log: RunLog | None = None) -> BatchResults:
        """Run all tasks and return their results, the skipped ones last."""
        self._log = log
        for task in self._plan.tasks:
            self._tell(event_of(task, State.QUEUED))
        for number, pair in enumerate(self._plan.skipped, len(self._plan.tasks)):
            names = (pair.sample, pair.dye)
            result = RunResult(*names, State.NO_FILES, pair.reason, seconds=0.0)
            self._tell(TaskEvent.ended(number, result))
        for phase in self._plan.phases():
            ready = [task for task in phase if self._may_run(task)]
            if ready:
                executor.run(ready, self._tell, self._should_stop)
        return self._board.results

    def _may_run(self, task: Task) -> bool:
        """Return whether there is the transform that a task takes over."""
        reference = (task.sample, task.settings.register_on)
        for done in self._board.results:
            if (done.sample, done.dye) == reference and done.state not in ENDED_WELL:
                break
        else:
            return True
        reason = done.reason
        if done.state is State.FAILED:
            reason = (
                f"its transform would be that of {done.dye}, which failed: {reason}"
            )
        result = without_run(task, done.state, reason)
        self._tell(TaskEvent.ended(task.number, result))
        return False

    def _tell(self, event: TaskEvent) -> None:
        """Hand an event on, and the fraction of the whole to the monitor."""
        if self._log is not None:
            self._log.catch_up()  # a task may have made the folder just now
        self._board.take(event)
        if self._on_event is not None:
            self._on_event(event)
        text = f"{event.sample} {event.dye}: {event.text or event.state.word}"
        with suppress(errors.CancelledError):  # `_should_stop` says so to the executor
            self._monitor.report(self._board.fraction, text)

    def _should_stop(self) -> bool:
        try:
            self._monitor.check()
        except errors.CancelledError:
            return True
        return False
