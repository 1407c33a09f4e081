"""The zoom box: one place of post, aligned pre and difference, every pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_exo2micro.core.base import Monitor, ParameterError
from napari_exo2micro.core.images.lazy import cropped, lazy
from napari_exo2micro.core.images.pixel_size import PixelSize
from napari_exo2micro.core.images.raster import Frame, ImageLike
from napari_exo2micro.core.parameters.state import Verdict
from napari_exo2micro.core.plotting import pictures, style
from napari_exo2micro.core.plotting.context import PlotContext, plot

LARGEST_BOX: Final = 2000
"""Longest side of a zoom box, px: all three panels at full resolution fit memory."""

_LARGEST_READ: Final = 4096
"""Longest side of a crop that is read at full resolution, px."""

_SCALE_SIDE: Final = 2048
"""Longest side of the level that a provisional scale is read from, px."""

_PANEL: Final = (560, 500)
"""Panels of `plot_zoom_multi` are at most this high and wide, px."""

_LEFT, _RIGHT, _BOTTOM = 0.85, 1.35, 0.6
_DIFFERENCE: Final = ("Difference (grey levels)", "No data here.")


@plot
def plot_zoom(
    post_im: ImageLike,
    pre_im: ImageLike,
    context: PlotContext,
    names: style.Names,
    *,
    show: Literal["difference", "post", "pre"] = "difference",
    row: int | None = None,
    column: int | None = None,
    size: int | tuple[int, int] = 500,
    blur: float = 0.0,
) -> Figure:
    """Draw a crop of one image, with a grey or colour bar.

    Drawn from `difference`, or else from `scale` and `offset`, or else from the
    first of `scales`.

    Parameters
    ----------
    show : {'difference', 'post', 'pre'}
        Which image.
    row, column : int, optional
        Middle of the crop, full-resolution px; that of the image when not given.
    size : int or tuple of int
        Side of the crop, or its rows and columns, px. A crop up to 4096 px is
        read at full resolution, a larger one is reduced.
    blur : float
        Sigma of a Gaussian blur, full-resolution px; 0 for none.

    Raises
    ------
    ParameterError
        If `show`, `size` or `blur` is out of range or the crop misses the image.
    """
    if show not in ("difference", "post", "pre"):
        raise ParameterError(
            f"show must be 'difference', 'post' or 'pre', found {show!r}; choose one"
        )
    crop = _Crop.of(post_im.shape, row, column, size, blur)
    if show == "difference":
        picture, valid, words = crop.difference(post_im, pre_im, context)
        title = f"Difference: {words}"
    else:
        picture = crop.read(post_im if show == "post" else pre_im)
        title = "Post-stain" if show == "post" else "Pre-stain, aligned"
    head = {"names": names, "notes": context.notes(), "remark": crop.remark(picture)}
    sheet, panels = pictures.picture_sheet(
        title, picture.pixels.shape, (900, 800), 6.0, **head
    )
    if show == "difference":
        pictures.show_difference(sheet, panels, picture, valid, *_DIFFERENCE)
    else:
        limits = pictures.drawn_limits(picture.pixels)
        grey = _show_grey(panels[0], picture, limits)
        sheet.colour_bar(panels[1], grey, "Grey level")
    return sheet.figure


@plot
def plot_zoom_multi(
    post_im: ImageLike,
    pre_im: ImageLike,
    context: PlotContext,
    names: style.Names,
    *,
    row: int | None = None,
    column: int | None = None,
    size: int | tuple[int, int] = 500,
    blur: float = 0.0,
) -> Figure:
    """Draw the same crop of post, aligned pre and difference side by side.

    Drawn from `difference`, or else from `scale` and `offset`, or else from the
    first of `scales`. Post and pre share one grey scale, so that their brightness
    compares.

    Parameters
    ----------
    row, column : int, optional
        Middle of the crop, full-resolution px; that of the image when not given.
    size : int or tuple of int
        Side of the crop, or its rows and columns, px.
    blur : float
        Sigma of a Gaussian blur, full-resolution px; 0 for none.

    Raises
    ------
    ParameterError
        If `size` or `blur` is out of range or the crop misses the image.
    """
    crop = _Crop.of(post_im.shape, row, column, size, blur)
    difference, valid, words = crop.difference(post_im, pre_im, context)
    post, pre = crop.read(post_im), crop.read(pre_im)
    width, height = style.panel_size(post.pixels.shape, _PANEL[1], _PANEL[0])
    top = 0.42
    pitch = max(width, 2.6) + 0.35
    third = _LEFT + 2 * pitch + 0.95
    sheet = style.Sheet(
        "The same place in each image",
        width=third + max(width, 2.6) + _RIGHT,
        height=top + max(height, style.SHORTEST_BAR) + _BOTTOM,
        names=names,
        notes=context.notes(),
        remark=crop.remark(post),
    )
    places = _LEFT, _LEFT + pitch, third
    panels = [sheet.axes(left, top, width, height) for left in places]
    bars = [
        sheet.axes(left + width + 0.12, top, 0.14, style.bar_height(height))
        for left in places[1:]
    ]
    limits = pictures.drawn_limits(np.concatenate([post.pixels, pre.pixels]))
    _show_grey(panels[0], post, limits)
    sheet.colour_bar(bars[0], _show_grey(panels[1], pre, limits), "Grey level")
    last = panels[2], bars[1]
    pictures.show_difference(sheet, last, difference, valid, *_DIFFERENCE)
    for axes, name in zip(panels, ("Post-stain", "Pre, aligned", words), strict=True):
        style.name_panel(axes, name)
        is_first = axes is panels[0]
        pictures.number_pixels(axes, named=is_first, numbered=is_first)
    return sheet.figure


def draw_crops(
    images: Sequence[ImageLike],
    labels: Sequence[str],
    corner: tuple[int, int],
    size: int,
    blur: float,
    cmaps: Sequence[str],
    diverging: Sequence[bool],
    percentile: float,
    *,
    names: tuple[str, str],
) -> tuple[Figure, list[NDArray[np.float32]]]:
    """Draw the same square of any images side by side, and return the crops.

    `corner` is its upper left (row, column), moved onto the image where it lies beside
    it. Grey levels up to a `percentile` are told apart; those marked as `diverging` are
    drawn as a difference.
    """
    crops, seen = [], []
    for image in images:
        rows, columns = image.shape[:2]
        y0, x0 = min(max(corner[0], 0), rows - 1), min(max(corner[1], 0), columns - 1)
        side = max(size, 1)
        crop = np.asarray(image[y0 : y0 + side, x0 : x0 + side], dtype=np.float32)
        crops.append(_blurred(crop, blur))
        picture = pictures.take_picture(
            crops[-1], pictures.clip_frame(None, crop.shape), _LARGEST_READ
        )
        seen.append(replace(picture, x0=x0, y0=y0))
    sizes = [style.panel_size(one.pixels.shape, _PANEL[1], _PANEL[0]) for one in seen]
    height = max(size[1] for size in sizes)
    pitch = _LEFT + max(*(size[0] for size in sizes), 2.6) + _RIGHT
    sheet = style.Sheet(
        "The same place in each image" if len(images) > 1 else "A place in an image",
        width=max(pitch * len(images), 6.0),
        height=0.42 + max(height, style.SHORTEST_BAR) + _BOTTOM,
        names=style.Names(*names),
        notes=[],
        remark=f"blurred by {style.plain_number(blur)} px" if blur > 0 else "",
    )
    for number, picture in enumerate(seen):
        left, (width, height) = _LEFT + number * pitch, sizes[number]
        axes = sheet.axes(left, 0.42, width, height)
        bar = sheet.axes(left + width + 0.12, 0.42, 0.14, style.bar_height(height))
        known = np.isfinite(picture.pixels)
        if diverging[number]:
            pictures.show_difference(sheet, (axes, bar), picture, known, *_DIFFERENCE)
        else:
            values = picture.pixels[known] if known.any() else np.zeros(1)
            low, high = map(
                float, np.percentile(values, [100 - percentile, percentile])
            )
            limits = low, max(high, low + 1e-6 * max(abs(low), 1.0))
            grey = _show_grey(axes, picture, limits, cmaps[number])
            sheet.colour_bar(bar, grey, "Grey level")
        if labels[number]:
            style.name_panel(axes, labels[number])
        pictures.number_pixels(axes)
    return sheet.figure, crops


@dataclass(frozen=True, slots=True)
class _Crop:
    """A frame on the image and the sigma of its blur, full-resolution px."""

    frame: Frame
    blur: float

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        row: int | None,
        column: int | None,
        size: int | tuple[int, int],
        blur: float,
    ) -> _Crop:
        """Return the crop, or say why there is none."""
        rows, columns = (int(side) for side in np.broadcast_to(size, 2))
        if min(rows, columns) < 1:
            raise ParameterError(
                f"size must be 1 px or more, found {size!r}; choose a larger crop"
            )
        row = shape[0] // 2 if row is None else row
        column = shape[1] // 2 if column is None else column
        y0, x0 = int(row) - rows // 2, int(column) - columns // 2
        y1, x1 = y0 + rows, x0 + columns
        if y0 >= shape[0] or x0 >= shape[1] or y1 <= 0 or x1 <= 0:
            raise ParameterError(
                f"the crop must touch the image of {shape[0]} rows and {shape[1]} "
                f"columns, found its middle at row {row}, column {column}; choose a "
                "place inside"
            )
        if not (math.isfinite(blur) and 0 <= blur <= 1000):
            raise ParameterError(
                f"blur must be a sigma from 0 to 1000 px, found {blur!r}; choose one"
            )
        x0, y0 = max(x0, 0), max(y0, 0)
        return cls(pictures.clip_frame((x0, y0, x1 - x0, y1 - y0), shape), blur)

    def read(self, image: ImageLike, *, sharp: bool = False) -> pictures.Picture:
        """Return the crop, blurred with what lies around it."""
        blur = 0.0 if sharp else self.blur
        if max(self.frame[2:]) > _LARGEST_READ:
            picture = pictures.take_picture(image, self.frame, 1000)
            return picture.with_pixels(_blurred(picture.pixels, blur / picture.factor))
        margin = math.ceil(min(3 * blur, 512))
        x0, y0, width, height = self.frame
        left, top = max(x0 - margin, 0), max(y0 - margin, 0)
        window = image[top : y0 + height + margin, left : x0 + width + margin]
        pixels = _blurred(np.asarray(window, dtype=np.float32), blur)
        inner = pixels[y0 - top : y0 - top + height, x0 - left : x0 - left + width]
        return pictures.Picture(inner, 1, x0, y0)

    def difference(
        self, post_im: ImageLike, pre_im: ImageLike, context: PlotContext
    ) -> tuple[pictures.Picture, NDArray[np.bool_], str]:
        """Return the difference, where there are data, and how it was made."""
        scale, offset, _ = context.subtraction(post_im, pre_im)
        post, pre = self.read(post_im, sharp=True), self.read(pre_im, sharp=True)
        valid = pictures.inside_border(post, pre)
        if context.difference is not None:
            picture = self.read(context.difference)
            valid |= picture.pixels != 0
        else:
            sharp = pictures.subtracted(post, pre, scale, offset)
            blurred = _blurred(sharp.pixels, self.blur / post.factor)
            picture = post.with_pixels(blurred)
        gaps = context.post_missing, context.pre_missing
        valid &= pictures.known_pixels(picture, *gaps)
        return picture, valid, style.formula(scale, offset)

    def remark(self, picture: pictures.Picture) -> str:
        """Return what was done to the pixels, for the title line."""
        words = [pictures.block_words(picture)]
        if self.blur > 0:
            words.append(f"blurred by {style.plain_number(self.blur)} px")
        return ", ".join(filter(None, words))


def _blurred(pixels: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    if sigma <= 0:
        return pixels
    blurred = cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32)


def _show_grey(
    axes: Axes,
    picture: pictures.Picture,
    limits: tuple[float, float],
    colours: str = "gray",
) -> ScalarMappable:
    norm = Normalize(*limits, clip=True)
    mapping = ScalarMappable(norm, colormaps[colours])
    values = np.nan_to_num(picture.pixels)
    pictures.show_picture(axes, picture, mapping.to_rgba(values, bytes=True))
    return mapping


@dataclass(frozen=True, slots=True, eq=False)
class PlacedImage:
    """An image and its smaller levels at its place in post's coordinates.

    Attributes
    ----------
    levels : sequence of array_like
        Full resolution first; each further one is half as large.
    offset : tuple of int
        (row, column) of its first pixel in the raw post-stain image, px.
    """

    levels: Sequence[Any]
    offset: tuple[int, int] = (0, 0)

    def cut(self, shape: tuple[int, int], number: int = 0) -> ImageLike:
        """Return the part of a level that lies on the raw post-stain image of a shape.

        0 where this image has no pixels; read window by window.
        """
        rows, columns = (-(-side >> number) for side in shape)
        row, column = (-(start >> number) for start in self.offset)
        return cropped(lazy(self.levels[number]), (row, column), (rows, columns))


@dataclass(frozen=True, slots=True, eq=False)
class CloseLook:
    """What a zoom box looks at: post, aligned pre and what is known of them.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the raw post-stain image.
    difference : PlacedImage, optional
        Without it, it is made from `scale` and `offset`; without a scale a provisional
        one is read from small levels.
    pixel_size : PixelSize, optional
        Of post: the pictures get a scale bar.
    """

    post: PlacedImage
    pre: PlacedImage
    shape: tuple[int, int]
    difference: PlacedImage | None = None
    scale: float | None = None
    offset: float = 0.0
    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    sample: str = ""
    dye: str = ""
    pixel_size: PixelSize | None = None


def level_scale(look: CloseLook) -> tuple[float, float]:
    """Return a scale and offset that are good enough for a picture.

    Stage 4 counts every pixel; this one counts those of a small level.
    """
    number = 0
    last = min(len(look.post.levels), len(look.pre.levels)) - 1
    while number < last and max(look.post.levels[number].shape) > _SCALE_SIDE:
        number += 1
    post, pre = (side.cut(look.shape, number) for side in (look.post, look.pre))
    scale, offset, _ = PlotContext().subtraction(post, pre)
    return scale, offset


def draw_close_look(
    look: CloseLook,
    row: int,
    column: int,
    size: int,
    blur: float = 0.0,
    *,
    monitor: Monitor | None = None,
) -> Figure:
    """Draw the zoom box: post, aligned pre and difference, side by side.

    Parameters
    ----------
    look : CloseLook
        The images.
    row, column, size, blur
        As in `plot_zoom`, px of the raw post-stain image.
    monitor : Monitor, optional
        Asked between the steps whether to stop.

    Returns
    -------
    Figure
        Its resolution is such that every pixel of the box has one of its own.

    Raises
    ------
    ParameterError
        When the box misses the image or is too large.
    RegistrationError
        When a scale is needed and the images cannot be compared.
    """
    monitor = monitor or Monitor()
    if not 1 <= size <= LARGEST_BOX:
        raise ParameterError(
            f"a zoom box has a side of 1 to {LARGEST_BOX} px, found {size}; choose a "
            "smaller one"
        )
    scale, offset = look.scale, look.offset
    if scale is None:
        scale, offset = level_scale(look)
    monitor.check()
    difference = look.difference
    figure = plot_zoom_multi(
        look.post.cut(look.shape),
        look.pre.cut(look.shape),
        row=row,
        column=column,
        size=size,
        blur=blur,
        difference=difference.cut(look.shape) if difference else None,
        scale=scale,
        offset=offset,
        verdicts=look.verdicts,
        pixel_size=look.pixel_size,
        sample=look.sample,
        dye=look.dye,
    )
    monitor.check()
    shown = [
        min(middle - size // 2 + size, side) - max(middle - size // 2, 0)
        for middle, side in zip((row, column), look.shape, strict=True)
    ]
    finer = max(side / most for side, most in zip(shown, _PANEL, strict=True))
    if finer > 1:
        figure.set_dpi(figure.dpi * finer)
    return figure


def figure_pixels(figure: Figure, most_columns: int | None = None) -> NDArray[np.uint8]:
    """Return a figure as a picture.

    Parameters
    ----------
    figure : Figure
        It keeps its resolution.
    most_columns : int, optional
        Draw it coarser where the picture would be wider than that.

    Returns
    -------
    ndarray, shape (rows, columns, 4), uint8
        Red, green, blue, alpha.
    """
    dpi, columns = figure.dpi, figure.bbox.width
    try:
        if most_columns is not None and columns > most_columns:
            figure.set_dpi(dpi * most_columns / columns)
        return style.rendered(figure)
    finally:
        figure.set_dpi(dpi)


def save_close_look(figure: Figure, path: str | Path, *, monitor: Monitor) -> Path:
    """Write the picture of a zoom box at the resolution that it has."""
    monitor.check()
    style.save_figure(figure, path)
    return Path(path)
