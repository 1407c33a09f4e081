"""The structure of a TIFF file, checked before any pixel is read."""

from __future__ import annotations

import io
import logging
import math
import re
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import RawDataError, RawFileNotFoundError
from napari_exo2micro.core.base.machine import AGAIN, require_memory, tiff_errors

#: Codecs of TIFF whose strips are such streams, beside those that tifffile knows.
STREAMS = frozenset({34887, 34927})

#: Streams may be padded to whole blocks of their codec.
_BLOCK = 16

_JPEG_2000 = b"\xff\x4f\xff\x51"
_JPEG_XL = b"\xff\x0a"
# columns as a part of the rows, by the number in the stream
_JPEG_XL_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))

_Size = tuple[int, int] | None


def check_stream_size(data: bytes, rows: int, columns: int) -> None:
    """Refuse a stream whose own size is not that of its strip or tile.

    The decoder would allocate what the stream claims.

    Parameters
    ----------
    data : bytes
        A strip or tile that may be JPEG, JPEG 2000, JPEG XL, PNG, WebP or LERC;
        others are not looked at.
    rows, columns : int
        Size of a strip or tile, px.

    Raises
    ------
    ValueError
        When the stream claims more.
    """
    for mark, kind, size_of in _KINDS:
        size = size_of(data) if data.startswith(mark) else None
        if size is not None and (size[0] > rows + _BLOCK or size[1] > columns + _BLOCK):
            raise ValueError(f"a {kind} stream of {size[1]} x {size[0]} px")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _jpeg_size(data: bytes) -> _Size:
    """Return rows and columns; None when no frame header is found."""
    stream = io.BytesIO(data)
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        if 0xC0 <= head[1] <= 0xCF and head[1] not in (0xC4, 0xC8, 0xCC):
            size = stream.read(5)
            return _number(size[1:3]), _number(size[3:5])
        stream.seek(_number(head[2:]) - 2, io.SEEK_CUR)
    return None


def _jpeg_2000_size(data: bytes) -> _Size:
    start = data.find(_JPEG_2000)
    right, bottom, left, top = (
        _number(data[start + at : start + at + 4]) for at in (8, 12, 16, 20)
    )
    return (bottom - top, right - left) if start >= 0 else None


def _jpeg_xl_size(data: bytes) -> _Size:
    start = data.find(_JPEG_XL, max(data.find(b"jxlc"), data.find(b"jxlp"), 0))
    bits = _little(data[start + 2 : start + 16])

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side() -> int:
        return take(5) * 8 + 8 if is_small else take((9, 13, 18, 30)[take(2)]) + 1

    is_small = bool(take(1))
    rows = side()
    ratio = take(3)
    if ratio:
        across, down = _JPEG_XL_RATIOS[ratio - 1]
        columns = rows * across // down
    else:
        columns = side()
    return (rows, columns) if start >= 0 else None


def _png_size(data: bytes) -> _Size:
    return _number(data[20:24]), _number(data[16:20])


def _webp_size(data: bytes) -> _Size:
    kind = data[12:16]
    if kind == b"VP8X":
        return _little(data[27:30]) + 1, _little(data[24:27]) + 1
    if kind == b"VP8L":
        sides = _little(data[21:25])
        return (sides >> 14 & 0x3FFF) + 1, (sides & 0x3FFF) + 1
    return _little(data[28:30]) & 0x3FFF, _little(data[26:28]) & 0x3FFF


def _lerc_size(data: bytes) -> _Size:
    # from its version 3 on a checksum comes first
    start = 14 if _little(data[6:10]) >= 3 else 10
    return _little(data[start : start + 4]), _little(data[start + 4 : start + 8])


def _old_lerc_size(data: bytes) -> _Size:
    return _little(data[18:22]), _little(data[22:26])


_KINDS: tuple[tuple[bytes, str, Callable[[bytes], _Size]], ...] = (
    (b"\xff\xd8", "JPEG", _jpeg_size),
    (_JPEG_2000, "JPEG 2000", _jpeg_2000_size),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000", _jpeg_2000_size),
    (_JPEG_XL, "JPEG XL", _jpeg_xl_size),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL", _jpeg_xl_size),
    (b"\x89PNG\r\n\x1a\n", "PNG", _png_size),
    (b"RIFF", "WebP", _webp_size),
    (b"Lerc2 ", "LERC", _lerc_size),
    (b"CntZImage ", "LERC", _old_lerc_size),
)


LOGGER = logging.getLogger(__name__)

_REDUCED = 1
_MASK = 4
_PAGES_LOOKED_AT = 32
_ALPHA = (1, 2)
_MOST_VALUES = 1 << 22


def check_directory(file: BinaryIO) -> None:
    """Refuse a file whose first directory lists absurdly many values.

    tifffile would read all of them, gigabytes if the file is that long.

    Parameters
    ----------
    file : file object
        The open file.

    Raises
    ------
    ValueError, struct.error
        If a list of strips, or the like, has more than 4 million entries, or
        the directory is cut off.
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
    if entries > 4096:
        raise ValueError(f"{entries} tags")
    for tag, _, values in struct.iter_unpack(order + layout, file.read(size * entries)):
        # the tags of the image itself; private ones may be long and are not read
        if 254 <= tag <= 347 and values > _MOST_VALUES:
            raise ValueError(f"tag {tag} lists {values} values")


def choose_page(tif: tifffile.TiffFile) -> tuple[tifffile.TiffPage, list[str]]:
    """Return the first full-resolution page, with a warning when there are more.

    Thumbnails, pyramid levels and masks say what they are in their header and
    are not pages in this sense.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The open file.

    Returns
    -------
    page : tifffile.TiffPage
        The image.
    warnings : list of str
        At most one line.
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
            LOGGER.debug("page %d of %s cannot be read", index, tif.filename)
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
    """Tell a stack that is stored behind one page header (ImageJ, tifffile)."""
    if page.is_imagej:
        found = re.search(r"^images=(\d+)", page.description, re.MULTILINE)
        return found is not None and int(found[1]) > 1
    if page.is_shaped:
        found = re.search(r'"shape": \[([\d, ]+)\]', page.shaped_description or "")
        return (
            found is not None and math.prod(map(int, found[1].split(","))) > page.size
        )
    return False


def read_colours(
    page: tifffile.TiffPage, samples: int
) -> tuple[tuple[int, ...], str, list[str]]:
    """Return the samples that may carry signal, the mode's name and warnings.

    Parameters
    ----------
    page : tifffile.TiffPage
        The image.
    samples : int
        Samples stored for each pixel.

    Returns
    -------
    colour : tuple of int
        Indices of the samples that are not alpha.
    mode : str
        ``'grey'``, ``'grey + alpha'``, ``'RGB'``, ``'RGBA'`` or ``'n channels'``.
    warnings : list of str
        Samples that are left out although nothing says that they are alpha.
    """
    extra = tuple(page.extrasamples or ())
    if page.photometric in (2, 6) and samples >= 3:
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


def colour_table(
    page: tifffile.TiffPage,
    dtype: np.dtype[Any],
    colour: tuple[int, ...],
    mode: str,
) -> tuple[NDArray[np.generic] | None, str, list[str]]:
    """Return the colours that a palette image's numbers stand for.

    A palette that gets brighter with the number (a green or 'fire' display
    colour on a grey image) is only decoration: the number is the brightness.
    Any other palette stands for RGB colours, 8 bits each for 8-bit numbers.

    Parameters
    ----------
    page : tifffile.TiffPage
        The image.
    dtype : numpy.dtype
        Of its samples.
    colour : tuple of int
        From `read_colours`.
    mode : str
        From `read_colours`.

    Returns
    -------
    table : numpy.ndarray, shape (N, 3), or None
        The colours; None when the numbers are the brightness.
    mode : str
        The mode, with the palette.
    warnings : list of str
        What was decided.
    """
    if page.photometric != 3:
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
