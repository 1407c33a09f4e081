"""Images made when they are read: the same pixels as made at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_exo2micro.core.images import (
    LazyImage,
    brightness_limits,
    brightness_range,
    open_raster,
    pyramid,
    scaled_pyramid,
    symmetric_range,
)
from napari_exo2micro.core.images.io import write_raster
from napari_exo2micro.core.images.lazy import every_pixel, held, lazy
from napari_exo2micro.core.images.warp import valid_mask_window
from napari_exo2micro.core.photometry import difference_pyramid, difference_window

DATA = np.random.default_rng(3).integers(0, 250, (2300, 1900), dtype=np.uint8)


def saved(folder: Path, pixels: np.ndarray, suffix: str) -> Path:
    path = folder / f"image{suffix}"
    parts = ((y0, pixels[y0 : y0 + 1024]) for y0 in range(0, len(pixels), 1024))
    write_raster([path], pixels.shape, pixels.dtype, parts, header={})
    return path


INDEX = st.one_of(
    st.integers(-40, 39),
    st.builds(
        slice,
        st.none() | st.integers(-60, 60),
        st.none() | st.integers(-60, 60),
        st.none() | st.sampled_from([1, 2, 3, 7, -1, -4]),
    ),
)


@given(st.one_of(INDEX, st.tuples(INDEX), st.tuples(INDEX, INDEX)))
def test_it_is_cut_like_an_array(key):
    pixels = DATA[:40, :40]
    image = LazyImage(pixels.shape, pixels.dtype, lambda window: pixels[window])
    np.testing.assert_array_equal(image[key], pixels[key])
    np.testing.assert_array_equal(lazy(pixels)[key], pixels[key])
    np.testing.assert_array_equal(
        every_pixel(lazy(DATA[:120, :119]), 3)[key], DATA[:120:3, :119:3][key]
    )


def test_colours_and_an_ellipsis():
    pixels = DATA[:30, :60].reshape(30, 20, 3)
    image = lazy(pixels)
    assert (image.ndim, image.size, len(image)) == (3, 1800, 30)
    np.testing.assert_array_equal(image[..., 1], pixels[..., 1])
    np.testing.assert_array_equal(image[5:9, 3, :2], pixels[5:9, 3, :2])
    np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize(
    ("shape", "pieces"),
    [((3000, 100), (256, 100)), ((500, 600, 3), (256, 256, 3)), ((7, 9), (7, 9))],
)
def test_pieces_have_as_many_axes_as_the_image(shape, pieces):
    assert LazyImage(shape, np.uint8, lambda window: np.zeros(shape)).chunks == pieces


def test_an_index_outside_is_refused():
    with pytest.raises(IndexError):
        lazy(DATA)[5000, 3]


def test_only_the_window_is_read():
    asked = []

    def read(window):
        asked.append(window)
        return DATA[window]

    image = LazyImage(DATA.shape, DATA.dtype, read)
    image[100:140:4, -30:]
    assert asked == [(slice(100, 137), slice(1870, 1900))]


@pytest.mark.parametrize("suffix", [".tiff", ".fits"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pyramid_of_a_file(tmp_path, suffix, dtype):
    pixels = DATA.astype(dtype)
    levels = pyramid(open_raster(saved(tmp_path, pixels, suffix)))
    assert max(levels[-1].shape) <= 1024 < max(levels[-2].shape)
    np.testing.assert_array_equal(np.asarray(levels[0]), pixels)
    for number, level in enumerate(levels):
        assert level.dtype == pixels.dtype
        assert all(
            abs(have * 2**number - side) < 2**number
            for have, side in zip(level.shape, pixels.shape, strict=True)
        )
        whole = np.asarray(level)
        np.testing.assert_array_equal(level[5:50, 7:99], whole[5:50, 7:99])
        # A smaller level shows the same picture: means over its blocks agree.
        assert abs(whole.mean() - pixels.mean()) < 1.5


def test_scaled():
    (image,) = scaled_pyramid([lazy(DATA)], 1.37)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[5:9, :50], DATA[5:9, :50] * 1.37, rtol=1e-6)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_difference_where_both_have_data(number):
    factor = 2**number
    shape = (400 // factor, 360 // factor)
    post = [lazy(DATA[: 400 // 2**n, : 360 // 2**n]) for n in range(3)]
    pre = [lazy(DATA[500 : 500 + 400 // 2**n, : 360 // 2**n]) for n in range(3)]
    frame = (40, 80, 240, 200)
    quad = np.array([(60.0, 60.0), (300.0, 90.0), (280.0, 350.0), (50.0, 330.0)])
    levels = difference_pyramid(
        post, pre, scale=0.8, offset=3.0, post_frame=frame, pre_quad=quad
    )
    image = levels[number]
    assert image.shape == shape
    whole = np.asarray(image)
    expected = difference_window(
        np.asarray(post[number]), np.asarray(pre[number]), 0.8, 3.0
    )
    inside = np.zeros(shape, bool)
    inside[80 // factor : 280 // factor, 40 // factor : 280 // factor] = True
    small = (quad + 0.5) / factor - 0.5
    inside &= valid_mask_window(small, 0, shape[0], 0, shape[1]) > 0
    assert 0.2 < inside.mean() < 0.5
    np.testing.assert_array_equal(whole, np.where(inside, expected, 0))
    np.testing.assert_array_equal(image[17:60, 11:80], whole[17:60, 11:80])


def test_ranges_for_showing():
    ramp = np.zeros((200, 200), np.float32)
    ramp[:, 100:] = np.linspace(1, 100, 100)
    low, high = brightness_range([lazy(ramp)])
    assert low == 1
    assert 98 < high <= 100
    low, high = symmetric_range([lazy(-2 * ramp)])
    assert low == -high
    assert 196 < high <= 200
    assert brightness_range([lazy(np.zeros((4, 4)))]) == (0.0, 1.0)
    assert brightness_range([lazy(np.full((4, 4), 7))]) == (0.0, 7.0)
    assert symmetric_range([lazy(np.full((4, 4), np.nan))]) == (-1.0, 1.0)


@pytest.mark.parametrize("pedestal", [0, 1000, 40_000, -32_000, -700])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.02])
def test_black_and_white_are_those_of_the_section_whatever_the_pedestal(
    pedestal: int, share: float
) -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(pedestal, 5.0, (1000, 1000))
    section = slice(0, round(1000 * share))
    image[section] = pedestal + rng.uniform(100.0, 1100.0, image[section].shape)
    low, high = brightness_limits(np.rint(image).astype(np.int32))
    assert high == pytest.approx(pedestal + 1098, abs=4)
    darkest = pedestal + (105 if share == 1.0 else -12)
    assert low == pytest.approx(darkest, abs=6)


def test_a_small_level_that_no_file_holds_is_read_once():
    windows = []

    def read(window):
        windows.append(window)
        return DATA[window]

    released = []
    image = LazyImage(DATA.shape, DATA.dtype, read)
    level = held(every_pixel(image, 2), then=lambda: released.append(1))
    np.testing.assert_array_equal(level[3:9, 5:8], DATA[::2, ::2][3:9, 5:8])
    count = len(windows)
    np.testing.assert_array_equal(np.asarray(level), DATA[::2, ::2])
    assert len(windows) == count
    assert released == [1]
