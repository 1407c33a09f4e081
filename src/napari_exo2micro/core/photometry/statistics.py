"""Statistics of an aligned pair: what scales and plots are made from.

Every pixel is counted, band by band, into a joint histogram of post and pre, one of
each image and one of their ratio; and both are averaged over small blocks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.base import CheckpointError, Monitor, RegistrationError
from napari_exo2micro.core.images import Frame, ImageLike, warp

Mask = NDArray[np.uint8] | None
Window = NDArray[Any]

GROUPS = 8
"""Number of interleaved spatial groups, for jackknife uncertainties."""

BAND_PIXELS = 8_000_000
"""Pixels read at a time; a count of one window stays exact in float32."""

_CELLS = 1024
"""Number of cells along one axis of a joint histogram, but for 8-bit images."""

_LEVEL_BINS = 4096
"""Number of bins in the histogram of one floating-point image."""

_RATIO_BINS = 65536
_RATIO_REACH = 5.0
"""The histogram of ratios reaches from -5 to 5, log10 of post/pre."""

WORKERS = min(4, os.cpu_count() or 1)

# Of the files that hold statistics.
_KIND = "napari-exo2micro pair statistics"
_VERSION = 1


def _middles(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((edges[1:] + edges[:-1]) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class LevelHistogram:
    """Counts of pixels between edges.

    The edges, one more than counts, are grey levels (for a ratio: log10 of post/pre).
    Integer data have them between the integers: level v lies in v - 0.5 .. v + 0.5.
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
        return _middles(self.edges)


@dataclass(frozen=True, slots=True, eq=False)
class BlockMeans:
    """Both images averaged over square blocks: little noise, and where it is.

    `size` is the side of a block and `origin` the (x, y) of its first pixel, px; means
    are NaN where a pixel of the block is saturated or has no data in one of the images.
    """

    size: int
    origin: tuple[int, int]
    post: NDArray[np.float32]
    pre: NDArray[np.float32]

    def coarser(self) -> BlockMeans:
        """Return the means of blocks twice as large; NaN where one was NaN."""
        rows, columns = (length // 2 for length in self.post.shape)
        post, pre = (
            means[: 2 * rows, : 2 * columns]
            .reshape(rows, 2, columns, 2)
            .mean(axis=(1, 3), dtype=np.float32)
            for means in (self.post, self.pre)
        )
        return BlockMeans(2 * self.size, self.origin, post, pre)


@dataclass(frozen=True, slots=True, eq=False)
class PairStatistics:
    """Everything that scales and plots need to know of an aligned pair.

    Every pixel is counted, none is sampled. For ``uint8`` the cells are single
    grey levels. For other types there are about 1024 cells, equally wide in the
    fourth root of the grey level, so that dim minerals are resolved to about one
    per cent however bright the brightest microbe is.

    Attributes
    ----------
    dtype : str
        Type of the images, as numpy names it.
    integer : bool
        Whether the pixels are integers (a cell then holds whole levels).
    edges : ndarray, shape (n + 1,), float64
        Edges of the cells in grey levels, the same for both axes of `groups`.
        Cell 0 holds what has no signal (level 0 and below).
    groups : ndarray, shape (8, n, n), uint32
        Number of pixels in each cell ``[group, post, pre]``, over the pixels where
        both images have data. The groups are interleaved tiles of the section.
    post : LevelHistogram
        The post image, wherever it has data.
    pre : LevelHistogram
        The aligned pre image, where both have data.
    raw_pre : LevelHistogram or None
        The pre image before the warp, when it was given.
    ratio : LevelHistogram or None
        log10(post/pre) where both are above 0 and below saturation, in 65536
        bins over -5..5. None for ``uint8``, where `groups` tells it exactly.
    post_saturation, pre_saturation : float
        Grey level at which the image is saturated, inf when it nowhere is.
    n_saturated : int
        Pixels with data in both images of which one at least is saturated.
    n_post : int
        Pixels where post has data.
    n_both : int
        Pixels where both have data.
    blocks : BlockMeans
        Means of blocks of 4 to 16 px, from which offset and scale are estimated.
    """

    dtype: str
    integer: bool
    edges: NDArray[np.float64]
    groups: NDArray[np.uint32]
    post: LevelHistogram
    pre: LevelHistogram
    raw_pre: LevelHistogram | None
    ratio: LevelHistogram | None
    post_saturation: float
    pre_saturation: float
    n_saturated: int
    n_post: int
    n_both: int
    blocks: BlockMeans

    @property
    def joint(self) -> NDArray[np.int64]:
        """Joint histogram over all groups, shape (n, n), axes [post, pre]."""
        total: NDArray[np.int64] = self.groups.sum(axis=0, dtype=np.int64)
        return total

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middles of the cells in grey levels, shape (n,)."""
        return _middles(self.edges)

    def signal_cells(
        self, joint: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
        """Return the filled cells with signal in both images, below saturation.

        Parameters
        ----------
        joint : ndarray, shape (n, n), optional
            A joint histogram of some of the groups; `joint` by default.

        Returns
        -------
        rows, columns, counts : ndarray, shape (m,)
            Cells of post and of pre, and the number of pixels in each pair.
        """
        kept = self.joint if joint is None else joint
        good = _unsaturated(self.edges, self.post_saturation, self.pre_saturation)
        kept = np.where(good, kept, 0)
        kept[0, :] = 0
        kept[:, 0] = 0
        rows, columns = np.nonzero(kept)
        return rows, columns, kept[rows, columns]


def _unsaturated(
    edges: NDArray[np.float64], post: float, pre: float
) -> NDArray[np.bool_]:
    """Return which cells of a joint histogram lie below both saturations."""
    return np.logical_and.outer(edges[1:] <= post, edges[1:] <= pre)


def accumulate_statistics(
    post: ImageLike,
    pre: ImageLike,
    *,
    raw_pre: ImageLike | None = None,
    raw_pre_frame: Frame | None = None,
    post_frame: Frame | None = None,
    pre_quad: ArrayLike | None = None,
    post_missing: ImageLike | None = None,
    pre_missing: ImageLike | None = None,
    raw_pre_missing: ImageLike | None = None,
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
        `mapped_frame` returns them; everywhere when not given.
    post_missing, pre_missing, raw_pre_missing : array_like, optional
        Masks of `post`, `pre` and `raw_pre`, not 0 where they have no data.
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
    scanning, counting = monitor.part(0.0, 0.3), monitor.part(0.3, 1.0)
    post_levels = _scan(post, region, scanning.part(0.0, 0.5), post_missing)
    if raw_pre is None:
        raw_histogram = None
        pre_levels = _scan(pre, region, scanning.part(0.5, 1.0), pre_missing)
    else:
        raw_region = _clipped(raw_pre_frame, raw_pre.shape)
        pre_levels = _scan(
            raw_pre, raw_region, scanning.part(0.5, 1.0), raw_pre_missing
        )
        raw_histogram = pre_levels.histogram or _float_histogram(
            raw_pre, raw_region, pre_levels, raw_pre_missing
        )
    tally = _Tally(dtype, post_levels, pre_levels, region)
    with ThreadPoolExecutor(WORKERS) as pool:
        for y0, y1, strips in _bands(region, tally.blocks.size):
            counting.report((y0 - region[1]) / region[3], "counting grey levels")
            left, right = strips[0][1], strips[-1][2]
            bands = [
                np.ascontiguousarray(image[y0:y1, left:right], dtype=dtype)
                for image in (post, pre)
            ]
            spans = None if pre_quad is None else warp.valid_spans(pre_quad, y0, y1)
            gaps = [
                None if mask is None else np.asarray(mask[y0:y1, left:right])
                for mask in (post_missing, pre_missing)
            ]
            # Strips of one band are of different groups, so they never meet.
            list(pool.map(partial(tally.add, bands, spans, gaps, (left, y0)), strips))
    return tally.result(raw_histogram)


class _Tally:
    """Counts in the making."""

    def __init__(
        self, dtype: np.dtype[Any], post: _Levels, pre: _Levels, region: Frame
    ) -> None:
        self._dtype = dtype
        self._integer = dtype.kind == "u"
        self._saturation = post.saturation, pre.saturation
        low, high = min(post.low, pre.low), max(post.high, pre.high)
        if self._integer:
            self._cells = _Cells.of_integers(dtype, self._saturation)
            size = np.iinfo(dtype).max + 1
            self._span = size, 0.0, float(size)
        else:
            self._cells = _Cells.of_floats(low, high)
            self._span = _LEVEL_BINS, low, _above(low, high)
        n = len(self._cells.edges) - 1
        self._groups = np.zeros((GROUPS, n, n), np.uint32)
        # One row a group, so that windows of one band can be counted at once.
        self._post = np.zeros((GROUPS, self._span[0]), np.int64)
        self._pre = np.zeros((GROUPS, self._span[0]), np.int64)
        self._ratio = np.zeros((GROUPS, _RATIO_BINS), np.int64)
        side = _block_side(region)
        shape = region[3] // side, region[2] // side
        post_means, pre_means = np.full((2, *shape), np.nan, np.float32)
        self.blocks = BlockMeans(side, region[:2], post_means, pre_means)

    def add(
        self,
        bands: Sequence[Window],
        spans: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
        gaps: Sequence[NDArray[Any] | None],
        corner: tuple[int, int],
        strip: tuple[int, int, int],
    ) -> None:
        """Count one strip of the bands of post and pre, which begin at `corner`.

        `gaps` are not 0 where the bands have no data.
        """
        group, x0, x1 = strip
        mask = None if spans is None else warp.spans_to_mask(*spans, x0, x1)
        columns = slice(x0 - corner[0], x1 - corner[0])
        post, pre = (band[:, columns] for band in bands)
        known = _known(gaps[0], columns)
        for own in (known, _known(gaps[1], columns)):
            mask = own if mask is None else mask if own is None else mask & own
        self._count(group, post, pre, known, mask)
        self._average((x0, corner[1]), post, pre, mask)

    def _count(
        self, group: int, post: Window, pre: Window, known: Mask, mask: Mask
    ) -> None:
        """Count one window.

        `known` is where post has data, `mask` where both have; None everywhere.
        """
        if not self._integer:
            finite = np.isfinite(post) & np.isfinite(pre)
            if not finite.all():
                known = finite.astype(np.uint8)
                mask = known if mask is None else mask & known
                post = np.where(np.isfinite(post), post, self._span[2])
        joint = None
        if mask is None or mask.any():
            joint = self._cells.count(post, pre, mask)
            self._groups[group] += joint.astype(np.uint32)
        if self._dtype == np.uint8 and joint is not None and mask is None:
            # The rows and columns of the joint histogram are these histograms.
            counts = joint.astype(np.int64)
            self._post[group] += counts.sum(axis=1)
            self._pre[group] += counts.sum(axis=0)
            return
        self._post[group] += _count_levels(post, known, *self._span)
        if joint is None:
            return
        self._pre[group] += _count_levels(pre, mask, *self._span)
        if self._dtype != np.uint8:
            self._count_ratio(group, post, pre, mask)

    def _average(
        self, corner: tuple[int, int], post: Window, pre: Window, mask: Mask
    ) -> None:
        """Average one window, which begins at `corner`, over its whole blocks."""
        side = self.blocks.size
        rows, columns = post.shape[0] // side, post.shape[1] // side
        if not rows or not columns or (mask is not None and not mask.any()):
            return
        means = square_means(post, side), square_means(pre, side)
        spoilt = np.zeros((rows, columns), bool)
        for window, level in zip((post, pre), self._saturation, strict=True):
            if np.isfinite(level):
                spoilt |= square_means(window >= level, side) > 0
        if mask is not None:
            spoilt |= square_means(mask, side) < 1
        left, top = (np.array(corner) - self.blocks.origin) // side
        place = slice(top, top + rows), slice(left, left + columns)
        for kept, mean in zip((self.blocks.post, self.blocks.pre), means, strict=True):
            mean[spoilt] = np.nan
            kept[place] = mean

    def _count_ratio(self, group: int, post: Window, pre: Window, mask: Mask) -> None:
        upper, lower = np.asarray(post, np.float32), np.asarray(pre, np.float32)
        ratio = np.zeros(upper.shape, np.float32)
        usable = (upper > 0) & (lower > 0)
        usable &= (upper < self._saturation[0]) & (lower < self._saturation[1])
        np.divide(upper, lower, out=ratio, where=usable)
        # log(0) lies far below the first bin: such pixels are not counted.
        cv2.log(ratio, dst=ratio)
        reach = _RATIO_REACH * math.log(10)
        self._ratio[group] += _count_levels(ratio, mask, _RATIO_BINS, -reach, reach)

    def result(self, raw_pre: LevelHistogram | None) -> PairStatistics:
        """Return what was counted."""
        bins, low, high = self._span
        # calcHist counts whole levels from 0, which reach half a level down and up.
        edges = np.linspace(low, high, bins + 1) - (0.5 if self._integer else 0.0)
        ratio = None
        if self._dtype != np.uint8:
            steps = np.linspace(-_RATIO_REACH, _RATIO_REACH, _RATIO_BINS + 1)
            ratio = LevelHistogram(steps, self._ratio.sum(axis=0))
        joint = self._groups.sum(axis=0, dtype=np.int64)
        good = _unsaturated(self._cells.edges, *self._saturation)
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
            n_saturated=int(joint[~good].sum()),
            n_post=int(self._post.sum()),
            n_both=int(joint.sum()),
            blocks=self.blocks,
        )


def _known(gaps: NDArray[Any] | None, columns: slice) -> Mask:
    """Return 1 where there are data in some columns; None where nothing is missing."""
    own = None if gaps is None else gaps[:, columns]
    if own is None or not own.any():
        return None
    return np.asarray(own == 0, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """A division of the grey levels, the same for post and pre.

    `place` takes a window and returns where its pixels lie in ``0 <= place < reach``,
    which all cells share evenly.
    """

    edges: NDArray[np.float64]
    place: Callable[[Window], Window]
    reach: float

    @classmethod
    def of_integers(cls, dtype: np.dtype[Any], apart: tuple[float, ...]) -> _Cells:
        """Return cells of whole levels for `uint8` and `uint16`.

        8-bit levels have a cell each. 16-bit levels share cells that are equally wide
        in the fourth root of the level, at least one level each; at the levels `apart`
        a new cell begins, so that saturation is told exactly.
        """
        levels = np.arange(np.iinfo(dtype).max + 1)
        if dtype == np.uint8:
            return cls(np.append(levels, 256) - 0.5, lambda window: window, 256.0)
        root = np.sqrt(np.sqrt(levels.astype(np.float32)))
        cell = np.floor(root * np.float32(_CELLS / 16)).astype(np.int64)
        begins = np.isin(levels, apart)
        begins[1:] |= cell[1:] != cell[:-1]
        begins[0] = False
        table = np.cumsum(begins).astype(np.uint16)
        starts = np.concatenate([[0], np.flatnonzero(begins), [len(levels)]])
        return cls(
            starts - 0.5,
            lambda window: np.asarray(cv2.LUT(window, table)),
            float(len(starts) - 1),
        )

    @classmethod
    def of_floats(cls, low: float, high: float) -> _Cells:
        """Return cells that are equally wide in the fourth root of the level."""
        root = float(np.sqrt(np.sqrt(np.float32(max(high, 0.0))))) or 1.0
        # The largest level gets a cell of its own: it may be the saturation.
        reach = root * (_CELLS + 1) / _CELLS
        edges = np.linspace(0.0, reach, _CELLS + 2) ** 4
        edges[0] = min(low, 0.0)
        return cls(edges, _fourth_root, reach)

    def count(self, post: Window, pre: Window, mask: Mask) -> NDArray[np.float32]:
        """Count a window's pixels in each pair of cells, axes [post, pre]."""
        n = len(self.edges) - 1
        places = [self.place(post), self.place(pre)]
        ranges = [0.0, self.reach, 0.0, self.reach]
        counts = cv2.calcHist(places, [0, 1], mask, [n, n], ranges)
        return np.asarray(counts, dtype=np.float32)


def _fourth_root(window: Window) -> NDArray[np.float32]:
    """Return the fourth root of a window, 0 where it is not above 0."""
    root: NDArray[np.float32] = np.maximum(window, 0, dtype=np.float32)
    np.sqrt(root, out=root)
    return np.sqrt(root, out=root)


def _count_levels(
    window: Window, mask: Mask, bins: int, low: float, high: float
) -> NDArray[np.int64]:
    """Return exact counts of one window in equal bins ``low <= v < high``."""
    counts = cv2.calcHist([window], [0], mask, [bins], [low, high])
    return np.asarray(counts.ravel().astype(np.int64))


class _Levels(NamedTuple):
    """Smallest and largest level of an image, and where it saturates.

    The histogram is that of integers, which costs nothing more.
    """

    low: float
    high: float
    saturation: float
    histogram: LevelHistogram | None = None


def _scan(
    image: ImageLike, frame: Frame, monitor: Monitor, missing: ImageLike | None = None
) -> _Levels:
    """Return the range of an image and the level at which it is saturated."""
    dtype = np.dtype(image.dtype)
    if dtype in (np.uint8, np.uint16):
        size = np.iinfo(dtype).max + 1
        counts = np.zeros(size, np.int64)
        native = dtype.newbyteorder("=")
        for window, known in _windows(image, frame, native, monitor, missing):
            counts += _count_levels(window, known, size, 0, size)
        used = np.flatnonzero(counts)
        histogram = LevelHistogram(np.arange(size + 1, dtype=np.float64) - 0.5, counts)
        saturation = _integer_saturation(counts)
        return _Levels(float(used[0]), float(used[-1]), saturation, histogram)
    low, high, at_high = math.inf, -math.inf, 0
    for window, known in _windows(image, frame, np.dtype("f4"), monitor, missing):
        window = window if known is None else window[known > 0]
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
    is_piled = at_high >= max(10, frame[2] * frame[3] * 1e-6) and high > low
    return _Levels(low, high, high if is_piled else math.inf)


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


def _float_histogram(
    image: ImageLike, frame: Frame, levels: _Levels, missing: ImageLike | None
) -> LevelHistogram:
    """Return the histogram of a floating-point image."""
    high = _above(levels.low, levels.high)
    counts = np.zeros(_LEVEL_BINS, np.int64)
    windows = _windows(image, frame, np.dtype(np.float32), Monitor(), missing)
    for window, known in windows:
        finite = np.isfinite(window)
        finite &= True if known is None else known > 0
        mask = None if finite.all() else finite.astype(np.uint8)
        counts += _count_levels(window, mask, _LEVEL_BINS, levels.low, high)
    return LevelHistogram(np.linspace(levels.low, high, _LEVEL_BINS + 1), counts)


def _above(low: float, high: float) -> float:
    """Return an upper edge that leaves `high` inside the last bin."""
    return high + max((high - low) / _LEVEL_BINS, abs(high) * 1e-6, 1e-30)


def _windows(
    image: ImageLike,
    frame: Frame,
    dtype: np.dtype[Any],
    monitor: Monitor,
    missing: ImageLike | None,
) -> Iterator[tuple[Window, Mask]]:
    """Yield windows of a frame and where they have data, None everywhere.

    No side is longer than OpenCV accepts.
    """
    for y0, y1, strips in _bands(frame):
        monitor.report((y0 - frame[1]) / frame[3], "counting grey levels")
        left, right = strips[0][1], strips[-1][2]
        band = np.ascontiguousarray(image[y0:y1, left:right], dtype=dtype)
        gaps = None if missing is None else np.asarray(missing[y0:y1, left:right])
        for _, x0, x1 in strips:
            columns = slice(x0 - left, x1 - left)
            yield band[:, columns], _known(gaps, columns)


def _bands(
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


def square_means(window: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Return the means of a window's whole squares of `side` px, from its corner on."""
    rows, columns = (length // side for length in window.shape)
    pixels = window[: rows * side, : columns * side].astype(np.float32)
    means = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(means, dtype=np.float32)


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


def save_statistics(path: str | Path, statistics: PairStatistics) -> None:
    """Write statistics as a compressed ``.npz`` file without pickled objects."""
    arrays: dict[str, Any] = {
        "kind": _KIND,
        "version": _VERSION,
        "dtype": statistics.dtype,
        "edges": statistics.edges,
        "groups": statistics.groups,
        "saturation": [statistics.post_saturation, statistics.pre_saturation],
        "numbers": [statistics.n_saturated, statistics.n_post, statistics.n_both],
        "blocks_grid": [statistics.blocks.size, *statistics.blocks.origin],
        "blocks_post": statistics.blocks.post,
        "blocks_pre": statistics.blocks.pre,
    }
    for name in ("post", "pre", "raw_pre", "ratio"):
        histogram: LevelHistogram | None = getattr(statistics, name)
        if histogram is not None:
            arrays[f"{name}_edges"] = histogram.edges
            arrays[f"{name}_counts"] = histogram.counts
    with Path(path).open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_statistics(path: str | Path) -> PairStatistics:
    """Read statistics that `save_statistics` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated or something else.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as stored:
            arrays = dict(stored)
        if str(arrays["kind"]) != _KIND or int(arrays["version"]) != _VERSION:
            raise KeyError("kind")
        histograms = {
            name: LevelHistogram(arrays[f"{name}_edges"], arrays[f"{name}_counts"])
            for name in ("post", "pre", "raw_pre", "ratio")
            if f"{name}_edges" in arrays
        }
        dtype = str(arrays["dtype"])
        size, *origin = arrays["blocks_grid"].tolist()
        means = arrays["blocks_post"], arrays["blocks_pre"]
        post_saturation, pre_saturation = arrays["saturation"].tolist()
        n_saturated, n_post, n_both = arrays["numbers"].tolist()
        return PairStatistics(
            dtype,
            dtype.startswith("uint"),
            arrays["edges"],
            arrays["groups"],
            histograms["post"],
            histograms["pre"],
            histograms.get("raw_pre"),
            histograms.get("ratio"),
            post_saturation,
            pre_saturation,
            n_saturated,
            n_post,
            n_both,
            BlockMeans(size, (origin[0], origin[1]), *means),
        )
    except Exception as error:  # whatever a damaged file raises
        raise CheckpointError(
            f"{path} holds no statistics of this version ({error}); run stage 4 again"
        ) from error


def spread_out(
    squares: NDArray[np.float32], side: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return values of squares of `side` px at every pixel.

    Linearly between the middles of the squares; `square_means` goes the other way.
    """
    middle = (side - 1) / 2
    where = np.array([[side, 0, middle], [0, side, middle]], np.float32)
    pixels = cv2.warpAffine(
        squares,
        where,
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(pixels, np.float32)
