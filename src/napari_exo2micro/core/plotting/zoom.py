"""The zoom box: one place of post, aligned pre and difference, every pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.lazy import cropped, lazy
from napari_exo2micro.core.images.raster import Frame, ImageLike
from napari_exo2micro.core.parameters.verdict import Verdict
from napari_exo2micro.core.photometry.scale import ScaleEstimate
from napari_exo2micro.core.photometry.statistics import PairStatistics
from napari_exo2micro.core.plotting.inputs import (
    Picture,
    asinh_ticks,
    beyond_border,
    brightness_limits,
    chosen_scale,
    clip_frame,
    colour_difference,
    difference_norm,
    show_picture,
    take_picture,
)
from napari_exo2micro.core.plotting.style import (
    DIFFERENCE_COLOURS,
    SHORTEST_BAR,
    Sheet,
    add_message,
    bar_height,
    finish_figure,
    formula,
    label_axes,
    name_panel,
    number_axes,
    panel_size,
    plain_number,
    verdict_notes,
)

_LEFT, _RIGHT, _BOTTOM = 0.85, 1.35, 0.6
_MOST: Final = 4096
"""Longest side of a crop that is read at full resolution, px."""


def plot_zoom(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    show: Literal["difference", "post", "pre"] = "difference",
    row: int | None = None,
    column: int | None = None,
    size: int | tuple[int, int] = 500,
    blur: float = 0.0,
    difference: ImageLike | None = None,
    statistics: PairStatistics | None = None,
    scales: Sequence[ScaleEstimate] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw a crop of one image.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    show : {'difference', 'post', 'pre'}
        Which image.
    row, column : int, optional
        Middle of the crop, full-resolution px; that of the image when not given.
    size : int or tuple of int
        Side of the crop, or its rows and columns, px. A crop up to 4096 px is
        read at full resolution, a larger one is reduced.
    blur : float
        Sigma of a Gaussian blur, full-resolution px; 0 for none.
    difference : ImageLike, shape (rows, columns), optional
        The difference image, as stage 4 leaves it; subtracted here when not given.
    statistics : PairStatistics, optional
        Of the two images; accumulated when they are needed and not given.
    scales : sequence of ScaleEstimate, optional
        Estimates; the first one is used when `scale` is not given.
    scale, offset : float, optional
        The difference is ``post - offset - scale * pre``.
    verdicts : mapping, optional
        Stage to `Verdict`; what fell back or failed is said in red.
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the figure.

    Returns
    -------
    Figure
        One panel with a grey or colour bar.

    Raises
    ------
    ParameterError
        If `show`, `size` or `blur` is out of range or the crop misses the image.
    RegistrationError
        If a scale is needed and the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    if show not in ("difference", "post", "pre"):
        raise ParameterError(
            f"show must be 'difference', 'post' or 'pre', found {show!r}; choose one"
        )
    frame = _crop(post_im.shape, row, column, size)
    _check_blur(blur)
    if show == "difference":
        scale, offset, _ = chosen_scale(
            scale, offset, scales, post_im, pre_im, statistics
        )
        picture, valid = _difference(
            post_im, pre_im, difference, scale, offset, frame, blur
        )
        title = f"Difference: {formula(scale, offset)}"
    else:
        picture = _read(post_im if show == "post" else pre_im, frame, blur)
        valid = np.isfinite(picture.pixels)
        title = "Post-stain" if show == "post" else "Pre-stain, aligned"
    width, height = panel_size(picture.pixels.shape, 900, 800)
    sheet = Sheet(
        title,
        width=max(_LEFT + width + _RIGHT, 6.0),
        height=0.1 + max(height, SHORTEST_BAR) + _BOTTOM,
        sample=sample,
        dye=dye,
        notes=verdict_notes(verdicts),
        remark=_remark(picture, blur),
    )
    axes = sheet.axes(_LEFT, 0.1, width, height)
    if show == "difference":
        mapping = _draw_difference(axes, picture, valid)
    else:
        mapping = _draw_grey(axes, picture, brightness_limits(picture.pixels))
    _name_axes(axes)
    bar = sheet.axes(_LEFT + width + 0.18, 0.1, 0.18, bar_height(height))
    _draw_bar(sheet, bar, mapping)
    return finish_figure(sheet.figure, save_path)


def plot_zoom_multi(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    row: int | None = None,
    column: int | None = None,
    size: int | tuple[int, int] = 500,
    blur: float = 0.0,
    difference: ImageLike | None = None,
    statistics: PairStatistics | None = None,
    scales: Sequence[ScaleEstimate] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw the same crop of post, aligned pre and difference side by side.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    row, column : int, optional
        Middle of the crop, full-resolution px; that of the image when not given.
    size : int or tuple of int
        Side of the crop, or its rows and columns, px.
    blur : float
        Sigma of a Gaussian blur, full-resolution px; 0 for none.
    difference : ImageLike, shape (rows, columns), optional
        The difference image, as stage 4 leaves it; subtracted here when not given.
    statistics : PairStatistics, optional
        Of the two images; accumulated when they are needed and not given.
    scales : sequence of ScaleEstimate, optional
        Estimates; the first one is used when `scale` is not given.
    scale, offset : float, optional
        The difference is ``post - offset - scale * pre``.
    verdicts : mapping, optional
        Stage to `Verdict`; what fell back or failed is said in red.
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the figure.

    Returns
    -------
    Figure
        Post and pre share one grey scale, so that their brightness compares.

    Raises
    ------
    ParameterError
        If `size` or `blur` is out of range or the crop misses the image.
    RegistrationError
        If a scale is needed and the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    frame = _crop(post_im.shape, row, column, size)
    _check_blur(blur)
    scale, offset, _ = chosen_scale(scale, offset, scales, post_im, pre_im, statistics)
    post, pre = _read(post_im, frame, blur), _read(pre_im, frame, blur)
    picture, valid = _difference(
        post_im, pre_im, difference, scale, offset, frame, blur
    )
    width, height = panel_size(post.pixels.shape, 500, 560)
    top, gap = 0.42, 0.35
    pitch = max(width, 2.6) + gap
    second = _LEFT + 2 * pitch + 0.95
    sheet = Sheet(
        "The same place in each image",
        width=second + max(width, 2.6) + _RIGHT,
        height=top + max(height, SHORTEST_BAR) + _BOTTOM,
        sample=sample,
        dye=dye,
        notes=verdict_notes(verdicts),
        remark=_remark(post, blur),
    )
    limits = brightness_limits(np.concatenate([post.pixels, pre.pixels]))
    for i, (name, image) in enumerate((("Post-stain", post), ("Pre, aligned", pre))):
        axes = sheet.axes(_LEFT + i * pitch, top, width, height)
        grey = _draw_grey(axes, image, limits)
        name_panel(axes, name)
        _name_axes(axes, first=i == 0)
    bar = sheet.axes(_LEFT + pitch + width + 0.12, top, 0.14, bar_height(height))
    _draw_bar(sheet, bar, grey)
    axes = sheet.axes(second, top, width, height)
    mapping = _draw_difference(axes, picture, valid)
    name_panel(axes, formula(scale, offset))
    _name_axes(axes, first=False)
    bar = sheet.axes(second + width + 0.12, top, 0.14, bar_height(height))
    _draw_bar(sheet, bar, mapping)
    return finish_figure(sheet.figure, save_path)


def _crop(
    shape: Sequence[int],
    row: int | None,
    column: int | None,
    size: int | tuple[int, int],
) -> Frame:
    """Return the crop as a frame on the image, or say why there is none."""
    rows, columns = (size, size) if isinstance(size, int | np.integer) else size
    if min(rows, columns) < 1:
        raise ParameterError(
            f"size must be 1 px or more, found {size!r}; choose a larger crop"
        )
    row = shape[0] // 2 if row is None else row
    column = shape[1] // 2 if column is None else column
    y0, x0 = int(row) - int(rows) // 2, int(column) - int(columns) // 2
    y1, x1 = y0 + int(rows), x0 + int(columns)
    if y0 >= shape[0] or x0 >= shape[1] or y1 <= 0 or x1 <= 0:
        raise ParameterError(
            f"the crop must touch the image of {shape[0]} rows and {shape[1]} columns, "
            f"found its middle at row {row}, column {column}; choose a place inside"
        )
    x0, y0 = max(x0, 0), max(y0, 0)
    return clip_frame((x0, y0, x1 - x0, y1 - y0), shape)


def _check_blur(blur: float) -> None:
    if not (math.isfinite(blur) and 0 <= blur <= 1000):
        raise ParameterError(
            f"blur must be a sigma from 0 to 1000 px, found {blur!r}; choose one"
        )


def _read(image: ImageLike, frame: Frame, blur: float) -> Picture:
    """Return a crop, blurred with what lies around it."""
    if max(frame[2:]) > _MOST:
        picture = take_picture(image, frame, 1000)
        return picture.with_pixels(_blurred(picture.pixels, blur / picture.factor))
    margin = math.ceil(min(3 * blur, 512))
    x0, y0, width, height = frame
    left, top = max(x0 - margin, 0), max(y0 - margin, 0)
    window = image[top : y0 + height + margin, left : x0 + width + margin]
    pixels = _blurred(np.asarray(window, dtype=np.float32), blur)
    inner = pixels[y0 - top : y0 - top + height, x0 - left : x0 - left + width]
    return Picture(inner, 1, x0, y0)


def _blurred(pixels: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    if sigma <= 0:
        return pixels
    blurred = cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32)


def _difference(
    post_im: ImageLike,
    pre_im: ImageLike,
    difference: ImageLike | None,
    scale: float,
    offset: float,
    frame: Frame,
    blur: float,
) -> tuple[Picture, NDArray[np.bool_]]:
    """Return the difference of a crop and where there are data."""
    post, pre = _read(post_im, frame, 0.0), _read(pre_im, frame, 0.0)
    if difference is not None:
        picture = _read(difference, frame, blur)
        known = picture.pixels != 0
    else:
        values = post.pixels - np.float32(offset) - np.float32(scale) * pre.pixels
        sigma = blur / post.factor
        picture = post.with_pixels(_blurred(values, sigma))
        known = np.zeros(values.shape, bool)
    valid = known | ~(beyond_border(post.pixels) | beyond_border(pre.pixels))
    return picture, valid


def _draw_grey(
    axes: Axes, picture: Picture, limits: tuple[float, float]
) -> ScalarMappable:
    norm = Normalize(*limits, clip=True)
    mapping = ScalarMappable(norm, colormaps["gray"])
    values = np.nan_to_num(picture.pixels)
    show_picture(axes, picture, mapping.to_rgba(values, bytes=True))
    return mapping


def _draw_difference(
    axes: Axes, picture: Picture, valid: NDArray[np.bool_]
) -> ScalarMappable:
    norm = difference_norm(picture.pixels[valid])
    show_picture(axes, picture, colour_difference(picture.pixels, valid, norm))
    if not valid.any():
        add_message(axes, "No data here.")
    return ScalarMappable(norm, DIFFERENCE_COLOURS)


def _draw_bar(sheet: Sheet, axes: Axes, mapping: ScalarMappable) -> None:
    if isinstance(mapping.norm, AsinhNorm):
        words = "Difference (grey levels)"
        sheet.colour_bar(axes, mapping, words, ticks=asinh_ticks(mapping.norm))
    else:
        sheet.colour_bar(axes, mapping, "Grey level")


def _name_axes(axes: Axes, *, first: bool = True) -> None:
    label_axes(axes, "x (px)", "y (px)" if first else "")
    number_axes(axes)
    axes.tick_params(labelleft=first)


def _remark(picture: Picture, blur: float) -> str:
    words = []
    if picture.factor > 1:
        words.append(f"means of {picture.factor} × {picture.factor} px")
    if blur > 0:
        words.append(f"blurred by {plain_number(blur)} px")
    return ", ".join(words)


#: Longest side of a zoom box, px: all three panels at full resolution fit memory.
LARGEST_BOX: Final = 2000

#: Longest side of the level that a provisional scale is read from, px.
_SCALE_SIDE: Final = 2048

#: Panels of `plot_zoom_multi` are at most this large, px.
_PANEL: Final = (560, 500)


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
        """Return the part that lies on the raw post-stain image.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns of the raw post-stain image.
        number : int
            Which level; places are then whole pixels of that level.

        Returns
        -------
        ImageLike, shape `shape`, divided by 2**number
            0 where this image has no pixels; read window by window.
        """
        rows, columns = (-(-side >> number) for side in shape)
        row, column = (-(start >> number) for start in self.offset)
        return cropped(lazy(self.levels[number]), (row, column), (rows, columns))


@dataclass(frozen=True, slots=True, eq=False)
class CloseLook:
    """What a zoom box looks at.

    Attributes
    ----------
    post, pre : PlacedImage
        Post and aligned pre.
    shape : tuple of int
        Rows and columns of the raw post-stain image.
    difference : PlacedImage, optional
        Their difference; without it, it is made from `scale` and `offset`.
    scale, offset : float, optional
        ``difference = post - offset - scale * pre``; without a scale a provisional
        one is read from small levels.
    verdicts : mapping
        Of the stages; what fell back or failed is said in red.
    sample, dye : str
        For the title line.
    """

    post: PlacedImage
    pre: PlacedImage
    shape: tuple[int, int]
    difference: PlacedImage | None = None
    scale: float | None = None
    offset: float = 0.0
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    sample: str = ""
    dye: str = ""


def level_scale(look: CloseLook) -> tuple[float, float]:
    """Return a scale and offset that are good enough for a picture.

    Stage 4 counts every pixel; this one counts those of a small level.

    Raises
    ------
    RegistrationError
        When the two images cannot be compared.
    """
    # Slow to import, and seldom wanted here.
    from napari_exo2micro.core.photometry.methods import estimate_scale
    from napari_exo2micro.core.photometry.statistics import accumulate_statistics

    number = 0
    last = min(len(look.post.levels), len(look.pre.levels)) - 1
    while number < last and max(look.post.levels[number].shape) > _SCALE_SIDE:
        number += 1
    post, pre = (side.cut(look.shape, number) for side in (look.post, look.pre))
    found = estimate_scale(accumulate_statistics(post, pre))
    return found.scale, found.offset


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
    row, column : int
        Middle of the box, px of the raw post-stain image.
    size : int
        Side of the box, px, at most `LARGEST_BOX`.
    blur : float
        Sigma of a Gaussian blur, px.
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
    # A figure is slow to import, and not every session draws one.

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
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        canvas = FigureCanvasAgg(figure)
    dpi = figure.dpi
    columns = figure.get_figwidth() * dpi
    try:
        if most_columns is not None and columns > most_columns:
            figure.set_dpi(dpi * most_columns / columns)
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.array(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    finally:
        figure.set_dpi(dpi)
    return pixels


def save_close_look(figure: Figure, path: str | Path, *, monitor: Monitor) -> Path:
    """Write the picture of a zoom box at the resolution that it has.

    Raises
    ------
    OutputError
        When the format is unknown or the file cannot be written.
    """
    from napari_exo2micro.core.plotting.style import save_figure

    monitor.check()
    save_figure(figure, path)
    return Path(path)
