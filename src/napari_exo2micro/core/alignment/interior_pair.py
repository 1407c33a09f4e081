"""The two images of an interior alignment, with their reduced versions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.rasters import Frame, ImageLike, Raster, bands, reduce_image
from napari_exo2micro.core.transforms import Transform

__all__ = ["Frame", "InteriorPair", "non_zero_frame", "prepare_pair", "work_factor"]


#: Longest side of the images that features are sought in.
_WORK_SIDE = 2400
#: Sections smaller than this are not reduced.
_SMALL_SIDE = 1200
#: Width of the section for which the blur parameter is stated.
_BLUR_WIDTH = 30000.0


def non_zero_frame(image: ImageLike, monitor: Monitor | None = None) -> Frame:
    """Return the bounding box of the pixels that are not zero.

    Parameters
    ----------
    image : ImageLike, shape (rows, cols)
        A padded canvas.
    monitor : Monitor, optional
        Asked whether to stop before each band that is read.

    Returns
    -------
    tuple of int
        x0, y0, width, height, px.

    Raises
    ------
    RegistrationError
        If all pixels are zero.
    """
    columns = np.zeros(image.shape[1], bool)
    rows = np.zeros(image.shape[0], bool)
    monitor = monitor or Monitor()
    for y0, y1 in bands(image.shape):
        monitor.check()
        band = np.asarray(image[y0:y1, 0 : image.shape[1]]) != 0
        rows[y0:y1] = band.any(axis=1)
        columns |= band.any(axis=0)
    if not rows.any():
        raise RegistrationError(
            "an image to align has no pixel above zero; check the raw file"
        )
    y, x = np.flatnonzero(rows), np.flatnonzero(columns)
    return int(x[0]), int(y[0]), int(x[-1] - x[0] + 1), int(y[-1] - y[0] + 1)


@dataclass(frozen=True, slots=True)
class InteriorPair:
    """Both images at full resolution and at work resolution.

    Attributes
    ----------
    post_im, pre_im : ImageLike
        Padded canvases.
    post_frame, pre_frame : tuple of int
        Where they have data.
    factor : int
        Full-resolution px per work px.
    post_small, pre_small : ndarray, float32
        The frames at work resolution, each cut to its own frame.
    post_to_small, pre_to_small : Transform
        From canvas px to px of the small images.
    """

    post_im: ImageLike
    pre_im: ImageLike
    post_frame: Frame
    pre_frame: Frame
    factor: int
    post_small: NDArray[np.float32]
    pre_small: NDArray[np.float32]
    post_to_small: Transform
    pre_to_small: Transform

    def blur_at_work(self, blur_base: float) -> float:
        """Return the blur in work px.

        Parameters
        ----------
        blur_base : float
            Sigma in full-resolution px on a section 30000 px wide; it shrinks
            with the section.
        """
        longest = max(*self.post_frame[2:], *self.pre_frame[2:])
        return blur_base * longest / _BLUR_WIDTH / self.factor

    def small_transform(self, transform: Transform) -> Transform:
        """Return a canvas transform as one between the small images."""
        return self.pre_to_small @ transform @ self.post_to_small.inverse()

    def canvas_transform(self, small: Transform) -> Transform:
        """Return a transform between the small images on the canvas."""
        return self.pre_to_small.inverse() @ small @ self.post_to_small

    @property
    def frame_origin(self) -> FloatArray:
        """What turns `factor` times px of the small post image into canvas px, (2,)."""
        at_zero = self.post_to_small.inverse()(np.zeros((1, 2)))[0]
        origin: FloatArray = at_zero - (0.5 * self.factor - 0.5)
        return origin

    def warp_small(
        self, image: NDArray[np.float32], transform: Transform
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return a small pre image warped onto the small post image, and where.

        Parameters
        ----------
        image : ndarray, float32
            As large as `pre_small`.
        transform : Transform
            Post to pre on the canvas.
        """
        rows, cols = self.post_small.shape
        small = self.small_transform(transform)
        flags = cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC
        warped = cv2.warpPerspective(
            image,
            small.matrix,
            (cols, rows),
            flags=flags,
            borderMode=cv2.BORDER_REPLICATE,
        )
        inside = cv2.warpPerspective(
            np.full(image.shape, 255, np.uint8),
            small.matrix,
            (cols, rows),
            flags=cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST,
        )
        return warped.astype(np.float32, copy=False), inside > 0

    def overlap_points(self, transform: Transform, across: int = 24) -> FloatArray:
        """Return post points on a grid that lie in both frames, (N, 2), px."""
        x0, y0, width, height = self.post_frame
        step = max(width, height) / across
        grid = np.stack(
            np.meshgrid(
                np.arange(x0 + step / 2, x0 + width, step),
                np.arange(y0 + step / 2, y0 + height, step),
            ),
            axis=-1,
        ).reshape(-1, 2)
        x0, y0, width, height = self.pre_frame
        mapped = transform(grid) - (x0, y0)
        inside = ((mapped >= 0) & (mapped <= (width - 1, height - 1))).all(axis=1)
        result: FloatArray = grid[inside]
        return result


def work_factor(longest: int, work_side: int = _WORK_SIDE) -> int:
    """Return by how much images are reduced whose longest side is so many px."""
    small_side = _SMALL_SIDE * min(1.0, work_side / _WORK_SIDE)
    wanted = max(min(2.0, longest / small_side), longest / work_side, 1.0)
    factor = math.floor(wanted) if wanted <= 2.0 else math.ceil(wanted)
    # Multiples of the pyramid's levels are read from them.
    step = 8 if factor > 8 else 4 if factor > 4 else 1
    return -(-factor // step) * step


def _reduce_frame(
    image: ImageLike, frame: Frame, factor: int
) -> tuple[NDArray[np.float32], Transform]:
    x0, y0, width, height = frame
    # Blocks that lie wholly inside, so that no padding darkens their mean.
    left, top = -(-x0 // factor), -(-y0 // factor)
    right = max((x0 + width) // factor, left + 1)
    bottom = max((y0 + height) // factor, top + 1)
    if isinstance(image, Raster):
        whole, _ = reduce_image(image, factor=factor)
        small = np.ascontiguousarray(whole[top:bottom, left:right])
    else:
        part = image[top * factor : bottom * factor, left * factor : right * factor]
        small, _ = reduce_image(part, factor=factor)
    scale = 1.0 / factor
    shift = 0.5 * scale - 0.5
    to_small = Transform.similarity(
        scale=scale, translation=(shift - left, shift - top)
    )
    return small, to_small


def prepare_pair(
    post_im: ImageLike,
    pre_im: ImageLike,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    *,
    work_side: int = _WORK_SIDE,
    monitor: Monitor | None = None,
) -> InteriorPair:
    """Find the frames and reduce both images to work resolution.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, cols)
        Padded canvases.
    post_frame, pre_frame : tuple of int, optional
        x0, y0, width, height of the data; by default what is not zero.
    work_side : int
        Longest side of the reduced images, about, px.
    monitor : Monitor, optional
        Asked whether to stop between the images.

    Returns
    -------
    InteriorPair

    Raises
    ------
    RegistrationError
        If an image is empty or its frame lies outside of it.
    """
    monitor = monitor or Monitor()
    frames = []
    for name, image, given in (
        ("post", post_im, post_frame),
        ("pre", pre_im, pre_frame),
    ):
        if given is None:
            frame = non_zero_frame(image, monitor)
        else:
            x0, y0, width, height = map(int, given)
            frame = (x0, y0, width, height)
        x0, y0, width, height = frame
        rows, cols = image.shape
        if (
            min(x0, y0) < 0
            or min(width, height) < 1
            or x0 + width > cols
            or y0 + height > rows
        ):
            raise RegistrationError(
                f"the {name} frame (x0, y0, width, height) = {frame} does not lie in "
                f"the canvas of {cols} x {rows} px; give the frame of stage 1"
            )
        frames.append((x0, y0, width, height))
    factor = work_factor(max(*frames[0][2:], *frames[1][2:]), work_side)
    monitor.check()
    post_small, post_to_small = _reduce_frame(post_im, frames[0], factor)
    monitor.check()
    pre_small, pre_to_small = _reduce_frame(pre_im, frames[1], factor)
    return InteriorPair(
        post_im,
        pre_im,
        frames[0],
        frames[1],
        factor,
        post_small,
        pre_small,
        post_to_small,
        pre_to_small,
    )
