"""The file of the run log: many writers, a bounded size, read from its end."""

import logging
import os
import subprocess
import sys
import threading

import pytest
from filelock import FileLock
from hypothesis import given, strategies as st

from napari_exo2micro.core.base import (
    OutputError,
    ParameterError,
    list_logs,
    log as log_module,
    log_path,
    read_log_tail,
)
from napari_exo2micro.core.base.log import RunLogFile

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX system")

WRITER = """
import logging, sys, threading
from napari_exo2micro.core.base import log as log_file
folder, name, most = sys.argv[1:]
log_file._MOST_BYTES, log_file._OLD_FILES = int(most), 60

def write(thread):
    log = log_file.RunLogFile(folder, print)
    for number in range(100):
        text = f"{name} {thread} {number} {'x' * 80}"
        log.handle(logging.makeLogRecord({"msg": text}))

threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def write(folder, text, problems=None):
    """Write one record as a run does."""
    file = RunLogFile(folder, [].append if problems is None else problems.append)
    file.handle(logging.makeLogRecord({"msg": text}))


@pytest.mark.parametrize("most", [1_000_000, 5_000], ids=["one file", "rotated"])
def test_many_processes_and_threads_lose_nothing(tmp_path, monkeypatch, most):
    words = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*words, name, str(most)]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    monkeypatch.setattr(log_module, "_OLD_FILES", 60)
    assert (len(list_logs(tmp_path)) > 1) == (most < 1_000_000)
    lines = read_log_tail(tmp_path, 10_000)
    assert len(lines) == 600
    assert {line.split()[-1] for line in lines} == {"x" * 80}
    for name in "abc":
        for thread in "01":
            own = [
                int(n)
                for a, b, n, _ in map(str.split, lines)
                if (a, b) == (name, thread)
            ]
            assert own == list(range(100))


def test_the_log_stays_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "_MOST_BYTES", 1000)
    for number in range(1000):
        write(tmp_path, f"{number:05d} {'x' * 40}")
    logs = list_logs(tmp_path)
    assert [path.name for path in logs] == [
        ".exo2micro_run_log.txt",
        *(f".exo2micro_run_log.{number}.txt" for number in range(1, 5)),
    ]
    assert all(path.stat().st_size <= 1000 for path in logs)
    numbers = [int(line.split()[0]) for line in read_log_tail(tmp_path, 10_000)]
    assert numbers == list(range(numbers[0], 1000))
    assert len(numbers) > 80


LINES = st.lists(
    st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b"")),
    max_size=60,
)


@given(parts=st.lists(LINES, max_size=4), count=st.integers(1, 100))
def test_the_tail_is_that_of_all_parts_together(parts, count, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    names = [
        log_path(folder),
        *(folder / f".exo2micro_run_log.{n}.txt" for n in (1, 2, 3)),
    ]
    for path, part in zip(names, parts, strict=False):
        path.write_bytes(b"".join(line + b"\n" for line in part))
    everything = [line for part in reversed(parts) for line in part]
    wanted = [line.decode("utf-8", "replace") for line in everything[-count:]]
    assert read_log_tail(folder, count) == wanted


def test_only_the_end_of_a_huge_file_is_read(tmp_path):
    path = log_path(tmp_path)
    with path.open("wb") as file:
        file.truncate(20_000_000_000)  # a hole: one line of zeros
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast but one\nl\xe4st")
    assert read_log_tail(tmp_path, 2) == ["last but one", "l\ufffdst"]
    tail = read_log_tail(tmp_path, 500)
    assert tail[1:] == ["last but one", "l\ufffdst"]
    assert len(tail[0]) < 20_000_000


def test_without_a_log_there_is_no_tail(tmp_path):
    assert read_log_tail(tmp_path) == []
    assert read_log_tail(tmp_path / "none") == []
    assert list_logs(tmp_path / "none") == []
    log_path(tmp_path).write_bytes(b"")
    assert read_log_tail(tmp_path) == []


def test_less_than_a_line_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="at least 1, found 0"):
        read_log_tail(tmp_path, 0)


def test_a_log_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    log_path(tmp_path).write_text("a\n")

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(log_module.Path, "open", refuse)
    with pytest.raises(OutputError, match=r"run_log\.txt: Permission denied; .*folder"):
        read_log_tail(tmp_path)


def test_a_lock_that_cannot_be_had_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "_WAIT", 0.05)
    monkeypatch.setattr(log_module, "_MOST_BYTES", 10)
    with FileLock(tmp_path / ".exo2micro_run_log.lock"):
        for _ in range(3):
            write(tmp_path, "not rotated now")
    assert list_logs(tmp_path) == [log_path(tmp_path)]
    assert len(read_log_tail(tmp_path)) == 3
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".exo2micro_run_log.lock").mkdir()
    write(tmp_path / "elsewhere", "a")
    assert read_log_tail(tmp_path / "elsewhere") == ["a"]


@POSIX
@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_plain_file_is_not_written(tmp_path, kind):
    path, target = log_path(tmp_path), tmp_path / "precious.txt"
    target.write_text("mine\n")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    problems = []
    thread = threading.Thread(target=write, args=(tmp_path, "a", problems), daemon=True)
    thread.start()
    thread.join(60)
    assert len(problems) == 1
    assert isinstance(problems[0], OSError)
    assert target.read_text() == "mine\n"
