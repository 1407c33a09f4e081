"""One large image in a file: its levels, read window by window and reduced."""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

#: The longest side that every OpenCV resampling function takes.
CV2_MAX_SIDE = 32767

#: Rows of a band: a multiple of the coarsest pyramid level's pixel.
BAND_ROWS = 1024

#: Where an image has data on a canvas: (x0, y0, width, height), px.
Frame = tuple[int, int, int, int]


class ImageLike(Protocol):
    """A 2-D image that gives windows: an array, a memory map or a `Raster`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return the window of two slices as an array."""


class Raster:
    """An image on disk, read window by window, with its smaller levels.

    Parameters
    ----------
    levels : list of ndarray
        Memory maps in the byte order of the file; the first is the full
        resolution, each further one is half as large (2 x 2 means).
    header : dict
        What the file says about itself; empty for a file without a header.
    path : Path
        The file.
    bzero : int
        Added to stored values (FITS keeps unsigned 16-bit values that way).
    is_foreign : bool
        Whether nothing in the file says that this package wrote it.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns at full resolution.
    dtype : dtype
        Type of a pixel, in the machine's byte order.
    ndim : int
        Number of axes, always 2.
    n_levels : int
        Number of pyramid levels in the file, the full resolution included.
    """

    def __init__(
        self,
        levels: list[NDArray[Any]],
        header: dict[str, Any],
        path: Path,
        *,
        bzero: int = 0,
        is_foreign: bool = False,
    ) -> None:
        self._levels, self._bzero = levels, bzero
        self.header, self.path, self.is_foreign = header, path, is_foreign
        self.shape: tuple[int, ...] = levels[0].shape
        self.ndim = 2
        self.n_levels = len(levels)
        stored = levels[0].dtype
        self.dtype = np.dtype(np.uint16) if bzero else stored.newbyteorder("=")

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return a window of the full resolution in the machine's byte order."""
        return self.read(key)

    def read(self, key: Any, level: int = 0) -> NDArray[Any]:
        """Return a window of one pyramid level in the machine's byte order.

        Parameters
        ----------
        key : tuple of slices
            Rows and columns, in pixels of that level.
        level : int
            0 is the full resolution.

        Returns
        -------
        ndarray
            A view of the file where its byte order allows, otherwise a copy.
        """
        stored: NDArray[Any] = self._levels[level][key]
        native = stored.astype(self.dtype, copy=False)
        if self._bzero:
            native += np.uint16(self._bzero)
        return native

    def level(self, level: int) -> NDArray[Any]:
        """Return a whole pyramid level: a map where possible, otherwise a copy.

        Parameters
        ----------
        level : int
            0 is the full resolution.

        Returns
        -------
        ndarray, shape (rows, columns) of that level
            A view of the file where its byte order allows.
        """
        return self.read((slice(None), slice(None)), level)

    def expect(self, rows: range, columns: slice, level: int = 0) -> None:
        """Have parts of rows of a level read from the disk soon, all of them at once.

        Rows that lie far apart would otherwise be waited for one by one.

        Parameters
        ----------
        rows : range
            Which rows of that level.
        columns : slice
            Which part of each; both ends are whole numbers.
        level : int
            0 is the full resolution.
        """
        stored = self._levels[level]
        pages = getattr(stored, "_mmap", None)
        if not isinstance(pages, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED"):
            return
        size, row_bytes = stored.dtype.itemsize, stored.strides[0]
        begin = getattr(stored, "offset", 0) % mmap.ALLOCATIONGRANULARITY
        for row in rows:
            first = begin + row * row_bytes + columns.start * size
            end = begin + row * row_bytes + columns.stop * size
            start = first // mmap.PAGESIZE * mmap.PAGESIZE
            pages.madvise(mmap.MADV_WILLNEED, start, min(end, len(pages)) - start)

    def release(self) -> None:
        """Let go of the file's pages in memory; reading brings them back."""
        for level in self._levels:
            pages = getattr(level, "_mmap", None)
            if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole image, a copy when its type must change."""
        return np.array(self.level(0), dtype, copy=copy)


def bands(shape: tuple[int, ...], rows: int = BAND_ROWS) -> Iterator[tuple[int, int]]:
    """Yield (first, end) rows of bands that cover an image from top to bottom."""
    for start in range(0, shape[0], rows):
        yield start, min(start + rows, shape[0])


def windows(shape: tuple[int, ...], size: int = 2048) -> Iterator[tuple[slice, slice]]:
    """Yield (rows, columns) of windows that cover an image without overlap."""
    for y0, y1 in bands(shape, size):
        for x0 in range(0, shape[1], size):
            yield slice(y0, y1), slice(x0, min(x0 + size, shape[1]))


def reduce_image(
    image: ImageLike, max_side: int | None = None, factor: int | None = None
) -> tuple[NDArray[np.float32], int]:
    """Return a smaller version of an image: means over square blocks.

    A pixel p of the result covers the full-resolution points around
    ``(p + 0.5) * factor - 0.5``. Memory is bounded by the result and one band; the
    levels of a `Raster` are used where they fit.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        Any real dtype.
    max_side : int, optional
        The result's longest side is at most this. Large images may come out up to
        a quarter smaller, so that a level can be used.
    factor : int, optional
        Block size in px, instead of `max_side`.

    Returns
    -------
    reduced : ndarray, float32, shape (ceil(rows / factor), ceil(columns / factor))
        Blocks at the lower and right edge are means over what they have.
    factor : int
        Block size in px.

    Raises
    ------
    ValueError
        When neither `max_side` nor `factor` is given.

    Examples
    --------
    >>> small, factor = reduce_image(np.full((100, 80), 7, np.uint8), max_side=25)
    >>> small.shape, factor, float(small[0, 0])
    ((25, 20), 4, 7.0)
    """
    if factor is None:
        if max_side is None:
            raise ValueError("reduce_image needs max_side or factor")
        factor = block_size(max(image.shape), max_side)
    level = level_for(factor, image.n_levels) if isinstance(image, Raster) else 0
    block = factor >> level
    rows, columns = (-(-side // (1 << level)) for side in image.shape)
    reduced = np.empty((-(-rows // block), -(-columns // block)), np.float32)
    band = max(block, 512 // block * block)
    for y0 in range(0, rows, band):
        key = (slice(y0, min(y0 + band, rows)), slice(None))
        if isinstance(image, Raster):
            pixels = image.read(key, level)
        else:
            pixels = np.asarray(image[key])
        target = reduced[y0 // block : y0 // block + -(-pixels.shape[0] // block)]
        target[...] = _block_means(pixels, block)
    return reduced, factor


def block_size(side: int, max_side: int) -> int:
    """Return the block, px, that makes a side at most `max_side`.

    A large one is a multiple of a power of two, so that a smaller level can be used;
    up to a quarter larger than needed then.
    """
    block = max(1, math.ceil(side / max_side))
    if block >= 8:
        step = 1 << (block.bit_length() - 3)
        block = -(-block // step) * step
    return block


def level_for(block: int, n_levels: int) -> int:
    """Return the smallest of the levels that whole blocks can be made from."""
    level = 0
    while level + 1 < n_levels and block % (2 << level) == 0:
        level += 1
    return level


def _block_means(pixels: NDArray[Any], block: int) -> NDArray[np.float32]:
    """Return the means of square blocks; those at the edges may be smaller."""
    if block == 1:
        return pixels.astype(np.float32)
    rows, columns = pixels.shape
    result = np.empty((-(-rows // block), -(-columns // block)), np.float32)
    work = np.float64 if pixels.dtype == np.float64 else np.float32
    # OpenCV's area reduction is exact for whole blocks; keep its sides in bounds.
    chunk = CV2_MAX_SIDE // block * block
    for x0 in range(0, columns, chunk):
        part = pixels[:, x0 : x0 + chunk]
        out = result[:, x0 // block : x0 // block + -(-part.shape[1] // block)]
        height, width = (side // block for side in part.shape)
        whole = part[: height * block, : width * block]
        if whole.size:
            out[:height, :width] = cv2.resize(
                whole.astype(work), (width, height), interpolation=cv2.INTER_AREA
            )
        if width < out.shape[1]:
            out[:, -1] = _run_means(part[:, width * block :].mean(1, np.float64), block)
        if height < out.shape[0]:
            out[-1] = _run_means(part[height * block :].mean(0, np.float64), block)
    return result


def _run_means(values: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    starts = np.arange(0, len(values), block)
    lengths = np.diff(np.append(starts, len(values)))
    means: NDArray[np.float64] = np.add.reduceat(values, starts) / lengths
    return means
