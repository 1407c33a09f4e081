"""The table of samples and dyes: a tick, a mark, a word, a bar in each cell."""

from __future__ import annotations

from qtpy.QtCore import QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QPainter, QPalette, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_exo2micro.plugin.batch.batch_request import Pair
from napari_exo2micro.plugin.batch.cell_view import CellView
from napari_exo2micro.plugin.batch.pair_model import CELL, PairModel
from napari_exo2micro.plugin.marks import state_icon

__all__ = ["PairView"]

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
