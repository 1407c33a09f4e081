"""The docks of the stages: state, result, slider, run, abort, error."""

from __future__ import annotations

import gc
import weakref

import pytest
from magicgui.widgets import Container
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QWidget,
)
from superqt import QDoubleSlider

from napari_exo2micro.core.parameters import PARAMETER_REGISTRY
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.plugin.widgets.controls import MessageStrip
from napari_exo2micro.plugin.widgets.rows import NumberBox
from napari_exo2micro.plugin.workbench.form import StageForm
from napari_exo2micro.plugin.workbench.workbench import (
    BoundaryDock,
    DifferenceDock,
    InteriorDock,
    PaddingDock,
    StageDock,
)

LONG = 300_000
DOCKS = {1: PaddingDock, 2: BoundaryDock, 3: InteriorDock, 4: DifferenceDock}


@pytest.fixture
def open_dock(viewer, qtbot):
    """Return a function that opens the dock of a stage and waits for its state."""

    def open_dock(stage: int, session) -> StageDock:
        dock = DOCKS[stage](viewer)
        qtbot.addWidget(dock.native)
        dock.show()
        with qtbot.waitSignal(session.status_changed, timeout=LONG):
            session.refresh_status()
        return dock

    return open_dock


def words(dock, name) -> str:
    return dock.native.findChild(QLabel, name).text()


def button(dock, name) -> QPushButton:
    return dock.native.findChild(QPushButton, name)


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize("stage", DOCKS)
def test_a_dock_shows_source_purpose_parameters_and_run(open_dock, finished, stage):
    dock = open_dock(stage, finished)
    assert dock.native.findChild(QComboBox, "sample").currentText() == "Rock"
    assert dock.native.findChild(QComboBox, "dye").currentText() == "DAPI"
    assert len(words(dock, "purpose")) > 40
    assert button(dock, "run_stage").isEnabled()
    assert not button(dock, "abort").isEnabled()
    assert dock.native.findChild(QScrollArea) is not None
    assert dock.native.minimumSizeHint().width() <= 320
    assert finished.shown_stage == stage
    assert words(dock, "state") == "Valid result."


def test_the_result_is_told_in_words_and_figures(open_dock, finished):
    for stage in (2, 3):
        dock = open_dock(stage, finished)
        assert words(dock, "result").startswith("Expected accuracy: 0.")
        assert words(dock, "result").endswith(" px")
        assert "ccuracy" in dock.native.findChild(QLabel, "result").toolTip()
    dock = open_dock(4, finished)
    estimate = finished.stored_result["scale"]
    assert words(dock, "result").startswith(
        f"Scale: {estimate['value']:.5g} ± {estimate['uncertainty']:.1g} (Moffat fit)"
    )


def test_the_state_follows_what_is_typed(open_dock, finished, qtbot):
    dock = open_dock(2, finished)
    dock["boundary_width"].value = 20
    qtbot.waitUntil(
        lambda: "No result with these" in words(dock, "state"), timeout=LONG
    )
    assert not dock.native.findChild(QLabel, "result").isVisible()
    dock.form.parameters.reset("boundary_width")
    qtbot.waitUntil(lambda: words(dock, "state") == "Valid result.", timeout=LONG)
    assert dock.native.findChild(QLabel, "result").isVisible()


def test_a_damaged_result_and_what_follows_it_are_called_out_of_date(
    open_dock, finished
):
    task = finished.task()
    task._tiff_path(1, "post").write_bytes(b"no longer a TIFF")
    task._fits_path(1, "post").unlink()
    for stage in (1, 2):
        dock = open_dock(stage, finished)
        assert words(dock, "state").startswith("Out of date: ")
        assert words(dock, "state").endswith("Run this stage again.")


@pytest.mark.parametrize(
    ("stage", "limit", "state", "start"),
    [
        (
            2,
            {"max_translation": 0.0, "orientation_search": False},
            "fell_back",
            "A lesser result stands in: ",
        ),
        (3, {"interior_max_correction": 0.001}, "failed", "No trustworthy result: "),
    ],
)
def test_a_stage_that_could_not_do_its_work_says_so_with_its_reason(
    open_dock, finished, qtbot, stage, limit, state, start
):
    finished.set_params(**limit)  # less than there is to do
    dock = open_dock(stage, finished)
    with qtbot.waitSignal(finished.run_ended, timeout=LONG) as ended:
        button(dock, "run_stage").click()
    verdict = ended.args[0]["registration"][stage]
    assert verdict["state"] == state
    qtbot.waitUntil(lambda: words(dock, "state").startswith(start), timeout=LONG)
    reason = words(dock, "state").removeprefix(start)
    assert reason.split()[:3] == verdict["reason"].split()[:3]
    assert "_" not in reason  # labels, not the names that scripts use
    assert "background" in dock.native.findChild(QLabel, "state").styleSheet()
    assert f"look at the result of stage {stage}" in words(dock, "progress_text")


def test_without_a_sample_the_dock_says_what_to_do(viewer, qtbot):
    dock = PaddingDock(viewer)
    qtbot.addWidget(dock.native)
    dock.show()
    assert words(dock, "state") == "No sample is chosen yet."
    assert not button(dock, "run_stage").isEnabled()
    assert "Choose the raw folder" in button(dock, "run_stage").toolTip()


def test_a_run_from_a_dock_leaves_the_files_of_the_core(
    open_dock, session, qtbot, tmp_path, monkeypatch
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    dock = open_dock(3, session)
    with qtbot.waitSignal(session.run_ended, timeout=LONG):
        button(dock, "run_stage").click()
    qtbot.waitUntil(button(dock, "run_stage").isEnabled, timeout=LONG)
    alone = SampleDye(
        "Rock", "DAPI", output_dir=tmp_path / "core", raw_dir=session.raw_dir
    )
    alone.set_params(**session.params)
    alone.run(3, 3)
    made, wanted = files(session.output_dir), files(tmp_path / "core")
    assert set(made) == set(wanted)
    assert [path for path in wanted if made[path] != wanted[path]] == []
    assert dock.native.findChild(MessageStrip).text == ""
    qtbot.waitUntil(lambda: words(dock, "state") == "Valid result.", timeout=LONG)


def test_abort_in_a_dock_leaves_valid_checkpoints_and_an_enabled_button(
    open_dock, session, qtbot
):
    dock = open_dock(4, session)
    bar = dock.native.findChild(QProgressBar, "progress")
    stop = button(dock, "abort")
    bar.valueChanged.connect(lambda value: stop.click() if value > 100 else None)
    button(dock, "run_stage").click()
    qtbot.waitUntil(button(dock, "run_stage").isEnabled, timeout=LONG)
    assert "Stopped" in words(dock, "progress_text")
    assert dock.native.findChild(MessageStrip).text == ""
    assert {line.state for line in session.task().status()} <= {"valid", "missing"}


def test_an_error_appears_once_in_the_dock_and_goes_with_the_next_run(
    open_dock, session, qtbot, tmp_path
):
    good = session.raw_dir
    dock, other = open_dock(1, session), open_dock(2, session)
    session.set_source(raw_dir=tmp_path / "nothing")
    button(dock, "run_stage").click()
    strip = dock.native.findChild(MessageStrip)
    qtbot.waitUntil(lambda: bool(strip.text), timeout=LONG)
    assert strip.level == "error"
    assert "nothing" in strip.text
    assert other.native.findChild(MessageStrip).text == ""
    qtbot.waitUntil(button(dock, "run_stage").isEnabled, timeout=LONG)
    session.set_source(raw_dir=good)
    with qtbot.waitSignal(session.run_ended, timeout=LONG):
        button(dock, "run_stage").click()
    assert strip.text == ""


def test_what_is_refused_keeps_a_run_from_starting(open_dock, session, qtbot):
    dock = open_dock(2, session)
    dock["boundary_width"].value = 300
    button(dock, "run_stage").click()
    assert "ring thickness: 300 is not used" in dock.native.findChild(MessageStrip).text
    assert not session.jobs.is_busy


def test_the_slider_for_the_scale_by_hand(open_dock, finished, qtbot):
    dock = open_dock(4, finished)
    measured = finished.stored_result["scale_estimate"]
    slider = dock.native.findChild(QDoubleSlider, "slider_manual_scale")
    tick = dock.native.findChild(QCheckBox, "use_manual_scale")
    number = dock.native.findChild(NumberBox, "manual_scale")
    assert slider.minimum() < measured < slider.maximum()
    assert f"{measured:.5g}" in words(dock, "slider_range_manual_scale")
    assert not slider.isEnabled()
    assert finished.params["manual_scale"] is None
    tick.click()
    assert slider.isEnabled()
    assert finished.params["manual_scale"] == round(measured, 3)
    slider.setValue(measured * 1.1)
    assert finished.params["manual_scale"] == round(measured * 1.1, 3)
    assert number.value() == finished.params["manual_scale"]
    number.setValue(7.0)  # beyond the slider's end, and yet what counts
    assert finished.params["manual_scale"] == 7.0
    assert slider.value() == slider.maximum()
    # The range stays while no result belongs to these settings.
    qtbot.waitUntil(lambda: "No result" in words(dock, "state"), timeout=LONG)
    assert slider.minimum() < measured < slider.maximum()
    finished.set_params(manual_scale=1.1)  # as the heat map proposes it
    assert slider.value() == pytest.approx(1.1)
    tick.click()
    assert finished.params["manual_scale"] is None
    assert not slider.isEnabled()


def test_the_live_preview_stands_above_the_parameters(session, qtbot):
    form = StageForm(session, 2)
    qtbot.addWidget(form)
    form.resize(400, 900)
    form.show()
    row = form.findChild(QWidget, "preview_row_2")
    assert row.isVisible()
    assert row.geometry().bottom() <= form.parameters.geometry().top()


def test_a_script_sets_and_reads_the_parameters_of_a_dock(open_dock, session):
    """A dock is a magicgui container; each of its values tells its changes."""
    dock, told = open_dock(2, session), []
    assert isinstance(dock, Container)
    dock["boundary_width"].changed.connect(told.append)
    dock["boundary_width"].value = 20
    assert session.params["boundary_width"] == 20
    session.set_params(boundary_width=25)
    assert dock["boundary_width"].value == 25
    assert told == [20]
    scales = open_dock(4, session)
    assert scales["manual_scale"].value is None
    scales["manual_scale"].value = 1.5
    assert session.params["manual_scale"] == 1.5
    scales["manual_scale"].value = None
    assert session.params["manual_scale"] is None
    assert scales.asdict() == {
        name: session.params[name]
        for name, entry in PARAMETER_REGISTRY.items()
        if entry.stage == 4
    }


@pytest.mark.parametrize("stage", DOCKS)
def test_a_closed_dock_is_gone_and_follows_nothing(viewer, session, qtbot, stage):
    dock = DOCKS[stage](viewer)
    gone = weakref.ref(dock)
    form = weakref.ref(dock.form.parameters)
    window = QMainWindow()  # the session ends with it
    qtbot.addWidget(window)
    window.setCentralWidget(dock.native)
    window.show()
    window.takeCentralWidget()  # as napari takes a widget out of a closed dock
    del dock
    session.set_params(boundary_width=20)

    def is_gone() -> bool:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
        return gone() is None and form() is None

    qtbot.waitUntil(is_gone, timeout=LONG)


def test_a_message_goes_when_what_it_was_about_is_corrected(open_dock, session, qtbot):
    dock = open_dock(2, session)
    dock["boundary_width"].value = 300
    button(dock, "run_stage").click()
    assert "300 is not used" in dock.native.findChild(MessageStrip).text
    dock["boundary_width"].value = 30
    assert dock.native.findChild(MessageStrip).text == ""
