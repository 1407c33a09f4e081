"""Sizes of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from napari_exo2micro.core.plotting.figures import Sheet, count_words
from napari_exo2micro.core.plotting.style import DPI
from napari_exo2micro.core.statistics import PairStatistics

__all__ = [
    "SHORTEST_BAR",
    "ChartLayout",
    "bar_height",
    "chart_layout",
    "chart_sheet",
    "panel_size",
]

_LEFT, _TOP, _WIDTH, _HEIGHT, _BOTTOM = 0.95, 0.1, 5.9, 4.1, 0.65
_LEGEND_WIDTH: Final = 2.2
_NARROW_WIDTH, _NARROW_HEIGHT, _LEGEND_HEIGHT, _REMARK_HEIGHT = 4.4, 3.4, 1.05, 0.6

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


@dataclass(frozen=True, slots=True)
class ChartLayout:
    """Where the parts of a chart are, inches from the corner under the title.

    Attributes
    ----------
    panel : tuple of float
        Left, top, width and height.
    legend, remark : tuple of float
        Left and top of the legend and of what is said beside it.
    columns : int
        Of the legend.
    size : tuple of float
        Width and height of everything under the title.
    """

    panel: tuple[float, float, float, float]
    legend: tuple[float, float]
    remark: tuple[float, float]
    columns: int
    size: tuple[float, float]


def chart_layout(*, narrow: bool = False, above: float = 0.0) -> ChartLayout:
    """Return the layout of a chart: its legend at its right, or below it.

    Parameters
    ----------
    narrow : bool
        Below it, with a smaller panel: for a narrow place.
    above : float
        Room for an axis along the upper edge, inches.
    """
    top = _TOP + above
    if narrow:
        below = top + _NARROW_HEIGHT + _BOTTOM
        end = below + _LEGEND_HEIGHT
        return ChartLayout(
            panel=(_LEFT, top, _NARROW_WIDTH, _NARROW_HEIGHT),
            legend=(_LEFT - 0.4, below),
            remark=(_LEFT - 0.4, end),
            columns=2,
            size=(_LEFT + _NARROW_WIDTH + 0.3, end + _REMARK_HEIGHT),
        )
    beside = _LEFT + _WIDTH + 0.2
    return ChartLayout(
        panel=(_LEFT, top, _WIDTH, _HEIGHT),
        legend=(beside, top),
        remark=(beside, top + 2.3),
        columns=1,
        size=(_LEFT + _WIDTH + _LEGEND_WIDTH, top + _HEIGHT + _BOTTOM),
    )


def chart_sheet(
    title: str,
    sample: str,
    dye: str,
    notes: Sequence[str],
    statistics: PairStatistics,
    layout: ChartLayout,
) -> Sheet:
    """Return the sheet of a chart of a pair."""
    return Sheet(
        title,
        width=layout.size[0],
        height=layout.size[1],
        sample=sample,
        dye=dye,
        notes=notes,
        remark=count_words(statistics.n_both),
    )
