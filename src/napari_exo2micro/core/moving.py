"""Another image or label image seen through an alignment, window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.lazy_images import (
    TOP_SIDE,
    LazyImage,
    Window,
    every_pixel,
)
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.rasters import ImageLike, warp_window, windows
from napari_exo2micro.core.transforms import Transform

__all__ = ["moved_image", "moved_levels", "nearest_window", "outline_of"]

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
