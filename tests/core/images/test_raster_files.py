"""Opening images that were changed, replaced or written by others."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.images import io, open_raster
from napari_exo2micro.core.images.io import FITS_SEAL, TIFF_SEAL_SIZE, write_raster

KINDS = ("tiff", "fits")


def write(path, shape, value, *, cards=()):
    image = np.full(shape, value, np.uint8)
    header = {"kind": "napari-exo2micro checkpoint", "text": "x" * 50 * value}
    write_raster([path], shape, "uint8", [(0, image)], header=header, cards=cards)


@pytest.mark.skipif(sys.platform == "win32", reason="it replaces no file that is open")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "place", ["_tags", "_fits_header", "np.memmap", "seal_of", "_read_json"]
)
def test_a_file_that_is_replaced_meanwhile_is_the_old_or_the_new(
    tmp_path, monkeypatch, kind, place
):
    path = tmp_path / f"a.{kind}"
    write(path, (64, 60), 1)
    owner = io
    *modules, name = place.split(".")
    for module in modules:
        owner = getattr(owner, module)
    original, replaced = getattr(owner, name), []

    def replacing(*args, **kwargs):
        if not replaced:
            replaced.append(True)
            monkeypatch.setattr(owner, name, original)
            write(path, (99, 80), 2)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, replacing)
    raster = open_raster(path)
    assert replaced or name == {"tiff": "_fits_header", "fits": "_tags"}[kind]
    value = len(raster.header["text"]) // 50
    assert raster.shape == {1: (64, 60), 2: (99, 80)}[value]
    assert np.all(np.asarray(raster) == value)
    assert np.all(np.asarray(open_raster(path)) == (2 if replaced else 1))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it counts open files")
@pytest.mark.parametrize("kind", KINDS)
def test_more_images_than_a_program_may_open_files(tmp_path, kind):
    import resource

    paths = [tmp_path / f"{number}.{kind}" for number in range(60)]
    for path in paths:
        write(path, (20, 30), 1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 20, limits[1]))
    try:
        rasters = [open_raster(path, mapped=False) for path in paths]
        with pytest.raises(CheckpointError, match="Too many open files"):
            [open_raster(path) for path in paths]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    write(paths[1], (99, 80), 2)
    paths[2].unlink()
    assert np.all(np.asarray(rasters[0]) == 1)
    with pytest.raises(CheckpointError, match=r"was written anew since .* open it"):
        np.asarray(rasters[1])
    with pytest.raises(CheckpointError, match=r"cannot be read .No such file"):
        np.asarray(rasters[2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "i8", "f4", "f8"])
def test_a_sealed_file_is_read_as_the_libraries_read_it(
    tmp_path, monkeypatch, kind, dtype
):
    path = tmp_path / f"a.{kind}"
    image = np.arange(1100 * 1300).reshape(1100, 1300).astype(dtype)
    cards = [("REASON", "it's / not = plain", ""), ("SCALE", 1.5, "a number")]
    write_raster([path], image.shape, dtype, [(0, image)], header={"é": 1}, cards=cards)
    found = [open_raster(path)]
    monkeypatch.setattr(io, f"_sealed_{kind}", lambda *_: [][0])
    found.append(open_raster(path))
    for raster in found:
        raster.verify()
        np.testing.assert_array_equal(np.asarray(raster), image)
        assert raster.is_proven()
        assert raster.has_digests
    facts = [(r.header, r.dtype, r.n_levels, r.level(r.n_levels - 1)) for r in found]
    assert facts[0][:3] == facts[1][:3]
    np.testing.assert_array_equal(facts[0][3], facts[1][3])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_seal_is_told_as_such(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    write(path, (64, 60), 1)
    if kind == "tiff":
        path.write_bytes(path.read_bytes()[:-TIFF_SEAL_SIZE])
    else:
        fits.delval(path, FITS_SEAL)
    with pytest.raises(CheckpointError) as caught:
        open_raster(path)
    assert str(caught.value) == (
        f"{path} cannot be used: it has no seal: an earlier version or another "
        "program wrote it, or its end is missing; run its stage again"
    )


def test_a_keyword_that_somebody_adds_is_told_as_such(tmp_path):
    path = tmp_path / "a.fits"
    write(path, (64, 60), 1)
    fits.setval(path, "MYKEY", value=1)
    with pytest.raises(CheckpointError, match="damaged, or another program changed it"):
        open_raster(path)


def test_a_tag_that_somebody_changes_is_told_as_such(tmp_path):
    path = tmp_path / "a.tiff"
    write(path, (64, 60), 1)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages.first.tags["PhotometricInterpretation"].overwrite(0)
    with pytest.raises(CheckpointError, match="damaged, or another program changed it"):
        open_raster(path)


@pytest.mark.parametrize("text", ["HEADSUM = 1", "x" * 70 + "HEADSUM = 1" * 9])
def test_the_key_of_the_seal_may_be_in_a_text(tmp_path, text):
    path = tmp_path / "a.fits"
    write(path, (64, 60), 1, cards=[("SAMPLE", text, f"{FITS_SEAL} = 1")])
    assert np.all(np.asarray(open_raster(path)) == 1)
    assert fits.getheader(path)["SAMPLE"] == text
    data = bytearray(path.read_bytes())
    data[data.index(b"HEADSUM = 1")] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="it is damaged"):
        open_raster(path)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(("key", "value"), [("NAXIS1", -10000), ("NAXIS", 10**18)])
def test_an_absurd_fits_header_is_refused_at_once(tmp_path, is_first, key, value):
    path = tmp_path / "a.fits"
    write(path, (64, 60), 1)
    data, wanted = bytearray(path.read_bytes()), f"{key:8}=".encode()
    card = data.index(wanted) if is_first else data.rindex(wanted)
    data[card : card + 80] = f"{key:8}= {value:>20}".encode().ljust(80)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.fits"):
        open_raster(path)
