"""The API reference: every public name once, and nothing that does not exist."""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from napari_exo2micro import core

PAGES = sorted((Path(__file__).resolve().parent.parent / "docs" / "api").glob("*.md"))
_DIRECTIVE = re.compile(
    r"^\.\. (currentmodule|py:data|auto(?:function|class|exception)):: (\S+)$",
    flags=re.MULTILINE,
)


def documented(page: Path) -> list[tuple[str, str]]:
    """Return (module, name) of all that a page documents."""
    found, module = [], ""
    for kind, name in _DIRECTIVE.findall(page.read_text("utf-8")):
        if kind == "currentmodule":
            module = name
        else:
            found.append((module, name))
    return found


def test_every_public_name_is_documented_once() -> None:
    names = [entry for page in PAGES for entry in documented(page)]
    counts = Counter(name for module, name in names if module == core.__name__)
    assert sorted(counts) == sorted(core.__all__)
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_documented_exists(page: Path) -> None:
    for module, name in documented(page):
        assert hasattr(import_module(module), name), f"{module}.{name}"


def test_the_index_lists_every_page() -> None:
    index = next(page for page in PAGES if page.stem == "index").read_text("utf-8")
    listed = re.findall(r"^\w+$", index.rpartition("toctree")[2], flags=re.MULTILINE)
    assert sorted([*listed, "index"]) == [page.stem for page in PAGES]


@pytest.mark.parametrize("name", core.__all__)
def test_a_public_name_is_not_hidden_by_a_module(name: str) -> None:
    # A module that is imported becomes an attribute of its package.
    for module in pkgutil.iter_modules(core.__path__, f"{core.__name__}."):
        import_module(module.name)
    assert not isinstance(getattr(core, name), ModuleType)
