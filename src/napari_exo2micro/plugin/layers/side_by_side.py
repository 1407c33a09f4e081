"""Side by side: each layer in a field of its own, all at the same place."""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import dataclass
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from napari_exo2micro.plugin.layers.layers import camera_place, grid, move_camera
from napari_exo2micro.plugin.layers.pair import Remembered
from napari_exo2micro.plugin.session.session import Session

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
        own = session.findChild(cls)
        return own if isinstance(own, cls) else cls(session)

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
        """Write a layer's name into its field, or not."""
        overlay = layer.name_overlay
        known = [name for name in self._names if name.overlay is overlay]
        if not known:
            known = [_Name(overlay, overlay.visible, overlay.font_size, shown)]
            self._names += known
        overlay.font_size = _NAME_SIZE
        overlay.visible = known[0].shown = shown

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
