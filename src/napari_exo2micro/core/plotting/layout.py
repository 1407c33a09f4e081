"""Sizes of panels that show pictures."""

from __future__ import annotations

from collections.abc import Sequence

from napari_exo2micro.core.plotting.figures import DPI

__all__ = ["panel_size"]


def panel_size(
    shape: Sequence[int], max_width: int, max_height: int
) -> tuple[float, float]:
    """Return width and height of a panel for a picture, inches.

    One pixel of the picture becomes a whole number of pixels of the figure where
    that makes it neither tiny nor too large.

    Parameters
    ----------
    shape : sequence of int
        Rows and columns of the picture.
    max_width, max_height : int
        Most pixels of the figure.
    """
    rows, columns = shape
    zoom = min(max_width / columns, max_height / rows)
    if zoom >= 2:
        zoom = int(zoom)
    elif 1 <= zoom < 1.25:
        zoom = 1
    # Slivers stay visible, and their axes readable.
    width = max(columns * zoom, 0.12 * max_width)
    height = max(rows * zoom, 0.12 * max_height)
    return width / DPI, height / DPI
