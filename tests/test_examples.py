"""The examples of the documentation run, and print what the site shows."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLES = sorted(path.stem for path in (DOCS / "examples").glob("*.py"))
NOTEBOOKS = sorted(path.stem for path in (DOCS / "examples").glob("*.ipynb"))
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?!\w)")

pytestmark = pytest.mark.slow


def run(name: str, folder: Path) -> str:
    """Run an example as a person would, in a folder, and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(DOCS / "examples" / f"{name}.py")],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def words(text: str) -> list[str]:
    """Return the lines without their numbers; workers may end in any order."""
    return sorted(_NUMBER.sub("#", line).rstrip() for line in text.splitlines())


def numbers(text: str) -> list[float]:
    lines = sorted(text.splitlines(), key=lambda line: _NUMBER.sub("#", line))
    return [float(found) for line in lines for found in _NUMBER.findall(line)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_prints_what_the_site_shows(name: str, tmp_path: Path) -> None:
    shown = (DOCS / "examples" / "printed" / f"{name}.txt").read_text("utf-8")
    printed = run(name, tmp_path)
    assert words(printed) == words(shown)
    # Another system's libraries may round otherwise, at the edge of a microbe say.
    assert numbers(printed) == pytest.approx(numbers(shown), rel=0.03, abs=0.02)
    assert {path.name for path in tmp_path.iterdir()} <= {"exo2micro-example"}


def test_every_example_has_a_page_that_the_index_lists() -> None:
    index = (DOCS / "examples" / "index.md").read_text("utf-8")
    listed = re.findall(r"^\w+$", index.partition("toctree")[2], flags=re.MULTILINE)
    assert sorted(listed) == sorted([*EXAMPLES, *NOTEBOOKS])
    for name in EXAMPLES:
        page = (DOCS / "examples" / f"{name}.md").read_text("utf-8")
        assert f"{{literalinclude}} {name}.py" in page
        assert f"{{literalinclude}} printed/{name}.txt" in page


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that runs the examples."""
    path = DOCS / "make_example_outputs.py"
    spec = importlib.util.spec_from_file_location("make_example_outputs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(cell: Any) -> list[str]:
    """Return what a cell shows: its text, line by line, and the kinds of pictures."""
    shown = [
        output.get("data", {"stream": output.get("text")}) for output in cell.outputs
    ]
    texts = [
        text for data in shown for text in (data.get("text/plain", ""), *sorted(data))
    ]
    return words("\n".join(texts))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_shows_what_the_site_shows(
    name: str, tmp_path: Path, maker: ModuleType
) -> None:
    path = DOCS / "examples" / f"{name}.ipynb"
    kept = nbformat.read(path, as_version=4)
    run = maker.run_notebook(path, tmp_path)
    for old, new in zip(kept.cells, run.cells, strict=True):
        if old.cell_type == "code":
            assert told(old) == told(new)
    assert not any(
        output.output_type == "stream"
        for c in run.cells
        for output in c.get("outputs", ())
    )
    assert path.stat().st_size < 300_000
    assert {entry.name for entry in tmp_path.iterdir()} == {"exo2micro-example"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_short_and_says_what_it_does(name: str) -> None:
    path = DOCS / "examples" / f"{name}.py"
    text = path.read_text("utf-8")
    assert 20 <= len(text.splitlines()) <= 65
    assert text.count("# %%") >= 2
    heading = text.partition("\n")[0]
    assert heading.startswith('"""')
    assert heading.rstrip('"').endswith(".")
