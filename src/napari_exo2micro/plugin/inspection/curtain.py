"""Curtain and checkerboard: two images in one picture, at any zoom."""

from __future__ import annotations

from typing import Any, Literal

from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy import QtWidgets
from qtpy.QtCore import QObject, Qt, Signal
from superqt.utils import signals_blocked

from napari_exo2micro.core.alignment import round_figure
from napari_exo2micro.core.images import Composite, Look, Side, Split
from napari_exo2micro.plugin.inspection.box import ComparisonBox, Shared, add_behind
from napari_exo2micro.plugin.layers import pair
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    about,
    camera,
    remove_layers,
    seen_window,
)
from napari_exo2micro.plugin.widgets import controls

#: How both images are coloured, and what the list says.
COLOURS = {
    "own": "their own colours",
    "grey": "grey, each in its own range",
    "same": "grey, one range for both",
}

Kind = Literal["columns", "rows", "checkerboard"]

_KINDS: dict[Kind, str] = {
    "columns": "curtain, left and right",
    "rows": "curtain, above and below",
    "checkerboard": "checkerboard",
}

_STEPS = 1000
_FARTHEST = 1_000_000


class Curtain(QObject):
    """A temporary layer of two others, made window by window as one looks.

    The two and all other images are hidden meanwhile; the colours, ranges and
    gamma of the two are followed.

    Attributes
    ----------
    changed : Signal()
        It began or ended, also by hand in the layer list.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._remembered = pair.Remembered(viewer)
        self._pair: tuple[Image, Image] | None = None
        self._composite: Composite | None = None
        self._layer: Image | None = None
        self._colours = "own"
        self._split = Split()
        # However fast the slider moves, the picture is drawn anew once for all that
        # came meanwhile.
        self._timer = controls.delayed(self, self._refresh)
        self._looks_followed, self._connections = (
            controls.Connections(),
            controls.Connections(),
        )
        self._connections.add(viewer.layers.events.removed, self._on_removed)

    @property
    def is_active(self) -> bool:
        """Whether the layer is there."""
        return self._layer is not None

    def set_split(self, split: Split) -> None:
        """Choose which parts show which image; in px of the post-stain image."""
        self._split = split
        if self._composite is not None:
            self._composite.split = split
            self._timer.start()

    def set_colours(self, colours: str) -> None:
        """Choose how both are coloured: a key of `COLOURS`."""
        self._colours = colours
        self._follow_look()

    def start(self, first: Image, second: Image) -> None:
        """Show the two in one picture; neither has an `image_problem`."""
        self._forget_pair()
        self._pair = (first, second)
        sides = self._sides(first, second)
        self._composite = Composite(sides[0], sides[1], self._split)
        for layer in self._pair:
            events = layer.events
            for emitter in (events.colormap, events.contrast_limits, events.gamma):
                self._looks_followed.add(emitter, self._follow_look)
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
        add_behind(self._viewer, self._layer)
        for layer in self._viewer.layers:
            if isinstance(layer, (Image, Labels)) and layer is not self._layer:
                self._remembered.set(layer, visible=False)
        self.changed.emit()

    def stop(self) -> None:
        """Remove the layer; every other one is as it was before."""
        if self._layer is None:
            return
        layer, self._layer = self._layer, None
        self._forget_pair()
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        self._remembered.restore()
        self.changed.emit()

    def close_down(self) -> None:
        """Stop, and follow the viewer no more."""
        self.stop()
        self._connections.close()

    def _forget_pair(self) -> None:
        self._timer.stop()
        self._looks_followed.close()
        self._pair = self._composite = None

    def _sides(self, first: Image, second: Image) -> list[Side]:
        """Return both images at their places, coloured as was chosen."""
        looks = [pair.layer_look(first), pair.layer_look(second)]
        if self._colours == "grey":
            looks = [Look(pair.GREY, look.low, look.high, look.gamma) for look in looks]
        elif self._colours == "same":
            low, high = min(k.low for k in looks), max(k.high for k in looks)
            looks = [Look(pair.GREY, low, high)] * 2
        pairs = zip((first, second), looks, strict=True)
        return [pair.layer_side(layer, look) for layer, look in pairs]

    def _follow_look(self, _event: object = None) -> None:
        if self._composite is not None and self._pair is not None:
            sides = self._sides(*self._pair)
            self._composite.first, self._composite.second = sides
            self._timer.start()

    def _refresh(self) -> None:
        if self._layer is not None:
            self._layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and event.value is self._layer:
            self.stop()


class CurtainBox(ComparisonBox):
    """Buttons, position and square size of the curtain.

    The slider goes from one edge of what is on screen to the other, at any zoom;
    the curtain then stays at its place of the image.
    """

    HEADING = "Curtain and checkerboard"
    NAME = "curtain_box"
    WORDS = ("Show curtain", "Hide curtain")
    TIP = (
        "Draw both layers in one picture: lines that run on across the edge are "
        "aligned, lines that break are not"
    )
    ENDED = "The curtain was taken away."

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.curtain = Curtain(self._viewer, self)
        self._is_placed = False
        self._kind = controls.combo_box(
            self,
            "curtain_kind",
            "How the picture is divided between the two layers",
            _KINDS.values(),
        )
        self._colours = controls.combo_box(
            self,
            "curtain_colours",
            "Their own colours follow the layers' controls. Grey in each layer's own "
            "range shows whether structures meet; grey in one range also shows which "
            "layer is brighter",
            COLOURS.values(),
        )
        self._parts = QtWidgets.QStackedWidget(self)
        self._parts.addWidget(self._curtain_part())
        self._parts.addWidget(self._square_part())
        form = QtWidgets.QFormLayout()
        form.setFieldGrowthPolicy(
            QtWidgets.QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow
        )
        form.addRow("Divide", self._kind)
        form.addRow("Colours", self._colours)
        controls.column(self._start, form, self._parts, parent=self)
        self._kind.currentIndexChanged.connect(self._on_kind)
        self._colours.currentIndexChanged.connect(self._on_colours)
        self.curtain.changed.connect(self._show_state)
        self._connections.add(self._pair.changed, self._follow)
        eye = camera(self._viewer)
        self._connections.add(eye.events.zoom, self._on_camera)
        self._connections.add(eye.events.center, self._on_camera)
        self._on_camera()

    def _curtain_part(self) -> QtWidgets.QWidget:
        part = QtWidgets.QWidget(self)
        self._slider = QtWidgets.QSlider(Qt.Orientation.Horizontal, part)
        self._slider.setObjectName("curtain_position")
        self._slider.setRange(0, _STEPS)
        self._slider.setValue(_STEPS // 2)
        self._slider.setToolTip(
            "Move the curtain between the edges of what is on screen"
        )
        tip = "Column or row of the curtain, px of post-stain"
        limits = (-_FARTHEST, _FARTHEST)
        self._place = controls.spin_box(part, "curtain_place", limits, 0, tip)
        self._place_name = QtWidgets.QLabel("Column", part)
        line = controls.row(self._place_name, (self._place, 1))
        controls.column(self._slider, line, parent=part, margin=0)
        self._slider.valueChanged.connect(self._on_slider)
        self._place.valueChanged.connect(self._on_place)
        return part

    def _square_part(self) -> QtWidgets.QWidget:
        part = QtWidgets.QWidget(self)
        tip = "Side of a square, px of post-stain"
        self._square = controls.spin_box(part, "curtain_square", (1, 100_000), 512, tip)
        self._square.setMinimumWidth(110)
        fit = controls.button(
            self,
            "curtain_fit",
            "Fit",
            "Choose squares of about a sixth of what is on screen",
        )
        controls.column(
            controls.row("Squares of", (self._square, 1), fit), parent=part, margin=0
        )
        self._square.valueChanged.connect(self._apply)
        fit.clicked.connect(self.fit_squares)
        return part

    @property
    def is_active(self) -> bool:
        """Whether the curtain determines what is visible."""
        return self.curtain.is_active

    @property
    def kind(self) -> Kind:
        """How the picture is divided."""
        return list(_KINDS)[self._kind.currentIndex()]

    def stop(self) -> None:
        """Take the curtain away and restore what was visible."""
        self.curtain.stop()

    def close_down(self) -> None:
        """Stop, and listen to nothing any more."""
        super().close_down()
        self.curtain.close_down()

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
        problems = (pair.image_problem(layer, "The curtain") for layer in layers)
        return self._pair.problem() or next(filter(None, problems), "")

    def _begin(self) -> None:
        first, second = self._pair.layers
        assert isinstance(first, Image)
        assert isinstance(second, Image)
        low, high = self._span()
        if not (self._is_placed and low < self._place.value() < high):
            self.centre()
        self._is_placed = True
        self._apply()
        self.curtain.start(first, second)

    def _on_kind(self) -> None:
        self._parts.setCurrentIndex(1 if self.kind == "checkerboard" else 0)
        self._place_name.setText("Row" if self.kind == "rows" else "Column")
        if self.kind != "checkerboard":
            self.centre()
        self._on_camera()
        self._apply()

    def _on_colours(self, index: int) -> None:
        self.curtain.set_colours(list(COLOURS)[index])

    def _on_slider(self, value: int) -> None:
        low, high = self._span()
        self._is_placed = True
        with signals_blocked(self._place):
            self._place.setValue(round(low + (high - low) * value / _STEPS))
        self._apply()

    def _on_place(self) -> None:
        self._is_placed = True
        self._on_camera()
        self._apply()

    def _on_camera(self, _event: object = None) -> None:
        """Let the slider show where in the view the curtain hangs."""
        low, high = self._span()
        part = (self._place.value() - low) / max(high - low, 1e-9)
        with signals_blocked(self._slider):
            self._slider.setValue(round(_STEPS * min(max(part, 0.0), 1.0)))

    def _span(self) -> tuple[float, float]:
        """Return the rows or columns between which the slider goes."""
        top, left, bottom, right = seen_window(self._viewer)
        return (top, bottom) if self.kind == "rows" else (left, right)

    def _apply(self) -> None:
        place = float(self._place.value())
        self.curtain.set_split(Split(self.kind, place, self._square.value()))
