"""The check-list: states with their reasons, and what a row opens."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QDialog, QLabel, QPushButton, QTreeWidget

from napari_exo2micro.plugin.layers.layers import about, find_layers
from napari_exo2micro.plugin.workbench.status import StatusList

LONG = 300_000


@pytest.fixture
def said():
    return []


@pytest.fixture
def list_of(qtbot, said):
    def make(session):
        widget = StatusList(session, said.append)
        qtbot.addWidget(widget)
        widget.show()
        qtbot.waitUntil(lambda: bool(session.status), timeout=LONG)
        return widget

    return make


def rows(widget):
    tree = widget.findChild(QTreeWidget, "check_list")
    found = tree.findItems(
        "*", Qt.MatchFlag.MatchWildcard | Qt.MatchFlag.MatchRecursive
    )
    return {item.text(0): item for item in found}


def is_plot(item):
    """Plots stand one step below the images of their stage."""
    return item.parent() is not None and item.parent().parent() is not None


def states(widget):
    return {name: item.text(1) for name, item in rows(widget).items()}


def press_open(widget, name):
    widget.findChild(QTreeWidget, "check_list").setCurrentItem(rows(widget)[name])
    widget.findChild(QPushButton, "open_result").click()


def test_before_a_run_everything_is_missing(session, list_of):
    widget = list_of(session)
    assert set(states(widget).values()) == {"missing"}
    assert list(states(widget))[:3] == [
        "1 padding",
        "post-stain, padded",
        "pre-stain, padded",
    ]
    assert not widget.findChild(QPushButton, "open_result").isEnabled()


def test_after_a_run_everything_is_valid_and_each_row_has_a_mark(finished, list_of):
    widget = list_of(finished)
    assert set(states(widget).values()) == {"valid"}
    assert "9 of 9 plots" in states(widget)
    assert all(not item.icon(1).isNull() for item in rows(widget).values())


def test_a_stale_image_says_why(finished, list_of, qtbot):
    widget = list_of(finished)
    task = finished.task()
    path = task._tiff_path(2, "pre")
    for damaged in (path, task._fits_path(2, "pre")):
        damaged.write_bytes(damaged.read_bytes()[:5000])
    with qtbot.waitSignal(finished.status_changed, timeout=LONG):
        finished.refresh_status()
    found = states(widget)
    assert found["1 padding"] == "valid"
    assert found["2 boundary alignment"] == "stale"
    assert found["3 interior alignment"] == "stale"
    item = rows(widget)["pre-stain, boundary aligned"]
    assert path.name in item.toolTip(0)
    widget.findChild(QTreeWidget, "check_list").setCurrentItem(item)
    why = widget.findChild(QLabel, "why")
    assert why.isVisible()
    assert path.name in why.text()


def test_what_a_stage_says_of_its_own_work_is_its_state(finished, list_of, qtbot):
    finished.set_params(interior_ecc=False)
    widget = list_of(finished)
    with qtbot.waitSignal(finished.run_ended, timeout=LONG):
        finished.run(3, 3)
    qtbot.waitUntil(
        lambda: states(widget)["3 interior alignment"] == "skipped", timeout=LONG
    )
    assert states(widget)["pre-stain, interior aligned"] == "valid"
    assert "'refine on the interior' is off" in rows(widget)[
        "3 interior alignment"
    ].toolTip(0)


def test_folded_rows_stay_folded_when_the_state_is_read_anew(finished, list_of, qtbot):
    widget = list_of(finished)
    rows(widget)["1 padding"].setExpanded(False)
    with qtbot.waitSignal(finished.status_changed, timeout=LONG):
        finished.refresh_status()
    assert not rows(widget)["1 padding"].isExpanded()
    assert rows(widget)["2 boundary alignment"].isExpanded()


def test_folded_rows_stay_folded_with_another_sample(finished, list_of, qtbot):
    widget = list_of(finished)
    rows(widget)["1 padding"].setExpanded(False)
    finished.set_source(sample="Granite")
    assert states(widget) == {}
    qtbot.waitUntil(lambda: bool(states(widget)), timeout=LONG)
    assert not rows(widget)["1 padding"].isExpanded()
    assert rows(widget)["2 boundary alignment"].isExpanded()


def test_a_valid_image_is_opened_once_as_a_layer(finished, list_of, qtbot, viewer):
    widget = list_of(finished)
    press_open(widget, "pre-stain, boundary aligned")
    qtbot.waitUntil(lambda: bool(find_layers(viewer, "aligned 2")), timeout=LONG)
    (layer,) = viewer.layers
    assert layer.visible
    layer.visible = False
    viewer.layers.selection.clear()
    press_open(widget, "pre-stain, boundary aligned")
    assert viewer.layers == [layer]
    assert layer.visible
    assert about(viewer.layers.selection.active)["role"] == "aligned 2"


def test_a_plot_is_opened_as_a_picture(finished, list_of, said, qtbot):
    widget = list_of(finished)
    plots = [name for name, item in rows(widget).items() if is_plot(item)]
    press_open(widget, plots[-1])
    qtbot.waitUntil(
        lambda: widget.findChild(QDialog, "picture_window") is not None, timeout=LONG
    )
    picture = widget.findChild(QDialog, "picture_window")
    assert picture.isVisible()
    assert picture.windowTitle().endswith(".png")
    assert said == []


def test_a_damaged_picture_is_told(finished, list_of, said, qtbot):
    widget = list_of(finished)
    for path in (finished.output_dir / "Rock" / "DAPI").rglob("*.png"):
        path.write_bytes(b"")
    plots = [name for name, item in rows(widget).items() if is_plot(item)]
    press_open(widget, plots[-1])
    qtbot.waitUntil(lambda: bool(said), timeout=LONG)
    assert widget.findChild(QDialog, "picture_window") is None
    assert "cannot be read as a picture; run stage 5 again" in said[0]


def test_what_is_not_there_is_told(session, list_of, said):
    widget = list_of(session)
    tree = widget.findChild(QTreeWidget, "check_list")
    tree.itemActivated.emit(rows(widget)["pre-stain, boundary aligned"], 0)
    assert said == ["pre-stain, boundary aligned does not exist yet; run stage 2 first"]


def test_the_folder_is_opened_or_named(finished, list_of, said, monkeypatch, qtbot):
    widget = list_of(finished)
    opened = []
    monkeypatch.setattr(
        QDesktopServices, "openUrl", lambda url: opened.append(url) or True
    )
    folder = finished.output_dir / "Rock" / "DAPI"
    widget.findChild(QPushButton, "open_folder").click()
    qtbot.waitUntil(lambda: bool(opened), timeout=LONG)
    assert opened[0].toLocalFile() == str(folder)
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: False)
    widget.findChild(QPushButton, "open_folder").click()
    qtbot.waitUntil(lambda: bool(said), timeout=LONG)
    assert str(folder) in said[0]
