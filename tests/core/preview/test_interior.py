"""The preview of stage 3: matches and an alignment from reduced images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_exo2micro.core.alignment import refine_interior_sift
from napari_exo2micro.core.base import CancelledError, Monitor
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.preview import (
    PreviewSource,
    preview_boundary,
    preview_interior,
)
from napari_exo2micro.core.simulate import registration_error, simulate_section

PAD = 60


@pytest.fixture(scope="module")
def initial(source):
    """What stage 2 would start from, moved by a few px."""
    moved = Transform.similarity(translation=(3.0, -2.0))
    return moved @ preview_boundary(source, {}).transform


def test_it_is_within_a_tenth_of_a_work_pixel_of_the_truth(source, pair, initial):
    found = preview_interior(source, initial, {})
    assert found.verdict.state == "ok"
    assert found.method == "features"
    error = np.median(registration_error(pair.truth, found.transform, PAD))
    assert error < 0.1 * found.reduction
    stage = refine_interior_sift(
        source.post_image,
        source.pre_image,
        initial,
        post_frame=source.post_frame,
        pre_frame=source.pre_frame,
    )
    gap = found.transform(pair.truth.points + PAD) - stage.transform(
        pair.truth.points + PAD
    )
    assert np.linalg.norm(gap, axis=1).max() < 0.3 * found.reduction


def test_a_larger_section_is_looked_at_reduced(source_of):
    pair = simulate_section((1500, 1700), seed=3, angle_deg=2.0, shift=(5.0, 4.0))
    source = source_of(pair)
    start = preview_boundary(source, {}).transform
    found = preview_interior(source, start, {})
    assert found.reduction >= 2
    error = np.median(registration_error(pair.truth, found.transform, PAD))
    assert error < 0.1 * found.reduction


def test_matches_are_on_the_two_canvases(source, pair, initial):
    matches = preview_interior(source, initial, {}).matches
    good = matches.inliers
    assert good.sum() > 100
    expected = pair.truth(matches.post_xy[good] - PAD) + PAD
    gap = np.linalg.norm(expected - matches.pre_xy[good], axis=1)
    assert np.median(gap) < 1.0


def test_limits_are_judged_without_matching_again(source, initial):
    free = preview_interior(source, initial, {})
    asked = preview_interior(source, initial, {"interior_max_correction": 1.0})
    assert asked.verdict.state == "failed"
    assert "wanted a correction of 1 px at most" in asked.verdict.reason
    assert asked.transform == initial
    assert asked.matches.post_xy is free.matches.post_xy


def test_a_ratio_that_is_not_reached_leaves_the_tiles(pair, source_of, initial):
    pre = pair.pre.copy()
    y, x = pre.shape[0] // 2, pre.shape[1] // 2
    pre[y : y + 90, x : x + 90] = pair.pre[y + 8 : y + 98, x + 8 : x + 98]
    moved = source_of(replace(pair, pre=pre))
    found = preview_interior(moved, initial, {"interior_min_inlier_ratio": 1.0})
    assert (found.method, found.verdict.state) == ("tiles", "fell_back")
    assert "wanted an inlier ratio of 1" in found.verdict.reason
    error = np.median(registration_error(pair.truth, found.transform, PAD))
    assert error < 0.1 * found.reduction


def test_it_can_be_switched_off(source, initial):
    found = preview_interior(source, initial, {"interior_ecc": False})
    assert found.verdict.state == "skipped"
    assert found.transform == initial
    assert len(found.matches.inliers) == 0


def test_interiors_that_have_nothing_in_common_leave_the_start():
    one, other = (simulate_section((420, 480), seed=seed) for seed in (1, 2))
    source = PreviewSource(one.post, other.pre)
    found = preview_interior(source, Transform.identity(), {})
    assert found.verdict.state in ("fell_back", "failed")
    assert "the start stands" in found.verdict.reason
    assert found.transform == Transform.identity()


def test_an_empty_image_is_told(pair):
    source = PreviewSource(pair.post, np.zeros_like(pair.pre))
    found = preview_interior(source, Transform.identity(), {})
    assert found.verdict.state == "failed"
    assert "check the raw file" in found.verdict.reason


def test_images_that_do_not_meet_are_told(source):
    away = Transform.similarity(translation=(5000.0, 0.0))
    found = preview_interior(source, away, {})
    assert found.verdict.state in ("fell_back", "failed")
    assert found.transform == away


def test_it_stops_when_asked(pair, initial, source_of):
    source = source_of(pair)
    with pytest.raises(CancelledError):
        preview_interior(source, initial, {}, Monitor(should_stop=lambda: True))
    assert preview_interior(source, initial, {}).verdict.state == "ok"
