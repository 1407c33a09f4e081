"""Time and memory of a whole run on large pairs, as the command line runs it.

    python benchmarks/size.py 5000x6000                 # 12 s, 1.5 GB
    python benchmarks/size.py 5000x6000 30000x25000     # and 3 minutes in 4 GB

Sizes are rows x columns or columns x rows alike; the pair is RGB, `pad` 2000,
checkpoints are TIFF, all stages and plots run. The run gets at most 4 GB of private
memory (RLIMIT_DATA, what `ulimit -d` sets). The table shows the wall time, the peak
resident memory (which counts pages of mapped files that the system may drop), and
the peak of private memory. Pairs and results are removed afterwards.
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

import numpy as np
from tables import Table, parser_of, save

from napari_exo2micro.core.images import Transform
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


def run_limited(command: list[str]) -> tuple[float, float, float, str]:
    """Run a command under the limit; seconds, peak and private peak GB, output."""
    start = time.perf_counter()
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
    seconds = time.perf_counter() - start
    resident = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return seconds, resident / 1e9, peak / 1e9, output


def measure(shape: tuple[int, int], folder: Path) -> list[str]:
    """Make a pair, run it, say how well it went and return a row of the table."""
    start = time.perf_counter()
    truth_path = write_large_pair(
        folder / "raw", "Rock", "DAPI", shape, channels="rgb", **SETTINGS
    )[2]
    made = time.perf_counter() - start
    command = [
        *(sys.executable, "-m", "napari_exo2micro", "run", "Rock", "DAPI"),
        *("--raw-dir", str(folder / "raw"), "--output-dir", str(folder / "out")),
        *("--checkpoint-format", "tiff", "--pad", str(PAD), "--json"),
    ]
    seconds, resident, private, output = run_limited(command)
    try:
        result = json.loads(output)
        found = Transform.load(transform_file(folder))
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
    print(f"{size}: {words} (pair made in {made:.0f} s)", flush=True)
    return [
        size,
        f"{seconds:.1f} s",
        f"{seconds / megapixels:.3f} s",
        f"{resident:.2f} GB",
        f"{private:.2f} GB",
    ]


def transform_file(folder: Path) -> Path:
    """Write the transform of stage 3 from its checkpoint and return the path."""
    from napari_exo2micro.core.images import open_raster

    path = next((folder / "out").rglob("03_interior_aligned_pre*.tiff"))
    Transform.from_dict(open_raster(path).header["transform"]).save(folder / "t.json")
    return folder / "t.json"


def main() -> int:
    """Measure the sizes that were asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("sizes", nargs="*", default=["5000x6000"])
    parser.add_argument("--folder", help="where the pairs are made; must not exist")
    arguments = parser.parse_args()
    found = []
    for size in arguments.sizes:
        rows, columns = (int(part) for part in size.split("x"))
        folder = Path(arguments.folder or tempfile.mkdtemp(prefix="exo2micro-"))
        try:
            found.append(measure((rows, columns), folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    table = Table("pair", "time", "a megapixel", "peak resident", "of which private")
    for cells in found:
        table.add(*cells)
    if arguments.save:
        save("size", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
