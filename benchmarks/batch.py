"""Batches: speed with several workers, cost of an executor, growth of memory.

    python benchmarks/batch.py                        # eight 5000 x 6000 pairs
    python benchmarks/batch.py 2400x2800 --workers 2
    python benchmarks/batch.py --overhead 10          # what executors cost

The same eight pairs are run one after the other in this process, by worker processes,
by a new process for each task, and by dask's workers, each into a folder of its own.
The table shows the wall time, how much faster than one after the other, what the
executor costs for each task (worker time beyond the tasks' own, start included), and
how much private memory grew from the second task to the last one where one process
runs all. "Cores busy" is processor time by the clock: what one task keeps busy by
itself when they run one after the other, two workers on two cores cannot gain. Pairs
and results are removed afterwards.

With `--overhead` each of the eight tasks sleeps for some seconds instead of working:
what the batch takes beyond the tasks' own time is the executor's, its start included.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import waiting
from tables import Table, parser_of, save

from napari_exo2micro.core.batch import run_batch, summarise_batch
from napari_exo2micro.core.simulate import write_large_pair

N_TASKS = 8
KINDS: dict[str, Any] = {
    "serial": False,
    "workers": True,
    "dask": "dask",
}


def make_pairs(folder: Path, shape: tuple[int, int]) -> None:
    """Make one pair and link it under the names of eight samples."""
    paths = write_large_pair(
        folder,
        "S0",
        "DAPI",
        shape,
        channels="rgb",
        seed=3,
        angle_deg=6.0,
        scale=1.02,
        shift=(80.0, -50.0),
    )[:2]
    for number in range(1, N_TASKS):
        sample = folder / f"S{number}"
        sample.mkdir()
        for path in paths:
            os.link(path, sample / path.name.replace("S0", sample.name))


def measure(kind: str, folder: Path, workers: int) -> tuple[float, list[str]]:
    """Run the batch in one way; seconds, and the rest of a row of the table."""
    out = folder / f"out-{kind}"
    start, busy = time.perf_counter(), processor_time()
    results = run_batch(
        parallel=KINDS[kind],
        n_workers=workers,
        raw_dir=folder / "raw",
        output_dir=out,
        checkpoint_format="tiff",
        memory_debug=True,
    )
    seconds = time.perf_counter() - start
    cores = (processor_time() - busy) / seconds
    shutil.rmtree(out)
    at_once = 1 if kind == "serial" else workers
    own = sum(result["seconds"] for result in results)
    cost = (seconds * at_once - own) / len(results)
    grown = ""
    if kind == "serial":
        after = [result["memory"]["after"] for result in results]
        grown = f"{(after[-1] - after[1]) / 1e6:+.0f} MB"
    words = summarise_batch(results).sentence()
    # processes of these two are not children of this one and are not counted
    cells = [f"{own / len(results):.1f}", f"{cost:.3f}"]
    cells += ["" if kind == "dask" else f"{cores:.2f}", grown, words]
    return seconds, cells


def processor_time() -> float:
    """Return the seconds that this process and those that ended have computed."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, who))


def overhead(seconds: float, folder: Path, kinds: list[str], workers: int) -> Table:
    """Print what each executor adds to tasks of some seconds."""
    os.environ[waiting.SECONDS] = str(seconds)
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [here, os.environ.get("PYTHONPATH")])
    )
    raw = folder / "raw"
    raw.mkdir()
    table = Table(
        "way", "seconds", "a task, s", "executor, s a task", "share", "result"
    )
    for kind in kinds:
        at_once = 1 if kind == "serial" else workers
        start = time.perf_counter()
        results = run_batch(
            [f"S{number}" for number in range(N_TASKS)],
            ["DAPI"],
            parallel=KINDS[kind],
            n_workers=workers,
            raw_dir=raw,
            output_dir=folder / f"out-{kind}",
            params={"pad": 8},
            to_stage=1,
            checkpoint_format="tiff",
            loader=waiting.load,
        )
        whole = time.perf_counter() - start
        own = sum(result["seconds"] for result in results)
        cost = (whole * at_once - own) / N_TASKS
        cells = (f"{whole:.2f}", f"{own / N_TASKS:.2f}", f"{cost:.3f}")
        words = summarise_batch(results).sentence()
        table.add(kind, *cells, f"{100 * cost / seconds:.1f} %", words)
    return table


def main() -> int:
    """Measure every way that was asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("size", nargs="?", default="5000x6000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--overhead", type=float, metavar="SECONDS")
    arguments = parser.parse_args()
    rows, columns = (int(part) for part in arguments.size.split("x"))
    folder = Path(tempfile.mkdtemp(prefix="exo2micro-"))
    first: float | None = None
    try:
        if arguments.overhead:
            kinds, workers = arguments.kinds, arguments.workers
            found = overhead(arguments.overhead, folder, kinds, workers)
            if arguments.save:
                told = f"{N_TASKS} tasks of {arguments.overhead:g} s, {workers} workers"
                save("overhead", found, f"{told}; the share is that of a task.")
            return 0
        make_pairs(folder / "raw", (rows, columns))
        print(f"{N_TASKS} pairs of {rows} x {columns}, {arguments.workers} workers")
        table = Table(
            "way",
            "seconds",
            "times faster",
            "a task, s",
            "cost of starting one, s",
            "cores busy",
            "memory grew",
            "result",
        )
        for kind in arguments.kinds:
            seconds, cells = measure(kind, folder, arguments.workers)
            first = first or seconds
            table.add(kind, f"{seconds:.1f}", f"{first / seconds:.2f}", *cells)
        if arguments.save:
            save(
                "batch",
                table,
                f"{N_TASKS} pairs of {rows} x {columns}, {arguments.workers} workers.",
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
