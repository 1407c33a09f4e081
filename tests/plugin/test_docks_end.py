"""A dock that is closed ends: nothing that happens later reaches it."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QMainWindow

from napari_exo2micro.plugin.apply.dock import ApplyDock
from napari_exo2micro.plugin.batch.dock import BatchDock
from napari_exo2micro.plugin.compare.dock import CompareDock
from napari_exo2micro.plugin.diagnostics.dock import DiagnosticsDock
from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.layers.scene import place_layers
from napari_exo2micro.plugin.log.dock import LogPanel
from napari_exo2micro.plugin.workbench.workbench import (
    BoundaryDock,
    DifferenceDock,
    InteriorDock,
    PaddingDock,
    Workbench,
)

LONG = 300_000
DOCKS = [
    Workbench,
    PaddingDock,
    BoundaryDock,
    InteriorDock,
    DifferenceDock,
    DiagnosticsDock,
    CompareDock,
    BatchDock,
    InspectionDock,
    ApplyDock,
    LogPanel,
]
#: What a session does by itself.
ITS_OWN = ("reading the state of the files", "looking at ", "looking into ")


def delete_what_is_due():
    for _ in range(3):  # a widget, and then what it was connected by
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()


@pytest.mark.parametrize("kind", DOCKS)
def test_a_closed_dock_reacts_to_nothing(
    finished, viewer, qtbot, kind, all_specs, monkeypatch
):
    window = QMainWindow()  # the session ends with it
    qtbot.addWidget(window)
    closed, started = [], []
    start = finished.jobs.start
    for _ in range(2):
        dock = kind(viewer)
        widget = getattr(dock, "native", dock)  # the docks of stages are of magicgui
        window.setCentralWidget(widget)
        window.show()
        qtbot.waitUntil(lambda: not finished.jobs.is_working, timeout=LONG)
        window.takeCentralWidget()  # as napari takes a widget out of a closed dock
        delete_what_is_due()
        closed.append(dock)  # held by somebody, so that only the closing counts
        with pytest.raises(RuntimeError, match="deleted"):
            widget.isVisible()
    monkeypatch.setattr(
        finished.jobs,
        "start",
        lambda function, **how: started.append(how["title"]) or start(function, **how),
    )
    with qtbot.captureExceptions() as raised:
        place_layers(viewer, all_specs[4])
        finished.set_params(pad=61)
        finished.set_source(sample="Other")
        finished.set_source(sample="Rock")
        for name, value in (("results_changed", 3), ("stage_shown", 3)):
            getattr(finished, name).emit(value)
        finished.jobs.busy_changed.emit(True)
        finished.jobs.busy_changed.emit(False)
        viewer.layers.clear()
        qtbot.waitUntil(lambda: not finished.jobs.is_working, timeout=LONG)
    assert raised == []
    assert started
    assert [title for title in started if not title.startswith(ITS_OWN)] == []


def test_an_error_for_a_dock_that_was_closed_is_still_told(
    finished, viewer, qtbot, monkeypatch
):
    told = []
    monkeypatch.setattr("napari_exo2micro.plugin.session.job.notify_error", told.append)
    dock = PaddingDock(viewer)

    def work(monitor):
        release.wait(30)
        raise FileNotFoundError(2, "No such file or directory", "a.tif")

    release = threading.Event()
    job = finished.jobs.start(work, title="reading", on_error=dock.message.error)
    dock.native.deleteLater()
    delete_what_is_due()
    with qtbot.waitSignal(job.finished, timeout=LONG):
        release.set()
    assert told == [
        "reading: a.tif does not exist; check the name, or choose another file"
    ]
