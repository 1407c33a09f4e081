"""Regions in a run: what is left out of registration and scale, what is measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_exo2micro import core as e2m
from napari_exo2micro.core.raw import find_pair
from napari_exo2micro.core.simulate import simulate_section, write_pair

pytestmark = pytest.mark.usefixtures("plain_pictures")
PAD = 40


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    """A pair of which a large part of post shows something else, brighter by far."""
    pair = simulate_section((600, 700), seed=4, angle_deg=3.0, shift=(6, -5), gain=1.3)
    raw = tmp_path_factory.mktemp("spoiled") / "raw"
    write_pair(pair, raw, "S", "DAPI")
    path = find_pair("S", "DAPI", raw)[0]
    post = tifffile.imread(path).copy()
    noise = np.random.default_rng(1).normal(0, 3, (600, 330))
    there = pair.post[:, 370:]
    post[:, 370:] = np.clip(1.45 * there + noise, 0, 255).astype(post.dtype)
    tifffile.imwrite(path, post, metadata=None)
    return raw


def regions_of(path, **boxes):
    features = []
    for name, (x0, y0, x1, y1) in boxes.items():
        ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"classification": {"name": name}},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def made(raw, out, regions=None):
    task = e2m.SampleDye("S", "DAPI", out, raw, regions=regions)
    task.set_params(pad=PAD)
    return task


def test_what_is_excluded_changes_no_scale_and_is_subtracted(tmp_path, spoiled):
    raw = spoiled
    regions = regions_of(tmp_path / "r.geojson", exclude=(366, 0, 700, 600))
    task = made(raw, tmp_path / "out", regions)
    result = task.run()
    assert result["scale_estimate"] == pytest.approx(1.3, rel=0.01)
    assert any("47.7% of post-stain is left out" in text for text in result["warnings"])
    # no tile of stage 3 lies in it, and the difference is made there all the same
    header = task.checkpoint(3, "pre").provenance
    tiles = np.array(header.details["tiles"]["x"])
    assert len(tiles) > 12
    assert tiles.max() < PAD + 366
    difference = np.asarray(task.checkpoint(4, "difference").image[:, :])
    inner = difference[PAD + 250 : PAD + 350, PAD + 450 : PAD + 550]
    assert np.abs(inner).mean() > 3
    given = header.raw["given"]["regions"]
    assert given["file"] == str(regions)
    assert given["shares"] == {"exclude": pytest.approx(0.477, abs=0.001)}


def test_named_regions_are_what_is_measured(tmp_path, spoiled):
    raw = spoiled
    out = tmp_path / "out"
    regions = regions_of(tmp_path / "r.geojson", left=(0, 0, 360, 600))
    result = made(raw, out, regions).run()
    assert result["scale_estimate"] == pytest.approx(1.3, rel=0.01)
    assert "regions 'left' (51.4%) of post-stain" in " ".join(result["warnings"])
    # other regions to measure leave the registration valid
    regions_of(regions, right=(380, 0, 700, 600))
    states = {line.stage: str(line.state) for line in made(raw, out, regions).status()}
    assert (states[2], states[3]) == ("valid", "valid")
    lines = [li for li in made(raw, out, regions).status() if li.stage == 4]
    assert {str(line.state) for line in lines} == {"stale"}
    result = made(raw, out, regions).run()
    assert result["scale_estimate"] == pytest.approx(1.3 * 1.45, rel=0.03)
    # none at all, or what is left out, make more of it stale
    line = next(li for li in made(raw, out).status() if li.stage == 4)
    assert "made with the regions of" in line.reason
    regions_of(regions, exclude=(380, 0, 700, 600))
    states = {line.stage: str(line.state) for line in made(raw, out, regions).status()}
    assert (states[1], states[2]) == ("valid", "stale")


def test_regions_of_another_image_change_nothing(tmp_path, spoiled):
    raw = spoiled
    task = made(raw, tmp_path / "out")
    task.run(to_stage=2)
    tifffile.imwrite(tmp_path / "labels.tif", np.ones((50, 60), np.uint8))
    with pytest.raises(e2m.ParameterError, match="60 x 50 px, the raw post-stain"):
        made(raw, tmp_path / "out", tmp_path / "labels.tif").run(to_stage=2)
    with pytest.raises(e2m.ParameterError, match="regions cannot be read"):
        made(raw, tmp_path / "out", tmp_path / "none.tif").run(to_stage=2)
    assert str(task.status()[2].state) == "valid"
