"""The layers of an output folder, without its raw files and without a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.result_sets import ResultSet, StoredImage
from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.plugin.layer_sets import best_roles
from napari_exo2micro.plugin.layers import KEY, LayerSpec
from napari_exo2micro.plugin.stage_layers import checkpoint_spec, stage_specs

__all__ = ["image_layer", "result_specs"]


def result_specs(found: ResultSet, monitor: Monitor | None = None) -> list[LayerSpec]:
    """Return the layers of all checkpoints of one run, bottom first.

    Parameters
    ----------
    found : ResultSet
        The checkpoints.
    monitor : Monitor, optional
        Asked between the stages whether to stop.
    """
    specs: list[LayerSpec] = []
    for stage in sorted(STAGES):
        if monitor is not None:
            monitor.check()
        own = stage_specs(found, stage)
        shown = {path for spec in own for path in spec.about.get("paths", ())}
        images = dict(_images(found, stage))
        specs += [_completed(spec, images) for spec in own]
        specs += [
            image_layer(image) for path, image in images.items() if path not in shown
        ]
    _show_the_best(specs)
    return specs


def image_layer(image: StoredImage) -> LayerSpec:
    """Return the layer of one checkpoint file."""
    spec = checkpoint_spec(image.checkpoint, image.stage, image.name)
    return _completed(spec, {str(image.path): image})


def _images(found: ResultSet, stage: int) -> Iterable[tuple[str, StoredImage]]:
    for (number, _), image in found.images.items():
        if number == stage:
            yield str(image.path), image


def _completed(spec: LayerSpec, images: dict[str, StoredImage]) -> LayerSpec:
    """Add what a file without a header cannot tell of itself."""
    paths = spec.about.get("paths", ())
    image = images.get(paths[0]) if paths else None
    if image is None or image.checkpoint.provenance is not None:
        return spec
    known = spec.about | {
        "sample": image.sample,
        "dye": image.dye,
        "parameters": dict(image.parameters),
        "canvas_offset": image.canvas_offset,
    }
    title = str(spec.options["name"]).partition(": ")[2]
    options = spec.options | {
        "name": f"{image.sample} {image.dye}: {title}",
        "translate": image.canvas_offset,
        "metadata": {KEY: known},
    }
    return LayerSpec(spec.data, options, spec.kind)


def _show_the_best(specs: Sequence[LayerSpec]) -> None:
    """Show one picture and hide the other images."""
    roles = [str(spec.about.get("role")) for spec in specs]
    shown = best_roles(roles)
    for spec, role in zip(specs, roles, strict=True):
        spec.options["visible"] = role in shown
