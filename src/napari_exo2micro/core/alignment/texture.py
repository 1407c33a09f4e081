"""Interiors of sections compared: overlap score, patches that agree, and ECC."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_exo2micro.core.alignment import features, views
from napari_exo2micro.core.alignment.correlation import parabola_vertex
from napari_exo2micro.core.alignment.fit import FloatArray, Model, fit_plane_robust
from napari_exo2micro.core.alignment.settings import BoundarySettings
from napari_exo2micro.core.images.transform import Transform

_THREADS = min(4, os.cpu_count() or 1)
#: Shifts that count as near zero, and those that the peak is compared with, as parts
#: of the longer side.
_NEAR, _SURROUND = 0.02, 0.11
#: Fewer px than this in common say nothing.
_FEWEST_PIXELS = 400
_PATCH = 72
_PATCHES_A_SIDE = 14
_FEWEST_PATCHES = 6
#: Largest shift that is looked for, round by round, px of the texture. The last one
#: stays wide: agreement within it is no matter of course.
_REACHES = (16, 8, 8)
#: Distance from the common map within which a patch agrees, px of the texture.
_TOLERANCE = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """Band-passed interior of a section on the grid of a view.

    Of about unit variance, 0 outside `mask`: what lies inside the section and the
    frame, away from both edges.
    """

    view: views.View
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]

    def warped_to(
        self, post: Texture, transform: Transform
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return values and mask as a map from post lays them on the grid of `post`."""
        matrix = views.between(post.view, self.view, transform).matrix
        size = (post.values.shape[1], post.values.shape[0])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        values = cv2.warpPerspective(self.values, matrix, size, flags=flags)
        mask = self.mask.astype(np.float32)
        inside = cv2.warpPerspective(mask, matrix, size, flags=flags)
        return np.asarray(values, np.float32), inside > 0.99


def interior_texture(
    view: views.View,
    section: views.Section | None,
    *,
    fine: float = 1.5,
    coarse: float = 5.0,
) -> Texture:
    """Return the texture inside the section, between two sigmas in px of the view.

    It is free of gain, offset, uneven light and most of the pull of microbes. The
    section is of the same image at any size; without one it is the whole frame.
    """
    valid = view.valid
    low, high = np.percentile(view.image[valid], [1.0, 99.0])
    span = max(float(high - low), 1e-12)
    # The square root evens out photon noise and tames bright spots.
    root = np.sqrt(np.clip((view.image - low) / span, 0.0, 2.0) + np.float32(0.02))
    root = np.where(valid, root, np.float32(0.0)).astype(np.float32)
    band = views.masked_blur(root, valid, fine) - views.masked_blur(root, valid, coarse)
    spread = np.sqrt(views.masked_blur(band * band, valid, 2.5 * coarse))
    mask = _interior(view, section, round(coarse))
    typical = float(np.percentile(spread[mask], 60)) if mask.any() else 1.0
    values = band / np.maximum(spread, np.float32(max(0.4 * typical, 1e-9)))
    values = np.where(mask, np.clip(values, -3.0, 3.0), 0.0)
    return Texture(view, np.asarray(values, np.float32), mask)


def _interior(
    view: views.View, section: views.Section | None, margin: int
) -> NDArray[np.bool_]:
    """Return what lies well inside the frame and, if there is one, the section."""
    frame = np.pad(view.valid, 1).astype(np.uint8)
    inside = frame.copy()
    if section is not None and section.area_fraction > 0.02:
        ratio = view.factor / section.view.factor
        distance = section.distance_on(view)
        inside[1:-1, 1:-1] &= distance > (margin + 2.0) * ratio
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    edge = cv2.distanceTransform(frame, cv2.DIST_L2, cv2.DIST_MASK_5)
    result: NDArray[np.bool_] = ((edge > margin) & (depth > 0))[1:-1, 1:-1]
    return result


@dataclass(frozen=True, slots=True)
class Overlap:
    """How well two interiors agree under a transform.

    `score`: height of the correlation peak near zero shift, in standard deviations of
    the correlations at larger shifts; about 3 to 5 for unrelated interiors, tens for
    the same one. `correlation`: at zero shift. `share`: part of the smaller interior
    that both have in common.
    """

    score: float
    correlation: float
    share: float


def score_overlap(post: Texture, pre: Texture, transform: Transform) -> Overlap:
    """Compare two interiors under a transform; score 0 when they hardly meet."""
    warped, inside = pre.warped_to(post, transform)
    both = post.mask & inside
    zoom = post.view.factor * transform.decompose()["scale"] / pre.view.factor
    smaller = min(float(post.mask.sum()), float(pre.mask.sum()) / zoom**2)
    count = int(np.count_nonzero(both))
    if count < _FEWEST_PIXELS or count < 0.1 * smaller:
        return Overlap(0.0, 0.0, count / max(smaller, 1.0))
    a = np.where(both, post.values - post.values[both].mean(), np.float32(0.0))
    b = np.where(both, warped - warped[both].mean(), np.float32(0.0))
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if norm <= 0.0:
        return Overlap(0.0, 0.0, count / smaller)
    side = max(a.shape)
    near = max(4, round(_NEAR * side))
    far = max(near + 8, round(_SURROUND * side))
    # c(d) = sum_x a(x + d) b(x) / (|a| |b|), for all shifts d at once.
    shape = [int(fft.next_fast_len(n + far, real=True)) for n in a.shape]
    spectra = [fft.rfft2(image, s=shape, workers=_THREADS) for image in (a, b)]
    spectrum = spectra[0] * np.conj(spectra[1])
    surface = fft.irfft2(spectrum, s=shape, workers=_THREADS) / norm
    steps = np.arange(-far, far + 1)
    window = surface[np.ix_(steps % shape[0], steps % shape[1])]
    reach = np.hypot(steps[:, None], steps[None, :])
    around = window[(reach > near + 4) & (reach <= far)]
    centre, spread = float(around.mean()), float(around.std()) + 1e-12
    peak = float(window[reach <= near].max())
    return Overlap((peak - centre) / spread, float(window[far, far]), count / smaller)


def correlation_at(post: Texture, pre: Texture, transform: Transform) -> float:
    """Return the correlation coefficient of two interiors where both are seen."""
    warped, inside = pre.warped_to(post, transform)
    both = post.mask & inside
    if np.count_nonzero(both) < _FEWEST_PIXELS:
        return 0.0
    a = post.values[both] - post.values[both].mean()
    b = warped[both] - warped[both].mean()
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class EccResult:
    """A homography, and the correlation of two interiors before and after it."""

    transform: Transform
    before: float
    after: float


def refine_ecc(
    post: Texture, pre: Texture, start: Transform, settings: BoundarySettings
) -> EccResult | None:
    """Maximise the correlation of two interiors over homographies [1]_.

    From a start that is right within about the width of the texture; the settings
    `stopit` and `stopdelta` end the iteration. None when it did not converge.

    References
    ----------
    .. [1] G. Evangelidis and E. Psarakis, "Parametric image alignment using
       enhanced correlation coefficient maximization", IEEE TPAMI 30, 2008.
       :doi:`10.1109/TPAMI.2008.113`
    """
    warp = views.between(post.view, pre.view, start).matrix.astype(np.float32)
    kind = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT
    try:
        _, best = cv2.findTransformECC(
            post.values,
            pre.values,
            warp,
            cv2.MOTION_HOMOGRAPHY,
            (kind, settings.stopit, settings.stopdelta),
            pre.mask.astype(np.uint8),
            3,
        )
        small = Transform(np.asarray(best, np.float64))
        full = views.on_canvas(post.view, pre.view, small)
    except (cv2.error, ValueError):
        return None
    before = correlation_at(post, pre, start)
    return EccResult(full, before, correlation_at(post, pre, full))


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """The map on which the patches agree.

    Of the `n_patches` with texture in both images, the own shift of `n_agreeing` is
    that of the map, with a median distance `residual`. This and the estimated error of
    the map, `accuracy`, are full-resolution px.
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


def agree_on_patches(post: Texture, pre: Texture, start: Transform) -> Agreement | None:
    """Find the shift of each patch at about 1000 px, and the map on which most agree.

    None when there are too few patches or too few of them agree.
    """
    agreement = None
    transform = start
    for number, reach in enumerate(_REACHES):
        centres, shifts, total = _patch_shifts(post, pre, transform, reach)
        if len(centres) < _FEWEST_PATCHES:
            return None
        agreement = _common_map(
            post, centres, shifts, total, transform, precise=number > 0
        )
        if agreement is None:
            return None
        transform = agreement.transform
    return agreement


def _patch_shifts(
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
    padded = cv2.copyMakeBorder(
        warped, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0
    )
    tops = np.arange(y0, y0 + height - patch + 1, step)
    lefts = np.arange(x0, x0 + width - patch + 1, step)
    # Sums over patches from the sums S over all px above and to the left:
    # S(bottom, right) + S(top, left) - S(bottom, left) - S(top, right).
    sums = cv2.integral(seen)
    corners = [
        sums[np.ix_(tops + down, lefts + right)]
        for down, right in ((0, 0), (patch, patch), (patch, 0), (0, patch))
    ]
    counts = corners[0] + corners[1] - corners[2] - corners[3]
    rows_of, columns_of = np.nonzero(counts >= 0.6 * patch * patch)
    places = list(zip(tops[rows_of], lefts[columns_of], strict=True))

    def match(places: list[tuple[int, int]]) -> list[tuple[float, ...]]:
        """Return left, top and shift of patches with texture; NaN: on the edge."""
        shifts: list[tuple[float, ...]] = []
        for top, left in places:
            template = post.values[top : top + patch, left : left + patch]
            size = patch + 2 * reach
            area = padded[top : top + size, left : left + size]
            if template.any() and area.any():
                surface = cv2.matchTemplate(area, template, cv2.TM_CCORR_NORMED)
                peak = _inner_peak(np.asarray(surface, np.float32))
                shifts.append((left, top, *(peak or (np.nan, np.nan))))
        return shifts

    share = -(-len(places) // _THREADS) or 1
    shares = [places[i : i + share] for i in range(0, len(places), share)]
    with ThreadPoolExecutor(_THREADS) as pool:
        matched = np.array(list(chain.from_iterable(pool.map(match, shares))))
    matched = matched.reshape(-1, 4)
    within = matched[np.isfinite(matched[:, 2])]
    centres = within[:, :2] + (patch - 1) / 2
    return centres, within[:, 2:] - reach, len(matched)


def _inner_peak(surface: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return the place (x, y) of the peak, or None when it lies on the edge."""
    row, column = np.unravel_index(int(np.argmax(surface)), surface.shape)
    if row in (0, surface.shape[0] - 1) or column in (0, surface.shape[1] - 1):
        return None
    around = surface[row - 1 : row + 2, column - 1 : column + 2].astype(float)
    x = column + parabola_vertex(*around[1])
    y = row + parabola_vertex(*around[:, 1])
    return float(x), float(y)


def _common_map(
    post: Texture,
    centres: FloatArray,
    shifts: FloatArray,
    total: int,
    transform: Transform,
    *,
    precise: bool,
) -> Agreement | None:
    """Return the map through the shifts, with the freedom that they ask for."""
    # post(x) looks like warped_pre(x + shift): pre(T(x + shift)).
    source = post.view.to_full(centres)
    target = transform(post.view.to_full(centres + shifts))
    grow = post.view.factor * transform.decompose()["scale"]
    tolerance = _TOLERANCE * grow
    best: tuple[float, Transform, NDArray[np.bool_], FloatArray] | None = None
    models: tuple[tuple[Model, int], ...] = (("similarity", 4), ("affine", 6))
    if precise:
        models = (("affine", 6), ("homography", 8))
    for model, freedom in models:
        robust = features.fit_matches(source, target, model=model, threshold=tolerance)
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
        # cost = sum min(r^2 / sigma^2, 16) + 4 parameters: truncated squares with a
        # price for freedom, in the manner of GRIC (P. Torr, Phil. Trans. R. Soc. A
        # 356, 1998, doi:10.1098/rsta.1998.0224).
        sigma2 = (0.25 * tolerance) ** 2
        cost = float(np.minimum(distance**2 / sigma2, 16.0).sum()) + 4.0 * freedom
        if best is None or cost < best[0]:
            best = (cost, candidate, distance <= tolerance, distance)
    if best is None:
        return None
    _, chosen, agreeing, distance = best
    count = int(np.count_nonzero(agreeing))
    if count < _FEWEST_PATCHES:
        return None
    residual = float(np.median(distance[agreeing]))
    # Neighbouring patches overlap by half: about a quarter is independent.
    accuracy = residual * float(np.sqrt(8.0 / (0.5 * count))) + 0.05 * grow
    return Agreement(chosen, total, count, residual, accuracy)
