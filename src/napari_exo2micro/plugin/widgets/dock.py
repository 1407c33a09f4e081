"""A widget that napari shows in a dock, and that ends when the dock is closed."""

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_exo2micro.plugin.widgets.controls import Connections

#: What a dock needs to be of use, px; those that would get less become tabs.
_LEAST_SHARE = 600


class DockWatch(QObject):
    """Follows a widget in a dock of napari: where it stands, hidden or closed.

    napari takes the widget out of a dock that is closed, and leaves it to whoever
    still holds it. Where the height of the window is too little for each dock of a
    side, a new one becomes a tab beside those of ours.

    Attributes
    ----------
    hidden : Signal()
        Nobody sees it any more; it may be shown again.
    closed : Signal()
        Its dock was closed.
    """

    hidden = Signal()
    closed = Signal()

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.widget = widget
        self._was_docked = self._is_closed = self._is_placed = False
        widget.installEventFilter(self)

    def eventFilter(self, a0: QObject | None, a1: QEvent | None) -> bool:
        """Learn that the dock was opened, hidden or closed."""
        if a1 is None or a0 is not self.widget:
            return False
        kind = a1.type()
        if kind == QEvent.Type.Show and not self._is_placed:
            self._is_placed = True
            QTimer.singleShot(0, self._find_place)
        elif kind == QEvent.Type.Hide and not a1.spontaneous():
            # One that is torn off is hidden for a moment, too.
            QTimer.singleShot(0, self._on_hidden)
        elif kind == QEvent.Type.ParentChange:
            if self.widget.parent() is not None:
                self._was_docked = True
            elif self._was_docked and not self._is_closed:
                self._is_closed = True
                self.closed.emit()
        return False

    def _on_hidden(self) -> None:
        if not (self._is_closed or self.widget.isVisible()):
            self.hidden.emit()

    def _find_place(self) -> None:
        """Become a tab where the docks of ours on this side would be too low."""
        window, place = self.widget.window(), _dock_of(self.widget)
        if not isinstance(window, QMainWindow) or place is None or place.isFloating():
            return
        area = window.dockWidgetArea(place)
        watched = [watch.widget for watch in window.findChildren(DockWatch)]
        others = [
            dock
            for dock in map(_dock_of, watched)
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


class Dock(QWidget):
    """A widget in a dock of napari: when that is closed it follows nothing any more."""

    def __init__(self) -> None:
        super().__init__()
        self._is_closed = False
        self._connections = Connections()
        watch = DockWatch(self)
        watch.hidden.connect(lambda: self.stay_hidden())
        watch.closed.connect(lambda: self.close_down())

    def close_down(self) -> None:
        """End with the dock; what is shown elsewhere is taken away by subclasses."""
        if not self._is_closed:
            self._is_closed = True
            self._connections.close()
            self.deleteLater()

    def stay_hidden(self) -> None:
        """Take away what nobody can any more; the dock may be shown again."""


def _dock_of(widget: QObject) -> QDockWidget | None:
    """Return the dock that a widget is in."""
    above = widget.parent()
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parent()
    return above
