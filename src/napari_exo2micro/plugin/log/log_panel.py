"""The log panel: what is going on now, and what earlier runs said."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSpinBox,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.log_file import log_path, read_log_tail
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.controls import button
from napari_exo2micro.plugin.dock import Dock
from napari_exo2micro.plugin.log.kept_records import KeptRecord
from napari_exo2micro.plugin.log.log_view import LogView
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session

__all__ = ["EarlierRuns", "LogPanel", "ThisSession"]

_MOST_LINES = 2000
_COPY_TIP = "Copy the lines that are marked, or else all that are shown."
# The clock and the word for the kind of line come before the text.
_INDENT = len("14:05:31 warning ")
_LOGGED = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) ([0-9a-f]{6}) ([a-z ]{7}) ?(.*)"
)

#: What can be shown -> the kinds of records.
FILTERS = {
    "everything": ("note", "warning", "error"),
    "warnings and errors": ("warning", "error"),
    "errors only": ("error",),
}


class LogPanel(Dock):
    """What the package does now, and the run log of the results folder.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose session is followed.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.setObjectName("log_panel")
        session = Session.of(napari_viewer, self)
        self._tabs = QTabWidget(self)
        self._tabs.setObjectName("log_tabs")
        self._tabs.addTab(ThisSession(session, self), "This session")
        self._tabs.addTab(EarlierRuns(session, self), "Earlier runs")
        layout = QVBoxLayout(self)
        layout.addWidget(self._tabs)


class ThisSession(QWidget):
    """What the package did since the viewer was opened, as it happens.

    Parameters
    ----------
    session : Session
        Which keeps the records.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("this_session")
        self._records = session.records
        self._shown_up_to = 0
        self._cleared_up_to = 0
        self._filter = QComboBox(self)
        self._filter.setObjectName("level")
        self._filter.addItems(list(FILTERS))
        self._filter.setToolTip("Which lines are shown; the others are kept.")
        self._filter.currentTextChanged.connect(self._show_all)
        self._view = LogView(
            _MOST_LINES,
            "Nothing has happened yet. What the stages do will appear here.",
            indent=_INDENT,
            parent=self,
        )
        self._view.setObjectName("session_lines")
        copy = button(self, "copy", "Copy", _COPY_TIP)
        copy.clicked.connect(self._view.copy)
        clear = button(
            self,
            "clear",
            "Clear",
            "Empty this list; the run log in the results folder stays.",
        )
        clear.clicked.connect(self.clear)
        row = QHBoxLayout()
        row.addWidget(QLabel("Show", self))
        row.addWidget(self._filter)
        row.addStretch(1)
        row.addWidget(copy)
        row.addWidget(clear)
        layout = QVBoxLayout(self)
        layout.addLayout(row)
        layout.addWidget(self._view, 1)
        self._records.added.connect(self._show_new)
        self._show_all()

    def clear(self) -> None:
        """Show none of the lines there are so far."""
        self._cleared_up_to = self._shown_up_to
        self._show_all()

    def _show_all(self) -> None:
        self._shown_up_to = self._cleared_up_to
        self._view.set_lines(self._new_lines())

    def _show_new(self) -> None:
        self._view.add_lines(self._new_lines())

    def _new_lines(self) -> list[str]:
        """Return the lines of records that were not shown yet."""
        kinds = FILTERS[self._filter.currentText()]
        records = self._records.since(self._shown_up_to)
        if records:
            self._shown_up_to = records[-1].number
        return [line for r in records if r.kind in kinds for line in _lines(r)]


def _lines(record: KeptRecord) -> list[str]:
    """Return a record for a reader: its lines, the time before the first."""
    clock = time.strftime("%H:%M:%S", time.localtime(record.time))
    first, *more = record.text.split("\n")
    margin = " " * _INDENT
    return [f"{clock} {record.kind:<7} {first}", *(f"{margin}{line}" for line in more)]


class EarlierRuns(QWidget):
    """The end of the run log in the results folder.

    It is read when it comes into sight, when a run has ended, when the folder
    changes, and on request.

    Parameters
    ----------
    session : Session
        Whose results folder it is.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("earlier_runs")
        self._session = session
        self._path = QLabel(self)
        self._path.setObjectName("log_path")
        self._path.setToolTip("The run log: a text file that any editor opens.")
        self._path.setTextFormat(Qt.TextFormat.PlainText)
        self._path.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._path.setWordWrap(True)
        self._path.setSizePolicy(
            QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding
        )
        self._count = QSpinBox(self)
        self._count.setObjectName("line_count")
        self._count.setRange(10, _MOST_LINES)
        self._count.setSingleStep(100)
        self._count.setValue(300)
        self._count.setKeyboardTracking(False)
        self._count.setToolTip("How many lines from the end of the log are shown.")
        self._count.valueChanged.connect(self.refresh)
        refresh = button(
            self,
            "refresh",
            "Read again",
            "Read the log again: other programs may have written to it.",
        )
        refresh.clicked.connect(self.refresh)
        self._view = LogView(
            _MOST_LINES,
            "No run has been logged in this results folder yet. Run a stage, or "
            "choose another results folder in the workbench.",
            indent=_INDENT,
            parent=self,
        )
        self._view.setObjectName("log_lines")
        copy = button(self, "copy_log", "Copy", _COPY_TIP)
        copy.clicked.connect(self._view.copy)
        self._message = MessageStrip(self)
        row = QHBoxLayout()
        row.addWidget(QLabel("The last", self))
        row.addWidget(self._count)
        row.addWidget(QLabel("lines", self))
        row.addStretch(1)
        row.addWidget(refresh)
        row.addWidget(copy)
        layout = QVBoxLayout(self)
        layout.addWidget(self._path)
        layout.addLayout(row)
        layout.addWidget(self._message)
        layout.addWidget(self._view, 1)
        session.source_changed.connect(self._on_change)
        session.run_ended.connect(self._on_change)
        session.jobs.busy_changed.connect(self._on_change)

    def refresh(self) -> None:
        """Read the end of the log in the background."""
        folder = self._session.output_dir
        self._path.setText(str(log_path(folder).absolute()))
        self._session.jobs.start(
            _read,
            title="reading the run log",
            on_result=self._show,
            on_error=self._message.error,
            newest="run log",
            show_progress=False,
            folder=folder,
            lines=self._count.value(),
        )

    def showEvent(self, event: QShowEvent | None) -> None:
        """Read the log when it comes into sight."""
        super().showEvent(event)
        self.refresh()

    def _on_change(self, *_: object) -> None:
        if self.isVisible():
            self.refresh()

    def _show(self, lines: list[str]) -> None:
        self._message.clear()
        self._view.set_lines(shortened(lines))


def shortened(lines: Sequence[str]) -> list[str]:
    """Return lines of the run log as they fit into a dock.

    The date stands only where a run begins, the letters of a run only when several
    runs went on at once, and the lines below a line have no clock.

    Parameters
    ----------
    lines : sequence of str
        As `core.read_log_tail` returns them; what is no such line stays as it is.
    """
    found = [_LOGGED.fullmatch(line) for line in lines]
    mixed, running = False, ""
    for one in filter(None, found):
        if one[4].strip() == "begin" or not running:
            running = one[3]
        mixed = mixed or one[3] != running
    made = []
    for line, match in zip(lines, found, strict=True):
        if match is None:
            made.append(line)
            continue
        day, clock, run, kind, text = match.groups()
        first = f"{day} {clock}" if kind.strip() == "begin" else clock
        words = [first, run, kind, text] if mixed else [first, kind, text]
        margin = " " * (_INDENT + (len(run) + 1 if mixed else 0))
        made.append(" ".join(words) if kind.strip() else margin + text)
    return made


def _read(folder: Path, lines: int, monitor: Monitor) -> list[str]:
    monitor.check()
    return read_log_tail(folder, lines)
