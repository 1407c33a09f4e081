"""Patches of the interior: whether they agree on one map, and on which."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.features import fit_matches
from napari_exo2micro.core.alignment.fit import Model, fit_plane_robust
from napari_exo2micro.core.alignment.overlap import Texture
from napari_exo2micro.core.transforms import Transform

__all__ = ["Agreement", "agree_on_patches"]

FloatArray = NDArray[np.float64]

_PATCH = 72
_PATCHES_A_SIDE = 14
_TOLERANCE = 2.0
_THREADS = min(4, os.cpu_count() or 1)


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
