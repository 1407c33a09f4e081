"""The preview of stage 4: scales and the difference that they leave."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.coverage import mapped_frame, valid_mask_window
from napari_exo2micro.core.defaults import default_params, params_from_suffix
from napari_exo2micro.core.difference import difference_window
from napari_exo2micro.core.errors import (
    CheckpointError,
    ParameterError,
    RegistrationError,
)
from napari_exo2micro.core.json_files import read_json
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.pair_statistics import PairStatistics, load_statistics
from napari_exo2micro.core.preview.overlay import OverlayPreview
from napari_exo2micro.core.preview.reduced import ReducedImage
from napari_exo2micro.core.preview.sampling import WHOLE_PIXELS
from napari_exo2micro.core.preview.source import PreviewSource, Same
from napari_exo2micro.core.scale_estimate import ScaleEstimate
from napari_exo2micro.core.scale_methods import (
    DEFAULT_SCALE,
    SCALE_METHODS,
    scales_asked_for,
)
from napari_exo2micro.core.transforms import Transform

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["ScalePreview", "preview_scale", "stored_statistics"]

Basis = Literal["stage 4", "every pixel", "sample", "nothing"]


@dataclass(frozen=True, eq=False)
class ScalePreview(OverlayPreview):
    """What stage 4 would find; its verdict is that of the Moffat scale.

    Attributes
    ----------
    basis : {'stage 4', 'every pixel', 'sample', 'nothing'}
        What the scales are counted on: the stored statistics of stage 4, all pixels
        of a small pair, or windows at full resolution from all over a large one.
    scales : dict of ScaleEstimate
        Under ``'moffat'`` and, where they were asked for, under the names of the
        other methods.
    statistics : PairStatistics or None
        What they were estimated from.
    """

    basis: Basis = "nothing"
    scales: Mapping[str, ScaleEstimate] = field(default_factory=dict)
    statistics: PairStatistics | None = None

    @property
    def valid(self) -> NDArray[np.bool_] | None:
        """Where on the grid of `post` both images have data."""
        post = self.post
        if post is None:
            return None
        margin = max(post.step)
        quad = mapped_frame(self.transform, self.source.pre_frame, margin=margin)
        rows, columns = post.values.shape
        small = post.to_full.inverse()(quad)
        mask = valid_mask_window(small, 0, rows, 0, columns)
        return np.ones((rows, columns), bool) if mask is None else mask > 0

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
        scale, post, pre = self.scales.get(method), self.post, self.aligned_pre
        if scale is None or post is None or pre is None:
            return None
        values = difference_window(
            post.values, pre.values, scale.scale, scale.offset, self.valid
        )
        return post.with_values(values)


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
    try:
        methods = scales_asked_for(chosen)
        if "manual" in methods:  # it needs nothing that can fail
            value = chosen[methods.pop("manual").parameter]
            scales["manual"] = SCALE_METHODS["manual"].estimate(None, value)
        if statistics is None:
            width, height = source.post_frame[2:]
            basis = "every pixel" if width * height <= WHOLE_PIXELS else "sample"
            statistics = source.statistics(
                transform, str(chosen["interpolation"]), monitor.part(0.1, 0.6)
            )
        monitor.report(0.6, "estimating the scale")
        if statistics is not None:
            for name, method in methods.items():
                if name != DEFAULT_SCALE:
                    value = chosen.get(method.parameter)
                    scales[name] = method.estimate(statistics, value)
            scales[DEFAULT_SCALE] = source.moffat(
                statistics, offset_correction=bool(chosen["offset_correction"])
            )
    except (RegistrationError, ParameterError) as error:
        problem = str(error)
    monitor.check()
    moffat = scales.get("moffat")
    return ScalePreview(
        source=source,
        verdict=Verdict("failed", problem) if moffat is None else moffat.verdict,
        transform=transform,
        basis="nothing" if statistics is None else basis,
        scales=scales,
        statistics=statistics,
    )


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
            record = read_json(path)
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
            _keep_estimate(source, found, path.stem, record)
            return found
    return None


def _keep_estimate(
    source: PreviewSource,
    statistics: PairStatistics,
    name: str,
    record: Mapping[str, Any],
) -> None:
    """Have the source know the Moffat scale that stage 4 has estimated."""
    try:
        chosen = params_from_suffix(name.removeprefix("04_difference_record"))
        (stored,) = (s for s in record["scales"] if s["kind"] == "moffat")
        estimate = ScaleEstimate(
            method="moffat",
            scale=float(stored["value"]),
            uncertainty=float(stored["uncertainty"]),
            offset=float(stored["offset"]),
            offset_uncertainty=float(stored["offset_uncertainty"]),
            verdict=Verdict.from_dict(stored["verdict"]),
        )
    except (ParameterError, KeyError, TypeError, ValueError):
        return  # it is estimated again
    correct = {**default_params(), **chosen}["offset_correction"]
    source.keep("moffat", (Same(statistics), bool(correct)), lambda: estimate)


def _load(path: Path, digest: Any) -> PairStatistics | None:
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return None
        return load_statistics(path)
    except (OSError, CheckpointError):
        return None
