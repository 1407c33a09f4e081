"""Sections with known truth: for tests, benchmarks, the demo and the viewer.

A pair is two photographs of one scene. Post-stain shows the scene as it is,
times the gain, plus microbes; pre-stain shows the scene moved by the true
transform. Both have noise of their own.
"""

from __future__ import annotations

from napari_exo2micro.core.simulate.section import (
    SimulatedPair,
    simulate_section,
    write_large_pair,
    write_pair,
)
from napari_exo2micro.core.simulate.truth import (
    Deformation,
    Truth,
    read_truth,
    registration_error,
)

__all__ = [
    "Deformation",
    "SimulatedPair",
    "Truth",
    "read_truth",
    "registration_error",
    "simulate_section",
    "write_large_pair",
    "write_pair",
]
