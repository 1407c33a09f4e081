"""A label for sentences that never gets less height than its lines need."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

__all__ = ["WordsLabel"]


class WordsLabel(QLabel):
    """Sentences: wrapped, selectable, hidden while there is nothing to say.

    A wrapped QLabel asks layouts for the height of fewer lines than it has once it
    is narrow, and what stands below is drawn over it.

    Parameters
    ----------
    name : str
        Its objectName.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # Words give way to the width of a dock; they do not widen it.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.hide()

    def say(self, text: str, style: str = "") -> None:
        """Show a text, or hide the label when there is none.

        Parameters
        ----------
        text : str
            Plain text.
        style : str
            A style sheet.
        """
        if style != self.styleSheet():
            self.setStyleSheet(style)
        self.setText(text)
        self.setVisible(bool(text))

    def hasHeightForWidth(self) -> bool:
        """Return false: the height is told as the least one, which layouts heed."""
        return False

    def sizeHint(self) -> QSize:
        """Return the width as it is and the height that the lines need there."""
        return QSize(self.width(), self.heightForWidth(max(self.width(), 1)))

    def minimumSizeHint(self) -> QSize:
        """Return no width and the height that the lines need at the width as it is."""
        return QSize(0, self.sizeHint().height())

    def resizeEvent(self, a0: QResizeEvent | None) -> None:
        """Ask for another height when the width changes."""
        super().resizeEvent(a0)
        if a0 is None or a0.size().width() != a0.oldSize().width():
            self.updateGeometry()
