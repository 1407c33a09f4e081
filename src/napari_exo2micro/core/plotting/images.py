"""Pictures of the alignment and of the difference."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from napari_exo2micro.core.images import Frame, ImageLike, Transform, warp_window
from napari_exo2micro.core.parameters.state import length_words
from napari_exo2micro.core.photometry.methods import MODEL_SCALE
from napari_exo2micro.core.plotting import pictures, style
from napari_exo2micro.core.plotting.context import PlotContext, plot

_DETAIL: Final = 220
"""Side of the detail at full resolution, px."""

_POST_LINE, _PRE_LINE = "#7dffb0", "#ff86e8"
_ARROW: Final = "#ffe14d"

# Margins of the panels of an alignment and the gaps between them, inches.
_LEFT, _TOP, _BOTTOM = 0.8, 0.6, 0.95
_GAP_ACROSS, _GAP_DOWN = 0.35, 1.15

_LEVELS: Final = "Grey levels (white: no data)"
_COLOURS: Final = (
    "Green: post-stain.   Magenta: pre-stain.   White and grey: both alike."
)
_NO_RAW_PRE: Final = "The pre-stain image as photographed is not known."


@plot
def plot_difference_image(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw the difference: what is brighter than the minerals explain.

    Drawn from `difference`, or else from `scale` and `offset`, or else from the
    first of `scales`. Without the frames and `final_transform`, zeros that reach
    the edge count as no data. Means over blocks, asinh stretch, diverging colours with
    black at zero and white where there are no data.
    """
    scale, offset, estimate = context.subtraction(post_im, pre_im)
    frame = _post_frame(post_im, context)
    most, least_width = (520, 5.6) if context.narrow else (960, 7.4)
    is_placed = context.post_frame is not None and context.pre_quad is not None
    if context.difference is None or not is_placed:
        post = pictures.take_picture(post_im, frame, most)
        pre = pictures.take_picture(pre_im, frame, most)
    if context.difference is not None:
        picture = pictures.take_picture(context.difference, frame, most)
    else:
        picture = pictures.subtracted(post, pre, scale, offset)
    valid = pictures.valid_pixels(picture, context.post_frame, context.pre_quad)
    valid &= pictures.known_pixels(picture, context.post_missing, context.pre_missing)
    if not is_placed:
        valid &= pictures.inside_border(post, pre)
    size, remark = picture.factor, ""
    if size > 1:
        remark = f"one picture pixel = mean of {size} × {size} px"
    title = style.formula(scale, offset)
    if estimate is not None and estimate.method == MODEL_SCALE:
        title = "post − background model"
    if estimate is not None:
        remark = f"scale: {style.method_words(estimate)}   {remark}"
    sheet, panels = pictures.picture_sheet(
        f"Difference: {title}",
        picture.pixels.shape,
        (most, 840),
        least_width,
        names=names,
        notes=context.notes(estimate),
        remark=remark,
    )
    pictures.show_difference(sheet, panels, picture, valid, _LEVELS)
    return sheet.figure


@plot
def plot_registration(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw both images and their outlines before and after the alignment.

    Drawn from `raw_pre`, the frames, contours and `final_transform`, and from
    `scale` and `offset` or the first of `scales`. Pre magenta, post green, white where
    they agree; beside them the coarse difference. What was not given is said in its
    panel.
    """
    scale, offset, _ = context.subtraction(post_im, pre_im)
    frame = _post_frame(post_im, context)
    if context.pre_frame is not None:
        frame = pictures.union(frame, context.pre_frame)
    elif context.raw_pre is not None:
        frame = pictures.union(frame, pictures.data_frame(context.raw_pre))
    frame = pictures.clip_frame(frame, post_im.shape)
    side = pictures.picture_side(frame, context.down_scale, 500)
    post, aligned = (
        pictures.take_picture(image, frame, side) for image in (post_im, pre_im)
    )
    valid = pictures.valid_pixels(post, context.post_frame, context.pre_quad)
    valid &= pictures.known_pixels(post, context.post_missing, context.pre_missing)
    if context.post_frame is None or context.pre_quad is None:
        valid &= (post.pixels != 0) & (aligned.pixels != 0)

    width, height = style.panel_size(post.pixels.shape, 500, 560)
    pitch = max(width, 3.4) + _GAP_ACROSS
    row = max(height, style.SHORTEST_BAR) + _GAP_DOWN
    across, down = (1, 3) if context.narrow else (3, 1)
    sheet = style.Sheet(
        "Alignment of the two images",
        width=_LEFT + across * pitch - _GAP_ACROSS + 1.35,
        height=_TOP + down * row - _GAP_DOWN + _BOTTOM + 0.2 * context.narrow,
        names=names,
        notes=context.notes(),
    )
    places = [(_LEFT + i % across * pitch, _TOP + i // across * row) for i in range(3)]
    panels = [sheet.axes(x, y, width, height) for x, y in places]
    x, y = places[2]
    bar = sheet.axes(x + width + 0.15, y, 0.16, style.bar_height(height))

    outlines = _points(context.post_contour), _points(context.pre_contour)
    if context.raw_pre is None:
        pictures.show_nothing(panels[0], post, "Before", _NO_RAW_PRE)
    else:
        before = pictures.take_picture(context.raw_pre, frame, side)
        before = pictures.warp_picture(before, Transform.identity(), post)
        both = (post.pixels != 0) & (before.pixels != 0)
        _show_overlay(panels[0], "Before", post, before, both, *outlines)
    moved = None
    if outlines[1] is not None and context.final_transform is not None:
        moved = context.final_transform.inverse()(outlines[1])
    is_last = context.aligned_stage >= 3
    after = "After" if is_last else "After the boundary alignment"
    _show_overlay(panels[1], after, post, aligned, valid, outlines[0], moved)
    difference = pictures.subtracted(post, aligned, scale, offset)
    pictures.show_difference(sheet, (panels[2], bar), difference, valid, _LEVELS)
    detail = pictures.block_words(post) or "full resolution"
    style.name_panel(panels[2], "Coarse difference", detail=detail)
    for axes in panels:
        is_outer = context.narrow or axes is panels[0]
        pictures.number_pixels(axes, named=is_outer, numbered=is_outer)
        axes.set(xlim=post.extent[:2], ylim=post.extent[2:])
    words = _COLOURS
    if outlines[0] is not None:
        words += "\n" if context.narrow else "   "
        words += "Lines: the outlines that were found."
    sheet.text(_LEFT, y + height + 0.6, words, color="#333333")
    return sheet.figure


@plot
def plot_fine_alignment(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw both images after the coarse, the boundary and the interior alignment.

    Drawn from `raw_pre`, the frames, `coarse_transform`, `icp_transform` and
    `tiles`, whose residuals are arrows. Pre magenta, post green, white where they
    agree; below, the place with the strongest texture at full resolution. A step whose
    transform was not given is named in its panel.
    """
    frame = _post_frame(post_im, context)
    side = pictures.picture_side(frame, context.down_scale, 440)
    post, final = (
        pictures.take_picture(image, frame, side) for image in (post_im, pre_im)
    )
    detail = _detail_frame(final, post, post_im.shape)
    close = pictures.take_picture(post_im, detail, max(detail[2:]))
    reason = "Stage 3 has no result yet; run it to see the last step."
    last: _Step = reason
    if context.aligned_stage >= 3:
        last = final, pictures.take_picture(pre_im, detail, max(detail[2:]))
    first = _boundary_steps(context, side, post, close)
    steps = dict(zip(_STEPS, (*first, last), strict=True))

    width, height = style.panel_size(post.pixels.shape, 440, 480)
    pitch = max(width, 3.2) + _GAP_ACROSS
    detail_width = max(width, 2.4)
    detail_height = detail_width * close.pixels.shape[0] / close.pixels.shape[1]
    # From the corner of a whole picture to that of its detail.
    if context.narrow:
        row = max(height, detail_height) + _GAP_DOWN
        places = [(_LEFT, _TOP + i * row) for i in range(3)]
        beside, under = width + 0.75, 0.0
        inner = beside + detail_width, 3 * row - _GAP_DOWN + 0.5
    else:
        places = [(_LEFT + i * pitch, _TOP) for i in range(3)]
        beside, under = 0.0, height + 1.42
        inner = 3 * pitch - _GAP_ACROSS, under + detail_height
    sheet = style.Sheet(
        "Alignment step by step",
        width=_LEFT + inner[0] + 0.25,
        height=_TOP + inner[1] + _BOTTOM,
        names=names,
        notes=context.notes(),
    )
    for (left, top), (name, step) in zip(places, steps.items(), strict=True):
        is_outer = context.narrow or name == _STEPS[0]
        upper = sheet.axes(left, top, width, height)
        lower = sheet.axes(left + beside, top + under, detail_width, detail_height)
        for i, (axes, title, fixed) in enumerate(
            ((upper, name, post), (lower, "Detail", close))
        ):
            if isinstance(step, str):
                pictures.show_nothing(axes, fixed, title, step)
            else:
                both = (fixed.pixels != 0) & (step[i].pixels != 0)
                _show_overlay(axes, title, fixed, step[i], both)
            named = axes is upper if context.narrow else is_outer
            pictures.number_pixels(axes, named=named, numbered=is_outer)
        if isinstance(step, str):
            continue
        x, y, *size = detail
        box = Rectangle((x - 0.5, y - 0.5), *size, fill=False, ec=_ARROW, lw=1.2)
        upper.add_patch(box)
        if step is last:
            words = _draw_tiles(upper, context.tiles, width * style.DPI)
            look: dict[str, Any] = {"color": "#555555", "linespacing": 1.15}
            sheet.text(left, top + height + 0.45, words, **look)
    below = _TOP + inner[1] + (0.35 if context.narrow else 0.6)
    sheet.text(_LEFT, below, _COLOURS, color="#333333")
    return sheet.figure


@plot
def plot_error_map(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw the error that stage 3 expects at each place, over the post-stain image.

    Drawn from `error_map`, in px and, with `pixel_size`, in um. Logarithmic colours
    over a hundredfold range, up to 0.1 px or more; white where pre has no data.
    """
    frame, error = _post_frame(post_im, context), context.error_map
    most, least_width = (520, 5.6) if context.narrow else (960, 7.4)
    post = pictures.take_picture(post_im, frame, most)
    valid = pictures.valid_pixels(post, context.post_frame, context.pre_quad)
    valid &= pictures.known_pixels(post, context.post_missing, context.pre_missing)
    if context.post_frame is None or context.pre_quad is None:
        pre = pictures.take_picture(pre_im, frame, most)
        valid &= (post.pixels != 0) & (pre.pixels != 0)
    expected: NDArray[np.float64] = np.ones(post.pixels.shape)
    known = expected
    remark = "not known"
    if error is not None:
        rows, columns = np.indices(post.pixels.shape)
        places = post.to_full(np.column_stack([columns.ravel(), rows.ravel()]))
        expected = error(places).reshape(post.pixels.shape)
        known = expected[valid] if valid.any() else expected
        sides = context.pixel_size
        step = None if sides is None else (sides[0] + sides[1]) / 2
        half, most_of_it = (
            length_words(px, None if step is None else px * step)
            for px in (float(np.median(known)), float(np.percentile(known, 95)))
        )
        remark = f"median {half}, 95 % below {most_of_it}"
    sheet, (axes, bar) = pictures.picture_sheet(
        "Expected error of the alignment",
        post.pixels.shape,
        (most, 840),
        least_width,
        names=names,
        notes=context.notes(),
        remark=remark,
    )
    # What hides no microbe stays dark.
    high = max(float(np.percentile(known, 99.5)), 0.1)
    norm = LogNorm(high / 100, high, clip=True)
    colours = style.ERROR_COLOURS(norm(expected))[..., :3]
    light = pictures.stretch(post.pixels, pictures.drawn_limits(post.pixels)) / 255
    shown = np.where(valid[..., None], colours * (0.4 + 0.6 * light[..., None]), 1.0)
    if error is None:
        shown[:] = 1.0
        style.add_message(
            axes,
            "The error is not known: nothing vouches for the alignment, or an older "
            "version made it.",
        )
    pictures.show_picture(axes, post, shown)
    mapping = ScalarMappable(norm, style.ERROR_COLOURS)
    steps = np.outer(10.0 ** np.arange(-3, 3), (1, 2, 5)).ravel()
    ticks = steps[(steps >= high / 100) & (steps <= high)].tolist()
    sheet.colour_bar(bar, mapping, "Expected error (px)", ticks=ticks)
    return sheet.figure


def _post_frame(post_im: ImageLike, context: PlotContext) -> Frame:
    """Return where post has data, as far as it is known or can be seen."""
    frame = context.post_frame or pictures.data_frame(post_im)
    return pictures.clip_frame(frame, post_im.shape)


def _show_overlay(
    axes: Axes,
    title: str,
    post: pictures.Picture,
    pre: pictures.Picture,
    both: NDArray[np.bool_],
    *outlines: NDArray[np.float64] | None,
) -> None:
    """Draw pre on post, and their outlines; say how alike they are."""
    pictures.show_picture(axes, post, pictures.overlay(post.pixels, pre.pixels))
    score = pictures.correlation(post.pixels, pre.pixels, both)
    words = "no overlap to compare"
    if score is not None:
        words = f"match {score:.3f} (1 = alike)".replace("-", "\u2212")
    known = [points for points in outlines if points is not None]
    for points, colour in zip(outlines, (_POST_LINE, _PRE_LINE), strict=False):
        if points is not None:
            look: dict[str, Any] = {"markersize": 1.3, "markeredgecolor": "none"}
            axes.plot(*points.T, linestyle="none", marker="o", color=colour, **look)
    if len(known) == 2:
        # How far the points of one lie from the other, px.
        distance, _ = KDTree(known[0]).query(known[1])
        words += f", outlines {float(np.median(distance)):.3g} px apart"
    style.name_panel(axes, title, detail=words)


def _points(contour: ArrayLike | None) -> NDArray[np.float64] | None:
    """Return at most about 2000 points of a contour, None when there is none."""
    points = np.empty((0, 2)) if contour is None else np.asarray(contour, np.float64)
    return points[:: max(1, len(points) // 2000)] if len(points) else None


# Step by step ------------------------------------------------------------------------

_STEPS: Final = ("1  Coarse search", "2  Boundary (ICP)", "3  Interior")

_Step = tuple[pictures.Picture, pictures.Picture] | str
"""The warped pre after a step, as a whole and in detail; or what is missing."""


def _boundary_steps(
    context: PlotContext, side: int, post: pictures.Picture, close: pictures.Picture
) -> Iterator[_Step]:
    """Yield the two steps of stage 2, as far as they are known."""
    raw_pre = context.raw_pre
    if raw_pre is None:
        reason = _NO_RAW_PRE
        yield from (reason, reason)
        return
    region = context.pre_frame or pictures.data_frame(raw_pre)
    original = pictures.take_picture(raw_pre, region, side)
    rows, columns = close.pixels.shape
    window = close.y0, close.y0 + rows, close.x0, close.x0 + columns
    for transform in (context.coarse_transform, context.icp_transform):
        if transform is None:
            yield "The transform of this step is not known."
            continue
        detail = warp_window(raw_pre, transform, *window, "cubic")
        yield (
            pictures.warp_picture(original, transform, post),
            close.with_pixels(np.asarray(detail, dtype=np.float32)),
        )


def _detail_frame(
    pre: pictures.Picture, post: pictures.Picture, shape: tuple[int, ...]
) -> Frame:
    """Return the place where the minerals have the strongest texture."""
    known = (post.pixels != 0) & (pre.pixels != 0)
    pixels = np.sqrt(np.maximum(np.nan_to_num(pre.pixels), 0.0))
    fine, coarse = (cv2.GaussianBlur(pixels, (0, 0), sigma) for sigma in (1.0, 4.0))
    change = fine - coarse
    side = max(3, _DETAIL // pre.factor) | 1
    # Not at the rim, where the step to nothing would win.
    inside = ndimage.minimum_filter(known, side, mode="constant", cval=0)
    if not inside.any():
        inside = known
    energy = cv2.boxFilter(np.minimum(change**2, 9 * np.var(change)), -1, (side, side))
    row, column = np.unravel_index(int(np.argmax(energy * inside)), energy.shape)
    x, y = pre.to_full([[column, row]])[0]
    width, height = min(_DETAIL, shape[1]), min(_DETAIL, shape[0])
    x0 = min(max(int(x) - width // 2, 0), shape[1] - width)
    y0 = min(max(int(y) - height // 2, 0), shape[0] - height)
    return x0, y0, width, height


def _draw_tiles(axes: Axes, tiles: Any, panel: float) -> str:
    """Draw what the alignment leaves at each tile; return words for below."""
    known = [_column(tiles, name) for name in ("x", "y", "dx", "dy")]
    if any(values is None or not len(values) for values in known):
        return "No tiles were measured."
    table = np.array(known, dtype=np.float64)
    keep = np.isfinite(table).all(axis=0)
    if (used := _column(tiles, "used")) is not None:
        keep &= np.asarray(used) > 0
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
        color=_ARROW,
        width=1.3 / panel,
        headwidth=4,
        headlength=4,
        headaxislength=3.5,
    )
    return (
        f"Arrows: what {len(x)} tiles still miss,\n"
        f"enlarged {style.plain_number(enlarged)} times\n"
        f"(median {np.median(left):.2g} px, 95 % below {most:.2g} px)"
    )


def _column(tiles: Any, name: str) -> Any:
    return tiles.get(name) if isinstance(tiles, Mapping) else getattr(tiles, name, None)
