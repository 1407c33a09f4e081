"""What the alignment leaves, as arrows in the viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Vectors
from qtpy.QtCore import QObject, QTimer, Signal

from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.residuals import Residuals, residuals_from_details
from napari_exo2micro.plugin.inspection.section_layers import stored_header
from napari_exo2micro.plugin.layers import KEY, about
from napari_exo2micro.plugin.view import camera, scale_bar

__all__ = ["ResidualArrows", "layer_residuals"]

_USED, _LEFT_OUT = "#33ddff", "#ff8844"

#: Width of a line on the screen, px.
_LINE = 3.0


def layer_residuals(layer: Image) -> Residuals:
    """Return the residuals that an interior-aligned layer carries.

    Raises
    ------
    RegistrationError
        When it carries none, with the fix.
    """
    header = stored_header(layer)
    if header is None:
        raise RegistrationError(
            f"'{layer.name}' has no header that tells how it was aligned: run stage 3 "
            "with this package and show its result"
        )
    return residuals_from_details(header.details, header.transform)


class ResidualArrows(QObject):
    """The layer of arrows and napari's scale bar.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are drawn.
    parent : QObject, optional
        As for any object.

    Attributes
    ----------
    ended : Signal()
        The layer was removed in the layer list.
    """

    ended = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Vectors | None = None
        self._bar_before: bool | None = None
        self._width = 0.0
        # A wheel turns in many small steps.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._follow_zoom)
        viewer.layers.events.removed.connect(self._on_removed)
        camera(viewer).events.zoom.connect(self._on_zoom)

    @property
    def layer(self) -> Vectors | None:
        """The layer of arrows."""
        return self._layer

    def show_arrows(
        self, source: Image, residuals: Residuals, factor: float, *, every: bool
    ) -> None:
        """Draw the arrows, or draw them anew.

        Parameters
        ----------
        source : Image
            The aligned layer; the arrows lie on it.
        residuals : Residuals
            What it carries.
        factor : float
            Times that the arrows are longer than the displacements.
        every : bool
            Whether tiles that the alignment left out are drawn, too.
        """
        shown = np.ones(len(residuals.used), bool) if every else residuals.used
        vectors = residuals.vectors(factor)[shown]
        used = residuals.used[shown]
        colours = np.where(used, _USED, _LEFT_OUT)
        features = {
            "displacement_px": residuals.lengths[shown],
            "used": used,
        }
        known = about(source)
        options: dict[str, Any] = {
            "name": f"{known.get('sample', '')} {known.get('dye', '')}: remaining "
            f"displacement × {factor:g}".strip(),
            "translate": source.translate,
            "features": features,
            "edge_color": list(colours),
            "edge_width": self._line_width(),
            "vector_style": "arrow",
            "opacity": 1.0,
            "metadata": {
                KEY: {
                    "role": "residuals",
                    "sample": known.get("sample", ""),
                    "dye": known.get("dye", ""),
                    "amplification": factor,
                }
            },
        }
        layer = self._layer
        if layer is not None and layer in self._viewer.layers:
            chosen_width = layer.edge_width != self._width
            layer.data = vectors
            options.pop("vector_style"), options.pop("opacity")
            if chosen_width:
                options.pop("edge_width")
            for name, value in options.items():
                setattr(layer, name, value)
            if not chosen_width:
                self._width = layer.edge_width
            return
        active = self._viewer.layers.selection.active
        self._layer = Vectors(vectors, **options)
        self._width = self._layer.edge_width
        self._viewer.add_layer(self._layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def show_bar(self, shown: bool) -> None:
        """Show napari's scale bar, in px of the image, or what was before."""
        bar = scale_bar(self._viewer)
        if shown and self._bar_before is None:
            self._bar_before = bool(bar.visible)
            bar.visible = True
        elif not shown and self._bar_before is not None:
            bar.visible, self._bar_before = self._bar_before, None

    def stop(self) -> None:
        """Remove the arrows; the scale bar is as it was before."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        self.show_bar(False)

    def close_down(self) -> None:
        """Stop, and follow the viewer no more."""
        self.stop()
        self._timer.stop()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        camera(self._viewer).events.zoom.disconnect(self._on_zoom)

    def _line_width(self) -> float:
        return float(_LINE / max(camera(self._viewer).zoom, 1e-6))

    def _on_zoom(self, _event: object = None) -> None:
        if self._layer is not None:
            self._timer.start()

    def _follow_zoom(self) -> None:
        """Keep the lines as thick on the screen, unless a person chose another."""
        if self._layer is not None and self._layer.edge_width == self._width:
            self._layer.edge_width = self._line_width()
            self._width = self._layer.edge_width

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and event.value is self._layer:
            self._layer = None
            self.show_bar(False)
            self.ended.emit()
