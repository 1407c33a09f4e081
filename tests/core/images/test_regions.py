"""Regions: polygons and labels images made into masks, window by window."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import tifffile
from skimage.draw import polygon2mask

from napari_exo2micro.core import ParameterError, Regions

SHAPE, FRAME = (400, 500), (30, 20, 440, 360)
OUTER = [[50, 40], [300, 60], [280, 300], [40, 250], [50, 40]]
HOLE = [[100, 100], [160, 100], [160, 150], [100, 150], [100, 100]]


def area(label, *rings, name=""):
    told = {"name": name, "classification": {"name": label} if label else None}
    geometry = {"type": "Polygon", "coordinates": list(rings)}
    return {"type": "Feature", "geometry": geometry, "properties": told}


def drawn(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return Regions.load(path)


def filled(ring):
    points = np.array(ring, float)[:, ::-1] - 0.5  # from QuPath's corners; y, x
    return polygon2mask((360, 440), points)


def test_polygons_are_filled_at_their_place(tmp_path):
    regions = drawn(tmp_path / "r.geojson", area("Ignore*", OUTER, HOLE))
    assert regions.leaves_out
    assert regions.names == ()
    mask = np.asarray(regions.not_registered(SHAPE, FRAME))
    assert mask.dtype == np.uint8
    expected = np.zeros(SHAPE, bool)
    expected[20:380, 30:470] = filled(OUTER) & ~filled(HOLE)
    assert np.array_equal(mask > 0, expected)
    lazy = regions.not_registered(SHAPE, FRAME)
    windows = [np.asarray(lazy[y : y + 70, :]) for y in range(0, 400, 70)]
    assert np.array_equal(np.concatenate(windows), mask)


def test_named_regions_are_what_counts(tmp_path):
    regions = drawn(
        tmp_path / "r.geojson",
        area("vein", OUTER),
        area("exclude", HOLE),
        area("", [[320, 10], [400, 10], [400, 90], [320, 90]], name="matrix"),
    )
    assert regions.names == ("vein", "matrix")
    left_out = np.asarray(regions.not_counted(SHAPE, FRAME))
    assert left_out[20 + 70, 30 + 70] == 0  # vein
    assert left_out[20 + 120, 30 + 120] == 1  # excluded in it
    assert left_out[20 + 50, 30 + 350] == 0  # matrix
    assert left_out[20 + 350, 30 + 400] == 1  # none of them
    shares = regions.shares(FRAME)
    assert shares["vein"] == pytest.approx(filled(OUTER).mean(), abs=0.01)
    assert shares["exclude"] == pytest.approx(filled(HOLE).mean(), abs=0.01)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_labels_image(tmp_path, ending):
    labels = np.zeros((360, 440), np.uint16)
    labels[10:60, 20:90] = 1
    labels[200:330, 100:300] = 7
    path = tmp_path / f"labels.{ending}"
    if ending == "png":
        cv2.imwrite(str(path), labels)
    else:
        tifffile.imwrite(path, labels, compression="zlib", tile=(64, 64))
    regions = Regions.load(path)
    assert regions.names == ("region 7",)
    mask = np.asarray(regions.not_registered(SHAPE, FRAME))
    assert np.array_equal(mask[20:380, 30:470], labels == 1)
    assert mask.sum() == (labels == 1).sum()
    left_out = np.asarray(regions.not_counted(SHAPE, FRAME))
    assert np.array_equal(left_out[20:380, 30:470], labels != 7)
    with pytest.raises(ParameterError, match="has 440 x 360 px, the raw post-stain"):
        regions.check((30, 20, 441, 360))


def test_a_mask_of_imagej_is_what_is_left_out(tmp_path):
    mask = np.zeros((360, 440), np.uint8)
    mask[:100] = 255
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    regions = Regions.load(tmp_path / "mask.tif")
    assert (regions.leaves_out, regions.names) == (True, ())


def test_only_what_is_left_out_counts_for_the_registration(tmp_path):
    path = tmp_path / "r.geojson"
    before = drawn(path, area("exclude", HOLE), area("vein", OUTER))
    after = drawn(path, area("exclude", HOLE), area("rim", OUTER))
    assert before.left_out_digest == after.left_out_digest
    assert before.digest != after.digest


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{}", "no 'FeatureCollection'"),
        ('{"type": "FeatureCollection", "features": []}', "no polygons are drawn"),
        (json.dumps(area("", OUTER)), "area 1 has no class and no name"),
        (json.dumps(area("exclude", [["a", 1]])), "coordinates of object 1 are no"),
        (
            '{"type": "Feature", "geometry": {"type": "LineString"}}',
            "object 1 is a LineString",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path, text, match):
    path = tmp_path / "r.geojson"
    path.write_text(text)
    with pytest.raises(ParameterError, match=match):
        Regions.load(path)


def test_images_that_are_no_labels(tmp_path):
    tifffile.imwrite(tmp_path / "f.tif", np.zeros((5, 5), np.float32))
    with pytest.raises(ParameterError, match="float32 with 2 axes; one whole number"):
        Regions.load(tmp_path / "f.tif")
    tifffile.imwrite(tmp_path / "0.tif", np.zeros((5, 5), np.uint8))
    with pytest.raises(ParameterError, match="all its labels are 0"):
        Regions.load(tmp_path / "0.tif")
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(ParameterError, match="no image that can be read"):
        Regions.load(tmp_path / "x.png")
    with pytest.raises(ParameterError, match=r"none\.tif: .*No such file"):
        Regions.load(tmp_path / "none.tif")


def test_a_polygon_of_another_image_is_told(tmp_path):
    far = [[x + 2000, y] for x, y in HOLE]
    regions = drawn(tmp_path / "r.geojson", area("exclude", far))
    with pytest.raises(ParameterError, match="'exclude' lies outside of the raw post"):
        regions.check(FRAME)
