"""Displacement: how a section bends and where its tiles jump, beyond any matrix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

_MOST: Final = {"values": 2_000_000, "moves": 100_000}
_LONGEST_SIDE: Final = 32_000  # nodes; OpenCV takes no longer one
_DECIMALS: Final = 4  # of a move, px: what a file keeps
_TOLERANCE: Final = 1e-5  # px, of the way back
_ROUNDS: Final = 50
_AT_ONCE: Final = 1 << 20  # points
_COLUMNS: Final = 2048  # points that are looked up side by side

_Plane = NDArray[Any]


def _no_moves() -> NDArray[np.float32]:
    return np.zeros((1, 1, 2), np.float32)


def _no_cuts() -> NDArray[np.float64]:
    return np.zeros(0)


@dataclass(frozen=True, eq=False, repr=False)
class Displacement:
    """A map ``x -> x + u(x)`` that bends smoothly and jumps at seams.

    u(x) is a smooth part, bilinear between the nodes of a grid and constant beyond
    them, plus the move of the tile that x lies in.

    Parameters
    ----------
    origin : tuple of float
        (x, y) of the node ``values[0, 0]``, px of the grid's frame.
    spacing : float
        From one node to the next, px.
    values : array_like, shape (rows, columns, 2), float32
        Moves (dx, dy) at the nodes, px, kept to 0.0001 px. One node with (0, 0) where
        nothing bends.
    cuts_x, cuts_y : array_like, shape (n,), float64
        x, and y, of the seams in rising order, px: u jumps between ``x < cut`` and
        ``x >= cut``. May be empty.
    moves : array_like, shape (len(cuts_y) + 1, len(cuts_x) + 1, 2), float32
        Moves (dx, dy) of the tiles, px, kept to 0.0001 px.
    frame : array_like, shape (3, 3)
        Points are mapped by this matrix into the grid's frame, displaced there and
        mapped back.
    inverted : bool
        Whether points go back, to the y of ``y + u(y) = x``. A point in the gap that
        a seam tears open goes to the nearest edge of a tile.

    Raises
    ------
    ValueError
        If numbers are not finite, arrays do not fit each other, cuts are not in order,
        or there are more than 2,000,000 nodes or 100,000 tiles.

    Examples
    --------
    >>> two = Displacement(cuts_x=[100.0], moves=[[[0, 0], [1.5, -0.25]]])
    >>> two([[99.0, 7.0], [100.0, 7.0]]).tolist()
    [[99.0, 7.0], [101.5, 6.75]]
    >>> two.inverse()([[101.5, 6.75]]).tolist()
    [[100.0, 7.0]]
    """

    origin: tuple[float, float] = (0.0, 0.0)
    spacing: float = 1.0
    values: NDArray[np.float32] = field(default_factory=_no_moves)
    cuts_x: NDArray[np.float64] = field(default_factory=_no_cuts)
    cuts_y: NDArray[np.float64] = field(default_factory=_no_cuts)
    moves: NDArray[np.float32] = field(default_factory=_no_moves)
    frame: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    inverted: bool = False

    def __post_init__(self) -> None:
        x, y = map(float, self.origin)
        spacing = float(self.spacing)
        cuts = {name: _numbers(name, getattr(self, name)) for name in _CUTS}
        moves = {name: _moves(name, getattr(self, name)) for name in _MOVES}
        frame = np.array(self.frame, dtype=np.float64)
        tiles = len(cuts["cuts_y"]) + 1, len(cuts["cuts_x"]) + 1, 2
        if not (np.isfinite([x, y]).all() and 0 < spacing < np.inf):
            raise ValueError(
                "a displacement needs a finite origin and a spacing above 0"
            )
        if moves["moves"].shape != tiles:
            raise ValueError(
                f"{tiles[1] - 1} and {tiles[0] - 1} cuts need moves of the shape "
                f"{tiles}, found {moves['moves'].shape}"
            )
        if frame.shape != (3, 3) or not np.isfinite(frame).all() or frame[2, 2] == 0:
            raise ValueError("the frame of a displacement is a finite 3 x 3 matrix")
        frame = frame / frame[2, 2]
        if abs(np.linalg.det(frame)) < 1e-12:
            raise ValueError("the frame of a displacement must be invertible")
        arrays = {**cuts, **moves, "frame": frame}
        for array in arrays.values():
            array.flags.writeable = False
        plain = {"origin": (x, y), "spacing": spacing, "inverted": bool(self.inverted)}
        for name, value in (plain | arrays).items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Return sizes and the largest move in one line."""
        (rows, columns), (down, across) = self.values.shape[:2], self.moves.shape[:2]
        return (
            f"{type(self).__name__}({columns} x {rows} nodes every "
            f"{self.spacing:g} px, {across} x {down} tiles, up to {self.largest:.2f} px"
            f"{', inverted' if self.inverted else ''})"
        )

    def __eq__(self, other: object) -> bool:
        """Return whether all numbers are equal."""
        if not isinstance(other, Displacement):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        own = (getattr(self, entry.name) for entry in fields(self))
        # + 0.0 turns -0 into 0
        return tuple(
            (value.shape, (value + 0.0).tobytes())
            if isinstance(value, np.ndarray)
            else value
            for value in own
        )

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Displace points.

        Parameters
        ----------
        points : array_like, shape (N, 2)
            Points (x, y) in px.

        Returns
        -------
        ndarray, shape (N, 2), float64
            Where they are moved to, (x, y) in px.

        Raises
        ------
        ValueError
            If the points have another shape.
        """
        xy = as_points(points)
        if len(xy) > _AT_ONCE:
            parts = np.split(xy, range(_AT_ONCE, len(xy), _AT_ONCE))
            return np.concatenate([self(part) for part in parts])
        if len(xy) == 0:
            return xy.copy()
        x, y = xy.T
        dx, dy = self.shifts(x, y)
        return np.stack([x + dx, y + dy], axis=1)

    def shifts(self, x: _Plane, y: _Plane) -> tuple[_Plane, _Plane]:
        """Return how far points are moved, by coordinates.

        Parameters
        ----------
        x, y : ndarray, of one or two axes that broadcast, float64
            Points in px; of a window, its columns as a row and its rows as a column.

        Returns
        -------
        dx, dy : ndarray, the shape that `x` and `y` broadcast to
            Moves in px.
        """
        (a, b, _), (c, d, _), perspective = self.frame
        is_turned = bool(b or c)
        inside = _projected(self.frame, x, y)
        if self.inverted:
            ux, uy = self._shifts_back(*inside)
        else:
            ux, uy = self._u(*inside)
        if perspective[:2].any():
            back = np.linalg.inv(self.frame)
            to_x, to_y = _projected(back, inside[0] + ux, inside[1] + uy)
            return to_x - x, to_y - y
        if not is_turned:
            return (ux, uy) if a == d == 1 else (ux / a, uy / d)
        area = a * d - b * c
        return (d * ux - b * uy) / area, (a * uy - c * ux) / area

    def inverse(self) -> Displacement:
        """Return the displacement that takes points back.

        Returns
        -------
        Displacement
            To 0.0001 px where the map can be inverted.
        """
        return replace(self, inverted=not self.inverted)

    def conjugated(self, matrix: ArrayLike) -> Displacement:
        """Return the same displacement of points that a matrix maps to these ones.

        Parameters
        ----------
        matrix : array_like, shape (3, 3)
            From the new points to the present ones.

        Returns
        -------
        Displacement
            Applies `matrix`, this displacement and the inverse of `matrix`.
        """
        return replace(self, frame=self.frame @ np.asarray(matrix, dtype=np.float64))

    @cached_property
    def largest(self) -> float:
        """How far a point is moved at most, px of the grid's frame."""
        (rows, columns), largest = self.values.shape[:2], 0.0
        spans = []
        for cuts, start, side in (
            (self.cuts_y, self.origin[1], rows),
            (self.cuts_x, self.origin[0], columns),
        ):
            place = np.clip((cuts - start) / self.spacing, 0, side - 1)
            first = [0, *np.floor(place).astype(int).tolist()]
            last = [*np.ceil(place).astype(int).tolist(), side - 1]
            spans.append([slice(a, b + 1) for a, b in zip(first, last, strict=True)])
        for place_, tile in zip(
            itertools.product(*spans), self.moves.reshape(-1, 2), strict=True
        ):
            moved = self.values[place_].astype(np.float64) + tile
            largest = max(largest, float(np.hypot(*moved.reshape(-1, 2).T).max()))
        return largest

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Lowest x and y, highest x and y of nodes and cuts, px of the grid's frame."""
        low, high = [], []
        for start, side, cuts in (
            (self.origin[0], self.values.shape[1], self.cuts_x),
            (self.origin[1], self.values.shape[0], self.cuts_y),
        ):
            places = [start, start + self.spacing * (side - 1), *cuts.tolist()]
            low.append(min(places))
            high.append(max(places))
        return low[0], low[1], high[0], high[1]

    @cached_property
    def reach(self) -> float:
        """How far a point is moved at most, px of the points; about, in perspective."""
        if self.largest == 0:
            return 0.0
        back = np.linalg.inv(self.frame)
        if not self.frame[2, :2].any():
            return self.largest * stretch(back, [(0.0, 0.0)])
        x0, y0, x1, y1 = self.extent
        corners = list(itertools.product((x0, x1), (y0, y1)))
        return 1.25 * self.largest * stretch(back, corners)

    def to_dict(self) -> dict[str, Any]:
        """Return the displacement as JSON-ready built-in types.

        Returns
        -------
        dict
            The parameters by name, `unit` (px) and `order` (x, y).
        """
        stored: dict[str, Any] = {"unit": "px", "order": "x, y"}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in _MOVES:
                value = np.round(value.astype(np.float64), _DECIMALS) + 0.0
            stored[entry.name] = (
                value.tolist() if isinstance(value, np.ndarray) else value
            )
        return {**stored, "origin": list(self.origin)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Displacement:
        """Return the displacement that `to_dict` stored.

        Parameters
        ----------
        stored : mapping
            What `to_dict` returned, back from JSON.

        Returns
        -------
        Displacement
            Equal to the one that was stored.

        Raises
        ------
        ValueError
            If the numbers are not those of a displacement; a `KeyError`, `TypeError` or
            `OverflowError` if it is none at all.
        """
        return cls(**{entry.name: stored[entry.name] for entry in fields(cls)})

    # The grid's frame ------------------------------------------------------------

    def _u(self, x: _Plane, y: _Plane) -> tuple[_Plane, _Plane]:
        ux, uy = self._bent(x, y)
        if self.moves.shape[:2] == (1, 1):
            move = self.moves[0, 0]
        elif x.ndim == 2 and x.shape[0] == y.shape[1] == 1:  # a window
            row, column = self._tiles(x.ravel(), y.ravel())
            move = self.moves[row].take(column, axis=1)
        else:
            move = self.moves[self._tiles(x, y)]
        return ux + move[..., 0], uy + move[..., 1]

    def _tiles(self, x: _Plane, y: _Plane) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return row and column of the tiles that points lie in."""
        row = np.searchsorted(self.cuts_y, y, side="right")
        return row, np.searchsorted(self.cuts_x, x, side="right")

    def _bent(self, x: _Plane, y: _Plane) -> tuple[_Plane, _Plane]:
        """Return the smooth part of u."""
        rows, columns = self.values.shape[:2]
        if rows == columns == 1:
            return self.values[0, 0, :1], self.values[0, 0, 1:]
        spans, places = [], []
        for place, start, side in (
            (x, self.origin[0], columns),
            (y, self.origin[1], rows),
        ):
            nodes = np.clip((place - start) / self.spacing, 0, side - 1)
            # OpenCV counts in float32: from a node near the points it is exact.
            first = int(nodes.min())
            spans.append(slice(first, int(np.ceil(nodes.max())) + 1))
            places.append((nodes - first).astype(np.float32))
        grid = [np.ascontiguousarray(place) for place in np.broadcast_arrays(*places)]
        shape = grid[0].shape
        if len(shape) == 1:
            width = min(shape[0], _COLUMNS)
            padding = -shape[0] % width
            grid = [np.pad(one, (0, padding)).reshape(-1, width) for one in grid]
        near = self.values[spans[1], spans[0]]
        # With two channels at once OpenCV rounds the positions.
        bent = (
            cv2.remap(
                np.ascontiguousarray(near[..., axis]),
                grid[0],
                grid[1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for axis in (0, 1)
        )
        ux, uy = (one.ravel()[: math.prod(shape)].reshape(shape) for one in bent)
        return ux, uy

    def _shifts_back(self, x: _Plane, y: _Plane) -> tuple[_Plane, _Plane]:
        """Return y - x of the y with ``y + u(y) = x``, for points x."""
        x, y = np.broadcast_arrays(x, y)
        points = np.stack([x.ravel(), y.ravel()])
        found = points - self._u(*points)
        open_ = np.arange(x.size)
        for _ in range(_ROUNDS):
            # y -> x - u(y), which draws nearer where u changes slowly
            better = points[:, open_] - self._u(*found[:, open_])
            steps = np.abs(better - found[:, open_]).max(axis=0)
            found[:, open_] = better
            open_ = open_[steps > _TOLERANCE]
            if len(open_) == 0:
                break
        else:
            found[:, open_] = self._beside_seams(points[:, open_], found[:, open_])
        shift_x, shift_y = found - points
        return shift_x.reshape(x.shape), shift_y.reshape(x.shape)

    def _beside_seams(
        self, points: NDArray[np.float64], near: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return y for points (2, N) whose search jumps to and fro across a seam."""
        own_row, own_column = self._tiles(*near)
        found, off = near.copy(), np.full(near.shape[1], np.inf)
        edges_x = np.array([-np.inf, *self.cuts_x, np.inf])
        edges_y = np.array([-np.inf, *self.cuts_y, np.inf])
        for down, across in itertools.product((0, -1, 1), repeat=2):
            row = np.clip(own_row + down, 0, len(self.cuts_y))
            column = np.clip(own_column + across, 0, len(self.cuts_x))
            place = start = points - self.moves[row, column].T
            for _ in range(_ROUNDS):
                place = start - self._bent(*place)
            low = np.stack([edges_x[column], edges_y[row]])
            high = np.stack([edges_x[column + 1], edges_y[row + 1]])
            inside = np.clip(place, low, np.nextafter(high, -np.inf))
            distance = np.hypot(*(inside - place))
            is_nearer = distance < off
            found[:, is_nearer] = inside[:, is_nearer]
            off[is_nearer] = distance[is_nearer]
        return found


_CUTS: Final = ("cuts_x", "cuts_y")
_MOVES: Final = ("values", "moves")


def as_points(points: ArrayLike) -> NDArray[np.float64]:
    """Return points as an array (N, 2); a `ValueError` if they have another shape."""
    xy = np.asarray(points, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError(f"points must have the shape (N, 2), not {xy.shape}")
    return xy


def mapped(
    matrix: NDArray[np.floating[Any]], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return points (N, 2) mapped by a homogeneous 3 x 3 matrix."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    result: NDArray[np.float64] = moved[:, :2] / moved[:, 2:]
    return result


def _projected(
    matrix: NDArray[np.floating[Any]], x: _Plane, y: _Plane
) -> tuple[_Plane, _Plane]:
    """Return coordinates mapped by a homogeneous 3 x 3 matrix; open grids stay so."""
    (a, b, e), (c, d, f), (g, h, i) = matrix.tolist()
    if g or h:
        below = g * x + h * y + i
        return (a * x + b * y + e) / below, (c * x + d * y + f) / below
    if b or c:
        return a * x + b * y + e, c * x + d * y + f
    return a * x + e, d * y + f


def stretch(matrix: NDArray[np.floating[Any]], points: ArrayLike) -> float:
    """Return the largest magnification of a homogeneous matrix at points (N, 2)."""
    places = np.asarray(points, dtype=np.float64)
    below = places @ matrix[2, :2] + matrix[2, 2]
    # d(n / w) = (dn - (n / w) dw) / w
    slopes = matrix[:2, :2] - mapped(matrix, places)[:, :, None] * matrix[2, :2]
    slopes /= below[:, None, None]
    return float(np.linalg.norm(slopes, ord=2, axis=(1, 2)).max())


def _numbers(name: str, value: Any) -> NDArray[np.float64]:
    if len(value) > _LONGEST_SIDE:
        raise ValueError(f"{name} takes at most {_LONGEST_SIDE} numbers")
    cuts = np.array(value, dtype=np.float64)
    if cuts.ndim != 1 or not np.isfinite(cuts).all() or (np.diff(cuts) <= 0).any():
        raise ValueError(f"{name} takes finite numbers in rising order")
    return cuts


def _moves(name: str, value: Any) -> NDArray[np.float32]:
    rows = len(value)
    columns = len(value[0]) if rows else 0
    most = _MOST[name]
    if not 0 < rows * columns <= most or max(rows, columns) > _LONGEST_SIDE:
        raise ValueError(
            f"{name} has {rows} x {columns} moves (dx, dy); 1 to {most} are taken"
        )
    rounded = np.round(np.array(value, dtype=np.float64), _DECIMALS) + 0.0
    with np.errstate(over="ignore"):
        moves = rounded.astype(np.float32)
    if moves.shape != (rows, columns, 2) or not np.isfinite(moves).all():
        raise ValueError(
            f"{name} takes finite moves (dx, dy), shape (rows, columns, 2)"
        )
    return moves
