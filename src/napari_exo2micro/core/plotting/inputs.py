"""What figures draw: counts, grids of grey levels and small pictures.

The pixels of a cell are shared among the values that the cell stands for;
otherwise the grey levels of the two images beat against each other, and a smooth
distribution shows teeth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_exo2micro.core.images.raster import (
    Frame,
    ImageLike,
    Raster,
    block_size,
    level_for,
    reduce_image,
)
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import mapped_frame, spans_to_mask, valid_spans
from napari_exo2micro.core.photometry.methods import estimate_scale
from napari_exo2micro.core.photometry.scale import ScaleEstimate
from napari_exo2micro.core.photometry.statistics import (
    PairStatistics,
    accumulate_statistics,
)
from napari_exo2micro.core.plotting.style import DIFFERENCE_COLOURS, scale_colour

_LEFT_OUT: Final = 2e-5
"""Part of the pixels that may lie beyond the end of an axis of grey levels."""


def pair_statistics(
    post: ImageLike,
    pre: ImageLike,
    statistics: PairStatistics | None,
    *,
    raw_pre: ImageLike | None = None,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    transform: Transform | None = None,
) -> PairStatistics:
    """Return the statistics that were given, otherwise those of the images.

    Raises
    ------
    RegistrationError
        If the images cannot be compared.
    """
    if statistics is not None:
        return statistics
    quad = None
    if pre_frame is not None and transform is not None:
        quad = mapped_frame(transform, pre_frame)
    return accumulate_statistics(
        post,
        pre,
        raw_pre=raw_pre,
        raw_pre_frame=pre_frame if raw_pre is not None else None,
        post_frame=post_frame,
        pre_quad=quad,
    )


def pair_scales(
    statistics: PairStatistics, scales: Sequence[ScaleEstimate] | None
) -> tuple[ScaleEstimate, ...]:
    """Return the scales that were given, otherwise the default one."""
    if scales is not None:
        return tuple(scales)
    return (estimate_scale(statistics),)


def chosen_scale(
    scale: float | None,
    offset: float | None,
    scales: Sequence[ScaleEstimate] | None,
    post: ImageLike,
    pre: ImageLike,
    statistics: PairStatistics | None,
) -> tuple[float, float, ScaleEstimate | None]:
    """Return the scale and offset to subtract with, and where they come from.

    Returns
    -------
    scale, offset : float
        ``difference = post - offset - scale * pre``, grey levels.
    estimate : ScaleEstimate or None
        The one of `scales` that this is; None for a number from elsewhere.
    """
    if scale is None and not scales:
        scales = pair_scales(pair_statistics(post, pre, statistics), None)
    if scale is None:
        assert scales is not None
        estimate = scales[0]
        return estimate.scale, estimate.offset if offset is None else offset, estimate
    known = [e for e in scales or () if e.scale == scale]
    if offset is None:
        offset = known[0].offset if known else 0.0
    return float(scale), float(offset), known[0] if known else None


def rebinning_matrix(
    edges: NDArray[np.float64], new_edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how counts between some edges spread over other bins.

    Parameters
    ----------
    edges, new_edges : ndarray, shape (n + 1,) and (m + 1,)
        Rising edges in the same unit.

    Returns
    -------
    ndarray, shape (m, n)
        The part of each old bin that lies in each new one; ``matrix @ counts``
        keeps the total as far as the new bins reach.
    """
    low = np.maximum(new_edges[:-1, None], edges[None, :-1])
    high = np.minimum(new_edges[1:, None], edges[None, 1:])
    width = np.maximum(np.diff(edges), 1e-300)
    part: NDArray[np.float64] = np.maximum(high - low, 0.0) / width
    return part


def rebin(
    counts: NDArray[np.int64],
    edges: NDArray[np.float64],
    new_edges: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the counts of a histogram in other bins, spread evenly in each bin."""
    total = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    result: NDArray[np.float64] = np.diff(np.interp(new_edges, edges, total))
    return result


def upper_level(statistics: PairStatistics) -> float:
    """Return the grey level up to which the axes of a pair should reach."""
    top = 0.0
    for histogram in (statistics.post, statistics.pre):
        # The zero of padding and background says nothing about the bright end.
        lit = np.where(histogram.edges[1:] > 0.5, histogram.counts, 0)
        if not statistics.integer:
            lit = np.where(histogram.edges[1:] > 0.0, histogram.counts, 0)
        total = np.cumsum(lit, dtype=np.float64)
        if total[-1] > 0:
            last = int(np.searchsorted(total, total[-1] * (1 - _LEFT_OUT)))
            top = max(top, float(histogram.edges[min(last, len(total) - 1) + 1]))
    return top if top > 0 else 1.0


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


_BINS: Final = 360


@dataclass(frozen=True, slots=True, eq=False)
class LevelGrid:
    """Even cells of the display; square-root steps when most levels are low.

    A straight line through the origin stays straight in either case.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,)
        Edges of the cells in the units of the axes.
    root : bool
        Whether the axes show the square root of the grey level.
    top : float
        Highest grey level shown.
    """

    edges: NDArray[np.float64]
    root: bool
    top: float

    @classmethod
    def of(cls, statistics: PairStatistics) -> LevelGrid:
        """Return the grid that suits the levels of a pair."""
        top = upper_level(statistics)
        levels = statistics.post.centres[1:]
        counts = np.cumsum(statistics.post.counts[1:], dtype=np.float64)
        middle = top
        if len(counts) and counts[-1] > 0:
            middle = float(levels[int(np.searchsorted(counts, counts[-1] / 2))])
        root = middle < 0.08 * top and statistics.dtype != "uint8"
        if root:
            return cls(np.linspace(0.0, np.sqrt(top), _BINS + 1), True, top)
        if not statistics.integer:
            return cls(np.linspace(0.0, top, _BINS + 1), False, top)
        # Whole levels in each cell, or the grid would beat with the levels.
        step = max(1, int(np.ceil(top / _BINS)))
        cells = int(np.ceil((top + 0.5) / step))
        edges = np.arange(cells + 1, dtype=np.float64) * step - 0.5
        return cls(edges, False, top)

    def place(self, level: Any) -> NDArray[np.float64]:
        """Return where grey levels lie along an axis."""
        values = np.asarray(level, dtype=np.float64)
        if not self.root:
            return values
        rooted: NDArray[np.float64] = np.sqrt(np.maximum(values, 0.0))
        return rooted

    def level(self, place: float) -> float:
        """Return the grey level at a place along an axis; inverse of `place`."""
        return place * abs(place) if self.root else place

    def density(self, statistics: PairStatistics) -> NDArray[np.float64]:
        """Return the pixels in each cell, axes [post, pre]."""
        matrix = rebinning_matrix(self.place(statistics.edges), self.edges)
        result: NDArray[np.float64] = matrix @ statistics.joint @ matrix.T
        return result

    def line(
        self, slope: float, offset: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``post = offset + slope * pre`` in the units of the axes."""
        reach = min(self.top, max((self.top - offset) / max(slope, 1e-12), 0.0))
        x = np.linspace(0.0, reach, 200 if self.root else 2)
        return self.place(x), self.place(offset + slope * x)

    def root_ticks(self) -> list[float]:
        """Return round levels whose places on a square-root axis lie well apart."""
        size = 10.0 ** np.floor(np.log10(self.top))
        chosen: list[float] = []
        for level in [
            m * size / d for d in (1, 10, 100) for m in (9, 8, 6, 5, 4, 3, 2, 1)
        ]:
            gap = np.sqrt(chosen[-1] / self.top) if chosen else 1.1
            if level <= self.top and gap - np.sqrt(level / self.top) >= 0.09:
                chosen.append(level)
        return [0.0, *reversed(chosen)]


#: The grid of every panel drawn, as long as the panel lives.
_GRIDS: WeakKeyDictionary[Axes, LevelGrid] = WeakKeyDictionary()


def attach_grid(axes: Axes, grid: LevelGrid) -> None:
    """Let `scale_at` and `scale_line` know the grid of a panel."""
    _GRIDS[axes] = grid


def heatmap_axes(drawn: Figure | Axes) -> Axes | None:
    """Return the panel of a figure that shows grey levels of pre and post."""
    panels = drawn.axes if isinstance(drawn, Figure) else [drawn]
    return next((axes for axes in panels if axes in _GRIDS), None)


def scale_at(
    drawn: Figure | Axes, x: float | None, y: float | None, *, offset: float = 0.0
) -> float | None:
    """Return the scale whose line runs through a place on a heat map.

    Parameters
    ----------
    drawn : Figure or Axes
        What `plot_excess_heatmap` or `plot_pre_post_heatmap` returned, or its
        panel.
    x, y : float or None
        The place in the units of the axes, as a mouse event tells it (`xdata`,
        `ydata`; None outside of the panel).
    offset : float
        Grey levels that the difference takes off post beside the scaled pre. A
        manual scale takes off none, so this is 0 where one is chosen by a click.

    Returns
    -------
    float or None
        (post level - offset) / pre level, above 0. None beside the panel, where
        no scale does that, and for a figure that is no heat map.
    """
    axes = heatmap_axes(drawn)
    if axes is None or x is None or y is None:
        return None
    grid = _GRIDS[axes]
    low, high = float(grid.edges[0]), float(grid.edges[-1])
    if not (low <= x <= high and low <= y <= high):
        return None
    pre, post = grid.level(x), grid.level(y) - offset
    if not (pre > 0 and post > 0):
        return None
    scale = post / pre
    return scale if math.isfinite(scale) else None


def scale_line(
    drawn: Figure | Axes, scale: float, *, offset: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the line of a scale on a heat map, in the units of the axes.

    Parameters
    ----------
    drawn : Figure or Axes
        As for `scale_at`.
    scale, offset : float
        ``post = offset + scale * pre``, grey levels.

    Returns
    -------
    tuple of ndarray or None
        x and y of its points; None for a figure that is no heat map.
    """
    axes = heatmap_axes(drawn)
    return None if axes is None else _GRIDS[axes].line(scale, offset)


def mark_scale(drawn: Figure | Axes, scale: float) -> list[Artist]:
    """Draw the line of a manual scale that somebody thinks about.

    Parameters
    ----------
    drawn : Figure or Axes
        As for `scale_at`.
    scale : float
        ``post = scale * pre``.

    Returns
    -------
    list of Artist
        What was drawn, to be removed again; empty for a figure that is no heat map.
    """
    axes, line = heatmap_axes(drawn), scale_line(drawn, scale)
    if axes is None or line is None:
        return []
    return [
        *axes.plot(
            *line,
            color=scale_colour("manual"),
            linewidth=2.0,
            linestyle=(0, (4, 2)),
            path_effects=[withStroke(linewidth=4.0, foreground="white")],
            zorder=5,
            gid="scale-proposed",
        )
    ]


_GAMMA: Final = 0.6
_FEWEST: Final = 64
"""Longer side of the smallest picture, px."""

_SMALLEST_PATCH: Final = 16
"""Fewer zeros than this at the edge are dark pixels, not padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Part of an image, reduced by area averaging.

    Attributes
    ----------
    pixels : ndarray, shape (rows, columns), float32
        Means of the blocks.
    factor : int
        Side of a block, full-resolution px.
    x0, y0 : int
        First full-resolution pixel of the first block.
    """

    pixels: NDArray[np.float32]
    factor: int
    x0: int
    y0: int

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge in full-resolution px."""
        rows, columns = self.pixels.shape
        left, top = self.x0 - 0.5, self.y0 - 0.5
        return left, left + columns * self.factor, top + rows * self.factor, top

    @property
    def to_full(self) -> Transform:
        """From points of the picture to full-resolution px."""
        half = (self.factor - 1) / 2
        return Transform(
            np.array(
                [
                    [self.factor, 0.0, self.x0 + half],
                    [0.0, self.factor, self.y0 + half],
                    [0.0, 0.0, 1.0],
                ]
            )
        )

    def with_pixels(self, pixels: NDArray[np.float32]) -> Picture:
        """Return another picture of the same place."""
        return Picture(pixels, self.factor, self.x0, self.y0)


class _Window:
    """A part of one level of an image, as an image of its own."""

    def __init__(self, image: ImageLike, level: int, frame: Frame) -> None:
        self._image, self._level = image, level
        self._x0, self._y0, width, height = frame
        self.shape: tuple[int, ...] = (height, width)
        self.dtype: np.dtype[Any] = np.dtype(image.dtype)

    def __getitem__(self, key: Any, /) -> Any:
        rows, columns = (
            range(*part.indices(length))
            for part, length in zip(key, self.shape, strict=True)
        )
        window = (
            slice(self._y0 + rows.start, self._y0 + rows.stop),
            slice(self._x0 + columns.start, self._x0 + columns.stop),
        )
        if isinstance(self._image, Raster):
            return self._image.read(window, self._level)
        return self._image[window]


def clip_frame(frame: Frame | None, shape: Sequence[int]) -> Frame:
    """Return the part of a frame that lies on the image; all of it without one."""
    rows, columns = shape
    if frame is None:
        return 0, 0, columns, rows
    x, y, width, height = frame
    x0, y0 = min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)
    x1, y1 = min(max(x + width, x0 + 1), columns), min(max(y + height, y0 + 1), rows)
    return x0, y0, x1 - x0, y1 - y0


def union(*frames: Frame) -> Frame:
    """Return the smallest frame that holds all of some frames."""
    x0, y0 = min(f[0] for f in frames), min(f[1] for f in frames)
    x1, y1 = max(f[0] + f[2] for f in frames), max(f[1] + f[3] for f in frames)
    return x0, y0, x1 - x0, y1 - y0


def data_frame(image: ImageLike) -> Frame:
    """Return about where an image is not zero: to cut off padding in pictures."""
    small, factor = reduce_image(image, max_side=512)
    lit = np.nan_to_num(small) != 0
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not len(rows):
        return clip_frame(None, image.shape)
    box = (
        int(columns[0]) * factor,
        int(rows[0]) * factor,
        int(columns[-1] - columns[0] + 1) * factor,
        int(rows[-1] - rows[0] + 1) * factor,
    )
    return clip_frame(box, image.shape)


def picture_side(frame: Frame, down_scale: float | None, most: int) -> int:
    """Return the longer side of a picture at a scale, at most `most` px."""
    if down_scale is None:
        return most
    return min(max(round(max(frame[2:]) * down_scale), min(_FEWEST, most)), most)


def take_picture(image: ImageLike, frame: Frame, max_side: int) -> Picture:
    """Return a part of an image with its longer side at most `max_side` px.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        Any real dtype; read band by band, from a smaller level where it has one.
    frame : tuple of int
        (x0, y0, width, height) of the part, px, on the image.
    max_side : int
        The result may be one pixel larger, for whole blocks.
    """
    factor = block_size(max(frame[2:]), max_side)
    level = level_for(factor, image.n_levels) if isinstance(image, Raster) else 0
    x0, y0 = frame[0] // factor * factor, frame[1] // factor * factor
    right = min(frame[0] + frame[2], image.shape[1])
    bottom = min(frame[1] + frame[3], image.shape[0])
    size = 1 << level
    window = (
        x0 >> level,
        y0 >> level,
        -(-(right - x0) // size),
        -(-(bottom - y0) // size),
    )
    pixels, _ = reduce_image(_Window(image, level, window), factor=factor >> level)
    return Picture(pixels, factor, x0, y0)


def warp_picture(moving: Picture, transform: Transform, onto: Picture) -> Picture:
    """Return a picture warped to the place of another one.

    Parameters
    ----------
    moving : Picture
        Of the pre-stain image.
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px.
    onto : Picture
        Of the post-stain image: the grid of the result.
    """
    matrix = (moving.to_full.inverse() @ transform @ onto.to_full).matrix
    rows, columns = onto.pixels.shape
    warped = cv2.warpPerspective(
        moving.pixels,
        matrix,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return onto.with_pixels(np.asarray(warped, dtype=np.float32))


def valid_pixels(
    picture: Picture, frame: Frame | None, quad: ArrayLike | None
) -> NDArray[np.bool_]:
    """Return which pixels of a picture lie in a frame and in a quadrilateral.

    Parameters
    ----------
    picture : Picture
        The place.
    frame : tuple of int, optional
        (x0, y0, width, height), full-resolution px.
    quad : array_like, shape (4, 2), optional
        Corners (x, y), full-resolution px.
    """
    rows, columns = picture.pixels.shape
    valid = np.ones((rows, columns), bool)
    if frame is not None:
        x, y = (
            (np.arange(n) + 0.5) * picture.factor - 0.5 + first
            for n, first in ((columns, picture.x0), (rows, picture.y0))
        )
        valid &= ((y >= frame[1]) & (y < frame[1] + frame[3]))[:, None]
        valid &= ((x >= frame[0]) & (x < frame[0] + frame[2]))[None, :]
    if quad is not None:
        first, end = valid_spans(picture.to_full.inverse()(quad), 0, rows)
        mask = spans_to_mask(first, end, 0, columns)
        if mask is not None:
            valid &= mask > 0
    return valid


def beyond_border(pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the patches of zeros that reach the edge: padding, most likely."""
    labels, _ = ndimage.label(pixels == 0)
    size = np.bincount(labels.ravel())
    edge = np.unique(
        np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    )
    patches = edge[(edge > 0) & (size[edge] >= _SMALLEST_PATCH)]
    outside: NDArray[np.bool_] = np.isin(labels, patches)
    return outside


def brightness_limits(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the grey levels to draw black and white."""
    seen = np.isfinite(pixels) & (pixels != 0)
    if valid is not None:
        seen &= valid
    if not seen.any():
        return 0.0, 1.0
    low, high = np.percentile(pixels[seen], [1.0, 99.7])
    if high > 0:
        # What a cubic warp undershoots is no darker than dark.
        low = max(low, 0.0)
    return float(low), float(max(high, low + 1e-6 * max(abs(low), 1e-6)))


def stretch(
    pixels: NDArray[np.float32], limits: tuple[float, float]
) -> NDArray[np.uint8]:
    """Return brightness from 0 to 255 with the dim parts lifted."""
    scaled = (np.nan_to_num(pixels) - limits[0]) / (limits[1] - limits[0])
    lifted = np.clip(scaled, 0.0, 1.0) ** _GAMMA
    result: NDArray[np.uint8] = np.rint(255 * lifted).astype(np.uint8)
    return result


def overlay(post: NDArray[np.float32], pre: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return both images in one: post green, pre magenta, white where alike."""
    green = stretch(post, brightness_limits(post))
    magenta = stretch(pre, brightness_limits(pre))
    return np.stack([magenta, green, magenta], axis=-1)


def match(
    post: NDArray[np.float32], pre: NDArray[np.float32], valid: NDArray[np.bool_]
) -> float | None:
    """Return the correlation of two images where both have data, or None."""
    seen = valid & np.isfinite(post) & np.isfinite(pre)
    if np.count_nonzero(seen) < 20:
        return None
    a, b = (
        np.sqrt(np.maximum(image[seen], 0.0, dtype=np.float64)) for image in (post, pre)
    )
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def difference_norm(values: NDArray[np.float32]) -> AsinhNorm:
    """Return the stretch of a difference: linear near zero, then logarithmic."""
    size = np.abs(values[np.isfinite(values)])
    reach = float(np.quantile(size, 0.9995)) if size.size else 0.0
    typical = 1.4826 * float(np.median(size)) if size.size else 0.0
    reach = max(reach, 6.0 * typical) or 1.0
    return AsinhNorm(
        linear_width=max(3.0 * typical, reach / 300.0), vmin=-reach, vmax=reach
    )


def colour_difference(
    values: NDArray[np.float32], valid: NDArray[np.bool_], norm: AsinhNorm
) -> NDArray[np.uint8]:
    """Return the colours of a difference: black at zero, white without data."""
    colours: NDArray[np.uint8] = DIFFERENCE_COLOURS(
        np.asarray(norm(np.nan_to_num(values))), bytes=True
    )[..., :3]
    colours[~(valid & np.isfinite(values))] = 255
    return colours


def asinh_ticks(norm: AsinhNorm) -> list[float]:
    """Return round values whose places on a colour bar lie well apart."""
    reach = float(norm.vmax or 1.0)
    size = 10.0 ** math.floor(math.log10(reach))
    chosen: list[float] = []
    for value in [m * size / 10**k for k in range(5) for m in (5, 2, 1)]:
        place = float(norm(value)) - 0.5
        last = float(norm(chosen[-1])) - 0.5 if chosen else 1.0
        if value <= reach and last - place >= 0.075 and place >= 0.075:
            chosen.append(value)
    return [-v for v in chosen] + [0.0] + chosen[::-1]


def show_picture(axes: Axes, picture: Picture, colours: NDArray[Any]) -> None:
    """Draw colours of a picture's place, axes in full-resolution px."""
    axes.imshow(colours, extent=picture.extent, interpolation="nearest", aspect="auto")
    axes.set_facecolor("white")


def show_nothing(axes: Axes, picture: Picture) -> None:
    """Leave a panel empty, with the axes of a picture's place."""
    left, right, bottom, top = picture.extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_facecolor("#f2f2f2")
