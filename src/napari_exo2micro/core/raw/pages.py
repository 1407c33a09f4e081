"""Which page of a TIFF file is the image, and what its samples mean."""

from __future__ import annotations

import logging
import math
import re
import struct
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

__all__ = ["check_directory", "choose_page", "colour_table", "read_colours"]

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
