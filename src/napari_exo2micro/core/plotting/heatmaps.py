"""How bright the same place is before and after staining: two density maps."""

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
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.photometry import ScaleEstimate
from napari_exo2micro.core.plotting.figures import (
    Sheet,
    add_message,
    count_words,
    label_axes,
    number_axes,
)
from napari_exo2micro.core.plotting.inputs import (
    pair_scales,
    pair_statistics,
)
from napari_exo2micro.core.plotting.level_grid import LevelGrid, attach_grid
from napari_exo2micro.core.plotting.notes import scale_notes, verdict_notes
from napari_exo2micro.core.plotting.saving import finish_figure
from napari_exo2micro.core.plotting.style import plain_number, scale_colour, scale_words
from napari_exo2micro.core.rasters import ImageLike
from napari_exo2micro.core.statistics import PairStatistics

__all__ = ["plot_excess_heatmap", "plot_pre_post_heatmap"]

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
