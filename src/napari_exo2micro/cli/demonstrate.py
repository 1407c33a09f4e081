"""`exo2micro demo`: the whole way on a simulated section with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_exo2micro.cli.application import COMPLETE, DEGRADED
from napari_exo2micro.cli.options import AsJson
from napari_exo2micro.cli.output import (
    console,
    notes_for_warnings,
    print_json,
    progress,
    table,
)

if TYPE_CHECKING:
    from napari_exo2micro.core.demo import DemoResult

__all__ = ["demo"]


def demo(
    *,
    folder: Annotated[
        Path, typer.Argument(help="Where to put the raw files and the results.")
    ] = Path("exo2micro-demo"),
    seed: Annotated[
        int, typer.Option(min=0, help="Another number, another section.")
    ] = 1,
    as_json: AsJson = False,
) -> int:
    """Simulate a section, run everything on it and compare with the truth."""
    from napari_exo2micro.core.demo import run_demo

    with notes_for_warnings(), progress("demo") as monitor:
        result = run_demo(folder, seed=seed, monitor=monitor)
    if as_json:
        print_json(result)
    else:
        _show(result)
    return COMPLETE if result.status == "complete" else DEGRADED


def _show(result: DemoResult) -> None:
    made = table("", "true", "estimated", numbers=(1, 2))
    for row in result.comparison():
        made.add_row(*row)
    out = console()
    out.print(made)
    out.print(
        f"alignment   error {result.error_median_px:.3f} px (median), "
        f"{result.error_p95_px:.3f} px (95th percentile)"
    )
    out.print(
        f"scale       {result.scale_estimated:.4f}, true {result.scale_true:.4f} "
        f"({result.scale_error_percent:+.2f} %)"
    )
    out.print(
        f"microbes    {result.microbes_found} of {result.microbes_true} found in "
        "the difference image"
    )
    out.print(f"raw files   {result.raw_dir}")
    out.print(f"pictures    {result.pictures_dir}")
    out.print(f"status      {result.status} in {result.seconds:.0f} s")
