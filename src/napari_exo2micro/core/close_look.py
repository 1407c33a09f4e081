"""The zoom box: one place of post, aligned pre and difference, every pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.lazy_images import LazyImage, Window
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.rasters import ImageLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "LARGEST_BOX",
    "CloseLook",
    "PlacedImage",
    "draw_close_look",
    "figure_pixels",
    "level_scale",
    "save_close_look",
]

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
        image = self.levels[number]
        rows, columns = (-(-side >> number) for side in shape)
        move = [-(start >> number) for start in self.offset]

        def read(window: Window) -> NDArray[Any]:
            inside, place = [], []
            for part, shift, side in zip(window, move, image.shape, strict=True):
                start = min(max(part.start + shift, 0), side)
                stop = min(max(part.stop + shift, start), side)
                inside.append(slice(start, stop))
                first = start - shift - part.start
                place.append(slice(first, first + stop - start))
            pixels: NDArray[Any] = np.zeros(
                [part.stop - part.start for part in window], image.dtype
            )
            if all(part.stop > part.start for part in inside):
                pixels[place[0], place[1]] = image[inside[0], inside[1]]
            return pixels

        return LazyImage((rows, columns), image.dtype, read)


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
    from napari_exo2micro.core.photometry import estimate_scale
    from napari_exo2micro.core.statistics import accumulate_statistics

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
    from napari_exo2micro.core.plotting import plot_zoom_multi

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
    from napari_exo2micro.core.plotting.saving import save_figure

    monitor.check()
    save_figure(figure, path)
    return Path(path)
