"""Files as cameras and image programs write them: the stored numbers, or a question.

Each is read as a pair, and compared with what tifffile reads of the same file; where it
may be several things, the refusal has to list them and the option that chooses.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_exo2micro.core import DataWarning, RawDataError, SampleDye, load_image_pair

SHAPE = (72, 96)
DYES = ("DAPI", "SYBR", "GFP")


def section(seed: int, dtype: Any = np.uint8, shape: tuple[int, int] = SHAPE) -> Any:
    """Return a bright section with texture on a dark background with a pedestal."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    middle, reach = np.array(shape) / 2, np.array(shape) / 3
    far = ((rows - middle[0]) / reach[0]) ** 2 + ((columns - middle[1]) / reach[1]) ** 2
    light = 12 + (far < 1) * rng.integers(60, 200, shape) + rng.integers(0, 4, shape)
    return (light * (1 if np.dtype(dtype) == np.uint8 else 20)).astype(dtype)


def channels(seed: int, count: int, dtype: Any = np.uint16) -> Any:
    return np.stack([section(10 * seed + n, dtype) for n in range(count)])


def ramp(*stops: int) -> Any:
    return np.interp(np.arange(256), np.linspace(0, 255, len(stops)), stops)


GREY, NONE = ramp(0, 255), np.zeros(256)
HILO = [GREY.copy(), GREY.copy(), GREY.copy()]
HILO[2][0], HILO[1][255], HILO[2][255] = 255, 0, 0
TABLES = {
    "green": [NONE, GREY, NONE],
    "cyan": [NONE, GREY, GREY],
    "fire": [
        ramp(0, 98, 195, 255, 255),
        ramp(0, 0, 79, 190, 255),
        ramp(0, 220, 5, 255),
    ],
    "hilo": HILO,
    "ice": [ramp(0, 50, 134, 242, 243), ramp(156, 171, 81, 93, 0), ramp(140, 250, 27)],
    "spectrum": [
        ramp(255, 255, 0, 0, 0, 255, 255),
        ramp(0, 255, 255, 255, 0, 0, 0),
        ramp(0, 0, 0, 255, 255, 255, 0),
    ],
    "red hot": [ramp(0, 255, 255), ramp(0, 0, 255), ramp(0, 0, 255)],
    "inverted": [GREY[::-1], GREY[::-1], GREY[::-1]],
    "three colours": [ramp(0, 255, 0, 128), ramp(255, 0, 40, 0), ramp(0, 0, 255, 128)],
}
IMAGEJ = "ImageJ=1.54f\n"


def table(name: str) -> Any:
    return (np.array(TABLES[name]) * 257).astype(np.uint16)


Write = Callable[[Path, int], Any]
"""Writes the file of a seed and returns the pixels that are to be read."""


def plain(dtype: Any, ending: str = ".tif", **options: Any) -> Write:
    def write(path: Path, seed: int) -> Any:
        tifffile.imwrite(path, section(seed, dtype), metadata=None, **options)
        return tifffile.imread(path)

    write.ending = ending  # type: ignore[attr-defined]
    return write


def palette(name: str, description: str | None = IMAGEJ) -> Write:
    def write(path: Path, seed: int) -> Any:
        tifffile.imwrite(
            path,
            section(seed),
            photometric="palette",
            colormap=table(name),
            description=description,
            metadata=None,
        )
        return tifffile.imread(path)

    return write


def inverted_by_imagej(path: Path, seed: int) -> Any:
    image = section(seed)
    tifffile.imwrite(
        path, image, photometric="miniswhite", description=IMAGEJ, metadata=None
    )
    return image


def white_is_zero(path: Path, seed: int) -> Any:
    image = section(seed)
    tifffile.imwrite(path, 255 - image, photometric="miniswhite", metadata=None)
    return image


def named(dye: str, how: str, dtype: Any = np.uint16) -> Write:
    def write(path: Path, seed: int) -> Any:
        stack = channels(seed, len(DYES), dtype)
        if how == "imagej":
            noted: dict[str, Any] = {"axes": "CYX", "Labels": list(DYES)}
            tifffile.imwrite(path, stack, imagej=True, metadata=noted)
        elif how == "ome":
            noted = {"axes": "CYX", "Channel": {"Name": list(DYES)}}
            tifffile.imwrite(
                path, stack, ome=True, photometric="minisblack", metadata=noted
            )
        return tifffile.imread(path)[DYES.index(dye)]

    write.dye = dye  # type: ignore[attr-defined]
    return write


def smaller_first(path: Path, seed: int) -> Any:
    image = section(seed, shape=(256, 320))
    with tifffile.TiffWriter(path) as file:
        for step in (4, 2, 1):
            file.write(image[::step, ::step], metadata=None, contiguous=False)
    return tifffile.imread(path, key=2)


def thumbnail_first(path: Path, seed: int) -> Any:
    image = section(seed, shape=(256, 320))
    with tifffile.TiffWriter(path) as file:
        file.write(image[::8, ::8], subfiletype=1, metadata=None)
        file.write(image, metadata=None)
    return tifffile.imread(path, key=1)


def levels_inside(path: Path, seed: int) -> Any:
    image = section(seed, np.uint16, shape=(256, 320))
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(image, subifds=2, tile=(64, 64), metadata={"axes": "YX"})
        for step in (2, 4):
            file.write(image[::step, ::step], subfiletype=1, tile=(64, 64))
    return tifffile.imread(path)


def with_nan(path: Path, seed: int) -> Any:
    image = section(seed, np.float32)
    image[:, :20] = np.nan
    tifffile.imwrite(path, image, metadata=None)
    return np.nan_to_num(tifffile.imread(path))


def negative(path: Path, seed: int) -> Any:
    image = section(seed, np.int16) - np.int16(300)
    tifffile.imwrite(path, image, metadata=None)
    return tifffile.imread(path).astype(np.float32)


def signed_by_imagej(path: Path, seed: int) -> Any:
    image = section(seed, np.uint16)
    text = IMAGEJ + "c0=-32768.0\nc1=1.0\nvunit=gray value\n"
    tifffile.imwrite(path, image + 32768, description=text, metadata=None)
    return image


def oriented(orientation: int) -> Write:
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].T,
        8: np.rot90,
    }

    def write(path: Path, seed: int) -> Any:
        extra = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, section(seed), extratags=extra, metadata=None)
        return turned[orientation](tifffile.imread(path))

    return write


def inks(path: Path, seed: int) -> Any:
    light = section(seed)
    ink = np.stack([255 - light, 255 - light, 255 - light, 0 * light], axis=-1)
    tifffile.imwrite(path, ink, photometric="separated", metadata=None)
    return 3 * light.astype(np.uint16)


def opaque(path: Path, seed: int) -> Any:
    light = section(seed)
    pixels = np.stack([0 * light, light, 0 * light, 0 * light + 255], axis=-1)
    tifffile.imwrite(
        path, pixels, photometric="rgb", extrasamples=["unassalpha"], metadata=None
    )
    return tifffile.imread(path)[..., 1]


def last_strip_too_long(path: Path, seed: int) -> Any:
    image = section(seed)
    tifffile.imwrite(path, image, rowsperstrip=20, metadata=None)
    whole = tifffile.imread(path)
    with tifffile.TiffFile(path, mode="r+") as tif:
        counts = list(tif.pages[0].databytecounts)
        counts[-1] += 4096
        tif.pages[0].tags["StripByteCounts"].overwrite(counts)
    return whole


READ: dict[str, Write] = {
    **{f"plain {np.dtype(t)}": plain(t) for t in (np.uint8, np.uint16, np.float32)},
    **{f"{e} file": plain(np.uint16, e) for e in (".tiff", ".TIF", ".tf2", ".ome.tif")},
    **{f"{e} file": plain(np.uint16, e, bigtiff=True) for e in (".btf", ".tf8")},
    **{c: plain(np.uint16, compression=c) for c in ("zlib", "lzw", "packbits", "zstd")},
    "tiles": plain(np.uint16, tile=(32, 32)),
    "predictor": plain(np.uint16, compression="lzw", predictor=True),
    "big endian": plain(np.uint16, byteorder=">"),
    **{f"ImageJ's table, {name}": palette(name) for name in TABLES},
    "rising palette of another program": palette("green", None),
    "inverted by ImageJ": inverted_by_imagej,
    "white is zero": white_is_zero,
    **{f"OME, {dye}": named(dye, "ome") for dye in DYES},
    **{f"OME 8 bit, {dye}": named(dye, "ome", np.uint8) for dye in DYES},
    **{f"ImageJ's channels, {dye}": named(dye, "imagej") for dye in DYES},
    "smaller ones first": smaller_first,
    "thumbnail first": thumbnail_first,
    "levels inside": levels_inside,
    "NaN beside the section": with_nan,
    "negative numbers": negative,
    "signed by ImageJ": signed_by_imagej,
    **{f"orientation {n}": oriented(n) for n in range(1, 9)},
    "inks": inks,
    "alpha": opaque,
    "a last strip that claims too much": last_strip_too_long,
}


def several(axes: str, **options: Any) -> Write:
    def write(path: Path, seed: int) -> Any:
        stack = channels(seed, 3)
        noted = {"axes": axes} if options else None
        tifffile.imwrite(
            path, stack, photometric="minisblack", metadata=noted, **options
        )

    return write


def side_by_side(count: int, photometric: str = "minisblack", **options: Any) -> Write:
    def write(path: Path, seed: int) -> Any:
        pixels = np.moveaxis(channels(seed, count), 0, -1)
        if options.get("planarconfig") == "separate":
            pixels = np.moveaxis(pixels, -1, 0)
        tifffile.imwrite(
            path, pixels, photometric=photometric, metadata=None, **options
        )

    return write


ASKED: dict[str, tuple[Write, tuple[str, ...]]] = {
    "pages without names": (several("CYX"), ("--page", "1", "2", "3")),
    "OME channels without names": (several("CYX", ome=True), ("--channel", "1", "3")),
    "a stack of ImageJ": (several("ZYX", imagej=True), ("--projection", "--page")),
    "a stack of OME": (several("ZYX", ome=True), ("--projection", "--page")),
    "two dyes beside each other": (side_by_side(2), ("--channel", "1", "2")),
    "four dyes beside each other": (side_by_side(4), ("--channel", "1", "4")),
    "planes of three dyes": (
        side_by_side(3, planarconfig="separate"),
        ("--channel", "1", "3"),
    ),
    "falling palette": (palette("inverted", None), ("--channel", "stored")),
    "palette of three colours": (
        palette("three colours", None),
        ("--channel", "stored"),
    ),
}


def pair_of(folder: Path, write: Write) -> tuple[str, list[Any]]:
    """Write both files of a pair and return the dye and what is to be read."""
    dye, ending = getattr(write, "dye", "DAPI"), getattr(write, "ending", ".tif")
    (folder / "Rock").mkdir()
    wanted = [
        write(folder / "Rock" / f"Rock_{side}Stain_{dye}{ending}", seed)
        for seed, side in ((1, "Post"), (2, "Pre"))
    ]
    return dye, wanted


@pytest.mark.parametrize("kind", READ)
def test_the_numbers_are_those_that_the_file_holds(kind: str, tmp_path: Path) -> None:
    dye, wanted = pair_of(tmp_path, READ[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        post, pre, *_ = load_image_pair("Rock", dye, tmp_path)
    for read, stored in zip((post, pre), wanted, strict=True):
        np.testing.assert_array_equal(read, stored)
        assert read.dtype == stored.dtype


@pytest.mark.parametrize("kind", ASKED)
def test_what_may_be_several_things_is_asked(kind: str, tmp_path: Path) -> None:
    write, told = ASKED[kind]
    dye, _ = pair_of(tmp_path, write)
    with pytest.raises(RawDataError) as refused:
        load_image_pair("Rock", dye, tmp_path)
    for word in told:
        assert word in str(refused.value)


@pytest.mark.parametrize("how", ["copy", "link"])
def test_the_same_image_as_post_and_pre_is_told(how: str, tmp_path: Path) -> None:
    (tmp_path / "raw" / "Rock").mkdir(parents=True)
    post, pre = (
        tmp_path / "raw" / "Rock" / f"Rock_{side}Stain_DAPI.tif"
        for side in ("Post", "Pre")
    )
    tifffile.imwrite(post, section(1), metadata=None)
    (shutil.copy if how == "copy" else os.link)(post, pre)
    task = SampleDye("Rock", "DAPI", tmp_path / "out", tmp_path / "raw")
    (said,) = [text for text in task.run(to_stage=1).warnings if "same" in text]
    assert post.name in said
    assert pre.name in said


def test_there_are_sixty_kinds() -> None:
    assert len(READ) + len(ASKED) >= 60
