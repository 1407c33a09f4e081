"""Names that look like HTML or like formulas are shown as they are, everywhere."""

from __future__ import annotations

import sys
import threading

import pytest
from matplotlib.text import Text
from napari.utils.notifications import notification_manager
from napari.utils.progress import progress
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QLabel,
    QListWidget,
    QPushButton,
    QTabWidget,
    QTreeWidget,
)

from napari_exo2micro.core.base import RawDataError
from napari_exo2micro.core.parameters import save_preset
from napari_exo2micro.core.pipeline import available_figures, draw_figure
from napari_exo2micro.core.simulate import write_pair
from napari_exo2micro.plugin.batch.dock import BatchDock
from napari_exo2micro.plugin.batch.table import PairTable
from napari_exo2micro.plugin.log.dock import LogPanel
from napari_exo2micro.plugin.widgets.controls import literal
from napari_exo2micro.plugin.workbench.workbench import Workbench

LONG = 300_000
NAME = "<b>x$_a$<i>&lt;"
#: As odd as a sample's name may be.
SAMPLE, BARE = "x$_a$ &lt;i&gt;", "x$_a$"

needs_odd_names = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no files with such names"
)


@pytest.mark.parametrize("text", [NAME, "see <br> there", "a &lt; b", "<p>x"])
def test_what_looks_like_html_is_shown_as_it_is(qtbot, text):
    assert Qt.mightBeRichText(text)
    assert not Qt.mightBeRichText(literal(text))
    assert literal(text).replace("\u200b", "") == text
    label = QLabel(literal(text))
    plain = QLabel(text)
    plain.setTextFormat(Qt.TextFormat.PlainText)
    qtbot.addWidget(label)
    qtbot.addWidget(plain)
    assert label.sizeHint() == plain.sizeHint()


def test_what_does_not_stays():
    assert literal("3 < 4 & 5 > 2") == "3 < 4 & 5 > 2"


def tooltips(widget):
    """Yield all tooltips of a widget and of what it holds."""
    for one in [widget, *widget.findChildren(object)]:
        if hasattr(one, "toolTip") and callable(one.toolTip):
            try:
                yield one.toolTip()
            except TypeError:  # it asks for a column
                continue
    for tabs in widget.findChildren(QTabWidget):
        yield from (tabs.tabToolTip(index) for index in range(tabs.count()))
    for tree in widget.findChildren(QTreeWidget):
        waiting = [tree.topLevelItem(i) for i in range(tree.topLevelItemCount())]
        while waiting:
            item = waiting.pop()
            yield from (item.toolTip(column) for column in range(2))
            waiting += [item.child(i) for i in range(item.childCount())]
    for box in widget.findChildren(QListWidget):
        yield from (box.item(row).toolTip() for row in range(box.count()))


def labels(widget):
    """Return text and whether it is taken literally, of all labels."""
    return [
        (
            label.text(),
            label.textFormat() == Qt.TextFormat.PlainText
            or not Qt.mightBeRichText(label.text()),
        )
        for label in widget.findChildren(QLabel)
    ]


@needs_odd_names
def test_an_odd_sample_is_called_by_its_name(session, viewer, pair, tmp_path, qtbot):
    raw = tmp_path / "raw <b>"
    write_pair(pair, raw, SAMPLE, "DAPI")
    session.set_source(raw_dir=raw, output_dir=tmp_path / "<i>results", sample=SAMPLE)
    bench, log = Workbench(viewer), LogPanel(viewer)
    for widget in (bench, log):
        qtbot.addWidget(widget)
        widget.show()
    # While it runs: the progress, the tooltip of Abort.
    seen = set()

    def look(*_):
        seen.update(text for text in tooltips(bench) if BARE in text)
        seen.update(bar.desc for bar in progress._all_instances)

    session.jobs.busy_changed.connect(look)
    session.results_changed.connect(look)
    with qtbot.waitSignal(session.run_ended, timeout=LONG):
        session.run(1, 5)
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    look()
    bench.message.error(f"{SAMPLE} is not used")
    assert len(seen) > 5
    assert [text for text in seen if Qt.mightBeRichText(text)] == []
    named = [(text, is_plain) for text, is_plain in labels(bench) if BARE in text]
    assert (f"{SAMPLE} is not used", True) in named
    assert all(is_plain for _, is_plain in named)
    # Nothing else in there is taken for HTML but our own tooltips of parameters.
    assert not [t for t in tooltips(bench) if BARE in t and Qt.mightBeRichText(t)]
    task = session.task()
    for entry in available_figures(task):
        figure = draw_figure(task, entry.name)
        named = [text for text in figure.findobj(Text) if BARE in text.get_text()]
        assert named, entry.name
        assert not any(text.get_parse_math() for text in named)


@needs_odd_names
def test_an_odd_sample_of_a_batch_is_called_by_its_name(
    session, viewer, pair, tmp_path, qtbot
):
    raw = tmp_path / "raw <b>"
    write_pair(pair, raw, SAMPLE, "DAPI")
    write_pair(pair, raw, f"damaged {SAMPLE}", "DAPI")
    for path in (raw / f"damaged {SAMPLE}").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    session.set_params(pad=8)
    session.set_source(raw_dir=raw, output_dir=tmp_path / "<i>results")
    dock = BatchDock(viewer)
    qtbot.addWidget(dock)
    dock.form.load_preset(save_preset(tmp_path / "<b>mine.json", {"pad": 8}))
    for name, data in (("to_stage", 1), ("executor", "serial")):
        combo = dock.findChild(QComboBox, name)
        combo.setCurrentIndex(combo.findData(data))
    button = dock.findChild(QPushButton, "run_batch")
    problems = dock.findChild(QListWidget, "problems")
    qtbot.waitUntil(button.isEnabled, timeout=LONG)
    dock.run()
    qtbot.waitUntil(lambda: problems.count() > 0, timeout=LONG)
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    model = dock.findChild(PairTable, "pairs").model()
    tip = Qt.ItemDataRole.ToolTipRole
    texts = [
        model.headerData(section, across, tip)
        for across in Qt.Orientation
        for section in range(2 if across == Qt.Orientation.Vertical else 1)
    ]
    texts += [model.index(row, 0).data(tip) for row in range(2)]
    texts += [
        combo.itemData(index, tip) or ""
        for combo in dock.findChildren(QComboBox)
        for index in range(combo.count())
    ]
    texts += tooltips(dock)
    texts = [text for text in texts if text]
    plain = [text.replace("\u200b", "") for text in texts]
    for odd in (f"{SAMPLE}\n", f"{SAMPLE} / DAPI: done", "<b>mine.json", "<i>results"):
        assert any(odd in text for text in plain), odd
    assert any(f"damaged {SAMPLE} / DAPI: failed: " in text for text in plain)
    assert [text for text in texts if Qt.mightBeRichText(text)] == []
    assert all(is_plain for _, is_plain in labels(dock))


def test_progress_and_notifications_are_literal(session, qtbot):
    told = []
    notification_manager.notification_ready.connect(told.append)
    release = threading.Event()

    def work(monitor):
        monitor.report(0.5, NAME)
        release.wait(30)
        raise RawDataError(f"{NAME} is damaged; export it again")

    try:
        job = session.jobs.start(work, title=f"opening {NAME}")
        wanted = literal(f"opening {NAME}: {NAME}") + ": "
        qtbot.waitUntil(
            lambda: wanted in [bar.desc for bar in progress._all_instances],
            timeout=LONG,
        )
        with qtbot.waitSignal(job.finished, timeout=LONG):
            release.set()
    finally:
        release.set()
        notification_manager.notification_ready.disconnect(told.append)
    QApplication.processEvents()
    (one,) = told
    assert one.message == literal(f"{NAME} is damaged; export it again")
    assert not Qt.mightBeRichText(one.message)
