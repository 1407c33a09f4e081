"""A stored picture in a window of its own, as large as the window."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QGuiApplication, QImage, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import QDialog, QVBoxLayout, QWidget

__all__ = ["PictureWindow"]

_SHARE_OF_SCREEN = 0.8


class _Picture(QWidget):
    """Draws a picture as large as it fits, in its own proportions."""

    def __init__(self, pixmap: QPixmap, parent: QWidget) -> None:
        super().__init__(parent)
        self._pixmap = pixmap
        self.setMinimumSize(200, 150)

    def sizeHint(self) -> QSize:
        return self._pixmap.size()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        ratio = self.devicePixelRatioF()
        drawn = self._pixmap.scaled(
            self.size() * ratio,
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        drawn.setDevicePixelRatio(ratio)
        size = drawn.deviceIndependentSize()
        painter = QPainter(self)
        painter.drawPixmap(
            round((self.width() - size.width()) / 2),
            round((self.height() - size.height()) / 2),
            drawn,
        )
        painter.end()


class PictureWindow(QDialog):
    """Shows an image; it is closed with Escape.

    Parameters
    ----------
    path : Path
        Its file, which is the title.
    image : QImage
        Its pixels, as another thread has read them.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self, path: Path, image: QImage, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("picture_window")
        self.setWindowTitle(path.name)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        pixmap = QPixmap.fromImage(image)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(_Picture(pixmap, self), 1)
        screen = QGuiApplication.primaryScreen()
        if screen is not None:
            most = screen.availableSize() * _SHARE_OF_SCREEN
            keep = Qt.AspectRatioMode.KeepAspectRatio
            size = pixmap.size()
            fits = size.width() <= most.width() and size.height() <= most.height()
            self.resize(size if fits else size.scaled(most, keep))
