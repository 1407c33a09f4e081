"""Side by side: each layer in a field of its own, all at the same place."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Collection

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from napari_exo2micro.plugin.layers.layers import camera, grid
from napari_exo2micro.plugin.layers.scene import Display, Wanted, Wish, wanted
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
        self,
        layers: list[Layer],
        user: object,
        stride: int | None = None,
        nameless: Collection[Layer] = (),
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
        nameless : collection of Layer
            Those whose names are not written into their fields.
        """
        if not self.is_used_by(user):
            self.stop()
        viewer = self._session.viewer
        layers = [layer for layer in layers if layer in viewer.layers]
        if not layers:
            self.stop()
            return
        self._user = weakref.ref(user)
        eye = camera(viewer)
        place = eye.center, eye.zoom
        values: list[Wanted] = []
        for layer in viewer.layers:
            is_shown = layer in layers
            values += wanted(layer, visible=is_shown)
            values += wanted(
                layer.name_overlay,
                font_size=_NAME_SIZE,
                visible=is_shown and layer not in nameless,
            )
        first, last = (viewer.layers.index(layers[end]) for end in (0, -1))
        values += wanted(
            grid(viewer),
            shape=(1, -1) if len(layers) <= 3 else (-1, -1),
            stride=stride or (1 if first < last else -1),
            enabled=True,
        )
        Display.of(viewer).show(self, Wish(tuple(values)))
        eye.center, eye.zoom = place
        self.changed.emit()

    def stop(self, user: object = None) -> None:
        """Switch the grid back to what it was; with a user only if it is on for them.

        What was visible is so again.
        """
        if self._user is None or (user is not None and not self.is_used_by(user)):
            return
        self._user = None
        viewer = self._session.viewer
        eye = camera(viewer)
        place = eye.center, eye.zoom
        Display.of(viewer).show(self, None)
        eye.center, eye.zoom = place
        self.changed.emit()

    def _on_enabled(self, _event: object = None) -> None:
        with contextlib.suppress(RuntimeError):  # the viewer was closed
            if not grid(self._session.viewer).enabled:
                # By hand, with napari's button.
                self.stop()
