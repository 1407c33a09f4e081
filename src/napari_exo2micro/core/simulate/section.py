"""Simulated pairs: what can be asked for, as arrays and as raw files of any size."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base import Monitor, OutputError, ParameterError, files
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.simulate import camera
from napari_exo2micro.core.simulate.scene import Minerals, Scene, build_scene
from napari_exo2micro.core.simulate.truth import (
    MICROBE_DTYPE,
    Seams,
    Truth,
    random_deformation,
    random_seams,
)

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
# Beyond the tiles' displacement: a place at a seam may be shown twice, or not at all.
_CLEAR_OF_SEAM = 2.0  # px

_LIMITS = {
    "angle_deg": (-360.0, 360.0),
    "scale": (0.2, 5.0),
    "perspective": (-0.2, 0.2),
    "gain": (0.01, 100.0),
    "offset": (-255.0, 255.0),
    "noise": (0.0, 100.0),
    "uneven_light": (0.0, 0.9),
    "defocus": (0.0, 50.0),
    "glow": (0.0, 255.0),
    "deformation_px": (0.0, 100.0),
    "photons": (1.0, 1e9),
    "astigmatism": (1.0, 4.0),
    "seam_px": (0.0, 20.0),
    "tile_light": (0.0, 0.5),
    "mineral_ratio": (0.0, 1.0),
    "mineral_stain": (0.0, 2.0),
    "exposure": (0.1, 10.0),
}
_CHOICES: dict[str, tuple[str | int | None, ...]] = {
    "dtype": tuple(_GREY_LEVEL),
    "piece_missing": (None, "pre", "post"),
    "defocus_image": ("pre", "post"),
    "mirrored": (False, True),
    "frame_filling": (False, True),
    "dim": (False, True),
    "dense": (False, True),
    "channels": (None, "rgb"),
    "signal_channel": (0, 1, 2),
}


def _are_numbers(*values: object) -> bool:
    """Return whether these are finite real numbers, and no truth values."""
    return all(
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool)
        and math.isfinite(value)
        for value in values
    )


def _rule(name: str, value: Any) -> tuple[bool, str]:
    """Return whether a value of a setting fits, and what is wanted."""
    if name in _CHOICES:
        return value in _CHOICES[name], f"one of {_CHOICES[name]}"
    if name in _LIMITS:
        low, high = _LIMITS[name]
        fits = _are_numbers(value) and low <= value <= high
        return fits, f"a number from {low:g} to {high:g}"
    if name in ("seed", "microbes", "hot_pixels", "dust", "tile_px"):
        least = _SMALLEST_SIDE if name == "tile_px" else 0
        fits = _are_numbers(value) and value == int(value) and value >= least
        return fits, f"a whole number of {least} or more"
    is_pair = isinstance(value, tuple | list | np.ndarray) and len(value) == 2
    fits = is_pair and _are_numbers(*value)
    if name in ("shape", "pre_shape"):
        fits = fits and min(value) >= _SMALLEST_SIDE
        return fits, f"rows and columns of at least {_SMALLEST_SIDE} px"
    return fits, "two numbers (x, y) in px"


def _check(name: str, value: Any) -> None:
    fits, wanted = _rule(name, value)
    if not fits:
        raise ParameterError(
            f"{name} must be {wanted}, found {value!r}; choose another"
        )


@dataclass(frozen=True, slots=True)
class SectionSettings:
    """What a pair is asked to be.

    The transform maps post-stain to pre-stain. Turn, magnification and mirroring are
    about the image centres.

    Attributes
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
    photons : float, optional
        Photons of a grey level of 255: they give the shot noise, and `noise` is that
        of reading alone.
    astigmatism : float
        Long to short axis of the blur of `defocus`, in a direction of the seed's.
    seam_px : float
        Each image is stitched of tiles, displaced by up to this, px; differently in
        both. No point of the truth is close to a seam.
    tile_px : int
        Rows and columns of these tiles, px.
    tile_light : float
        Largest relative deviation of a tile's light from even, in both images.
    mineral_ratio : float
        Standard deviation of the logarithm of post relative to pre from grain to
        grain. `gain` is then the median over the section, here and below.
    mineral_stain : float
        Light that the stain adds to minerals that take it, relative to their own.
    hot_pixels : int
        How many in each image, at the same places: they are the camera's.
    dust : int
        How many bright specks in each image, at places of their own, 3-12 px.
    exposure : float
        The light of both images times this, microbes as well: above 1 the brightest
        are clipped.

    Raises
    ------
    ParameterError
        If a value is of a wrong type or out of range.
    """

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
    photons: float | None = None
    astigmatism: float = 1.0
    seam_px: float = 0.0
    tile_px: int = 800
    tile_light: float = 0.0
    mineral_ratio: float = 0.0
    mineral_stain: float = 0.0
    hot_pixels: int = 0
    dust: int = 0
    exposure: float = 1.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value is not None or entry.default is not None:
                _check(entry.name, value)
        for name in ("shape", "pre_shape"):
            if getattr(self, name) is not None:
                rows, columns = getattr(self, name)
                object.__setattr__(self, name, (int(rows), int(columns)))
        # Beyond this the bend could fold the section over itself.
        most = max(self.shape) / _SHORTEST_BEND
        if self.deformation_px > most:
            raise ParameterError(
                f"deformation_px must be at most {most:g} for an image of "
                f"{self.shape[0]} x {self.shape[1]} px, found "
                f"{self.deformation_px!r}; make it smaller"
            )

    @property
    def transform(self) -> Transform:
        """The map from post to pre, raw px, without deformation."""
        rows, columns = self.shape
        pre_rows, pre_columns = self.pre_shape or self.shape
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
    channels: Literal["rgb"] | None = None,
    signal_channel: int = 1,
    monitor: Monitor | None = None,
    **settings: Any,
) -> SimulatedPair:
    """Simulate a section before and after staining, with known truth.

    A feature at (x, y) of the post-stain image is at ``truth([[x, y]])`` of the
    pre-stain image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the post-stain image, px.
    channels : {'rgb'}, optional
        Make colour images, (rows, columns, 3), with the signal in one channel;
        grey ones by default.
    signal_channel : {0, 1, 2}
        That channel.
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.
    **settings
        Seed, geometry, light and difficulties: see `SectionSettings`.

    Returns
    -------
    SimulatedPair
        Both images and the truth.

    Raises
    ------
    ParameterError
        If a setting is unknown, of a wrong type or out of range.

    Examples
    --------
    >>> pair = simulate_section((256, 320), seed=1, angle_deg=5.0, shift=(8, -3))
    >>> pair.post.shape, pair.post.dtype
    ((256, 320), dtype('uint8'))
    >>> pair.truth([[159.5, 127.5]]).tolist()
    [[167.5, 124.5]]
    """
    checked = _checked(shape, channels, signal_channel, settings)
    monitor = monitor or Monitor()
    *cameras, truth = _plan_pair(checked)
    monitor.report(0.4, "simulated section")
    images = []
    for one, start in zip(cameras, (0.4, 0.7), strict=True):
        image = np.zeros(one.shape, dtype=one.dtype)
        for y0, band in camera.bands(one, monitor.part(start, start + 0.3)):
            image[y0 : y0 + len(band)] = band
        images.append(_coloured(image, channels, signal_channel))
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
    _check("channels", channels)
    _check("signal_channel", signal_channel)
    paths = _paths(raw_dir, sample, dye)
    with _written(paths, pair.truth) as parts:
        for part, image in zip(parts, (pair.post, pair.pre), strict=False):
            stored = image
            if image.ndim == 2:
                stored = _coloured(image, channels, signal_channel)
            photometric = "rgb" if stored.ndim == 3 else "minisblack"
            tifffile.imwrite(part, stored, photometric=photometric, metadata=None)
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

    The files hold what `simulate_section` returns for the same settings and
    `write_pair` writes, but no more than a band of rows is ever in memory.

    Parameters
    ----------
    raw_dir, sample, dye : str or Path
        As in `write_pair`.
    shape : tuple of int
        Rows and columns, px.
    channels, signal_channel, monitor : optional
        As in `simulate_section`; colour images by default.
    **settings
        See `SectionSettings`.

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
    checked = _checked(shape, channels, signal_channel, settings)
    monitor = monitor or Monitor()
    paths = _paths(raw_dir, sample, dye)
    *cameras, truth = _plan_pair(checked)
    monitor.report(0.1, "simulated section")

    def strips(one: camera.Camera, start: float) -> Iterator[NDArray[Any]]:
        for _, band in camera.bands(one, monitor.part(start, start + 0.45)):
            stored = _coloured(band, channels, signal_channel)
            for y in range(0, len(stored), _STRIP_ROWS):
                yield stored[y : y + _STRIP_ROWS]

    with _written(paths, truth) as parts:
        for one, part, start in zip(cameras, parts, (0.1, 0.55), strict=False):
            tifffile.imwrite(
                part,
                strips(one, start),
                shape=one.shape if channels is None else (*one.shape, 3),
                dtype=one.dtype,
                photometric="minisblack" if channels is None else "rgb",
                rowsperstrip=_STRIP_ROWS,
                metadata=None,
            )
    return paths


def _checked(
    shape: tuple[int, int],
    channels: str | None,
    signal_channel: int,
    settings: dict[str, Any],
) -> SectionSettings:
    _check("channels", channels)
    _check("signal_channel", signal_channel)
    known = {entry.name for entry in fields(SectionSettings)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ParameterError(
            f"unknown setting {', '.join(unknown)}; choose from "
            f"{', '.join(sorted(known))}"
        )
    return SectionSettings(shape=shape, **settings)


@contextmanager
def _written(paths: tuple[Path, Path, Path], truth: Truth) -> Iterator[list[Path]]:
    """Write the truth after the images; say where what could not be written.

    A file cut short would be taken for a raw image: all of them appear at the end.
    """
    try:
        with files.replace_files(paths) as parts:
            yield parts
            parts[2].write_text(json.dumps(truth.to_dict()) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(
            f"the simulated pair could not be written to {paths[0].parent} "
            f"({error}); choose a folder with room that can be written to"
        ) from error


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


def _coloured(
    image: NDArray[Any], channels: str | None, signal_channel: int
) -> NDArray[Any]:
    """Return a grey image as it is, or as one channel of an RGB image."""
    if channels is None:
        return image
    colour = np.zeros((*image.shape, 3), dtype=image.dtype)
    colour[..., signal_channel] = image
    return colour


def _plan_pair(settings: SectionSettings) -> tuple[camera.Camera, camera.Camera, Truth]:
    """Return how both photographs are taken, and the truth."""
    root = np.random.SeedSequence(int(settings.seed))
    # A stream of its own for each part, so that asking for one difficulty does
    # not change another.
    streams = [np.random.default_rng(child) for child in root.spawn(9)]
    scene_rng, microbe_rng, point_rng, light_rng, glow_rng, bend_rng = streams[:6]
    mineral_rng, seam_rng, dirt_rng = streams[6:]
    shape, transform = settings.shape, settings.transform
    pre_shape = settings.pre_shape or shape
    scene = build_scene(
        shape,
        scene_rng,
        frame_filling=settings.frame_filling,
        brightness=_DIM_BRIGHTNESS if settings.dim else 1.0,
        minerals=Minerals(settings.mineral_ratio, settings.mineral_stain, mineral_rng)
        if settings.mineral_ratio or settings.mineral_stain
        else None,
    )
    shapes = (shape, pre_shape)
    seams = [_tiles(settings, each, settings.seam_px, seam_rng) for each in shapes]
    tile_light = [
        _tiles(settings, each, settings.tile_light, seam_rng) for each in shapes
    ]
    bend = settings.deformation_px
    deformation = random_deformation(shape, bend, bend_rng) if bend else None
    spots = _place_microbes(settings, scene, microbe_rng)
    grey_level = _GREY_LEVEL[settings.dtype]
    table = spots.copy()
    table["brightness"] *= grey_level * settings.exposure
    table["flux"] *= grey_level * settings.exposure
    truth = Truth(
        matrix=np.array(transform.matrix),
        post_shape=shape,
        pre_shape=pre_shape,
        gain=float(settings.gain),
        offset=float(settings.offset) * grey_level,
        noise=float(settings.noise) * grey_level,
        grey_level=grey_level,
        microbes=table,
        points=np.empty((0, 2)),
        deformation=deformation,
        post_seams=seams[0],
        pre_seams=seams[1],
        # As JSON-ready built-in types.
        settings=json.loads(json.dumps(asdict(settings), default=lambda v: v.item())),
    )
    truth = replace(truth, points=_common_points(settings, scene, truth, point_rng))

    layers = dict.fromkeys(("post", "pre"), scene.layers)
    if settings.piece_missing is not None:
        layers[settings.piece_missing] += (scene.keep,)
    if scene.ratio is not None:
        layers["post"] += (scene.ratio,)
    hot = _hot_pixels(settings, dirt_rng)
    blur = settings.astigmatism, float(dirt_rng.uniform(0.0, math.pi))
    photograph = partial(
        camera.Camera,
        glass=scene.glass,
        noise=settings.noise,
        grey_level=grey_level,
        dtype=np.dtype(settings.dtype),
        astigmatism=blur,
        photons=settings.photons,
        exposure=settings.exposure,
        hot_pixels=hot,
    )
    uneven = partial(camera.uneven_light, strength=settings.uneven_light, rng=light_rng)
    post = photograph(
        shape=shape,
        to_scene=np.eye(3),
        layers=layers["post"],
        gain=settings.gain,
        offset=settings.offset,
        seed=(int(settings.seed), 1),
        light=uneven(shape),
        glow=camera.glow(shape, settings.glow, glow_rng),
        blur=settings.defocus if settings.defocus_image == "post" else 0.0,
        microbes=spots,
        seams=seams[0],
        tile_light=tile_light[0],
        specks=_dust(settings, shape, dirt_rng),
    )
    pre = photograph(
        shape=pre_shape,
        to_scene=np.array(transform.inverse().matrix),
        layers=layers["pre"],
        gain=1.0,
        offset=0.0,
        seed=(int(settings.seed), 2),
        deformation=deformation,
        light=uneven(pre_shape),
        blur=settings.defocus if settings.defocus_image == "pre" else 0.0,
        seams=seams[1],
        tile_light=tile_light[1],
        specks=_dust(settings, pre_shape, dirt_rng),
    )
    if settings.uneven_light or settings.tile_light or scene.ratio is not None:
        points = _common_points(settings, scene, truth, light_rng, _LIGHT_POINTS)
        if len(points):
            # Where the ratio post/pre differs from place to place, the true gain is
            # to be its median over the section.
            ratio = post.light_at(points) / pre.light_at(truth(points))
            if scene.ratio is not None:
                parts = np.array_split(points.T, 2, axis=1)  # OpenCV: 32767 in a row
                ratio *= np.hstack([scene.ratio.sample(*p[:, None])[0] for p in parts])
            post = replace(post, gain=post.gain / float(np.median(ratio)))
    return post, pre, truth


def _tiles(
    settings: SectionSettings,
    shape: tuple[int, int],
    peak: float,
    rng: np.random.Generator,
) -> Seams | None:
    """Return what differs by tile, up to `peak`; None for 0."""
    return random_seams(shape, settings.tile_px, peak, rng) if peak else None


def _hot_pixels(
    settings: SectionSettings, rng: np.random.Generator
) -> NDArray[np.float64] | None:
    """Return x, y and grey level (8 bits) of the camera's hot pixels; None for 0."""
    count = int(settings.hot_pixels)
    if not count:
        return None
    size = np.minimum(settings.shape, settings.pre_shape or settings.shape)
    places = np.floor(rng.uniform(0.0, 1.0, (count, 2)) * size[::-1])
    return np.column_stack([places, rng.uniform(120.0, 255.0, count)])


def _dust(
    settings: SectionSettings, shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float64] | None:
    """Return x, y, radius (px) and grey level (8 bits) of specks; None for 0."""
    count = int(settings.dust)
    if not count:
        return None
    places = rng.uniform(0.0, 1.0, (count, 2)) * shape[::-1]
    return np.column_stack(
        [places, rng.uniform(3.0, 12.0, count), rng.uniform(90.0, 250.0, count)]
    )


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
    table["flux"] = camera.microbe_flux(table["radius"], table["brightness"])
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
    for seams, places in ((truth.post_seams, tried), (truth.pre_seams, in_pre)):
        if seams is not None:
            fits &= seams.distance(places) > settings.seam_px + _CLEAR_OF_SEAM
    last = np.array(truth.pre_shape[::-1]) - 1
    fits &= ((in_pre >= 0) & (in_pre <= last)).all(axis=1)
    return tried[fits][:count]
