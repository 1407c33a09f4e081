"""Side by side: each layer in a field of its own, all at the same place."""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import dataclass
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QLabel,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.plugin.inspection.inspection_box import ComparisonBox
from napari_exo2micro.plugin.inspection.layer_pair import (
    LayerPair,
    comparable_layers,
    short_names,
)
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.view import camera_place, grid, move_camera
from napari_exo2micro.plugin.workbench.remembered import Remembered

__all__ = ["SideBySide", "SideBySideBox"]

_ROW_HEIGHT = 22

#: Points; a field is narrow, and names are long.
_NAME_SIZE = 8


class SideBySide(QObject):
    """Turns napari's grid on for some layers, and back to what it was.

    A viewer has one grid: get what switches it with `SideBySide.of`. What is shown
    for one user ends when another one starts.

    Parameters
    ----------
    session : Session
        Whose viewer's layers they are.

    Attributes
    ----------
    changed : Signal()
        It began or ended, also by another user or by napari's own button.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._user: weakref.ReferenceType[object] | None = None
        # The viewer is held only while something is shown: it may go away.
        self._remembered: Remembered | None = None
        self._names: list[_Name] = []
        self._before: dict[str, Any] = {}
        self._working = False
        grid(session.viewer).events.enabled.connect(self._on_enabled)

    @classmethod
    def of(cls, session: Session) -> SideBySide:
        """Return the one of a session, made when it is first asked for."""
        found = session.findChild(cls)
        return found if isinstance(found, cls) else cls(session)

    @property
    def is_active(self) -> bool:
        """Whether the grid is on because of this."""
        return self._remembered is not None

    def is_used_by(self, user: object) -> bool:
        """Return whether the grid is on for this user."""
        return self.is_active and self._user is not None and self._user() is user

    def start(self, layers: list[Layer], user: object) -> None:
        """Show some layers side by side and hide all others.

        Parameters
        ----------
        layers : list of Layer
            The first is at the left, as far as napari's grid allows: it goes
            through the layer list, up or down. Those that the user before takes
            away are left out; without any nothing is started.
        user : object
            For whom; see `stop`.
        """
        if not self.is_used_by(user):
            self.stop()
        viewer = self._session.viewer
        layers = [layer for layer in layers if layer in viewer.layers]
        if not layers:
            self.stop()
            return
        model = grid(viewer)
        if self._remembered is None:
            self._remembered = Remembered(viewer)
            self._before = {
                "shape": model.shape,
                "stride": model.stride,
                "enabled": model.enabled,
            }
        self._user = weakref.ref(user)
        place = camera_place(viewer)
        for layer in viewer.layers:
            self._remembered.set(layer, visible=layer in layers)
            self.name(layer, layer in layers)
        order = [viewer.layers.index(layer) for layer in layers]
        self._working = True
        model.shape = (1, -1) if len(layers) <= 3 else (-1, -1)
        model.stride = 1 if order[0] < order[-1] else -1
        model.enabled = True
        self._working = False
        move_camera(viewer, *place)
        self.changed.emit()

    def stop(self, user: object = None) -> None:
        """Switch the grid back to what it was, and what was visible, too.

        Parameters
        ----------
        user : object, optional
            Only if it is on for this user.
        """
        if self._remembered is None or (user is not None and not self.is_used_by(user)):
            return
        remembered, self._remembered, self._user = self._remembered, None, None
        viewer = self._session.viewer
        place = camera_place(viewer)
        for name in self._names:
            name.restore()
        self._names = []
        remembered.restore()
        model = grid(viewer)
        model.shape, model.stride = self._before["shape"], self._before["stride"]
        model.enabled = self._before["enabled"]
        move_camera(viewer, *place)
        self.changed.emit()

    def name(self, layer: Layer, shown: bool) -> None:
        """Write a layer's name into its field, or not; older napari cannot."""
        overlay = getattr(layer, "name_overlay", None)
        if overlay is None:
            return
        found = [one for one in self._names if one.overlay is overlay]
        if not found:
            found = [_Name(overlay, overlay.visible, overlay.font_size, shown)]
            self._names += found
        overlay.font_size = _NAME_SIZE
        overlay.visible = found[0].shown = shown

    def _on_enabled(self, _event: object = None) -> None:
        with contextlib.suppress(RuntimeError):  # the viewer was closed
            if not self._working and not grid(self._session.viewer).enabled:
                # By hand, with napari's button.
                self.stop()


@dataclass
class _Name:
    """What a layer's name in its field looked like; a person's change stays."""

    overlay: Any
    visible: bool
    font_size: float
    shown: bool

    def restore(self) -> None:
        if self.overlay.visible == self.shown:
            self.overlay.visible = self.visible
        if self.overlay.font_size == _NAME_SIZE:
            self.overlay.font_size = self.font_size


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
