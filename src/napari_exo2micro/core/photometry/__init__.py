"""How much brighter minerals are after staining, and the difference that follows."""

from napari_exo2micro.core.photometry.background import (
    BACKGROUND_STEPS as BACKGROUND_STEPS,
    BackgroundModel as BackgroundModel,
    Residual as Residual,
    fit_background as fit_background,
)
from napari_exo2micro.core.photometry.difference import (
    difference_bands as difference_bands,
    difference_pyramid as difference_pyramid,
    difference_window as difference_window,
    known_pixels as known_pixels,
)
from napari_exo2micro.core.photometry.methods import (
    DEFAULT_SCALE as DEFAULT_SCALE,
    MODEL_SCALE as MODEL_SCALE,
    SCALE_METHODS as SCALE_METHODS,
    ScaleMethod as ScaleMethod,
    estimate_scale as estimate_scale,
    further_scales as further_scales,
    register_scale_method as register_scale_method,
    scale_title as scale_title,
    scales_asked_for as scales_asked_for,
    unregister_scale_method as unregister_scale_method,
)
from napari_exo2micro.core.photometry.scale import (
    ScaleEstimate as ScaleEstimate,
    scale_at_percentile as scale_at_percentile,
)
from napari_exo2micro.core.photometry.statistics import (
    PairStatistics as PairStatistics,
    accumulate_statistics as accumulate_statistics,
)
