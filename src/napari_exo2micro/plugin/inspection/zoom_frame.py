"""The outline of the zoom box in the viewer."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer, Vectors
from numpy.typing import NDArray
from qtpy.QtCore import QObject

from napari_exo2micro.plugin.connections import Connections
from napari_exo2micro.plugin.layers import KEY
from napari_exo2micro.plugin.view import camera

__all__ = ["ZoomFrame"]

#: Width of the line on the screen, px.
_LINE = 2.0


class ZoomFrame(QObject):
    """A yellow square in the viewer, as thick on the screen at any zoom.

    It only shows the place; that is chosen by numbers, by a click or from the view.
    So it is made of lines, which napari renews in place, and not of shapes.

    Parameters
    ----------
    viewer : ViewerModel
        Where it is drawn.
    parent : QObject, optional
        As for any object.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Vectors | None = None
        self._connections = Connections()
        self._connections.add(camera(viewer).events.zoom, self._on_zoom)

    def show_box(self, row: int, column: int, size: int) -> None:
        """Draw the square.

        Parameters
        ----------
        row, column, size : int
            Middle and side, px of the raw post-stain image.
        """
        lines = _square(row - size // 2 - 0.5, column - size // 2 - 0.5, size)
        if self._layer is None or self._layer not in self._viewer.layers:
            active = self._viewer.layers.selection.active
            self._layer = Vectors(
                lines,
                name="zoom box",
                edge_color="#ffd400",
                edge_width=self._width(),
                vector_style="line",
                metadata={KEY: {"role": "zoom frame"}},
            )
            self._viewer.add_layer(self._layer)
            if isinstance(active, Layer):
                self._viewer.layers.selection.active = active
        else:
            self._layer.data = lines

    def hide(self) -> None:
        """Take it away."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close_down(self) -> None:
        """Take it away and follow the viewer no more."""
        self.hide()
        self._connections.close()

    def _width(self) -> float:
        return float(_LINE / max(camera(self._viewer).zoom, 1e-6))

    def _on_zoom(self, _event: object = None) -> None:
        if self._layer is not None:
            self._layer.edge_width = self._width()


def _square(top: float, left: float, size: int) -> NDArray[np.float64]:
    """Return four lines, shape (4, 2, 2): where each begins and which way it goes."""
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * float(size) + (top, left)
    return np.stack([corners, np.roll(corners, -1, axis=0) - corners], axis=1)
