"""The source that layers of ours name: what a person opened is worked on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QObject

from napari_exo2micro.plugin.layers import about
from napari_exo2micro.plugin.session import Session

__all__ = ["LayerSource", "take_source"]


class LayerSource(QObject):
    """Chooses the source that a layer names, as long as a person has chosen none.

    Parameters
    ----------
    session : Session
        Gets the source.
    is_free : callable
        Says whether a layer may choose now.
    parent : QObject, optional
        As for any object of Qt.
    """

    def __init__(
        self,
        session: Session,
        is_free: Callable[[], bool],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._is_free = is_free
        session.viewer.layers.events.inserted.connect(self._on_inserted)

    def look(self) -> None:
        """Take the source of the uppermost layer in the viewer that names one."""
        for layer in reversed(self._session.viewer.layers):
            if self._offer(layer):
                return

    def _on_inserted(self, event: Any) -> None:
        self._offer(event.value)

    def _offer(self, layer: Layer) -> bool:
        if self._session.jobs.is_busy or not self._is_free():
            return False
        return take_source(self._session, about(layer))


def take_source(session: Session, known: Mapping[str, Any]) -> bool:
    """Choose the source that a layer's metadata name; false when they name none.

    Parameters
    ----------
    session : Session
        Gets the source.
    known : mapping
        As `layers.about` returns it.
    """
    sample, dye = str(known.get("sample") or ""), str(known.get("dye") or "")
    raw_dir, output_dir = known.get("raw_dir"), known.get("output_dir")
    if not (sample and dye and (raw_dir or output_dir)):
        return False
    session.set_source(
        raw_dir=raw_dir or None,
        output_dir=output_dir or None,
        sample=sample,
        dye=dye,
    )
    return True
