"""One run for each sample and dye at a time, whatever becomes of the other one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from napari_exo2micro.core.base import (
    CancelledError,
    LockedError,
    Monitor,
    OutputError,
    lock_holder,
)
from napari_exo2micro.core.base.locks import sample_lock

HOLD = """
import sys, time
from napari_exo2micro.core.base.locks import sample_lock
with sample_lock(sys.argv[1], "Rock", "DAPI"):
    print("held", flush=True)
    sys.stdin.readline()
"""


class Other:
    """Another process that holds the lock of Rock / DAPI until it is told to end."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def end(self) -> None:
        self.process.communicate("\n")


@pytest.fixture
def other(tmp_path: Path):
    found = Other(tmp_path / "out")
    yield found
    if found.process.poll() is None:
        found.process.kill()
    found.process.communicate()


def files_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def test_who_holds_it_is_told(other: Other, tmp_path: Path) -> None:
    pid = other.process.pid
    with (
        pytest.raises(LockedError, match=f"Rock / DAPI is being .* process {pid} on "),
        sample_lock(tmp_path / "out", "Rock", "DAPI"),
    ):
        pass
    holder = lock_holder(tmp_path / "out", "Rock", "DAPI")
    assert holder is not None
    assert holder.pid == pid
    assert issubclass(LockedError, OutputError)


def test_another_dye_or_folder_is_free(other: Other, tmp_path: Path) -> None:
    with (
        sample_lock(tmp_path / "out", "Rock", "Cy5"),
        sample_lock(tmp_path / "elsewhere", "Rock", "DAPI"),
    ):
        assert lock_holder(tmp_path / "out", "Rock", "Cy5") is not None
        assert other.process.poll() is None


def test_the_second_one_waits_for_the_first(other: Other, tmp_path: Path) -> None:
    said: list[str] = []

    def report(_fraction: float, text: str) -> None:
        said.append(text)
        other.end()

    monitor = Monitor(report)
    with sample_lock(tmp_path / "out", "Rock", "DAPI", wait=60, monitor=monitor):
        assert str(other.process.pid) in said[0]
        assert lock_holder(tmp_path / "out", "Rock", "DAPI").pid == os.getpid()


def test_waiting_can_be_stopped(other: Other, tmp_path: Path) -> None:
    monitor = Monitor(should_stop=lambda: True)
    with (
        pytest.raises(CancelledError),
        sample_lock(tmp_path / "out", "Rock", "DAPI", wait=60, monitor=monitor),
    ):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(
    other: Other, tmp_path: Path
) -> None:
    other.process.send_signal(signal.SIGKILL)
    other.process.wait()
    assert files_in(tmp_path / "out")
    assert lock_holder(tmp_path / "out", "Rock", "DAPI") is None
    with sample_lock(tmp_path / "out", "Rock", "DAPI"):
        holder = lock_holder(tmp_path / "out", "Rock", "DAPI")
        assert holder is not None
        assert holder.pid == os.getpid()
    assert not files_in(tmp_path / "out")


def test_two_threads_exclude_each_other(tmp_path: Path) -> None:
    with (
        sample_lock(tmp_path, "Rock", "DAPI"),
        pytest.raises(LockedError, match="this program"),
        sample_lock(tmp_path, "Rock", "DAPI"),
    ):
        pass


def test_nothing_is_left_behind_even_after_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    during: list[Path] = []

    def fail() -> None:
        with sample_lock(folder, "Rock", "DAPI"):
            during.extend(files_in(folder))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert during
    assert not (tmp_path / "a").exists()
    folder.mkdir(parents=True)
    with sample_lock(folder, "Rock", "DAPI"):
        pass
    assert folder.is_dir()
    assert not files_in(folder)


def test_names_of_any_length_and_letters(tmp_path: Path) -> None:
    with sample_lock(tmp_path, "ø" * 100, "Ω" * 120):
        assert lock_holder(tmp_path, "ø" * 100, "Ω" * 120) is not None


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="choose another"),
        sample_lock(tmp_path / "file" / "out", "Rock", "DAPI"),
    ):
        pass


def test_a_folder_that_takes_no_lock_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with sample_lock(tmp_path, "Rock", "DAPI") as unguarded:
        assert not files_in(tmp_path)
    assert f"nobody guards Rock / DAPI: {tmp_path} takes no locks" in unguarded
    assert "(Permission denied)" in unguarded


def test_many_threads_are_never_in_at_once(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(10):
            with sample_lock(tmp_path, "Rock", "DAPI", wait=600):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 40
