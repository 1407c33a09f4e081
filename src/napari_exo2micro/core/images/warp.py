"""Images on a canvas: padding, frames of the data, warping band by band."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.base.errors import ParameterError, RegistrationError
from napari_exo2micro.core.images.raster import (
    BAND_ROWS,
    Frame,
    ImageLike,
    bands,
    warp_window,
)
from napari_exo2micro.core.images.transform import Transform


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


COLUMN_LIMIT = 2**31 - 1


def mapped_frame(
    transform: Transform, pre_frame: Frame, *, margin: float = 1.0
) -> NDArray[np.float64]:
    """Return the corners of the pre image's data, seen from the post image.

    Parameters
    ----------
    transform : Transform
        Post (fixed) to pre (moving), the one that `pre` is warped with.
    pre_frame : tuple of int
        (x0, y0, width, height) of the real data on the pre canvas, px.
    margin : float
        How far inside the outermost pixel centres to stay, px of the pre image.
        A cubic kernel mixes in what lies one pixel outside.

    Returns
    -------
    ndarray, shape (4, 2), float64
        Corners (x, y) on the post canvas in px, in order around the frame. An
        empty frame gives four equal corners.
    """
    x0, y0, width, height = pre_frame
    left, top = x0 + margin, y0 + margin
    right, bottom = x0 + width - 1 - margin, y0 + height - 1 - margin
    if right < left or bottom < top:
        return np.zeros((4, 2))
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return transform.inverse()(corners)


def valid_spans(
    quad: ArrayLike, y0: int, y1: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, row by row, the columns that lie inside a convex quadrilateral.

    Parameters
    ----------
    quad : array_like, shape (4, 2)
        Corners (x, y) in px, in order around it, either way round.
    y0, y1 : int
        Rows, `y1` excluded.

    Returns
    -------
    first, end : ndarray, shape (y1 - y0,), int64
        Pixels whose centre lies inside or on the edge are ``first <= x < end``;
        ``end <= first`` means that the row has none.

    Raises
    ------
    RegistrationError
        If the quadrilateral has not four finite corners.
    """
    corners = np.asarray(quad, dtype=np.float64)
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise RegistrationError(
            "the outline of the aligned pre image needs four finite corners, found "
            f"an array of shape {corners.shape}; check the transform"
        )
    rows = np.arange(y0, y1, dtype=np.float64)
    following = np.roll(corners, -1, axis=0)
    area = np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1])
    if area == 0.0:
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    if area < 0:
        corners, following = following, corners
    low = np.full(len(rows), -np.inf)
    high = np.full(len(rows), np.inf)
    for (ax, ay), (bx, by) in zip(corners, following, strict=True):
        # Inside is where (b - a) x (p - a) >= 0, linear in x along a row.
        slope = by - ay
        constant = (bx - ax) * (rows - ay) + slope * ax
        if slope > 0:
            high = np.minimum(high, constant / slope)
        elif slope < 0:
            low = np.maximum(low, constant / slope)
        else:
            high = np.where(constant < 0, -np.inf, high)
    first = np.ceil(np.clip(low, 0, COLUMN_LIMIT)).astype(np.int64)
    end = np.floor(np.clip(high, -1, COLUMN_LIMIT)).astype(np.int64) + 1
    return first, np.maximum(end, first)


def valid_mask_window(
    quad: ArrayLike, y0: int, y1: int, x0: int, x1: int
) -> NDArray[np.uint8] | None:
    """Return where in a window the aligned pre image has data.

    Parameters
    ----------
    quad : array_like, shape (4, 2)
        Corners of the pre image's data on the post canvas, (x, y) in px; see
        `mapped_frame`.
    y0, y1, x0, x1 : int
        The window, ends excluded.

    Returns
    -------
    ndarray, shape (y1 - y0, x1 - x0), uint8, or None
        1 where pre has data, 0 elsewhere; None when it has data everywhere.
    """
    first, end = valid_spans(quad, y0, y1)
    return spans_to_mask(first, end, x0, x1)


def spans_to_mask(
    first: NDArray[np.int64], end: NDArray[np.int64], x0: int, x1: int
) -> NDArray[np.uint8] | None:
    """Return row spans as a mask of the columns `x0`..`x1`, None if all inside."""
    if len(first) and first.max() <= x0 and end.min() >= x1:
        return None
    mask = np.zeros((len(first), max(x1 - x0, 0)), np.uint8)
    if not len(first) or end.max() <= x0 or first.min() >= x1:
        return mask
    starts = np.clip(first - x0, 0, x1 - x0).tolist()
    ends = np.clip(end - x0, 0, x1 - x0).tolist()
    for row, start, stop in zip(mask, starts, ends, strict=True):
        row[start:stop] = 1
    return mask


_COLUMNS = 2048
_KERNEL = 4
_THREADS = min(4, os.cpu_count() or 1)


def warped_bands(
    image: ImageLike,
    transform: Transform,
    shape: tuple[int, int],
    *,
    frame: Frame | None = None,
    interpolation: str = "cubic",
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the aligned image band by band.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        The original padded pre-stain image.
    transform : Transform
        Post (fixed) to pre (moving), canvas px.
    shape : tuple of int
        Rows and columns of the result.
    frame : tuple of int, optional
        (x0, y0, width, height) of the data in `image`; windows that see none of
        it are not computed.
    interpolation : {'linear', 'cubic', 'lanczos'}
        Resampling kernel.

    Yields
    ------
    first_row, band : int, ndarray of shape (h, columns), dtype of `image`
        `first_row` is a multiple of `rasters.BAND_ROWS`; empty bands are left out.
    """
    x0, y0, width, height = frame or (0, 0, image.shape[1], image.shape[0])
    low = np.array([x0, y0]) - _KERNEL
    high = np.array([x0 + width, y0 + height]) + _KERNEL

    def filled(window: tuple[int, int, int, int]) -> NDArray[Any]:
        return warp_window(image, transform, *window, interpolation)

    with ThreadPoolExecutor(_THREADS) as pool:
        for top, bottom in bands(shape, BAND_ROWS):
            seen = []
            for left in range(0, shape[1], _COLUMNS):
                right = min(left + _COLUMNS, shape[1])
                corners = transform(
                    [(left, top), (right, top), (left, bottom), (right, bottom)]
                )
                outside = (corners.max(axis=0) < low) | (corners.min(axis=0) > high)
                if not outside.any():
                    seen.append((top, bottom, left, right))
            if not seen:
                continue
            band = np.zeros((bottom - top, shape[1]), image.dtype)
            for window, pixels in zip(seen, pool.map(filled, seen), strict=True):
                band[:, window[2] : window[3]] = pixels
            yield top, band
