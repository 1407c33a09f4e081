"""The examples of the documentation run, and print what the site shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLES = sorted(path.stem for path in (DOCS / "examples").glob("*.py"))
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
    assert sorted(listed) == EXAMPLES
    for name in EXAMPLES:
        page = (DOCS / "examples" / f"{name}.md").read_text("utf-8")
        assert f"{{literalinclude}} {name}.py" in page
        assert f"{{literalinclude}} printed/{name}.txt" in page


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_short_and_says_what_it_does(name: str) -> None:
    path = DOCS / "examples" / f"{name}.py"
    text = path.read_text("utf-8")
    assert 20 <= len(text.splitlines()) <= 65
    assert text.count("# %%") >= 2
    heading = text.partition("\n")[0]
    assert heading.startswith('"""')
    assert heading.rstrip('"').endswith(".")
