"""Charts: heat maps and histograms of grey levels, differences and ratios.

The pixels of a cell of the statistics are shared among the values that the cell stands
for. Otherwise the grey levels of the two images beat against each other, and a smooth
distribution shows teeth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import Stroke, withStroke
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator
from numpy.typing import NDArray

from napari_exo2micro.core.images.raster import ImageLike
from napari_exo2micro.core.photometry import PairStatistics, ScaleEstimate
from napari_exo2micro.core.plotting import style
from napari_exo2micro.core.plotting.context import PlotContext, plot

Values = NDArray[np.float64]

_BINS: Final = 256
_CELLS: Final = 360
"""Most cells of a heat map along an axis; a cell then has more than one pixel."""

_DWARFED: Final = 20.0
"""A bin this many times higher than the rest asks for a logarithmic axis."""

_LEFT_OUT: Final = 2e-5
"""Part of the pixels that may lie beyond the end of an axis of grey levels."""

_BEYOND: Final = 1e-4
"""Part of the pixels that may lie beyond each end of an axis of differences."""

_NO_PIXEL: Final = "No pixel has data in both images."

_AXIS: Final = 0.65
"""Room for the numbers and the name of a horizontal axis, inches."""


# Heat maps ---------------------------------------------------------------------------


@plot
def plot_pre_post_heatmap(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw how many pixels have which grey level before and after staining.

    Drawn from `statistics`: their density with logarithmic colours, and the identity
    line.
    """
    statistics = context.pair_statistics(post_im, pre_im)
    title = "Grey levels before and after staining"
    chart = _Chart(title, statistics, context, names, map_legend=3.5)
    grid = _draw_grid(chart.axes, statistics)
    density = grid.density(statistics)
    everywhere = np.ones_like(density, dtype=bool)
    if bar := _draw_cells(chart.axes, grid, density, everywhere):
        chart.colour_bar(bar, "Pixels per cell of the grid", 3.0)
    else:
        style.add_message(chart.axes, _NO_PIXEL)
    chart.axes.plot(
        *grid.line(1.0, 0.0),
        color="#111111",
        linewidth=1.4,
        linestyle=(0, (5, 3)),
        path_effects=[withStroke(linewidth=3.0, foreground="white")],
        label="Equally bright\n(post = pre)",
    )
    return chart.finish()


@plot
def plot_excess_heatmap(
    post_im: ImageLike,
    pre_im: ImageLike,
    context: PlotContext,
    names: style.Names,
    *,
    colours: Sequence[str] = (),
) -> Figure:
    """Draw where pixels are brighter after staining than chance would make them.

    Drawn from `statistics`, the density minus its transpose above the identity line,
    with logarithmic colours, and from `scales`, a line for each.

    Parameters
    ----------
    colours : sequence of str
        Of the lines, as matplotlib names them; those of the methods by default.
    """
    statistics = context.pair_statistics(post_im, pre_im)
    estimates = context.pair_scales(statistics)
    title = "Where staining made pixels brighter"
    chart = _Chart(title, statistics, context, names, *estimates, map_legend=3.0)
    grid = _draw_grid(chart.axes, statistics)
    density = grid.density(statistics)
    excess = density - density.T
    upper = np.tril(np.ones_like(excess, dtype=bool), -1)
    if bar := _draw_cells(chart.axes, grid, excess, upper):
        chart.colour_bar(bar, "Excess of pixels per cell of the grid", 2.6)
    else:
        words = "Nowhere are there more pixels above the line than below."
        style.add_message(chart.axes, words)
    chart.axes.plot(
        *grid.line(1.0, 0.0), color="#888888", linewidth=1.0, label="post = pre"
    )
    for i, estimate in enumerate(estimates):
        chart.axes.plot(
            *grid.line(estimate.scale, estimate.offset),
            color=colours[i] if colours else style.scale_colour(estimate.method, i),
            linewidth=2.0,
            path_effects=[Stroke(linewidth=3.4, foreground="#222222"), withStroke()],
            label=style.scale_words(estimate),
            gid=f"scale-{estimate.kind}",
        )
    return chart.finish()


def heatmap_axes(drawn: Figure | Axes) -> Axes | None:
    """Return the panel of a figure that shows grey levels of pre and post."""
    panels = drawn.axes if isinstance(drawn, Figure) else [drawn]
    return next((axes for axes in panels if axes in _GRIDS), None)


def scale_at(
    drawn: Figure | Axes, x: float | None, y: float | None, *, offset: float = 0.0
) -> float | None:
    """Return the scale whose line runs through a place on a heat map.

    Parameters
    ----------
    drawn : Figure or Axes
        What `plot_excess_heatmap` or `plot_pre_post_heatmap` returned, or its
        panel.
    x, y : float or None
        The place in the units of the axes, as a mouse event tells it (`xdata`,
        `ydata`; None outside of the panel).
    offset : float
        Grey levels that the difference takes off post beside the scaled pre. A
        manual scale takes off none, so this is 0 where one is chosen by a click.

    Returns
    -------
    float or None
        (post level - offset) / pre level, above 0. None beside the panel, where
        no scale does that, and for a figure that is no heat map.
    """
    axes = heatmap_axes(drawn)
    if axes is None or x is None or y is None:
        return None
    grid = _GRIDS[axes]
    low, high = float(grid.edges[0]), float(grid.edges[-1])
    if not (low <= x <= high and low <= y <= high):
        return None
    pre, post = grid.level(x), grid.level(y) - offset
    if not (pre > 0 and post > 0):
        return None
    scale = post / pre
    return scale if math.isfinite(scale) else None


def scale_line(
    drawn: Figure | Axes, scale: float, *, offset: float = 0.0
) -> tuple[Values, Values] | None:
    """Return the line ``post = offset + scale * pre`` on a heat map.

    Returns
    -------
    tuple of ndarray or None
        x and y of its points, in the units of the axes; None for a figure that is no
        heat map.
    """
    axes = heatmap_axes(drawn)
    return None if axes is None else _GRIDS[axes].line(scale, offset)


def mark_scale(drawn: Figure | Axes, scale: float) -> list[Artist]:
    """Draw the line of a manual scale that somebody thinks about.

    Returns
    -------
    list of Artist
        What was drawn, to be removed again; empty for a figure that is no heat map.
    """
    axes, line = heatmap_axes(drawn), scale_line(drawn, scale)
    if axes is None or line is None:
        return []
    return axes.plot(  # type: ignore[return-value]
        *line,
        color=style.scale_colour("manual"),
        linewidth=2.0,
        linestyle=(0, (4, 2)),
        path_effects=[withStroke(linewidth=4.0, foreground="white")],
        zorder=5,
        gid="scale-proposed",
    )


def _draw_grid(axes: Axes, statistics: PairStatistics) -> LevelGrid:
    """Give a panel the axes of a heat map; `scale_at` knows them from now on."""
    grid = _GRIDS[axes] = LevelGrid.of(statistics)
    unit = "grey level, square-root axis" if grid.root else "grey level"
    style.label_axes(axes, f"Pre-stain, aligned ({unit})", f"Post-stain ({unit})")
    ends = grid.edges[0], grid.edges[-1]
    axes.set(xlim=ends, ylim=ends)
    if not grid.root:
        style.number_axes(axes)
        return grid
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(grid.place(grid.root_ticks()).tolist()))
        axis.set_major_formatter(lambda v, _: style.plain_number(v * v))
    return grid


def _draw_cells(
    axes: Axes, grid: LevelGrid, values: Values, shown: NDArray[np.bool_]
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


@dataclass(frozen=True, slots=True, eq=False)
class LevelGrid:
    """Even cells of a heat map; square-root steps when most levels are low.

    A straight line through the origin stays straight in either case. `edges` are those
    of the cells in the units of the axes, which show the square root of the grey level
    when `root`; `top` is the highest grey level shown.
    """

    edges: Values
    root: bool
    top: float

    @classmethod
    def of(cls, statistics: PairStatistics) -> LevelGrid:
        """Return the grid that suits the levels of a pair."""
        top = _upper_level(statistics)
        levels = statistics.post.centres[1:]
        counts = np.cumsum(statistics.post.counts[1:], dtype=np.float64)
        middle = top
        if len(counts) and counts[-1] > 0:
            middle = float(levels[int(np.searchsorted(counts, counts[-1] / 2))])
        if middle < 0.08 * top and statistics.dtype != "uint8":
            return cls(np.linspace(0.0, np.sqrt(top), _CELLS + 1), True, top)
        if not statistics.integer:
            return cls(np.linspace(0.0, top, _CELLS + 1), False, top)
        return cls(_whole_level_edges(top, _CELLS), False, top)

    def place(self, level: Any) -> Values:
        """Return where grey levels lie along an axis."""
        values = np.asarray(level, dtype=np.float64)
        return np.sqrt(np.maximum(values, 0.0)) if self.root else values

    def level(self, place: float) -> float:
        """Return the grey level at a place along an axis; inverse of `place`."""
        return place * abs(place) if self.root else place

    def density(self, statistics: PairStatistics) -> Values:
        """Return the pixels in each cell, axes [post, pre]."""
        edges = self.place(statistics.edges)
        # matrix[new, old]: the part of each old cell that lies in each new one.
        low = np.maximum(self.edges[:-1, None], edges[None, :-1])
        high = np.minimum(self.edges[1:, None], edges[None, 1:])
        matrix = np.maximum(high - low, 0.0) / np.maximum(np.diff(edges), 1e-300)
        return np.asarray(matrix @ statistics.joint @ matrix.T)

    def line(self, slope: float, offset: float) -> tuple[Values, Values]:
        """Return ``post = offset + slope * pre`` in the units of the axes."""
        reach = min(self.top, max((self.top - offset) / max(slope, 1e-12), 0.0))
        x = np.linspace(0.0, reach, 200 if self.root else 2)
        return self.place(x), self.place(offset + slope * x)

    def root_ticks(self) -> list[float]:
        """Return round levels whose places on a square-root axis lie well apart."""
        size = 10.0 ** np.floor(np.log10(self.top))
        chosen: list[float] = []
        for level in [
            m * size / d for d in (1, 10, 100) for m in (9, 8, 6, 5, 4, 3, 2, 1)
        ]:
            gap = np.sqrt(chosen[-1] / self.top) if chosen else 1.1
            if level <= self.top and gap - np.sqrt(level / self.top) >= 0.09:
                chosen.append(level)
        return [0.0, *reversed(chosen)]


_GRIDS: WeakKeyDictionary[Axes, LevelGrid] = WeakKeyDictionary()
"""The grid of every heat map, as long as its panel lives."""


# Histograms --------------------------------------------------------------------------


@plot
def plot_pre_post_histograms(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw the grey levels of pre before and after the warp, and of post.

    Drawn from `statistics`, or from `raw_pre`, the frames and `final_transform`. The
    count axis is logarithmic when one bin, such as that of level zero, dwarfs the rest.
    """
    statistics = context.pair_statistics(post_im, pre_im)
    title = "Grey levels of each image"
    chart = _Chart(title, statistics, context, names)
    axes = chart.axes
    style.label_axes(axes, "Grey level", "Pixels per bin", grid=True)
    edges = _level_edges(statistics)
    curves = []
    for histogram, label, colour, width in (
        (statistics.raw_pre, "Pre-stain,\nas photographed", style.RAW_PRE_COLOUR, 2.6),
        (statistics.pre, "Pre-stain,\naligned", style.PRE_COLOUR, 1.6),
        (statistics.post, "Post-stain", style.POST_COLOUR, 1.6),
    ):
        if histogram is None:
            continue
        counts = rebin(histogram.counts, histogram.edges, edges)
        axes.stairs(counts, edges, label=label, color=colour, linewidth=width)
        curves.append(counts)
    rest = max(float(np.percentile(counts, 75)) for counts in curves)
    most = max(float(counts.max()) for counts in curves)
    if most == 0:
        style.add_message(axes, "No pixel has data.")
    elif most > _DWARFED * max(rest, 1.0):
        _log_counts(axes, most)
        axes.set_ylabel("Pixels per bin (logarithmic)", fontsize=10)
    else:
        axes.set_ylim(0, 1.05 * most)
        style.format_counts(axes.yaxis)
    if statistics.n_saturated:
        part = 100 * statistics.n_saturated / max(statistics.n_both, 1)
        many = style.short_count(statistics.n_saturated)
        chart.remark(f"{many} pixels\n({part:.2g} %) are\nsaturated")
    chart.number_x(edges[0], edges[-1])
    return chart.finish()


@plot
def plot_difference_histogram(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw how often each value of the difference occurs.

    Of all pixels, those with signal after staining only, and those with signal in
    both. Drawn from `statistics`, `scale` and `offset`, or the first of `scales`; bins
    share the pixels of a cell of grey levels evenly.
    """
    statistics = context.pair_statistics(post_im, pre_im)
    scale, offset, estimate = context.subtraction(post_im, pre_im)
    title = f"Difference: {style.formula(scale, offset)}"
    chart = _Chart(title, statistics, context, names, estimate)
    axes = chart.axes
    style.label_axes(
        axes, "Difference (grey levels)", "Pixels per bin (logarithmic)", grid=True
    )
    low, high = difference_range(statistics, scale, offset)
    edges = np.linspace(low, high, _BINS + 1)
    counts = difference_counts(statistics, scale, offset, edges)
    for key, label, colour, width in (
        ("all", "All pixels", style.ALL_COLOUR, 2.6),
        ("both", "Signal before\nand after staining", "#e08214", 1.4),
        ("post_only", "Signal only\nafter staining", style.POST_COLOUR, 1.4),
    ):
        axes.stairs(counts[key], edges, label=label, color=colour, linewidth=width)
    axes.axvline(0.0, color="#777777", linewidth=1.0, linestyle=(0, (2, 2)))
    total = float(counts["all"].sum())
    if total == 0:
        style.add_message(axes, _NO_PIXEL)
    else:
        _log_counts(axes, float(counts["all"].max()))
        beyond = max(statistics.n_both - total, 0.0)
        if beyond >= 1:
            many = style.short_count(round(beyond))
            chart.remark(f"{many} pixels lie\nbeyond the axis")
    chart.number_x(low, high)
    return chart.finish()


@plot
def plot_ratio_histogram(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw how much brighter places became, and the profile that gave the scale.

    Drawn from `statistics`, the distribution of log10(post/pre), and `scales`: the
    first with a Moffat fit with its profile and bins, the others as lines.
    """
    statistics = context.pair_statistics(post_im, pre_im)
    estimates = context.pair_scales(statistics)
    title = "Ratio of post-stain to pre-stain"
    chart = _Chart(title, statistics, context, names, *estimates, above=0.45)
    axes = chart.axes
    fitted = next((e for e in estimates if e.fit is not None), None)
    low, high = _ratio_range(statistics, estimates)
    edges = np.linspace(low, high, _BINS + 1)
    pixels = log_ratio_counts(statistics, edges)
    top = _draw_fit(axes, fitted) if fitted is not None else float(pixels.max())
    subject = "Blocks of mineral" if fitted is not None else "Pixels"
    subtracted = fitted is not None and fitted.offset != 0
    what = "log10((post \u2212 offset) / pre)" if subtracted else "log10(post / pre)"
    style.label_axes(axes, what, f"{subject} per bin", grid=True)
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
        style.add_message(axes, "No pixel has signal in both images.")
    for i, estimate in enumerate(estimates):
        place = float(np.log10(estimate.scale))
        words = style.scale_words(estimate)
        axes.axvline(
            place,
            color=style.scale_colour(estimate.method, i),
            linewidth=1.8,
            label=words if low < place < high else words + "\n(beyond the axis)",
            gid=f"scale-{estimate.kind}",
            zorder=1.5,
        )
    axes.set_ylim(0, 1.12 * top if top > 0 else 1.0)
    chart.number_x(low, high)
    style.format_counts(axes.yaxis)
    _ratio_axis(axes, low, high)
    return chart.finish()


def _log_counts(axes: Axes, most: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(0.7, 2.0 * max(most, 2.0))
    axes.yaxis.set_major_locator(LogLocator(10.0, numticks=12))
    # Hundreds of minor ticks would take most of the time of drawing.
    axes.yaxis.set_minor_locator(NullLocator())
    style.format_counts(axes.yaxis)


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
    for estimate in estimates:
        if estimate.fit is not None:
            wing = max(estimate.fit.high - estimate.fit.low, 1e-4)
            return estimate.fit.low - 1.5 * wing, estimate.fit.high + 2.0 * wing
    wide = np.linspace(-3.0, 3.0, 1201)
    counts = np.cumsum(log_ratio_counts(statistics, wide))
    places = [float(np.log10(e.scale)) for e in estimates]
    centre = places[0] if places else 0.0
    low, high = centre - 0.3, centre + 0.3
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
        lambda value, _: style.plain_number(float(f"{10**value:.6g}"))
    )
    upper.tick_params(labelsize=9, colors="#333333", length=3, width=0.8)
    upper.set_xlabel("post / pre", fontsize=10, labelpad=4)


# Counts in the bins of a chart -------------------------------------------------------


def rebin(counts: NDArray[np.int64], edges: Values, new_edges: Values) -> Values:
    """Return the counts of a histogram in other bins, spread evenly in each bin."""
    total = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    return np.diff(np.interp(new_edges, edges, total))


def _upper_level(statistics: PairStatistics) -> float:
    """Return the grey level up to which the axes of a pair should reach."""
    top = 0.0
    # The zero of padding and background says nothing about the bright end.
    dark = 0.5 if statistics.integer else 0.0
    for histogram in (statistics.post, statistics.pre):
        lit = np.where(histogram.edges[1:] > dark, histogram.counts, 0)
        total = np.cumsum(lit, dtype=np.float64)
        if total[-1] > 0:
            last = int(np.searchsorted(total, total[-1] * (1 - _LEFT_OUT)))
            top = max(top, float(histogram.edges[min(last, len(total) - 1) + 1]))
    return top if top > 0 else 1.0


def _whole_level_edges(top: float, most: int) -> Values:
    """Return at most about `most` bins of whole levels: others beat with the levels."""
    step = max(1, int(np.ceil(top / most)))
    count = int(np.ceil((top + 0.5) / step))
    return np.arange(count + 1, dtype=np.float64) * step - 0.5


def _level_edges(statistics: PairStatistics) -> Values:
    """Return bins for grey levels; level zero has the first one."""
    top = _upper_level(statistics)
    if statistics.integer:
        return _whole_level_edges(top, _BINS)
    low = min(float(h.edges[0]) for h in (statistics.post, statistics.pre))
    return np.linspace(low, max(top, low + 1e-30), _BINS + 1)


def _cell_differences(
    statistics: PairStatistics, scale: float, offset: float
) -> tuple[Values, Values, NDArray[np.int64], NDArray[np.intp], NDArray[np.intp]]:
    """Return the filled cells: middle and width of the difference, pixels, place."""
    joint = statistics.joint
    rows, columns = np.nonzero(joint)
    levels = statistics.centres
    middle = levels[rows] - offset - scale * levels[columns]
    cell = np.diff(statistics.edges)
    # A cell with no signal is one value, zero, not a range of values.
    cell[0] = 0.0
    width = np.hypot(cell[rows], scale * cell[columns])
    return middle, width, joint[rows, columns], rows, columns


def difference_counts(
    statistics: PairStatistics, scale: float, offset: float, edges: Values
) -> Mapping[str, Values]:
    """Return how many pixels have a difference in each bin.

    ``all``; ``post_only``: signal (above 0) in post alone; ``both``: in both.
    """
    middle, width, counts, rows, columns = _cell_differences(statistics, scale, offset)
    lit = rows > 0
    post_only, both, rest = (
        spread_counts(middle[part], width[part], counts[part], edges)
        for part in (lit & (columns == 0), lit & (columns > 0), ~lit)
    )
    return {"post_only": post_only, "both": both, "all": post_only + both + rest}


def difference_range(
    statistics: PairStatistics, scale: float, offset: float
) -> tuple[float, float]:
    """Return the differences between which all but very few pixels lie."""
    middle, _, counts, _, _ = _cell_differences(statistics, scale, offset)
    if not len(counts):
        return -1.0, 1.0
    order = np.argsort(middle)
    total = np.cumsum(counts[order])
    ends = np.searchsorted(total, total[-1] * np.array([_BEYOND, 1 - _BEYOND]))
    low, high = middle[order][np.minimum(ends, len(order) - 1)]
    width = max(high - low, 1.0 if statistics.integer else 1e-6 * (abs(high) + 1e-30))
    return min(low, 0.0) - 0.04 * width, max(high, 0.0) + 0.04 * width


def log_ratio_counts(statistics: PairStatistics, edges: Values) -> Values:
    """Return how many pixels have a log10(post/pre) in each bin.

    Pixels with signal in both images and below saturation count.
    """
    if statistics.ratio is not None:
        return rebin(statistics.ratio.counts, statistics.ratio.edges, edges)
    rows, columns, counts = statistics.signal_cells()
    levels = statistics.centres
    relative = np.diff(statistics.edges) / np.maximum(levels, 1e-300) / np.log(10.0)
    return spread_counts(
        np.log10(levels[rows] / levels[columns]),
        np.hypot(relative[rows], relative[columns]),
        counts,
        edges,
    )


def spread_counts(
    middle: Values, width: Values, counts: NDArray[np.int64], edges: Values
) -> Values:
    """Return a histogram of values that are known to a certain width each.

    A value lies anywhere in ``middle - width / 2 .. middle + width / 2``, so its
    counts are no whole numbers.
    """
    if not len(middle):
        return np.zeros(len(edges) - 1)
    places = edges - edges[0]
    width = np.maximum(width, 1e-6 * places[-1])
    below = np.zeros(len(edges))
    # The cumulative distribution is a sum of ramps: each begins at one end of a
    # value's range and is taken back at the other.
    for sign, side in ((1.0, -0.5), (-1.0, 0.5)):
        start = middle + side * width - edges[0]
        order = np.argsort(start)
        # below(x) = sum of slope * (x - start) over the ramps that start before x
        slope = counts[order] / width[order]
        slopes = np.concatenate([[0.0], np.cumsum(slope)])
        starts = np.concatenate([[0.0], np.cumsum(slope * start[order])])
        reached = np.searchsorted(start[order], places)
        below += sign * (slopes[reached] * places - starts[reached])
    result = np.diff(below)
    # What is left of large sums that cancel is no pixel.
    result[result < 1e-9 * float(counts.sum())] = 0.0
    return result


# The sheet of a chart ----------------------------------------------------------------


class _Chart:
    """A sheet with one panel, and its legend beside it or, when narrow, below it.

    A chart with a `map_legend`, the height of its legend, is a heat map; others are
    histograms, with room for an axis `above` them. All places are inches.
    """

    def __init__(
        self,
        title: str,
        statistics: PairStatistics,
        context: PlotContext,
        names: style.Names,
        *estimates: ScaleEstimate | None,
        map_legend: float | None = None,
        above: float = 0.0,
    ) -> None:
        narrow = self._narrow = context.narrow
        if map_legend is not None:
            left, top, indent = 0.85, 0.1, 0.3
            width = height = 4.1 if narrow else 5.6
            right, below = (1.2, 1.15) if narrow else (2.15, 0.0)
        else:
            left, top, indent = 0.95, 0.1 + above, 0.4
            width, height = (4.4, 3.4) if narrow else (5.9, 4.1)
            right, below = (0.3, 1.65) if narrow else (2.2, 0.0)
        end = top + height + _AXIS
        beside = left + width + 0.2, top if map_legend is None else map_legend
        self._legend = (left - indent, end) if narrow else beside
        self._bar = left + width + 0.2, top
        self._sheet = style.Sheet(
            title,
            width=left + width + right,
            height=end + below,
            names=names,
            notes=context.notes(*estimates),
            remark=style.count_words(statistics.n_both),
        )
        self.axes = self._sheet.axes(left, top, width, height)

    def colour_bar(self, norm: ScalarMappable, words: str, height: float) -> None:
        """Draw the colours of pixel counts at the right of the panel."""
        bar = self._sheet.axes(*self._bar, 0.2, height)
        self._sheet.colour_bar(bar, norm, words, counts=True)

    def remark(self, words: str) -> None:
        """Write under the legend; in one line where that is below the panel."""
        left, top = self._legend
        words = words.replace("\n", " ") if self._narrow else words
        down = 1.05 if self._narrow else 2.3
        self._sheet.text(left, top + down, words, color=style.MUTED)

    def number_x(self, low: float, high: float) -> None:
        """Give the horizontal axis its ends and numbers."""
        self.axes.set_xlim(low, high)
        style.number_axes(self.axes, y=False)

    def finish(self) -> Figure:
        """Draw the legend and return the figure."""
        self._sheet.legend(self.axes, *self._legend, 2 if self._narrow else 1)
        return self._sheet.figure
