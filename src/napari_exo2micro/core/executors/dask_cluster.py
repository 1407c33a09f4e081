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
import math
import pickle
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.executors.interrupts import deaf_to_ctrl_c
from napari_exo2micro.core.monitor import Monitor
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

    A task whose worker dies is run on another one, as often as the scheduler has
    been told (`distributed.scheduler.allowed-failures`), and once more alone.

    Parameters
    ----------
    scheduler : str, distributed.Client, cluster or None
        Address of a scheduler, a client or a cluster that exist already (both are
        left alone in the end), or None or ``'local'`` for workers of this computer.
    n_workers : int
        Their number, when they are started here.
    monitor : Monitor, optional
        Asked whether to stop while nobody answers yet.

    Raises
    ------
    CancelledError
        When that was asked for.
    ParameterError
        When distributed is not installed, or nobody answers at the address.
    """

    def __init__(
        self,
        scheduler: Any = None,
        n_workers: int = 4,
        monitor: Monitor | None = None,
    ) -> None:
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

            environment = dask.config.get("distributed.nanny.pre-spawn-environ")
            settings = {
                # Once more, alone, is what `_Run` sees to.
                "distributed.scheduler.allowed-failures": 0,
                # dask has memory given back at once; asking for it again takes a task
                # half as long again.
                "distributed.nanny.pre-spawn-environ": {
                    name: value
                    for name, value in environment.items()
                    if name != "MALLOC_TRIM_THRESHOLD_"
                },
            }
            with dask.config.set(settings), deaf_to_ctrl_c():
                self._cluster = distributed.LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",  # any port, for nobody else
                    silence_logs=logging.CRITICAL,
                    memory_limit=None,  # tasks watch the memory themselves
                )
            self._client = distributed.Client(self._cluster)
        else:
            self._client = _connect(scheduler, monitor or Monitor())

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
        run = _Run(self._client, tasks, on_event)
        try:
            return run.until_done(should_stop)
        finally:
            run.end()

    def close(self) -> None:
        """Close what was opened here."""
        if self._own_client:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()


class _Run:
    """One call of `DaskExecutor.run`.

    Results come as messages as well: one that only a worker keeps is lost with it.
    A task whose workers have died is run once more when all others have ended: dask
    blames all tasks of a dead worker, and alone it can only blame the right one.
    """

    def __init__(self, client: Client, tasks: Sequence[Task], tell: OnEvent) -> None:
        from distributed import Event

        self._client = client
        self._tasks = tasks
        self._tell = tell
        self._topic = f"exo2micro-{uuid.uuid4().hex}"
        self._stop = Event(f"{self._topic}-stop", client=client)
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._futures: dict[int, Any] = {}
        self._results: dict[int, dict[str, Any]] = {}
        self._again: list[Task] = []
        self._tried_again: set[int] = set()
        self._give_up_at = math.inf
        client.subscribe_topic(self._topic, lambda event: self._heard.put(event[1]))

    def until_done(self, should_stop: Callable[[], bool]) -> list[dict[str, Any]]:
        """Work until each task has a result."""
        for task in self._tasks:
            self._submit(task)
        while len(self._results) < len(self._tasks):
            self._listen()
            self._look()
            if self._give_up_at == math.inf and should_stop():
                self._ask_to_stop()
            if self._again and len(self._futures) == 0:
                self._submit(self._again.pop(0))
        return [self._results[task.number] for task in self._tasks]

    def end(self) -> None:
        """Leave nothing behind on the scheduler."""
        with suppress(Exception):  # it may be gone
            self._client.unsubscribe_topic(self._topic)
            self._client.cancel(list(self._futures.values()))

    def _submit(self, task: Task) -> None:
        key = f"{self._topic}-{task.number}-{len(self._tried_again)}"
        self._futures[task.number] = self._client.submit(
            _run_on_worker, task, self._topic, key=key, pure=False
        )

    def _listen(self) -> None:
        """Take what workers have said, and wait a moment for more."""
        wait = _TICK
        while True:
            try:
                message = self._heard.get(timeout=wait)
            except queue.Empty:
                return
            wait = 0.0
            if "event" in message:
                event = _unpacked(message["event"])
                if event.number in self._futures:
                    self._tell(event)
            elif message["number"] in self._futures:
                self._finish(message["number"], pickle.loads(message["result"]))

    def _look(self) -> None:
        """Look at what has become of each task that has not answered."""
        for task in self._tasks:
            future = self._futures.get(task.number)
            if future is None:
                continue
            if future.status == "finished":
                with suppress(Exception):  # lost on the way: dask runs it again
                    self._finish(task.number, future.result(timeout=5))
                continue
            status = None
            if future.status == "error":
                status = self._failure(future, task)
            elif future.status in ("cancelled", "lost"):
                status = STOPPED
                if self._give_up_at == math.inf:
                    status = "error: the scheduler is gone or has cancelled it"
            elif time.monotonic() > self._give_up_at:
                status = STOPPED
            if status is not None:
                result = result_without_run(task.sample, task.dye, status)
                self._finish(task.number, result)

    def _failure(self, future: Any, task: Task) -> str | None:
        """Return the status of a task that no worker has finished.

        None when it is to be tried again.
        """
        from distributed import KilledWorker

        error = future.exception(timeout=60)
        if not isinstance(error, KilledWorker):
            return f"error: {type(error).__name__} on the worker: {error}"
        if self._give_up_at != math.inf:
            return STOPPED
        if task.number in self._tried_again:
            return f"error: {_DEATH}; {_ADVICE}"
        self._tried_again.add(task.number)
        del self._futures[task.number]
        self._again.append(task)
        self._tell(TaskEvent.queued(task, f"{_DEATH}; it is tried once more, alone"))
        return None

    def _ask_to_stop(self) -> None:
        """Cancel what no worker has begun, and ask the others to end."""
        self._give_up_at = time.monotonic() + _GRACE
        self._stop.set()
        for task in self._again:
            self._futures[task.number] = None
            result = result_without_run(task.sample, task.dye, STOPPED)
            self._finish(task.number, result)
        self._again = []
        begun = {
            str(key) for keys in self._client.processing().values() for key in keys
        }
        waiting = [f for f in self._futures.values() if str(f.key) not in begun]
        self._client.cancel(waiting)

    def _finish(self, number: int, result: dict[str, Any]) -> None:
        future = self._futures.pop(number)
        if future is not None:
            future.release()
        self._results[number] = result
        self._tell(TaskEvent.ended(number, result))


_DEATH = "the workers that ran it died, most likely because memory ran out"
_ADVICE = "run fewer tasks at once, then run again: finished stages are kept"


def _connect(scheduler: Any, monitor: Monitor) -> Client:
    """Return a client of an address or a cluster.

    dask waits for an answer and cannot be asked to stop: it does so in a thread,
    which is left behind then.
    """
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port

    if isinstance(scheduler, str):
        try:  # a client of what is no address waits long at the program's end
            get_address_host_port(scheduler)
        except (ValueError, KeyError) as error:
            raise _no_answer(scheduler, error) from error
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
    is_left = threading.Event()

    def connect() -> None:
        try:
            client = Client(scheduler, timeout=_CONNECT_TIMEOUT, set_as_default=False)
        except Exception as error:  # noqa: BLE001 - raised where somebody waits
            answer.put(error)
        else:
            answer.put(client)
            if is_left.is_set():
                client.close()

    threading.Thread(target=connect, name="exo2micro dask", daemon=True).start()
    try:
        found = _first(answer, monitor)
    except BaseException:
        is_left.set()
        with suppress(queue.Empty):  # it may have come just now
            late = answer.get_nowait()
            if isinstance(late, Client):
                late.close()
        raise
    if isinstance(found, (OSError, ValueError, TypeError)):
        raise _no_answer(scheduler, found) from found
    if isinstance(found, Exception):
        raise found
    client: Client = found
    return client


def _no_answer(scheduler: Any, why: Exception) -> ParameterError:
    return ParameterError(
        f"no dask scheduler answers at {scheduler} ({why}); start one with "
        "'dask scheduler' and give the address that it shows, as in "
        "tcp://192.168.1.2:8786"
    )


def _first(answer: queue.SimpleQueue[Any], monitor: Monitor) -> Any:
    """Return what comes, or stop waiting for it when that was asked for."""
    while True:
        monitor.check()
        with suppress(queue.Empty):
            return answer.get(timeout=_TICK)


def _run_on_worker(task: Task, topic: str) -> dict[str, Any]:
    """Run a task where dask has put it."""
    import cv2
    from distributed import Event, get_worker

    worker = get_worker()
    cv2.setNumThreads(max(1, worker.state.nthreads))
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

    result = run_task(task, tell, should_stop)
    answer = {"number": task.number, "result": pickle.dumps(result)}
    worker.log_event(topic, answer)
    return result


def _packed(event: TaskEvent) -> dict[str, Any]:
    """Return an event of a running task as dask's messages can hold it."""
    names = [field.name for field in dataclasses.fields(event)]
    fields = {name: getattr(event, name) for name in names}
    # dask adds entries of its own beside this one
    return {"event": {**fields, "state": str(event.state)}}


def _unpacked(fields: dict[str, Any]) -> TaskEvent:
    return TaskEvent(**{**fields, "state": TaskState(fields["state"])})
