"""Make the examples of diagnostic plots: ``python docs/make_diagnostic_pictures.py``.

Each plot is drawn twice from a simulated section: as it should be, and with one thing
wrong. FOLDER, if given, gets the pictures instead of ``docs/images``.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from panels import IMAGES, save_image
from PIL import Image

from napari_exo2micro import core as e2m
from napari_exo2micro.core.images import mapped_frame
from napari_exo2micro.core.photometry.scale import manual_scale
from napari_exo2micro.core.pipeline.difference import stored_differences
from napari_exo2micro.core.pipeline.figures import microbes_context, plot_context
from napari_exo2micro.core.plotting import DIAGNOSTICS
from napari_exo2micro.core.plotting.registry import draw_diagnostic

SHAPE = (1500, 1700)
PAD = 200
SCALE = 1.35
DPI = 110


def run_section(folder: Path, local: str = "auto", **changes: Any) -> e2m.SampleDye:
    """Simulate a section and run all stages on it."""
    settings: dict[str, Any] = {
        "angle_deg": 6.0,
        "scale": 1.03,
        "shift": (30.0, -20.0),
        "gain": SCALE,
        "microbes": 400,
        **changes,
    }
    pair = e2m.simulate_section(SHAPE, seed=12, **settings)
    e2m.write_pair(pair, folder / "raw", "CD070", "DAPI")
    task = e2m.SampleDye("CD070", "DAPI", folder / "processed", folder / "raw")
    task.set_params(pad=PAD, local=local)
    task.run()
    return task


class Example:
    """One aligned pair as the plots see it.

    Parameters
    ----------
    task : SampleDye
        Whose results are shown.
    shift : tuple of float, optional
        (x, y) px by which the pre-stain image is moved out of its place.
    turn : float
        Degrees by which it is turned out of its place.
    scale : float, optional
        Used instead of the estimated one.
    """

    def __init__(
        self,
        task: e2m.SampleDye,
        *,
        shift: tuple[float, float] = (0.0, 0.0),
        turn: float = 0.0,
        scale: float | None = None,
    ) -> None:
        known = stored_differences(task.store)
        assert known is not None, "stage 4 has left no statistics"
        pair, self.context = known.pair, plot_context(task.store, known)
        self.post, self.pre = pair.post.image, pair.pre.image
        self.microbes = microbes_context(task.store)
        if any(shift) or turn:
            self._misplace(pair, shift, turn)
        if scale is not None:
            self._subtract(manual_scale(scale))

    def _misplace(self, pair: Any, shift: tuple[float, float], turn: float) -> None:
        rows, columns = self.post.shape
        wrong = pair.pre.transform @ _moved(shift, turn, (columns / 2, rows / 2))
        self.pre = e2m.warp_window(pair.raw_pre.image, wrong, 0, rows, 0, columns)
        statistics = e2m.accumulate_statistics(
            self.post,
            self.pre,
            raw_pre=pair.raw_pre.image,
            raw_pre_frame=pair.raw_pre.frames["pre"],
            post_frame=pair.post.frames["post"],
            pre_quad=mapped_frame(wrong, pair.raw_pre.frames["pre"]),
        )
        self.context = replace(
            self.context,
            statistics=statistics,
            final_transform=wrong,
            icp_transform=wrong,
            coarse_transform=wrong,
        )
        self._subtract(e2m.estimate_scale(statistics))

    def _subtract(self, estimate: e2m.ScaleEstimate) -> None:
        bands = e2m.difference_bands(
            self.post,
            self.pre,
            scale=estimate.scale,
            offset=estimate.offset,
            post_frame=self.context.post_frame,
        )
        self.context = replace(
            self.context,
            scales=[estimate],
            scale=estimate.scale,
            offset=estimate.offset,
            difference=np.concatenate([band for _, band in bands]),
        )


def _moved(
    shift: tuple[float, float], turn: float, centre: tuple[float, float]
) -> e2m.Transform:
    """Return a turn about a centre and a shift."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    x, y = centre
    return e2m.Transform(
        [
            [c, -s, x - c * x + s * y + shift[0]],
            [s, c, y - s * x - c * y + shift[1]],
            [0.0, 0.0, 1.0],
        ]
    )


def draw(name: str, kind: str, example: Example, folder: Path) -> None:
    """Draw one plot of one example."""
    is_late = DIAGNOSTICS[name].stage == 5
    context = example.microbes if is_late else example.context
    context = replace(context, narrow=True)
    figure = draw_diagnostic(name, example.post, example.pre, context)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    save_image(Image.open(drawn), f"diagnostics/{name}_{kind}", folder)


def main(folder: Path = IMAGES) -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        task = run_section(home / "good")
        good = Example(task)
        beside = Example(task, shift=(4.0, 2.5))
        turned = Example(task, turn=2.5, shift=(25.0, 10.0))
        too_low = Example(task, scale=0.85 * SCALE)
        bright = Example(run_section(home / "bright", gain=2.4, offset=25.0))
        bent = Example(run_section(home / "bent", "off", deformation_px=9.0))
        uneven = Example(run_section(home / "uneven", mineral_ratio=0.3))
        bad: Mapping[str, Example] = {
            "pre_post_heatmap": beside,
            "excess_heatmap": too_low,
            "pre_post_histograms": bright,
            "difference_histogram": too_low,
            "ratio_histogram": beside,
            "difference_image": beside,
            "registration": turned,
            "fine_alignment": bent,
            "error_map": bent,
            "snr_map": bent,
            "purity_completeness": uneven,
            "candidates": bent,
        }
        for name in DIAGNOSTICS:
            draw(name, "good", good, folder)
            draw(name, "bad", bad[name], folder)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
