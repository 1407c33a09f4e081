"""The dialog that asks which one to open when a folder holds several."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.plugin.files.waiting import main_window
from napari_exo2micro.plugin.plain_text import literal

__all__ = ["Choice", "ChooserDialog", "choose", "set_chooser"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the dialog.

    Attributes
    ----------
    columns : tuple of str
        What it shows, one text for each column.
    tooltip : str
        More of it.
    """

    columns: tuple[str, ...]
    tooltip: str = ""


Chooser = Callable[[str, Sequence[str], Sequence[Choice]], int | None]


class ChooserDialog(QDialog):
    """Asks for one of several lines; the first one is chosen at first.

    Parameters
    ----------
    question : str
        Above the list.
    headings : sequence of str
        Of the columns.
    choices : sequence of Choice
        The lines.
    parent : QWidget, optional
        The window that it belongs to.
    """

    def __init__(
        self,
        question: str,
        headings: Sequence[str],
        choices: Sequence[Choice],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("pair_chooser")
        self.setWindowTitle("Exo2Micro: choose what to open")
        label = QLabel(question, self)
        label.setObjectName("question")
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setWordWrap(True)
        self._list = QTreeWidget(self)
        self._list.setObjectName("choices")
        self._list.setToolTip("Choose a line, then press Open; or double-click it")
        self._list.setRootIsDecorated(False)
        self._list.setHeaderLabels(list(headings))
        for choice in choices:
            item = QTreeWidgetItem(list(choice.columns))
            for column in range(len(choice.columns)):
                item.setToolTip(column, literal(choice.tooltip))
            self._list.addTopLevelItem(item)
        self._list.setCurrentItem(self._list.topLevelItem(0))
        for column in range(len(headings)):
            self._list.resizeColumnToContents(column)
        self._list.itemDoubleClicked.connect(self.accept)
        buttons = QDialogButtonBox(self)
        opens, leaves = QPushButton("Open", self), QPushButton("Cancel", self)
        opens.setObjectName("open")
        opens.setToolTip("Open what is chosen")
        opens.setDefault(True)
        leaves.setObjectName("cancel")
        leaves.setToolTip("Open nothing")
        buttons.addButton(opens, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(leaves, QDialogButtonBox.ButtonRole.RejectRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(label)
        layout.addWidget(self._list)
        layout.addWidget(buttons)
        self.resize(640, min(170 + 20 * len(choices), 480))

    @property
    def chosen(self) -> int:
        """The number of the chosen line, from 0."""
        return self._list.currentIndex().row()


def choose(
    question: str, headings: Sequence[str], choices: Sequence[Choice]
) -> int | None:
    """Return which line a person chose; without a window the first one.

    Parameters
    ----------
    question : str
        In words.
    headings : sequence of str
        Of the columns.
    choices : sequence of Choice
        The lines, the likeliest first. A single one is not asked for.

    Returns
    -------
    int or None
        Its number from 0; None when the person wants none.
    """
    if len(choices) == 1:
        return 0
    return _CHOOSERS[-1](question, headings, choices)


def set_chooser(chooser: Chooser | None) -> None:
    """Answer in a person's place, for scripts and tests.

    Parameters
    ----------
    chooser : callable or None
        Takes question, headings and choices and returns what `choose` returns; None
        asks the person again.
    """
    del _CHOOSERS[1:]
    if chooser is not None:
        _CHOOSERS.append(chooser)


def _ask(
    question: str, headings: Sequence[str], choices: Sequence[Choice]
) -> int | None:
    window = main_window()
    if window is None:
        logger.warning(
            "%s Without a window the first of %d is taken: %s",
            question,
            len(choices),
            ", ".join(choices[0].columns),
        )
        return 0
    dialog = ChooserDialog(question, headings, choices, window)
    dialog.setWindowModality(Qt.WindowModality.ApplicationModal)
    accepted = dialog.exec()
    chosen = dialog.chosen
    dialog.deleteLater()
    return chosen if accepted and chosen >= 0 else None


_CHOOSERS: list[Chooser] = [_ask]
