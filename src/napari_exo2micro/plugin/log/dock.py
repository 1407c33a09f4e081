"""The log panel: what is going on now, and what earlier runs said."""

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qtpy import QtGui, QtWidgets

from napari_exo2micro.core.base import Monitor, log_path, read_log_tail
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.session.session import KeptRecord
from napari_exo2micro.plugin.widgets import controls

#: What can be shown -> the kinds of entries; None for every one.
FILTERS = {
    "everything": None,
    "warnings and errors": ("warning", "error"),
    "errors only": ("error",),
}
#: Kind and text of an entry; the text may have several lines.
Entry = tuple[str, str]

_MOST_LINES = 2000
_INDENT = " " * len("14:05:31 warning ")
# Each brings its background, so it can be read on napari's dark and light themes.
_BACKGROUNDS = {"begin": "#1f4d7a", "warning": "#7a5a00", "error": "#8a1f1f"}
_KIND = re.compile(rf"[-\d: ]*(?:[0-9a-f]{{6}} )?({'|'.join(_BACKGROUNDS)})\b")
# Date, clock, the letters of the run and what kind of line it is.
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [0-9a-f]{6} ([a-z ]{7})")


class _Colours(QtGui.QSyntaxHighlighter):
    """Marks the word that says what kind of line it is."""

    def highlightBlock(self, text: str | None) -> None:
        """Mark the word of one line."""
        match = _KIND.match(text or "")
        if match is not None:
            marked = QtGui.QTextCharFormat()
            marked.setBackground(QtGui.QColor(_BACKGROUNDS[match[1]]))
            marked.setForeground(QtGui.QColor("white"))
            self.setFormat(match.start(1), len(match[1]), marked)


class LogView(QtWidgets.QWidget):
    """The entries of a log that pass a filter, the newest last."""

    def __init__(self, name: str, placeholder: str, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._entries: list[Entry] = []
        self._lines = QtWidgets.QPlainTextEdit(self)
        self._lines.setObjectName("lines")
        self._lines.setReadOnly(True)
        self._lines.setPlaceholderText(placeholder)
        self._lines.setMaximumBlockCount(_MOST_LINES)
        family = QtGui.QFontDatabase.systemFont(
            QtGui.QFontDatabase.SystemFont.FixedFont
        ).family()
        self._lines.setStyleSheet(f"font-family: '{family}', monospace;")
        self._colours = _Colours(self._lines.document())
        tip = "Which lines are shown; the others are kept."
        self._level = controls.combo_box(self, "level", tip, FILTERS, self._show_all)
        tip = "Show only what has this text, whether in small or capital letters."
        self._wanted = controls.line_edit(
            self, "find", tip, "Only with this text", self._show_all
        )
        self._wanted.setClearButtonEnabled(True)
        tip = "Copy the lines that are marked, or else all."
        self.copy_button = controls.button(self, "copy", "Copy", tip, self.copy)
        self.filters = controls.row("Show", (self._level, 1), (self._wanted, 1))

    @property
    def text(self) -> str:
        """All lines that are shown."""
        return self._lines.toPlainText()

    def set_entries(self, entries: Iterable[Entry]) -> None:
        """Show these entries instead, the last one in sight."""
        self._entries = list(entries)
        self._show_all()

    def add_entries(self, entries: Iterable[Entry]) -> None:
        """Add entries; whoever reads further up is left there."""
        new = list(entries)
        self._entries = [*self._entries, *new][-_MOST_LINES:]
        for entry in filter(self._passes, new):
            self._lines.appendPlainText(entry[1])

    def copy(self) -> None:
        """Copy what is marked with the mouse, or else everything."""
        marked = self._lines.textCursor().selection().toPlainText()
        clipboard = QtGui.QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(marked or self.text)

    def _passes(self, entry: Entry) -> bool:
        kind, text = entry
        kinds = FILTERS[self._level.currentText()]
        wanted = self._wanted.text().casefold()
        return (kinds is None or kind in kinds) and wanted in text.casefold()

    def _show_all(self) -> None:
        shown = (text for _, text in filter(self._passes, self._entries))
        self._lines.setPlainText("\n".join(shown))
        bar = self._lines.verticalScrollBar()
        if bar is not None:
            bar.setValue(bar.maximum())


class LogPanel(Panel):
    """What the package does now, and the run log of the results folder."""

    NAME = "log_panel"
    LEAST = (0, 0)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._tabs = QtWidgets.QTabWidget(self)
        self._tabs.setObjectName("log_tabs")
        self._tabs.addTab(ThisSession(self), "This session")
        self._tabs.addTab(EarlierRuns(self), "Earlier runs")
        controls.column(self._tabs, parent=self)


class ThisSession(LogView):
    """What the package did since the viewer was opened, as it happens."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(
            "this_session",
            "Nothing has happened yet. What the stages do will appear here.",
            panel,
        )
        self._records = panel.session.records
        self._last = 0
        tip = "Empty this list; the run log in the results folder stays."
        clear = controls.button(
            self, "clear", "Clear", tip, lambda: self.set_entries(())
        )
        controls.column(
            self.filters,
            (self._lines, 1),
            controls.row(None, self.copy_button, clear),
            parent=self,
        )
        self._records.added.connect(self._show_new)
        self._show_new()

    def _show_new(self) -> None:
        records = self._records.since(self._last)
        if records:
            self._last = records[-1].number
            self.add_entries(map(_entry, records))


def _entry(record: KeptRecord) -> Entry:
    """Return a record for a reader: the time before its first line."""
    clock = time.strftime("%H:%M:%S", time.localtime(record.time))
    text = record.text.rstrip().replace("\n", f"\n{_INDENT}")
    return record.kind, f"{clock} {record.kind:<7} {text}"


class EarlierRuns(LogView):
    """The end of the run log in the results folder.

    It is read when it comes into sight, when a run has ended, when the folder
    changes, and on request.
    """

    def __init__(self, panel: Panel) -> None:
        super().__init__(
            "earlier_runs",
            "No run has been logged in this results folder yet. Run a stage, or "
            "choose another results folder in the workbench.",
            panel,
        )
        self._session = session = panel.session
        self._path = controls.WordsLabel("log_path", self)
        self._path.setToolTip("The run log: a text file that any editor opens.")
        self._count = controls.spin_box(
            self,
            "line_count",
            (10, _MOST_LINES),
            300,
            "How many lines from the end of the log are read.",
            self.refresh,
            suffix=" lines",
            step=100,
        )
        tip = "Read the log again: other programs may have written to it."
        again = controls.button(self, "refresh", "Read again", tip, self.refresh)
        self._message = panel.message
        controls.column(
            self._path,
            self.filters,
            self._message,
            (self._lines, 1),
            controls.row("The last", self._count, None, again, self.copy_button),
            parent=self,
        )
        session.source_changed.connect(self._on_change)
        session.run_ended.connect(self._on_change)
        session.jobs.busy_changed.connect(self._on_change)

    def refresh(self) -> None:
        """Read the end of the log in the background."""
        folder = self._session.output_dir
        self._path.say(str(log_path(folder).absolute()))
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

    def showEvent(self, event: QtGui.QShowEvent | None) -> None:
        """Read the log when it comes into sight."""
        super().showEvent(event)
        self.refresh()

    def _on_change(self, *_: object) -> None:
        if self.isVisible():
            self.refresh()

    def _show(self, entries: list[Entry]) -> None:
        self._message.clear()
        self.set_entries(entries)


def _read(folder: Path, lines: int, monitor: Monitor) -> list[Entry]:
    monitor.check()
    return as_entries(read_log_tail(folder, lines))


def as_entries(lines: Iterable[str]) -> list[Entry]:
    """Return lines of the run log, those that belong together as one entry.

    The date stands only where a run begins: a dock is narrow.
    """
    entries: list[Entry] = []
    for line in lines:
        match = _LOGGED.match(line)
        kind = match[1].strip() if match else ""
        text = line if match is None or kind == "begin" else line[len("2026-11-22 ") :]
        if entries and not kind:
            before = entries.pop()
            entries.append((before[0], f"{before[1]}\n{text}"))
        else:
            entries.append((kind, text))
    return entries
