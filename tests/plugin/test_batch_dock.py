"""The batch dock: the table, what is asked before, the run, the stop, the end."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from qtpy.QtCore import QItemSelectionModel, QPoint, Qt
from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QDockWidget,
    QLabel,
    QLineEdit,
    QListWidget,
    QMainWindow,
    QPushButton,
    QSpinBox,
    QWidget,
)

from napari_exo2micro.core.base.locks import sample_lock
from napari_exo2micro.core.batch import executors, run_batch
from napari_exo2micro.core.parameters import save_preset, settings
from napari_exo2micro.core.simulate import simulate_section, write_pair
from napari_exo2micro.plugin.batch.dock import BatchDock
from napari_exo2micro.plugin.batch.table import PairTable
from napari_exo2micro.plugin.layers.layers import about
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.widgets.controls import MessageStrip
from napari_exo2micro.plugin.workbench.workbench import RunBar

LONG = 300_000
PAIRS = [("A", "Cy5"), ("A", "DAPI"), ("B", "Cy5"), ("B", "DAPI")]


class Handle:
    """What a person sees of the dock and does in it."""

    def __init__(self, dock, session, qtbot):
        self.dock, self.session, self.qtbot = dock, session, qtbot
        self.table = dock.findChild(PairTable, "pairs")
        self.message = dock.findChild(MessageStrip, "message_strip")

    def field(self, kind, name):
        return self.dock.findChild(kind, name)

    def button(self, name):
        return self.dock.findChild(QPushButton, name)

    def text(self, name):
        label = self.dock.findChild(QLabel, name)
        return label.text() if label.isVisibleTo(self.dock) else ""

    def press(self, name):
        button = self.button(name)
        assert button.isEnabled(), button.toolTip()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def wait(self, condition):
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=LONG)

    def choose(self, name, data):
        combo = self.field(QComboBox, name)
        combo.setCurrentIndex(combo.findData(data))
        combo.activated.emit(combo.currentIndex())

    def take_preset(self, path):
        """Take the parameters of a preset, and wait until it was read."""
        self.dock.form.load_preset(path)
        combo = self.field(QComboBox, "parameters_from")
        self.wait(lambda: combo.currentData() == str(path))

    # The table -------------------------------------------------------------------

    def cells(self, role=Qt.ItemDataRole.DisplayRole):
        model = self.table.model()
        across, down = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        return {
            (model.headerData(row, down), model.headerData(column, across)): (
                model.index(row, column).data(role)
            )
            for row in range(model.rowCount())
            for column in range(model.columnCount())
        }

    def words(self):
        return {pair: text.partition("\n")[0] for pair, text in self.cells().items()}

    def ticks(self):
        ticks = self.cells(Qt.ItemDataRole.CheckStateRole)
        return [p for p, tick in ticks.items() if tick == Qt.CheckState.Checked]

    def index(self, pair):
        rows = list(dict.fromkeys(sample for sample, _ in self.cells()))
        columns = list(dict.fromkeys(dye for _, dye in self.cells()))
        return self.table.model().index(rows.index(pair[0]), columns.index(pair[1]))

    def tick(self, pair):
        """Click the tick box of a cell."""
        place = self.table.visualRect(self.index(pair))
        where = QPoint(place.left() + 9, place.center().y())
        area = self.table.viewport()
        self.qtbot.mouseClick(area, Qt.MouseButton.LeftButton, pos=where)

    def go_to(self, pair):
        self.table.selectionModel().setCurrentIndex(
            self.index(pair), QItemSelectionModel.SelectionFlag.ClearAndSelect
        )

    def double_click(self, pair):
        place = self.table.visualRect(self.index(pair)).center()
        area = self.table.viewport()
        self.qtbot.mouseClick(area, Qt.MouseButton.LeftButton, pos=place)
        self.qtbot.mouseDClick(area, Qt.MouseButton.LeftButton, pos=place)

    # A batch ---------------------------------------------------------------------

    @property
    def is_running(self):
        return self.button("abort").isEnabled()

    def begin(self):
        self.press("run_batch")
        self.wait(lambda: self.asks or self.session.jobs.is_busy or self.message.text)

    def finish(self):
        self.wait(lambda: self.text("outcome_words"))
        self.wait(lambda: not self.session.jobs.is_working)

    @property
    def asks(self):
        return self.text("question_words")

    @property
    def problems(self):
        found = self.dock.findChild(QListWidget, "problems")
        return [found.item(row).text() for row in range(found.count())]


def write_files(raw: Path, sample: str, dye: str, *sides: str) -> None:
    folder = raw / sample
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    for side in sides or ("PreStain", "PostStain"):
        pixels = random.integers(1, 200, (40, 48), np.uint8)
        tifffile.imwrite(folder / f"{sample}_{side}_{dye}.tif", pixels)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two samples with two dyes each; padding them takes a moment."""
    for sample, dye in PAIRS:
        write_files(tmp_path / "raw", sample, dye)
    return tmp_path / "raw"


@pytest.fixture
def open_dock(viewer, qtbot, tmp_path):
    """Open the dock on a raw folder and wait until it has looked at everything."""

    def make(raw_dir: Path, output_dir: Path = tmp_path / "out") -> Handle:
        session = shared_session(viewer)
        session.set_params(pad=8)
        session.set_source(raw_dir=raw_dir, output_dir=output_dir)
        session.set_source(checkpoint_format="tiff")
        dock = BatchDock(viewer)
        window = QMainWindow()  # a dock that is closed ends, and the window stays
        qtbot.addWidget(window)
        window.setCentralWidget(dock)
        window.resize(450, 900)
        window.show()
        handle = Handle(dock, session, qtbot)
        handle.window = window  # held by nobody else
        handle.wait(lambda: handle.cells() and "…" not in handle.words().values())
        return handle

    return make


@pytest.fixture
def quick(open_dock, raw) -> Handle:
    """A dock that runs stage 1 of four small pairs, one after the other."""
    handle = open_dock(raw)
    handle.choose("to_stage", 1)
    handle.choose("executor", "serial")
    handle.wait(lambda: handle.text("needs"))
    return handle


@pytest.fixture
def held(monkeypatch):
    """Let one pair, B / Cy5, wait in its run until it is let go or stopped."""
    release, began = threading.Event(), threading.Event()
    run_task = executors.run_task

    def waiting(task, on_event=None, should_stop=None):
        if (task.sample, task.dye) == ("B", "Cy5"):
            began.set()
            while not (release.wait(0.02) or should_stop()):
                pass
        return run_task(task, on_event, should_stop)

    monkeypatch.setattr(executors, "run_task", waiting)
    yield began, release
    release.set()


def files(folder: Path) -> dict:
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


# The table -----------------------------------------------------------------------


def test_pairs_are_chosen_by_cell_by_sample_by_dye_and_all_at_once(quick):
    assert quick.ticks() == PAIRS
    assert set(quick.words().values()) == {"not run"}
    quick.tick(("A", "DAPI"))
    assert quick.ticks() == [("A", "Cy5"), ("B", "Cy5"), ("B", "DAPI")]
    assert quick.button("run_batch").text() == "Run 3 pairs"
    quick.table.verticalHeader().sectionClicked.emit(0)  # some of A: now all of it
    assert quick.ticks() == PAIRS
    quick.table.verticalHeader().sectionClicked.emit(0)
    assert quick.ticks() == [("B", "Cy5"), ("B", "DAPI")]
    quick.table.horizontalHeader().sectionClicked.emit(1)
    assert quick.ticks() == [("A", "DAPI"), ("B", "Cy5"), ("B", "DAPI")]
    quick.press("choose_none")
    assert quick.ticks() == []
    assert not quick.button("run_batch").isEnabled()
    assert "No pair is chosen" in quick.text("chosen_words")
    quick.press("choose_all")
    assert quick.ticks() == PAIRS


def test_a_dye_that_a_sample_does_not_have_cannot_be_chosen(open_dock, raw):
    shutil.rmtree(raw / "B")
    write_files(raw, "B", "SybrGld")
    handle = open_dock(raw)
    assert handle.words()["B", "DAPI"] == "–"
    assert ("B", "DAPI") not in handle.ticks()
    handle.tick(("B", "DAPI"))
    assert handle.ticks() == [("A", "Cy5"), ("A", "DAPI"), ("B", "SybrGld")]


def test_what_is_on_disk_is_shown_before_the_run(quick, raw, tmp_path):
    settings = {
        "params": {"pad": 8},
        "raw_dir": raw,
        "output_dir": tmp_path / "out",
        "checkpoint_format": "tiff",
    }
    run_batch(["A"], ["DAPI", "Cy5"], to_stage=1, **settings)
    for path in raw.glob("A/*_Cy5.tif"):
        tifffile.imwrite(path, np.full((40, 48), 7, np.uint8))
    with sample_lock(tmp_path / "out", "B", "DAPI"):
        quick.press("look_again")
        quick.wait(lambda: quick.words()["B", "DAPI"] == "busy")
        quick.wait(lambda: quick.cells()["A", "DAPI"] == "done\nearlier")
        assert quick.words()["A", "Cy5"] == "stale"
        quick.go_to(("A", "Cy5"))
        assert "A / Cy5: stale. Will be made again: " in quick.text("cell_words")
        quick.go_to(("B", "DAPI"))
        assert "this program (process " in quick.text("cell_words")
    quick.press("choose_undone")
    assert quick.ticks() == [("A", "Cy5"), ("B", "Cy5"), ("B", "DAPI")]
    # Other parameters are other results.
    quick.session.set_params(pad=9)
    quick.wait(lambda: quick.words()["A", "DAPI"] == "not run")


def test_with_force_what_is_done_is_told_to_run_again(quick, raw, tmp_path):
    quick.begin()
    quick.finish()
    quick.field(QCheckBox, "force").setChecked(True)
    quick.wait(lambda: quick.cells()["A", "DAPI"] == "done\nruns again")


# What is asked for ---------------------------------------------------------------


def test_the_parameters_are_listed_those_of_the_workbench_or_of_a_preset(
    quick, tmp_path
):
    assert quick.text("about_parameters") == "Changed: empty margin 8."
    quick.session.set_params(boundary_width=20)
    assert "empty margin 8; " in quick.text("about_parameters")
    path = save_preset(tmp_path / "narrow.json", {"pad": 12})
    quick.take_preset(path)
    assert quick.text("about_parameters") == "Changed: empty margin 12."
    assert quick.field(QComboBox, "parameters_from").currentText() == "preset narrow"
    quick.begin()
    quick.finish()
    for path in (tmp_path / "out").rglob("*.tiff"):
        assert "_p12" in path.name or "12" in path.stem
    path.write_text("{", encoding="utf-8")
    quick.dock.form.load_preset(path)
    quick.wait(lambda: str(path) in quick.message.text)
    assert quick.text("about_parameters") == "Changed: empty margin 12."
    quick.choose("parameters_from", "")
    assert "empty margin 8; " in quick.text("about_parameters")


def test_a_preset_on_a_slow_drive_is_waited_for(quick, tmp_path, monkeypatch):
    release, real = threading.Event(), settings.load_preset

    def slow(path):
        assert release.wait(LONG / 1000)
        return real(path)

    monkeypatch.setattr(settings, "load_preset", slow)
    path = save_preset(tmp_path / "narrow.json", {"pad": 12})
    quick.dock.form.load_preset(path)
    assert not quick.button("run_batch").isEnabled()
    assert "The preset is being read" in quick.text("chosen_words")
    quick.choose("parameters_from", "")  # those of the workbench, after all
    assert quick.button("run_batch").isEnabled()
    quick.dock.form.load_preset(path)
    release.set()
    quick.wait(quick.button("run_batch").isEnabled)
    assert quick.text("about_parameters") == "Changed: empty margin 12."


def test_a_last_stage_before_the_first_takes_it_along(quick):
    first, last = (quick.field(QComboBox, n) for n in ("from_stage", "to_stage"))
    quick.choose("from_stage", 3)
    assert (first.currentData(), last.currentData()) == (3, 3)
    quick.choose("to_stage", 2)
    assert (first.currentData(), last.currentData()) == (2, 2)


def test_a_cluster_needs_an_address(quick):
    quick.choose("executor", "dask")
    assert not quick.button("run_batch").isEnabled()
    assert "address of the cluster's scheduler" in quick.text("chosen_words")
    quick.field(QLineEdit, "scheduler").setText("tcp://127.0.0.1:8786")
    assert quick.button("run_batch").isEnabled()
    assert not quick.field(QSpinBox, "workers").isVisible()


def test_the_batch_is_copied_as_text(quick, raw, tmp_path):
    quick.tick(("B", "DAPI"))
    quick.dock.findChild(QAction, "copy_command").trigger()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"exo2micro batch {raw} {tmp_path / 'out'} --sample A")
    assert "--to-stage 1 --executor serial --pad 8" in lines[0]
    assert "--lenient" not in lines[0]
    quick.dock.findChild(QAction, "copy_python").trigger()
    text = QGuiApplication.clipboard().text()
    assert "e2m.run_batch(" in text
    assert '("B", "Cy5"),' in text
    assert '("B", "DAPI"),' not in text
    assert "3 pairs" in quick.message.text


# Before the start ----------------------------------------------------------------


def test_pairs_without_files_are_told_and_the_rest_can_be_run(open_dock, raw):
    (raw / "A" / "A_PreStain_DAPI.tif").unlink()
    handle = open_dock(raw)
    handle.choose("to_stage", 1)
    handle.choose("executor", "serial")
    assert handle.cells()["A", "DAPI"].startswith("no files\nno pre-stain file")
    assert ("A", "DAPI") in handle.ticks()
    handle.begin()
    assert handle.asks.startswith("1 of 4 pairs cannot run:\nA / DAPI: ")
    assert "no pre-stain file for dye 'DAPI'" in handle.asks
    handle.press("question_no")
    assert not handle.asks
    assert not handle.session.output_dir.exists()
    handle.begin()
    assert handle.button("question_yes").text() == "Run the rest (3 pairs)"
    handle.press("question_yes")
    handle.finish()
    assert handle.words() == {
        ("A", "Cy5"): "done",
        ("A", "DAPI"): "no files",
        ("B", "Cy5"): "done",
        ("B", "DAPI"): "done",
    }
    assert "4 pairs: 3 done, 1 no files" in handle.text("outcome_words")
    assert len(handle.problems) == 1
    assert handle.problems[0].startswith("A / DAPI: no files: ")


def test_too_little_memory_is_told_with_numbers_and_can_be_overruled(
    quick, monkeypatch
):
    monkeypatch.setattr(
        "napari_exo2micro.core.base.machine.free_memory", lambda: 400_000_000
    )
    quick.begin()
    assert quick.asks.startswith("Too little room: 150 MB of memory needed, ")
    assert "100 MB free" in quick.asks
    assert not quick.session.output_dir.exists()
    quick.press("question_yes")
    quick.finish()
    assert set(quick.words().values()) == {"done"}


def test_what_cannot_be_run_at_all_is_told(quick, raw):
    shutil.rmtree(raw / "A")
    shutil.rmtree(raw / "B")
    quick.begin()
    assert "raw" in quick.message.text
    assert not quick.session.jobs.is_busy


def test_results_never_go_into_the_raw_folder(quick, raw, tmp_path):
    before = sorted(raw.rglob("*"))
    quick.session.set_source(output_dir=raw)
    quick.wait(lambda: "it is the raw folder" in quick.text("chosen_words"))
    assert not quick.button("run_batch").isEnabled()
    quick.take_preset(save_preset(tmp_path / "p.json", {"pad": 12}))
    assert not quick.button("run_batch").isEnabled()
    quick.wait(lambda: not quick.session.jobs.is_working)
    assert not quick.message.text  # it is told once
    quick.session.set_source(output_dir=tmp_path / "out")
    quick.wait(quick.button("run_batch").isEnabled)
    # What nobody knows yet when the button is pressed stops the batch all the same.
    quick.session.set_source(output_dir=raw / "new")
    quick.dock.run()
    quick.wait(lambda: not quick.session.jobs.is_working)
    assert sorted(raw.rglob("*")) == before


def test_a_question_goes_when_something_else_would_be_run(open_dock, raw, tmp_path):
    (raw / "A" / "A_PreStain_DAPI.tif").unlink()
    handle = open_dock(raw)
    handle.choose("to_stage", 1)
    handle.choose("executor", "serial")
    changes = (
        lambda: handle.session.set_params(pad=9),
        lambda: handle.session.set_source(output_dir=tmp_path / "other"),
        lambda: handle.tick(("B", "Cy5")),
        lambda: handle.field(QCheckBox, "force").setChecked(True),
    )
    for change in changes:
        handle.begin()
        assert handle.asks
        handle.wait(lambda: not handle.session.jobs.is_working)
        change()
        assert not handle.asks
        handle.wait(handle.button("run_batch").isEnabled)
    # Another pair in the workbench changes nothing that the batch would do.
    handle.begin()
    handle.session.set_source(sample="B", dye="DAPI")
    assert handle.asks
    handle.wait(lambda: not handle.session.jobs.is_working)
    handle.press("question_yes")
    handle.finish()
    assert not (tmp_path / "out").exists()
    other = tmp_path / "other"
    made = {path.relative_to(other).parts[:2] for path in other.rglob("*.tif*")}
    assert made == {("A", "Cy5"), ("B", "DAPI")}


@pytest.fixture
def slow_check(monkeypatch):
    """Let the check of a batch wait until it is let go."""
    from napari_exo2micro.plugin.batch import run

    release, real = threading.Event(), run.check_request

    def check(request, monitor):
        release.wait(60)
        return real(request, monitor)

    monkeypatch.setattr(run, "check_request", check)
    yield release
    release.set()


def test_a_folder_chosen_during_the_check_is_shown_and_nothing_is_run(
    quick, tmp_path, slow_check
):
    write_files(tmp_path / "raw3", "Z", "FITC")
    quick.press("run_batch")
    quick.session.set_source(raw_dir=tmp_path / "raw3")
    assert "press Run again" in quick.message.text
    quick.qtbot.wait(300)  # the folder is looked at while the check still goes on
    slow_check.set()
    quick.wait(lambda: quick.words() == {("Z", "FITC"): "not run"})
    quick.wait(lambda: not quick.session.jobs.is_working)
    assert quick.ticks() == [("Z", "FITC")]
    assert quick.button("run_batch").isEnabled()
    assert not (tmp_path / "out").exists()


def test_layers_of_the_open_pair_follow_a_batch(quick, raw, viewer):
    quick.begin()
    quick.finish()
    quick.double_click(("A", "DAPI"))
    quick.wait(lambda: viewer.layers)
    quick.wait(lambda: not quick.session.jobs.is_working)

    def brightest():
        data = [one.data for one in viewer.layers if about(one).get("stage") == 1]
        first = [one[0] if isinstance(one, list) else one for one in data]
        return {int(np.asarray(one).max()) for one in first}

    assert 250 not in brightest()
    for path in raw.glob("A/*_DAPI.tif"):
        tifffile.imwrite(path, np.full((40, 48), 250, np.uint8))
    quick.press("look_again")
    quick.wait(lambda: quick.words()["A", "DAPI"] == "stale")
    quick.begin()
    quick.finish()
    quick.wait(lambda: 250 in brightest())


def test_the_outcome_of_other_folders_is_not_shown(quick, tmp_path):
    quick.begin()
    quick.finish()
    quick.double_click(("A", "DAPI"))  # another pair of the same folders
    assert quick.text("outcome_words")
    quick.session.set_source(output_dir=tmp_path / "other")
    assert not quick.text("outcome_words")


def test_a_pair_that_cannot_be_read_is_told_to_fail(quick, raw):
    path = raw / "B" / "B_PostStain_DAPI.tif"
    path.write_bytes(path.read_bytes()[:60])
    quick.tick(("A", "Cy5"))
    quick.wait(lambda: "B / DAPI will fail: " in quick.text("needs"))
    assert str(path) in quick.text("needs")


def test_a_run_of_the_workbench_that_broke_is_looked_at(quick, tmp_path):
    quick.begin()
    quick.finish()
    session = quick.session
    session.set_source(sample="A", dye="DAPI")

    def breaks(monitor):
        for path in (tmp_path / "out" / "A" / "DAPI").rglob("*"):
            if path.is_file():
                path.unlink()
        raise ValueError("broken")

    session.jobs.start(breaks, title="run", exclusive=True, on_error=lambda _: None)
    quick.wait(lambda: quick.words()["A", "DAPI"] == "not run")
    assert quick.words()["A", "Cy5"] == "done"


def test_in_a_low_dock_question_buttons_and_bar_stay_in_sight(open_dock, raw, held):
    (raw / "A" / "A_PreStain_DAPI.tif").unlink()
    handle = open_dock(raw)
    handle.choose("to_stage", 1)
    handle.choose("executor", "serial")
    handle.window.resize(400, 330)

    def in_sight(name):
        widget = handle.field(QWidget, name)
        return widget.visibleRegion().boundingRect().height() == widget.height() > 0

    handle.begin()
    QApplication.processEvents()
    assert all(map(in_sight, ("question_yes", "run_batch", "abort")))
    handle.press("question_yes")
    handle.wait(held[0].is_set)
    QApplication.processEvents()
    assert all(map(in_sight, ("abort", "progress", "progress_text")))


def test_a_slow_results_folder_is_looked_at_by_no_thread_of_the_window(
    quick, tmp_path, monkeypatch
):
    from napari_exo2micro.core.base import files

    where = []
    real = files.output_problem

    def looked(*args):
        where.append(threading.current_thread() is threading.main_thread())
        return real(*args)

    monkeypatch.setattr(files, "output_problem", looked)
    quick.take_preset(save_preset(tmp_path / "p.json", {"pad": 12}))
    quick.press("choose_none")
    quick.press("choose_all")
    quick.begin()
    quick.finish()
    assert where
    assert not any(where)


# A batch -------------------------------------------------------------------------


def test_a_batch_by_buttons_leaves_the_files_of_the_core(
    open_dock, viewer, tmp_path, monkeypatch, qtbot
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    raw = tmp_path / "sections"
    section = simulate_section((420, 460), seed=5, angle_deg=3.0, shift=(6.0, -4.0))
    write_pair(section, raw, "A", "DAPI")
    write_files(raw, "B", "DAPI")
    damaged = raw / "B" / "B_PostStain_DAPI.tif"
    damaged.write_bytes(damaged.read_bytes()[:60])
    write_files(raw, "B", "Cy5", "PostStain")
    handle = open_dock(raw)
    bar = RunBar(handle.session, parent=handle.window)
    seen = []
    handle.table.model().dataChanged.connect(lambda *_: seen.append(handle.cells()))
    handle.begin()
    handle.press("question_yes")
    handle.finish()
    assert handle.words() == {
        ("A", "Cy5"): "–",
        ("A", "DAPI"): "done",
        ("B", "Cy5"): "no files",
        ("B", "DAPI"): "failed",
    }
    running = {text for cells in seen for text in cells.values() if "running" in text}
    assert any("\n2 boundary alignment" in text for text in running)
    assert not handle.message.text
    outcome = handle.text("outcome_words")
    assert "3 pairs: 1 done, 1 no files, 1 failed; " in outcome
    assert [text.partition(": ")[0] for text in handle.problems] == [
        "B / DAPI",
        "B / Cy5",
    ]
    # The run bar of other docks does not call it done.
    words = bar.findChild(QLabel, "progress_text").text()
    assert words == "The batch has ended, 3 pairs: 1 done, 1 no files, 1 failed."
    assert str(tmp_path) not in handle.cells()["B", "DAPI"]
    handle.go_to(("B", "DAPI"))
    assert str(damaged) in handle.text("cell_words")
    assert not handle.button("open_result").isVisible()
    alone = run_batch(
        raw_dir=raw,
        output_dir=tmp_path / "core",
        params={"pad": 8},
        strict_dyes=False,
        checkpoint_format="tiff",
    )
    assert [one["status"].partition(":")[0] for one in alone].count("complete") == 1
    made, wanted = files(tmp_path / "out"), files(tmp_path / "core")
    assert list(made) == list(wanted)
    assert [path for path in wanted if made[path] != wanted[path]] == []
    # A result is opened, and is what the workbench works on.
    assert not viewer.layers
    handle.double_click(("A", "DAPI"))
    handle.wait(lambda: any(about(one).get("stage") == 4 for one in viewer.layers))
    assert {about(layer)["dye"] for layer in viewer.layers} == {"DAPI"}
    assert (handle.session.sample, handle.session.dye) == ("A", "DAPI")
    # The table stays as it was: only what is looked at has changed.
    handle.wait(lambda: not handle.session.jobs.is_working)
    assert handle.words()["B", "DAPI"] == "failed"


def test_what_has_no_result_is_not_opened(quick, viewer):
    before = (quick.session.sample, quick.session.dye)
    quick.double_click(("B", "DAPI"))
    assert "B / DAPI has no results to open yet" in quick.message.text
    assert (quick.session.sample, quick.session.dye) == before
    assert not viewer.layers


def test_results_of_a_preset_are_opened_with_its_parameters(quick, tmp_path, viewer):
    quick.take_preset(save_preset(tmp_path / "p.json", {"pad": 12}))
    quick.begin()
    quick.finish()
    quick.double_click(("B", "DAPI"))
    quick.wait(lambda: viewer.layers)
    assert quick.session.params["pad"] == 12
    assert about(viewer.layers[0])["parameters"]["pad"] == 12
    # The workbench's own settings are not lost.
    assert "settings now: empty margin 12 in place of 8." in quick.message.text
    quick.press("settings_back")
    assert quick.session.params["pad"] == 8
    assert not quick.button("settings_back").isVisible()
    quick.double_click(("B", "DAPI"))
    assert quick.button("settings_back").isVisible()
    quick.session.set_params(pad=20)  # what is set since is kept
    assert not quick.button("settings_back").isVisible()


def test_a_shared_registration_is_asked_for_by_the_dye(quick):
    quick.press("choose_none")
    quick.tick(("A", "Cy5"))
    quick.choose("register_on", "DAPI")
    quick.begin()
    quick.finish()
    # DAPI was not chosen; it runs for its transform.
    words = quick.words()
    assert (words["A", "Cy5"], words["A", "DAPI"]) == ("done", "done")
    assert words["B", "DAPI"] == "not run"


def test_abort_leaves_what_is_finished_alone(quick, held, tmp_path):
    began, _ = held
    quick.begin()
    quick.wait(began.is_set)
    quick.wait(lambda: quick.words()["A", "DAPI"] == "done")
    kept = files(tmp_path / "out")
    assert kept
    assert quick.ticks() == []  # nothing can be chosen while it runs
    assert not quick.button("run_batch").isEnabled()
    assert quick.words()["B", "DAPI"] == "queued"
    assert "the time left is" in quick.text("progress_text") or (
        " left" in quick.text("progress_text")
    )
    quick.press("abort")
    assert "stopping" in quick.text("progress_text")
    assert not quick.button("abort").isEnabled()
    quick.finish()
    assert quick.words() == {
        ("A", "Cy5"): "done",
        ("A", "DAPI"): "done",
        ("B", "Cy5"): "stopped",
        ("B", "DAPI"): "stopped",
    }
    outcome = quick.text("outcome_words")
    assert outcome.startswith("Stopped. 2 of 4 pairs are finished and kept")
    assert quick.problems == []
    assert files(tmp_path / "out") == kept
    quick.press("choose_undone")
    assert quick.ticks() == [("B", "Cy5"), ("B", "DAPI")]
    held[1].set()
    quick.begin()
    quick.finish()
    assert "2 pairs: 2 done" in quick.text("outcome_words")


def test_a_batch_and_a_run_of_the_workbench_exclude_each_other(quick, held):
    began, _ = held
    session = quick.session
    quick.begin()
    quick.wait(began.is_set)
    with pytest.raises(RuntimeError, match="batch of 4 pairs"):
        session.run(1, 1)
    quick.session.jobs.exclusive.cancel()  # as the workbench's Abort does
    quick.finish()
    assert quick.text("outcome_words").startswith("Stopped. ")
    stop = threading.Event()
    session.jobs.start(lambda monitor: stop.wait(60), title="comparing", exclusive=True)
    assert not quick.button("run_batch").isEnabled()
    assert "'comparing' runs" in quick.button("run_batch").toolTip()
    stop.set()
    quick.wait(quick.button("run_batch").isEnabled)


def test_a_pair_that_another_run_holds_says_who_does(quick, tmp_path):
    with sample_lock(tmp_path / "out", "A", "DAPI"):
        quick.begin()
        quick.wait(lambda: quick.words()["A", "DAPI"] == "waiting")
        quick.go_to(("A", "DAPI"))
        assert "waiting for this program (process " in quick.text("cell_words")
        quick.press("abort")
        quick.finish()
    assert quick.words()["A", "DAPI"] == "stopped"


def test_the_form_rests_while_a_batch_runs_and_hiding_does_not_stop_it(quick, held):
    began, release = held
    quick.begin()
    quick.wait(began.is_set)
    quick.dock.hide()
    assert not quick.field(QWidget, "batch_form").isEnabled()
    assert not quick.field(QWidget, "output_dir").isEnabled()
    release.set()
    quick.wait(lambda: not quick.session.jobs.is_working)
    quick.dock.show()
    assert set(quick.words().values()) == {"done"}
    assert quick.field(QWidget, "batch_form").isEnabled()


# The end -------------------------------------------------------------------------


def test_closing_the_dock_stops_the_batch(quick, held, qtbot):
    began, _ = held
    window = QMainWindow()
    qtbot.addWidget(window)
    place = QDockWidget(window)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, place)
    place.setWidget(quick.dock)
    window.show()
    quick.begin()
    quick.wait(began.is_set)
    assert quick.session.jobs.is_busy
    quick.dock.setParent(None)  # as napari does when a dock is closed
    quick.wait(lambda: not quick.session.jobs.is_busy)


@pytest.fixture
def stubborn(monkeypatch):
    """Let one pair, B / Cy5, go on until it is let go, whoever asks it to stop."""
    release, began = threading.Event(), threading.Event()
    run_task = executors.run_task

    def waiting(task, on_event=None, should_stop=None):
        if (task.sample, task.dye) == ("B", "Cy5"):
            began.set()
            release.wait(60)
        return run_task(task, on_event, should_stop)

    monkeypatch.setattr(executors, "run_task", waiting)
    yield began, release
    release.set()


def test_a_batch_that_ends_when_its_panel_was_closed_is_shown_by_the_next_one(
    quick, open_dock, raw, stubborn
):
    began, release = stubborn
    quick.begin()
    quick.wait(began.is_set)
    quick.window.takeCentralWidget()  # as napari takes a widget out of a closed dock
    quick.wait(lambda: quick.session.jobs.exclusive.is_cancelled)
    again = open_dock(raw)
    assert "still ending" in again.message.text
    assert not again.button("run_batch").isEnabled()
    assert "being stopped" in again.button("run_batch").toolTip()
    assert not again.button("abort").isEnabled()
    assert "stopping" in again.text("progress_text")
    assert again.words()["A", "DAPI"] == "done"
    release.set()
    again.finish()
    assert again.words() == {
        ("A", "Cy5"): "done",
        ("A", "DAPI"): "done",
        ("B", "Cy5"): "stopped",
        ("B", "DAPI"): "stopped",
    }
    assert "2 of 4 pairs are finished and kept" in again.text("outcome_words")
    assert not again.message.text
    assert not again.text("progress_text")
    # It is a panel as any other one.
    again.choose("to_stage", 1)
    again.choose("executor", "serial")
    again.begin()
    again.wait(lambda: set(again.words().values()) == {"done"})


def test_a_batch_of_other_folders_is_not_shown_in_the_table(
    quick, open_dock, raw, stubborn, tmp_path
):
    began, release = stubborn
    quick.begin()
    quick.wait(began.is_set)
    quick.window.takeCentralWidget()
    shutil.copytree(raw, tmp_path / "other raw")
    again = open_dock(tmp_path / "other raw", tmp_path / "other out")
    assert not again.button("run_batch").isEnabled()
    assert "being stopped" in again.button("run_batch").toolTip()
    release.set()
    again.wait(again.button("run_batch").isEnabled)
    again.wait(lambda: not again.session.jobs.is_working)
    assert set(again.words().values()) == {"not run"}
    assert not again.text("outcome_words")


def test_a_check_that_ends_when_its_panel_was_closed_runs_nothing(
    quick, viewer, slow_check, tmp_path
):
    quick.press("run_batch")
    quick.window.takeCentralWidget()
    dock = BatchDock(viewer)
    quick.window.setCentralWidget(dock)
    again = Handle(dock, quick.session, quick.qtbot)
    assert "still ending" in again.message.text
    assert not again.button("run_batch").isEnabled()
    slow_check.set()
    again.wait(again.button("run_batch").isEnabled)
    assert not again.message.text
    assert not again.asks
    again.wait(lambda: set(again.words().values()) == {"not run"})
    assert not (tmp_path / "out").exists()


@pytest.mark.display
def test_closing_the_window_ends_the_worker_processes(
    make_napari_viewer_proxy, qtbot, tmp_path
):
    raw = tmp_path / "raw"
    section = simulate_section((420, 460), seed=5)
    for sample in "AB":
        write_pair(section, raw, sample, "DAPI")
    viewer = make_napari_viewer_proxy(show=True).__wrapped__
    session = shared_session(viewer)
    session.set_source(raw_dir=raw, output_dir=tmp_path / "out")
    _, dock = viewer.window.add_plugin_dock_widget(
        "napari-exo2micro", "Batch of samples and dyes"
    )
    handle = Handle(dock, session, qtbot)
    handle.wait(lambda: handle.button("run_batch").isEnabled())
    handle.press("run_batch")
    handle.wait(lambda: any("\n2 " in text for text in handle.cells().values()))
    workers = busy_children()
    assert workers
    viewer.window.close()
    QApplication.processEvents()
    qtbot.waitUntil(lambda: not any(map(is_ours, threading.enumerate())), timeout=LONG)
    assert not psutil.wait_procs(workers, timeout=LONG / 1000)[1]
    assert not list((tmp_path / "out").rglob("*.part"))


def busy_children() -> list[psutil.Process]:
    """Return the workers: not the display, nor what tracks their resources."""
    children = psutil.Process().children(recursive=True)
    lines = [(child, str(child.cmdline())) for child in children]
    others = ("Xvfb", "resource_tracker")
    return [child for child, line in lines if not any(name in line for name in others)]


def is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("exo2micro")
