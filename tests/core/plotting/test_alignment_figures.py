from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver

from napari_exo2micro.core.images import Transform, warp_window
from napari_exo2micro.core.plotting import plot_fine_alignment, plot_registration
from napari_exo2micro.core.plotting.pictures import (
    overlay,
    take_picture,
    valid_pixels,
    warp_picture,
)


def known(pair: Any, *names: str) -> dict[str, Any]:
    return {name: pair.context[name] for name in names}


def match_values(axes: Any) -> float:
    detail = next(t.get_text() for t in axes.texts if t.get_text().startswith("match"))
    return float(detail.split()[1])


def test_overlay_is_grey_where_alike_green_for_post_magenta_for_pre() -> None:
    post = np.linspace(1, 100, 400, dtype=np.float32).reshape(20, 20)
    alike = overlay(post, 2 * post)
    assert np.array_equal(alike[..., 0], alike[..., 1])
    pre = post.copy()
    post[:10], pre[10:] = 0, 0
    apart = overlay(post, pre)
    assert apart[15, 15, 1] > 0
    assert not apart[15, 15, [0, 2]].any()
    assert apart[5, 5, [0, 2]].all()
    assert apart[5, 5, 1] == 0


def test_registration_shows_outlines_before_and_after(pair: Any, words: Any) -> None:
    figure = plot_registration(
        pair.post,
        pair.pre,
        **known(
            pair,
            "raw_pre",
            "post_frame",
            "pre_frame",
            "final_transform",
            "post_contour",
            "pre_contour",
            "scales",
        ),
    )
    before, after, difference = figure.axes[:3]
    assert [len(axes.get_lines()) for axes in (before, after, difference)] == [2, 2, 0]
    post_line, pre_line = (line.get_xydata() for line in after.get_lines())
    assert pre_line == pytest.approx(post_line, abs=1e-6)
    assert not np.allclose(*(line.get_xydata() for line in before.get_lines()))
    assert match_values(after) > 0.97 > match_values(before)
    assert "outlines" in words(figure)


def test_registration_without_transforms_says_what_is_missing(
    pair: Any, words: Any
) -> None:
    figure = plot_registration(
        pair.post, pair.pre, scale=1.4, **known(pair, "post_contour", "pre_contour")
    )
    text = words(figure).replace("\n", " ")
    assert "The pre-stain image as photographed is not known." in text
    after = figure.axes[1]
    assert len(after.get_lines()) == 1


def test_steps_are_warped_by_their_transforms(pair: Any) -> None:
    figure = plot_fine_alignment(
        pair.post,
        pair.pre,
        **known(
            pair,
            "raw_pre",
            "post_frame",
            "pre_frame",
            "coarse_transform",
            "icp_transform",
        ),
    )
    coarse, detail_coarse, icp, detail_icp, final, detail_final = figure.axes
    assert match_values(coarse) < match_values(icp)
    assert match_values(icp) == pytest.approx(match_values(final), abs=0.01)
    assert match_values(detail_coarse) < 0.9 * match_values(detail_icp)
    assert match_values(detail_final) > 0.95
    left, right, *_ = detail_final.get_images()[0].get_extent()
    assert right - left == 220


def test_step_without_a_transform_is_named(pair: Any, words: Any) -> None:
    figure = plot_fine_alignment(
        pair.post, pair.pre, **known(pair, "raw_pre", "coarse_transform")
    )
    text = words(figure).replace("\n", " ")
    assert "The transform of this step is not known." in text
    assert "No tiles were measured." in text
    assert not figure.axes[2].get_images()
    assert figure.axes[0].get_images()


def test_arrows_show_the_tiles_that_were_used(pair: Any, words: Any) -> None:
    figure = plot_fine_alignment(pair.post, pair.pre, tiles=pair.context["tiles"])
    (arrows,) = (a for a in figure.axes[4].collections if isinstance(a, Quiver))
    assert len(arrows.X) == 2
    assert arrows.U / arrows.U[0] == pytest.approx([1, -0.02 / 0.03])
    assert "what 2 tiles still miss" in words(figure)
    assert to_hex(arrows.get_facecolor()[0]) == "#ffe14d"


def test_scale_of_the_pictures_follows_down_scale(pair: Any) -> None:
    sizes = []
    for down_scale in (0.2, 0.5):
        figure = plot_registration(
            pair.post,
            pair.pre,
            scale=1.4,
            post_frame=pair.post_frame,
            down_scale=down_scale,
        )
        sizes.append(figure.axes[1].get_images()[0].get_array().shape[1])
    assert sizes[0] < 0.6 * sizes[1]


def test_reduced_warp_agrees_with_the_warp_reduced(pair: Any) -> None:
    frame = pair.post_frame
    post = take_picture(pair.post, frame, 150)
    moving = take_picture(pair.raw_pre, pair.pre_frame, 150)
    warped = warp_picture(moving, pair.transform, post)
    rows, columns = pair.post.shape
    full = warp_window(pair.raw_pre, pair.transform, 0, rows, 0, columns, "linear")
    expected = take_picture(full, frame, 150)
    inner = slice(15, -15), slice(15, -15)
    gap = warped.pixels[inner] - expected.pixels[inner]
    assert np.abs(gap).mean() < 0.05 * expected.pixels[inner].mean()
    wrong = warp_picture(
        moving, pair.transform @ Transform.similarity(translation=(3.0, 0.0)), post
    )
    worse = wrong.pixels[inner] - expected.pixels[inner]
    assert np.abs(worse).mean() > 1.5 * np.abs(gap).mean()


@pytest.mark.parametrize("frame", [(0, 0, 90, 70), (13, 7, 50, 41)])
@pytest.mark.parametrize("side", [200, 25])
def test_picture_knows_where_it_is(frame: Any, side: int) -> None:
    y, x = np.mgrid[0:70, 0:90].astype(np.float32)
    across, down = take_picture(x, frame, side), take_picture(y, frame, side)
    rows, columns = across.pixels.shape
    grid = np.mgrid[0 : rows - 1, 0 : columns - 1].reshape(2, -1)[::-1].T
    full = across.to_full(grid.astype(float))
    assert across.pixels[: rows - 1, : columns - 1].ravel() == pytest.approx(full[:, 0])
    assert down.pixels[: rows - 1, : columns - 1].ravel() == pytest.approx(full[:, 1])
    inside = valid_pixels(across, frame, None)
    assert inside.mean() > 0.7
