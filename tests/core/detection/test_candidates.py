"""Peaks and what is measured at them, against spots of known light."""

import math

import numpy as np
import pytest

from napari_exo2micro.core.detection import (
    PEAK,
    find_peaks,
    fit_significance,
    label_bands,
    measure_candidates,
    merge_peaks,
)

SHAPE = (600, 700)
LIGHT = 60.0
NOISE = 3.0


def rod(image, x, y, sigma, ratio=1.0, angle=0.0, peak=100.0):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    turn = math.radians(angle)
    u = (columns - x) * math.cos(turn) + (rows - y) * math.sin(turn)
    v = (rows - y) * math.cos(turn) - (columns - x) * math.sin(turn)
    long, short = sigma * math.sqrt(ratio), sigma / math.sqrt(ratio)
    image += peak * np.exp(-0.5 * ((u / long) ** 2 + (v / short) ** 2))


def seen(difference, light=None):
    """Return S/N, peaks and table of a difference over an even mineral."""
    base = np.full(SHAPE, LIGHT) if light is None else light
    base, left = base.astype(np.float32), difference.astype(np.float32)
    found = fit_significance(base + left, left)
    snr = found.window((slice(0, SHAPE[0]), slice(0, SHAPE[1])))
    peaks = merge_peaks(find_peaks(snr, 6.0, halo=0))
    return found, peaks, measure_candidates(peaks, found, pre=base, scale=1.0)


@pytest.fixture(scope="module")
def many():
    """A hundred rods far from each other, and noise."""
    rng = np.random.default_rng(1)
    image = rng.normal(0.0, NOISE, SHAPE)
    rods = []
    for y in range(40, 580, 58):
        for x in range(40, 680, 58):
            one = {
                "x": x + rng.uniform(-1, 1),
                "y": y + rng.uniform(-1, 1),
                "sigma": rng.uniform(1.4, 3.5),
                "ratio": rng.choice([1.0, 2.0]),
                "angle": rng.uniform(-90, 90),
                "peak": rng.uniform(25, 90),
            }
            rod(image, **one)
            rods.append(one)
    return rods, *seen(image)


def test_each_rod_is_found_once_and_nothing_else(many):
    rods, _, peaks, table = many
    assert len(peaks) == len(table) == len(rods)
    assert table["id"].tolist() == list(range(1, len(rods) + 1))
    assert (np.diff(peaks["y"]) >= 0).all()


def matched(many):
    rods, _, _, table = many
    places = np.array([(one["x"], one["y"]) for one in rods])
    found = np.column_stack([table["x"], table["y"]])
    nearest = np.hypot(*(found[:, None] - places[None]).T).argmin(axis=0)
    return table, [rods[n] for n in nearest]


def test_places_and_light_are_those_of_the_rods(many):
    table, rods = matched(many)
    x, y = (np.array([one[axis] for one in rods]) for axis in "xy")
    off = np.hypot(table["x"] - x, table["y"] - y)
    # a fit knows the middle to sigma / (S/N) along each axis
    expected = np.sqrt(2) * table["sigma"] / table["snr"]
    assert np.median(off / expected) < 1.3
    assert off.max() < 0.5
    true = np.array([2 * math.pi * r["sigma"] ** 2 * r["peak"] for r in rods])
    assert np.median(table["flux"] / true) == pytest.approx(1.0, abs=0.01)
    pull = (table["flux"] - true) / table["flux_error"]
    assert 0.7 < 1.4826 * np.median(np.abs(pull - np.median(pull))) < 1.3


def test_shapes_are_those_of_the_rods(many):
    table, rods = matched(many)
    sigma, ratio = (
        np.array([one[name] for one in rods]) for name in ("sigma", "ratio")
    )
    assert np.median(table["sigma"] / sigma) == pytest.approx(1.0, abs=0.02)
    long = ratio == 2.0
    assert np.median(table["elongation"][long]) == pytest.approx(2.0, abs=0.1)
    angle = np.array([one["angle"] for one in rods])
    turned = (table["angle"] - angle + 90) % 180 - 90
    assert np.median(np.abs(turned[long])) < 5
    assert np.percentile(np.abs(turned[long]), 90) < 20


def test_other_measures_are_those_of_the_pixels(many):
    table, rods = matched(many)
    assert (table["pre"] == LIGHT).all()
    np.testing.assert_allclose(table["ratio"], table["post"] / LIGHT)
    np.testing.assert_array_equal(table["seen"], 1.0)
    half = np.array([2 * math.pi * math.log(2) * one["sigma"] ** 2 for one in rods])
    assert np.median(table["area"] / half) == pytest.approx(1.0, abs=0.05)
    assert table["fitted"].all()
    assert table["x"].unit == "pix"


def test_labels_are_the_areas_whatever_the_bands(many):
    _, _, _, table = many
    whole = np.concatenate([band for _, band in label_bands(table, SHAPE, 600)])
    parts = np.concatenate([band for _, band in label_bands(table, SHAPE, 97)])
    np.testing.assert_array_equal(whole, parts)
    assert whole.dtype == np.int32
    number, count = np.unique(whole[whole > 0], return_counts=True)
    np.testing.assert_array_equal(number, table["id"])
    np.testing.assert_allclose(count, table["area"], atol=4)
    at = whole[np.rint(table["y"]).astype(int), np.rint(table["x"]).astype(int)]
    np.testing.assert_array_equal(at, table["id"])


def test_two_beside_each_other_keep_their_light():
    rng = np.random.default_rng(2)
    image = rng.normal(0.0, NOISE, SHAPE)
    rod(image, 300, 300, 1.8, peak=90.0)
    rod(image, 310, 300, 1.8, peak=60.0)
    table = seen(image)[2]
    assert len(table) == 2
    true = 2 * math.pi * 1.8**2 * np.array([90.0, 60.0])
    np.testing.assert_allclose(table["flux"], true, rtol=0.1)


def test_a_grain_that_brightened_is_told_from_a_spot():
    """Beside each other: a spot, and a small grain that pre shows in the same shape."""
    rng = np.random.default_rng(3)
    light, image = np.full(SHAPE, LIGHT), rng.normal(0.0, NOISE, SHAPE)
    for y in range(60, 560, 80):
        for x in range(60, 660, 160):
            rod(light, x, y, 3.0, peak=25.0)  # a grain, in pre and post
            rod(image, x, y, 3.0, peak=30.0)  # which took stain
            rod(image, x + 80, y, 3.0, peak=30.0)  # a microbe
    table = seen(image, light)[2]
    own = np.asarray(table["snr_own"] / table["snr"])
    grain = np.abs((np.asarray(table["x"]) - 60) % 160 - 80) > 40
    assert np.median(own[grain]) < 0.5
    assert np.median(own[~grain]) > 0.9


def test_a_plateau_is_one_peak_and_the_border_counts():
    snr = np.zeros((9, 9), np.float32)
    snr[3:5, 3:6] = 7.0
    snr[8, 8] = 9.0
    peaks = find_peaks(snr, 5.0, halo=0)
    assert peaks.tolist() == [(5, 4, 7.0), (8, 8, 9.0)]


def test_peaks_of_windows_are_those_of_the_whole():
    rng = np.random.default_rng(4)
    snr = np.pad(rng.standard_normal((90, 110)).astype(np.float32), 1)
    whole = find_peaks(snr, 1.0)
    parts = [
        find_peaks(snr[y : y + 47, x : x + 57], 1.0, (x, y), halo=1)
        for y in (0, 45)
        for x in (0, 55)
    ]
    found = np.sort(np.concatenate(parts), order=["y", "x"])
    np.testing.assert_array_equal(found, whole)


def test_of_near_peaks_the_highest_stays():
    peaks = np.array([(10, 10, 5.0), (12, 11, 8.0), (14, 12, 6.0), (40, 9, 5.0)], PEAK)
    assert merge_peaks(peaks).tolist() == [(40, 9, 5.0), (12, 11, 8.0)]
    assert merge_peaks(peaks[::-1]).tolist() == merge_peaks(peaks).tolist()


def test_nothing_found_gives_an_empty_table():
    _, peaks, table = seen(np.random.default_rng(5).normal(0.0, NOISE, SHAPE))
    assert len(peaks) == len(table) == 0
    assert {"x", "y", "snr", "flux", "sigma", "fitted"} <= set(table.colnames)
    bands = list(label_bands(table, SHAPE, 300))
    assert [band.shape for _, band in bands] == [(300, 700), (300, 700)]
    assert not any(band.any() for _, band in bands)


def test_at_the_border_a_spot_is_measured_from_what_is_there():
    rng = np.random.default_rng(6)
    image = rng.normal(0.0, NOISE, SHAPE)
    rod(image, 2.0, 300.0, 2.2, peak=80.0)
    rod(image, 400.0, 598.0, 2.2, peak=80.0)
    table = seen(image)[2]
    true = 2 * math.pi * 2.2**2 * 80
    np.testing.assert_allclose(table["flux"], true, rtol=0.12)
    assert (np.asarray(table["seen"]) < 0.95).all()
