"""The documentation calls plots, parameters and buttons what the window calls them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from napari_exo2micro.core.parameters.parameters import PARAMETERS
from napari_exo2micro.core.plotting.registry import BUILT_IN_DIAGNOSTICS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "napari_exo2micro"
NAMES = {entry.name for entry in PARAMETERS}
MANIFEST = yaml.safe_load((SOURCE / "napari.yaml").read_text("utf-8"))["contributions"]

# What a person at the window reads; pages for programmers use the names of scripts.
WINDOW_PAGES = [
    DOCS / "troubleshooting.md",
    *(DOCS / "troubleshooting" / f"{name}.md" for name in ("alignment", "difference")),
    *sorted((DOCS / "concepts").glob("*.md")),
    DOCS / "diagnostics.md",
    DOCS / "looking_closer.md",
]
_CODE = re.compile(r"(\{parameter\})?(?<!`)`(\w+)`(?!`)")
# Messages are shown as the program says them, with the names of scripts.
_MESSAGE = re.compile(r"^- `.*$", re.MULTILINE)
_PLOTS = re.compile(r"\bplots? ((?:\*[^*]+\*(?:,? and |, )?)+)")


def words(path: Path) -> str:
    """Return the text of a page without messages, its lines joined."""
    return " ".join(_MESSAGE.sub("", path.read_text("utf-8")).split())


@pytest.mark.parametrize("path", WINDOW_PAGES, ids=lambda path: path.name)
def test_a_parameter_stands_with_its_label(path: Path) -> None:
    text = words(path).replace("such as `fine_ecc`", "")  # what a name looks like
    for role, name in _CODE.findall(text):
        if role:
            assert name in NAMES, f"no parameter is called {name}"
        else:
            assert name not in NAMES, f"write {{parameter}}`{name}`: with its label"


def test_labels_are_used_on_the_pages_about_trouble() -> None:
    text = words(DOCS / "troubleshooting" / "alignment.md")
    named = {name for role, name in _CODE.findall(text) if role}
    assert {"orientation_search", "interior_blur_base"} <= named


def test_plots_are_named_by_their_titles() -> None:
    titles = {plot.title for plot in BUILT_IN_DIAGNOSTICS}
    named = [
        name
        for path in DOCS.rglob("*.md")
        for group in _PLOTS.findall(words(path))
        for name in re.findall(r"\*([^*]+)\*", group)
    ]
    assert {"Alignment step by step", "Ratio and scale"} <= set(named)
    assert set(named) <= titles


def test_the_page_on_looking_closer_names_what_the_window_has() -> None:
    text = words(DOCS / "looking_closer.md")
    plugin = "\n".join(
        path.read_text("utf-8") for path in SOURCE.rglob("plugin/**/*.py")
    )
    buttons = {name for name in re.findall(r"\*\*([^*]+)\*\*", text) if "→" not in name}
    assert len(buttons) > 15
    missing = {name for name in buttons if f'"{name}"' not in plugin} - {
        "Exo2Micro",
        "OK",
    }
    assert not missing
    headings = re.findall(r"^## (.+)$", (DOCS / "looking_closer.md").read_text(), re.M)
    panels = [widget["display_name"] for widget in MANIFEST["widgets"]]
    assert headings[-1] == "Settings of the plugin"
    assert set(headings[:-1]) <= set(panels)


def test_the_page_on_looking_closer_lists_every_setting() -> None:
    text = (DOCS / "looking_closer.md").read_text("utf-8")
    settings = MANIFEST["configurations"]["defaults"]["properties"].values()
    listed = re.findall(r"^\| \*(.+?)\* \|", text, re.MULTILINE)
    assert listed == [setting["title"] for setting in settings]
