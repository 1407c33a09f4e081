"""Images within a TIFF's strips and tiles, which tell a size of their own."""

from __future__ import annotations

import io
from collections.abc import Callable

__all__ = ["STREAMS", "check_stream_size"]

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
