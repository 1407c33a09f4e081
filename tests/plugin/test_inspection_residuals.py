"""Inspection: arrows of the displacement that stage 3 left."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLabel, QPushButton

from napari_exo2micro.core.alignment import (
    error_map_from_details,
    residuals_from_details,
)
from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.inspection.residuals import ArrowKey
from napari_exo2micro.plugin.layers.layers import (
    LayerSpec,
    camera,
    find_layers,
    move_camera,
    scale_bar,
)
from napari_exo2micro.plugin.layers.pair import stored_header
from napari_exo2micro.plugin.layers.scene import place_layers


@pytest.fixture
def dock(shown, viewer, qtbot):
    dock = InspectionDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    yield dock
    dock.close_down()


@pytest.fixture
def truth(shown, viewer):
    header = stored_header(find_layers(viewer, "aligned 3")[0])
    return residuals_from_details(header.details, header.transform)


def press(dock):
    dock.findChild(QPushButton, "residuals_start").click()


def arrows(viewer):
    (layer,) = find_layers(viewer, "residuals")
    return layer


def factor(dock):
    return dock.findChild(QDoubleSpinBox, "residuals_factor")


def lengths(layer):
    return np.hypot(*layer.data[:, 1].T)


def test_arrows_are_as_many_times_longer_as_is_said(dock, viewer, truth):
    press(dock)
    layer = arrows(viewer)
    used = truth.lengths[truth.used]
    np.testing.assert_allclose(lengths(layer), factor(dock).value() * used, rtol=1e-5)
    # On the canvas of the aligned image, (row, column).
    assert tuple(layer.translate) == (-60.0, -60.0)
    np.testing.assert_allclose(layer.data[:, 0], truth.places[truth.used][:, ::-1])
    factor(dock).setValue(123)
    assert not dock.findChild(QCheckBox, "residuals_auto").isChecked()
    np.testing.assert_allclose(lengths(arrows(viewer)), 123 * used, rtol=1e-5)
    assert "123" in arrows(viewer).name
    dock.findChild(QCheckBox, "residuals_auto").setChecked(True)
    assert factor(dock).value() != 123


def test_tiles_that_were_not_used_are_drawn_when_asked_for(dock, viewer, truth):
    press(dock)
    dock.findChild(QCheckBox, "residuals_every").setChecked(True)
    assert len(arrows(viewer).data) == len(truth.used)
    assert list(arrows(viewer).features["used"]) == list(truth.used)


def test_the_key_is_as_long_as_the_viewer_draws_it(dock, viewer):
    press(dock)
    key = dock.findChild(ArrowKey, "arrow_key")
    for zoom in (0.1, 1.0, 7.0):
        move_camera(viewer, 0.0, 0.0, zoom)
        drawn = key.displacement * factor(dock).value() * zoom
        assert key.length == pytest.approx(drawn)
        assert 40 < key.length <= 120
        assert (
            f"{key.displacement:g} px" in dock.findChild(QLabel, "residuals_key").text()
        )


def test_the_figures_are_told_in_words(dock, viewer, truth):
    press(dock)
    words = dock.findChild(QLabel, "residuals_words").text()
    assert f"{truth.median:.3f} px" in words
    assert f"{truth.p95:.3f} px" in words
    length, x, y = truth.largest
    assert f"{length:.3f} px" in words
    assert f"row {y - 60:.0f}, column {x - 60:.0f}" in words


def test_the_expected_error_lies_over_the_image_when_asked_for(dock, viewer):
    header = stored_header(find_layers(viewer, "aligned 3")[0])
    error = error_map_from_details(header.details)
    heat = dock.findChild(QCheckBox, "residuals_error")
    assert not heat.isChecked()
    press(dock)
    assert not find_layers(viewer, "error map")
    heat.setChecked(True)
    (layer,) = find_layers(viewer, "error map")
    np.testing.assert_array_equal(layer.data, error.values)
    # The middle of the first node, (row, column) of the raw image.
    first = np.array(error.origin)[::-1] - 60
    np.testing.assert_allclose(layer.data_to_world((0, 0)), first)
    np.testing.assert_allclose(
        layer.data_to_world((1, 2)), first + error.spacing * np.array([1, 2])
    )
    words = dock.findChild(QLabel, "residuals_words").text()
    assert f"less than {error.median:.3f} px" in words
    heat.setChecked(False)
    assert not find_layers(viewer, "error map")
    heat.setChecked(True)
    press(dock)
    assert not find_layers(viewer, "error map")


def test_it_goes_to_the_largest_one(dock, viewer, truth):
    press(dock)
    dock.findChild(QPushButton, "residuals_largest").click()
    _, x, y = truth.largest
    np.testing.assert_allclose(camera(viewer).center[-2:], (y - 60, x - 60))


def test_lines_are_as_thick_on_the_screen_at_any_zoom(dock, viewer, qtbot):
    press(dock)
    move_camera(viewer, 0.0, 0.0, 0.25)
    qtbot.waitUntil(lambda: arrows(viewer).edge_width == 12, timeout=300_000)
    arrows(viewer).edge_width = 5  # by hand
    move_camera(viewer, 0.0, 0.0, 2.0)
    qtbot.wait(50)
    assert arrows(viewer).edge_width == 5


def test_the_scale_bar_is_shown_and_restored(dock, viewer):
    bar = scale_bar(viewer)
    press(dock)
    assert bar.visible
    dock.findChild(QCheckBox, "residuals_bar").setChecked(False)
    assert not bar.visible
    dock.findChild(QCheckBox, "residuals_bar").setChecked(True)
    press(dock)
    assert not bar.visible
    assert not find_layers(viewer, "residuals")


def test_arrows_removed_by_hand_end_it(dock, viewer):
    press(dock)
    viewer.layers.remove(arrows(viewer))
    assert not dock.findChild(QPushButton, "residuals_start").isChecked()
    assert not scale_bar(viewer).visible


def test_stage_3_that_runs_again_draws_them_anew(dock, viewer, shown, all_specs):
    press(dock)
    drawn = []
    arrows(viewer).events.data.connect(lambda: drawn.append(1))
    place_layers(viewer, all_specs[3])
    shown.results_changed.emit(3)
    assert drawn


def test_arrows_of_the_sample_before_go_away(dock, viewer, shown):
    press(dock)
    shown.set_source(checkpoint_format="tiff")
    assert arrows(viewer).visible
    shown.set_source(sample="Other")
    assert not find_layers(viewer, "residuals")
    assert not dock.findChild(QPushButton, "residuals_start").isChecked()
    assert not scale_bar(viewer).visible


def test_arrows_of_an_outdated_alignment_are_not_drawn(dock, viewer, all_specs):
    specs = copy.deepcopy([spec.options for spec in all_specs[2]])
    for options in specs:
        options["metadata"]["exo2micro"]["parameters"]["boundary_width"] = 25
    place_layers(
        viewer,
        [
            LayerSpec(spec.data, options, spec.kind)
            for spec, options in zip(all_specs[2], specs, strict=True)
        ],
    )
    press(dock)
    assert not find_layers(viewer, "residuals")
    assert "made with other settings" in dock.message.text
    assert "run stage 3" in dock.message.text


def test_without_stage_3_the_fix_is_told(dock, viewer):
    viewer.layers.remove(find_layers(viewer, "aligned 3")[0])
    press(dock)
    assert "run stage 3" in dock.message.text
    assert "boundary aligned" in dock.message.text
    assert not find_layers(viewer, "residuals")


def test_an_alignment_without_tiles_is_told(dock, viewer):
    layer = find_layers(viewer, "aligned 3")[0]
    layer.metadata["exo2micro"] = {**layer.metadata["exo2micro"], "header": {}}
    press(dock)
    assert "no header" in dock.message.text
    assert layer.name in dock.message.text


def test_an_empty_viewer_is_told_what_to_do(viewer, session, qtbot):
    dock = InspectionDock(viewer)
    qtbot.addWidget(dock)
    press(dock)
    assert "run stage 3" in dock.message.text
    dock.close_down()
