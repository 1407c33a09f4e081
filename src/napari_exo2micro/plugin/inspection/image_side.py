"""What the core needs of an image layer to lay two of them on one another."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_exo2micro.core.compositing import Look, Side

__all__ = ["GREY", "image_problem", "layer_look", "layer_side"]

#: Black to white, shape (256, 3), uint8.
GREY: NDArray[np.uint8] = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def image_problem(layer: Layer, what: str) -> str:
    """Return in words why a layer is not a plain grey image; empty when it is.

    Parameters
    ----------
    layer : Layer
        Any layer.
    what : str
        What it is wanted for, for example 'the curtain'.
    """
    if not isinstance(layer, Image):
        kind = type(layer).__name__.lower()
        return (
            f"{what} takes image layers, '{layer.name}' is a {kind} layer: choose an "
            "image, for example post-stain or pre-stain."
        )
    if layer.rgb or layer.ndim != 2:
        found = "a colour picture" if layer.rgb else f"has {layer.ndim} axes"
        is_it = "is" if layer.rgb else "it"
        return (
            f"{what} takes grey images of one channel, '{layer.name}' {is_it} {found}: "
            "choose another layer, or split it into channels (right-click on it in "
            "the layer list)."
        )
    origin, down, right = (
        np.asarray(layer.data_to_world(point)) for point in ((0, 0), (1, 0), (0, 1))
    )
    if not np.allclose([down - origin, right - origin], np.eye(2), atol=1e-9):
        return (
            f"{what} takes images whose pixels are those of post-stain, "
            f"'{layer.name}' is turned, mirrored or magnified in the viewer: set its "
            "scale to 1 and its rotation to 0, or choose an aligned image."
        )
    return ""


def layer_look(layer: Image) -> Look:
    """Return the colours, range and gamma that a layer is drawn with."""
    shades = np.asarray(layer.colormap.map(np.linspace(0, 1, 256)))
    low, high = layer.contrast_limits
    colours = np.rint(255 * np.clip(shades, 0, 1)).astype(np.uint8)
    return Look(colours, float(low), float(high), float(layer.gamma))


def layer_side(layer: Image, look: Look) -> Side:
    """Return a layer's image at its place in the world."""
    row, column = layer.data_to_world((0, 0))
    levels = list(layer.data) if layer.multiscale else [layer.data]
    return Side(levels, (float(row), float(column)), look)
