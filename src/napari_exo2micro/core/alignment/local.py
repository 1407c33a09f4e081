"""What a plane map leaves: a smooth field of displacement, and jumps at seams.

Tiles are measured all over the section. A field of splines through them follows what
bends; where stitched tiles of either image lie beside their places it jumps. Either is
taken only when it predicts tiles that it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import cv2
import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial import cKDTree

from napari_exo2micro.core.alignment import error_map, fit, tiles
from napari_exo2micro.core.alignment.error_map import ErrorMap
from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.alignment.spots import Spots
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.displacement import Displacement
from napari_exo2micro.core.images.raster import Frame, ImageLike
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import warp_window

#: Control points along the longer side of the section: waves a quarter as long as it
#: are followed to a hundredth of their height.
_CONTROLS = 20
#: The same where lines are sought: they must not be bent away.
_FEW_CONTROLS = 6
#: Stiffness of the field, from stiff to soft, relative to the weight of the tiles.
_PENALTIES = 10.0 ** np.arange(2.0, -5.1, -1.0)
#: Nodes along the longer side of the grid that the field is kept on.
_NODES = 200
#: Error of a tile beyond its noise, px.
_TILE_FLOOR = 0.02
#: Residuals of unseen tiles count up to so many px.
_CLIP = 1.0
_TUKEY = 4.7
_REWEIGHTINGS = 5
#: The median length of a Gaussian vector, in units of its sigma.
_MEDIAN_LENGTH = 1.1774
#: Standard errors by which more freedom must predict unseen tiles better.
_SIGNIFICANCE = 2.0
#: Of the mean square that unseen tiles have about a plane map a field leaves less.
_LEFT = 0.5
#: Tiles of less weight in the robust fit do not count as agreeing.
_AGREE = 0.3
#: Fewer tiles than this prove no field.
_FEWEST = 60

#: Share of the flux of spots that a field may take at most.
MAX_FLUX_LOST = 0.01
#: Spots that are tried, and how often a field that takes more is made stiffer.
_SPOTS, _STIFFER = 200, 2

_SHAPE = tiles.TileShape(64, 16)
#: Distance of the tiles, px: from, to; and how many are usual, and the most.
_SPACING, _USUAL_TILES, _MOST_TILES = (42.0, 90.0), 1500, 12_000
#: Tiles on which the bands are tried.
_PROBES = 64
#: Inverse variance of the move of a stitched tile, 1/px squared.
_PRIOR = 0.25
#: Reach of a comparison across a line, in distances of tiles, and steps in it.
_REACH, _STEPS = 1.35, 24
#: How much stronger than usual a jump is that makes a line a candidate.
_LINE_HEIGHT = 3.0
#: By how much lines must do better than the information criterion asks: tiles overlap,
#: and so are no measurements of their own.
_STERN = 4.0
#: The same for lines that complete a grid on which others lie.
_LESS_STERN = 1.0
#: Least side of the tiles that a microscope stitches, px, and how far from the even
#: spacing of a grid its lines may be found.
_LEAST_SIDE, _UNEVEN = 250.0, 10.0
#: Lines nearer than this, px, are one.
_MERGE = 25.0
#: What a line must explain in a window, px of noise, and of what the best one does.
_WORTH, _WORTH_SHARE = 40.0, 0.08
#: How often lines are sought in what the known ones leave.
_ROUNDS = 3
#: Windows along a line: their length, px, and number.
_WINDOW, _WINDOWS = 80, 40
#: Px along which the costs beside a line are alike, and the mean distance of a least
#: sum from the true one, in squares of noise over drift.
_SHARED, _HINKLEY = 8, 0.75
#: How far from a candidate its place is sought, round by round, px.
_PLACES = (60, 30)


class SplineBasis:
    """Cubic B-splines over a frame, and the penalty on what bends."""

    def __init__(self, frame: Frame, controls: int = _CONTROLS) -> None:
        x0, y0, width, height = frame
        self._start = np.array([x0, y0], dtype=np.float64)
        self.step = max(width, height) / controls
        self._cells = [
            max(2, int(np.ceil(side / self.step))) for side in (width, height)
        ]
        self._knots = [np.arange(-3.0, cells + 4.0) for cells in self._cells]
        self.size = int(np.prod([cells + 3 for cells in self._cells]))

    def design(self, points: FloatArray) -> sp.csr_array:
        """Return the value of each spline at points (x, y), shape (N, size)."""
        at = (points - self._start) / self.step
        x, y = (
            BSpline.design_matrix(
                np.clip(at[:, axis], 0.0, self._cells[axis]), self._knots[axis], 3
            ).tocsr()
            for axis in (0, 1)
        )
        count = len(points)
        # Row by row the outer product of the four splines along y and along x.
        columns = y.indices.reshape(count, 4, 1) * (self._cells[0] + 3)
        columns = columns + x.indices.reshape(count, 1, 4)
        values = y.data.reshape(count, 4, 1) * x.data.reshape(count, 1, 4)
        rows = np.repeat(np.arange(count), 16)
        return sp.csr_array(
            (values.ravel(), (rows, columns.ravel())), shape=(count, self.size)
        )

    def penalty(self) -> FloatArray:
        """Return the bending energy as a quadratic form, shape (size, size)."""
        first, second, one = [], [], []
        for cells in self._cells:
            eye = np.eye(cells + 3)
            d1, d2 = np.diff(eye, axis=0), np.diff(eye, n=2, axis=0)
            first.append(d1.T @ d1)
            second.append(d2.T @ d2)
            one.append(eye)
        energy: FloatArray = (
            np.kron(one[1], second[0])
            + np.kron(second[1], one[0])
            + 2.0 * np.kron(first[1], first[0])
        )
        return energy


@dataclass(frozen=True, slots=True)
class FieldFit:
    """A field of displacement through the tiles of a pair, px of post.

    A smooth part plus, where `seams` are given, a move of each tile of the stitching.
    `unseen` are the residuals of tiles that fits to the other folds leave, `costs`
    their mean squares, block by block; `folds` the coefficients without each fold;
    `inverse` that of the normal matrix, `excess` by how much tiles scatter more than
    their variance tells.
    """

    basis: SplineBasis
    points: FloatArray
    seams: Seams | None
    coefficients: FloatArray
    weights: FloatArray
    unseen: FloatArray
    costs: FloatArray
    penalty: float
    folds: tuple[FloatArray, ...]
    inverse: FloatArray
    excess: float

    def smooth(self, points: FloatArray) -> FloatArray:
        """Return the smooth part at points (x, y) of post, shape (N, 2), px.

        Far from all tiles it stays as it is on the way to the nearest.
        """
        away, near = cKDTree(self.points).query(points)
        share = np.minimum(1.0, self.basis.step / np.maximum(away, 1e-9))[:, None]
        points = self.points[near] + share * (points - self.points[near])
        coefficients = self.coefficients[: self.basis.size]
        moved: FloatArray = self.basis.design(points) @ coefficients
        return moved

    def design(
        self, post: FloatArray, pre: FloatArray, width: float = 0.0
    ) -> sp.csr_array:
        """Return what the coefficients are multiplied with at places in both, px.

        A place is a square of `width` px, which may lie across a line.
        """
        design = self.basis.design(post)
        if self.seams is None:
            return design
        return sp.hstack([design, self.seams.design(post, pre, width)]).tocsr()

    def over_tiles(self, measured: Measured) -> Measured:
        """Return tiles measured from this field as what their whole squares tell.

        Where one lies across a line, what is left there is a mean of both sides, and
        so must be what it is added to.
        """
        places = measured.post, measured.pre
        whole = self.design(*places, _SHAPE.core) - self.design(*places)
        return replace(measured, moves=measured.moves + whole @ self.coefficients)

    def variance(self, post: FloatArray, pre: FloatArray) -> FloatArray:
        """Return the variance of moves, px squared, both directions together."""
        design = self.design(post, pre)
        spread = design.multiply(design @ self.inverse).sum(axis=1)
        # Tiles overlap and share noise, so that they scatter less about the field than
        # their noise: this is not taken for precision.
        return 2.0 * max(self.excess, 1.0) * np.asarray(spread, np.float64).ravel()

    def pulled(self, measured: Measured, changes: FloatArray) -> FieldFit:
        """Return the field where the moves of its tiles are changed, px of post.

        The weights stay: changes that robust weights would hold off count in full.
        """
        design = self.design(measured.post, measured.pre, _SHAPE.core)
        weights = self.weights / measured.variance
        right = design.T @ (weights[:, None] * changes)
        return replace(self, coefficients=self.coefficients + self.inverse @ right)

    def moves(self, side: int) -> FloatArray:
        """Return the moves of the tiles of post (0) or pre (1), (rows, columns, 2)."""
        assert self.seams is not None
        start = self.basis.size
        if side:
            start += self.seams.counts[0]
        part = self.coefficients[start : start + self.seams.counts[side]]
        return part.reshape(*self.seams.shapes[side], 2)


_NO_LINE: FloatArray = np.zeros(0)
_NO_DOUBT: tuple[FloatArray, ...] = (_NO_LINE,) * 4


@dataclass(frozen=True, slots=True)
class Seams:
    """Cuts of stitched images: x and y of post, then of pre, px, in rising order."""

    lines: tuple[FloatArray, ...] = (_NO_LINE, _NO_LINE, _NO_LINE, _NO_LINE)

    @property
    def number(self) -> int:
        """How many lines there are."""
        return sum(map(len, self.lines))

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of the tiles of post and of pre."""
        n = [len(line) + 1 for line in self.lines]
        return [(n[1], n[0]), (n[3], n[2])]

    @property
    def counts(self) -> list[int]:
        """How many tiles post and pre have."""
        return [rows * columns for rows, columns in self.shapes]

    def across(self, k: int, n: int) -> NDArray[np.intp]:
        """Return the numbers of the tiles before and after a line, shape (N, 2)."""
        side = k // 2
        rows, columns = self.shapes[side]
        number = np.arange(rows * columns).reshape(rows, columns)
        number += side * self.counts[0]
        if k % 2 == 0:
            return np.column_stack([number[:, n], number[:, n + 1]])
        return np.column_stack([number[n], number[n + 1]])

    def joined(self, others: Seams) -> Seams:
        """Return these lines and those of others that do not lie beside one of them."""
        lines = []
        for known, found in zip(self.lines, others.lines, strict=True):
            apart = np.abs(found[:, None] - known[None, :]).min(axis=1, initial=np.inf)
            lines.append(np.sort(np.concatenate([known, found[apart > _MERGE]])))
        return Seams(tuple(lines))

    def completed(self, measured: Measured) -> Seams:
        """Return these lines with those between and beyond that complete their grids.

        A microscope moves on by the same step in both directions: lines are evenly
        spaced, in one image as in the other, from a start of their own.
        """
        own, other = self.lines[:2], self.lines[2:]
        sides = [_grid_side(own, other), _grid_side(other, own)]
        lines = []
        for k, line in enumerate(self.lines):
            side = sides[k // 2]
            if side is None or len(line) == 0:
                lines.append(line)
                continue
            start, _ = _grid_start(line, side)
            places = (measured.pre if k // 2 else measured.post)[:, k % 2]
            # to the outermost tiles: one that lies beyond a line tells its move
            first = np.ceil((places.min() - start) / side)
            last = np.floor((places.max() - start) / side)
            lines.append(start + side * np.arange(first, last + 1.0))
        return self.joined(Seams(tuple(lines)))

    @property
    def is_whole(self) -> bool:
        """Whether each axis of each image has lines, and all lie on even grids.

        Two gaps have to agree: one, or a line alone, always lies on some grid.
        """
        own, other = self.lines[:2], self.lines[2:]
        sides = (_grid_side(own, other), _grid_side(other, own))
        return self.number >= len(self.lines) + 2 and all(
            len(line) > 0
            and side is not None
            and bool(_grid_start(line, side)[1].all())
            for lines, side in zip((own, other), sides, strict=True)
            for line in lines
        )

    def without(self, k: int, n: int) -> Seams:
        """Return the seams but for one line."""
        lines = list(self.lines)
        lines[k] = np.delete(lines[k], n)
        return Seams(tuple(lines))

    def design(
        self, post: FloatArray, pre: FloatArray, width: float = 0.0
    ) -> sp.csr_array:
        """Return how much of each place lies in which tiles of post and of pre.

        Shape (N, tiles of post and pre); a place is a square of `width` px.
        """
        columns, shares = [], []
        start = 0
        for side, points in enumerate((post, pre)):
            x, y = (
                _shared(self.lines[2 * side + axis], points[:, axis], width)
                for axis in (0, 1)
            )
            for row, high in y:
                for column, wide in x:
                    columns.append(start + row * self.shapes[side][1] + column)
                    shares.append(high * wide)
            start += self.counts[side]
        rows = np.tile(np.arange(len(post)), len(columns))
        # entries of the same place and tile add up
        return sp.coo_array(
            (np.concatenate(shares), (rows, np.concatenate(columns))),
            shape=(len(post), sum(self.counts)),
        ).tocsr()


def _shared(
    lines: FloatArray, places: FloatArray, width: float
) -> list[tuple[NDArray[np.intp], FloatArray]]:
    """Return the tiles that the ends of places along an axis lie in, and their shares.

    `places` are the middles of pieces of `width` px.
    """
    first = np.searchsorted(lines, places - width / 2, "right")
    if width == 0.0 or len(lines) == 0:
        return [(first, np.ones(len(places)))]
    last = np.searchsorted(lines, places + width / 2, "right")
    line = lines[np.minimum(first, len(lines) - 1)]
    before = np.where(first < last, (line - places) / width + 0.5, 1.0)
    return [(first, before), (last, 1.0 - before)]


def _grid_start(lines: FloatArray, side: float) -> tuple[float, NDArray[np.bool_]]:
    """Return where an even grid starts that most lines lie on, and which those are."""
    away = lines[None, :] - lines[:, None]
    away -= side * np.rint(away / side)
    near = np.abs(away) < _UNEVEN
    best = int(np.argmax(near.sum(axis=1)))
    on = near[best]
    return float(lines[best] + away[best, on].mean()), on


def _grid_side(
    own: tuple[FloatArray, ...], other: tuple[FloatArray, ...]
) -> float | None:
    """Return the side of the tiles of an image, px; None where no two lines tell.

    Of the sides that most lines of both images agree with it is the longest: a wrong
    line makes a side of its own with any other, which no third one shares.
    """

    def agreeing(lines: tuple[FloatArray, ...], side: float) -> int:
        ons = (_grid_start(line, side)[1].sum() for line in lines if len(line))
        return sum(int(on) - 1 for on in ons)

    tried = []
    for line in (*own, *other):
        for gap in (line[None, :] - line[:, None])[np.triu_indices(len(line), 1)]:
            for parts in range(1, int(min(3, gap // _LEAST_SIDE)) + 1):
                side = float(gap) / parts
                tried.append((agreeing((*own, *other), side), side))
    if not tried:
        return None
    side, above, below = max(tried)[1], 0.0, 0.0
    for line in own:
        if len(line):
            on = line[_grid_start(line, side)[1]]
            number = np.rint((on - on[0]) / side)
            number -= number.mean()
            above += float(number @ on)
            below += float(number @ number)
    return above / below if below else side


@dataclass(frozen=True, slots=True)
class Measured:
    """Displacements of tiles: places on post and where they lie in pre, px.

    `moves` are px of post; `variance` is that of a component, px squared.
    """

    post: FloatArray
    pre: FloatArray
    moves: FloatArray
    variance: FloatArray

    def along(self, k: int) -> tuple[float, float]:
        """Return how far the tiles reach along a line: from, to, px."""
        places = (self.pre if k // 2 else self.post)[:, 1 - k % 2]
        return float(places.min()), float(places.max())


def fit_field(
    measured: Measured,
    frame: Frame,
    seams: Seams | None = None,
    monitor: Monitor | None = None,
    softest: float = 0.0,
) -> FieldFit:
    """Fit a field to the displacements of tiles; its stiffness by cross-validation.

    It is not below `softest`.

    Notes
    -----
    Penalised B-splines (Eilers and Marx 1996, doi:10.1214/ss/1038425655) with robust
    weights. The stiffest field is taken whose error on unseen blocks of tiles is within
    a standard error of the least.
    """
    monitor = monitor or Monitor()
    basis = SplineBasis(frame)
    points, moves, variance = measured.post, measured.moves, measured.variance
    design, bend = basis.design(points), basis.penalty()
    ridge = np.zeros(basis.size)
    if seams is not None:
        shares = seams.design(points, measured.pre, _SHAPE.core)
        design = sp.hstack([design, shares]).tocsr()
        total = design.shape[1]
        bend = np.pad(bend, (0, total - basis.size))
        ridge = np.pad(ridge, (0, total - basis.size), constant_values=_PRIOR)
    precision = 1.0 / variance
    folds = fit.spatial_folds(points)

    def normal(
        rows: NDArray[np.bool_] | slice, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        part = design[rows]
        scaled = part.multiply(weights[rows][:, None]).tocsr()
        return (part.T @ scaled).toarray(), scaled.T @ moves[rows]

    def held(matrix: FloatArray, penalty: float) -> FloatArray:
        diagonal = np.diag_indices(basis.size)
        result: FloatArray = matrix + penalty * matrix[diagonal].mean() * bend
        result[np.diag_indices_from(result)] += ridge + 1e-9 * result[diagonal].mean()
        return result

    def solve(matrix: FloatArray, right: FloatArray, penalty: float) -> FloatArray:
        coefficients: FloatArray = scipy.linalg.solve(
            held(matrix, penalty), right, assume_a="pos", check_finite=False
        )
        return coefficients

    def robust(weights: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
        for _ in range(_REWEIGHTINGS):
            coefficients = solve(*normal(slice(None), precision * weights), penalty)
            length = np.linalg.norm(moves - design @ coefficients, axis=1)
            length = length / np.sqrt(variance)
            sigma = max(float(np.median(length)) / _MEDIAN_LENGTH, 1e-9)
            reach = _TUKEY * 1.25 * sigma
            weights = np.clip(1.0 - (length / reach) ** 2, 0.0, None) ** 2
        return coefficients, weights

    # Which tiles are wild does not depend much on the stiffness.
    _, weights = robust(np.ones(len(points)), 1e-3)
    whole = normal(slice(None), precision * weights)
    parts = [
        (folds == fold, normal(folds == fold, precision * weights))
        for fold in np.unique(folds)
    ]
    tried = []
    for penalty in _PENALTIES[min(softest, _PENALTIES[0]) <= _PENALTIES]:
        monitor.check()
        unseen, fitted = np.empty_like(moves), []
        for rows, (matrix, right) in parts:
            coefficients = solve(whole[0] - matrix, whole[1] - right, penalty)
            unseen[rows] = moves[rows] - design[rows] @ coefficients
            fitted.append(coefficients)
        tried.append((penalty, block_costs(measured, unseen), unseen, fitted))
    best = min(tried, key=lambda each: float(each[1].mean()))
    for chosen in tried:  # from the stiffest
        worse = chosen[1] - best[1]
        if worse.mean() <= worse.std() / np.sqrt(len(worse)):
            break
    penalty, costs, unseen, fitted = chosen
    coefficients, weights = robust(weights, penalty)
    inverse = scipy.linalg.inv(
        held(normal(slice(None), precision * weights)[0], penalty), check_finite=False
    )
    spread = ((moves - design @ coefficients) ** 2).sum(axis=1) / variance
    excess = float(np.median(spread[weights > 0.0])) / _MEDIAN_LENGTH**2
    return FieldFit(
        basis,
        points,
        seams,
        coefficients,
        weights,
        unseen,
        costs,
        penalty,
        tuple(fitted),
        inverse,
        excess,
    )


def block_costs(measured: Measured, residuals: FloatArray) -> FloatArray:
    """Return the mean squared residual of each block of tiles, px squared, clipped.

    Each tile counts by its own noise; `_CLIP` px of the median one is the most.
    """
    relative = measured.variance / np.median(measured.variance)
    squared = (residuals**2).sum(axis=1) / relative
    clipped = np.minimum(squared, _CLIP**2)
    blocks = _blocks(measured.post)
    costs: FloatArray = np.bincount(blocks, clipped) / np.bincount(blocks)
    return costs


def gain(before: FloatArray, after: FloatArray) -> float:
    """Return by how many standard errors unseen tiles are predicted better."""
    saved = before - after
    return float(saved.mean() / max(saved.std() / np.sqrt(len(saved)), 1e-12))


def find_lines(measured: Measured, spacing: float) -> Seams:
    """Find the lines along the axes of either image across which tiles jump.

    Where neighbours differ they are candidates, in both images alike; `spacing` is the
    distance of tiles, px.
    """
    moves, reach = measured.moves, _REACH * spacing
    noise = _scatter(measured.post, moves)
    lines = [
        _jump_lines(places, axis, moves, noise, reach)
        for places in (measured.post, measured.pre)
        for axis in (0, 1)
    ]
    return Seams(tuple(lines))


#: Gives the transforms before and behind a line at a place of it, px of its image; None
#: where they are not known.
Sides = Callable[[FloatArray], tuple[Transform, Transform] | None]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A line along which two moves meet: its place and what it explains a window.

    `doubt` is how far it may lie beside its place, px.
    """

    k: int
    at: float
    worth: float
    doubt: float


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both images, with the map of a point of post to where it lies in pre."""

    post: ImageLike
    pre: ImageLike
    plane: Transform

    def place(
        self,
        k: int,
        line: float,
        along: tuple[float, float],
        reach: int,
        sides: Sides,
        to_pre: Transform,
        *,
        is_free: bool = True,
    ) -> _Cut | None:
        """Return where a line lies best within `reach` px; None where nothing tells.

        In windows along it post is compared with pre, moved as it is before the line
        and as it is behind. The line lies where the one becomes better than the other:
        a straight line along the axes of that image which was stitched there, which may
        be the other one (`is_free`).
        """
        side, axis = divmod(k, 2)
        back = self.plane.inverse()
        count = int(np.clip((along[1] - along[0]) / _WINDOW, 1, _WINDOWS))
        stops = np.linspace(*along, 2 * count + 1)[1::2]
        half = [_WINDOW // 2, _WINDOW // 2]
        half[axis] += reach
        rows, columns = self.post.shape[:2]
        posts, pres, costs = [], [], []
        for stop in stops:
            centre = np.array([[line, stop] if axis == 0 else [stop, line]])
            maps = sides(centre[0])
            x, y = np.rint((back(centre) if side else centre)[0]).astype(int)
            x0, x1 = max(x - half[0], 0), min(x + half[0], columns)
            y0, y1 = max(y - half[1], 0), min(y + half[1], rows)
            if maps is None or x1 - x0 < half[0] or y1 - y0 < half[1]:
                continue
            cost = self._costs(maps, (y0, y1, x0, x1))
            if cost is None:
                continue
            grid = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), axis=-1)
            points = grid.reshape(-1, 2).astype(np.float64)
            posts.append(points)
            pres.append(to_pre(points))
            costs.append(cost.ravel())
        if len(costs) < 2:
            return None
        places, cost = (
            (np.concatenate(posts), np.concatenate(pres)),
            np.concatenate(costs),
        )
        middle = float(np.mean(along))
        point = np.array([[line, middle] if axis == 0 else [middle, line]])
        post = (back(point) if side else point)[0]
        # Rows: x and y of pre; columns: a step along x and along y of post.
        turn = (self.plane(post + np.eye(2)) - self.plane(post[None])).T
        along_other = turn[:, axis] if side == 0 else turn[axis]
        other = int(np.argmax(np.abs(along_other)))
        # What is before a line may be behind it in an image that is turned over.
        same = float(np.sign(along_other[other]))
        lines = [(side, axis, 1.0), (1 - side, other, same)]
        cuts = []
        for image, coordinate, sign in lines if is_free else lines[:1]:
            bins = np.floor(places[image][:, coordinate]).astype(int)
            profile: FloatArray = np.bincount(bins - bins.min(), sign * cost).astype(
                float
            )
            total = np.concatenate([[0.0], np.cumsum(profile)])
            best = int(np.argmin(total))
            worth = (min(0.0, float(total[-1])) - float(total[best])) / len(costs)
            doubt = _doubt(profile, best)
            cuts.append(
                _Cut(2 * image + coordinate, float(bins.min() + best), worth, doubt)
            )
        return max(cuts, key=lambda cut: cut.worth)

    def _costs(
        self, maps: tuple[Transform, Transform], window: tuple[int, int, int, int]
    ) -> FloatArray | None:
        """Return by how much the second of two maps is better, px by px."""
        y0, y1, x0, x1 = window
        fixed = _detail(np.asarray(self.post[y0:y1, x0:x1], np.float32))
        moving = [
            _detail(warp_window(self.pre, each, *window).astype(np.float32))
            for each in maps
        ]
        power = [float((each * each).sum()) for each in moving]
        if min(power) <= 0.0:
            return None
        gain = max(
            float((fixed * each).sum()) / p
            for each, p in zip(moving, power, strict=True)
        )
        squares = [(fixed - gain * each) ** 2 for each in moving]
        most = 10.0 * float(np.median(np.minimum(*squares))) + 1e-9
        first, second = (np.minimum(each, most) / most for each in squares)
        result: FloatArray = (first - second).astype(np.float64)
        return result


def _doubt(profile: FloatArray, best: int) -> float:
    """Return how far the least sum of a profile may lie from the true one, px.

    Notes
    -----
    On either side the sum is a random walk with a drift; its minimum lies beside the
    true one by the square of noise over drift where the drift is weak, by less where it
    is clear (D. V. Hinkley 1970, doi:10.1093/biomet/57.1.1).
    """
    before, behind = -profile[:best], profile[best:]
    drift = (before.sum() + behind.sum()) / max(len(profile), 1)
    steps = np.concatenate([before, behind]) - drift
    # Neighbours share the filter's reach.
    noise = np.add.reduceat(steps, np.arange(0, len(steps), _SHARED)).var() / _SHARED
    walk = float(_HINKLEY * noise / max(drift, 1e-9) ** 2)
    return min(walk, 0.5 * walk**2, 30.0)


def _detail(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the structures between two sigmas, NaN filled in."""
    window = np.nan_to_num(window)  # a copy: the image may be a file
    fine, coarse = (cv2.GaussianBlur(window, (0, 0), sigma) for sigma in (1.0, 8.0))
    result: NDArray[np.float32] = fine - coarse
    return result


class _Beside:
    """The transforms on either side of a place, by the tiles that lie there."""

    def __init__(
        self, transform: Transform, measured: Measured, spacing: float
    ) -> None:
        self.transform, self.moves = transform, measured.moves
        self.near = 2.8 * spacing
        self.points = (measured.post, measured.pre)
        self.trees = [cKDTree(points) for points in self.points]

    def __call__(self, place: FloatArray, k: int) -> tuple[Transform, Transform] | None:
        """Return the transform moved as tiles before and behind a line are."""
        side, axis = divmod(k, 2)
        found = self.trees[side].query_ball_point(place, self.near)
        near = np.asarray(found, dtype=int)
        away = self.points[side][near] - place
        moved = []
        for sign in (-1.0, 1.0):
            beside = sign * away[:, axis] > 0.6 * _SHAPE.core
            if np.count_nonzero(beside) < 2:
                return None
            order = np.argsort(np.linalg.norm(away[beside], axis=1))[:5]
            x, y = np.median(self.moves[near[beside][order]], axis=0)
            shift = Transform.similarity(translation=(float(x), float(y)))
            moved.append(self.transform @ shift)
        return moved[0], moved[1]


def _best_of(cuts: list[_Cut]) -> Seams:
    """Return the lines that explain most, none beside another one."""
    lines: list[list[float]] = [[], [], [], []]
    least = max(_WORTH, _WORTH_SHARE * max((cut.worth for cut in cuts), default=0.0))
    for cut in sorted(cuts, key=lambda cut: -cut.worth):
        near = (abs(cut.at - other) <= _MERGE for other in lines[cut.k])
        if cut.worth > least and not any(near):
            lines[cut.k].append(cut.at)
    return Seams(tuple(np.sort(np.array(line)) for line in lines))


def prune(
    measured: Measured,
    seams: Seams,
    frame: Frame,
    monitor: Monitor,
    sure: Seams | None = None,
) -> Seams:
    """Leave out lines that the others make superfluous, the weakest first.

    Where `sure` lines are given, others beside them complete their grids, and so need
    to prove less.

    Notes
    -----
    Wald's test of the jumps across a line against zero, with all other moves free;
    a line stays when it lowers the Bayesian information criterion.
    """
    basis = SplineBasis(frame, _FEW_CONTROLS)
    smooth, bend = basis.design(measured.post), basis.penalty()
    weights = 1.0 / measured.variance
    count = len(weights)
    first = True
    while seams.number:
        monitor.check()
        shares = seams.design(measured.post, measured.pre, _SHAPE.core)
        design = sp.hstack([smooth, shares]).tocsr()
        ridge = np.full(design.shape[1], _PRIOR)
        ridge[: basis.size] = 1e-6 * weights.mean()
        for _ in range(_REWEIGHTINGS if first else 1):
            scaled = design.multiply(weights[:, None]).tocsr()
            matrix = (design.T @ scaled).toarray()
            matrix[: basis.size, : basis.size] += 1e-3 * weights.mean() * bend
            matrix[np.diag_indices_from(matrix)] += ridge
            inverse = scipy.linalg.inv(matrix, check_finite=False)
            moves = inverse @ (scaled.T @ measured.moves)
            length = np.linalg.norm(measured.moves - design @ moves, axis=1)
            length = length / np.sqrt(measured.variance)
            sigma = max(float(np.median(length)) / _MEDIAN_LENGTH, 1e-9)
            if first:
                reach = _TUKEY * 1.25 * sigma
                robust = np.clip(1.0 - (length / reach) ** 2, 0.0, None) ** 2
                weights = np.maximum(robust, 1e-3) / measured.variance
        first = False
        worth = []
        for k in range(4):
            for n in range(len(seams.lines[k])):
                pairs = seams.across(k, n) + basis.size
                jump = moves[pairs[:, 1]] - moves[pairs[:, 0]]
                own = inverse[np.ix_(pairs.ravel(), pairs.ravel())]
                c = np.kron(np.eye(len(pairs)), [-1.0, 1.0])
                explained = jump * np.linalg.solve(c @ own @ c.T, jump)
                is_found = sure is None or seams.lines[k][n] in sure.lines[k]
                stern = _STERN if is_found else _LESS_STERN
                chance = stern * 2.0 * len(pairs) * np.log(count)
                worth.append((float(explained.sum()) / sigma**2 - chance, k, n))
        least, k, n = min(worth)
        if least > 0:
            break
        seams = seams.without(k, n)
    return seams


def _scatter(points: FloatArray, moves: FloatArray) -> float:
    """Return the noise of a component, px, from tiles and their nearest neighbours."""
    _, near = cKDTree(points).query(points, k=2)
    gap = moves - moves[near[:, 1]]
    return max(1.4826 * float(np.median(np.abs(gap)) / np.sqrt(2.0)), 1e-3)


def _jump_lines(
    points: FloatArray, axis: int, moves: FloatArray, noise: float, reach: float
) -> FloatArray:
    """Return the lines across an axis where neighbours within `reach` px differ, px.

    Mean moves on both sides are compared in bands along a line; those bands count
    together.
    """
    along, across = points[:, 1 - axis], points[:, axis]
    at = np.arange(across.min() + reach / 2, across.max() - reach / 2, reach / _STEPS)
    if len(at) == 0:
        return at
    bands = max(1, round(float(np.ptp(along)) / reach))
    edges = np.linspace(along.min(), along.max() + 1e-6, bands + 1)
    band = np.clip(np.searchsorted(edges, along, "right") - 1, 0, bands - 1)
    jumps = np.zeros((bands, len(at), 2))
    weight = np.zeros((bands, len(at)))
    for n in range(bands):
        rows = np.flatnonzero(band == n)
        rows = rows[np.argsort(across[rows])]
        x = across[rows]
        total = np.vstack([np.zeros((1, 2)), np.cumsum(moves[rows], axis=0)])
        low, middle, high = (np.searchsorted(x, at + d) for d in (-reach, 0, reach))
        left, right = middle - low, high - middle
        w = left * right / np.maximum(left + right, 1)
        jumps[n] = (total[high] - total[middle]) / np.maximum(right, 1)[:, None]
        jumps[n] -= (total[middle] - total[low]) / np.maximum(left, 1)[:, None]
        weight[n] = w
    known = weight > 0
    jumps[~known] = 0.0
    # A bend makes jumps that change slowly along the axis.
    size = (1, 8 * _STEPS + 1, 1)
    jumps -= ndimage.median_filter(jumps, size, mode="nearest")
    jumps[~known] = 0.0
    # What two means in a band explain more than one does, in units of the noise.
    explained = ((jumps**2).sum(axis=2) * weight).sum(axis=0) / noise**2
    score = explained / np.maximum(known.sum(axis=0), 1)
    score /= max(float(np.percentile(score, 25)), 2.0)
    score[known.sum(axis=0) < 0.3 * bands] = 0.0
    around = 2 * round(1.2 * _STEPS) + 1
    highest = ndimage.maximum_filter1d(score, around, mode="nearest")
    lines: FloatArray = at[(score == highest) & (score > _LINE_HEIGHT)]
    return lines


def local_transform(plane: Transform, field: FieldFit, frame: Frame) -> Transform:
    """Return a plane map with a field of displacement, post to pre, px."""
    return Transform(plane.matrix, _displacements(plane, field, frame))


def _displacements(
    plane: Transform, field: FieldFit, frame: Frame
) -> tuple[Displacement, ...]:
    """Return a field as that of post, and, with seams, that of pre's tiles."""
    x0, y0, width, height = frame
    step = max(max(width, height) / _NODES, 1.0)
    x, y = (
        np.arange(x0, x0 + width + step, step),
        np.arange(y0, y0 + height + step, step),
    )
    nodes = np.stack(np.meshgrid(x, y), axis=-1)
    values = field.smooth(nodes.reshape(-1, 2)).reshape(nodes.shape)
    bend = Displacement((x0, y0), step, values.astype(np.float32))
    if field.seams is None:
        return (bend,)
    lines = field.seams.lines
    own = field.moves(0).astype(np.float32)
    # The moves of pre's tiles are px of post; there they are turned and magnified.
    middle = np.array([x0 + width / 2, y0 + height / 2])
    axes = plane(np.stack([middle, *(middle + np.eye(2))]))
    turned = field.moves(1) @ (axes[1:] - axes[0])
    return (
        replace(bend, cuts_x=lines[0], cuts_y=lines[1], moves=own),
        Displacement(
            cuts_x=lines[2], cuts_y=lines[3], moves=turned.astype(np.float32)
        ).conjugated(plane.matrix),
    )


@dataclass(frozen=True, slots=True)
class LocalAlignment:
    """A map that follows what bends and jumps.

    Attributes
    ----------
    transform : Transform
        Post (fixed) to pre (moving), with its displacements.
    kind : {'smooth', 'seams'}
        What it follows.
    points, residuals : ndarray, shape (N, 2), float64
        Places of tiles on post, and what the map leaves, px of pre.
    weights : ndarray, shape (N,), float64
        Weight in the robust fit, 0 to 1.
    accuracy : Accuracy
        From tiles that were left out.
    error : ErrorMap
        What is expected at each place, px of post.
    flux_lost : float
        Share of the flux of spots that it takes, see `Spots.flux_lost`.
    gain : float
        By how many standard errors it predicts unseen tiles better than the plane.
    n_tried : int
        Tiles that were measured, those that match nowhere included.
    """

    transform: Transform
    kind: Literal["smooth", "seams"]
    points: FloatArray
    residuals: FloatArray
    weights: FloatArray
    accuracy: fit.Accuracy
    error: ErrorMap
    flux_lost: float
    gain: float
    n_tried: int

    @property
    def largest(self) -> float:
        """How far the field moves a point at most, px of post."""
        return self.transform.largest_displacement


def refine_locally(
    post_im: ImageLike,
    pre_im: ImageLike,
    plane: Transform,
    *,
    post_frame: Frame,
    pre_frame: Frame,
    choose: Callable[[int, int], FloatArray],
    kind: str = "auto",
    monitor: Monitor | None = None,
) -> LocalAlignment | None:
    """Follow what a plane map leaves, as far as tiles left out prove it.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Fixed and moving image on their canvases.
    plane : Transform
        The best plane map, post to pre, px.
    post_frame, pre_frame : tuple of int
        x0, y0, width, height of the data, px.
    choose : callable
        Gives the places (x, y) of tiles of a side, px, for a number that is wanted.
    kind : {'auto', 'smooth', 'seams'}
        What is tried; a field that is asked for is taken without proof.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    LocalAlignment or None
        None when too few tiles match, or, with 'auto', when no field predicts unseen
        tiles better than the plane map.
    """
    monitor = monitor or Monitor()
    area = float(post_frame[2] * post_frame[3])
    usual = np.clip(np.sqrt(area / _USUAL_TILES), *_SPACING)
    spacing = max(float(usual), float(np.sqrt(area / _MOST_TILES)))
    centres = choose(round(area / spacing**2), _SHAPE.core)
    measure = partial(
        _measure,
        post_im,
        pre_im,
        plane,
        centres=centres,
        frames=(post_frame, pre_frame),
    )
    probes = centres[:: max(1, len(centres) // _PROBES)]
    part = monitor.part(0.0, 0.05)
    errors = {
        band: _typical_error(measure(plane, centres=probes, band=band, monitor=part))
        for band in tiles.BANDS
    }
    band = min(errors, key=lambda band: errors[band])
    measure = partial(measure, band=band)
    measured = measure(plane, monitor=monitor.part(0.05, 0.3))
    if measured is None or len(measured.post) < _FEWEST:
        return None
    pair = _Pair(post_im, pre_im, plane)
    field = fit_field(measured, post_frame, monitor=monitor.part(0.3, 0.35))
    if kind != "smooth":
        field = _with_seams(
            pair, measured, field, spacing, post_frame, monitor.part(0.35, 0.55)
        )
    best = local_transform(plane, field, post_frame)
    again = measure(best, monitor=monitor.part(0.55, 0.8))
    if again is None or len(again.post) < _FEWEST:
        return None
    told, again = again, field.over_tiles(again)
    seams, doubts = field.seams, _NO_DOUBT
    if seams is not None:
        part = monitor.part(0.8, 0.9)
        seams, doubts = _placed_again(pair, field, measured, post_frame, part)
    part = monitor.part(0.9, 1.0)
    field = fit_field(again, post_frame, seams, part)
    flat, _ = fit.fit_folds(
        "homography",
        again.post,
        again.post + again.moves,
        1.0 / again.variance,
        Transform.identity(),
    )
    before = block_costs(again, np.nan_to_num(flat, nan=_CLIP))
    proven = gain(before, field.costs)
    # A mineral whose ratio is its own moves the tiles that share its edge alike, and
    # so predicts some of what is left, but not much of it.
    much = field.costs.mean() < _LEFT * before.mean()
    if kind == "auto" and not (much and proven >= _SIGNIFICANCE):
        return None

    spots, changes = _spots(pair, told, best, (post_frame, pre_frame), band, part)

    def flux_lost(field: FieldFit) -> float:
        maps = (field, field.pulled(again, changes))
        before, after = (local_transform(plane, it, post_frame) for it in maps)
        return spots.flux_lost(pre_im, before, after)

    lost = flux_lost(field)
    for _ in range(_STIFFER):
        if lost <= MAX_FLUX_LOST:
            break
        field = fit_field(again, post_frame, seams, part, 10.0 * field.penalty)
        lost = flux_lost(field)
    best = local_transform(plane, field, post_frame)
    scale = plane.decompose()["scale"]  # px of post to px of pre
    design = field.design(again.post, again.pre)
    accuracy = fit.accuracy_of(
        again.post,
        scale * field.unseen,
        field.weights > 0.0,
        scale * np.stack([design @ part for part in field.folds]),
        apart=0.75 * _SHAPE.core,
    )
    residuals = again.pre - best(again.post)
    nodes, step = error_map.nodes_over(post_frame)
    places = nodes.reshape(-1, 2)
    mapped = best(places)
    error = error_map.expected_error(
        post_frame,
        field.variance(places, mapped)
        + _beside_lines(field, doubts, (places, mapped), step),
        again.post,
        field.unseen,
        apart=0.75 * _SHAPE.core,
    )
    return LocalAlignment(
        best,
        "smooth" if seams is None else "seams",
        again.post,
        residuals,
        field.weights,
        accuracy,
        error,
        lost,
        proven,
        len(centres),
    )


def _spots(
    pair: _Pair,
    measured: Measured,
    to_pre: Transform,
    frames: tuple[Frame, Frame],
    band: tiles.Band,
    monitor: Monitor,
) -> tuple[Spots, FloatArray]:
    """Return spots, and by how much they change the moves of the tiles, px of post.

    The tiles around them are measured again from `to_pre`, as they were without.
    """
    count = len(measured.post)
    chosen = np.arange(0, count, max(1, -(-count // _SPOTS)))
    # Beside the middle of a tile: a spot in the middle pulls it nowhere.
    turn = 2.4 * np.arange(len(chosen))
    beside = 0.25 * _SHAPE.core * np.column_stack([np.cos(turn), np.sin(turn)])
    places = measured.post[chosen] + beside
    spots = Spots.at_noise(pair.post, pair.pre, to_pre, places)
    changes = np.zeros_like(measured.moves)
    if len(spots.places) == 0:
        return spots, changes
    distance, _ = cKDTree(spots.places).query(measured.post, p=np.inf)
    near = np.flatnonzero(distance < _SHAPE.side / 2)
    found = tiles.measure_tiles(
        spots.added_to(pair.post),
        pair.pre,
        to_pre,
        measured.post[near],
        post_frame=frames[0],
        pre_frame=frames[1],
        shape=_SHAPE,
        band=band,
        expected=np.zeros((len(near), 2)),
        monitor=monitor,
    )
    near, shifts = near[found.matched], found.shifts[found.matched]
    moved = pair.plane.inverse()(to_pre(measured.post[near] + shifts))
    changes[near] = moved - measured.post[near] - measured.moves[near]
    return spots, changes


def _measure(
    post_im: ImageLike,
    pre_im: ImageLike,
    plane: Transform,
    transform: Transform,
    *,
    centres: FloatArray,
    frames: tuple[Frame, Frame],
    band: tiles.Band,
    monitor: Monitor,
) -> Measured | None:
    """Return the displacements of tiles from a plane map; None when too few match."""
    found = tiles.measure_tiles(
        post_im,
        pre_im,
        transform,
        centres,
        post_frame=frames[0],
        pre_frame=frames[1],
        shape=_SHAPE,
        band=band,
        expected=None if transform is plane else np.zeros((len(centres), 2)),
        monitor=monitor,
    )
    if np.count_nonzero(found.matched) < len(centres) // 3:
        return None
    post = centres[found.matched]
    pre = transform(post + found.shifts[found.matched])
    covariance = np.linalg.inv(found.information[found.matched])
    variance = np.trace(covariance, axis1=1, axis2=2) / 2.0 + _TILE_FLOOR**2
    return Measured(post, pre, plane.inverse()(pre) - post, variance)


def _typical_error(measured: Measured | None) -> float:
    """Return the median error of a tile, px, by its own noise."""
    return np.inf if measured is None else float(np.sqrt(np.median(measured.variance)))


def _with_seams(
    pair: _Pair,
    measured: Measured,
    field: FieldFit,
    spacing: float,
    frame: Frame,
    monitor: Monitor,
) -> FieldFit:
    """Return a field with seams where it predicts unseen tiles better than one without.

    What a first set of lines leaves shows those that they had hidden; where both images
    have whole grids there are none.
    """
    transform, rest, seams, smooth = pair.plane, measured, Seams(), field
    for _ in range(_ROUNDS):
        beside = _Beside(transform, rest, spacing)
        lines = find_lines(rest, spacing)
        for reach in _PLACES:
            monitor.check()
            cuts = [
                pair.place(
                    k,
                    float(line),
                    measured.along(k),
                    reach,
                    partial(beside, k=k),
                    pair.plane,
                )
                for k in range(4)
                for line in lines.lines[k]
            ]
            lines = _best_of([cut for cut in cuts if cut is not None])
        tried = prune(measured, seams.joined(lines), frame, monitor)
        tried = prune(measured, tried.completed(measured), frame, monitor, tried)
        if tried.number <= seams.number:
            break
        jumping = fit_field(measured, frame, tried, monitor)
        if gain(smooth.costs, jumping.costs) < _SIGNIFICANCE:
            break
        seams, field = tried, jumping
        if seams.is_whole:
            break
        transform = local_transform(pair.plane, field, frame)
        design = field.design(measured.post, measured.pre, _SHAPE.core)
        rest = replace(measured, moves=measured.moves - design @ field.coefficients)
    return field


def _same(
    maps: tuple[Transform, Transform], _: FloatArray
) -> tuple[Transform, Transform]:
    """Return the transforms before and behind a line, the same at each place."""
    return maps


def _placed_again(
    pair: _Pair, field: FieldFit, measured: Measured, frame: Frame, monitor: Monitor
) -> tuple[Seams, tuple[FloatArray, ...]]:
    """Return the seams of a field, each moved to where the images jump.

    And how far each may lie beside its place, px.
    """
    assert field.seams is not None
    reach = _PLACES[-1]
    parts = _displacements(pair.plane, field, frame)
    to_pre = Transform(pair.plane.matrix, parts[:1])
    placed, doubts = [], []
    for k in range(4):
        side, axis = divmod(k, 2)
        line = field.seams.lines[k].copy()
        doubt = np.full(len(line), float(reach) / 2)
        ends = np.concatenate([[-np.inf], line, [np.inf]])
        for n, at in enumerate(field.seams.lines[k]):
            monitor.check()
            maps = []
            for far in (2.0 * reach, -2.0 * reach):
                cuts = field.seams.lines[k].copy()
                cuts[n] = np.clip(at + far, ends[n] + 1.0, ends[n + 2] - 1.0)
                moved = list(parts)
                if axis == 0:
                    moved[side] = replace(parts[side], cuts_x=cuts)
                else:
                    moved[side] = replace(parts[side], cuts_y=cuts)
                maps.append(Transform(pair.plane.matrix, tuple(moved)))
            cut = pair.place(
                k,
                float(at),
                measured.along(k),
                reach,
                partial(_same, (maps[0], maps[1])),
                to_pre,
                is_free=False,
            )
            if cut is not None and cut.worth > 0.0:
                doubt[n] = cut.doubt
                # Neighbours are moved as well, and must not meet half-way.
                low, high = (ends[n] + at) / 2 + 1.0, (ends[n + 2] + at) / 2 - 1.0
                line[n] = np.clip(cut.at, low, high)
        placed.append(line)
        doubts.append(doubt)
    return Seams(tuple(placed)), tuple(doubts)


def _beside_lines(
    field: FieldFit,
    doubts: tuple[FloatArray, ...],
    places: tuple[FloatArray, FloatArray],
    spacing: float,
) -> FloatArray | float:
    """Return the mean squared error of nodes by lines that lie beside their place.

    px squared of post; `places` are those of the nodes on post and pre.
    """
    if field.seams is None:
        return 0.0
    squared = np.zeros(len(places[0]))
    for k, (lines, doubt) in enumerate(zip(field.seams.lines, doubts, strict=True)):
        side, axis = divmod(k, 2)
        moves = field.moves(side)
        if axis == 0:
            moves = moves.transpose(1, 0, 2)
        across, along = places[side][:, axis], places[side][:, 1 - axis]
        other = np.searchsorted(field.seams.lines[2 * side + 1 - axis], along, "right")
        for n, line in enumerate(lines):
            near = np.abs(across - line) < spacing / 2
            jump = moves[n + 1, other[near]] - moves[n, other[near]]
            # A strip as wide as the doubt is off by the whole jump.
            squared[near] += (jump**2).sum(axis=1) * min(doubt[n] / spacing, 1.0)
    return squared


def _blocks(points: FloatArray) -> NDArray[np.intp]:
    """Return the number of the compact block that each point lies in, from 0."""
    side = max(2, round(np.sqrt(len(points) / 6)))
    cells = []
    for axis in (0, 1):
        rank = np.argsort(np.argsort(points[:, axis], kind="stable"), kind="stable")
        cells.append(rank * side // len(points))
    number: NDArray[np.intp] = np.unique(
        cells[1] * side + cells[0], return_inverse=True
    )[1]
    return number
