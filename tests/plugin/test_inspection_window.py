"""Inspection in a real window: keys, clicks and the dock's own buttons."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.layers.layers import camera_place, find_layers
from napari_exo2micro.plugin.layers.scene import place_layers
from napari_exo2micro.plugin.session.session import Session

LONG = 300_000

pytestmark = pytest.mark.display


@pytest.fixture
def window(make_napari_viewer_proxy, all_specs, qtbot):
    """A viewer with results, its dock and the widget that the picture is in."""
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1200, 800)
    for specs in all_specs.values():
        place_layers(viewer, specs)
    dock = InspectionDock(viewer)
    holder = viewer.window.add_dock_widget(dock, name="Inspect an alignment")
    canvas = viewer.__wrapped__.window._qt_viewer.canvas.native
    qtbot.waitUntil(lambda: canvas.isVisible() and dock.isVisible(), timeout=LONG)
    qtbot.wait(200)
    yield viewer, dock, holder, canvas
    Session.of(viewer).close()


def test_keys_clicks_and_closing(window, qtbot):
    viewer, dock, holder, canvas = window
    before = [layer.visible for layer in viewer.layers]
    # Keys, whatever layer is active, from the picture and from the dock.
    viewer.layers.selection.active = find_layers(viewer, "ring post")[0]
    QTest.keyClick(canvas, Qt.Key.Key_N)
    assert dock.blink.shown is dock.pair.layers[0]
    QTest.keyClick(dock.findChild(QPushButton, "blink_next"), "n")
    assert dock.blink.shown is dock.pair.layers[1]
    QTest.keyClick(canvas, Qt.Key.Key_K)
    assert [layer.visible for layer in viewer.layers] == before
    # A click in the middle of the picture is the middle of the view.
    dock.zoom.pick.start()
    middle = QPoint(canvas.width() // 2, canvas.height() // 2)
    with qtbot.waitSignal(dock.zoom.drawn, timeout=LONG):
        QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=middle)
    *centre, zoom = camera_place(viewer)
    assert np.abs(np.subtract(centre, dock.zoom.place[:2])).max() < 3 / zoom + 1
    # The picture that is seen: green left of the curtain, magenta right of it.
    dock.zoom.stop()
    viewer.layers.selection.active = find_layers(viewer, "post")[0]
    dock.curtain.centre()
    dock.curtain.toggle()
    for role in ("ring post", "ring pre"):
        find_layers(viewer, role)[0].visible = False
    seen = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    half = seen.shape[1] // 2
    left, right = seen[:, : half - 5], seen[:, half + 5 :]
    assert left[..., 1].max() > 200
    assert left[..., [0, 2]].max() == 0
    assert right[..., 0].max() > 200
    assert right[..., 1].max() == 0
    # The cross of the dock takes everything away.
    holder.destroyOnClose()
    assert not find_layers(viewer, "curtain")
    assert not viewer.keymap
