"""Where the curtain hangs and how large the squares are: its controls."""

from __future__ import annotations

from typing import Literal

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt
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

from napari_exo2micro.core.compositing import Split
from napari_exo2micro.core.residuals import round_figure
from napari_exo2micro.plugin.controls import button
from napari_exo2micro.plugin.inspection.curtain import COLOURS, Curtain
from napari_exo2micro.plugin.inspection.inspection_box import ComparisonBox
from napari_exo2micro.plugin.inspection.layer_pair import LayerPair
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.view import camera, seen_window

__all__ = ["CurtainBox"]

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
