"""The run log: who did what, with what, how it ended; never in the way of a run."""

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import napari_exo2micro
from napari_exo2micro.core.base import (
    CancelledError,
    DataWarning,
    Monitor,
    ParameterError,
    RawFileNotFoundError,
    log_path,
    read_log_tail,
)
from napari_exo2micro.core.pipeline import SampleDye, run_log

pytestmark = pytest.mark.usefixtures("plain_pictures")

LOGGER = logging.getLogger("napari_exo2micro.core.anything")
LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ([0-9a-f]{6}) ([a-z]*) +(.*)")


def rows(folder):
    """Return (letters of the run, kind, text) of each line that is not empty."""
    found = [LINE.fullmatch(line) for line in read_log_tail(folder, 10_000) if line]
    assert all(found)
    return [match.groups()[1:] for match in found]


def texts(folder, kind="note"):
    return [text for _, one, text in rows(folder) if one == kind]


def ending(folder):
    (text,) = texts(folder, "end")
    return re.fullmatch(r"after \d+\.\d s: (.*)", text)[1]


# One block -------------------------------------------------------------------


def test_a_run_is_told_from_begin_to_end(tmp_path):
    with run_log(tmp_path, title="a batch", details={"tasks": 3}) as log:
        LOGGER.debug("too fine")
        LOGGER.info("%d of %d", 1, 3)
        LOGGER.warning("dim")
        LOGGER.error("broken")
        log.conclude("complete", ["look at it", "dim"])
    LOGGER.info("afterwards")
    kinds = [(kind, text) for _, kind, text in rows(tmp_path) if kind]
    assert kinds[0] == ("begin", "a batch")
    assert kinds[1:-1] == [
        ("note", "1 of 3"),
        ("warning", "dim"),
        ("error", "broken"),
        ("warning", "look at it"),
    ]
    assert ending(tmp_path) == "complete"
    assert len({tag for tag, _, _ in rows(tmp_path)}) == 1
    header = "\n".join(texts(tmp_path, ""))
    for words in ("tasks        3", "computer", f"process {os.getpid()}"):
        assert words in header
    assert f"napari-exo2micro {napari_exo2micro.__version__}" in header
    assert f"numpy {np.__version__}" in header


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CancelledError("stop"), "stopped on request"),
        (KeyboardInterrupt(), "interrupted"),
        (ParameterError("pad is wrong"), "error: ParameterError: pad is wrong"),
        (ZeroDivisionError("mine"), "error: ZeroDivisionError: mine"),
    ],
)
def test_a_run_that_ends_early_is_told_with_its_reason(tmp_path, error, status):
    with pytest.raises(type(error)), run_log(tmp_path, title="a"):
        raise error
    assert ending(tmp_path) == status
    with_traceback = isinstance(error, ZeroDivisionError)
    assert (
        any("test_runlog.py" in text for text in texts(tmp_path, "")) == with_traceback
    )


def test_warnings_are_recorded_once_and_shown_as_ever(tmp_path, recwarn):
    warnings.simplefilter("always")
    with run_log(tmp_path, title="a") as log:
        warnings.warn("dim", DataWarning, stacklevel=1)
        warnings.warn("old", UserWarning, stacklevel=1)
        log.conclude("complete", ["dim"])
    assert texts(tmp_path, "warning") == ["dim", "UserWarning: old"]
    assert [str(one.message) for one in recwarn] == ["dim", "old"]


def test_a_record_cannot_pass_for_another(tmp_path):
    with run_log(tmp_path, title="a"):
        LOGGER.info(
            "one\r\n2026-01-01 00:00:00 abcdef end     complete\x1b[2J\u2028x\ud800"
        )
        LOGGER.info("x" * 1_000_000)
    assert texts(tmp_path) == ["one", "x" * 50_000 + " ..."]
    faked = next(text for text in texts(tmp_path, "") if "abcdef" in text)
    assert faked == "2026-01-01 00:00:00 abcdef end     complete\\x1b[2J\\u2028x\\ud800"
    assert {tag for tag, _, _ in rows(tmp_path)} != {"abcdef"}


def test_a_traceback_that_was_logged_is_kept(tmp_path):
    with run_log(tmp_path, title="a"):
        try:
            raise ZeroDivisionError("mine")
        except ZeroDivisionError:
            LOGGER.exception("a plot failed")
    assert texts(tmp_path, "error") == ["a plot failed"]
    assert texts(tmp_path, "")[-1] == "ZeroDivisionError: mine"


# Several at once -------------------------------------------------------------


def test_threads_with_one_folder_log_each_their_own(tmp_path):
    names = [f"run {number}" for number in range(4)]
    ready = threading.Barrier(len(names))

    def work(name):
        ready.wait(60)
        with run_log(tmp_path, title=name) as log:
            for number in range(30):
                LOGGER.info("%s, step %d", name, number)
                if number % 10 == 0:
                    ready.wait(60)
            log.conclude(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    LOGGER.info("of nobody")
    for thread in threads:
        thread.join()
    found = {text: tag for tag, kind, text in rows(tmp_path) if kind == "begin"}
    assert sorted(found) == names
    for name, tag in found.items():
        own = [
            text for one, kind, text in rows(tmp_path) if (one, kind) == (tag, "note")
        ]
        assert own == [f"{name}, step {number}" for number in range(30)]
        (end,) = (
            text for one, kind, text in rows(tmp_path) if (one, kind) == (tag, "end")
        )
        assert end.endswith(name)


def test_warnings_go_to_the_thread_that_issues_them(tmp_path, recwarn):
    warnings.simplefilter("always")
    inside, warned = threading.Event(), threading.Event()

    def other():
        with run_log(tmp_path / "other", title="other"):
            inside.set()
            assert warned.wait(60)

    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
    thread = threading.Thread(target=other)
    with run_log(tmp_path / "mine", title="mine"):
        thread.start()
        assert inside.wait(60)
        warnings.warn("dim", DataWarning, stacklevel=1)
        warned.set()
        thread.join()
    assert texts(tmp_path / "mine", "warning") == ["dim"]
    assert texts(tmp_path / "other", "warning") == []


def test_a_run_within_a_batch_is_not_told_twice(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with run_log(tmp_path, title="batch"):
        LOGGER.info("before")
        with run_log(tmp_path, title="one"):
            LOGGER.info("inside")
        with run_log(tmp_path / "elsewhere", title="two"):
            LOGGER.info("in both folders")
        LOGGER.info("after")
    assert texts(tmp_path) == ["before", "inside", "in both folders", "after"]
    assert texts(tmp_path / "elsewhere") == ["in both folders"]
    assert [kind for _, kind, _ in rows(tmp_path) if kind in ("begin", "end")] == [
        "begin",
        "begin",
        "end",
        "end",
    ]


# A log that cannot be written ------------------------------------------------


def test_a_log_that_cannot_be_written_is_told_once(tmp_path, caplog):
    log_path(tmp_path).mkdir()
    for _ in range(2):
        with run_log(tmp_path, title="a") as log:
            LOGGER.info("goes on")
            log.conclude("complete")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(log_path(tmp_path)) in record.getMessage()


def test_a_full_disk_ends_no_run(tmp_path, monkeypatch, caplog):
    def full(handler):
        raise OSError(28, "No space left on device")

    with run_log(tmp_path, title="a"):
        monkeypatch.setattr(logging.FileHandler, "_open", full)
        LOGGER.info("lost")
        monkeypatch.undo()
        LOGGER.info("kept")
    assert texts(tmp_path) == ["kept"]
    assert "No space left" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="keeps its working folder")
def test_a_header_that_cannot_be_known_ends_no_run(tmp_path):
    program = (
        "import os, sys\n"
        "from napari_exo2micro.core import SampleDye\n"
        "from napari_exo2micro.core.pipeline import run_log\n"
        "os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
        "task = SampleDye('Rock', 'DAPI', 'out', 'raw')\n"
        "with run_log(sys.argv[2], title='a', task=task) as log:\n"
        "    log.conclude('complete')\n"
    )
    for name in ("gone", "out"):
        (tmp_path / name).mkdir()
    words = [sys.executable, "-c", program, tmp_path / "gone", tmp_path / "out"]
    subprocess.run(words, check=True, cwd="/")
    assert ending(tmp_path / "out") == "complete"


def test_where_nothing_was_made_nothing_is_left(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), run_log(folder, title="a"):
        raise ZeroDivisionError
    assert not folder.exists()
    with run_log(folder, title="b"):
        LOGGER.info("early")
        folder.mkdir()
        LOGGER.info("late")
    assert [kind for _, kind, _ in rows(folder) if kind] == [
        "begin",
        "note",
        "note",
        "end",
    ]


# Runs of a sample and dye ----------------------------------------------------


@pytest.fixture
def task(shared_raw_dir, tmp_path):
    made = SampleDye("Rock", "DAPI", tmp_path / "out", shared_raw_dir, "tiff")
    made.set_params(pad=60)
    return made


def test_every_run_leaves_its_story(task):
    result = task.run()
    said = texts(task.output_dir)
    assert said[0] == "stage 1, padding: begins"
    for words in (
        r"post-stain image: .*Rock_PostStain_DAPI.tif, 540 x 480 px, uint8",
        r"written: 01_padded_post_pad60.tiff",
        r"stage 1, padding: ended after \d+\.\d s: ok",
        r"stage 2, boundary alignment: ended after \d+\.\d s: ok; accuracy .* px.*",
        r"stage 3, interior alignment: ended after \d+\.\d s: ok; accuracy .* px.*",
        rf"scale, moffat: {result['scale_estimate']:.6g} ± .*; ok",
        r"stage 4, scale and difference: ended after .*",
    ):
        assert any(re.fullmatch(words, text) for text in said), words
    assert ending(task.output_dir) == "complete"
    assert texts(task.output_dir, "begin") == ["Rock DAPI, stages 1 to 5"]
    header = texts(task.output_dir, "")
    assert any("pad=60, others at their defaults" in text for text in header)
    assert not texts(task.output_dir, "error")


def test_what_is_kept_and_what_fails_is_told_too(task):
    task.run(to_stage=1)
    log_path(task.output_dir).unlink()
    task.run(to_stage=1)
    assert "stage 1, padding: valid results exist and are kept" in texts(
        task.output_dir
    )
    log_path(task.output_dir).unlink()
    with pytest.raises(RawFileNotFoundError):
        SampleDye("Rock", "No", task.output_dir, task.raw_dir).run()
    assert ending(task.output_dir).startswith("error: RawFileNotFoundError: ")
    log_path(task.output_dir).unlink()
    with pytest.raises(CancelledError):
        task.run(force=True, monitor=Monitor(should_stop=lambda: True))
    assert ending(task.output_dir) == "stopped on request"


def test_a_pair_that_deserves_care_is_told_with_its_warnings(tmp_path, raw_dir):
    def loader(sample, dye, raw_dir="raw"):
        warnings.warn("the lamp was old", DataWarning, stacklevel=2)
        image = np.full((300, 300), 7, np.uint8)
        return image, image[:250], None, None

    task = SampleDye("Rock", "DAPI", tmp_path / "out", raw_dir, "tiff", loader)
    task.set_params(pad=60)
    with pytest.warns(DataWarning):
        result = task.run(to_stage=1)
    told = texts(task.output_dir, "warning")
    assert told[0] == "the lamp was old"
    assert set(result["warnings"]) <= set(told)
    assert len(told) == len(set(told))


def test_two_runs_at_once_in_one_folder(shared_raw_dir, tmp_path):
    for path in shared_raw_dir.rglob("*_DAPI.tif*"):
        for dye in ("DAPI", "Cy5"):  # one run for each sample and dye at a time
            name = path.name.replace("_DAPI", f"_{dye}")
            (tmp_path / "raw" / "Rock").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "raw" / "Rock" / name)
    tasks = []
    for dye, pad in (("DAPI", 60), ("Cy5", 70)):
        one = SampleDye("Rock", dye, tmp_path / "out", tmp_path / "raw", "tiff")
        one.set_params(pad=pad)
        tasks.append(one)
    threads = [
        threading.Thread(target=one.run, kwargs={"to_stage": 2}) for one in tasks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rows(tmp_path / "out")
    for tag in {tag for tag, _, _ in found}:
        own = [text for one, _, text in found if one == tag]
        pads = {pad for pad in ("60", "70") if any(f"pad{pad}" in text for text in own)}
        assert len(pads) == 1
        assert sum("begins" in text for text in own) == 2
        (pad,) = pads
        assert any(f"pad={pad}," in text for text in own)
