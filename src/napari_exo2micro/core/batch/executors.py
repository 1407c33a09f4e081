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
import json
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
from collections.abc import Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client as Call, Connection, Listener
from typing import TYPE_CHECKING, Any

import cloudpickle
import psutil

from napari_exo2micro.core.base import Monitor, ParameterError, ResourceError, machine
from napari_exo2micro.core.batch.task import (
    BY_REQUEST,
    OnEvent,
    ShouldStop,
    Task,
    TaskEvent,
    event_of,
    run_task,
    without_run,
)
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.pipeline.result import RunResult

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

logger = logging.getLogger(__name__)

EXECUTORS = ("serial", "workers", "dask")
_OLD_NAMES = {"pool": "workers", "subprocess": "workers"}

GRACE = 15.0  # s that a stopped task has to come to its next window
PATIENCE = 5.0  # s beyond its time limit that a task has for the same
_LOADING = 120.0  # s that a new worker has to load its libraries
_TICK = 0.1  # s between two looks at time limits and the wish to stop
_ASK_INTERVAL = 0.25  # s between a worker's questions whether to stop
CONNECT_TIMEOUT = 15  # s
_MOST_TRIES = 2
# Read when a library is loaded: workers share the processors.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS VECLIB_MAXIMUM_THREADS"
).split()
_DEATH = "the process that ran it died, most likely because memory ran out"


def executor_kind(kind: str | bool, scheduler: Any = None) -> str:
    """Return which of `EXECUTORS` is meant.

    False stands for serial, True for workers; a scheduler is always dask's.

    Raises
    ------
    ParameterError
        When there is no such kind.
    """
    if scheduler is not None:
        return "dask"
    if isinstance(kind, bool):
        return "workers" if kind else "serial"
    kind = _OLD_NAMES.get(kind, kind)
    if kind not in EXECUTORS:
        raise ParameterError(
            f"an executor is one of {', '.join(EXECUTORS)}, found {kind!r}"
        )
    return kind


def make_executor(
    kind: str | bool,
    *,
    n_workers: int = 4,
    scheduler: Any = None,
    monitor: Monitor | None = None,
) -> Executor:
    """Return an executor.

    Parameters
    ----------
    kind : str or bool
        See `executor_kind`.
    n_workers : int
        How many tasks run at once, at least 1.
    scheduler : str, distributed.Client or cluster, optional
        Address of a scheduler of dask, or a client or a cluster that exist already
        (both are left alone in the end). None or ``'local'`` for workers of dask on
        this computer.
    monitor : Monitor, optional
        Asked whether to stop while no scheduler answers yet.

    Raises
    ------
    CancelledError
        When that was asked for.
    ParameterError
        When the kind or a number is not known, dask is not installed, or nobody
        answers at the address.
    """
    kind = executor_kind(kind, scheduler)
    if type(n_workers) is not int or n_workers < 1:
        raise ParameterError(
            f"n_workers takes a whole number of at least 1, found {n_workers!r}"
        )
    if kind == "dask":
        return DaskExecutor(scheduler, n_workers, monitor or Monitor())
    return SerialExecutor() if kind == "serial" else WorkerExecutor(n_workers)


class Executor(ABC):
    """Runs tasks, somewhere.

    Attributes
    ----------
    n_workers : int
        How many tasks run at once at most.
    is_here : bool
        Whether they take the memory of this computer.
    """

    n_workers = 1
    is_here = True

    def __init__(self) -> None:
        self._opened = ExitStack()

    @abstractmethod
    def run(
        self, tasks: Sequence[Task], on_event: OnEvent, should_stop: ShouldStop
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
        self._opened.close()


class SerialExecutor(Executor):
    """Runs tasks one after the other in this process."""

    def run(
        self, tasks: Sequence[Task], on_event: OnEvent, should_stop: ShouldStop
    ) -> list[RunResult]:
        """Run tasks and return their results in the same order."""
        results = []
        for task in tasks:
            if should_stop():
                result = without_run(task, State.STOPPED, BY_REQUEST)
            else:
                result = run_task(task, on_event, should_stop)
            results.append(result)
            on_event(TaskEvent.ended(task.number, result))
        return results


# In other processes -----------------------------------------------------------


class _ProcessExecutor(Executor):
    """Runs tasks in other processes, each by a future."""

    #: What a future raises when its process has died.
    death: type[Exception]
    #: Whether a process can be ended with the task that it has.
    can_end_tasks = False
    #: How many tasks may be begun: a scheduler knows what waits, and gets workers.
    most_begun = math.inf

    def __init__(self) -> None:
        super().__init__()
        # Events come in threads of their own.
        self.heard: queue.SimpleQueue[TaskEvent] = queue.SimpleQueue()
        self._at_once = 1

    def run(
        self, tasks: Sequence[Task], on_event: OnEvent, should_stop: ShouldStop
    ) -> list[RunResult]:
        """Run tasks and return their results in the same order."""
        for task in tasks[:1]:
            _check_that_it_travels(task)
        self._at_once = max(1, min(self.n_workers, len(tasks)))
        run = _Run(self, tasks, on_event)
        try:
            return run.until_done(should_stop)
        finally:
            run.abandon()

    @abstractmethod
    def begin(self, task: Task) -> Any:
        """Return the future of a task; an `OSError` when there is no process for it."""

    @abstractmethod
    def ask_to_stop(self, running: Sequence[Any]) -> None:
        """Ask the tasks of these futures to end."""

    @abstractmethod
    def end(self, number: int, future: Any) -> None:
        """Let go of a task's future, and end the task where it still runs."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A task that was handed to a process, and the latest time (s) of its begin."""

    task: Task
    future: Any
    begun: float


class _Run:
    """One call of `run`: a task whose process died is tried once more, alone.

    Alone it has all the memory, and where others run on the same worker only the right
    one is blamed for its death.
    """

    def __init__(
        self, executor: _ProcessExecutor, tasks: Sequence[Task], on_event: OnEvent
    ) -> None:
        self._executor = executor
        self._on_event = on_event
        self._numbers = [task.number for task in tasks]
        self._waiting = deque(tasks)
        self._again: deque[Task] = deque()
        self._tries: Counter[int] = Counter()
        self._running: dict[int, _Attempt] = {}
        self._results: dict[int, RunResult] = {}
        self._give_up_at = math.inf

    def until_done(self, should_stop: ShouldStop) -> list[RunResult]:
        """Work until each task has a result."""
        while len(self._results) < len(self._numbers):
            if not self._is_stopping and should_stop():
                self._stop()
            self._hand_out()
            # Looked at first: what these have said is all there by now.
            done = [n for n, attempt in self._running.items() if attempt.future.done()]
            self._listen()
            for number in done:
                if number in self._running:
                    self._conclude(self._running[number])
            self._look_at_clock()
        return [self._results[number] for number in self._numbers]

    def abandon(self) -> None:
        """End what still runs, as on Ctrl-C."""
        for number in list(self._running):
            self._let_go(number)

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
        self._executor.ask_to_stop([a.future for a in self._running.values()])

    def _hand_out(self) -> None:
        """Begin as many tasks as there is room for."""
        while self._waiting and len(self._running) < self._executor.most_begun:
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
        begun = time.monotonic() + _LOADING
        self._running[task.number] = _Attempt(task, future, begun)
        return True

    def _listen(self) -> None:
        """Take what tasks have said, and wait a moment for more."""
        wait = _TICK
        while True:
            try:
                event = self._executor.heard.get(timeout=wait)
            except queue.Empty:
                return
            wait = 0.0
            attempt = self._running.get(event.number)
            if attempt is None:
                continue
            if event.result is not None:
                self._finish(event.number, event.result)
                continue
            begun = min(attempt.begun, time.monotonic())
            self._running[event.number] = replace(attempt, begun=begun)
            self._on_event(event)

    def _conclude(self, attempt: _Attempt) -> None:
        """Say what became of a task whose future is done."""
        task, death = attempt.task, self._executor.death
        try:
            self._finish(task.number, attempt.future.result(timeout=5))
        except TimeoutError:
            return  # lost with its worker: dask runs it again
        except (death, futures.CancelledError, asyncio.CancelledError) as error:
            how = " ".join(str(error).split())
            logger.info("%s / %s: %s", task.sample, task.dye, how)
            if self._is_stopping:
                self._finish_without(task, State.STOPPED, BY_REQUEST)
            elif isinstance(error, death):
                self._try_again(task, _DEATH)
            else:
                why = "the scheduler is gone or has cancelled it"
                self._finish_without(task, State.FAILED, why)
        except Exception as error:  # noqa: BLE001 - one task must not end the others
            why = f"{type(error).__name__} on the worker: {error}"
            self._finish_without(task, State.FAILED, why)

    def _try_again(self, task: Task, why: str) -> None:
        if self._tries[task.number] < _MOST_TRIES:
            self._let_go(task.number)
            self._again.append(task)
            words = f"{why}; it is tried once more, alone"
            self._on_event(event_of(task, State.QUEUED, text=words))
        else:
            why += (
                ", twice; use fewer workers or close other programs, then run again: "
                "finished stages are kept"
            )
            self._finish_without(task, State.FAILED, why)

    def _look_at_clock(self) -> None:
        """End tasks whose time is over."""
        now = time.monotonic()
        for attempt in list(self._running.values()):
            task, limit = attempt.task, attempt.task.time_limit
            if now > self._give_up_at:
                self._finish_without(task, State.STOPPED, BY_REQUEST)
            elif (
                self._executor.can_end_tasks
                and limit is not None
                and now > attempt.begun + limit + PATIENCE
            ):
                self._finish_without(task, State.FAILED, machine.out_of_time(limit))

    def _finish_without(self, task: Task, state: State, reason: str) -> None:
        self._finish(task.number, without_run(task, state, reason))

    def _finish(self, number: int, result: RunResult) -> None:
        self._let_go(number)
        if self._tries[number] > 1:
            result = replace(result, tries=self._tries[number])
        self._results[number] = result
        self._on_event(TaskEvent.ended(number, result))

    def _let_go(self, number: int) -> None:
        attempt = self._running.pop(number, None)
        if attempt is not None:
            self._executor.end(number, attempt.future)


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


def _now_and_then(ask: ShouldStop) -> ShouldStop:
    """Return `ask`, which takes long, as a function that may be called at any rate."""
    last, answer = time.monotonic(), False

    def asked() -> bool:
        nonlocal last, answer
        now = time.monotonic()
        if not answer and now - last >= _ASK_INTERVAL:
            last, answer = now, ask()
        return answer

    return asked


# Local workers ------------------------------------------------------------------


class WorkerExecutor(_ProcessExecutor):
    """Runs tasks in processes of this computer."""

    death = BrokenProcessPool
    can_end_tasks = True

    def __init__(self, n_workers: int) -> None:
        super().__init__()
        self.n_workers = self.most_begun = n_workers
        self._idle: list[Any] = []
        self._busy: dict[int, Any] = {}
        self._calls: set[Connection] = set()
        self._is_over = False
        self._key = secrets.token_bytes(32)
        self._line = Listener(authkey=self._key)
        threading.Thread(target=self._take_calls, daemon=True).start()
        self._opened.callback(self._end_workers)

    def begin(self, task: Task) -> futures.Future[RunResult]:
        """Hand a task to an idle worker or a new one."""
        while True:
            worker = self._idle.pop() if self._idle else self._new_worker()
            try:
                with _deaf_to_ctrl_c():
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

    def ask_to_stop(self, running: Sequence[Any]) -> None:  # noqa: ARG002
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

    def _end_workers(self) -> None:
        for worker in self._idle:
            worker.shutdown(kill_workers=True)
        self._is_over = True
        with suppress(OSError, EOFError):
            Call(self._line.address).close()  # wakes the thread that waits for calls
        self._line.close()

    def _new_worker(self) -> Any:
        from loky import ProcessPoolExecutor

        threads = max(1, (os.cpu_count() or 1) // self._at_once)
        environment = {n: os.environ.get(n, str(threads)) for n in _THREAD_VARIABLES}
        return ProcessPoolExecutor(
            1,
            initializer=_prepare_worker,
            initargs=(os.getpid(), threads),
            env=environment,
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


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
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

        def send(event: TaskEvent) -> None:
            with suppress(OSError):
                call.send(event)

        def is_stopped() -> bool:
            try:
                return call.poll()
            except (OSError, EOFError):
                return True

        return run_task(task, send, _now_and_then(is_stopped))


# Workers of dask ------------------------------------------------------------------


class DaskExecutor(_ProcessExecutor):
    """Runs tasks on the workers of a scheduler.

    A task whose worker dies is run on another one, as often as the scheduler has
    been told (`distributed.scheduler.allowed-failures`), and once more alone.
    """

    def __init__(self, scheduler: Any, n_workers: int, monitor: Monitor) -> None:
        super().__init__()
        try:
            import distributed
        except ImportError as error:
            raise ParameterError(
                "dask's distributed is not installed; run pip install "
                "'napari-exo2micro[distributed]', or use worker processes"
            ) from error
        self.death = distributed.KilledWorker
        self.is_here = scheduler is None or scheduler == "local"
        security = None
        with ExitStack() as opened:  # closed again where the next step fails
            if self.is_here:
                scheduler, security = opened.enter_context(_local_cluster(n_workers))
            if isinstance(scheduler, distributed.Client):
                client = scheduler
            else:
                client = _connect(scheduler, monitor, security)
                opened.callback(client.close)
            self._topic = f"exo2micro-{uuid.uuid4().hex}"
            self._stop = distributed.Event(f"{self._topic}-stop", client=client)
            client.subscribe_topic(
                self._topic, lambda event: self.heard.put(pickle.loads(event[1]["it"]))
            )
            opened.callback(client.unsubscribe_topic, self._topic)
            # As many as the workers that are there by now can run.
            self.n_workers = max(int(sum(client.nthreads().values())), 1)
            self._opened = opened.pop_all()
        self._client = client

    def begin(self, task: Task) -> Any:
        """Hand a task to the scheduler."""
        key = f"{self._topic}-{task.number}-{uuid.uuid4().hex}"
        return self._client.submit(
            _run_on_worker, task, self._topic, key=key, pure=False
        )

    def ask_to_stop(self, running: Sequence[Any]) -> None:
        """Cancel what no worker has begun, and ask the others to end."""
        self._stop.set()
        processing = self._client.processing().values()
        begun = {str(key) for keys in processing for key in keys}
        self._client.cancel([f for f in running if str(f.key) not in begun])

    def end(self, number: int, future: Any) -> None:  # noqa: ARG002
        """Leave nothing of a task behind on the scheduler."""
        with suppress(Exception):  # it may be gone
            if not future.done():
                self._client.cancel([future])
            future.release()


#: What `distributed.Security` holds of keys and certificates, as text.
_KEYS = (
    "tls_ca_file",
    *("tls_client_cert", "tls_client_key"),
    *("tls_scheduler_cert", "tls_scheduler_key"),
    *("tls_worker_cert", "tls_worker_key"),
)

# Without a file of its own, a program that its workers need not run once more.
_LOCAL_CLUSTER = """
import json
import logging
import sys

import dask
from distributed import LocalCluster
from distributed.security import Security

keys = json.loads(sys.stdin.readline())
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
    security=Security(require_encryption=True, **keys),
    dashboard_address="127.0.0.1:0",  # any port, for nobody else
    silence_logs=logging.CRITICAL,
    memory_limit=None,  # tasks watch the memory themselves
) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()  # until who started it closes its end, or is gone
"""


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[tuple[str, Security]]:
    """Yield the address of a scheduler with workers of this computer, and its keys.

    A scheduler runs what it is sent. Others who work on this computer can find its
    address, but have no keys; they go through a pipe, which nobody else can read.
    """
    from distributed.security import Security

    try:
        security = Security.temporary()
    except ImportError as error:
        raise ParameterError(
            "the package cryptography, which guards dask's workers on this computer, "
            "is not installed; run pip install 'napari-exo2micro[distributed]', or use "
            "worker processes"
        ) from error
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
        assert process.stdin is not None
        assert process.stdout is not None
        keys = {key: getattr(security, key) for key in _KEYS}
        with suppress(OSError):  # it has ended: no address comes
            process.stdin.write(json.dumps(keys) + "\n")
            process.stdin.flush()
        address = process.stdout.readline().strip()
        if not address:
            raise ResourceError(
                "dask could not start its workers on this computer (exit code "
                f"{process.wait()}); use worker processes without dask"
            )
        yield address, security


def _connect(
    scheduler: Any, monitor: Monitor, security: Security | None = None
) -> Client:
    """Return a client of an address or a cluster.

    dask waits for an answer and cannot be asked to stop: it does so in a thread,
    which is left behind then.
    """
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port

    answer: futures.Future[Client] = futures.Future()

    def connect() -> None:
        try:
            client = Client(
                scheduler,
                timeout=CONNECT_TIMEOUT,
                set_as_default=False,
                security=security,
            )
            answer.set_result(client)
        except Exception as error:  # noqa: BLE001 - raised where somebody waits
            answer.set_exception(error)

    try:
        if isinstance(scheduler, str):
            # A client of what is no address waits long at the program's end.
            get_address_host_port(scheduler)
        threading.Thread(target=connect, name="exo2micro dask", daemon=True).start()
        while not answer.done():
            monitor.check()
            futures.wait([answer], timeout=_TICK)
        return answer.result()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"no dask scheduler answers at {scheduler} ({error}); start one with "
            "'dask scheduler' and give the address that it shows, as in "
            "tcp://192.168.1.2:8786"
        ) from error
    except BaseException:
        answer.add_done_callback(lambda f: f.exception() or f.result().close())
        raise


def _run_on_worker(task: Task, topic: str) -> RunResult:
    """Run a task where dask has put it."""
    import cv2
    from distributed import Event, get_worker

    worker = get_worker()
    cv2.setNumThreads(max(1, worker.state.nthreads))

    def send(event: TaskEvent) -> None:
        worker.log_event(topic, {"it": pickle.dumps(event)})

    stop: Event | None = None

    def is_stopped() -> bool:
        """Ask the scheduler; where it does not answer in time, the task goes on."""
        nonlocal stop
        try:
            stop = stop or Event(f"{topic}-stop")
            return bool(stop.is_set())
        except (OSError, RuntimeError, ValueError) as error:
            logger.info("the scheduler was not to be asked whether to stop: %s", error)
            return False

    result = run_task(task, send, _now_and_then(is_stopped))
    # A result that only this worker keeps is lost with it.
    send(TaskEvent.ended(task.number, result))
    return result
