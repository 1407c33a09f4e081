"""Scales that are read off the ratios of single pixels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.minerals import jackknife
from napari_exo2micro.core.pair_statistics import PairStatistics
from napari_exo2micro.core.scale_estimate import ScaleEstimate

__all__ = [
    "least_squares_scale",
    "median_ratio_scale",
    "robust_percentile_scale",
    "scale_at_percentile",
]

_LN10 = math.log(10.0)
_NO_RATIO = (
    "no pixel has signal in both images below saturation, so no ratio exists; check "
    "the registration and the channels"
)


def median_ratio_scale(
    statistics: PairStatistics, method: str, reason: str, numbers: dict[str, float]
) -> ScaleEstimate:
    """Return the median ratio of single pixels: a last resort.

    Parameters
    ----------
    statistics : PairStatistics
        Of the aligned pair.
    method : str
        The method that could not do better.
    reason : str
        Why, in words.
    numbers : dict
        Figures for the verdict.
    """
    rows, columns, counts = _signal_cells(statistics.joint, statistics)
    number = int(counts.sum())
    numbers = {**numbers, "pixels": float(number)}
    if number == 0:
        return _placeholder(method, _NO_RATIO, numbers)
    levels = statistics.centres
    ratio = np.log10(levels[rows] / levels[columns])
    order = np.argsort(ratio)
    total = np.cumsum(counts[order])
    low, middle, high = (
        float(ratio[order][np.searchsorted(total, part * number)])
        for part in (0.16, 0.5, 0.84)
    )
    scale = 10.0**middle
    spread = max((high - low) / 2 * _LN10, 0.01)
    reason += "; the median ratio of single pixels stands in"
    return ScaleEstimate(
        method, scale, scale * spread, 0.0, 0.0, Verdict("fell_back", reason, numbers)
    )


def _placeholder(
    method: str, reason: str, numbers: dict[str, float], percentile: float | None = None
) -> ScaleEstimate:
    """Return a failed estimate: scale 1, as uncertain as it is large."""
    verdict = Verdict("failed", reason, numbers)
    return ScaleEstimate(method, 1.0, 1.0, 0.0, 0.0, verdict, percentile=percentile)


def _signal_cells(
    joint: NDArray[np.int64], statistics: PairStatistics
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Return the filled cells with signal in both images, below saturation."""
    good_post, good_pre = statistics.unsaturated
    kept = np.where(np.outer(good_post, good_pre), joint, 0)
    kept[0, :] = 0
    kept[:, 0] = 0
    rows, columns = np.nonzero(kept)
    return rows, columns, kept[rows, columns]


def _from_groups(
    statistics: PairStatistics,
    method: str,
    function: Callable[[NDArray[np.int64]], float | None],
    percentile: float | None = None,
) -> ScaleEstimate:
    """Return a scale that is a function of the joint histogram, with jackknife."""
    joint = statistics.joint
    scale = function(joint)
    if scale is None or not math.isfinite(scale) or scale <= 0:
        return _placeholder(method, _NO_RATIO, {"pixels": 0.0}, percentile)
    left_out = [function(joint - group) for group in statistics.groups]
    values = np.array([value for value in left_out if value is not None])
    numbers = {"pixels": float(_signal_cells(joint, statistics)[2].sum())}
    return ScaleEstimate(
        method,
        scale,
        jackknife(values),
        0.0,
        0.0,
        Verdict("ok", numbers=numbers),
        percentile=percentile,
    )


def least_squares_scale(statistics: PairStatistics) -> ScaleEstimate:
    """Return the least-squares slope of post on pre through the origin.

    Over all pixels with signal in both images, microbes included: 10-30 % too
    high where they are bright. For comparison with old results.
    """
    levels = statistics.centres

    def slope(joint: NDArray[np.int64]) -> float | None:
        rows, columns, counts = _signal_cells(joint, statistics)
        below = float(np.sum(counts * levels[columns] ** 2))
        if below <= 0:
            return None
        return float(np.sum(counts * levels[rows] * levels[columns])) / below

    return _from_groups(statistics, "least_squares", slope)


def robust_percentile_scale(statistics: PairStatistics) -> ScaleEstimate:
    """Return the 90th percentile of post/pre.

    Far too high where the images are well aligned. For comparison with old
    results.
    """
    found = scale_at_percentile(statistics, 90.0)
    return ScaleEstimate(
        "robust_percentile", found.scale, found.uncertainty, 0.0, 0.0, found.verdict
    )


def scale_at_percentile(statistics: PairStatistics, percentile: float) -> ScaleEstimate:
    """Return the scale at a percentile of log10(post/pre).

    Parameters
    ----------
    statistics : PairStatistics
        Of the aligned pair.
    percentile : float
        0..100. Pixels that are 0 or saturated in one of the images do not count.

    Returns
    -------
    ScaleEstimate
        For 8-bit images exactly what `numpy.percentile` gives; for other types
        within half a bin of 1.5e-4 in log10 (0.02 %).

    Raises
    ------
    ParameterError
        If the percentile is out of range.
    """
    percentile = float(percentile)
    if not 0.0 <= percentile <= 100.0:
        raise ParameterError(
            f"the percentile must be a number from 0 to 100, found {percentile!r}; "
            "choose one in that range"
        )
    levels = statistics.centres

    def at(joint: NDArray[np.int64]) -> float | None:
        rows, columns, counts = _signal_cells(joint, statistics)
        if not len(counts):
            return None
        values = np.log10(levels[rows] / levels[columns])
        return math.pow(10.0, _percentile_of(values, counts, percentile))

    found = _from_groups(statistics, "percentile", at, percentile)
    if statistics.ratio is None or statistics.ratio.total == 0:
        return found
    finer = 10.0 ** _percentile_of(
        statistics.ratio.centres, statistics.ratio.counts, percentile
    )
    return ScaleEstimate(
        "percentile",
        finer,
        found.uncertainty,
        0.0,
        0.0,
        found.verdict,
        percentile=percentile,
    )


def _percentile_of(
    values: NDArray[np.float64], counts: NDArray[np.int64], percentile: float
) -> float:
    """Return the percentile of values that occur `counts` times each."""
    order = np.argsort(values, kind="stable")
    last = np.cumsum(counts[order])
    position = (int(last[-1]) - 1) * percentile / 100.0
    below = math.floor(position)
    above = min(below + 1, int(last[-1]) - 1)
    first, second = (
        float(values[order][np.searchsorted(last, rank, side="right")])
        for rank in (below, above)
    )
    return first + (second - first) * (position - below)
