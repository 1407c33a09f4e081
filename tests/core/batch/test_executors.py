"""Where tasks run: results, events, deaths, time limits, stopping."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.batch import (
    Task,
    TaskEvent,
    TaskState,
    executors,
    make_executor,
)
from napari_exo2micro.core.batch.task import run_task
from napari_exo2micro.core.parameters import RunSettings
from napari_exo2micro.core.raw.pair import NamedLoader


class Bench:
    """Runs tasks of the misbehaving loader and keeps what is told of them."""

    def __init__(self, folder: Path, loader: Callable[..., Any]) -> None:
        self.folder = folder
        (folder / "raw").mkdir()
        self.loader = loader
        self.events: list[TaskEvent] = []

    def tasks(self, *samples: str, **more: Any) -> list[Task]:
        return [
            Task(
                number,
                sample,
                "DAPI",
                RunSettings(
                    raw_dir=self.folder / "raw",
                    output_dir=self.folder / "out",
                    checkpoint_format="tiff",
                    loader=NamedLoader("misbehaving", self.loader),
                    params={"pad": 8},
                    to_stage=1,
                ),
                **more,
            )
            for number, sample in enumerate(samples)
        ]

    def run(
        self,
        kind: str,
        *samples: str,
        should_stop: Callable[[], bool] = lambda: False,
        n_workers: int = 2,
        tasks: list[Task] | None = None,
    ) -> list[dict[str, Any]]:
        executor = make_executor(kind, n_workers=n_workers)
        try:
            return executor.run(
                tasks or self.tasks(*samples), self.events.append, should_stop
            )
        finally:
            executor.close()

    def states(self, number: int) -> list[TaskState]:
        found = [event.state for event in self.events if event.number == number]
        return [s for n, s in enumerate(found) if n == 0 or s is not found[n - 1]]

    def pids(self, sample: str) -> list[int]:
        path = self.folder / "raw" / f"{sample}-DAPI.begun"
        return [int(pid) for pid in path.read_text().split()]


@pytest.fixture
def bench(tmp_path: Path, batch_loader: Callable[..., Any]) -> Bench:
    return Bench(tmp_path, batch_loader)


def test_a_task_travels() -> None:
    task = Task(3, "Rock", "DAPI", RunSettings(params={"pad": 60}))
    assert pickle.loads(pickle.dumps(task)) == task


def check_that_a_failed_task_stopped_no_other(
    bench: Bench, results: list[dict[str, Any]]
) -> None:
    assert [result["sample"] for result in results[:3]] == ["A", "Fails", "B"]
    assert results[0]["status"] == results[2]["status"] == "complete"
    assert results[1]["status"].startswith("error: ")
    assert "the scan is empty" in results[1]["status"]
    assert (bench.folder / "out" / "B" / "DAPI" / "tiff").is_dir()
    assert bench.states(0) == [TaskState.RUNNING, TaskState.DONE]
    assert bench.states(1) == [TaskState.RUNNING, TaskState.FAILED]
    last = next(e for e in reversed(bench.events) if e.number == 1)
    assert last.text == results[1]["status"]
    assert last.result == results[1]


def test_in_this_process_a_failed_task_stops_no_other(bench: Bench) -> None:
    results = bench.run("serial", "A", "Fails", "B", "TooLarge")
    check_that_a_failed_task_stopped_no_other(bench, results)
    assert "800 TB" in results[3]["status"]
    assert bench.pids("A") == bench.pids("B") == [os.getpid()]


def test_in_a_pool_dead_workers_are_replaced(bench: Bench) -> None:
    results = bench.run("workers", "A", "Fails", "B", "DiesOnce", "Dies", "C")
    check_that_a_failed_task_stopped_no_other(bench, results)
    assert results[3]["status"] == results[5]["status"] == "complete"
    assert results[3]["tries"] == len(bench.pids("DiesOnce")) == 2
    assert bench.states(3) == [
        TaskState.RUNNING,
        TaskState.QUEUED,
        TaskState.RUNNING,
        TaskState.DONE,
    ]
    assert results[4]["status"].startswith("error: the process that ran it died, most")
    assert "memory ran out, twice" in results[4]["status"]
    assert len(bench.pids("Dies")) == 2
    pids = [pid for name in "ABC" for pid in bench.pids(name)]
    assert len(pids) == 3  # the deaths of others have no effect on them
    assert os.getpid() not in pids


@pytest.mark.parametrize("which_start", [set(), {0}, {1, 2, 3}])
def test_where_processes_cannot_be_started_the_batch_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, which_start: set[int]
) -> None:
    """As where memory or the number of processes is at its limit."""
    original = BaseProcess.start
    tried = []

    def start(process: BaseProcess) -> None:
        tried.append(process)
        if len(tried) - 1 not in which_start:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        original(process)

    monkeypatch.setattr(BaseProcess, "start", start)
    statuses = [result["status"] for result in bench.run("workers", "A", "B", "C")]
    if which_start:
        assert statuses == ["complete"] * 3
    else:
        for status in statuses:
            assert status.startswith("error: no process could be started")
            assert "Resource temporarily unavailable" in status
        assert len(tried) == 6  # each task twice


SCRIPT = """
import numpy as np
from napari_exo2micro.core import run_batch

def load(sample, dye, raw_dir="raw"):
    pixels = np.arange(1920, dtype=np.uint8).reshape(40, 48)
    return pixels, pixels[::-1], None, None

print("begins")
results = run_batch(["A", "B"], ["DAPI"], parallel={parallel}, n_workers=2, loader=load,
    to_stage=1, params={{"pad": 8}}, raw_dir="raw", output_dir="out")
print(*[result["status"] for result in results])
"""


@pytest.mark.parametrize(
    ("parallel", "by"),
    [
        ("False", "file"),
        ("True", "file"),
        ("True", "standard input"),
        pytest.param("'dask'", "file", marks=pytest.mark.slow),
    ],
)
def test_a_script_needs_no_guard_against_its_own_workers(
    tmp_path: Path, parallel: str, by: str
) -> None:
    """Nor does its own loader need a module; standard input is as in a notebook."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(parallel=parallel))
    done = subprocess.run(
        [sys.executable, script if by == "file" else "-"],
        input=None if by == "file" else script.read_text(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "begins\ncomplete complete\n", done.stderr
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("batch_loader")
def test_workers_end_with_the_program_that_started_them(tmp_path: Path) -> None:
    """Even with one that is killed."""
    (tmp_path / "script.py").write_text(
        "from batch_loader import load\n"
        "from napari_exo2micro.core import run_batch\n"
        "run_batch(['Waits'], ['DAPI'], parallel=True, loader=load, to_stage=1,\n"
        "    params={'pad': 8}, raw_dir='raw', output_dir='out')\n"
    )
    (tmp_path / "raw").mkdir()
    program = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path)
    begun = tmp_path / "raw" / "Waits-DAPI.begun"
    while not (begun.exists() and begun.read_text()):
        assert program.poll() is None
        time.sleep(0.05)
    (pid,) = map(int, begun.read_text().split())
    worker = psutil.Process(pid)
    program.kill()
    program.wait()
    worker.wait(60)


def test_a_task_that_hangs_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 0.0)
    (result,) = bench.run("workers", tasks=bench.tasks("Hangs", time_limit=1.0))
    assert result["status"].startswith("error: stopped after 1 s")


@pytest.mark.parametrize("kind", ["serial", "workers"])
def test_stopping_leaves_finished_tasks_alone(bench: Bench, kind: str) -> None:
    def first_has_ended() -> bool:
        return any(event.result for event in bench.events)

    results = bench.run(kind, *"ABCDEF", should_stop=first_has_ended, n_workers=1)
    assert results[0]["status"] == "complete"
    assert {result["status"].partition(":")[0] for result in results[2:]} == {"stopped"}
    assert not bench.folder.joinpath("raw", "F-DAPI.begun").exists()
    assert bench.states(5) == [TaskState.STOPPED]


def test_a_running_task_ends_when_asked(bench: Bench) -> None:
    def has_begun() -> bool:
        return any(event.stage == 1 for event in bench.events)

    task = bench.tasks("A")[0]
    result = run_task(task, bench.events.append, has_begun)
    assert result["status"].startswith("stopped")
    assert not list(bench.folder.rglob("*.part"))


def test_a_hanging_task_is_ended_when_all_stop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "GRACE", 0.5)

    def has_begun() -> bool:
        return bench.folder.joinpath("raw", "Hangs-DAPI.begun").exists()

    results = bench.run("workers", "Hangs", "A", should_stop=has_begun, n_workers=1)
    assert [r["status"].partition(":")[0] for r in results] == ["stopped"] * 2


def test_time_is_watched_between_windows(bench: Bench) -> None:
    result = run_task(bench.tasks("A", time_limit=1e-9)[0])
    assert result["status"].startswith("error: stopped after 1e-09 s")


def test_memory_is_watched_between_windows(bench: Bench) -> None:
    result = run_task(bench.tasks("A", least_memory=1 << 60)[0])
    assert result["status"].startswith("error: stopped before the memory ran out")
    assert "GB are free" in result["status"]


def test_memory_is_told_when_asked_for(bench: Bench) -> None:
    result = run_task(bench.tasks("A", memory_debug=True)[0])
    memory = result["memory"]
    assert 0 < memory["before"] <= memory["peak"]
    assert memory["after"] <= memory["peak"]


def test_a_loader_that_cannot_be_sent_is_told_before_anything_runs(
    bench: Bench,
) -> None:
    lock = threading.Lock()
    bench.loader = lambda sample, dye, raw_dir="raw": lock
    with pytest.raises(ParameterError, match="define it at the top of a module"):
        bench.run("workers", "A")


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("fast", {}, "one of serial, workers, dask"),
        ("workers", {"n_workers": 0}, "n_workers takes a whole number"),
        ("workers", {"n_workers": True}, "n_workers takes a whole number"),
    ],
)
def test_wrong_settings_are_told(kind: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        make_executor(kind, **more)
