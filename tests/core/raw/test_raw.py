"""Pairs: one channel decision, one dtype, and errors that name the file."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from napari_exo2micro.core.base import (
    CancelledError,
    CheckpointError,
    DataWarning,
    Monitor,
    RawDataError,
    RawFileNotFoundError,
)
from napari_exo2micro.core.raw import (
    ImageChoice,
    RawFingerprint,
    RawPair,
    load_image_pair,
)
from napari_exo2micro.core.raw.pair import open_image_pair

SHAPE = (60, 72)
REAL = Path(__file__).parents[4] / "shared" / "data" / "real"


def noise(dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    values = np.random.default_rng(seed).integers(0, 200, SHAPE)
    return values.astype(dtype)


def rgb(*channels: NDArray[Any] | int, dtype: str = "uint8") -> NDArray[Any]:
    planes = [
        np.broadcast_to(np.asarray(channel, dtype), SHAPE) for channel in channels
    ]
    return np.dstack(planes)


def write(raw: Path, post: NDArray[Any], pre: NDArray[Any]) -> tuple[Path, Path]:
    folder = raw / "S"
    folder.mkdir(exist_ok=True)
    paths = folder / "S_PostStain_D.tif", folder / "S_PreStain_D.tif"
    for path, image in zip(paths, (post, pre), strict=True):
        kind = "rgb" if image.ndim == 3 else "minisblack"
        tifffile.imwrite(path, image, photometric=kind)
    return paths


def load_with_warnings(raw: Path) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    with pytest.warns(DataWarning) as caught:
        post, pre, *_ = load_image_pair("S", "D", raw)
    return post, pre, [str(warning.message) for warning in caught]


def test_a_pair_is_loaded_as_two_arrays_and_two_paths(tmp_path: Path) -> None:
    paths = write(tmp_path, noise(), noise(seed=1)[:, :50])
    post, pre, post_path, pre_path = load_image_pair("S", "D", tmp_path)
    np.testing.assert_array_equal(post, noise())
    np.testing.assert_array_equal(pre, noise(seed=1)[:, :50])
    assert (post_path, pre_path) == paths


def test_opened_and_loaded_are_the_same(tmp_path: Path) -> None:
    write(tmp_path, rgb(0, noise(), 0), rgb(0, noise(seed=1), 0))
    pair = open_image_pair("S", "D", tmp_path)
    post, pre, post_path, pre_path = load_image_pair("S", "D", str(tmp_path))
    for image, array, path in ((pair.post, post, post_path), (pair.pre, pre, pre_path)):
        assert (image.shape, image.dtype, image.path) == (SHAPE, array.dtype, path)
        np.testing.assert_array_equal(image.read(), array)
    assert pair.channels == (1,)
    assert pair.warnings == ()


def test_a_channel_lit_in_either_image_counts_for_both(tmp_path: Path) -> None:
    red, green = noise(seed=1), noise(seed=2) // 4
    write(tmp_path, rgb(red, green, 0), rgb(0, green, 0))
    post, pre, told = load_with_warnings(tmp_path)
    np.testing.assert_array_equal(post, red + green)
    np.testing.assert_array_equal(pre, green)
    assert post.dtype == pre.dtype == np.uint8
    assert len(told) == 1
    assert "S_PostStain_D.tif would use red + green" in told[0]
    assert "S_PreStain_D.tif green; red + green is used for both" in told[0]


def test_without_a_lit_channel_the_brightest_of_the_pair_counts(tmp_path: Path) -> None:
    faint = np.zeros(SHAPE, np.uint8)
    faint[::20] = 6
    fainter = faint // 2
    write(tmp_path, rgb(fainter, 0, faint), rgb(fainter * 0, fainter, fainter))
    post, pre, told = load_with_warnings(tmp_path)
    np.testing.assert_array_equal(post, faint)
    np.testing.assert_array_equal(pre, fainter)
    assert "S_PreStain_D.tif green; blue is used for both" in told[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("pedestal", [0, 3, 100])
def test_a_pedestal_and_its_noise_are_no_signal(
    tmp_path: Path, dtype: str, pedestal: int
) -> None:
    """Whatever the mean of a channel is: only what stands out of it counts."""
    rng = np.random.default_rng(5)
    size, scale = (200, 240), 1.0 if dtype == "uint8" else 6.0
    dark = rng.normal(pedestal, scale, (2, *size)).clip(0)
    section = np.zeros(size)
    section[40:160, 50:190] = rng.gamma(3.0, 12.0, (120, 140))
    planes = [dark[0], dark[1] + section * scale, dark[0][::-1]]
    image = np.dstack(planes).clip(0, 255 if dtype == "uint8" else None).astype(dtype)
    pair = RawPair.from_files(*write(tmp_path, image, image))
    assert pair.channels == (1,)
    np.testing.assert_array_equal(pair.post.read(), image[..., 1])


def test_what_leaks_from_a_channel_is_no_signal(tmp_path: Path) -> None:
    green = noise(seed=2)
    image = rgb(green // 16, green, green // 12)
    pair = RawPair.from_files(*write(tmp_path, image, image))
    np.testing.assert_array_equal(pair.post.read(), green)
    assert "red + blue" in pair.warnings[-1]
    assert "is left out" in pair.warnings[-1]


def test_a_sum_is_always_said(tmp_path: Path) -> None:
    image = rgb(noise(seed=1) // 2, noise(seed=2) // 2, 0)
    pair = RawPair.from_files(*write(tmp_path, image, image))
    assert "is the sum of red + green; choose one of them" in pair.warnings[0]


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_dyes_of_one_file_are_never_summed_unasked(tmp_path: Path, planar: str) -> None:
    dyes = [noise("uint16", seed) + 100 for seed in range(4)]
    path = tmp_path / "x.tif"
    stored = np.dstack(dyes) if planar == "contig" else np.stack(dyes)
    tifffile.imwrite(
        path, stored, photometric="minisblack", planarconfig=planar, metadata=None
    )
    with pytest.raises(RawDataError, match=r"has 4 channels.*1 \(.*4 \(.*--channel"):
        RawPair.from_files(path, path)
    for channel, wanted in (("3", dyes[2]), ("sum", sum(dyes))):
        choice = ImageChoice("D", channel=channel)
        pair = RawPair.from_files(path, path, (choice, choice))
        np.testing.assert_array_equal(pair.pre.read(), wanted)


PLANES = st.lists(st.integers(0, 250), min_size=3, max_size=3)


@given(PLANES, PLANES)
def test_the_decision_does_not_depend_on_the_side(
    tmp_path_factory: pytest.TempPathFactory, a: list[int], b: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("sides", numbered=True)
    images = [
        rgb(*(noise() // 200 * 0 + 1 + noise() * v // 200 for v in c), dtype="uint16")
        for c in (a, b)
    ]
    paths = write(folder, *images)
    there, back = RawPair.from_files(*paths), RawPair.from_files(*paths[::-1])
    assert there.channels == back.channels


@pytest.mark.parametrize(
    ("stored", "top", "wider"), [("uint8", 255, "uint16"), ("uint16", 65535, "float32")]
)
def test_sums_never_wrap_or_clip(
    tmp_path: Path, stored: str, top: int, wider: str
) -> None:
    """One pixel of one image is enough to widen both."""
    bright = noise(stored)
    bright[7, 8] = top
    write(
        tmp_path,
        rgb(bright, bright, 3, dtype=stored),
        rgb(1, 2, 3, dtype=stored),
    )
    post, pre, told = load_with_warnings(tmp_path)
    assert post.dtype == pre.dtype == np.dtype(wider)
    np.testing.assert_array_equal(post, bright.astype(np.int64) * 2)
    assert (pre == 3).all()
    assert f"exceed {top}; both images are widened to {wider}" in told[-1]


@pytest.mark.parametrize(("top", "dtype"), [(1 << 20, "float32"), (1 << 29, "float64")])
def test_sums_of_wide_integers_are_exact(tmp_path: Path, top: int, dtype: str) -> None:
    """The largest sum comes after one that already needs a wider type."""
    red = noise("uint32") + 70000
    red[-1, -1] = top + 1
    image = rgb(red, red, 1, dtype="uint32")
    pair = RawPair.from_files(*write(tmp_path, image, image))
    assert pair.post.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(pair.post.read(), red.astype(np.int64) * 2)


def test_sums_that_fit_are_not_widened(tmp_path: Path) -> None:
    red = np.full(SHAPE, 250, np.uint8)
    red[::2, ::2] = 20
    pair = RawPair.from_files(*write(tmp_path, rgb(red, 5, 0), rgb(5, red, 0)))
    assert pair.post.dtype == np.uint8
    np.testing.assert_array_equal(pair.post.read(), red + 5)
    np.testing.assert_array_equal(pair.pre.read(), red + 5)


def test_sums_of_floats_are_sums(tmp_path: Path) -> None:
    a, b = noise("float32") / 7, noise("float32", 1) / 9
    image = rgb(a, b, 0, dtype="float32")
    pair = RawPair.from_files(*write(tmp_path, image, image))
    assert pair.post.dtype == np.float32
    np.testing.assert_array_equal(pair.post.read(), a + b)


def test_grey_beside_colour_keeps_its_own_signal(tmp_path: Path) -> None:
    write(tmp_path, noise(), rgb(0, 0, noise(seed=1)))
    post, pre, told = load_with_warnings(tmp_path)
    np.testing.assert_array_equal(post, noise())
    np.testing.assert_array_equal(pre, noise(seed=1))
    assert "S_PostStain_D.tif is grey" in told[0]
    assert "blue stands for the signal" in told[0]


def test_alpha_is_never_the_signal(tmp_path: Path) -> None:
    image = np.dstack([rgb(noise(), 0, 0), np.full(SHAPE, 255, np.uint8)])
    paths = write(tmp_path, rgb(noise(), 0, 0), rgb(noise(), 0, 0))
    tifffile.imwrite(paths[0], image, photometric="rgb", extrasamples=["unassalpha"])
    pair = open_image_pair("S", "D", tmp_path)
    assert pair.channels == (0,)
    np.testing.assert_array_equal(pair.post.read(), noise())


def test_different_numbers_of_channels_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path, rgb(1, 2, 3), rgb(1, 2, 3))
    tifffile.imwrite(paths[1], rgb(1, 2), photometric="minisblack", planarconfig=1)
    with pytest.raises(RawDataError, match=r"has 3 channels and .* has 2"):
        open_image_pair("S", "D", tmp_path)


def test_a_signal_that_is_zero_on_one_side_is_refused(tmp_path: Path) -> None:
    write(tmp_path, rgb(noise(), 0, 0), rgb(0, 0, 0))
    with pytest.raises(RawDataError, match=r"S_PreStain_D\.tif: every pixel"):
        open_image_pair("S", "D", tmp_path)


def test_different_pixel_types_are_refused(tmp_path: Path) -> None:
    write(tmp_path, noise(), noise("uint16"))
    with pytest.raises(RawDataError, match=r"Post.*has uint8 .*Pre.*has uint16") as e:
        load_image_pair("S", "D", tmp_path)
    assert isinstance(e.value, ValueError)


@pytest.mark.parametrize(("rows", "refused"), [(19, True), (20, False)])
def test_wildly_different_sizes_are_refused(
    tmp_path: Path, rows: int, refused: bool
) -> None:
    write(tmp_path, noise(), noise()[:rows])
    if refused:
        with pytest.raises(RawDataError, match=r"72 x 60 px and .* is 72 x 19 px"):
            open_image_pair("S", "D", tmp_path)
    else:
        assert open_image_pair("S", "D", tmp_path).pre.shape == (rows, 72)


def test_files_with_other_problems_are_warnings(tmp_path: Path) -> None:
    write(tmp_path, noise(), noise())
    (tmp_path / "S" / "S_D.tif").touch()
    tifffile.imwrite(
        tmp_path / "S" / "S_PreStain_D.tif", noise(seed=1), photometric="miniswhite"
    )
    *_, told = load_with_warnings(tmp_path)
    assert ["NO STAIN MARKER" in text for text in told] == [True, False]
    assert "S_PreStain_D.tif: stored with white as zero" in told[1]


def test_missing_files_are_file_not_found_errors(tmp_path: Path) -> None:
    write(tmp_path, noise(), noise())
    for sample, dye in (("S", "E"), ("T", "D"), ("S", "a_D")):
        with pytest.raises(FileNotFoundError):
            load_image_pair(sample, dye, tmp_path)
    with pytest.raises(RawFileNotFoundError, match="does not exist"):
        load_image_pair("S", "D", tmp_path / "none")


def test_an_image_larger_than_memory_is_refused_when_loaded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, noise(), noise())
    pair = open_image_pair("S", "D", tmp_path)
    free = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert sum(len(band) for _, band in pair.post.bands()) == 60
    with pytest.raises(RawDataError, match="the whole image needs"):
        pair.post.read()


def test_progress_is_told_and_opening_can_be_stopped(tmp_path: Path) -> None:
    write(tmp_path, noise(), noise())
    seen: list[float] = []
    monitor = Monitor(lambda fraction, _: seen.append(fraction))
    open_image_pair("S", "D", tmp_path, monitor=monitor)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(CancelledError):
        open_image_pair("S", "D", tmp_path, monitor=Monitor(should_stop=lambda: True))


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    path, _ = write(tmp_path, noise(), noise(seed=1))
    pair = open_image_pair("S", "D", tmp_path)
    mark = pair.post.fingerprint()
    assert mark == RawFingerprint.of(path)
    assert mark.sha256 != pair.pre.fingerprint().sha256
    assert RawFingerprint.from_dict(json.loads(json.dumps(mark.to_dict()))) == mark
    assert mark.matches(path)

    content = path.read_bytes()
    copy = tmp_path / "copy.tif"
    copy.write_bytes(content)
    assert mark.matches(copy)
    assert mark.same_content(RawFingerprint.of(copy))
    copy.write_bytes(content[:-1] + b"\x01")
    assert not mark.matches(copy)
    copy.write_bytes(content + b"\x01")
    assert not mark.matches(copy)
    assert not mark.matches(tmp_path / "none.tif")


class Counting:
    """A file that counts the bytes that are read from it."""

    total = 0

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, *count: int) -> bytes:
        data: bytes = self._file.read(*count)
        Counting.total += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer)
        Counting.total += count
        return count

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib", "tile": (64, 64)}], ids=["plain", "tiles"]
)
def test_measuring_and_digesting_read_each_byte_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    image = np.random.default_rng(0).integers(0, 80, (400, 500, 3)).astype(np.uint8)
    paths = [tmp_path / "S_Post_D.tif", tmp_path / "S_Pre_D.tif"]
    for path in paths:
        tifffile.imwrite(path, image, photometric="rgb", **options)
    size = sum(path.stat().st_size for path in paths)
    original = Path.open
    monkeypatch.setattr(
        Path, "open", lambda *args, **more: Counting(original(*args, **more))
    )
    Counting.total = 0
    pair = RawPair.from_files(*paths)
    marks = pair.post.fingerprint(), pair.pre.fingerprint()
    assert size <= Counting.total < 1.01 * size
    pair.post.read()
    assert Counting.total < 1.51 * size
    monkeypatch.undo()
    assert marks == tuple(RawFingerprint.of(path) for path in paths)


def test_what_is_trusted_without_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"pixels")
    mark = RawFingerprint.of(path)
    assert RawFingerprint.from_dict(mark.to_dict()) == mark
    later, changed = time.time() + 60, path.stat().st_mtime
    wrong = replace(mark, sha256=64 * "0")  # whoever reads the file sees it
    assert wrong.matches(path, recorded=later)
    # As late as the record, or later: a change need not show in times.
    assert not wrong.matches(path, recorded=int(changed))
    assert mark.matches(path, recorded=int(changed))
    assert not wrong.matches(path, recorded=later, verify=True)
    assert not replace(wrong, inode=mark.inode + 1).matches(path, recorded=later)
    assert not replace(wrong, ctime_ns=1).matches(path, recorded=later)
    assert replace(mark, inode=1, ctime_ns=1, mtime_ns=1).matches(path, verify=True)
    # As earlier versions have written it.
    old = {name: wrong.to_dict()[name] for name in ("size", "mtime_ns", "sha256")}
    assert RawFingerprint.from_dict(old).matches(path, recorded=0.0)


@pytest.mark.parametrize(
    "fields", [{}, {"size": 1, "mtime_ns": 2}, {"size": 1, "mtime_ns": 2, "sha256": 3}]
)
def test_a_damaged_fingerprint_is_a_checkpoint_error(fields: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="size, mtime_ns and sha256"):
        RawFingerprint.from_dict(fields)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", ">f8", "bool"])
def test_arrays_become_a_pair(dtype: str) -> None:
    post, pre = noise().astype(dtype), noise(seed=1).astype(dtype)[:, ::2]
    pair = RawPair.from_arrays(post, pre)
    np.testing.assert_array_equal(pair.post.read(), post)
    np.testing.assert_array_equal(np.vstack([b for _, b in pair.pre.bands(7)]), pre)
    assert pair.post.dtype.isnative
    assert pair.channels is None
    assert pair.post.path is None


def test_wide_integers_of_an_array_become_floats_with_a_warning() -> None:
    wide = noise("uint32") + (1 << 20)
    pair = RawPair.from_arrays(wide, wide)
    assert pair.post.dtype == np.float32
    np.testing.assert_array_equal(pair.post.read(), wide)
    assert "float32 (exact up to 2**24)" in pair.warnings[0]


def test_an_array_is_fingerprinted_by_its_pixels_or_its_file(tmp_path: Path) -> None:
    path = tmp_path / "scan.bin"
    path.write_bytes(b"scan")
    pair = RawPair.from_arrays(noise(), noise(), path, tmp_path / "none.bin")
    assert pair.post.fingerprint() == RawFingerprint.of(path)
    assert pair.pre.path == tmp_path / "none.bin"
    changed = noise()
    changed[0, 0] ^= 1
    other = RawPair.from_arrays(noise(), changed)
    assert other.post.fingerprint() == pair.pre.fingerprint()
    assert other.pre.fingerprint() != pair.pre.fingerprint()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((30, 30, 3)), r"found shape \(30, 30, 3\)"),
        (np.ones((1, 1)), "too few"),
        (np.zeros(SHAPE), "every pixel is 0"),
        (np.where(np.eye(60, 72) > 0, np.nan, 1.0), "60 of its 4320 pixels are NaN"),
        (noise("int16") - 1, "are negative"),
        (noise("complex64"), "complex64 are not supported"),
        (noise("S4"), "are not supported"),
        (None, "are not supported|2-D array is wanted"),
        ([[1, 2], [3]], "2-D array is wanted"),
    ],
)
def test_arrays_that_are_no_images_name_the_loader(image: Any, message: str) -> None:
    with pytest.raises(RawDataError, match=rf"my_loader: pre.*({message})"):
        RawPair.from_arrays(noise("float64"), image, loader="my_loader")


def test_arrays_of_different_types_or_sizes_are_refused() -> None:
    with pytest.raises(RawDataError, match=r"post-stain image has uint8 pixels"):
        RawPair.from_arrays(noise(), noise("uint16"))
    with pytest.raises(RawDataError, match=r"72 x 60 px and .* 10 x 60 px"):
        RawPair.from_arrays(noise(), noise()[:, :10])


@pytest.mark.skipif(not REAL.is_dir(), reason="the real pairs are not beside the code")
@pytest.mark.parametrize(
    ("sample", "dye", "dtype"),
    [("GSKsection", "DAPI", "float32"), ("MIRAGE2", "nuclei", "float64")],
)
def test_real_pairs_are_read_as_they_are(sample: str, dye: str, dtype: str) -> None:
    post, pre, post_path, pre_path = load_image_pair(sample, dye, REAL)
    assert post.dtype == pre.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(post, tifffile.imread(post_path))
    np.testing.assert_array_equal(pre, tifffile.imread(pre_path))
