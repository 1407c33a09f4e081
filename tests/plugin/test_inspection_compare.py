"""Inspection: blink, curtain and side by side change and restore what is visible."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QListWidget,
    QPushButton,
    QSlider,
    QSpinBox,
    QWidget,
)
from superqt import QLabeledDoubleSlider

from napari_exo2micro.plugin.inspection.blink import BLINK_KEY, NEXT_KEY, BlinkBox
from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.layers.layers import (
    LayerSpec,
    about,
    camera,
    canvas_size,
    find_layers,
    grid,
    move_camera,
)
from napari_exo2micro.plugin.layers.scene import place_layers

LONG = 300_000


@pytest.fixture
def dock(shown, viewer, qtbot):
    dock = InspectionDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    yield dock
    dock.close_down()


def layer(viewer, role):
    return find_layers(viewer, role)[-1]


def visible(viewer):
    return {about(one)["role"]: one.visible for one in viewer.layers}


def press(dock, name):
    dock.findChild(QPushButton, name).click()


def push_key(viewer, key):
    """Do what napari does for a key in the viewer."""
    found = [f for k, f in viewer.keymap.items() if str(k) == key]
    if found:
        found[0](viewer)
    return bool(found)


def choose(dock, name, wanted):
    combo = dock.findChild(QComboBox, name)
    index = combo.findText(wanted)
    assert index >= 0, [combo.itemText(i) for i in range(combo.count())]
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


# The two layers -------------------------------------------------------------------


def test_post_and_the_best_aligned_pre_are_chosen_at_first(dock, viewer):
    assert dock.pair.layers == (layer(viewer, "post"), layer(viewer, "aligned 3"))
    assert dock.findChild(QComboBox, "first_layer").currentText() == "post-stain"


def test_without_stage_3_the_boundary_aligned_pre_is_chosen(dock, viewer, qtbot):
    viewer.layers.remove(layer(viewer, "aligned 3"))
    before = layer(viewer, "aligned 2")
    qtbot.waitUntil(lambda: dock.pair.layers[1] is before, timeout=LONG)


def test_a_layer_that_is_made_anew_stays_chosen(dock, viewer, all_specs, qtbot):
    choose(dock, "second_layer", "pre-stain, boundary aligned")
    old = dock.pair.layers[1]
    # Large enough for smaller levels, which a layer without them cannot take.
    spec = next(s for s in all_specs[2] if s.about["role"] == "aligned 2")
    options = {**spec.options, "multiscale": True}
    place_layers(viewer, [LayerSpec([spec.data, spec.data[::2, ::2]], options)])
    new = layer(viewer, "aligned 2")
    assert new is not old
    qtbot.waitUntil(lambda: dock.pair.layers[1] is new, timeout=LONG)


def test_layers_of_two_samples_are_told_apart_by_their_names(dock, viewer, qtbot):
    spec_like = {"exo2micro": {"role": "post", "sample": "Other", "dye": "DAPI"}}
    viewer.add_image(np.zeros((9, 9)), name="Other DAPI: post", metadata=spec_like)
    combo = dock.findChild(QComboBox, "first_layer")
    qtbot.waitUntil(lambda: combo.findText("Other DAPI: post") >= 0, timeout=LONG)
    assert combo.findText("Rock DAPI: post-stain") >= 0
    # The sample of the session is the one that is compared.
    assert about(dock.pair.layers[0])["sample"] == "Rock"


def test_an_empty_viewer_is_told_what_to_do(viewer, session, qtbot):
    dock = InspectionDock(viewer)
    qtbot.addWidget(dock)
    for name in ("blink_start", "curtain_start", "side_by_side_start"):
        press(dock, name)
        assert dock.message.level == "error"
        assert not dock.findChild(QPushButton, name).isChecked()
    press(dock, "blink_start")
    assert "run the stages" in dock.message.text
    dock.close_down()


# Blink ----------------------------------------------------------------------------


def test_blink_shows_one_at_a_time_and_restores(dock, viewer, qtbot):
    before = visible(viewer)
    post, pre = dock.pair.layers
    move_camera(viewer, 333.0, 222.0, 2.5)
    dock.findChild(QLabeledDoubleSlider, "blink_rate").setValue(10.0)
    press(dock, "blink_start")
    seen = set()
    for _ in range(4):
        with qtbot.waitSignal(dock.blink.changed, timeout=LONG):
            pass
        images = [x for x in viewer.layers if isinstance(x, Image) and x.visible]
        assert len(images) == 1
        seen.add(images[0])
    assert seen == {post, pre}
    drawings = [x.visible for x in viewer.layers if not isinstance(x, Image)]
    press(dock, "blink_start")
    assert visible(viewer) == before
    assert drawings == [x.visible for x in viewer.layers if not isinstance(x, Image)]
    assert tuple(camera(viewer).center[-2:]) == (333.0, 222.0)
    assert camera(viewer).zoom == 2.5


def test_keys_blink_and_step(dock, viewer):
    before = visible(viewer)
    post, pre = dock.pair.layers
    assert push_key(viewer, NEXT_KEY)
    assert (post.visible, pre.visible) == (True, False)
    push_key(viewer, NEXT_KEY)
    assert (post.visible, pre.visible) == (False, True)
    assert not dock.blink.is_running
    push_key(viewer, BLINK_KEY)
    assert visible(viewer) == before
    push_key(viewer, BLINK_KEY)
    assert dock.blink.is_running
    push_key(viewer, BLINK_KEY)


def test_rate_goes_from_a_half_to_ten(dock):
    slider = dock.findChild(QLabeledDoubleSlider, "blink_rate")
    assert slider.value() == dock.blink.rate == 4.0
    for wanted, rate in ((0.1, 0.5), (99, 10.0), (2.5, 2.5)):
        slider.setValue(wanted)
        assert slider.value() == dock.blink.rate == rate


def test_grey_is_only_for_the_blink(dock, viewer):
    post, pre = dock.pair.layers
    press(dock, "blink_start")
    dock.findChild(QCheckBox, "blink_grey").setChecked(True)
    assert (post.colormap.name, pre.colormap.name) == ("gray", "gray")
    press(dock, "blink_start")
    assert (post.colormap.name, pre.colormap.name) == ("green", "magenta")


def test_what_a_person_changed_meanwhile_stays(dock, viewer):
    difference = layer(viewer, "difference")
    difference.visible = True
    press(dock, "blink_start")
    assert not difference.visible
    difference.visible = True
    layer(viewer, "pre").visible = False
    press(dock, "blink_start")
    assert difference.visible


def test_a_removed_layer_ends_the_blink_and_restores(dock, viewer, qtbot):
    before = visible(viewer)
    press(dock, "blink_next")
    dock.blink.step()
    for role in ("aligned 3", "aligned 2", "pre", "post"):
        viewer.layers.remove(layer(viewer, role))
        del before[role]
    qtbot.waitUntil(lambda: not dock.blink.is_active, timeout=LONG)
    assert visible(viewer) == before
    assert "Blinking has ended" in dock.message.text


def test_a_stage_that_runs_again_gives_its_new_layer_the_old_look(
    dock, viewer, all_specs, qtbot
):
    before = visible(viewer)
    dock.findChild(QCheckBox, "blink_grey").setChecked(True)
    press(dock, "blink_next")
    place_layers(viewer, all_specs[3])
    new = layer(viewer, "aligned 3")
    qtbot.waitUntil(lambda: dock.pair.layers[1] is new, timeout=LONG)
    dock.blink.stop()
    assert new.colormap.name == "magenta"
    assert visible(viewer) == before


@pytest.mark.parametrize("name", ["blink_start", "curtain_start", "side_by_side_start"])
def test_closing_the_dock_restores_everything(shown, viewer, qtbot, name):
    before = visible(viewer)
    holder = QWidget()
    qtbot.addWidget(holder)
    dock = InspectionDock(viewer)
    dock.setParent(holder)
    holder.show()
    press(dock, name)
    assert visible(viewer) != before
    dock.setParent(None)  # what napari does when a dock is closed
    assert visible(viewer) == before
    assert not grid(viewer).enabled
    assert not push_key(viewer, BLINK_KEY)


def test_hiding_the_dock_stops_and_frees_the_keys(dock, viewer, qtbot):
    before = visible(viewer)
    press(dock, "blink_start")
    dock.hide()
    qtbot.waitUntil(lambda: not dock.blink.is_active, timeout=LONG)
    assert visible(viewer) == before
    assert not push_key(viewer, NEXT_KEY)
    dock.show()
    assert push_key(viewer, NEXT_KEY)


# Curtain --------------------------------------------------------------------------


def curtain_picture(viewer, level=0):
    """Return red, green, blue of the post image's own pixels in the curtain."""
    shown = layer(viewer, "curtain")
    assert shown.multiscale
    top, left = (-round(v) for v in shown.translate)
    whole = np.asarray(shown.data[level])
    return whole[top >> level :, left >> level :, :3]


def test_curtain_has_the_colours_of_its_layers(dock, viewer, pair):
    before = visible(viewer)
    press(dock, "curtain_start")
    dock.findChild(QSpinBox, "curtain_place").setValue(400)
    picture = curtain_picture(viewer)
    images = [x for x in viewer.layers if isinstance(x, Image) and x.visible]
    assert [about(x)["role"] for x in images] == ["curtain"]
    post = dock.pair.layers[0]
    low, high = post.contrast_limits
    truth = np.clip((pair.post.astype(float) - low) / (high - low), 0, 1) * 255
    rows, columns = pair.post.shape
    apart = picture[:rows, :400, 1].astype(float) - truth[:, :400]
    assert np.abs(apart).max() <= 1
    assert not picture[:rows, :400, [0, 2]].any()
    right = picture[:rows, 400:columns]
    assert right[..., 0].any()
    assert not right[..., 1].any()
    press(dock, "curtain_start")
    assert visible(viewer) == before


def test_curtain_hangs_in_the_middle_of_the_view_at_first(dock, viewer):
    move_camera(viewer, 300.0, 500.0, 0.1)
    press(dock, "curtain_start")
    place = dock.findChild(QSpinBox, "curtain_place")
    assert place.value() == 500
    place.setValue(650)
    press(dock, "curtain_start")
    press(dock, "curtain_start")
    assert place.value() == 650


def test_curtain_follows_colours_range_and_slider(dock, viewer, pair, qtbot):
    press(dock, "curtain_start")
    post, pre = dock.pair.layers
    pre.colormap = "cyan"
    dock.findChild(QSpinBox, "curtain_place").setValue(0)
    assert not curtain_picture(viewer)[..., 0].any()
    middle = int(np.median(pair.post))
    post.contrast_limits = (middle, middle + 1)
    dock.findChild(QSpinBox, "curtain_place").setValue(540)
    greens = curtain_picture(viewer)[:480, :540, 1]
    assert set(np.unique(greens)) == {0, 255}
    # The slider goes across what is on screen, at any zoom.
    move_camera(viewer, 300.0, 400.0, 8.0)
    slider = dock.findChild(QSlider, "curtain_position")
    assert slider.value() == slider.maximum()  # it hangs right of the view
    slider.setValue(slider.minimum())
    width = canvas_size(viewer)[1] / 8
    assert dock.findChild(QSpinBox, "curtain_place").value() == round(400 - width / 2)


def test_curtain_in_grey_takes_one_range_or_each_its_own(dock, viewer):
    post, pre = dock.pair.layers
    post.contrast_limits, pre.contrast_limits = (0, 100), (0, 200)
    press(dock, "curtain_start")
    dock.findChild(QSpinBox, "curtain_place").setValue(540)
    choose(dock, "curtain_colours", "grey, each in its own range")
    own = curtain_picture(viewer)[:480, :540].astype(int)
    assert (own[..., 0] == own[..., 2]).all()
    choose(dock, "curtain_colours", "grey, one range for both")
    same = curtain_picture(viewer)[:480, :540].astype(int)
    lit = (own[..., 0] > 0) & (own[..., 0] < 255)
    assert np.abs(same[..., 0] * 2 - own[..., 0])[lit].max() <= 2


def test_checkerboard_of_a_raw_image_and_one_on_the_canvas(dock, viewer, pair, qtbot):
    """Raw post at (0, 0) and canvas layers at (-60, -60) lie on one another."""
    raw = viewer.add_image(pair.post, name="raw post", contrast_limits=(0, 200))
    layer(viewer, "post").contrast_limits = (0, 200)
    layer(viewer, "post").colormap = "gray"
    combo = dock.findChild(QComboBox, "first_layer")
    qtbot.waitUntil(lambda: combo.findText("raw post") >= 0, timeout=LONG)
    choose(dock, "first_layer", "raw post")
    choose(dock, "second_layer", "post-stain")
    choose(dock, "curtain_kind", "checkerboard")
    dock.findChild(QSpinBox, "curtain_square").setValue(50)
    press(dock, "curtain_start")
    picture = curtain_picture(viewer)[: raw.data.shape[0], : raw.data.shape[1], 0]
    truth = np.clip(raw.data / 200.0, 0, 1) * 255
    assert np.abs(picture - truth).max() <= 1


def test_layers_that_do_not_fit_are_named_with_the_fix(dock, viewer, qtbot):
    rng = np.random.default_rng(0)
    bad = [
        (
            viewer.add_points(rng.random((3, 2)), name="dots"),
            "'dots' is a points layer",
        ),
        (
            viewer.add_image(rng.random((9, 9, 3)), rgb=True, name="photo"),
            "'photo' is a colour picture",
        ),
        (viewer.add_image(rng.random((9, 9)), scale=(2, 2), name="big"), "magnified"),
        (viewer.add_image(rng.random((9, 9)), rotate=30, name="bent"), "turned"),
        (viewer.add_image(rng.random((4, 9, 9)), name="stack"), "has 3 axes"),
    ]
    before = [one.visible for one in viewer.layers]
    for wrong, words in bad:
        combo = dock.findChild(QComboBox, "second_layer")
        qtbot.waitUntil(lambda n=wrong.name, c=combo: c.findText(n) >= 0, timeout=LONG)
        choose(dock, "second_layer", wrong.name)
        press(dock, "curtain_start")
        assert words in dock.message.text
        assert f"'{wrong.name}'" in dock.message.text
        assert "choose" in dock.message.text
        assert not find_layers(viewer, "curtain")
    assert [one.visible for one in viewer.layers] == before
    choose(dock, "second_layer", "post-stain")
    press(dock, "curtain_start")
    assert "chosen twice" in dock.message.text


def test_another_pair_while_the_curtain_is_shown(dock, viewer, qtbot):
    press(dock, "curtain_start")
    choose(dock, "second_layer", "pre-stain, boundary aligned")
    shown = find_layers(viewer, "curtain")
    assert len(shown) == 1
    assert "boundary aligned" in shown[0].name
    viewer.layers.remove(shown[0])  # by hand
    assert not dock.curtain.is_active
    assert layer(viewer, "post").visible


def test_one_comparison_ends_another(dock, viewer):
    before = visible(viewer)
    press(dock, "blink_start")
    press(dock, "curtain_start")
    assert not dock.blink.is_active
    press(dock, "side_by_side_start")
    assert not dock.curtain.is_active
    assert "curtain" not in visible(viewer)
    press(dock, "blink_start")
    assert not grid(viewer).enabled
    press(dock, "blink_start")
    assert visible(viewer) == before


# Side by side ---------------------------------------------------------------------


def test_side_by_side_uses_the_grid_and_restores_it(dock, viewer):
    before = visible(viewer)
    model = grid(viewer)
    model.shape, model.stride = (2, 3), 2
    move_camera(viewer, 100.0, 90.0, 3.0)
    press(dock, "side_by_side_start")
    post, pre = dock.pair.layers
    assert model.enabled
    assert [one for one in viewer.layers if one.visible] == [post, pre]
    assert (camera(viewer).zoom, tuple(camera(viewer).center[-2:])) == (3.0, (100, 90))
    places = [
        model.position(viewer.layers.index(one), viewer.layers) for one in (post, pre)
    ]
    assert places == [(0, 0), (0, 1)]
    press(dock, "side_by_side_start")
    assert not model.enabled
    assert (tuple(model.shape), model.stride) == ((2, 3), 2)
    assert visible(viewer) == before


def test_ticks_choose_the_layers_also_while_it_is_shown(dock, viewer):
    press(dock, "side_by_side_start")
    rows = dock.findChild(QListWidget, "side_by_side_layers")
    items = {rows.item(i).text(): rows.item(i) for i in range(rows.count())}
    items["difference"].setCheckState(Qt.CheckState.Checked)
    assert layer(viewer, "difference").visible
    for name in ("difference", "post-stain"):
        items[name].setCheckState(Qt.CheckState.Unchecked)
    assert not grid(viewer).enabled
    assert "two" in dock.message.text


def test_naparis_own_grid_button_ends_it(dock, viewer):
    before = visible(viewer)
    press(dock, "side_by_side_start")
    grid(viewer).enabled = False
    assert not dock.side_by_side.is_active
    assert visible(viewer) == before


def test_names_in_the_fields_go_back_to_what_they_were(dock, viewer):
    post, pre = dock.pair.layers
    other = next(one for one in viewer.layers if one not in dock.pair.layers)
    for one, size in ((post, 20), (other, 30)):
        one.name_overlay.visible, one.name_overlay.font_size = True, size
    press(dock, "side_by_side_start")
    assert pre.name_overlay.visible
    assert pre.name_overlay.font_size == post.name_overlay.font_size < 20
    press(dock, "side_by_side_start")
    assert (post.name_overlay.visible, post.name_overlay.font_size) == (True, 20)
    assert (other.name_overlay.visible, other.name_overlay.font_size) == (True, 30)
    assert not pre.name_overlay.visible


def test_a_key_of_somebody_else_is_given_back(viewer, qtbot):
    def theirs(_viewer):
        """Do something of theirs."""

    viewer.bind_key(BLINK_KEY, theirs)
    dock = InspectionDock(viewer)
    qtbot.addWidget(dock)
    dock.show()

    def bound():
        return {str(key): action for key, action in viewer.keymap.items()}

    qtbot.waitUntil(lambda: bound()[BLINK_KEY] is not theirs, timeout=LONG)
    dock.hide()
    qtbot.waitUntil(lambda: bound()[BLINK_KEY] is theirs, timeout=LONG)
    assert NEXT_KEY not in bound()


def test_a_blink_that_was_stepped_stands_still_with_another_layer(dock, viewer):
    box = dock.findChild(BlinkBox)
    dock.findChild(QPushButton, "blink_next").click()
    assert box.is_active
    assert not box.is_running
    choose(dock, "second_layer", "pre-stain, boundary aligned")
    assert box.is_active
    assert not box.is_running
