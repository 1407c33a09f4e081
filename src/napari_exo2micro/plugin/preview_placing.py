"""Placing the layers of a preview: those that are there get the new data.

Setting the data of a layer takes napari a hundredth of a second, adding one a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Vectors

from napari_exo2micro.plugin.layers import LayerSpec, about, find_layers
from napari_exo2micro.plugin.removal import swift_removal

__all__ = ["keep_fitting", "place_preview"]


def keep_fitting(
    viewer: ViewerModel, specs: Sequence[LayerSpec], sample: str, dye: str
) -> list[LayerSpec]:
    """Remove previews that a new one does not renew; return what it has to place.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    specs : sequence of LayerSpec
        Of one preview, bottom first.
    sample, dye : str
        Whose they are: previews of others go away.

    Returns
    -------
    list of LayerSpec
        Without a post of its own where the pair's post is among the layers.
    """
    if find_layers(viewer, "post", sample, dye):
        specs = [spec for spec in specs if spec.about["role"] != "preview post"]
    roles = [spec.about["role"] for spec in specs]
    with swift_removal():
        for layer in find_layers(viewer, "preview "):
            known = about(layer)
            own = (known.get("sample"), known.get("dye")) == (sample, dye)
            if not own or known["role"] not in roles:
                viewer.layers.remove(layer)
    return list(specs)


def place_preview(viewer: ViewerModel, spec: LayerSpec) -> bool:
    """Show a layer of a preview; the layer of an earlier one gets the new data.

    Returns
    -------
    bool
        Whether a layer was added, which takes napari a tenth of a second.
    """
    known = spec.about
    old = find_layers(viewer, known["role"], known["sample"], known["dye"])
    if old and _takes(old[-1], spec):
        _renew(old[-1], spec)
        return False
    with swift_removal():
        for layer in old:
            viewer.layers.remove(layer)
    active = viewer.layers.selection.active
    viewer.add_layer(Layer.create(*spec.as_tuple()))
    viewer.layers.selection.active = active
    return True


def _takes(layer: Layer, spec: LayerSpec) -> bool:
    """Return whether a layer can hold the data of a specification."""
    if isinstance(layer, Image):
        many = isinstance(spec.data, list)
        return spec.kind == "image" and layer.multiscale == many
    return isinstance(layer, Vectors) and spec.kind == "vectors"


def _renew(layer: Layer, spec: LayerSpec) -> None:
    """Give a layer new data; how a person has set it stays."""
    if not _holds(layer, spec.data):
        layer.data = spec.data
    layer.name = spec.options["name"]
    layer.metadata = spec.options["metadata"]
    # Each of these draws the layer anew.
    for name in ("scale", "translate", "edge_color", "edge_width"):
        value = spec.options.get(name)
        if value is not None and not np.array_equal(getattr(layer, name), value):
            setattr(layer, name, value)


def _holds(layer: Layer, data: Any) -> bool:
    """Return whether a layer shows this very data already."""
    if isinstance(data, list):
        return all(old is new for old, new in zip(layer.data, data, strict=False))
    return layer.data is data
