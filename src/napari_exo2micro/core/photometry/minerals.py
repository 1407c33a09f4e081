"""Blocks that show minerals, and how post depends on pre there.

In a scatter of post against pre the blocks of mineral lie along a ridge. Four models
of it are fitted; the simplest one that describes it as tightly as the others is used.

Blocks are weighted by how near they lie to the ridge, so that microbes, which make
post brighter and never darker, do not pull. What a block is regressed on is the
brightness of its *surroundings* in pre (an instrumental variable): its own
brightness shares the noise and the focus of the block, which would bias the gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.photometry.statistics import GROUPS, BlockMeans

Values = NDArray[np.float64]
Labels = NDArray[np.int64]

_LOST: Final = 0.1
"""A smaller part of the section that is dark in post is dim minerals."""

_LIKE_GLASS: Final = 0.2
"""As far above the glass as that, in parts of the minerals' brightness, is glass."""

_MOST_BLOCKS: Final = 200_000
"""More blocks than these are thinned: they would add time, not accuracy."""

_TIGHTER: Final = 1.15
"""A local model must tighten the ridge by more than this to be believed."""

_SMALL_PART: Final = 0.01
"""Offsets below this part of the minerals' brightness do less harm than their error."""

_SIGMAS: Final = 4.0
"""An offset is significant beyond this many of its standard deviations."""

# Of the reweighted regressions: most rounds, and the relative change that ends them.
_ROUNDS: Final = 40
_SETTLED: Final = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class MineralBlocks:
    """Blocks that show the section, as flat arrays of one length n.

    Their means in `post` and `pre`, the brightness `around` them in pre and the
    `threshold` above which a block counts as section are grey levels; `lost_share` is
    the part of those above it that post shows no section in. `window` is the
    larger part of the section that a block lies in, 0..., `group` the jackknife group
    of that window, 0..7.
    """

    post: Values
    pre: Values
    around: Values
    window: Labels
    group: Labels
    threshold: float
    lost_share: float = 0.0

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.post)

    def thinned(self, most: int) -> MineralBlocks:
        """Return every n-th block, so that there are at most `most`."""
        step = math.ceil(max(len(self), 1) / most)
        if step == 1:
            return self
        # An odd step does not fall into step with rows of even length.
        kept = slice(None, None, step | 1)
        names = "post", "pre", "around", "window", "group"
        thin = {name: getattr(self, name)[kept] for name in names}
        thin["window"] = np.unique(thin["window"], return_inverse=True)[1]
        return replace(self, **thin)


def otsu_threshold(values: Values, bins: int = 256) -> float:
    """Return the value that divides a sample into two classes best.

    References
    ----------
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62,
    https://doi.org/10.1109/TSMC.1979.4310076
    """
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return -math.inf
    counts, edges = np.histogram(values, bins, (low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = len(values) - below
    total = np.cumsum(counts * centres)
    mean_below = total[:-1] / np.maximum(below, 1)
    mean_above = (total[-1] - total[:-1]) / np.maximum(above, 1)
    # variance between the classes = n_below * n_above * (mean_below - mean_above)^2
    between = below * above * (mean_below - mean_above) ** 2
    return float(edges[1:-1][np.argmax(between)])


def mineral_blocks(blocks: BlockMeans) -> MineralBlocks:
    """Return the blocks that show the section, away from its edge if possible.

    They are chosen in pre, which has no microbes. Where a good part of them shows
    nothing but glass in post, a piece is missing there: its blocks are left out.
    """
    known = np.isfinite(blocks.post) & np.isfinite(blocks.pre)
    known &= (blocks.post > 0) & (blocks.pre > 0)
    if not known.any():
        none, labels = np.empty(0), np.empty(0, np.int64)
        return MineralBlocks(none, none, none, labels, labels, 0.0)
    width = 3 if blocks.size >= 16 else 5
    around = _mean_around(blocks.pre, known, width)
    threshold = _section_threshold(around[known])
    chosen = known & (around > threshold)
    lost = _lost_in_post(blocks, known, chosen, width)
    lost_share = _share(lost, chosen)
    chosen &= ~lost
    everywhere = np.ones_like(known)
    inner = chosen & (_mean_around(chosen.astype(np.float32), everywhere, 3) > 0.999)
    if np.count_nonzero(inner) > 0.5 * np.count_nonzero(chosen):
        chosen = inner
    rows, columns = np.nonzero(chosen)
    side = max(8, round(math.sqrt(chosen.size) / 10))
    across = chosen.shape[1] // side + 1
    cell = rows // side * across + columns // side
    many = np.bincount(cell)[cell] >= 8
    if np.count_nonzero(many) > 0.5 * len(many):
        rows, columns, cell = rows[many], columns[many], cell[many]
    _, window = np.unique(cell, return_inverse=True)
    return MineralBlocks(
        post=blocks.post[rows, columns].astype(np.float64),
        pre=blocks.pre[rows, columns].astype(np.float64),
        around=around[rows, columns],
        window=window,
        group=(3 * (rows // side) + columns // side) % GROUPS,
        threshold=threshold,
        lost_share=lost_share,
    )


def _section_threshold(values: Values) -> float:
    """Return the grey level between glass and section."""
    # The root makes dim and bright minerals one class beside the glass.
    root = np.sqrt(values)
    limit = otsu_threshold(np.minimum(root, np.quantile(root, 0.99)))
    return max(limit, 0.0) ** 2


def _share(some: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return int(np.count_nonzero(some)) / max(int(np.count_nonzero(of)), 1)


def _lost_in_post(
    blocks: BlockMeans,
    known: NDArray[np.bool_],
    chosen: NDArray[np.bool_],
    width: int,
) -> NDArray[np.bool_]:
    """Return which of the blocks that show the section in pre lack it in post.

    None where these are few: dim minerals are no missing piece.
    """
    around = _mean_around(blocks.post, known, width)
    lost = chosen & (around <= _section_threshold(around[known]))
    nothing = np.zeros_like(lost)
    glass, kept = known & ~chosen, chosen & ~lost
    if _share(lost, chosen) < _LOST or not glass.any() or not kept.any():
        return nothing
    levels = [float(np.median(blocks.post[some])) for some in (glass, lost, kept)]
    if levels[1] - levels[0] > _LIKE_GLASS * (levels[2] - levels[0]):
        return nothing
    return lost


def _mean_around(
    image: NDArray[np.float32], known: NDArray[np.bool_], width: int
) -> Values:
    """Return the mean of the known values in a square around each one."""
    summed = partial(
        cv2.boxFilter,
        ddepth=cv2.CV_64F,
        ksize=(width, width),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    total = summed(np.where(known, image, 0).astype(np.float64))
    number = summed(known.astype(np.float64))
    return np.asarray(total / np.maximum(number, 1.0), dtype=np.float64)


def robust_spread(values: Values) -> float:
    """Return the standard deviation that the median deviation stands for."""
    if not len(values):
        return 0.0
    # sigma = MAD / 0.6745 for a normal distribution
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def jackknife(left_out: Values) -> float:
    """Return one standard deviation from estimates that leave one group out."""
    number = len(left_out)
    if number < 2:
        return 0.0
    deviations = left_out - left_out.mean()
    # variance = (n - 1) / n * sum (estimate without a group - their mean)^2
    return math.sqrt((number - 1) / number * float(np.sum(deviations**2)))


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """How post depends on pre where there are only minerals.

    Attributes
    ----------
    model : {'even', 'offset', 'glow', 'light'}
        `even`: ``post = gain * pre``. `offset`: a constant is added. `glow`: what
        is added differs from place to place. `light`: the gain does.
    gain, offset : float
        Of the whole section, the offset in grey levels; medians of what differs.
    gain_uncertainty, offset_uncertainty : float
        One standard deviation, from the jackknife over groups of windows; the
        smallest offset that could be seen is four times that.
    measured_offset : float
        What was measured, significant or not, grey levels.
    local_offset, local_gain : ndarray, shape (n_windows,), float64
        Offset and relative gain (median 1) of each window.
    spread : float
        How much gain or offset differ from place to place, as a standard
        deviation in units of the minerals' brightness in post.
    """

    model: Literal["even", "offset", "glow", "light"]
    gain: float
    gain_uncertainty: float
    offset: float
    offset_uncertainty: float
    measured_offset: float
    local_offset: Values
    local_gain: Values
    spread: float

    def ignored(self) -> Background:
        """Return the model ``post = gain * pre`` that leaves all else unused."""
        return replace(
            self,
            model="even",
            offset=0.0,
            local_offset=np.zeros_like(self.local_offset),
            local_gain=np.ones_like(self.local_gain),
        )

    def log_ratio(self, blocks: MineralBlocks) -> Values:
        """Return log10 of (post - offset) / pre, evened out, NaN where undefined."""
        post = blocks.post - self.local_offset[blocks.window]
        ratio = post / (blocks.pre * self.local_gain[blocks.window])
        result: Values = np.full(len(blocks), np.nan)
        np.log10(ratio, out=result, where=ratio > 0)
        return result


def fit_background(
    blocks: MineralBlocks,
    gain: float,
    *,
    coarser: MineralBlocks | None = None,
    least_offset: float = 0.0,
) -> Background:
    """Return the simplest model that describes the ridge as tightly as the others.

    Parameters
    ----------
    blocks : MineralBlocks
        At least a few dozen.
    gain : float
        A first guess, such as the most frequent ratio.
    coarser : MineralBlocks, optional
        The same section in larger blocks. Offset and gain do not depend on the
        size of the blocks, but their errors through differences of focus and
        through crowded microbes do: the change counts as uncertainty.
    least_offset : float
        Smaller offsets are not used, grey levels.
    """
    sample = blocks.thinned(_MOST_BLOCKS)
    fits = RidgeFits(sample, gain)
    check = RidgeFits(coarser.thinned(_MOST_BLOCKS), gain) if coarser else None
    constant, glow, light = fits.constant(), fits.glow(), fits.light()
    n_windows = int(blocks.window.max()) + 1
    whole = int(sample.window.max()) + 1 == n_windows
    brightness = float(np.median(sample.post))
    least_offset = max(least_offset, _SMALL_PART * brightness)
    model: Literal["even", "offset", "glow", "light"]
    local_offset, local_gain, spread = np.zeros(n_windows), np.ones(n_windows), 0.0
    if not whole or constant.spread <= _TIGHTER * min(glow.spread, light.spread):
        fit = used = constant.compared(check.constant() if check else None)
        model = "offset"
        if not fit.significant(least_offset):
            model, used = "even", replace(fit, gain=gain, offset=0.0)
        local_offset += used.offset
    elif glow.spread <= light.spread:
        fit = used = glow.compared(check.glow() if check else None)
        model, local_offset = "glow", fit.local
        spread = robust_spread(fit.local[sample.window]) / brightness
    else:
        fit = used = light.compared(check.light() if check else None)
        model = "light"
        if not fit.significant(least_offset):
            used = fits.light(with_offset=False)
        local_offset += used.offset
        local_gain = used.local / used.gain
        spread = robust_spread(local_gain[sample.window])
    return Background(
        model,
        used.gain,
        fit.gain_uncertainty,
        used.offset,
        fit.offset_uncertainty,
        fit.offset,
        local_offset,
        local_gain,
        spread,
    )


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFit:
    """One model's numbers.

    `local` is a value for each window, `jackknife` the statistical part of the offset's
    uncertainty and `change` the rest of it, `lasting` the part of the offset that would
    remain in very large blocks.
    """

    gain: float
    gain_uncertainty: float
    offset: float
    jackknife: float
    spread: float
    local: Values
    change: float = 0.0
    lasting: float = 1.0

    @property
    def offset_uncertainty(self) -> float:
        """One standard deviation, grey levels."""
        return math.hypot(self.jackknife, self.change)

    def significant(self, least_offset: float) -> bool:
        """Return whether the offset is worth using."""
        least = max(_SIGMAS * self.jackknife, least_offset)
        return self.lasting * abs(self.offset) > least

    def compared(self, other: RidgeFit | None) -> RidgeFit:
        """Return the fit with its difference from one of larger blocks as error."""
        if other is None or self.offset == 0.0:
            return self
        return replace(
            self,
            gain_uncertainty=math.hypot(self.gain_uncertainty, self.gain - other.gain),
            change=self.offset - other.offset,
            # What a difference of focus feigns shrinks in proportion to the blocks.
            lasting=min(2 * other.offset / self.offset - 1, 1.0),
        )


class RidgeFits:
    """Reweighted regressions of one set of blocks."""

    def __init__(self, blocks: MineralBlocks, gain: float) -> None:
        self._blocks = blocks
        self._start = gain
        # Narrower than this is rounding: an exact ridge has no width.
        self._narrowest = 1e-6 * float(np.median(blocks.post))
        self._windows = int(blocks.window.max()) + 1
        # Groups of windows, for sums over windows.
        self._group_of = np.zeros(self._windows, np.int64)
        self._group_of[blocks.window] = blocks.group

    def _weights(self, residual: Values, width: float) -> Values:
        """Return weights that fall off away from the ridge, not all of them 0."""
        # w = exp(-(residual / width)^2 / 2), as a multiple of the largest one
        distance = (residual / max(width, self._narrowest)) ** 2
        result: Values = np.exp(-0.5 * (distance - distance.min()))
        return result

    def _sums(self, *values: Values) -> list[Values]:
        """Return sums over windows."""
        window = self._blocks.window
        return [
            np.bincount(window, value, self._windows).astype(np.float64)
            for value in values
        ]

    def _grouped(self, values: Values) -> Values:
        """Return sums over windows with one group left out each time."""
        parts = np.bincount(self._group_of, values, GROUPS).astype(np.float64)
        rest: Values = parts.sum() - parts
        return rest

    def constant(self) -> RidgeFit:
        """Fit ``post = gain * pre + offset``.

        First with wide weights, which find the ridge from a rough gain; then with
        those of its own width.
        """
        post, pre, around = self._blocks.post, self._blocks.pre, self._blocks.around
        gain = self._start
        offset = float(np.median(post - gain * pre))
        width = 0.7 * robust_spread(post - gain * pre)
        weight = np.ones(len(post))
        for stage in range(2):
            for _ in range(_ROUNDS):
                weight = self._weights(post - gain * pre - offset, width)
                lever = around - np.average(around, weights=weight)
                sums = _moments(post, pre, weight, lever)
                previous = gain
                gain, offset = _solved(*(float(total.sum()) for total in sums))
                if abs(gain - previous) <= _SETTLED * abs(gain):
                    break
            if stage == 0:
                width = robust_spread(post - gain * pre - offset)
        lever = around - np.average(around, weights=weight)
        parts = self._sums(*_moments(post, pre, weight, lever))
        totals = np.array([self._grouped(part) for part in parts]).T
        left_out = np.array([_solved(*rest) for rest in totals.tolist()])
        return RidgeFit(
            gain,
            jackknife(left_out[:, 0]),
            offset,
            jackknife(left_out[:, 1]),
            robust_spread(post - gain * pre - offset),
            np.zeros(self._windows),
        )

    def glow(self) -> RidgeFit:
        """Fit ``post = gain * pre + offset of the window``."""
        post, pre, around = self._blocks.post, self._blocks.pre, self._blocks.around
        window = self._blocks.window
        gain = self._start
        local = self._window_medians(post - gain * pre)
        for _ in range(_ROUNDS):
            residual = post - gain * pre - local[window]
            weight = self._weights(residual, 1.5 * robust_spread(residual))
            total, posts, pres, arounds = self._sums(
                weight, weight * post, weight * pre, weight * around
            )
            total = np.maximum(total, 1e-12)
            # About the weighted means <> of each window the offset cancels:
            # g = sum w (z - <z>) (post - <post>) / sum w (z - <z>) (pre - <pre>)
            lever = weight * (around - (arounds / total)[window])
            above, below = self._sums(
                lever * (post - (posts / total)[window]),
                lever * (pre - (pres / total)[window]),
            )
            previous = gain
            if total_below := float(below.sum()):
                gain = float(above.sum()) / total_below
            # offset of a window = <post> - g <pre>
            local = (posts - gain * pres) / total
            if abs(gain - previous) <= _SETTLED * abs(gain):
                break
        left_out = _quotients(self._grouped(above), self._grouped(below), gain)
        count = np.bincount(window, minlength=self._windows).astype(np.float64)
        offset = _weighted_median(local, count)
        # The gain's error tilts the ridge about its middle, and the offset is a median:
        # error^2 = (median(pre) gain_error)^2 + (1.25 sigma / sqrt(windows))^2
        slope = float(np.median(pre)) * jackknife(left_out)
        scatter = robust_spread(local) / math.sqrt(max(self._windows, 1))
        offset_error = math.hypot(slope, 1.25 * scatter)
        return RidgeFit(
            gain,
            jackknife(left_out),
            offset,
            offset_error,
            robust_spread(post - gain * pre - local[window]),
            local,
        )

    def light(self, *, with_offset: bool = True) -> RidgeFit:
        """Fit ``post = gain of the window * pre + offset``."""
        post, pre, around = self._blocks.post, self._blocks.pre, self._blocks.around
        window = self._blocks.window
        offset = 0.0
        local = self._window_medians(post / pre)
        above = below = np.zeros(self._windows)
        for _ in range(_ROUNDS):
            residual = post - local[window] * pre - offset
            weight = self._weights(residual, 1.5 * robust_spread(residual))
            total, posts, pres = self._sums(weight, weight * post, weight * pre)
            arounds, from_post, from_pre = self._sums(
                weight * around, weight * around * post, weight * around * pre
            )
            pres = np.maximum(pres, 1e-12)
            # sum w (post - g pre - o) = 0 in each window gives its gain
            # g = (sum w post - o sum w) / sum w pre; with these gains
            # sum w z (post - g pre - o) = 0 over all windows gives o
            above = from_post - posts * from_pre / pres
            below = arounds - total * from_pre / pres
            previous = offset
            if with_offset and (total_below := float(below.sum())):
                offset = float(above.sum()) / total_below
            local = (posts - offset * total) / pres
            if abs(offset - previous) <= 1e-6 * float(np.median(post)):
                break
        count = np.bincount(window, minlength=self._windows).astype(np.float64)
        gain = _weighted_median(local, count)
        left_out = _quotients(self._grouped(above), self._grouped(below), offset)
        others = [self._group_of != group for group in range(GROUPS)]
        gains = [
            _weighted_median(local[kept], count[kept]) if kept.any() else gain
            for kept in others
        ]
        return RidgeFit(
            gain,
            jackknife(np.array(gains)),
            offset,
            jackknife(left_out),
            robust_spread(post - local[window] * pre - offset),
            local,
        )

    def _window_medians(self, values: Values) -> Values:
        """Return the median of each window."""
        window = self._blocks.window
        order = np.lexsort((values, window))
        count = np.bincount(window, minlength=self._windows)
        start = np.concatenate([[0], np.cumsum(count)[:-1]])
        middle: Values = values[order][start + (count - 1) // 2]
        return middle


def _moments(
    post: Values, pre: Values, weight: Values, lever: Values
) -> tuple[Values, ...]:
    """Return the terms of the two equations that gain and offset solve."""
    # sum w (post - g pre - o) = 0  and  sum w z (post - g pre - o) = 0
    # with the instrument z, the lever
    lifted = weight * lever
    return weight * pre, weight, weight * post, lifted * pre, lifted, lifted * post


def _solved(
    a: float, b: float, c: float, d: float, e: float, f: float
) -> tuple[float, float]:
    """Solve ``a g + b o = c`` and ``d g + e o = f``; without a lever, o = 0."""
    # Cramer's rule
    determinant = a * e - b * d
    if abs(determinant) <= 1e-9 * abs(a * e) + abs(b * d) * 1e-9 or a == 0.0:
        return (c / a if a else 1.0), 0.0
    return (c * e - b * f) / determinant, (a * f - c * d) / determinant


def _quotients(above: Values, below: Values, otherwise: float) -> Values:
    result: Values = np.full(len(above), otherwise)
    np.divide(above, below, out=result, where=below != 0)
    return result


def _weighted_median(values: Values, weights: Values) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
