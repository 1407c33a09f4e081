"""What a simulated pair is asked to be, and how its photographs are taken."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.simulate.camera import Camera, SmoothField, microbe_flux
from napari_exo2micro.core.simulate.rock import build_scene
from napari_exo2micro.core.simulate.scene import Scene
from napari_exo2micro.core.simulate.truth import MICROBE_DTYPE, Deformation, Truth
from napari_exo2micro.core.transforms import Transform

__all__ = ["SectionSettings", "plan_pair", "rows_and_columns"]

_GREY_LEVEL = {"uint8": 1.0, "uint16": 200.0, "float32": 1.0}
_DIM_BRIGHTNESS = 0.15
_PIXELS_PER_MICROBE = 20_000
_DENSE_FACTOR = 10
_SMALLEST_SIDE = 64
_POINT_COUNT = 1000
# Enough for the median of a light that varies by a third to 0.2 per cent.
_LIGHT_POINTS = 40_000
_SHORTEST_BEND = 50.0
_RANGES = (
    ("angle_deg", -360.0, 360.0),
    ("scale", 0.2, 5.0),
    ("perspective", -0.2, 0.2),
    ("gain", 0.01, 100.0),
    ("offset", -255.0, 255.0),
    ("noise", 0.0, 100.0),
    ("uneven_light", 0.0, 0.9),
    ("defocus", 0.0, 50.0),
    ("glow", 0.0, 255.0),
    ("deformation_px", 0.0, 100.0),
)
_CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "dtype": tuple(_GREY_LEVEL),
    "piece_missing": (None, "pre", "post"),
    "defocus_image": ("pre", "post"),
    "mirrored": (False, True),
    "frame_filling": (False, True),
    "dim": (False, True),
    "dense": (False, True),
}


@dataclass(frozen=True, slots=True)
class SectionSettings:
    """What a pair is asked to be; see `simulate_section`."""

    shape: tuple[int, int] = (1200, 1400)
    seed: int = 0
    angle_deg: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    perspective: float = 0.0
    mirrored: bool = False
    pre_shape: tuple[int, int] | None = None
    gain: float = 1.3
    offset: float = 0.0
    noise: float = 1.0
    microbes: int | None = None
    dtype: str = "uint8"
    piece_missing: Literal["pre", "post"] | None = None
    field_of_view: tuple[float, float] = (0.0, 0.0)
    frame_filling: bool = False
    uneven_light: float = 0.0
    defocus: float = 0.0
    defocus_image: Literal["pre", "post"] = "pre"
    glow: float = 0.0
    dim: bool = False
    dense: bool = False
    deformation_px: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shape", "pre_shape"):
            value = getattr(self, name)
            if value is not None and not (
                _are_numbers(value) and min(value) >= _SMALLEST_SIDE
            ):
                raise ParameterError(
                    f"{name} must be rows and columns of at least "
                    f"{_SMALLEST_SIDE} px, found {value!r}; make it larger"
                )
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not (_is_number(value) and low <= value <= high):
                raise ParameterError(
                    f"{name} must be a number from {low:g} to {high:g}, found "
                    f"{value!r}; choose one in that range"
                )
        for name in ("seed", "microbes"):
            value = getattr(self, name)
            if name == "microbes" and value is None:
                continue
            if not (_is_number(value) and value == int(value) and value >= 0):
                raise ParameterError(
                    f"{name} must be a whole number of 0 or more, found {value!r}; "
                    "choose one"
                )
        for name in ("shift", "field_of_view"):
            value = getattr(self, name)
            if not _are_numbers(value):
                raise ParameterError(
                    f"{name} must be two numbers (x, y) in px, found {value!r}; "
                    "give both"
                )
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ParameterError(
                    f"{name} must be one of {choices}, found {value!r}; choose one"
                )
        # Beyond this the bend could fold the section over itself.
        most = max(self.shape) / _SHORTEST_BEND
        if self.deformation_px > most:
            raise ParameterError(
                f"deformation_px must be at most {most:g} for an image of "
                f"{self.shape[0]} x {self.shape[1]} px, found "
                f"{self.deformation_px!r}; make it smaller"
            )


def rows_and_columns(shape: tuple[int, int]) -> tuple[int, int]:
    """Return a shape as two built-in integers."""
    try:
        rows, columns = (int(length) for length in shape)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"a shape must be two numbers, rows and columns, found {shape!r}; give both"
        ) from error
    return rows, columns


def _is_number(value: object) -> bool:
    """Return whether a value is a finite real number, and not a truth value."""
    return (
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _are_numbers(values: object) -> bool:
    """Return whether this is a pair of finite real numbers."""
    return (
        isinstance(values, tuple | list | np.ndarray)
        and len(values) == 2
        and all(_is_number(value) for value in values)
    )


def plan_pair(settings: SectionSettings) -> tuple[Camera, Camera, Truth]:
    """Return how both photographs are taken, and the truth."""
    root = np.random.SeedSequence(int(settings.seed))
    # A stream of its own for each part, so that asking for one difficulty does
    # not change another.
    streams = [np.random.default_rng(child) for child in root.spawn(6)]
    scene_rng, microbe_rng, point_rng, light_rng, glow_rng, bend_rng = streams
    brightness = _DIM_BRIGHTNESS if settings.dim else 1.0
    scene = build_scene(
        settings.shape,
        scene_rng,
        frame_filling=settings.frame_filling,
        brightness=brightness,
    )
    pre_shape = settings.pre_shape or settings.shape
    transform = _true_transform(settings, pre_shape)
    deformation = None
    if settings.deformation_px:
        deformation = Deformation.random(
            settings.shape, settings.deformation_px, bend_rng
        )
    spots = _place_microbes(settings, scene, microbe_rng)
    grey_level = _GREY_LEVEL[settings.dtype]
    table = spots.copy()
    table["brightness"] *= grey_level
    table["flux"] *= grey_level
    truth = Truth(
        matrix=np.array(transform.matrix),
        post_shape=settings.shape,
        pre_shape=pre_shape,
        gain=float(settings.gain),
        offset=float(settings.offset) * grey_level,
        noise=float(settings.noise) * grey_level,
        grey_level=grey_level,
        microbes=table,
        points=np.empty((0, 2)),
        deformation=deformation,
        settings=_plain(asdict(settings)),
    )
    truth = replace(truth, points=_common_points(settings, scene, truth, point_rng))

    uneven = settings.uneven_light
    dtype = np.dtype(settings.dtype)
    post = Camera(
        shape=settings.shape,
        to_scene=np.eye(3),
        layers=scene.visible_layers(piece_missing=settings.piece_missing == "post"),
        gain=settings.gain,
        offset=settings.offset,
        glass=scene.glass,
        noise=settings.noise,
        grey_level=grey_level,
        dtype=dtype,
        seed=(int(settings.seed), 1),
        light=SmoothField.uneven(settings.shape, uneven, light_rng) if uneven else None,
        glow=(
            SmoothField.glow(settings.shape, settings.glow, glow_rng)
            if settings.glow
            else None
        ),
        blur=settings.defocus if settings.defocus_image == "post" else 0.0,
        microbes=spots,
    )
    pre = Camera(
        shape=pre_shape,
        to_scene=np.array(transform.inverse().matrix),
        layers=scene.visible_layers(piece_missing=settings.piece_missing == "pre"),
        gain=1.0,
        offset=0.0,
        glass=scene.glass,
        noise=settings.noise,
        grey_level=grey_level,
        dtype=dtype,
        seed=(int(settings.seed), 2),
        deformation=deformation,
        light=SmoothField.uneven(pre_shape, uneven, light_rng) if uneven else None,
        blur=settings.defocus if settings.defocus_image == "pre" else 0.0,
    )
    if uneven:
        many = _common_points(settings, scene, truth, light_rng, _LIGHT_POINTS)
        post = _evened(post, pre, truth, many)
    return post, pre, truth


def _evened(
    post: Camera, pre: Camera, truth: Truth, points: NDArray[np.float64]
) -> Camera:
    """Return post with the true gain as its median gain over the section.

    Where each image is lit in its own way, the ratio post/pre differs from place to
    place; without this its middle would be anywhere.
    """
    if post.light is None or pre.light is None or not len(points):
        return post
    ratio = (1.0 + post.light.at(points)) / (1.0 + pre.light.at(truth(points)))
    return replace(post, gain=post.gain / float(np.median(ratio)))


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON-ready built-in types."""
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=lambda v: v.item()))
    return plain


def _true_transform(settings: SectionSettings, pre_shape: tuple[int, int]) -> Transform:
    """Return the map from post to pre, raw px."""
    rows, columns = settings.shape
    centre = ((columns - 1) / 2, (rows - 1) / 2)
    pre_centre = ((pre_shape[1] - 1) / 2, (pre_shape[0] - 1) / 2)
    heading = math.radians(30.0 + 137.5 * (settings.seed % 360))
    slope = settings.perspective / max(rows, columns)
    keystone = np.eye(3)
    keystone[2, :2] = slope * math.cos(heading), slope * math.sin(heading)
    about = Transform.similarity(translation=(-centre[0], -centre[1]))
    turn = Transform.similarity(
        angle_deg=settings.angle_deg, scale=settings.scale, mirrored=settings.mirrored
    )
    place = Transform.similarity(
        translation=(
            pre_centre[0] + settings.shift[0] + settings.field_of_view[0],
            pre_centre[1] + settings.shift[1] + settings.field_of_view[1],
        )
    )
    return place @ turn @ Transform(keystone) @ about


def _place_microbes(
    settings: SectionSettings, scene: Scene, rng: np.random.Generator
) -> NDArray[np.void]:
    """Return microbes on the section, brightness in 8-bit grey levels."""
    rows, columns = settings.shape
    count = settings.microbes
    if count is None:
        count = rows * columns // _PIXELS_PER_MICROBE
        count *= _DENSE_FACTOR if settings.dense else 1
    places = np.empty((0, 2))
    for _ in range(50):
        if len(places) >= count:
            break
        tried = rng.uniform(0.0, 1.0, (2 * count + 16, 2)) * (columns - 1, rows - 1)
        fits = scene.on_section(tried)
        if settings.piece_missing == "post":
            fits &= scene.kept(tried)
        places = np.concatenate([places, tried[fits]])
    # Short numbers keep the truth file of a large section small.
    places = np.round(places[:count], 3)
    count = len(places)
    table = np.zeros(count, dtype=MICROBE_DTYPE)
    table["x"], table["y"] = places.T
    table["radius"] = np.round(rng.uniform(1.5, 5.0, count), 3)
    peak = np.clip(rng.lognormal(math.log(38.0), 0.6, count), 10.0, 180.0)
    peak *= 2.0 * _DIM_BRIGHTNESS if settings.dim else 1.0
    table["brightness"] = np.round(peak, 3)
    table["flux"] = microbe_flux(table["radius"], table["brightness"])
    rods = rng.random(count) < 0.5
    table["elongation"] = np.where(rods, np.round(rng.uniform(1.3, 3.0, count), 3), 1.0)
    table["angle_deg"] = np.where(
        rods, np.round(rng.uniform(-90.0, 90.0, count), 2), 0.0
    )
    return table


def _common_points(
    settings: SectionSettings,
    scene: Scene,
    truth: Truth,
    rng: np.random.Generator,
    count: int = _POINT_COUNT,
) -> NDArray[np.float64]:
    """Return points of post on the section that pre shows as well."""
    rows, columns = truth.post_shape
    tried = rng.uniform(0.0, 1.0, (8 * count, 2)) * (columns - 1, rows - 1)
    tried = np.round(tried, 2)
    fits = scene.on_section(tried)
    if settings.piece_missing is not None:
        fits &= scene.kept(tried)
    in_pre = truth(tried)
    last = np.array(truth.pre_shape[::-1]) - 1
    fits &= ((in_pre >= 0) & (in_pre <= last)).all(axis=1)
    return tried[fits][:count]
