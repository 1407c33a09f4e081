"""Samples and dyes as a table: what is chosen, and how each pair stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, Signal

from napari_exo2micro.core.batch_board import BoardRow
from napari_exo2micro.core.stored_state import StoredState
from napari_exo2micro.plugin.batch.batch_request import FolderPairs, Pair
from napari_exo2micro.plugin.batch.cell_view import (
    CellView,
    absent,
    of_row,
    of_state,
    without_files,
)
from napari_exo2micro.plugin.plain_text import literal

__all__ = ["CELL", "PairModel"]

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
