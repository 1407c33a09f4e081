"""`exo2micro demo`: the whole way on a simulated section with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_exo2micro.cli.application import COMPLETE, DEGRADED
from napari_exo2micro.cli.options import AsJson
from napari_exo2micro.cli.output import (
    console,
    jsonable,
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
        percent = result.scale_error_percent
        print_json({**jsonable(result), "scale_error_percent": percent})
    else:
        _show(result)
    return COMPLETE if result.status == "complete" else DEGRADED


def _show(result: DemoResult) -> None:
    made = table("", "true", "estimated", numbers=(1, 2))
    for label, name, form in (
        ("turn, deg", "angle_deg", "{:.3f}"),
        ("magnification", "scale", "{:.5f}"),
    ):
        made.add_row(
            label,
            form.format(result.true_transform[name]),
            form.format(result.estimated_transform[name]),
        )
    for axis, label in enumerate(("shift x, px", "shift y, px")):
        made.add_row(
            label,
            f"{result.true_transform['shift'][axis]:.2f}",
            f"{result.estimated_transform['shift'][axis]:.2f}",
        )
    error = result.scale_uncertainty
    made.add_row(
        "scale post / pre",
        f"{result.true_scale:.4f}",
        f"{result.estimated_scale:.4f}" + (f" ± {error:.4f}" if error else ""),
    )
    found = result.microbes
    made.add_row("microbes", f"{found.true}", f"{found.found} found")
    made.add_row("false spots", "0", f"{found.false}")
    out = console()
    out.print(made)
    for label, text in (
        (
            "alignment",
            f"off by {result.error_median_px:.2g} px (median), "
            f"{result.error_p95_px:.2g} px (95th percentile)",
        ),
        ("scale", f"off by {result.scale_error_percent:+.2f} %"),
        ("raw files", result.raw_dir),
        ("results", result.output_dir),
        ("pictures", result.pictures_dir),
        ("status", f"{result.status}, in {result.seconds:.0f} s"),
    ):
        out.print(f"{label:<12}{text}")
