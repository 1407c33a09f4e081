"""How well a registration is known at each place: its expected error, px."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.images import Frame
from napari_exo2micro.core.images.displacement import as_points

#: Nodes along the longer side of the section, and the least distance of two, px.
_NODES, _CLOSEST = 80, 32.0
_MOST_NODES: Final = 1_000_000
_DECIMALS: Final = 4
#: What cannot be told from an error of 0, px: the images' interpolation.
FLOOR: Final = 0.002
#: Tiles around a place whose residuals tell what the map misses there, and those around
#: each of them that it is compared with.
_AROUND, _OTHERS = 12, 4
#: How they are sought: in a circle, in an ellipse along y, in one along x; over how
#: many nodes (rows, columns) the largest counts, and how many standard errors it must
#: exceed. Along a line that was missed tiles err alike, across it the other way, and
#: those that lie on it tell the mean.
_SHAPES: Final = (
    ((1.0, 1.0), (1, 1), 1.0),
    ((3.0, 1.0), (1, 3), 1.5),
    ((1.0, 3.0), (3, 1), 1.5),
)


@dataclass(frozen=True, eq=False, slots=True)
class ErrorMap:
    """The expected error of a registration at each place of the post image.

    Bilinear between the nodes of a grid and constant beyond them.

    Parameters
    ----------
    origin : tuple of float
        (x, y) of the node ``values[0, 0]``, px of the padded canvas.
    spacing : float
        From one node to the next, px.
    values : array_like, shape (rows, columns), float32
        Root mean square distance of the true from the estimated position around each
        node, px of post; kept to 0.0001 px.

    Raises
    ------
    ValueError
        If numbers are not finite or negative, or there are no nodes or more than
        1,000,000.

    Examples
    --------
    >>> error = ErrorMap((0.0, 0.0), 100.0, [[0.1, 0.3]])
    >>> error([[50.0, 0.0], [900.0, 5.0]]).round(3).tolist()
    [0.2, 0.3]
    >>> ErrorMap.from_dict(error.to_dict()) == error
    True
    """

    origin: tuple[float, float]
    spacing: float
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        x, y = map(float, self.origin)
        spacing = float(self.spacing)
        values = np.round(np.array(self.values, dtype=np.float64), _DECIMALS)
        if not (np.isfinite([x, y]).all() and 0 < spacing < np.inf):
            raise ValueError("an error map needs a finite origin and a spacing above 0")
        if values.ndim != 2 or not 0 < values.size <= _MOST_NODES:
            raise ValueError(
                f"an error map takes values (rows, columns), 1 to {_MOST_NODES} of "
                f"them, found the shape {values.shape}"
            )
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("an error map takes finite values of 0 or more, px")
        kept = values.astype(np.float32)
        kept.flags.writeable = False
        for name, value in (("origin", (x, y)), ("spacing", spacing), ("values", kept)):
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        """Return whether all numbers are equal."""
        if not isinstance(other, ErrorMap):
            return NotImplemented
        return (
            self.origin == other.origin
            and self.spacing == other.spacing
            and np.array_equal(self.values, other.values)
        )

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash((self.origin, self.spacing, self.values.tobytes()))

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the expected error at points.

        Parameters
        ----------
        points : array_like, shape (N, 2)
            Points (x, y), px of the padded canvas.

        Returns
        -------
        ndarray, shape (N,), float64
            Root mean square error that is expected there, px of post.
        """
        xy = as_points(points)
        x, y = ((xy - self.origin) / self.spacing).T
        (left, right, along), (top, below, down) = (
            _between(at, side)
            for at, side in zip((x, y), self.values.shape[::-1], strict=True)
        )
        upper = (1 - along) * self.values[top, left] + along * self.values[top, right]
        lower = (1 - along) * self.values[below, left]
        lower += along * self.values[below, right]
        expected: NDArray[np.float64] = (1 - down) * upper + down * lower
        return expected

    def window(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.float32]:
        """Return the expected error at each pixel of a window.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            Rows and columns, the ends not included, px of the padded canvas.

        Returns
        -------
        ndarray, shape (y1 - y0, x1 - x0), float32
            In px of post.
        """
        values = self.values
        for first, last, start in ((y0, y1, self.origin[1]), (x0, x1, self.origin[0])):
            at = (np.arange(first, last, dtype=np.float64) - start) / self.spacing
            low, high, share = _between(at, len(values))
            part = share.astype(np.float32)[:, None]
            # the other axis next, and then back again
            values = ((1 - part) * values[low] + part * values[high]).T
        return np.ascontiguousarray(values)

    @property
    def median(self) -> float:
        """Median over the nodes, px of post."""
        return float(np.median(self.values))

    @property
    def p95(self) -> float:
        """95th percentile over the nodes, px of post."""
        return float(np.percentile(self.values, 95))

    def to_dict(self) -> dict[str, Any]:
        """Return the map as JSON-ready built-in types.

        Returns
        -------
        dict
            The parameters by name and `unit` (px).
        """
        values = np.round(self.values.astype(np.float64), _DECIMALS).tolist()
        return {
            "unit": "px",
            "origin": list(self.origin),
            "spacing": self.spacing,
            "values": values,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ErrorMap:
        """Return the map that `to_dict` stored.

        Parameters
        ----------
        stored : mapping
            What `to_dict` returned, back from JSON.

        Returns
        -------
        ErrorMap
            Equal to the one that was stored.

        Raises
        ------
        ValueError
            If the numbers are not those of an error map; a `KeyError` or `TypeError`
            if it is none at all.
        """
        x, y = stored["origin"]
        return cls((x, y), stored["spacing"], stored["values"])


def _between(
    at: FloatArray, side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    """Return the nodes before and behind places, and how far on the way they lie."""
    place = np.clip(at, 0.0, side - 1)
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, side - 1), place - low


def nodes_over(frame: Frame) -> tuple[FloatArray, float]:
    """Return the nodes of a map over x0, y0, width, height, (rows, columns, 2); px.

    And their distance.
    """
    x0, y0, width, height = frame
    spacing = max(max(width, height) / _NODES, _CLOSEST)
    columns, rows = (math.ceil(side / spacing) + 1 for side in (width, height))
    x, y = x0 + spacing * np.arange(columns), y0 + spacing * np.arange(rows)
    return np.stack(np.meshgrid(x, y), axis=-1), spacing


def expected_error(
    frame: Frame,
    variance: NDArray[np.float64],
    points: FloatArray,
    unseen: FloatArray,
    *,
    apart: float,
) -> ErrorMap:
    """Return what is expected from the noise of the tiles and what they share beyond.

    Parameters
    ----------
    frame : tuple of int
        x0, y0, width, height of post's data, px.
    variance : ndarray, shape (N,), float64
        Of the position at each of `nodes_over`, by the normal equations of the fit, px
        of post squared, both directions together.
    points : ndarray, shape (M, 2), float64
        Places (x, y) of the tiles, px.
    unseen : ndarray, shape (M, 2), float64
        What the fits without each tile's fold leave there, px.
    apart : float
        Tiles nearer than this share pixels and so noise, px.

    Notes
    -----
    The variance of a fit is that of Bayes: the penalty of a field is the inverse
    variance of what it holds down. Two tiles that share no pixel have noise of their
    own, so the mean product of their residuals is the square of what the map misses
    at both; it counts by what it exceeds its standard error. Beside a line that was
    missed only those along it tell: the largest of three such means is taken.
    """
    nodes, spacing = nodes_over(frame)
    squared = np.asarray(variance, np.float64)
    if len(points) >= _AROUND:
        missed = np.zeros(nodes.shape[:2])
        for stretch, across, least in _SHAPES:
            products = _shared(points, unseen, stretch, apart)
            tree = cKDTree(points * stretch)
            _, near = tree.query(nodes * stretch, k=_AROUND)
            around = products[near]
            doubt = around.std(axis=2) / np.sqrt(_AROUND / _OTHERS)
            shared = around.mean(axis=2) - least * doubt
            missed = np.maximum(missed, ndimage.maximum_filter(shared, across))
        squared = squared + missed.ravel()
    values = np.sqrt(squared + FLOOR**2)
    shape = nodes.shape[:2]
    return ErrorMap(
        tuple(nodes[0, 0].tolist()), spacing, values.reshape(shape).astype(np.float32)
    )


def _shared(
    points: FloatArray, unseen: FloatArray, stretch: tuple[float, float], apart: float
) -> FloatArray:
    """Return the product of the residuals of each tile and of those around, px squared.

    `stretch` is how much x and y count in who is near.
    """
    k = min(2 * _AROUND, len(points))
    _, near = cKDTree(points * stretch).query(points * stretch, k=k)
    away = np.linalg.norm(points[near] - points[:, None], axis=2)
    # of those that share no pixel the nearest
    order = np.argsort(away < apart, axis=1, kind="stable")[:, :_OTHERS]
    others = np.take_along_axis(near, order, axis=1)
    products: FloatArray = (unseen * np.median(unseen[others], axis=1)).sum(axis=1)
    return products
