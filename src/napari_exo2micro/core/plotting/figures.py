"""Making a figure: its sheet with a title line, its panels, its file."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from napari_exo2micro.core.plotting.notes import NOTE_CHARACTER, NOTE_LINE, wrapped
from napari_exo2micro.core.plotting.style import (
    DPI,
    EDGE,
    GRID_COLOUR,
    LABEL,
    MUTED,
    SMALL,
    TITLE,
    WARNING_COLOUR,
    plain_number,
    printable,
    short_count,
)

__all__ = [
    "Sheet",
    "add_message",
    "count_words",
    "format_counts",
    "label_axes",
    "name_panel",
    "number_axes",
]

_TITLE_LINE: Final = 0.30
_NAME_LINE: Final = 0.22
_NAME_CHARACTER: Final = 0.083


class Sheet:
    """A figure with a title line; panels are placed below it, in inches.

    Parameters
    ----------
    title : str
        What the figure shows, in plain words.
    width, height : float
        Size below the title line, inches.
    sample, dye : str
        Named under the title.
    notes : sequence of str
        What a reader has to know before trusting the figure; in red.
    remark : str
        More words after sample and dye.
    """

    def __init__(
        self,
        title: str,
        *,
        width: float,
        height: float,
        sample: str = "",
        dye: str = "",
        notes: Sequence[str] = (),
        remark: str = "",
    ) -> None:
        lines = wrapped(notes, int((width - 2 * EDGE) / NOTE_CHARACTER))
        names = ", ".join(
            f"{kind} {name}"
            for kind, name in (("sample", sample), ("dye", dye))
            if name
        )
        under = [text for text in (names, remark) if text]
        if sum(map(len, under)) * _NAME_CHARACTER < width - 2 * EDGE:
            under = ["   ".join(under)] if under else []
        head = EDGE + _TITLE_LINE + _NAME_LINE * len(under)
        head += NOTE_LINE * len(lines) + 0.08
        self.width, self.height = width, height + head
        self._head = head
        self.figure = Figure(
            figsize=(self.width, self.height), dpi=DPI, facecolor="white"
        )
        FigureCanvasAgg(self.figure)
        y = EDGE
        y = self._line(title, y, _TITLE_LINE, TITLE, weight="bold")
        for line in under:
            y = self._line(line, y, _NAME_LINE, LABEL, color=MUTED)
        for line in lines:
            y = self._line(line, y, NOTE_LINE, SMALL, color=WARNING_COLOUR)

    def _line(
        self, text: str, y: float, height: float, size: float, **look: Any
    ) -> float:
        """Write one line of the head and return where the next one starts."""
        self.figure.text(
            EDGE / self.width,
            1 - y / self.height,
            printable(text),
            fontsize=size,
            va="top",
            ha="left",
            parse_math=False,
            **look,
        )
        return y + height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return a new panel; `left` and `top` from the corner under the head."""
        box = (
            left / self.width,
            1 - (self._head + top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        axes: Axes = self.figure.add_axes(box)
        axes.tick_params(labelsize=SMALL, colors="#333333", length=3, width=0.8)
        for spine in axes.spines.values():
            spine.set_color("#888888")
            spine.set_linewidth(0.8)
        return axes

    def text(self, left: float, top: float, text: str, **look: Any) -> None:
        """Write under the head; `left` and `top` in inches."""
        self.figure.text(
            left / self.width,
            1 - (self._head + top) / self.height,
            printable(text) if "\n" not in text else text,
            **{"fontsize": SMALL, "va": "top", "parse_math": False, **look},
        )

    def colour_bar(
        self,
        axes: Axes,
        mapping: ScalarMappable,
        label: str,
        *,
        ticks: Sequence[float] | None = None,
        counts: bool = False,
    ) -> None:
        """Draw a colour bar into a panel of its own, numbers to its right."""
        form = FuncFormatter(short_count if counts else plain_number)
        bar = self.figure.colorbar(mapping, cax=axes, ticks=ticks, format=form)
        bar.ax.minorticks_off()
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
        bar.ax.tick_params(labelsize=SMALL, length=3)
        bar.set_label(label, fontsize=LABEL)
        bar.outline.set_linewidth(0.6)

    def legend(self, axes: Axes, left: float, top: float, **look: Any) -> None:
        """Draw the legend of a panel beside it; `left` and `top` in inches."""
        handles, labels = axes.get_legend_handles_labels()
        if not handles:
            return
        self.figure.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(left / self.width, 1 - (self._head + top) / self.height),
            **{
                "fontsize": SMALL,
                "frameon": False,
                "borderaxespad": 0.0,
                "labelspacing": 0.8,
                "handlelength": 1.8,
                **look,
            },
        )


def label_axes(axes: Axes, x: str, y: str, *, grid: bool = False) -> None:
    """Name the axes, with units; optionally with a faint grid behind the data."""
    axes.set_xlabel(x, fontsize=LABEL, labelpad=3)
    axes.set_ylabel(y, fontsize=LABEL, labelpad=4)
    if grid:
        axes.grid(visible=True, color=GRID_COLOUR, linewidth=0.6)
        axes.set_axisbelow(True)


def name_panel(axes: Axes, text: str, *, detail: str = "") -> None:
    """Write the heading of a panel above it, with a quieter second line."""
    high = 1.0 + 0.06 / max(axes.bbox.height / DPI, 0.1)
    step = 0.17 / max(axes.bbox.height / DPI, 0.1)
    look: dict[str, Any] = {
        "transform": axes.transAxes,
        "va": "bottom",
        "clip_on": False,
        "parse_math": False,
    }
    if detail:
        axes.text(0, high, printable(detail), fontsize=SMALL, color=MUTED, **look)
        high += step
    axes.text(0, high, printable(text), fontsize=LABEL, weight="bold", **look)


def add_message(axes: Axes, text: str) -> None:
    """Say in the middle of a panel why it is empty or what it lacks."""
    axes.text(
        0.5,
        0.5,
        "\n".join(textwrap.wrap(printable(text), 38)),
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=LABEL,
        color=MUTED,
        parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "#bbbbbb", "pad": 6.0},
        zorder=10,
    )


def format_counts(axis: Any) -> None:
    """Let an axis of pixel counts say 20 k rather than a power of ten."""
    axis.set_major_formatter(FuncFormatter(short_count))
    axis.set_minor_formatter(NullFormatter())


def number_axes(axes: Axes, *, x: bool = True, y: bool = True) -> None:
    """Give the axes as many plain numbers as have room."""
    for wanted, axis, length, room in (
        (x, axes.xaxis, axes.bbox.width, 0.65),
        (y, axes.yaxis, axes.bbox.height, 0.45),
    ):
        if wanted:
            most = min(max(int(length / DPI / room), 1), 8)
            steps = [1, 2, 2.5, 5, 10]
            axis.set_major_locator(MaxNLocator(most, steps=steps, min_n_ticks=1))
            axis.set_major_formatter(FuncFormatter(plain_number))


def count_words(pixels: int) -> str:
    """Return a number of pixels for the title line."""
    if pixels < 100_000:
        return f"{pixels} pixels in both images"
    return f"{pixels / 1e6:.3g} million pixels in both images"
