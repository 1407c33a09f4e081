"""Opening images on disk, without reading more than their headers."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.errors import CheckpointError
from napari_exo2micro.core.raster_seal import (
    FITS_SEAL,
    TIFF_SEAL,
    TIFF_SEAL_SIZE,
    fits_seal_card,
    seal_of,
)
from napari_exo2micro.core.rasters import Raster
from napari_exo2micro.core.raw.guard import quiet_tifffile

__all__ = ["FITS_EXTENSION", "WRITER", "open_raster"]

#: Name of the FITS extension that holds the header as JSON text.
FITS_EXTENSION = "PROVENANCE"

#: What the Software tag of a TIFF and the SOFTWARE card of a FITS begin with.
WRITER = "napari-exo2micro"

_CHANGED = "it is damaged, or another program changed it"
_AXES = re.compile(rb"NAXIS   = *\d{1,3} ")


def open_raster(path: Path) -> Raster:
    """Open an image that `write_raster` or the reference system wrote.

    Parameters
    ----------
    path : Path
        A `.tiff` or `.fits` file with one uncompressed 2-D image.

    Returns
    -------
    Raster
        Memory-mapped; its header is empty when the file carries none of ours.

    Raises
    ------
    CheckpointError
        When the file is missing, truncated or no such image.
    """
    try:
        # once: a run may put another file in this place meanwhile
        with quiet_tifffile(path), path.open("rb") as file:
            opened = _open_fits if path.suffix == ".fits" else _open_tiff
            return opened(path, file)
    except CheckpointError:
        raise
    except Exception as error:  # libraries raise all kinds on damaged files
        reason = str(error) or type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read ({reason}); run its stage again"
        ) from error


def _open_tiff(path: Path, file: BufferedReader) -> Raster:
    size = os.fstat(file.fileno()).st_size
    with tifffile.TiffFile(file) as tif:
        pages = [level.keyframe for level in tif.series[0].levels]
        maps = [_map_page(path, file, page, tif.byteorder, size) for page in pages]
        header = _read_json(pages[0].description)
        sealed = _tiff_seal(file, size)
        kind = str(header.get("kind", ""))
        if not (sealed or WRITER in pages[0].software or kind.startswith(WRITER)):
            return Raster(maps, header, path, is_foreign=True)
    # np.memmap has the attribute, its stubs do not
    left_out = [(getattr(level, "offset"), level.nbytes) for level in maps]  # noqa: B009
    _check_seal(path, file, sealed, left_out, size - TIFF_SEAL_SIZE)
    return Raster(maps, header, path)


def _tiff_seal(file: BufferedReader, size: int) -> str:
    """Return the seal at the end of a TIFF; empty when there is none."""
    file.seek(max(size - TIFF_SEAL_SIZE, 0))
    mark = file.read()
    if not mark.startswith(TIFF_SEAL):
        return ""
    return mark.removeprefix(TIFF_SEAL).decode("ascii", "replace")


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
        what = _CHANGED
    if what:
        raise CheckpointError(f"{path} cannot be used: {what}; run its stage again")


def _map_page(
    path: Path, file: BufferedReader, page: Any, byteorder: str, size: int
) -> NDArray[Any]:
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
    return np.memmap(file, dtype, "r", start, page.shape)


def _open_fits(path: Path, file: BufferedReader) -> Raster:
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
        codes = {
            8: "u1",
            16: ">i2",
            32: ">i4",
            64: ">i8",
            -32: ">f4",
            -64: ">f8",
        }
        dtype = np.dtype(codes[header["BITPIX"]])
        bzero = int(header.get("BZERO", 0))
        pixels = (info["datLoc"], math.prod(shape) * dtype.itemsize)
        if min(shape) < 1 or sum(pixels) > size:
            raise CheckpointError(f"{path} is truncated; run its stage again")
        text = ""
        sealed = str(header.get(FITS_SEAL, ""))
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
        data = np.memmap(file, dtype, "r", pixels[0], shape)
    return Raster(
        [data],
        _read_json(text),
        path,
        bzero=bzero,
        is_foreign=not (own or text),
    )


def _check_axes(path: Path, file: BufferedReader, start: int) -> None:
    """Refuse a FITS header of more axes than FITS has: astropy would count them."""
    before = file.tell()
    file.seek(start)
    head = file.read(240)
    file.seek(before)
    if head and not _AXES.match(head, 160):
        raise CheckpointError(f"{path} cannot be used: {_CHANGED}; run its stage again")


def _read_json(text: str) -> dict[str, Any]:
    """Return the header in `text`, or nothing when the text is no JSON object."""
    if not text.startswith("{"):
        return {}
    try:
        stored = json.loads(text)
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}
