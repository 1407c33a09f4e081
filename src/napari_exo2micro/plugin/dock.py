"""A widget that napari shows in a dock, and that ends when the dock is closed."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

__all__ = ["Dock"]


class Dock(QWidget):
    """A widget in a dock of napari: when that is closed it follows nothing any more.

    napari takes the widget out of a dock that is closed, and leaves it to whoever
    still holds it, with all that it listens to.
    """

    def __init__(self) -> None:
        super().__init__()
        self._was_docked = self._is_closed = False

    def close_down(self) -> None:
        """End with the dock; what is shown elsewhere is taken away by subclasses."""
        if not self._is_closed:
            self._is_closed = True
            self.deleteLater()

    def event(self, event: QEvent | None) -> bool:
        """Learn that the dock was closed."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._was_docked = True
            elif self._was_docked:
                self.close_down()
        return super().event(event)
