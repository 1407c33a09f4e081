"""Scans that lack a part: that is no signal, and all else is as without it.

    python benchmarks/missing.py                  # tiles, half a section, debris
    python benchmarks/missing.py tiles --seeds 4  # tiles only, four pairs a row
    python benchmarks/missing.py --save           # and keeps the table in results

Pairs with known truth (900 x 1000 px, 100 microbes) go through the whole pipeline,
8 and 16 bit in turn, with a background of glass and of exact zeros in turn. What is
missing is set to 0: tiles of 100 px anywhere, inside, at the rim, at the frame; a part
of the section from one side, in tiles or along a diagonal. Debris is 120 saturated
fragments, elsewhere in each image. It exits with 1 when a `complete` run misses the
target of its scale: 0.5 % with tiles missing, else 1 %.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from tables import Table, parser_of, save

from napari_exo2micro.core.base import DataWarning, Exo2MicroError
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import (
    SimulatedPair,
    registration_error,
    simulate_section,
)

SHAPE = (900, 1000)
PAD = 100
GAIN = 1.2
TILE = 100
FRAGMENTS = 120

Image = NDArray[Any]
Mask = NDArray[np.bool_]

COLUMNS = (
    "what is missing",
    "in",
    "runs",
    "difference there",
    "scale: median, worst error",
    "registration: median, worst",
    "found, of what is missing",
    "`complete`",
)


@dataclass(frozen=True)
class Case:
    """One row: what to do with an image, to which images, and the scale's target, %."""

    title: str
    change: Callable[[Image, Image, np.random.Generator], Mask | None]
    sides: tuple[str, ...]
    target: float


def tiles(share: float) -> Callable[[Image, Image, np.random.Generator], Mask]:
    """Lose tiles anywhere, a share of the frame."""

    def change(image: Image, _section: Image, rng: np.random.Generator) -> Mask:
        rows, columns = (-(-side // TILE) for side in image.shape)
        number = max(1, round(share * rows * columns))
        grid = np.zeros(rows * columns, bool)
        grid[rng.permutation(rows * columns)[:number]] = True
        return enlarged(grid.reshape(rows, columns), image.shape)

    return change


def enlarged(grid: Mask, shape: tuple[int, ...]) -> Mask:
    """Return a grid of tiles as a mask."""
    mask = grid.repeat(TILE, axis=0).repeat(TILE, axis=1)
    return np.asarray(mask[: shape[0], : shape[1]])


def half(
    kind: str, share: float
) -> Callable[[Image, Image, np.random.Generator], Mask]:
    """Lose a share of the section, cut from one side, in tiles or along a diagonal."""

    def change(image: Image, section: Image, rng: np.random.Generator) -> Mask:
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        if kind == "side":
            order = x.astype(float)
        elif kind == "diagonal":
            order = x + 0.7 * y
        else:
            rows, columns = (-(-side // TILE) for side in image.shape)
            order = np.zeros(image.shape)
            for n in rng.permutation(rows * columns):
                place = np.arange(rows * columns) == n
                mask = enlarged(place.reshape(rows, columns), image.shape)
                order[mask] = rng.random()
        return np.asarray(order < np.quantile(order[section], share))

    return change


def debris(image: Image, _section: Image, rng: np.random.Generator) -> None:
    """Lay saturated fragments on an image."""
    fragments = np.zeros(image.shape, np.uint8)
    for _ in range(FRAGMENTS):
        corners = int(rng.integers(5, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = rng.uniform(4, 25) * rng.uniform(0.5, 1.3, corners)
        middle = rng.uniform((0, 0), image.shape[::-1])
        around = np.column_stack([np.cos(angles), np.sin(angles)])
        points = middle + radius[:, None] * around
        cv2.fillPoly(fragments, [np.rint(points).astype(np.int32)], 1)
    top = np.iinfo(image.dtype).max
    light = 1.3 * top * cv2.GaussianBlur(fragments.astype(np.float32), (0, 0), 1.2)
    image[...] = np.clip(image + light, 0, top)


def cases(family: str) -> Iterator[Case]:
    """Yield the rows of a family."""
    either, both = (("post",), ("pre",)), (("post", "pre"),)
    if family == "tiles":
        for share in (0.01, 0.03, 0.10, 0.30):
            for sides in (*either, *both):
                yield Case(f"{share:.0%} of the tiles", tiles(share), sides, 0.5)
    elif family == "half":
        for kind, words in (
            ("side", "from one side"),
            ("tiles", "in tiles"),
            ("diagonal", "along a diagonal"),
        ):
            for share in (0.5, 0.6, 0.7):
                for sides in either:
                    title = f"{share:.0%} of the section, {words}"
                    yield Case(title, half(kind, share), sides, 1.0)
    else:
        for sides in (*either, *both):
            yield Case(f"nothing; {FRAGMENTS} fragments of debris", debris, sides, 1.0)


FAMILIES = ("tiles", "half", "debris")


@dataclass(frozen=True)
class Run:
    """What one run gave; the scale's error in %, lengths in px."""

    there: float
    scale: float
    error: float
    found: float
    status: str


def without_glass(image: Image, glass: float) -> Image:
    """Return an image whose background is exactly 0, as some programs export it."""
    return np.asarray(np.clip(np.rint(image - glass), 0, None), image.dtype)


def section_of(image: Image) -> Mask:
    """Return about where the section is."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 8)
    return np.asarray(smooth > 4 * np.percentile(smooth, 20))


def moved(pair: SimulatedPair, mask: Mask) -> Mask:
    """Return where the post image shows what is in a mask of the pre image."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    points = pair.truth(np.column_stack([x.ravel(), y.ravel()]))
    columns, rows = np.rint(points).astype(int).T
    inside = (rows >= 0) & (rows < SHAPE[0]) & (columns >= 0) & (columns < SHAPE[1])
    seen = np.zeros(len(points), bool)
    seen[inside] = mask[rows[inside], columns[inside]]
    return seen.reshape(SHAPE)


def measure(case: Case, number: int, folder: Path) -> Run:
    """Run one pair and compare it with its truth."""
    pair = simulate_section(
        SHAPE,
        seed=40 + number,
        angle_deg=-4.0 + 2.0 * (number % 5),
        shift=(25.0, -15.0),
        gain=GAIN,
        dtype=("uint8", "uint16")[number % 2],
        microbes=100,
    )
    images = {"post": pair.post.copy(), "pre": pair.pre.copy()}
    if number // 2 % 2:
        glass = 2.0 * float(np.percentile(pair.pre, 30))
        images = {
            "post": without_glass(pair.post, GAIN * glass),
            "pre": without_glass(pair.pre, glass),
        }
    rng = np.random.default_rng(number)
    lost = np.zeros(SHAPE, bool)
    raw = folder / "raw" / "S"
    raw.mkdir(parents=True)
    missing = signal = 0
    for side, image in images.items():
        if side in case.sides:
            mask = case.change(image, section_of(getattr(pair, side)), rng)
            if mask is not None:
                missing, signal = missing + 1, signal + 1
                image[mask] = 0
                lost |= mask if side == "post" else moved(pair, mask)
        tifffile.imwrite(raw / f"S_{side.capitalize()}Stain_D.tif", image)
    task = SampleDye("S", "D", folder / "processed", folder / "raw", "tiff")
    task.set_params(pad=PAD)
    try:
        result = task.run(progress=False)
    except Exo2MicroError as error:
        return Run(np.inf, np.inf, np.inf, 0.0, f"error: {error}")
    error = float(np.median(registration_error(pair.truth, task.transform(3), PAD)))
    scale = 100 * abs(float(result["scale_estimate"]) / GAIN - 1)
    image = task._load_image(4, "difference")
    assert image is not None
    # where it matters: inside the section, as far as the truth of the map goes
    there = cv2.erode((lost & section_of(pair.post)).astype(np.uint8), np.ones((5, 5)))
    values = np.asarray(image[PAD:-PAD, PAD:-PAD])[there > 0]
    found = float(np.mean(values == 0)) if values.size else 1.0
    largest = float(np.abs(values).max()) if values.size else 0.0
    return Run(largest, scale, error, found, str(result["status"]))


def main() -> int:
    """Measure the families that were asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("families", nargs="*", choices=[*FAMILIES, []], default=[])
    parser.add_argument("--seeds", type=int, default=1, help="pairs for each row")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)
    table, held = Table(*COLUMNS), True
    for family in arguments.families or FAMILIES:
        for row, case in enumerate(cases(family)):
            runs = []
            for seed in range(arguments.seeds):
                number = row * arguments.seeds + seed  # each row has pairs of its own
                with tempfile.TemporaryDirectory() as folder:
                    runs.append(measure(case, number, Path(folder)))
            scales = np.array([run.scale for run in runs])
            errors = np.array([run.error for run in runs])
            complete = [run.status == "complete" for run in runs]
            table.add(
                case.title,
                " and ".join(case.sides),
                str(len(runs)),
                f"{max(run.there for run in runs):g}",
                f"{np.median(scales):.2f} %, {scales.max():.2f} %",
                f"{np.median(errors):.3f} px, {errors.max():.3f} px",
                f"{min(run.found for run in runs):.1%}",
                f"{sum(complete)}",
            )
            for run in runs:
                if run.status != "complete":
                    print(f"    {run.status[:200]}")
            wrong = (scales > case.target) & np.array(complete)
            held &= not wrong.any()
    if arguments.save:
        save(
            "missing",
            table,
            "The largest |difference| where data are missing, grey levels.",
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
