"""How figures look: sheets, panels, colours, notes and the file they end in."""

import functools
import io
import math
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from napari_exo2micro.core.alignment import round_figure
from napari_exo2micro.core.base import OutputError, files
from napari_exo2micro.core.images.composite import DIFFERENCE_STOPS
from napari_exo2micro.core.images.raster import Frame
from napari_exo2micro.core.photometry import SCALE_METHODS, ScaleEstimate

DPI: Final = 120
EDGE: Final = 0.18
"""Margin left of and above the title, inches."""

TITLE, LABEL, SMALL = 12.5, 10.0, 9.0
"""Sizes of text, points."""

POST_COLOUR: Final = "#138a4b"
PRE_COLOUR: Final = "#c2189b"
RAW_PRE_COLOUR: Final = "#767676"
ALL_COLOUR: Final = "#222222"
WARNING_COLOUR: Final = "#c00000"
MUTED: Final = "#555555"
GRID_COLOUR: Final = "#dddddd"
NO_DATA_COLOUR: Final = "#ffffff"

PICTURE: Final = "picture"
"""The mark (gid) of axes that count the pixels of a picture."""

# A scale bar takes about this share of a picture, and needs a panel so wide, inches.
_BAR_SHARE: Final = 0.25
_LEAST_WITH_BAR: Final = 1.5

_OTHER_SCALES: Final = ("#3366ff", "#9955cc", "#008b9a", "#886622")

ERROR_COLOURS: Final = colormaps["inferno"]

DIFFERENCE_COLOURS: Final = LinearSegmentedColormap.from_list(
    "difference",
    list(DIFFERENCE_STOPS),
    # An odd number of colours: one of them is that of zero, pure black.
    N=511,
).with_extremes(bad=NO_DATA_COLOUR)

_FONT: Final = FontProperties(family="DejaVu Sans")

SHORTEST_BAR: Final = 2.1
"""Shortest colour bar whose numbers and name have room, inches."""

# Lines of the head of a sheet, and a character in them, inches; on the safe side.
_TITLE_LINE: Final = 0.30
_NAME_LINE: Final = 0.22
_NAME_CHARACTER: Final = 0.083
_NOTE_LINE: Final = 0.19
_NOTE_CHARACTER: Final = 0.073
_MAX_NOTE_LINES: Final = 3

_TITLE_LOOK: Final[dict[str, Any]] = {"fontsize": TITLE, "weight": "bold"}
_NAME_LOOK: Final[dict[str, Any]] = {"fontsize": LABEL, "color": MUTED}
_NOTE_LOOK: Final[dict[str, Any]] = {"fontsize": SMALL, "color": WARNING_COLOUR}


class Names(NamedTuple):
    """Of the sample and the dye that are shown; empty when not to be named."""

    sample: str
    dye: str


class Sheet:
    """A figure with a title line; panels are placed below it, in inches.

    `width` and `height` are those below the head: the title, under it sample, dye and
    a remark, and in red the notes that a reader has to know before trusting the figure.
    """

    def __init__(
        self,
        title: str,
        *,
        width: float,
        height: float,
        names: Names,
        notes: Sequence[str],
        remark: str = "",
    ) -> None:
        named = zip(names._fields, names, strict=True)
        words = ", ".join(f"{kind} {name}" for kind, name in named if name)
        under = [text for text in (words, remark) if text]
        if under and sum(map(len, under)) * _NAME_CHARACTER < width - 2 * EDGE:
            under = ["   ".join(under)]
        red = _wrapped(notes, width)
        self._head = EDGE + _TITLE_LINE + _NAME_LINE * len(under)
        self._head += _NOTE_LINE * len(red) + 0.08
        self.width, self.height = width, height + self._head
        self.figure = _new_figure(self.width, self.height)
        top = EDGE - self._head
        for texts, line, look in (
            ([title], _TITLE_LINE, _TITLE_LOOK),
            (under, _NAME_LINE, _NAME_LOOK),
            (red, _NOTE_LINE, _NOTE_LOOK),
        ):
            for text in texts:
                self.text(EDGE, top, printable(text), **look)
                top += line

    def _place(self, left: float, top: float, down: float = 0.0) -> tuple[float, float]:
        """Return where on the figure a place under the head is, as fractions."""
        return left / self.width, 1 - (self._head + top + down) / self.height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return a new panel; `left` and `top` from the corner under the head."""
        size = width / self.width, height / self.height
        axes: Axes = self.figure.add_axes((*self._place(left, top, height), *size))
        axes.tick_params(labelsize=SMALL, colors="#333333", length=3, width=0.8)
        for spine in axes.spines.values():
            spine.set(color="#888888", linewidth=0.8)
        return axes

    def text(self, left: float, top: float, text: str, **look: Any) -> None:
        """Write under the head; `left` and `top` in inches."""
        look = {"fontsize": SMALL, "va": "top", "parse_math": False, **look}
        self.figure.text(*self._place(left, top), text, **look)

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

    def legend(self, axes: Axes, left: float, top: float, columns: int) -> None:
        """Draw the legend of a panel beside it; `left` and `top` in inches."""
        self.figure.legend(
            *axes.get_legend_handles_labels(),
            loc="upper left",
            bbox_to_anchor=self._place(left, top),
            ncols=columns,
            fontsize=SMALL,
            frameon=False,
            borderaxespad=0.0,
            labelspacing=0.8,
            handlelength=1.8,
        )


class ShownFigure(Figure):
    """A figure that a notebook shows where a cell ends with it.

    matplotlib's own is shown there once pyplot was imported only.
    """

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        _write_png(rendered(self)[..., :3], page, optimize=True)
        return page.getvalue()


def shown_figure(figure: Figure) -> Figure:
    """Let a notebook show a figure that somebody else has made, once."""
    # Out of pyplot's list, too: it would show its own ones at the end of a cell.
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close(figure)
    if type(figure) is Figure:
        figure.__class__ = ShownFigure
    return figure


def _new_figure(width: float, height: float) -> Figure:
    figure = ShownFigure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _wrapped(notes: Sequence[str], width: float) -> list[str]:
    """Return the notes in lines that fit a width in inches; a long one is cut short."""
    columns = max(int((width - 2 * EDGE) / _NOTE_CHARACTER), 20)
    wrap = functools.partial(
        textwrap.wrap, width=columns, max_lines=_MAX_NOTE_LINES, placeholder=" \u2026"
    )
    return [line for note in notes for line in wrap(" ".join(note.split()))]


def bar_height(height: float) -> float:
    """Return the height of a colour bar beside a panel, inches."""
    return max(min(height, 4.0), SHORTEST_BAR)


def panel_size(
    shape: Sequence[int], max_width: int, max_height: int
) -> tuple[float, float]:
    """Return width and height of a panel for a picture of a shape, inches.

    One pixel of the picture becomes a whole number of pixels of the figure where
    that makes it neither tiny nor too large; `max_width` and `max_height` are px of
    the figure.
    """
    rows, columns = shape
    zoom = min(max_width / columns, max_height / rows)
    if zoom >= 2:
        zoom = int(zoom)
    elif 1 <= zoom < 1.25:
        zoom = 1
    # Slivers stay visible, and their axes readable.
    width = max(columns * zoom, 0.12 * max_width)
    height = max(rows * zoom, 0.12 * max_height)
    return width / DPI, height / DPI


def label_axes(axes: Axes, x: str, y: str, *, grid: bool = False) -> None:
    """Name the axes, with units; optionally with a faint grid behind the data."""
    axes.set_xlabel(x, fontsize=LABEL, labelpad=3)
    axes.set_ylabel(y, fontsize=LABEL, labelpad=4)
    if grid:
        axes.grid(visible=True, color=GRID_COLOUR, linewidth=0.6)
        axes.set_axisbelow(True)


def name_panel(axes: Axes, text: str, *, detail: str = "") -> None:
    """Write the heading of a panel above it, with a quieter second line."""
    inch = 1 / max(axes.bbox.height / DPI, 0.1)
    write = functools.partial(
        axes.text, transform=axes.transAxes, va="bottom", parse_math=False
    )
    if detail:
        write(0, 1 + 0.06 * inch, detail, fontsize=SMALL, color=MUTED)
    top = 1 + (0.23 if detail else 0.06) * inch
    write(0, top, text, fontsize=LABEL, weight="bold")


def add_message(axes: Axes, text: str) -> None:
    """Say in the middle of a panel why it is empty or what it lacks."""
    axes.text(
        0.5,
        0.5,
        textwrap.fill(text, 38),
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


def number_axes(
    axes: Axes, *, x: bool = True, y: bool = True, first: Sequence[float] = (0, 0)
) -> None:
    """Give the axes as many plain numbers as have room, counted from `first` (x, y)."""
    for wanted, axis, length, room, start in (
        (x, axes.xaxis, axes.bbox.width, 0.65, first[0]),
        (y, axes.yaxis, axes.bbox.height, 0.45, first[1]),
    ):
        if wanted:
            most = min(max(int(length / DPI / room), 1), 8)
            axis.set_major_locator(_RoundFrom(start, most))
            words = functools.partial(_counted_from, start)
            axis.set_major_formatter(FuncFormatter(words))


class _RoundFrom(MaxNLocator):
    """Places whose distances from `start` are round."""

    def __init__(self, start: float, most: int) -> None:
        super().__init__(most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1)
        self._start = start

    def tick_values(self, vmin: float, vmax: float) -> Any:
        start = self._start
        return start + np.asarray(super().tick_values(vmin - start, vmax - start))


def _counted_from(start: float, value: float, _place: int | None = None) -> str:
    return plain_number(value - start)


def place_pictures(
    figure: Figure, frame: Frame | None, pixel_size: tuple[float, float] | None
) -> None:
    """Count the axes of pictures from the raw image's first pixel, as people do.

    `frame` is where it lies on the canvas, px; with a `pixel_size`, um, each picture
    gets a bar of a round length.
    """
    for axes in figure.axes:
        if axes.get_gid() != PICTURE:
            continue
        if frame is not None:
            number_axes(axes, first=frame[:2])
        wide = axes.bbox.width / DPI
        if pixel_size is not None and wide >= _LEAST_WITH_BAR:
            left, right = axes.get_xlim()
            length = round_figure(_BAR_SHARE * abs(right - left) * pixel_size[0])
            words = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
            thick = 0.012 * abs(right - left)
            add_scale_bar(axes, length / pixel_size[0], words, thick=thick)


def add_scale_bar(axes: Axes, length: float, words: str, *, thick: float) -> None:
    """Draw a bar into the lower left corner of a picture; its sides in px of that."""
    bar = AnchoredSizeBar(
        axes.transData,
        length,
        words,
        loc="lower left",
        borderpad=0.4,
        pad=0.3,
        sep=2,
        size_vertical=thick,
        fill_bar=True,
        fontproperties=FontProperties(size=SMALL),
    )
    bar.patch.set(alpha=0.75, linewidth=0)
    axes.add_artist(bar)


def scale_colour(method: str, index: int = 0) -> str:
    """Return the colour of a scale's line; `index` tells other methods apart."""
    known = SCALE_METHODS.get(method)
    own = known.colour if known else ""
    return own or _OTHER_SCALES[index % len(_OTHER_SCALES)]


def method_words(estimate: ScaleEstimate) -> str:
    """Return the method of a scale in words for a legend."""
    if estimate.percentile is not None:
        return f"Percentile {estimate.percentile:g}"
    known = SCALE_METHODS.get(estimate.method)
    return known.legend if known else estimate.method.replace("_", " ").capitalize()


def scale_words(estimate: ScaleEstimate) -> str:
    """Return a scale for a legend: its method, its value and how sure it is."""
    text = f"{method_words(estimate)}\n"
    if estimate.uncertainty > 0:
        digits = min(max(-math.floor(math.log10(estimate.uncertainty)), 0), 6)
        text += f"{estimate.scale:.{digits}f} ± {estimate.uncertainty:.{digits}f}"
    else:
        text += f"{estimate.scale:.5g}"
    if estimate.offset:
        amount = plain_number(float(f"{estimate.offset:.3g}"))
        text += f"\noffset {amount} levels"
    return text.replace("-", "\u2212")


def formula(scale: float, offset: float) -> str:
    """Return how a difference was made, in words for a title."""
    text = f"post \u2212 {scale:.4g} × pre"
    if offset:
        sign = "\u2212" if offset > 0 else "+"
        text += f" {sign} {plain_number(round(abs(offset), 2))}"
    return text


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(_FONT)).get_charmap())


def printable(text: str) -> str:
    """Return a text with each character that the font lacks replaced by a box."""
    known = _glyphs()
    return "".join(c if c.isprintable() and ord(c) in known else "\u25a1" for c in text)


def short_count(value: float, _position: object = None) -> str:
    """Return a pixel count for an axis: 500, 20 k, 3 M, 0.01."""
    size = abs(value)
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if size >= limit:
            return plain_number(value / (1e3 if unit == " k" else limit)) + unit
    return plain_number(value)


def plain_number(value: float, _position: object = None) -> str:
    """Return a number without mathematical markup and with a true minus sign."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 1e7 or abs(value) < 1e-4:
        text = f"{value:.3g}"
    elif abs(value) >= 1000:
        text = f"{value:.0f}"
    else:
        text = f"{value:.4g}"
    return text.replace("-", "\u2212")


def count_words(pixels: int) -> str:
    """Return a number of pixels for the title line."""
    if pixels < 100_000:
        return f"{pixels} pixels in both images"
    return f"{pixels / 1e6:.3g} million pixels in both images"


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
    with files.replace_file(target) as part:
        if form == "png" and isinstance(figure.canvas, FigureCanvasAgg):
            # Not by savefig: this takes half the time, and no user's matplotlibrc
            # changes the size of what is written.
            _write_png(rendered(figure)[..., :3], part)
        else:
            figure.savefig(part, format=form, dpi=figure.dpi)


def stamp_png(path: Path, notes: Sequence[str]) -> None:
    """Add a strip with red notes above a PNG picture that lacks them.

    Raises
    ------
    OutputError
        If the picture cannot be read or written again.
    """
    try:
        with Image.open(path) as file:
            picture = np.asarray(file.convert("RGBA"))
    except (OSError, UnidentifiedImageError) as error:
        raise OutputError(
            f"{path} should be a PNG picture, it cannot be read ({error}); check the "
            "function that drew it"
        ) from error
    width = picture.shape[1] / DPI
    lines = _wrapped(notes, width)
    height = _NOTE_LINE * len(lines) + 0.12
    strip = _new_figure(width, height)
    for i, line in enumerate(lines):
        place = min(EDGE / width, 0.5), 1 - (0.06 + i * _NOTE_LINE) / height
        strip.text(*place, printable(line), va="top", parse_math=False, **_NOTE_LOOK)
    head = rendered(strip)
    columns = picture.shape[1]
    fitted = np.full((head.shape[0], columns, 4), 255, np.uint8)
    fitted[:, : min(columns, head.shape[1])] = head[:, :columns]
    with files.replace_file(path) as part:
        _write_png(np.concatenate([fitted, picture]), part)


def rendered(figure: Figure) -> NDArray[np.uint8]:
    """Return a figure's pixels, shape (rows, columns, 4): red, green, blue, alpha."""
    canvas: Any = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # A copy: the next drawing writes into the canvas again.
    return np.array(canvas.buffer_rgba())


def _write_png(
    pixels: NDArray[np.uint8], file: Path | BinaryIO, *, optimize: bool = False
) -> None:
    about = PngInfo()
    about.add_text("Software", "napari-exo2micro")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(file, "png", compress_level=1, optimize=optimize, pnginfo=about)
