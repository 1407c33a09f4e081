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
the matrix from true to measured brightness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.detection.candidates import find_peaks, merge_peaks
from napari_exo2micro.core.detection.catalogue import Search, is_counted
from napari_exo2micro.core.detection.significance import Significance
from napari_exo2micro.core.images import ImageLike
from napari_exo2micro.core.images.lazy import Window, patched
from napari_exo2micro.core.photometry.background import Known
from napari_exo2micro.core.photometry.statistics import WORKERS

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

_CLEAR: Final = 7.0
"""S/N from which on shapes are taken from candidates."""

_BRIGHT: Final = 10.0
"""S/N from which on the flux is judged."""

_SHAPES: Final = 20
"""So many candidates are needed for it."""

_NEAR: Final = 3.0
"""A spot is found where a candidate lies within so many px and one of its standard
deviations that is not the one of something brighter beside it."""


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


# Putting them in ---------------------------------------------------------------------

Remade = Callable[[ImageLike, NDArray[Any], Window], NDArray[np.float32]]
"""Returns the difference in a window from post with spots and what they have added."""


@dataclass(frozen=True, slots=True, eq=False)
class Injected:
    """Spots that were put into post, and what became of them.

    Attributes
    ----------
    spots : ndarray of `SPOT`, shape (N,)
        On the canvas.
    completeness : Completeness
        What they tell.
    faintest : ndarray, shape (rows, columns), float64
        Flux of which half are found, on a grid over the canvas, grey levels; NaN
        outside of what is searched.
    """

    spots: NDArray[np.void]
    completeness: Completeness
    faintest: Array

    def to_dict(self) -> dict[str, Any]:
        """Return what a header tells of it, as JSON-ready built-in types."""
        it = self.completeness
        return {
            "injected": len(it.flux),
            "found": int(np.count_nonzero(it.found)),
            "flux_50": _finite(it.limit(0.5)),
            "flux_90": _finite(it.limit(0.9)),
            "snr_50": _finite(it.by_snr.reached_at(0.5)),
            "flux_bias": _finite(it.flux_bias),
            "faintest": [[_finite(v) for v in row] for row in self.faintest.tolist()],
        }


_Job = tuple[Window, NDArray[np.void], NDArray[np.float32], int]
"""A window, the spots for it, the flux of an S/N of 1 there, and a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Injection:
    """What test microbes are put in, found and judged with.

    Attributes
    ----------
    significance : Significance
        Of the difference without them.
    search : Search
        How what is found is measured and flagged.
    remade : callable
        See `Remade`.
    threshold : float
        Least S/N of what is counted.
    table : Table
        Candidates without them.
    """

    significance: Significance
    search: Search
    remade: Remade
    threshold: float
    table: Table

    def run(self, number: int, monitor: Monitor) -> Injected:
        """Put spots into post and look for them.

        Parameters
        ----------
        number : int
            Of spots, at least: whole rounds over up to 24 windows.
        monitor : Monitor
            Is told the progress and may stop the work.

        Returns
        -------
        Injected
            The same whatever the number of threads.
        """
        it = self.significance
        windows = windows_for(it.difference.shape, it.known)
        monitor.report(0.0, "putting test microbes into post")
        with ThreadPoolExecutor(WORKERS) as pool:
            errors = list(pool.map(it.flux_error, windows))
            jobs = self._jobs(number, windows, errors)
            found = []
            for n, one in enumerate(pool.map(lambda job: self._one(*job), jobs)):
                monitor.report(n / len(jobs), "looking for test microbes")
                found.append(one)
        spots = np.concatenate([np.empty(0, SPOT), *(one[0] for one in found)])
        told = [
            np.concatenate([np.empty(0), *(one[k] for one in found)])
            for k in range(1, 5)
        ]
        completeness = Completeness.of(spots["flux"], *told)
        return Injected(spots, completeness, self._faintest(completeness))

    def _jobs(
        self,
        number: int,
        windows: Sequence[Window],
        errors: Sequence[NDArray[np.float32]],
    ) -> list[_Job]:
        """Return windows with the spots for them, round after round."""
        it = self.significance
        if not errors:
            return []
        usual = np.concatenate([one[::8, ::8].ravel() for one in errors])
        usual = usual[np.isfinite(usual)]
        quiet, loud = np.quantile(usual, (0.1, 0.9)) * self.threshold
        shapes = spot_shapes(self.table, it.sizes)
        # S/N = peak * 2 pi sigma^2 / (error * sigma / middle size), nearly
        middle = 2 * math.pi * it.sizes[len(it.sizes) // 2]
        small, large = np.quantile(shapes["sigma"], (0.1, 0.9))
        clear = self.table[self.table["counted"]]
        most = float(np.quantile(clear["peak"], 0.98)) if len(clear) else 0.0
        strong = _STRONG * loud / (middle * small)
        peak = (
            _FAINT * float(quiet) / (middle * float(large)),
            float(np.clip(most, strong, 5 * strong)),
        )
        jobs: list[_Job] = []
        total = 0
        for turn in range(_MOST_ROUNDS):
            for n, (window, error) in enumerate(zip(windows, errors, strict=True)):
                rng = np.random.default_rng([15, turn, n])
                spots = draw_spots(window, it.known(window), shapes, peak, rng)
                jobs.append((window, spots, error, len(jobs)))
                total += len(spots)
            if total >= number:
                break
        return jobs

    def _one(
        self,
        window: Window,
        spots: NDArray[np.void],
        error: NDArray[np.float32],
        seed: int,
    ) -> tuple[NDArray[Any], ...]:
        """Return the spots of a window, light, S/N, measured flux and S/N of each."""
        it = self.significance
        top, left = (part.start for part in window)
        plain = np.asarray(it.post[window])
        pixels = add_spots(
            plain,
            spots,
            (left, top),
            shot=it.noise.shot / (1.0 + self.search.scale),  # the rest is that of pre
            saturation=self.search.saturation,
            rng=np.random.default_rng([16, seed]),
        )
        added = pixels.astype(np.float32) - plain
        post = patched(it.post, window, pixels)
        remade = self.remade(post, added, window)
        changed = replace(
            it,
            post=post,
            difference=patched(it.difference, window, remade),
            usual=it.difference,
        )
        bright, dark = (
            merge_peaks(find_peaks(image, self.threshold, (left, top), halo=1))
            for image in changed.both(window)
        )
        table = self.search.measured(changed, bright, dark)
        counted = table[is_counted(table, self.threshold)]
        before = self.table[self.table["counted"]]
        measured = found_again(spots, counted, before)
        light = ndimage.uniform_filter(
            plain - np.asarray(it.difference[window], np.float32), 5
        )
        rows, columns = (
            np.clip(np.rint(spots[name] - start).astype(np.intp), 0, length - 1)
            for name, start, length in zip(
                ("y", "x"), (top, left), plain.shape, strict=True
            )
        )
        sigma = spots["sigma"] / it.sizes[len(it.sizes) // 2]
        snr = spots["flux"] / (error[rows, columns] * sigma)
        return spots, light[rows, columns], snr, *measured

    def _faintest(self, completeness: Completeness) -> NDArray[np.float64]:
        """Return the flux of which half are found, by place."""
        it = self.significance
        shape = it.difference.shape
        sides = [min(_MAP, max(length // 64, 1)) for length in shape]

        def one(place: tuple[int, int]) -> float:
            middle = [
                int((n + 0.5) * length / side)
                for n, length, side in zip(place, shape, sides, strict=True)
            ]
            window = tuple(
                slice(max(m - 16, 0), min(m + 16, length))
                for m, length in zip(middle, shape, strict=True)
            )
            mask = it.known((window[0], window[1]))
            if mask is not None and not mask.any():
                return math.nan
            error = it.flux_error((window[0], window[1]))
            known = error[np.isfinite(error)]
            return float(np.median(known)) if len(known) else math.nan

        with ThreadPoolExecutor(WORKERS) as pool:
            found = list(pool.map(one, np.ndindex(*sides)))
        limit = completeness.by_snr.reached_at(0.5)
        return np.reshape(found, sides) * limit


_FAINT: Final = 0.3
"""The faintest test microbe has such a part of the threshold where noise is low."""

_STRONG: Final = 2.0
"""The brightest so many times the threshold where noise is high, at least."""

_MOST_ROUNDS: Final = 400


_MAP: Final = 16
"""Cells along each side of the map of the faintest microbe."""


def _finite(value: float) -> float | None:
    """Return a number for JSON: None for what is not finite."""
    return float(value) if math.isfinite(value) else None
