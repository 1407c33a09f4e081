"""Plots that are also called as in the reference system, and then return what it did.

Any images are zoomed into, from their upper left corner; a scale may be a number.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.images.raster import ImageLike
from napari_exo2micro.core.photometry import accumulate_statistics, estimate_scale
from napari_exo2micro.core.photometry.scale import manual_scale
from napari_exo2micro.core.plotting import charts, images, style, zoom

Drawn = Callable[..., Any]


Asked = Callable[[Sequence[Any], Mapping[str, Any]], bool]


class _Drawing(tuple[Figure, Any]):
    """A figure with what was drawn: a notebook shows the figure."""

    __slots__ = ()

    def _repr_png_(self) -> Any:
        figure: Any = self[0]
        return figure._repr_png_()


def _either(ours: Drawn, other: Drawn, asked: Asked) -> Drawn:
    """Return a plot that is called in another form where its arguments ask for it."""

    @functools.wraps(ours)
    def drawn(*arguments: Any, **keywords: Any) -> Any:
        form = other if asked(arguments, keywords) else ours
        return form(*arguments, **keywords)

    return drawn


def _zoom(
    image: ImageLike,
    row: int,
    col: int,
    size: int,
    sigma: float = 0.0,
    cmap: str = "gray",
    stretch_percentile: float = 99.0,
    diverging: bool = False,
    title: str = "",
    save_path: str | Path | None = None,
) -> tuple[Figure, NDArray[np.float32]]:
    """Draw a crop of any image; `row`, `col` is its upper left pixel."""
    figure, crops = _zoom_several(
        [image],
        [title],
        row,
        col,
        size,
        sigma,
        [cmap],
        [diverging],
        stretch_percentile,
        save_path=save_path,
    )
    return _Drawing((figure, crops[0]))


def _zoom_several(
    images: Sequence[ImageLike],
    labels: Sequence[str],
    row: int,
    col: int,
    size: int,
    sigma: float = 0.0,
    cmaps: Sequence[str] | None = None,
    diverging_flags: Sequence[bool] | None = None,
    stretch_percentile: float = 99.0,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> tuple[Figure, list[NDArray[np.float32]]]:
    """Draw the same crop of any images side by side, and return the crops."""
    count = len(images)
    if not count or len(labels) != count:
        raise ParameterError(
            f"plot_zoom_multi takes one label for each image, found {count} images and "
            f"{len(labels)} labels"
        )
    figure, crops = zoom.draw_crops(
        images,
        labels,
        (row, col),
        size,
        sigma,
        cmaps or ["gray"] * count,
        diverging_flags or [False] * count,
        stretch_percentile,
        names=(sample, dye),
    )
    if save_path is not None:
        style.save_figure(figure, save_path)
    return _Drawing((figure, crops))


def _difference_image(
    post_im: ImageLike, pre_im: ImageLike, scale: float, *names: str, **keywords: Any
) -> tuple[Figure, NDArray[np.float32]]:
    """Draw ``post - scale * pre``, and return it whole, float32."""
    keywords |= dict(zip(("sample", "dye", "save_path"), names, strict=False))
    post, pre = (np.asarray(image, np.float32) for image in (post_im, pre_im))
    difference = post - np.float32(scale) * pre
    figure = images.plot_difference_image(post, pre, scale=scale, **keywords)
    return _Drawing((figure, difference))


def _excess_heatmap(
    post_im: ImageLike,
    pre_im: ImageLike,
    scale: float | None = None,
    scales: Sequence[tuple[str, float | None, str]] | None = None,
    *names: str,
    **keywords: Any,
) -> Figure:
    """Draw the excess with lines at given numbers; one without a value is left out."""
    keywords |= dict(zip(("sample", "dye", "save_path"), names, strict=False))
    lines = scales or [("scale", scale, "#00cc88")]
    drawn = [
        (replace(manual_scale(value), method=label), colour)
        for label, value, colour in lines
        if value is not None and math.isfinite(value) and value > 0
    ]
    return charts.plot_excess_heatmap(
        post_im,
        pre_im,
        scales=[estimate for estimate, _ in drawn],
        colours=[colour for _, colour in drawn],
        **keywords,
    )


def plot_ratio_histogram_simple(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> tuple[Figure, float]:
    """Draw the ratio of post to pre, and estimate the scale, as the reference system.

    `plot_ratio_histogram` draws a scale that is known, and estimates none.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the figure.

    Returns
    -------
    figure : Figure
        As `plot_ratio_histogram` draws it.
    scale : float
        Brightness of the minerals in post divided by that in pre, as `estimate_scale`
        finds it.

    Raises
    ------
    RegistrationError
        If the images cannot be compared.
    """
    statistics = accumulate_statistics(post_im, pre_im)
    estimate = estimate_scale(statistics)
    figure = charts.plot_ratio_histogram(
        post_im,
        pre_im,
        statistics=statistics,
        scales=[estimate],
        sample=sample,
        dye=dye,
        save_path=save_path,
    )
    return _Drawing((figure, estimate.scale))


def _has_one_image(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    if len(arguments) < 2:
        return "pre_im" not in keywords
    return isinstance(arguments[1], int | np.integer)


def _has_images(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    first = arguments[0] if arguments else None
    return "images" in keywords or isinstance(first, list | tuple)


def _has_a_third(arguments: Sequence[Any], _keywords: Mapping[str, Any]) -> bool:
    return len(arguments) > 2


def _has_lines(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    if len(arguments) > 2:
        return True
    if "scale" in keywords and not {"scales", "context"} & keywords.keys():
        return True
    return any(isinstance(line, tuple | list) for line in keywords.get("scales") or ())


plot_zoom = _either(zoom.plot_zoom, _zoom, _has_one_image)
plot_zoom_multi = _either(zoom.plot_zoom_multi, _zoom_several, _has_images)
plot_difference_image = _either(
    images.plot_difference_image, _difference_image, _has_a_third
)
plot_excess_heatmap = _either(charts.plot_excess_heatmap, _excess_heatmap, _has_lines)
