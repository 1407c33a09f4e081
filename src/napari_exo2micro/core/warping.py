"""The one warp: the original padded pre-stain image onto the post-stain image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.rasters import (
    BAND_ROWS,
    Frame,
    ImageLike,
    bands,
    warp_window,
)
from napari_exo2micro.core.transforms import Transform

__all__ = ["warped_bands"]

_COLUMNS = 2048
_KERNEL = 4
_THREADS = min(4, os.cpu_count() or 1)


def warped_bands(
    image: ImageLike,
    transform: Transform,
    shape: tuple[int, int],
    *,
    frame: Frame | None = None,
    interpolation: str = "cubic",
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the aligned image band by band.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        The original padded pre-stain image.
    transform : Transform
        Post (fixed) to pre (moving), canvas px.
    shape : tuple of int
        Rows and columns of the result.
    frame : tuple of int, optional
        (x0, y0, width, height) of the data in `image`; windows that see none of
        it are not computed.
    interpolation : {'linear', 'cubic', 'lanczos'}
        Resampling kernel.

    Yields
    ------
    first_row, band : int, ndarray of shape (h, columns), dtype of `image`
        `first_row` is a multiple of `rasters.BAND_ROWS`; empty bands are left out.
    """
    x0, y0, width, height = frame or (0, 0, image.shape[1], image.shape[0])
    low = np.array([x0, y0]) - _KERNEL
    high = np.array([x0 + width, y0 + height]) + _KERNEL

    def filled(window: tuple[int, int, int, int]) -> NDArray[Any]:
        return warp_window(image, transform, *window, interpolation)

    with ThreadPoolExecutor(_THREADS) as pool:
        for top, bottom in bands(shape, BAND_ROWS):
            seen = []
            for left in range(0, shape[1], _COLUMNS):
                right = min(left + _COLUMNS, shape[1])
                corners = transform(
                    [(left, top), (right, top), (left, bottom), (right, bottom)]
                )
                outside = (corners.max(axis=0) < low) | (corners.min(axis=0) > high)
                if not outside.any():
                    seen.append((top, bottom, left, right))
            if not seen:
                continue
            band = np.zeros((bottom - top, shape[1]), image.dtype)
            for window, pixels in zip(seen, pool.map(filled, seen), strict=True):
                band[:, window[2] : window[3]] = pixels
            yield top, band
