"""The verbs on one sample and dye: run, status, compare, survey, info, demo."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_exo2micro.cli import options, output
from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import CheckpointError, RawFileNotFoundError
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, STAGES, State

if TYPE_CHECKING:
    from napari_exo2micro.core.batch import DemoResult
    from napari_exo2micro.core.images import Raster
    from napari_exo2micro.core.pipeline import RunResult, SampleDye
    from napari_exo2micro.core.raw import ChannelSurvey, PairProposal


def run(
    *,
    task: SampleDye,
    from_stage: options.FromStage = None,
    to_stage: options.ToStage = None,
    force: options.Force = False,
    verify: options.Verify = False,
    as_json: options.AsJson = False,
) -> int:
    """Process one sample and dye: from the raw files to the difference image.

    Stages whose valid checkpoints exist are not made again.
    """
    first, last = options.stage_number(from_stage), options.stage_number(to_stage)
    with output.watched(f"{task.sample} {task.dye}") as (monitor, shown):
        result = task.run(
            from_stage=first,
            to_stage=last,
            force=force,
            monitor=monitor,
            verify=verify,
        )
    if as_json:
        output.print_json(result)
    else:
        output.show_result(result, already_shown=shown)
    return _exit_code(result)


def microbes(*, task: SampleDye, as_json: options.AsJson = False) -> int:
    """Print how many microbes stage 5 has found, and the brightest of them.

    Give the same parameter options as for the run that is meant. All of them are in
    the files of the catalogue.
    """
    found = task.microbes()
    if as_json:
        output.print_json(found.to_dict())
    else:
        output.console().print(found)
    return output.COMPLETE


def status(
    *,
    task: SampleDye,
    verify: options.Verify = False,
    as_json: options.AsJson = False,
) -> int:
    """List the checkpoints and pictures of a run and whether they are valid.

    Give the same parameter options as for the run that is meant.
    """
    with output.notes_for_warnings():
        entries = task.status(verify=verify)
        result = task.result()
    is_whole = all(entry.state is State.VALID for entry in entries)
    verdict = result.status if is_whole else "incomplete"
    code = _exit_code(result) if is_whole else output.DEGRADED
    if as_json:
        output.print_json(
            {
                "sample": task.sample,
                "dye": task.dye,
                "status": verdict,
                "complete": code == output.COMPLETE,
                "files": entries,
            }
        )
        return code
    out = output.console()
    out.print(f"files in {task.output_dir / task.sample / task.dye}")
    out.print(entries)
    out.print(f"status  {verdict}")
    for words in _options_of_others(task):
        out.print(f"other results here: give {words} to see them")
    return code


def _options_of_others(task: SampleDye) -> list[str]:
    """Return the parameter options of other runs of this sample and dye, newest first.

    Only of finished ones, and none where the run that is asked for is finished.
    """
    from napari_exo2micro.core.store import read_result_sets

    results, _ = read_result_sets(task.store.folder)
    finished = [dict(known.parameters) for known in results if 4 in known.stages]
    if task.params in finished:
        return []
    lines = []
    for values in finished:
        changed = parameters.non_default_params(values).items()
        words = (parameters.option_words(name, value) for name, value in changed)
        line = parameters.shell_line([*itertools.chain.from_iterable(words)])
        lines.append(line or "no parameter options")
    return lines


def compare(
    *,
    task: SampleDye,
    name: Annotated[
        str, typer.Argument(help="The parameter, as 'exo2micro params' spells it.")
    ],
    values: Annotated[
        list[str],
        typer.Argument(metavar="VALUE...", help="Its values; 'none' where it may be."),
    ],
    keep: Annotated[
        bool,
        typer.Option(
            "--keep/--throw-away",
            help="Keep each value's checkpoints and pictures, or only the numbers.",
        ),
    ] = True,
    as_json: options.AsJson = False,
) -> int:
    """Run one sample and dye with several values of one parameter.

    Write '--' before values that begin with a minus sign.
    """
    parameter = name.replace("-", "_")
    if parameter not in PARAMETER_REGISTRY:
        parameters.check_parameters({parameter: None})  # says which names there are
    chosen = [
        parameters.parse_value(PARAMETER_REGISTRY[parameter], value) for value in values
    ]
    with output.watched(f"{task.sample} {task.dye}") as (monitor, _):
        results = task.compare(parameter, chosen, keep=keep, monitor=monitor)
    if as_json:
        whose = {"sample": task.sample, "dye": task.dye}
        output.print_json({**whose, "parameter": parameter, "results": results})
    else:
        output.console().print(results)
    return max(_exit_code(result) for result in results)


def _exit_code(result: RunResult) -> int:
    return output.COMPLETE if result.state is State.DONE else output.DEGRADED


# What `params` tells of each as JSON.
_OF_PARAMETER = (
    "default abbreviation stage optional minimum maximum exclusive_minimum choices "
    "unit description"
).split()


def params(*, as_json: options.AsJson = False) -> int:
    """Show the table of parameters: defaults, ranges and what they do."""
    if as_json:
        rows = {
            entry.name: {
                "type": entry.kind.__name__,
                **{name: getattr(entry, name) for name in _OF_PARAMETER},
            }
            for entry in PARAMETER_REGISTRY.values()
        }
        output.print_json({"parameters": rows})
        return output.COMPLETE
    made = output.table("parameter", "short", "default; range", "what it does")
    made.columns[0].no_wrap = made.columns[1].no_wrap = True
    for stage in STAGES.values():
        made.add_row(f"stage {stage.number}: {stage.title}", style="bold")
        for entry in PARAMETER_REGISTRY.values():
            if entry.stage == stage.number:
                made.add_row(
                    f"  {entry.name}",
                    entry.abbreviation,
                    options.default_and_limits(entry),
                    entry.description,
                )
    output.console().print(made)
    return output.COMPLETE


def survey(
    *,
    samples: Annotated[
        list[str] | None,
        typer.Argument(metavar="SAMPLE...", help="Some samples; all by default."),
    ] = None,
    raw_dir: options.RawDir = Path("raw"),
    crop: Annotated[
        int, typer.Option(metavar="PX", help="Side of the centre that is looked at.")
    ] = 1000,
    as_json: options.AsJson = False,
) -> int:
    """List the raw files: size, type and which channels carry signal.

    Reads the centre of every file. Ends with 0 when all can be used, 1 when some
    cannot, 2 when none can.
    """
    from napari_exo2micro.core.raw import diagnose_raw_layout, survey_raw_channels

    layout = diagnose_raw_layout(raw_dir)
    if not layout.is_usable:
        raise RawFileNotFoundError(layout.message)
    with output.watched("survey") as (monitor, _):
        files = survey_raw_channels(
            raw_dir, samples or None, crop=crop, monitor=monitor
        )
    if as_json:
        output.print_json({"raw_dir": raw_dir, "files": files})
    else:
        _show_survey(files)
    good = sum(not file.problem for file in files)
    if not good:
        return output.USAGE
    return output.COMPLETE if good == len(files) else output.DEGRADED


def _show_survey(files: Sequence[ChannelSurvey]) -> None:
    headings = ("sample", "file", "size, px", "mode", "channel", "mean", "max", "> 0")
    made = output.table(*headings, numbers=(2, 5, 6, 7))
    for file in files:
        row = [file.sample, file.path.name, f"{file.width} x {file.height}", file.mode]
        area = file.crop[0] * file.crop[1]
        for channel in file.channels:
            share = 100.0 * channel.nonzero / area
            figures = (f"{channel.mean:.2f}", f"{channel.maximum:g}", f"{share:.0f} %")
            made.add_row(*row, channel.name, *figures)
            row = [""] * len(row)  # only once for each file
    out = output.console()
    if made.row_count:
        out.print(made)
    for file in files:
        for text in (*file.warnings, file.problem):
            if text:
                name = "" if file.path.name in text else f"{file.path.name}: "
                out.print(f"- {file.sample}: {name}{text}")


def diagnose(
    *, raw_dir: options.RawDir = Path("raw"), as_json: options.AsJson = False
) -> int:
    """Check the raw folder's layout and every file name in it.

    Ends with 0 when all is in order, 1 when some pairs cannot be used, 2 when
    none can.
    """
    from napari_exo2micro.core.raw import diagnose_raw_layout, discover_tasks

    layout = diagnose_raw_layout(raw_dir)
    present: tuple[tuple[str, str], ...] = ()
    troubles: list[str] = [] if layout.problem is None else [layout.message]
    if layout.is_usable:
        tasks = discover_tasks(raw_dir=layout)
        present = tasks.present
        skipped = (f"{task.sample}: {task.reason}" for task in tasks.skipped)
        # The reason of a skipped pair may repeat a warning.
        troubles = list(dict.fromkeys([*tasks.warnings, *skipped]))
    code = output.USAGE
    if present:
        code = output.DEGRADED if troubles else output.COMPLETE
    if as_json:
        output.print_json(
            {
                "raw_dir": raw_dir,
                "problem": layout.problem,
                "message": layout.message,
                "pairs": [{"sample": sample, "dye": dye} for sample, dye in present],
                "empty_samples": layout.empty_samples,
                "problems": troubles,
            }
        )
        return code
    out = output.console()
    if layout.message not in troubles:
        out.print(layout.message)
    if present:
        dyes: dict[str, list[str]] = {}
        for sample, dye in present:
            dyes.setdefault(sample, []).append(dye)
        made = output.table("sample", "complete pairs")
        for sample, names in dyes.items():
            made.add_row(sample, ", ".join(names))
        out.print(made)
    for name in layout.empty_samples:
        out.print(f"- {name}: no TIFFs in it")
    for text in troubles:
        out.print(f"- {text}")
    return code


def pair(
    *,
    raw_dir: Annotated[
        Path, typer.Argument(metavar="RAW", help="The raw folder.")
    ] = Path("raw"),
    yes: Annotated[
        bool, typer.Option("--yes", help="Write what is proposed, without asking.")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Propose pairs for files of other names, and write them to pairs.csv in RAW.

    Asks before it writes; without a terminal it only shows. Ends with 0 when every
    image has a partner, 1 when some have none, 2 when none has.
    """
    from napari_exo2micro.core.raw import (
        TABLE_NAME,
        propose_pairs,
        read_pair_table,
        write_pair_table,
    )

    found = propose_pairs(raw_dir)
    asks = not (yes or as_json) and bool(found.proposed) and sys.stdin.isatty()
    if not as_json:
        _show_proposal(raw_dir, found)
    path = raw_dir / TABLE_NAME
    if asks:
        question = f"Write these {len(found.proposed)} to {path}? [y/N] "
        yes = input(question).strip().lower() in ("y", "yes")
    written = None
    if yes and found.proposed:
        rows = (*read_pair_table(raw_dir).rows, *found.proposed)
        written = write_pair_table(raw_dir, rows)
    if as_json:
        output.print_json({"raw_dir": raw_dir, "written": written, **_listed(found)})
    elif written:
        output.console().print(f"written: {written}")
    elif found.proposed:
        output.note(f"{path} is not written; --yes writes it")
    if not (found.known or found.proposed):
        return output.USAGE
    return output.DEGRADED if found.left else output.COMPLETE


def _listed(found: PairProposal) -> dict[str, Any]:
    """Return pairs and images without a partner for JSON."""
    kinds = {"known": found.known, "proposed": found.proposed}
    fields = ("sample", "dye", "post", "pre")
    return {
        **{
            kind: [{name: getattr(row, name) for name in fields} for row in rows]
            for kind, rows in kinds.items()
        },
        "left": found.left,
    }


def _show_proposal(raw_dir: Path, found: PairProposal) -> None:
    out = output.console()
    made = output.table("sample", "dye", "post-stain", "pre-stain", "")
    for rows, what in ((found.known, "known"), (found.proposed, "proposed")):
        for row in rows:
            files = (str(path.relative_to(raw_dir)) for path in row.files)
            made.add_row(row.sample, row.dye, *files, row.problem or what)
    if made.row_count:
        out.print(made)
    if not found.proposed:
        out.print(f"{raw_dir}: no further pair is suggested by the names of files")
    for path in found.left:
        out.print(f"- {path.relative_to(raw_dir)}: no partner; write a row for it")


_LONGEST = 12
_MEGA = 1e6


def info(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint, TIFF or FITS.")
    ],
    as_json: options.AsJson = False,
) -> int:
    """Show everything that a checkpoint's header says.

    Long lists, such as contours, are given in full with --json only.
    """
    from napari_exo2micro.core.images import open_raster

    if not file.is_file():
        raise CheckpointError(f"{file}: no such file; name a checkpoint, TIFF or FITS")
    raster = open_raster(file)
    header = dict(raster.header) or _cards(file)
    if as_json:
        output.print_json({"file": _facts(file, raster), "header": header})
        return output.COMPLETE
    made = output.table("", "")
    made.show_header = False
    made.columns[0].no_wrap = True
    for name, value in _facts(file, raster).items():
        made.add_row(name.replace("_", " "), str(value))
    if not header:
        made.add_row("header", "none: it is not known how this file was made")
    try:
        rows = list(_rows(header))
    except (CheckpointError, AttributeError, KeyError, TypeError):
        rows = [("header", "of another program, in a form not known here (--json)")]
    for name, value in rows:
        made.add_row(name, value)
    output.console().print(made)
    return output.COMPLETE


def _facts(file: Path, raster: Raster) -> dict[str, Any]:
    rows, columns = raster.shape
    return {
        "file": str(file),
        "size_px": f"{columns} x {rows}",
        "type": str(raster.dtype),
        "levels": raster.n_levels,
        "megabytes": round(file.stat().st_size / _MEGA, 1),
    }


def _cards(file: Path) -> dict[str, Any]:
    """Return the cards of a FITS file that has no other header."""
    if file.suffix.lower() not in (".fits", ".fit"):
        return {}
    from astropy.io import fits

    structure = ("", "SIMPLE", "BITPIX", "EXTEND", "BZERO", "BSCALE", "COMMENT")
    cards = fits.getheader(file).items()
    return {
        key: value
        for key, value in cards
        if key not in structure and not key.startswith("NAXIS")
    }


def _rows(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each entry; the parameters come last."""
    rest = dict(header)
    values = rest.pop("parameters", {})
    transform = rest.pop("transform", None)
    verdicts = rest.pop("verdicts", {})
    yield from _flat("", rest)
    if isinstance(transform, Mapping) and "matrix" in transform:
        yield from _transform_rows(transform)
    for number, verdict in verdicts.items():
        yield f"stage {number}", f"{verdict['state']} {verdict['reason']}".strip()
        for name, value in verdict["numbers"].items():
            yield "", parameters.number_words(name, value)
    for name, value in values.items():
        entry = PARAMETER_REGISTRY.get(name)
        note = "" if entry is None or value == entry.default else "  (not the default)"
        yield f"parameter {name}", f"{value}{note}"


def _transform_rows(stored: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from napari_exo2micro.core.images import Transform

    told = stored.get("displacement")
    if told:  # the file that holds it need not be here for the matrix to be told
        stored = {**stored, "version": 1}
        del stored["displacement"]
    transform = Transform.from_dict(stored)
    parts = transform.decompose()
    yield "transform", str(stored.get("direction", ""))
    for row in stored["matrix"]:
        yield "", "  ".join(f"{value:14.8g}" for value in row)
    yield (
        "",
        f"turn {parts['angle_deg']:.4f} deg, magnification {parts['scale']:.6f}"
        + (", mirrored" if parts["mirrored"] else ""),
    )
    if told:
        yield "displacement", f"by up to {told['largest']:.2f} px, in {told['file']}"
    for one in transform.displacements:
        yield "displacement", repr(one)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield name and text of an entry, or of each entry in it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{name} {key}".strip().replace("_", " "), item)
    elif isinstance(value, (list, tuple)):
        nested = any(isinstance(item, (list, tuple)) for item in value)
        if nested or len(value) > _LONGEST:
            yield name, f"{len(value)} entries (--json)"
        elif value:
            yield name, ", ".join(map(str, value))
    elif isinstance(value, float):
        yield name, f"{value:.7g}"
    elif value is not None and value != "":
        yield name, str(value)


def demo(
    *,
    folder: Annotated[
        Path, typer.Argument(help="Where to put the raw files and the results.")
    ] = Path("exo2micro-demo"),
    seed: Annotated[
        int, typer.Option(min=0, help="Another number, another section.")
    ] = 1,
    as_json: options.AsJson = False,
) -> int:
    """Simulate a section, run everything on it and compare with the truth."""
    from napari_exo2micro.core.batch import run_demo

    with output.watched("demo") as (monitor, _):
        result = run_demo(folder, seed=seed, monitor=monitor)
    if as_json:
        percent = result.scale_error_percent
        output.print_json({**output.jsonable(result), "scale_error_percent": percent})
    else:
        _show(result)
    return output.COMPLETE if result.run.state is State.DONE else output.DEGRADED


def _show(result: DemoResult) -> None:
    true, estimated = result.true_transform, result.estimated_transform
    error = result.scale_uncertainty
    scale = f"{result.estimated_scale:.4f}" + (f" ± {error:.4f}" if error else "")
    count = result.microbes
    made = output.table("", "true", "estimated", numbers=(1, 2))
    for label, name, digits in (
        ("turn, deg", "angle_deg", 3),
        ("magnification", "scale", 5),
    ):
        made.add_row(label, *(f"{it[name]:.{digits}f}" for it in (true, estimated)))
    for axis in (0, 1):
        shifts = (f"{it['shift'][axis]:.2f}" for it in (true, estimated))
        made.add_row(f"shift {'xy'[axis]}, px", *shifts)
    made.add_row("scale post / pre", f"{result.true_scale:.4f}", scale)
    made.add_row("microbes", f"{count.true}", count.counted)
    made.add_row("of them found", f"{count.true}", f"{count.found}")
    made.add_row("missed", "0", f"{count.true - count.found}")
    made.add_row("false ones counted", "0", f"{count.false}")
    output.console().print(made)
    output.print_facts(
        (
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
        )
    )
