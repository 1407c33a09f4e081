"""What a raw folder holds, in words, with a list of what was left out and why."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from napari_exo2micro.plugin.message import STYLES
from napari_exo2micro.plugin.words_label import WordsLabel
from napari_exo2micro.plugin.workbench.raw_overview import RawOverview

__all__ = ["TROUBLE", "OverviewView"]

_MOST = 12

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
        self._lines = ""
        self._words = WordsLabel("raw_words", self)
        self._why = QToolButton(self)
        self._why.setObjectName("show_left_out")
        self._why.setCheckable(True)
        self._why.setToolTip("Show what cannot be used, and why.")
        self._why.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._why.setArrowType(Qt.ArrowType.RightArrow)
        self._why.toggled.connect(self._show_details)
        self._details = WordsLabel("left_out", self)
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
        more = len(troubles) - _MOST
        shown = (*troubles[:_MOST], *([f"and {more} more"] if more > 0 else []))
        self._lines = "\n\n".join(shown)
        self._show_details(self._why.isChecked())
        if not troubles:
            self._why.setChecked(False)

    def _show_details(self, shown: bool) -> None:
        self._details.say(self._lines if shown else "")
        self._why.setArrowType(
            Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        )

    def _say(self, text: str, *, is_trouble: bool) -> None:
        self._words.say(text, TROUBLE if is_trouble else "")
