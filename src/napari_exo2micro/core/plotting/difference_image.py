"""The difference as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.coverage import mapped_frame
from napari_exo2micro.core.photometry import ScaleEstimate
from napari_exo2micro.core.plotting.figures import (
    Sheet,
    add_message,
    label_axes,
    number_axes,
)
from napari_exo2micro.core.plotting.inputs import chosen_scale
from napari_exo2micro.core.plotting.layout import SHORTEST_BAR, bar_height, panel_size
from napari_exo2micro.core.plotting.notes import scale_notes, verdict_notes
from napari_exo2micro.core.plotting.pictures import (
    asinh_ticks,
    beyond_border,
    clip_frame,
    colour_difference,
    data_frame,
    difference_norm,
    show_picture,
    take_picture,
    valid_pixels,
)
from napari_exo2micro.core.plotting.saving import finish_figure
from napari_exo2micro.core.plotting.style import (
    DIFFERENCE_COLOURS,
    formula,
    method_words,
)
from napari_exo2micro.core.rasters import Frame, ImageLike
from napari_exo2micro.core.statistics import PairStatistics
from napari_exo2micro.core.transforms import Transform

__all__ = ["plot_difference_image"]

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
