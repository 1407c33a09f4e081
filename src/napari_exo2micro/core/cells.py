"""Cells of grey levels: how images of each type are counted exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["FloatCells", "IntegerCells", "LevelHistogram", "count_levels"]

CELLS = 1024
"""Number of cells along one axis of a joint histogram, but for 8-bit images."""

LEVEL_BINS = 4096
"""Number of bins in the histogram of one floating-point image."""

Mask = NDArray[np.uint8] | None
Window = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class LevelHistogram:
    """Counts of pixels between edges.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,), float64
        Edges in grey levels (for a ratio: log10 of post/pre). Integer data have
        their edges between the integers: level v lies in v - 0.5 .. v + 0.5.
    counts : ndarray, shape (n,), int64
        Number of pixels in each bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Number of pixels counted."""
        return int(self.counts.sum())

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middles of the bins, in the unit of the edges."""
        middles: NDArray[np.float64] = (self.edges[1:] + self.edges[:-1]) / 2
        return middles


class Cells(Protocol):
    """A division of the grey levels, the same for post and pre."""

    edges: NDArray[np.float64]

    def joint(self, post: Window, pre: Window, mask: Mask) -> NDArray[np.float32]:
        """Count a window's pixels in each pair of cells, axes [post, pre]."""


def count_levels(
    window: Window, mask: Mask, bins: int, low: float, high: float
) -> NDArray[np.int64]:
    """Return exact counts of one window in equal bins ``low <= v < high``."""
    counts = cv2.calcHist([window], [0], mask, [bins], [low, high])
    result: NDArray[np.int64] = counts.ravel().astype(np.int64)
    return result


class IntegerCells:
    """Cells of whole levels for `uint8` and `uint16`.

    8-bit levels have a cell each. 16-bit levels share cells that are equally wide
    in the fourth root of the level, at least one level each.

    Parameters
    ----------
    dtype : numpy dtype
        ``uint8`` or ``uint16``.
    apart : tuple of float
        Levels at which a new cell begins, so that saturation is told exactly.
    """

    def __init__(self, dtype: np.dtype[Any], apart: tuple[float, ...] = ()) -> None:
        self._table: NDArray[np.uint16] | None = None
        levels = np.arange(np.iinfo(dtype).max + 1)
        if dtype == np.uint8:
            starts = levels
        else:
            root = np.sqrt(np.sqrt(levels.astype(np.float32)))
            cell = np.floor(root * np.float32(CELLS / 16)).astype(np.int64)
            begins = np.isin(levels, apart)
            begins[1:] |= cell[1:] != cell[:-1]
            begins[0] = False
            self._table = np.cumsum(begins).astype(np.uint16)
            starts = np.concatenate([[0], np.flatnonzero(begins)])
        self.edges = np.append(starts, len(levels)) - 0.5

    def joint(self, post: Window, pre: Window, mask: Mask) -> NDArray[np.float32]:
        """Count a window's pixels in each pair of cells, axes [post, pre]."""
        n = len(self.edges) - 1
        if self._table is not None:
            post, pre = cv2.LUT(post, self._table), cv2.LUT(pre, self._table)
        counts = cv2.calcHist([post, pre], [0, 1], mask, [n, n], [0, n, 0, n])
        return np.asarray(counts, dtype=np.float32)


class FloatCells:
    """Cells for floating-point images, equally wide in the fourth root.

    Parameters
    ----------
    low, high : float
        Smallest and largest pixel of both images.
    """

    def __init__(self, low: float, high: float) -> None:
        root = float(np.sqrt(np.sqrt(np.float32(max(high, 0.0))))) or 1.0
        # The largest level gets a cell of its own: it may be the saturation.
        self._reach = root * (CELLS + 1) / CELLS
        steps = np.linspace(0.0, self._reach, CELLS + 2)
        self.edges = steps**4
        self.edges[0] = min(low, 0.0)

    def joint(self, post: Window, pre: Window, mask: Mask) -> NDArray[np.float32]:
        """Count a window's pixels in each pair of cells, axes [post, pre]."""
        n = len(self.edges) - 1
        counts = cv2.calcHist(
            [fourth_root(post), fourth_root(pre)],
            [0, 1],
            mask,
            [n, n],
            [0.0, self._reach, 0.0, self._reach],
        )
        return np.asarray(counts, dtype=np.float32)


def fourth_root(window: Window) -> NDArray[np.float32]:
    """Return the fourth root of a window, 0 where it is not above 0."""
    root: NDArray[np.float32] = np.maximum(window, 0, dtype=np.float32)
    np.sqrt(root, out=root)
    return np.sqrt(root, out=root)
