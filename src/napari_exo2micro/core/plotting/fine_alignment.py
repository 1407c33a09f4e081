"""The alignment after each of its steps, as a whole and in one detail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.plotting.figures import (
    Sheet,
    add_message,
    label_axes,
    name_panel,
    number_axes,
)
from napari_exo2micro.core.plotting.layout import panel_size
from napari_exo2micro.core.plotting.notes import verdict_notes
from napari_exo2micro.core.plotting.pictures import (
    Picture,
    clip_frame,
    data_frame,
    match,
    overlay,
    picture_side,
    show_nothing,
    show_picture,
    take_picture,
    warp_picture,
)
from napari_exo2micro.core.plotting.registration import colour_key
from napari_exo2micro.core.plotting.saving import finish_figure
from napari_exo2micro.core.plotting.style import DPI, match_words, plain_number
from napari_exo2micro.core.rasters import Frame, ImageLike, warp_window
from napari_exo2micro.core.transforms import Transform

__all__ = ["plot_fine_alignment"]

_SIDE: Final = 440
_DETAIL: Final = 220
_NARROWEST: Final = 3.2
_LEFT, _GAP, _RIGHT, _TOP, _MIDDLE, _BOTTOM = 0.8, 0.35, 0.25, 0.6, 1.42, 0.95
_BESIDE, _BETWEEN, _WORDS = 0.75, 1.15, 0.5


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
    side = picture_side(frame, down_scale, _SIDE)
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

    width, height = panel_size(post.pixels.shape, _SIDE, 480)
    pitch = max(width, _NARROWEST) + _GAP
    detail_width = max(width, 2.4)
    detail_height = detail_width * close.pixels.shape[0] / close.pixels.shape[1]
    row = max(height, detail_height) + _BETWEEN
    if narrow:
        places = [(0.0, i * row) for i in range(3)]
        beside, under = width + _BESIDE, 0.0
        size = _LEFT + beside + detail_width, _TOP + 3 * row - _BETWEEN + _WORDS
    else:
        places = [(i * pitch, 0.0) for i in range(3)]
        beside, under = 0.0, height + _MIDDLE
        size = _LEFT + 3 * pitch - _GAP, _TOP + under + detail_height
    sheet = Sheet(
        "Alignment step by step",
        width=size[0] + _RIGHT,
        height=size[1] + _BOTTOM,
        sample=sample,
        dye=dye,
        notes=verdict_notes(verdicts),
    )
    for i, step in enumerate(steps):
        left, top = _LEFT + places[i][0], _TOP + places[i][1]
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
    colour_key(sheet, _LEFT, size[1] + (0.35 if narrow else 0.6))
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
