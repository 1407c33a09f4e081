"""Presets to a file and back; settings copied as Python and as a command line."""

from __future__ import annotations

import json
import shlex
import threading

import pytest
from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_exo2micro import core as e2m
from napari_exo2micro.core import parameters
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip
from napari_exo2micro.plugin.workbench.presets import PresetsMenu

LONG = 300_000


@pytest.fixture
def strip(qtbot):
    strip = MessageStrip()
    qtbot.addWidget(strip)
    return strip


@pytest.fixture
def menu(session, strip, qtbot):
    menu = PresetsMenu(session, strip)
    qtbot.addWidget(menu)
    return menu


@pytest.fixture
def told(strip, qtbot):
    """Wait until a text is in the strip."""
    return lambda text: qtbot.waitUntil(lambda: text in strip.text, timeout=LONG)


@pytest.fixture
def slow_drive(monkeypatch):
    """Let presets wait before they are read or written, until they are let go."""
    release, threads = threading.Event(), []

    def slow(real):
        def work(*args):
            threads.append(threading.current_thread())
            assert release.wait(LONG / 1000)
            return real(*args)

        return work

    for name in ("load_preset", "save_preset"):
        monkeypatch.setattr(parameters, name, slow(getattr(parameters, name)))
    yield release, threads
    release.set()


def press(menu, name):
    menu.findChild(QAction, name).trigger()


def test_a_preset_comes_back_as_it_was_saved(
    menu, session, strip, told, tmp_path, monkeypatch
):
    path = tmp_path / "wide.json"
    session.set_params(boundary_width=20, manual_scale=1.25)
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *a: (str(tmp_path / "wide"), "")
    )
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(path), ""))
    press(menu, "save_preset")
    told(f"Saved: {path}")
    assert strip.level == "note"
    wanted = session.params
    # The command line and scripts read the same file.
    assert e2m.load_preset(path) == {
        "pad": 60,
        "boundary_width": 20,
        "manual_scale": 1.25,
    }
    session.reset_params()
    session.set_params(interior_blur_base=5.0)
    press(menu, "load_preset")
    told(f"Loaded: {path}")
    assert session.params == wanted
    assert "ring thickness" in strip.text


def test_nothing_happens_when_no_file_is_chosen(menu, session, strip, monkeypatch):
    before = session.params
    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, name, lambda *a: ("", ""))
    press(menu, "save_preset")
    press(menu, "load_preset")
    assert (session.params, strip.text) == (before, "")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"boundary_widht": 20}, "did you mean 'boundary_width'"),
        ({"boundary_width": -3}, "boundary_width"),
    ],
)
def test_a_preset_that_cannot_be_used_is_named_and_changes_nothing(
    menu, session, strip, tmp_path, values, said, qtbot
):
    path = tmp_path / "odd.json"
    content = {"format": "napari-exo2micro preset", "version": 1, "parameters": values}
    path.write_text(json.dumps(content))
    before = session.params
    menu.load(path)
    qtbot.waitUntil(lambda: strip.level == "error", timeout=LONG)
    assert said in strip.text
    assert str(path) in strip.text
    assert session.params == before


def test_a_preset_that_cannot_be_saved_is_told(menu, strip, told, tmp_path):
    menu.save(tmp_path)
    told("it is a folder")
    assert strip.level == "error"
    assert f"cannot write {tmp_path}" in strip.text


def test_recent_presets_are_offered(menu, session, told, tmp_path):
    for name in ("one", "two"):
        menu.save(tmp_path / f"{name}.json")
        told(f"Saved: {tmp_path / name}")
    session.reset_params()
    menu.findChild(QMenu, "presets").aboutToShow.emit()
    offered = menu.findChild(QMenu, "recent_presets").actions()
    assert [action.text() for action in offered] == ["two.json", "one.json"]
    offered[0].trigger()
    told("Loaded: ")
    assert session.non_default_params() == {"pad": 60}


def test_a_dialog_begins_where_the_last_preset_was(
    menu, session, strip, told, tmp_path, monkeypatch, qtbot
):
    menu.save(tmp_path / "mine" / "one.json")
    told("Saved: ")
    began = []

    def ask(_parent, _title, where, _files):
        began.append(where)
        return "", ""

    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, name, ask)
    press(menu, "save_preset")
    press(menu, "load_preset")
    assert began == [str(tmp_path / "mine" / "preset.json"), str(tmp_path / "mine")]
    # Also in the next session.
    later = PresetsMenu(session, strip)
    qtbot.addWidget(later)
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    press(later, "load_preset")
    assert began[-1] == str(tmp_path / "mine")


def test_a_slow_drive_holds_nothing_up(
    menu, session, strip, told, tmp_path, slow_drive
):
    release, threads = slow_drive
    path = tmp_path / "one.json"
    session.set_params(boundary_width=20)
    menu.save(path)
    assert strip.text == f"Saving {path} …"
    session.set_params(boundary_width=30)
    release.set()
    told(f"Saved: {path} (2 changed")
    written = json.loads(path.read_text())["parameters"]
    assert written == {"pad": 60, "boundary_width": 20}
    release.clear()
    menu.load(path)
    assert strip.text == f"Reading {path} …"
    assert session.params["boundary_width"] == 30
    release.set()
    told("Loaded: ")
    assert session.params["boundary_width"] == 20
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def write_preset(path, width):
    content = {"format": "napari-exo2micro preset", "version": 1}
    path.write_text(json.dumps({**content, "parameters": {"boundary_width": width}}))
    return path


def test_a_preset_that_comes_late_does_not_undo_a_reset(
    menu, session, strip, tmp_path, slow_drive, qtbot
):
    release, _ = slow_drive
    menu.load(write_preset(tmp_path / "late.json", 20))
    menu.findChild(QPushButton, "reset_all").click()
    release.set()
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    assert session.non_default_params() == {}
    assert strip.text.startswith("Set to their defaults")


def test_the_preset_chosen_last_counts(menu, session, told, tmp_path, slow_drive):
    release, _ = slow_drive
    for width in (20, 30):
        menu.load(write_preset(tmp_path / f"{width}.json", width))
    release.set()
    told("Loaded: ")
    assert session.params["boundary_width"] == 30


def test_the_copied_python_does_the_run_of_these_settings(menu, session, strip):
    session.set_params(boundary_width=20)
    press(menu, "copy_python")
    text = QGuiApplication.clipboard().text()
    made = {}
    exec(text.partition("result = ")[0], made)
    task = made["task"]
    assert task.params == session.params
    assert (task.raw_dir, task.output_dir) == (session.raw_dir, session.output_dir)
    assert (task.sample, task.dye) == ("Rock", "DAPI")
    assert strip.text == "Copied: Python for all stages of Rock / DAPI."


def test_the_copied_command_line_names_the_same_settings(menu, session, strip):
    session.set_params(boundary_width=20)
    press(menu, "copy_command")
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[:4] == ["exo2micro", "run", "Rock", "DAPI"]
    assert words[words.index("--boundary-width") + 1] == "20"
    assert words[words.index("--raw-dir") + 1] == str(session.raw_dir)
    assert strip.level == "note"


def test_copying_without_a_sample_says_what_is_missing(viewer, strip, qtbot):
    menu = PresetsMenu(Session.of(viewer), strip)
    qtbot.addWidget(menu)
    press(menu, "copy_python")
    assert strip.level == "error"
    assert "choose the raw folder" in strip.text


def test_reset_all_sets_every_stage_back(menu, session, strip):
    reset = menu.findChild(QPushButton, "reset_all")
    session.set_params(boundary_width=20, manual_scale=1.1)
    assert "3 differ" in reset.toolTip()
    reset.click()
    assert session.non_default_params() == {}
    assert not reset.isEnabled()
    assert "ring thickness" in strip.text
