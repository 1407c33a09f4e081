"""Stage 4: statistics, scales, difference images and plots of an aligned pair."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from matplotlib.figure import Figure

from napari_exo2micro.core.base import errors
from napari_exo2micro.core.base.files import read_json, replace_file
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.raster import BAND_ROWS, Frame, reduce_image
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import mapped_frame
from napari_exo2micro.core.parameters.stages import STAGES
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.photometry import methods
from napari_exo2micro.core.photometry.difference import difference_bands
from napari_exo2micro.core.photometry.scale import ScaleEstimate
from napari_exo2micro.core.photometry.statistics import (
    PairStatistics,
    accumulate_statistics,
    load_statistics,
    save_statistics,
)
from napari_exo2micro.core.plotting.context import PlotContext
from napari_exo2micro.core.plotting.registry import (
    DIAGNOSTICS,
    Diagnostic,
    draw_diagnostic,
)
from napari_exo2micro.core.store.checkpoint import (
    Checkpoint,
    CheckpointStatus,
    StoredScale,
)
from napari_exo2micro.core.store.store import CheckpointStore

logger = logging.getLogger(__name__)

_REDUCED_SIDE: Final = 1024
"""Longest side of the images that a provisional scale is estimated on, px."""

_NOTABLE_SPREAD: Final = 0.03
"""Part of the minerals' brightness by which light or glow may differ untold."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedPair:
    """The checkpoints that show how well a pair is aligned.

    Attributes
    ----------
    post, raw_pre : Checkpoint
        The padded images.
    pre : Checkpoint
        The aligned pre-stain image.
    boundary : Checkpoint
        Stage 2's result, which tells the outlines.
    stage : int
        The stage that `pre` is of: 2 or 3.
    """

    post: Checkpoint
    raw_pre: Checkpoint
    pre: Checkpoint
    boundary: Checkpoint
    stage: int

    @property
    def transform(self) -> Transform | None:
        """Post to pre; None when a script aligned the image and told none."""
        return self.pre.provenance.transform if self.pre.provenance else None

    @property
    def quad(self) -> Any:
        """Where on the canvas the aligned pre image has data; see `mapped_frame`."""
        frame, transform = self.raw_pre.frames["pre"], self.transform
        if frame is None or transform is None:
            return None
        return mapped_frame(transform, frame)


def find_aligned_pair(store: CheckpointStore) -> AlignedPair:
    """Return the pair as the last stage that is valid has aligned it.

    Raises
    ------
    CheckpointError
        When stage 2 has no valid result.
    """
    boundary, interior = store.need(2, "pre"), store.find(3, "pre")
    return AlignedPair(
        post=store.need(1, "post"),
        raw_pre=store.need(1, "pre"),
        pre=boundary if interior is None else interior,
        boundary=boundary,
        stage=2 if interior is None else 3,
    )


def alignment_context(store: CheckpointStore, pair: AlignedPair) -> PlotContext:
    """Return what is known from stage 2 on, for plots."""
    stage_2 = pair.boundary.provenance
    boundary = stage_2.details if stage_2 else {}
    coarse = boundary.get("coarse_matrix")
    aligned = pair.pre.provenance
    interior = aligned.details if aligned and pair.stage == 3 else {}
    down_scale = store.params["down_scale"]
    assert isinstance(down_scale, float)
    return PlotContext(
        raw_pre=pair.raw_pre.image,
        post_frame=pair.post.frames["post"],
        pre_frame=pair.raw_pre.frames["pre"],
        coarse_transform=Transform(coarse) if coarse else None,
        icp_transform=stage_2.transform if stage_2 else None,
        final_transform=pair.transform,
        post_contour=boundary.get("post_contour"),
        pre_contour=boundary.get("pre_contour"),
        matches=interior.get("matches"),
        tiles=interior.get("tiles"),
        aligned_stage=pair.stage,
        down_scale=down_scale,
        params=store.params,
        verdicts=dict(aligned.verdicts) if aligned else {},
    )


def difference_context(
    store: CheckpointStore,
    pair: AlignedPair,
    statistics: PairStatistics,
    scales: Sequence[ScaleEstimate],
    name: str = "difference",
) -> PlotContext:
    """Return what is known after stage 4, for plots.

    Parameters
    ----------
    store, pair
        Whose results they are.
    statistics : PairStatistics
        Of the pair.
    scales : sequence of ScaleEstimate
        The default one first.
    name : str
        The difference image that is shown.

    Raises
    ------
    CheckpointError
        When a difference image is missing or stale.
    """
    main, shown = store.need(4, "difference").provenance, store.need(4, name)
    stored = shown.provenance.scale if shown.provenance else None
    return replace(
        alignment_context(store, pair),
        statistics=statistics,
        scales=scales,
        scale=stored.value if stored else scales[0].scale,
        offset=stored.offset if stored else scales[0].offset,
        difference=shown.image,
        verdicts=dict(main.verdicts) if main else {},
    )


def provisional_scale(pair: AlignedPair) -> ScaleEstimate:
    """Return a scale good enough for a picture, from reduced images.

    Stage 4 counts every pixel for the scale that is subtracted; this one shows the
    alignment before stage 4 has run.

    Raises
    ------
    RegistrationError
        When the two images cannot be compared.
    """
    post, factor = reduce_image(pair.post.image, max_side=_REDUCED_SIDE)
    pre, _ = reduce_image(pair.pre.image, factor=factor)
    quad = pair.quad
    if quad is not None:
        quad = (quad - (factor - 1) / 2) / factor
    statistics = accumulate_statistics(
        post, pre, post_frame=_reduced(pair.post.frames["post"], factor), pre_quad=quad
    )
    return methods.estimate_scale(statistics)


def _reduced(frame: Frame | None, factor: int) -> Frame | None:
    """Return the whole blocks inside a frame."""
    if frame is None:
        return None
    x0, y0 = -(-frame[0] // factor), -(-frame[1] // factor)
    x1, y1 = (frame[0] + frame[2]) // factor, (frame[1] + frame[3]) // factor
    return x0, y0, max(x1 - x0, 1), max(y1 - y0, 1)


#: The statistics that were read last, with what they were read for.
_kept: dict[str, tuple[Any, PairStatistics, list[ScaleEstimate]]] = {}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of stage 4.

    Attributes
    ----------
    name : str
        Stem of its file.
    diagnostic : Diagnostic
        What draws it.
    image : str
        The difference image that it shows.
    """

    name: str
    diagnostic: Diagnostic
    image: str = "difference"


class Differencing:
    """Stage 4 of one sample and dye.

    Parameters
    ----------
    store : CheckpointStore
        Whose stage it is.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store
        params = store.params
        self._params = params
        self._methods = methods.scales_asked_for(params)
        # Names of the difference images: the main one and those asked for.
        self._names = {
            name: method.image_name(params) for name, method in self._methods.items()
        }

    def checkpoint_names(self) -> list[str]:
        """Return the difference images that the parameters ask for."""
        return list(self._names.values())

    def is_done(self) -> bool:
        """Return whether all images and plots are valid."""
        images = all(self._is_complete(name) for name in self._names.values())
        return images and all(s.state == "valid" for s in self.plot_status())

    def _is_complete(self, name: str) -> bool:
        """Return whether a difference image is valid in each of its formats."""
        return self._store.is_valid(4, name)

    # Plots -------------------------------------------------------------------

    def plots(self) -> list[Plot]:
        """Return every plot that the parameters ask for, in the order of drawing."""
        plots = [Plot(*item) for item in DIAGNOSTICS.items()]
        pictures = DIAGNOSTICS.get("difference_image")
        for image in self._names.values():
            if image != "difference" and pictures is not None:
                kind = image.removeprefix("difference_")
                plots.append(Plot(f"difference_image_{kind}", pictures, image))
        return plots

    def plot_status(self) -> list[CheckpointStatus]:
        """Return for every plot whether it shows the present results."""
        record = self._record()
        drawn, failures = record.get("plots", []), record.get("failed", {})
        lines = []
        for name in (plot.name for plot in self.plots()):
            path = self._store.output_path(name)
            state, reason = State.VALID, ""
            if name in failures:
                state, reason = State.FAILED, str(failures[name])
            elif not path.is_file():
                state = State.MISSING
            elif name not in drawn:
                state, reason = State.STALE, "it was drawn from other results"
            lines.append(CheckpointStatus(4, name, "plot", state, reason, path))
        return lines

    @property
    def _record_path(self) -> Path:
        return self._store.output_path("04_difference_record", ".json")

    @property
    def _statistics_path(self) -> Path:
        return self._store.output_path("04_difference_statistics", ".npz")

    def _record(self) -> dict[str, Any]:
        """Return the record of the last run on these inputs, or nothing."""
        try:
            inputs = self._store.inputs(4)
            stored = read_json(self._record_path)
        except (OSError, ValueError, errors.CheckpointError):
            return {}
        if not isinstance(stored, dict) or stored.get("inputs") != inputs:
            return {}
        return stored

    def _write_record(self, record: dict[str, Any]) -> None:
        with replace_file(self._record_path) as part:
            part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        self._store.written.append(self._record_path)

    # Work --------------------------------------------------------------------

    def run(self, monitor: Monitor, *, force: bool) -> dict[str, ScaleEstimate]:
        """Make what is missing (statistics, scales, images, plots); return scales."""
        store = self._store
        store.need(3, "pre")
        pair = find_aligned_pair(store)
        record = {} if force else self._record()
        statistics = self._known_statistics(record)
        if statistics is None:
            statistics = self._count(pair, monitor.part(0.0, 0.15))
        scales = self._scales(statistics)
        for scale in scales.values():
            logger.info(
                "scale, %s: %.6g ± %.2g, offset %.3g ± %.2g grey levels; %s",
                scale.kind,
                scale.scale,
                scale.uncertainty,
                scale.offset,
                scale.offset_uncertainty,
                scale.verdict.reason or scale.verdict.state.replace("_", " "),
            )
        todo = [n for n in self._names.values() if force or not self._is_complete(n)]
        for index, (method, name) in enumerate(self._names.items()):
            if name in todo:
                part = monitor.part(
                    0.15 + 0.45 * index / len(scales),
                    0.15 + 0.45 * (index + 1) / len(scales),
                )
                self._write_difference(
                    name,
                    scales[method],
                    pair,
                    part,
                    main=method == methods.DEFAULT_SCALE,
                )
        record = {
            "inputs": store.inputs(4),
            "scales": self._compared(statistics, scales),
            "statistics": self._statistics_digest(),
            "plots": record.get("plots", []),
        }
        self._write_record(record)
        shown = list(scales.values())
        self._draw(record, pair, statistics, shown, monitor.part(0.6, 1.0))
        return scales

    def has_stored_results(self) -> bool:
        """Return whether `stored_results` has something to return, without reading."""
        known = self._is_complete("difference") and self._record().get("statistics")
        return bool(known) and self._statistics_digest() == known

    def stored_results(self) -> tuple[PairStatistics, list[ScaleEstimate]]:
        """Return the statistics of the last run and its scales, the default first.

        Raises
        ------
        CheckpointError
            When there is no valid run, or when its statistics are lost.
        """
        if not self.has_stored_results():
            raise errors.CheckpointError(
                "the statistics of stage 4 are lost; run it again"
            )
        chosen = [(m, self._params.get(m.parameter)) for m in self._methods.values()]
        key = (self._statistics_digest(), self._params["offset_correction"], *chosen)
        # One plot is looked at after the other: they share the last statistics.
        kept = _kept.get("results")
        if kept is None or kept[0] != key:
            statistics = load_statistics(self._statistics_path)
            scales = list(self._scales(statistics).values())
            kept = _kept["results"] = (key, statistics, scales)
        return kept[1], list(kept[2])

    def _statistics_digest(self) -> str:
        path = self._statistics_path
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def _known_statistics(self, record: dict[str, Any]) -> PairStatistics | None:
        """Return the statistics that belong to a record, None when they are lost."""
        known, path = record.get("statistics", ""), self._statistics_path
        if known and self._statistics_digest() == known:
            try:
                return load_statistics(path)
            except errors.CheckpointError as error:
                logger.warning("%s is made again: %s", path.name, error)
        return None

    def _count(self, pair: AlignedPair, monitor: Monitor) -> PairStatistics:
        """Count the pixels of the pair and store the statistics."""
        statistics = accumulate_statistics(
            pair.post.image,
            pair.pre.image,
            raw_pre=pair.raw_pre.image,
            raw_pre_frame=pair.raw_pre.frames["pre"],
            post_frame=pair.post.frames["post"],
            pre_quad=pair.quad,
            monitor=monitor,
        )
        path = self._statistics_path
        with replace_file(path) as part:
            save_statistics(part, statistics)
        self._store.written.append(path)
        return statistics

    def _scales(self, statistics: PairStatistics) -> dict[str, ScaleEstimate]:
        correct = bool(self._params["offset_correction"])
        return {
            name: method.estimate(
                statistics,
                self._params.get(method.parameter),
                offset_correction=correct,
            )
            for name, method in self._methods.items()
        }

    def _compared(
        self, statistics: PairStatistics, scales: dict[str, ScaleEstimate]
    ) -> list[dict[str, Any]]:
        """Return every scale that can be had, for comparison with old results."""
        estimates = dict(scales)
        for name, method in methods.SCALE_METHODS.items():
            if name in estimates or method.needs_value:
                continue
            try:
                estimates[name] = method.estimate(statistics)
            except errors.Exo2MicroError as error:  # nobody has asked for this one
                logger.warning("%s", error)
        return [
            _stored(estimate, is_main=name == methods.DEFAULT_SCALE).to_dict()
            for name, estimate in estimates.items()
        ]

    def _write_difference(
        self,
        name: str,
        scale: ScaleEstimate,
        pair: AlignedPair,
        monitor: Monitor,
        *,
        main: bool,
    ) -> None:
        store = self._store
        provenance = store.provenance(
            4,
            name,
            scale=_stored(scale, is_main=main),
            verdict=scale.verdict if main else None,
            notes=_notes(scale),
        )
        parts = difference_bands(
            pair.post.image,
            pair.pre.image,
            scale=scale.scale,
            offset=scale.offset,
            post_frame=pair.post.frames["post"],
            pre_quad=pair.quad,
            max_rows=BAND_ROWS,
        )
        store.write(provenance, pair.post.image.shape, "float32", parts, monitor)

    def _draw(
        self,
        record: dict[str, Any],
        pair: AlignedPair,
        statistics: PairStatistics,
        scales: Sequence[ScaleEstimate],
        monitor: Monitor,
    ) -> None:
        """Draw the plots that are missing or not among those of the record.

        One that fails is noted with its reason: the run is for the difference.
        """
        store, plots = self._store, self.plots()
        drawn, failed = list(record["plots"]), dict[str, str]()
        new: list[Path] = []
        for index, plot in enumerate(plots):
            path = store.output_path(plot.name)
            if plot.name in drawn and path.is_file():
                continue
            monitor.report(index / len(plots), f"drawing {plot.name}")
            context = difference_context(store, pair, statistics, scales, plot.image)
            drawn = [name for name in drawn if name != plot.name]
            try:
                draw_diagnostic(
                    plot.diagnostic,
                    pair.post.image,
                    pair.pre.image,
                    context,
                    sample=store.sample,
                    dye=store.dye,
                    save_path=path,
                )
            except errors.CancelledError:
                raise
            except errors.Exo2MicroError as error:
                failed[plot.name] = str(error)
                logger.warning("%s", error)
            else:
                store.written.append(path)
                new.append(path)
                drawn.append(plot.name)
            # Each picture counts from now on, whatever becomes of the next one.
            self._write_record({**record, "plots": drawn, "failed": failed})
        if new:
            logger.info("drawn: %d pictures in %s", len(new), new[0].parent.name)


def _notes(scale: ScaleEstimate) -> tuple[str, ...]:
    """Return what a careful reader of the difference wants to know."""
    spread = scale.verdict.numbers.get("local_spread", 0.0)
    notes = []
    if scale.method != methods.DEFAULT_SCALE and scale.verdict.state != "ok":
        notes.append(f"the {scale.kind} scale: {scale.verdict.reason}")
    if spread > _NOTABLE_SPREAD:
        notes.append(
            "the light or the glow differs from place to place by "
            f"{spread:.0%} of the minerals' brightness: one scale leaves that much "
            "background"
        )
    if scale.offset:
        notes.append(
            f"a constant offset of {scale.offset:.2f} grey levels was taken off post"
        )
    return tuple(notes)


def _stored(estimate: ScaleEstimate, *, is_main: bool) -> StoredScale:
    """Return a scale for a header."""
    return StoredScale(
        kind=estimate.kind,
        value=estimate.scale,
        uncertainty=estimate.uncertainty,
        offset=estimate.offset,
        offset_uncertainty=estimate.offset_uncertainty,
        verdict=estimate.verdict,
        is_main=is_main,
    )


class HasStore(Protocol):
    """What is asked of a `SampleDye` here."""

    @property
    def store(self) -> CheckpointStore: ...  # noqa: D102


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


def available_figures(task: HasStore) -> list[FigureEntry]:
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
    work = Differencing(task.store)
    lines = {stage: task.store.status(stage, "pre") for stage in (2, 3)}
    reached = max(
        [stage for stage, line in lines.items() if line.state == "valid"] + [1]
    )
    images = {name: task.store.status(4, name) for name in work.checkpoint_names()}
    counted = work.has_stored_results()
    failures = {
        line.name: line.reason
        for line in work.plot_status()
        if line.state == State.FAILED
    }
    entries = []
    for plot in work.plots():
        stage = plot.diagnostic.stage
        line = lines.get(stage) or images[plot.image]
        state = "ready"
        if line.state != State.VALID:
            state, note = str(line.state), _what_to_run(stage, line)
        elif stage == 4 and not counted:
            state, note = "stale", "Its statistics are lost: run stage 4 again."
        else:
            note = failures.get(plot.name) or _provisional(stage, reached)
        entries.append(_entry(plot, state, note))
    return sorted(entries, key=lambda entry: entry.stage)


def draw_figure(
    task: HasStore,
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
        raise errors.ParameterError(
            f"no plot is called {name!r}; there are: {', '.join(entries)}"
        )
    if entries[name].state != "ready":
        raise errors.CheckpointError(f"'{entries[name].title}': {entries[name].note}")
    plot = next(plot for plot in Differencing(task.store).plots() if plot.name == name)
    pair = find_aligned_pair(task.store)
    context = replace(_context(task, plot, pair), narrow=narrow)
    monitor.report(0.5, "drawing")
    post, pre = pair.post.image, pair.pre.image
    return draw_diagnostic(
        plot.diagnostic,
        post,
        pre,
        context,
        sample=task.store.sample,
        dye=task.store.dye,
    )


def _context(task: HasStore, plot: Plot, pair: AlignedPair) -> PlotContext:
    """Return all that is known, from stage 4 where it is valid."""
    work = Differencing(task.store)
    if pair.stage == 3 and work.has_stored_results():
        return difference_context(task.store, pair, *work.stored_results(), plot.image)
    scale = provisional_scale(pair)
    known = alignment_context(task.store, pair)
    return replace(known, scale=scale.scale, offset=scale.offset)


def _entry(plot: Plot, state: str, note: str) -> FigureEntry:
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
        (m for m in methods.SCALE_METHODS.values() if kind.startswith(m.name)),
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
