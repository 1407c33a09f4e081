"""A small drawing of the ratio post/pre with a line for each scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from napari_exo2micro.core.preview.ratio import RatioCurve

__all__ = ["ScaleLinePlot"]

_HEIGHT = 110
_MARGIN = 6
_BACKGROUND, _FILL, _TEXT = "#1c1f24", "#5a6472", "#d6dae0"
_STEPS = (1.0, 2.0, 5.0)


class ScaleLinePlot(QWidget):
    """Draws how often each ratio post/pre occurs, and where the scales lie.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("scale_line")
        self.setAccessibleName("Distribution of post/pre with the scales")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "How often each ratio post/pre occurs among the pixels, with a line for "
            "each scale. Minerals make the peak: a good scale stands on it. Microbes "
            "lie to the right."
        )
        self._curve: RatioCurve | None = None

    @property
    def curve(self) -> RatioCurve | None:
        """What is drawn; None when there is nothing."""
        return self._curve

    def set_curve(self, curve: RatioCurve | None) -> None:
        """Draw something else; without anything to draw the widget is hidden."""
        self._curve = curve
        self.setVisible(curve is not None)
        self.update()

    def sizeHint(self) -> QSize:
        """Return the size that the widget would like to have."""
        return QSize(260, _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """Return the least useful size."""
        return QSize(120, _HEIGHT)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the distribution, the axis and the lines."""
        painter = QPainter(self)
        font = painter.font()
        font.setPointSizeF(0.85 * font.pointSizeF())
        painter.setFont(font)
        metrics = painter.fontMetrics()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(_BACKGROUND))
        curve = self._curve
        if curve is None:
            return
        line_height = metrics.height()
        area = QRectF(self.rect()).adjusted(
            _MARGIN, line_height + 4, -_MARGIN, -line_height - 4
        )
        low, high = float(curve.edges[0]), float(curve.edges[-1])

        def across(log_ratio: float) -> float:
            return area.left() + (log_ratio - low) / (high - low) * area.width()

        self._draw_counts(painter, curve, area)
        self._draw_axis(painter, (low, high), area, across)
        end = float(_MARGIN)
        for line in curve.lines:
            colour = QColor(line.colour)
            painter.setPen(QPen(colour, 2))
            x = across(math.log10(line.scale))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            text = f"{line.words}: {line.scale:.4g}"
            painter.drawText(QPointF(end, _MARGIN + metrics.ascent()), text)
            end += metrics.horizontalAdvance(text) + 12

    def _draw_counts(self, painter: QPainter, curve: RatioCurve, area: QRectF) -> None:
        highest = max(float(curve.counts.max()), 1e-12)
        x = np.linspace(area.left(), area.right(), len(curve.counts))
        y = area.bottom() - curve.counts / highest * area.height()
        points = [QPointF(area.left(), area.bottom())]
        points += [QPointF(float(a), float(b)) for a, b in zip(x, y, strict=True)]
        points.append(QPointF(area.right(), area.bottom()))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(_FILL))
        painter.drawPolygon(QPolygonF(points))

    def _draw_axis(
        self,
        painter: QPainter,
        limits: tuple[float, float],
        area: QRectF,
        across: object,
    ) -> None:
        assert callable(across)
        painter.setPen(QColor(_TEXT))
        metrics = painter.fontMetrics()
        bottom = self.height() - _MARGIN
        free = -math.inf
        for ratio in _ticks(*limits):
            text = f"{ratio:g}"
            width = metrics.horizontalAdvance(text)
            left = across(math.log10(ratio)) - width / 2
            if left < max(free, area.left()) or left + width > area.right():
                continue
            painter.drawText(QPointF(left, bottom), text)
            free = left + width + 10
        painter.drawLine(area.bottomLeft(), area.bottomRight())


def _ticks(low: float, high: float) -> list[float]:
    """Return round ratios between two log10 ratios, about five of them."""
    first, last = 10**low, 10**high
    if last / first > 20:
        decades = range(math.floor(low), math.ceil(high) + 1)
        return [
            s * 10.0**d for d in decades for s in _STEPS if first <= s * 10.0**d <= last
        ]
    power = 10 ** math.floor(math.log10((last - first) / 5))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= (last - first) / 5)
    start, end = math.ceil(first / step), math.floor(last / step)
    return [float(f"{n * step:.6g}") for n in range(start, end + 1) if n > 0]
