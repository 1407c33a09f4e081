"""Where an image has no data: areas that were never scanned, or were lost.

Stitching writes 0 there. But 0 may as well be what a camera saw: the glass around a
section, a pore. What tells them apart is the edge. That of a section is blurred by the
optics and ragged by noise; that of lost data is sharp, and mostly straight and in line
with the axes. So a search looks at blocks of 8 x 8 px: which are empty, and how the
pixels lie in those beside them. Its result names blocks; the pixels are those in them
that are 0, which the image itself tells.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
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

_DEPTH: Final = 12
"""Pixels behind an edge that tell the level there."""

_FRAME_SIDES: Final = 4
"""What is cut along no more lines has the form of a frame."""

_ROWS_READ: Final = 64
_FEWEST_EDGES: Final = 10
_SHARP: Final = 0.5
"""Optics let no image rise to so much of its level within two pixels."""

_REACH: Final = 4
"""Pixels that the widest interpolation (Lanczos) looks at on each side."""


class LitBlocks(NamedTuple):
    """Blocks of a part of an image: which of their pixels are not 0.

    The columns and the rows of each block that have such a pixel are bits, the first
    one the highest; `number` is that of these pixels.
    """

    place: tuple[slice, slice]
    columns: NDArray[np.uint8]
    rows: NDArray[np.uint8]
    number: NDArray[np.uint8]


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
        lit = lit.any(axis=2) if lit.shape[2] > 1 else lit[..., 0]
    before = rows.start % BLOCK, columns.start % BLOCK
    if before[1]:
        lit = np.pad(lit, ((0, 0), (before[1], 0)))
    packed = np.packbits(lit, axis=1)
    after = -(before[0] + len(packed)) % BLOCK
    if before[0] or after:
        packed = np.pad(packed, ((before[0], after), (0, 0)))
    blocks = packed.reshape(-1, BLOCK, packed.shape[1])
    top, left = rows.start // BLOCK, columns.start // BLOCK
    return LitBlocks(
        (
            slice(top, top + blocks.shape[0]),
            slice(left, left + blocks.shape[2]),
        ),
        np.bitwise_or.reduce(blocks, axis=1),
        np.packbits(packed != 0, axis=0),
        np.bitwise_count(blocks).sum(axis=1, dtype=np.uint8),
    )


class MissingSearch:
    """A search for what is missing, in parts of an image that come in any order.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        grid = tuple(-(-side // BLOCK) for side in shape)
        self._columns, self._rows, self._count = np.zeros((3, *grid), np.uint8)

    def add(self, lit: LitBlocks) -> None:
        """Add what `lit_blocks` returned for a part of the image."""
        self._columns[lit.place] |= lit.columns
        self._rows[lit.place] |= lit.rows
        self._count[lit.place] += lit.number

    def result(self, read: Callable[[range], NDArray[Any]]) -> Missing | None:
        """Return what is missing; None where nothing is.

        Parameters
        ----------
        read : callable
            Takes rows of the image, evenly spaced, and returns them, shape (n,
            columns). It is asked only where the blocks cannot decide.
        """
        empty = (self._columns == 0).astype(np.uint8)
        square = np.ones((_LEAST_BLOCKS, _LEAST_BLOCKS), np.uint8)
        empty = cv2.morphologyEx(empty, cv2.MORPH_OPEN, square)
        if not empty.any():
            return None
        number, found, boxes, _ = cv2.connectedComponentsWithStats(
            empty, connectivity=4
        )
        labels, sizes = np.asarray(found, np.int32), np.asarray(boxes, np.int32)
        edges = self._edges(labels)
        every = np.bincount(edges.label, minlength=number)
        cut = np.bincount(edges.label[edges.cut], minlength=number)
        around = _share_of_frame(labels, number)
        lost = np.zeros(labels.shape, bool)
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
        sharp = self._sharp(asked, labels, sizes, read) if asked else {}
        for label in unsure:
            if sharp.get(label, 0.0) >= _MOSTLY:
                lost |= labels == label
            elif cut[label]:
                _add_shadows(
                    lost, labels == label, self._sharp_cuts(label, edges, read)
                )
        if not lost.any():
            return None
        # the pixels of blocks beside them that are empty, too, up to the edge
        grid = cv2.dilate(lost.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        inside = self._inside()
        n_pixels = int((inside - np.minimum(self._count, inside))[grid].sum())
        return Missing(grid, (0, 0), n_pixels / (self._shape[0] * self._shape[1]))

    def _inside(self) -> NDArray[np.int64]:
        """Return how many pixels each block has; those at the edge have fewer."""
        sides = [
            np.minimum(BLOCK, side - BLOCK * np.arange(-(-side // BLOCK)))
            for side in self._shape
        ]
        blocks: NDArray[np.int64] = np.outer(sides[0], sides[1]).astype(np.int64)
        return blocks

    def _edges(self, labels: NDArray[np.int32]) -> _Edges:
        """Return where the areas end, and where that is a straight cut."""
        parts: list[_Edges] = []
        for axis, step, bits in (
            (0, 1, self._rows),
            (0, -1, self._rows),
            (1, 1, self._columns),
            (1, -1, self._columns),
        ):
            ahead = np.roll(labels, step, axis=axis)  # the empty block behind
            count, lit = self._count, bits
            border = [slice(None), slice(None)]
            border[axis] = slice(0, 1) if step > 0 else slice(-1, None)
            ahead[tuple(border)] = 0
            rows, columns = np.nonzero((ahead > 0) & (lit > 0))
            label, bit = ahead[rows, columns], lit[rows, columns]
            depth = _leading_zeros(bit) if step > 0 else _trailing_zeros(bit)
            full = count[rows, columns] >= BLOCK * (BLOCK - depth.astype(int)) - _DARK
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
            long = np.bincount(run)[run] >= _STRAIGHT if len(run) else full
            behind = [rows, columns]
            behind[axis] = behind[axis] - step
            run += sum(len(part.run) for part in parts)  # of all four sides
            cut = full & long
            sides = (np.full(len(run), side) for side in (axis, step))
            parts.append(_Edges(label, behind[0], behind[1], depth, cut, run, *sides))
        return _Edges(*map(np.concatenate, zip(*map(_arrays, parts), strict=True)))

    def _sharp(
        self,
        asked: Sequence[int],
        labels: NDArray[np.int32],
        sizes: NDArray[np.int32],
        read: Callable[[range], NDArray[Any]],
    ) -> dict[int, float]:
        """Return which part of the edges of areas is sharper than optics allow."""
        tops = [int(sizes[label, cv2.CC_STAT_TOP]) for label in asked]
        ends = [
            top + int(sizes[label, cv2.CC_STAT_HEIGHT])
            for top, label in zip(tops, asked, strict=True)
        ]
        first, end = min(tops) * BLOCK, min(max(ends) * BLOCK, self._shape[0])
        rows = range(first, end, max(1, (end - first) // _ROWS_READ))
        pixels = np.nan_to_num(read(rows).astype(np.float32))
        counts = {label: [0, 0] for label in asked}
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
            for label in asked:
                mine = own == label
                counts[label][0] += int(np.sum(near[mine] >= _SHARP * level[mine]))
                counts[label][1] += int(mine.sum())
        return {
            label: good / total if total >= _FEWEST_EDGES else 0.0
            for label, (good, total) in counts.items()
        }

    def _sharp_cuts(
        self, label: int, edges: _Edges, read: Callable[[range], NDArray[Any]]
    ) -> _Edges:
        """Return the cuts of an area that are sharper than optics allow.

        The edge of a large section is straight, too, where it is level.
        """
        sharp = []
        for run in np.unique(edges.run[edges.cut & (edges.label == label)]):
            own = edges.of(edges.run == run)
            axis, step = own.axis[0], own.step[0]
            places = (own.rows, own.columns)[axis]
            # the first pixel beyond the edge, and where the line begins and ends
            start = BLOCK * int(places[0]) + (
                BLOCK + int(own.depth[0]) if step > 0 else -1 - int(own.depth[0])
            )
            along = (own.columns, own.rows)[axis]
            first, end = BLOCK * int(along.min()), BLOCK * (int(along.max()) + 1)
            depth = range(start, start + step * (_DEPTH + 1), step)
            if min(depth) < 0 or max(depth) >= self._shape[axis]:
                continue
            if axis == 0:
                rows = range(min(depth), max(depth) + 1)
                seen = read(rows)[::step, first : min(end, self._shape[1])]
            else:
                middle = (first + end) // 2
                high = min(end - first, 4 * BLOCK) // 2
                rows = range(middle - high, min(middle + high, self._shape[0]))
                seen = read(rows)[:, min(depth) : max(depth) + 1].T[::step]
            level = np.nanmean(seen.astype(np.float64), axis=1)
            if level[:2].mean() >= _SHARP * level[4:].mean():
                sharp.append(run)
        chosen = np.isin(edges.run, sharp)
        # what goes on along the same line, where dark minerals lie at it
        along = np.where(edges.axis == 0, edges.columns, edges.rows)
        line = edges.line
        for run in sharp:
            n = int(np.flatnonzero(edges.run == run)[0])
            same = (edges.label == label) & (line == line[n])
            same &= (edges.axis == edges.axis[n]) & (edges.step == edges.step[n])
            own = along[edges.run == run]
            same &= (along >= own.min() - _GAP) & (along <= own.max() + _GAP)
            chosen |= same
        return edges.of(chosen)


@dataclass(frozen=True, slots=True)
class _Edges:
    """Empty blocks beside one that is not: of which area, where, and if it was cut."""

    label: NDArray[np.int32]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    depth: NDArray[np.uint8]  # pixels from the empty block to the edge
    cut: NDArray[np.bool_]
    run: NDArray[np.int64]  # number of the straight line that it is a part of
    axis: NDArray[np.int64]  # of the edge's normal: 0 for rows
    step: NDArray[np.int64]  # from the empty block to the other one

    @property
    def line(self) -> NDArray[np.int64]:
        """Row or column of blocks along which an edge runs."""
        return np.where(self.axis == 0, self.rows, self.columns)

    def n_sides(self, label: int) -> int:
        """Return along how many lines an area is cut."""
        own = self.of(self.cut & (self.label == label))
        return len(set(zip(own.line, own.axis, own.step, strict=True)))

    def of(self, chosen: NDArray[np.bool_]) -> _Edges:
        """Return some of them."""
        return _Edges(*(entry[chosen] for entry in _arrays(self)))


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
    lost: NDArray[np.bool_], empty: NDArray[np.bool_], edges: _Edges
) -> None:
    """Add what lies behind the straight edges of an area, up to its other end.

    Where lost data meet a background of 0 nothing tells where they end.
    """
    for n in range(len(edges.label)):
        row, column = int(edges.rows[n]), int(edges.columns[n])
        place: tuple[Any, Any] = (row, slice(None))
        start = column
        if edges.axis[n] == 0:
            place, start = (slice(None), column), row
        line, out = empty[place], lost[place]
        if edges.step[n] > 0:  # the data lie at larger numbers, the shadow at smaller
            line, out, start = line[::-1], out[::-1], len(line) - 1 - start
        ends = np.flatnonzero(~line[start:])
        out[start : start + (int(ends[0]) if len(ends) else len(line))] = True


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
    """

    blocks: NDArray[np.bool_]
    origin: tuple[int, int]
    share: float

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
        return Missing(self.blocks, (left + x, top + y), self.share)

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
