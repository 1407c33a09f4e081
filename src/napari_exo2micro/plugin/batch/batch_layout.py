"""The fields and buttons of the batch dock: how they look and where they stand."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import (
    QHBoxLayout,
    QMenu,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.plugin.batch.batch_form import BatchForm
from napari_exo2micro.plugin.batch.batch_request import FolderPairs
from napari_exo2micro.plugin.batch.outcome_list import OutcomeList
from napari_exo2micro.plugin.batch.pair_model import PairModel
from napari_exo2micro.plugin.batch.pair_view import PairView
from napari_exo2micro.plugin.batch.question import Question
from napari_exo2micro.plugin.controls import button, labelled, scrolled
from napari_exo2micro.plugin.dock import Dock
from napari_exo2micro.plugin.folder_field import FolderField
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.words_label import WordsLabel

__all__ = ["BatchLayout"]

_LEAST_WIDTH = 340
_LEAST_HEIGHT = 330


class BatchLayout(Dock):
    """What the batch dock is made of.

    Parameters
    ----------
    session : Session
        What the docks of a viewer share.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("batch_dock")
        self.setMinimumSize(_LEAST_WIDTH, _LEAST_HEIGHT)
        self._session = session
        self._found: FolderPairs | None = None
        self.message = MessageStrip(self)
        self.back = button(
            self,
            "settings_back",
            "Back to the settings before",
            "Give the workbench the settings that it had before the result was opened.",
        )
        self.back.hide()
        self.raw = FolderField(
            "raw_dir",
            "raw folder",
            "The folder that holds one folder for each sample. The workbench has the "
            "same one.",
            self,
        )
        self.output = FolderField(
            "output_dir",
            "results folder",
            "Where the results go, in a folder for each sample and dye. The workbench "
            "has the same one.",
            self,
        )
        self.every = button(self, "choose_all", "All", "Choose every pair.")
        self.none = button(self, "choose_none", "None", "Choose no pair.")
        self.undone = button(
            self,
            "choose_undone",
            "Not done",
            "Choose the pairs that a run would find something to do for.",
        )
        self.again = button(
            self,
            "look_again",
            "Look again",
            "Look for samples and dyes anew: files may have come.",
        )
        self.model = PairModel(self)
        self.table = PairView(self.model, self)
        self._chosen = WordsLabel("chosen_words", self)
        self._why = WordsLabel("cell_words", self)
        self.opens = button(
            self,
            "open_result",
            "Open result",
            "Show the layers of this pair; it becomes the one that the workbench "
            "works on. So does a double-click.",
        )
        self.form = BatchForm(session, self.message, self)
        self._needs = WordsLabel("needs", self)
        self._needs.setToolTip("Estimated from the headers of the raw images.")
        self.question = Question(self)
        self.start = button(self, "run_batch", "Run", "")
        self.abort = button(
            self,
            "abort",
            "Abort",
            "Stop the batch; finished pairs and stages are kept. Closing this panel "
            "stops it, too; hiding it does not.",
        )
        self._copies = QMenu(self)
        self._copies.setObjectName("copies")
        self._copies.setToolTipsVisible(True)
        self.copies = button(
            self,
            "copies_button",
            "Copy as",
            "Copy this batch as Python or as a command line.",
        )
        self.copies.setMenu(self._copies)
        self._bar = QProgressBar(self)
        self._bar.setObjectName("progress")
        self._bar.setRange(0, 1000)
        self._bar.setFormat("%p %")
        self._bar.setToolTip("How much of the batch is done.")
        self._text = WordsLabel("progress_text", self)
        self.outcome = OutcomeList(self)
        self._arrange()
        self.hide_progress()
        self.explain()

    # What it shows -----------------------------------------------------------

    def explain(self) -> None:
        """Say all that is known of the current cell."""
        pair = self.table.current
        if pair is None or not self.model.pairs:
            self._why.say("")
            self.opens.hide()
            return
        view = self.model.view_of(pair)
        word = f"{view.word}. " if view.mark or view.fraction is not None else ""
        self._why.say(f"{pair[0]} / {pair[1]}: {word}{view.why}")
        self.opens.setVisible(view.can_open)

    def say_chosen(self, problem: str) -> None:
        """Say how many pairs are chosen, or why nothing can be run."""
        chosen, total = len(self.model.chosen), len(self.model.pairs)
        for one in (self._choices, self.table):
            one.setVisible(total > 0)
        words = f"{chosen} of {total} pairs are chosen." if total else ""
        self._chosen.say(problem or words)

    def say_needs(self, text: str, style: str = "") -> None:
        """Say what memory and disk the chosen pairs need."""
        self._needs.say(text, style)

    def show_progress(self, fraction: float, text: str) -> None:
        """Show how much is done, 0..1, and in words."""
        self._bar.setValue(round(1000 * fraction))
        self._bar.show()
        self._text.say(text)

    def hide_progress(self) -> None:
        """Show no progress."""
        self._bar.hide()
        self._text.say("")

    def go_to_outcome(self) -> None:
        """Scroll to what came out, once it has its place."""
        QTimer.singleShot(0, self._show_outcome)

    def _show_outcome(self) -> None:
        if self.outcome.isVisible():
            self._scroll.ensureWidgetVisible(self.outcome)

    def set_busy(self, busy: bool, *, fixed: bool) -> None:
        """Let folders be while something writes results, and the rest while we do."""
        folders: tuple[QWidget, ...] = (self.raw, self.output, self.again)
        for one in folders:
            one.setEnabled(not busy)
        choices: tuple[QWidget, ...] = (self.form, self.every, self.none, self.undone)
        for one in choices:
            one.setEnabled(not fixed)
        self.model.set_fixed(fixed)

    def to_clipboard(self, text: str) -> None:
        """Put a text on the clipboard."""
        clipboard = QGuiApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)

    def add_copies(
        self, python: Callable[[], None], command: Callable[[], None]
    ) -> None:
        """Fill the menu of copies."""
        for name, text, tip, function in (
            (
                "copy_python",
                "Copy as Python",
                "Put lines of Python on the clipboard that run the same batch.",
                python,
            ),
            (
                "copy_command",
                "Copy as command line",
                "Put a command on the clipboard that runs the same batch.",
                command,
            ),
        ):
            action = QAction(text, self._copies)
            action.setObjectName(name)
            action.setToolTip(tip)
            action.triggered.connect(lambda _checked=False, f=function: f())
            self._copies.addAction(action)

    def _arrange(self) -> None:
        self._choices = QWidget(self)
        choices = QHBoxLayout(self._choices)
        choices.setContentsMargins(0, 0, 0, 0)
        choices.addWidget(self.every)
        choices.addWidget(self.none)
        choices.addWidget(self.undone)
        choices.addStretch(1)
        choices.addWidget(self.again)
        cell = QHBoxLayout()
        cell.addWidget(self._why, 1)
        cell.addWidget(self.opens, 0, Qt.AlignmentFlag.AlignTop)
        buttons = QHBoxLayout()
        self.start.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        buttons.addWidget(self.start, 2)
        buttons.addWidget(self.abort, 1)
        buttons.addWidget(self.copies, 1)
        page = QWidget(self)
        inside = QVBoxLayout(page)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addLayout(labelled("Raw folder", self.raw))
        inside.addLayout(labelled("Results in", self.output))
        inside.addWidget(self._choices)
        inside.addWidget(self.table, 3)
        inside.addLayout(cell)
        inside.addWidget(self._chosen)
        inside.addWidget(self.form)
        inside.addWidget(self._needs)
        inside.addWidget(self.outcome, 2)
        inside.addStretch(0)  # what is left when all have their height
        self._scroll = scrolled(page)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.message)
        layout.addWidget(self.back)
        layout.addWidget(self._scroll, 1)
        # In sight also where the rest has to be scrolled.
        layout.addWidget(self.question)
        layout.addLayout(buttons)
        layout.addWidget(self._bar)
        layout.addWidget(self._text)
