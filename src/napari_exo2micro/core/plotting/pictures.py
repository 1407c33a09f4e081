"""Pictures: parts of images reduced for a panel, their colours, and what is valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import AsinhNorm
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_exo2micro.core.images import (
    Transform,
    brightness_limits,
    raster,
    warp,
)
from napari_exo2micro.core.images.lazy import LazyImage, cropped, lazy
from napari_exo2micro.core.plotting import style

_GAMMA: Final = 0.6
"""Brightness is drawn to this power: dim minerals are seen beside bright ones."""

_SMALLEST_SIDE: Final = 64
"""Longer side of the smallest picture, px."""

_SMALLEST_PATCH: Final = 16
"""Fewer zeros than this at the edge are dark pixels, not padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Part of an image, reduced by area averaging.

    Means of blocks with sides of `factor` px; `x0`, `y0` is the first full-resolution
    pixel of the first block.
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
        first = self.x0 + half, self.y0 + half
        return Transform.similarity(scale=self.factor, translation=first)

    def with_pixels(self, pixels: NDArray[np.float32]) -> Picture:
        """Return another picture of the same place."""
        return replace(self, pixels=pixels)


def clip_frame(frame: raster.Frame | None, shape: Sequence[int]) -> raster.Frame:
    """Return the part of a frame that lies on the image; all of it without one."""
    rows, columns = shape
    if frame is None:
        return 0, 0, columns, rows
    x, y, width, height = frame
    x0, y0 = min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)
    x1, y1 = min(max(x + width, x0 + 1), columns), min(max(y + height, y0 + 1), rows)
    return x0, y0, x1 - x0, y1 - y0


def union(*frames: raster.Frame) -> raster.Frame:
    """Return the smallest frame that holds all of some frames."""
    x0, y0 = min(f[0] for f in frames), min(f[1] for f in frames)
    x1, y1 = max(f[0] + f[2] for f in frames), max(f[1] + f[3] for f in frames)
    return x0, y0, x1 - x0, y1 - y0


def data_frame(image: raster.ImageLike) -> raster.Frame:
    """Return about where an image is not zero: to cut off padding in pictures."""
    small, factor = raster.reduce_image(image, max_side=512)
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


def picture_side(frame: raster.Frame, down_scale: float | None, most: int) -> int:
    """Return the longer side of a picture at a scale, at most `most` px."""
    if down_scale is None:
        return most
    return min(max(round(max(frame[2:]) * down_scale), min(_SMALLEST_SIDE, most)), most)


def take_picture(
    image: raster.ImageLike, frame: raster.Frame, max_side: int
) -> Picture:
    """Return a part of an image with its longer side at most `max_side` px.

    One more for whole blocks. It is read band by band, from a smaller level where the
    image has one.
    """
    frame = clip_frame(frame, image.shape)
    factor = raster.block_size(max(frame[2:]), max_side)
    level, source = 0, lazy(image)
    if isinstance(image, raster.Raster):
        level = raster.level_for(factor, image.n_levels)
        shape = tuple(-(-side >> level) for side in image.shape)
        source = LazyImage(shape, image.dtype, lambda window: image.read(window, level))
    x0, y0 = frame[0] // factor * factor, frame[1] // factor * factor
    rows, columns = frame[1] + frame[3] - y0, frame[0] + frame[2] - x0
    part = cropped(
        source, (y0 >> level, x0 >> level), (-(-rows >> level), -(-columns >> level))
    )
    pixels, _ = raster.reduce_image(part, factor=factor >> level)
    return Picture(pixels, factor, x0, y0)


def warp_picture(moving: Picture, transform: Transform, onto: Picture) -> Picture:
    """Return a picture of pre warped to the place of one of post.

    `transform` maps post (fixed) to pre (moving), full-resolution px.
    """
    small = moving.to_full.inverse() @ transform @ onto.to_full
    rows, columns = onto.pixels.shape
    warped = warp.warp_window(moving.pixels, small, 0, rows, 0, columns, "linear")
    return onto.with_pixels(warped)


def valid_pixels(
    picture: Picture, frame: raster.Frame | None, quad: ArrayLike | None
) -> NDArray[np.bool_]:
    """Return which pixels of a picture lie in a frame and in a quadrilateral.

    (x0, y0, width, height) and four corners (x, y), full-resolution px.
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
        first, end = warp.valid_spans(picture.to_full.inverse()(quad), 0, rows)
        mask = warp.spans_to_mask(first, end, 0, columns)
        if mask is not None:
            valid &= mask > 0
    return valid


def known_pixels(
    picture: Picture, *missing: raster.ImageLike | None
) -> NDArray[np.bool_]:
    """Return which pixels of a picture have data in all of their block.

    By masks of full resolution that are not 0 where there are none.
    """
    known: NDArray[np.bool_] = np.ones(picture.pixels.shape, bool)
    height, width = known.shape
    size = height * picture.factor, width * picture.factor
    for mask in missing:
        if mask is not None:
            part = cropped(lazy(mask), (picture.y0, picture.x0), size)
            known &= raster.reduce_image(part, factor=picture.factor)[0] == 0
    return known


def inside_border(*pictures: Picture) -> NDArray[np.bool_]:
    """Return where no picture has a patch of zeros that reaches its edge: padding."""
    inside = np.ones(pictures[0].pixels.shape, bool)
    for picture in pictures:
        labels, _ = ndimage.label(picture.pixels == 0)
        size = np.bincount(labels.ravel())
        ends = labels[0], labels[-1], labels[:, 0], labels[:, -1]
        edge = np.unique(np.concatenate(ends))
        patches = edge[(edge > 0) & (size[edge] >= _SMALLEST_PATCH)]
        inside &= ~np.isin(labels, patches)
    return inside


def drawn_limits(pixels: NDArray[np.float32]) -> tuple[float, float]:
    """Return the grey levels to draw black and white: tighter than in the viewer."""
    return brightness_limits(pixels, (1.0, 99.7))


def stretch(
    pixels: NDArray[np.float32], limits: tuple[float, float]
) -> NDArray[np.uint8]:
    """Return brightness from 0 to 255 with the dim parts lifted."""
    scaled = (np.nan_to_num(pixels) - limits[0]) / (limits[1] - limits[0])
    lifted = np.clip(scaled, 0.0, 1.0) ** _GAMMA
    return np.asarray(np.rint(255 * lifted), np.uint8)


def overlay(post: NDArray[np.float32], pre: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return both images in one: post green, pre magenta, white where alike."""
    green = stretch(post, drawn_limits(post))
    magenta = stretch(pre, drawn_limits(pre))
    return np.stack([magenta, green, magenta], axis=-1)


def correlation(
    post: NDArray[np.float32], pre: NDArray[np.float32], valid: NDArray[np.bool_]
) -> float | None:
    """Return the correlation of the roots of two images, None without overlap."""
    seen = valid & np.isfinite(post) & np.isfinite(pre)
    if np.count_nonzero(seen) < 20:
        return None
    a, b = (np.sqrt(np.maximum(im[seen], 0.0, dtype=np.float64)) for im in (post, pre))
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
    colours: NDArray[np.uint8] = style.DIFFERENCE_COLOURS(
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


def subtracted(post: Picture, pre: Picture, scale: float, offset: float) -> Picture:
    """Return ``post - offset - scale * pre``."""
    return post.with_pixels(post.pixels - offset - scale * pre.pixels)


def picture_sheet(
    title: str, shape: Sequence[int], most: tuple[int, int], least: float, **head: Any
) -> tuple[style.Sheet, tuple[Axes, Axes]]:
    """Return a sheet with one panel for a picture of a shape, and its colour bar.

    The panel has at most `most` columns and rows, the sheet is at least `least`
    inches wide; `head` goes to `Sheet`.
    """
    width, height = style.panel_size(shape, *most)
    sheet = style.Sheet(
        title,
        width=max(0.85 + width + 1.35, least),
        height=0.1 + max(height, style.SHORTEST_BAR) + 0.6,
        **head,
    )
    axes = sheet.axes(0.85, 0.1, width, height)
    number_pixels(axes)
    bar = sheet.axes(0.85 + width + 0.18, 0.1, 0.18, style.bar_height(height))
    return sheet, (axes, bar)


def show_nothing(axes: Axes, picture: Picture, title: str, reason: str) -> None:
    """Leave a panel empty, with the axes of a picture's place, and say why."""
    extent = picture.extent
    axes.set(xlim=extent[:2], ylim=extent[2:], facecolor="#f2f2f2")
    style.name_panel(axes, title, detail="not drawn")
    style.add_message(axes, reason)


def show_difference(
    sheet: style.Sheet,
    panels: tuple[Axes, Axes],
    picture: Picture,
    valid: NDArray[np.bool_],
    words: str,
    nothing: str = "Nowhere do both images have data.",
) -> None:
    """Draw a difference into the first panel, and its colours into the second.

    White where it is not `valid`; `words` are those of the colour bar, `nothing` those
    of a picture without data.
    """
    axes, bar = panels
    norm = difference_norm(picture.pixels[valid])
    show_picture(axes, picture, colour_difference(picture.pixels, valid, norm))
    if not np.any(valid & np.isfinite(picture.pixels)):
        style.add_message(axes, nothing)
    mapping = ScalarMappable(norm, style.DIFFERENCE_COLOURS)
    sheet.colour_bar(bar, mapping, words, ticks=asinh_ticks(norm))


def number_pixels(axes: Axes, *, named: bool = True, numbered: bool = True) -> None:
    """Name and number the axes of a picture; that of the rows on demand only."""
    axes.set_gid(style.PICTURE)
    style.label_axes(axes, "x (px)", "y (px)" if named else "")
    style.number_axes(axes)
    axes.tick_params(labelleft=numbered)


def block_words(picture: Picture) -> str:
    """Return what a pixel of a picture stands for; empty at full resolution."""
    size = picture.factor
    return f"means of {size} × {size} px" if size > 1 else ""
