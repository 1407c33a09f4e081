"""The inspection dock: to see how good an alignment is, here and there."""

from typing import Any

from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QScrollArea,
    QTabWidget,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_exo2micro.plugin.inspection.blink import BlinkBox
from napari_exo2micro.plugin.inspection.box import ComparisonBox
from napari_exo2micro.plugin.inspection.curtain import CurtainBox
from napari_exo2micro.plugin.inspection.residuals import ResidualsBox
from napari_exo2micro.plugin.inspection.saved_views import SavedViewsBox
from napari_exo2micro.plugin.inspection.zoom import ZoomBox
from napari_exo2micro.plugin.layers.pair import (
    LayerPair,
    comparable_layers,
    short_names,
)
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import SideBySide
from napari_exo2micro.plugin.widgets.controls import column, literal, scrolled

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


class InspectionDock(Panel):
    """Blink, curtain, side by side; a close look; what the alignment leaves."""

    NAME = "inspection_dock"
    SIZE = (370, 720)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.pair = LayerPair(self.session, self)
        self.blink = BlinkBox(self, self.pair)
        self.curtain = CurtainBox(self, self.pair)
        self.side_by_side = SideBySideBox(self, self.pair)
        self._comparisons = (self.blink, self.curtain, self.side_by_side)
        for box in self._comparisons:
            box.began.connect(self._end_others)
        self.zoom = ZoomBox(self)
        self.views = SavedViewsBox(self, self.zoom)
        self.residuals = ResidualsBox(self)
        self._boxes = (*self._comparisons, self.zoom, self.views, self.residuals)
        tabs = QTabWidget(self)
        tabs.setObjectName("inspection_tabs")
        tabs.addTab(_page(self.pair, *self._comparisons), "Compare")
        tabs.addTab(_page(self.zoom, self.views), "Zoom box")
        tabs.addTab(_page(self.residuals), "Displacement")
        column(self.message, (tabs, 1), parent=self, margin=4)

    def stop(self) -> None:
        """End what is shown: all layers are as they were before."""
        for box in self._boxes:
            box.stop()

    def close_down(self) -> None:
        """Stop, free the keys and follow the viewer no more."""
        if not self._is_closed:
            for part in (*self._boxes, self.pair):
                part.close_down()
        super().close_down()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Let the keys work while the dock is there."""
        super().showEvent(event)
        if not self._is_closed:
            self.blink.bind_keys()

    def stay_hidden(self) -> None:
        """Stop: nobody could any more."""
        self.stop()
        self.blink.free_keys()

    def _end_others(self) -> None:
        for box in self._comparisons:
            if box is not self.sender():
                box.stop()


def _page(*boxes: QWidget) -> QScrollArea:
    """Return a page of the tabs, which scrolls when the window is low."""
    content = QWidget()
    column(*boxes, None, parent=content)
    return scrolled(content)
