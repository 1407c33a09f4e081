"""The plots of a pair: drawn by stage 4, or on demand from the results on disk."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from napari_exo2micro.core.alignment import error_map_from_details
from napari_exo2micro.core.base import Monitor, errors, files
from napari_exo2micro.core.images import Frame, Transform, io, reduce_image
from napari_exo2micro.core.parameters import STAGES, State, format_value
from napari_exo2micro.core.photometry import ScaleEstimate, methods, statistics
from napari_exo2micro.core.pipeline import difference
from napari_exo2micro.core.pipeline.difference import AlignedPair, Differences
from napari_exo2micro.core.plotting import DIAGNOSTICS, Diagnostic, registry
from napari_exo2micro.core.plotting.context import PlotContext
from napari_exo2micro.core.store import CheckpointStatus, CheckpointStore, checkpoints

logger = logging.getLogger(__name__)

_UNCOUNTED: Final = "the counts that the plot shows are missing or were changed"

_REDUCED_SIDE: Final = 1024
"""Longest side of the images that a provisional scale is estimated on, px."""


@dataclass(frozen=True, slots=True)
class _Plot:
    """A picture of stage 4: its file's stem, what draws it, and of which difference."""

    name: str
    diagnostic: Diagnostic
    title: str
    image: str = "difference"


def _plots(store: CheckpointStore) -> list[_Plot]:
    """Return every plot that the parameters ask for, in the order of drawing."""
    plots = [_Plot(name, entry, entry.title) for name, entry in DIAGNOSTICS.items()]
    picture, params = DIAGNOSTICS["difference_image"], store.params
    for method in methods.scales_asked_for(params, store.proven_scales()).values():
        image = method.image_name(params)
        if image == "difference":
            continue
        title = "manual scale" if method.name == "manual" else method.title
        if method.value_mark:
            title += f" {format_value(params[method.parameter])}"
        name = image.replace("difference", "difference_image", 1)
        plots.append(_Plot(name, picture, f"{picture.title}, {title}", image))
    return plots


# What plots are given -------------------------------------------------------------


def plot_context(
    store: CheckpointStore,
    known: AlignedPair | Differences,
    image: str = "difference",
) -> PlotContext:
    """Return what plots are given: of the alignment, and of stage 4 where it is known.

    Raises
    ------
    CheckpointError
        When the difference image that is shown is missing or stale.
    """
    pair = known.pair if isinstance(known, Differences) else known
    boundary = pair.boundary.details
    interior = pair.pre.details if pair.stage == 3 else {}
    coarse = boundary.get("coarse_matrix")
    down_scale = store.params["down_scale"]
    assert isinstance(down_scale, float)
    context = PlotContext(
        raw_pre=pair.raw_pre.image,
        post_frame=pair.post.frames["post"],
        pre_frame=pair.raw_pre.frames["pre"],
        post_missing=pair.post_missing,
        pre_missing=pair.pre_missing,
        pixel_size=pair.post.provenance.pixel_size if pair.post.provenance else None,
        coarse_transform=Transform(coarse) if coarse else None,
        icp_transform=pair.boundary.transform,
        final_transform=pair.pre.transform,
        post_contour=boundary.get("post_contour"),
        pre_contour=boundary.get("pre_contour"),
        matches=interior.get("matches"),
        tiles=interior.get("tiles"),
        error_map=error_map_from_details(interior),
        aligned_stage=pair.stage,
        down_scale=down_scale,
        params=store.params,
        verdicts=dict(pair.pre.verdicts),
    )
    if isinstance(known, AlignedPair):
        return context
    shown, model = store.need(4, image), known.scales.get(methods.MODEL_SCALE)
    of_model = model is not None and image == f"difference_{methods.MODEL_SCALE}"
    # Its scale is the Moffat fit's: a line of its own in other plots tells nothing.
    scales = [s for s in known.scales.values() if (s is model) == of_model]
    stored = shown.provenance.scale if shown.provenance else None
    return replace(
        context,
        statistics=known.statistics,
        scales=scales,
        scale=stored.value if stored else scales[0].scale,
        offset=stored.offset if stored else scales[0].offset,
        difference=shown.image,
        verdicts=dict(store.need(4, "difference").verdicts),
    )


def provisional_scale(pair: AlignedPair) -> ScaleEstimate:
    """Return a scale good enough for a picture, from reduced images.

    Raises
    ------
    RegistrationError
        When the two images cannot be compared.
    """
    post, factor = reduce_image(pair.post.image, max_side=_REDUCED_SIDE)
    pre, _ = reduce_image(pair.pre.image, factor=factor)
    quad = pair.quad
    if quad is not None:
        # Pixel centres are at integers: block k covers k * factor + (factor - 1) / 2.
        quad = (quad - (factor - 1) / 2) / factor
    frame = _reduced(pair.post.frames["post"], factor)
    gaps = [
        None if mask is None else np.ceil(reduce_image(mask, factor=factor)[0])
        for mask in (pair.post_missing, pair.pre_missing)
    ]
    return methods.estimate_scale(
        statistics.accumulate_statistics(
            post,
            pre,
            post_frame=frame,
            pre_quad=quad,
            post_missing=gaps[0],
            pre_missing=gaps[1],
        )
    )


def _reduced(frame: Frame | None, factor: int) -> Frame | None:
    """Return the whole blocks inside a frame."""
    if frame is None:
        return None
    x0, y0 = -(-frame[0] // factor), -(-frame[1] // factor)
    x1, y1 = (frame[0] + frame[2]) // factor, (frame[1] + frame[3]) // factor
    return x0, y0, max(x1 - x0, 1), max(y1 - y0, 1)


# In a run -------------------------------------------------------------------------


def plot_status(store: CheckpointStore) -> list[CheckpointStatus]:
    """Return for every plot whether it shows the present results."""
    record = difference.find_record(store)
    lines = []
    for plot in _plots(store):
        path = store.output_path(plot.name)
        state, reason = State.VALID, ""
        if record and plot.name in record.failed:
            state, reason = State.FAILED, record.failed[plot.name]
        elif not path.is_file():
            state = State.MISSING
        elif record is None or plot.name not in record.drawn:
            state, reason = State.STALE, "it was drawn from other results"
        elif not record.shows(plot.name, path):
            state, reason = State.STALE, f"{path.name}: {io.CHANGED}"
        elif not record.has_statistics():
            state, reason = State.STALE, f"{record.statistics_path.name}: {_UNCOUNTED}"
        lines.append(CheckpointStatus(4, plot.name, "plot", state, reason, path))
    return lines


def draw_plots(store: CheckpointStore, known: Differences, monitor: Monitor) -> None:
    """Draw the plots that are missing or not among those of the record.

    One that fails is noted with its reason: the run is for the difference.
    """
    plots, record, new = _plots(store), replace(known.record, failed={}), list[Path]()
    contexts = dict[str, PlotContext]()  # to judge what a plot shows reads headers
    for index, plot in enumerate(plots):
        path = store.output_path(plot.name)
        if record.shows(plot.name, path):
            continue
        monitor.report(index / len(plots), f"drawing {plot.name}")
        drawn = {name: sum_ for name, sum_ in record.drawn.items() if name != plot.name}
        if plot.image not in contexts:
            contexts[plot.image] = plot_context(store, known, plot.image)
        context = contexts[plot.image]
        try:
            _draw(store, plot, known.pair, context, path)
        except errors.CancelledError:
            raise
        except errors.Exo2MicroError as error:
            if isinstance(error, errors.CheckpointError):
                raise  # the plot is not to blame
            logger.warning("%s", error)
            failed = {**record.failed, plot.name: str(error)}
            record = replace(record, drawn=drawn, failed=failed)
        else:
            new.append(path)
            record = replace(record, drawn={**drawn, plot.name: files.digest_of(path)})
        # Each picture counts from now on, whatever becomes of the next one.
        record.write()
    store.written += new
    if new:
        logger.info("drawn: %d pictures in %s", len(new), new[0].parent.name)


def _draw(
    store: CheckpointStore,
    plot: _Plot,
    pair: AlignedPair,
    context: PlotContext,
    path: Path | None = None,
) -> Figure:
    return registry.draw_diagnostic(
        plot.diagnostic,
        pair.post.image,
        pair.pre.image,
        context,
        sample=store.sample,
        dye=store.dye,
        save_path=path,
    )


# On demand ------------------------------------------------------------------------


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
        What to run where it is not ready; of a plot that is, what to know, such as
        why the last run could not draw it.
    """

    name: str
    title: str
    stage: int
    caption: str
    good: str
    bad: str
    state: str
    note: str = ""


def available_figures(task: checkpoints.HasStore) -> list[FigureEntry]:
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
    entries = [entry for entry, _ in _entries(task.store)]
    return sorted(entries, key=lambda entry: entry.stage)


def draw_figure(
    task: checkpoints.HasStore,
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
    store, monitor = task.store, monitor or Monitor()
    monitor.report(0.0, "reading the results")
    entries = {entry.name: (entry, plot) for entry, plot in _entries(store)}
    if name not in entries:
        names = ", ".join(entry.name for entry in available_figures(task))
        raise errors.ParameterError(f"no plot is called {name!r}; there are: {names}")
    entry, plot = entries[name]
    if entry.state != "ready":
        raise errors.CheckpointError(f"'{entry.title}': {entry.note}")
    pair = difference.find_aligned_pair(store)
    known = difference.stored_differences(store) if pair.stage == 3 else None
    if known is not None:
        context = plot_context(store, known, plot.image)
    else:
        scale = provisional_scale(pair)
        context = plot_context(store, pair)
        context = replace(context, scale=scale.scale, offset=scale.offset)
    monitor.report(0.5, "drawing")
    return _draw(store, plot, pair, replace(context, narrow=narrow))


def _entries(store: CheckpointStore) -> Iterator[tuple[FigureEntry, _Plot]]:
    """Yield every plot in the order of the registry."""
    lines = {stage: store.status(stage, "pre") for stage in (2, 3)}
    images = {name: store.status(4, name) for name in store.names(4)}
    reached = 3 if lines[3].state == State.VALID else 2
    counted = difference.valid_record(store) is not None
    failures = {
        line.name: line.reason
        for line in plot_status(store)
        if line.state == State.FAILED
    }
    for plot in _plots(store):
        diagnostic = plot.diagnostic
        stage = diagnostic.stage
        line = lines.get(stage) or images[plot.image]
        state, note = "ready", failures.get(plot.name, "")
        if line.state != State.VALID:
            state, note = str(line.state), _what_to_run(line)
        elif stage == 4 and not counted:
            state, note = "stale", "Its statistics are lost: run stage 4 again."
        elif stage == 2 and reached == 2 and not note:
            note = "Shows the alignment after stage 2: stage 3 has no valid result yet."
        entry = FigureEntry(
            plot.name,
            plot.title,
            stage,
            diagnostic.caption,
            diagnostic.good,
            diagnostic.bad,
            state,
            note,
        )
        yield entry, plot


def _what_to_run(line: CheckpointStatus) -> str:
    name = f"stage {line.stage} ({STAGES[line.stage].title})"
    if line.state == State.MISSING:
        return (
            f"{name} has no result for the present settings: run it first.".capitalize()
        )
    return f"The result of {name} is not valid any more ({line.reason}): run it again."
