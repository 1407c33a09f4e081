"""The zoom box: a place, its size and blur, drawn at full resolution."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer, Vectors
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QImage, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.base import Monitor, ParameterError
from napari_exo2micro.core.plotting import (
    LARGEST_BOX,
    CloseLook,
    draw_close_look,
    figure_pixels,
    save_close_look,
)
from napari_exo2micro.plugin.inspection.box import InspectionBox
from napari_exo2micro.plugin.layers.layers import KEY, camera, camera_place
from napari_exo2micro.plugin.layers.pair import find_section
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import (
    Connections,
    MessageStrip,
    PickPlace,
    button,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Width of the line on the screen, px.
_LINE = 2.0


class ZoomFrame(QObject):
    """A yellow square in the viewer, as thick on the screen at any zoom.

    It only shows the place; that is chosen by numbers, by a click or from the view.
    So it is made of lines, which napari renews in place, and not of shapes.

    Parameters
    ----------
    viewer : ViewerModel
        Where it is drawn.
    parent : QObject, optional
        As for any object.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Vectors | None = None
        self._connections = Connections()
        self._connections.add(camera(viewer).events.zoom, self._on_zoom)

    def show_box(self, row: int, column: int, size: int) -> None:
        """Draw the square.

        Parameters
        ----------
        row, column, size : int
            Middle and side, px of the raw post-stain image.
        """
        lines = _square(row - size // 2 - 0.5, column - size // 2 - 0.5, size)
        if self._layer is None or self._layer not in self._viewer.layers:
            active = self._viewer.layers.selection.active
            self._layer = Vectors(
                lines,
                name="zoom box",
                edge_color="#ffd400",
                edge_width=self._width(),
                vector_style="line",
                metadata={KEY: {"role": "zoom frame"}},
            )
            self._viewer.add_layer(self._layer)
            if isinstance(active, Layer):
                self._viewer.layers.selection.active = active
        else:
            self._layer.data = lines

    def hide(self) -> None:
        """Take it away."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close_down(self) -> None:
        """Take it away and follow the viewer no more."""
        self.hide()
        self._connections.close()

    def _width(self) -> float:
        return float(_LINE / max(camera(self._viewer).zoom, 1e-6))

    def _on_zoom(self, _event: object = None) -> None:
        if self._layer is not None:
            self._layer.edge_width = self._width()


def _square(top: float, left: float, size: int) -> NDArray[np.float64]:
    """Return four lines, shape (4, 2, 2): where each begins and which way it goes."""
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * float(size) + (top, left)
    return np.stack([corners, np.roll(corners, -1, axis=0) - corners], axis=1)


_FIRST_SIZE = QSize(1250, 520)


class ZoomWindow(QWidget):
    """A picture, scaled to the window or with every pixel.

    Parameters
    ----------
    parent : QWidget, optional
        The window stays in front of this one.

    Attributes
    ----------
    save_asked : Signal()
        The button to save the picture was pressed.
    closed : Signal()
        The window was closed.
    fit_changed : Signal(bool)
        Whether the picture is scaled to the window.
    """

    save_asked = Signal()
    fit_changed = Signal(bool)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setObjectName("zoom_window")
        self.setWindowTitle("Zoom box")
        self._pixmap: QPixmap | None = None
        self._picture = QLabel(self)
        self._picture.setObjectName("zoom_picture")
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._area = QScrollArea(self)
        self._area.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._area.setWidget(self._picture)
        self._fit = QCheckBox("Fit to the window", self)
        self._fit.setObjectName("zoom_fit")
        self._fit.setChecked(True)
        self._fit.setToolTip(
            "Without the tick every pixel of the box is drawn; scroll to see all"
        )
        self._note = QLabel(self)
        self._note.setObjectName("zoom_note")
        self._note.setTextFormat(Qt.TextFormat.PlainText)
        self._note.setWordWrap(True)
        save = QPushButton("Save picture…", self)
        save.setObjectName("zoom_save")
        save.setToolTip("Write the picture with every pixel of the box: PNG, PDF, SVG")
        row = QHBoxLayout()
        row.addWidget(self._fit)
        row.addWidget(self._note, 1)
        row.addWidget(save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._area, 1)
        layout.addLayout(row)
        self._fit.toggled.connect(self._arrange)
        self._fit.toggled.connect(self.fit_changed)
        save.clicked.connect(self.save_asked)
        self.resize(_FIRST_SIZE)

    def show_picture(self, pixels: NDArray[np.uint8], note: str = "") -> None:
        """Show a picture.

        Parameters
        ----------
        pixels : ndarray, shape (rows, columns, 4), uint8
            Red, green, blue, alpha.
        note : str
            What to say under it.
        """
        rows, columns = pixels.shape[:2]
        data = np.ascontiguousarray(pixels).tobytes()
        image = QImage(data, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888)
        # A pixmap has its own memory; the bytes may go.
        self._pixmap = QPixmap.fromImage(image)
        self._note.setText(note)
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

    def closeEvent(self, event: object) -> None:
        """Tell that nobody looks any more."""
        super().closeEvent(event)  # type: ignore[arg-type]
        self.closed.emit()

    def _arrange(self) -> None:
        if self._pixmap is None:
            return
        shown = self._pixmap
        policy = (
            Qt.ScrollBarPolicy.ScrollBarAlwaysOff
            if self._fit.isChecked()
            else Qt.ScrollBarPolicy.ScrollBarAsNeeded
        )
        self._area.setHorizontalScrollBarPolicy(policy)
        self._area.setVerticalScrollBarPolicy(policy)
        if self._fit.isChecked():
            ratio = self.devicePixelRatioF()
            shown = self._pixmap.scaled(
                self._area.maximumViewportSize() * ratio,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            shown.setDevicePixelRatio(ratio)
        self._picture.setPixmap(shown)
        self._picture.adjustSize()


_FARTHEST = 10_000_000

#: Columns of a picture that is scaled to the window: sharp on any screen.
_ON_SCREEN = 3840


class ZoomBox(InspectionBox):
    """Row, column, size and blur of the box, and the window that shows it.

    Parameters
    ----------
    session : Session
        Whose sample is shown.
    message : MessageStrip
        Where problems are told.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    drawn : Signal()
        A new picture is in the window.
    """

    drawn = Signal()

    def __init__(
        self, session: Session, message: MessageStrip, parent: QWidget | None = None
    ) -> None:
        super().__init__("Zoom box", "zoom_box", session.viewer, message, parent)
        self._session = session
        self.frame = ZoomFrame(self._viewer, self)
        self.pick = PickPlace(self._viewer, self)
        self._figure: Figure | None = None
        self._window: ZoomWindow | None = None
        self._row = self._place("zoom_row", "Row of the middle of the box")
        self._column = self._place("zoom_column", "Column of the middle of the box")
        self._size = QSpinBox(self)
        self._size.setObjectName("zoom_size")
        self._size.setRange(10, LARGEST_BOX)
        self._size.setSingleStep(50)
        self._size.setValue(500)
        self._size.setSuffix(" px")
        self._size.setKeyboardTracking(False)
        self._size.setToolTip("Side of the box, px of post-stain")
        self._blur = QDoubleSpinBox(self)
        self._blur.setObjectName("zoom_blur")
        self._blur.setRange(0, 100)
        self._blur.setDecimals(1)
        self._blur.setSingleStep(0.5)
        self._blur.setSuffix(" px")
        self._blur.setKeyboardTracking(False)
        self._blur.setToolTip(
            "Standard deviation of a Gaussian blur; 0 for none. Against noise"
        )
        self._arrange()
        # Typing, arrows and saved views change several numbers at once.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._on_changed)
        for box in (self._row, self._column, self._size, self._blur):
            box.valueChanged.connect(lambda _: self._timer.start())
        self.pick.picked.connect(self._on_picked)
        self.pick.changed.connect(self._on_waiting)
        for box in (self._row, self._column, self._size, self._blur):
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.take_centre()

    def _place(self, name: str, tip: str) -> QSpinBox:
        box = QSpinBox(self)
        box.setObjectName(name)
        box.setRange(-_FARTHEST, _FARTHEST)
        box.setSingleStep(10)
        box.setSuffix(" px")
        box.setKeyboardTracking(False)
        box.setToolTip(f"{tip}, as the status bar of the viewer tells it")
        return box

    def _arrange(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Row", self._row)
        form.addRow("Column", self._column)
        form.addRow("Size", self._size)
        form.addRow("Blur", self._blur)
        centre = button(
            self,
            "zoom_centre",
            "From viewer's centre",
            "Take the place in the middle of what is on screen",
        )
        self._pick = button(
            self,
            "zoom_pick",
            "Pick by click",
            "Then click on the place in the viewer; dragging still moves the picture",
            checkable=True,
        )
        self._outline = QCheckBox("Outline in the viewer", self)
        self._outline.setObjectName("zoom_outline")
        self._outline.setChecked(True)
        self._outline.setToolTip("A yellow square shows where the box is")
        self._show = button(
            self,
            "zoom_show",
            "Show zoom box",
            "Draw post, aligned pre and their difference at this place with every "
            "pixel, in a window of its own",
        )
        self._state = QLabel(self)
        self._state.setObjectName("zoom_state")
        self._state.setWordWrap(True)
        buttons = QHBoxLayout()
        buttons.addWidget(centre)
        buttons.addWidget(self._pick)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self._outline)
        layout.addWidget(self._show)
        layout.addWidget(self._state)
        self._state.hide()
        centre.clicked.connect(self.take_centre)
        self._pick.clicked.connect(self._on_pick)
        self._outline.toggled.connect(self._show_outline)
        self._show.clicked.connect(self.show_picture)

    @property
    def place(self) -> tuple[int, int, int, float]:
        """Row and column of the middle, size and blur, px of post-stain."""
        return (
            self._row.value(),
            self._column.value(),
            self._size.value(),
            self._blur.value(),
        )

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
            self._message.error(_sentence(error))
            return
        self._message.clear()
        self._show_outline()
        row, column, size, blur = self.place
        self._state.setText("Drawing…")
        self._state.show()
        self._session.jobs.start(
            _draw,
            title="drawing the zoom box",
            on_result=self._on_drawn,
            on_error=self._on_error,
            newest="zoom box",
            show_progress=False,
            look=look,
            left_out=section.left_out,
            row=row,
            column=column,
            size=size,
            blur=blur,
            most_columns=_ON_SCREEN if self._fits() else None,
        )

    def _fits(self) -> bool:
        return self._window is None or self._window.fits

    def close_down(self) -> None:
        """Close the window, take the outline away, listen to nothing any more."""
        super().close_down()
        self._timer.stop()
        self._session.jobs.cancel("zoom box")
        self.pick.stop()
        self.frame.close_down()
        if self._window is not None:
            self._window.close()
            self._window.deleteLater()
            self._window = None

    def stop(self) -> None:
        """Take the outline away and wait for no click."""
        self.pick.stop()
        self.frame.hide()

    def _on_changed(self) -> None:
        if self.window_shown is not None:
            self.show_picture()

    def _show_outline(self) -> None:
        if self._outline.isChecked():
            row, column, size, _ = self.place
            self.frame.show_box(row, column, size)
        else:
            self.frame.hide()

    def _on_pick(self, wanted: bool) -> None:
        if wanted:
            self.pick.start()
        else:
            self.pick.stop()

    def _on_waiting(self, waiting: bool) -> None:
        self._pick.setChecked(waiting)
        self._pick.setText("Click in the viewer…" if waiting else "Pick by click")

    def _on_picked(self, row: float, column: float) -> None:
        self.set_place(round(row), round(column))
        self.show_picture()

    def _on_drawn(self, result: tuple[Figure, Any, str]) -> None:
        self._state.hide()
        self._figure, pixels, note = result
        if self._window is None:
            self._window = ZoomWindow(self.window())
            self._window.save_asked.connect(self._ask_where)
            self._window.closed.connect(self.frame.hide)
            self._window.fit_changed.connect(self._on_changed)
        self._window.show_picture(pixels, note)
        if not self._window.isVisible():
            self._window.show()
        self.drawn.emit()

    def _on_error(self, text: str) -> None:
        self._state.hide()
        self._message.error(text)

    def _ask_where(self) -> None:
        section = find_section(self._session)
        row, column, _, _ = self.place
        name = f"{section.sample}_{section.dye}_zoom_{row}_{column}.png"
        path, _ = QFileDialog.getSaveFileName(
            self._window,
            "Save the picture of the zoom box",
            str(self._session.output_dir / name),
            "Pictures (*.png *.pdf *.svg)",
        )
        if path:
            self.save_picture(path)

    def save_picture(self, path: str | Path) -> None:
        """Write the picture with every pixel of the box, in the background."""
        if self._figure is None:
            self._message.error(
                "There is no picture to save yet: press 'Show zoom box' first."
            )
            return
        target = Path(path)
        if not target.suffix:
            target = target.with_name(target.name + ".png")
        self._session.jobs.start(
            save_close_look,
            title="saving the picture",
            on_result=self._on_saved,
            on_error=self._message.error,
            figure=self._figure,
            path=target,
        )

    def _on_saved(self, path: Path) -> None:
        self._message.note(f"The picture was saved as {path}.")


def _sentence(error: Exception) -> str:
    text = str(error)
    with contextlib.suppress(IndexError):
        text = text[0].upper() + text[1:]
    return text if text.endswith(".") else text + "."


def _draw(
    look: CloseLook,
    left_out: str,
    row: int,
    column: int,
    size: int,
    blur: float,
    most_columns: int | None,
    monitor: Monitor,
) -> tuple[Figure, Any, str]:
    """Return the figure, its pixels and what to say of them."""
    figure = draw_close_look(look, row, column, size, blur, monitor=monitor)
    pixels = figure_pixels(figure, most_columns)
    note = left_out
    if look.difference is None:
        words = "The scale is provisional: stage 4 has not run for this picture."
        note = f"{words} {note}".strip()
    return figure, pixels, note
