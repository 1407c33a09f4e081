"""The camera: which pair is asked for, and its images row by row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.simulate.scene import Layer, Scene, build_scene
from napari_exo2micro.core.simulate.truth import MICROBE_DTYPE, Deformation, Truth

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


# The side of a window. Noise is drawn for each window of this grid, so an image
# is the same whether it is made in memory or written band by band.
WINDOW = 1024
# Signal, in 8-bit grey levels, at which shot noise equals read noise.
_SHOT_EQUALS_READ = 40.0
# Half width at half maximum of a Gaussian, in standard deviations.
_HALF_WIDTH = math.sqrt(2.0 * math.log(2.0))

FloatGrid = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A smooth function of an image point: a sum of products f(x) g(y).

    Attributes
    ----------
    terms : ndarray, shape (N, 5), float64
        Each term: weight, then centre and width along x and along y, px.
    kind : {'waves', 'blobs'}
        Whether a factor is ``cos(pi (x - centre) / width)`` or a Gaussian of
        standard deviation `width`.
    """

    terms: NDArray[np.float64]
    kind: str

    def window(self, y0: int, y1: int, x0: int, x1: int) -> FloatGrid:
        """Return the field on a window, shape (y1 - y0, x1 - x0)."""
        x = np.arange(x0, x1, dtype=np.float64)
        y = np.arange(y0, y1, dtype=np.float64)
        weight, cx, wx, cy, wy = self.terms.T
        along_x = self._factor((x[None, :] - cx[:, None]) / wx[:, None])
        along_y = self._factor((y[:, None] - cy[None, :]) / wy[None, :])
        field = (along_y * weight).astype(np.float32) @ along_x.astype(np.float32)
        return np.asarray(field, dtype=np.float32)

    def _factor(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind == "waves":
            return np.cos(math.pi * distance)
        return np.exp(-0.5 * distance**2)

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the field at points (x, y), shape (N, 2)."""
        weight, cx, wx, cy, wy = self.terms.T
        along_x = self._factor((points[:, :1] - cx) / wx)
        along_y = self._factor((points[:, 1:] - cy) / wy)
        field: NDArray[np.float64] = (along_x * along_y) @ weight
        return field

    def _scaled(self, shape: tuple[int, int], peak: float) -> SmoothField:
        """Return the field with `peak` as its largest size in the image."""
        step = max(1, max(shape) // 64)
        coarse = SmoothField(
            self.terms / np.array([1.0, step, step, step, step]), self.kind
        ).window(0, shape[0] // step + 1, 0, shape[1] // step + 1)
        terms = self.terms.copy()
        terms[:, 0] *= peak / float(np.abs(coarse).max())
        return SmoothField(terms, self.kind)

    @classmethod
    def uneven(
        cls, shape: tuple[int, int], strength: float, rng: np.random.Generator
    ) -> SmoothField:
        """Return slow waves between about -strength and +strength."""
        rows, columns = shape
        terms = [
            (
                rng.uniform(0.5, 1.0) * rng.choice([-1.0, 1.0]),
                rng.uniform(0.0, columns),
                columns * rng.uniform(0.6, 1.6),
                rng.uniform(0.0, rows),
                rows * rng.uniform(0.6, 1.6),
            )
            for _ in range(3)
        ]
        return cls(np.array(terms), "waves")._scaled(shape, strength)

    @classmethod
    def glow(
        cls, shape: tuple[int, int], peak: float, rng: np.random.Generator
    ) -> SmoothField:
        """Return a few broad blobs of light, `peak` at the brightest point."""
        rows, columns = shape
        side = min(shape)
        terms = [
            (
                rng.uniform(0.4, 1.0),
                columns * rng.uniform(0.1, 0.9),
                side * rng.uniform(0.15, 0.35),
                rows * rng.uniform(0.1, 0.9),
                side * rng.uniform(0.15, 0.35),
            )
            for _ in range(3)
        ]
        return cls(np.array(terms), "blobs")._scaled(shape, peak)


@dataclass(frozen=True, eq=False)
class Camera:
    """One photograph of a scene.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    to_scene : ndarray, shape (3, 3)
        From this image's px to scene px.
    layers : tuple of Layer
        Factors of the light.
    glass, gain, offset : float
        ``image = gain * (glass + light) + offset``, 8-bit grey levels.
    noise : float
        Read noise, 8-bit grey levels.
    dtype : numpy.dtype
        Type of the image.
    grey_level : float
        Grey levels of that type to one of an 8-bit image.
    seed : tuple of int
        Of the noise.
    deformation : Deformation, optional
        To be undone after `to_scene`.
    light, glow : SmoothField, optional
        Relative unevenness of the light, and light added to it.
    blur : float
        Defocus: standard deviation of the blur, px.
    microbes : ndarray, structured, optional
        Spots in this image, as in `Truth.microbes`, brightness in 8-bit levels.
    """

    shape: tuple[int, int]
    to_scene: NDArray[np.float64]
    layers: tuple[Layer, ...]
    glass: float
    gain: float
    offset: float
    noise: float
    dtype: np.dtype[Any]
    grey_level: float
    seed: tuple[int, ...]
    deformation: Deformation | None = None
    light: SmoothField | None = None
    glow: SmoothField | None = None
    blur: float = 0.0
    microbes: NDArray[np.void] | None = None

    def window(self, row: int, column: int) -> NDArray[Any]:
        """Return one window of the grid of windows, in the image's type.

        Parameters
        ----------
        row, column : int
            Which window, counted from the top left; those at the right and the
            lower edge are smaller.
        """
        y0, x0 = row * WINDOW, column * WINDOW
        y1 = min(y0 + WINDOW, self.shape[0])
        x1 = min(x0 + WINDOW, self.shape[1])
        seen = self._focused(y0, y1, x0, x1)
        if self.light is not None:
            seen *= 1.0 + self.light.window(y0, y1, x0, x1)
        if self.microbes is not None:
            self._add_microbes(seen, y0, x0)
        if self.glow is not None:
            seen += self.glow.window(y0, y1, x0, x1)
        if self.offset:
            seen += np.float32(self.offset)
        if self.noise:
            self._add_noise(seen, row, column)
        return self._digitised(seen)

    def _focused(self, y0: int, y1: int, x0: int, x1: int) -> FloatGrid:
        """Return gain times the scene, blurred when out of focus."""
        halo = math.ceil(4.0 * self.blur)
        seen = self._scene(y0 - halo, y1 + halo, x0 - halo, x1 + halo)
        if halo:
            blurred = cv2.GaussianBlur(seen, (2 * halo + 1,) * 2, self.blur)
            seen = np.array(blurred[halo:-halo, halo:-halo], dtype=np.float32)
        return seen

    def _scene(self, y0: int, y1: int, x0: int, x1: int) -> FloatGrid:
        size = (y1 - y0, x1 - x0)
        if self.deformation is None:
            start = np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]])
            factors = [layer.warp(self.to_scene @ start, size) for layer in self.layers]
        else:
            y, x = np.mgrid[y0:y1, x0:x1].astype(np.float64)
            grid = np.stack([x, y, np.ones_like(x)], axis=-1) @ self.to_scene.T
            points = self.deformation.undo(grid[..., :2] / grid[..., 2:])
            factors = [
                layer.sample(points[..., 0], points[..., 1]) for layer in self.layers
            ]
        seen = factors[0]
        for factor in factors[1:]:
            seen *= factor
        seen += np.float32(self.glass)
        seen *= np.float32(self.gain)
        return seen

    def _add_microbes(self, seen: FloatGrid, y0: int, x0: int) -> None:
        table = self.microbes
        if table is None:
            return
        rows, columns = seen.shape
        long = table["radius"] * np.sqrt(table["elongation"]) / _HALF_WIDTH
        reach = np.ceil(4.0 * long + math.hypot(1.0, self.blur) * 4.0)
        near = (
            (table["x"] + reach >= x0)
            & (table["x"] - reach < x0 + columns)
            & (table["y"] + reach >= y0)
            & (table["y"] - reach < y0 + rows)
        )
        for spot, far in zip(table[near], reach[near], strict=True):
            top = max(math.floor(spot["y"] - far), y0)
            bottom = min(math.ceil(spot["y"] + far) + 1, y0 + rows)
            left = max(math.floor(spot["x"] - far), x0)
            right = min(math.ceil(spot["x"] + far) + 1, x0 + columns)
            if top >= bottom or left >= right:
                continue
            seen[top - y0 : bottom - y0, left - x0 : right - x0] += self._spot(
                spot, top, bottom, left, right
            )

    def _spot(
        self, spot: np.void, top: int, bottom: int, left: int, right: int
    ) -> FloatGrid:
        """Return one microbe on a box: a Gaussian rod, blurred like the image."""
        sigma = spot["radius"] / _HALF_WIDTH
        ratio = math.sqrt(spot["elongation"])
        long, short = sigma * ratio, sigma / ratio
        wide, narrow = math.hypot(long, self.blur), math.hypot(short, self.blur)
        peak = spot["brightness"] * long * short / (wide * narrow)
        cos = math.cos(math.radians(spot["angle_deg"]))
        sin = math.sin(math.radians(spot["angle_deg"]))
        dx = np.arange(left, right)[None, :] - spot["x"]
        dy = np.arange(top, bottom)[:, None] - spot["y"]
        u, v = (cos * dx + sin * dy) / wide, (cos * dy - sin * dx) / narrow
        return np.asarray(peak * np.exp(-0.5 * (u * u + v * v)), dtype=np.float32)

    def _add_noise(self, seen: FloatGrid, row: int, column: int) -> None:
        rng = np.random.Generator(np.random.SFC64([*self.seed, row, column]))
        noise = rng.standard_normal(seen.shape, dtype=np.float32)
        spread = np.maximum(seen, np.float32(0.0))
        spread *= np.float32(1.0 / _SHOT_EQUALS_READ)
        spread += np.float32(1.0)
        np.sqrt(spread, out=spread)
        noise *= spread
        noise *= np.float32(self.noise)
        seen += noise

    def _digitised(self, seen: FloatGrid) -> NDArray[Any]:
        if self.grey_level != 1.0:
            seen *= np.float32(self.grey_level)
        if self.dtype.kind == "f":
            return seen.astype(self.dtype)
        top = float(np.iinfo(self.dtype).max)
        seen += np.float32(0.5)
        np.clip(seen, 0.0, top, out=seen)
        return seen.astype(self.dtype)


def microbe_flux(
    radius: NDArray[np.float64], brightness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the light of Gaussian spots: the sum of their px, grey levels."""
    return 2.0 * math.pi * (radius / _HALF_WIDTH) ** 2 * brightness


def bands(camera: Camera, monitor: Monitor) -> Iterator[tuple[int, NDArray[Any]]]:
    """Render an image as bands of rows, from the top, with two threads."""
    rows, columns = camera.shape
    down, across = math.ceil(rows / WINDOW), math.ceil(columns / WINDOW)
    with ThreadPoolExecutor(max_workers=2) as pool:

        def start(row: int) -> list[Any]:
            return [pool.submit(camera.window, row, i) for i in range(across)]

        ahead = start(0)
        try:
            for row in range(down):
                running, ahead = ahead, start(row + 1) if row + 1 < down else []
                band = np.concatenate([job.result() for job in running], axis=1)
                monitor.report((row + 1) / down, "photographed the section")
                yield row * WINDOW, band
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
