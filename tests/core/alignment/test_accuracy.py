"""Held-out residuals, choice of the model, and the estimated accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.alignment.fit import (
    assess_accuracy,
    choose_model,
    coherent_misfit,
    fit_folds,
    fit_plane_robust,
    spatial_folds,
)
from napari_exo2micro.core.images import Transform

NOISE = 0.05


def tiles(true, *, seed=0, count=15, noise=NOISE, bend=0.0):
    """Return places, pre points and information of a grid of tiles."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 2800, count), np.linspace(0, 2400, count))
    source = np.column_stack([x.ravel(), y.ravel()])
    target = true(source) + rng.normal(0.0, noise, source.shape)
    target[:, 0] += bend * np.sin(2 * np.pi * source[:, 1] / 1600)
    information = np.tile(np.eye(2) / noise**2, (len(source), 1, 1))
    return source, target, information


TURN = Transform.similarity(angle_deg=10, scale=1.05, translation=(30, 5))


def test_residuals_are_those_of_fits_that_did_not_see_the_tile():
    source, target, information = tiles(TURN)
    folds = spatial_folds(source)
    unseen = folds == 3
    target[unseen] += 0.8
    residuals, _ = fit_folds("affine", source, target, information, TURN)
    # A fit without these tiles cannot follow them, so all of 0.8 px remains.
    np.testing.assert_allclose(residuals[unseen].mean(axis=0), 0.8, atol=0.05)


def test_folds_are_even_and_made_of_blocks():
    source, *_ = tiles(TURN)
    folds = spatial_folds(source)
    sizes = np.bincount(folds)
    assert len(sizes) == 10
    assert sizes.min() > 0.4 * sizes.mean()
    # Most tiles have their right neighbour in the same fold.
    grid = folds.reshape(15, 15)
    assert (grid[:, 1:] == grid[:, :-1]).mean() > 0.35


@pytest.mark.parametrize(
    ("model", "matrix"),
    [
        ("similarity", np.eye(3)),
        ("affine", [[1, 0, 0], [0, 1.0005, 0], [0, 0, 1]]),
        ("homography", [[1, 0, 0], [0, 1, 0], [3e-7, 0, 1]]),
    ],
)
def test_no_more_freedom_than_the_tiles_show(model, matrix):
    true = TURN @ Transform(np.array(matrix, float))
    chosen = [choose_model(*tiles(true, seed=seed), TURN) for seed in range(8)]
    if model == "similarity":
        # Chance may add freedom now and then; it costs little.
        assert chosen.count("similarity") >= 5
    else:
        assert set(chosen) == {model} or chosen.count(model) >= 6


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_the_estimate_is_the_true_error_within_a_factor_of_two(noise):
    true_error, estimate = [], []
    for seed in range(12):
        source, target, information = tiles(TURN, seed=seed, noise=noise)
        fit = fit_plane_robust("affine", source, target, information=information)
        found = assess_accuracy(fit, source, target, information, source)
        off = fit.transform(source) - TURN(source)
        true_error.append((off**2).sum(axis=1).mean())
        estimate.append(found.total**2)
    ratio = np.sqrt(np.mean(estimate) / np.mean(true_error))
    assert 0.5 < ratio < 2.0


@pytest.mark.parametrize("bend", [0.3, 1.0, 3.0])
def test_a_bend_is_measured_not_the_noise(bend):
    source, target, information = tiles(TURN, bend=bend)
    fit = fit_plane_robust("homography", source, target, information=information)
    found = assess_accuracy(fit, source, target, information, source)
    left = fit.transform(source) - target
    truly = np.sqrt((left**2).sum(axis=1).mean() - 2 * NOISE**2)
    assert 0.6 < found.total / truly < 2.0
    assert found.coherent_p95 > 0.6 * bend


def test_noise_and_outliers_alone_are_no_misfit():
    rng = np.random.default_rng(2)
    points = rng.uniform(0, 2000, (250, 2))
    residuals = rng.normal(0.0, 0.2, (250, 2))
    residuals[:40] = rng.uniform(-16, 16, (40, 2))
    rms, p95 = coherent_misfit(points, residuals)
    assert rms < 0.1
    assert p95 < 0.4


def test_too_few_tiles_give_no_accuracy():
    source, target, information = tiles(TURN, count=2)
    fit = fit_plane_robust("similarity", source, target, information=information)
    assert assess_accuracy(fit, source, target, information, source) is None
