"""Scales against known truth, and verdicts where there is none to find."""

from __future__ import annotations

import functools
import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.images import mapped_frame, warp_window
from napari_exo2micro.core.photometry import (
    SCALE_METHODS,
    accumulate_statistics,
    estimate_scale,
    scale_at_percentile,
)
from napari_exo2micro.core.photometry.minerals import mineral_blocks, otsu_threshold
from napari_exo2micro.core.photometry.scale import (
    find_peak,
    fit_moffat,
    manual_scale,
    moffat_profile,
)
from napari_exo2micro.core.photometry.statistics import PairStatistics
from napari_exo2micro.core.simulate import simulate_section


@functools.cache
def simulated(seed: int, **asked: Any) -> tuple[PairStatistics, float, float]:
    """Return statistics of a well aligned pair, its true gain and offset."""
    gain = 0.8 + 0.13 * (seed % 7)
    pair = simulate_section(
        (600, 720), angle_deg=7.0, scale=1.04, seed=seed, gain=gain, **asked
    )
    transform = pair.truth.transform
    rows, columns = pair.post.shape
    pre = warp_window(pair.pre, transform, 0, rows, 0, columns)
    quad = mapped_frame(transform, (0, 0, columns, rows))
    statistics = accumulate_statistics(pair.post, pre, pre_quad=quad)
    return statistics, pair.truth.gain, pair.truth.offset


def minerals(seed: int = 0, shape: tuple[int, int] = (400, 480)) -> Any:
    """Return a pre image of flat grains on dark glass, float64."""
    rng = np.random.default_rng(seed)
    size = 16
    grains = rng.uniform(30, 110, (shape[0] // size, shape[1] // size))
    grains[:4] = 4.0
    return np.kron(grains, np.ones((size, size))) + rng.normal(0, 1, shape)


@pytest.mark.parametrize(
    "difficulty",
    [
        {},
        {"dtype": "uint16"},
        {"dtype": "float32"},
        {"dim": True},
        {"dim": True, "dtype": "uint16"},
        {"dense": True},
        {"frame_filling": True},
        {"defocus": 1.5},
        {"piece_missing": "pre"},
        {"noise": 3.0},
        {"offset": 5.0},
        {"offset": 15.0},
        {"offset": -4.0},
        {"offset": 5.0, "dim": True},
        {"offset": 15.0, "dense": True, "dtype": "uint16"},
        {"glow": 10.0},
        {"glow": 6.0, "offset": 10.0},
    ],
    ids=lambda d: "-".join(f"{k}_{v}" for k, v in d.items()) or "plain",
)
@pytest.mark.parametrize("seed", [11, 12])
def test_scale_is_within_one_per_cent_of_truth(
    difficulty: dict[str, Any], seed: int
) -> None:
    statistics, gain, offset = simulated(seed=seed, **difficulty)
    found = estimate_scale(statistics)
    assert found.verdict.state == "ok"
    assert found.scale == pytest.approx(gain, rel=0.01)
    assert abs(found.scale - gain) < 6 * found.uncertainty
    assert found.uncertainty < 0.03 * found.scale
    if "glow" not in difficulty:
        level = 200 if statistics.dtype == "uint16" else 1
        assert found.offset == pytest.approx(offset, abs=0.5 * level)
        assert (found.offset != 0) == (offset != 0)


def test_median_error_is_below_a_fifth_of_a_per_cent() -> None:
    errors = []
    for seed in range(20, 28):
        statistics, gain, _ = simulated(seed=seed, dtype="uint8")
        errors.append(abs(estimate_scale(statistics).scale / gain - 1))
    assert np.median(errors) < 0.0005
    assert max(errors) < 0.003


def test_without_correction_an_offset_spoils_the_scale_and_is_still_told() -> None:
    statistics, gain, offset = simulated(seed=11, offset=15.0)
    found = estimate_scale(statistics, offset_correction=False)
    assert found.offset == 0.0
    assert found.scale > 1.05 * gain
    measured = found.verdict.numbers["measured_offset"]
    assert measured == pytest.approx(offset, abs=0.5)
    assert found.uncertainty > 0.02 * found.scale


def test_surroundings_tell_an_offset_from_a_difference_of_focus() -> None:
    statistics, gain, _ = simulated(seed=13, defocus=2.5)
    found = estimate_scale(statistics)
    assert found.scale == pytest.approx(gain, rel=0.01)
    # Regressed on the blocks' own brightness it would be five levels.
    assert abs(found.verdict.numbers["measured_offset"]) < 2.5


def test_uncertainty_tells_of_microbes_everywhere() -> None:
    lonely, _, _ = simulated(seed=14)
    crowded, gain, _ = simulated(seed=14, microbes=1200)
    found = estimate_scale(crowded)
    assert found.uncertainty > 2 * estimate_scale(lonely).uncertainty
    assert abs(found.scale - gain) < 4 * found.uncertainty


def test_uneven_light_gives_the_median_of_the_local_ratios() -> None:
    pre = minerals()
    y, x = np.mgrid[: pre.shape[0], : pre.shape[1]] / 400.0
    light = 1.0 + 0.1 * np.sin(3 * x) * np.cos(2 * y)
    rng = np.random.default_rng(5)
    post = 1.5 * light * pre + rng.normal(0, 1, pre.shape)
    found = estimate_scale(accumulate_statistics(post, pre))
    assert found.scale == pytest.approx(1.5 * np.median(light[70:]), rel=0.015)
    assert found.offset == 0.0
    assert found.verdict.numbers["local_spread"] > 0.02


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.7])
@pytest.mark.parametrize("side", ["post", "pre"])
def test_half_of_the_section_missing_leaves_the_scale(side: str, share: float) -> None:
    pair = simulate_section((900, 1000), seed=5, gain=1.2, dtype="uint16", microbes=100)
    images = {"post": pair.post, "pre": pair.pre}
    whole = estimate_scale(accumulate_statistics(**images))
    assert "lost_in_post" not in whole.verdict.numbers
    image = images[side].copy()
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    section = cv2.GaussianBlur(image, (0, 0), 6) > 4 * np.median(image[:40])
    gone = x + 0.3 * y < np.quantile((x + 0.3 * y)[section], share)
    # bare glass, as the camera sees it
    image[gone] = np.random.default_rng(0).choice(image[:40].ravel(), gone.sum())
    found = estimate_scale(accumulate_statistics(**{**images, side: image}))
    assert found.verdict.state == "ok"
    assert found.scale == pytest.approx(1.2, rel=0.002)
    assert abs(found.scale - 1.2) < 4 * found.uncertainty
    told = found.verdict.numbers.get("lost_in_post", 0.0)
    assert told == pytest.approx(share if side == "post" else 0.0, abs=0.06)


def test_saturated_pixels_stay_out_of_every_scale() -> None:
    pre = minerals()
    post = np.clip(np.rint(1.2 * pre), 0, 254).astype(np.uint8)
    plain = np.clip(np.rint(pre), 0, 254).astype(np.uint8)
    rng = np.random.default_rng(0)
    burnt = rng.random((25, 30)) < 0.25
    spoilt = post.copy()
    spoilt[np.kron(burnt, np.ones((16, 16))) > 0] = 255
    found = accumulate_statistics(spoilt, plain)
    assert found.n_saturated == 256 * burnt.sum()
    assert estimate_scale(found).scale == pytest.approx(1.2, rel=0.002)
    assert estimate_scale(found, "least_squares").scale == pytest.approx(1.2, rel=0.01)
    kept = (spoilt < 255) & (post > 0) & (plain > 0)
    ratio = np.percentile(np.log10(post[kept] / plain[kept]), 60)
    assert scale_at_percentile(found, 60).scale == pytest.approx(10**ratio, rel=1e-12)


@settings(max_examples=15)
@given(st.floats(0.05, 20.0))
def test_scale_is_proportional_to_post(factor: float) -> None:
    pre = minerals()
    rng = np.random.default_rng(1)
    post = 1.3 * pre + rng.normal(0, 1, pre.shape) + 6.0
    one = estimate_scale(accumulate_statistics(post, pre))
    other = estimate_scale(accumulate_statistics(factor * post, pre))
    assert other.scale == pytest.approx(factor * one.scale, rel=1e-4)
    assert other.offset == pytest.approx(factor * one.offset, rel=1e-3)
    assert other.uncertainty == pytest.approx(factor * one.uncertainty, rel=0.05)


@settings(max_examples=15)
@given(st.floats(0.2, 5.0), st.sampled_from([0.0, 8.0, -3.0]))
def test_an_exact_ratio_is_found_exactly(scale: float, offset: float) -> None:
    rng = np.random.default_rng(2)
    pre = np.kron(rng.uniform(30, 200, (24, 30)), np.ones((16, 16)))
    offset *= scale
    found = estimate_scale(accumulate_statistics(scale * pre + offset, pre))
    assert found.scale == pytest.approx(scale, rel=1e-4)
    assert found.offset == pytest.approx(offset, abs=1e-3 * scale)
    assert found.verdict.state == "ok"


def test_equal_integers_do_not_pull_the_peak() -> None:
    # Dim 8-bit images with a gain near 1: half of all ratios are exactly 1.
    rng = np.random.default_rng(6)
    grains = np.kron(rng.uniform(4, 14, (40, 40)), np.ones((16, 16)))
    pre = np.rint(grains + rng.normal(0, 0.7, grains.shape)).clip(0).astype(np.uint8)
    post = np.rint(1.06 * grains + rng.normal(0, 0.7, grains.shape))
    found = estimate_scale(accumulate_statistics(post.clip(0).astype(np.uint8), pre))
    assert found.scale == pytest.approx(1.06, rel=0.003)


def test_uncertainty_covers_the_scatter() -> None:
    pulls = []
    for seed in range(16):
        pre = minerals(seed)
        rng = np.random.default_rng(100 + seed)
        seen = pre + rng.normal(0, 8, pre.shape)
        post = 1.4 * pre + rng.normal(0, 8, pre.shape)
        found = estimate_scale(accumulate_statistics(post, seen))
        pulls.append((found.scale - 1.4) / found.uncertainty)
    assert 0.2 < np.sqrt(np.mean(np.square(pulls))) < 2.0


@pytest.mark.parametrize("percentile", [0, 0.1, 37.3, 50, 90, 99.1, 100])
def test_8_bit_percentile_is_that_of_numpy(percentile: float) -> None:
    statistics, _, _ = simulated(seed=11)
    joint = statistics.joint.copy()
    joint[0] = joint[:, 0] = joint[255] = joint[:, 255] = 0
    post, pre = np.nonzero(joint)
    ratios = np.repeat(np.log10(post / pre), joint[post, pre])
    found = scale_at_percentile(statistics, percentile)
    expected = 10 ** np.percentile(ratios, percentile)
    assert found.scale == pytest.approx(expected, rel=1e-12)
    assert found.kind == f"percentile_p{percentile:g}"


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("percentile", [0.5, 50, 99.1])
def test_percentile_of_other_types_is_near_that_of_numpy(
    dtype: Any, percentile: float
) -> None:
    pre = (minerals() * 100).clip(1).astype(dtype)
    rng = np.random.default_rng(3)
    post = (1.7 * pre * rng.lognormal(0, 0.05, pre.shape)).clip(1).astype(dtype)
    found = scale_at_percentile(accumulate_statistics(post, pre), percentile)
    ratios = np.log10(post.astype(float) / pre)
    expected = 10 ** np.percentile(ratios, percentile)
    assert found.scale == pytest.approx(expected, rel=4e-4)


def test_older_methods_are_as_biased_as_they_were() -> None:
    statistics, gain, _ = simulated(seed=11, dense=True)
    squares = estimate_scale(statistics, "least_squares")
    assert 1.01 * gain < squares.scale < 1.4 * gain
    percentile = estimate_scale(statistics, "robust_percentile")
    assert percentile.scale > 1.02 * gain
    assert percentile.scale == scale_at_percentile(statistics, 90).scale
    assert squares.uncertainty > 0


def unusable() -> dict[str, tuple[Any, Any, str, str]]:
    """Return pairs without a trustworthy scale: images, state and reason."""
    rng = np.random.default_rng(0)
    pre = minerals().clip(0).astype(np.uint8)
    zero = np.zeros_like(pre)
    noise = rng.integers(1, 250, (2, *pre.shape)).astype(np.uint8)
    one = np.array([[5]], np.uint8)
    return {
        "empty images": (zero, zero, "failed", "no pixel has signal"),
        "empty pre": (pre, zero, "failed", "no pixel has signal"),
        "saturated": (zero + 255, zero + 255, "failed", "no pixel has signal"),
        "negative": (-1.0 - pre, -1.0 - pre, "failed", "no pixel has signal"),
        "one brightness": (zero + 100, zero + 50, "fell_back", "one brightness"),
        "unrelated": (noise[0], noise[1], "fell_back", "check the registration"),
        "negative image": (200 - pre, pre, "fell_back", "check the registration"),
        "one pixel": (one, one, "fell_back", "only 0 blocks"),
        "a corner": (pre[70:90, :20], pre[70:90, :20], "fell_back", "blocks"),
    }


@pytest.mark.parametrize("name", unusable())
def test_hopeless_pairs_end_in_words(name: str) -> None:
    post, pre, state, reason = unusable()[name]
    statistics = accumulate_statistics(post, pre)
    found = estimate_scale(statistics)
    assert found.verdict.state == state
    assert reason in found.verdict.reason
    values = {"percentile": 99.0, "manual": 1.4}
    for method in SCALE_METHODS:
        estimate = estimate_scale(statistics, method, value=values.get(method))
        numbers = [
            estimate.scale,
            estimate.uncertainty,
            estimate.offset,
            estimate.offset_uncertainty,
            *estimate.verdict.numbers.values(),
        ]
        assert np.isfinite(numbers).all()
        assert estimate.scale > 0


def test_no_overlap_ends_in_words() -> None:
    pre = minerals().clip(0).astype(np.uint8)
    statistics = accumulate_statistics(pre, pre, pre_quad=np.zeros((4, 2)))
    found = estimate_scale(statistics)
    assert found.verdict.state == "failed"
    assert (found.scale, found.uncertainty) == (1.0, 1.0)
    assert "registration" in found.verdict.reason
    assert scale_at_percentile(statistics, 50).verdict.state == "failed"


def test_moffat_profile_is_recovered() -> None:
    rng = np.random.default_rng(0)
    # A Moffat profile of beta 2.5 is Student's distribution of 4 degrees.
    values = 0.15 + 0.02 * rng.standard_t(4, 200_000) / math.sqrt(4)
    microbes = 0.15 + rng.exponential(0.1, 20_000)
    sample = np.concatenate([values, microbes])
    found = find_peak(sample, rng.integers(0, 8, len(sample)))
    fit = fit_moffat(found)
    assert fit is not None
    assert fit.mu == pytest.approx(0.15, abs=6e-4)
    assert fit.alpha == pytest.approx(0.02, rel=0.25)
    assert fit.beta == pytest.approx(2.5, rel=0.35)
    near = np.abs(fit.centres - 0.135) < 0.01
    ratio = fit.density[near] / fit.profile(fit.centres[near])
    assert ratio.mean() == pytest.approx(1.0, abs=0.05)
    assert fit.low < fit.mu < fit.high
    used = np.isfinite(fit.mirrored)
    right = used & (fit.centres > fit.peak)
    left = np.interp(2 * fit.peak - fit.centres[right], fit.centres, fit.density)
    np.testing.assert_allclose(fit.mirrored[right], left)
    wing = right & (fit.centres > fit.peak + 2 * fit.alpha)
    assert fit.mirrored[wing].sum() < 0.8 * fit.density[wing].sum()
    assert used[np.argmin(np.abs(fit.centres - 0.15))]
    assert moffat_profile(np.array([1.0]), 2.0, 1.0, 0.3, 4.0)[0] == 2.0


def test_glass_is_told_from_the_section() -> None:
    statistics, _, _ = simulated(seed=12)
    blocks = mineral_blocks(statistics.blocks)
    assert 4.0 < blocks.threshold < 40.0
    assert np.quantile(blocks.pre, 0.02) > 8.0
    known = np.isfinite(statistics.blocks.pre).sum()
    assert 0.15 * known < len(blocks) < 0.8 * known
    two = np.concatenate([np.full(500, 1.0), np.full(300, 9.0)])
    assert 1.0 <= otsu_threshold(two) < 9.0


def test_percentiles_manual_scales_and_names_are_checked() -> None:
    statistics, _, _ = simulated(seed=11)
    for percentile in (-0.1, 100.1, math.nan):
        with pytest.raises(ParameterError, match="0 to 100"):
            scale_at_percentile(statistics, percentile)
    for scale in (0.0, -2.0, math.inf, math.nan):
        with pytest.raises(ParameterError, match="above 0"):
            manual_scale(scale)
    assert manual_scale(1.42).scale == 1.42
    assert manual_scale(1.42).kind == "manual"
    with pytest.raises(ParameterError, match="moffat"):
        estimate_scale(statistics, "guess")
    with pytest.raises(ParameterError, match="needs the value of 'scale_percentile'"):
        estimate_scale(statistics, "percentile")
    at = estimate_scale(statistics, "percentile", value=60.0)
    assert at.scale == scale_at_percentile(statistics, 60.0).scale
