"""The statistics of an aligned pair: what scales and plots are made from."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.cells import LevelHistogram
from napari_exo2micro.core.errors import CheckpointError

__all__ = ["BlockMeans", "PairStatistics", "load_statistics", "save_statistics"]

_KIND = "napari-exo2micro pair statistics"
_VERSION = 1
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True, eq=False)
class BlockMeans:
    """Both images averaged over square blocks: little noise, and where it is.

    Attributes
    ----------
    size : int
        Side of a block, px.
    origin : tuple of int
        (x, y) of the first pixel of the first block, px.
    post, pre : ndarray, shape (rows, columns), float32
        Means in grey levels; NaN where a pixel of the block is saturated or has
        no data in one of the images.
    """

    size: int
    origin: tuple[int, int]
    post: NDArray[np.float32]
    pre: NDArray[np.float32]

    def coarser(self) -> BlockMeans:
        """Return the means of blocks twice as large; NaN where one was NaN."""
        rows, columns = (length // 2 for length in self.post.shape)
        post, pre = (
            means[: 2 * rows, : 2 * columns]
            .reshape(rows, 2, columns, 2)
            .mean(axis=(1, 3), dtype=np.float32)
            for means in (self.post, self.pre)
        )
        return BlockMeans(2 * self.size, self.origin, post, pre)


@dataclass(frozen=True, slots=True, eq=False)
class PairStatistics:
    """Everything that scales and plots need to know of an aligned pair.

    Every pixel is counted, none is sampled. For ``uint8`` the cells are single
    grey levels. For other types there are about 1024 cells, equally wide in the
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
    blocks : BlockMeans
        Means of blocks of 4 to 16 px, from which offset and scale are estimated.
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
    blocks: BlockMeans

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

    @property
    def unsaturated(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which cells of post and of pre lie below saturation, shapes (n,)."""
        return (
            self.edges[1:] <= self.post_saturation,
            self.edges[1:] <= self.pre_saturation,
        )


def save_statistics(path: str | Path, statistics: PairStatistics) -> None:
    """Write statistics as a compressed ``.npz`` file without pickled objects.

    Parameters
    ----------
    path : str or Path
        Written as it is named; the caller makes sure that it is written whole.
    statistics : PairStatistics
        What to store.
    """
    arrays: dict[str, Any] = {
        "kind": _KIND,
        "version": _VERSION,
        "dtype": statistics.dtype,
        "edges": statistics.edges,
        "groups": statistics.groups,
        "saturation": [statistics.post_saturation, statistics.pre_saturation],
        "numbers": [statistics.n_saturated, statistics.n_post, statistics.n_both],
        "blocks_grid": [statistics.blocks.size, *statistics.blocks.origin],
        "blocks_post": statistics.blocks.post,
        "blocks_pre": statistics.blocks.pre,
    }
    for name in ("post", "pre", "raw_pre", "ratio"):
        histogram: LevelHistogram | None = getattr(statistics, name)
        if histogram is not None:
            arrays[f"{name}_edges"] = histogram.edges
            arrays[f"{name}_counts"] = histogram.counts
    with Path(path).open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_statistics(path: str | Path) -> PairStatistics:
    """Read statistics that `save_statistics` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated or something else.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if str(arrays["kind"]) != _KIND or int(arrays["version"]) != _VERSION:
            raise KeyError("kind")
        histograms = {
            name: LevelHistogram(arrays[f"{name}_edges"], arrays[f"{name}_counts"])
            for name in ("post", "pre", "raw_pre", "ratio")
            if f"{name}_edges" in arrays
        }
        size, x0, y0 = (int(n) for n in arrays["blocks_grid"])
        n_saturated, n_post, n_both = (int(n) for n in arrays["numbers"])
        return PairStatistics(
            dtype=str(arrays["dtype"]),
            integer=str(arrays["dtype"]).startswith("uint"),
            edges=arrays["edges"],
            groups=arrays["groups"],
            post=histograms["post"],
            pre=histograms["pre"],
            raw_pre=histograms.get("raw_pre"),
            ratio=histograms.get("ratio"),
            post_saturation=float(arrays["saturation"][0]),
            pre_saturation=float(arrays["saturation"][1]),
            n_saturated=n_saturated,
            n_post=n_post,
            n_both=n_both,
            blocks=BlockMeans(
                size, (x0, y0), arrays["blocks_post"], arrays["blocks_pre"]
            ),
        )
    except _UNREADABLE as error:
        raise CheckpointError(
            f"{path} holds no statistics of this version ({error}); run stage 4 again"
        ) from error
