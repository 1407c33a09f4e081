"""Stage 2: from two padded canvases to a map that the interior vouches for."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.boundary import Section
from napari_exo2micro.core.alignment.correlation import grid_nodes
from napari_exo2micro.core.alignment.ecc import refine_ecc
from napari_exo2micro.core.alignment.interior import refine_interior_sift
from napari_exo2micro.core.alignment.judge import (
    Result,
    SectionPair,
    prepare_pair,
    settle,
    verdict_of,
)
from napari_exo2micro.core.alignment.orientation import (
    search_features,
    search_full_circle,
)
from napari_exo2micro.core.alignment.outline import (
    IcpLimits,
    OutlineSearch,
    align_outlines,
)
from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.alignment.views import open_view
from napari_exo2micro.core.errors import ParameterError, RegistrationError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.rasters import Frame, ImageLike, warp_window
from napari_exo2micro.core.transforms import Transform

__all__ = ["BoundaryAlignment", "recover_transform", "register_highorder"]

logger = logging.getLogger(__name__)

_BASE_SIDE = 1600
_RECOVERED_PX = 0.3
_BEYOND = 1.14
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


def register_highorder(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    use_edges: bool = True,
    boundary_width: float = 15,
    boundary_smooth: float = 10,
    rotation_search: bool = True,
    angle_range: float = 20,
    angle_step: float = 1,
    scale_search: bool = True,
    scale_min: float = 0.85,
    scale_max: float = 1.15,
    scale_step: float = 0.05,
    multiscale: bool = True,
    down_scale: float = 0.3,
    max_translation: float = 200,
    max_rotation: float = 5.0,
    max_scale_delta: float = 0.2,
    max_scale_diff: float = 0.15,
    fine_ecc: bool = False,
    stopit: int = 500,
    stopdelta: float = 1e-6,
    orientation_search: bool = True,
    monitor: Monitor | None = None,
) -> BoundaryAlignment:
    """Align two sections by their outlines, and check it on their interiors.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Padded canvases of the post-stain (fixed) and pre-stain (moving) image:
        zero outside the frame. uint8, uint16, float32 or float64.
    post_frame, pre_frame : tuple of int, optional
        (x0, y0, width, height) of the real data, px; by default the bounding
        box of what is not zero.
    use_edges : bool
        The coarse search correlates rings along the outlines; False: the
        smoothed brightness inside them.
    boundary_width : float
        Thickness of the ring, px at coarse scale (`down_scale` / 4).
    boundary_smooth : float
        Sigma of the Gaussian that softens ring or brightness, px at coarse
        scale.
    rotation_search, scale_search : bool
        Whether turns and isotropic magnifications are searched.
    angle_range, angle_step : float
        The turns: up to this on either side, and the step, degrees.
    scale_min, scale_max, scale_step : float
        The magnifications (from post to pre).
    multiscale : bool
        Whether the coarse search runs before ICP; False: ICP starts from the
        images as they lie.
    down_scale : float
        Four times the coarse scale; for images that are small or very large at
        that scale, 192 to 512 px are used and the ring keeps its thickness on
        the section of a large one.
    max_translation : float
        Largest movement of the section's middle by ICP, full-resolution px.
    max_rotation : float
        Largest turn by ICP, degrees.
    max_scale_delta, max_scale_diff : float
        Largest deviation of either ICP magnification from 1, and largest
        difference of the two.
    fine_ecc : bool
        Whether a homography that maximises the correlation of the interiors is
        sought at the end; it is kept when it does better.
    stopit, stopdelta : int, float
        Its largest number of iterations and the change at which it stops.
    orientation_search : bool
        Whether features are searched over any turn and both hands when the
        interior does not vouch for the outline's result.
    monitor : Monitor, optional
        Told the fraction done and asked whether to stop.

    Returns
    -------
    BoundaryAlignment
        Its verdict is 'ok' only when the interiors agree: a correlation peak
        far above those of other shifts, and patches that agree on one map.

    Raises
    ------
    RegistrationError
        If an image is empty, constant or too small.
    ParameterError
        If a search range is empty.

    Notes
    -----
    Outlines say where a section lies, seldom which way round; so the winner is
    checked on what lies inside. Patches of the interior that agree also remove
    what little error the outlines left.
    """
    monitor = monitor or Monitor()
    if not 0.0 < down_scale <= 1.0:
        raise ParameterError(
            f"down_scale must be above 0 and at most 1, not {down_scale:g}"
        )
    turn = abs(angle_range) if rotation_search else 0.0
    # From the middle outwards, so that no turn at all is always tried.
    half = grid_nodes(0.0, turn, angle_step)
    search = OutlineSearch(
        use_edges=use_edges,
        boundary_width=boundary_width,
        boundary_smooth=boundary_smooth,
        angles=sorted({-a for a in half} | set(half)),
        angle_step=angle_step if rotation_search else 0.0,
        scales=grid_nodes(scale_min, scale_max, scale_step) if scale_search else [1.0],
        scale_step=scale_step if scale_search else 0.0,
        multiscale=multiscale,
        down_scale=down_scale,
    )
    limits = IcpLimits(max_translation, max_rotation, max_scale_delta, max_scale_diff)
    monitor.report(0.0, "reading the images at reduced size")
    pair = prepare_pair(
        open_view(post_im, post_frame, _BASE_SIDE, name="post"),
        open_view(pre_im, pre_frame, _BASE_SIDE, name="pre"),
    )
    monitor.report(0.2, "comparing the outlines")
    result = align_outlines(pair, search, limits, monitor.part(0.2, 0.5))
    results = [result]
    if orientation_search and (not result.vouched or result.broken):
        logger.info(
            "the outlines could not decide (interior score %.1f); searching features "
            "over any turn and both hands",
            result.overlap.score,
        )
        results += _from_features(pair, monitor.part(0.5, 0.7))
        if not any(r.vouched and not r.broken for r in results):
            results += _from_full_circle(pair, search.scales, monitor.part(0.7, 0.85))
    best = max(results, key=lambda r: r.rank)
    if not best.vouched:
        # Nothing is known to be right; an outline match is the better guess.
        best = result
    ecc_note = ""
    proposed = None
    if fine_ecc and (best.broken or not best.vouched):
        ecc_note = "fine_ecc was not tried on it"
    elif fine_ecc:
        monitor.report(0.85, "maximising the correlation")
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


def _from_features(pair: SectionPair, monitor: Monitor) -> list[Result]:
    results = []
    for match in search_features(pair.post, pair.pre, monitor=monitor):
        result = Result(
            "features", match.transform, match.transform, pair.score(match.transform)
        )
        result.numbers["feature_inliers"] = float(match.n_inliers)
        result.numbers["feature_matches"] = float(match.n_matches)
        settle(pair, result)
        results.append(result)
    return results


def _from_full_circle(
    pair: SectionPair, scales: list[float], monitor: Monitor
) -> list[Result]:
    low, high, count = scales[0], scales[-1], 1
    if high > low:
        # Outlines bear a step beyond the range; so does this.
        low, high = low / _BEYOND, high * _BEYOND
        count = round(np.log(high / low) / 0.05) + 1
    nodes = [float(s) for s in np.geomspace(low, high, count)]
    both = (pair.post_section, pair.pre_section)
    post, pre = (section if section.trusted else None for section in both)
    candidates = search_full_circle(
        pair.post, pair.pre, sections=(post, pre), scales=nodes, monitor=monitor
    )
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


def recover_transform(warped: ImageLike, original: ImageLike) -> Transform | None:
    """Find the transform by which one image was made from the other.

    Parameters
    ----------
    warped : ImageLike, shape (rows, columns)
        A pre-stain image that stage 2 had warped, its matrix lost.
    original : ImageLike, shape (rows, columns)
        The padded pre-stain canvas that it was made from.

    Returns
    -------
    Transform or None
        From points of `warped` to points of `original`, full-resolution px; to
        about 0.1 px. None when the images do not show the same to that measure.
    """
    try:
        start = register_highorder(warped, original)
        if start.verdict.state != "ok":
            return None
        found = refine_interior_sift(warped, original, start.transform)
    except RegistrationError:
        return None
    if found.method != "tiles" or not 0.0 <= found.accuracy_px <= _RECOVERED_PX:
        return None
    centres = np.column_stack([found.tiles.x, found.tiles.y])[found.tiles.used]
    if _likeness(warped, original, found.transform, centres) < 0.95:
        return None
    return found.transform


def _likeness(
    warped: ImageLike,
    original: ImageLike,
    transform: Transform,
    centres: NDArray[np.float64],
) -> float:
    """Return the median correlation of small full-resolution windows."""
    half = 64
    found = []
    for x, y in centres[:: max(1, len(centres) // 40)]:
        x0, y0 = int(x) - half, int(y) - half
        if x0 < 0 or y0 < 0:
            continue
        x1, y1 = x0 + 2 * half, y0 + 2 * half
        if x1 > warped.shape[1] or y1 > warped.shape[0]:
            continue
        a = np.asarray(warped[y0:y1, x0:x1], dtype=np.float64).ravel()
        b = warp_window(original, transform, y0, y1, x0, x1).astype(np.float64).ravel()
        a, b = a - a.mean(), b - b.mean()
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        if norm > 0.0:
            found.append(float(a @ b) / norm)
    return float(np.median(found)) if len(found) >= 5 else 0.0
