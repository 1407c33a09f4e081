"""The layers that show what a stage has left on disk.

Everything here reads headers and small pyramid levels only, and may be called in a
background thread: it makes specifications, not layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_exo2micro.core.images import PixelSize, pyramid, scaled_pyramid
from napari_exo2micro.core.parameters import (
    DIFFERENCE_STAGE,
    MICROBES_STAGE,
    STAGES,
)
from napari_exo2micro.core.photometry import MODEL_SCALE
from napari_exo2micro.core.store import Checkpoint, Provenance, StageResults
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    Ground,
    LayerSpec,
    image_spec,
    pair_grounds,
    role_of,
)

_TOP_SIDE = 2048  # px, of the smallest level of labels
_NAMES = {
    "post": "post-stain",
    "pre": "pre-stain",
    "aligned 2": "pre-stain, boundary aligned",
    "aligned 3": "pre-stain, interior aligned",
}


def canvas_offset(provenance: Provenance | None) -> tuple[float, float]:
    """Return where the canvas begins: (row, column), px of the raw image on it."""
    frame = provenance.frame if provenance else None
    return (-float(frame[1]), -float(frame[0])) if frame else (0.0, 0.0)


def ground_of(checkpoint: Checkpoint) -> Ground:
    """Return where the raw image on a canvas lies in the world.

    The post-stain image begins at its origin. The middle of the canvas of pre-stain
    that is not aligned yet lies on that of post-stain.
    """
    header = checkpoint.provenance
    canvas = header.canvas if header else {}
    sizes = (PixelSize.of(canvas.get(f"{side}_pixel_size")) for side in ("post", "pre"))
    post, pre = pair_grounds(*sizes)
    place, own = canvas.get("post_frame"), header.frame if header else None
    if header is not None and header.stage == 0:
        return Ground.of_size(header.pixel_size)  # a raw image that was saved
    if header is None or (header.stage, header.name) != (1, "pre"):
        return post
    if not (place and own):
        return pre
    middle = np.array(checkpoint.image.shape) / 2
    on_post, on_pre = (middle - np.array(frame[1::-1]) for frame in (place, own))
    row, column = np.subtract(post.world(on_post), pre.world(on_pre))
    return replace(pre, origin=(float(row), float(column)))


def facts(checkpoint: Checkpoint, task: StageResults | None = None) -> dict[str, Any]:
    """Return what the metadata of a checkpoint's layer says.

    Without the task whose it is only the header is asked.
    """
    header = checkpoint.provenance
    known: dict[str, Any] = {
        "sample": header.sample if header else "",
        "dye": header.dye if header else "",
        "stage": header.stage if header else 0,
        "checkpoint": header.name if header else "",
        "parameters": dict(header.parameters) if header else {},
        "paths": [str(checkpoint.image.path)],
        "header": header.to_header() if header else {},
        "transform": (
            header.transform.to_dict() if header and header.transform else None
        ),
        "canvas_offset": canvas_offset(header),
    }
    if task is not None:
        known |= {"sample": task.sample, "dye": task.dye}
        folders = {"raw_dir": task.raw_dir, "output_dir": task.output_dir}
        known |= {name: str(path) for name, path in folders.items() if path}
    return known


def checkpoint_spec(
    checkpoint: Checkpoint,
    stage: int,
    name: str,
    *,
    task: StageResults | None = None,
    visible: bool = True,
) -> LayerSpec:
    """Return the layer of one checkpoint; see `facts`."""
    known = facts(checkpoint, task) | {"stage": stage, "checkpoint": name}
    role = role_of(stage, name)
    title = _NAMES.get(role, role)
    if stage > DIFFERENCE_STAGE and stage in STAGES:
        title = f"{STAGES[stage].title}, {name.replace('_', ' ')}"
        if name in STAGES[stage].labels:
            options = _drawing(role, title, checkpoint, known, visible=visible)
            full = np.asanyarray(checkpoint.image.level(0))
            return _labels_spec(full, options, ground_of(checkpoint))
    return image_spec(
        pyramid(checkpoint.image),
        role,
        name=f"{known['sample']} {known['dye']}: {title}",
        known=known,
        offset=canvas_offset(checkpoint.provenance),
        ground=ground_of(checkpoint),
        visible=visible,
    )


def _labels_spec(full: Any, options: dict[str, Any], ground: Ground) -> LayerSpec:
    """Return numbers of objects in colours; smaller levels are every n-th pixel."""
    levels = [full]
    while max(levels[-1].shape) > _TOP_SIDE:
        levels.append(levels[-1][::2, ::2])
    is_multiscale = len(levels) > 1
    options["multiscale"] = is_multiscale
    return LayerSpec(levels if is_multiscale else full, options, "labels", ground)


def stage_specs(task: StageResults, stage: int) -> list[LayerSpec]:
    """Return the layers of a stage's valid results, bottom first.

    Stage 1 has the padded pair; 2 rings and the aligned pre; 3 the aligned pre and
    matches; 4 the scaled pre and difference of each scale; a later one its checkpoints.
    """
    if stage == 1:
        names: tuple[str, ...] = ("pre", "post")
    elif stage == 4:
        return _difference_specs(task)
    else:
        names = STAGES[stage].checkpoints
    specs = []
    for name in names:
        checkpoint = task.checkpoint(stage, name)
        if checkpoint is not None:
            # The S/N and the areas lie on the difference, which is looked at first.
            seen = stage != MICROBES_STAGE
            specs.append(
                checkpoint_spec(checkpoint, stage, name, task=task, visible=seen)
            )
            if stage == 2 and name == "pre":
                specs += _ring_specs(checkpoint, task)
            if stage == 3 and name == "pre":
                specs += _match_specs(checkpoint, task)
    return specs


def _drawing(
    role: str,
    title: str,
    checkpoint: Checkpoint,
    known: Mapping[str, Any],
    **options: Any,
) -> dict[str, Any]:
    return {
        "name": f"{known['sample']} {known['dye']}: {title}",
        "translate": canvas_offset(checkpoint.provenance),
        "metadata": {KEY: {**known, "role": role}},
        **options,
    }


def _rows_columns(points: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return points (x, y) as napari's (row, column), shape (N, 2)."""
    return np.asarray(points, dtype=np.float64).reshape(-1, 2)[:, ::-1]


def _ring_specs(checkpoint: Checkpoint, task: StageResults) -> list[LayerSpec]:
    """Return the outlines of the sections: post's, and pre's where it was put."""
    header = checkpoint.provenance
    details: Mapping[str, Any] = header.details if header else {}
    known, specs = facts(checkpoint, task), []
    for side, colour in (("pre", "#ff66ff"), ("post", "#66ff66")):
        points = details.get(f"{side}_contour")
        if not points or len(points) < 3:
            continue
        contour = np.asarray(points, dtype=np.float64)
        if side == "pre" and header is not None and header.transform is not None:
            contour = header.transform.inverse()(contour)
        options = _drawing(
            f"ring {side}",
            f"{side}-stain outline",
            checkpoint,
            known,
            edge_color=colour,
            edge_width=max(checkpoint.image.shape) / 800,
            vector_style="line",
            opacity=0.9,
        )
        # Lines from point to point, not a shape: napari renews lines in place.
        corners = _rows_columns(contour)
        lines = np.stack([corners, np.roll(corners, -1, axis=0) - corners], axis=1)
        specs.append(LayerSpec(lines, options, "vectors", ground_of(checkpoint)))
    return specs


def _match_specs(checkpoint: Checkpoint, task: StageResults) -> list[LayerSpec]:
    """Return the matches as vectors: from where pre was to where post has it."""
    header = checkpoint.provenance
    matches = header.details.get("matches") if header else None
    if not matches or header is None or header.transform is None:
        return []
    post = np.asarray(matches["post_xy"], dtype=np.float64).reshape(-1, 2)
    pre = np.asarray(matches["pre_xy"], dtype=np.float64).reshape(-1, 2)
    inliers = np.asarray(matches["inliers"], dtype=bool)
    before = task.checkpoint(2, "pre")
    start = before.provenance.transform if before and before.provenance else None
    # Where stage 2 put a point of pre, and its way to post's.
    placed = _rows_columns(start.inverse()(pre) if start is not None else pre)
    vectors = np.stack([placed, _rows_columns(post) - placed], axis=1)
    known, specs = facts(checkpoint, task), []
    for role, title, chosen, colour in (
        ("matches outlier", "matches not used", ~inliers, "#ff5533"),
        ("matches inlier", "matches used", inliers, "#33ddff"),
    ):
        if not chosen.any():
            continue
        options = _drawing(
            role,
            title,
            checkpoint,
            known,
            edge_color=colour,
            edge_width=max(checkpoint.image.shape) / 1500,
            vector_style="arrow",
            visible=False,
        )
        specs.append(
            LayerSpec(vectors[chosen], options, "vectors", ground_of(checkpoint))
        )
    return specs


def _difference_specs(task: StageResults) -> list[LayerSpec]:
    """Return the scaled pre and the difference of each scale that is active."""
    aligned = task.checkpoint(3, "pre")
    specs: list[LayerSpec] = []
    if aligned is None:
        return specs
    levels = pyramid(aligned.image)
    model = f"difference_{MODEL_SCALE}"
    first = model if task.checkpoint(4, model) is not None else "difference"
    names = list(reversed(difference_names(task)))
    for name in sorted(names, key=lambda name: name == first):  # on top
        checkpoint = task.checkpoint(4, name)
        header = checkpoint.provenance if checkpoint else None
        if checkpoint is None or header is None or header.scale is None:
            continue
        scale, who = header.scale, f"{task.sample} {task.dye}"
        if name != model:  # that has no one scale
            specs.append(
                image_spec(
                    scaled_pyramid(levels, scale.value),
                    f"scaled {scale.kind}",
                    name=f"{who}: {scale.value:.4g} × pre ({scale.kind})",
                    known=facts(checkpoint, task) | {"scale": scale.to_dict()},
                    offset=canvas_offset(header),
                    ground=ground_of(checkpoint),
                    visible=False,
                )
            )
        specs.append(
            checkpoint_spec(checkpoint, 4, name, task=task, visible=name == first)
        )
    return specs


def difference_names(task: StageResults) -> Sequence[str]:
    """Return the difference images that the parameters ask for, the main one first."""
    return [
        line.name
        for line in task.status()
        if line.stage == 4 and line.kind == "checkpoint"
    ]
