"""The diagnostics dock: what is listed and drawn, when it is drawn again, clicks."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QScrollArea, QWidget

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.diagnostics import (
    DIAGNOSTICS,
    register_diagnostic,
    unregister_diagnostic,
)
from napari_exo2micro.plugin.diagnostics.diagnostics_dock import DiagnosticsDock
from napari_exo2micro.plugin.diagnostics.plot_list import PlotList
from napari_exo2micro.plugin.diagnostics.plot_view import PlotView
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.task_source import TaskSource

LONG = 60_000


class Handle:
    """What a person sees of the dock and does in it."""

    def __init__(self, dock, qtbot):
        self.dock, self.qtbot = dock, qtbot
        self.list = dock.findChild(PlotList, "plots")
        self.view = dock.findChild(PlotView, "plot_view")
        self.message = dock.findChild(MessageStrip, "message_strip")
        self.note = dock.findChild(MessageStrip, "plot_note")

    def text(self, name):
        label = self.dock.findChild(QLabel, name)
        return label.text() if label.isVisible() else ""

    def button(self, name):
        return self.dock.findChild(QPushButton, name)

    def wait(self, condition):
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=LONG)

    def settle(self):
        """Wait until nothing is being drawn any more."""
        self.qtbot.wait(20)
        self.wait(lambda: not self.text("drawing"))

    def choose(self, name):
        self.list.choose(name)
        self.settle()
        assert self.list.current_name == name

    @property
    def title(self):
        figure = self.view.figure
        return "" if figure is None else figure.texts[0].get_text()

    def click_at(self, x, y):
        """Click where a place in the units of the plot's first panel is."""
        canvas = self.view.widget()
        self.qtbot.waitUntil(lambda: canvas.isVisible(), timeout=LONG)
        canvas.draw()
        left, up = self.view.figure.axes[0].transData.transform((x, y))
        ratio = canvas.device_pixel_ratio
        place = QPointF(left / ratio, canvas.height() - up / ratio).toPoint()
        self.qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=place)


@pytest.fixture
def open_dock(viewer, qtbot):
    def make(width=520, height=900):
        dock = DiagnosticsDock(viewer)
        qtbot.addWidget(dock)
        dock.resize(width, height)
        dock.show()
        handle = Handle(dock, qtbot)
        handle.settle()
        return handle

    return make


def test_without_a_sample_it_says_what_to_do_first(open_dock):
    dock = open_dock()
    assert "Choose the raw folder, the sample and the dye" in dock.view.note
    assert dock.list.count() == 0
    assert not dock.button("save_picture").isEnabled()
    assert not dock.button("run_stage").isVisible()


def test_before_any_run_it_says_which_stage_to_run(session, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    assert {entry.name for entry in dock.list.entries} == set(DIAGNOSTICS)
    assert "Stage 2 (boundary alignment) has no result" in dock.view.note
    assert dock.button("run_stage").text() == "Run stage 2 now"
    dock.choose("ratio_histogram")
    assert "Stage 4 (scale and difference) has no result" in dock.view.note
    assert dock.button("run_stage").text() == "Run stage 4 now"
    lines = [dock.list.item(row).text() for row in range(dock.list.count())]
    assert lines[0] == "Stage 2: boundary alignment"
    assert "Ratio and scale (needs stage 4)" in lines


def test_each_plot_is_drawn_with_words_on_good_and_bad_ones(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.view.figure is not None)
    seen = set()
    for name, diagnostic in DIAGNOSTICS.items():
        dock.choose(name)
        assert dock.text("caption") == diagnostic.caption
        assert dock.text("good") == diagnostic.good
        assert dock.text("bad") == diagnostic.bad
        assert dock.message.text == ""
        seen.add(dock.view.figure)
    assert len(seen) == len(DIAGNOSTICS)
    assert not dock.button("run_stage").isVisible()


def test_a_run_draws_the_plot_that_waited_for_it(finished, open_dock, results):
    session = finished
    for path in [*results.rglob("0[234]_*"), *results.rglob("*.png")]:
        path.unlink()
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    assert dock.view.figure is None
    with dock.qtbot.waitSignal(session.run_ended, timeout=LONG):
        dock.qtbot.mouseClick(dock.button("run_stage"), Qt.MouseButton.LeftButton)
        assert not dock.button("run_stage").isEnabled()
    dock.wait(lambda: dock.view.figure is not None)
    dock.settle()
    assert dock.title == "Alignment of the two images"
    assert "after stage 2" in dock.note.text
    assert not dock.button("run_stage").isVisible()
    before = dock.view.figure
    session.run(3, 4)
    dock.wait(lambda: dock.view.figure is not before and not dock.note.text)


def test_other_settings_keep_the_plot_and_say_so(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose("ratio_histogram")
    figure = dock.view.figure
    finished.set_params(offset_correction=False)
    dock.wait(lambda: dock.note.level == "warning")
    assert dock.view.figure is figure
    assert dock.note.text.startswith("This plot shows earlier settings. Stage 4")
    assert dock.button("run_stage").isVisible()
    finished.reset_params("offset_correction")
    dock.wait(lambda: dock.note.text == "")
    assert dock.view.figure is not figure


def test_another_sample_takes_the_plot_away(finished, open_dock, tmp_path):
    dock = open_dock()
    dock.wait(lambda: dock.view.figure is not None)
    finished.set_source(output_dir=tmp_path / "elsewhere")
    dock.wait(lambda: dock.view.figure is None)
    assert "has no result" in dock.view.note


def test_a_hidden_dock_draws_when_it_is_shown(finished, viewer, qtbot):
    dock = DiagnosticsDock(viewer)
    qtbot.addWidget(dock)
    handle = Handle(dock, qtbot)
    finished.set_params(manual_scale=1.3)
    finished.reset_params("manual_scale")
    qtbot.wait(50)
    assert handle.view.figure is None
    dock.show()
    handle.wait(lambda: handle.view.figure is not None)


# A scale by hand ---------------------------------------------------------------


@pytest.mark.parametrize("plot", ["excess_heatmap", "pre_post_heatmap"])
def test_a_click_on_a_heat_map_proposes_a_scale_that_can_be_used(
    finished, open_dock, plot
):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose(plot)
    use = dock.button("use_scale")
    assert use.isVisible()
    assert not use.isEnabled()
    dock.click_at(40.0, 56.0)
    dock.click_at(40.0, 64.0)
    assert use.isEnabled()
    words = use.text().split()
    assert words[0] == "Use"
    assert words[2:] == ["as", "manual", "scale"]
    assert float(words[1]) == pytest.approx(1.6, rel=0.02)
    axes = dock.view.figure.axes[0]
    lines = [n for n in axes.get_lines() if n.get_gid() == "scale-proposed"]
    assert len(lines) == 1
    x, y = lines[0].get_data()
    assert y[-1] / x[-1] == pytest.approx(float(words[1]))
    dock.qtbot.mouseClick(use, Qt.MouseButton.LeftButton)
    assert finished.params["manual_scale"] == float(words[1])
    dock.wait(lambda: dock.note.level == "warning")


def test_places_that_mean_no_scale_propose_none(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose("excess_heatmap")
    canvas = dock.view.widget()
    dock.qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(2, 2))
    assert not dock.button("use_scale").isEnabled()
    dock.choose("ratio_histogram")
    assert not dock.button("use_scale").isVisible()


def test_a_scale_beyond_the_limits_is_not_proposed(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose("excess_heatmap")
    proposal = dock.dock.findChild(QWidget, "scale_proposal")
    top = PARAMETER_REGISTRY["manual_scale"].maximum
    assert not proposal.propose(100.0 / (10 * top), 100.0)
    assert proposal.propose(100.0, 100.0)


# Errors, saving, sizes ---------------------------------------------------------


def test_a_plot_that_fails_says_so_once_and_the_others_go_on(finished, open_dock):
    register_diagnostic("mine", lambda post_im, pre_im: 1 / 0, "Fails.")
    try:
        dock = open_dock()
        dock.wait(lambda: dock.list.entries)
        dock.list.choose("mine")
        dock.wait(lambda: dock.message.text)
        assert dock.message.level == "error"
        assert "'mine' could not be drawn" in dock.message.text
        assert dock.view.note == "This plot cannot be drawn."
        dock.choose("registration")
        dock.wait(lambda: dock.view.figure is not None)
        assert dock.message.text == ""
    finally:
        unregister_diagnostic("mine")


def test_saved_pictures_have_the_size_of_the_files_of_a_run(
    finished, open_dock, tmp_path
):
    dock = open_dock(width=1300)
    dock.wait(lambda: dock.list.entries)
    dock.choose("ratio_histogram")
    shown = dock.view.widget().size()
    dock.dock.save_picture(tmp_path / "mine")
    assert not dock.button("save_picture").isEnabled()
    dock.wait(dock.button("save_picture").isEnabled)
    assert dock.message.text == f"Saved as {tmp_path / 'mine.png'}"
    written = finished.task()._check_path("ratio_histogram")
    with Image.open(written) as expected, Image.open(tmp_path / "mine.png") as found:
        assert np.array_equal(np.asarray(expected), np.asarray(found))
    assert dock.view.widget().size() == shown
    dock.dock.save_picture(tmp_path / "mine.docx")
    dock.wait(dock.button("save_picture").isEnabled)
    assert dock.message.level == "error"
    assert "must end in .png, .pdf or .svg" in dock.message.text


def test_full_size_opens_a_window(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.view.figure is not None)
    dock.qtbot.mouseClick(dock.button("full_size"), Qt.MouseButton.LeftButton)
    dock.wait(lambda: dock.dock.findChild(QScrollArea, "full_size_window"))
    window = dock.dock.findChild(QScrollArea, "full_size_window")
    assert window.isVisible()
    assert window.windowTitle() == "Before and after alignment"
    assert window.widget().pixmap().width() > 600
    window.close()


@pytest.mark.parametrize("button", ["save_picture", "full_size"])
def test_the_window_goes_on_while_a_plot_is_drawn_at_full_size(
    finished, open_dock, tmp_path, monkeypatch, button
):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose("excess_heatmap")
    figure, canvas = dock.view.figure, dock.view.widget()
    dock.wait(lambda: not dock.view._settled.isActive())
    resolution = figure.dpi
    began, goes_on, threads = threading.Event(), threading.Event(), []
    draw = Figure.draw

    def slow_draw(self, renderer):
        threads.append(threading.current_thread())
        began.set()
        assert goes_on.wait(LONG / 1000)
        draw(self, renderer)

    monkeypatch.setattr(Figure, "draw", slow_draw)
    path = tmp_path / "plot.png"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    dock.qtbot.mouseClick(dock.button(button), Qt.MouseButton.LeftButton)
    dock.wait(began.is_set)
    # What would draw the same figure meanwhile waits.
    dock.view.redraw()
    dock.dock.resize(dock.dock.width() - 60, dock.dock.height())
    dock.qtbot.wait(150)
    assert not dock.button("save_picture").isEnabled()
    assert not dock.button("full_size").isEnabled()
    assert threading.main_thread() not in threads
    goes_on.set()
    dock.wait(dock.button(button).isEnabled)
    if button == "save_picture":
        dock.wait(path.is_file)
    else:
        dock.wait(lambda: dock.dock.findChild(QScrollArea, "full_size_window"))
    monkeypatch.undo()
    assert figure.canvas is canvas
    assert figure.dpi < resolution, "it fits the narrower dock"
    dock.click_at(40.0, 56.0)
    assert dock.button("use_scale").isEnabled()


def test_a_plot_that_goes_while_it_is_saved_is_saved(finished, open_dock, tmp_path):
    dock = open_dock()
    dock.wait(lambda: dock.view.figure is not None)
    dock.dock.save_picture(tmp_path / "plot.pdf")
    finished.set_source(output_dir=tmp_path / "elsewhere")
    dock.wait(lambda: dock.view.figure is None)
    dock.wait(lambda: not finished.jobs.is_working)
    assert (tmp_path / "plot.pdf").is_file()
    assert not dock.button("save_picture").isEnabled()


def test_the_plots_are_looked_for_outside_the_thread_of_the_window(
    finished, open_dock, monkeypatch
):
    threads = []
    make = TaskSource.task

    def task(self, params):
        threads.append(threading.current_thread())
        return make(self, params)

    monkeypatch.setattr(TaskSource, "task", task)
    dock = open_dock()
    dock.wait(lambda: dock.view.figure is not None)
    assert threads
    assert threading.main_thread() not in threads


def test_words_instead_of_a_plot_are_shown_as_they_are(qtbot):
    view = PlotView()
    qtbot.addWidget(view)
    view.show_note("run <b>stage 2</b>")
    label = view.findChild(QLabel, "plot_missing")
    assert label.textFormat() == Qt.TextFormat.PlainText


@pytest.mark.parametrize("width", [350, 500, 700, 900])
def test_at_every_width_the_whole_plot_scales_and_fits(finished, open_dock, width):
    dock = open_dock(width=width)
    dock.wait(lambda: dock.list.entries)
    for name in ("excess_heatmap", "registration"):
        dock.choose(name)
        figure, canvas = dock.view.figure, dock.view.widget()
        dock.wait(lambda: not dock.view._settled.isActive())
        inches = figure.get_size_inches()
        assert canvas.width() / canvas.height() == pytest.approx(
            inches[0] / inches[1], rel=0.01
        )
        assert canvas.width() <= dock.view.viewport().width()


def test_a_wider_dock_gets_the_wide_layout(finished, open_dock):
    dock = open_dock(width=500)
    dock.wait(lambda: dock.view.figure is not None)
    tall = dock.view.figure.get_size_inches()
    dock.dock.resize(1400, 900)
    dock.wait(lambda: dock.view.figure.get_size_inches()[0] > 1.5 * tall[0])


def test_neither_pyplot_nor_another_backend_is_loaded():
    code = (
        "import sys, matplotlib\n"
        "before = dict.__getitem__(matplotlib.rcParams, 'backend')\n"
        "import napari_exo2micro.plugin.diagnostics.plot_canvas\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict.__getitem__(matplotlib.rcParams, 'backend') == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_docks_share_one_session(finished, open_dock, viewer):
    one, two = open_dock(), open_dock()
    for dock in (one, two):
        dock.wait(lambda dock=dock: dock.view.figure is not None)
    assert Session.of(viewer) is finished
    assert one.view.figure is not two.view.figure
