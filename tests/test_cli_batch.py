"""`exo2micro batch`: options, tables, JSON, exit codes, Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from rich.console import Console
from typer.testing import CliRunner

from napari_exo2micro.cli.app import app
from napari_exo2micro.cli.board import TaskBoard
from napari_exo2micro.core.batch import TaskEvent, TaskState
from napari_exo2micro.core.parameters import State
from napari_exo2micro.core.pipeline import RunResult
from napari_exo2micro.core.raw import RawFingerprint


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def call(*words: object) -> Ended:
    runner = CliRunner(env={"COLUMNS": "160"})
    result = runner.invoke(app, ["batch", *(str(word) for word in words)])
    return Ended(result.exit_code, result.stdout, result.stderr)


def write_files(raw: Path, sample: str, dye: str, *sides: str) -> None:
    folder = raw / sample
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(1, 200, (40, 48), np.uint8)
    for side in sides or ("PreStain", "PostStain"):
        tifffile.imwrite(folder / f"{sample}_{side}_{dye}.tif", pixels)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for sample in ("CD070", "CD071"):
        for dye in ("DAPI", "SybrGld"):
            write_files(tmp_path / "raw", sample, dye)
    return tmp_path / "raw"


QUICK = ("--to-stage", "padded", "--pad", "8", "--checkpoint-format", "tiff")
HERE = (*QUICK, "--executor", "serial")


def test_all_that_is_found_runs_and_a_table_ends_it(raw: Path, tmp_path: Path) -> None:
    ended = call(raw, tmp_path / "out", *HERE)
    assert ended.code == 0, ended.err
    assert ended.out.count("done") == 5
    assert ended.out.rstrip().endswith("4 tasks: 4 done")
    assert "problems" not in ended.out
    assert ended.err.count("complete") == 4  # a line as each one ends
    made = {path.parent.parent.name for path in (tmp_path / "out").rglob("*.tiff")}
    assert made == {"DAPI", "SybrGld"}


def test_samples_and_dyes_by_name(raw: Path, tmp_path: Path) -> None:
    ended = call(raw, tmp_path / "out", "-s", "CD071", "--dye", "DAPI", *HERE, "--json")
    assert ended.code == 0
    (result,) = ended.json["results"]
    assert (result["sample"], result["dye"]) == ("CD071", "DAPI")
    assert result["status"] == "complete"
    assert ended.json["summary"]["counts"]["done"] == 1


def test_missing_pairs_are_listed_and_nothing_runs(raw: Path, tmp_path: Path) -> None:
    words = ("-s", "CD070", "-s", "CD099", "-d", "DAPI", "-d", "Cy5")
    ended = call(raw, tmp_path / "out", *words, *HERE)
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines[:3]] == [
        "CD070 / Cy5",
        "CD099 / DAPI",
        "CD099 / Cy5",
    ]
    assert lines[3].startswith("error: 3 of 4 pairs cannot run")
    assert not (tmp_path / "out").exists()
    as_json = call(raw, tmp_path / "out", *words, *HERE, "--json")
    assert as_json.code == 2
    assert "CD099 / Cy5" in as_json.json["error"]


def test_lenient_runs_the_rest_and_ends_with_1(raw: Path, tmp_path: Path) -> None:
    words = ("-s", "CD070", "-d", "DAPI", "-d", "Cy5", "--lenient")
    ended = call(raw, tmp_path / "out", *words, *HERE)
    assert ended.code == 1
    assert "problems" in ended.out
    assert "CD070 / Cy5: no files: " in ended.out
    assert "2 tasks: 1 done, 1 no files" in ended.out


def test_a_failed_task_stops_no_other_and_ends_with_2(
    raw: Path, tmp_path: Path
) -> None:
    path = raw / "CD070" / "CD070_PreStain_DAPI.tif"
    path.write_bytes(path.read_bytes()[:60])
    ended = call(raw, tmp_path / "out", *HERE)
    assert ended.code == 2
    assert f"CD070 / DAPI: failed: {path}" in ended.out
    assert "4 tasks: 3 done, 1 failed" in ended.out


def test_a_dry_run_says_what_would_run_and_what_it_needs(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = call(raw, tmp_path / "out", "--dry-run", "--workers", "2")
    assert ended.code == 0
    assert ended.out.count("1, 2, 3, 4") == 4
    assert "needs    memory" in ended.out
    assert "2 at once" in ended.out
    assert not (tmp_path / "out").exists()
    call(raw, tmp_path / "out", "-d", "DAPI", *HERE)
    again = call(raw, tmp_path / "out", *HERE, "--dry-run", "--json")
    assert [task["stages"] for task in again.json["tasks"]] == [[], [1], [], [1]]
    assert again.json["needs"]["level"] == "enough"
    assert again.json["needs"]["disk_needed"] > 0
    forced = call(raw, tmp_path / "out", *HERE, "--dry-run", "--json", "--force")
    assert [task["stages"] for task in forced.json["tasks"]] == [[1]] * 4
    read: list[Path] = []
    of = RawFingerprint.of
    spy = staticmethod(lambda path: read.append(path) or of(path))
    monkeypatch.setattr(RawFingerprint, "of", spy)
    verified = call(raw, tmp_path / "out", *HERE, "--dry-run", "--json", "--verify")
    assert [task["stages"] for task in verified.json["tasks"]] == [[], [1], [], [1]]
    assert len(set(read)) == 4


def test_parameters_come_from_a_preset_and_from_options(
    raw: Path, tmp_path: Path
) -> None:
    from napari_exo2micro.core.parameters import save_preset

    save_preset(tmp_path / "mine.json", {"pad": 12})
    words = ("-s", "CD070", "-d", "DAPI", "--preset", tmp_path / "mine.json")
    more = ("--to-stage", "1", "--executor", "serial", "--checkpoint-format", "tiff")
    assert call(raw, tmp_path / "out", *words, *more).code == 0
    assert call(raw, tmp_path / "out", *words, *more, "--pad", "9").code == 0
    names = {path.stem for path in (tmp_path / "out").rglob("01_padded_post*")}
    assert names == {"01_padded_post_pad12", "01_padded_post_pad9"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--executor", "threads"), "threads"),
        (("--workers", "0"), "workers"),
        (("--timeout", "-1"), "timeout"),
        (("--to-stage", "9"), "there is no stage '9'"),
        (("--register-on", "../x"), "dye"),
    ],
)
def test_wrong_options_end_with_2_and_one_line(
    raw: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    for more in ((), ("--dry-run",)):
        ended = call(raw, tmp_path / "out", *words, *more)
        assert ended.code == 2
        assert said in ended.err
        assert len(ended.err.splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_an_unknown_executor_is_told_before_the_raw_folder_is_read(
    tmp_path: Path,
) -> None:
    ended = call(tmp_path / "nowhere", tmp_path / "out", "--executor", "threads")
    assert ended.code == 2
    assert "an executor is one of serial, workers, dask" in ended.err


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT for one process")
def test_ctrl_c_ends_it_and_keeps_what_is_finished(raw: Path, tmp_path: Path) -> None:
    for number in range(40):
        write_files(raw, f"More{number}", "DAPI")
    command = [sys.executable, "-m", "napari_exo2micro", "batch", raw, tmp_path / "out"]
    process = subprocess.Popen(
        [*map(str, command), *QUICK, "--workers", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "complete" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    found = json.loads(out)
    counts = found["summary"]["counts"]
    assert counts["done"] >= 1
    assert counts["stopped"] >= 1
    assert counts["done"] + counts["stopped"] == 44
    assert not list((tmp_path / "out").rglob("*.part"))
    assert "Traceback" not in err


_SLOW_TO_LOAD = """
import pathlib, sys, time
if any("popen_loky" in word for word in sys.orig_argv):
    pathlib.Path({file!r}).touch()
    time.sleep(3)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT for a group of processes")
def test_ctrl_c_while_workers_load_their_libraries_is_no_mess(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal's Ctrl-C goes to all processes, also to those that just begin."""
    loading = tmp_path / "loading"
    (tmp_path / "site").mkdir()
    text = _SLOW_TO_LOAD.format(file=str(loading))
    (tmp_path / "site" / "sitecustomize.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    command = [sys.executable, "-m", "napari_exo2micro", "batch", raw, tmp_path / "out"]
    process = subprocess.Popen(
        [*map(str, command), *QUICK, "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not loading.exists():
        assert process.poll() is None, process.stderr
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    # A quick task may end before the word to stop reaches it.
    assert re.search(r"4 tasks: (1 done, )?[34] stopped", out)
    assert "Traceback" not in err
    assert "KeyboardInterrupt" not in err


def test_the_live_table_says_what_it_does_before_there_is_a_task() -> None:
    out = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with out.capture() as seen:
        out.print(TaskBoard())
    assert seen.get().splitlines()[-1] == "looking at memory and disk; 0:00"


def test_the_live_table_fits_its_window_and_shows_what_matters() -> None:
    board = TaskBoard()

    def tell(number: int, state: TaskState, **more: Any) -> None:
        board.take(TaskEvent(number, f"S{number:02d}", "DAPI", state, **more))

    for number in range(30):
        tell(number, TaskState.QUEUED)
    for number in range(20):
        done = RunResult(f"S{number:02d}", "DAPI", State.DONE)
        board.take(TaskEvent.ended(number, done))
    broken = RunResult("S03", "DAPI", State.FAILED, "the disk is full")
    board.take(TaskEvent.ended(3, broken))
    tell(25, TaskState.RUNNING, stage=3, fraction=0.5, text="matching")
    file = io.StringIO()
    out = Console(
        file=file, width=100, height=12, force_terminal=True, color_system=None
    )
    out.print(board, height=12)
    text = file.getvalue()
    assert len(text.splitlines()) <= 14
    assert "S25" in text
    assert "50%" in text
    assert "3 interior alignment, matching" in text
    assert "the disk is full" in text
    assert "9 queued, 1 running, 19 done, 1 failed" in text
    assert "more rows do not fit" in text


def test_a_long_name_leaves_room_for_the_rest_of_the_live_table() -> None:
    board = TaskBoard()
    running = TaskState.RUNNING
    long = TaskEvent(0, "S" * 200, "D" * 200, running, stage=2, fraction=0.5)
    board.take(long)
    board.take(TaskEvent(1, "CD070", "DAPI", running, stage=3, fraction=0.25))
    out = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with out.capture() as seen:
        out.print(board)
    text = seen.get()
    assert all(len(line) <= 80 for line in text.splitlines())
    for words in ("running", "50%", "25%", "0:00", "SSSSSS…", "DDDD…", "CD070", "DAPI"):
        assert words in text
    assert "2 bound" in text


def test_results_do_not_go_into_the_raw_folder(raw: Path) -> None:
    before = sorted(raw.rglob("*"))
    ended = call(raw, raw / "processed", *HERE)
    assert ended.code == 2
    assert "it lies in the raw folder; choose a folder outside" in ended.err
    assert sorted(raw.rglob("*")) == before
