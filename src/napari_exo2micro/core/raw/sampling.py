"""Every n-th pixel of a window of a raw file, without reading the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw.blocks import Block, BlockReader
from napari_exo2micro.core.raw.tiff import TiffImage

__all__ = ["Area", "decoded_bytes", "read_samples", "rows_read", "segment_bytes"]

#: First row, end of rows, first column, end of columns, px of the file.
Area = tuple[int, int, int, int]

_BAND_BYTES = 1 << 24
_TOLD_EVERY = 16
_THREADS = min(4, os.cpu_count() or 1)


def read_samples(
    image: TiffImage,
    samples: Sequence[int],
    area: Area,
    step: int = 1,
    monitor: Monitor | None = None,
    *,
    every: int = 1,
) -> NDArray[Any]:
    """Read every `step`-th pixel of every `step`-th row of a window.

    From an uncompressed file only these rows are read; of a compressed one only
    the strips or tiles are decoded that hold them, a few at a time.

    Parameters
    ----------
    image : TiffImage
        The checked file.
    samples : sequence of int
        The wanted samples of a pixel, out of ``image.colour``.
    area : tuple of int
        (y0, y1, x0, x1), rows and columns, the ends not included, not empty.
    step : int
        Distance of the pixels, px; the first one is at (y0, x0).
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.
    every : int
        Of a compressed file decode only each `every`-th band of strips or tiles;
        the rows of the others are 0, see `rows_read`.

    Returns
    -------
    numpy.ndarray, shape (rows, columns, n), dtype ``image.sample_dtype``
        The samples in the order asked for.

    Raises
    ------
    RawDataError
        If the file is damaged; a `RawFileNotFoundError` if it is gone.
    """
    y0, y1, x0, x1 = area
    monitor = monitor or Monitor()
    shape = (-(-(y1 - y0) // step), -(-(x1 - x0) // step), len(samples))
    out = (np.zeros if every > 1 else np.empty)(shape, image.sample_dtype)

    def place(block: Block) -> None:
        first = -(-(block.y0 - y0) // step)
        rows = slice(first * step + y0 - block.y0, None, step)
        for index, sample in enumerate(samples):
            chosen = block.data[rows, ::step, block.samples.index(sample)]
            out[first : first + len(chosen), :, index] = chosen

    def read_all(bands: Sequence[tuple[int, int]], *, tells: bool = True) -> None:
        with BlockReader(image, image.stored(tuple(samples))) as reader:
            if step > 1 or x1 - x0 < image.width:
                reader.expect(range(y0, y1, step), x0, x1)
            for done, (top, bottom) in enumerate(bands):
                monitor.check()
                if tells and done % _TOLD_EVERY == 0:
                    monitor.report(done / len(bands), f"reading {image.path.name}")
                place(reader.read(top, bottom, x0, x1))

    bands = list(_bands(image, area, step))[::every]
    if image.contiguous is not None or image.across > 1:
        read_all(bands)  # several threads decode the tiles of a band
        return out
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = [bands[start::_THREADS] for start in range(_THREADS)]
        jobs = [pool.submit(read_all, part, tells=part is parts[0]) for part in parts]
        for job in jobs:
            job.result()
    return out


def rows_read(image: TiffImage, area: Area, step: int, every: int) -> NDArray[np.bool_]:
    """Return which rows of the result `read_samples` fills.

    Parameters
    ----------
    image, area, step, every
        As `read_samples` takes them.

    Returns
    -------
    numpy.ndarray, shape (rows,), bool
    """
    y0, y1 = area[:2]
    rows = np.zeros(-(-(y1 - y0) // step), bool)
    for top, bottom in list(_bands(image, area, step))[::every]:
        rows[(top - y0) // step : -(-(bottom - y0) // step)] = True
    return rows


def decoded_bytes(image: TiffImage, area: Area, step: int) -> int:
    """Return how many bytes `read_samples` decodes; 0 for an uncompressed file."""
    x0, x1 = area[2:]
    columns = -(-(x1 - x0) // image.segment_columns) + 1
    columns = min(columns, image.across)
    return len(list(_bands(image, area, step))) * columns * segment_bytes(image)


def segment_bytes(image: TiffImage) -> int:
    """Return the decoded bytes of one strip or tile; 0 for an uncompressed file."""
    if image.contiguous is not None:
        return 0
    samples = 1 if image.planar else image.samples
    pixels = image.segment_rows * image.segment_columns
    return pixels * samples * image.dtype.itemsize


def _bands(image: TiffImage, area: Area, step: int) -> Iterator[tuple[int, int]]:
    """Yield the rows to read at once: each span begins and ends with a wanted row."""
    y0, y1, x0, x1 = area
    row_bytes = (x1 - x0) * image.samples * image.dtype.itemsize
    if image.contiguous is not None:
        most = max(1, _BAND_BYTES // row_bytes)
        if step > 1:
            yield from ((row, row + 1) for row in range(y0, y1, step))
            return
        yield from ((top, min(top + most, y1)) for top in range(y0, y1, most))
        return
    high = image.segment_rows
    for top in range(y0 // high * high, y1, high):
        first = y0 + max(0, -(-(top - y0) // step)) * step
        last = y0 + (min(top + high, y1) - 1 - y0) // step * step
        if first <= last:
            yield first, last + 1
