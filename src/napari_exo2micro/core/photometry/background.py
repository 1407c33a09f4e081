"""The background of post, modelled from pre, place by place: what minerals alone show.

    post = offset(x) + gain(x) * scale * (kernel * pre)(x) + microbes

The kernel makes the focus of pre that of post; gain and offset follow minerals with a
ratio of their own, stain that takes to them, and light. Each of the three is a step
that must earn its place: it is used only where it leaves clearly less in parts of the
section that were kept out of its fit. Gain and offset are found in cells of 4 px by
total variation with absolute deviations, which keeps whatever is larger than a few
cells, with its edges, and loses whole what is smaller: microbes do not enter.

References
----------
C. Alard & R. H. Lupton, Astrophysical Journal 503 (1998) 325, and D. M. Bramich,
MNRAS 386 (2008) L77: the kernel. T. F. Chan & S. Esedoglu, SIAM J. Appl. Math. 65
(2005) 1817: total variation with absolute deviations. A. Chambolle & T. Pock,
J. Math. Imaging Vis. 40 (2011) 120: how it is solved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.images import ImageLike
from napari_exo2micro.core.images.lazy import Window
from napari_exo2micro.core.photometry.minerals import (
    jackknife,
    mineral_blocks,
    robust_spread,
)
from napari_exo2micro.core.photometry.statistics import (
    WORKERS,
    PairStatistics,
    spread_out,
    square_means,
)

FloatGrid = NDArray[np.float32]
Known = Callable[[Window], NDArray[Any] | None]
"""Returns where both images have data (not 0) in a window; None for everywhere."""

BACKGROUND_STEPS: Final = ("kernel", "gain", "offset")
"""What a model may have, in the order in which it is built."""

_CELL: Final = 4
"""Side of the cells that gain and offset are found in, px."""

_FIDELITIES: Final = (0.6, 0.42, 0.3)
"""Of gain and offset to single cells; a lower one where microbes would be taken."""

_EDGE: Final = 0.3
"""A step of the logarithm of pre's light from cell to cell by which a jump of gain or
offset costs half: that is where one mineral ends."""

_DIM: Final = 2.0
"""Grey levels that are added before the logarithm: glass has no edges."""

_LEAST_COST: Final = 0.3
"""A jump costs this part at least: a microbe beside an edge is not followed."""

_ROUNDS: Final = 50
_STEP: Final = 0.6
"""Step of the solver; that of its dual variable is an eighth divided by this."""

_HALO: Final = 64
"""Pixels around a window that its gain and offset are found with."""

_WORTH_IT: Final = 0.8
"""Power that a model may leave, as a part of what one scale leaves."""

_SPOT: Final = 3.0
"""A cell is no mineral that is brighter than around it by this many of its noise."""

_BRIGHT_SPOT: Final = 10.0
"""The same beside the edge of a grain, where the fit itself may leave something."""

_SPOT_SIGMA: Final = 1.7
"""Of the spots that are put into post as a check, px."""

_MOST_LOST: Final = 0.01
"""A step that takes more of their flux than this is not used."""

_LEAST_GAIN: Final = 0.03
_SIGMAS: Final = 2.5
"""A step must leave less power by this part, and beyond this many of its errors."""

# Of the windows that the steps are judged in.
_SAMPLE: Final = 24
_SIDE: Final = 512  # px
_LEFT_OUT: Final = 0.2
_GROUP: Final = 2  # cells: squares of them are left out together
_JUDGED: Final = 32  # cells: squares of them count as independent
_CLIP: Final = 4.0  # of the spread of what the scale leaves

# Of the kernel.
_REACH: Final = 5  # it has 11 x 11 px
_RIDGE: Final = 1e-3
_PART: Final = 36  # px on each side of the middle of a window are fitted
_LEFT: Final = 3.0  # pixels beyond this many spreads are left out
_FLAT: Final = 31  # px: what is broader is light and glow, not focus


@dataclass(frozen=True, slots=True)
class Residual:
    """What is left of post over minerals, in cells of 4 px.

    Attributes
    ----------
    power : float
        Mean square, microbes clipped, grey levels squared.
    structure : float
        Root mean square of what neighbouring cells share, which noise does not,
        as a part of the minerals' brightness.
    """

    power: float
    structure: float


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundModel:
    """How post follows from the aligned pre.

    Attributes
    ----------
    scale, offset : float
        Of the whole section.
    steps : tuple of str
        Those of `BACKGROUND_STEPS` that have earned their place.
    kernel : ndarray, shape (11, 11), float32
        Of sum 1; a single 1 without that step.
    floor : float
        Grey level of the scaled pre below which there is glass.
    dark : float
        Grey level of the scaled pre where there is nothing: no background is darker.
    saturation : float
        Grey level at which post is saturated, inf when nowhere.
    left_by_scale, left_by_model : Residual
        In cells that were kept out of the fit.
    lost_flux : float
        Part of the flux of spots, put into post as a check, that the model takes.
    fidelity : float
        Of gain and offset to single cells: what has a radius below ``2 / fidelity``
        cells is lost.
    """

    scale: float
    offset: float
    steps: tuple[str, ...]
    kernel: FloatGrid
    floor: float
    dark: float
    saturation: float
    left_by_scale: Residual
    left_by_model: Residual
    lost_flux: float = 0.0
    fidelity: float = _FIDELITIES[0]

    @property
    def power_ratio(self) -> float:
        """Power that the model leaves, as a part of what the scale alone leaves."""
        plain = self.left_by_scale.power
        return self.left_by_model.power / plain if plain else 1.0

    @property
    def is_proven(self) -> bool:
        """Whether it leaves so much less that its difference is the one to look at."""
        return bool(self.steps) and self.power_ratio <= _WORTH_IT

    def to_dict(self) -> dict[str, Any]:
        """Return what a header tells of it, as JSON-ready built-in types."""
        return {
            "steps": list(self.steps),
            "structure": self.left_by_scale.structure,
            "structure_with_model": self.left_by_model.structure,
            "power_ratio": self.power_ratio,
            "lost_flux": self.lost_flux,
            "fidelity": self.fidelity,
            "kernel": np.round(self.kernel, 6).tolist()
            if "kernel" in self.steps
            else [],
            "scale": self.scale,
            "offset": self.offset,
            "floor": self.floor,
            "dark": self.dark,
            "saturation": self.saturation if math.isfinite(self.saturation) else None,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> BackgroundModel:
        """Return the model that a header tells of; see `to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            When something is missing: older versions told less.
        """
        limit = told["saturation"]
        return cls(
            scale=float(told["scale"]),
            offset=float(told["offset"]),
            steps=tuple(step for step in BACKGROUND_STEPS if step in told["steps"]),
            kernel=np.array(told["kernel"], np.float32) if told["kernel"] else _delta(),
            floor=float(told["floor"]),
            dark=float(told["dark"]),
            saturation=math.inf if limit is None else float(limit),
            left_by_scale=Residual(math.nan, float(told["structure"])),
            left_by_model=Residual(math.nan, float(told["structure_with_model"])),
            lost_flux=float(told["lost_flux"]),
            fidelity=float(told["fidelity"]),
        )

    def subtract(
        self, post: ImageLike, pre: ImageLike, window: Window, known: Known
    ) -> FloatGrid:
        """Return post less the background in a window of images on one canvas.

        Parameters
        ----------
        post, pre : array_like, shape (rows, columns)
            Post and aligned pre; read with 64 px around the window.
        window : tuple of slice
            Rows and columns.
        known : callable
            See `Known`.

        Returns
        -------
        ndarray, shape of the window, float32
            Grey levels of post, also where nothing is known.
        """
        outer, inner = _around(window, post.shape)
        seen = np.asarray(post[outer]).astype(np.float32)
        light = self.predict(seen, np.asarray(pre[outer]), known(outer))
        return np.subtract(seen[inner], light[inner])

    def predict(
        self,
        post: NDArray[Any],
        pre: NDArray[Any],
        known: NDArray[Any] | None = None,
    ) -> FloatGrid:
        """Return the background of a window.

        Parameters
        ----------
        post, pre : ndarray, shape (rows, columns)
            Windows of both images that begin at multiples of 4 px of the canvas.
        known : ndarray, shape (rows, columns), optional
            Not 0 where both have data.

        Returns
        -------
        ndarray, shape (rows, columns), float32
            Grey levels of post; near the border gain and offset are less sure.
        """
        light = self._scaled(pre)
        if "gain" in self.steps or "offset" in self.steps:
            cells = _Cells.of(post, light, known, self)
            cells.follow(self.steps)
            if "gain" in self.steps:
                light *= spread_out(cells.gain, _CELL, light.shape)
            if "offset" in self.steps:
                light += spread_out(cells.offset, _CELL, light.shape)
        return np.add(light, np.float32(self.offset), out=light)

    def _scaled(self, pre: NDArray[Any]) -> FloatGrid:
        light = np.asarray(pre).astype(np.float32)
        if "kernel" in self.steps:
            light = _convolved(light, self.kernel)
            # A kernel that sharpens goes too far beside the edge of a dark pore.
            np.maximum(light, np.float32(self.dark / self.scale), out=light)
        return np.multiply(light, np.float32(self.scale), out=light)


def _flux_taken(model: BackgroundModel, sample: _Sample) -> float:
    """Return the part of the flux of spots put into post that a model takes."""
    places = _test_spots(sample, model)
    spots = _spot_sized(places)
    light = _spot_sized(spots)[places > 0]
    if not len(light):
        return 0.0
    with_spots, without = (
        model.predict(post, sample.pre, sample.known)
        for post in (sample.post + spots, sample.post)
    )
    taken = _spot_sized(with_spots - without)[places > 0]
    return float(taken.sum() / light.sum())


def _test_spots(sample: _Sample, model: BackgroundModel) -> FloatGrid:
    """Return spots that a matched filter sees at 10 and at 30 of the noise, in turn."""
    light = model._scaled(sample.pre)
    cells = _Cells.of(sample.post, light, sample.known, model)
    noise = _CELL * _noise(cells.residual, cells.minerals)
    # S/N = peak / noise * sqrt(sum of the squared profile) = peak / noise * 1.8 sigma
    peak = 10 * noise / (math.sqrt(math.pi) * _SPOT_SIGMA)
    place = np.zeros_like(light)
    y, x = (np.arange(24, length - 24, 48) for length in place.shape)
    bright = 1 + 2 * (np.add.outer(np.arange(len(y)), np.arange(len(x))) % 2)
    place[np.ix_(y, x)] = 2 * math.pi * _SPOT_SIGMA**2 * peak * bright
    place[light <= model.floor] = 0
    return place


def _spot_sized(image: FloatGrid) -> FloatGrid:
    """Return an image blurred by the profile of a microbe."""
    blurred = cv2.GaussianBlur(image, (0, 0), _SPOT_SIGMA)
    return np.asarray(blurred, dtype=np.float32)


# Windows -----------------------------------------------------------------------------


def _around(window: Window, shape: tuple[int, ...]) -> tuple[Window, Window]:
    """Return a window with its halo, from a corner of a cell on, and itself in it."""
    outer, inner = [], []
    for part, length in zip(window, shape, strict=True):
        start = max(part.start // _CELL * _CELL - _HALO, 0)
        stop = min(part.stop + _HALO, length)
        outer.append(slice(start, stop))
        inner.append(slice(part.start - start, part.stop - start))
    return (outer[0], outer[1]), (inner[0], inner[1])


def _convolved(image: FloatGrid, kernel: FloatGrid) -> FloatGrid:
    """Return ``sum over d of kernel[d] * image(x + d)``."""
    seen = cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(seen, dtype=np.float32)


# Gain and offset ---------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Cells:
    """Cells of a window: means of post and scaled pre, both less the offset."""

    post: FloatGrid
    light: FloatGrid
    used: NDArray[np.bool_]  # where post can be trusted
    minerals: NDArray[np.bool_]  # where there is light enough for a ratio
    gain: FloatGrid
    offset: FloatGrid
    fidelity: float

    @classmethod
    def of(
        cls,
        post: NDArray[Any],
        light: FloatGrid,
        known: NDArray[Any] | None,
        model: BackgroundModel,
    ) -> _Cells:
        means = square_means(light, _CELL)
        used = np.ones(means.shape, bool)
        if known is not None:
            used &= square_means(known != 0, _CELL) >= 1
        if math.isfinite(model.saturation):
            used &= square_means(post >= model.saturation, _CELL) <= 0
        seen = square_means(post, _CELL) - np.float32(model.offset)
        minerals = used & (means > model.floor) & (seen > 0)
        one = np.ones_like(means)
        none = np.zeros_like(means)
        return cls(seen, means, used, minerals, one, none, model.fidelity)

    def follow(
        self, steps: Sequence[str], left_out: NDArray[np.bool_] | None = None
    ) -> None:
        """Find gain and offset, without what is left out and without microbes."""
        kept = np.ones_like(self.used) if left_out is None else ~left_out
        if "gain" in steps:
            fitted = self.minerals & kept
            ratio = np.ones_like(self.light)
            np.divide(self.post, self.light, out=ratio, where=fitted)
            # A ratio is as sure as its light, in units of its shot noise.
            typical = np.median(self.light[fitted]) if fitted.any() else 1.0
            weight = np.sqrt(np.clip(self.light / max(typical, 1e-6), 0.01, 1.0))

            def spots(logarithm: FloatGrid, limit: float) -> NDArray[np.bool_]:
                gain: FloatGrid = np.exp(logarithm)
                return _spots(self.post - gain * self.light, self.used, limit)

            weight *= np.float32(self.fidelity)
            jumps = self._jumps()
            self.gain = np.exp(_lasting(np.log(ratio), weight * fitted, spots, jumps))
        if "offset" in steps:
            rest = self.post - self.gain * self.light
            weight = np.float32(self.fidelity) * (self.used & kept).astype(np.float32)
            self.offset = _lasting(
                rest,
                weight,
                lambda offset, limit: _spots(rest - offset, self.used, limit),
                self._jumps(),
            )

    def _jumps(self) -> FloatGrid:
        """Return what a jump between neighbours costs: less where pre has an edge."""
        logarithm = np.log(np.maximum(self.light, 0) + np.float32(_DIM))
        square = np.zeros_like(logarithm)
        square[:, :-1] += np.diff(logarithm, axis=1) ** 2
        square[:-1] += np.diff(logarithm, axis=0) ** 2
        cost = 1 / (1 + square / np.float32(_EDGE**2))
        return np.maximum(cost, np.float32(_LEAST_COST), out=cost)

    @property
    def residual(self) -> FloatGrid:
        """What is left of post."""
        return self.post - self.gain * self.light - self.offset


def _spots(
    rest: FloatGrid, used: NDArray[np.bool_], limit: float = _SPOT
) -> NDArray[np.bool_]:
    """Return cells that are brighter than around them by `limit` times the noise.

    And their neighbours: microbes are kept out of the fit and of what is said of
    minerals.
    """
    if not used.any():
        return ~used
    limit = max(limit * _noise(rest, used), 1e-6)
    rest = np.where(used, rest, np.float32(np.median(rest[used])))
    spots = rest - cv2.medianBlur(rest, 5) > limit
    grown = cv2.dilate(spots.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(grown > 0)


def _lasting(
    values: FloatGrid,
    weight: FloatGrid,
    spots: Callable[[FloatGrid, float], NDArray[np.bool_]],
    jumps: FloatGrid,
) -> FloatGrid:
    """Return values without what is small, with the edges of what is large.

    That is the u with the least ``sum(jumps |grad u|) + sum(weight |u - values|)``.
    Where the weight is 0 values go on from around. It is found twice, the second time
    without the `spots` that the first one leaves, of so many times the noise: near an
    edge faint ones may be a corner of it.
    """
    some = weight > 0
    if not some.any():
        return np.zeros_like(values)
    middle = np.float32(np.median(values[some]))
    unit = np.float32(max(robust_spread(values[some].astype(np.float64)), 1e-6))
    values = np.where(some, (values - middle) / unit, np.float32(0))
    if not some.all():
        wide = some.astype(np.float32)
        near, number = (cv2.GaussianBlur(a, (0, 0), 3) for a in (values * wide, wide))
        values = np.where(some, values, near / np.maximum(number, 1e-3))
    start = np.asarray(cv2.medianBlur(values, 5), np.float32)
    found = _total_variation(values, weight, start, jumps, _ROUNDS)
    around = np.ones((5, 5), np.uint8)
    change = cv2.dilate(found, around) - cv2.erode(found, around)
    seen = found * unit + middle
    microbes = spots(seen, _SPOT) & (change < _noise(values, some))
    microbes |= spots(seen, _BRIGHT_SPOT)
    weight = np.where(microbes, np.float32(0), weight)
    found = _total_variation(values, weight, found, jumps, _ROUNDS // 2)
    result: FloatGrid = found * unit + middle
    return result


def _noise(values: FloatGrid, used: NDArray[np.bool_]) -> float:
    """Return the standard deviation that neighbours do not share."""
    steps = np.diff(values, axis=1)[used[:, 1:] & used[:, :-1]]
    return robust_spread(steps.astype(np.float64)) / math.sqrt(2)


def _total_variation(
    values: FloatGrid,
    weight: FloatGrid,
    start: FloatGrid,
    jumps: FloatGrid,
    rounds: int,
) -> FloatGrid:
    """Solve for `_lasting`; the values have a spread of about 1."""
    # Chambolle & Pock: with the dual (p, q), |(p, q)| <= jumps, and steps t s <= 1/8,
    #   (p, q) <- project((p, q) + s grad(2 u' - u));  v = u + t div(p, q)
    #   u <- v pulled towards the values by at most t * weight
    t, s = _STEP, 1 / (8 * _STEP)
    pull = np.asarray(t * weight, np.float32)
    u, ahead = start.copy(), start.copy()
    p, q, step, size = (np.zeros_like(values) for _ in range(4))
    for _ in range(rounds):
        np.subtract(ahead[:, 1:], ahead[:, :-1], out=step[:, :-1])
        step[:, -1] = 0
        step *= s
        p += step
        np.subtract(ahead[1:], ahead[:-1], out=step[:-1])
        step[-1] = 0
        step *= s
        q += step
        np.multiply(p, p, out=size)
        np.multiply(q, q, out=step)
        size += step
        np.sqrt(size, out=size)
        size /= jumps
        np.maximum(size, 1, out=size)
        p /= size
        q /= size
        step[:] = p
        step[:, 1:] -= p[:, :-1]
        step += q
        step[1:] -= q[:-1]
        step *= t
        step += u
        step -= values
        np.clip(step, -pull, pull, out=size)
        step -= size
        step += values
        np.multiply(step, 2, out=ahead)
        ahead -= u
        u, step = step, u
    return u


# Fitting -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """A window that the steps are judged in."""

    post: FloatGrid
    pre: FloatGrid
    known: NDArray[Any] | None
    left_out: NDArray[np.bool_]  # of the fits
    judged: NDArray[np.bool_]  # of these the minerals without microbes
    clip: float  # grey levels


def fit_background(
    post: ImageLike,
    pre: ImageLike,
    *,
    scale: float,
    offset: float = 0.0,
    statistics: PairStatistics,
    known: Known = lambda _: None,
    steps: Sequence[str] = BACKGROUND_STEPS,
    monitor: Monitor | None = None,
) -> BackgroundModel:
    """Find which steps of a background model a pair proves, and their figures.

    Parameters
    ----------
    post, pre : array_like, shape (rows, columns)
        Post and aligned pre on one canvas.
    scale, offset : float
        Of the whole section.
    statistics : PairStatistics
        Of the pair: they tell where the section is and what is saturated. Up to 24
        windows of 512 or 256 px are put on it, evenly.
    known : callable
        See `Known`.
    steps : sequence of str
        Those of `BACKGROUND_STEPS` that are tried.
    monitor : Monitor, optional
        Is told the progress and may stop the work.

    Returns
    -------
    BackgroundModel
        Without any step where none leaves clearly less.
    """
    monitor = monitor or Monitor()
    none = Residual(0.0, 0.0)
    blocks = statistics.blocks
    threshold = mineral_blocks(blocks).threshold
    shown = np.isfinite(blocks.post) & (blocks.pre > threshold)
    places = np.argwhere(shown)[:, ::-1] * blocks.size + blocks.origin
    model = BackgroundModel(
        scale=scale,
        offset=offset,
        steps=(),
        kernel=_delta(),
        floor=threshold * scale,
        dark=_darkest(blocks.pre) * scale,
        saturation=statistics.post_saturation,
        left_by_scale=none,
        left_by_model=none,
    )
    windows = _windows(places, post.shape)
    if not windows:
        return model
    with ThreadPoolExecutor(WORKERS) as pool:
        rng = np.random.default_rng(0)
        left_out = [_left_out(window, rng) for window in windows]
        take = partial(_sample, post, pre, known, model)
        samples = list(pool.map(take, windows, left_out))

        def tried(candidate: BackgroundModel) -> list[_Left]:
            return list(pool.map(lambda one: _Left.of(one, candidate), samples))

        plain = tried(model)
        if not any(len(left.values) for left in plain):
            return model
        base = plain
        if "kernel" in steps:
            monitor.report(0.2, "trying the focus of the background")
            model = _focused(model, samples, pool)
            base = tried(model) if model.steps else plain
        for index, step in enumerate(BACKGROUND_STEPS[1:]):
            if step not in steps:
                continue
            monitor.report(0.5 + 0.2 * index, f"trying the {step} of the background")
            for fidelity in (one for one in _FIDELITIES if one <= model.fidelity):
                candidate = replace(
                    model, steps=(*model.steps, step), fidelity=fidelity
                )
                found = tried(candidate)
                if not _is_better(_parts(base), _parts(found)) or (
                    _residual(found, 1.0).power > _residual(base, 1.0).power
                ):
                    break
                some = samples[:: len(samples) // 8 + 1]
                lost = pool.map(partial(_flux_taken, candidate), some)
                taken = float(np.mean(list(lost)))
                if taken <= _MOST_LOST:
                    model, base = replace(candidate, lost_flux=max(taken, 0.0)), found
                    break
    monitor.report(1.0, "trying the background")
    light = float(np.median(np.concatenate([one.light for one in plain])))
    return replace(
        model,
        left_by_scale=_residual(plain, light),
        left_by_model=_residual(base, light),
    )


def _delta() -> FloatGrid:
    """Return the kernel that changes nothing."""
    kernel = np.zeros((2 * _REACH + 1, 2 * _REACH + 1), np.float32)
    kernel[_REACH, _REACH] = 1
    return kernel


def _darkest(blocks: NDArray[np.floating[Any]]) -> float:
    """Return the mean of the darkest block, 0 where nothing is known."""
    known = blocks[np.isfinite(blocks)]
    return float(known.min()) if len(known) else 0.0


def _windows(places: NDArray[np.int64], shape: tuple[int, ...]) -> list[Window]:
    """Return windows around places far from each other, at multiples of 4 px."""
    if not len(places):
        return []
    longest = _SIDE if min(shape) >= 4 * _SIDE else _SIDE // 2
    side = [min(longest, length // _CELL * _CELL) for length in shape]
    last = [length - part for length, part in zip(shape, side, strict=True)]
    # Farthest points first: each new one is that with the most room.
    chosen = [int(np.argmin(np.abs(places - places.mean(axis=0)).sum(axis=1)))]
    room = np.abs(places - places[chosen[0]]).max(axis=1)
    while len(chosen) < _SAMPLE and room.max() >= longest:
        chosen.append(int(room.argmax()))
        room = np.minimum(room, np.abs(places - places[chosen[-1]]).max(axis=1))
    windows = []
    for x, y in places[chosen]:
        corner = [
            int(np.clip(middle - part // 2, 0, most)) // _CELL * _CELL
            for middle, part, most in zip((y, x), side, last, strict=True)
        ]
        windows.append(
            (
                slice(corner[0], corner[0] + side[0]),
                slice(corner[1], corner[1] + side[1]),
            )
        )
    return windows


def _left_out(window: Window, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which cells of a window are kept out of the fits."""
    rows, columns = ((part.stop - part.start) // _CELL for part in window)
    groups = rng.random((-(-rows // _GROUP), -(-columns // _GROUP))) < _LEFT_OUT
    return groups.repeat(_GROUP, 0).repeat(_GROUP, 1)[:rows, :columns]


def _sample(
    post: ImageLike,
    pre: ImageLike,
    known: Known,
    model: BackgroundModel,
    window: Window,
    left_out: NDArray[np.bool_],
) -> _Sample:
    seen, light = (
        np.asarray(image[window]).astype(np.float32) for image in (post, pre)
    )
    there = known(window)
    cells = _Cells.of(seen, model._scaled(light), there, model)
    plain = cells.residual[cells.minerals].astype(np.float64)
    middle = float(np.median(plain)) if len(plain) else 0.0
    clip = _CLIP * robust_spread(plain) + abs(middle)
    cells.follow(("gain",))
    judged = cells.minerals & left_out & ~_spots(cells.residual, cells.used)
    return _Sample(seen, light, there, left_out, judged, clip)


@dataclass(frozen=True, slots=True, eq=False)
class _Left:
    """What a model leaves in the left-out cells of a window that show minerals.

    `values` and `light` of each, `pairs` of neighbours, and the sum of squares per
    light in each of the `parts` of the window.
    """

    values: NDArray[np.float64]
    pairs: NDArray[np.float64]  # shape (n, 2)
    light: NDArray[np.float64]
    parts: NDArray[np.float64]

    @classmethod
    def of(cls, sample: _Sample, model: BackgroundModel) -> _Left:
        """Apply a model to a window."""
        cells = _Cells.of(sample.post, model._scaled(sample.pre), sample.known, model)
        cells.follow(model.steps, sample.left_out)
        rest = np.clip(cells.residual.astype(np.float64), -sample.clip, sample.clip)
        judged = sample.judged
        pairs = [
            np.stack([values[1:][both], values[:-1][both]], axis=1)
            for kept, values in ((judged, rest), (judged.T, rest.T))
            for both in (kept[1:] & kept[:-1],)
        ]
        rows, columns = np.nonzero(judged)
        across = judged.shape[1] // _JUDGED + 1
        part = rows // _JUDGED * across + columns // _JUDGED
        number = (judged.shape[0] // _JUDGED + 1) * across
        light = np.maximum(cells.light[judged].astype(np.float64), 1e-9)
        # Per light, as noise grows: no part of the section decides alone.
        squares = np.bincount(part, rest[judged] ** 2 / light, number)
        return cls(
            rest[judged],
            np.concatenate(pairs),
            light + model.offset,
            squares.astype(np.float64),
        )


def _is_better(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Return whether sums of squares fall by enough, and not by chance."""
    if len(before) < 3 or before.sum() <= 0:
        return False
    gain = 1 - after.sum() / before.sum()
    rest = np.maximum(before.sum() - before, 1e-12)
    others = 1 - (after.sum() - after) / rest
    return bool(gain > max(_LEAST_GAIN, _SIGMAS * jackknife(others)))


def _parts(windows: Sequence[_Left]) -> NDArray[np.float64]:
    return np.concatenate([one.parts for one in windows])


def _residual(windows: Sequence[_Left], light: float) -> Residual:
    """Return the figures of all windows together."""
    power = float(np.mean(np.concatenate([one.values for one in windows]) ** 2))
    pairs = np.concatenate([one.pairs for one in windows])
    shared = max(float(np.mean(pairs[:, 0] * pairs[:, 1])), 0.0) if len(pairs) else 0.0
    return Residual(power, math.sqrt(shared) / max(light, 1e-9))


# The kernel --------------------------------------------------------------------------


def _focused(
    model: BackgroundModel, samples: Sequence[_Sample], pool: ThreadPoolExecutor
) -> BackgroundModel:
    """Return the model, with a kernel if it proves itself, each half on the other."""
    if len(samples) < 4 or min(samples[0].post.shape) < 2 * (_PART + _REACH):
        return model
    systems = list(pool.map(lambda sample: _System.of(sample, model), samples))
    rough = _solved(list(pool.map(lambda one: one.normal(None), systems)))
    parts = list(pool.map(lambda one: one.normal(rough), systems))
    after = []
    for first in (0, 1):
        kernel = _solved(parts[first::2])
        for system in systems[1 - first :: 2]:
            if plain := system.power(None):
                after.append(system.power(kernel) / plain)
    kernel = _solved(parts)
    total = float(kernel.sum())
    if total < 0.5 or not _is_better(np.ones(len(after)), np.array(after)):
        return model
    shaped = (kernel / total).reshape(model.kernel.shape).astype(np.float32)
    return replace(model, steps=("kernel", *model.steps), kernel=shaped)


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """What the kernel is fitted to: pixels of post, and of pre around each."""

    target: FloatGrid
    moved: FloatGrid  # shape (pixels, 121)

    @classmethod
    def of(cls, sample: _Sample, model: BackgroundModel) -> _System:
        light = model._scaled(sample.pre)
        seen, light = (
            image - cv2.blur(image, (_FLAT, _FLAT)) for image in (sample.post, light)
        )
        # The middle of the window is enough, and away from its border.
        rows, columns = (
            slice(length // 2 - _PART, length // 2 + _PART) for length in seen.shape
        )
        moved = [
            light[
                rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx
            ].ravel()
            for dy in range(-_REACH, _REACH + 1)
            for dx in range(-_REACH, _REACH + 1)
        ]
        used = np.ones(seen.shape, bool) if sample.known is None else sample.known != 0
        used &= (sample.pre * model.scale > model.floor) & (
            sample.post < model.saturation
        )
        kept = used[rows, columns].ravel()
        return cls(seen[rows, columns].ravel()[kept], np.stack(moved, 1)[kept])

    def rest(self, kernel: NDArray[np.float64] | None) -> FloatGrid:
        """Return what a kernel leaves; that of a single 1 for None."""
        if kernel is None:
            return self.target - self.moved[:, self.moved.shape[1] // 2]
        rest: FloatGrid = self.target - self.moved @ kernel.astype(np.float32)
        return rest

    def normal(self, kernel: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return matrix and right side, (121, 122), without what a kernel leaves most.

        Microbes are left out in that way.
        """
        rest = self.rest(kernel)
        kept = np.abs(rest) <= _LEFT * robust_spread(rest.astype(np.float64))
        moved = self.moved[kept]
        sides = moved.T @ moved, (moved.T @ self.target[kept])[:, None]
        return np.concatenate(sides, axis=1).astype(np.float64)

    def power(self, kernel: NDArray[np.float64] | None) -> float:
        """Return the sum of squares that a kernel leaves, clipped."""
        limit = _CLIP * robust_spread(self.rest(None).astype(np.float64))
        return float(np.sum(np.clip(self.rest(kernel), -limit, limit) ** 2))


def _solved(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the kernel of normal equations, drawn towards a single 1."""
    total = np.sum(parts, axis=0)
    size = len(total)
    start = np.zeros(size)
    start[size // 2] = 1
    ridge = max(_RIDGE * float(np.trace(total[:, :size])) / size, 1e-9)
    kernel: NDArray[np.float64] = np.linalg.solve(
        total[:, :size] + ridge * np.eye(size), total[:, size] + ridge * start
    )
    return kernel
