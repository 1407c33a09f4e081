"""The blocks of a pair that show the section, and robust figures of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.level_scan import GROUPS
from napari_exo2micro.core.pair_statistics import BlockMeans

__all__ = [
    "MineralBlocks",
    "jackknife",
    "mineral_blocks",
    "otsu_threshold",
    "robust_spread",
]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class MineralBlocks:
    """Blocks that show the section, as flat arrays of one length n.

    Attributes
    ----------
    post, pre : ndarray, shape (n,), float64
        Means in grey levels.
    around : ndarray, shape (n,), float64
        Brightness of the surroundings in pre, grey levels.
    window : ndarray, shape (n,), int64
        Which of the larger windows of the section the block lies in, 0...
    group : ndarray, shape (n,), int64
        Jackknife group, 0..7; blocks of a window share it.
    threshold : float
        Brightness in pre above which a block counts as section, grey levels.
    """

    post: Values
    pre: Values
    around: Values
    window: Labels
    group: Labels
    threshold: float

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
        _, window = np.unique(self.window[kept], return_inverse=True)
        return MineralBlocks(
            self.post[kept],
            self.pre[kept],
            self.around[kept],
            window.astype(np.int64),
            self.group[kept],
            self.threshold,
        )


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
    difference = total[:-1] / np.maximum(below, 1) - (total[-1] - total[:-1]) / (
        np.maximum(above, 1)
    )
    return float(edges[1:-1][np.argmax(below * above * difference**2)])


def mineral_blocks(blocks: BlockMeans) -> MineralBlocks:
    """Return the blocks that show the section, away from its edge if possible.

    Parameters
    ----------
    blocks : BlockMeans
        Of the pair.

    Returns
    -------
    MineralBlocks
        May be empty.
    """
    known = np.isfinite(blocks.post) & np.isfinite(blocks.pre)
    known &= (blocks.post > 0) & (blocks.pre > 0)
    if not known.any():
        empty = np.empty(0)
        labels = np.empty(0, np.int64)
        return MineralBlocks(empty, empty, empty, labels, labels, 0.0)
    width = 3 if blocks.size >= 16 else 5
    around = _mean_around(blocks.pre, known, width)
    # The root makes dim and bright minerals one class beside the glass.
    root = np.sqrt(around[known])
    limit = otsu_threshold(np.minimum(root, np.quantile(root, 0.99)))
    threshold = max(limit, 0.0) ** 2
    chosen = known & (around > threshold)
    inner = chosen & (_mean_around(chosen.astype(np.float32), None, 3) > 0.999)
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
        window=window.astype(np.int64),
        group=(3 * (rows // side) + columns // side).astype(np.int64) % GROUPS,
        threshold=threshold,
    )


def _mean_around(
    image: NDArray[np.float32], known: NDArray[np.bool_] | None, width: int
) -> Values:
    """Return the mean of the known values in a square around each one."""
    if known is None:
        known = np.ones(image.shape, bool)
    filled = np.where(known, image, 0).astype(np.float64)
    total, number = (
        cv2.boxFilter(
            values,
            cv2.CV_64F,
            (width, width),
            normalize=False,
            borderType=cv2.BORDER_CONSTANT,
        )
        for values in (filled, known.astype(np.float64))
    )
    return np.asarray(total / np.maximum(number, 1.0), dtype=np.float64)


def robust_spread(values: Values) -> float:
    """Return the standard deviation that the median deviation stands for."""
    if not len(values):
        return 0.0
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def jackknife(left_out: Values) -> float:
    """Return one standard deviation from estimates that leave one group out."""
    number = len(left_out)
    if number < 2:
        return 0.0
    deviations = left_out - left_out.mean()
    return math.sqrt((number - 1) / number * float(np.sum(deviations**2)))
