"""The peak of a ratio distribution, and the Moffat profile fitted to it."""

import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import curve_fit

from napari_exo2micro.core.photometry.minerals import jackknife, robust_spread

Values = NDArray[np.float64]

_BINS: Final = 401
_BINS_PER_SPREAD: Final = 16
"""Bins for one standard deviation of the distribution."""

_SMOOTHING: Final = 8.0
"""Sigma of the smoothing, bins: half a standard deviation of the distribution."""

_NARROWEST: Final = 1e-5
"""A narrower distribution is rounding, log10 ratio."""

_FAINTEST: Final = 0.02
"""The wing is fitted down to this part of the peak."""


@dataclass(frozen=True, slots=True, eq=False)
class RatioPeak:
    """The distribution of the minerals' ratios, and the most frequent ratio.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,), float64
        Bin edges in log10((post - offset) / pre).
    density : ndarray, shape (n,), float64
        Blocks of mineral in each bin.
    median : float
        Of the whole sample, log10 ratio.
    peak : float
        Peak of the smoothed distribution, log10 ratio.
    uncertainty : float
        One standard deviation of `peak`, jackknife over spatial groups.
    spread : float
        Standard deviation of the distribution's core, log10 ratio.
    """

    edges: Values
    density: Values
    median: float
    peak: float
    uncertainty: float
    spread: float

    @property
    def centres(self) -> Values:
        """Middles of the bins, log10 ratio."""
        middles: Values = (self.edges[1:] + self.edges[:-1]) / 2
        return middles


@dataclass(frozen=True, slots=True, eq=False)
class MoffatFit(RatioPeak):
    """A distribution of ratios and the profile fitted to it.

    ``profile(x) = amplitude * (1 + ((x - mu) / alpha)**2) ** -beta``

    Attributes
    ----------
    low, high : float
        The profile was fitted to bins between these values.
    mirrored : ndarray, shape (n,), float64
        What it was fitted to: left of the peak `density`, right of the peak the
        left wing mirrored; NaN outside `low`..`high`.
    amplitude, mu, alpha, beta : float
        The profile; `mu` and `alpha` in log10 ratio.

    References
    ----------
    A. F. J. Moffat, Astronomy & Astrophysics 3 (1969) 455.
    """

    low: float
    high: float
    mirrored: Values
    amplitude: float
    mu: float
    alpha: float
    beta: float

    def profile(self, log_ratio: ArrayLike) -> Values:
        """Return the fitted profile (blocks per bin) at log10 ratios."""
        x = np.asarray(log_ratio, dtype=np.float64)
        return moffat_profile(x, self.amplitude, self.mu, self.alpha, self.beta)


def moffat_profile(
    x: Values, amplitude: float, mu: float, alpha: float, beta: float
) -> Values:
    """Return ``amplitude * (1 + ((x - mu) / alpha)**2) ** -beta``."""
    result: Values = amplitude * (1 + ((x - mu) / alpha) ** 2) ** -beta
    return result


def find_peak(log_ratio: Values, group: NDArray[np.int64]) -> RatioPeak:
    """Return the most frequent of finite values, each of a jackknife group 0..."""
    middle = float(np.median(log_ratio))
    spread = max(robust_spread(log_ratio), _NARROWEST)
    step = spread / _BINS_PER_SPREAD
    # The middle lies in the middle of a bin, so that equal values stay exact.
    edges = middle + step * (np.arange(_BINS + 1, dtype=np.float64) - _BINS / 2)
    index = np.floor((log_ratio - edges[0]) / step).astype(np.int64)
    inside = (index >= 0) & (index < _BINS)
    number = int(group.max()) + 1
    cells = group[inside] * _BINS + index[inside]
    counts = np.bincount(cells, minlength=number * _BINS).reshape(number, _BINS)
    total = counts.sum(axis=0).astype(np.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    peak = _smoothed_peak(centres, total)
    used = counts[counts.sum(axis=1) > 0]
    left_out = np.array([_smoothed_peak(centres, total - part) for part in used])
    if len(used) < 2:
        uncertainty = spread / math.sqrt(max(total.sum(), 1.0)) * 2.0
    else:
        uncertainty = jackknife(left_out)
    return RatioPeak(edges, total, middle, peak, uncertainty, spread)


def _smoothed_peak(centres: Values, counts: Values) -> float:
    """Return the top of a parabola through the logarithm of the smoothed peak."""
    smooth = gaussian_filter1d(counts, _SMOOTHING, mode="constant")
    top = int(smooth.argmax())
    if smooth[top] <= 0:
        return float(centres[len(centres) // 2])
    step = centres[1] - centres[0]
    x = (centres - centres[top]) / step
    near = (np.abs(x) <= 2.5 * _SMOOTHING) & (smooth > 0.4 * smooth[top])
    if np.count_nonzero(near) < 3:
        return float(centres[top])
    # log of a normal peak: bend x^2 + slope x + c, whose top lies at -slope / (2 bend)
    bend, slope, _ = np.polyfit(x[near], np.log(smooth[near]), 2)
    shift = -slope / (2 * bend) if bend < 0 else 0.0
    return float(centres[top] + step * float(np.clip(shift, -_SMOOTHING, _SMOOTHING)))


def fit_moffat(ratios: RatioPeak) -> MoffatFit | None:
    """Fit a Moffat profile to the left wing mirrored about the peak.

    Microbes brighten post, so they fill the right wing; the left one is that of
    the minerals. None when no profile could be fitted.
    """
    centres = ratios.centres
    smooth = gaussian_filter1d(ratios.density, _SMOOTHING, mode="constant")
    left = centres <= ratios.peak
    bright = left & (smooth > _FAINTEST * smooth.max())
    if np.count_nonzero(bright) < 4:
        return None
    low = float(centres[np.flatnonzero(bright)[0]])
    high = 2 * ratios.peak - low
    # Ratios that are all but equal fill too few bins to have wings.
    exact = np.count_nonzero(ratios.density[bright]) < 4
    wings = smooth if exact else ratios.density
    # density(peak + d) := density(peak - d)
    folded = np.interp(2 * ratios.peak - centres, centres, wings)
    mirrored = np.where(left, wings, folded)
    mirrored[(centres < low) | (centres > high)] = np.nan
    used = np.isfinite(mirrored)
    amplitude = float(smooth.max())
    # Fitted in units of the spread and the height, where all are of order 1.
    x = (centres[used] - ratios.peak) / ratios.spread
    y = mirrored[used] / amplitude
    try:
        best, _ = curve_fit(
            moffat_profile,
            x,
            y,
            p0=(1.0, 0.0, 1.5, 2.5),
            sigma=np.sqrt(np.maximum(y, 0.0) + 1.0 / amplitude),
            bounds=((0.05, -2.0, 0.02, 0.5), (20.0, 2.0, 50.0, 500.0)),
            max_nfev=400,
        )
    except (RuntimeError, ValueError):
        return None
    height, shift, width, beta = best.tolist()
    shared = {entry.name: getattr(ratios, entry.name) for entry in fields(ratios)}
    return MoffatFit(
        **shared,
        low=low,
        high=high,
        mirrored=mirrored,
        amplitude=height * amplitude,
        mu=ratios.peak + shift * ratios.spread,
        alpha=width * ratios.spread,
        beta=beta,
    )
