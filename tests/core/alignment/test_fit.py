"""Fits of plane transforms to pairs of points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.fit import MODELS, fit_plane, fit_plane_robust
from napari_exo2micro.core.images import Transform

SHAPES = {
    "similarity": np.eye(3),
    "affine": np.array([[1, 0.01, 0], [0, 1.03, 0], [0, 0, 1.0]]),
    "homography": np.array([[1, 0.01, 0], [0, 1.03, 0], [2e-6, -1e-6, 1.0]]),
}


def scattered(count: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(2000.0, 30000.0, (count, 2))


@pytest.mark.parametrize("model", MODELS)
@given(
    angle=st.floats(-180, 180),
    scale=st.floats(0.7, 1.4),
    mirrored=st.booleans(),
)
def test_exact_points_give_the_transform_back(model, angle, scale, mirrored):
    true = Transform.similarity(
        angle_deg=angle,
        scale=scale,
        translation=(300.0, -20.0),
        centre=(15000.0, 14000.0),
        mirrored=mirrored,
    ) @ Transform(SHAPES[model])
    source = scattered(30)
    fit = fit_plane(model, source, true(source))
    assert fit.transform.mirrored == mirrored
    corners = np.array([[0.0, 0.0], [34000.0, 0.0], [34000.0, 29000.0]])
    np.testing.assert_allclose(fit.transform(corners), true(corners), atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_third_of_outliers_does_not_pull(model):
    true = Transform.similarity(angle_deg=77.0, scale=1.1) @ Transform(SHAPES[model])
    rng = np.random.default_rng(3)
    source = scattered(300)
    target = true(source) + rng.normal(0.0, 0.1, source.shape)
    # All to one side: the worst case for a least-squares fit.
    target[:100] += rng.uniform(2.0, 30.0, (100, 2))
    fit = fit_plane_robust(model, source, target)
    off = np.linalg.norm(fit.transform(source) - true(source), axis=1)
    assert off.max() < 0.1
    assert (fit.weights[:100] == 0).mean() > 0.9
    assert (fit.weights[100:] > 0.3).mean() > 0.9


def test_the_predicted_covariance_is_that_of_repeated_fits():
    source, place = scattered(40), np.array([[5000.0, 9000.0]])
    rng = np.random.default_rng(4)
    information = np.full(40, 1 / 0.2**2)
    fits = [
        fit_plane(
            "homography",
            source,
            source + rng.normal(0.0, 0.2, source.shape),
            information=information,
        )
        for _ in range(300)
    ]
    seen = np.cov(np.array([fit.transform(place)[0] for fit in fits]).T)
    predicted = fits[0].predict_covariance(place)[0]
    np.testing.assert_allclose(np.diag(predicted), np.diag(seen), rtol=0.3)


def test_weight_decides_between_points_that_disagree():
    source = scattered(20)
    target = source.copy()
    target[:10] += 5.0
    weights = np.r_[np.full(10, 1e6), np.ones(10)]
    fit = fit_plane("similarity", source, target, information=weights)
    heavy = fit.residuals[:10]
    assert np.abs(heavy).max() < 0.01


def test_too_few_points_are_told_with_their_number():
    with pytest.raises(ValueError, match="homography needs 4 pairs of points, not 3"):
        fit_plane("homography", scattered(3), scattered(3))
