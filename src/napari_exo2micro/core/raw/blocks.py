"""The pixels of a raw file, a block of rows at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import RawDataError, RawFileNotFoundError
from napari_exo2micro.core.raw.guard import tiff_errors
from napari_exo2micro.core.raw.streams import check_stream_size
from napari_exo2micro.core.raw.tiff import TiffImage

__all__ = ["Block", "BlockReader"]

# bytes of a block: many enough for few calls and parallel decoding, few enough
# to stay in the memory of any machine
_PLAIN_BYTES = 1 << 24
_DECODED_BYTES = 1 << 25
_WORKERS = min(4, os.cpu_count() or 1)
_CV2_TYPES = frozenset({"uint8", "uint16", "float32", "float64"})
_CV2_SIDE = 32767


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some rows of an image with several samples.

    Attributes
    ----------
    y0 : int
        First row.
    data : numpy.ndarray, shape (rows, columns, n)
        The samples, native byte order.
    samples : tuple of int
        Which sample of a pixel each of the n is.
    """

    y0: int
    data: NDArray[Any]
    samples: tuple[int, ...]

    def plane(self, sample: int) -> NDArray[Any]:
        """Return one sample as a contiguous 2-D array that nobody overwrites."""
        index = self.samples.index(sample)
        plane = self.data[..., index]
        if plane.flags.c_contiguous:
            return plane
        rows, columns = plane.shape
        if self.data.dtype.name not in _CV2_TYPES or columns > _CV2_SIDE:
            return np.ascontiguousarray(plane)
        out = np.empty((rows, columns), self.data.dtype)
        cv2.extractChannel(self.data, index, out)
        return out

    def sums(self, samples: Sequence[int]) -> list[float]:
        """Return the sum of each of some samples, exact for 8 and 16 bits."""
        data, columns = self.data, self.data.shape[1]
        fast = data.dtype.name in _CV2_TYPES and columns <= _CV2_SIDE
        if fast and data.flags.c_contiguous and data.shape[2] <= 4:
            totals = cv2.sumElems(data)
            return [float(totals[self.samples.index(k)]) for k in samples]
        return [_sum(self.plane(k), fast) for k in samples]


def _sum(plane: NDArray[Any], fast: bool) -> float:
    if fast:
        return float(cv2.sumElems(plane)[0])
    wide = np.float64 if plane.dtype.kind == "f" else None
    return float(plane.sum(dtype=wide))


class BlockReader:
    """Reads rows of a checked TIFF file; a context manager.

    Parameters
    ----------
    image : TiffImage
        The file.
    samples : sequence of int
        Which samples of a pixel are wanted; others may come along for nothing.

    Raises
    ------
    RawFileNotFoundError
        If the file is gone.
    """

    def __init__(self, image: TiffImage, samples: Sequence[int]) -> None:
        self._image = image
        # in a planar file the unwanted samples are not even read
        self._stored = tuple(samples) if image.planar else tuple(range(image.samples))
        self._buffer: NDArray[Any] | None = None
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        try:
            self._file = self._stack.enter_context(image.path.open("rb", buffering=0))
        except OSError as error:
            raise RawFileNotFoundError(
                f"{image.path}: cannot be opened ({error.strerror}); check the file"
            ) from error
        if image.contiguous is None:
            self._pool = self._stack.enter_context(ThreadPoolExecutor(_WORKERS))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def block_rows(self) -> int:
        """Rows of a block: whole strips or tiles, as many as are handy."""
        image = self._image
        if image.contiguous is not None:
            return max(1, _PLAIN_BYTES // image.row_bytes)
        return image.segment_rows * max(
            1, _DECODED_BYTES // (image.row_bytes * image.segment_rows)
        )

    def blocks(self) -> Iterator[Block]:
        """Yield all rows from top to bottom.

        Yields
        ------
        Block
            Its data may be overwritten by the next block; its planes are not.

        Raises
        ------
        RawDataError
            If the file is damaged, or changes while it is read.
        """
        height, step = self._image.height, self.block_rows
        for y0 in range(0, height, step):
            yield self.read(y0, min(y0 + step, height))
        try:
            status = self._image.path.stat()
            now = status.st_size, status.st_mtime_ns
        except OSError:
            now = (0, 0)
        if now != (self._image.size, self._image.mtime_ns):
            raise RawDataError(
                f"{self._image.path}: changed while it was read; wait until it is "
                "complete and run again"
            )

    def read(self, y0: int, y1: int, x0: int = 0, x1: int | None = None) -> Block:
        """Read a window.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            Rows and columns, px, the ends not included; all columns by default.

        Returns
        -------
        Block
            Its data may be overwritten by the next call.

        Raises
        ------
        RawDataError
            If the file is damaged.
        """
        image = self._image
        x1 = image.width if x1 is None else x1
        with tiff_errors(image.path, f"its rows {y0} to {y1 - 1} cannot be read"):
            if image.contiguous is not None:
                data = self._read_plain(y0, y1, x0, x1)
            else:
                data = self._read_segments(y0, y1, x0, x1)
            if image.white is not None:
                np.subtract(image.dtype.type(image.white), data, out=data)
            if image.table is None:
                return Block(y0, data, self._stored)
            index = np.minimum(data[..., 0], len(image.table) - 1)
            return Block(y0, image.table[index], (0, 1, 2))

    def expect(self, rows: range, x0: int, x1: int) -> None:
        """Have parts of rows of a plain file read from the disk soon, all at once.

        Rows that lie far apart would otherwise be waited for one by one.

        Parameters
        ----------
        rows : range
            Rows, px.
        x0, x1 : int
            Columns, px, the end not included.
        """
        image = self._image
        if image.contiguous is None or not hasattr(os, "posix_fadvise"):
            return
        pixel = image.dtype.itemsize * (1 if image.planar else image.samples)
        for plane in self._stored if image.planar else (0,):
            start = image.contiguous + plane * image.height * image.width * pixel
            for row in rows:
                offset = start + (row * image.width + x0) * pixel
                size, soon = (x1 - x0) * pixel, os.POSIX_FADV_WILLNEED
                os.posix_fadvise(self._file.fileno(), offset, size, soon)

    def _array(self, rows: int, columns: int) -> NDArray[Any]:
        """Return room for a window, (rows, columns, n) as the file stores it."""
        image, count = self._image, len(self._stored)
        if image.planar:
            planes = np.empty((count, rows, columns), image.dtype)
            return np.moveaxis(planes, 0, -1)
        shape = (rows, columns, count)
        if count == 1:
            return np.empty(shape, image.dtype)
        # fresh pages cost more than the copying, so interleaved rows, from which
        # planes are copied out anyway, share one buffer
        size = rows * columns * count
        if self._buffer is None or self._buffer.size < size:
            self._buffer = np.empty(size, image.dtype)
        return self._buffer[:size].reshape(shape)

    def _read_plain(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        image = self._image
        assert image.contiguous is not None
        out = self._array(y1 - y0, x1 - x0)
        pixel = image.dtype.itemsize * (1 if image.planar else image.samples)
        planes = [out[..., k] for k in range(out.shape[2])] if image.planar else [out]
        for k, plane in enumerate(planes):
            start = image.contiguous
            if image.planar:
                start += self._stored[k] * image.height * image.width * pixel
            if x1 - x0 == image.width:
                self._fill(start + y0 * image.width * pixel, plane)
            else:
                for row in range(y0, y1):
                    offset = start + (row * image.width + x0) * pixel
                    self._fill(offset, plane[row - y0])
        if image.big_endian != (sys.byteorder == "big") and image.dtype.itemsize > 1:
            for plane in planes:
                plane.byteswap(inplace=True)
        return out

    def _fill(self, offset: int, out: NDArray[Any]) -> None:
        view = out.reshape(-1).view(np.uint8).data
        self._file.seek(offset)
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done:])
            if not count:
                raise EOFError(f"the file ends {len(view) - done} bytes too early")
            done += count

    def _read_segments(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        image = self._image
        out = self._array(y1 - y0, x1 - x0)
        rows, columns = image.segment_rows, image.segment_columns
        jobs = [
            (k, (plane * image.down + down) * image.across + across)
            for k, plane in enumerate(self._stored if image.planar else (0,))
            for down in range(y0 // rows, (y1 - 1) // rows + 1)
            for across in range(x0 // columns, (x1 - 1) // columns + 1)
        ]

        def place(job: tuple[int, int, bytes | None]) -> None:
            k, index, data = job
            target = out[..., k : k + 1] if image.planar else out
            self._decode(data, index, target, y0, x0)

        assert self._pool is not None
        # a few segments at a time, so that few compressed ones wait in memory
        for begin in range(0, len(jobs), 8 * _WORKERS):
            batch = [
                (k, index, self._segment(index))
                for k, index in jobs[begin : begin + 8 * _WORKERS]
            ]
            if len(batch) == 1:
                place(batch[0])
                continue
            for _ in self._pool.map(place, batch):
                pass
        return out

    def _segment(self, index: int) -> bytes | None:
        image = self._image
        offset, count = image.offsets[index], image.byte_counts[index]
        if offset == 0 or count == 0:
            return None
        self._file.seek(offset)
        parts = []
        while count and (part := self._file.read(count)):
            parts.append(part)
            count -= len(part)
        if count:
            raise EOFError(f"the file ends {count} bytes too early")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _decode(
        self, data: bytes | None, index: int, out: NDArray[Any], y0: int, x0: int
    ) -> None:
        """Decode one strip or tile into its place in a window."""
        image = self._image
        if data is not None and image.holds_streams:
            check_stream_size(data, image.segment_rows, image.segment_columns)
        decoded, (_, _, top, left, _), shape = image.decode(data, index)
        rows = slice(max(y0 - top, 0), min(y0 + out.shape[0] - top, shape[1]))
        columns = slice(max(x0 - left, 0), min(x0 + out.shape[1] - left, shape[2]))
        target = out[
            top + rows.start - y0 : top + rows.stop - y0,
            left + columns.start - x0 : left + columns.stop - x0,
        ]
        if decoded is None:
            target[...] = 0
            return
        if decoded.dtype != image.dtype and decoded.dtype.kind != "b":
            raise ValueError(f"{decoded.dtype} pixels where {image.dtype} are declared")
        target[...] = decoded[0, rows, columns]
