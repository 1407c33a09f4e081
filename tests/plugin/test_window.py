"""In a real window: docks open from the menu, a run, a stop and the end of it."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest
import yaml
from qtpy.QtWidgets import QApplication, QCheckBox, QMenu, QProgressBar, QPushButton

from napari_exo2micro.plugin.layers.layers import about, find_layers
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.workbench.workbench import Workbench

pytestmark = pytest.mark.display

LONG = 300_000
PLUGIN = "napari-exo2micro"


def manifest_of(repository: Path) -> dict:
    path = repository / "src" / "napari_exo2micro" / "napari.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def entries(menu: QMenu) -> dict:
    """Return text -> action of all entries of a menu, those of submenus too."""
    menu.aboutToShow.emit()
    found = {}
    for action in menu.actions():
        if action.menu() is not None:
            found.update(entries(action.menu()))
        else:
            found[action.text().replace("&", "")] = action
    return found


@pytest.fixture
def window(make_napari_viewer_proxy, shared_raw_dir, tmp_path):
    """A viewer with a window whose session works on Rock / DAPI."""
    viewer = make_napari_viewer_proxy(show=True).__wrapped__
    session = Session.of(viewer)
    session.set_params(pad=60)
    session.set_source(
        raw_dir=shared_raw_dir,
        output_dir=tmp_path / "processed",
        sample="Rock",
        dye="DAPI",
    )
    return viewer


def open_workbench(viewer) -> Workbench:
    _, bench = viewer.window.add_plugin_dock_widget(PLUGIN, "Exo2Micro workbench")
    return bench


def button(bench, name) -> QPushButton:
    return bench.findChild(QPushButton, name)


def files(folder: Path) -> dict:
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_each_dock_opens_from_its_menu_command(window, repository, qtbot):
    manifest = manifest_of(repository)
    offered = entries(window.window.plugins_menu)
    for one in manifest["contributions"]["widgets"]:
        name = one["display_name"]
        before = set(window.window.dock_widgets)
        offered[f"{name} ({manifest['display_name']})"].trigger()
        (new,) = set(window.window.dock_widgets) - before
        assert new.startswith(name)
        widget = window.window.dock_widgets[new]
        widget = getattr(widget, "native", widget)  # of magicgui
        qtbot.waitUntil(widget.isVisible, timeout=LONG)
        # All share the session: the sample is chosen in each of them.
        assert Session.of(window).sample == "Rock"


def test_a_run_through_the_buttons_leaves_the_files_of_the_core(
    window, qtbot, tmp_path, shared_results, monkeypatch
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    bench = open_workbench(window)
    button(bench, "run_all").click()
    qtbot.waitUntil(lambda: bool(find_layers(window, "difference")), timeout=LONG)
    qtbot.waitUntil(button(bench, "run_all").isEnabled, timeout=LONG)
    made, wanted = files(tmp_path / "processed"), files(shared_results)
    assert list(made) == list(wanted)
    assert [path for path in wanted if made[path] != wanted[path]] == []
    assert [layer.name for layer in window.layers if layer.visible] == [
        "Rock DAPI: difference"
    ]


@pytest.mark.usefixtures("plain_pictures")
def test_a_stop_in_the_middle_leaves_valid_checkpoints_and_an_enabled_button(
    window, qtbot
):
    bench = open_workbench(window)
    session = Session.of(window)
    stop = button(bench, "abort")
    bench.findChild(QProgressBar, "progress").valueChanged.connect(
        lambda value: stop.click() if value > 550 else None
    )
    button(bench, "run_all").click()
    qtbot.waitUntil(lambda: session.jobs.is_busy, timeout=LONG)
    qtbot.waitUntil(button(bench, "run_all").isEnabled, timeout=LONG)
    states = {(line.stage, line.state) for line in session.task().status()}
    assert {(1, "valid"), (2, "valid"), (4, "missing")} <= states
    assert not any(state == "stale" for _, state in states)
    assert find_layers(window, "aligned 2")
    assert not list(session.output_dir.rglob("*.part"))


def test_closing_the_window_ends_the_work(window, qtbot):
    bench = open_workbench(window)
    session = Session.of(window)
    qtbot.waitUntil(bench.isVisible, timeout=LONG)  # as whoever clicks sees it
    button(bench, "run_all").click()
    qtbot.waitUntil(lambda: session.jobs.is_busy, timeout=LONG)
    before = {thread for thread in threading.enumerate() if is_ours(thread)}
    assert before
    window.close()
    del bench
    QApplication.processEvents()
    gc.collect()
    qtbot.waitUntil(lambda: not any(map(is_ours, threading.enumerate())), timeout=LONG)
    # The next window begins anew.
    assert Session.of(window) is not session
    Session.of(window).close()


def is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("exo2micro")


@pytest.mark.usefixtures("plain_pictures")
def test_a_forced_run_twice_through_the_buttons_renews_and_closes_cleanly(
    window, qtbot
):
    bench = open_workbench(window)
    session = Session.of(window)
    bench.findChild(QCheckBox, "force").setChecked(True)
    made = []
    for _ in range(2):
        with qtbot.waitSignal(session.run_ended, timeout=LONG):
            button(bench, "run_all").click()
        qtbot.waitUntil(button(bench, "run_all").isEnabled, timeout=LONG)
        window.window._qt_window.repaint()
        QApplication.processEvents()
        (difference,) = find_layers(window, "difference")
        assert difference.visible
        roles = [about(layer).get("role") for layer in window.layers]
        assert len(roles) == len(set(roles))
        paths = about(difference)["paths"]
        made.append({path: Path(path).stat().st_mtime_ns for path in paths})
    assert made[0].keys() == made[1].keys()
    assert all(made[1][path] > made[0][path] for path in made[0])
    assert bench.message.text == ""
    button(bench, "run_all").click()
    qtbot.waitUntil(lambda: session.jobs.is_busy, timeout=LONG)
    window.close()
    QApplication.processEvents()
    qtbot.waitUntil(lambda: not any(map(is_ours, threading.enumerate())), timeout=LONG)


def test_docks_that_would_be_too_low_become_tabs_which_keep_what_they_show(
    results, window, qtbot
):
    window.window.resize(1200, 900)
    main = window.window._qt_window
    docks = []
    for name in (
        "Exo2Micro workbench",
        "Inspect an alignment",
        "Batch of samples and dyes",
        "Exo2Micro log",
    ):
        dock, _ = window.window.add_plugin_dock_widget(PLUGIN, name)
        docks.append(dock)
        others = docks[:-1]
        qtbot.waitUntil(
            lambda new=dock, others=others: (
                set(main.tabifiedDockWidgets(new)) == set(others)
            ),
            timeout=LONG,
        )
    bench, inspection, _, log = docks
    # The window lays itself out some events after the docks were stacked.
    qtbot.waitUntil(
        lambda: log.visibleRegion().boundingRect().height() > 600, timeout=LONG
    )
    assert bench.visibleRegion().isEmpty()
    inspection.raise_()
    run = bench.findChild(QPushButton, "run_all")
    run.click()
    session = Session.of(window)
    qtbot.waitUntil(lambda: not session.jobs.is_busy, timeout=LONG)
    qtbot.waitUntil(lambda: bool(find_layers(window, "difference")), timeout=LONG)
    inspection.findChild(QPushButton, "curtain_start").click()
    qtbot.waitUntil(lambda: len(shown_curtains(window)) == 1, timeout=LONG)
    bench.raise_()
    qtbot.waitUntil(lambda: not bench.visibleRegion().isEmpty(), timeout=LONG)
    assert inspection.visibleRegion().isEmpty()
    assert len(shown_curtains(window)) == 1


def shown_curtains(viewer) -> list:
    return [
        layer
        for layer in viewer.layers
        if layer.visible and layer.name.startswith("curtain")
    ]
