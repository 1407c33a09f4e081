"""The seal of an image file: a digest of all of it but its pixels.

A changed bit in a header may move the pixels, or change what they mean, and leave a
file that can be read. The seal shows it without reading the pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import BinaryIO

__all__ = ["FITS_SEAL", "TIFF_SEAL", "TIFF_SEAL_SIZE", "fits_seal_card", "seal_of"]

#: The key of the FITS card that holds the seal.
FITS_SEAL = "HEADSUM"

#: What stands before the seal at the end of a TIFF.
TIFF_SEAL = b"\nexo2micro "

_FITS_CARD = 80
_DIGITS = 64
TIFF_SEAL_SIZE = len(TIFF_SEAL) + _DIGITS
_CHUNK = 1 << 20


def seal_of(file: BinaryIO, left_out: Sequence[tuple[int, int]], end: int) -> str:
    """Return the digest of a file's bytes but for some.

    Parameters
    ----------
    file : file object
        Open for reading.
    left_out : sequence of (int, int)
        Where what is left out begins, and how many bytes it has. These numbers are
        in the digest, too.
    end : int
        Where the sealed part of the file ends.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ValueError
        When parts lie over each other or outside of the file.
    """
    found = hashlib.sha256(repr([*left_out, end]).encode())
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
            found.update(chunk)
            left -= len(chunk)
        at = start + size
    return found.hexdigest()


def fits_seal_card(head: bytes) -> tuple[int, int]:
    """Return where in a FITS header the card of the seal begins, and its bytes.

    Parameters
    ----------
    head : bytes
        The file up to its pixels.

    Raises
    ------
    ValueError
        When there is no such card.
    """
    key = f"{FITS_SEAL:8}= ".encode()
    for start in range(0, len(head), _FITS_CARD):  # texts may hold the key, too
        if head.startswith(key, start):
            return start, _FITS_CARD
    raise ValueError("it has no seal")
