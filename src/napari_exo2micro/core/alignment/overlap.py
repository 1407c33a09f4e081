"""Whether the inside of the section agrees, too: what outlines cannot feign."""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_exo2micro.core.alignment.boundary import Section
from napari_exo2micro.core.alignment.views import View, between
from napari_exo2micro.core.transforms import Transform

__all__ = ["Overlap", "Texture", "interior_texture", "score_overlap"]

_SEARCH = 0.02
_SURROUND = 0.11
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """Band-passed, locally normalised interior of a section.

    Attributes
    ----------
    view : View
        Gives the place of the pixels.
    values : ndarray, shape (rows, columns) of `view`, float32
        About unit variance; 0 outside `mask`.
    mask : ndarray, shape (rows, columns) of `view`, bool
        Inside the section and the frame, away from both edges.
    """

    view: View
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]

    def warped_to(
        self, post: Texture, transform: Transform
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return values and mask as they lie on the grid of `post`.

        Parameters
        ----------
        post : Texture
            Of the fixed image.
        transform : Transform
            Post to pre, full-resolution px.
        """
        matrix = between(post.view, self.view, transform).matrix
        size = (post.values.shape[1], post.values.shape[0])
        values = cv2.warpPerspective(
            self.values, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        inside = cv2.warpPerspective(
            self.mask.astype(np.float32),
            matrix,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        return np.asarray(values, np.float32), inside > 0.99


@dataclass(frozen=True, slots=True)
class Overlap:
    """How well two interiors agree under a transform.

    Attributes
    ----------
    score : float
        Height of the correlation peak near zero shift, in standard deviations
        of the correlations at larger shifts; about 3 to 5 for unrelated
        interiors, tens for the same one.
    correlation : float
        Correlation coefficient at zero shift, -1 to 1.
    shift : tuple of float
        Place (x, y) of the peak, full-resolution px of the post-stain image.
    share : float
        Part of the smaller interior that both have in common, 0 to 1.
    """

    score: float
    correlation: float
    shift: tuple[float, float]
    share: float


def interior_texture(
    view: View, section: Section | None, *, fine: float = 1.5, coarse: float = 5.0
) -> Texture:
    """Return the texture inside the section.

    Parameters
    ----------
    view : View
        At the size at which textures are compared.
    section : Section or None
        Of the same image at any size; None (or an empty one): the whole frame.
    fine, coarse : float
        Structures between these sigmas remain, px of `view`.

    Returns
    -------
    Texture
        Free of gain, offset, uneven light and most of the pull of microbes.
    """
    valid = view.valid
    sample = view.image[valid]
    low, high = np.percentile(sample, [1.0, 99.0])
    span = max(float(high - low), 1e-12)
    # The square root evens out photon noise and tames bright spots.
    root = np.sqrt(np.clip((view.image - low) / span, 0.0, 2.0) + np.float32(0.02))
    root = np.where(valid, root, np.float32(0.0)).astype(np.float32)

    def mean(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        blurred = cv2.GaussianBlur(values, (0, 0), sigma)
        if not valid.all():
            weight = cv2.GaussianBlur(valid.astype(np.float32), (0, 0), sigma)
            blurred = np.where(valid, blurred / np.maximum(weight, 1e-3), 0.0)
        return np.asarray(blurred, np.float32)

    band = mean(root, fine) - mean(root, coarse)
    spread = np.sqrt(mean(band * band, 2.5 * coarse))
    mask = _interior(view, section, round(coarse))
    typical = float(np.percentile(spread[mask], 60)) if mask.any() else 1.0
    values = band / np.maximum(spread, np.float32(max(0.4 * typical, 1e-9)))
    values = np.where(mask, np.clip(values, -3.0, 3.0), 0.0)
    return Texture(view, np.asarray(values, np.float32), mask)


def _interior(view: View, section: Section | None, margin: int) -> NDArray[np.bool_]:
    """Return what lies well inside the frame and, if there is one, the section."""
    rows, columns = view.image.shape
    inside = np.pad(view.valid, 1).astype(np.uint8)
    if section is not None and section.area_fraction > 0.02:
        distance = cv2.resize(
            section.distance, (columns, rows), interpolation=cv2.INTER_AREA
        )
        ratio = view.factor / section.view.factor
        inside[1:-1, 1:-1] &= distance > (margin + 2.0) * ratio
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    frame = np.pad(view.valid, 1).astype(np.uint8)
    edge = cv2.distanceTransform(frame, cv2.DIST_L2, cv2.DIST_MASK_5)
    result: NDArray[np.bool_] = ((edge > margin) & (depth > 0))[1:-1, 1:-1]
    return result


def score_overlap(post: Texture, pre: Texture, transform: Transform) -> Overlap:
    """Compare two interiors under a transform.

    Parameters
    ----------
    post, pre : Texture
        Of the fixed and the moving image.
    transform : Transform
        Post to pre, full-resolution px.

    Returns
    -------
    Overlap
        Score 0 when the interiors hardly meet.
    """
    warped, inside = pre.warped_to(post, transform)
    both = post.mask & inside
    zoom = post.view.factor * transform.decompose()["scale"] / pre.view.factor
    smaller = min(float(post.mask.sum()), float(pre.mask.sum()) / zoom**2)
    count = int(np.count_nonzero(both))
    if count < 400 or count < 0.1 * smaller:
        return Overlap(0.0, 0.0, (0.0, 0.0), count / max(smaller, 1.0))
    a = np.where(both, post.values - post.values[both].mean(), np.float32(0.0))
    b = np.where(both, warped - warped[both].mean(), np.float32(0.0))
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if norm <= 0.0:
        return Overlap(0.0, 0.0, (0.0, 0.0), count / smaller)
    side = max(a.shape)
    near = max(4, round(_SEARCH * side))
    far = max(near + 8, round(_SURROUND * side))
    shape = [int(fft.next_fast_len(n + far, real=True)) for n in a.shape]
    spectra = [fft.rfft2(one, s=shape, workers=_THREADS) for one in (a, b)]
    spectrum = spectra[0] * np.conj(spectra[1])
    surface = fft.irfft2(spectrum, s=shape, workers=_THREADS) / norm
    steps = np.arange(-far, far + 1)
    window = surface[np.ix_(steps % shape[0], steps % shape[1])]
    reach = np.hypot(steps[:, None], steps[None, :])
    around = window[(reach > near + 4) & (reach <= far)]
    centre, spread = float(around.mean()), float(around.std()) + 1e-12
    inner = np.where(reach <= near, window, -np.inf)
    row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
    factor = post.view.factor
    return Overlap(
        (float(window[row, column]) - centre) / spread,
        float(window[far, far]),
        (float(steps[column]) * factor, float(steps[row]) * factor),
        count / smaller,
    )
