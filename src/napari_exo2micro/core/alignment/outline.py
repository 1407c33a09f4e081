"""The outlines laid on each other: coarse search, then ICP within limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_exo2micro.core.alignment.icp import correction_of, match_contours
from napari_exo2micro.core.alignment.judge import (
    SCORE_NEEDED,
    Result,
    SectionPair,
    settle,
)
from napari_exo2micro.core.alignment.searches import OutlineSearch, PairSearches
from napari_exo2micro.core.alignment.views import between
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.transforms import Transform

__all__ = ["IcpLimits", "align_outlines"]


@dataclass(frozen=True, slots=True)
class IcpLimits:
    """How far ICP may move away from the coarse result.

    Attributes
    ----------
    max_translation : float
        Movement of the section's middle, full-resolution px.
    max_rotation : float
        Turn, degrees.
    max_scale_delta, max_scale_diff : float
        Deviation of either magnification from 1, and their difference.
    """

    max_translation: float
    max_rotation: float
    max_scale_delta: float
    max_scale_diff: float


def align_outlines(
    searches: PairSearches, search: OutlineSearch, limits: IcpLimits, monitor: Monitor
) -> Result:
    """Lay one outline on the other, and ask the interior about it.

    Parameters
    ----------
    searches : PairSearches
        The two images and what is sought in them.
    search : OutlineSearch
        What the coarse search covers.
    limits : IcpLimits
        Beyond them the coarse result stands.
    monitor : Monitor
        Told the fraction done.

    Returns
    -------
    Result
        Vouched for by the interior or not.
    """
    pair = searches.pair
    numbers: dict[str, float] = {}
    coarse = Transform.identity()
    if search.multiscale:
        candidates = searches.coarse(search, monitor.part(0.0, 0.6))
        if candidates:
            scored = []
            for candidate in candidates:
                monitor.check()
                scored.append((pair.score(candidate.transform).score, candidate))
            # The interior chooses where it can tell, otherwise the outline.
            telling = max(scored, key=lambda entry: entry[0])
            chosen = telling[1] if telling[0] >= SCORE_NEEDED else scored[0][1]
            coarse = chosen.transform
            numbers["boundary_score"] = chosen.score
    monitor.report(0.6, "matching the outlines point by point")
    transform, icp, broken, found = _icp(pair, coarse, limits)
    numbers.update(found)
    monitor.check()
    overlap = pair.score(transform)
    result = Result(
        "boundary", transform, coarse, overlap, broken=broken, icp=icp, numbers=numbers
    )
    settle(pair, result)
    if not result.vouched and icp is not None and not broken:
        monitor.check()
        # ICP may have slid along an outline that is not the same in both.
        plain = Result(
            "boundary", coarse, coarse, pair.score(coarse), icp=icp, numbers=numbers
        )
        settle(pair, plain)
        if plain.vouched:
            return plain
    return result


def _icp(
    pair: SectionPair, coarse: Transform, limits: IcpLimits
) -> tuple[Transform, Transform | None, str, dict[str, float]]:
    """Return the result, what ICP proposed, the limits it broke, and figures."""
    post, pre = pair.post_section, pair.pre_section
    reach = 0.06 * float(np.sqrt(max(post.mask.sum(), 1.0)))
    found = match_contours(
        post.contour,
        pre.contour,
        between(post.view, pre.view, coarse),
        reach=max(reach, 8.0),
    )
    if found is None:
        return coarse, None, "", {}
    fine = pre.view.to_full @ found.transform @ post.view.to_full.inverse()
    change = correction_of(coarse, fine, pair.centre)
    numbers = {
        "icp_rms_px": found.rms * pre.view.factor,
        "icp_agreeing": found.overlap,
        "icp_translation_px": change.translation,
        "icp_rotation_deg": change.rotation_deg,
        "icp_scale_min": change.scales[0],
        "icp_scale_max": change.scales[1],
    }
    broken = change.beyond(
        max_translation=limits.max_translation,
        max_rotation=limits.max_rotation,
        max_scale_delta=limits.max_scale_delta,
        max_scale_diff=limits.max_scale_diff,
    )
    return (coarse if broken else fine), fine, broken, numbers
