"""One image of a pair, read a band of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.raw.arrays import array_bands, fingerprint_array
from napari_exo2micro.core.raw.fingerprint import BackgroundFingerprint, RawFingerprint
from napari_exo2micro.core.raw.guard import require_memory
from napari_exo2micro.core.raw.signal import signal_planes
from napari_exo2micro.core.raw.tiff import TiffImage

__all__ = ["RawImage", "array_image", "file_image"]

_MAX_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """One image of a pair, read a band of rows at a time.

    Attributes
    ----------
    path : pathlib.Path or None
        The file; None for an array without one.
    shape : tuple of int
        Rows and columns, px.
    dtype : numpy.dtype
        Of the signal: uint8, uint16, float32 or float64, native byte order.
    """

    path: Path | None
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    _planes: Callable[[], Iterator[tuple[int, NDArray[Any]]]]
    _fingerprint: Callable[[], RawFingerprint]

    def bands(self, max_rows: int = _MAX_ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows from top to bottom.

        Parameters
        ----------
        max_rows : int
            Most rows of a band; fewer when the file is better read so.

        Yields
        ------
        y0 : int
            First row of the band.
        band : numpy.ndarray, shape (rows, columns)
            The signal, contiguous, native byte order; not overwritten later.

        Raises
        ------
        RawDataError
            If the file is damaged, or changes while it is read.
        ValueError
            If `max_rows` is less than 1.
        """
        if max_rows < 1:
            raise ValueError(f"a band needs at least one row, not {max_rows}")
        for y0, plane in self._planes():
            for row in range(0, len(plane), max_rows):
                yield y0 + row, plane[row : row + max_rows]

    def read(self) -> NDArray[Any]:
        """Return the whole image.

        Returns
        -------
        numpy.ndarray, shape (rows, columns)
            The signal, native byte order.

        Raises
        ------
        RawDataError
            If it does not fit in memory, or the file is damaged.
        """
        size = self.shape[0] * self.shape[1] * self.dtype.itemsize
        require_memory(self.path or Path("image"), size, "the whole image")
        out = np.empty(self.shape, self.dtype)
        for y0, band in self.bands():
            out[y0 : y0 + len(band)] = band
        return out

    def fingerprint(self) -> RawFingerprint:
        """Return which bytes this image was made from; waits for them if needed.

        Returns
        -------
        RawFingerprint
            Of the file, or of the array's pixels.

        Raises
        ------
        RawFileNotFoundError
            If the file cannot be read any more.
        """
        return self._fingerprint()


def file_image(
    image: TiffImage,
    samples: tuple[int, ...],
    dtype: np.dtype[Any],
    job: BackgroundFingerprint | None = None,
) -> RawImage:
    """Return the signal of a checked file.

    Parameters
    ----------
    image : TiffImage
        The file.
    samples : tuple of int
        The samples whose sum is the signal.
    dtype : numpy.dtype
        Of the signal; must hold the largest sum.
    job : BackgroundFingerprint, optional
        The fingerprint that is being computed; otherwise it is when asked for.
    """
    return RawImage(
        image.path,
        image.shape,
        dtype,
        lambda: signal_planes(image, samples, dtype),
        job.result if job is not None else lambda: RawFingerprint.of(image.path),
    )


def array_image(array: Any, path: Path | str | None, dtype: np.dtype[Any]) -> RawImage:
    """Return a checked array as an image.

    Parameters
    ----------
    array : array_like, shape (rows, columns)
        The pixels.
    path : pathlib.Path or str or None
        The file they came from: its fingerprint, if it exists, is the image's.
    dtype : numpy.dtype
        Of the signal.
    """
    file = None if path is None else Path(path)
    rows, columns = array.shape

    def fingerprint() -> RawFingerprint:
        if file is not None and file.is_file():
            return RawFingerprint.of(file)
        return fingerprint_array(array)

    return RawImage(
        file,
        (int(rows), int(columns)),
        dtype,
        lambda: array_bands(array, dtype),
        fingerprint,
    )
