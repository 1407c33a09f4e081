"""Images saved by themselves with a header."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_exo2micro.core.base import (
    CancelledError,
    Monitor,
    OutputError,
    ParameterError,
)
from napari_exo2micro.core.images import LazyImage, Transform, open_raster
from napari_exo2micro.core.store import (
    Provenance,
    StoredScale,
    export_image,
    provenance_of,
)

STORED = Provenance(
    sample="Rock",
    dye="DAPI",
    stage=4,
    name="difference",
    parameters={"boundary_width": 20},
    inputs="abc",
    canvas={"post_frame": (5, 5, 30, 40), "pre_frame": (5, 5, 30, 40)},
    transform=Transform.similarity(translation=(1.5, 2.0)),
    scale=StoredScale("moffat", 1.3, 0.01),
)


def lazy(shape=(2100, 700), dtype="float32") -> LazyImage:
    """An image that only exists in windows."""

    def read(window):
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        return np.add.outer(rows * 2, columns).astype(dtype)

    return LazyImage(shape, dtype, read)


@pytest.mark.parametrize("ending", [".tiff", ".tif", ".fits", ".TIF", ".FITS"])
def test_a_lazy_image_is_written_whole_with_its_header(tmp_path, ending):
    image = lazy()
    path = export_image(tmp_path / f"saved{ending}", image, STORED)
    assert path == tmp_path / f"saved{ending.lower()}"
    found = open_raster(path)
    np.testing.assert_array_equal(found.level(0), np.asarray(image))
    assert found.header == json.loads(json.dumps(STORED.to_header()))
    assert Provenance.from_header(found.header).transform == STORED.transform


def test_other_programs_find_the_keys(tmp_path):
    path = export_image(tmp_path / "saved.fits", lazy(), STORED)
    header = fits.getheader(path)
    assert (header["SAMPLE"], header["BW"], header["SCALE"]) == ("Rock", 20, 1.3)
    path = export_image(tmp_path / "saved.tiff", lazy(), STORED)
    assert tifffile.imread(path).shape == (2100, 700)


def test_it_is_never_whole_in_memory(tmp_path):
    seen = []

    def read(window):
        shape = tuple(part.stop - part.start for part in window)
        seen.append(shape[0] * shape[1])
        return np.zeros(shape, np.uint8)

    export_image(tmp_path / "x.tiff", LazyImage((3000, 5000), np.uint8, read), STORED)
    assert sum(seen) == 3000 * 5000
    assert max(seen) <= 1024 * 2048


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("bool", "uint8"), ("uint32", "int64"), ("float16", "float32")],
)
def test_types_that_files_do_not_hold_are_widened(tmp_path, dtype, stored):
    image = (np.arange(600).reshape(20, 30) % 2).astype(dtype)
    path = export_image(tmp_path / "x.fits", image, STORED)
    found = open_raster(path).level(0)
    assert found.dtype == stored
    np.testing.assert_array_equal(found, image)


def test_stopping_leaves_nothing_behind(tmp_path):
    with pytest.raises(CancelledError):
        export_image(
            tmp_path / "x.tiff", lazy(), STORED, Monitor(should_stop=lambda: True)
        )
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ParameterError, match=r"\.fits"):
        export_image(tmp_path / "x.png", lazy(), STORED)
    with pytest.raises(ParameterError, match="2-D"):
        export_image(tmp_path / "x.tiff", np.zeros((3, 4, 5)), STORED)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"x\.tiff"):
        export_image(tmp_path / "file" / "x.tiff", lazy(), STORED)


def test_the_header_of_a_checkpoint_is_kept_as_it_is():
    known = {"header": STORED.to_header()}
    found = provenance_of(known, "difference", as_stored=True)
    assert found.to_header() == STORED.to_header()


def test_a_derived_image_says_what_it_is_and_what_it_comes_from():
    known = {"header": STORED.to_header(), "scale": {"value": 1.5, "kind": "manual"}}
    found = provenance_of(known, "difference_manual", as_stored=False)
    assert (found.stage, found.name) == (4, "difference_manual")
    assert (found.scale.value, found.scale.kind) == (1.5, "manual")
    assert found.transform == STORED.transform
    assert "derived from difference" in found.notes[-1]
    cards = {key: value for key, value, _ in found.to_cards()}
    assert cards["SCALE"] == 1.5


def test_an_image_without_a_header_gets_one(tmp_path):
    known = {
        "sample": "Rock",
        "dye": "DAPI",
        "stage": 0,
        "header": {},
        "channels": (1,),
        "transform": STORED.transform.to_dict(),
    }
    found = provenance_of(known, "post", as_stored=False)
    path = export_image(tmp_path / "x.tiff", lazy(), found)
    again = Provenance.from_header(open_raster(path).header)
    assert (again.sample, again.stage, again.name) == ("Rock", 0, "post")
    assert again.canvas["channels"] == [1]
    assert again.transform == STORED.transform


def test_a_damaged_header_is_not_passed_on():
    header = STORED.to_header() | {"sample": "Other"}
    found = provenance_of({"header": header, "sample": "Rock"}, "x", as_stored=True)
    assert (found.sample, found.transform) == ("Rock", None)


@pytest.mark.parametrize("below", ["Rock", "Rock/kept"])
def test_an_image_is_not_saved_among_its_raw_files(tmp_path, below):
    raw = {"post": {"file": str(tmp_path / "Rock" / "Rock_DAPI_post.tif")}}
    (tmp_path / "Rock").mkdir()
    with pytest.raises(OutputError, match="raw folder"):
        export_image(tmp_path / below / "a.tif", lazy(), replace(STORED, raw=raw))
    assert not list((tmp_path / "Rock").iterdir())
    assert export_image(tmp_path / "a.tif", lazy(), replace(STORED, raw=raw)).is_file()
