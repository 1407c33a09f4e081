"""Reading an image tile by tile, and the range of its grey levels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.cells import LEVEL_BINS, LevelHistogram, count_levels
from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.rasters import Frame, ImageLike

__all__ = ["GROUPS", "LevelRange", "above", "float_levels", "prepared", "scan", "tiles"]

GROUPS = 8
"""Number of interleaved spatial groups, for jackknife uncertainties."""

BAND_PIXELS = 8_000_000
"""Pixels read at a time; a count of one window stays exact in float32."""


@dataclass(frozen=True, slots=True)
class LevelRange:
    """Smallest and largest level of an image, and where it saturates."""

    low: float
    high: float
    saturation: float
    levels: LevelHistogram | None = None


def tiles(
    frame: Frame, side: int = 1
) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
    """Yield bands (y0, y1) of a frame and their strips (group, x0, x1).

    The groups are tiles of an 8 x 8 division; each group has one tile in every
    row and in every column of that division. Tiles and bands hold whole blocks.
    """
    x0, y0, width, height = frame
    cuts = [
        [start + length // side * i // GROUPS * side for i in range(GROUPS)]
        + [start + length]
        for start, length in ((x0, width), (y0, height))
    ]
    most = max(BAND_PIXELS // width // side, 1) * side
    for i in range(GROUPS):
        strips = [
            ((3 * i + j) % GROUPS, cuts[0][j], cuts[0][j + 1])
            for j in range(GROUPS)
            if cuts[0][j + 1] > cuts[0][j]
        ]
        for start in range(cuts[1][i], cuts[1][i + 1], most):
            yield start, min(start + most, cuts[1][i + 1]), strips


def prepared(band: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a band in the type that is counted, native and contiguous."""
    return np.ascontiguousarray(band, dtype=dtype)


def scan(image: ImageLike, frame: Frame, monitor: Monitor) -> LevelRange:
    """Return the range of an image and the level at which it is saturated."""
    dtype = np.dtype(image.dtype)
    if dtype in (np.uint8, np.uint16):
        size = np.iinfo(dtype).max + 1
        counts = np.zeros(size, np.int64)
        for _, window in _windows(image, frame, dtype.newbyteorder("="), monitor):
            counts += count_levels(window, None, size, 0, size)
        used = np.flatnonzero(counts)
        low, high = float(used[0]), float(used[-1])
        edges = np.arange(size + 1, dtype=np.float64) - 0.5
        return LevelRange(
            low, high, _integer_saturation(counts), LevelHistogram(edges, counts)
        )
    low, high, at_high = math.inf, -math.inf, 0
    for _, window in _windows(image, frame, np.dtype(np.float32), monitor):
        values = window if np.isfinite(window).all() else window[np.isfinite(window)]
        if values.size == 0:
            continue
        low, top = min(low, float(values.min())), float(values.max())
        if top > high:
            high, at_high = top, 0
        if top == high:
            at_high += int(np.count_nonzero(values == np.float32(top)))
    if high < low:
        raise RegistrationError(
            "an image with finite pixels is needed, found none; check the raw file"
        )
    piled = at_high >= max(10, frame[2] * frame[3] * 1e-6) and high > low
    return LevelRange(low, high, high if piled else math.inf)


def _integer_saturation(counts: NDArray[np.int64]) -> float:
    """Return the largest level if pixels pile up there, else inf.

    Beside the type's own limit, cameras of 10, 12 or 14 bits end lower.
    """
    top = int(np.flatnonzero(counts)[-1])
    if top == len(counts) - 1:
        return float(top)
    if top < 255 or counts[top] < 10:
        return math.inf
    below = counts[int(top * 0.95) : top]
    return float(top) if counts[top] > 5 * max(int(below.max()), 1) else math.inf


def _windows(
    image: ImageLike, frame: Frame, dtype: np.dtype[Any], monitor: Monitor
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (y0, window) over a frame, no side longer than OpenCV accepts."""
    for y0, y1, strips in tiles(frame):
        monitor.report((y0 - frame[1]) / frame[3], "counting grey levels")
        left, right = strips[0][1], strips[-1][2]
        band = prepared(image[y0:y1, left:right], dtype)
        for _, x0, x1 in strips:
            yield y0, band[:, x0 - left : x1 - left]


def float_levels(image: ImageLike, frame: Frame, found: LevelRange) -> LevelHistogram:
    """Return the histogram of a floating-point image."""
    high = above(found.low, found.high)
    counts = np.zeros(LEVEL_BINS, np.int64)
    for _, window in _windows(image, frame, np.dtype(np.float32), Monitor()):
        finite = np.isfinite(window)
        mask = None if finite.all() else finite.astype(np.uint8)
        counts += count_levels(window, mask, LEVEL_BINS, found.low, high)
    return LevelHistogram(np.linspace(found.low, high, LEVEL_BINS + 1), counts)


def above(low: float, high: float) -> float:
    """Return an upper edge that leaves `high` inside the last bin."""
    return high + max((high - low) / LEVEL_BINS, abs(high) * 1e-6, 1e-30)
