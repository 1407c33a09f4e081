"""The pixels of a raw file: decoded in blocks, with the channels that carry signal."""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import RawDataError, RawFileNotFoundError
from napari_exo2micro.core.base.machine import require_memory, tiff_errors
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.raw.fingerprint import BackgroundFingerprint, RawFingerprint
from napari_exo2micro.core.raw.tiff import MIN_SIDE, TiffImage, check_stream_size

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


#: First row, end of rows, first column, end of columns, px of the file.
Area = tuple[int, int, int, int]

_BAND_BYTES = 1 << 24
_TOLD_EVERY = 16
_THREADS = min(4, os.cpu_count() or 1)


def read_samples(
    image: TiffImage,
    samples: Sequence[int],
    area: Area,
    step: int = 1,
    monitor: Monitor | None = None,
    *,
    every: int = 1,
) -> NDArray[Any]:
    """Read every `step`-th pixel of every `step`-th row of a window.

    From an uncompressed file only these rows are read; of a compressed one only
    the strips or tiles are decoded that hold them, a few at a time.

    Parameters
    ----------
    image : TiffImage
        The checked file.
    samples : sequence of int
        The wanted samples of a pixel, out of ``image.colour``.
    area : tuple of int
        (y0, y1, x0, x1), rows and columns, the ends not included, not empty.
    step : int
        Distance of the pixels, px; the first one is at (y0, x0).
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.
    every : int
        Of a compressed file decode only each `every`-th band of strips or tiles;
        the rows of the others are 0, see `rows_read`.

    Returns
    -------
    numpy.ndarray, shape (rows, columns, n), dtype ``image.sample_dtype``
        The samples in the order asked for.

    Raises
    ------
    RawDataError
        If the file is damaged; a `RawFileNotFoundError` if it is gone.
    """
    y0, y1, x0, x1 = area
    monitor = monitor or Monitor()
    shape = (-(-(y1 - y0) // step), -(-(x1 - x0) // step), len(samples))
    out = (np.zeros if every > 1 else np.empty)(shape, image.sample_dtype)

    def place(block: Block) -> None:
        first = -(-(block.y0 - y0) // step)
        rows = slice(first * step + y0 - block.y0, None, step)
        for index, sample in enumerate(samples):
            chosen = block.data[rows, ::step, block.samples.index(sample)]
            out[first : first + len(chosen), :, index] = chosen

    def read_all(bands: Sequence[tuple[int, int]], *, tells: bool = True) -> None:
        with BlockReader(image, image.stored(tuple(samples))) as reader:
            if step > 1 or x1 - x0 < image.width:
                reader.expect(range(y0, y1, step), x0, x1)
            for done, (top, bottom) in enumerate(bands):
                monitor.check()
                if tells and done % _TOLD_EVERY == 0:
                    monitor.report(done / len(bands), f"reading {image.path.name}")
                place(reader.read(top, bottom, x0, x1))

    bands = list(_bands(image, area, step))[::every]
    if image.contiguous is not None or image.across > 1:
        read_all(bands)  # several threads decode the tiles of a band
        return out
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = [bands[start::_THREADS] for start in range(_THREADS)]
        jobs = [pool.submit(read_all, part, tells=part is parts[0]) for part in parts]
        for job in jobs:
            job.result()
    return out


def rows_read(image: TiffImage, area: Area, step: int, every: int) -> NDArray[np.bool_]:
    """Return which rows of the result `read_samples` fills.

    Parameters
    ----------
    image, area, step, every
        As `read_samples` takes them.

    Returns
    -------
    numpy.ndarray, shape (rows,), bool
    """
    y0, y1 = area[:2]
    rows = np.zeros(-(-(y1 - y0) // step), bool)
    for top, bottom in list(_bands(image, area, step))[::every]:
        rows[(top - y0) // step : -(-(bottom - y0) // step)] = True
    return rows


def decoded_bytes(image: TiffImage, area: Area, step: int) -> int:
    """Return how many bytes `read_samples` decodes; 0 for an uncompressed file."""
    x0, x1 = area[2:]
    columns = -(-(x1 - x0) // image.segment_columns) + 1
    columns = min(columns, image.across)
    return len(list(_bands(image, area, step))) * columns * segment_bytes(image)


def segment_bytes(image: TiffImage) -> int:
    """Return the decoded bytes of one strip or tile; 0 for an uncompressed file."""
    if image.contiguous is not None:
        return 0
    samples = 1 if image.planar else image.samples
    pixels = image.segment_rows * image.segment_columns
    return pixels * samples * image.dtype.itemsize


def _bands(image: TiffImage, area: Area, step: int) -> Iterator[tuple[int, int]]:
    """Yield the rows to read at once: each span begins and ends with a wanted row."""
    y0, y1, x0, x1 = area
    row_bytes = (x1 - x0) * image.samples * image.dtype.itemsize
    if image.contiguous is not None:
        most = max(1, _BAND_BYTES // row_bytes)
        if step > 1:
            yield from ((row, row + 1) for row in range(y0, y1, step))
            return
        yield from ((top, min(top + most, y1)) for top in range(y0, y1, most))
        return
    high = image.segment_rows
    for top in range(y0 // high * high, y1, high):
        first = y0 + max(0, -(-(top - y0) // step)) * step
        last = y0 + (min(top + high, y1) - 1 - y0) // step * step
        if first <= last:
            yield first, last + 1


_FLOAT32_EXACT = 1 << 24


@dataclass(frozen=True, slots=True)
class Measured:
    """What one pass over all pixels of a file found.

    Attributes
    ----------
    means : tuple of float
        Of each colour sample, exact for 8 and 16 bits.
    lit : tuple of bool
        Whether each colour sample is non-zero anywhere.
    largest : int
        Upper bound of all colour samples; 0 for floats.
    """

    means: tuple[float, ...]
    lit: tuple[bool, ...]
    largest: int


def measure(image: TiffImage, monitor: Monitor | None = None) -> Measured:
    """Read all pixels once, and refuse those that nothing can be done with.

    Parameters
    ----------
    image : TiffImage
        The checked file.
    monitor : Monitor, optional
        Told the progress.

    Returns
    -------
    Measured
        Of each colour sample, in the order of ``image.colour``.

    Raises
    ------
    RawDataError
        If the file is damaged, or holds NaN, infinite or negative integer pixels.
    """
    dtype, samples, count = image.sample_dtype, image.colour, len(image.colour)
    totals: list[float] = [0] * count
    lit = [False] * count
    largest = bad = 0
    with BlockReader(image, image.stored_colour) as reader:
        for block in reader.blocks():
            sums = block.sums(samples)
            for index, (sample, total) in enumerate(zip(samples, sums, strict=True)):
                totals[index] += total if dtype.kind == "f" else int(total)
                if not lit[index]:
                    lit[index] = total != 0 or bool(block.plane(sample).any())
                if dtype.kind == "f" and not math.isfinite(total):
                    bad += int((~np.isfinite(block.plane(sample))).sum())
                elif dtype.kind == "i":
                    bad += int((block.plane(sample) < 0).sum())
            if dtype.kind != "f" and (count > 1 or dtype.itemsize > 2):
                largest = max(largest, int(block.data.max()))
            if monitor is not None:
                done = (block.y0 + len(block.data)) / image.height
                monitor.report(done, f"reading {image.path.name}")
    pixels = image.height * image.width
    if bad:
        kind = "NaN or infinite" if dtype.kind == "f" else "negative"
        found = f"{bad} of its {pixels * count} {'pixels' if count == 1 else 'samples'}"
        raise RawDataError(
            f"{image.path}: {found} are {kind}; export it without them, for example "
            "with 0 instead"
        )
    return Measured(tuple(total / pixels for total in totals), tuple(lit), largest)


def largest_sum(image: TiffImage, samples: tuple[int, ...], most: int) -> int:
    """Return the largest sum of some samples, as far as `choose_dtype` needs it.

    Parameters
    ----------
    image : TiffImage
        The checked file, with integer samples.
    samples : tuple of int
        Which samples are summed.
    most : int
        Upper bound of all of them: spares the pass when it settles the matter.

    Returns
    -------
    int
        The largest sum, or a number that asks for the same pixel type.
    """
    limit = 0xFF if image.sample_dtype.itemsize == 1 else 0xFFFF
    if most * len(samples) <= limit:
        return most * len(samples)
    largest = 0
    wide = np.dtype(np.uint16 if image.sample_dtype.itemsize == 1 else np.uint64)
    with BlockReader(image, image.stored(samples)) as reader:
        for block in reader.blocks():
            total = block.plane(samples[0]).astype(wide)
            for sample in samples[1:]:
                np.add(total, block.plane(sample), out=total, casting="unsafe")
            largest = max(largest, int(total.max()))
            # the next type holds any sum of 8 or 16 bits
            if largest > limit and image.sample_dtype.itemsize <= 2:
                break
    return largest


def choose_dtype(stored: np.dtype[Any], largest: int) -> np.dtype[Any]:
    """Return the smallest pixel type of the pipeline that holds all values.

    Parameters
    ----------
    stored : numpy.dtype
        Of the samples in the file.
    largest : int
        Largest value or sum of both images; not looked at for floats.

    Returns
    -------
    numpy.dtype
        uint8, uint16, float32 (exact up to 2**24) or float64.
    """
    if stored.kind == "f":
        return np.dtype(np.float64 if stored.itemsize == 8 else np.float32)
    if stored.itemsize == 1 and largest <= 0xFF:
        return np.dtype(np.uint8)
    if largest <= 0xFFFF:
        return np.dtype(np.uint16)
    return np.dtype(np.float32 if largest <= _FLOAT32_EXACT else np.float64)


def signal_planes(
    image: TiffImage, samples: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the signal of all rows from top to bottom.

    Parameters
    ----------
    image : TiffImage
        The checked file.
    samples : tuple of int
        The samples whose sum is the signal.
    dtype : numpy.dtype
        Of the signal; must hold the largest sum.

    Yields
    ------
    y0 : int
        First row.
    plane : numpy.ndarray, shape (rows, columns), `dtype`
        Contiguous, and not overwritten later.
    """
    with BlockReader(image, image.stored(samples)) as reader:
        for block in reader.blocks():
            plane = block.plane(samples[0]).astype(dtype, copy=False)
            for sample in samples[1:]:
                # the addends may be narrower than the sum, never wider
                np.add(plane, block.plane(sample), out=plane, casting="unsafe")
            yield block.y0, plane


SIGNAL_MEAN = 0.5
_NAMES = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class ChannelMeans:
    """The colour channels of one image.

    Attributes
    ----------
    name : str
        The file, for messages.
    samples : tuple of int
        Which samples of a pixel are colours; alpha is not among them.
    means : tuple of float
        The mean of each over all pixels.
    """

    name: str
    samples: tuple[int, ...]
    means: tuple[float, ...]

    @property
    def is_grey(self) -> bool:
        """There is nothing to choose from."""
        return len(self.samples) == 1


@dataclass(frozen=True, slots=True)
class ChannelDecision:
    """The samples whose sum is the signal.

    Attributes
    ----------
    post, pre : tuple of int
        For each image; the same for both unless one of them is grey.
    channels : tuple of int or None
        The decision; None when both images are grey.
    warnings : tuple of str
        What a careful reader would not expect.
    """

    post: tuple[int, ...]
    pre: tuple[int, ...]
    channels: tuple[int, ...] | None
    warnings: tuple[str, ...] = ()


def channel_name(index: int) -> str:
    """Return the name of a channel for a person.

    Parameters
    ----------
    index : int
        Counted from 0.

    Returns
    -------
    str
        ``'red'``, ``'green'``, ``'blue'``, ``'channel 4'``, ...
    """
    return _NAMES[index] if index < len(_NAMES) else f"channel {index + 1}"


def decide_channels(post: ChannelMeans, pre: ChannelMeans) -> ChannelDecision:
    """Choose the channels that carry the signal of a pair.

    A channel counts when its mean exceeds 0.5 in either image. Several are
    summed. When none does, the one with the highest mean of both is taken.

    Parameters
    ----------
    post, pre : ChannelMeans
        The two images.

    Returns
    -------
    ChannelDecision
        One decision for both; a grey image takes part with its only channel.

    Raises
    ------
    RawDataError
        If both have several channels, but not the same number.

    Examples
    --------
    >>> post = ChannelMeans("post.tif", (0, 1, 2), (0.0, 7.1, 0.1))
    >>> pre = ChannelMeans("pre.tif", (0, 1, 2), (0.0, 3.0, 0.2))
    >>> decide_channels(post, pre).channels
    (1,)
    """
    if post.is_grey and pre.is_grey:
        return ChannelDecision(post.samples, pre.samples, None)
    if post.is_grey or pre.is_grey:
        grey, coloured = (post, pre) if post.is_grey else (pre, post)
        chosen = _choose([coloured.means], coloured.samples)
        warning = (
            f"{grey.name} is grey and {coloured.name} has {len(coloured.samples)} "
            f"channels; its {_listed(chosen)} stands for the signal there"
        )
        sides = (grey.samples, chosen) if post.is_grey else (chosen, grey.samples)
        return ChannelDecision(*sides, chosen, (warning,))
    if post.samples != pre.samples:
        raise RawDataError(
            f"{post.name} has {len(post.samples)} channels and {pre.name} has "
            f"{len(pre.samples)}; export both with the same settings"
        )
    chosen = _choose([post.means, pre.means], post.samples)
    own_post = _choose([post.means], post.samples)
    own_pre = _choose([pre.means], pre.samples)
    if own_post == own_pre:
        return ChannelDecision(chosen, chosen, chosen)
    warning = (
        f"alone, {post.name} would use {_listed(own_post)} and {pre.name} "
        f"{_listed(own_pre)}; {_listed(chosen)} is used for both"
    )
    return ChannelDecision(chosen, chosen, chosen, (warning,))


def _choose(
    means: Sequence[tuple[float, ...]], samples: tuple[int, ...]
) -> tuple[int, ...]:
    lit = tuple(
        sample
        for index, sample in enumerate(samples)
        if any(image[index] > SIGNAL_MEAN for image in means)
    )
    if lit:
        return lit
    totals = [sum(image[index] for image in means) for index in range(len(samples))]
    return (samples[totals.index(max(totals))],)


def _listed(channels: Sequence[int]) -> str:
    return " + ".join(channel_name(index) for index in channels)


_MAX_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """One image of a pair, read a band of rows at a time.

    Attributes
    ----------
    path : pathlib.Path or None
        The file; None for an array without one.
    shape : tuple of int
        Rows and columns, px.
    dtype : numpy.dtype
        Of the signal: uint8, uint16, float32 or float64, native byte order.
    """

    path: Path | None
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    _planes: Callable[[], Iterator[tuple[int, NDArray[Any]]]]
    _fingerprint: Callable[[], RawFingerprint]

    def bands(self, max_rows: int = _MAX_ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows from top to bottom.

        Parameters
        ----------
        max_rows : int
            Most rows of a band; fewer when the file is better read so.

        Yields
        ------
        y0 : int
            First row of the band.
        band : numpy.ndarray, shape (rows, columns)
            The signal, contiguous, native byte order; not overwritten later.

        Raises
        ------
        RawDataError
            If the file is damaged, or changes while it is read.
        ValueError
            If `max_rows` is less than 1.
        """
        if max_rows < 1:
            raise ValueError(f"a band needs at least one row, not {max_rows}")
        for y0, plane in self._planes():
            for row in range(0, len(plane), max_rows):
                yield y0 + row, plane[row : row + max_rows]

    def read(self) -> NDArray[Any]:
        """Return the whole image.

        Returns
        -------
        numpy.ndarray, shape (rows, columns)
            The signal, native byte order.

        Raises
        ------
        RawDataError
            If it does not fit in memory, or the file is damaged.
        """
        size = self.shape[0] * self.shape[1] * self.dtype.itemsize
        require_memory(self.path or Path("image"), size, "the whole image")
        out = np.empty(self.shape, self.dtype)
        for y0, band in self.bands():
            out[y0 : y0 + len(band)] = band
        return out

    def fingerprint(self) -> RawFingerprint:
        """Return which bytes this image was made from; waits for them if needed.

        Returns
        -------
        RawFingerprint
            Of the file, or of the array's pixels.

        Raises
        ------
        RawFileNotFoundError
            If the file cannot be read any more.
        """
        return self._fingerprint()


def file_image(
    image: TiffImage,
    samples: tuple[int, ...],
    dtype: np.dtype[Any],
    job: BackgroundFingerprint | None = None,
) -> RawImage:
    """Return the signal of a checked file.

    Parameters
    ----------
    image : TiffImage
        The file.
    samples : tuple of int
        The samples whose sum is the signal.
    dtype : numpy.dtype
        Of the signal; must hold the largest sum.
    job : BackgroundFingerprint, optional
        The fingerprint that is being computed; otherwise it is when asked for.
    """
    return RawImage(
        image.path,
        image.shape,
        dtype,
        lambda: signal_planes(image, samples, dtype),
        job.result if job is not None else lambda: RawFingerprint.of(image.path),
    )


def array_image(array: Any, path: Path | str | None, dtype: np.dtype[Any]) -> RawImage:
    """Return a checked array as an image.

    Parameters
    ----------
    array : array_like, shape (rows, columns)
        The pixels.
    path : pathlib.Path or str or None
        The file they came from: its fingerprint, if it exists, is the image's.
    dtype : numpy.dtype
        Of the signal.
    """
    file = None if path is None else Path(path)
    rows, columns = array.shape

    def fingerprint() -> RawFingerprint:
        if file is not None and file.is_file():
            return RawFingerprint.of(file)
        return fingerprint_array(array)

    return RawImage(
        file,
        (int(rows), int(columns)),
        dtype,
        lambda: array_bands(array, dtype),
        fingerprint,
    )


_BAND_ROWS = 512


def array_bands(
    array: Any, dtype: np.dtype[Any] | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield all rows of anything that can be sliced, from top to bottom.

    Parameters
    ----------
    array : array_like, shape (rows, columns)
        An array, a memory map, or any object with ``shape`` and slicing.
    dtype : numpy.dtype, optional
        Of the bands; that of the array, native byte order, by default.

    Yields
    ------
    y0 : int
        First row.
    band : numpy.ndarray, shape (rows, columns)
        Contiguous.
    """
    for y0 in range(0, array.shape[0], _BAND_ROWS):
        band = np.asarray(array[y0 : y0 + _BAND_ROWS])
        wanted = band.dtype.newbyteorder("=") if dtype is None else dtype
        yield y0, np.ascontiguousarray(band, wanted)


def check_array(array: Any, name: str) -> tuple[Any, int]:
    """Refuse an array that cannot be an image of a pair.

    Parameters
    ----------
    array : array_like
        What the loader gave.
    name : str
        Loader and side, for messages.

    Returns
    -------
    array : array_like, shape (rows, columns)
        The same, or an array made from a list.
    largest : int
        Its largest value; 0 for floats.

    Raises
    ------
    RawDataError
        If it is not 2-D, too small, not a number type of the pipeline, all
        zero, or holds NaN, infinite or negative integer pixels.
    """
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        try:
            array = np.asarray(array)
        except (TypeError, ValueError) as error:
            raise RawDataError(
                f"{name}: a 2-D array is wanted, found {type(array).__name__}; "
                "return arrays from the loader"
            ) from error
    if len(array.shape) != 2:
        raise RawDataError(
            f"{name}: a 2-D array is wanted, found shape {tuple(array.shape)}; choose "
            "one channel or sum them in the loader"
        )
    rows, columns = array.shape
    if rows < MIN_SIDE or columns < MIN_SIDE:
        raise RawDataError(
            f"{name}: {columns} x {rows} px are too few to align; at least "
            f"{MIN_SIDE} x {MIN_SIDE} px are needed"
        )
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise RawDataError(
            f"{name}: pixels of type {dtype} are not supported; return unsigned "
            "integers or floats from the loader"
        )
    largest = bad = 0
    lit = False
    for _, band in array_bands(array):
        lit = lit or bool(band.any())
        if dtype.kind == "f":
            bad += int((~np.isfinite(band)).sum())
        else:
            largest = max(largest, int(band.max()))
            bad += int((band < 0).sum()) if dtype.kind == "i" else 0
    if bad:
        kind = "NaN or infinite" if dtype.kind == "f" else "negative"
        raise RawDataError(
            f"{name}: {bad} of its {rows * columns} pixels are {kind}; return an "
            "image without them"
        )
    if not lit:
        raise RawDataError(f"{name}: every pixel is 0; return the image's data")
    return array, largest


def fingerprint_array(array: Any) -> RawFingerprint:
    """Return the fingerprint of an array's shape, type and pixels.

    Parameters
    ----------
    array : array_like, shape (rows, columns)
        The image.
    """
    kind = np.dtype(array.dtype).newbyteorder("=")
    digest = hashlib.sha256(f"{tuple(array.shape)} {kind.name}".encode())
    size = 0
    for _, band in array_bands(array):
        digest.update(band.data)
        size += band.nbytes
    return RawFingerprint(size, 0, digest.hexdigest())
