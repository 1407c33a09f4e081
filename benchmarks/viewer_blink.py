r"""How long the window of a viewer stands still while somebody looks at results.

    xvfb-run -a -s "-screen 0 1600x1000x24" \
        python benchmarks/viewer_blink.py processed/Rock/DAPI

The folder holds the results of one sample and dye, stages 1 to 3 at least. A real
window of 1500 x 950 px shows post and aligned pre at every zoom, from the whole
section to single pixels; a timer that ticks every 5 ms tells how long nothing
happened. Of the longest pause at each zoom the table says for how long the window's
own thread was busy (the rest it waited, for the processor or for the drawing), and
the time of preparing the drawing, of reading pixels, and of Python's memory clean-up,
which comes now and then wherever napari runs. Without a graphics card the drawing
itself is done by the processor while the window's thread waits.
With `--cold` the files are put out of the system's memory before each zoom.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QSlider
from tables import Table, parser_of, save

from napari_exo2micro.core.images import LazyImage
from napari_exo2micro.core.store import read_result_sets
from napari_exo2micro.plugin.files.reader import result_specs
from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.layers.layers import find_layers, move_camera, seen_window
from napari_exo2micro.plugin.layers.scene import place_layers

TARGET_MS = 100.0
_TICK_MS = 5


@dataclass
class Pause:
    """The longest time without a tick, and what was done in it; milliseconds."""

    total: float = 0.0
    busy: float = 0.0
    drawing: float = 0.0
    reading: float = 0.0
    cleaning: float = 0.0


class Watch:
    """Ticks every 5 ms and keeps the longest pause.

    Parameters
    ----------
    viewer : napari.Viewer
        In a real window.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.longest = Pause()
        self.pauses: list[float] = []
        self._drawn = self._read = self._cleaned = 0.0
        self._last, self._worked = time.perf_counter(), time.thread_time()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        canvas = viewer.window._qt_viewer.canvas._scene_canvas
        canvas.events.draw.connect(self._begin_draw, position="first")
        canvas.events.draw.connect(self._end_draw, position="last")
        gc.callbacks.append(self._clean)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the body runs."""
        self.longest, self.pauses = Pause(), []
        self._last, self._worked = time.perf_counter(), time.thread_time()
        self._drawn = self._read = self._cleaned = 0.0
        self._timer.start(_TICK_MS)
        reading, inside = LazyImage.__getitem__, False

        def timed(image: LazyImage, key: Any) -> Any:
            nonlocal inside
            if inside:  # a picture made of others
                return reading(image, key)
            inside, start = True, time.perf_counter()
            try:
                return np.array(reading(image, key))  # a map is read when it is used
            finally:
                inside = False
                self._read += time.perf_counter() - start

        LazyImage.__getitem__ = timed  # type: ignore[method-assign]
        try:
            yield
        finally:
            LazyImage.__getitem__ = reading  # type: ignore[method-assign]
            self._timer.stop()

    def _tick(self) -> None:
        now, worked = time.perf_counter(), time.thread_time()
        pause = 1000 * (now - self._last)
        self.pauses.append(pause)
        if pause > self.longest.total:
            parts = (worked - self._worked, self._drawn, self._read, self._cleaned)
            self.longest = Pause(pause, *(1000 * part for part in parts))
        self._last, self._worked = now, worked
        self._drawn = self._read = self._cleaned = 0.0

    def _clean(self, phase: str, _about: object) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._clean_started = now
        else:
            self._cleaned += now - self._clean_started

    def _begin_draw(self, _event: object) -> None:
        self._draw_started = time.perf_counter()
        self._read_before = self._read

    def _end_draw(self, _event: object) -> None:
        # napari slices its layers in the middle of a draw: that is reading.
        read = self._read - self._read_before
        self._drawn += time.perf_counter() - self._draw_started - read


def wait(milliseconds: int) -> None:
    """Let the window live for some time."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def perform(steps: list[Callable[[], object]], interval: int) -> None:
    """Do one step after the other, as a hand on the mouse would."""
    loop, timer, left = QEventLoop(), QTimer(), iter(steps)

    def step() -> None:
        action = next(left, None)
        if action is None:
            timer.stop()
            QTimer.singleShot(100, loop.quit)
        else:
            action()

    timer.timeout.connect(step)
    timer.start(interval)
    loop.exec()


def open_results(folder: Path) -> tuple[napari.Viewer, InspectionDock]:
    """Return a viewer with the layers of a results folder and the inspection dock."""
    sets, problems = read_result_sets(folder)
    if not sets:
        raise SystemExit(f"{folder} holds no results: {'; '.join(problems)}")
    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    place_layers(viewer, result_specs(sets[0]))
    dock = InspectionDock(viewer)
    viewer.window.add_dock_widget(dock, name="Inspect an alignment")
    for layer in viewer.layers:
        layer.visible = layer in dock.pair.layers
    wait(1500)
    viewer.reset_view()
    wait(500)
    return viewer, dock


def forget(viewer: napari.Viewer) -> None:
    """Put the files of the layers out of the system's memory."""
    for layer in find_layers(viewer):
        for path in layer.metadata["exo2micro"].get("paths", ()):
            number = os.open(path, os.O_RDONLY)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(number)


def zooms(viewer: napari.Viewer) -> list[float]:
    """Return zooms from the whole section to four screen pixels a pixel."""
    first = viewer.scene.camera.zoom
    steps = int(np.ceil(np.log2(4.0 / first)))
    return [float(first * 2**k) for k in range(steps)] + [4.0]


def pan_steps(viewer: napari.Viewer, n: int = 60) -> list[Callable[[], object]]:
    """Return steps along a diagonal through the middle, as a hand moves the picture.

    A fortieth of the view each, 30 in a second.
    """
    top, left, bottom, right = seen_window(viewer)
    row, column = (top + bottom) / 2, (left + right) / 2
    high, wide = (bottom - top) / 40, (right - left) / 40
    return [
        lambda k=k: move_camera(viewer, row + (k - n / 2) * high, column + k * wide)
        for k in range(n)
    ]


def zoom_steps(viewer: napari.Viewer, n: int = 60) -> list[Callable[[], object]]:
    """Return steps from the whole section to single pixels and back."""
    low, high = np.log(zooms(viewer)[0]), np.log(4.0)
    way = np.concatenate([np.linspace(low, high, n), np.linspace(high, low, n)])
    row, column = viewer.scene.camera.center[-2:]
    return [lambda z=z: move_camera(viewer, row, column, np.exp(z)) for z in way]


def drag_steps(dock: InspectionDock, n: int = 60) -> list[Callable[[], object]]:
    """Return steps of the curtain's slider from one edge to the other and back."""
    slider = dock.findChild(QSlider, "curtain_position")
    way = np.concatenate([np.linspace(0, 1, n // 2), np.linspace(1, 0, n // 2)])
    return [lambda v=v: slider.setValue(round(v * slider.maximum())) for v in way]


def measure(
    viewer: napari.Viewer, dock: InspectionDock, cold: bool
) -> tuple[bool, dict[str, list[Pause]]]:
    """Print the table; whether no pause was as long as the target, and the pauses."""
    watch = Watch(viewer)
    worst = 0.0
    pauses: dict[str, list[Pause]] = {}
    table = Table(
        "what", "zoom", "longest pause, ms", "busy", "drawing", "reading", "clean-up"
    )

    def run(what: str, zoom: float | None, action: Callable[[], None]) -> None:
        nonlocal worst
        if cold:
            forget(viewer)
        with watch.watching():
            action()
        pause = watch.longest
        worst = max(worst, pause.total - pause.cleaning)
        shown = "all" if zoom is None else f"{zoom:.3g}"
        pauses.setdefault(what, []).append(pause)
        parts = (pause.busy, pause.drawing, pause.reading, pause.cleaning)
        table.add(what, shown, *(f"{one:.0f}" for one in (pause.total, *parts)))

    middle = viewer.scene.camera.center[-2:]
    for zoom in zooms(viewer):
        move_camera(viewer, *middle, zoom)
        wait(300)
        dock.blink.toggle()
        run("blink at 4 Hz", zoom, lambda: wait(2000))
        run("blink and pan", zoom, lambda: perform(pan_steps(viewer), 33))
        dock.blink.stop()
        move_camera(viewer, *middle, zoom)
        wait(200)
        run("pan", zoom, lambda: perform(pan_steps(viewer), 33))
        move_camera(viewer, *middle, zoom)
        dock.curtain.toggle()
        wait(300)
        run("drag the curtain", zoom, lambda: perform(drag_steps(dock), 16))
        run("pan the curtain", zoom, lambda: perform(pan_steps(viewer), 33))
        dock.curtain.stop()
    move_camera(viewer, *middle)
    run("zoom", None, lambda: perform(zoom_steps(viewer), 33))
    dock.findChild(QComboBox, "curtain_kind").setCurrentIndex(2)
    dock.curtain.toggle()
    dock.curtain.fit_squares()
    run("zoom the checkerboard", None, lambda: perform(zoom_steps(viewer), 33))
    dock.curtain.stop()
    print(
        f"\nlongest without clean-up: {worst:.0f} ms, wanted below {TARGET_MS:.0f} ms"
    )
    return worst < TARGET_MS, pauses


def summary(pauses: dict[str, list[Pause]]) -> Table:
    """Return the table over all zooms, without Python's memory clean-up."""
    table = Table("what", "longest pause, by zoom, ms", "of it busy, ms")
    for what, found in pauses.items():
        totals = [pause.total - pause.cleaning for pause in found]
        busy = [pause.busy for pause in found]
        table.add(what, *(f"{min(v):.0f}-{max(v):.0f}" for v in (totals, busy)))
    return table


def main() -> None:
    """Read the command line and measure."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="results of one sample and dye")
    parser.add_argument("--cold", action="store_true", help="read from the disk")
    choice = parser.parse_args()
    viewer, dock = open_results(choice.folder)
    good, pauses = measure(viewer, dock, choice.cold)
    table = summary(pauses)
    if choice.save:
        save("viewer_blink", table)
    dock.close_down()
    viewer.close()
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
