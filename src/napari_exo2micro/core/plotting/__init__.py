"""Figures: each draws what somebody else computed; one registry lists them."""

from __future__ import annotations

from napari_exo2micro.core.plotting.charts import (
    heatmap_axes,
    mark_scale,
    plot_difference_histogram,
    plot_excess_heatmap,
    plot_pre_post_heatmap,
    plot_pre_post_histograms,
    plot_ratio_histogram,
    scale_at,
    scale_line,
)
from napari_exo2micro.core.plotting.context import PlotContext
from napari_exo2micro.core.plotting.images import (
    plot_difference_image,
    plot_fine_alignment,
    plot_registration,
)
from napari_exo2micro.core.plotting.registry import (
    DIAGNOSTICS,
    Diagnostic,
    register_diagnostic,
    unregister_diagnostic,
)
from napari_exo2micro.core.plotting.style import DPI, save_figure, scale_colour
from napari_exo2micro.core.plotting.zoom import (
    LARGEST_BOX,
    CloseLook,
    PlacedImage,
    draw_close_look,
    figure_pixels,
    plot_zoom,
    plot_zoom_multi,
    save_close_look,
)

__all__ = [
    "DIAGNOSTICS",
    "DPI",
    "LARGEST_BOX",
    "CloseLook",
    "Diagnostic",
    "PlacedImage",
    "PlotContext",
    "draw_close_look",
    "figure_pixels",
    "heatmap_axes",
    "mark_scale",
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
    "register_diagnostic",
    "save_close_look",
    "save_figure",
    "scale_at",
    "scale_colour",
    "scale_line",
    "unregister_diagnostic",
]
