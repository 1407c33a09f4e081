"""Image files opened and written: BigTIFFs with smaller levels, FITS, seals.

A changed bit in a header may move the pixels, or change what they mean, and leave a
file that can be read. The seal shows it without reading the pixels. These have a digest
for each band of rows and each level, which the seal covers.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from io import BufferedRandom, BufferedReader
from pathlib import Path
from struct import calcsize, error as StructError, iter_unpack, unpack
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base import CheckpointError, Monitor, OutputError, files
from napari_exo2micro.core.base.machine import free_disk
from napari_exo2micro.core.images.raster import (
    BAND_ROWS,
    CV2_MAX_SIDE,
    FileLevel,
    Raster,
    checksum,
    mark_proven,
)

if TYPE_CHECKING:
    from astropy.io import fits


logger = logging.getLogger(__name__)

#: A FITS header card: key of at most 8 characters, value, comment.
Card = tuple[str, str | int | float | bool, str]

#: The key of the FITS card that holds the seal, and what its card has before.
FITS_SEAL = "HEADSUM"
_NO_SEAL = "0" * 64

#: What the keys of the FITS cards begin with that hold the digests of the pixels.
FITS_DIGESTS = "PIXSUM"

#: What stands before the digests of the pixels, before the seal of a TIFF.
TIFF_DIGESTS = b"\nexo2micro pixels "
_DIGITS, _CARD_DIGITS = 8, 64  # of one digest; of those that a FITS card holds

#: What stands before the seal at the end of a TIFF.
TIFF_SEAL = b"\nexo2micro "
TIFF_SEAL_SIZE = len(TIFF_SEAL) + len(_NO_SEAL)

#: Name of the FITS extension that holds the header as JSON text.
FITS_EXTENSION = "PROVENANCE"

#: What the Software tag of a TIFF and the SOFTWARE card of a FITS begin with.
WRITER = "napari-exo2micro"

#: A TIFF has levels until the longest side of the last one is at most twice this, px.
_SMALLEST_LEVEL = 512

#: A TIFF of more images, or of more levels, is none of ours.
_MOST_PAGES = 32

_FITS_CARD, _FITS_BLOCK = 80, 2880  # bytes
_FITS_END = b"END".ljust(_FITS_CARD)
_CARDS_OF_BLOCK = range(0, _FITS_BLOCK, _FITS_CARD)
_MOST_BLOCKS = 1000  # of a header
_CHUNK = 1 << 20

# Of a BigTIFF as `write_raster` makes it: its first bytes, its tags and their types.
_BIG_TIFF = b"II+\0\b\0\0\0"
_COLUMNS, _ROWS, _BITS, _DESCRIPTION, _OFFSETS = 256, 257, 258, 270, 273
_COUNTS, _SUB_IFDS, _FORM = 279, 330, 339
_TAG_TYPES = {2: "s", 3: "H", 4: "I", 16: "Q", 18: "Q"}
#: What is told of a file whose digest differs.
CHANGED = "it is damaged, or another program changed it"
_AXES = re.compile(rb"NAXIS   = *\d{1,3} ")


def seal_of(file: BinaryIO, left_out: Sequence[tuple[int, int]], end: int) -> str:
    """Return the digest of a file's bytes but for some, 64 hexadecimal digits.

    `left_out` are (start, bytes) of what is left out, whose numbers are in the digest,
    too; `end` is where the sealed part of the file ends. Parts that lie over each
    other, or outside of the file, are a `ValueError`.
    """
    digest = hashlib.sha256(repr([*left_out, end]).encode())
    at = 0
    for start, size in [*sorted(left_out), (end, 0)]:
        if start < at or size < 0:
            raise ValueError("its parts lie over each other")
        file.seek(at)
        left = start - at
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise ValueError("it is truncated")
            digest.update(chunk)
            left -= len(chunk)
        at = start + size
    return digest.hexdigest()


def fits_seal_card(head: bytes) -> tuple[int, int]:
    """Return where the card of the seal begins in a FITS header, and its bytes.

    `head` is the file up to its pixels; without such a card it is a `ValueError`.
    """
    key = f"{FITS_SEAL:8}= ".encode()
    for start in range(0, len(head), _FITS_CARD):  # texts may hold the key, too
        if head.startswith(key, start):
            return start, _FITS_CARD
    raise ValueError("it has no seal")


def open_raster(path: Path, *, mapped: bool = True) -> Raster:
    """Open an image that `write_raster` or the reference system wrote.

    Parameters
    ----------
    path : Path
        A `.tiff` or `.fits` file with one uncompressed 2-D image.
    mapped : bool
        Whether the file stays open, as it is now, whatever takes its place. Otherwise
        it is opened again when pixels are read, which costs less for many files.

    Returns
    -------
    Raster
        Memory-mapped; its header is empty when the file carries none of ours.

    Raises
    ------
    CheckpointError
        When the file is missing, truncated or no such image.
    """
    is_fits = path.suffix == ".fits"
    read_sealed = _sealed_fits if is_fits else _sealed_tiff
    read_any = _open_fits if is_fits else _open_tiff
    try:
        # once: a run may put another file in this place meanwhile
        with path.open("rb") as file:
            level = partial(FileLevel, path, file, mapped)
            with suppress(LookupError, OSError, OverflowError, ValueError, StructError):
                return read_sealed(path, file, level)
            file.seek(0)
            with quiet_tifffile(path):
                return read_any(path, file, level)
    except CheckpointError:
        raise
    except Exception as error:  # libraries raise all kinds on damaged files
        reason = str(error) or type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read ({reason}); run its stage again"
        ) from error


_Level = Callable[[np.dtype[Any], int, tuple[int, ...]], FileLevel]

# A file whose seal is right is as `write_raster` left it: it can be read without a
# library that understands all kinds of files, and that takes ten times as long.
# Whatever is unexpected raises, and the library looks at it.


def _sealed_tiff(path: Path, file: BufferedReader, level: _Level) -> Raster:
    size = os.fstat(file.fileno()).st_size
    sealed = _text_at(file, size - TIFF_SEAL_SIZE, TIFF_SEAL, len(_NO_SEAL))
    version, start = unpack("<8sQ", _bytes_at(file, 0, 16))
    if not sealed or version != _BIG_TIFF:
        raise ValueError("it has no seal")
    first = _tags(file, start)
    tags = [first, *(_tags(file, place) for place in first.get(_SUB_IFDS, ()))]
    places = [(tag[_OFFSETS][0], tag[_COUNTS][0]) for tag in tags]
    if sealed != seal_of(file, places, size - TIFF_SEAL_SIZE):
        raise ValueError(CHANGED)
    (bits,), (form,) = first[_BITS], first.get(_FORM, (1,))
    dtype = np.dtype(f"<{'?uif'[form]}{bits // 8}")
    shapes = [(tag[_ROWS][0], tag[_COLUMNS][0]) for tag in tags]
    width = _digits(shapes[0], len(tags))
    told = size - TIFF_SEAL_SIZE - len(TIFF_DIGESTS) - width
    return Raster(
        [
            level(dtype, place[0], shape)
            for place, shape in zip(places, shapes, strict=True)
        ],
        _read_json(first[_DESCRIPTION][0].rstrip(b"\0").decode()),
        path,
        digests=_digests(_text_at(file, told, TIFF_DIGESTS, width), len(tags)),
        fraction_ns=fraction_of(sealed),
    )


def _tags(file: BufferedReader, start: int) -> dict[int, tuple[Any, ...]]:
    """Return the entries of a directory of a little-endian BigTIFF."""
    (count,) = unpack("<Q", _bytes_at(file, start, 8))
    tags = {}
    entries = _bytes_at(file, start + 8, 20 * count)
    for code, kind, number, value in iter_unpack("<HHQ8s", entries):
        if kind not in _TAG_TYPES:
            continue
        form = f"<{number}{_TAG_TYPES[kind]}"
        size = calcsize(form)
        if size > len(value):
            value = _bytes_at(file, int.from_bytes(value, "little"), size)
        tags[code] = unpack(form, value[:size])
    return tags


def _sealed_fits(path: Path, file: BufferedReader, level: _Level) -> Raster:
    size = os.fstat(file.fileno()).st_size
    head = _fits_header(file, 0)
    cards = _fits_cards(head)
    shape = int(cards["NAXIS2"]), int(cards["NAXIS1"])
    kind = int(cards["BITPIX"])
    dtype = np.dtype(
        f">{'f' if kind < 0 else 'i' if kind > 8 else 'u'}{abs(kind) // 8}"
    )
    pixels = len(head), math.prod(shape) * dtype.itemsize
    seal = fits_seal_card(head)
    if cards[FITS_SEAL] != seal_of(file, [seal, pixels], size):
        raise ValueError(CHANGED)
    place = -(-sum(pixels) // _FITS_BLOCK) * _FITS_BLOCK
    more = _fits_header(file, place)
    width = int(_fits_cards(more)["NAXIS1"])
    text = _bytes_at(file, place + len(more), width).decode("ascii")
    keys = _digest_keys(_digits(shape, 1))
    return Raster(
        [level(dtype, pixels[0], shape)],
        _read_json(text),
        path,
        bzero=int(cards.get("BZERO", 0)),
        digests=_digests("".join(cards.get(key, "") for key in keys), 1),
        fraction_ns=fraction_of(cards[FITS_SEAL]),
    )


def _fits_header(file: BufferedReader, start: int) -> bytes:
    """Return a header up to the end of the block with its END."""
    head = b""
    for _ in range(_MOST_BLOCKS):
        block = _bytes_at(file, start + len(head), _FITS_BLOCK)
        head += block
        if _FITS_END in (block[at : at + _FITS_CARD] for at in _CARDS_OF_BLOCK):
            return head
    raise ValueError("it is truncated")


def _fits_cards(head: bytes) -> dict[str, str]:
    """Return the values of cards as text; those of plain words and numbers."""
    cards: dict[str, str] = {}
    for at in range(0, len(head), _FITS_CARD):
        key, _, rest = head[at : at + _FITS_CARD].decode("ascii").partition("= ")
        value = rest.split("'")[1] if rest.startswith("'") else rest.split("/")[0]
        cards.setdefault(key.strip(), value.strip())
    return cards


def _bytes_at(file: BufferedReader, start: int, size: int) -> bytes:
    if start + size > os.fstat(file.fileno()).st_size:
        raise ValueError("it is truncated")
    file.seek(start)
    return file.read(size)


@contextmanager
def quiet_tifffile(path: Path) -> Iterator[None]:
    """Send what tifffile logs in this thread to the debug log; our error tells it."""
    thread = threading.get_ident()

    def not_ours(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        logger.debug("%s: tifffile: %s", path, record.getMessage())
        return False

    library = logging.getLogger("tifffile")
    library.addFilter(not_ours)
    try:
        yield
    finally:
        library.removeFilter(not_ours)


def _open_tiff(path: Path, file: BufferedReader, level: _Level) -> Raster:
    size = os.fstat(file.fileno()).st_size
    with tifffile.TiffFile(file) as tif:
        _check_pages(path, tif)
        pages = [level.keyframe for level in tif.series[0].levels]
        levels = [level(*_place_of(path, page, tif.byteorder, size)) for page in pages]
        header = _read_json(pages[0].description)
        sealed = _text_at(file, size - TIFF_SEAL_SIZE, TIFF_SEAL, len(_NO_SEAL))
        width = _digits(levels[0].shape, len(levels))
        told = size - TIFF_SEAL_SIZE - len(TIFF_DIGESTS) - width
        text = _text_at(file, told, TIFF_DIGESTS, width)
        kind = str(header.get("kind", ""))
        if not (sealed or WRITER in pages[0].software or kind.startswith(WRITER)):
            return Raster(levels, header, path, is_foreign=True)
    left_out = [(level.offset, level.n_bytes) for level in levels]
    _check_seal(path, file, sealed, left_out, size - TIFF_SEAL_SIZE)
    return Raster(
        levels,
        header,
        path,
        digests=_digests(text, len(levels)),
        fraction_ns=fraction_of(sealed),
    )


def _text_at(file: BinaryIO, start: int, mark: bytes, width: int) -> str:
    """Return what follows a mark in a file; empty when it is not there."""
    file.seek(max(start, 0))
    found = file.read(len(mark) + width)
    if not found.startswith(mark):
        return ""
    return found.removeprefix(mark).decode("ascii", "replace")


def fraction_of(seal: str) -> int:
    """Return the part of a second that stands for a seal, ns; see `mark_proven`.

    In steps of 100 ns, the finest time that all common file systems keep.
    """
    return int(hashlib.sha256(seal.encode()).hexdigest()[:8], 16) % 10_000_000 * 100


def _digits(shape: tuple[int, ...], n_levels: int) -> int:
    """Return the length of the text that holds the digests of all bands."""
    return _DIGITS * n_levels * -(-shape[0] // BAND_ROWS)


def _digests(text: str, n_levels: int) -> list[list[int]]:
    """Return the digests by level and band; empty where there are none."""
    try:
        numbers = [
            int(text[at : at + _DIGITS], 16) for at in range(0, len(text), _DIGITS)
        ]
    except ValueError:
        return []
    n_bands = len(numbers) // n_levels
    if not n_bands:
        return []
    return [numbers[n * n_bands : (n + 1) * n_bands] for n in range(n_levels)]


def _check_pages(path: Path, tif: tifffile.TiffFile) -> None:
    """Refuse a file of many images: tifffile would look at each of them."""
    if len(tif.pages[0].aspage().subifds or ()) < _MOST_PAGES:
        try:
            tif.pages[_MOST_PAGES]
        except IndexError:
            return
    raise CheckpointError(
        f"{path} should hold one image, found more than {_MOST_PAGES}; run "
        "its stage again"
    )


def _check_seal(
    path: Path,
    file: BufferedReader,
    stored: str,
    left_out: Sequence[tuple[int, int]],
    end: int,
) -> None:
    what = ""
    if not stored:
        what = (
            "it has no seal: an earlier version or another program wrote it, or its "
            "end is missing"
        )
    elif stored != seal_of(file, left_out, end):
        what = CHANGED
    if what:
        raise CheckpointError(f"{path} cannot be used: {what}; run its stage again")


def _place_of(
    path: Path, page: Any, byteorder: str, size: int
) -> tuple[np.dtype[Any], int, tuple[int, ...]]:
    """Return type, place and shape of a page's pixels."""
    if page.ndim != 2 or not page.is_memmappable or page.dtype is None:
        raise CheckpointError(
            f"{path} should hold one uncompressed grey image, found shape "
            f"{page.shape} with compression {page.compression}; run its stage again"
        )
    start = page.dataoffsets[0]
    if start + math.prod(page.shape) * page.dtype.itemsize > size:
        raise CheckpointError(
            f"{path} is truncated: {size} bytes hold less than its header promises; "
            "run its stage again"
        )
    dtype = page.dtype.newbyteorder(">" if byteorder == ">" else "<")
    return dtype, start, page.shape


def _open_fits(path: Path, file: BufferedReader, level: _Level) -> Raster:
    from astropy.io import fits  # half a second that a TIFF need not wait for

    size = os.fstat(file.fileno()).st_size
    _check_axes(path, file, 0)
    # astropy closes the file with its list
    with fits.open(file, memmap=False, do_not_scale_image_data=True) as hdus:
        header, info = hdus[0].header, hdus[0].fileinfo()
        if header["NAXIS"] != 2:
            raise CheckpointError(
                f"{path} should hold one 2-D image, found {header['NAXIS']} axes; "
                "run its stage again"
            )
        shape = (header["NAXIS2"], header["NAXIS1"])
        dtype = np.dtype(fits.BITPIX2DTYPE[header["BITPIX"]]).newbyteorder(">")
        bzero = int(header.get("BZERO", 0))
        pixels = (info["datLoc"], math.prod(shape) * dtype.itemsize)
        if min(shape) < 1 or sum(pixels) > size:
            raise CheckpointError(f"{path} is truncated; run its stage again")
        text = ""
        sealed = str(header.get(FITS_SEAL, ""))
        digests = "".join(
            str(header.get(key, "")) for key in _digest_keys(_digits(shape, 1))
        )
        own = str(header.get("SOFTWARE", "")).startswith(WRITER) or bool(sealed)
        # not by its name: a negative size would have astropy look for it for ever
        _check_axes(path, file, info["datLoc"] + info["datSpan"])
        extension = next(iter(hdus[1:2]), None)
        if extension is not None and extension.name == FITS_EXTENSION:
            place = extension.fileinfo()
            if place["datLoc"] + place["datSpan"] > size:
                raise CheckpointError(f"{path} is truncated; run its stage again")
            text = extension.data.tobytes().decode("ascii", "replace")
        if own or text:
            file.seek(0)
            head = file.read(pixels[0])
            card = fits_seal_card(head) if sealed else (0, 0)
            _check_seal(path, file, sealed, [card, pixels], size)
        whole = level(dtype, pixels[0], shape)
    is_foreign = not (own or text)
    # a foreign program may keep our cards, not our seal
    complete = not is_foreign and len(digests) == _digits(shape, 1)
    return Raster(
        [whole],
        _read_json(text),
        path,
        bzero=bzero,
        is_foreign=is_foreign,
        digests=_digests(digests, 1) if complete else (),
        fraction_ns=fraction_of(sealed),
    )


def _digest_keys(width: int) -> list[str]:
    """Return the keys of the FITS cards that hold so many digits."""
    return [f"{FITS_DIGESTS}{n}" for n in range(-(-width // _CARD_DIGITS))]


def _check_axes(path: Path, file: BufferedReader, start: int) -> None:
    """Refuse a FITS header of more axes than FITS has: astropy would count them."""
    before = file.tell()
    file.seek(start)
    head = file.read(240)
    file.seek(before)
    if head and not _AXES.match(head, 160):
        raise CheckpointError(f"{path} cannot be used: {CHANGED}; run its stage again")


def _read_json(text: str) -> dict[str, Any]:
    """Return the header in `text`, or nothing when the text is no JSON object."""
    if not text.startswith("{"):
        return {}
    try:
        stored = json.loads(text)
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}


def write_raster(
    paths: Sequence[Path],
    shape: tuple[int, int],
    dtype: Any,
    bands: Iterable[tuple[int, NDArray[Any]]],
    *,
    header: Mapping[str, Any],
    cards: Sequence[Card] = (),
    pixel_size: tuple[float, float] | None = None,
    beside: Mapping[Path, str] | None = None,
    monitor: Monitor | None = None,
) -> None:
    """Write one image to TIFF and FITS files, band by band, whole or not at all.

    The TIFF is an uncompressed BigTIFF whose levels (2 x 2 means) are contiguous,
    the smaller ones in SubIFDs. The FITS has a plain primary image, row 0 first,
    and `header` as JSON in an extension.

    Parameters
    ----------
    paths : sequence of Path
        Each ends in `.tiff` or `.fits`; all get the same pixels.
    shape : tuple of int
        Rows and columns.
    dtype : data-type
        uint8, uint16, int16, int32, int64, float32 or float64.
    bands : iterable of (int, ndarray)
        First row and pixels (h, columns) from top to bottom; a first row is a
        multiple of `rasters.BAND_ROWS`, and what is left out is zero. Arrays must
        not be changed after they were given.
    header : mapping
        JSON-ready; goes into the TIFF's ImageDescription and the FITS extension.
    cards : sequence of Card
        Cards of the FITS primary header.
    pixel_size : tuple of float, optional
        Width and height of a pixel, um, for the resolution tags of the TIFF.
    beside : mapping of Path to str, optional
        Small files of text that the image refers to; written with it.
    monitor : Monitor, optional
        Told the fraction written.

    Raises
    ------
    OutputError
        When a file cannot be written; files of these names that were there
        before are untouched.
    CancelledError
        When the monitor was asked to stop; nothing is left behind.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    _check_space(paths, shape, dtype)
    texts = beside or {}
    with files.replace_files([*texts, *paths]) as new, ExitStack() as stack:
        parts = new[len(texts) :]
        for text, part in zip(texts.values(), new, strict=False):
            part.write_text(text, encoding="utf-8")
        targets = []
        for path, part in zip(paths, parts, strict=True):
            if path.suffix == ".fits":
                target = _new_fits(part, shape, dtype, header, cards)
            else:
                target = _new_tiff(part, shape, dtype, header, pixel_size)
            stack.callback(target.file.close)
            targets.append(target)
        fractions = _fill(targets, shape, bands, monitor or Monitor())
        stack.close()  # to close a file may set its time
        for part, fraction in zip(parts, fractions, strict=True):
            mark_proven(part, fraction)


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """A file that is filled from top to bottom: where its levels lie, and their type.

    FITS has no unsigned numbers: those of 16 bits are `shifted` by 32768. `seal`
    writes the text of the digests into the file, and returns the seal.
    """

    file: BufferedRandom
    dtype: np.dtype[Any]
    offsets: Sequence[int]
    shapes: Sequence[tuple[int, int]]
    seal: Callable[[str], str]
    shifted: bool = False
    digests: dict[tuple[int, int], int] = field(default_factory=dict)

    def write(self, y0: int, pixels: NDArray[Any]) -> None:
        """Write rows into every level; zeros stay holes."""
        native = np.uint16 if self.shifted else self.dtype.newbyteorder("=")
        for start in range(0, len(pixels), BAND_ROWS):
            band = np.ascontiguousarray(pixels[start : start + BAND_ROWS], native)
            if self.shifted:  # its zeros are no holes
                missing = min(BAND_ROWS, self.shapes[0][0] - y0 - start) - len(band)
                band = np.pad(band, ((0, missing), (0, 0))) if missing else band
            self._write(y0 + start, band)

    def _write(self, y0: int, band: NDArray[Any]) -> None:
        is_empty = not self.shifted and not band.any()
        for level, (start, (rows, columns)) in enumerate(
            zip(self.offsets, self.shapes, strict=True)
        ):
            row_bytes, found = columns * self.dtype.itemsize, 0
            if not is_empty:
                band = _halved(band) if level else band
                found, digest = len(band), checksum(band)
                stored = band
                if self.shifted:
                    stored = (band ^ np.uint16(0x8000)).view(np.int16)
                self.file.seek(start + (y0 >> level) * row_bytes)
                self.file.write(np.ascontiguousarray(stored, self.dtype).data)
            left = min(BAND_ROWS >> level, rows - (y0 >> level)) - found
            if is_empty:
                digest = _checksum_of_zeros(left * row_bytes)
            elif left:
                digest = zlib.crc32(bytes(left * row_bytes), digest)
            self.digests[level, y0 // BAND_ROWS] = digest

    def finish(self) -> int:
        """Fill what is left out, and hand everything to the disk.

        Returns what the file's time has to tell, see `mark_proven`. Both files are
        handed over at once, in a thread each.
        """
        rows, columns = self.shapes[0]
        for y0 in range(0, rows, BAND_ROWS):
            if (0, y0 // BAND_ROWS) not in self.digests:
                size = min(BAND_ROWS, rows - y0), columns
                self.write(y0, np.zeros(size, np.uint8))
        told = sorted(self.digests)  # by level, then by band
        seal = self.seal("".join(f"{self.digests[key]:08x}" for key in told))
        self.file.flush()
        os.fsync(self.file.fileno())
        return fraction_of(seal)


@lru_cache(maxsize=64)
def _checksum_of_zeros(size: int) -> int:
    return zlib.crc32(bytes(size))


def _fill(
    targets: Sequence[_Target],
    shape: tuple[int, int],
    bands: Iterable[tuple[int, NDArray[Any]]],
    monitor: Monitor,
) -> list[int]:
    """Write the bands while the next ones are made, one thread a file.

    Returns what each file's time has to tell.
    """
    with ThreadPoolExecutor(max(1, len(targets))) as pool:
        pending: list[Future[None]] = []
        for y0, band in bands:
            monitor.report(y0 / shape[0], "writing")
            if y0 % BAND_ROWS or band.shape[1:] != shape[1:]:
                raise ValueError(f"no band: first row {y0}, shape {band.shape}")
            for future in pending:
                future.result()
            pending = [pool.submit(target.write, y0, band) for target in targets]
        for future in pending:
            future.result()
        ends = [pool.submit(target.finish) for target in targets]
        return [end.result() for end in ends]


def _new_tiff(
    path: Path,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    header: Mapping[str, Any],
    pixel_size: tuple[float, float] | None,
) -> _Target:
    """Make a sparse pyramidal BigTIFF."""
    # Pixels a cm; without a size the tags say that there is no unit.
    full = (1e4 / pixel_size[0], 1e4 / pixel_size[1]) if pixel_size else (1.0, 1.0)
    shapes = [shape]
    while max(shapes[-1]) > 2 * _SMALLEST_LEVEL:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    with tifffile.TiffWriter(path, bigtiff=True, byteorder="<") as writer:
        for level, level_shape in enumerate(shapes):
            writer.write(
                None,
                shape=level_shape,
                dtype=dtype,
                photometric="minisblack",
                metadata=None,
                software=WRITER,
                subifds=len(shapes) - 1 if level == 0 else None,
                subfiletype=1 if level else 0,
                description=json.dumps(header) if level == 0 else None,
                resolution=(full[0] / 2**level, full[1] / 2**level),
                resolutionunit="CENTIMETER" if pixel_size else "NONE",
            )
    with tifffile.TiffFile(path) as tif:
        levels = tif.series[0].levels
        offsets = [level.keyframe.dataoffsets[0] for level in levels]
    file = path.open("r+b")
    sizes = [math.prod(shape) * dtype.itemsize for shape in shapes]
    end = max(os.fstat(file.fileno()).st_size, offsets[-1] + sizes[-1])
    file.truncate(end)

    def seal(digests: str) -> str:
        file.seek(end)
        file.write(TIFF_DIGESTS + digests.encode())
        left_out = list(zip(offsets, sizes, strict=True))
        text = seal_of(file, left_out, file.tell())
        file.seek(0, os.SEEK_END)
        file.write(TIFF_SEAL + text.encode())
        return text

    return _Target(file, dtype.newbyteorder("<"), offsets, shapes, seal)


def _new_fits(
    path: Path,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    header: Mapping[str, Any],
    cards: Sequence[Card],
) -> _Target:
    """Make a FITS file with a plain primary image and the header as an extension."""
    from astropy.io import fits  # half a second that a TIFF need not wait for

    shifted = dtype == np.uint16
    stored = np.dtype(">i2") if shifted else dtype.newbyteorder(">")
    primary = fits.Header(
        [
            ("SIMPLE", True, "conforms to FITS standard"),
            ("BITPIX", fits.DTYPE2BITPIX[dtype.name], "array data type"),
            ("NAXIS", 2, "number of array dimensions"),
            ("NAXIS1", shape[1], "columns"),
            ("NAXIS2", shape[0], "rows"),
            ("EXTEND", True, "the extension holds the whole header as JSON"),
        ]
    )
    if shifted:
        cards = [("BSCALE", 1, ""), ("BZERO", 32768, "unsigned integers"), *cards]
    primary.append(("SOFTWARE", WRITER, ""))
    for key, value, comment in cards:
        _add_card(primary, key, value, comment)
    width = _digits(shape, 1)
    for key in _digest_keys(width):
        primary.append((key, "0" * _CARD_DIGITS, ""), end=True)
    primary.append((FITS_SEAL, _NO_SEAL, ""), end=True)
    head = primary.tostring().encode("ascii")
    text = np.frombuffer(json.dumps(header).encode("ascii"), np.uint8)
    extension = fits.ImageHDU(text, name=FITS_EXTENSION)
    extension.header.comments["EXTNAME"] = "JSON text, one byte a pixel"
    tail = extension.header.tostring().encode("ascii") + text.tobytes()
    start, pixels = len(head), math.prod(shape) * stored.itemsize
    file = path.open("w+b")
    file.write(head)
    file.seek(-(-(start + pixels) // _FITS_BLOCK) * _FITS_BLOCK)
    file.write(tail + bytes(-len(tail) % _FITS_BLOCK))
    card = fits_seal_card(head)

    def put(place: int, key: str, text: str) -> None:
        file.seek(place)
        file.write(fits.Card(key, text).image.encode("ascii"))

    def seal(digests: str) -> str:
        keys = _digest_keys(width)
        for n, key in enumerate(keys):
            part = digests[n * _CARD_DIGITS : (n + 1) * _CARD_DIGITS]
            put(card[0] - (len(keys) - n) * _FITS_CARD, key, part)
        text = seal_of(file, [card, (start, pixels)], file.seek(0, os.SEEK_END))
        put(card[0], FITS_SEAL, text)
        return text

    return _Target(file, stored, [start], [shape], seal, shifted)


def _add_card(
    header: fits.Header, key: str, value: str | int | float | bool, comment: str
) -> None:
    """Append a card that FITS can hold: printable ASCII, finite numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the FITS key {key} cannot hold {value}")
    if isinstance(value, str):
        value = value.encode("ascii", "backslashreplace").decode("ascii")
        value = "".join(c if c.isprintable() else " " for c in value)
    header.append((key, value, comment), end=True)


def _halved(band: NDArray[Any]) -> NDArray[Any]:
    """Return the means over 2 x 2 pixels; an odd last row or column counts twice."""
    rows, columns = band.shape
    if rows % 2 or columns % 2:
        band = np.pad(band, ((0, rows % 2), (0, columns % 2)), mode="edge")
    rows, columns = band.shape[0] // 2, band.shape[1] // 2
    half = np.empty((rows, columns), band.dtype)
    step = CV2_MAX_SIDE // 2
    for x0 in range(0, columns, step):
        part = band[:, 2 * x0 : 2 * (x0 + step)]
        if part.dtype.kind == "i" and part.dtype.itemsize > 2:
            half[:, x0 : x0 + step] = part[::2, ::2]  # labels have no mean
            continue
        half[:, x0 : x0 + step] = cv2.resize(
            part, (part.shape[1] // 2, rows), interpolation=cv2.INTER_AREA
        )
    return half


def _check_space(
    paths: Sequence[Path], shape: tuple[int, int], dtype: np.dtype[Any]
) -> None:
    """Raise before anything is written when the disk is clearly too small."""
    free = free_disk(paths[0].parent)
    # Padding is not stored, so that only a part of this may be needed.
    least = len(paths) * math.prod(shape) * dtype.itemsize // 4
    if least > free:
        raise OutputError(
            f"{paths[0]} needs at least {least / 1e9:.2f} GB on disk, found "
            f"{free / 1e9:.2f} GB free; free some space or choose another output "
            "folder, then run again"
        )
