"""TIFF files of all kinds: read right, or refused with one clear error."""

from __future__ import annotations

import io
import logging
import resource
import struct
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_exo2micro.core.errors import RawDataError, RawFileNotFoundError
from napari_exo2micro.core.raw import RawPair
from napari_exo2micro.core.raw_blocks import BlockReader
from napari_exo2micro.core.raw_tiff import TiffImage, open_tiff

SHAPE = (75, 90)
WHOLE = {
    "plain": {},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "whole tiles": {"tile": (80, 96)},
    "big endian": {"byteorder": ">"},
    "big endian tiles": {"byteorder": ">", "tile": (16, 32)},
    "BigTIFF": {"bigtiff": True},
    "LZW": {"compression": "lzw", "rowsperstrip": 7},
    "LZW predictor": {"compression": "lzw", "predictor": True, "rowsperstrip": 7},
    "deflate": {"compression": "zlib", "rowsperstrip": 16},
    "deflate tiles": {"compression": "zlib", "tile": (32, 16), "predictor": True},
    "deflate big endian": {"compression": "zlib", "byteorder": ">"},
    "one strip": {"compression": "zlib"},
    "zstd": {"compression": "zstd", "tile": (32, 32)},
    "lzma": {"compression": "lzma"},
    "packbits": {"compression": "packbits", "rowsperstrip": 7},
}


def noise(dtype: str, shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    values = np.random.default_rng(1).random(shape)
    if np.dtype(dtype).kind == "f":
        return (values * 3 - 0.5).astype(dtype)
    return (values * np.iinfo(dtype).max).astype(dtype)


def signal_of(path: Path) -> tuple[NDArray[Any], RawPair]:
    pair = RawPair.from_files(path, path)
    return pair.post.read(), pair


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("kind", WHOLE)
def test_grey_is_read_as_written(tmp_path: Path, kind: str, dtype: str) -> None:
    image = noise(dtype)
    tifffile.imwrite(tmp_path / "x.tif", image, **WHOLE[kind])
    signal, pair = signal_of(tmp_path / "x.tif")
    assert signal.dtype == np.dtype(dtype)
    assert signal.dtype.isnative
    np.testing.assert_array_equal(signal, image)
    assert pair.channels is None
    assert pair.warnings == ()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("kind", WHOLE)
def test_the_signal_channel_of_colours_is_read_as_written(
    tmp_path: Path, kind: str, planar: bool, alpha: bool
) -> None:
    signal = noise("uint16")
    image = np.zeros((*SHAPE, 4 if alpha else 3), np.uint16)
    image[..., 2] = signal
    if alpha:
        image[..., 3] = 65535
    options: dict[str, Any] = {"photometric": "rgb", **WHOLE[kind]}
    if alpha:
        options["extrasamples"] = ["unassalpha"]
    if planar:
        image = np.ascontiguousarray(np.moveaxis(image, -1, 0))
        options["planarconfig"] = "separate"
    tifffile.imwrite(tmp_path / "x.tif", image, **options)
    read, pair = signal_of(tmp_path / "x.tif")
    np.testing.assert_array_equal(read, signal)
    assert pair.channels == (2,)
    assert pair.warnings == ()


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("max_rows", [1, 10, 1000])
def test_bands_follow_each_other_without_gaps(
    tmp_path: Path, kind: str, max_rows: int
) -> None:
    image = noise("uint16")
    tifffile.imwrite(tmp_path / "x.tif", image, **WHOLE[kind])
    pair = RawPair.from_files(tmp_path / "x.tif", tmp_path / "x.tif")
    bands = list(pair.pre.bands(max_rows))
    assert all(band.flags.c_contiguous and band.ndim == 2 for _, band in bands)
    assert max(len(band) for _, band in bands) <= max_rows
    ends = np.cumsum([len(band) for _, band in bands])
    assert [y0 for y0, _ in bands] == [0, *ends[:-1]]
    np.testing.assert_array_equal(np.vstack([band for _, band in bands]), image)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("tile", [None, (32, 48)])
def test_jpeg_is_read_close_to_what_was_written(
    tmp_path: Path, photometric: str, tile: tuple[int, int] | None
) -> None:
    ramp = np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])).astype(np.uint8)
    # tifffile takes the samples of such a file as they are to be stored
    neutral = ramp if photometric == "rgb" else np.full_like(ramp, 128)
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.dstack([ramp, neutral, neutral]),
        photometric=photometric,
        compression="jpeg",
        compressionargs={"level": 98},
        subsampling=(1, 1),
        tile=tile,
    )
    with BlockReader(open_tiff(tmp_path / "x.tif"), (1,)) as reader:
        block = reader.read(0, SHAPE[0])
    difference = block.plane(1).astype(int) - ramp
    assert np.abs(difference).max() <= 6


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_window_is_that_part_of_the_whole(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind = data.draw(st.sampled_from(sorted(WHOLE)))
    planar = data.draw(st.booleans())
    path = tmp_path_factory.getbasetemp() / f"window {kind} {planar}.tif"
    image = noise("uint16", (*SHAPE, 3))
    if not path.exists():
        stored = np.ascontiguousarray(np.moveaxis(image, -1, 0)) if planar else image
        config = "separate" if planar else "contig"
        tifffile.imwrite(
            path, stored, photometric="rgb", planarconfig=config, **WHOLE[kind]
        )
    y0, x0 = (data.draw(st.integers(0, side - 1)) for side in SHAPE)
    y1 = data.draw(st.integers(y0 + 1, SHAPE[0]))
    x1 = data.draw(st.integers(x0 + 1, SHAPE[1]))
    with BlockReader(open_tiff(path), (0, 2)) as reader:
        block = reader.read(y0, y1, x0, x1)
    for sample in (0, 2):
        np.testing.assert_array_equal(block.plane(sample), image[y0:y1, x0:x1, sample])


@pytest.mark.parametrize("samples", [2, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32", "int16"])
def test_sums_of_samples_are_exact(tmp_path: Path, samples: int, dtype: str) -> None:
    image = noise(dtype, (*SHAPE, samples))
    tifffile.imwrite(
        tmp_path / "x.tif", image, photometric="minisblack", planarconfig="contig"
    )
    with BlockReader(open_tiff(tmp_path / "x.tif"), range(samples)) as reader:
        sums = [
            sum(one)
            for one in zip(
                *(b.sums(range(samples)) for b in reader.blocks()), strict=True
            )
        ]
    wide = np.float64 if dtype == "float32" else np.int64
    np.testing.assert_allclose(
        sums, image.reshape(-1, samples).sum(0, dtype=wide), rtol=1e-12
    )


def test_one_bit_and_packed_pixels_become_bytes(tmp_path: Path) -> None:
    image = noise("uint8") > 100
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="minisblack")
    signal, _ = signal_of(tmp_path / "x.tif")
    assert signal.dtype == np.uint8
    np.testing.assert_array_equal(signal, image)


def test_white_is_zero_is_turned_round_and_told(tmp_path: Path) -> None:
    image = noise("uint16")
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="miniswhite")
    signal, pair = signal_of(tmp_path / "x.tif")
    np.testing.assert_array_equal(signal, 65535 - image)
    assert "white as zero" in pair.warnings[0]


def test_a_display_palette_leaves_the_numbers_alone(tmp_path: Path) -> None:
    image = noise("uint8")
    colours = np.zeros((3, 256), np.uint16)
    colours[1] = np.arange(256) * 257
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="palette", colormap=colours)
    signal, pair = signal_of(tmp_path / "x.tif")
    np.testing.assert_array_equal(signal, image)
    assert "display palette is ignored" in pair.warnings[0]


def test_a_palette_of_any_colours_is_looked_up(tmp_path: Path) -> None:
    image = noise("uint8")
    colours = np.zeros((3, 256), np.uint16)
    colours[0] = np.random.default_rng(3).permutation(256) * 257
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="palette", colormap=colours)
    signal, pair = signal_of(tmp_path / "x.tif")
    np.testing.assert_array_equal(signal, (colours[0] >> 8)[image])
    assert pair.channels == (0,)


@pytest.mark.parametrize(
    ("dtype", "top", "kept"),
    [("int16", 900, "uint16"), ("uint32", 60000, "uint16"), ("int8", 90, "uint8")],
)
def test_other_integers_become_the_smallest_type_that_holds_them(
    tmp_path: Path, dtype: str, top: int, kept: str
) -> None:
    image = (np.arange(6750).reshape(SHAPE) % top).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="minisblack")
    signal, _ = signal_of(tmp_path / "x.tif")
    assert signal.dtype == np.dtype(kept)
    np.testing.assert_array_equal(signal, image)


@pytest.mark.parametrize(("top", "kept"), [(1 << 20, "float32"), (1 << 30, "float64")])
def test_large_integers_become_floats_that_hold_them(
    tmp_path: Path, top: int, kept: str
) -> None:
    image = np.arange(6750, dtype=np.uint32).reshape(SHAPE) + (top - 6750)
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="minisblack")
    signal, pair = signal_of(tmp_path / "x.tif")
    assert signal.dtype == np.dtype(kept)
    np.testing.assert_array_equal(signal, image)
    assert kept in pair.warnings[-1]


@pytest.mark.parametrize("imagej", [False, True])
def test_the_first_page_is_used_with_a_warning(tmp_path: Path, imagej: bool) -> None:
    pages = noise("uint8", (3, *SHAPE))
    tifffile.imwrite(tmp_path / "x.tif", pages, photometric="minisblack", imagej=imagej)
    signal, pair = signal_of(tmp_path / "x.tif")
    np.testing.assert_array_equal(signal, pages[0])
    assert "more than one page" in pair.warnings[0]


def test_pyramid_levels_and_thumbnails_are_not_pages(tmp_path: Path) -> None:
    image = noise("uint8", (160, 192))
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(image[::4, ::4], subfiletype=1)
        writer.write(image, subifds=1, tile=(32, 32))
        writer.write(image[::2, ::2], subfiletype=1, tile=(32, 32))
        writer.write(image[::4, ::4], subfiletype=1)
    signal, pair = signal_of(tmp_path / "x.tif")
    np.testing.assert_array_equal(signal, image)
    assert pair.warnings == ()


def test_tiles_that_are_not_there_are_zero_with_a_warning(tmp_path: Path) -> None:
    image = noise("uint8", (64, 64)) | 1
    tifffile.imwrite(tmp_path / "x.tif", image, tile=(32, 32))
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as tif:
        counts = tif.pages.first.tags["TileByteCounts"]
        counts.overwrite((0, *counts.value[1:]))
    signal, pair = signal_of(tmp_path / "x.tif")
    image[:32, :32] = 0
    np.testing.assert_array_equal(signal, image)
    assert "1 tiles are not in the file" in pair.warnings[0]


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
    assert signal_of(tmp_path / "x.tif")[0].sum() == 4 * 5050


MILLION = 1_000_000
BAD_HEADERS = {
    "a terapixel": (hand_made(MILLION, MILLION), "truncated or damaged"),
    "a deflated terapixel": (
        hand_made(MILLION, MILLION, compression=8),
        "400 bytes, which cannot hold its 1000000000000 bytes",
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
    "complex pixels": (
        hand_made(8, 8, bits=64, sample_format=6, count=400),
        "complex64 are not supported",
    ),
    "an unknown codec": (hand_made(20, 20, compression=64999), "cannot be read"),
    "CMYK": (hand_made(10, 10, samples=4, photometric=5), "SEPARATED are not"),
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
        signal_of(path)
    assert str(path) in str(caught.value)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caplog.records


def test_a_header_that_claims_too_much_takes_no_memory(tmp_path: Path) -> None:
    """The whole process may not even hold a hundredth of the claim."""
    (tmp_path / "x.tif").write_bytes(hand_made(MILLION, MILLION, compression=50000))
    code = """
        import resource, sys
        from napari_exo2micro.core.raw_tiff import open_tiff
        from napari_exo2micro.core.errors import RawDataError
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


def test_a_missing_file_and_a_broken_link_are_told(tmp_path: Path) -> None:
    with pytest.raises(RawFileNotFoundError, match="is missing"):
        open_tiff(tmp_path / "x.tif")
    (tmp_path / "link.tif").symlink_to(tmp_path / "gone.tif")
    with pytest.raises(RawFileNotFoundError, match="target is gone"):
        open_tiff(tmp_path / "link.tif")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_counted(tmp_path: Path, value: float) -> None:
    image = noise("float32")
    image[3, 4] = image[70, 80] = value
    tifffile.imwrite(tmp_path / "x.tif", image)
    with pytest.raises(RawDataError, match=r"x\.tif: 2 of its 6750 pixels are NaN"):
        signal_of(tmp_path / "x.tif")


def test_opposite_infinities_are_counted(tmp_path: Path) -> None:
    image = noise("float64")
    image[3, 4:6] = np.inf, -np.inf
    tifffile.imwrite(tmp_path / "x.tif", image)
    with pytest.raises(RawDataError, match="2 of its 6750"):
        signal_of(tmp_path / "x.tif")


def test_negative_integers_are_counted(tmp_path: Path) -> None:
    image = noise("int16")
    image[0, :3] = -1
    tifffile.imwrite(tmp_path / "x.tif", image)
    with pytest.raises(RawDataError, match="3 of its 6750 pixels are negative"):
        signal_of(tmp_path / "x.tif")


def test_an_image_of_zeros_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros(SHAPE, np.uint8))
    with pytest.raises(RawDataError, match=r"x\.tif: every pixel of the signal is 0"):
        signal_of(tmp_path / "x.tif")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise("uint8"))
    image = open_tiff(path)
    path.write_bytes(path.read_bytes() + b"more")
    with (
        BlockReader(image, (0,)) as reader,
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
        signal_of(path)


def encode(kind: str) -> bytes:
    stream = io.BytesIO()
    options = dict(WHOLE[kind])
    image = noise("uint16", (24, 30, 3))
    tifffile.imwrite(stream, image, photometric="rgb", **options)
    return stream.getvalue()


FILES = {kind: encode(kind) for kind in ("strips", "LZW", "deflate tiles", "BigTIFF")}


def read_or_refuse(path: Path) -> NDArray[Any] | None:
    """Return all samples; None when the file is refused as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image: TiffImage = open_tiff(path)
            with BlockReader(image, range(image.samples)) as reader:
                return np.vstack([block.data.copy() for block in reader.blocks()])
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
    assert read is None or np.array_equal(read, noise("uint16", (24, 30, 3)))


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
