"""Small windows matched to a few hundredths of a pixel at full resolution."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.rasters import ImageLike
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "Box",
    "TileShape",
    "TileShifts",
    "ToneCurve",
    "choose_tiles",
    "measure_tiles",
    "transform_jacobian",
]

#: x0, y0, width, height of the real data on a canvas, px.
Box = tuple[int, int, int, int]

_BATCH = 48
_NEWTON_STEPS = 4
_FINE_SIGMA = 1.2
_COARSE_SIGMA = 5.0
_BORDER = 12
#: Pixels of a band-passed window that count as one independent measurement.
_PIXELS_PER_SAMPLE = 4.0 * np.pi * _FINE_SIGMA**2
_SUBPIXELS = 32


@dataclass(frozen=True, slots=True)
class TileShape:
    """Size of a tile in px of the image it is cut from.

    Attributes
    ----------
    core : int
        Side of the window that is compared.
    margin : int
        Largest shift that is searched, in x and in y.
    """

    core: int = 96
    margin: int = 16

    @property
    def side(self) -> int:
        """Side of the window that is read, without the filters' border."""
        return self.core + 2 * self.margin


@dataclass(frozen=True, slots=True)
class ToneCurve:
    """Square-root stretch that evens out photon noise and tames bright spots.

    Attributes
    ----------
    black : float
        Grey level of no light.
    knee : float
        Grey levels above black over which the curve is nearly straight.
    """

    black: float
    knee: float

    def __call__(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the stretched pixels."""
        light = np.asarray(pixels, dtype=np.float32) - np.float32(self.black)
        np.maximum(light, 0.0, out=light)
        light += np.float32(self.knee)
        np.sqrt(light, out=light)
        return light

    @classmethod
    def of(cls, inside: NDArray[np.float32]) -> ToneCurve:
        """Return the curve for the pixels of a (reduced) image, any shape."""
        sample = inside.ravel()[:: max(1, inside.size // 200_000)]
        low, high = np.percentile(sample, [0.5, 99.5])
        return cls(float(low), max(float(high - low) * 0.05, 1e-12))


@dataclass(frozen=True, slots=True)
class TileShifts:
    """What was measured on the tiles.

    Attributes
    ----------
    centres : ndarray, shape (N, 2), float64
        Centres (x, y) in the post-stain image, px.
    shifts : ndarray, shape (N, 2), float64
        (dx, dy) in px such that ``post(x) ~ warped_pre(x + shift)``, where
        ``warped_pre(x) = pre(transform(x))``.
    correlation : ndarray, shape (N,), float64
        Weighted correlation coefficient at that shift.
    information : ndarray, shape (N, 2, 2), float64
        Inverse covariance of the shift by its own noise, 1/px squared.
    found : ndarray, shape (N,), bool
        Whether the peak stands out of chance and lies inside the search.
    """

    centres: FloatArray
    shifts: FloatArray
    correlation: FloatArray
    information: FloatArray
    found: NDArray[np.bool_]


def choose_tiles(
    texture: NDArray[np.float32],
    valid: NDArray[np.bool_],
    *,
    factor: float,
    core: int,
    count: int = 320,
) -> FloatArray:
    """Choose the places of the tiles: the strongest texture of each grid cell.

    Parameters
    ----------
    texture : ndarray, shape (rows, cols), float32
        The reduced pre-stain image (where there are no microbes), stretched
        and warped onto the post-stain image.
    valid : ndarray of bool, shape (rows, cols)
        Where both images have data.
    factor : float
        Full-resolution px per px of `texture`.
    core : int
        Side of a tile, full-resolution px.
    count : int
        Number of grid cells over the valid area; at most so many tiles.

    Returns
    -------
    ndarray, shape (N, 2), float64
        Centres (x, y), whole full-resolution px, in the order of the grid.
    """
    side = max(3, round(core / factor) | 1)
    gx = cv2.Sobel(texture, cv2.CV_32F, 1, 0, scale=0.125)
    gy = cv2.Sobel(texture, cv2.CV_32F, 0, 1, scale=0.125)
    box = (side, side)
    xx, yy, xy = (cv2.boxFilter(p, -1, box) for p in (gx * gx, gy * gy, gx * gy))
    # The smaller eigenvalue: texture that fixes both directions, not an edge.
    weak = 0.5 * (xx + yy) - np.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
    room = cv2.boxFilter(valid.astype(np.float32), -1, box, borderType=0)
    usable = room > 0.75
    if not usable.any():
        return np.empty((0, 2))
    score = np.where(usable, np.maximum(weak, 0.0), -1.0)
    cell = max(float(np.sqrt(np.count_nonzero(usable) / count)), 1.0)
    rows, cols = np.nonzero(usable)
    top, left = int(rows.min()), int(cols.min())
    height, width = int(rows.max()) + 1 - top, int(cols.max()) + 1 - left
    picked: list[tuple[int, int, float]] = []
    n_rows, n_cols = max(1, round(height / cell)), max(1, round(width / cell))
    row_edges = top + np.round(np.linspace(0, height, n_rows + 1)).astype(int)
    col_edges = left + np.round(np.linspace(0, width, n_cols + 1)).astype(int)
    for y0, y1 in pairwise(row_edges):
        for x0, x1 in pairwise(col_edges):
            part = score[y0:y1, x0:x1]
            if part.size == 0:
                continue
            y, x = np.unravel_index(int(np.argmax(part)), part.shape)
            if part[y, x] > 0.0:
                picked.append((x0 + int(x), y0 + int(y), float(part[y, x])))
    if not picked:
        return np.empty((0, 2))
    found = np.array(picked)
    strong = found[:, 2] >= 0.05 * np.median(found[:, 2])
    centres: FloatArray = np.rint((found[strong, :2] + 0.5) * factor - 0.5)
    return centres


def _read_post(
    image: ImageLike, box: Box, left: int, top: int, side: int
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Return a window, its edge pixels repeated outside the box, and validity."""
    x0, y0, width, height = box
    columns = np.arange(left, left + side)
    rows = np.arange(top, top + side)
    cx = np.clip(columns, x0, x0 + width - 1)
    cy = np.clip(rows, y0, y0 + height - 1)
    window = np.asarray(image[cy[0] : cy[-1] + 1, cx[0] : cx[-1] + 1])
    window = window[np.ix_(cy - cy[0], cx - cx[0])]
    inside_x = (columns >= x0 + 3) & (columns < x0 + width - 3)
    inside_y = (rows >= y0 + 3) & (rows < y0 + height - 3)
    return window, inside_y[:, None] & inside_x[None, :]


def _read_pre(
    image: ImageLike,
    box: Box,
    transform: Transform,
    left: float,
    top: float,
    side: int,
) -> tuple[NDArray[np.generic], NDArray[np.bool_], FloatArray]:
    """Return a warped window, its validity and the mean error of its grid.

    OpenCV samples on a grid of 1/32 px. The grid is laid here, so that the mean
    of what was rounded away is known and can be taken off the shift.
    """
    x0, y0, width, height = box
    x, y = np.meshgrid(left + np.arange(side), top + np.arange(side))
    m = transform.matrix
    depth = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    px = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / depth
    py = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / depth
    valid = (px >= x0 + 3) & (px < x0 + width - 4)
    valid &= (py >= y0 + 3) & (py < y0 + height - 4)
    np.clip(px, x0, x0 + width - 1, out=px)
    np.clip(py, y0, y0 + height - 1, out=py)
    left_in = max(int(px.min()) - 3, 0)
    top_in = max(int(py.min()) - 3, 0)
    right_in = min(int(px.max()) + 5, image.shape[1])
    bottom_in = min(int(py.max()) + 5, image.shape[0])
    window = np.asarray(image[top_in:bottom_in, left_in:right_in])
    if window.dtype not in (np.uint8, np.uint16, np.float32):
        window = window.astype(np.float32)
    fixed_x = np.rint((px - left_in) * _SUBPIXELS).astype(np.int32)
    fixed_y = np.rint((py - top_in) * _SUBPIXELS).astype(np.int32)
    whole = np.stack([fixed_x >> 5, fixed_y >> 5], axis=-1).astype(np.int16)
    part = ((fixed_y & 31) * _SUBPIXELS + (fixed_x & 31)).astype(np.uint16)
    warped = cv2.remap(
        np.ascontiguousarray(window),
        whole,
        part,
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    error = np.array(
        [
            float(np.mean(fixed_x / _SUBPIXELS + left_in - px)),
            float(np.mean(fixed_y / _SUBPIXELS + top_in - py)),
        ]
    )
    return warped, valid, error


def _band_pass(window: NDArray[np.float32]) -> NDArray[np.float32]:
    fine = cv2.GaussianBlur(window, (0, 0), _FINE_SIGMA)
    coarse = cv2.GaussianBlur(window, (0, 0), _COARSE_SIGMA)
    result: NDArray[np.float32] = (fine - coarse)[_BORDER:-_BORDER, _BORDER:-_BORDER]
    return result


def _taper(side: int, flat: int, rise: int) -> NDArray[np.float32]:
    """Return a square window: 1 on the inner `flat` px, cosine flanks of `rise`."""
    distance = np.abs(np.arange(side) - (side - 1) / 2.0) - flat / 2.0
    line = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / rise, 0.0, 1.0))
    return np.outer(line, line).astype(np.float32)


def transform_jacobian(transform: Transform, points: FloatArray) -> FloatArray:
    """Return d(pre)/d(post) at points, shape (N, 2, 2)."""
    m = transform.matrix
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ m.T
    depth = homogeneous[:, 2]
    mapped = homogeneous[:, :2] / depth[:, None]
    upper = np.broadcast_to(m[:2, :2], (len(points), 2, 2))
    result: FloatArray = upper - mapped[:, :, None] * m[2, :2][None, None, :]
    result /= depth[:, None, None]
    return result


def measure_tiles(
    post_im: ImageLike,
    pre_im: ImageLike,
    transform: Transform,
    centres: FloatArray,
    *,
    post_frame: Box,
    pre_frame: Box,
    post_tone: ToneCurve,
    pre_tone: ToneCurve,
    shape: TileShape | None = None,
    expected: FloatArray | None = None,
    reject_pixels: bool = False,
    monitor: Monitor | None = None,
) -> TileShifts:
    """Measure the residual shift of each tile.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, cols)
        Fixed and moving image; read in small windows.
    transform : Transform
        The present estimate, post to pre.
    centres : ndarray, shape (N, 2), float64
        Whole px of the post image.
    post_frame, pre_frame : tuple of int
        x0, y0, width, height of the data on each canvas.
    post_tone, pre_tone : ToneCurve
        Stretch of each image.
    shape : TileShape, optional
        Size of window and search.
    expected : ndarray, shape (N, 2), optional
        Shifts already known; the search is laid around them.
    reject_pixels : bool
        Whether pixels that do not fit the moving window (microbes) lose their
        weight. Needs `expected` to be right within about half a px.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    TileShifts
        In the order of `centres`, `expected` included in the shifts.

    Notes
    -----
    The shift maximises the weighted correlation coefficient of band-passed
    windows, as the translation case of ECC does [1]_. The coefficient at any
    fraction of a px comes from the windows' spectra, so no interpolation
    kernel biases the maximum. The information follows from its curvature.

    References
    ----------
    .. [1] G. D. Evangelidis and E. Z. Psarakis, "Parametric Image Alignment
       Using Enhanced Correlation Coefficient Maximization", IEEE TPAMI 30,
       2008. :doi:`10.1109/TPAMI.2008.113`
    """
    shape = shape or TileShape()
    count = len(centres)
    start = np.zeros((count, 2)) if expected is None else np.asarray(expected)
    shifts = np.zeros((count, 2))
    correlation = np.zeros(count)
    information = np.zeros((count, 2, 2))
    found = np.zeros(count, bool)
    rise = max(4, shape.core // 8)
    weight_shape = _taper(shape.side, shape.core - 2 * rise, rise)
    edge = max(2, shape.margin // 2)
    window_taper = _taper(shape.side, shape.side - 2 * edge, edge)
    inverse = np.linalg.inv(transform_jacobian(transform, centres)) if count else None
    for first in range(0, count, _BATCH):
        if monitor is not None:
            monitor.report(first / count, "matching tiles")
        batch = range(first, min(first + _BATCH, count))
        size = (len(batch), shape.side, shape.side)
        f = np.empty(size, np.float32)
        g = np.empty(size, np.float32)
        w = np.empty(size, np.float32)
        grid = np.empty((len(batch), 2))
        for n, i in enumerate(batch):
            side = shape.side + 2 * _BORDER
            left, top = (int(v) - side // 2 for v in centres[i])
            fixed, inside = _read_post(post_im, post_frame, left, top, side)
            moved = (left + float(start[i, 0]), top + float(start[i, 1]))
            moving, covered, error = _read_pre(
                pre_im, pre_frame, transform, *moved, side
            )
            f[n] = _band_pass(post_tone(fixed))
            g[n] = _band_pass(pre_tone(moving)) * window_taper
            both = (inside & covered)[_BORDER:-_BORDER, _BORDER:-_BORDER]
            w[n] = weight_shape * both
            grid[n] = error
        if reject_pixels:
            w *= _pixel_weights(f, g, w)
        d, rho, curvature, ok = _correlate(f, g, w, shape.margin)
        rows = slice(first, first + len(batch))
        assert inverse is not None
        # What the rounding of the sampling grid added lies in pre px.
        d += np.einsum("nij,nj->ni", inverse[rows], grid)
        enough = w.sum(axis=(1, 2)) > 0.4 * weight_shape.sum()
        samples = w.sum(axis=(1, 2), dtype=np.float64) / _PIXELS_PER_SAMPLE
        shifts[rows] = start[rows] + d
        correlation[rows] = rho
        gain = samples * rho / np.maximum(1.0 - rho**2, 1e-6)
        information[rows] = gain[:, None, None] * -curvature
        significant = rho * np.sqrt(np.maximum(samples, 1.0)) > 5.0
        found[rows] = ok & enough & significant
    return TileShifts(np.asarray(centres), shifts, correlation, information, found)


def _pixel_weights(
    f: NDArray[np.float32], g: NDArray[np.float32], w: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return Tukey weights of the pixels by how well gain * g explains f."""
    weights = np.ones_like(f)
    for n in range(len(f)):
        inside = w[n] > 0.0
        if not inside.any():
            continue
        a, b = g[n][inside].astype(np.float64), f[n][inside].astype(np.float64)
        keep = np.ones(len(a), bool)
        for _ in range(3):
            gain = float(a[keep] @ b[keep]) / max(float(a[keep] @ a[keep]), 1e-30)
            rest = b - gain * a
            scale = 1.4826 * float(np.median(np.abs(rest)))
            keep = np.abs(rest) < 4.0 * max(scale, 1e-12)
        ratio = rest / (6.0 * max(scale, 1e-12))
        weights[n][inside] = np.clip(1.0 - ratio**2, 0.0, None) ** 2
    return weights


def _correlate(
    f: NDArray[np.float32],
    g: NDArray[np.float32],
    w: NDArray[np.float32],
    margin: int,
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return the shift, value and curvature of the highest correlation."""
    count, side = f.shape[0], f.shape[1]
    total = np.maximum(w.sum(axis=(1, 2), dtype=np.float64), 1e-9)
    mean = (w * f).sum(axis=(1, 2), dtype=np.float64) / total
    centred = f - mean.astype(np.float32)[:, None, None]
    energy = (w * centred**2).sum(axis=(1, 2), dtype=np.float64)
    template = np.conj(scipy.fft.rfft2(w * centred))
    mask = np.conj(scipy.fft.rfft2(w))
    moving = scipy.fft.rfft2(g)
    power = scipy.fft.rfft2(g * g)
    spectra = np.stack([template * moving, mask * moving, mask * power], axis=1)
    surface = scipy.fft.irfft2(spectra, s=(side, side))
    reach = np.r_[0:margin, -margin:0]
    near = surface[:, :, reach[:, None], reach[None, :]].astype(np.float64)
    energy = np.maximum(energy, 1e-30)
    variance = near[:, 2] - near[:, 1] ** 2 / total[:, None, None]
    floor = 1e-6 * np.maximum(variance.max(axis=(1, 2)), 1e-30)
    variance = np.maximum(variance, floor[:, None, None])
    rho = near[:, 0] / np.sqrt(variance * energy[:, None, None])
    flat = rho.reshape(count, -1).argmax(axis=1)
    top_y, top_x = np.unravel_index(flat, rho.shape[1:])
    d = np.column_stack([reach[top_x], reach[top_y]]).astype(np.float64)
    origin = d.copy()
    value = np.zeros(count)
    curvature = np.zeros((count, 2, 2))
    ok = np.abs(d).max(axis=1) < margin - 1
    for _ in range(_NEWTON_STEPS):
        value, slope, curvature = _coefficient(spectra, d, total, energy, side)
        determinant = np.linalg.det(curvature)
        peaked = (determinant > 0) & (curvature[:, 0, 0] < 0)
        safe = np.where(peaked[:, None, None], curvature, -np.eye(2))
        step = -np.linalg.solve(safe, slope[:, :, None])[:, :, 0]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        step *= np.minimum(1.0, 0.6 / np.maximum(length, 1e-12))
        d += np.where(peaked[:, None], step, 0.0)
        ok &= peaked
    ok &= np.abs(d - origin).max(axis=1) < 1.2
    curvature[~ok] = 0.0
    return d, value, curvature, ok


def _coefficient(
    spectra: NDArray[np.complex64],
    d: FloatArray,
    total: FloatArray,
    energy: FloatArray,
    side: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the correlation coefficient, its slope and curvature at shifts d."""
    ky = 2.0 * np.pi * np.fft.fftfreq(side)
    kx = 2.0 * np.pi * np.fft.rfftfreq(side)
    twice = np.full(len(kx), 2.0)
    twice[0] = 1.0
    if side % 2 == 0:
        twice[-1] = 1.0
    orders_x = np.stack([np.ones_like(kx), 1j * kx, -(kx**2)], axis=-1)
    orders_y = np.stack([np.ones_like(ky), 1j * ky, -(ky**2)], axis=-1)
    wave_x = (np.exp(1j * d[:, :1] * kx) * twice)[:, :, None] * orders_x
    wave_y = np.exp(1j * d[:, 1:] * ky)[:, :, None] * orders_y
    lines = np.einsum("nsyx,nxp->nsyp", spectra, wave_x.astype(np.complex64))
    # values[n, s, q, p]: order q in y, p in x.
    values = np.einsum("nsyp,nyq->nsqp", lines, wave_y).real / side**2
    v = values[:, :, 0, 0]
    v_d = np.stack([values[:, :, 0, 1], values[:, :, 1, 0]], axis=-1)
    cross = values[:, :, 1, 1]
    v_dd = np.stack(
        [
            np.stack([values[:, :, 0, 2], cross], axis=-1),
            np.stack([cross, values[:, :, 2, 0]], axis=-1),
        ],
        axis=-2,
    )
    t = total[:, None]
    variance = np.maximum(v[:, 2] - v[:, 1] ** 2 / total, 1e-30)
    var_d = v_d[:, 2] - 2.0 * v[:, 1, None] * v_d[:, 1] / t
    outer = v_d[:, 1, :, None] * v_d[:, 1, None, :]
    var_dd = (
        v_dd[:, 2] - 2.0 * (outer + v[:, 1, None, None] * v_dd[:, 1]) / t[:, :, None]
    )
    root = np.sqrt(variance * energy)
    rho = v[:, 0] / root
    half = var_d / (2.0 * variance[:, None])
    slope = v_d[:, 0] / root[:, None] - rho[:, None] * half
    n_d = v_d[:, 0] / root[:, None]
    curvature = (
        v_dd[:, 0] / root[:, None, None]
        - n_d[:, :, None] * half[:, None, :]
        - n_d[:, None, :] * half[:, :, None]
        + rho[:, None, None] * 3.0 * half[:, :, None] * half[:, None, :]
        - rho[:, None, None] * var_dd / (2.0 * variance[:, None, None])
    )
    return rho, slope, curvature
