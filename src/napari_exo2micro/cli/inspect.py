"""`exo2micro survey`, `diagnose` and `params`: what only looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_exo2micro.cli.application import COMPLETE, DEGRADED, USAGE
from napari_exo2micro.cli.options import AsJson, RawDir, default_and_limits
from napari_exo2micro.cli.output import (
    console,
    notes_for_warnings,
    print_json,
    progress,
    table,
)
from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.errors import RawFileNotFoundError
from napari_exo2micro.core.stages import STAGES

if TYPE_CHECKING:
    from napari_exo2micro.core.raw.survey import ChannelSurvey

__all__ = ["diagnose", "params", "survey"]


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


def survey(
    *,
    samples: Annotated[
        list[str] | None,
        typer.Argument(metavar="SAMPLE...", help="Some samples; all by default."),
    ] = None,
    raw_dir: RawDir = Path("raw"),
    crop: Annotated[
        int, typer.Option(metavar="PX", help="Side of the centre that is looked at.")
    ] = 1000,
    as_json: AsJson = False,
) -> int:
    """List the raw files: size, type and which channels carry signal.

    Reads the centre of every file. Ends with 0 when all can be used, 1 when some
    cannot, 2 when none can.
    """
    from napari_exo2micro.core.raw.layout import diagnose_raw_layout
    from napari_exo2micro.core.raw.survey import survey_raw_channels

    layout = diagnose_raw_layout(raw_dir)
    if not layout.is_usable:
        raise RawFileNotFoundError(layout.message)
    with notes_for_warnings(), progress("survey") as monitor:
        files = survey_raw_channels(
            raw_dir, samples or None, crop=crop, monitor=monitor
        )
    if as_json:
        print_json({"raw_dir": raw_dir, "files": files})
    else:
        _show_survey(files)
    good = sum(not file.problem for file in files)
    if not good:
        return USAGE
    return COMPLETE if good == len(files) else DEGRADED


def _show_survey(files: Sequence[ChannelSurvey]) -> None:
    made = table("sample", "file", "size, px", "mode", "channel", "mean", "max", "> 0")
    for column in (2, 5, 6, 7):
        made.columns[column].justify = "right"
    for file in files:
        row = [file.sample, file.path.name, f"{file.width} x {file.height}", file.mode]
        area = file.crop[0] * file.crop[1]
        for channel in file.channels:
            share = 100.0 * channel.nonzero / area
            figures = (f"{channel.mean:.2f}", f"{channel.maximum:g}", f"{share:.0f} %")
            made.add_row(*row, channel.name, *figures)
            row = [""] * len(row)  # only once for each file
    out = console()
    if made.row_count:
        out.print(made)
    for file in files:
        for text in (*file.warnings, file.problem):
            if text:
                name = "" if file.path.name in text else f"{file.path.name}: "
                out.print(f"- {file.sample}: {name}{text}")


def diagnose(*, raw_dir: RawDir = Path("raw"), as_json: AsJson = False) -> int:
    """Check the raw folder's layout and every file name in it.

    Ends with 0 when all is in order, 1 when some pairs cannot be used, 2 when
    none can.
    """
    from napari_exo2micro.core.raw.layout import diagnose_raw_layout, discover_tasks

    layout = diagnose_raw_layout(raw_dir)
    present: tuple[tuple[str, str], ...] = ()
    troubles: list[str] = [] if layout.problem is None else [layout.message]
    if layout.is_usable:
        tasks = discover_tasks(raw_dir=raw_dir)
        present = tasks.present
        skipped = (f"{task.sample}: {task.reason}" for task in tasks.skipped)
        # The reason of a skipped pair may repeat a warning.
        troubles = list(dict.fromkeys([*tasks.warnings, *skipped]))
    if as_json:
        print_json(
            {
                "raw_dir": raw_dir,
                "problem": layout.problem,
                "message": layout.message,
                "pairs": [{"sample": sample, "dye": dye} for sample, dye in present],
                "empty_samples": layout.empty_samples,
                "problems": troubles,
            }
        )
    else:
        _show_diagnosis(layout.message, present, layout.empty_samples, troubles)
    if not present:
        return USAGE
    return DEGRADED if troubles else COMPLETE


def _show_diagnosis(
    message: str,
    present: Sequence[tuple[str, str]],
    empty: Sequence[str],
    troubles: Sequence[str],
) -> None:
    out = console()
    if message not in troubles:
        out.print(message)
    if present:
        dyes: dict[str, list[str]] = {}
        for sample, dye in present:
            dyes.setdefault(sample, []).append(dye)
        made = table("sample", "complete pairs")
        for sample, names in dyes.items():
            made.add_row(sample, ", ".join(names))
        out.print(made)
    for name in empty:
        out.print(f"- {name}: no TIFFs in it")
    for text in troubles:
        out.print(f"- {text}")
