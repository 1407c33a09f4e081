"""Images that a loader of one's own hands over as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import RawDataError
from napari_exo2micro.core.raw.fingerprint import RawFingerprint
from napari_exo2micro.core.raw.tiff import MIN_SIDE

__all__ = ["array_bands", "check_array", "fingerprint_array"]

_BAND_ROWS = 512


def array_bands(
    array: Any, dtype: np.dtype[Any] | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield all rows of anything that can be sliced, from top to bottom.

    Parameters
    ----------
    array : array_like, shape (rows, columns)
        An array, a memory map, or any object with ``shape`` and slicing.
    dtype : numpy.dtype, optional
        Of the bands; that of the array, native byte order, by default.

    Yields
    ------
    y0 : int
        First row.
    band : numpy.ndarray, shape (rows, columns)
        Contiguous.
    """
    for y0 in range(0, array.shape[0], _BAND_ROWS):
        band = np.asarray(array[y0 : y0 + _BAND_ROWS])
        wanted = band.dtype.newbyteorder("=") if dtype is None else dtype
        yield y0, np.ascontiguousarray(band, wanted)


def check_array(array: Any, name: str) -> tuple[Any, int]:
    """Refuse an array that cannot be an image of a pair.

    Parameters
    ----------
    array : array_like
        What the loader gave.
    name : str
        Loader and side, for messages.

    Returns
    -------
    array : array_like, shape (rows, columns)
        The same, or an array made from a list.
    largest : int
        Its largest value; 0 for floats.

    Raises
    ------
    RawDataError
        If it is not 2-D, too small, not a number type of the pipeline, all
        zero, or holds NaN, infinite or negative integer pixels.
    """
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        try:
            array = np.asarray(array)
        except (TypeError, ValueError) as error:
            raise RawDataError(
                f"{name}: a 2-D array is wanted, found {type(array).__name__}; "
                "return arrays from the loader"
            ) from error
    if len(array.shape) != 2:
        raise RawDataError(
            f"{name}: a 2-D array is wanted, found shape {tuple(array.shape)}; choose "
            "one channel or sum them in the loader"
        )
    rows, columns = array.shape
    if rows < MIN_SIDE or columns < MIN_SIDE:
        raise RawDataError(
            f"{name}: {columns} x {rows} px are too few to align; at least "
            f"{MIN_SIDE} x {MIN_SIDE} px are needed"
        )
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise RawDataError(
            f"{name}: pixels of type {dtype} are not supported; return unsigned "
            "integers or floats from the loader"
        )
    largest = bad = 0
    lit = False
    for _, band in array_bands(array):
        lit = lit or bool(band.any())
        if dtype.kind == "f":
            bad += int((~np.isfinite(band)).sum())
        else:
            largest = max(largest, int(band.max()))
            bad += int((band < 0).sum()) if dtype.kind == "i" else 0
    if bad:
        kind = "NaN or infinite" if dtype.kind == "f" else "negative"
        raise RawDataError(
            f"{name}: {bad} of its {rows * columns} pixels are {kind}; return an "
            "image without them"
        )
    if not lit:
        raise RawDataError(f"{name}: every pixel is 0; return the image's data")
    return array, largest


def fingerprint_array(array: Any) -> RawFingerprint:
    """Return the fingerprint of an array's shape, type and pixels.

    Parameters
    ----------
    array : array_like, shape (rows, columns)
        The image.
    """
    kind = np.dtype(array.dtype).newbyteorder("=")
    digest = hashlib.sha256(f"{tuple(array.shape)} {kind.name}".encode())
    size = 0
    for _, band in array_bands(array):
        digest.update(band.data)
        size += band.nbytes
    return RawFingerprint(size, 0, digest.hexdigest())
