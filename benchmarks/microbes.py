"""Which microbes stage 5 finds, against the truth of simulated pairs.

    python benchmarks/microbes.py                    # 14 kinds of pairs
    python benchmarks/microbes.py --part 2/7
    python benchmarks/microbes.py --blank            # the same without microbes
    python benchmarks/microbes.py --seed 31 --save   # and keeps the table in results

The pairs are 1600 x 1800 px with 560 microbes, 500 photons full scale unless their name
says otherwise. 'C90' is the completeness at 90 % purity, candidates ordered by S/N and
those that are not counted left out; 'bound' the same of the matched filter on post less
its own image without microbes and noise, which no method can pass by much. 'count' is
what the run says, with its 95 % interval; 'real' how many of the candidates that it
counts are microbes; 'all' how many microbes are brighter than the flux that the count
is for, 'found' which part of them the run says are found and which part is; 'S/N 7.5'
which part is counted of the microbes that this ideal filter sees with an S/N of 7.5
and more. With `--blank` all that is counted is false.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table as Catalogue
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from tables import Table, parser_of, save

from napari_exo2micro.core.base import DataWarning
from napari_exo2micro.core.detection import (
    REFUSED,
    find_peaks,
    fit_significance,
    merge_peaks,
)
from napari_exo2micro.core.photometry import known_pixels
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.pipeline.difference import find_aligned_pair
from napari_exo2micro.core.simulate import simulate_section, write_pair

SHAPE = (1600, 1800)
PAD = 40
LOWEST = 4.0
TEST = 2000
CLEAR = 7.5
PLAIN: dict[str, Any] = {
    "photons": 500.0,
    "noise": 0.5,
    "microbes": 560,
    "angle_deg": 3.0,
    "scale": 1.02,
    "shift": (20.0, -14.0),
    "gain": 1.2,
    "tile_px": 700,
}
FOCUS = {"defocus": 1.5, "astigmatism": 1.3}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "100 photons": {"photons": 100.0},
    "post defocused by 1.5 px": {**FOCUS, "defocus_image": "post"},
    "pre defocused by 1.5 px": {**FOCUS, "defocus_image": "pre"},
    "seams of 2 px": {"seam_px": 2.0},
    "deformation of 2 px": {"deformation_px": 2.0},
    "minerals 10 %": {"mineral_ratio": 0.1},
    "minerals 25 %": {"mineral_ratio": 0.25},
    "stain 20 %": {"mineral_stain": 0.2},
    "hot pixels and dust": {"hot_pixels": 400, "dust": 20},
    "light 20 % by tile": {"tile_light": 0.2},
    "mild mixture": {
        **{"photons": 200.0, "deformation_px": 1.0, "mineral_ratio": 0.06},
        **{"tile_light": 0.05, "defocus": 0.6, "defocus_image": "post"},
        **{"hot_pixels": 100, "dust": 5},
    },
    "middle mixture": {
        **{"seam_px": 1.5, "mineral_ratio": 0.12, "mineral_stain": 0.1},
        **{"defocus": 1.2, "defocus_image": "post", "hot_pixels": 200},
    },
    "strong mixture": {
        **{"photons": 200.0, "deformation_px": 3.0, "seam_px": 2.0},
        **{"mineral_ratio": 0.2, "mineral_stain": 0.2, "defocus": 1.5},
        **{"defocus_image": "post", "hot_pixels": 400, "dust": 20},
    },
}


def matched(
    x: NDArray[Any], y: NDArray[Any], truth: NDArray[np.void]
) -> NDArray[np.intp]:
    """Return which microbe each place is that of, each once, in their order; or -1."""
    found = np.full(len(x), -1)
    if not len(truth):
        return found
    taken = np.zeros(len(truth), bool)
    tree = cKDTree(np.column_stack([truth["x"], truth["y"]]))
    for n, place in enumerate(zip(x, y, strict=True)):
        near = [m for m in tree.query_ball_point(place, 12.0) if not taken[m]]
        if not near:
            continue
        off = [
            np.hypot(*(np.array(place) - (truth["x"][m], truth["y"][m]))) for m in near
        ]
        best = near[int(np.argmin(off))]
        if min(off) < 4.0 + 0.8 * truth["radius"][best]:
            found[n], taken[best] = best, True
    return found


def is_microbe(
    x: NDArray[Any], y: NDArray[Any], truth: NDArray[np.void]
) -> NDArray[np.bool_]:
    """Return which places are those of microbes, each microbe once, in their order."""
    return np.asarray(matched(x, y, truth) >= 0)


def completeness_at_90(real: NDArray[np.bool_], number: int) -> float:
    """Return the largest part of the microbes above any S/N with 90 % purity."""
    hits = np.cumsum(real)
    pure = hits >= 0.9 * np.arange(1, len(real) + 1)
    return float(hits[pure].max(initial=0) / number)


def ordered(table: Catalogue) -> Catalogue:
    """Return candidates from the highest S/N down, those that are refused left out."""
    kept = table[(np.asarray(table["flags"]) & int(REFUSED)) == 0]
    return kept[np.argsort(-np.asarray(kept["snr_own"]), kind="stable")]


def bound(
    task: SampleDye, settings: dict[str, Any], truth: NDArray[np.void]
) -> tuple[float, NDArray[np.float32]]:
    """Return what a matched filter finds where all but microbes and noise is known.

    And the S/N of each microbe there, 0 outside of what is searched.
    """
    clean = simulate_section(
        SHAPE, **{**settings, "microbes": 0, "photons": None, "noise": 0.0}
    )
    pair = find_aligned_pair(task.store)
    post = np.asarray(pair.post.image[:, :])
    known = known_pixels(post.shape, pair.post.frames["post"], pair.quad)
    left = post.astype(np.float32) - np.pad(clean.post.astype(np.float32), PAD)
    ideal = fit_significance(post, left, known=known)
    snr = ideal.window((slice(0, post.shape[0]), slice(0, post.shape[1])))
    snr = np.where(task.checkpoint(5, "snr").image[:, :] != 0, snr, 0)
    peaks = merge_peaks(find_peaks(snr.astype(np.float32), LOWEST, halo=0))
    peaks = peaks[np.argsort(-peaks["snr"], kind="stable")]
    real = is_microbe(peaks["x"] - PAD, peaks["y"] - PAD, truth)
    row, column = (
        np.clip(np.rint(truth[axis]).astype(int) + PAD, 0, length - 1)
        for axis, length in zip("yx", post.shape, strict=True)
    )
    near = ndimage.maximum_filter(snr, 5)[row, column]
    return completeness_at_90(real, len(truth)), near


def measure(name: str, seed: int, folder: Path, table: Table, *, blank: bool) -> None:
    """Add the row of a pair."""
    settings = {**PLAIN, **KINDS[name], "seed": seed}
    if blank:
        settings["microbes"] = 0
    pair = simulate_section(SHAPE, **settings)
    write_pair(pair, folder / "raw", "S", "Dye")
    task = SampleDye("S", "Dye", folder / "out", folder / "raw", "tiff")
    task.set_params(pad=PAD, test_microbes=0 if blank else TEST)
    task.run()
    found, truth = task.microbes(), pair.truth.microbes
    counted = found.table[found.table["counted"]]
    counted = counted[np.argsort(-np.asarray(counted["flux"]))]
    which = matched(counted["x"], counted["y"], truth)
    real = which >= 0
    cells = [
        name,
        str(found.counted),
        f"{found.threshold:.1f}",
        f"{len(counted)}",
        f"{int(real.sum())}",
    ]
    if not blank:
        above = truth["flux"] > (found.brighter_than or 0.0)
        hit = np.isin(np.flatnonzero(above), which)
        cells += [
            f"{np.count_nonzero(above)}",
            f"{found.completeness:.2f}, {hit.mean():.2f}",
            f"{100 * (found.recovery.flux_bias if found.recovery else 0):+.1f} %",
        ]
        task.set_params(snr_min=LOWEST, test_microbes=0)
        task.run()
        low = ordered(task.microbes().table)
        best = completeness_at_90(is_microbe(low["x"], low["y"], truth), len(truth))
        most, snr = bound(task, settings, truth)
        clear = np.isin(np.flatnonzero(snr >= CLEAR), which)
        cells += [f"{best:.2f}", f"{most:.2f}", f"{clear.mean():.2f}"]
    table.add(*cells)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--part", default="1/1", help="which of so many parts")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--blank", action="store_true", help="without microbes")
    asked = parser.parse_args()
    part, parts = map(int, asked.part.split("/"))
    heads = ["pair", "count", "S/N from", "counted", "real"]
    more = ["all", "found: said, true", "flux bias", "C90", "bound", "S/N 7.5"]
    table = Table(*heads, *([] if asked.blank else more))
    warnings.simplefilter("ignore", DataWarning)
    for name in list(KINDS)[part - 1 :: parts]:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, asked.seed, Path(folder), table, blank=asked.blank)
    if asked.save:
        note = f"One pair of each kind, seed {asked.seed}."
        if asked.blank:
            save("microbes_blank", table, note)
        else:
            save("microbes", table, note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
