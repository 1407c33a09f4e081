"""Images that are made window by window when somebody looks at them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.raster import (
    ImageLike,
    Raster,
    warp_window,
    windows,
)
from napari_exo2micro.core.images.transform import Transform

#: A pyramid ends with a level whose longest side is at most this.
TOP_SIDE = 1024

#: Levels that no file holds stay in memory when their sides are at most this.
_HELD_SIDE = 2560

#: Side of the pieces that a viewer reads as a whole.
_PIECE_SIDE = 256

Window = tuple[slice, slice]
Expect = Callable[[range, slice], None]


class LazyImage:
    """A 2-D image whose windows are made when they are read.

    It has what a viewer asks of an array: shape, dtype, ndim, size, slicing with
    whole numbers and slices, conversion with `numpy.asarray`.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns; a third number for the channels of a colour image.
    dtype : dtype
        Of a pixel.
    read : callable
        Takes (rows, columns), two slices with whole, non-negative ends and step 1
        inside of the image, and returns that window as an array. It may be called
        from several threads.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        read: Callable[[Window], NDArray[Any]],
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._read = read

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of the pieces that a viewer had better read as a whole.

        napari then reads a little more than is on screen, and nothing at all while
        somebody moves the picture by less than that: half the time, measured.
        """
        rows, columns, *rest = self.shape
        return min(rows, _PIECE_SIDE), min(columns, _PIECE_SIDE), *rest

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Return the window that `key` names; nothing else is read."""
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in keys:
            place = keys.index(Ellipsis)
            missing = (slice(None),) * (self.ndim - len(keys) + 1)
            keys = keys[:place] + missing + keys[place + 1 :]
        keys += (slice(None),) * (self.ndim - len(keys))
        window: list[slice] = []
        rest: list[Any] = []
        for one, side in zip(keys[:2], self.shape[:2], strict=True):
            if isinstance(one, slice):
                span = range(side)[one]
                low, high = (
                    (min(span[0], span[-1]), max(span[0], span[-1]) + 1)
                    if len(span)
                    else (0, 0)
                )
                window.append(slice(low, high))
                rest.append(slice(None, None, one.step))
            else:
                index = range(side)[int(one)]
                window.append(slice(index, index + 1))
                rest.append(0)
        if any(part.stop == part.start for part in window):
            empty = [part.stop - part.start for part in window]
            pixels = np.zeros((*empty, *self.shape[2:]), self.dtype)
        else:
            pixels = self._read((window[0], window[1]))
        return pixels[(*rest, *keys[2:])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole image."""
        whole = self._read((slice(0, self.shape[0]), slice(0, self.shape[1])))
        return whole if dtype is None else whole.astype(dtype, copy=False)


def pyramid(image: Raster) -> list[LazyImage]:
    """Return an image and its smaller levels, full resolution first.

    Parameters
    ----------
    image : Raster
        Levels that its file does not hold (FITS, files of others) are every n-th
        pixel of the smallest one that it holds.

    Returns
    -------
    list of LazyImage
        The last one's longest side is at most 1024 px.
    """

    def level(number: int) -> LazyImage:
        shape = tuple(-(-side // (1 << number)) for side in image.shape)

        def read(window: Window) -> NDArray[Any]:
            rows, columns = window
            image.expect(range(rows.start, rows.stop), columns, number)
            return image.read(window, number)

        return LazyImage(shape, image.dtype, read)

    levels = [level(number) for number in range(image.n_levels)]
    base, step = levels[-1], 1
    expect: Expect | None = partial(image.expect, level=image.n_levels - 1)
    while max(levels[-1].shape) > TOP_SIDE:
        if step > 1 and max(levels[-1].shape) <= _HELD_SIDE:
            base, step, expect = levels[-1], 1, None  # which is read once
        step *= 2
        levels.append(every_pixel(base, step, release=image.release, expect=expect))
    return levels


def every_pixel(
    image: LazyImage,
    step: int,
    *,
    release: Callable[[], None] | None = None,
    expect: Expect | None = None,
) -> LazyImage:
    """Return every `step`-th pixel of every `step`-th row of an image.

    Parameters
    ----------
    image : LazyImage
        The image; a small result is read once and stays in memory.
    step : int
        Distance of the pixels, px.
    release : callable, optional
        Called after a whole level was read.
    expect : callable, optional
        Takes the rows and the columns that are read next, a range and a slice.
    """
    shape = tuple(-(-side // step) for side in image.shape)
    held: list[NDArray[Any]] = []

    def read(window: Window) -> NDArray[Any]:
        if held:
            return held[0][window]
        if max(shape[:2]) > _HELD_SIDE:
            return sample(window)
        whole = sample((slice(0, shape[0]), slice(0, shape[1])))
        held.append(whole)
        if release is not None:
            release()
        return whole[window]

    def sample(window: Window) -> NDArray[Any]:
        rows, columns = (slice(p.start * step, p.stop * step, step) for p in window)
        # Row by row where they lie far apart: a window would read all in between, and
        # a view would keep the whole row in memory.
        chosen = range(image.shape[0])[rows]
        if expect is not None:
            end = min(columns.stop, image.shape[1])
            expect(chosen, slice(columns.start, end))
        lines = [np.array(image[row, columns]) for row in chosen]
        return np.stack(lines)

    return LazyImage(shape, image.dtype, read)


def scaled_pyramid(levels: Sequence[LazyImage], scale: float) -> list[LazyImage]:
    """Return ``scale * image``, float32, made when it is read.

    Parameters
    ----------
    levels : sequence of LazyImage
        The image, full resolution first.
    scale : float
        Factor of the grey levels.
    """

    def scaled(level: LazyImage) -> LazyImage:
        def read(window: Window) -> NDArray[Any]:
            pixels: NDArray[np.float32] = np.asarray(level[window], np.float32)
            return pixels * np.float32(scale)

        return LazyImage(level.shape, np.float32, read)

    return [scaled(level) for level in levels]


_WINDOW = 1024
_RESAMPLED = frozenset({"u1", "u2", "i2", "f4", "f8"})


def nearest_window(
    image: ImageLike,
    transform: Transform,
    y0: int,
    y1: int,
    x0: int,
    x1: int,
) -> NDArray[Any]:
    """Return one window of ``image`` at the pixels nearest to transformed points.

    Every value is one that `image` has: for labels.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        Any dtype.
    transform : Transform
        From points of the result to points of `image`, (x, y) in px.
    y0, y1, x0, x1 : int
        Rows and columns of the window in the result.

    Returns
    -------
    ndarray, shape (y1 - y0, x1 - x0), dtype of `image`
        0 where the point lies outside of `image`.
    """
    result = np.zeros((y1 - y0, x1 - x0), image.dtype)
    x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
    points = transform(np.stack([x.ravel(), y.ravel()], axis=1))
    nearest = np.floor(points + 0.5)
    inside = (nearest >= 0).all(axis=1)
    inside &= (nearest < (image.shape[1], image.shape[0])).all(axis=1)
    if not inside.any():
        return result
    column, row = nearest[inside].astype(np.int64).T
    left, top, right, bottom = column.min(), row.min(), column.max(), row.max()
    reaches_far = (right - left) * (bottom - top) > 16 * max(result.size, 1 << 20)
    if reaches_far and result.size > 1:
        return _in_halves(image, transform, (y0, y1, x0, x1))
    source = np.asarray(image[top : bottom + 1, left : right + 1])
    result.ravel()[inside] = source[row - top, column - left]
    return result


def _in_halves(
    image: ImageLike, transform: Transform, window: tuple[int, int, int, int]
) -> NDArray[Any]:
    """Work on a window that reaches far in two parts, to bound what is read."""
    y0, y1, x0, x1 = window
    if y1 - y0 >= x1 - x0:
        middle = (y0 + y1) // 2
        parts, axis = [(y0, middle, x0, x1), (middle, y1, x0, x1)], 0
    else:
        middle = (x0 + x1) // 2
        parts, axis = [(y0, y1, x0, middle), (y0, y1, middle, x1)], 1
    return np.concatenate(
        [nearest_window(image, transform, *part) for part in parts], axis=axis
    )


def moved_levels(
    levels: Sequence[ImageLike],
    sampling: Transform,
    shape: tuple[int, int],
    *,
    interpolation: str = "cubic",
    labels: bool = False,
) -> list[LazyImage]:
    """Return an image as it looks through an alignment, made when it is read.

    Parameters
    ----------
    levels : sequence of ImageLike, shape (rows, columns) or (rows, columns, colours)
        The image, full resolution first; others may be smaller levels of it.
    sampling : Transform
        From points of the result to points of the image, (x, y) in px.
    shape : tuple of int
        Rows and columns of the result.
    interpolation : {'linear', 'cubic', 'lanczos'}
        Resampling kernel.
    labels : bool
        Keep values as they are: the nearest pixel's.

    Returns
    -------
    list of LazyImage
        Of the image's dtype, full resolution first; the last one's longest side is
        at most 1024 px. Outside of the image is 0.

    Raises
    ------
    ParameterError
        When the image is not 2-D, or of a type without numbers.
    """
    if len(levels[0].shape) not in (2, 3) or levels[0].dtype.kind not in "buif":
        raise ParameterError(
            f"a 2-D image of numbers can be moved, found shape {levels[0].shape} and "
            f"type {levels[0].dtype}; choose another layer"
        )
    halves = _halves(levels)
    colours = tuple(levels[0].shape[2:])
    found: list[LazyImage] = []
    while True:
        factor = 1 << len(found)
        small = (-(-shape[0] // factor), -(-shape[1] // factor))
        number = min(len(found), len(halves) - 1)
        source = _Source(halves[number], colours, interpolation, labels)
        found.append(source.moved(_between(sampling, factor, 1 << number), small))
        if max(small) <= TOP_SIDE:
            return found


def _halves(levels: Sequence[ImageLike]) -> list[ImageLike]:
    """Return the levels that halve the one before, and such ones where they lack."""
    found = [levels[0]]
    for level in levels[1:]:
        wanted = tuple(-(-side // (1 << len(found))) for side in levels[0].shape[:2])
        if tuple(level.shape[:2]) != wanted:
            break
        found.append(level)
    base = found[-1]
    lazy = LazyImage(base.shape, base.dtype, lambda window: np.asarray(base[window]))
    step = 1
    while max(base.shape[:2]) // step > TOP_SIDE:
        step *= 2
        found.append(every_pixel(lazy, step))
    return found


def _between(sampling: Transform, to: int, of: int) -> Transform:
    """Return the map between reduced grids: means over `to` and over `of` px."""
    up = Transform.similarity(scale=to, translation=((to - 1) / 2, (to - 1) / 2))
    down = Transform.similarity(scale=of, translation=((of - 1) / 2, (of - 1) / 2))
    return down.inverse() @ sampling @ up


@dataclass(frozen=True, slots=True)
class _Source:
    """One level of the image that is moved."""

    image: ImageLike
    colours: tuple[int, ...]
    interpolation: str
    labels: bool

    def moved(self, sampling: Transform, shape: tuple[int, int]) -> LazyImage:
        def read(window: Window) -> NDArray[Any]:
            result = np.empty(
                (*(part.stop - part.start for part in window), *self.colours),
                self.image.dtype,
            )
            tops, lefts = window
            for rows, columns in windows(result.shape[:2], _WINDOW):
                place = (
                    rows.start + tops.start,
                    rows.stop + tops.start,
                    columns.start + lefts.start,
                    columns.stop + lefts.start,
                )
                result[rows, columns] = self._window(sampling, place)
            return result

        return LazyImage((*shape, *self.colours), self.image.dtype, read)

    def _window(
        self, sampling: Transform, place: tuple[int, int, int, int]
    ) -> NDArray[Any]:
        if not self.colours:
            return self._plane(self.image, sampling, place)
        planes = (
            self._plane(_Colour(self.image, index), sampling, place)
            for index in range(self.colours[0])
        )
        return np.stack(list(planes), axis=-1)

    def _plane(
        self, image: ImageLike, sampling: Transform, place: tuple[int, int, int, int]
    ) -> NDArray[Any]:
        if self.labels or image.dtype.kind == "b":
            return nearest_window(image, sampling, *place)
        if image.dtype.str[1:] in _RESAMPLED:
            return warp_window(image, sampling, *place, self.interpolation)
        wide = warp_window(_AsFloat(image), sampling, *place, self.interpolation)
        if image.dtype.kind in "iu":
            info = np.iinfo(image.dtype)
            wide = np.clip(np.rint(wide), float(info.min), float(info.max))
        return wide.astype(image.dtype)


@dataclass(frozen=True, slots=True)
class _Colour:
    """One colour of an image, as a 2-D image."""

    image: ImageLike
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.image.shape[:2])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.image.dtype

    def __getitem__(self, key: Any, /) -> Any:
        return np.asarray(self.image[key])[..., self.index]


@dataclass(frozen=True, slots=True)
class _AsFloat:
    """An image of a type that is not resampled, as float32."""

    image: ImageLike

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.image.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def __getitem__(self, key: Any, /) -> Any:
        return np.asarray(self.image[key], dtype=np.float32)


def moved_image(image: LazyImage, monitor: Monitor | None = None) -> NDArray[Any]:
    """Return a lazy image as an array, made window by window.

    Parameters
    ----------
    image : LazyImage
        For example the first of `moved_levels`.
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.
    """
    monitor = monitor or Monitor()
    result = np.empty(image.shape, image.dtype)
    total = math.prod(-(-side // _WINDOW) for side in image.shape[:2])
    for done, (rows, columns) in enumerate(windows(image.shape, _WINDOW)):
        monitor.report(done / total, "moving the image")
        result[rows, columns] = image[rows, columns]
    return result


def outline_of(
    shape: tuple[int, ...], sampling: Transform
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the smallest frame that holds a moved image whole.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    sampling : Transform
        From points of the result to points of the image.

    Returns
    -------
    first : tuple of int
        (x, y) of the frame's first pixel, px of the result.
    shape : tuple of int
        Its rows and columns.
    """
    right, bottom = shape[1] - 0.5, shape[0] - 0.5
    corners = [(-0.5, -0.5), (right, -0.5), (-0.5, bottom), (right, bottom)]
    moved = sampling.inverse()(corners)
    low, high = np.floor(moved.min(axis=0) + 0.5), np.ceil(moved.max(axis=0) + 0.5)
    columns, rows = (high - low).astype(int)
    return (int(low[0]), int(low[1])), (int(rows), int(columns))


#: Shades of a look for images whose values are not whole numbers.
_SHADES: Final = 1024

#: Steps of whole levels on which the picture's first pixel lies.
_GRID_LEVELS: Final = 6

#: The last level is for a viewer's thumbnail: nobody looks at it closely.
_THUMBNAIL_SIDE: Final = 64

_Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How grey levels are coloured.

    Attributes
    ----------
    colours : ndarray, shape (N, 3) or (N, 4), uint8
        From the darkest to the brightest shade, red, green, blue.
    low, high : float
        Grey levels of the first and the last colour.
    gamma : float
        The colour of a value is that of ``fraction ** gamma``, with its fraction
        of the way from `low` to `high`.
    """

    colours: NDArray[np.uint8]
    low: float
    high: float
    gamma: float = 1.0

    def _words(self, fractions: NDArray[np.float64]) -> _Words:
        """Return the colours of fractions from 0 to 1, four bytes in a word each."""
        last = len(self.colours) - 1
        index = np.rint(np.clip(fractions, 0, 1) ** self.gamma * last).astype(int)
        opaque = np.full((*index.shape, 4), 255, np.uint8)
        opaque[..., :3] = self.colours[index, :3]
        return opaque.view(np.uint32)[..., 0]

    def table(self, dtype: np.dtype[Any]) -> _Words:
        """Return the colour of each value that a pixel can have.

        Parameters
        ----------
        dtype : dtype
            Of the image. For 8 and 16 bits without a sign the table's index is the
            value, otherwise the shade, see `painted`.
        """
        if not _is_small(dtype):
            return self._words(np.linspace(0, 1, _SHADES))
        values = np.arange(1 << (8 * dtype.itemsize), dtype=np.float64)
        return self._words((values - self.low) / self._span)

    @property
    def _span(self) -> float:
        return max(self.high - self.low, 1e-12)

    def painted(self, pixels: NDArray[Any], table: _Words) -> _Words:
        """Return the colours of a window.

        Parameters
        ----------
        pixels : ndarray, shape (rows, columns)
            Grey levels; what is no number is drawn like `low`.
        table : ndarray, shape (N,), uint32
            As `table` returned it for their type.

        Returns
        -------
        ndarray, shape (rows, columns), uint32
            Bytes of red, green, blue, alpha; alpha is 255.
        """
        if _is_small(pixels.dtype):
            return np.take(table, pixels)
        shades = np.array(pixels, dtype=np.float32)
        shades -= np.float32(self.low)
        shades *= np.float32((_SHADES - 1) / self._span)
        shades = np.nan_to_num(shades, copy=False, nan=0.0)
        np.clip(shades, 0, _SHADES - 1, out=shades)
        return np.take(table, np.rint(shades, out=shades).astype(np.uint16))


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two images.

    Attributes
    ----------
    levels : sequence of array_like
        A grey image and its smaller levels, full resolution first; each further
        one is smaller by a whole number.
    offset : tuple of float
        (row, column) of its first pixel's centre in the common coordinates, px.
    look : Look
        Its colours.
    """

    levels: Sequence[Any]
    offset: tuple[float, float]
    look: Look

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns at full resolution."""
        rows, columns = self.levels[0].shape
        return int(rows), int(columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        dtype: np.dtype[Any] = np.dtype(self.levels[0].dtype)
        return dtype

    def level(self, number: int) -> tuple[Any, int]:
        """Return what a level of 2**number px is made from.

        Returns
        -------
        image : array_like
            One of `levels`.
        step : int
            Of which every `step`-th pixel is taken.
        """
        wanted = 1 << number
        best = (self.levels[0], wanted)
        for level in self.levels[1:]:
            ratios = {
                max(round(full / part), 1)
                for full, part in zip(self.shape, level.shape, strict=True)
                if part > 4
            }
            if len(ratios) == 1:
                factor = ratios.pop()
                if factor <= wanted and wanted % factor == 0:
                    best = (level, wanted // factor)
        return best


@dataclass(frozen=True, slots=True)
class Split:
    """Which parts of the picture show which image.

    Attributes
    ----------
    kind : {'columns', 'rows', 'checkerboard'}
        The first image is left of the curtain, above it, or in every second
        square, the one that begins at (0, 0) among them.
    position : float
        Where the curtain hangs: column or row in the common coordinates, px.
    square : int
        Side of a square, px.
    """

    kind: Literal["columns", "rows", "checkerboard"] = "columns"
    position: float = 0.0
    square: int = 512


class Composite:
    """Two images in one picture that is made window by window.

    `first`, `second` and `split` may be replaced at any time; what is read
    afterwards follows. Both images keep their places when they are replaced by
    others of the same size and offset, for example with another look.

    Parameters
    ----------
    first, second : Side
        The two images.
    split : Split
        Which parts of the picture show which image.

    Attributes
    ----------
    origin : tuple of float
        (row, column) in the common coordinates of the picture's first pixel.
    levels : list of LazyImage, shape (rows, columns, 4), uint8
        Red, green, blue and alpha, full resolution first; alpha is 0 where the
        image to be shown has no pixels. Each level is half as large as the one
        before; the last is no longer than 64 px.

    Notes
    -----
    An image whose offset is not a whole number of a level's pixels from the first
    one's is interpolated linearly on that level, so that both lie on one another
    as exactly as at full resolution. The first one never is.

    Examples
    --------
    >>> import numpy as np
    >>> grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    >>> look = Look(grey, 0, 255)
    >>> dark, bright = (np.full((8, 8), v, np.uint8) for v in (10, 200))
    >>> sides = [Side([image], (0.0, 0.0), look) for image in (dark, bright)]
    >>> picture = Composite(*sides, Split("columns", position=3.0)).levels[0]
    >>> picture[0, :8, 0].tolist()
    [10, 10, 10, 200, 200, 200, 200, 200]
    """

    def __init__(self, first: Side, second: Side, split: Split) -> None:
        self.first, self.second, self.split = first, second, split
        last = 0
        low = np.minimum(first.offset, second.offset)
        high = np.maximum(
            np.add(first.offset, first.shape), np.add(second.offset, second.shape)
        )
        while (high - low).max() > _THUMBNAIL_SIDE << last:
            last += 1
        step = 1 << min(last, _GRID_LEVELS)
        # Whole steps from the first image, so that this one is never interpolated.
        start = np.asarray(first.offset) - step * np.ceil(
            (np.asarray(first.offset) - low) / step
        )
        rows, columns = (
            int(step * math.ceil((e - s) / step))
            for s, e in zip(start, high, strict=True)
        )
        self.origin = (float(start[0]), float(start[1]))
        self._cached: dict[int, tuple[Any, ...]] = {}
        self._tables: dict[int, tuple[Look, _Words]] = {}
        self.levels = [
            self._level(number, -(-rows >> number), -(-columns >> number))
            for number in range(last + 1)
        ]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns at full resolution."""
        return self.levels[0].shape[0], self.levels[0].shape[1]

    def _level(self, number: int, rows: int, columns: int) -> LazyImage:
        return LazyImage(
            (rows, columns, 4), np.uint8, lambda window: self._read(window, number)
        )

    def _read(self, window: Window, number: int) -> NDArray[np.uint8]:
        """Return a window of one level."""
        split = self.split
        first = self._painted(0, self.first, window, number)
        second = self._painted(1, self.second, window, number)
        centres = [
            start + (np.arange(part.start, part.stop) + 0.5) * (1 << number) - 0.5
            for start, part in zip(self.origin, window, strict=True)
        ]
        result = second.copy()
        if split.kind == "checkerboard":
            size = max(int(split.square), 1)
            rows, columns = (np.floor(c / size).astype(np.int64) % 2 for c in centres)
            for parity in (0, 1):
                of_first = columns == parity
                np.copyto(result, first, where=(rows == parity)[:, None] & of_first)
        elif split.kind == "rows":
            end = int(np.searchsorted(centres[0], split.position))
            result[:end] = first[:end]
        else:
            end = int(np.searchsorted(centres[1], split.position))
            result[:, :end] = first[:, :end]
        return result.view(np.uint8).reshape(*result.shape, 4)

    def _painted(self, key: int, side: Side, window: Window, number: int) -> _Words:
        """Return one image's colours in a window; the last window is kept.

        So that a curtain that moves reads and colours nothing again.
        """
        wanted = (side, number, window)
        known = self._cached.get(key)
        if known is not None and known[0] is side and known[1:3] == wanted[1:]:
            kept: _Words = known[3]
            return kept
        look, table = self._tables.get(key, (None, None))
        if look is not side.look or table is None:
            table = side.look.table(side.dtype)
            self._tables[key] = (side.look, table)
        colours = _painted_window(side, table, self.origin, window, number)
        self._cached[key] = (*wanted, colours)
        return colours


def _is_small(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "u" and dtype.itemsize <= 2


def _painted_window(
    side: Side,
    table: _Words,
    origin: tuple[float, float],
    window: Window,
    number: int,
) -> _Words:
    """Return an image's colours in a window of the picture, 0 where it has none."""
    image, step = side.level(number)
    factor = 1 << number
    shape = [-(-length // step) for length in image.shape]
    parts, targets, shifts = [], [], []
    for axis, part in enumerate(window):
        place = (side.offset[axis] - origin[axis]) / factor
        whole = math.floor(place)
        shift = place - whole
        if min(shift, 1 - shift) < 1e-6:
            whole, shift = round(place), 0.0
        # Pixels of the picture that lie on the image, at least by half.
        start = max(part.start, whole + round(shift))
        stop = min(part.stop, whole + round(shift) + shape[axis])
        targets.append(slice(start - part.start, max(stop, start) - part.start))
        parts.append((start - whole, max(stop, start) - whole))
        shifts.append(shift)
    result = np.zeros([part.stop - part.start for part in window], np.uint32)
    if any(start >= stop for start, stop in parts):
        return result
    pixels = _taken(image, step, parts, shifts)
    result[targets[0], targets[1]] = side.look.painted(pixels, table)
    return result


def _taken(
    image: Any, step: int, parts: Sequence[tuple[int, int]], shifts: Sequence[float]
) -> NDArray[Any]:
    """Return a part of a level, moved by fractions of a pixel to higher numbers."""
    keys, places = [], []
    for (start, stop), shift, length in zip(parts, shifts, image.shape, strict=True):
        count = -(-length // step)
        # What is moved is a mean of each pixel and the one before it.
        first = max(start - 1, 0) if shift else start
        last = min(stop, count)
        half = min(step // 2, length - 1 - (last - 1) * step)
        keys.append(slice(first * step + half, (last - 1) * step + half + 1, step))
        places.append(np.arange(start, stop) - first)
    pixels: NDArray[Any] = np.asarray(image[keys[0], keys[1]])
    if not any(shifts):
        return pixels
    moved = pixels.astype(np.float32)
    for axis, (shift, place) in enumerate(zip(shifts, places, strict=True)):
        if shift:
            weight, end = np.float32(shift), moved.shape[axis] - 1
            here, before = (
                moved.take(np.clip(place - back, 0, end), axis) for back in (0, 1)
            )
            moved = (1 - weight) * here + weight * before
    return np.rint(moved).astype(pixels.dtype) if pixels.dtype.kind == "u" else moved


#: Colours of a difference from the lowest to the highest value, black at zero.
DIFFERENCE_STOPS = (
    (0.0, "#c8ecff"),
    (0.2, "#3fa7e8"),
    (0.36, "#1b4f9c"),
    (0.5, "#000000"),
    (0.64, "#a33a06"),
    (0.8, "#f39b1d"),
    (1.0, "#fff3b0"),
)

_SIDE = 2048
_BRIGHTEST = 99.8


def _sample(levels: Sequence[LazyImage]) -> NDArray[np.float64]:
    """Return the finite values of the finest level that is read at once."""
    small = next((one for one in levels if max(one.shape) <= _SIDE), levels[-1])
    values = np.asarray(small, dtype=np.float64).ravel()
    return values[np.isfinite(values)]


def brightness_range(levels: Sequence[LazyImage]) -> tuple[float, float]:
    """Return the grey levels to show as black and as full brightness.

    Parameters
    ----------
    levels : sequence of LazyImage
        The image, full resolution first; one level of at most 2048 px is read.

    Returns
    -------
    low, high : float
        0, and what 99.8 % of the pixels above 0 stay below; for an image with
        negative values the lowest instead of 0. `high` is above `low`.
    """
    values = _sample(levels)
    if not len(values):
        return 0.0, 1.0
    low = min(float(values.min()), 0.0)
    lit = values[values > 0]
    high = float(np.percentile(lit, _BRIGHTEST)) if len(lit) else low + 1.0
    return low, max(high, low + 1e-6)


def symmetric_range(levels: Sequence[LazyImage]) -> tuple[float, float]:
    """Return the range of a difference image, centred on zero.

    Parameters
    ----------
    levels : sequence of LazyImage
        The image, full resolution first; one level of at most 2048 px is read.

    Returns
    -------
    low, high : float
        ``-high`` and what 99.8 % of the values that are not 0 stay within.
    """
    values = np.abs(_sample(levels))
    lit = values[values > 0]
    high = float(np.percentile(lit, _BRIGHTEST)) if len(lit) else 1.0
    return -high, high
