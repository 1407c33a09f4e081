"""A layer moved by an alignment, from one image of a pair onto the other."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points

from napari_exo2micro.core import base, images
from napari_exo2micro.core.alignment import Alignment, Direction
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    Ground,
    LayerSpec,
    about,
    found_ground,
)

MOVABLE = (Image, Labels, Points)

#: A result of up to so many bytes is made at once, a larger one when it is read.
_MADE_AT_ONCE = 256_000_000
#: Sizes, extents and scales are the same when they differ by less, of 1.
_SAME = 0.01
#: A larger side than this is shown in several levels.
_ONE_LEVEL = 4096

#: kind -> how a layer looks, which the moved one takes over; not where it lies.
_KEPT = {
    "image": "blending colormap contrast_limits gamma interpolation2d opacity rgb",
    "labels": "blending colormap features opacity",
    "points": (
        "blending border_color border_width border_width_is_relative face_color "
        "features opacity shown size symbol"
    ),
}

#: An alignment, or a function that reads it from files, to be called in a thread.
Source = Alignment | Callable[[], Alignment]


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """What is to be moved, taken from the viewer so that a thread can do it.

    Its data are coordinates of points, or the levels of an image, full resolution
    first; `to_world` maps places in them to the world, both (x, y), and `to_raw` to px
    of the raw image that they lie on, where the viewer knows. `scale` is that of the
    layer, (x, y), and `unit` that of its world, um; None for pixels. The result lies on
    `ground`, where the viewer has it.
    """

    name: str
    kind: str
    data: Any
    to_world: images.Transform
    scale: tuple[float, float]
    unit: tuple[float, float] | None
    options: Mapping[str, Any]
    direction: Direction
    interpolation: str
    to_raw: images.Transform | None = None
    ground: Ground | None = None


def request_for(
    layer: Layer,
    direction: Direction,
    interpolation: str = "cubic",
    viewer: ViewerModel | None = None,
) -> MoveRequest:
    """Return what is to be done with a layer; see `MoveRequest`.

    Raises
    ------
    ParameterError
        When this layer cannot be moved.
    """
    _, state, kind = layer.as_layer_data_tuple()
    if not isinstance(layer, MOVABLE):
        raise base.ParameterError(
            f"images, labels and points can be moved, '{layer.name}' has {kind}; "
            "choose another layer"
        )
    if layer.ndim != 2:
        raise base.ParameterError(
            f"a layer with 2 axes can be moved, '{layer.name}' has {layer.ndim}; "
            "choose another one, or make a layer of one of its planes"
        )
    if isinstance(layer, Points):
        data: Any = np.array(layer.data, dtype=np.float64)
    else:
        data = list(layer.data) if layer.multiscale else [layer.data]
        if isinstance(data[0], np.ndarray) and not _is_large(data[0]):
            data[0] = data[0].copy()  # a person may go on painting meanwhile
    options = {name: state[name] for name in _KEPT[kind].split() if name in state}
    return MoveRequest(
        layer.name,
        kind,
        data,
        _affine(layer, layer.data_to_world),
        (float(layer.scale[1]), float(layer.scale[0])),
        _unit_of(layer),
        options,
        direction,
        interpolation,
        *_grounds(layer, direction, viewer),
    )


def _grounds(
    layer: Layer, direction: Direction, viewer: ViewerModel | None
) -> tuple[images.Transform | None, Ground | None]:
    """Return the map to the raw image that a layer lies on, and where the other is.

    The map is known for an image of ours, and where both are measured in lengths.
    """
    first, second = ("pre", "post") if direction == "onto post" else ("post", "pre")
    below = target = None
    if viewer is not None:
        target = found_ground(viewer, second)
        if _unit_of(layer) is not None:
            below = found_ground(viewer, first)
    if "canvas_offset" in about(layer):
        below = Ground.of(layer)
    elif below is not None and not below.is_length:
        below = None
    if below is None:
        return None, target
    return _affine(layer, partial(below.pixels_of, layer)), target


def _is_large(data: Any) -> bool:
    size = int(math.prod(data.shape)) * int(data.dtype.itemsize)
    return size > _MADE_AT_ONCE


def _affine(layer: Layer, place: Callable[[Any], Any]) -> images.Transform:
    """Return a map from the data of a layer, told for (row, column), as (x, y)."""
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)]
    origin, right, down = (np.array(place(corner))[::-1] for corner in corners)
    matrix = np.eye(3)
    matrix[:2, 0], matrix[:2, 1], matrix[:2, 2] = right - origin, down - origin, origin
    try:
        return images.Transform(matrix)
    except ValueError as error:
        raise base.ParameterError(
            f"the scale of the layer '{layer.name}' cannot be used ({error}); set it "
            "to 1, so that it lies on the image that it was drawn on"
        ) from error


def _unit_of(layer: Layer) -> tuple[float, float] | None:
    """Return the um of the units of a layer's world, (x, y); None for pixels."""
    if not all(unit.is_compatible_with("micrometer") for unit in layer.units):
        return None
    y, x = (float((1 * unit).to("micrometer").magnitude) for unit in layer.units)
    return x, y


def _to_raw(request: MoveRequest, applied: Alignment) -> images.Transform:
    """Return the map from data to px of the raw image that a layer lies on, (x, y).

    The world of the viewer is in those pixels. A layer with another scale may have
    been reduced, or may have the size of its pixels as scale; where neither its unit,
    its extent nor the pixel size of the image tells which, nothing is guessed.

    Raises
    ------
    ParameterError
        With the scale, when it cannot be known what the layer's world is.
    """
    if request.to_raw is not None:
        return request.to_raw
    onto_post = request.direction == "onto post"
    side = "pre-stain" if onto_post else "post-stain"
    size = applied.pixel_size("pre" if onto_post else "post")
    raw = applied.shape_of("onto pre" if onto_post else "onto post")
    scale, unit = np.array(request.scale), request.unit
    per_pixel = None if size is None else np.array((size.x, size.y))
    shape = None if request.kind == "points" else request.data[0].shape[:2]
    extent = None if shape is None else np.array(shape[::-1])
    full = None if raw is None else np.array(raw[::-1])
    if unit is None and np.all(scale == 1):
        return request.to_world
    if unit is not None and per_pixel is not None:
        return _scaling(unit / per_pixel) @ request.to_world
    if per_pixel is not None and _alike(scale, per_pixel):
        return _scaling(1 / per_pixel) @ request.to_world
    if extent is not None and full is not None and _alike(extent, full):
        return _scaling(1 / scale) @ request.to_world
    fills = extent is not None and full is not None and _alike(extent * scale, full)
    is_reduced = np.all(scale >= 1) and np.all(scale == np.round(scale))
    if unit is None and (fills or is_reduced):
        return request.to_world
    what = f"{scale[0]:g}" if scale[0] == scale[1] else f"{scale[0]:g} x {scale[1]:g}"
    raise base.ParameterError(
        f"the layer '{request.name}' has a scale of {what}, and the alignment does not "
        "tell the size of a pixel: its places cannot be turned into pixels. Set its "
        f"scale to 1 if they are pixels of the raw {side} image, or give 'pixel_size' "
        "and run stages 1 to 3 again"
    )


def _scaling(factors: Any) -> images.Transform:
    return images.Transform(np.diag([float(factors[0]), float(factors[1]), 1.0]))


def _alike(first: Any, second: Any) -> bool:
    return bool(np.allclose(first, second, rtol=_SAME, atol=0))


def move_layer(
    request: MoveRequest, alignment: Source, monitor: base.Monitor
) -> LayerSpec:
    """Return the moved layer; may be called in a thread.

    Returns
    -------
    LayerSpec
        In the world of the viewer: px of the raw image that it is moved onto.

    Raises
    ------
    ParameterError
        When it cannot be known what the layer's world is.
    """
    monitor.report(0.0, "reading the alignment")
    applied = alignment() if callable(alignment) else alignment
    side = "post-stain" if request.direction == "onto post" else "pre-stain"
    known = {
        "role": f"moved {request.direction} {request.name}",
        "sample": applied.sample,
        "dye": applied.dye,
        "stage": applied.stage,
        "parameters": {},
        "paths": [],
        "transform": applied.transform.to_dict(),
        "direction": request.direction,
        "canvas_offset": (0.0, 0.0),
    }
    name = f"{request.name} on {side}"
    to_raw = _to_raw(request, applied)
    own = applied.pixel_size("post" if request.direction == "onto post" else "pre")
    ground = request.ground or Ground.of_size(own)
    options = {**request.options, "name": name, "metadata": {KEY: known}}
    if request.kind == "points":
        there = to_raw(request.data[:, ::-1])
        moved = applied.points_moved(there, request.direction)
        return LayerSpec(moved[:, ::-1], options, "points", ground)
    # What is wanted is known by where each of its pixels is taken from in the data.
    sampling = to_raw.inverse() @ applied.sampling(request.direction)
    shape = applied.shape_of(request.direction)
    if shape is None:  # the file does not tell: as large as what is moved needs
        first, shape = images.outline_of(request.data[0].shape, sampling)
        start = images.Transform.similarity(
            translation=(float(first[0]), float(first[1]))
        )
        sampling = sampling @ start
        place = (float(first[1]), float(first[0]))
        options["translate"] = known["canvas_offset"] = place
    levels = images.moved_levels(
        request.data,
        sampling,
        shape,
        interpolation=request.interpolation,
        labels=request.kind == "labels",
    )
    if _is_large(levels[0]):
        return LayerSpec(levels, {**options, "multiscale": True}, request.kind, ground)
    whole = images.moved_image(levels[0], monitor)
    if request.kind == "labels" or max(shape) <= _ONE_LEVEL:
        return LayerSpec(whole, {**options, "multiscale": False}, request.kind, ground)
    views = [whole[::step, ::step] for step in (1, 2, 4, 8)]
    return LayerSpec(views, {**options, "multiscale": True}, request.kind, ground)
