"""The diagnostic plots of one pair, drawn from stored results without a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.figure import Figure

from napari_exo2micro.core.checkpoint import CheckpointStatus
from napari_exo2micro.core.diagnostic_context import (
    AlignedPair,
    alignment_context,
    difference_context,
    find_aligned_pair,
    provisional_scale,
)
from napari_exo2micro.core.diagnostics import draw_diagnostic
from napari_exo2micro.core.differencing import Differencing, Plot
from napari_exo2micro.core.errors import CheckpointError, ParameterError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.scale_methods import SCALE_METHODS
from napari_exo2micro.core.stages import STAGES

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["FigureEntry", "available_figures", "draw_figure"]


@dataclass(frozen=True, slots=True)
class FigureEntry:
    """A plot that can be drawn, or what to run so that it can.

    Attributes
    ----------
    name : str
        For `draw_figure`; the stem of the file that stage 4 writes.
    title : str
        A few words for a list.
    stage : int
        The first stage after which it can be drawn.
    caption, good, bad : str
        Sentences for its reader; `good` and `bad` may be empty.
    state : {'ready', 'stale', 'missing'}
        Whether the results that it shows are there.
    note : str
        What to run where it is not ready; of a plot that is, what to know.
    """

    name: str
    title: str
    stage: int
    caption: str
    good: str
    bad: str
    state: Literal["ready", "stale", "missing"]
    note: str = ""


def available_figures(task: SampleDye) -> list[FigureEntry]:
    """Return every plot of a pair by stage, and whether it can be drawn now.

    Parameters
    ----------
    task : SampleDye
        Its parameters choose the results.

    Returns
    -------
    list of FigureEntry
        Those of earlier stages first; else in the order of the registry.
    """
    work = Differencing(task)
    lines = {stage: task._status_of(stage, "pre") for stage in (2, 3)}
    reached = max(
        [stage for stage, line in lines.items() if line.state == "valid"] + [1]
    )
    images = {name: task._status_of(4, name) for name in work.checkpoint_names()}
    counted = work.has_stored_results()
    entries = []
    for plot in work.plots():
        stage = plot.diagnostic.stage
        line = lines.get(stage) or images[plot.image]
        state: Literal["ready", "stale", "missing"] = "ready"
        if line.state != "valid":
            state, note = line.state, _what_to_run(stage, line)
        elif stage == 4 and not counted:
            state, note = "stale", "Its statistics are lost: run stage 4 again."
        else:
            note = _provisional(stage, reached)
        entries.append(_entry(plot, state, note))
    return sorted(entries, key=lambda entry: entry.stage)


def draw_figure(
    task: SampleDye,
    name: str,
    *,
    narrow: bool = False,
    monitor: Monitor | None = None,
) -> Figure:
    """Draw one plot from the results on disk; nothing is run and nothing written.

    Memory stays bounded by the picture. Plots of stage 2 show the alignment as far
    as it has come, and stage 4's results once they are valid.

    Parameters
    ----------
    task : SampleDye
        Its parameters choose the results.
    name : str
        One of `available_figures`.
    narrow : bool
        A layout for a narrow place, where a plot has one.
    monitor : Monitor, optional
        Asked whether to stop, between reading and drawing.

    Returns
    -------
    Figure
        Without pyplot: safe in a worker thread.

    Raises
    ------
    ParameterError
        When there is no such plot.
    CheckpointError
        When results are missing or stale; the message says what to run.
    RegistrationError
        When a scale is needed and the two images cannot be compared.
    OutputError
        When the function of another package's plot fails.
    """
    monitor = monitor or Monitor()
    monitor.report(0.0, "reading the results")
    entries = {entry.name: entry for entry in available_figures(task)}
    if name not in entries:
        raise ParameterError(
            f"no plot is called {name!r}; there are: {', '.join(entries)}"
        )
    if entries[name].state != "ready":
        raise CheckpointError(f"'{entries[name].title}': {entries[name].note}")
    plot = next(plot for plot in Differencing(task).plots() if plot.name == name)
    pair = find_aligned_pair(task)
    context = {**_context(task, plot, pair), "narrow": narrow}
    monitor.report(0.5, "drawing")
    return draw_diagnostic(
        plot.diagnostic,
        pair.post.image,
        pair.pre.image,
        context,
        sample=task.sample,
        dye=task.dye,
    )


def _context(task: SampleDye, plot: Plot, pair: AlignedPair) -> dict[str, Any]:
    """Return all that is known, from stage 4 where it is valid."""
    work = Differencing(task)
    if pair.stage == 3 and work.has_stored_results():
        return difference_context(task, pair, *work.stored_results(), plot.image)
    scale = provisional_scale(pair)
    return {
        **alignment_context(task, pair),
        "scale": scale.scale,
        "offset": scale.offset,
    }


def _entry(
    plot: Plot, state: Literal["ready", "stale", "missing"], note: str
) -> FigureEntry:
    diagnostic = plot.diagnostic
    title = diagnostic.title
    if plot.image != "difference":
        title += f", {_scale_title(plot.image)}"
    return FigureEntry(
        name=plot.name,
        title=title,
        stage=diagnostic.stage,
        caption=diagnostic.caption,
        good=diagnostic.good,
        bad=diagnostic.bad,
        state=state,
        note=note,
    )


def _scale_title(image: str) -> str:
    """Return what sets a further difference image apart: ``percentile 99``."""
    kind = image.removeprefix("difference_")
    method = max(
        (m for m in SCALE_METHODS.values() if kind.startswith(m.name)),
        key=lambda m: len(m.name),
    )
    if method.name == "manual":
        return "manual scale"
    value = kind.removeprefix(f"{method.name}_{method.value_mark}")
    return f"{method.title} {value}" if method.value_mark else method.title


def _what_to_run(stage: int, line: CheckpointStatus) -> str:
    name = f"stage {stage} ({STAGES[stage].title})"
    if line.state == "missing":
        return (
            f"{name} has no result for the present settings: run it first.".capitalize()
        )
    return f"The result of {name} is not valid any more ({line.reason}): run it again."


def _provisional(stage: int, reached: int) -> str:
    """Return what to know of a plot of the alignment that is not the last one."""
    if stage < 3 and reached == 2:
        return "Shows the alignment after stage 2: stage 3 has no valid result yet."
    return ""
