"""The controls of side by side."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_exo2micro.plugin.inspection.box import ComparisonBox
from napari_exo2micro.plugin.layers.pair import (
    LayerPair,
    comparable_layers,
    short_names,
)
from napari_exo2micro.plugin.layers.side_by_side import _ROW_HEIGHT, SideBySide
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip
from napari_exo2micro.plugin.widgets.errors import literal


class SideBySideBox(ComparisonBox):
    """A list of layers with tick marks, and the button.

    Parameters
    ----------
    pair : LayerPair
        The two layers that are ticked at first.
    viewer : ViewerModel
        Whose layers they are.
    message : MessageStrip
        Where problems are told.
    parent : QWidget, optional
        As for any widget.
    """

    HEADING = "Side by side"
    NAME = "side_by_side_box"
    WORDS = ("Show side by side", "Stop side by side")
    TIP = (
        "Draw each ticked layer in a field of its own; moving and zooming in one "
        "of them moves all"
    )

    def __init__(
        self,
        pair: LayerPair,
        viewer: ViewerModel,
        message: MessageStrip,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(pair, viewer, message, parent)
        self.grid = SideBySide.of(Session.of(viewer))
        self._list = QListWidget(self)
        self._list.setObjectName("side_by_side_layers")
        self._list.setToolTip("Tick two layers or more")
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._layers: list[Layer] = []
        layout = QVBoxLayout(self)
        layout.addWidget(self._start)
        layout.addWidget(QLabel("Layers to show", self))
        layout.addWidget(self._list)
        self._list.itemChanged.connect(self._on_ticked)
        self._connections.add(self.grid.changed, self._show_state)
        self._connections.add(pair.changed, self._on_pair)
        self._connections.add(pair.listed, self.refresh)
        self.refresh()
        self._on_pair()

    @property
    def is_active(self) -> bool:
        """Whether the grid determines what is visible."""
        return self.grid.is_used_by(self)

    @property
    def ticked(self) -> list[Layer]:
        """The layers that are ticked, those of the pair first."""
        chosen = [
            layer
            for row, layer in enumerate(self._layers)
            if self._item(row).checkState() == Qt.CheckState.Checked
        ]
        first = [layer for layer in self._pair.layers if layer in chosen]
        return first + [layer for layer in chosen if layer not in first]

    def _problem(self) -> str:
        count = len(self.ticked)
        if count >= 2:
            return ""
        return (
            f"Side by side takes two layers or more, {count} "
            f"{'is' if count == 1 else 'are'} ticked: tick more in the list."
        )

    def _begin(self) -> None:
        self.grid.start(self.ticked, self)
        if not self.is_active:
            self._message.note(
                "The pictures of the comparison are gone: tick other layers."
            )

    def stop(self) -> None:
        """Switch the grid off and restore what was visible."""
        self.grid.stop(self)

    def refresh(self) -> None:
        """List the layers anew; what was ticked stays so."""
        ticked = {id(layer) for layer in self.ticked}
        self._list.blockSignals(True)
        self._list.clear()
        self._layers = [
            layer
            for layer in comparable_layers(self._viewer)
            if isinstance(layer, (Image, Labels))
        ]
        for layer, name in zip(self._layers, short_names(self._layers), strict=True):
            item = QListWidgetItem(name, self._list)
            item.setSizeHint(QSize(0, _ROW_HEIGHT))
            item.setToolTip(literal(layer.name))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(
                Qt.CheckState.Checked
                if id(layer) in ticked
                else Qt.CheckState.Unchecked
            )
        self._list.blockSignals(False)
        rows = min(max(len(self._layers), 2), 6)
        self._list.setFixedHeight(rows * _ROW_HEIGHT + 6)
        if not self.ticked:
            self._on_pair()

    def _item(self, row: int) -> QListWidgetItem:
        item = self._list.item(row)
        assert item is not None
        return item

    def _on_pair(self) -> None:
        """Tick the pair, unless a person has ticked more."""
        if self.is_active:
            return
        self._list.blockSignals(True)
        for row, layer in enumerate(self._layers):
            chosen = layer in self._pair.layers
            self._item(row).setCheckState(
                Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked
            )
        self._list.blockSignals(False)

    def _on_ticked(self) -> None:
        if not self.is_active:
            return
        layers = self.ticked
        if len(layers) >= 2:
            self.grid.start(layers, self)
        else:
            self.stop()
            self._message.note("Side by side has ended: it takes two ticked layers.")
