"""The diagnostic plots of a pair, with words on what a good one looks like."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Transform
from qtpy import QtGui, QtWidgets
from qtpy.QtCore import QPointF, QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap, QResizeEvent, QShowEvent
from superqt.utils import signals_blocked

from napari_exo2micro.core import plotting
from napari_exo2micro.core.base import Exo2MicroError, Monitor, ParameterError
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, STAGES
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import WordsLabel, delayed, literal

if TYPE_CHECKING:
    from napari_exo2micro.core.parameters import ParameterValue
    from napari_exo2micro.core.pipeline import FigureEntry
    from napari_exo2micro.plugin.session.job import Job
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


_NAME = Qt.ItemDataRole.UserRole
#: From this width on the list stands beside the plot, px.
_WIDE = 640
_DIGITS = 4  # of a proposed scale
_HINT = "Click on the map to propose a scale by hand."
_BUSY = "Something runs already; wait for it or stop it."
_RUN_TIP = "Run the stage that makes what this plot shows."
_SAVE_TIP = "Save this plot as PNG, PDF or SVG."
_FULL_TIP = "Open this plot in a window of its own."
_NOTHING_CHOSEN = (
    "Choose the raw folder, the sample and the dye in the workbench. The plots appear "
    "here as soon as the stage that they show has run."
)


class PlotList(QtWidgets.QListWidget):
    """A list of plots; one that cannot be drawn says which stage it needs."""

    #: A person chose the plot of this name.
    chosen = Signal(str)

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("plots")
        self.setToolTip("Choose a plot of the results.")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        #: What is listed.
        self.entries: tuple[FigureEntry, ...] = ()
        self.currentItemChanged.connect(self._on_current)

    @property
    def current(self) -> FigureEntry | None:
        """The plot chosen."""
        item = self.currentItem()
        name = item.data(_NAME) if item is not None else None
        return next((entry for entry in self.entries if entry.name == name), None)

    def set_entries(self, entries: Sequence[FigureEntry], current: str = "") -> None:
        """List these plots and mark one, without telling `chosen`."""
        self.entries = tuple(entries)
        stage = 0
        with signals_blocked(self):
            self.clear()
            for entry in entries:
                if entry.stage != stage:
                    stage = entry.stage
                    heading = QtWidgets.QListWidgetItem(
                        f"Stage {stage}: {STAGES[stage].title}"
                    )
                    heading.setFlags(Qt.ItemFlag.ItemIsEnabled)
                    font = heading.font()
                    font.setBold(True)
                    heading.setFont(font)
                    self.addItem(heading)
                needs = f" (needs stage {stage})" if entry.state != "ready" else ""
                item = QtWidgets.QListWidgetItem(f"{entry.title}{needs}", self)
                item.setData(_NAME, entry.name)
                item.setToolTip(literal(entry.note or entry.caption))
                if entry.name == current:
                    self.setCurrentItem(item)

    def choose(self, name: str) -> None:
        """Choose a plot by its name."""
        for number in range(self.count()):
            item = self.item(number)
            if item is not None and item.data(_NAME) == name:
                self.setCurrentItem(item)

    def content_height(self) -> int:
        """Return how high the list has to be to show all of its lines, px."""
        heights = map(self.sizeHintForRow, range(self.count()))
        return sum(heights) + 2 * self.frameWidth() + 4

    def _on_current(
        self, item: QtWidgets.QListWidgetItem | None, _before: object
    ) -> None:
        if item is not None and item.data(_NAME):
            self.chosen.emit(str(item.data(_NAME)))


class ScaleProposal(QtWidgets.QWidget):
    """Says what a click means; hidden for plots that are no heat maps.

    Attributes
    ----------
    accepted : Signal(float)
        A person wants this manual scale.
    scale : float or None
        The scale proposed; None before a click.
    """

    accepted = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("scale_proposal")
        self.scale: float | None = None
        self._plot: DrawnPlot | None = None
        self._hint = controls.WordsLabel("scale_hint", self)
        self._button = controls.button(
            self,
            "use_scale",
            "",
            "Set the parameter 'manual scale' of stage 4 to this number; stage 4 then "
            "makes one more difference image with it.",
            self._accept,
        )
        line = controls.row((self._hint, 1), self._button)
        controls.column(line, parent=self, margin=0)
        self.set_plot(None)

    def set_plot(self, plot: DrawnPlot | None) -> None:
        """Propose on this plot from now on; nothing is proposed yet."""
        self._plot = plot
        self._set_scale(None)
        self.setVisible(plot is not None and plot.is_heat_map)

    def propose(self, x: float, y: float) -> bool:
        """Propose the scale of a place, see `DrawnPlot`; False where none is usable."""
        scale = None if self._plot is None else self._plot.scale_at(x, y)
        if scale is None:
            return False
        rounded = float(f"{scale:.{_DIGITS}g}")
        try:
            PARAMETER_REGISTRY["manual_scale"].check(rounded)
        except ParameterError:
            return False
        self._set_scale(rounded)
        return True

    def _set_scale(self, scale: float | None) -> None:
        self.scale = scale
        self._button.setEnabled(scale is not None)
        if scale is None:
            self._button.setText("Use as manual scale")
            self._hint.say(_HINT)
        else:
            self._button.setText(f"Use {scale:g} as manual scale")
            self._hint.say(f"Along the dashed line post is {scale:g} × pre.")

    def _accept(self) -> None:
        if self.scale is not None:
            self.accepted.emit(self.scale)


class DiagnosticsDock(Panel):
    """A list of plots, the chosen one, and what a good and a bad one look like."""

    NAME = "diagnostics_dock"
    LEAST = (280, 240)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._wanted = ""
        self._shown: tuple[Any, str] | None = None
        self._full_title = ""
        self._due = True
        self._drawing: Job | None = None
        self._room = Room(0, 0)  # of what is drawn, or was drawn last
        self._list = PlotList(self)
        self._note = controls.MessageStrip(self)
        self._note.setObjectName("plot_note")
        self._view = PlotView(self)
        self._proposal = ScaleProposal(self)
        self._caption = PlotCaption(self)
        self._state = QtWidgets.QLabel(self)
        self._state.setObjectName("drawing")
        self._run, self._save, self._enlarge = (
            controls.button(self, name, text, tip, slot)
            for name, text, tip, slot in (
                ("run_stage", "", _RUN_TIP, self._run_stage),
                ("save_picture", "Save picture …", _SAVE_TIP, self._ask_where_to_save),
                ("full_size", "Full size …", _FULL_TIP, self._open_full_size),
            )
        )
        self._later = controls.delayed(self, self._refresh)
        self._arrange()
        self._connect()
        self._show_nothing(_NOTHING_CHOSEN)

    def _arrange(self) -> None:
        buttons = controls.row(self._run, self._save, self._enlarge, None, self._state)
        plot = QtWidgets.QWidget(self)
        controls.column(
            self._note,
            (self._view, 1),
            self._proposal,
            self._caption,
            buttons,
            parent=plot,
            margin=0,
        )
        self._splitter = QtWidgets.QSplitter(Qt.Orientation.Vertical, self)
        self._splitter.setObjectName("plots_and_plot")
        self._splitter.setChildrenCollapsible(False)
        self._splitter.addWidget(self._list)
        self._splitter.addWidget(plot)
        self._splitter.setStretchFactor(1, 1)
        controls.column(self.message, (self._splitter, 1), parent=self, margin=6)

    def _connect(self) -> None:
        session = self.session
        for signal in (
            session.source_changed,
            session.params_changed,
            session.results_changed,
            session.run_ended,
        ):
            signal.connect(self._ask)
        session.jobs.busy_changed.connect(self._on_busy)
        self._list.chosen.connect(self._on_chosen)
        self._view.pressed.connect(self._on_pressed)
        self._view.resized.connect(self._on_resized)
        self._proposal.accepted.connect(self._use_scale)
        self._on_busy(session.jobs.is_busy)

    # What is shown -----------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Draw what has changed while nobody looked."""
        super().showEvent(event)
        if self._due:
            self._ask()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Put the list beside the plot where there is room, above it elsewhere."""
        super().resizeEvent(event)
        is_wide = self.width() >= _WIDE
        wanted = Qt.Orientation.Horizontal if is_wide else Qt.Orientation.Vertical
        if self._splitter.orientation() != wanted:
            self._splitter.setOrientation(wanted)
            self._size_list()

    def _size_list(self) -> None:
        if self._splitter.orientation() == Qt.Orientation.Horizontal:
            self._splitter.setSizes([220, max(self.width() - 220, 200)])
        else:
            high = min(self._list.content_height(), self.height() // 4)
            self._splitter.setSizes([high, max(self.height() - high, 200)])

    def _ask(self, *_: object) -> None:
        """Draw soon: several changes at once are one."""
        self._due = True
        self._later.start()

    def _refresh(self) -> None:
        if not self.isVisible():
            return
        self._due = False
        session = self.session
        try:
            source = session.task_source()
        except Exo2MicroError:
            self._list.set_entries(())
            self._show_nothing(_NOTHING_CHOSEN)
            return
        self._state.setText("drawing …")
        self._room = self._view.room
        self._drawing = self.work(
            draw_plot,
            "drawing a plot",
            self._on_drawn,
            on_error=self._on_error,
            newest=f"diagnostics {id(self)}",
            source=source,
            params=session.params,
            name=self._wanted,
            room=self._room,
        )

    def _on_drawn(self, drawn: Drawn) -> None:
        self._state.clear()
        entry = drawn.entry
        first = not self._list.entries
        self._list.set_entries(drawn.entries, entry.name if entry else "")
        if first:
            self._size_list()
        if entry is None:
            self._show_nothing("There are no plots.")
            return
        key = (self._source(), entry.name)
        ready = drawn.picture is not None
        self._run.setVisible(not ready)
        self._run.setText(f"Run stage {entry.stage} now")
        if drawn.picture is not None:
            self.message.clear()
            self._view.show_picture(drawn.picture)
            self._proposal.set_plot(drawn.picture.plot)
            self._shown = key
            self._tell(entry.note)
        elif self._shown == key and self._view.plot is not None:
            self._note.warning(f"This plot shows earlier settings. {entry.note}")
        else:
            self._show_nothing(entry.note)
            self._run.setVisible(True)
        self._caption.set_texts(entry.caption, entry.good, entry.bad)
        self._update_buttons()
        self._on_resized()  # while it was drawn, or by the words around it

    def _on_resized(self) -> None:
        """Draw what is shown for the room that there is now."""
        plot = self._view.plot
        if plot is None or (self._drawing is not None and self._drawing.is_running):
            return
        if self._view.room.is_narrow != self._room.is_narrow:
            self._ask()
        elif not self._view.is_sharp:
            self.work(
                plot.picture,
                "drawing a plot for another size",
                self._on_sharp,
                newest=f"diagnostics size {id(self)}",
                room=self._view.room,
            )

    def _on_sharp(self, picture: Picture) -> None:
        if picture.plot is self._view.plot:
            self._view.show_picture(picture)

    def _on_error(self, text: str) -> None:
        self._state.clear()
        self._show_nothing("This plot cannot be drawn.")
        self.message.error(text)

    def _show_nothing(self, text: str) -> None:
        self._shown = None
        self._view.show_note(text)
        self._proposal.set_plot(None)
        self._caption.set_texts("", "", "")
        self._tell("")
        self._run.hide()
        self._update_buttons()

    def _update_buttons(self) -> None:
        for does in (self._save, self._enlarge):
            does.setEnabled(self._view.plot is not None)

    def _tell(self, text: str) -> None:
        if text:
            self._note.note(text)
        else:
            self._note.clear()

    def _source(self) -> tuple[object, ...]:
        session = self.session
        return session.raw_dir, session.output_dir, session.sample, session.dye

    # What a person does --------------------------------------------------------------

    def _on_chosen(self, name: str) -> None:
        self._wanted = name
        self._refresh()

    def _on_pressed(self, x: float, y: float) -> None:
        if self._proposal.propose(x, y) and self._proposal.scale is not None:
            self._view.mark_scale(self._proposal.scale)

    def _use_scale(self, scale: float) -> None:
        self.session.set_params(manual_scale=scale)

    def _run_stage(self) -> None:
        entry = self._list.current
        if entry is None:
            return
        self.message.clear()
        try:
            self.session.run(entry.stage, entry.stage, on_error=self.message.error)
        except (Exo2MicroError, RuntimeError) as error:
            self.message.error(str(error))

    def _on_busy(self, busy: bool) -> None:
        controls.enable(self._run, _BUSY if busy else "", _RUN_TIP)

    def _ask_where_to_save(self) -> None:
        entry = self._list.current
        name = f"{entry.name if entry else 'plot'}{self.session.suffix()}.png"
        kinds = "Pictures (*.png *.pdf *.svg)"
        path = self.ask_where_to_save("Save picture", name, kinds)
        if path is not None:
            self.save_picture(path)

    def save_picture(self, path: Path) -> None:
        """Write the plot that is shown; how it went is said in the dock."""
        plot, scale = self._view.plot, self._proposal.scale
        if plot is not None:
            self.work(
                plot.save, "saving a plot", self.was_saved, path=path, scale=scale
            )

    def _open_full_size(self) -> None:
        plot, entry = self._view.plot, self._list.current
        if plot is None:
            return
        self._full_title = entry.title if entry else ""
        self.work(
            plot.full_size,
            "drawing a plot at full size",
            self._show_full_size,
            newest=f"diagnostics full size {id(self)}",
            scale=self._proposal.scale,
        )

    def _show_full_size(self, image: QImage) -> None:
        window = QtWidgets.QScrollArea(self)
        window.setObjectName("full_size_window")
        window.setWindowFlag(Qt.WindowType.Window)
        window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        window.setWindowTitle(self._full_title)
        picture = QtWidgets.QLabel()
        picture.setPixmap(QPixmap.fromImage(image))
        window.setWidget(picture)
        screen = self.screen()
        room = screen.availableSize() if screen is not None else self.size()
        window.resize((picture.sizeHint() + QSize(4, 4)).boundedTo(room * 0.9))
        window.show()
