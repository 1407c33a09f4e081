"""Exact histograms of an aligned pair, gathered window by window in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.difference import NO_DATA, valid_mask_window
from napari_exo2micro.core.errors import CheckpointError, RegistrationError
from napari_exo2micro.core.monitor import Monitor

__all__ = [
    "Image",
    "LevelHistogram",
    "PairStatistics",
    "accumulate_statistics",
    "load_statistics",
    "save_statistics",
]

GROUPS = 8
"""Number of interleaved spatial groups, for jackknife uncertainties."""

_KIND = "napari-exo2micro pair statistics"
_VERSION = 1
_CELLS = 1024
_RATIO_BINS = 65536
_RATIO_REACH = 5.0
_BAND_PIXELS = 8_000_000
_PILE_UP = 5.0


class Image(Protocol):
    """Anything 2-D that can be read window by window."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __getitem__(self, window: tuple[slice, slice], /) -> Any:
        """Return the window as an array."""


@dataclass(frozen=True, slots=True, eq=False)
class LevelHistogram:
    """Counts of pixels between edges.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,), float64
        Edges in grey levels (for a ratio: log10 of post/pre). Integer data have
        their edges between the integers: level v lies in v - 0.5 .. v + 0.5.
    counts : ndarray, shape (n,), int64
        Number of pixels in each bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Number of pixels counted."""
        return int(self.counts.sum())

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middles of the bins, in the unit of the edges."""
        middles: NDArray[np.float64] = (self.edges[1:] + self.edges[:-1]) / 2
        return middles


@dataclass(frozen=True, slots=True, eq=False)
class PairStatistics:
    """Everything that scales and plots need to know of an aligned pair.

    Every pixel is counted, none is sampled. For ``uint8`` the cells are single
    grey levels. For other types there are up to 1024 cells, equally wide in the
    fourth root of the grey level, so that dim minerals are resolved to about one
    per cent however bright the brightest microbe is.

    Attributes
    ----------
    dtype : str
        Type of the images, as numpy names it.
    integer : bool
        Whether the pixels are integers (a cell then holds whole levels).
    edges : ndarray, shape (n + 1,), float64
        Edges of the cells in grey levels, the same for both axes of `groups`.
        Cell 0 holds what has no signal (level 0 and below).
    groups : ndarray, shape (8, n, n), uint32
        Number of pixels in each cell ``[group, post, pre]``, over the pixels where
        both images have data. The groups are interleaved tiles of the section.
    post : LevelHistogram
        The post image, wherever it has data.
    pre : LevelHistogram
        The aligned pre image, where both have data.
    raw_pre : LevelHistogram or None
        The pre image before the warp, when it was given.
    ratio : LevelHistogram or None
        log10(post/pre) where both are above 0 and below saturation, in 65536
        bins over -5..5. None for ``uint8``, where `groups` tells it exactly.
    post_saturation, pre_saturation : float
        Grey level at which the image is saturated, inf when it nowhere is.
    n_saturated : int
        Pixels with data in both images of which one at least is saturated.
    n_post : int
        Pixels where post has data.
    n_both : int
        Pixels where both have data.
    """

    dtype: str
    integer: bool
    edges: NDArray[np.float64]
    groups: NDArray[np.uint32]
    post: LevelHistogram
    pre: LevelHistogram
    raw_pre: LevelHistogram | None
    ratio: LevelHistogram | None
    post_saturation: float
    pre_saturation: float
    n_saturated: int
    n_post: int
    n_both: int

    @property
    def joint(self) -> NDArray[np.int64]:
        """Joint histogram over all groups, shape (n, n), axes [post, pre]."""
        total: NDArray[np.int64] = self.groups.sum(axis=0, dtype=np.int64)
        return total

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middles of the cells in grey levels, shape (n,)."""
        middles: NDArray[np.float64] = (self.edges[1:] + self.edges[:-1]) / 2
        return middles
