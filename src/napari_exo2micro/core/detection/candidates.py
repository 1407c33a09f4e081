"""Candidates: the peaks of the S/N map."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# The neighbours of a pixel that come before it, row by row.
_BEFORE = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], np.uint8)


def find_peaks(
    snr: NDArray[np.float32],
    threshold: float,
    origin: tuple[int, int] = (0, 0),
    halo: int | tuple[int, int, int, int] = 1,
) -> NDArray[Any]:
    """Return the local maxima of a window of the S/N map.

    Parameters
    ----------
    snr : ndarray, shape (rows, columns), float32
        S/N of the window and of its halo.
    threshold : float
        Lower ones are left out.
    origin : tuple of int
        x and y of the first pixel of `snr` on the canvas, px.
    halo : int or tuple of int
        How many pixels around the window are only neighbours: on all sides, or above,
        below, left and right of it. 1 or more wherever the canvas goes on; 0 at its
        edges.

    Returns
    -------
    ndarray, shape (N,), fields x, y (int64, canvas px) and snr (float32)
        Sorted by y, then x. A pixel counts that is not below any of its eight
        neighbours; of equal ones, the last by y, then x. The same whatever the windows.

    Examples
    --------
    >>> snr = np.zeros((5, 5), np.float32)
    >>> snr[2, 2:4] = 7
    >>> find_peaks(snr, 5, halo=0).tolist()
    [(3, 2, 7.0)]
    """
    snr = np.nan_to_num(np.asarray(snr, np.float32), nan=-np.inf, posinf=np.inf)
    before = cv2.dilate(snr, _BEFORE)
    after = cv2.dilate(snr, _BEFORE[::-1, ::-1].copy())
    is_peak = (snr >= threshold) & (snr >= before) & (snr > after)
    top, bottom, left, right = halo if isinstance(halo, tuple) else (halo,) * 4
    rows, columns = snr.shape
    y, x = np.nonzero(is_peak[top : rows - bottom, left : columns - right])
    peaks = np.empty(len(x), [("x", np.int64), ("y", np.int64), ("snr", np.float32)])
    peaks["x"], peaks["y"] = x + left + origin[0], y + top + origin[1]
    peaks["snr"] = snr[y + top, x + left]
    return peaks
