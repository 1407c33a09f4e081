"""A slider for the scale by hand, around the scale that was measured."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt import QDoubleSlider

from napari_exo2micro.plugin.forms.parameter_row import ParameterRow
from napari_exo2micro.plugin.forms.value_editors import OptionalEditor
from napari_exo2micro.plugin.words_label import WordsLabel

__all__ = ["ScaleSlider"]

_SPAN = 0.4  # of the measured scale, on either side
_DIGITS = 3


class ScaleSlider(QWidget):
    """Moves the number of a row between limits around what was measured.

    Parameters
    ----------
    row : ParameterRow
        Of an optional number; the slider stands below it and follows its tick.

    Raises
    ------
    TypeError
        When the row's parameter is not optional.
    """

    def __init__(self, row: ParameterRow) -> None:
        super().__init__(row)
        if not isinstance(row.editor, OptionalEditor):
            raise TypeError(f"'{row.entry.name}' is not optional: it has no tick box")
        self._editor = row.editor
        self._row = row
        self._measured: float | None = None
        self._slider = QDoubleSlider(  # type: ignore[no-untyped-call]
            Qt.Orientation.Horizontal, self
        )
        self._slider.setObjectName(f"slider_{row.entry.name}")
        self._slider.setAccessibleName(f"{row.entry.title}, slider")
        self._caption = WordsLabel(f"slider_range_{row.entry.name}", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 2)
        layout.setSpacing(1)
        layout.addWidget(self._slider)
        layout.addWidget(self._caption)
        row.add_below(self)
        QWidget.setTabOrder(row.tab_stops()[1], self._slider)
        self._slider.valueChanged.connect(self._on_slide)
        self._editor.changed.connect(self._follow)
        self.set_measured(None)

    @property
    def measured(self) -> float | None:
        """The scale that was measured."""
        return self._measured

    def set_measured(self, value: float | None) -> None:
        """Put the middle of the slider to a scale; 1 while none is measured."""
        self._measured = value
        middle = 1.0 if value is None else round(value, _DIGITS)
        span = 0.75 if value is None else _SPAN
        low, high = (round(middle * (1 + side * span), _DIGITS) for side in (-1, 1))
        with QSignalBlocker(self._slider):
            self._slider.setRange(low, high)
            self._slider.setSingleStep(max(10**-_DIGITS, (high - low) / 400))
            self._slider.setPageStep((high - low) / 20)
        if self._editor.read() is None:
            self._editor.set_start(middle)
        if value is None:
            words = "not measured yet"
        else:
            words = f"measured: {value:.5g}"
        self._caption.say(f"{low:g} to {high:g}; {words}")
        self._follow()

    def _on_slide(self, value: float) -> None:
        self._row.setValue(round(value, _DIGITS))

    def _follow(self) -> None:
        """Show the number and the tick of the row."""
        value = self._editor.field.read()
        ticked = self._editor.read() is not None
        self._slider.setEnabled(ticked)
        self._slider.setToolTip(
            "Moves the scale; the difference follows."
            if ticked
            else "Tick the box above to choose a scale by hand."
        )
        if isinstance(value, (int, float)):
            with QSignalBlocker(self._slider):
                self._slider.setValue(value)
