"""A field for numbers of any size, shown as short as they can be written."""

from __future__ import annotations

import contextlib
import math

from qtpy.QtCore import Qt
from qtpy.QtGui import QValidator, QWheelEvent
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

from napari_exo2micro.core.defaults import format_value

__all__ = ["NumberBox"]

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
