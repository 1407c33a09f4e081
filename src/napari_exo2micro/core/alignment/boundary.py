"""Stage 2: two sections aligned by their outlines, and judged by their interiors.

What is sought, in this order: turn, magnification and shift of soft rings along the
outlines, then outline on outline (ICP); when the interiors do not agree with that,
features of either hand; when they do not agree with those either, the interiors
themselves over the full circle. Patches of the interior judge each estimate and remove
what little error it has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_exo2micro.core.alignment import correlation, features, texture, views
from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.alignment.interior import (
    ShownAlignment,
    refine_interior_sift,
)
from napari_exo2micro.core.alignment.landmarks import check_landmarks, fit_landmarks
from napari_exo2micro.core.alignment.settings import BoundarySettings
from napari_exo2micro.core.alignment.texture import Agreement, Overlap, Texture
from napari_exo2micro.core.alignment.views import Section, View
from napari_exo2micro.core.base import Monitor, RegistrationError
from napari_exo2micro.core.images import (
    Frame,
    ImageLike,
    Landmarks,
    Transform,
    warp_window,
)
from napari_exo2micro.core.parameters.state import State, Verdict

_MAX_POINTS = 2500
_ROUNDS = 60
#: The iteration ends when no point moves by more than this, px.
_STILL = 1e-3
_FEWEST = 40
#: Share of the point-to-point distance: nearly round outlines do not spin.
_POINT_SHARE = 0.05
#: Pull towards the map of before, which what the outlines do not determine follows.
_DAMPING = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class IcpResult:
    """An affine map that lays one contour on the other, in the units of the contours.

    With the root mean square distance of the points that agree, and the part of the
    post contour that they are.
    """

    transform: Transform
    rms: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Correction:
    """What ICP changed: the section's middle moved, px; the turn, without sign.

    With the smaller and the larger magnification of the two axes.
    """

    translation: float
    rotation_deg: float
    scales: tuple[float, float]

    def beyond(self, limits: BoundarySettings) -> str:
        """Return which limit is broken, with both numbers; empty when none."""
        low, high = self.scales
        delta = max(abs(low - 1.0), abs(high - 1.0))
        checks = (
            ("moved the section by", self.translation, " px", "max_translation"),
            ("turned it by", self.rotation_deg, " deg", "max_rotation"),
            ("changed a magnification by", delta, "", "max_scale_delta"),
            ("made the two magnifications differ by", high - low, "", "max_scale_diff"),
        )
        return " and ".join(
            f"{what} {value:.4g}{unit}, above {name} = {getattr(limits, name):g}{unit}"
            for what, value, unit, name in checks
            if value > getattr(limits, name)
        )


def correction_of(coarse: Transform, fine: Transform, centre: FloatArray) -> Correction:
    """Return what changed from one transform to the next about the section's middle."""
    middle = centre[None, :]
    moved = float(np.linalg.norm(fine(middle) - coarse(middle)))
    # Singular values of fine coarse^-1 = U S V' are the magnifications; U V' turns.
    change = fine.matrix[:2, :2] @ np.linalg.inv(coarse.matrix[:2, :2])
    u, scales, vt = np.linalg.svd(change)
    turn = u @ vt
    rotation = float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
    return Correction(moved, abs(rotation), (float(scales[1]), float(scales[0])))


def match_contours(
    post: FloatArray, pre: FloatArray, start: Transform, *, reach: float
) -> IcpResult | None:
    """Lay the post contour on the pre contour by an affine map.

    Points (x, y) are about 1 px apart. Those farther than `reach` px from the other
    outline take no part at first; it shrinks with the distances of the points that
    agree. None when there are too few points to say anything.

    Notes
    -----
    Point-to-line distances [1]_ with Tukey weights, so that a chipped corner
    or a mask that leaked does not pull; a small share of the point-to-point
    distance keeps outlines that are nearly round from spinning, and what they
    do not determine stays as the coarse search left it.

    References
    ----------
    .. [1] Y. Chen and G. Medioni, "Object modelling by registration of multiple
       range images", Image and Vision Computing 10, 1992.
       :doi:`10.1016/0262-8856(92)90066-C`
    """
    if len(post) < 50 or len(pre) < 50:
        return None
    source = post[:: max(1, len(post) // _MAX_POINTS)]
    tree = cKDTree(pre)
    normals = _normals(pre, tree)
    centre = source.mean(axis=0)
    length = max(float(np.sqrt(np.mean((source - centre) ** 2))), 1.0)
    x, y = ((source - centre) / length).T
    design = np.stack([x, y, np.ones_like(x)], axis=-1)
    mapped = start(source)
    scale = reach
    for _ in range(_ROUNDS):
        distance, index = tree.query(mapped)
        scale = _spread(distance, reach)
        # Tukey's biweight: w = (1 - (d / c s)^2)^2 within c s, c = 4.685.
        weight = np.clip(1.0 - (distance / (4.685 * scale)) ** 2, 0.0, None) ** 2
        weight[distance > reach] = 0.0
        if np.count_nonzero(weight) < _FEWEST:
            return None
        gap = pre[index] - mapped
        step = _affine_step(design, gap, normals[index], weight)
        moved = design @ step
        mapped = mapped + moved
        if float(np.abs(moved).max()) < _STILL:
            break
    distance, index = tree.query(mapped)
    line = np.abs(np.einsum("ni,ni->n", pre[index] - mapped, normals[index]))
    agree = distance <= min(reach, max(3.0 * scale, 2.0))
    if np.count_nonzero(agree) < _FEWEST:
        return None
    solution = np.linalg.lstsq(
        np.column_stack([source, np.ones(len(source))]), mapped, rcond=None
    )[0]
    matrix = np.vstack([solution.T, [0.0, 0.0, 1.0]])
    if abs(np.linalg.det(matrix)) < 1e-6:
        return None
    rms = float(np.sqrt(np.mean(line[agree] ** 2)))
    return IcpResult(Transform(matrix), rms, float(agree.mean()))


def _spread(distance: FloatArray, reach: float) -> float:
    """Return a robust standard deviation of the distances within reach."""
    near = distance[distance <= reach]
    if not len(near):
        return reach / 3.0
    # sigma = 1.4826 median |d| for normal distances
    return float(np.clip(1.4826 * np.median(near), 0.7, reach / 3.0))


def _normals(points: FloatArray, tree: cKDTree) -> FloatArray:
    """Return unit normals of an outline from the neighbours of each point."""
    count = min(13, len(points))
    _, index = tree.query(points, k=count)
    around = points[index] - points[index].mean(axis=1, keepdims=True)
    cxx = np.mean(around[..., 0] ** 2, axis=1)
    cyy = np.mean(around[..., 1] ** 2, axis=1)
    cxy = np.mean(around[..., 0] * around[..., 1], axis=1)
    # Principal axis of [[cxx, cxy], [cxy, cyy]]: tan 2a = 2 cxy / (cxx - cyy).
    along = 0.5 * np.arctan2(2.0 * cxy, cxx - cyy)
    return np.column_stack([-np.sin(along), np.cos(along)])


def _affine_step(
    design: FloatArray, gap: FloatArray, normal: FloatArray, weight: FloatArray
) -> FloatArray:
    """Return the affine movement, shape (3, 2), that closes the gaps best."""
    # Minimise sum w ((n . (A p - gap))^2 + share |A p - gap|^2) + damping sum w |A|^2.
    rows = np.concatenate([design * normal[:, :1], design * normal[:, 1:]], axis=1)
    target = np.einsum("ni,ni->n", gap, normal)
    system = rows.T @ (rows * weight[:, None])
    right = rows.T @ (weight * target)
    block = _POINT_SHARE * (design.T @ (design * weight[:, None]))
    system[:3, :3] += block
    system[3:, 3:] += block
    right[:3] += _POINT_SHARE * (design.T @ (weight * gap[:, 0]))
    right[3:] += _POINT_SHARE * (design.T @ (weight * gap[:, 1]))
    system += _DAMPING * float(weight.sum()) * np.eye(6)
    step: FloatArray = np.linalg.solve(system, right).reshape(2, 3).T
    return step


logger = logging.getLogger(__name__)

#: Longer side of the images that stage 2 looks at, about, px.
BASE_SIDE = 1600
#: Longer side of those that outlines and patches, and the overlap score, are made of.
_CONTOUR_SIDE, _SCORE_SIDE = 1024, 512

#: Measured: up to 7 on interiors that have nothing to do with each other, above 40
#: on those of the same section.
SCORE_NEEDED = 12.0
#: Patches that must agree on one map, as a number and as a part of all.
PATCHES_NEEDED = 8
SHARE_NEEDED = 0.5

#: The coarse search: every node at the first side, the best ones and their neighbours
#: at the second, and between the nodes at coarse scale within these sides, px.
_FIRST_SIDE, _FIRST_KEPT, _GRID_SIDE = 64, 5, 160
_SMALLEST_COARSE_SIDE, _LARGEST_COARSE_SIDE = 96, 512

_MAX_FEATURES = 5000
_LANDMARKS = "landmarks"
_FULL_CIRCLE_STEP = 3.0
_FULL_CIRCLE_SIDE = 208
_FULL_CIRCLE_KEPT = 6
#: Outlines bear a step beyond the range of magnifications; so does the full circle.
_BEYOND = 1.14

#: A correlation that ECC lowered by less than this is the same.
_SAME_CORRELATION = 1e-3
#: A lost transform counts as recovered when it is known to this, px.
_RECOVERED_PX = 0.3

Patterns = tuple[correlation.Pattern, correlation.Pattern]
#: Returns what was made before under a name and a key, or makes it.
Keep = Callable[[str, Any, Callable[[], Any]], Any]


def _make(_name: str, _key: Any, make: Callable[[], Any]) -> Any:
    """Keep nothing: a stage seeks everything once."""
    return make()


@dataclass(frozen=True, slots=True)
class SectionImage:
    """One image as stage 2 sees it.

    Its outline and its interior, for patches, are seen at about 1000 px; the `small`
    interior, for the overlap score, at about 500 px.
    """

    view: View
    section: Section
    texture: Texture
    small: Texture

    @classmethod
    def of(cls, view: View, monitor: Monitor) -> SectionImage:
        """Find the section of a view, and its textures."""
        large = view.reduced(_CONTOUR_SIDE)
        section = views.find_section(large)
        monitor.check()
        inside = section if section.trusted else None
        small = texture.interior_texture(view.reduced(_SCORE_SIDE), inside)
        return cls(view, section, texture.interior_texture(large, inside), small)

    @property
    def contour(self) -> FloatArray:
        """Outline (x, y), full-resolution px, shape (N, 2); may be empty."""
        if not len(self.section.contour):
            return np.empty((0, 2))
        return self.section.view.to_full(self.section.contour)


@dataclass(frozen=True, slots=True)
class SectionPair:
    """Both images as stage 2 sees them."""

    post: SectionImage
    pre: SectionImage

    @property
    def centre(self) -> FloatArray:
        """Middle of the section in the post-stain image, full-resolution px, (1, 2)."""
        section = self.post.section
        y, x = np.nonzero(section.mask)
        if not len(y):
            return self.post.view.centre[None]
        return section.view.to_full(np.array([[x.mean(), y.mean()]]))

    @property
    def corners(self) -> FloatArray:
        """Corners of the section's bounding box, full-resolution px, (4, 2)."""
        section = self.post.section
        y, x = np.nonzero(section.mask if section.mask.any() else section.view.valid)
        box = [(a, b) for a in (x.min(), x.max()) for b in (y.min(), y.max())]
        return section.view.to_full(np.array(box, dtype=np.float64))

    def score(self, transform: Transform) -> Overlap:
        """Return the score of the interiors under a transform."""
        return texture.score_overlap(self.post.small, self.pre.small, transform)


@dataclass(slots=True)
class Estimate:
    """One estimate of the transform on its way through the checks.

    Transforms map post to pre, full-resolution px: as it stands, before ICP (`coarse`)
    and what ICP proposed. `broken` names the limits that ICP broke.
    """

    method: str
    transform: Transform
    coarse: Transform
    overlap: Overlap
    agreement: Agreement | None = None
    broken: str = ""
    icp: Transform | None = None
    numbers: dict[str, float] = field(default_factory=dict)

    @classmethod
    def judged(
        cls,
        pair: SectionPair,
        method: str,
        transform: Transform,
        coarse: Transform | None = None,
        **more: Any,
    ) -> Estimate:
        """Return an estimate with the judgement of the interiors.

        Where the patches vouch for a map, it takes the place of the transform, unless
        ICP had broken its limits: then the coarse result is to stand as it is.
        """
        overlap = pair.score(transform)
        estimate = cls(method, transform, coarse or transform, overlap, **more)
        post, pre = pair.post.texture, pair.pre.texture
        agreement = texture.agree_on_patches(post, pre, transform)
        if agreement is None:
            return estimate
        mapped = agreement.transform
        estimate.agreement = agreement
        estimate.overlap = pair.score(mapped)
        if not estimate.vouched:
            estimate.overlap = overlap
        elif estimate.broken:
            off = mapped(pair.corners) - transform(pair.corners)
            estimate.numbers["coarse_off_px"] = float(np.hypot(*off.T).max())
            estimate.numbers["coarse_overlap_score"] = overlap.score
        else:
            estimate.transform = mapped
        return estimate

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
    def decides(self) -> bool:
        """Whether nothing else needs to be sought."""
        return self.vouched and not self.broken

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Order: vouched for, within the limits of ICP, how well it agrees."""
        share = 0.0 if self.agreement is None else self.agreement.share
        return self.vouched, not self.broken, share + self.overlap.score


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BoundaryAlignment(ShownAlignment):
    """Result of stage 2.

    Attributes
    ----------
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px of the canvas.
    coarse_transform : Transform
        The same after the coarse search alone, before ICP.
    verdict : Verdict
        Whether the interior vouches for `transform`, and the figures.
    method : {'boundary', 'features', 'full circle', 'landmarks'}
        Which search `transform` comes from.
    post_contour, pre_contour : ndarray, shape (N, 2), float64
        Outlines (x, y), each in px of its own canvas; may be empty.
    icp_transform : Transform or None
        What ICP proposed, accepted or not.
    ecc_transform : Transform or None
        What the ECC pass proposed, kept or not.
    images : tuple of ImageLike or None
        Post and pre, where they are known: then it unpacks, see `__iter__`.
    """

    transform: Transform
    coarse_transform: Transform
    verdict: Verdict
    method: str
    post_contour: FloatArray
    pre_contour: FloatArray
    icp_transform: Transform | None = None
    ecc_transform: Transform | None = None
    images: tuple[ImageLike, ImageLike] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Yield the five values that the reference system's function returned.

        Post, aligned pre and pre after the coarse search (float32, warped in memory),
        the matrix of `transform` (3 x 3, post to pre), and a dict with the rest.

        Raises
        ------
        RegistrationError
            If the images are not known.
        """
        if self.images is None:
            raise RegistrationError(
                "this alignment does not hold its images, so it cannot be unpacked; "
                "take its transform, or unpack what register_highorder returns"
            )
        post, pre = self.images
        rows, columns = post.shape
        yield np.asarray(post[0:rows, 0:columns], dtype=np.float32)
        for transform in (self.transform, self.coarse_transform):
            moved = warp_window(pre, transform, 0, rows, 0, columns, "linear")
            yield np.asarray(moved, dtype=np.float32)
        yield self.transform.matrix
        names = ("method", "verdict", "coarse_transform", "post_contour", "pre_contour")
        yield {name: getattr(self, name) for name in names}


def register_highorder(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    landmarks: Landmarks | None = None,
    settings: BoundarySettings | None = None,
    monitor: Monitor | None = None,
    **tuning: Any,
) -> BoundaryAlignment:
    """Align two sections by their outlines, and check it on their interiors.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Padded canvases of the post-stain (fixed) and pre-stain (moving) image:
        zero outside the frame. uint8, uint16, float32 or float64, NaN where they have
        no data.
    post_frame, pre_frame : tuple of int, optional
        (x0, y0, width, height) of the real data, px; by default the bounding
        box of what is not zero.
    landmarks : Landmarks, optional
        Points seen in both images, px of the canvases: the map through them takes the
        place of every search, and the interior refines it where it can.
    settings : BoundarySettings, optional
        All of the tuning; by default that of the registry of parameters.
    monitor : Monitor, optional
        Told the fraction done and asked whether to stop.
    **tuning
        Parameters of stage 2 by name, instead of those in `settings`:
        ``boundary_width=20``. `BoundarySettings` describes them.

    Returns
    -------
    BoundaryAlignment
        Its verdict is 'ok' only when the interiors agree: a correlation peak
        far above those of other shifts, and patches that agree on one map. It
        unpacks as in the reference system: ``post, pre, coarse, matrix, rest``.

    Raises
    ------
    RegistrationError
        If an image is empty, constant or too small, or landmarks lie on one line or do
        not fit each other.
    ParameterError
        If a parameter is unknown or out of its range.

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
    >>> result = register_highorder(post, pre)
    >>> str(result.verdict.state)
    'ok'
    >>> round(result.transform.decompose()["angle_deg"], 1)
    4.0
    """
    settings = (settings or BoundarySettings.of({})).tuned(**tuning)
    monitor = monitor or Monitor()
    monitor.report(0.0, "reading the images at reduced size")
    pair = SectionPair(
        *(
            SectionImage.of(views.open_view(image, frame, BASE_SIDE, name), monitor)
            for image, frame, name in (
                (post_im, post_frame, "post"),
                (pre_im, pre_frame, "pre"),
            )
        )
    )
    patterns = coarse_patterns(pair, settings)
    part = monitor.part(0.2, 1.0)
    aligned = align_sections(pair, patterns, settings, part, landmarks=landmarks)
    return replace(aligned, images=(post_im, pre_im))


def align_sections(
    pair: SectionPair,
    patterns: Patterns,
    settings: BoundarySettings,
    monitor: Monitor,
    keep: Keep = _make,
    landmarks: Landmarks | None = None,
) -> BoundaryAlignment:
    """Align two sections: the work of `register_highorder`.

    `patterns` are the `coarse_patterns` of the pair; `keep` lets a preview keep the
    searches that a parameter does not change.
    """
    monitor.report(0.0, "comparing the outlines")
    part = monitor.part(0.0, 0.4)
    if landmarks is not None:
        outlines = _from_landmarks(pair, landmarks)
    else:
        outlines = _from_outlines(pair, patterns, settings, part, keep)
    estimates = [outlines]
    searches = settings.orientation_search and landmarks is None
    if searches and not outlines.decides:
        logger.info(
            "the outlines could not decide (interior score %.1f); searching features "
            "over any turn and both hands",
            outlines.overlap.score,
        )
        estimates += _from_features(pair, monitor.part(0.4, 0.6), keep)
        if not any(estimate.decides for estimate in estimates):
            part = monitor.part(0.6, 0.8)
            estimates += _from_full_circle(pair, settings, part, keep)
    best = max(estimates, key=lambda estimate: estimate.rank)
    if not best.vouched:
        # Nothing is known to be right; an outline match is the better guess.
        best = outlines
    note, proposed = "", None
    if settings.fine_ecc and not best.decides:
        note = "fine_ecc was not tried on it"
    elif settings.fine_ecc:
        monitor.report(0.8, "maximising the correlation")
        note, proposed = _fine_ecc(pair, best, settings)
    monitor.report(1.0, "sections aligned")
    return BoundaryAlignment(
        transform=best.transform,
        coarse_transform=best.coarse,
        verdict=_verdict(pair, best, outlines, settings.orientation_search, note),
        method=best.method,
        post_contour=pair.post.contour,
        pre_contour=pair.pre.contour,
        icp_transform=best.icp,
        ecc_transform=proposed,
    )


def _from_outlines(
    pair: SectionPair,
    patterns: Patterns,
    settings: BoundarySettings,
    monitor: Monitor,
    keep: Keep,
) -> Estimate:
    """Lay one outline on the other, and ask the interior about it."""
    numbers: dict[str, float] = {}
    coarse = Transform.identity()
    if settings.multiscale:
        key = (
            settings.use_edges,
            settings.boundary_width,
            settings.boundary_smooth,
            settings.down_scale,
            settings.angles,
            settings.scales,
            settings.angle_step,
            settings.scale_step,
        )
        search = partial(_search_coarse, *patterns, settings, monitor.part(0.0, 0.6))
        candidates = keep("coarse", key, search)
        if candidates:
            scored = []
            for candidate in candidates:
                monitor.check()
                scored.append((pair.score(candidate.transform).score, candidate))
            # The interior chooses where it can tell, otherwise the outline.
            highest = max(scored, key=lambda entry: entry[0])
            chosen = highest[1] if highest[0] >= SCORE_NEEDED else candidates[0]
            coarse = chosen.transform
            numbers["boundary_score"] = chosen.score
    monitor.report(0.6, "matching the outlines point by point")
    icp, broken = _icp(pair, coarse, settings, numbers)
    monitor.check()
    estimate = partial(
        Estimate.judged, pair, "boundary", coarse=coarse, icp=icp, numbers=numbers
    )
    if icp is None or broken:
        return estimate(coarse, broken=broken)
    result = estimate(icp)
    if not result.vouched:
        monitor.check()
        # ICP may have slid along an outline that is not the same in both.
        unmoved = estimate(coarse)
        if unmoved.vouched:
            return unmoved
    return result


def _from_landmarks(pair: SectionPair, landmarks: Landmarks) -> Estimate:
    """Lay landmarks on landmarks; the interior refines that where it can."""
    fit = fit_landmarks(landmarks)
    estimate = Estimate.judged(pair, _LANDMARKS, fit.transform)
    if check_landmarks(landmarks, estimate.transform).problem:
        overlap = pair.score(fit.transform)
        estimate = Estimate(_LANDMARKS, fit.transform, fit.transform, overlap)
    estimate.numbers |= check_landmarks(landmarks, estimate.transform).numbers
    return estimate


def coarse_patterns(pair: SectionPair, settings: BoundarySettings) -> Patterns:
    """Return what the coarse search correlates: rings, or the brightness inside."""
    nominal = 0.25 * settings.down_scale
    full_side = max(
        side * image.view.factor
        for image in (pair.post, pair.pre)
        for side in image.view.image.shape
    )
    # A small image at the coarse scale would be a few dozen px: it is seen at
    # more, still in step with the coarse scale.
    least = max(nominal * full_side, 640.0 * settings.down_scale, _SMALLEST_COARSE_SIDE)
    side = int(min(round(least), _LARGEST_COARSE_SIDE))
    patterns = []
    for section in (pair.post.section, pair.pre.section):
        view = section.view.reduced(side)
        # A very large image is seen at less than the coarse scale: the ring
        # keeps its thickness on the section.
        ratio = min(1.0, 1.0 / (nominal * view.factor))
        smooth = settings.boundary_smooth * ratio
        if settings.use_edges:
            width = settings.boundary_width * ratio
            values = boundary_ring(section, view, width=width, smooth=smooth)
        else:
            values = masked_brightness(section, view, smooth=smooth)
        patterns.append(correlation.Pattern(view, values))
    return patterns[0], patterns[1]


def boundary_ring(
    section: Section, view: View, *, width: float, smooth: float
) -> NDArray[np.float32]:
    """Return a soft band along the section's outline, 1 in its middle, on a view.

    The view, of the same image, is not larger than the section's. The band is `width`
    px of it thick and softened by a Gaussian of sigma `smooth` px.
    """
    ratio = view.factor / section.view.factor
    # 1 up to half the width from the outline, then down to 0 over one pixel.
    depth = 0.5 * max(width, 1.0) + 0.5 - np.abs(section.distance_on(view)) / ratio
    return _softened(np.clip(depth, 0.0, 1.0) * view.valid, smooth)


def masked_brightness(
    section: Section, view: View, *, smooth: float
) -> NDArray[np.float32]:
    """Return the smoothed brightness inside the section, zero outside.

    The square root of what lies above the glass, about 0 to 1. See `boundary_ring`.
    """
    rows, columns = view.image.shape
    mask = views.shrunk(section.mask, (columns, rows))
    inside = mask > 0.5
    if not inside.any():
        return np.zeros(view.image.shape, np.float32)
    low = float(np.percentile(view.image[view.valid], 1))
    high = float(np.percentile(view.image[inside], 99))
    bright = np.sqrt(np.clip((view.image - low) / max(high - low, 1e-12), 0.0, 1.0))
    return _softened(bright * mask, smooth)


def _softened(values: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    soft = np.asarray(values, np.float32)
    if sigma > 0.0:
        blurred = cv2.GaussianBlur(soft, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        soft = np.asarray(blurred, np.float32)
    return soft


def _search_coarse(
    post: correlation.Pattern,
    pre: correlation.Pattern,
    settings: BoundarySettings,
    monitor: Monitor,
) -> list[correlation.Candidate]:
    """Return turns and magnifications of the outlines, best first."""
    angles, scales = settings.angles, settings.scales
    grid = partial(correlation.search_grid, angles=angles, scales=scales)
    rough = grid(
        post.reduced(_FIRST_SIDE),
        pre.reduced(_FIRST_SIDE),
        keep=_FIRST_KEPT,
        monitor=monitor.part(0.0, 0.5),
    )
    nodes = grid(
        post.reduced(_GRID_SIDE),
        pre.reduced(_GRID_SIDE),
        near=rough,
        monitor=monitor.part(0.5, 1.0),
    )
    return correlation.refine_candidates(
        post,
        pre,
        nodes,
        angle_step=settings.angle_step if settings.rotation_search else 0.0,
        scale_step=settings.scale_step if settings.scale_search else 0.0,
        angle_limits=(angles[0], angles[-1]),
        scale_limits=(scales[0], scales[-1]),
        monitor=monitor,
    )


def _icp(
    pair: SectionPair,
    coarse: Transform,
    settings: BoundarySettings,
    numbers: dict[str, float],
) -> tuple[Transform | None, str]:
    """Return what ICP proposes and the limits it breaks; add its figures."""
    post, pre = pair.post.section, pair.pre.section
    reach = 0.06 * float(np.sqrt(max(post.mask.sum(), 1.0)))
    match = match_contours(
        post.contour,
        pre.contour,
        views.between(post.view, pre.view, coarse),
        reach=max(reach, 8.0),
    )
    if match is None:
        return None, ""
    fine = views.on_canvas(post.view, pre.view, match.transform)
    change = correction_of(coarse, fine, pair.centre[0])
    numbers.update(
        icp_rms_px=match.rms * pre.view.factor,
        icp_agreeing=match.overlap,
        icp_translation_px=change.translation,
        icp_rotation_deg=change.rotation_deg,
        icp_scale_min=change.scales[0],
        icp_scale_max=change.scales[1],
    )
    return fine, change.beyond(settings)


def _from_features(pair: SectionPair, monitor: Monitor, keep: Keep) -> list[Estimate]:
    post, pre = pair.post.view, pair.pre.view
    fits = keep("any turn", None, partial(search_features, post, pre, monitor))
    return [
        Estimate.judged(
            pair,
            "features",
            fit.transform,
            numbers={
                "feature_inliers": float(fit.n_inliers),
                "feature_matches": float(len(fit.inliers)),
            },
        )
        for fit in fits
    ]


def search_features(post: View, pre: View, monitor: Monitor) -> list[features.MatchFit]:
    """Find maps of either hand that many features agree on, best first.

    At most one of each hand, post to pre at full resolution; none when too few features
    agree. SIFT does not mind turns and magnifications; a mirror image is another
    picture to it, so the mirrored pre-stain image is tried, too.
    """
    detect = partial(features.detect_features, max_features=_MAX_FEATURES)
    stretch = partial(features.stretch_for_features, blur=1.0)
    fixed = detect(stretch(post.image, mask=post.valid), mask=post.valid)
    monitor.report(0.3, "comparing features")
    picture, fits = stretch(pre.image, mask=pre.valid), []
    for number, mirrored in enumerate((False, True)):
        columns = slice(None, None, -1 if mirrored else 1)
        moving = detect(
            np.ascontiguousarray(picture[:, columns]),
            mask=np.ascontiguousarray(pre.valid[:, columns]),
        )
        if mirrored:
            moving.points[:, 0] = picture.shape[1] - 1 - moving.points[:, 0]
        fit = _fit_of_one_hand(fixed, moving, mirrored)
        if fit is not None:
            full = views.on_canvas(post, pre, fit.transform)
            fits.append(replace(fit, transform=full))
            # So many do not agree by chance; the other hand need not be tried.
            if fit.n_inliers >= 60 and fit.n_inliers > 0.4 * len(fit.inliers):
                break
        monitor.report(0.65 + 0.35 * number, "comparing features")
    return sorted(fits, key=lambda fit: -fit.n_inliers)


def _fit_of_one_hand(
    fixed: features.Features, moving: features.Features, mirrored: bool
) -> features.MatchFit | None:
    """Return a similarity, or an affine map where many features agree on one."""
    pairs = features.match_features(fixed, moving, ratio=0.8)
    if len(pairs) < 6:
        return None
    source, target = fixed.points[pairs[:, 0]], moving.points[pairs[:, 1]]
    rough = features.fit_matches(
        source, target, model="similarity", threshold=8.0, mirrored=mirrored
    )
    if rough is None or rough.n_inliers < 5:
        return None
    if not 0.3 < rough.transform.decompose()["scale"] < 3.3:
        return None
    if rough.n_inliers >= 12:
        near = rough.residuals < 20.0
        finer = features.fit_matches(
            source[near], target[near], model="affine", threshold=4.0
        )
        if finer is not None and finer.transform.mirrored == mirrored:
            return features.MatchFit(finer.transform, rough.inliers, rough.residuals)
    return rough


def _from_full_circle(
    pair: SectionPair, settings: BoundarySettings, monitor: Monitor, keep: Keep
) -> list[Estimate]:
    scales = settings.scales
    search = partial(search_full_circle, pair, scales, monitor)
    candidates = keep("full circle", scales, search)
    by_interior = sorted(candidates, key=lambda c: -pair.score(c.transform).score)
    return [
        Estimate.judged(pair, "full circle", candidate.transform)
        for candidate in by_interior[:2]
    ]


def search_full_circle(
    pair: SectionPair, scales: list[float], monitor: Monitor
) -> list[correlation.Candidate]:
    """Correlate the interiors over all turns and both hands, best first.

    At the ascending nodes `scales` of the coarse search and a little more, then between
    the nodes; no candidates when there is no texture.
    """
    low, high, count = scales[0], scales[-1], 1
    if high > low:
        low, high = low / _BEYOND, high * _BEYOND
        count = round(np.log(high / low) / 0.05) + 1
    nodes = [float(s) for s in np.geomspace(low, high, count)]

    def pattern(image: SectionImage) -> correlation.Pattern:
        small = image.view.reduced(_FULL_CIRCLE_SIDE)
        inside = image.section if image.section.trusted else None
        # Structures of a few px: they bear the step of the search.
        return correlation.Pattern(
            small, texture.interior_texture(small, inside, fine=1.8, coarse=6.0).values
        )

    post, pre = pattern(pair.post), pattern(pair.pre)
    best = correlation.search_grid(
        post,
        pre,
        angles=[float(a) for a in np.arange(-180.0, 180.0, _FULL_CIRCLE_STEP)],
        scales=nodes,
        hands=(False, True),
        keep=_FULL_CIRCLE_KEPT,
        monitor=monitor,
    )
    return correlation.refine_candidates(
        post,
        pre,
        best,
        angle_step=_FULL_CIRCLE_STEP,
        scale_step=float(np.diff(nodes).mean()) if count > 1 else 0.0,
        angle_limits=(-360.0, 360.0),
        scale_limits=(0.5 * nodes[0], 2.0 * nodes[-1]),
        rounds=3,
        monitor=monitor,
    )


def _fine_ecc(
    pair: SectionPair, best: Estimate, settings: BoundarySettings
) -> tuple[str, Transform | None]:
    """Try the ECC pass on an estimate; return why it was not kept, if so."""
    post, pre = pair.post.texture, pair.pre.texture
    ecc = texture.refine_ecc(post, pre, best.transform, settings)
    if ecc is None:
        return "fine_ecc did not converge: the result before it stands", None
    moved = ecc.transform(pair.centre) - best.transform(pair.centre)
    best.numbers.update(
        ecc_before=ecc.before,
        ecc_after=ecc.after,
        ecc_shift_px=float(np.linalg.norm(moved)),
    )
    if ecc.after > ecc.before:
        best.transform = ecc.transform
        best.overlap = pair.score(ecc.transform)
        return "", ecc.transform
    if ecc.after > ecc.before - _SAME_CORRELATION:
        return "", ecc.transform
    return (
        f"fine_ecc lowered the correlation from {ecc.before:.3f} to {ecc.after:.3f}: "
        "the result before it stands"
    ), ecc.transform


def _verdict(
    pair: SectionPair,
    best: Estimate,
    outlines: Estimate,
    searched: bool,
    ecc_note: str,
) -> Verdict:
    """Return what an estimate is worth: 'ok' only when the interior vouches for it.

    `searched`: whether other turns and hands were allowed; `ecc_note`: why the ECC
    pass was not kept.
    """
    parts = best.transform.decompose()
    agreement, post, pre = best.agreement, pair.post.section, pair.pre.section
    accuracy = -1.0
    if agreement is not None and best.vouched:
        accuracy = agreement.accuracy + best.numbers.get("coarse_off_px", 0.0)
    numbers = {
        **outlines.numbers,
        **best.numbers,
        "overlap_score": best.overlap.score,
        "overlap_correlation": best.overlap.correlation,
        "overlap_share": best.overlap.share,
        "angle_deg": parts["angle_deg"],
        "scale": parts["scale"],
        "mirrored": parts["mirrored"],
        "shift_px": float(np.linalg.norm(best.transform(pair.centre) - pair.centre)),
        "post_cut_fraction": post.cut_fraction,
        "pre_cut_fraction": pre.cut_fraction,
        "post_area_fraction": post.area_fraction,
        "pre_area_fraction": pre.area_fraction,
        "patches": float(agreement.n_patches) if agreement else 0.0,
        "patches_agreeing": float(agreement.n_agreeing) if agreement else 0.0,
        "patch_residual_px": agreement.residual if agreement else -1.0,
        "accuracy_px": accuracy,
    }
    state = State.OK
    reasons = []
    if best.broken:
        state = State.FELL_BACK
        reasons.append(f"ICP {best.broken}; the coarse result stands")
    if not best.vouched and best.method == _LANDMARKS:
        numbers["accuracy_px"] = numbers["landmarks_left_out_px"]
        reasons.append(
            "the map through the landmarks stands: the interiors bear no finer one"
        )
    elif not best.vouched:
        state = State.FAILED
        reasons.append(
            f"the interiors do not agree: overlap score {best.overlap.score:.1f} "
            f"({SCORE_NEEDED:g} needed), {numbers['patches_agreeing']:.0f} of "
            f"{numbers['patches']:.0f} patches on one map ({PATCHES_NEEDED} and "
            f"{100 * SHARE_NEEDED:g} % needed)"
        )
        if not searched:
            reasons.append("turn orientation_search on to try any turn and both hands")
    if ecc_note:
        state = State.FELL_BACK if state is State.OK else state
        reasons.append(ecc_note)
    finite = {key: float(v) for key, v in numbers.items() if np.isfinite(v)}
    return Verdict(state, "; ".join(reasons), finite)


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
        if start.verdict.state is not State.OK:
            return None
        fine = refine_interior_sift(warped, original, start.transform, local="off")
    except RegistrationError:
        return None
    if fine.method != "tiles" or not 0.0 <= fine.accuracy_px <= _RECOVERED_PX:
        return None
    centres = np.column_stack([fine.tiles.x, fine.tiles.y])[fine.tiles.used]
    if _likeness(warped, original, fine.transform, centres) < 0.95:
        return None
    return fine.transform


def _likeness(
    warped: ImageLike, original: ImageLike, transform: Transform, centres: FloatArray
) -> float:
    """Return the median correlation of small full-resolution windows."""
    half = 64
    correlations = []
    for x, y in centres[:: max(1, len(centres) // 40)]:
        x0, y0 = int(x) - half, int(y) - half
        x1, y1 = x0 + 2 * half, y0 + 2 * half
        if min(x0, y0) < 0 or x1 > warped.shape[1] or y1 > warped.shape[0]:
            continue
        a = np.asarray(warped[y0:y1, x0:x1])
        b = warp_window(original, transform, y0, y1, x0, x1)
        if np.ptp(a) > 0 and np.ptp(b) > 0:
            correlations.append(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    return float(np.median(correlations)) if len(correlations) >= 5 else 0.0
