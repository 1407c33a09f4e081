"""The plots of a pair: drawn by stages 4 and 5, or on demand from results on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from matplotlib.figure import Figure

from napari_exo2micro.core.alignment import error_map_from_details
from napari_exo2micro.core.base import Monitor, errors, files
from napari_exo2micro.core.images import Frame, Transform, io, reduce_image
from napari_exo2micro.core.parameters import (
    MICROBES_STAGE,
    STAGES,
    State,
    format_value,
)
from napari_exo2micro.core.parameters.stages import DIFFERENCE_STAGE
from napari_exo2micro.core.photometry import ScaleEstimate, methods, statistics
from napari_exo2micro.core.pipeline import difference, microbes
from napari_exo2micro.core.pipeline.difference import (
    AlignedPair,
    DifferenceRecord,
    Differences,
)
from napari_exo2micro.core.plotting import DIAGNOSTICS, Diagnostic, registry
from napari_exo2micro.core.plotting.context import PlotContext
from napari_exo2micro.core.store import CheckpointStatus, CheckpointStore, checkpoints
from napari_exo2micro.core.store.provenance import digest

logger = logging.getLogger(__name__)

_UNCOUNTED: Final = "the counts that the plot shows are missing or were changed"

_RECORD: Final = "05_microbes_plots"

_REDUCED_SIDE: Final = 1024
"""Longest side of the images that a provisional scale is estimated on, px."""


@dataclass(frozen=True, slots=True)
class _Plot:
    """A picture of a run: its file's stem, what draws it, and of which difference."""

    name: str
    diagnostic: Diagnostic
    title: str
    image: str = "difference"

    @property
    def drawn_by(self) -> int:
        """The stage that draws it in a run."""
        return max(self.diagnostic.stage, DIFFERENCE_STAGE)

    def path(self, store: CheckpointStore) -> Path:
        """Return where its file is."""
        return store.output_path(self.name, stage=self.drawn_by)


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


def microbes_context(store: CheckpointStore) -> PlotContext:
    """Return what plots of stage 5 are given: of all stages.

    Their difference is that in which microbes were looked for.

    Raises
    ------
    CheckpointError
        When stage 5 has no valid result.
    """
    name, known = microbes.difference_name(store), None
    with suppress(errors.CheckpointError):  # statistics of another version
        known = difference.stored_differences(store)
    if known is not None:
        context = plot_context(store, known, name)
    else:
        shown = store.need(DIFFERENCE_STAGE, name)
        scale = shown.provenance.scale if shown.provenance else None
        context = replace(
            plot_context(store, difference.find_aligned_pair(store)),
            difference=shown.image,
            scale=scale.value if scale else None,
            offset=scale.offset if scale else None,
        )
    found, snr = microbes.microbes_of(store), store.need(MICROBES_STAGE, "snr")
    return replace(
        context,
        snr=snr.image,
        candidates=found.table,
        purity=found.purities(),
        snr_min=found.threshold,
        recovery=found.recovery,
        verdicts=dict(store.need(MICROBES_STAGE, "labels").verdicts),
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


@dataclass(frozen=True, slots=True)
class MicrobesRecord:
    """What stage 5 notes of its plots, in ``05_microbes_plots<suffix>.json``.

    Attributes
    ----------
    path, shown : Path, str
        Its file, and the digest of the results that the plots show.
    drawn, failed : mapping of str to str
        As those of `DifferenceRecord`.
    """

    path: Path
    shown: str
    drawn: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, store: CheckpointStore) -> MicrobesRecord | None:
        """Return what is noted of the present results; None without valid ones."""
        if _lacking(store) is not None:
            return None
        path = store.output_path(_RECORD, ".json", stage=MICROBES_STAGE)
        counted = files.digest_of(microbes.catalogue_path(store))
        empty = cls(path, digest([store.inputs(MICROBES_STAGE), counted]))
        try:
            stored = files.read_json(path)
            if stored.pop("checksum") != digest(stored):
                return empty
            if stored["shown"] != empty.shown:
                return empty
            return replace(
                empty, drawn=dict(stored["plots"]), failed=dict(stored["failed"])
            )
        except (AttributeError, LookupError, OSError, TypeError, ValueError):
            return empty

    def write(self) -> None:
        """Write the file, whole or not at all."""
        content = {
            "shown": self.shown,
            "plots": dict(sorted(self.drawn.items())),
            "failed": dict(sorted(self.failed.items())),
        }
        files.write_json(self.path, {**content, "checksum": digest(content)})

    def shows(self, plot: str, path: Path) -> bool:
        """Return whether a plot's file is the picture of these results."""
        told = self.drawn.get(plot)
        return told is not None and path.is_file() and files.digest_of(path) == told


_Record = TypeVar("_Record", DifferenceRecord, MicrobesRecord)


def _lacking(store: CheckpointStore) -> CheckpointStatus | None:
    """Return the first result of stage 5 that is not valid, None if all are."""
    lines = [store.status(MICROBES_STAGE, name) for name in store.names(MICROBES_STAGE)]
    lines.append(microbes.catalogue_status(store))
    return next((line for line in lines if line.state != State.VALID), None)


def plot_status(
    store: CheckpointStore, stage: int | None = None
) -> list[CheckpointStatus]:
    """Return for every plot, or those of a stage, whether it shows present results."""
    plots = [plot for plot in _plots(store) if stage in (None, plot.drawn_by)]
    records: dict[int, DifferenceRecord | MicrobesRecord | None] = {}
    lines = []
    for plot in plots:
        number, path = plot.drawn_by, plot.path(store)
        if number not in records:
            find = difference.find_record
            records[number] = (
                find(store) if number == DIFFERENCE_STAGE else MicrobesRecord.of(store)
            )
        state, reason = _plot_state(plot, path, records[number])
        lines.append(CheckpointStatus(number, plot.name, "plot", state, reason, path))
    return sorted(lines, key=lambda line: line.stage)


def _plot_state(
    plot: _Plot, path: Path, record: DifferenceRecord | MicrobesRecord | None
) -> tuple[State, str]:
    """Return the state of a plot's file, and why."""
    if record and plot.name in record.failed:
        return State.FAILED, record.failed[plot.name]
    if not path.is_file():
        return State.MISSING, ""
    if record is None or plot.name not in record.drawn:
        return State.STALE, "it was drawn from other results"
    if not record.shows(plot.name, path):
        return State.STALE, f"{path.name}: {io.CHANGED}"
    if isinstance(record, DifferenceRecord) and not record.has_statistics():
        return State.STALE, f"{record.statistics_path.name}: {_UNCOUNTED}"
    return State.VALID, ""


def draw_plots(store: CheckpointStore, known: Differences, monitor: Monitor) -> None:
    """Draw the plots of stage 4 that are missing or not among those of the record."""
    contexts = dict[str, PlotContext]()  # to judge what a plot shows reads headers

    def context(plot: _Plot) -> PlotContext:
        if plot.image not in contexts:
            contexts[plot.image] = plot_context(store, known, plot.image)
        return contexts[plot.image]

    _draw_missing(store, DIFFERENCE_STAGE, known.record, context, monitor)


def draw_microbes(
    store: CheckpointStore, monitor: Monitor, *, force: bool = False
) -> None:
    """Draw the plots of stage 5 that are missing or show other results, or all.

    Raises
    ------
    CheckpointError
        When stage 5 has no valid result.
    """
    record, contexts = MicrobesRecord.of(store), list[PlotContext]()
    if record is None:
        raise errors.CheckpointError("stage 5 has no valid result; run it again")
    if force:
        record = replace(record, drawn={})

    def context(_plot: _Plot) -> PlotContext:
        if not contexts:
            contexts.append(microbes_context(store))
        return contexts[0]

    _draw_missing(store, MICROBES_STAGE, record, context, monitor)


def _draw_missing(
    store: CheckpointStore,
    stage: int,
    record: _Record,
    context_of: Callable[[_Plot], PlotContext],
    monitor: Monitor,
) -> None:
    """Draw the plots of a stage that its record does not have.

    One that fails is noted with its reason: the run is for the numbers and images.
    """
    plots = [plot for plot in _plots(store) if plot.drawn_by == stage]
    record, new = replace(record, failed={}), list[Path]()
    pair = difference.find_aligned_pair(store)
    for index, plot in enumerate(plots):
        path = plot.path(store)
        if record.shows(plot.name, path):
            continue
        monitor.report(index / len(plots), f"drawing {plot.name}")
        drawn = {name: sum_ for name, sum_ in record.drawn.items() if name != plot.name}
        context = context_of(plot)
        try:
            _draw(store, plot, pair, context, path)
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
        if record.path not in store.written:
            store.written.append(record.path)
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
        For `draw_figure`; the stem of the file that a run writes.
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
    as it has come, and stage 4's results once they are valid; those of stage 5 show
    its results alone.

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
    if plot.drawn_by == MICROBES_STAGE:
        context = microbes_context(store)
    elif pair.stage == 3 and (known := difference.stored_differences(store)):
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
    lacking = _lacking(store)
    failures = {
        line.name: line.reason
        for line in plot_status(store)
        if line.state == State.FAILED
    }
    for plot in _plots(store):
        diagnostic = plot.diagnostic
        stage = diagnostic.stage
        line: CheckpointStatus | None = lines.get(stage) or images[plot.image]
        if stage == MICROBES_STAGE:
            line = lacking
        state, note = "ready", failures.get(plot.name, "")
        if line is not None and line.state != State.VALID:
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
