"""The layers of a live preview, made in a background thread as specifications.

They lie on the world like the layers of a stage. Images are read and warped when
somebody looks at them, at full resolution for what is on screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.coverage import mapped_frame
from napari_exo2micro.core.lazy_images import LazyImage, difference_pyramid
from napari_exo2micro.core.preview import (
    BoundaryPreview,
    InteriorPreview,
    PreviewSource,
    ScalePreview,
    cropped_pyramid,
    warped_pyramid,
)
from napari_exo2micro.core.transforms import Transform
from napari_exo2micro.plugin.layers import (
    KEY,
    LayerSpec,
    image_spec,
)

__all__ = [
    "boundary_specs",
    "interior_specs",
    "scale_specs",
]

_POST, _PRE = "#66ff66", "#ff66ff"
_USED, _UNUSED = "#33ddff", "#ff5533"
#: More lines say no more and take napari longer.
_MOST_SEGMENTS = 500
_MOST_MATCHES = 500
#: Moves of matches are drawn so long that a typical one is this part of the frame,
#: unless they are noise.
_VISIBLE = 0.02
_NOISE = 0.2
_LONGEST = 50.0


def boundary_specs(
    source: PreviewSource, found: BoundaryPreview, known: Mapping[str, Any]
) -> list[LayerSpec]:
    """Return post, the aligned pre, both rings and both outlines, bottom first.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    found : BoundaryPreview
        What stage 2 would find.
    known : mapping
        For the metadata: sample, dye and parameters.
    """
    specs = _overlay(source, found.transform, known)
    offset = _offset(source)
    if found.post_ring is not None and found.pre_ring is not None:
        post, pre = (
            ring.values / max(float(ring.values.max()), 1e-6)
            for ring in (found.post_ring, found.pre_ring)
        )
        (step_x, step_y), (x, y) = found.post_ring.step, found.post_ring.origin
        specs.append(
            LayerSpec(
                np.clip(np.stack([pre, post, pre], axis=-1), 0.0, 1.0),
                {
                    "name": "preview: rings",
                    "rgb": True,
                    "blending": "additive",
                    "opacity": 0.25,
                    "interpolation2d": "linear",
                    "scale": (step_y, step_x),
                    "translate": (offset[0] + y, offset[1] + x),
                    "metadata": _metadata(known, "preview ring"),
                },
            )
        )
    lines = [
        _segments(outline, offset)
        for outline in (found.pre_outline or [], found.post_outline or [])
    ]
    if any(len(one) for one in lines):
        specs.append(
            _vectors(
                np.concatenate(lines),
                np.repeat(
                    [_rgba(_PRE), _rgba(_POST)], [len(one) for one in lines], axis=0
                ),
                "preview: outlines",
                _metadata(known, "preview outline"),
                edge_width=_line_width(source),
            )
        )
    return specs


def interior_specs(
    source: PreviewSource,
    found: InteriorPreview,
    initial: Transform,
    known: Mapping[str, Any],
) -> list[LayerSpec]:
    """Return post, the aligned pre and the matches, bottom first.

    A cross stands where post has a feature, and a line leads there from where the
    start puts pre's.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    found : InteriorPreview
        What stage 3 would find.
    initial : Transform
        What it started from, post to pre.
    known : mapping
        For the metadata.
    """
    specs = _overlay(source, found.transform, known)
    matches = found.matches
    if not len(matches.inliers):
        return specs
    step = -(-len(matches.inliers) // _MOST_MATCHES)
    # Those used come last: on top.
    order = np.argsort(matches.inliers, kind="stable")[::-1][::step][::-1]
    used = matches.inliers[order]
    post = matches.post_xy[order]
    way = post - initial.inverse()(matches.pre_xy[order])
    times = _enlargement(way[used] if used.any() else way, source)
    size = 3.0 * _line_width(source)
    arms = [np.broadcast_to(arm, way.shape) for arm in ((size, 0.0), (0.0, size))]
    begins = [post - times * way, *(post - arm / 2 for arm in arms)]
    vectors = np.stack(
        [
            np.concatenate(begins)[:, ::-1] + _offset(source),
            np.concatenate([times * way, *arms])[:, ::-1],
        ],
        axis=1,
    )
    words = "" if times == 1 else f", moves × {times:g}"
    specs.append(
        _vectors(
            vectors,
            np.tile(np.where(used[:, None], _rgba(_USED), _rgba(_UNUSED)), (3, 1)),
            f"preview: matches{words}",
            _metadata(known, "preview matches"),
            edge_width=_line_width(source) / 2,
        )
    )
    return specs


def scale_specs(
    source: PreviewSource,
    found: ScalePreview,
    method: str,
    aligned: Sequence[LazyImage] | None,
    known: Mapping[str, Any],
) -> list[LayerSpec]:
    """Return the difference under one scale.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    found : ScalePreview
        What stage 4 would find.
    method : str
        Which of its scales is shown; nothing is when it has none of that name.
    aligned : sequence of LazyImage or None
        The aligned pre as stage 3 left it; None: it is warped as it is looked at.
    known : mapping
        For the metadata.
    """
    scale = found.scales.get(method)
    if scale is None:
        return []
    levels = difference_pyramid(
        source.levels("post"),
        aligned or warped_pyramid(source.levels("pre"), found.transform),
        scale=scale.scale,
        offset=scale.offset,
        post_frame=source.post_frame,
        pre_quad=mapped_frame(found.transform, source.pre_frame),
    )
    part = cropped_pyramid(levels, source.post_frame)
    words = f"preview: difference, scale {scale.scale:.4g}"
    return [_image(source, part, "difference", words, known)]


def _overlay(
    source: PreviewSource, transform: Transform, known: Mapping[str, Any]
) -> list[LayerSpec]:
    """Return post and the pre image on it as `transform` lays it."""
    post = source.keep(
        "shown post",
        None,
        lambda: cropped_pyramid(source.levels("post"), source.post_frame),
    )
    aligned = cropped_pyramid(
        warped_pyramid(source.levels("pre"), transform), source.post_frame
    )
    with_transform = {**known, "transform": transform.to_dict()}
    return [
        _image(source, post, "post", "preview: post", known),
        _image(source, aligned, "aligned", "preview: aligned pre", with_transform),
    ]


def _image(
    source: PreviewSource,
    levels: tuple[list[LazyImage], tuple[int, int]],
    look: str,
    name: str,
    known: Mapping[str, Any],
) -> LayerSpec:
    """Return an image as its role looks; its contrast is measured once."""
    part, (x, y) = levels
    first = source.keep(
        f"layer of {look}", None, lambda: image_spec(part, look, name=name, known={})
    )
    row, column = _offset(source)
    options = {
        **first.options,
        "name": name,
        "translate": (row + y, column + x),
        "metadata": _metadata({**first.about, **known}, f"preview {look}"),
    }
    return LayerSpec(part if len(part) > 1 else part[0], options)


def _metadata(known: Mapping[str, Any], role: str) -> dict[str, Any]:
    return {KEY: {**known, "role": role}}


def _offset(source: PreviewSource) -> tuple[float, float]:
    """Return where the canvas's first pixel lies in the world: (row, column)."""
    x0, y0 = source.post_frame[:2]
    return -float(y0), -float(x0)


def _line_width(source: PreviewSource) -> float:
    return max(source.post_frame[2:]) / 450


def _segments(
    lines: Sequence[NDArray[np.float64]], offset: tuple[float, float]
) -> NDArray[np.float64]:
    """Return lines (x, y) as vectors (N, 2, 2) from point to point, (row, column)."""
    parts = [np.empty((0, 2, 2))]
    total = sum(len(line) for line in lines)
    step = max(1, -(-total // _MOST_SEGMENTS))
    for line in lines:
        # The last point closes the outline.
        points = np.vstack([line[:-1:step], line[-1:]])[:, ::-1] + offset
        parts.append(np.stack([points[:-1], np.diff(points, axis=0)], axis=1))
    return np.concatenate(parts)


def _vectors(
    vectors: NDArray[np.float64],
    colours: NDArray[np.float64],
    name: str,
    metadata: dict[str, Any],
    **options: Any,
) -> LayerSpec:
    options = {
        "name": name,
        "metadata": metadata,
        "edge_color": colours,
        "vector_style": "line",
        **options,
    }
    return LayerSpec(vectors, options, "vectors")


def _rgba(colour: str) -> NDArray[np.float64]:
    """Return red, green, blue and opacity of a colour such as #ff0000, 0 to 1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.array([*parts, 1.0])


def _enlargement(way: NDArray[np.float64], source: PreviewSource) -> float:
    """Return by how much to draw moves longer: a round number, 1 for noise."""
    typical = float(np.median(np.linalg.norm(way, axis=1)))
    wanted = _VISIBLE * max(source.post_frame[2:]) / max(typical, 1e-6)
    if typical < _NOISE or wanted <= 1:
        return 1.0
    power = 10 ** math.floor(math.log10(wanted))
    return float(
        min(max(n for n in (1, 2, 5) if n * power <= wanted) * power, _LONGEST)
    )
