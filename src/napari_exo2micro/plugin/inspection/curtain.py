"""Curtain and checkerboard: two images in one picture, at any zoom."""

from __future__ import annotations

from typing import Any, Literal

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.alignment import round_figure
from napari_exo2micro.core.images import Composite, Look, Split
from napari_exo2micro.plugin.inspection.box import ComparisonBox
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    about,
    camera,
    remove_layers,
    seen_window,
)
from napari_exo2micro.plugin.layers.pair import (
    GREY,
    LayerPair,
    Remembered,
    image_problem,
    layer_look,
    layer_side,
)
from napari_exo2micro.plugin.widgets.controls import MessageStrip, button

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


Kind = Literal["columns", "rows", "checkerboard"]

_KINDS: dict[Kind, str] = {
    "columns": "curtain, left and right",
    "rows": "curtain, above and below",
    "checkerboard": "checkerboard",
}

_STEPS = 1000
_FARTHEST = 1_000_000


class CurtainBox(ComparisonBox):
    """Buttons, position and square size of the curtain.

    The slider goes from one edge of what is on screen to the other, at any zoom;
    the curtain then stays at its place of the image.

    Parameters
    ----------
    pair : LayerPair
        The two layers.
    viewer : ViewerModel
        Whose layers they are.
    message : MessageStrip
        Where problems are told.
    parent : QWidget, optional
        As for any widget.
    """

    HEADING = "Curtain and checkerboard"
    NAME = "curtain_box"
    WORDS = ("Show curtain", "Hide curtain")
    TIP = (
        "Draw both layers in one picture: lines that run on across the edge are "
        "aligned, lines that break are not"
    )

    def __init__(
        self,
        pair: LayerPair,
        viewer: ViewerModel,
        message: MessageStrip,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(pair, viewer, message, parent)
        self.curtain = Curtain(viewer, self)
        self._is_placed = False
        self._kind = QComboBox(self)
        self._kind.setObjectName("curtain_kind")
        self._kind.addItems(list(_KINDS.values()))
        self._kind.setToolTip("How the picture is divided between the two layers")
        self._colours = QComboBox(self)
        self._colours.setObjectName("curtain_colours")
        self._colours.addItems(list(COLOURS.values()))
        self._colours.setToolTip(
            "Their own colours follow the layers' controls. Grey in each layer's own "
            "range shows whether structures meet; grey in one range also shows which "
            "layer is brighter"
        )
        for combo in (self._kind, self._colours):
            combo.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            combo.setMinimumContentsLength(14)
            combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._parts = QStackedWidget(self)
        self._parts.addWidget(self._curtain_part())
        self._parts.addWidget(self._square_part())
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Divide", self._kind)
        form.addRow("Colours", self._colours)
        layout = QVBoxLayout(self)
        layout.addWidget(self._start)
        layout.addLayout(form)
        layout.addWidget(self._parts)
        self._kind.currentIndexChanged.connect(self._on_kind)
        self._colours.currentIndexChanged.connect(self._on_colours)
        self._connections.add(pair.changed, self._follow)
        self._connections.add(viewer.layers.events.removed, self._on_removed)
        eye = camera(viewer)
        self._connections.add(eye.events.zoom, self._on_camera)
        self._connections.add(eye.events.center, self._on_camera)
        self._on_camera()

    def _curtain_part(self) -> QWidget:
        part = QWidget(self)
        self._slider = QSlider(Qt.Orientation.Horizontal, part)
        self._slider.setObjectName("curtain_position")
        self._slider.setRange(0, _STEPS)
        self._slider.setValue(_STEPS // 2)
        self._slider.setToolTip(
            "Move the curtain between the edges of what is on screen"
        )
        self._place = QSpinBox(part)
        self._place.setObjectName("curtain_place")
        self._place.setRange(-_FARTHEST, _FARTHEST)
        self._place.setSuffix(" px")
        self._place.setKeyboardTracking(False)
        self._place.setToolTip("Column or row of the curtain, px of post-stain")
        self._place_name = QLabel("Column", part)
        layout = QVBoxLayout(part)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        row = QHBoxLayout()
        row.addWidget(self._place_name)
        row.addWidget(self._place, 1)
        layout.addLayout(row)
        self._slider.valueChanged.connect(self._on_slider)
        self._place.valueChanged.connect(self._on_place)
        return part

    def _square_part(self) -> QWidget:
        part = QWidget(self)
        self._square = QSpinBox(part)
        self._square.setObjectName("curtain_square")
        self._square.setRange(1, 100_000)
        self._square.setValue(512)
        self._square.setSuffix(" px")
        self._square.setKeyboardTracking(False)
        self._square.setToolTip("Side of a square, px of post-stain")
        fit = button(
            self,
            "curtain_fit",
            "Fit",
            "Choose squares of about a sixth of what is on screen",
        )
        row = QHBoxLayout(part)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Squares of", part))
        row.addWidget(self._square, 1)
        self._square.setMinimumWidth(110)
        row.addWidget(fit)
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
        self._show_state()

    def close_down(self) -> None:
        """Stop, and listen to nothing any more."""
        super().close_down()
        self.curtain.close_down()

    def centre(self) -> None:
        """Hang the curtain in the middle of what is on screen."""
        top, left, bottom, right = seen_window(self._viewer)
        low, high = (top, bottom) if self.kind == "rows" else (left, right)
        self._place.setValue(round((low + high) / 2))

    def fit_squares(self) -> None:
        """Make about six squares across what is on screen."""
        top, left, bottom, right = seen_window(self._viewer)
        side = round_figure(min(bottom - top, right - left) / 3)
        self._square.setValue(max(int(side), 1))

    def _problem(self) -> str:
        layers = [layer for layer in self._pair.layers if layer is not None]
        return self._pair.problem() or self.curtain.problem(*layers)

    def _begin(self) -> None:
        first, second = self._pair.layers
        assert isinstance(first, Image)
        assert isinstance(second, Image)
        if not (self._is_placed and self._is_on_screen()):
            self.centre()
        self._is_placed = True
        self._apply()
        self.curtain.start(first, second)
        self._show_state()

    def _is_on_screen(self) -> bool:
        top, left, bottom, right = seen_window(self._viewer)
        low, high = (top, bottom) if self.kind == "rows" else (left, right)
        return low < self._place.value() < high

    def _why_ended(self, problem: str) -> str:
        return f"The curtain was taken away. {problem}"

    def _on_removed(self, _event: object = None) -> None:
        self._show_state()

    def _on_kind(self) -> None:
        self._parts.setCurrentIndex(1 if self.kind == "checkerboard" else 0)
        self._place_name.setText("Row" if self.kind == "rows" else "Column")
        if self.kind != "checkerboard":
            self.centre()
        self._on_camera()
        self._apply()

    def _on_colours(self, index: int) -> None:
        self.curtain.colours = list(COLOURS)[index]

    def _on_slider(self, value: int) -> None:
        low, high = self._span()
        self._is_placed = True
        self._place.blockSignals(True)
        self._place.setValue(round(low + (high - low) * value / _STEPS))
        self._place.blockSignals(False)
        self._apply()

    def _on_place(self) -> None:
        self._is_placed = True
        self._on_camera()
        self._apply()

    def _on_camera(self, _event: object = None) -> None:
        """Let the slider show where in the view the curtain hangs."""
        low, high = self._span()
        part = (self._place.value() - low) / max(high - low, 1e-9)
        self._slider.blockSignals(True)
        self._slider.setValue(round(_STEPS * min(max(part, 0.0), 1.0)))
        self._slider.blockSignals(False)

    def _span(self) -> tuple[float, float]:
        top, left, bottom, right = seen_window(self._viewer)
        return (top, bottom) if self.kind == "rows" else (left, right)

    def _apply(self) -> None:
        self.curtain.split = Split(
            self.kind, float(self._place.value()), self._square.value()
        )
