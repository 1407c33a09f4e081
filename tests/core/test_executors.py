"""Where tasks run: results, events, deaths, time limits, stopping."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.batch import (
    Task,
    TaskEvent,
    TaskState,
    executors,
    make_executor,
)
from napari_exo2micro.core.batch.executors import how_it_ended
from napari_exo2micro.core.batch.task import run_task


class Bench:
    """Runs tasks of the misbehaving loader and keeps what is told of them."""

    def __init__(self, folder: Path, loader: Callable[..., Any]) -> None:
        self.folder = folder
        self.loader = loader
        self.events: list[TaskEvent] = []

    def tasks(self, *samples: str, **more: Any) -> list[Task]:
        return [
            Task(
                number,
                sample,
                "DAPI",
                raw_dir=str(self.folder),
                output_dir=str(self.folder / "out"),
                checkpoint_format="tiff",
                loader="misbehaving",
                loader_function=self.loader,
                params={"pad": 8},
                to_stage=1,
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
        timeout_per_task: float | None = None,
        tasks: list[Task] | None = None,
    ) -> list[dict[str, Any]]:
        executor = make_executor(
            kind, n_workers=n_workers, timeout_per_task=timeout_per_task
        )
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
        path = self.folder / f"{sample}-DAPI.begun"
        return [int(pid) for pid in path.read_text().split()]


@pytest.fixture
def bench(tmp_path: Path, batch_loader: Callable[..., Any]) -> Bench:
    return Bench(tmp_path, batch_loader)


def test_a_task_travels() -> None:
    task = Task(3, "Rock", "DAPI", "/raw", "/out", params={"pad": 60})
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
    results = bench.run("pool", "A", "Fails", "B", "DiesOnce", "Dies", "C")
    check_that_a_failed_task_stopped_no_other(bench, results)
    assert results[3]["status"] == results[5]["status"] == "complete"
    assert results[3]["tries"] == len(bench.pids("DiesOnce")) == 2
    assert bench.states(3) == [
        TaskState.RUNNING,
        TaskState.QUEUED,
        TaskState.RUNNING,
        TaskState.DONE,
    ]
    assert results[4]["status"].startswith("error: its process was killed twice, most")
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
    statuses = [result["status"] for result in bench.run("pool", "A", "B", "C")]
    if which_start:
        assert statuses == ["complete"] * 3
    else:
        for status in statuses:
            assert status.startswith("error: no process could be started")
            assert "Resource temporarily unavailable" in status
        assert len(tried) == 6  # each task twice


def test_a_process_of_its_own_serves_one_task(bench: Bench) -> None:
    results = bench.run("subprocess", "A", "DiesOnce", n_workers=1)
    assert [result["status"] for result in results] == ["complete"] * 2
    pids = bench.pids("A") + bench.pids("DiesOnce")
    assert len(set(pids)) == len(pids) == 3


def test_a_script_needs_no_guard_against_its_own_workers(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        "from batch_loader import load\n"
        "from napari_exo2micro.core import run_batch\n"
        "found = run_batch(['A'], ['DAPI'], parallel=True, loader=load, to_stage=1,\n"
        "    params={'pad': 8}, raw_dir='raw', output_dir='out')\n"
        "print(found[0]['status'])\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("complete\n", 0), done.stderr


def test_a_task_that_hangs_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 0.0)
    (result,) = bench.run("subprocess", "Hangs", timeout_per_task=1.0)
    assert result["status"].startswith("error: stopped after 1 s")


@pytest.mark.parametrize("kind", ["serial", "pool"])
def test_stopping_leaves_finished_tasks_alone(bench: Bench, kind: str) -> None:
    def first_has_ended() -> bool:
        return any(event.result for event in bench.events)

    results = bench.run(kind, *"ABCDEF", should_stop=first_has_ended, n_workers=1)
    assert results[0]["status"] == "complete"
    assert {result["status"].partition(":")[0] for result in results[2:]} == {"stopped"}
    assert not bench.folder.joinpath("F-DAPI.begun").exists()
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
        return bench.folder.joinpath("Hangs-DAPI.begun").exists()

    results = bench.run("pool", "Hangs", "A", should_stop=has_begun, n_workers=1)
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
    bench.loader = lambda sample, dye, raw_dir="raw": None
    with pytest.raises(ParameterError, match="define it at the top of a module"):
        bench.run("pool", "A")


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("fast", {}, "one of serial, pool"),
        ("pool", {"n_workers": 0}, "n_workers takes a whole number"),
        ("pool", {"n_workers": True}, "n_workers takes a whole number"),
        ("pool", {"timeout_per_task": 0}, "timeout_per_task takes"),
    ],
)
def test_wrong_settings_are_told(kind: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        make_executor(kind, **more)


def test_words_for_the_end_of_a_process() -> None:
    assert how_it_ended(-9).endswith("most likely because memory ran out")
    assert "SIGSEGV" in how_it_ended(-11)
    assert "ended twice by the signal 63" in how_it_ended(-63, " twice")
    assert "exit code 1" in how_it_ended(1)
