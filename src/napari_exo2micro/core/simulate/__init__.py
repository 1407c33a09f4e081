"""Sections with known truth: for tests, benchmarks, the demo and the viewer.

A pair is two photographs of one scene. Post-stain shows the scene as it is,
times the gain, plus microbes; pre-stain shows the scene moved by the true
transform. Both have noise of their own.
"""

from napari_exo2micro.core.simulate.section import (
    SectionSettings as SectionSettings,
    SimulatedPair as SimulatedPair,
    simulate_section as simulate_section,
    write_large_pair as write_large_pair,
    write_pair as write_pair,
)
from napari_exo2micro.core.simulate.truth import (
    Deformation as Deformation,
    Truth as Truth,
    read_truth as read_truth,
    registration_error as registration_error,
)
