"""The workers of a dask scheduler: on this computer, or many of a cluster.

The output folder must be the same for all workers. With dask-jobqueue a cluster is
made like this::

    from dask_jobqueue import SLURMCluster
    cluster = SLURMCluster(cores=4, processes=4, memory="16GB", walltime="12:00:00")
    cluster.scale(jobs=10)
    run_batch(..., scheduler=cluster)
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.tasks import (
    STOPPED,
    OnEvent,
    Task,
    TaskEvent,
    TaskState,
    result_without_run,
    run_task,
)

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["DaskExecutor"]

_TICK = 0.1  # s between two looks at what has come
_STOP_INTERVAL = 0.5  # s between two questions to the scheduler
_GRACE = 30.0  # s that stopped tasks have to come to their next window
_CONNECT_TIMEOUT = 15  # s
_MISSING = (
    "dask's distributed is not installed; run pip install "
    "'napari-exo2micro[distributed]', or use worker processes"
)


class DaskExecutor:
    """Runs tasks on the workers of a scheduler, see `Executor`.

    A task whose worker dies is run on another one; the scheduler gives it up after
    a number of workers that it has been told (`allowed-failures`).

    Parameters
    ----------
    scheduler : str, distributed.Client, cluster or None
        Address of a scheduler, a client or a cluster that exist already (both are
        left alone in the end), or None or ``'local'`` for workers of this computer.
    n_workers : int
        Their number, when they are started here.

    Raises
    ------
    ParameterError
        When distributed is not installed, or nobody answers at the address.
    """

    def __init__(self, scheduler: Any = None, n_workers: int = 4) -> None:
        try:
            import distributed
        except ImportError as error:
            raise ParameterError(_MISSING) from error
        self._cluster: Any = None
        self._client: Client
        self._own_client = not isinstance(scheduler, distributed.Client)
        self.is_here = scheduler is None or scheduler == "local"
        if not self._own_client:
            self._client = scheduler
        elif self.is_here:
            import dask

            settings = {
                # The first death may be an accident, the second one is the task's.
                "distributed.scheduler.allowed-failures": 1,
            }
            with dask.config.set(settings):
                self._cluster = distributed.LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                    memory_limit=None,  # tasks watch the memory themselves
                )
            self._client = distributed.Client(self._cluster)
        else:
            self._client = _connect(scheduler)

    @property
    def n_workers(self) -> int:
        """How many tasks the workers that are there now can run at once."""
        return max(int(sum(self._client.nthreads().values())), 1)

    def run(
        self,
        tasks: Sequence[Task],
        on_event: OnEvent,
        should_stop: Callable[[], bool],
    ) -> list[dict[str, Any]]:
        """Run tasks and return their results in the same order."""
        from distributed import Event

        name = f"exo2micro-{uuid.uuid4().hex}"
        stop = Event(f"{name}-stop", client=self._client)
        heard: queue.SimpleQueue[TaskEvent] = queue.SimpleQueue()
        self._client.subscribe_topic(name, lambda event: heard.put(_unpacked(event[1])))
        futures = {
            self._client.submit(
                _run_on_worker, task, name, key=f"{name}-{task.number}", pure=False
            ): task
            for task in tasks
        }
        results: dict[int, dict[str, Any]] = {}
        give_up_at: float | None = None
        try:
            while len(results) < len(tasks):
                while True:
                    try:
                        event = heard.get(timeout=_TICK)
                    except queue.Empty:
                        break
                    if event.number not in results:
                        on_event(event)
                for future, task in futures.items():
                    if task.number in results:
                        continue
                    result = self._result(future, task, give_up_at)
                    if result is not None:
                        results[task.number] = result
                        on_event(TaskEvent.ended(task.number, result))
                if give_up_at is None and should_stop():
                    give_up_at = time.monotonic() + _GRACE
                    stop.set()
                    waiting = [f for f, t in futures.items() if t.number not in results]
                    self._client.cancel(self._not_begun(waiting))
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self._client.unsubscribe_topic(name)
                self._client.cancel(list(futures))
        return [results[task.number] for task in tasks]

    def close(self) -> None:
        """Close what was opened here."""
        if self._own_client:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _result(
        self, future: Any, task: Task, give_up_at: float | None
    ) -> dict[str, Any] | None:
        """Return a task's result, None when it has not ended."""
        status = None
        if future.status == "finished":
            try:
                found: dict[str, Any] = future.result(timeout=60)
            except Exception as error:  # noqa: BLE001 - lost on the way
                status = f"error: its result was lost ({error}); run it again"
            else:
                return found
        elif future.status in ("cancelled", "lost"):
            status = STOPPED
            if give_up_at is None:
                status = "error: the scheduler has cancelled it or is gone; run again"
        elif future.status == "error":
            status = _failure(future)
        elif give_up_at is not None and time.monotonic() > give_up_at:
            status = STOPPED
        if status is None:
            return None
        return result_without_run(task.sample, task.dye, status)

    def _not_begun(self, futures: Sequence[Any]) -> list[Any]:
        """Return the futures whose tasks no worker has begun."""
        begun = {
            key for keys in self._client.processing().values() for key in map(str, keys)
        }
        return [future for future in futures if str(future.key) not in begun]


def _connect(scheduler: Any) -> Client:
    """Return a client of an address or a cluster."""
    from distributed import Client

    try:
        return Client(scheduler, timeout=_CONNECT_TIMEOUT)
    except (OSError, ValueError, TypeError) as error:
        raise ParameterError(
            f"no dask scheduler answers at {scheduler} ({error}); start one with "
            "'dask scheduler' and give the address that it shows, as in "
            "tcp://192.168.1.2:8786"
        ) from error


def _failure(future: Any) -> str:
    """Return the status of a task that no worker has finished."""
    from distributed import KilledWorker

    error = future.exception(timeout=60)
    if isinstance(error, KilledWorker):
        return (
            "error: the workers that ran it died, most likely because memory ran out; "
            "use fewer tasks at once, then run again: finished stages are kept"
        )
    return f"error: {type(error).__name__} on the worker: {error}"


def _run_on_worker(task: Task, topic: str) -> dict[str, Any]:
    """Run a task where dask has put it."""
    from distributed import Event, get_worker

    worker = get_worker()
    stop = Event(f"{topic}-stop")
    last = time.monotonic()
    stopping = False

    def should_stop() -> bool:
        nonlocal last, stopping
        now = time.monotonic()
        if not stopping and now - last >= _STOP_INTERVAL:
            last = now
            stopping = stop.is_set()
        return stopping

    def tell(event: TaskEvent) -> None:
        worker.log_event(topic, _packed(event))

    return run_task(task, tell, should_stop)


def _packed(event: TaskEvent) -> dict[str, Any]:
    """Return an event of a running task as dask's messages can hold it."""
    names = [field.name for field in dataclasses.fields(event)]
    fields = {name: getattr(event, name) for name in names}
    return {"event": {**fields, "state": str(event.state)}}


def _unpacked(message: dict[str, Any]) -> TaskEvent:
    fields = message["event"]  # dask adds entries of its own beside it
    return TaskEvent(**{**fields, "state": TaskState(fields["state"])})
