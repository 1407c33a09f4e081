"""Where the tasks of a batch run: here, in local workers, or on dask's workers.

Local workers are processes that loky keeps, on every system without running the
program that was started once more: a script needs no ``if __name__ == "__main__"``, and
functions of a notebook travel. Each has an executor of loky's to itself, since loky
gives up all that an executor has begun when one of its processes dies.

The output folder must be the same for all workers. With dask-jobqueue a cluster is
made like this::

    from dask_jobqueue import SLURMCluster
    cluster = SLURMCluster(cores=4, processes=4, memory="16GB", walltime="12:00:00")
    cluster.scale(jobs=10)
    run_batch(..., scheduler=cluster)
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import math
import os
import pickle
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client as Call, Connection, Listener
from typing import TYPE_CHECKING, Any, Protocol

import cloudpickle
import psutil

from napari_exo2micro.core.base.errors import ParameterError, ResourceError
from napari_exo2micro.core.base.machine import out_of_time
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.batch.task import (
    BY_REQUEST,
    OnEvent,
    Task,
    TaskEvent,
    run_task,
)
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.pipeline.result import RunResult

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

#: What `make_executor` takes, with a sentence for people.
EXECUTORS = {
    "serial": "one task after the other, in this process",
    "workers": "several tasks at once, in worker processes of this computer",
    "dask": "the workers of a dask scheduler, on this computer or on a cluster",
}
#: Names of earlier versions for the same.
ALSO_CALLED = {"pool": "workers", "subprocess": "workers"}

GRACE = 15.0  # s that a stopped task has to come to its next window
PATIENCE = 5.0  # s beyond its time limit that a task has for the same
_LOADING = 120.0  # s that a new worker has to load its libraries
_TICK = 0.1  # s between two looks at time limits and the wish to stop
_ASK_INTERVAL = 0.25  # s between a worker's questions whether to stop
_CONNECT_TIMEOUT = 15  # s
_MOST_TRIES = 2
# Read when a library is loaded: workers share the processors.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_DEATH = "the process that ran it died, most likely because memory ran out"
_ADVICE = (
    "use fewer workers or close other programs, then run again: finished stages are "
    "kept"
)
_MISSING = (
    "dask's distributed is not installed; run pip install "
    "'napari-exo2micro[distributed]', or use worker processes"
)


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
    kind : {'serial', 'workers', 'dask'}
        See `EXECUTORS`; ``'pool'`` and ``'subprocess'`` are older names of the
        second.
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
    kind = ALSO_CALLED.get(kind, kind)
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
    return WorkerExecutor(n_workers, timeout_per_task)


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
                result = task.without_run(State.STOPPED, BY_REQUEST)
            else:
                result = run_task(task, on_event, should_stop)
            results.append(result)
            on_event(TaskEvent.ended(task.number, result))
        return results

    def close(self) -> None:
        """Do nothing: nothing was started."""


# In other processes -----------------------------------------------------------


class _Elsewhere(ABC):
    """Runs tasks in other processes, each by a future, see `Executor`."""

    #: Seconds after which a process is ended with its task.
    timeout: float | None = None
    #: What a future raises when its process has died.
    death: type[Exception]

    def __init__(self) -> None:
        # Events come in threads of their own.
        self.heard: queue.SimpleQueue[TaskEvent] = queue.SimpleQueue()

    def run(
        self,
        tasks: Sequence[Task],
        on_event: OnEvent,
        should_stop: Callable[[], bool],
    ) -> list[RunResult]:
        """Run tasks and return their results in the same order."""
        run = _Run(self, tasks, on_event)
        try:
            return run.until_done(should_stop)
        finally:
            run.abandon()

    @abstractmethod
    def has_room(self, n_running: int) -> bool:
        """Return whether one more task may begin."""

    @abstractmethod
    def begin(self, task: Task) -> Any:
        """Return the future of a task; an `OSError` when there is no process for it."""

    @abstractmethod
    def ask_to_stop(self, running: Mapping[int, Any]) -> None:
        """Ask running tasks, by their numbers, to end."""

    @abstractmethod
    def end(self, number: int, future: Any) -> None:
        """Let go of a task's future, and end the task where it still runs."""


class _Run:
    """One call of `run`: a task whose process died is tried once more, alone.

    Alone it has all the memory, and where others run on the same worker only the right
    one is blamed for its death.
    """

    def __init__(
        self, executor: _Elsewhere, tasks: Sequence[Task], on_event: OnEvent
    ) -> None:
        for task in tasks[:1]:
            _check_that_it_travels(task)
        self._executor = executor
        self._tasks = {task.number: task for task in tasks}
        self._on_event = on_event
        self._waiting = deque(tasks)
        self._again: deque[Task] = deque()
        self._tries: Counter[int] = Counter()
        self._running: dict[int, Any] = {}
        self._loading: set[int] = set()
        self._deadlines: dict[int, float] = {}
        self._results: dict[int, RunResult] = {}
        self._give_up_at = math.inf

    def until_done(self, should_stop: Callable[[], bool]) -> list[RunResult]:
        """Work until each task has a result."""
        while len(self._results) < len(self._tasks):
            if not self._is_stopping and should_stop():
                self._stop()
            self._hand_out()
            # Looked at first: what these have said is all there by now.
            done = [number for number, f in self._running.items() if f.done()]
            self._listen()
            for number in done:
                if number in self._running:
                    self._conclude(number)
            self._look_at_clock()
        return [self._results[number] for number in self._tasks]

    def abandon(self) -> None:
        """End what still runs, as on Ctrl-C."""
        for number, future in self._running.items():
            self._executor.end(number, future)

    @property
    def _is_stopping(self) -> bool:
        return self._give_up_at < math.inf

    def _stop(self) -> None:
        """Begin nothing more, and ask what runs to end."""
        self._give_up_at = time.monotonic() + GRACE
        for task in (*self._waiting, *self._again):
            self._finish_without(task, State.STOPPED, BY_REQUEST)
        self._waiting.clear()
        self._again.clear()
        self._executor.ask_to_stop(self._running)

    def _hand_out(self) -> None:
        """Begin as many tasks as there is room for."""
        while self._waiting and self._executor.has_room(len(self._running)):
            if not self._begin(self._waiting.popleft()):
                return
        if self._again and not self._waiting and not self._running:
            self._begin(self._again.popleft())

    def _begin(self, task: Task) -> bool:
        try:
            future = self._executor.begin(task)
        except (OSError, EOFError) as error:  # no memory, too many processes
            if self._running:  # those that are there go on
                self._waiting.appendleft(task)
            else:
                self._tries[task.number] += 1
                self._try_again(task, f"no process could be started ({error})")
            return False
        self._tries[task.number] += 1
        self._running[task.number] = future
        self._loading.add(task.number)
        self._set_deadline(task.number, PATIENCE + _LOADING)
        return True

    def _set_deadline(self, number: int, more: float) -> None:
        if self._executor.timeout is not None:
            self._deadlines[number] = time.monotonic() + self._executor.timeout + more

    def _listen(self) -> None:
        """Take what tasks have said, and wait a moment for more."""
        wait = _TICK
        while True:
            try:
                event = self._executor.heard.get(timeout=wait)
            except queue.Empty:
                return
            wait = 0.0
            if event.number not in self._running:
                continue
            if event.result is None:
                if event.number in self._loading:
                    self._loading.remove(event.number)
                    self._set_deadline(event.number, PATIENCE)
                self._on_event(event)
            else:
                self._finish(event.number, event.result)

    def _conclude(self, number: int) -> None:
        """Say what became of a task whose future is done."""
        task, future = self._tasks[number], self._running[number]
        try:
            self._finish(number, future.result(timeout=5))
        except TimeoutError:
            return  # lost with its worker: dask runs it again
        except self._executor.death as error:
            how = " ".join(str(error).split())
            logger.info("%s / %s: %s", task.sample, task.dye, how)
            if self._is_stopping:
                self._finish_without(task, State.STOPPED, BY_REQUEST)
            else:
                self._executor.end(number, self._running.pop(number))
                self._try_again(task, _DEATH)
        except (futures.CancelledError, asyncio.CancelledError):
            if self._is_stopping:
                self._finish_without(task, State.STOPPED, BY_REQUEST)
            else:
                why = "the scheduler is gone or has cancelled it"
                self._finish_without(task, State.FAILED, why)
        except Exception as error:  # noqa: BLE001 - one task must not end the others
            why = f"{type(error).__name__} on the worker: {error}"
            self._finish_without(task, State.FAILED, why)

    def _try_again(self, task: Task, why: str) -> None:
        if self._tries[task.number] < _MOST_TRIES:
            self._again.append(task)
            words = f"{why}; it is tried once more, alone"
            self._on_event(TaskEvent.queued(task, words))
        else:
            self._finish_without(task, State.FAILED, f"{why}, twice; {_ADVICE}")

    def _look_at_clock(self) -> None:
        """End tasks whose time is over."""
        now = time.monotonic()
        for number in list(self._running):
            if now > self._give_up_at:
                self._finish_without(self._tasks[number], State.STOPPED, BY_REQUEST)
            elif now > self._deadlines.get(number, math.inf):
                why = out_of_time(self._executor.timeout or 0.0)
                self._finish_without(self._tasks[number], State.FAILED, why)

    def _finish_without(self, task: Task, state: State, reason: str) -> None:
        self._finish(task.number, task.without_run(state, reason))

    def _finish(self, number: int, result: RunResult) -> None:
        future = self._running.pop(number, None)
        if future is not None:
            self._executor.end(number, future)
        if self._tries[number] > 1:
            result = replace(result, tries=self._tries[number])
        self._results[number] = result
        self._on_event(TaskEvent.ended(number, result))


def _check_that_it_travels(task: Task) -> None:
    """Raise before anything runs when a loader cannot be sent to a process."""
    try:
        cloudpickle.dumps(task.settings.loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        name = getattr(task.settings.loader, "name", task.settings.loader)
        raise ParameterError(
            f"the loader '{name}' cannot be sent to another process ({error}); "
            "define it at the top of a module, or run in this process"
        ) from error


def _now_and_then(ask: Callable[[], bool]) -> Callable[[], bool]:
    """Return `ask`, which takes long, as a function that may be called at any rate."""
    last, answer = time.monotonic(), False

    def asked() -> bool:
        nonlocal last, answer
        now = time.monotonic()
        if not answer and now - last >= _ASK_INTERVAL:
            last, answer = now, ask()
        return answer

    return asked


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

    resource_tracker.ensure_running()  # its first start lifts the block (Python 3.11)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# Local workers ------------------------------------------------------------------


class WorkerExecutor(_Elsewhere):
    """Runs tasks in processes of this computer, see `Executor`.

    Parameters
    ----------
    n_workers : int
        How many at once.
    timeout : float, optional
        Seconds after which a process is ended with its task.
    """

    is_here = True
    death = BrokenProcessPool

    def __init__(self, n_workers: int, timeout: float | None = None) -> None:
        super().__init__()
        self.n_workers = n_workers
        self.timeout = timeout
        self._threads = 1
        self._idle: list[Any] = []
        self._busy: dict[int, Any] = {}
        self._calls: set[Connection] = set()
        self._is_over = False
        self._key = secrets.token_bytes(32)
        self._line = Listener(authkey=self._key)
        threading.Thread(target=self._take_calls, daemon=True).start()

    def run(
        self,
        tasks: Sequence[Task],
        on_event: OnEvent,
        should_stop: Callable[[], bool],
    ) -> list[RunResult]:
        """Run tasks and return their results in the same order."""
        n_workers = min(self.n_workers, len(tasks)) or 1
        self._threads = max(1, (os.cpu_count() or 1) // n_workers)
        return super().run(tasks, on_event, should_stop)

    def has_room(self, n_running: int) -> bool:
        """Return whether a worker is idle, or a new one may be started."""
        return n_running < self.n_workers

    def begin(self, task: Task) -> futures.Future[RunResult]:
        """Hand a task to an idle worker or a new one."""
        while True:
            worker = self._idle.pop() if self._idle else self._new_worker()
            try:
                with deaf_to_ctrl_c():
                    future: futures.Future[RunResult] = worker.submit(
                        _call_and_run, task, self._line.address, self._key
                    )
            except BrokenProcessPool:  # it has died since its last task
                continue
            except (OSError, EOFError):
                worker.shutdown(wait=False, kill_workers=True)
                raise
            self._busy[task.number] = worker
            return future

    def ask_to_stop(self, running: Mapping[int, Any]) -> None:  # noqa: ARG002
        """Hang up: that asks every task to end, and those that call later."""
        self._is_over = True
        for call in list(self._calls):
            with suppress(OSError):
                call.send(None)

    def end(self, number: int, future: futures.Future[RunResult]) -> None:
        """Keep the worker for another task, or end it with the one that it has."""
        worker = self._busy.pop(number)
        if future.done() and future.exception() is None:
            self._idle.append(worker)
        else:
            worker.shutdown(kill_workers=True)

    def close(self) -> None:
        """End all workers."""
        for worker in self._idle:
            worker.shutdown(kill_workers=True)
        self._idle = []
        self._is_over = True
        with suppress(OSError, EOFError):
            Call(self._line.address).close()  # wakes the thread that waits for calls
        self._line.close()

    def _new_worker(self) -> Any:
        from loky import ProcessPoolExecutor

        threads = {n: os.environ.get(n, str(self._threads)) for n in _THREAD_VARIABLES}
        ours = os.getpid(), self._threads
        return ProcessPoolExecutor(
            1, initializer=_prepare_worker, initargs=ours, env=threads
        )

    def _take_calls(self) -> None:
        """Listen to each task that calls, in a thread of its own."""
        while not self._is_over:
            with suppress(OSError, EOFError, AuthenticationError):
                call = self._line.accept()
                threading.Thread(target=self._hear, args=(call,), daemon=True).start()

    def _hear(self, call: Connection) -> None:
        self._calls.add(call)
        with call, suppress(OSError, EOFError, pickle.UnpicklingError):
            while not self._is_over:
                self.heard.put(call.recv())
        self._calls.discard(call)


def _prepare_worker(parent: int, threads: int) -> None:
    # Ctrl-C reaches all processes of a terminal; who started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nothing may disturb a live table: results carry the warnings, and the parent says
    # when a worker has died.
    faulthandler.disable()
    logging.captureWarnings(True)
    logging.getLogger().addHandler(logging.NullHandler())
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    import cv2

    cv2.setNumThreads(threads)


def _end_with(parent: int) -> None:
    """End this process when its parent was killed, which loky does not see to."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(parent).wait()
    time.sleep(PATIENCE)
    os._exit(1)


def _call_and_run(task: Task, address: Any, key: bytes) -> RunResult:
    """Run a task in a worker of this computer, on the line with who started it."""
    with Call(address, authkey=key) as call:

        def tell(event: TaskEvent) -> None:
            with suppress(OSError):
                call.send(event)

        def is_stopped() -> bool:
            try:
                return call.poll()
            except (OSError, EOFError):
                return True

        return run_task(task, tell, _now_and_then(is_stopped))


# Workers of dask ------------------------------------------------------------------


class DaskExecutor(_Elsewhere):
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
        super().__init__()
        try:
            import distributed
        except ImportError as error:
            raise ParameterError(_MISSING) from error
        self.death = distributed.KilledWorker
        self.is_here = scheduler is None or scheduler == "local"
        with ExitStack() as opened:  # closed again where the next step fails
            if self.is_here:
                scheduler = opened.enter_context(_local_cluster(n_workers))
            if isinstance(scheduler, distributed.Client):
                self._client = scheduler
            else:
                self._client = _connect(scheduler, monitor or Monitor())
                opened.callback(self._client.close)
            self._topic = f"exo2micro-{uuid.uuid4().hex}"
            self._stop = distributed.Event(f"{self._topic}-stop", client=self._client)
            self._client.subscribe_topic(
                self._topic, lambda event: self.heard.put(pickle.loads(event[1]["it"]))
            )
            opened.callback(self._client.unsubscribe_topic, self._topic)
            self._opened = opened.pop_all()

    @property
    def n_workers(self) -> int:
        """How many tasks the workers that are there now can run at once."""
        return max(int(sum(self._client.nthreads().values())), 1)

    def has_room(self, n_running: int) -> bool:  # noqa: ARG002
        """Return True: the scheduler knows what waits, and may ask for workers."""
        return True

    def begin(self, task: Task) -> Any:
        """Hand a task to the scheduler."""
        key = f"{self._topic}-{task.number}-{uuid.uuid4().hex}"
        return self._client.submit(
            _run_on_worker, task, self._topic, key=key, pure=False
        )

    def ask_to_stop(self, running: Mapping[int, Any]) -> None:
        """Cancel what no worker has begun, and ask the others to end."""
        self._stop.set()
        begun = {
            str(key) for keys in self._client.processing().values() for key in keys
        }
        self._client.cancel([f for f in running.values() if str(f.key) not in begun])

    def end(self, number: int, future: Any) -> None:  # noqa: ARG002
        """Leave nothing of a task behind on the scheduler."""
        with suppress(Exception):  # it may be gone
            if not future.done():
                self._client.cancel([future])
            future.release()

    def close(self) -> None:
        """Close what was opened here."""
        self._opened.close()


# Without a file of its own, a program that its workers need not run once more.
_LOCAL_CLUSTER = """
import logging
import sys

import dask
from distributed import LocalCluster

environment = dict(dask.config.get("distributed.nanny.pre-spawn-environ"))
# Memory that is given back at once and asked for again takes a task half as long again.
environment.pop("MALLOC_TRIM_THRESHOLD_", None)
settings = {
    "distributed.nanny.pre-spawn-environ": environment,
    "distributed.scheduler.allowed-failures": 0,  # it is tried again alone
}
with dask.config.set(settings), LocalCluster(
    n_workers=int(sys.argv[1]),
    threads_per_worker=1,
    processes=True,
    dashboard_address="127.0.0.1:0",  # any port, for nobody else
    silence_logs=logging.CRITICAL,
    memory_limit=None,  # tasks watch the memory themselves
) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()  # until who started it closes its end, or is gone
"""


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[str]:
    """Yield the address of a scheduler with workers of this computer."""
    process = subprocess.Popen(
        [sys.executable, "-c", _LOCAL_CLUSTER, str(n_workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        # Neither kind of system hands Ctrl-C on to it then.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    with process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise ResourceError(
                "dask could not start its workers on this computer (exit code "
                f"{process.wait()}); use worker processes without dask"
            )
        yield address


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
    answer: futures.Future[Client] = futures.Future()

    def connect() -> None:
        try:
            client = Client(scheduler, timeout=_CONNECT_TIMEOUT, set_as_default=False)
        except Exception as error:  # noqa: BLE001 - raised where somebody waits
            answer.set_exception(error)
        else:
            answer.set_result(client)

    threading.Thread(target=connect, name="exo2micro dask", daemon=True).start()
    try:
        while not answer.done():
            monitor.check()
            futures.wait([answer], timeout=_TICK)
    except BaseException:
        answer.add_done_callback(lambda f: f.exception() or f.result().close())
        raise
    try:
        return answer.result()
    except (OSError, ValueError, TypeError) as error:
        raise _no_answer(scheduler, error) from error


def _no_answer(scheduler: Any, why: Exception) -> ParameterError:
    return ParameterError(
        f"no dask scheduler answers at {scheduler} ({why}); start one with "
        "'dask scheduler' and give the address that it shows, as in "
        "tcp://192.168.1.2:8786"
    )


def _run_on_worker(task: Task, topic: str) -> RunResult:
    """Run a task where dask has put it."""
    import cv2
    from distributed import Event, get_worker

    worker = get_worker()
    cv2.setNumThreads(max(1, worker.state.nthreads))

    def tell(event: TaskEvent) -> None:
        worker.log_event(topic, {"it": pickle.dumps(event)})

    stop = Event(f"{topic}-stop")
    result = run_task(task, tell, _now_and_then(stop.is_set))
    # A result that only this worker keeps is lost with it.
    tell(TaskEvent.ended(task.number, result))
    return result
