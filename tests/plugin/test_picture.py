"""The picture shows what the panels speak of, or says that it does not."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QWidget

from napari_exo2micro.core.parameters import PARAMETER_REGISTRY
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import write_pair
from napari_exo2micro.plugin.layers.layers import about, find_layers, note_overlay
from napari_exo2micro.plugin.layers.presenter import presenter_of, shared_session
from napari_exo2micro.plugin.workbench import picture
from napari_exo2micro.plugin.workbench.picture import PictureOfChoice
from napari_exo2micro.plugin.workbench.workbench import DifferenceDock

LONG = 300_000
PAD = 60
DIFFERENCE = {("Rock", "difference")}
#: Held by somebody, as napari holds a dock's.
PANELS: list[QWidget] = []


@pytest.fixture(scope="session")
def two_raw(tmp_path_factory, pair, shared_raw_dir) -> Path:
    """A raw folder with Rock, whose results there are, and Granite without any."""
    folder = tmp_path_factory.mktemp("two_raw")
    shutil.copytree(shared_raw_dir, folder, dirs_exist_ok=True)
    write_pair(pair, folder, "Granite", "DAPI")
    return folder


@pytest.fixture(scope="session")
def two_results(tmp_path_factory, two_raw, shared_results) -> Path:
    """Results of Rock: up to stage 4, and up to stage 2 with another ring."""
    folder = tmp_path_factory.mktemp("two_results")
    shutil.copytree(shared_results, folder, dirs_exist_ok=True)
    task = SampleDye("Rock", "DAPI", output_dir=folder, raw_dir=two_raw)
    task.set_params(pad=PAD, boundary_width=25)
    task.run(2, 2)
    return folder


@pytest.fixture
def followed(viewer, two_raw, two_results, tmp_path, qtbot):
    """A session on Rock whose picture follows the choice; what it shows has come."""
    session = shared_session(viewer)
    session.set_params(pad=PAD)
    session.set_source(
        raw_dir=two_raw,
        output_dir=shutil.copytree(two_results, tmp_path / "processed"),
        sample="Rock",
        dye="DAPI",
    )
    follow(session)
    settle(session, qtbot)
    return session


def follow(session) -> QWidget:
    """Let a panel speak of the choice."""
    panel = QWidget()
    PANELS.append(panel)
    PictureOfChoice.of(session).follow(panel)
    return panel


def settle(session, qtbot):
    """Wait until nothing is read or told any more."""
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    qtbot.wait(30)
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)


def seen(viewer):
    return {
        (about(layer)["sample"], about(layer)["role"])
        for layer in viewer.layers
        if layer.visible
    }


def note(viewer):
    overlay = note_overlay(viewer)
    return overlay.text if overlay.visible else ""


def test_a_session_starts_with_what_is_valid(followed, viewer):
    assert seen(viewer) == DIFFERENCE
    assert note(viewer) == ""


def test_another_sample_is_shown_at_once_and_the_first_one_comes_back_as_it_was(
    followed, viewer, qtbot
):
    (post,) = find_layers(viewer, "post")
    (difference,) = find_layers(viewer, "difference")
    difference.visible, post.visible = False, True  # as a person wants it
    mine = viewer.add_points([[1.0, 2.0]])
    mine.metadata["exo2micro"] = {"sample": "mine"}
    followed.set_source(sample="Granite")
    assert not {sample for sample, _ in seen(viewer) if sample == "Rock"}
    settle(followed, qtbot)
    mine.visible = False
    assert seen(viewer) == {("Granite", "pre"), ("Granite", "post")}
    count = len(viewer.layers)
    viewer.layers.selection.active = find_layers(viewer, "pre", "Granite")[0]
    followed.set_source(sample="Rock")
    assert seen(viewer) == {("Rock", "post")}
    # napari's controls act on what is seen.
    assert viewer.layers.selection.active is post
    settle(followed, qtbot)
    assert seen(viewer) == {("Rock", "post")}
    assert len(viewer.layers) == count
    followed.set_source(sample="Granite")
    assert seen(viewer) == {("Granite", "pre"), ("Granite", "post")}


def test_other_settings_without_results_are_told_in_the_picture(
    followed, viewer, qtbot
):
    followed.set_params(boundary_width=31)
    settle(followed, qtbot)
    assert seen(viewer) == DIFFERENCE
    entry = PARAMETER_REGISTRY["boundary_width"]
    assert f"{entry.title}: {entry.default}" in note(viewer)
    assert "other settings" in note(viewer)
    followed.reset_params("boundary_width")
    settle(followed, qtbot)
    assert note(viewer) == ""


def test_other_settings_with_results_bring_them(followed, viewer, qtbot):
    followed.set_params(boundary_width=25)
    settle(followed, qtbot)
    (aligned,) = find_layers(viewer, "aligned 2")
    assert about(aligned)["parameters"]["boundary_width"] == 25
    # The difference that was made with the settings before left the front.
    assert {role for _, role in seen(viewer)} >= {"aligned 2", "post"}
    assert not DIFFERENCE & seen(viewer)
    assert note(viewer) == ""
    followed.reset_params("boundary_width")
    settle(followed, qtbot)
    assert "boundary_width" not in about(aligned)["parameters"] or (
        about(aligned)["parameters"]["boundary_width"] != 25
    )
    assert seen(viewer) == DIFFERENCE
    assert note(viewer) == ""


def test_what_a_person_removed_is_not_brought_back(followed, viewer, qtbot):
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    for width in (25, PARAMETER_REGISTRY["boundary_width"].default):
        followed.set_params(boundary_width=width)
        settle(followed, qtbot)
    assert len(viewer.layers) == 0


def test_another_sample_that_was_opened_is_told(followed, viewer, all_specs, qtbot):
    specs = all_specs[1]
    for spec in specs:
        spec.about["sample"] = "Other"
    try:
        presenter_of(viewer).place_stage(1, specs)
    finally:
        for spec in specs:
            spec.about["sample"] = "Rock"
    assert {sample for sample, _ in seen(viewer)} == {"Other"}
    qtbot.waitUntil(lambda: bool(note(viewer)), timeout=LONG)
    assert "Other DAPI" in note(viewer)
    assert "Rock DAPI" in note(viewer)


def test_a_note_of_a_persons_own_comes_back(followed, viewer, qtbot):
    overlay = note_overlay(viewer)
    overlay.text, overlay.visible = "mine", True
    followed.set_params(boundary_width=31)
    settle(followed, qtbot)
    assert "other settings" in overlay.text
    followed.reset_params("boundary_width")
    settle(followed, qtbot)
    assert (overlay.text, overlay.visible) == ("mine", True)


def test_without_a_panel_nothing_is_followed_nor_told(viewer, finished, qtbot):
    panel = follow(finished)
    settle(finished, qtbot)
    finished.set_params(boundary_width=31)
    settle(finished, qtbot)
    assert note(viewer)
    panel.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qtbot.waitUntil(lambda: not note(viewer), timeout=LONG)
    viewer.layers.clear()
    finished.set_source(sample="Other")
    finished.set_source(sample="Rock")
    settle(finished, qtbot)
    assert len(viewer.layers) == 0


def test_a_dock_of_one_stage_shows_its_sample_too(viewer, finished, qtbot):
    dock = DifferenceDock(viewer)
    qtbot.addWidget(dock.native)
    settle(finished, qtbot)
    assert seen(viewer) == DIFFERENCE


def test_a_raw_pair_that_cannot_be_opened_is_no_message(
    viewer, session, raw_dir, qtbot, caplog
):
    (post,) = (raw_dir / "Rock").glob("*PostStain*")
    post.write_bytes(b"II*\0 no image")
    session.set_source(raw_dir=raw_dir)
    follow(session)
    settle(session, qtbot)
    assert len(viewer.layers) == 0
    assert post.name in caplog.text


def test_raw_images_that_come_late_leave_what_a_run_has_brought(
    viewer, session, qtbot, monkeypatch
):
    asked, release = threading.Event(), threading.Event()
    pair_files = picture.pair_files

    def slow(sample, dye, raw_dir):
        asked.set()
        assert release.wait(60)
        return pair_files(sample, dye, raw_dir)

    monkeypatch.setattr(picture, "pair_files", slow)
    follow(session)
    qtbot.waitUntil(asked.is_set, timeout=LONG)
    with qtbot.waitSignal(session.run_ended, timeout=LONG):
        session.run(1, 1)
    release.set()
    settle(session, qtbot)
    assert {about(layer)["stage"] for layer in viewer.layers} == {1}
