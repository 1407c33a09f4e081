"""Inspection: the zoom box, its picture, and saved views."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image as Pillow
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QSpinBox,
)

from napari_exo2micro.core.alignment import VIEWS_FILE, load_views
from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.layers.layers import (
    LayerSpec,
    camera,
    find_layers,
    move_camera,
)
from napari_exo2micro.plugin.layers.pair import find_section
from napari_exo2micro.plugin.layers.scene import place_layers

LONG = 300_000


@pytest.fixture
def dock(shown, viewer, qtbot):
    dock = InspectionDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    yield dock
    dock.close_down()


def press(dock, name):
    dock.findChild(QPushButton, name).click()


def number(dock, name):
    return dock.findChild((QSpinBox, QDoubleSpinBox)[name == "zoom_blur"], name)


def draw(dock, qtbot):
    with qtbot.waitSignal(dock.zoom.drawn, timeout=LONG):
        press(dock, "zoom_show")
    return dock.zoom.window_shown


class Click:
    """An event as napari hands it to a mouse callback."""

    def __init__(self, position):
        self.type, self.position, self.modifiers = "mouse_press", position, ()


def click(viewer, position, drag=False):
    event = Click(position)
    steps = [f(viewer, event) for f in list(viewer.mouse_drag_callbacks)]
    steps = [step for step in steps if step is not None]
    kinds = ["mouse_press", *(["mouse_move"] if drag else []), "mouse_release"]
    for kind in kinds:
        event.type = kind
        for step in steps:
            next(step, None)


# The zoom box ---------------------------------------------------------------------


def test_the_place_is_that_of_the_status_bar(dock, viewer):
    move_camera(viewer, 345.4, 210.6)
    press(dock, "zoom_centre")
    assert dock.zoom.place[:2] == (345, 211)


def test_a_click_picks_the_place_and_a_drag_does_not(dock, viewer, qtbot):
    before = list(viewer.mouse_drag_callbacks)
    press(dock, "zoom_pick")
    assert dock.findChild(QPushButton, "zoom_pick").isChecked()
    click(viewer, (10.0, 20.0), drag=True)
    assert dock.zoom.pick.is_waiting
    with qtbot.waitSignal(dock.zoom.drawn, timeout=LONG):
        click(viewer, (301.2, 402.8))
    assert dock.zoom.place[:2] == (301, 403)
    assert list(viewer.mouse_drag_callbacks) == before
    assert not dock.findChild(QPushButton, "zoom_pick").isChecked()


def test_picking_can_be_given_up(dock, viewer):
    before = list(viewer.mouse_drag_callbacks)
    press(dock, "zoom_pick")
    press(dock, "zoom_pick")
    assert list(viewer.mouse_drag_callbacks) == before


def test_it_looks_at_the_images_in_posts_own_coordinates(shown, viewer, pair):
    look = find_section(shown).close_look()
    assert look.shape == pair.post.shape
    np.testing.assert_array_equal(look.post.cut(look.shape)[:, :], pair.post)
    difference = look.difference.cut(look.shape)[200:300, 250:400]
    (layer,) = find_layers(viewer, "difference")
    np.testing.assert_array_equal(
        difference,
        np.asarray(layer.data[0] if layer.multiscale else layer.data)[260:360, 310:460],
    )
    assert look.scale == pytest.approx(1.25, rel=0.01)


def test_the_picture_is_drawn_and_saved_with_every_pixel(dock, qtbot, tmp_path):
    dock.zoom.set_place(300, 330, 460)
    window = draw(dock, qtbot)
    assert window.picture_size[1] > 2 * 460
    with qtbot.waitSignal(dock.zoom.drawn, timeout=LONG):
        window.findChild(QCheckBox, "zoom_fit").setChecked(False)
    rows, columns = window.picture_size
    assert rows > 460  # one pixel for each, and the axes around them
    assert columns > 3 * 460
    path = tmp_path / "zoom.png"
    dock.zoom.save_picture(path)
    qtbot.waitUntil(lambda: dock.message.level == "note", timeout=LONG)
    assert str(path) in dock.message.text
    with Pillow.open(path) as picture:
        assert picture.size == (columns, rows)


def test_a_new_number_draws_anew_while_the_window_is_open(dock, qtbot):
    window = draw(dock, qtbot)
    before = window.picture_size
    with qtbot.waitSignal(dock.zoom.drawn, timeout=LONG):
        number(dock, "zoom_size").setValue(700)
    assert window.picture_size != before
    with qtbot.waitSignal(dock.zoom.drawn, timeout=LONG):
        number(dock, "zoom_blur").setValue(2.0)


def test_the_outline_shows_where_it_is(dock, viewer, qtbot):
    dock.zoom.set_place(300, 400, 100)
    draw(dock, qtbot)
    (frame,) = find_layers(viewer, "zoom frame")
    corners = np.asarray(frame.data[:, 0])
    np.testing.assert_allclose(corners.min(axis=0), [249.5, 349.5])
    np.testing.assert_allclose(corners.max(axis=0), [349.5, 449.5])
    dock.findChild(QCheckBox, "zoom_outline").setChecked(False)
    assert not find_layers(viewer, "zoom frame")
    dock.findChild(QCheckBox, "zoom_outline").setChecked(True)
    dock.zoom.window_shown.close()
    assert not find_layers(viewer, "zoom frame")


def test_a_place_beside_the_image_is_told(dock, qtbot):
    dock.zoom.set_place(-5000, 100)
    press(dock, "zoom_show")
    qtbot.waitUntil(lambda: dock.message.level == "error", timeout=LONG)
    assert "480 rows" in dock.message.text
    assert dock.zoom.window_shown is None


def test_without_an_aligned_image_the_fix_is_told(dock, viewer):
    for role in ("aligned 3", "aligned 2"):
        viewer.layers.remove(find_layers(viewer, role)[0])
    press(dock, "zoom_show")
    assert "run stage 2 or 3" in dock.message.text


def test_without_stage_4_the_scale_is_provisional(shown, viewer):
    viewer.layers.remove(find_layers(viewer, "difference")[0])
    look = find_section(shown).close_look()
    assert look.difference is None
    assert look.scale is None


def run_again_with_another_width(viewer, all_specs):
    """Stand in for a run of stage 2 with another boundary width."""
    specs = [
        LayerSpec(spec.data, copy.deepcopy(spec.options), spec.kind)
        for spec in all_specs[2]
    ]
    for spec in specs:
        spec.about["parameters"]["boundary_width"] = 25
    place_layers(viewer, specs)


def test_later_layers_that_were_made_with_other_settings_are_left_out(
    dock, viewer, all_specs, qtbot
):
    run_again_with_another_width(viewer, all_specs)
    section = find_section(dock.session)
    assert section.aligned is find_layers(viewer, "aligned 2")[0]
    assert section.close_look().difference is None
    note = draw(dock, qtbot).findChild(QLabel, "zoom_note").text()
    assert "made with other settings" in note
    assert "run stages 3 and 4 again" in note


def test_a_layer_that_was_turned_is_named(dock, viewer):
    find_layers(viewer, "aligned 3")[0].scale = (2, 2)
    press(dock, "zoom_show")
    assert "interior aligned' is turned" in dock.message.text


# Saved views ----------------------------------------------------------------------


def keep(dock, name):
    dock.findChild(QLineEdit, "view_name").setText(name)
    press(dock, "view_save")


def test_a_view_brings_camera_and_zoom_box_back(dock, viewer):
    move_camera(viewer, 100.5, 200.25, 3.0)
    dock.zoom.set_place(111, 222, 333, 1.5)
    keep(dock, "the crack")
    move_camera(viewer, 0.0, 0.0, 0.5)
    dock.zoom.set_place(1, 2, 30, 0.0)
    keep(dock, "")
    rows = dock.findChild(QListWidget, "view_list")
    assert [rows.item(i).text() for i in range(rows.count())] == ["the crack", "view 1"]
    rows.setCurrentRow(0)
    press(dock, "view_go")
    assert tuple(camera(viewer).center[-2:]) == (100.5, 200.25)
    assert camera(viewer).zoom == 3.0
    assert dock.zoom.place == (111, 222, 333, 1.5)
    press(dock, "view_remove")
    assert rows.count() == 1


def test_views_are_written_and_found_again(dock, viewer, qtbot, tmp_path):
    dock.zoom.set_place(111, 222, 333, 1.5)
    keep(dock, "Riß über µ")
    path = tmp_path / "Rock" / "DAPI" / VIEWS_FILE
    dock.views.write(path)
    assert str(path) in dock.message.text
    assert load_views(path) == dock.views.views
    assert load_views(path)[0].sample == "Rock"
    other_viewer = ViewerModel()
    other = InspectionDock(other_viewer)
    qtbot.addWidget(other)
    assert other.views.views == []
    # Next to the results of the sample: read by itself.
    other.session.set_source(output_dir=tmp_path, sample="Rock", dye="DAPI")
    assert other.views.views == load_views(path)
    other.close_down()
    other.session.close()


def listed(dock):
    rows = dock.findChild(QListWidget, "view_list")
    return [rows.item(i).text() for i in range(rows.count())]


def test_each_sample_has_its_own_list_and_what_was_removed_stays_away(
    dock, viewer, tmp_path, qtbot
):
    session = dock.session
    session.set_source(output_dir=tmp_path)
    keep(dock, "a crack")
    keep(dock, "a pore")
    dock.views.write(tmp_path / "Rock" / "DAPI" / VIEWS_FILE)
    session.set_source(sample="Other")
    assert listed(dock) == []
    keep(dock, "of the other")
    session.set_source(sample="Rock")
    assert listed(dock) == ["a crack", "a pore"]
    dock.findChild(QListWidget, "view_list").setCurrentRow(0)
    press(dock, "view_remove")
    dock.views.write(tmp_path / "elsewhere.json")
    session.results_changed.emit(2)
    session.set_source(sample="Other")
    assert listed(dock) == ["of the other"]
    session.set_source(sample="Rock")
    assert listed(dock) == ["a pore"]
    # A dock that is opened anew goes on with the list of the one before.
    dock.close_down()
    again = InspectionDock(viewer)
    qtbot.addWidget(again)
    assert listed(again) == ["a pore"]
    again.close_down()


def test_views_that_were_kept_before_a_sample_was_chosen_go_with_it(
    viewer, all_specs, qtbot
):
    for specs in all_specs.values():
        place_layers(viewer, specs)
    dock = InspectionDock(viewer)
    qtbot.addWidget(dock)
    keep(dock, "early")
    dock.session.set_source(sample="Other", dye="DAPI")
    assert listed(dock) == []
    dock.session.set_source(sample="Rock", dye="DAPI")
    assert listed(dock) == ["early"]
    dock.close_down()


def test_a_same_name_replaces_a_view(dock, viewer):
    keep(dock, "a")
    move_camera(viewer, 7.0, 8.0)
    keep(dock, "a")
    assert [view.row for view in dock.views.views] == [7.0]


def test_a_view_of_another_sample_is_told(dock, tmp_path):
    keep(dock, "a")
    path = tmp_path / "views.json"
    dock.views.write(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["views"][0]["sample"] = "Other"
    path.write_text(json.dumps(content), encoding="utf-8")
    dock.views.read(path)
    dock.findChild(QListWidget, "view_list").setCurrentRow(0)
    press(dock, "view_go")
    assert dock.message.level == "warning"
    assert "Other, DAPI" in dock.message.text


def test_a_file_that_holds_no_views_is_told(dock, tmp_path):
    path = tmp_path / "preset.json"
    path.write_text("{}", encoding="utf-8")
    dock.views.read(path)
    assert dock.message.level == "error"
    assert "holds no saved views" in dock.message.text
    press(dock, "view_go")
    assert "no saved views yet" in dock.message.text
