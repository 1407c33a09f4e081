"""Placing the layers of a preview: those that are there get the new data.

Setting the data of a layer takes napari a hundredth of a second, adding one a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari.components import ViewerModel

from napari_exo2micro.plugin.layers import (
    LayerSpec,
    about,
    find_layers,
    renew_layer,
)

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
    if old and renew_layer(old[-1], spec):
        return False
    for layer in old:
        viewer.layers.remove(layer)
    active = viewer.layers.selection.active
    viewer.add_layer(spec.create())
    viewer.layers.selection.active = active
    return True
