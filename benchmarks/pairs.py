"""The simulated pairs on which accuracy is measured, each with a fixed seed.

`documented_range_pairs` covers the range of turn, magnification and shift that
the search of stage 2 is documented for; `difficult_pairs` has one difficulty in
each pair; `deformed_pairs` are bent, so that no projective map can be right;
`realistic_pairs` have what real microscopes do, one by one and in mixtures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_exo2micro.core.simulate import SimulatedPair, simulate_section

__all__ = [
    "PairSpec",
    "deformed_pairs",
    "difficult_pairs",
    "documented_range_pairs",
    "realistic_pairs",
    "small_realistic_pairs",
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


def realistic_pairs() -> list[PairSpec]:
    """Return 66 pairs as microscopes take them, then mixtures of three kinds."""
    rng = np.random.default_rng(20_240_004)
    specs = []
    counts: dict[str, int] = {}
    for number, (family, kwargs) in enumerate(_realistic(rng)):
        counts[family] = counts.get(family, 0) + 1
        kwargs = {**_PLAIN, **_small_move(rng), "seed": 4000 + number, **kwargs}
        name = f"real {family}-{counts[family]}"
        specs.append(PairSpec(name, family, kwargs, (2000, 2400)))
    return specs


def small_realistic_pairs() -> list[PairSpec]:
    """Return 12 of the realistic pairs, small ones: for the tests."""
    chosen = [spec for spec in realistic_pairs() if spec.name[5:] in _SMALL]
    return [
        replace(
            spec,
            kwargs={**spec.kwargs, "tile_px": 400, "microbes": 150},
            shape=(1000, 1200),
        )
        for spec in chosen
    ]


#: A good camera: 500 photons full scale, read noise of half a grey level.
_PLAIN = {"photons": 500.0, "noise": 0.5, "microbes": 700}
_SMALL = (
    *("photons-1", "defocus-3", "seams-2", "smooth-2", "smooth-4", "tile light-2"),
    *("minerals-2", "stain-2", "hot pixels-2", "dust-2", "mild-1", "middle-1"),
)


def _realistic(rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the 48 single difficulties and 18 mixtures: a family and settings."""
    for photons in (50.0, 100.0, 200.0, 350.0):
        yield "photons", {"photons": photons, "noise": 1.0}
    for sigma, image in ((0.5, "pre"), (0.8, "post"), (1.5, "pre"), (1.5, "post")):
        yield "defocus", _defocus(sigma, image)
    for sigma, image in ((3.0, "pre"), (2.5, "post")):
        yield "defocus", _defocus(sigma, image)
    for peak, side in ((0.5, 600), (1.0, 800), (2.0, 1000), (2.0, 700), (3.0, 800)):
        yield "seams", {"seam_px": peak, "tile_px": side}
    yield "seams", {"seam_px": 4.0, "tile_px": 900}
    for peak in (0.5, 1.0, 2.0, 4.0, 8.0, 12.0):
        yield "smooth", {"deformation_px": peak}
    for strength in (0.05, 0.1, 0.2):
        yield "tile light", {"tile_light": strength}
    for spread in (0.05, 0.1, 0.2, 0.3):
        yield "minerals", {"mineral_ratio": spread}
    for light in (0.1, 0.2, 0.4):
        yield "stain", {"mineral_stain": light}
    for count in (50, 500, 3000):
        yield "hot pixels", {"hot_pixels": count}
    for count in (5, 25, 80):
        yield "dust", {"dust": count}
    for factor in (1.5, 2.0, 3.0):
        yield "saturated", {"exposure": factor}
    for image in ("pre", "post"):
        yield "piece missing", {"piece_missing": image}
    for density in (4000, 8000):
        yield "dense", {"microbes": density}
    for strength in (0.1, 0.25):
        yield "uneven light", {"uneven_light": strength}
    yield "everything rigid", {**_MIXED[0][1], **_MIXED[1][1], "dust": 10}
    for strength in ("mild", "middle", "strong"):
        for _ in range(6):
            yield strength, _mixture(strength, rng)


def _defocus(sigma: float, image: str) -> dict[str, Any]:
    return {"defocus": sigma, "defocus_image": image, "astigmatism": 1.4}


#: What a mixture takes one of each of: the middle strength; half and twice as much
#: are mild and strong.
_MIXED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("light", {"tile_light": 0.1, "uneven_light": 0.1}),
    ("minerals", {"mineral_ratio": 0.12, "mineral_stain": 0.1}),
    ("dirt", {"dust": 20, "hot_pixels": 400}),
    ("focus", {"defocus": 1.2, "defocus_image": "post", "astigmatism": 1.3}),
)
_BENT: tuple[dict[str, Any], ...] = ({"deformation_px": 3.0}, {"seam_px": 2.0})
_STRENGTH = {"mild": (0.5, 400.0), "middle": (1.0, 200.0), "strong": (2.0, 100.0)}


def _mixture(strength: str, rng: np.random.Generator) -> dict[str, Any]:
    """Return something that bends, two more difficulties, and fewer photons."""
    factor, photons = _STRENGTH[strength]
    parts = [_BENT[int(rng.integers(2))]]
    parts += [_MIXED[i][1] for i in rng.choice(len(_MIXED), 2, replace=False)]
    kwargs: dict[str, Any] = {"photons": photons, "noise": 1.0}
    for name, value in ((k, v) for part in parts for k, v in part.items()):
        if name in ("astigmatism", "defocus_image"):
            kwargs[name] = value
        else:
            kwargs[name] = type(value)(value * factor)
    return kwargs


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
