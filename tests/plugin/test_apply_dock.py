"""Applying an alignment to layers of a person's own, against the truth."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.layers import Image, Labels, Points
from qtpy.QtWidgets import QLabel, QPushButton, QRadioButton, QSpinBox

from napari_exo2micro.core import images
from napari_exo2micro.core.alignment import Alignment
from napari_exo2micro.core.base import Monitor, ParameterError
from napari_exo2micro.plugin.apply.dock import ApplyDock
from napari_exo2micro.plugin.apply.moved_layers import move_layer, request_for
from napari_exo2micro.plugin.layers.layers import about, find_layers

OURS = "napari-exo2micro"
LONG = 300_000
PAD = 60


@pytest.fixture
def opened(finished, viewer, qtbot):
    """The viewer with all layers of a finished run."""
    with qtbot.waitSignal(finished.show_results().finished, timeout=LONG):
        pass
    return viewer


@pytest.fixture
def dock(opened, qtbot):
    """The dock on that viewer."""
    widget = ApplyDock(opened)
    qtbot.addWidget(widget)
    yield widget
    widget.close_down()


def press(dock, name: str) -> None:
    button = dock.findChild(QPushButton, name)
    assert button.isEnabled()
    button.click()


def apply_to(dock, qtbot, layer, *, drawn_on: str = "pre"):
    """Move a layer with the dock and return the new one."""
    viewer = dock.session.viewer
    before = set(viewer.layers)
    # The list leaves out the sample and dye that all layers share.
    names = {layer.name, layer.name.partition(": ")[2]}
    qtbot.waitUntil(
        lambda: any(dock.layer.findText(name) >= 0 for name in names if name),
        timeout=LONG,
    )
    dock.layer.choose(layer)
    dock.findChild(QRadioButton, f"from_{drawn_on}").click()
    press(dock, "apply")
    qtbot.waitUntil(lambda: bool(set(viewer.layers) - before), timeout=LONG)
    (new,) = set(viewer.layers) - before
    qtbot.waitUntil(dock.apply_button.isEnabled, timeout=LONG)
    return new


def text_of(dock, name: str) -> str:
    return dock.findChild(QLabel, name).text()


def miss(found, true) -> float:
    """Return the longest distance between points, px."""
    return float(np.hypot(*(np.asarray(found) - np.asarray(true)).T).max())


# Points -------------------------------------------------------------------------


def test_points_drawn_on_pre_land_where_they_are_on_post(dock, opened, qtbot, pair):
    post = pair.truth.section_points(60)
    points = opened.add_points(
        pair.truth(post)[:, ::-1], name="cells", features={"n": np.arange(60)}
    )
    moved = apply_to(dock, qtbot, points)
    assert moved.name == "cells on post-stain"
    assert miss(moved.data[:, ::-1], post) < 0.1
    assert list(moved.features["n"]) == list(range(60))
    assert points in opened.layers
    known = about(moved)
    assert (known["sample"], known["dye"], known["stage"]) == ("Rock", "DAPI", 3)


def test_points_drawn_on_post_land_where_they_are_on_pre(dock, opened, qtbot, pair):
    post = pair.truth.section_points(60)
    points = opened.add_points(post[:, ::-1], name="cells")
    moved = apply_to(dock, qtbot, points, drawn_on="post")
    assert moved.name == "cells on pre-stain"
    assert miss(moved.data[:, ::-1], pair.truth(post)) < 0.1


def test_a_layer_is_taken_where_it_lies_in_the_world(dock, opened, qtbot, pair):
    post = pair.truth.section_points(60)
    rows_columns = pair.truth(post)[:, ::-1]
    points = opened.add_points(
        (rows_columns - (7, -3)) / 2, scale=(2, 2), translate=(7, -3), name="cells"
    )
    moved = apply_to(dock, qtbot, points)
    np.testing.assert_array_equal(moved.scale, (1, 1))
    assert miss(moved.data[:, ::-1], post) < 0.1


def moved_with(finished, pair, scale, *, kind=Points, units=None, sizes=(None, None)):
    """Return where a layer of cells on pre lands on post; the layer has a scale."""
    header = finished.task().checkpoint(3, "pre").provenance.to_header()
    for side, size in zip(("post", "pre"), sizes, strict=True):
        if size is not None:
            header["canvas"][f"{side}_pixel_size"] = [size, size]
    cells = pair.truth(pair.truth.section_points(60))
    if kind is Points:
        layer = Points(cells[:, ::-1], scale=(scale, scale), units=units, name="cells")
    else:
        drawn = np.zeros(pair.pre.shape, np.uint8)
        drawn[tuple(np.round(cells[:, ::-1]).astype(int).T)] = 1
        layer = Labels(drawn, scale=(scale, scale), units=units, name="cells")
    request = request_for(layer, "onto post")
    return move_layer(request, Alignment.from_header(header), Monitor())


@pytest.mark.parametrize(
    ("scale", "units", "sizes"),
    [
        (0.325, ("um", "um"), (0.325, 0.325)),
        (325.0, ("nm", "nm"), (None, 0.325)),
        (0.325, None, (0.325, 0.325)),
        (0.02, None, (None, 0.02)),
    ],
)
def test_points_in_micrometres_are_moved_as_pixels(finished, pair, scale, units, sizes):
    moved = moved_with(finished, pair, scale, units=units, sizes=sizes)
    assert miss(moved.data[:, ::-1], pair.truth.section_points(60)) < 0.1
    assert "scale" not in moved.options


@pytest.mark.parametrize("scale", [0.325, 0.02, 1.3])
@pytest.mark.parametrize("units", [None, ("um", "um")])
def test_a_scale_that_nothing_explains_is_refused_with_its_number(
    finished, pair, scale, units
):
    with pytest.raises(ParameterError, match=rf"'cells' has a scale of {scale:g}"):
        moved_with(finished, pair, scale, units=units)


@pytest.mark.parametrize("scale", [0.325, 1.3])
def test_labels_as_large_as_the_image_lie_on_it_whatever_their_scale(
    finished, pair, scale
):
    plain = moved_with(finished, pair, 1.0, kind=Labels)
    scaled = moved_with(finished, pair, scale, kind=Labels)
    assert np.asarray(plain.data).any()
    np.testing.assert_array_equal(scaled.data, plain.data)


@pytest.mark.parametrize("direction", ["onto post", "onto pre"])
def test_an_alignment_that_bends_moves_every_kind_of_layer(direction):
    y, x = np.mgrid[:7, :8] * 40.0
    bend = images.Displacement(
        spacing=40.0, values=np.stack([4 * np.sin(x / 70), 3 * np.cos(y / 60)], axis=-1)
    )
    turn = images.Transform.similarity(angle_deg=2, centre=(120, 110))
    frame = (20, 20, 200, 180)
    bent = images.Transform(turn.matrix, (bend,))
    alignment = Alignment(bent, frame, frame)
    random = np.random.default_rng(4)
    drawn = random.integers(0, 9, (180, 200)).astype(np.uint8)
    places = random.uniform(30, 150, (40, 2))
    sampling = alignment.sampling(direction)

    def moved(layer):
        return move_layer(request_for(layer, direction), alignment, Monitor()).data

    there = sampling(places)[:, ::-1]
    assert miss(moved(Points(there))[:, ::-1], places) < 1e-3
    window = (0, 180, 0, 200)
    for layer, warp in (
        (Labels(drawn), images.nearest_window),
        (Image(drawn), images.warp_window),
    ):
        np.testing.assert_array_equal(moved(layer), warp(drawn, sampling, *window))


# Images and labels ----------------------------------------------------------------


def test_the_raw_pre_image_becomes_the_aligned_one(dock, opened, qtbot, pair, finished):
    opened.add_image(pair.pre, name="photo", colormap="magma")
    moved = apply_to(dock, qtbot, opened.layers["photo"])
    stored = finished.task().checkpoint(3, "pre").image.level(0)
    rows, columns = pair.truth.post_shape
    wanted = stored[PAD : PAD + rows, PAD : PAD + columns].astype(int)
    assert moved.data.dtype == pair.pre.dtype
    assert tuple(moved.translate) == (0.0, 0.0)
    assert moved.colormap.name == "magma"
    difference = np.abs(moved.data - wanted)
    # The same kernel at the same places, but for rounding.
    assert difference.max() <= 1
    assert np.count_nonzero(difference) < difference.size / 100


def test_the_padded_pre_image_lands_on_post_too(dock, opened, qtbot, pair, finished):
    (padded,) = find_layers(opened, "pre")
    moved = apply_to(dock, qtbot, padded)
    stored = finished.task().checkpoint(3, "pre").image.level(0)
    rows, columns = pair.truth.post_shape
    wanted = stored[PAD : PAD + rows, PAD : PAD + columns].astype(int)
    assert np.abs(moved.data - wanted).max() <= 1


def test_labels_keep_their_values_and_lie_on_post(dock, opened, qtbot, pair):
    post = pair.truth.section_points(40)
    labels = np.zeros(pair.truth.pre_shape, np.int64)
    inside = []
    for number, (x, y) in enumerate(pair.truth(post), start=1):
        rows = slice(max(round(y) - 4, 0), round(y) + 5)
        columns = slice(max(round(x) - 4, 0), round(x) + 5)
        if not labels[rows, columns].any():
            labels[rows, columns] = number * 2**33
            inside.append(number)
    layer = opened.add_labels(labels, name="cells")
    moved = apply_to(dock, qtbot, layer)
    assert isinstance(moved, Labels)
    assert set(np.unique(moved.data)) == set(np.unique(labels))
    for number in inside:
        column, row = post[number - 1].round().astype(int)
        assert moved.data[row, column] == number * 2**33


def test_applying_again_replaces_the_moved_layer(dock, opened, qtbot, pair):
    points = opened.add_points(pair.truth.section_points(9), name="cells")
    first = apply_to(dock, qtbot, points)
    count = len(opened.layers)
    second = apply_to(dock, qtbot, points)
    assert first not in opened.layers
    assert second in opened.layers
    assert len(opened.layers) == count


def test_a_large_image_is_moved_when_it_is_looked_at(
    dock, opened, qtbot, pair, monkeypatch
):
    threshold = "napari_exo2micro.plugin.apply.moved_layers._MADE_AT_ONCE"
    monkeypatch.setattr(threshold, 1000)
    opened.add_image(pair.pre, name="photo")
    moved = apply_to(dock, qtbot, opened.layers["photo"])
    assert not isinstance(moved.data, np.ndarray)
    monkeypatch.undo()
    again = apply_to(dock, qtbot, opened.layers["photo"])
    data = moved.data[0] if moved.multiscale else moved.data
    assert np.abs(np.asarray(data).astype(int) - again.data).max() <= 1


# What is chosen --------------------------------------------------------------------


def test_the_direction_is_told_in_words(dock, opened, qtbot):
    points = opened.add_points([[1, 2]], name="cells")
    qtbot.waitUntil(lambda: dock.layer.findText("cells") >= 0, timeout=LONG)
    dock.layer.choose(points)
    assert "was drawn on the pre-stain image" in text_of(dock, "what_happens")
    assert "belongs on the post-stain image" in text_of(dock, "what_happens")
    dock.findChild(QRadioButton, "from_post").click()
    assert "was drawn on the post-stain image" in text_of(dock, "what_happens")


def test_only_layers_that_can_be_moved_are_listed(dock, opened, qtbot):
    opened.add_labels(np.zeros((9, 9), int), name="cells")
    qtbot.waitUntil(lambda: dock.layer.findText("cells") >= 0, timeout=LONG)
    listed = [dock.layer.itemText(index) for index in range(dock.layer.count())]
    movable = [
        layer for layer in opened.layers if isinstance(layer, (Image, Labels, Points))
    ]
    assert len(listed) == len(movable)
    opened.layers.remove("cells")
    qtbot.waitUntil(lambda: dock.layer.findText("cells") < 0, timeout=LONG)


def test_alignments_of_layers_and_of_the_session_are_listed(dock):
    titles = [dock.alignment.itemText(i) for i in range(dock.alignment.count())]
    assert titles == [
        "Rock DAPI: interior alignment",
        "Rock DAPI: boundary alignment",
        "Rock DAPI: result in the output folder",
    ]


def test_the_result_of_the_session_is_read_from_its_files(
    finished, viewer, qtbot, pair
):
    dock = ApplyDock(viewer)
    qtbot.addWidget(dock)
    post = pair.truth.section_points(20)
    points = viewer.add_points(pair.truth(post)[:, ::-1], name="cells")
    moved = apply_to(dock, qtbot, points)
    assert miss(moved.data[:, ::-1], post) < 0.1
    dock.close_down()


def test_without_an_alignment_it_says_what_to_do(viewer, qtbot):
    dock = ApplyDock(viewer)
    qtbot.addWidget(dock)
    assert "run stages 1 to 3" in text_of(dock, "what_happens")
    assert not dock.findChild(QPushButton, "apply").isEnabled()
    assert not dock.findChild(QPushButton, "save_alignment").isEnabled()
    dock.close_down()


# Files ----------------------------------------------------------------------------


def test_an_alignment_is_saved_and_opened_in_another_viewer(
    dock, qtbot, tmp_path, pair
):
    from napari.components import ViewerModel

    from napari_exo2micro.plugin.session.session import Session

    path = tmp_path / "mine.json"
    dock.save(path)
    qtbot.waitUntil(lambda: "Saved" in dock.message.text, timeout=LONG)
    other = ViewerModel()
    second = ApplyDock(other)
    qtbot.addWidget(second)
    second.load(path)
    assert second.alignment.currentText() == f"file {tmp_path.name}/mine.json"
    assert second.findChild(QSpinBox, "pad").isHidden()
    post = pair.truth.section_points(20)
    points = other.add_points(pair.truth(post)[:, ::-1], name="cells")
    moved = apply_to(second, qtbot, points)
    assert miss(moved.data[:, ::-1], post) < 0.1
    second.close_down()
    Session.of(other).close()


def test_a_file_without_its_canvas_asks_for_the_margin(
    dock, opened, qtbot, tmp_path, pair
):
    path = tmp_path / "transform.json"
    pair.truth.canvas_transform(PAD).save(path)
    pad = dock.findChild(QSpinBox, "pad")
    assert pad.isHidden()
    dock.load(path)
    assert not pad.isHidden()
    pad.setValue(PAD)
    post = pair.truth.section_points(20)
    points = opened.add_points(pair.truth(post)[:, ::-1], name="cells")
    moved = apply_to(dock, qtbot, points)
    assert miss(moved.data[:, ::-1], post) < 1e-6
    # Its size is not known, so all of an image is kept.
    photo = opened.add_image(np.full(pair.truth.pre_shape, 9, np.uint8), name="photo")
    whole = apply_to(dock, qtbot, photo)
    scale = pair.truth.transform.decompose()["scale"]
    assert np.count_nonzero(whole.data) == pytest.approx(
        photo.data.size / scale**2, rel=0.01
    )
    corner = Alignment.load(path).on_canvas(PAD).points_moved([[400, 300]], "onto post")
    row, column = (corner[0, ::-1] - whole.translate).round().astype(int)
    assert whole.data[row, column] == 9


def test_a_file_that_is_no_alignment_is_told(dock, tmp_path):
    path = tmp_path / "other.json"
    path.write_text("{}")
    before = dock.alignment.count()
    dock.load(path)
    assert dock.message.level == "error"
    assert "version 1" in dock.message.text
    assert dock.alignment.count() == before


# Bad input --------------------------------------------------------------------------


def test_a_volume_is_refused_with_the_fix(dock, opened, qtbot):
    volume = opened.add_image(np.zeros((3, 20, 20), np.uint8), name="stack")
    qtbot.waitUntil(lambda: dock.layer.findText("stack") >= 0, timeout=LONG)
    dock.layer.choose(volume)
    press(dock, "apply")
    assert dock.message.level == "error"
    assert "'stack' has 3; choose another one" in dock.message.text
    assert dock.findChild(QPushButton, "apply").isEnabled()


def test_stopping_adds_nothing(dock, opened, qtbot, pair, monkeypatch):
    reached, go_on = threading.Event(), threading.Event()
    original = images.moved_image

    def slow(image, monitor):
        reached.set()
        go_on.wait(60)
        return original(image, monitor)

    monkeypatch.setattr(images, "moved_image", slow)
    photo = opened.add_image(pair.pre, name="photo")
    qtbot.waitUntil(lambda: dock.layer.findText("photo") >= 0, timeout=LONG)
    dock.layer.choose(photo)
    before = list(opened.layers)
    press(dock, "apply")
    qtbot.waitUntil(reached.is_set, timeout=LONG)
    assert not dock.findChild(QPushButton, "apply").isEnabled()
    press(dock, "stop")
    go_on.set()
    qtbot.waitUntil(dock.apply_button.isEnabled, timeout=LONG)
    assert list(opened.layers) == before
    assert dock.message.text == ""


def test_every_field_has_a_tooltip_and_a_name(dock):
    for kind in (QPushButton, QRadioButton):
        for widget in dock.findChildren(kind):
            assert widget.objectName()
            assert widget.toolTip()
    for widget in (dock.alignment, dock.layer, dock.resampling, dock.pad):
        assert widget.objectName()
        assert widget.toolTip()


def test_files_of_one_name_are_told_apart(dock, opened, tmp_path, pair):
    transform = pair.truth.canvas_transform(PAD)
    for name, one in (("a", transform), ("b", transform.inverse())):
        folder = tmp_path / name / "results"
        folder.mkdir(parents=True)
        one.save(folder / "alignment.json")
        dock.load(folder / "alignment.json")
    assert dock.alignment.currentText() == "file results/alignment.json (2)"
    chosen = dock.alignment.choice.alignment
    np.testing.assert_allclose(chosen.transform.matrix, transform.inverse().matrix)


# Which image a layer lies on --------------------------------------------------------


def lies_on(dock) -> str:
    return "pre" if dock.findChild(QRadioButton, "from_pre").isChecked() else "post"


def test_on_which_image_a_layer_lies_is_known_by_its_metadata(dock, opened, qtbot):
    """A name says nothing: what was moved onto pre lies on pre, whatever its name."""
    post_cells = opened.add_points([[300.0, 300.0]], name="cells")
    on_pre = apply_to(dock, qtbot, post_cells, drawn_on="post")
    on_pre.name = "aligned onto post"
    (aligned,) = find_layers(opened, "aligned 3")
    aligned.name = "moved onto pre"
    (padded,) = find_layers(opened, "pre")
    padded.name = "post"
    dock.refresh()
    for layer, side in (
        (on_pre, "pre"),
        (aligned, "post"),
        (padded, "pre"),
        (find_layers(opened, "difference")[0], "post"),
    ):
        dock.layer.choose(layer)
        assert lies_on(dock) == side, layer.name


def test_a_layer_is_moved_by_the_alignment_of_its_own_sample(dock, opened, qtbot):
    header = about(find_layers(opened, "aligned 3")[0])["header"]
    other = Alignment.from_header(header)
    known = {
        "role": "aligned 3",
        "sample": "Other",
        "dye": "DAPI",
        "stage": 3,
        "transform": other.transform.to_dict(),
        "header": {},
        "canvas_offset": (-60.0, -60.0),
    }
    opened.add_image(np.zeros((8, 8)), name="theirs", metadata={"exo2micro": known})
    qtbot.waitUntil(lambda: dock.layer.findText("theirs") >= 0, timeout=LONG)
    for layer in (opened.layers["theirs"], find_layers(opened, "pre")[0]):
        dock.layer.choose(layer)
        owner = about(layer)["sample"], about(layer)["dye"]
        assert dock.alignment.choice.owner == owner
