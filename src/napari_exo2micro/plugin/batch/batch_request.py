"""What a batch is asked to do, and the parts of it that other threads do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.errors import Exo2MicroError
from napari_exo2micro.core.folders import check_output
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.parameter_entry import ParameterValue

if TYPE_CHECKING:
    from napari_exo2micro.core.batch_board import BatchBoard
    from napari_exo2micro.core.batch_plan import BatchPlan
    from napari_exo2micro.core.batch_summary import BatchSummary
    from napari_exo2micro.core.resources import Preflight

__all__ = [
    "BatchRequest",
    "FolderPairs",
    "Pair",
    "check_request",
    "look_over",
    "read_states",
    "run_request",
]

Pair = tuple[str, str]

#: How long a pair waits for another run of it, s.
_WAIT = 600.0


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a batch is asked to do.

    Attributes
    ----------
    pairs : tuple of (str, str)
        Samples with dyes.
    raw_dir, output_dir : Path
        Where the images are and results go.
    params : mapping
        All parameters.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What stages store.
    from_stage, to_stage : int or None
        First and last stage.
    force : bool
        Run also where results are valid.
    register_on : str or None
        The dye whose registration the others take.
    executor : str
        One of `core.executors.EXECUTORS`.
    n_workers : int
        How many pairs at once.
    scheduler : str
        Address of a scheduler of dask; empty otherwise.
    """

    pairs: tuple[Pair, ...]
    raw_dir: Path
    output_dir: Path
    params: Mapping[str, ParameterValue]
    checkpoint_format: str = "both"
    from_stage: int | None = None
    to_stage: int | None = None
    force: bool = False
    register_on: str | None = None
    executor: str = "pool"
    n_workers: int = 2
    scheduler: str = ""

    def plan(self) -> BatchPlan:
        """Return what would run; pairs that cannot are listed as skipped.

        Raises
        ------
        Exo2MicroError
            When the folder or a setting cannot be used.
        """
        from napari_exo2micro.core.batch_plan import plan_batch

        return plan_batch(
            pairs=self.pairs,
            raw_dir=self.raw_dir,
            output_dir=self.output_dir,
            strict_dyes=False,
            wait_for_lock=_WAIT,
            **self._settings(),
        )

    def recipe(self, make: Callable[..., str], *, strict: bool) -> str:
        """Return the batch as text, see `core.batch_recipes`."""
        return make(
            self.pairs,
            raw_dir=self.raw_dir.absolute(),
            output_dir=self.output_dir.absolute(),
            executor=self.executor,
            n_workers=self.n_workers,
            scheduler=self.scheduler,
            strict=strict,
            **self._settings(),
        )

    def about_results(self) -> BatchRequest:
        """Return the same without what has no effect on results."""
        return replace(self, pairs=(), executor="", n_workers=0, scheduler="")

    def _settings(self) -> dict[str, Any]:
        return {
            "params": dict(self.params),
            "checkpoint_format": self.checkpoint_format,
            "from_stage": self.from_stage,
            "to_stage": self.to_stage,
            "force": self.force,
            "register_on": self.register_on,
        }


@dataclass(frozen=True, slots=True)
class FolderPairs:
    """What a raw folder holds, pair by pair.

    Attributes
    ----------
    raw_dir : Path
        The folder.
    present : frozenset of (str, str)
        Samples with dyes that can run.
    problems : mapping of (str, str) to str
        Those with files that cannot, and why.
    problem : str
        Why the whole folder cannot be used; empty when it can.
    """

    raw_dir: Path
    present: frozenset[Pair] = frozenset()
    problems: Mapping[Pair, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def pairs(self) -> list[Pair]:
        """All pairs that have files, by sample and dye."""
        return sorted(self.present | self.problems.keys())

    @property
    def samples(self) -> list[str]:
        """Samples, in alphabetical order."""
        return sorted({sample for sample, _ in self.pairs})

    @property
    def dyes(self) -> list[str]:
        """Dyes of all samples, in alphabetical order."""
        return sorted({dye for _, dye in self.pairs})


def look_over(raw_dir: Path, monitor: Monitor) -> FolderPairs:
    """Return which pairs a raw folder holds; only names are read."""
    from napari_exo2micro.core.raw import discover_tasks

    monitor.check()
    try:
        found = discover_tasks(raw_dir=raw_dir)
    except Exo2MicroError as error:
        return FolderPairs(raw_dir, problem=str(error))
    problems = {
        (task.sample, task.dye): task.reason for task in found.skipped if task.dye
    }
    return FolderPairs(raw_dir, frozenset(found.present), problems)


def read_states(
    request: BatchRequest, monitor: Monitor, send: Callable[[Any], None]
) -> None:
    """Send each pair with what is on disk for it, see `core.stored_state`."""
    from napari_exo2micro.core.stored_state import StoredState, stored_state

    for task in request.plan().tasks:
        monitor.check()
        try:
            state = stored_state(task)
        except Exo2MicroError as error:
            state = StoredState("none", str(error))
        send(((task.sample, task.dye), state))


def check_request(
    request: BatchRequest, monitor: Monitor
) -> tuple[BatchPlan, Preflight]:
    """Return what would run, and whether memory and disk are enough for it.

    Raises
    ------
    Exo2MicroError
        When the raw folder, the results folder or a setting cannot be used.
    """
    from napari_exo2micro.core.resources import check_resources

    check_output(request.output_dir, request.raw_dir)
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
    from napari_exo2micro.core.batch import run_plan, summarise_batch
    from napari_exo2micro.core.executors import make_executor

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
