"""The contributors' page: the whole house, commands that exist, a true picture."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS, PACKAGE = ROOT / "docs", ROOT / "src" / "napari_exo2micro"
PAGE = (DOCS / "contributing.md").read_text("utf-8")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def house() -> ModuleType:
    """What the page's lists are made by."""
    pytest.importorskip("sphinx", reason="the page is made with Sphinx")
    return load(DOCS / "site" / "house.py")


def test_every_folder_and_module_is_on_the_page(house: ModuleType) -> None:
    parts = re.findall(r"^:::\{house\} (\w+)$", PAGE, flags=re.MULTILINE)
    folders = [folder for part in parts for folder in house.folders(part)]
    listed = [path for folder in folders for path in house.modules(folder)]
    wanted = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.stem != "__init__"
        and path.parent not in (PACKAGE, PACKAGE / "core", PACKAGE / "plugin")
    ]
    assert sorted(listed) == sorted(wanted)


def test_every_folder_and_module_has_a_sentence(house: ModuleType) -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(house.sentence(path)) > 15, path


def test_the_files_to_touch_exist() -> None:
    table = PAGE.partition("## Where to add something")[2].partition("## ")[0]
    named = re.findall(r"`((?:core|cli|plugin)/[\w/]+\.py)`", table)
    assert len(named) > 6
    for name in named:
        assert (PACKAGE / name).is_file(), name


def test_picture_shows_the_floors_that_there_are() -> None:
    pytest.importorskip("sphinx", reason="the picture is made with the page's parts")
    made = load(DOCS / "make_house_picture.py").picture()
    shown = (DOCS / "images" / "house.svg").read_text("utf-8")
    assert made == shown, "run: python docs/make_house_picture.py"
    assert "alignment/" in shown
    assert "workbench/" in shown


def test_commands_and_scripts_exist() -> None:
    tox = (ROOT / "tox.ini").read_text("utf-8")
    environments = set(re.findall(r"^\[testenv:(\w+)\]", tox, flags=re.MULTILINE))
    named = set(re.findall(r"`tox -e (\w+)`", PAGE))
    assert {"lint", "types", "docs", "build"} <= named
    assert {name for name in named if not name.startswith("py")} <= environments
    scripts = re.findall(r"\b(?:docs|benchmarks|tools|tests)/[\w/]+\.py\b", PAGE)
    assert len(scripts) > 5
    for script in scripts:
        assert (ROOT / script).is_file(), script
    assert (ROOT / ".ci" / "run").is_file()
    headers = (PACKAGE / "core" / "store" / "provenance.py").read_text("utf-8")
    assert "SCHEMA: Final = " in headers
