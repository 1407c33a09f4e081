"""The scaled difference of post and aligned pre, window by window."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["NO_DATA", "difference_window", "valid_mask_window"]

NO_DATA = 0.0
"""Value of the difference where either image has no data."""

FIXED_BITS = 4


def valid_mask_window(
    quad: ArrayLike, y0: int, y1: int, x0: int, x1: int
) -> NDArray[np.uint8] | bool:
    """Return where in a window the aligned pre image has data."""
    raise NotImplementedError


def difference_window(
    post: NDArray[np.generic],
    pre: NDArray[np.generic],
    scale: float,
    offset: float = 0.0,
    valid: NDArray[np.uint8] | None = None,
) -> NDArray[np.float32]:
    """Return ``post - offset - scale * pre`` as float32."""
    raise NotImplementedError
