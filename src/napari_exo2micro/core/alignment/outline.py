"""The outlines laid on each other: coarse search, then ICP within limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_exo2micro.core.alignment.boundary import (
    boundary_ring,
    masked_brightness,
)
from napari_exo2micro.core.alignment.correlation import (
    Candidate,
    Pattern,
    refine_candidate,
    search_grid,
)
from napari_exo2micro.core.alignment.icp import correction_of, match_contours
from napari_exo2micro.core.alignment.judge import (
    SCORE_NEEDED,
    Result,
    SectionPair,
    settle,
)
from napari_exo2micro.core.alignment.views import between
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.transforms import Transform

__all__ = ["IcpLimits", "OutlineSearch", "align_outlines"]

_GRID_SIDE = 160
_LARGEST_COARSE_SIDE = 512
_SMALLEST_COARSE_SIDE = 96


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


@dataclass(frozen=True, slots=True)
class OutlineSearch:
    """What the coarse search covers and looks at.

    Attributes
    ----------
    use_edges : bool
        Rings along the outlines, or the brightness inside them.
    boundary_width, boundary_smooth : float
        Of the ring, px at coarse scale.
    angles, scales : list of float
        Nodes, ascending: degrees, factors.
    angle_step, scale_step : float
        Between them; 0 when there is one node.
    multiscale : bool
        Whether there is a coarse search at all.
    down_scale : float
        Four times the coarse scale.
    """

    use_edges: bool
    boundary_width: float
    boundary_smooth: float
    angles: list[float]
    angle_step: float
    scales: list[float]
    scale_step: float
    multiscale: bool
    down_scale: float


def align_outlines(
    pair: SectionPair, search: OutlineSearch, limits: IcpLimits, monitor: Monitor
) -> Result:
    """Lay one outline on the other, and ask the interior about it.

    Parameters
    ----------
    pair : SectionPair
        The two images.
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
    numbers: dict[str, float] = {}
    coarse = Transform.identity()
    if search.multiscale:
        candidates = _coarse_candidates(pair, search, monitor.part(0.0, 0.6))
        if candidates:
            scored = [(pair.score(c.transform).score, c) for c in candidates]
            # The interior chooses where it can tell, otherwise the outline.
            telling = max(scored, key=lambda entry: entry[0])
            chosen = telling[1] if telling[0] >= SCORE_NEEDED else scored[0][1]
            coarse = chosen.transform
            numbers["boundary_score"] = chosen.score
    monitor.report(0.6, "matching the outlines point by point")
    transform, icp, broken, found = _icp(pair, coarse, limits)
    numbers.update(found)
    overlap = pair.score(transform)
    result = Result(
        "boundary", transform, coarse, overlap, broken=broken, icp=icp, numbers=numbers
    )
    settle(pair, result)
    if not result.vouched and icp is not None and not broken:
        # ICP may have slid along an outline that is not the same in both.
        plain = Result(
            "boundary", coarse, coarse, pair.score(coarse), icp=icp, numbers=numbers
        )
        settle(pair, plain)
        if plain.vouched:
            return plain
    return result


def _coarse_candidates(
    pair: SectionPair, search: OutlineSearch, monitor: Monitor
) -> list[Candidate]:
    """Return the best of the coarse search, refined between the nodes."""
    nominal = 0.25 * search.down_scale
    full_side = max(
        side * view.factor
        for view in (pair.post, pair.pre)
        for side in view.image.shape
    )
    # A small image at the coarse scale would be a few dozen px: it is seen at
    # more, still in step with the coarse scale.
    least = max(nominal * full_side, 640.0 * search.down_scale, _SMALLEST_COARSE_SIDE)
    side = int(min(round(least), _LARGEST_COARSE_SIDE))
    patterns = []
    for section in (pair.post_section, pair.pre_section):
        view = section.view.reduced(side)
        # A very large image is seen at less than the coarse scale: the ring
        # keeps its thickness on the section.
        ratio = min(1.0, 1.0 / (nominal * view.factor))
        smooth = search.boundary_smooth * ratio
        if search.use_edges:
            values = boundary_ring(
                section, view, width=search.boundary_width * ratio, smooth=smooth
            )
        else:
            values = masked_brightness(section, view, smooth=smooth)
        patterns.append(Pattern(view, values))
    post, pre = patterns
    found = search_grid(
        post.reduced(_GRID_SIDE),
        pre.reduced(_GRID_SIDE),
        angles=search.angles,
        scales=search.scales,
        monitor=monitor,
    )
    refined = [
        refine_candidate(
            post,
            pre,
            candidate,
            angle_step=search.angle_step,
            scale_step=search.scale_step,
            angle_limits=(search.angles[0], search.angles[-1]),
            scale_limits=(search.scales[0], search.scales[-1]),
        )
        for candidate in found
    ]
    return sorted(refined, key=lambda candidate: -candidate.score)


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
