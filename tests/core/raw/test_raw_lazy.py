"""A raw pair to look at: the same pixels as stage 1 reads, but only some of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_exo2micro.core.base import (
    CancelledError,
    DataWarning,
    Monitor,
    RawDataError,
    RawFileNotFoundError,
)
from napari_exo2micro.core.raw import open_lazy_pair
from napari_exo2micro.core.raw.pair import open_image_pair

SHAPE = (1130, 1290)

FORMATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strips": {"compression": "lzw", "rowsperstrip": 7},
    "one strip": {"compression": "zlib", "rowsperstrip": SHAPE[0]},
    "tiles": {"compression": "zlib", "tile": (64, 128)},
    "plain tiles": {"tile": (64, 64)},
    "planar": {"planarconfig": "separate"},
    "planar tiles": {
        "planarconfig": "separate",
        "compression": "lzw",
        "tile": (64, 64),
    },
    "big endian": {"byteorder": ">"},
}


def write_pair(folder: Path, post: Any, pre: Any, **options: Any) -> tuple[Path, Path]:
    """Write a pair as Rock / DAPI below `folder`."""
    paths = []
    byteorder = options.pop("byteorder", "<")
    (folder / "Rock").mkdir(parents=True, exist_ok=True)
    for side, image in (("Post", post), ("Pre", pre)):
        own = dict(options)
        stored = image
        if own.get("planarconfig") == "separate":
            stored = np.moveaxis(image, -1, 0)
        path = folder / "Rock" / f"Rock_{side}Stain_DAPI.tif"
        tifffile.imwrite(
            path,
            stored,
            byteorder=byteorder,
            photometric="rgb" if image.ndim == 3 else "minisblack",
            metadata=None,
            **own,
        )
        paths.append(path)
    return paths[0], paths[1]


def coloured(seed: int, dtype: str, channels: tuple[int, ...] = (1,)) -> Any:
    random = np.random.default_rng(seed)
    image = np.zeros((*SHAPE, 3), dtype)
    for channel in channels:
        image[..., channel] = random.integers(0, 120, SHAPE)
    return image


def check_levels(levels: list[Any], wanted: Any) -> None:
    """Compare every level, whole and in a window, with the image itself."""
    assert [max(level.shape) for level in levels][-1] <= 1024
    for number, level in enumerate(levels):
        step = 1 << number
        np.testing.assert_array_equal(np.asarray(level), wanted[::step, ::step])
        assert level.dtype == wanted.dtype
        window = level[101:140, 33:190]
        np.testing.assert_array_equal(window, wanted[::step, ::step][101:140, 33:190])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_levels_are_every_nth_pixel_of_what_stage_1_reads(tmp_path, kind, dtype):
    files = write_pair(
        tmp_path, coloured(1, dtype), coloured(2, dtype), **FORMATS[kind]
    )
    pair = open_lazy_pair(*files)
    truth = open_image_pair("Rock", "DAPI", tmp_path)
    assert pair.channels == truth.channels == (1,)
    assert not pair.is_estimate
    check_levels(pair.post.levels(), truth.post.read())
    check_levels(pair.pre.levels(), truth.pre.read())


def test_several_channels_are_summed_like_stage_1_does(tmp_path):
    post, pre = coloured(1, "uint8", (0, 1, 2)), coloured(2, "uint8", (0, 2))
    files = write_pair(tmp_path, post, pre)
    pair = open_lazy_pair(*files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        truth = open_image_pair("Rock", "DAPI", tmp_path)
    assert pair.channels == truth.channels == (0, 1, 2)
    assert any("alone" in text for text in pair.warnings)
    check_levels(pair.post.levels(), truth.post.read())
    check_levels(pair.pre.levels(), truth.pre.read())


def test_grey_floats_have_no_channels(tmp_path):
    image = np.linspace(0, 5, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    pair = open_lazy_pair(*write_pair(tmp_path, image, image + 1))
    assert pair.channels is None
    check_levels(pair.pre.levels(), image + 1)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> tuple[Path, Path, Any]:
    """A compressed pair of more than 16 million pixels, and its signal."""
    image = np.zeros((4104, 4104, 3), np.uint8)
    image[..., 2] = np.arange(4104 * 4104).reshape(4104, 4104) // 4000 % 251
    folder = tmp_path_factory.mktemp("large")
    files = write_pair(folder, image, image, compression="zlib", tile=(256, 256))
    return *files, image[..., 2].copy()


def test_channels_of_a_large_pair_are_an_estimate(large):
    post, pre, signal = large
    pair = open_lazy_pair(post, pre)
    assert pair.channels == (2,)
    assert pair.is_estimate
    assert pair.post.is_slow
    for number, level in enumerate(pair.post.levels()):
        step = 1 << number
        window = (slice(70, 300), slice(11, 222))
        np.testing.assert_array_equal(level[window], signal[::step, ::step][window])


def test_middle_levels_are_kept_in_memory_once_prepared(large, tmp_path):
    signal = large[2]
    files = [tmp_path / path.name for path in large[:2]]
    for path, source in zip(files, large[:2], strict=True):
        path.write_bytes(source.read_bytes())
    pair = open_lazy_pair(*files)
    pair.post.prepare()
    files[0].unlink()
    levels = pair.post.levels()
    np.testing.assert_array_equal(levels[0][0:50, 0:50], signal[0:50, 0:50])
    np.testing.assert_array_equal(levels[1][0:50, 0:50], signal[0:100:2, 0:100:2])


def test_preparing_can_be_stopped(large):
    pair = open_lazy_pair(*large[:2])
    with pytest.raises(CancelledError):
        pair.post.prepare(Monitor(should_stop=lambda: True))


def damage(path: Path) -> None:
    """Make the last tile of a file unreadable."""
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[0].dataoffsets[-1], tif.pages[0].databytecounts[-1]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = b"\xff" * count
    path.write_bytes(bytes(content))


def test_only_tiles_in_the_window_are_decoded(tmp_path):
    image = np.zeros((5000, 4200, 3), np.uint8)
    image[..., 1] = 7
    post, pre = write_pair(tmp_path, image, image, compression="zlib", rowsperstrip=500)
    # Overviews look at rows 0, 4, 8, ..., all strips; so it is opened first.
    pair = open_lazy_pair(post, pre)
    damage(post)
    full = pair.post.levels()[0]
    assert (full[0:600, 100:200] == 7).all()
    with pytest.raises(RawDataError, match="Rock_PostStain_DAPI"):
        full[4600:4700, 100:200]


def test_an_error_is_told_once_and_what_cannot_be_read_is_black(tmp_path):
    image = np.full((5000, 4200), 9, np.uint8)
    post, pre = write_pair(tmp_path, image, image, compression="zlib", rowsperstrip=500)
    said: list[RawDataError] = []
    pair = open_lazy_pair(post, pre, on_error=said.append)
    damage(post)
    full = pair.post.levels()[0]
    for _ in range(3):
        assert not full[4700:4800, 0:50].any()
    assert len(said) == 1
    assert "Rock_PostStain_DAPI.tif" in str(said[0])
    assert (full[0:40, 0:50] == 9).all()


def test_a_file_that_went_away_is_told(tmp_path):
    image = np.full((4200, 4200), 9, np.uint8)
    post, pre = write_pair(tmp_path, image, image)
    pair = open_lazy_pair(post, pre)
    post.unlink()
    with pytest.raises(RawFileNotFoundError, match="Rock_PostStain_DAPI"):
        pair.post.levels()[0][0:10, 0:10]


def test_two_images_that_do_not_fit_are_refused(tmp_path):
    small = np.full((200, 200), 9, np.uint8)
    post, pre = write_pair(tmp_path, small, np.full((200, 800), 9, np.uint8))
    with pytest.raises(RawDataError, match="factor of 3"):
        open_lazy_pair(post, pre)
    post, pre = write_pair(tmp_path, small, small.astype(np.uint16))
    with pytest.raises(RawDataError, match="same settings"):
        open_lazy_pair(post, pre)


def test_a_quick_look_decodes_a_part_until_it_is_prepared(large, monkeypatch):
    monkeypatch.setattr("napari_exo2micro.core.raw.lazy._QUICK_BYTES", 20_000_000)
    post, pre, signal = large
    pair = open_lazy_pair(post, pre, quick=True)
    assert pair.is_partial
    assert pair.channels == (2,)
    top = pair.post.levels()[-1]
    step = 1 << (len(pair.post.levels()) - 1)
    small, wanted = np.asarray(top), signal[::step, ::step]
    read = (small == wanted).all(axis=1)
    assert 0.1 < read.mean() < 0.7
    assert not small[~read].any()
    # Full resolution shows everything at once.
    full = pair.post.levels()[0]
    np.testing.assert_array_equal(full[2000:2100, 0:80], signal[2000:2100, 0:80])
    pair.post.prepare()
    for number, level in enumerate(pair.post.levels()):
        step = 1 << number
        np.testing.assert_array_equal(np.asarray(level), signal[::step, ::step])
    assert not open_lazy_pair(post, pre).is_partial
