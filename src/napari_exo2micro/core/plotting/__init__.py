"""Figures: one module a family; each draws what somebody else computed."""

from __future__ import annotations

from napari_exo2micro.core.plotting.heatmaps import (
    plot_excess_heatmap,
    plot_pre_post_heatmap,
)
from napari_exo2micro.core.plotting.histograms import (
    plot_difference_histogram,
    plot_pre_post_histograms,
    plot_ratio_histogram,
)

__all__ = [
    "plot_difference_histogram",
    "plot_excess_heatmap",
    "plot_pre_post_heatmap",
    "plot_pre_post_histograms",
    "plot_ratio_histogram",
]
