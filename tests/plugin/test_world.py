"""The size of a pixel: the viewer is in um, and everything stays on its place."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QLabel,
    QListWidget,
    QPushButton,
    QWidget,
)

from napari_exo2micro.core.alignment import Alignment
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.parameters import length_words
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.plugin.apply.moved_layers import move_layer, request_for
from napari_exo2micro.plugin.files.opening import open_path
from napari_exo2micro.plugin.files.reader import read_paths
from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.inspection.residuals import layer_residuals
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    Ground,
    LayerSpec,
    about,
    camera,
    camera_place,
    find_layers,
    move_camera,
    scale_bar,
    seen_window,
)
from napari_exo2micro.plugin.layers.presenter import presenter_of, shared_session
from napari_exo2micro.plugin.layers.scene import place_layers
from napari_exo2micro.plugin.layers.stages import stage_specs
from napari_exo2micro.plugin.workbench.preview import LivePreview

PAD = 60
SIZE = 0.65
#: Of post and pre: as a microscope says, none, and pre taken at another magnification.
KINDS = {"alike": (SIZE, SIZE), "none": (None, None), "unlike": (SIZE, SIZE / 1.03)}
OURS = "napari-exo2micro"


def noted(folder: Path, sizes) -> None:
    """Write the raw files again with the sizes of their pixels."""
    for side, size in zip(("Post", "Pre"), sizes, strict=True):
        (path,) = (folder / "Rock").glob(f"*{side}*_DAPI.tif*")
        pixels = tifffile.imread(path)
        metadata = {"axes": "YX"}
        for axis in "XY" if size else "":
            metadata[f"PhysicalSize{axis}"] = size
        tifffile.imwrite(path, pixels, ome=True, metadata=metadata)


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory, shared_raw_dir, shared_results):
    """Sizes, the raw folder and the results of all stages; not to be changed."""
    sizes = KINDS[request.param]
    if sizes == (None, None):
        return sizes, shared_raw_dir, shared_results
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(shared_raw_dir, folder / "raw")
    noted(folder / "raw", sizes)
    task = SampleDye("Rock", "DAPI", folder / "out", folder / "raw")
    task.set_params(pad=PAD)
    task.run()
    return sizes, folder / "raw", folder / "out"


@pytest.fixture
def placed(made, viewer):
    """A viewer with the raw pair and then all results, as a person sees them come."""
    _, raw_dir, out = made
    session = shared_session(viewer)
    session.set_params(pad=PAD)
    session.set_source(raw_dir=raw_dir, output_dir=out, sample="Rock", dye="DAPI")
    presenter = presenter_of(viewer)
    presenter.place_stage(1, open_path(raw_dir / "Rock", None))
    for stage in (1, 2, 3, 4):
        presenter.place_stage(stage, stage_specs(session.task(), stage))
    return viewer


@pytest.fixture
def step(made):
    """Size of a pixel of post in the world."""
    return made[0][0] or 1.0


@pytest.fixture
def dock(placed, qtbot):
    dock = InspectionDock(placed)
    qtbot.addWidget(dock)
    dock.show()
    yield dock
    dock.close_down()


def one(viewer: ViewerModel, role: str):
    return find_layers(viewer, role)[-1]


def test_raw_images_and_results_lie_on_one_another(made, placed, step):
    sizes, raw_dir, _ = made
    unit = "micrometer" if sizes[0] else "pixel"
    assert {str(unit) for x in placed.layers for unit in x.units} == {unit}
    if sizes[0]:
        assert {x.axis_labels for x in placed.layers} == {("y", "x")}
    assert scale_bar(placed).visible is bool(sizes[0])
    raw = ViewerModel()
    place_layers(raw, open_path(raw_dir / "Rock", None))
    place = np.array([300.0, 211.0])
    for layer in (*raw.layers, *placed.layers):
        own = place - about(layer)["canvas_offset"]
        if about(layer)["role"] != "pre":
            np.testing.assert_allclose(layer.data_to_world(own), place * step)
    # Pre has its own pixels; its canvas lies with the middle on that of post.
    pre, post = one(placed, "pre"), one(placed, "post")
    np.testing.assert_allclose(pre.scale, sizes[1] or 1.0)
    middle = np.array(post.level_shapes[0] if post.multiscale else post.data.shape) / 2
    np.testing.assert_allclose(pre.data_to_world(middle), post.data_to_world(middle))
    np.testing.assert_allclose(one(raw, "pre").scale, sizes[1] or 1.0)


def test_the_scale_bar_stays_off_when_a_person_wants_that(made, placed):
    scale_bar(placed).visible = False
    task = shared_session(placed).task()
    presenter_of(placed).place_stage(4, stage_specs(task, 4))
    assert not scale_bar(placed).visible


def test_the_boxes_of_the_inspection_keep_their_places(dock, placed, step):
    dock.zoom.set_place(400, 300, 100)
    dock.findChild(QPushButton, "zoom_show").click()
    frame = one(placed, "zoom frame")
    corners = [frame.data_to_world(corner) for corner in frame.data[:, 0]]
    np.testing.assert_allclose(corners[0], np.array([349.5, 249.5]) * step)
    np.testing.assert_allclose(np.ptp(corners, axis=0), 100 * step)
    # As thick on the screen as ever.
    thick = frame.edge_width * frame.scale[0] * camera(placed).zoom
    assert thick == pytest.approx(2.0)
    # The middle of the picture, told in px.
    camera(placed).center = (0.0, 123 * step, 77 * step)
    dock.zoom.take_centre()
    assert dock.zoom.place[:2] == (123, 77)
    top, left, bottom, right = seen_window(placed)
    assert (top + bottom) / 2 == pytest.approx(123)
    assert (left + right) / 2 == pytest.approx(77)


def test_saved_views_are_in_pixels(dock, placed, step):
    camera(placed).center, camera(placed).zoom = (0.0, 200 * step, 90 * step), 3 / step
    dock.views.keep()
    (view,) = dock.views.views
    assert (view.row, view.column, view.zoom) == pytest.approx((200, 90, 3))
    camera(placed).center, camera(placed).zoom = (0.0, 0.0, 0.0), 0.1
    dock.findChild(QListWidget, "view_list").setCurrentRow(0)
    dock.views.go()
    np.testing.assert_allclose(camera(placed).center[-2:], (200 * step, 90 * step))
    assert camera(placed).zoom == pytest.approx(3 / step)


def test_arrows_begin_where_the_tiles_are(dock, placed, step):
    dock.residuals.toggle()
    arrows, aligned = one(placed, "residuals"), one(placed, "aligned 3")
    residuals = layer_residuals(aligned)
    tiles = residuals.places[residuals.used][:, ::-1]
    begins = [arrows.data_to_world(place) for place in arrows.data[:, 0]]
    wanted = [aligned.data_to_world(place) for place in tiles]
    np.testing.assert_allclose(begins, wanted)
    key = dock.findChild(QWidget, "arrow_key")
    factor = dock.findChild(QDoubleSpinBox, "residuals_factor").value()
    on_screen = key.displacement * factor * step * camera(placed).zoom
    assert key.length == pytest.approx(on_screen)
    dock.findChild(QPushButton, "residuals_largest").click()
    _, x, y = residuals.largest
    np.testing.assert_allclose(
        camera(placed).center[-2:], aligned.data_to_world((y, x))
    )


def test_the_curtain_shows_each_image_at_its_place(dock, placed, step):
    dock.curtain.toggle()
    curtain, post = one(placed, "curtain"), one(placed, "post")
    place = np.array([350.0, 120.0]) * step  # left of the middle: the first layer
    drawn = curtain.data[0][tuple(np.round(curtain.world_to_data(place)).astype(int))]
    data = post.data[0] if post.multiscale else post.data
    value = np.asarray(data)[tuple(np.round(post.world_to_data(place)).astype(int))]
    low, high = post.contrast_limits
    shown = 255 * np.clip((float(value) - low) / (high - low), 0, 1)
    assert int(drawn[1]) == pytest.approx(shown, abs=2)


def test_a_saved_layer_opens_with_its_size(made, placed, tmp_path):
    for ending in ("tiff", "fits"):
        for role in ("post", "pre", "aligned 3", "scaled moffat", "difference"):
            layer = one(placed, role)
            path = tmp_path / f"{role.replace(' ', '_')}.{ending}"
            layer.save(str(path), plugin=OURS)
            (back,) = read_paths(str(path))
            known = back[1].get("scale", (1.0, 1.0))
            np.testing.assert_allclose(known, layer.scale, rtol=1e-6)
            assert ("units" in back[1]) is (made[0][0] is not None)
    raw = ViewerModel()
    place_layers(raw, open_path(made[1] / "Rock", None))
    for layer in raw.layers:
        path = str(tmp_path / f"raw {about(layer)['role']}.tiff")
        layer.save(path, plugin=OURS)
        (back,) = read_paths(path)
        np.testing.assert_allclose(back[1].get("scale", 1.0), layer.scale, rtol=1e-6)


@pytest.mark.parametrize("kind", ["points", "labels"])
def test_what_is_drawn_on_pre_is_moved_to_its_place_on_post(
    placed, qtbot, pair, step, kind, made
):
    """A person draws on the raw pre image; the layer has its scale and unit."""
    place_layers(placed, open_path(made[1] / "Rock", None))
    pre = one(placed, "pre")
    on_post = pair.truth.section_points(200)
    cells = pair.truth(on_post)[:, ::-1]
    if kind == "points":
        drawn = placed.add_points(
            cells, scale=pre.scale, translate=pre.translate, units=pre.units
        )
    else:
        pixels = np.zeros(pair.pre.shape, np.uint8)
        pixels[tuple(np.round(cells).astype(int).T)] = 1
        drawn = placed.add_labels(
            pixels, scale=pre.scale, translate=pre.translate, units=pre.units
        )
    spec = move_layer(
        request_for(drawn, "onto post", viewer=placed),
        Alignment.from_header(about(one(placed, "aligned 3"))["header"]),
        Monitor(),
    )
    (moved,) = place_layers(placed, [spec])
    np.testing.assert_allclose(moved.scale, step)
    assert [str(u) for u in moved.units] == [str(u) for u in one(placed, "post").units]
    wanted = on_post[:, ::-1] * step
    if kind == "points":
        found = np.array([moved.data_to_world(place) for place in moved.data])
        np.testing.assert_allclose(found, wanted, atol=0.1 * step)
    else:
        there = np.round([moved.world_to_data(place) for place in wanted]).astype(int)
        near = [moved.data[r - 1 : r + 2, c - 1 : c + 2].max() for r, c in there]
        assert np.mean(near) > 0.9


def test_a_click_and_fields_side_by_side_keep_the_place(dock, placed, step):
    dock.zoom.set_place(10, 10, 100)
    dock.findChild(QPushButton, "zoom_pick").click()
    event = SimpleNamespace(type="", position=(301.2 * step, 402.8 * step))
    steps = placed.mouse_drag_callbacks[-1](placed, event)
    for event.type in ("mouse_press", "mouse_release"):
        next(steps, None)
    assert dock.zoom.place[:2] == (301, 403)
    camera(placed).center, camera(placed).zoom = (0.0, 50 * step, 60 * step), 2 / step
    dock.side_by_side.toggle()
    np.testing.assert_allclose(camera(placed).center[-2:], (50 * step, 60 * step))
    dock.side_by_side.toggle()
    np.testing.assert_allclose(camera(placed).center[-2:], (50 * step, 60 * step))
    assert camera(placed).zoom == pytest.approx(2 / step)


def test_the_status_bar_tells_pixels(placed, made, step):
    placed.mouse_over_canvas = True
    layer = one(placed, "difference")
    placed.layers.selection = {layer}
    placed.cursor.position = (400 * step, 310 * step)
    told = placed.status["coordinates"]
    if made[0][0] is None:
        assert told.startswith("[400")
        assert "row" not in told
    else:
        assert told.startswith("row 400, column 310 (")
        assert "um" in told
    placed.layers.selection = {layer, one(placed, "post")}
    placed.cursor.position = (401 * step, 311 * step)
    assert (made[0][0] is None) or placed.status.startswith("row 401, column 311 [")


def test_the_preview_lies_on_the_image(placed, qtbot, step, pair):
    session = shared_session(placed)
    live = LivePreview.of(session)
    session.show_stage(4)
    with qtbot.waitSignal(live.shown, timeout=300_000):
        session.set_params(manual_scale=1.1)
    layer = one(placed, "preview difference")
    np.testing.assert_allclose(layer.scale, step)
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (0, 0), atol=1e-9)
    height, width = pair.post.shape
    last = layer.extent.world[1]
    np.testing.assert_allclose(last, np.array([height - 1, width - 1]) * step)


def test_the_accuracy_is_told_in_lengths(made, placed, dock, step):
    result = shared_session(placed).task().result()
    number = result.verdicts[3].numbers
    if made[0][0] is None:
        assert "accuracy_um" not in number
        assert result.accuracy.endswith(" px")
    else:
        assert number["accuracy_um"] == pytest.approx(number["accuracy_px"] * step)
        assert result.accuracy == length_words(
            number["accuracy_px"], result.accuracy_um
        )
        assert result.accuracy.endswith(" nm)")
        assert result.accuracy in repr(result)
    dock.residuals.toggle()
    assert result.accuracy in dock.findChild(QLabel, "residuals_words").text()


@pytest.mark.parametrize("later", [0.65, 1.3])
def test_all_of_a_viewer_follows_a_size_that_becomes_known(
    made, placed, step, later, tmp_path, dock
):
    _, raw_dir, out = made
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    known = {"sample": "Rock", "dye": "DAPI", "role": "preview interior"}
    options = {"name": "line", "translate": (-3.0, 5.0), "metadata": {KEY: known}}
    drawn = LayerSpec(np.array([[10.0, 20.0]]), options, "points")
    placed.add_layer(replace(drawn, ground=Ground.of(one(placed, "post"))).create())
    dock.zoom.set_place(300, 200, 100)
    move_camera(placed, 300.0, 200.0, 2.5)
    spots = {layer: layer.data_to_world((7.0, 11.0)) for layer in placed.layers}
    seen, place = seen_window(placed), camera_place(placed)
    task = SampleDye("Rock", "DAPI", copy, raw_dir)
    task.set_params(pad=PAD, pixel_size=later)
    task.run(to_stage=1)
    presenter_of(placed).place_stage(1, stage_specs(task, 1))
    assert len(placed.layers) >= len(spots)
    for layer in placed.layers:
        assert {str(unit) for unit in layer.units} == {"micrometer"}, layer
        if about(layer)["role"] != "pre" and layer in spots:
            there = np.divide(spots[layer], step) * later
            np.testing.assert_allclose(layer.data_to_world((7.0, 11.0)), there)
    assert camera_place(placed) == pytest.approx(place)
    assert seen_window(placed) == pytest.approx(seen)
    assert scale_bar(placed).visible
    for name in ("difference", "aligned 3"):
        size = Ground.of(one(placed, name)).pixel_size
        assert size is not None
        assert size.x == pytest.approx(later)


def test_rings_of_true_microbes_follow_the_size_of_a_pixel(made, placed, step):
    known = {"sample": "Rock", "dye": "DAPI", "role": "truth"}
    options = {"name": "truth", "metadata": {KEY: known}}
    rings = LayerSpec(np.array([[10.0, 20.0]]), options, "points").create()
    placed.add_layer(rings)  # opened while no size was known
    task = shared_session(placed).task()
    for _ in range(2):
        presenter_of(placed).place_stage(4, stage_specs(task, 4))
        assert rings.data_to_world((10.0, 20.0)) == pytest.approx(
            (10 * step, 20 * step)
        )
        assert rings.units == one(placed, "difference").units
