"""One parameter in a form: label, field, reset button and what is wrong with it."""

from __future__ import annotations

import contextlib
import html
import math
import re
from collections.abc import Iterable
from typing import Any, Protocol, cast

from magicgui.backends._qtpy.widgets import QBaseValueWidget
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QValidator, QWheelEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    Parameter,
    ParameterValue,
    format_value,
    value_words,
)
from napari_exo2micro.plugin.widgets.controls import STYLES, WordsLabel

_LARGEST = 1e12
_DECIMALS = 20  # Qt rounds to them; so many leave every number as it was typed
_NUMBER = frozenset("0123456789.+-eE")
_WHOLE = frozenset("0123456789+-")


class NumberBox(QDoubleSpinBox):
    """A number that is shown and typed as people write it: 0.85, 1e-6, 1,15.

    What is typed is not clipped: who shows the box checks it and says what is wrong,
    so that nobody types 300 and unknowingly gets 30. The arrows stop at the limits.
    The mouse wheel changes only a box that has the focus: a form scrolls by wheel.

    Parameters
    ----------
    whole : bool
        Only whole numbers.
    minimum, maximum : float, optional
        Where the arrows stop.
    exclusive_minimum : bool
        Whether the arrows stop before `minimum`.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self,
        *,
        whole: bool = False,
        minimum: float | None = None,
        maximum: float | None = None,
        exclusive_minimum: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._whole = whole
        self._low = -math.inf if minimum is None else minimum
        self._high = math.inf if maximum is None else maximum
        self._excludes_low = exclusive_minimum
        self.setDecimals(0 if whole else _DECIMALS)
        self.setRange(-_LARGEST, _LARGEST)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def number(self) -> int | float:
        """Return the value in its type."""
        return round(self.value()) if self._whole else self.value()

    # What Qt asks for ------------------------------------------------------------

    def textFromValue(self, v: float) -> str:
        """Return a number as file names spell it, too."""
        return format_value(round(v) if self._whole else float(v))

    def valueFromText(self, text: str | None) -> float:
        """Return the number that was typed; a decimal comma is one, too."""
        value = self._read(text or "")
        return self.value() if value is None else value

    def validate(self, text: str | None, pos: int) -> tuple[QValidator.State, str, int]:
        """Tell whether a text is a number already or may become one."""
        text = text or ""
        bare = self._bare(text)
        if not set(bare) <= (_WHOLE if self._whole else _NUMBER):
            return QValidator.State.Invalid, text, pos
        if self._read(text) is None:
            return QValidator.State.Intermediate, text, pos
        return QValidator.State.Acceptable, text, pos

    def fixup(self, _text: str | None) -> str:
        """Go back to the last number when the field is left half typed."""
        return self.textFromValue(self.value()) + self.suffix()

    def stepBy(self, steps: int) -> None:
        """Go up or down by a step of about a tenth, never past a limit."""
        step = self._step()
        # On the grid of the step, so that 0.85 goes to 0.86 and not to 0.8600001.
        target = round(self.value() / step + steps) * step
        target = float(f"{target:.12g}")
        target = min(max(target, self._low), self._high)
        if self._excludes_low and target <= self._low:
            return
        self.setValue(target)
        self.editingFinished.emit()  # nothing half typed: it can be relied on

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Scroll the form, unless the field is being edited."""
        if event is None or self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    # How -------------------------------------------------------------------------

    def _bare(self, text: str) -> str:
        return text.removesuffix(self.suffix()).strip().replace(",", ".")

    def _read(self, text: str) -> float | None:
        with contextlib.suppress(ValueError):
            value = float(self._bare(text))
            if math.isfinite(value) and abs(value) <= _LARGEST:
                return value
        return None

    def _step(self) -> float:
        size = abs(self.value())
        if size == 0:
            span = min(self._high, _LARGEST) - max(self._low, 0.0)
            size = span / 10 if 0 < span < 10 else 1.0
        step = 10.0 ** (math.floor(math.log10(size)) - 1)
        return max(step, 1.0) if self._whole else step


_LONGEST_UNIT = 4


class Editor(Protocol):
    """What a row asks of its field; each one is a QWidget, too."""

    changed: Signal
    settled: Signal

    def read(self) -> ParameterValue:
        """Return what the field shows; it need not be a value that is taken."""

    def put(self, value: ParameterValue) -> None:
        """Show a value."""


class TickEditor(QCheckBox):
    """On or off."""

    changed = Signal()
    settled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.toggled.connect(lambda _: self.changed.emit())
        self.toggled.connect(lambda _: self.settled.emit())

    def read(self) -> bool:
        """Return whether it is on."""
        return self.isChecked()

    def put(self, value: ParameterValue) -> None:
        """Switch it."""
        self.setChecked(bool(value))


class NumberEditor(NumberBox):
    """A number with its unit."""

    changed = Signal()
    settled = Signal()

    def __init__(self, entry: Parameter, parent: QWidget | None = None) -> None:
        super().__init__(
            whole=entry.kind is int,
            minimum=entry.minimum,
            maximum=entry.maximum,
            exclusive_minimum=entry.exclusive_minimum,
            parent=parent,
        )
        self.setSuffix(unit_words(entry)[0])
        self.valueChanged.connect(lambda _: self.changed.emit())
        self.editingFinished.connect(self.settled)

    def read(self) -> int | float:
        """Return the number in its type."""
        return self.number()

    def put(self, value: ParameterValue) -> None:
        """Show a number."""
        self.setValue(float(cast(float, value)))


class ChoiceEditor(QComboBox):
    """One of several words; the mouse wheel scrolls the form instead."""

    changed = Signal()
    settled = Signal()

    def __init__(self, entry: Parameter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.addItems(entry.choices)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.currentTextChanged.connect(lambda _: self.changed.emit())
        self.currentTextChanged.connect(lambda _: self.settled.emit())

    def read(self) -> str:
        """Return the word."""
        return self.currentText()

    def put(self, value: ParameterValue) -> None:
        """Choose a word."""
        self.setCurrentText(str(value))

    def wheelEvent(self, e: QWheelEvent | None) -> None:
        """Scroll the form, unless the field is being used."""
        if e is None or self.hasFocus():
            super().wheelEvent(e)
        else:
            e.ignore()


class WordEditor(QLineEdit):
    """Any word."""

    changed = Signal()
    settled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.textChanged.connect(lambda _: self.changed.emit())
        self.editingFinished.connect(self.settled)

    def read(self) -> str:
        """Return the word."""
        return self.text()

    def put(self, value: ParameterValue) -> None:
        """Show a word."""
        self.setText(str(value))


class OptionalEditor(QWidget):
    """A tick box and a field: without the tick there is no value.

    Parameters
    ----------
    name : str
        Of the parameter; the tick box is called ``use_<name>``.
    field : Editor
        For the value; disabled while there is no tick.
    start : bool, int, float or str
        What the field shows before there was a value.
    parent : QWidget, optional
        As for any widget.
    """

    changed = Signal()
    settled = Signal()

    def __init__(
        self,
        name: str,
        field: Editor,
        start: ParameterValue,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.field = field
        self.tick = QCheckBox(self)
        self.tick.setObjectName(f"use_{name}")
        widget = cast(QWidget, field)
        widget.setParent(self)
        widget.setEnabled(False)
        field.put(start)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.tick)
        layout.addWidget(widget, 1)
        self.setFocusProxy(self.tick)
        self.tick.toggled.connect(self._on_tick)
        field.changed.connect(self._on_field)
        field.settled.connect(self.settled)

    def read(self) -> ParameterValue:
        """Return the value, None without the tick."""
        return self.field.read() if self.tick.isChecked() else None

    def put(self, value: ParameterValue) -> None:
        """Show a value with its tick; None takes away the tick only."""
        if value is not None:
            self.field.put(value)
        self.tick.setChecked(value is not None)

    def set_start(self, value: ParameterValue) -> None:
        """Choose what a tick will start with; without effect while it is set."""
        if not self.tick.isChecked():
            self.field.put(value)

    def _on_tick(self, ticked: bool) -> None:
        cast(QWidget, self.field).setEnabled(ticked)
        self.changed.emit()
        self.settled.emit()

    def _on_field(self) -> None:
        if self.tick.isChecked():
            self.changed.emit()


def editor_for(entry: Parameter, parent: QWidget | None = None) -> Editor:
    """Return the field for a parameter of any kind; it has the parameter's name."""
    field: Editor
    if entry.kind is bool:
        field = TickEditor(parent)
    elif entry.choices:
        field = ChoiceEditor(entry, parent)
    elif entry.kind is str:
        field = WordEditor(parent)
    else:
        field = NumberEditor(entry, parent)
    cast(QWidget, field).setObjectName(entry.name)
    if entry.optional:
        return OptionalEditor(entry.name, field, _start(entry), parent)
    field.put(entry.default)
    return field


def unit_words(entry: Parameter) -> tuple[str, str]:
    """Return a unit as it stands behind the number, and as it stands in the label.

    Examples
    --------
    >>> from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
    >>> unit_words(PARAMETER_REGISTRY["boundary_width"])
    (' px', '')
    """
    if entry.unit in ("deg", "degree"):
        return "°", ""
    short = entry.unit.split(" ")[0]
    if len(short) <= _LONGEST_UNIT:
        return (f" {short}" if short else ""), ""
    return "", entry.unit


def _start(entry: Parameter) -> ParameterValue:
    """Return what an optional field shows before there was a value."""
    if entry.choices:
        return entry.choices[0]
    if entry.kind in (bool, str):
        return "" if entry.kind is str else False
    low = 0.0 if entry.minimum is None else entry.minimum
    # Of a share in percent the brightest few, of anything else the plain 1.
    first = 99.0 if entry.unit == "%" else 1.0
    start = max(low, first) if entry.maximum is None else min(first, entry.maximum)
    return round(start) if entry.kind is int else start


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


class GroupHeading(QPushButton):
    """The heading of a group of rows; a click or the space key folds them.

    Parameters
    ----------
    title : str
        Of the group.
    rows : iterable of ParameterRow
        What stands below it.
    folded : bool
        Whether it is folded at first.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self,
        title: str,
        rows: Iterable[ParameterRow],
        *,
        folded: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._title = title
        self._rows = list(rows)
        self._n_changed = 0
        self.setObjectName(f"group_{title}")
        self.setCheckable(True)
        self.setChecked(not folded)
        self.setFlat(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setStyleSheet(
            "QPushButton { border: none; background: transparent; text-align: left;"
            " font-weight: bold; padding: 4px 0px; }"
            "QPushButton:focus { text-decoration: underline; }"
        )
        self.toggled.connect(self._on_toggled)
        self._on_toggled(self.isChecked())

    @property
    def title(self) -> str:
        """The group's name."""
        return self._title

    @property
    def is_folded(self) -> bool:
        """Whether the rows are hidden."""
        return not self.isChecked()

    def unfold(self) -> None:
        """Show the rows."""
        self.setChecked(True)

    def set_changed(self, count: int) -> None:
        """Tell how many rows differ from their defaults; new ones are shown."""
        if count > self._n_changed:
            self.unfold()
        self._n_changed = count
        self._write()

    def _on_toggled(self, shown: bool) -> None:
        for row in self._rows:
            row.setVisible(shown)
        self.setToolTip("Fold these away" if shown else "Show these")
        self._write()

    def _write(self) -> None:
        arrow = "▾" if self.isChecked() else "▸"
        ending = f"  · {self._n_changed} changed" if self._n_changed else ""
        self.setText(f"{arrow} {self._title}{ending}")


# The one private name of magicgui that is used: its public ones let a Qt widget stand
# for a value only by writing some 25 methods that this base has.


class _RowBackend(QBaseValueWidget):
    """Lets magicgui hold a row as one of its own widgets."""

    def __init__(self, entry: Parameter, **more: Any) -> None:
        def parameter_row(parent: QWidget | None = None) -> ParameterRow:
            return ParameterRow(entry, parent)

        # Not a class: magicgui calls it and asks for its name, no more.
        make = cast(Any, parameter_row)
        super().__init__(make, "value", "setValue", "valueChanged", **more)
        self._qwidget.setObjectName(f"row_{entry.name}")


def parameter_widget(entry: Parameter) -> ValueWidget[Any]:
    """Return the row of a parameter as a magicgui widget of the same name.

    Its `value` is what the field shows, None for an optional parameter without its
    tick; its `native` is the `ParameterRow`.
    """
    return ValueWidget(
        widget_type=_RowBackend,
        backend_kwargs={"entry": entry},
        name=entry.name,
        label=entry.title,
        nullable=entry.optional,
    )
