"""A closer look: a crop of the images at full resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.photometry import ScaleEstimate
from napari_exo2micro.core.plotting.figures import (
    Sheet,
    add_message,
    label_axes,
    name_panel,
    number_axes,
)
from napari_exo2micro.core.plotting.inputs import chosen_scale
from napari_exo2micro.core.plotting.layout import SHORTEST_BAR, bar_height, panel_size
from napari_exo2micro.core.plotting.notes import verdict_notes
from napari_exo2micro.core.plotting.pictures import (
    Picture,
    asinh_ticks,
    beyond_border,
    brightness_limits,
    clip_frame,
    colour_difference,
    difference_norm,
    show_picture,
    take_picture,
)
from napari_exo2micro.core.plotting.saving import finish_figure
from napari_exo2micro.core.plotting.style import (
    DIFFERENCE_COLOURS,
    formula,
    plain_number,
)
from napari_exo2micro.core.rasters import Frame, ImageLike
from napari_exo2micro.core.statistics import PairStatistics

__all__ = ["plot_zoom", "plot_zoom_multi"]

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
