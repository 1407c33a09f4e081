"""The inspection dock: to see how good an alignment is, here and there."""

from typing import Any

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QScrollArea, QTabWidget, QWidget

from napari_exo2micro.plugin.inspection.blink import BlinkBox
from napari_exo2micro.plugin.inspection.curtain import CurtainBox
from napari_exo2micro.plugin.inspection.residuals import ResidualsBox
from napari_exo2micro.plugin.inspection.saved_views import SavedViewsBox
from napari_exo2micro.plugin.inspection.side_by_side import SideBySideBox
from napari_exo2micro.plugin.inspection.zoom import ZoomBox
from napari_exo2micro.plugin.layers.pair import LayerPair
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.widgets.controls import column, scrolled


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
