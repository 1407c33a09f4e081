"""How long it takes to look into large folders.

    python benchmarks/folders.py
    python benchmarks/folders.py --scale 0.1

Three folders are made of small or empty files: a raw folder of 1000 samples with five
pairs each, an output folder of 5000 results, and a folder of one sample and dye that
holds 5000 checkpoints with settings of their own. Each row looks into one of them in
the way that a person does: with the command line's `diagnose`, in a script, or by
dropping it on napari. It is the second look, so that names and headers are in the
system's cache. `--scale` makes fewer files.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from tables import Table, parser_of, save

from napari_exo2micro.cli import run as verbs
from napari_exo2micro.core.images.io import write_raster
from napari_exo2micro.core.parameters import build_suffix, default_params
from napari_exo2micro.core.raw import discover_tasks, find_pairs
from napari_exo2micro.core.store import find_result_folders, read_result_sets
from napari_exo2micro.core.store.provenance import Provenance
from napari_exo2micro.plugin.files.reader import get_reader

_DYES = ("DAPI", "SybrGld", "SybrGreen", "Syto9", "TxRed")


def make_raw(folder: Path, samples: int) -> int:
    """Make a raw folder of empty files and return how many there are."""
    for number in range(samples):
        sample = folder / f"CD{number:04d}"
        sample.mkdir(parents=True)
        for dye in _DYES:
            for stain in ("Pre", "Post"):
                (sample / f"{sample.name}_{stain}Stain_{dye}.tif").touch()
    return samples * len(_DYES) * 2


def make_output(folder: Path, results: int) -> int:
    """Make an output folder of empty checkpoints, one for each sample and dye."""
    for number in range(results):
        sample, dye = divmod(number, len(_DYES))
        place = folder / f"CD{sample:04d}" / _DYES[dye] / "tiff"
        place.mkdir(parents=True)
        (place / "01_padded_post.tiff").touch()
    return results


def make_results(folder: Path, checkpoints: int) -> int:
    """Make checkpoints of stage 2, all with settings of their own."""
    (folder / "tiff").mkdir(parents=True)
    pixels = np.ones((8, 8), np.uint8)
    for number in range(checkpoints):
        changed = {"boundary_width": number % 200 + 1, "pad": number // 200 + 1}
        values = default_params() | changed
        header = Provenance("CD0001", "DAPI", 2, "pre", values, "").to_header()
        path = folder / "tiff" / f"02_icp_aligned_pre{build_suffix(changed)}.tiff"
        write_raster([path], (8, 8), np.uint8, [(0, pixels)], header=header)
    return checkpoints


def seconds(look: Callable[[], object]) -> float:
    """Return how long it takes with a warm cache."""
    look()
    start = time.perf_counter()
    look()
    return time.perf_counter() - start


def silent_diagnose(folder: Path) -> None:
    """Run the command line's verb without showing what it prints."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        verbs.diagnose(raw_dir=folder)


def main() -> None:
    """Make the folders, look into them, and print the times."""
    parser = parser_of(__doc__ or "")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the files")
    arguments = parser.parse_args()

    def share(count: int) -> int:
        return max(int(count * arguments.scale), 1)

    table = Table("folder", "looked into by", "time, s")
    with tempfile.TemporaryDirectory() as place:
        raw, output, own = (Path(place, name) for name in ("raw", "out", "S/DAPI"))
        files = f"raw folder, {make_raw(raw, share(1000))} files"
        results = f"output folder, {make_output(output, share(5000))} results"
        stored = f"one sample and dye, {make_results(own, share(5000))} checkpoints"
        rows: list[tuple[str, str, Callable[[], Any]]] = [
            (files, "`discover_tasks`", lambda: discover_tasks(raw_dir=raw)),
            (files, "`exo2micro diagnose`", lambda: silent_diagnose(raw)),
            (files, "`find_pairs`", lambda: find_pairs(raw)),
            (files, "napari's reader", lambda: get_reader(raw)),
            (results, "`find_result_folders`", lambda: find_result_folders(output)),
            (results, "napari's reader", lambda: get_reader(output)),
            (stored, "`read_result_sets`", lambda: read_result_sets(own)),
            (stored, "napari's reader", lambda: get_reader(own)),
        ]
        for folder, what, look in rows:
            table.add(folder, what, f"{seconds(look):.2f}")
    if arguments.save:
        save("folders", table)


if __name__ == "__main__":
    main()
