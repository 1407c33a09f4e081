"""Plots of the microbes: the map of the S/N, how pure candidates are, cut-outs of them.

They draw what stage 5 has found: `snr`, `candidates`, `purity` and `snr_min` of the
context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from astropy.table import Table
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from numpy.typing import NDArray
from scipy.stats import beta

from napari_exo2micro.core.alignment import round_figure
from napari_exo2micro.core.detection import (
    REFUSED,
    Completeness,
    Purity,
    flag_words,
)
from napari_exo2micro.core.images import Frame, ImageLike, raster
from napari_exo2micro.core.plotting import pictures, style
from napari_exo2micro.core.plotting.context import PlotContext, plot

_NO_RESULT: Final = "Stage 5 has no result yet; run it to see its candidates."

_REACH: Final = 20.0
"""Colours of the S/N change up to this, or up to three times the threshold."""

_NOISE: Final = 4.0
_DARK_PART: Final = 0.12
"""Up to this S/N so small a part of the colours is used: noise is nearly black."""

_SNR_COLOURS: Final = style.DIFFERENCE_COLOURS.copy()
_SNR_COLOURS.colorbar_extend = "both"  # type: ignore[assignment]


def _snr_norm(snr_min: float | None) -> FuncNorm:
    """Return the stretch of the S/N: linear where noise is, and from there on."""
    reach = max(3.0 * (snr_min or 0.0), _REACH)
    values, places = (0.0, _NOISE, reach), (0.0, _DARK_PART, 1.0)

    def place(value: Any) -> Any:
        return np.sign(value) * np.interp(np.abs(value), values, places)

    def value(place: Any) -> Any:
        return np.sign(place) * np.interp(np.abs(place), places, values)

    return FuncNorm((place, value), -reach, reach)


def _snr_bar(sheet: style.Sheet, axes: Axes, norm: Normalize, words: str) -> None:
    """Draw the colours of the S/N, with round numbers."""
    reach = float(norm.vmax or 1.0)
    step = round_figure(reach / 2)
    above = [step * number for number in range(1, int(reach / step) + 1)]
    ticks = [-value for value in above[::-1]] + [0.0, *above]
    sheet.colour_bar(axes, ScalarMappable(norm, _SNR_COLOURS), words, ticks=ticks)


# The map of the S/N ------------------------------------------------------------------

_MOST_CIRCLES: Final = 300
"""With more candidates than this their density is drawn."""

_CELLS: Final = (8, 60)
"""Fewest and most cells of the density along the longer side."""

_IN_A_CELL: Final = 2
"""So many candidates in a cell, about."""

_CIRCLE: Final = "#7dffb0"


@plot
def plot_snr_map(
    post_im: ImageLike, _pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw the S/N of the section with the counted candidates.

    Drawn from `snr` and `candidates`. A pixel of the picture shows the value farthest
    from zero of its block, so that neither a faint microbe nor a dark spot is lost in
    means. Up to 300 counted candidates are circles; of more a second panel shows the
    density, per mm^2 with `pixel_size`, otherwise per 10^6 px. White where nothing was
    searched.
    """
    frame = context.post_frame or pictures.data_frame(post_im)
    frame = pictures.clip_frame(frame, post_im.shape)
    places = _counted_places(context)
    is_dense = len(places) > _MOST_CIRCLES
    most, least_width = (520, 5.6) if context.narrow else (960, 7.4)
    if is_dense and not context.narrow:
        most = 640
    snr = post_im if context.snr is None else context.snr
    picture = strongest(snr, frame, most)
    if context.snr is None:
        picture = picture.with_pixels(np.zeros_like(picture.pixels))
    searched = picture.pixels != 0
    words = []
    if context.candidates is not None:
        words.append(f"{len(places)} counted of {len(context.candidates)} candidates")
    if picture.factor > 1:
        words.append(f"strongest of {picture.factor} × {picture.factor} px")
    width, height = style.panel_size(picture.pixels.shape, most, 840)
    bar_height = max(height, style.SHORTEST_BAR)
    # From the corner of the map to that of the density.
    beside, under = width + 2.3, 0.0
    if context.narrow:
        beside, under = 0.0, bar_height + 1.0
    top = 0.35 if is_dense else 0.1
    more = (beside, under) if is_dense else (0.0, 0.0)
    sheet = style.Sheet(
        "Signal-to-noise ratio of the section",
        width=max(0.85 + more[0] + width + 1.35, least_width),
        height=top + more[1] + bar_height + 0.6,
        names=names,
        notes=context.notes(),
        remark=", ".join(words),
    )
    axes = sheet.axes(0.85, top, width, height)
    bar = sheet.axes(0.85 + width + 0.18, top, 0.18, style.bar_height(height))
    norm = _snr_norm(context.snr_min)
    colours = _SNR_COLOURS(norm(picture.pixels), bytes=True)[..., :3]
    colours[~searched] = 255
    pictures.show_picture(axes, picture, colours)
    if context.snr is None:
        style.add_message(axes, _NO_RESULT)
    elif not searched.any():
        style.add_message(axes, "Nothing was searched: nowhere is a section.")
    _snr_bar(sheet, bar, norm, "S/N (white: not searched)")
    panels = [axes]
    if is_dense:
        style.name_panel(axes, "S/N")
        left = 0.85 + beside
        panels.append(sheet.axes(left, top + under, width, height))
        place = left + width + 0.18, top + under, 0.18, style.bar_height(height)
        colour, label = _show_density(panels[1], picture, searched, places, context)
        sheet.colour_bar(sheet.axes(*place), colour, label)
    elif len(places):
        axes.plot(
            *places.T,
            linestyle="none",
            marker="o",
            markersize=7 if context.narrow else 10,
            markerfacecolor="none",
            markeredgecolor=_CIRCLE,
            markeredgewidth=1.0,
            gid="candidates",
        )
    for panel in panels:
        pictures.number_pixels(panel)
        panel.set(xlim=picture.extent[:2], ylim=picture.extent[2:])
    return sheet.figure


def strongest(image: ImageLike, frame: Frame, max_side: int) -> pictures.Picture:
    """Return a part of an image by the value farthest from zero in each block.

    Read band by band, and from a level of the image whose pixels are small beside a
    spot.

    Parameters
    ----------
    image : ImageLike, shape (rows, columns)
        Of the S/N.
    frame : tuple of int
        (x0, y0, width, height), px.
    max_side : int
        Longer side of the picture at most, one more for whole blocks.

    Returns
    -------
    Picture
        Its pixels are S/N.
    """
    x0, y0, width, height = pictures.clip_frame(frame, image.shape)
    factor, level = raster.block_size(max(width, height), max_side), 0
    if isinstance(image, raster.Raster):
        # A block of 8 px and more has two pixels of a level at least: their means are
        # over 4 px then, which is about as wide as a microbe.
        finest = min(max(factor.bit_length() - 2, 0), _COARSEST)
        level = min(raster.level_for(factor, image.n_levels), finest)
    block = factor >> level
    x0, y0 = x0 // factor * factor, y0 // factor * factor
    end = frame[0] + frame[2], frame[1] + frame[3]
    columns, rows = (
        -(-(stop - start) // factor) for start, stop in zip((x0, y0), end, strict=True)
    )
    pixels = np.zeros((rows, columns), np.float32)
    left, right = x0 >> level, -(-end[0] >> level)
    step = max(_BAND // block, 1)
    for first in range(0, rows, step):
        last = min(first + step, rows)
        top = (y0 >> level) + first * block
        window = slice(top, min(top + (last - first) * block, -(-end[1] >> level)))
        key = window, slice(left, right)
        part = (
            image.read(key, level) if isinstance(image, raster.Raster) else image[key]
        )
        pixels[first:last] = _block_extremes(
            np.nan_to_num(np.asarray(part, np.float32)), block, (last - first, columns)
        )
    return pictures.Picture(pixels, factor, x0, y0)


_COARSEST: Final = 2
_BAND: Final = 512


def _block_extremes(
    part: NDArray[np.float32], block: int, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Return the value farthest from zero of each block; the last may be cut."""
    rows, columns = (side * block for side in shape)
    whole = np.zeros((rows, columns), np.float32)
    whole[: part.shape[0], : part.shape[1]] = part
    blocks = whole.reshape(shape[0], block, columns)
    high, low = (
        ends(ends(blocks, axis=1).reshape(*shape, block), axis=2)
        for ends in (np.max, np.min)
    )
    return np.asarray(np.where(high >= -low, high, low), np.float32)


def _counted_places(context: PlotContext) -> NDArray[np.float64]:
    """Return where the counted candidates lie, (x, y) in px of the canvas."""
    table = context.candidates
    if table is None or not len(table):
        return np.empty((0, 2))
    places: NDArray[np.float64] = _places(table, context)
    counted: NDArray[np.float64] = places[np.asarray(table["counted"], bool)]
    return counted


def _places(table: Table, context: PlotContext) -> NDArray[np.float64]:
    """Return where candidates lie, (x, y) in px of the canvas."""
    x0, y0 = context.post_frame[:2] if context.post_frame else (0, 0)
    return np.column_stack(
        [np.asarray(table["x"], float) + x0, np.asarray(table["y"], float) + y0]
    )


def _show_density(
    axes: Axes,
    picture: pictures.Picture,
    searched: NDArray[np.bool_],
    places: NDArray[np.float64],
    context: PlotContext,
) -> tuple[ScalarMappable, str]:
    """Draw how dense counted candidates lie, and return the colours and their words."""
    rows, columns = picture.pixels.shape
    cells = int(np.clip(math.sqrt(len(places) / _IN_A_CELL), *_CELLS))
    side = -(-max(rows, columns) // cells)  # px of the picture
    shape = -(-rows // side), -(-columns // side)
    known = np.zeros((shape[0] * side, shape[1] * side))
    known[:rows, :columns] = searched
    share = known.reshape(shape[0], side, shape[1], side).mean(axis=(1, 3))
    cell = side * picture.factor
    left, _, _, top = picture.extent
    column, row = ((places - (left, top)) / cell).astype(int).T
    counts = np.zeros(shape)
    inside = (row >= 0) & (column >= 0) & (row < shape[0]) & (column < shape[1])
    np.add.at(counts, (row[inside], column[inside]), 1)
    size, unit = context.pixel_size, "mm²"
    area = cell**2 / 1e6 * (size[0] * size[1] if size else 1.0)
    if size is None:
        unit = "10⁶ px"
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.where(share > _KNOWN_SHARE, counts / (area * share), np.nan)
    shown = density[np.isfinite(density)]
    norm = Normalize(0.0, float(shown.max()) if shown.size and shown.max() else 1.0)
    colours = colormaps["viridis"].with_extremes(bad=style.NO_DATA_COLOUR)
    extent = (left, left + shape[1] * cell, top + shape[0] * cell, top)
    axes.imshow(
        density,
        cmap=colours,
        norm=norm,
        extent=extent,
        interpolation="nearest",
        aspect="auto",
        gid="density",
    )
    axes.set_facecolor("white")
    style.name_panel(axes, "Counted candidates")
    return ScalarMappable(norm, colours), f"Counted candidates per {unit}"


_KNOWN_SHARE: Final = 0.4
"""Least part of a cell that was searched."""


# Purity and completeness -------------------------------------------------------------

_LEVELS: Final = 240
"""With more candidates the purity is calculated at about so many S/N."""

_LAST: Final = 40
"""And at so many of the strongest ones, where each is a step."""

_BRIGHT, _DARK, _LINE = style.POST_COLOUR, "#444444", "#d55e00"
_FOUND: Final = "#0072b2"


@plot
def plot_purity_completeness(
    _post_im: ImageLike, _pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw how many candidates and dark spots are as strong, and the purity above.

    Drawn from `purity`, `snr_min` and, with test microbes, `recovery`: which part of
    them is found by the S/N that their flux would have. The S/N of candidates is that
    which remains when minerals may have any ratio (`snr_own`), as the count takes it.
    """
    purity, narrow, recovery = context.purity, context.narrow, context.recovery
    told = "not measured (test_microbes)"
    if recovery is not None:
        half, most = recovery.limit(0.5), recovery.limit(0.9)
        told = f"50 % at a flux of {half:.3g} grey levels, 90 % at {most:.3g}"
    left, width = 0.95, (4.4 if narrow else 5.9)
    heights, gap = ((2.3, 1.9) if narrow else (2.9, 2.2)), 0.16
    end = 0.1 + sum(heights) + gap + 0.65
    sheet = style.Sheet(
        "Purity of the candidates",
        width=left + width + (0.3 if narrow else 2.6),
        height=end + (1.1 if narrow else 0.0),
        names=names,
        notes=context.notes(),
        remark=f"completeness: {told}",
    )
    numbers = sheet.axes(left, 0.1, width, heights[0])
    shares = sheet.axes(left, 0.1 + heights[0] + gap, width, heights[1])
    numbers.tick_params(labelbottom=False)
    style.label_axes(numbers, "", "Number above (logarithmic)", grid=True)
    words = "Least S/N, logarithmic (column snr_own)"
    part = "Part that is real" if recovery is None else "Part real, part found"
    style.label_axes(shares, words, part, grid=True)
    if purity is None or not len(purity.positives) + len(purity.negatives):
        for axes in (numbers, shares):
            axes.set(xticks=[], yticks=[])
        is_empty = purity is not None
        words = "There is no candidate, and no dark spot either."
        style.add_message(numbers, words if is_empty else _NO_RESULT)
        return sheet.figure
    _show_numbers(numbers, purity)
    _show_purity(shares, purity)
    if recovery is not None:
        _show_recovery(shares, recovery)
    levels = np.concatenate([purity.positives, purity.negatives])
    if (threshold := context.snr_min) is not None:
        real, ends = purity.above(threshold)
        words = f"Threshold, {threshold:.2f}"
        if math.isfinite(real):
            words = "{:.3g} % above the threshold\n({:.3g} to {:.3g} %)".format(
                *(100 * part for part in (real, *ends))
            )
        for axes, label in ((numbers, f"Threshold, {threshold:.2f}"), (shares, words)):
            look: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.4}
            axes.axvline(threshold, color=_LINE, label=label, gid="snr_min", **look)
        levels = np.append(levels, threshold)
    for axes in (numbers, shares):
        _number_snr(axes, float(levels.min()), float(levels.max()))
    beside, half = left + width + 0.2, width / 2
    places = (left - 0.4, end), (left - 0.4 + half, end)
    if not narrow:
        places = (beside, 0.1), (beside, 0.1 + heights[0] + gap)
    for axes, place in zip((numbers, shares), places, strict=True):
        sheet.legend(axes, *place, 1)
    return sheet.figure


def _show_numbers(axes: Axes, purity: Purity) -> None:
    """Draw how many candidates and dark spots have an S/N and more."""
    most = max(len(purity.positives), len(purity.negatives))
    for name, values, words, colour, width in (
        ("candidates", purity.positives, "Candidates", _BRIGHT, 2.0),
        ("dark", purity.negatives, "Dark spots", _DARK, 1.6),
    ):
        label = f"{words} ({len(values)})"
        levels = np.unique(values)
        counts = len(values) - np.searchsorted(values, levels)
        if len(levels):  # from the left end of the axis, down to its foot
            levels = np.concatenate([levels[:1] / 10, levels, levels[-1:]])
            counts = np.concatenate([[len(values)], counts, [0.1]])
        axes.step(
            levels,
            counts,
            where="pre",
            color=colour,
            linewidth=width,
            linestyle="solid" if colour == _BRIGHT else (0, (3, 1)),
            label=label,
            gid=name,
        )
    axes.set_yscale("log")
    axes.set_ylim(0.7, 1.4 * max(most, 7))
    style.format_counts(axes.yaxis)


def _show_purity(axes: Axes, purity: Purity) -> None:
    """Draw which part of the candidates above each S/N is real, with its interval."""
    levels = np.unique(np.concatenate([purity.positives, purity.negatives]))
    if len(purity.positives):
        levels = levels[levels <= purity.positives[-1]]
        if len(levels) > _LEVELS:
            even = np.geomspace(levels[0], levels[-1], _LEVELS)
            even = levels[np.searchsorted(levels, even[:-1])]
            levels = np.union1d(even, levels[-_LAST:])
        levels = np.concatenate([levels[:1] / 10, levels])  # as above all of them
        above = [purity.above(float(level)) for level in levels]
        real = np.array([value for value, _ in above])
        low, high = np.array([ends for _, ends in above]).T
        axes.step(
            levels,
            real,
            where="pre",
            color=_BRIGHT,
            linewidth=2.0,
            label="Purity of all above",
            gid="purity",
        )
        axes.fill_between(
            levels,
            low,
            high,
            step="pre",
            color=_BRIGHT,
            alpha=0.25,
            linewidth=0,
            label="95 % interval",
        )
    else:
        style.add_message(axes, "There is no candidate.")
    axes.set_ylim(-0.03, 1.05)


def _show_recovery(axes: Axes, recovery: Completeness) -> None:
    """Draw which part of the test microbes is found, in classes with their errors."""
    low, high = np.quantile(recovery.snr, (0.01, 0.99))
    edges = np.geomspace(low, high, 17)
    which = np.searchsorted(edges, recovery.snr, "right") - 1
    number, hit = (
        np.array([np.count_nonzero(kept & (which == n)) for n in range(16)])
        for kept in (np.ones_like(recovery.found), recovery.found)
    )
    middle, some = np.sqrt(edges[1:] * edges[:-1]), number > 0
    part = hit[some] / number[some]
    ends = beta.ppf([[0.025], [0.975]], hit[some] + 0.5, (number - hit)[some] + 0.5)
    axes.errorbar(
        middle[some],
        part,
        np.abs(np.clip(ends, 0, 1) - part),
        fmt="o",
        markersize=3.5,
        color=_FOUND,
        linewidth=1.0,
        label=f"Test microbes found, of {len(recovery.flux)}",
        gid="recovery",
    )
    fine = np.geomspace(edges[0], edges[-1], 200)
    line = recovery.by_snr(fine)
    axes.plot(fine, line, color=_FOUND, linewidth=1.2, gid="completeness")


def _number_snr(axes: Axes, low: float, high: float) -> None:
    """Give a panel a logarithmic axis of the S/N with plain numbers."""
    low, high = 0.97 * low, 1.05 * high
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    room = math.log(high / low) * 0.085
    chosen: list[float] = []
    for size in (1, 5, 2, 3, 4, 7, 6, 8, 1.5, 2.5, 4.5, 5.5, 6.5):
        for ten in (1, 10, 100, 1000, 10000):
            value = float(size * ten)
            apart = [abs(math.log(value / other)) for other in chosen]
            if low <= value <= high and min(apart, default=math.inf) >= room:
                chosen.append(value)
    axes.xaxis.set_major_locator(FixedLocator(sorted(chosen)))
    axes.xaxis.set_major_formatter(FuncFormatter(style.plain_number))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


# Cut-outs ----------------------------------------------------------------------------

_SIDE: Final = 41
"""Of a cut-out, px; odd: the candidate is in the middle."""

_MOST: Final = 24
_REFUSED_SHARE: Final = 4
"""One in so many shows a candidate that is refused, as far as there are any."""

_CUT, _CUT_GAP, _ROW, _COLUMN_GAP = 1.025, 0.05, 1.52, 0.34  # inches
_LABEL: Final = 58
"""Characters above the four pictures of a candidate."""

_NOT_COUNTED: Final = "#d55e00"
_COUNTED: Final = "#444444"


@plot
def plot_candidates(
    post_im: ImageLike, pre_im: ImageLike, context: PlotContext, names: style.Names
) -> Figure:
    """Draw up to 24 candidates: post, scaled pre, difference and S/N around each.

    Drawn from `candidates`, `snr`, `difference`, `scale` and `offset`: the strongest,
    those around the threshold, some between, and some that are refused. Post and pre of
    a candidate share one contrast, the difference has one of its own, symmetric about
    zero; that of the S/N is the same for all. 41 x 41 px each, at full resolution.
    """
    table = context.candidates
    rows = Table() if table is None else table[chosen(table, context.snr_min)]
    columns = 2 if context.narrow else 3
    across = 4 * _CUT + 3 * _CUT_GAP
    lines = max(-(-len(rows) // columns), 1)
    inner = columns * across + (columns - 1) * _COLUMN_GAP
    words = [] if table is None else [f"{len(rows)} of {len(table)}"]
    if len(rows):
        words.append(f"each {_SIDE} × {_SIDE} px")
    sheet = style.Sheet(
        "Candidates",
        width=style.EDGE + inner + 1.25,
        height=0.25 + max(lines * _ROW, style.SHORTEST_BAR) + 0.62,
        names=names,
        notes=context.notes(),
        remark=", ".join(words),
    )
    if not len(rows):
        axes = sheet.axes(style.EDGE, 0.25, inner + 0.8, 2.0)
        axes.set(xticks=[], yticks=[])
        style.add_message(axes, _no_candidate(context))
        return sheet.figure
    scale, offset, _ = context.subtraction(post_im, pre_im)
    norm = _snr_norm(context.snr_min)
    for number, (row, place) in enumerate(
        zip(rows, _places(rows, context), strict=True)
    ):
        left = style.EDGE + (number % columns) * (across + _COLUMN_GAP)
        top = 0.25 + number // columns * _ROW
        if number < columns:
            heads = "Post", f"Pre × {scale:.3g}", "Difference", "S/N"
            for i, head in enumerate(heads):
                look: dict[str, Any] = {"color": style.MUTED, "va": "bottom"}
                sheet.text(left + i * (_CUT + _CUT_GAP), top - 0.04, head, **look)
        is_counted = bool(row["counted"])
        colour = _COUNTED if is_counted else _NOT_COUNTED
        first, second = candidate_words(row)
        words_colour = "#222222" if is_counted else colour
        sheet.text(left, top + (0.03 if second else 0.19), first, color=words_colour)
        sheet.text(left, top + 0.19, second, color=style.MUTED)
        axes = sheet.axes(left, top + 0.39, across, _CUT)
        post, pre = (_cut(image, place) for image in (post_im, pre_im))
        pre = offset + scale * pre
        left_over = post - pre
        if context.difference is not None:
            left_over = _cut(context.difference, place)
        snr = np.full_like(post, np.nan)
        if context.snr is not None:
            snr = _cut(context.snr, place)
        _show_cuts(axes, (post, pre, left_over, snr), norm, colour)
        if number == 0:
            _add_bar(axes, context.pixel_size)
    bar = sheet.axes(
        style.EDGE + inner + 0.15, 0.64, 0.16, min(4.0, lines * _ROW - 0.3)
    )
    _snr_bar(sheet, bar, norm, "S/N")
    words = [
        "Post and pre of a candidate share one contrast; its difference has one of its "
        "own: orange brighter, black alike, blue darker.",
        "Orange words and frame: not counted.",
    ]
    below = 0.25 + max(lines * _ROW, style.SHORTEST_BAR) + 0.1
    sheet.text(style.EDGE, below, "\n".join(words), color="#333333")
    return sheet.figure


def _no_candidate(context: PlotContext) -> str:
    if context.candidates is None:
        return _NO_RESULT
    if context.snr_min is None:
        return "There is no candidate."
    return f"There is no candidate: no spot has an S/N of {context.snr_min:.2f}."


def chosen(table: Table, snr_min: float | None, most: int = _MOST) -> NDArray[np.intp]:
    """Return which candidates to look at: the same for the same catalogue.

    A third each are the strongest, those next to the threshold, and some between; a
    quarter of all are refused ones, as far as there are any.

    Parameters
    ----------
    table : Table
        A catalogue.
    snr_min : float, optional
        The threshold; the least S/N of those that are not refused when not given.
    most : int
        How many at most.

    Returns
    -------
    ndarray, shape (N,)
        Rows of the table: those that are not refused from the strongest down, then the
        refused ones likewise.
    """
    own = np.asarray(table["snr_own"], float)
    is_refused = (np.asarray(table["flags"]) & int(REFUSED)) != 0
    order = np.argsort(-own, kind="stable")
    refused, kept = order[is_refused[order]], order[~is_refused[order]]
    few = min(len(refused), max(most // _REFUSED_SHARE, most - len(kept)))
    refused = refused[_evenly(len(refused), few)]
    rest = min(most - few, len(kept))
    third = rest // 3
    picked = np.zeros(len(kept), bool)
    picked[:third] = True
    if snr_min is None:
        snr_min = float(own[kept[-1]]) if len(kept) else 0.0
    left = np.flatnonzero(~picked)
    near = np.argsort(np.abs(own[kept[left]] - snr_min), kind="stable")
    picked[left[near[:third]]] = True
    left = np.flatnonzero(~picked)
    picked[left[_evenly(len(left), rest - int(picked.sum()))]] = True
    return np.concatenate([kept[picked], refused])


def _evenly(length: int, number: int) -> NDArray[np.intp]:
    """Return so many places along a list, evenly, the first among them."""
    return np.arange(number) * length // max(number, 1)


def candidate_words(row: Any) -> tuple[str, str]:
    """Return what is said of a candidate above its pictures: two lines.

    Parameters
    ----------
    row : Row
        Of a catalogue.

    Returns
    -------
    tuple of str
        Its number, S/N and grade, and why it is not counted; its other flags.
    """
    flags = int(row["flags"])
    refused, others = flags & int(REFUSED), flags & ~int(REFUSED)
    words = f"{row['id']}   S/N {row['snr']:.1f}   {row['grade']}"
    if refused:
        words += f"   refused: {flag_words(refused)}"
    elif not row["counted"]:
        words += "   below the threshold"
    return _shortened(words), _shortened(flag_words(others))


def _shortened(words: str) -> str:
    return words if len(words) <= _LABEL else f"{words[: _LABEL - 1].rstrip(', ')}…"


def _cut(image: ImageLike, place: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the pixels around a place (x, y); NaN beyond the edge of the image."""
    half = _SIDE // 2
    x, y = (round(float(value)) for value in place)
    rows, columns = image.shape
    top, bottom = max(y - half, 0), min(y + half + 1, rows)
    left, right = max(x - half, 0), min(x + half + 1, columns)
    cut = np.full((_SIDE, _SIDE), np.nan, np.float32)
    if top < bottom and left < right:
        inner = (
            slice(top - y + half, bottom - y + half),
            slice(left - x + half, right - x + half),
        )
        cut[inner] = image[top:bottom, left:right]
    return cut


def _show_cuts(
    axes: Axes,
    cuts: Sequence[NDArray[np.float32]],
    norm: Normalize,
    colour: str,
) -> None:
    """Draw post, scaled pre, difference and S/N of a candidate side by side.

    Axes in px of the first one.
    """
    both = np.stack(cuts[:2])
    light = pictures.drawn_limits(both[np.isfinite(both)] if both.size else both)
    known = np.abs(cuts[2][np.isfinite(cuts[2])])
    reach = float(np.max(known, initial=0.0)) or 1.0
    grey = colormaps["gray"].with_extremes(bad=style.NO_DATA_COLOUR)
    looks: list[tuple[Any, Normalize]] = [
        (grey, Normalize(*light)),
        (grey, Normalize(*light)),
        (style.DIFFERENCE_COLOURS, Normalize(-reach, reach)),
        (_SNR_COLOURS, norm),
    ]
    pitch = _SIDE * (1 + _CUT_GAP / _CUT)
    for number, (cut, (colours, stretch)) in enumerate(zip(cuts, looks, strict=True)):
        left = number * pitch - 0.5
        extent = left, left + _SIDE, _SIDE - 0.5, -0.5
        look: dict[str, Any] = {"interpolation": "nearest", "extent": extent}
        axes.imshow(cut, cmap=colours, norm=stretch, **look)
        corner, sides = (left, -0.5), (_SIDE, _SIDE)
        frame = Rectangle(corner, *sides, fill=False, ec=colour, lw=1.2, clip_on=False)
        axes.add_patch(frame)
    axes.set(xlim=(-0.5, 3 * pitch + _SIDE - 0.5), ylim=(_SIDE - 0.5, -0.5))
    axes.set_axis_off()


def _add_bar(axes: Axes, pixel_size: tuple[float, float] | None) -> None:
    """Draw a scale bar into a cut-out: um, or px where their size is not known."""
    wide, unit = (1.0, "px") if pixel_size is None else (pixel_size[0], "µm")
    length = round_figure(0.3 * _SIDE * wide)
    style.add_scale_bar(axes, length / wide, f"{length:g} {unit}", thick=0.6)
