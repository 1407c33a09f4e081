"""The first page of the docs names what the window has, in its words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QCheckBox, QPushButton, QWidget

import napari_exo2micro
from napari_exo2micro.core.parameters import State
from napari_exo2micro.core.pipeline import RunResult
from napari_exo2micro.plugin.workbench.status import summary_words
from napari_exo2micro.plugin.workbench.workbench import (
    BoundaryDock,
    DifferenceDock,
    InteriorDock,
    PaddingDock,
    Workbench,
)

PAGE = Path(__file__).parents[2] / "docs" / "start" / "napari.md"
MANIFEST = Path(napari_exo2micro.__file__).parent / "napari.yaml"

#: What the page sets in bold: words of the window, but for the one image it explains.
MENU = "Plugins → Exo2Micro → "
ON_THE_WORKBENCH = {
    "Try it with a simulated section",
    "Run all",
    "Abort",
    "Open the folder",
}
ON_A_STAGE_DOCK = {"Run this stage", "Abort"}
BOX = "Live preview"
VERDICTS = {
    "Complete: every stage vouches for its result.": State.DONE,
    "Done, but look at the result": State.DEGRADED,
}
TABS = ["Padding", "Boundary", "Interior", "Scale", "Microbes"]
EXPLAINED = {"difference"}


def bold() -> set[str]:
    text = PAGE.read_text("utf-8")
    return {
        " ".join(found.split()) for found in re.findall(r"\*\*(.+?)\*\*", text, re.S)
    }


def in_menus() -> set[str]:
    return {words.removeprefix(MENU) for words in bold() if words.startswith(MENU)}


def texts(widget: QWidget, kind: type[QPushButton] | type[QCheckBox]) -> list[str]:
    return [one.text() for one in widget.findChildren(kind)]


@pytest.fixture
def bench(viewer, qtbot) -> Workbench:
    made = Workbench(viewer)
    qtbot.addWidget(made)
    return made


def test_no_other_words_are_bold():
    menus = {MENU + words for words in in_menus()}
    buttons = ON_THE_WORKBENCH | ON_A_STAGE_DOCK
    assert bold() - menus == buttons | {BOX} | set(VERDICTS) | set(TABS) | EXPLAINED


def test_the_menu_has_the_panels():
    manifest = PluginManifest.from_file(MANIFEST)
    assert manifest.display_name == "Exo2Micro"
    titles = [one.display_name for one in manifest.contributions.widgets]
    assert "Stage 2: ..." in in_menus()
    for words in in_menus() - {"Stage 2: ..."}:
        assert words in titles
    assert any(title.startswith("Stage 2: ") for title in titles)


def test_the_workbench_has_its_buttons_and_tabs(bench):
    assert set(texts(bench, QPushButton)) >= ON_THE_WORKBENCH
    for index, name in enumerate(TABS):  # in front each has its name, however narrow
        bench.tabs.setCurrentIndex(index)
        assert bench.tabs.tabText(index).split()[-1] == name
    assert bench.tabs.count() == len(TABS)
    assert BOX in texts(bench, QCheckBox)


@pytest.mark.parametrize(
    "dock", [PaddingDock, BoundaryDock, InteriorDock, DifferenceDock]
)
def test_a_panel_of_one_stage_runs_that_stage_only(dock, viewer, qtbot):
    panel = dock(viewer).native
    qtbot.addWidget(panel)
    buttons = texts(panel, QPushButton)
    assert set(buttons) >= ON_A_STAGE_DOCK
    assert "Run all" not in buttons


def test_a_panel_of_one_stage_has_the_live_preview(viewer, qtbot):
    panel = BoundaryDock(viewer).native
    qtbot.addWidget(panel)
    assert BOX in texts(panel, QCheckBox)


@pytest.mark.parametrize(("words", "state"), VERDICTS.items())
def test_the_answer_below_the_bar_is_that_of_the_page(words, state):
    assert summary_words(RunResult("Rock", "DAPI", state), 5).startswith(words)
