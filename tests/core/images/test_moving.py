"""Other images seen through an alignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_exo2micro.core.base import CancelledError, Monitor, ParameterError
from napari_exo2micro.core.images import (
    LazyImage,
    Transform,
    moved_image,
    moved_levels,
    nearest_window,
    outline_of,
    warp_window,
)

TURN = Transform.similarity(
    angle_deg=7.0, scale=1.05, translation=(12.25, -8.5), centre=(150, 120)
)


def labels(shape=(240, 300)) -> np.ndarray:
    random = np.random.default_rng(3)
    small = random.integers(0, 2**40, (12, 15))
    return np.kron(small, np.ones((20, 20), np.int64))[: shape[0], : shape[1]]


def test_the_nearest_pixel_is_that_of_the_transformed_point():
    image = labels()
    seen = nearest_window(image, TURN, 10, 90, 30, 200)
    for row, column in ((0, 0), (40, 100), (79, 169), (7, 33)):
        x, y = np.floor(TURN([[30 + column, 10 + row]])[0] + 0.5).astype(int)
        inside = 0 <= x < image.shape[1] and 0 <= y < image.shape[0]
        assert seen[row, column] == (image[y, x] if inside else 0)


@given(
    angle=st.floats(-180, 180),
    scale=st.floats(0.05, 30),
    y0=st.integers(-50, 200),
    x0=st.integers(-50, 200),
)
def test_labels_keep_their_values_and_tiles_equal_the_whole(angle, scale, y0, x0):
    image = labels()
    move = Transform.similarity(angle_deg=angle, scale=scale, centre=(150, 120))
    whole = nearest_window(image, move, y0, y0 + 64, x0, x0 + 80)
    assert set(np.unique(whole)) <= {0, *np.unique(image)}
    part = nearest_window(image, move, y0 + 10, y0 + 30, x0 + 5, x0 + 25)
    np.testing.assert_array_equal(part, whole[10:30, 5:25])


def test_nothing_is_read_for_a_window_outside():
    def refuse(window):
        raise AssertionError(window)

    image = LazyImage((100, 100), np.int32, refuse)
    move = Transform.similarity(translation=(5000.0, 0.0))
    assert not nearest_window(image, move, 0, 50, 0, 50).any()


def test_an_image_is_warped_as_stage_3_does():
    image = np.random.default_rng(1).integers(0, 255, (240, 300)).astype(np.uint8)
    (level,) = moved_levels([image], TURN, (240, 300))
    wanted = warp_window(image, TURN, 0, 240, 0, 300, "cubic")
    np.testing.assert_array_equal(np.asarray(level), wanted)
    np.testing.assert_array_equal(moved_image(level), wanted)
    # Another window rounds its positions otherwise: by one grey level, seldom.
    part = level[17:99, 40:222].astype(int) - wanted[17:99, 40:222]
    assert np.abs(part).max() <= 1
    assert np.count_nonzero(part) < part.size / 100


def test_colours_are_moved_one_by_one():
    image = np.random.default_rng(1).integers(0, 255, (90, 80, 3)).astype(np.uint8)
    (level,) = moved_levels([image], TURN, (70, 60), interpolation="linear")
    assert level.shape == (70, 60, 3)
    for index in range(3):
        wanted = warp_window(image[..., index], TURN, 0, 70, 0, 60, "linear")
        np.testing.assert_array_equal(np.asarray(level)[..., index], wanted)


@pytest.mark.parametrize("dtype", ["uint32", "int64", "float16", "int8", "bool"])
def test_other_types_stay_what_they_are(dtype):
    image = (np.arange(80 * 90).reshape(80, 90) % 100 > 40).astype(dtype) * 1
    image = image.astype(dtype)
    (level,) = moved_levels([image], Transform.identity(), (80, 90))
    assert level.dtype == image.dtype
    np.testing.assert_array_equal(np.asarray(level), image)


def test_small_levels_lie_where_the_large_one_does():
    rows, columns = np.mgrid[0:2600, 0:2300]
    image = (rows * 3 + columns * 5).astype(np.float32)
    half = image.reshape(1300, 2, 1150, 2).mean(axis=(1, 3))
    levels = moved_levels([image, half], TURN, image.shape, interpolation="linear")
    assert [level.shape for level in levels] == [
        (2600, 2300),
        (1300, 1150),
        (650, 575),
    ]
    full = levels[0][800:1200, 700:1100]
    means = full.reshape(200, 2, 200, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(levels[1][400:600, 350:550], means, atol=0.1)


def test_a_volume_is_refused():
    with pytest.raises(ParameterError, match="2-D image"):
        moved_levels([np.zeros((3, 4, 5, 6), np.uint8)], TURN, (4, 5))
    with pytest.raises(ParameterError, match="2-D image"):
        moved_levels([np.zeros((4, 5), "U3")], TURN, (4, 5))


def test_moving_can_be_stopped():
    (level,) = moved_levels([np.zeros((80, 90), np.uint8)], TURN, (80, 90))
    with pytest.raises(CancelledError):
        moved_image(level, Monitor(should_stop=lambda: True))


def test_the_outline_holds_the_whole_image():
    image = np.full((40, 60), 200, np.uint8)
    (x, y), shape = outline_of(image.shape, TURN)
    start = Transform.similarity(translation=(float(x), float(y)))
    inside = nearest_window(image, TURN @ start, 0, shape[0], 0, shape[1])
    wider = nearest_window(image, TURN @ start, -9, shape[0] + 9, -9, shape[1] + 9)
    assert np.count_nonzero(inside) == np.count_nonzero(wider) > 0
