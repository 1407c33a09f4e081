"""Two sections and what is sought in them: which result stands, and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.boundary import Section
from napari_exo2micro.core.alignment.ecc import refine_ecc
from napari_exo2micro.core.alignment.judge import (
    Result,
    SectionPair,
    settle,
    verdict_of,
)
from napari_exo2micro.core.alignment.outline import IcpLimits, align_outlines
from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.alignment.searches import OutlineSearch, PairSearches
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.transforms import Transform

__all__ = ["BoundaryAlignment", "align_sections"]

logger = logging.getLogger(__name__)

_SAME_CORRELATION = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class BoundaryAlignment:
    """What stage 2 found.

    Attributes
    ----------
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px of the canvas.
    coarse_transform : Transform
        The same after the coarse search alone, before ICP.
    verdict : Verdict
        Whether the interior vouches for `transform`, and the figures.
    method : {'boundary', 'features', 'full circle'}
        Which search `transform` comes from.
    post_contour, pre_contour : ndarray, shape (N, 2), float64
        Outlines (x, y), each in px of its own canvas; may be empty.
    icp_transform : Transform or None
        What ICP proposed, accepted or not.
    ecc_transform : Transform or None
        What the ECC pass proposed, kept or not.
    """

    transform: Transform
    coarse_transform: Transform
    verdict: Verdict
    method: str
    post_contour: NDArray[np.float64]
    pre_contour: NDArray[np.float64]
    icp_transform: Transform | None = None
    ecc_transform: Transform | None = None


def align_sections(
    searches: PairSearches,
    search: OutlineSearch,
    limits: IcpLimits,
    *,
    fine_ecc: bool = False,
    stopit: int = 500,
    stopdelta: float = 1e-6,
    orientation_search: bool = True,
    monitor: Monitor | None = None,
) -> BoundaryAlignment:
    """Align two sections that were found: the work of `register_highorder`.

    Parameters
    ----------
    searches : PairSearches
        The two images and what is sought in them.
    search : OutlineSearch
        What the coarse search covers.
    limits : IcpLimits
        How far ICP may move away from its result.
    fine_ecc, stopit, stopdelta, orientation_search
        As in `register_highorder`.
    monitor : Monitor, optional
        Told the fraction done and asked whether to stop.

    Returns
    -------
    BoundaryAlignment
    """
    monitor = monitor or Monitor()
    pair = searches.pair
    monitor.report(0.0, "comparing the outlines")
    result = align_outlines(searches, search, limits, monitor.part(0.0, 0.4))
    results = [result]
    if orientation_search and (not result.vouched or result.broken):
        logger.info(
            "the outlines could not decide (interior score %.1f); searching features "
            "over any turn and both hands",
            result.overlap.score,
        )
        results += _from_features(searches, monitor.part(0.4, 0.6))
        if not any(r.vouched and not r.broken for r in results):
            results += _from_full_circle(
                searches, search.scales, monitor.part(0.6, 0.8)
            )
    best = max(results, key=lambda r: r.rank)
    if not best.vouched:
        # Nothing is known to be right; an outline match is the better guess.
        best = result
    ecc_note = ""
    proposed = None
    if fine_ecc and (best.broken or not best.vouched):
        ecc_note = "fine_ecc was not tried on it"
    elif fine_ecc:
        monitor.report(0.8, "maximising the correlation")
        ecc_note, proposed = _fine_ecc(pair, best, stopit=stopit, stopdelta=stopdelta)
    monitor.report(1.0, "sections aligned")
    return BoundaryAlignment(
        transform=best.transform,
        coarse_transform=best.coarse,
        verdict=verdict_of(pair, best, result, orientation_search, ecc_note),
        method=best.method,
        post_contour=_full_contour(pair.post_section),
        pre_contour=_full_contour(pair.pre_section),
        icp_transform=best.icp,
        ecc_transform=proposed,
    )


def _from_features(searches: PairSearches, monitor: Monitor) -> list[Result]:
    pair, results = searches.pair, []
    for match in searches.features(monitor):
        result = Result(
            "features", match.transform, match.transform, pair.score(match.transform)
        )
        result.numbers["feature_inliers"] = float(match.n_inliers)
        result.numbers["feature_matches"] = float(match.n_matches)
        settle(pair, result)
        results.append(result)
    return results


def _from_full_circle(
    searches: PairSearches, scales: list[float], monitor: Monitor
) -> list[Result]:
    pair = searches.pair
    candidates = searches.full_circle(scales, monitor)
    scored = [(pair.score(c.transform), c) for c in candidates]
    scored.sort(key=lambda entry: -entry[0].score)
    results = []
    for overlap, candidate in scored[:2]:
        result = Result(
            "full circle", candidate.transform, candidate.transform, overlap
        )
        settle(pair, result)
        results.append(result)
    return results


def _fine_ecc(
    pair: SectionPair, best: Result, *, stopit: int, stopdelta: float
) -> tuple[str, Transform | None]:
    """Try the ECC pass on a result; return why it was not kept, if so."""
    found = refine_ecc(
        pair.post_texture,
        pair.pre_texture,
        best.transform,
        stopit=stopit,
        stopdelta=stopdelta,
    )
    if found is None:
        return "fine_ecc did not converge: the result before it stands", None
    best.numbers["ecc_before"] = found.before
    best.numbers["ecc_after"] = found.after
    moved = found.transform(pair.centre[None]) - best.transform(pair.centre[None])
    shift = float(np.linalg.norm(moved))
    best.numbers["ecc_shift_px"] = shift
    if found.after <= found.before:
        if found.after > found.before - _SAME_CORRELATION:
            return "", found.transform
        return (
            f"fine_ecc lowered the correlation from {found.before:.3f} to "
            f"{found.after:.3f}: the result before it stands"
        ), found.transform
    best.transform = found.transform
    best.overlap = pair.score(found.transform)
    return "", found.transform


def _full_contour(section: Section) -> NDArray[np.float64]:
    if not len(section.contour):
        return np.empty((0, 2))
    return section.view.to_full(section.contour)
