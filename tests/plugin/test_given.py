"""Landmarks and regions in the window: from files, and from what was drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QLabel, QPushButton

from napari_exo2micro.core import Landmarks, Regions, SampleDye, State
from napari_exo2micro.plugin.layers.layers import about, find_layers
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.workbench.given import GivenRow
from napari_exo2micro.plugin.workbench.workbench import BoundaryDock

PAD = 60
PLACES = np.array([[150.0, 150.0], [400.0, 160.0], [300.0, 350.0]])


@pytest.fixture
def dock(viewer, shown, qtbot):
    made = BoundaryDock(viewer)
    qtbot.addWidget(made.native)
    made.show()
    return made


def words(dock, name) -> str:
    return dock.native.findChild(QLabel, name).text()


def press(dock, name) -> None:
    dock.native.findChild(QPushButton, name).click()


@pytest.fixture
def session(shown, tmp_path):
    shown.set_source(output_dir=tmp_path / "out")
    return shown


def test_a_file_is_chosen_and_dropped(dock, session, tmp_path, pair):
    path = Landmarks(PLACES, pair.truth(PLACES)).save(tmp_path / "marks.csv")
    row = dock.form.findChild(GivenRow, "landmarks")
    row.use(path)
    assert session.settings.landmarks == (path,)
    assert words(dock, "landmarks_words") == "Landmarks: marks.csv"
    assert session.task().settings.landmarks == (path,)
    path.write_text("x,y\n1,2\n")
    row.use(path)
    assert "columns of one image only" in words(dock, "landmarks_problem")
    press(dock, "landmarks_none")
    assert session.settings.landmarks is None
    assert words(dock, "landmarks_words") == "Landmarks: none"
    row.use(Landmarks(PLACES, PLACES).save(path))
    session.set_source(sample="Another")
    assert session.settings.landmarks is None


def test_points_of_two_layers(dock, viewer, session, pair):
    press(dock, "landmarks_layers")
    assert "whose name begins with 'post', found 0" in words(dock, "landmarks_problem")
    # on the images, wherever these lie in the world
    for name, role, places in (
        ("post points", "post", PLACES),
        ("pre points", "pre", pair.truth(PLACES)),
    ):
        layer = find_layers(viewer, role)[0]
        offset = np.array(about(layer)["canvas_offset"])
        data = [layer.data_to_world(place[::-1] - offset) for place in places]
        viewer.add_points(np.array(data), name=name)
    press(dock, "landmarks_layers")
    assert words(dock, "landmarks_problem") == ""
    (path,) = session.settings.landmarks
    marks = Landmarks.of(path)
    assert np.allclose(marks.post, PLACES, atol=0.01)
    assert np.allclose(marks.pre, pair.truth(PLACES), atol=0.01)
    viewer.layers["pre points"].data = viewer.layers["pre points"].data[:2]
    press(dock, "landmarks_layers")
    assert "found 3 and 2" in words(dock, "landmarks_problem")


def test_shapes_and_labels_become_regions(dock, viewer, session):
    viewer.layers.selection.clear()
    press(dock, "regions_layers")
    assert "select what you have drawn" in words(dock, "regions_problem")
    layer = find_layers(viewer, "post")[0]
    offset = np.array(about(layer)["canvas_offset"])
    box = np.array([[100, 50], [100, 200], [180, 200], [180, 50]])  # row, column
    data = [layer.data_to_world(corner - offset) for corner in box]
    shapes = viewer.add_shapes([np.array(data)] * 2, name="exclude this")
    shapes.shape_type = ["rectangle", "ellipse"]
    viewer.layers.selection = {shapes}
    press(dock, "regions_layers")
    assert words(dock, "regions_problem") == ""
    path = session.settings.regions
    regions = Regions.load(path)
    assert (regions.leaves_out, regions.names) == (True, ())
    mask = np.asarray(regions.not_registered((480, 540), (0, 0, 540, 480)))
    assert mask[100:180, 50:200].all()
    assert mask.sum() == 80 * 150
    drawn = json.loads(path.read_text())
    assert len(drawn["features"]) == 2
    labels = np.zeros((480, 540), int)
    labels[10:20, 30:40] = 3
    layer = viewer.add_labels(labels, name="exclude")
    viewer.layers.selection = {layer}
    press(dock, "regions_layers")
    path = session.settings.regions
    assert path.name == "regions.tif"
    assert np.array_equal(tifffile.imread(path), labels // 3)


def test_results_of_an_earlier_day_bring_their_landmarks(
    viewer, results, shared_raw_dir, tmp_path, pair, qtbot
):
    path = Landmarks(PLACES, pair.truth(PLACES)).save(tmp_path / "marks.csv")
    task = SampleDye("Rock", "DAPI", results, shared_raw_dir, landmarks=path)
    task.set_params(pad=PAD)
    task.run(to_stage=2)
    session = shared_session(viewer)
    session.set_params(pad=PAD)
    session.set_source(
        raw_dir=shared_raw_dir, output_dir=results, sample="Rock", dye="DAPI"
    )
    qtbot.waitUntil(lambda: session.settings.landmarks == (path,), timeout=60_000)

    def is_valid() -> bool:
        states = {(li.stage, li.name): li.state for li in session.status}
        return states.get((2, "pre")) is State.VALID

    qtbot.waitUntil(is_valid, timeout=60_000)
    # what a person takes away stays away
    session.set_given(landmarks=None)
    qtbot.waitUntil(lambda: bool(session.status) and not is_valid(), timeout=60_000)
    assert session.settings.landmarks is None
