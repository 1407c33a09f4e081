"""Side by side: which layers are shown in fields of their own."""

from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem
from superqt.utils import signals_blocked

from napari_exo2micro.plugin.inspection.box import ComparisonBox
from napari_exo2micro.plugin.layers.pair import (
    LayerPair,
    comparable_layers,
    short_names,
)
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import SideBySide
from napari_exo2micro.plugin.widgets.controls import column, literal

_ROW_HEIGHT = 22
_STATES = {True: Qt.CheckState.Checked, False: Qt.CheckState.Unchecked}


class SideBySideBox(ComparisonBox):
    """A list of layers with tick marks, at first the pair's, and the button."""

    HEADING = "Side by side"
    NAME = "side_by_side_box"
    WORDS = ("Show side by side", "Stop side by side")
    TIP = (
        "Draw each ticked layer in a field of its own; moving and zooming in one "
        "of them moves all"
    )

    def __init__(self, panel: Panel, pair: LayerPair) -> None:
        super().__init__(panel, pair)
        self.grid = SideBySide.of(self._session)
        self._items: list[tuple[Layer, QListWidgetItem]] = []
        self._list = QListWidget(self)
        self._list.setObjectName("side_by_side_layers")
        self._list.setToolTip("Tick two layers or more")
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.itemChanged.connect(self._on_ticked)
        column(self._start, "Layers to show", self._list, parent=self)
        self._connections.add(self.grid.changed, self._show_state)
        self._connections.add(pair.changed, self._tick_pair)
        self._connections.add(pair.listed, self.refresh)
        self.refresh()

    @property
    def is_active(self) -> bool:
        """Whether the grid determines what is visible."""
        return self.grid.is_used_by(self)

    @property
    def ticked(self) -> list[Layer]:
        """The layers that are ticked, those of the pair first."""
        checked = Qt.CheckState.Checked
        ticked = [layer for layer, item in self._items if item.checkState() == checked]
        first = [layer for layer in self._pair.layers if layer in ticked]
        return first + [layer for layer in ticked if layer not in first]

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
        ticked = self.ticked
        layers = [
            layer
            for layer in comparable_layers(self._viewer)
            if isinstance(layer, (Image, Labels))
        ]
        self._items = []
        with signals_blocked(self._list):
            self._list.clear()
            for layer, name in zip(layers, short_names(layers), strict=True):
                item = QListWidgetItem(name, self._list)
                item.setSizeHint(QSize(0, _ROW_HEIGHT))
                item.setToolTip(literal(layer.name))
                item.setFlags(
                    Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable
                )
                self._items.append((layer, item))
        self._tick(ticked)
        rows = min(max(len(layers), 2), 6)
        self._list.setFixedHeight(rows * _ROW_HEIGHT + 6)
        if not self.ticked:
            self._tick_pair()

    def _tick(self, layers: list[Layer]) -> None:
        with signals_blocked(self._list):
            for layer, item in self._items:
                item.setCheckState(_STATES[layer in layers])

    def _tick_pair(self) -> None:
        """Tick the pair; while the grid is shown what is ticked stays."""
        if not self.is_active:
            self._tick([layer for layer in self._pair.layers if layer is not None])

    def _on_ticked(self) -> None:
        if not self.is_active:
            return
        layers = self.ticked
        if len(layers) >= 2:
            self.grid.start(layers, self)
        else:
            self.stop()
            self._message.note("Side by side has ended: it takes two ticked layers.")
