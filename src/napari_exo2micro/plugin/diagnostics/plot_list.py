"""The plots there are, under the stage after which each can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.plugin.plain_text import literal

if TYPE_CHECKING:
    from napari_exo2micro.core.diagnostic_figures import FigureEntry

__all__ = ["PlotList"]

_NAME = Qt.ItemDataRole.UserRole


class PlotList(QListWidget):
    """A list of plots; one that cannot be drawn says which stage it needs.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    chosen : Signal(str)
        A person chose the plot of this name.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plots")
        self.setToolTip("Choose a plot of the results.")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self._entries: tuple[FigureEntry, ...] = ()
        self.currentItemChanged.connect(self._on_current)

    @property
    def entries(self) -> tuple[FigureEntry, ...]:
        """What is listed."""
        return self._entries

    @property
    def current_name(self) -> str:
        """Name of the plot chosen; empty when there is none."""
        item = self.currentItem()
        return str(item.data(_NAME) or "") if item is not None else ""

    @property
    def current_title(self) -> str:
        """Title of the plot chosen; empty when there is none."""
        name = self.current_name
        return next((e.title for e in self._entries if e.name == name), "")

    def set_entries(self, entries: Sequence[FigureEntry], current: str = "") -> None:
        """List these plots and mark one, without telling `chosen`."""
        self._entries = tuple(entries)
        self.blockSignals(True)
        self.clear()
        stage = 0
        for entry in entries:
            if entry.stage != stage:
                stage = entry.stage
                self._add_heading(f"Stage {stage}: {STAGES[stage].title}")
            item = QListWidgetItem(self._words(entry), self)
            item.setData(_NAME, entry.name)
            item.setToolTip(literal(entry.note or entry.caption))
            if entry.name == current:
                self.setCurrentItem(item)
        self.blockSignals(False)

    def choose(self, name: str) -> None:
        """Choose a plot by its name."""
        for row in range(self.count()):
            item = self.item(row)
            if item is not None and item.data(_NAME) == name:
                self.setCurrentItem(item)

    def content_height(self) -> int:
        """Return how high the list has to be to show all of its lines, px."""
        rows = sum(max(self.sizeHintForRow(row), 0) for row in range(self.count()))
        return rows + 2 * self.frameWidth() + 4

    @staticmethod
    def _words(entry: FigureEntry) -> str:
        if entry.state == "ready":
            return entry.title
        return f"{entry.title} (needs stage {entry.stage})"

    def _add_heading(self, text: str) -> None:
        item = QListWidgetItem(text, self)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        font = item.font()
        font.setBold(True)
        item.setFont(font)

    def _on_current(self, item: QListWidgetItem | None, _before: object) -> None:
        if item is not None and item.data(_NAME):
            self.chosen.emit(str(item.data(_NAME)))
