from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.plotting import plot_zoom, plot_zoom_multi


def extent(axes: Any) -> tuple[float, ...]:
    return tuple(axes.get_images()[0].get_extent())


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(4).integers(1, 200, (300, 400), dtype=np.uint8)


def test_three_panels_show_the_same_full_resolution_crop(
    image: Any, words: Any
) -> None:
    figure = plot_zoom_multi(image, image, scale=1.0, row=100, column=200, size=80)
    panels = [axes for axes in figure.axes if axes.get_images() and axes.get_xlabel()]
    assert len(panels) == 3
    for axes in panels:
        assert extent(axes) == (159.5, 239.5, 139.5, 59.5)
        assert axes.get_images()[0].get_array().shape[:2] == (80, 80)
    assert "Post-stain\nPre, aligned" not in words(figure)
    assert {"Post-stain", "Pre, aligned", "post \u2212 1 × pre"} <= set(
        words(figure).split("\n")
    )


def test_post_and_pre_share_one_grey_scale(image: Any) -> None:
    figure = plot_zoom_multi(image, image // 2, scale=2.0, size=100)
    post, pre = (axes.get_images()[0].get_array()[..., 0] for axes in figure.axes[:2])
    assert post.mean() > 1.7 * pre.mean()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"row": 0, "column": 0, "size": 50}, (-0.5, 24.5, 24.5, -0.5)),
        ({"size": (20, 60)}, (169.5, 229.5, 159.5, 139.5)),
        ({"row": 299, "column": 399, "size": 9}, (394.5, 399.5, 299.5, 294.5)),
        ({"size": 10_000}, (-0.5, 399.5, 299.5, -0.5)),
    ],
)
def test_crop_ends_at_the_image(image: Any, place: Any, expected: Any) -> None:
    figure = plot_zoom(image, image, show="post", **place)
    assert extent(figure.axes[0]) == expected


def test_grey_values_and_blur(image: Any) -> None:
    def pixels(**more: Any) -> Any:
        figure = plot_zoom(image, image, show="pre", size=60, **more)
        return figure.axes[0].get_images()[0].get_array()[..., 0].astype(float)

    plain = pixels()
    crop = image[120:180, 170:230].astype(float)
    assert np.corrcoef(plain.ravel(), crop.ravel())[0, 1] > 0.999
    neighbours = np.abs(np.diff(plain, axis=1)).mean()
    assert np.abs(np.diff(pixels(blur=4.0), axis=1)).mean() < 0.7 * neighbours


def test_difference_of_the_crop(image: Any, words: Any) -> None:
    post = image.copy()
    post[150, 200] = 255
    figure = plot_zoom(post, image, scale=1.0, size=20)
    colours = figure.axes[0].get_images()[0].get_array()
    lit = np.argwhere((colours != 0).any(axis=-1))
    assert lit.tolist() == [[10, 10]]
    assert "post \u2212 1 × pre" in words(figure)


def test_place_without_data_says_so(words: Any) -> None:
    zeros = np.zeros((80, 90), np.uint8)
    assert "No data here." in words(plot_zoom(zeros, zeros, scale=1.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size must be 1 px or more"),
        ({"row": 900}, "the crop must touch the image of 300 rows and 400 columns"),
        ({"blur": -1.0}, "blur must be a sigma from 0 to 1000 px"),
        ({"blur": float("nan")}, "blur must be a sigma"),
        ({"show": "both"}, "show must be 'difference', 'post' or 'pre'"),
    ],
)
def test_wrong_places_are_refused(image: Any, wrong: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        plot_zoom(image, image, scale=1.0, **wrong)
