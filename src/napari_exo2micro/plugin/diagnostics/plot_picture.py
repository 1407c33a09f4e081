"""The picture of a plot on screen, and the line that a person lays over it."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
)
from qtpy.QtWidgets import QWidget

__all__ = ["PlotPicture"]

_LINE, _EDGE = 0.028, 0.056  # widths of the line and its edge, inches
_DASHES = [4.0, 2.0]  # in widths of the line


class PlotPicture(QWidget):
    """A picture that fills its widget, whatever size it was drawn for.

    Attributes
    ----------
    pressed : Signal(float, float)
        Where the left button went down or was dragged: fractions of the width, from
        the left, and of the height, from the top.
    """

    pressed = Signal(float, float)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("plot_picture")
        self._pixmap = QPixmap()
        self._dpi = 1.0
        self._line: list[tuple[float, float]] = []
        self._colour = QColor()

    def show_image(self, image: QImage) -> None:
        """Show a picture, in the size that the widget has."""
        self._pixmap = QPixmap.fromImage(image)
        self.update()

    def fit(self, size: QSize, dpi: float) -> None:
        """Take a size, at which the picture has this resolution."""
        self._dpi = dpi
        self.setFixedSize(size)

    def lay_line(self, places: Sequence[tuple[float, float]], colour: str = "") -> None:
        """Lay a dashed line over the picture, in place of an earlier one.

        Parameters
        ----------
        places : sequence of (float, float)
            Its points, as for `pressed`; none for no line.
        colour : str
            As ``#rrggbb``.
        """
        self._line, self._colour = list(places), QColor(colour)
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the picture and the line."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.drawPixmap(self.rect(), self._pixmap)
        if self._line:
            wide, high = self.width(), self.height()
            line = QPolygonF([QPointF(x * wide, y * high) for x, y in self._line])
            pen = QPen(QColor("white"), _EDGE * self._dpi)
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
            painter.setPen(pen)
            painter.drawPolyline(line)
            pen.setColor(self._colour)
            pen.setWidthF(_LINE * self._dpi)
            pen.setDashPattern(_DASHES)
            painter.setPen(pen)
            painter.drawPolyline(line)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Tell where the left button went down."""
        self._tell(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Tell where it is dragged to."""
        self._tell(event)

    def _tell(self, event: QMouseEvent | None) -> None:
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            place = event.position()
            self.pressed.emit(place.x() / self.width(), place.y() / self.height())
