"""A TIFF file: its structure, checked before any pixel is read, and its pixels.

A header may claim anything. What is allocated is bounded before: the values that a
directory lists, the pixels of a row of strips or tiles, and the size that a compressed
stream gives itself.
"""

from __future__ import annotations

import io
import logging
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
from typing import Any, BinaryIO, Literal, NamedTuple, Self, TypeVar

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import (
    Exo2MicroError,
    RawDataError,
    RawFileNotFoundError,
)
from napari_exo2micro.core.base.machine import free_memory
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.io import quiet_tifffile

logger = logging.getLogger(__name__)

#: Shortest side of an image that can be aligned, px.
MIN_SIDE = 8

AGAIN = "copy or export the file again"

# Header: values of tags, and what is believed of them.
_GREY_OR_COLOUR, _PALETTE, _YCBCR = (0, 1, 2), 3, 6  # PhotometricInterpretation
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_ALPHA = (1, 2)  # ExtraSamples
_JPEG = frozenset({6, 7, 33007, 34892})  # Compression
_SMALLEST_HEADER = 8
_PAGES_LOOKED_AT = 32
_MOST_SAMPLES = 64
#: Values of one tag, and tags of a directory: tifffile would read more of them, too.
_MOST_VALUES, _MOST_TAGS = 1 << 22, 4096
#: Claims up to this are believed, bytes; and so many times the bytes of the file, as
#: blank tiles may all be in one place, and a constant one takes some bytes only.
_BELIEVED, _MOST_REPEATS = 1 << 32, 1 << 15
#: A row of strips or tiles of more bytes is not decoded without asking for memory.
_LARGE_ROW = 1 << 28
#: A stream may be so much larger than its strip or tile: whole blocks of its codec, px.
_BLOCK = 16

# Reading: bytes of a band of plain pixels, of the rows of a block (many enough for few
# calls, few enough for any machine), and of what is digested between the pixels.
_BAND_BYTES, _BLOCK_BYTES, _CHUNK = 1 << 22, 1 << 24, 1 << 20
_WORKERS = min(4, os.cpu_count() or 1)
#: Strips or tiles read and decoded at a time, so that few of them wait in memory.
_BATCH = 8 * _WORKERS
_TOLD_EVERY = 16  # rows

#: Rows and columns, px of the file; with a step only some of them.
Area = tuple[range, range]

_Data = bytes | memoryview
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class TiffImage:
    """Where the pixels of a raw file lie and how to read them.

    Attributes
    ----------
    path, size, mtime_ns
        The file, its bytes, and the time of its last change when the header was read.
    height, width, samples : int
        Rows, columns, and samples stored for each pixel, alpha included.
    planar : bool
        Samples are stored plane after plane instead of pixel by pixel.
    dtype, stored : numpy.dtype
        Of the decoded samples, native byte order; of plain ones as they lie there.
    stored_colour : tuple of int
        The stored samples that are not alpha.
    mode : str
        ``'grey'``, ``'RGB'``, ``'RGBA'``, ... for a person.
    segment_rows, segment_columns : int
        Size of a strip or tile, px; of a band of rows where pixels lie plain.
    offsets, byte_counts : tuple of int
        Of each strip, tile or band.
    contiguous : int or None
        Offset of the pixels when they lie there plain and whole.
    white : int or None
        The value to subtract from when white is zero.
    table : numpy.ndarray, shape (N, 3), or None
        The colours of a palette image.
    decode : callable
        ``decode(data, number)`` returns the pixels of a strip, tile or band, shape
        (rows, columns, n).
    warnings : tuple of str
        What a careful reader would not expect.
    """

    path: Path
    size: int
    mtime_ns: int
    height: int
    width: int
    samples: int
    planar: bool
    dtype: np.dtype[Any]
    stored_colour: tuple[int, ...]
    mode: str
    segment_rows: int
    segment_columns: int
    offsets: tuple[int, ...]
    byte_counts: tuple[int, ...]
    contiguous: int | None
    stored: np.dtype[Any]
    white: int | None
    table: NDArray[np.generic] | None
    decode: Callable[[Any, int], NDArray[Any]]
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, px."""
        return self.height, self.width

    @property
    def colour(self) -> tuple[int, ...]:
        """The samples that may carry signal: those that are not alpha."""
        return self.stored_colour if self.table is None else (0, 1, 2)

    @property
    def sample_dtype(self) -> np.dtype[Any]:
        """Of the samples of `colour`."""
        return self.dtype if self.table is None else self.table.dtype

    @property
    def across(self) -> int:
        """Strips or tiles side by side."""
        return math.ceil(self.width / self.segment_columns)

    @property
    def down(self) -> int:
        """Strips or tiles one below the other."""
        return math.ceil(self.height / self.segment_rows)

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
        """Decoded bytes of one strip or tile; 0 for an uncompressed file."""
        if self.contiguous is not None:
            return 0
        return self.segment_rows * self.segment_columns * self.pixel_bytes


def open_tiff(path: Path | str) -> TiffImage:
    """Read and check the header of a raw file: of its first full-resolution image.

    Nothing in proportion to the image that the header claims is allocated.

    Raises
    ------
    RawFileNotFoundError
        If the file does not exist or cannot be opened.
    RawDataError
        If it is no TIFF, is truncated, or holds an image that cannot be used.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RawDataError(f"{path}: is no ordinary file; replace it by a TIFF")
        with path.open("rb") as file:
            start = file.read(4)
            if start[:2] in (b"II", b"MM"):
                file.seek(0)
                with tiff_errors(path, "its header is damaged"):
                    _check_directory(file)
    except OSError as error:
        raise RawFileNotFoundError(
            f"{path}: {_why_not_opened(path, error)}; check the file and its "
            "permissions"
        ) from error
    if status.st_size == 0:
        raise RawDataError(f"{path}: the file has no bytes; {AGAIN}")
    if start[:2] not in (b"II", b"MM"):
        raise RawDataError(
            f"{path}: is not a TIFF file, whatever its name says (it starts with "
            f"{start!r}); export the image as TIFF"
        )
    with tiff_errors(path, "its header is damaged"), tifffile.TiffFile(path) as tif:
        page, notes = _choose_page(tif)
        image = _describe(path, status, page, notes, tif.byteorder)
        missing = _check_segments(image, page.is_tiled)
    if image.contiguous is not None:
        return _in_bands(image)
    if missing:
        note = f"{path.name}: {missing} tiles are not in the file and read as zero"
        image = replace(image, warnings=(*image.warnings, note))
    return image


class TiffReader:
    """Reads samples of a checked TIFF file; a context manager, for one thread.

    Parameters
    ----------
    image : TiffImage
        The file.
    samples : sequence of int
        The wanted samples of a pixel, out of ``image.colour``.
    digest : hash object, optional
        `scan` gives it every byte of the file, in order.

    Raises
    ------
    RawFileNotFoundError
        If the file is gone.
    RawDataError
        By each method: if the file is damaged, or changes while all of it is read.
    """

    def __init__(
        self, image: TiffImage, samples: Sequence[int], digest: Any = None
    ) -> None:
        self._image = image
        self._samples = tuple(samples)
        self._digest, self._digested = digest, 0
        self._planes: tuple[int, ...] = self._samples if image.planar else (0,)
        try:
            self._file = image.path.open("rb")
        except OSError as error:
            raise RawFileNotFoundError(
                f"{image.path}: cannot be opened ({error.strerror}); check the file"
            ) from error
        self._pool = ThreadPoolExecutor(_WORKERS)
        self._batch, plain = _BATCH, 0
        if image.contiguous is not None:  # there is nothing to decode side by side
            self._batch, plain = 1, max(image.byte_counts)
        self._buffer = memoryview(bytearray(plain))

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
        only the strips or tiles are decoded that hold them.

        Parameters
        ----------
        area : tuple of range
            Rows and columns, px, not empty.
        every : int
            Of a compressed file decode each `every`-th row of strips or tiles only;
            the others are 0, see `rows_read`.
        monitor : Monitor, optional
            Told the progress.
        """
        image, (rows, columns) = self._image, area
        monitor = monitor or Monitor()
        make = np.empty if every == 1 else np.zeros
        shape = (len(self._samples), len(rows), len(columns))
        out = make(shape, image.sample_dtype)
        whole_bands = (
            rows.step == 1
            and len(columns) == image.width
            and rows.start % image.segment_rows == 0
        )
        with tiff_errors(image.path, _unreadable(rows)):
            if image.contiguous is not None and not whole_bands:
                self._read_rows(area, out, monitor)
                return out

            def place(segment: _Segment, pixels: NDArray[Any]) -> None:
                own_rows, from_rows = _overlap(rows, segment.rows)
                own_columns, from_columns = _overlap(columns, segment.columns)
                self._place(
                    out[:, own_rows, own_columns],
                    segment.plane,
                    pixels[from_rows, from_columns],
                )

            segments = self._segments(area, every)
            for begin in range(0, len(segments), self._batch):
                monitor.report(begin / len(segments), f"reading {image.path.name}")
                self._map(place, segments[begin : begin + self._batch])
        return out

    def rows_read(self, rows: range, every: int) -> NDArray[np.bool_]:
        """Return which of some rows `read` fills when it is told `every`."""
        high = self._image.segment_rows
        if self._image.contiguous is not None:
            return np.ones(len(rows), bool)
        return np.isin(np.asarray(rows) // high, _parts(rows, high)[::every])

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows from top to bottom: the first row, and what `read` returns."""
        image = self._image
        high = image.segment_rows
        step = high * max(1, _BLOCK_BYTES // (image.row_bytes * high))
        for y0 in range(0, image.height, step):
            rows = range(y0, min(y0 + step, image.height))
            yield y0, self.read((rows, range(image.width)))
        self._check_unchanged()

    def scan(
        self, look: Callable[[tuple[int, ...], NDArray[Any]], T]
    ) -> Iterator[tuple[Area, T]]:
        """Look at all wanted pixels once, in the order in which the file holds them.

        Parameters
        ----------
        look : callable
            Takes which sample of a pixel each of n is, and the pixels, shape
            (rows, columns, n); samples that are not wanted may come along. It may be
            called from several threads.

        Yields
        ------
        area : tuple of range
            Rows and columns, px.
        seen : object
            What `look` returned for them.
        """
        image = self._image
        segments = self._segments((range(image.height), range(image.width)))
        segments.sort(key=lambda segment: image.offsets[segment.number])
        for begin in range(0, len(segments), self._batch):
            batch = segments[begin : begin + self._batch]
            rows = [row for segment in batch for row in segment.rows]
            with tiff_errors(image.path, _unreadable(rows)):
                seen = self._map(
                    lambda segment, pixels: look(
                        *self._converted(segment.plane, pixels)
                    ),
                    batch,
                )
            for segment, result in zip(batch, seen, strict=True):
                yield (segment.rows, segment.columns), result
        self._digest_up_to(image.size)
        self._check_unchanged()

    def _segments(self, area: Area, every: int = 1) -> list[_Segment]:
        """Return the strips, tiles or bands that hold some pixels."""
        image, (rows, columns) = self._image, area
        high, wide = image.segment_rows, image.segment_columns
        return [
            _Segment(
                plane,
                (plane * image.down + down) * image.across + across,
                range(down * high, min((down + 1) * high, image.height)),
                range(across * wide, min((across + 1) * wide, image.width)),
            )
            for plane in self._planes
            for down in _parts(rows, high)[::every]
            for across in _parts(columns, wide)
        ]

    def _map(
        self,
        function: Callable[[_Segment, NDArray[Any]], T],
        segments: Sequence[_Segment],
    ) -> list[T]:
        """Call a function with strips or tiles and their pixels, side by side."""
        data = [self._segment_bytes(segment.number) for segment in segments]

        def call(segment: _Segment, data: _Data | None) -> T:
            return function(segment, self._decoded(segment, data))

        run = map if len(segments) == 1 else self._pool.map
        return list(run(call, segments, data))

    def _decoded(self, segment: _Segment, data: _Data | None) -> NDArray[Any]:
        """Return the pixels of a strip or tile that lie in the image."""
        image = self._image
        rows, columns = len(segment.rows), len(segment.columns)
        shape = (rows, columns, 1 if image.planar else image.samples)
        if data is None:
            return np.zeros(shape, image.dtype)
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
        """Return which samples stored pixels are, and as bright as they are meant."""
        image = self._image
        if image.white is not None:
            pixels = image.dtype.type(image.white) - pixels
        if image.table is not None:
            index = np.minimum(pixels[..., 0], len(image.table) - 1)
            return (0, 1, 2), image.table[index]
        return (plane,) if image.planar else tuple(range(image.samples)), pixels

    def _place(self, out: NDArray[Any], plane: int, pixels: NDArray[Any]) -> None:
        """Put the wanted samples of stored pixels into `out`."""
        samples, pixels = self._converted(plane, pixels)
        for target, sample in zip(out, self._samples, strict=True):
            if sample in samples:
                target[...] = pixels[..., samples.index(sample)]

    def _read_rows(self, area: Area, out: NDArray[Any], monitor: Monitor) -> None:
        """Read parts of rows of a plain file, and nothing else."""
        image, (rows, columns) = self._image, area
        assert image.contiguous is not None
        width = columns[-1] + 1 - columns[0]
        size = width * image.pixel_bytes
        places = []
        for plane in self._planes:
            for number, row in enumerate(rows):
                pixel = (plane * image.height + row) * image.width + columns[0]
                offset = image.contiguous + pixel * image.pixel_bytes
                places.append((plane, number, offset))
        if hasattr(os, "posix_fadvise"):
            # rows that lie far apart would be waited for one by one
            file, soon = self._file.fileno(), os.POSIX_FADV_WILLNEED
            for _, _, offset in places:
                os.posix_fadvise(file, offset, size, soon)
        for done, (plane, number, offset) in enumerate(places):
            if done % _TOLD_EVERY == 0:
                monitor.report(done / len(places), f"reading {image.path.name}")
            stored = np.frombuffer(self._bytes(offset, size), image.stored)
            pixels = stored.reshape(1, width, -1)[:, :: columns.step]
            self._place(out[:, number : number + 1], plane, pixels)

    def _segment_bytes(self, index: int) -> _Data | None:
        """Return the bytes of a strip or tile; None when the file has none."""
        offset, count = self._image.offsets[index], self._image.byte_counts[index]
        return self._bytes(offset, count) if offset and count else None

    def _bytes(self, offset: int, count: int) -> _Data:
        """Return bytes of the file; those of plain pixels until others are read."""
        self._digest_up_to(offset)
        self._file.seek(offset)
        data: _Data
        if self._image.contiguous is None:
            data = self._file.read(count)
        else:  # fresh pages of memory would cost more than reading
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
            raise RawDataError(
                f"{image.path}: changed while it was read; wait until it is complete "
                "and run again"
            )


class _Segment(NamedTuple):
    """A strip, tile or band: its plane, its number, and where it lies, px."""

    plane: int
    number: int
    rows: range
    columns: range


def decoded_bytes(image: TiffImage, area: Area) -> int:
    """Return how many bytes reading an area decodes; 0 for an uncompressed file."""
    rows = _parts(area[0], image.segment_rows)
    columns = _parts(area[1], image.segment_columns)
    return len(rows) * len(columns) * image.segment_bytes


def _unreadable(rows: Sequence[int]) -> str:
    return f"its rows {min(rows)} to {max(rows)} cannot be read"


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
    """Turn whatever a TIFF library raises into one `RawDataError` that says `what`.

    A damaged file makes decoders raise anything (struct.error, KeyError, zlib.error,
    IndexError, ...), so every `Exception` is taken.
    """
    try:
        with quiet_tifffile(path):
            yield
    except Exo2MicroError:
        raise
    except MemoryError as error:
        raise RawDataError(
            f"{path}: does not fit in memory; close other programs or save it as an "
            "uncompressed or tiled TIFF"
        ) from error
    except Exception as error:  # libraries raise all kinds on damaged files
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise RawDataError(f"{path}: {what} ({detail}); {AGAIN}") from error


def require_memory(path: Path, size: int, what: str) -> None:
    """Refuse what would not fit in the memory that is free now.

    `size` are the bytes wanted and `what` is what for, for the message.
    """
    free = free_memory()
    if size > free:
        raise RawDataError(
            f"{path}: {what} needs {size / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB "
            "are free; if the file is sound, save it as an uncompressed or tiled TIFF"
        )


def _why_not_opened(path: Path, error: OSError) -> str:
    if path.exists():
        return f"cannot be opened ({error.strerror})"
    return "is a link whose target is gone" if path.is_symlink() else "is missing"


def _check_directory(file: BinaryIO) -> None:
    """Refuse a file whose first directory lists absurdly many values.

    tifffile would read all of them, gigabytes if the file is that long.
    """
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    if version == 43:
        where, start, count, size, layout = "Q", 8, "Q", 20, "HHQ8x"
    elif version == 42:
        where, start, count, size, layout = "I", 4, "H", 12, "HHI4x"
    else:
        raise ValueError(f"version {version} where 42 or 43 is wanted")
    file.seek(struct.unpack_from(order + where, head, start)[0])
    width = struct.calcsize(count)
    (entries,) = struct.unpack(order + count, file.read(width))
    if entries > _MOST_TAGS:
        raise ValueError(f"{entries} tags")
    for tag, _, values in struct.iter_unpack(order + layout, file.read(size * entries)):
        # the tags of the image itself; private ones may be long and are not read
        if 254 <= tag <= 347 and values > _MOST_VALUES:
            raise ValueError(f"tag {tag} lists {values} values")


def _choose_page(tif: tifffile.TiffFile) -> tuple[tifffile.TiffPage, list[str]]:
    """Return the first full-resolution page, with a warning when there are more.

    Thumbnails, pyramid levels and masks say what they are in their header and
    are not pages in this sense.
    """
    images: list[tifffile.TiffPage] = []
    first: tifffile.TiffPage | None = None
    for index in range(_PAGES_LOOKED_AT):
        try:
            page = tif.pages[index].aspage()
        except IndexError:
            break
        except Exception:  # the library raises all kinds on damaged files
            if first is None:
                raise
            # the image itself is sound; only a later page cannot be read
            logger.debug("page %d of %s cannot be read", index, tif.filename)
            break
        first = first or page
        if not page.subfiletype & (_REDUCED | _MASK):
            images.append(page)
        if len(images) > 1:
            break
    if first is None:
        raise tifffile.TiffFileError("no image in the file")
    page = images[0] if images else first
    if len(images) > 1 or _is_stack(page):
        return page, ["holds more than one page; the first one is used"]
    return page, []


def _is_stack(page: tifffile.TiffPage) -> bool:
    """Return whether a stack is stored behind one page header (ImageJ, tifffile)."""
    if page.is_imagej:
        count = re.search(r"^images=(\d+)", page.description, re.MULTILINE)
        return count is not None and int(count[1]) > 1
    if page.is_shaped:
        stack = re.search(r'"shape": \[([\d, ]+)\]', page.shaped_description or "")
        return (
            stack is not None and math.prod(map(int, stack[1].split(","))) > page.size
        )
    return False


def _describe(
    path: Path,
    status: os.stat_result,
    page: tifffile.TiffPage,
    notes: list[str],
    byteorder: Literal["<", ">"],
) -> TiffImage:
    height, width, samples = _shape(path, page)
    if page.dtype is None or page.dtype.kind not in "buif":
        kind = page.dtype or f"{page.bitspersample}-bit format {page.sampleformat}"
        raise RawDataError(
            f"{path}: pixels of type {kind} are not supported; save the image with "
            "8- or 16-bit or float pixels"
        )
    # one bit a pixel becomes 0 and 1 of 8 bits
    native = np.dtype(np.uint8 if page.dtype.kind == "b" else page.dtype.type)
    is_known = page.photometric in (*_GREY_OR_COLOUR, _PALETTE)
    if not is_known and not (
        page.photometric == _YCBCR
        and page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS
    ):
        name = getattr(page.photometric, "name", page.photometric)
        raise RawDataError(
            f"{path}: colours of kind {name} are not supported; save the image as "
            "grey or RGB"
        )
    colour, mode, ignored = _read_colours(page, samples)
    table, mode, decided = _colour_table(page, native, colour, mode)
    notes = [*notes, *ignored, *decided]
    white = None
    if page.photometric == 0 and native.kind in "bu":
        white = (1 << int(page.bitspersample)) - 1
        notes.append("stored with white as zero; inverted, so that bright is signal")
    return TiffImage(
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        height=height,
        width=width,
        samples=samples,
        planar=page.planarconfig == 2 and samples > 1,
        dtype=native,
        stored_colour=colour,
        mode=mode,
        segment_rows=page.tilelength if page.is_tiled else page.rowsperstrip,
        segment_columns=page.tilewidth if page.is_tiled else width,
        offsets=tuple(page.dataoffsets),
        byte_counts=tuple(page.databytecounts),
        contiguous=page.dataoffsets[0] if page.dataoffsets and page.is_final else None,
        stored=native.newbyteorder(byteorder),
        white=white,
        table=table,
        decode=_decoder(page),
        warnings=tuple(f"{path.name}: {note}" for note in notes),
    )


def _shape(path: Path, page: tifffile.TiffPage) -> tuple[int, int, int]:
    values = (page.imagelength, page.imagewidth, page.samplesperpixel, page.imagedepth)
    if not all(isinstance(value, int) for value in values):
        raise RawDataError(f"{path}: its header gives no size; {AGAIN}")
    height, width, samples, depth = values
    if height < 1 or width < 1 or samples < 1:
        raise RawDataError(
            f"{path}: the image is empty ({width} x {height} px, {samples} samples); "
            f"{AGAIN}"
        )
    if height < MIN_SIDE or width < MIN_SIDE:
        raise RawDataError(
            f"{path}: {width} x {height} px are too few to align; at least "
            f"{MIN_SIDE} x {MIN_SIDE} px are needed, check that it is the right file"
        )
    if depth > 1:
        raise RawDataError(
            f"{path}: is a volume of {depth} planes; save one plane as a 2-D TIFF"
        )
    if samples > _MOST_SAMPLES:
        raise RawDataError(
            f"{path}: its header claims {samples} samples a pixel; {AGAIN}"
        )
    return height, width, samples


def _read_colours(
    page: tifffile.TiffPage, samples: int
) -> tuple[tuple[int, ...], str, list[str]]:
    """Return the samples that may carry signal, the mode's name and warnings.

    The samples are those that are not alpha; the mode is ``'grey'``,
    ``'grey + alpha'``, ``'RGB'``, ``'RGBA'`` or ``'n channels'``.
    """
    extra = tuple(page.extrasamples or ())
    if page.photometric in (2, _YCBCR) and samples >= 3:
        if samples == 3:
            return (0, 1, 2), "RGB", []
        kinds = extra[-(samples - 3) :]
        unclear = samples > 4 or any(kind not in _ALPHA for kind in kinds)
        notes = [f"{samples - 3} samples besides R, G and B are ignored"]
        mode = "RGBA" if samples == 4 else f"RGB + {samples - 3}"
        return (0, 1, 2), mode, notes if unclear else []
    first_extra = samples - len(extra)
    colour = tuple(
        index
        for index in range(samples)
        if index < first_extra or index == 0 or extra[index - first_extra] not in _ALPHA
    )
    if len(colour) == 1:
        return colour, "grey" if samples == 1 else "grey + alpha", []
    return colour, f"{len(colour)} channels", []


def _colour_table(
    page: tifffile.TiffPage,
    dtype: np.dtype[Any],
    colour: tuple[int, ...],
    mode: str,
) -> tuple[NDArray[np.generic] | None, str, list[str]]:
    """Return the colours that a palette image's numbers stand for.

    A palette that gets brighter with the number (a green or 'fire' display
    colour on a grey image) is only decoration: the number is the brightness.
    Any other palette stands for RGB colours, 8 bits each for 8-bit numbers.

    Returns the table, shape (N, 3), None when the numbers are the brightness; the
    mode, with the palette; and what was decided.
    """
    if page.photometric != _PALETTE:
        return None, mode, []
    colours = np.asarray(page.colormap, np.int64)
    if len(colour) != 1 or dtype.kind not in "bu":
        raise tifffile.TiffFileError("a palette image without a usable palette")
    size = 1 << int(page.bitspersample)
    if colours.shape != (3, size):
        raise tifffile.TiffFileError(
            f"a palette of {colours.shape} entries, {size} colours wanted"
        )
    brightness = colours.sum(axis=0)
    if (np.diff(brightness) >= 0).all() and brightness[-1] > brightness[0]:
        note = "a display palette is ignored; the stored numbers are the brightness"
        return None, "grey (palette)", [note]
    if size <= 256:
        colours = colours >> 8
    bits = np.uint8 if size <= 256 else np.uint16
    return np.ascontiguousarray(colours.T, bits), "RGB (palette)", []


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


def _in_bands(image: TiffImage) -> TiffImage:
    """Return plain pixels as bands of rows, which are read like strips."""
    assert image.contiguous is not None
    row_bytes = image.width * image.pixel_bytes
    high = max(1, _BAND_BYTES // row_bytes)
    tops = range(0, image.height, high)
    planes = range(image.samples if image.planar else 1)

    def decode(data: Any, _index: int) -> NDArray[Any]:
        return np.frombuffer(data, image.stored).reshape(
            -1, image.width, image.pixel_bytes // image.dtype.itemsize
        )

    return replace(
        image,
        segment_rows=high,
        segment_columns=image.width,
        offsets=tuple(
            image.contiguous + (plane * image.height + top) * row_bytes
            for plane in planes
            for top in tops
        ),
        byte_counts=tuple(
            min(high, image.height - top) * row_bytes for _ in planes for top in tops
        ),
        decode=decode,
    )


def _check_segments(image: TiffImage, is_tiled: bool) -> int:
    """Return how many tiles are missing; refuse a file that cannot hold its pixels."""
    path, kind = image.path, "tile" if is_tiled else "strip"
    if image.segment_rows < 1 or image.segment_columns < 1:
        raise RawDataError(f"{path}: its {kind}s have no size; {AGAIN}")
    if image.contiguous is not None:
        _check_range(image, image.contiguous, image.height * image.row_bytes, "pixels")
        if image.contiguous < _SMALLEST_HEADER:
            raise RawDataError(
                f"{path}: is damaged: its first {kind} should begin at byte "
                f"{image.contiguous}, in the file's own header; {AGAIN}"
            )
        return 0
    planes = image.samples if image.planar else 1
    wanted = image.down * image.across * planes
    listed = min(len(image.offsets), len(image.byte_counts))
    if listed < wanted:
        raise RawDataError(
            f"{path}: {image.width} x {image.height} px need {wanted} {kind}s, its "
            f"header lists {listed}; {AGAIN}"
        )
    missing = 0
    places = zip(image.offsets, image.byte_counts, strict=False)
    for index, (offset, count) in enumerate(islice(places, wanted)):
        if offset == 0 or count == 0:
            missing += 1
        else:
            _check_range(image, offset, count, f"{kind} {index}")
    claimed = image.height * image.row_bytes
    if is_tiled:
        claimed = (wanted - missing) * image.segment_bytes
    if claimed > max(_BELIEVED, image.size * _MOST_REPEATS):
        raise RawDataError(
            f"{path}: its {image.size} bytes cannot hold the {claimed} bytes of pixels "
            f"that its {kind}s claim; {AGAIN}"
        )
    if missing and not is_tiled:
        raise RawDataError(
            f"{path}: {missing} of {wanted} strips are missing, as after a write "
            "that was cut off, or the file was written as sparse; "
            f"{AGAIN}, without SPARSE_OK"
        )
    decoded = image.segment_bytes * image.across * planes
    if decoded > _LARGE_ROW:
        require_memory(path, 2 * decoded, f"decoding one row of {kind}s")
    return missing


def _check_range(image: TiffImage, offset: int, count: int, what: str) -> None:
    if offset < 0 or count < 0 or offset + count > image.size:
        raise RawDataError(
            f"{image.path}: is truncated or damaged: {what} should end at byte "
            f"{offset + count}, the file has {image.size}; {AGAIN}"
        )


def check_stream_size(data: bytes, rows: int, columns: int) -> None:
    """Refuse a JPEG, JPEG 2000 or PNG whose own size is not that of its strip or tile.

    The decoder would allocate, and fill, what the stream claims: a `ValueError`.
    """
    for mark, kind, size_of in _STREAMS:
        size = size_of(data) if data.startswith(mark) else None
        if size is not None and (size[0] > rows + _BLOCK or size[1] > columns + _BLOCK):
            raise ValueError(f"a {kind} stream of {size[1]} x {size[0]} px")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return rows and columns; None when there is no frame header."""
    stream = io.BytesIO(data)
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        if 0xC0 <= head[1] <= 0xCF and head[1] not in (0xC4, 0xC8, 0xCC):
            size = stream.read(5)
            return _number(size[1:3]), _number(size[3:5])
        stream.seek(_number(head[2:]) - 2, io.SEEK_CUR)
    return None


def _jpeg_2000_size(data: bytes) -> tuple[int, int] | None:
    start = data.find(_JPEG_2000)
    right, bottom, left, top = (
        _number(data[start + at : start + at + 4]) for at in (8, 12, 16, 20)
    )
    return (bottom - top, right - left) if start >= 0 else None


def _png_size(data: bytes) -> tuple[int, int]:
    return _number(data[20:24]), _number(data[16:20])


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


_JPEG_2000 = b"\xff\x4f\xff\x51"
_STREAMS: tuple[tuple[bytes, str, Callable[[bytes], tuple[int, int] | None]], ...] = (
    (b"\xff\xd8", "JPEG", _jpeg_size),
    (_JPEG_2000, "JPEG 2000", _jpeg_2000_size),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000", _jpeg_2000_size),
    (b"\x89PNG\r\n\x1a\n", "PNG", _png_size),
)
