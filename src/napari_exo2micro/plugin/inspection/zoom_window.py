"""The window that shows the picture of a zoom box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

__all__ = ["ZoomWindow"]

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
