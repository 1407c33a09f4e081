"""Colours, sizes and number formats that all figures share."""

from __future__ import annotations

import functools
import math
from typing import Final

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.font_manager import FontProperties, findfont, get_font

from napari_exo2micro.core.display import DIFFERENCE_STOPS
from napari_exo2micro.core.scale_estimate import ScaleEstimate
from napari_exo2micro.core.scale_methods import SCALE_METHODS

__all__ = [
    "ALL_COLOUR",
    "DIFFERENCE_COLOURS",
    "DPI",
    "EDGE",
    "GRID_COLOUR",
    "LABEL",
    "MUTED",
    "NO_DATA_COLOUR",
    "POST_COLOUR",
    "PRE_COLOUR",
    "RAW_PRE_COLOUR",
    "SMALL",
    "TITLE",
    "WARNING_COLOUR",
    "formula",
    "match_words",
    "method_words",
    "plain_number",
    "printable",
    "scale_colour",
    "scale_words",
    "short_count",
]

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

_OTHER_SCALES: Final = ("#3366ff", "#9955cc", "#008b9a", "#886622")

DIFFERENCE_COLOURS: Final = LinearSegmentedColormap.from_list(
    "difference",
    list(DIFFERENCE_STOPS),
    # An odd number of colours: one of them is that of zero, pure black.
    N=511,
).with_extremes(bad=NO_DATA_COLOUR)

_FONT: Final = FontProperties(family="DejaVu Sans")


def scale_colour(method: str, index: int = 0) -> str:
    """Return the colour of a scale's line; `index` tells other methods apart."""
    known = SCALE_METHODS.get(method)
    own = known.colour if known else ""
    return own or _OTHER_SCALES[index % len(_OTHER_SCALES)]


def method_words(method: str, percentile: float | None = None) -> str:
    """Return a scale method in words for a legend."""
    if percentile is not None:
        return f"Percentile {percentile:g}"
    known = SCALE_METHODS.get(method)
    return known.legend if known else method.replace("_", " ").capitalize()


def scale_words(estimate: ScaleEstimate) -> str:
    """Return a scale for a legend: its method, its value and how sure it is."""
    text = f"{method_words(estimate.method, estimate.percentile)}\n"
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


def match_words(score: float | None) -> str:
    """Return a correlation in words for the heading of a panel."""
    if score is None:
        return "no overlap to compare"
    return f"match {score:.3f} (1 = alike)".replace("-", "\u2212")


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
