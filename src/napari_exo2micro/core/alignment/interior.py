"""Stage 3: features of the interior, then tiles at full resolution.

SIFT features of the reduced images give a homography, if they agree; a few hundred
tiles at full resolution refine it and alone decide whether the result is `ok`.
"""

import logging
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_exo2micro.core.alignment import (
    error_map,
    features,
    fit,
    local,
    tiles,
    views,
)
from napari_exo2micro.core.alignment.error_map import ErrorMap
from napari_exo2micro.core.alignment.fit import Accuracy, FloatArray, Model, PlaneFit
from napari_exo2micro.core.alignment.settings import InteriorSettings
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.base.text import Listing, Shown
from napari_exo2micro.core.images.missing import without_brighter
from napari_exo2micro.core.images.raster import Frame, ImageLike
from napari_exo2micro.core.images.transform import Transform, TransformLike
from napari_exo2micro.core.parameters.state import State, Verdict

logger = logging.getLogger(__name__)

#: Misfit shared by neighbouring tiles, 95th percentile over the section, px, from
#: which a section counts as deformed. A smooth bend of 2 px leaves about this
#: much when a homography has followed it as far as it can.
MAX_MISFIT = 0.4
#: Estimated error, px, beyond which an alignment is not called `ok`.
MAX_ERROR = 1.0
#: Expected error of a patch of the section, px, from which it is told.
MAX_IN_PLACES = 0.5
#: Fewer features than this that agree prove nothing.
MIN_INLIERS = 15
#: Fewer tiles than this that agree prove nothing.
MIN_TILES = 12
#: Nor does a smaller part of the tiles that were tried, unless features vouch for
#: the start: then the others may lie on bare glass.
MIN_TILE_SHARE = 0.2

#: Longest side of the images that features are sought in.
_WORK_SIDE = 2400
#: Sections smaller than this are not reduced.
_SMALL_SIDE = 1200
#: Longest side from which reduced images are halved before features are sought: the
#: finest of them take three quarters of the time, and tiles do not need them.
_FINE_SIDE = 1600
#: Width of the section for which the blur parameter is stated.
_BLUR_WIDTH = 30000.0

_RATIO = 0.7
_THRESHOLD = 3.0
_MAX_FEATURES = 4000
#: Features must agree in so many cells of a grid of so many on a side.
_MIN_CELLS, _CELLS = 3, 4

#: Misfit shared by neighbouring tiles, px: root mean square and 95th percentile, from
#: which a field of displacement is tried. Rigid sections stay below half of them.
_BENT, _BENT_P95 = 0.03, 0.1

_COUNT, _REDUCED_COUNT = 300, 160
#: Tiles of a field that are kept for pictures, at most.
_SHOWN = 1000
#: Nodes of the error map along a side of the least patch: a line of them is none.
_PATCH = 3
#: Tiles on which the bands are tried.
_PROBES = 48
#: So many of them must lie within so many px of their fit, or all tiles are sought.
_RIGID_SHARE, _RIGID = 0.9, 0.25
#: Error of a tile beyond its noise (interpolation, microbes), px.
_TILE_FLOOR = 0.01
#: Tiles of less weight in the robust fit do not count as agreeing.
_AGREE = 0.3
#: Features and tiles must agree within this many px of the reduced images.
_MAX_DISAGREEMENT = 6.0

Method = Literal["tiles", "features", "initial"]


@dataclass(frozen=True, slots=True)
class WorkImage:
    """One padded canvas, and its frame of data at work resolution.

    `to_small` maps canvas px to px of `small`; `inside` is where that has data, None
    everywhere.
    """

    image: ImageLike
    frame: Frame
    small: NDArray[np.float32]
    to_small: Transform
    inside: NDArray[np.bool_] | None = None

    @property
    def known(self) -> NDArray[np.float32]:
        """The reduced image, NaN where it has no data."""
        if self.inside is None:
            return self.small
        return np.where(self.inside, self.small, np.float32(np.nan))


@dataclass(frozen=True, slots=True)
class InteriorPair:
    """Both images at full resolution and at work resolution.

    `factor`: full-resolution px per work px; `max_features`: the strongest ones of
    each image that are kept.
    """

    post: WorkImage
    pre: WorkImage
    factor: int
    max_features: int

    def small_transform(self, transform: Transform) -> Transform:
        """Return a canvas transform as one between the small images."""
        return self.pre.to_small @ transform @ self.post.to_small.inverse()

    def canvas_transform(self, small: Transform) -> Transform:
        """Return a transform between the small images on the canvas."""
        return self.pre.to_small.inverse() @ small @ self.post.to_small

    def warp_small(
        self, transform: Transform
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the small pre image warped onto the small post image, and where."""
        size = self.post.small.shape[::-1]
        matrix = self.small_transform(transform).matrix
        warped = cv2.warpPerspective(
            self.pre.small,
            matrix,
            size,
            flags=cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        seen: Any = np.full(self.pre.small.shape, 255, np.uint8)
        if self.pre.inside is not None:
            # cubic interpolation reaches two pixels far
            seen = cv2.erode(255 * self.pre.inside.astype(np.uint8), np.ones((5, 5)))
        nearest = cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST
        inside = cv2.warpPerspective(seen, matrix, size, flags=nearest) > 0
        if self.post.inside is not None:
            inside &= self.post.inside
        return warped.astype(np.float32, copy=False), inside

    def overlap_points(self, transform: Transform) -> FloatArray:
        """Return post points on a grid that lie in both frames, (N, 2), px."""
        x0, y0, width, height = self.post.frame
        step = max(width, height) / 24
        x, y = np.meshgrid(
            np.arange(x0 + step / 2, x0 + width, step),
            np.arange(y0 + step / 2, y0 + height, step),
        )
        grid = np.column_stack([x.ravel(), y.ravel()])
        x0, y0, width, height = self.pre.frame
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


def prepare_pair(
    post_im: ImageLike,
    pre_im: ImageLike,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    *,
    work_side: int = _WORK_SIDE,
    max_features: int = _MAX_FEATURES,
    monitor: Monitor | None = None,
) -> InteriorPair:
    """Find the frames of two canvases and reduce both to work resolution.

    Frames are x0, y0, width, height of the data, by default what is not zero;
    `work_side` is the longest side of the reduced images, about, px.
    """
    monitor = monitor or Monitor()
    frames = (
        views.checked_frame(post_im, post_frame, "post", monitor),
        views.checked_frame(pre_im, pre_frame, "pre", monitor),
    )
    factor = work_factor(max(*frames[0][2:], *frames[1][2:]), work_side)

    def at_work(image: ImageLike, frame: Frame) -> WorkImage:
        monitor.check()
        blocks, left, top = views.whole_blocks(image, frame, factor)
        debris = views.find_debris(blocks, factor)
        if debris is not None:
            blocks = np.where(debris[0], np.float32(np.nan), blocks)
            image = without_brighter(image, debris[1])
        small, known = views.filled(blocks)
        # A work px covers the points around (p + 0.5) * factor - 0.5.
        shift = 0.5 / factor - 0.5
        to_small = Transform.similarity(
            scale=1.0 / factor, translation=(shift - left, shift - top)
        )
        return WorkImage(image, frame, small, to_small, None if known.all() else known)

    post, pre = at_work(post_im, frames[0]), at_work(pre_im, frames[1])
    return InteriorPair(post, pre, factor, max_features)


@dataclass(frozen=True, slots=True)
class FeatureMatches:
    """Matched features, for pictures.

    Attributes
    ----------
    post_xy, pre_xy : ndarray, shape (N, 2), float64
        Matched points (x, y) on the canvases, px.
    inliers : ndarray, shape (N,), bool
        Those that agree with one homography.
    transform : Transform or None
        That homography, post to pre; None when too few agree on any.
    """

    post_xy: FloatArray
    pre_xy: FloatArray
    inliers: NDArray[np.bool_]
    transform: Transform | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """Figures for a verdict."""
        count = float(np.count_nonzero(self.inliers))
        return {
            "n_matches": float(len(self.inliers)),
            "n_inliers": count,
            "inlier_ratio": count / max(len(self.inliers), 1),
        }


@dataclass(frozen=True, slots=True)
class InteriorTiles:
    """Tiles that were measured, for pictures.

    Attributes
    ----------
    x, y : ndarray, shape (N,), float64
        Centres on the post canvas, px.
    dx, dy : ndarray, shape (N,), float64
        What the tile fit leaves, px of the pre image; NaN where none matched.
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


class ShownAlignment(Shown):
    """How an alignment is printed, and shown in a notebook."""

    __slots__ = ()
    transform: Transform
    verdict: Verdict
    method: str

    def __repr__(self) -> str:
        """Return method, verdict and transform in one line."""
        name = type(self).__name__
        return f"{name}({self.method!r}, {self.verdict!r}, {self.transform!r})"

    def __rich__(self) -> Listing:
        """Return what was found, and how far it can be trusted."""
        why = (self.verdict.reason, self.verdict.figures())
        verdict = (self.verdict.state, "\n".join(filter(None, why)))
        moves = self.transform.__rich__()
        rows = [("method", self.method), *moves.rows, verdict]
        return replace(moves, rows=rows)


@dataclass(frozen=True, slots=True, repr=False)
class InteriorAlignment(ShownAlignment):
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
    error : ErrorMap or None
        What is expected at each place, px of post; None when nothing vouches for the
        transform.
    """

    transform: Transform
    verdict: Verdict
    method: Method
    model: str
    accuracy_px: float
    matches: FeatureMatches
    tiles: InteriorTiles
    error: ErrorMap | None = None


def refine_interior_sift(
    post_im: ImageLike,
    pre_im: ImageLike,
    initial: TransformLike,
    *,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    settings: InteriorSettings | None = None,
    monitor: Monitor | None = None,
    **tuning: Any,
) -> InteriorAlignment:
    """Align two images by what lies inside the section.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, cols)
        Fixed and moving image on padded canvases; uint8, uint16, float32 or
        float64, NaN where they have no data. They are read in windows.
    initial : Transform or array_like, shape (3, 3)
        Post to pre from stage 2, or its matrix; carries hand and turn.
    post_frame, pre_frame : tuple of int, optional
        x0, y0, width, height of the data on each canvas; by default the
        bounding box of what is not zero.
    settings : InteriorSettings, optional
        All of the tuning; by default that of the registry of parameters.
    monitor : Monitor, optional
        Told the fraction done.
    **tuning
        Parameters of stage 3 by name, instead of those in `settings`:
        ``interior_max_correction=100``. `InteriorSettings` describes them.

    Returns
    -------
    InteriorAlignment
        Its verdict is 'ok' only when the tiles vouch for the transform.

    Raises
    ------
    ParameterError
        If a parameter is unknown or out of its range, or `initial` is no transform.
    RegistrationError
        If an image is empty.

    Notes
    -----
    SIFT features of the reduced images give a homography; a few hundred tiles,
    matched at full resolution by their correlation coefficient, refine it in a
    robust fit. Its freedom is chosen by cross-validation. The tiles alone
    decide whether the result is `ok`: enough of them must agree, and what
    neighbouring tiles share beyond the fit must stay below `MAX_MISFIT`, the
    estimated error, and that of each patch of the section, below `MAX_ERROR`. A
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
    >>> str(result.verdict.state)
    'ok'
    >>> bool(np.abs(result.transform([[300, 300]]) - [303, 298]).max() < 0.2)
    True
    """
    initial = Transform.of(initial)
    settings = (settings or InteriorSettings.of({})).tuned(**tuning)
    monitor = monitor or Monitor()
    monitor.report(0.0, "reducing the images")
    pair = prepare_pair(post_im, pre_im, post_frame, pre_frame, monitor=monitor)
    monitor.report(0.15, "matching features")
    post = find_features(
        pair, pair.post.small, settings, monitor.part(0.15, 0.25), pair.post.inside
    )
    monitor.report(0.25, "matching features")
    matches = match_interiors(pair, initial, post, settings, monitor.part(0.25, 0.4))
    judged = judge_matches(pair, initial, matches, settings)
    trusted = not judged.problem
    start = judged.transform if trusted else initial
    refined = refine_on_tiles(
        pair, start, trusted=trusted, monitor=monitor.part(0.4, 0.6)
    )
    correction = 0.0
    used = refined.tiles.used
    if refined.fit is not None and used.any():
        places = np.column_stack([refined.tiles.x, refined.tiles.y])[used]
        correction = largest_distance(refined.fit.transform, initial, places)
        gap = refined.fit.transform(places) - start(places)
        apart = float(np.median(np.linalg.norm(gap, axis=1)))
        limit = _MAX_DISAGREEMENT * pair.factor
        if trusted and not refined.problem and apart > limit:
            problem = (
                f"wanted them within {limit:g} px of the features, found {apart:.1f} px"
            )
            refined = replace(refined, problem=problem)
    bent = None
    if correction <= settings.interior_max_correction:
        bent = _follow(pair, refined, settings, monitor.part(0.6, 0.95))
    result = _decide(initial, judged, refined, correction, settings, bent)
    logger.info(
        "interior alignment: %s, %d matches, %d tiles, accuracy %.3f px %s",
        result.verdict.state,
        len(result.matches.inliers),
        int(np.count_nonzero(used)),
        result.accuracy_px,
        result.verdict.reason,
    )
    monitor.report(1.0, "interior aligned")
    return result


#: The historical name of the same function.
refine_interior_ecc = refine_interior_sift


@dataclass(frozen=True, slots=True)
class FeatureStart:
    """What the features are worth as a start for the tiles.

    `problem` says why the transform cannot be trusted and is empty when it can;
    `correction` is its largest one of the initial transform over the section, px. When
    features that agree well ask for more than is allowed (`contradicts`), the initial
    transform is likely wrong.
    """

    transform: Transform
    matches: FeatureMatches
    correction: float = 0.0
    problem: str = ""
    contradicts: bool = False


def find_features(
    pair: InteriorPair,
    image: NDArray[np.float32],
    settings: InteriorSettings,
    monitor: Monitor,
    inside: NDArray[np.bool_] | None = None,
) -> features.Features:
    """Find the features of a reduced image, away from the edge of what is `inside`."""
    step = 2 if max(image.shape) >= _FINE_SIDE else 1
    if step > 1:
        image, inside = _halved(image, inside)
    longest = max(*pair.post.frame[2:], *pair.pre.frame[2:])
    blur = settings.interior_blur_base * longest / _BLUR_WIDTH / (pair.factor * step)
    stretched = features.stretch_for_features(
        image, mask=inside, blur=blur, monitor=monitor
    )
    if inside is not None:
        inside = cv2.erode(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    found = features.detect_features(
        stretched, mask=inside, max_features=pair.max_features, monitor=monitor
    )
    # The middle of pixel p is that of the pixels from p * step on.
    return replace(found, points=(found.points + 0.5) * step - 0.5)


def _halved(
    image: NDArray[np.float32], inside: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Return means over 2 x 2 pixels, and which of them lie inside with all four."""
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    image = image[: 2 * rows, : 2 * columns]
    half = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    if inside is not None:
        blocks = inside[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
        inside = np.asarray(blocks.all(axis=(1, 3)))
    return half.astype(np.float32, copy=False), inside


def match_interiors(
    pair: InteriorPair,
    initial: Transform,
    post: features.Features,
    settings: InteriorSettings,
    monitor: Monitor,
) -> FeatureMatches:
    """Find the features of the warped pre image and match them.

    The reduced pre image is warped by `initial`, the start (post to pre), first, so
    that it need not be upright nor of the same hand. `post` are the features of the
    reduced post image.
    """
    monitor.check()
    warped, inside = pair.warp_small(initial)
    pre = find_features(pair, warped, settings, monitor, inside)
    monitor.report(0.5, "matching features")
    pairs = features.match_features(post, pre, ratio=_RATIO, monitor=monitor)
    from_small = pair.post.to_small.inverse()
    post_xy = from_small(post.points[pairs[:, 0]])
    aligned_xy = from_small(pre.points[pairs[:, 1]])
    # Fitted on the warped image: there the map is near the identity.
    agreed = features.fit_matches(
        post_xy, aligned_xy, threshold=_THRESHOLD * pair.factor, mirrored=False
    )
    pre_xy = initial(aligned_xy)
    if agreed is None:
        return FeatureMatches(post_xy, pre_xy, np.zeros(len(pairs), bool))
    transform = initial @ agreed.transform
    return FeatureMatches(post_xy, pre_xy, agreed.inliers, transform)


def judge_matches(
    pair: InteriorPair,
    initial: Transform,
    matches: FeatureMatches,
    settings: InteriorSettings,
) -> FeatureStart:
    """Say whether matched features can be trusted, within the limits of `settings`."""
    total = len(matches.inliers)
    if matches.transform is None:
        problem = (
            f"wanted {MIN_INLIERS} features that agree, found no homography for "
            f"{total} matches"
        )
        return FeatureStart(initial, matches, problem=problem)
    agreeing = matches.post_xy[matches.inliers]
    count, ratio = len(agreeing), matches.numbers["inlier_ratio"]
    correction = largest_distance(matches.transform, initial, agreeing)
    x0, y0, width, height = pair.post.frame
    places = ((agreeing - (x0, y0)) / (width, height) * _CELLS).astype(int)
    cells = len(np.unique(np.clip(places, 0, _CELLS - 1), axis=0))
    least = settings.interior_min_inlier_ratio
    most = settings.interior_max_correction
    problem, contradicts = "", False
    if count < MIN_INLIERS:
        problem = (
            f"wanted {MIN_INLIERS} features that agree, found {count} of "
            f"{total} matches"
        )
    elif ratio < least:
        problem = (
            f"wanted an inlier ratio of {least:g} or more, found "
            f"{ratio:.3f} ({count} of {total} matches)"
        )
    elif cells < _MIN_CELLS:
        problem = (
            f"wanted features in {_MIN_CELLS} of {_CELLS**2} parts of the section, "
            f"found them in {cells}"
        )
    elif correction > most:
        problem = (
            f"wanted a correction of {most:g} px at most, found "
            f"{correction:.0f} px (raise interior_max_correction, or look at stage 2)"
        )
        contradicts = True
    return FeatureStart(matches.transform, matches, correction, problem, contradicts)


def largest_distance(first: Transform, second: Transform, points: FloatArray) -> float:
    """Return how far two maps of post `points` (at least one) lie apart at most, px."""
    return float(np.linalg.norm(first(points) - second(points), axis=1).max())


def _tiles_wanted(tried: int, matching: int, *, trusted: bool) -> int:
    """Return how many tiles must agree to prove something."""
    share = 0 if trusted else int(np.ceil(MIN_TILE_SHARE * tried))
    return max(MIN_TILES, share, matching // 2)


def align_reduced_tiles(
    pair: InteriorPair, start: Transform, monitor: Monitor | None = None
) -> tuple[Transform, str]:
    """Refine a transform by a similarity, on tiles of the reduced images.

    The start is right within about 20 px of them; the result to a few hundredths. Also
    says why the result cannot be trusted; nothing when it can.
    """
    monitor = (monitor or Monitor()).part(0.0, 0.0)  # asked; the bar stays
    post, pre = pair.post.known, pair.pre.known
    small, problem = pair.small_transform(start), "too few match"
    size = (64, 24) if min(post.shape) >= 400 else (40, 16)
    shape = tiles.TileShape(*size)
    for _ in range(2):
        texture, valid = pair.warp_small(pair.canvas_transform(small))
        centres = tiles.choose_tiles(
            texture,
            valid,
            factor=1,
            core=shape.core,
            count=_REDUCED_COUNT,
            monitor=monitor,
        )
        measured = tiles.measure_tiles(
            post,
            pre,
            small,
            centres,
            post_frame=(0, 0, post.shape[1], post.shape[0]),
            pre_frame=(0, 0, pre.shape[1], pre.shape[0]),
            shape=shape,
            monitor=monitor,
        )
        similarity = _fit_tiles(measured, small, "similarity", 0.1)
        if similarity is None:
            return start, problem
        agreeing = int(np.count_nonzero(similarity.weights > _AGREE))
        if agreeing < MIN_TILES:
            return start, problem
        small = similarity.transform
    tried, matching = len(centres), int(np.count_nonzero(measured.matched))
    wanted = _tiles_wanted(tried, matching, trusted=False)
    problem = ""
    if agreeing < wanted:
        problem = f"wanted {wanted} of {tried} tiles to agree, found {agreeing}"
    return pair.canvas_transform(small), problem


def _fit_tiles(
    measured: tiles.TileShifts,
    transform: Transform,
    model: Model | None = None,
    floor: float = 0.05,
) -> PlaneFit | None:
    """Return a fit to tiles, of the freedom that their number bears."""
    count = np.count_nonzero(measured.matched)
    if count < MIN_TILES:
        return None
    if model is None:
        model = (
            "homography" if count >= 60 else "affine" if count >= 24 else "similarity"
        )
    source, target, information = tiles.tile_targets(measured, transform, floor)
    try:
        return fit.fit_plane_robust(
            model,
            source,
            target,
            information=information,
            mirrored=transform.mirrored,
        )
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class TileRefinement:
    """What the tiles say.

    `problem` says why the fit (post to pre on the canvas) cannot be trusted and is
    empty when it can; `correlation` is the coefficient of each tile, `error` what is
    expected at each place.
    """

    problem: str
    tiles: InteriorTiles
    correlation: FloatArray
    fit: PlaneFit | None = None
    accuracy: Accuracy | None = None
    error: ErrorMap | None = None


def _places(
    pair: InteriorPair,
    transform: Transform,
    count: int,
    core: int,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Return the places of tiles of a side, whole px of the post canvas."""
    texture, valid = pair.warp_small(transform)
    centres = tiles.choose_tiles(
        texture, valid, factor=pair.factor, core=core, count=count, monitor=monitor
    )
    # `factor` times px of the small image are px of its frame, not of the canvas.
    at_zero = pair.post.to_small.inverse()(np.zeros((1, 2)))[0]
    places: FloatArray = np.rint(centres + (at_zero - (0.5 * pair.factor - 0.5)))
    return places


def _follow(
    pair: InteriorPair,
    refined: TileRefinement,
    settings: InteriorSettings,
    monitor: Monitor,
) -> local.LocalAlignment | None:
    """Follow what bends or jumps beyond the plane map; None where nothing does."""
    accuracy = refined.accuracy
    if refined.fit is None or accuracy is None:
        return None
    if refined.problem or settings.local == "off":
        return None
    straight = accuracy.coherent < _BENT and accuracy.coherent_p95 < _BENT_P95
    if settings.local == "auto" and straight:
        return None
    plane = refined.fit.transform
    return local.refine_locally(
        pair.post.image,
        pair.pre.image,
        plane,
        post_frame=pair.post.frame,
        pre_frame=pair.pre.frame,
        choose=partial(_places, pair, plane),
        kind=settings.local,
        monitor=monitor,
    )


def refine_on_tiles(
    pair: InteriorPair, start: Transform, *, trusted: bool, monitor: Monitor
) -> TileRefinement:
    """Refine a transform on tiles at full resolution.

    The start is right within about 10 px when features vouch for it (`trusted`). If
    not, within about 20 work px: tiles of the reduced images come first, and a fair
    part of all tiles must agree.
    """
    transform = start
    if not trusted:
        transform, _ = align_reduced_tiles(pair, start, monitor)
    shape = _tile_shape(min(*pair.post.frame[2:], *pair.pre.frame[2:]))
    centres = _places(pair, transform, _COUNT, shape.core, monitor)
    measure = partial(
        tiles.measure_tiles,
        pair.post.image,
        pair.pre.image,
        post_frame=pair.post.frame,
        pre_frame=pair.pre.frame,
        shape=shape,
    )
    probes = centres[:: max(1, len(centres) // _PROBES)]
    best: tuple[float, tiles.Band, tiles.TileShifts, PlaneFit | None] | None = None
    for n, band in enumerate(tiles.BANDS):
        part = monitor.part(0.09 * n, 0.09 * (n + 1))
        probed = measure(transform, probes, band=band, monitor=part)
        rough = _fit_tiles(probed, transform)
        scatter = _scatter(probed, rough)
        if best is None or scatter < best[0]:
            best = (scatter, band, probed, rough)
        elif best[3] is not None:
            break  # the coarser, the less precise
    assert best is not None
    _, band, first, rough = best
    monitor.report(0.3, "matching tiles")
    expected = np.zeros_like(centres)
    if rough is None or not _is_rigid(first, rough):
        # Others may lie elsewhere: each is sought before pixels are weighted.
        first = measure(transform, centres, band=band, monitor=monitor.part(0.3, 0.6))
        rough = _fit_tiles(first, transform)
        if rough is None:
            return _final_fit(pair, transform, first, shape, trusted, monitor)
        # The same pre points, seen from the new transform.
        place = rough.transform.inverse()(transform(centres + first.shifts))
        expected[first.matched] = (place - centres)[first.matched]
    second = measure(
        rough.transform,
        centres,
        band=band,
        expected=expected,
        monitor=monitor.part(0.6, 0.9),
    )
    return _final_fit(pair, rough.transform, second, shape, trusted, monitor)


def _tile_shape(side: int) -> tiles.TileShape:
    """Return tiles that leave room for a good number of them on small images."""
    if side >= 700:
        return tiles.TileShape(96, 16)
    return tiles.TileShape(64, 16) if side >= 300 else tiles.TileShape(40, 12)


def _scatter(measured: tiles.TileShifts, rough: PlaneFit | None) -> float:
    """Return how much tiles scatter about a fit, px; large when many fail."""
    matching = int(np.count_nonzero(measured.matched))
    if rough is None:
        return 1e6 - matching
    lengths = np.linalg.norm(rough.residuals, axis=1)
    # Standard error of a fit to the tiles that remain.
    return float(np.median(lengths) / np.sqrt(matching))


def _is_rigid(measured: tiles.TileShifts, rough: PlaneFit) -> bool:
    """Return whether a few tiles tell where all the others lie."""
    if np.count_nonzero(measured.matched) < _RIGID_SHARE * len(measured.matched):
        return False
    lengths = np.linalg.norm(rough.residuals, axis=1)
    return bool(np.quantile(lengths, _RIGID_SHARE) < _RIGID)


def _final_fit(
    pair: InteriorPair,
    transform: Transform,
    measured: tiles.TileShifts,
    shape: tiles.TileShape,
    trusted: bool,
    monitor: Monitor,
) -> TileRefinement:
    """Fit the freedom that the tiles bear, and say how well it is known."""
    tried = len(measured.matched)
    matching = int(np.count_nonzero(measured.matched))
    wanted = _tiles_wanted(tried, matching, trusted=trusted)
    weights, residuals = np.zeros(tried), np.full((tried, 2), np.nan)

    def result(problem: str, *known: Any) -> TileRefinement:
        (x, y), (dx, dy) = measured.centres.T, residuals.T
        kept = InteriorTiles(x, y, dx, dy, weights > _AGREE, weights)
        return TileRefinement(problem, kept, measured.correlation, *known)

    nothing = f"wanted {wanted} of {tried} tiles to agree, found "
    if matching < MIN_TILES:
        return result(f"{nothing}{matching} that match")
    floor = _TILE_FLOOR
    source, target, information = tiles.tile_targets(measured, transform, floor)
    try:
        for _ in range(2):
            model = fit.choose_model(source, target, information, transform, monitor)
            monitor.check()
            final = fit.fit_plane_robust(
                model,
                source,
                target,
                information=information,
                start=transform,
                mirrored=transform.mirrored,
                floor=0.01,
            )
            # What tiles scatter beyond their noise counts for all alike: floor^2 =
            # sigma^2 - noise^2, sigma from the median of 2-D residuals, |r|^2 / 2 ln 2.
            kept = final.weights > _AGREE
            if np.count_nonzero(kept) < MIN_TILES:
                break
            own = np.trace(np.linalg.inv(information[kept]), axis1=1, axis2=2) / 2
            scatter = float(np.median((final.residuals[kept] ** 2).sum(axis=1)))
            excess = scatter / (2 * np.log(2.0)) - float(np.median(own)) + floor**2
            floor = float(np.sqrt(max(excess, _TILE_FLOOR**2)))
            source, target, information = tiles.tile_targets(measured, transform, floor)
    except ValueError:
        return result(nothing + "no fit")
    weights[measured.matched] = final.weights
    residuals[measured.matched] = final.residuals
    agreeing = np.count_nonzero(weights > _AGREE)
    section = pair.overlap_points(final.transform)
    accuracy = fit.assess_accuracy(
        final,
        source,
        target,
        information,
        section if len(section) else source,
        apart=0.75 * shape.core,
        monitor=monitor,
    )
    problem = f"{nothing}{agreeing}" if agreeing < wanted else ""
    error = None
    if accuracy is not None:
        scale = final.transform.decompose()["scale"]  # px of post to px of pre
        nodes, _ = error_map.nodes_over(pair.post.frame)
        noise = fit.noise_variance(final, information, nodes.reshape(-1, 2))
        error = error_map.expected_error(
            pair.post.frame,
            noise / scale**2,
            source,
            final.residuals / scale,
            apart=0.75 * shape.core,
        )
    return result(problem, final, accuracy, error)


def asked_too_much(correction: float, settings: InteriorSettings) -> str:
    """Return that tiles ask for more than the largest correction."""
    return (
        f"wanted a correction of {settings.interior_max_correction:g} px at most, but "
        f"the tiles ask for {correction:.0f} px; the start stands (raise "
        "interior_max_correction, or look at stage 2)"
    )


def largest_patch(error: ErrorMap, places: FloatArray) -> tuple[float, float]:
    """Return how far a patch of the section is expected to be off at most, px.

    And the share of the section that is by more than `MAX_IN_PLACES`. `places` are the
    tiles, (N, 2), N at least one.
    """
    least = ndimage.minimum_filter(error.values, _PATCH)
    around = ErrorMap(error.origin, error.spacing, least)(places)
    return float(around.max()), float(np.mean(around > MAX_IN_PLACES))


def _decide(
    initial: Transform,
    start: FeatureStart,
    refined: TileRefinement,
    correction: float,
    settings: InteriorSettings,
    bent: local.LocalAlignment | None = None,
) -> InteriorAlignment:
    """Return the result with its verdict: who vouches for which transform."""
    method: Method
    final, accuracy = refined.fit, refined.accuracy
    transform, total, model = initial, -1.0, ""
    error: ErrorMap | None = None
    followed: local.LocalAlignment | None = None
    if final is None or accuracy is None or refined.problem:
        problem = refined.problem or "their error cannot be estimated"
        if not start.problem:
            method, state = "features", State.FELL_BACK
            transform = start.transform
            reason = f"features alone vouch for it; tiles: {problem}"
        else:
            method = "initial"
            state = State.FAILED if start.contradicts else State.FELL_BACK
            reason = f"the start stands; features: {start.problem}; tiles: {problem}"
    elif correction > settings.interior_max_correction:
        method, state = "initial", State.FAILED
        reason = asked_too_much(correction, settings)
    else:
        transform, model, error = final.transform, final.model, refined.error
        method, state, reason = "tiles", State.OK, ""
        if bent is not None and bent.flux_lost > local.MAX_FLUX_LOST:
            state = State.FELL_BACK
            reason = (
                f"to follow what bends takes {bent.flux_lost:.1%} of the flux of "
                f"spots, wanted {local.MAX_FLUX_LOST:.0%} at most: the {model} stands"
            )
        elif bent is not None:
            transform, accuracy, error = bent.transform, bent.accuracy, bent.error
            model = f"{model} and {bent.kind}"
            far = bent.largest
            reason = f"the section is bent, followed: up to {far:.1f} px"
            if bent.kind == "seams":
                reason = f"images stitched with a shift, followed: up to {far:.1f} px"
            followed = bent
        total = accuracy.total
        tried = np.column_stack([refined.tiles.x, refined.tiles.y])
        places = tried if followed is None else followed.points
        worst, share = (0.0, 0.0) if error is None else largest_patch(error, places)
        # The percentile has noise in it, the root mean square has not.
        is_bent = accuracy.coherent > MAX_MISFIT / 3
        if accuracy.coherent_p95 > MAX_MISFIT and is_bent:
            state = State.FELL_BACK
            reason = (
                f"the section is deformed: residual {accuracy.coherent_p95:.1f} px in "
                f"places, wanted {MAX_MISFIT:g} px at most; a {model} cannot follow"
            )
        elif accuracy.total > MAX_ERROR:
            state = State.FELL_BACK
            reason = (
                f"wanted an estimated error of {MAX_ERROR:g} px at most, found "
                f"{accuracy.total:.1f} px"
            )
        elif worst > MAX_ERROR:
            state = State.FELL_BACK
            reason = (
                f"wanted an expected error of {MAX_ERROR:g} px at most everywhere, "
                f"found up to {worst:.1f} px in {share:.1%} of the section; do not "
                "trust the difference there"
            )
        else:
            note, note_alone = "", ""
            if worst > MAX_IN_PLACES:
                note = (
                    f"{share:.1%} of the section is expected to be off by up to "
                    f"{worst:.1f} px"
                )
            if start.problem:
                note_alone = f"tiles alone vouch for it; features: {start.problem}"
            reason = "; ".join(filter(None, (reason, note, note_alone)))
    used = refined.tiles.used
    numbers = start.matches.numbers | {
        "n_tiles": float(np.count_nonzero(used)),
        "n_tiles_tried": float(len(used)),
        "correction_px": correction,
    }
    kept = refined.tiles
    if followed is not None:
        kept = _thinned(followed)
        numbers["n_tiles"] = float(np.count_nonzero(followed.weights > _AGREE))
        numbers["n_tiles_tried"] = float(followed.n_tried)
        numbers["displacement_px"] = followed.largest
        numbers["displacement_gain"] = followed.gain
    if bent is not None:
        numbers["flux_lost_percent"] = 100.0 * bent.flux_lost
    if used.any():
        numbers["tile_correlation"] = float(np.median(refined.correlation[used]))
    if accuracy is not None:
        numbers |= {
            "residual_median_px": accuracy.residual_median,
            "residual_p95_px": accuracy.residual_p95,
            "noise_error_px": accuracy.statistical,
            "misfit_px": accuracy.coherent,
            "misfit_p95_px": accuracy.coherent_p95,
        }
    if error is not None:
        numbers |= {"error_median_px": error.median, "error_p95_px": error.p95}
    numbers["accuracy_px"] = total
    return InteriorAlignment(
        transform=transform,
        verdict=Verdict(state, reason, numbers),
        method=method,
        model=model,
        accuracy_px=total,
        matches=start.matches,
        tiles=kept,
        error=error,
    )


def _thinned(bent: local.LocalAlignment) -> InteriorTiles:
    """Return some of the many tiles that a field was fitted to, for pictures."""
    step = -(-len(bent.points) // _SHOWN)
    (x, y), (dx, dy) = bent.points[::step].T, bent.residuals[::step].T
    weights = bent.weights[::step]
    return InteriorTiles(x, y, dx, dy, weights > _AGREE, weights)
