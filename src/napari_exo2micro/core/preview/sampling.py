"""Statistics of an aligned pair from windows at full resolution.

Reduced images have less noise than the pixels that stage 4 counts, so their ratios
spread less. Some hundred and fifty windows of the real pixels, evenly laid over the
section, tell the same as all of them to a few parts in ten thousand.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.coverage import mapped_frame, valid_mask_window
from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.pair_statistics import PairStatistics
from napari_exo2micro.core.rasters import Frame, ImageLike, warp_window
from napari_exo2micro.core.statistics import accumulate_statistics
from napari_exo2micro.core.transforms import Transform

__all__ = ["WHOLE_PIXELS", "WINDOW", "sample_statistics"]

#: Frames up to this size are counted as a whole.
WHOLE_PIXELS = 3_000_000
#: Side of a window of larger ones, px: whole blocks of the statistics.
WINDOW = 128

_WINDOWS = 180
_FEWEST = 12
_THREADS = min(4, os.cpu_count() or 1)

#: y0, y1, x0, x1 on the canvas, px.
Window = tuple[int, int, int, int]


def sample_statistics(
    post: ImageLike,
    pre: ImageLike,
    transform: Transform,
    *,
    post_frame: Frame,
    pre_frame: Frame,
    interpolation: str = "cubic",
    monitor: Monitor | None = None,
) -> PairStatistics | None:
    """Count the grey levels of a sample of an aligned pair.

    Parameters
    ----------
    post, pre : ImageLike, shape (rows, columns)
        Padded canvases; `pre` as it was photographed.
    transform : Transform
        Post to pre, full-resolution px; `pre` is warped by it window by window.
    post_frame, pre_frame : tuple of int
        (x0, y0, width, height) of the real data, px.
    interpolation : {'linear', 'cubic', 'lanczos'}
        Kernel of the warp.
    monitor : Monitor, optional
        Asked whether to stop.

    Returns
    -------
    PairStatistics or None
        Of the whole frame when it has at most `WHOLE_PIXELS`, otherwise of windows
        put side by side: its block means do not tell where they lie. None when the
        images hardly overlap.
    """
    monitor = monitor or Monitor()
    quad = mapped_frame(transform, pre_frame)
    x0, y0, width, height = post_frame
    whole = width * height <= WHOLE_PIXELS
    if whole:
        end = y0 + height
        places = [
            (y, min(y + WINDOW, end), x0, x0 + width) for y in range(y0, end, WINDOW)
        ]
    else:
        places = _windows_inside(post_frame, quad)
        if len(places) < _FEWEST:
            return None

    def read(place: Window) -> tuple[NDArray[Any], NDArray[Any]]:
        monitor.check()
        top, bottom, left, right = place
        moved = warp_window(pre, transform, *place, interpolation)
        return np.array(post[top:bottom, left:right]), moved

    monitor.report(0.0, "reading windows at full resolution")
    with ThreadPoolExecutor(_THREADS) as pool:
        fixed, moving = zip(*pool.map(read, places), strict=True)
    monitor.report(0.7, "counting grey levels")
    if whole:
        images, inside = (
            (np.concatenate(fixed), np.concatenate(moving)),
            quad - (x0, y0),
        )
    else:
        images, inside = (_side_by_side(fixed), _side_by_side(moving)), None
    try:
        found = accumulate_statistics(
            *images, pre_quad=inside, monitor=monitor.part(0.7, 1.0)
        )
    except RegistrationError:
        return None
    return found if found.n_both else None


def _windows_inside(frame: Frame, quad: NDArray[np.float64]) -> list[Window]:
    """Return windows on an even grid in which both images have data throughout."""
    x0, y0, width, height = frame
    across = max(1, round(math.sqrt(_WINDOWS * width / height)))
    down = max(1, round(_WINDOWS / across))
    found = []
    for row in range(down):
        top = y0 + round((row + 0.5) * height / down - WINDOW / 2)
        for column in range(across):
            left = x0 + round((column + 0.5) * width / across - WINDOW / 2)
            place = (top, top + WINDOW, left, left + WINDOW)
            if top < y0 or left < x0:
                continue
            mask = valid_mask_window(quad, *place)
            if mask is None or mask.all():
                found.append(place)
    return found


def _side_by_side(windows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return windows as one image, row by row; what is left over is 0: no signal."""
    across = math.isqrt(len(windows))
    down = -(-len(windows) // across)
    image = np.zeros((down * WINDOW, across * WINDOW), windows[0].dtype)
    for number, window in enumerate(windows):
        y, x = (WINDOW * n for n in divmod(number, across))
        image[y : y + WINDOW, x : x + WINDOW] = window
    return image
