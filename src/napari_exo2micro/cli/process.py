"""`exo2micro run`, `status` and `compare`: what works on one sample and dye."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_exo2micro.cli.application import COMPLETE, DEGRADED
from napari_exo2micro.cli.options import (
    AsJson,
    CheckpointFormat,
    Dye,
    Force,
    FromStage,
    Loader,
    OutputDir,
    Preset,
    RawDir,
    Sample,
    ToStage,
    parse_value,
    stage_number,
)
from napari_exo2micro.cli.output import (
    console,
    notes_for_warnings,
    print_json,
    progress,
    table,
)
from napari_exo2micro.core.defaults import PARAMETER_REGISTRY, check_parameters
from napari_exo2micro.core.folders import check_output

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["compare", "run", "status", "with_preset"]


def run(
    *,
    sample: Sample,
    dye: Dye,
    raw_dir: RawDir = Path("raw"),
    output_dir: OutputDir = Path("processed"),
    checkpoint_format: CheckpointFormat = "both",
    loader: Loader = None,
    preset: Preset = None,
    from_stage: FromStage = None,
    to_stage: ToStage = None,
    force: Force = False,
    as_json: AsJson = False,
    parameters: Mapping[str, Any],
) -> int:
    """Process one sample and dye: from the raw files to the difference image.

    Stages whose valid checkpoints exist are not made again.
    """
    parameters = with_preset(preset, parameters)
    task = _task(
        sample, dye, raw_dir, output_dir, checkpoint_format, loader, parameters
    )
    check_output(output_dir, raw_dir)
    first, last = stage_number(from_stage), stage_number(to_stage)
    with notes_for_warnings() as shown, progress(f"{sample} {dye}") as monitor:
        result = task.run(from_stage=first, to_stage=last, force=force, monitor=monitor)
    if as_json:
        print_json(result)
    else:
        from napari_exo2micro.cli.report import show_result

        show_result(result, already_shown=shown)
    return _exit_code(result)


def status(
    *,
    sample: Sample,
    dye: Dye,
    raw_dir: RawDir = Path("raw"),
    output_dir: OutputDir = Path("processed"),
    checkpoint_format: CheckpointFormat = "both",
    loader: Loader = None,
    preset: Preset = None,
    as_json: AsJson = False,
    parameters: Mapping[str, Any],
) -> int:
    """List the checkpoints and pictures of a run and whether they are valid.

    Give the same parameter options as for the run that is meant.
    """
    parameters = with_preset(preset, parameters)
    task = _task(
        sample, dye, raw_dir, output_dir, checkpoint_format, loader, parameters
    )
    with notes_for_warnings():
        entries = list(task.status())
        verdict = task.result()["status"]
    if any(entry.state != "valid" for entry in entries):
        verdict = "incomplete"
    code = COMPLETE if verdict == "complete" else DEGRADED
    if as_json:
        print_json(
            {
                "sample": sample,
                "dye": dye,
                "status": verdict,
                "complete": code == COMPLETE,
                "files": entries,
            }
        )
        return code
    out = console()
    out.print(f"files in {output_dir / sample / dye}")
    made = table("stage", "name", "kind", "state", "why")
    for entry in entries:
        kind = "picture" if entry.kind == "plot" else entry.kind
        made.add_row(str(entry.stage), entry.name, kind, entry.state, entry.reason)
    out.print(made)
    out.print(f"status  {verdict}")
    for options in _options_of_others(task):
        out.print(f"other results here: give {options} to see them")
    return code


def _options_of_others(task: SampleDye) -> list[str]:
    """Return the parameter options of other runs of this sample and dye, newest first.

    Only of finished ones, and none where the run that is asked for is finished.
    """
    from napari_exo2micro.core.recipes import changed_params, option_words, shell_line
    from napari_exo2micro.core.result_sets import read_result_sets

    folder = Path(task.output_dir) / task.sample / task.dye
    finished = [one for one in read_result_sets(folder)[0] if 4 in one.stages]
    if any(one.parameters == task.params for one in finished):
        return []
    return [
        shell_line(
            [
                word
                for name, value in changed_params(one.parameters).items()
                for word in option_words(name, value)
            ]
        )
        or "no parameter options"
        for one in finished
    ]


def compare(
    *,
    sample: Sample,
    dye: Dye,
    name: Annotated[
        str, typer.Argument(help="The parameter, as 'exo2micro params' spells it.")
    ],
    values: Annotated[
        list[str],
        typer.Argument(metavar="VALUE...", help="Its values; 'none' where it may be."),
    ],
    raw_dir: RawDir = Path("raw"),
    output_dir: OutputDir = Path("processed"),
    checkpoint_format: CheckpointFormat = "both",
    loader: Loader = None,
    preset: Preset = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep/--throw-away",
            help="Keep each value's checkpoints and pictures, or only the numbers.",
        ),
    ] = True,
    as_json: AsJson = False,
    parameters: Mapping[str, Any],
) -> int:
    """Run one sample and dye with several values of one parameter.

    Write '--' before values that begin with a minus sign.
    """
    parameter = name.replace("-", "_")
    if parameter not in PARAMETER_REGISTRY:
        check_parameters({parameter: None})  # says which names there are
    chosen = [parse_value(PARAMETER_REGISTRY[parameter], value) for value in values]
    parameters = with_preset(preset, parameters)
    task = _task(
        sample, dye, raw_dir, output_dir, checkpoint_format, loader, parameters
    )
    check_output(output_dir, raw_dir)
    with notes_for_warnings(), progress(f"{sample} {dye}") as monitor:
        results = task.compare(parameter, chosen, keep=keep, monitor=monitor)
    if as_json:
        print_json(
            {"sample": sample, "dye": dye, "parameter": parameter, "results": results}
        )
    else:
        from napari_exo2micro.cli.report import show_comparison

        show_comparison(parameter, results)
    return max(_exit_code(result) for result in results)


def with_preset(preset: Path | None, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of a preset, with those that were given instead."""
    if preset is None:
        return given
    from napari_exo2micro.core.presets import load_preset

    return {**load_preset(preset), **given}


def _task(
    sample: str,
    dye: str,
    raw_dir: Path,
    output_dir: Path,
    checkpoint_format: str,
    loader: str | None,
    parameters: Mapping[str, Any],
) -> SampleDye:
    from napari_exo2micro.core.pipeline import SampleDye

    task = SampleDye(
        sample,
        dye,
        output_dir=output_dir,
        raw_dir=raw_dir,
        checkpoint_format=checkpoint_format,
        loader=loader,
    )
    task.set_params(**parameters)
    return task


def _exit_code(result: Mapping[str, Any]) -> int:
    return COMPLETE if result["status"] == "complete" else DEGRADED
