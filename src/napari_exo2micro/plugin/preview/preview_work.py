"""What a live preview computes in a background thread: the chain up to a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.errors import CheckpointError
from napari_exo2micro.core.lazy_images import LazyImage, pyramid
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.parameter_entry import ParameterValue
from napari_exo2micro.core.preview import (
    BoundaryPreview,
    InteriorPreview,
    PreviewSource,
    ScalePreview,
    open_source,
    preview_boundary,
    preview_interior,
    preview_scale,
    stored_statistics,
)
from napari_exo2micro.core.preview.ratio import RatioCurve, ratio_curve
from napari_exo2micro.core.scale_methods import DEFAULT_SCALE, SCALE_METHODS
from napari_exo2micro.core.transforms import Transform
from napari_exo2micro.plugin.layers import LayerSpec
from napari_exo2micro.plugin.preview.preview_layers import (
    boundary_specs,
    interior_specs,
    scale_specs,
)
from napari_exo2micro.plugin.task_source import TaskSource

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["StagePreview", "make_preview"]


@dataclass(frozen=True, slots=True)
class StagePreview:
    """A preview, ready to be shown.

    Attributes
    ----------
    stage : int
        Whose preview it is.
    source : PreviewSource
        The pair.
    found : BoundaryPreview, InteriorPreview or ScalePreview
        What the stage would find.
    specs : list of LayerSpec
        Its layers, bottom first.
    sample, dye : str
        Whose pair it is.
    curve : RatioCurve or None
        The ratio post/pre with the scales, of stage 4.
    """

    stage: int
    source: PreviewSource
    found: BoundaryPreview | InteriorPreview | ScalePreview
    specs: list[LayerSpec]
    sample: str
    dye: str
    curve: RatioCurve | None = None


def make_preview(
    tasks: TaskSource,
    params: Mapping[str, ParameterValue],
    stage: int,
    known: PreviewSource | None,
    scale: str,
    monitor: Monitor,
    opened: Callable[[PreviewSource], None] | None = None,
) -> StagePreview:
    """Return what a stage would find and the layers that show it.

    Stages before it are taken from disk where they are valid for these parameters,
    otherwise from their own previews.

    Parameters
    ----------
    tasks : TaskSource
        The sample and dye.
    params : mapping
        All parameters.
    stage : {2, 3, 4}
        Which one.
    known : PreviewSource or None
        Of the preview before; used again for the same images.
    scale : str
        The scale whose difference is shown, where there is such a one.
    monitor : Monitor
        Told the fraction done; may stop the work.
    opened : callable, optional
        Takes the pair as soon as it is opened.
    """
    monitor.report(0.0, "opening the images")
    task = tasks.task(params)
    source = open_source(task, known)
    if opened is not None:
        opened(source)
    about = {
        "sample": task.sample,
        "dye": task.dye,
        "stage": stage,
        "parameters": dict(params),
    }
    found: BoundaryPreview | InteriorPreview | ScalePreview
    curve = None
    if stage == 2:
        found = preview_boundary(source, params, monitor)
        specs = boundary_specs(source, found, about)
    elif stage == 3:
        initial = _boundary_transform(task, source, params, monitor.part(0.0, 0.5))
        found = preview_interior(source, initial, params, monitor.part(0.5, 1.0))
        specs = interior_specs(source, found, initial, about)
    else:
        transform, aligned = _aligned(task, source, params, monitor.part(0.0, 0.6))
        found = preview_scale(
            source,
            transform,
            params,
            statistics=None if aligned is None else stored_statistics(task, source),
            monitor=monitor.part(0.6, 1.0),
        )
        specs = scale_specs(source, found, _shown_scale(found, scale), aligned, about)
        curve = ratio_curve(source, found)
    monitor.report(1.0, "preview ready")
    return StagePreview(stage, source, found, specs, task.sample, task.dye, curve)


def _shown_scale(found: ScalePreview, wanted: str) -> str:
    """Return whose difference is shown: by hand before percentile before Moffat."""
    order = (wanted, "manual", "percentile", *reversed(list(SCALE_METHODS)))
    return next((n for n in order if n in found.scales), DEFAULT_SCALE)


def _boundary_transform(
    task: SampleDye,
    source: PreviewSource,
    params: Mapping[str, ParameterValue],
    monitor: Monitor,
) -> Transform:
    """Return the map of stage 2 from disk, or that of its preview."""
    try:
        return task.transform(2)
    except CheckpointError:
        pass
    own = _own(params, 2)
    found = source.keep(
        "preview of stage 2", own, lambda: preview_boundary(source, own, monitor)
    )
    return found.transform


def _aligned(
    task: SampleDye,
    source: PreviewSource,
    params: Mapping[str, ParameterValue],
    monitor: Monitor,
) -> tuple[Transform, list[LazyImage] | None]:
    """Return the map of stage 3 and its image, or that of its preview alone."""
    stored = task.checkpoint(3, "pre")
    if stored is not None and stored.provenance and stored.provenance.transform:
        return stored.provenance.transform, pyramid(stored.image)
    initial = _boundary_transform(task, source, params, monitor.part(0.0, 0.5))
    own = _own(params, 3)
    found = source.keep(
        "preview of stage 3",
        (initial, own),
        lambda: preview_interior(source, initial, own, monitor.part(0.5, 1.0)),
    )
    return found.transform, None


def _own(params: Mapping[str, ParameterValue], stage: int) -> dict[str, Any]:
    """Return the parameters of one stage."""
    own = (p.name for p in PARAMETER_REGISTRY.values() if p.stage == stage)
    return {name: params[name] for name in own if name in params}
