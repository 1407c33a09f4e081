"""The zoom box: a place, its size and blur, drawn at full resolution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy import QtWidgets
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap, QResizeEvent

from napari_exo2micro.core import plotting
from napari_exo2micro.core.base import Monitor, ParameterError
from napari_exo2micro.plugin.inspection.box import InspectionBox, ScreenLines
from napari_exo2micro.plugin.layers.layers import KEY, camera_place, ground
from napari_exo2micro.plugin.layers.pair import find_section
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.rows import capitalised

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_FIRST_SIZE = QSize(1250, 520)
_FARTHEST = 10_000_000
#: Columns of a picture that is scaled to the window: sharp on any screen.
_ON_SCREEN = 3840
#: Width of the outline on the screen, px.
_LINE = 2.0


class ZoomWindow(QtWidgets.QWidget):
    """A picture, scaled to the window or with every pixel, and a button to save it."""

    save_asked = Signal()
    fit_changed = Signal(bool)
    closed = Signal()

    def __init__(self, parent: QtWidgets.QWidget | None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setObjectName("zoom_window")
        self.setWindowTitle("Zoom box")
        self._pixmap: QPixmap | None = None
        self._picture = QtWidgets.QLabel(self)
        self._picture.setObjectName("zoom_picture")
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._area = QtWidgets.QScrollArea(self)
        self._area.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._area.setWidget(self._picture)
        tip = "Without the tick every pixel of the box is drawn; scroll to see all"
        self._fit = controls.check_box(
            self, "zoom_fit", "Fit to the window", tip, self._arrange, on=True
        )
        self._fit.toggled.connect(self.fit_changed)
        self._note = controls.WordsLabel("zoom_note", self)
        tip = "Write the picture with every pixel of the box: PNG, PDF, SVG"
        save = controls.button(self, "zoom_save", "Save picture…", tip, self.save_asked)
        below = controls.row(self._fit, (self._note, 9), None, save)
        controls.column((self._area, 1), below, parent=self, margin=6)
        self.resize(_FIRST_SIZE)

    def show_picture(self, pixels: NDArray[np.uint8], note: str = "") -> None:
        """Show a picture, (rows, columns, 4) uint8 in RGBA, and a note under it."""
        rows, columns = pixels.shape[:2]
        data = np.ascontiguousarray(pixels).tobytes()
        image = QImage(data, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888)
        # A pixmap has its own memory; the bytes may go.
        self._pixmap = QPixmap.fromImage(image)
        self._note.say(note)
        self._arrange()

    @property
    def fits(self) -> bool:
        """Whether the picture is scaled to the window."""
        return self._fit.isChecked()

    @property
    def picture_size(self) -> tuple[int, int]:
        """Rows and columns of the picture; zeros without one."""
        if self._pixmap is None:
            return 0, 0
        return self._pixmap.height(), self._pixmap.width()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Scale the picture with the window."""
        super().resizeEvent(event)
        self._arrange()

    def closeEvent(self, event: Any) -> None:
        """Tell that nobody looks any more."""
        super().closeEvent(event)
        self.closed.emit()

    def _arrange(self) -> None:
        shown = self._pixmap
        if shown is None:
            return
        policy = Qt.ScrollBarPolicy.ScrollBarAsNeeded
        if self.fits:
            policy = Qt.ScrollBarPolicy.ScrollBarAlwaysOff
            ratio = self.devicePixelRatioF()
            shown = shown.scaled(
                self._area.maximumViewportSize() * ratio,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            shown.setDevicePixelRatio(ratio)
        self._area.setHorizontalScrollBarPolicy(policy)
        self._area.setVerticalScrollBarPolicy(policy)
        self._picture.setPixmap(shown)
        self._picture.adjustSize()


class ZoomBox(InspectionBox):
    """Row, column, size and blur of the box, and the window that shows it."""

    HEADING = "Zoom box"
    NAME = "zoom_box"

    drawn = Signal()

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.frame = ScreenLines(self._viewer, _LINE, self)
        self.pick = controls.PickPlace(self._viewer, self)
        self._figure: Figure | None = None
        self._window: ZoomWindow | None = None
        # Typing, arrows and saved views change several numbers at once.
        self._timer = controls.delayed(self, self._on_changed)
        self._row, self._column = self._middle("row"), self._middle("column")
        tip = "Side of the box, px of post-stain"
        limits = (10, plotting.LARGEST_BOX)
        self._size = controls.spin_box(
            self, "zoom_size", limits, 500, tip, self._later, step=50
        )
        tip = "Standard deviation of a Gaussian blur; 0 for none. Against noise"
        self._blur = controls.decimal_box(
            self, "zoom_blur", (0, 100), 0.0, tip, self._later
        )
        self._blur.setSingleStep(0.5)
        words, tip = "Outline in the viewer", "A yellow square shows where the box is"
        self._outline = controls.check_box(
            self, "zoom_outline", words, tip, self._show_outline, on=True
        )
        self._state = controls.WordsLabel("zoom_state", self)
        self._arrange()
        self.pick.picked.connect(self._on_picked)
        self.pick.changed.connect(self._on_waiting)
        self.take_centre()

    def _middle(self, side: str) -> QtWidgets.QSpinBox:
        return controls.spin_box(
            self,
            f"zoom_{side}",
            (-_FARTHEST, _FARTHEST),
            0,
            f"{side.capitalize()} of the middle of the box, as the viewer's status bar "
            "tells it",
            self._later,
            step=10,
        )

    def _arrange(self) -> None:
        words = "From viewer's centre"
        tip = "Take the place in the middle of what is on screen"
        centre = controls.button(self, "zoom_centre", words, tip, self.take_centre)
        tip = "Then click on the place in the viewer; dragging still moves the picture"
        self._pick = controls.button(
            self, "zoom_pick", "Pick by click", tip, self._on_pick, checkable=True
        )
        tip = (
            "Draw post, aligned pre and their difference at this place with every "
            "pixel, in a window of its own"
        )
        show = controls.button(
            self, "zoom_show", "Show zoom box", tip, self.show_picture
        )
        numbers = controls.form(
            ("Row", self._row),
            ("Column", self._column),
            ("Size", self._size),
            ("Blur", self._blur),
        )
        controls.column(
            numbers,
            controls.row(centre, self._pick),
            self._outline,
            show,
            self._state,
            parent=self,
        )

    def _later(self) -> None:
        self._timer.start()

    @property
    def place(self) -> tuple[int, int, int, float]:
        """Row and column of the middle, size and blur, px of post-stain."""
        size, blur = self._size.value(), self._blur.value()
        return self._row.value(), self._column.value(), size, blur

    def set_place(
        self, row: int, column: int, size: int | None = None, blur: float | None = None
    ) -> None:
        """Choose the place; what is left out stays as it is."""
        self._row.setValue(row)
        self._column.setValue(column)
        if size is not None:
            self._size.setValue(size)
        if blur is not None:
            self._blur.setValue(blur)

    def take_centre(self) -> None:
        """Take the place in the middle of what is on screen."""
        row, column, _ = camera_place(self._viewer)
        self.set_place(round(row), round(column))

    @property
    def window_shown(self) -> ZoomWindow | None:
        """The window, while it is open."""
        window = self._window
        return window if window is not None and window.isVisible() else None

    def show_picture(self) -> None:
        """Draw the box in the background and show it in its window."""
        section = find_section(self._session)
        try:
            look = section.close_look()
        except ParameterError as error:
            self._message.error(f"{capitalised(str(error)).removesuffix('.')}.")
            return
        self._message.clear()
        self._show_outline()
        self._state.say("Drawing…")
        fits = self._window is None or self._window.fits
        self._panel.work(
            _draw,
            "drawing the zoom box",
            self._on_drawn,
            on_error=self._on_error,
            newest="zoom box",
            look=look,
            left_out=section.left_out,
            place=self.place,
            most_columns=_ON_SCREEN if fits else None,
        )

    def close_down(self) -> None:
        """Close the window, take the outline away, listen to nothing any more."""
        super().close_down()
        self._timer.stop()
        self._session.jobs.cancel("zoom box")
        self.frame.close_down()
        if self._window is not None:
            self._window.close()
            self._window.deleteLater()
            self._window = None

    def stop(self) -> None:
        """Take the outline away and wait for no click."""
        self.pick.stop()
        self.frame.remove()

    def _on_changed(self) -> None:
        if self.window_shown is not None:
            self.show_picture()

    def _show_outline(self) -> None:
        """Draw a yellow square where the box is."""
        if not self._outline.isChecked():
            self.frame.remove()
            return
        row, column, size, _ = self.place
        first = np.array((row, column)) - size // 2 - 0.5
        corners = first + size * np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
        sides = np.roll(corners, -1, axis=0) - corners
        options = {
            "name": "zoom box",
            "edge_color": "#ffd400",
            "metadata": {KEY: {"role": "zoom frame"}},
        }
        lines = np.stack([corners, sides], axis=1)
        self.frame.draw(lines, "line", options, ground(self._viewer))

    def _on_pick(self, wanted: bool) -> None:
        if wanted:
            self.pick.start()
        else:
            self.pick.stop()

    def _on_waiting(self, waiting: bool) -> None:
        self._pick.setChecked(waiting)
        self._pick.setText("Click in the viewer…" if waiting else "Pick by click")

    def _on_picked(self, row: float, column: float) -> None:
        row, column = ground(self._viewer).pixels((row, column))
        self.set_place(round(row), round(column))
        self.show_picture()

    def _on_drawn(self, result: tuple[Figure, Any, str]) -> None:
        self._state.say("")
        self._figure, pixels, note = result
        if self._window is None:
            self._window = ZoomWindow(self.window())
            self._window.save_asked.connect(self._ask_where)
            self._window.closed.connect(self.frame.remove)
            self._window.fit_changed.connect(self._on_changed)
        self._window.show_picture(pixels, note)
        self._window.show()
        self.drawn.emit()

    def _on_error(self, text: str) -> None:
        self._state.say("")
        self._message.error(text)

    def _ask_where(self) -> None:
        section = find_section(self._session)
        row, column, _, _ = self.place
        name = f"{section.sample}_{section.dye}_zoom_{row}_{column}.png"
        tip = "Save the picture of the zoom box"
        words = "Pictures (*.png *.pdf *.svg)"
        path = controls.ask_to_save(
            self._window or self, tip, self._session.output_dir / name, words
        )
        if path is not None:
            self.save_picture(path)

    def save_picture(self, path: str | Path) -> None:
        """Write the picture with every pixel of the box, in the background."""
        if self._figure is None:
            self._message.error(
                "There is no picture to save yet: press 'Show zoom box' first."
            )
            return
        self._panel.work(
            plotting.save_close_look,
            "saving the picture",
            self._panel.was_saved,
            show_progress=True,
            figure=self._figure,
            path=Path(path),
        )


def _draw(
    look: plotting.CloseLook,
    left_out: str,
    place: tuple[int, int, int, float],
    most_columns: int | None,
    monitor: Monitor,
) -> tuple[Figure, Any, str]:
    """Return the figure, its pixels and what to say of them."""
    figure = plotting.draw_close_look(look, *place, monitor=monitor)
    pixels = plotting.figure_pixels(figure, most_columns)
    note = left_out
    if look.difference is None:
        words = "The scale is provisional: stage 4 has not run for this picture."
        note = f"{words} {note}".strip()
    return figure, pixels, note
