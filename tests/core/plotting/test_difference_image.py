from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.plotting import plot_difference_image
from napari_exo2micro.core.plotting.pictures import asinh_ticks, difference_norm

WHITE, BLACK = [255, 255, 255], [0, 0, 0]


def shown(figure: Any) -> Any:
    return figure.axes[0].get_images()[0].get_array()


def test_no_data_is_white_and_zero_is_black() -> None:
    pre = np.full((120, 160), 40, np.uint8)
    post = 2 * pre
    post[60, 80], post[20, 30] = 200, 20
    figure = plot_difference_image(
        post,
        pre,
        scale=2.0,
        offset=0.0,
        post_frame=(0, 0, 160, 120),
        pre_frame=(0, 0, 160, 120),
        final_transform=Transform.similarity(translation=(-50.0, 0.0)),
    )
    colours = shown(figure)
    assert np.all(colours[:, :50] == WHITE)
    assert np.all(colours[5:50, 60:] == BLACK)
    red, _, blue = colours[60, 80].astype(int)
    assert red > blue + 50


def test_less_light_after_staining_is_blue() -> None:
    pre = np.full((60, 80), 40, np.uint8)
    post = pre.copy()
    post[30, 40] = 5
    red, _, blue = shown(plot_difference_image(post, pre, scale=1.0))[30, 40].astype(
        int
    )
    assert blue > red + 50


def test_given_difference_is_the_one_drawn() -> None:
    image = np.full((60, 80), 40, np.uint8)
    difference = np.zeros((60, 80), np.float32)
    difference[10, 20] = 50
    colours = shown(
        plot_difference_image(image, image, difference=difference, scale=1.0)
    )
    assert np.argwhere((colours != BLACK).any(axis=-1)).tolist() == [[10, 20]]


def test_unknown_frames_are_found_from_the_zeros_at_the_edge() -> None:
    post = np.full((100, 100), 40, np.uint8)
    pre = np.pad(np.full((100, 60), 20, np.uint8), ((0, 0), (40, 0)))
    post[50, 70] = pre[50, 70] = 0
    colours = shown(plot_difference_image(post, pre, scale=2.0))
    assert np.all(colours[:, :40] == WHITE)
    assert np.all(colours[:, 40:] == BLACK)


def test_nan_is_no_data() -> None:
    post = np.full((60, 80), 0.5, np.float32)
    pre = post.copy()
    post[20:30, 30:40] = np.nan
    colours = shown(plot_difference_image(post, pre, scale=1.0))
    assert np.all(colours[20:30, 30:40] == WHITE)
    assert np.all(colours[40:, :] == BLACK)


def test_axes_are_in_full_resolution_pixels(words: Any) -> None:
    wide = np.full((500, 3000), 9, np.uint8)
    figure = plot_difference_image(
        wide, wide, scale=1.0, post_frame=(100, 0, 2800, 500)
    )
    picture = figure.axes[0].get_images()[0]
    left, right, bottom, top = picture.get_extent()
    factor = (right - left) / picture.get_array().shape[1]
    assert factor == 3
    assert left % factor == pytest.approx(factor - 0.5)
    assert 97 <= left <= 100
    assert right >= 2899
    assert (bottom, top) == pytest.approx((500, -0.5), abs=3)
    assert "mean of 3 × 3 px" in words(figure)


def test_scale_and_its_method_are_named(pair: Any, words: Any) -> None:
    context = {k: pair.context[k] for k in ("scales", "post_frame", "pre_frame")}
    figure = plot_difference_image(pair.post, pair.pre, scale=1.42, **context)
    assert "post \u2212 1.42 × pre" in words(figure)
    assert "scale: By hand" in words(figure)


def test_stretch_is_even_and_its_ticks_lie_apart() -> None:
    values = np.random.default_rng(0).normal(0, 2, 10_000).astype(np.float32)
    values[:5] = 400
    norm = difference_norm(values)
    assert float(norm(0.0)) == 0.5
    assert -norm.vmin == norm.vmax
    ticks = asinh_ticks(norm)
    assert ticks == sorted(ticks)
    assert [-t for t in reversed(ticks)] == ticks
    assert np.diff([float(norm(t)) for t in ticks]).min() >= 0.07


def test_axes_count_from_the_first_pixel_of_the_raw_image() -> None:
    canvas = np.full((500, 900), 9, np.uint8)
    for frame, first in (((130, 70, 640, 360), (130, 70)), (None, (0, 0))):
        figure = plot_difference_image(canvas, canvas, scale=1.0, post_frame=frame)
        figure.draw_without_rendering()
        axes = figure.axes[0]
        for axis, start in zip((axes.xaxis, axes.yaxis), first, strict=True):
            told = {
                float(label.get_text().replace("\u2212", "-")): place
                for label, place in zip(
                    axis.get_ticklabels(), axis.get_ticklocs(), strict=True
                )
            }
            assert len(told) >= 3
            assert all(place == value + start for value, place in told.items())


def test_a_scale_bar_is_as_long_as_it_says() -> None:
    canvas = np.full((500, 900), 9, np.uint8)
    figure = plot_difference_image(canvas, canvas, scale=1.0, pixel_size=(0.5, 0.5))
    (bar,) = [a for a in figure.axes[0].artists if isinstance(a, AnchoredSizeBar)]
    assert bar.txt_label.get_text() == "100 µm"
    (line,) = bar.size_bar.get_children()
    assert line.get_width() == 200
    figure = plot_difference_image(canvas, canvas, scale=1.0)
    assert not figure.axes[0].artists
