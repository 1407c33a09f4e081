"""The distribution of post/pre and where the scales lie in it, to be drawn small."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.pair_statistics import PairStatistics
from napari_exo2micro.core.preview.scale import ScalePreview
from napari_exo2micro.core.scale_estimate import ScaleEstimate

__all__ = ["RatioCurve", "ScaleLine", "ratio_curve"]

_BINS = 240
_REACH = 2.0
_FINE_BINS = 800
_LOWEST, _HIGHEST = 0.01, 0.97
_ROOM = 0.15
_ORDER = ("moffat", "percentile", "manual")


@dataclass(frozen=True, slots=True)
class ScaleLine:
    """One scale in the distribution.

    Attributes
    ----------
    method : str
        ``'moffat'``, ``'percentile'`` or ``'manual'``.
    scale : float
        Its value.
    colour : str
        As in the plots of stage 4.
    words : str
        What it is, as short as can be.
    """

    method: str
    scale: float
    colour: str
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class RatioCurve:
    """A distribution of ratios and the scales in it.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,), float64
        Edges of the bins in log10(post/pre).
    counts : ndarray, shape (n,), float64
        Pixels in each bin; not whole numbers.
    lines : tuple of ScaleLine
        The scales.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]
    lines: tuple[ScaleLine, ...]


def ratio_curve(found: ScalePreview) -> RatioCurve | None:
    """Return the distribution of post/pre with the scales of a preview.

    Parameters
    ----------
    found : ScalePreview
        What stage 4 would find.

    Returns
    -------
    RatioCurve or None
        Over the range of nearly all pixels and all scales. None when nothing was
        counted.
    """
    if found.statistics is None:
        return None
    from napari_exo2micro.core.plotting.counts import log_ratio_counts
    from napari_exo2micro.core.plotting.style import scale_colour

    lines = tuple(
        ScaleLine(method, scale.scale, scale_colour(method), _words(scale))
        for method, scale in sorted(
            found.scales.items(), key=lambda item: _ORDER.index(item[0])
        )
    )
    low, high = _range(found.statistics)
    places = [math.log10(line.scale) for line in lines]
    low, high = min([low, *places]), max([high, *places])
    room = max(_ROOM * (high - low), 0.02)
    edges = np.linspace(low - room, high + room, _BINS + 1)
    return RatioCurve(edges, log_ratio_counts(found.statistics, edges), lines)


def _words(scale: ScaleEstimate) -> str:
    if scale.percentile is not None:
        return f"{scale.percentile:g} %"
    return "by hand" if scale.method == "manual" else "Moffat"


def _range(statistics: PairStatistics) -> tuple[float, float]:
    """Return the log10 ratios between which nearly all pixels lie."""
    from napari_exo2micro.core.plotting.counts import log_ratio_counts

    edges = np.linspace(-_REACH, _REACH, _FINE_BINS + 1)
    total = np.cumsum(log_ratio_counts(statistics, edges))
    if not total[-1] > 0:
        return -0.3, 0.3
    ends = np.searchsorted(total / total[-1], (_LOWEST, _HIGHEST))
    return float(edges[ends[0]]), float(edges[min(ends[1] + 1, _FINE_BINS)])
