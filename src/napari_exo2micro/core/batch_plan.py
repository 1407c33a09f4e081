"""What a batch will run, decided and checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_exo2micro.core.checkpoints import FORMATS
from napari_exo2micro.core.defaults import check_parameters
from napari_exo2micro.core.errors import (
    Exo2MicroError,
    ParameterError,
    RawFileNotFoundError,
)
from napari_exo2micro.core.free_resources import LEAST_MEMORY
from napari_exo2micro.core.raw import (
    Loader,
    SkippedTask,
    check_name,
    discover_tasks,
    find_pair,
    get_loader,
    load_image_pair,
    loader_name,
)
from napari_exo2micro.core.stages import stage_range
from napari_exo2micro.core.tasks import Task

__all__ = ["BatchPlan", "plan_batch"]

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
    stage_range(from_stage, to_stage)
    if checkpoint_format not in FORMATS:
        raise ParameterError(
            f"checkpoint_format takes one of {', '.join(FORMATS)}, found "
            f"{checkpoint_format!r}"
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
        raise RawFileNotFoundError(_all_missing(skipped, len(present)))
    name, function = _loader_for_workers(loader)
    common = Task(
        0,
        "",
        "",
        raw_dir=str(Path(raw_dir).absolute()),
        output_dir=str(Path(output_dir).absolute()),
        checkpoint_format=checkpoint_format,
        loader=name,
        loader_function=function,
        params=check_parameters(dict(params or {})),
        from_stage=from_stage,
        to_stage=to_stage,
        force=force,
        register_on=register_on,
        wait_for_lock=wait_for_lock,
        time_limit=timeout_per_task,
        memory_debug=memory_debug,
    )
    tasks = [
        replace(
            common,
            number=number,
            sample=sample,
            dye=dye,
            least_memory=LEAST_MEMORY + number % _MEMORY_STEPS * _MEMORY_STEP,
        )
        for number, (sample, dye) in enumerate(present)
    ]
    if register_on is not None:
        # Only its transform was asked for, not its difference.
        last = min(to_stage or _LAST_SHARED_STAGE, _LAST_SHARED_STAGE)
        first = None if from_stage is None else min(from_stage, last)
        tasks = [
            task
            if task.dye != register_on or _was_asked_for(task, dyes, pairs)
            else replace(task, from_stage=first, to_stage=last)
            for task in tasks
        ]
    return BatchPlan(tuple(tasks), tuple(skipped), tuple(warnings))


def _was_asked_for(
    task: Task,
    dyes: Sequence[str] | None,
    pairs: Sequence[tuple[str, str]] | None,
) -> bool:
    if pairs is not None:
        return (task.sample, task.dye) in pairs
    return dyes is None or task.dye in dyes


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
            raise ParameterError(
                "either samples and dyes are named, or pairs of them; found both"
            )
        return _named_pairs(pairs, raw_dir, loader)
    if _is_built_in(loader):
        found = discover_tasks(samples, dyes, raw_dir)
        return list(found.present), found.skipped, found.warnings
    if samples is None or dyes is None:
        raise ParameterError(
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
    found = discover_tasks(
        list(dict.fromkeys(sample for sample, _ in wanted)),
        list(dict.fromkeys(dye for _, dye in wanted)),
        raw_dir,
    )
    present = set(found.present)
    return (
        [pair for pair in wanted if pair in present],
        tuple(task for task in found.skipped if (task.sample, task.dye) in wanted),
        found.warnings,
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
    except Exo2MicroError as error:
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


def _loader_for_workers(
    loader: Loader | str | None,
) -> tuple[str | None, Callable[..., Any] | None]:
    """Return a loader's name, and itself: workers may not know it by its name."""
    if _is_built_in(loader):
        return None, None
    function = get_loader(loader)
    return loader_name(function), function


def _takes_over(task: Task) -> bool:
    return task.register_on is not None and task.register_on != task.dye
