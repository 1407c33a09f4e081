"""Tables that a benchmark prints, and keeps when it is asked to.

`--save` writes `results/<name>.md`: the table, and on what it was measured. The
documentation and the README of this folder show these files.
"""

from __future__ import annotations

import argparse
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil

from napari_exo2micro.core.store.provenance import software_versions

RESULTS = Path(__file__).parent / "results"


class Table:
    """A Markdown table whose rows are printed as soon as they are there."""

    def __init__(self, *columns: str) -> None:
        self.lines: list[str] = []
        self._line(columns)
        self._line(["-" * max(len(column), 3) for column in columns])
        self._n_columns = len(columns)

    def add(self, *cells: str) -> None:
        """Print a row."""
        if len(cells) != self._n_columns:
            raise ValueError(f"{self._n_columns} cells are wanted, found {len(cells)}")
        self._line(cells)

    def _line(self, cells: list[str] | tuple[str, ...]) -> None:
        self.lines.append(f"| {' | '.join(cells)} |")
        print(self.lines[-1], flush=True)


def parser_of(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows `--save`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--save", action="store_true", help="keep the table in benchmarks/results"
    )
    return parser


def conditions() -> str:
    """Return when and on what it was measured; nothing that tells whose it is."""
    memory = psutil.virtual_memory().total / 1e9
    versions = ", ".join(
        f"{name} {number.split('+')[0]}" for name, number in software_versions().items()
    )
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, "
        f"{memory:.0f} GB of memory, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}."
    )


def save(name: str, table: Table, *notes: str, folder: Path = RESULTS) -> Path:
    """Write a table with its conditions to ``results/<name>.md``."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.md"
    parts = ["\n".join(table.lines), *notes, conditions()]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"written: {path}")
    return path
