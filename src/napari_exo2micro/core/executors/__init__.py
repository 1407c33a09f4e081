"""Executors: where the tasks of a batch run. All of them call `tasks.run_task`."""

from __future__ import annotations

from typing import Any

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.executors.seam import Executor
from napari_exo2micro.core.monitor import Monitor

__all__ = ["EXECUTORS", "Executor", "make_executor"]

#: What `make_executor` takes, with a sentence for people.
EXECUTORS = {
    "serial": "one task after the other, in this process",
    "pool": "worker processes that take several tasks each",
    "subprocess": "a new process for each task: what one breaks, no other one feels",
    "dask": "the workers of a dask scheduler, on this computer or on a cluster",
}

_TASKS_PER_WORKER = 16


def make_executor(
    kind: str,
    *,
    n_workers: int = 4,
    timeout_per_task: float | None = None,
    scheduler: Any = None,
    monitor: Monitor | None = None,
) -> Executor:
    """Return an executor.

    Parameters
    ----------
    kind : {'serial', 'pool', 'subprocess', 'dask'}
        See `EXECUTORS`.
    n_workers : int
        How many tasks run at once, at least 1.
    timeout_per_task : float, optional
        Seconds after which a task is ended.
    scheduler : str, distributed.Client or cluster, optional
        Of dask; None starts a cluster on this computer.
    monitor : Monitor, optional
        Asked whether to stop while no scheduler answers yet.

    Raises
    ------
    CancelledError
        When that was asked for.
    ParameterError
        When the kind or a number is not known, or dask is not installed.
    """
    if kind not in EXECUTORS:
        raise ParameterError(
            f"an executor is one of {', '.join(EXECUTORS)}, found {kind!r}"
        )
    if type(n_workers) is not int or n_workers < 1:
        raise ParameterError(
            f"n_workers takes a whole number of at least 1, found {n_workers!r}"
        )
    if timeout_per_task is not None and not timeout_per_task > 0:
        raise ParameterError(
            "timeout_per_task takes a number of seconds above 0 or None, found "
            f"{timeout_per_task!r}"
        )
    if kind == "dask":
        from napari_exo2micro.core.executors.dask_cluster import DaskExecutor

        return DaskExecutor(scheduler, n_workers, monitor)
    if kind == "serial":
        from napari_exo2micro.core.executors.serial import SerialExecutor

        return SerialExecutor()
    from napari_exo2micro.core.executors.processes import ProcessExecutor

    per_worker = 1 if kind == "subprocess" else _TASKS_PER_WORKER
    return ProcessExecutor(
        n_workers, tasks_per_worker=per_worker, timeout_per_task=timeout_per_task
    )
