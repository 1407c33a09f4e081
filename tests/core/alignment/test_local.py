"""Sections that bend and images that were stitched: followed, and proven."""

import re
from dataclasses import replace

import numpy as np
import pytest

from napari_exo2micro.core.alignment import ErrorMap, local
from napari_exo2micro.core.alignment.interior import refine_interior_sift
from napari_exo2micro.core.alignment.local import Measured, Seams
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.simulate import registration_error, simulate_section

SHAPE = (1000, 1200)
PLAIN = {"angle_deg": 3.0, "scale": 1.01, "shift": (12.0, -7.0), "microbes": 150}


def pair_of(**kwargs):
    return simulate_section(SHAPE, **{**PLAIN, **kwargs})


def aligned(pair, **tuning):
    start = Transform(pair.truth.matrix)
    result = refine_interior_sift(pair.post, pair.pre, start, **tuning)
    return result, registration_error(pair.truth, result.transform)


@pytest.fixture(scope="module")
def bent():
    return pair_of(seed=11, deformation_px=3.0, photons=500.0)


@pytest.fixture(scope="module")
def stitched():
    return pair_of(seed=12, seam_px=2.0, tile_px=400, photons=500.0)


@pytest.fixture(scope="module")
def rigid():
    return pair_of(seed=13, photons=300.0, dust=5, hot_pixels=50)


@pytest.fixture(scope="module")
def followed(bent):
    return aligned(bent)


def test_a_bend_is_followed_and_vouched_for(followed):
    result, error = followed
    assert result.verdict.state is State.OK
    assert "bent" in result.verdict.reason
    assert result.model.endswith("smooth")
    assert np.median(error) < 0.08
    assert np.percentile(error, 95) < 0.25
    assert result.accuracy_px < 0.2
    assert 1.0 < result.verdict.numbers["displacement_px"] < 6.0
    assert abs(result.verdict.numbers["flux_lost_percent"]) < 1.0


def test_the_expected_error_of_a_bend_is_the_true_one(bent, followed):
    result, error = followed
    expected = result.error(bent.truth.points)
    ratio = np.sqrt(np.mean(error**2) / np.mean(expected**2))
    assert 1 / 1.5 < ratio < 1.5


@pytest.fixture(scope="module")
def field(bent):
    """Return what follows the bend."""
    kept = []
    with pytest.MonkeyPatch.context() as patched:
        refine = local.refine_locally

        def keep(*args, **kwargs):
            kept.append(refine(*args, **kwargs))
            return kept[0]

        patched.setattr(local, "refine_locally", keep)
        aligned(bent)
    return kept[0]


@pytest.mark.parametrize(
    ("px", "columns", "state", "words"),
    [
        (1.5, 8, State.FELL_BACK, r"up to 1\.5 px in \d+\.\d% of the section"),
        (0.7, 8, State.OK, r"\d+\.\d% of the section is expected .* up to 0\.7 px$"),
        (0.4, 8, State.OK, r"followed: up to \d\.\d px$"),
        (1.5, 1, State.OK, r"followed: up to \d\.\d px$"),  # beside a line
    ],
)
def test_a_patch_that_is_off_is_told(
    bent, field, monkeypatch, px, columns, state, words
):
    values = np.full_like(field.error.values, 0.05)
    values[:, 16 : 16 + columns] = px
    error = ErrorMap(field.error.origin, field.error.spacing, values)
    told = replace(field, error=error)
    monkeypatch.setattr(local, "refine_locally", lambda *_, **__: told)
    result, _ = aligned(bent)
    assert result.verdict.state is state
    assert re.search(words, result.verdict.reason)


def test_without_it_a_bend_is_told_as_before(bent):
    result, error = aligned(bent, local="off")
    assert not result.transform.displacements
    assert result.verdict.state is State.FELL_BACK
    assert np.median(error) > 0.3


def test_stitched_tiles_are_followed(stitched):
    plane, before = aligned(stitched, local="off")
    result, error = aligned(stitched)
    assert not plane.transform.displacements
    assert result.transform.displacements
    assert result.model.endswith("seams")
    assert np.median(error) < 0.1
    assert np.median(error) < 0.25 * np.median(before)


def lines_of(*lines):
    return Seams(tuple(np.array(line, float) for line in lines))


def test_lines_of_a_grid_are_completed():
    places = np.stack(np.meshgrid(np.arange(100, 2400, 40), np.arange(0, 1500, 40)), -1)
    places = places.reshape(-1, 2).astype(float)
    none = np.zeros_like(places)
    tiles = Measured(places, places, none, np.ones(len(places)))
    found = lines_of([300.0, 1901.0], [700.0], [], [202.0, 1003.0])
    whole = found.completed(tiles)
    for line, expected in zip(
        whole.lines,
        ([300.0, 1100.0, 1901.0], [700.0], [], [202.0, 1003.0]),
        strict=True,
    ):
        np.testing.assert_allclose(line, expected, atol=2.0)
    wrong = lines_of([983.0, 1300.0], [700.0], [300.0, 1901.0], [202.0])
    assert wrong.completed(tiles).number == wrong.number
    one = lines_of([300.0], [700.0], [], [202.0])
    assert one.completed(tiles).number == 3


def test_a_grid_is_completed_to_the_outermost_tiles():
    x, y = np.arange(100, 1240, 40), np.arange(100, 900, 40)  # 1220 is the last
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(float)
    tiles = Measured(places, places, np.zeros_like(places), np.ones(len(places)))
    whole = lines_of([400.0, 800.0], [], [], []).completed(tiles)
    np.testing.assert_allclose(whole.lines[0], [400, 800, 1200])


def test_lines_that_only_their_grid_shows_are_followed():
    # Tiles of both images end beside each other.
    pair = pair_of(seed=24, seam_px=3.0, tile_px=300, photons=200.0)
    result, error = aligned(pair)
    assert result.model.endswith("seams")
    assert np.median(error) < 0.1
    assert np.percentile(error, 95) < 0.4


def test_stitched_tiles_of_a_turned_mirror_image_are_followed():
    pair = pair_of(seed=14, seam_px=2.0, tile_px=450, angle_deg=93.0, mirrored=True)
    _, before = aligned(pair, local="off")
    result, error = aligned(pair)
    assert result.model.endswith("seams")
    assert np.median(error) < 0.1
    assert np.percentile(error, 95) < 0.4
    assert np.median(error) < 0.3 * np.median(before)


def test_a_rigid_section_stays_rigid(rigid):
    result, error = aligned(rigid)
    plane, _ = aligned(rigid, local="off")
    assert not result.transform.displacements
    assert result.transform == plane.transform
    assert np.median(error) < 0.05


@pytest.mark.parametrize("local", ["smooth", "seams"])
def test_what_is_asked_for_is_done_unproven_and_harms_little(rigid, local):
    result, error = aligned(rigid, local=local)
    assert result.transform.displacements
    assert np.median(error) < 0.1


def test_the_same_pair_gives_the_same_field(bent, followed):
    again, _ = aligned(bent)
    assert again.transform == followed[0].transform
