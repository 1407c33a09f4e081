"""How far above the noise a spot of the size of a microbe would be, pixel by pixel.

The difference is compared with profiles of a few sizes, each pixel weighted by its own
variance, and told in units of its standard deviation: the signal-to-noise ratio, S/N.
The variance of a pixel is learnt from the difference itself:

    variance = read + shot * light + (edges * error^2 + focus) * |slope of light|^2
             + part * light^2

with `light` the background of post (post less the difference) and `error` what the
registration is expected to be off there. What that misses, such as noise that
resampling has correlated, is told by the spread of the S/N in each place: blocks of
64 px, drawn towards what the whole section shows as far as a block is not sure itself.

References
----------
B. Zackay, E. Ofek & A. Gal-Yam, Astrophysical Journal 830 (2016) 27: the matched
filter of a difference and the term of misregistration. T. Lindeberg,
Int. J. Computer Vision 30 (1998) 79: a bank of sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from napari_exo2micro.core.alignment.error_map import ErrorMap
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.images import ImageLike
from napari_exo2micro.core.images.lazy import Window
from napari_exo2micro.core.photometry.background import Known
from napari_exo2micro.core.photometry.statistics import WORKERS, spread_out

FloatGrid = NDArray[np.float32]

SIZES: Final = (1.4, 2.2, 3.4)
"""Standard deviations of the Gaussian profiles that are searched for, px."""

_BLOCK: Final = 64
"""Side of the blocks in which the S/N is brought to unit spread, px."""

_AROUND: Final = 1
"""So many blocks on each side count as well."""

_STEP: Final = 2
"""Of the pixels of a block every so-manieth is looked at, along both axes."""

_REACH: Final = 4.0
"""How far a profile reaches, in its standard deviations."""

_SMOOTH: Final = 1.0
"""The light is smoothed by so many px before its slope is taken: pre has noise too."""

_SHINE: Final = 2.0
"""And by so many before its noise is told from it."""

_HOT: Final = 6.0
"""A single pixel that sticks out of its neighbours by so many deviations is hot."""

_ALONE: Final = 0.6
"""And by so much of its own height: a spot, however sharp, lifts its neighbours."""

# Of the windows in which the variance is learnt.
_WINDOWS: Final = 36
_ENOUGH: Final = 8  # of which more than half is known; else those that there are
_SIDE: Final = 256  # px
_LEARNT_AT: Final = 1.4  # px: at the size of a small microbe
_FLAT: Final = 41  # px: what is broader is no microbe
_EVERY: Final = 5  # pixels of which one counts: neighbours tell the same
_BRIGHT: Final = 6.0
_WINGS: Final = 9  # px: what stands out so far is left out, with so much around it
_BINS: Final = (16, 4)  # of light, and of the slope of it in each
_FEWEST: Final = 200


class NoiseModel(NamedTuple):
    """Variance of a pixel of the difference, grey levels squared.

    Attributes
    ----------
    read : float
        Where there is no light.
    shot : float
        Per grey level of light.
    edges : float
        Per squared slope of the light times the squared error of registration.
    focus : float
        Per squared slope of the light.
    part : float
        Per squared grey level of light: what the background misses of minerals.
    least : float
        What it is at least: where glass is dark.
    """

    read: float
    shot: float
    edges: float = 0.0
    focus: float = 0.0
    part: float = 0.0
    least: float = 1e-6

    @property
    def bright(self) -> float:
        """Light from which on what the background misses of minerals exceeds noise.

        Grey levels of post; inf where it misses nothing.
        """
        if self.part <= 0:
            return math.inf
        # part * light^2 = read + shot * light
        half = self.shot / (2 * self.part)
        return half + math.sqrt(half**2 + self.read / self.part)

    def variance(self, terms: Sequence[FloatGrid]) -> FloatGrid:
        """Return the variance from the grids that the middle ones are multiplied by."""
        total = np.full_like(terms[0], np.float32(self.read))
        for factor, term in zip(self[1:5], terms, strict=True):
            if factor:
                total += np.float32(factor) * term
        return np.maximum(total, np.float32(self.least), out=total)


_UNKNOWN: Final = NoiseModel(math.inf, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Significance:
    """The S/N of spots in a difference image.

    Attributes
    ----------
    post, difference : array_like, shape (rows, columns)
        Grey levels of post, on one canvas.
    known : callable
        See `napari_exo2micro.core.photometry.background.Known`.
    error_map : ErrorMap, optional
        Expected error of the registration, px.
    sizes : tuple of float
        Standard deviations of the profiles, px.
    noise : NoiseModel
        Variance of a pixel.
    spread, doubt : tuple of float
        Of each size: spread of the S/N over the section before it is brought to one,
        and by which part that differs from place to place.
    usual : ImageLike, optional
        Difference by which the S/N is brought to unit spread in each place; by default
        its own. Test microbes, which lie closer than microbes do, would raise it.
    """

    post: ImageLike
    difference: ImageLike
    known: Known
    error_map: ErrorMap | None
    sizes: tuple[float, ...]
    noise: NoiseModel
    spread: tuple[float, ...] = field(default=())
    doubt: tuple[float, ...] = field(default=())
    usual: ImageLike | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what a header tells of it, as JSON-ready built-in types."""
        return {
            "sizes": list(self.sizes),
            "noise": {name: float(v) for name, v in self.noise._asdict().items()},
            "spread": [float(value) for value in self.spread],
            "spread_differs": [float(value) for value in self.doubt],
        }

    def window(self, window: Window) -> FloatGrid:
        """Return the largest S/N of all sizes in a window.

        Parameters
        ----------
        window : tuple of slice
            Rows and columns, px.

        Returns
        -------
        ndarray, shape of the window, float32
            0 where nothing is known. The same whatever the window.
        """
        return self.both(window)[0]

    def both(self, window: Window) -> tuple[FloatGrid, FloatGrid]:
        """Return the S/N of bright spots and that of dark ones, as `window` does.

        Dark ones show what noise and misregistration bring about: no microbe is dark.
        """
        outer, inner, wanted = self._around(window)
        seen = plain = _Seen.of(self, outer)
        if self.usual is not None:
            plain = _Seen.of(replace(self, difference=self.usual), outer)
        bright = dark = None
        known = seen.weight[inner] > 0
        for number, sigma in enumerate(self.sizes):
            raw = seen.filtered(sigma)[inner]
            usual = raw if plain is seen else plain.filtered(sigma)[inner]
            centre, spread = self._local(usual, known, number)
            raw = raw[wanted]
            raw = (raw - centre[wanted]) / spread[wanted]
            if bright is None or dark is None:
                bright, dark = raw, -raw
            else:
                np.maximum(bright, raw, out=bright)
                np.maximum(dark, -raw, out=dark)
        assert bright is not None
        assert dark is not None
        missing = ~known[wanted]
        bright[missing] = dark[missing] = 0
        return bright, dark

    def flux_error(self, window: Window, sigma: float | None = None) -> FloatGrid:
        """Return the flux of a spot whose S/N is 1, pixel by pixel.

        Parameters
        ----------
        window : tuple of slice
            Rows and columns, px.
        sigma : float, optional
            Standard deviation of the spot, one of `sizes`, px; by default the middle
            one.

        Returns
        -------
        ndarray, shape of the window, float32
            Grey levels, summed over the spot; inf where nothing is known.
        """
        number = len(self.sizes) // 2 if sigma is None else self.sizes.index(sigma)
        sigma = self.sizes[number]
        outer, inner, wanted = self._around(window)
        seen = _Seen.of(self, outer)
        known = seen.weight[inner] > 0
        _, spread = self._local(seen.filtered(sigma)[inner], known, number)
        error = seen.flux_error(sigma)[inner] * spread
        error[~known] = np.inf
        return np.asarray(error[wanted])

    def variance(self, window: Window) -> FloatGrid:
        """Return the variance of each pixel of the difference in a window.

        Parameters
        ----------
        window : tuple of slice
            Rows and columns, px.

        Returns
        -------
        ndarray, shape of the window, float32
            Grey levels squared.
        """
        outer, inner = _widened(window, 4, self.difference.shape)
        return _Seen.of(self, outer).variance[inner]

    def _around(self, window: Window) -> tuple[Window, Window, Window]:
        """Return what is read for a window, the blocks in it, and the window in these.

        The spread in a window is that of whole blocks around it, the S/N at their
        borders that of pixels beyond.
        """
        shape = self.difference.shape
        rows, columns = (
            slice(*_blocks_around(part, length))
            for part, length in zip(window, shape, strict=True)
        )
        reach = math.ceil(_REACH * max(self.sizes)) + 4
        outer, inner = _widened((rows, columns), reach, shape)
        y, x = (
            slice(part.start - all_.start, part.stop - all_.start)
            for part, all_ in zip(window, (rows, columns), strict=True)
        )
        return outer, inner, (y, x)

    def _local(
        self, raw: FloatGrid, known: NDArray[np.bool_], number: int
    ) -> tuple[FloatGrid, FloatGrid]:
        """Return centre and spread of the S/N around each pixel."""
        centre, spread, count = _block_values(raw, known)
        sure = np.maximum(count, 1e-3) * _independent(self.sizes[number])
        centre, spread, sure = _pooled(centre, spread, sure)
        # Both are drawn towards those of the section: the spread of a block is known to
        # 1 / sqrt(2 n) of itself, the centre to 1 / sqrt(n).
        usual, doubt = self.spread[number], max(self.doubt[number], 1e-3) ** 2
        trust = doubt / (doubt + 0.8 / sure)
        spread = usual * np.exp(trust * np.log(np.maximum(spread, 1e-3) / usual))
        return (
            spread_out(centre.astype(np.float32), _BLOCK, raw.shape),
            spread_out(spread.astype(np.float32), _BLOCK, raw.shape),
        )


def fit_significance(
    post: ImageLike,
    difference: ImageLike,
    *,
    known: Known = lambda _: None,
    error_map: ErrorMap | None = None,
    sizes: Sequence[float] | None = None,
    monitor: Monitor | None = None,
) -> Significance:
    """Learn the noise of a difference image.

    Parameters
    ----------
    post, difference : array_like, shape (rows, columns)
        Grey levels of post, on one canvas. Up to 36 windows of 256 px are read.
    known : callable
        See `napari_exo2micro.core.photometry.background.Known`.
    error_map : ErrorMap, optional
        Expected error of the registration; without it half a pixel everywhere.
    sizes : sequence of float, optional
        Standard deviations of the profiles, px; by default `SIZES`.
    monitor : Monitor, optional
        Is told the progress and may stop the work.

    Returns
    -------
    Significance
        Gives the S/N of any window.
    """
    monitor = monitor or Monitor()
    sizes = tuple(float(size) for size in (sizes or SIZES))
    plain = Significance(post, difference, known, error_map, sizes, _UNKNOWN)
    windows = _windows(difference.shape, known)
    with ThreadPoolExecutor(WORKERS) as pool:
        monitor.report(0.0, "learning the noise")
        seen = list(pool.map(lambda window: _Seen.of(plain, window), windows))
        noise = _learnt(seen)
        monitor.report(0.5, "learning the noise")
        learnt = Significance(post, difference, known, error_map, sizes, noise)
        blocks = list(pool.map(lambda window: _spreads(learnt, window), windows))
    spread, doubt = _usual(blocks, sizes)
    monitor.report(1.0, "learning the noise")
    return Significance(post, difference, known, error_map, sizes, noise, spread, doubt)


# Windows -----------------------------------------------------------------------------


def _windows(shape: tuple[int, ...], known: Known) -> list[Window]:
    """Return windows evenly over what is known; on a small section also partly."""
    side = min(_SIDE, *shape)
    fine = max(side // 2, math.ceil(math.sqrt(shape[0] * shape[1] / 900)))
    found = []
    for y in range(0, shape[0] - side + 1, fine):
        for x in range(0, shape[1] - side + 1, fine):
            window = slice(y, y + side), slice(x, x + side)
            mask = known(window)
            share = 1.0 if mask is None else np.count_nonzero(mask) / side**2
            if share > 0:
                found.append((share, window))
    full = [window for share, window in found if share > 0.5]
    if len(full) < _ENOUGH:
        best = sorted(found, key=lambda one: -one[0])[:_ENOUGH]
        full = [window for _, window in best]
    step = max(len(full) / _WINDOWS, 1.0)
    return [full[int(i * step)] for i in range(min(len(full), _WINDOWS))]


def _blocks_around(part: slice, length: int) -> tuple[int, int]:
    """Return where the blocks begin and end that a stretch of pixels depends on."""
    more = _AROUND + 1
    first = max(part.start // _BLOCK - more, 0) * _BLOCK
    last = min((-(-part.stop // _BLOCK) + more) * _BLOCK, length)
    return first, last


def _widened(
    window: Window, reach: int, shape: tuple[int, ...]
) -> tuple[Window, Window]:
    """Return a window with so many px around it, and itself in it."""
    outer, inner = [], []
    for part, length in zip(window, shape, strict=True):
        start = max(part.start - reach, 0)
        outer.append(slice(start, min(part.stop + reach, length)))
        inner.append(slice(part.start - start, part.stop - start))
    return (outer[0], outer[1]), (inner[0], inner[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A window of the difference with the variance and the weight of each pixel."""

    difference: FloatGrid
    terms: tuple[FloatGrid, ...]
    variance: FloatGrid
    weight: FloatGrid  # 1 where a pixel counts

    @classmethod
    def of(cls, it: Significance, window: Window) -> _Seen:
        left = np.array(it.difference[window], np.float32)
        light = np.asarray(it.post[window]).astype(np.float32)
        # Were the light taken from pre alone, a pixel where pre is dark by chance would
        # stand out and seem sure; from both alike, its noise and that of the difference
        # know nothing of each other.
        shine = light - np.float32(0.5) * left
        cv2.GaussianBlur(shine, (0, 0), _SHINE, dst=shine)
        np.maximum(shine, 0, out=shine)
        light -= left
        cv2.GaussianBlur(light, (0, 0), _SMOOTH, dst=light)
        np.maximum(light, 0, out=light)
        error: Any = np.float32(0.5)
        if it.error_map is not None:
            rows, columns = window
            error = it.error_map.window(
                rows.start, rows.stop, columns.start, columns.stop
            )
        along, down = (
            np.asarray(cv2.Sobel(light, cv2.CV_32F, *way, scale=1 / 8), np.float32)
            for way in ((1, 0), (0, 1))
        )
        slope = along**2 + down**2
        terms = tuple(
            np.asarray(term, np.float32)
            for term in (shine, slope * error**2, slope, light**2)
        )
        variance = it.noise.variance(terms)
        mask = it.known(window)
        weight = np.ones_like(left) if mask is None else (mask != 0).astype(np.float32)
        weight[~np.isfinite(left)] = 0
        left[weight == 0] = 0
        if it.noise != _UNKNOWN:
            # a bright spot has shot noise of its own
            bright = shine + np.maximum(left, 0)
            weight[_hot(left, it.noise.variance((bright, *terms[1:])))] = 0
        return cls(left, terms, variance, weight)

    def filtered(self, sigma: float) -> FloatGrid:
        """Return the S/N of a spot of this size in each pixel."""
        # flux = sum(P d / v) / sum(P^2 / v), its variance 1 / sum(P^2 / v)
        weight = self.weight / self.variance
        signal = _blurred(weight * self.difference, sigma)
        power = _blurred(weight, sigma / math.sqrt(2))
        # The blurs are normalised: P = 2 pi s^2 g(s), and P^2 = pi s^2 g(s / sqrt 2)
        np.maximum(power, 1e-12, out=power)
        signal *= np.float32(2 * math.sqrt(math.pi) * sigma)
        signal /= np.sqrt(power)
        return signal

    def flux_error(self, sigma: float) -> FloatGrid:
        """Return the standard deviation of a spot's flux as the pixels have it."""
        power = _blurred(self.weight / self.variance, sigma / math.sqrt(2))
        factor = np.float32(2 * math.sqrt(math.pi) * sigma)
        return np.asarray(factor / np.sqrt(np.maximum(power, 1e-12)))


def _blurred(image: FloatGrid, sigma: float) -> FloatGrid:
    size = 2 * math.ceil(_REACH * sigma) + 1
    return np.asarray(
        cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_CONSTANT),
        np.float32,
    )


def _hot(left: FloatGrid, variance: FloatGrid) -> NDArray[np.bool_]:
    """Return single pixels that no lens can have made."""
    above = left - cv2.medianBlur(left, 3)
    height = np.abs(above)
    hot = height > _HOT * np.sqrt(variance)
    hot &= height > _ALONE * np.abs(left)
    return np.asarray(hot)


# Learning ----------------------------------------------------------------------------


def _learnt(seen: Sequence[_Seen]) -> NoiseModel:
    """Return the variance that the lower half of the difference shows.

    Microbes are bright: what lies below the median is noise alone. Pixels are taken
    together by their light and by the slope of it.
    """
    parts = [_Learnt.of(one) for one in seen]
    parts = [one for one in parts if len(one.rest) > _FEWEST]
    model = _UNKNOWN
    for _ in range(2):  # the second time without what is bright by the first
        rest = np.concatenate([one.rest for one in parts] or [np.empty(0)])
        term = np.concatenate([one.term for one in parts] or [np.empty((0, 5))])
        model = _fitted(rest, term)
        parts = [one.without_spots(model) for one in parts]
    return model


@dataclass(frozen=True, slots=True, eq=False)
class _Learnt:
    """Values of a window at the size of a small microbe, and what they come from."""

    smooth: FloatGrid
    used: NDArray[np.bool_]
    grids: NDArray[np.float32]  # shape (5, rows, columns): 1 and the terms
    rest: NDArray[np.float64]
    term: NDArray[np.float64]

    @classmethod
    def of(cls, seen: _Seen) -> _Learnt:
        sigma = _LEARNT_AT
        smooth = _blurred(seen.difference * seen.weight, sigma)
        used = _blurred(seen.weight, sigma) > 0.99
        # var(g * d) = sum(g^2 v) = g(sigma / sqrt 2) * v / (4 pi sigma^2)
        grids = np.stack(
            [
                _blurred(part, sigma / math.sqrt(2)) / (4 * math.pi * sigma**2)
                for part in (np.ones_like(smooth), *seen.terms)
            ]
        )
        return cls._with(smooth, used, grids)

    @classmethod
    def _with(
        cls, smooth: FloatGrid, used: NDArray[np.bool_], grids: NDArray[np.float32]
    ) -> _Learnt:
        weight = used.astype(np.float32)
        wide = cv2.blur(cv2.medianBlur(smooth, 5) * weight, (_FLAT, _FLAT))
        share = np.maximum(cv2.blur(weight, (_FLAT, _FLAT)), 1e-3)
        rest = (smooth - wide / share)[used][::_EVERY].astype(np.float64)
        term = grids[:, used][:, ::_EVERY].T.astype(np.float64)
        return cls(smooth, used, grids, rest, term)

    def without_spots(self, model: NoiseModel) -> _Learnt:
        """Return it without what is far brighter than a model's noise."""
        factors = np.array(model[:5], np.float32)
        noise = np.sqrt(np.maximum(np.tensordot(factors, self.grids, 1), 1e-9))
        wide = cv2.blur(self.smooth, (_FLAT, _FLAT))
        spots = _bright_spots((self.smooth - wide) / noise)
        return self._with(self.smooth, self.used & ~spots, self.grids)


def _fitted(rest: NDArray[np.float64], term: NDArray[np.float64]) -> NoiseModel:
    """Return the factors of the terms of what is left."""
    variances, means = [], []
    # Even steps of the square root of light, so that glass does not fill them all.
    root = np.sqrt(term[:, 1])
    highest = max(float(np.percentile(root, 99.9)), 1e-6) if len(root) else 1.0
    number = np.minimum((root / highest * _BINS[0]).astype(np.intp), _BINS[0] - 1)
    for level in range(_BINS[0]):
        of_light = np.flatnonzero(number == level)
        by_slope = of_light[np.argsort(term[of_light, 3], kind="stable")]
        for group in np.array_split(by_slope, _BINS[1]):
            if len(group) >= _FEWEST:
                variances.append(_lower_spread(rest[group]) ** 2)
                means.append(term[group].mean(axis=0))
    if not variances:
        return NoiseModel(1.0, 0.0)
    # Squares scatter like their expectation: weights are its inverse.
    mean, variance = np.array(means), np.array(variances)
    factors, _ = nnls(mean / variance[:, None], np.ones_like(variance))
    # Where there is hardly any light the digits themselves are noise.
    dark = float(np.percentile((term @ factors) / term[:, 0], 1))
    read, shot, edges, focus, part = map(float, factors)
    return NoiseModel(read, shot, edges, focus, part, max(0.5 * dark, 1 / 12))


def _independent(sigma: float) -> float:
    """Return how many values that know nothing of each other a counted pixel is."""
    return _STEP**2 / (4 * math.pi * sigma**2)


def _bright_spots(raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where something shines that is no noise, with its wings."""
    side = 2 * _WINGS + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    spots = (raw > _BRIGHT).astype(np.uint8)
    return np.asarray(cv2.dilate(spots, disk) > 0)


def _block_values(
    raw: FloatGrid, known: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centre, spread and number of the known values of each block.

    The spread is that of the lower half: median less the 16th percentile.
    """
    rows, columns = (-(-length // _BLOCK) for length in raw.shape)
    side = _BLOCK // _STEP
    tall = np.full((rows * side, columns * side), np.nan, np.float32)
    thin = np.where(known, raw, np.float32(np.nan))[::_STEP, ::_STEP]
    tall[: thin.shape[0], : thin.shape[1]] = thin
    values = tall.reshape(rows, side, columns, side).swapaxes(1, 2)
    values = np.sort(values.reshape(rows, columns, -1), axis=-1)  # NaN come last
    count = np.count_nonzero(np.isfinite(values), axis=-1)

    def at(share: float) -> NDArray[np.float64]:
        place = np.clip((share * count).astype(np.intp), 0, side * side - 1)
        found = np.take_along_axis(values, place[..., None], axis=-1)[..., 0]
        return np.where(count > 0, found, 0.0).astype(np.float64)

    centre = at(0.5)
    spread = np.maximum(centre - at(0.1587), 1e-3)
    return centre, spread, count.astype(np.float64)


def _lower_spread(values: NDArray[Any]) -> float:
    """Return the spread of the lower half: median less the 16th percentile."""
    middle, low = np.percentile(values, (50, 15.87))
    return max(float(middle - low), 1e-6)


def _pooled(
    centre: NDArray[np.float64], spread: NDArray[np.float64], sure: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of blocks, each with those around it."""
    side = 2 * _AROUND + 1
    box = np.ones((side, side))
    total = cv2.filter2D(sure, cv2.CV_64F, box, borderType=cv2.BORDER_CONSTANT)
    total = np.maximum(total, 1e-6)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        summed = cv2.filter2D(
            values * sure, cv2.CV_64F, box, borderType=cv2.BORDER_CONSTANT
        )
        return np.asarray(summed / total, np.float64)

    logarithm = mean(np.log(spread))
    pooled = np.asarray(np.exp(logarithm), np.float64)
    return mean(centre), pooled, np.asarray(total, np.float64)


_Spreads = list[tuple[NDArray[np.float64], NDArray[np.float64]]]


def _spreads(it: Significance, window: Window) -> _Spreads:
    """Return for each size the spreads of a window's blocks, and how sure they are."""
    seen = _Seen.of(it, window)
    found = []
    for sigma in it.sizes:
        _, spread, count = _block_values(seen.filtered(sigma), seen.weight > 0)
        enough = count > 0.5 * (_BLOCK // _STEP) ** 2
        sure = count[enough] * _independent(sigma)
        found.append((spread[enough], sure))
    return found


def _usual(
    blocks: Sequence[_Spreads], sizes: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the section's spread of each size, and its part that differs by place."""
    if not any(len(one[0][0]) for one in blocks):
        return (1.0,) * len(sizes), (0.0,) * len(sizes)
    spreads, doubts = [], []
    for number in range(len(sizes)):
        logs = np.log(np.concatenate([one[number][0] for one in blocks]))
        sure = np.concatenate([one[number][1] for one in blocks])
        middle, low, high = np.percentile(logs, (50, 16, 84))
        chance = float(np.mean(0.8 / sure))
        spreads.append(math.exp(float(middle)))
        doubts.append(math.sqrt(max(((high - low) / 2) ** 2 - chance, 0.0)))
    return tuple(spreads), tuple(doubts)
