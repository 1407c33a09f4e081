"""What stages 2, 3 and 4 would find with other parameters.

Parameters that are left out have their defaults; those of other stages are not looked
at. Where nothing is found, or a parameter does not fit, the preview's verdict is
`failed` and says why; nothing is raised but `CancelledError`, when the monitor was
asked to stop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment import BoundarySettings, InteriorSettings, interior
from napari_exo2micro.core.alignment.boundary import align_sections, coarse_patterns
from napari_exo2micro.core.base import Monitor, ParameterError, RegistrationError
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.parameters import State, Verdict, parameters
from napari_exo2micro.core.photometry import PairStatistics, ScaleEstimate
from napari_exo2micro.core.photometry.methods import (
    DEFAULT_SCALE,
    SCALE_METHODS,
    scales_asked_for,
)
from napari_exo2micro.core.pipeline import difference
from napari_exo2micro.core.preview.source import PreviewSource, ReducedImage

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline.sample_dye import SampleDye

Line = NDArray[np.float64]
Basis = Literal["stage 4", "every pixel", "sample", "nothing"]

#: Fine bins of log10(post/pre) from a hundredth to a hundred, and how many are shown.
_EDGES = np.linspace(-2.0, 2.0, 2001)
_BINS = 120
#: Nearly all pixels: ratios between these parts of them are shown, with so much room.
_LOWEST, _HIGHEST = 0.01, 0.97
_ROOM = 0.15


def _checked(params: Mapping[str, Any]) -> dict[str, parameters.ParameterValue]:
    """Return all parameters; those that are not given have their defaults."""
    return parameters.check_parameters({**parameters.default_params(), **params})


@dataclass(frozen=True, eq=False)
class BoundaryPreview:
    """What stage 2 would find.

    Attributes
    ----------
    verdict : Verdict
        What it is worth; `failed` with the reason when nothing was found.
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px of the canvas; the identity
        when nothing was found.
    method : str
        Which search it comes from; empty when nothing was found.
    reduction : float
        Full-resolution px per px of the images that were looked at. The stage looks
        at the same, so its transform is the same.
    post_outline, pre_outline : list of ndarray, each of shape (N, 2), float64
        Lines (x, y) along the outlines, full-resolution px on the post canvas:
        pre's where `transform` lays it.
    post_ring, pre_ring : ReducedImage or None
        What the coarse search compares, 0 to 1: soft rings, or the brightness when
        `use_edges` is off; pre's as `transform` lays it. None when nothing was
        found.
    """

    verdict: Verdict
    transform: Transform
    method: str = ""
    reduction: float = 1.0
    post_outline: list[Line] | None = None
    pre_outline: list[Line] | None = None
    post_ring: ReducedImage | None = None
    pre_ring: ReducedImage | None = None


def preview_boundary(
    source: PreviewSource,
    params: Mapping[str, Any],
    monitor: Monitor | None = None,
) -> BoundaryPreview:
    """Return what stage 2 would find with these parameters."""
    monitor = monitor or Monitor()
    try:
        settings = BoundarySettings.of(_checked(params))
        pair = source.sections(monitor.part(0.0, 0.4))
    except (RegistrationError, ParameterError) as error:
        verdict = Verdict(State.FAILED, str(error))
        return BoundaryPreview(verdict, Transform.identity())
    patterns = coarse_patterns(pair, settings)
    try:
        alignment = align_sections(
            pair,
            patterns,
            settings,
            monitor.part(0.4, 0.9),
            source.keep,
            source.landmarks,
        )
    except RegistrationError as error:  # of landmarks that do not fit each other
        verdict = Verdict(State.FAILED, str(error))
        return BoundaryPreview(verdict, Transform.identity())
    transform, size = alignment.transform, source.pixel_size
    post_ring, pre_ring = (
        ReducedImage(pattern.values, pattern.view.to_full) for pattern in patterns
    )
    monitor.check()
    into_post = transform.inverse()
    return BoundaryPreview(
        verdict=alignment.verdict.in_um(size.mean if size else None),
        transform=transform,
        method=alignment.method,
        reduction=pair.post.view.factor,
        post_outline=outline_lines(alignment.post_contour),
        pre_outline=[into_post(line) for line in outline_lines(alignment.pre_contour)],
        post_ring=post_ring,
        pre_ring=pre_ring.warped_onto(post_ring, transform),
    )


def outline_lines(contour: Line) -> list[Line]:
    """Return the unbroken lines of an outline (x, y), of which parts may be missing.

    Closed ones end with their first point.
    """
    if len(contour) < 3:
        return []
    steps = np.linalg.norm(np.diff(contour, axis=0), axis=1)
    gap = 4.0 * float(np.median(steps)) + 1e-9
    lines = []
    for line in np.split(contour, np.flatnonzero(steps > gap) + 1):
        if len(line) < 3:
            continue
        closed = float(np.linalg.norm(line[0] - line[-1])) <= gap
        lines.append(np.vstack([line, line[:1]]) if closed else line)
    return lines


def _no_matches() -> interior.FeatureMatches:
    none = np.empty((0, 2))
    return interior.FeatureMatches(none, none, np.zeros(0, bool))


@dataclass(frozen=True, eq=False)
class InteriorPreview:
    """What stage 3 would find, as far as reduced images tell.

    Attributes
    ----------
    verdict : Verdict
        `ok` when features vouch for the transform; `fell_back` when tiles of the
        reduced images stand in, or nothing but the start; `failed` when the interior
        speaks against the start, or nothing could be compared; `skipped` when it was
        not asked for.
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px of the canvas.
    method : {'features', 'tiles', 'initial'}
        What it rests on.
    reduction : float
        Full-resolution px per px of the images that were looked at. The stage
        refines the result on tiles at full resolution.
    matches : FeatureMatches
        The features, full-resolution px on the two canvases.
    """

    verdict: Verdict
    transform: Transform
    method: interior.Method = "initial"
    reduction: float = 1.0
    matches: interior.FeatureMatches = field(default_factory=_no_matches)


def preview_interior(
    source: PreviewSource,
    initial: Transform,
    params: Mapping[str, Any],
    monitor: Monitor | None = None,
) -> InteriorPreview:
    """Return what stage 3 would find with these parameters, at reduced size.

    `initial` is the transform of stage 2 or its preview, post to pre, full-resolution
    px.
    """
    monitor = monitor or Monitor()
    try:
        chosen = _checked(params)
        if not chosen["interior_ecc"]:
            skipped = Verdict(State.SKIPPED, "interior_ecc is off: stage 2 stands")
            return InteriorPreview(skipped, initial)
        settings = InteriorSettings.of(chosen)
        pair = source.interior()
        matching = source.matching(initial, settings, monitor.part(0.0, 0.7))
    except (RegistrationError, ParameterError) as error:
        return InteriorPreview(Verdict(State.FAILED, str(error)), initial)
    features = interior.judge_matches(pair, initial, matching, settings)
    monitor.check()
    method: interior.Method = "features"
    state, reason, transform = State.OK, "", features.transform
    correction = features.correction
    if features.problem:
        refined, problem = source.tiles(initial)
        monitor.check()
        method, transform = "initial", initial
        if problem:
            state = State.FAILED if features.contradicts else State.FELL_BACK
            reason = f"the start stands; features: {features.problem}; tiles: {problem}"
        else:
            places = pair.overlap_points(initial)
            correction = 0.0
            if len(places):
                correction = interior.largest_distance(refined, initial, places)
            if correction > settings.interior_max_correction:
                state = State.FAILED
                reason = interior.asked_too_much(correction, settings)
            else:
                method, transform, state = "tiles", refined, State.FELL_BACK
                reason = (
                    "tiles of the reduced images vouch for it; features: "
                    f"{features.problem}"
                )
    numbers = features.matches.numbers | {"correction_px": correction}
    return InteriorPreview(
        verdict=Verdict(state, reason, numbers),
        transform=transform,
        method=method,
        reduction=float(pair.factor),
        matches=features.matches,
    )


@dataclass(frozen=True, slots=True)
class ScaleLine:
    """One scale in the distribution.

    Attributes
    ----------
    method : str
        A name in `SCALE_METHODS`.
    scale : float
        Its value.
    colour : str
        As in the plots of stage 4.
    words : str
        What it is, as short as can be.
    """

    method: str
    scale: float
    colour: str
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class RatioCurve:
    """A distribution of ratios and the scales in it.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,), float64
        Edges of the bins in log10(post/pre).
    counts : ndarray, shape (n,), float64
        Pixels in each bin; not whole numbers.
    lines : tuple of ScaleLine
        The scales.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]
    lines: tuple[ScaleLine, ...]


def ratio_curve(source: PreviewSource, preview: ScalePreview) -> RatioCurve | None:
    """Return the distribution of post/pre with the scales of a preview.

    Over the range of nearly all pixels and all scales; None when nothing was counted.
    The source keeps the counts for the next time.
    """
    statistics = preview.statistics
    if statistics is None:
        return None
    from napari_exo2micro.core.plotting.style import scale_colour

    lines = tuple(
        ScaleLine(method, scale.scale, scale_colour(method), _words(scale))
        for method in SCALE_METHODS
        if (scale := preview.scales.get(method)) is not None
    )
    fine, low, high = source.keep("ratio", statistics, lambda: _count(statistics))
    places = [math.log10(line.scale) for line in lines]
    low, high = min([low, *places]), max([high, *places])
    room = max(_ROOM * (high - low), 0.02)
    first, end = np.searchsorted(_EDGES, (low - room, high + room))
    step = max(1, (end - first) // _BINS)
    end = first + (end - first) // step * step
    counts = fine[first:end].reshape(-1, step).sum(axis=1)
    return RatioCurve(_EDGES[first : end + 1 : step], counts, lines)


def _words(scale: ScaleEstimate) -> str:
    if scale.percentile is not None:
        return f"{scale.percentile:g} %"
    method = SCALE_METHODS[scale.method]
    return "Moffat" if method.name == DEFAULT_SCALE else method.title


def _count(statistics: PairStatistics) -> tuple[NDArray[np.float64], float, float]:
    """Return counts in fine bins, and the ends between which nearly all lie."""
    from napari_exo2micro.core.plotting.charts import log_ratio_counts

    fine = log_ratio_counts(statistics, _EDGES)
    total = np.cumsum(fine)
    if not total[-1] > 0:
        return fine, -0.3, 0.3
    first, last = np.searchsorted(total / total[-1], (_LOWEST, _HIGHEST))
    return fine, float(_EDGES[first]), float(_EDGES[min(last + 1, len(_EDGES) - 1)])


@dataclass(frozen=True, eq=False)
class ScalePreview:
    """What stage 4 would find.

    Attributes
    ----------
    verdict : Verdict
        That of the Moffat scale; `failed` with the reason when there is none.
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px of the canvas: as given.
    basis : {'stage 4', 'every pixel', 'sample', 'nothing'}
        What the scales are counted on: the stored statistics of stage 4, all pixels
        of a small pair, or windows at full resolution from all over a large one.
    scales : dict of ScaleEstimate
        Under ``'moffat'`` and, where they were asked for, under the names of the
        other methods.
    statistics : PairStatistics or None
        What they were estimated from.
    """

    verdict: Verdict
    transform: Transform
    basis: Basis = "nothing"
    scales: Mapping[str, ScaleEstimate] = field(default_factory=dict)
    statistics: PairStatistics | None = None


def preview_scale(
    source: PreviewSource,
    transform: Transform,
    params: Mapping[str, Any],
    *,
    statistics: PairStatistics | None = None,
    monitor: Monitor | None = None,
) -> ScalePreview:
    """Return the scales that stage 4 would find.

    A manual scale is there also where the images hardly overlap.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    transform : Transform
        Post to pre, of stage 3 or its preview, full-resolution px.
    params : mapping
        Parameters by name.
    statistics : PairStatistics, optional
        Those of stage 4 under this transform, see `stored_statistics`. Otherwise a
        sample is counted.
    """
    monitor = monitor or Monitor()
    scales: dict[str, ScaleEstimate] = {}
    problem = "the images hardly overlap: no scale can be had; check the registration"
    basis: Basis = "stage 4"
    try:
        chosen = _checked(params)
        methods = scales_asked_for(chosen)
        if "manual" in methods:  # it needs nothing that can fail
            value = chosen[methods.pop("manual").parameter]
            scales["manual"] = SCALE_METHODS["manual"].estimate(None, value)
        if statistics is None:
            basis = "every pixel" if source.is_small else "sample"
            statistics = source.statistics(
                transform, str(chosen["interpolation"]), monitor.part(0.1, 0.6)
            )
        monitor.report(0.6, "estimating the scale")
        if statistics is not None:
            for name, method in methods.items():
                if name != DEFAULT_SCALE:
                    value = chosen.get(method.parameter)
                    scales[name] = method.estimate(statistics, value)
            scales[DEFAULT_SCALE] = source.moffat(
                statistics, offset_correction=bool(chosen["offset_correction"])
            )
    except (RegistrationError, ParameterError) as error:
        problem = str(error)
    monitor.check()
    moffat = scales.get("moffat")
    return ScalePreview(
        verdict=Verdict(State.FAILED, problem) if moffat is None else moffat.verdict,
        transform=transform,
        basis="nothing" if statistics is None else basis,
        scales=scales,
        statistics=statistics,
    )


def stored_statistics(task: SampleDye, source: PreviewSource) -> PairStatistics | None:
    """Return the statistics of a pair that stage 4 has left, whatever its scales.

    Stage 3 must be valid for the parameters of `task`; those of stage 4 may differ, for
    scales do not change what was counted. None when stage 4 has not run on the present
    alignment. The source keeps them for the next time.
    """
    for record in difference.difference_records(task.store):
        statistics = source.keep("stored", record.digest, record.statistics)
        if statistics is not None:
            _keep_estimate(source, statistics, record)
            return statistics
    return None


def _keep_estimate(
    source: PreviewSource,
    statistics: PairStatistics,
    record: difference.DifferenceRecord,
) -> None:
    """Have the source know the Moffat scale that stage 4 has estimated."""
    try:
        chosen = parameters.params_from_suffix(record.suffix)
    except ParameterError:
        return  # a hash: it is estimated again
    stored = next(scale for scale in record.scales if scale.is_main)
    estimate = ScaleEstimate(
        method=stored.kind,
        scale=stored.value,
        uncertainty=stored.uncertainty,
        offset=stored.offset,
        offset_uncertainty=stored.offset_uncertainty,
        verdict=stored.verdict,
    )
    correct = bool(chosen.get("offset_correction", True))
    source.keep("moffat", (statistics, correct), lambda: estimate)
