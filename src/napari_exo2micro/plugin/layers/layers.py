"""Layers of ours: what they are called, how they look, found again by metadata.

World coordinates of the viewer are (row, column) pixels of the raw post-stain
image. Layers on the padded canvas are moved by its frame, so that raw and padded
images, and what a person drew on them, lie on one another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.colormaps import Colormap

from napari_exo2micro.core import images
from napari_exo2micro.core.parameters import LAST_BUILT_IN

#: Where `layer.metadata` holds what we know of a layer.
KEY = "exo2micro"

_LOOKS: dict[str, dict[str, Any]] = {
    "post": {"colormap": "green", "blending": "additive"},
    "pre": {"colormap": "magenta", "blending": "additive"},
    "aligned": {"colormap": "magenta", "blending": "additive"},
    "scaled": {"colormap": "magenta", "blending": "additive"},
    # Blue below zero, black at zero, red above: microbes are warm.
    "difference": {"blending": "translucent_no_depth"},
}


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """A layer to be: data, keyword arguments and type, as napari takes them."""

    data: Any
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = "image"

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
        return self.data, {**self.options, "metadata": self.metadata}, self.kind

    def create(self) -> Layer:
        """Return the layer."""
        return Layer.create(*self.as_tuple())


def about(layer: Layer) -> dict[str, Any]:
    """Return what we know of a layer; empty for a layer that is not ours."""
    known = layer.metadata.get(KEY, {})
    return dict(known) if isinstance(known, Mapping) else {}


def image_spec(
    levels: Sequence[images.LazyImage],
    role: str,
    *,
    name: str,
    known: Mapping[str, Any],
    offset: tuple[float, float] = (0.0, 0.0),
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
    offset : tuple of float
        (row, column) in the world of the image's first pixel.
    """
    look = role.split()[0]
    options: dict[str, Any] = {
        "name": name,
        "translate": offset,
        "visible": visible,
        "multiscale": len(levels) > 1,
        "interpolation2d": "nearest",
        **_LOOKS.get(look, {}),
    }
    if look == "difference":
        limits = images.symmetric_range(levels)
        places, colours = zip(*images.DIFFERENCE_STOPS, strict=True)
        options["colormap"] = Colormap(
            list(colours), controls=places, name="exo2micro difference"
        )
    else:
        limits = images.brightness_range(levels)
    options["contrast_limits"] = limits
    options["metadata"] = {KEY: {**known, "role": role, "first_limits": limits}}
    data = list(levels) if len(levels) > 1 else levels[0]
    return LayerSpec(data, options)


def role_of(stage: int, name: str) -> str:
    """Return the role of a checkpoint's layer."""
    if stage == 1:
        return name
    if stage in (2, 3):
        return f"aligned {stage}" if name == "pre" else f"aligned {stage} {name}"
    words = name.replace("_", " ")
    return words if stage <= LAST_BUILT_IN else f"stage {stage} {words}"


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
    """Return the camera: `center`, `zoom` (screen px for one px of the image)."""
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


def seen_window(viewer: ViewerModel) -> tuple[float, float, float, float]:
    """Return the part of the world that is on screen: top, left, bottom, right.

    Rows and columns of the raw post-stain image, px.
    """
    row, column, zoom = camera_place(viewer)
    height, width = (side / max(zoom, 1e-12) for side in canvas_size(viewer))
    return row - height / 2, column - width / 2, row + height / 2, column + width / 2


def camera_place(viewer: ViewerModel) -> tuple[float, float, float]:
    """Return where the viewer looks: row, column and zoom, as `move_camera` takes."""
    eye = camera(viewer)
    row, column = eye.center[-2:]
    return float(row), float(column), float(eye.zoom)


def move_camera(
    viewer: ViewerModel, row: float, column: float, zoom: float | None = None
) -> None:
    """Look at a place of the world; the zoom stays when none is given."""
    eye = camera(viewer)
    eye.center = (*tuple(eye.center)[:-2], row, column)
    if zoom is not None:
        eye.zoom = zoom
