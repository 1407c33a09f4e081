"""A question in a dock: what was found, and a button that goes on all the same."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_exo2micro.plugin.message import STYLES
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.words_label import WordsLabel

__all__ = ["Question"]


class Question(QWidget):
    """Says what was found and asks whether to go on; hidden while it asks nothing.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    accepted : Signal()
        A person wants to go on.
    """

    accepted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("question")
        self._words = WordsLabel("question_words", self)
        self._yes = QPushButton(self)
        self._yes.setObjectName("question_yes")
        self._yes.clicked.connect(self._accept)
        self._no = QPushButton("Run nothing", self)
        self._no.setObjectName("question_no")
        self._no.setToolTip("Close this question; nothing is started.")
        self._no.clicked.connect(self.clear)
        buttons = QHBoxLayout()
        buttons.addWidget(self._yes, 1)
        buttons.addWidget(self._no)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._words)
        layout.addLayout(buttons)
        self.hide()

    def ask(self, text: str, answer: str, tooltip: str) -> None:
        """Show a question.

        Parameters
        ----------
        text : str
            What was found.
        answer : str
            What the button that goes on says.
        tooltip : str
            What that does.
        """
        style = f"QLabel {{ {STYLES['warning']} padding: 5px; border-radius: 3px; }}"
        self._words.say(text, style)
        self._yes.setText(answer)
        self._yes.setToolTip(literal(tooltip))
        self.show()

    def clear(self) -> None:
        """Ask nothing any more."""
        self.hide()

    def _accept(self) -> None:
        self.clear()
        self.accepted.emit()
