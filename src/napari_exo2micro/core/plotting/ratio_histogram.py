"""How many times brighter the minerals became, and the profile of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.photometry import ScaleEstimate
from napari_exo2micro.core.plotting.counts import log_ratio_counts
from napari_exo2micro.core.plotting.figures import (
    add_message,
    format_counts,
    label_axes,
    number_axes,
)
from napari_exo2micro.core.plotting.inputs import pair_scales, pair_statistics
from napari_exo2micro.core.plotting.layout import chart_layout, chart_sheet
from napari_exo2micro.core.plotting.notes import scale_notes, verdict_notes
from napari_exo2micro.core.plotting.saving import finish_figure
from napari_exo2micro.core.plotting.style import plain_number, scale_colour, scale_words
from napari_exo2micro.core.rasters import ImageLike
from napari_exo2micro.core.statistics import PairStatistics

__all__ = ["plot_ratio_histogram"]

_BINS: Final = 256


def plot_ratio_histogram(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    statistics: PairStatistics | None = None,
    scales: Sequence[ScaleEstimate] | None = None,
    narrow: bool = False,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw how much brighter places became, and the profile that gave the scale.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    statistics : PairStatistics, optional
        Of this pair; counted from the images when not given.
    scales : sequence of ScaleEstimate, optional
        The first with a Moffat fit is drawn with its profile and bins, the others
        as lines; the default estimate when not given.
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
        Distribution of log10(post/pre).

    Raises
    ------
    RegistrationError
        If the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    statistics = pair_statistics(post_im, pre_im, statistics)
    estimates = pair_scales(statistics, scales)
    notes = verdict_notes(verdicts) + scale_notes(estimates, verdicts)
    layout = chart_layout(narrow=narrow, above=0.45)
    title = "Ratio of post-stain to pre-stain"
    sheet = chart_sheet(title, sample, dye, notes, statistics, layout)
    axes = sheet.axes(*layout.panel)
    fitted = next((e for e in estimates if e.fit is not None), None)
    low, high = _ratio_range(statistics, estimates)
    edges = np.linspace(low, high, _BINS + 1)
    pixels = log_ratio_counts(statistics, edges)
    top = _draw_fit(axes, fitted) if fitted is not None else float(pixels.max())
    subject = "Blocks of mineral" if fitted is not None else "Pixels"
    subtracted = fitted is not None and fitted.offset != 0
    what = "log10((post \u2212 offset) / pre)" if subtracted else "log10(post / pre)"
    label_axes(axes, what, f"{subject} per bin", grid=True)
    if pixels.max() > 0:
        label = "All pixels\n(scaled to this height)" if fitted else "All pixels"
        axes.stairs(
            pixels / pixels.max() * top,
            edges,
            color="#9a9a9a",
            linewidth=1.2,
            label=label,
        )
    elif fitted is None:
        add_message(axes, "No pixel has signal in both images.")
    for i, estimate in enumerate(estimates):
        place = float(np.log10(estimate.scale))
        words = scale_words(estimate)
        axes.axvline(
            place,
            color=scale_colour(estimate.method, i),
            linewidth=1.8,
            label=words if low < place < high else words + "\n(beyond the axis)",
            gid=f"scale-{estimate.kind}",
            zorder=1.5,
        )
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1.12 * top if top > 0 else 1.0)
    number_axes(axes, y=False)
    format_counts(axes.yaxis)
    _ratio_axis(axes, low, high)
    sheet.legend(axes, *layout.legend, ncols=layout.columns)
    return finish_figure(sheet.figure, save_path)


def _draw_fit(axes: Axes, estimate: ScaleEstimate) -> float:
    """Draw the blocks, the bins fitted to and the profile; return the top."""
    fit = estimate.fit
    assert fit is not None
    axes.stairs(fit.density, fit.edges, fill=True, color="#c9d7ea", label="Mineral")
    used = np.isfinite(fit.mirrored)
    axes.plot(
        fit.centres[used],
        fit.mirrored[used],
        linestyle="none",
        marker="o",
        markersize=3.2,
        markerfacecolor="#2b5c9e",
        markeredgecolor="none",
        label="Bins of the fit\n(left wing, mirrored)",
        zorder=3,
    )
    reach = max(fit.high - fit.low, 1e-3)
    x = np.linspace(fit.low - 0.5 * reach, fit.high + 0.5 * reach, 400)
    axes.plot(x, fit.profile(x), color="#111111", linewidth=1.6, label="Moffat profile")
    return max(float(fit.density.max(initial=0.0)), fit.amplitude)


def _ratio_range(
    statistics: PairStatistics, estimates: Sequence[ScaleEstimate]
) -> tuple[float, float]:
    """Return the log10 ratios to show: the peak, its wings and every scale."""
    wide = np.linspace(-3.0, 3.0, 1201)
    counts = np.cumsum(log_ratio_counts(statistics, wide))
    places = [float(np.log10(e.scale)) for e in estimates]
    centre = places[0] if places else 0.0
    low, high = centre - 0.3, centre + 0.3
    for estimate in estimates:
        if estimate.fit is not None:
            wing = max(estimate.fit.high - estimate.fit.low, 1e-4)
            return estimate.fit.low - 1.5 * wing, estimate.fit.high + 2.0 * wing
    if counts[-1] > 0:
        first, last = np.searchsorted(counts, counts[-1] * np.array([0.005, 0.995]))
        low, high = float(wide[first]), float(wide[last + 1])
    margin = 0.05 * (high - low)
    return min(low, *places, low) - margin, max(high, *places, high) + margin


def _ratio_axis(axes: Axes, low: float, high: float) -> None:
    """Name the ratios themselves along the upper edge."""
    span = 10**high - 10**low
    step = 10.0 ** np.floor(np.log10(span / 5))
    step *= next(f for f in (1, 2, 5, 10) if span / (f * step) <= 7)
    ratios = np.arange(np.ceil(10**low / step), np.floor(10**high / step) + 1) * step
    if high - low > 1.0:
        steps = np.outer(10.0 ** np.arange(-3, 4), [1, 2, 5]).ravel()
        ratios = steps[(steps >= 10**low) & (steps <= 10**high)]
    ratios = ratios[ratios > 0]
    upper = axes.secondary_xaxis("top")
    upper.xaxis.set_major_locator(FixedLocator(np.log10(ratios).tolist()))
    upper.xaxis.set_major_formatter(
        lambda value, _: plain_number(float(f"{10**value:.6g}"))
    )
    upper.tick_params(labelsize=9, colors="#333333", length=3, width=0.8)
    upper.set_xlabel("post / pre", fontsize=10, labelpad=4)
