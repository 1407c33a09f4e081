"""Layers of ours: found by metadata, replaced in place, a person's choices kept."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.images import LazyImage
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import simulate_section, write_pair
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    about,
    find_layers,
    image_spec,
)
from napari_exo2micro.plugin.layers.scene import place_layers, remove_layers
from napari_exo2micro.plugin.layers.sets import best_roles
from napari_exo2micro.plugin.layers.stages import stage_specs


def spec(role="post", sample="Rock", dye="DAPI", value=50, side=64):
    pixels = np.full((side, side), value, np.float32)
    pixels[0] = 0
    levels = [LazyImage(pixels.shape, pixels.dtype, lambda window: pixels[window])]
    known = {"sample": sample, "dye": dye, "stage": 1, "paths": ["x.tif"]}
    return image_spec(levels, role, name=f"{sample} {role}", known=known)


def test_pairs_are_additive_in_complementary_colours(viewer):
    pre, post = place_layers(viewer, [spec("pre"), spec("post")])
    assert (pre.colormap.name, post.colormap.name) == ("magenta", "green")
    assert pre.blending == post.blending == "additive"


def test_a_difference_is_centred_on_zero_and_black_there(viewer):
    (layer,) = place_layers(viewer, [spec("difference", value=-7)])
    low, high = layer.contrast_limits
    assert low == -high
    middle = layer.colormap.map(np.array([0.5]))[0]
    assert middle[:3].max() < 0.02
    ends = layer.colormap.map(np.array([0.0, 1.0]))
    assert np.abs(ends[0] - ends[1]).max() > 0.3


def test_a_renamed_layer_is_found_and_replaced_where_it_was(viewer):
    place_layers(viewer, [spec("pre"), spec("post"), spec("difference")])
    viewer.layers[1].name = "my favourite"
    viewer.layers.selection.active = viewer.layers[1]
    (new,) = place_layers(viewer, [spec("post", value=90)])
    assert len(viewer.layers) == 3
    assert viewer.layers[1] is new
    assert viewer.layers.selection.active is new
    assert float(np.asarray(new.data).max()) == 90


def test_another_sample_stands_beside(viewer):
    place_layers(viewer, [spec(), spec(sample="Other"), spec(dye="SybrGld")])
    assert len(viewer.layers) == 3
    assert len(find_layers(viewer, "post", sample="Rock")) == 2
    remove_layers(viewer, sample="Rock", dye="DAPI")
    assert [about(layer)["sample"] for layer in viewer.layers] == ["Other", "Rock"]


def test_what_a_person_chose_stays(viewer):
    (old,) = place_layers(viewer, [spec()])
    old.visible, old.opacity, old.colormap = False, 0.4, "cyan"
    (new,) = place_layers(viewer, [spec(value=200)])
    assert (new.visible, new.opacity, new.colormap.name) == (False, 0.4, "cyan")
    assert new.contrast_limits[1] == pytest.approx(200)
    new.contrast_limits = (10, 30)
    (newer,) = place_layers(viewer, [spec(value=90)])
    assert tuple(newer.contrast_limits) == (10, 30)


def test_layers_of_others_are_left_alone(viewer):
    mine = viewer.add_points(np.zeros((1, 2)), metadata={KEY: "not a mapping"})
    viewer.add_image(np.zeros((8, 8)), name="Rock post")
    place_layers(viewer, [spec()])
    remove_layers(viewer)
    assert [layer.name for layer in viewer.layers] == ["Points", "Rock post"]
    assert about(mine) == {}


def test_drawings_are_layers_too(viewer):
    drawing = LayerSpec(
        np.zeros((1, 2)),
        {"metadata": {KEY: {"role": "preview matches", "sample": "a", "dye": "b"}}},
        "points",
    )
    place_layers(viewer, [drawing])
    place_layers(viewer, [drawing])
    assert len(find_layers(viewer, "preview ")) == 1
    remove_layers(viewer, "preview ")
    assert not viewer.layers


def arrows(count, colour="#33ddff", width=2.0):
    data = np.arange(count * 4, dtype=np.float64).reshape(count, 2, 2)
    known = {"role": "matches inlier", "sample": "Rock", "dye": "DAPI"}
    options = {
        "name": "matches",
        "edge_color": colour,
        "edge_width": width,
        "metadata": {KEY: known},
    }
    return LayerSpec(data, options, "vectors")


@pytest.mark.display
@pytest.mark.parametrize("colour", ["#33ddff", "#ff5533"])
def test_hidden_vectors_that_were_drawn_take_fewer(make_napari_viewer_proxy, colour):
    viewer = make_napari_viewer_proxy(show=True).__wrapped__
    (layer,) = place_layers(viewer, [arrows(10)])
    viewer.window._qt_viewer.canvas.screenshot()  # it has been drawn
    layer.visible = False
    assert place_layers(viewer, [arrows(5, colour, 3.0)]) == [layer]
    wanted = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    np.testing.assert_allclose(layer.edge_color[:, :3], [wanted] * 5, atol=1e-6)
    np.testing.assert_array_equal(layer.data, arrows(5).data)
    layer.edge_color = "white"  # as a person may, in napari's own controls
    layer.visible = True
    assert layer.edge_width == 3.0


def test_vectors_of_the_same_colour_are_not_coloured_again(viewer):
    (layer,) = place_layers(viewer, [arrows(10)])
    told = []
    layer.events.edge_color.connect(told.append)
    place_layers(viewer, [arrows(12)])
    assert not told
    assert len(layer.edge_color) == 12
    place_layers(viewer, [arrows(12, "#ff5533")])
    assert len(told) == 1


def test_a_layer_that_cannot_be_shown_does_not_keep_others_away(viewer):
    broken = LayerSpec(np.zeros((3, 2, 7)), arrows(3).options, "no such type")
    failed = []
    placed = place_layers(
        viewer,
        [spec("pre"), broken, spec("post")],
        on_error=lambda one, error: failed.append((one, type(error))),
    )
    assert [about(layer)["role"] for layer in placed] == ["pre", "post"]
    assert [one for one, _ in failed] == [broken]
    with pytest.raises(failed[0][1]):
        place_layers(viewer, [broken])


@pytest.mark.filterwarnings("ignore")
def test_the_difference_of_a_proven_background_model_is_in_front(tmp_path):
    pair = simulate_section(
        (1000, 1200), seed=3, gain=1.3, photons=500.0, noise=0.5, mineral_ratio=0.25
    )
    write_pair(pair, tmp_path / "raw", "Rock", "DAPI")
    task = SampleDye("Rock", "DAPI", tmp_path / "out", tmp_path / "raw", "tiff")
    task.set_params(pad=50, interior_ecc=False)
    task.run()
    specs = stage_specs(task, 4)
    assert [spec.about["role"] for spec in specs][-1] == "difference model"
    shown = [spec.about["role"] for spec in specs if spec.options["visible"]]
    assert shown == ["difference model"]
    best = best_roles(["post", "aligned 3", "difference", "difference model"])
    assert "difference model" in best
    assert "difference" not in best
