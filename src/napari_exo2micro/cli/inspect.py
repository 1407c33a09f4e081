"""`exo2micro survey`, `diagnose`, `info` and `params`: what only looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_exo2micro.cli.application import COMPLETE
from napari_exo2micro.cli.options import AsJson, RawDir, default_and_limits
from napari_exo2micro.cli.output import (
    console,
    print_json,
    table,
)
from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.stages import STAGES

__all__ = ["diagnose", "info", "params", "survey"]


def params(*, as_json: AsJson = False) -> int:
    """Show the table of parameters: defaults, ranges and what they do."""
    entries = list(PARAMETER_REGISTRY.values())
    if as_json:
        rows = {
            entry.name: {
                "default": entry.default,
                "abbreviation": entry.abbreviation,
                "stage": entry.stage,
                "type": entry.kind.__name__,
                "optional": entry.optional,
                "minimum": entry.minimum,
                "maximum": entry.maximum,
                "exclusive_minimum": entry.exclusive_minimum,
                "choices": list(entry.choices),
                "unit": entry.unit,
                "description": entry.description,
            }
            for entry in entries
        }
        print_json({"parameters": rows})
        return COMPLETE
    made = table("parameter", "short", "default; range", "what it does")
    made.columns[0].no_wrap = made.columns[1].no_wrap = True
    for stage in STAGES.values():
        made.add_row(f"stage {stage.number}: {stage.title}", style="bold")
        for entry in entries:
            if entry.stage == stage.number:
                made.add_row(
                    f"  {entry.name}",
                    entry.abbreviation,
                    default_and_limits(entry),
                    entry.description,
                )
    console().print(made)
    return COMPLETE


def survey(*, raw_dir: RawDir = Path("raw"), as_json: AsJson = False) -> int:
    """List the raw files: size, type and which channels carry signal."""
    raise NotImplementedError


def diagnose(*, raw_dir: RawDir = Path("raw"), as_json: AsJson = False) -> int:
    """Check the raw folder's layout and every file name in it."""
    raise NotImplementedError


def info(
    *,
    file: Annotated[Path, typer.Argument(help="A checkpoint, TIFF or FITS.")],
    as_json: AsJson = False,
) -> int:
    """Show everything that a checkpoint's header says."""
    raise NotImplementedError
