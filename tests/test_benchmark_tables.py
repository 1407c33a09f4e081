"""The tables that benchmarks keep, and the pages that show them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.md"))


@pytest.fixture
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", BENCHMARKS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line.strip("|").split("|") for line in lines]


def test_a_table_is_kept_with_what_it_was_measured_on(
    tables: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tables.Table("pair", "time")
    table.add("5000 x 6000", "10.9 s")
    printed = capsys.readouterr().out
    path = tables.save("size", table, "A note.", folder=tmp_path / "results")
    kept = path.read_text(encoding="utf-8")
    assert path == tmp_path / "results" / "size.md"
    assert kept.startswith(printed.rstrip())
    assert "| 5000 x 6000 | 10.9 s |" in kept
    assert "\n\nA note.\n\n" in kept
    assert re.search(r"Measured on \d{4}-\d\d-\d\d: \d+ cores, \d+ GB", kept)
    with pytest.raises(ValueError, match="2 cells are wanted, found 1"):
        table.add("one")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_kept_tables_are_whole_and_shown(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    rows = table_of(text)
    assert len(rows) >= 3
    assert len({len(row) for row in rows}) == 1
    assert "Measured on " in text
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert f"{{include}} ../benchmarks/results/{path.name}" in page
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert f"(results/{path.name})" in readme


def test_every_benchmark_can_keep_its_table() -> None:
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"python benchmarks/(\w+)\.py", readme))
    scripts = {path.stem for path in BENCHMARKS.glob("*.py")} - {
        "pairs",
        "tables",
        "waiting",
    }
    assert commands == scripts
    for name in scripts:
        source = (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8")
        assert "parser_of(" in source, name
        assert re.search(rf'save\(\s*"{name}', source), name
