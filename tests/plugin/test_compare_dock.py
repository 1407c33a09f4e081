"""The compare dock: what is typed, the runs, the table, pictures side by side."""

import contextlib
import csv
import shutil
import threading
from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDockWidget,
    QLabel,
    QLineEdit,
    QMainWindow,
    QPushButton,
)

from napari_exo2micro.core.base import CancelledError, OutputError
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, State, Verdict
from napari_exo2micro.core.pipeline import RunResult, SampleDye
from napari_exo2micro.core.store import StoredScale
from napari_exo2micro.plugin.compare.dock import (
    CompareDock,
    CompareResults,
    CompareTable,
)
from napari_exo2micro.plugin.inspection.dock import InspectionDock
from napari_exo2micro.plugin.layers.layers import about, find_layers, grid
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.session.session import TaskSource
from napari_exo2micro.plugin.widgets.controls import MessageStrip

pytestmark = pytest.mark.usefixtures("plain_pictures")

LONG = 300_000


class Handle:
    """What a person sees of the dock and does in it."""

    def __init__(self, dock, qtbot):
        self.dock, self.qtbot = dock, qtbot
        self.parameter = dock.findChild(QComboBox, "parameter")
        self.last = dock.findChild(QComboBox, "last_stage")
        self.picture = dock.findChild(QComboBox, "picture")
        self.values = dock.findChild(QLineEdit, "values")
        self.keep = dock.findChild(QCheckBox, "keep_files")
        self.table = dock.findChild(CompareTable, "comparison")
        self.message = dock.findChild(MessageStrip, "message_strip")

    def text(self, name):
        return self.dock.findChild(QLabel, name).text()

    def button(self, name):
        return self.dock.findChild(QPushButton, name)

    def press(self, name):
        button = self.button(name)
        assert button.isEnabled(), button.toolTip()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def wait(self, condition):
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=LONG)

    def choose(self, name, values):
        self.parameter.setCurrentIndex(self.parameter.findData(name))
        self.values.setText(values)

    def run(self):
        self.press("run_comparison")
        self.wait(lambda: not self.button("abort").isEnabled())

    def column(self, number):
        items = [self.table.item(row, number) for row in range(self.table.rowCount())]
        return [item.text() for item in items]

    def double_click(self, row):
        place = self.table.visualItemRect(self.table.item(row, 0)).center()
        area = self.table.viewport()
        self.qtbot.mouseClick(area, Qt.MouseButton.LeftButton, pos=place)
        self.qtbot.mouseDClick(area, Qt.MouseButton.LeftButton, pos=place)


@pytest.fixture
def open_dock(viewer, qtbot):
    docks = []

    def make():
        dock = CompareDock(viewer)
        docks.append(dock)
        dock.resize(560, 900)
        dock.show()
        return Handle(dock, qtbot)

    yield make
    for dock in docks:
        with contextlib.suppress(RuntimeError):  # it ended with the dock it was in
            dock.close()
            dock.deleteLater()


def result(value, **more):
    """What a run returns, as far as the table needs it."""
    fields = {
        "state": State.DONE,
        "verdicts": {3: Verdict("ok", numbers={"accuracy_px": 0.05})},
        "scales": {"moffat": StoredScale("moffat", 1.31, 0.002, is_main=True)},
        "seconds": 2.5,
        "compared": "boundary_width",
        "value": value,
    }
    return RunResult("Rock", "DAPI", **(fields | more))


@pytest.fixture
def told(monkeypatch):
    """Let comparisons end at once, with the results that a test puts in here."""
    results = {}

    def compare(self, name, values, *, on_result, **_):
        for value in values:
            on_result(results.get(value) or result(value))

    monkeypatch.setattr(SampleDye, "compare", compare)
    return results


# What is asked for ---------------------------------------------------------------


def test_without_a_sample_it_says_what_to_do_first(open_dock):
    dock = open_dock()
    assert not dock.button("run_comparison").isEnabled()
    assert "Choose the raw folder, the sample and the dye" in dock.text("progress_text")
    for name in ("show_side_by_side", "use_value", "save_table", "abort"):
        assert not dock.button(name).isEnabled()


def test_every_parameter_stands_under_its_stage_with_values_to_start_from(
    session, open_dock
):
    dock = open_dock()
    names = [dock.parameter.itemData(row) for row in range(dock.parameter.count())]
    assert {name for name in names if name} == set(PARAMETER_REGISTRY)
    headings = [
        dock.parameter.itemText(row) for row, name in enumerate(names) if not name
    ]
    assert headings[1] == "Stage 2: boundary alignment"
    for row, name in enumerate(names):
        if name:
            dock.parameter.setCurrentIndex(row)
            entry = PARAMETER_REGISTRY[name]
            assert entry.description in dock.text("about_parameter")
            assert dock.button("run_comparison").isEnabled(), name
            assert int(dock.last.itemData(0)) >= entry.stage


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("10, abc", "'abc' cannot be taken: type a whole number from 1 to 200"),
        ("10, 1000", "'1000' cannot be taken"),
        ("", "at least two values"),
        ("12", "at least two values, one is typed"),
    ],
)
def test_what_cannot_be_taken_is_said_while_it_is_typed(
    session, open_dock, values, said
):
    dock = open_dock()
    dock.choose("boundary_width", values)
    assert said.lower() in dock.text("values_state").lower()
    assert not dock.button("run_comparison").isEnabled()
    assert said.lower() in dock.button("run_comparison").toolTip().lower()
    dock.values.setText("10, 20, 30")
    assert dock.text("values_state") == "3 runs, one for each value."
    assert dock.button("run_comparison").isEnabled()


def test_values_must_go_with_the_other_parameters(session, open_dock):
    dock = open_dock()
    dock.choose("scale_min", "0.9, 1")
    assert dock.button("run_comparison").isEnabled()
    session.set_params(scale_max=0.95)
    assert "scale_max" in dock.text("values_state")
    assert not dock.button("run_comparison").isEnabled()


def test_suggestions_lie_around_the_present_value(session, open_dock):
    session.set_params(boundary_width=30)
    dock = open_dock()
    dock.choose("boundary_smooth", "")
    dock.parameter.setCurrentIndex(dock.parameter.findData("boundary_width"))
    assert dock.values.text() == "20, 30, 40"
    assert "at present it is 30" in dock.text("about_parameter")


# Running ---------------------------------------------------------------------------


def test_a_comparison_runs_and_shows_its_numbers(finished, open_dock, viewer):
    dock = open_dock()
    dock.choose("scale_percentile", "40, 60")
    dock.run()
    assert dock.message.text == ""
    assert dock.column(0) == ["40", "60"]
    assert dock.column(1) == ["complete", "complete"]
    assert all(words.endswith(" px") for words in dock.column(2))
    low, high = (float(words.split(" ± ")[0]) for words in dock.column(3))
    assert low < high
    assert all(words.endswith(" s") for words in dock.column(4))
    assert list((finished.output_dir / "Rock" / "DAPI").rglob("*_sp60*"))
    assert finished.params["scale_percentile"] is None
    assert dock.button("run_comparison").isEnabled()


def test_rows_tell_why_a_run_is_not_complete(session, open_dock, told):
    reason = "stage 3: few features agree"
    told[15] = result(15, state=State.DEGRADED, reason=reason)
    reason = "no room on the disk"
    told[20] = result(20, state=State.FAILED, reason=reason, verdicts={}, scales={})
    session.set_params(boundary_width=20)
    dock = open_dock()
    dock.choose("boundary_width", "10, 15, 20")
    dock.run()
    assert dock.column(0) == ["10", "15 (default)", "20 (now)"]
    assert dock.column(1) == ["complete", "degraded", "failed"]
    assert dock.column(5) == ["", "stage 3: few features agree", "no room on the disk"]
    assert dock.column(2)[2] == dock.column(3)[2] == "\u2013"
    assert dock.column(3)[0] == "1.31 ± 0.002"
    colours = [dock.table.item(row, 1).background().color().name() for row in range(3)]
    assert len(set(colours)) == 3
    dock.table.selectRow(1)
    assert dock.text("note") == "stage 3: few features agree"


def test_abort_keeps_the_rows_that_are_there(session, open_dock, monkeypatch):
    reached = threading.Event()

    def compare(self, name, values, *, on_result, monitor, **_):
        on_result(result(values[0]))
        reached.set()
        while True:
            monitor.check()
            threading.Event().wait(0.01)

    monkeypatch.setattr(SampleDye, "compare", compare)
    dock = open_dock()
    dock.choose("boundary_width", "10, 15, 20")
    dock.press("run_comparison")
    assert not dock.button("run_comparison").isEnabled()
    dock.wait(lambda: reached.is_set() and dock.column(1)[0] == "complete")
    assert dock.column(1) == ["complete", "running", "waiting"]
    dock.press("abort")
    dock.wait(lambda: not session.jobs.is_busy)
    assert dock.column(1) == ["complete", "stopped", "stopped"]
    assert dock.text("progress_text") == "Stopped."
    assert dock.message.text == ""
    assert dock.button("run_comparison").isEnabled()


def test_an_error_is_told_once_and_another_run_can_begin(
    session, open_dock, monkeypatch
):
    def compare(self, *_, **__):
        raise OutputError("the folder is full; free some room")

    monkeypatch.setattr(SampleDye, "compare", compare)
    dock = open_dock()
    dock.choose("boundary_width", "10, 15")
    dock.press("run_comparison")
    dock.wait(lambda: dock.message.text)
    assert dock.message.level == "error"
    assert dock.message.text == "the folder is full; free some room"
    dock.wait(dock.button("run_comparison").isEnabled)


def test_while_something_else_runs_it_waits(session, open_dock, qtbot):
    dock = open_dock()
    free = threading.Event()

    def work(monitor):
        free.wait(LONG / 1000)

    session.jobs.start(work, title="work", exclusive=True)
    assert not dock.button("run_comparison").isEnabled()
    assert "runs already" in dock.text("progress_text")
    free.set()
    dock.wait(dock.button("run_comparison").isEnabled)
    assert dock.text("progress_text") == ""


def test_without_keeping_only_the_numbers_stay(finished, open_dock):
    folder = finished.output_dir / "Rock" / "DAPI"
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    dock = open_dock()
    dock.choose("scale_percentile", "40, 60")
    dock.keep.setChecked(False)
    dock.run()
    assert dock.column(1) == ["complete", "complete"]
    after = sorted(path for path in folder.rglob("*") if path.is_file())
    assert after == before
    assert not dock.button("show_side_by_side").isEnabled()
    assert "not kept" in dock.button("show_side_by_side").toolTip()
    dock.double_click(0)
    assert "Tick 'Keep the files of each value'" in dock.message.text


# Pictures, values, the file ------------------------------------------------------


@pytest.fixture(scope="module")
def both_values(tmp_path_factory, shared_results, shared_raw_dir):
    """Results of two values; not to be changed by tests."""
    folder = shutil.copytree(shared_results, tmp_path_factory.mktemp("both") / "out")
    task = SampleDye("Rock", "DAPI", output_dir=folder, raw_dir=shared_raw_dir)
    task.set_params(pad=60)
    task.compare("scale_percentile", [40.0, 60.0])
    return folder


@pytest.fixture
def compared(viewer, open_dock, both_values, shared_raw_dir, tmp_path):
    """A dock whose two runs find their results on disk."""
    session = shared_session(viewer)
    session.set_params(pad=60)
    session.set_source(
        raw_dir=shared_raw_dir,
        output_dir=shutil.copytree(both_values, tmp_path / "out"),
        sample="Rock",
        dye="DAPI",
    )
    dock = open_dock()
    dock.choose("scale_percentile", "40, 60")
    dock.run()
    return dock


def shown(viewer):
    return [layer.name for layer in viewer.layers if layer.visible]


def test_pictures_stand_side_by_side_and_go_again(compared, viewer, qtbot):
    session = shared_session(viewer)
    with qtbot.waitSignal(session.results_changed, timeout=LONG):
        session.show_results()
    compared.wait(lambda: find_layers(viewer, "stage 5 labels"))
    before = shown(viewer)
    names = [layer.name for layer in viewer.layers]
    compared.press("show_side_by_side")
    compared.wait(lambda: grid(viewer).enabled)
    title = PARAMETER_REGISTRY["scale_percentile"].title
    assert shown(viewer) == [f"{title} 40", f"{title} 60"]
    layers = find_layers(viewer, "compare ")
    assert [about(layer)["checkpoint"] for layer in layers] == [
        "difference_percentile_p40",
        "difference_percentile_p60",
    ]
    assert layers[0].contrast_limits == layers[1].contrast_limits
    assert grid(viewer).stride == 1
    compared.press("show_side_by_side")
    assert not grid(viewer).enabled
    assert [layer.name for layer in viewer.layers] == names
    assert shown(viewer) == before


def test_pictures_can_be_post_and_aligned_pre(compared, viewer):
    compared.picture.setCurrentIndex(1)
    compared.press("show_side_by_side")
    compared.wait(lambda: grid(viewer).enabled)
    assert len(shown(viewer)) == 4
    assert grid(viewer).stride == 2
    fields = [about(layer)["checkpoint"] for layer in viewer.layers]
    assert fields == ["post", "pre", "post", "pre"]
    compared.picture.setCurrentIndex(0)
    compared.picture.activated.emit(0)
    compared.wait(lambda: grid(viewer).stride == 1)
    assert len(shown(viewer)) == 2


def test_a_double_click_shows_one_value_alone(compared, viewer):
    compared.double_click(1)
    title = PARAMETER_REGISTRY["scale_percentile"].title
    compared.wait(lambda: shown(viewer) == [f"{title} 60"])
    compared.double_click(0)
    compared.wait(lambda: shown(viewer) == [f"{title} 40"])
    compared.press("show_side_by_side")
    assert shown(viewer) == []


def test_another_sample_takes_the_pictures_away(compared, viewer, tmp_path):
    session = shared_session(viewer)
    compared.press("show_side_by_side")
    compared.wait(lambda: grid(viewer).enabled)
    session.set_source(output_dir=tmp_path / "elsewhere")
    assert not grid(viewer).enabled
    assert find_layers(viewer, "compare ") == []


def test_pictures_that_are_gone_are_said_to_be(compared, viewer):
    session = shared_session(viewer)
    for path in (session.output_dir / "Rock" / "DAPI").rglob("04_*"):
        path.unlink()
    compared.press("show_side_by_side")
    compared.wait(lambda: compared.message.text)
    assert "Run the comparison again" in compared.message.text
    assert not grid(viewer).enabled


def test_a_value_can_be_used(compared, viewer):
    session = shared_session(viewer)
    assert not compared.button("use_value").isEnabled()
    compared.table.selectRow(1)
    compared.press("use_value")
    assert session.params["scale_percentile"] == 60.0
    assert compared.message.level == "note"
    compared.wait(lambda: find_layers(viewer, "difference percentile p60"))


def test_the_table_is_saved(compared, tmp_path):
    compared.dock.findChild(CompareResults).save_table(tmp_path / "table.csv")
    assert compared.message.text == f"Saved as {tmp_path / 'table.csv'}"
    with Path(tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == ["40", "60"]
    assert {row["parameter"] for row in rows} == {"scale_percentile"}
    (tmp_path / "file").write_text("")
    compared.dock.findChild(CompareResults).save_table(tmp_path / "file" / "table.csv")
    assert compared.message.level == "error"


def test_the_cancelled_error_is_no_message(session, open_dock, monkeypatch):
    def compare(self, *_, **__):
        raise CancelledError("stopped")

    monkeypatch.setattr(SampleDye, "compare", compare)
    dock = open_dock()
    dock.choose("boundary_width", "10, 15")
    dock.run()
    assert dock.message.text == ""


def test_a_comparison_makes_nothing_in_the_thread_of_the_window(
    session, open_dock, told, monkeypatch
):
    threads = []
    make = TaskSource.task

    def task(self, params):
        threads.append(threading.current_thread())
        return make(self, params)

    monkeypatch.setattr(TaskSource, "task", task)
    dock = open_dock()
    dock.choose("boundary_width", "10, 15")
    dock.run()
    assert threads
    assert threading.main_thread() not in threads


# What may not be run -----------------------------------------------------------------


class Form:
    """A form that shows what is no value."""

    def check(self):
        return "boundary width: -5 is no value"


def test_what_a_form_refuses_is_not_compared(session, open_dock, told):
    form = Form()
    session.add_check(form.check)
    dock = open_dock()
    dock.choose("boundary_width", "10, 15")
    dock.press("run_comparison")
    assert not session.jobs.is_busy
    assert dock.message.level == "error"
    assert dock.message.text == form.check()
    assert dock.table.rowCount() == 0


def test_a_folder_that_takes_no_results_is_not_compared_into(session, open_dock, qtbot):
    session.set_source(output_dir=session.raw_dir / "processed")
    dock = open_dock()
    dock.choose("boundary_width", "10, 15")
    dock.press("run_comparison")
    qtbot.waitUntil(lambda: not session.jobs.is_busy, timeout=LONG)
    assert dock.message.level == "error"
    assert "lies in the raw folder" in dock.message.text
    assert not (session.raw_dir / "processed").exists()


# Coming and going ----------------------------------------------------------------


def docked(widget, qtbot):
    """Put a widget into a dock; return what closes it as napari does."""
    window, place = QMainWindow(), QDockWidget()
    qtbot.addWidget(window)
    place.setWidget(widget)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, place)
    window.show()

    def close():
        widget.setParent(None)
        window.removeDockWidget(place)

    return close


def test_a_dock_that_is_closed_takes_its_pictures_away(compared, viewer, qtbot):
    close = docked(compared.dock, qtbot)
    with qtbot.waitSignal(shared_session(viewer).results_changed, timeout=LONG):
        shared_session(viewer).show_results()
    compared.wait(lambda: find_layers(viewer, "difference"))
    before = shown(viewer)
    compared.press("show_side_by_side")
    compared.wait(lambda: grid(viewer).enabled)
    close()
    assert not grid(viewer).enabled
    assert find_layers(viewer, "compare ") == []
    assert shown(viewer) == before


def test_pictures_on_their_way_to_a_closed_dock_are_dropped(compared, viewer, qtbot):
    close = docked(compared.dock, qtbot)
    compared.press("show_side_by_side")
    close()
    compared.wait(lambda: not shared_session(viewer).jobs.is_working)
    assert not grid(viewer).enabled
    assert find_layers(viewer, "compare ") == []


def test_a_hidden_dock_takes_its_pictures_away(compared, viewer):
    compared.press("show_side_by_side")
    compared.wait(lambda: grid(viewer).enabled)
    compared.dock.hide()
    compared.dock.show()
    assert grid(viewer).enabled, "it was hidden for a moment only"
    compared.dock.hide()
    compared.wait(lambda: not grid(viewer).enabled)
    assert find_layers(viewer, "compare ") == []


def test_a_closed_dock_ends_its_runs(session, open_dock, monkeypatch, qtbot):
    reached = threading.Event()

    def compare(self, name, values, *, monitor, **_):
        reached.set()
        while True:
            monitor.check()
            threading.Event().wait(0.01)

    monkeypatch.setattr(SampleDye, "compare", compare)
    dock = open_dock()
    close = docked(dock.dock, qtbot)
    dock.choose("boundary_width", "10, 15")
    dock.press("run_comparison")
    dock.wait(reached.is_set)
    job = session.jobs.exclusive
    close()
    assert job.is_cancelled
    again = open_dock()
    again.wait(again.button("run_comparison").isEnabled)


# One grid ------------------------------------------------------------------------


def test_inspection_and_comparison_share_the_grid(compared, viewer, qtbot):
    session = shared_session(viewer)
    with qtbot.waitSignal(session.results_changed, timeout=LONG):
        session.show_results()
    compared.wait(lambda: not session.jobs.is_working)
    before = shown(viewer)
    inspection = InspectionDock(viewer)
    qtbot.addWidget(inspection)
    side_by_side = inspection.side_by_side
    side_by_side.toggle()
    compared.press("show_side_by_side")
    compared.wait(lambda: find_layers(viewer, "compare "))
    assert grid(viewer).enabled
    assert not side_by_side.is_active
    side_by_side.stop()
    assert grid(viewer).enabled, "it is the comparison's by now"
    side_by_side.toggle()
    assert side_by_side.is_active
    assert find_layers(viewer, "compare ") == []
    assert compared.button("show_side_by_side").text() == "Show side by side"
    side_by_side.toggle()
    assert not grid(viewer).enabled
    assert shown(viewer) == before
    inspection.close_down()


def test_naparis_own_grid_button_takes_the_pictures_away(compared, viewer):
    compared.press("show_side_by_side")
    compared.wait(lambda: grid(viewer).enabled)
    grid(viewer).enabled = False
    assert find_layers(viewer, "compare ") == []
    assert not compared.button("show_side_by_side").isChecked()


# A value is used -----------------------------------------------------------------


def test_a_value_of_another_sample_cannot_be_used(compared, viewer):
    compared.table.selectRow(1)
    use = compared.button("use_value")
    assert use.isEnabled()
    shared_session(viewer).set_source(sample="Other")
    assert not use.isEnabled()
    assert "made of Rock DAPI" in use.toolTip()
    shared_session(viewer).set_source(sample="Rock")
    assert use.isEnabled()


def test_a_value_of_another_folder_cannot_be_used(compared, viewer, tmp_path):
    compared.table.selectRow(1)
    shared_session(viewer).set_source(output_dir=tmp_path / "elsewhere")
    assert not compared.button("use_value").isEnabled()
    assert "other folders" in compared.button("use_value").toolTip()


def test_a_value_found_with_other_parameters_cannot_be_used(compared, viewer):
    session, use = shared_session(viewer), compared.button("use_value")
    compared.table.selectRow(1)
    session.set_params(scale_percentile=70.0)
    assert use.isEnabled(), "this is the parameter that was compared"
    session.set_params(boundary_width=40)
    assert not use.isEnabled()
    assert PARAMETER_REGISTRY["boundary_width"].title in use.toolTip()
    session.reset_params("boundary_width")
    assert use.isEnabled()


def test_what_is_said_of_a_used_value_is_what_is_shown(compared, viewer):
    session = shared_session(viewer)
    compared.table.selectRow(1)
    compared.press("use_value")
    compared.wait(lambda: "Its results are in the layer list" in compared.message.text)
    for path in (session.output_dir / "Rock" / "DAPI").rglob("04_*"):
        path.unlink()
    compared.table.selectRow(0)
    compared.press("use_value")
    compared.wait(lambda: "results" in compared.message.text)
    assert "is now 40" in compared.message.text
    assert "up to stage 3 are in the layer list" in compared.message.text
    shutil.rmtree(session.output_dir)
    compared.press("use_value")
    compared.wait(lambda: "It has no results yet" in compared.message.text)
