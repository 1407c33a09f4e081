"""How bright the same place is before and after staining: two density maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    rebinning_matrix,
    upper_level,
)
from napari_exo2micro.core.plotting.notes import scale_notes, verdict_notes
from napari_exo2micro.core.plotting.saving import finish_figure
from napari_exo2micro.core.plotting.style import plain_number, scale_colour, scale_words
from napari_exo2micro.core.rasters import ImageLike
from napari_exo2micro.core.statistics import PairStatistics

__all__ = ["plot_excess_heatmap", "plot_pre_post_heatmap"]

_SIDE, _LEFT, _BOTTOM = 5.6, 0.85, 0.65
_BINS: Final = 360
_NOTHING: Final = "#f2f2f2"


def plot_pre_post_heatmap(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    statistics: PairStatistics | None = None,
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
    )
    grid = _Grid.of(statistics)
    axes = _panel(sheet, grid)
    density = grid.density(statistics)
    norm = _draw(axes, grid, density, np.ones_like(density, dtype=bool))
    if norm is None:
        add_message(axes, "No pixel has data in both images.")
    else:
        sheet.colour_bar(
            sheet.axes(_LEFT + _SIDE + 0.2, 0.1, 0.2, 3.0),
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
    sheet.legend(axes, _LEFT + _SIDE + 0.2, 3.5)
    return finish_figure(sheet.figure, save_path)


def plot_excess_heatmap(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    statistics: PairStatistics | None = None,
    scales: Sequence[ScaleEstimate] | None = None,
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
    )
    grid = _Grid.of(statistics)
    axes = _panel(sheet, grid)
    density = grid.density(statistics)
    excess = density - density.T
    upper = np.tril(np.ones_like(excess, dtype=bool), -1)
    norm = _draw(axes, grid, excess, upper)
    if norm is None:
        add_message(axes, "Nowhere are there more pixels above the line than below.")
    else:
        sheet.colour_bar(
            sheet.axes(_LEFT + _SIDE + 0.2, 0.1, 0.2, 2.6),
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
    sheet.legend(axes, _LEFT + _SIDE + 0.2, 3.0)
    return finish_figure(sheet.figure, save_path)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Even cells of the display; square-root steps when most levels are low.

    A straight line through the origin stays straight in either case.
    """

    edges: NDArray[np.float64]
    root: bool
    top: float

    @classmethod
    def of(cls, statistics: PairStatistics) -> _Grid:
        """Return the grid that suits the levels of a pair."""
        top = upper_level(statistics)
        levels = statistics.post.centres[1:]
        counts = np.cumsum(statistics.post.counts[1:], dtype=np.float64)
        middle = top
        if len(counts) and counts[-1] > 0:
            middle = float(levels[int(np.searchsorted(counts, counts[-1] / 2))])
        root = middle < 0.08 * top and statistics.dtype != "uint8"
        if root:
            return cls(np.linspace(0.0, np.sqrt(top), _BINS + 1), True, top)
        if not statistics.integer:
            return cls(np.linspace(0.0, top, _BINS + 1), False, top)
        # Whole levels in each cell, or the grid would beat with the levels.
        step = max(1, int(np.ceil(top / _BINS)))
        cells = int(np.ceil((top + 0.5) / step))
        edges = np.arange(cells + 1, dtype=np.float64) * step - 0.5
        return cls(edges, False, top)

    def place(self, level: Any) -> NDArray[np.float64]:
        """Return where grey levels lie along an axis."""
        values = np.asarray(level, dtype=np.float64)
        if not self.root:
            return values
        rooted: NDArray[np.float64] = np.sqrt(np.maximum(values, 0.0))
        return rooted

    def density(self, statistics: PairStatistics) -> NDArray[np.float64]:
        """Return the pixels in each cell, axes [post, pre]."""
        matrix = rebinning_matrix(self.place(statistics.edges), self.edges)
        result: NDArray[np.float64] = matrix @ statistics.joint @ matrix.T
        return result

    def line(
        self, slope: float, offset: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``post = offset + slope * pre`` in the units of the axes."""
        reach = min(self.top, max((self.top - offset) / max(slope, 1e-12), 0.0))
        x = np.linspace(0.0, reach, 200 if self.root else 2)
        return self.place(x), self.place(offset + slope * x)


def _sheet(
    title: str,
    sample: str,
    dye: str,
    notes: Sequence[str],
    statistics: PairStatistics,
) -> Sheet:
    return Sheet(
        title,
        width=_LEFT + _SIDE + 2.15,
        height=0.1 + _SIDE + _BOTTOM,
        sample=sample,
        dye=dye,
        notes=notes,
        remark=count_words(statistics.n_both),
    )


def _panel(sheet: Sheet, grid: _Grid) -> Axes:
    axes = sheet.axes(_LEFT, 0.1, _SIDE, _SIDE)
    unit = "grey level, square-root axis" if grid.root else "grey level"
    label_axes(axes, f"Pre-stain, aligned ({unit})", f"Post-stain ({unit})")
    low, high = grid.edges[0], grid.edges[-1]
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    if not grid.root:
        number_axes(axes)
        return axes
    for axis in (axes.xaxis, axes.yaxis):
        ticks = grid.place(_root_ticks(grid.top))
        axis.set_major_locator(FixedLocator(ticks.tolist()))
        axis.set_major_formatter(FuncFormatter(lambda v, _: plain_number(v * v)))
    return axes


def _root_ticks(top: float) -> list[float]:
    """Return round levels whose places on a square-root axis lie well apart."""
    size = 10.0 ** np.floor(np.log10(top))
    chosen: list[float] = []
    for level in [m * size / d for d in (1, 10, 100) for m in (9, 8, 6, 5, 4, 3, 2, 1)]:
        gap = np.sqrt(chosen[-1] / top) if chosen else 1.1
        if level <= top and gap - np.sqrt(level / top) >= 0.09:
            chosen.append(level)
    return [0.0, *reversed(chosen)]


def _draw(
    axes: Axes,
    grid: _Grid,
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
