"""The searches over any turn and both hands, each by itself."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.alignment.boundary import (
    SectionImage,
    SectionPair,
    search_features,
    search_full_circle,
)
from napari_exo2micro.core.alignment.views import open_view
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.simulate import registration_error, simulate_section

SHAPE = (380, 430)


def views(pair):
    return tuple(
        open_view(image, (0, 0, image.shape[1], image.shape[0]), 1600, name="post")
        for image in (pair.post, pair.pre)
    )


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [8.0, -95.0, 171.0])
def test_both_searches_find_any_turn_and_hand(angle, mirrored):
    pair = simulate_section(SHAPE, seed=3, angle_deg=angle, mirrored=mirrored)
    post, pre = views(pair)
    match = search_features(post, pre, Monitor())[0]
    assert match.transform.mirrored == mirrored
    assert match.n_inliers > 30
    assert np.median(registration_error(pair.truth, match.transform)) < 1.0
    sections = SectionPair(*(SectionImage.of(v, Monitor()) for v in (post, pre)))
    found = search_full_circle(sections, [1.0], Monitor())[0]
    assert found.mirrored == mirrored
    assert np.median(registration_error(pair.truth, found.transform)) < 10.0


def test_unrelated_images_share_few_features():
    post, _ = views(simulate_section(SHAPE, seed=3))
    _, pre = views(simulate_section(SHAPE, seed=4))
    assert all(match.n_inliers < 15 for match in search_features(post, pre, Monitor()))
