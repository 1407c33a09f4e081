"""Turn, magnification and shift by correlation, and whether insides agree."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_exo2micro.core.alignment.features import fit_matches
from napari_exo2micro.core.alignment.fit import Model, fit_plane_robust
from napari_exo2micro.core.alignment.views import Section, View, between
from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.transform import Transform

FloatImage = NDArray[np.float32]

_THREADS = min(4, os.cpu_count() or 1)
#: Turns that are transformed at once: 8 MB at 160 px.
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Candidate:
    """One turn and magnification with its best shift.

    Attributes
    ----------
    angle_deg, scale : float
        Of the map from post (fixed) to pre (moving).
    mirrored : bool
        Whether the pre-stain image is turned over.
    score : float
        Normalised correlation of the two patterns, -1 to 1.
    transform : Transform
        Post to pre, full-resolution px of the canvas.
    """

    angle_deg: float
    scale: float
    mirrored: bool
    score: float
    transform: Transform


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """What is correlated: a ring, a brightness or a texture on a view's grid.

    Attributes
    ----------
    view : View
        Gives the place of the pixels.
    values : ndarray, shape (rows, columns) of `view`, float32
        Zero where there is nothing to compare.
    """

    view: View
    values: FloatImage

    def reduced(self, max_side: int) -> Pattern:
        """Return the pattern with its longer side at most `max_side` px."""
        view = self.view.reduced(max_side)
        if view is self.view:
            return self
        size = (view.image.shape[1], view.image.shape[0])
        small = cv2.resize(self.values, size, interpolation=cv2.INTER_AREA)
        return Pattern(view, np.asarray(small, np.float32))

    def extent(self) -> tuple[NDArray[np.float64], float, float]:
        """Return the middle, half side and radius of what is not empty, in px."""
        magnitude = np.abs(self.values)
        seen = magnitude > 0.02 * float(magnitude.max(initial=0.0))
        y, x = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if not len(y):
            return np.zeros(2), 0.0, 0.0
        middle = np.array([(x[0] + x[-1]) / 2.0, (y[0] + y[-1]) / 2.0])
        half = np.array([x[-1] - x[0], y[-1] - y[0]]) / 2.0 + 1.0
        rows, columns = np.nonzero(seen)
        radius = float(
            np.sqrt(((columns - middle[0]) ** 2 + (rows - middle[1]) ** 2).max()) + 1.0
        )
        return middle, float(half.max()), radius


def grid_nodes(low: float, high: float, step: float) -> list[float]:
    """Return the nodes from `low` to `high`, both included, `step` apart.

    Raises
    ------
    ParameterError
        If the range is empty or the step is not positive.
    """
    if not step > 0.0:
        raise ParameterError(f"a search needs a step above 0, not {step:g}")
    if low > high:
        raise ParameterError(
            f"the search range is empty: its lower end {low:g} is above its upper "
            f"end {high:g}; exchange them"
        )
    count = math.floor((high - low) / step + 1e-9)
    nodes = [low + k * step for k in range(count + 1)]
    if high - nodes[-1] > 1e-9 * max(abs(high), 1.0):
        nodes.append(high)
    return nodes


class _Correlator:
    """Correlates one post pattern with turned and magnified pre patterns."""

    def __init__(self, post: Pattern, pre: Pattern, smallest_scale: float) -> None:
        self._pre = pre
        self._from_post = post.view.to_full.matrix
        self._into_post = np.linalg.inv(self._from_post)
        self._into_pre = pre.view.to_full.inverse().matrix
        post_middle, post_half, _ = post.extent()
        pre_middle, _, pre_radius = pre.extent()
        # The origin of both patterns; a whole pixel, so that post is not
        # resampled.
        self._origin = np.rint(post_middle)
        self._post_centre = post.view.to_full(self._origin[None])[0]
        self._pre_centre = pre.view.to_full(pre_middle[None])[0]
        relative = pre.view.factor / post.view.factor
        reach = pre_radius * relative / smallest_scale
        self._reach = math.ceil(max(post_half, min(reach, 4.0 * post_half + 8.0)))
        self._limit = math.ceil(0.5 * max(post_half, reach)) + 2
        side = math.ceil(post_half) + self._reach + self._limit + 4
        self._side = int(fft.next_fast_len(side, real=True))
        grid = np.zeros((self._side, self._side), np.float32)
        # Circular placing: the origin sits at element (0, 0).
        y, x = np.nonzero(post.values)
        yy = (y - int(self._origin[1])) % self._side
        xx = (x - int(self._origin[0])) % self._side
        np.add.at(grid, (yy, xx), post.values[y, x])
        self._spectrum = fft.rfft2(grid)
        self._norm = float(np.linalg.norm(grid))

    def __call__(self, angle_deg: float, scale: float, mirrored: bool) -> Candidate:
        """Return the best shift for one turn, magnification and hand."""
        return self.look([(angle_deg, scale, mirrored)])[0]

    def look(self, turns: Sequence[tuple[float, float, bool]]) -> list[Candidate]:
        """Return the best shift for each turn (degrees), magnification and hand."""
        shift = self._pre_centre - self._post_centre
        turned = [
            Transform.similarity(
                angle_deg=angle_deg,
                scale=scale,
                mirrored=mirrored,
                centre=(float(self._post_centre[0]), float(self._post_centre[1])),
                translation=(float(shift[0]), float(shift[1])),
            )
            for angle_deg, scale, mirrored in turns
        ]
        side = self._side
        grids = np.zeros((len(turns), side, side), np.float32)
        norms = [self._lay(one, grid) for one, grid in zip(turned, grids, strict=True)]
        # All at once: threads that take turns one by one would wait for each other.
        spectra = fft.rfft2(grids, workers=_THREADS, overwrite_x=True)
        np.conj(spectra, out=spectra)
        spectra *= self._spectrum
        surfaces = fft.irfft2(spectra, s=(side, side), workers=_THREADS)
        limit = min(self._limit, (side - 1) // 2)
        index = np.arange(-limit, limit + 1) % side
        found = []
        for turn, one, norm, surface in zip(
            turns, turned, norms, surfaces, strict=True
        ):
            if norm <= 0.0:
                found.append(Candidate(*turn, 0.0, one))
                continue
            near = surface[np.ix_(index, index)]
            row, column = np.unravel_index(int(np.argmax(near)), near.shape)
            dy, dx = _parabola_peak(near, int(row), int(column))
            # post(p + d) looks like the turned pre at p.
            back = np.array([[1.0, 0, limit - dx], [0, 1.0, limit - dy], [0, 0, 1.0]])
            matrix = one.matrix @ self._from_post @ back @ self._into_post
            score = float(near[row, column]) / norm
            found.append(Candidate(*turn, score, Transform(matrix)))
        return found

    def _lay(self, turned: Transform, grid: FloatImage) -> float:
        """Lay turned pre on a grid, its origin at element (0, 0); return the norm."""
        small = self._into_pre @ turned.matrix @ self._from_post
        half = min(self._reach, (self._side - 1) // 2)
        size = 2 * half + 1
        left, top = self._origin - half
        place = np.array([[1.0, 0, left], [0, 1.0, top], [0, 0, 1.0]])
        warped = cv2.warpAffine(
            self._pre.values,
            (small @ place)[:2],
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        grid[: half + 1, : half + 1] = warped[half:, half:]
        grid[: half + 1, self._side - half :] = warped[half:, :half]
        grid[self._side - half :, : half + 1] = warped[:half, half:]
        grid[self._side - half :, self._side - half :] = warped[:half, :half]
        return float(np.linalg.norm(warped)) * self._norm


def _parabola_peak(surface: FloatImage, row: int, column: int) -> tuple[float, float]:
    """Return the place of a peak between the pixels."""

    def vertex(before: float, here: float, after: float) -> float:
        bend = before - 2.0 * here + after
        return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend else 0.0

    y, x = float(row), float(column)
    if 0 < row < surface.shape[0] - 1:
        y += vertex(*(float(surface[row + k, column]) for k in (-1, 0, 1)))
    if 0 < column < surface.shape[1] - 1:
        x += vertex(*(float(surface[row, column + k]) for k in (-1, 0, 1)))
    return y, x


def search_grid(
    post: Pattern,
    pre: Pattern,
    *,
    angles: Iterable[float],
    scales: Iterable[float],
    hands: Iterable[bool] = (False,),
    keep: int = 4,
    near: Iterable[Candidate] | None = None,
    monitor: Monitor | None = None,
) -> list[Candidate]:
    """Return the best of all turns and magnifications, best first.

    Parameters
    ----------
    post, pre : Pattern
        Of the fixed and the moving image.
    angles, scales, hands : iterable
        Nodes of the search: degrees, factors, mirrored or not.
    keep : int
        How many to return; neighbours on the grid of a better one are left out.
    near : iterable of Candidate, optional
        What the same nodes gave on smaller patterns: only they and their neighbours
        are looked at.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    list of Candidate
        Empty when a pattern is empty.

    Notes
    -----
    The correlation over all shifts is computed by Fourier transforms and
    divided by the norms of the two patterns.
    """
    angles, scales, hands = sorted(angles), sorted(scales), list(hands)
    if not post.values.any() or not pre.values.any():
        return []
    nodes = [
        (i, j, (angle, scale, hand))
        for hand in hands
        for i, scale in enumerate(scales)
        for j, angle in enumerate(angles)
    ]
    if near is not None:
        beside = [
            (scales.index(one.scale), angles.index(one.angle_deg), one.mirrored)
            for one in near
        ]
        nodes = [
            (i, j, turn)
            for i, j, turn in nodes
            if any(
                abs(i - i2) <= 1 and abs(j - j2) <= 1 and turn[2] == hand
                for i2, j2, hand in beside
            )
        ]
    correlate = _Correlator(post, pre, scales[0])
    monitor = monitor or Monitor()
    found: list[tuple[int, int, Candidate]] = []
    for start in range(0, len(nodes), _AT_ONCE):
        monitor.report(start / len(nodes), "searching turns and magnifications")
        some = nodes[start : start + _AT_ONCE]
        candidates = correlate.look([turn for _, _, turn in some])
        found += [(i, j, c) for (i, j, _), c in zip(some, candidates, strict=True)]
    found.sort(key=lambda entry: (-entry[2].score, entry[0], entry[1]))
    kept: list[tuple[int, int, Candidate]] = []
    for i, j, candidate in found:
        is_beside = any(
            abs(i - i2) <= 1 and abs(j - j2) <= 2 and candidate.mirrored == c2.mirrored
            for i2, j2, c2 in kept
        )
        if not is_beside:
            kept.append((i, j, candidate))
        if len(kept) == keep:
            break
    return [candidate for _, _, candidate in kept]


def refine_candidates(
    post: Pattern,
    pre: Pattern,
    starts: Sequence[Candidate],
    *,
    angle_step: float,
    scale_step: float,
    angle_limits: tuple[float, float],
    scale_limits: tuple[float, float],
    rounds: int = 4,
    monitor: Monitor | None = None,
) -> list[Candidate]:
    """Return better turns and magnifications between the nodes of the grid.

    Parameters
    ----------
    post, pre : Pattern
        Of the fixed and the moving image.
    starts : sequence of Candidate
        Nodes of the grid.
    angle_step, scale_step : float
        Of the grid: degrees, factor; 0 leaves turn or magnification as it is.
    angle_limits, scale_limits : tuple of float
        The range that is not left.
    rounds : int
        How often the step is halved.
    monitor : Monitor, optional
        Asked whether to stop.

    Returns
    -------
    list of Candidate
        One for each start, best first; its score is not lower than that of the start
        on the same patterns.
    """
    if not starts:
        return []
    monitor = monitor or Monitor()
    smallest = min(scale_limits[0], *(start.scale for start in starts))
    correlate = _Correlator(post, pre, smallest)
    best = correlate.look([(s.angle_deg, s.scale, s.mirrored) for s in starts])
    for number in range(1, rounds + 1):
        turn, zoom = angle_step / 2**number, scale_step / 2**number
        for d_angle, d_scale in ((turn, 0), (-turn, 0), (0, zoom), (0, -zoom)):
            if d_angle == 0.0 and d_scale == 0.0:
                continue
            monitor.check()
            trials = correlate.look(
                [
                    (
                        float(np.clip(one.angle_deg + d_angle, *angle_limits)),
                        float(np.clip(one.scale + d_scale, *scale_limits)),
                        one.mirrored,
                    )
                    for one in best
                ]
            )
            best = [
                trial if trial.score > one.score else one
                for one, trial in zip(best, trials, strict=True)
            ]
    return sorted(best, key=lambda candidate: -candidate.score)


_SEARCH = 0.02
_SURROUND = 0.11


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """Band-passed, locally normalised interior of a section.

    Attributes
    ----------
    view : View
        Gives the place of the pixels.
    values : ndarray, shape (rows, columns) of `view`, float32
        About unit variance; 0 outside `mask`.
    mask : ndarray, shape (rows, columns) of `view`, bool
        Inside the section and the frame, away from both edges.
    """

    view: View
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]

    def warped_to(
        self, post: Texture, transform: Transform
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return values and mask as they lie on the grid of `post`.

        Parameters
        ----------
        post : Texture
            Of the fixed image.
        transform : Transform
            Post to pre, full-resolution px.
        """
        matrix = between(post.view, self.view, transform).matrix
        size = (post.values.shape[1], post.values.shape[0])
        values = cv2.warpPerspective(
            self.values, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        inside = cv2.warpPerspective(
            self.mask.astype(np.float32),
            matrix,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        return np.asarray(values, np.float32), inside > 0.99


@dataclass(frozen=True, slots=True)
class Overlap:
    """How well two interiors agree under a transform.

    Attributes
    ----------
    score : float
        Height of the correlation peak near zero shift, in standard deviations
        of the correlations at larger shifts; about 3 to 5 for unrelated
        interiors, tens for the same one.
    correlation : float
        Correlation coefficient at zero shift, -1 to 1.
    shift : tuple of float
        Place (x, y) of the peak, full-resolution px of the post-stain image.
    share : float
        Part of the smaller interior that both have in common, 0 to 1.
    """

    score: float
    correlation: float
    shift: tuple[float, float]
    share: float


def interior_texture(
    view: View, section: Section | None, *, fine: float = 1.5, coarse: float = 5.0
) -> Texture:
    """Return the texture inside the section.

    Parameters
    ----------
    view : View
        At the size at which textures are compared.
    section : Section or None
        Of the same image at any size; None (or an empty one): the whole frame.
    fine, coarse : float
        Structures between these sigmas remain, px of `view`.

    Returns
    -------
    Texture
        Free of gain, offset, uneven light and most of the pull of microbes.
    """
    valid = view.valid
    sample = view.image[valid]
    low, high = np.percentile(sample, [1.0, 99.0])
    span = max(float(high - low), 1e-12)
    # The square root evens out photon noise and tames bright spots.
    root = np.sqrt(np.clip((view.image - low) / span, 0.0, 2.0) + np.float32(0.02))
    root = np.where(valid, root, np.float32(0.0)).astype(np.float32)

    def mean(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        blurred = cv2.GaussianBlur(values, (0, 0), sigma)
        if not valid.all():
            weight = cv2.GaussianBlur(valid.astype(np.float32), (0, 0), sigma)
            blurred = np.where(valid, blurred / np.maximum(weight, 1e-3), 0.0)
        return np.asarray(blurred, np.float32)

    band = mean(root, fine) - mean(root, coarse)
    spread = np.sqrt(mean(band * band, 2.5 * coarse))
    mask = _interior(view, section, round(coarse))
    typical = float(np.percentile(spread[mask], 60)) if mask.any() else 1.0
    values = band / np.maximum(spread, np.float32(max(0.4 * typical, 1e-9)))
    values = np.where(mask, np.clip(values, -3.0, 3.0), 0.0)
    return Texture(view, np.asarray(values, np.float32), mask)


def _interior(view: View, section: Section | None, margin: int) -> NDArray[np.bool_]:
    """Return what lies well inside the frame and, if there is one, the section."""
    rows, columns = view.image.shape
    inside = np.pad(view.valid, 1).astype(np.uint8)
    if section is not None and section.area_fraction > 0.02:
        distance = cv2.resize(
            section.distance, (columns, rows), interpolation=cv2.INTER_AREA
        )
        ratio = view.factor / section.view.factor
        inside[1:-1, 1:-1] &= distance > (margin + 2.0) * ratio
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    frame = np.pad(view.valid, 1).astype(np.uint8)
    edge = cv2.distanceTransform(frame, cv2.DIST_L2, cv2.DIST_MASK_5)
    result: NDArray[np.bool_] = ((edge > margin) & (depth > 0))[1:-1, 1:-1]
    return result


def score_overlap(post: Texture, pre: Texture, transform: Transform) -> Overlap:
    """Compare two interiors under a transform.

    Parameters
    ----------
    post, pre : Texture
        Of the fixed and the moving image.
    transform : Transform
        Post to pre, full-resolution px.

    Returns
    -------
    Overlap
        Score 0 when the interiors hardly meet.
    """
    warped, inside = pre.warped_to(post, transform)
    both = post.mask & inside
    zoom = post.view.factor * transform.decompose()["scale"] / pre.view.factor
    smaller = min(float(post.mask.sum()), float(pre.mask.sum()) / zoom**2)
    count = int(np.count_nonzero(both))
    if count < 400 or count < 0.1 * smaller:
        return Overlap(0.0, 0.0, (0.0, 0.0), count / max(smaller, 1.0))
    a = np.where(both, post.values - post.values[both].mean(), np.float32(0.0))
    b = np.where(both, warped - warped[both].mean(), np.float32(0.0))
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if norm <= 0.0:
        return Overlap(0.0, 0.0, (0.0, 0.0), count / smaller)
    side = max(a.shape)
    near = max(4, round(_SEARCH * side))
    far = max(near + 8, round(_SURROUND * side))
    shape = [int(fft.next_fast_len(n + far, real=True)) for n in a.shape]
    spectra = [fft.rfft2(one, s=shape, workers=_THREADS) for one in (a, b)]
    spectrum = spectra[0] * np.conj(spectra[1])
    surface = fft.irfft2(spectrum, s=shape, workers=_THREADS) / norm
    steps = np.arange(-far, far + 1)
    window = surface[np.ix_(steps % shape[0], steps % shape[1])]
    reach = np.hypot(steps[:, None], steps[None, :])
    around = window[(reach > near + 4) & (reach <= far)]
    centre, spread = float(around.mean()), float(around.std()) + 1e-12
    inner = np.where(reach <= near, window, -np.inf)
    row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
    factor = post.view.factor
    return Overlap(
        (float(window[row, column]) - centre) / spread,
        float(window[far, far]),
        (float(steps[column]) * factor, float(steps[row]) * factor),
        count / smaller,
    )


FloatArray = NDArray[np.float64]

_PATCH = 72
_PATCHES_A_SIDE = 14
_TOLERANCE = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """The map on which the patches agree.

    Attributes
    ----------
    transform : Transform
        Post to pre, full-resolution px.
    n_patches : int
        Patches with enough texture in both images.
    n_agreeing : int
        Those whose own shift is that of the map.
    residual : float
        Median distance of the agreeing ones from it, full-resolution px.
    accuracy : float
        Estimated error of the map, full-resolution px.
    """

    transform: Transform
    n_patches: int
    n_agreeing: int
    residual: float
    accuracy: float

    @property
    def share(self) -> float:
        """Part of the patches that agree, 0 to 1."""
        return self.n_agreeing / max(self.n_patches, 1)


def agree_on_patches(
    post: Texture, pre: Texture, start: Transform, *, reach: int = 16
) -> Agreement | None:
    """Find the shift of each patch, and the map on which most agree.

    Parameters
    ----------
    post, pre : Texture
        Of the fixed and the moving image, at about 1000 px.
    start : Transform
        Post to pre, full-resolution px.
    reach : int
        Largest shift that is looked for, px of the texture.

    Returns
    -------
    Agreement or None
        None when there are too few patches or too few of them agree.
    """
    found = None
    transform = start
    for number, limit in enumerate((reach, reach // 2, reach // 2)):
        # The last window stays wide: agreement within it is no matter of course.
        centres, shifts, total = _measure(post, pre, transform, limit)
        if len(centres) < 6:
            return None
        found = _fit(post, centres, shifts, total, transform, precise=number > 0)
        if found is None:
            return None
        transform = found.transform
    return found


def _measure(
    post: Texture, pre: Texture, transform: Transform, reach: int
) -> tuple[FloatArray, FloatArray, int]:
    """Return centres and shifts (x, y) of patches, px, and how many there were."""
    warped, inside = pre.warped_to(post, transform)
    warped[~inside] = 0.0
    rows, columns = post.values.shape
    patch = int(min(_PATCH, max(24, min(rows, columns) // 6)))
    seen = (post.mask & inside).view(np.uint8)
    x0, y0, width, height = cv2.boundingRect(seen)
    if not width:
        return np.empty((0, 2)), np.empty((0, 2)), 0
    step = max(patch // 2, (max(width, height) - 1) // _PATCHES_A_SIDE, 8)
    both = cv2.integral(seen)
    padded = cv2.copyMakeBorder(
        warped, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0
    )
    tops = np.arange(y0, y0 + height - patch + 1, step)
    lefts = np.arange(x0, x0 + width - patch + 1, step)
    corners = [
        both[np.ix_(tops + down, lefts + right)]
        for down, right in ((0, 0), (patch, patch), (patch, 0), (0, patch))
    ]
    counts = corners[0] + corners[1] - corners[2] - corners[3]
    rows_of, columns_of = np.nonzero(counts >= 0.6 * patch * patch)
    places = list(zip(tops[rows_of], lefts[columns_of], strict=True))

    def match(places: list[tuple[int, int]]) -> list[tuple[float, ...]]:
        """Return left, top and shift of patches with texture; NaN: on the edge."""
        found: list[tuple[float, ...]] = []
        for top, left in places:
            template = post.values[top : top + patch, left : left + patch]
            size = patch + 2 * reach
            area = padded[top : top + size, left : left + size]
            if template.any() and area.any():
                surface = cv2.matchTemplate(area, template, cv2.TM_CCORR_NORMED)
                peak = _peak(np.asarray(surface, np.float32))
                found.append((left, top, *(peak or (np.nan, np.nan))))
        return found

    share = -(-len(places) // _THREADS) or 1
    shares = [places[i : i + share] for i in range(0, len(places), share)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = np.array(list(chain.from_iterable(pool.map(match, shares)))).reshape(
            -1, 4
        )
    inside_reach = found[np.isfinite(found[:, 2])]
    centres = inside_reach[:, :2] + (patch - 1) / 2
    return centres, inside_reach[:, 2:] - reach, len(found)


def _peak(surface: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return the place (x, y) of the peak, or None when it lies on the edge."""
    row, column = np.unravel_index(int(np.argmax(surface)), surface.shape)
    last_row, last_column = surface.shape[0] - 1, surface.shape[1] - 1
    if row in (0, last_row) or column in (0, last_column):
        return None
    around = surface[row - 1 : row + 2, column - 1 : column + 2].astype(float)

    def vertex(before: float, here: float, after: float) -> float:
        bend = before - 2.0 * here + after
        return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend else 0.0

    x = column + vertex(around[1, 0], around[1, 1], around[1, 2])
    y = row + vertex(around[0, 1], around[1, 1], around[2, 1])
    return float(x), float(y)


def _fit(
    post: Texture,
    centres: FloatArray,
    shifts: FloatArray,
    total: int,
    transform: Transform,
    *,
    precise: bool,
) -> Agreement | None:
    """Return the map through the shifts, with the freedom that they ask for."""
    factor = post.view.factor
    # post(x) looks like warped_pre(x + shift): pre(T(x + shift)).
    source = post.view.to_full(centres)
    target = transform(post.view.to_full(centres + shifts))
    grow = factor * transform.decompose()["scale"]
    tolerance = _TOLERANCE * grow
    best: tuple[float, Transform, NDArray[np.bool_], FloatArray] | None = None
    models: tuple[tuple[Model, int], ...] = (("similarity", 4), ("affine", 6))
    if precise:
        models = (("affine", 6), ("homography", 8))
    for model, freedom in models:
        robust = fit_matches(
            source, target, model=model, threshold=tolerance, mirrored=None
        )
        if robust is None or robust.n_inliers < freedom:
            continue
        candidate = robust.transform
        if precise:
            inliers = robust.inliers
            with contextlib.suppress(ValueError):
                candidate = fit_plane_robust(
                    model,
                    source[inliers],
                    target[inliers],
                    start=candidate,
                    floor=0.05 * grow,
                ).transform
        distance = np.linalg.norm(target - candidate(source), axis=1)
        # Truncated squares, with a price for each parameter (GRIC-like).
        sigma2 = (0.25 * tolerance) ** 2
        cost = float(np.minimum(distance**2 / sigma2, 16.0).sum()) + 4.0 * freedom
        if best is None or cost < best[0]:
            best = (cost, candidate, distance <= tolerance, distance)
    if best is None:
        return None
    _, chosen, agreeing, distance = best
    count = int(np.count_nonzero(agreeing))
    if count < 6:
        return None
    residual = float(np.median(distance[agreeing]))
    # Neighbouring patches overlap by half: about a quarter is independent.
    accuracy = residual * float(np.sqrt(8.0 / (0.5 * count))) + 0.05 * grow
    return Agreement(chosen, total, count, residual, accuracy)
