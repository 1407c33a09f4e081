"""The key of the arrows: how long on the screen a displacement is drawn."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_exo2micro.core.residuals import round_figure

__all__ = ["ArrowKey"]

#: The key's arrow is at most this long, screen px.
_LONGEST = 120.0
_HEAD = 9.0


class ArrowKey(QWidget):
    """An arrow as the viewer draws it now, and the displacement it stands for.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("arrow_key")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._displacement = 0.0
        self._length = 0.0
        self.setToolTip(
            "An arrow of this length in the viewer stands for this displacement; it "
            "follows the zoom"
        )

    @property
    def displacement(self) -> float:
        """What the arrow stands for, px of post-stain."""
        return self._displacement

    @property
    def length(self) -> float:
        """How long it is drawn, screen px."""
        return self._length

    @property
    def text(self) -> str:
        """What the arrow stands for, in words."""
        return f"{self._displacement:g} px" if self._displacement else ""

    def set_scale(self, screen_px: float) -> None:
        """Choose the arrow.

        Parameters
        ----------
        screen_px : float
            How long the viewer draws a displacement of one px of post-stain.
        """
        self._displacement = round_figure(_LONGEST / max(screen_px, 1e-9))
        self._length = self._displacement * screen_px
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._displacement = self._length = 0.0
        self.update()

    def sizeHint(self) -> QSize:
        """Room for the arrow and its words."""
        return QSize(220, 26)

    def minimumSizeHint(self) -> QSize:
        """Room for the arrow and its words."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the arrow in the colour of the text."""
        if not self._displacement:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = self.palette().windowText().color()
        painter.setPen(QPen(colour, 2))
        painter.setBrush(colour)
        middle, start, end = self.height() / 2, 4.0, 4.0 + self._length
        head = min(_HEAD, 0.6 * self._length)
        painter.drawLine(QPointF(start, middle), QPointF(end - head / 2, middle))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawPolygon(
            QPolygonF(
                [
                    QPointF(end, middle),
                    QPointF(end - head, middle - head / 2),
                    QPointF(end - head, middle + head / 2),
                ]
            )
        )
        painter.setPen(QPen(colour))
        painter.drawText(QPointF(end + 10, middle + 4), f"= {self.text}")
        painter.end()
