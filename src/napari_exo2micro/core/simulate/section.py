"""Simulated pairs: what can be asked for, as arrays and as raw files of any size."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import OutputError, ParameterError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.simulate.camera import (
    Camera,
    SmoothField,
    bands,
    microbe_flux,
)
from napari_exo2micro.core.simulate.scene import Scene, build_scene
from napari_exo2micro.core.simulate.truth import MICROBE_DTYPE, Deformation, Truth

_STRIP_ROWS = 64

_GREY_LEVEL = {"uint8": 1.0, "uint16": 200.0, "float32": 1.0}
_DIM_BRIGHTNESS = 0.15
_PIXELS_PER_MICROBE = 20_000
_DENSE_FACTOR = 10
_SMALLEST_SIDE = 64
_POINT_COUNT = 1000
# Enough for the median of a light that varies by a third to 0.2 per cent.
_LIGHT_POINTS = 40_000
_SHORTEST_BEND = 50.0


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


#: Whether a value fits, and what is wanted.
_Rule = tuple[Callable[[Any], bool], str]


def _between(low: float, high: float) -> _Rule:
    words = f"a number from {low:g} to {high:g}"
    return lambda value: _is_number(value) and low <= value <= high, words


def _one_of(*choices: str | bool | None) -> _Rule:
    return lambda value: value in choices, f"one of {choices}"


_SIDES: _Rule = (
    lambda value: _are_numbers(value) and min(value) >= _SMALLEST_SIDE,
    f"rows and columns of at least {_SMALLEST_SIDE} px",
)
_WHOLE: _Rule = (
    lambda value: _is_number(value) and value == int(value) and value >= 0,
    "a whole number of 0 or more",
)
_SHIFT: _Rule = (_are_numbers, "two numbers (x, y) in px")
_RULES: dict[str, _Rule] = {
    "shape": _SIDES,
    "pre_shape": _SIDES,
    "seed": _WHOLE,
    "microbes": _WHOLE,
    "shift": _SHIFT,
    "field_of_view": _SHIFT,
    "angle_deg": _between(-360.0, 360.0),
    "scale": _between(0.2, 5.0),
    "perspective": _between(-0.2, 0.2),
    "gain": _between(0.01, 100.0),
    "offset": _between(-255.0, 255.0),
    "noise": _between(0.0, 100.0),
    "uneven_light": _between(0.0, 0.9),
    "defocus": _between(0.0, 50.0),
    "glow": _between(0.0, 255.0),
    "deformation_px": _between(0.0, 100.0),
    "dtype": _one_of(*_GREY_LEVEL),
    "piece_missing": _one_of(None, "pre", "post"),
    "defocus_image": _one_of("pre", "post"),
    "mirrored": _one_of(False, True),
    "frame_filling": _one_of(False, True),
    "dim": _one_of(False, True),
    "dense": _one_of(False, True),
}
_OPTIONAL = ("pre_shape", "microbes")


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
        for name, (fits, wanted) in _RULES.items():
            value = getattr(self, name)
            if not (fits(value) or (value is None and name in _OPTIONAL)):
                raise ParameterError(
                    f"{name} must be {wanted}, found {value!r}; choose another"
                )
        # Beyond this the bend could fold the section over itself.
        most = max(self.shape) / _SHORTEST_BEND
        if self.deformation_px > most:
            raise ParameterError(
                f"deformation_px must be at most {most:g} for an image of "
                f"{self.shape[0]} x {self.shape[1]} px, found "
                f"{self.deformation_px!r}; make it smaller"
            )

    @property
    def pre_shape_or_same(self) -> tuple[int, int]:
        """Rows and columns of the pre-stain image."""
        return self.pre_shape or self.shape

    @property
    def transform(self) -> Transform:
        """The map from post to pre, raw px, without deformation."""
        rows, columns = self.shape
        pre_rows, pre_columns = self.pre_shape_or_same
        heading = math.radians(30.0 + 137.5 * (self.seed % 360))
        slope = self.perspective / max(rows, columns)
        keystone = np.eye(3)
        keystone[2, :2] = slope * math.cos(heading), slope * math.sin(heading)
        about = Transform.similarity(translation=(-(columns - 1) / 2, -(rows - 1) / 2))
        turn = Transform.similarity(
            angle_deg=self.angle_deg, scale=self.scale, mirrored=self.mirrored
        )
        place = Transform.similarity(
            translation=(
                (pre_columns - 1) / 2 + self.shift[0] + self.field_of_view[0],
                (pre_rows - 1) / 2 + self.shift[1] + self.field_of_view[1],
            )
        )
        return place @ turn @ Transform(keystone) @ about


def rows_and_columns(shape: tuple[int, int]) -> tuple[int, int]:
    """Return a shape as two built-in integers."""
    try:
        rows, columns = (int(length) for length in shape)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"a shape must be two numbers, rows and columns, found {shape!r}; give both"
        ) from error
    return rows, columns


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPair:
    """Two photographs of one section, and what is known of them.

    Attributes
    ----------
    post, pre : ndarray, shape (rows, columns) or (rows, columns, 3)
        Post-stain (fixed) and pre-stain (moving) image.
    truth : Truth
        Geometry, gain, offset and microbes.
    """

    post: NDArray[Any]
    pre: NDArray[Any]
    truth: Truth


def simulate_section(
    shape: tuple[int, int] = (1200, 1400),
    *,
    seed: int = 0,
    angle_deg: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    perspective: float = 0.0,
    mirrored: bool = False,
    pre_shape: tuple[int, int] | None = None,
    gain: float = 1.3,
    offset: float = 0.0,
    noise: float = 1.0,
    microbes: int | None = None,
    dtype: str = "uint8",
    channels: Literal["rgb"] | None = None,
    signal_channel: int = 1,
    piece_missing: Literal["pre", "post"] | None = None,
    field_of_view: tuple[float, float] = (0.0, 0.0),
    frame_filling: bool = False,
    uneven_light: float = 0.0,
    defocus: float = 0.0,
    defocus_image: Literal["pre", "post"] = "pre",
    glow: float = 0.0,
    dim: bool = False,
    dense: bool = False,
    deformation_px: float = 0.0,
    monitor: Monitor | None = None,
) -> SimulatedPair:
    """Simulate a section before and after staining, with known truth.

    The transform maps post-stain to pre-stain: a feature at (x, y) of the
    post-stain image is at ``truth([[x, y]])`` of the pre-stain image. Turn,
    magnification and mirroring are about the image centres.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the post-stain image, px.
    seed : int
        The same settings with the same seed give the same pair. The section
        depends on seed, shape, `dim` and `frame_filling` only.
    angle_deg : float
        Turn from post to pre, degrees, from the x axis towards the y axis.
    scale : float
        Magnification from post to pre.
    shift : tuple of float
        (x, y) from post to pre after the turn, px.
    perspective : float
        Relative change of magnification across the longer side of the image.
    mirrored : bool
        Whether the section was turned over before it was photographed.
    pre_shape : tuple of int, optional
        Rows and columns of the pre-stain image; those of `shape` by default.
    gain : float
        Brightness of post relative to pre: the true scale of a difference.
    offset : float
        Added to post, grey levels of an 8-bit image.
    noise : float
        Standard deviation of the read noise, grey levels of an 8-bit image;
        with shot noise the variance is ``noise**2 * (1 + signal / 40)``.
    microbes : int, optional
        How many in post; one in 20000 px by default, ten times as many if
        `dense`.
    dtype : {'uint8', 'uint16', 'float32'}
        Type of the images. A grey level of an 8-bit image is 200 grey levels
        of a 16-bit one.
    channels : {'rgb'}, optional
        Make colour images, (rows, columns, 3), with the signal in one channel;
        grey ones by default.
    signal_channel : {0, 1, 2}
        That channel.
    piece_missing : {'pre', 'post'}, optional
        Which image was taken while a piece of the section was broken off.
    field_of_view : tuple of float
        (x, y) px by which pre is shifted in addition, so that a part of the
        section leaves the frame.
    frame_filling : bool
        Whether the section goes on beyond the frame on all sides.
    uneven_light : float
        Largest relative deviation of the light from even, another pattern in
        each image. `gain` is then the median over the section. Microbes keep
        their true brightness.
    defocus : float
        Standard deviation of the blur of one image, px.
    defocus_image : {'pre', 'post'}
        That image.
    glow : float
        Peak of a broad glow that is added to post, grey levels of an 8-bit
        image.
    dim : bool
        Whether the section has a few grey levels only.
    dense : bool
        Whether microbes are ten times as many.
    deformation_px : float
        Longest displacement of a smooth deformation between the images, px.
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.

    Returns
    -------
    SimulatedPair
        Both images and the truth.

    Raises
    ------
    ParameterError
        If a value is of a wrong type or out of range.

    Examples
    --------
    >>> pair = simulate_section((256, 320), seed=1, angle_deg=5.0, shift=(8, -3))
    >>> pair.post.shape, pair.post.dtype
    ((256, 320), dtype('uint8'))
    >>> pair.truth([[159.5, 127.5]]).tolist()
    [[167.5, 124.5]]
    """
    check_channels(channels, signal_channel)
    settings = SectionSettings(
        shape=rows_and_columns(shape),
        seed=seed,
        angle_deg=angle_deg,
        scale=scale,
        shift=shift,
        perspective=perspective,
        mirrored=mirrored,
        pre_shape=None if pre_shape is None else rows_and_columns(pre_shape),
        gain=gain,
        offset=offset,
        noise=noise,
        microbes=microbes,
        dtype=dtype,
        piece_missing=piece_missing,
        field_of_view=field_of_view,
        frame_filling=frame_filling,
        uneven_light=uneven_light,
        defocus=defocus,
        defocus_image=defocus_image,
        glow=glow,
        dim=dim,
        dense=dense,
        deformation_px=deformation_px,
    )
    monitor = monitor or Monitor()
    *cameras, truth = plan_pair(settings)
    monitor.report(0.4, "simulated section")
    images = []
    for camera, start in zip(cameras, (0.4, 0.7), strict=True):
        image = np.zeros(camera.shape, dtype=camera.dtype)
        for y0, band in bands(camera, monitor.part(start, start + 0.3)):
            image[y0 : y0 + len(band)] = band
        images.append(coloured(image, channels, signal_channel))
    return SimulatedPair(images[0], images[1], truth)


def write_pair(
    pair: SimulatedPair,
    raw_dir: str | Path,
    sample: str,
    dye: str,
    *,
    channels: Literal["rgb"] | None = None,
    signal_channel: int = 1,
) -> tuple[Path, Path, Path]:
    """Write a pair in the raw layout, with its truth beside it.

    Parameters
    ----------
    pair : SimulatedPair
        The images and the truth.
    raw_dir : str or Path
        Folder of the samples; made when missing.
    sample, dye : str
        Names; a dye has no underscore.
    channels : {'rgb'}, optional
        Write grey images as colour ones with the signal in one channel; as
        they are by default.
    signal_channel : {0, 1, 2}
        That channel.

    Returns
    -------
    tuple of Path
        The post-stain image, the pre-stain image and the truth file.

    Raises
    ------
    OutputError
        If a file cannot be written.
    ParameterError
        If a choice is unknown.
    """
    check_channels(channels, signal_channel)
    paths = _paths(raw_dir, sample, dye)
    with _written(paths, pair.truth):
        for path, image in zip(paths, (pair.post, pair.pre), strict=False):
            stored = image
            if image.ndim == 2:
                stored = coloured(image, channels, signal_channel)
            photometric = "rgb" if stored.ndim == 3 else "minisblack"
            tifffile.imwrite(path, stored, photometric=photometric, metadata=None)
    return paths


def write_large_pair(
    raw_dir: str | Path,
    sample: str,
    dye: str,
    shape: tuple[int, int] = (25_000, 30_000),
    *,
    channels: Literal["rgb"] | None = "rgb",
    signal_channel: int = 1,
    monitor: Monitor | None = None,
    **settings: Any,
) -> tuple[Path, Path, Path]:
    """Simulate a pair of any size straight into the raw layout.

    The files hold what `simulate_section` returns for the same settings, but
    no more than a band of rows is ever in memory.

    Parameters
    ----------
    raw_dir : str or Path
        Folder of the samples; made when missing.
    sample, dye : str
        Names; a dye has no underscore.
    shape : tuple of int
        Rows and columns, px.
    channels : {'rgb'}, optional
        Colour images with the signal in one channel, or grey ones (None).
    signal_channel : {0, 1, 2}
        That channel.
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.
    **settings
        Those of `simulate_section`.

    Returns
    -------
    tuple of Path
        The post-stain image, the pre-stain image and the truth file.

    Raises
    ------
    OutputError
        If a file cannot be written.
    ParameterError
        If a setting is unknown, of a wrong type or out of range.
    """
    check_channels(channels, signal_channel)
    known = {field.name for field in fields(SectionSettings)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ParameterError(
            f"unknown setting {', '.join(unknown)}; choose from "
            f"{', '.join(sorted(known))}"
        )
    monitor = monitor or Monitor()
    checked = SectionSettings(shape=rows_and_columns(shape), **settings)
    paths = _paths(raw_dir, sample, dye)
    *cameras, truth = plan_pair(checked)
    monitor.report(0.1, "simulated section")
    with _written(paths, truth):
        for camera, path, start in zip(cameras, paths, (0.1, 0.55), strict=False):
            part = monitor.part(start, start + 0.45)
            _write_image(path, camera, channels, signal_channel, part)
    return paths


@contextmanager
def _written(paths: tuple[Path, Path, Path], truth: Truth) -> Iterator[None]:
    """Write the truth after the images; say where what could not be written."""
    try:
        yield
        paths[2].write_text(json.dumps(truth.to_dict()) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(
            f"the simulated pair could not be written to {paths[0].parent} "
            f"({error}); choose a folder with room that can be written to"
        ) from error


def _write_image(
    path: Path,
    camera: Camera,
    channels: str | None,
    signal_channel: int,
    monitor: Monitor,
) -> None:
    def strips() -> Iterator[NDArray[Any]]:
        for _, band in bands(camera, monitor):
            stored = coloured(band, channels, signal_channel)
            for y in range(0, len(stored), _STRIP_ROWS):
                yield stored[y : y + _STRIP_ROWS]

    try:
        tifffile.imwrite(
            path,
            strips(),
            shape=camera.shape if channels is None else (*camera.shape, 3),
            dtype=camera.dtype,
            photometric="minisblack" if channels is None else "rgb",
            rowsperstrip=_STRIP_ROWS,
            metadata=None,
        )
    except BaseException:
        # A file cut short would be taken for a raw image.
        path.unlink(missing_ok=True)
        raise


def _paths(raw_dir: str | Path, sample: str, dye: str) -> tuple[Path, Path, Path]:
    """Return the paths of post, pre and truth, in a folder that exists."""
    for kind, name in (("sample", sample), ("dye", dye)):
        bad = not name or "/" in name or "\\" in name or name in (".", "..")
        if bad or (kind == "dye" and "_" in name):
            raise ParameterError(
                f"a {kind} name must be a plain name"
                f"{' without underscores' if kind == 'dye' else ''}, found {name!r}; "
                "choose another"
            )
    folder = Path(raw_dir) / sample
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} could not be made ({error}); choose another"
        ) from error
    return (
        folder / f"{sample}_PostStain_{dye}.tif",
        folder / f"{sample}_PreStain_{dye}.tif",
        folder / f"{sample}_{dye}_truth.json",
    )


def check_channels(channels: str | None, signal_channel: int) -> None:
    """Refuse unknown channels."""
    for name, value, (fits, wanted) in (
        ("channels", channels, _one_of(None, "rgb")),
        ("signal_channel", signal_channel, (lambda v: v in (0, 1, 2), "0, 1 or 2")),
    ):
        if not fits(value):
            raise ParameterError(
                f"{name} must be {wanted}, found {value!r}; choose another"
            )


def coloured(
    image: NDArray[Any], channels: str | None, signal_channel: int
) -> NDArray[Any]:
    """Return a grey image as it is, or as one channel of an RGB image."""
    if channels is None:
        return image
    colour = np.zeros((*image.shape, 3), dtype=image.dtype)
    colour[..., signal_channel] = image
    return colour


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
    pre_shape, transform = settings.pre_shape_or_same, settings.transform
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
        # As JSON-ready built-in types.
        settings=json.loads(json.dumps(asdict(settings), default=lambda v: v.item())),
    )
    truth = replace(truth, points=_common_points(settings, scene, truth, point_rng))

    uneven = settings.uneven_light
    camera = partial(
        Camera,
        glass=scene.glass,
        noise=settings.noise,
        grey_level=grey_level,
        dtype=np.dtype(settings.dtype),
    )
    post = camera(
        shape=settings.shape,
        to_scene=np.eye(3),
        layers=scene.visible_layers(piece_missing=settings.piece_missing == "post"),
        gain=settings.gain,
        offset=settings.offset,
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
    pre = camera(
        shape=pre_shape,
        to_scene=np.array(transform.inverse().matrix),
        layers=scene.visible_layers(piece_missing=settings.piece_missing == "pre"),
        gain=1.0,
        offset=0.0,
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
