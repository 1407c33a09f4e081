"""Spots like microbes, put into an image to see what a local warp takes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.images import ImageLike, Transform, warp_window
from napari_exo2micro.core.images.lazy import LazyImage, Window

#: Sigma of a microbe's image, px.
SIGMA: Final = 2.0
#: Peaks of the spots in units of the noise of the difference.
LEVELS: Final = (5.0, 15.0, 50.0)
_REACH: Final = 8  # px: four sigmas
_AROUND: Final = 24  # px beside a spot that tell noise and gain there


@dataclass(frozen=True, eq=False, slots=True)
class Spots:
    """Gaussian spots of `SIGMA` px on the post image.

    Parameters
    ----------
    places : ndarray, shape (N, 2), int
        Their centres (x, y), whole px, not nearer than 17 px to each other.
    peaks : ndarray, shape (N,), float64
        Grey levels above the image.
    gains : ndarray, shape (N,), float64
        ``post = gain * aligned pre`` around each.
    levels : ndarray, shape (N,), int
        Which of `LEVELS` each has.
    """

    places: NDArray[np.intp]
    peaks: FloatArray
    gains: FloatArray
    levels: NDArray[np.intp]

    @classmethod
    def at_noise(
        cls, post_im: ImageLike, pre_im: ImageLike, to_pre: Transform, places: Any
    ) -> Spots:
        """Return spots at the noise of the pair's own difference.

        Parameters
        ----------
        post_im, pre_im : ImageLike, shape (rows, columns)
            Fixed and moving image on their canvases.
        to_pre : Transform
            Post to pre, px.
        places : array_like, shape (N, 2)
            Wanted centres (x, y), px; those near the edge of the image, or where it has
            no texture, are left out.

        Returns
        -------
        Spots
            One level after the other.
        """
        rows, columns = post_im.shape[:2]
        pre = _as_floats(pre_im)
        kept, gains, noises = [], [], []
        for x, y in np.asarray(places).round().astype(np.intp):
            window = y - _AROUND, y + _AROUND + 1, x - _AROUND, x + _AROUND + 1
            if min(window) < 0 or window[1] > rows or window[3] > columns:
                continue
            fixed = np.asarray(
                post_im[window[0] : window[1], window[2] : window[3]], np.float32
            )
            moving = warp_window(pre, to_pre, *window)
            f, m = (
                image - cv2.GaussianBlur(image, (0, 0), 6.0)
                for image in (fixed, moving)
            )
            if not np.isfinite(f * m).all() or float((m * m).sum()) == 0.0:
                continue
            gain = float((f * m).sum() / (m * m).sum())
            rest = f - gain * m
            kept.append((x, y))
            gains.append(gain)
            noises.append(1.4826 * float(np.median(np.abs(rest - np.median(rest)))))
        number = np.arange(len(kept)) % len(LEVELS)
        noise = float(np.median(noises)) if noises else 0.0
        return cls(
            np.array(kept, np.intp).reshape(-1, 2),
            np.array(LEVELS)[number] * noise,
            np.array(gains, np.float64),
            number,
        )

    def added_to(self, image: ImageLike) -> ImageLike:
        """Return an image with the spots.

        Parameters
        ----------
        image : ImageLike, shape (rows, columns)
            The post image.

        Returns
        -------
        ImageLike, shape (rows, columns), float32
            Read in windows.
        """
        tree = cKDTree(self.places)
        profile = _profile()

        def read(window: Window) -> NDArray[Any]:
            pixels = np.array(image[window], np.float32)
            corner = np.array([window[1].start, window[0].start])
            size = np.array(pixels.shape[::-1])
            reach = float(size.max()) / 2 + _REACH
            for n in tree.query_ball_point(corner + size / 2, reach, p=np.inf):
                start = self.places[n] - _REACH - corner
                left, top = np.clip(start, 0, size)
                right, bottom = np.clip(start + len(profile), 0, size)
                part = profile[
                    top - start[1] : bottom - start[1],
                    left - start[0] : right - start[0],
                ]
                pixels[top:bottom, left:right] += self.peaks[n] * part
            return pixels

        return LazyImage((image.shape[0], image.shape[1]), np.float32, read)

    def flux_lost(
        self, pre_im: ImageLike, before: Transform, after: Transform
    ) -> float:
        """Return the share of their flux that a warp takes which has followed them.

        Parameters
        ----------
        pre_im : ImageLike, shape (rows, columns)
            The moving image.
        before, after : Transform
            Post to pre as estimated without and with the spots, px.

        Returns
        -------
        float
            Of ``post - gain * warped pre``, fitted with the spots' own profile: mean
            over the spots of a brightness, of that which loses most.
        """
        pre, profile = _as_floats(pre_im), _profile()
        lost = np.zeros(len(self.places))
        for n, (x, y) in enumerate(self.places):
            window = y - _REACH, y + _REACH + 1, x - _REACH, x + _REACH + 1
            change = warp_window(pre, after, *window) - warp_window(
                pre, before, *window
            )
            # flux = sum p d / sum p^2; d loses gain * (pre(after) - pre(before))
            lost[n] = self.gains[n] * float(np.nansum(profile * change))
        lost /= float((profile**2).sum())
        shares = [
            float(
                lost[self.levels == level].sum()
                / self.peaks[self.levels == level].sum()
            )
            for level in np.unique(self.levels)
            if self.peaks[self.levels == level].sum() > 0.0
        ]
        return max(shares, default=0.0)


def _profile() -> NDArray[np.float32]:
    """Return a spot with a peak of 1."""
    line = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / SIGMA) ** 2)
    return np.outer(line, line).astype(np.float32)


def _as_floats(image: ImageLike) -> LazyImage:
    """Return an image whose pixels are not rounded when they are moved."""
    return LazyImage(
        (image.shape[0], image.shape[1]),
        np.float32,
        lambda window: np.asarray(image[window], np.float32),
    )
