"""Completeness: which microbes would have been found, from artificial ones.

Spots of known flux are put into post, from its pixels on: with photon noise of their
own, digits and saturation. The background is fitted anew with them in it, and they are
searched, measured and judged like everything else. What is found again tells by flux
and by the light of the minerals below which part of the microbes is found, how faint
one may be, and how far the measured flux is off. The number of microbes follows from
the measured fluxes and from what the spots show of how a flux is measured, or missed.

This sees losses: to noise, to neighbours, to the background model, to the flags. It
does not see microbes that look unlike the spots.

References
----------
P. B. Stetson & W. E. Harris, Astronomical Journal 96 (1988) 909: artificial stars, and
the matrix from true to measured brightness. G. D'Agostini, Nucl. Instrum. Meth. A 362
(1995) 487, after L. B. Lucy, Astronomical Journal 79 (1974) 745: how it is unfolded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from napari_exo2micro.core.detection.counts import CERTAINTY, Count, count_of
from napari_exo2micro.core.images.lazy import Window
from napari_exo2micro.core.photometry.background import Known

Array = NDArray[np.float64]

SPOT: Final = np.dtype(
    [(name, np.float64) for name in ("x", "y", "flux", "sigma", "elongation", "angle")]
)
"""Middle, canvas px; flux, grey levels summed; standard deviation of the Gaussian, px,
length by width, turn of the long axis from x towards y, degrees."""

SIDE: Final = 512
"""Of the windows that spots are put into, px."""

_WINDOWS: Final = 24
_PITCH: Final = 48
"""Spots stand on squares of this side, px, one in each..."""

_JITTER: Final = 4.0
"""...and at least this far from its border, so that they are 8 px apart at least and 48
in the mean: they are rare beside each other, and meet only what is there already."""

_GRID: Final = 64
"""Windows begin at multiples of so many px."""

_CLEAR: Final = 7.0
"""S/N from which on shapes are taken from candidates."""

_BRIGHT: Final = 10.0
"""S/N from which on the flux is judged."""

_SHAPES: Final = 20
"""So many candidates are needed for it."""

_NEAR: Final = 3.0
"""A spot is found where a candidate lies within so many px and one of its standard
deviations that is not the one of something brighter beside it."""

_STEP: Final = math.sqrt(2.0)
"""Ratio of the bounds of a class of flux."""

_CLASSES: Final = 12
_DRAWS: Final = 400
_FITS: Final = 40
_ROUNDS: Final = 4
"""More would follow chance: the numbers of the spots are where the search begins."""

_LIKE: Final = 400
_NEXT: Final = 40
"""So many spots with more and less S/N tell how one is measured."""

_LEAST: Final = 0.05
"""No class of S/N of which less than this part is found enters the unfolding."""


def windows_for(shape: Sequence[int], known: Known) -> list[Window]:
    """Return windows in which spots are put, evenly over what is known.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the canvas.
    known : callable
        See `napari_exo2micro.core.photometry.background.Known`.

    Returns
    -------
    list of tuple of slice
        Up to 24 of up to 512 px, a quarter of each known at least; they do not overlap.
    """
    found = []
    for y in range(0, max(shape[0] - SIDE // 4, 1), SIDE):
        for x in range(0, max(shape[1] - SIDE // 4, 1), SIDE):
            window = (
                slice(y, min(y + SIDE, shape[0])),
                slice(x, min(x + SIDE, shape[1])),
            )
            mask = known(window)
            if mask is None or np.count_nonzero(mask) >= mask.size / 4:
                found.append(window)
    step = max(len(found) / _WINDOWS, 1.0)
    return [found[int(i * step)] for i in range(min(len(found), _WINDOWS))]


def spot_shapes(table: Table, sizes: Sequence[float]) -> NDArray[np.void]:
    """Return what artificial microbes look like: like the clear ones that were found.

    Parameters
    ----------
    table : Table
        Candidates of a catalogue.
    sizes : sequence of float
        Standard deviations of the profiles that are searched with, px; they stand in
        where fewer than 20 candidates are clear.

    Returns
    -------
    ndarray of `SPOT`, shape (N,)
        Sigma, elongation and angle of each.
    """
    names = "sigma", "elongation", "angle"
    clear = np.asarray(table["counted"]) & np.asarray(table["fitted"])
    clear &= np.asarray(table["snr"]) >= _CLEAR
    if np.count_nonzero(clear) >= _SHAPES:
        shapes = np.zeros(int(np.count_nonzero(clear)), SPOT)
        for name in names:
            shapes[name] = np.asarray(table[name])[clear]
        return shapes
    shapes = np.zeros(3 * len(sizes), SPOT)
    shapes["sigma"] = np.repeat(sizes, 3)
    shapes["elongation"] = np.tile([1.0, 1.3, 1.7], len(sizes))
    return shapes


def draw_spots(
    window: Window,
    known: NDArray[Any] | None,
    shapes: NDArray[np.void],
    peak: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.void]:
    """Return spots at random places of a window.

    Parameters
    ----------
    window : tuple of slice
        Rows and columns of the canvas.
    known : ndarray, shape of the window, optional
        Not 0 where spots may be; None for everywhere.
    shapes : ndarray of `SPOT`
        Of which each takes one, turned at random.
    peak : tuple of float
        Least and largest, grey levels; even in the logarithm between them, whatever the
        shape: larger microbes have more flux.
    rng : numpy.random.Generator
        What the draws come from.

    Returns
    -------
    ndarray of `SPOT`
        At most one in each square of 48 px, 8 px apart at least.
    """
    start, size = (
        np.array([part.start for part in window]),
        np.array([part.stop - part.start for part in window]),
    )
    number = np.maximum(size // _PITCH, 1)
    side = size / number
    rows, columns = np.mgrid[: number[0], : number[1]]
    corner = np.stack([rows.ravel(), columns.ravel()], axis=1) * side
    place = corner + _JITTER + rng.random(corner.shape) * (side - 2 * _JITTER)
    place = np.clip(place, 0, size - 1)
    spots = shapes[rng.integers(len(shapes), size=len(place))]
    spots["angle"] = rng.uniform(-90.0, 90.0, len(place))
    low, high = np.log(peak)
    spots["flux"] = np.exp(rng.uniform(low, high, len(place)))
    spots["flux"] *= 2 * math.pi * spots["sigma"] ** 2
    spots["y"], spots["x"] = (place + start).T
    if known is not None:
        at = np.rint(place).astype(np.intp)
        spots = spots[known[at[:, 0], at[:, 1]] != 0]
    return spots


def add_spots(
    pixels: NDArray[Any],
    spots: NDArray[np.void],
    origin: tuple[int, int],
    *,
    shot: float,
    saturation: float,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Return a window of an image with spots in it, as a camera would give it.

    Parameters
    ----------
    pixels : ndarray, shape (rows, columns)
        Grey levels of the window.
    spots : ndarray of `SPOT`
        On the canvas.
    origin : tuple of int
        x and y of the first pixel on the canvas.
    shot : float
        Variance of photon noise per grey level.
    saturation : float
        No pixel becomes brighter.
    rng : numpy.random.Generator
        What the noise comes from.

    Returns
    -------
    ndarray, shape and dtype of `pixels`
        Whole numbers where `pixels` has some.
    """
    light = np.zeros(pixels.shape, np.float64)
    for spot in spots:
        long = spot["sigma"] * math.sqrt(spot["elongation"])
        reach = math.ceil(5 * long)
        x, y = spot["x"] - origin[0], spot["y"] - origin[1]
        rows = slice(max(int(y) - reach, 0), max(int(y) + reach + 2, 0))
        columns = slice(max(int(x) - reach, 0), max(int(x) + reach + 2, 0))
        part = light[rows, columns]
        v, u = np.mgrid[: part.shape[0], : part.shape[1]].astype(np.float64)
        v, u = v + rows.start - y, u + columns.start - x
        turn = math.radians(spot["angle"])
        along = u * math.cos(turn) + v * math.sin(turn)
        across = v * math.cos(turn) - u * math.sin(turn)
        ratio = spot["elongation"]
        square = (along**2 / ratio + across**2 * ratio) / spot["sigma"] ** 2
        part += spot["flux"] / (2 * math.pi * spot["sigma"] ** 2) * np.exp(-square / 2)
    noise = rng.standard_normal(pixels.shape) * np.sqrt(np.maximum(shot * light, 0.0))
    there = light > 1e-3
    total = np.minimum(pixels + light + noise, saturation)
    if pixels.dtype.kind in "iu":
        total = np.clip(np.rint(total), 0, np.iinfo(pixels.dtype).max)
    return np.where(there & (pixels < saturation), total, pixels).astype(pixels.dtype)


def found_again(
    spots: NDArray[np.void], found: Table, before: Table
) -> tuple[Array, Array]:
    """Return what flux and S/N of spots are measured as, where found.

    Parameters
    ----------
    spots : ndarray of `SPOT`
        That were put in.
    found, before : Table
        Counted candidates with and without them: `x`, `y` (canvas px), `flux`, `snr`.

    Returns
    -------
    flux, snr : ndarray of float, shape (N,)
        As measured, flux in grey levels; NaN where not found. Of two that are one
        candidate the brighter one is found, the other one lost.
    """
    flux, snr = (np.full(len(spots), np.nan) for _ in range(2))
    if not len(spots) or not len(found):
        return flux, snr
    names = "x", "y", "flux"
    there = np.array([np.asarray(found[name], np.float64) for name in names])
    known = np.array([np.asarray(before[name], np.float64) for name in names])
    own = np.array([spots[name] for name in names])
    reach = _NEAR + spots["sigma"] * np.sqrt(spots["elongation"])
    tree, earlier = cKDTree(there[:2].T), cKDTree(known[:2].T)
    for n, around in enumerate(tree.query_ball_point(own[:2].T, reach)):
        # What was there before and is brighter has its candidate first.
        free = set(around)
        near = earlier.query_ball_point(own[:2, n], 2 * reach[n]) if len(before) else []
        for other in sorted(near, key=lambda one: -known[2, one]):
            taken = tree.query_ball_point(known[:2, other], _NEAR)
            if known[2, other] >= own[2, n]:
                free -= {_nearest(there, known[:2, other], taken)}
        best = _nearest(there, own[:2, n], sorted(free))
        if best >= 0:
            flux[n], snr[n] = found["flux"][best], found["snr"][best]
    return flux, snr


def _nearest(there: Array, place: Array, some: Sequence[int]) -> int:
    """Return which of some places is nearest, -1 without any."""
    if not some:
        return -1
    off = there[:2, list(some)] - place[:, None]
    return int(some[int(np.argmin((off**2).sum(axis=0)))])


# What the spots tell -----------------------------------------------------------------


class Rate(NamedTuple):
    """Part that is found: ``top / (1 + (middle / value) ** steep)``.

    `value` is a flux or an S/N.
    """

    top: float
    middle: float
    steep: float

    def __call__(self, value: ArrayLike) -> Array:
        """Return the part that is found, 0 to 1."""
        ratio = np.log(np.maximum(np.asarray(value, np.float64), 1e-12) / self.middle)
        with np.errstate(over="ignore"):
            return np.asarray(self.top / (1.0 + np.exp(-self.steep * ratio)))

    def reached_at(self, part: float) -> float:
        """Return the value from which on a part is found; inf where it never is."""
        if self.top <= part:
            return math.inf
        return float(self.middle * (self.top / part - 1.0) ** (-1.0 / self.steep))


def fit_rate(values: ArrayLike, found: ArrayLike) -> Rate:
    """Fit which part is found by flux or S/N: greatest likelihood.

    Parameters
    ----------
    values : array_like, shape (N,)
        Flux or S/N of each spot, above 0.
    found : array_like of bool, shape (N,)
        Whether it was found.

    Returns
    -------
    Rate
    """
    x = np.log(np.maximum(np.asarray(values, np.float64), 1e-12))
    hit = np.asarray(found, bool)
    if not hit.any() or len(x) < 3:
        return Rate(0.0, 1.0, 1.0)
    start = [
        float(np.clip(hit[x >= np.median(x)].mean(), 0.05, 0.99)),
        float(np.median(x)),
        math.log(4.0),
    ]

    def cost(model: Array) -> float:
        part = model[0] / (1 + np.exp(-np.exp(model[2]) * (x - model[1])))
        part = np.clip(part, 1e-6, 1 - 1e-6)
        return -float(np.where(hit, np.log(part), np.log(1 - part)).sum())

    limits = [(0.01, 1.0), (float(x.min()) - 1, float(x.max()) + 1), (-1.0, 4.0)]
    best = minimize(cost, start, method="L-BFGS-B", bounds=limits).x
    return Rate(float(best[0]), math.exp(float(best[1])), math.exp(float(best[2])))


@dataclass(frozen=True, slots=True, eq=False)
class Completeness:
    """Which part of artificial microbes is found.

    Attributes
    ----------
    flux : ndarray, shape (N,), float64
        Of each spot, grey levels.
    light : ndarray, shape (N,), float64
        Of the minerals below it, grey levels of post.
    snr : ndarray, shape (N,), float64
        That its flux would have in this place.
    measured, measured_snr : ndarray, shape (N,), float64
        Flux and S/N as they were measured, NaN where it was not found.
    by_flux, by_snr : Rate
        Part that is found.
    """

    flux: Array
    light: Array
    snr: Array
    measured: Array
    measured_snr: Array
    by_flux: Rate
    by_snr: Rate

    @classmethod
    def of(
        cls,
        flux: ArrayLike,
        light: ArrayLike,
        snr: ArrayLike,
        measured: ArrayLike,
        measured_snr: ArrayLike,
    ) -> Completeness:
        """Return what spots tell, from their values; see the attributes."""
        given = (flux, light, snr, measured, measured_snr)
        flux, light, snr, measured, measured_snr = (
            np.asarray(v, np.float64) for v in given
        )
        found = np.isfinite(measured)
        return cls(
            *(flux, light, snr, measured, measured_snr),
            fit_rate(flux, found),
            fit_rate(snr, found),
        )

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which spots were found, shape (N,)."""
        return np.isfinite(self.measured)

    @property
    def flux_bias(self) -> float:
        """Median of measured by true flux less 1, above an S/N of 10; NaN without."""
        clear = self.found & (self.snr >= _BRIGHT)
        if not clear.any():
            return math.nan
        return float(np.median(self.measured[clear] / self.flux[clear]) - 1.0)

    def limit(self, part: float = 0.5) -> float:
        """Return the flux from which on such a part is found; inf where it never is."""
        return self.by_flux.reached_at(part)

    def surface(self, classes: int = 3) -> list[dict[str, float]]:
        """Return completeness by flux and by the light of the minerals below.

        Parameters
        ----------
        classes : int
            Of light, as many spots in each.

        Returns
        -------
        list of dict
            For each class of light and of flux: ``light_from``, ``light_to``,
            ``flux_from``, ``flux_to``, ``injected``, ``found``; and of the class of
            light ``flux_50``, ``flux_90``, the flux from which on such a part is found.
        """
        bounds = np.quantile(self.light, np.linspace(0, 1, classes + 1))
        which = np.clip(np.searchsorted(bounds, self.light, "right") - 1, 0, None)
        which = np.minimum(which, classes - 1)
        edges = np.geomspace(self.flux.min(), self.flux.max() * 1.0001, 9)
        rows = []
        for number in range(classes):
            mine = which == number
            rate = fit_rate(self.flux[mine], self.found[mine])
            for low, high in pairwise(edges):
                here = mine & (self.flux >= low) & (self.flux < high)
                rows.append(
                    {
                        "light_from": float(bounds[number]),
                        "light_to": float(bounds[number + 1]),
                        "flux_from": float(low),
                        "flux_to": float(high),
                        "injected": float(np.count_nonzero(here)),
                        "found": float(np.count_nonzero(here & self.found)),
                        "flux_50": rate.reached_at(0.5),
                        "flux_90": rate.reached_at(0.9),
                    }
                )
        return rows


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
    start = classes.usual(completeness)
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
        lowest = it.by_snr.reached_at(_LEAST)
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
        return len(self.flux) * len(self.snr)

    def of_each(self, flux: ArrayLike, snr: ArrayLike) -> NDArray[np.intp]:
        """Return the class of each."""
        level, height = (
            np.clip(np.searchsorted(bounds, values, "right") - 1, 0, None)
            for bounds, values in ((self.flux, flux), (self.snr, snr))
        )
        return np.asarray(level * len(self.snr) + height, np.intp)

    def usual(self, it: Completeness) -> Array:
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
    part = np.array(rates)[np.arange(_DRAWS) % _FITS]
    false = ratio * rng.gamma(dark.sum() + 0.5, size=_DRAWS)
    where = (dark + 1 / len(number)) / (dark.sum() + 1)
    seen = rng.poisson(false[:, None] * where).astype(float)
    chance = number / max(number.sum(), 1e-9)
    truth = rng.multinomial(round(number.sum()), chance, _DRAWS)
    hits = rng.binomial(truth, classes.part_found(it.by_snr))
    for n in np.flatnonzero(hits.any(axis=0)):
        seen += rng.multinomial(hits[:, n], shape[n] / shape[n].sum())
    usual = np.broadcast_to(ratio * dark, seen.shape)
    again = _unfolded(seen, usual, shape, part, start)
    return np.asarray(again - truth)
