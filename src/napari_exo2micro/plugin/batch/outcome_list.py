"""What came out of a batch: the counts, and the problems one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.batch_board import clock_words
from napari_exo2micro.core.batch_summary import summarise_batch
from napari_exo2micro.plugin.forms.parameter_row import with_titles
from napari_exo2micro.plugin.marks import state_icon
from napari_exo2micro.plugin.outcome_words import KIND_WORDS, pairs_sentence
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.words_label import WordsLabel

__all__ = ["OutcomeList"]

_MARKS = {
    "failed": "failed",
    "stopped": "skipped",
    "skipped": "stale",
    "degraded": "fell_back",
}
_LEAST_HEIGHT = 110


class OutcomeList(QWidget):
    """The counts of a batch in a sentence, and a list of what a person should see.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    chosen : Signal(object)
        The (sample, dye) of a problem that a person clicked.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("outcome")
        self._sentence = WordsLabel("outcome_words", self)
        self._list = QListWidget(self)
        self._list.setObjectName("problems")
        self._list.setFrameShape(QFrame.Shape.NoFrame)
        self._list.setWordWrap(True)
        self._list.setMinimumHeight(_LEAST_HEIGHT)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self._list.setToolTip("Click a problem to go to its cell in the table.")
        self._list.itemClicked.connect(self._go)
        self._list.itemActivated.connect(self._go)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._sentence)
        layout.addWidget(self._list, 1)
        layout.addStretch(0)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self._sentence.say("")
        self._list.clear()
        self._list.hide()
        self.hide()

    def show_results(
        self, results: Sequence[dict[str, Any]], seconds: float, *, stopped: bool
    ) -> None:
        """Show what came out.

        Parameters
        ----------
        results : sequence of dict
            As `run_batch` returns them.
        seconds : float
            That the batch took.
        stopped : bool
            Whether a person stopped it.
        """
        found = summarise_batch(results)
        words = pairs_sentence(found)
        begin = "Last batch: "
        if stopped:
            done = found.counts["complete"] + found.counts["degraded"]
            begin = (
                f"Stopped. {done} of {found.total} pairs are finished and kept, and so "
                "is every stage that had ended; a run goes on from there. "
            )
        self._sentence.say(f"{begin}{words}; {clock_words(seconds)}.")
        self._list.clear()
        for problem in found.problems:
            if stopped and problem.kind == "stopped":
                continue  # as was asked for: the sentence says it
            word = KIND_WORDS[problem.kind]
            name = f"{problem.sample} / {problem.dye or 'any dye'}"
            text = f"{name}: {word}: {with_titles(problem.reason)}"
            item = QListWidgetItem(state_icon(_MARKS[problem.kind]), text)
            item.setToolTip(literal(text))
            item.setData(Qt.ItemDataRole.UserRole, (problem.sample, problem.dye))
            self._list.addItem(item)
        warnings = [
            (str(one["sample"]), str(one["dye"]), text)
            for one in results
            for text in one["warnings"]
        ]
        for sample, dye, text in warnings:
            words = f"{sample} / {dye}: {with_titles(text)}"
            item = QListWidgetItem(state_icon("stale"), words)
            item.setToolTip(literal(words))
            item.setData(Qt.ItemDataRole.UserRole, (sample, dye))
            self._list.addItem(item)
        self._list.setVisible(self._list.count() > 0)
        self.show()

    def _go(self, item: QListWidgetItem) -> None:
        self.chosen.emit(item.data(Qt.ItemDataRole.UserRole))
