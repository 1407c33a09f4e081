"""What a local warp takes of the flux of spots, and that too much of it is refused."""

import numpy as np
import pytest

from napari_exo2micro.core.alignment.interior import refine_interior_sift
from napari_exo2micro.core.alignment.spots import LEVELS, SIGMA, Spots
from napari_exo2micro.core.images import Displacement, Transform
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.simulate import simulate_section

IDENTITY = Transform.identity()


def spots(places, peak=10.0, gain=2.0):
    count = len(places)
    return Spots(
        np.array(places),
        np.full(count, peak),
        np.full(count, gain),
        np.arange(count) % len(LEVELS),
    )


def test_spots_are_added_in_windows_as_in_the_whole_image():
    put = spots([[30, 25], [3, 60], [64, 64]])
    image = np.zeros((100, 90), np.uint8)
    whole = put.added_to(image)[:, :]
    assert whole[25, 30] == 10.0
    assert whole[25, 32] == pytest.approx(10.0 * np.exp(-0.5 * (2 / SIGMA) ** 2))
    parts = put.added_to(image)
    for rows, columns in (
        ((20, 31), (28, 70)),
        ((50, 100), (0, 66)),
        ((0, 9), (0, 9)),
        ((0, 100), (52, 56)),  # high: spots beside it on both sides
        ((40, 44), (0, 90)),
    ):
        window = slice(*rows), slice(*columns)
        np.testing.assert_array_equal(parts[window], whole[window])


def test_a_map_that_stays_takes_nothing():
    pre = np.random.default_rng(1).integers(0, 255, (100, 90), dtype=np.uint8)
    assert spots([[40, 40]]).flux_lost(pre, IDENTITY, IDENTITY) == 0.0


def test_a_field_that_follows_the_spots_takes_what_the_slope_gives():
    """On a ramp of 3 grey levels a px, moved by 0.5 px, a gain of 2 takes 3 levels."""
    ramp = np.tile(3.0 * np.arange(120, dtype=np.float32), (100, 1))
    moved = Transform(np.eye(3), (Displacement(values=[[[0.5, 0.0]]]),))
    put = spots([[40, 40], [80, 50]], peak=30.0)
    profile = np.exp(-0.5 * (np.arange(-8, 9) / SIGMA) ** 2)
    share = (profile.sum() / (profile**2).sum()) ** 2
    expected = 2.0 * 3.0 * 0.5 / 30.0 * share
    assert put.flux_lost(ramp, IDENTITY, moved) == pytest.approx(expected, rel=1e-4)
    assert put.flux_lost(ramp, moved, IDENTITY) == pytest.approx(-expected, rel=1e-4)


def test_spots_stand_at_the_noise_of_the_difference():
    rng = np.random.default_rng(2)
    pre = rng.normal(100.0, 20.0, (200, 220)).astype(np.float32)
    post = 1.5 * pre + rng.normal(0.0, 4.0, pre.shape).astype(np.float32)
    put = Spots.at_noise(post, pre, IDENTITY, [[60, 60], [100, 80], [150, 120], [2, 2]])
    assert len(put.places) == 3
    np.testing.assert_allclose(put.gains, 1.5, atol=0.03)
    np.testing.assert_allclose(put.peaks, 4.0 * np.array(LEVELS), rtol=0.1)


@pytest.fixture(scope="module")
def bent():
    return simulate_section((620, 700), seed=11, deformation_px=3.0, shift=(6.0, 4.0))


def test_a_bend_is_followed_without_light_taken(bent):
    start = Transform(bent.truth.matrix)
    result = refine_interior_sift(bent.post, bent.pre, start, local="smooth")
    assert result.transform.displacements
    assert abs(result.verdict.numbers["flux_lost_percent"]) < 1.0


def test_a_field_that_takes_light_gives_way_to_the_plane_map(bent, monkeypatch):
    monkeypatch.setattr(Spots, "flux_lost", lambda *_: 0.034)
    start = Transform(bent.truth.matrix)
    result = refine_interior_sift(bent.post, bent.pre, start, local="smooth")
    assert not result.transform.displacements
    assert result.verdict.state is State.FELL_BACK
    assert result.verdict.numbers["flux_lost_percent"] == pytest.approx(3.4)
    assert result.error is not None
