"""How fast the previews of stages 2 to 4 follow a parameter, and how close they are.

    python benchmarks/preview.py                                 # the sample pair
    python benchmarks/preview.py --raw-dir raw --output-dir processed Rock DAPI
    python benchmarks/preview.py --viewer                        # in a real window

Without names a pair as large as the viewer's sample is simulated and stages 1 to 3
are run in a temporary folder. With names the checkpoints of stages 1 to 3 must be
there; where a simulated pair's truth lies beside the raw files, it is compared.
`first` is the first preview of a fresh source, `changed` the median of several
previews, each with another value of one parameter. Distances are the median over the
section, in full-resolution px. With `--viewer` the times are those from setting a
parameter to the layers drawn with its result, each change 0.3 s after the picture
before (`--pause`), and the longest time for which the window did not answer meanwhile.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tables import Table, parser_of, save

from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.preview import (
    PreviewSource,
    open_source,
    preview_boundary,
    preview_interior,
    preview_scale,
    stored_statistics,
)
from napari_exo2micro.core.simulate import (
    Truth,
    read_truth,
    registration_error,
    simulate_section,
    write_pair,
)

SHAPE = (1400, 1600)
SETTINGS = {"seed": 1, "angle_deg": 6.0, "scale": 1.02, "shift": (40.0, -25.0)}

#: What is changed, and the values that it takes.
CHANGES: dict[int, list[tuple[str, list[Any]]]] = {
    2: [
        ("boundary_width", [10, 12, 14, 16, 18, 20, 22]),
        ("angle_range", [10.0, 12.0, 14.0, 16.0, 18.0]),
        ("max_translation", [150.0, 170.0, 190.0, 210.0, 230.0]),
    ],
    3: [
        ("interior_blur_base", [4.0, 5.0, 6.0, 7.0, 9.0, 10.0, 11.0]),
        ("interior_min_inlier_ratio", [0.2, 0.3, 0.5, 0.6, 0.7]),
    ],
    4: [
        ("manual_scale", [1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4]),
        ("scale_percentile", [40.0, 50.0, 60.0, 70.0, 80.0]),
        ("offset_correction", [False, True]),
    ],
}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the seconds that it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def measure(task: SampleDye, truth: Truth | None) -> Table:
    """Print the table of one pair."""
    pad = int(str(task.params["pad"]))
    source, opened = timed(lambda: open_source(task))
    shape = source.post_image.shape
    print(f"{task.sample} {task.dye}, canvas {shape[1]} x {shape[0]} px; ", end="")
    print(f"opened in {opened:.2f} s")
    table = Table("stage", "parameter", "first, s", "changed, s", "result")
    start, refined = task.transform(2), task.transform(3)
    gain = truth.gain if truth else None
    has_counted = stored_statistics(task, source) is not None
    works: list[tuple[int, str, Callable[..., Any]]] = [
        (2, "", lambda s, p: preview_boundary(s, p)),
        (3, "", lambda s, p: preview_interior(s, start, p)),
        (4, "sample", lambda s, p: preview_scale(s, refined, p)),
    ]
    if has_counted:

        def counted(source: PreviewSource, params: dict[str, Any]) -> Any:
            known = stored_statistics(task, source)
            return preview_scale(source, refined, params, statistics=known)

        works.append((4, "stored", counted))
    for stage, basis, work in works:
        fresh = open_source(task)
        shown, first = timed(lambda work=work, fresh=fresh: work(fresh, {}))
        if stage == 4:
            words = f"{basis}: {shown.scales['moffat'].scale:.4f}"
            words += (
                f" ({shown.scales['moffat'].scale / gain - 1:+.2%})" if gain else ""
            )
        else:
            words = f"{shown.verdict.state}, {describe(shown.transform, truth, pad)}"
            other = start if stage == 2 else refined
            words += f"; {apart(shown.transform, other, fresh):.2f} px from the stage"
        for name, values in CHANGES[stage]:
            seconds = [
                timed(lambda v=value, n=name, w=work, f=fresh: w(f, {n: v}))[1]
                for value in values
            ]
            middle = max(seconds) if len(seconds) < 3 else statistics.median(seconds)
            table.add(str(stage), name, f"{first:.2f}", f"{middle:.3f}", words)
    return table


def describe(transform: Transform, truth: Truth | None, pad: int) -> str:
    """Return how far a transform is from the truth, in words."""
    if truth is None:
        return "no truth"
    return f"{np.median(registration_error(truth, transform, pad)):.2f} px off"


def apart(one: Transform, other: Transform, source: PreviewSource) -> float:
    """Return the median distance of two transforms over the frame, px."""
    x0, y0, width, height = source.post_frame
    steps = np.linspace(0.1, 0.9, 9)
    points = [
        (x0 + u * width, y0 + v * height) for u, v in itertools.product(steps, steps)
    ]
    gap = one(points) - other(points)
    return float(np.median(np.linalg.norm(gap, axis=1)))


def simulated(folder: Path) -> tuple[SampleDye, Truth]:
    """Return the sample pair with stages 1 to 3 run."""
    pair = simulate_section(SHAPE, **SETTINGS)
    write_pair(pair, folder / "raw", "Sample", "SybrGld", channels="rgb")
    task = SampleDye("Sample", "SybrGld", folder / "processed", folder / "raw", "tiff")
    task.run(to_stage=3)
    return task, pair.truth


class Beat:
    """Tells for how long the window did not answer."""

    def __init__(self, timer: Any) -> None:
        self._last, self._worst = time.perf_counter(), 0.0
        timer.timeout.connect(self._tick)
        timer.start(2)

    def _tick(self) -> None:
        now = time.perf_counter()
        self._last, self._worst = now, max(self._worst, now - self._last)

    def take(self) -> float:
        """Return the longest pause since this was asked last, seconds."""
        worst, self._worst = self._worst, 0.0
        return worst


def measure_viewer(task: SampleDye, arguments: Namespace) -> Table:
    """Print the response times of a window."""
    import napari
    from qtpy.QtCore import QEventLoop, QTimer
    from qtpy.QtWidgets import QApplication

    from napari_exo2micro.plugin.layers.presenter import shared_session
    from napari_exo2micro.plugin.workbench.form import StageForm
    from napari_exo2micro.plugin.workbench.preview import LivePreview

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1500, 950)
    session = shared_session(viewer)
    session.set_source(
        raw_dir=task.raw_dir,
        output_dir=task.output_dir,
        sample=task.sample,
        dye=task.dye,
        checkpoint_format=task.checkpoint_format,
    )
    timer = QTimer()
    beat, live = Beat(timer), LivePreview.of(session)

    def wait(signal: Any, limit: float = 60.0) -> float:
        """Let the window live until a signal comes and is drawn."""
        start, loop = time.perf_counter(), QEventLoop()
        signal.connect(loop.quit)
        QTimer.singleShot(int(1000 * limit), loop.quit)
        loop.exec()
        signal.disconnect(loop.quit)
        seconds = time.perf_counter() - start
        if seconds > limit:
            raise SystemExit(f"nothing came: {live.words(session.shown_stage)}")
        QApplication.processEvents()
        return time.perf_counter() - start

    def pause(milliseconds: int) -> None:
        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    def change(name: str, value: Any) -> tuple[float, float]:
        pause(arguments.pause)
        beat.take()
        session.set_params(**{name: value})
        return wait(live.shown), beat.take()

    job = session.show_results()
    wait(job.finished)
    print(f"{task.sample} {task.dye} in a window of 1500 x 950 px")
    table = Table("stage", "parameter", "first, s", "changed, s", "longest pause")
    for stage, changes in CHANGES.items():
        form = StageForm(session, stage)
        dock = viewer.window.add_dock_widget(form, area="right")
        session.show_stage(stage)
        pause(3000)  # as long as a person takes to look at it
        for name, values in changes:
            first, *times = [change(name, value) for value in values]
            seconds = statistics.median(s for s, _ in times)
            words = f"{1000 * max(p for _, p in times):.0f} ms"
            words += f", at the first {1000 * first[1]:.0f} ms"
            table.add(str(stage), name, f"{first[0]:.2f}", f"{seconds:.3f}", words)
        viewer.window.remove_dock_widget(dock)
    session.close()
    viewer.close()
    return table


def keep(arguments: Namespace, table: Table) -> None:
    """Keep a table when that was asked for."""
    if arguments.save:
        save("preview_viewer" if arguments.viewer else "preview", table)


def main() -> int:
    """Measure the pair that was asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("names", nargs="*", help="sample and dye")
    parser.add_argument("--raw-dir", default="raw")
    parser.add_argument("--output-dir", default="processed")
    parser.add_argument("--viewer", action="store_true", help="in a real window")
    parser.add_argument(
        "--pause", type=int, default=300, help="before each change there, ms"
    )
    arguments = parser.parse_args()
    if arguments.names:
        sample, dye = arguments.names
        task = SampleDye(sample, dye, arguments.output_dir, arguments.raw_dir, "tiff")
        path = Path(arguments.raw_dir) / sample / f"{sample}_{dye}_truth.json"
        truth = read_truth(path) if path.is_file() else None
        keep(
            arguments,
            measure_viewer(task, arguments)
            if arguments.viewer
            else measure(task, truth),
        )
        return 0
    with tempfile.TemporaryDirectory(prefix="exo2micro-") as folder:
        task, truth = simulated(Path(folder))
        keep(
            arguments,
            measure_viewer(task, arguments)
            if arguments.viewer
            else measure(task, truth),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
