"""The zoom box: a place, its size and blur, drawn at full resolution."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.close_look import (
    LARGEST_BOX,
    CloseLook,
    draw_close_look,
    figure_pixels,
    save_close_look,
)
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.controls import button
from napari_exo2micro.plugin.inspection.inspection_box import InspectionBox
from napari_exo2micro.plugin.inspection.section_layers import find_section
from napari_exo2micro.plugin.inspection.zoom_frame import ZoomFrame
from napari_exo2micro.plugin.inspection.zoom_window import ZoomWindow
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.pick_place import PickPlace
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.view import camera_place

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ZoomBox"]

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
