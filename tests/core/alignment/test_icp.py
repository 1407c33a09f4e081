"""ICP on outlines: known affine maps, missing parts, limits."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.alignment import BoundarySettings
from napari_exo2micro.core.alignment.boundary import correction_of, match_contours
from napari_exo2micro.core.images import Transform

CENTRE = (300.0, 280.0)


def outline(start=0.0, end=2 * np.pi, step=0.004):
    """A bumpy closed curve, px."""
    turn = np.arange(start, end, step)
    radius = 200 + 25 * np.cos(3 * turn + 1) + 12 * np.sin(7 * turn) + 9 * np.cos(turn)
    return np.column_stack(
        [CENTRE[0] + radius * np.cos(turn), CENTRE[1] + radius * np.sin(turn)]
    )


def affine(angle, scales, shear, shift):
    turn = Transform.similarity(angle_deg=angle, centre=CENTRE, translation=shift)
    stretch = np.array([[scales[0], shear, 0], [0, scales[1], 0], [0, 0, 1.0]])
    about = np.array([[1, 0, CENTRE[0]], [0, 1, CENTRE[1]], [0, 0, 1.0]])
    return turn @ Transform(about @ stretch @ np.linalg.inv(about))


@pytest.mark.parametrize(
    "truth",
    [
        affine(1.5, (1.0, 1.0), 0.0, (4.0, -3.0)),
        affine(-2.0, (1.02, 0.98), 0.01, (-6.0, 5.0)),
        affine(0.5, (0.97, 0.97), 0.0, (0.0, 8.0)),
    ],
)
def test_a_known_affine_map_is_recovered(truth):
    post = outline()
    found = match_contours(
        post, truth(outline(0.001)), Transform.identity(), reach=25.0
    )
    assert found is not None
    off = np.hypot(*(found.transform(post) - truth(post)).T)
    assert off.max() < 0.2
    assert found.rms < 0.1
    assert found.overlap == 1.0


def test_a_missing_part_does_not_pull():
    truth = affine(1.0, (1.01, 1.01), 0.0, (5.0, -4.0))
    post = outline()
    chipped = truth(outline(0.0, 1.7 * np.pi))
    chord = np.linspace(chipped[-1], chipped[0], 150)
    found = match_contours(
        post, np.concatenate([chipped, chord]), Transform.identity(), reach=25.0
    )
    assert found is not None
    kept = outline(0.1, 1.6 * np.pi)
    assert np.hypot(*(found.transform(kept) - truth(kept)).T).max() < 1.0
    assert found.overlap < 0.95


def test_too_few_points_say_nothing():
    assert match_contours(outline()[:20], outline(), Transform.identity(), reach=9) is (
        None
    )
    far = outline() + 5000
    assert match_contours(outline(), far, Transform.identity(), reach=9) is None


def test_the_correction_is_that_of_the_section():
    coarse = Transform.similarity(angle_deg=12, scale=1.1, translation=(50, 7))
    middle = np.array(CENTRE)
    change = Transform.similarity(
        angle_deg=-2.0,
        scale=1.03,
        translation=(3, 4),
        centre=tuple(coarse([middle])[0]),
    )
    found = correction_of(coarse, change @ coarse, middle)
    assert found.translation == pytest.approx(5.0)
    assert found.rotation_deg == pytest.approx(2.0)
    assert found.scales == pytest.approx((1.03, 1.03))


@pytest.mark.parametrize(
    ("limit", "value", "found"),
    [
        ("max_translation", 4.5, "5 px"),
        ("max_rotation", 1.5, "2 deg"),
        ("max_scale_delta", 0.02, "0.03"),
        ("max_scale_diff", 0.03, "0.04"),
    ],
)
def test_a_broken_limit_is_named_with_both_numbers(limit, value, found):
    generous = BoundarySettings.of(
        {
            "max_translation": 10.0,
            "max_rotation": 10.0,
            "max_scale_delta": 0.1,
            "max_scale_diff": 0.1,
        }
    )
    fine = affine(2.0, (1.03, 0.99), 0.0, (3.0, 4.0))
    change = correction_of(Transform.identity(), fine, np.array(CENTRE))
    assert change.beyond(generous) == ""
    told = change.beyond(generous.tuned(**{limit: value}))
    assert f"{limit} = {value:g}" in told
    assert found in told
