"""Exact histograms of an aligned pair, gathered window by window in one pass."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

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
from napari_exo2micro.core.coverage import spans_to_mask, valid_spans
from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.level_scan import (
    GROUPS,
    LevelRange,
    above,
    float_levels,
    prepared,
    scan,
    tiles,
)
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.pair_statistics import (
    BlockMeans,
    PairStatistics,
    load_statistics,
    save_statistics,
)
from napari_exo2micro.core.rasters import Frame, ImageLike

__all__ = [
    "BlockMeans",
    "LevelHistogram",
    "PairStatistics",
    "accumulate_statistics",
    "load_statistics",
    "save_statistics",
]

RATIO_BINS = 65536
RATIO_REACH = 5.0
WORKERS = min(4, os.cpu_count() or 1)


def accumulate_statistics(
    post: ImageLike,
    pre: ImageLike,
    *,
    raw_pre: ImageLike | None = None,
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
        `coverage.mapped_frame` returns them; everywhere when not given.
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
    post_range = scan(post, region, parts[0].part(0.0, 0.5))
    if raw_pre is None:
        raw_levels, pre_range = None, scan(pre, region, parts[0].part(0.5, 1.0))
    else:
        raw_region = _clipped(raw_pre_frame, raw_pre.shape)
        pre_range = scan(raw_pre, raw_region, parts[0].part(0.5, 1.0))
        raw_levels = pre_range.levels or float_levels(raw_pre, raw_region, pre_range)
    tally = _Tally(dtype, post_range, pre_range, region)
    with ThreadPoolExecutor(WORKERS) as pool:
        for y0, y1, strips in tiles(region, tally.blocks.size):
            parts[1].report((y0 - region[1]) / region[3], "counting grey levels")
            left, right = strips[0][1], strips[-1][2]
            bands = (
                prepared(post[y0:y1, left:right], dtype),
                prepared(pre[y0:y1, left:right], dtype),
            )
            spans = None if pre_quad is None else valid_spans(pre_quad, y0, y1)
            count = partial(_count_strip, tally, bands, spans, y0, left)
            list(pool.map(count, strips))
    return tally.result(raw_levels)


def _count_strip(
    tally: _Tally,
    bands: tuple[NDArray[Any], NDArray[Any]],
    spans: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
    y0: int,
    left: int,
    strip: tuple[int, int, int],
) -> None:
    """Count the columns of one strip; the bands begin at (left, y0)."""
    group, x0, x1 = strip
    mask = None if spans is None else spans_to_mask(*spans, x0, x1)
    columns = slice(x0 - left, x1 - left)
    post, pre = bands[0][:, columns], bands[1][:, columns]
    tally.add(group, post, pre, mask)
    tally.add_blocks(y0, x0, post, pre, mask)


class _Tally:
    """Counts in the making."""

    def __init__(
        self, dtype: np.dtype[Any], post: LevelRange, pre: LevelRange, region: Frame
    ) -> None:
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
            self._span = LEVEL_BINS, low, above(low, high)
        n = len(self._cells.edges) - 1
        self._groups = np.zeros((GROUPS, n, n), np.uint32)
        # One row a group, so that windows of one band can be counted at once.
        self._post = np.zeros((GROUPS, self._span[0]), np.int64)
        self._pre = np.zeros((GROUPS, self._span[0]), np.int64)
        self._ratio = np.zeros((GROUPS, RATIO_BINS), np.int64)
        side = _block_side(region)
        shape = region[3] // side, region[2] // side
        self.blocks = BlockMeans(
            side,
            region[:2],
            np.full(shape, np.nan, np.float32),
            np.full(shape, np.nan, np.float32),
        )

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
            self._post[group] += joint.sum(axis=1, dtype=np.float64).astype(np.int64)
            self._pre[group] += joint.sum(axis=0, dtype=np.float64).astype(np.int64)
            return
        # calcHist counts the integers themselves, so its edges are integers too.
        shift = 0.5 if self._integer else 0.0
        bins, low, high = self._span
        self._post[group] += count_levels(post, None, bins, low + shift, high + shift)
        if joint is None:
            return
        self._pre[group] += count_levels(pre, mask, bins, low + shift, high + shift)
        if self._dtype != np.uint8:
            self._count_ratio(group, post, pre, mask)

    def add_blocks(
        self, y0: int, x0: int, post: NDArray[Any], pre: NDArray[Any], mask: Mask
    ) -> None:
        """Average one window, which begins at (x0, y0), over its whole blocks."""
        side = self.blocks.size
        rows, columns = post.shape[0] // side, post.shape[1] // side
        if not rows or not columns or (mask is not None and not mask.any()):
            return
        whole = slice(rows * side), slice(columns * side)

        def averaged(window: NDArray[Any]) -> NDArray[np.float32]:
            pixels = window[whole].astype(np.float32)
            means = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
            return np.asarray(means, dtype=np.float32)

        means = averaged(post), averaged(pre)
        spoilt = np.zeros((rows, columns), bool)
        for window, level in zip((post, pre), self._saturation, strict=True):
            if np.isfinite(level):
                spoilt |= averaged(window >= level) > 0
        if mask is not None:
            spoilt |= averaged(mask) < 1
        top, left = (
            (y0 - self.blocks.origin[1]) // side,
            (x0 - self.blocks.origin[0]) // side,
        )
        place = slice(top, top + rows), slice(left, left + columns)
        for kept, mean in zip((self.blocks.post, self.blocks.pre), means, strict=True):
            mean[spoilt] = np.nan
            kept[place] = mean

    def _count_ratio(
        self, group: int, post: NDArray[Any], pre: NDArray[Any], mask: Mask
    ) -> None:
        upper = np.asarray(post, np.float32)
        lower = np.asarray(pre, np.float32)
        ratio = np.zeros(upper.shape, np.float32)
        usable = (upper > 0) & (lower > 0)
        usable &= (upper < self._saturation[0]) & (lower < self._saturation[1])
        np.divide(upper, lower, out=ratio, where=usable)
        # log(0) lies far below the first bin: such pixels are not counted.
        cv2.log(ratio, dst=ratio)
        reach = RATIO_REACH * math.log(10)
        self._ratio[group] += count_levels(ratio, mask, RATIO_BINS, -reach, reach)

    def result(self, raw_pre: LevelHistogram | None) -> PairStatistics:
        """Return what was counted."""
        edges = np.linspace(
            self._span[1], self._span[2], self._span[0] + 1, dtype=np.float64
        )
        ratio = None
        if self._dtype != np.uint8:
            steps = np.linspace(-RATIO_REACH, RATIO_REACH, RATIO_BINS + 1)
            ratio = LevelHistogram(steps, self._ratio.sum(axis=0))
        joint = self._groups.sum(axis=0, dtype=np.int64)
        good_post = self._cells.edges[1:] <= self._saturation[0]
        good_pre = self._cells.edges[1:] <= self._saturation[1]
        n_both = int(joint.sum())
        return PairStatistics(
            dtype=self._dtype.name,
            integer=self._integer,
            edges=self._cells.edges,
            groups=self._groups,
            post=LevelHistogram(edges, self._post.sum(axis=0)),
            pre=LevelHistogram(edges, self._pre.sum(axis=0)),
            raw_pre=raw_pre,
            ratio=ratio,
            post_saturation=self._saturation[0],
            pre_saturation=self._saturation[1],
            n_saturated=n_both - int(joint[np.ix_(good_post, good_pre)].sum()),
            n_post=int(self._post.sum()),
            n_both=n_both,
            blocks=self.blocks,
        )


def _common_type(post: ImageLike, pre: ImageLike) -> np.dtype[Any]:
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


def _block_side(frame: Frame) -> int:
    """Return the side of the blocks, px: larger ones where there are many.

    Large blocks have less noise and hide differences of focus; small ones leave
    more blocks without microbes.
    """
    area = frame[2] * frame[3]
    if area >= 4_000_000:
        return 16
    return 8 if area >= 250_000 else 4


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
