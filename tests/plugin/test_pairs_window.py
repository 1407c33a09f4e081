"""Files of any names, dragged or clicked into pairs, in the workbench."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QLabel, QPushButton

from napari_exo2micro.core.raw import discover_tasks, read_pair_table
from napari_exo2micro.plugin.layers.layers import about
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.workbench.pairs import PairsWindow
from napari_exo2micro.plugin.workbench.source import SourcePanel

LONG = 300_000


@pytest.fixture
def raw(tmp_path):
    """Four images whose names tell nothing, and two that say before and after."""
    names = "img1 img2 scans/img3 scans/img4 R1/SYBR_before R1/SYBR_after"
    for seed, name in enumerate(names.split()):
        path = tmp_path / "raw" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        tifffile.imwrite(path, rng.integers(1, 200, (20, 30)).astype(np.uint8))
    return tmp_path / "raw"


@pytest.fixture
def panel(viewer, raw, qtbot):
    session = shared_session(viewer)
    panel = SourcePanel(session)
    qtbot.addWidget(panel)
    panel.show()
    panel.choose_raw_dir(raw)
    qtbot.waitUntil(lambda: panel.overview is not None, timeout=LONG)
    return panel


@pytest.fixture
def window(panel, qtbot):
    panel.findChild(QPushButton, "make_pairs").click()
    window = panel.findChild(PairsWindow)
    qtbot.waitUntil(lambda: window.images.count() > 0, timeout=LONG)
    return window


def press(window, name):
    window.findChild(QPushButton, name).click()


def listed(window):
    return sorted(window.images.item(k).text() for k in range(window.images.count()))


def rows(window):
    table = window.pairs
    return [
        tuple(table.item(row, column).text() for column in range(4))
        for row in range(table.rowCount())
    ]


def choose(window, name):
    (item,) = window.images.findItems(name, Qt.MatchFlag.MatchExactly)
    window.images.setCurrentItem(item)
    return item


def drop(window, name, place: QPoint):
    """Drop an image on the table, as a drag from the list ends."""
    data = window.images.mimeData([choose(window, name)])
    assert isinstance(data, QMimeData)
    event = QDropEvent(
        QPointF(place),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.pairs.dropEvent(event)


def test_what_names_suggest_is_there_to_be_checked(window):
    assert rows(window) == [("R1", "SYBR", "R1/SYBR_after.tif", "R1/SYBR_before.tif")]
    assert listed(window) == [
        "img1.tif",
        "img2.tif",
        "scans/img3.tif",
        "scans/img4.tif",
    ]
    assert "Suggested by names" in window.findChild(QLabel, "pairs_words").text()


def test_dragged_and_saved_they_are_pairs(window, panel, raw, qtbot):
    drop(window, "img2.tif", QPoint(5, 400))  # below all rows: a new pair
    table = window.pairs
    cell = table.visualItemRect(table.item(1, 3)).center()
    drop(window, "scans/img3.tif", cell)
    assert rows(window)[1][2:] == ("img2.tif", "scans/img3.tif")
    table.item(1, 0).setText("S2")
    table.item(1, 1).setText("DAPI")
    drop(window, "img1.tif", table.visualItemRect(table.item(1, 2)).center())
    assert rows(window)[1] == ("S2", "DAPI", "img1.tif", "scans/img3.tif")
    assert listed(window) == ["img2.tif", "scans/img4.tif"]
    press(window, "save_pairs")
    assert discover_tasks(raw_dir=raw).present == (("R1", "SYBR"), ("S2", "DAPI"))
    qtbot.waitUntil(lambda: len(panel.overview.pairs) == 2, timeout=LONG)


def test_without_dragging(window, raw):
    choose(window, "img1.tif")
    window.pairs.setCurrentCell(-1, -1)
    press(window, "as_pre")
    choose(window, "img2.tif")
    window.images.itemDoubleClicked.emit(window.images.currentItem())
    assert rows(window)[1][2:] == ("img2.tif", "img1.tif")
    window.pairs.selectRow(0)
    press(window, "take_out")
    assert "R1/SYBR_after.tif" in listed(window)
    window.pairs.item(0, 6).setText("0,5")
    press(window, "save_pairs")
    (row,) = read_pair_table(raw).rows
    assert row.files == (raw / "img2.tif", raw / "img1.tif")
    assert dict(row.params) == {"pixel_size": 0.5}


def test_what_is_missing_is_said_and_nothing_written(window, raw):
    choose(window, "img1.tif")
    window.pairs.setCurrentCell(-1, -1)
    press(window, "as_post")
    press(window, "save_pairs")
    problem = window.findChild(QLabel, "pairs_problem").text()
    assert "row 3: nothing stands under 'pre'" in problem
    assert not (raw / "pairs.csv").exists()


def test_a_pair_that_was_made_is_shown(window, viewer, qtbot):
    """What the table says is what the picture shows before stage 1."""
    press(window, "save_pairs")
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=LONG)
    known = [about(layer) for layer in viewer.layers]
    assert {one["sample"] for one in known} == {"R1"}
    assert [one["paths"][0][-16:] for one in known] == [
        "/SYBR_before.tif",
        "1/SYBR_after.tif",
    ]
