"""The bar that runs stages: same files as the core, Abort, errors, disabled buttons."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtWidgets import QCheckBox, QLabel, QProgressBar, QPushButton

from napari_exo2micro.core.batch import summarise_batch
from napari_exo2micro.core.parameters import STAGES, State
from napari_exo2micro.core.pipeline import RunResult, SampleDye
from napari_exo2micro.plugin.layers.layers import about
from napari_exo2micro.plugin.workbench.workbench import RunBar

LONG = 300_000


@pytest.fixture
def errors() -> list[str]:
    return []


@pytest.fixture
def bar(session, qtbot, errors) -> RunBar:
    """A bar for stage 2 of a sample that has no results yet."""
    bar = RunBar(session, 2, message=errors.append)
    qtbot.addWidget(bar)
    return bar


def button(widget, name) -> QPushButton:
    return widget.findChild(QPushButton, name)


def words(bar) -> str:
    return bar.findChild(QLabel, "progress_text").text()


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize(
    ("name", "stage", "last"), [("run_stage", 2, 2), ("run_all", None, 4)]
)
def test_a_run_by_button_leaves_the_files_of_the_core(
    name,
    stage,
    last,
    bar,
    session,
    qtbot,
    errors,
    tmp_path,
    shared_results,
    monkeypatch,
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    bar.set_stage(stage)
    with qtbot.waitSignals([bar.started, session.run_ended], timeout=LONG):
        button(bar, name).click()
    qtbot.waitUntil(button(bar, name).isEnabled, timeout=LONG)
    core = shared_results
    if last < 4:
        core = tmp_path / "core"
        alone = SampleDye("Rock", "DAPI", output_dir=core, raw_dir=session.raw_dir)
        alone.set_params(**session.params)
        alone.run(1, last)
    made, wanted = files(session.output_dir), files(core)
    assert set(made) == set(wanted)
    assert [path for path in wanted if made[path] != wanted[path]] == []
    assert errors == []
    assert words(bar).startswith("Done")
    assert bar.findChild(QProgressBar, "progress").value() == 1000


def test_run_to_here_runs_the_stages_up_to_this_one(bar, session, qtbot):
    seen: list[int] = []
    session.results_changed.connect(seen.append)
    with qtbot.waitSignal(session.run_ended, timeout=LONG):
        button(bar, "run_to_here").click()
    assert seen == [1, 2]


def test_force_runs_a_valid_stage_again(finished, qtbot):
    bar = RunBar(finished, 1)
    qtbot.addWidget(bar)
    path = finished.task()._tiff_path(1, "post")
    before = path.stat().st_mtime_ns
    for force in (False, True):
        bar.findChild(QCheckBox, "force").setChecked(force)
        with qtbot.waitSignal(finished.run_ended, timeout=LONG):
            button(bar, "run_stage").click()
        qtbot.waitUntil(button(bar, "run_stage").isEnabled, timeout=LONG)
        assert (path.stat().st_mtime_ns != before) is force


def test_abort_leaves_valid_checkpoints_only_and_an_enabled_button(
    bar, session, qtbot, errors
):
    ended: list[object] = []
    session.run_ended.connect(ended.append)

    def stop_after_the_first(number: int) -> None:
        button(bar, "abort").click()

    session.results_changed.connect(stop_after_the_first)
    button(bar, "run_all").click()
    assert not button(bar, "run_all").isEnabled()
    assert button(bar, "abort").isEnabled()
    qtbot.waitUntil(button(bar, "run_all").isEnabled, timeout=LONG)
    assert ended == []
    assert errors == []
    assert "Stopped" in words(bar)
    assert not button(bar, "abort").isEnabled()
    states = {line.state for line in session.task().status()}
    assert states == {"valid", "missing"}
    left = session.output_dir / "Rock" / "DAPI"
    known = {line.path for line in session.task().status() if line.state == "valid"}
    assert {p for p in left.rglob("*.tiff") if not p.name.startswith(".")} <= known
    session.results_changed.disconnect(stop_after_the_first)
    with qtbot.waitSignal(session.run_ended, timeout=LONG):
        button(bar, "run_stage").click()


def test_a_stage_that_ended_before_the_abort_is_shown(bar, session, qtbot, errors):
    """Its files are valid, so its layers appear."""
    ended = threading.Event()
    layers_of = session.describe

    def layers_then_tell(task, number):
        specs = layers_of(task, number)
        ended.set()
        return specs

    session.describe = layers_then_tell
    button(bar, "run_all").click()
    assert ended.wait(LONG / 1000)  # nothing is delivered while this thread waits
    button(bar, "abort").click()
    qtbot.waitUntil(button(bar, "run_all").isEnabled, timeout=LONG)
    shown = [layer for layer in session.viewer.layers if layer.visible]
    assert [about(layer)["role"] for layer in shown] == ["pre", "post"]
    assert errors == []


def test_an_error_is_told_once(bar, session, qtbot, errors, tmp_path):
    session.set_source(raw_dir=tmp_path / "nothing")
    button(bar, "run_stage").click()
    qtbot.waitUntil(button(bar, "run_stage").isEnabled, timeout=LONG)
    assert len(errors) == 1
    assert "nothing" in errors[0]
    assert words(bar).startswith("Not finished")


def test_without_a_sample_the_buttons_say_what_is_needed(session, qtbot):
    session.set_source(sample="", dye="")
    bar = RunBar(session, 1)
    qtbot.addWidget(bar)
    for name in ("run_stage", "run_to_here", "run_all"):
        assert not button(bar, name).isEnabled()
        assert "Choose the raw folder" in button(bar, name).toolTip()
    session.set_source(sample="Rock", dye="DAPI")
    assert button(bar, "run_all").isEnabled()


def test_without_a_stage_only_run_all_can_be_pressed(session, qtbot):
    bar = RunBar(session)
    qtbot.addWidget(bar)
    assert button(bar, "run_all").isEnabled()
    assert not button(bar, "run_stage").isEnabled()
    bar.set_stage(3)
    assert button(bar, "run_stage").isEnabled()
    assert STAGES[3].title in button(bar, "run_stage").toolTip()


def test_every_bar_follows_what_runs_and_can_stop_it(bar, session, qtbot):
    release = threading.Event()

    def work(monitor):
        monitor.report(0.25, "half of the half")
        release.wait(30)
        monitor.check()

    job = session.jobs.start(work, title="comparing", exclusive=True)
    late = RunBar(session, 1)  # opened while something runs
    qtbot.addWidget(late)
    for each in (bar, late):
        assert not button(each, "run_stage").isEnabled()
        assert "comparing" in button(each, "run_stage").toolTip()
    qtbot.waitUntil(lambda: "half of the half" in words(late), timeout=LONG)
    assert late.findChild(QProgressBar, "progress").value() == 250
    button(late, "abort").click()
    assert job.is_cancelled
    assert not button(late, "abort").isEnabled()
    release.set()
    for each in (bar, late):
        qtbot.waitUntil(button(each, "run_stage").isEnabled, timeout=LONG)
        assert "Stopped" in words(each)


@pytest.mark.parametrize("stopped", [False, True])
def test_how_a_run_ended_is_said_of_its_sample_only(stopped, bar, session, qtbot):
    release = threading.Event()

    def work(monitor):
        assert release.wait(30)
        monitor.check()
        return RunResult("Rock", "DAPI", State.DONE)

    bar.show()
    session.jobs.start(work, title="a run", exclusive=True)
    session.set_source(sample="Granite")  # what runs goes on and is told
    assert words(bar) == "a run …"
    assert bar.findChild(QProgressBar, "progress").isVisible()
    if stopped:
        button(bar, "abort").click()
    release.set()
    qtbot.waitUntil(button(bar, "run_all").isEnabled, timeout=LONG)
    assert words(bar) == ("Stopped. What was finished is kept." if stopped else "Done.")
    session.set_source(sample="Basalt")
    assert words(bar) == ""
    assert not bar.findChild(QProgressBar, "progress").isVisible()


def test_a_batch_ends_in_the_words_of_its_table(bar, session, qtbot):
    states = (
        State.DONE,
        State.DEGRADED,
        State.FAILED,
        State.NO_FILES,
        State.STOPPED,
    )
    results = [RunResult("A", str(n), state) for n, state in enumerate(states)]

    def work(monitor):
        return summarise_batch(results)

    session.jobs.start(work, title="a batch", exclusive=True)
    qtbot.waitUntil(button(bar, "run_all").isEnabled, timeout=LONG)
    assert words(bar) == (
        "The batch has ended, 5 pairs: 1 done, 1 degraded, 1 no files, 1 stopped, "
        "1 failed."
    )
