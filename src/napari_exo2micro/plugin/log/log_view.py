"""Lines of a log, to read and to search."""

from __future__ import annotations

import re

from qtpy.QtCore import Qt
from qtpy.QtGui import (
    QColor,
    QFontDatabase,
    QFontMetricsF,
    QGuiApplication,
    QSyntaxHighlighter,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
)
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QTextEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

__all__ = ["LogView"]

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
