"""Saving layers: ours with their header, others as napari does."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from npe2 import PluginManager

from napari_exo2micro.core.alignment import Alignment
from napari_exo2micro.core.base import OutputError
from napari_exo2micro.core.images import Transform, open_raster
from napari_exo2micro.core.store import read_stored_image
from napari_exo2micro.plugin.files.writer import write_image
from napari_exo2micro.plugin.layers.layers import about, find_layers

OURS = "napari-exo2micro"


@pytest.fixture(autouse=True)
def plugins() -> None:
    """Let napari know its plugins, as it does when it starts."""
    PluginManager.instance().discover()


@pytest.fixture
def opened(viewer, shared_results):
    """The viewer with all layers of a finished run."""
    viewer.open(shared_results, plugin=OURS)
    return viewer


def full(layer):
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


@pytest.mark.parametrize("ending", [".tiff", ".fits"])
def test_every_image_keeps_its_pixels_and_its_header(opened, tmp_path, ending):
    images = [layer for layer in opened.layers if isinstance(layer, Image)]
    assert len(images) == 7
    for layer in images:
        known = about(layer)
        path = tmp_path / f"{known['role'].replace(' ', '_')}{ending}"
        assert layer.save(path, plugin=OURS) == [str(path)]
        stored = open_raster(path)
        np.testing.assert_array_equal(stored.level(0), full(layer))
        if known["role"] != "scaled moffat":
            assert stored.header == known["header"]
        found = read_stored_image(path)
        assert (found.sample, found.dye) == ("Rock", "DAPI")
        assert found.parameters["pad"] == 60


def test_a_saved_layer_opens_as_what_it_was(opened, tmp_path):
    (scaled,) = find_layers(opened, "scaled moffat")
    pixels, place = full(scaled), tuple(scaled.translate)
    value = about(scaled)["scale"]["value"]
    scaled.save(tmp_path / "mine.tiff", plugin=OURS)
    opened.layers.clear()
    (layer,) = opened.open(tmp_path / "mine.tiff", plugin=OURS)
    assert about(layer)["role"] == "scaled moffat"
    assert about(layer)["header"]["scale"]["value"] == value
    assert tuple(layer.translate) == place
    np.testing.assert_array_equal(full(layer), pixels)


def test_a_raw_layer_gets_a_header(viewer, shared_raw_dir, tmp_path):
    viewer.open(shared_raw_dir, plugin=OURS)
    post = viewer.layers[1]
    pixels = full(post)
    post.save(tmp_path / "post.fits", plugin=OURS)
    viewer.layers.clear()
    (layer,) = viewer.open(tmp_path / "post.fits", plugin=OURS)
    known = about(layer)
    assert (known["role"], known["stage"], known["dye"]) == ("post", 0, "DAPI")
    assert tuple(layer.translate) == (0.0, 0.0)
    np.testing.assert_array_equal(full(layer), pixels)


def test_a_folder_that_cannot_be_written_is_told(opened, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file; choose another folder"):
        opened.layers[0].save(tmp_path / "file" / "x.tiff", plugin=OURS)


# Layers of others -----------------------------------------------------------------


@pytest.mark.parametrize("plugin", [None, OURS, "napari"])
def test_a_layer_of_others_is_saved_as_napari_does(viewer, tmp_path, plugin):
    image = np.arange(600, dtype=np.uint16).reshape(20, 30)
    layer = viewer.add_image(image, name="cells")
    path = tmp_path / "cells.tif"
    assert layer.save(path, plugin=plugin) == [str(path)]
    np.testing.assert_array_equal(tifffile.imread(path), image)


def test_all_levels_of_others_are_not_written_into_one_file(viewer, tmp_path):
    image = np.arange(600, dtype=np.uint16).reshape(20, 30)
    layer = viewer.add_image([image, image[::2, ::2]], multiscale=True)
    layer.save(tmp_path / "cells.tif", plugin=OURS)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "cells.tif"), image)


def test_fits_of_a_layer_of_others_is_refused_with_the_fix(viewer, tmp_path):
    layer = viewer.add_image(np.zeros((20, 30)), name="cells")
    with pytest.raises(OutputError, match=r"'cells'.*save it as \.tif"):
        layer.save(tmp_path / "cells.fits")
    assert list(tmp_path.iterdir()) == []


# The alignment --------------------------------------------------------------------


@pytest.mark.parametrize("role", ["aligned 2", "aligned 3", "difference"])
def test_the_alignment_of_a_layer_is_saved(opened, tmp_path, role, pair):
    (layer,) = find_layers(opened, role)
    path = tmp_path / "alignment.json"
    assert layer.save(path, plugin=OURS) == [str(path)]
    assert Transform.load(path).to_dict() == about(layer)["transform"]
    found = Alignment.load(path)
    assert (found.sample, found.dye) == ("Rock", "DAPI")
    assert found.knows_its_canvas
    post = pair.truth.section_points(50)
    miss = found.points_moved(post, "onto pre") - pair.truth(post)
    assert np.hypot(*miss.T).max() < (8 if role == "aligned 2" else 0.1)


@pytest.mark.parametrize("role", ["post", "pre"])
def test_a_layer_without_an_alignment_is_refused_with_the_fix(opened, tmp_path, role):
    (layer,) = find_layers(opened, role)
    with pytest.raises(OutputError, match="has no alignment; choose an aligned"):
        layer.save(tmp_path / "alignment.json", plugin=OURS)


def test_a_layer_of_others_has_no_alignment(viewer, tmp_path):
    layer = viewer.add_image(np.zeros((20, 30)), name="cells")
    with pytest.raises(OutputError, match="'cells' has no alignment"):
        layer.save(tmp_path / "alignment.json")


# In a window ------------------------------------------------------------------------


@pytest.mark.display
def test_saving_can_be_cancelled_in_a_window(
    make_napari_viewer_proxy, tmp_path, monkeypatch
):
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QProgressDialog, QPushButton

    from napari_exo2micro.core.images import LazyImage
    from napari_exo2micro.plugin.files import opening
    from napari_exo2micro.plugin.layers.layers import KEY

    make_napari_viewer_proxy(show=True)
    monkeypatch.setattr(opening, "_SHOWN_AFTER_MS", 0)
    stopped = []

    def read(window):
        # As slow as it takes until somebody presses Cancel.
        while not stopped:
            QApplication.instance().thread().msleep(5)
        return np.zeros(tuple(p.stop - p.start for p in window), np.uint8)

    def cancel() -> None:
        for box in QApplication.topLevelWidgets():
            if isinstance(box, QProgressDialog) and box.isVisible():
                box.findChild(QPushButton).click()
                stopped.append(box.objectName())

    timer = QTimer()
    timer.setInterval(20)
    timer.timeout.connect(cancel)
    timer.start()
    image = LazyImage((3000, 200), np.uint8, read)
    meta = {"metadata": {KEY: {"role": "scaled moffat"}}}
    assert write_image(str(tmp_path / "x.tiff"), image, meta) == []
    timer.stop()
    assert stopped == ["waiting"]
    assert list(tmp_path.iterdir()) == []
