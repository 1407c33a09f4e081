"""The live preview: parameters move, layers follow, nothing is written."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.layers import Image, Vectors
from qtpy.QtWidgets import QCheckBox, QLabel, QWidget

from napari_exo2micro.core import preview as core_preview
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.simulate import registration_error
from napari_exo2micro.plugin.layers.layers import about, find_layers
from napari_exo2micro.plugin.workbench.preview import (
    LivePreview,
    PreviewRow,
    ScaleLinePlot,
)

PAD = 60
LONG = 300_000


@pytest.fixture
def live(session) -> LivePreview:
    """The preview of a sample of which no stage has run."""
    return LivePreview.of(session)


@pytest.fixture
def follows(qtbot):
    """Change parameters and wait for the preview that follows."""

    def change(live, session, **params):
        with qtbot.waitSignal(live.shown, timeout=LONG) as shown:
            session.set_params(**params)
        return shown.args[0]

    return change


def role(viewer, name):
    (layer,) = find_layers(viewer, f"preview {name}")
    return layer


def pixels(layer):
    """The image at full resolution."""
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def roles(viewer):
    return [about(layer)["role"] for layer in viewer.layers]


def files(session):
    return sorted(path for path in session.output_dir.rglob("*") if path.is_file())


def test_stage_2_shows_rings_outlines_and_an_overlay(
    live, session, viewer, follows, pair
):
    session.show_stage(2)
    preview = follows(live, session, boundary_width=20)
    assert roles(viewer) == [
        "preview post",
        "preview aligned",
        "preview ring",
        "preview outline",
    ]
    assert all(layer.name.startswith("preview: ") for layer in viewer.layers)
    found = Transform.from_dict(about(role(viewer, "aligned"))["transform"])
    assert np.median(registration_error(pair.truth, found, PAD)) < 0.1
    assert live.stage == preview.stage == 2
    assert "The stage would find the same" in live.words(2)[0]
    assert files(session) == []


def test_the_overlay_lies_on_the_world_of_the_raw_post_image(
    live, session, viewer, follows, pair
):
    session.show_stage(2)
    follows(live, session, boundary_width=20)
    post, aligned = role(viewer, "post"), role(viewer, "aligned")
    for place in ((300, 400), (420, 350)):
        row, column = (int(v) for v in post.world_to_data(place))
        assert pixels(post)[row, column] == pair.post[place]
    levels = [pixels(layer).astype(float) for layer in (post, aligned)]
    inner = (slice(200, -200), slice(200, -200))
    fixed, moved = (level[inner].ravel() for level in levels)
    assert np.corrcoef(fixed, moved)[0, 1] > 0.95
    # Not the padding: only what the camera saw is shown.
    low, high = post.extent.world
    assert (low > -PAD).all()
    assert (high[0] < pair.post.shape[0] + PAD).all()


def test_a_wider_ring_is_drawn_at_once_in_the_same_layer(
    live, session, viewer, follows
):
    session.show_stage(2)
    follows(live, session, boundary_width=5, boundary_smooth=1)
    layer = role(viewer, "ring")
    layer.opacity, thin = 0.8, (np.asarray(layer.data)[..., 1] > 0.5).mean()
    follows(live, session, boundary_width=25)
    assert role(viewer, "ring") is layer
    assert layer.opacity == 0.8
    assert (np.asarray(layer.data)[..., 1] > 0.5).mean() > 2 * thin


def test_stage_3_shows_matches_and_an_overlay(live, session, viewer, follows, pair):
    session.show_stage(3)
    preview = follows(live, session, interior_blur_base=6.0)
    assert roles(viewer) == ["preview post", "preview aligned", "preview matches"]
    matches = role(viewer, "matches")
    assert isinstance(matches, Vectors)
    count = len(matches.data) // 3  # a move and a cross for each
    assert 100 < count <= len(preview.estimate.matches.inliers)
    # Each move ends where post has the feature: (row, column) of the raw image.
    ends = matches.data[:count].sum(axis=1)
    assert (ends >= 0).all()
    assert (ends < pair.post.shape).all()
    assert "matches agree" in live.words(3)[0]
    assert files(session) == []


def test_what_a_limit_refuses_is_told_as_a_warning(live, session, follows):
    session.show_stage(3)
    follows(live, session, interior_min_inlier_ratio=1.0, interior_blur_base=200.0)
    text, level = live.words(3)
    assert level == "warning"
    assert "wanted an inlier ratio of 1" in text


def test_stage_4_shows_the_difference_at_full_resolution(
    live, session, viewer, follows, pair
):
    session.show_stage(4)
    preview = follows(live, session, manual_scale=1.1)
    assert roles(viewer) == ["preview difference"]
    layer = role(viewer, "difference")
    assert isinstance(layer, Image)
    assert layer.contrast_limits[0] == -layer.contrast_limits[1]
    limits = layer.contrast_limits
    poor = pixels(layer)
    follows(live, session, manual_scale=1.25)
    assert role(viewer, "difference") is layer
    assert layer.name == "preview: difference, scale 1.25"
    assert layer.contrast_limits == limits
    good = pixels(layer)
    assert good.shape[0] >= pair.post.shape[0]
    seen = good != 0
    assert abs(np.median(good[seen])) < 0.3 * abs(np.median(poor[seen]))
    assert preview.estimate.scales["moffat"].scale == pytest.approx(1.25, rel=0.01)
    assert files(session) == []


def test_the_scale_that_was_changed_last_is_shown(live, session, viewer, follows):
    session.show_stage(4)
    follows(live, session, manual_scale=1.1)
    percentile = follows(live, session, scale_percentile=90.0)
    scale = percentile.estimate.scales["percentile"].scale
    assert role(viewer, "difference").name.endswith(f"scale {scale:.4g}")
    follows(live, session, scale_percentile=None)
    assert role(viewer, "difference").name.endswith("scale 1.1")
    follows(live, session, manual_scale=None)
    assert role(viewer, "difference").name.endswith("scale 1.25")


def test_after_stage_3_its_image_and_after_stage_4_its_counts_are_used(
    finished, viewer, follows
):
    live = LivePreview.of(finished)
    finished.show_stage(4)
    preview = follows(live, finished, manual_scale=1.2)
    assert preview.estimate.basis == "stage 4"
    aligned = finished.task().checkpoint(3, "pre")
    x0, y0, width, height = preview.source.post_frame
    inside = (slice(y0 + 50, y0 + height - 50), slice(x0 + 50, x0 + width - 50))
    post = finished.task().checkpoint(1, "post").image[inside].astype(float)
    expected = post - 1.2 * aligned.image[inside].astype(float)
    layer = role(viewer, "difference")
    top, left = (round(-value) for value in layer.translate)
    shown = pixels(layer)
    part = shown[50 + top :, 50 + left :][: expected.shape[0], : expected.shape[1]]
    seen = part != 0
    offset = preview.estimate.scales["manual"].offset
    np.testing.assert_allclose(part[seen], (expected - offset)[seen], atol=1e-3)


def test_the_pair_is_read_before_it_is_asked_for_and_nothing_is_shown(
    live, session, qtbot, viewer
):
    assert not live.is_ready
    session.show_stage(2)
    qtbot.waitUntil(lambda: live.is_ready, timeout=LONG)
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    assert len(viewer.layers) == 0
    assert live.stage == 0
    assert live.words(2)[0].startswith("Change a parameter")
    session.set_source(sample="Other")
    assert not live.is_ready


def test_the_newest_value_wins(live, session, qtbot, viewer):
    session.show_stage(4)
    shown = []
    live.shown.connect(shown.append)
    for value in (0.9, 1.0, 1.1, 1.2, 1.3):
        session.set_params(manual_scale=value)
    qtbot.waitUntil(lambda: bool(shown), timeout=LONG)
    assert shown[-1].estimate.scales["manual"].scale == 1.3
    assert len(shown) == 1


def test_a_value_that_comes_while_one_is_worked_on_takes_its_place(
    live, session, qtbot, viewer, monkeypatch
):
    begun, may_go_on = threading.Event(), threading.Event()
    real = core_preview.preview_boundary

    def held(source, params, *args, **kwargs):
        begun.set()
        may_go_on.wait(LONG / 1000)
        return real(source, params, *args, **kwargs)

    monkeypatch.setattr(core_preview, "preview_boundary", held)
    session.show_stage(2)
    shown = []
    live.shown.connect(shown.append)
    session.set_params(boundary_width=20)
    qtbot.waitUntil(begun.is_set, timeout=LONG)
    session.set_params(boundary_width=30)
    may_go_on.set()
    qtbot.waitUntil(lambda: bool(shown), timeout=LONG)
    qtbot.wait(300)
    assert [one.specs[0].about["parameters"]["boundary_width"] for one in shown] == [30]


def test_other_layers_give_way_and_come_back(finished, viewer, qtbot, follows):
    job = finished.show_results()
    with qtbot.waitSignal(job.finished, timeout=LONG):
        pass
    before = {layer.name: layer.visible for layer in viewer.layers}
    assert before["Rock DAPI: difference"]
    live = LivePreview.of(finished)
    finished.show_stage(2)
    follows(live, finished, boundary_width=20)
    # The pair's own post will do.
    assert find_layers(viewer, "preview post") == []
    seen = {about(layer)["role"] for layer in viewer.layers if layer.visible}
    assert seen == {"post", "preview aligned", "preview ring", "preview outline"}
    live.switch(False)
    assert {layer.name: layer.visible for layer in viewer.layers} == before


def test_it_can_be_switched_off_and_on(live, session, viewer, qtbot, follows):
    session.show_stage(2)
    follows(live, session, boundary_width=20)
    live.switch(False)
    assert len(viewer.layers) == 0
    assert live.stage == 0
    shown = []
    live.shown.connect(shown.append)
    session.set_params(boundary_width=25)
    qtbot.wait(300)
    assert not shown
    with qtbot.waitSignal(live.shown, timeout=LONG):
        live.switch(True)
    assert len(viewer.layers) == 4


def test_a_run_takes_the_preview_away(live, session, viewer, qtbot, follows):
    session.show_stage(2)
    follows(live, session, boundary_width=20)
    with qtbot.waitSignal(session.run_ended, timeout=LONG):
        session.run(1, 2)
    assert find_layers(viewer, "preview ") == []
    assert live.stage == 0
    assert find_layers(viewer, "aligned 2")


def test_a_parameter_that_changed_during_a_run_is_previewed_after_it(
    live, session, viewer, qtbot
):
    session.show_stage(2)
    release, begun = threading.Event(), threading.Event()

    def work(monitor):
        begun.set()
        release.wait(30)

    session.jobs.start(work, title="a run", exclusive=True)
    assert begun.wait(30)
    session.set_params(boundary_width=20)
    with qtbot.waitSignal(live.shown, timeout=LONG) as told:
        release.set()
    assert told.args[0].stage == 2
    assert about(role(viewer, "ring"))["parameters"]["boundary_width"] == 20
    # Nothing was changed during the next one: what it shows stays in front.
    release.clear()
    again = session.jobs.start(lambda monitor: None, title="again", exclusive=True)
    with qtbot.waitSignal(again.finished, timeout=LONG):
        pass
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    assert find_layers(viewer, "preview ") == []


def test_results_that_are_opened_take_the_preview_away(
    finished, viewer, qtbot, follows
):
    live = LivePreview.of(finished)
    finished.show_stage(2)
    follows(live, finished, boundary_width=20)
    with qtbot.waitSignal(finished.results_changed, timeout=LONG):
        finished.show_results()
    assert find_layers(viewer, "preview ") == []
    assert [about(layer)["role"] for layer in viewer.layers] == ["pre", "post"]
    assert all(layer.visible for layer in viewer.layers)


def test_another_sample_takes_the_preview_away(live, session, viewer, follows):
    session.show_stage(2)
    follows(live, session, boundary_width=20)
    session.set_source(sample="Other")
    assert len(viewer.layers) == 0


def test_another_stage_in_front_is_previewed_in_its_place(
    live, session, viewer, qtbot, follows
):
    session.show_stage(2)
    follows(live, session, boundary_width=20)
    with qtbot.waitSignal(live.shown, timeout=LONG):
        session.show_stage(4)
    assert roles(viewer) == ["preview difference"]


def test_parameters_of_later_stages_do_not_matter(live, session, qtbot, viewer):
    session.show_stage(2)
    shown = []
    live.shown.connect(shown.append)
    session.set_params(manual_scale=1.3, interior_blur_base=5.0)
    qtbot.wait(300)
    assert not shown


def test_a_missing_raw_file_is_told_in_the_row(live, session, qtbot, tmp_path):
    row = PreviewRow(session, 2)
    qtbot.addWidget(row)
    (tmp_path / "raw" / "Rock").mkdir(parents=True)
    session.set_source(raw_dir=tmp_path / "raw")
    session.show_stage(2)
    session.set_params(boundary_width=20)
    words = row.findChild(QLabel, "preview_words")
    qtbot.waitUntil(lambda: live.words(2)[1] == "error", timeout=LONG)
    assert words.text() == live.words(2)[0]
    assert "Rock" in words.text()


def test_the_rows_of_a_session_switch_together(live, session, qtbot):
    rows = [PreviewRow(session, stage) for stage in (2, 3, 2)]
    boxes = []
    for row in rows:
        qtbot.addWidget(row)
        boxes.append(row.findChild(QCheckBox, "live_preview"))
    assert all(box.isChecked() for box in boxes)
    boxes[1].click()
    assert not any(box.isChecked() for box in boxes)
    assert not live.is_on


def test_the_row_of_stage_4_draws_the_scales(live, session, qtbot, follows):
    row = PreviewRow(session, 4)
    qtbot.addWidget(row)
    row.show()
    plot = row.findChild(ScaleLinePlot, "scale_line")
    assert not plot.isVisible()
    session.show_stage(4)
    follows(live, session, manual_scale=1.42, scale_percentile=90.0)
    assert plot.isVisible()
    lines = {line.method: line.scale for line in plot.curve.lines}
    assert list(lines) == ["moffat", "percentile", "manual"]
    assert lines["manual"] == 1.42
    picture = plot.grab().toImage()
    colours = {picture.pixelColor(x, 50).name() for x in range(picture.width())}
    assert {"#00cc88", "#ff9933", "#ff3366"} <= colours
    live.switch(False)
    assert not plot.isVisible()


def test_closing_the_session_ends_it(live, session, qtbot):
    session.show_stage(2)
    session.set_params(boundary_width=20)
    session.close()
    live.refresh()
    qtbot.wait(300)
    assert live.stage == 0


def test_closing_the_dock_takes_the_preview_away_and_brings_back_what_it_hid(
    finished, viewer, qtbot, follows
):
    job = finished.show_results()
    with qtbot.waitSignal(job.finished, timeout=LONG):
        pass
    window = QWidget()
    qtbot.addWidget(window)
    row = PreviewRow(finished, 2, window)
    window.show()
    live = LivePreview.of(finished)
    before = {layer.name for layer in viewer.layers if layer.visible}
    finished.show_stage(2)
    follows(live, finished, boundary_width=20)
    assert find_layers(viewer, "preview ")
    # A tab in front of the form is no end, the closed window is.
    row.hide()
    qtbot.wait(20)
    assert find_layers(viewer, "preview ")
    row.show()
    window.hide()
    qtbot.waitUntil(lambda: not find_layers(viewer, "preview "), timeout=LONG)
    assert {layer.name for layer in viewer.layers if layer.visible} == before
    finished.set_params(boundary_width=22)
    qtbot.waitUntil(lambda: not finished.jobs.is_working, timeout=LONG)
    qtbot.wait(200)
    assert not find_layers(viewer, "preview ")


def test_a_stage_without_a_preview_takes_it_away(live, session, viewer, follows):
    session.show_stage(4)
    follows(live, session, manual_scale=1.2)
    session.show_stage(1)
    assert not find_layers(viewer, "preview ")


def test_stages_may_be_previewed_in_any_order(live, session, viewer, follows):
    session.show_stage(3)
    follows(live, session, interior_blur_base=7.0)
    session.show_stage(2)
    preview = follows(live, session, boundary_width=21)
    assert preview.stage == 2
    assert {"preview ring", "preview aligned"} <= set(roles(viewer))
