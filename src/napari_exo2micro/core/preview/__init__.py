"""Previews: what a stage would find with other parameters, without running it.

A `PreviewSource` holds one pair at reduced size and what has been sought in it;
`preview_boundary`, `preview_interior` and `preview_scale` are the previews of stages
2, 3 and 4. Nothing is written and no full-resolution image is made.

Examples
--------
>>> from napari_exo2micro.core.preview import PreviewSource, preview_boundary
>>> from napari_exo2micro.core.simulate import simulate_section
>>> pair = simulate_section((500, 600), seed=1, shift=(4.0, -3.0))
>>> preview = preview_boundary(PreviewSource(pair.post, pair.pre), {})
>>> str(preview.verdict.state)
'ok'
>>> [round(float(v)) for v in (preview.transform([[300, 250]]) - [[300, 250]])[0]]
[4, -3]
"""

from napari_exo2micro.core.preview.preview import (
    BoundaryPreview as BoundaryPreview,
    InteriorPreview as InteriorPreview,
    RatioCurve as RatioCurve,
    ScalePreview as ScalePreview,
    preview_boundary as preview_boundary,
    preview_interior as preview_interior,
    preview_scale as preview_scale,
    ratio_curve as ratio_curve,
    stored_statistics as stored_statistics,
)
from napari_exo2micro.core.preview.source import (
    PreviewSource as PreviewSource,
    ReducedImage as ReducedImage,
    open_source as open_source,
)
