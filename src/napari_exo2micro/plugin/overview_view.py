"""What a raw folder holds, in words, with a list of what was left out and why."""

from __future__ import annotations

import math
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QPlainTextEdit, QToolButton, QVBoxLayout, QWidget

from napari_exo2micro.plugin.message import STYLES
from napari_exo2micro.plugin.raw_overview import RawOverview
from napari_exo2micro.plugin.words_label import WordsLabel

__all__ = ["TROUBLE", "OverviewView"]

_MOST_DETAILS = 130  # px

#: The style of words that deserve care.
TROUBLE = f"QLabel {{ {STYLES['warning']} padding: 4px; border-radius: 3px; }}"


class OverviewView(QWidget):
    """Shows a `RawOverview`.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("raw_overview")
        self._words = WordsLabel("raw_words", self)
        self._why = QToolButton(self)
        self._why.setObjectName("show_left_out")
        self._why.setCheckable(True)
        self._why.setToolTip("Show what cannot be used, and why.")
        self._why.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._why.setArrowType(Qt.ArrowType.RightArrow)
        self._why.toggled.connect(self._show_details)
        self._details = QPlainTextEdit(self)
        self._details.setObjectName("left_out")
        self._details.setReadOnly(True)
        self._details.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._words)
        layout.addWidget(self._why)
        layout.addWidget(self._details)
        self.say(None)

    @property
    def text(self) -> str:
        """What it says of the folder."""
        return self._words.text()

    def say_looking(self, folder: Path) -> None:
        """Say that a folder is being looked at."""
        self._say(f"Looking into {folder} …", is_trouble=False)

    def say(self, found: RawOverview | None, sample: str = "", dye: str = "") -> None:
        """Show what a folder holds.

        Parameters
        ----------
        found : RawOverview or None
            None: no folder was chosen.
        sample, dye : str
            What is worked on; told when it is not in the folder.
        """
        text = found.in_words() if found else ""
        missing = bool(found and found.pairs and sample)
        missing = missing and found is not None and (sample, dye) not in found.pairs
        if missing:
            text += f"; {sample} / {dye} is not among them"
        self._say(text, is_trouble=missing or bool(found and found.problem))
        troubles = found.troubles if found else ()
        self._why.setText(f"{len(troubles)} left out or odd: why?")
        self._why.setVisible(bool(troubles))
        self._details.setPlainText("\n\n".join(troubles))
        self._fit()
        if not troubles:
            self._why.setChecked(False)

    def resizeEvent(self, a0: QResizeEvent | None) -> None:
        """Give the list of what was left out the height of its lines."""
        super().resizeEvent(a0)
        self._fit()

    def _fit(self) -> None:
        document = self._details.document()
        if document is not None:
            lines = math.ceil(document.size().height())
            height = (lines + 1) * self._details.fontMetrics().lineSpacing()
            self._details.setFixedHeight(min(height, _MOST_DETAILS))

    def _show_details(self, shown: bool) -> None:
        self._details.setVisible(shown)
        self._fit()
        self._why.setArrowType(
            Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        )

    def _say(self, text: str, *, is_trouble: bool) -> None:
        self._words.say(text, TROUBLE if is_trouble else "")
