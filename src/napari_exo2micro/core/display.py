"""How an image is shown: brightness from its smallest level, and colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.lazy_images import LazyImage

__all__ = ["DIFFERENCE_STOPS", "brightness_range", "symmetric_range"]

#: Colours of a difference from the lowest to the highest value, black at zero.
DIFFERENCE_STOPS = (
    (0.0, "#c8ecff"),
    (0.2, "#3fa7e8"),
    (0.36, "#1b4f9c"),
    (0.5, "#000000"),
    (0.64, "#a33a06"),
    (0.8, "#f39b1d"),
    (1.0, "#fff3b0"),
)

_SIDE = 2048
_BRIGHTEST = 99.8


def _sample(levels: Sequence[LazyImage]) -> NDArray[np.float64]:
    """Return the finite values of the finest level that is read at once."""
    small = next((one for one in levels if max(one.shape) <= _SIDE), levels[-1])
    values = np.asarray(small, dtype=np.float64).ravel()
    return values[np.isfinite(values)]


def brightness_range(levels: Sequence[LazyImage]) -> tuple[float, float]:
    """Return the grey levels to show as black and as full brightness.

    Parameters
    ----------
    levels : sequence of LazyImage
        The image, full resolution first; one level of at most 2048 px is read.

    Returns
    -------
    low, high : float
        0, and what 99.8 % of the pixels above 0 stay below; for an image with
        negative values the lowest instead of 0. `high` is above `low`.
    """
    values = _sample(levels)
    if not len(values):
        return 0.0, 1.0
    low = min(float(values.min()), 0.0)
    lit = values[values > 0]
    high = float(np.percentile(lit, _BRIGHTEST)) if len(lit) else low + 1.0
    return low, max(high, low + 1e-6)


def symmetric_range(levels: Sequence[LazyImage]) -> tuple[float, float]:
    """Return the range of a difference image, centred on zero.

    Parameters
    ----------
    levels : sequence of LazyImage
        The image, full resolution first; one level of at most 2048 px is read.

    Returns
    -------
    low, high : float
        ``-high`` and what 99.8 % of the values that are not 0 stay within.
    """
    values = np.abs(_sample(levels))
    lit = values[values > 0]
    high = float(np.percentile(lit, _BRIGHTEST)) if len(lit) else 1.0
    return -high, high
