"""The inspection dock: to see how good an alignment is, here and there."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QScrollArea, QTabWidget, QWidget

from napari_exo2micro.plugin.inspection.blink import BlinkBox
from napari_exo2micro.plugin.inspection.box import Shared
from napari_exo2micro.plugin.inspection.curtain import CurtainBox
from napari_exo2micro.plugin.inspection.residuals import ResidualsBox
from napari_exo2micro.plugin.inspection.saved_views import SavedViewsBox
from napari_exo2micro.plugin.inspection.side_by_side import SideBySideBox
from napari_exo2micro.plugin.inspection.zoom import ZoomBox
from napari_exo2micro.plugin.layers.pair import LayerPair
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.widgets.controls import MessageStrip, column, scrolled
from napari_exo2micro.plugin.widgets.dock import Dock


class InspectionDock(Dock):
    """Blink, curtain, side by side; a close look; what the alignment leaves.

    Parameters
    ----------
    napari_viewer : ViewerModel
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.setObjectName("inspection_dock")
        self.session = shared_session(napari_viewer, self)
        self.message = MessageStrip(self)
        self.pair = LayerPair(self.session, self)
        shared = Shared(self.session, self.pair, self.message, self)
        self.blink = BlinkBox(shared)
        self.curtain = CurtainBox(shared)
        self.side_by_side = SideBySideBox(shared)
        self._comparisons = (self.blink, self.curtain, self.side_by_side)
        for box in self._comparisons:
            box.began.connect(self._end_others)
        self.zoom = ZoomBox(shared)
        self.views = SavedViewsBox(self.zoom, shared)
        self.residuals = ResidualsBox(shared)
        self._boxes = (*self._comparisons, self.zoom, self.views, self.residuals)
        tabs = QTabWidget(self)
        tabs.setObjectName("inspection_tabs")
        tabs.addTab(_page(self.pair, *self._comparisons), "Compare")
        tabs.addTab(_page(self.zoom, self.views), "Zoom box")
        tabs.addTab(_page(self.residuals), "Displacement")
        column(self.message, (tabs, 1), parent=self, margin=4)
        self.setMinimumWidth(300)

    def stop(self) -> None:
        """End what is shown: all layers are as they were before."""
        for box in self._boxes:
            box.stop()

    def close_down(self) -> None:
        """Stop, free the keys and follow the viewer no more."""
        if self._is_closed:
            return
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

    def sizeHint(self) -> QSize:
        """Leave the room to the picture."""
        return QSize(370, 720)

    def _end_others(self) -> None:
        for box in self._comparisons:
            if box is not self.sender():
                box.stop()


def _page(*boxes: QWidget) -> QScrollArea:
    """Return a page of the tabs, which scrolls when the window is low."""
    content = QWidget()
    column(*boxes, None, parent=content)
    return scrolled(content)
