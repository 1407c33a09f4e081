"""The log panel: what is going on now, and what earlier runs said."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import (
    QColor,
    QFontDatabase,
    QFontMetricsF,
    QGuiApplication,
    QShowEvent,
    QSyntaxHighlighter,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
)
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QTabWidget,
    QTextEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.base import Monitor, log_path, read_log_tail
from napari_exo2micro.plugin.session.records import KeptRecord
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip, button
from napari_exo2micro.plugin.widgets.dock import Dock

_MOST_MARKED = 2000
_MARKED, _CHOSEN = "#ffe9a8", "#ff9f1a"

# Each brings its background, so it can be read on napari's dark and light themes.
_BACKGROUNDS = {
    "begin": "#1f4d7a",
    "warning": "#7a5a00",
    "error": "#8a1f1f",
    "complete": "#1f5f35",
    "degraded": "#7a5a00",
    "stopped": "#4d4d4d",
    "interrupted": "#4d4d4d",
}
_LINE = re.compile(
    r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d (?:[0-9a-f]{6} )?"
    r"(begin|note|warning|error|end)\b(?: +after [\d.]+ s: (\w+))?"
)


class _Colours(QSyntaxHighlighter):
    """Marks the word that says what kind of line it is."""

    def highlightBlock(self, text: str | None) -> None:
        """Mark the words of one line."""
        found = _LINE.match(text or "")
        if found is None:
            return
        for group in (1, 2):
            colour = _BACKGROUNDS.get(found[group] or "")
            if colour is not None:
                marked = QTextCharFormat()
                marked.setBackground(QColor(colour))
                marked.setForeground(QColor("white"))
                self.setFormat(found.start(group), len(found[group]), marked)


class LogView(QWidget):
    """Lines of a log: read-only, with the kinds of lines marked, and a search.

    Parameters
    ----------
    most_lines : int
        Older lines are dropped.
    placeholder : str
        Shown while there are no lines.
    indent : int
        Where the text begins: long lines go on below that, in characters.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self,
        most_lines: int,
        placeholder: str,
        *,
        indent: int,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._indent = indent
        self._lines = QTextEdit(self)
        self._lines.setObjectName("lines")
        self._lines.setReadOnly(True)
        self._lines.setUndoRedoEnabled(False)
        self._lines.setAcceptRichText(False)
        self._lines.setPlaceholderText(placeholder)
        family = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont).family()
        # The place that a search went to stands out of the others that it marked.
        self._lines.setStyleSheet(
            f"QTextEdit {{ font-family: '{family}', monospace; "
            f"selection-background-color: {_CHOSEN}; selection-color: black; }}"
        )
        self._document = QTextDocument(self._lines)
        self._lines.setDocument(self._document)
        self._document.setMaximumBlockCount(most_lines)
        self._colours = _Colours(self._document)
        self._follows = True
        bar = self._lines.verticalScrollBar()
        if bar is not None:
            bar.valueChanged.connect(self._on_scrolled)
            bar.rangeChanged.connect(self._on_range)
        self._wanted = QLineEdit(self)
        self._wanted.setObjectName("find")
        self._wanted.setPlaceholderText("Find text")
        self._wanted.setClearButtonEnabled(True)
        self._wanted.setToolTip(
            "Marks every place with this text, whether in small or capital letters; "
            "the Enter key goes to the next one."
        )
        self._found = QLabel(self)
        self._found.setObjectName("found")
        self._wanted.textChanged.connect(self._on_wanted)
        self._wanted.returnPressed.connect(self.find_next)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._lines, 1)
        row = QHBoxLayout()
        row.addWidget(self._wanted, 1)
        for name, arrow, tip, do in (
            ("find_previous", Qt.ArrowType.UpArrow, "previous", self.find_previous),
            ("find_next", Qt.ArrowType.DownArrow, "next", self.find_next),
        ):
            button = QToolButton(self)
            button.setObjectName(name)
            button.setArrowType(arrow)
            button.setToolTip(f"Go to the {tip} place with this text.")
            button.clicked.connect(do)
            row.addWidget(button)
        row.addWidget(self._found)
        layout.addLayout(row)

    # Lines -------------------------------------------------------------------

    @property
    def text(self) -> str:
        """All lines that are shown."""
        return self._lines.toPlainText()

    def set_lines(self, lines: list[str]) -> None:
        """Show these lines instead, the last one in sight."""
        self._follows = True
        self._lines.clear()
        self.add_lines(lines)

    def add_lines(self, lines: list[str]) -> None:
        """Add lines; whoever reads further up is left there."""
        if not lines:
            return
        cursor = QTextCursor(self._document)
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        if not self._document.isEmpty():
            cursor.insertBlock()
        cursor.setBlockFormat(self._hanging())
        cursor.insertText("\n".join(lines))
        cursor.endEditBlock()
        self._search()

    def _hanging(self) -> QTextBlockFormat:
        """Return a format whose lines go on below where their text begins."""
        self._lines.ensurePolished()
        metrics = QFontMetricsF(self._lines.font())
        width = metrics.horizontalAdvance(" " * self._indent)
        made = QTextBlockFormat()
        made.setLeftMargin(width)
        made.setTextIndent(-width)
        return made

    def _on_scrolled(self, value: int) -> None:
        bar = self._lines.verticalScrollBar()
        self._follows = bar is None or value >= bar.maximum()

    def _on_range(self, _least: int, most: int) -> None:
        """Keep the last line in sight: lines were added, or wrap in another width."""
        bar = self._lines.verticalScrollBar()
        if self._follows and bar is not None:
            bar.setValue(most)

    def copy(self) -> None:
        """Copy what is marked with the mouse, or else everything."""
        chosen = self._lines.textCursor().selectedText().replace("\u2029", "\n")
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(chosen or self.text)

    # Search ------------------------------------------------------------------

    def find_next(self) -> None:
        """Go to the next place with the text; after the last one to the first."""
        self._go(backwards=False)

    def find_previous(self) -> None:
        """Go to the previous place with the text; before the first to the last."""
        self._go(backwards=True)

    def _go(self, *, backwards: bool) -> None:
        wanted = self._wanted.text()
        if not wanted:
            return
        flag = QTextDocument.FindFlag.FindBackward if backwards else _FORWARD
        if not self._lines.find(wanted, flag):
            edge = QTextCursor.MoveOperation
            self._lines.moveCursor(edge.End if backwards else edge.Start)
            self._lines.find(wanted, flag)

    def _on_wanted(self) -> None:
        """Go to the last place with the text: the newest one."""
        self._search()
        self._lines.moveCursor(QTextCursor.MoveOperation.End)
        self.find_previous()

    def _search(self) -> None:
        """Mark every place with the text and say how many there are."""
        wanted = self._wanted.text()
        marks: list[QTextEdit.ExtraSelection] = []
        if wanted:
            cursor = self._document.find(wanted, 0)
            while not cursor.isNull() and len(marks) < _MOST_MARKED:
                mark = QTextEdit.ExtraSelection()
                mark.cursor = cursor
                mark.format.setBackground(QColor(_MARKED))
                mark.format.setForeground(QColor("black"))
                marks.append(mark)
                cursor = self._document.find(wanted, cursor)
        self._lines.setExtraSelections(marks)
        more = "more than " if len(marks) == _MOST_MARKED else ""
        count = f"{more}{len(marks)} found" if marks else "not found"
        self._found.setText(count if wanted else "")


_FORWARD = QTextDocument.FindFlag(0)


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
