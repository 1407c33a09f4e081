"""A row of a form as a widget of magicgui."""

from __future__ import annotations

from typing import Any, cast

# The one private name of magicgui that is used: its public ones let a Qt widget stand
# for a value only by writing some 25 methods that this base has.
from magicgui.backends._qtpy.widgets import QBaseValueWidget
from magicgui.widgets.bases import ValueWidget
from qtpy.QtWidgets import QWidget

from napari_exo2micro.core.parameter_entry import Parameter
from napari_exo2micro.plugin.forms.parameter_row import ParameterRow

__all__ = ["parameter_widget"]


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
