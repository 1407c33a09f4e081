"""What a batch is asked for, and what is done with that in other threads.

A batch goes from the form to a `BatchRequest`, which is checked and run by `BatchRun`
and followed by the table of pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.base import Exo2MicroError, Monitor, check_output
from napari_exo2micro.core.parameters import RunSettings, State

if TYPE_CHECKING:
    from napari_exo2micro.core.batch import (
        BatchBoard,
        BatchPlan,
        BatchSummary,
        Preflight,
    )

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

    Attributes
    ----------
    pairs : tuple of (str, str)
        Samples with dyes.
    settings : RunSettings
        Folders, parameters and stages, the same for all.
    executor : str
        One of `core.batch.executors.EXECUTORS`.
    n_workers : int
        How many pairs at once.
    scheduler : str
        Address of a scheduler of dask; empty otherwise.
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
        """Return what would run; pairs that cannot are listed as skipped.

        Raises
        ------
        Exo2MicroError
            When the folder or a setting cannot be used.
        """
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
    """Return what would run, and whether memory and disk are enough for it.

    Raises
    ------
    Exo2MicroError
        When the raw folder, the results folder or a setting cannot be used.
    """
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
