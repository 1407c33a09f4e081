"""What a diagnostic plot may ask for, from the valid results of one pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from napari_exo2micro.core.checkpoint import Checkpoint
from napari_exo2micro.core.coverage import mapped_frame
from napari_exo2micro.core.photometry import ScaleEstimate, estimate_scale
from napari_exo2micro.core.rasters import Frame, reduce_image
from napari_exo2micro.core.statistics import PairStatistics, accumulate_statistics
from napari_exo2micro.core.transforms import Transform

if TYPE_CHECKING:
    from napari_exo2micro.core.sample_files import SampleFiles

__all__ = [
    "AlignedPair",
    "alignment_context",
    "difference_context",
    "find_aligned_pair",
    "provisional_scale",
]

_REDUCED_SIDE: Final = 1024
"""Longest side of the images that a provisional scale is estimated on, px."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedPair:
    """The checkpoints that show how well a pair is aligned.

    Attributes
    ----------
    post, raw_pre : Checkpoint
        The padded images.
    pre : Checkpoint
        The aligned pre-stain image.
    boundary : Checkpoint
        Stage 2's result, which tells the outlines.
    stage : int
        The stage that `pre` is of: 2 or 3.
    """

    post: Checkpoint
    raw_pre: Checkpoint
    pre: Checkpoint
    boundary: Checkpoint
    stage: int

    @property
    def transform(self) -> Transform | None:
        """Post to pre; None when a script aligned the image and told none."""
        return self.pre.provenance.transform if self.pre.provenance else None

    @property
    def quad(self) -> Any:
        """Where on the canvas the aligned pre image has data; see `mapped_frame`."""
        frame, transform = self.raw_pre.frames["pre"], self.transform
        if frame is None or transform is None:
            return None
        return mapped_frame(transform, frame)


def find_aligned_pair(task: SampleFiles) -> AlignedPair:
    """Return the pair as the last stage that is valid has aligned it.

    Raises
    ------
    CheckpointError
        When stage 2 has no valid result.
    """
    boundary, interior = task._need(2, "pre"), task._find(3, "pre")
    return AlignedPair(
        post=task._need(1, "post"),
        raw_pre=task._need(1, "pre"),
        pre=boundary if interior is None else interior,
        boundary=boundary,
        stage=2 if interior is None else 3,
    )


def alignment_context(task: SampleFiles, pair: AlignedPair) -> dict[str, Any]:
    """Return what every plot may ask for from stage 2 on; see `draw_diagnostic`."""
    stage_2 = pair.boundary.provenance
    boundary = dict(stage_2.details) if stage_2 else {}
    coarse = boundary.get("coarse_matrix")
    aligned = pair.pre.provenance
    interior = dict(aligned.details) if aligned and pair.stage == 3 else {}
    verdicts = aligned.verdicts if aligned else {}
    return {
        "raw_pre": pair.raw_pre.image,
        "post_frame": pair.post.frames["post"],
        "pre_frame": pair.raw_pre.frames["pre"],
        "coarse_transform": Transform(coarse) if coarse else None,
        "icp_transform": stage_2.transform if stage_2 else None,
        "final_transform": pair.transform,
        "post_contour": boundary.get("post_contour"),
        "pre_contour": boundary.get("pre_contour"),
        "matches": interior.get("matches"),
        "tiles": interior.get("tiles"),
        "aligned_stage": pair.stage,
        "down_scale": task.params["down_scale"],
        "params": task.params,
        "verdicts": {int(number): verdict for number, verdict in verdicts.items()},
    }


def difference_context(
    task: SampleFiles,
    pair: AlignedPair,
    statistics: PairStatistics,
    scales: list[ScaleEstimate],
    name: str = "difference",
) -> dict[str, Any]:
    """Return what every plot may ask for after stage 4; see `draw_diagnostic`.

    Parameters
    ----------
    task, pair
        Whose results they are.
    statistics : PairStatistics
        Of the pair.
    scales : list of ScaleEstimate
        The default one first.
    name : str
        The difference image that is shown.

    Raises
    ------
    CheckpointError
        When a difference image is missing or stale.
    """
    main = task._need(4, "difference").provenance
    shown = task._need(4, name)
    stored = shown.provenance.scale if shown.provenance else {}
    verdicts = main.verdicts if main else {}
    return {
        **alignment_context(task, pair),
        "statistics": statistics,
        "scales": scales,
        "scale": stored.get("value", scales[0].scale),
        "offset": stored.get("offset", scales[0].offset),
        "difference": shown.image,
        "verdicts": {int(number): verdict for number, verdict in verdicts.items()},
    }


def provisional_scale(pair: AlignedPair) -> ScaleEstimate:
    """Return a scale good enough for a picture, from reduced images.

    Stage 4 counts every pixel for the scale that is subtracted; this one shows the
    alignment before stage 4 has run.

    Raises
    ------
    RegistrationError
        When the two images cannot be compared.
    """
    post, factor = reduce_image(pair.post.image, max_side=_REDUCED_SIDE)
    pre, _ = reduce_image(pair.pre.image, factor=factor)
    quad = pair.quad
    if quad is not None:
        quad = (quad - (factor - 1) / 2) / factor
    statistics = accumulate_statistics(
        post, pre, post_frame=_reduced(pair.post.frames["post"], factor), pre_quad=quad
    )
    return estimate_scale(statistics)


def _reduced(frame: Frame | None, factor: int) -> Frame | None:
    """Return the whole blocks inside a frame."""
    if frame is None:
        return None
    x0, y0 = -(-frame[0] // factor), -(-frame[1] // factor)
    x1, y1 = (frame[0] + frame[2]) // factor, (frame[1] + frame[3]) // factor
    return x0, y0, max(x1 - x0, 1), max(y1 - y0, 1)
