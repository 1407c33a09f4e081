"""What a plot shows, and what it looks like when all is well and when not."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

__all__ = ["PlotCaption"]

# Each brings its background: readable on napari's dark and light themes alike.
_BADGES = {"good": "#1e6b3a", "bad": "#8a2222"}


class PlotCaption(QWidget):
    """A sentence on a plot, and one each on a good and on a bad one.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plot_caption")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setColumnStretch(1, 1)
        self._caption = _text("caption")
        layout.addWidget(self._caption, 0, 0, 1, 2)
        self._lines: dict[str, tuple[QLabel, QLabel]] = {}
        for row, (kind, colour) in enumerate(_BADGES.items(), 1):
            badge = QLabel(kind)
            badge.setAlignment(Qt.AlignmentFlag.AlignCenter)
            badge.setStyleSheet(
                f"QLabel {{ background: {colour}; color: white; padding: 1px 6px; "
                "border-radius: 3px; }"
            )
            text = _text(kind)
            layout.addWidget(badge, row, 0, Qt.AlignmentFlag.AlignTop)
            layout.addWidget(text, row, 1)
            self._lines[kind] = (badge, text)
        self.set_texts("", "", "")

    def set_texts(self, caption: str, good: str, bad: str) -> None:
        """Show these sentences; a line without one is not shown."""
        self._caption.setText(caption)
        self._caption.setVisible(bool(caption))
        for kind, sentence in (("good", good), ("bad", bad)):
            badge, text = self._lines[kind]
            text.setText(sentence)
            badge.setVisible(bool(sentence))
            text.setVisible(bool(sentence))


def _text(name: str) -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
    return label
