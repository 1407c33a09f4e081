"""Images that are made window by window when somebody looks at them.

A `LazyImage` is made from a function that returns a window; the other functions return
such images, made from others. What is put on top of one another is read only once, and
only where somebody looks.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_exo2micro.core.base import Monitor, ParameterError
from napari_exo2micro.core.images import raster
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import (
    mapped_bounds,
    nearest_window,
    warp_window,
)

#: A pyramid ends with a level whose longest side is at most this.
TOP_SIDE = 1024

#: Levels that no file holds stay in memory when their sides are at most this.
HELD_SIDE = 2560

#: Side of the pieces that a viewer reads as a whole.
_PIECE_SIDE = 256

#: A warped image is made in windows of this side: what they need stays in the cache.
_WINDOW = 1024

#: Types that are resampled as they are; others go through float32.
_RESAMPLED = frozenset({"u1", "u2", "i2", "f4", "f8"})

Window = tuple[slice, slice]


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
        Takes (rows, columns), two slices with whole, non-negative ends inside of the
        image, and returns that window as an array. It may be called from several
        threads.
    strided : bool
        Whether `read` takes slices with a positive step, and then reads only what
        they name; without it the step is always 1.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        read: Callable[[Window], NDArray[Any]],
        *,
        strided: bool = False,
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._read = read
        self._strided = strided

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
        for index, side in zip(keys[:2], self.shape[:2], strict=True):
            if not isinstance(index, slice):
                place = range(side)[int(index)]
                window.append(slice(place, place + 1))
                rest.append(0)
                continue
            span = range(side)[index]
            forward = span if span.step > 0 else span[::-1]
            step = forward.step if self._strided else None
            end = forward[-1] + 1 if forward else forward.start
            window.append(slice(forward.start, end, step))
            turn = 1 if span.step > 0 else -1
            rest.append(slice(None, None, turn if self._strided else span.step))
        if any(part.start == part.stop for part in window):
            shape = [len(range(self.size)[part]) for part in window]
            pixels = np.zeros((*shape, *self.shape[2:]), self.dtype)
        else:
            pixels = self._read((window[0], window[1]))
        return pixels[(*rest, *keys[2:])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole image."""
        return np.array(self[:, :], dtype, copy=copy if copy is None else bool(copy))


def lazy(image: raster.ImageLike) -> LazyImage:
    """Return an array, a memory map or a `Raster` as a lazy image."""
    if isinstance(image, LazyImage):
        return image
    return LazyImage(
        image.shape,
        image.dtype,
        lambda window: np.asarray(image[window]),
        strided=True,
    )


def composed(
    image: LazyImage, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: DTypeLike
) -> LazyImage:
    """Return ``function(pixels)``, of the type `dtype`, which works pixel by pixel."""
    return LazyImage(
        image.shape, dtype, lambda window: function(image[window]), strided=True
    )


def patched(image: raster.ImageLike, window: Window, pixels: NDArray[Any]) -> LazyImage:
    """Return an image with other pixels in one window."""
    start = np.array([part.start for part in window])

    def read(asked: Window) -> NDArray[Any]:
        seen = np.array(image[asked])
        first = [max(a.start, w.start) for a, w in zip(asked, window, strict=True)]
        last = [min(a.stop, w.stop) for a, w in zip(asked, window, strict=True)]
        if all(a < b for a, b in zip(first, last, strict=True)):
            to, of = (
                tuple(
                    slice(a - o, b - o) for a, b, o in zip(first, last, at, strict=True)
                )
                for at in ([part.start for part in asked], start)
            )
            seen[to] = pixels[of]
        return seen

    return LazyImage(image.shape, image.dtype, read)


def every_pixel(image: LazyImage, step: int) -> LazyImage:
    """Return every `step`-th pixel of every `step`-th row of an image."""
    sides = image.shape[:2]

    def read(window: Window) -> NDArray[Any]:
        rows, columns = (
            slice(part.start * step, part.stop * step, step * (part.step or 1))
            for part in window
        )
        pixels: NDArray[Any] = image[rows, columns]
        return pixels

    shape = (*(-(-side // step) for side in sides), *image.shape[2:])
    return LazyImage(shape, image.dtype, read, strided=True)


def held(image: LazyImage, then: Callable[[], object] | None = None) -> LazyImage:
    """Return a small image that is read once, whole, and stays in memory.

    One with a side over 2560 px is returned as it is. `then` is called after it was
    read.
    """
    if max(image.shape[:2]) > HELD_SIDE:
        return image
    kept: list[NDArray[Any]] = []

    def read(window: Window) -> NDArray[Any]:
        if not kept:
            kept.append(np.array(image))
            if then is not None:
                then()
        return kept[0][window]

    return LazyImage(image.shape, image.dtype, read, strided=True)


def cropped(
    image: LazyImage, first: tuple[int, int], shape: tuple[int, int]
) -> LazyImage:
    """Return a part of an image, 0 where the image has no pixels.

    `first` is (row, column) in the image of the part's first pixel and may lie outside,
    `shape` the part's rows and columns.
    """

    def read(window: Window) -> NDArray[Any]:
        inside, place = [], []
        for part, shift, side in zip(window, first, image.shape, strict=False):
            start = min(max(part.start + shift, 0), side)
            stop = min(max(part.stop + shift, start), side)
            inside.append(slice(start, stop))
            begin = start - shift - part.start
            place.append(slice(begin, begin + stop - start))
        sides = (part.stop - part.start for part in window)
        pixels = np.zeros((*sides, *image.shape[2:]), image.dtype)
        if all(part.stop > part.start for part in inside):
            pixels[place[0], place[1]] = image[inside[0], inside[1]]
        return pixels

    return LazyImage((*shape, *image.shape[2:]), image.dtype, read)


def warped(
    image: LazyImage,
    sampling: Transform,
    shape: tuple[int, int],
    *,
    interpolation: str = "cubic",
    labels: bool = False,
) -> LazyImage:
    """Return one level of `moved_levels`, of the image's type; 0 outside of it."""
    dtype = image.dtype
    sample = partial(
        warped,
        sampling=sampling,
        shape=shape,
        interpolation=interpolation,
        labels=labels,
    )
    if image.ndim == 3:

        def plane(index: int) -> LazyImage:
            return LazyImage(
                image.shape[:2],
                dtype,
                lambda window: image[window][..., index],
                strided=True,
            )

        planes = [sample(plane(index)) for index in range(image.shape[2])]
        return LazyImage(
            (*shape, len(planes)),
            dtype,
            lambda window: np.stack([plane[window] for plane in planes], axis=-1),
        )
    keeps_values = labels or dtype.kind == "b"
    if not keeps_values and dtype.str[1:] not in _RESAMPLED:
        wide = composed(image, lambda pixels: pixels.astype(np.float32), "f4")
        return composed(sample(wide), partial(_narrowed, dtype), dtype)
    warp = nearest_window
    if not keeps_values:
        warp = partial(warp_window, interpolation=interpolation)

    def read(window: Window) -> NDArray[Any]:
        result = np.empty([part.stop - part.start for part in window], dtype)
        y, x = (part.start for part in window)
        for rows, columns in raster.windows(result.shape, _WINDOW):
            place = y + rows.start, y + rows.stop, x + columns.start, x + columns.stop
            result[rows, columns] = warp(image, sampling, *place)
        return result

    return LazyImage(shape, dtype, read)


def _narrowed(dtype: np.dtype[Any], pixels: NDArray[Any]) -> NDArray[Any]:
    """Return floats as a narrower type: integers are rounded and clipped to it."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        pixels = np.clip(np.rint(pixels), float(info.min), float(info.max))
    return pixels.astype(dtype)


def pyramid(image: raster.ImageLike) -> list[LazyImage]:
    """Return an image and its smaller levels, full resolution first.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        A `Raster`: levels that its file does not hold (FITS, files of others) are
        every n-th pixel of the smallest one that it holds. Of an array levels are
        made here, means over blocks.

    Returns
    -------
    list of LazyImage
        Each half as large as the one before; the last one's longest side is at most
        1024 px.
    """
    if isinstance(image, raster.Raster):
        levels = [_file_level(image, number) for number in range(image.n_levels)]
        while max(levels[-1].shape) > TOP_SIDE:
            levels.append(held(every_pixel(levels[-1], 2), image.release))
        return levels
    levels = [lazy(image)]
    while max(levels[-1].shape) > TOP_SIDE:
        means, _ = raster.reduce_image(image, factor=1 << len(levels))
        if image.dtype.kind in "ui":
            means = np.rint(means)
        levels.append(lazy(means.astype(image.dtype)))
    return levels


def _file_level(image: raster.Raster, number: int) -> LazyImage:
    shape = tuple(-(-side // (1 << number)) for side in image.shape)

    def read(window: Window) -> NDArray[Any]:
        rows, columns = window
        image.expect(range(shape[0])[rows], columns, number)
        pixels = image.read(window, number)
        # a view of a part would keep all in between in memory
        return pixels if (rows.step or 1) == 1 else np.array(pixels)

    return LazyImage(shape, image.dtype, read, strided=True)


def scaled_pyramid(levels: Sequence[LazyImage], scale: float) -> list[LazyImage]:
    """Return ``scale * image`` at each of its levels, float32."""

    def scaled(pixels: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(pixels, np.float32) * np.float32(scale)

    return [composed(level, scaled, np.float32) for level in levels]


def cropped_pyramid(
    levels: Sequence[LazyImage], frame: raster.Frame
) -> tuple[list[LazyImage], tuple[int, int]]:
    """Return the part of a `pyramid` that holds a frame of the full resolution.

    Returns
    -------
    levels : list of LazyImage
        The same levels over whole pixels of the smallest one around the frame.
    origin : tuple of int
        (x, y) of their first pixel on the canvas, full-resolution px.
    """
    step = 1 << (len(levels) - 1)
    x0, y0, width, height = frame
    left, top = x0 // step * step, y0 // step * step
    columns = min(-(-(x0 + width) // step) * step, levels[0].shape[1]) - left
    rows = min(-(-(y0 + height) // step) * step, levels[0].shape[0]) - top
    parts = [
        cropped(level, (top >> n, left >> n), (-(-rows >> n), -(-columns >> n)))
        for n, level in enumerate(levels)
    ]
    return parts, (left, top)


def moved_levels(
    levels: Sequence[raster.ImageLike],
    sampling: Transform,
    shape: tuple[int, int] | None = None,
    *,
    interpolation: str = "cubic",
    labels: bool = False,
) -> list[LazyImage]:
    """Return an image and its smaller levels as they look through an alignment.

    Parameters
    ----------
    levels : sequence of ImageLike, shape (rows, columns) or (rows, columns, colours)
        The image, full resolution first; others may be smaller levels of it.
    sampling : Transform
        From points of the result to points of the image, (x, y) in px.
    shape : tuple of int, optional
        Rows and columns of the result; those of the image by default.
    interpolation : {'linear', 'cubic', 'lanczos'}
        Resampling kernel.
    labels : bool
        Keep values as they are: the nearest pixel's.

    Returns
    -------
    list of LazyImage
        Full resolution first; the last one's longest side is at most 1024 px.

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
    rows, columns = shape or levels[0].shape[:2]
    halves = _halves(levels)
    result: list[LazyImage] = []
    while not result or max(result[-1].shape[:2]) > TOP_SIDE:
        number = min(len(result), len(halves) - 1)
        factor = 1 << len(result)
        result.append(
            warped(
                halves[number],
                _between(sampling, factor, 1 << number),
                (-(-rows // factor), -(-columns // factor)),
                interpolation=interpolation,
                labels=labels,
            )
        )
    return result


def _halves(levels: Sequence[raster.ImageLike]) -> list[LazyImage]:
    """Return the levels that halve the one before, and such ones where they lack."""
    halves = [lazy(levels[0])]
    for level in levels[1:]:
        half = tuple(-(-side // 2) for side in halves[-1].shape[:2])
        if level.shape[:2] != half:
            break
        halves.append(lazy(level))
    while max(halves[-1].shape[:2]) > TOP_SIDE:
        halves.append(held(every_pixel(halves[-1], 2)))
    return halves


def _between(sampling: Transform, to: int, of: int) -> Transform:
    """Return the map between reduced grids: means over `to` and over `of` px."""
    # pixel p of a level covers the points around (p + 0.5) * factor - 0.5
    up = Transform.similarity(scale=to, translation=((to - 1) / 2, (to - 1) / 2))
    down = Transform.similarity(scale=of, translation=((of - 1) / 2, (of - 1) / 2))
    return down.inverse() @ sampling @ up


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
    for done, (rows, columns) in enumerate(raster.windows(image.shape, _WINDOW)):
        monitor.report(done / total, "moving the image")
        result[rows, columns] = image[rows, columns]
    return result


def outline_of(
    shape: tuple[int, ...], sampling: Transform
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the smallest frame that holds a moved image whole.

    Where points are displaced it is as much larger as they move at most.

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
    first, last = mapped_bounds(sampling.inverse(), -0.5, -0.5, right, bottom)
    low, high = np.floor(first + 0.5), np.ceil(last + 0.5)
    columns, rows = (high - low).astype(int)
    return (int(low[0]), int(low[1])), (int(rows), int(columns))
