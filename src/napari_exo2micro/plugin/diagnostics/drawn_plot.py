"""A drawn plot: its pictures, its file, and what a place on it means."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Transform
from qtpy.QtGui import QImage

from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.plotting.level_grid import (
    heatmap_axes,
    mark_scale,
    scale_at,
    scale_line,
)
from napari_exo2micro.core.plotting.saving import save_figure
from napari_exo2micro.core.plotting.style import DPI, scale_colour
from napari_exo2micro.plugin.diagnostics.plot_room import Room

__all__ = ["DrawnPlot", "Picture"]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A plot at one resolution.

    Attributes
    ----------
    plot : DrawnPlot
        What it shows.
    image : QImage
        The picture.
    dpi : float
        For this resolution it was drawn, in px of the screen.
    """

    plot: DrawnPlot
    image: QImage
    dpi: float


class DrawnPlot:
    """A figure that jobs make pictures and files of, one at a time.

    Places on it are fractions of its width, from the left, and of its height, from
    the top.

    Parameters
    ----------
    figure : Figure
        Drawn for its own size in inches, which it keeps.
    """

    def __init__(self, figure: Figure) -> None:
        width, height = figure.get_size_inches()
        #: Its width and height.
        self.inches = float(width), float(height)
        #: The colour of a line of `line`.
        self.line_colour = scale_colour("manual")
        self._figure = figure
        self._canvas = FigureCanvasAgg(figure)
        self._axes = heatmap_axes(figure)
        self._places: Transform | None = None
        self._lock = threading.Lock()

    # What takes its time -------------------------------------------------------------

    def picture(self, room: Room, monitor: Monitor) -> Picture:
        """Return the plot as large as there is room."""
        dpi = room.dpi(self.inches)
        with self._at_work(dpi * room.ratio, None, monitor):
            return Picture(self, self._drawn(), dpi)

    def full_size(self, scale: float | None, monitor: Monitor) -> QImage:
        """Return the plot at the resolution of a run's files.

        Parameters
        ----------
        scale : float or None
            A manual scale whose line is drawn, too.
        monitor : Monitor
            May stop it.
        """
        with self._at_work(DPI, scale, monitor):
            return self._drawn()

    def save(self, path: Path, scale: float | None, monitor: Monitor) -> Path:
        """Write the plot; see `core.plotting.saving.save_figure`.

        Parameters
        ----------
        path : Path
            Its ending chooses the format.
        scale, monitor
            As for `full_size`.

        Raises
        ------
        OutputError
            If the format is unknown or the file cannot be written.
        """
        with self._at_work(DPI, scale, monitor):
            save_figure(self._figure, path)
        return path

    @contextlib.contextmanager
    def _at_work(
        self, dpi: float, scale: float | None, monitor: Monitor
    ) -> Iterator[None]:
        """Have the figure for one thread, at a resolution."""
        with self._lock:
            monitor.check()
            self._figure.set_dpi(dpi)
            marks = [] if scale is None else mark_scale(self._figure, scale)
            try:
                yield
            finally:
                for mark in marks:
                    mark.remove()

    def _drawn(self) -> QImage:
        canvas = self._canvas
        canvas.draw()  # type: ignore[no-untyped-call]
        if self._axes is not None:  # drawing has put the panel into its place
            to_figure = self._figure.transFigure.inverted()
            # Without what the panel changes when it is drawn at another size.
            self._places = cast(Transform, (self._axes.transData + to_figure).frozen())
        pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        rows, columns, _ = pixels.shape
        shown = QImage(pixels, columns, rows, QImage.Format.Format_RGBA8888)
        # As the screen wants it, and of its own: the canvas draws again.
        return shown.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)

    # What is known at once ------------------------------------------------------------

    @property
    def is_heat_map(self) -> bool:
        """Whether it shows grey levels of pre and post, so that places mean scales."""
        return self._axes is not None

    def scale_at(self, x: float, y: float) -> float | None:
        """Return the scale whose line runs through a place; None where there is none.

        Parameters
        ----------
        x, y : float
            The place.
        """
        if self._axes is None or self._places is None:
            return None
        levels = self._places.inverted().transform((x, 1.0 - y))
        return scale_at(self._axes, float(levels[0]), float(levels[1]))

    def line(self, scale: float) -> list[tuple[float, float]]:
        """Return the places along the line of a scale; none if it is no heat map."""
        line = None if self._axes is None else scale_line(self._axes, scale)
        if line is None or self._places is None:
            return []
        places = self._places.transform(np.column_stack(line))
        return [(float(x), 1.0 - float(y)) for x, y in places]
