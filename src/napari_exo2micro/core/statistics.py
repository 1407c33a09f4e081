"""Exact histograms of an aligned pair, gathered window by window in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.cells import (
    LEVEL_BINS,
    Cells,
    FloatCells,
    IntegerCells,
    LevelHistogram,
    Mask,
    count_levels,
)
from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.overlap import Frame, spans_to_mask, valid_spans
from napari_exo2micro.core.pair_statistics import (
    PairStatistics,
    load_statistics,
    save_statistics,
)

__all__ = [
    "Image",
    "LevelHistogram",
    "PairStatistics",
    "accumulate_statistics",
    "load_statistics",
    "save_statistics",
]

GROUPS = 8
"""Number of interleaved spatial groups, for jackknife uncertainties."""

RATIO_BINS = 65536
RATIO_REACH = 5.0
BAND_PIXELS = 8_000_000
"""Pixels read at a time; a count of one window stays exact in float32."""


class Image(Protocol):
    """Anything 2-D that can be read window by window."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __getitem__(self, window: Any, /) -> Any:
        """Return the window as an array."""


def accumulate_statistics(
    post: Image,
    pre: Image,
    *,
    raw_pre: Image | None = None,
    raw_pre_frame: Frame | None = None,
    post_frame: Frame | None = None,
    pre_quad: ArrayLike | None = None,
    monitor: Monitor | None = None,
) -> PairStatistics:
    """Count the grey levels of an aligned pair, band by band.

    Parameters
    ----------
    post : array_like, shape (rows, columns)
        Post-stain image on the canvas.
    pre : array_like, shape (rows, columns)
        Aligned pre-stain image on the same canvas, of the same type.
    raw_pre : array_like, optional
        The pre image before the warp, for its histogram and its saturation.
    raw_pre_frame, post_frame : tuple of int, optional
        (x0, y0, width, height) of the real data of `raw_pre` and of `post`, px;
        the whole image when not given.
    pre_quad : array_like, shape (4, 2), optional
        Corners of the aligned pre image's data on the canvas, (x, y) in px, as
        `overlap.mapped_frame` returns them; everywhere when not given.
    monitor : Monitor, optional
        Is told the progress and may stop the work.

    Returns
    -------
    PairStatistics
        Independent of how the images are stored and divided into windows.

    Raises
    ------
    RegistrationError
        If the two images differ in shape or type, are not 2-D, or hold nothing.
    """
    dtype = _common_type(post, pre)
    region = _clipped(post_frame, post.shape)
    monitor = monitor or Monitor()
    parts = [monitor.part(0.0, 0.3), monitor.part(0.3, 1.0)]
    post_range = _scan(post, region, parts[0].part(0.0, 0.5))
    if raw_pre is None:
        raw_levels, pre_range = None, _scan(pre, region, parts[0].part(0.5, 1.0))
    else:
        raw_region = _clipped(raw_pre_frame, raw_pre.shape)
        pre_range = _scan(raw_pre, raw_region, parts[0].part(0.5, 1.0))
        raw_levels = pre_range.levels or _float_levels(raw_pre, raw_region, pre_range)
    tally = _Tally(dtype, post_range, pre_range)
    for y0, y1, strips in _tiles(region):
        parts[1].report((y0 - region[1]) / region[3], "counting grey levels")
        left, right = strips[0][1], strips[-1][2]
        post_band = _prepared(post[y0:y1, left:right], dtype)
        pre_band = _prepared(pre[y0:y1, left:right], dtype)
        first = end = None
        if pre_quad is not None:
            first, end = valid_spans(pre_quad, y0, y1)
        for group, x0, x1 in strips:
            mask = None
            if first is not None and end is not None:
                mask = spans_to_mask(first, end, x0, x1)
            columns = slice(x0 - left, x1 - left)
            tally.add(group, post_band[:, columns], pre_band[:, columns], mask)
    return tally.result(raw_levels)


@dataclass(frozen=True, slots=True)
class _Range:
    """Smallest and largest level of an image, and where it saturates."""

    low: float
    high: float
    saturation: float
    levels: LevelHistogram | None = None


class _Tally:
    """Counts in the making."""

    def __init__(self, dtype: np.dtype[Any], post: _Range, pre: _Range) -> None:
        self._dtype = dtype
        self._integer = dtype.kind == "u"
        self._saturation = post.saturation, pre.saturation
        low, high = min(post.low, pre.low), max(post.high, pre.high)
        self._cells: Cells
        if self._integer:
            self._cells = IntegerCells(dtype, self._saturation)
            size = np.iinfo(dtype).max + 1
            self._span = size, -0.5, size - 0.5
        else:
            self._cells = FloatCells(low, high)
            self._span = LEVEL_BINS, low, _above(low, high)
        n = len(self._cells.edges) - 1
        self._groups = np.zeros((GROUPS, n, n), np.uint32)
        self._post = np.zeros(self._span[0], np.int64)
        self._pre = np.zeros(self._span[0], np.int64)
        self._ratio = np.zeros(RATIO_BINS, np.int64)

    def add(
        self, group: int, post: NDArray[Any], pre: NDArray[Any], mask: Mask
    ) -> None:
        """Count one window; `mask` is where pre has data, None everywhere."""
        if not self._integer:
            finite = np.isfinite(post) & np.isfinite(pre)
            if not finite.all():
                known = finite.astype(np.uint8)
                mask = known if mask is None else mask & known
                post = np.where(np.isfinite(post), post, self._span[2])
        joint = None
        if mask is None or mask.any():
            joint = self._cells.joint(post, pre, mask)
            self._groups[group] += joint.astype(np.uint32)
        if self._dtype == np.uint8 and joint is not None and mask is None:
            # The rows and columns of the joint histogram are these histograms.
            self._post += joint.sum(axis=1, dtype=np.float64).astype(np.int64)
            self._pre += joint.sum(axis=0, dtype=np.float64).astype(np.int64)
            return
        # calcHist counts the integers themselves, so its edges are integers too.
        shift = 0.5 if self._integer else 0.0
        bins, low, high = self._span
        self._post += count_levels(post, None, bins, low + shift, high + shift)
        if joint is None:
            return
        self._pre += count_levels(pre, mask, bins, low + shift, high + shift)
        if self._dtype != np.uint8:
            self._count_ratio(post, pre, mask)

    def _count_ratio(self, post: NDArray[Any], pre: NDArray[Any], mask: Mask) -> None:
        above = np.asarray(post, np.float32)
        below = np.asarray(pre, np.float32)
        ratio = np.zeros(above.shape, np.float32)
        usable = (above > 0) & (below > 0)
        usable &= (above < self._saturation[0]) & (below < self._saturation[1])
        np.divide(above, below, out=ratio, where=usable)
        # log(0) lies far below the first bin: such pixels are not counted.
        cv2.log(ratio, dst=ratio)
        reach = RATIO_REACH * math.log(10)
        self._ratio += count_levels(ratio, mask, RATIO_BINS, -reach, reach)

    def result(self, raw_pre: LevelHistogram | None) -> PairStatistics:
        """Return what was counted."""
        edges = np.linspace(self._span[1], self._span[2], self._span[0] + 1)
        ratio = None
        if self._dtype != np.uint8:
            steps = np.linspace(-RATIO_REACH, RATIO_REACH, RATIO_BINS + 1)
            ratio = LevelHistogram(steps, self._ratio)
        joint = self._groups.sum(axis=0, dtype=np.int64)
        good_post = self._cells.edges[1:] <= self._saturation[0]
        good_pre = self._cells.edges[1:] <= self._saturation[1]
        n_both = int(joint.sum())
        return PairStatistics(
            dtype=self._dtype.name,
            integer=self._integer,
            edges=self._cells.edges,
            groups=self._groups,
            post=LevelHistogram(edges, self._post),
            pre=LevelHistogram(edges, self._pre),
            raw_pre=raw_pre,
            ratio=ratio,
            post_saturation=self._saturation[0],
            pre_saturation=self._saturation[1],
            n_saturated=n_both - int(joint[np.ix_(good_post, good_pre)].sum()),
            n_post=int(self._post.sum()),
            n_both=n_both,
        )


def _common_type(post: Image, pre: Image) -> np.dtype[Any]:
    """Return the type to count in, or say why the two cannot be compared."""
    if len(post.shape) != 2 or tuple(post.shape) != tuple(pre.shape):
        raise RegistrationError(
            "post and aligned pre must be 2-D and of one shape, found "
            f"{tuple(post.shape)} and {tuple(pre.shape)}; align pre on the canvas of "
            "post first"
        )
    if post.dtype != pre.dtype:
        raise RegistrationError(
            f"post and aligned pre must be of one type, found {post.dtype} and "
            f"{pre.dtype}; convert one of them"
        )
    dtype = np.dtype(post.dtype)
    if dtype.kind not in "uif":
        raise RegistrationError(
            f"images must hold integers or real numbers, found {dtype}; convert them"
        )
    if dtype in (np.uint8, np.uint16):
        return dtype.newbyteorder("=")
    return np.dtype(np.float32)


def _clipped(frame: Frame | None, shape: tuple[int, ...]) -> Frame:
    """Return the part of a frame that lies on the canvas."""
    rows, columns = shape
    x, y, width, height = frame or (0, 0, columns, rows)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + width, columns), min(y + height, rows)
    if x1 <= x0 or y1 <= y0:
        raise RegistrationError(
            f"an image with data is needed, found the frame {frame} on a canvas of "
            f"{columns} x {rows} px; check the image and its padding"
        )
    return x0, y0, x1 - x0, y1 - y0


def _tiles(frame: Frame) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
    """Yield bands (y0, y1) of a frame and their strips (group, x0, x1).

    The groups are tiles of an 8 x 8 division; each group has one tile in every
    row and in every column of that division.
    """
    x0, y0, width, height = frame
    columns = [x0 + width * i // GROUPS for i in range(GROUPS + 1)]
    most = max(BAND_PIXELS // width, 1)
    for i in range(GROUPS):
        top, bottom = y0 + height * i // GROUPS, y0 + height * (i + 1) // GROUPS
        strips = [
            ((3 * i + j) % GROUPS, columns[j], columns[j + 1])
            for j in range(GROUPS)
            if columns[j + 1] > columns[j]
        ]
        for start in range(top, bottom, most):
            yield start, min(start + most, bottom), strips


def _prepared(band: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a band in the type that is counted, native and contiguous."""
    return np.ascontiguousarray(band, dtype=dtype)


def _scan(image: Image, frame: Frame, monitor: Monitor) -> _Range:
    """Return the range of an image and the level at which it is saturated."""
    dtype = np.dtype(image.dtype)
    if dtype in (np.uint8, np.uint16):
        size = np.iinfo(dtype).max + 1
        counts = np.zeros(size, np.int64)
        for _, window in _windows(image, frame, dtype.newbyteorder("="), monitor):
            counts += count_levels(window, None, size, 0, size)
        used = np.flatnonzero(counts)
        low, high = float(used[0]), float(used[-1])
        edges = np.arange(size + 1) - 0.5
        return _Range(
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
    return _Range(low, high, high if piled else math.inf)


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
    image: Image, frame: Frame, dtype: np.dtype[Any], monitor: Monitor
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (y0, window) over a frame, no side longer than OpenCV accepts."""
    for y0, y1, strips in _tiles(frame):
        monitor.report((y0 - frame[1]) / frame[3], "counting grey levels")
        left, right = strips[0][1], strips[-1][2]
        band = _prepared(image[y0:y1, left:right], dtype)
        for _, x0, x1 in strips:
            yield y0, band[:, x0 - left : x1 - left]


def _float_levels(image: Image, frame: Frame, found: _Range) -> LevelHistogram:
    """Return the histogram of a floating-point image."""
    high = _above(found.low, found.high)
    counts = np.zeros(LEVEL_BINS, np.int64)
    for _, window in _windows(image, frame, np.dtype(np.float32), Monitor()):
        finite = np.isfinite(window)
        mask = None if finite.all() else finite.astype(np.uint8)
        counts += count_levels(window, mask, LEVEL_BINS, found.low, high)
    return LevelHistogram(np.linspace(found.low, high, LEVEL_BINS + 1), counts)


def _above(low: float, high: float) -> float:
    """Return an upper edge that leaves `high` inside the last bin."""
    return high + max((high - low) / LEVEL_BINS, abs(high) * 1e-6, 1e-30)
