"""A heading in a form under which rows are folded away and shown again."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QSizePolicy, QWidget

from napari_exo2micro.plugin.forms.parameter_row import ParameterRow

__all__ = ["GroupHeading"]


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
