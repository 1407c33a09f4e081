"""One raw TIFF file: its header, checked before any pixel is read."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.errors import RawDataError, RawFileNotFoundError
from napari_exo2micro.core.raw.guard import AGAIN, require_memory, tiff_errors
from napari_exo2micro.core.raw.pages import (
    check_directory,
    choose_page,
    colour_table,
    read_colours,
)
from napari_exo2micro.core.raw.streams import STREAMS

__all__ = ["TiffImage", "open_tiff"]

MIN_SIDE = 8
MAX_SAMPLES = 64
# best ratio of a codec on constant data, so that a header may not claim an
# image that its bytes cannot hold; zstd reaches 128 KiB from 4 bytes
_MAX_EXPANSION = 1 << 15
_EXPANSIONS = {1: 1, 5: 1 << 12, 8: 1 << 11, 32773: 1 << 7, 32946: 1 << 11}
# JPEG 2000, LERC, WebP and JPEG XL keep a constant tile of any size in some bytes
_CONSTANT = frozenset(
    {33003, 33004, 33005, 34712, 34887, 34927, 50001, 50002, 52546},
)
_CONSTANT_EXPANSION = 1 << 20
# how often blank tiles may be one and the same
_MAX_REPEATS = 256
_SMALLEST_HEADER = 8
_JPEG = frozenset({6, 7, 33007, 34892})
_PHOTOMETRIC = {0: "white is zero", 1: "black is zero", 2: "RGB", 3: "palette"}
_YCBCR = 6


@dataclass(frozen=True, slots=True, eq=False)
class TiffImage:
    """Where the pixels of a raw file lie and how to read them.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    size, mtime_ns : int
        Bytes and time of the last change when the header was read.
    height, width : int
        Rows and columns, px.
    samples : int
        Samples stored for each pixel, alpha included.
    planar : bool
        Samples are stored plane after plane instead of pixel by pixel.
    dtype : numpy.dtype
        Of the decoded samples, native byte order.
    stored_colour : tuple of int
        The stored samples that are not alpha.
    mode : str
        ``'grey'``, ``'RGB'``, ``'RGBA'``, ... for a person.
    segment_rows, segment_columns : int
        Size of a strip or tile, px.
    offsets, byte_counts : tuple of int
        Of each strip or tile.
    contiguous : int or None
        Offset of the pixels when they lie there plain and whole.
    big_endian : bool
        Byte order of plain pixels.
    white : int or None
        The value to subtract from when white is zero.
    table : numpy.ndarray, shape (N, 3), or None
        The colours of a palette image.
    decode : callable
        ``decode(data, index)`` -> (samples, position, shape) of a segment.
    holds_streams : bool
        Segments are images themselves (JPEG, ...), which tell a size of their own.
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
    big_endian: bool
    white: int | None
    table: NDArray[np.generic] | None
    decode: Callable[[bytes | None, int], tuple[Any, tuple[int, ...], Any]]
    holds_streams: bool
    warnings: tuple[str, ...] = field(default=())

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
        """Of the samples that `read` gives: those of the colours of a palette."""
        return self.dtype if self.table is None else self.table.dtype

    def stored(self, samples: tuple[int, ...]) -> tuple[int, ...]:
        """Return what must be read for some samples: all of it for a palette."""
        return samples if self.table is None else self.stored_colour

    @property
    def across(self) -> int:
        """Segments side by side."""
        return math.ceil(self.width / self.segment_columns)

    @property
    def down(self) -> int:
        """Segments one below the other."""
        return math.ceil(self.height / self.segment_rows)

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of one row with all of its samples."""
        return self.width * self.samples * self.dtype.itemsize


def open_tiff(path: Path | str) -> TiffImage:
    """Read and check the header of a raw file.

    Nothing in proportion to the image that the header claims is allocated.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.

    Returns
    -------
    TiffImage
        The first full-resolution image of the file.

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
                    check_directory(file)
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
        page, warnings = choose_page(tif)
        return _describe(path, status.st_size, status.st_mtime_ns, tif, page, warnings)


def _why_not_opened(path: Path, error: OSError) -> str:
    if path.exists():
        return f"cannot be opened ({error.strerror})"
    return "is a link whose target is gone" if path.is_symlink() else "is missing"


def _describe(
    path: Path,
    size: int,
    mtime_ns: int,
    tif: tifffile.TiffFile,
    page: tifffile.TiffPage,
    warnings: list[str],
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
    if page.photometric not in _PHOTOMETRIC and not (
        page.photometric == _YCBCR
        and page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS
    ):
        name = getattr(page.photometric, "name", page.photometric)
        raise RawDataError(
            f"{path}: colours of kind {name} are not supported; save the image as "
            "grey or RGB"
        )
    colour, mode, notes = read_colours(page, samples)
    table, mode, more = colour_table(page, native, colour, mode)
    white = None
    if page.photometric == 0 and native.kind in "bu":
        white = (1 << int(page.bitspersample)) - 1
        more.append("stored with white as zero; inverted, so that bright is signal")
    tiled = page.is_tiled
    image = TiffImage(
        path=path,
        size=size,
        mtime_ns=mtime_ns,
        height=height,
        width=width,
        samples=samples,
        planar=page.planarconfig == 2 and samples > 1,
        dtype=native,
        stored_colour=colour,
        mode=mode,
        segment_rows=page.tilelength if tiled else page.rowsperstrip,
        segment_columns=page.tilewidth if tiled else width,
        offsets=tuple(page.dataoffsets),
        byte_counts=tuple(page.databytecounts),
        contiguous=page.dataoffsets[0] if page.dataoffsets and page.is_final else None,
        big_endian=tif.byteorder == ">",
        white=white,
        table=table,
        decode=_decoder(page),
        holds_streams=page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS | STREAMS,
        warnings=tuple(f"{path.name}: {text}" for text in [*warnings, *notes, *more]),
    )
    missing = _check_segments(image, page, tiled)
    if missing:
        note = f"{path.name}: {missing} tiles are not in the file and read as zero"
        image = replace(image, warnings=(*image.warnings, note))
    return image


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
    if samples > MAX_SAMPLES:
        raise RawDataError(
            f"{path}: its header claims {samples} samples a pixel; {AGAIN}"
        )
    return height, width, samples


def _decoder(
    page: tifffile.TiffPage,
) -> Callable[[bytes | None, int], tuple[Any, tuple[int, ...], Any]]:
    # made here because it is not thread-safe, and because it needs the open file
    decode = page.decode
    arguments: dict[str, Any] = {}
    if page.compression in _JPEG:
        arguments = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}

    def decode_segment(
        data: bytes | None, index: int
    ) -> tuple[Any, tuple[int, ...], Any]:
        return decode(data, index, **arguments)

    return decode_segment


def _check_segments(image: TiffImage, page: tifffile.TiffPage, tiled: bool) -> int:
    path, kind = image.path, "tile" if tiled else "strip"
    rows, columns = image.segment_rows, image.segment_columns
    if not all(n > 0 for n in (rows, columns)):
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
    found = min(len(image.offsets), len(image.byte_counts))
    if found < wanted:
        raise RawDataError(
            f"{path}: {image.width} x {image.height} px need {wanted} {kind}s, its "
            f"header lists {found}; {AGAIN}"
        )
    bits = image.dtype.itemsize * 8
    if isinstance(page.bitspersample, int):
        bits = page.bitspersample
    contiguous_samples = 1 if image.planar else image.samples
    row_bytes = math.ceil(columns * contiguous_samples * bits / 8)
    most = rows * row_bytes
    codec = int(page.compression)
    expansion = _EXPANSIONS.get(codec, _MAX_EXPANSION)
    if codec in _CONSTANT:
        expansion = _CONSTANT_EXPANSION
    missing = total = 0
    stored: dict[tuple[int, int], int] = {}
    for index in range(wanted):
        offset, count = image.offsets[index], image.byte_counts[index]
        if offset == 0 or count == 0:
            missing += 1
            continue
        _check_range(image, offset, count, f"{kind} {index}")
        least = most
        if not tiled:
            first = index % image.down * rows
            least = min(rows, image.height - first) * row_bytes
        total += least
        stored[offset, count] = max(least, stored.get((offset, count), 0))
        if codec in _CONSTANT:
            continue
        if count * expansion < least and (codec == 1 or least > 1 << 20):
            raise RawDataError(
                f"{path}: {kind} {index} has {count} bytes, which cannot hold its "
                f"{least} bytes of pixels; {AGAIN}"
            )
    # blank tiles may all be in one place, others may not
    once = sum(stored.values())
    if once > max(image.size * expansion, 1 << 28) or total > max(
        once * _MAX_REPEATS, 1 << 32
    ):
        raise RawDataError(
            f"{path}: its {image.size} bytes cannot hold the {total} bytes of pixels "
            f"that its {kind}s claim; {AGAIN}"
        )
    if missing and not tiled:
        raise RawDataError(
            f"{path}: {missing} of {wanted} strips are missing, as after a write "
            "that was cut off, or the file was written as sparse; "
            f"{AGAIN}, without SPARSE_OK"
        )
    decoded = rows * columns * image.across * image.samples * image.dtype.itemsize
    if decoded > 1 << 28:
        require_memory(path, 2 * decoded, f"decoding one row of {kind}s")
    return missing


def _check_range(image: TiffImage, offset: int, count: int, what: str) -> None:
    if offset < 0 or count < 0 or offset + count > image.size:
        raise RawDataError(
            f"{image.path}: is truncated or damaged: {what} should end at byte "
            f"{offset + count}, the file has {image.size}; {AGAIN}"
        )
