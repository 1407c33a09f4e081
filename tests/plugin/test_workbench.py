"""The workbench: tabs, run, results, bad input, all without a window."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QLabel,
    QPushButton,
    QScrollArea,
    QTreeWidget,
    QWidget,
)

from napari_exo2micro.core.parameters import (
    STAGES,
    Stage,
    State,
    Verdict,
    register_stage,
    unregister_stage,
)
from napari_exo2micro.core.pipeline import RunResult
from napari_exo2micro.core.store import StoredScale
from napari_exo2micro.plugin.layers.layers import about, find_layers
from napari_exo2micro.plugin.session import session
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip
from napari_exo2micro.plugin.workbench import picture
from napari_exo2micro.plugin.workbench.status import summary_words
from napari_exo2micro.plugin.workbench.workbench import Workbench

LONG = 300_000


@pytest.fixture
def open_workbench(viewer, qtbot):
    """Open the workbench of the viewer's session; it ends before the viewer."""

    def make() -> Workbench:
        bench = Workbench(viewer)
        qtbot.addWidget(bench)
        bench.resize(400, 800)
        bench.show()
        return bench

    return make


def button(bench, name) -> QPushButton:
    return bench.findChild(QPushButton, name)


def said(bench) -> str:
    return bench.findChild(MessageStrip).text


def summary(bench) -> str:
    return bench.findChild(QLabel, "summary").text()


def tooltips(bench) -> list[str]:
    return [bench.tabs.tabToolTip(index) for index in range(bench.tabs.count())]


def test_at_first_there_is_one_thing_to_do(open_workbench):
    bench = open_workbench()
    assert bench.findChild(QLabel, "start_hint").isVisible()
    assert button(bench, "try_simulated").isVisible()
    assert not button(bench, "run_all").isEnabled()
    assert not bench.status.isVisible()


def test_two_clicks_lead_from_there_to_a_difference(
    open_workbench, viewer, qtbot, monkeypatch
):
    """Two more open the workbench from the menu: four, five are allowed."""
    from napari_exo2micro.plugin.files import sample_data

    monkeypatch.setattr(sample_data, "SHAPE", (500, 560))
    bench = open_workbench()
    button(bench, "try_simulated").click()
    qtbot.waitUntil(lambda: button(bench, "run_all").isEnabled(), timeout=LONG)
    button(bench, "run_all").click()
    qtbot.waitUntil(lambda: bool(find_layers(viewer, "difference")), timeout=LONG)
    (difference,) = find_layers(viewer, "difference")
    assert difference.visible
    assert not any(layer.visible for layer in find_layers(viewer, "post"))
    # What is true lies above what was found.
    assert about(viewer.layers[-1])["role"] == "truth"
    qtbot.waitUntil(button(bench, "run_all").isEnabled, timeout=LONG)


def test_a_tab_for_each_stage_and_the_run_bar_acts_on_the_one_in_front(
    open_workbench, session
):
    bench = open_workbench()
    assert list(bench.forms) == [1, 2, 3, 4, 5]
    bench.tabs.setCurrentIndex(2)
    assert (session.shown_stage, bench.run_bar.stage) == (3, 3)
    assert "stage 3" in button(bench, "run_stage").toolTip()
    session.show_stage(2)  # another dock
    assert bench.tabs.currentIndex() == 1
    assert bench.run_bar.stage == 2


def test_a_stage_of_somebody_else_has_a_tab(open_workbench, session):
    register_stage(Stage(6, "06_counts", "counts", "_run_stage_6", ("counts",)))
    try:
        bench = open_workbench()
        bench.tabs.setCurrentIndex(5)
        assert bench.tabs.tabText(5).endswith("Counts")
        assert bench.run_bar.stage == 6
    finally:
        session.close()  # what is on its way would ask for the stage
        unregister_stage(6)


def test_the_names_of_the_tabs_fit_the_width(open_workbench, session):
    bench = open_workbench()
    bench.resize(700, 700)
    QApplication.processEvents()
    names = [bench.tabs.tabText(index) for index in range(5)]
    assert names == [
        *("1 Padding", "2 Boundary", "3 Interior", "4 Scale", "5 Microbes"),
    ]
    bench.resize(bench.minimumWidth(), 700)
    QApplication.processEvents()
    bar = bench.tabs.tabBar()
    assert sum(bar.tabRect(index).width() for index in range(5)) <= bench.width()
    assert [bench.tabs.tabText(index) for index in range(3)] == ["1 Padding", "2", "3"]
    bench.tabs.setCurrentIndex(1)
    assert [bench.tabs.tabText(index) for index in range(2)] == ["1", "2 Boundary"]


def test_each_tab_tells_the_state_of_its_stage(open_workbench, finished, qtbot):
    bench = open_workbench()
    qtbot.waitUntil(lambda: "valid" in tooltips(bench)[3], timeout=LONG)
    assert tooltips(bench)[0] == "Stage 1, padding – valid"
    finished.set_params(interior_blur_base=7.0)
    qtbot.waitUntil(lambda: "missing" in tooltips(bench)[2], timeout=LONG)
    assert "valid" in tooltips(bench)[1]


def test_a_run_says_what_it_came_to(open_workbench, finished, qtbot):
    finished.set_params(manual_scale=1.5)
    bench = open_workbench()
    qtbot.waitUntil(lambda: summary(bench).startswith("Stages 1 to 3"), timeout=LONG)
    button(bench, "run_all").click()
    qtbot.waitUntil(lambda: summary(bench).startswith("Complete"), timeout=LONG)
    scale = finished.stored_result["scale_estimate"]
    assert f"Scale {scale:.5g} ± " in summary(bench)
    assert "by hand 1.5" in summary(bench)
    assert "alignment accurate to" in summary(bench)
    tree = bench.findChild(QTreeWidget, "check_list")
    assert tree.topLevelItemCount() == len(STAGES)


def test_valid_results_are_shown_at_once_and_offered_when_they_were_removed(
    open_workbench, finished, viewer, qtbot
):
    bench = open_workbench()
    show = button(bench, "show_results")
    qtbot.waitUntil(lambda: bool(find_layers(viewer, "difference")), timeout=LONG)
    (difference,) = find_layers(viewer, "difference", "Rock", "DAPI")
    assert difference.visible
    assert summary(bench).startswith("Complete")
    qtbot.waitUntil(lambda: not finished.jobs.is_working, timeout=LONG)
    assert not show.isVisible()
    assert not button(bench, "show_raw").isVisible()
    viewer.layers.remove(difference)
    finished.refresh_status()
    qtbot.waitUntil(lambda: not finished.jobs.is_working, timeout=LONG)
    assert not find_layers(viewer, "difference")
    assert show.isVisible()
    show.click()
    qtbot.waitUntil(lambda: not show.isVisible(), timeout=LONG)
    assert find_layers(viewer, "difference")


def test_raw_images_are_shown_at_once_and_offered_when_they_were_removed(
    open_workbench, session, viewer, qtbot
):
    bench = open_workbench()
    show = button(bench, "show_raw")
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=LONG)
    assert {about(layer)["role"] for layer in viewer.layers} == {"pre", "post"}
    assert not show.isVisible()
    viewer.layers.clear()
    assert show.isVisible()
    show.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=LONG)
    assert not show.isVisible()


def test_another_sample_is_not_shown_with_the_results_of_the_one_before(
    open_workbench, finished, qtbot, monkeypatch
):
    """Its state may take seconds to read, on a slow drive."""
    bench = open_workbench()
    qtbot.waitUntil(lambda: summary(bench).startswith("Complete"), timeout=LONG)
    qtbot.waitUntil(button(bench, "show_results").isVisible, timeout=LONG)
    tree = bench.findChild(QTreeWidget, "check_list")
    everywhere = Qt.MatchFlag.MatchContains | Qt.MatchFlag.MatchRecursive
    plots = tree.findItems("plots", everywhere)
    tree.setCurrentItem(plots[0].child(0))
    assert button(bench, "open_result").isEnabled()
    release = threading.Event()
    read_status = session.read_status

    def slow(source, params, monitor):
        assert release.wait(30)
        return read_status(source, params, monitor)

    monkeypatch.setattr(session, "read_status", slow)
    finished.set_source(sample="Granite")
    assert summary(bench) == ""
    assert [text for text in tooltips(bench) if "valid" in text] == []
    assert tree.topLevelItemCount() == 0
    for name in ("show_results", "show_raw"):
        assert not button(bench, name).isVisible()
    assert not button(bench, "open_result").isEnabled()
    states = [form.findChild(QLabel, "state").text() for form in bench.forms.values()]
    assert set(states) == {"Looking for results …"}
    assert finished.stored_result is None
    release.set()
    qtbot.waitUntil(lambda: "missing" in tooltips(bench)[0], timeout=LONG)
    assert summary(bench) == ""
    assert tree.topLevelItem(0).text(1) == "missing"
    assert button(bench, "show_raw").isVisible()


def test_raw_images_that_come_late_are_not_shown_with_another_sample(
    open_workbench, session, viewer, qtbot, monkeypatch
):
    asked, release = threading.Event(), threading.Event()
    pair_files = picture.pair_files

    def slow(sample, dye, raw_dir):
        asked.set()
        assert release.wait(30)
        return pair_files(sample, dye, raw_dir)

    monkeypatch.setattr(picture, "pair_files", slow)
    bench = open_workbench()
    qtbot.waitUntil(asked.is_set, timeout=LONG)
    session.set_source(sample="Granite")
    release.set()
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    assert list(viewer.layers) == []
    assert said(bench) == ""


def test_a_pair_with_an_unreadable_file_is_named_and_all_goes_on(
    open_workbench, session, raw_dir, qtbot
):
    (post,) = (raw_dir / "Rock").glob("*[Pp]ost*")
    post.write_bytes(b"II*\0 no image")
    session.set_source(raw_dir=raw_dir)
    bench = open_workbench()
    qtbot.waitUntil(button(bench, "show_raw").isVisible, timeout=LONG)
    for name in ("run_all", "show_raw"):
        bench.message.clear()
        button(bench, name).click()
        qtbot.waitUntil(lambda: bool(said(bench)), timeout=LONG)
        assert bench.message.level == "error"
        assert post.name in said(bench)
        qtbot.waitUntil(button(bench, "run_all").isEnabled, timeout=LONG)


def test_a_results_folder_that_cannot_be_written_is_told_before_the_run(
    open_workbench, session, tmp_path, qtbot, monkeypatch
):
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: "locked" not in str(path) and access(path, mode),
    )
    session.set_source(output_dir=tmp_path / "locked" / "processed")
    bench = open_workbench()
    note = bench.findChild(QLabel, "output_note")
    qtbot.waitUntil(note.isVisible, timeout=LONG)
    assert str(tmp_path / "locked") in note.text()
    button(bench, "run_all").click()
    qtbot.waitUntil(lambda: bench.message.level == "error", timeout=LONG)
    assert "not permitted; choose another folder" in said(bench)
    qtbot.waitUntil(button(bench, "run_all").isEnabled, timeout=LONG)
    assert not (tmp_path / "locked" / "processed").exists()


def test_results_of_other_raw_files_are_told_and_not_shown_as_valid(
    open_workbench, finished, raw_dir, qtbot
):
    for path in (raw_dir / "Rock").glob("*.tif"):
        image = tifffile.imread(path)
        tifffile.imwrite(path, np.ascontiguousarray(image[:, ::-1]))
    finished.set_source(raw_dir=raw_dir)
    bench = open_workbench()
    note = bench.findChild(QLabel, "stale_note")
    qtbot.waitUntil(note.isVisible, timeout=LONG)
    assert "stale" in tooltips(bench)[0]
    assert "not the file that it was made from" in tooltips(bench)[0]
    assert not button(bench, "show_results").isVisible()


def test_another_sample_takes_the_old_message_away(
    open_workbench, session, tmp_path, qtbot
):
    bench = open_workbench()
    bench.message.error("something")
    session.set_source(output_dir=tmp_path / "other")
    assert said(bench) == ""


def test_the_workbench_scrolls_where_there_is_little_room(open_workbench, session):
    bench = open_workbench()
    bench.resize(bench.minimumWidth(), 420)
    QApplication.processEvents()
    assert bench.height() == 420
    presets = bench.findChild(QWidget, "presets_menu")
    run = bench.findChild(QWidget, "run_bar")
    # Nothing lies on top of another: the parts follow one another downwards.
    top = [part.mapTo(bench, part.rect().topLeft()).y() for part in (run, presets)]
    assert top[0] + run.height() <= top[1]


@pytest.mark.parametrize(
    ("result", "done", "wanted"),
    [
        (None, 0, ""),
        (RunResult("Rock", "DAPI", State.DONE), 1, "Stage 1 is done."),
        (
            RunResult(
                "Rock",
                "DAPI",
                State.DEGRADED,
                "stage 3 interior alignment: few matches",
                verdicts={2: Verdict("ok", numbers={"accuracy_px": 0.8})},
                scales={"moffat": StoredScale("moffat", 1.25, 0.003, is_main=True)},
                manual_scale=1.4,
                warnings=("it is dark",),
            ),
            4,
            "Done, but look at the result: stage 3 interior alignment: few matches.\n"
            "Scale 1.25 ± 0.003 (Moffat fit), by hand 1.4, alignment accurate to "
            "0.8 px.\nNote: it is dark",
        ),
    ],
)
def test_a_result_in_words(result, done, wanted):
    assert summary_words(result, done) == wanted


def test_the_session_of_a_closed_workbench_lives_on_in_other_docks(
    viewer, session, qtbot
):
    bench = Workbench(viewer)
    bench.show()
    bench.close()
    bench.deleteLater()
    QApplication.processEvents()
    assert Session.of(viewer) is session
    with qtbot.waitSignal(session.run_ended, timeout=LONG):
        session.run(1, 1)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_the_file_suffix_stays_in_sight_whichever_field_is_typed_in(
    finished, open_workbench, qtbot, stage
):
    bench = open_workbench()
    bench.resize(385, 620)  # too low for all fields of stages 2 to 4
    qtbot.waitUntil(lambda: summary(bench) != "", timeout=LONG)
    finished.show_stage(stage)
    form = bench.forms[stage]
    rows = [row.native for row in form.parameters.container if row.native.isVisible()]
    suffix = form.findChild(QLabel, "suffix")
    for row in (rows[0], rows[-1]):
        (area,) = [x for x in form.findChildren(QScrollArea) if x.isAncestorOf(row)]
        area.ensureWidgetVisible(row, 0, 0)
        QApplication.processEvents()
        assert row.visibleRegion().boundingRect() == row.rect()
        assert suffix.visibleRegion().boundingRect() == suffix.rect()
