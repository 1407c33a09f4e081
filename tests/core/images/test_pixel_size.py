"""Sizes of pixels, as files note them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_exo2micro.core.images import PixelSize, read_pixel_size

IMAGE = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
SIZE = 0.3251234567


def ome(unit: str, factor: float) -> dict:
    noted = {"axes": "YX"}
    for axis in "XY":
        noted |= {f"PhysicalSize{axis}": SIZE * factor}
        noted |= {f"PhysicalSize{axis}Unit": unit}
    return {"ome": True, "metadata": noted}


def imagej(unit: str, factor: float) -> dict:
    resolution = (1 / (SIZE * factor), 1 / (SIZE * factor))
    return {"imagej": True, "resolution": resolution, "metadata": {"unit": unit}}


def tags(unit: str, factor: float) -> dict:
    resolution = (1 / (SIZE * factor), 1 / (SIZE * factor))
    return {"resolution": resolution, "resolutionunit": unit, "metadata": None}


@pytest.mark.parametrize(
    "options",
    [
        ome("µm", 1),
        ome("nm", 1e3),
        ome("mm", 1e-3),
        imagej("um", 1),
        imagej("micron", 1),
        imagej("\\u00B5m", 1),
        imagej("nm", 1e3),
        imagej("cm", 1e-4),
        tags("CENTIMETER", 1e-4),
        tags("INCH", 1 / 25_400),
    ],
)
def test_the_size_is_that_which_the_file_notes(tmp_path, options):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, IMAGE, **options)
    size = read_pixel_size(path, IMAGE.shape)
    assert size is not None
    np.testing.assert_allclose(list(size), [SIZE, SIZE], rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (72, 72), "resolutionunit": "INCH"},
        {"resolution": (600, 600), "resolutionunit": "INCH"},
        {"resolution": (28.35, 28.35), "resolutionunit": "CENTIMETER"},
        {"resolution": (3.0, 3.0), "resolutionunit": "NONE"},
        {"imagej": True, "resolution": (3.0, 3.0), "metadata": {"unit": "pixel"}},
        {"imagej": True, "resolution": (96, 96), "metadata": {"unit": "inch"}},
        {"resolution": (0, 0), "resolutionunit": "CENTIMETER"},
    ],
)
def test_what_a_screen_or_printer_wrote_is_no_size(tmp_path, options):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, IMAGE, **options)
    assert read_pixel_size(path) is None


def test_sides_may_differ(tmp_path):
    path = tmp_path / "image.tif"
    noted = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(path, IMAGE, ome=True, metadata=noted)
    assert read_pixel_size(path) == PixelSize(0.5, 0.25)
    assert str(read_pixel_size(path)) == "0.5 x 0.25 um"


def test_the_image_that_is_meant_counts_not_the_small_view_before_it(tmp_path):
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path) as file:
        for step in (4, 1):
            pixels = 1e4 / (0.5 * step)
            file.write(
                IMAGE[::step, ::step],
                resolution=(pixels, pixels),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    np.testing.assert_allclose(list(read_pixel_size(path, IMAGE.shape)), 0.5)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no image at all"])
def test_a_damaged_file_tells_no_size(tmp_path, content):
    path = tmp_path / "image.tif"
    path.write_bytes(content)
    assert read_pixel_size(path) is None
    assert read_pixel_size(tmp_path / "missing.tif") is None


@pytest.mark.parametrize("stored", [None, [1], [0, 1], ["a", 1], [float("nan"), 1]])
def test_what_is_no_size_in_a_header_is_none(stored):
    assert PixelSize.of(stored) is None
