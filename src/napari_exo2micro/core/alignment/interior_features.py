"""The start of an interior alignment: features at work resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.features import (
    detect_features,
    fit_matches,
    match_features,
    stretch_for_features,
)
from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.alignment.interior_pair import InteriorPair
from napari_exo2micro.core.transforms import Transform

__all__ = ["MIN_INLIERS", "FeatureStart", "find_feature_start", "largest_distance"]

#: Fewer features than this that agree prove nothing.
MIN_INLIERS = 15

_RATIO = 0.7
_THRESHOLD = 3.0
_MAX_FEATURES = 4000
_CELLS = 4
_MIN_CELLS = 3


@dataclass(frozen=True, slots=True)
class FeatureStart:
    """What the features say.

    Attributes
    ----------
    transform : Transform or None
        Post to pre on the canvas; None when no transform was found.
    problem : str
        Why it cannot be trusted; empty when it can.
    contradicts : bool
        Whether features that agree well ask for more than the largest
        correction: the start is then likely wrong.
    post_xy, pre_xy : ndarray, shape (N, 2), float64
        The matches, canvas px.
    inliers : ndarray, shape (N,), bool
        Those that agree.
    correction : float
        Largest correction of the start over the section, px; 0 without a
        transform.
    """

    transform: Transform | None
    problem: str
    contradicts: bool
    post_xy: FloatArray
    pre_xy: FloatArray
    inliers: NDArray[np.bool_]
    correction: float

    @property
    def inlier_ratio(self) -> float:
        """Part of the matches that agree, 0 to 1."""
        return float(np.count_nonzero(self.inliers)) / max(len(self.inliers), 1)


def largest_distance(one: Transform, other: Transform, points: FloatArray) -> float:
    """Return how far two transforms lie apart at most.

    Parameters
    ----------
    one, other : Transform
        Post to pre on the canvas.
    points : ndarray, shape (N, 2), float64
        Points (x, y) of the section on the post canvas; at least one.

    Returns
    -------
    float
        Full-resolution px.
    """
    return float(np.linalg.norm(one(points) - other(points), axis=1).max())


def _cells_with_inliers(pair: InteriorPair, points: FloatArray) -> int:
    x0, y0, width, height = pair.post_frame
    cells = ((points - (x0, y0)) / (width, height) * _CELLS).astype(int)
    cells = np.clip(cells, 0, _CELLS - 1)
    return len(np.unique(cells[:, 0] * _CELLS + cells[:, 1]))


def find_feature_start(
    pair: InteriorPair,
    initial: Transform,
    *,
    blur_base: float,
    max_correction: float,
    min_inlier_ratio: float,
) -> FeatureStart:
    """Match features of the reduced images and fit a homography.

    Parameters
    ----------
    pair : InteriorPair
        The images.
    initial : Transform
        The start, post to pre; the reduced pre image is warped by it first, so
        that it need not be upright nor of the same hand.
    blur_base, max_correction, min_inlier_ratio : float
        As in `refine_interior_sift`.

    Returns
    -------
    FeatureStart
    """
    blur = pair.blur_at_work(blur_base)
    warped, inside = pair.warp_small(pair.pre_small, initial)
    inner = cv2.erode(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    post = detect_features(
        stretch_for_features(pair.post_small, blur=blur), max_features=_MAX_FEATURES
    )
    pre = detect_features(
        stretch_for_features(warped, mask=inside, blur=blur),
        mask=inner,
        max_features=_MAX_FEATURES,
    )
    pairs = match_features(post, pre, ratio=_RATIO)
    from_small = pair.post_to_small.inverse()
    post_xy = from_small(post.points[pairs[:, 0]])
    aligned_xy = from_small(pre.points[pairs[:, 1]])
    pre_xy = initial(aligned_xy)
    none = np.zeros(len(pairs), bool)
    # Fitted on the warped image: there the map is near the identity.
    fit = fit_matches(
        post_xy,
        aligned_xy,
        model="homography",
        threshold=_THRESHOLD * pair.factor,
        mirrored=False,
    )
    if fit is None:
        problem = (
            f"wanted {MIN_INLIERS} features that agree, found no homography for "
            f"{len(pairs)} matches"
        )
        return FeatureStart(None, problem, False, post_xy, pre_xy, none, 0.0)
    transform = initial @ fit.transform
    correction = largest_distance(transform, initial, post_xy[fit.inliers])
    cells = _cells_with_inliers(pair, post_xy[fit.inliers])
    problem, contradicts = "", False
    if fit.n_inliers < MIN_INLIERS:
        problem = (
            f"wanted {MIN_INLIERS} features that agree, found {fit.n_inliers} of "
            f"{len(pairs)} matches"
        )
    elif fit.inlier_ratio < min_inlier_ratio:
        problem = (
            f"wanted an inlier ratio of {min_inlier_ratio:g} or more, found "
            f"{fit.inlier_ratio:.2f} ({fit.n_inliers} of {len(pairs)} matches)"
        )
    elif cells < _MIN_CELLS:
        problem = (
            f"wanted features in {_MIN_CELLS} of {_CELLS**2} parts of the section, "
            f"found them in {cells}"
        )
    elif correction > max_correction:
        problem = (
            f"wanted a correction of {max_correction:g} px at most, found "
            f"{correction:.0f} px (raise interior_max_correction, or look at stage 2)"
        )
        contradicts = True
    return FeatureStart(
        transform, problem, contradicts, post_xy, pre_xy, fit.inliers, correction
    )
