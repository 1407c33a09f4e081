"""Side by side: each layer in a field of its own, all at the same place."""

from __future__ import annotations

import contextlib
import weakref

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
    """

    #: It began or ended, also by another user or by napari's own button.
    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._user: weakref.ReferenceType[object] | None = None
        # The viewer is held only while something is shown: it may go away.
        self._remembered: Remembered | None = None
        grid(session.viewer).events.enabled.connect(self._on_enabled)

    @classmethod
    def of(cls, session: Session) -> SideBySide:
        """Return the one of a session, made when it is first asked for."""
        own = session.findChild(cls)
        return own if isinstance(own, cls) else cls(session)

    def is_used_by(self, user: object) -> bool:
        """Return whether the grid is on for this user."""
        return self._user is not None and self._user() is user

    def start(
        self, layers: list[Layer], user: object, stride: int | None = None
    ) -> None:
        """Show some layers side by side and hide all others.

        Parameters
        ----------
        layers : list of Layer
            The first is at the left, as far as napari's grid allows: it goes
            through the layer list, up or down. Those that the user before takes
            away are left out; without any nothing is started.
        user : object
            For whom; see `stop`.
        stride : int, optional
            How many layers of the list share a field.
        """
        if not self.is_used_by(user):
            self.stop()
        viewer = self._session.viewer
        layers = [layer for layer in layers if layer in viewer.layers]
        if not layers:
            self.stop()
            return
        self._remembered = remembered = self._remembered or Remembered(viewer)
        self._user = weakref.ref(user)
        place = camera_place(viewer)
        for layer in viewer.layers:
            remembered.set(layer, visible=layer in layers)
            self.name(layer, layer in layers)
        first, last = (viewer.layers.index(layers[end]) for end in (0, -1))
        remembered.set(
            grid(viewer),
            shape=(1, -1) if len(layers) <= 3 else (-1, -1),
            stride=stride or (1 if first < last else -1),
            enabled=True,
        )
        move_camera(viewer, *place)
        self.changed.emit()

    def stop(self, user: object = None) -> None:
        """Switch the grid back to what it was; with a user only if it is on for them.

        What was visible is so again.
        """
        if self._remembered is None or (user is not None and not self.is_used_by(user)):
            return
        remembered, self._remembered, self._user = self._remembered, None, None
        viewer = self._session.viewer
        place = camera_place(viewer)
        remembered.restore()
        move_camera(viewer, *place)
        self.changed.emit()

    def name(self, layer: Layer, shown: bool) -> None:
        """Write a layer's name into its field, or not."""
        if self._remembered is not None:
            overlay = layer.name_overlay
            self._remembered.set(overlay, font_size=_NAME_SIZE, visible=shown)

    def _on_enabled(self, _event: object = None) -> None:
        with contextlib.suppress(RuntimeError):  # the viewer was closed
            if not grid(self._session.viewer).enabled:
                # By hand, with napari's button.
                self.stop()
