"""A diagnostic plot on screen: drawn in the background, scaled as a whole."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Transform
from qtpy import QtGui, QtWidgets
from qtpy.QtCore import QPointF, QSize, Qt, Signal

from napari_exo2micro.core import plotting
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.plugin.widgets.controls import WordsLabel, delayed

if TYPE_CHECKING:
    from napari_exo2micro.core.parameters import ParameterValue
    from napari_exo2micro.core.pipeline import FigureEntry
    from napari_exo2micro.plugin.session.session import TaskSource


#: A plot that has to be smaller to be seen as a whole fills the width instead; its
#: numbers can be read down to the smallest resolution, then scroll bars appear.
_WHOLE_DPI, _SMALLEST_DPI, _READABLE_DPI = 62.0, 50.0, 90.0
_LARGEST_DPI = 240.0
#: Up to this width of a plot its panels are put under one another, px.
_NARROW = 850
#: A window that is being resized has its size when it stays for so long, ms.
_SETTLED = 100
# Each brings its background: readable on napari's dark and light themes alike.
_BADGES = {"good": "#1e6b3a", "bad": "#8a2222"}
# Of the line of a scale: widths of it and of its edge, inches; dashes in widths.
_LINE, _EDGE = 0.028, 0.056
_DASHES = [4.0, 2.0]


@dataclass(frozen=True, slots=True)
class Room:
    """The place for a plot, in px of the screen.

    Width and height are those without scroll bars, `bar` is the width of one; a px
    has `ratio` dots of the screen.
    """

    width: int
    height: int
    bar: int = 0
    ratio: float = 1.0

    @property
    def is_narrow(self) -> bool:
        """Whether panels are put under one another."""
        return self.width < _NARROW

    def dpi(self, inches: tuple[float, float]) -> float:
        """Return the resolution at which a plot of this width and height fits.

        The whole of it is seen, or its whole width where it would be too small.
        """
        across, down = inches
        dpi = min(self.width / across, self.height / down)
        if dpi < _WHOLE_DPI:
            # Scrolling in one direction is enough where the width allows that.
            full = (self.width - self.bar) / across
            dpi = min(max(full, _SMALLEST_DPI), _READABLE_DPI)
        return min(dpi, _LARGEST_DPI)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A plot at one resolution, in px of the screen."""

    plot: DrawnPlot
    image: QtGui.QImage
    dpi: float


class DrawnPlot:
    """A figure that jobs make pictures and files of, one at a time.

    The figure was drawn for its own size in inches, which it keeps. Places on it are
    fractions of its width, from the left, and of its height, from the top.
    """

    def __init__(self, figure: Figure) -> None:
        width, height = figure.get_size_inches()
        #: Its width and height.
        self.inches = float(width), float(height)
        #: The colour of a line of `line`.
        self.line_colour = plotting.scale_colour("manual")
        self._figure = figure
        self._canvas = FigureCanvasAgg(figure)
        self._axes = plotting.heatmap_axes(figure)
        self._places: Transform | None = None
        self._lock = threading.Lock()

    # What takes its time -------------------------------------------------------------

    def picture(self, room: Room, monitor: Monitor) -> Picture:
        """Return the plot as large as there is room."""
        dpi = room.dpi(self.inches)
        with self._at_work(dpi * room.ratio, None, monitor):
            return Picture(self, self._drawn(), dpi)

    def full_size(self, scale: float | None, monitor: Monitor) -> QtGui.QImage:
        """Return the plot as a run's files show it; with the line of a manual scale."""
        with self._at_work(plotting.DPI, scale, monitor):
            return self._drawn()

    def save(self, path: Path, scale: float | None, monitor: Monitor) -> Path:
        """Write what `full_size` shows; the path's ending chooses the format."""
        with self._at_work(plotting.DPI, scale, monitor):
            plotting.save_figure(self._figure, path)
        return path

    @contextlib.contextmanager
    def _at_work(
        self, dpi: float, scale: float | None, monitor: Monitor
    ) -> Iterator[None]:
        """Have the figure for one thread, at a resolution."""
        with self._lock:
            monitor.check()
            self._figure.set_dpi(dpi)
            marks = [] if scale is None else plotting.mark_scale(self._figure, scale)
            try:
                yield
            finally:
                for mark in marks:
                    mark.remove()

    def _drawn(self) -> QtGui.QImage:
        canvas = self._canvas
        canvas.draw()  # type: ignore[no-untyped-call]
        if self._axes is not None:  # drawing has put the panel into its place
            to_figure = self._figure.transFigure.inverted()
            # Without what the panel changes when it is drawn at another size.
            self._places = cast(Transform, (self._axes.transData + to_figure).frozen())
        pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        rows, columns, _ = pixels.shape
        shown = QtGui.QImage(pixels, columns, rows, QtGui.QImage.Format.Format_RGBA8888)
        # As the screen wants it, and of its own: the canvas draws again.
        return shown.convertToFormat(QtGui.QImage.Format.Format_ARGB32_Premultiplied)

    # What is known at once ------------------------------------------------------------

    @property
    def is_heat_map(self) -> bool:
        """Whether it shows grey levels of pre and post, so that places mean scales."""
        return self._axes is not None

    def scale_at(self, x: float, y: float) -> float | None:
        """Return the scale whose line runs through a place, if there is one."""
        if self._axes is None or self._places is None:
            return None
        levels = self._places.inverted().transform((x, 1.0 - y))
        return plotting.scale_at(self._axes, float(levels[0]), float(levels[1]))

    def line(self, scale: float) -> list[tuple[float, float]]:
        """Return the places along the line of a scale; none if it is no heat map."""
        line = None if self._axes is None else plotting.scale_line(self._axes, scale)
        if line is None or self._places is None:
            return []
        places = self._places.transform(np.column_stack(line))
        return [(float(x), 1.0 - float(y)) for x, y in places]


@dataclass(frozen=True, slots=True)
class Drawn:
    """All plots of the pair, and the one shown; no picture where it needs a run."""

    entries: tuple[FigureEntry, ...]
    entry: FigureEntry | None
    picture: Picture | None


def draw_plot(
    source: TaskSource,
    params: Mapping[str, ParameterValue],
    name: str,
    room: Room,
    monitor: Monitor,
) -> Drawn:
    """Return the plots there are and the named one, or the first that can be drawn."""
    # Not at the top: a dock opens before anybody waits for matplotlib.
    from napari_exo2micro.core.pipeline import available_figures, draw_figure

    task = source.task(params)
    entries = tuple(available_figures(task))
    monitor.check()
    named = [entry for entry in entries if entry.name == name]
    ready = [entry for entry in entries if entry.state == "ready"]
    entry = next(iter([*named, *ready, *entries]), None)
    if entry is None or entry.state != "ready":
        return Drawn(entries, entry, None)
    figure = draw_figure(task, entry.name, narrow=room.is_narrow, monitor=monitor)
    return Drawn(entries, entry, DrawnPlot(figure).picture(room, monitor))


class PlotCaption(QtWidgets.QWidget):
    """A sentence on a plot, and one each on a good and on a bad one."""

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("plot_caption")
        layout = QtWidgets.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setColumnStretch(1, 1)
        self._caption = WordsLabel("caption", self)
        layout.addWidget(self._caption, 0, 0, 1, 2)
        self._lines: list[tuple[QtWidgets.QLabel, WordsLabel]] = []
        for line, (kind, colour) in enumerate(_BADGES.items(), 1):
            badge, words = QtWidgets.QLabel(kind), WordsLabel(kind, self)
            badge.setStyleSheet(
                f"QLabel {{ background: {colour}; color: white; padding: 1px 6px; "
                "border-radius: 3px; }"
            )
            layout.addWidget(badge, line, 0, Qt.AlignmentFlag.AlignTop)
            layout.addWidget(words, line, 1)
            self._lines.append((badge, words))
        self.set_texts("", "", "")

    def set_texts(self, caption: str, good: str, bad: str) -> None:
        """Show these sentences; a line without one is not shown."""
        self._caption.say(caption)
        for (badge, words), sentence in zip(self._lines, (good, bad), strict=True):
            words.say(sentence)
            badge.setVisible(bool(sentence))


class PlotPicture(QtWidgets.QWidget):
    """A picture that fills its widget, whatever size it was drawn for."""

    #: Where the left button went down or was dragged: fractions of the width, from
    #: the left, and of the height, from the top.
    pressed = Signal(float, float)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("plot_picture")
        self._pixmap = QtGui.QPixmap()
        self._dpi = 1.0
        self._line: list[tuple[float, float]] = []
        self._colour = QtGui.QColor()

    def show_image(self, image: QtGui.QImage) -> None:
        """Show a picture, in the size that the widget has."""
        self._pixmap = QtGui.QPixmap.fromImage(image)
        self.update()

    def fit(self, size: QSize, dpi: float) -> None:
        """Take a size, at which the picture has this resolution."""
        self._dpi = dpi
        self.setFixedSize(size)

    def lay_line(self, places: Sequence[tuple[float, float]], colour: str = "") -> None:
        """Lay a dashed line over the picture, in place of an earlier one.

        Its points are places as for `pressed`; without any there is no line.
        """
        self._line, self._colour = list(places), QtGui.QColor(colour)
        self.update()

    def paintEvent(self, _event: QtGui.QPaintEvent | None) -> None:
        """Draw the picture and the line."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.drawPixmap(self.rect(), self._pixmap)
        if self._line:
            wide, high = self.width(), self.height()
            line = QtGui.QPolygonF([QPointF(x * wide, y * high) for x, y in self._line])
            pen = QtGui.QPen(QtGui.QColor("white"), _EDGE * self._dpi)
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
            painter.setPen(pen)
            painter.drawPolyline(line)
            pen.setColor(self._colour)
            pen.setWidthF(_LINE * self._dpi)
            pen.setDashPattern(_DASHES)
            painter.setPen(pen)
            painter.drawPolyline(line)
        painter.end()

    def mousePressEvent(self, event: QtGui.QMouseEvent | None) -> None:
        """Tell where the left button went down."""
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            place = event.position()
            self.pressed.emit(place.x() / self.width(), place.y() / self.height())

    def mouseMoveEvent(self, event: QtGui.QMouseEvent | None) -> None:
        """Tell where it is dragged to."""
        self.mousePressEvent(event)


class PlotView(QtWidgets.QScrollArea):
    """Shows one plot as large as there is room, or a note instead of it.

    `pressed` has a place on the plot, see `PlotPicture`. `resized` tells that there is
    another room since a moment ago: what is shown fills it already, but may be blurred,
    see `is_sharp`.
    """

    pressed = Signal(float, float)
    resized = Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plot_view")
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self.setMinimumSize(160, 120)
        self._shown: Picture | None = None
        self._settled = delayed(self, self._on_settled, _SETTLED)
        self.show_note("")

    @property
    def plot(self) -> DrawnPlot | None:
        """The plot shown."""
        return None if self._shown is None else self._shown.plot

    @property
    def note(self) -> str:
        """The words shown instead of a plot."""
        shown = self.widget()
        return shown.text() if isinstance(shown, QtWidgets.QLabel) else ""

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
        label = QtWidgets.QLabel(text)
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

    def resizeEvent(self, event: QtGui.QResizeEvent | None) -> None:
        """Stretch what is shown; `resized` follows when the size has settled."""
        super().resizeEvent(event)
        self._fit()
        self._settled.start()

    def _on_settled(self) -> None:
        # A method: a signal's own emit would be called after this was deleted.
        self.resized.emit()

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
