"""The file of the run log: many writers, a bounded size, read from its end."""

import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_exo2micro.core.base import (
    OutputError,
    ParameterError,
    list_logs,
    log,
    log_path,
    read_log_tail,
)
from napari_exo2micro.core.base import log as log_module
from napari_exo2micro.core.base.log import LogFile

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX system")

WRITER = """
import sys, threading
from napari_exo2micro.core.base import log as log_file
folder, name, most = sys.argv[1:]
log_file._MOST_BYTES, log_file._OLD_FILES = int(most), 60

def write(thread):
    log = log_file.LogFile(folder)
    for number in range(100):
        log.append(f"{name} {thread} {number} {'x' * 80}\\n".encode())

threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


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
    log = LogFile(tmp_path)
    for number in range(1000):
        log.append(b"%05d %s\n" % (number, b"x" * 40))
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "_BLOCK", 16)
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


def test_a_file_that_is_moved_while_it_is_read_comes_once(tmp_path):
    path = log_path(tmp_path)
    path.write_text("a\nb\n")
    os.link(path, tmp_path / ".exo2micro_run_log.1.txt")
    assert read_log_tail(tmp_path, 10) == ["a", "b"]


def test_half_a_line_of_a_killed_process_stays_alone(tmp_path):
    log_path(tmp_path).write_bytes(b"whole\nhal")
    LogFile(tmp_path).append(b"next\n")
    assert read_log_tail(tmp_path) == ["whole", "hal", "next"]


def test_a_lock_that_cannot_be_had_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "_WAIT", 0.05)
    monkeypatch.setattr(log_module, "_MOST_BYTES", 10)
    holder, other = LogFile(tmp_path), LogFile(tmp_path)
    with holder._locked() as locked:
        assert locked
        for _ in range(3):
            other.append(b"not rotated now\n")
    assert list_logs(tmp_path) == [log_path(tmp_path)]
    assert len(read_log_tail(tmp_path)) == 3
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".exo2micro_run_log.lock").mkdir()
    LogFile(tmp_path / "elsewhere").append(b"a\n")
    assert read_log_tail(tmp_path / "elsewhere") == ["a"]


def test_a_killed_process_leaves_no_lock(tmp_path):
    program = (
        "import sys, os\n"
        "from napari_exo2micro.core.base.log import LogFile\n"
        "with LogFile(sys.argv[1])._locked() as locked:\n"
        "    os._exit(0 if locked else 1)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(words, check=False).returncode == 0
    with LogFile(tmp_path)._locked() as locked:
        assert locked


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
    written = []
    log = LogFile(tmp_path)
    thread = threading.Thread(target=lambda: written.append(_refused(log)), daemon=True)
    thread.start()
    thread.join(60)
    assert written == [True]
    assert target.read_text() == "mine\n"


def _refused(log):
    try:
        log.append(b"a\n")
    except OSError:
        return True
    return False
