"""Shows in the viewer what its session tells: results, and what was opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_exo2micro.plugin.layers.layers import LayerSpec, about
from napari_exo2micro.plugin.layers.sets import leave_outdated, place_stage
from napari_exo2micro.plugin.layers.stages import stage_specs
from napari_exo2micro.plugin.session.raw_folder import RawFolder
from napari_exo2micro.plugin.session.session import Session


def shared_session(viewer: ViewerModel, widget: QWidget | None = None) -> Session:
    """Return the session of a viewer, whose results are shown as layers.

    Parameters
    ----------
    viewer, widget
        As `Session.of` takes them.
    """
    session = Session.of(viewer, widget)
    if session.findChild(Presenter) is None:
        Presenter(session)
    return session


class Presenter(QObject):
    """Places the layers of a session's results; a session has one, its child."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        session.describe = stage_specs
        session.stage_ready.connect(self._on_stage)
        session.run_left.connect(self._on_run_left)
        self._folder = RawFolder.of(session)
        layers = session.viewer.layers
        layers.events.inserted.connect(self._on_inserted)
        for layer in reversed(layers):
            if self._folder.take_opened(about(layer)):
                break

    def _on_stage(self, number: int, specs: Sequence[LayerSpec]) -> None:
        place_stage(self._session.viewer, number, specs)

    def _on_run_left(self, sample: str, dye: str, last: int) -> None:
        leave_outdated(self._session.viewer, sample, dye, last)

    def _on_inserted(self, event: Any) -> None:
        self._folder.take_opened(about(event.value))
