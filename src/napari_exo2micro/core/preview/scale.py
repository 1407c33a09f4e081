"""The preview of stage 4: scales and the difference that they leave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.coverage import mapped_frame, valid_mask_window
from napari_exo2micro.core.defaults import default_params
from napari_exo2micro.core.difference import difference_window
from napari_exo2micro.core.errors import (
    CheckpointError,
    ParameterError,
    RegistrationError,
)
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.pair_statistics import PairStatistics, load_statistics
from napari_exo2micro.core.photometry import (
    ScaleEstimate,
    manual_scale,
    scale_at_percentile,
)
from napari_exo2micro.core.preview.reduced import ReducedImage
from napari_exo2micro.core.preview.sampling import WHOLE_PIXELS
from napari_exo2micro.core.preview.source import PreviewSource
from napari_exo2micro.core.transforms import Transform

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["ScalePreview", "preview_scale", "stored_statistics"]

Basis = Literal["stage 4", "every pixel", "sample", "nothing"]


@dataclass(frozen=True, slots=True, eq=False)
class ScalePreview:
    """What stage 4 would find.

    Attributes
    ----------
    verdict : Verdict
        Of the Moffat scale; `failed` with the reason when there is none.
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px of the canvas.
    basis : {'stage 4', 'every pixel', 'sample', 'nothing'}
        What the scales are counted on: the stored statistics of stage 4, all pixels
        of a small pair, or windows at full resolution from all over a large one.
    scales : dict of ScaleEstimate
        Under ``'moffat'`` and, where they were asked for, ``'percentile'`` and
        ``'manual'``.
    statistics : PairStatistics or None
        What they were estimated from.
    post, aligned_pre : ReducedImage or None
        The images, one on the other; None when they cannot be read.
    valid : ndarray of bool or None
        Where on the grid of `post` both images have data.
    """

    verdict: Verdict
    transform: Transform
    basis: Basis = "nothing"
    scales: Mapping[str, ScaleEstimate] = field(default_factory=dict)
    statistics: PairStatistics | None = None
    post: ReducedImage | None = None
    aligned_pre: ReducedImage | None = None
    valid: NDArray[np.bool_] | None = None

    def difference(self, method: str = "moffat") -> ReducedImage | None:
        """Return the difference at reduced resolution, grey levels of post.

        Parameters
        ----------
        method : str
            Which of `scales`.

        Returns
        -------
        ReducedImage or None
            0 where an image has no data. None without images or that scale.
        """
        scale = self.scales.get(method)
        if scale is None or self.post is None or self.aligned_pre is None:
            return None
        values = difference_window(
            self.post.values,
            self.aligned_pre.values,
            scale.scale,
            scale.offset,
            self.valid,
        )
        return self.post.with_values(values)


def preview_scale(
    source: PreviewSource,
    transform: Transform,
    params: Mapping[str, Any],
    *,
    statistics: PairStatistics | None = None,
    monitor: Monitor | None = None,
) -> ScalePreview:
    """Return the scales that stage 4 would find, and what it needs to be shown.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    transform : Transform
        Post to pre, of stage 3 or its preview, full-resolution px.
    params : mapping
        Parameters by name; those left out have their defaults.
    statistics : PairStatistics, optional
        Those of stage 4 under this transform, see `stored_statistics`. Otherwise a
        sample is counted.
    monitor : Monitor, optional
        Told the fraction done; may stop the work.

    Returns
    -------
    ScalePreview
        Also where the images hardly overlap: its verdict is then `failed` and says
        why; a manual scale is there all the same.

    Raises
    ------
    CancelledError
        When the monitor was asked to stop.
    """
    monitor = monitor or Monitor()
    chosen = {**default_params(), **params}
    scales: dict[str, ScaleEstimate] = {}
    problem = "the images hardly overlap: no scale can be had; check the registration"
    basis: Basis = "stage 4"
    post = aligned = valid = None
    try:
        if isinstance(chosen["manual_scale"], float):
            scales["manual"] = manual_scale(chosen["manual_scale"])
        post, aligned = source.post(), source.aligned_pre(transform)
        valid = _valid(post, source, transform)
        monitor.check()
        if statistics is None:
            width, height = source.post_frame[2:]
            basis = "every pixel" if width * height <= WHOLE_PIXELS else "sample"
            statistics = source.statistics(
                transform, str(chosen["interpolation"]), monitor.part(0.1, 0.6)
            )
        monitor.report(0.6, "estimating the scale")
        if statistics is not None:
            if chosen["scale_percentile"] is not None:
                scales["percentile"] = scale_at_percentile(
                    statistics, chosen["scale_percentile"]
                )
            scales["moffat"] = source.moffat(
                statistics, offset_correction=bool(chosen["offset_correction"])
            )
    except (RegistrationError, ParameterError) as error:
        problem = str(error)
    monitor.check()
    moffat = scales.get("moffat")
    return ScalePreview(
        verdict=Verdict("failed", problem) if moffat is None else moffat.verdict,
        transform=transform,
        basis="nothing" if statistics is None else basis,
        scales=scales,
        statistics=statistics,
        post=post,
        aligned_pre=aligned,
        valid=valid,
    )


def _valid(
    post: ReducedImage,
    source: PreviewSource,
    transform: Transform,
) -> NDArray[np.bool_]:
    """Return where on the grid of `post` the aligned pre image has data."""
    quad = mapped_frame(transform, source.pre_frame, margin=max(post.step))
    small = post.to_full.inverse()(quad)
    rows, columns = post.values.shape
    mask = valid_mask_window(small, 0, rows, 0, columns)
    return np.ones((rows, columns), bool) if mask is None else mask > 0


def stored_statistics(task: SampleDye, source: PreviewSource) -> PairStatistics | None:
    """Return the statistics of a pair that stage 4 has left, whatever its scales.

    Parameters
    ----------
    task : SampleDye
        Whose they are. Stage 3 must be valid for its parameters; those of stage 4
        may differ, for scales do not change what was counted.
    source : PreviewSource
        Keeps them for the next time.

    Returns
    -------
    PairStatistics or None
        None when stage 4 has not run on the present alignment.
    """
    try:
        inputs = task._inputs(4)
    except CheckpointError:
        return None
    folder = task._check_path("04_difference_record").parent
    for path in sorted(folder.glob("04_difference_record*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if not isinstance(record, dict) or record.get("inputs") != inputs:
            continue
        name = path.name.replace("_record", "_statistics", 1)
        file, digest = (
            path.with_name(name).with_suffix(".npz"),
            record.get("statistics"),
        )
        found = source.keep("stored", digest, partial(_load, file, digest))
        if found is not None:
            return found
    return None


def _load(path: Path, digest: Any) -> PairStatistics | None:
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return None
        return load_statistics(path)
    except (OSError, CheckpointError):
        return None
