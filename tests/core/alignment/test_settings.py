"""The tuning of stages 2 and 3 as one object each."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from napari_exo2micro.core.alignment import BoundarySettings, InteriorSettings
from napari_exo2micro.core.alignment.settings import grid_nodes
from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY

#: What the pipeline asks for itself.
ELSEWHERE = {"save_all_intermediates", "interior_ecc", "interpolation"}


@pytest.mark.parametrize(
    ("settings", "stage"), [(BoundarySettings, 2), (InteriorSettings, 3)]
)
def test_each_parameter_of_the_stage_is_a_field_with_its_default(settings, stage):
    own = {p.name: p.default for p in PARAMETER_REGISTRY.values() if p.stage == stage}
    for name in ELSEWHERE & set(own):
        del own[name]
    assert asdict(settings.of({})) == own


def test_parameters_of_other_stages_are_left_aside():
    settings = BoundarySettings.of({"pad": 30, "boundary_width": 20})
    assert settings == BoundarySettings.of({}).tuned(boundary_width=20)


def test_tuning_is_checked_against_the_registry_and_the_rest_stays():
    narrow = BoundarySettings.of({"scale_max": 1.05, "angle_range": 10})
    tuned = narrow.tuned(angle_range=4)
    assert (tuned.angle_range, tuned.scale_max) == (4.0, 1.05)
    assert narrow.tuned() is narrow
    with pytest.raises(ParameterError, match="scale_min must not exceed scale_max"):
        narrow.tuned(scale_min=1.1)
    with pytest.raises(ParameterError, match="'angle_step' takes a number from"):
        narrow.tuned(angle_step=0.0)
    with pytest.raises(ParameterError, match="unknown parameter 'pad'; this stage"):
        narrow.tuned(pad=3)


def test_nodes_of_a_search_hold_both_ends_and_no_move_at_all():
    settings = BoundarySettings.of({"angle_range": 2.5, "scale_step": 0.1})
    assert settings.angles == pytest.approx([-2.5, -2, -1, 0, 1, 2, 2.5])
    assert settings.scales == pytest.approx([0.85, 0.95, 1.05, 1.15])
    still = settings.tuned(rotation_search=False, scale_search=False)
    assert (still.angles, still.scales) == ([0.0], [1.0])
    assert grid_nodes(2, 2, 1) == [2]
