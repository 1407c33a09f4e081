"""Batches on dask: a real scheduler and worker processes, started for the tests."""

from __future__ import annotations

import builtins
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest

from napari_exo2micro.core.base import CancelledError, Monitor, ParameterError
from napari_exo2micro.core.batch import (
    TaskEvent,
    TaskState,
    executors,
    make_executor,
    run_batch,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def scheduler(tmp_path: Path, batch_loader: Callable[..., Any]) -> Iterator[str]:
    """The address of a scheduler with two worker processes, as on a cluster."""
    told = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(told), "--no-dashboard"]
    commands = [
        ["distributed.cli.dask_scheduler", "--port", "0", "--host", "127.0.0.1"],
        ["distributed.cli.dask_worker", "--nworkers", "2", "--nthreads", "1"],
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *command, *common],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
            env={**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"},
        )
        for command in commands
    ]
    try:
        with distributed.Client(scheduler_file=str(told), timeout=120) as client:
            client.wait_for_workers(2, timeout=120)
        yield json.loads(told.read_text())["address"]
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def pad_all(
    tmp_path: Path, batch_loader: Callable[..., Any]
) -> Callable[..., list[dict[str, Any]]]:
    """Run stage 1 of samples that misbehave as their names say."""
    (tmp_path / "raw").mkdir()

    def run(*samples: str, **more: Any) -> list[dict[str, Any]]:
        return run_batch(
            samples,
            ["DAPI"],
            params={"pad": 8},
            output_dir=tmp_path / "out",
            raw_dir=tmp_path / "raw",
            to_stage=1,
            checkpoint_format="tiff",
            loader=batch_loader,
            **more,
        )

    return run


def pids(folder: Path, sample: str) -> list[str]:
    return (folder / "raw" / f"{sample}-DAPI.begun").read_text().split()


def test_a_cluster_whose_worker_is_killed_in_the_middle(
    scheduler: str, pad_all, tmp_path: Path
) -> None:
    events: list[TaskEvent] = []
    samples = ("A", "DiesOnce", "Fails", "B", "Dies", "C")
    results = pad_all(*samples, scheduler=scheduler, on_event=events.append)
    assert [result["sample"] for result in results] == list(samples)
    statuses = [result["status"] for result in results]
    assert [statuses[number] for number in (0, 1, 3, 5)] == ["complete"] * 4
    assert "the scan is empty" in statuses[2]
    assert statuses[4].startswith("error: the process that ran it died")
    assert len(pids(tmp_path, "DiesOnce")) >= 2
    for number, sample in ((0, "A"), (3, "B"), (5, "C")):
        assert len(list((tmp_path / "out" / sample).rglob("*.tiff"))) == 2
        own = [event for event in events if event.number == number]
        assert own[0].state is TaskState.QUEUED
        assert any(event.state is TaskState.RUNNING for event in own)
        assert own[-1].result == results[number]

    # An existing client is used and left open; a stop reaches the workers.
    with distributed.Client(scheduler) as client:
        seen: list[TaskEvent] = []
        monitor = Monitor(should_stop=lambda: any(event.result for event in seen))
        results = pad_all(
            *"DEFGHIJ", scheduler=client, on_event=seen.append, monitor=monitor
        )
        kinds = {result["status"].partition(":")[0] for result in results}
        assert "complete" in kinds
        assert kinds <= {"complete", "stopped"}
        assert client.status == "running"
        assert client.submit(sum, (1, 2)).result(timeout=60) == 3


def test_workers_of_this_computer_are_started_and_ended(
    pad_all, tmp_path: Path
) -> None:
    results = pad_all("A", "Dies", "B", "Deaf", parallel="dask", n_workers=2)
    statuses = [result["status"] for result in results]
    assert statuses[0] == statuses[2] == statuses[3] == "complete"
    assert "memory ran out" in statuses[1]
    assert len(pids(tmp_path, "Dies")) == 2
    assert len(pids(tmp_path, "Deaf")) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs groups of processes")
def test_ctrl_c_in_the_terminal_does_not_reach_the_workers_of_this_computer() -> None:
    before = set(psutil.Process().children(recursive=True))
    executor = make_executor("dask", n_workers=1)
    try:
        started = set(psutil.Process().children(recursive=True)) - before
        assert len(started) >= 2
        assert os.getpgrp() not in {os.getpgid(process.pid) for process in started}
    finally:
        executor.close()
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive


def test_a_stranger_is_not_let_in_to_the_workers_of_this_computer() -> None:
    before = set(psutil.Process().children(recursive=True))
    executor = make_executor("dask", n_workers=1)
    try:
        started = set(psutil.Process().children(recursive=True)) - before
        doors = {
            connection.laddr.port
            for process in started
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert doors
        stranger = distributed.Security.temporary()
        keys = stranger.get_connection_args("client")["ssl_context"]
        keys.check_hostname, keys.verify_mode = False, ssl.CERT_NONE
        refused = 0
        for port in doors:
            with socket.create_connection(("127.0.0.1", port), 2) as line:
                try:
                    with keys.wrap_socket(line) as door:
                        assert not door.recv(1)
                except ssl.SSLError as error:
                    refused += "ALERT" in str(error)
                except OSError:  # a page of the dashboard: no tasks go through it
                    continue
        assert refused >= 2  # the scheduler and its worker
    finally:
        executor.close()


def test_without_cryptography_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ParameterError, match="cryptography, which guards dask's work"):
        make_executor("dask", n_workers=1)


@pytest.mark.parametrize("address", ["nonsense", "foo://x:1", "tcp://127.0.0.1:port"])
def test_what_is_no_address_is_told_without_a_client(
    pad_all, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotAsked:
        def __init__(self, *_: object, **__: object) -> None:
            raise AssertionError("a client was made")

    monkeypatch.setattr(distributed, "Client", NotAsked)
    with pytest.raises(ParameterError, match="no dask scheduler answers at"):
        pad_all("A", scheduler=address)


def test_a_scheduler_that_does_not_answer(
    pad_all, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "CONNECT_TIMEOUT", 1)
    with pytest.raises(ParameterError, match="no dask scheduler answers at tcp://"):
        pad_all("A", scheduler="tcp://127.0.0.1:9")


def test_waiting_for_a_scheduler_can_be_stopped(
    pad_all, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "CONNECT_TIMEOUT", 20)
    asked = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > 3

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls, says nothing
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(CancelledError):
            pad_all("A", scheduler=address, monitor=Monitor(should_stop=should_stop))
    assert len(asked) == 4


def test_without_dask_the_extra_is_named(
    pad_all, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without_dask(name: str, *more: Any) -> Any:
        if name.partition(".")[0] in ("dask", "distributed"):
            raise ImportError(name)
        return original(name, *more)

    monkeypatch.setattr(builtins, "__import__", without_dask)
    with pytest.raises(ParameterError, match=r"napari-exo2micro\[distributed\]"):
        pad_all("A", parallel="dask")
