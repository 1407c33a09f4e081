"""A line in a dock that says what is wrong or what was done, until it is closed."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolButton, QWidget

__all__ = ["STYLES", "MessageStrip"]

# Readable on napari's dark and light themes alike: each brings its background.
#: level -> style of a label.
STYLES = {
    "error": "background: #7a1f1f; color: white;",
    "warning": "background: #7a5a00; color: white;",
    "note": "background: #1f4d7a; color: white;",
}


class MessageStrip(QWidget):
    """Shows one message at a time; hidden while there is none.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("message_strip")
        self.level = ""
        self._label = QLabel(self)
        self._label.setObjectName("message")
        self._label.setWordWrap(True)
        self._label.setTextFormat(Qt.TextFormat.PlainText)
        self._label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self._label.setSizePolicy(
            QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding
        )
        close = QToolButton(self)
        close.setObjectName("close_message")
        close.setText("×")
        close.setToolTip("Close this message")
        close.clicked.connect(self.clear)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._label, 1)
        layout.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    @property
    def text(self) -> str:
        """The message shown; empty when there is none."""
        return self._label.text() if self.level else ""

    def error(self, text: str) -> None:
        """Show what went wrong and what to do."""
        self._show("error", text)

    def warning(self, text: str) -> None:
        """Show what deserves care."""
        self._show("warning", text)

    def note(self, text: str) -> None:
        """Show what was done or what to do next."""
        self._show("note", text)

    def clear(self) -> None:
        """Take the message away."""
        self.level = ""
        self._label.clear()
        self.hide()

    def _show(self, level: str, text: str) -> None:
        self.level = level
        style = f"QLabel {{ {STYLES[level]} padding: 5px; border-radius: 3px; }}"
        self._label.setStyleSheet(style)
        self._label.setText(text)
        self.show()
