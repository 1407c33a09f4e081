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
_LIST = re.compile(
    r"^:::\{module-list\} (\S+)\n(?::(pattern|rest): (.*)\n)?:::$", flags=re.MULTILINE
)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def listed() -> list[Path]:
    """All modules that the page's lists show."""
    pytest.importorskip("sphinx", reason="the page is made with Sphinx")
    modules = load(DOCS / "site" / "module_list.py").modules
    return [
        path
        for folder, option, patterns in _LIST.findall(PAGE)
        for path in modules(folder, **({option: patterns} if option else {}))
    ]


def test_every_module_is_on_the_page_once(listed: list[Path]) -> None:
    wanted = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.stem != "__init__" and path.parent != PACKAGE
    ]
    assert sorted(listed) == sorted(wanted)


def test_every_list_shows_something(listed: list[Path]) -> None:
    modules = load(DOCS / "site" / "module_list.py").modules
    for folder, option, patterns in _LIST.findall(PAGE):
        assert list(modules(folder, **({option: patterns} if option else {}))), folder


def test_every_module_has_a_sentence(listed: list[Path]) -> None:
    sentence = load(DOCS / "site" / "module_list.py").sentence
    for path in listed:
        assert len(sentence(path)) > 15, path


def test_picture_shows_the_folders_that_there_are() -> None:
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
    assert "SCHEMA = " in (PACKAGE / "core" / "provenance.py").read_text("utf-8")
