"""How much brighter minerals are after staining, and the difference that follows."""

from __future__ import annotations

from napari_exo2micro.core.photometry.difference import (
    difference_bands,
    difference_pyramid,
    difference_window,
)
from napari_exo2micro.core.photometry.methods import (
    DEFAULT_SCALE,
    SCALE_METHODS,
    ScaleMethod,
    estimate_scale,
    further_scales,
    register_scale_method,
    scale_title,
    scales_asked_for,
    unregister_scale_method,
)
from napari_exo2micro.core.photometry.scale import ScaleEstimate, scale_at_percentile
from napari_exo2micro.core.photometry.statistics import accumulate_statistics

__all__ = [
    "DEFAULT_SCALE",
    "SCALE_METHODS",
    "ScaleEstimate",
    "ScaleMethod",
    "accumulate_statistics",
    "difference_bands",
    "difference_pyramid",
    "difference_window",
    "estimate_scale",
    "further_scales",
    "register_scale_method",
    "scale_at_percentile",
    "scale_title",
    "scales_asked_for",
    "unregister_scale_method",
]
