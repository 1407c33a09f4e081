"""The distribution of post/pre and where the scales lie in it, to be drawn small."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.pair_statistics import PairStatistics
from napari_exo2micro.core.preview.scale import ScalePreview
from napari_exo2micro.core.preview.source import PreviewSource, Same
from napari_exo2micro.core.scale_estimate import ScaleEstimate
from napari_exo2micro.core.scale_methods import DEFAULT_SCALE, SCALE_METHODS

__all__ = ["RatioCurve", "ScaleLine", "ratio_curve"]

_BINS = 120
#: log10 of a hundredth to a hundred.
_EDGES = np.linspace(-2.0, 2.0, 2001)
_LOWEST, _HIGHEST = 0.01, 0.97
_ROOM = 0.15


@dataclass(frozen=True, slots=True)
class ScaleLine:
    """One scale in the distribution.

    Attributes
    ----------
    method : str
        A name in `SCALE_METHODS`.
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


def ratio_curve(source: PreviewSource, found: ScalePreview) -> RatioCurve | None:
    """Return the distribution of post/pre with the scales of a preview.

    Parameters
    ----------
    source : PreviewSource
        The pair; it keeps the counts for the next time.
    found : ScalePreview
        What stage 4 would find.

    Returns
    -------
    RatioCurve or None
        Over the range of nearly all pixels and all scales. None when nothing was
        counted.
    """
    statistics = found.statistics
    if statistics is None:
        return None
    from napari_exo2micro.core.plotting.style import scale_colour

    order = list(SCALE_METHODS)
    counted = source.keep("ratio", Same(statistics), lambda: _count(statistics))
    lines = tuple(
        ScaleLine(method, scale.scale, scale_colour(method), _words(scale))
        for method, scale in sorted(
            found.scales.items(), key=lambda item: order.index(item[0])
        )
    )
    fine, low, high = counted
    places = [math.log10(line.scale) for line in lines]
    low, high = min([low, *places]), max([high, *places])
    room = max(_ROOM * (high - low), 0.02)
    first, end = np.searchsorted(_EDGES, (low - room, high + room))
    step = max(1, (end - first) // _BINS)
    end = first + (end - first) // step * step
    counts = fine[first:end].reshape(-1, step).sum(axis=1)
    return RatioCurve(_EDGES[first : end + 1 : step], counts, lines)


def _words(scale: ScaleEstimate) -> str:
    if scale.percentile is not None:
        return f"{scale.percentile:g} %"
    method = SCALE_METHODS[scale.method]
    return "Moffat" if method.name == DEFAULT_SCALE else method.title


def _count(statistics: PairStatistics) -> tuple[NDArray[np.float64], float, float]:
    """Return counts in fine bins, and the ends between which nearly all lie."""
    from napari_exo2micro.core.plotting.counts import log_ratio_counts

    fine = log_ratio_counts(statistics, _EDGES)
    total = np.cumsum(fine)
    if not total[-1] > 0:
        return fine, -0.3, 0.3
    first, last = np.searchsorted(total / total[-1], (_LOWEST, _HIGHEST))
    return fine, float(_EDGES[first]), float(_EDGES[min(last + 1, len(_EDGES) - 1)])
