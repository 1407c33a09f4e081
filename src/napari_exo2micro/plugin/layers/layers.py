"""Layers of ours: what they are called, how they look, where they lie, found again.

People and panels speak of (row, column) pixels of the raw post-stain image. Where the
size of a pixel is known the world of the viewer is in um, otherwise in these pixels;
`Ground` turns one into the other. Layers on the padded canvas are moved by its frame,
so that raw and padded images, and what a person drew on them, lie on one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_exo2micro.core import images
from napari_exo2micro.core.parameters import DIFFERENCE_STAGE

#: Where `layer.metadata` holds what we know of a layer.
KEY = "exo2micro"


@dataclass(frozen=True, slots=True)
class Traits:
    """How layers of a role look, and whose affair they are.

    Attributes
    ----------
    word : str
        The first word of what the metadata calls it; others tell several apart, as in
        ``'aligned 3'``.
    look : dict
        Colours and blending of an image.
    is_drawn : bool
        Made from a stage's images, for a person to show.
    is_result : bool
        Only stages leave it.
    is_temporary : bool
        Of the inspection: nobody compares it.
    """

    word: str
    look: Mapping[str, Any] = field(default_factory=dict)
    is_drawn: bool = False
    is_result: bool = False
    is_temporary: bool = False


_POST = {"colormap": "green", "blending": "additive"}
_PRE = {"colormap": "magenta", "blending": "additive"}
# Blue below zero, black at zero, red above: microbes are warm.
_PLACES, _COLOURS = zip(*images.DIFFERENCE_STOPS, strict=True)
_DIFFERENCE = {
    "colormap": Colormap(list(_COLOURS), controls=_PLACES, name="exo2micro difference"),
    "blending": "translucent_no_depth",
}


class Role(Enum):
    """What a layer of ours shows."""

    POST = Traits("post", _POST)
    PRE = Traits("pre", _PRE)
    RING = Traits("ring", is_drawn=True, is_result=True)
    MATCHES = Traits("matches", is_drawn=True, is_result=True)
    ALIGNED = Traits("aligned", _PRE, is_result=True)
    SCALED = Traits("scaled", _PRE, is_drawn=True, is_result=True)
    DIFFERENCE = Traits("difference", _DIFFERENCE, is_result=True)
    STAGE = Traits("stage")
    TRUTH = Traits("truth")
    PREVIEW = Traits("preview")
    COMPARED = Traits("compare")
    MOVED = Traits("moved")
    CURTAIN = Traits("curtain", is_temporary=True)
    ZOOM = Traits("zoom", is_temporary=True)
    RESIDUALS = Traits("residuals", is_temporary=True)

    @classmethod
    def named(cls, name: str) -> Role | None:
        """Return the role of which a metadata's role is one; None for no such."""
        word = name.partition(" ")[0]
        return next((role for role in cls if role.value.word == word), None)

    @classmethod
    def of(cls, layer: Layer | LayerSpec) -> Role | None:
        """Return that of a layer; None for one that is not ours."""
        return cls.named(role_name(layer))


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a raw image lies in a world; all as (row, column).

    Attributes
    ----------
    origin : tuple of float
        Place of the middle of its first pixel.
    step : tuple of float
        Size of a pixel.
    units : tuple
        What a world is measured in, as napari takes it.
    """

    origin: tuple[float, float] = (0.0, 0.0)
    step: tuple[float, float] = (1.0, 1.0)
    units: tuple[Any, ...] = ("pixel", "pixel")

    @classmethod
    def of_size(
        cls, size: images.PixelSize | None, origin: tuple[float, float] = (0.0, 0.0)
    ) -> Ground:
        """Return that of an image whose pixels have a size, um, or an unknown one."""
        if size is None:
            return cls(origin)
        return cls(origin, (size.y, size.x), ("um", "um"))

    @classmethod
    def of(cls, layer: Layer) -> Ground:
        """Return that of the raw image on whose canvas a layer of ours lies."""
        first = np.negative(about(layer).get("canvas_offset", (0.0, 0.0)))
        origin = tuple(map(float, layer.data_to_world(first)))
        step = tuple(map(float, np.abs(layer.scale)))
        return cls(origin, step, layer.units)  # type: ignore[arg-type]

    def take(self, layer: Layer, old: Ground) -> None:
        """Put a layer here that lies in the world of another ground, at its pixels."""
        scale = np.asarray(layer.scale) / old.step * self.step
        translate = self.world(old.pixels(layer.translate))
        layer.units = self.units
        layer.scale, layer.translate = scale, translate

    def is_like(self, other: Ground) -> bool:
        """Return whether pixels are as large on another ground, or of no size there."""
        own, others = self.pixel_size, other.pixel_size
        if own is None or others is None:
            return own is others
        return np.allclose((own.x, own.y), (others.x, others.y), rtol=1e-9)

    def in_units(self, units: tuple[Any, ...] | None) -> Ground:
        """Return it in other units; in its own where those measure something else."""
        if units is None or not _fit(self.units, units):
            return self
        (y, x), (row, column) = _factor(self.units, units), self.origin
        step = y * self.step[0], x * self.step[1]
        return Ground((y * row, x * column), step, tuple(units)[-2:])

    @property
    def pixel_size(self) -> images.PixelSize | None:
        """The size of its pixels, um; None where the world is not in lengths."""
        if not self.is_length:
            return None
        height, width = self.in_units(("um", "um")).step
        return images.PixelSize(width, height)

    def world(self, place: Any) -> NDArray[np.float64]:
        """Return the places in the world of places in the image, px."""
        return np.asarray(place, dtype=np.float64) * self.step + self.origin

    def pixels(self, place: Any) -> NDArray[np.float64]:
        """Return the places in the image, px, of places in the world."""
        return (np.asarray(place, dtype=np.float64) - self.origin) / self.step

    def pixels_of(self, layer: Layer, place: Any) -> NDArray[np.float64]:
        """Return a place in the image, px, of a place in the data of a layer."""
        there = np.asarray(layer.data_to_world(place), dtype=np.float64)[-2:]
        return self.pixels(there * _factor(layer.units, self.units))

    @property
    def is_length(self) -> bool:
        """Whether the world is measured in lengths instead of pixels."""
        return str(self.units[-1]) != "pixel"

    @property
    def side(self) -> float:
        """The side of a square pixel of the same area."""
        return float(np.sqrt(np.prod(self.step)))

    def placed(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes of a layer in the world; told are those in the image."""
        if self == Ground():
            return dict(options)
        scale = np.multiply(options.get("scale", (1.0, 1.0)), self.step)
        place = {
            "scale": tuple(map(float, scale)),
            "translate": tuple(map(float, self.world(options.get("translate", 0.0)))),
            "units": self.units,
            "axis_labels": ("y", "x"),
        }
        return {**options, **place}


def pair_grounds(
    post: images.PixelSize | None, pre: images.PixelSize | None
) -> tuple[Ground, Ground]:
    """Return those of a raw pair, by the sizes of their pixels.

    The world is that of post-stain: pre-stain of no known size is taken for like it.
    """
    return Ground.of_size(post), Ground.of_size((pre or post) if post else None)


def _fit(units: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Return whether lengths in some units can be turned into others."""
    pairs = zip(units[-2:], others[-2:], strict=True)
    return all(one == other or one.is_compatible_with(other) for one, other in pairs)


def _factor(units: tuple[Any, ...], others: tuple[Any, ...]) -> tuple[float, float]:
    """Return what turns (row, column) in some units into others; 1 where nothing."""
    if units[-2:] == others[-2:] or not _fit(units, others):
        return 1.0, 1.0
    pairs = zip(units[-2:], others[-2:], strict=True)
    y, x = (float((1 * one).to(other).magnitude) for one, other in pairs)
    return y, x


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """A layer to be: data, keyword arguments and type, as napari takes them.

    Its `scale` and `translate` are in px of the raw image that is its ground.
    """

    data: Any
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = "image"
    ground: Ground = Ground()

    @property
    def about(self) -> dict[str, Any]:
        """What we know of it."""
        known: dict[str, Any] = self.options.get("metadata", {}).get(KEY, {})
        return known

    @property
    def metadata(self) -> dict[str, Any]:
        """The layer's metadata, with its name: a person may give it another one."""
        metadata: dict[str, Any] = self.options.get("metadata", {})
        if KEY not in metadata or "name" not in self.options:
            return metadata
        return {**metadata, KEY: {**self.about, "title": self.options["name"]}}

    def as_tuple(self) -> tuple[Any, dict[str, Any], str]:
        """Return napari's layer data tuple."""
        options = self.ground.placed(self.options)
        return self.data, {**options, "metadata": self.metadata}, self.kind

    def create(self) -> Layer:
        """Return the layer."""
        return Layer.create(*self.as_tuple())


def about(layer: Layer) -> dict[str, Any]:
    """Return what we know of a layer; empty for a layer that is not ours."""
    known = layer.metadata.get(KEY, {})
    return dict(known) if isinstance(known, Mapping) else {}


def role_name(layer: Layer | LayerSpec) -> str:
    """Return the role that a layer's metadata tells; empty for none."""
    known = layer.about if isinstance(layer, LayerSpec) else about(layer)
    return str(known.get("role", ""))


def image_spec(
    levels: Sequence[images.LazyImage],
    role: str,
    *,
    name: str,
    known: Mapping[str, Any],
    offset: tuple[float, float] = (0.0, 0.0),
    ground: Ground = Ground(),
    visible: bool = True,
) -> LayerSpec:
    """Return an image layer as it looks for its role.

    Parameters
    ----------
    levels : sequence of LazyImage
        Full resolution first; more than one makes a multiscale layer.
    role : str
        Begins with post, pre, aligned, scaled or difference.
    name, known, visible
        For the layer list, for the metadata, and whether it is shown at first.
    offset, ground : tuple of float, Ground
        (row, column) of the image's first pixel, px of the raw image that is its
        ground.
    """
    kind = Role.named(role)
    options: dict[str, Any] = {
        "name": name,
        "translate": offset,
        "visible": visible,
        "multiscale": len(levels) > 1,
        "interpolation2d": "nearest",
        **(kind.value.look if kind else {}),
    }
    is_signed = kind is Role.DIFFERENCE
    limits = (images.symmetric_range if is_signed else images.brightness_range)(levels)
    options["contrast_limits"] = limits
    options["metadata"] = {KEY: {**known, "role": role, "first_limits": limits}}
    data = list(levels) if len(levels) > 1 else levels[0]
    return LayerSpec(data, options, ground=ground)


def role_of(stage: int, name: str) -> str:
    """Return the role of a checkpoint's layer."""
    if stage == 1:
        return name
    if stage in (2, 3):
        return f"aligned {stage}" if name == "pre" else f"aligned {stage} {name}"
    words = name.replace("_", " ")
    return words if stage <= DIFFERENCE_STAGE else f"stage {stage} {words}"


def is_stored(known: Mapping[str, Any]) -> bool:
    """Return whether a layer is an image on disk as it is: a raw one or a result.

    What is drawn from one, moved or shown beside others has another role.
    """
    if not known.get("paths"):
        return False
    stage, role = int(known.get("stage", 0)), known.get("role")
    if stage == 0:
        return role in ("post", "pre")
    return bool(role == role_of(stage, str(known.get("checkpoint", ""))))


def find_layers(
    viewer: ViewerModel,
    role: str | None = None,
    sample: str | None = None,
    dye: str | None = None,
    apart: str | None = "",
) -> list[Layer]:
    """Return our layers, bottom first; those asked for by their metadata.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are.
    role, sample, dye : str, optional
        Only layers that say so. A role that ends in a blank is a beginning:
        ``'preview '`` finds all previews.
    apart : str, optional
        Which set of results they belong to, see `sets`: the one that is worked on,
        one that was set apart under this name, or with None any.
    """
    wanted = {"sample": sample, "dye": dye}
    return [
        layer
        for layer in viewer.layers
        if (known := about(layer))
        and all(v is None or known.get(name) == v for name, v in wanted.items())
        and (role is None or _has_role(known, role))
        and (apart is None or known.get("apart", "") == apart)
    ]


def _has_role(known: Mapping[str, Any], role: str) -> bool:
    own = str(known.get("role", ""))
    return own.startswith(role) if role.endswith(" ") else own == role


def camera(viewer: ViewerModel) -> Any:
    """Return the camera: `center`, `zoom` (screen px for one unit of the world)."""
    return viewer.scene.camera


def grid(viewer: ViewerModel) -> Any:
    """Return napari's grid: `enabled`, `shape`, `stride`."""
    return viewer.canvas.grid


def scale_bar(viewer: ViewerModel) -> Any:
    """Return napari's scale bar: `visible`."""
    return viewer.canvas.overlays.scale_bar


def note_overlay(viewer: ViewerModel) -> Any:
    """Return napari's words on the canvas: `text`, `visible`, `position`."""
    return viewer.canvas.overlays.text


def canvas_size(viewer: ViewerModel) -> tuple[float, float]:
    """Return height and width of what one image is drawn in, screen px."""
    height, width = viewer.canvas.viewbox_size(viewer.layers)
    return float(height), float(width)


def side_of(layer: Layer) -> str:
    """Return on which image a layer lies, by its metadata; its name does not matter.

    ``'pre'`` for the pre-stain image as it was taken and what was moved onto it;
    ``'post'`` for all else of ours, the aligned images among it; empty for a layer of
    a person's own.
    """
    role, direction = Role.of(layer), about(layer).get("direction")
    if role is None:
        return ""
    return "pre" if role is Role.PRE or direction == "onto pre" else "post"


def found_ground(viewer: ViewerModel, side: str) -> Ground | None:
    """Return where the raw image of one side lies in the world; None if unknown.

    That of the topmost layer which is seen, otherwise of the topmost one.
    """
    lying = [
        (layer.visible, number)
        for number, layer in enumerate(viewer.layers)
        if "canvas_offset" in about(layer) and side_of(layer) == side
    ]
    if not lying:
        return None
    return Ground.of(viewer.layers[max(lying)[-1]]).in_units(viewer.layers.units)


def ground(viewer: ViewerModel) -> Ground:
    """Return where the raw post-stain image of what is shown lies in the world."""
    sides = (found_ground(viewer, side) for side in ("post", "pre"))
    return next(filter(None, sides), Ground())


def seen_window(viewer: ViewerModel) -> tuple[float, float, float, float]:
    """Return the part of the image that is on screen: top, left, bottom, right.

    Rows and columns of the raw post-stain image, px.
    """
    below, eye = ground(viewer), camera(viewer)
    half = np.divide(canvas_size(viewer), 2 * max(float(eye.zoom), 1e-12))
    middle = np.asarray(eye.center[-2:])
    top, left = map(float, below.pixels(middle - half))
    bottom, right = map(float, below.pixels(middle + half))
    return top, left, bottom, right


def screen_zoom(viewer: ViewerModel) -> float:
    """Return how large a pixel of the raw post-stain image is drawn, screen px."""
    return float(camera(viewer).zoom) * ground(viewer).side


def camera_place(viewer: ViewerModel) -> tuple[float, float, float]:
    """Return where the viewer looks, as `move_camera` takes it.

    Row and column of the raw post-stain image, px, and screen px for one of its pixels.
    """
    row, column = ground(viewer).pixels(camera(viewer).center[-2:])
    return float(row), float(column), screen_zoom(viewer)


def move_camera(
    viewer: ViewerModel, row: float, column: float, zoom: float | None = None
) -> None:
    """Look at a place of the raw post-stain image; without a zoom it stays."""
    eye, below = camera(viewer), ground(viewer)
    eye.center = (*tuple(eye.center)[:-2], *map(float, below.world((row, column))))
    if zoom is not None:
        eye.zoom = zoom / below.side
