"""How many microbes: the threshold, how sure each is, the number with its interval.

References
----------
D. Siegmund & K. Worsley, Annals of Statistics 23 (1995) 608: noise peaks of a search
over place and size. F. Garwood, Biometrika 28 (1936) 437: the interval of a Poisson
mean. R. Barlow et al., "Statistical inference under order restrictions" (1972):
isotonic regression.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, isotonic_regression
from scipy.stats import beta, gamma, nbinom

CERTAINTY: Final = 0.95
"""Of all intervals here."""

NONE_FOUND: Final = 3.0
"""With so many expected, none is found in one of twenty sections."""

_DRAWS: Final = 20_000
_HIGHEST: Final = 40.0


def expected_noise_peaks(
    threshold: float, area_px: float, sizes: Sequence[float]
) -> float:
    """Return how many peaks above a threshold white noise is expected to have.

    Parameters
    ----------
    threshold : float
        S/N, above 1.
    area_px : float
        Area that is searched, px.
    sizes : sequence of float
        Standard deviations of the Gaussian profiles that are searched with, px.

    Returns
    -------
    float
        Expected number of local maxima above the threshold, in a map of the largest
        S/N of all sizes. The smaller of two bounds: the sum over the sizes, and a
        search with all sizes between the smallest and the largest (Siegmund & Worsley
        1995). Good to about a fifth from 3.5 on.
    """
    fall = math.exp(-(threshold**2) / 2)
    plane = threshold * fall / (2 * math.pi) ** 1.5
    solid = (threshold**2 - 1) * fall / (2 * math.pi) ** 2
    dense = [1 / (2 * size**2) for size in sizes]
    finest, coarsest = max(dense), min(dense)
    one_by_one = plane * sum(dense)
    all_between = plane * (finest + coarsest) / 2 + solid * (finest - coarsest) / 2
    return float(area_px * max(plane * finest, min(one_by_one, all_between)))


def threshold_for(
    false_positives: float, area_px: float, sizes: Sequence[float]
) -> float:
    """Return the S/N above which noise alone has so many peaks.

    Parameters
    ----------
    false_positives : float
        Wanted expected number in the whole area, above 0.
    area_px : float
        Area that is searched, px.
    sizes : sequence of float
        Standard deviations of the Gaussian profiles that are searched with, px.

    Returns
    -------
    float
        S/N; see `expected_noise_peaks`. At least 2: below that, peaks are no longer
        apart from each other.

    Examples
    --------
    >>> round(threshold_for(1, 30000 * 25000, [2.0]), 2)
    5.89
    """

    def too_many(threshold: float) -> float:
        expected = expected_noise_peaks(threshold, area_px, sizes)
        return math.log(max(expected, 1e-300) / false_positives)

    lowest = 2.0
    if area_px <= 0 or too_many(lowest) <= 0:
        return lowest
    return float(brentq(too_many, lowest, _HIGHEST, xtol=1e-6))


@dataclass(frozen=True, slots=True, eq=False)
class Purity:
    """Which part of the candidates is real, told by peaks that are known to be false.

    Dark peaks of the same map see noise and misregistration. They do not see stain
    that minerals take up, which is bright only: a control without microbes shows that.

    Attributes
    ----------
    positives, negatives : ndarray, float64
        S/N of the bright peaks and of the false ones, rising.
    levels, real : ndarray, float64
        Where the probability of being real changes, S/N, and what it is from there on.
    ratio : float
        So many false ones each of the negatives stands for.
    """

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]
    levels: NDArray[np.float64]
    real: NDArray[np.float64]
    ratio: float = 1.0

    def p_real(self, snr: ArrayLike) -> NDArray[np.float64]:
        """Return the probability that candidates are real, from their S/N.

        Parameters
        ----------
        snr : array_like
            S/N of the candidates.

        Returns
        -------
        ndarray, shape of `snr`, float64
            0 to 1, never falling with S/N.
        """
        snr = np.asarray(snr, np.float64)
        if not len(self.levels):
            return np.zeros(snr.shape)
        place = np.searchsorted(self.levels, snr, side="right") - 1
        return np.asarray(self.real[np.maximum(place, 0)])

    def above(self, threshold: float) -> tuple[float, tuple[float, float]]:
        """Return the purity of all candidates above a threshold, with its interval.

        Parameters
        ----------
        threshold : float
            S/N.

        Returns
        -------
        float
            1 - false / bright peaks, at least 0; NaN without candidates.
        tuple of float
            95 % interval: the number of false ones is predicted from that of the
            negatives, both Poisson of one unknown mean with Jeffreys' prior.
        """
        bright = int(np.count_nonzero(self.positives >= threshold))
        dark = int(np.count_nonzero(self.negatives >= threshold))
        if not bright:
            return math.nan, (math.nan, math.nan)
        few, many = _predicted_false(dark, self.ratio)
        low, middle, high = (
            max(1.0 - false / bright, 0.0) for false in (many, self.ratio * dark, few)
        )
        return middle, (low, high)


def purity_of(
    positives_snr: ArrayLike, negatives_snr: ArrayLike, ratio: float = 1.0
) -> Purity:
    """Learn how sure candidates are from peaks that are known to be false.

    Parameters
    ----------
    positives_snr, negatives_snr : array_like, shape (N,), (M,)
        S/N of bright peaks, and of false ones: dark ones of the same map as positive
        numbers, or bright ones of a control; both from the same lowest S/N on.
    ratio : float
        Area of the positives by that of the negatives.

    Returns
    -------
    Purity
        Locally 1 - false / bright peaks, made to rise with S/N by isotonic regression.
        Where no false peak is left, half a one is taken among the bright ones.

    Examples
    --------
    >>> purity = purity_of([4.1, 4.2, 9, 10, 11, 12, 13], [4.15, 4.25])
    >>> purity.p_real([4.1, 10]).round(2).tolist()
    [0.0, 0.9]
    """
    positives = np.sort(np.asarray(positives_snr, np.float64).ravel())
    negatives = np.sort(np.asarray(negatives_snr, np.float64).ravel())
    snr = np.concatenate([positives, negatives])
    dark = np.repeat([0.0, 1.0], [len(positives), len(negatives)])
    if not len(snr):
        return Purity(positives, negatives, np.zeros(0), np.zeros(0), ratio)
    levels, place, number = np.unique(snr, return_inverse=True, return_counts=True)
    share = np.bincount(place, weights=dark) / number
    fit = isotonic_regression(share, weights=number.astype(float), increasing=False)
    first = fit.blocks[:-1]
    total = np.add.reduceat(number, first).astype(float)
    false = np.add.reduceat(np.bincount(place, weights=dark), first)
    bright = total - false
    with np.errstate(divide="ignore"):
        real = 1.0 - ratio * np.maximum(false, 0.5) / bright
    real = np.maximum.accumulate(np.clip(real, 0.0, 1.0))
    return Purity(positives, negatives, levels[first], real, ratio)


@dataclass(frozen=True, slots=True)
class Count:
    """The number of microbes in the analysed area.

    Attributes
    ----------
    found : int
        Candidates above the threshold.
    false : float
        How many of these are expected to be none.
    completeness : float
        Which part of the microbes is found; of those brighter than `brighter_than`.
    number : float
        Of microbes, at least 0: (found - false) / completeness, or as it follows from
        the measured fluxes, see `corrected_count`.
    interval : tuple of float
        95 % interval of `number`; its lower end is 0 where there may be none.
    area_mm2 : float, optional
        Analysed area, where the pixel size is known.
    brighter_than : float, optional
        Flux of the faintest microbes in `number`, grey levels: half of those are
        found. None where completeness was not measured: `number` is that of the found.
    """

    found: int
    false: float
    completeness: float
    number: float
    interval: tuple[float, float]
    area_mm2: float | None = None
    brighter_than: float | None = None

    @property
    def is_limit(self) -> bool:
        """Whether there may be none, so that only the upper end tells something."""
        return self.interval[0] <= 0

    @property
    def density(self) -> float | None:
        """Number per mm^2; None where the pixel size is not known."""
        return self.number / self.area_mm2 if self.area_mm2 else None

    @property
    def density_interval(self) -> tuple[float, float] | None:
        """95 % interval of `density`, per mm^2."""
        if not self.area_mm2:
            return None
        low, high = self.interval
        return low / self.area_mm2, high / self.area_mm2

    def __str__(self) -> str:
        """Return the number with its interval, or the limit."""
        low, high = self.interval
        if self.is_limit:
            return f"< {math.ceil(high)}"
        return f"{self.number:.0f} ({math.floor(low)} to {math.ceil(high)})"


def count_of(
    found: int,
    negatives: int,
    *,
    ratio: float = 1.0,
    recovered: int | None = None,
    injected: int | None = None,
    area_px: float | None = None,
    pixel_size_um: float | None = None,
) -> Count:
    """Return how many microbes there are, those that were missed among them.

    Parameters
    ----------
    found : int
        Candidates above the threshold.
    negatives : int
        Dark peaks above it: as many of the candidates are expected to be false. Or
        peaks of a control without microbes.
    ratio : float
        Area that was searched by the area of the negatives: so many false ones each of
        them stands for.
    recovered, injected : int, optional
        How many of so many test spots were found; without, none is taken as missed.
    area_px, pixel_size_um : float, optional
        Analysed area, px, and side of a pixel, um, for the density.

    Returns
    -------
    Count
        Its 95 % interval is that of the number in this very area, from draws of what
        is not known: the false ones (predicted from the negatives), the completeness
        (binomial, Jeffreys' prior) and those missed (negative binomial). When nothing
        is found, the upper end is 3.0 over the completeness: with more, none found
        would be one case in twenty or less.

    Raises
    ------
    ValueError
        If a number is below 0, more were recovered than injected, or the ratio is not
        above 0.

    Examples
    --------
    >>> count = count_of(120, 6, recovered=950, injected=1000)
    >>> round(count.number), count.is_limit
    (120, False)
    >>> str(count_of(0, 0))
    '< 3'
    """
    recovered, injected = recovered or 0, injected or 0
    if min(found, negatives, recovered, injected - recovered) < 0:
        raise ValueError(
            "a count takes numbers from 0, and no more recovered than injected spots; "
            f"found {found}, {negatives}, {recovered} and {injected}"
        )
    if not ratio > 0:
        raise ValueError(f"a ratio of areas lies above 0, found {ratio}")
    completeness = recovered / injected if injected else 1.0
    rng = np.random.default_rng(20)
    sure = np.ones(_DRAWS)
    if injected:
        sure = beta.rvs(
            recovered + 0.5, injected - recovered + 0.5, size=_DRAWS, random_state=rng
        )
    false = nbinom.rvs(negatives + 0.5, 1 / (1 + ratio), size=_DRAWS, random_state=rng)
    real = np.maximum(found - false, 0)
    sure = np.maximum(sure, 1e-9)
    missed = rng.poisson(np.minimum(rng.gamma(real + 0.5) * (1 / sure - 1), 1e15))
    low, high = np.quantile(
        real + missed, [(1 - CERTAINTY) / 2, 1 - (1 - CERTAINTY) / 2]
    )
    least = max(completeness, 0.5 / (injected + 1) if injected else 1.0)
    expected = ratio * negatives
    number = max(found - expected, 0) / least
    if low <= 0:
        low, high = 0.0, max(float(high), NONE_FOUND / least)
    area = None
    if area_px and pixel_size_um:
        area = area_px * pixel_size_um**2 / 1e6
    low, high = min(float(low), number), max(float(high), number)
    return Count(found, float(expected), completeness, number, (low, high), area)


def false_interval(negatives: int, ratio: float = 1.0) -> tuple[float, float]:
    """Return the 95 % interval of how many false ones are to be expected.

    Parameters
    ----------
    negatives : int
        Dark peaks, or peaks of a control.
    ratio : float
        Area that was searched by the area of the negatives.

    Returns
    -------
    tuple of float
        Of the Poisson mean, with Jeffreys' prior; from 0 on where there is no peak.

    Examples
    --------
    >>> low, high = false_interval(10)
    >>> round(low, 1), round(high, 1)
    (5.1, 17.7)
    """
    low, high = gamma.interval(CERTAINTY, negatives + 0.5, scale=ratio)
    return float(low) if negatives else 0.0, float(high)


def _predicted_false(negatives: int, ratio: float) -> tuple[float, float]:
    """Return the 95 % interval of how many are false, from those that surely are."""
    few, many = nbinom.interval(CERTAINTY, negatives + 0.5, 1 / (1 + ratio))
    return float(few), float(many)
