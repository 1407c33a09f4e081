"""The diagnostics dock: what is listed and drawn, when it is drawn again, clicks."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QImage, QMouseEvent
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QLabel,
    QPushButton,
    QScrollArea,
    QWidget,
)

from napari_exo2micro.core.parameters import PARAMETER_REGISTRY
from napari_exo2micro.core.pipeline import draw_figure
from napari_exo2micro.core.plotting import (
    DIAGNOSTICS,
    register_diagnostic,
    unregister_diagnostic,
)
from napari_exo2micro.plugin.diagnostics.dock import (
    DiagnosticsDock,
    PlotList,
    PlotPicture,
    PlotView,
)
from napari_exo2micro.plugin.session.session import Session, TaskSource
from napari_exo2micro.plugin.widgets.controls import MessageStrip

LONG = 300_000
RGB = QImage.Format.Format_RGB888


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

        def is_calm():
            QApplication.processEvents()  # words around the plot change its room
            return not self.text("drawing") and self.view.is_sharp

        self.qtbot.wait(20)
        self.wait(is_calm)

    def settle_for_good(self):
        """Wait until nothing is drawn, and its room stays for longer than a resize."""
        since, size = time.monotonic(), None

        def is_still():
            nonlocal since, size
            self.settle()
            if size != self.picture.size():
                since, size = time.monotonic(), self.picture.size()
            return time.monotonic() - since > 0.5

        self.wait(is_still)

    def choose(self, name):
        self.list.choose(name)
        self.settle()
        assert self.list.current.name == name

    @property
    def picture(self):
        """The plot on screen, without what is laid over it."""
        return self.dock.findChild(PlotPicture, "plot_picture")

    def pixels(self):
        """What the screen shows of the plot, shape (rows, columns, 3)."""
        shown = self.picture.grab().toImage().convertToFormat(RGB)
        rows = shown.constBits().asarray(shown.sizeInBytes())
        flat = np.asarray(rows).reshape(shown.height(), shown.bytesPerLine())
        return flat[:, : 3 * shown.width()].reshape(shown.height(), -1, 3).copy()

    def click(self, x, y):
        """Click on the plot: fractions of its width and height, from the top."""
        size = self.picture.size()
        place = QPointF(x * size.width(), y * size.height()).toPoint()
        self.qtbot.mouseClick(self.picture, Qt.MouseButton.LeftButton, pos=place)

    def drag(self, start, end):
        """Press at one place and let go at another one."""
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        for kind, (x, y), held in (
            (QEvent.Type.MouseButtonPress, start, left),
            (QEvent.Type.MouseMove, end, left),
            (QEvent.Type.MouseButtonRelease, end, Qt.MouseButton.NoButton),
        ):
            size = self.picture.size()
            place = QPointF(x * size.width(), y * size.height())
            event = QMouseEvent(kind, place, place, left, held, none)
            QApplication.sendEvent(self.picture, event)


def place_of(figure, x, y):
    """Return where a place in the units of the first panel is on a figure."""
    FigureCanvasAgg(figure).draw()
    display = figure.axes[0].transData.transform((x, y))
    across, up = figure.transFigure.inverted().transform(display)
    return across, 1.0 - up


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
    dock.wait(lambda: dock.view.plot is not None)
    seen = set()
    for name, diagnostic in DIAGNOSTICS.items():
        dock.choose(name)
        assert dock.text("caption") == diagnostic.caption
        assert dock.text("good") == diagnostic.good
        assert dock.text("bad") == diagnostic.bad
        assert dock.message.text == ""
        seen.add(dock.view.plot)
    assert len(seen) == len(DIAGNOSTICS)
    assert not dock.button("run_stage").isVisible()


def test_a_run_draws_the_plot_that_waited_for_it(finished, open_dock, results):
    session = finished
    for path in [*results.rglob("0[234]_*"), *results.rglob("*.png")]:
        path.unlink()
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    assert dock.view.plot is None
    with dock.qtbot.waitSignal(session.run_ended, timeout=LONG):
        dock.qtbot.mouseClick(dock.button("run_stage"), Qt.MouseButton.LeftButton)
        assert not dock.button("run_stage").isEnabled()
    dock.wait(lambda: dock.view.plot is not None)
    dock.settle()
    assert dock.list.current.name == "registration"
    assert "after stage 2" in dock.note.text
    assert not dock.button("run_stage").isVisible()
    before = dock.view.plot
    session.run(3, 4)
    dock.wait(lambda: dock.view.plot is not before and not dock.note.text)


def test_other_settings_keep_the_plot_and_say_so(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose("ratio_histogram")
    plot = dock.view.plot
    finished.set_params(offset_correction=False)
    dock.wait(lambda: dock.note.level == "warning")
    assert dock.view.plot is plot
    assert dock.note.text.startswith("This plot shows earlier settings. Stage 4")
    assert dock.button("run_stage").isVisible()
    finished.reset_params("offset_correction")
    dock.wait(lambda: dock.note.text == "")
    assert dock.view.plot is not plot


def test_another_sample_takes_the_plot_away(finished, open_dock, tmp_path):
    dock = open_dock()
    dock.wait(lambda: dock.view.plot is not None)
    finished.set_source(output_dir=tmp_path / "elsewhere")
    dock.wait(lambda: dock.view.plot is None)
    assert "has no result" in dock.view.note


def test_a_hidden_dock_draws_when_it_is_shown(finished, viewer, qtbot):
    dock = DiagnosticsDock(viewer)
    qtbot.addWidget(dock)
    handle = Handle(dock, qtbot)
    finished.set_params(manual_scale=1.3)
    finished.reset_params("manual_scale")
    qtbot.wait(50)
    assert handle.view.plot is None
    dock.show()
    handle.wait(lambda: handle.view.plot is not None)


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
    before = dock.pixels()
    figure = draw_figure(finished.task(), plot, narrow=True)
    dock.drag(place_of(figure, 40.0, 32.0), place_of(figure, 40.0, 64.0))
    assert use.isEnabled()
    words = use.text().split()
    assert words[0] == "Use"
    assert words[2:] == ["as", "manual", "scale"]
    scale = float(words[1])
    assert scale == pytest.approx(1.6, rel=0.02)
    # What changed on screen is that line and nothing beside it.
    changed = np.argwhere((dock.pixels() != before).any(axis=2))
    high, wide = before.shape[:2]
    ends = [place_of(figure, x, scale * x) for x in (5.0, 60.0)]
    (x0, y0), (x1, y1) = ((x * wide, y * high) for x, y in ends)
    beside = (changed[:, 1] - x0) * (y1 - y0) - (changed[:, 0] - y0) * (x1 - x0)
    assert np.abs(beside).max() / np.hypot(x1 - x0, y1 - y0) < 5
    assert changed[:, 1].min() < x0
    assert changed[:, 1].max() > x1
    dock.qtbot.mouseClick(use, Qt.MouseButton.LeftButton)
    assert finished.params["manual_scale"] == scale
    dock.wait(lambda: dock.note.level == "warning")


def test_places_that_mean_no_scale_propose_none(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose("excess_heatmap")
    dock.click(0.005, 0.005)
    assert not dock.button("use_scale").isEnabled()
    dock.choose("ratio_histogram")
    assert not dock.button("use_scale").isVisible()


def test_a_scale_beyond_the_limits_is_not_proposed(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose("excess_heatmap")
    figure = draw_figure(finished.task(), "excess_heatmap", narrow=True)
    proposal = dock.dock.findChild(QWidget, "scale_proposal")
    top = PARAMETER_REGISTRY["manual_scale"].maximum
    assert not proposal.propose(*place_of(figure, 100.0 / (10 * top), 100.0))
    assert proposal.propose(*place_of(figure, 100.0, 100.0))


def test_the_line_stays_at_its_place_when_the_dock_is_resized_and_is_saved(
    finished, open_dock, tmp_path
):
    # So high that its width alone sets that of the plot, however long messages are;
    # a wide one has the list beside the plot.
    dock = open_dock(height=1600)
    dock.wait(lambda: dock.list.entries)
    dock.choose("excess_heatmap")
    dock.dock.save_picture(tmp_path / "before.png")
    dock.wait(lambda: "before.png" in dock.message.text)
    dock.settle()
    narrow = dock.picture.width()
    dock.dock.resize(700, 1600)
    dock.wait(lambda: dock.picture.width() != narrow)
    dock.settle()
    without = dock.pixels()
    figure = draw_figure(finished.task(), "excess_heatmap", narrow=True)
    dock.click(*place_of(figure, 40.0, 64.0))
    here = (dock.pixels() != without).any(axis=2)
    assert here.any()
    wide = dock.picture.width()
    dock.dock.resize(520, 1600)
    dock.wait(lambda: dock.picture.width() == narrow)
    dock.dock.resize(700, 1600)
    dock.wait(lambda: dock.picture.width() == wide)
    dock.settle()
    assert np.array_equal((dock.pixels() != without).any(axis=2), here)
    dock.dock.save_picture(tmp_path / "after.png")
    dock.wait(lambda: "after.png" in dock.message.text)
    with (
        Image.open(tmp_path / "before.png") as plain,
        Image.open(tmp_path / "after.png") as marked,
    ):
        differ = (np.asarray(plain) != np.asarray(marked)).any(axis=2)
    rows, columns = np.nonzero(differ)
    x, y = place_of(figure, 40.0, 64.0)
    nearest = np.hypot(columns - x * plain.width, rows - y * plain.height).min()
    assert nearest < 12
    # Another plot has no line, nor has its file.
    dock.choose("pre_post_heatmap")
    assert not dock.button("use_scale").isEnabled()


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
        dock.wait(lambda: dock.view.plot is not None)
        assert dock.message.text == ""
    finally:
        unregister_diagnostic("mine")


def test_saved_pictures_have_the_size_of_the_files_of_a_run(
    finished, open_dock, tmp_path
):
    dock = open_dock(width=1300)
    dock.wait(lambda: dock.list.entries)
    dock.choose("ratio_histogram")
    shown = dock.pixels()
    dock.dock.save_picture(tmp_path / "mine.png")
    dock.wait(lambda: dock.message.text)
    assert dock.message.text == f"Saved as {tmp_path / 'mine.png'}"
    written = finished.task()._check_path("ratio_histogram")
    with Image.open(written) as expected, Image.open(tmp_path / "mine.png") as found:
        assert np.array_equal(np.asarray(expected), np.asarray(found))
    assert np.array_equal(dock.pixels(), shown)
    dock.dock.save_picture(tmp_path / "mine.docx")
    dock.wait(lambda: dock.message.level == "error")
    assert "must end in .png, .pdf or .svg" in dock.message.text


def test_full_size_opens_a_window(finished, open_dock):
    dock = open_dock()
    dock.wait(lambda: dock.view.plot is not None)
    dock.qtbot.mouseClick(dock.button("full_size"), Qt.MouseButton.LeftButton)
    dock.wait(lambda: dock.dock.findChild(QScrollArea, "full_size_window"))
    window = dock.dock.findChild(QScrollArea, "full_size_window")
    assert window.isVisible()
    assert window.windowTitle() == "Before and after alignment"
    assert window.widget().pixmap().width() > 600
    window.close()


@pytest.fixture
def slow(monkeypatch):
    """Let each figure wait when it is drawn, until it is let go."""

    class Slow:
        began, goes_on, threads = threading.Event(), threading.Event(), []

    draw = Figure.draw

    def slow_draw(self, renderer):
        Slow.threads.append(threading.current_thread())
        Slow.began.set()
        assert Slow.goes_on.wait(LONG / 1000)
        draw(self, renderer)

    Slow.goes_on.set()
    monkeypatch.setattr(Figure, "draw", slow_draw)
    yield Slow
    Slow.goes_on.set()


def test_no_plot_is_drawn_in_the_thread_of_the_window(
    finished, open_dock, tmp_path, slow
):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    for name in ("excess_heatmap", "ratio_histogram"):
        dock.choose(name)
    dock.dock.resize(600, 700)
    dock.settle()
    dock.dock.resize(1400, 900)
    dock.wait(lambda: not dock.view.room.is_narrow)
    dock.settle()
    dock.dock.save_picture(tmp_path / "plot.pdf")
    dock.wait((tmp_path / "plot.pdf").is_file)
    dock.qtbot.mouseClick(dock.button("full_size"), Qt.MouseButton.LeftButton)
    dock.wait(lambda: dock.dock.findChild(QScrollArea, "full_size_window"))
    dock.wait(lambda: not finished.jobs.is_working)
    assert len(slow.threads) >= 6
    assert threading.main_thread() not in slow.threads


@pytest.mark.parametrize("button", ["save_picture", "full_size"])
def test_a_plot_is_used_while_its_file_is_drawn(
    finished, open_dock, tmp_path, monkeypatch, button, slow
):
    dock = open_dock(height=1100)  # a message below takes no room from the plot
    dock.wait(lambda: dock.list.entries)
    dock.choose("excess_heatmap")
    figure = draw_figure(finished.task(), "excess_heatmap", narrow=True)
    place = place_of(figure, 40.0, 56.0)
    before = dock.picture.width()
    path = tmp_path / "plot.png"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    slow.began.clear()
    slow.goes_on.clear()
    dock.qtbot.mouseClick(dock.button(button), Qt.MouseButton.LeftButton)
    dock.wait(slow.began.is_set)
    # What is there fills the room at once, and is drawn anew afterwards.
    dock.dock.resize(dock.dock.width() - 60, dock.dock.height())
    dock.wait(lambda: dock.picture.width() < before)
    assert not dock.view.is_sharp
    dock.click(*place)
    assert dock.button("use_scale").isEnabled()
    slow.goes_on.set()
    dock.settle()
    if button == "save_picture":
        dock.wait(lambda: dock.message.text == f"Saved as {path}")
    else:
        dock.wait(lambda: dock.dock.findChild(QScrollArea, "full_size_window"))
    assert dock.button(button).isEnabled()
    # As sharp as if it had been opened at this size.
    expected = open_dock(dock.dock.width(), height=1100)
    expected.choose("excess_heatmap")
    for one in (dock, expected):
        one.click(*place)
    assert np.array_equal(dock.pixels(), expected.pixels())


def test_the_plot_chosen_last_is_the_one_shown(finished, open_dock, slow):
    dock = open_dock()
    dock.wait(lambda: dock.list.entries)
    dock.choose("excess_heatmap")
    slow.began.clear()
    slow.goes_on.clear()
    dock.dock.resize(700, 900)  # the size is what the plot before is drawn for
    dock.wait(slow.began.is_set)
    dock.list.choose("registration")
    dock.list.choose("ratio_histogram")
    dock.dock.resize(520, 900)
    slow.goes_on.set()
    dock.wait(lambda: not finished.jobs.is_working)
    dock.settle_for_good()  # the plot that is given up may be the last one to end
    assert dock.list.current.name == "ratio_histogram"
    shown = dock.pixels()
    dock.choose("difference_image")
    dock.choose("ratio_histogram")
    dock.settle_for_good()
    assert np.array_equal(dock.pixels(), shown)


def test_a_plot_that_goes_while_it_is_saved_is_saved(finished, open_dock, tmp_path):
    dock = open_dock()
    dock.wait(lambda: dock.view.plot is not None)
    dock.dock.save_picture(tmp_path / "plot.pdf")
    finished.set_source(output_dir=tmp_path / "elsewhere")
    dock.wait(lambda: dock.view.plot is None)
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
    dock.wait(lambda: dock.view.plot is not None)
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
        inches = dock.view.plot.inches
        assert dock.picture.width() / dock.picture.height() == pytest.approx(
            inches[0] / inches[1], rel=0.01
        )
        assert dock.picture.width() <= dock.view.viewport().width()


def test_a_wider_dock_gets_the_wide_layout(finished, open_dock):
    dock = open_dock(width=500)
    dock.wait(lambda: dock.view.plot is not None)
    tall = dock.view.plot.inches
    dock.dock.resize(1400, 900)
    dock.wait(lambda: dock.view.plot.inches[0] > 1.5 * tall[0])


def test_neither_pyplot_nor_another_backend_is_loaded():
    code = (
        "import sys, matplotlib\n"
        "before = dict.__getitem__(matplotlib.rcParams, 'backend')\n"
        "import napari_exo2micro.plugin.diagnostics.dock\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict.__getitem__(matplotlib.rcParams, 'backend') == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_docks_share_one_session(finished, open_dock, viewer):
    one, two = open_dock(), open_dock()
    for dock in (one, two):
        dock.wait(lambda dock=dock: dock.view.plot is not None)
    assert Session.of(viewer) is finished
    assert one.view.plot is not two.view.plot
