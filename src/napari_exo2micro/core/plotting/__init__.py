"""Figures: each draws what somebody else computed; one registry lists them."""

from napari_exo2micro.core.base.errors import refuse_assignment
from napari_exo2micro.core.plotting.charts import (
    heatmap_axes as heatmap_axes,
    mark_scale as mark_scale,
    plot_difference_histogram as plot_difference_histogram,
    plot_pre_post_heatmap as plot_pre_post_heatmap,
    plot_pre_post_histograms as plot_pre_post_histograms,
    plot_ratio_histogram as plot_ratio_histogram,
    scale_at as scale_at,
    scale_line as scale_line,
)
from napari_exo2micro.core.plotting.context import PlotContext as PlotContext
from napari_exo2micro.core.plotting.images import (
    plot_error_map as plot_error_map,
    plot_fine_alignment as plot_fine_alignment,
    plot_registration as plot_registration,
)
from napari_exo2micro.core.plotting.microbes import (
    plot_candidates as plot_candidates,
    plot_purity_completeness as plot_purity_completeness,
    plot_snr_map as plot_snr_map,
)
from napari_exo2micro.core.plotting.reference import (
    plot_difference_image as plot_difference_image,
    plot_excess_heatmap as plot_excess_heatmap,
    plot_ratio_histogram_simple as plot_ratio_histogram_simple,
    plot_zoom as plot_zoom,
    plot_zoom_multi as plot_zoom_multi,
)
from napari_exo2micro.core.plotting.registry import (
    DIAGNOSTICS as DIAGNOSTICS,
    Diagnostic as Diagnostic,
    register_diagnostic as register_diagnostic,
    unregister_diagnostic as unregister_diagnostic,
)
from napari_exo2micro.core.plotting.style import (
    DPI as DPI,
    save_figure as save_figure,
    scale_colour as scale_colour,
)
from napari_exo2micro.core.plotting.zoom import (
    LARGEST_BOX as LARGEST_BOX,
    CloseLook as CloseLook,
    PlacedImage as PlacedImage,
    draw_close_look as draw_close_look,
    figure_pixels as figure_pixels,
    save_close_look as save_close_look,
)

refuse_assignment(
    __name__,
    "register_diagnostic",
    *(name for name in globals() if name.startswith("plot_")),
)
