"""What layers looked like before a comparison changed them, and its way back."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer

from napari_exo2micro.plugin.layers import about, find_layers

__all__ = ["Remembered", "same_layer"]


def same_layer(viewer: ViewerModel, layer: Layer | None) -> Layer | None:
    """Return a layer or the one that was put in its place; None when it is gone.

    A stage that runs again makes new layers of the same role, sample and dye.
    """
    if layer is None or layer in viewer.layers:
        return layer
    known = about(layer)
    if not known.get("role"):
        return None
    found = find_layers(viewer, known["role"], known.get("sample"), known.get("dye"))
    return found[-1] if found else None


@dataclass
class _Entry:
    layer: weakref.ReferenceType[Layer]
    about: dict[str, Any]
    before: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)


class Remembered:
    """Changes layers and takes the changes back.

    What a person changed meanwhile stays: only a value that is still the one set
    here goes back to what it was.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers they are.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._entries: dict[int, _Entry] = {}

    def set(self, layer: Layer, **values: Any) -> None:
        """Change attributes of a layer; what they were at first is remembered."""
        entry = self._entries.get(id(layer))
        if entry is None or entry.layer() is not layer:
            entry = self._replaced(layer) or _Entry(weakref.ref(layer), about(layer))
            self._entries[id(layer)] = entry
        for name, value in values.items():
            now = getattr(layer, name)
            entry.before.setdefault(name, now)
            if not _equal(now, value):
                setattr(layer, name, value)
            entry.ours[name] = getattr(layer, name)

    def restore(self) -> None:
        """Give every layer back what it had before; layers that are gone are not."""
        entries, self._entries = self._entries, {}
        for entry in entries.values():
            layer = self._find(entry)
            if layer is None:
                continue
            for name, value in entry.before.items():
                if _equal(getattr(layer, name), entry.ours[name]) and not _equal(
                    getattr(layer, name), value
                ):
                    setattr(layer, name, value)

    def _find(self, entry: _Entry) -> Layer | None:
        layer = entry.layer()
        if layer is not None:
            return same_layer(self._viewer, layer)
        role = entry.about.get("role")
        if not role:
            return None
        found = find_layers(
            self._viewer, role, entry.about.get("sample"), entry.about.get("dye")
        )
        return found[-1] if found else None

    def _replaced(self, layer: Layer) -> _Entry | None:
        """Return the entry of the layer in whose place this one was put."""
        for key, entry in list(self._entries.items()):
            old = entry.layer()
            if (old is None or old not in self._viewer.layers) and self._find(
                entry
            ) is layer:
                del self._entries[key]
                entry.layer = weakref.ref(layer)
                return entry
        return None


def _equal(first: Any, second: Any) -> bool:
    names = getattr(first, "name", first), getattr(second, "name", second)
    return bool(names[0] == names[1])
