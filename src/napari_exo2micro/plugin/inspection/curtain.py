"""Curtain and checkerboard: two images in one picture, at any zoom."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject, QTimer

from napari_exo2micro.core.compositing import Composite, Look, Split
from napari_exo2micro.plugin.inspection.image_side import (
    GREY,
    image_problem,
    layer_look,
    layer_side,
)
from napari_exo2micro.plugin.layers import KEY, about, remove_layers
from napari_exo2micro.plugin.workbench.remembered import Remembered

__all__ = ["COLOURS", "Curtain"]

#: How both images are coloured, and what the list says.
COLOURS = {
    "own": "their own colours",
    "grey": "grey, each in its own range",
    "same": "grey, one range for both",
}


class Curtain(QObject):
    """A temporary layer of two others, made window by window as one looks.

    The two and all other images are hidden meanwhile; the colours, ranges and
    gamma of the two are followed.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers they are.
    parent : QObject, optional
        As for any object.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._remembered = Remembered(viewer)
        self._pair: tuple[Image, Image] | None = None
        self._composite: Composite | None = None
        self._layer: Image | None = None
        self._colours = "own"
        self._split = Split()
        # However fast the slider moves, the picture is drawn anew once for all that
        # came meanwhile.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._refresh)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def is_active(self) -> bool:
        """Whether the layer is there."""
        return self._layer is not None

    @property
    def layer(self) -> Image | None:
        """The temporary layer."""
        return self._layer

    @property
    def split(self) -> Split:
        """Which parts show which image; places in px of the post-stain image."""
        return self._split

    @split.setter
    def split(self, split: Split) -> None:
        self._split = split
        if self._composite is not None:
            self._composite.split = split
            self._timer.start()

    @property
    def colours(self) -> str:
        """How both are coloured: a key of `COLOURS`."""
        return self._colours

    @colours.setter
    def colours(self, colours: str) -> None:
        self._colours = colours
        self._follow_look()

    def problem(self, *layers: Layer) -> str:
        """Return in words why two layers do not go together; empty when they do."""
        for layer in layers:
            found = image_problem(layer, "The curtain")
            if found:
                return found
        return ""

    def start(self, first: Image, second: Image) -> None:
        """Show the two in one picture.

        Parameters
        ----------
        first, second : Image
            Layers without a `problem`.
        """
        self._forget_pair()
        looks = self._looks(first, second)
        self._composite = Composite(
            layer_side(first, looks[0]), layer_side(second, looks[1]), self._split
        )
        self._pair = (first, second)
        for layer in self._pair:
            for emitter in self._emitters(layer):
                emitter.connect(self._follow_look)
        active = self._viewer.layers.selection.active
        # First away with the old one, or napari would number the name.
        self._layer = None
        remove_layers(self._viewer, "curtain")
        known = about(first)
        self._layer = Image(
            self._composite.levels,
            multiscale=True,
            rgb=True,
            name=f"curtain: {first.name} | {second.name}",
            translate=self._composite.origin,
            interpolation2d="nearest",
            metadata={
                KEY: {
                    "role": "curtain",
                    "sample": known.get("sample", ""),
                    "dye": known.get("dye", ""),
                }
            },
        )
        self._viewer.add_layer(self._layer)
        for layer in self._viewer.layers:
            if isinstance(layer, (Image, Labels)) and layer is not self._layer:
                self._remembered.set(layer, visible=False)
        if active is not None and active in self._viewer.layers:
            # So that its colours can be changed at once.
            self._viewer.layers.selection.active = active

    def stop(self) -> None:
        """Remove the layer; every other one is as it was before."""
        if self._layer is None:
            return
        layer, self._layer = self._layer, None
        self._forget_pair()
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        self._remembered.restore()

    def close_down(self) -> None:
        """Stop, and follow the viewer no more."""
        self.stop()
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _forget_pair(self) -> None:
        self._timer.stop()
        for layer in self._pair or ():
            for emitter in self._emitters(layer):
                emitter.disconnect(self._follow_look)
        self._pair = self._composite = None

    @staticmethod
    def _emitters(layer: Image) -> tuple[Any, ...]:
        events = layer.events
        return events.colormap, events.contrast_limits, events.gamma

    def _looks(self, first: Image, second: Image) -> tuple[Look, Look]:
        looks = layer_look(first), layer_look(second)
        if self._colours == "own":
            return looks
        low, high = min(k.low for k in looks), max(k.high for k in looks)
        if self._colours == "same":
            return Look(GREY, low, high), Look(GREY, low, high)
        first_look, second_look = (Look(GREY, k.low, k.high, k.gamma) for k in looks)
        return first_look, second_look

    def _follow_look(self, _event: object = None) -> None:
        if self._composite is None or self._pair is None:
            return
        looks = self._looks(*self._pair)
        self._composite.first = layer_side(self._pair[0], looks[0])
        self._composite.second = layer_side(self._pair[1], looks[1])
        self._timer.start()

    def _refresh(self) -> None:
        if self._layer is not None:
            self._layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and event.value is self._layer:
            # By hand, in the layer list.
            self.stop()
