"""Damaged TIFF files: refused with one clear error, fast and without memory."""

from __future__ import annotations

import io
import logging
import os
import struct
import subprocess
import sys
import textwrap
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from napari_exo2micro.core.base import RawDataError, RawFileNotFoundError
from napari_exo2micro.core.raw import RawPair
from napari_exo2micro.core.raw.tiff import (
    TiffImage,
    TiffReader,
    check_stream_size,
    open_tiff,
)

resource = pytest.importorskip("resource", reason="limits of memory are of POSIX")

SHAPE = (75, 90)


def noise(dtype: str, shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    values = np.random.default_rng(1).random(shape)
    if np.dtype(dtype).kind == "f":
        return (values * 3 - 0.5).astype(dtype)
    return (values * np.iinfo(dtype).max).astype(dtype)


def read_whole(path: Path) -> NDArray[Any]:
    return RawPair.from_files(path, path).post.read()


def hand_made(
    width: int,
    height: int,
    *,
    offset: int = 8,
    count: int = 400,
    compression: int = 1,
    samples: int = 1,
    bits: int = 8,
    sample_format: int = 1,
    photometric: int = 1,
) -> bytes:
    """Return a TIFF of one strip whose header says what it is told to."""
    pixels = bytes(range(1, 101)) * 4
    tags = {
        256: width,
        257: height,
        258: bits,
        259: compression,
        262: photometric,
        273: offset,
        277: samples,
        278: height,
        279: count,
        339: sample_format,
    }
    entries = [struct.pack("<HHII", code, 4, 1, tags[code]) for code in sorted(tags)]
    head = struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels
    return head + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def test_the_hand_made_file_is_sound_when_it_does_not_lie(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(hand_made(20, 20))
    assert read_whole(tmp_path / "x.tif").sum() == 4 * 5050


MILLION = 1_000_000
BAD_HEADERS = {
    "a terapixel": (hand_made(MILLION, MILLION), "truncated or damaged"),
    "a deflated terapixel": (
        hand_made(MILLION, MILLION, compression=8),
        "cannot hold the 1000000000000 bytes",
    ),
    "no rows": (hand_made(20, 0), "image is empty"),
    "no columns": (hand_made(0, 20), "image is empty"),
    "no samples": (hand_made(20, 20, samples=0), "image is empty"),
    "one pixel": (hand_made(1, 1), "1 x 1 px are too few"),
    "one row": (hand_made(400, 1), "400 x 1 px are too few"),
    "pixels past the end": (hand_made(20, 20, offset=5000), "truncated or damaged"),
    "strip past the end": (
        hand_made(20, 20, offset=5000, compression=5),
        "strip 0 should end at byte 5400",
    ),
    "an absurd strip": (
        hand_made(20, 20, count=4_000_000_000, compression=5),
        "truncated or damaged",
    ),
    "no strip": (hand_made(20, 20, count=0, compression=5), "strips are missing"),
    "sparse strips": (
        hand_made(20, 20, offset=0, count=0, compression=5),
        "as after a write that was cut off, or the file was written as sparse; copy "
        "or export the file again, without SPARSE_OK",
    ),
    "a terapixel of LERC": (
        hand_made(MILLION, MILLION, compression=34887),
        "cannot hold the 1000000000000 bytes",
    ),
    "much of LERC": (hand_made(15000, 15000, compression=34887), "memory|cannot be"),
    "complex pixels": (
        hand_made(8, 8, bits=64, sample_format=6, count=400),
        "complex64 are not supported",
    ),
    "an unknown codec": (hand_made(20, 20, compression=64999), "cannot be read"),
    "CMYK": (hand_made(10, 10, samples=3, photometric=5), "SEPARATED are not"),
    "colours not decoded": (hand_made(11, 11, samples=3, photometric=6), "YCBCR"),
    "too many samples": (hand_made(20, 20, samples=60000), "claims 60000 samples"),
    "no TIFF": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a TIFF file"),
    "no bytes": (b"", "the file has no bytes"),
    "two bytes": (b"II", "header is damaged"),
    "no directory": (b"II*\x00\x08\x00\x00\x00", "header is damaged"),
    "text": (b"MM, this is no picture", "header is damaged"),
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
def test_a_bad_file_is_one_clear_error(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    content, message = BAD_HEADERS[kind]
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(RawDataError, match=message) as caught,
    ):
        read_whole(path)
    assert str(path) in str(caught.value)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caplog.records


def test_a_header_that_claims_too_much_takes_no_memory(tmp_path: Path) -> None:
    """The whole process may not even hold a hundredth of the claim."""
    (tmp_path / "x.tif").write_bytes(hand_made(MILLION, MILLION, compression=50000))
    code = """
        import resource, sys
        from napari_exo2micro.core.raw.tiff import open_tiff
        from napari_exo2micro.core.base import RawDataError
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            open_tiff(sys.argv[1])
        except RawDataError:
            pass
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "x.tif")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 50_000


def test_a_list_of_strips_longer_than_any_is_not_read(tmp_path: Path) -> None:
    """The file is long enough to hold the list; a sparse one costs nothing."""
    content = bytearray(hand_made(20, 20))
    entry = content.index(struct.pack("<HHII", 273, 4, 1, 8))
    content[entry : entry + 12] = struct.pack("<HHII", 273, 4, 1 << 28, 8)
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(1 << 31)
    with pytest.raises(RawDataError, match="tag 273 lists 268435456 values"):
        open_tiff(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tif")
    with pytest.raises(RawDataError, match="no ordinary file"):
        open_tiff(tmp_path / "x.tif")


def test_a_missing_file_and_a_broken_link_are_told(tmp_path: Path) -> None:
    with pytest.raises(RawFileNotFoundError, match="is missing"):
        open_tiff(tmp_path / "x.tif")
    (tmp_path / "link.tif").symlink_to(tmp_path / "gone.tif")
    with pytest.raises(RawFileNotFoundError, match="target is gone"):
        open_tiff(tmp_path / "link.tif")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_pixels_are_counted(tmp_path: Path, value: float) -> None:
    image = noise("float32")
    image[3, 4] = image[70, 80] = value
    tifffile.imwrite(tmp_path / "x.tif", image)
    with pytest.raises(RawDataError, match=r"x\.tif: 2 of its 6750 pixels are inf"):
        read_whole(tmp_path / "x.tif")
    image[5, 6] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", image)
    with pytest.raises(RawDataError, match=r"x\.tif: 2 of its 6750 pixels are inf"):
        read_whole(tmp_path / "x.tif")


def test_infinite_samples_of_colours_are_counted(tmp_path: Path) -> None:
    image = noise("float32", (*SHAPE, 3))
    image[5, 6] = np.inf
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="rgb")
    with pytest.raises(RawDataError, match="3 of its 20250 samples are inf"):
        read_whole(tmp_path / "x.tif")


def test_opposite_infinities_are_counted(tmp_path: Path) -> None:
    image = noise("float64")
    image[3, 4:6] = np.inf, -np.inf
    tifffile.imwrite(tmp_path / "x.tif", image)
    with pytest.raises(RawDataError, match="2 of its 6750"):
        read_whole(tmp_path / "x.tif")


def test_an_image_of_zeros_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros(SHAPE, np.uint8))
    with pytest.raises(RawDataError, match=r"x\.tif: every pixel of the signal is 0"):
        read_whole(tmp_path / "x.tif")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise("uint8"))
    image = open_tiff(path)
    path.write_bytes(path.read_bytes() + b"more")
    with (
        TiffReader(image, (0,)) as reader,
        pytest.raises(RawDataError, match="changed while it was read"),
    ):
        list(reader.blocks())


def test_a_jpeg_stream_may_not_claim_more_than_its_tile(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise("uint8", (64, 64)), tile=(32, 32), compression="jpeg")
    content = path.read_bytes()
    frame = content.index(b"\xff\xc0")
    path.write_bytes(content[: frame + 5] + b"\xff\xf0\xff\xf0" + content[frame + 9 :])
    with pytest.raises(RawDataError, match="a JPEG stream of 65520 x 65520 px"):
        read_whole(path)


def streams_of(shape: tuple[int, int]) -> dict[str, bytes]:
    grey = noise("uint8", shape)
    return {
        "JPEG": imagecodecs.jpeg_encode(grey),
        "PNG": imagecodecs.png_encode(grey),
        "JPEG 2000": imagecodecs.jpeg2k_encode(grey),
    }


@pytest.mark.parametrize("shape", [(300, 700), (128, 256), (256, 256), (37, 5000)])
@pytest.mark.parametrize("kind", streams_of((8, 8)))
def test_the_size_that_a_stream_claims_is_known(
    kind: str, shape: tuple[int, int]
) -> None:
    stream = streams_of(shape)[kind]
    check_stream_size(stream, *shape)
    told = f"a {kind} stream of {shape[1]} x {shape[0]} px"
    for rows, columns in ((shape[0] - 17, shape[1]), (shape[0], shape[1] - 17)):
        with pytest.raises(ValueError, match=told):
            check_stream_size(stream, rows, columns)
    for end in range(40):  # a stream that is cut off is for its decoder to refuse
        with suppress(ValueError):
            check_stream_size(stream[:end], *shape)


def encode(**options: Any) -> bytes:
    stream = io.BytesIO()
    image = noise("uint16", (24, 30, 3))
    tifffile.imwrite(stream, image, photometric="rgb", **options)
    return stream.getvalue()


FILES = {
    "strips": encode(rowsperstrip=7),
    "LZW": encode(compression="lzw", rowsperstrip=7),
    "deflate tiles": encode(compression="zlib", tile=(32, 16), predictor=True),
    "big-endian BigTIFF": encode(bigtiff=True, byteorder=">"),
}


def read_or_refuse(path: Path) -> NDArray[Any] | None:
    """Return all samples; None when the file is refused as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image: TiffImage = open_tiff(path)
            with TiffReader(image, range(image.samples)) as reader:
                return np.concatenate([planes for _, planes in reader.blocks()], 1)
        except RawDataError:
            return None


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(FILES)), data=st.data())
def test_a_file_cut_off_anywhere_is_refused(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.tif"
    content = FILES[kind]
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    read = read_or_refuse(path)
    if read is not None:
        np.testing.assert_array_equal(
            read, np.moveaxis(noise("uint16", (24, 30, 3)), -1, 0)
        )


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(sorted(FILES)), data=st.data())
def test_a_damaged_header_never_raises_anything_else(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.tif"
    content = bytearray(FILES[kind])
    places = st.integers(0, min(len(content), 600) - 1)
    changes = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)
    for place, value in data.draw(changes):
        content[place] = value
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_or_refuse(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
