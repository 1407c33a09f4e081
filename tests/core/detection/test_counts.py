"""The threshold against counted noise peaks; purity and counts against what is true."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from napari_exo2micro.core.detection.candidates import find_peaks
from napari_exo2micro.core.detection.counts import (
    count_of,
    expected_noise_peaks,
    purity_of,
    threshold_for,
)


def noise_map(sizes: list[float], side: int, seed: int) -> np.ndarray:
    """White noise, filtered with Gaussians, of unit spread; the largest of all."""
    noise = np.random.default_rng(seed).standard_normal((side, side), np.float32)
    maps = (
        cv2.GaussianBlur(noise, (0, 0), size) * np.float32(2 * size * math.sqrt(np.pi))
        for size in sizes
    )
    return np.max(list(maps), axis=0)


@pytest.mark.parametrize("sizes", [[2.0], [1.4, 2.2, 3.4]])
def test_as_many_noise_peaks_as_expected(sizes: list[float]) -> None:
    side, maps = 2000, 4
    peaks = np.concatenate(
        [
            find_peaks(noise_map(sizes, side, seed), 3.4, halo=0)["snr"]
            for seed in range(maps)
        ]
    )
    for threshold in (3.5, 4.0, 4.5):
        counted = np.count_nonzero(peaks > threshold)
        expected = expected_noise_peaks(threshold, maps * side**2, sizes)
        assert abs(counted - expected) < 0.2 * expected + 3 * math.sqrt(expected)


def test_the_threshold_keeps_the_budget() -> None:
    sizes = [1.4, 2.2, 3.4]
    for budget in (0.1, 1.0, 100.0):
        threshold = threshold_for(budget, 1e7, sizes)
        assert expected_noise_peaks(threshold, 1e7, sizes) == pytest.approx(
            budget, 1e-3
        )
    assert threshold_for(1, 0, sizes) == threshold_for(1e12, 10, sizes) == 2.0


def test_purity_against_truth() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(40):
        noise, dark = (3.5 + rng.exponential(0.3, rng.poisson(100)) for _ in range(2))
        real = rng.uniform(3.5, 20, 200)
        purity = purity_of(np.concatenate([noise, real]), dark)
        stated, (low, high) = purity.above(4.0)
        false, true = np.sum(noise >= 4), np.sum(real >= 4)
        assert low <= stated <= high
        held += low <= true / (false + true) <= high
        p_real = purity.p_real(np.linspace(3.5, 20, 50))
        assert np.all(np.diff(p_real) >= 0)
        assert p_real[0] < 0.5
        assert p_real[-1] > 0.99
    assert held >= 36


def test_purity_of_nothing() -> None:
    nothing = purity_of([], [])
    assert nothing.p_real([5.0]).tolist() == [0.0]
    assert math.isnan(nothing.above(5)[0])
    assert purity_of([], [4.0, 5.0]).p_real([9.0]).tolist() == [0.0]


def test_the_interval_of_a_count_holds_the_truth() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        there, completeness, noise = 150, 0.8, 8.0
        recovered = rng.binomial(500, completeness)
        found = rng.binomial(there, completeness) + rng.poisson(noise)
        count = count_of(found, rng.poisson(noise), recovered=recovered, injected=500)
        held += count.interval[0] <= there <= count.interval[1]
    assert held >= 182


def test_nothing_found_is_a_limit() -> None:
    none = count_of(0, 0, recovered=500, injected=1000, area_px=1e6, pixel_size_um=1.0)
    assert none.number == 0
    assert none.is_limit
    assert none.interval == (0.0, pytest.approx(6.0, rel=0.01))
    assert none.density_interval == (0.0, pytest.approx(6.0, rel=0.01))
    assert str(none) == "< 6"
    assert count_of(3, 0).density is None


def test_numbers_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="1, 0, 11 and 10"):
        count_of(1, 0, recovered=11, injected=10)
