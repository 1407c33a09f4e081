"""The log panel: records as they come, of any thread, and the run log of a folder."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSpinBox,
    QTabWidget,
)

from napari_exo2micro.core.base import log_path
from napari_exo2micro.core.pipeline import run_log
from napari_exo2micro.plugin.log.dock import LogPanel, LogView, as_entries
from napari_exo2micro.plugin.session.session import Session

LOGGER = logging.getLogger("napari_exo2micro.core.anything")


class Page:
    """One of the two pages, by the names of what is on it."""

    def __init__(self, panel: LogPanel, name: str) -> None:
        self.widget = self.view = panel.findChild(LogView, name)

    def child(self, kind: Any, name: str) -> Any:
        found = self.widget.findChild(kind, name)
        assert found is not None
        return found

    def press(self, name: str) -> None:
        self.child(QPushButton, name).click()

    @property
    def lines(self) -> list[str]:
        return self.view.text.split("\n") if self.view.text else []

    @property
    def texts(self) -> list[str]:
        """The lines without clock and kind."""
        return [line[17:] for line in self.lines]


@pytest.fixture
def panel(qtbot, viewer: ViewerModel, session: Session) -> LogPanel:
    made = LogPanel(viewer)
    qtbot.addWidget(made)
    return made


@pytest.fixture
def now(panel: LogPanel) -> Page:
    return Page(panel, "this_session")


@pytest.fixture
def earlier(qtbot, panel: LogPanel) -> Page:
    panel.show()
    panel.findChild(QTabWidget, "log_tabs").setCurrentIndex(1)
    return Page(panel, "earlier_runs")


# This session ----------------------------------------------------------------


def test_records_of_every_thread_appear_in_order(qtbot, now: Page) -> None:
    LOGGER.debug("too fine")
    LOGGER.info("%d matches", 12)

    def work() -> None:
        for number in range(50):
            LOGGER.info("step %d", number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    LOGGER.warning("dim")
    wanted = ["12 matches", *(f"step {number}" for number in range(50)), "dim"]
    qtbot.waitUntil(lambda: now.texts == wanted, timeout=300_000)
    assert now.lines[0][8:] == " note    12 matches"
    assert now.lines[-1][8:] == " warning dim"


def test_what_was_logged_before_the_panel_was_opened_is_there(
    qtbot, viewer: ViewerModel, session: Session
) -> None:
    LOGGER.info("early")
    panel = LogPanel(viewer)
    qtbot.addWidget(panel)
    assert Page(panel, "this_session").texts == ["early"]


def test_a_traceback_stands_below_its_line(qtbot, now: Page) -> None:
    try:
        raise ZeroDivisionError("mine")
    except ZeroDivisionError:
        LOGGER.exception("a plot failed")
    qtbot.waitUntil(lambda: bool(now.lines), timeout=300_000)
    assert now.lines[0][8:] == " error   a plot failed"
    assert now.lines[-1] == " " * 17 + "ZeroDivisionError: mine"


def test_lines_are_filtered_and_come_back(qtbot, now: Page) -> None:
    level = now.child(QComboBox, "level")
    LOGGER.info("a")
    LOGGER.warning("b")
    LOGGER.error("c")
    qtbot.waitUntil(lambda: len(now.lines) == 3, timeout=300_000)
    level.setCurrentText("warnings and errors")
    assert now.texts == ["b", "c"]
    LOGGER.info("d")
    LOGGER.error("e")
    qtbot.waitUntil(lambda: now.texts == ["b", "c", "e"], timeout=300_000)
    level.setCurrentText("errors only")
    assert now.texts == ["c", "e"]
    level.setCurrentText("everything")
    assert now.texts == ["a", "b", "c", "d", "e"]


def test_cleared_lines_stay_away(qtbot, now: Page) -> None:
    LOGGER.info("old")
    qtbot.waitUntil(lambda: bool(now.lines), timeout=300_000)
    now.press("clear")
    assert now.lines == []
    LOGGER.info("new")
    qtbot.waitUntil(lambda: now.texts == ["new"], timeout=300_000)
    now.child(QComboBox, "level").setCurrentText("errors only")
    now.child(QComboBox, "level").setCurrentText("everything")
    assert now.texts == ["new"]


def test_a_flood_stays_bounded(qtbot, now: Page, monkeypatch) -> None:
    for number in range(5000):
        LOGGER.info("%d", number)
    qtbot.waitUntil(lambda: now.texts[-1:] == ["4999"], timeout=300_000)
    assert now.texts == [str(number) for number in range(3000, 5000)]


def test_whoever_reads_further_up_is_left_there(qtbot, panel, now: Page) -> None:
    panel.resize(400, 300)
    panel.show()
    bar = now.child(QPlainTextEdit, "lines").verticalScrollBar()
    for number in range(200):
        LOGGER.info("line %d of some words that need more than one row", number)
    qtbot.waitUntil(lambda: len(now.lines) == 200, timeout=300_000)
    qtbot.waitUntil(lambda: bar.value() == bar.maximum() > 0, timeout=300_000)
    bar.setValue(10)
    LOGGER.info("last")
    qtbot.waitUntil(lambda: now.texts[-1] == "last", timeout=300_000)
    assert bar.value() == 10
    bar.setValue(bar.maximum())
    LOGGER.info("very last")
    qtbot.waitUntil(lambda: now.texts[-1] == "very last", timeout=300_000)
    qtbot.waitUntil(lambda: bar.value() == bar.maximum(), timeout=300_000)


def test_copying_takes_the_marked_or_all(qtbot, now: Page) -> None:
    LOGGER.info("one <b>bold</b>")
    LOGGER.info("two")
    qtbot.waitUntil(lambda: len(now.lines) == 2, timeout=300_000)
    clipboard = QGuiApplication.clipboard()
    now.press("copy")
    assert clipboard.text() == now.view.text
    assert "one <b>bold</b>" in clipboard.text()
    cursor = now.child(QPlainTextEdit, "lines").textCursor()
    cursor.setPosition(len(now.view.text) - 3)
    cursor.movePosition(cursor.MoveOperation.End, cursor.MoveMode.KeepAnchor)
    now.child(QPlainTextEdit, "lines").setTextCursor(cursor)
    now.press("copy")
    assert clipboard.text() == "two"


def test_a_record_that_cannot_be_formatted_does_no_harm(
    qtbot, now: Page, monkeypatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    LOGGER.info("%d", "no number")
    LOGGER.info("next")
    qtbot.waitUntil(lambda: now.texts == ["next"], timeout=300_000)


# Search ----------------------------------------------------------------------


def test_only_what_has_a_text_is_shown(qtbot, now: Page) -> None:
    for text in ("Stage one", "stage two", "else", "stage three"):
        LOGGER.info("%s", text)
    qtbot.waitUntil(lambda: len(now.lines) == 4, timeout=300_000)
    wanted = now.child(QLineEdit, "find")
    wanted.setText("STAGE")
    assert now.texts == ["Stage one", "stage two", "stage three"]
    LOGGER.info("stage four")
    LOGGER.info("nothing of it")
    qtbot.waitUntil(lambda: now.texts[-1:] == ["stage four"], timeout=300_000)
    wanted.setText("nothing like it")
    assert now.lines == []
    wanted.clear()
    assert len(now.lines) == 6


# The handler -----------------------------------------------------------------


def test_nothing_is_heard_once_the_session_is_closed(viewer: ViewerModel) -> None:
    session = Session.of(viewer)
    LOGGER.info("heard")
    session.close()
    LOGGER.error("of no interest")
    assert [record.text for record in session.records.since()] == ["heard"]


def test_a_panel_that_is_gone_hears_nothing(
    qtbot, viewer: ViewerModel, session: Session
) -> None:
    panel = LogPanel(viewer)
    with qtbot.waitSignal(panel.destroyed, timeout=300_000):
        panel.deleteLater()
    with qtbot.waitSignal(session.records.added, timeout=300_000):
        LOGGER.error("after")


# Earlier runs ----------------------------------------------------------------


def write_runs(folder: Path, *titles: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for title in titles:
        with run_log(folder, title=title) as log:
            LOGGER.warning("of %s", title)
            log.conclude("complete")


def test_the_run_log_of_the_results_folder_is_shown(
    qtbot, earlier: Page, session: Session
) -> None:
    qtbot.waitUntil(
        lambda: str(log_path(session.output_dir)) in path(earlier), timeout=300_000
    )
    assert earlier.lines == []
    assert (
        "No run has been logged"
        in earlier.child(QPlainTextEdit, "lines").placeholderText()
    )
    write_runs(session.output_dir, "Rock DAPI")
    earlier.press("refresh")
    qtbot.waitUntil(lambda: "of Rock DAPI" in earlier.view.text, timeout=300_000)
    begin = next(line for line in earlier.lines if "begin" in line)
    assert begin.endswith(" begin   Rock DAPI")
    assert " end     after" in earlier.lines[-1]
    assert "complete" in earlier.lines[-1]


def path(page: Page) -> str:
    return str(page.child(QLabel, "log_path").text())


def test_it_follows_the_results_folder(
    qtbot, earlier: Page, session: Session, tmp_path: Path
) -> None:
    write_runs(tmp_path / "other", "the other one")
    session.set_source(output_dir=tmp_path / "other")
    qtbot.waitUntil(lambda: "of the other one" in earlier.view.text, timeout=300_000)
    assert path(earlier) == str(log_path(tmp_path / "other"))
    session.set_source(output_dir=tmp_path / "third")
    qtbot.waitUntil(lambda: earlier.lines == [], timeout=300_000)


def test_a_run_appears_when_it_has_ended(
    qtbot, earlier: Page, session: Session
) -> None:
    with qtbot.waitSignal(session.run_ended, timeout=300_000):
        session.run(1, 1)
    ended = "stage 1, padding: ended"
    qtbot.waitUntil(lambda: ended in earlier.view.text, timeout=300_000)
    qtbot.waitUntil(lambda: "complete" in earlier.lines[-1], timeout=300_000)


def test_the_number_of_lines_can_be_chosen(
    qtbot, earlier: Page, session: Session
) -> None:
    write_runs(session.output_dir, *(f"run {number}" for number in range(9)))
    earlier.press("refresh")
    qtbot.waitUntil(lambda: "of run 0" in earlier.view.text, timeout=300_000)
    earlier.child(QSpinBox, "line_count").setValue(10)
    qtbot.waitUntil(lambda: len(earlier.lines) == 10, timeout=300_000)
    assert "of run 8" in earlier.view.text


def test_a_log_that_cannot_be_read_is_told_in_the_panel(
    qtbot, earlier: Page, session: Session, monkeypatch
) -> None:
    write_runs(session.output_dir, "a")

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("napari_exo2micro.core.base.log.Path.open", refuse)
        earlier.press("refresh")
        message = earlier.child(QLabel, "message")
        qtbot.waitUntil(lambda: "Permission denied" in message.text(), timeout=300_000)
    earlier.press("refresh")
    qtbot.waitUntil(lambda: "of a" in earlier.view.text, timeout=300_000)
    assert message.text() == ""


def test_lines_of_an_entry_belong_together_and_dates_are_left_out() -> None:
    lines = [
        "2026-11-22 14:05:30 aaaaaa end     after 1.0 s: complete",
        "",
        "2026-11-22 14:05:31 bbbbbb begin   Rock DAPI, stages 1 to 4",
        "2026-11-22 14:05:31 bbbbbb           parameters   pad=60",
        "2026-11-22 14:05:32 bbbbbb note    stage 1, padding: begins",
        "half a li",
    ]
    assert as_entries(lines) == [
        ("end", "14:05:30 aaaaaa end     after 1.0 s: complete\n"),
        (
            "begin",
            "2026-11-22 14:05:31 bbbbbb begin   Rock DAPI, stages 1 to 4\n"
            "14:05:31 bbbbbb           parameters   pad=60",
        ),
        ("note", "14:05:32 bbbbbb note    stage 1, padding: begins\nhalf a li"),
    ]


def test_earlier_runs_are_filtered_too(qtbot, earlier: Page, session: Session) -> None:
    write_runs(session.output_dir, "Rock DAPI", "Rock Cy5")
    earlier.press("refresh")
    qtbot.waitUntil(lambda: "of Rock Cy5" in earlier.view.text, timeout=300_000)
    earlier.child(QComboBox, "level").setCurrentText("warnings and errors")
    assert [line[-12:].strip() for line in earlier.lines] == [
        "of Rock DAPI",
        "of Rock Cy5",
    ]


def test_everything_has_a_tooltip(panel: LogPanel) -> None:
    for kind in (QPushButton, QSpinBox, QComboBox):
        for widget in panel.findChildren(kind):
            assert widget.toolTip()
            assert widget.objectName()
