"""Candidates: the peaks of the S/N, and what each of them looks like.

A peak is measured by an elliptical Gaussian with a constant below it, fitted by least
squares to the difference around it; pixels that lie nearer to another peak do not
count. Everything is local, so that windows and threads change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from astropy import units
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_exo2micro.core.alignment.error_map import ErrorMap
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.detection.significance import Significance
from napari_exo2micro.core.images import ImageLike
from napari_exo2micro.core.images.lazy import Window
from napari_exo2micro.core.photometry.statistics import WORKERS

Array = NDArray[np.float64]

PEAK: Final = np.dtype([("x", np.int64), ("y", np.int64), ("snr", np.float32)])
"""Pixel of the canvas and S/N of a peak."""

_BEFORE: Final = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], np.uint8)
"""The neighbours of a pixel that come before it, row by row."""

_APART: Final = 4.0
"""Of two peaks nearer than this, px, the higher one counts."""

_REACH: Final = 12
"""Pixels on each side of a peak that the fit sees."""

_AROUND: Final = 400
"""Side of the squares in which peaks are measured together, px."""

_SMALLEST, _LARGEST = 0.7, 9.0
"""Standard deviations that a fit may have, px."""

_FARTHEST: Final = 4.0
"""How far the middle of a spot may lie from the peak of the S/N, px."""

_ROUNDS: Final = 14
_FWHM: Final = 2.0 * math.log(2.0)


def find_peaks(
    snr: NDArray[np.float32],
    threshold: float,
    origin: tuple[int, int] = (0, 0),
    halo: int | tuple[int, int, int, int] = 1,
) -> NDArray[np.void]:
    """Return the local maxima of a window of the S/N map.

    Parameters
    ----------
    snr : ndarray, shape (rows, columns), float32
        S/N of the window and of its halo.
    threshold : float
        Lower ones are left out.
    origin : tuple of int
        x and y of the first pixel of `snr` on the canvas, px.
    halo : int or tuple of int
        How many pixels around the window are only neighbours: on all sides, or above,
        below, left and right of it. 1 or more wherever the canvas goes on; 0 at its
        edges.

    Returns
    -------
    ndarray, shape (N,), fields x, y (int64, canvas px) and snr (float32)
        Sorted by y, then x. A pixel counts that is not below any of its eight
        neighbours; of equal ones, the last by y, then x. The same whatever the windows.

    Examples
    --------
    >>> snr = np.zeros((5, 5), np.float32)
    >>> snr[2, 2:4] = 7
    >>> find_peaks(snr, 5, halo=0).tolist()
    [(3, 2, 7.0)]
    """
    snr = np.nan_to_num(np.asarray(snr, np.float32), nan=-np.inf, posinf=np.inf)
    before = cv2.dilate(snr, _BEFORE)
    after = cv2.dilate(snr, _BEFORE[::-1, ::-1].copy())
    is_peak = (snr >= threshold) & (snr >= before) & (snr > after)
    top, bottom, left, right = halo if isinstance(halo, tuple) else (halo,) * 4
    rows, columns = snr.shape
    y, x = np.nonzero(is_peak[top : rows - bottom, left : columns - right])
    peaks = np.empty(len(x), PEAK)
    peaks["x"], peaks["y"] = x + left + origin[0], y + top + origin[1]
    peaks["snr"] = snr[y + top, x + left]
    return peaks


def merge_peaks(peaks: NDArray[np.void]) -> NDArray[np.void]:
    """Return peaks without those that stand within 4 px of a higher one.

    Parameters
    ----------
    peaks : ndarray of `PEAK`
        In any order.

    Returns
    -------
    ndarray of `PEAK`
        By rows.
    """
    order = np.lexsort((peaks["x"], peaks["y"], -peaks["snr"].astype(np.float64)))
    peaks = peaks[order]
    places = np.column_stack([peaks["x"], peaks["y"]]).astype(np.float64)
    kept = np.ones(len(peaks), bool)
    if len(peaks):
        pairs = cKDTree(places).query_pairs(_APART, output_type="ndarray")
        # the higher one is the first of a pair; each is decided before the lower ones
        for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
            if kept[first]:
                kept[second] = False
    peaks = peaks[kept]
    return peaks[np.lexsort((peaks["x"], peaks["y"]))]


class _Cuts(NamedTuple):
    """What is around each of N peaks, flat: shape (N, pixels)."""

    left: Array  # the difference
    light: Array  # its background
    weight: Array  # 1 / variance, 0 where a pixel does not count
    seen: NDArray[np.bool_]  # has data
    x: Array  # (pixels,) from the peak, px
    y: Array


class _Fit(NamedTuple):
    """Elliptical Gaussians of N spots: `shape` holds the inverse covariance."""

    peak: Array
    middle: Array  # (N, 2), from the peak of the S/N
    shape: Array  # (N, 3): xx, xy, yy
    ground: Array
    flux: Array
    flux_error: Array
    good: NDArray[np.bool_]


def measure_candidates(
    peaks: NDArray[np.void],
    significance: Significance,
    *,
    pre: ImageLike,
    scale: float,
    error_map: ErrorMap | None = None,
    dark: bool = False,
    monitor: Monitor | None = None,
) -> Table:
    """Measure what is at peaks of the S/N.

    Parameters
    ----------
    peaks : ndarray of `PEAK`
        As `merge_peaks` returns them.
    significance : Significance
        Of the difference; its images are read around the peaks.
    pre : array_like, shape (rows, columns)
        Aligned pre.
    scale : float
        Brightness of minerals in post divided by that in pre.
    error_map : ErrorMap, optional
        Expected error of the registration, px.
    dark : bool
        Whether the peaks are those of dark spots: the difference is turned over.
    monitor : Monitor, optional
        Is told the progress and may stop the work.

    Returns
    -------
    Table
        A row for each peak, in their order: ``id`` from 1 on; ``x``, ``y`` (px of the
        canvas); ``snr``; ``snr_own``, what remains of it when the minerals below may
        have any ratio; ``flux`` and ``flux_error`` (grey levels, summed over the
        spot); ``peak``; ``area`` (px, above half of the peak); ``sigma`` (px, mean of
        both axes), ``elongation`` and ``angle`` (deg, of the long axis, from x towards
        y); ``post``, ``pre`` (means over the area) and ``ratio`` of post to scaled
        pre; ``registration_error`` (px); ``slope`` of the light at its edge in units
        of its peak; ``seen``, the part of its surroundings that has data; ``misfit``,
        the part of its squares that the Gaussian misses; ``fitted``, false where the
        fit failed and the matched filter stands in.
    """
    monitor = monitor or Monitor()
    groups = _groups(peaks)
    tree = cKDTree(np.column_stack([peaks["x"], peaks["y"]])) if len(peaks) else None
    columns: dict[str, Array] = {
        name: np.zeros(len(peaks)) for name in (*_COLUMNS, "fitted")
    }

    def one(group: NDArray[np.intp]) -> tuple[NDArray[np.intp], dict[str, Array]]:
        assert tree is not None
        cuts, beneath = _cut_out(peaks, group, tree, significance, pre, dark=dark)
        fit = _fitted(cuts, significance.sizes)
        # what the variance of pixels misses, such as noise that resampling correlates
        missed = float(np.mean(significance.spread or (1.0,)))
        fit = fit._replace(flux_error=fit.flux_error * missed)
        return group, _told(cuts, fit, beneath, peaks[group], scale)

    with ThreadPoolExecutor(WORKERS) as pool:
        for number, (group, found) in enumerate(pool.map(one, groups)):
            monitor.report(number / len(groups), "measuring the candidates")
            for name, values in found.items():
                columns[name][group] = values
    table = Table({"id": np.arange(1, len(peaks) + 1)})
    for name in _COLUMNS:
        table[name] = columns[name]
    table["snr"] = peaks["snr"].astype(np.float64)
    table["snr_own"] *= table["snr"]
    table["fitted"] = columns["fitted"] > 0
    places = np.column_stack([table["x"], table["y"]])
    table["registration_error"] = (
        np.full(len(table), np.nan)
        if error_map is None or not len(table)
        else error_map(places)
    )
    table["area"] = table["area"].astype(np.int64)
    for name in ("x", "y", "sigma", "registration_error"):
        table[name].unit = units.pix
    table["area"].unit = units.pix**2
    table["angle"].unit = units.deg
    return table


_COLUMNS: Final = (
    *("x", "y", "snr", "snr_own", "flux", "flux_error", "peak", "area", "sigma"),
    *("elongation", "angle", "post", "pre", "ratio", "registration_error"),
    *("slope", "seen", "misfit"),
)


def label_bands(
    table: Table, shape: tuple[int, ...], rows: int
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Yield an image of the candidates' areas as bands of whole rows.

    Parameters
    ----------
    table : Table
        As `measure_candidates` returns it.
    shape : tuple of int
        Rows and columns of the canvas.
    rows : int
        Of a band.

    Yields
    ------
    y0 : int
        First row of the band.
    band : ndarray, shape (n, columns), int32
        ``id`` where a candidate is above half of its peak, 0 elsewhere; where two
        overlap that with the higher S/N.
    """
    order = np.argsort(table["snr"], kind="stable")
    found = {name: np.asarray(table[name])[order] for name in ("id", "x", "y")}
    inverse = _inverse_covariance(table)[order]
    reach = np.ceil(
        np.asarray(table["sigma"] * np.sqrt(table["elongation"]))[order] * 2
    )
    for y0 in range(0, shape[0], rows):
        y1 = min(y0 + rows, shape[0])
        near = np.flatnonzero((found["y"] + reach >= y0) & (found["y"] - reach < y1))
        if not len(near):
            yield y0, np.broadcast_to(np.int32(0), (y1 - y0, shape[1]))
            continue
        band = np.zeros((y1 - y0, shape[1]), np.int32)
        for n in near:
            x, y = found["x"][n], found["y"][n]
            left, top = max(int(x - reach[n]), 0), max(int(y - reach[n]), y0)
            right, bottom = int(x + reach[n]) + 2, min(int(y + reach[n]) + 2, y1)
            v, u = np.mgrid[top:bottom, left : min(right, shape[1])]
            square = _square(inverse[n], u - x, v - y)
            part = band[top - y0 : bottom - y0, left : min(right, shape[1])]
            part[square < _FWHM] = found["id"][n]
        yield y0, band


def _inverse_covariance(table: Table) -> Array:
    """Return (N, 3): xx, xy, yy of the inverse covariance of fitted spots."""
    ratio = np.sqrt(np.asarray(table["elongation"], np.float64))
    sigma = np.maximum(np.asarray(table["sigma"], np.float64), 1e-3)
    turn = np.radians(np.asarray(table["angle"], np.float64))
    long, short = 1 / (sigma * ratio) ** 2, (ratio / sigma) ** 2
    c, s = np.cos(turn), np.sin(turn)
    return np.stack(
        [
            long * c**2 + short * s**2,
            (long - short) * c * s,
            long * s**2 + short * c**2,
        ],
        axis=1,
    )


def _square(shape: Any, u: Any, v: Any) -> Any:
    return shape[..., 0] * u**2 + 2 * shape[..., 1] * u * v + shape[..., 2] * v**2


# Around the peaks --------------------------------------------------------------------


def _groups(peaks: NDArray[np.void]) -> list[NDArray[np.intp]]:
    """Return the peaks of each square that has some."""
    if not len(peaks):
        return []
    key = (peaks["y"] // _AROUND) * (1 << 32) + peaks["x"] // _AROUND
    order = np.argsort(key, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)


def _cut_out(
    peaks: NDArray[np.void],
    group: NDArray[np.intp],
    tree: cKDTree,
    it: Significance,
    pre: ImageLike,
    *,
    dark: bool,
) -> tuple[_Cuts, tuple[Array, Array]]:
    """Return what is around the peaks of a group, and post and pre there."""
    rows, columns = it.difference.shape
    x, y = peaks["x"][group], peaks["y"][group]
    top, left = max(int(y.min()) - _REACH, 0), max(int(x.min()) - _REACH, 0)
    window: Window = (
        slice(top, min(int(y.max()) + _REACH + 1, rows)),
        slice(left, min(int(x.max()) + _REACH + 1, columns)),
    )
    difference = np.asarray(it.difference[window], np.float32)
    post = np.asarray(it.post[window]).astype(np.float32)
    before = np.asarray(pre[window]).astype(np.float32)
    light = cv2.GaussianBlur(post - difference, (0, 0), _LIGHT_SMOOTH)
    if dark:
        difference = -difference
    mask = it.known(window)
    seen = np.isfinite(difference)
    if mask is not None:
        seen &= mask != 0
    # What shines has shot noise of its own beside that of the background.
    bright = np.maximum(cv2.GaussianBlur(np.nan_to_num(difference), (0, 0), 1.0), 0)
    variance = it.variance(window) + np.float32(it.noise.shot) * bright
    down, across = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    v, u = down.ravel(), across.ravel()
    row, column = y[:, None] + v - top, x[:, None] + u - left
    inside = (row >= 0) & (row < seen.shape[0])
    inside &= (column >= 0) & (column < seen.shape[1])
    row, column = np.where(inside, row, 0), np.where(inside, column, 0)
    there = inside & seen[row, column]
    # Nearer to another peak than to this one: that one's.
    place = np.stack([x[:, None] + u, y[:, None] + v], axis=-1)
    _, owner = tree.query(place.reshape(-1, 2))
    own = owner.reshape(there.shape) == group[:, None]
    cuts = _Cuts(
        difference[row, column].astype(np.float64) * there,
        light[row, column].astype(np.float64),
        np.where(there & own, 1.0 / variance[row, column], 0.0),
        there,
        u.astype(np.float64),
        v.astype(np.float64),
    )
    return cuts, (
        post[row, column].astype(np.float64),
        before[row, column].astype(np.float64),
    )


_LIGHT_SMOOTH: Final = 0.7

# Fitting -----------------------------------------------------------------------------


def _fitted(cuts: _Cuts, sizes: Sequence[float]) -> _Fit:
    """Fit N spots side by side: Levenberg and Marquardt's damped least squares."""
    number = len(cuts.left)
    size = sizes[len(sizes) // 2]
    near = np.hypot(cuts.x, cuts.y) < 1.6
    start = np.zeros((number, 7))
    far = np.hypot(cuts.x, cuts.y) > 0.7 * _REACH
    outside = cuts.weight * far
    ground = (outside * cuts.left).sum(1) / np.maximum(outside.sum(1), 1e-12)
    start[:, 0] = np.maximum(cuts.left[:, near].mean(1) - ground, 1e-3)
    start[:, 3] = start[:, 5] = 1 / size**2
    start[:, 6] = ground
    found, cost = start, _cost(cuts, start)
    damping = np.full(number, 1e-2)
    for _ in range(_ROUNDS):
        matrix, side = _normal(cuts, found)
        diagonal = np.einsum("nii->ni", matrix)
        damped = matrix.copy()
        np.einsum("nii->ni", damped)[:] += damping[:, None] * diagonal + 1e-12
        step = np.linalg.solve(damped, side[..., None])[..., 0]
        tried = _allowed(found + step)
        new = _cost(cuts, tried)
        better = new < cost
        found = np.where(better[:, None], tried, found)
        cost = np.where(better, new, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 8), 1e-7, 1e6)
    matrix, _ = _normal(cuts, found)
    determinant = found[:, 3] * found[:, 5] - found[:, 4] ** 2
    flux = 2 * math.pi * found[:, 0] / np.sqrt(determinant)
    # flux = 2 pi A / sqrt(det): its derivatives by A and by xx, xy, yy
    slope = np.zeros((number, 7))
    slope[:, 0] = flux / np.maximum(found[:, 0], 1e-9)
    slope[:, 3] = -0.5 * flux * found[:, 5] / determinant
    slope[:, 4] = flux * found[:, 4] / determinant
    slope[:, 5] = -0.5 * flux * found[:, 3] / determinant
    ridge = 1e-9 * np.einsum("nii->ni", matrix) + 1e-15
    np.einsum("nii->ni", matrix)[:] += ridge
    covariance = np.linalg.solve(matrix, slope[..., None])[..., 0]
    error = np.sqrt(np.maximum((slope * covariance).sum(1), 0.0))
    widest = 1 / np.sqrt(_axes(found[:, 3:6])[0])
    good = np.isfinite(flux) & (flux > 0) & (widest < 0.98 * _LARGEST)
    good &= np.hypot(found[:, 1], found[:, 2]) < 0.98 * _FARTHEST
    return _Fit(
        found[:, 0],
        found[:, 1:3],
        found[:, 3:6],
        found[:, 6],
        flux,
        error,
        good,
    )


def _profile(cuts: _Cuts, found: Array) -> tuple[Array, Array, Array]:
    """Return the spots with a peak of 1, and the places from their middles."""
    u, v = cuts.x - found[:, 1:2], cuts.y - found[:, 2:3]
    square = _square(found[:, None, 3:6], u, v)
    return np.exp(-0.5 * np.minimum(square, 80.0)), u, v


def _cost(cuts: _Cuts, found: Array) -> Array:
    profile, _, _ = _profile(cuts, found)
    rest = cuts.left - found[:, :1] * profile - found[:, 6:]
    total: Array = (cuts.weight * rest**2).sum(1)
    return total


def _normal(cuts: _Cuts, found: Array) -> tuple[Array, Array]:
    """Return matrices and right sides of normal equations, (N, 7, 7), (N, 7)."""
    profile, u, v = _profile(cuts, found)
    spot = found[:, :1] * profile
    xx, xy, yy = (found[:, n : n + 1] for n in (3, 4, 5))
    slopes = np.stack(
        [
            profile,
            spot * (xx * u + xy * v),
            spot * (xy * u + yy * v),
            -0.5 * spot * u**2,
            -spot * u * v,
            -0.5 * spot * v**2,
            np.ones_like(spot),
        ],
        axis=1,
    )
    weighted = slopes * cuts.weight[:, None, :]
    rest = cuts.left - spot - found[:, 6:]
    matrix = weighted @ slopes.transpose(0, 2, 1)
    return matrix, np.einsum("nkp,np->nk", weighted, rest)


def _axes(shape: Array) -> tuple[Array, Array, Array]:
    """Return the lesser and the larger value of (N, 3), and the angle of the lesser."""
    middle = (shape[:, 0] + shape[:, 2]) / 2
    half = np.hypot((shape[:, 0] - shape[:, 2]) / 2, shape[:, 1])
    angle = 0.5 * np.arctan2(2 * shape[:, 1], shape[:, 0] - shape[:, 2]) + math.pi / 2
    return np.maximum(middle - half, 1e-9), middle + half, angle


def _allowed(found: Array) -> Array:
    """Return parameters within their limits."""
    found = found.copy()
    found[:, 0] = np.maximum(found[:, 0], 1e-6)
    found[:, 1:3] = np.clip(found[:, 1:3], -_FARTHEST, _FARTHEST)
    small, large, angle = _axes(np.nan_to_num(found[:, 3:6], nan=0.2))
    small, large = (
        np.clip(value, 1 / _LARGEST**2, 1 / _SMALLEST**2) for value in (small, large)
    )
    c, s = np.cos(angle), np.sin(angle)
    found[:, 3] = small * c**2 + large * s**2
    found[:, 4] = (small - large) * c * s
    found[:, 5] = small * s**2 + large * c**2
    return found


def _told(
    cuts: _Cuts,
    fit: _Fit,
    beneath: tuple[Array, Array],
    peaks: NDArray[np.void],
    scale: float,
) -> dict[str, Array]:
    """Return the columns of candidates."""
    small, large, angle = _axes(fit.shape)
    u, v = cuts.x - fit.middle[:, :1], cuts.y - fit.middle[:, 1:]
    square = _square(fit.shape[:, None, :], u, v)
    spot = np.exp(-0.5 * np.minimum(square, 80.0))
    inside = (square < _FWHM) & cuts.seen
    counted = np.maximum(inside.sum(1), 1)
    post, pre = ((image * inside).sum(1) / counted for image in beneath)
    # Where the light of minerals changes: between half of the peak and three sigma.
    ring = (square >= _FWHM) & (square < 9.0) & cuts.seen
    low, high = (
        np.where(ring.any(1), np.nan_to_num(value), 0.0)
        for value in _range_of(cuts.light, ring | inside)
    )
    own = _own_share(cuts, spot)
    around = np.hypot(u, v) < 3 / np.sqrt(small)[:, None]
    seen = (around & cuts.seen).sum(1) / np.maximum(around.sum(1), 1)
    return {
        "x": peaks["x"] + np.where(fit.good, fit.middle[:, 0], 0.0),
        "y": peaks["y"] + np.where(fit.good, fit.middle[:, 1], 0.0),
        "snr_own": np.sqrt(own),
        "flux": fit.flux,
        # without a fit as the matched filter has it
        "flux_error": np.where(fit.good, fit.flux_error, fit.flux / peaks["snr"]),
        "peak": fit.peak,
        "area": counted.astype(np.float64),
        "sigma": (small * large) ** -0.25,
        "elongation": np.sqrt(large / small),
        "angle": (np.degrees(angle) + 90.0) % 180.0 - 90.0,
        "post": post,
        "pre": pre,
        "ratio": post / np.maximum(pre * scale, 1e-9),
        "slope": (high - low) / np.maximum(fit.peak, 1e-9),
        "seen": seen,
        "misfit": _misfit(cuts, fit, square, spot),
        "fitted": fit.good.astype(np.float64),
    }


def _misfit(cuts: _Cuts, fit: _Fit, square: Array, spot: Array) -> Array:
    """Return the part of a spot's squares that the Gaussian misses.

    Beyond what pixels away from the spot leave, within three standard deviations.
    """
    rest = cuts.left - fit.peak[:, None] * spot - fit.ground[:, None]
    squares = cuts.weight * rest**2
    near = (square < 9.0) & (cuts.weight > 0)
    far = (square >= 16.0) & (cuts.weight > 0)
    usual = (squares * far).sum(1) / np.maximum(far.sum(1), 1)
    excess = (squares * near).sum(1) - usual * near.sum(1)
    power = (cuts.weight * near * (fit.peak[:, None] * spot) ** 2).sum(1)
    part: Array = np.maximum(excess, 0.0) / np.maximum(power, 1e-12)
    return part


def _range_of(values: Array, kept: NDArray[np.bool_]) -> tuple[Array, Array]:
    low = np.where(kept, values, np.inf).min(1)
    high = np.where(kept, values, -np.inf).max(1)
    some = kept.any(1)
    return np.where(some, low, 0.0), np.where(some, high, 0.0)


def _own_share(cuts: _Cuts, spot: Array) -> Array:
    """Return which part of a spot's significance no ratio of the minerals explains.

    Squares that a constant leaves less those that constant and spot leave, against
    the same with the light of the minerals beside the constant.
    """
    one = np.ones_like(spot)
    light = cuts.light - cuts.light.mean(1, keepdims=True)

    def left(*columns: Array) -> Array:
        design = np.stack(columns, axis=2)
        weighted = design * cuts.weight[..., None]
        matrix = np.einsum("npk,npl->nkl", weighted, design)
        side = np.einsum("npk,np->nk", weighted, cuts.left)
        scale = np.einsum("nkk->nk", matrix)
        np.einsum("nkk->nk", matrix)[:] += 1e-9 * scale + 1e-15
        found = np.linalg.solve(matrix, side[..., None])[..., 0]
        rest = cuts.left - np.einsum("npk,nk->np", design, found)
        total: Array = (cuts.weight * rest**2).sum(1)
        return total

    plain = left(one) - left(one, spot)
    free = left(one, light) - left(one, light, spot)
    return np.clip(free / np.maximum(plain, 1e-9), 0.0, 1.0)
