"""Presets to a file and back; settings copied as Python and as a command line."""

from __future__ import annotations

import json
import shlex

import pytest
from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_exo2micro import core as e2m
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.workbench.presets_menu import PresetsMenu


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


def press(menu, name):
    menu.findChild(QAction, name).trigger()


def test_a_preset_comes_back_as_it_was_saved(
    menu, session, strip, tmp_path, monkeypatch
):
    path = tmp_path / "wide.json"
    session.set_params(boundary_width=20, manual_scale=1.25)
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *a: (str(tmp_path / "wide"), "")
    )
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(path), ""))
    press(menu, "save_preset")
    assert (strip.level, str(path) in strip.text) == ("note", True)
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
    menu, session, strip, tmp_path, values, said
):
    path = tmp_path / "odd.json"
    content = {"format": "napari-exo2micro preset", "version": 1, "parameters": values}
    path.write_text(json.dumps(content))
    before = session.params
    menu.load(path)
    assert strip.level == "error"
    assert said in strip.text
    assert str(path) in strip.text
    assert session.params == before


def test_a_preset_that_cannot_be_saved_is_told(menu, strip, tmp_path):
    menu.save(tmp_path)
    assert strip.level == "error"
    assert f"cannot write {tmp_path}" in strip.text


def test_recent_presets_are_offered(menu, session, tmp_path):
    for name in ("one", "two"):
        menu.save(tmp_path / f"{name}.json")
    session.reset_params()
    menu.findChild(QMenu, "presets").aboutToShow.emit()
    offered = menu.findChild(QMenu, "recent_presets").actions()
    assert [action.text() for action in offered] == ["two.json", "one.json"]
    offered[0].trigger()
    assert session.non_default_params() == {"pad": 60}


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
