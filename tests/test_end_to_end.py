"""From raw files to the difference: simulated truth, difficulties, real pairs."""

from pathlib import Path

import numpy as np
import pytest

from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import (
    registration_error,
    simulate_section,
    write_pair,
)

pytestmark = pytest.mark.slow

PAD = 150
SHAPE = (640, 720)
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"


def run_pair(tmp_path, channels=None, *, stages=4, params=None, **settings):
    """Simulate a pair, run it, return truth, task and result."""
    pair = simulate_section(SHAPE, **settings)
    write_pair(pair, tmp_path / "raw", "Rock", "DAPI", channels=channels)
    task = SampleDye("Rock", "DAPI", tmp_path / "out", tmp_path / "raw", "tiff")
    task.set_params(pad=PAD, **(params or {}))
    return pair.truth, task, task.run(to_stage=stages)


@pytest.mark.parametrize(
    "settings",
    [
        {"angle_deg": 17.0, "scale": 0.87, "shift": (60.0, -40.0)},
        {"angle_deg": -19.0, "scale": 1.13, "shift": (-50.0, 30.0), "gain": 0.8},
        {"angle_deg": 143.0},
        {"mirrored": True, "angle_deg": 8.0},
        {"piece_missing": "post", "angle_deg": 5.0},
        {"field_of_view": (280.0, -120.0)},
        {"frame_filling": True, "angle_deg": 3.0},
        {"dim": True, "angle_deg": -6.0},
        {"dense": True, "angle_deg": 4.0},
        {"dtype": "uint16", "angle_deg": 4.0},
        {"dtype": "float32", "angle_deg": -4.0},
        {"defocus": 1.5, "angle_deg": 3.0},
        {"glow": 25.0, "angle_deg": 3.0},
        {"uneven_light": 0.2, "angle_deg": 3.0},
        {"perspective": 0.02, "angle_deg": 3.0},
        {"scale": 0.75},
        {"scale": 1.3},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_registration_is_right_and_vouched_for(tmp_path, settings):
    truth, task, result = run_pair(tmp_path, seed=11, stages=3, **settings)
    errors = registration_error(truth, task.transform(3), PAD)
    assert np.median(errors) < 0.1
    assert np.percentile(errors, 95) < 0.3
    assert result["status"] == "complete"
    accuracy = result["registration"][3]["numbers"]["accuracy_px"]
    assert np.median(errors) / 4 < accuracy < 0.2


@pytest.mark.parametrize("pixels", [3.0, 5.0])
def test_a_deformed_section_is_degraded_and_says_why(tmp_path, pixels):
    _, _, result = run_pair(
        tmp_path, seed=12, deformation_px=pixels, stages=3, params={"local": "off"}
    )
    assert result["status"].startswith("degraded: stage 3 interior alignment: ")
    assert "deform" in result["status"]


def test_a_section_that_bends_is_followed_through_all_stages(tmp_path):
    truth, task, result = run_pair(tmp_path, seed=12, deformation_px=4.0, gain=1.2)
    transform = task.transform(3)
    assert transform.displacements
    errors = registration_error(truth, transform, PAD)
    assert np.median(errors) < 0.1
    assert np.percentile(errors, 95) < 0.3
    assert result["status"] == "complete"
    assert result["scale_estimate"] == pytest.approx(1.2, rel=0.01)
    # what is left of the rock, where no microbe is, is noise
    difference = task._load_image(4, "difference").astype(float)
    x, y = np.rint(truth.points + PAD).astype(int).T
    left = difference[y, x]
    assert 1.4826 * np.median(np.abs(left - np.median(left))) < 4.0


def test_two_different_sections_are_never_complete(tmp_path):
    for seed, side in ((1, "Pre"), (2, "Post")):
        pair = simulate_section(SHAPE, seed=seed)
        write_pair(pair, tmp_path / side, "Rock", "DAPI")
    folder = tmp_path / "raw" / "Rock"
    folder.mkdir(parents=True)
    for side in ("Pre", "Post"):
        (path,) = (tmp_path / side).rglob(f"*{side}*.tif")
        path.rename(folder / path.name)
    task = SampleDye("Rock", "DAPI", tmp_path / "out", tmp_path / "raw", "tiff")
    task.set_params(pad=PAD)
    result = task.run()
    assert result["status"].startswith("degraded: stage 2")
    assert "stage 3" in result["status"]


def test_the_signal_of_an_rgb_pair_is_its_one_channel(tmp_path):
    truth, task, result = run_pair(tmp_path, "rgb", seed=13, angle_deg=3.0, gain=1.4)
    assert result["status"] == "complete"
    assert task._load_image(1, "post").dtype == np.uint8
    assert result["scale_estimate"] == pytest.approx(truth.gain, rel=0.01)


def test_16_bit_data_keep_their_depth_to_the_end(tmp_path):
    truth, task, result = run_pair(tmp_path, seed=14, dtype="uint16", gain=0.9)
    assert task._load_image(3, "pre").dtype == np.uint16
    assert task._load_image(3, "pre").max() > 4096
    assert result["scale_estimate"] == pytest.approx(truth.gain, rel=0.01)


# Moving (pre) to fixed (post) as measured with features and tile-wise phase
# correlation; agreement within about 1 px can be expected, not better.
REAL_PAIRS = [
    ("GSKsection", "DAPI", [[1, 0.0033, 1.859], [-0.0033, 1, -10.359], [0, 0, 1]]),
    ("MIRAGE2", "nuclei", [[1.001, 0.0007, -2.4], [-0.0007, 1.001, -8.27], [0, 0, 1]]),
]


@pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the two real pairs are not here: no folder {REAL}"
)
@pytest.mark.parametrize(("sample", "dye", "matrix"), REAL_PAIRS)
def test_real_pairs_agree_with_what_was_measured(tmp_path, sample, dye, matrix):
    task = SampleDye(sample, dye, tmp_path, REAL, "tiff")
    task.set_params(pad=100)
    result = task.run()
    assert result["registration"][3]["state"] == "ok"
    measured = Transform(matrix).inverse().conjugated(scale=1, shift=(100, 100))
    rows, columns = (side - 200 for side in task._load_image(1, "post").shape)
    corners = np.array([(0, 0), (columns, 0), (0, rows), (columns, rows)]) + 100.0
    errors = np.linalg.norm(task.transform(3)(corners) - measured(corners), axis=1)
    assert errors.max() < 1.0
    assert np.isfinite(task._load_image(4, "difference")).all()
