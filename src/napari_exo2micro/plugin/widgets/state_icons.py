"""Marks of a state: a shape and a colour for the eye."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QPolygonF

from napari_exo2micro.core.parameters import State

_SIDE = 32
#: Mark -> the white lines on it, places in px of the icon.
_SIGNS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "tick": (((9, 17), (14, 22), (23, 11)),),
    "cross": (((11, 11), (21, 21)), ((21, 11), (11, 21))),
    "dash": (((10, 16), (22, 16)),),
    "warning": (((16, 12), (16, 19)), ((16, 24.5), (16, 25))),
    "ring": (),
}
_TRIANGLE = QPolygonF([QPointF(16, 3), QPointF(30, 29), QPointF(2, 29)])


def state_icon(state: State) -> QIcon:
    """Return the mark of a state; the shapes differ too, not the colours alone."""
    pixmap = QPixmap(_SIDE, _SIDE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour, whole = QColor(state.colour), QRectF(3, 3, _SIDE - 6, _SIDE - 6)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    if state.mark == "ring":
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, 3.2))
        painter.drawEllipse(whole.adjusted(3, 3, -3, -3))
    elif state.mark == "warning":
        painter.drawPolygon(_TRIANGLE)
    else:
        painter.drawEllipse(whole)
    pen = QPen(QColor("white"), 3.6)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    for points in _SIGNS[state.mark]:
        painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))
    painter.end()
    return QIcon(pixmap)
