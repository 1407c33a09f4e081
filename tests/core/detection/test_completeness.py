"""Test microbes: what is put in, what is told from it, and the corrected number."""

import math

import numpy as np
import pytest
from astropy.table import Table

from napari_exo2micro.core.detection import (
    SPOT,
    Completeness,
    add_spots,
    corrected_count,
    draw_spots,
    found_again,
    spot_shapes,
    windows_for,
)
from napari_exo2micro.core.detection.completeness import fit_rate


def spots_at(*rows):
    """Rows of x, y, flux, sigma, elongation, angle."""
    return np.array(list(rows), dtype=SPOT)


def candidates(*rows):
    names = "x", "y", "flux", "snr"
    columns = zip(*rows, strict=True) if rows else [[], [], [], []]
    return Table({n: np.array(c, float) for n, c in zip(names, columns, strict=True)})


def test_windows_lie_on_the_section_and_never_on_each_other():
    known = np.zeros((3000, 3000), np.uint8)
    known[600:2400, 700:2600] = 1
    windows = windows_for(known.shape, lambda w: known[w])
    seen = np.zeros_like(known)
    for window in windows:
        assert known[window].mean() >= 0.25
        seen[window] += 1
    assert seen.max() == 1
    assert seen[known > 0].mean() > 0.7
    many = windows_for((30000, 25000), lambda _: None)
    assert len(many) == 24
    assert max(w[0].stop for w in many) > 25000


def test_spots_are_apart_on_the_known_and_even_in_the_logarithm_of_their_peak():
    window = slice(512, 1024), slice(1024, 1536)
    known = np.ones((512, 512), np.uint8)
    known[:, :200] = 0
    shapes = spots_at((0, 0, 0, 2.0, 1.5, 10), (0, 0, 0, 3.0, 1.0, 20))
    rng = np.random.default_rng(1)
    rounds = [draw_spots(window, known, shapes, (10, 1000), rng) for _ in range(30)]
    for spots in rounds:
        assert ((spots["x"] >= 1024 + 199) & (spots["x"] < 1536)).all()
        assert ((spots["y"] >= 512) & (spots["y"] < 1024)).all()
        apart = np.hypot(
            spots["x"][:, None] - spots["x"], spots["y"][:, None] - spots["y"]
        )
        assert apart[~np.eye(len(spots), dtype=bool)].min() >= 8
    spots = np.concatenate(rounds)
    peak = spots["flux"] / (2 * np.pi * spots["sigma"] ** 2)
    assert 10 <= peak.min() < 11
    assert 900 < peak.max() <= 1000
    assert np.median(peak) == pytest.approx(100, rel=0.15)
    assert set(spots["sigma"]) == {2.0, 3.0}


def test_a_spot_adds_its_flux_as_a_camera_would():
    spot = spots_at((50.3, 40.6, 4000, 2.5, 1.6, 30))
    base = np.full((80, 100), 20, np.uint8)
    rng = np.random.default_rng(2)
    added = [
        add_spots(base, spot, (0, 0), shot=0.4, saturation=255, rng=rng).astype(float)
        - base
        for _ in range(60)
    ]
    assert added[0].dtype == float
    total = np.array([one.sum() for one in added])
    assert total.mean() == pytest.approx(4000, rel=0.01)
    # photons: the variance of the sum is `shot` times the flux, and that of rounding
    assert total.std() == pytest.approx(math.sqrt(0.4 * 4000), rel=0.35)
    mean = np.mean(added, axis=0)
    y, x = np.mgrid[:80, :100]
    assert (mean * x).sum() / mean.sum() == pytest.approx(50.3, abs=0.1)
    assert (mean * y).sum() / mean.sum() == pytest.approx(40.6, abs=0.1)
    assert mean[:20].max() == 0


def test_nothing_is_brighter_than_saturation_and_what_is_saturated_stays():
    spot = spots_at((20, 20, 40000, 2.0, 1.0, 0))
    base = np.full((41, 41), 200, np.uint8)
    base[18, 18] = 255
    rng = np.random.default_rng(3)
    seen = add_spots(base, spot, (0, 0), shot=0.0, saturation=255, rng=rng)
    assert seen.dtype == np.uint8
    assert seen[20, 20] == seen[18, 18] == 255


def test_a_spot_is_found_where_it_is_and_not_where_it_is_lost_in_a_brighter_one():
    spots = spots_at(
        (10, 10, 100, 2, 1, 0),  # found
        (50, 50, 100, 2, 1, 0),  # nothing there
        (90, 90, 100, 2, 1, 0),  # a brighter one was there before
        (130, 130, 100, 2, 1, 0),  # only a brighter one beside it is found
        (170, 170, 100, 2, 1, 0),  # a fainter one was there before: it is lost
    )
    before = candidates((91, 90, 300, 9), (134, 130, 390, 9), (171, 170, 20, 6))
    found = candidates(
        (10.5, 10, 110, 8.2), (91, 90, 390, 9), (133, 130, 400, 9), (170, 170, 120, 8)
    )
    flux, snr = found_again(spots, found, before)
    assert np.isfinite(flux).tolist() == [True, False, False, False, True]
    assert flux[0] == 110
    assert snr[0] == 8.2


def test_shapes_are_those_of_clear_candidates_or_of_the_profiles():
    table = Table(
        {
            "sigma": np.linspace(1, 3, 40),
            "elongation": np.full(40, 1.4),
            "angle": np.zeros(40),
            "snr": np.r_[np.full(30, 12.0), np.full(10, 5.0)],
            "counted": np.ones(40, bool),
            "fitted": np.ones(40, bool),
        }
    )
    assert len(spot_shapes(table, (1.4, 2.2, 3.4))) == 30
    few = spot_shapes(table[:10], (1.4, 2.2, 3.4))
    assert set(few["sigma"]) == {1.4, 2.2, 3.4}


def test_a_rate_is_recovered_with_its_limits():
    rng = np.random.default_rng(4)
    flux = np.exp(rng.uniform(np.log(50), np.log(5000), 4000))
    truth = 0.95 / (1 + (400 / flux) ** 4)
    rate = fit_rate(flux, rng.random(4000) < truth)
    assert rate.middle == pytest.approx(400, rel=0.06)
    assert rate.top == pytest.approx(0.95, abs=0.015)
    half = 400 * (0.95 / 0.5 - 1) ** -0.25
    assert rate.reached_at(0.5) == pytest.approx(half, rel=0.06)
    assert math.isinf(rate.reached_at(0.97))
    np.testing.assert_allclose(rate([100, 400, 4000]), [0.0037, 0.475, 0.95], atol=0.02)
    assert fit_rate([1, 2, 3, 4], [False] * 4).top == 0


def simulated(rng, flux, sigma):
    """Whether microbes are found, and how they are measured."""
    snr = flux / (60 * sigma)
    found = rng.random(len(flux)) < 0.96 / (1 + (5 / snr) ** 7)
    seen = 1 + rng.standard_normal(len(flux)) / snr
    told = [flux * seen, snr * seen * np.exp(rng.standard_normal(len(flux)) * 0.1)]
    return snr, *(np.where(found, v, np.nan) for v in told)


def spots_of(rng, number=3000):
    sigma = rng.uniform(1.2, 4.0, number)
    peak = np.exp(rng.uniform(np.log(3), np.log(150), number))
    flux = peak * 2 * np.pi * sigma**2
    snr, *measured = simulated(rng, flux, sigma)
    return Completeness.of(flux, np.full(number, 50.0), snr, *measured)


def test_the_corrected_number_holds_the_truth_for_other_shapes_than_the_spots():
    """Microbes are smaller and fainter than what was put in: it must not matter."""
    rng = np.random.default_rng(5)
    inside, off, said = 0, [], []
    for _ in range(8):
        spots = spots_of(rng, 2000)
        for _ in range(2):
            size = rng.uniform(1.0, 3.0, 500)
            flux = np.exp(rng.normal(np.log(900), 0.8, 500))
            _, seen, seen_snr = simulated(rng, flux, size)
            kept = np.isfinite(seen)
            false, dark = rng.poisson(8, 2)
            noise = [np.exp(rng.normal(np.log(400), 0.2, n)) for n in (false, dark)]
            found = Table(
                {
                    "flux": np.r_[seen[kept], noise[0]],
                    "snr": np.r_[seen_snr[kept], np.full(false, 5.0)],
                }
            )
            others = Table({"flux": noise[1], "snr": np.full(dark, 5.0)})
            count, classes = corrected_count(found, others, spots)
            limit = count.brighter_than
            truth = np.count_nonzero(flux > limit)
            inside += count.interval[0] <= truth <= count.interval[1]
            off.append(count.number / truth - 1)
            said.append(count.completeness - kept[flux > limit].mean())
            assert sum(one.number for one in classes) == pytest.approx(count.number)
            assert classes[0].low == pytest.approx(limit)
    assert inside >= 14  # of 16
    assert abs(np.mean(off)) < 0.03
    assert np.percentile(np.abs(said), 90) < 0.05


def test_where_nothing_is_found_the_limit_counts_those_that_were_missed():
    rng = np.random.default_rng(6)
    flux = np.exp(rng.uniform(np.log(100), np.log(5000), 2000))
    snr, *measured = simulated(rng, flux, np.full(2000, 2.0))
    spots = Completeness.of(flux, flux * 0 + 9, snr, *measured)
    none = candidates()
    count, classes = corrected_count(none, none, spots)
    assert classes == []
    assert count.is_limit
    assert count.brighter_than == pytest.approx(spots.limit(0.5))
    assert count.interval[1] == pytest.approx(3 / count.completeness, rel=0.05)
    assert 0.85 < count.completeness < 0.97


def test_the_surface_is_lower_where_minerals_are_bright():
    rng = np.random.default_rng(7)
    flux = np.exp(rng.uniform(np.log(100), np.log(5000), 6000))
    light = rng.uniform(10, 200, 6000)
    found = rng.random(6000) < 1 / (1 + (3 * light / flux) ** 4)
    measured = np.where(found, flux * 1.02, np.nan)
    it = Completeness.of(flux, light, flux / 40, measured, measured / 40)
    rows = it.surface()
    limits = sorted({(row["light_from"], row["flux_50"]) for row in rows})
    for (dim, limit), true in zip(limits, (3 * 41, 3 * 105, 3 * 168), strict=True):
        assert 0 <= dim < 200
        assert limit == pytest.approx(true, rel=0.25)
    assert sum(row["injected"] for row in rows) == 6000
    assert sum(row["found"] for row in rows) == found.sum()
    assert it.flux_bias == pytest.approx(0.02, abs=1e-6)


def test_where_half_are_never_found_no_flux_is_told():
    rng = np.random.default_rng(9)
    flux = np.exp(rng.uniform(np.log(100), np.log(5000), 500))
    measured = np.where(rng.random(500) < 0.3, flux, np.nan)
    spots = Completeness.of(flux, flux * 0 + 9, flux / 40, measured, measured / 40)
    count, classes = corrected_count(candidates(), candidates(), spots)
    assert math.isinf(spots.limit(0.5))
    assert count.brighter_than is None
    assert classes == []
    assert count.interval[1] == pytest.approx(3 / 0.3, rel=0.2)
