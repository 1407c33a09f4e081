"""Histograms of a pair: exact, independent of windows, stored and read back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_exo2micro.core.base import (
    CancelledError,
    CheckpointError,
    Monitor,
    RegistrationError,
)
from napari_exo2micro.core.images import Transform, mapped_frame
from napari_exo2micro.core.images.warp import valid_mask_window, valid_spans
from napari_exo2micro.core.photometry import accumulate_statistics, statistics
from napari_exo2micro.core.photometry.statistics import (
    PairStatistics,
    load_statistics,
    save_statistics,
)

SHAPE = (217, 331)
QUAD = [(20.5, 10.0), (300.0, -3.0), (310.0, 190.0), (5.0, 200.0)]


def make_pair(dtype: str, seed: int = 0) -> tuple[Any, Any]:
    """Return a pair with zeros, bright spots and the type's largest level."""
    rng = np.random.default_rng(seed)
    pre = rng.gamma(6.0, 8.0, SHAPE)
    pre[:20] = 0.0
    post = 1.4 * pre + rng.normal(0.0, 2.0, SHAPE)
    post[rng.random(SHAPE) < 0.01] += 150.0
    if dtype.startswith("uint"):
        top = np.iinfo(dtype).max
        factor = top / 255 * 0.6
        pair = [np.clip(np.rint(image * factor), 0, top) for image in (post, pre)]
        pair[0][100, 100:120] = top
        return pair[0].astype(dtype), pair[1].astype(dtype)
    return post.astype(dtype), pre.astype(dtype)


def inside(quad: Any) -> Any:
    """Return the mask of a quadrilateral by half planes, pixel by pixel."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    mask = np.ones(SHAPE, bool)
    corners = np.array(quad)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, 0), strict=True):
        mask &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0
    return mask


def same(a: PairStatistics, b: PairStatistics) -> bool:
    """Return whether two statistics are equal to the last bit."""

    def equal(x: Any, y: Any) -> bool:
        if dataclasses.is_dataclass(x):
            return all(
                equal(getattr(x, f.name), getattr(y, f.name))
                for f in dataclasses.fields(x)
            )
        if isinstance(x, np.ndarray):
            nan = x.dtype.kind == "f"
            return x.dtype == y.dtype and np.array_equal(x, y, equal_nan=nan)
        return bool(x == y)

    return equal(a, b)


@pytest.mark.parametrize("quad", [None, QUAD])
def test_8_bit_joint_histogram_is_that_of_numpy(quad: Any) -> None:
    post, pre = make_pair("uint8")
    mask = np.ones(SHAPE, bool) if quad is None else inside(quad)
    found = accumulate_statistics(post, pre, pre_quad=quad, raw_pre=pre)
    expected = np.zeros((256, 256), np.int64)
    np.add.at(expected, (post[mask], pre[mask]), 1)
    np.testing.assert_array_equal(found.joint, expected)
    np.testing.assert_array_equal(
        found.post.counts, np.bincount(post.ravel(), minlength=256)
    )
    np.testing.assert_array_equal(
        found.pre.counts, np.bincount(pre[mask], minlength=256)
    )
    assert found.raw_pre is not None
    np.testing.assert_array_equal(
        found.raw_pre.counts, np.bincount(pre.ravel(), minlength=256)
    )
    assert found.edges[0] == -0.5
    assert found.edges[-1] == 255.5
    assert (found.n_both, found.n_post) == (mask.sum(), post.size)


@pytest.mark.parametrize("quad", [None, QUAD])
def test_16_bit_cells_hold_exactly_the_pixels_between_their_edges(quad: Any) -> None:
    post, pre = make_pair("uint16")
    mask = np.ones(SHAPE, bool) if quad is None else inside(quad)
    found = accumulate_statistics(post, pre, pre_quad=quad)
    expected, _, _ = np.histogram2d(post[mask], pre[mask], (found.edges, found.edges))
    np.testing.assert_array_equal(found.joint, expected)
    np.testing.assert_array_equal(
        found.post.counts, np.bincount(post.ravel(), minlength=65536)
    )
    np.testing.assert_array_equal(
        found.pre.counts, np.bincount(pre[mask], minlength=65536)
    )
    # Fine enough where minerals are: about one per cent of the level.
    wide = np.diff(found.edges) / np.maximum(found.edges[1:], 1)
    assert wide[found.edges[1:] > 2000].max() < 0.012


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floating_point_images_lose_no_pixel(dtype: str) -> None:
    post, pre = make_pair(dtype)
    mask = inside(QUAD)
    found = accumulate_statistics(post, pre, pre_quad=QUAD, raw_pre=pre)
    assert found.n_both == mask.sum() == found.pre.total
    assert found.n_post == post.size == found.post.total
    a, b = post[mask].astype(np.float32), pre[mask].astype(np.float32)
    expected, _, _ = np.histogram2d(a, b, (found.edges, found.edges))
    # A level within rounding of an edge may fall on either side of it.
    assert np.abs(found.joint - expected).sum() < 1e-3 * mask.sum()
    np.testing.assert_array_equal(
        found.joint[0, :].sum() + found.joint[1:, 0].sum(),
        np.count_nonzero((a <= found.edges[1]) | (b <= found.edges[1])),
    )
    expected, _ = np.histogram(post.astype(np.float32), found.post.edges)
    assert np.abs(found.post.counts - expected).sum() < 1e-3 * post.size
    assert found.raw_pre is not None
    assert found.raw_pre.total == pre.size


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_ratio_histogram_leaves_out_zero_and_saturated_pixels(dtype: str) -> None:
    post, pre = make_pair(dtype)
    found = accumulate_statistics(post, pre)
    good = (post > 0) & (pre > 0)
    if dtype == "uint16":
        good &= (post < 65535) & (pre < 65535)
        assert found.post_saturation == 65535
        assert found.n_saturated == np.count_nonzero((post == 65535) | (pre == 65535))
    assert found.ratio is not None
    assert found.ratio.total == good.sum()
    ratio = np.log10(post[good].astype(float) / pre[good])
    expected, _ = np.histogram(ratio, found.ratio.edges)
    # OpenCV's logarithm may put a ratio on an edge into the bin beside it.
    assert np.abs(found.ratio.counts - expected).sum() < 0.01 * good.sum()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_windows_change_nothing(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    post, pre = make_pair(dtype)
    whole = accumulate_statistics(post, pre, pre_quad=QUAD, raw_pre=pre)
    monkeypatch.setattr(statistics, "BAND_PIXELS", 5 * SHAPE[1])
    assert same(whole, accumulate_statistics(post, pre, pre_quad=QUAD, raw_pre=pre))


def test_only_the_frame_counts() -> None:
    post, pre = make_pair("uint8")
    frame = (30, 20, 200, 150)
    window = slice(20, 170), slice(30, 230)
    found = accumulate_statistics(post, pre, post_frame=frame)
    cut = accumulate_statistics(
        np.ascontiguousarray(post[window]), np.ascontiguousarray(pre[window])
    )
    np.testing.assert_array_equal(found.joint, cut.joint)
    assert found.n_post == 150 * 200
    beyond = accumulate_statistics(post, pre, post_frame=(-50, -50, 9999, 9999))
    assert beyond.n_post == post.size


def test_images_are_read_in_windows_only() -> None:
    class Watched:
        """An image that refuses to be read whole."""

        def __init__(self, pixels: Any) -> None:
            self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype
            self.largest = 0

        def __getitem__(self, window: Any) -> Any:
            part = self.pixels[window]
            self.largest = max(self.largest, part.size)
            return part

    post, pre = (Watched(image) for image in make_pair("uint16"))
    found = accumulate_statistics(post, pre, pre_quad=QUAD)
    assert same(found, accumulate_statistics(post.pixels, pre.pixels, pre_quad=QUAD))
    assert 0 < post.largest < post.pixels.size / 4


def test_groups_share_the_section_evenly() -> None:
    post, pre = make_pair("uint8")
    shares = accumulate_statistics(post, pre).groups.sum(axis=(1, 2))
    assert shares.sum() == post.size
    assert shares.min() > 0.9 * post.size / 8


def test_blocks_are_means_and_leave_out_what_is_spoilt() -> None:
    post, pre = make_pair("uint8")
    found = accumulate_statistics(post, pre, pre_quad=QUAD)
    size = found.blocks.size
    mask = inside(QUAD)
    for i, j in ((10, 20), (30, 40), (25, 26), (2, 3), (0, 0)):
        cell = slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size)
        spoilt = not mask[cell].all() or (post[cell] == 255).any()
        spoilt |= (pre[cell] == 255).any()
        for image, means in ((post, found.blocks.post), (pre, found.blocks.pre)):
            if spoilt:
                assert np.isnan(means[i, j])
            else:
                assert means[i, j] == pytest.approx(image[cell].mean(), rel=1e-6)
    assert np.isnan(found.blocks.post[25, 26])
    assert np.isfinite(found.blocks.post[30, 40])
    coarser = found.blocks.coarser()
    assert coarser.size == 2 * size
    cell = slice(15 * 2 * size, 16 * 2 * size), slice(20 * 2 * size, 21 * 2 * size)
    assert coarser.pre[15, 20] == pytest.approx(pre[cell].mean(), rel=1e-6)


def test_saturation_below_the_type_is_noticed() -> None:
    rng = np.random.default_rng(3)
    pre = rng.gamma(9.0, 200.0, (200, 300))
    post = np.minimum(pre * 1.9, 4095).astype(np.uint16)
    found = accumulate_statistics(post, pre.astype(np.uint16))
    assert found.post_saturation == 4095
    assert found.pre_saturation == np.inf
    assert found.n_saturated == np.count_nonzero(post == 4095)
    piled = np.minimum(pre, 3000.0).astype(np.float32)
    assert accumulate_statistics(piled, piled).post_saturation == 3000.0


def test_nan_pixels_count_as_no_data() -> None:
    post, pre = make_pair("float32")
    pre[50:60, 50:60] = np.nan
    found = accumulate_statistics(post, pre)
    assert found.n_both == post.size - 100
    assert np.isnan(found.blocks.pre[13, 13])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_saved_statistics_read_back_equal(dtype: str, tmp_path: Path) -> None:
    post, pre = make_pair(dtype)
    for raw_pre in (None, pre):
        found = accumulate_statistics(post, pre, raw_pre=raw_pre, pre_quad=QUAD)
        path = tmp_path / "statistics.npz"
        save_statistics(path, found)
        assert same(found, load_statistics(path))
        np.load(path, allow_pickle=False).close()


def test_damaged_statistics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    save_statistics(path, accumulate_statistics(*make_pair("uint8")))
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[200:-2000:7] = bytes(len(broken[200:-2000:7]))  # zlib complains
    for content in (b"", b"not this", whole[: len(whole) // 2], whole[:-30], broken):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="run stage 4 again"):
            load_statistics(path)
    with pytest.raises(CheckpointError, match="run stage 4 again"):
        load_statistics(tmp_path / "none.npz")
    np.savez(path, kind="something else")
    with pytest.raises(CheckpointError, match="run stage 4 again"):
        load_statistics(path)


def test_pairs_that_cannot_be_compared_are_refused() -> None:
    post, pre = make_pair("uint8")
    with pytest.raises(RegistrationError, match="of one shape"):
        accumulate_statistics(post, pre[:-1])
    with pytest.raises(RegistrationError, match="of one type"):
        accumulate_statistics(post, pre.astype(np.uint16))
    with pytest.raises(RegistrationError, match="needed"):
        accumulate_statistics(post, pre, post_frame=(900, 900, 10, 10))
    with pytest.raises(RegistrationError, match="needed"):
        accumulate_statistics(np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8))
    with pytest.raises(RegistrationError, match="real numbers"):
        accumulate_statistics(post.astype(complex), pre.astype(complex))
    with pytest.raises(RegistrationError, match="finite"):
        accumulate_statistics(np.full((9, 9), np.nan), np.ones((9, 9)))


def test_counting_can_be_stopped() -> None:
    with pytest.raises(CancelledError):
        accumulate_statistics(
            *make_pair("uint8"), monitor=Monitor(should_stop=lambda: True)
        )


corner = st.tuples(st.floats(-200, 500), st.floats(-200, 400))


@given(corner, st.floats(20, 400), st.floats(20, 400), st.floats(-180, 180))
def test_valid_mask_is_that_of_the_half_planes(
    place: tuple[float, float], width: float, height: float, angle: float
) -> None:
    turn = Transform.similarity(angle_deg=angle, translation=place)
    quad = turn([(0, 0), (width, 0), (width, height), (0, height)])
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    at = turn.inverse()(np.stack([x.ravel(), y.ravel()], 1)).reshape(*SHAPE, 2)
    depth = np.minimum.reduce(
        [at[..., 0], width - at[..., 0], at[..., 1], height - at[..., 1]]
    )
    for corners in (quad, quad[::-1]):
        mask = valid_mask_window(corners, 0, *SHAPE[:1], 0, SHAPE[1])
        found = np.ones(SHAPE, bool) if mask is None else mask.astype(bool)
        clear = np.abs(depth) > 1e-6
        np.testing.assert_array_equal(found[clear], depth[clear] > 0)


def test_valid_mask_of_a_window_is_the_window_of_the_mask() -> None:
    whole = valid_mask_window(QUAD, 0, SHAPE[0], 0, SHAPE[1])
    assert whole is not None
    part = valid_mask_window(QUAD, 180, 210, 3, 99)
    assert part is not None
    np.testing.assert_array_equal(part, whole[180:210, 3:99])
    assert valid_mask_window(QUAD, 50, 60, 100, 110) is None
    outside = valid_mask_window(QUAD, 205, 215, 0, 50)
    assert outside is not None
    assert not outside.any()


def test_mapped_frame_stays_inside_the_data() -> None:
    transform = Transform.similarity(translation=(7.0, -3.0))
    quad = mapped_frame(transform, (100, 50, 40, 30))
    assert quad.min(axis=0).tolist() == [94.0, 54.0]
    assert quad.max(axis=0).tolist() == [131.0, 81.0]
    first, end = valid_spans(mapped_frame(transform, (0, 0, 1, 1)), 0, 5)
    assert (end <= first).all()
    with pytest.raises(RegistrationError, match="four finite corners"):
        valid_spans([(0, 0), (1, 0), (np.nan, 1), (0, 1)], 0, 5)
