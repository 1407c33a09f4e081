"""A comparison as a table: a row for each value, with its verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_exo2micro.core.parameter_entry import Parameter, ParameterValue
from napari_exo2micro.core.value_text import value_words
from napari_exo2micro.plugin.plain_text import literal

if TYPE_CHECKING:
    from napari_exo2micro.core.comparison_table import ComparisonRow

__all__ = ["CompareTable"]

_COLUMNS = (
    ("Value", "The value of the parameter."),
    (
        "Verdict",
        "complete: every stage vouches for its result. degraded: a stage fell back "
        "or cannot vouch for it; the note says why. failed: the run ended early.",
    ),
    (
        "Accuracy",
        "How far the aligned images are apart, as the last alignment estimates it, "
        "pixels.",
    ),
    ("Scale", "Brightness of the minerals after staining divided by that before."),
    (
        "Time",
        "How long the run took; short where results were there already.",
    ),
    ("Note", "Why a run is not complete, and what deserves care."),
)
_VERDICT, _NOTE = 1, 5
# Each brings its background: readable on napari's dark and light themes alike.
_COLOURS = {"complete": "#1e6b3a", "degraded": "#7a5a00", "failed": "#7a1f1f"}
_UNKNOWN = "\u2013"


class CompareTable(QTableWidget):
    """One row for each value; double-clicking one asks for its pictures.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    opened : Signal(int)
        A person wants to see the pictures of this row.
    """

    opened = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_COLUMNS), parent)
        self.setObjectName("comparison")
        self._rows: list[ComparisonRow | None] = []
        for column, (title, tip) in enumerate(_COLUMNS):
            head = QTableWidgetItem(title)
            head.setToolTip(tip)
            self.setHorizontalHeaderItem(column, head)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        rows = self.verticalHeader()
        if rows is not None:
            rows.hide()
        columns = self.horizontalHeader()
        if columns is not None:
            columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            columns.setStretchLastSection(True)
            columns.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        self.cellDoubleClicked.connect(lambda row, _column: self.opened.emit(row))

    @property
    def rows(self) -> list[ComparisonRow]:
        """The rows that have a result."""
        return [row for row in self._rows if row is not None]

    def row_at(self, number: int) -> ComparisonRow | None:
        """Return a row; None for one without a result and for none at all."""
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def begin(
        self, entry: Parameter, values: Sequence[ParameterValue], now: ParameterValue
    ) -> None:
        """Show the values that wait for their runs.

        Parameters
        ----------
        entry : Parameter
            What is compared.
        values : sequence
            Its values.
        now : bool, int, float, str or None
            Its value in the forms.
        """
        self.setRowCount(len(values))
        self._rows = [None] * len(values)
        for number, value in enumerate(values):
            words = value_words(value)
            known = [
                word
                for word, known in (("default", entry.default), ("now", now))
                if known == value
            ]
            self._set(number, 0, f"{words} ({', '.join(known)})" if known else words)
            self._set(number, _VERDICT, "running" if number == 0 else "waiting")
            for column in range(_VERDICT + 1, len(_COLUMNS)):
                self._set(number, column, "")

    def add(self, row: ComparisonRow) -> int:
        """Fill the next row and return its number."""
        number = self._rows.index(None)
        self._rows[number] = row
        cells = (
            _UNKNOWN if row.accuracy_px is None else f"{row.accuracy_px:.2g} px",
            _scale_words(row),
            _UNKNOWN if row.seconds is None else f"{row.seconds:.1f} s",
            row.note,
        )
        self._set(number, _VERDICT, row.state, _COLOURS[row.state])
        for column, words in enumerate(cells, _VERDICT + 1):
            self._set(number, column, words)
        if number + 1 < len(self._rows):
            self._set(number + 1, _VERDICT, "running")
        return number

    def end(self) -> None:
        """Say of rows without a result that they were stopped."""
        for number, row in enumerate(self._rows):
            if row is None:
                self._set(number, _VERDICT, "stopped")

    def _set(self, row: int, column: int, words: str, colour: str = "") -> None:
        item = QTableWidgetItem(words)
        item.setToolTip(literal(words) if column == _NOTE else "")
        if colour:
            item.setBackground(QBrush(QColor(colour)))
            item.setForeground(QBrush(QColor("white")))
        self.setItem(row, column, item)


def _scale_words(row: ComparisonRow) -> str:
    if row.scale is None:
        return _UNKNOWN
    words = f"{row.scale:.5g}"
    return f"{words} ± {row.scale_uncertainty:.1g}" if row.scale_uncertainty else words
