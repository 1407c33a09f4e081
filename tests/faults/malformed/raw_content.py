"""Raw files with damaged pixels, and what is no TIFF, or no file at all."""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile

from malformed.case import Case, Place
from malformed.raw_use import both, each_side, use_pair
from malformed.tiffs import IMAGE, LONG, SHORT, encoded, tiff

__all__ = ["CASES"]

LARGE = np.tile(IMAGE, (8, 8))


def _refused(name: str, content: bytes | Callable[[], bytes], says: str) -> Case:
    return Case("pixels", name, both(content), use_pair, says)


def _used(name: str, image: Any, expected: Any = None) -> Case:
    use = partial(use_pair, expected=image if expected is None else expected)
    return Case("pixels", name, both(encoded(image)), use, "", "used")


def _damaged(compression: str, value: int) -> Callable[[], bytes]:
    """Return what writes a file whose strip is one byte over and over again."""

    def content() -> bytes:
        data = encoded(LARGE, compression=compression, rowsperstrip=160)
        with tifffile.TiffFile(io.BytesIO(data)) as tif:
            page = tif.pages[0]
            at, count = page.dataoffsets[0], page.databytecounts[0]
        return data[:at] + bytes([value]) * count + data[at + count :]

    return content


def _coded(compression: int, strip: bytes, side: int = 20) -> bytes:
    tags = {259: (SHORT, 1, compression)}
    if side != 20:
        tags |= dict.fromkeys((256, 257, 278), (LONG, 1, side))
    return tiff(tags, pixels=strip)


def _bomb(strips: int) -> bytes:
    """Return an image of strips of 16 MB, all of which are the same 16 kB."""
    strip = zlib.compress(bytes(1 << 24), 9)
    lists = {
        code: (LONG, strips, struct.pack("<I", value) * strips)
        for code, value in ((273, 8), (279, len(strip)))
    }
    size = {256: (LONG, 1, 1 << 14), 257: (LONG, 1, strips << 10)}
    more = {259: (SHORT, 1, 8), 278: (LONG, 1, 1 << 10)}
    return tiff(size | more | lists, pixels=strip)


def _jpeg(rows: int, columns: int) -> bytes:
    """Return a JPEG in a strip that claims another size than its strip's."""
    stream = bytearray(cv2.imencode(".jpg", IMAGE)[1].tobytes())
    at = stream.index(b"\xff\xc0") + 5
    stream[at : at + 4] = struct.pack(">HH", rows, columns)
    return _coded(7, bytes(stream))


def _jpeg_2000(side: int) -> bytes:
    """Return JPEG 2000 in a strip, whose stream claims a size of its own."""
    stream = bytearray(imagecodecs.jpeg2k_encode(IMAGE, codecformat="j2k"))
    at = stream.index(b"\xff\x51") + 6
    sizes = struct.pack(">IIIIII", side, side, 0, 0, side, side)
    stream[at : at + 24] = sizes
    return _coded(34712, bytes(stream))


def _png(side: int) -> bytes:
    """Return PNG in a strip, whose stream claims a size of its own."""
    stream = bytearray(cv2.imencode(".png", IMAGE)[1].tobytes())
    stream[16:24] = struct.pack(">II", side, side)
    stream[29:33] = struct.pack(">I", zlib.crc32(stream[12:29]))
    return _coded(34933, bytes(stream))


def _instead(name: str, make_file: Callable[[Path], object], says: str) -> Case:
    return Case("no file", name, each_side(make_file), use_pair, says)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _loop(path: Path) -> None:
    other = path.with_name("other.link")
    other.symlink_to(path)
    path.symlink_to(other)


def _deep(place: Place) -> None:
    """Make a sample folder that holds itself."""
    (place.raw / "Rock").mkdir(parents=True)
    (place.raw / "Rock" / "Rock_Post_DAPI.tif").symlink_to(place.raw / "Rock")
    (place.raw / "Loop").symlink_to(place.raw)


NOT_A_NUMBER = np.where(IMAGE > 50, np.nan, 1.0).astype(np.float32)

CASES = [
    _refused("damaged LZW", _damaged("lzw", 0xFF), "cannot be read"),
    _refused("damaged deflate", _damaged("zlib", 0x55), "cannot be read"),
    _refused("damaged PackBits", _coded(32773, b"\x7f" * 40), "cannot be read"),
    _refused("damaged JPEG", _damaged("jpeg", 0x00), "cannot be read"),
    _refused("damaged JPEG 2000", _damaged("jpeg2000", 0x11), "cannot be read"),
    _refused("damaged Zstandard", _damaged("zstd", 0x33), "cannot be read"),
    _refused("damaged WebP", _coded(50001, b"RIFF" + bytes(60)), "cannot be read"),
    _refused("damaged LZMA", _damaged("lzma", 0x44), "cannot be read"),
    _refused("damaged LERC", _damaged("lerc", 0x66), "cannot be read"),
    _refused("damaged JPEG XL", _damaged("jpegxl", 0x77), "cannot be read"),
    _refused("a fax that is none", _coded(4, bytes(50)), ""),
    _refused("an old-style JPEG without tables", _coded(6, b"\xff\xd8" * 30), ""),
    _refused("an unknown codec", _coded(64999, bytes(400)), "cannot be read"),
    _refused(
        "deflate that holds less", _coded(8, zlib.compress(bytes(9))), "cannot be"
    ),
    _refused("a JPEG of 60000 x 60000 px", lambda: _jpeg(60000, 60000), "JPEG stream"),
    _refused("a JPEG of 0 x 0 px", lambda: _jpeg(0, 0), "cannot be read"),
    _refused("a JPEG 2000 of 60000 x 60000 px", lambda: _jpeg_2000(60000), "JPEG 2000"),
    _refused("a PNG of 60000 x 60000 px", lambda: _png(60000), "PNG stream"),
    _refused("a bomb: 64 GB in 90 kB", lambda: _bomb(4000), "cannot hold"),
    _refused(
        "a bomb: 64 MB in 62 kB",
        lambda: _coded(8, zlib.compress(bytes(8000**2), 6), 8000),
        "every pixel of the signal is 0",
    ),
    _refused(
        "a bomb: 2 GB in one strip",
        lambda: _coded(8, zlib.compress(bytes(1 << 24), 9) * 130, 46000),
        "memory|cannot be read",
    ),
    _used("floats that are no numbers", NOT_A_NUMBER, np.nan_to_num(NOT_A_NUMBER)),
    _refused("infinite floats", encoded(NOT_A_NUMBER * np.inf), "are infinite"),
    _refused("complex numbers", encoded(IMAGE.astype(np.complex64)), "complex64"),
    _used("negative numbers", -IMAGE.astype(np.int16)),
    _refused("nothing but zeros", encoded(IMAGE * 0), "every pixel of the signal"),
    _refused("two pages", encoded(np.stack([IMAGE] * 2)), "choose one with --page"),
    # Other files with the name of a TIFF
    _refused("text", b"Once upon a time there was a microbe.\n" * 99, "not a TIFF"),
    _refused(
        "text that begins like a TIFF", b"II have seen it" * 99, "header is damaged"
    ),
    _refused("a PNG", cv2.imencode(".png", IMAGE)[1].tobytes(), "not a TIFF"),
    _refused("a JPEG", cv2.imencode(".jpg", IMAGE)[1].tobytes(), "not a TIFF"),
    _refused("a zipped TIFF", gzip.compress(encoded()), "not a TIFF"),
    _refused("a web page", b"<!DOCTYPE html><title>404</title>" * 20, "not a TIFF"),
    _refused("zeros", bytes(100_000), "not a TIFF"),
    _refused("0xff bytes", b"\xff" * 100_000, "not a TIFF"),
    # What is no file
    _instead("a folder with the name of a TIFF", Path.mkdir, "no post-stain file"),
    _instead("a pipe", os.mkfifo, "no ordinary file"),
    _instead("a socket", _socket, "no ordinary file"),
    _instead(
        "a device that never ends", lambda p: p.symlink_to("/dev/zero"), "ordinary"
    ),
    _instead("a link to nowhere", lambda p: p.symlink_to("gone"), "target is gone"),
    _instead("links in a ring", _loop, "cannot be opened|target is gone"),
    _instead("a link to a folder", lambda p: p.symlink_to(p.parent), "no post-stain"),
    Case("no file", "folders in a ring", _deep, use_pair, "no file for dye|no post"),
]
