"""From the samples of a pair of files to one plane of signal for each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import RawDataError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw.blocks import BlockReader
from napari_exo2micro.core.raw.tiff import TiffImage

__all__ = ["Measured", "choose_dtype", "largest_sum", "measure", "signal_planes"]

_FLOAT32_EXACT = 1 << 24


@dataclass(frozen=True, slots=True)
class Measured:
    """What one pass over all pixels of a file found.

    Attributes
    ----------
    means : tuple of float
        Of each colour sample, exact for 8 and 16 bits.
    lit : tuple of bool
        Whether each colour sample is non-zero anywhere.
    largest : int
        Upper bound of all colour samples; 0 for floats.
    """

    means: tuple[float, ...]
    lit: tuple[bool, ...]
    largest: int


def measure(image: TiffImage, monitor: Monitor | None = None) -> Measured:
    """Read all pixels once, and refuse those that nothing can be done with.

    Parameters
    ----------
    image : TiffImage
        The checked file.
    monitor : Monitor, optional
        Told the progress.

    Returns
    -------
    Measured
        Of each colour sample, in the order of ``image.colour``.

    Raises
    ------
    RawDataError
        If the file is damaged, or holds NaN, infinite or negative integer pixels.
    """
    dtype, samples, count = image.sample_dtype, image.colour, len(image.colour)
    totals: list[float] = [0] * count
    lit = [False] * count
    largest = bad = 0
    with BlockReader(image, image.stored_colour) as reader:
        for block in reader.blocks():
            sums = block.sums(samples)
            for index, (sample, total) in enumerate(zip(samples, sums, strict=True)):
                totals[index] += total if dtype.kind == "f" else int(total)
                if not lit[index]:
                    lit[index] = total != 0 or bool(block.plane(sample).any())
                if dtype.kind == "f" and not math.isfinite(total):
                    bad += int((~np.isfinite(block.plane(sample))).sum())
                elif dtype.kind == "i":
                    bad += int((block.plane(sample) < 0).sum())
            if dtype.kind != "f" and (count > 1 or dtype.itemsize > 2):
                largest = max(largest, int(block.data.max()))
            if monitor is not None:
                done = (block.y0 + len(block.data)) / image.height
                monitor.report(done, f"reading {image.path.name}")
    pixels = image.height * image.width
    if bad:
        kind = "NaN or infinite" if dtype.kind == "f" else "negative"
        found = f"{bad} of its {pixels * count} {'pixels' if count == 1 else 'samples'}"
        raise RawDataError(
            f"{image.path}: {found} are {kind}; export it without them, for example "
            "with 0 instead"
        )
    return Measured(tuple(total / pixels for total in totals), tuple(lit), largest)


def largest_sum(image: TiffImage, samples: tuple[int, ...], most: int) -> int:
    """Return the largest sum of some samples, as far as `choose_dtype` needs it.

    Parameters
    ----------
    image : TiffImage
        The checked file, with integer samples.
    samples : tuple of int
        Which samples are summed.
    most : int
        Upper bound of all of them: spares the pass when it settles the matter.

    Returns
    -------
    int
        The largest sum, or a number that asks for the same pixel type.
    """
    limit = 0xFF if image.sample_dtype.itemsize == 1 else 0xFFFF
    if most * len(samples) <= limit:
        return most * len(samples)
    largest = 0
    wide = np.dtype(np.uint16 if image.sample_dtype.itemsize == 1 else np.uint64)
    with BlockReader(image, image.stored(samples)) as reader:
        for block in reader.blocks():
            total = block.plane(samples[0]).astype(wide)
            for sample in samples[1:]:
                np.add(total, block.plane(sample), out=total, casting="unsafe")
            largest = max(largest, int(total.max()))
            # the next type holds any sum of 8 or 16 bits
            if largest > limit and image.sample_dtype.itemsize <= 2:
                break
    return largest


def choose_dtype(stored: np.dtype[Any], largest: int) -> np.dtype[Any]:
    """Return the smallest pixel type of the pipeline that holds all values.

    Parameters
    ----------
    stored : numpy.dtype
        Of the samples in the file.
    largest : int
        Largest value or sum of both images; not looked at for floats.

    Returns
    -------
    numpy.dtype
        uint8, uint16, float32 (exact up to 2**24) or float64.
    """
    if stored.kind == "f":
        return np.dtype(np.float64 if stored.itemsize == 8 else np.float32)
    if stored.itemsize == 1 and largest <= 0xFF:
        return np.dtype(np.uint8)
    if largest <= 0xFFFF:
        return np.dtype(np.uint16)
    return np.dtype(np.float32 if largest <= _FLOAT32_EXACT else np.float64)


def signal_planes(
    image: TiffImage, samples: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the signal of all rows from top to bottom.

    Parameters
    ----------
    image : TiffImage
        The checked file.
    samples : tuple of int
        The samples whose sum is the signal.
    dtype : numpy.dtype
        Of the signal; must hold the largest sum.

    Yields
    ------
    y0 : int
        First row.
    plane : numpy.ndarray, shape (rows, columns), `dtype`
        Contiguous, and not overwritten later.
    """
    with BlockReader(image, image.stored(samples)) as reader:
        for block in reader.blocks():
            plane = block.plane(samples[0]).astype(dtype, copy=False)
            for sample in samples[1:]:
                # the addends may be narrower than the sum, never wider
                np.add(plane, block.plane(sample), out=plane, casting="unsafe")
            yield block.y0, plane
