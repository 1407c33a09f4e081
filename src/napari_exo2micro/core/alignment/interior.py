"""Stage 3: interior features, then tiles at full resolution."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.alignment.interior_features import (
    FeatureStart,
    find_feature_start,
    largest_distance,
)
from napari_exo2micro.core.alignment.interior_pair import prepare_pair
from napari_exo2micro.core.alignment.interior_tiles import (
    TileRefinement,
    refine_on_tiles,
)
from napari_exo2micro.core.alignment.quality import State, Verdict
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.rasters import Frame, ImageLike
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "MAX_ERROR",
    "MAX_MISFIT",
    "FeatureMatches",
    "InteriorAlignment",
    "InteriorTiles",
    "refine_interior_ecc",
    "refine_interior_sift",
]

logger = logging.getLogger(__name__)

#: Misfit shared by neighbouring tiles, 95th percentile over the section, px, from
#: which a section counts as deformed. A smooth bend of 2 px leaves about this
#: much when a homography has followed it as far as it can.
MAX_MISFIT = 0.4

#: Estimated error, px, beyond which an alignment is not called `ok`.
MAX_ERROR = 1.0

#: Features and tiles must agree within this many px of the reduced images.
_MAX_DISAGREEMENT = 6.0


@dataclass(frozen=True, slots=True)
class FeatureMatches:
    """Matched features, for pictures.

    Attributes
    ----------
    post_xy, pre_xy : ndarray, shape (N, 2), float64
        Matched points (x, y) on the canvases, px.
    inliers : ndarray, shape (N,), bool
        Those that agree with one homography.
    """

    post_xy: FloatArray
    pre_xy: FloatArray
    inliers: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class InteriorTiles:
    """Tiles that were measured, for pictures.

    Attributes
    ----------
    x, y : ndarray, shape (N,), float64
        Centres on the post canvas, px.
    dx, dy : ndarray, shape (N,), float64
        What the tile fit leaves, px of the pre image; NaN where nothing was
        found.
    used : ndarray, shape (N,), bool
        Tiles that agree with the fit.
    weight : ndarray, shape (N,), float64
        Weight in the robust fit, 0 to 1.
    """

    x: FloatArray
    y: FloatArray
    dx: FloatArray
    dy: FloatArray
    used: NDArray[np.bool_]
    weight: FloatArray


@dataclass(frozen=True, slots=True)
class InteriorAlignment:
    """Result of stage 3.

    Attributes
    ----------
    transform : Transform
        Post (fixed) to pre (moving) points on the padded canvas.
    verdict : Verdict
        `ok`: tiles vouch for the transform. `fell_back`: the best that could be
        had, with the reason. `failed`: the start stands and the interior does
        not support it.
    method : {'tiles', 'features', 'initial'}
        What the transform rests on.
    model : str
        Freedom of the tile fit; empty without one.
    accuracy_px : float
        Estimated root mean square error over the section, px of the pre image;
        -1 when nothing vouches for the transform.
    matches : FeatureMatches
        The features.
    tiles : InteriorTiles
        The tiles.
    """

    transform: Transform
    verdict: Verdict
    method: Literal["tiles", "features", "initial"]
    model: str
    accuracy_px: float
    matches: FeatureMatches
    tiles: InteriorTiles


def refine_interior_sift(
    post_im: ImageLike,
    pre_im: ImageLike,
    initial: Transform,
    *,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    interior_blur_base: float = 8.0,
    interior_max_correction: float = 500,
    interior_min_inlier_ratio: float = 0.4,
    monitor: Monitor | None = None,
) -> InteriorAlignment:
    """Align two images by what lies inside the section.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, cols)
        Fixed and moving image on padded canvases; uint8, uint16, float32 or
        float64. They are read in windows.
    initial : Transform
        Post to pre from stage 2; carries hand and turn.
    post_frame, pre_frame : tuple of int, optional
        x0, y0, width, height of the data on each canvas; by default the
        bounding box of what is not zero.
    interior_blur_base : float
        Sigma of the Gaussian before features are sought, full-resolution px on
        a section 30000 px wide; it shrinks with the section.
    interior_max_correction : float
        Largest change of `initial` over the section, full-resolution px.
    interior_min_inlier_ratio : float
        Smallest part of the feature matches that must agree, 0 to 1. Otherwise
        the features are not used and the tiles start from `initial`.
    monitor : Monitor, optional
        Told the fraction done.

    Returns
    -------
    InteriorAlignment
        Its verdict is 'ok' only when the tiles vouch for the transform.

    Raises
    ------
    ParameterError
        If a parameter is out of its range.
    RegistrationError
        If an image is empty.

    Notes
    -----
    SIFT features of the reduced images give a homography; a few hundred tiles,
    matched at full resolution by their correlation coefficient, refine it in a
    robust fit. Its freedom is chosen by cross-validation. The tiles alone
    decide whether the result is `ok`: enough of them must agree, and what
    neighbouring tiles share beyond the fit must stay below `MAX_MISFIT`, the
    estimated error below `MAX_ERROR`. A
    result that features did not support but tiles do is `ok`, too; the reason
    then says so.

    References
    ----------
    D. G. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60,
    2004, doi:10.1023/B:VISI.0000029664.99615.94 (the features).

    D. Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator",
    CVPR 2020, doi:10.1109/CVPR42600.2020.00138 (which matches agree).

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exo2micro.core.simulate import simulate_section
    >>> pair = simulate_section((600, 700), seed=1, shift=(3.0, -2.0))
    >>> result = refine_interior_sift(pair.post, pair.pre, Transform.identity())
    >>> result.verdict.state
    'ok'
    >>> bool(np.abs(result.transform([[300, 300]]) - [303, 298]).max() < 0.2)
    True
    """
    if not interior_blur_base >= 0:
        raise ParameterError(
            f"interior_blur_base must be 0 px or more, found {interior_blur_base!r}"
        )
    if not interior_max_correction > 0:
        raise ParameterError(
            "interior_max_correction must be above 0 px, found "
            f"{interior_max_correction!r}"
        )
    if not 0 <= interior_min_inlier_ratio <= 1:
        raise ParameterError(
            "interior_min_inlier_ratio must lie in 0..1, found "
            f"{interior_min_inlier_ratio!r}"
        )
    monitor = monitor or Monitor()
    monitor.report(0.0, "reducing the images")
    pair = prepare_pair(post_im, pre_im, post_frame, pre_frame, monitor=monitor)
    monitor.report(0.15, "matching features")
    features = find_feature_start(
        pair,
        initial,
        blur_base=float(interior_blur_base),
        max_correction=float(interior_max_correction),
        min_inlier_ratio=float(interior_min_inlier_ratio),
        monitor=monitor.part(0.15, 0.4),
    )
    start = initial
    trusted = features.transform is not None and not features.problem
    if features.transform is not None and trusted:
        start = features.transform
    tiles = refine_on_tiles(
        pair, start, trusted=trusted, monitor=monitor.part(0.4, 0.95)
    )
    correction = 0.0
    if tiles.fit is not None and tiles.used.any():
        places = tiles.measured.centres[tiles.used]
        correction = largest_distance(tiles.fit.transform, initial, places)
        gap = tiles.fit.transform(places) - start(places)
        apart = float(np.median(np.linalg.norm(gap, axis=1)))
        limit = _MAX_DISAGREEMENT * pair.factor
        if trusted and not tiles.problem and apart > limit:
            tiles = replace(
                tiles,
                problem=f"wanted them within {limit:g} px of the features, found "
                f"{apart:.1f} px",
            )
    result = _decide(
        initial, features, tiles, correction, float(interior_max_correction)
    )
    logger.info(
        "interior alignment: %s, %d matches, %d tiles, accuracy %.3f px %s",
        result.verdict.state,
        len(features.inliers),
        int(np.count_nonzero(tiles.used)),
        result.accuracy_px,
        result.verdict.reason,
    )
    monitor.report(1.0, "interior aligned")
    return result


def _numbers(
    features: FeatureStart, tiles: TileRefinement, correction: float
) -> dict[str, float]:
    numbers = {
        "n_matches": float(len(features.inliers)),
        "n_inliers": float(np.count_nonzero(features.inliers)),
        "inlier_ratio": features.inlier_ratio,
        "n_tiles": float(np.count_nonzero(tiles.used)),
        "n_tiles_tried": float(len(tiles.used)),
        "correction_px": correction,
    }
    if np.any(tiles.used):
        agreed = tiles.measured.correlation[tiles.used]
        numbers["tile_correlation"] = float(np.median(agreed))
    accuracy = tiles.accuracy
    if accuracy is not None and np.isfinite(accuracy.total):
        numbers["residual_median_px"] = accuracy.residual_median
        numbers["residual_p95_px"] = accuracy.residual_p95
        numbers["noise_error_px"] = accuracy.statistical
        numbers["misfit_px"] = accuracy.coherent
        numbers["misfit_p95_px"] = accuracy.coherent_p95
    return numbers


def _decide(
    initial: Transform,
    features: FeatureStart,
    tiles: TileRefinement,
    correction: float,
    max_correction: float,
) -> InteriorAlignment:
    """Return the result with its verdict: who vouches for which transform."""
    state: State
    method: Literal["tiles", "features", "initial"]
    fit, accuracy = tiles.fit, tiles.accuracy
    vouched = (
        not tiles.problem
        and fit is not None
        and accuracy is not None
        and np.isfinite(accuracy.total)
    )
    transform, error, model = initial, -1.0, ""
    if vouched and correction <= max_correction:
        assert fit is not None
        assert accuracy is not None
        transform, error, model = fit.transform, accuracy.total, fit.model
        method, state, reason = "tiles", "ok", ""
        # The percentile has noise in it, the root mean square has not.
        bent = accuracy.coherent > MAX_MISFIT / 3
        if accuracy.coherent_p95 > MAX_MISFIT and bent:
            state = "fell_back"
            reason = (
                f"the section is deformed: residual {accuracy.coherent_p95:.1f} px in "
                f"places, wanted {MAX_MISFIT:g} px at most; a {fit.model} cannot "
                "follow"
            )
        elif accuracy.total > MAX_ERROR:
            state = "fell_back"
            reason = (
                f"wanted an estimated error of {MAX_ERROR:g} px at most, found "
                f"{accuracy.total:.1f} px"
            )
        elif features.problem:
            reason = f"tiles alone vouch for it; features: {features.problem}"
    elif vouched:
        method, state = "initial", "failed"
        reason = (
            f"wanted a correction of {max_correction:g} px at most, but the tiles ask "
            f"for {correction:.0f} px; the start stands (raise "
            "interior_max_correction, or look at stage 2)"
        )
    elif features.transform is not None and not features.problem:
        method, state = "features", "fell_back"
        transform = features.transform
        reason = f"features alone vouch for it; tiles: {tiles.problem}"
    else:
        method = "initial"
        state = "failed" if features.contradicts else "fell_back"
        reason = (
            f"the start stands; features: {features.problem}; tiles: "
            f"{tiles.problem or 'their error cannot be estimated'}"
        )
    numbers = _numbers(features, tiles, correction)
    numbers["accuracy_px"] = error
    return InteriorAlignment(
        transform=transform,
        verdict=Verdict(state, reason, numbers),
        method=method,
        model=model,
        accuracy_px=error,
        matches=FeatureMatches(features.post_xy, features.pre_xy, features.inliers),
        tiles=InteriorTiles(
            x=tiles.measured.centres[:, 0].copy(),
            y=tiles.measured.centres[:, 1].copy(),
            dx=tiles.residuals[:, 0].copy(),
            dy=tiles.residuals[:, 1].copy(),
            used=tiles.used,
            weight=tiles.weights,
        ),
    )


#: The historical name of the same function.
refine_interior_ecc = refine_interior_sift
