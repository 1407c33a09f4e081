"""Windows, area reduction and warping over images larger than memory."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from napari_exo2micro.core.images import (
    Transform,
    pad_images,
    reduce_image,
    warp_window,
)
from napari_exo2micro.core.images.raster import BAND_ROWS, bands, windows
from napari_exo2micro.core.images.warp import canvas_shape, padded_bands, warped_bands

DTYPES = ("uint8", "uint16", "float32", "float64")


class Sealed:
    """An image that gives windows only, as a large file does."""

    def __init__(self, image, most=1 << 20):
        self._image, self._most = image, most
        self.shape, self.dtype = image.shape, image.dtype

    def __getitem__(self, key):
        window = self._image[key]
        assert window.size <= self._most, f"read {window.shape} at once"
        return window


def pattern(x, y):
    """Return a smooth image evaluated anywhere."""
    return 120 + 60 * np.sin(x / 9) * np.cos(y / 11) + 20 * np.sin((x + y) / 17)


def sampled(shape, dtype="float32"):
    y, x = np.mgrid[: shape[0], : shape[1]]
    values = pattern(x, y)
    if np.issubdtype(np.dtype(dtype), np.integer):
        values = np.rint(values)
    return values.astype(dtype)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(50, 3000))
def test_windows_cover_every_pixel_once(rows, columns, size):
    area = sum(
        (y.stop - y.start) * (x.stop - x.start)
        for y, x in windows((rows, columns), size)
    )
    assert area == rows * columns
    assert [end for _, end in bands((rows, columns), size)][-1] == rows


@settings(max_examples=40)
@given(
    st.integers(1, 1300),
    st.integers(1, 90),
    st.integers(1, 40),
    st.sampled_from(DTYPES),
)
def test_reduction_is_the_mean_of_every_block(rows, columns, factor, dtype):
    image = np.random.default_rng(rows).integers(0, 255, (rows, columns)).astype(dtype)
    reduced, used = reduce_image(image, factor=factor)
    assert used == factor
    height, width = -(-rows // factor), -(-columns // factor)
    padded = np.full((height * factor, width * factor), np.nan)
    padded[:rows, :columns] = image
    blocks = padded.reshape(height, factor, width, factor)
    np.testing.assert_allclose(reduced, np.nanmean(blocks, axis=(1, 3)), rtol=1e-5)


@pytest.mark.parametrize("max_side", [64, 100, 333, 5000])
def test_reduction_keeps_to_the_side_that_was_asked_for(max_side):
    y, x = np.mgrid[:1900, :1201].astype(np.float32)
    reduced, factor = reduce_image(Sealed(x + 2 * y), max_side=max_side)
    assert max(reduced.shape) <= max_side
    # a point of the small image lies where the docstring says: on a ramp, the mean
    # over a block is the value at its centre
    y, x = np.mgrid[: 1900 // factor, : 1201 // factor]
    full = (x + 2 * y + 1.5) * factor - 1.5
    inner = reduced[: full.shape[0], : full.shape[1]]
    np.testing.assert_allclose(inner, full, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("interpolation", ["linear", "cubic", "lanczos"])
def test_a_warped_window_shows_the_image_at_the_mapped_points(dtype, interpolation):
    image = sampled((500, 600), dtype)
    transform = Transform.similarity(
        angle_deg=7, scale=0.93, translation=(11.3, -4.7), centre=(300, 250)
    )
    window = warp_window(image, transform, 150, 350, 200, 420, interpolation)
    assert window.dtype == image.dtype
    y, x = np.mgrid[150:350, 200:420]
    points = transform(np.stack([x.ravel(), y.ravel()], axis=1))
    expected = pattern(points[:, 0], points[:, 1]).reshape(x.shape)
    rounding = 1.0 if np.issubdtype(np.dtype(dtype), np.integer) else 0
    # lanczos is placed to 1/64 px on a slope of at most 8 a px, linear is blunt
    exact = 0.1 if interpolation == "cubic" else 0.5
    assert np.abs(window - expected).max() < rounding + exact
    assert (window - expected).std() < (0.45 if rounding else 0.2)
    assert abs((window - expected).mean()) < 0.02


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "lanczos"])
def test_windows_of_a_warp_fit_together(interpolation):
    image = sampled((700, 900), "uint8")
    transform = Transform.similarity(angle_deg=-31, scale=1.07, centre=(450, 350))
    whole = warp_window(image, transform, 0, 700, 0, 900, interpolation)
    tiled = np.zeros_like(whole)
    for rows, columns in windows(image.shape, 128):
        tiled[rows, columns] = warp_window(
            Sealed(image),
            transform,
            rows.start,
            rows.stop,
            columns.start,
            columns.stop,
            interpolation,
        )
    different = np.abs(tiled.astype(int) - whole)
    assert different.max() <= 1
    assert (different > 0).mean() < 0.03


def test_a_strong_magnification_reads_small_parts_only():
    image = sampled((1300, 1300), "uint8")
    transform = Transform.similarity(scale=10)
    window = warp_window(Sealed(image, 1 << 19), transform, 0, 120, 0, 120, "linear")
    assert window.shape == (120, 120)
    np.testing.assert_allclose(window[5, 5:20], image[50, 50:200:10], atol=1)


def test_cubic_is_keys_kernel_by_its_definition():
    image = np.random.default_rng(3).normal(100, 30, (60, 70))
    bend = Transform([[1, 0, 0.37], [0, 1, -1.6], [1e-4, -2e-4, 1]])
    transform = bend @ Transform.similarity(angle_deg=21, scale=0.8, centre=(35, 30))
    window = warp_window(image, transform, 20, 40, 25, 45, "cubic")
    y, x = np.mgrid[20:40, 25:45]
    points = transform(np.stack([x.ravel(), y.ravel()], axis=1))
    expected = np.zeros(len(points))
    base = np.floor(points).astype(int)

    def keys(distance):
        d = np.abs(distance)
        near = 1.5 * d**3 - 2.5 * d**2 + 1
        return np.where(
            d < 1, near, np.where(d < 2, 2 - 4 * d + 2.5 * d**2 - d**3 / 2, 0)
        )

    for dx in range(-1, 3):
        for dy in range(-1, 3):
            at = base + np.array([dx, dy])
            weight = keys(points - at).prod(axis=1)
            expected += weight * image[at[:, 1], at[:, 0]]
    np.testing.assert_allclose(window.ravel(), expected, atol=0.01)


def test_outside_of_the_image_is_zero():
    window = warp_window(
        np.ones((50, 50)), Transform.similarity(translation=(500, 0)), 0, 9, 0, 9
    )
    assert not window.any()


def test_sides_beyond_what_opencv_takes_are_warped():
    image = np.zeros((40, 34000), np.uint8)
    image[:, 33000:33100] = 200
    transform = Transform.similarity(translation=(500.0, 0.0))
    assembled = np.zeros_like(image)
    for y0, band in warped_bands(image, transform, image.shape):
        assembled[y0 : y0 + band.shape[0]] = band
    assert (assembled[10:30, 32500:32600] == 200).all()
    assert np.count_nonzero(assembled[20]) == 100


def test_bands_of_a_warp_are_the_warp_and_empty_ones_are_left_out():
    image = np.zeros((3000, 800), np.uint16)
    image[1200:1400, 200:500] = sampled((200, 300), "uint16")
    transform = Transform.similarity(angle_deg=3, translation=(4, 900))
    parts = list(
        warped_bands(image, transform, image.shape, frame=(200, 1200, 300, 200))
    )
    assert [y0 for y0, _ in parts] == [0]
    whole = warp_window(image, transform, 0, 3000, 0, 800)
    assert np.abs(parts[0][1].astype(int) - whole[:BAND_ROWS]).max() <= 1
    assert not whole[BAND_ROWS:].any()


@settings(max_examples=30)
@given(
    st.integers(1, 2300),
    st.integers(1, 40),
    st.integers(0, 1100),
    st.integers(1, 700),
)
def test_padding_by_bands_is_padding_at_once(rows, columns, pad, cut):
    image = np.random.default_rng(rows).integers(1, 99, (rows, columns), np.uint8)
    other = np.ones((rows // 2 + 1, columns + 3), np.uint8)
    shape = canvas_shape(image.shape, other.shape, pad)
    whole, smaller = pad_images(image, other, pad)
    assert whole.shape == smaller.shape == shape
    assert whole.dtype == image.dtype
    pieces = ((y, image[y : y + cut]) for y in range(0, rows, cut))
    assembled = np.zeros(shape, np.uint8)
    for y0, band in padded_bands(pieces, shape, pad, image.dtype):
        assert y0 % BAND_ROWS == 0
        assert band.any()
        assembled[y0 : y0 + band.shape[0]] = band
    np.testing.assert_array_equal(assembled, whole)
    np.testing.assert_array_equal(whole[pad : pad + rows, pad : pad + columns], image)
    assert whole.sum() == image.sum()
