"""The shift of highest correlation of many small windows at once."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.fit import FloatArray

__all__ = ["correlate_windows", "pixel_weights", "taper_window"]

_NEWTON_STEPS = 4


def taper_window(side: int, flat: int, rise: int) -> NDArray[np.float32]:
    """Return a square window: 1 on the inner `flat` px, cosine flanks of `rise`.

    Parameters
    ----------
    side, flat, rise : int
        Side of the array, of its flat part, and width of a flank, px.

    Returns
    -------
    ndarray, shape (side, side), float32
    """
    distance = np.abs(np.arange(side) - (side - 1) / 2.0) - flat / 2.0
    line = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / rise, 0.0, 1.0))
    return np.outer(line, line).astype(np.float32)


def pixel_weights(
    f: NDArray[np.float32], g: NDArray[np.float32], w: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return Tukey weights of the pixels by how well ``gain * g`` explains f.

    Parameters
    ----------
    f, g, w : ndarray, shape (N, side, side), float32
        Fixed windows, moving windows and weights; only where `w` is above zero
        are pixels judged.

    Returns
    -------
    ndarray, shape (N, side, side), float32
        0 (a microbe) to 1.
    """
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


def correlate_windows(
    f: NDArray[np.float32],
    g: NDArray[np.float32],
    w: NDArray[np.float32],
    margin: int,
    highest: float,
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return the shift, value and curvature of the highest correlation.

    Parameters
    ----------
    f, g, w : ndarray, shape (N, side, side), float32
        Fixed windows, moving windows and the weights of fixed pixels.
    margin : int
        Largest shift that is searched, px.
    highest : float
        Frequency in radians per px beyond which the windows are empty.

    Returns
    -------
    shifts : ndarray, shape (N, 2), float64
        (dx, dy) such that ``f(x) ~ g(x + shift)``.
    value : ndarray, shape (N,), float64
        Weighted correlation coefficient there.
    curvature : ndarray, shape (N, 2, 2), float64
        Its second derivatives, 1/px squared.
    ok : ndarray, shape (N,), bool
        Whether this is a maximum inside the search.
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
    ky, kx = waves
    # Half of the spectrum stands for both halves, but for its edges.
    twice = np.where((kx == 0.0) | np.isclose(kx, np.pi), 1.0, 2.0)
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
