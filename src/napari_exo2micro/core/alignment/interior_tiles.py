"""The refinement of an interior alignment on tiles at full resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.accuracy import (
    Accuracy,
    assess_accuracy,
    choose_model,
)
from napari_exo2micro.core.alignment.fit import (
    FloatArray,
    Model,
    PlaneFit,
    fit_plane_robust,
)
from napari_exo2micro.core.alignment.interior_pair import InteriorPair
from napari_exo2micro.core.alignment.tile_choice import choose_tiles
from napari_exo2micro.core.alignment.tiles import (
    BANDS,
    Band,
    TileShape,
    TileShifts,
    measure_tiles,
    tile_targets,
)
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "MIN_TILES",
    "MIN_TILE_SHARE",
    "ReducedTiles",
    "TileRefinement",
    "align_reduced_tiles",
    "refine_on_tiles",
]

#: Fewer tiles than this that agree prove nothing.
MIN_TILES = 12
#: Nor does a smaller part of the tiles that were tried, unless features vouch for
#: the start: then the others may lie on bare glass.
MIN_TILE_SHARE = 0.2

_COUNT = 300
_COARSE_COUNT = 160
_PROBES = 48
#: Error of a tile beyond its noise (interpolation, microbes), px.
_TILE_FLOOR = 0.01
#: Tiles of less weight in the robust fit do not count as agreeing.
_AGREE = 0.3


@dataclass(frozen=True, slots=True)
class TileRefinement:
    """What the tiles say.

    Attributes
    ----------
    fit : PlaneFit or None
        The fit to the tiles, post to pre on the canvas.
    problem : str
        Why it cannot be trusted; empty when it can.
    accuracy : Accuracy or None
        How well it is known.
    measured : TileShifts
        The tiles, shifts relative to the transform before the last fit.
    used : ndarray, shape (N,), bool
        Tiles that agree with the fit.
    weights : ndarray, shape (N,), float64
        Weight in the fit, 0 to 1.
    residuals : ndarray, shape (N, 2), float64
        What the fit leaves, px of the pre image; NaN where nothing was found.
    """

    fit: PlaneFit | None
    problem: str
    accuracy: Accuracy | None
    measured: TileShifts
    used: NDArray[np.bool_]
    weights: FloatArray
    residuals: FloatArray


def _tile_shape(side: int) -> TileShape:
    """Return tiles that leave room for a good number of them on small images."""
    if side >= 700:
        return TileShape(96, 16)
    if side >= 300:
        return TileShape(64, 16)
    return TileShape(40, 12)


@dataclass(frozen=True, slots=True)
class ReducedTiles:
    """What tiles of the reduced images say.

    Attributes
    ----------
    transform : Transform
        Post to pre on the canvas: a similarity, to a few hundredths of a px of the
        reduced images.
    n_agreeing, n_found, n_tried : int
        Tiles that agree on it, that match anywhere, and all.
    """

    transform: Transform
    n_agreeing: int
    n_found: int
    n_tried: int

    @property
    def problem(self) -> str:
        """Why it cannot be trusted; empty when it can."""
        wanted = _tiles_wanted(self.n_tried, self.n_found, trusted=False)
        if self.n_agreeing >= wanted:
            return ""
        return (
            f"wanted {wanted} of {self.n_tried} tiles to agree, found {self.n_agreeing}"
        )


def _tiles_wanted(tried: int, found: int, *, trusted: bool) -> int:
    """Return how many tiles must agree to prove something."""
    share = 0 if trusted else int(np.ceil(MIN_TILE_SHARE * tried))
    return max(MIN_TILES, share, found // 2)


def align_reduced_tiles(
    pair: InteriorPair, start: Transform, monitor: Monitor | None = None
) -> ReducedTiles | None:
    """Refine a transform on tiles of the reduced images.

    Parameters
    ----------
    pair : InteriorPair
        The images.
    start : Transform
        Right within about 20 px of the reduced images.
    monitor : Monitor, optional
        Asked whether to stop.

    Returns
    -------
    ReducedTiles or None
        None when too few tiles agree for any transform.
    """
    monitor = (monitor or Monitor()).part(0.0, 0.0)  # asked; the bar stays
    small = pair.small_transform(start)
    frames = [(0, 0, s.shape[1], s.shape[0]) for s in (pair.post_small, pair.pre_small)]
    shape = (
        TileShape(64, 24) if min(pair.post_small.shape) >= 400 else TileShape(40, 16)
    )
    for _ in range(2):
        texture, valid = pair.warp_small(pair.pre_small, pair.canvas_transform(small))
        centres = choose_tiles(
            texture,
            valid,
            factor=1,
            core=shape.core,
            count=_COARSE_COUNT,
            monitor=monitor,
        )
        measured = measure_tiles(
            pair.post_small,
            pair.pre_small,
            small,
            centres,
            post_frame=frames[0],
            pre_frame=frames[1],
            shape=shape,
            monitor=monitor,
        )
        if np.count_nonzero(measured.found) < MIN_TILES:
            return None
        source, target, information = tile_targets(measured, small, 0.1)
        try:
            fit = fit_plane_robust(
                "similarity",
                source,
                target,
                information=information,
                mirrored=small.mirrored,
            )
        except ValueError:
            return None
        agreeing = int(np.count_nonzero(fit.weights > _AGREE))
        if agreeing < MIN_TILES:
            return None
        small = fit.transform
    found = int(np.count_nonzero(measured.found))
    canvas = pair.canvas_transform(small)
    return ReducedTiles(canvas, agreeing, found, len(centres))


def refine_on_tiles(
    pair: InteriorPair,
    start: Transform,
    *,
    trusted: bool,
    monitor: Monitor | None = None,
) -> TileRefinement:
    """Refine a transform on tiles at full resolution.

    Parameters
    ----------
    pair : InteriorPair
        The images.
    start : Transform
        Right within about 10 px, or within about 20 work px if not `trusted`.
    trusted : bool
        Whether features vouch for the start. If not, tiles of the reduced images
        come first, and a fair part of all tiles must agree.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    TileRefinement
    """
    monitor = monitor or Monitor()
    transform = start
    if not trusted:
        reduced = align_reduced_tiles(pair, start, monitor)
        transform = start if reduced is None else reduced.transform
    shape = _tile_shape(min(*pair.post_frame[2:], *pair.pre_frame[2:]))
    texture, valid = pair.warp_small(pair.pre_small, transform)
    centres = choose_tiles(
        texture,
        valid,
        factor=pair.factor,
        core=shape.core,
        count=_COUNT,
        monitor=monitor,
    )
    # The grid of the small image belongs to the frame; centres to the canvas.
    centres = np.rint(centres + pair.frame_origin)

    def measure(
        places: FloatArray,
        band: Band,
        expected: FloatArray | None = None,
        part: Monitor | None = None,
    ) -> TileShifts:
        return measure_tiles(
            pair.post_im,
            pair.pre_im,
            transform,
            places,
            post_frame=pair.post_frame,
            pre_frame=pair.pre_frame,
            shape=shape,
            band=band,
            expected=expected,
            reject_pixels=expected is not None,
            monitor=part,
        )

    probes = centres[:: max(1, len(centres) // _PROBES)]
    measured = {
        band: measure(probes, band, part=monitor.part(0.09 * n, 0.09 * (n + 1)))
        for n, band in enumerate(BANDS)
    }
    monitor.report(0.3, "matching tiles")
    band = min(BANDS, key=lambda b: _scatter(measured[b], transform))
    first = measure(centres, band, part=monitor.part(0.3, 0.6))
    fit = _rough_fit(first, transform)
    if fit is None:
        return _final_fit(pair, transform, first, shape, trusted, monitor)
    # The same pre points, seen from the new transform.
    place = transform(centres + first.shifts)
    expected = fit.transform.inverse()(place) - centres
    expected = np.where(first.found[:, None], expected, 0.0)
    transform = fit.transform
    second = measure(centres, band, expected, monitor.part(0.6, 0.9))
    return _final_fit(pair, transform, second, shape, trusted, monitor)


def _rough_fit(measured: TileShifts, transform: Transform) -> PlaneFit | None:
    count = np.count_nonzero(measured.found)
    if count < MIN_TILES:
        return None
    source, target, information = tile_targets(measured, transform, 0.05)
    model: Model = (
        "homography" if count >= 60 else "affine" if count >= 24 else "similarity"
    )
    try:
        return fit_plane_robust(
            model,
            source,
            target,
            information=information,
            mirrored=transform.mirrored,
        )
    except ValueError:
        return None


def _scatter(measured: TileShifts, transform: Transform) -> float:
    """Return how much tiles scatter about a fit, px; large when many fail."""
    found = int(np.count_nonzero(measured.found))
    fit = _rough_fit(measured, transform)
    if fit is None:
        return 1e6 - found
    lengths = np.linalg.norm(fit.residuals, axis=1)
    # Standard error of a fit to the tiles that remain.
    return float(np.median(lengths) / np.sqrt(found))


def _nothing(measured: TileShifts, problem: str) -> TileRefinement:
    count = len(measured.centres)
    return TileRefinement(
        None,
        problem,
        None,
        measured,
        np.zeros(count, bool),
        np.zeros(count),
        np.full((count, 2), np.nan),
    )


def _final_fit(
    pair: InteriorPair,
    transform: Transform,
    measured: TileShifts,
    shape: TileShape,
    trusted: bool,
    monitor: Monitor,
) -> TileRefinement:
    tried, n_found = len(measured.found), int(np.count_nonzero(measured.found))
    wanted = _tiles_wanted(tried, n_found, trusted=trusted)
    if n_found < MIN_TILES:
        return _nothing(
            measured,
            f"wanted {wanted} of {tried} tiles to agree, found {n_found} that match",
        )
    floor = _TILE_FLOOR
    source, target, information = tile_targets(measured, transform, floor)
    model: Model = "similarity"
    fit = None
    try:
        for _ in range(2):
            model = choose_model(source, target, information, transform, monitor)
            monitor.check()
            fit = fit_plane_robust(
                model,
                source,
                target,
                information=information,
                start=transform,
                mirrored=transform.mirrored,
                floor=0.01,
            )
            # What tiles scatter beyond their noise counts for all alike.
            kept = fit.weights > _AGREE
            if np.count_nonzero(kept) < MIN_TILES:
                break
            own = np.trace(np.linalg.inv(information[kept]), axis1=1, axis2=2) / 2
            scatter = float(np.median((fit.residuals[kept] ** 2).sum(axis=1)))
            excess = scatter / (2 * np.log(2.0)) - float(np.median(own)) + floor**2
            floor = float(np.sqrt(max(excess, _TILE_FLOOR**2)))
            source, target, information = tile_targets(measured, transform, floor)
    except ValueError:
        fit = None
    if fit is None:
        return _nothing(
            measured, f"wanted {wanted} of {tried} tiles to agree, found no fit"
        )
    weights = np.zeros(tried)
    weights[measured.found] = fit.weights
    residuals = np.full((tried, 2), np.nan)
    residuals[measured.found] = fit.residuals
    used = weights > _AGREE
    problem = ""
    if np.count_nonzero(used) < wanted:
        problem = (
            f"wanted {wanted} of {tried} tiles to agree, found {np.count_nonzero(used)}"
        )
    section = pair.overlap_points(fit.transform)
    if len(section) == 0:
        section = source
    accuracy = assess_accuracy(
        fit,
        source,
        target,
        information,
        section,
        apart=0.75 * shape.core,
        monitor=monitor,
    )
    return TileRefinement(fit, problem, accuracy, measured, used, weights, residuals)
