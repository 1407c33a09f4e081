"""How often each grey level and each difference occurs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.photometry import ScaleEstimate
from napari_exo2micro.core.plotting.counts import difference_counts, difference_range
from napari_exo2micro.core.plotting.figures import (
    add_message,
    format_counts,
    label_axes,
    number_axes,
)
from napari_exo2micro.core.plotting.inputs import (
    chosen_scale,
    pair_statistics,
    rebin,
    upper_level,
)
from napari_exo2micro.core.plotting.layout import chart_layout, chart_sheet
from napari_exo2micro.core.plotting.notes import scale_notes, verdict_notes
from napari_exo2micro.core.plotting.saving import finish_figure
from napari_exo2micro.core.plotting.style import (
    ALL_COLOUR,
    MUTED,
    POST_COLOUR,
    PRE_COLOUR,
    RAW_PRE_COLOUR,
    formula,
    short_count,
)
from napari_exo2micro.core.rasters import Frame, ImageLike
from napari_exo2micro.core.statistics import PairStatistics
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "plot_difference_histogram",
    "plot_pre_post_histograms",
]

_BINS: Final = 256
_DWARFED: Final = 20.0


def plot_pre_post_histograms(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    statistics: PairStatistics | None = None,
    raw_pre: ImageLike | None = None,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    final_transform: Transform | None = None,
    narrow: bool = False,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw the grey levels of pre before and after the warp, and of post.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    statistics : PairStatistics, optional
        Of this pair; counted from the images when not given.
    raw_pre : ImageLike, optional
        The pre-stain image before the warp.
    post_frame, pre_frame : tuple of int, optional
        (x0, y0, width, height) of the real data of `post_im` and `raw_pre`, px.
    final_transform : Transform, optional
        Post to pre, with which `pre_im` was made.
    narrow : bool
        Smaller panels with the legend below, for a narrow place.
    verdicts : mapping, optional
        Stage to `Verdict`; what fell back or failed is said in red.
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the figure.

    Returns
    -------
    Figure
        With a logarithmic count axis when one bin, such as that of level zero,
        dwarfs the rest.

    Raises
    ------
    RegistrationError
        If the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    statistics = pair_statistics(
        post_im,
        pre_im,
        statistics,
        raw_pre=raw_pre,
        post_frame=post_frame,
        pre_frame=pre_frame,
        transform=final_transform,
    )
    layout = chart_layout(narrow=narrow)
    notes = verdict_notes(verdicts)
    title = "Grey levels of each image"
    sheet = chart_sheet(title, sample, dye, notes, statistics, layout)
    axes = sheet.axes(*layout.panel)
    label_axes(axes, "Grey level", "Pixels per bin", grid=True)
    edges = _level_edges(statistics)
    curves = []
    for histogram, label, colour, width in (
        (statistics.raw_pre, "Pre-stain,\nas photographed", RAW_PRE_COLOUR, 2.6),
        (statistics.pre, "Pre-stain,\naligned", PRE_COLOUR, 1.6),
        (statistics.post, "Post-stain", POST_COLOUR, 1.6),
    ):
        if histogram is None:
            continue
        counts = rebin(histogram.counts, histogram.edges, edges)
        axes.stairs(counts, edges, label=label, color=colour, linewidth=width)
        curves.append(counts)
    rest = max(float(np.percentile(counts, 75)) for counts in curves)
    most = max(float(counts.max()) for counts in curves)
    if most == 0:
        add_message(axes, "No pixel has data.")
    elif most > _DWARFED * max(rest, 1.0):
        _log_counts(axes, curves)
        axes.set_ylabel("Pixels per bin (logarithmic)", fontsize=10)
    else:
        axes.set_ylim(0, 1.05 * most)
        format_counts(axes.yaxis)
    axes.set_xlim(edges[0], edges[-1])
    number_axes(axes, y=False)
    sheet.legend(axes, *layout.legend, ncols=layout.columns)
    if statistics.n_saturated:
        part = 100 * statistics.n_saturated / max(statistics.n_both, 1)
        many = short_count(statistics.n_saturated)
        words = f"{many} pixels\n({part:.2g} %) are\nsaturated"
        if narrow:
            words = words.replace("\n", " ")
        sheet.text(*layout.remark, words, color=MUTED)
    return finish_figure(sheet.figure, save_path)


def plot_difference_histogram(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    statistics: PairStatistics | None = None,
    scales: Sequence[ScaleEstimate] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    narrow: bool = False,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw how often each value of the difference occurs.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    statistics : PairStatistics, optional
        Of this pair; counted from the images when not given.
    scales : sequence of ScaleEstimate, optional
        The first one is used when `scale` is not given.
    scale, offset : float, optional
        ``difference = post - offset - scale * pre``, grey levels.
    narrow : bool
        Smaller panels with the legend below, for a narrow place.
    verdicts : mapping, optional
        Stage to `Verdict`; what fell back or failed is said in red.
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the figure.

    Returns
    -------
    Figure
        All pixels, those with signal after staining only, and those with signal
        in both; logarithmic counts. Bins share the pixels of a cell of grey
        levels evenly.

    Raises
    ------
    RegistrationError
        If the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    statistics = pair_statistics(post_im, pre_im, statistics)
    scale, offset, estimate = chosen_scale(
        scale, offset, scales, post_im, pre_im, statistics
    )
    notes = verdict_notes(verdicts)
    notes += scale_notes([estimate] if estimate else [], verdicts)
    layout = chart_layout(narrow=narrow)
    sheet = chart_sheet(
        f"Difference: {formula(scale, offset)}", sample, dye, notes, statistics, layout
    )
    axes = sheet.axes(*layout.panel)
    label_axes(
        axes, "Difference (grey levels)", "Pixels per bin (logarithmic)", grid=True
    )
    low, high = difference_range(statistics, scale, offset)
    edges = np.linspace(low, high, _BINS + 1)
    counts = difference_counts(statistics, scale, offset, edges)
    for key, label, colour, width in (
        ("all", "All pixels", ALL_COLOUR, 2.6),
        ("both", "Signal before\nand after staining", "#e08214", 1.4),
        ("post_only", "Signal only\nafter staining", POST_COLOUR, 1.4),
    ):
        axes.stairs(counts[key], edges, label=label, color=colour, linewidth=width)
    axes.axvline(0.0, color="#777777", linewidth=1.0, linestyle=(0, (2, 2)))
    if counts["all"].sum() == 0:
        add_message(axes, "No pixel has data in both images.")
    else:
        _log_counts(axes, [counts["all"]])
        beyond = max(statistics.n_both - float(counts["all"].sum()), 0.0)
        if beyond >= 1:
            words = f"{short_count(round(beyond))} pixels lie\nbeyond the axis"
            if narrow:
                words = words.replace("\n", " ")
            sheet.text(*layout.remark, words, color=MUTED)
    axes.set_xlim(low, high)
    number_axes(axes, y=False)
    sheet.legend(axes, *layout.legend, ncols=layout.columns)
    return finish_figure(sheet.figure, save_path)


def _log_counts(axes: Axes, curves: Sequence[NDArray[np.float64]]) -> None:
    high = max(float(counts.max(initial=1.0)) for counts in curves)
    axes.set_yscale("log")
    axes.set_ylim(0.7, 2.0 * max(high, 2.0))
    axes.yaxis.set_major_locator(LogLocator(10.0, numticks=12))
    # Hundreds of minor ticks would take most of the time of drawing.
    axes.yaxis.set_minor_locator(NullLocator())
    format_counts(axes.yaxis)


def _level_edges(statistics: PairStatistics) -> NDArray[np.float64]:
    """Return bins for grey levels; level zero has the first one."""
    top = upper_level(statistics)
    if not statistics.integer:
        low = min(float(h.edges[0]) for h in (statistics.post, statistics.pre))
        return np.linspace(low, max(top, low + 1e-30), _BINS + 1)
    step = max(1, int(np.ceil(top / _BINS)))
    count = int(np.ceil((top + 0.5) / step))
    return np.arange(count + 1, dtype=np.float64) * step - 0.5
