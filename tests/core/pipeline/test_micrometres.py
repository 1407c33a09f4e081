"""The size of a pixel, from the raw files through all that a run writes and back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.wcs import WCS

from napari_exo2micro.core.alignment import Alignment
from napari_exo2micro.core.images import PixelSize, open_raster, read_pixel_size
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.store import Provenance

pytestmark = pytest.mark.usefixtures("plain_pictures")

PAD = 60
SIZE = 0.3251234567
#: What the pre-stain image was taken with: it shows the section 1.03 times larger.
PRE_SIZE = SIZE / 1.03


def size_in(path: Path) -> float:
    """Return the size that a result is to have, by its name."""
    return PRE_SIZE if path.name.startswith("01_padded_pre") else SIZE


def noted(folder: Path, post: float | None, pre: float | None) -> None:
    """Write the raw files again, with sizes of pixels."""
    for side, size in (("Post", post), ("Pre", pre)):
        (path,) = (folder / "Rock").glob(f"*{side}*_DAPI.tif*")
        pixels = tifffile.imread(path)
        metadata = {"axes": "YX"}
        for axis in "XY" if size else "":
            metadata[f"PhysicalSize{axis}"] = size
        tifffile.imwrite(path, pixels, ome=True, metadata=metadata)


def opened(folder: Path, **params) -> SampleDye:
    task = SampleDye("Rock", "DAPI", folder / "out", folder / "raw", "both")
    task.set_params(pad=PAD, **params)
    return task


@pytest.fixture(scope="module")
def done(tmp_path_factory, shared_raw_dir):
    """A run of files that note the size; not to be changed."""
    folder = tmp_path_factory.mktemp("sizes")
    shutil.copytree(shared_raw_dir, folder / "raw")
    noted(folder / "raw", SIZE, PRE_SIZE)
    return folder, opened(folder).run()


def test_every_image_of_a_run_notes_it(done):
    folder, result = done
    assert not [text for text in result.warnings if "um" in text]
    images = sorted((folder / "out").rglob("*.tiff"))
    assert len(images) >= 5
    for path in images:
        size = read_pixel_size(path)
        assert size is not None, path.name
        np.testing.assert_allclose(list(size), size_in(path), rtol=1e-6)
        with tifffile.TiffFile(path) as tif:
            for number, level in enumerate(tif.series[0].levels):
                x, y = level.keyframe.tags["XResolution"].value
                told = size_in(path) * 2**number
                assert 1e4 * y / x == pytest.approx(told, rel=1e-6)


def test_fits_has_um_from_the_first_raw_pixel(done):
    folder, _ = done
    images = sorted((folder / "out").rglob("*.fits"))
    assert len(images) >= 5
    for path in images:
        world = WCS(fits.getheader(path))
        x, y = world.pixel_to_world_values([PAD, PAD + 100], [PAD, PAD + 10])
        size = size_in(path)
        np.testing.assert_allclose(x, [0, 100 * size], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(y, [0, 10 * size], rtol=1e-6, atol=1e-9)
        assert [str(unit) for unit in world.wcs.cunit] == ["um", "um"]


def test_headers_and_a_saved_alignment_bring_it_back(done, tmp_path):
    folder, _ = done
    path = next((folder / "out").rglob("03_*aligned_pre*.tiff"))
    header = open_raster(path).header
    assert Provenance.from_header(header).pixel_size == PixelSize(SIZE, SIZE)
    alignment = Alignment.from_header(header)
    alignment.save(tmp_path / "alignment.json")
    again = Alignment.load(tmp_path / "alignment.json")
    assert again.transform == alignment.transform
    assert again.pixel_size("post") == PixelSize(SIZE, SIZE)
    assert again.pixel_size("pre") == PixelSize(PRE_SIZE, PRE_SIZE)


def test_a_size_by_hand_counts_before_the_files(done):
    folder, _ = done
    task = opened(folder, pixel_size=0.5)
    task.run(to_stage=1)
    for name, size in (("post", 0.5), ("pre", 0.5 / 1.03)):
        told = task.checkpoint(1, name).provenance.pixel_size
        np.testing.assert_allclose(list(told), size)
    assert task._tiff_path(1, "post").name == "01_padded_post_pad60_px0.5.tiff"
    assert fits.getheader(task._fits_path(1, "post"))["PX"] == 0.5


def test_without_a_size_nothing_is_claimed(shared_raw_dir, tmp_path):
    task = SampleDye("Rock", "DAPI", tmp_path / "out", shared_raw_dir, "both")
    task.set_params(pad=PAD)
    task.run(to_stage=1)
    assert read_pixel_size(task._tiff_path(1, "post")) is None
    assert "CDELT1" not in fits.getheader(task._fits_path(1, "post"))
    assert task.checkpoint(1, "post").provenance.pixel_size is None


def test_sizes_that_do_not_fit_the_magnification_are_told(shared_raw_dir, tmp_path):
    shutil.copytree(shared_raw_dir, tmp_path / "raw")
    noted(tmp_path / "raw", 0.325, 0.65)
    task = opened(tmp_path)
    (text,) = [text for text in task.run(to_stage=3).warnings if "um" in text]
    measured = np.sqrt(np.linalg.det(task.transform(3).matrix[:2, :2]))
    assert "0.325 um in post and 0.65 um in pre, mean a magnification of 0.5" in text
    assert f"the alignment found {measured:.4g}" in text
    assert "'pixel_size'" in text


def test_the_size_of_the_other_image_follows_from_the_magnification(done):
    folder, _ = done
    header = open_raster(next((folder / "out").rglob("03_*pre*.tiff"))).header
    header["canvas"].pop("pre_pixel_size")
    alignment = Alignment.from_header(header)
    points = np.array([[0.0, 0.0], [300.0, 400.0]])
    length = np.hypot(*np.diff(alignment.raw_transform(points), axis=0)[0])
    assert length * alignment.pixel_size("pre").mean == pytest.approx(
        500 * SIZE, rel=1e-3
    )
