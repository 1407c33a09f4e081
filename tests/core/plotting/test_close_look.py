"""The zoom box: images on one grid, every pixel in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.base import CancelledError, Monitor, ParameterError
from napari_exo2micro.core.plotting import (
    LARGEST_BOX,
    CloseLook,
    PlacedImage,
    draw_close_look,
    figure_pixels,
    save_close_look,
)
from napari_exo2micro.core.plotting.zoom import level_scale

SHAPE = (700, 900)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(4)
    pre = rng.integers(20, 120, SHAPE).astype(np.uint8)
    post = np.rint(pre * 1.5).astype(np.uint8)
    return post, pre


@pytest.fixture
def look(images):
    """Post as photographed, pre on a canvas with 50 px around it."""
    post, pre = images
    canvas = np.pad(pre, 50)
    return CloseLook(
        PlacedImage([post]), PlacedImage([canvas], (-50, -50)), SHAPE, scale=1.5
    )


@pytest.mark.parametrize("offset", [(0, 0), (-50, -50), (30, -20), (2000, 0)])
def test_images_are_cut_to_posts_own_grid(offset):
    pixels = np.random.default_rng(0).integers(1, 99, (300, 200)).astype(np.uint8)
    truth = np.zeros((260, 240), np.uint8)
    for row in range(260):
        for column in range(240):
            r, c = row - offset[0], column - offset[1]
            if 0 <= r < 300 and 0 <= c < 200:
                truth[row, column] = pixels[r, c]
    cut = PlacedImage([pixels], offset).cut((260, 240))
    np.testing.assert_array_equal(np.asarray(cut[:, :]), truth)
    np.testing.assert_array_equal(cut[20:90, 100:240], truth[20:90, 100:240])


def crop_of(figure, box):
    """Return the pixels of the first panel of a figure."""
    pixels = figure_pixels(figure)
    axes = figure.axes[0].get_window_extent()
    left, top = round(axes.x0), round(pixels.shape[0] - axes.y1)
    return pixels[top : top + box, left : left + box, 0]


def test_every_pixel_of_a_large_box_is_in_the_picture(look, images):
    """Brightness of the first panel: the order of any two pixels is kept."""
    figure = draw_close_look(look, 350, 450, 600)
    extent = figure.axes[0].get_window_extent()
    assert extent.width >= 600 - 1e-6
    panel = crop_of(figure, 600)[5:-5, 5:-5].astype(float)
    truth = images[0][50:650, 150:750][5:-5, 5:-5].astype(float)
    assert np.corrcoef(panel.ravel(), truth.ravel())[0, 1] > 0.99


def test_a_coarser_picture_leaves_the_figure_as_it_is(look):
    figure = draw_close_look(look, 350, 450, 600)
    whole = figure_pixels(figure)
    coarse = figure_pixels(figure, 1000)
    assert abs(coarse.shape[1] - 1000) <= 1
    np.testing.assert_array_equal(figure_pixels(figure), whole)


def test_a_provisional_scale_is_that_of_the_images(look):
    without = CloseLook(look.post, look.pre, SHAPE)
    scale, _ = level_scale(without)
    assert scale == pytest.approx(1.5, rel=0.02)
    assert draw_close_look(without, 350, 450, 100).axes


@pytest.mark.parametrize(("row", "size"), [(5000, 100), (350, LARGEST_BOX + 1)])
def test_a_box_that_is_not_possible_is_told(look, row, size):
    with pytest.raises(ParameterError, match="choose a"):
        draw_close_look(look, row, 450, size)


def test_it_can_be_stopped(look):
    with pytest.raises(CancelledError):
        draw_close_look(look, 350, 450, 100, monitor=Monitor(should_stop=lambda: True))


def test_it_is_saved_as_large_as_it_is_drawn(look, tmp_path):
    from PIL import Image

    figure = draw_close_look(look, 350, 450, 620)
    path = save_close_look(figure, tmp_path / "zoom.png", monitor=Monitor())
    with Image.open(path) as picture:
        assert picture.size == figure_pixels(figure).shape[1::-1]
