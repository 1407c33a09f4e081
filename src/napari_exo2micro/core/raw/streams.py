"""Images within a TIFF's strips and tiles, which tell a size of their own."""

from __future__ import annotations

import io

__all__ = ["check_stream_size"]

#: Streams may be padded to whole blocks of their codec.
_BLOCK = 16

_JPEG_2000 = b"\xff\x4f\xff\x51"
_JPEG_2000_FILE = b"\x00\x00\x00\x0cjP  "
_PNG = b"\x89PNG\r\n\x1a\n"


def check_stream_size(data: bytes, rows: int, columns: int) -> None:
    """Refuse a stream whose own size is not that of its strip or tile.

    The decoder would allocate what the stream claims.

    Parameters
    ----------
    data : bytes
        A strip or tile that may be JPEG, JPEG 2000 or PNG; others are not looked at.
    rows, columns : int
        Size of a strip or tile, px.

    Raises
    ------
    ValueError
        When the stream claims more.
    """
    kind, size = "", None
    if data[:2] == b"\xff\xd8":
        kind, size = "JPEG", _jpeg_size(data)
    elif data[:4] == _JPEG_2000:
        kind, size = "JPEG 2000", _jpeg_2000_size(data, 0)
    elif data[:8] == _JPEG_2000_FILE:
        kind, size = "JPEG 2000", _jpeg_2000_size(data, data.find(_JPEG_2000))
    elif data[:8] == _PNG:
        kind, size = "PNG", (_number(data[20:24]), _number(data[16:20]))
    if size is not None and (size[0] > rows + _BLOCK or size[1] > columns + _BLOCK):
        raise ValueError(f"a {kind} stream of {size[1]} x {size[0]} px")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return rows and columns; None when no frame header is found."""
    stream = io.BytesIO(data)
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        if 0xC0 <= head[1] <= 0xCF and head[1] not in (0xC4, 0xC8, 0xCC):
            size = stream.read(5)
            return _number(size[1:3]), _number(size[3:5])
        stream.seek(_number(head[2:]) - 2, io.SEEK_CUR)
    return None


def _jpeg_2000_size(data: bytes, start: int) -> tuple[int, int] | None:
    """Return rows and columns of the code stream that begins there."""
    right, bottom, left, top = (
        _number(data[start + at : start + at + 4]) for at in (8, 12, 16, 20)
    )
    return (bottom - top, right - left) if start >= 0 else None
