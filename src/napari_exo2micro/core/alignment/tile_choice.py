"""Where to lay the tiles: the strongest texture of each part of a section."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.monitor import Monitor

__all__ = ["choose_tiles"]

#: Tiles nearer than this part of their side say the same thing twice.
_SPACING = 0.65
_MIN_COUNT = 40
#: Less texture than this part of the strong one is bare glass.
_WEAKEST = 0.05


def choose_tiles(
    texture: NDArray[np.float32],
    valid: NDArray[np.bool_],
    *,
    factor: float,
    core: int,
    count: int = 320,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Choose the places of the tiles: the strongest texture of each grid cell.

    Parameters
    ----------
    texture : ndarray, shape (rows, cols), float32
        The reduced pre-stain image (where there are no microbes), stretched
        and warped onto the post-stain image.
    valid : ndarray of bool, shape (rows, cols)
        Where both images have data.
    factor : float
        Full-resolution px per px of `texture`.
    core : int
        Side of a tile, full-resolution px.
    count : int
        Number of grid cells over the valid area, fewer where tiles would
        overlap by much; at most so many tiles.
    monitor : Monitor, optional
        Asked whether to stop, at each row of the grid and on the way to it.

    Returns
    -------
    ndarray, shape (N, 2), float64
        Centres (x, y), whole full-resolution px, in the order of the grid.
    """
    monitor = monitor or Monitor()
    monitor.check()
    side = max(3, round(core / factor) | 1)
    gx = cv2.Sobel(texture, cv2.CV_32F, 1, 0, scale=0.125)
    gy = cv2.Sobel(texture, cv2.CV_32F, 0, 1, scale=0.125)
    box = (side, side)
    xx, yy, xy = (cv2.boxFilter(p, -1, box) for p in (gx * gx, gy * gy, gx * gy))
    monitor.check()
    # The smaller eigenvalue: texture that fixes both directions, not an edge.
    weak = 0.5 * (xx + yy) - np.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
    monitor.check()
    room = cv2.boxFilter(valid.astype(np.float32), -1, box, borderType=0)
    usable = room > 0.75
    if not usable.any():
        return np.empty((0, 2))
    monitor.check()
    # A section may fill a small part of the frame: leave the bare glass alone.
    usable &= weak >= _WEAKEST * max(float(np.percentile(weak[usable], 95)), 1e-30)
    if not usable.any():
        return np.empty((0, 2))
    room_for = np.count_nonzero(usable) * (factor / (_SPACING * core)) ** 2
    count = round(min(count, max(room_for, _MIN_COUNT)))
    monitor.check()
    score = np.where(usable, np.maximum(weak, 0.0), -1.0)
    cell = max(float(np.sqrt(np.count_nonzero(usable) / count)), 1.0)
    rows, cols = np.nonzero(usable)
    top, left = int(rows.min()), int(cols.min())
    height, width = int(rows.max()) + 1 - top, int(cols.max()) + 1 - left
    picked: list[tuple[int, int]] = []
    n_rows, n_cols = max(1, round(height / cell)), max(1, round(width / cell))
    row_edges = top + np.round(np.linspace(0, height, n_rows + 1)).astype(int)
    col_edges = left + np.round(np.linspace(0, width, n_cols + 1)).astype(int)
    for y0, y1 in pairwise(row_edges):
        monitor.check()
        for x0, x1 in pairwise(col_edges):
            part = score[y0:y1, x0:x1]
            if part.size == 0:
                continue
            y, x = np.unravel_index(int(np.argmax(part)), part.shape)
            if part[y, x] > 0.0:
                picked.append((x0 + int(x), y0 + int(y)))
    if not picked:
        return np.empty((0, 2))
    centres: FloatArray = np.rint((np.array(picked) + 0.5) * factor - 0.5)
    return centres
