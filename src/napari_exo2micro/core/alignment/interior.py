"""Stage 3: interior features, then tiles at full resolution."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.features import (
    Features,
    MatchFit,
    detect_features,
    fit_matches,
    match_features,
    stretch_for_features,
)
from napari_exo2micro.core.alignment.fit import (
    Accuracy,
    FloatArray,
    Model,
    PlaneFit,
    assess_accuracy,
    choose_model,
    fit_plane_robust,
)
from napari_exo2micro.core.alignment.tiles import (
    BANDS,
    Band,
    TileShape,
    TileShifts,
    choose_tiles,
    measure_tiles,
    tile_targets,
)
from napari_exo2micro.core.base.errors import ParameterError, RegistrationError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.raster import (
    Frame,
    ImageLike,
    Raster,
    bands,
    reduce_image,
)
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.parameters.verdict import Verdict

#: Longest side of the images that features are sought in.
_WORK_SIDE = 2400
#: Sections smaller than this are not reduced.
_SMALL_SIDE = 1200
#: Width of the section for which the blur parameter is stated.
_BLUR_WIDTH = 30000.0


def non_zero_frame(image: ImageLike, monitor: Monitor | None = None) -> Frame:
    """Return the bounding box of the pixels that are not zero.

    Parameters
    ----------
    image : ImageLike, shape (rows, cols)
        A padded canvas.
    monitor : Monitor, optional
        Asked whether to stop before each band that is read.

    Returns
    -------
    tuple of int
        x0, y0, width, height, px.

    Raises
    ------
    RegistrationError
        If all pixels are zero.
    """
    columns = np.zeros(image.shape[1], bool)
    rows = np.zeros(image.shape[0], bool)
    monitor = monitor or Monitor()
    for y0, y1 in bands(image.shape):
        monitor.check()
        band = np.asarray(image[y0:y1, 0 : image.shape[1]]) != 0
        rows[y0:y1] = band.any(axis=1)
        columns |= band.any(axis=0)
    if not rows.any():
        raise RegistrationError(
            "an image to align has no pixel above zero; check the raw file"
        )
    y, x = np.flatnonzero(rows), np.flatnonzero(columns)
    return int(x[0]), int(y[0]), int(x[-1] - x[0] + 1), int(y[-1] - y[0] + 1)


@dataclass(frozen=True, slots=True)
class InteriorPair:
    """Both images at full resolution and at work resolution.

    Attributes
    ----------
    post_im, pre_im : ImageLike
        Padded canvases.
    post_frame, pre_frame : tuple of int
        Where they have data.
    factor : int
        Full-resolution px per work px.
    post_small, pre_small : ndarray, float32
        The frames at work resolution, each cut to its own frame.
    post_to_small, pre_to_small : Transform
        From canvas px to px of the small images.
    """

    post_im: ImageLike
    pre_im: ImageLike
    post_frame: Frame
    pre_frame: Frame
    factor: int
    post_small: NDArray[np.float32]
    pre_small: NDArray[np.float32]
    post_to_small: Transform
    pre_to_small: Transform

    def blur_at_work(self, blur_base: float) -> float:
        """Return the blur in work px.

        Parameters
        ----------
        blur_base : float
            Sigma in full-resolution px on a section 30000 px wide; it shrinks
            with the section.
        """
        longest = max(*self.post_frame[2:], *self.pre_frame[2:])
        return blur_base * longest / _BLUR_WIDTH / self.factor

    def small_transform(self, transform: Transform) -> Transform:
        """Return a canvas transform as one between the small images."""
        return self.pre_to_small @ transform @ self.post_to_small.inverse()

    def canvas_transform(self, small: Transform) -> Transform:
        """Return a transform between the small images on the canvas."""
        return self.pre_to_small.inverse() @ small @ self.post_to_small

    @property
    def frame_origin(self) -> FloatArray:
        """What turns `factor` times px of the small post image into canvas px, (2,)."""
        at_zero = self.post_to_small.inverse()(np.zeros((1, 2)))[0]
        origin: FloatArray = at_zero - (0.5 * self.factor - 0.5)
        return origin

    def warp_small(
        self, image: NDArray[np.float32], transform: Transform
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return a small pre image warped onto the small post image, and where.

        Parameters
        ----------
        image : ndarray, float32
            As large as `pre_small`.
        transform : Transform
            Post to pre on the canvas.
        """
        rows, cols = self.post_small.shape
        small = self.small_transform(transform)
        flags = cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC
        warped = cv2.warpPerspective(
            image,
            small.matrix,
            (cols, rows),
            flags=flags,
            borderMode=cv2.BORDER_REPLICATE,
        )
        inside = cv2.warpPerspective(
            np.full(image.shape, 255, np.uint8),
            small.matrix,
            (cols, rows),
            flags=cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST,
        )
        return warped.astype(np.float32, copy=False), inside > 0

    def overlap_points(self, transform: Transform, across: int = 24) -> FloatArray:
        """Return post points on a grid that lie in both frames, (N, 2), px."""
        x0, y0, width, height = self.post_frame
        step = max(width, height) / across
        grid = np.stack(
            np.meshgrid(
                np.arange(x0 + step / 2, x0 + width, step),
                np.arange(y0 + step / 2, y0 + height, step),
            ),
            axis=-1,
        ).reshape(-1, 2)
        x0, y0, width, height = self.pre_frame
        mapped = transform(grid) - (x0, y0)
        inside = ((mapped >= 0) & (mapped <= (width - 1, height - 1))).all(axis=1)
        result: FloatArray = grid[inside]
        return result


def work_factor(longest: int, work_side: int = _WORK_SIDE) -> int:
    """Return by how much images are reduced whose longest side is so many px."""
    small_side = _SMALL_SIDE * min(1.0, work_side / _WORK_SIDE)
    wanted = max(min(2.0, longest / small_side), longest / work_side, 1.0)
    factor = math.floor(wanted) if wanted <= 2.0 else math.ceil(wanted)
    # Multiples of the pyramid's levels are read from them.
    step = 8 if factor > 8 else 4 if factor > 4 else 1
    return -(-factor // step) * step


def _reduce_frame(
    image: ImageLike, frame: Frame, factor: int
) -> tuple[NDArray[np.float32], Transform]:
    x0, y0, width, height = frame
    # Blocks that lie wholly inside, so that no padding darkens their mean.
    left, top = -(-x0 // factor), -(-y0 // factor)
    right = max((x0 + width) // factor, left + 1)
    bottom = max((y0 + height) // factor, top + 1)
    if isinstance(image, Raster):
        whole, _ = reduce_image(image, factor=factor)
        small = np.ascontiguousarray(whole[top:bottom, left:right])
    else:
        part = image[top * factor : bottom * factor, left * factor : right * factor]
        small, _ = reduce_image(part, factor=factor)
    scale = 1.0 / factor
    shift = 0.5 * scale - 0.5
    to_small = Transform.similarity(
        scale=scale, translation=(shift - left, shift - top)
    )
    return small, to_small


def prepare_pair(
    post_im: ImageLike,
    pre_im: ImageLike,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    *,
    work_side: int = _WORK_SIDE,
    monitor: Monitor | None = None,
) -> InteriorPair:
    """Find the frames and reduce both images to work resolution.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, cols)
        Padded canvases.
    post_frame, pre_frame : tuple of int, optional
        x0, y0, width, height of the data; by default what is not zero.
    work_side : int
        Longest side of the reduced images, about, px.
    monitor : Monitor, optional
        Asked whether to stop between the images.

    Returns
    -------
    InteriorPair

    Raises
    ------
    RegistrationError
        If an image is empty or its frame lies outside of it.
    """
    monitor = monitor or Monitor()
    frames = []
    for name, image, given in (
        ("post", post_im, post_frame),
        ("pre", pre_im, pre_frame),
    ):
        if given is None:
            frame = non_zero_frame(image, monitor)
        else:
            x0, y0, width, height = map(int, given)
            frame = (x0, y0, width, height)
        x0, y0, width, height = frame
        rows, cols = image.shape
        if (
            min(x0, y0) < 0
            or min(width, height) < 1
            or x0 + width > cols
            or y0 + height > rows
        ):
            raise RegistrationError(
                f"the {name} frame (x0, y0, width, height) = {frame} does not lie in "
                f"the canvas of {cols} x {rows} px; give the frame of stage 1"
            )
        frames.append((x0, y0, width, height))
    factor = work_factor(max(*frames[0][2:], *frames[1][2:]), work_side)
    monitor.check()
    post_small, post_to_small = _reduce_frame(post_im, frames[0], factor)
    monitor.check()
    pre_small, pre_to_small = _reduce_frame(pre_im, frames[1], factor)
    return InteriorPair(
        post_im,
        pre_im,
        frames[0],
        frames[1],
        factor,
        post_small,
        pre_small,
        post_to_small,
        pre_to_small,
    )


#: Fewer features than this that agree prove nothing.
MIN_INLIERS = 15

_RATIO = 0.7
_THRESHOLD = 3.0
_MAX_FEATURES = 4000
_CELLS = 4
_MIN_CELLS = 3


@dataclass(frozen=True, slots=True)
class FeatureStart:
    """What the features say.

    Attributes
    ----------
    transform : Transform or None
        Post to pre on the canvas; None when no transform was found.
    problem : str
        Why it cannot be trusted; empty when it can.
    contradicts : bool
        Whether features that agree well ask for more than the largest
        correction: the start is then likely wrong.
    post_xy, pre_xy : ndarray, shape (N, 2), float64
        The matches, canvas px.
    inliers : ndarray, shape (N,), bool
        Those that agree.
    correction : float
        Largest correction of the start over the section, px; 0 without a
        transform.
    """

    transform: Transform | None
    problem: str
    contradicts: bool
    post_xy: FloatArray
    pre_xy: FloatArray
    inliers: NDArray[np.bool_]
    correction: float

    @property
    def inlier_ratio(self) -> float:
        """Part of the matches that agree, 0 to 1."""
        return float(np.count_nonzero(self.inliers)) / max(len(self.inliers), 1)


@dataclass(frozen=True, slots=True)
class FeatureMatching:
    """Matched features and what they agree on, before any limit is asked.

    Attributes
    ----------
    post_xy, pre_xy : ndarray, shape (N, 2), float64
        The matches, canvas px.
    fit : MatchFit or None
        Homography of the canvas from post to the pre image as the start warps
        it, full-resolution px; None when too few agree.
    """

    post_xy: FloatArray
    pre_xy: FloatArray
    fit: MatchFit | None


def largest_distance(one: Transform, other: Transform, points: FloatArray) -> float:
    """Return how far two transforms lie apart at most.

    Parameters
    ----------
    one, other : Transform
        Post to pre on the canvas.
    points : ndarray, shape (N, 2), float64
        Points (x, y) of the section on the post canvas; at least one.

    Returns
    -------
    float
        Full-resolution px.
    """
    return float(np.linalg.norm(one(points) - other(points), axis=1).max())


def _cells_with_inliers(pair: InteriorPair, points: FloatArray) -> int:
    x0, y0, width, height = pair.post_frame
    cells = ((points - (x0, y0)) / (width, height) * _CELLS).astype(int)
    cells = np.clip(cells, 0, _CELLS - 1)
    return len(np.unique(cells[:, 0] * _CELLS + cells[:, 1]))


def find_feature_start(
    pair: InteriorPair,
    initial: Transform,
    *,
    blur_base: float,
    max_correction: float,
    min_inlier_ratio: float,
    monitor: Monitor | None = None,
) -> FeatureStart:
    """Match features of the reduced images and fit a homography.

    Parameters
    ----------
    pair : InteriorPair
        The images.
    initial : Transform
        The start, post to pre; the reduced pre image is warped by it first, so
        that it need not be upright nor of the same hand.
    blur_base, max_correction, min_inlier_ratio : float
        As in `refine_interior_sift`.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    FeatureStart
    """
    monitor = monitor or Monitor()
    post = detect_in_post(pair, blur_base, monitor=monitor)
    monitor.report(0.4, "matching features")
    matching = match_interiors(
        pair, initial, post, blur_base, monitor=monitor.part(0.4, 1.0)
    )
    return judge_matching(pair, initial, matching, max_correction, min_inlier_ratio)


def detect_in_post(
    pair: InteriorPair,
    blur_base: float,
    *,
    max_features: int = _MAX_FEATURES,
    monitor: Monitor | None = None,
) -> Features:
    """Find the features of the reduced post image, in its own px.

    Parameters
    ----------
    pair : InteriorPair
        The images.
    blur_base : float
        As in `refine_interior_sift`.
    max_features : int
        The strongest are kept.
    monitor : Monitor, optional
        Asked whether to stop.
    """
    monitor = monitor or Monitor()
    blur = pair.blur_at_work(blur_base)
    monitor.check()
    stretched = stretch_for_features(pair.post_small, blur=blur, monitor=monitor)
    monitor.check()
    return detect_features(stretched, max_features=max_features, monitor=monitor)


def match_interiors(
    pair: InteriorPair,
    initial: Transform,
    post: Features,
    blur_base: float,
    *,
    max_features: int = _MAX_FEATURES,
    monitor: Monitor | None = None,
) -> FeatureMatching:
    """Find the features of the warped pre image and match them.

    Parameters
    ----------
    pair : InteriorPair
        The images.
    initial : Transform
        The start, post to pre.
    post : Features
        From `detect_in_post`.
    blur_base, max_features
        As there.
    monitor : Monitor, optional
        Told the fraction done.
    """
    monitor = monitor or Monitor()
    monitor.check()
    warped, inside = pair.warp_small(pair.pre_small, initial)
    inner = cv2.erode(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    monitor.check()
    blur = pair.blur_at_work(blur_base)
    stretched = stretch_for_features(warped, mask=inside, blur=blur, monitor=monitor)
    monitor.check()
    pre = detect_features(
        stretched, mask=inner, max_features=max_features, monitor=monitor
    )
    monitor.report(0.7, "matching features")
    pairs = match_features(post, pre, ratio=_RATIO, monitor=monitor)
    monitor.check()
    from_small = pair.post_to_small.inverse()
    post_xy = from_small(post.points[pairs[:, 0]])
    aligned_xy = from_small(pre.points[pairs[:, 1]])
    # Fitted on the warped image: there the map is near the identity.
    fit = fit_matches(
        post_xy,
        aligned_xy,
        model="homography",
        threshold=_THRESHOLD * pair.factor,
        mirrored=False,
    )
    return FeatureMatching(post_xy, initial(aligned_xy), fit)


def judge_matching(
    pair: InteriorPair,
    initial: Transform,
    matching: FeatureMatching,
    max_correction: float,
    min_inlier_ratio: float,
) -> FeatureStart:
    """Say whether matched features can be trusted, within the limits.

    Parameters
    ----------
    pair, initial, matching
        As given to and returned by `match_interiors`.
    max_correction, min_inlier_ratio : float
        As in `refine_interior_sift`.
    """
    post_xy, pre_xy, fit = matching.post_xy, matching.pre_xy, matching.fit
    if fit is None:
        problem = (
            f"wanted {MIN_INLIERS} features that agree, found no homography for "
            f"{len(post_xy)} matches"
        )
        none = np.zeros(len(post_xy), bool)
        return FeatureStart(None, problem, False, post_xy, pre_xy, none, 0.0)
    transform = initial @ fit.transform
    correction = largest_distance(transform, initial, post_xy[fit.inliers])
    cells = _cells_with_inliers(pair, post_xy[fit.inliers])
    problem, contradicts = "", False
    if fit.n_inliers < MIN_INLIERS:
        problem = (
            f"wanted {MIN_INLIERS} features that agree, found {fit.n_inliers} of "
            f"{len(post_xy)} matches"
        )
    elif fit.inlier_ratio < min_inlier_ratio:
        problem = (
            f"wanted an inlier ratio of {min_inlier_ratio:g} or more, found "
            f"{fit.inlier_ratio:.3f} ({fit.n_inliers} of {len(post_xy)} matches)"
        )
    elif cells < _MIN_CELLS:
        problem = (
            f"wanted features in {_MIN_CELLS} of {_CELLS**2} parts of the section, "
            f"found them in {cells}"
        )
    elif correction > max_correction:
        problem = (
            f"wanted a correction of {max_correction:g} px at most, found "
            f"{correction:.0f} px (raise interior_max_correction, or look at stage 2)"
        )
        contradicts = True
    return FeatureStart(
        transform, problem, contradicts, post_xy, pre_xy, fit.inliers, correction
    )


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


logger = logging.getLogger(__name__)

#: Misfit shared by neighbouring tiles, 95th percentile over the section, px, from
#: which a section counts as deformed. A smooth bend of 2 px leaves about this
#: much when a homography has followed it as far as it can.
MAX_MISFIT = 0.4

#: Estimated error, px, beyond which an alignment is not called `ok`.
MAX_ERROR = 1.0

#: Features and tiles must agree within this many px of the reduced images.
_MAX_DISAGREEMENT = 6.0


@dataclass(frozen=True, slots=True)
class FeatureMatches:
    """Matched features, for pictures.

    Attributes
    ----------
    post_xy, pre_xy : ndarray, shape (N, 2), float64
        Matched points (x, y) on the canvases, px.
    inliers : ndarray, shape (N,), bool
        Those that agree with one homography.
    """

    post_xy: FloatArray
    pre_xy: FloatArray
    inliers: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class InteriorTiles:
    """Tiles that were measured, for pictures.

    Attributes
    ----------
    x, y : ndarray, shape (N,), float64
        Centres on the post canvas, px.
    dx, dy : ndarray, shape (N,), float64
        What the tile fit leaves, px of the pre image; NaN where nothing was
        found.
    used : ndarray, shape (N,), bool
        Tiles that agree with the fit.
    weight : ndarray, shape (N,), float64
        Weight in the robust fit, 0 to 1.
    """

    x: FloatArray
    y: FloatArray
    dx: FloatArray
    dy: FloatArray
    used: NDArray[np.bool_]
    weight: FloatArray


@dataclass(frozen=True, slots=True)
class InteriorAlignment:
    """Result of stage 3.

    Attributes
    ----------
    transform : Transform
        Post (fixed) to pre (moving) points on the padded canvas.
    verdict : Verdict
        `ok`: tiles vouch for the transform. `fell_back`: the best that could be
        had, with the reason. `failed`: the start stands and the interior does
        not support it.
    method : {'tiles', 'features', 'initial'}
        What the transform rests on.
    model : str
        Freedom of the tile fit; empty without one.
    accuracy_px : float
        Estimated root mean square error over the section, px of the pre image;
        -1 when nothing vouches for the transform.
    matches : FeatureMatches
        The features.
    tiles : InteriorTiles
        The tiles.
    """

    transform: Transform
    verdict: Verdict
    method: Literal["tiles", "features", "initial"]
    model: str
    accuracy_px: float
    matches: FeatureMatches
    tiles: InteriorTiles


def refine_interior_sift(
    post_im: ImageLike,
    pre_im: ImageLike,
    initial: Transform,
    *,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    interior_blur_base: float = 8.0,
    interior_max_correction: float = 500,
    interior_min_inlier_ratio: float = 0.4,
    monitor: Monitor | None = None,
) -> InteriorAlignment:
    """Align two images by what lies inside the section.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, cols)
        Fixed and moving image on padded canvases; uint8, uint16, float32 or
        float64. They are read in windows.
    initial : Transform
        Post to pre from stage 2; carries hand and turn.
    post_frame, pre_frame : tuple of int, optional
        x0, y0, width, height of the data on each canvas; by default the
        bounding box of what is not zero.
    interior_blur_base : float
        Sigma of the Gaussian before features are sought, full-resolution px on
        a section 30000 px wide; it shrinks with the section.
    interior_max_correction : float
        Largest change of `initial` over the section, full-resolution px.
    interior_min_inlier_ratio : float
        Smallest part of the feature matches that must agree, 0 to 1. Otherwise
        the features are not used and the tiles start from `initial`.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    InteriorAlignment
        Its verdict is 'ok' only when the tiles vouch for the transform.

    Raises
    ------
    ParameterError
        If a parameter is out of its range.
    RegistrationError
        If an image is empty.

    Notes
    -----
    SIFT features of the reduced images give a homography; a few hundred tiles,
    matched at full resolution by their correlation coefficient, refine it in a
    robust fit. Its freedom is chosen by cross-validation. The tiles alone
    decide whether the result is `ok`: enough of them must agree, and what
    neighbouring tiles share beyond the fit must stay below `MAX_MISFIT`, the
    estimated error below `MAX_ERROR`. A
    result that features did not support but tiles do is `ok`, too; the reason
    then says so.

    References
    ----------
    D. G. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60,
    2004, doi:10.1023/B:VISI.0000029664.99615.94 (the features).

    D. Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator",
    CVPR 2020, doi:10.1109/CVPR42600.2020.00138 (which matches agree).

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exo2micro.core.simulate import simulate_section
    >>> pair = simulate_section((600, 700), seed=1, shift=(3.0, -2.0))
    >>> result = refine_interior_sift(pair.post, pair.pre, Transform.identity())
    >>> result.verdict.state
    'ok'
    >>> bool(np.abs(result.transform([[300, 300]]) - [303, 298]).max() < 0.2)
    True
    """
    if not interior_blur_base >= 0:
        raise ParameterError(
            f"interior_blur_base must be 0 px or more, found {interior_blur_base!r}"
        )
    if not interior_max_correction > 0:
        raise ParameterError(
            "interior_max_correction must be above 0 px, found "
            f"{interior_max_correction!r}"
        )
    if not 0 <= interior_min_inlier_ratio <= 1:
        raise ParameterError(
            "interior_min_inlier_ratio must lie in 0..1, found "
            f"{interior_min_inlier_ratio!r}"
        )
    monitor = monitor or Monitor()
    monitor.report(0.0, "reducing the images")
    pair = prepare_pair(post_im, pre_im, post_frame, pre_frame, monitor=monitor)
    monitor.report(0.15, "matching features")
    features = find_feature_start(
        pair,
        initial,
        blur_base=float(interior_blur_base),
        max_correction=float(interior_max_correction),
        min_inlier_ratio=float(interior_min_inlier_ratio),
        monitor=monitor.part(0.15, 0.4),
    )
    start = initial
    trusted = features.transform is not None and not features.problem
    if features.transform is not None and trusted:
        start = features.transform
    tiles = refine_on_tiles(
        pair, start, trusted=trusted, monitor=monitor.part(0.4, 0.95)
    )
    correction = 0.0
    if tiles.fit is not None and tiles.used.any():
        places = tiles.measured.centres[tiles.used]
        correction = largest_distance(tiles.fit.transform, initial, places)
        gap = tiles.fit.transform(places) - start(places)
        apart = float(np.median(np.linalg.norm(gap, axis=1)))
        limit = _MAX_DISAGREEMENT * pair.factor
        if trusted and not tiles.problem and apart > limit:
            tiles = replace(
                tiles,
                problem=f"wanted them within {limit:g} px of the features, found "
                f"{apart:.1f} px",
            )
    result = _decide(
        initial, features, tiles, correction, float(interior_max_correction)
    )
    logger.info(
        "interior alignment: %s, %d matches, %d tiles, accuracy %.3f px %s",
        result.verdict.state,
        len(features.inliers),
        int(np.count_nonzero(tiles.used)),
        result.accuracy_px,
        result.verdict.reason,
    )
    monitor.report(1.0, "interior aligned")
    return result


def _numbers(
    features: FeatureStart, tiles: TileRefinement, correction: float
) -> dict[str, float]:
    numbers = {
        "n_matches": float(len(features.inliers)),
        "n_inliers": float(np.count_nonzero(features.inliers)),
        "inlier_ratio": features.inlier_ratio,
        "n_tiles": float(np.count_nonzero(tiles.used)),
        "n_tiles_tried": float(len(tiles.used)),
        "correction_px": correction,
    }
    if np.any(tiles.used):
        agreed = tiles.measured.correlation[tiles.used]
        numbers["tile_correlation"] = float(np.median(agreed))
    accuracy = tiles.accuracy
    if accuracy is not None and np.isfinite(accuracy.total):
        numbers["residual_median_px"] = accuracy.residual_median
        numbers["residual_p95_px"] = accuracy.residual_p95
        numbers["noise_error_px"] = accuracy.statistical
        numbers["misfit_px"] = accuracy.coherent
        numbers["misfit_p95_px"] = accuracy.coherent_p95
    return numbers


def _decide(
    initial: Transform,
    features: FeatureStart,
    tiles: TileRefinement,
    correction: float,
    max_correction: float,
) -> InteriorAlignment:
    """Return the result with its verdict: who vouches for which transform."""
    state: str
    method: Literal["tiles", "features", "initial"]
    fit, accuracy = tiles.fit, tiles.accuracy
    vouched = (
        not tiles.problem
        and fit is not None
        and accuracy is not None
        and np.isfinite(accuracy.total)
    )
    transform, error, model = initial, -1.0, ""
    if vouched and correction <= max_correction:
        assert fit is not None
        assert accuracy is not None
        transform, error, model = fit.transform, accuracy.total, fit.model
        method, state, reason = "tiles", "ok", ""
        # The percentile has noise in it, the root mean square has not.
        bent = accuracy.coherent > MAX_MISFIT / 3
        if accuracy.coherent_p95 > MAX_MISFIT and bent:
            state = "fell_back"
            reason = (
                f"the section is deformed: residual {accuracy.coherent_p95:.1f} px in "
                f"places, wanted {MAX_MISFIT:g} px at most; a {fit.model} cannot "
                "follow"
            )
        elif accuracy.total > MAX_ERROR:
            state = "fell_back"
            reason = (
                f"wanted an estimated error of {MAX_ERROR:g} px at most, found "
                f"{accuracy.total:.1f} px"
            )
        elif features.problem:
            reason = f"tiles alone vouch for it; features: {features.problem}"
    elif vouched:
        method, state = "initial", "failed"
        reason = (
            f"wanted a correction of {max_correction:g} px at most, but the tiles ask "
            f"for {correction:.0f} px; the start stands (raise "
            "interior_max_correction, or look at stage 2)"
        )
    elif features.transform is not None and not features.problem:
        method, state = "features", "fell_back"
        transform = features.transform
        reason = f"features alone vouch for it; tiles: {tiles.problem}"
    else:
        method = "initial"
        state = "failed" if features.contradicts else "fell_back"
        reason = (
            f"the start stands; features: {features.problem}; tiles: "
            f"{tiles.problem or 'their error cannot be estimated'}"
        )
    numbers = _numbers(features, tiles, correction)
    numbers["accuracy_px"] = error
    return InteriorAlignment(
        transform=transform,
        verdict=Verdict(state, reason, numbers),
        method=method,
        model=model,
        accuracy_px=error,
        matches=FeatureMatches(features.post_xy, features.pre_xy, features.inliers),
        tiles=InteriorTiles(
            x=tiles.measured.centres[:, 0].copy(),
            y=tiles.measured.centres[:, 1].copy(),
            dx=tiles.residuals[:, 0].copy(),
            dy=tiles.residuals[:, 1].copy(),
            used=tiles.used,
            weight=tiles.weights,
        ),
    )


#: The historical name of the same function.
refine_interior_ecc = refine_interior_sift
