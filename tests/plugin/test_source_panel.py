"""Choosing the raw folder, the sample and the dye; what is said when it is odd."""

from __future__ import annotations

import json
import shutil
import threading

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QToolButton,
    QWidget,
)

from napari_exo2micro.plugin.layers.layers import KEY
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.session import raw_folder, settings
from napari_exo2micro.plugin.workbench.source import ChannelSurveyWindow, SourcePanel

LONG = 300_000


@pytest.fixture
def fresh(viewer):
    return shared_session(viewer)


@pytest.fixture
def many(tmp_path):
    """Two samples of two and one dye, a lonely file and an empty folder."""
    names = (
        "A/xPre_DAPI A/xPost_DAPI A/xPre_FITC A/xPost_FITC A/xPre_Cy5 "
        "B/Pre_DAPI B/Post_DAPI B/nothing"
    )
    for name in names.split():
        path = tmp_path / "raw" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.full((20, 30), 7, np.uint8))
    (tmp_path / "raw" / "C").mkdir()
    return tmp_path / "raw"


def panel_of(session, qtbot):
    panel = SourcePanel(session)
    qtbot.addWidget(panel)
    panel.show()
    return panel


def part(panel, kind, name):
    found = panel.findChild(kind, name)
    assert found is not None, name
    return found


def names(combo):
    return [combo.itemText(index) for index in range(combo.count())]


def type_folder(panel, name, text, qtbot):
    line = part(panel, QComboBox, f"{name}_line").lineEdit()
    assert isinstance(line, QLineEdit)
    line.setText(str(text))
    line.editingFinished.emit()


def words(panel):
    return part(panel, QLabel, "raw_words")


def seen(viewer):
    return [layer for layer in viewer.layers if layer.visible]


def test_at_first_it_says_where_to_start(fresh, qtbot):
    panel = panel_of(fresh, qtbot)
    assert part(panel, QLabel, "start_hint").isVisible()
    assert part(panel, QPushButton, "try_simulated").isVisible()
    assert part(panel, QWidget, "raw_dir").isVisible()
    assert not part(panel, QComboBox, "sample").isVisible()


def test_a_raw_folder_fills_the_lists_and_the_first_pair_is_chosen(fresh, many, qtbot):
    panel = panel_of(fresh, qtbot)
    type_folder(panel, "raw_dir", f'"{many}"', qtbot)
    qtbot.waitUntil(lambda: fresh.has_source, timeout=LONG)
    assert (fresh.raw_dir, fresh.sample, fresh.dye) == (many, "A", "DAPI")
    assert fresh.output_dir == many.parent / "processed"
    sample, dye = part(panel, QComboBox, "sample"), part(panel, QComboBox, "dye")
    assert (names(sample), names(dye)) == (["A", "B"], ["DAPI", "FITC"])
    assert not part(panel, QWidget, "raw_dir").isVisible()
    assert sample.isVisible()
    dye.setCurrentText("FITC")
    assert fresh.dye == "FITC"
    sample.setCurrentText("B")
    assert (fresh.sample, fresh.dye, names(dye)) == ("B", "DAPI", ["DAPI"])


def test_what_was_left_out_is_told_with_its_reason(fresh, many, qtbot):
    panel = panel_of(fresh, qtbot)
    panel.choose_raw_dir(many)
    qtbot.waitUntil(lambda: panel.overview is not None, timeout=LONG)
    part(panel, QToolButton, "show_folders").setChecked(True)
    assert words(panel).text() == "2 samples, 3 pairs of images"
    why = part(panel, QToolButton, "show_left_out")
    assert why.text().startswith("3 left out")
    details = part(panel, QLabel, "left_out")
    assert not details.isVisible()
    why.setChecked(True)
    assert details.isVisible()
    for reason in ("no post-stain file for dye 'Cy5'", "nothing.tif", "C: no TIFF"):
        assert reason in details.text()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([], "neither sample folders nor TIFFs"),
        (["loosePre_DAPI.tif"], "there is no sample folder"),
        (["A/Pre_DAPI.tif"], "no post-stain file for dye 'DAPI'"),
        (["A/DAPI.tif"], "no sample has a pair"),
    ],
)
def test_a_folder_without_pairs_is_named_with_the_fix(
    fresh, tmp_path, qtbot, made, said
):
    folder = tmp_path / "odd"
    for name in made:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / name, np.zeros((5, 5), np.uint8))
    folder.mkdir(exist_ok=True)
    panel = panel_of(fresh, qtbot)
    panel.choose_raw_dir(folder)
    qtbot.waitUntil(lambda: panel.overview is not None, timeout=LONG)
    assert said in words(panel).text()
    assert str(folder) in words(panel).text()
    assert words(panel).isVisible()
    assert not fresh.has_source


def test_another_folder_without_pairs_drops_the_pair_before(session, tmp_path, qtbot):
    """A run may never go on with the sample of a folder that is no longer shown."""
    panel = panel_of(session, qtbot)
    panel.choose_raw_dir(tmp_path / "missing")
    assert not session.has_source
    qtbot.waitUntil(lambda: "does not exist" in words(panel).text(), timeout=LONG)
    assert part(panel, QPushButton, "try_simulated").isVisible()


def test_it_follows_what_is_chosen_elsewhere(session, many, qtbot):
    panel = panel_of(session, qtbot)
    session.set_source(raw_dir=many, sample="B", dye="DAPI", checkpoint_format="fits")
    qtbot.waitUntil(lambda: panel.overview is not None, timeout=LONG)
    assert part(panel, QComboBox, "sample").currentText() == "B"
    assert part(panel, QComboBox, "raw_dir_line").currentText() == str(many)
    assert part(panel, QComboBox, "checkpoint_format").currentData() == "fits"
    assert session.sample == "B"


def test_layers_that_come_later_choose_as_long_as_nobody_has(fresh, raw_dir, qtbot):
    panel = panel_of(fresh, qtbot)
    known = {"role": "post", "raw_dir": str(raw_dir), "sample": "Rock", "dye": "DAPI"}
    image = np.zeros((4, 4))
    fresh.viewer.add_image(image, metadata={KEY: known})
    assert (fresh.sample, fresh.raw_dir) == ("Rock", raw_dir)
    qtbot.waitUntil(lambda: panel.overview is not None, timeout=LONG)
    part(panel, QComboBox, "dye").currentIndexChanged.emit(0)  # a person chooses
    fresh.viewer.add_image(image, metadata={KEY: known | {"sample": "Other"}})
    assert fresh.sample == "Rock"


def test_layers_that_are_there_already_choose(fresh, raw_dir, qtbot):
    known = {"role": "pre", "raw_dir": str(raw_dir), "sample": "Rock", "dye": "DAPI"}
    fresh.viewer.add_image(np.zeros((4, 4)), metadata={KEY: known})
    fresh.viewer.add_image(np.zeros((4, 4)))
    panel_of(fresh, qtbot)
    assert fresh.has_source


def test_results_of_other_raw_files_are_told(finished, tmp_path, qtbot, raw_dir):
    panel = panel_of(finished, qtbot)
    note = part(panel, QLabel, "stale_note")
    qtbot.waitUntil(lambda: bool(finished.status), timeout=LONG)
    assert not note.isVisible()
    (post,) = (raw_dir / "Rock").glob("*[Pp]ost*")
    image = tifffile.imread(post)
    tifffile.imwrite(post, image[::-1].copy())
    finished.set_source(raw_dir=raw_dir)
    qtbot.waitUntil(note.isVisible, timeout=LONG)
    assert "not the file that it was made from" in note.text()
    assert str(finished.output_dir) in note.text()
    assert "choose another results folder" in note.text()


def test_a_results_folder_that_cannot_be_used_is_told_before_a_run(
    session, raw_dir, qtbot
):
    panel = panel_of(session, qtbot)
    note = part(panel, QLabel, "output_note")
    assert not note.isVisible()
    inside = session.raw_dir / "processed"
    type_folder(panel, "output_dir", inside, qtbot)
    qtbot.waitUntil(note.isVisible, timeout=LONG)
    assert f"{inside}: it lies in the raw folder" in note.text()
    type_folder(panel, "output_dir", raw_dir.parent / "elsewhere", qtbot)
    assert not note.isVisible()


def test_folders_are_browsed_and_remembered(fresh, raw_dir, qtbot, monkeypatch):
    panel = panel_of(fresh, qtbot)
    monkeypatch.setattr(
        QFileDialog, "getExistingDirectory", lambda *arguments: str(raw_dir)
    )
    part(panel, QPushButton, "raw_dir_browse").click()
    qtbot.waitUntil(lambda: fresh.has_source, timeout=LONG)
    assert settings.recent("raw folder") == [str(raw_dir)]
    assert names(part(panel, QComboBox, "raw_dir_line")) == [str(raw_dir)]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *arguments: "")
    part(panel, QPushButton, "raw_dir_browse").click()
    assert fresh.raw_dir == raw_dir


def test_new_files_are_found_when_looked_again(fresh, many, qtbot):
    panel = panel_of(fresh, qtbot)
    panel.choose_raw_dir(many)
    qtbot.waitUntil(lambda: fresh.has_source, timeout=LONG)
    shutil.copytree(many / "B", many / "D")
    part(panel, QPushButton, "look_again").click()
    sample = part(panel, QComboBox, "sample")
    qtbot.waitUntil(lambda: names(sample) == ["A", "B", "D"], timeout=LONG)
    assert fresh.sample == "A"


def test_channels_are_shown_on_demand_with_the_file_that_cannot_be_read(
    fresh, many, qtbot
):
    (many / "A" / "xPost_DAPI.tif").write_bytes(b"not an image")
    panel = panel_of(fresh, qtbot)
    panel.choose_raw_dir(many)
    qtbot.waitUntil(lambda: fresh.has_source, timeout=LONG)
    panel.survey_channels()
    table = panel.findChild(QTableWidget, "survey_table")
    qtbot.waitUntil(lambda: table.rowCount() == 5, timeout=LONG)
    cells = [
        [table.item(row, column).text() for column in range(table.columnCount())]
        for row in range(5)
    ]
    by_name = {row[0]: row[1:] for row in cells}
    assert by_name["xPre_DAPI.tif"] == [
        "30 × 20",
        "uint8 grey",
        "grey",
        "7.00",
        "7",
        "100 %",
    ]
    assert by_name["xPost_DAPI.tif"][0] == "cannot be read"
    told = panel.findChild(QLabel, "survey_words").text()
    assert "xPost_DAPI.tif" in told


def test_nothing_can_be_chosen_while_a_run_writes(session, qtbot):
    panel = panel_of(session, qtbot)
    sample = part(panel, QComboBox, "sample")
    job = session.run(1, 1)
    assert not sample.isEnabled()
    with qtbot.waitSignal(job.finished, timeout=LONG):
        job.cancel()
    assert sample.isEnabled()


def test_recent_ones_have_an_end_and_survive_a_damaged_list(tmp_path):
    for number in range(12):
        settings.remember("raw folder", tmp_path / str(number))
    settings.remember("raw folder", tmp_path / "9")
    kept = settings.recent("raw folder")
    wanted = ["9", "11", "10", "8", "7", "6", "5", "4"]
    assert kept == [str(tmp_path / name) for name in wanted]
    settings.recent_file().write_text("[")
    assert settings.recent("raw folder") == []
    settings.recent_file().write_text(json.dumps({"raw folder": [3, "x"], "y": 1}))
    assert settings.recent("raw folder") == ["x"]


def test_a_simulated_section_is_shown_and_worked_on(fresh, qtbot, monkeypatch):
    from napari_exo2micro.plugin.files import sample_data

    monkeypatch.setattr(sample_data, "SHAPE", (300, 320))
    panel = panel_of(fresh, qtbot)
    part(panel, QPushButton, "try_simulated").click()
    qtbot.waitUntil(lambda: len(fresh.viewer.layers) == 3, timeout=LONG)
    assert fresh.has_source
    assert fresh.output_dir.parent == fresh.raw_dir.parent
    assert fresh.non_default_params() == {"pad": 400}
    qtbot.waitUntil(lambda: panel.overview is not None, timeout=LONG)
    assert not part(panel, QWidget, "raw_dir").isVisible()


@pytest.fixture
def slow_section(monkeypatch):
    """A simulated section that comes when the test releases it."""
    from napari_exo2micro.plugin.files import sample_data

    release, made = threading.Event(), sample_data.section_specs

    def slow():
        assert release.wait(30)
        return made()

    monkeypatch.setattr(sample_data, "SHAPE", (300, 320))
    monkeypatch.setattr(sample_data, "section_specs", slow)
    return release


def test_a_sample_chosen_meanwhile_is_worked_on_and_not_the_simulated_one(
    fresh, many, qtbot, slow_section
):
    panel = panel_of(fresh, qtbot)
    panel.choose_raw_dir(many)
    qtbot.waitUntil(lambda: fresh.has_source, timeout=LONG)
    panel.try_simulated()
    part(panel, QComboBox, "sample").setCurrentText("B")
    slow_section.set()
    qtbot.waitUntil(lambda: not fresh.jobs.is_working, timeout=LONG)
    assert (fresh.raw_dir, fresh.sample, fresh.dye) == (many, "B", "DAPI")
    assert {layer.name[0] for layer in seen(fresh.viewer)} == {"B"}
    assert part(panel, QPushButton, "try_simulated").isEnabled()


def test_a_first_pair_that_nobody_chose_does_not_stop_the_simulated_section(
    fresh, many, qtbot, slow_section, monkeypatch
):
    look, look_into = threading.Event(), raw_folder.look_into

    def slow_look(raw_dir, monitor):
        assert look.wait(30)
        return look_into(raw_dir, monitor)

    monkeypatch.setattr(raw_folder, "look_into", slow_look)
    panel = panel_of(fresh, qtbot)
    panel.choose_raw_dir(many)
    panel.try_simulated()
    look.set()
    qtbot.waitUntil(lambda: fresh.sample == "A", timeout=LONG)
    slow_section.set()
    qtbot.waitUntil(lambda: fresh.sample == "Simulated", timeout=LONG)
    qtbot.waitUntil(lambda: not fresh.jobs.is_working, timeout=LONG)
    assert len(seen(fresh.viewer)) == 3
    assert all(layer.name.startswith("Simulated") for layer in seen(fresh.viewer))


def test_two_panels_of_a_viewer_say_the_same(fresh, many, qtbot):
    first, second = panel_of(fresh, qtbot), panel_of(fresh, qtbot)
    first.choose_raw_dir(many)
    qtbot.waitUntil(lambda: fresh.has_source, timeout=LONG)
    for panel in (first, second):
        assert words(panel).text() == "2 samples, 3 pairs of images"
        assert names(part(panel, QComboBox, "sample")) == ["A", "B"]
    part(second, QComboBox, "sample").setCurrentText("B")
    assert part(first, QComboBox, "sample").currentText() == "B"


def test_a_pair_that_nobody_chose_gives_way_to_one_that_is_opened(fresh, many, qtbot):
    panel = panel_of(fresh, qtbot)
    panel.choose_raw_dir(many)
    qtbot.waitUntil(lambda: fresh.has_source, timeout=LONG)
    known = {"role": "post", "raw_dir": str(many), "sample": "B", "dye": "DAPI"}
    fresh.viewer.add_image(np.zeros((4, 4)), metadata={KEY: known})
    assert fresh.sample == "B"
    fresh.viewer.add_image(
        np.zeros((4, 4)), metadata={KEY: known | {"sample": "A", "role": "pre"}}
    )
    assert fresh.sample == "B"
    note = part(panel, QLabel, "other_note")
    assert note.text() == (
        "A / DAPI was opened; the workbench still works on B / DAPI. To work on "
        "A / DAPI, choose its raw folder, sample and dye above."
    )
    part(panel, QComboBox, "sample").setCurrentText("A")
    assert fresh.sample == "A"
    assert note.text() == ""


def test_it_begins_with_what_the_preferences_say(viewer, raw_dir, qtbot, monkeypatch):
    from napari_exo2micro.plugin.session import raw_folder

    source = {"raw_dir": raw_dir, "output_dir": raw_dir.parent / "out"}
    monkeypatch.setattr(raw_folder, "default_source", lambda: source)
    fresh = shared_session(viewer)
    panel_of(fresh, qtbot)
    qtbot.waitUntil(lambda: fresh.has_source, timeout=LONG)
    assert (fresh.raw_dir, fresh.sample) == (raw_dir, "Rock")
    assert fresh.output_dir == raw_dir.parent / "out"


def test_a_survey_that_fails_or_is_stopped_says_so(session, qtbot, tmp_path):
    session.set_source(raw_dir=tmp_path / "not there")
    window = ChannelSurveyWindow(session)
    qtbot.addWidget(window)
    words = window.findChild(QLabel, "survey_words")
    qtbot.waitUntil(lambda: "cannot be shown" in words.text(), timeout=LONG)
    assert str(tmp_path / "not there") in words.text()
    first = ChannelSurveyWindow(session)
    second = ChannelSurveyWindow(session)  # takes the place of the first one
    for one in (first, second):
        qtbot.addWidget(one)
    told = first.findChild(QLabel, "survey_words")
    qtbot.waitUntil(lambda: told.text().startswith("Stopped"), timeout=LONG)
