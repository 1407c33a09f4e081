"""Pictures of the alignment and of the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from napari_exo2micro.core.images.raster import Frame, ImageLike
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import mapped_frame, warp_window
from napari_exo2micro.core.parameters.verdict import Verdict
from napari_exo2micro.core.photometry.scale import ScaleEstimate
from napari_exo2micro.core.photometry.statistics import PairStatistics
from napari_exo2micro.core.plotting.inputs import (
    Picture,
    asinh_ticks,
    beyond_border,
    chosen_scale,
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
    warp_picture,
)
from napari_exo2micro.core.plotting.style import (
    DIFFERENCE_COLOURS,
    DPI,
    SHORTEST_BAR,
    Sheet,
    add_message,
    bar_height,
    finish_figure,
    formula,
    label_axes,
    match_words,
    method_words,
    name_panel,
    number_axes,
    panel_size,
    plain_number,
    scale_notes,
    verdict_notes,
)

_LEFT, _RIGHT, _BOTTOM = 0.85, 1.35, 0.6
_SIDE, _NARROW_SIDE = 960, 520
_LEAST_WIDTH, _NARROW_LEAST_WIDTH = 7.4, 5.6


def plot_difference_image(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    difference: ImageLike | None = None,
    statistics: PairStatistics | None = None,
    scales: Sequence[ScaleEstimate] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    final_transform: Transform | None = None,
    narrow: bool = False,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw the difference: what is brighter than the minerals explain.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    difference : ImageLike, shape (rows, columns), optional
        ``post - offset - scale * pre``, grey levels; made when not given.
    statistics : PairStatistics, optional
        Of this pair; used for the scale when that is not given.
    scales : sequence of ScaleEstimate, optional
        The first one is used when `scale` is not given.
    scale, offset : float, optional
        As in `difference`.
    post_frame, pre_frame : tuple of int, optional
        (x0, y0, width, height) of the real data of post and of the original pre,
        px. Without them, zeros that reach the edge count as no data.
    final_transform : Transform, optional
        Post to pre, with which `pre_im` was made.
    narrow : bool
        Smaller panels with the legend below, for a narrow place.
    verdicts : mapping, optional
        Stage to `Verdict`; what fell back or failed is said in red.
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the figure.

    Returns
    -------
    Figure
        Means over blocks, asinh stretch, diverging colours with black at zero and
        white where there are no data.

    Raises
    ------
    RegistrationError
        If a scale is needed and the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    scale, offset, estimate = chosen_scale(
        scale, offset, scales, post_im, pre_im, statistics
    )
    frame = data_frame(post_im) if post_frame is None else post_frame
    frame = clip_frame(frame, post_im.shape)
    quad = None
    if pre_frame is not None and final_transform is not None:
        quad = mapped_frame(final_transform, pre_frame)
    known = post_frame is not None and quad is not None
    side = _NARROW_SIDE if narrow else _SIDE
    if difference is None or not known:
        post = take_picture(post_im, frame, side)
        pre = take_picture(pre_im, frame, side)
    if difference is not None:
        picture = take_picture(difference, frame, side)
    else:
        picture = post.with_pixels(post.pixels - offset - scale * pre.pixels)
    valid = valid_pixels(picture, post_frame, quad)
    if not known:
        valid &= ~(beyond_border(post.pixels) | beyond_border(pre.pixels))

    notes = verdict_notes(verdicts)
    notes += scale_notes([estimate] if estimate else [], verdicts)
    width, height = panel_size(picture.pixels.shape, side, 840)
    block = f"one picture pixel = mean of {picture.factor} × {picture.factor} px"
    remark = block if picture.factor > 1 else ""
    if estimate is not None:
        words = method_words(estimate.method, estimate.percentile)
        remark = f"scale: {words}   {remark}"
    sheet = Sheet(
        f"Difference: {formula(scale, offset)}",
        width=max(
            _LEFT + width + _RIGHT, _NARROW_LEAST_WIDTH if narrow else _LEAST_WIDTH
        ),
        height=0.1 + max(height, SHORTEST_BAR) + _BOTTOM,
        sample=sample,
        dye=dye,
        notes=notes,
        remark=remark,
    )
    axes = sheet.axes(_LEFT, 0.1, width, height)
    label_axes(axes, "x (px)", "y (px)")
    number_axes(axes)
    norm = difference_norm(picture.pixels[valid])
    show_picture(axes, picture, colour_difference(picture.pixels, valid, norm))
    if not np.any(valid & np.isfinite(picture.pixels)):
        add_message(axes, "Nowhere do both images have data.")
    sheet.colour_bar(
        sheet.axes(_LEFT + width + 0.18, 0.1, 0.18, bar_height(height)),
        ScalarMappable(norm, DIFFERENCE_COLOURS),
        "Grey levels (white: no data)",
        ticks=asinh_ticks(norm),
    )
    return finish_figure(sheet.figure, save_path)


_STEP_SIDE: Final = 440
_DETAIL: Final = 220
_STEP_NARROWEST: Final = 3.2
_STEP_LEFT, _STEP_GAP, _STEP_RIGHT, _STEP_TOP, _MIDDLE, _STEP_BOTTOM = (
    0.8,
    0.35,
    0.25,
    0.6,
    1.42,
    0.95,
)
_BESIDE, _STEP_BETWEEN, _WORDS = 0.75, 1.15, 0.5


def plot_fine_alignment(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    raw_pre: ImageLike | None = None,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    coarse_transform: Transform | None = None,
    icp_transform: Transform | None = None,
    tiles: Any = None,
    aligned_stage: int = 3,
    down_scale: float | None = None,
    narrow: bool = False,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw both images after the coarse, the boundary and the interior alignment.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    raw_pre : ImageLike, shape (rows, columns), optional
        The pre-stain image before the warp, on its padded canvas.
    post_frame, pre_frame : tuple of int, optional
        (x0, y0, width, height) of the real data of `post_im` and `raw_pre`, px.
    coarse_transform, icp_transform : Transform, optional
        Post to pre, after the coarse search and after ICP.
    tiles : mapping or object, optional
        With `x`, `y` (places on the canvas, px), `dx`, `dy` (what the alignment
        leaves there, px) and `used` (whether a tile agrees with the fit), each of
        shape (N,): drawn as arrows.
    aligned_stage : int
        The stage that `pre_im` is of; with 2, the interior has not been aligned.
    down_scale : float, optional
        Scale of the pictures; they are never finer than their panels.
    narrow : bool
        The steps under one another, for a narrow place.
    verdicts : mapping, optional
        Stage to `Verdict`; what fell back or failed is said in red.
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the figure.

    Returns
    -------
    Figure
        Pre magenta, post green, white where they agree; below, the place with the
        strongest texture at full resolution. A step whose transform was not given
        is named in its panel.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    frame = post_frame if post_frame is not None else data_frame(post_im)
    frame = clip_frame(frame, post_im.shape)
    side = picture_side(frame, down_scale, _STEP_SIDE)
    post = take_picture(post_im, frame, side)
    final = take_picture(pre_im, frame, side)
    original = None
    if raw_pre is not None:
        region = pre_frame if pre_frame is not None else data_frame(raw_pre)
        original = take_picture(raw_pre, clip_frame(region, raw_pre.shape), side)
    detail = _detail_frame(final, post, post_im.shape)
    close = take_picture(post_im, detail, max(detail[2:]))

    steps = []
    for name, transform in (
        ("1  Coarse search", coarse_transform),
        ("2  Boundary (ICP)", icp_transform),
    ):
        if raw_pre is None or original is None:
            reason = "The pre-stain image as photographed is not known."
            steps.append(_Step(name, None, None, reason))
        elif transform is None:
            reason = "The transform of this step is not known."
            steps.append(_Step(name, None, None, reason))
        else:
            whole = warp_picture(original, transform, post)
            steps.append(_Step(name, whole, _warp_close(raw_pre, transform, close)))
    if aligned_stage >= 3:
        last = take_picture(pre_im, detail, max(detail[2:]))
        steps.append(_Step("3  Interior", final, last))
    else:
        reason = "Stage 3 has no result yet; run it to see the last step."
        steps.append(_Step("3  Interior", None, None, reason))

    width, height = panel_size(post.pixels.shape, _STEP_SIDE, 480)
    pitch = max(width, _STEP_NARROWEST) + _STEP_GAP
    detail_width = max(width, 2.4)
    detail_height = detail_width * close.pixels.shape[0] / close.pixels.shape[1]
    row = max(height, detail_height) + _STEP_BETWEEN
    if narrow:
        places = [(0.0, i * row) for i in range(3)]
        beside, under = width + _BESIDE, 0.0
        size = (
            _STEP_LEFT + beside + detail_width,
            _STEP_TOP + 3 * row - _STEP_BETWEEN + _WORDS,
        )
    else:
        places = [(i * pitch, 0.0) for i in range(3)]
        beside, under = 0.0, height + _MIDDLE
        size = _STEP_LEFT + 3 * pitch - _STEP_GAP, _STEP_TOP + under + detail_height
    sheet = Sheet(
        "Alignment step by step",
        width=size[0] + _STEP_RIGHT,
        height=size[1] + _STEP_BOTTOM,
        sample=sample,
        dye=dye,
        notes=verdict_notes(verdicts),
    )
    for i, step in enumerate(steps):
        left, top = _STEP_LEFT + places[i][0], _STEP_TOP + places[i][1]
        upper = sheet.axes(left, top, width, height)
        lower = sheet.axes(left + beside, top + under, detail_width, detail_height)
        _draw(upper, post, step.whole, step.name, step.missing)
        _draw(lower, close, step.detail, "Detail", step.missing)
        if step.whole is not None:
            box = (detail[0] - 0.5, detail[1] - 0.5)
            upper.add_patch(
                Rectangle(box, detail[2], detail[3], fill=False, ec="#ffe14d", lw=1.2)
            )
        for axes in (upper, lower):
            named = axes is upper if narrow else i == 0
            label_axes(axes, "x (px)", "y (px)" if named else "")
            number_axes(axes)
            axes.tick_params(labelleft=narrow or i == 0)
        if i == 2 and step.whole is not None:
            words = _draw_tiles(upper, tiles, width * DPI)
            sheet.text(
                left, top + height + 0.45, words, color="#555555", linespacing=1.15
            )
    colour_key(sheet, _STEP_LEFT, size[1] + (0.35 if narrow else 0.6))
    return finish_figure(sheet.figure, save_path)


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """One step of the alignment: the warped pre, as a whole and in detail."""

    name: str
    whole: Picture | None
    detail: Picture | None
    missing: str = ""


def _draw(
    axes: Axes, post: Picture, pre: Picture | None, name: str, missing: str
) -> None:
    if pre is None:
        show_nothing(axes, post)
        add_message(axes, missing)
        name_panel(axes, name, detail="not drawn")
        return
    show_picture(axes, post, overlay(post.pixels, pre.pixels))
    both = (post.pixels != 0) & (pre.pixels != 0)
    score = match(post.pixels, pre.pixels, both)
    name_panel(axes, name, detail=match_words(score))


def _detail_frame(pre: Picture, post: Picture, shape: tuple[int, ...]) -> Frame:
    """Return the place where the minerals have the strongest texture."""
    known = (post.pixels != 0) & (pre.pixels != 0)
    pixels = np.sqrt(np.maximum(np.nan_to_num(pre.pixels), 0.0))
    change = cv2.GaussianBlur(pixels, (0, 0), 1.0) - cv2.GaussianBlur(
        pixels, (0, 0), 4.0
    )
    side = max(3, _DETAIL // pre.factor) | 1
    # Not at the rim, where the step to nothing would win.
    inside = cv2.erode(
        known.astype(np.uint8),
        np.ones((side, side), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    if not inside.any():
        inside = known.astype(np.uint8)
    energy = cv2.boxFilter(np.minimum(change**2, 9 * np.var(change)), -1, (side, side))
    row, column = np.unravel_index(int(np.argmax(energy * inside)), energy.shape)
    x, y = pre.to_full([[column, row]])[0]
    width, height = min(_DETAIL, shape[1]), min(_DETAIL, shape[0])
    x0 = min(max(int(x) - width // 2, 0), shape[1] - width)
    y0 = min(max(int(y) - height // 2, 0), shape[0] - height)
    return x0, y0, width, height


def _warp_close(raw_pre: ImageLike, transform: Transform, close: Picture) -> Picture:
    """Return the detail of the warped pre at full resolution."""
    rows, columns = close.pixels.shape
    window = warp_window(
        raw_pre,
        transform,
        close.y0,
        close.y0 + rows,
        close.x0,
        close.x0 + columns,
        "cubic",
    )
    return close.with_pixels(np.asarray(window, dtype=np.float32))


def _draw_tiles(axes: Axes, tiles: Any, panel: float) -> str:
    """Draw what the alignment leaves at each tile; return words for below."""
    columns = {name: _column(tiles, name) for name in ("x", "y", "dx", "dy")}
    if any(values is None or not len(values) for values in columns.values()):
        return "No tiles were measured."
    table = np.stack([np.asarray(columns[name]) for name in ("x", "y", "dx", "dy")])
    used = _column(tiles, "used")
    keep = np.isfinite(table).all(axis=0)
    if used is not None:
        keep &= used > 0
    x, y, dx, dy = table[:, keep]
    if not len(x):
        return "No tile agrees with the fit."
    left = np.hypot(dx, dy)
    low, high = sorted(axes.get_xlim())
    # The longer arrows get a twelfth of the panel, in round enlargement.
    most = max(float(np.quantile(left, 0.95)), 1e-6)
    enlarged = 10.0 ** np.floor(np.log10((high - low) / 12 / most))
    enlarged *= next(f for f in (5, 2, 1) if f * enlarged * most <= (high - low) / 12)
    axes.quiver(
        x,
        y,
        dx * enlarged,
        dy * enlarged,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        color="#ffe14d",
        width=1.3 / panel,
        headwidth=4,
        headlength=4,
        headaxislength=3.5,
    )
    return (
        f"Arrows: what {len(x)} tiles still miss,\n"
        f"enlarged {plain_number(enlarged)} times\n"
        f"(median {np.median(left):.2g} px, 95 % below {most:.2g} px)"
    )


def _column(tiles: Any, name: str) -> NDArray[np.float64] | None:
    values = tiles.get(name) if isinstance(tiles, Mapping) else None
    if values is None and tiles is not None:
        values = getattr(tiles, name, None)
    return None if values is None else np.asarray(values, dtype=np.float64)


_ROW_SIDE: Final = 500
_ROW_NARROWEST: Final = 3.4
_ROW_LEFT, _ROW_GAP, _ROW_RIGHT, _ROW_TOP, _ROW_BOTTOM = 0.8, 0.35, 1.35, 0.6, 0.95
_PANEL_GAP, _LINE = 1.15, 0.2
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
    side = picture_side(frame, down_scale, _ROW_SIDE)
    post = take_picture(post_im, frame, side)
    aligned = take_picture(pre_im, frame, side)
    quad = None
    if pre_frame is not None and final_transform is not None:
        quad = mapped_frame(final_transform, pre_frame)
    valid = valid_pixels(post, post_frame, quad)
    if post_frame is None or quad is None:
        valid &= (post.pixels != 0) & (aligned.pixels != 0)

    width, height = panel_size(post.pixels.shape, _ROW_SIDE, 560)
    pitch = max(width, _ROW_NARROWEST) + _ROW_GAP
    row = max(height, SHORTEST_BAR) + _PANEL_GAP
    across, down = (1, 3) if narrow else (3, 1)
    sheet = Sheet(
        "Alignment of the two images",
        width=_ROW_LEFT + across * pitch - _ROW_GAP + _ROW_RIGHT,
        height=_ROW_TOP
        + down * row
        - _PANEL_GAP
        + _ROW_BOTTOM
        + (_LINE if narrow else 0.0),
        sample=sample,
        dye=dye,
        notes=verdict_notes(verdicts),
    )
    places = [(i % across * pitch, i // across * row) for i in range(3)]
    panels = [sheet.axes(_ROW_LEFT + x, _ROW_TOP + y, width, height) for x, y in places]
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
    x, y = _ROW_LEFT + places[2][0], _ROW_TOP + places[2][1]
    sheet.colour_bar(
        sheet.axes(x + width + 0.15, y, 0.16, bar_height(height)),
        ScalarMappable(norm, DIFFERENCE_COLOURS),
        "Grey levels (white: no data)",
        ticks=asinh_ticks(norm),
    )
    colour_key(
        sheet, _ROW_LEFT, y + height + 0.6, lines=outlines[0] is not None, wrap=narrow
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
