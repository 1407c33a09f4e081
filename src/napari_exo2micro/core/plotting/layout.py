"""Sizes of panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from napari_exo2micro.core.plotting.figures import Sheet, count_words
from napari_exo2micro.core.plotting.style import DPI
from napari_exo2micro.core.statistics import PairStatistics

__all__ = [
    "CHART_HEIGHT",
    "CHART_LEFT",
    "CHART_TOP",
    "CHART_WIDTH",
    "SHORTEST_BAR",
    "bar_height",
    "chart_sheet",
    "panel_size",
]

CHART_LEFT, CHART_TOP, CHART_WIDTH, CHART_HEIGHT = 0.95, 0.1, 5.9, 4.1
_CHART_RIGHT, _CHART_BOTTOM = 2.2, 0.65

SHORTEST_BAR: Final = 2.1
"""Shortest colour bar whose numbers and name have room, inches."""


def bar_height(height: float, most: float = 4.0) -> float:
    """Return the height of a colour bar beside a panel, inches."""
    return max(min(height, most), SHORTEST_BAR)


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


def chart_sheet(
    title: str,
    sample: str,
    dye: str,
    notes: Sequence[str],
    statistics: PairStatistics,
    *,
    top: float = CHART_TOP,
) -> Sheet:
    """Return the sheet of a chart of a pair, with room for a legend at its right."""
    return Sheet(
        title,
        width=CHART_LEFT + CHART_WIDTH + _CHART_RIGHT,
        height=top + CHART_HEIGHT + _CHART_BOTTOM,
        sample=sample,
        dye=dye,
        notes=notes,
        remark=count_words(statistics.n_both),
    )
