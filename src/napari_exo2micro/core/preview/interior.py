"""The preview of stage 3: matched features and the alignment that they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from napari_exo2micro.core.alignment.interior import FeatureMatches
from napari_exo2micro.core.alignment.interior_features import (
    FeatureStart,
    judge_matching,
    largest_distance,
)
from napari_exo2micro.core.alignment.interior_pair import InteriorPair
from napari_exo2micro.core.alignment.interior_tiles import ReducedTiles
from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.defaults import default_params
from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.preview.overlay import OverlayPreview
from napari_exo2micro.core.preview.source import PreviewSource
from napari_exo2micro.core.transforms import Transform

__all__ = ["InteriorPreview", "preview_interior"]

Method = Literal["features", "tiles", "initial"]


def _no_matches() -> FeatureMatches:
    none = np.empty((0, 2))
    return FeatureMatches(none, none, np.zeros(0, bool))


@dataclass(frozen=True, eq=False)
class InteriorPreview(OverlayPreview):
    """What stage 3 would find, as far as reduced images tell.

    Its verdict is `ok` when features vouch for the transform; `fell_back` when tiles
    of the reduced images stand in, or nothing but the start; `failed` when the
    interior speaks against the start, or nothing could be compared; `skipped` when
    it was not asked for.

    Attributes
    ----------
    method : {'features', 'tiles', 'initial'}
        What it rests on.
    reduction : float
        Full-resolution px per px of the images that were looked at. The stage
        refines the result on tiles at full resolution.
    matches : FeatureMatches
        The features, full-resolution px on the two canvases.
    """

    method: Method = "initial"
    reduction: float = 1.0
    matches: FeatureMatches = field(default_factory=_no_matches)


def preview_interior(
    source: PreviewSource,
    initial: Transform,
    params: Mapping[str, Any],
    monitor: Monitor | None = None,
) -> InteriorPreview:
    """Return what stage 3 would find with these parameters, at reduced size.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    initial : Transform
        Post to pre from stage 2 or its preview, full-resolution px.
    params : mapping
        Parameters by name; those left out have their defaults, other stages' are
        not looked at.
    monitor : Monitor, optional
        Told the fraction done; may stop the work.

    Returns
    -------
    InteriorPreview
        Also where nothing was found: its verdict then says why.

    Raises
    ------
    CancelledError
        When the monitor was asked to stop.
    """
    monitor = monitor or Monitor()
    chosen = {**default_params(), **params}
    if not chosen["interior_ecc"]:
        skipped = Verdict("skipped", "interior_ecc is off: stage 2 stands")
        return InteriorPreview(source, skipped, initial)
    try:
        pair = source.interior()
        matching = source.matching(
            initial, float(chosen["interior_blur_base"]), monitor.part(0.0, 0.7)
        )
    except RegistrationError as error:
        return InteriorPreview(source, Verdict("failed", str(error)), initial)
    most = float(chosen["interior_max_correction"])
    features = judge_matching(
        pair, initial, matching, most, float(chosen["interior_min_inlier_ratio"])
    )
    monitor.check()
    if features.transform is not None and not features.problem:
        method: Method = "features"
        transform, verdict = features.transform, Verdict("ok", "", _numbers(features))
    else:
        tiles = source.tiles(initial)
        monitor.check()
        method, transform, verdict = _without_features(
            pair, initial, features, tiles, most
        )
    return InteriorPreview(
        source=source,
        verdict=verdict,
        transform=transform,
        method=method,
        reduction=float(pair.factor),
        matches=FeatureMatches(features.post_xy, features.pre_xy, features.inliers),
    )


def _numbers(features: FeatureStart) -> dict[str, float]:
    return {
        "n_matches": float(len(features.inliers)),
        "n_inliers": float(np.count_nonzero(features.inliers)),
        "inlier_ratio": features.inlier_ratio,
        "correction_px": features.correction,
    }


def _without_features(
    pair: InteriorPair,
    initial: Transform,
    features: FeatureStart,
    tiles: ReducedTiles | None,
    most: float,
) -> tuple[Method, Transform, Verdict]:
    """Return what stands in for features that cannot be trusted."""
    numbers = _numbers(features)
    problem = "too few match" if tiles is None else tiles.problem
    if tiles is not None and not problem:
        found, places = tiles.transform, pair.overlap_points(initial)
        correction = largest_distance(found, initial, places) if len(places) else 0.0
        numbers["correction_px"] = correction
        if correction <= most:
            reason = (
                "tiles of the reduced images vouch for it; features: "
                f"{features.problem}"
            )
            return "tiles", found, Verdict("fell_back", reason, numbers)
        reason = (
            f"wanted a correction of {most:g} px at most, but the tiles ask for "
            f"{correction:.0f} px; the start stands (raise interior_max_correction, or "
            "look at stage 2)"
        )
        return "initial", initial, Verdict("failed", reason, numbers)
    reason = f"the start stands; features: {features.problem}; tiles: {problem}"
    state: Literal["failed", "fell_back"] = (
        "failed" if features.contradicts else "fell_back"
    )
    return "initial", initial, Verdict(state, reason, numbers)
