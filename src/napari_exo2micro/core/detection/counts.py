"""How many microbes: the threshold, how sure each is, the number with its interval.

References
----------
D. Siegmund & K. Worsley, Annals of Statistics 23 (1995) 608: noise peaks of a search
over place and size. F. Garwood, Biometrika 28 (1936) 437: the interval of a Poisson
mean. R. Barlow et al., "Statistical inference under order restrictions" (1972):
isotonic regression. G. D'Agostini, Nucl. Instrum. Meth. A 362 (1995) 487, after L. B.
Lucy, Astronomical Journal 79 (1974) 745: unfolding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, isotonic_regression
from scipy.stats import beta, gamma, nbinom

from napari_exo2micro.core.detection.completeness import (
    Completeness,
    Rate,
    fit_rate,
)

Array = NDArray[np.float64]

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


# Unfolding ---------------------------------------------------------------------------

_STEP: Final = math.sqrt(2.0)
"""Ratio of the bounds of a class of flux."""

_CLASSES: Final = 12
_TRIES: Final = 400
_FITS: Final = 40
_ROUNDS: Final = 4
"""More would follow chance: the numbers of the spots are where the search begins."""

_LIKE: Final = 400
_NEXT: Final = 40
"""So many spots with more and less S/N tell how one is measured."""

_LEAST_FOUND: Final = 0.05
"""No class of S/N of which less than this part is found enters the unfolding."""


@dataclass(frozen=True, slots=True)
class FluxClass:
    """The number of microbes in a class of flux.

    Attributes
    ----------
    low, high : float
        Its bounds, grey levels; the last one has no upper bound.
    number : float
        Of microbes.
    interval : tuple of float
        95 % interval.
    """

    low: float
    high: float
    number: float
    interval: tuple[float, float]


def corrected_count(
    found: Table,
    dark: Table,
    completeness: Completeness,
    *,
    ratio: float = 1.0,
    area_px: float | None = None,
    pixel_size_um: float | None = None,
) -> tuple[Count, list[FluxClass]]:
    """Return how many microbes there are above the flux of which half are found.

    Parameters
    ----------
    found, dark : Table
        Counted candidates, and what tells how many are false, dark spots as strong or
        the spots of a control: measured `flux` and `snr`.
    completeness : Completeness
        What artificial microbes tell.
    ratio, area_px, pixel_size_um : float, optional
        As in `count_of`.

    Returns
    -------
    Count
        Its `number` is that of the microbes brighter than `brighter_than`, found or
        not; its interval covers chance in what was found, in the false ones and in the
        spots.
    list of FluxClass
        The same by brightness, from the faintest class on; empty when nothing is found.

    Notes
    -----
    Numbers by true flux and S/N are unfolded from those by measured ones, by
    expectation and maximisation, dark spots as a known addition: which part is found
    depends on the S/N alone, and how a found one is measured is told by spots of about
    the same S/N. So spots need not be as bright, as large and where the microbes are.
    The interval is that of the same procedure on numbers drawn at random.
    """
    limit = completeness.limit(0.5)
    above = completeness.flux >= limit
    options: dict[str, Any] = {"area_px": area_px, "pixel_size_um": pixel_size_um}
    options["ratio"] = ratio
    if not math.isfinite(limit) or not above.any() or len(found) <= ratio * len(dark):
        injected = int(np.count_nonzero(above)) or len(above)
        recovered = int(np.count_nonzero(completeness.found & (above | ~above.any())))
        count = count_of(
            len(found), len(dark), recovered=recovered, injected=injected, **options
        )
        return replace(count, brighter_than=limit if above.any() else None), []
    classes = _Classes.of(completeness, limit)
    seen, false = (
        np.bincount(classes.of_each(one["flux"], one["snr"]), minlength=classes.number)
        for one in (found, dark)
    )
    rng = np.random.default_rng(15)
    shape = classes.shape_of_seen(completeness, rng)
    part = classes.part_found(completeness.by_snr)
    start = classes.prior(completeness)
    number = _unfolded(seen[None], ratio * false[None], shape, part[None], start)[0]
    off = _off(number, false, ratio, shape, classes, completeness, start, rng)
    by_flux, off_by_flux = (
        v.reshape(*v.shape[:-1], len(classes.flux), -1).sum(axis=-1)
        for v in (number, off)
    )
    tails = 1 - (1 - CERTAINTY) / 2, (1 - CERTAINTY) / 2

    def told(part: slice) -> tuple[float, tuple[float, float]]:
        total = float(by_flux[part].sum())
        low, high = total - np.quantile(off_by_flux[:, part].sum(axis=1), tails)
        return total, (min(max(float(low), 0.0), total), max(float(high), total))

    total, interval = told(slice(classes.first, None))
    hits = (part * number).reshape(len(classes.flux), -1).sum(axis=1)[classes.first :]
    count = replace(
        count_of(len(found), len(dark), **options),
        brighter_than=limit,
        number=total,
        interval=interval,
        completeness=float(hits.sum() / total) if total else 1.0,
    )
    rows = []
    for n in range(classes.first, len(classes.flux), 2):
        amount, ends = told(slice(n, n + 2))
        high = classes.flux[n + 2] if n + 2 < len(classes.flux) else math.inf
        rows.append(FluxClass(float(classes.flux[n]), float(high), amount, ends))
    return count, rows


@dataclass(frozen=True, slots=True, eq=False)
class _Classes:
    """Classes of flux and of S/N, one number for both."""

    flux: Array  # lower bounds
    snr: Array
    first: int  # class of flux that counts

    @classmethod
    def of(cls, it: Completeness, limit: float) -> _Classes:
        lowest = it.by_snr.reached_at(_LEAST_FOUND)
        kept = it.snr >= lowest
        below, above = (
            math.floor(math.log(max(ratio, 1.0)) / math.log(_STEP))
            for ratio in (limit / it.flux[kept].min(), it.flux.max() / limit)
        )
        levels = math.ceil(math.log(it.snr.max() / lowest) / math.log(_STEP))
        return cls(
            limit * _STEP ** np.arange(-below, max(above, 1), dtype=float),
            lowest * _STEP ** np.arange(max(min(levels, _CLASSES), 1), dtype=float),
            below,
        )

    @property
    def number(self) -> int:
        """Of all classes."""
        return len(self.flux) * len(self.snr)

    def of_each(self, flux: ArrayLike, snr: ArrayLike) -> NDArray[np.intp]:
        """Return the class of each."""
        level, height = (
            np.clip(np.searchsorted(bounds, values, "right") - 1, 0, None)
            for bounds, values in ((self.flux, flux), (self.snr, snr))
        )
        return np.asarray(level * len(self.snr) + height, np.intp)

    def prior(self, it: Completeness) -> Array:
        """Return which part of the spots is in each class: where the search begins."""
        at = self.of_each(it.flux, it.snr)[it.snr >= self.snr[0]]
        number = np.bincount(at, minlength=self.number) + 1e-3
        return np.asarray(number / number.sum(), np.float64)

    def part_found(self, rate: Rate) -> Array:
        """Return which part of each class is found, shape (classes,)."""
        inside = self.snr[:, None] * _STEP ** np.linspace(0.05, 0.95, 10)
        return np.tile(rate(inside).mean(axis=1), len(self.flux))

    def shape_of_seen(self, it: Completeness, rng: np.random.Generator) -> Array:
        """Return how the found ones of a class are measured, (classes, classes).

        Measured by true values are those of spots of about the same S/N.
        """
        order = np.argsort(it.snr[it.found], kind="stable")
        snr, flux_ratio, snr_ratio = (
            v[it.found][order]
            for v in (it.snr, it.measured / it.flux, it.measured_snr / it.snr)
        )
        shape = np.zeros((self.number, self.number))
        for height, low in enumerate(self.snr):
            true = low * _STEP ** rng.random(_LIKE)
            place = np.searchsorted(snr, true) + rng.integers(-_NEXT, _NEXT + 1, _LIKE)
            place = np.clip(place, 0, len(snr) - 1)
            for level, faint in enumerate(self.flux):
                seen = self.of_each(
                    faint * _STEP ** rng.random(_LIKE) * flux_ratio[place],
                    true * snr_ratio[place],
                )
                row = level * len(self.snr) + height
                shape[row] = np.bincount(seen, minlength=self.number) / _LIKE
        return shape


def _unfolded(
    seen: NDArray[Any], dark: NDArray[Any], shape: Array, part: Array, start: Array
) -> Array:
    """Return numbers by true class, shape (draws, classes)."""
    total = np.maximum(seen.sum(axis=1, keepdims=True), 1.0)
    number = total * start
    for _ in range(_ROUNDS):
        expected = (number * part) @ shape + dark
        number = number * ((seen / np.maximum(expected, 1e-9)) @ shape.T)
    return np.asarray(number)


def _off(
    number: Array,
    dark: NDArray[Any],
    ratio: float,
    shape: Array,
    classes: _Classes,
    it: Completeness,
    start: Array,
    rng: np.random.Generator,
) -> Array:
    """Return how far unfolded numbers are off in draws, shape (draws, classes)."""
    rates = []
    for _ in range(_FITS):
        some = rng.integers(len(it.snr), size=len(it.snr))
        rates.append(classes.part_found(fit_rate(it.snr[some], it.found[some])))
    part = np.array(rates)[np.arange(_TRIES) % _FITS]
    false = ratio * rng.gamma(dark.sum() + 0.5, size=_TRIES)
    where = (dark + 1 / len(number)) / (dark.sum() + 1)
    seen = rng.poisson(false[:, None] * where).astype(float)
    chance = number / max(number.sum(), 1e-9)
    truth = rng.multinomial(round(number.sum()), chance, _TRIES)
    hits = rng.binomial(truth, classes.part_found(it.by_snr))
    for n in np.flatnonzero(hits.any(axis=0)):
        seen += rng.multinomial(hits[:, n], shape[n] / shape[n].sum())
    background = np.broadcast_to(ratio * dark, seen.shape)
    again = _unfolded(seen, background, shape, part, start)
    return np.asarray(again - truth)
