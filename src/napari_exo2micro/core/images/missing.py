"""Where an image has no data: areas that were never scanned, or were lost.

Stitching writes 0 there, or another constant. But 0 may as well be what a camera saw:
the glass around a section, a pore; and the largest number is a saturated mineral. What
tells them apart is the edge. That of a section is blurred by the optics and ragged by
noise; that of lost data is sharp and straight. So a search looks at blocks of 8 x 8 px:
which are empty, and how the pixels lie in those beside them. Its result names blocks;
the pixels are those in them that have the constant, and are read as 0: so the image
itself tells them.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.images.lazy import TOP_SIDE, LazyImage, Window
from napari_exo2micro.core.images.raster import ImageLike
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import mapped_bounds, warp_window

BLOCK: Final = 8
"""Side of a block, px. A smaller area than 3 x 3 blocks is a pore, not lost data."""

_LEAST_BLOCKS: Final = 3
_STRAIGHT: Final = 4
"""An edge at the same pixel along so many blocks is no natural one."""

_DARK: Final = 4
"""So many pixels of a block beyond a straight edge may be 0: shade, noise."""

_MOSTLY: Final = 0.7
"""An empty area is lost when so much of its edge was cut."""

_ALL_ROUND: Final = 0.9
"""An area along so much of the frame lies around the data: it is the background."""

_GAP: Final = 8
"""A straight edge goes on beyond so many blocks in which it cannot be seen."""

_SLANTED: Final = 8
"""A slanted edge is one straight line along so many blocks, ..."""

_OFF_LINE: Final = 0.75
"""... none further off than this, px."""

_TIP: Final = 3
"""In a sharp corner of an area so many blocks hold data, too."""

_AHEAD: Final = 4
"""Blocks that tell where a slanted edge crosses a row of blocks."""

_WIDER, _LEAST_WIDER = 3, 2
"""What is lost may go on beyond its edge by a third of its length, two blocks at least.
"""

_DEPTH: Final = 12
"""Pixels behind an edge that tell the level there."""

_FRAME_SIDES: Final = 4
"""What is cut along no more lines has the form of a frame."""

_ROWS_READ: Final = 64
_BAND_ROWS: Final = 512
_FEWEST_EDGES: Final = 10
_SHARP: Final = 0.5
"""Optics let no image rise to so much of its level within two pixels."""

_SHARPER: Final = 0.95
"""Nor fall by so much from a saturated area, whose edge is cut where it is steep."""

_STEP: Final = 0.05
"""A constant ends where the image differs by so much of its span: compression makes
steps that are smaller, and constant blocks."""

_LEAST_STEP: Final = 4  # grey levels of integers
_LEAST_LEVEL: Final = 2
"""Of integers: around a background of 0 noise makes pixels of 1."""

_LEAST_BESIDE: Final = 3
_MOST_CONSTANTS: Final = 4

_REACH: Final = 4
"""Pixels that the widest interpolation (Lanczos) looks at on each side."""


class _Marks(NamedTuple):
    """Blocks of a part of an image: which of their pixels are marked.

    The columns and the rows of each block that have such a pixel are bits, the first
    one the highest; `number` is that of these pixels.
    """

    place: tuple[slice, slice]
    columns: NDArray[np.uint8]
    rows: NDArray[np.uint8]
    number: NDArray[np.uint8]


class LitBlocks(NamedTuple):
    """Blocks of a part of an image: which of their pixels are not 0.

    `flat` are blocks that may be constant, and `level` is the largest of the pixels
    that tell so.
    """

    lit: _Marks
    flat: NDArray[np.bool_]
    level: NDArray[Any]


def lit_blocks(rows: range, columns: range, pixels: NDArray[Any]) -> LitBlocks:
    """Look at a part of an image for `MissingSearch.add`; any thread may.

    Parameters
    ----------
    rows, columns : range
        Where the part lies.
    pixels : ndarray, shape (rows, columns) or (rows, columns, samples)
        NaN counts as 0, and what is 0 in all samples.
    """
    lit = pixels != 0
    if pixels.dtype.kind == "f":
        lit &= pixels == pixels  # not NaN
    if lit.ndim == 3:
        lit = _over_samples(np.logical_or, lit)
    return LitBlocks(_marked(rows, columns, lit), *_flat(rows, columns, pixels))


def _marked(rows: range, columns: range, lit: NDArray[np.bool_]) -> _Marks:
    """Return the marked pixels of a part of an image, block by block."""
    before = rows.start % BLOCK, columns.start % BLOCK
    if before[1]:
        lit = np.pad(lit, ((0, 0), (before[1], 0)))
    packed = np.packbits(lit, axis=1)
    after = -(before[0] + len(packed)) % BLOCK
    if before[0] or after:
        packed = np.pad(packed, ((before[0], after), (0, 0)))
    blocks = packed.reshape(-1, BLOCK, packed.shape[1])
    top, left = rows.start // BLOCK, columns.start // BLOCK
    return _Marks(
        (
            slice(top, top + blocks.shape[0]),
            slice(left, left + blocks.shape[2]),
        ),
        np.bitwise_or.reduce(blocks, axis=1),
        np.packbits(packed != 0, axis=0),
        np.bitwise_count(blocks).sum(axis=1, dtype=np.uint8),
    )


def _flat(
    rows: range, columns: range, pixels: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return `flat` and `level` of `LitBlocks`: some pixels of a block are compared.

    Noise leaves no three blocks side by side in which all of these are alike.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.dtype.kind == "b":
        pixels = pixels.view(np.uint8)
    # two rows of each block, or all where blocks are cut
    step = BLOCK // 2 if rows.start % BLOCK == 0 else 1
    seen = pixels[::step]
    left, end = columns.start, columns.stop
    first = np.arange(left - left % BLOCK, end, BLOCK)
    chosen = [seen[:, np.clip(first + n, left, end - 1) - left] for n in (0, 3, 7)]
    alike = (chosen[0] == chosen[1]) & (chosen[0] == chosen[2])
    own = (rows.start + step * np.arange(len(seen))) // BLOCK
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    flat = np.logical_and.reduceat(_over_samples(np.logical_and, alike), starts, axis=0)
    level = _over_samples(np.maximum, chosen[0])
    return flat, np.maximum.reduceat(level, starts, axis=0)


def _over_samples(join: np.ufunc, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return what the samples of each pixel come to, shape (rows, columns)."""
    result = pixels[..., 0]
    for index in range(1, pixels.shape[2]):  # numpy is slow along a short last axis
        result = join(result, pixels[..., index])
    return result


class _Grids:
    """Of each block: which of its pixels are not a constant, as `_Marks` has it."""

    def __init__(self, shape: tuple[int, int], bits: int = 0) -> None:
        self.shape = shape
        grid = tuple(-(-side // BLOCK) for side in shape)
        self.columns, self.rows, self.count = np.full((3, *grid), bits, np.uint8)
        if bits:
            self.count[:] = BLOCK * BLOCK

    def add(self, marks: _Marks) -> None:
        """Add a part of the image."""
        self.columns[marks.place] |= marks.columns
        self.rows[marks.place] |= marks.rows
        self.count[marks.place] += marks.number

    def set(self, marks: _Marks) -> None:
        """Replace whole blocks."""
        self.columns[marks.place] = marks.columns
        self.rows[marks.place] = marks.rows
        self.count[marks.place] = marks.number

    @property
    def is_empty(self) -> NDArray[np.bool_]:
        """Blocks of nothing but the constant, in areas as large as lost data are."""
        return _opened(self.columns == 0)

    def n_pixels(self, blocks: NDArray[np.bool_]) -> int:
        """Return how many pixels of some blocks have the constant."""
        sides = [
            np.minimum(BLOCK, side - BLOCK * np.arange(-(-side // BLOCK)))
            for side in self.shape
        ]  # those of a block at the edge are fewer
        inside = np.outer(*sides)
        return int((inside - np.minimum(self.count, inside))[blocks].sum())

    def with_tips(
        self, lost: NDArray[np.bool_], empty: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return areas with their sharp corners, where blocks hold data, too."""
        for _ in range(_TIP):
            lost = lost | (_widened_by_one(lost) & ~empty & (self.count < BLOCK**2))
        return lost

    def edges(self, labels: NDArray[np.int32]) -> _Edges:
        """Return where areas end, and where that is along a row or column of pixels."""
        parts: list[_Edges] = []
        for axis, step, bits in (
            (0, 1, self.rows),
            (0, -1, self.rows),
            (1, 1, self.columns),
            (1, -1, self.columns),
        ):
            ahead = np.roll(labels, step, axis=axis)  # the empty block behind
            border = [slice(None), slice(None)]
            border[axis] = slice(0, 1) if step > 0 else slice(-1, None)
            ahead[tuple(border)] = 0
            rows, columns = np.nonzero((ahead > 0) & (bits > 0))
            label, bit = ahead[rows, columns], bits[rows, columns]
            depth = _leading_zeros(bit) if step > 0 else _trailing_zeros(bit)
            count = self.count[rows, columns]
            full = count >= BLOCK * (BLOCK - depth.astype(int)) - _DARK
            along, across = (rows, columns) if axis else (columns, rows)
            order = np.lexsort((along, across, ~full))
            first = np.ones(len(order), bool)
            if len(order):
                a, b = order[1:], order[:-1]
                first[1:] = (
                    (across[a] != across[b])
                    | (along[a] != along[b] + 1)
                    | (depth[a] != depth[b])
                    | ~(full[a] & full[b])
                )
            run = np.empty(len(order), np.int64)
            run[order] = np.cumsum(first) - 1
            length = np.bincount(run)[run] if len(run) else run
            if axis:
                columns = columns - step
            else:
                rows = rows - step
            run += sum(len(part.run) for part in parts)  # of all four sides
            sides = (np.full(len(run), side) for side in (axis, step))
            length = np.where(full, length, 0)
            parts.append(_Edges(label, rows, columns, depth, length, run, *sides))
        return _Edges(*map(np.concatenate, zip(*map(_arrays, parts), strict=True)))

    def slanted(self, edges: _Edges) -> Iterator[_Line]:
        """Yield the straight lines along which edges run, in any direction.

        Where an edge crosses a row of blocks is told, to a part of a pixel, by how many
        pixels of the blocks ahead are lit.
        """
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            own = (edges.axis == axis) & (edges.step == step)
            rows, columns = (edges.rows[own], edges.columns[own])[:: 1 if axis else -1]
            count = self.count if axis else self.count.T
            ahead = columns[:, None] + step * np.arange(1, _AHEAD + 1)
            inside = ((ahead >= 0) & (ahead < count.shape[1])).all(axis=1)
            rows, columns, ahead = rows[inside], columns[inside], ahead[inside]
            lit = count[rows[:, None], ahead]
            passed = lit[:, -1] >= BLOCK * BLOCK - _DARK
            rows, columns, lit = rows[passed], columns[passed], lit[passed]
            far = BLOCK * _AHEAD - lit.sum(axis=1) / BLOCK
            places = BLOCK * columns + (BLOCK + far if step > 0 else -far)
            grid = np.full(count.shape, np.nan)
            grid[rows, columns] = places
            at, chain = columns, [places]
            slope = np.zeros(len(rows))
            for k in range(1, _SLANTED):
                near = np.clip(at[:, None] + (-1, 0, 1), 0, grid.shape[1] - 1)
                below = np.minimum(rows + k, len(grid) - 1)[:, None]
                far_off = np.abs(grid[below, near] - (chain[-1] + slope)[:, None])
                far_off[rows + k >= len(grid)] = np.nan
                best = np.argmin(np.nan_to_num(far_off, nan=np.inf), axis=1)
                each = np.arange(len(rows))
                at = near[each, best]
                found = grid[below[:, 0], at]
                found[np.isnan(far_off[each, best])] = np.nan
                slope = found - chain[-1]
                chain.append(found)
            points = np.array(chain)
            along = np.arange(_SLANTED) - (_SLANTED - 1) / 2
            slope = along @ points / (along @ along)
            line = points.mean(axis=0) + np.outer(along, slope)
            off = np.abs(points - line).max(axis=0, initial=0)
            good = (off <= _OFF_LINE) & (np.abs(slope) <= BLOCK + 1)
            for n in np.flatnonzero(good):
                yield _Line(
                    axis,
                    step,
                    int(rows[n]),
                    _SLANTED,
                    float(points[:, n].mean() - slope[n] * (_SLANTED - 1) / 2),
                    float(slope[n]),
                )


class _Line(NamedTuple):
    """A straight edge across `number` rows of blocks, beginning with `first`.

    `place` is the border of the data in the first of them, px, which moves by `slope`
    px a row of blocks. With axis 0 it is columns of blocks that are counted. The data
    are at larger places with `step` 1.
    """

    axis: int
    step: int
    first: int
    number: int
    place: float
    slope: float

    def behind(self, grid: tuple[int, ...], more: int = 0) -> tuple[Any, Any]:
        """Return rows and columns of the blocks behind it, some beyond its ends."""
        along = np.arange(self.first - more, self.first + self.number + more)
        across = self._across(along)
        sides = grid if self.axis else grid[::-1]
        inside = (along >= 0) & (along < sides[0])
        inside &= (across >= 0) & (across < sides[1])
        found = along[inside], across[inside]
        return found if self.axis else found[::-1]

    def _across(self, along: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the last blocks without data before it."""
        place = self.place + self.slope * (along - self.first)
        half = abs(self.slope) / 2  # within a row of blocks it goes on
        if self.step > 0:
            return np.floor((place - half) / BLOCK).astype(np.int64) - 1
        return np.ceil((place + half) / BLOCK).astype(np.int64)

    def extended(self, empty: NDArray[np.bool_]) -> _Line:
        """Return it with what goes on beyond its ends: dim data, and none behind."""
        grid = empty.shape if self.axis else empty.shape[::-1]
        along = np.arange(grid[0])
        line = self._replace(
            first=0, number=grid[0], place=self.place - self.slope * self.first
        )
        behind = line._across(along)
        ahead = behind + 2 * self.step
        inside = (np.minimum(behind, ahead) >= 0) & (
            np.maximum(behind, ahead) < grid[1]
        )
        own = empty if self.axis else empty.T
        goes_on = inside.copy()
        goes_on[inside] = own[along[inside], behind[inside]]
        goes_on[inside] &= ~own[along[inside], ahead[inside]]
        stops = np.flatnonzero(~goes_on)
        first = int(max(stops[stops < self.first], default=-1)) + 1
        last = self.first + self.number - 1
        end = int(min(stops[stops > last], default=grid[0]))
        return line._replace(
            first=first, number=end - first, place=line.place + self.slope * first
        )

    def profiles(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns of pixels across it, shape (n, pixels)."""
        lines = BLOCK * self.first + np.arange(2, BLOCK * self.number, BLOCK // 2)
        middle = BLOCK * self.first + (BLOCK - 1) / 2
        place = self.place + self.slope * (lines - middle) / BLOCK
        start = np.rint(place if self.step > 0 else place - 1).astype(np.int64)
        across = start[:, None] + self.step * np.arange(-4, _DEPTH + 4)
        along = np.broadcast_to(lines[:, None], across.shape)
        return (along, across) if self.axis else (across, along)


class MissingSearch:
    """A search for what is missing, in parts of an image that come in any order.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._lit = _Grids(shape)
        self._flat = np.ones(self._lit.count.shape, bool)
        self._level: NDArray[Any] | None = None

    def add(self, lit: LitBlocks) -> None:
        """Add what `lit_blocks` returned for a part of the image."""
        place = lit.lit.place
        self._lit.add(lit.lit)
        self._flat[place] &= lit.flat
        if self._level is None:
            is_float = lit.level.dtype.kind == "f"
            least = -np.inf if is_float else np.iinfo(lit.level.dtype).min
            self._level = np.full(self._flat.shape, least, lit.level.dtype)
        own = self._level[place]
        np.maximum(own, lit.level, out=own)

    def result(self, read: Callable[[range], NDArray[Any]]) -> Missing | None:
        """Return what is missing; None where nothing is.

        Parameters
        ----------
        read : callable
            Takes rows of the image, evenly spaced, and returns them, shape (n,
            columns). It is asked only where the blocks cannot decide.
        """
        found = [(0.0, self._lit, self._lost_zeros(read))]
        found += self._constants(read)
        fills, blocks, n_pixels = [], np.zeros(self._flat.shape, bool), 0
        for value, grids, lost in found:
            if not lost.any():
                continue
            # the pixels of blocks beside them that are empty, too, up to the edge
            near = _widened_by_one(lost)
            n_pixels += grids.n_pixels(near)
            blocks |= near
            fills.append(Fill(value, near, lost & (grids.count == 0)))
        if not fills:
            return None
        share = n_pixels / (self._shape[0] * self._shape[1])
        return Missing(blocks, (0, 0), share, tuple(fills))

    @property
    def _least_level(self) -> float:
        is_float = self._level is None or self._level.dtype.kind == "f"
        return 0.0 if is_float else _LEAST_LEVEL

    def _constants(
        self, read: Callable[[range], NDArray[Any]]
    ) -> list[tuple[float, _Grids, NDArray[np.bool_]]]:
        """Return constants other than 0, and where data are lost that have them."""
        level, flat = self._level, self._flat & (self._lit.columns != 0)
        if level is None or not (flat := _opened(flat)).any():
            return []
        values, counts = np.unique(level[flat], return_counts=True)
        values = values[np.argsort(counts)[::-1]][:_MOST_CONSTANTS]
        areas = {v: own for v in values if (own := _opened(flat & (level == v))).any()}
        grids = {value: _Grids(self._shape, 0xFF) for value in areas}
        wanted = np.zeros(len(flat), bool)
        for own in areas.values():
            wanted |= own.any(axis=1)
        wanted = np.convolve(wanted, np.ones(5), "same") > 0  # the blocks beside them
        for rows in _bands(np.flatnonzero(wanted), self._shape[0]):
            pixels = read(rows)
            for value, own_grids in grids.items():
                columns = range(pixels.shape[1])
                own_grids.set(_marked(rows, columns, pixels != value))
        span = np.percentile(level, (0.5, 99.5))
        step = _STEP * float(span[1] - span[0])
        if level.dtype.kind != "f":
            step = max(step, _LEAST_STEP)
        top, found = level.max(), []
        for value, own_grids in grids.items():
            # at the largest number saturated minerals are told from lost data
            least = _SHARPER if value == top else _MOSTLY
            lost = self._lost_constants(own_grids, read, float(value), step, least)
            found.append((float(value), own_grids, lost))
        return found

    def _lost_zeros(self, read: Callable[[range], NDArray[Any]]) -> NDArray[np.bool_]:
        """Return the blocks of 0 that are lost data, not background or a pore."""
        grids = self._lit
        empty = grids.is_empty
        lost = np.zeros(empty.shape, bool)
        if not empty.any():
            return lost
        number, labels, sizes = _areas(empty)
        edges = grids.edges(labels)
        every = np.bincount(edges.label, minlength=number)
        around = _share_of_frame(labels, number)

        def seen(rows: range) -> NDArray[Any]:
            return np.nan_to_num(read(rows).astype(np.float32))

        cut = np.bincount(edges.label[edges.is_cut], minlength=number)
        unsure = []
        for label in range(1, number):
            part = cut[label] / max(every[label], 1)
            if part < _MOSTLY:
                unsure.append(label)
            elif around[label] <= _ALL_ROUND:
                lost |= labels == label
            elif edges.n_sides(label) > _FRAME_SIDES:  # else a margin
                unsure.append(label)
        asked = [label for label in unsure if around[label] <= _ALL_ROUND]
        sharp = self._sharp(asked, labels, sizes, seen)
        whole = [label for label in asked if sharp[label] >= _MOSTLY]
        lost = grids.with_tips(lost | np.isin(labels, whole), empty)
        unsure = [label for label in unsure if label not in set(whole)]
        own = edges.of(np.isin(edges.label, unsure))
        if len(own.label):
            lines = [*own.lines(), *grids.slanted(own)]
            lines = _proven(lines, seen, self._shape, self._least_level)
            _add_shadows(lost, np.isin(labels, unsure), own, lines)
        return lost

    def _lost_constants(
        self,
        grids: _Grids,
        read: Callable[[range], NDArray[Any]],
        value: float,
        step: float,
        least: float,
    ) -> NDArray[np.bool_]:
        """Return the blocks of a constant other than 0 that are lost data.

        All their edges are to be straight and as sharp as `least`, with a step that is
        no smaller than this: nothing else tells them from what a camera saw.
        """
        empty = grids.is_empty
        if not empty.any():
            return empty
        number, labels, sizes = _areas(empty)
        edges = grids.edges(labels)
        wanted = _MOSTLY * np.maximum(np.bincount(edges.label, minlength=number), 1)

        def seen(rows: range) -> NDArray[Any]:
            away = np.nan_to_num(read(rows).astype(np.float32)) - np.float32(value)
            return np.asarray(np.abs(away))

        lines = [*edges.lines(), *grids.slanted(edges)]
        straight = edges.on(lines, empty.shape)
        cut = np.bincount(edges.label[straight], minlength=number)
        asked = [n for n in range(1, number) if cut[n] >= wanted[n]]
        sharp = self._sharp(asked, labels, sizes, seen, step)
        chosen = [n for n in asked if sharp[n] >= least]
        if level := [n for n in asked if not sharp[n]]:  # no edge across the rows
            proven = _proven(lines, seen, self._shape, step, least)
            straight = edges.on(proven, empty.shape)
            cut = np.bincount(edges.label[straight], minlength=number)
            chosen += [n for n in level if cut[n] >= wanted[n]]
        return grids.with_tips(np.asarray(np.isin(labels, chosen)), empty)

    def _sharp(
        self,
        asked: Sequence[int],
        labels: NDArray[np.int32],
        sizes: NDArray[np.int32],
        read: Callable[[range], NDArray[Any]],
        step: float = 0.0,
    ) -> dict[int, float]:
        """Return which part of the edges of areas is sharper than optics allow.

        With a step only edges count that are as high, and what is returned is how much
        of them all lies within two pixels.
        """
        if not asked:
            return {}
        tops = [int(sizes[label, cv2.CC_STAT_TOP]) for label in asked]
        ends = [
            top + int(sizes[label, cv2.CC_STAT_HEIGHT])
            for top, label in zip(tops, asked, strict=True)
        ]
        first, end = min(tops) * BLOCK, min(max(ends) * BLOCK, self._shape[0])
        rows = range(first, end, max(1, (end - first) // _ROWS_READ))
        pixels = read(rows)
        least = self._least_level
        counts = {label: [0.0, 0.0] for label in asked}
        number = dict.fromkeys(asked, 0)
        for flipped in (False, True):
            seen = pixels[:, ::-1] if flipped else pixels
            at, x = np.nonzero((seen[:, 1:] != 0) & (seen[:, :-1] == 0))
            x += 1
            inside = (x >= 2 * BLOCK) & (x + _DEPTH <= seen.shape[1])
            at, x = at[inside], x[inside]
            column = x - BLOCK - 1
            if flipped:
                column = seen.shape[1] - 1 - column
            own = labels[np.asarray(rows)[at] // BLOCK, column // BLOCK]
            near = seen[at[:, None], x[:, None] + np.arange(2)].mean(axis=1)
            level = seen[at[:, None], x[:, None] + np.arange(4, _DEPTH)].mean(axis=1)
            own[level < max(step, least)] = 0
            if not step:
                near, level = near >= _SHARP * level, np.ones(len(level))
            for label in asked:
                mine = own == label
                number[label] += int(mine.sum())
                counts[label][0] += float(near[mine].sum())
                counts[label][1] += float(level[mine].sum())
        return {
            label: good / total if number[label] >= _FEWEST_EDGES else 0.0
            for label, (good, total) in counts.items()
        }


def _areas(
    empty: NDArray[np.bool_],
) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """Return one more than the number of areas, their labels and OpenCV's figures."""
    number, labels, sizes, _ = cv2.connectedComponentsWithStats(
        empty.astype(np.uint8), connectivity=4
    )
    return number, np.asarray(labels, np.int32), np.asarray(sizes, np.int32)


def _widened_by_one(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return blocks and those beside them."""
    near = cv2.dilate(blocks.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(near > 0)


def _opened(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return blocks without areas that are smaller than lost data are."""
    square = np.ones((_LEAST_BLOCKS, _LEAST_BLOCKS), np.uint8)
    opened = cv2.morphologyEx(blocks.astype(np.uint8), cv2.MORPH_OPEN, square)
    return np.asarray(opened > 0)


def _bands(blocks: NDArray[np.int64], height: int) -> Iterator[range]:
    """Yield the rows of pixels of some rows of blocks, a band of them at a time."""
    starts = np.flatnonzero(np.diff(blocks, prepend=-2) != 1)
    for part in np.split(blocks, starts[1:]) if len(blocks) else ():
        end = min(BLOCK * (int(part[-1]) + 1), height)
        for top in range(BLOCK * int(part[0]), end, _BAND_ROWS):
            yield range(top, min(top + _BAND_ROWS, end))


def _proven(
    lines: Sequence[_Line],
    read: Callable[[range], NDArray[Any]],
    shape: tuple[int, int],
    least: float,
    sharp: float = _SHARP,
) -> list[_Line]:
    """Return the lines along which an image rises faster than optics allow.

    The edge of a large section is straight, too, where it is level. Each row of the
    image is read once.
    """
    if not lines:
        return []
    profiles = [line.profiles() for line in lines]
    numbers = np.repeat(np.arange(len(lines)), [len(rows) for rows, _ in profiles])
    rows: NDArray[np.int64] = np.concatenate([rows for rows, _ in profiles])
    columns: NDArray[np.int64] = np.concatenate([columns for _, columns in profiles])
    inside = ((rows >= 0) & (rows < shape[0])).all(axis=1)
    inside &= ((columns >= 0) & (columns < shape[1])).all(axis=1)
    rows, columns, numbers = rows[inside], columns[inside], numbers[inside]
    values: NDArray[np.float32] = np.zeros(rows.shape, np.float32)
    for top in range(0, shape[0], _BAND_ROWS):
        is_here = (rows >= top) & (rows < top + _BAND_ROWS)
        if not is_here.any():
            continue
        wanted = np.unique(rows[is_here])
        apart = int(np.gcd.reduce(np.diff(wanted))) if len(wanted) > 1 else 1
        pixels = read(range(int(wanted[0]), int(wanted[-1]) + 1, apart))
        values[is_here] = pixels[(rows[is_here] - wanted[0]) // apart, columns[is_here]]
    # the first pixel beyond the edge, and the level behind it
    start = np.argmax(values != 0, axis=1)
    is_seen = (start > 0) & (start + _DEPTH <= values.shape[1])
    start, numbers, values = start[is_seen], numbers[is_seen], values[is_seen]
    places = start[:, np.newaxis] + np.arange(_DEPTH)
    seen = np.take_along_axis(values, places, axis=1)
    near, level = (
        np.bincount(numbers, part.mean(axis=1), len(lines))
        for part in (seen[:, :2], seen[:, 4:])
    )
    number = np.bincount(numbers, minlength=len(lines))
    is_sharp = (near >= sharp * level) & (level > 0) & (level >= least * number)
    return [line for line, is_own in zip(lines, is_sharp, strict=True) if is_own]


@dataclass(frozen=True, slots=True)
class _Edges:
    """Empty blocks beside one that is not: of which area, where, and how straight."""

    label: NDArray[np.int32]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    depth: NDArray[np.uint8]  # pixels from the empty block to the edge
    length: NDArray[np.int64]  # of the straight line it is a part of, blocks; or 0
    run: NDArray[np.int64]  # number of this line
    axis: NDArray[np.int64]  # of the edge's normal: 0 for rows
    step: NDArray[np.int64]  # from the empty block to the other one

    @property
    def is_cut(self) -> NDArray[np.bool_]:
        """Whether data end there along a row or column of pixels."""
        return self.length >= _STRAIGHT

    @property
    def border(self) -> NDArray[np.int64]:
        """Row or column of pixels along which data begin, or before which they end."""
        block = BLOCK * np.where(self.axis == 0, self.rows, self.columns)
        ahead = BLOCK + self.depth.astype(np.int64)
        return np.where(self.step > 0, block + ahead, block - self.depth)

    def n_sides(self, label: int) -> int:
        """Return along how many lines an area is cut."""
        own = self.of(self.is_cut & (self.label == label))
        return len(set(zip(own.border, own.axis, own.step, strict=True)))

    def of(self, chosen: NDArray[np.bool_]) -> _Edges:
        """Return some of them."""
        return _Edges(*(entry[chosen] for entry in _arrays(self)))

    def on(self, lines: Iterable[_Line], grid: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return which of them lie along lines."""
        near = np.zeros(grid, bool)
        for line in lines:
            near[line.behind(grid)] = True
        return np.asarray(_widened_by_one(near)[self.rows, self.columns])

    def lines(self) -> Iterator[_Line]:
        """Yield the lines along which data are cut."""
        for run in np.unique(self.run[self.is_cut]):
            own = self.of(self.run == run)
            axis, step = int(own.axis[0]), int(own.step[0])
            along = own.rows if axis else own.columns
            yield _Line(
                axis, step, int(along.min()), len(along), float(own.border[0]), 0.0
            )


def _arrays(edges: _Edges) -> list[NDArray[Any]]:
    return [getattr(edges, entry.name) for entry in fields(edges)]


def _leading_zeros(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how many of 8 bits before the first one are not set."""
    table = np.array([8 - int(n).bit_length() for n in range(256)], np.uint8)
    return table[bits]


def _trailing_zeros(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how many of 8 bits after the last one are not set."""
    table = np.array([8, *((n & -n).bit_length() - 1 for n in range(1, 256))], np.uint8)
    return table[bits]


def _share_of_frame(labels: NDArray[np.int32], number: int) -> NDArray[np.float64]:
    """Return along which part of the frame each area lies."""
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    share: NDArray[np.float64] = np.bincount(rim, minlength=number) / len(rim)
    return share


def _add_shadows(
    lost: NDArray[np.bool_],
    empty: NDArray[np.bool_],
    edges: _Edges,
    lines: Sequence[_Line],
) -> None:
    """Add what lies behind the straight edges of an area, up to its other end.

    Where lost data meet a background of 0 nothing tells where they end. What is lost
    may be wider than the edge of what is left.
    """
    lines = [line.extended(empty) for line in _joined(lines)]
    borders = [{line.place for line in lines if line.axis == n} for n in range(2)]
    # data that end along the same line elsewhere: the next tile
    aligned = np.zeros(len(edges.label), bool)
    for axis in range(2):
        aligned |= (edges.axis == axis) & np.isin(edges.border, list(borders[axis]))
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        starts = np.zeros(empty.shape, bool)
        for line in lines:
            if (line.axis, line.step) == (axis, step):
                more = max(line.number // _WIDER, _LEAST_WIDER)
                starts[line.behind(empty.shape, more)] = True
        own = edges.of(aligned & (edges.axis == axis) & (edges.step == step))
        starts[own.rows, own.columns] = True
        starts &= empty
        if not starts.any():
            continue
        # line by line, away from the data
        turn = [np.s_[::1, ::1], np.s_[::-1, ::1]][step > 0]
        seen, begun, out = (
            (part if axis == 0 else part.T)[turn] for part in (empty, starts, lost)
        )
        last = np.zeros(seen.shape[1], bool)
        for row in range(len(seen)):
            last = seen[row] & (last | begun[row])
            out[row] |= last


def _joined(lines: Iterable[_Line]) -> list[_Line]:
    """Return lines of which those that go on in another one are one with it."""
    joined: list[_Line] = []
    for line in sorted(lines, key=lambda line: line.first):
        for n, other in enumerate(joined):
            behind = line.first - other.first
            off = other.place + other.slope * behind - line.place
            if (
                (line.axis, line.step) == (other.axis, other.step)
                and behind <= other.number + _GAP
                and abs(off) <= 2 * _OFF_LINE
            ):
                number = max(other.number, behind + line.number)
                end = line.place + line.slope * (line.number - 1)
                slope = (end - other.place) / max(behind + line.number - 1, 1)
                joined[n] = other._replace(number=number, slope=slope)
                break
        else:
            joined.append(line)
    return joined


class Fill(NamedTuple):
    """A constant that stands for no data.

    The pixels are those in `blocks` that have it, in `core` all of them.
    """

    value: float
    blocks: NDArray[np.bool_]
    core: NDArray[np.bool_]

    @property
    def area(self) -> tuple[range, range]:
        """Row and column of a pixel that has it."""
        place = np.unravel_index(np.argmax(self.core), self.core.shape)
        row, column = BLOCK * int(place[0]), BLOCK * int(place[1])
        return range(row, row + 1), range(column, column + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Missing:
    """Where an image has no data.

    Attributes
    ----------
    blocks : ndarray, shape (rows, columns), bool
        Blocks of 8 x 8 px: no data are their pixels that are 0.
    origin : tuple of int
        (x, y) of the first block's first pixel, px.
    share : float
        Of the image's pixels that have no data, 0..1.
    fills : tuple of Fill
        The constants that stand there in the raw image, which are read as 0; empty
        where that was done.
    """

    blocks: NDArray[np.bool_]
    origin: tuple[int, int]
    share: float
    fills: tuple[Fill, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it for a header, as built-in types."""
        packed = zlib.compress(np.packbits(self.blocks).tobytes(), 9)
        return {
            "share": round(self.share, 6),
            "block": BLOCK,
            "origin": list(self.origin),
            "grid": list(self.blocks.shape),
            "blocks": base64.b64encode(packed).decode("ascii"),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `to_dict` stored.

        Raises
        ------
        CheckpointError
            If it is damaged.
        """
        try:
            rows, columns = map(int, stored["grid"])
            x, y = map(int, stored["origin"])
            # A damaged header must not ask for more memory than its grid needs.
            size = max(-(-rows * columns // 8), 1)
            packed = base64.b64decode(stored["blocks"])
            packed = zlib.decompressobj().decompress(packed, size)
            bits = np.unpackbits(np.frombuffer(packed, np.uint8))[: rows * columns]
            blocks = bits.reshape(rows, columns).astype(bool)
            return cls(blocks, (x, y), float(stored["share"]))
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise CheckpointError(
                f"where data are missing cannot be read from the header ({error}); run "
                "stage 1 again"
            ) from error

    def moved(self, x: int, y: int) -> Missing:
        """Return the same of an image that lies `x` px further right, `y` down."""
        left, top = self.origin
        return replace(self, origin=(left + x, top + y), fills=())

    def _span(self, y0: int, y1: int, x0: int, x1: int) -> tuple[slice, slice]:
        """Return the blocks that a window touches."""
        rows, columns = self.blocks.shape
        left, top = self.origin
        return (
            slice(max((y0 - top) // BLOCK, 0), min(-((top - y1) // BLOCK), rows)),
            slice(max((x0 - left) // BLOCK, 0), min(-((left - x1) // BLOCK), columns)),
        )

    def touches(self, y0: int, y1: int, x0: int, x1: int) -> bool:
        """Return whether data may be missing in a window."""
        return bool(self.blocks[self._span(y0, y1, x0, x1)].any())

    def _near(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.bool_]:
        """Return which pixels of a window lie in the blocks."""
        rows, columns = self._span(y0, y1, x0, x1)
        large = self.blocks[rows, columns].repeat(BLOCK, 0).repeat(BLOCK, 1)
        top = rows.start * BLOCK + self.origin[1]
        left = columns.start * BLOCK + self.origin[0]
        result = np.zeros((y1 - y0, x1 - x0), bool)
        inner = large[max(y0 - top, 0) : y1 - top, max(x0 - left, 0) : x1 - left]
        y, x = max(top - y0, 0), max(left - x0, 0)
        result[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
        return result

    def emptied(
        self, bands: Iterable[tuple[int, NDArray[Any]]], values: Sequence[Any]
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield bands of a raw image, 0 where it has no data.

        Parameters
        ----------
        bands : iterable of (int, ndarray, shape (rows, columns))
            First rows, and pixels.
        values : sequence of float
            For each of `fills`, what stands there in these bands.
        """
        for y0, band in bands:
            y1, width = y0 + len(band), band.shape[1]
            for fill, value in zip(self.fills, values, strict=True):
                own = Missing(fill.blocks, self.origin, self.share)
                if value and own.touches(y0, y1, 0, width):
                    gone = own._near(y0, y1, 0, width) & (band == value)
                    beside = cv2.boxFilter(
                        gone.view(np.uint8),
                        -1,
                        (3, 3),
                        normalize=False,
                        borderType=cv2.BORDER_REPLICATE,
                    )  # a pixel of the image may have it by chance
                    gone &= beside >= _LEAST_BESIDE
                    band = np.where(gone, band.dtype.type(0), band)
            yield y0, band

    def mask(self, image: ImageLike) -> LazyImage:
        """Return where an image has no data, 1 and 0 (uint8).

        Parameters
        ----------
        image : ImageLike, shape (rows, columns)
            The image itself; its pixels are read only in and beside lost areas.
        """

        def read(window: Window) -> NDArray[Any]:
            rows, columns = window
            place = rows.start, rows.stop, columns.start, columns.stop
            if not self.touches(*place):
                return np.zeros((place[1] - place[0], place[3] - place[2]), np.uint8)
            near = self._near(*place)
            near &= np.asarray(image[window]) == 0
            return near.view(np.uint8)

        return LazyImage((image.shape[0], image.shape[1]), np.uint8, read)

    def levels(self, image: ImageLike) -> list[LazyImage]:
        """Return `mask` and its smaller levels, which whole blocks are taken for."""
        levels = [self.mask(image)]
        rows, columns = levels[0].shape
        left, top = self.origin
        while max(levels[-1].shape) > TOP_SIDE:
            step = 1 << len(levels)

            def read(window: Window, step: int = step) -> NDArray[Any]:
                y, x = (np.arange(p.start, p.stop) * step for p in window)
                rows, columns = (y - top) // BLOCK, (x - left) // BLOCK
                inside = [
                    (place >= 0) & (place < side)
                    for place, side in zip(
                        (rows, columns), self.blocks.shape, strict=True
                    )
                ]
                part = np.zeros((len(rows), len(columns)), np.uint8)
                own = self.blocks[np.ix_(rows[inside[0]], columns[inside[1]])]
                part[np.ix_(*inside)] = own
                return part

            shape = -(-rows // step), -(-columns // step)
            levels.append(LazyImage(shape, np.uint8, read))
        return levels

    def blanked(self, image: ImageLike) -> ImageLike:
        """Return an image that is NaN where it has no data, float32 or float64."""
        return blanked(image, self.mask(image))

    def warped(
        self, image: ImageLike, transform: Transform, shape: tuple[int, int]
    ) -> LazyImage:
        """Return where an image has no data after a warp, 1 and 0 (uint8).

        A pixel has none when its interpolation looks at one that has none.

        Parameters
        ----------
        image : ImageLike, shape (rows, columns)
            The image before the warp.
        transform : Transform
            From points of the result to points of `image`, px.
        shape : tuple of int
            Rows and columns of the result.
        """
        mask = self.mask(image)
        source = _widened(mask)

        def read(window: Window) -> NDArray[Any]:
            rows, columns = window
            place = rows.start, rows.stop, columns.start, columns.stop
            if not self._reaches(transform, *place):
                return np.zeros((place[1] - place[0], place[3] - place[2]), np.uint8)
            warped = warp_window(source, transform, *place, "linear")
            return (warped > 0).view(np.uint8)

        return LazyImage(shape, np.uint8, read)

    def _reaches(
        self, transform: Transform, y0: int, y1: int, x0: int, x1: int
    ) -> bool:
        """Return whether a warped window may see a block."""
        first, last = mapped_bounds(transform, x0, y0, x1, y1)
        low = np.floor(first).astype(int) - _REACH - 1
        high = np.ceil(last).astype(int) + _REACH + 2
        return self.touches(low[1], high[1], low[0], high[0])


def either(*masks: ImageLike | None) -> ImageLike | None:
    """Return where any of some masks is not 0, 1 and 0 (uint8); None without any."""
    given = [mask for mask in masks if mask is not None]
    if len(given) < 2:
        return given[0] if given else None

    def read(window: Window) -> NDArray[Any]:
        lost: NDArray[np.bool_] = np.asarray(given[0][window]) != 0
        for mask in given[1:]:
            lost |= np.asarray(mask[window]) != 0
        return lost.view(np.uint8)

    return LazyImage((given[0].shape[0], given[0].shape[1]), np.uint8, read)


def blanked(image: ImageLike, mask: ImageLike | None) -> ImageLike:
    """Return an image that is NaN where a mask is not 0; as it is without a mask.

    float64 stays; other types become float32.
    """
    if mask is None:
        return image
    dtype = image.dtype if image.dtype == np.float64 else np.dtype(np.float32)

    def read(window: Window) -> NDArray[Any]:
        pixels = np.array(image[window], dtype)
        pixels[np.asarray(mask[window]) != 0] = np.nan
        return pixels

    return LazyImage((image.shape[0], image.shape[1]), dtype, read)


def without_brighter(image: ImageLike, level: float) -> ImageLike:
    """Return an image that is NaN where it is brighter, and four pixels around."""

    def read(window: Window) -> NDArray[Any]:
        return (np.asarray(image[window]) >= level).view(np.uint8)

    shape = image.shape[0], image.shape[1]
    return blanked(image, _widened(LazyImage(shape, np.uint8, read)))


def _widened(mask: LazyImage) -> LazyImage:
    """Return a mask of 1 and 0, 255 also in what lies near it, `_REACH` px."""
    square = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)

    def read(window: Window) -> NDArray[Any]:
        wide = [
            slice(max(part.start - _REACH, 0), min(part.stop + _REACH, side))
            for part, side in zip(window, mask.shape, strict=True)
        ]
        inner = [
            slice(part.start - around.start, part.stop - around.start)
            for part, around in zip(window, wide, strict=True)
        ]
        seen = mask[wide[0], wide[1]]
        if seen.any():
            seen = cv2.dilate(255 * seen, square)
        return np.asarray(seen[inner[0], inner[1]])

    return LazyImage(mask.shape, np.uint8, read)
