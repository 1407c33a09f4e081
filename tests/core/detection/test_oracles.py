"""Places and fluxes beside those of programs that astronomers trust.

photutils (L. Bradley et al.) and sep (K. Barbary, after SExtractor of E. Bertin and S.
Arnouts) measure the same spots: what is told here must agree with them, and with the
truth at least as well.
"""

import numpy as np
import pytest
import sep
from photutils.aperture import CircularAperture, aperture_photometry
from photutils.detection import DAOStarFinder
from scipy.spatial import cKDTree

from napari_exo2micro.core.detection import (
    find_peaks,
    fit_significance,
    measure_candidates,
    merge_peaks,
)

SHAPE, LIGHT, NOISE = (640, 700), 60.0, 3.0
WIDE = 11.0  # px: all of a spot, and nothing of the next one


@pytest.fixture(scope="module")
def scene():
    """Round and long spots, the truth of each, and what is measured."""
    rng = np.random.default_rng(8)
    y, x = np.mgrid[40:620:52, 40:680:52].reshape(2, -1) + rng.uniform(-3, 3, (2, 156))
    sigma, ratio = rng.uniform(1.4, 3.0, 156), rng.choice([1.0, 1.6], 156)
    peak, turn = rng.uniform(25, 90, 156), rng.uniform(0, np.pi, 156)
    left = rng.normal(0.0, NOISE, SHAPE)
    down, across = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for one in range(156):
        u, v = across - x[one], down - y[one]
        c, s = np.cos(turn[one]), np.sin(turn[one])
        square = (u * c + v * s) ** 2 / ratio[one] + (v * c - u * s) ** 2 * ratio[one]
        left += peak[one] * np.exp(-0.5 * square / sigma[one] ** 2)
    left = left.astype(np.float32)
    base = np.full(SHAPE, LIGHT, np.float32)
    found = fit_significance(base + left, left)
    snr = found.window((slice(0, SHAPE[0]), slice(0, SHAPE[1])))
    peaks = merge_peaks(find_peaks(snr, 6.0, halo=0))
    table = measure_candidates(peaks, found, pre=base, scale=1.0)
    return np.column_stack([x, y]), 2 * np.pi * sigma**2 * peak, left, table


def nearest(places, truth):
    """Return which place is nearest to each true one, and how far it is."""
    distance, number = cKDTree(places).query(truth)
    return number, distance


def test_the_same_spots_are_found(scene):
    truth, _, left, table = scene
    ours = np.column_stack([table["x"], table["y"]])
    stars = DAOStarFinder(5 * NOISE, 4.0, sharpness_range=None, roundness_range=None)(
        left.astype(float)
    )
    columns = [
        next(name for name in (f"{axis}_centroid", f"{axis}centroid") if name in names)
        for names in (stars.colnames,)
        for axis in "xy"
    ]
    for other in (
        np.column_stack([stars[name] for name in columns]),
        np.column_stack(
            [sep.extract(left, 2.0, err=NOISE, minarea=5)[name] for name in "xy"]
        ),
    ):
        assert len(ours) == len(truth)
        assert nearest(ours, other)[1].max() < 2.0
        assert np.mean(nearest(other, ours)[1] < 2.0) > 0.98


def test_places_agree_with_windowed_centroids_and_are_as_good(scene):
    truth, _, left, table = scene
    number, _ = nearest(np.column_stack([table["x"], table["y"]]), truth)
    ours = np.column_stack([table["x"], table["y"]])[number]
    x, y, flag = sep.winpos(left, *truth.T, np.asarray(table["sigma"])[number])
    assert not flag.any()
    windowed = np.column_stack([x, y])
    apart = np.hypot(*(ours - windowed).T)
    off, theirs = (np.hypot(*(places - truth).T) for places in (ours, windowed))
    assert np.sqrt(np.mean(apart**2)) < 0.1
    assert np.sqrt(np.mean(off**2)) < 1.05 * np.sqrt(np.mean(theirs**2))


def test_fluxes_agree_with_apertures_and_scatter_less(scene):
    truth, flux, left, table = scene
    number, _ = nearest(np.column_stack([table["x"], table["y"]]), truth)
    ours = np.asarray(table["flux"])[number]
    wide = CircularAperture(truth, WIDE)
    summed = np.asarray(aperture_photometry(left, wide)["aperture_sum"])
    circle, _, _ = sep.sum_circle(left, *truth.T, WIDE, subpix=0)
    np.testing.assert_allclose(circle, summed, rtol=1e-3, atol=2.0)
    assert np.median(ours / summed) == pytest.approx(1.0, abs=0.015)
    spread, theirs = (np.std(values / flux) for values in (ours, summed))
    assert spread < 0.7 * theirs
    told = np.asarray(table["flux_error"])[number]
    assert 0.7 < np.std((ours - flux) / told) < 1.3
