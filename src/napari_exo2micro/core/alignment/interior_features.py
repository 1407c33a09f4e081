"""The start of an interior alignment: features at work resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.features import (
    Features,
    MatchFit,
    detect_features,
    fit_matches,
    match_features,
    stretch_for_features,
)
from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.alignment.interior_pair import InteriorPair
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "MIN_INLIERS",
    "FeatureMatching",
    "FeatureStart",
    "detect_in_post",
    "find_feature_start",
    "judge_matching",
    "largest_distance",
    "match_interiors",
]

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


@dataclass(frozen=True, slots=True)
class FeatureMatching:
    """Matched features and what they agree on, before any limit is asked.

    Attributes
    ----------
    post_xy, pre_xy : ndarray, shape (N, 2), float64
        The matches, canvas px.
    fit : MatchFit or None
        Homography of the canvas from post to the pre image as the start warps
        it, full-resolution px; None when too few agree.
    """

    post_xy: FloatArray
    pre_xy: FloatArray
    fit: MatchFit | None


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
    monitor: Monitor | None = None,
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
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    FeatureStart
    """
    monitor = monitor or Monitor()
    post = detect_in_post(pair, blur_base, monitor=monitor)
    monitor.report(0.4, "matching features")
    matching = match_interiors(
        pair, initial, post, blur_base, monitor=monitor.part(0.4, 1.0)
    )
    return judge_matching(pair, initial, matching, max_correction, min_inlier_ratio)


def detect_in_post(
    pair: InteriorPair,
    blur_base: float,
    *,
    max_features: int = _MAX_FEATURES,
    monitor: Monitor | None = None,
) -> Features:
    """Find the features of the reduced post image, in its own px.

    Parameters
    ----------
    pair : InteriorPair
        The images.
    blur_base : float
        As in `refine_interior_sift`.
    max_features : int
        The strongest are kept.
    monitor : Monitor, optional
        Asked whether to stop.
    """
    monitor = monitor or Monitor()
    blur = pair.blur_at_work(blur_base)
    monitor.check()
    stretched = stretch_for_features(pair.post_small, blur=blur, monitor=monitor)
    monitor.check()
    return detect_features(stretched, max_features=max_features, monitor=monitor)


def match_interiors(
    pair: InteriorPair,
    initial: Transform,
    post: Features,
    blur_base: float,
    *,
    max_features: int = _MAX_FEATURES,
    monitor: Monitor | None = None,
) -> FeatureMatching:
    """Find the features of the warped pre image and match them.

    Parameters
    ----------
    pair : InteriorPair
        The images.
    initial : Transform
        The start, post to pre.
    post : Features
        From `detect_in_post`.
    blur_base, max_features
        As there.
    monitor : Monitor, optional
        Told the fraction done.
    """
    monitor = monitor or Monitor()
    monitor.check()
    warped, inside = pair.warp_small(pair.pre_small, initial)
    inner = cv2.erode(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    monitor.check()
    blur = pair.blur_at_work(blur_base)
    stretched = stretch_for_features(warped, mask=inside, blur=blur, monitor=monitor)
    monitor.check()
    pre = detect_features(
        stretched, mask=inner, max_features=max_features, monitor=monitor
    )
    monitor.report(0.7, "matching features")
    pairs = match_features(post, pre, ratio=_RATIO, monitor=monitor)
    monitor.check()
    from_small = pair.post_to_small.inverse()
    post_xy = from_small(post.points[pairs[:, 0]])
    aligned_xy = from_small(pre.points[pairs[:, 1]])
    # Fitted on the warped image: there the map is near the identity.
    fit = fit_matches(
        post_xy,
        aligned_xy,
        model="homography",
        threshold=_THRESHOLD * pair.factor,
        mirrored=False,
    )
    return FeatureMatching(post_xy, initial(aligned_xy), fit)


def judge_matching(
    pair: InteriorPair,
    initial: Transform,
    matching: FeatureMatching,
    max_correction: float,
    min_inlier_ratio: float,
) -> FeatureStart:
    """Say whether matched features can be trusted, within the limits.

    Parameters
    ----------
    pair, initial, matching
        As given to and returned by `match_interiors`.
    max_correction, min_inlier_ratio : float
        As in `refine_interior_sift`.
    """
    post_xy, pre_xy, fit = matching.post_xy, matching.pre_xy, matching.fit
    if fit is None:
        problem = (
            f"wanted {MIN_INLIERS} features that agree, found no homography for "
            f"{len(post_xy)} matches"
        )
        none = np.zeros(len(post_xy), bool)
        return FeatureStart(None, problem, False, post_xy, pre_xy, none, 0.0)
    transform = initial @ fit.transform
    correction = largest_distance(transform, initial, post_xy[fit.inliers])
    cells = _cells_with_inliers(pair, post_xy[fit.inliers])
    problem, contradicts = "", False
    if fit.n_inliers < MIN_INLIERS:
        problem = (
            f"wanted {MIN_INLIERS} features that agree, found {fit.n_inliers} of "
            f"{len(post_xy)} matches"
        )
    elif fit.inlier_ratio < min_inlier_ratio:
        problem = (
            f"wanted an inlier ratio of {min_inlier_ratio:g} or more, found "
            f"{fit.inlier_ratio:.3f} ({fit.n_inliers} of {len(post_xy)} matches)"
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
