"""Views: the pixel grid of a reduced frame, and bad frames told."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.alignment.views import between, find_frame, open_view
from napari_exo2micro.core.base import RegistrationError
from napari_exo2micro.core.images import Transform


def blob(shape, centre, sigma=30.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    return np.exp(-square / (2 * sigma**2))


def centroid(image):
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([[(x * image).sum(), (y * image).sum()]]) / image.sum()


@pytest.mark.parametrize("max_side", [700, 300, 101, 50])
def test_points_of_a_view_are_where_they_are_on_the_canvas(max_side):
    image = blob((600, 700), (311.0, 274.0))
    view = open_view(image, (53, 41, 607, 502), max_side, name="post")
    np.testing.assert_allclose(
        view.to_full(centroid(view.image)), [[311.0, 274.0]], atol=0.05
    )


@pytest.mark.parametrize("max_side", [400, 173, 64])
def test_reducing_a_view_keeps_its_points(max_side):
    image = blob((600, 700), (311.0, 274.0))
    view = open_view(image, (53, 41, 607, 502), 700, name="post").reduced(max_side)
    assert max(view.image.shape) == max_side
    np.testing.assert_allclose(
        view.to_full(centroid(view.image)), [[311.0, 274.0]], atol=0.05
    )
    assert view.factor == pytest.approx(607 / max_side, rel=0.01)


def test_a_full_resolution_transform_between_views():
    post = open_view(
        blob((300, 300), (100, 120), 20.0), (0, 0, 300, 300), 150, name="post"
    )
    pre = open_view(
        blob((300, 300), (110, 90), 20.0), (20, 10, 280, 290), 70, name="pre"
    )
    small = between(post, pre, Transform.similarity(translation=(10.0, -30.0)))
    np.testing.assert_allclose(
        small(centroid(post.image)), centroid(pre.image), atol=0.05
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_the_frame_is_the_bounding_box_of_what_is_not_zero(dtype):
    image = np.zeros((700, 400), dtype)
    image[600:620, 50:90] = 3
    image[30, 77] = 1
    assert find_frame(image) == (50, 30, 40, 590)


@pytest.mark.parametrize(
    ("image", "frame", "message"),
    [
        (np.zeros((64, 64)), None, "zero everywhere"),
        (np.full((64, 64), 7), (0, 0, 64, 64), "pre-stain image has the same value"),
        (np.full((64, 64), np.nan), (0, 0, 64, 64), "same value"),
        (np.ones((1, 1)), None, "at least 16 x 16 px.* 1 x 1 px"),
        (np.ones((64, 64)), (0, 0, 64, 9), "64 x 9 px"),
        (np.ones((64, 64)), (10, 0, 60, 30), "does not lie inside"),
        (np.ones((64, 64)), (-1, 0, 60, 30), "does not lie inside"),
        (np.ones((64, 64, 3)), None, "2-D"),
    ],
)
def test_an_image_without_a_section_is_told(image, frame, message):
    with pytest.raises(RegistrationError, match=message):
        open_view(image, frame, 100, name="pre")
