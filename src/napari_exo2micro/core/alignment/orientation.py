"""The search over any turn and both hands, when the outline cannot decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_exo2micro.core.alignment.boundary import Section
from napari_exo2micro.core.alignment.correlation import (
    Candidate,
    Pattern,
    refine_candidates,
    search_grid,
)
from napari_exo2micro.core.alignment.features import (
    Features,
    detect_features,
    fit_matches,
    match_features,
    stretch_for_features,
)
from napari_exo2micro.core.alignment.overlap import interior_texture
from napari_exo2micro.core.alignment.views import View
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.transforms import Transform

__all__ = ["FeatureMatch", "search_features", "search_full_circle"]

_FULL_CIRCLE_STEP = 3.0
_FULL_CIRCLE_SIDE = 208
_MAX_FEATURES = 5000


@dataclass(frozen=True, slots=True)
class FeatureMatch:
    """A map that matched features agree on.

    Attributes
    ----------
    transform : Transform
        Post to pre, full-resolution px.
    n_inliers, n_matches : int
        Matches that agree, and all matches.
    """

    transform: Transform
    n_inliers: int
    n_matches: int


def search_features(
    post: View, pre: View, *, blur: float = 1.0, monitor: Monitor | None = None
) -> list[FeatureMatch]:
    """Find maps of either hand that many features agree on, best first.

    Parameters
    ----------
    post, pre : View
        At 1200 to 1600 px.
    blur : float
        Sigma of a Gaussian before detection, px of the views.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    list of FeatureMatch
        At most one of each hand; empty when too few features agree.

    Notes
    -----
    SIFT does not mind turns and magnifications; a mirror image is another
    picture to it, so the mirrored pre-stain image is tried, too.
    """
    monitor = monitor or Monitor()
    fixed = detect_features(
        stretch_for_features(post.image, mask=post.valid, blur=blur),
        mask=post.valid,
        max_features=_MAX_FEATURES,
    )
    monitor.report(0.3, "comparing features")
    columns = pre.image.shape[1]
    picture = stretch_for_features(pre.image, mask=pre.valid, blur=blur)
    found = []
    for number, mirrored in enumerate((False, True)):
        if mirrored:
            flipped = detect_features(
                np.ascontiguousarray(picture[:, ::-1]),
                mask=np.ascontiguousarray(pre.valid[:, ::-1]),
                max_features=_MAX_FEATURES,
            )
            points = flipped.points.copy()
            points[:, 0] = columns - 1 - points[:, 0]
            moving = Features(points, flipped.descriptors)
        else:
            moving = detect_features(
                picture, mask=pre.valid, max_features=_MAX_FEATURES
            )
        match = _match(fixed, moving, mirrored)
        if match is not None:
            full = pre.to_full @ match.transform @ post.to_full.inverse()
            found.append(FeatureMatch(full, match.n_inliers, match.n_matches))
            # So many do not agree by chance; the other hand need not be tried.
            if match.n_inliers >= 60 and match.n_inliers > 0.4 * match.n_matches:
                break
        monitor.report(0.65 + 0.35 * number, "comparing features")
    found.sort(key=lambda match: -match.n_inliers)
    return found


def _match(fixed: Features, moving: Features, mirrored: bool) -> FeatureMatch | None:
    pairs = match_features(fixed, moving, ratio=0.8)
    if len(pairs) < 6:
        return None
    source, target = fixed.points[pairs[:, 0]], moving.points[pairs[:, 1]]
    rough = fit_matches(
        source, target, model="similarity", threshold=8.0, mirrored=mirrored
    )
    if rough is None or rough.n_inliers < 5:
        return None
    size = rough.transform.decompose()["scale"]
    if not 0.3 < size < 3.3:
        return None
    best = rough
    near = rough.residuals < 20.0
    if rough.n_inliers >= 12:
        finer = fit_matches(source[near], target[near], model="affine", threshold=4.0)
        if finer is not None and finer.transform.mirrored == mirrored:
            best = finer
    return FeatureMatch(best.transform, rough.n_inliers, len(pairs))


def search_full_circle(
    post: View,
    pre: View,
    *,
    sections: tuple[Section | None, Section | None] = (None, None),
    scales: list[float],
    keep: int = 6,
    monitor: Monitor | None = None,
) -> list[Candidate]:
    """Correlate the interiors over all turns and both hands, best first.

    Parameters
    ----------
    post, pre : View
        Of the fixed and the moving image; reduced here.
    sections : tuple of Section or None
        Where to look in either; None: everywhere.
    scales : list of float
        Magnifications to try.
    keep : int
        How many candidates to return.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    list of Candidate
        Refined between the nodes; empty when there is no texture.
    """
    patterns = []
    for view, section in zip((post, pre), sections, strict=True):
        small = view.reduced(_FULL_CIRCLE_SIDE)
        # Structures of a few px: they bear the step of the search.
        texture = interior_texture(small, section, fine=1.8, coarse=6.0)
        patterns.append(Pattern(small, texture.values))
    fixed, moving = patterns
    angles = [float(a) for a in np.arange(-180.0, 180.0, _FULL_CIRCLE_STEP)]
    found = search_grid(
        fixed,
        moving,
        angles=angles,
        scales=scales,
        hands=(False, True),
        keep=keep,
        monitor=monitor,
    )
    step = float(np.diff(scales).mean()) if len(scales) > 1 else 0.0
    return refine_candidates(
        fixed,
        moving,
        found,
        angle_step=_FULL_CIRCLE_STEP,
        scale_step=step,
        angle_limits=(-360.0, 360.0),
        scale_limits=(0.5 * min(scales), 2.0 * max(scales)),
        rounds=3,
        monitor=monitor,
    )
