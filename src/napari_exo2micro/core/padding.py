"""Stage 1: both images on one canvas, in their own type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.rasters import BAND_ROWS, Frame, bands

__all__ = ["canvas_shape", "frame", "pad_images", "padded_bands"]


def canvas_shape(
    post_shape: tuple[int, ...], pre_shape: tuple[int, ...], pad: int
) -> tuple[int, int]:
    """Return (rows, columns) of the canvas: the larger of each plus `pad` all round."""
    rows, columns = (
        max(post_shape[axis], pre_shape[axis]) + 2 * pad for axis in (0, 1)
    )
    return rows, columns


def frame(shape: tuple[int, ...], pad: int) -> Frame:
    """Return where an image of `shape` lies on the canvas: (x0, y0, width, height)."""
    return pad, pad, shape[1], shape[0]


def pad_images(
    post_im: NDArray[Any], pre_im: NDArray[Any], pad: int = 2000
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both images on one canvas of zeros, in memory.

    Parameters
    ----------
    post_im, pre_im : ndarray, shapes (rows, columns), of one dtype
        Their shapes may differ.
    pad : int
        Pixels added on each side of the larger of the two, at least 0.

    Returns
    -------
    post, pre : ndarray, shape (rows, columns)
        Each image lies at offset (pad, pad); dtype as given.

    Raises
    ------
    ParameterError
        When `pad` is negative or an image is not 2-D.

    Examples
    --------
    >>> post, pre = pad_images(np.ones((3, 4)), np.ones((2, 5)), pad=1)
    >>> post.shape, pre.shape
    ((5, 7), (5, 7))
    """
    if pad < 0 or post_im.ndim != 2 or pre_im.ndim != 2:
        raise ParameterError(
            "pad_images needs two 2-D images and a pad of at least 0, found "
            f"{post_im.ndim}-D, {pre_im.ndim}-D and {pad}"
        )
    shape = canvas_shape(post_im.shape, pre_im.shape, pad)
    canvases = []
    for image in (post_im, pre_im):
        canvas = np.zeros(shape, image.dtype)
        canvas[pad : pad + image.shape[0], pad : pad + image.shape[1]] = image
        canvases.append(canvas)
    return canvases[0], canvases[1]


def padded_bands(
    parts: Iterable[tuple[int, NDArray[Any]]],
    canvas: tuple[int, int],
    pad: int,
    dtype: Any,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the canvas of one image band by band.

    Parameters
    ----------
    parts : iterable of (int, ndarray)
        First row and pixels (h, columns) of the raw image, from top to bottom
        without gaps.
    canvas : tuple of int
        Rows and columns of the canvas.
    pad : int
        Offset of the image on the canvas, both axes, px.
    dtype : data-type
        Of the image.

    Yields
    ------
    first_row, band : int, ndarray of shape (h, canvas columns)
        `first_row` is a multiple of `rasters.BAND_ROWS`; bands that hold nothing
        but padding are left out.
    """
    stream = iter(parts)
    row, pixels = -1, np.empty((0, 0), dtype)
    for y0, y1 in bands(canvas, BAND_ROWS):
        band: NDArray[Any] | None = None
        while True:
            if pixels.shape[0] == 0:
                row, pixels = next(stream, (-1, pixels))
                if pixels.shape[0] == 0:
                    break
            top = row + pad
            take = min(pixels.shape[0], y1 - top)
            if take <= 0:
                break
            if band is None:
                band = np.zeros((y1 - y0, canvas[1]), dtype)
            band[top - y0 : top - y0 + take, pad : pad + pixels.shape[1]] = pixels[
                :take
            ]
            row, pixels = row + take, pixels[take:]
        if band is not None:
            yield y0, band
