"""Point features, their matching and robust fits of the matches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_exo2micro.core.alignment.features import (
    Features,
    detect_features,
    fit_matches,
    match_features,
    stretch_for_features,
)
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.simulate import simulate_section


@pytest.fixture(scope="module")
def turned():
    """A pair turned by 77 degrees: where a biased detector shows."""
    return simulate_section((520, 600), seed=11, angle_deg=77.0, frame_filling=True)


@pytest.fixture(scope="module")
def matches(turned):
    """Return the matched points of that pair: post, pre."""
    return matched(turned.post, turned.pre)


def matched(post, pre):
    first = detect_features(stretch_for_features(post))
    second = detect_features(stretch_for_features(pre))
    pairs = match_features(first, second)
    return first.points[pairs[:, 0]], second.points[pairs[:, 1]]


@pytest.mark.parametrize("model", ["similarity", "affine", "homography"])
def test_features_recover_a_large_turn_to_a_twentieth_of_a_pixel(
    turned, matches, model
):
    post_xy, pre_xy = matches
    fit = fit_matches(post_xy, pre_xy, model=model)
    points = turned.truth.points
    off = np.linalg.norm(fit.transform(points) - turned.truth(points), axis=1)
    assert np.median(off) < 0.05
    assert fit.inlier_ratio > 0.9
    assert fit.n_inliers == np.count_nonzero(fit.residuals <= 3.0)


@pytest.mark.parametrize("model", ["similarity", "affine", "homography"])
def test_a_mirrored_pair_is_fitted_in_original_coordinates(turned, matches, model):
    post_xy, pre_xy = matches
    width = turned.pre.shape[1]
    flipped = np.column_stack([width - 1 - pre_xy[:, 0], pre_xy[:, 1]])
    fit = fit_matches(post_xy, flipped, model=model)
    assert fit.transform.mirrored
    assert fit.inlier_ratio > 0.9


def test_features_lie_inside_the_mask(turned):
    mask = np.zeros(turned.post.shape, bool)
    mask[100:400, 200:500] = True
    points = detect_features(stretch_for_features(turned.post), mask=mask).points
    assert len(points) > 20
    assert points.min(axis=0).tolist() >= [199.0, 99.0]
    assert (points.max(axis=0) <= [501.0, 401.0]).all()


def test_gain_and_offset_hardly_change_the_stretched_image(turned):
    plain = stretch_for_features(turned.post).astype(float)
    other = stretch_for_features(turned.post.astype(np.float32) * 3.7 + 40.0)
    assert np.abs(plain - other).mean() < 0.5


def test_matching_drops_what_is_ambiguous():
    descriptors = np.zeros((3, 128), np.float32)
    descriptors[np.arange(3), np.arange(3)] = 200.0
    points = np.array([[0.0, 0.0], [50.0, 0.0], [100.0, 0.0]])
    features = Features(points, descriptors)
    assert match_features(features, features).tolist() == [[0, 0], [1, 1], [2, 2]]
    twin = Features(
        np.vstack([points, [[150.0, 0.0]]]), np.vstack([descriptors, descriptors[:1]])
    )
    assert match_features(features, twin).tolist() == [[1, 1], [2, 2]]


def test_threads_do_not_change_a_bit(turned):
    before = cv2.getNumThreads()
    found = []
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            post_xy, pre_xy = matched(turned.post, turned.pre)
            fit = fit_matches(post_xy, pre_xy)
            found.append((post_xy.tobytes(), fit.transform.matrix.tobytes()))
    finally:
        cv2.setNumThreads(before)
    assert found[0] == found[1]


def test_nothing_to_see_gives_no_features_and_no_fit():
    flat = np.full((200, 200), 50, np.uint8)
    stretched = stretch_for_features(flat)
    assert (stretched == 128).all()
    assert len(detect_features(stretched).points) == 0
    assert len(detect_features(np.zeros((8, 8), np.uint8)).points) == 0
    nothing = np.empty((0, 2))
    assert fit_matches(nothing, nothing) is None
    rng = np.random.default_rng(0)
    chance = rng.uniform(0, 1000, (2, 20, 2))
    fit = fit_matches(chance[0], chance[1])
    assert fit is None or fit.n_inliers < 8


def test_the_hand_can_be_given():
    source = np.random.default_rng(1).uniform(0, 1000, (50, 2))
    true = Transform.similarity(angle_deg=20, mirrored=True, centre=(500, 500))
    for model in ("similarity", "affine", "homography"):
        assert fit_matches(source, true(source), model=model, mirrored=True) is not None
        wrong = fit_matches(source, true(source), model=model, mirrored=False)
        assert wrong is None or wrong.inlier_ratio < 0.3
        assert wrong is None or not wrong.transform.mirrored
