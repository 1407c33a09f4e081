"""One large image in a file: its levels, read window by window and reduced."""

import copy
import math
import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import CheckpointError, Monitor

#: The longest side that every OpenCV resampling function takes.
CV2_MAX_SIDE = 32767

#: Rows of a band: a multiple of the coarsest pyramid level's pixel.
BAND_ROWS = 1024

_SECOND = 1_000_000_000

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


def checksum(pixels: NDArray[Any]) -> int:
    """Return the CRC-32 of pixels as little-endian numbers, row by row.

    Of the digests at hand the one that costs least, with or without help of the
    processor; what it has to tell is damage, not forgery.
    """
    order = pixels.dtype.newbyteorder("<")
    return zlib.crc32(np.ascontiguousarray(pixels, order).data)


class FileLevel:
    """Where one level lies in a file; mapped into memory when it is first read.

    A folder may hold more images than a program may have open files.

    Parameters
    ----------
    path : Path
        The file.
    file : binary file
        The same one, open: it must not be another one when it is mapped later.
    mapped : bool
        Whether it is mapped at once.
    dtype : dtype
        Type of a pixel, in the byte order of the file.
    offset : int
        Where the pixels begin, bytes.
    shape : tuple of int
        Rows and columns.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        mapped: bool,
        dtype: np.dtype[Any],
        offset: int,
        shape: tuple[int, ...],
    ) -> None:
        self.path, self.offset, self.shape = path, offset, shape
        self.dtype = np.dtype(dtype.str)  # the machine's own order goes without saying
        self._file = _which(file)
        self._map: NDArray[Any] | None = None
        if mapped:
            self._map_it(file)

    @property
    def n_bytes(self) -> int:
        """Size of its pixels in the file."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_mapped(self) -> bool:
        """Whether it was read already."""
        return self._map is not None

    def mapped(self) -> NDArray[Any]:
        """Return the level as a memory map, read-only.

        Raises
        ------
        CheckpointError
            When another file is in its place by now.
        """
        if self._map is not None:
            return self._map
        try:
            with self.path.open("rb") as file:
                if _which(file) == self._file:
                    return self._map_it(file)
        except OSError as error:
            raise CheckpointError(
                f"{self.path} cannot be read ({error.strerror}); run its stage again"
            ) from error
        raise CheckpointError(
            f"{self.path} was written anew since it was opened; open it again"
        )

    def _map_it(self, file: BinaryIO) -> NDArray[Any]:
        self._map = np.memmap(file, self.dtype, "r", self.offset, self.shape)
        return self._map


def _which(file: BinaryIO) -> tuple[int, ...]:
    """Return what another file in the same place has not; `mark_proven` keeps it."""
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns // _SECOND


class Raster:
    """An image on disk, read window by window, with its smaller levels.

    Parameters
    ----------
    levels : list of FileLevel
        The first is the full resolution, each further one is half as large (2 x 2
        means).
    header : dict
        What the file says about itself; empty for a file without a header.
    path : Path
        The file.
    bzero : int
        Added to stored values (FITS keeps unsigned 16-bit values that way).
    is_foreign : bool
        Whether nothing in the file says that this package wrote it.
    digests : sequence of sequence of int
        For each level the `checksum` of each band of `BAND_ROWS` rows of the full
        resolution; empty for files of earlier versions and of others.
    fraction_ns : int
        The part of a second in the time of its last change, see `is_proven`.

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
        levels: Sequence[FileLevel],
        header: dict[str, Any],
        path: Path,
        *,
        bzero: int = 0,
        is_foreign: bool = False,
        digests: Sequence[Sequence[int]] = (),
        fraction_ns: int = 0,
    ) -> None:
        self._levels, self._bzero = levels, bzero
        self._digests, self._fraction_ns = digests, fraction_ns
        # shared by those that check and those that do not
        self._checked: set[tuple[int, int]] = set()
        self._damage: list[str] = []
        self._checks = False
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

        Raises
        ------
        CheckpointError
            Of one that checks, when pixels are not those that were written.
        """
        if self._checks and self._digests:
            self._check(key[0] if isinstance(key, tuple) else key, level)
        return self._read(key, level)

    def _read(self, key: Any, level: int) -> NDArray[Any]:
        stored: NDArray[Any] = self._levels[level].mapped()[key]
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

    # Pixels at rest ------------------------------------------------------------

    @property
    def has_digests(self) -> bool:
        """Whether its pixels can be checked."""
        return bool(self._digests)

    @property
    def damage(self) -> str:
        """What was found wrong with the pixels that were read; empty for nothing."""
        return self._damage[0] if self._damage else ""

    def checking(self) -> Self:
        """Return the same image; it checks each band when that is first read.

        To look at an image that need not be: it costs the reading of whole bands.

        Returns
        -------
        Raster
            Both know what was checked.
        """
        other = copy.copy(self)
        other._checks = True
        return other

    def is_proven(self) -> bool:
        """Return whether the file is as it was written, or as it was last checked.

        Returns
        -------
        bool
            By its time; True where there are no digests.
        """
        if not self._digests:
            return True
        try:
            return self.path.stat().st_mtime_ns % _SECOND == self._fraction_ns
        except OSError:  # it is gone
            return False

    def verify(self, monitor: Monitor | None = None) -> None:
        """Read all pixels and check them; the file's time tells it from then on.

        Parameters
        ----------
        monitor : Monitor, optional
            Asked whether to stop.

        Raises
        ------
        CheckpointError
            When some are not those that were written.
        """
        monitor = monitor or Monitor()
        for level in range(len(self._digests)):
            step = BAND_ROWS >> level
            for y0, y1 in bands(self._levels[level].shape, step):
                monitor.check()
                self._check(slice(y0, y1), level)
                self.release()
        if not self.is_proven():
            mark_proven(self.path, self._fraction_ns)

    def _check(self, rows: Any, level: int) -> None:
        n_rows, step = self._levels[level].shape[0], BAND_ROWS >> level
        start, stop, _ = (rows if isinstance(rows, slice) else slice(None)).indices(
            n_rows
        )
        for band in range(start // step, -(-stop // step)):
            if (level, band) in self._checked:
                continue
            y0, y1 = band * step, min((band + 1) * step, n_rows)
            pixels = self._read((slice(y0, y1), slice(None)), level)
            if checksum(pixels) != self._digests[level][band]:
                size = f" of its level {level}" if level else ""
                why = f"pixels in rows {y0} to {y1 - 1}{size} were changed or damaged"
                self._damage.append(why)
                raise CheckpointError(
                    f"{self.path} cannot be used: {why}; run its stage again"
                )
            self._checked.add((level, band))

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
        stored = self._levels[level].mapped()
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
            if not level.is_mapped:
                continue
            pages = getattr(level.mapped(), "_mmap", None)
            if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole image, a copy when its type must change."""
        return np.array(self.level(0), dtype, copy=copy)


def mark_proven(path: Path, fraction_ns: int) -> None:
    """Note that a file's pixels were checked: by the last digits of its time.

    The second of its last change stays; the part of a second becomes one that follows
    from the file's seal. Any later writing sets another one, so that a folder of
    gigabytes is told to be as it was written without reading it. Where it cannot be
    noted, the next run reads the pixels again.
    """
    with suppress(OSError):
        status = path.stat()
        whole = status.st_mtime_ns // _SECOND * _SECOND
        os.utime(path, ns=(status.st_atime_ns, whole + fraction_ns))


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
