"""Making a figure: its sheet with a title line, its panels, its file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.errors import OutputError
from napari_exo2micro.core.photometry import ScaleEstimate
from napari_exo2micro.core.plotting.style import (
    GRID_COLOUR,
    MUTED,
    WARNING_COLOUR,
    plain_number,
    printable,
    short_count,
)
from napari_exo2micro.core.raster_writer import replace_file
from napari_exo2micro.core.stages import STAGES

__all__ = [
    "DPI",
    "Sheet",
    "add_message",
    "finish_figure",
    "format_counts",
    "format_levels",
    "save_figure",
    "scale_notes",
    "verdict_notes",
]

DPI: Final = 120
_TITLE, _LABEL, _SMALL = 12.5, 10.0, 9.0
_EDGE = 0.18
_TITLE_LINE, _NAME_LINE, _NOTE_LINE = 0.30, 0.22, 0.19
#: Average width of a character of the notes, inches; on the safe side.
_NOTE_CHARACTER = 0.073
_MAX_NOTE_LINES = 3


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
        lines = _wrapped(notes, int((width - 2 * _EDGE) / _NOTE_CHARACTER))
        names = ", ".join(
            f"{kind} {name}"
            for kind, name in (("sample", sample), ("dye", dye))
            if name
        )
        under = "   ".join(text for text in (names, remark) if text)
        head = _EDGE + _TITLE_LINE + (_NAME_LINE if under else 0.0)
        head += _NOTE_LINE * len(lines) + 0.08
        self.width, self.height = width, height + head
        self._head = head
        self.figure = Figure(
            figsize=(self.width, self.height), dpi=DPI, facecolor="white"
        )
        FigureCanvasAgg(self.figure)
        y = _EDGE
        y = self._line(title, y, _TITLE_LINE, _TITLE, weight="bold")
        if under:
            y = self._line(under, y, _NAME_LINE, _LABEL, color=MUTED)
        for line in lines:
            y = self._line(line, y, _NOTE_LINE, _SMALL, color=WARNING_COLOUR)

    def _line(
        self, text: str, y: float, height: float, size: float, **look: Any
    ) -> float:
        """Write one line of the head and return where the next one starts."""
        self.figure.text(
            _EDGE / self.width,
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
        axes.tick_params(labelsize=_SMALL, colors="#333333", length=3, width=0.8)
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
            **{"fontsize": _SMALL, "va": "top", "parse_math": False, **look},
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
        bar.ax.tick_params(labelsize=_SMALL, length=3)
        bar.set_label(label, fontsize=_LABEL)
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
                "fontsize": _SMALL,
                "frameon": False,
                "borderaxespad": 0.0,
                "labelspacing": 0.8,
                "handlelength": 1.8,
                **look,
            },
        )


def label_axes(axes: Axes, x: str, y: str, *, grid: bool = False) -> None:
    """Name the axes, with units; optionally with a faint grid behind the data."""
    axes.set_xlabel(x, fontsize=_LABEL, labelpad=3)
    axes.set_ylabel(y, fontsize=_LABEL, labelpad=4)
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
        axes.text(0, high, printable(detail), fontsize=_SMALL, color=MUTED, **look)
        high += step
    axes.text(0, high, printable(text), fontsize=_LABEL, weight="bold", **look)


def add_message(axes: Axes, text: str) -> None:
    """Say in the middle of a panel why it is empty or what it lacks."""
    axes.text(
        0.5,
        0.5,
        "\n".join(textwrap.wrap(printable(text), 38)),
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=_LABEL,
        color=MUTED,
        parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "#bbbbbb", "pad": 6.0},
        zorder=10,
    )


def format_counts(axis: Any) -> None:
    """Let an axis of pixel counts say 20 k rather than a power of ten."""
    axis.set_major_formatter(FuncFormatter(short_count))
    axis.set_minor_formatter(NullFormatter())


def format_levels(axis: Any, most: int = 8) -> None:
    """Give an axis a few plain numbers."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(plain_number))


def verdict_notes(verdicts: Mapping[Any, Verdict] | None) -> list[str]:
    """Return what has to be said of stages that fell back or failed.

    Parameters
    ----------
    verdicts : mapping, optional
        Stage (its number or a name) to `Verdict`.

    Returns
    -------
    list of str
        One note for each such stage, in order.
    """
    notes = []
    for stage, verdict in (verdicts or {}).items():
        if verdict.state not in ("fell_back", "failed"):
            continue
        known = STAGES.get(stage) if isinstance(stage, int) else None
        name = f"Stage {stage}" if isinstance(stage, int) else str(stage)
        if known is not None:
            name += f" ({known.title})"
        what = "failed" if verdict.state == "failed" else "fell back"
        notes.append(f"{name} {what}: {verdict.reason or 'no reason given'}")
    return notes


def scale_notes(
    scales: Iterable[ScaleEstimate], verdicts: Mapping[Any, Verdict] | None = None
) -> list[str]:
    """Return what has to be said of scales that cannot be vouched for.

    A reason that a stage's verdict gives already is not said twice.
    """
    said = [verdict.reason for verdict in (verdicts or {}).values() if verdict.reason]
    notes = []
    for scale in scales:
        verdict = scale.verdict
        if verdict.state not in ("fell_back", "failed"):
            continue
        if any(verdict.reason in reason for reason in said):
            continue
        what = "failed" if verdict.state == "failed" else "fell back"
        notes.append(f"Scale ({scale.kind}) {what}: {verdict.reason}")
    return notes


def finish_figure(figure: Figure, save_path: str | Path | None) -> Figure:
    """Write the figure when a path is given, and return it.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    if save_path is not None:
        save_figure(figure, save_path)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure whole or not at all; its folder is made when missing.

    Parameters
    ----------
    figure : Figure
        Any figure of matplotlib.
    path : str or Path
        The ending chooses the format: `.png`, `.pdf`, `.svg` and what else
        matplotlib writes.

    Raises
    ------
    OutputError
        If the format is unknown or the file cannot be written.
    """
    target = Path(path)
    form = target.suffix.lower().removeprefix(".")
    if form not in figure.canvas.get_supported_filetypes():
        raise OutputError(
            f"cannot write {target}: a picture's name must end in .png, .pdf or .svg; "
            "choose one of these"
        )
    with replace_file(target) as part:
        if form == "png" and isinstance(figure.canvas, FigureCanvasAgg):
            # A user's matplotlibrc does not change the size of what is written.
            figure.canvas.print_png(  # type: ignore[no-untyped-call]
                str(part),
                metadata={"Software": "napari-exo2micro"},
                pil_kwargs={"compress_level": 3},
            )
        else:
            figure.savefig(part, format=form, dpi=figure.dpi)


def stamp_png(path: Path, notes: Sequence[str]) -> None:
    """Add a strip with red notes above a PNG picture that lacks them.

    Raises
    ------
    OutputError
        If the picture cannot be read or written again.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            picture = np.asarray(file.convert("RGBA"))
    except (OSError, UnidentifiedImageError) as error:
        raise OutputError(
            f"{path} should be a PNG picture, it cannot be read ({error}); check the "
            "function that drew it"
        ) from error
    width = picture.shape[1] / DPI
    lines = _wrapped(notes, max(int((width - 2 * _EDGE) / _NOTE_CHARACTER), 20))
    height = _NOTE_LINE * len(lines) + 0.12
    strip = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(strip)
    for i, line in enumerate(lines):
        strip.text(
            min(_EDGE / width, 0.5),
            1 - (0.06 + i * _NOTE_LINE) / height,
            printable(line),
            fontsize=_SMALL,
            color=WARNING_COLOUR,
            va="top",
            parse_math=False,
        )
    canvas.draw()  # type: ignore[no-untyped-call]
    rgba = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    head: NDArray[np.uint8] = np.asarray(rgba)
    columns = picture.shape[1]
    fitted = np.full((head.shape[0], columns, 4), 255, np.uint8)
    fitted[:, : min(columns, head.shape[1])] = head[:, :columns]
    with replace_file(path) as part:
        Image.fromarray(np.concatenate([fitted, picture])).save(
            part, format="png", compress_level=3
        )


def _wrapped(notes: Sequence[str], columns: int) -> list[str]:
    """Return the notes in lines that fit; a long one is cut short."""
    lines: list[str] = []
    for note in notes:
        one_line = " ".join(note.split())
        lines += textwrap.wrap(
            one_line, max(columns, 20), max_lines=_MAX_NOTE_LINES, placeholder=" \u2026"
        )
    return lines
