"""Resampling: windows of warped images, the canvas, and where it has data.

OpenCV's cubic kernel (a = -3/4) does not reproduce a ramp: structures come out up to
0.05 px from where they are, more than a registration is off. So the cubic kernel here
is that of Keys (a = -1/2), made of linear interpolations.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.base.errors import ParameterError, RegistrationError
from napari_exo2micro.core.images.displacement import mapped, stretch
from napari_exo2micro.core.images.raster import BAND_ROWS, Frame, ImageLike, bands
from napari_exo2micro.core.images.transform import Transform, TransformLike

_SECOND_DIFFERENCE = np.array([1.0, -2.0, 1.0])
_NOTHING = np.array([0.0, 1.0, 0.0])
_INWARDS = np.array([(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)])  # of corners
#: Rows worked on at a time, so that all that is needed stays in the cache.
_STRIP = 64
#: Pixels around a window that its kernel may ask for.
_MARGIN = 6
#: Rows and columns of the windows that bands are warped in: all that one needs stays
#: in the cache.
_WINDOW = (256, 1024)
#: Reach of the widest kernel, px.
_KERNEL = 4
_THREADS = min(4, os.cpu_count() or 1)
_COLUMN_LIMIT = 2**31 - 1


def warp_window(
    image: ImageLike,
    transform: TransformLike,
    y0: int,
    y1: int,
    x0: int,
    x1: int,
    interpolation: str = "cubic",
) -> NDArray[Any]:
    """Return one window of ``warped[y, x] = image[transform((x, y))]``.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        The moving image; uint8, uint16, int16, float32 or float64.
    transform : Transform or array_like, shape (3, 3)
        From points of the warped (fixed) image to points of `image`, px; bent and
        displaced ones as well.
    y0, y1, x0, x1 : int
        Rows and columns of the window in the warped image.
    interpolation : {'linear', 'cubic', 'lanczos'}
        Resampling kernel; outside of `image` is 0. Linear and cubic sample at the
        exact position, lanczos at the nearest 1/32 px.

    Returns
    -------
    ndarray, shape (y1 - y0, x1 - x0), dtype of `image`
        Integers are rounded and clipped to the type.

    References
    ----------
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE
    Trans. ASSP 29 (1981) 1153, doi:10.1109/TASSP.1981.1163711 (cubic, a = -1/2).

    Examples
    --------
    >>> image = np.arange(20, dtype=np.float32).reshape(4, 5)
    >>> right = Transform.similarity(translation=(1.0, 0.0))
    >>> warp_window(image, right, 0, 2, 0, 3, "linear").tolist()
    [[1.0, 2.0, 3.0], [6.0, 7.0, 8.0]]
    """
    transform = Transform.of(transform)
    shape = (y1 - y0, x1 - x0)
    low, high = mapped_bounds(transform, x0, y0, x1 - 1, y1 - 1)
    left, top = np.floor(low).astype(int) - _MARGIN
    right, bottom = np.ceil(high).astype(int) + _MARGIN + 1
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, image.shape[1]), min(bottom, image.shape[0])
    if right <= left or bottom <= top:
        return np.zeros(shape, image.dtype)
    if max(right - left, bottom - top) > 4 * max(*shape, 256):
        return _in_halves(
            lambda y0, y1, x0, x1: warp_window(
                image, transform, y0, y1, x0, x1, interpolation
            ),
            (y0, y1, x0, x1),
        )
    source = np.ascontiguousarray(image[top:bottom, left:right])
    into = Transform.similarity(translation=(-float(left), -float(top)))
    start = Transform.similarity(translation=(float(x0), float(y0)))
    sampling = into @ transform @ start
    if interpolation == "cubic":
        return _warp_cubic(source, sampling, shape)
    kernel = {"linear": cv2.INTER_LINEAR, "lanczos": cv2.INTER_LANCZOS4}[interpolation]
    # OpenCV samples exactly where it is asked to in float32, other types only with a
    # matrix and float64 not at all.
    pixels = source
    if source.dtype == np.float64 or transform.displacements:
        pixels = source.astype(np.float32)
    result = np.empty(shape, image.dtype)
    rows = _STRIP if transform.displacements else max(shape[0], 1)
    for strip in _strips(sampling, shape, rows):
        _put(strip.sample(pixels, kernel), result[strip.rows])
    return result


def nearest_window(
    image: ImageLike, transform: TransformLike, y0: int, y1: int, x0: int, x1: int
) -> NDArray[Any]:
    """Return one window of ``image`` at the pixels nearest to transformed points.

    Every value is one that `image` has: for labels.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        Any dtype.
    transform : Transform or array_like, shape (3, 3)
        From points of the result to points of `image`, (x, y) in px.
    y0, y1, x0, x1 : int
        Rows and columns of the window in the result.

    Returns
    -------
    ndarray, shape (y1 - y0, x1 - x0), dtype of `image`
        0 where the point lies outside of `image`.
    """
    transform = Transform.of(transform)
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
        return _in_halves(
            lambda *part: nearest_window(image, transform, *part), (y0, y1, x0, x1)
        )
    source = np.asarray(image[top : bottom + 1, left : right + 1])
    result.ravel()[inside] = source[row - top, column - left]
    return result


def _in_halves(
    make: Callable[..., NDArray[Any]], window: tuple[int, int, int, int]
) -> NDArray[Any]:
    """Make a window that reaches far in two parts, to bound what is read."""
    y0, y1, x0, x1 = window
    if y1 - y0 >= x1 - x0:
        middle, axis = (y0 + y1) // 2, 0
        parts = ((y0, middle, x0, x1), (middle, y1, x0, x1))
    else:
        middle, axis = (x0 + x1) // 2, 1
        parts = ((y0, y1, x0, middle), (y0, y1, middle, x1))
    return np.concatenate([make(*part) for part in parts], axis=axis)


def mapped_bounds(
    transform: Transform, left: float, top: float, right: float, bottom: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and the highest (x, y) that a rectangle's points may map to."""
    reach = transform.largest_displacement
    left, top, right, bottom = left - reach, top - reach, right + reach, bottom + reach
    corners = np.array([(left, top), (right, top), (left, bottom), (right, bottom)])
    moved = mapped(transform.matrix, corners)
    return moved.min(axis=0), moved.max(axis=0)


class _Strip(NamedTuple):
    """Some rows of a result, and where their pixels are taken from.

    Either `matrix` tells it, from pixels of the strip to those of the source, or
    `places` has x and y pixel by pixel, shape (2, rows, columns), float32.
    """

    rows: slice
    columns: int
    matrix: NDArray[np.floating[Any]]
    places: NDArray[np.float32] | None

    def sample(self, pixels: NDArray[Any], kernel: int) -> NDArray[Any]:
        """Return the strip of `pixels`, 0 outside of them."""
        if self.places is not None:
            x, y = self.places
            return np.asarray(
                cv2.remap(pixels, x, y, kernel, borderMode=cv2.BORDER_CONSTANT)
            )
        return cv2.warpPerspective(
            pixels,
            self.matrix,
            (self.columns, self.rows.stop - self.rows.start),
            flags=kernel | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )

    def weights(self) -> Iterator[NDArray[Any]]:
        """Yield t (1 - t) / 2 of the fractions t of the places, along x and y."""
        below = self._along(2) if self.matrix[2, :2].any() else None
        for axis in (0, 1):
            place: NDArray[Any]
            if self.places is not None:
                place = self.places[axis]
            else:
                place = self._along(axis)
                if below is not None:
                    place /= below
            fraction = (place - np.floor(place)).astype(np.float32, copy=False)
            # t (1 - t) / 2 = 1/8 - (t - 1/2)^2 / 2
            fraction -= np.float32(0.5)
            fraction *= fraction
            fraction *= np.float32(-0.5)
            fraction += np.float32(0.125)
            yield fraction

    def _along(self, axis: int) -> NDArray[np.float64]:
        rows = np.arange(self.rows.stop - self.rows.start, dtype=np.float64)
        columns = np.arange(self.columns, dtype=np.float64)
        left = self.matrix[axis, 1] * rows + self.matrix[axis, 2]
        places: NDArray[np.float64] = np.add.outer(left, self.matrix[axis, 0] * columns)
        return places


def _strips(
    sampling: Transform, shape: tuple[int, int], height: int = _STRIP
) -> Iterator[_Strip]:
    """Yield a result of `shape` in strips, from top to bottom."""
    for top in range(0, shape[0], height):
        rows = slice(top, min(top + height, shape[0]))
        down = np.array([[1, 0, 0], [0, 1, top], [0, 0, 1.0]])
        places = None
        if sampling.displacements:
            places = _places(sampling, rows, shape[1])
        yield _Strip(rows, shape[1], sampling.matrix @ down, places)


def _places(sampling: Transform, rows: slice, columns: int) -> NDArray[np.float32]:
    """Return x and y that the pixels of a strip map to, shape (2, rows, columns)."""
    x = np.arange(columns, dtype=np.float64)[np.newaxis]
    y = np.arange(rows.start, rows.stop, dtype=np.float64)[:, np.newaxis]
    points = np.empty((len(y), columns, 2))
    for displacement in sampling.displacements:
        dx, dy = displacement.shifts(x, y)
        x = np.add(x, dx, out=points[..., 0])
        y = np.add(y, dy, out=points[..., 1])
    moved = cv2.perspectiveTransform(points, sampling.matrix)
    return np.moveaxis(moved, -1, 0).astype(np.float32, order="C")


def _put(sampled: NDArray[Any], result: NDArray[Any]) -> None:
    """Put pixels into a result; floats become integers rounded and clipped."""
    if result.dtype.kind != "f" and sampled.dtype.kind == "f":
        info = np.iinfo(result.dtype)
        np.rint(sampled, out=sampled)
        np.clip(sampled, info.min, info.max, out=sampled)
    result[:] = sampled


def _warp_cubic(
    source: NDArray[Any], sampling: Transform, shape: tuple[int, int]
) -> NDArray[Any]:
    """Return `source` sampled at the points that a transform gives; 0 outside.

    In one dimension Keys' cubic at the fraction t between two samples equals linear
    interpolation of the samples less ``t (1 - t) / 2`` times linear interpolation of
    their second differences. In two dimensions that makes four linearly interpolated
    images, which OpenCV 5 samples without rounding the position.

    `sampling` maps points (x, y) of the result to those of the source, px. float64 is
    worked on as float32; integers are rounded and clipped to their type.
    """
    kernels = [
        (_NOTHING, _NOTHING),
        (_SECOND_DIFFERENCE, _NOTHING),
        (_NOTHING, _SECOND_DIFFERENCE),
        (_SECOND_DIFFERENCE, _SECOND_DIFFERENCE),
    ]
    # OpenCV samples float64 at the nearest 1/32 px only, float32 where it is asked to.
    pixels = source.astype(np.float32) if source.dtype == np.float64 else source
    layers = cv2.merge(
        [
            cv2.sepFilter2D(pixels, cv2.CV_32F, x, y, borderType=cv2.BORDER_CONSTANT)
            for x, y in kernels
        ]
    )
    result = np.empty(shape, source.dtype)
    for strip in _strips(sampling, shape):
        plain, bent_x, bent_y, bent = cv2.split(strip.sample(layers, cv2.INTER_LINEAR))
        weight_x, weight_y = strip.weights()
        bent *= weight_y
        bent_x -= bent
        bent_x *= weight_x
        bent_y *= weight_y
        plain -= bent_x
        plain -= bent_y
        _put(plain, result[strip.rows])
    return result


def warped_bands(
    image: ImageLike,
    transform: Transform,
    shape: tuple[int, int],
    *,
    frame: Frame | None = None,
    interpolation: str = "cubic",
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield a whole warped image band by band: first row and pixels (h, columns).

    The data of `image` lie in `frame`: windows that see none of it are not computed. A
    first row is a multiple of `raster.BAND_ROWS`; empty bands are left out.
    """
    x0, y0, width, height = frame or (0, 0, image.shape[1], image.shape[0])
    low = np.array([x0, y0]) - _KERNEL
    high = np.array([x0 + width, y0 + height]) + _KERNEL

    def filled(window: tuple[int, int, int, int]) -> NDArray[Any]:
        return warp_window(image, transform, *window, interpolation)

    with ThreadPoolExecutor(_THREADS) as pool:
        for top, bottom in bands(shape, BAND_ROWS):
            seen = []
            for y0, y1 in bands((bottom - top, shape[1]), _WINDOW[0]):
                for left in range(0, shape[1], _WINDOW[1]):
                    right = min(left + _WINDOW[1], shape[1])
                    window = (top + y0, top + y1, left, right)
                    first, last = mapped_bounds(
                        transform, left, window[0], right, window[1]
                    )
                    outside = (last < low) | (first > high)
                    if not outside.any():
                        seen.append(window)
            if not seen:
                continue
            band = np.zeros((bottom - top, shape[1]), image.dtype)
            for window, pixels in zip(seen, pool.map(filled, seen), strict=True):
                y0, y1, left, right = window
                band[y0 - top : y1 - top, left:right] = pixels
            yield top, band


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
    """Yield the canvas of one image band by band: first row and pixels (h, columns).

    `parts` are first rows and pixels of the raw image, from top to bottom without gaps,
    which lies at offset `pad` on the canvas. A first row is a multiple of
    `raster.BAND_ROWS`; bands that hold nothing but padding are left out.
    """
    band: NDArray[Any] | None = None
    y0 = 0
    for row, pixels in parts:
        while len(pixels):
            if band is None:
                y0 = (row + pad) // BAND_ROWS * BAND_ROWS
                band = np.zeros((min(BAND_ROWS, canvas[0] - y0), canvas[1]), dtype)
            at = row + pad - y0
            fits = pixels[: len(band) - at]
            band[at : at + len(fits), pad : pad + fits.shape[1]] = fits
            row, pixels = row + len(fits), pixels[len(fits) :]
            if at + len(fits) == len(band):
                yield y0, band
                band = None
    if band is not None:
        yield y0, band


def mapped_frame(
    transform: TransformLike, pre_frame: Frame, *, margin: float = 1.0
) -> NDArray[np.float64]:
    """Return the corners of the pre image's data, seen from the post image.

    Parameters
    ----------
    transform : Transform or array_like, shape (3, 3)
        Post (fixed) to pre (moving), the one that `pre` is warped with. Where it
        displaces points, the corners lie further inside by the largest move.
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
    transform = Transform.of(transform)
    back = np.linalg.inv(transform.matrix)
    right, bottom = x0 + width - 1, y0 + height - 1
    edges = np.array([(x0, y0), (right, y0), (right, bottom), (x0, bottom)], float)
    if transform.displacements:
        reach = transform.largest_displacement
        margin += reach * stretch(transform.matrix, mapped(back, edges))
    if right - margin < x0 + margin or bottom - margin < y0 + margin:
        return np.zeros((4, 2))
    return mapped(back, edges + margin * _INWARDS)


def valid_spans(
    quad: ArrayLike, y0: int, y1: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, row by row, the columns that lie inside a convex quadrilateral.

    `quad` are its corners (x, y) in order, either way round; without four finite ones
    it is a `RegistrationError`. In each of the rows from `y0` to below `y1` the pixels
    whose centre lies inside or on the edge are ``first <= x < end``, none where
    ``end <= first``.
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
        with np.errstate(over="ignore"):  # an edge that is all but level
            if slope > 0:
                high = np.minimum(high, constant / slope)
            elif slope < 0:
                low = np.maximum(low, constant / slope)
            else:
                high = np.where(constant < 0, -np.inf, high)
    first = np.ceil(np.clip(low, 0, _COLUMN_LIMIT)).astype(np.int64)
    end = np.floor(np.clip(high, -1, _COLUMN_LIMIT)).astype(np.int64) + 1
    return first, np.maximum(end, first)


def valid_mask_window(
    quad: ArrayLike, y0: int, y1: int, x0: int, x1: int
) -> NDArray[np.uint8] | None:
    """Return where in a window the aligned pre image has data.

    `quad` are its corners, see `mapped_frame`. The mask is uint8, 1 where pre has data;
    None when it has data everywhere.
    """
    first, end = valid_spans(quad, y0, y1)
    return spans_to_mask(first, end, x0, x1)


def spans_to_mask(
    first: NDArray[np.int64], end: NDArray[np.int64], x0: int, x1: int
) -> NDArray[np.uint8] | None:
    """Return row spans as a mask of the columns `x0`..`x1`, None if all inside."""
    if len(first) and first.max() <= x0 and end.min() >= x1:
        return None
    width = max(x1 - x0, 0)
    mask = np.zeros((len(first), width), np.uint8)
    starts, ends = (np.clip(edge - x0, 0, width).tolist() for edge in (first, end))
    for row, start, stop in zip(mask, starts, ends, strict=True):
        row[start:stop] = 1
    return mask
