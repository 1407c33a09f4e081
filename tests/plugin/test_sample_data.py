"""The simulated section: real files, and the truth on top of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager

from napari_exo2micro.core.raw import diagnose_raw_layout
from napari_exo2micro.core.raw.pair import open_image_pair
from napari_exo2micro.core.simulate import read_truth
from napari_exo2micro.plugin.layers.layers import about

OURS = "napari-exo2micro"


@pytest.fixture(autouse=True)
def plugins() -> None:
    """Let napari know its plugins, as it does when it starts."""
    PluginManager.instance().discover()


def test_the_sample_is_a_raw_pair_with_its_truth(viewer):
    viewer.open_sample(OURS, "simulated_section")
    pre, post, truth = viewer.layers
    assert [about(layer)["role"] for layer in viewer.layers] == ["pre", "post", "truth"]
    known = about(post)
    raw_dir = Path(known["raw_dir"])
    assert diagnose_raw_layout(raw_dir).problem is None
    pair = open_image_pair(known["sample"], known["dye"], raw_dir)
    stored = read_truth(
        raw_dir / known["sample"] / f"{known['sample']}_{known['dye']}_truth.json"
    )
    for layer, image in ((post, pair.post), (pre, pair.pre)):
        data = layer.data[0] if layer.multiscale else layer.data
        np.testing.assert_array_equal(np.asarray(data), image.read())
        # Results go beside the raw folder, not into it.
        assert Path(about(layer)["output_dir"]).parent == raw_dir.parent
    assert len(truth.data) == len(stored.microbes) > 50
    np.testing.assert_array_equal(truth.data[:, 0], stored.microbes["y"])
    np.testing.assert_array_equal(truth.data[:, 1], stored.microbes["x"])
    np.testing.assert_array_equal(
        truth.features["brightness"], stored.microbes["brightness"]
    )
    assert about(truth)["true_scale"] == stored.gain
    # Rings: a microbe inside of one is seen.
    assert not truth.face_color[:, 3].any()
    assert (truth.size > 2 * stored.microbes["radius"]).all()


def test_microbes_are_where_the_rings_are(viewer):
    viewer.open_sample(OURS, "simulated_section")
    post, truth = viewer.layers[1], viewer.layers[2]
    image = np.asarray(post.data[0] if post.multiscale else post.data).astype(float)
    bright = truth.features["brightness"].to_numpy() > 60
    rows, columns = truth.data[bright].round().astype(int).T
    around = [
        np.median(image[max(r - 15, 0) : r + 16, max(c - 15, 0) : c + 16])
        for r, c in zip(rows, columns, strict=True)
    ]
    assert (image[rows, columns] > np.array(around) + 20).mean() > 0.9


def test_opening_it_again_replaces_its_layers(viewer):
    viewer.open_sample(OURS, "simulated_section")
    viewer.open_sample(OURS, "simulated_section")
    assert [about(layer)["role"] for layer in viewer.layers] == ["pre", "post", "truth"]
