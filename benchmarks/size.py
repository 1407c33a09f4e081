"""Time and memory of a whole run on large pairs, as the command line runs it.

    python benchmarks/size.py 5000x6000
    python benchmarks/size.py 5000x6000 30000x25000 --bend 4

Sizes are rows x columns or columns x rows alike; the pair is RGB, `pad` 2000,
checkpoints are TIFF, all stages and plots run. With `--bend` one section is bent by
so many px at most, which stage 3 follows with its local model. The run gets at most
4 GB of private memory (RLIMIT_DATA, what `ulimit -d` sets). The table shows the wall
time, the processor's time of all threads, the peak resident memory (which counts
pages of mapped files that the system may drop), and the peak of private memory.
Pairs and results are removed afterwards.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tables import Table, parser_of, save

from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import (
    read_truth,
    registration_error,
    write_large_pair,
)

PAD = 2000
LIMIT = 4 * 2**30
SETTINGS = {"seed": 3, "angle_deg": 6.0, "scale": 1.02, "shift": (80.0, -50.0)}


def private_memory(pid: int) -> int:
    """Return the private resident memory of a process in bytes, 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    values = [line.split() for line in lines if line.startswith("RssAnon")]
    return int(values[0][1]) * 1024 if values else 0


class Spent(NamedTuple):
    """What a run took: seconds by the clock and of the processor, peaks of GB."""

    wall: float
    processor: float
    resident: float
    private: float


def processor_time() -> float:
    """Return the seconds that processes which have ended have kept processors busy."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_limited(command: list[str]) -> tuple[Spent, str]:
    """Run a command under the limit; what it took, and its output."""
    start, busy = time.perf_counter(), processor_time()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
    )
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, private_memory(process.pid))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    seconds, busy = time.perf_counter() - start, processor_time() - busy
    resident = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return Spent(seconds, busy, resident / 1e9, peak / 1e9), output


def measure(shape: tuple[int, int], bend: float, folder: Path) -> list[str]:
    """Make a pair, run it, say how well it went and return a row of the table."""
    start = time.perf_counter()
    settings = {**SETTINGS, "deformation_px": bend}
    truth_path = write_large_pair(
        folder / "raw", "Rock", "DAPI", shape, channels="rgb", **settings
    )[2]
    made = time.perf_counter() - start
    command = [
        *(sys.executable, "-m", "napari_exo2micro", "run", "Rock", "DAPI"),
        *("--raw-dir", str(folder / "raw"), "--output-dir", str(folder / "out")),
        *("--checkpoint-format", "tiff", "--pad", str(PAD), "--json"),
    ]
    spent, output = run_limited(command)
    try:
        result = json.loads(output)
        task = SampleDye("Rock", "DAPI", folder / "out", folder / "raw", "tiff")
        task.set_params(pad=PAD)
        found = task.transform(3)
        truth = read_truth(truth_path)
        error = np.median(registration_error(truth, found, PAD))
        words = (
            f"{error:.3f} px, scale {result['scale_estimate'] / truth.gain - 1:+.2%}"
        )
        words += f", {result['status'][:60]}"
    except (ValueError, KeyError, OSError) as problem:
        words = f"failed: {problem!r} {output[-200:]}"
    megapixels = shape[0] * shape[1] / 1e6
    size = f"{shape[0]} x {shape[1]}"
    if bend:
        size += f", bent by {bend:g} px"
    print(f"{size}: {words} (pair made in {made:.0f} s)", flush=True)
    return [
        size,
        f"{spent.wall:.1f} s",
        f"{spent.processor:.1f} s",
        f"{spent.wall / megapixels:.3f} s",
        f"{spent.resident:.2f} GB",
        f"{spent.private:.2f} GB",
    ]


def main() -> int:
    """Measure the sizes that were asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("sizes", nargs="*", default=["5000x6000"])
    parser.add_argument("--bend", type=float, default=0.0, help="px at most")
    parser.add_argument("--folder", help="where the pairs are made; must not exist")
    arguments = parser.parse_args()
    found = []
    for size in arguments.sizes:
        rows, columns = (int(part) for part in size.split("x"))
        folder = Path(arguments.folder or tempfile.mkdtemp(prefix="exo2micro-"))
        try:
            found.append(measure((rows, columns), arguments.bend, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    head = ("pair", "time", "processor", "a megapixel", "peak resident", "private")
    table = Table(*head)
    for cells in found:
        table.add(*cells)
    if arguments.save:
        save("size", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
