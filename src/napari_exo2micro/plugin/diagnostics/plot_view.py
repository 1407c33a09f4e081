"""The picture of a plot in a dock: it keeps its layout and is scaled as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QWidget

from napari_exo2micro.plugin.diagnostics.plot_picture import PlotPicture
from napari_exo2micro.plugin.diagnostics.plot_room import Room

if TYPE_CHECKING:
    from napari_exo2micro.plugin.diagnostics.drawn_plot import DrawnPlot, Picture

__all__ = ["PlotView"]

#: A window that is being resized has its size when it stays for so long, ms.
_SETTLED = 100


class PlotView(QScrollArea):
    """Shows one plot as large as there is room, or a note instead of it.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    pressed : Signal(float, float)
        A place on the plot, see `PlotPicture`.
    resized : Signal()
        There is another room since a moment ago. What is shown fills it already, but
        may be blurred: see `is_sharp`.
    """

    pressed = Signal(float, float)
    resized = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plot_view")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self.setMinimumSize(160, 120)
        self._shown: Picture | None = None
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED)
        self._settled.timeout.connect(self.resized)
        self.show_note("")

    @property
    def plot(self) -> DrawnPlot | None:
        """The plot shown."""
        return None if self._shown is None else self._shown.plot

    @property
    def note(self) -> str:
        """The words shown instead of a plot."""
        shown = self.widget()
        return shown.text() if isinstance(shown, QLabel) else ""

    @property
    def room(self) -> Room:
        """The room that a plot has."""
        size, bar = self.maximumViewportSize(), self.verticalScrollBar()
        wide = 0 if bar is None else bar.sizeHint().width()
        return Room(size.width(), size.height(), wide, self.devicePixelRatioF())

    @property
    def is_sharp(self) -> bool:
        """Whether nothing is shown that was drawn for another room."""
        shown = self._shown
        return shown is None or shown.dpi == self.room.dpi(shown.plot.inches)

    def show_picture(self, picture: Picture) -> None:
        """Show a plot; the line laid over it stays if it is the same one."""
        widget = self.widget()
        if not isinstance(widget, PlotPicture):
            widget = PlotPicture()
            widget.pressed.connect(self.pressed)
            self.setWidgetResizable(False)
            self.setWidget(widget)
        if picture.plot is not self.plot:
            widget.lay_line(())
        self._shown = picture
        widget.show_image(picture.image)
        self._fit()

    def show_note(self, text: str) -> None:
        """Show words instead of a plot."""
        self._shown = None
        label = QLabel(text)
        label.setObjectName("plot_missing")
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setWordWrap(True)
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        label.setMargin(16)
        self.setWidgetResizable(True)
        self.setWidget(label)

    def mark_scale(self, scale: float) -> None:
        """Lay the line of a scale over a heat map."""
        widget = self.widget()
        if self._shown is not None and isinstance(widget, PlotPicture):
            plot = self._shown.plot
            widget.lay_line(plot.line(scale), plot.line_colour)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Stretch what is shown; `resized` follows when the size has settled."""
        super().resizeEvent(event)
        self._fit()
        self._settled.start()

    def _fit(self) -> None:
        widget, shown = self.widget(), self._shown
        if shown is None or not isinstance(widget, PlotPicture):
            return
        room, inches = self.room, shown.plot.inches
        dpi = room.dpi(inches)
        size = QSize(round(inches[0] * dpi), round(inches[1] * dpi))
        drawn = shown.image.size() / room.ratio
        # A part of a px less than wanted is no reason to blur it.
        widget.fit(drawn if shown.dpi == dpi else size, dpi)
