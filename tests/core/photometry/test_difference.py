"""The difference image is the formula, pixel by pixel, band by band."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_exo2micro.core.base import CancelledError, Monitor
from napari_exo2micro.core.images.warp import valid_mask_window
from napari_exo2micro.core.photometry import (
    accumulate_statistics,
    difference_bands,
    difference_window,
)

SHAPE = (120, 170)
QUAD = [(10.0, 20.0), (150.0, 5.0), (160.0, 90.0), (20.0, 110.0)]
TYPES = ["uint8", "uint16", "int16", "uint32", "float32", "float64", ">u2", ">f4"]


def make_pair(dtype: str) -> tuple[Any, Any]:
    """Return two unlike images of a type."""
    rng = np.random.default_rng(1)
    top = 255 if dtype == "uint8" else 30000
    images = rng.integers(0, top + 1, (2, *SHAPE))
    return images[0].astype(dtype), images[1].astype(dtype)


def joined(bands: Any) -> Any:
    """Return bands as one image; they follow each other without a gap."""
    rows, parts = 0, []
    for y0, band in bands:
        assert y0 == rows
        assert band.dtype == np.float32
        rows += len(band)
        parts.append(np.array(band))
    return np.concatenate(parts)


@pytest.mark.parametrize("dtype", TYPES)
def test_difference_is_the_formula(dtype: str) -> None:
    post, pre = make_pair(dtype)
    expected = post.astype(float) - 3.25 - 1.37 * pre.astype(float)
    found = difference_window(post, pre, 1.37, 3.25)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * abs(expected).max())
    np.testing.assert_array_equal(
        joined(difference_bands(post, pre, scale=1.37, offset=3.25)), found
    )


@pytest.mark.parametrize("max_rows", [1, 7, 50, 1000])
def test_no_data_is_zero_and_bands_do_not_matter(max_rows: int) -> None:
    post, pre = make_pair("uint8")
    frame = (15, 30, 120, 70)
    found = joined(
        difference_bands(
            post,
            pre,
            scale=0.8,
            offset=200.0,
            post_frame=frame,
            pre_quad=QUAD,
            max_rows=max_rows,
        )
    )
    valid = valid_mask_window(QUAD, 0, SHAPE[0], 0, SHAPE[1])
    assert valid is not None
    valid[:30] = valid[100:] = 0
    valid[:, :15] = valid[:, 135:] = 0
    assert 0 < valid.sum() < valid.size
    np.testing.assert_array_equal(
        found, difference_window(post, pre, 0.8, 200.0, valid)
    )
    assert not found[valid == 0].any()


def test_images_without_overlap_give_zeros() -> None:
    post, pre = make_pair("uint16")
    quad = np.array(QUAD) + 1000.0
    assert not joined(difference_bands(post, pre, scale=1.0, pre_quad=quad)).any()


def test_canvas_wider_than_opencv_takes() -> None:
    rng = np.random.default_rng(2)
    post, pre = rng.integers(0, 256, (2, 3, 40000)).astype(np.uint8)
    found = joined(difference_bands(post, pre, scale=2.0))
    np.testing.assert_array_equal(found, post.astype(np.float32) - 2.0 * pre)
    assert accumulate_statistics(post, pre).n_both == post.size


def test_windows_of_unlike_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        difference_window(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 1.0)


def test_subtracting_can_be_stopped() -> None:
    post, pre = make_pair("uint8")
    bands = difference_bands(
        post, pre, scale=1.0, max_rows=10, monitor=Monitor(should_stop=lambda: True)
    )
    with pytest.raises(CancelledError):
        next(bands)
