"""The map through landmarks, what it is worth, and what contradicts it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core import Landmarks, RegistrationError, Transform
from napari_exo2micro.core.alignment import check_landmarks, fit_landmarks

POST = np.array(
    [[100, 120], [900, 80], [850, 700], [150, 650], [500, 400], [300, 500], [700, 200]],
    float,
)


def clicked(transform: Transform, count: int, off: float = 0.0, seed: int = 0):
    noise = np.random.default_rng(seed).normal(0, off, (count, 2))
    return Landmarks(POST[:count], transform(POST[:count]) + noise)


@pytest.mark.parametrize("mirrored", [False, True])
def test_three_give_turn_magnification_shift_and_hand(mirrored):
    truth = Transform.similarity(
        angle_deg=130.0, scale=4.0, translation=(50.0, -900.0), mirrored=mirrored
    )
    fit = fit_landmarks(clicked(truth, 3))
    assert fit.model == "similarity"
    assert fit.transform.mirrored is mirrored
    assert np.allclose(fit.transform(POST), truth(POST), atol=1e-6)
    assert fit.error_px < 1e-6


def test_more_freedom_is_taken_where_it_predicts_pairs_left_out():
    similar = Transform.similarity(angle_deg=5.0)
    sheared = Transform([[1.0, 0.2, 5.0], [0.0, 1.1, -8.0], [0.0, 0.0, 1.0]])
    seen = Transform([[1.0, 0.1, 5.0], [0.0, 1.1, -8.0], [2e-4, 1e-4, 1.0]])
    assert fit_landmarks(clicked(similar, 7, off=2.0)).model == "similarity"
    assert fit_landmarks(clicked(sheared, 6, off=1.0)).model == "affine"
    assert fit_landmarks(clicked(seen, 7, off=0.2)).model == "homography"


def test_the_error_of_pairs_left_out_is_that_of_the_clicks():
    truth = Transform.similarity(angle_deg=20.0, scale=1.5)
    errors = [
        fit_landmarks(clicked(truth, 7, off=3.0, seed=s)).error_px for s in range(30)
    ]
    # 3 px in x and in y, and what the map through six others adds
    assert 3.5 < np.median(errors) < 6.5


def test_points_that_cannot_be_used_are_told():
    line = np.column_stack([np.linspace(0, 900, 4), np.linspace(0, 450, 4)])
    with pytest.raises(RegistrationError, match="4 landmarks lie on one line in pre"):
        fit_landmarks(Landmarks(POST[:4], line))
    swapped = clicked(Transform.similarity(angle_deg=3.0), 6)
    swapped.pre[[0, 1]] = swapped.pre[[1, 0]]
    with pytest.raises(RegistrationError, match="do not fit each other"):
        fit_landmarks(swapped)
    one = clicked(Transform.similarity(angle_deg=3.0), 7)
    one.pre[4] += (500.0, -300.0)
    with pytest.raises(RegistrationError, match="look at '5' first"):
        fit_landmarks(one)


def test_an_alignment_is_believed_within_the_error_of_the_landmarks():
    truth = Transform.similarity(angle_deg=20.0)
    marks = clicked(truth, 7, off=3.0)
    check = check_landmarks(marks, truth)
    assert check.problem == ""
    assert check.numbers["n_landmarks"] == 7
    found = np.linalg.norm(marks.pre - truth(marks.post), axis=1)
    assert check.numbers["landmarks_largest_px"] == pytest.approx(found.max())
    far = Transform.similarity(angle_deg=20.0, translation=(40.0, 0.0))
    assert "it misses the landmarks by 4" in check_landmarks(marks, far).problem
