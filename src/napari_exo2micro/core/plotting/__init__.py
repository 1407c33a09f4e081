"""Figures: one module a family; each draws what somebody else computed."""

from __future__ import annotations

from napari_exo2micro.core.plotting.difference_image import plot_difference_image
from napari_exo2micro.core.plotting.fine_alignment import plot_fine_alignment
from napari_exo2micro.core.plotting.heatmaps import (
    plot_excess_heatmap,
    plot_pre_post_heatmap,
)
from napari_exo2micro.core.plotting.histograms import (
    plot_difference_histogram,
    plot_pre_post_histograms,
)
from napari_exo2micro.core.plotting.ratio_histogram import plot_ratio_histogram
from napari_exo2micro.core.plotting.registration import plot_registration
from napari_exo2micro.core.plotting.zoom import plot_zoom, plot_zoom_multi

__all__ = [
    "plot_difference_histogram",
    "plot_difference_image",
    "plot_excess_heatmap",
    "plot_fine_alignment",
    "plot_pre_post_heatmap",
    "plot_pre_post_histograms",
    "plot_ratio_histogram",
    "plot_registration",
    "plot_zoom",
    "plot_zoom_multi",
]
