"""The field in which a parameter's value is chosen or typed, one for each kind."""

from __future__ import annotations

from typing import Protocol, cast

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLineEdit, QWidget

from napari_exo2micro.core.parameter_entry import Parameter, ParameterValue
from napari_exo2micro.plugin.forms.number_box import NumberBox

__all__ = ["Editor", "OptionalEditor", "editor_for", "unit_words"]

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
