"""Robust regressions of post on pre along the ridge that the minerals form.

Blocks are weighed by how near they lie to the ridge, so that microbes, which make
post brighter and never darker, do not pull. What a block is regressed on is the
brightness of its *surroundings* in pre (an instrumental variable): its own
brightness shares the noise and the focus of the block, which would bias the gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.level_scan import GROUPS
from napari_exo2micro.core.minerals import MineralBlocks, jackknife, robust_spread

__all__ = ["RidgeFit", "RidgeFits"]

Values = NDArray[np.float64]

_ROUNDS = 40
_SETTLED = 1e-7
_SIGMAS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFit:
    """One model's numbers.

    `local` is a value for each window, `jackknife_offset` the statistical part of
    the offset's uncertainty, `lasting` the part of the offset that would remain
    in very large blocks.
    """

    gain: float
    gain_uncertainty: float
    offset: float
    offset_uncertainty: float
    spread: float
    local: Values
    jackknife_offset: float
    lasting: float = 1.0

    def significant(self, least_offset: float) -> bool:
        """Return whether the offset is worth using."""
        least = max(_SIGMAS * self.jackknife_offset, least_offset)
        return self.lasting * abs(self.offset) > least

    def compared(self, other: RidgeFit | None) -> RidgeFit:
        """Return the fit with its difference from one of larger blocks as error."""
        if other is None or self.offset == 0.0:
            return self
        # What a difference of focus feigns shrinks in proportion to the blocks.
        lasting = 2 * other.offset / self.offset - 1
        gain_error = math.hypot(self.gain_uncertainty, self.gain - other.gain)
        offset_error = math.hypot(self.offset_uncertainty, self.offset - other.offset)
        return replace(
            self,
            gain_uncertainty=gain_error,
            offset_uncertainty=offset_error,
            lasting=min(lasting, 1.0),
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
        """Fit ``post = gain * pre + offset``."""
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
        left_out = np.array(
            [
                _solved(*(float(total) for total in totals))
                for totals in zip(*map(self._grouped, parts), strict=True)
            ]
        )
        return RidgeFit(
            gain,
            jackknife(left_out[:, 0]),
            offset,
            jackknife(left_out[:, 1]),
            robust_spread(post - gain * pre - offset),
            np.zeros(self._windows),
            jackknife(left_out[:, 1]),
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
            lever = weight * (around - (arounds / total)[window])
            above, below = self._sums(
                lever * (post - (posts / total)[window]),
                lever * (pre - (pres / total)[window]),
            )
            previous = gain
            gain = _quotient(float(above.sum()), float(below.sum()), gain)
            local = (posts - gain * pres) / total
            if abs(gain - previous) <= _SETTLED * abs(gain):
                break
        left_out = _quotients(self._grouped(above), self._grouped(below), gain)
        count = np.bincount(window, minlength=self._windows).astype(np.float64)
        offset = _weighted_median(local, count)
        # The gain's error tilts the ridge about its middle.
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
            offset_error,
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
            above = from_post - posts * from_pre / pres
            below = arounds - total * from_pre / pres
            previous = offset
            if with_offset:
                offset = _quotient(float(above.sum()), float(below.sum()), offset)
            local = (posts - offset * total) / pres
            if abs(offset - previous) <= 1e-6 * float(np.median(post)):
                break
        count = np.bincount(window, minlength=self._windows).astype(np.float64)
        gain = _weighted_median(local, count)
        left_out = _quotients(self._grouped(above), self._grouped(below), offset)
        gains = np.array(
            [
                _weighted_median(local[kept], count[kept]) if kept.any() else gain
                for kept in (self._group_of != group for group in range(GROUPS))
            ]
        )
        return RidgeFit(
            gain,
            jackknife(gains),
            offset,
            jackknife(left_out),
            robust_spread(post - local[window] * pre - offset),
            local,
            jackknife(left_out),
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
    lifted = weight * lever
    return weight * pre, weight, weight * post, lifted * pre, lifted, lifted * post


def _solved(
    a: float, b: float, c: float, d: float, e: float, f: float
) -> tuple[float, float]:
    """Solve ``a g + b o = c`` and ``d g + e o = f``; without a lever, o = 0."""
    determinant = a * e - b * d
    if abs(determinant) <= 1e-9 * abs(a * e) + abs(b * d) * 1e-9 or a == 0.0:
        return (c / a if a else 1.0), 0.0
    return (c * e - b * f) / determinant, (a * f - c * d) / determinant


def _quotient(above: float, below: float, otherwise: float) -> float:
    return above / below if below else otherwise


def _quotients(above: Values, below: Values, otherwise: float) -> Values:
    result: Values = np.full(len(above), otherwise)
    np.divide(above, below, out=result, where=below != 0)
    return result


def _weighted_median(values: Values, weights: Values) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
