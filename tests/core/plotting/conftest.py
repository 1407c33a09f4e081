"""An aligned pair with known truth, in each type of pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_exo2micro.core.alignment import ErrorMap
from napari_exo2micro.core.detection import Flag, purity_of
from napari_exo2micro.core.images import Transform, mapped_frame, warp_window
from napari_exo2micro.core.photometry import (
    ScaleEstimate,
    accumulate_statistics,
    estimate_scale,
    scale_at_percentile,
)
from napari_exo2micro.core.photometry.scale import manual_scale
from napari_exo2micro.core.photometry.statistics import PairStatistics
from napari_exo2micro.core.simulate import simulate_section

PAD = 60


@dataclass(frozen=True)
class Pair:
    """An aligned pair and what stage 4 knows of it."""

    post: NDArray[Any]
    pre: NDArray[Any]
    raw_pre: NDArray[Any]
    transform: Transform
    post_frame: tuple[int, int, int, int]
    pre_frame: tuple[int, int, int, int]
    statistics: PairStatistics
    scales: list[ScaleEstimate]

    @property
    def context(self) -> dict[str, Any]:
        turn = np.linspace(0, 2 * np.pi, 100)
        ring = np.stack([280 + 150 * np.cos(turn), 240 + 120 * np.sin(turn)], axis=1)
        return {
            "statistics": self.statistics,
            "scales": self.scales,
            "scale": self.scales[0].scale,
            "offset": self.scales[0].offset,
            "difference": None,
            "raw_pre": self.raw_pre,
            "post_frame": self.post_frame,
            "pre_frame": self.pre_frame,
            "coarse_transform": self.transform
            @ Transform.similarity(translation=(6.0, -4.0)),
            "icp_transform": self.transform,
            "final_transform": self.transform,
            "post_contour": ring,
            "pre_contour": self.transform(ring).tolist(),
            "matches": None,
            "tiles": {
                "x": [200.0, 300.0, 250.0],
                "y": [200.0, 220.0, 300.0],
                "dx": [0.03, -0.02, 5.0],
                "dy": [0.01, 0.04, 5.0],
                "used": [True, True, False],
            },
            "error_map": ErrorMap((60.0, 60.0), 100.0, [[0.02, 0.1], [0.05, 0.4]]),
            "snr": self.snr,
            "candidates": self.candidates,
            "purity": purity_of(self.candidates["snr_own"][:-1], [5.1, 5.3, 6.4]),
            "snr_min": 6.0,
            "down_scale": 0.3,
            "verdicts": {},
        }

    @property
    def snr(self) -> NDArray[np.float32]:
        """An S/N of one with a spot for each candidate; 0 beside the section."""
        snr = np.random.default_rng(3).normal(0, 1, self.post.shape).astype(np.float32)
        for row in self.candidates:
            snr[round(row["y"]) + PAD, round(row["x"]) + PAD] = row["snr"]
        snr[:PAD], snr[-PAD:], snr[:, :PAD], snr[:, -PAD:] = 0, 0, 0, 0
        return snr

    @property
    def candidates(self) -> Table:
        """30 candidates: 5 of them below the threshold of 6, the last one refused."""
        x, y = np.linspace(15.0, 380.0, 30), np.linspace(12.0, 300.0, 30)
        snr = np.geomspace(60.0, 5.2, 30)
        flags = np.zeros(30, int)
        flags[3], flags[-1] = Flag.EDGE_OF_GRAIN, Flag.BROAD
        table = Table({"id": np.arange(1, 31), "x": x, "y": y, "snr": snr})
        table["snr_own"], table["flags"] = snr, flags
        table["counted"] = (snr >= 6.0) & (flags != Flag.BROAD)
        table["grade"] = np.where(table["counted"], "certain", "candidate")
        return table


def make_pair(dtype: str) -> Pair:
    """Return a section turned by 4 degrees, aligned with its true transform."""
    stored = "uint16" if dtype == "uint16" else "uint8"
    pair = simulate_section(
        (360, 440), seed=5, angle_deg=4.0, shift=(12, -7), gain=1.4, dtype=stored
    )
    rows = max(pair.post.shape[0], pair.pre.shape[0])
    columns = max(pair.post.shape[1], pair.pre.shape[1])

    def canvas(image: NDArray[Any]) -> NDArray[Any]:
        whole = np.zeros((rows + 2 * PAD, columns + 2 * PAD), image.dtype)
        whole[PAD : PAD + image.shape[0], PAD : PAD + image.shape[1]] = image
        return (whole / np.float32(255)).astype(dtype) if dtype == "float32" else whole

    post, raw_pre = canvas(pair.post), canvas(pair.pre)
    transform = pair.truth.canvas_transform(PAD)
    pre = warp_window(raw_pre, transform, 0, post.shape[0], 0, post.shape[1])
    post_frame = (PAD, PAD, pair.post.shape[1], pair.post.shape[0])
    pre_frame = (PAD, PAD, pair.pre.shape[1], pair.pre.shape[0])
    statistics = accumulate_statistics(
        post,
        pre,
        raw_pre=raw_pre,
        raw_pre_frame=pre_frame,
        post_frame=post_frame,
        pre_quad=mapped_frame(transform, pre_frame),
    )
    scales = [
        estimate_scale(statistics),
        scale_at_percentile(statistics, 99.1),
        manual_scale(1.42),
    ]
    return Pair(
        post, pre, raw_pre, transform, post_frame, pre_frame, statistics, scales
    )


@pytest.fixture(scope="session")
def pairs() -> dict[str, Pair]:
    return {dtype: make_pair(dtype) for dtype in ("uint8", "uint16", "float32")}


@pytest.fixture(scope="session")
def pair(pairs: dict[str, Pair]) -> Pair:
    return pairs["uint8"]


def words(figure: Figure) -> str:
    """Return every text of a figure, those of its panels and legends included."""
    texts = list(figure.texts)
    for legend in figure.legends:
        texts += legend.get_texts()
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
    return "\n".join(text.get_text() for text in texts)


@pytest.fixture(scope="session", name="words")
def words_of_a_figure() -> Any:
    return words
