"""Tiles: where they lie and what shift is measured on them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_exo2micro.core.alignment.tiles import (
    BANDS,
    TileShape,
    choose_tiles,
    measure_tiles,
)
from napari_exo2micro.core.base import CancelledError, Monitor
from napari_exo2micro.core.images import Transform

SIDE = 420
FRAME = (0, 0, SIDE, SIDE)
CENTRES = np.array(
    [(x, y) for y in range(90, 340, 48) for x in range(90, 340, 48)], float
)


def texture(seed=0):
    rng = np.random.default_rng(seed)
    fine = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1.6)
    coarse = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 6.0)
    image = fine / fine.std() + coarse / coarse.std()
    return (image - image.min()) / np.ptp(image) * 180.0 + 20.0


def moved(image, dx, dy):
    """Return an image g with ``image(x) = g(x + d)``, by its spectrum."""
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), (dy, dx))).real


def measure(post, pre, transform=None, **options):
    return measure_tiles(
        post,
        pre,
        transform or Transform.identity(),
        CENTRES,
        post_frame=FRAME,
        pre_frame=FRAME,
        shape=TileShape(64, 12),
        **options,
    )


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.31, -0.48), (4.5, -7.27)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_shift_is_measured_to_a_hundredth_of_a_pixel(shift, dtype):
    image = texture() * (250 if dtype is np.uint16 else 1)
    post, pre = (image * 1.2 + 4).astype(dtype), moved(image, *shift).astype(dtype)
    found = measure(post, pre)
    assert found.matched.all()
    off = found.shifts - shift
    assert np.abs(off).max() < 0.05
    assert np.abs(off.mean(axis=0)).max() < 0.01


def test_the_grid_of_the_resampling_leaves_no_bias():
    # OpenCV samples to 1/32 px: halfway between, all px would be off alike.
    image = texture()
    shift = 2.0 + 1.0 / 64.0
    pre = moved(image, shift, shift).astype(np.float32)
    estimate = Transform.similarity(translation=(shift, shift))
    found = measure(image.astype(np.float32), pre, estimate)
    assert np.abs(found.shifts.mean(axis=0)).max() < 0.003


def test_shifts_are_in_post_pixels_whatever_the_turn():
    image = texture()
    turn = Transform.similarity(angle_deg=90.0, centre=(209.5, 209.5), mirrored=True)
    y, x = np.mgrid[:SIDE, :SIDE]
    grid = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    back = np.rint(turn.inverse()(grid)).astype(int)
    pre = image[back[:, 1] % SIDE, back[:, 0] % SIDE].reshape(image.shape)
    off = Transform.similarity(translation=(1.5, -0.5))
    found = measure(image, pre, turn @ off)
    np.testing.assert_allclose(np.median(found.shifts, axis=0), (-1.5, 0.5), atol=0.02)


def test_the_information_predicts_the_scatter():
    image = texture()
    rng = np.random.default_rng(5)
    post = image + rng.normal(0.0, 12.0, image.shape)
    pre = moved(image, 0.4, 0.2) + rng.normal(0.0, 12.0, image.shape)
    found = measure(post, pre)
    off = (found.shifts - (0.4, 0.2))[found.matched]
    covariance = np.linalg.inv(found.information[found.matched])
    predicted = np.sqrt(np.median(covariance[:, [0, 1], [0, 1]]))
    seen = 1.4826 * np.median(np.abs(off))
    assert 0.5 < predicted / seen < 2.0


@pytest.mark.parametrize("band", BANDS)
def test_every_band_measures_the_same_shift(band):
    image = texture()
    found = measure(image, moved(image, 1.3, 0.6), band=band)
    np.testing.assert_allclose(np.median(found.shifts, axis=0), (1.3, 0.6), atol=0.02)


def test_unrelated_windows_are_not_found():
    found = measure(texture(1), texture(2))
    assert found.matched.mean() < 0.1


def test_flat_windows_are_not_found():
    flat = np.full((SIDE, SIDE), 80, np.uint8)
    assert not measure(flat, flat).matched.any()


def test_pixels_of_microbes_lose_their_say():
    image = texture()
    rng = np.random.default_rng(6)
    spots = np.zeros_like(image)
    spots[rng.integers(0, SIDE, 250), rng.integers(0, SIDE, 250)] = 1.0
    post = image + 6000.0 * ndimage.gaussian_filter(spots, 2.0)
    pre = moved(image, 0.4, 0.2)
    plain = measure(post, pre)
    careful = measure(post, pre, expected=np.full(CENTRES.shape, (0.4, 0.2)))

    def error(found):
        off = np.where(found.matched[:, None], found.shifts - (0.4, 0.2), 1.0)
        return np.median(np.linalg.norm(off, axis=1))

    assert error(careful) < 0.5 * error(plain)
    assert careful.correlation.mean() > plain.correlation.mean()


def test_tiles_beyond_the_frame_are_not_used():
    image = texture()
    narrow = (0, 0, 150, SIDE)
    found = measure_tiles(
        image,
        image,
        Transform.identity(),
        CENTRES,
        post_frame=narrow,
        pre_frame=FRAME,
        shape=TileShape(64, 12),
    )
    assert not found.matched[CENTRES[:, 0] > 190].any()
    assert found.matched[CENTRES[:, 0] < 110].all()


def test_a_request_to_stop_is_heard():
    image = texture()
    with pytest.raises(CancelledError):
        measure(image, image, monitor=Monitor(should_stop=lambda: True))


def test_tiles_lie_on_texture_inside_both_images():
    image = texture().astype(np.float32)
    image[:, :200] = 100.0
    valid = np.ones(image.shape, bool)
    valid[:60] = False
    centres = choose_tiles(image, valid, factor=4, core=96, count=60)
    small = (centres + 0.5) / 4 - 0.5
    assert 30 <= len(centres) <= 70
    assert (small[:, 0] > 185).all()
    assert (small[:, 1] > 60).all()
    assert np.array_equal(centres, np.rint(centres))
    # Spread: each quarter of the textured half has its share.
    quarters = (small[:, 0] > 310).astype(int) * 2 + (small[:, 1] > 240)
    assert np.bincount(quarters, minlength=4).min() > 3


def test_no_valid_area_gives_no_tiles():
    image = texture().astype(np.float32)
    nowhere = np.zeros(image.shape, bool)
    assert len(choose_tiles(image, nowhere, factor=1, core=64, count=60)) == 0
    none = measure_tiles(
        image,
        image,
        Transform.identity(),
        np.empty((0, 2)),
        post_frame=FRAME,
        pre_frame=FRAME,
        shape=TileShape(64, 12),
    )
    assert len(none.matched) == 0
