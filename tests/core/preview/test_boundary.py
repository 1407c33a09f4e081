"""The preview of stage 2: the same alignment as the stage, and what is shown of it."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from napari_exo2micro.core.alignment import register_highorder
from napari_exo2micro.core.base import CancelledError, Monitor
from napari_exo2micro.core.preview import PreviewSource, preview_boundary
from napari_exo2micro.core.preview.preview import outline_lines
from napari_exo2micro.core.simulate import registration_error, simulate_section

PAD = 60


def test_it_finds_what_the_stage_finds(source, pair):
    found = preview_boundary(source, {})
    stage = register_highorder(
        source.post_image,
        source.pre_image,
        post_frame=source.post_frame,
        pre_frame=source.pre_frame,
    )
    np.testing.assert_array_equal(found.transform.matrix, stage.transform.matrix)
    assert found.verdict.state == stage.verdict.state == "ok"
    assert dict(found.verdict.numbers) == dict(stage.verdict.numbers)
    assert np.median(registration_error(pair.truth, found.transform, PAD)) < 0.1


def test_a_second_preview_is_that_of_its_parameters(source):
    preview_boundary(source, {"max_translation": 150.0, "angle_range": 12.0})
    found = preview_boundary(source, {"rotation_search": False, "multiscale": False})
    alone = preview_boundary(
        PreviewSource(
            source.post_image,
            source.pre_image,
            post_frame=source.post_frame,
            pre_frame=source.pre_frame,
        ),
        {"rotation_search": False, "multiscale": False},
    )
    np.testing.assert_array_equal(found.transform.matrix, alone.transform.matrix)


def test_outlines_and_rings_lie_on_one_another(source):
    found = preview_boundary(source, {})
    post, pre = (np.concatenate(x) for x in (found.post_outline, found.pre_outline))
    gap = np.linalg.norm(post[:, None] - pre[None, ::4], axis=2).min(axis=1)
    assert np.median(gap) < 2.0
    x0, y0, width, height = source.post_frame
    assert (post >= (x0, y0)).all()
    assert (post <= (x0 + width, y0 + height)).all()
    a, b = found.post_ring.values, found.pre_ring.values
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
    # The ring lies along the outline.
    place = found.post_ring.to_full.inverse()(post)
    column, row = np.rint(place).astype(int).T
    inside = (row >= 0) & (row < a.shape[0]) & (column >= 0) & (column < a.shape[1])
    assert np.median(a[row[inside], column[inside]]) > 0.7 * a.max()


def test_width_and_softness_change_the_ring(source):
    def covered(**params):
        ring = preview_boundary(source, params).post_ring.values
        return (ring > 0.5 * ring.max()).mean()

    sharp = covered(boundary_width=5, boundary_smooth=0)
    assert covered(boundary_width=25, boundary_smooth=0) > 2 * sharp
    assert covered(boundary_width=5, boundary_smooth=8) > 2 * sharp


@pytest.mark.parametrize("empty", ["post", "pre"])
def test_an_image_without_a_section_is_told(pair, empty):
    images = {"post": pair.post, "pre": pair.pre}
    images[empty] = np.full_like(pair.post, 7)
    found = preview_boundary(PreviewSource(images["post"], images["pre"]), {})
    assert found.verdict.state == "failed"
    assert f"the {empty}-stain image has the same value everywhere" in (
        found.verdict.reason
    )


def test_an_empty_search_range_is_told(source):
    found = preview_boundary(source, {"scale_min": 1.2, "scale_max": 0.9})
    assert found.verdict.state == "failed"
    assert "scale_min must not exceed scale_max" in found.verdict.reason


def test_sections_that_have_nothing_in_common_fail():
    one, other = (simulate_section((400, 460), seed=seed) for seed in (1, 2))
    source = PreviewSource(one.post, other.pre)
    found = preview_boundary(source, {"scale_search": False})
    assert found.verdict.state == "failed"
    assert "the interiors do not agree" in found.verdict.reason


def test_it_stops_when_asked_and_goes_on_later(pair, source_of):
    asked = []

    def after(count):
        asked.clear()

        def stop():
            asked.append(None)
            return len(asked) > count

        return Monitor(should_stop=stop)

    preview_boundary(source_of(pair), {}, after(math.inf))
    often = len(asked)
    assert often > 10
    source = source_of(pair)
    for count in (0, 2, often // 2, often - 1):
        with pytest.raises(CancelledError):
            preview_boundary(source_of(pair), {}, after(count))
    with pytest.raises(CancelledError):
        preview_boundary(source, {}, after(often // 2))
    assert preview_boundary(source, {}).verdict.state == "ok"


def test_threads_share_what_is_made_once(pair, source_of):
    source = source_of(pair)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(source.sections(Monitor())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(one is found[0] for one in found)


def test_outlines_are_cut_where_parts_are_missing():
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = 100 * np.column_stack([np.cos(angle), np.sin(angle)])
    (closed,) = outline_lines(circle)
    np.testing.assert_array_equal(closed[0], closed[-1])
    kept = np.r_[0:150, 250:400]
    halves = outline_lines(circle[kept])
    assert [len(half) for half in halves] == [150, 150]
    assert outline_lines(np.empty((0, 2))) == []
