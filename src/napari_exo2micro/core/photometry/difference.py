"""The scaled difference of post and aligned pre, window by window."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images import Frame, ImageLike, warp
from napari_exo2micro.core.images.lazy import LazyImage, Window
from napari_exo2micro.core.photometry.background import BackgroundModel, Known
from napari_exo2micro.core.photometry.statistics import WORKERS

NO_DATA = 0.0
"""Value of the difference where either image has no data."""

_CV_TYPES = {"uint8", "uint16", "int16", "int32", "float32", "float64"}
_MAX_SIDE = 16384
_BAND_PIXELS = 8_000_000
_BACKGROUND_PART = 1024


def difference_window(
    post: NDArray[Any],
    pre: NDArray[Any],
    scale: float,
    offset: float = 0.0,
    valid: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """Return ``post - offset - scale * pre`` of a window.

    Parameters
    ----------
    post, pre : ndarray, shape (rows, columns)
        Windows of the post and the aligned pre image.
    scale : float
        Brightness of the minerals in post divided by that in pre.
    offset : float
        Constant in post beside the scaled minerals, grey levels.
    valid : ndarray, shape (rows, columns), optional
        Where both images have data (not 0); elsewhere the result is 0.

    Returns
    -------
    ndarray, shape (rows, columns), float32
        Grey levels of post.

    Raises
    ------
    ValueError
        If the windows differ in shape.

    Examples
    --------
    >>> post, pre = np.full((1, 2), 90, np.uint8), np.full((1, 2), 40, np.uint8)
    >>> difference_window(post, pre, 2.0, 3.0).tolist()
    [[7.0, 7.0]]
    """
    if post.shape != pre.shape:
        raise ValueError(f"windows differ in shape: {post.shape} and {pre.shape}")
    result = np.empty(post.shape, np.float32)
    _subtract(post, pre, scale, offset, result)
    if valid is not None:
        result[valid == 0] = NO_DATA
    return result


def difference_bands(
    post: ImageLike,
    pre: ImageLike,
    *,
    scale: float,
    offset: float = 0.0,
    post_frame: Frame | None = None,
    pre_quad: ArrayLike | None = None,
    missing: Sequence[ImageLike | None] = (),
    background: BackgroundModel | None = None,
    max_rows: int | None = None,
    monitor: Monitor | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the difference image as bands of whole rows, from top to bottom.

    Parameters
    ----------
    post, pre : array_like, shape (rows, columns)
        Post and aligned pre on one canvas; read band by band.
    scale, offset : float
        As in `difference_window`.
    post_frame : tuple of int, optional
        (x0, y0, width, height) of the real data of `post`, px.
    pre_quad : array_like, shape (4, 2), optional
        Corners of the aligned pre image's data, see `mapped_frame`.
    missing : sequence of array_like, shape (rows, columns), optional
        Masks on the canvas, not 0 where one of the images has no data; None for none.
    background : BackgroundModel, optional
        Is taken off in place of the scaled pre and the offset.
    max_rows : int, optional
        Most rows in a band; by default about 8 million pixels.
    monitor : Monitor, optional
        Is told the progress and may stop the work.

    Yields
    ------
    y0 : int
        First row of the band.
    band : ndarray, shape (n, columns), float32
        0 where either image has no data. A band without any data is a read-only
        view that takes no memory.
    """
    rows, columns = post.shape
    frame = post_frame or (0, 0, columns, rows)
    known = known_pixels(post.shape, frame, pre_quad, missing)
    step = max_rows or max(_BAND_PIXELS // max(columns, 1), 1)
    monitor = monitor or Monitor()
    for y0 in range(0, rows, step):
        monitor.report(y0 / rows, "subtracting")
        y1 = min(y0 + step, rows)
        first, end = (
            np.clip(ends, 0, columns) for ends in _data_spans(frame, pre_quad, y0, y1)
        )
        filled = np.flatnonzero(end > first)
        if not len(filled):
            yield y0, np.broadcast_to(np.float32(NO_DATA), (y1 - y0, columns))
            continue
        inside = slice(int(filled[0]), int(filled[-1]) + 1)
        left, right = int(first[filled].min()), int(end[filled].max())
        band = np.zeros((y1 - y0, columns), np.float32)
        inner = band[inside, left:right]
        window = slice(y0 + inside.start, y0 + inside.stop), slice(left, right)
        if background is None:
            _subtract(post[window], pre[window], scale, offset, inner)
        else:
            _take_off(background, post, pre, window, known, inner)
        mask = known(window)
        if mask is not None:
            inner[mask == 0] = NO_DATA
        yield y0, band
    monitor.report(1.0, "subtracting")


def known_pixels(
    shape: tuple[int, ...],
    post_frame: Frame | None,
    pre_quad: ArrayLike | None,
    missing: Sequence[ImageLike | None] = (),
) -> Known:
    """Return what tells where both images have data in a window: 1 and 0.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the canvas.
    post_frame, pre_quad, missing
        As in `difference_bands`.

    Returns
    -------
    callable
        Takes a window (two slices), returns a uint8 array; None where all is known.
    """
    frame = post_frame or (0, 0, shape[1], shape[0])

    def known(window: Window) -> NDArray[Any] | None:
        rows, columns = window
        spans = _data_spans(frame, pre_quad, rows.start, rows.stop)
        mask = warp.spans_to_mask(*spans, columns.start, columns.stop)
        for gaps in missing:
            if gaps is not None:
                own = np.asarray(gaps[window]) == 0
                mask = own if mask is None else (mask != 0) & own
        return None if mask is None else np.asarray(mask, np.uint8)

    return known


def _take_off(
    background: BackgroundModel,
    post: ImageLike,
    pre: ImageLike,
    window: Window,
    known: Known,
    out: NDArray[np.float32],
) -> None:
    """Write post less its background into `out`, part by part."""
    rows, columns = window

    def one(start: int) -> None:
        part = slice(start, min(start + _BACKGROUND_PART, columns.stop))
        place = slice(part.start - columns.start, part.stop - columns.start)
        out[:, place] = background.subtract(post, pre, (rows, part), known)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, range(columns.start, columns.stop, _BACKGROUND_PART)))


def _data_spans(
    frame: Frame, quad: ArrayLike | None, y0: int, y1: int, factor: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, row by row, the columns ``first <= x < end`` where both images have data.

    `frame` is that of the full resolution, `quad` and the rows `y0`..`y1` are those of
    a level that is `factor` times smaller.
    """
    x, y, width, height = frame
    rows = np.arange(y0, y1) * factor
    inside = (rows >= y) & (rows < y + height)
    first = np.where(inside, x // factor, 0)
    end = np.where(inside, -(-(x + width) // factor), 0)
    if quad is not None:
        starts, ends = warp.valid_spans(quad, y0, y1)
        first, end = np.maximum(first, starts), np.minimum(end, ends)
    return first, np.maximum(first, end)


def _subtract(
    post: Any, pre: Any, scale: float, offset: float, out: NDArray[np.float32]
) -> None:
    """Write ``post - offset - scale * pre`` into `out`."""
    post, pre = _accepted(post), _accepted(pre)
    for x0 in range(0, out.shape[1], _MAX_SIDE):
        part = slice(x0, x0 + _MAX_SIDE)
        out[:, part] = cv2.addWeighted(
            post[:, part], 1.0, pre[:, part], -scale, -offset, dtype=cv2.CV_32F
        )


def _accepted(window: Any) -> NDArray[Any]:
    """Return a window in a native type that OpenCV knows."""
    array: NDArray[Any] = np.asarray(window)
    if array.dtype.name not in _CV_TYPES:
        return array.astype(np.float64)
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def difference_pyramid(
    post: Sequence[LazyImage],
    pre: Sequence[LazyImage],
    *,
    scale: float,
    offset: float = 0.0,
    post_frame: Frame | None = None,
    pre_quad: ArrayLike | None = None,
    missing: Sequence[Sequence[LazyImage]] = (),
) -> list[LazyImage]:
    """Return ``post - offset - scale * pre``, made when it is read.

    Parameters
    ----------
    post, pre : sequence of LazyImage
        Post and aligned pre on one canvas, full resolution first. Levels are used
        as far as both have them.
    scale, offset : float
        As in `difference_window`.
    post_frame, pre_quad
        As in `difference_bands`, px at full resolution.
    missing : sequence of sequence of LazyImage
        Masks of each level, not 0 where one of the images has no data.

    Returns
    -------
    list of LazyImage
        float32, 0 where either image has no data.
    """
    rows, columns = post[0].shape
    frame = post_frame or (0, 0, columns, rows)

    def level(number: int) -> LazyImage:
        a, b, factor = post[number], pre[number], 1 << number
        quad = None
        if pre_quad is not None:
            quad = (np.asarray(pre_quad, np.float64) + 0.5) / factor - 0.5

        def read(window: Window) -> NDArray[Any]:
            r, c = window
            spans = _data_spans(frame, quad, r.start, r.stop, factor)
            mask = warp.spans_to_mask(*spans, c.start, c.stop)
            result = difference_window(a[window], b[window], scale, offset, mask)
            for gaps in missing:
                result[gaps[number][window] != 0] = NO_DATA
            return result

        return LazyImage(a.shape, np.float32, read)

    return [level(number) for number in range(min(len(post), len(pre)))]
