"""The simulated pairs on which accuracy is measured, each with a fixed seed.

`documented_range_pairs` covers the range of turn, magnification and shift that
the search of stage 2 is documented for; `difficult_pairs` has one difficulty in
each pair; `deformed_pairs` are bent, so that no projective map can be right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_exo2micro.core.simulate import SimulatedPair, simulate_section

__all__ = [
    "PairSpec",
    "deformed_pairs",
    "difficult_pairs",
    "documented_range_pairs",
]

SHAPE = (2400, 2800)


@dataclass(frozen=True)
class PairSpec:
    """One pair to simulate.

    Attributes
    ----------
    name : str
        Unique among all pairs: its family and a number.
    family : str
        The difficulty, or 'range'.
    kwargs : mapping
        Keyword arguments of `simulate_section`, seed included.
    shape : tuple of int
        Rows and columns, px.
    """

    name: str
    family: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, int] = SHAPE

    def make(self) -> SimulatedPair:
        """Simulate the pair."""
        return simulate_section(self.shape, **self.kwargs)


def documented_range_pairs() -> list[PairSpec]:
    """Return 24 pairs: +-20 deg, 0.85-1.15, shift to 170 px, gain 0.7-1.6."""
    rng = np.random.default_rng(20_240_001)
    specs = []
    for number in range(24):
        shift_x, shift_y = _shift(rng, 0.0, 170.0)
        kwargs = {
            "seed": 1000 + number,
            "angle_deg": _rounded(rng.uniform(-20.0, 20.0)),
            "scale": _rounded(rng.uniform(0.85, 1.15)),
            "shift": (shift_x, shift_y),
            "gain": _rounded(rng.uniform(0.7, 1.6)),
        }
        specs.append(PairSpec(f"range-{number + 1:02d}", "range", kwargs))
    return specs


def difficult_pairs() -> list[PairSpec]:
    """Return 40 pairs, each with one difficulty and a small move."""
    rng = np.random.default_rng(20_240_002)
    specs = []
    counts: dict[str, int] = {}
    for number, (family, difficulty) in enumerate(_difficulties()):
        counts[family] = counts.get(family, 0) + 1
        kwargs = {**_small_move(rng), "seed": 2000 + number, **difficulty}
        specs.append(PairSpec(f"{family}-{counts[family]}", family, kwargs))
    return specs


def deformed_pairs() -> list[PairSpec]:
    """Return 6 pairs with a smooth deformation of 2 to 5 px at its longest."""
    rng = np.random.default_rng(20_240_003)
    specs = []
    for number, peak in enumerate((2.0, 2.5, 3.0, 3.5, 4.0, 5.0)):
        kwargs = {**_small_move(rng), "seed": 3000 + number, "deformation_px": peak}
        specs.append(PairSpec(f"deformed-{number + 1}", "deformed", kwargs))
    return specs


def _difficulties() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the 40 difficulties: a family and what makes it difficult."""
    for angle in (47.0, 101.5, 178.0, -73.0):
        yield "turned", {"angle_deg": angle}
    for angle in (4.0, -7.0, 131.0):
        yield "mirrored", {"mirrored": True, "angle_deg": angle}
    for image in ("pre", "post", "pre"):
        yield "piece missing", {"piece_missing": image}
    for move in ((900.0, -250.0), (-850.0, 300.0), (200.0, 700.0)):
        yield "other field of view", {"field_of_view": move}
    for _ in range(3):
        yield "frame-filling", {"frame_filling": True}
    for _ in range(3):
        yield "dim", {"dim": True}
    for _ in range(3):
        yield "dense microbes", {"dense": True}
    for _ in range(3):
        yield "16-bit", {"dtype": "uint16"}
    for sigma, image in ((1.5, "pre"), (2.5, "pre"), (2.0, "post")):
        yield "defocus", {"defocus": sigma, "defocus_image": image}
    for strength in (0.25, 0.35, 0.45):
        yield "uneven light", {"uneven_light": strength, "gain": 1.1}
    for peak in (20.0, 35.0, 50.0):
        yield "glow", {"glow": peak, "gain": 1.2}
    for strength in (0.01, 0.025):
        yield "perspective", {"perspective": strength}
    for _ in range(2):
        yield "zoom 0.75", {"scale": 0.75}
    for _ in range(2):
        yield "zoom 1.3", {"scale": 1.3}


def _small_move(rng: np.random.Generator) -> dict[str, Any]:
    """Return a turn within 8 deg, 5 % of magnification and 60 px of shift."""
    return {
        "angle_deg": _rounded(rng.uniform(-8.0, 8.0)),
        "scale": _rounded(rng.uniform(0.95, 1.05)),
        "shift": _shift(rng, 0.0, 60.0),
        "gain": _rounded(rng.uniform(0.75, 1.5)),
    }


def _shift(
    rng: np.random.Generator, shortest: float, longest: float
) -> tuple[float, float]:
    """Return a shift (x, y), px, in any direction."""
    length = rng.uniform(shortest, longest)
    heading = rng.uniform(0.0, 2.0 * np.pi)
    return _rounded(length * np.cos(heading)), _rounded(length * np.sin(heading))


def _rounded(value: float) -> float:
    return round(float(value), 4)
