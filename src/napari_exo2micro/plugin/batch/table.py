"""The pairs of a batch as a table: chosen before, followed while they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy import QtWidgets
from qtpy.QtCore import QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QResizeEvent
from superqt.utils import signals_blocked

from napari_exo2micro.core import batch
from napari_exo2micro.core.parameters import State
from napari_exo2micro.plugin.batch.run import Pair
from napari_exo2micro.plugin.session.raw_folder import RawOverview
from napari_exo2micro.plugin.widgets.controls import (
    WordsLabel,
    column,
    literal,
    state_icon,
)
from napari_exo2micro.plugin.widgets.rows import with_titles

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import RunResult

_TICK = Qt.ItemDataRole.CheckStateRole
#: The roles that give a cell's sample and dye, and how far it is, 0..1, while it runs.
_PAIR, _FRACTION = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
_LEAST_COLUMN, _MOST_HEADER = 102, 130
_LEAST_HEIGHT, _LIST_LEAST_HEIGHT = 150, 110
_GAP, _BAR, _ICON = 4, 4, 15
_HINT = "Click to choose all of it, or none."


@dataclass(frozen=True, slots=True)
class CellView:
    """What a cell says: a word and a detail, and in sentences why.

    Its mark is that of `state`; `fraction` is how far it is, 0..1, where it runs. It is
    done when a run would find nothing to do.
    """

    word: str = ""
    detail: str = ""
    state: State | None = None
    why: str = ""
    fraction: float | None = None
    can_open: bool = False
    is_done: bool = False


def view_of_state(state: batch.StoredState | None) -> CellView:
    """Return the cell of a pair that has not run here; None: not looked at yet."""
    if state is None:
        return CellView("…", why="What is on disk is being looked at.")
    why = with_titles(state.reason)
    if state.holder:
        return CellView(
            "busy",
            "another run",
            State.WAITING,
            f"Another run works on it: {state.holder}. A batch waits for it.",
            can_open=state.has_results,
        )
    done = not state.to_run
    if state.state == State.DONE:
        detail = ", ".join(filter(None, ("earlier", _scale_words(state.result))))
        why = "All its results are valid." + ("" if done else " Force makes them anew.")
        return _ended(State.DONE, detail if done else "runs again", why, is_done=done)
    if state.state == State.DEGRADED:
        detail = _doubt(state.result) if done else "runs again"
        return _ended(State.DEGRADED, detail, why, is_done=done)
    if state.state == State.STALE:
        why = f"Will be made again: {why}"
        return CellView(State.STALE.word, _range(state.to_run), State.STALE, why)
    if state.state == State.PART:
        why = f"{why[:1].upper()}{why[1:]}; the others will run."
        detail = _range(state.to_run)
        return CellView(State.PART.word, detail, State.PART, why, can_open=True)
    return CellView("not run", "", State.MISSING, why or "It has no results yet.")


def view_of_row(row: batch.TaskEvent) -> CellView:
    """Return the cell of a pair that is in the batch that runs, or ran last."""
    took = "" if row.seconds is None else batch.clock_words(row.seconds)
    if row.is_waiting:
        return CellView(State.WAITING.word, "another run", State.WAITING, row.step)
    if row.state == State.RUNNING:
        word, step = f"running {row.fraction:.0%}", row.step or "begins"
        return CellView(word, step, None, f"{step} ({took})", row.fraction)
    if row.state == State.QUEUED:
        why = row.text or "Waits for its turn."
        return CellView(State.QUEUED.word, row.text, State.QUEUED, why)
    state, why = row.state, with_titles(row.reason)
    if state == State.DONE:
        detail = ", ".join(filter(None, (_scale_words(row.result), took)))
        return _ended(state, detail, f"Done: {detail}.")
    if state == State.DEGRADED:
        return _ended(state, _doubt(row.result), why)
    if state in (State.FAILED, State.NO_FILES):
        return CellView(state.word, _without_path(why), state, why)
    why = f"{why[:1].upper()}{why[1:]}."
    return CellView(State.STOPPED.word, "", State.STOPPED, why)


def _ended(state: State, detail: str, why: str, *, is_done: bool = True) -> CellView:
    return CellView(state.word, detail, state, why, can_open=True, is_done=is_done)


def _scale_words(result: RunResult | None) -> str:
    scale = result.scale if result is not None else None
    return "" if scale is None else f"scale {scale.value:.4g}"


def _doubt(result: RunResult | None) -> str:
    """Return number and reason of the first stage that is in doubt."""
    doubtful = result.doubtful_stages if result is not None else ()
    if result is None or not doubtful:
        return ""
    return f"{doubtful[0]}: {with_titles(result.verdicts[doubtful[0]].reason)}"


def _range(stages: tuple[int, ...]) -> str:
    if len(stages) < 2:
        return f"stage {stages[0]} to run" if stages else ""
    return f"stages {stages[0]}-{stages[-1]} to run"


def _without_path(why: str) -> str:
    """Return a reason without the path it begins with: the cell has little room."""
    head, colon, rest = why.partition(": ")
    return rest if colon and Path(head).is_absolute() else why


class PairTable(QtWidgets.QTableWidget):
    """A row for each sample, a column for each dye; ticked pairs will run.

    Attributes
    ----------
    chosen_changed, current_changed : Signal()
        Other pairs are chosen now; another cell is the current one.
    opened : Signal(object)
        A person wants to see the results of this (sample, dye).
    overview : RawOverview or None
        What the raw folder holds; None before it was looked into.
    pairs, dyes
        All pairs that have files, by sample and dye, and their dyes.
    """

    chosen_changed = Signal()
    current_changed = Signal()
    opened = Signal(object)

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("pairs")
        self.overview: RawOverview | None = None
        self.pairs: list[Pair] = []
        self.dyes: list[str] = []
        self._samples: list[str] = []
        self._left_out: set[Pair] = set()
        self._states: dict[Pair, batch.StoredState] = {}
        self._rows: dict[Pair, batch.TaskEvent] = {}
        self._is_fixed = False
        self.setItemDelegate(_BarDelegate(self))
        self.setIconSize(QSize(_ICON, _ICON))
        self.setSelectionMode(self.SelectionMode.SingleSelection)
        self.setEditTriggers(self.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(self.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(self.ScrollMode.ScrollPerPixel)
        self.setWordWrap(False)
        self.setToolTip(
            "A row for each sample, a column for each dye. Ticked pairs will be run; "
            "double-click opens results."
        )
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        for header in (rows, columns):
            header.setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.Fixed)
            header.setSectionsClickable(True)
            header.setTextElideMode(Qt.TextElideMode.ElideMiddle)
            header.setHighlightSections(False)
        rows.setDefaultSectionSize(2 * self.fontMetrics().height() + 12)
        rows.setMaximumWidth(_MOST_HEADER)
        rows.sectionClicked.connect(lambda row: self._toggle(0, row))
        columns.sectionClicked.connect(lambda column: self._toggle(1, column))
        self.itemChanged.connect(self._on_tick)
        self.itemDoubleClicked.connect(lambda item: self.opened.emit(_pair(item)))
        self.currentItemChanged.connect(lambda *_items: self.current_changed.emit())

    # What it is told ---------------------------------------------------------

    def show_folder(self, overview: RawOverview | None) -> None:
        """Show the pairs of a folder; what was left out there stays so."""
        before, self.overview = self.overview, overview
        if overview is None or before is None or overview.raw_dir != before.raw_dir:
            self._left_out, self._states, self._rows = set(), {}, {}
        files = {*overview.pairs, *overview.problems} if overview else set()
        self.pairs = sorted(pair for pair in files if all(pair))
        self._samples = sorted({sample for sample, _ in self.pairs})
        self.dyes = sorted({dye for _, dye in self.pairs})
        self.setRowCount(0)
        self.setRowCount(len(self._samples))
        self.setColumnCount(len(self.dyes))
        for down, sample in enumerate(self._samples):
            self.setVerticalHeaderItem(down, _heading(sample))
            for across, dye in enumerate(self.dyes):
                item = QtWidgets.QTableWidgetItem()
                item.setData(_PAIR, (sample, dye))
                with signals_blocked(self):
                    self.setItem(down, across, item)
        for across, dye in enumerate(self.dyes):
            self.setHorizontalHeaderItem(across, _heading(dye))
        self._show_all()
        self._fit_width()
        self._fit_height()
        self.current_changed.emit()
        self.chosen_changed.emit()

    def forget_states(self) -> None:
        """Forget how the pairs stood: other settings, other results."""
        self._states, self._rows = {}, {}
        self._show_all()

    def set_state(self, pair: Pair, state: batch.StoredState) -> None:
        """Take what is on disk for a pair."""
        self._states[pair] = state
        self._show(pair)

    def set_rows(self, rows: Iterable[batch.TaskEvent]) -> None:
        """Take what is known of the pairs that run."""
        for row in rows:
            pair = (row.sample, row.dye)
            if self._rows.get(pair) != row:
                self._rows[pair] = row
                self._show(pair)

    def end_rows(self, rows: Iterable[batch.TaskEvent]) -> None:
        """Take how the pairs ended; of those that did not, only what is on disk."""
        self._rows = {(r.sample, r.dye): r for r in rows if r.result is not None}
        self._show_all()

    def forget_row(self, pair: Pair) -> None:
        """Forget how a pair ended in the last batch: it was run elsewhere since."""
        self._rows.pop(pair, None)
        self._show(pair)

    def set_fixed(self, fixed: bool) -> None:
        """Let nothing be chosen while a batch runs."""
        if fixed != self._is_fixed:
            self._is_fixed = fixed
            self._show_all()

    # What is chosen ----------------------------------------------------------

    @property
    def present(self) -> tuple[Pair, ...]:
        """The pairs that can run."""
        return () if self.overview is None else self.overview.pairs

    @property
    def chosen(self) -> tuple[Pair, ...]:
        """The pairs that are chosen, by sample and dye."""
        return tuple(pair for pair in self.pairs if pair not in self._left_out)

    def choose(self, pairs: Iterable[Pair], chosen: bool = True) -> None:
        """Choose some pairs, or leave them out; the others stay as they are."""
        if self._is_fixed:
            return
        before, named = set(self._left_out), set(pairs) & set(self.pairs)
        self._left_out = before - named if chosen else before | named
        if self._left_out != before:
            self._show_all()
            self.chosen_changed.emit()

    def choose_only(self, pairs: Iterable[Pair]) -> None:
        """Choose these pairs and no others."""
        pairs = set(pairs)
        self.choose([pair for pair in self.pairs if pair not in pairs], False)
        self.choose(pairs)

    def _toggle(self, part: int, number: int) -> None:
        """Choose all pairs of a sample (0) or a dye (1), or none when all are."""
        name = (self._samples, self.dyes)[part][number]
        pairs = [pair for pair in self.pairs if pair[part] == name]
        self.choose(pairs, any(pair in self._left_out for pair in pairs))

    def _on_tick(self, item: QtWidgets.QTableWidgetItem) -> None:
        self.choose([_pair(item)], item.checkState() == Qt.CheckState.Checked)

    # What it says ------------------------------------------------------------

    @property
    def states(self) -> Mapping[Pair, batch.StoredState]:
        """What is on disk, as far as it was looked at."""
        return self._states

    @property
    def current(self) -> Pair | None:
        """Sample and dye of the current cell."""
        item = self.currentItem()
        return None if item is None else _pair(item)

    def go_to(self, pair: Pair) -> None:
        """Make the cell of a pair the current one."""
        item = self._item(pair)
        if item is not None:
            self.setCurrentItem(item)
            self.scrollToItem(item)

    def view_of(self, pair: Pair) -> CellView:
        """Return what the cell of a pair says."""
        row = self._rows.get(pair)
        if row is not None:
            return view_of_row(row)
        if pair in self.present:
            return view_of_state(self._states.get(pair))
        if self.overview is not None and pair in self.overview.problems:
            why, state = self.overview.problems[pair], State.NO_FILES
            return CellView(state.word, _without_path(why), state, why)
        return CellView("–", why="The raw folder has no images of this sample and dye.")

    def _item(self, pair: Pair) -> QtWidgets.QTableWidgetItem | None:
        if pair[0] not in self._samples or pair[1] not in self.dyes:
            return None
        return self.item(self._samples.index(pair[0]), self.dyes.index(pair[1]))

    def _show_all(self) -> None:
        for sample in self._samples:
            for dye in self.dyes:
                self._show((sample, dye))

    def _show(self, pair: Pair) -> None:
        """Let a cell say how its pair stands."""
        item = self._item(pair)
        if item is None:
            return
        view = self.view_of(pair)
        can_choose = not self._is_fixed and pair in self.pairs
        tick = Qt.CheckState.Checked if pair in self.chosen else Qt.CheckState.Unchecked
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if can_choose:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        font = item.font()
        font.setBold(
            view.fraction is not None or view.state in (State.FAILED, State.DEGRADED)
        )
        hint = "\nDouble-click opens the results." if view.can_open else ""
        told = f"{pair[0]} / {pair[1]}: {view.word}\n{view.why}{hint}"
        with signals_blocked(self):
            item.setFlags(flags)
            item.setData(_TICK, tick if can_choose else None)
            item.setFont(font)
            item.setText("\n".join(filter(None, (view.word, view.detail))))
            item.setIcon(QIcon() if view.state is None else state_icon(view.state))
            item.setToolTip(literal(told))
            item.setData(_FRACTION, view.fraction)

    # How large it is ---------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Return room for all rows, as far as there is room."""
        return QSize(super().sizeHint().width(), self.maximumHeight())

    def resizeEvent(self, e: QResizeEvent | None) -> None:
        """Share the width among the dyes while that leaves them readable."""
        super().resizeEvent(e)
        self._fit_width()

    def _fit_width(self) -> None:
        area, columns = self.viewport(), self.horizontalHeader()
        if area is not None and columns is not None:
            share = area.width() // max(self.columnCount(), 1)
            columns.setDefaultSectionSize(max(share, _LEAST_COLUMN))

    def _fit_height(self) -> None:
        """Take no more height than the samples need."""
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        bar = self.horizontalScrollBar()
        assert rows is not None
        assert columns is not None
        assert bar is not None
        height = rows.length() + columns.sizeHint().height()
        height += bar.sizeHint().height() + 2 * self.frameWidth() + _GAP
        self.setMinimumHeight(min(height, _LEAST_HEIGHT))
        self.setMaximumHeight(height)


def _pair(item: QtWidgets.QTableWidgetItem) -> Pair:
    sample, dye = item.data(_PAIR)
    return sample, dye


def _heading(name: str) -> QtWidgets.QTableWidgetItem:
    item = QtWidgets.QTableWidgetItem(name)
    item.setToolTip(literal(f"{name}\n{_HINT}"))
    return item


class _BarDelegate(QtWidgets.QStyledItemDelegate):
    """Draws a bar below the words of a pair that runs."""

    def paint(
        self,
        painter: QPainter | None,
        option: QtWidgets.QStyleOptionViewItem,
        index: QModelIndex,
    ) -> None:
        """Draw a cell."""
        super().paint(painter, option, index)
        fraction = index.data(_FRACTION)
        if fraction is None or painter is None:
            return
        bar = QRect(option.rect.adjusted(_GAP, 0, -_GAP, -1))
        bar.setTop(bar.bottom() - _BAR)
        colour = QColor(State.RUNNING.colour)
        colour.setAlphaF(0.25)
        painter.fillRect(bar, colour)
        bar.setWidth(round(bar.width() * fraction))
        painter.fillRect(bar, QColor(State.RUNNING.colour))


class OutcomeList(QtWidgets.QWidget):
    """The counts of a batch in a sentence, and a list of what a person should see.

    `chosen` has the (sample, dye) of a problem that a person clicked.
    """

    chosen = Signal(object)

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("outcome")
        self._sentence = WordsLabel("outcome_words", self)
        self._list = QtWidgets.QListWidget(self)
        self._list.setObjectName("problems")
        self._list.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self._list.setWordWrap(True)
        self._list.setMinimumHeight(_LIST_LEAST_HEIGHT)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setVerticalScrollMode(self._list.ScrollMode.ScrollPerPixel)
        self._list.setToolTip("Click a problem to go to its cell in the table.")
        self._list.itemClicked.connect(self._go)
        self._list.itemActivated.connect(self._go)
        column(self._sentence, (self._list, 1), parent=self, margin=0)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self._sentence.say("")
        self._list.clear()
        self._list.hide()
        self.hide()

    def show_results(
        self, results: Sequence[RunResult], seconds: float, *, stopped: bool
    ) -> None:
        """Show what came out in so many seconds, or before a person stopped it."""
        begin = "Last batch: "
        if stopped:
            finished = (State.DONE, State.DEGRADED)
            count = sum(result.state in finished for result in results)
            begin = (
                f"Stopped. {count} of {len(results)} pairs are finished and kept, and "
                "so is every stage that had ended; a run goes on from there. "
            )
        summary = batch.summarise_batch(results)
        words = f"{summary.sentence('pair')}; {batch.clock_words(seconds)}"
        self._sentence.say(f"{begin}{words}.")
        self._list.clear()
        for result in summary.problems:
            if stopped and result.state == State.STOPPED:
                continue  # as was asked for: the sentence says it
            self._add(result, result.state, f"{result.state.word}: {result.reason}")
        for result in results:
            for warning in result.warnings:
                self._add(result, State.STALE, warning)
        self._list.setVisible(self._list.count() > 0)
        self.show()

    def _add(self, result: RunResult, state: State, text: str) -> None:
        name = f"{result.sample} / {result.dye or 'any dye'}"
        words = f"{name}: {with_titles(text)}"
        item = QtWidgets.QListWidgetItem(state_icon(state), words)
        item.setToolTip(literal(words))
        item.setData(Qt.ItemDataRole.UserRole, (result.sample, result.dye))
        self._list.addItem(item)

    def _go(self, item: QtWidgets.QListWidgetItem) -> None:
        self.chosen.emit(item.data(Qt.ItemDataRole.UserRole))
