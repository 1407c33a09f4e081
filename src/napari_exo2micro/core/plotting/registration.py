"""How well the two images lie on each other, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.coverage import mapped_frame
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
    clip_frame,
    colour_difference,
    data_frame,
    difference_norm,
    match,
    overlay,
    picture_side,
    show_nothing,
    show_picture,
    take_picture,
    union,
    valid_pixels,
)
from napari_exo2micro.core.plotting.saving import finish_figure
from napari_exo2micro.core.plotting.style import DIFFERENCE_COLOURS, match_words
from napari_exo2micro.core.rasters import Frame, ImageLike
from napari_exo2micro.core.statistics import PairStatistics
from napari_exo2micro.core.transforms import Transform

__all__ = ["plot_registration"]

_SIDE: Final = 500
_NARROWEST: Final = 3.4
_LEFT, _GAP, _RIGHT, _TOP, _BOTTOM = 0.8, 0.35, 1.35, 0.6, 0.95
_BETWEEN, _LINE = 1.15, 0.2
_POST_LINE, _PRE_LINE = "#7dffb0", "#ff86e8"


def plot_registration(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    raw_pre: ImageLike | None = None,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    final_transform: Transform | None = None,
    post_contour: ArrayLike | None = None,
    pre_contour: ArrayLike | None = None,
    statistics: PairStatistics | None = None,
    scales: Sequence[ScaleEstimate] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    aligned_stage: int = 3,
    down_scale: float | None = None,
    narrow: bool = False,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw both images and their outlines before and after the alignment.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    raw_pre : ImageLike, shape (rows, columns), optional
        The pre-stain image before the warp, on its padded canvas.
    post_frame, pre_frame : tuple of int, optional
        (x0, y0, width, height) of the real data of `post_im` and `raw_pre`, px.
    final_transform : Transform, optional
        Post to pre, with which `pre_im` was made.
    post_contour, pre_contour : array_like, shape (N, 2), optional
        Points (x, y) on the outlines, each on its own canvas, px.
    statistics : PairStatistics, optional
        Of the two images; accumulated when they are needed and not given.
    scales : sequence of ScaleEstimate, optional
        Estimates; the first one is used when `scale` is not given.
    scale, offset : float, optional
        The difference is ``post - offset - scale * pre``.
    aligned_stage : int
        The stage that `pre_im` is of; named where it is not the last one.
    down_scale : float, optional
        Scale of the pictures; they are never finer than their panels.
    narrow : bool
        Panels under one another, for a narrow place.
    verdicts : mapping, optional
        Stage to `Verdict`; what fell back or failed is said in red.
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the figure.

    Returns
    -------
    Figure
        Pre magenta, post green, white where they agree; beside them the coarse
        difference. What was not given is said in its panel.

    Raises
    ------
    RegistrationError
        If a scale is needed and the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    scale, offset, _ = chosen_scale(scale, offset, scales, post_im, pre_im, statistics)
    frame = post_frame if post_frame is not None else data_frame(post_im)
    if pre_frame is not None:
        frame = union(frame, pre_frame)
    elif raw_pre is not None:
        frame = union(frame, data_frame(raw_pre))
    frame = clip_frame(frame, post_im.shape)
    side = picture_side(frame, down_scale, _SIDE)
    post = take_picture(post_im, frame, side)
    aligned = take_picture(pre_im, frame, side)
    quad = None
    if pre_frame is not None and final_transform is not None:
        quad = mapped_frame(final_transform, pre_frame)
    valid = valid_pixels(post, post_frame, quad)
    if post_frame is None or quad is None:
        valid &= (post.pixels != 0) & (aligned.pixels != 0)

    width, height = panel_size(post.pixels.shape, _SIDE, 560)
    pitch = max(width, _NARROWEST) + _GAP
    row = max(height, SHORTEST_BAR) + _BETWEEN
    across, down = (1, 3) if narrow else (3, 1)
    sheet = Sheet(
        "Alignment of the two images",
        width=_LEFT + across * pitch - _GAP + _RIGHT,
        height=_TOP + down * row - _BETWEEN + _BOTTOM + (_LINE if narrow else 0.0),
        sample=sample,
        dye=dye,
        notes=verdict_notes(verdicts),
    )
    places = [(i % across * pitch, i // across * row) for i in range(3)]
    panels = [sheet.axes(_LEFT + x, _TOP + y, width, height) for x, y in places]
    outlines = [_points(post_contour), _points(pre_contour)]
    _draw_before(panels[0], post, raw_pre, frame, side, outlines)
    moved = outlines[1]
    if moved is not None and final_transform is not None:
        moved = final_transform.inverse()(moved)
    elif final_transform is None:
        moved = None
    score = match(post.pixels, aligned.pixels, valid)
    after = "After" if aligned_stage >= 3 else "After the boundary alignment"
    _draw_pair(
        panels[1], post, aligned, after, [outlines[0], moved], match_words(score)
    )
    difference = post.pixels - np.float32(offset) - np.float32(scale) * aligned.pixels
    norm = difference_norm(difference[valid])
    show_picture(panels[2], post, colour_difference(difference, valid, norm))
    name_panel(panels[2], "Coarse difference", detail=_blocks(post))
    if not valid.any():
        add_message(panels[2], "Nowhere do both images have data.")
    for i, axes in enumerate(panels):
        outer = narrow or i == 0
        label_axes(axes, "x (px)", "y (px)" if outer else "")
        number_axes(axes)
        axes.set_xlim(*post.extent[:2])
        axes.set_ylim(*post.extent[2:])
        axes.tick_params(labelleft=outer)
    x, y = _LEFT + places[2][0], _TOP + places[2][1]
    sheet.colour_bar(
        sheet.axes(x + width + 0.15, y, 0.16, bar_height(height)),
        ScalarMappable(norm, DIFFERENCE_COLOURS),
        "Grey levels (white: no data)",
        ticks=asinh_ticks(norm),
    )
    colour_key(
        sheet, _LEFT, y + height + 0.6, lines=outlines[0] is not None, wrap=narrow
    )
    return finish_figure(sheet.figure, save_path)


def colour_key(
    sheet: Sheet, left: float, top: float, *, lines: bool = False, wrap: bool = False
) -> None:
    """Say what green, magenta and white mean."""
    words = "Green: post-stain.   Magenta: pre-stain.   White and grey: both alike."
    if lines:
        words += "\n" if wrap else "   "
        words += "Lines: the outlines that were found."
    sheet.text(left, top, words, color="#333333")


def _draw_before(
    axes: Axes,
    post: Picture,
    raw_pre: ImageLike | None,
    frame: Frame,
    side: int,
    outlines: Sequence[NDArray[np.float64] | None],
) -> None:
    if raw_pre is None:
        show_nothing(axes, post)
        name_panel(axes, "Before", detail="not drawn")
        add_message(axes, "The pre-stain image as photographed is not known.")
        return
    pre = take_picture(raw_pre, clip_frame(frame, raw_pre.shape), side)
    rows = min(pre.pixels.shape[0], post.pixels.shape[0])
    columns = min(pre.pixels.shape[1], post.pixels.shape[1])
    fitted = np.zeros_like(post.pixels)
    if pre.factor == post.factor:
        fitted[:rows, :columns] = pre.pixels[:rows, :columns]
    score = match(
        post.pixels, fitted, (post.pixels != 0) & (fitted != 0) & np.isfinite(fitted)
    )
    _draw_pair(
        axes, post, post.with_pixels(fitted), "Before", outlines, match_words(score)
    )


def _draw_pair(
    axes: Axes,
    post: Picture,
    pre: Picture,
    title: str,
    outlines: Sequence[NDArray[np.float64] | None],
    score: str,
) -> None:
    show_picture(axes, post, overlay(post.pixels, pre.pixels))
    for points, colour in zip(outlines, (_POST_LINE, _PRE_LINE), strict=True):
        if points is not None:
            axes.plot(
                *points.T,
                linestyle="none",
                marker="o",
                markersize=1.3,
                markeredgecolor="none",
                color=colour,
            )
    apart = _distance(*outlines)
    words = [score] if score else []
    if apart is not None:
        words.append(f"outlines {apart:.3g} px apart")
    name_panel(axes, title, detail=", ".join(words))


def _points(contour: ArrayLike | None) -> NDArray[np.float64] | None:
    """Return a contour as an array, None when there is none."""
    if contour is None:
        return None
    points = np.asarray(contour, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        return None
    return points[:: max(1, len(points) // 2000)]


def _distance(
    post: NDArray[np.float64] | None, pre: NDArray[np.float64] | None
) -> float | None:
    """Return the median distance of an outline's points from the other one, px."""
    if post is None or pre is None:
        return None
    distance, _ = KDTree(post).query(pre)
    return float(np.median(distance))


def _blocks(picture: Picture) -> str:
    if picture.factor == 1:
        return "full resolution"
    return f"means of {picture.factor} × {picture.factor} px"
