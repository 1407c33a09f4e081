"""One set of results is worked on and shown; what is opened beside it stands apart."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from npe2 import PluginManager

from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.plugin.files.opening import set_chooser
from napari_exo2micro.plugin.layers.layers import KEY, about, find_layers
from napari_exo2micro.plugin.layers.presenter import presenter_of
from napari_exo2micro.plugin.layers.scene import Display, place_layers
from napari_exo2micro.plugin.layers.sets import fitting_layers, set_in_front, set_shown
from napari_exo2micro.plugin.layers.stages import stage_specs

OURS = "napari-exo2micro"
LONG = 300_000


@pytest.fixture(autouse=True)
def plugins() -> None:
    """Let napari know its plugins, as it does when it starts."""
    PluginManager.instance().discover()


@pytest.fixture
def two_sets(results, shared_raw_dir):
    """An output folder with two sets; stage 2 of the second one moves nothing."""
    task = SampleDye("Rock", "DAPI", results, shared_raw_dir, checkpoint_format="tiff")
    task.set_params(pad=60, boundary_width=30)
    task._save_image(
        task._load_image(1, "pre"), 2, "pre", transform=Transform.identity()
    )
    yield results
    set_chooser(None)


def open_set(viewer, folder, word):
    """Open the set whose line in the chooser holds a word."""

    def choose(_question, _headings, choices):
        texts = [" ".join(choice.columns) for choice in choices]
        return next(i for i, text in enumerate(texts) if word in text)

    set_chooser(choose)
    viewer.open(folder, plugin=OURS)


def seen(viewer):
    """Return the role and the set of each image that is shown."""
    return {
        (about(layer)["role"], about(layer).get("apart", ""))
        for layer in viewer.layers
        if layer.visible and isinstance(layer, Image)
    }


def full(layer):
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


WHOLE = {("post", ""), ("aligned 3", ""), ("difference", "")}


def test_a_second_set_of_parameters_stands_apart_and_is_shown(viewer, two_sets):
    open_set(viewer, two_sets, "1, 2, 3, 4")
    first = list(viewer.layers)
    assert seen(viewer) == WHOLE
    open_set(viewer, two_sets, "30")
    second = [layer for layer in viewer.layers if layer not in first]
    (label,) = {about(layer)["apart"] for layer in second}
    assert "30" in label
    assert all(layer.name.endswith(f"({label})") for layer in second)
    # Each green and each magenta only once: brightness is that of one set.
    assert seen(viewer) == {("post", label), ("aligned 2", label)}
    assert all(layer in viewer.layers for layer in first)
    assert set_in_front(viewer, "Rock", "DAPI") == label
    # The first one again: nothing new, and it is shown.
    count = len(viewer.layers)
    open_set(viewer, two_sets, "1, 2, 3, 4")
    assert len(viewer.layers) == count
    assert seen(viewer) == WHOLE
    open_set(viewer, two_sets, "30")
    assert len(viewer.layers) == count
    assert seen(viewer) == {("post", label), ("aligned 2", label)}


def test_a_run_leaves_a_set_that_stands_apart_and_shows_its_own(
    viewer, two_sets, shared_raw_dir, qtbot, finished
):
    open_set(viewer, two_sets, "1, 2, 3, 4")
    open_set(viewer, two_sets, "30")
    apart = [layer for layer in viewer.layers if about(layer).get("apart")]
    before = [full(layer).copy() for layer in apart if isinstance(layer, Image)]
    finished.set_params(boundary_width=25)
    with qtbot.waitSignal(finished.run(1, 2).finished, timeout=LONG):
        pass
    assert all(layer in viewer.layers for layer in apart)
    after = [full(layer) for layer in apart if isinstance(layer, Image)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert seen(viewer) == {("post", ""), ("aligned 2", "")}
    (aligned,) = find_layers(viewer, "aligned 2")
    assert about(aligned)["parameters"]["boundary_width"] == 25


def test_a_set_is_named_by_what_differs_from_the_last_run(viewer, two_sets):
    """Later layers in the viewer, left by the run before, do not hide it."""
    open_set(viewer, two_sets, "1, 2, 3, 4")
    (aligned,) = find_layers(viewer, "aligned 2")
    known = about(aligned)
    known["parameters"] = {**known["parameters"], "boundary_width": 25}
    known["paths"] = ["another.tiff"]
    aligned.metadata = {KEY: known}
    open_set(viewer, two_sets, "1, 2, 3, 4")
    (label,) = {about(layer).get("apart", "") for layer in viewer.layers} - {""}
    width = PARAMETER_REGISTRY["boundary_width"]
    assert label == f"{width.title}: {width.default}"
    assert seen(viewer) == {(role, label) for role, _ in WHOLE}


def test_a_run_to_the_end_ends_with_its_difference_in_front(viewer, two_sets, finished):
    open_set(viewer, two_sets, "1, 2, 3, 4")
    open_set(viewer, two_sets, "30")
    task = finished.task()
    for number in (1, 2, 3, 4):
        presenter_of(viewer).place_stage(number, stage_specs(task, number))
    assert seen(viewer) == {("difference", "")}


def test_a_raw_pair_beside_padded_images_stands_apart(
    viewer, shared_results, shared_raw_dir, finished, qtbot
):
    viewer.open(shared_results, plugin=OURS)
    viewer.open(shared_raw_dir, plugin=OURS)
    assert seen(viewer) == {("pre", "raw"), ("post", "raw")}
    raw = [layer for layer in viewer.layers if about(layer).get("apart")]
    assert [about(layer)["stage"] for layer in raw] == [0, 0]
    with qtbot.waitSignal(finished.run(1, 1).finished, timeout=LONG):
        pass
    assert all(layer in viewer.layers for layer in raw)
    assert seen(viewer) == {("pre", ""), ("post", "")}


def test_raw_images_make_room_for_results(viewer, shared_results, shared_raw_dir):
    viewer.open(shared_raw_dir, plugin=OURS)
    raw = list(viewer.layers)
    viewer.open(shared_results, plugin=OURS)
    assert seen(viewer) == WHOLE
    assert [about(layer)["apart"] for layer in raw] == ["raw", "raw"]
    # Dropped again, they come to the front once more.
    viewer.open(shared_raw_dir, plugin=OURS)
    assert seen(viewer) == {("pre", "raw"), ("post", "raw")}
    assert viewer.layers.selection == set(raw)


def test_results_of_another_folder_stand_apart(viewer, shared_results, results):
    viewer.open(shared_results, plugin=OURS)
    viewer.open(results, plugin=OURS)
    (label,) = {about(layer).get("apart", "") for layer in viewer.layers} - {""}
    assert str(results) in label
    assert {apart for _, apart in seen(viewer)} == {label}


def test_a_single_result_that_fits_joins_and_is_shown(viewer, shared_results):
    folder = shared_results / "Rock" / "DAPI" / "tiff"
    viewer.open(shared_results, plugin=OURS)
    viewer.layers.remove(find_layers(viewer, "aligned 2")[0])
    viewer.open(folder / "02_icp_aligned_pre_pad60.tiff", plugin=OURS)
    assert seen(viewer) == {("post", ""), ("aligned 2", "")}


def test_a_copy_that_a_person_made_is_left_alone(viewer, all_specs):
    place_layers(viewer, all_specs[1])
    (post,) = find_layers(viewer, "post")
    copy = type(post).create(*post.as_layer_data_tuple())
    viewer.add_layer(copy)
    copy.name = "my copy"
    place_layers(viewer, all_specs[1])
    assert copy in viewer.layers
    assert post in viewer.layers


def test_layers_made_before_a_stage_ran_with_other_settings_are_outdated(
    viewer, finished
):
    task = finished.task()
    for number in (1, 2, 3, 4):
        place_layers(viewer, stage_specs(task, number))
    fitting, outdated = fitting_layers(viewer, "Rock", "DAPI")
    assert set(fitting) == {"post", "pre", "aligned 2", "aligned 3", "difference"}
    assert outdated == {}
    again = stage_specs(task, 2)
    for spec in again:
        spec.about["parameters"]["boundary_width"] = 25
    place_layers(viewer, again)
    fitting, outdated = fitting_layers(viewer, "Rock", "DAPI")
    assert set(fitting) == {"post", "pre", "aligned 2"}
    assert set(outdated) == {"aligned 3", "difference"}


def test_layers_made_from_other_raw_files_are_outdated(viewer, finished):
    task = finished.task()
    for number in (1, 2):
        place_layers(viewer, stage_specs(task, number))
    for layer in find_layers(viewer):
        if about(layer)["stage"] == 1:
            about(layer)["header"]["raw"]["post"]["sha256"] = "another"
    assert set(fitting_layers(viewer, "Rock", "DAPI")[1]) == {"aligned 2"}


def test_showing_a_set_leaves_what_is_a_persons(viewer, shared_results):
    viewer.open(shared_results, plugin=OURS)
    mine = viewer.add_points([[1.0, 2.0]])
    wish = set_shown(find_layers(viewer, apart=None), (), ())
    Display.of(viewer).choose(wish)
    assert mine.visible
    assert seen(viewer) == set()
