"""The grid of grey levels under a heat map, and what a place on it means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from napari_exo2micro.core.plotting.inputs import rebinning_matrix, upper_level
from napari_exo2micro.core.plotting.style import scale_colour
from napari_exo2micro.core.statistics import PairStatistics

__all__ = [
    "LevelGrid",
    "attach_grid",
    "heatmap_axes",
    "mark_scale",
    "scale_at",
    "scale_line",
]

_BINS: Final = 360


@dataclass(frozen=True, slots=True, eq=False)
class LevelGrid:
    """Even cells of the display; square-root steps when most levels are low.

    A straight line through the origin stays straight in either case.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,)
        Edges of the cells in the units of the axes.
    root : bool
        Whether the axes show the square root of the grey level.
    top : float
        Highest grey level shown.
    """

    edges: NDArray[np.float64]
    root: bool
    top: float

    @classmethod
    def of(cls, statistics: PairStatistics) -> LevelGrid:
        """Return the grid that suits the levels of a pair."""
        top = upper_level(statistics)
        levels = statistics.post.centres[1:]
        counts = np.cumsum(statistics.post.counts[1:], dtype=np.float64)
        middle = top
        if len(counts) and counts[-1] > 0:
            middle = float(levels[int(np.searchsorted(counts, counts[-1] / 2))])
        root = middle < 0.08 * top and statistics.dtype != "uint8"
        if root:
            return cls(np.linspace(0.0, np.sqrt(top), _BINS + 1), True, top)
        if not statistics.integer:
            return cls(np.linspace(0.0, top, _BINS + 1), False, top)
        # Whole levels in each cell, or the grid would beat with the levels.
        step = max(1, int(np.ceil(top / _BINS)))
        cells = int(np.ceil((top + 0.5) / step))
        edges = np.arange(cells + 1, dtype=np.float64) * step - 0.5
        return cls(edges, False, top)

    def place(self, level: Any) -> NDArray[np.float64]:
        """Return where grey levels lie along an axis."""
        values = np.asarray(level, dtype=np.float64)
        if not self.root:
            return values
        rooted: NDArray[np.float64] = np.sqrt(np.maximum(values, 0.0))
        return rooted

    def level(self, place: float) -> float:
        """Return the grey level at a place along an axis; inverse of `place`."""
        return place * abs(place) if self.root else place

    def density(self, statistics: PairStatistics) -> NDArray[np.float64]:
        """Return the pixels in each cell, axes [post, pre]."""
        matrix = rebinning_matrix(self.place(statistics.edges), self.edges)
        result: NDArray[np.float64] = matrix @ statistics.joint @ matrix.T
        return result

    def line(
        self, slope: float, offset: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``post = offset + slope * pre`` in the units of the axes."""
        reach = min(self.top, max((self.top - offset) / max(slope, 1e-12), 0.0))
        x = np.linspace(0.0, reach, 200 if self.root else 2)
        return self.place(x), self.place(offset + slope * x)

    def root_ticks(self) -> list[float]:
        """Return round levels whose places on a square-root axis lie well apart."""
        size = 10.0 ** np.floor(np.log10(self.top))
        chosen: list[float] = []
        for level in [
            m * size / d for d in (1, 10, 100) for m in (9, 8, 6, 5, 4, 3, 2, 1)
        ]:
            gap = np.sqrt(chosen[-1] / self.top) if chosen else 1.1
            if level <= self.top and gap - np.sqrt(level / self.top) >= 0.09:
                chosen.append(level)
        return [0.0, *reversed(chosen)]


#: The grid of every panel drawn, as long as the panel lives.
_GRIDS: WeakKeyDictionary[Axes, LevelGrid] = WeakKeyDictionary()


def attach_grid(axes: Axes, grid: LevelGrid) -> None:
    """Let `scale_at` and `scale_line` know the grid of a panel."""
    _GRIDS[axes] = grid


def heatmap_axes(drawn: Figure | Axes) -> Axes | None:
    """Return the panel of a figure that shows grey levels of pre and post."""
    panels = drawn.axes if isinstance(drawn, Figure) else [drawn]
    return next((axes for axes in panels if axes in _GRIDS), None)


def scale_at(
    drawn: Figure | Axes, x: float | None, y: float | None, *, offset: float = 0.0
) -> float | None:
    """Return the scale whose line runs through a place on a heat map.

    Parameters
    ----------
    drawn : Figure or Axes
        What `plot_excess_heatmap` or `plot_pre_post_heatmap` returned, or its
        panel.
    x, y : float or None
        The place in the units of the axes, as a mouse event tells it (`xdata`,
        `ydata`; None outside of the panel).
    offset : float
        Grey levels that the difference takes off post beside the scaled pre. A
        manual scale takes off none, so this is 0 where one is chosen by a click.

    Returns
    -------
    float or None
        (post level - offset) / pre level, above 0. None beside the panel, where
        no scale does that, and for a figure that is no heat map.
    """
    axes = heatmap_axes(drawn)
    if axes is None or x is None or y is None:
        return None
    grid = _GRIDS[axes]
    low, high = float(grid.edges[0]), float(grid.edges[-1])
    if not (low <= x <= high and low <= y <= high):
        return None
    pre, post = grid.level(x), grid.level(y) - offset
    if not (pre > 0 and post > 0):
        return None
    scale = post / pre
    return scale if math.isfinite(scale) else None


def scale_line(
    drawn: Figure | Axes, scale: float, *, offset: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the line of a scale on a heat map, in the units of the axes.

    Parameters
    ----------
    drawn : Figure or Axes
        As for `scale_at`.
    scale, offset : float
        ``post = offset + scale * pre``, grey levels.

    Returns
    -------
    tuple of ndarray or None
        x and y of its points; None for a figure that is no heat map.
    """
    axes = heatmap_axes(drawn)
    return None if axes is None else _GRIDS[axes].line(scale, offset)


def mark_scale(drawn: Figure | Axes, scale: float) -> list[Artist]:
    """Draw the line of a manual scale that somebody thinks about.

    Parameters
    ----------
    drawn : Figure or Axes
        As for `scale_at`.
    scale : float
        ``post = scale * pre``.

    Returns
    -------
    list of Artist
        What was drawn, to be removed again; empty for a figure that is no heat map.
    """
    axes, line = heatmap_axes(drawn), scale_line(drawn, scale)
    if axes is None or line is None:
        return []
    return [
        *axes.plot(
            *line,
            color=scale_colour("manual"),
            linewidth=2.0,
            linestyle=(0, (4, 2)),
            path_effects=[withStroke(linewidth=4.0, foreground="white")],
            zorder=5,
            gid="scale-proposed",
        )
    ]
