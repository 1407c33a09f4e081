"""`exo2micro batch`: many samples and dyes in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_exo2micro.cli import options, output
from napari_exo2micro.cli.options import WHAT, WHERE, option
from napari_exo2micro.core.base import RawFileNotFoundError, check_output
from napari_exo2micro.core.parameters import State

if TYPE_CHECKING:
    from napari_exo2micro.core.batch import BatchPlan
    from napari_exo2micro.core.pipeline import RunResult

_MOST_WORKERS = 4


def batch(
    *,
    raw: Annotated[
        Path,
        typer.Argument(
            metavar="RAW", help="Folder with one folder of raw TIFFs for each sample."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for checkpoints and pictures.")
    ],
    sample: Annotated[
        list[str] | None,
        option(
            WHAT,
            "NAME",
            "A sample; may be given several times. All that are found, if none.",
            *("--sample", "-s"),
        ),
    ] = None,
    dye: Annotated[
        list[str] | None,
        option(
            WHAT,
            "NAME",
            "A dye; may be given several times. All of each sample, if none.",
            *("--dye", "-d"),
        ),
    ] = None,
    strict: Annotated[
        bool,
        option(
            WHAT,
            None,
            "Pairs without files: run nothing and list them, or run the rest.",
            "--strict/--lenient",
        ),
    ] = True,
    register_on: Annotated[
        str | None,
        option(
            WHAT,
            "DYE",
            "Register this dye only; the sample's other dyes, imaged in the same "
            "session, take its transform.",
        ),
    ] = None,
    checkpoint_format: options.CheckpointFormat = "both",
    loader: options.Loader = None,
    from_stage: options.FromStage = None,
    to_stage: options.ToStage = None,
    force: options.Force = False,
    verify: options.Verify = False,
    executor: Annotated[
        str,
        option(
            WHERE,
            "KIND",
            "serial: one after the other. workers: several at once, in worker "
            "processes. dask: the workers of a scheduler.",
        ),
    ] = "workers",
    workers: Annotated[
        int | None,
        option(
            WHERE,
            "NUMBER",
            "How many tasks run at once.",
            min=1,
            show_default=f"the processors, at most {_MOST_WORKERS}",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        option(
            WHERE,
            "ADDRESS",
            "Scheduler of dask, for example tcp://192.168.1.2:8786. Without it "
            "--executor dask starts workers on this computer.",
        ),
    ] = None,
    timeout: Annotated[
        float | None, option(WHERE, "SECONDS", "End a task that takes longer.")
    ] = None,
    wait: Annotated[
        float,
        option(
            WHERE,
            "SECONDS",
            "How long to wait for a pair that another run works on.",
            min=0,
        ),
    ] = 600.0,
    force_run: Annotated[
        bool,
        option(
            WHERE, None, "Run even when memory or disk look too small.", "--force-run"
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would run and what it needs, and run nothing."
        ),
    ] = False,
    as_json: options.AsJson = False,
    parameters: Mapping[str, Any],
) -> int:
    """Process many samples and dyes: all that are found, or those that are named.

    A failed one stops no other; what is valid already is not made again. Exit code:
    0 all complete, 1 some degraded or skipped, 2 some failed, 130 stopped.
    """
    from napari_exo2micro.cli.board import watched_batch
    from napari_exo2micro.core.batch import (
        executor_kind,
        make_executor,
        plan_batch,
        run_plan,
        summarise_batch,
    )

    kind = executor_kind(executor, scheduler)
    check_output(out, raw)
    n_workers = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
    if kind == "serial":
        n_workers = 1
    plan = plan_batch(
        sample or None,
        dye or None,
        params=parameters,
        output_dir=out,
        raw_dir=raw,
        from_stage=options.stage_number(from_stage),
        to_stage=options.stage_number(to_stage),
        force=force,
        verify=verify,
        checkpoint_format=checkpoint_format,
        strict_dyes=strict and as_json,  # else they are listed here, one a line
        register_on=register_on,
        loader=loader,
        timeout_per_task=timeout,
        wait_for_lock=wait,
    )
    if strict and plan.skipped:
        _refuse(plan)
    for text in plan.warnings:
        output.note(f"warning: {text}")
    if dry_run:
        return _dry_run(plan, n_workers, as_json, here=not scheduler)
    where = make_executor(kind, n_workers=n_workers, scheduler=scheduler)
    with output.notes_for_warnings(), watched_batch() as watching:
        results = run_plan(plan, where, force_run=force_run, **watching)
    if as_json:
        summary = summarise_batch(results)
        output.print_json({"results": results, "summary": summary})
    else:
        output.console().print(results)
    return _exit_code(results)


def _refuse(plan: BatchPlan) -> None:
    """Say which pairs cannot run, and run nothing."""
    for task in plan.skipped:
        output.note(f"cannot run: {task.sentence()}")
    total = len(plan.skipped) + len(plan.tasks)
    raise RawFileNotFoundError(
        f"{len(plan.skipped)} of {total} pairs cannot run, nothing was started; put "
        "these right, or run the rest with --lenient"
    )


def _exit_code(results: Sequence[RunResult]) -> int:
    states = {result.state for result in results}
    if State.STOPPED in states:
        return output.INTERRUPTED
    if State.FAILED in states:
        return output.USAGE
    return output.COMPLETE if states <= {State.DONE} else output.DEGRADED


def _dry_run(plan: BatchPlan, n_workers: int, as_json: bool, *, here: bool) -> int:
    """Say what would run and what it needs."""
    from napari_exo2micro.core.batch import check_resources, stages_to_run

    needs = check_resources(plan.tasks, n_workers, here=here)
    rows = [(task, stages_to_run(task)) for task in plan.tasks]
    if as_json:
        output.print_json(
            {
                "tasks": [
                    {"sample": task.sample, "dye": task.dye, "stages": stages}
                    for task, stages in rows
                ],
                "skipped": plan.skipped,
                "warnings": plan.warnings,
                "needs": needs,
            }
        )
    else:
        out = output.console()
        made = output.table("sample", "dye", "stages to run")
        for task, stages in rows:
            words = ", ".join(map(str, stages)) or "none: all are valid"
            made.add_row(task.sample, task.dye, words)
        out.print(made)
        for pair in plan.skipped:
            out.print(f"skipped  {pair.sentence()}")
        for text in needs.not_estimated:
            out.print(f"not estimated  {text}")
        out.print(f"needs    {needs.summary()}")
        if needs.message:
            out.print(f"{needs.level:<8} {needs.message}")
    refused = needs.level == "too little"
    return output.DEGRADED if refused or plan.skipped else output.COMPLETE
