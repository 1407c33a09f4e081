"""Curtain and checkerboard: two images in one picture, at any zoom."""

from typing import Any, Literal

from napari.layers import Image
from qtpy import QtWidgets
from qtpy.QtCore import Qt
from superqt.utils import signals_blocked

from napari_exo2micro.core.alignment import round_figure
from napari_exo2micro.core.images import Composite, Look, Side, Split
from napari_exo2micro.plugin.inspection.box import ComparisonBox, hidden_images
from napari_exo2micro.plugin.layers import pair as pairs
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    about,
    camera,
    ground,
    seen_window,
)
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import Display, Wish
from napari_exo2micro.plugin.widgets import controls

Kind = Literal["columns", "rows", "checkerboard"]

#: What the lists say -> how the picture is divided, and how both images are coloured.
_KINDS: dict[str, Kind] = {
    "curtain, left and right": "columns",
    "curtain, above and below": "rows",
    "checkerboard": "checkerboard",
}
_COLOURS = {
    "their own colours": "own",
    "grey, each in its own range": "grey",
    "grey, one range for both": "same",
}

_STEPS = 1000
_FARTHEST = 1_000_000


class CurtainBox(ComparisonBox):
    """A temporary layer of two others, made window by window as one looks.

    The two and all other images are hidden meanwhile; the colours, ranges and gamma
    of the two are followed. The slider goes from one edge of what is on screen to the
    other, at any zoom; the curtain then stays at its place of the image.
    """

    HEADING = "Curtain and checkerboard"
    NAME = "curtain_box"
    WORDS = ("Show curtain", "Hide curtain")
    TIP = (
        "Draw both layers in one picture: lines that run on across the edge are "
        "aligned, lines that break are not"
    )
    ENDED = "The curtain was taken away."

    def __init__(self, panel: Panel, pair: pairs.LayerPair) -> None:
        super().__init__(panel, pair)
        self._display = Display.of(self._viewer)
        self._images: tuple[Image, Image] | None = None
        self._composite: Composite | None = None
        # However fast the slider moves, the picture is drawn anew once for all that
        # came meanwhile.
        self._timer = controls.delayed(self, self._redraw)
        self._looks_followed = controls.Connections()
        self._is_placed = False
        tip = "How the picture is divided between the two layers"
        self._kind = controls.combo_box(
            self, "curtain_kind", tip, _KINDS, self._on_kind
        )
        self._colours = controls.combo_box(
            self,
            "curtain_colours",
            "Their own colours follow the layers' controls. Grey in each layer's own "
            "range shows whether structures meet; grey in one range also shows which "
            "layer is brighter",
            _COLOURS,
            self._follow_look,
        )
        self._parts = QtWidgets.QStackedWidget(self)
        self._parts.addWidget(self._curtain_part())
        self._parts.addWidget(self._square_part())
        fields = controls.form(("Divide", self._kind), ("Colours", self._colours))
        controls.column(self._start, fields, self._parts, parent=self)
        self._connections.add(pair.changed, self._follow)
        self._connections.add(self._viewer.layers.events.removed, self._on_removed)
        eye = camera(self._viewer)
        self._connections.add(eye.events.zoom, self._show_place)
        self._connections.add(eye.events.center, self._show_place)
        self._show_place()

    def _curtain_part(self) -> QtWidgets.QWidget:
        part = QtWidgets.QWidget(self)
        self._slider = QtWidgets.QSlider(Qt.Orientation.Horizontal, part)
        self._slider.setObjectName("curtain_position")
        self._slider.setRange(0, _STEPS)
        self._slider.setValue(_STEPS // 2)
        self._slider.setToolTip(
            "Move the curtain between the edges of what is on screen"
        )
        self._slider.valueChanged.connect(self._on_slider)
        tip = "Column or row of the curtain, px of post-stain"
        limits = (-_FARTHEST, _FARTHEST)
        self._place = controls.spin_box(
            part, "curtain_place", limits, 0, tip, self._on_place
        )
        self._place_name = QtWidgets.QLabel("Column", part)
        line = controls.row(self._place_name, (self._place, 1))
        controls.column(self._slider, line, parent=part, margin=0)
        return part

    def _square_part(self) -> QtWidgets.QWidget:
        part = QtWidgets.QWidget(self)
        tip = "Side of a square, px of post-stain"
        self._square = controls.spin_box(
            part, "curtain_square", (1, 100_000), 512, tip, self._apply
        )
        self._square.setMinimumWidth(110)
        tip = "Choose squares of about a sixth of what is on screen"
        fit = controls.button(self, "curtain_fit", "Fit", tip, self.fit_squares)
        line = controls.row("Squares of", (self._square, 1), fit)
        controls.column(line, parent=part, margin=0)
        return part

    @property
    def is_active(self) -> bool:
        """Whether the layer is there."""
        return self._composite is not None

    @property
    def kind(self) -> Kind:
        """How the picture is divided."""
        return _KINDS[self._kind.currentText()]

    def stop(self) -> None:
        """Remove the layer; every other one is as it was before."""
        if self.is_active:
            self._forget_images()
            self._display.show(self, None)
            self._show_state()

    def centre(self) -> None:
        """Hang the curtain in the middle of what is on screen."""
        low, high = self._span()
        self._place.setValue(round((low + high) / 2))

    def fit_squares(self) -> None:
        """Make about six squares across what is on screen."""
        top, left, bottom, right = seen_window(self._viewer)
        side = round_figure(min(bottom - top, right - left) / 3)
        self._square.setValue(max(int(side), 1))

    def _problem(self) -> str:
        layers = [layer for layer in self._pair.layers if layer is not None]
        below = ground(self._viewer)
        problems = (
            pairs.image_problem(layer, "The curtain", below) for layer in layers
        )
        return self._pair.problem() or next(filter(None, problems), "")

    def _begin(self) -> None:
        """Show the two in one picture."""
        first, second = self._pair.layers
        assert isinstance(first, Image)
        assert isinstance(second, Image)
        low, high = self._span()
        if not (self._is_placed and low < self._place.value() < high):
            self.centre()
        self._is_placed = True
        self._forget_images()
        self._images = (first, second)
        self._composite = Composite(*self._sides(first, second), self._split())
        for layer in self._images:
            events = layer.events
            for emitter in (events.colormap, events.contrast_limits, events.gamma):
                self._looks_followed.add(emitter, self._follow_look)
        known = {name: about(first).get(name, "") for name in ("sample", "dye")}
        known |= {"role": "curtain", "canvas_offset": self._composite.origin}
        options = {
            "multiscale": True,
            "rgb": True,
            "name": f"curtain: {first.name} | {second.name}",
            "translate": self._composite.origin,
            "interpolation2d": "nearest",
            "metadata": {KEY: known},
        }
        spec = LayerSpec(self._composite.levels, options, ground=ground(self._viewer))
        hidden = hidden_images(self._viewer, self._display.layers_of(self))
        self._display.show(self, Wish(hidden, (spec,)))
        self._show_state()

    def _forget_images(self) -> None:
        self._timer.stop()
        self._looks_followed.close()
        self._images = self._composite = None

    def _sides(self, first: Image, second: Image) -> tuple[Side, Side]:
        """Return both images at their places, coloured as was chosen."""
        one, other = pairs.layer_look(first), pairs.layer_look(second)
        colours = _COLOURS[self._colours.currentText()]
        if colours == "grey":
            one = Look(pairs.GREY, one.low, one.high, one.gamma)
            other = Look(pairs.GREY, other.low, other.high, other.gamma)
        elif colours == "same":
            low, high = min(one.low, other.low), max(one.high, other.high)
            one = other = Look(pairs.GREY, low, high)
        below = ground(self._viewer)
        return (
            pairs.layer_side(first, one, below),
            pairs.layer_side(second, other, below),
        )

    def _follow_look(self, _changed: object = None) -> None:
        if self._composite is not None and self._images is not None:
            self._composite.first, self._composite.second = self._sides(*self._images)
            self._timer.start()

    def _redraw(self) -> None:
        for layer in self._display.layers_of(self):
            layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _on_removed(self, event: Any) -> None:
        if event.value in self._display.layers_of(self):
            self.stop()

    def _on_kind(self) -> None:
        self._parts.setCurrentIndex(1 if self.kind == "checkerboard" else 0)
        self._place_name.setText("Row" if self.kind == "rows" else "Column")
        if self.kind != "checkerboard":
            self.centre()
        self._show_place()
        self._apply()

    def _on_slider(self, value: int) -> None:
        low, high = self._span()
        self._is_placed = True
        with signals_blocked(self._place):
            self._place.setValue(round(low + (high - low) * value / _STEPS))
        self._apply()

    def _on_place(self) -> None:
        self._is_placed = True
        self._show_place()
        self._apply()

    def _show_place(self, _event: object = None) -> None:
        """Let the slider show where in the view the curtain hangs."""
        low, high = self._span()
        part = (self._place.value() - low) / max(high - low, 1e-9)
        with signals_blocked(self._slider):
            self._slider.setValue(round(_STEPS * min(max(part, 0.0), 1.0)))

    def _span(self) -> tuple[float, float]:
        """Return the rows or columns between which the slider goes."""
        top, left, bottom, right = seen_window(self._viewer)
        return (top, bottom) if self.kind == "rows" else (left, right)

    def _split(self) -> Split:
        """Return which parts show which image, in px of the post-stain image."""
        return Split(self.kind, float(self._place.value()), self._square.value())

    def _apply(self) -> None:
        if self._composite is not None:
            self._composite.split = self._split()
            self._timer.start()
