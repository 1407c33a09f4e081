"""Raw files whose headers are damaged, cut off or lie."""

from __future__ import annotations

import struct
from functools import partial

import numpy as np

from malformed.case import Case
from malformed.raw_use import both, use_pair
from malformed.tiffs import (
    LONG,
    LONG8,
    RATIONAL,
    SHORT,
    SLONG,
    encoded,
    tiff,
)

__all__ = ["CASES"]

MILLION = 1_000_000


def _refused(name: str, content: bytes, says: str, size: int = 0) -> Case:
    return Case("header", name, both(content, size), use_pair, says)


def _used(name: str, content: bytes, size: int = 0) -> Case:
    return Case("header", name, both(content, size), use_pair, "", "used")


def _odd(name: str, content: bytes) -> Case:
    """Return a case that is legal, although nobody writes such a file."""
    use = partial(use_pair, expected=None)
    return Case("header", name, both(content), use, "", "used")


def _square(side: int, kind: int = LONG, **more: object) -> bytes:
    tags = {256: (kind, 1, side), 257: (kind, 1, side), 278: (kind, 1, side)}
    return tiff(tags | more.pop("tags", {}), **more)  # type: ignore[arg-type, operator]


def _values(count: int, code: str = "I", value: int = 8) -> bytes:
    return struct.pack(f"<{count}{code}", *[value] * count)


DAMAGED = "header is damaged"
ENDS_EARLY = "truncated or damaged"
_4_GB = 1 << 32

CASES = [
    # Cut off and wrong from the start
    _refused("no bytes", b"", "no bytes"),
    _refused("one byte", b"I", "not a TIFF"),
    _refused("cut off in the first offset", tiff()[:6], DAMAGED),
    _refused("nothing but the first 8 bytes", tiff()[:8], DAMAGED),
    _refused("cut off in the strip", tiff()[:200], DAMAGED),
    _refused("cut off in the directory", tiff()[:-60], DAMAGED),
    _refused("cut off in the last entry", tiff()[:-8], "damaged|missing|no size"),
    _used("cut off before the last offset", tiff()[:-4]),
    _refused("a wrong magic number", b"II\x63\0" + tiff()[4:], "version 99"),
    _refused("a wrong byte order mark", b"IM" + tiff()[2:], "not a TIFF"),
    _refused("the other byte order", b"MM" + tiff()[2:], DAMAGED),
    _refused("BigTIFF without its 8", tiff(big=True)[:4] + bytes(12), DAMAGED),
    # Directories
    _refused("directory past the end", tiff(directory=1 << 31), DAMAGED),
    _refused("directory at 2^63", tiff(big=True, directory=1 << 63), DAMAGED),
    _refused("directory in the header", tiff(directory=4), ""),
    _refused("no directory", tiff(directory=0), ""),
    _refused("a directory without entries", tiff(entries=0), ""),
    _refused("65535 entries", tiff(entries=65535), "65535 tags"),
    _refused("2^60 entries", tiff(big=True, entries=1 << 60), "tags"),
    _refused("a directory that follows itself", tiff(following="itself"), "4096 pages"),
    _refused(
        "three directories in a ring",
        tiff(pages=3, following="the first"),
        "4096 pages",
    ),
    _used("the next directory past the end", tiff(following=1 << 30)),
    _refused("3000 directories", tiff(pages=3000), "choose one with --page"),
    _used("a subdirectory in the header", tiff({330: (LONG, 1, 0)})),
    _used("a million subdirectories", tiff({330: (LONG, MILLION, bytes(40))})),
    # Entries
    _refused("a width of an unknown type", tiff({256: (99, 1, 20)}), ""),
    _refused("a width that is a fraction", tiff({256: (RATIONAL, 1, bytes(8))}), ""),
    _refused("a width as text", tiff({256: (2, 4, 0x41414141)}), "no size|damaged"),
    _refused("a width of -20", tiff({256: (SLONG, 1, -20)}), "empty"),
    _refused("a width of 2^62", _square(1 << 62, LONG8, big=True), ""),
    _refused("two widths", tiff({256: (LONG, 2, _values(2))}), "no size|damaged"),
    _refused("4 thousand million widths", tiff({256: (LONG, 0xFFFFFFFF, 8)}), "lists"),
    _refused("no width", tiff({256: None}), "empty|no size|damaged"),
    _odd("no bits per sample: 1", tiff({258: None})),
    _refused(
        "a list of strips of 1 GB", tiff({273: (LONG, 1 << 28, 8)}), "lists", 2**31
    ),
    _refused("4 GB of text", tiff({270: (2, _4_GB - 1, 8)}), "lists", 2**33),
    _used("256 MB of private values", tiff({65000: (LONG, 2**26, 8)}), 2**29),
    _used("a colour profile of 256 MB", tiff({34675: (7, 2**28, 8)}), 2**29),
    _refused("an LSM header of 256 MB", tiff({34412: (1, 2**28, 8)}), DAMAGED, 2**29),
    _refused("a damaged LSM header", tiff({34412: (1, 600, bytes(600))}), DAMAGED),
    _used("a damaged MetaMorph header", tiff({33629: (RATIONAL, 9, bytes(90))})),
    _used("geographic keys of nothing", tiff({34735: (SHORT, 4, b"\xff" * 8)})),
    _used("a damaged NDPI header", tiff({65420: (LONG, 1, 1), 65421: (LONG, 1, 1)})),
    # Sizes
    _refused("no columns", tiff({256: (LONG, 1, 0)}), "empty"),
    _refused("no rows", tiff({257: (LONG, 1, 0)}), "empty"),
    _refused("one pixel", _square(1), "too few"),
    _refused("10^6 x 10^6 px", _square(MILLION), ENDS_EARLY),
    _refused("10^6 x 10^6 px, BigTIFF", _square(MILLION, big=True), ENDS_EARLY),
    _refused(
        "10^6 x 10^6 px, deflate",
        _square(MILLION, tags={259: (SHORT, 1, 8)}),
        "cannot hold",
    ),
    _refused(
        "10^6 x 10^6 px, one tile",
        tiff(
            {
                256: (LONG, 1, MILLION),
                257: (LONG, 1, MILLION),
                322: (LONG, 1, MILLION),
                323: (LONG, 1, MILLION),
                324: (LONG, 1, 8),
                325: (LONG, 1, 400),
            }
        ),
        "cannot hold|truncated or damaged",
    ),
    _refused(
        "10^6 x 10^6 px in strips of a row",
        _square(MILLION, tags={278: (LONG, 1, 1), 259: (SHORT, 1, 5)}),
        "need 1000000 strips",
    ),
    _refused("2^31 x 2^31 px", _square(2**31), ENDS_EARLY),
    _refused("(2^32 - 1) x (2^32 - 1) px", _square(2**32 - 1), ENDS_EARLY),
    _refused("10^6 planes", tiff({32997: (LONG, 1, MILLION)}), "volume"),
    # Samples
    *[
        _refused(f"{bits} bits per sample", tiff({258: (SHORT, 1, bits)}), says)
        for bits, says in {
            0: "",
            64: ENDS_EARLY,
            1000: "not supported",
            65535: "not supported",
        }.items()
    ],
    _odd("3 bits per sample", tiff({258: (SHORT, 1, 3)})),
    _odd("7 bits per sample", tiff({258: (SHORT, 1, 7)})),
    _refused(
        "complex numbers", tiff({258: (SHORT, 1, 64), 339: (SHORT, 1, 6)}), "complex"
    ),
    _refused("an unknown sample format", tiff({339: (SHORT, 1, 77)}), "not supported"),
    _refused("no samples", tiff({277: (SHORT, 1, 0)}), "empty"),
    _refused("65535 samples", tiff({277: (SHORT, 1, 65535)}), "65535 samples"),
    _refused("4 samples in the bytes of one", tiff({277: (SHORT, 1, 4)}), ENDS_EARLY),
    _refused("planes of kind 77", tiff({284: (SHORT, 1, 77), 277: (SHORT, 1, 3)}), ""),
    _refused(
        "three planes and one strip",
        tiff({277: (SHORT, 1, 3), 284: (SHORT, 1, 2), 259: (SHORT, 1, 5)}),
        "need 3 strips",
    ),
    _refused("colours of kind 99", tiff({262: (SHORT, 1, 99)}), "not supported"),
    _refused("a palette image without palette", tiff({262: (SHORT, 1, 3)}), DAMAGED),
    _refused(
        "a palette of four numbers",
        tiff({262: (SHORT, 1, 3), 320: (SHORT, 4, bytes(8))}),
        DAMAGED,
    ),
    # Strips and tiles
    _refused("a strip past the end", tiff({273: (LONG, 1, 2**31)}), ENDS_EARLY),
    _refused("a strip at -8", tiff({273: (SLONG, 1, -8)}), ""),
    _refused("a strip at 2^63", tiff({273: (LONG8, 1, 2**63)}, big=True), ENDS_EARLY),
    _refused("a strip at 0", tiff({273: (LONG, 1, 0)}), "in the file's own header"),
    _refused("no offset of the strip", tiff({273: None}), ""),
    _used("a strip that counts no bytes", tiff({279: (LONG, 1, 0)})),
    _used("a strip that counts too few bytes", tiff({279: (LONG, 1, 100)})),
    _refused(
        "a strip of 4 GB", tiff({279: (LONG, 1, _4_GB - 1), 259: (SHORT, 1, 5)}), ""
    ),
    _refused("a strip without rows", tiff({278: (LONG, 1, 0)}), ""),
    _refused(
        "four strips, two offsets",
        tiff({278: (LONG, 1, 5), 273: (LONG, 2, _values(2)), 259: (SHORT, 1, 5)}),
        "need 4 strips",
    ),
    _used(
        "four strips in the same place",
        tiff(
            {
                278: (LONG, 1, 5),
                273: (LONG, 4, _values(4)),
                279: (LONG, 4, _values(4, value=100)),
            }
        ),
    ),
    _refused("tiles without a size", tiff({322: (LONG, 1, 0), 323: (LONG, 1, 0)}), ""),
    _refused(
        "tiles of 10^6 x 10^6 px",
        tiff(
            {
                322: (LONG, 1, MILLION),
                323: (LONG, 1, MILLION),
                324: (LONG, 1, 8),
                325: (LONG, 1, 400),
                259: (SHORT, 1, 8),
            }
        ),
        "cannot hold",
    ),
    # Text in the header
    _used(
        "an OME description that breaks off", encoded(description="<?xml?><OME><Image")
    ),
    _used(
        "an OME description of another size",
        encoded(
            description='<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org'
            '/Schemas/OME/2016-06"><Image><Pixels DimensionOrder="XYCZT" Type="uint8" '
            'SizeX="1000000" SizeY="1000000" SizeZ="9999" SizeC="1" SizeT="1"/></Image>'
            "</OME>",
            metadata=None,
        ),
    ),
    _used(
        "an OME description that unfolds",
        encoded(
            description='<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
            + "".join(
                f'<!ENTITY {b} "{f"&{a};" * 10}">'
                for a, b in zip("abcdefghi", "bcdefghij", strict=True)
            )
            + "]><OME>&j;</OME>",
            metadata=None,
        ),
    ),
    _used("a description a million lists deep", encoded(description="[" * MILLION)),
    _used(
        "a shape a million lists deep",
        encoded(description='{"shape": ' + "[" * MILLION, metadata=None),
    ),
    _used("a description of 3 MB", encoded(description="A" * 3 * MILLION)),
    _used(
        "ImageJ with 10^9 images",
        encoded(description="ImageJ=1.54\nimages=999999999\n", metadata=None),
    ),
    _used(
        "a description that is no text",
        tiff({270: (2, 4000, bytes(range(128, 256)) * 32)}),
    ),
    _used("sound, big-endian", encoded(byteorder=">", bigtiff=True)),
    _refused(
        "numbers of 64 bit as floats that are none",
        tiff(
            {258: (SHORT, 1, 64), 339: (SHORT, 1, 3), 279: (LONG, 1, 3200)},
            pixels=np.full(400, np.nan).tobytes(),
        ),
        "every pixel of the signal is 0",
    ),
]
