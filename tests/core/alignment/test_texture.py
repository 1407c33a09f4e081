"""The interior tells right from wrong: scores, patches and ECC."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_exo2micro.core.alignment import BoundarySettings
from napari_exo2micro.core.alignment.texture import (
    agree_on_patches,
    correlation_at,
    interior_texture,
    refine_ecc,
    score_overlap,
)
from napari_exo2micro.core.alignment.views import open_view
from napari_exo2micro.core.images import Transform

SIDE = 420
CENTRE = (SIDE / 2, SIDE / 2)
SETTINGS = BoundarySettings.of({})
POINTS = np.array([(60.0, 60), (360, 70), (210, 210), (70, 350), (340, 360)])


def rock(seed):
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 2.0)
    coarse = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 12.0)
    return (60 + 120 * fine + 300 * coarse).astype(np.float32)


def seen(scene, transform, *, gain=1.0, noise=1.0, light=0.0):
    """The scene as post when `transform` maps post to pre."""
    image = cv2.warpPerspective(
        scene,
        transform.matrix,
        (SIDE, SIDE),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    ramp = 1 + light * np.linspace(-0.5, 0.5, SIDE)
    rng = np.random.default_rng(9)
    return gain * image * ramp + noise * rng.normal(size=image.shape)


def texture(image):
    frame = (0, 0, SIDE, SIDE)
    return interior_texture(open_view(image, frame, SIDE, name="post"), None)


def off(found, truth):
    return np.hypot(*(found(POINTS) - truth(POINTS)).T).max()


def test_scores_of_right_and_wrong_are_far_apart():
    scene = rock(1)
    post = texture(seen(scene, Transform.identity(), gain=1.4, light=0.5, noise=4))
    right = score_overlap(post, texture(scene), Transform.identity())
    assert right.score > 25
    assert right.correlation > 0.7
    for seed in range(2, 8):
        wrong = score_overlap(post, texture(rock(seed)), Transform.identity())
        assert wrong.score < 7
        assert abs(wrong.correlation) < 0.15
    turned = Transform.similarity(angle_deg=20, centre=CENTRE)
    assert score_overlap(post, texture(scene), turned).score < 10


def test_interiors_that_do_not_meet_score_nothing():
    far = Transform.similarity(translation=(400.0, 0.0))
    score = score_overlap(texture(rock(1)), texture(rock(1)), far)
    assert score.score == 0.0


@pytest.mark.parametrize("perspective", [0.0, 6e-5])
def test_patches_agree_on_the_true_map(perspective):
    scene = rock(4)
    truth = Transform.similarity(
        angle_deg=1.2, scale=1.01, translation=(4.0, -3.0), centre=CENTRE
    ) @ Transform(np.array([[1, 0, 0], [0, 1, 0], [perspective, 0, 1.0]]))
    found = agree_on_patches(
        texture(seen(scene, truth, gain=0.8, light=0.6, noise=3)),
        texture(scene),
        Transform.identity(),
    )
    assert found is not None
    assert off(found.transform, truth) < 0.2
    assert found.share > 0.9
    assert off(found.transform, truth) < 2 * found.accuracy + 0.1


def test_patches_of_unrelated_interiors_do_not_agree():
    for seed in range(5, 9):
        found = agree_on_patches(
            texture(rock(4)), texture(rock(seed)), Transform.identity()
        )
        assert found is None or found.share < 0.4


def test_ecc_removes_what_is_left():
    scene = rock(6)
    truth = Transform.similarity(angle_deg=0.3, translation=(1.0, -1.2), centre=CENTRE)
    post, pre = texture(seen(scene, truth, gain=1.2)), texture(scene)
    found = refine_ecc(post, pre, Transform.identity(), SETTINGS)
    assert found is not None
    assert found.after > found.before
    assert found.after == pytest.approx(correlation_at(post, pre, found.transform))
    assert off(found.transform, truth) < 0.15


def test_ecc_of_fewer_rounds_is_farther_off():
    scene = rock(6)
    truth = Transform.similarity(angle_deg=0.5, translation=(2.0, -1.8), centre=CENTRE)
    post, pre = texture(seen(scene, truth)), texture(scene)
    full = refine_ecc(post, pre, Transform.identity(), SETTINGS)
    few = refine_ecc(post, pre, Transform.identity(), SETTINGS.tuned(stopit=1))
    loose = refine_ecc(post, pre, Transform.identity(), SETTINGS.tuned(stopdelta=0.05))
    assert full is not None
    assert few is not None
    assert loose is not None
    assert off(full.transform, truth) < off(few.transform, truth)
    assert off(full.transform, truth) < off(loose.transform, truth)


def test_ecc_that_cannot_converge_says_so():
    away = Transform.similarity(translation=(1000.0, 0.0))
    assert refine_ecc(texture(rock(1)), texture(rock(1)), away, SETTINGS) is None
