"""Tiles: small windows matched to a few hundredths of a pixel at full resolution."""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from napari_exo2micro.core.alignment import views
from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images import Frame, ImageLike, Transform

#: Tiles nearer than this part of their side say the same thing twice.
_SPACING = 0.65
_MIN_COUNT = 40
#: Less texture than this part of the strong one is bare glass.
_WEAKEST = 0.05

_BATCH = 32
_THREADS = min(4, os.cpu_count() or 1)
#: Seconds between two questions whether to stop.
_ASK_EVERY = 0.05
#: Steps of OpenCV's sampling grid in a pixel.
_SUBPIXELS = 32
_NEWTON_STEPS = 4
#: Standard errors by which a correlation must stand out of chance.
_SIGNIFICANCE = 5.0


@dataclass(frozen=True, slots=True)
class Band:
    """Structures between two sigmas, px: a difference of Gaussians."""

    fine: float
    coarse: float

    @property
    def border(self) -> int:
        """Pixels around a window that the filters reach."""
        return int(np.ceil(2.5 * self.coarse))

    @property
    def pixels_per_sample(self) -> float:
        """Pixels of a filtered window that count as one measurement."""
        return float(4.0 * np.pi * self.fine**2)

    def __call__(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the filtered window without its border."""
        fine = cv2.GaussianBlur(window, (0, 0), self.fine)
        coarse = cv2.GaussianBlur(window, (0, 0), self.coarse)
        inner = slice(self.border, -self.border)
        result: NDArray[np.float32] = (fine - coarse)[inner, inner]
        return result


#: From sharp images to blurred or noisy ones.
BANDS = (Band(1.2, 5.0), Band(2.2, 8.0), Band(4.0, 13.0))


@dataclass(frozen=True, slots=True)
class TileShape:
    """Side of the window that is compared, and the largest shift sought, px."""

    core: int
    margin: int

    @property
    def side(self) -> int:
        """Side of the window that is read, without the filters' border."""
        return self.core + 2 * self.margin


@dataclass(frozen=True, slots=True)
class TileShifts:
    """What was measured on the tiles around `centres` (x, y) of the post image, px.

    Attributes
    ----------
    shifts : ndarray, shape (N, 2), float64
        (dx, dy) in px such that ``post(x) ~ warped_pre(x + shift)``, where
        ``warped_pre(x) = pre(transform(x))``.
    correlation : ndarray, shape (N,), float64
        Weighted correlation coefficient at that shift.
    information : ndarray, shape (N, 2, 2), float64
        Inverse covariance of the shift by its own noise, 1/px squared.
    matched : ndarray, shape (N,), bool
        Whether the peak stands out of chance and lies inside the search.
    """

    centres: FloatArray
    shifts: FloatArray
    correlation: FloatArray
    information: FloatArray
    matched: NDArray[np.bool_]


def choose_tiles(
    texture: NDArray[np.float32],
    valid: NDArray[np.bool_],
    *,
    factor: float,
    core: int,
    count: int,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Choose the places of the tiles: the strongest texture of each grid cell.

    In the reduced pre-stain image, which has no microbes, warped onto the post-stain
    image, where both have data (`valid`). A px of it is `factor` px, the side of a tile
    `core` px. Returns the centres (x, y) of at most `count` tiles, fewer where they
    would overlap by much: whole full-resolution px, in the order of the grid.
    """
    monitor = monitor or Monitor()
    side = max(3, round(core / factor) | 1)
    gx = cv2.Sobel(texture, cv2.CV_32F, 1, 0, scale=0.125)
    gy = cv2.Sobel(texture, cv2.CV_32F, 0, 1, scale=0.125)
    box = (side, side)
    xx, yy, xy = (cv2.boxFilter(p, -1, box) for p in (gx * gx, gy * gy, gx * gy))
    monitor.check()
    # The smaller eigenvalue of [[xx, xy], [xy, yy]]: texture that fixes both
    # directions, not an edge.
    weak = 0.5 * (xx + yy) - np.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
    room = cv2.boxFilter(valid.astype(np.float32), -1, box, borderType=0)
    usable = room > 0.75
    monitor.check()
    if usable.any():
        # A section may fill a small part of the frame: leave the bare glass alone.
        strong = max(float(np.percentile(weak[usable], 95)), 1e-30)
        usable &= weak >= _WEAKEST * strong
    if not usable.any():
        return np.empty((0, 2))
    room_for = np.count_nonzero(usable) * (factor / (_SPACING * core)) ** 2
    count = round(min(count, max(room_for, _MIN_COUNT)))
    score = np.where(usable, np.maximum(weak, 0.0), -1.0)
    cell = max(float(np.sqrt(np.count_nonzero(usable) / count)), 1.0)
    rows, cols = np.nonzero(usable)

    def edges(places: NDArray[np.intp]) -> Iterable[tuple[int, int]]:
        first, length = int(places.min()), int(np.ptp(places)) + 1
        steps = np.linspace(0, length, max(1, round(length / cell)) + 1)
        return pairwise(first + np.round(steps).astype(int))

    picked: list[tuple[int, int]] = []
    for y0, y1 in edges(rows):
        monitor.check()
        for x0, x1 in edges(cols):
            part = score[y0:y1, x0:x1]
            y, x = np.unravel_index(int(np.argmax(part)), part.shape)
            if part[y, x] > 0.0:
                picked.append((x0 + int(x), y0 + int(y)))
    places = np.array(picked, dtype=np.float64).reshape(-1, 2)
    centres: FloatArray = np.rint((places + 0.5) * factor - 0.5)
    return centres


def measure_tiles(
    post_im: ImageLike,
    pre_im: ImageLike,
    transform: Transform,
    centres: FloatArray,
    *,
    post_frame: Frame,
    pre_frame: Frame,
    shape: TileShape,
    band: Band = BANDS[0],
    expected: FloatArray | None = None,
    monitor: Monitor | None = None,
) -> TileShifts:
    """Measure the residual shift of each tile, in small windows of the images.

    Around `centres` (x, y), whole px of post, with the present estimate of the
    transform. Shifts that are `expected` within about half a px are included in those
    that are returned: the search is laid around them, and pixels that do not fit the
    moving window (microbes) lose their weight.

    Notes
    -----
    The shift maximises the weighted correlation coefficient of band-passed
    windows, as the translation case of ECC does [1]_, so gain and offset do not
    matter. The coefficient at any fraction of a px comes from the windows'
    spectra, so no interpolation kernel biases the maximum. The information
    follows from its curvature.

    References
    ----------
    .. [1] G. D. Evangelidis and E. Z. Psarakis, "Parametric Image Alignment
       Using Enhanced Correlation Coefficient Maximization", IEEE TPAMI 30,
       2008. :doi:`10.1109/TPAMI.2008.113`
    """
    count = len(centres)
    start = np.zeros((count, 2)) if expected is None else expected
    result = TileShifts(
        centres,
        np.zeros((count, 2)),
        np.zeros(count),
        np.zeros((count, 2, 2)),
        np.zeros(count, bool),
    )
    if count == 0:
        return result
    rise = max(4, shape.core // 8)
    weight_shape = _taper_window(shape.side, shape.core - 2 * rise, rise)
    edge = max(2, shape.margin // 2)
    window_taper = _taper_window(shape.side, shape.side - 2 * edge, edge)
    inverse = np.linalg.inv(_jacobian(transform, centres))
    monitor = monitor or Monitor()
    stopped = threading.Event()

    def measure(rows: slice) -> None:
        batch = range(rows.start, rows.stop)
        size = (len(batch), shape.side, shape.side)
        f, g, w = (np.empty(size, np.float32) for _ in range(3))
        grid = np.empty((len(batch), 2))
        inner = slice(band.border, -band.border)
        side = shape.side + 2 * band.border
        for n, i in enumerate(batch):
            if stopped.is_set():
                return
            left, top = (int(v) - side // 2 for v in centres[i])
            fixed, inside = _read_post(post_im, post_frame, left, top, side)
            x, y = left + float(start[i, 0]), top + float(start[i, 1])
            moving, covered, grid[n] = _read_pre(
                pre_im, pre_frame, transform, x, y, side
            )
            f[n] = _filtered(fixed, band)
            g[n] = _filtered(moving, band) * window_taper
            w[n] = weight_shape * (inside & covered)[inner, inner]
        if expected is not None:
            w *= _pixel_weights(f, g, w)
        reach = 2.8 / band.fine
        d, rho, curvature, ok = _correlate_windows(f, g, w, shape.margin, reach)
        # What the rounding of the sampling grid added lies in pre px.
        d += np.einsum("nij,nj->ni", inverse[rows], grid)
        total = w.sum(axis=(1, 2), dtype=np.float64)
        samples = total / band.pixels_per_sample
        # I = n rho / (1 - rho^2) (-d2 rho / d shift^2), n independent samples.
        gain = samples * rho / np.maximum(1.0 - rho**2, 1e-6)
        result.shifts[rows] = start[rows] + d
        result.correlation[rows] = rho
        result.information[rows] = gain[:, None, None] * -curvature
        significant = rho * np.sqrt(np.maximum(samples, 1.0)) > _SIGNIFICANCE
        enough = total > 0.4 * float(weight_shape.sum())
        result.matched[rows] = ok & enough & significant

    batches = [slice(i, min(i + _BATCH, count)) for i in range(0, count, _BATCH)]
    # Each batch writes rows of its own, so threads change the time alone.
    with ThreadPoolExecutor(min(_THREADS, len(batches))) as pool:
        jobs = [pool.submit(measure, rows) for rows in batches]
        try:
            for done, job in enumerate(jobs):
                while wait([job], _ASK_EVERY).not_done:
                    monitor.check()
                job.result()
                monitor.report((done + 1) / len(jobs), "matching tiles")
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return result


def _read_post(
    image: ImageLike, frame: Frame, left: int, top: int, side: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a window, its edge pixels repeated outside the frame, and validity."""
    x0, y0, width, height = frame
    columns = np.arange(left, left + side)
    rows = np.arange(top, top + side)
    cx = np.clip(columns, x0, x0 + width - 1)
    cy = np.clip(rows, y0, y0 + height - 1)
    window = np.asarray(image[cy[0] : cy[-1] + 1, cx[0] : cx[-1] + 1])
    if window.shape != (side, side):
        window = window[np.ix_(cy - cy[0], cx - cx[0])]
    window, known = _known(window)
    inside_x = (columns >= x0 + 3) & (columns < x0 + width - 3)
    inside_y = (rows >= y0 + 3) & (rows < y0 + height - 3)
    inside = inside_y[:, None] & inside_x[None, :]
    return window, inside if known is None else inside & known


def _known(
    window: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return a window with NaN filled in, and what is 3 px away from any.

    None for everywhere.
    """
    if window.dtype.kind != "f":
        return window, None
    window, known = views.filled(window)
    if known.all():
        return window, None
    return window, cv2.erode(known.astype(np.uint8), np.ones((7, 7))) > 0


def _read_pre(
    image: ImageLike,
    frame: Frame,
    transform: Transform,
    left: float,
    top: float,
    side: int,
) -> tuple[NDArray[Any], NDArray[np.bool_], FloatArray]:
    """Return a warped window, its validity and the mean error of its grid.

    OpenCV samples on a grid of 1/32 px. The grid is laid here, so that the mean
    of what was rounded away is known and can be taken off the shift.
    """
    x0, y0, width, height = frame
    x: NDArray[Any] = left + np.arange(side)[np.newaxis]
    y: NDArray[Any] = top + np.arange(side)[:, np.newaxis]
    for displacement in transform.displacements:
        dx, dy = displacement.shifts(x, y)
        x, y = x + dx, y + dy
    m = transform.matrix
    px = m[0, 0] * x + (m[0, 1] * y + m[0, 2])
    py = m[1, 0] * x + (m[1, 1] * y + m[1, 2])
    depth = m[2, 0] * x + (m[2, 1] * y + m[2, 2])
    px /= depth
    py /= depth
    low_x, high_x, low_y, high_y = px.min(), px.max(), py.min(), py.max()
    valid = np.ones(px.shape, bool)
    if low_x < x0 + 3 or high_x >= x0 + width - 4:
        valid &= (px >= x0 + 3) & (px < x0 + width - 4)
        np.clip(px, x0, x0 + width - 1, out=px)
        low_x, high_x = px.min(), px.max()
    if low_y < y0 + 3 or high_y >= y0 + height - 4:
        valid &= (py >= y0 + 3) & (py < y0 + height - 4)
        np.clip(py, y0, y0 + height - 1, out=py)
        low_y, high_y = py.min(), py.max()
    left_in, top_in = max(int(low_x) - 3, 0), max(int(low_y) - 3, 0)
    right_in = min(int(high_x) + 5, image.shape[1])
    bottom_in = min(int(high_y) + 5, image.shape[0])
    window, known = _known(np.asarray(image[top_in:bottom_in, left_in:right_in]))
    if window.dtype not in (np.uint8, np.uint16, np.float32):
        window = window.astype(np.float32)
    whole = np.empty((*px.shape, 2), np.int16)
    part = np.zeros(px.shape, np.uint16)
    off = np.empty(2)
    for axis, (places, start) in enumerate(((px, left_in), (py, top_in))):
        places -= start
        places *= _SUBPIXELS
        fixed = np.rint(places).astype(np.int32)
        off[axis] = (fixed.sum() - places.sum()) / (_SUBPIXELS * fixed.size)
        whole[..., axis] = fixed >> 5
        fixed &= 31
        part += (fixed << (5 * axis)).astype(np.uint16)
    warped = cv2.remap(
        np.ascontiguousarray(window),
        whole,
        part,
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if known is not None:
        valid &= known[whole[..., 1], whole[..., 0]]
    return warped, valid, off


def _filtered(pixels: NDArray[Any], band: Band) -> NDArray[np.float32]:
    """Return the band-passed window with a root mean square of 1, or zeros.

    Grey levels stay linear: a stretch would make the blurred outline of a section
    look wider than the sharp one, and so the section larger.
    """
    lowest = pixels.min()
    window = band((pixels - lowest).astype(np.float32))
    power = cv2.norm(window, cv2.NORM_L2SQR) / window.size
    if power <= (1e-6 * float(pixels.max() - lowest)) ** 2:
        return np.zeros_like(window)
    window /= np.float32(np.sqrt(power))
    return window


def _taper_window(side: int, flat: int, rise: int) -> NDArray[np.float32]:
    """Return a square window, px: 1 on the inner `flat`, cosine flanks of `rise`."""
    distance = np.abs(np.arange(side) - (side - 1) / 2.0) - flat / 2.0
    line = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / rise, 0.0, 1.0))
    return np.outer(line, line).astype(np.float32)


def _pixel_weights(
    f: NDArray[np.float32], g: NDArray[np.float32], w: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return Tukey weights, 0 (a microbe) to 1, by how well ``gain * g`` explains f.

    Only where the weights `w` of before are above zero are pixels judged.
    """
    weights = np.ones_like(f)
    for n in np.flatnonzero((w > 0.0).any(axis=(1, 2))):
        inside = w[n] > 0.0
        a, b = g[n][inside].astype(np.float64), f[n][inside].astype(np.float64)
        keep = np.ones(len(a))
        for _ in range(3):
            # b ~ gain a: gain = a . b / a . a; sigma = 1.4826 median |b - gain a|
            kept = keep * a
            gain = float(kept @ b) / max(float(kept @ a), 1e-30)
            rest = b - gain * a
            size = np.abs(rest)
            scale = 1.4826 * float(np.partition(size, len(a) // 2)[len(a) // 2])
            keep = (size < 4.0 * max(scale, 1e-12)).astype(np.float64)
        ratio = rest / (6.0 * max(scale, 1e-12))
        weights[n][inside] = np.clip(1.0 - ratio**2, 0.0, None) ** 2
    return weights


def _correlate_windows(
    f: NDArray[np.float32],
    g: NDArray[np.float32],
    w: NDArray[np.float32],
    margin: int,
    highest: float,
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return the shift (dx, dy) such that ``f(x) ~ g(x + shift)`` for each window.

    With fixed windows `f`, moving windows `g` and the weights `w` of fixed pixels, all
    of shape (N, side, side), which are empty beyond `highest` radians per px. Then the
    weighted correlation coefficient there, its second derivatives (N, 2, 2), and
    whether it is a maximum within `margin` px.
    """
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
    # rho(d) = sum w f g / sqrt(sum w f^2 (sum w g^2 - (sum w g)^2 / sum w)), f centred
    # and g moved by d, for all whole shifts at once.
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
    ky = np.asarray(2.0 * np.pi * np.fft.fftfreq(side), np.float64)
    kx = np.asarray(2.0 * np.pi * np.fft.rfftfreq(side), np.float64)
    low_y, low_x = np.abs(ky) <= highest, kx <= highest
    spectra = spectra[:, :, low_y][:, :, :, low_x]
    waves = (ky[low_y], kx[low_x])
    origin = d.copy()
    value = np.zeros(count)
    curvature = np.zeros((count, 2, 2))
    ok = np.abs(d).max(axis=1) < margin - 1
    for _ in range(_NEWTON_STEPS):
        value, slope, curvature = _coefficient(spectra, waves, d, total, energy, side)
        determinant = np.linalg.det(curvature)
        peaked = (determinant > 0) & (curvature[:, 0, 0] < 0)
        safe = np.where(peaked[:, None, None], curvature, -np.eye(2))
        # Newton: d - H^-1 grad rho, at most 0.6 px a step.
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
    waves: tuple[FloatArray, FloatArray],
    d: FloatArray,
    total: FloatArray,
    energy: FloatArray,
    side: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the correlation coefficient, its slope and curvature at shifts d."""
    # rho(d) = n / sqrt(s e), with g at . + d and f centred: n = sum w f g,
    # s = sum w g^2 - (sum w g)^2 / t, e = sum w f^2, t = sum w. Each sum and its
    # derivatives are sums of the spectra times exp(i k d), i k exp(i k d), ...
    ky, kx = waves
    # Half of the spectrum stands for both halves, but for its edges.
    twice = np.where((kx == 0.0) | np.isclose(kx, np.pi), 1.0, 2.0)
    orders_x = np.stack([np.ones_like(kx), 1j * kx, -(kx**2)], axis=-1)
    orders_y = np.stack([np.ones_like(ky), 1j * ky, -(ky**2)], axis=-1)
    wave_x = (np.exp(1j * d[:, :1] * kx) * twice)[:, :, None] * orders_x
    wave_y = np.exp(1j * d[:, 1:] * ky)[:, :, None] * orders_y
    # lines[n, s, y, p] = sum over x, values[n, s, q, p]: order q in y, p in x.
    lines = spectra @ wave_x.astype(np.complex64)[:, None]
    values = (wave_y.transpose(0, 2, 1)[:, None] @ lines).real / side**2
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
    # rho' = n' / sqrt(s e) - rho s' / 2 s, and once more for the curvature.
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


def tile_targets(
    measured: TileShifts, transform: Transform, floor: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return post points, pre points and information of the tiles that match.

    The shifts were measured with `transform`; `floor` is the standard error of a tile
    beyond its own noise, px of the pre image. The information (M, 2, 2) is the inverse
    covariance of the pre points, 1/px squared.
    """
    matched = measured.matched
    source = measured.centres[matched]
    place = source + measured.shifts[matched]
    # The covariance of T(x + shift) is J C J', and a floor for all alike.
    covariance = np.linalg.inv(measured.information[matched])
    jacobian = _jacobian(transform, place)
    covariance = jacobian @ covariance @ jacobian.transpose(0, 2, 1)
    covariance[:, [0, 1], [0, 1]] += floor**2
    return source, transform(place), np.linalg.inv(covariance)


def _jacobian(transform: Transform, points: FloatArray) -> FloatArray:
    """Return d(pre)/d(post) at points, shape (N, 2, 2).

    Of the matrix alone: what bends changes lengths by some permille, which no shift of
    a few px notices.
    """
    # d(u/w) = (du - (u/w) dw) / w, with (u, v, w) = H (x, y, 1)
    m = transform.matrix
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ m.T
    depth = homogeneous[:, 2]
    mapped = homogeneous[:, :2] / depth[:, None]
    result: FloatArray = m[:2, :2] - mapped[:, :, None] * m[2, :2]
    result /= depth[:, None, None]
    return result
