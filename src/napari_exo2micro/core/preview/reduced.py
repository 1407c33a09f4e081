"""Images at reduced size that know where they lie on the canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.transforms import Transform

__all__ = ["ReducedImage"]


@dataclass(frozen=True, slots=True, eq=False)
class ReducedImage:
    """A reduced image and its place.

    Attributes
    ----------
    values : ndarray, shape (rows, columns), float32
        Grey levels of the full-resolution image, or what else is told.
    to_full : Transform
        From its points (x, y) to full-resolution px of the canvas: a magnification
        of each axis and a shift.
    """

    values: NDArray[np.float32]
    to_full: Transform

    @property
    def step(self) -> tuple[float, float]:
        """Full-resolution px per px along x and y."""
        matrix = self.to_full.matrix
        return float(matrix[0, 0]), float(matrix[1, 1])

    @property
    def origin(self) -> tuple[float, float]:
        """Where the centre of its first pixel lies: (x, y), full-resolution px."""
        x, y = self.to_full(np.zeros((1, 2)))[0]
        return float(x), float(y)

    def with_values(self, values: NDArray[Any]) -> ReducedImage:
        """Return other values at the same place."""
        return ReducedImage(np.asarray(values, np.float32), self.to_full)

    def warped_onto(self, target: ReducedImage, transform: Transform) -> ReducedImage:
        """Return this (moving) image as it lies on another one's grid.

        Parameters
        ----------
        target : ReducedImage
            Of the fixed image.
        transform : Transform
            Fixed to moving, full-resolution px.

        Returns
        -------
        ReducedImage
            As large as `target`; 0 where this image has no data.
        """
        small = self.to_full.inverse() @ transform @ target.to_full
        rows, columns = target.values.shape
        warped = cv2.warpPerspective(
            self.values,
            small.matrix,
            (columns, rows),
            flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
        return target.with_values(warped)
