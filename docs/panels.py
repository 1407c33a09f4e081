"""Panels side by side in one small PNG: what the picture scripts of the site share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageOps

IMAGES = Path(__file__).parent / "images"
DPI = 150
WIDTH = 8.0
TITLE, WORDS = 10.0, 8.5
_LINE = 0.3
LARGEST = 300_000
"""Bytes of a picture: a page with ten of them still loads at once."""


def panels(
    rows: int,
    columns: int,
    *,
    shape: float = 0.8,
    titles: Sequence[str] = (),
    gap: float = 0.08,
    heads: Sequence[float] = (),
) -> tuple[Figure, list[Axes]]:
    """Return a figure of equal panels for images, without ticks.

    Parameters
    ----------
    rows, columns : int
        Number of panels.
    shape : float
        Height of a panel divided by its width.
    titles : sequence of str
        Of the panels, row by row; an empty one takes no words.
    gap : float
        Room between panels, inches.
    heads : sequence of float
        Room above each row, inches; that of one line of words by default.
    """
    heads = heads or (_LINE,) * rows
    width = (WIDTH - gap * (columns - 1)) / columns
    height = width * shape
    tops = [sum(heads[: row + 1]) + row * height for row in range(rows)]
    total = tops[-1] + height
    figure = Figure(figsize=(WIDTH, total), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    found = []
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        left, top = column * (width + gap), tops[row]
        axes = figure.add_axes(
            (left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total)
        )
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        if index < len(titles):
            axes.set_title(titles[index], fontsize=TITLE, loc="left", pad=4)
        found.append(axes)
    return figure, found


def show(axes: Axes, pixels: NDArray[Any], **look: Any) -> None:
    """Show an image in a panel, every pixel as it is."""
    axes.imshow(pixels, interpolation="nearest", aspect="auto", **look)


def save(figure: Figure, name: str, folder: Path = IMAGES) -> Path:
    """Write a figure as a PNG of at most 256 colours, no larger than `LARGEST`."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    return save_image(Image.open(drawn), name, folder)


def save_image(image: Image.Image, name: str, folder: Path = IMAGES) -> Path:
    """Write a picture as `save` does; it is made smaller until it fits.

    White below the last line is cut off.
    """
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image.convert("RGB")
    box = ImageOps.invert(image).getbbox()
    if box is not None:
        image = image.crop((0, 0, image.width, min(box[3] + 12, image.height)))
    while True:
        small = image.quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        small.save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            return path
        size = tuple(round(0.92 * side) for side in image.size)
        image = image.resize(size, Image.Resampling.LANCZOS)


def crop(image: Any, x: int, y: int, width: int, height: int) -> NDArray[np.float32]:
    """Return a part of an image as float32, (x, y) being its first pixel."""
    return np.asarray(image[y : y + height, x : x + width]).astype(np.float32)
