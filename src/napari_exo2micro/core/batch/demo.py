"""The whole way on a simulated section: what came out against what is true."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import spatial

from napari_exo2micro.core.base import Monitor, OutputError, write_json
from napari_exo2micro.core.pipeline import Microbes, RunResult, SampleDye
from napari_exo2micro.core.simulate import SimulatedPair, simulate_section, write_pair
from napari_exo2micro.core.simulate.truth import Truth, registration_error

SAMPLE, DYE = "Demo", "SybrGld"
PAD = 400
TEST_MICROBES = 1000
_MARK = ".exo2micro-demo.json"


@dataclass(frozen=True, slots=True)
class MicrobeCount:
    """Candidates that were counted against the microbes that are there."""

    true: int  # microbes in the simulated section
    found: int  # those with a candidate within their own size
    false: int  # candidates without a microbe
    counted: str = ""  # what the run itself says, with its 95 % interval


@dataclass(frozen=True, slots=True, eq=False)
class DemoResult:
    """What a demonstration came to.

    Attributes
    ----------
    status : str
        Of the run: ``complete`` or ``degraded: ...``.
    seconds : float
        Wall time, simulation included.
    raw_dir, output_dir, pictures_dir : Path
        Where the raw files, the checkpoints and the pictures are.
    true_transform, estimated_transform : mapping
        `angle_deg`, `scale` and `shift` (px, of the image's centre) from post to
        pre.
    error_median_px, error_p95_px : float
        Distance between true and estimated place over the section, px of the
        pre-stain image: median and 95th percentile.
    true_scale, estimated_scale, scale_uncertainty : float
        Brightness of the minerals in post divided by that in pre.
    microbes : MicrobeCount
        What was found of the simulated microbes.
    run : RunResult
        What `SampleDye.run` returned.
    """

    status: str
    seconds: float
    raw_dir: Path
    output_dir: Path
    pictures_dir: Path
    true_transform: Mapping[str, Any]
    estimated_transform: Mapping[str, Any]
    error_median_px: float
    error_p95_px: float
    true_scale: float
    estimated_scale: float
    scale_uncertainty: float | None
    microbes: MicrobeCount
    run: RunResult

    @property
    def scale_error_percent(self) -> float:
        """Estimated against true scale, percent of the true one."""
        return 100.0 * (self.estimated_scale / self.true_scale - 1.0)


def run_demo(
    folder: str | Path = "exo2micro-demo",
    *,
    shape: tuple[int, int] = (1600, 1800),
    seed: int = 1,
    monitor: Monitor | None = None,
) -> DemoResult:
    """Simulate a pair, process it and compare the result with the truth.

    Parameters
    ----------
    folder : str or Path
        Gets ``raw`` and ``processed``. It must be missing, empty or the folder of
        an earlier demonstration.
    shape : tuple of int
        Rows and columns of the simulated images.
    seed : int
        Another number, another section, turn, magnification and shift.
    monitor : Monitor, optional
        Told the progress and asked whether to stop.

    Returns
    -------
    DemoResult
        Truth and estimate side by side.

    Raises
    ------
    OutputError
        When the folder holds something else or cannot be written.
    """
    started = time.monotonic()
    monitor = monitor or Monitor()
    folder = Path(folder)
    _claim(folder, shape, seed)
    monitor.report(0.0, "simulating a section")
    pair = _simulate(shape, seed, monitor.part(0.0, 0.25))
    raw_dir, output_dir = folder / "raw", folder / "processed"
    write_pair(pair, raw_dir, SAMPLE, DYE, channels="rgb")
    task = SampleDye(SAMPLE, DYE, output_dir=output_dir, raw_dir=raw_dir)
    # The simulated section moves by a hundred px at most: a small canvas will do.
    task.set_params(pad=PAD, test_microbes=TEST_MICROBES)
    run = task.run(monitor=monitor.part(0.25, 0.97))
    monitor.report(0.97, "comparing with the truth")
    estimated = task.transform(3)
    errors = registration_error(pair.truth, estimated, PAD)
    centre = np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])
    raw_estimate = estimated.conjugated(scale=1.0, shift=(-float(PAD), -float(PAD)))
    microbes = count_microbes(task.microbes(), pair.truth)
    return DemoResult(
        status=run.status,
        seconds=time.monotonic() - started,
        raw_dir=raw_dir,
        output_dir=output_dir,
        pictures_dir=task.store.output_path("difference_image").parent,
        true_transform=_describe(pair.truth.transform, centre),
        estimated_transform=_describe(raw_estimate, centre),
        error_median_px=float(np.median(errors)),
        error_p95_px=float(np.percentile(errors, 95)),
        true_scale=pair.truth.gain,
        estimated_scale=run.scale.value if run.scale else float("nan"),
        scale_uncertainty=run.scale.uncertainty if run.scale else None,
        microbes=microbes,
        run=run,
    )


def count_microbes(found: Microbes, truth: Truth) -> MicrobeCount:
    """Compare the candidates that were counted with the microbes that are there.

    A microbe is found where a candidate lies within its own size.
    """
    microbes, table = truth.microbes, found.table[found.table["counted"]]
    counted = str(found.counted)
    if len(microbes) == 0 or len(table) == 0:
        return MicrobeCount(len(microbes), 0, len(table), counted)
    places = np.column_stack([table["x"], table["y"]])
    positions = np.column_stack([microbes["x"], microbes["y"]])
    reach = 2.0 * microbes["radius"] * np.sqrt(microbes["elongation"]) + 2.0
    nearest_spot, _ = spatial.cKDTree(places).query(positions)
    distance, owner = spatial.cKDTree(positions).query(places)
    return MicrobeCount(
        true=len(microbes),
        found=int(np.count_nonzero(nearest_spot <= reach)),
        false=int(np.count_nonzero(distance > reach[owner])),
        counted=counted,
    )


def _simulate(shape: tuple[int, int], seed: int, monitor: Monitor) -> SimulatedPair:
    """Return a pair whose movement and gain follow from the seed."""
    random = np.random.default_rng(seed)

    def between(low: float, high: float, digits: int) -> float:
        return round(float(random.uniform(low, high)), digits)

    side = random.choice([-1, 1])
    return simulate_section(
        shape,
        seed=seed,
        angle_deg=float(side * between(5.0, 12.0, 2)),
        scale=between(0.94, 1.06, 4),
        shift=(between(-60.0, 60.0, 1), between(-60.0, 60.0, 1)),
        gain=between(1.1, 1.6, 3),
        monitor=monitor,
    )


def _claim(folder: Path, shape: tuple[int, int], seed: int) -> None:
    """Make the folder and mark it as a demonstration's own."""
    mark = folder / _MARK
    try:
        foreign = folder.exists() and not mark.exists() and any(folder.iterdir())
        if not foreign:
            write_json(mark, {"shape": list(shape), "seed": seed})
    except OSError as error:
        raise OutputError(
            f"{folder}: the demonstration's folder cannot be written ({error}); "
            "choose another one"
        ) from error
    if foreign:
        raise OutputError(
            f"{folder}: holds files that no demonstration wrote; choose a folder "
            "that is empty or does not exist yet"
        )


def _describe(transform: Any, centre: NDArray[np.float64]) -> dict[str, Any]:
    """Return turn, magnification and the movement of the image's centre."""
    parts = transform.decompose()
    moved = (transform(centre) - centre)[0]
    return {
        "angle_deg": float(parts["angle_deg"]),
        "scale": float(np.mean(parts["scale"])),
        "shift": (float(moved[0]), float(moved[1])),
        "matrix": transform.matrix.tolist(),
    }
