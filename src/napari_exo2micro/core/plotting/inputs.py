"""What a figure draws: given by the caller, otherwise computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.coverage import mapped_frame
from napari_exo2micro.core.photometry import ScaleEstimate, estimate_scale
from napari_exo2micro.core.rasters import Frame, ImageLike
from napari_exo2micro.core.statistics import PairStatistics, accumulate_statistics
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "chosen_scale",
    "pair_scales",
    "pair_statistics",
    "rebin",
    "rebinning_matrix",
    "upper_level",
]

_LEFT_OUT: Final = 2e-5
"""Part of the pixels that may lie beyond the end of an axis of grey levels."""


def pair_statistics(
    post: ImageLike,
    pre: ImageLike,
    statistics: PairStatistics | None,
    *,
    raw_pre: ImageLike | None = None,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    transform: Transform | None = None,
) -> PairStatistics:
    """Return the statistics that were given, otherwise those of the images.

    Raises
    ------
    RegistrationError
        If the images cannot be compared.
    """
    if statistics is not None:
        return statistics
    quad = None
    if pre_frame is not None and transform is not None:
        quad = mapped_frame(transform, pre_frame)
    return accumulate_statistics(
        post,
        pre,
        raw_pre=raw_pre,
        raw_pre_frame=pre_frame if raw_pre is not None else None,
        post_frame=post_frame,
        pre_quad=quad,
    )


def pair_scales(
    statistics: PairStatistics, scales: Sequence[ScaleEstimate] | None
) -> tuple[ScaleEstimate, ...]:
    """Return the scales that were given, otherwise the default one."""
    if scales is not None:
        return tuple(scales)
    return (estimate_scale(statistics),)


def chosen_scale(
    scale: float | None,
    offset: float | None,
    scales: Sequence[ScaleEstimate] | None,
    post: ImageLike,
    pre: ImageLike,
    statistics: PairStatistics | None,
) -> tuple[float, float, ScaleEstimate | None]:
    """Return the scale and offset to subtract with, and where they come from.

    Returns
    -------
    scale, offset : float
        ``difference = post - offset - scale * pre``, grey levels.
    estimate : ScaleEstimate or None
        The one of `scales` that this is; None for a number from elsewhere.
    """
    if scale is None and not scales:
        scales = pair_scales(pair_statistics(post, pre, statistics), None)
    if scale is None:
        assert scales is not None
        estimate = scales[0]
        return estimate.scale, estimate.offset if offset is None else offset, estimate
    known = [e for e in scales or () if e.scale == scale]
    if offset is None:
        offset = known[0].offset if known else 0.0
    return float(scale), float(offset), known[0] if known else None


def rebinning_matrix(
    edges: NDArray[np.float64], new_edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how counts between some edges spread over other bins.

    Parameters
    ----------
    edges, new_edges : ndarray, shape (n + 1,) and (m + 1,)
        Rising edges in the same unit.

    Returns
    -------
    ndarray, shape (m, n)
        The part of each old bin that lies in each new one; ``matrix @ counts``
        keeps the total as far as the new bins reach.
    """
    low = np.maximum(new_edges[:-1, None], edges[None, :-1])
    high = np.minimum(new_edges[1:, None], edges[None, 1:])
    width = np.maximum(np.diff(edges), 1e-300)
    part: NDArray[np.float64] = np.maximum(high - low, 0.0) / width
    return part


def rebin(
    counts: NDArray[np.int64],
    edges: NDArray[np.float64],
    new_edges: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the counts of a histogram in other bins, spread evenly in each bin."""
    total = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    result: NDArray[np.float64] = np.diff(np.interp(new_edges, edges, total))
    return result


def upper_level(statistics: PairStatistics) -> float:
    """Return the grey level up to which the axes of a pair should reach."""
    top = 0.0
    for histogram in (statistics.post, statistics.pre):
        # The zero of padding and background says nothing about the bright end.
        lit = np.where(histogram.edges[1:] > 0.5, histogram.counts, 0)
        if not statistics.integer:
            lit = np.where(histogram.edges[1:] > 0.0, histogram.counts, 0)
        total = np.cumsum(lit, dtype=np.float64)
        if total[-1] > 0:
            last = int(np.searchsorted(total, total[-1] * (1 - _LEFT_OUT)))
            top = max(top, float(histogram.edges[min(last, len(total) - 1) + 1]))
    return top if top > 0 else 1.0
