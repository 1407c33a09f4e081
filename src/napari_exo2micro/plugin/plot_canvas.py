"""A matplotlib canvas that scales its figure as a whole."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import QSize
from qtpy.QtGui import QResizeEvent, QWheelEvent

from napari_exo2micro.core.plotting.saving import save_figure
from napari_exo2micro.core.plotting.style import DPI

__all__ = ["PlotCanvas"]


class PlotCanvas(FigureCanvasQTAgg):
    """A figure whose text and panels grow and shrink with the widget.

    Parameters
    ----------
    figure : Figure
        Drawn for its own size in inches, which it keeps.
    """

    def __init__(self, figure: Figure) -> None:
        width, height = figure.get_size_inches()
        self._inches = float(width), float(height)
        super().__init__(figure)  # type: ignore[no-untyped-call]
        self.setObjectName("plot_canvas")

    def size_at(self, dpi: float) -> QSize:
        """Return the size of the widget at a resolution."""
        width, height = self._inches
        return QSize(round(width * dpi), round(height * dpi))

    def dpi_within(self, size: QSize) -> float:
        """Return the resolution at which the figure fills a size."""
        width, height = self._inches
        return min(size.width() / width, size.height() / height)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw the same figure at another resolution."""
        pixels = event.size().width() * self.device_pixel_ratio
        self.figure.set_dpi(max(pixels / self._inches[0], 1.0))
        super().resizeEvent(event)  # type: ignore[no-untyped-call]

    def draw(self) -> None:
        """Draw the figure; a canvas that goes away meanwhile needs no update."""
        try:
            super().draw()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            if "deleted" not in str(error):
                raise

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the scroll bars."""
        event.ignore()

    def print_to(self, target: Path | io.BytesIO) -> None:
        """Write the figure at the resolution of the files that stage 4 writes.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        dpi = self.figure.dpi
        width, height = self.figure.get_size_inches()
        try:
            self.figure.set_size_inches(*self._inches, forward=False)
            self.figure.set_dpi(DPI)
            if isinstance(target, io.BytesIO):
                self.figure.savefig(target, format="png", dpi=DPI)
            else:
                save_figure(self.figure, target)
        finally:
            self.figure.set_dpi(dpi)
            self.figure.set_size_inches(width, height, forward=False)
            self.draw_idle()  # type: ignore[no-untyped-call]
