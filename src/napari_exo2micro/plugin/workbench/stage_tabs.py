"""A tab for each stage, marked with the state of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QTabBar, QTabWidget, QWidget

from napari_exo2micro.core.stage_states import stage_states
from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.plugin.forms.parameter_row import with_titles
from napari_exo2micro.plugin.marks import WORDS, state_icon
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.session import Session

if TYPE_CHECKING:
    from napari_exo2micro.core.checkpoint import CheckpointStatus

__all__ = ["StageTabs"]

_ICON = 14
# Round corners show what lies behind a tab in another colour.
_STYLE = (
    "QTabBar { border-radius: 0px; }"
    "QTabBar::tab { padding: 3px 2px; border-radius: 0px; }"
)
_AROUND = 12  # px beside mark and name: borders, padding and the space between


class _EvenBar(QTabBar):
    """Shares the width among its tabs as long as their names fit.

    Where the names do not fit with the stages' numbers they stand without.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._names: list[str] = []
        self._numbers: list[int] = []
        self.setStyleSheet(_STYLE)
        self.setElideMode(Qt.TextElideMode.ElideNone)

    def set_names(self, names: Mapping[int, str]) -> None:
        """Say what the tabs are called."""
        self._numbers, self._names = list(names), list(names.values())
        self.fit()

    def fit(self) -> None:
        """Choose the names for the width that there is."""
        known = zip(self._numbers, self._names, strict=True)
        full = [f"{number} {name}" for number, name in known]
        fits = sum(map(self._width, full)) <= self._room()
        for index, text in enumerate(full if fits else self._names):
            if self.tabText(index) != text:
                self.setTabText(index, text)

    def tabSizeHint(self, index: int) -> QSize:
        """Return the size of a tab: an even share, or what its name needs."""
        own = super().tabSizeHint(index)
        needed = [self._width(self.tabText(i)) for i in range(self.count())]
        spare = max(self._room() - sum(needed), 0) // max(self.count(), 1)
        return QSize(needed[index] + spare, own.height())

    def _room(self) -> int:
        parent = self.parentWidget()
        return parent.width() - 2 if parent is not None else 0

    def _width(self, text: str) -> int:
        return self.fontMetrics().horizontalAdvance(text) + _ICON + _AROUND


class StageTabs(QTabWidget):
    """A page for each stage; its tab shows a mark, and the state in the tooltip.

    Parameters
    ----------
    session : Session
        Whose stages they are; it is told which one is in front.
    pages : mapping
        Number of a stage -> its page.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self,
        session: Session,
        pages: Mapping[int, QWidget],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("stages")
        self._session = session
        self._numbers = list(pages)
        self._bar = _EvenBar(self)
        self.setTabBar(self._bar)
        self.setIconSize(QSize(_ICON, _ICON))
        self.setUsesScrollButtons(True)
        for number, page in pages.items():
            self.addTab(page, str(number))
        words = {n: STAGES[n].title.split()[0].capitalize() for n in pages}
        self._bar.set_names(words)
        self.currentChanged.connect(self._on_tab)
        session.status_changed.connect(self._on_status)
        session.stage_shown.connect(self.show_stage)
        self.show_stage(session.shown_stage)
        self._on_status(session.status)

    @property
    def stage(self) -> int:
        """The stage in front."""
        return self._numbers[self.currentIndex()]

    def show_stage(self, number: int) -> None:
        """Bring the page of a stage to the front."""
        if number in self._numbers:
            self.setCurrentIndex(self._numbers.index(number))

    def resizeEvent(self, e: QResizeEvent | None) -> None:
        """Let the names fit the new width."""
        self._bar.fit()
        super().resizeEvent(e)

    def _on_tab(self, index: int) -> None:
        self._session.show_stage(self._numbers[index])

    def _on_status(self, lines: Sequence[CheckpointStatus]) -> None:
        states = stage_states(lines, self._session.stored_result)
        is_known = bool(lines)
        for index, number in enumerate(self._numbers):
            state = states.get(number)
            if state is None:
                continue
            words = f"Stage {number}, {STAGES[number].title}"
            if is_known:
                words += f" – {WORDS[state.state]}"
                words += f": {with_titles(state.reason)}" if state.reason else ""
            self.setTabIcon(index, state_icon(state.state))
            self.setTabToolTip(index, literal(words))
