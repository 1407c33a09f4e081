"""Where on the canvas the aligned pre image has data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.rasters import Frame
from napari_exo2micro.core.transforms import Transform

__all__ = ["mapped_frame", "valid_mask_window", "valid_spans"]


COLUMN_LIMIT = 2**31 - 1


def mapped_frame(
    transform: Transform, pre_frame: Frame, *, margin: float = 1.0
) -> NDArray[np.float64]:
    """Return the corners of the pre image's data, seen from the post image.

    Parameters
    ----------
    transform : Transform
        Post (fixed) to pre (moving), the one that `pre` is warped with.
    pre_frame : tuple of int
        (x0, y0, width, height) of the real data on the pre canvas, px.
    margin : float
        How far inside the outermost pixel centres to stay, px of the pre image.
        A cubic kernel mixes in what lies one pixel outside.

    Returns
    -------
    ndarray, shape (4, 2), float64
        Corners (x, y) on the post canvas in px, in order around the frame. An
        empty frame gives four equal corners.
    """
    x0, y0, width, height = pre_frame
    left, top = x0 + margin, y0 + margin
    right, bottom = x0 + width - 1 - margin, y0 + height - 1 - margin
    if right < left or bottom < top:
        return np.zeros((4, 2))
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return transform.inverse()(corners)


def valid_spans(
    quad: ArrayLike, y0: int, y1: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, row by row, the columns that lie inside a convex quadrilateral.

    Parameters
    ----------
    quad : array_like, shape (4, 2)
        Corners (x, y) in px, in order around it, either way round.
    y0, y1 : int
        Rows, `y1` excluded.

    Returns
    -------
    first, end : ndarray, shape (y1 - y0,), int64
        Pixels whose centre lies inside or on the edge are ``first <= x < end``;
        ``end <= first`` means that the row has none.

    Raises
    ------
    RegistrationError
        If the quadrilateral has not four finite corners.
    """
    corners = np.asarray(quad, dtype=np.float64)
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise RegistrationError(
            "the outline of the aligned pre image needs four finite corners, found "
            f"an array of shape {corners.shape}; check the transform"
        )
    rows = np.arange(y0, y1, dtype=np.float64)
    following = np.roll(corners, -1, axis=0)
    area = np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1])
    if area == 0.0:
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    if area < 0:
        corners, following = following, corners
    low = np.full(len(rows), -np.inf)
    high = np.full(len(rows), np.inf)
    for (ax, ay), (bx, by) in zip(corners, following, strict=True):
        # Inside is where (b - a) x (p - a) >= 0, linear in x along a row.
        slope = by - ay
        constant = (bx - ax) * (rows - ay) + slope * ax
        if slope > 0:
            high = np.minimum(high, constant / slope)
        elif slope < 0:
            low = np.maximum(low, constant / slope)
        else:
            high = np.where(constant < 0, -np.inf, high)
    first = np.ceil(np.clip(low, 0, COLUMN_LIMIT)).astype(np.int64)
    end = np.floor(np.clip(high, -1, COLUMN_LIMIT)).astype(np.int64) + 1
    return first, np.maximum(end, first)


def valid_mask_window(
    quad: ArrayLike, y0: int, y1: int, x0: int, x1: int
) -> NDArray[np.uint8] | None:
    """Return where in a window the aligned pre image has data.

    Parameters
    ----------
    quad : array_like, shape (4, 2)
        Corners of the pre image's data on the post canvas, (x, y) in px; see
        `mapped_frame`.
    y0, y1, x0, x1 : int
        The window, ends excluded.

    Returns
    -------
    ndarray, shape (y1 - y0, x1 - x0), uint8, or None
        1 where pre has data, 0 elsewhere; None when it has data everywhere.
    """
    first, end = valid_spans(quad, y0, y1)
    return spans_to_mask(first, end, x0, x1)


def spans_to_mask(
    first: NDArray[np.int64], end: NDArray[np.int64], x0: int, x1: int
) -> NDArray[np.uint8] | None:
    """Return row spans as a mask of the columns `x0`..`x1`, None if all inside."""
    if len(first) and first.max() <= x0 and end.min() >= x1:
        return None
    mask = np.zeros((len(first), max(x1 - x0, 0)), np.uint8)
    if not len(first) or end.max() <= x0 or first.min() >= x1:
        return mask
    starts = np.clip(first - x0, 0, x1 - x0).tolist()
    ends = np.clip(end - x0, 0, x1 - x0).tolist()
    for row, start, stop in zip(mask, starts, ends, strict=True):
        row[start:stop] = 1
    return mask
