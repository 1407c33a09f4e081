"""A widget that napari shows in a dock, and that ends when the dock is closed."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

#: What a dock needs to be of use, px; those that would get less become tabs.
_LEAST_SHARE = 600


class Dock(QWidget):
    """A widget in a dock of napari: when that is closed it follows nothing any more.

    napari takes the widget out of a dock that is closed, and leaves it to whoever
    still holds it, with all that it listens to. napari also shares the height of the
    window among the docks of a side: where that is too little for each, a dock that
    is new becomes a tab beside those of ours.
    """

    def __init__(self) -> None:
        super().__init__()
        self._was_docked = self._is_closed = self._is_placed = False

    def close_down(self) -> None:
        """End with the dock; what is shown elsewhere is taken away by subclasses."""
        if not self._is_closed:
            self._is_closed = True
            self.deleteLater()

    def stay_hidden(self) -> None:
        """Take away what nobody can any more; the dock may be shown again."""

    def event(self, event: QEvent | None) -> bool:
        """Learn that the dock was opened, hidden or closed."""
        if event is None:
            return super().event(event)
        kind = event.type()
        if kind == QEvent.Type.Show and not self._is_placed:
            self._is_placed = True
            QTimer.singleShot(0, self._find_place)
        elif kind == QEvent.Type.Hide and not event.spontaneous():
            # One that is torn off is hidden for a moment, too.
            QTimer.singleShot(0, self._on_hidden)
        elif kind == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._was_docked = True
            elif self._was_docked:
                self.close_down()
        return super().event(event)

    def _on_hidden(self) -> None:
        if not (self._is_closed or self.isVisible()):
            self.stay_hidden()

    def _find_place(self) -> None:
        """Become a tab where the docks of ours on this side would be too low."""
        window, place = self.window(), _dock_of(self)
        if not isinstance(window, QMainWindow) or place is None or place.isFloating():
            return
        area = window.dockWidgetArea(place)
        others = [
            dock
            for dock in map(_dock_of, window.findChildren(Dock))
            if dock is not None
            and dock is not place
            and not (dock.isHidden() or dock.isFloating())
            and window.dockWidgetArea(dock) == area
        ]
        stacked = [dock for dock in others if not window.tabifiedDockWidgets(dock)]
        shares = len(stacked) + 1 + (len(others) > len(stacked))
        if others and window.height() < shares * _LEAST_SHARE:
            window.tabifyDockWidget(others[-1], place)
            place.raise_()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    """Return the dock that a widget is in."""
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    return above
