"""Marks of a state: a shape and a colour for the eye, a word for the reader."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QPolygonF

__all__ = ["WORDS", "state_icon"]

#: state -> the word for it.
WORDS = {
    "valid": "valid",
    "skipped": "skipped",
    "fell_back": "fell back",
    "failed": "failed",
    "stale": "stale",
    "missing": "missing",
}

# Middle tones: they stand out on napari's dark and light themes alike.
_COLOURS = {
    "valid": "#2fa05a",
    "skipped": "#7f8c99",
    "fell_back": "#d98e04",
    "failed": "#d64545",
    "stale": "#d98e04",
    "missing": "#7f8c99",
}
_SIDE = 32


def state_icon(state: str) -> QIcon:
    """Return the mark of a state; the shapes differ too, not the colours alone.

    Parameters
    ----------
    state : str
        One of `WORDS`; another one looks like ``'missing'``.
    """
    pixmap = QPixmap(_SIDE, _SIDE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour = QColor(_COLOURS.get(state, _COLOURS["missing"]))
    whole = QRectF(3, 3, _SIDE - 6, _SIDE - 6)
    pen = QPen(QColor("white"), 3.6)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    if state in ("valid", "failed", "skipped"):
        painter.drawEllipse(whole)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for points in _SIGNS[state]:
            painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))
    elif state in ("stale", "fell_back"):
        corners = [(16, 3), (30, 29), (2, 29)]
        painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in corners]))
        painter.setPen(pen)
        for points in _SIGNS["stale"]:
            painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))
    else:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, 3.2))
        painter.drawEllipse(whole.adjusted(3, 3, -3, -3))
    painter.end()
    return QIcon(pixmap)


_SIGNS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "valid": (((9, 17), (14, 22), (23, 11)),),
    "failed": (((11, 11), (21, 21)), ((21, 11), (11, 21))),
    "skipped": (((10, 16), (22, 16)),),
    "stale": (((16, 12), (16, 19)), ((16, 24.5), (16, 25))),
}
