"""The outline of the zoom box in the viewer."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer, Shapes
from qtpy.QtCore import QObject

from napari_exo2micro.plugin.layers import KEY
from napari_exo2micro.plugin.view import camera

__all__ = ["ZoomFrame"]

#: Width of the line on the screen, px.
_LINE = 2.0


class ZoomFrame(QObject):
    """A yellow square in the viewer, as thick on the screen at any zoom.

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
        self._layer: Shapes | None = None
        camera(viewer).events.zoom.connect(self._on_zoom)

    def show_box(self, row: int, column: int, size: int) -> None:
        """Draw the square.

        Parameters
        ----------
        row, column, size : int
            Middle and side, px of the raw post-stain image.
        """
        top, left = row - size // 2 - 0.5, column - size // 2 - 0.5
        corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * size + (top, left)
        if self._layer is None or self._layer not in self._viewer.layers:
            active = self._viewer.layers.selection.active
            self._layer = Shapes(
                [corners],
                shape_type="polygon",
                name="zoom box",
                edge_color="#ffd400",
                face_color="transparent",
                edge_width=self._width(),
                metadata={KEY: {"role": "zoom frame"}},
            )
            self._viewer.add_layer(self._layer)
            if isinstance(active, Layer):
                self._viewer.layers.selection.active = active
        else:
            self._layer.data = [corners]

    def hide(self) -> None:
        """Take it away."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close_down(self) -> None:
        """Take it away and follow the viewer no more."""
        self.hide()
        camera(self._viewer).events.zoom.disconnect(self._on_zoom)

    def _width(self) -> float:
        return float(_LINE / max(camera(self._viewer).zoom, 1e-6))

    def _on_zoom(self, _event: object = None) -> None:
        if self._layer is not None:
            self._layer.edge_width = [self._width()]
