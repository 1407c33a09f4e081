"""The pair at any zoom: pyramids of the canvases, and pre warped as it is looked at.

A preview finds its alignment on small images; what it shows is made from the images
themselves, window by window, so that a person can zoom in and judge it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.lazy_images import LazyImage, pyramid
from napari_exo2micro.core.rasters import (
    Frame,
    ImageLike,
    Raster,
    reduce_image,
    warp_window,
)
from napari_exo2micro.core.transforms import Transform

__all__ = ["canvas_pyramid", "cropped_pyramid", "warped_pyramid"]

_TOP_SIDE = 1024


def canvas_pyramid(image: ImageLike) -> list[LazyImage]:
    """Return an image and its smaller levels, full resolution first.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        A `Raster`, whose levels are used, or an array, whose levels are made here.

    Returns
    -------
    list of LazyImage
        Each level half as large as the one before; the last one's longest side is at
        most 1024 px.
    """
    if isinstance(image, Raster):
        return pyramid(image)
    levels = [_of_array(np.asarray(image))]
    factor = 2
    while max(levels[-1].shape) > _TOP_SIDE:
        small, _ = reduce_image(image, factor=factor)
        if image.dtype.kind in "ui":
            small = np.rint(small)
        levels.append(_of_array(small.astype(image.dtype)))
        factor *= 2
    return levels


def warped_pyramid(
    levels: Sequence[LazyImage], transform: Transform, *, interpolation: str = "linear"
) -> list[LazyImage]:
    """Return the aligned image, warped when it is read.

    Parameters
    ----------
    levels : sequence of LazyImage
        The moving (pre) canvas as `canvas_pyramid` returns it.
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px of the canvas, which is the
        same for both.
    interpolation : {'linear', 'cubic', 'lanczos'}
        Resampling kernel.

    Returns
    -------
    list of LazyImage
        On the canvas of post, dtype of the image; each level is warped from the same
        level of the image.
    """

    def level(number: int) -> LazyImage:
        image, factor = levels[number], 1 << number
        scale = 1.0 / factor
        # A pixel of a level covers the points around (p + 0.5) * factor - 0.5.
        shift = 0.5 * scale - 0.5
        small = transform.conjugated(scale=scale, shift=(shift, shift))

        def read(window: tuple[slice, slice]) -> NDArray[Any]:
            rows, columns = window
            return warp_window(
                image,
                small,
                rows.start,
                rows.stop,
                columns.start,
                columns.stop,
                interpolation,
            )

        return LazyImage(image.shape, image.dtype, read)

    return [level(number) for number in range(len(levels))]


def cropped_pyramid(
    levels: Sequence[LazyImage], frame: Frame
) -> tuple[list[LazyImage], tuple[int, int]]:
    """Return the part of a pyramid that holds a frame.

    Parameters
    ----------
    levels : sequence of LazyImage
        Full resolution first, each level half as large as the one before.
    frame : tuple of int
        (x0, y0, width, height), full-resolution px.

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
    right = min(-(-(x0 + width) // step) * step, levels[0].shape[1])
    bottom = min(-(-(y0 + height) // step) * step, levels[0].shape[0])

    def level(number: int) -> LazyImage:
        image, factor = levels[number], 1 << number
        x, y = left // factor, top // factor
        shape = -(-(bottom - top) // factor), -(-(right - left) // factor)

        def read(window: tuple[slice, slice]) -> NDArray[Any]:
            rows, columns = window
            found: NDArray[Any] = image[
                rows.start + y : rows.stop + y, columns.start + x : columns.stop + x
            ]
            return found

        return LazyImage(shape, image.dtype, read)

    return [level(number) for number in range(len(levels))], (left, top)


def _of_array(array: NDArray[Any]) -> LazyImage:
    return LazyImage(array.shape, array.dtype, lambda window: array[window])
