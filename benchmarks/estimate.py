"""What a run was estimated to need, against what it took.

    python benchmarks/estimate.py                     # three sizes, two minutes
    python benchmarks/estimate.py 25000x30000         # rows x columns; one more

For each pair the estimate that a batch makes from the headers stands beside the peak
of private memory of a process that runs all stages, and beside the bytes that its
files take on the disk. Each should be right within a factor of 1.5. Pairs and results
are removed afterwards.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from size import private_memory
from tables import Table, parser_of, save

from napari_exo2micro.core.batch import Task
from napari_exo2micro.core.batch.resources import estimate_task
from napari_exo2micro.core.parameters import RunSettings
from napari_exo2micro.core.simulate import write_large_pair

SIZES = ("700x800", "2400x2800", "5000x6000")
KINDS = (
    # pixels, channels, format, pad
    ("uint8", "rgb", "tiff", 2000),
    ("uint16", None, "both", 500),
)
LARGEST_FACTOR = 1.5


def peak_of(command: list[str]) -> int:
    """Run a command and return its peak of private memory, bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, private_memory(process.pid))
            time.sleep(0.03)

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    watcher.join()
    return peak


def on_disk(folder: Path) -> int:
    """Return the bytes that the files of a folder take."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_blocks * 512 for path in files)


def compare(
    table: Table,
    shape: tuple[int, int],
    dtype: str,
    channels: str | None,
    form: str,
    pad: int,
) -> float:
    """Run one pair, add it to the table and return the larger of both factors."""
    folder = Path(tempfile.mkdtemp(prefix="exo2micro-"))
    try:
        write_large_pair(
            folder / "raw",
            "Rock",
            "DAPI",
            shape,
            channels=channels,
            dtype=dtype,
            seed=3,
            angle_deg=6.0,
            scale=1.02,
            shift=(8.0, -5.0),
        )
        task = Task(
            0,
            "Rock",
            "DAPI",
            RunSettings(
                raw_dir=folder / "raw",
                output_dir=folder / "out",
                checkpoint_format=form,
                params={"pad": pad},
            ),
        )
        estimate = estimate_task(task)
        memory = peak_of(
            [
                *(sys.executable, "-m", "napari_exo2micro", "run", "Rock", "DAPI"),
                *("--raw-dir", str(folder / "raw")),
                *("--output-dir", str(folder / "out")),
                *("--checkpoint-format", form, "--pad", str(pad)),
            ]
        )
        disk = on_disk(folder / "out" / "Rock")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    factors = [
        max(a, b) / max(min(a, b), 1)
        for a, b in ((estimate.memory, memory), (estimate.disk, disk))
    ]
    pixels = f"{8 * np.dtype(dtype).itemsize} bit{' RGB' if channels else ''}"
    table.add(
        f"{shape[0]} x {shape[1]}",
        f"{pixels}, {'TIFF' if form == 'tiff' else form}, {pad}",
        f"{estimate.memory / 1e6:.0f}, {memory / 1e6:.0f}",
        f"{factors[0]:.2f}",
        f"{estimate.disk / 1e6:.0f}, {disk / 1e6:.0f}",
        f"{factors[1]:.2f}",
    )
    return max(factors)


def main() -> int:
    """Compare the sizes that were asked for; 1 when one is off by too much."""
    parser = parser_of(__doc__)
    parser.add_argument("sizes", nargs="*", default=SIZES)
    arguments = parser.parse_args()
    table = Table(
        "pair",
        "pixels, files, `pad`",
        "memory: needed, took, MB",
        "factor",
        "disk: needed, took, MB",
        "factor",
    )
    worst = 0.0
    for size in arguments.sizes:
        rows, columns = (int(part) for part in size.split("x"))
        for kind in KINDS:
            worst = max(worst, compare(table, (rows, columns), *kind))
    print(f"off by a factor of {worst:.2f} at most; {LARGEST_FACTOR} is allowed")
    if arguments.save:
        save("estimate", table)
    return int(worst > LARGEST_FACTOR)


if __name__ == "__main__":
    sys.exit(main())
