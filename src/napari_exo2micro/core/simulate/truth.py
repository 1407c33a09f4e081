"""What is true of a simulated pair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.base import ParameterError, RawDataError, files
from napari_exo2micro.core.images.transform import Transform, TransformLike

_KIND = "napari-exo2micro simulated truth"

#: Columns of the table of microbes, see `Truth`.
MICROBE_COLUMNS = ("x", "y", "radius", "brightness", "flux", "elongation", "angle_deg")
MICROBE_DTYPE = np.dtype([(name, np.float64) for name in MICROBE_COLUMNS])


@dataclass(frozen=True, eq=False)
class Deformation:
    """A smooth displacement: a sum of plane sine waves.

    Attributes
    ----------
    waves : ndarray, shape (N, 5), float64
        Each wave: amplitude along x and y (px), wave vector along x and y
        (radians per px) and phase (radians), in post-stain px.
    """

    waves: NDArray[np.float64]

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the displacement at points.

        Parameters
        ----------
        points : array_like, shape (..., 2)
            Points (x, y), raw px of the post-stain image.

        Returns
        -------
        ndarray, shape (..., 2), float64
            Displacement (dx, dy), px.
        """
        xy = np.asarray(points, dtype=np.float64)
        moved = np.zeros_like(xy)
        for ax, ay, kx, ky, phase in self.waves:
            wave = np.sin(kx * xy[..., 0] + ky * xy[..., 1] + phase)
            moved[..., 0] += ax * wave
            moved[..., 1] += ay * wave
        return moved

    def undo(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points p for which ``p + self(p)`` is the given point.

        Parameters
        ----------
        points : ndarray, shape (..., 2)
            Displaced points (x, y), px.

        Returns
        -------
        ndarray, shape (..., 2), float64
            Where they were before, px.
        """
        # The slope is a few percent, so each round gains more than a digit.
        original = points - self(points)
        for _ in range(5):
            original = points - self(original)
        return original


@dataclass(frozen=True, eq=False)
class Seams:
    """Tiles of a stitched image, each put a little beside its place.

    The first tile has its corner at ``origin``, those at the edge go on beyond it.

    Attributes
    ----------
    moves : ndarray, shape (rows, columns, 2), float64
        For each tile where its content should be, less where it is: (dx, dy), px.
    side : float
        Rows and columns of a tile, px.
    origin : tuple of float
        (x, y), px.
    """

    moves: NDArray[np.float64]
    side: float
    origin: tuple[float, float]

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the displacement (dx, dy), px, at points (x, y), shape (..., 2)."""
        tile = (np.asarray(points, dtype=np.float64) - self.origin) / self.side
        last = np.array(self.moves.shape[1::-1]) - 1
        column, row = np.moveaxis(np.clip(np.floor(tile), 0, last).astype(int), -1, 0)
        return np.asarray(self.moves[row, column], dtype=np.float64)

    def undo(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points p for which ``p + self(p)`` is the given point.

        Beside a seam there may be two or none: one close by is returned.
        """
        original = points - self(points)
        for _ in range(2):
            original = points - self(original)
        return original

    def distance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far points, shape (N, 2), are from the next seam, px."""
        tile = (points - self.origin) / self.side
        last = np.array(self.moves.shape[1::-1]) - 1
        seam = np.clip(np.rint(tile), 1, np.maximum(last, 1))
        away = np.where(last > 0, np.abs(tile - seam) * self.side, np.inf)
        return np.asarray(away.min(axis=1), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return the seams as JSON-ready built-in types."""
        return {
            "moves": self.moves.tolist(),
            "side": self.side,
            "origin": list(self.origin),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any] | None) -> Seams | None:
        """Return what `to_dict` gave; None for None."""
        if stored is None:
            return None
        x, y = map(float, stored["origin"])
        moves = np.array(stored["moves"], dtype=np.float64)
        return cls(moves.reshape(*moves.shape[:2], 2), float(stored["side"]), (x, y))


def random_seams(
    shape: tuple[int, int], side: int, peak: float, rng: np.random.Generator
) -> Seams:
    """Return tiles of `side` px, displaced by up to `peak` px in any direction."""
    x, y = rng.uniform(-0.5, 0.0, 2) * side
    rows = max(1, math.ceil((shape[0] - y) / side))
    columns = max(1, math.ceil((shape[1] - x) / side))
    heading = rng.uniform(0.0, 2.0 * math.pi, (rows, columns))
    length = peak * np.sqrt(rng.uniform(0.0, 1.0, (rows, columns)))
    length *= peak / length.max() if peak else 0.0
    moves = length[..., None] * np.stack([np.cos(heading), np.sin(heading)], -1)
    return Seams(np.round(moves, 4), float(side), (round(x, 2), round(y, 2)))


def random_deformation(
    shape: tuple[int, int], peak: float, rng: np.random.Generator
) -> Deformation:
    """Return five waves, each about as long as the image, of `peak` px at most."""
    waves = np.zeros((5, 5))
    side = max(shape)
    for wave in waves:
        heading, pull = rng.uniform(0.0, 2.0 * math.pi, 2)
        number = 2.0 * math.pi * rng.uniform(0.9, 2.0) / side
        strength = rng.uniform(0.6, 1.0)
        wave[:] = (
            strength * math.cos(pull),
            strength * math.sin(pull),
            number * math.cos(heading),
            number * math.sin(heading),
            rng.uniform(0.0, 2.0 * math.pi),
        )
    y, x = np.mgrid[0 : shape[0] : 64j, 0 : shape[1] : 64j]
    moved = Deformation(waves)(np.stack([x, y], -1))
    waves[:, :2] *= peak / np.hypot(moved[..., 0], moved[..., 1]).max()
    return Deformation(waves)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a simulated pair.

    Attributes
    ----------
    matrix : ndarray, shape (3, 3), float64
        From post-stain to pre-stain points (x, y), raw px of the two images.
    post_shape, pre_shape : tuple of int
        Rows and columns of the images.
    gain : float
        ``post = gain * pre(T) + offset + microbes``: the true scale.
    offset : float
        Grey levels of the image's own type.
    noise : float
        Standard deviation of the read noise, grey levels of the image's type.
    grey_level : float
        Grey levels of the image's type to one of an 8-bit image.
    microbes : ndarray, structured
        `x`, `y` (post-stain px), `radius` (half width at half maximum, px,
        geometric mean of both axes), `brightness` (peak, grey levels), `flux`
        (grey levels times px), `elongation` (long axis to short axis) and
        `angle_deg` (of the long axis, from x towards y).
    points : ndarray, shape (N, 2), float64
        Post-stain points on the section that both images show.
    deformation : Deformation or None
        Displacement of post-stain points that comes before the matrix.
    post_seams, pre_seams : Seams or None
        Where the tiles of either image should be.
    settings : mapping
        What the pair was asked to be.
    """

    matrix: NDArray[np.float64]
    post_shape: tuple[int, int]
    pre_shape: tuple[int, int]
    gain: float
    offset: float
    noise: float
    grey_level: float
    microbes: NDArray[np.void]
    points: NDArray[np.float64]
    deformation: Deformation | None = None
    post_seams: Seams | None = None
    pre_seams: Seams | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map post-stain points to pre-stain points, deformation and seams included.

        Parameters
        ----------
        points : array_like, shape (N, 2)
            Points (x, y), raw px of the post-stain image.

        Returns
        -------
        ndarray, shape (N, 2), float64
            Points (x, y), raw px of the pre-stain image.
        """
        xy = np.asarray(points, dtype=np.float64)
        if self.post_seams is not None:
            xy = xy + self.post_seams(xy)
        if self.deformation is not None:
            xy = xy + self.deformation(xy)
        in_pre = self.transform(xy)
        return in_pre if self.pre_seams is None else self.pre_seams.undo(in_pre)

    @property
    def transform(self) -> Transform:
        """The map from post-stain to pre-stain raw px, without displacements."""
        return Transform(self.matrix)

    def canvas_transform(self, pad: int) -> Transform:
        """Return the transform on the padded canvas, without deformation.

        Parameters
        ----------
        pad : int
            Where the first pixel of both images lies, (pad, pad), px.

        Returns
        -------
        Transform
            Post to pre, px of the canvas.
        """
        return self.transform.conjugated(scale=1.0, shift=(float(pad), float(pad)))

    def section_points(self, count: int | None = None) -> NDArray[np.float64]:
        """Return post-stain points on the section that both images show.

        Parameters
        ----------
        count : int, optional
            How many at most; all of them when not given.

        Returns
        -------
        ndarray, shape (N, 2), float64
            Points (x, y), raw px, spread evenly in no order.
        """
        return self.points[:count].copy()

    def to_dict(self) -> dict[str, Any]:
        """Return the truth as JSON-ready built-in types.

        Returns
        -------
        dict
            Every attribute under its name; arrays as nested lists.
        """
        bend, post, pre = self.deformation, self.post_seams, self.pre_seams
        return {
            "kind": _KIND,
            "version": 1,
            "matrix": self.matrix.tolist(),
            "post_shape": list(self.post_shape),
            "pre_shape": list(self.pre_shape),
            "gain": self.gain,
            "offset": self.offset,
            "noise": self.noise,
            "grey_level": self.grey_level,
            "microbes": {
                name: self.microbes[name].tolist() for name in MICROBE_COLUMNS
            },
            "points": self.points.tolist(),
            "deformation": None if bend is None else bend.waves.tolist(),
            "post_seams": None if post is None else post.to_dict(),
            "pre_seams": None if pre is None else pre.to_dict(),
            "settings": dict(self.settings),
        }


def read_truth(path: str | Path) -> Truth:
    """Read the truth that was written beside a simulated pair.

    Parameters
    ----------
    path : str or Path
        The file ``<sample>_<dye>_truth.json``.

    Returns
    -------
    Truth
        Transform, gain and microbes as they were simulated.

    Raises
    ------
    RawDataError
        If the file is not the truth of a simulated pair.
    """
    try:
        stored = files.read_json(path)
    except (OSError, ValueError) as error:
        raise RawDataError(
            f"{path} is not a truth file ({error}); choose the JSON file that was "
            "written beside a simulated pair"
        ) from error
    if not isinstance(stored, dict):
        raise RawDataError(f"{path} holds no truth; choose another file")
    kind = stored.get("kind")
    if kind != _KIND or stored.get("version") != 1:
        raise RawDataError(
            f"expected a '{_KIND}' of version 1, found kind {kind!r}; choose the file "
            "written beside the pair"
        )
    try:
        columns, waves = stored["microbes"], stored["deformation"]
        microbes = np.zeros(len(columns["x"]), dtype=MICROBE_DTYPE)
        for name in MICROBE_COLUMNS:
            microbes[name] = columns[name]
        post_rows, post_columns = map(int, stored["post_shape"])
        pre_rows, pre_columns = map(int, stored["pre_shape"])
        return Truth(
            matrix=np.array(stored["matrix"], dtype=np.float64),
            post_shape=(post_rows, post_columns),
            pre_shape=(pre_rows, pre_columns),
            gain=float(stored["gain"]),
            offset=float(stored["offset"]),
            noise=float(stored["noise"]),
            grey_level=float(stored["grey_level"]),
            microbes=microbes,
            points=np.array(stored["points"], dtype=np.float64).reshape(-1, 2),
            deformation=None if waves is None else Deformation(np.array(waves)),
            post_seams=Seams.from_dict(stored.get("post_seams")),
            pre_seams=Seams.from_dict(stored.get("pre_seams")),
            settings=dict(stored["settings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RawDataError(
            f"the stored truth is incomplete ({error}); simulate the pair again"
        ) from error


def registration_error(
    truth: Truth,
    estimated: TransformLike,
    pad: int = 0,
    *,
    points: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return how far an estimated transform is off, over the section.

    Parameters
    ----------
    truth : Truth
        What is known of the pair.
    estimated : Transform or array_like, shape (3, 3)
        From post-stain to pre-stain, px of the padded canvas.
    pad : int
        Where the first pixel of both images lies on that canvas; 0 for a
        transform between the raw images.
    points : array_like, shape (N, 2), optional
        Raw post-stain points (x, y); those of the truth when not given.

    Returns
    -------
    ndarray, shape (N,), float64
        Target registration error at each point, px of the pre-stain image.

    Raises
    ------
    ParameterError
        If there is no point to compare at.
    """
    xy = truth.points if points is None else np.asarray(points, dtype=np.float64)
    if len(xy) == 0:
        raise ParameterError(
            "a registration error needs at least one point on the section that both "
            "images show, found none; give points"
        )
    off = Transform.of(estimated)(xy + pad) - (truth(xy) + pad)
    return np.hypot(off[:, 0], off[:, 1])
