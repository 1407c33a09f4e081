"""Choosing the two layers that are compared."""

from __future__ import annotations

from collections.abc import Sequence

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QSize, QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from napari_exo2micro.plugin.connections import Connections
from napari_exo2micro.plugin.inspection.section_layers import find_section
from napari_exo2micro.plugin.layers import about
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.workbench.remembered import same_layer

__all__ = [
    "TEMPORARY",
    "LayerChooser",
    "LayerPair",
    "best_pair",
    "comparable_layers",
    "short_names",
]

#: Roles of layers that the inspection makes itself: nobody compares them.
TEMPORARY = ("curtain", "zoom frame", "residuals")


def comparable_layers(viewer: ViewerModel) -> list[Layer]:
    """Return the layers that can be chosen, as in the layer list: top first."""
    return [
        layer
        for layer in reversed(list(viewer.layers))
        if about(layer).get("role") not in TEMPORARY
    ]


def short_names(layers: Sequence[Layer]) -> list[str]:
    """Return names for a narrow list: without the sample and dye that all share."""
    known = [about(layer) for layer in layers]
    owners = {(one.get("sample"), one.get("dye")) for one in known if one}
    if len(owners) != 1:
        return [layer.name for layer in layers]
    start = "{} {}: ".format(*owners.pop())
    return [layer.name.removeprefix(start) for layer in layers]


def best_pair(session: Session) -> tuple[Layer | None, Layer | None]:
    """Return post and the best aligned pre: of the session's sample or the topmost."""
    section = find_section(session)
    if section.aligned is not None or section.post is None:
        return section.post, section.aligned
    return section.post, section.pre


class LayerChooser(QComboBox):
    """A list of the viewer's layers; a layer that is made anew stays chosen.

    Attributes
    ----------
    chosen : Signal(object)
        Another layer, or None.
    """

    chosen = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Layer] = []
        self._layer: Layer | None = None
        # Long names are cut: a dock must not become as wide as they are.
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(12)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.activated.connect(self._on_activated)

    @property
    def layer(self) -> Layer | None:
        """The layer that is chosen, if it is still there."""
        return self._layer

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer."""
        changed = layer is not self._layer
        self._layer = layer
        index = self._layers.index(layer) if layer in self._layers else -1
        self.setCurrentIndex(index)
        known = layer.name if layer is not None else "Choose a layer"
        self.setToolTip(literal(known))
        if changed:
            self.chosen.emit(layer)

    def fill(self, layers: list[Layer]) -> None:
        """List the layers anew; what was chosen stays so where it can."""
        self.blockSignals(True)
        self.clear()
        self._layers = layers
        self.addItems(short_names(layers))
        self.blockSignals(False)
        found = same_layer(self._viewer, self._layer)
        self.choose(found if found in layers else None)

    def minimumSizeHint(self) -> QSize:
        """Let the dock be narrow."""
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), 120), hint.height())

    def _on_activated(self, index: int) -> None:
        self.choose(self._layers[index] if 0 <= index < len(self._layers) else None)


class LayerPair(QWidget):
    """Two lists of layers: the first is post and the second the best aligned pre.

    Parameters
    ----------
    session : Session
        Of the viewer; its sample is preferred.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    changed : Signal()
        Another layer in one of the lists, also one that took another's place.
    listed : Signal()
        Layers came, went or changed their names.
    """

    changed = Signal()
    listed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("layer_pair")
        self._session = session
        self._viewer = session.viewer
        self.first = LayerChooser(self._viewer, self)
        self.first.setObjectName("first_layer")
        self.second = LayerChooser(self._viewer, self)
        self.second.setObjectName("second_layer")
        swap = QToolButton(self)
        swap.setObjectName("swap_layers")
        swap.setText("⇅")
        swap.setToolTip("Exchange the first and the second layer")
        swap.clicked.connect(self._swap)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("First", self.first)
        form.addRow("Second", self.second)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form, 1)
        layout.addWidget(swap)
        self._by_hand = False
        self._before: tuple[Layer | None, Layer | None] = (None, None)
        # Layers come and go in batches: one look when all have come.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self.refresh)
        for chooser in (self.first, self.second):
            chooser.activated.connect(self._on_hand)
        self._connections = Connections()
        events = self._viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            self._connections.add(emitter, self._later)
        self._connections.add(session.source_changed, self._on_source)
        self._renamed: list[Layer] = []
        self.refresh()

    @property
    def layers(self) -> tuple[Layer | None, Layer | None]:
        """The first and the second layer; None where none is chosen."""
        return self.first.layer, self.second.layer

    def problem(self) -> str:
        """Return in words why these two cannot be compared; empty when they can."""
        first, second = self.layers
        if not comparable_layers(self._viewer):
            return (
                "There is nothing to compare yet: run the stages in the workbench, or "
                "open a pair or a results folder with File > Open."
            )
        if first is None or second is None:
            which = "first" if first is None else "second"
            return f"Choose the {which} layer: two layers are compared."
        if first is second:
            return (
                f"Two different layers are compared, '{first.name}' is chosen twice: "
                "choose another one in one of the lists."
            )
        return ""

    def close_down(self) -> None:
        """Listen to nothing any more."""
        self._connections.close()
        for layer in self._renamed:
            layer.events.name.disconnect(self._later)
        self._renamed = []
        self._timer.stop()

    def refresh(self) -> None:
        """List the layers anew and choose what was, otherwise the best pair."""
        layers = comparable_layers(self._viewer)
        for layer in self._renamed:
            layer.events.name.disconnect(self._later)
        self._renamed = list(layers)
        for layer in layers:
            layer.events.name.connect(self._later)
        self.first.fill(layers)
        self.second.fill(layers)
        if not self._by_hand:
            self._choose_best()
        elif None in self.layers:
            best = best_pair(self._session)
            for chooser, layer in zip((self.first, self.second), best, strict=True):
                if chooser.layer is None and layer not in self.layers:
                    chooser.choose(layer)
        self.listed.emit()
        self._tell()

    def _choose_best(self) -> None:
        best = best_pair(self._session)
        self.first.choose(best[0] or self.first.layer)
        self.second.choose(best[1] or self.second.layer)

    def _later(self, _event: object = None) -> None:
        self._timer.start()

    def _on_source(self) -> None:
        self._by_hand = False
        self._later()

    def _on_hand(self) -> None:
        self._by_hand = True
        self._tell()

    def _swap(self) -> None:
        first, second = self.layers
        self.first.choose(second)
        self.second.choose(first)
        self._on_hand()

    def _tell(self) -> None:
        if self.layers != self._before:
            self._before = self.layers
            self.changed.emit()
