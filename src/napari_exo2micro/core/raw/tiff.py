"""A TIFF file: its structure, checked before any pixel is read, and its pixels.

A header may claim anything. What is allocated is bounded before: the values that a
directory lists, the pixels of a row of strips or tiles, and the size that a compressed
stream gives itself.
"""

import io
import math
import os
import re
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, TypeVar

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from napari_exo2micro.core.base import Monitor, errors, machine
from napari_exo2micro.core.images.io import quiet_tifffile
from napari_exo2micro.core.raw.pages import (
    AUTO,
    COLOURS,
    STORED,
    SUM,
    Chosen,
    ImageChoice,
    Plane,
    choose,
)

#: Shortest side of an image that can be aligned, px.
MIN_SIDE = 8

_AGAIN = "copy or export the file again"

# Header: values of tags, and what is believed of them.
# PhotometricInterpretation
_GREY_OR_COLOUR, _PALETTE, _INKS, _YCBCR = (0, 1, 2), 3, 5, 6
_ALPHA = (1, 2)  # ExtraSamples
_JPEG = frozenset({6, 7, 33007, 34892})  # Compression
#: Of these a stream that was cut off is not decoded: zlib, zstd.
_SELF_CHECKING = frozenset({8, 32946, 34926, 50000})
_SMALLEST_HEADER = 8
_MOST_SAMPLES = 64
_ORIENTATION = 274
#: Values of the Orientation tag with the first row below, the first column right.
_ROWS_UP, _COLUMNS_BACK = (3, 4, 6, 7), (2, 3, 7, 8)
#: Values of one tag, and tags of a directory: tifffile would read more of them, too.
_MOST_VALUES, _MOST_TAGS = 1 << 22, 4096
#: Claims up to this are believed, bytes; and so many times the bytes of the file, as
#: blank tiles may all be in one place, and a constant one takes some bytes only.
_BELIEVED, _MOST_REPEATS = 1 << 32, 1 << 15
#: A row of strips or tiles of more bytes is not decoded without asking for memory.
_LARGE_ROW = 1 << 28
#: A stream may be so much larger than its strip or tile: whole blocks of its codec, px.
_BLOCK = 16
_CODESTREAM = b"\xff\x4f\xff\x51"
#: How a stream begins that says its size, what it is, and what reads its header.
_STREAMS = (
    (b"\xff\xd8", "JPEG", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", "PNG", PngImageFile),
    (_CODESTREAM, "JPEG 2000", Jpeg2KImageFile),
)

# Reading: bytes of a band of plain pixels, of the rows of a block (many enough for few
# calls, few enough for any machine), and of what is digested between the pixels.
_BAND_BYTES, _BLOCK_BYTES, _CHUNK = 1 << 22, 1 << 24, 1 << 20
_WORKERS = min(4, os.cpu_count() or 1)
#: Strips or tiles read and decoded at a time, so that few of them wait in memory.
_BATCH = 8 * _WORKERS
_REPORTED_EVERY = 16  # strips, tiles or rows

#: Rows and columns, px of the file; with a step only some of them.
Area = tuple[range, range]

_Data = bytes | memoryview
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class TiffImage:
    """Where the pixels of a raw file lie and how to read them.

    Its segments are strips or tiles, and bands of rows where pixels lie plain.
    """

    path: Path
    size: int  # of the file when its header was read, bytes
    mtime_ns: int
    height: int
    width: int
    samples: int  # of each pixel as stored, alpha included
    planar: bool  # stored plane after plane instead of pixel by pixel
    dtype: np.dtype[Any]  # of the decoded samples, native byte order
    stored: np.dtype[Any]  # the same in the file's byte order
    stored_colour: tuple[int, ...]  # samples that are not alpha
    mode: str  # 'grey', 'RGB', 'RGBA', ... for a person
    segment_rows: int
    segment_columns: int
    offsets: Sequence[int]  # of each strip or tile
    byte_counts: Sequence[int]
    contiguous: int | None  # offset of the pixels when they lie there plain and whole
    white: int | None  # the value to subtract from when white is zero
    signed: bool  # 16-bit numbers of which 32768 are to be taken off (ImageJ)
    table: NDArray[np.generic] | None  # colours of a palette image, shape (N, 3)
    inks: bool  # C, M, Y, K, that become red, green and blue
    separate: bool  # its samples are images of their own, not colours of one picture
    names: tuple[str, ...]  # of the samples, for a person
    orientation: int  # 1 to 8 of the Orientation tag: 5 to 8 swap rows and columns
    # decode(data, number) returns a strip or tile, shape (rows, columns, n)
    decode: Callable[[Any, int], NDArray[Any]]
    warnings: tuple[str, ...]  # what a careful reader would not expect
    alpha: int | None = None  # a sample that is 0 where there are no data
    planes: tuple["TiffImage", ...] = ()  # of a stack, whose projection is the image
    projection: str = "none"  # or 'maximum' or 'mean' of the planes

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns as one looks at it, px."""
        stored = self.height, self.width
        return stored[::-1] if self.is_turned else stored

    @property
    def is_turned(self) -> bool:
        """Whether its rows are stored as columns."""
        return self.orientation > 4

    @property
    def colour(self) -> tuple[int, ...]:
        """The samples that may carry signal: those that are not alpha."""
        return self.stored_colour

    @property
    def sample_dtype(self) -> np.dtype[Any]:
        """Of the samples of `colour`."""
        if self.signed:
            return np.dtype(np.int16)
        return self.dtype if self.table is None else self.table.dtype

    def stored_area(self, area: Area) -> Area:
        """Return where an area of the image lies in the file, forwards."""
        rows, columns = area[::-1] if self.is_turned else area
        if self.orientation in _ROWS_UP:
            rows = _mirrored(rows, self.height)
        if self.orientation in _COLUMNS_BACK:
            columns = _mirrored(columns, self.width)
        return rows, columns

    def seen_area(self, stored: Area) -> Area:
        """Return the area of the image that lies in an area of the file."""
        rows, columns = stored
        if self.orientation in _ROWS_UP:
            rows = _mirrored(rows, self.height)
        if self.orientation in _COLUMNS_BACK:
            columns = _mirrored(columns, self.width)
        return (columns, rows) if self.is_turned else (rows, columns)

    def oriented(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return samples of a stored area, shape (n, rows, columns), as one looks."""
        if self.orientation in _ROWS_UP:
            stored = stored[:, ::-1]
        if self.orientation in _COLUMNS_BACK:
            stored = stored[:, :, ::-1]
        return stored.swapaxes(1, 2) if self.is_turned else stored

    def reader(self, samples: Sequence[int], digest: Any = None) -> "TiffReader":
        """Return what reads its pixels, see `TiffReader`."""
        return TiffReader(self, samples, digest)

    @property
    def grid(self) -> tuple[int, int]:
        """Strips or tiles one below the other and side by side."""
        down = math.ceil(self.height / self.segment_rows)
        return down, math.ceil(self.width / self.segment_columns)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel with all samples that lie side by side."""
        return self.dtype.itemsize * (1 if self.planar else self.samples)

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of one row with all of its samples."""
        return self.width * self.samples * self.dtype.itemsize

    @property
    def segment_bytes(self) -> int:
        """Decoded bytes of one strip or tile; 0 where pixels lie plain."""
        if self.contiguous is not None:
            return 0
        return self.segment_rows * self.segment_columns * self.pixel_bytes


class _Segment(NamedTuple):
    """A strip, tile or band: where it lies in the image, px, and in the file."""

    plane: int
    number: int
    rows: range
    columns: range
    offset: int
    size: int


def _mirrored(places: range, count: int) -> range:
    """Return places counted from the other end, in ascending order."""
    if not places:
        return places
    return range(count - 1 - places[-1], count - places[0], places.step)


def open_tiff(path: Path | str, choice: ImageChoice | None = None) -> TiffImage:
    """Read and check the header of a raw file: of the image that is wanted of it.

    Nothing in proportion to the image that the header claims is allocated.

    Raises
    ------
    RawFileNotFoundError
        If the file does not exist or cannot be opened.
    RawDataError
        If it is no TIFF, is truncated, holds an image that cannot be used, or several
        of which none is chosen.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise errors.RawDataError(
                f"{path}: is no ordinary file; replace it by a TIFF"
            )
        with path.open("rb") as file:
            return _open(path, status, file, choice or ImageChoice())
    except OSError as error:
        reason = f"cannot be opened ({error.strerror})"
        if not os.path.exists(path):  # noqa: PTH110 - a path may be too long to ask
            is_link = os.path.islink(path)  # noqa: PTH114
            reason = "is a link whose target is gone" if is_link else "is missing"
        raise errors.RawFileNotFoundError(
            f"{path}: {reason}; check the file and its permissions"
        ) from error


def _open(
    path: Path, status: os.stat_result, file: BinaryIO, choice: ImageChoice
) -> TiffImage:
    start = file.read(4)
    if status.st_size == 0:
        raise errors.RawDataError(f"{path}: the file has no bytes; {_AGAIN}")
    if start[:2] not in (b"II", b"MM"):
        raise errors.RawDataError(
            f"{path}: is not a TIFF file, whatever its name says (it starts with "
            f"{start!r}); export the image as TIFF"
        )
    with tiff_errors(path, "its header is damaged"):
        _check_directory(file)
        file.seek(0)
        with tifffile.TiffFile(file) as tif:
            chosen = choose(tif, path, choice)
            images = [
                _checked(_describe(path, status, tif, plane, chosen, choice), plane)
                for plane in chosen.planes
            ]
            if len(images) == 1:
                return images[0]
            return replace(
                images[0], planes=tuple(images), projection=choice.projection
            )


class TiffReader:
    """Reads samples of a checked TIFF file; a context manager, for one thread.

    `samples` are the wanted ones, out of ``image.colour``; `scan` gives `digest` every
    byte of the file, in order. A file that is gone is a `RawFileNotFoundError`, one
    that is damaged or changes while all of it is read a `RawDataError`.
    """

    def __init__(
        self, image: TiffImage, samples: Sequence[int], digest: Any = None
    ) -> None:
        self._image = image
        self._samples = tuple(samples)
        self._digest, self._digested = digest, 0
        self._file = self._opened()
        self._pool = ThreadPoolExecutor(_WORKERS)
        self._buffer = memoryview(b"")

    def _opened(self) -> io.BufferedIOBase:
        path = self._image.path
        try:
            return path.open("rb")
        except OSError as error:
            raise errors.RawFileNotFoundError(
                f"{path}: cannot be opened ({error.strerror}); check the file"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()
        self._file.close()

    def read(
        self, area: Area, *, every: int = 1, monitor: Monitor | None = None
    ) -> NDArray[Any]:
        """Return the pixels of an area, shape (samples, rows, columns).

        From an uncompressed file only the wanted rows are read; of a compressed one
        only the strips or tiles are decoded that hold them, and with `every` only each
        so many-th row of them: the others are 0, see `rows_read`.
        """
        image = self._image
        if image.planes:
            return self._projected(area, every, monitor)
        rows, columns = stored = image.stored_area(area)
        monitor = monitor or Monitor()
        out = np.zeros(
            (len(self._samples), len(rows), len(columns)), image.sample_dtype
        )

        def place(segment: _Segment, pixels: NDArray[Any]) -> None:
            own_rows, from_rows = _overlap(rows, segment.rows)
            own_columns, from_columns = _overlap(columns, segment.columns)
            samples, pixels = self._converted(
                segment.plane, pixels[from_rows, from_columns]
            )
            for target, sample in zip(out, self._samples, strict=True):
                if sample in samples:
                    target[own_rows, own_columns] = pixels[..., samples.index(sample)]

        segments = self._segments(stored, 1 if image.is_turned else every)
        if image.contiguous is not None and hasattr(os, "posix_fadvise"):
            # rows that lie far apart would be waited for one by one
            file, soon = self._file.fileno(), os.POSIX_FADV_WILLNEED
            for segment in segments:
                os.posix_fadvise(file, segment.offset, segment.size, soon)
        monitor.check()
        for done, _ in enumerate(self._each(place, segments)):
            if done % _REPORTED_EVERY == 0:
                monitor.report(done / len(segments), f"reading {image.path.name}")
        return image.oriented(out)

    def _projected(
        self, area: Area, every: int, monitor: Monitor | None
    ) -> NDArray[Any]:
        """Return the maximum or the rounded mean of all planes of a stack."""
        image, whole = self._image, monitor or Monitor()
        is_mean, count = image.projection == "mean", len(image.planes)
        total: NDArray[Any] | None = None
        for number, plane in enumerate(image.planes):
            part = whole.part(number / count, (number + 1) / count)
            with plane.reader(self._samples) as reader:
                planes = reader.read(area, every=every, monitor=part)
            if total is None:
                total = planes.astype(np.float64) if is_mean else planes
            elif is_mean:
                total += planes
            else:
                np.maximum(total, planes, out=total)
        assert total is not None
        if not is_mean:
            return total
        total /= count
        if image.sample_dtype.kind != "f":
            np.rint(total, out=total)
        return total.astype(image.sample_dtype)

    def rows_read(self, rows: range, every: int) -> NDArray[np.bool_]:
        """Return which of some rows `read` fills when it is told `every`."""
        if self._image.contiguous is not None or self._image.is_turned:
            return np.ones(len(rows), bool)
        high = self._image.segment_rows
        stored, _ = self._image.stored_area((rows, range(1)))
        read = np.isin(np.asarray(stored) // high, _parts(stored, high)[::every])
        return read[::-1] if self._image.orientation in _ROWS_UP else read

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows from top to bottom: the first row, and what `read` returns."""
        image = self._image
        height, width = image.shape
        high = image.segment_rows
        step = high * max(1, _BLOCK_BYTES // (image.row_bytes * high))
        if image.is_turned:  # each block needs all strips: few and large ones
            column = image.height * image.samples * image.dtype.itemsize
            step = max(1, max(_BLOCK_BYTES, machine.free_memory() // 4) // column)
        for y0 in range(0, height, step):
            rows = range(y0, min(y0 + step, height))
            yield y0, self.read((rows, range(width)))
        self._check_unchanged()

    def scan(
        self, look: Callable[[Area, tuple[int, ...], NDArray[Any]], T]
    ) -> Iterator[tuple[Area, T]]:
        """Look at all wanted pixels once, in the order in which the file holds them.

        `look` takes an area as it is stored, which sample of a pixel each of n is, and
        the pixels, shape (rows, columns, n); samples that are not wanted may come
        along. It may be called from several threads. Yields each area, as `read` takes
        it, with what `look` returned for it.
        """

        def see(segment: _Segment, pixels: NDArray[Any]) -> T:
            area = segment.rows, segment.columns
            return look(area, *self._converted(segment.plane, pixels))

        image = self._image
        if image.planes:
            for y0, planes in self.blocks():
                area = range(y0, y0 + planes.shape[1]), range(planes.shape[2])
                yield area, look(area, self._samples, np.moveaxis(planes, 0, -1))
            self._digest_up_to(image.size)
            return
        segments = self._segments((range(image.height), range(image.width)))
        segments.sort(key=lambda segment: segment.offset)
        for segment, seen in self._each(see, segments):
            yield image.seen_area((segment.rows, segment.columns)), seen
        self._digest_up_to(image.size)
        self._check_unchanged()

    def _segments(self, area: Area, every: int = 1) -> list[_Segment]:
        """Return the strips, tiles or bands that hold some pixels."""
        image, (rows, columns) = self._image, area
        high, wide = image.segment_rows, image.segment_columns
        segments = []
        for plane in self._samples if image.planar else (0,):
            if image.contiguous is None:
                segments += [
                    self._stored_segment(plane, below, beside)
                    for below in _parts(rows, high)[::every]
                    for beside in _parts(columns, wide)
                ]
                continue
            place = range(columns[0], columns[-1] + 1)
            # rows that follow each other in the file are read together
            step = high if rows.step == 1 and len(place) == image.width else 1
            for top in rows[::step]:
                band = range(top, min(top + step, rows.stop))
                pixel = (plane * image.height + top) * image.width + place.start
                offset = image.contiguous + pixel * image.pixel_bytes
                size = len(band) * len(place) * image.pixel_bytes
                segments.append(_Segment(plane, 0, band, place, offset, size))
        return segments

    def _stored_segment(self, plane: int, below: int, beside: int) -> _Segment:
        """Return a strip or tile by its place among them."""
        image = self._image
        down, across = image.grid
        number = (plane * down + below) * across + beside
        top, left = below * image.segment_rows, beside * image.segment_columns
        return _Segment(
            plane,
            number,
            range(top, min(top + image.segment_rows, image.height)),
            range(left, min(left + image.segment_columns, image.width)),
            image.offsets[number],
            image.byte_counts[number],
        )

    def _each(
        self,
        function: Callable[[_Segment, NDArray[Any]], T],
        segments: Sequence[_Segment],
    ) -> Iterator[tuple[_Segment, T]]:
        """Call a function with segments and their pixels, side by side."""
        image = self._image

        def call(segment: _Segment, data: _Data | None) -> T:
            return function(segment, self._decoded(segment, data))

        # plain pixels stay in the buffer until the next ones are read
        size = _BATCH if image.contiguous is None else 1
        for begin in range(0, len(segments), size):
            batch = segments[begin : begin + size]
            first = min(segment.rows.start for segment in batch)
            last = max(segment.rows.stop for segment in batch) - 1
            with tiff_errors(image.path, f"its rows {first} to {last} cannot be read"):
                data = [self._bytes(segment) for segment in batch]
                run = map if len(batch) == 1 else self._pool.map
                results = list(run(call, batch, data))
            yield from zip(batch, results, strict=True)

    def _decoded(self, segment: _Segment, data: _Data | None) -> NDArray[Any]:
        """Return the pixels of a segment that lie in the image."""
        image = self._image
        rows, columns = len(segment.rows), len(segment.columns)
        shape = (rows, columns, 1 if image.planar else image.samples)
        if data is None:  # never written: whatever is meant as 0
            nothing = image.white or 0
            if image.signed:
                nothing = 1 << 15
            elif image.inks:
                nothing = np.iinfo(image.dtype).max
            return np.full(shape, nothing, image.dtype)
        if image.contiguous is not None:
            pixels = np.frombuffer(data, image.stored).reshape(shape)
        else:
            pixels = image.decode(data, segment.number)[:rows, :columns]
        if pixels.dtype.kind == "b" or not pixels.dtype.isnative:
            pixels = pixels.astype(image.dtype)
        if pixels.dtype != image.dtype or pixels.shape != shape:
            raise ValueError(
                f"{pixels.dtype} pixels of shape {pixels.shape} where {image.dtype} "
                f"of shape {shape} are declared"
            )
        return pixels

    def _converted(
        self, plane: int, pixels: NDArray[Any]
    ) -> tuple[tuple[int, ...], NDArray[Any]]:
        """Return which samples stored pixels are, and as bright as they are meant.

        What is transparent is 0: no data.
        """
        samples, bright = self._brightness(plane, pixels)
        alpha = self._image.alpha
        if alpha is not None:
            is_seen = pixels[..., alpha : alpha + 1] != 0
            if not is_seen.all():
                bright = np.where(is_seen, bright, bright.dtype.type(0))
        return samples, bright

    def _brightness(
        self, plane: int, pixels: NDArray[Any]
    ) -> tuple[tuple[int, ...], NDArray[Any]]:
        """Return the same without a look at transparency."""
        image = self._image
        if image.white is not None:
            pixels = image.dtype.type(image.white) - pixels
        if image.signed:
            pixels = (pixels ^ np.uint16(1 << 15)).view(np.int16)
        if image.inks:
            return (0, 1, 2), _without_inks(pixels, image)
        if image.table is not None:
            index = np.minimum(pixels[..., 0], len(image.table) - 1)
            return (0, 1, 2), image.table[index]
        return (plane,) if image.planar else tuple(range(image.samples)), pixels

    def _bytes(self, segment: _Segment) -> _Data | None:
        """Return the bytes of a segment; None when the file has none."""
        offset, count = segment.offset, segment.size
        if not offset or not count:
            return None
        self._digest_up_to(offset)
        self._file.seek(offset)
        data: _Data
        if self._image.contiguous is None:
            data = self._file.read(count)
        else:  # fresh pages of memory would cost more than reading
            if len(self._buffer) < count:
                self._buffer = memoryview(bytearray(count))
            data = self._buffer[: self._file.readinto(self._buffer[:count])]
        if len(data) < count:
            raise EOFError(f"the file ends {count - len(data)} bytes too early")
        if self._digest is not None:
            # strips or tiles that share their bytes count once
            self._digest.update(memoryview(data)[self._digested - offset :])
            self._digested = max(self._digested, offset + count)
        return data

    def _digest_up_to(self, end: int) -> None:
        """Read what lies between the pixels, for the digest."""
        if self._digest is None:
            return
        self._file.seek(self._digested)
        while self._digested < end and (
            chunk := self._file.read(min(_CHUNK, end - self._digested))
        ):
            self._digest.update(chunk)
            self._digested += len(chunk)

    def _check_unchanged(self) -> None:
        image = self._image
        try:
            status = image.path.stat()
            now = status.st_size, status.st_mtime_ns
        except OSError:
            now = (0, 0)
        if now != (image.size, image.mtime_ns):
            raise errors.RawDataError(
                f"{image.path}: changed while it was read; wait until it is complete "
                "and run again"
            )


def _without_inks(pixels: NDArray[Any], image: TiffImage) -> NDArray[Any]:
    """Return red, green and blue of cyan, magenta, yellow and black, (..., 4)."""
    full = np.iinfo(image.dtype).max
    light = (full - pixels).astype(np.uint32)  # of 16 bits at most: products fit
    return ((light[..., :3] * light[..., 3:4] + full // 2) // full).astype(image.dtype)


def decoded_bytes(image: TiffImage, area: Area) -> int:
    """Return how many bytes reading an area decodes; 0 for an uncompressed file."""
    stored = image.stored_area(area)
    rows = _parts(stored[0], image.segment_rows)
    columns = _parts(stored[1], image.segment_columns)
    return len(rows) * len(columns) * image.segment_bytes * max(1, len(image.planes))


def _parts(places: range, size: int) -> list[int]:
    """Return the numbers of the strips or tiles that hold some rows or columns."""
    return sorted({place // size for place in places})


def _overlap(places: range, within: range) -> tuple[slice, slice]:
    """Return which of `places` lie within a span, and where they lie there."""
    first, end = (
        min(max(-(-(edge - places.start) // places.step), 0), len(places))
        for edge in (within.start, within.stop)
    )
    start, last = (place - within.start for place in (places[first], places[end - 1]))
    return slice(first, end), slice(start, last + 1, places.step)


@contextmanager
def tiff_errors(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a TIFF library raises into one `RawDataError` that says `what`."""
    try:
        with quiet_tifffile(path):
            yield
    except errors.Exo2MicroError:
        raise
    except MemoryError as error:
        raise errors.RawDataError(
            f"{path}: does not fit in memory; close other programs or save it as an "
            "uncompressed or tiled TIFF"
        ) from error
    except Exception as error:  # libraries raise all kinds on damaged files
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise errors.RawDataError(f"{path}: {what} ({detail}); {_AGAIN}") from error


def require_memory(path: Path, size: int, what: str) -> None:
    """Refuse `what` needs so many bytes that they would not fit in the free memory."""
    free = machine.free_memory()
    if size > free:
        raise errors.RawDataError(
            f"{path}: {what} needs {size / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB "
            "are free; if the file is sound, save it as an uncompressed or tiled TIFF"
        )


def _check_directory(file: BinaryIO) -> None:
    """Refuse a file whose first directory lists absurdly many values.

    tifffile would read all of them, gigabytes if the file is that long.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    (version,) = struct.unpack_from(f"{order}2xH", head)
    if version not in (42, 43):
        raise ValueError(f"version {version} where 42 or 43 is wanted")
    start, count, entry = (
        ("4xI", "H", "HHI4x") if version == 42 else ("8xQ", "Q", "HHQ8x")
    )
    file.seek(struct.unpack_from(order + start, head)[0])
    (entries,) = struct.unpack(order + count, file.read(struct.calcsize(count)))
    if entries > _MOST_TAGS:
        raise ValueError(f"{entries} tags")
    layout = struct.Struct(order + entry)
    for tag, _, values in layout.iter_unpack(file.read(layout.size * entries)):
        # the tags of the image itself; private ones may be long and are not read
        if 254 <= tag <= 347 and values > _MOST_VALUES:
            raise ValueError(f"tag {tag} lists {values} values")


def _describe(
    path: Path,
    status: os.stat_result,
    tif: tifffile.TiffFile,
    plane: Plane,
    chosen: Chosen,
    choice: ImageChoice,
) -> TiffImage:
    """Return what a page says, as far as it can be used."""
    page, notes = plane.page, list(chosen.notes)
    height, width, samples = _shape(path, page)
    if page.dtype is None or page.dtype.kind not in "buif":
        kind = page.dtype or f"{page.bitspersample}-bit format {page.sampleformat}"
        raise errors.RawDataError(
            f"{path}: pixels of type {kind} are not supported; save the image with "
            "8- or 16-bit or float pixels"
        )
    # one bit a pixel becomes 0 and 1 of 8 bits
    native = np.dtype(np.uint8 if page.dtype.kind == "b" else page.dtype.type)
    _check_kind(path, page, native, samples)
    colour, mode = _read_colours(page, samples, notes)
    # ImageJ writes how an image is displayed: the stored number is the value
    of_imagej = bool(tif.is_imagej)
    table = None
    if page.photometric == _PALETTE:
        table = _colour_table(path, page, native, colour, choice, notes, of_imagej)
        mode = "grey (palette)" if table is None else "RGB (palette)"
        colour = colour if table is None else (0, 1, 2)
    inks = page.photometric == _INKS
    if inks:
        colour, mode = (0, 1, 2), "CMYK"
        notes.append("stored as inks (CMYK); turned into red, green and blue")
    white = None
    if page.photometric == 0 and native.kind in "bu":
        if of_imagej:
            notes.append(
                "shown inverted by ImageJ (Invert LUT), which is ignored; the stored "
                "numbers are the brightness"
            )
        else:
            white = (1 << int(page.bitspersample)) - 1
            notes.append(
                "stored with white as zero; inverted, so that bright is signal"
            )
    signed = of_imagej and _is_signed(tif, native, notes)
    is_picture = page.photometric not in (0, 1) or choice.channel == SUM
    names = chosen.names or (COLOURS if is_picture else ())
    if len(colour) > 1:
        colour, mode = _one_colour(path, colour, mode, names, choice)
    alpha = _read_alpha(page, samples)
    orientation = _orientation(page, notes)
    offset = plane.offset
    if offset is None and page.dataoffsets and page.is_final:
        offset = page.dataoffsets[0]
    return TiffImage(
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        height=height,
        width=width,
        samples=samples,
        planar=page.planarconfig == 2 and samples > 1,
        dtype=native,
        stored=native.newbyteorder(page.parent.byteorder),
        stored_colour=colour,
        alpha=None if alpha in colour else alpha,
        mode=mode,
        segment_rows=page.tilelength if page.is_tiled else page.rowsperstrip,
        segment_columns=page.tilewidth if page.is_tiled else width,
        offsets=page.dataoffsets,
        byte_counts=page.databytecounts,
        contiguous=offset,
        white=white,
        signed=signed,
        table=table,
        inks=inks,
        separate=not is_picture,
        names=names,
        orientation=orientation,
        decode=_decoder(page),
        warnings=tuple(f"{path.name}: {note}" for note in notes),
    )


def _check_kind(
    path: Path, page: tifffile.TiffPage, dtype: np.dtype[Any], samples: int
) -> None:
    """Refuse colours that are neither grey, palette, RGB nor inks."""
    kind = page.photometric
    if kind in (*_GREY_OR_COLOUR, _PALETTE):
        return
    if kind == _YCBCR and page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS:
        return
    if (
        kind == _INKS
        and (samples == 4 or (samples > 4 and page.extrasamples))
        and page.planarconfig == 1
        and dtype.kind == "u"
        and dtype.itemsize <= 2
    ):
        return
    name = getattr(kind, "name", kind)
    raise errors.RawDataError(
        f"{path}: colours of kind {name} are not supported; save the image as "
        "grey or RGB"
    )


def _one_colour(
    path: Path,
    colour: tuple[int, ...],
    mode: str,
    names: Sequence[str],
    choice: ImageChoice,
) -> tuple[tuple[int, ...], str]:
    """Return the sample that was asked for by itself, or all of them."""
    own = [names[k] if k < len(names) else "" for k in colour]
    index = choice.index(own)
    if index is not None:
        return (colour[index],), f"{mode}, {own[index] or f'channel {index + 1}'}"
    if choice.channel in (AUTO, SUM, STORED):
        return colour, mode
    listed = ", ".join(f"{k + 1} {name}".strip() for k, name in enumerate(own))
    raise errors.RawDataError(
        f"{path}: there is no channel '{choice.channel}'; choose one of {listed}, or "
        "sum, with --channel (channel and pre_channel)"
    )


def _is_signed(tif: tifffile.TiffFile, dtype: np.dtype[Any], notes: list[str]) -> bool:
    """Tell whether ImageJ means signed 16-bit numbers; other calibrations are said."""
    values = dict(
        re.findall(r"^(cf|c0|c1)=([-+.\deE]+)$", tif.pages.first.description, re.M)
    )
    if not {"c0", "c1"} <= values.keys():
        return False
    try:
        offset, slope = float(values["c0"]), float(values["c1"])
    except ValueError:
        return False
    if (offset, slope) == (0.0, 1.0):
        return False
    is_linear = values.get("cf", "0") == "0"
    if is_linear and dtype == np.uint16 and (offset, slope) == (-32768.0, 1.0):
        notes.append("ImageJ's calibration (signed 16 bit) is applied: 32768 less")
        return True
    notes.append(
        f"ImageJ's calibration (c0 = {offset:g}, c1 = {slope:g}) is not applied; the "
        "stored numbers are used"
    )
    return False


def _orientation(page: tifffile.TiffPage, notes: list[str]) -> int:
    """Return how the image is stored: 1 with the first row above, to 8."""
    orientation = page.tags.valueof(_ORIENTATION)
    if orientation not in range(2, 9):
        return 1
    notes.append("stored turned or mirrored; its Orientation tag is applied")
    return int(orientation)


def _shape(path: Path, page: tifffile.TiffPage) -> tuple[int, int, int]:
    values = (page.imagelength, page.imagewidth, page.samplesperpixel, page.imagedepth)
    message = ""
    if not all(isinstance(value, int) for value in values):
        raise errors.RawDataError(f"{path}: its header gives no size; {_AGAIN}")
    height, width, samples, depth = values
    if min(height, width, samples) < 1:
        message = (
            f"{path}: the image is empty ({width} x {height} px, {samples} samples); "
            f"{_AGAIN}"
        )
    elif min(height, width) < MIN_SIDE:
        message = (
            f"{path}: {width} x {height} px are too few to align; at least "
            f"{MIN_SIDE} x {MIN_SIDE} px are needed, check that it is the right file"
        )
    elif depth > 1:
        message = f"{path}: is a volume of {depth} planes; save one plane as a 2-D TIFF"
    elif samples > _MOST_SAMPLES:
        message = f"{path}: its header claims {samples} samples a pixel; {_AGAIN}"
    if message:
        raise errors.RawDataError(message)
    return height, width, samples


def _read_colours(
    page: tifffile.TiffPage, samples: int, notes: list[str]
) -> tuple[tuple[int, ...], str]:
    """Return the samples that are not alpha, and the mode's name."""
    extra = tuple(page.extrasamples or ())
    if page.photometric in (2, _YCBCR) and samples >= 3:
        more = samples - 3
        if more > 1 or (more and any(kind not in _ALPHA for kind in extra[-more:])):
            notes.append(f"{more} samples besides R, G and B are ignored")
        return (0, 1, 2), ("RGB", "RGBA")[more] if more < 2 else f"RGB + {more}"
    first_extra = samples - len(extra)
    colour = tuple(
        index
        for index in range(samples)
        if index < first_extra or index == 0 or extra[index - first_extra] not in _ALPHA
    )
    if len(colour) == 1:
        return colour, "grey" if samples == 1 else "grey + alpha"
    return colour, f"{len(colour)} channels"


def _read_alpha(page: tifffile.TiffPage, samples: int) -> int | None:
    """Return the sample that is the alpha of each pixel, if one is.

    Of a file stored plane after plane it stays unread.
    """
    extra = tuple(page.extrasamples or ())
    if page.planarconfig != 1:
        return None
    alpha = (samples - len(extra) + n for n, k in enumerate(extra) if k in _ALPHA)
    return next(alpha, None)


def _colour_table(
    path: Path,
    page: tifffile.TiffPage,
    dtype: np.dtype[Any],
    colour: tuple[int, ...],
    choice: ImageChoice,
    notes: list[str],
    of_imagej: bool,
) -> NDArray[np.generic] | None:
    """Return the colours that a palette image's numbers stand for, shape (N, 3).

    None for a display palette: any of ImageJ, and one that gets brighter with the
    number. Of another one only a person knows which it is.
    """
    colours = np.asarray(page.colormap, np.int64)
    if len(colour) != 1 or dtype.kind not in "bu":
        raise tifffile.TiffFileError("a palette image without a usable palette")
    size = 1 << int(page.bitspersample)
    if colours.shape != (3, size):
        raise tifffile.TiffFileError(
            f"a palette of {colours.shape} entries, {size} colours wanted"
        )
    brightness = colours.sum(axis=0)
    is_rising = (np.diff(brightness) >= 0).all() and brightness[-1] > brightness[0]
    if of_imagej or is_rising:
        notes.append(
            "a display palette is ignored; the stored numbers are the brightness"
        )
        return None
    if choice.channel == STORED:
        return None
    if choice.channel not in (SUM, *COLOURS):
        raise errors.RawDataError(
            f"{path}: has a palette whose colours do not get brighter with the stored "
            "number. If it only shows a grey image, choose the numbers with --channel "
            "stored; if it is a picture in colours, choose --channel red, green, blue "
            "or sum (parameters channel and pre_channel)"
        )
    # colours have 16 bits in the file, whatever the numbers have
    eight_bits = size <= 256
    colours = colours >> 8 if eight_bits else colours
    return np.ascontiguousarray(colours.T, np.uint8 if eight_bits else np.uint16)


def _decoder(page: tifffile.TiffPage) -> Callable[[Any, int], NDArray[Any]]:
    # made here because it needs the open file, and because making it is not thread-safe
    decode = page.decode
    tables: dict[str, Any] = {}
    if page.compression in _JPEG:
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    holds_streams = page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS
    size = (page.rowsperstrip, page.imagewidth)
    if page.is_tiled:
        size = (page.tilelength, page.tilewidth)

    def decode_segment(data: bytes, index: int) -> NDArray[Any]:
        if holds_streams:
            check_stream_size(data, *size)
        pixels, _, _ = decode(data, index, **tables)
        assert pixels is not None  # which only is where there are no data
        segment: NDArray[Any] = pixels[0]
        return segment

    return decode_segment


def _checked(image: TiffImage, plane: Plane) -> TiffImage:
    """Return an image that the file can hold, with a note of tiles that are missing."""
    page = plane.page
    path, kind = image.path, "tile" if page.is_tiled else "strip"
    if image.segment_rows < 1 or image.segment_columns < 1:
        raise errors.RawDataError(f"{path}: its {kind}s have no size; {_AGAIN}")
    claimed = image.height * image.row_bytes
    if image.contiguous is not None:
        _check_range(image, image.contiguous, claimed, "pixels")
        if image.contiguous < _SMALLEST_HEADER:
            raise errors.RawDataError(
                f"{path}: is damaged: its first {kind} should begin at byte "
                f"{image.contiguous}, in the file's own header; {_AGAIN}"
            )
        rows = max(1, _BAND_BYTES // (image.width * image.pixel_bytes))
        return replace(image, segment_rows=rows, segment_columns=image.width)
    down, across = image.grid
    planes = image.samples if image.planar else 1
    wanted = down * across * planes
    listed = min(len(image.offsets), len(image.byte_counts))
    if listed < wanted:
        raise errors.RawDataError(
            f"{path}: {image.width} x {image.height} px need {wanted} {kind}s, its "
            f"header lists {listed}; {_AGAIN}"
        )
    missing = 0
    places = zip(image.offsets, image.byte_counts, strict=False)
    for index, (offset, count) in enumerate(islice(places, wanted)):
        if offset == 0 or count == 0:
            missing += 1
        elif offset + count > image.size and _is_complete(image, page, index):
            counts = list(image.byte_counts)
            counts[index] = image.size - offset
            image = replace(image, byte_counts=counts)
        else:
            _check_range(image, offset, count, f"{kind} {index}")
    if page.is_tiled:
        claimed = (wanted - missing) * image.segment_bytes
    if claimed > max(_BELIEVED, image.size * _MOST_REPEATS):
        raise errors.RawDataError(
            f"{path}: its {image.size} bytes cannot hold the {claimed} bytes of pixels "
            f"that its {kind}s claim; {_AGAIN}"
        )
    if missing and not page.is_tiled:
        raise errors.RawDataError(
            f"{path}: {missing} of {wanted} strips are missing, as after a write "
            "that was cut off, or the file was written as sparse; "
            f"{_AGAIN}, without SPARSE_OK"
        )
    decoded = image.segment_bytes * across * planes
    if decoded > _LARGE_ROW:
        require_memory(path, 2 * decoded, f"decoding one row of {kind}s")
    if missing:
        note = f"{path.name}: {missing} tiles are not in the file and read as zero"
        return replace(image, warnings=(*image.warnings, note))
    return image


def _is_complete(image: TiffImage, page: tifffile.TiffPage, index: int) -> bool:
    """Tell whether a strip that claims bytes past the end needs none of them."""
    offset = image.offsets[index]
    if page.is_tiled or not _SMALLEST_HEADER <= offset < image.size:
        return False
    if page.compression in _SELF_CHECKING:
        return True
    high = image.segment_rows
    rows = min(high, image.height - index % image.grid[0] * high)
    needed = rows * image.width * image.pixel_bytes
    return page.compression == 1 and offset + needed <= image.size


def _check_range(image: TiffImage, offset: int, count: int, what: str) -> None:
    if offset < 0 or count < 0 or offset + count > image.size:
        raise errors.RawDataError(
            f"{image.path}: is truncated or damaged: {what} should end at byte "
            f"{offset + count}, the file has {image.size}; {_AGAIN}"
        )


def check_stream_size(data: bytes, rows: int, columns: int) -> None:
    """Refuse a JPEG, JPEG 2000 or PNG whose own size is not that of its strip or tile.

    The decoder would allocate, and fill, what the stream claims: a `ValueError`.
    """
    if data.startswith(b"\x00\x00\x00\x0cjP  "):  # a JPEG 2000 file: boxes around it
        data = data[max(data.find(_CODESTREAM), 0) :]
    for mark, kind, header in _STREAMS:
        if data.startswith(mark):
            try:
                width, height = header(io.BytesIO(data)).size
            except (SyntaxError, OSError, ValueError):
                return  # its decoder says what is wrong with it
            if height > rows + _BLOCK or width > columns + _BLOCK:
                raise ValueError(f"a {kind} stream of {width} x {height} px")
