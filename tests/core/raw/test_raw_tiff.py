"""TIFF files of all kinds are read as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from napari_exo2micro.core.base import RawDataError
from napari_exo2micro.core.raw import ImageChoice, RawFingerprint, RawPair
from napari_exo2micro.core.raw.read import measure
from napari_exo2micro.core.raw.tiff import TiffReader, open_tiff

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


def _file_options(kind: str) -> dict[str, Any]:
    return {k: v for k, v in WHOLE[kind].items() if k in ("byteorder", "bigtiff")}


def _page_options(kind: str) -> dict[str, Any]:
    return {k: v for k, v in WHOLE[kind].items() if k not in _file_options(kind)}


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
    with TiffReader(open_tiff(tmp_path / "x.tif"), (1,)) as reader:
        (green,) = reader.read((range(SHAPE[0]), range(SHAPE[1])))
    difference = green.astype(int) - ramp
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
    area = tuple(
        data.draw(
            st.builds(range, st.integers(0, side - 1), st.just(side), st.integers(1, 9))
        )
        for side in SHAPE
    )
    rows, columns = (part[: data.draw(st.integers(1, len(part)))] for part in area)
    with TiffReader(open_tiff(path), (0, 2)) as reader:
        planes = reader.read((rows, columns))
    for sample, plane in zip((0, 2), planes, strict=True):
        np.testing.assert_array_equal(plane, image[..., sample][np.ix_(rows, columns)])


@pytest.mark.parametrize("samples", [2, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32", "int16"])
@pytest.mark.parametrize("kind", ["plain", "deflate tiles"])
def test_samples_are_measured_by_themselves(
    tmp_path: Path, samples: int, dtype: str, kind: str
) -> None:
    image = np.abs(noise(dtype, (*SHAPE, samples)))
    path = tmp_path / "x.tif"
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(path, image, **options, **WHOLE[kind])
    measured = measure(open_tiff(path), digest=True)
    means = image.reshape(-1, samples).mean(0, dtype=np.float64)
    found = [signal.mean for signal in measured.signals.values()]
    np.testing.assert_allclose(found, means, rtol=1e-12)
    assert measured.largest == (0 if dtype == "float32" else image.max())


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("kind", WHOLE)
def test_the_digest_is_that_of_the_file(
    tmp_path: Path, kind: str, planar: bool
) -> None:
    """Whatever lies between, before and after the pixels is in it."""
    path = tmp_path / "x.tif"
    stored = noise("uint16", (3, *SHAPE) if planar else (*SHAPE, 3))
    options = {"photometric": "rgb", "planarconfig": "separate" if planar else 1}
    with tifffile.TiffWriter(path, **_file_options(kind)) as writer:
        for _ in range(2):
            writer.write(stored, contiguous=False, **options, **_page_options(kind))
    image = open_tiff(path, ImageChoice(page=2))
    assert measure(image, digest=True).fingerprint == RawFingerprint.of(path)
    assert measure(image).fingerprint is None


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


def test_of_a_palette_of_any_colours_a_person_says_what_it_means(
    tmp_path: Path,
) -> None:
    image = noise("uint8")
    colours = np.zeros((3, 256), np.uint16)
    colours[0] = np.random.default_rng(3).permutation(256) * 257
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="palette", colormap=colours)
    with pytest.raises(RawDataError, match="--channel stored; if it is a picture"):
        open_tiff(tmp_path / "x.tif")
    for channel, wanted in (("red", (colours[0] >> 8)[image]), ("stored", image)):
        choice = ImageChoice(channel=channel)
        pair = RawPair.from_files(*[tmp_path / "x.tif"] * 2, (choice, choice))
        np.testing.assert_array_equal(pair.post.read(), wanted)


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
def test_of_several_pages_one_or_a_projection_is_asked_for(
    tmp_path: Path, imagej: bool
) -> None:
    pages = noise("uint8", (3, *SHAPE))
    path = tmp_path / "x.tif"
    options: dict[str, Any] = {"photometric": "minisblack"}
    if imagej:
        options |= {"imagej": True, "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(path, pages, **options)
    with pytest.raises(RawDataError, match=r"page 1 \(90 x 75 px\), page 2 .* --page"):
        open_tiff(path)
    mean = np.rint(pages.mean(0)).astype(np.uint8)
    for choice, wanted in (
        (ImageChoice(page=2), pages[1]),
        (ImageChoice(projection="maximum"), pages.max(0)),
        (ImageChoice(projection="mean"), mean),
    ):
        pair = RawPair.from_files(path, path, (choice, choice))
        np.testing.assert_array_equal(pair.post.read(), wanted)
        assert pair.post.fingerprint() == RawFingerprint.of(path)


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


def test_blank_tiles_may_all_be_in_one_place(tmp_path: Path) -> None:
    """As scanners write them: 18 tiles, of which the file holds two."""
    side, across = 512, 4
    tile = np.full((side, side), 9, np.uint8)
    path = tmp_path / "x.tif"
    shape = (side * across + side // 2, side * across)
    tiles = [tile, tile * 0] + [None] * (across * (across + 1) - 2)
    tifffile.imwrite(
        path,
        (b"" if tile is None else tile.tobytes() for tile in tiles),
        shape=shape,
        dtype="uint8",
        tile=(side, side),
    )
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tif.pages.first.tags[name]
            first, blank, *rest = tag.value
            tag.overwrite((first, blank, *[blank] * len(rest)))
    assert path.stat().st_size < 3 * side**2
    image = open_tiff(path)
    assert image.warnings == ()
    with TiffReader(image, (0,)) as reader:
        total = sum(int(planes.sum()) for _, planes in reader.blocks())
        around = range(side - 2, side + 2)
        (corner,) = reader.read((around, around))
    assert total == 9 * side**2
    assert corner.tolist() == [[9, 9, 0, 0], [9, 9, 0, 0], [0] * 4, [0] * 4]


@pytest.mark.parametrize("codec", ["lerc", "jpegxl", "webp", "jpeg2000"])
def test_a_constant_tile_may_take_some_bytes_only(tmp_path: Path, codec: str) -> None:
    samples = 3 if codec == "webp" else 1
    image = np.full((1024, 1024, samples), 7, np.uint8)
    tifffile.imwrite(
        tmp_path / "x.tif",
        image if samples == 3 else image[..., 0],
        tile=(1024, 1024),
        compression=codec,
        compressionargs={"lossless": True} if codec == "webp" else {},
        photometric="rgb" if samples == 3 else "minisblack",
    )
    image = open_tiff(tmp_path / "x.tif")
    with TiffReader(image, (0,)) as reader:
        assert np.all(reader.read((range(1000, 1010), range(1024))) == 7)
