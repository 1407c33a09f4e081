"""Images that are made window by window when somebody looks at them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from napari_exo2micro.core.coverage import spans_to_mask, valid_spans
from napari_exo2micro.core.difference import difference_window
from napari_exo2micro.core.rasters import Frame, Raster

__all__ = [
    "LazyImage",
    "difference_pyramid",
    "every_pixel",
    "pyramid",
    "scaled_pyramid",
]

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


def difference_pyramid(
    post: Sequence[LazyImage],
    pre: Sequence[LazyImage],
    *,
    scale: float,
    offset: float = 0.0,
    post_frame: Frame | None = None,
    pre_quad: ArrayLike | None = None,
) -> list[LazyImage]:
    """Return ``post - offset - scale * pre``, made when it is read.

    Parameters
    ----------
    post, pre : sequence of LazyImage
        Post and aligned pre on one canvas, full resolution first. Levels are used
        as far as both have them.
    scale, offset : float
        As in `difference.difference_window`.
    post_frame : tuple of int, optional
        (x0, y0, width, height) of post's data, px at full resolution.
    pre_quad : array_like, shape (4, 2), optional
        Corners of the aligned pre image's data, see `coverage.mapped_frame`.

    Returns
    -------
    list of LazyImage
        float32, 0 where either image has no data.
    """
    columns, rows = post[0].shape[1], post[0].shape[0]
    x0, y0, width, height = post_frame or (0, 0, columns, rows)
    quad = None if pre_quad is None else np.asarray(pre_quad, dtype=np.float64)

    def level(number: int) -> LazyImage:
        a, b, factor = post[number], pre[number], 1 << number

        def read(window: Window) -> NDArray[Any]:
            result = difference_window(a[window], b[window], scale, offset)
            r, c = window
            lines = np.arange(r.start, r.stop) * factor
            inside = (lines >= y0) & (lines < y0 + height)
            first = np.where(inside, x0 // factor, 0)
            end = np.where(inside, -(-(x0 + width) // factor), 0)
            if quad is not None:
                small = (quad + 0.5) / factor - 0.5
                starts, ends = valid_spans(small, r.start, r.stop)
                first, end = np.maximum(first, starts), np.minimum(end, ends)
            mask = spans_to_mask(first, np.maximum(end, first), c.start, c.stop)
            if mask is not None:
                result[mask == 0] = 0.0
            return result

        return LazyImage(a.shape, np.float32, read)

    return [level(number) for number in range(min(len(post), len(pre)))]
