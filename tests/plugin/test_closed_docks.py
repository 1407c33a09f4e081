"""A dock that was closed listens to nothing: opened and closed, all is as before."""

from __future__ import annotations

import gc

import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QMainWindow

from napari_exo2micro.plugin.apply.dock import ApplyDock
from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.layers.layers import camera, find_layers, grid
from napari_exo2micro.plugin.layers.scene import SideBySide, place_layers

SIGNALS = (
    "source_changed",
    "params_changed",
    "status_changed",
    "results_changed",
    "run_ended",
    "stage_shown",
)


def listeners(session):
    """Return how many listen to each thing that a dock could listen to."""
    viewer, side_by_side = session.viewer, SideBySide.of(session)
    layers, eye = viewer.layers.events, camera(viewer).events
    emitters = {
        "inserted": layers.inserted,
        "removed": layers.removed,
        "reordered": layers.reordered,
        "zoom": eye.zoom,
        "center": eye.center,
        "grid": grid(viewer).events.enabled,
        **{f"name of {layer.name}": layer.events.name for layer in viewer.layers},
    }
    gc.collect()
    counts = {name: len(one.callbacks) for name, one in emitters.items()}
    counts |= {name: session.receivers(getattr(session, name)) for name in SIGNALS}
    counts["side by side"] = side_by_side.receivers(side_by_side.changed)
    return counts


@pytest.mark.parametrize("kind", [InspectionDock, ApplyDock])
def test_a_dock_that_was_closed_listens_to_nothing(
    shown, viewer, qtbot, kind, all_specs
):
    before = listeners(shown)
    closed = []
    window = QMainWindow()  # the session ends with it
    qtbot.addWidget(window)
    for _ in range(2):
        dock = kind(viewer)
        window.setCentralWidget(dock)
        window.show()
        assert listeners(shown) != before
        window.takeCentralWidget()  # as napari takes a widget out of a closed dock
        closed.append(dock)  # kept alive, so that only the closing counts
    assert listeners(shown) == before
    # What Qt has deleted is called by nothing.
    for dock in closed:
        dock.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    with qtbot.captureExceptions() as raised:
        place_layers(viewer, all_specs[3])
        viewer.layers.remove(find_layers(viewer, "difference")[0])
        place_layers(viewer, all_specs[4])
        find_layers(viewer, "post")[0].name = "another name"
        camera(viewer).zoom = 2.0
        for name in ("results_changed", "stage_shown"):
            getattr(shown, name).emit(3)
        shown.set_source(sample="Other")
        qtbot.wait(50)
    assert raised == []
