"""The pairs of a batch as a table: chosen before, followed while they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QRect,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QFont, QPainter, QPalette, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.core.batch import (
    BoardRow,
    StoredState,
    TaskState,
    clock_words,
    summarise_batch,
)
from napari_exo2micro.core.parameters import ParameterValue
from napari_exo2micro.core.pipeline import RunResult
from napari_exo2micro.plugin.batch.form import BatchRequest, FolderPairs, Pair
from napari_exo2micro.plugin.layers.layers import about
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip, WordsLabel
from napari_exo2micro.plugin.widgets.errors import literal
from napari_exo2micro.plugin.widgets.marks import (
    KIND_WORDS,
    pairs_sentence,
    params_words,
    state_icon,
)
from napari_exo2micro.plugin.widgets.rows import with_titles


@dataclass(frozen=True, slots=True)
class CellView:
    """What a cell says.

    Attributes
    ----------
    word : str
        The state.
    detail : str
        A few words more.
    mark : str
        A state of `marks.state_icon`; empty for none.
    why : str
        All that is known, in sentences.
    fraction : float or None
        How far it is, 0..1, where it runs.
    can_open : bool
        Whether there are results to show.
    is_done : bool
        Whether a run would find nothing to do.
    """

    word: str = ""
    detail: str = ""
    mark: str = ""
    why: str = ""
    fraction: float | None = None
    can_open: bool = False
    is_done: bool = False


def absent() -> CellView:
    """Return the cell of a dye that a sample was not imaged with."""
    return CellView("–", "", "", "The raw folder has no images of this sample and dye.")


def without_files(reason: str) -> CellView:
    """Return the cell of a pair that cannot run.

    Parameters
    ----------
    reason : str
        As `core.discover_tasks` tells it.
    """
    for side in ("pre", "post"):
        if f": no {side}-stain file" in reason:
            return CellView("no files", f"no {side}-stain image", "stale", reason)
        if f" {side}-stain files for dye" in reason:
            detail = f"several {side}-stain images"
            return CellView("no files", detail, "stale", reason)
    return CellView("no files", "cannot be read", "stale", reason)


def of_state(state: StoredState | None) -> CellView:
    """Return the cell of a pair that has not run here; None: not looked at yet."""
    if state is None:
        return CellView("…", "", "", "What is on disk is being looked at.")
    why = with_titles(state.reason)
    if state.holder:
        return CellView(
            "busy",
            "another run",
            "stale",
            f"Another run works on it: {state.holder}. A batch waits for it.",
            can_open=state.has_results,
        )
    done = not state.to_run
    if state.state == "done":
        figures = _figures(state.result)
        detail = f"earlier, {figures}" if figures else "earlier"
        detail = detail if done else "runs again"
        why = "All its results are valid." + ("" if done else " Force makes them anew.")
        return CellView("done", detail, "valid", why, None, True, done)
    if state.state == "degraded":
        detail = _short(why) if done else "runs again"
        return CellView("degraded", detail, "fell_back", why, None, True, done)
    if state.state == "stale":
        return CellView("stale", _short(why), "stale", f"Will be made again: {why}")
    if state.state == "part":
        why = f"{why[:1].upper()}{why[1:]}; the others will run."
        return CellView("begun", _range(state.to_run), "missing", why, None, True)
    return CellView("not run", "", "missing", why or "It has no results yet.")


def of_row(row: BoardRow) -> CellView:
    """Return the cell of a pair that is in the batch that runs, or ran last."""
    took = "" if row.seconds is None else clock_words(row.seconds)
    if row.is_waiting:
        return CellView("waiting", "another run", "stale", row.step)
    if row.state is TaskState.RUNNING:
        word = f"running {row.fraction:.0%}"
        why = f"{row.step or 'begins'} ({took})"
        return CellView(word, row.step or "begins", "", why, row.fraction)
    if row.state is TaskState.QUEUED:
        return CellView(
            "queued", row.text, "missing", row.text or "Waits for its turn."
        )
    if row.state is TaskState.DONE:
        figures = _figures(row.result)
        detail = ", ".join(words for words in (figures, took) if words)
        if row.word == "degraded":
            why = with_titles(row.reason)
            return CellView("degraded", _short(why), "fell_back", why, None, True, True)
        return CellView("done", detail, "valid", f"Done: {detail}.", None, True, True)
    why = with_titles(row.reason)
    if row.state is TaskState.FAILED:
        return CellView("failed", _without_path(why), "failed", why)
    if row.state is TaskState.NO_FILES:
        return without_files(row.reason)
    why = f"{why[:1].upper()}{why[1:]}."
    return CellView("stopped", "", "skipped", why)


def _figures(result: RunResult | None) -> str:
    scale = result.scale if result is not None else None
    return f"scale {scale.value:.4g}" if scale is not None else ""


def _range(stages: tuple[int, ...]) -> str:
    if len(stages) < 2:
        return f"stage {stages[0]} to run" if stages else ""
    return f"stages {stages[0]}-{stages[-1]} to run"


def _short(why: str) -> str:
    """Return a reason without the name of its stage, which its number tells."""
    head, found, rest = why.partition(": ")
    words = head.split()
    if found and words[:1] == ["stage"] and len(words) > 1:
        return f"{words[1]}: {rest}"
    return why


def _without_path(why: str) -> str:
    """Return a reason without the path it begins with: the cell has little room."""
    head, found, rest = why.partition(": ")
    return rest if found and Path(head).is_absolute() else why


#: The role that gives a cell's `CellView`.
CELL = Qt.ItemDataRole.UserRole
_HINT = "Click to choose all of it, or none."


class PairModel(QAbstractTableModel):
    """A row for each sample, a column for each dye.

    Parameters
    ----------
    parent : QObject, optional
        As for any model.

    Attributes
    ----------
    chosen_changed : Signal()
        Other pairs are chosen now.
    """

    chosen_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._folder: FolderPairs | None = None
        self._pairs: dict[Pair, None] = {}
        self._samples: list[str] = []
        self._dyes: list[str] = []
        self._left_out: set[Pair] = set()
        self._states: dict[Pair, StoredState] = {}
        self._rows: dict[Pair, BoardRow] = {}
        self._is_fixed = False

    # What it is told ---------------------------------------------------------

    def show_folder(self, found: FolderPairs) -> None:
        """Show the pairs of a folder; what was left out there stays so."""
        same = self._folder is not None and self._folder.raw_dir == found.raw_dir
        self.beginResetModel()
        self._folder = found
        self._pairs = dict.fromkeys(found.pairs)
        self._samples, self._dyes = found.samples, found.dyes
        if not same:
            self._left_out, self._states, self._rows = set(), {}, {}
        self.endResetModel()
        self.chosen_changed.emit()

    def forget_states(self) -> None:
        """Forget how the pairs stood: other settings, other results."""
        self._states, self._rows = {}, {}
        self._all_changed()

    def set_state(self, pair: Pair, state: StoredState) -> None:
        """Take what is on disk for a pair."""
        self._states[pair] = state
        self._pair_changed(pair)

    def set_rows(self, rows: Iterable[BoardRow]) -> None:
        """Take what is known of the pairs that run."""
        for row in rows:
            pair = (row.sample, row.dye)
            old = self._rows.get(pair)
            # A queued or ended one does not change from second to second.
            if old is None or (old.text, old.state, old.fraction, old.seconds) != (
                row.text,
                row.state,
                row.fraction,
                row.seconds,
            ):
                self._rows[pair] = row
                self._pair_changed(pair)

    def end_rows(self, rows: Iterable[BoardRow]) -> None:
        """Take how the pairs ended; of those that did not, only what is on disk."""
        self._rows = {(r.sample, r.dye): r for r in rows if r.result is not None}
        self._all_changed()

    def forget_row(self, pair: Pair) -> None:
        """Forget how a pair ended in the last batch: it was run elsewhere since."""
        if self._rows.pop(pair, None) is not None:
            self._pair_changed(pair)

    def set_fixed(self, fixed: bool) -> None:
        """Let nothing be chosen while a batch runs."""
        if fixed != self._is_fixed:
            self._is_fixed = fixed
            self._all_changed()

    # What is chosen ----------------------------------------------------------

    @property
    def pairs(self) -> list[Pair]:
        """All pairs that have files, by sample and dye."""
        return list(self._pairs)

    @property
    def present(self) -> tuple[Pair, ...]:
        """The pairs that can run."""
        found = self._folder
        return tuple(p for p in self._pairs if found and p in found.present)

    @property
    def dyes(self) -> list[str]:
        """The dyes."""
        return list(self._dyes)

    @property
    def chosen(self) -> tuple[Pair, ...]:
        """The pairs that are chosen, by sample and dye."""
        return tuple(pair for pair in self._pairs if pair not in self._left_out)

    def choose(self, pairs: Iterable[Pair], chosen: bool = True) -> None:
        """Choose some pairs, or leave them out; the others stay as they are."""
        if self._is_fixed:
            return
        old = set(self._left_out)
        pairs = set(pairs) & self._pairs.keys()
        self._left_out = old - pairs if chosen else old | pairs
        if self._left_out != old:
            self._all_changed()
            self.chosen_changed.emit()

    def choose_only(self, pairs: Iterable[Pair]) -> None:
        """Choose these pairs and no others."""
        pairs = set(pairs)
        self.choose([pair for pair in self._pairs if pair not in pairs], False)
        self.choose(pairs)

    def toggle_sample(self, row: int) -> None:
        """Choose all pairs of a sample, or none when all are chosen."""
        self._toggle([pair for pair in self._pairs if pair[0] == self._samples[row]])

    def toggle_dye(self, column: int) -> None:
        """Choose all pairs of a dye, or none when all are chosen."""
        self._toggle([pair for pair in self._pairs if pair[1] == self._dyes[column]])

    def _toggle(self, pairs: list[Pair]) -> None:
        self.choose(pairs, any(pair in self._left_out for pair in pairs))

    # What it says ------------------------------------------------------------

    @property
    def states(self) -> Mapping[Pair, StoredState]:
        """What is on disk, as far as it was looked at."""
        return self._states

    def view_of(self, pair: Pair) -> CellView:
        """Return what the cell of a pair says."""
        found = self._folder
        row = self._rows.get(pair)
        if row is not None:
            return of_row(row)
        if found is None or pair not in self._pairs:
            return absent()
        if pair in found.problems:
            return without_files(found.problems[pair])
        return of_state(self._states.get(pair))

    def pair_at(self, index: QModelIndex) -> Pair | None:
        """Return the sample and dye of a cell."""
        if not index.isValid():
            return None
        return self._samples[index.row()], self._dyes[index.column()]

    def index_of(self, pair: Pair) -> QModelIndex:
        """Return the cell of a pair; an invalid one when it has none."""
        if pair[0] in self._samples and pair[1] in self._dyes:
            row, column = self._samples.index(pair[0]), self._dyes.index(pair[1])
            return self.index(row, column)
        return QModelIndex()

    # What a table asks -------------------------------------------------------

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of samples."""
        return 0 if parent is not None and parent.isValid() else len(self._samples)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of dyes."""
        return 0 if parent is not None and parent.isValid() else len(self._dyes)

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Return the name of a sample or a dye."""
        across = orientation == Qt.Orientation.Horizontal
        names = self._dyes if across else self._samples
        if role == Qt.ItemDataRole.DisplayRole and section < len(names):
            return names[section]
        if role == Qt.ItemDataRole.ToolTipRole and section < len(names):
            return literal(f"{names[section]}\n{_HINT}")
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        pair = self.pair_at(index)
        if pair is None:
            return None
        if role == Qt.ItemDataRole.CheckStateRole:
            if self._is_fixed or pair not in self._pairs:
                return None
            left_out = pair in self._left_out
            return Qt.CheckState.Unchecked if left_out else Qt.CheckState.Checked
        view = self.view_of(pair)
        if role == CELL:
            return view
        if role == Qt.ItemDataRole.DisplayRole:
            return "\n".join(text for text in (view.word, view.detail) if text)
        if role == Qt.ItemDataRole.ToolTipRole:
            hint = "\nDouble-click opens the results." if view.can_open else ""
            text = f"{pair[0]} / {pair[1]}: {view.word}\n{view.why}{hint}"
            return literal(text)
        return None

    def setData(
        self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Choose a pair, or leave it out."""
        pair = self.pair_at(index)
        if pair is None or role != Qt.ItemDataRole.CheckStateRole:
            return False
        self.choose([pair], Qt.CheckState(value) == Qt.CheckState.Checked)
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Return what a person can do with a cell."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if not self._is_fixed and self.pair_at(index) in self._pairs:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def _pair_changed(self, pair: Pair) -> None:
        index = self.index_of(pair)
        if index.isValid():
            self.dataChanged.emit(index, index)

    def _all_changed(self) -> None:
        if self._samples and self._dyes:
            last = self.index(len(self._samples) - 1, len(self._dyes) - 1)
            self.dataChanged.emit(self.index(0, 0), last)


_LEAST_COLUMN = 102
_MOST_HEADER = 130
_LEAST_HEIGHT = 150
_GAP = 4
_BAR = 5
# A middle tone: it stands out on napari's dark and light themes alike.
_PROGRESS = QColor("#3d8fd1")


class PairView(QTableView):
    """A row for each sample, a column for each dye; see `PairModel`.

    Parameters
    ----------
    model : PairModel
        What it shows.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    current_changed : Signal()
        Another cell is the current one.
    opened : Signal(object)
        A person wants to see the results of this (sample, dye).
    """

    current_changed = Signal()
    opened = Signal(object)

    def __init__(self, model: PairModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pairs")
        self._model = model
        self.setModel(model)
        self.setItemDelegate(_CellDelegate(self))
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(False)
        self.setToolTip(
            "A row for each sample, a column for each dye. Ticked pairs will be run; "
            "double-click opens results."
        )
        lines = self.fontMetrics().height()
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(2 * lines + 12)
        rows.setMaximumWidth(_MOST_HEADER)
        rows.setSectionsClickable(True)
        rows.sectionClicked.connect(model.toggle_sample)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        columns.setSectionsClickable(True)
        columns.sectionClicked.connect(model.toggle_dye)
        for header in (rows, columns):
            header.setTextElideMode(Qt.TextElideMode.ElideMiddle)
            header.setHighlightSections(False)
        self.doubleClicked.connect(self._open)
        selection = self.selectionModel()
        assert selection is not None
        selection.currentChanged.connect(lambda *_cells: self.current_changed.emit())
        model.modelReset.connect(self._fit)
        model.modelReset.connect(self._fit_height)
        model.modelReset.connect(self.current_changed)

    @property
    def current(self) -> Pair | None:
        """Sample and dye of the current cell."""
        return self._model.pair_at(self.currentIndex())

    def go_to(self, pair: Pair) -> None:
        """Make the cell of a pair the current one."""
        index = self._model.index_of(pair)
        if index.isValid():
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def sizeHint(self) -> QSize:
        """Return room for all rows, as far as there is room."""
        return QSize(super().sizeHint().width(), self.maximumHeight())

    def resizeEvent(self, e: QResizeEvent | None) -> None:
        """Share the width among the dyes while that leaves them readable."""
        super().resizeEvent(e)
        self._fit()

    def _fit(self) -> None:
        area, columns = self.viewport(), self.horizontalHeader()
        if area is not None and columns is not None:
            share = area.width() // max(self._model.columnCount(), 1)
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

    def _open(self, index: QModelIndex) -> None:
        pair = self._model.pair_at(index)
        if pair is not None:
            self.opened.emit(pair)


class _CellDelegate(QStyledItemDelegate):
    """Draws a cell: the tick as the style does, the rest here."""

    def paint(
        self,
        painter: QPainter | None,
        option: QStyleOptionViewItem,
        index: QModelIndex,
    ) -> None:
        """Draw a cell."""
        view: CellView | None = index.data(CELL)
        if view is None or painter is None:
            super().paint(painter, option, index)
            return
        self.initStyleOption(option, index)
        option.text = ""
        widget = option.widget
        assert widget is not None  # it draws for a view
        style = widget.style()
        assert style is not None
        style.drawControl(
            QStyle.ControlElement.CE_ItemViewItem, option, painter, widget
        )
        left = option.rect.left() + _GAP
        has_tick = QStyleOptionViewItem.ViewItemFeature.HasCheckIndicator
        if bool(option.features & has_tick):
            tick = style.subElementRect(
                QStyle.SubElement.SE_ItemViewItemCheckIndicator, option, widget
            )
            left = tick.right() + _GAP + 2
        inside = option.rect.adjusted(0, 3, -_GAP, -3)
        inside.setLeft(left)
        painter.save()
        painter.setClipRect(option.rect)
        _draw(painter, inside, view, option)
        painter.restore()


def _draw(
    painter: QPainter, place: QRect, view: CellView, option: QStyleOptionViewItem
) -> None:
    """Draw mark and word in the first line, the detail or the bar below."""
    selected = bool(option.state & QStyle.StateFlag.State_Selected)
    role = QPalette.ColorRole.HighlightedText if selected else QPalette.ColorRole.Text
    colour = option.palette.color(role)
    half = place.height() // 2
    first = QRect(place.left(), place.top(), place.width(), half)
    second = QRect(place.left(), place.top() + half, place.width(), half)
    if not view.detail:
        first.moveTop(place.top() + half // 2)
    if view.mark:
        side = min(half - 1, 15)
        top = first.top() + (half - side) // 2
        state_icon(view.mark).paint(painter, QRect(first.left(), top, side, side))
        first.setLeft(first.left() + side + _GAP)
    bold = QFont(option.font)
    bold.setBold(view.mark in ("failed", "fell_back") or view.fraction is not None)
    painter.setPen(colour)
    _write(painter, bold, first, view.word)
    if view.fraction is not None:
        bar = QRect(second.left(), place.bottom() - _BAR + 2, second.width(), _BAR)
        second.setBottom(bar.top())
        _bar(painter, bar, view.fraction, colour)
    faint = QColor(colour)
    faint.setAlphaF(0.75)
    painter.setPen(faint)
    small = QFont(option.font)
    if small.pointSizeF() > 0:
        small.setPointSizeF(small.pointSizeF() * 0.88)
    elif small.pixelSize() > 0:
        small.setPixelSize(round(small.pixelSize() * 0.88))
    _write(painter, small, second, view.detail)


def _write(painter: QPainter, font: QFont, place: QRect, text: str) -> None:
    painter.setFont(font)
    shown = painter.fontMetrics().elidedText(
        text, Qt.TextElideMode.ElideRight, place.width()
    )
    where = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
    painter.drawText(place, int(where), shown)


def _bar(painter: QPainter, place: QRect, fraction: float, colour: QColor) -> None:
    faint = QColor(colour)
    faint.setAlphaF(0.2)
    painter.fillRect(place, faint)
    done = QRect(place)
    done.setWidth(round(place.width() * fraction))
    painter.fillRect(done, _PROGRESS)


_MARKS = {
    "failed": "failed",
    "stopped": "skipped",
    "skipped": "stale",
    "degraded": "fell_back",
}
_LIST_LEAST_HEIGHT = 110


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
        self._list.setMinimumHeight(_LIST_LEAST_HEIGHT)
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
        self, results: Sequence[RunResult], seconds: float, *, stopped: bool
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


class ResultOpener(QObject):
    """Opens results of a batch, and gives the workbench its own settings back.

    Parameters
    ----------
    session : Session
        Where they are shown.
    message : MessageStrip
        Says what was done.
    parent : QObject, optional
        As for any object.

    Attributes
    ----------
    changed : Signal(bool)
        Whether there are settings to go back to.
    """

    changed = Signal(bool)

    def __init__(
        self, session: Session, message: MessageStrip, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._message = session, message
        self._before: dict[str, ParameterValue] | None = None
        session.params_changed.connect(self._forget)

    def open(self, pair: Pair, request: BatchRequest) -> None:
        """Show the layers of a pair, which becomes the workbench's source."""
        session, before = self._session, self._session.params
        earlier = before if self._before is None else self._before
        try:
            session.set_params(**request.params)
        except Exo2MicroError as error:
            self._message.error(str(error))
            return
        session.set_source(
            raw_dir=request.raw_dir,
            output_dir=request.output_dir,
            checkpoint_format=request.checkpoint_format,
            sample=pair[0],
            dye=pair[1],
        )
        session.show_results(on_error=self._message.error)
        name = " / ".join(pair)
        words = params_words(session.params, before)
        if words:
            self._before = earlier
            self.changed.emit(True)
            self._message.note(
                f"{name} is open. The workbench has the batch's settings now: {words}."
            )
        else:
            self._message.note(f"{name} is open, and chosen in the workbench.")

    def go_back(self) -> None:
        """Give the workbench the settings that it had before a result was opened."""
        if self._before is not None:
            self._session.set_params(**self._before)
            self._message.note("The workbench has the settings of before again.")

    def renew(self, request: BatchRequest, ran: set[Pair]) -> None:
        """Show the open pair's results anew when a batch has made them again.

        Parameters
        ----------
        request : BatchRequest
            What was run.
        ran : set of (str, str)
            Samples with dyes that have run.
        """
        session = self._session
        pair = (session.sample, session.dye)
        is_same = (
            session.raw_dir == request.raw_dir
            and session.output_dir == request.output_dir
            and session.checkpoint_format == request.checkpoint_format
            and session.params == dict(request.params)
        )
        if pair not in ran or not is_same:
            return
        known = (about(layer) for layer in session.viewer.layers)
        if any((one.get("sample"), one.get("dye")) == pair for one in known):
            session.show_results(on_error=self._message.error)

    def _forget(self, _names: object = None) -> None:
        """Keep what a person has set since: there is nothing to go back to."""
        if self._before is not None:
            self._before = None
            self.changed.emit(False)
