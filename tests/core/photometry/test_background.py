"""The background model: what it leaves of minerals and takes of microbes."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_exo2micro.core.photometry import (
    accumulate_statistics,
    difference_bands,
    difference_window,
    fit_background,
)
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import simulate_section, write_pair

SHAPE = (1000, 1200)


def section(**settings):
    """Return a pair that lies on itself, and post without microbes and noise."""
    known = {"seed": 3, "gain": 1.3, "photons": 500.0, "noise": 0.5, **settings}
    pair = simulate_section(SHAPE, microbes=300, **known)
    known |= {"photons": None, "noise": 0.0}
    return pair, simulate_section(SHAPE, microbes=0, **known).post


def fitted(pair, **more):
    counted = accumulate_statistics(pair.post, pair.pre)
    return fit_background(pair.post, pair.pre, scale=1.3, statistics=counted, **more)


def difference(pair, model, post=None):
    """Return the difference with a model; None: with the scale alone."""
    shown = pair.post if post is None else post
    bands = difference_bands(shown, pair.pre, scale=1.3, background=model)
    return np.concatenate([band for _, band in bands])


def left(pair, clean, model):
    """Return the root mean square left of the minerals at the size of microbes."""
    light = np.asarray(pair.post, np.float32) - difference(pair, model)
    wrong = gaussian_filter(np.asarray(clean, np.float32) - light, 1.5)
    mineral = gaussian_filter(np.asarray(pair.pre, np.float32), 8) > 20
    return float(np.sqrt(np.mean(wrong[mineral] ** 2)))


@pytest.fixture(scope="module")
def minerals():
    return section(mineral_ratio=0.25)


def test_minerals_with_ratios_of_their_own_are_followed(minerals):
    pair, clean = minerals
    model = fitted(pair)
    assert model.is_proven
    assert "gain" in model.steps
    assert left(pair, clean, model) < 0.2 * left(pair, clean, None)
    assert model.power_ratio < 0.12
    assert model.left_by_model.structure < 0.5 * model.left_by_scale.structure


def test_a_defocused_image_is_followed():
    pair, clean = section(defocus=1.5, defocus_image="post")
    model = fitted(pair)
    assert "kernel" in model.steps
    assert model.kernel.sum() == pytest.approx(1, abs=1e-4)
    assert left(pair, clean, model) < 0.5 * left(pair, clean, None)


def test_beside_a_dark_pore_a_sharpening_kernel_does_not_go_below_the_dark():
    pair, clean = section(defocus=1.5, defocus_image="pre", photons=None)
    model = fitted(pair)
    assert "kernel" in model.steps
    light = pair.post.astype(np.float32) - difference(pair, model)
    assert light.min() > clean.min() - 2.0


def test_a_plain_pair_needs_no_model():
    pair, _ = section(photons=None, noise=1.0)
    model = fitted(pair)
    assert not model.is_proven
    assert model.left_by_scale.structure < 0.04


def test_microbes_keep_their_light(minerals):
    pair, _ = minerals
    model = fitted(pair)
    place = np.zeros(SHAPE, np.float32)
    place[100:-100:48, 100:-100:48] = 2 * np.pi * 1.7**2 * 60
    place[gaussian_filter(np.asarray(pair.pre, np.float32), 8) <= 20] = 0
    spots = gaussian_filter(place, 1.7)
    post = pair.post.astype(np.float32)
    change = difference(pair, model, post + spots) - difference(pair, model, post)
    kept, whole = (gaussian_filter(image, 1.7)[place > 0] for image in (change, spots))
    assert kept.sum() / whole.sum() > 0.99
    assert model.lost_flux < 0.01


def test_steps_that_are_not_tried_are_not_used(minerals):
    model = fitted(minerals[0], steps=())
    assert model.steps == ()
    assert model.left_by_scale.structure == model.left_by_model.structure > 0.1
    plain = difference_window(minerals[0].post, minerals[0].pre, 1.3)
    assert np.abs(difference(minerals[0], model) - plain).max() < 1e-3


def test_the_difference_does_not_depend_on_the_bands(minerals):
    pair, _ = minerals
    model = fitted(pair)
    counted = [
        np.concatenate(
            [
                band
                for _, band in difference_bands(
                    pair.post, pair.pre, scale=1.3, background=model, max_rows=rows
                )
            ]
        )
        for rows in (1000, 348)
    ]
    # Grains larger than the halo are seen a little differently; noise is 4 levels.
    assert np.abs(counted[0] - counted[1]).mean() < 0.6
    steps = [np.abs(np.diff(image, axis=0)).mean(axis=1) for image in counted]
    assert steps[1][347] == pytest.approx(steps[0][347], rel=0.05)


def run(folder, pair, **params):
    write_pair(pair, folder / "raw", "S", "Dye")
    task = SampleDye("S", "Dye", folder / "out", folder / "raw", "tiff")
    task.set_params(pad=50, interior_ecc=False, **params)
    return task, task.run()


@pytest.mark.filterwarnings("ignore")
def test_a_run_makes_the_models_difference_where_it_is_proven(tmp_path, minerals):
    task, result = run(tmp_path, minerals[0])
    model = task.checkpoint(4, "difference_model")
    header = task.checkpoint(4, "difference").provenance
    told = header.details["background"]
    assert told["power_ratio"] < 0.8
    assert told["structure"] > 0.06
    assert any("minerals remain visible" in note for note in result["warnings"])
    assert model.provenance.scale.kind == "model"
    numbers = header.verdicts[4].numbers
    assert numbers["structure_percent"] == pytest.approx(100 * told["structure"])
    assert numbers["power_with_model_percent"] < 80
    names = {path.name for path in result.outputs}
    assert "difference_image_model_pad50_iecc0.png" in names
    again = SampleDye("S", "Dye", tmp_path / "out", tmp_path / "raw", "tiff")
    again.set_params(pad=50, interior_ecc=False)
    assert {line.state for line in again.status() if line.stage == 4} == {"valid"}
    model.image.path.unlink()
    assert again.run().outputs
    assert again.checkpoint(4, "difference_model") is not None


@pytest.mark.filterwarnings("ignore")
def test_off_makes_none_and_tells_what_remains(tmp_path, minerals):
    task, result = run(tmp_path, minerals[0], background_model="off")
    assert task.checkpoint(4, "difference_model") is None
    assert result["status"].startswith("degraded")
    assert "minerals remain visible in the difference" in result["status"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "settings",
    [{"mineral_stain": 0.2}, {"microbes": 1000}, {"defocus": 2.0}, {"photons": 50.0}],
    ids=str,
)
def test_the_error_of_a_scale_counts_what_it_leaves(tmp_path, settings):
    known = {"seed": 11, "gain": 1.25, "photons": 500.0, "noise": 0.5}
    pair = simulate_section(SHAPE, **{"microbes": 180, **known, **settings})
    task, result = run(tmp_path, pair)
    scale = task.checkpoint(4, "difference").provenance.scale
    assert abs(scale.value - 1.25) < 2 * scale.uncertainty
    assert scale.uncertainty < 0.03
    assert result.scale.uncertainty == scale.uncertainty
