"""Picking a place by a click in the viewer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

__all__ = ["PickPlace"]


class PickPlace(QObject):
    """Waits for one click in the viewer; a drag still moves the picture.

    Parameters
    ----------
    viewer : ViewerModel
        Where to click.
    parent : QObject, optional
        As for any object.

    Attributes
    ----------
    picked : Signal(float, float)
        (row, column) of the world: px of the raw post-stain image.
    changed : Signal(bool)
        Whether it waits for a click.
    """

    picked = Signal(float, float)
    changed = Signal(bool)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._callback: Any = None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a click."""
        return self._callback is not None

    def start(self) -> None:
        """Wait for a click."""
        if self.is_waiting:
            return

        # napari asks for a function of its own kind: it goes on with each event.
        def on_mouse(_viewer: Any, event: Any) -> Iterator[None]:
            dragged = False
            yield
            while event.type == "mouse_move":
                dragged = True
                yield
            if not dragged and self.is_waiting:
                row, column = (float(value) for value in event.position[-2:])
                self.stop()
                self.picked.emit(row, column)

        self._callback = on_mouse
        self._viewer.mouse_drag_callbacks.append(on_mouse)
        self.changed.emit(True)

    def stop(self) -> None:
        """Wait no more."""
        if not self.is_waiting:
            return
        self._viewer.mouse_drag_callbacks.remove(self._callback)
        self._callback = None
        self.changed.emit(False)
