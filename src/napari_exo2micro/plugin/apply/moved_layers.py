"""A layer of a person's own, moved from one image of a pair onto the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points

from napari_exo2micro.core.alignments import Alignment, Direction
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.moving import moved_image, moved_levels, outline_of
from napari_exo2micro.core.transforms import Transform
from napari_exo2micro.plugin.layers import KEY, LayerSpec, about

__all__ = ["MOVABLE", "MoveRequest", "move_layer", "request_for", "side_of"]

MOVABLE = (Image, Labels, Points)

#: A result of up to so many bytes is made at once, a larger one when it is read.
_MADE_AT_ONCE = 256_000_000
#: A larger side than this is shown in several levels.
_ONE_LEVEL = 4096

_KEPT = {
    "image": (
        "blending",
        "colormap",
        "contrast_limits",
        "gamma",
        "interpolation2d",
        "opacity",
        "rgb",
    ),
    "labels": ("blending", "colormap", "features", "opacity"),
    "points": (
        "blending",
        "border_color",
        "border_width",
        "border_width_is_relative",
        "face_color",
        "features",
        "opacity",
        "shown",
        "size",
        "symbol",
    ),
}


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """What is to be moved, taken from the viewer so that a thread can do it.

    Attributes
    ----------
    name, kind : str
        Of the layer.
    data : object
        Coordinates of points, or the levels of an image, full resolution first.
    to_world : Transform
        From the layer's data to the world, both (x, y).
    options : mapping
        How the layer looks.
    direction : {'onto post', 'onto pre'}
        Onto which image it is moved.
    interpolation : {'linear', 'cubic', 'lanczos'}
        For images; labels keep their values.
    """

    name: str
    kind: str
    data: Any
    to_world: Transform
    options: Mapping[str, Any]
    direction: Direction
    interpolation: str


def side_of(layer: Layer) -> str:
    """Return on which image a layer lies, by what its metadata say of it.

    Parameters
    ----------
    layer : Layer
        Any layer; its name does not matter.

    Returns
    -------
    str
        ``'pre'`` for the pre-stain image as it was taken and what was moved onto it;
        ``'post'`` for all else of ours, the aligned images among it; empty for a
        layer of a person's own.
    """
    known = about(layer)
    if not known.get("role"):
        return ""
    if "direction" in known:
        return "pre" if known["direction"] == "onto pre" else "post"
    return "pre" if known["role"] == "pre" else "post"


def request_for(
    layer: Layer, direction: Direction, interpolation: str = "cubic"
) -> MoveRequest:
    """Return what is to be done with a layer.

    Parameters
    ----------
    layer : Layer
        An image, labels or points.
    direction : {'onto post', 'onto pre'}
        Onto which image it is moved.
    interpolation : {'linear', 'cubic', 'lanczos'}
        For images.

    Raises
    ------
    ParameterError
        When this layer cannot be moved.
    """
    _, state, kind = layer.as_layer_data_tuple()
    if not isinstance(layer, MOVABLE):
        raise ParameterError(
            f"images, labels and points can be moved, '{layer.name}' has {kind}; "
            "choose another layer"
        )
    if layer.ndim != 2:
        raise ParameterError(
            f"a layer with 2 axes can be moved, '{layer.name}' has {layer.ndim}; "
            "choose another one, or make a layer of one of its planes"
        )
    if isinstance(layer, Points):
        data: Any = np.array(layer.data, dtype=np.float64)
    else:
        data = list(layer.data) if layer.multiscale else [layer.data]
        if isinstance(data[0], np.ndarray) and not _is_large(data[0]):
            data[0] = data[0].copy()  # a person may go on painting meanwhile
    return MoveRequest(
        layer.name,
        kind,
        data,
        _to_world(layer),
        {name: state[name] for name in _KEPT[kind] if name in state},
        direction,
        interpolation,
    )


def _is_large(data: Any) -> bool:
    size = int(math.prod(data.shape)) * int(data.dtype.itemsize)
    return size > _MADE_AT_ONCE


def _to_world(layer: Layer) -> Transform:
    """Return the map from data to world points as (x, y)."""
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)]
    origin, right, down = (
        np.array(layer.data_to_world(corner))[::-1] for corner in corners
    )
    matrix = np.eye(3)
    matrix[:2, 0], matrix[:2, 1], matrix[:2, 2] = right - origin, down - origin, origin
    try:
        return Transform(matrix)
    except ValueError as error:
        raise ParameterError(
            f"the scale of the layer '{layer.name}' cannot be used ({error}); set it "
            "to 1, so that it lies on the image that it was drawn on"
        ) from error


def move_layer(
    request: MoveRequest,
    alignment: Alignment | Callable[[], Alignment],
    monitor: Monitor,
) -> LayerSpec:
    """Return the moved layer; may be called in a thread.

    Parameters
    ----------
    request : MoveRequest
        What is to be moved.
    alignment : Alignment or callable
        Or a function that reads it.
    monitor : Monitor
        Told the progress, and asked whether to stop.

    Returns
    -------
    LayerSpec
        In the world of the viewer: px of the raw image that it is moved onto.
    """
    monitor.report(0.0, "reading the alignment")
    found = alignment() if callable(alignment) else alignment
    side = "post-stain" if request.direction == "onto post" else "pre-stain"
    options = {
        **request.options,
        "name": f"{request.name} on {side}",
        "metadata": {
            KEY: {
                "role": f"moved {request.direction} {request.name}",
                "sample": found.sample,
                "dye": found.dye,
                "stage": found.stage,
                "parameters": {},
                "paths": [],
                "transform": found.transform.to_dict(),
                "direction": request.direction,
                "canvas_offset": (0.0, 0.0),
            }
        },
    }
    if request.kind == "points":
        there = request.to_world(request.data[:, ::-1])
        moved = found.points_moved(there, request.direction)
        return LayerSpec(moved[:, ::-1], options, "points")
    sampling = request.to_world.inverse() @ found.sampling(request.direction)
    shape = found.shape_of(request.direction)
    if shape is None:  # the file does not tell: as large as what is moved needs
        first, shape = outline_of(request.data[0].shape, sampling)
        start = Transform.similarity(translation=(float(first[0]), float(first[1])))
        sampling = sampling @ start
        options["translate"] = (float(first[1]), float(first[0]))
    levels = moved_levels(
        request.data,
        sampling,
        shape,
        interpolation=request.interpolation,
        labels=request.kind == "labels",
    )
    if _is_large(levels[0]):
        return LayerSpec(levels, {**options, "multiscale": True}, request.kind)
    whole = moved_image(levels[0], monitor)
    if request.kind == "labels" or max(shape) <= _ONE_LEVEL:
        return LayerSpec(whole, {**options, "multiscale": False}, request.kind)
    views = [whole[::step, ::step] for step in (1, 2, 4, 8)]
    return LayerSpec(views, {**options, "multiscale": True}, request.kind)
