"""What is true of a simulated pair."""

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
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map post-stain points to pre-stain points, deformation included.

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
        if self.deformation is not None:
            xy = xy + self.deformation(xy)
        return self.transform(xy)

    @property
    def transform(self) -> Transform:
        """The map from post-stain to pre-stain raw px, without deformation."""
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
        bend = self.deformation
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
