"""The diagnostic plots of a pair, with words on what a good one looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy import QtWidgets
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap, QResizeEvent, QShowEvent
from superqt.utils import signals_blocked

from napari_exo2micro.core.base import Exo2MicroError, ParameterError
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, STAGES
from napari_exo2micro.plugin.diagnostics.plot import (
    Drawn,
    PlotCaption,
    PlotView,
    Room,
    draw_plot,
)
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import FigureEntry
    from napari_exo2micro.plugin.diagnostics.plot import DrawnPlot, Picture
    from napari_exo2micro.plugin.session.job import Job


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
