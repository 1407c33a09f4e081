"""Checkpoint files: exact bytes, whole or not at all."""

import errno
import mmap
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import given, settings, strategies as st

from napari_exo2micro.core.base import (
    CancelledError,
    CheckpointError,
    Monitor,
    OutputError,
    files,
)
from napari_exo2micro.core.base.files import replace_file
from napari_exo2micro.core.images import open_raster, reduce_image
from napari_exo2micro.core.images.io import write_raster
from napari_exo2micro.core.images.raster import bands

DTYPES = ("uint8", "uint16", "int16", "int32", "int64", "float32", "float64")
HEADER = {"answer": 42, "größe": "ü", "nested": {"list": [1.5, None]}}


def image_of(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return rng.normal(0, 100, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def write(paths, image, **more):
    parts = ((y0, image[y0:y1]) for y0, y1 in bands(image.shape))
    write_raster(paths, image.shape, image.dtype, parts, header=HEADER, **more)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (37, 2001), (2777, 1501)])
def test_pixels_and_header_come_back_from_both_formats(tmp_path, dtype, shape):
    image = image_of(shape, dtype)
    tiff, fit = tmp_path / "a.tiff", tmp_path / "a.fits"
    write([tiff, fit], image, cards=[("SCALE", 1.5, "x"), ("SAMPLE", "Fels ü\n", "")])
    for path in (tiff, fit):
        raster = open_raster(path)
        assert raster.dtype == image.dtype
        assert raster.header == HEADER
        np.testing.assert_array_equal(np.asarray(raster), image)
        np.testing.assert_array_equal(raster[3:9, 2:77], image[3:9, 2:77])
    # and with anybody else's reader
    np.testing.assert_array_equal(tifffile.imread(tiff), image)
    with fits.open(fit) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[0].data, image)
        assert hdus[0].header["SCALE"] == 1.5
        assert hdus[0].header["SAMPLE"].startswith("Fels ")


def test_a_plain_fits_image_can_be_memory_mapped(tmp_path):
    image = image_of((600, 700), "float32")
    write([tmp_path / "a.fits"], image)
    with fits.open(tmp_path / "a.fits", memmap=True) as hdus:
        data = hdus[0].data
        assert hdus[0].fileinfo()["datLoc"] % 2880 == 0
        assert isinstance(data.base, np.memmap | mmap.mmap) or isinstance(
            data.base.base, mmap.mmap
        )
        np.testing.assert_array_equal(data, image)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_smaller_levels_are_means_and_any_reader_sees_them(tmp_path, dtype):
    image = image_of((2311, 2999), dtype) // (2 if dtype == "uint8" else 1)
    write([tmp_path / "a.tiff"], image)
    raster = open_raster(tmp_path / "a.tiff")
    assert raster.n_levels == 3
    with tifffile.TiffFile(tmp_path / "a.tiff") as tif:
        assert tif.is_bigtiff
        shapes = [level.shape for level in tif.series[0].levels]
    assert shapes == [(2311, 2999), (1156, 1500), (578, 750)]
    for level, tolerance in ((1, 0.5), (2, 1.0)):
        expected, _ = reduce_image(image, factor=2**level)
        inner = np.s_[:-1, :-1]
        difference = np.abs(raster.level(level).astype(float) - expected)[inner]
        assert difference.max() <= (tolerance if dtype == "uint8" else 1e-3)
    # the levels serve a reduction: the same numbers as from full resolution
    from_levels, factor = reduce_image(raster, factor=4)
    from_pixels, _ = reduce_image(image, factor=4)
    assert factor == 4
    difference = np.abs(from_levels - from_pixels)[:-1, :-1]
    assert difference.max() <= (1.0 if dtype == "uint8" else 1e-3)


def test_padding_takes_no_room_on_disk(tmp_path):
    path = tmp_path / "a.tiff"
    image = np.ones((100, 4000), np.float32)
    write_raster([path], (20480, 4000), "float32", [(10240, image)], header={})
    status = path.stat()
    assert status.st_size > 20480 * 4000 * 4
    if hasattr(status, "st_blocks"):
        assert status.st_blocks * 512 < 10e6
    assert open_raster(path)[10339:10341, 5].tolist() == [1, 0]


def test_the_same_call_writes_the_same_bytes(tmp_path):
    image = image_of((1500, 1400), "uint16")
    for name in ("a", "b"):
        write([tmp_path / f"{name}.tiff", tmp_path / f"{name}.fits"], image)
    for kind in ("tiff", "fits"):
        first, second = (tmp_path / f"{name}.{kind}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_a_failed_write_leaves_the_earlier_file_and_no_rubbish(tmp_path):
    paths = [tmp_path / "a.tiff", tmp_path / "a.fits"]
    image = image_of((2048, 300), "uint8")
    write(paths, image)
    before = [path.read_bytes() for path in paths]

    def broken():
        yield 0, image[:1024] // 2
        raise RuntimeError("the source went away")

    with pytest.raises(RuntimeError, match="went away"):
        write_raster(paths, image.shape, "uint8", broken(), header={})
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fits", "a.tiff"]


def test_a_cancelled_write_leaves_nothing(tmp_path):
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > 1

    with pytest.raises(CancelledError):
        write(
            [tmp_path / "a.tiff"],
            image_of((5000, 30), "uint8"),
            monitor=Monitor(should_stop=stop),
        )
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """A file whose disk is full after some writes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, data):
        self._room -= 1
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_a_full_disk_is_told_and_the_earlier_file_stays(tmp_path, monkeypatch, room):
    path = tmp_path / "a.tiff"
    image = image_of((2048, 2000), "uint8")
    write([path], image)
    before = path.read_bytes()
    original = Path.open

    def small_disk(self, mode="r", *args, **more):
        file = original(self, mode, *args, **more)
        return FullDisk(file, room) if mode == "r+b" else file

    monkeypatch.setattr(Path, "open", small_disk)
    with pytest.raises(OutputError, match=r"a\.tiff: the disk is full; free some"):
        write([path], image // 2)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tiff"]


def test_a_disk_that_is_clearly_too_small_is_refused_before_writing(tmp_path):
    path = tmp_path / "a.tiff"
    side = 20_000_000
    with pytest.raises(OutputError, match=r"needs at least .* GB on disk, found"):
        write_raster([path], (side, side), "float32", iter(()), header={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="the superuser may write anywhere",
)
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OutputError, match="not permitted"):
        write([tmp_path / "sub" / "a.tiff"], image_of((9, 9), "uint8"))


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "out").write_text("here first")
    with pytest.raises(OutputError, match="a part of the path is a file"):
        write([tmp_path / "out" / "a.tiff"], image_of((9, 9), "uint8"))
    assert (tmp_path / "out").read_text() == "here first"


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path):
    path = tmp_path / "a.tiff"
    host = files._HOST
    far = tmp_path / ".a.tiff.elsewhere.999999999.abcd.part"
    dead = tmp_path / f".a.tiff.{host}.999999999.abcd.part"
    living = tmp_path / f".a.tiff.{host}.{os.getpid()}.abcd.part"
    other = tmp_path / f".b.tiff.{host}.999999999.abcd.part"
    for leftover in (far, dead, living, other):
        leftover.write_bytes(b"half")
    write([path], image_of((9, 9), "uint8"))
    assert not dead.exists()
    assert living.exists()
    assert far.exists()
    assert other.exists()


@pytest.mark.parametrize("kind", ["tiff", "fits"])
def test_a_file_cut_at_any_byte_is_never_read_as_whole(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    image = image_of((60, 50), "uint16") | 1
    write([path], image)
    whole = path.read_bytes()

    @settings(max_examples=120)
    @given(st.integers(0, len(whole) - 1))
    def cut(length):
        path.write_bytes(whole[:length])
        try:
            raster = open_raster(path)
        except CheckpointError:
            return
        # only what follows the pixels may be gone, and then the header is
        assert np.array_equal(np.asarray(raster), image)
        assert raster.header in ({}, HEADER)
        assert not raster.is_foreign

    cut()


@settings(max_examples=150)
@given(st.integers(0, 5000), st.integers(0, 255))
def test_a_changed_byte_ends_in_our_error_or_in_an_image(tmp_path_factory, at, value):
    path = tmp_path_factory.mktemp("flip") / "a.tiff"
    write([path], image_of((30, 40), "uint8"))
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        raster = open_raster(path)
    except CheckpointError:
        return
    assert np.asarray(raster).ndim == 2


def test_a_file_of_another_kind_is_refused(tmp_path):
    rgb = tmp_path / "rgb.tiff"
    tifffile.imwrite(rgb, np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    packed = tmp_path / "packed.tiff"
    tifffile.imwrite(packed, np.zeros((64, 64), np.uint8), compression="zlib")
    cube = tmp_path / "cube.fits"
    fits.PrimaryHDU(np.zeros((3, 4, 5), np.float32)).writeto(cube)
    text = tmp_path / "text.tiff"
    text.write_text("not an image")
    for path in (rgb, packed, cube, text, tmp_path / "none.tiff"):
        with pytest.raises(CheckpointError, match=path.name):
            open_raster(path)


def test_a_flat_image_of_the_reference_system_opens(tmp_path):
    image = image_of((200, 300), "float32")
    tifffile.imwrite(tmp_path / "a.tiff", image)
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    for name in ("a.tiff", "a.fits"):
        raster = open_raster(tmp_path / name)
        assert raster.is_foreign
        np.testing.assert_array_equal(np.asarray(raster), image)


def test_a_replaced_file_is_the_new_one_or_the_old_one(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("old")

    def fail():
        with replace_file(path) as part:
            part.write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="middle"):
        fail()
    assert path.read_text() == "old"
    with replace_file(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
