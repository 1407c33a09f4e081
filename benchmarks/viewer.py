"""How fast large images open in a napari window, and what memory they take.

    xvfb-run -a python benchmarks/viewer.py FOLDER --make 25000x30000   # first time
    xvfb-run -a python benchmarks/viewer.py FOLDER

FOLDER has `raw` and `processed` with one pair, Rock / DAPI; `--make` simulates it
(rows x columns, RGB) and runs all stages, which takes minutes and 20 GB of disk for
the size above. Each line is measured in a process of its own, in a window that is
already there: seconds until the picture is drawn, the modules that are imported
included ("first": files dropped from the system's cache before; "again": layers
removed and opened once more), the processor's time of "first", which a busy machine
changes less, the growth of private memory (RssAnon) and of resident memory (which
counts pages of mapped files that the system may drop).
`viewer_blink.py` measures looking around.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPLE, DYE = "Rock", "DAPI"
PLUGIN = "napari-exo2micro"
CASES = {
    "results": "output folder, all layers",
    "checkpoint": "one checkpoint, TIFF",
    "fits": "one checkpoint, FITS",
    "raw": "raw pair",
    "sample": "sample data",
    "workbench": "the workbench",
}


def make(folder: Path, shape: tuple[int, int]) -> None:
    from napari_exo2micro.core.pipeline import SampleDye
    from napari_exo2micro.core.simulate import write_large_pair

    write_large_pair(
        folder / "raw",
        SAMPLE,
        DYE,
        shape,
        channels="rgb",
        seed=3,
        angle_deg=6.0,
        scale=1.02,
        shift=(80.0, -50.0),
    )
    SampleDye(SAMPLE, DYE, folder / "processed", folder / "raw", "tiff").run()


def forget(folder: Path) -> None:
    """Drop the files from the system's cache, where that can be asked for."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def memory() -> tuple[float, float]:
    """Return private and resident memory, MB."""
    values = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "VmRSS"):
            values[name] = int(value.split()[0]) / 1e3
    return values["RssAnon"], values["VmRSS"]


def opener(case: str, folder: Path, viewer: Any) -> Callable[[], object]:
    results = folder / "processed" / SAMPLE / DYE
    if case == "sample":
        return lambda: viewer.open_sample(PLUGIN, "simulated_section")
    if case == "workbench":
        title = "Exo2Micro workbench"
        return lambda: viewer.window.add_plugin_dock_widget(PLUGIN, title)
    paths = {
        "results": results,
        "checkpoint": results / "tiff" / "03_interior_aligned_pre.tiff",
        "fits": results / "fits" / "04_difference_difference.fits",
        "raw": folder / "raw" / SAMPLE / f"{SAMPLE}_PostStain_{DYE}.tif",
    }
    return lambda: viewer.open(paths[case], plugin=PLUGIN)


def run_case(case: str, folder: Path) -> dict[str, float]:
    import napari
    import numpy as np
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    viewer.add_image(np.eye(9))  # what napari does for its first image is not ours
    QApplication.processEvents()
    viewer.layers.clear()
    QApplication.processEvents()

    def draw() -> None:
        QApplication.processEvents()
        viewer.screenshot(canvas_only=True, flash=False)

    draw()
    open_it = opener(case, folder, viewer)
    forget(folder)
    found: dict[str, float] = {}
    private, resident = memory()
    start, busy = time.perf_counter(), time.process_time()
    open_it()
    draw()
    found["first"] = time.perf_counter() - start
    found["busy"] = time.process_time() - busy
    after = memory()
    found["private"], found["resident"] = after[0] - private, after[1] - resident
    if case != "workbench":
        viewer.layers.clear()
        start = time.perf_counter()
        open_it()
        draw()
        found["again"] = time.perf_counter() - start
    viewer.close()
    return found


def main() -> None:
    """Read the command line and measure."""
    from tables import Table, parser_of, save  # not in the time of the first case

    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make", metavar="ROWSxCOLUMNS", help="make the pair first")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_case(options.case, options.folder)))
        return
    if options.make:
        rows, columns = (int(side) for side in options.make.split("x"))
        make(options.folder, (rows, columns))
    table = Table(
        "opened", "first", "of which computing", "again", "private", "resident"
    )
    for case, title in CASES.items():
        command = [sys.executable, __file__, str(options.folder), "--case", case]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines:
            table.add(title, "failed", "", "", "", "")
            print(done.stderr.strip()[-200:])
            continue
        found = json.loads(lines[-1])
        again = f"{found['again']:.2f} s" if "again" in found else "-"
        table.add(
            title,
            f"{found['first']:.2f} s",
            f"{found['busy']:.2f} s",
            again,
            f"{found['private']:.0f} MB",
            f"{found['resident']:.0f} MB",
        )
    if options.save:
        save("viewer", table)


if __name__ == "__main__":
    main()
