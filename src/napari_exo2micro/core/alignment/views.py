"""Views: what the camera saw, at a size that stage 2 can afford to look at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.rasters import Frame, ImageLike, bands, reduce_image
from napari_exo2micro.core.transforms import Transform

__all__ = ["Frame", "View", "between", "find_frame", "open_view"]


#: A frame with a shorter side than this holds nothing that could be compared.
SMALLEST_SIDE = 16


@dataclass(frozen=True, slots=True)
class View:
    """One image, cut to its frame and reduced by area averaging.

    Attributes
    ----------
    image : ndarray, shape (rows, columns), float32
        Brightness; 0 where nothing is known.
    valid : ndarray, shape (rows, columns), bool
        Where the camera saw something.
    to_full : Transform
        From points of this view to full-resolution px of the canvas.
    """

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    to_full: Transform

    @property
    def factor(self) -> float:
        """Full-resolution px per px of this view."""
        return float(math.sqrt(abs(np.linalg.det(self.to_full.matrix[:2, :2]))))

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle (x, y) of the view, full-resolution px, shape (2,)."""
        rows, columns = self.image.shape
        middle = np.array([[(columns - 1) / 2, (rows - 1) / 2]])
        return self.to_full(middle).reshape(2)

    def reduced(self, max_side: int) -> View:
        """Return this view with its longer side at most `max_side` px."""
        rows, columns = self.image.shape
        ratio = max(rows, columns) / max_side
        if ratio <= 1.0:
            return self
        size = (max(1, round(columns / ratio)), max(1, round(rows / ratio)))
        weight = cv2.resize(
            self.valid.astype(np.float32), size, interpolation=cv2.INTER_AREA
        )
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        valid = weight > 0.5
        # Pixels that are only partly inside the frame keep the brightness of
        # the part that was seen.
        image = np.where(valid, image / np.maximum(weight, 0.5), 0.0)
        fx, fy = columns / size[0], rows / size[1]
        into = np.array([[fx, 0, 0.5 * fx - 0.5], [0, fy, 0.5 * fy - 0.5], [0, 0, 1]])
        return View(image.astype(np.float32), valid, self.to_full @ Transform(into))


def between(post: View, pre: View, transform: Transform) -> Transform:
    """Return a full-resolution transform as one between points of two views."""
    return pre.to_full.inverse() @ transform @ post.to_full


def find_frame(image: ImageLike) -> Frame:
    """Return the bounding box of what is not zero.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        A padded canvas: zero outside the frame.

    Returns
    -------
    tuple of int
        (x0, y0, width, height) in px.

    Raises
    ------
    RegistrationError
        If the whole image is zero.
    """
    rows, columns = image.shape
    hit_rows = np.zeros(rows, bool)
    hit_columns = np.zeros(columns, bool)
    for y0, y1 in bands(image.shape, 512):
        seen = np.asarray(image[y0:y1, :]) != 0
        hit_rows[y0:y1] = seen.any(axis=1)
        hit_columns |= seen.any(axis=0)
    y, x = np.flatnonzero(hit_rows), np.flatnonzero(hit_columns)
    if not len(y):
        raise RegistrationError(
            "registration needs two images with a section; one of them is zero "
            "everywhere; check the raw file and its signal channel"
        )
    return int(x[0]), int(y[0]), int(x[-1] - x[0] + 1), int(y[-1] - y[0] + 1)


def open_view(
    image: ImageLike, frame: Frame | None, max_side: int, *, name: str
) -> View:
    """Return the part of an image that the camera saw, at a bounded size.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        A padded canvas, any real dtype.
    frame : tuple of int or None
        (x0, y0, width, height) of the real data, px; None: bounding box of
        what is not zero.
    max_side : int
        The longer side of the result is about this at most.
    name : {'post', 'pre'}
        For messages.

    Returns
    -------
    View
        Points of it and full-resolution points p are related by the rule of
        area averaging, ``p = (small + 0.5) * factor - 0.5`` plus the origin.

    Raises
    ------
    RegistrationError
        If the frame lies outside the image, is too small, or holds one value.
    """
    if len(image.shape) != 2:
        raise RegistrationError(
            f"registration needs 2-D images; the {name}-stain image has the shape "
            f"{tuple(image.shape)}; choose one channel"
        )
    if min(image.shape) < SMALLEST_SIDE:
        raise RegistrationError(_too_small(name, image.shape[1], image.shape[0]))
    if frame is None:
        frame = find_frame(image)
    x0, y0, width, height = frame
    beyond = x0 + width > image.shape[1] or y0 + height > image.shape[0]
    if beyond or x0 < 0 or y0 < 0:
        raise RegistrationError(
            f"the {name}-stain frame {tuple(frame)} does not lie inside its image of "
            f"{image.shape[1]} x {image.shape[0]} px; give x0, y0, width, height"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise RegistrationError(_too_small(name, width, height))
    factor = max(1, math.ceil(max(width, height) / max_side))
    if factor >= 8:
        # A multiple of 4 lets the levels of an image on disk be used.
        factor = -(-factor // 4) * 4
    small, factor = reduce_image(image, factor=factor)
    # Only blocks that lie inside the frame as a whole are means of real data.
    left, top = -(-x0 // factor), -(-y0 // factor)
    right, bottom = (x0 + width) // factor, (y0 + height) // factor
    crop = small[top:bottom, left:right]
    valid = np.isfinite(crop)
    seen = crop[valid]
    if not seen.size or not float(seen.max()) > float(seen.min()):
        raise RegistrationError(
            f"registration needs an image with a section; the {name}-stain image "
            f"has the same value everywhere inside its frame of {width} x {height} "
            "px; check the raw file and its signal channel"
        )
    shift = 0.5 * factor - 0.5
    to_full = Transform(
        np.array(
            [
                [factor, 0, left * factor + shift],
                [0, factor, top * factor + shift],
                [0, 0, 1.0],
            ]
        )
    )
    return View(np.where(valid, crop, np.float32(0.0)), valid, to_full)


def _too_small(name: str, width: int, height: int) -> str:
    return (
        f"registration needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE} px; the "
        f"{name}-stain image has {width} x {height} px; check the raw file"
    )
