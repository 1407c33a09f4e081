"""Where the tasks of a batch run: here, in worker processes, or on a cluster.

Each worker has a pipe of its own: one that is killed takes nothing with it that
others need (a queue that all share would keep the lock of the one that died).

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
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Protocol

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.machine import out_of_time
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.batch.task import (
    STOPPED,
    OnEvent,
    Task,
    TaskEvent,
    TaskState,
    run_task,
)
from napari_exo2micro.core.pipeline.result import RunResult, result_without_run

if TYPE_CHECKING:
    from distributed import Client


class Executor(Protocol):
    """Runs tasks, somewhere.

    Attributes
    ----------
    n_workers : int
        How many tasks run at once at most.
    is_here : bool
        Whether they take the memory of this computer.
    """

    @property
    def n_workers(self) -> int:
        """How many tasks run at once at most."""

    @property
    def is_here(self) -> bool:
        """Whether tasks take the memory of this computer."""

    def run(
        self,
        tasks: Sequence[Task],
        on_event: OnEvent,
        should_stop: Callable[[], bool],
    ) -> list[RunResult]:
        """Run tasks and return their results in the same order.

        No task's fate has an effect on another one.

        Parameters
        ----------
        tasks : sequence of Task
            What to run.
        on_event : callable
            Told in the calling thread what happens to each; its last event has the
            result.
        should_stop : callable
            Asked a few times each second; once it is true, running tasks are ended
            between two windows, and the others are not begun.
        """

    def close(self) -> None:
        """Let go of what was started for the tasks."""


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes and threads that the block starts never hear Ctrl-C.

    From their first moment on, and for all that they start themselves: a process
    that loads its libraries would end with a traceback in the middle of the table.
    This thread hears in the end what came meanwhile. On Windows it does nothing.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    # Its first start lifts the block again (Python 3.11).
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class SerialExecutor:
    """Runs tasks one after the other in this process, see `Executor`."""

    n_workers = 1
    is_here = True

    def run(
        self,
        tasks: Sequence[Task],
        on_event: OnEvent,
        should_stop: Callable[[], bool],
    ) -> list[RunResult]:
        """Run tasks and return their results in the same order."""
        results = []
        for task in tasks:
            if should_stop():
                result = result_without_run(task.sample, task.dye, STOPPED)
            else:
                result = run_task(task, on_event, should_stop)
            results.append(result)
            on_event(TaskEvent.ended(task.number, result))
        return results

    def close(self) -> None:
        """Do nothing: nothing was started."""


#: Sent to a worker whose task is to end; None ends the worker itself.
STOP = "stop"

_LOOK_INTERVAL = 0.1  # s between two looks into the pipe
# Read when a library is loaded: workers share the processors.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def work(connection: Connection, threads: int) -> None:
    """Run tasks until None comes or the other end is closed.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        Takes tasks and `STOP`, gives events and results (dict).
    threads : int
        How many threads libraries may use.
    """
    # Ctrl-C reaches all processes of a terminal; who started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))
    # Results carry the warnings; a live table must not be disturbed.
    logging.captureWarnings(True)
    logging.getLogger().addHandler(logging.NullHandler())
    import cv2

    from napari_exo2micro.core.batch.task import run_task

    cv2.setNumThreads(threads)
    talk = _Talk(connection)
    while True:
        task = talk.next_task()
        if task is None:
            return
        talk.answer(run_task(task, talk.tell, talk.should_stop))


class _Talk:
    """The worker's end of the pipe; an end that was closed asks it to stop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stopping = False
        self._closed = False
        self._last_look = 0.0

    def next_task(self) -> Any:
        """Wait for a task; None when there is none any more."""
        self._stopping = False
        message: Any = STOP
        while message == STOP and not self._closed:
            message = self._safely(self._connection.recv)
        return None if self._closed else message

    def tell(self, event: TaskEvent) -> None:
        """Send an event."""
        self._safely(lambda: self._connection.send(event))

    def answer(self, result: RunResult) -> None:
        """Send a result."""
        self._safely(lambda: self._connection.send(result))

    def should_stop(self) -> bool:
        """Return whether the task is to end."""
        now = time.monotonic()
        if now - self._last_look >= _LOOK_INTERVAL:
            self._last_look = now
            while self._safely(self._connection.poll) and not self._closed:
                if self._safely(self._connection.recv) == STOP:
                    self._stopping = True
        return self._stopping or self._closed

    def _safely(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (OSError, EOFError):
            self._closed = True
            return None


_TICK = 0.1  # s between two looks at time limits and the wish to stop
GRACE = 15.0  # s that a stopped task has to come to its next window
PATIENCE = 5.0  # s beyond its time limit that a task has for the same
_MOST_TRIES = 2
_PRELOADED = "napari_exo2micro.core.pipeline"


class ProcessExecutor:
    """Runs tasks in processes of their own, see `Executor`.

    Parameters
    ----------
    n_workers : int
        How many at once.
    tasks_per_worker : int
        After so many tasks a process is replaced by a new one.
    timeout_per_task : float, optional
        Seconds after which a process is ended with its task.
    """

    is_here = True

    def __init__(
        self,
        n_workers: int,
        *,
        tasks_per_worker: int,
        timeout_per_task: float | None = None,
    ) -> None:
        self.n_workers = n_workers
        self._tasks_per_worker = tasks_per_worker
        self._timeout = timeout_per_task

    def run(
        self,
        tasks: Sequence[Task],
        on_event: OnEvent,
        should_stop: Callable[[], bool],
    ) -> list[RunResult]:
        """Run tasks and return their results in the same order."""
        _check_that_tasks_travel(tasks)
        run = _Run(self, tasks, on_event)
        try:
            return run.until_done(should_stop)
        finally:
            run.end_workers()

    def close(self) -> None:
        """Do nothing: workers end with `run`."""


class _Worker:
    """A process and the task that it works on."""

    def __init__(self, context: BaseContext, threads: int, *, with_main: bool) -> None:
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=work, args=(theirs, threads), name="exo2micro worker", daemon=True
        )
        with deaf_to_ctrl_c(), nullcontext() if with_main else _without_main():
            self.process.start()
        theirs.close()  # so that this end notices when the process is gone
        self.task: Task | None = None
        self.has_spoken = False
        self.n_begun = 0
        self.deadline = math.inf

    def begin(self, task: Task, timeout: float | None) -> None:
        """Hand over a task."""
        self.task = task
        self.n_begun += 1
        if timeout is not None:
            self.deadline = time.monotonic() + timeout + PATIENCE
        self._send(task)

    def stop(self) -> None:
        """Ask the task to end."""
        self._send(STOP)

    def dismiss(self) -> None:
        """Ask an idle process to end."""
        self._send(None)

    def _send(self, message: Any) -> None:
        with suppress(OSError):  # one that has died is noticed elsewhere
            self.connection.send(message)

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class _Run:
    """One call of `ProcessExecutor.run`."""

    def __init__(
        self, executor: ProcessExecutor, tasks: Sequence[Task], on_event: OnEvent
    ) -> None:
        self._executor = executor
        self._tasks = tasks
        self._on_event = on_event
        self._waiting = deque(tasks)
        self._tries: dict[int, int] = {}
        self._results: dict[int, RunResult] = {}
        self._workers: list[_Worker] = []
        self._leaving: list[_Worker] = []
        self._kill_at = math.inf
        n = min(executor.n_workers, len(tasks)) or 1
        self._with_main = any(_comes_from_main(task) for task in tasks)
        self._context = _context(executor._tasks_per_worker)
        self._threads = max(1, (os.cpu_count() or 1) // n)

    def until_done(self, should_stop: Callable[[], bool]) -> list[RunResult]:
        """Work until each task has a result."""
        while len(self._results) < len(self._tasks):
            if self._kill_at == math.inf and should_stop():
                self._stop()
            self._hand_out()
            self._listen()
            self._look_at_clock()
        return [self._results[task.number] for task in self._tasks]

    def end_workers(self) -> None:
        """End every process, idle ones politely."""
        for worker in self._workers:
            if worker.task is None:
                worker.dismiss()
                self._leaving.append(worker)
            else:
                worker.end()
        self._workers = []
        end = time.monotonic() + 1.0
        for worker in self._leaving:
            worker.process.join(max(end - time.monotonic(), 0.0))
            worker.end()

    def _stop(self) -> None:
        """Begin nothing more, and ask what runs to end."""
        self._kill_at = time.monotonic() + GRACE
        while self._waiting:
            task = self._waiting.popleft()
            self._finish(task, result_without_run(task.sample, task.dye, STOPPED))
        for worker in self._workers:
            if worker.task is not None and worker.has_spoken:
                worker.stop()
            elif worker.task is not None:
                worker.deadline = 0.0  # it loads its libraries: nothing is lost

    def _hand_out(self) -> None:
        """Give waiting tasks to idle workers, and to new ones up to the number."""
        self._leaving = [w for w in self._leaving if w.process.is_alive()]
        while self._waiting:
            worker = next((w for w in self._workers if w.task is None), None)
            if worker is None:
                if len(self._workers) >= self._executor.n_workers:
                    return
                try:
                    worker = _Worker(
                        self._context, self._threads, with_main=self._with_main
                    )
                except (OSError, EOFError) as error:  # no memory, too many processes
                    if not self._workers:  # else those that are there go on
                        self._fail_to_start(error)
                    return
                self._workers.append(worker)
            task = self._waiting.popleft()
            self._tries[task.number] = self._tries.get(task.number, 0) + 1
            worker.begin(task, self._executor._timeout)

    def _fail_to_start(self, error: Exception) -> None:
        """Try the next task again, or say that there is no process for it."""
        task = self._waiting.popleft()
        how = f"no process could be started ({error})"
        tries = self._tries[task.number] = self._tries.get(task.number, 0) + 1
        if tries < _MOST_TRIES:
            self._waiting.appendleft(task)
            self._on_event(TaskEvent.queued(task, f"{how}; it is tried once more"))
            return
        status = f"error: {how}; {_ADVICE}"
        self._finish(task, result_without_run(task.sample, task.dye, status))

    def _listen(self) -> None:
        """Take what workers have to say, or notice that one has died."""
        sources: dict[Any, _Worker] = {}
        for worker in self._workers:
            sources[worker.connection] = worker
            sources[worker.process.sentinel] = worker
        ready = wait(list(sources), timeout=_TICK)
        for worker in {id(sources[r]): sources[r] for r in ready}.values():
            while True:
                try:
                    if not worker.connection.poll():
                        break
                    message = worker.connection.recv()
                except (EOFError, OSError, pickle.UnpicklingError):
                    self._bury(worker)
                    break
                worker.has_spoken = True
                if isinstance(message, TaskEvent):
                    self._on_event(message)
                else:
                    self._take_result(worker, message)
            if worker in self._workers and not worker.process.is_alive():
                if worker.connection.poll():
                    continue  # it has said something before it went
                self._bury(worker)

    def _take_result(self, worker: _Worker, result: RunResult) -> None:
        task = worker.task
        assert task is not None
        worker.task, worker.deadline = None, math.inf
        if worker.n_begun >= self._executor._tasks_per_worker:
            self._workers.remove(worker)
            worker.dismiss()
            self._leaving.append(worker)
        self._finish(task, result)

    def _bury(self, worker: _Worker) -> None:
        """Try the task of a dead worker again, or say what happened."""
        self._workers.remove(worker)
        worker.process.join()
        how = how_it_ended(worker.process.exitcode)
        worker.end()
        task = worker.task
        if task is None:
            return
        if self._kill_at != math.inf:
            status = STOPPED
        elif not worker.has_spoken:
            status = f"error: {how} before it began"
            if self._with_main:
                status += (
                    "; a script whose own loader runs in processes has to call the "
                    "batch under \"if __name__ == '__main__':\""
                )
        elif self._tries[task.number] < _MOST_TRIES:
            self._waiting.append(task)
            self._on_event(TaskEvent.queued(task, f"{how}; it is tried once more"))
            return
        else:
            how = how_it_ended(worker.process.exitcode, " twice")
            status = f"error: {how}; {_ADVICE}"
        self._finish(task, result_without_run(task.sample, task.dye, status))

    def _look_at_clock(self) -> None:
        """End tasks whose time is over."""
        now = time.monotonic()
        for worker in list(self._workers):
            task = worker.task
            if task is None or now < min(worker.deadline, self._kill_at):
                continue
            self._workers.remove(worker)
            worker.end()
            status = STOPPED
            if self._kill_at == math.inf:
                status = f"error: {out_of_time(self._executor._timeout or 0.0)}"
            self._finish(task, result_without_run(task.sample, task.dye, status))

    def _finish(self, task: Task, result: RunResult) -> None:
        tries = self._tries.get(task.number, 0)
        if tries > 1:
            result = dataclasses.replace(result, tries=tries)
        self._results[task.number] = result
        self._on_event(TaskEvent.ended(task.number, result))


_ADVICE = (
    "use fewer workers or close other programs, then run again: finished stages are "
    "kept"
)


def how_it_ended(code: int | None, times: str = "") -> str:
    """Return in words how a process ended that should not have.

    Parameters
    ----------
    code : int or None
        Its exit code: the negative number of a signal where one killed it.
    times : str
        How often, for example ``' twice'``.
    """
    if code is None or code >= 0:
        return f"its process ended{times} with the exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    if name == "SIGKILL":
        return f"its process was killed{times}, most likely because memory ran out"
    return f"its process was ended{times} by the signal {name}"


def _context(tasks_per_worker: int) -> BaseContext:
    """Return how processes are started.

    A process for each task would load the libraries each time, which takes longer
    than a second. Where it can be done safely, processes are copies of one that has
    loaded them and never does anything else.
    """
    if tasks_per_worker > 1 or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    return context


def _comes_from_main(task: Task) -> bool:
    """Return whether a worker must import the script that was started."""
    return getattr(task.loader_function, "__module__", "") == "__main__"


_MAIN_LOCK = threading.Lock()


@contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not import the program that was started.

    It may be a viewer with all that belongs to it, or a script that would begin its
    work again.
    """
    main = sys.modules["__main__"].__dict__
    with _MAIN_LOCK:
        kept: dict[str, Any] = {
            name: main[name] for name in ("__spec__", "__file__") if name in main
        }
        main.update(__spec__=None, __file__=None)
        try:
            yield
        finally:
            for name in ("__spec__", "__file__"):
                main.pop(name)
            main.update(kept)


def _check_that_tasks_travel(tasks: Sequence[Task]) -> None:
    """Raise before anything runs when a task cannot be sent to a process."""
    for task in tasks:
        try:
            pickle.dumps(task)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            if task.loader_function is None:
                raise
            where = replace(task, loader_function=None).loader
            raise ParameterError(
                f"the loader '{where}' cannot be sent to another process ({error}); "
                "define it at the top of a module, or run in this process"
            ) from error


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
    ) -> list[RunResult]:
        """Run tasks and return their results in the same order."""
        run = _DaskRun(self._client, tasks, on_event)
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


class _DaskRun:
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
        self._results: dict[int, RunResult] = {}
        self._again: list[Task] = []
        self._tried_again: set[int] = set()
        self._give_up_at = math.inf
        client.subscribe_topic(self._topic, lambda event: self._heard.put(event[1]))

    def until_done(self, should_stop: Callable[[], bool]) -> list[RunResult]:
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
            return f"error: {_DEATH}; {_DASK_ADVICE}"
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

    def _finish(self, number: int, result: RunResult) -> None:
        future = self._futures.pop(number)
        if future is not None:
            future.release()
        self._results[number] = result
        self._tell(TaskEvent.ended(number, result))


_DEATH = "the workers that ran it died, most likely because memory ran out"
_DASK_ADVICE = "run fewer tasks at once, then run again: finished stages are kept"


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


def _run_on_worker(task: Task, topic: str) -> RunResult:
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
        return DaskExecutor(scheduler, n_workers, monitor)
    if kind == "serial":
        return SerialExecutor()

    per_worker = 1 if kind == "subprocess" else _TASKS_PER_WORKER
    return ProcessExecutor(
        n_workers, tasks_per_worker=per_worker, timeout_per_task=timeout_per_task
    )
