"""Charts: heat maps and histograms of grey levels, differences and ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import Stroke, withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from napari_exo2micro.core.images.raster import Frame, ImageLike
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.parameters.verdict import Verdict
from napari_exo2micro.core.photometry.scale import ScaleEstimate
from napari_exo2micro.core.photometry.statistics import PairStatistics
from napari_exo2micro.core.plotting.inputs import (
    LevelGrid,
    attach_grid,
    chosen_scale,
    difference_counts,
    difference_range,
    log_ratio_counts,
    pair_scales,
    pair_statistics,
    rebin,
    upper_level,
)
from napari_exo2micro.core.plotting.style import (
    ALL_COLOUR,
    MUTED,
    POST_COLOUR,
    PRE_COLOUR,
    RAW_PRE_COLOUR,
    Sheet,
    add_message,
    chart_layout,
    chart_sheet,
    count_words,
    finish_figure,
    format_counts,
    formula,
    label_axes,
    number_axes,
    plain_number,
    scale_colour,
    scale_notes,
    scale_words,
    short_count,
    verdict_notes,
)

_SIDE, _LEFT, _BOTTOM = 5.6, 0.85, 0.65
_NARROW_SIDE, _BAR_WIDTH, _LEGEND_WIDTH, _LEGEND_HEIGHT = 4.1, 1.2, 2.15, 1.15
_NOTHING: Final = "#f2f2f2"


def plot_pre_post_heatmap(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    statistics: PairStatistics | None = None,
    narrow: bool = False,
    verdicts: Mapping[Any, Verdict] | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw how many pixels have which grey level before and after staining.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    statistics : PairStatistics, optional
        Of this pair; counted from the images when not given.
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
        Density with logarithmic colours and the identity line.

    Raises
    ------
    RegistrationError
        If the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    statistics = pair_statistics(post_im, pre_im, statistics)
    sheet = _sheet(
        "Grey levels before and after staining",
        sample,
        dye,
        verdict_notes(verdicts),
        statistics,
        narrow=narrow,
    )
    grid = LevelGrid.of(statistics)
    side = _NARROW_SIDE if narrow else _SIDE
    axes = _panel(sheet, grid, side)
    density = grid.density(statistics)
    norm = _draw(axes, grid, density, np.ones_like(density, dtype=bool))
    if norm is None:
        add_message(axes, "No pixel has data in both images.")
    else:
        sheet.colour_bar(
            sheet.axes(_LEFT + side + 0.2, 0.1, 0.2, 3.0),
            norm,
            "Pixels per cell of the grid",
            counts=True,
        )
    axes.plot(
        *grid.line(1.0, 0.0),
        color="#111111",
        linewidth=1.4,
        linestyle=(0, (5, 3)),
        path_effects=[withStroke(linewidth=3.0, foreground="white")],
        label="Equally bright\n(post = pre)",
    )
    _legend(sheet, axes, 3.5, narrow=narrow)
    return finish_figure(sheet.figure, save_path)


def plot_excess_heatmap(
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
    """Draw where pixels are brighter after staining than chance would make them.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    statistics : PairStatistics, optional
        Of this pair; counted from the images when not given.
    scales : sequence of ScaleEstimate, optional
        A line is drawn for each; the default estimate when not given.
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
        The density minus its transpose, above the identity line only, with
        logarithmic colours.

    Raises
    ------
    RegistrationError
        If the two images cannot be compared.
    OutputError
        If the file cannot be written.
    """
    statistics = pair_statistics(post_im, pre_im, statistics)
    estimates = pair_scales(statistics, scales)
    sheet = _sheet(
        "Where staining made pixels brighter",
        sample,
        dye,
        verdict_notes(verdicts) + scale_notes(estimates, verdicts),
        statistics,
        narrow=narrow,
    )
    grid = LevelGrid.of(statistics)
    side = _NARROW_SIDE if narrow else _SIDE
    axes = _panel(sheet, grid, side)
    density = grid.density(statistics)
    excess = density - density.T
    upper = np.tril(np.ones_like(excess, dtype=bool), -1)
    norm = _draw(axes, grid, excess, upper)
    if norm is None:
        add_message(axes, "Nowhere are there more pixels above the line than below.")
    else:
        sheet.colour_bar(
            sheet.axes(_LEFT + side + 0.2, 0.1, 0.2, 2.6),
            norm,
            "Excess of pixels per cell of the grid",
            counts=True,
        )
    axes.plot(*grid.line(1.0, 0.0), color="#888888", linewidth=1.0, label="post = pre")
    for i, estimate in enumerate(estimates):
        axes.plot(
            *grid.line(estimate.scale, estimate.offset),
            color=scale_colour(estimate.method, i),
            linewidth=2.0,
            path_effects=[Stroke(linewidth=3.4, foreground="#222222"), withStroke()],
            label=scale_words(estimate),
            gid=f"scale-{estimate.kind}",
        )
    _legend(sheet, axes, 3.0, narrow=narrow)
    return finish_figure(sheet.figure, save_path)


def _sheet(
    title: str,
    sample: str,
    dye: str,
    notes: Sequence[str],
    statistics: PairStatistics,
    *,
    narrow: bool,
) -> Sheet:
    side = _NARROW_SIDE if narrow else _SIDE
    return Sheet(
        title,
        width=_LEFT + side + (_BAR_WIDTH if narrow else _LEGEND_WIDTH),
        height=0.1 + side + _BOTTOM + (_LEGEND_HEIGHT if narrow else 0.0),
        sample=sample,
        dye=dye,
        notes=notes,
        remark=count_words(statistics.n_both),
    )


def _legend(sheet: Sheet, axes: Axes, top: float, *, narrow: bool) -> None:
    """Draw the legend below the panel where it is narrow, else beside it."""
    if narrow:
        sheet.legend(axes, _LEFT - 0.3, 0.1 + _NARROW_SIDE + _BOTTOM, ncols=2)
    else:
        sheet.legend(axes, _LEFT + _SIDE + 0.2, top)


def _panel(sheet: Sheet, grid: LevelGrid, side: float) -> Axes:
    axes = sheet.axes(_LEFT, 0.1, side, side)
    unit = "grey level, square-root axis" if grid.root else "grey level"
    label_axes(axes, f"Pre-stain, aligned ({unit})", f"Post-stain ({unit})")
    low, high = grid.edges[0], grid.edges[-1]
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    attach_grid(axes, grid)
    if not grid.root:
        number_axes(axes)
        return axes
    for axis in (axes.xaxis, axes.yaxis):
        ticks = grid.place(grid.root_ticks())
        axis.set_major_locator(FixedLocator(ticks.tolist()))
        axis.set_major_formatter(FuncFormatter(lambda v, _: plain_number(v * v)))
    return axes


def _draw(
    axes: Axes,
    grid: LevelGrid,
    values: NDArray[np.float64],
    shown: NDArray[np.bool_],
) -> ScalarMappable | None:
    """Draw positive values with logarithmic colours; None when there are none."""
    filled = shown & (values > 0)
    colours = np.full((*values.shape, 4), 255, np.uint8)
    colours[shown] = np.array([242, 242, 242, 255], np.uint8)
    mapping = None
    if filled.any():
        high = float(values[filled].max())
        low = min(max(1.0, float(values[filled].min())), high / 10.0)
        mapping = ScalarMappable(LogNorm(low, high, clip=True), colormaps["viridis"])
        colours[filled] = mapping.to_rgba(values[filled], bytes=True)
    low, high = grid.edges[0], grid.edges[-1]
    axes.imshow(
        colours,
        origin="lower",
        extent=(low, high, low, high),
        interpolation="nearest",
        aspect="auto",
    )
    return mapping


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
