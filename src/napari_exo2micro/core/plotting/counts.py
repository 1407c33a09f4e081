"""Distributions of difference and ratio, from the joint histogram of a pair.

The pixels of a cell are shared among the values that the cell stands for;
otherwise the grey levels of the two images beat against each other, and a smooth
distribution shows teeth.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.pair_statistics import PairStatistics
from napari_exo2micro.core.plotting.inputs import rebin

__all__ = ["difference_counts", "difference_range", "log_ratio_counts", "spread_counts"]

_BEYOND: Final = 1e-4
"""Part of the pixels that may lie beyond each end of an axis of differences."""


def difference_counts(
    statistics: PairStatistics,
    scale: float,
    offset: float,
    edges: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Return how many pixels have a difference in each bin.

    Parameters
    ----------
    statistics : PairStatistics
        Of the pair.
    scale, offset : float
        ``difference = post - offset - scale * pre``, grey levels.
    edges : ndarray, shape (n + 1,)
        Edges of the bins, grey levels.

    Returns
    -------
    dict of ndarray, shape (n,)
        ``all``; ``post_only``: signal (above 0) in post alone; ``both``: in both.
    """
    middle, width, counts, rows, columns = _differences(statistics, scale, offset)
    parts = {
        "post_only": (rows > 0) & (columns == 0),
        "both": (rows > 0) & (columns > 0),
        "rest": rows == 0,
    }
    found = {
        name: spread_counts(middle[part], width[part], counts[part], edges)
        for name, part in parts.items()
    }
    found["all"] = found["post_only"] + found["both"] + found.pop("rest")
    return found


def difference_range(
    statistics: PairStatistics, scale: float, offset: float
) -> tuple[float, float]:
    """Return the differences between which all but very few pixels lie."""
    middle, _, counts, _, _ = _differences(statistics, scale, offset)
    if not len(counts):
        return -1.0, 1.0
    order = np.argsort(middle)
    total = np.cumsum(counts[order])
    ends = np.searchsorted(total, total[-1] * np.array([_BEYOND, 1 - _BEYOND]))
    low, high = middle[order][np.minimum(ends, len(order) - 1)]
    width = max(high - low, 1.0 if statistics.integer else 1e-6 * (abs(high) + 1e-30))
    return min(low, 0.0) - 0.04 * width, max(high, 0.0) + 0.04 * width


def log_ratio_counts(
    statistics: PairStatistics, edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how many pixels have a log10(post/pre) in each bin.

    Pixels with signal in both images and below saturation count.

    Parameters
    ----------
    statistics : PairStatistics
        Of the pair.
    edges : ndarray, shape (n + 1,)
        Edges of the bins, log10 of post/pre.
    """
    if statistics.ratio is not None:
        return rebin(statistics.ratio.counts, statistics.ratio.edges, edges)
    good_post, good_pre = statistics.unsaturated
    joint = np.where(np.outer(good_post, good_pre), statistics.joint, 0)
    joint[0, :] = 0
    joint[:, 0] = 0
    rows, columns = np.nonzero(joint)
    levels = statistics.centres
    relative = np.diff(statistics.edges) / np.maximum(levels, 1e-300) / np.log(10.0)
    return spread_counts(
        np.log10(levels[rows] / levels[columns]),
        np.hypot(relative[rows], relative[columns]),
        joint[rows, columns],
        edges,
    )


def spread_counts(
    middle: NDArray[np.float64],
    width: NDArray[np.float64],
    counts: NDArray[np.int64],
    edges: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return a histogram of values that are known to a certain width each.

    Parameters
    ----------
    middle, width : ndarray, shape (n,)
        Each value lies anywhere in ``middle - width / 2 .. middle + width / 2``.
    counts : ndarray, shape (n,)
        How often it occurs.
    edges : ndarray, shape (m + 1,)
        Rising edges of the bins.

    Returns
    -------
    ndarray, shape (m,)
        Counts, not whole numbers.
    """
    if not len(middle):
        return np.zeros(len(edges) - 1)
    places = edges - edges[0]
    width = np.maximum(width, 1e-6 * places[-1])
    below = np.zeros(len(edges))
    # The cumulative distribution is a sum of ramps: each begins at one end of a
    # value's range and is taken back at the other.
    for sign, side in ((1.0, -0.5), (-1.0, 0.5)):
        start = middle + side * width - edges[0]
        order = np.argsort(start)
        slope = counts[order] / width[order]
        slopes = np.concatenate([[0.0], np.cumsum(slope)])
        starts = np.concatenate([[0.0], np.cumsum(slope * start[order])])
        reached = np.searchsorted(start[order], places)
        below += sign * (slopes[reached] * places - starts[reached])
    result: NDArray[np.float64] = np.diff(below)
    # What is left of large sums that cancel is no pixel.
    result[result < 1e-9 * float(counts.sum())] = 0.0
    return result


def _differences(
    statistics: PairStatistics, scale: float, offset: float
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.intp],
    NDArray[np.intp],
]:
    """Return differences of the filled cells, their widths, counts and cells."""
    joint = statistics.joint
    rows, columns = np.nonzero(joint)
    levels = statistics.centres
    middle = levels[rows] - offset - scale * levels[columns]
    cell = np.diff(statistics.edges)
    # A cell with no signal is one value, zero, not a range of values.
    cell[0] = 0.0
    width = np.hypot(cell[rows], scale * cell[columns])
    return middle, width, joint[rows, columns], rows, columns
