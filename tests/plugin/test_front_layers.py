"""Which layers are in front after a stage; a person's own choices stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_exo2micro.plugin.layers import scene
from napari_exo2micro.plugin.layers.layers import KEY, LayerSpec, about, find_layers
from napari_exo2micro.plugin.layers.presenter import presenter_of
from napari_exo2micro.plugin.layers.stages import stage_specs


@pytest.fixture
def stages(finished):
    task = finished.task()
    return {number: stage_specs(task, number) for number in (1, 2, 3, 4)}


def shown(viewer, sample="Rock"):
    return {
        about(layer)["role"]
        for layer in find_layers(viewer, sample=sample)
        if layer.visible
    }


def test_each_stage_brings_its_picture_to_the_front(viewer, stages):
    wanted = {
        1: ({"pre", "post"}, "pre"),
        2: ({"aligned 2", "post", "ring pre", "ring post"}, "aligned 2"),
        3: ({"aligned 3", "post"}, "aligned 3"),
        4: ({"difference"}, "difference"),
    }
    for number, (roles, active) in wanted.items():
        presenter_of(viewer).place_stage(number, stages[number])
        assert shown(viewer) == roles
        assert about(viewer.layers.selection.active)["role"] == active
    (post,) = find_layers(viewer, "post")
    (pre,) = find_layers(viewer, "aligned 3")
    assert post.blending == pre.blending == "additive"


def test_a_stage_that_runs_again_changes_nothing_of_what_is_shown(viewer, stages):
    for number in stages:
        presenter_of(viewer).place_stage(number, stages[number])
    (post,) = find_layers(viewer, "post")
    (difference,) = find_layers(viewer, "difference")
    post.visible, difference.visible = True, False
    viewer.layers.selection.active = post
    before = shown(viewer)
    camera = viewer.scene.camera
    camera.zoom, camera.center = 3.0, (0.0, 10.0, 20.0)
    for number in stages:
        presenter_of(viewer).place_stage(number, stages[number])
    assert shown(viewer) == before
    assert about(viewer.layers.selection.active)["role"] == "post"
    assert camera.zoom == 3.0
    assert tuple(camera.center)[-2:] == (10.0, 20.0)


def test_another_sample_comes_without_the_first_one_behind_it(viewer, stages, finished):
    for number in stages:
        presenter_of(viewer).place_stage(number, stages[number])
    viewer.add_points([[1.0, 2.0]], name="a person's own")
    specs = stage_specs(finished.task(), 1)
    for spec in specs:
        spec.about["sample"] = "Other"
    presenter_of(viewer).place_stage(1, specs)
    assert shown(viewer) == set()
    assert shown(viewer, "Other") == {"pre", "post"}
    assert viewer.layers["a person's own"].visible


def test_nothing_is_fitted_or_hidden_without_layers(viewer):
    viewer.add_points([[1.0, 2.0]])
    assert presenter_of(viewer).place_stage(1, []) == []
    assert viewer.layers[0].visible


def test_a_later_result_that_no_longer_belongs_to_the_run_leaves_the_front(
    viewer, stages
):
    for number in stages:
        presenter_of(viewer).place_stage(number, stages[number])
    presenter_of(viewer).leave_run(
        "Rock", "DAPI", 2
    )  # run again with the same settings
    assert shown(viewer) == {"difference"}
    for spec in stages[2]:
        spec.about["parameters"]["boundary_width"] = 25
    presenter_of(viewer).place_stage(2, stages[2])
    presenter_of(viewer).leave_run("Rock", "DAPI", 2)
    assert shown(viewer) == {"aligned 2", "post", "ring pre", "ring post"}
    # It comes back as soon as it belongs to the settings again.
    presenter_of(viewer).place_stage(4, stages[4])
    assert shown(viewer) == {"difference"}
    for layer in find_layers(viewer):
        layer.visible = about(layer)["role"] == "post"
    presenter_of(viewer).leave_run(
        "Rock", "DAPI", 2
    )  # a person's choice that is not outdated
    assert shown(viewer) == {"post"}


def test_the_difference_of_a_scale_that_is_new_is_in_front(viewer, stages):
    for number in stages:
        presenter_of(viewer).place_stage(number, stages[number])
    (difference,) = (s for s in stages[4] if s.about["role"] == "difference")
    known = {**difference.about, "role": "difference manual"}
    options = {**difference.options, "metadata": {KEY: known}, "visible": False}
    manual = LayerSpec(difference.data, options)
    presenter_of(viewer).place_stage(4, [*stages[4], manual])
    assert shown(viewer) == {"difference manual"}
    viewer.layers.clear()
    presenter_of(viewer).place_stage(4, [*stages[4], manual])
    assert shown(viewer) == {"difference"}


def test_what_a_stage_no_longer_leaves_goes_away(viewer, finished, qtbot):
    """A manual scale that is switched off takes its difference with it."""

    def run() -> list[str]:
        job = finished.run(4, 4)
        with qtbot.waitSignal(job.finished, timeout=300_000):
            pass
        return [about(layer)["role"] for layer in viewer.layers]

    finished.set_params(manual_scale=1.5)
    assert {"difference", "difference manual", "scaled manual"} <= set(run())
    finished.set_params(manual_scale=None)
    roles = run()
    assert "difference" in roles
    assert not [role for role in roles if "manual" in role]


def other_sample(specs, every=1):
    """The same layers of a sample Other, of every n-th px only."""
    others = []
    for spec in specs:
        known = dict(spec.about, sample="Other")
        canvas = dict(known["header"]["canvas"])
        canvas["post_frame"] = [v // every for v in canvas["post_frame"]]
        known["header"] = {**known["header"], "canvas": canvas}
        options = {**spec.options, "metadata": {KEY: known}}
        options["translate"] = tuple(v / every for v in options["translate"])
        known["canvas_offset"] = options["translate"]
        options["multiscale"] = False
        full = spec.data[0] if isinstance(spec.data, list) else spec.data
        pixels = np.asarray(full)[::every, ::every]
        others.append(replace(spec, data=pixels, options=options))
    return others


def test_a_smaller_sample_fills_the_view_after_a_larger_one(viewer, stages):
    camera = viewer.scene.camera
    small = other_sample(stages[1], every=4)
    presenter_of(viewer).place_stage(1, small)
    alone = camera.zoom, tuple(camera.center)
    viewer.layers.clear()
    presenter_of(viewer).place_stage(1, stages[1])
    assert camera.zoom < 0.5 * alone[0]
    presenter_of(viewer).place_stage(1, small)
    assert camera.zoom == pytest.approx(alone[0])
    assert camera.center == pytest.approx(alone[1])
    height, width = (
        small[0].about["header"]["canvas"]["post_frame"][i] for i in (3, 2)
    )
    assert camera.center[-2:] == pytest.approx((height / 2, width / 2))


def test_one_layer_that_cannot_be_shown_is_told_once_and_the_others_are_there(
    finished, viewer, stages, qtbot
):
    told: list[str] = []
    changed: list[int] = []
    broken = replace(stages[1][0], kind="no such type")
    finished.results_changed.connect(changed.append)
    ready = notification_manager.notification_ready
    listen = ready.connect(lambda one: told.append(one.message))
    try:
        finished.describe = lambda *_: [broken, *stages[1][1:]]
        with qtbot.waitSignal(finished.run(1, 1).finished, timeout=300_000):
            pass
    finally:
        ready.disconnect(listen)
    assert shown(viewer) == {"post"}
    assert changed == [1]
    assert len(told) == 1
    assert broken.options["name"] in told[0]


def test_results_are_told_when_the_viewer_breaks(finished, qtbot, monkeypatch):
    changed: list[int] = []
    finished.results_changed.connect(changed.append)

    def breaks(*_args, **_how):
        raise RuntimeError("no picture")

    monkeypatch.setattr(scene, "place_layers", breaks)
    with qtbot.captureExceptions() as raised:
        job = finished.run(1, 1)
        qtbot.waitUntil(lambda: not job.is_running, timeout=300_000)
    assert [str(error) for _, error, _ in raised] == ["no picture"]
    assert changed == [1]
