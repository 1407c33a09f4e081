"""Results of stage 2 and the interiors that judge them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.boundary import Section, find_section
from napari_exo2micro.core.alignment.overlap import (
    Overlap,
    Texture,
    interior_texture,
    score_overlap,
)
from napari_exo2micro.core.alignment.patches import Agreement, agree_on_patches
from napari_exo2micro.core.alignment.quality import State, Verdict
from napari_exo2micro.core.alignment.views import View
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "PATCHES_NEEDED",
    "SCORE_NEEDED",
    "SHARE_NEEDED",
    "Look",
    "Result",
    "SectionPair",
    "look_at",
    "pair_of",
    "prepare_pair",
    "settle",
    "verdict_of",
]

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
    state: State = "ok"
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
