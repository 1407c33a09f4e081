"""A matplotlib canvas that scales its figure as a whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QImage, QResizeEvent, QWheelEvent

from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.plotting.saving import save_figure
from napari_exo2micro.core.plotting.style import DPI

__all__ = ["Loan", "PlotCanvas"]


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
        #: Whether another thread works with the figure.
        self.is_lent = False
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
        if self.is_lent:  # `take_back` follows
            return
        pixels = event.size().width() * self.device_pixel_ratio
        self.figure.set_dpi(max(pixels / self._inches[0], 1.0))
        super().resizeEvent(event)  # type: ignore[no-untyped-call]

    def draw(self) -> None:
        """Draw the figure; a canvas that goes away meanwhile needs no update."""
        if self.is_lent:
            return
        try:
            super().draw()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            if "deleted" not in str(error):
                raise

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the scroll bars."""
        event.ignore()

    def lend(self) -> Loan:
        """Return the figure for work in another thread, until `take_back`.

        Meanwhile the picture on screen stays, and clicks and sizes have no effect:
        a figure can be drawn in one thread at a time.
        """
        self.is_lent = True
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents, True)
        return Loan(self.figure, self._inches)

    def take_back(self) -> None:
        """Follow clicks and sizes again; nothing when the widget is gone."""
        self.is_lent = False
        with contextlib.suppress(RuntimeError):
            self.figure.set_canvas(self)
            self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents, False)
            self.resizeEvent(QResizeEvent(self.size(), self.size()))


class Loan:
    """A figure that another thread draws at the resolution of a run's files.

    Parameters
    ----------
    figure : Figure
        The figure.
    inches : tuple of float
        Its own width and height.
    """

    def __init__(self, figure: Figure, inches: tuple[float, float]) -> None:
        self._figure, self._inches = figure, inches

    def save(self, path: Path, monitor: Monitor) -> Path:
        """Write the figure; see `core.plotting.saving.save_figure`.

        Raises
        ------
        OutputError
            If the format is unknown or the file cannot be written.
        """
        monitor.check()
        self._prepare()
        save_figure(self._figure, path)
        return path

    def image(self, monitor: Monitor) -> QImage:
        """Return the figure as a picture."""
        monitor.check()
        canvas = self._prepare()
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        rows, columns, _ = pixels.shape
        shown = QImage(pixels, columns, rows, QImage.Format.Format_RGBA8888)
        return shown.copy()  # of its own: the canvas goes

    def _prepare(self) -> FigureCanvasAgg:
        """Give the figure a canvas without a widget, and its own size."""
        canvas = FigureCanvasAgg(self._figure)
        self._figure.set_size_inches(*self._inches, forward=False)
        self._figure.set_dpi(DPI)
        return canvas
