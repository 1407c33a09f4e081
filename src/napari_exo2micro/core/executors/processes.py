"""Worker processes, renewed after some tasks or after each one.

Each worker has a pipe of its own: one that is killed takes nothing with it that
others need (a queue that all share would keep the lock of the one that died).
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.executors.interrupts import deaf_to_ctrl_c
from napari_exo2micro.core.executors.worker import STOP, work
from napari_exo2micro.core.free_resources import out_of_time
from napari_exo2micro.core.tasks import (
    STOPPED,
    OnEvent,
    Task,
    TaskEvent,
    result_without_run,
)

__all__ = ["ProcessExecutor", "how_it_ended"]

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
    ) -> list[dict[str, Any]]:
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
        self._results: dict[int, dict[str, Any]] = {}
        self._workers: list[_Worker] = []
        self._leaving: list[_Worker] = []
        self._kill_at = math.inf
        n = min(executor.n_workers, len(tasks)) or 1
        self._with_main = any(_comes_from_main(task) for task in tasks)
        self._context = _context(executor._tasks_per_worker)
        self._threads = max(1, (os.cpu_count() or 1) // n)

    def until_done(self, should_stop: Callable[[], bool]) -> list[dict[str, Any]]:
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

    def _take_result(self, worker: _Worker, result: dict[str, Any]) -> None:
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

    def _finish(self, task: Task, result: dict[str, Any]) -> None:
        tries = self._tries.get(task.number, 0)
        if tries > 1:
            result = {**result, "tries": tries}
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
