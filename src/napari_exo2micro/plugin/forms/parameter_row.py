"""One parameter in a form: label, field, reset button and what is wrong with it."""

from __future__ import annotations

import html
import re
from typing import cast

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QToolButton, QWidget

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.parameter_entry import Parameter, ParameterValue
from napari_exo2micro.core.value_text import value_words
from napari_exo2micro.plugin.forms.value_editors import (
    Editor,
    OptionalEditor,
    editor_for,
    unit_words,
)
from napari_exo2micro.plugin.message import STYLES
from napari_exo2micro.plugin.words_label import WordsLabel

__all__ = [
    "ParameterRow",
    "capitalised",
    "with_titles",
]

_FIELD_WIDTH = 118
_MARK_WIDTH = 12
# A middle tone: it stands out on napari's dark and light themes alike.
_CHANGED = "color: #d06a00; font-weight: bold; padding: 0px; margin: 0px;"
_REFUSED = f"QLabel {{ {STYLES['error']} padding: 4px; border-radius: 3px; }}"


def capitalised(text: str) -> str:
    """Return a text with its first letter large and the others as they are."""
    return text[:1].upper() + text[1:]


def with_titles(text: str) -> str:
    """Return a message of the core with labels in place of the names for scripts.

    Examples
    --------
    >>> with_titles("scale_min must not exceed scale_max")
    "'smallest magnification' must not exceed 'largest magnification'"
    """

    def title(word: re.Match[str]) -> str:
        entry = PARAMETER_REGISTRY.get(word[0])
        # A name without an underscore may be a word like any other.
        return f"'{entry.title}'" if entry and "_" in entry.name else word[0]

    return re.sub(r"\w+", title, text)


class ParameterRow(QWidget):
    """One parameter: its label, its field, and a button that resets it.

    A row knows nothing of other parameters: it shows what it is told and says what
    was typed; see `ParameterForm`.

    Parameters
    ----------
    entry : Parameter
        Of the registry.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    valueChanged : Signal(object)
        What the field shows now; it may be a value that cannot be taken.
    settled : Signal()
        The field was left, or what was chosen in it is complete.
    reset : Signal()
        The reset button was pressed.
    """

    valueChanged = Signal(object)
    settled = Signal()
    reset = Signal()

    def __init__(self, entry: Parameter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.entry = entry
        self.refusal = ""
        self.editor: Editor = editor_for(entry, self)
        tooltip = _tooltip(entry)
        title = capitalised(entry.title)
        in_label = unit_words(entry)[1]
        self._mark = QLabel(self)
        self._mark.setObjectName(f"mark_{entry.name}")
        self._mark.setFixedWidth(_MARK_WIDTH)
        self._mark.setStyleSheet(_CHANGED)
        self._label = WordsLabel(f"label_{entry.name}", self)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        self._label.say(f"{title} ({in_label})" if in_label else title)
        self._label.setToolTip(tooltip)
        self._label.setMinimumWidth(60)
        self._label.setBuddy(self.field)
        self.field.setToolTip(tooltip)
        self.field.setAccessibleName(title)
        self.field.setAccessibleDescription(entry.description)
        self.field.setFixedWidth(_FIELD_WIDTH)
        self._reset = QToolButton(self)
        self._reset.setObjectName(f"reset_{entry.name}")
        self._reset.setText("↺")
        self._reset.setAccessibleName(f"Reset {entry.title}")
        self._reset.clicked.connect(lambda _: self.reset.emit())
        self._refusal = WordsLabel(f"refusal_{entry.name}", self)
        self._grid = self._arrange()
        self._has_focus = False
        for stop in self.tab_stops():
            stop.installEventFilter(self)
        self.editor.changed.connect(self._on_change)
        self.editor.settled.connect(self.settled)
        self.set_changed(False)

    @property
    def field(self) -> QWidget:
        """The editor as a widget."""
        return cast(QWidget, self.editor)

    def value(self) -> ParameterValue:
        """Return what the field shows."""
        return self.editor.read()

    def setValue(self, value: ParameterValue) -> None:
        """Put a value into the field as if it had been typed."""
        self.editor.put(value)
        self.settled.emit()

    def show_value(self, value: ParameterValue) -> None:
        """Show a value that is known elsewhere; nothing is told of it."""
        if self.value() != value:
            with QSignalBlocker(self):
                self.editor.put(value)

    def set_changed(self, changed: bool) -> None:
        """Make the row stand out as one that differs from its default, or not."""
        if changed != bool(self._mark.text()):  # a style is not set for nothing
            default = value_words(self.entry.default)
            self._mark.setText("●" if changed else "")
            self._mark.setToolTip(
                f"Changed; the default is {default}." if changed else ""
            )
            self._write_label()
        self._update_reset(changed or bool(self.refusal))

    def refuse(self, text: str) -> None:
        """Say below the field why what it shows is not taken."""
        self.refusal = text
        self._refusal.say(text, _REFUSED)
        self._update_reset(True)

    def accept(self) -> None:
        """Take the message of `refuse` away."""
        self.refusal = ""
        self._refusal.say("")

    def add_below(self, widget: QWidget) -> None:
        """Add a widget of the row's whole width below the field."""
        self._grid.addWidget(widget, 1, 1, 1, 3)

    def tab_stops(self) -> list[QWidget]:
        """Return what the tab key goes through, in this order."""
        if isinstance(self.editor, OptionalEditor):
            stops = [self.editor.tick, cast(QWidget, self.editor.field)]
        else:
            stops = [self.field]
        return [*stops, self._reset]

    def eventFilter(self, a0: QObject | None, a1: QEvent | None) -> bool:
        """Underline the label while its field has the focus; some hardly show it."""
        if a1 is not None and a1.type() in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            self._has_focus = a1.type() == QEvent.Type.FocusIn
            self._write_label()
        return super().eventFilter(a0, a1)

    def _write_label(self) -> None:
        bold = "font-weight: bold;" if self._mark.text() else ""
        line = "text-decoration: underline;" if self._has_focus else ""
        self._label.setStyleSheet(bold + line)

    def _on_change(self) -> None:
        self.valueChanged.emit(self.value())

    def _update_reset(self, enabled: bool) -> None:
        default = value_words(self.entry.default)
        self._reset.setEnabled(enabled)
        self._reset.setToolTip(
            f"Back to the default: {default}"
            if enabled
            else f"This is the default: {default}"
        )

    def _arrange(self) -> QGridLayout:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(3)
        grid.setVerticalSpacing(2)
        grid.addWidget(self._mark, 0, 0)
        grid.addWidget(self._label, 0, 1)
        grid.addWidget(self.field, 0, 2)
        grid.addWidget(self._reset, 0, 3)
        grid.addWidget(self._refusal, 2, 1, 1, 3)
        grid.setColumnStretch(1, 1)
        return grid


def _tooltip(entry: Parameter) -> str:
    """Return description, limits, default and the names for scripts and files."""
    facts = [f"Default: {value_words(entry.default)}"]
    limits = entry.limits()
    if limits:
        whole = "whole number, " if entry.kind is int else ""
        facts.append(f"{whole}{limits}")
    return (
        f"<p>{html.escape(entry.description)}</p>"
        f"<p>{html.escape('; '.join(facts))}.<br>"
        f"In scripts <code>{entry.name}</code>, "
        f"in file names <code>{entry.abbreviation}</code>.</p>"
    )
