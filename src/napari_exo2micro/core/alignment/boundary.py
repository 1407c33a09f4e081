"""Stage 2: outlines laid on each other, judged by the interior."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.correlation import (
    Agreement,
    Candidate,
    Overlap,
    Pattern,
    Texture,
    agree_on_patches,
    grid_nodes,
    interior_texture,
    refine_candidates,
    score_overlap,
    search_grid,
)
from napari_exo2micro.core.alignment.features import (
    Features,
    detect_features,
    fit_matches,
    match_features,
    stretch_for_features,
)
from napari_exo2micro.core.alignment.icp import correction_of, match_contours
from napari_exo2micro.core.alignment.interior import refine_interior_sift
from napari_exo2micro.core.alignment.views import (
    Section,
    View,
    between,
    boundary_ring,
    find_section,
    masked_brightness,
    open_view,
)
from napari_exo2micro.core.base.errors import ParameterError, RegistrationError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.raster import Frame, ImageLike
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import warp_window
from napari_exo2micro.core.parameters.verdict import Verdict

_CONTOUR_SIDE = 1024
_SCORE_SIDE = 512

#: Measured: up to 7 on interiors that have nothing to do with each other, above 40
#: on those of the same section.
SCORE_NEEDED = 12.0
#: Patches that must agree on one map, as a number and as a part of all.
PATCHES_NEEDED = 8
SHARE_NEEDED = 0.5


@dataclass(frozen=True, slots=True)
class SectionPair:
    """Views, sections and textures of both images, made once.

    Attributes
    ----------
    post, pre : View
        At the largest size that stage 2 looks at.
    post_section, pre_section : Section
        Outlines, found at a side of about 1000 px.
    post_texture, pre_texture : Texture
        Interiors at that size, for patches.
    post_small, pre_small : Texture
        Interiors at about 500 px, for the overlap score.
    """

    post: View
    pre: View
    post_section: Section
    pre_section: Section
    post_texture: Texture
    pre_texture: Texture
    post_small: Texture
    pre_small: Texture

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle of the section in the post-stain image, full-resolution px."""
        y, x = np.nonzero(self.post_section.mask)
        if not len(y):
            return self.post.centre
        middle = np.array([[x.mean(), y.mean()]])
        return self.post_section.view.to_full(middle).reshape(2)

    @property
    def corners(self) -> NDArray[np.float64]:
        """Corners of the section's bounding box, full-resolution px, (4, 2)."""
        y, x = np.nonzero(self.post_section.mask)
        if not len(y):
            y, x = np.nonzero(self.post_section.view.valid)
        box = [(a, b) for a in (x.min(), x.max()) for b in (y.min(), y.max())]
        return self.post_section.view.to_full(np.array(box, dtype=np.float64))

    def score(self, transform: Transform) -> Overlap:
        """Return the score of the interiors under a transform."""
        return score_overlap(self.post_small, self.pre_small, transform)


@dataclass(slots=True)
class Result:
    """One result on its way through the checks.

    Attributes
    ----------
    method : {'boundary', 'features', 'full circle'}
        Which search it comes from.
    transform, coarse : Transform
        Post to pre, full-resolution px: as it stands, and before ICP.
    overlap : Overlap
        Score of the interiors under `transform`.
    agreement : Agreement or None
        What the patches of the interior say.
    broken : str
        The limits that ICP broke; empty when none.
    icp : Transform or None
        What ICP proposed.
    numbers : dict
        Figures for the verdict.
    """

    method: str
    transform: Transform
    coarse: Transform
    overlap: Overlap
    agreement: Agreement | None = None
    broken: str = ""
    icp: Transform | None = None
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def vouched(self) -> bool:
        """Whether the interior says that this is right."""
        return (
            self.agreement is not None
            and self.overlap.score >= SCORE_NEEDED
            and self.agreement.n_agreeing >= PATCHES_NEEDED
            and self.agreement.share >= SHARE_NEEDED
        )

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Order: vouched for, within the limits of ICP, how well it agrees."""
        share = 0.0 if self.agreement is None else self.agreement.share
        return self.vouched, not self.broken, share + self.overlap.score


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of one image, at the largest size that stage 2 looks at.

    Attributes
    ----------
    view : View
        The image.
    section : Section
        Its outline.
    texture, small : Texture
        Its interior, for patches and for the overlap score.
    """

    view: View
    section: Section
    texture: Texture
    small: Texture


def look_at(view: View, monitor: Monitor | None = None) -> Look:
    """Find the section of a view, and its textures."""
    monitor = monitor or Monitor()
    large = view.reduced(_CONTOUR_SIDE)
    section = find_section(large)
    monitor.check()
    inside = section if section.trusted else None
    small = interior_texture(view.reduced(_SCORE_SIDE), inside)
    return Look(view, section, interior_texture(large, inside), small)


def pair_of(post: Look, pre: Look) -> SectionPair:
    """Return the pair of two images that were looked at."""
    return SectionPair(
        post.view,
        pre.view,
        post.section,
        pre.section,
        post.texture,
        pre.texture,
        post.small,
        pre.small,
    )


def prepare_pair(
    post: View, pre: View, *, monitor: Monitor | None = None
) -> SectionPair:
    """Find the sections of two views, and their textures."""
    monitor = monitor or Monitor()
    first = look_at(post, monitor)
    monitor.check()
    return pair_of(first, look_at(pre, monitor))


def settle(pair: SectionPair, result: Result) -> None:
    """Let the patches of the interior judge a result, and finish it.

    Parameters
    ----------
    pair : SectionPair
        The two images.
    result : Result
        Changed in place: where the patches vouch for a map, this is the
        result's transform, unless ICP had broken its limits.
    """
    found = agree_on_patches(pair.post_texture, pair.pre_texture, result.transform)
    if found is None:
        return
    before = result.overlap
    result.agreement, result.overlap = found, pair.score(found.transform)
    if not result.vouched:
        result.overlap = before
    elif result.broken:
        # The coarse result is to stand as it is; how far it is off is known.
        off = found.transform(pair.corners) - result.transform(pair.corners)
        result.numbers["coarse_off_px"] = float(np.hypot(*off.T).max())
        result.numbers["coarse_overlap_score"] = before.score
    else:
        result.transform = found.transform


def verdict_of(
    pair: SectionPair, best: Result, first: Result, searched: bool, ecc_note: str
) -> Verdict:
    """Say what a result is worth, with the figures.

    Parameters
    ----------
    pair : SectionPair
        The two images.
    best, first : Result
        The result that is returned, and that of the outlines.
    searched : bool
        Whether other turns and hands were allowed.
    ecc_note : str
        Why the ECC pass was not kept; empty when it was or was not asked for.

    Returns
    -------
    Verdict
        'ok' only when the interior vouches for the result.
    """
    parts = best.transform.decompose()
    centre = pair.centre[None]
    agreement = best.agreement
    accuracy = -1.0
    if agreement is not None and best.vouched:
        accuracy = agreement.accuracy + best.numbers.get("coarse_off_px", 0.0)
    numbers = {
        **first.numbers,
        **best.numbers,
        "overlap_score": best.overlap.score,
        "overlap_correlation": best.overlap.correlation,
        "overlap_share": best.overlap.share,
        "angle_deg": parts["angle_deg"],
        "scale": parts["scale"],
        "mirrored": parts["mirrored"],
        "shift_px": float(np.linalg.norm(best.transform(centre) - centre)),
        "post_cut_fraction": pair.post_section.cut_fraction,
        "pre_cut_fraction": pair.pre_section.cut_fraction,
        "post_area_fraction": pair.post_section.area_fraction,
        "pre_area_fraction": pair.pre_section.area_fraction,
        "patches": float(agreement.n_patches) if agreement else 0.0,
        "patches_agreeing": float(agreement.n_agreeing) if agreement else 0.0,
        "patch_residual_px": agreement.residual if agreement else -1.0,
        "accuracy_px": accuracy,
    }
    state = "ok"
    reasons = []
    if best.broken:
        state = "fell_back"
        reasons.append(f"ICP {best.broken}; the coarse result stands")
    if not best.vouched:
        state = "failed"
        agreeing = int(numbers["patches_agreeing"])
        reasons.append(
            f"the interiors do not agree: overlap score {best.overlap.score:.1f} "
            f"({SCORE_NEEDED:g} needed), {agreeing} of {int(numbers['patches'])} "
            f"patches on one map ({PATCHES_NEEDED} and "
            f"{100 * SHARE_NEEDED:g} % needed)"
        )
        if not searched:
            reasons.append("turn orientation_search on to try any turn and both hands")
    if ecc_note:
        state = "fell_back" if state == "ok" else state
        reasons.append(ecc_note)
    numbers = {key: float(v) for key, v in numbers.items() if np.isfinite(v)}
    return Verdict(state, "; ".join(reasons), numbers)


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


@dataclass(frozen=True, slots=True)
class EccResult:
    """What the ECC pass found.

    Attributes
    ----------
    transform : Transform
        Post to pre, full-resolution px: a homography.
    before, after : float
        Correlation coefficient of the interiors at the start and at the end.
    """

    transform: Transform
    before: float
    after: float


def correlation_at(post: Texture, pre: Texture, transform: Transform) -> float:
    """Return the correlation coefficient of two interiors where both are seen.

    Parameters
    ----------
    post, pre : Texture
        Of the fixed and the moving image.
    transform : Transform
        Post to pre, full-resolution px.
    """
    warped, inside = pre.warped_to(post, transform)
    both = post.mask & inside
    if np.count_nonzero(both) < 400:
        return 0.0
    a = post.values[both] - post.values[both].mean()
    b = warped[both] - warped[both].mean()
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0.0 else 0.0


def refine_ecc(
    post: Texture,
    pre: Texture,
    start: Transform,
    *,
    stopit: int = 500,
    stopdelta: float = 1e-6,
) -> EccResult | None:
    """Maximise the correlation of two interiors over homographies.

    Parameters
    ----------
    post, pre : Texture
        Of the fixed and the moving image, at a few hundred px.
    start : Transform
        Post to pre, full-resolution px; within about the width of the texture.
    stopit : int
        Largest number of iterations.
    stopdelta : float
        Stops when the correlation changes by less.

    Returns
    -------
    EccResult or None
        None when the iteration did not converge.

    References
    ----------
    .. [1] G. Evangelidis and E. Psarakis, "Parametric image alignment using
       enhanced correlation coefficient maximization", IEEE TPAMI 30, 2008.
       :doi:`10.1109/TPAMI.2008.113`
    """
    before = correlation_at(post, pre, start)
    warp = between(post.view, pre.view, start).matrix.astype(np.float32)
    criteria = (
        cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT,
        max(1, int(stopit)),
        float(stopdelta),
    )
    try:
        _, found = cv2.findTransformECC(
            post.values,
            pre.values,
            warp,
            cv2.MOTION_HOMOGRAPHY,
            criteria,
            pre.mask.astype(np.uint8),
            3,
        )
        small = Transform(np.asarray(found, dtype=np.float64))
        full = pre.view.to_full @ small @ post.view.to_full.inverse()
    except (cv2.error, ValueError):
        return None
    return EccResult(full, before, correlation_at(post, pre, full))


_FIRST_SIDE = 64
_FIRST_KEPT = 5
_GRID_SIDE = 160
_LARGEST_COARSE_SIDE = 512
_SMALLEST_COARSE_SIDE = 96
_BEYOND = 1.14


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

    @classmethod
    def over_ranges(
        cls,
        *,
        use_edges: bool,
        boundary_width: float,
        boundary_smooth: float,
        rotation_search: bool,
        angle_range: float,
        angle_step: float,
        scale_search: bool,
        scale_min: float,
        scale_max: float,
        scale_step: float,
        multiscale: bool,
        down_scale: float,
    ) -> Self:
        """Return the search over ranges, as `register_highorder` takes them.

        Raises
        ------
        ParameterError
            If a range is empty.
        """
        if not 0.0 < down_scale <= 1.0:
            raise ParameterError(
                f"down_scale must be above 0 and at most 1, not {down_scale:g}"
            )
        turn = abs(angle_range) if rotation_search else 0.0
        # From the middle outwards, so that no turn at all is always tried.
        half = grid_nodes(0.0, turn, angle_step)
        scales = grid_nodes(scale_min, scale_max, scale_step) if scale_search else [1.0]
        return cls(
            use_edges=use_edges,
            boundary_width=boundary_width,
            boundary_smooth=boundary_smooth,
            angles=sorted({-a for a in half} | set(half)),
            angle_step=angle_step if rotation_search else 0.0,
            scales=scales,
            scale_step=scale_step if scale_search else 0.0,
            multiscale=multiscale,
            down_scale=down_scale,
        )


class PairSearches:
    """What can be sought in one pair; the same search is made once only.

    Parameters
    ----------
    pair : SectionPair
        The two images.
    """

    def __init__(self, pair: SectionPair) -> None:
        self.pair = pair
        self._coarse: tuple[OutlineSearch, list[Candidate]] | None = None
        self._features: list[FeatureMatch] | None = None
        self._full_circle: tuple[list[float], list[Candidate]] | None = None

    def coarse(
        self, search: OutlineSearch, monitor: Monitor | None = None
    ) -> list[Candidate]:
        """Return the best of the coarse search, refined between the nodes."""
        known = self._coarse
        if known is None or known[0] != search:
            found = _search_coarse(self.pair, search, monitor or Monitor())
            self._coarse = known = search, found
        return known[1]

    def features(self, monitor: Monitor | None = None) -> list[FeatureMatch]:
        """Return the maps of either hand that features agree on, best first."""
        if self._features is None:
            self._features = search_features(
                self.pair.post, self.pair.pre, monitor=monitor
            )
        return self._features

    def full_circle(
        self, scales: list[float], monitor: Monitor | None = None
    ) -> list[Candidate]:
        """Return the best of all turns and both hands.

        Parameters
        ----------
        scales : list of float
            Nodes of the coarse search, ascending.
        monitor : Monitor, optional
            Told the fraction done.
        """
        known = self._full_circle
        if known is None or known[0] != scales:
            found = _search_full_circle(self.pair, scales, monitor or Monitor())
            self._full_circle = known = list(scales), found
        return known[1]


def coarse_patterns(pair: SectionPair, search: OutlineSearch) -> tuple[Pattern, ...]:
    """Return what the coarse search correlates, of post and of pre.

    Parameters
    ----------
    pair : SectionPair
        The two images.
    search : OutlineSearch
        Rings or brightness, and their scale.
    """
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
    return tuple(patterns)


def _search_coarse(
    pair: SectionPair, search: OutlineSearch, monitor: Monitor
) -> list[Candidate]:
    post, pre = coarse_patterns(pair, search)
    grid = partial(search_grid, angles=search.angles, scales=search.scales)
    rough = grid(
        post.reduced(_FIRST_SIDE),
        pre.reduced(_FIRST_SIDE),
        keep=_FIRST_KEPT,
        monitor=monitor.part(0.0, 0.5),
    )
    found = grid(
        post.reduced(_GRID_SIDE),
        pre.reduced(_GRID_SIDE),
        near=rough,
        monitor=monitor.part(0.5, 1.0),
    )

    return refine_candidates(
        post,
        pre,
        found,
        angle_step=search.angle_step,
        scale_step=search.scale_step,
        angle_limits=(search.angles[0], search.angles[-1]),
        scale_limits=(search.scales[0], search.scales[-1]),
        monitor=monitor,
    )


def _search_full_circle(
    pair: SectionPair, scales: list[float], monitor: Monitor
) -> list[Candidate]:
    low, high, count = scales[0], scales[-1], 1
    if high > low:
        # Outlines bear a step beyond the range; so does this.
        low, high = low / _BEYOND, high * _BEYOND
        count = round(np.log(high / low) / 0.05) + 1
    nodes = [float(s) for s in np.geomspace(low, high, count)]
    both = (pair.post_section, pair.pre_section)
    post, pre = (section if section.trusted else None for section in both)
    return search_full_circle(
        pair.post, pair.pre, sections=(post, pre), scales=nodes, monitor=monitor
    )


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


#: Longer side of the images that stage 2 looks at, about, px.
BASE_SIDE = 1600

_RECOVERED_PX = 0.3


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
    rotation_search : bool
        Whether turns are searched.
    angle_range, angle_step : float
        The turns: up to this on either side, and the step, degrees.
    scale_search : bool
        Whether isotropic magnifications are searched.
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

    References
    ----------
    Y. Chen and G. Medioni, "Object modelling by registration of multiple range
    images", Image and Vision Computing 10, 1992 (closest points, to lines).

    G. Evangelidis and E. Psarakis, "Parametric image alignment using enhanced
    correlation coefficient maximization", IEEE TPAMI 30, 2008,
    doi:10.1109/TPAMI.2008.113 (`fine_ecc`).

    Examples
    --------
    >>> from napari_exo2micro.core.simulate import simulate_section
    >>> pair = simulate_section((600, 700), seed=1, angle_deg=4.0, shift=(9.0, -5.0))
    >>> post, pre = (np.pad(image, 60) for image in (pair.post, pair.pre))
    >>> found = register_highorder(post, pre)
    >>> found.verdict.state
    'ok'
    >>> round(found.transform.decompose()["angle_deg"], 1)
    4.0
    """
    monitor = monitor or Monitor()
    search = OutlineSearch.over_ranges(
        use_edges=use_edges,
        boundary_width=boundary_width,
        boundary_smooth=boundary_smooth,
        rotation_search=rotation_search,
        angle_range=angle_range,
        angle_step=angle_step,
        scale_search=scale_search,
        scale_min=scale_min,
        scale_max=scale_max,
        scale_step=scale_step,
        multiscale=multiscale,
        down_scale=down_scale,
    )
    limits = IcpLimits(max_translation, max_rotation, max_scale_delta, max_scale_diff)
    monitor.report(0.0, "reading the images at reduced size")
    pair = prepare_pair(
        open_view(post_im, post_frame, BASE_SIDE, name="post"),
        open_view(pre_im, pre_frame, BASE_SIDE, name="pre"),
        monitor=monitor,
    )
    return align_sections(
        PairSearches(pair),
        search,
        limits,
        fine_ecc=fine_ecc,
        stopit=stopit,
        stopdelta=stopdelta,
        orientation_search=orientation_search,
        monitor=monitor.part(0.2, 1.0),
    )


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
