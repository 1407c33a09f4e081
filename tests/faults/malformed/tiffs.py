"""TIFF files made byte by byte, so that their headers say what they are told to."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile

__all__ = ["IMAGE", "PIXELS", "Entry", "encoded", "tiff"]

#: Type, number of values, and a value, or the bytes that lie elsewhere.
Entry = tuple[int, int, int | bytes]

SHORT, LONG, RATIONAL, SLONG, DOUBLE, LONG8 = 3, 4, 5, 9, 12, 16

#: The pixels of all files that are sound enough to be used: every 5 rows repeat.
PIXELS = bytes(range(1, 101)) * 4
IMAGE = np.frombuffer(PIXELS, np.uint8).reshape(20, 20)


def tiff(
    tags: Mapping[int, Entry | None] | None = None,
    *,
    big: bool = False,
    order: str = "<",
    pixels: bytes = PIXELS,
    directory: int | None = None,
    following: int | str = 0,
    entries: int | None = None,
    pages: int = 1,
) -> bytes:
    """Return a TIFF of 20 x 20 px whose header may lie.

    Parameters
    ----------
    tags : mapping
        Entries beside, or instead of, those of a sound file; None leaves one out.
    big : bool
        BigTIFF.
    order : {'<', '>'}
        Byte order.
    pixels : bytes
        The one strip.
    directory : int, optional
        Where the header says that the first directory lies.
    following : int or 'itself' or 'the first'
        Where the last directory says that the next one lies.
    entries : int, optional
        How many entries the directories claim to have.
    pages : int
        Directories, all of the same strip.
    """
    head = 16 if big else 8
    every: dict[int, Entry | None] = {
        256: (LONG, 1, 20),
        257: (LONG, 1, 20),
        258: (SHORT, 1, 8),
        259: (SHORT, 1, 1),
        262: (SHORT, 1, 1),
        273: (LONG, 1, head),
        277: (SHORT, 1, 1),
        278: (LONG, 1, 20),
        279: (LONG, 1, len(pixels)),
    } | dict(tags or {})
    body = bytearray(pixels)
    stored: list[tuple[int, int, int, bytes]] = []
    for code, entry in sorted(every.items()):
        if entry is None:
            continue
        kind, count, value = entry
        if isinstance(value, bytes):
            where = head + len(body)
            body += value
            inline = struct.pack(order + ("Q" if big else "I"), where)
        else:
            inline = _inline(kind, value, order, big)
        stored.append((code, kind, count, inline))
    body += bytes(len(body) % 2)
    first = head + len(body)
    one = struct.pack(
        order + ("Q" if big else "H"), len(stored) if entries is None else entries
    )
    for code, kind, count, inline in stored:
        one += struct.pack(order + ("HHQ" if big else "HHI"), code, kind, count)
        one += inline
    size = len(one) + (8 if big else 4)
    for page in range(pages):
        here = first + page * size
        after = here + size
        if page == pages - 1:
            places = {"itself": here, "the first": first}
            after = places.get(str(following), following)  # type: ignore[arg-type]
        body += one + struct.pack(order + ("Q" if big else "I"), after)
    at = first if directory is None else directory
    mark = b"II" if order == "<" else b"MM"
    if big:
        return mark + struct.pack(order + "HHHQ", 43, 8, 0, at) + bytes(body)
    return mark + struct.pack(order + "HI", 42, at) + bytes(body)


def _inline(kind: int, value: int, order: str, big: bool) -> bytes:
    width = 8 if big else 4
    codes = {3: "H", 4: "I", 9: "i", 16: "Q", 12: "d"}
    code = codes.get(kind, "I")
    if struct.calcsize(code) > width:
        code = "I"
    return struct.pack(order + code, value).ljust(width, b"\0")[:width]


def encoded(image: Any = IMAGE, **options: Any) -> bytes:
    """Return the file that tifffile writes."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, **options)
    return stream.getvalue()
