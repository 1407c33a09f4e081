"""One parameter in a form, a magicgui widget: label, field, reset, what is wrong."""

import contextlib
import html
import math
import re
from collections.abc import Iterable
from typing import Any, cast

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from magicgui.widgets.bases import BaseValueWidget, ValuedContainerWidget
from psygnal import Signal
from qtpy import QtWidgets
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QValidator

from napari_exo2micro.core import parameters
from napari_exo2micro.plugin.widgets.controls import WordsLabel, label_style, row

_LARGEST = 1e12
_DECIMALS = 20  # Qt rounds to them; so many leave every number as it was typed
_NUMBER = frozenset("0123456789.+-eE")
_WHOLE = frozenset("0123456789+-")
_LONGEST_UNIT = 4  # letters, behind a number; a longer one stands in the label
_FIELD_WIDTH = 118
_MARK_WIDTH = 12
# A middle tone: it stands out on napari's dark and light themes alike.
_CHANGED = "color: #d06a00; font-weight: bold; padding: 0px; margin: 0px;"
_REFUSED = label_style("error")


class NumberBox(QtWidgets.QDoubleSpinBox):
    """A number that is shown and typed as people write it: 0.85, 1e-6, 1,15.

    What is typed is not clipped: who shows the box checks it and says what is wrong,
    so that nobody types 300 and unknowingly gets 30. The arrows stop at the limits.
    """

    def __init__(self, entry: parameters.Parameter) -> None:
        super().__init__()
        self._whole = entry.kind is int
        self._low = -math.inf if entry.minimum is None else entry.minimum
        self._high = math.inf if entry.maximum is None else entry.maximum
        self._excludes_low = entry.exclusive_minimum
        self.setDecimals(0 if self._whole else _DECIMALS)
        self.setRange(-_LARGEST, _LARGEST)
        self.setSuffix(unit_words(entry)[0])

    def number(self) -> int | float:
        """Return the value in its type."""
        return round(self.value()) if self._whole else self.value()

    def textFromValue(self, v: float) -> str:
        """Return a number as file names spell it, too."""
        return parameters.format_value(round(v) if self._whole else float(v))

    def valueFromText(self, text: str | None) -> float:
        """Return the number that was typed; a decimal comma is one, too."""
        value = self._read(text or "")
        return self.value() if value is None else value

    def validate(self, text: str | None, pos: int) -> tuple[QValidator.State, str, int]:
        """Tell whether a text is a number already or may become one."""
        text = text or ""
        state = QValidator.State.Acceptable
        if not set(self._bare(text)) <= (_WHOLE if self._whole else _NUMBER):
            state = QValidator.State.Invalid
        elif self._read(text) is None:
            state = QValidator.State.Intermediate
        return state, text, pos

    def fixup(self, _text: str | None) -> str:
        """Go back to the last number when the field is left half typed."""
        return self.textFromValue(self.value()) + self.suffix()

    def stepBy(self, steps: int) -> None:
        """Go up or down by a step of about a tenth, never past a limit."""
        step = self._step()
        # On the grid of the step, so that 0.85 goes to 0.86 and not to 0.8600001.
        target = float(f"{round(self.value() / step + steps) * step:.12g}")
        target = min(max(target, self._low), self._high)
        if self._excludes_low and target <= self._low:
            return
        self.setValue(target)
        self.editingFinished.emit()  # nothing half typed: it can be relied on

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


class NumberField(ValuedContainerWidget[Any]):
    """A `NumberBox` as a magicgui widget."""

    def __init__(self, entry: parameters.Parameter) -> None:
        self.box = NumberBox(entry)
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.native.layout().addWidget(self.box)
        self.box.valueChanged.connect(lambda _: self.changed.emit(self.value))

    def get_value(self) -> int | float:
        """Return the number in its type."""
        return self.box.number()

    def set_value(self, value: Any) -> None:
        """Show a number."""
        self.box.setValue(float(value))


def create_field(entry: parameters.Parameter) -> BaseValueWidget[Any]:
    """Return the magicgui widget for the values of a parameter, None left out."""
    start = _start(entry) if entry.default is None else entry.default
    if entry.kind is bool:
        return CheckBox(value=bool(start), text="")
    if entry.choices:
        return ComboBox(value=str(start), choices=entry.choices)
    if entry.kind is str:
        return LineEdit(value=str(start))
    number = NumberField(entry)
    number.value = start
    return number


def unit_words(entry: parameters.Parameter) -> tuple[str, str]:
    """Return a unit as it stands behind the number, and as it stands in the label."""
    if entry.unit in ("deg", "degree"):
        return "°", ""
    short = entry.unit.split(" ")[0]
    if len(short) <= _LONGEST_UNIT:
        return (f" {short}" if short else ""), ""
    return "", entry.unit


def _start(entry: parameters.Parameter) -> parameters.ParameterValue:
    """Return what an optional field shows before there was a value."""
    if entry.choices:
        return entry.choices[0]
    if entry.kind in (bool, str):
        return entry.kind()
    # Of a share in percent the brightest few, of anything else the plain 1.
    first = 99.0 if entry.unit == "%" else 1.0
    high = math.inf if entry.maximum is None else entry.maximum
    start = min(max(first, entry.minimum or 0.0), high)
    return round(start) if entry.kind is int else start


def capitalised(text: str) -> str:
    """Return a text with its first letter large and the others as they are."""
    return text[:1].upper() + text[1:]


def scale_words(value: float, uncertainty: float, title: str) -> str:
    """Return a scale with its error.

    Examples
    --------
    >>> scale_words(1.30012, 0.0004, "Moffat fit")
    '1.3001 ± 0.0004 (Moffat fit)'
    """
    error = f" ± {uncertainty:.1g}" if uncertainty else ""
    return f"{value:.5g}{error} ({title})"


def with_titles(text: str) -> str:
    """Return a message of the core with labels in place of the names for scripts.

    Examples
    --------
    >>> with_titles("scale_min must not exceed scale_max")
    "'smallest magnification' must not exceed 'largest magnification'"
    """

    def title(word: re.Match[str]) -> str:
        entry = parameters.PARAMETER_REGISTRY.get(word[0])
        # A name without an underscore may be a word like any other.
        return f"'{entry.title}'" if entry and "_" in entry.name else word[0]

    return re.sub(r"\w+", title, text)


class ParameterRow(ValuedContainerWidget[parameters.ParameterValue]):
    """One parameter: its label, its field, and a button that resets it.

    Its `value` is what the field shows, also what cannot be taken; None for an
    optional parameter without its tick. A row knows nothing of other parameters: it
    shows what it is told and says what was typed; see `ParameterForm`.

    """

    #: The field was left, or what was chosen in it is complete.
    settled = Signal()
    reset_asked = Signal()

    def __init__(self, entry: parameters.Parameter) -> None:
        super().__init__(
            name=entry.name, label=entry.title, nullable=entry.optional, labels=False
        )
        self.margins = (0, 0, 0, 0)
        self.entry = entry
        #: Why what it shows is not taken; empty when it is.
        self.refusal = ""
        #: Shows the value, also while there is no tick.
        self.field = create_field(entry)
        self.tick: CheckBox | None = None
        if entry.optional:
            self.tick = CheckBox(text="", value=entry.default is not None)
            self.field.enabled = self.tick.value
        native: QtWidgets.QWidget = self.native
        native.setObjectName(f"row_{entry.name}")
        self._mark = QtWidgets.QLabel(native)
        self._mark.setObjectName(f"mark_{entry.name}")
        self._mark.setFixedWidth(_MARK_WIDTH)
        self._mark.setStyleSheet(_CHANGED)
        self._title_label = WordsLabel(f"label_{entry.name}", native)
        self._reset = QtWidgets.QToolButton(native)
        self._reset.setObjectName(f"reset_{entry.name}")
        self._reset.setText("↺")
        self._reset.setAccessibleName(f"Reset {entry.title}")
        self._reset.clicked.connect(lambda _: self.reset_asked.emit())
        self._refusal = WordsLabel(f"refusal_{entry.name}", native)
        self._arrange()
        self._connect()
        self.set_changed(False)

    def get_value(self) -> parameters.ParameterValue:
        """Return what the field shows."""
        return self.field.value if self.tick is None or self.tick.value else None

    def set_value(self, value: Any) -> None:
        """Put a value into the field as if it had been typed."""
        if value is not None:
            self.field.value = value
        if self.tick is not None:
            self.tick.value = value is not None
        self.settled.emit()

    def show_value(self, value: parameters.ParameterValue) -> None:
        """Show a value that is known elsewhere; nothing is told of it."""
        if self.value != value:
            with self.changed.blocked(), self.settled.blocked():
                self.set_value(value)

    def set_changed(self, changed: bool) -> None:
        """Make the row stand out as one that differs from its default, or not."""
        if changed != bool(self._mark.text()):  # a style is not set for nothing
            default = parameters.value_words(self.entry.default)
            words = f"Changed; the default is {default}." if changed else ""
            self._mark.setText("●" if changed else "")
            self._mark.setToolTip(words)
            self.write_label()
        self._update_reset(changed or bool(self.refusal))

    def refuse(self, text: str) -> None:
        """Say below the field why what it shows is not taken; empty: it is."""
        self.refusal = text
        self._refusal.say(text, _REFUSED if text else "")
        if text:
            self._update_reset(True)

    def add_below(self, widget: QtWidgets.QWidget) -> None:
        """Add a widget of the row's whole width below the field."""
        self._grid.addWidget(widget, 1, 1, 1, 3)

    def tab_stops(self) -> list[QtWidgets.QWidget]:
        """Return what the tab key goes through, in this order."""
        return [*self._inputs, self._reset]

    def _connect(self) -> None:
        """Tell what is typed, and when it is complete."""
        if self.tick is not None:
            self.tick.changed.connect(self._on_tick)
        self.field.changed.connect(self._on_field)
        if isinstance(self._inputs[-1], (NumberBox, QtWidgets.QLineEdit)):
            self._inputs[-1].editingFinished.connect(lambda: self.settled.emit())
        else:
            self.field.changed.connect(lambda _: self.settled.emit())
        self._events = _FieldEvents(self)

    def _on_tick(self, ticked: bool) -> None:
        self.field.enabled = ticked
        self.changed.emit(self.value)
        self.settled.emit()

    def _on_field(self) -> None:
        if self.tick is None or self.tick.value:
            self.changed.emit(self.value)

    def write_label(self, *, has_focus: bool = False) -> None:
        """Write the label: bold for a changed value, underlined in the field."""
        bold = "font-weight: bold;" if self._mark.text() else ""
        line = "text-decoration: underline;" if has_focus else ""
        self._title_label.setStyleSheet(bold + line)

    def _update_reset(self, enabled: bool) -> None:
        default = parameters.value_words(self.entry.default)
        start = "Back to the default" if enabled else "This is the default"
        self._reset.setEnabled(enabled)
        self._reset.setToolTip(f"{start}: {default}")

    def _arrange(self) -> None:
        """Name, describe and lay out the parts."""
        entry, tooltip = self.entry, _tooltip(self.entry)
        title, in_label = capitalised(entry.title), unit_words(entry)[1]
        field = self.field.box if isinstance(self.field, NumberField) else None
        self._inputs: list[QtWidgets.QWidget] = [field or self.field.native]
        self._inputs[0].setObjectName(entry.name)
        if self.tick is not None:
            self._inputs.insert(0, self.tick.native)
            self._inputs[0].setObjectName(f"use_{entry.name}")
        for widget in self._inputs:
            widget.setToolTip(tooltip)
            widget.setAccessibleName(title)
            widget.setAccessibleDescription(entry.description)
            # The wheel scrolls the form, see `_FieldEvents`.
            widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        combo = self._inputs[-1]
        if isinstance(combo, QtWidgets.QComboBox):
            short = combo.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            combo.setSizeAdjustPolicy(short)
        self._title_label.setTextInteractionFlags(
            Qt.TextInteractionFlag.NoTextInteraction
        )
        self._title_label.say(f"{title} ({in_label})" if in_label else title)
        self._title_label.setToolTip(tooltip)
        self._title_label.setMinimumWidth(60)
        self._title_label.setBuddy(self._inputs[0])
        holder = QtWidgets.QWidget(self.native)
        holder.setFixedWidth(_FIELD_WIDTH)
        tick = () if self.tick is None else (self.tick.native,)
        inside = row(*tick, (self.field.native, 1), parent=holder, margin=0)
        inside.setSpacing(2)
        self._grid = QtWidgets.QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(3)
        self._grid.setVerticalSpacing(2)
        self._grid.addWidget(self._mark, 0, 0)
        self._grid.addWidget(self._title_label, 0, 1)
        self._grid.addWidget(holder, 0, 2)
        self._grid.addWidget(self._reset, 0, 3)
        self._grid.addWidget(self._refusal, 2, 1, 1, 3)
        self._grid.setColumnStretch(1, 1)
        self.native.layout().addLayout(self._grid)


class _FieldEvents(QObject):
    """Underlines a row's label while it has the focus; lets the wheel scroll the form.

    A field that lies under the mouse by chance must not change.
    """

    def __init__(self, row: ParameterRow) -> None:
        super().__init__(row.native)
        self._row = row
        for widget in row.tab_stops():
            widget.installEventFilter(self)

    def eventFilter(self, a0: QObject | None, a1: QEvent | None) -> bool:
        """Follow the focus and leave the wheel to the form."""
        if a1 is None:
            return False
        if a1.type() in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            self._row.write_label(has_focus=a1.type() == QEvent.Type.FocusIn)
        field = cast(QtWidgets.QWidget, a0)
        if a1.type() == QEvent.Type.Wheel and not field.hasFocus():
            a1.ignore()
            return True
        return False


def _tooltip(entry: parameters.Parameter) -> str:
    """Return description, limits, default and the names for scripts and files."""
    facts = f"Default: {parameters.value_words(entry.default)}"
    if limits := entry.limits():
        facts += f"; {'whole number, ' * (entry.kind is int)}{limits}"
    return (
        f"<p>{html.escape(entry.description)}</p>"
        f"<p>{html.escape(facts)}.<br>"
        f"In scripts <code>{entry.name}</code>, "
        f"in file names <code>{entry.abbreviation}</code>.</p>"
    )


class GroupHeading(QtWidgets.QPushButton):
    """The heading of a group of rows; a click or the space key folds them."""

    def __init__(
        self,
        title: str,
        rows: Iterable[QtWidgets.QWidget],
        *,
        folded: bool = False,
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.title = title
        self._rows = list(rows)
        self._n_changed = 0
        self.setObjectName(f"group_{title}")
        self.setCheckable(True)
        self.setChecked(not folded)
        self.setFlat(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed
        )
        self.setStyleSheet(
            "QPushButton { border: none; background: transparent; text-align: left;"
            " font-weight: bold; padding: 4px 0px; }"
            "QPushButton:focus { text-decoration: underline; }"
        )
        self.toggled.connect(self._on_toggled)
        self._on_toggled(self.isChecked())

    def set_changed(self, count: int) -> None:
        """Tell how many rows differ from their defaults; new ones are shown."""
        if count > self._n_changed:
            self.setChecked(True)
        self._n_changed = count
        self._write()

    def _on_toggled(self, shown: bool) -> None:
        for widget in self._rows:
            widget.setVisible(shown)
        self.setToolTip("Fold these away" if shown else "Show these")
        self._write()

    def _write(self) -> None:
        arrow = "▾" if self.isChecked() else "▸"
        ending = f"  · {self._n_changed} changed" if self._n_changed else ""
        self.setText(f"{arrow} {self.title}{ending}")
