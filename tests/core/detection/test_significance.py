"""The S/N of spots: unit noise everywhere, and what a spot of known light shows."""

import math

import numpy as np
import pytest

from napari_exo2micro.core.alignment.error_map import ErrorMap
from napari_exo2micro.core.detection.significance import (
    NoiseModel,
    fit_significance,
)

SHAPE = (700, 900)


def scene(rng, shot=0.5, read=4.0):
    """Return a rock of grains of 64 px, and post and pre less it, as cameras see it."""
    grains = rng.uniform(0.0, 160.0, (11, 15)).repeat(64, 0).repeat(64, 1)
    light = grains[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    noise = rng.standard_normal(SHAPE) * np.sqrt(read + shot * light)
    return light, noise.astype(np.float32)


def spot(x, y, sigma, peak):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    square = (rows - y) ** 2 + (columns - x) ** 2
    return (peak * np.exp(-0.5 * square / sigma**2)).astype(np.float32)


def whole(shape=SHAPE):
    return slice(0, shape[0]), slice(0, shape[1])


@pytest.fixture(scope="module")
def plain():
    light, noise = scene(np.random.default_rng(3))
    return light, noise, fit_significance(light + noise, noise)


def test_the_variance_is_that_of_the_camera(plain):
    light, _, found = plain
    assert found.noise.shot == pytest.approx(0.5, rel=0.2)
    expected = 4.0 + 0.5 * light
    ratio = found.variance(whole()) / expected
    assert np.percentile(ratio, (5, 95)) == pytest.approx((1.0, 1.0), abs=0.2)


def test_noise_has_unit_spread_on_dark_and_on_bright_grains(plain):
    light, noise, _ = plain
    one = fit_significance(light + noise, noise, sizes=(2.0,))
    seen = one.window(whole())
    for low, high in ((0, 40), (40, 100), (100, 160)):
        there = (light >= low) & (light < high)
        assert seen[there].std() == pytest.approx(1.0, abs=0.06)
        assert seen[there].mean() == pytest.approx(0.0, abs=0.1)


def test_any_window_shows_the_same(plain):
    found = plain[2]
    bright, dark = found.both(whole())
    for window in (
        (slice(0, 50), slice(0, 60)),
        (slice(131, 400), slice(77, 333)),
        (slice(690, 700), slice(0, 900)),
    ):
        one, other = found.both(window)
        np.testing.assert_allclose(one, bright[window], atol=2e-3)
        np.testing.assert_allclose(other, dark[window], atol=2e-3)
        np.testing.assert_array_equal(found.window(window), one)


@pytest.mark.parametrize(("sigma", "peak"), [(1.4, 25.0), (2.2, 20.0), (3.4, 15.0)])
def test_a_spot_has_the_s_n_of_its_light_over_the_noise_below(sigma, peak):
    rng = np.random.default_rng(11)
    noise = rng.normal(0.0, 3.0, SHAPE).astype(np.float32)
    light = np.full(SHAPE, 60.0, np.float32)
    places = [(x, y) for x in range(60, 880, 130) for y in range(60, 660, 130)]
    shown = noise + sum(spot(x, y, sigma, peak) for x, y in places)
    found = fit_significance(light + shown, shown)
    x, y = np.array(places).T
    # a matched filter sees peak / noise * sqrt(sum of the squared profile)
    expected = peak / 3.0 * math.sqrt(math.pi) * sigma
    seen = found.window(whole())[y, x]
    assert seen.mean() == pytest.approx(expected, rel=0.06)


def test_microbes_do_not_count_as_noise(plain):
    light, noise, without = plain
    rng = np.random.default_rng(5)
    shown = noise.copy()
    for x, y in rng.uniform(20, 680, (400, 2)):
        rows, columns = slice(int(y) - 12, int(y) + 13), slice(int(x) - 12, int(x) + 13)
        shown[rows, columns] += spot(12, 12, 2.2, 60.0)[:25, :25]
    found = fit_significance(light + shown, shown)
    usual = found.variance(whole()) / without.variance(whole())
    assert np.median(usual) == pytest.approx(1.0, abs=0.15)


def test_where_the_registration_is_doubtful_edges_count_less():
    rng = np.random.default_rng(7)
    light, noise = scene(rng)
    # The right half is off by half a pixel: edges remain in the difference.
    shifted = noise.copy()
    shifted[:, 450:] += 0.5 * np.gradient(light, axis=1)[:, 450:]
    error = ErrorMap((0.0, 0.0), 450.0, [[0.002, 0.002, 0.5]])
    found = fit_significance(light + shifted, shifted, error_map=error)
    ratio = found.variance(whole()) / (4.0 + 0.5 * light)
    edges = np.abs(np.gradient(light, axis=1)) > 20
    assert np.median(ratio[:, 600:][edges[:, 600:]]) > 1.5
    assert np.median(ratio[:, :300][~edges[:, :300]]) < 1.2


def test_nothing_is_seen_where_nothing_is_known():
    rng = np.random.default_rng(9)
    light, noise = scene(rng)
    noise[100:200, 100:300] = 500.0

    def known(window):
        mask = np.ones(SHAPE, np.uint8)
        mask[100:200, 100:300] = 0
        return mask[window]

    seen = fit_significance(light + noise, noise, known=known).window(whole())
    assert not seen[100:200, 100:300].any()
    assert seen.max() < 6.5


def test_the_noise_of_a_small_section_is_learnt_from_what_there_is():
    rng = np.random.default_rng(15)
    light, noise = scene(rng)
    shown = np.zeros(SHAPE, bool)
    shown[260:420, 330:520] = True  # in no window more than a half

    def known(window):
        return shown[window].astype(np.uint8)

    found = fit_significance(light + noise, noise, known=known)
    assert found.noise.shot > 0.2
    assert found.window(whole())[shown].std() == pytest.approx(1.0, abs=0.15)


def test_a_hot_pixel_is_no_spot_and_the_sharpest_spot_is_no_hot_pixel():
    rng = np.random.default_rng(13)
    light = np.full(SHAPE, 40.0, np.float32)
    noise = rng.normal(0.0, 3.0, SHAPE).astype(np.float32)
    noise[300, 400] = noise[300, 600] = 200.0
    noise += spot(200, 300, 1.2, 200.0)
    seen = fit_significance(light + noise, noise).window(whole())
    assert seen[290:310, 390:410].max() < 5
    assert seen[290:310, 590:610].max() < 5
    assert seen[290:310, 190:210].max() > 60


def test_a_grain_is_bright_where_what_is_missed_of_it_exceeds_noise():
    noise = NoiseModel(read=4.0, shot=0.5, part=0.01)
    light = noise.bright
    assert noise.part * light**2 == pytest.approx(noise.read + noise.shot * light)
    assert NoiseModel(read=4.0, shot=0.5).bright == np.inf
