"""The form of a stage's parameters, made from the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from magicgui.widgets import Container
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.checkpoint_names import name_ending
from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.parameter_entry import Parameter, ParameterValue
from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.core.value_text import value_words
from napari_exo2micro.plugin.controls import button
from napari_exo2micro.plugin.forms.magic_row import parameter_widget
from napari_exo2micro.plugin.forms.parameter_group import GroupHeading
from napari_exo2micro.plugin.forms.parameter_row import ParameterRow, with_titles
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.words_label import WordsLabel

__all__ = ["ParameterForm"]

_WITHOUT_GROUP = "Others"
_SUFFIX_TIP = (
    "Settings that differ from the defaults become part of the file names, so results "
    "with other settings are kept beside these."
)
_WIDEST = 460  # beyond it a field stands too far from its label


class ParameterForm(QWidget):
    """The parameters of one stage: what is typed reaches the session at once.

    What cannot be taken stays in its field, with the reason below it, until it is
    corrected or reset; meanwhile the last good value counts and nothing can be run.
    Of two values that do not fit each other, the later one waits until the other
    is changed.

    Parameters
    ----------
    session : Session
        Holds the values.
    stage : int
        Whose parameters are shown.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    container : magicgui.widgets.Container
        The rows: ``container["boundary_width"].value`` is what that field shows.
    foot : QWidget
        The suffix and the button that resets the stage; where the rows scroll it is
        kept in sight below them.
    """

    def __init__(
        self, session: Session, stage: int, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"parameters_{stage}")
        self._session = session
        self._stage = stage
        self._editing: set[str] = set()
        entries = [p for p in PARAMETER_REGISTRY.values() if p.stage == stage]
        grouped = _groups(entries)
        self.container: Container[Any] = Container(
            widgets=[parameter_widget(p) for group in grouped.values() for p in group],
            labels=False,
        )
        self._rows: dict[str, ParameterRow] = {
            str(widget.name): widget.native for widget in self.container
        }
        # What counts when something is typed that cannot be taken.
        self._settled: dict[str, ParameterValue] = {}
        self._headings = self._add_headings(grouped)
        self.foot = QWidget(self)
        self._suffix = WordsLabel("suffix", self.foot)
        self._reset_all = button(self.foot, "reset_stage", "Reset this stage")
        self._reset_all.clicked.connect(lambda _: self.reset())
        column = QWidget(self)
        column.setMaximumWidth(_WIDEST)
        whole = QHBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(column, 1)
        whole.addStretch(0)
        layout = QVBoxLayout(column)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.container.native)
        layout.addWidget(self.foot)
        foot = QHBoxLayout(self.foot)
        foot.setContentsMargins(0, 0, 0, 0)
        foot.addWidget(self._suffix, 1)
        foot.addWidget(self._reset_all, 0, Qt.AlignmentFlag.AlignTop)
        self._reset_all.setVisible(bool(self._rows))
        self._order_tabs()
        for name, row in self._rows.items():
            row.valueChanged.connect(self._slot(self._on_edit, name))
            row.settled.connect(self._slot(self._on_settled, name))
            row.reset.connect(self._slot(self.reset, name))
        session.params_changed.connect(self._on_params)
        session.add_check(self.refusal)
        self._on_params(tuple(PARAMETER_REGISTRY))

    # For others ------------------------------------------------------------------

    def row(self, name: str) -> ParameterRow:
        """Return the row of a parameter.

        Raises
        ------
        KeyError
            When it belongs to another stage.
        """
        return self._rows[name]

    def refusal(self) -> str:
        """Return why nothing can be run with what is typed here; empty when it can.

        A form whose dock was closed has nothing to say.
        """
        with contextlib.suppress(RuntimeError):  # its Qt part may be gone already
            window = self.window()
            if window is not None and window.isVisible():
                for row in self._rows.values():
                    if row.refusal:
                        title = f"{STAGES[self._stage].title}, {row.entry.title}"
                        return f"Stage {self._stage}, {title}: {row.refusal}"
        return ""

    def reset(self, *names: str) -> None:
        """Set parameters of this stage back to their defaults, all by default."""
        for name in names or tuple(self._rows):
            self._rows[name].show_value(PARAMETER_REGISTRY[name].default)
        self._take(names or tuple(self._rows))
        for name in names or tuple(self._rows):
            self._on_settled(name)

    # From the person to the session ------------------------------------------------

    def _on_edit(self, name: str) -> None:
        self._take((name,))

    def _on_settled(self, name: str) -> None:
        if not self._rows[name].refusal:
            self._settled[name] = self._session.params[name]

    def _take(self, names: Iterable[str]) -> None:
        """Hand to the session what is shown, with what could not be taken before."""
        waiting = [name for name, row in self._rows.items() if row.refusal]
        tried = list(dict.fromkeys([*names, *waiting]))
        self._session.show_stage(self._stage)
        self._editing = set(tried)
        try:
            good = [name for name in tried if self._check(name)]
            self._set(good)
            refused = [name for name in tried if self._rows[name].refusal]
            self._go_back(refused)
        finally:
            self._editing = set()
        for name in waiting:
            self._on_settled(name)
        self._update()

    def _check(self, name: str) -> bool:
        """Return whether a value is one by itself, and say so when it is not."""
        row = self._rows[name]
        try:
            row.entry.check(row.value())
        except ParameterError:
            shown = value_words(row.value())
            words = row.entry.limits() or row.entry.wanted()
            whole = "a whole number, " if row.entry.kind is int else ""
            self._refuse(name, f"{shown} is not used: it must be {whole}{words}.")
            return False
        row.accept()
        return True

    def _set(self, names: list[str]) -> None:
        """Set values that are good by themselves, together or as many as fit."""
        values = {name: self._rows[name].value() for name in names}
        try:
            self._session.set_params(**values)
        except ParameterError as error:
            if len(names) == 1:
                shown = value_words(values[names[0]])
                self._refuse(
                    names[0], f"{shown} is not used: {with_titles(str(error))}."
                )
                return
            for name in names:
                self._set([name])

    def _refuse(self, name: str, text: str) -> None:
        counts = value_words(self._settled[name])
        self._rows[name].refuse(
            f"{text} Until this is corrected or reset, {counts} counts and nothing "
            "can be run."
        )

    def _go_back(self, names: list[str]) -> None:
        """Let the session forget what was half typed on the way to a refusal."""
        for name in names:
            with contextlib.suppress(ParameterError):
                self._session.set_params(**{name: self._settled[name]})

    # From the session to the person ------------------------------------------------

    def _on_params(self, names: tuple[str, ...]) -> None:
        params = self._session.params
        for name in names:
            if name in self._rows and name not in self._editing:
                self._settled[name] = params[name]
                self._rows[name].accept()
                self._rows[name].show_value(params[name])
        self._update()

    def _update(self) -> None:
        """Show which parameters differ from their defaults, and the suffix."""
        changed = set(self._session.non_default_params())
        for name, row in self._rows.items():
            row.set_changed(name in changed or bool(row.refusal))
        for heading, names in self._headings:
            heading.set_changed(len(changed.intersection(names)))
        own = changed.intersection(self._rows)
        self._reset_all.setEnabled(
            bool(own) or any(row.refusal for row in self._rows.values())
        )
        self._reset_all.setToolTip(
            "Set all parameters of this stage back to their defaults."
            if own
            else "All parameters of this stage are at their defaults."
        )
        self._show_suffix(self._session.suffix(self._stage))

    def _show_suffix(self, suffix: str) -> None:
        """Say what the files will end in, the short form of a long one."""
        stage = STAGES[self._stage]
        longest = max(stage.checkpoints, key=len, default="")
        ending = name_ending(f"{stage.name}_{longest}", suffix)
        # Lines may break before each part; nothing else breaks a long name.
        shown = ending.replace("_", "\u200b_")
        if not suffix:
            self._suffix.say("All at their defaults: the files have no ending.")
        elif ending == suffix:
            self._suffix.say(f"Files of this stage end in: {shown}")
        else:
            self._suffix.say(
                f"Files of this stage end in: {shown}, short for many settings; the "
                "files themselves tell all of them."
            )
        told = "" if ending == suffix else f"\n{shown} stands for {suffix}"
        self._suffix.setToolTip(f"{_SUFFIX_TIP}{told}")

    # How it is made ----------------------------------------------------------------

    def _slot(self, method: Callable[..., None], name: str) -> Callable[..., None]:
        # What a signal brings is dropped: the row is asked.
        return lambda *_: method(name)

    def _add_headings(
        self, grouped: dict[str, list[Parameter]]
    ) -> list[tuple[GroupHeading, set[str]]]:
        """Put a heading above each group, unless there is one group only."""
        native = self.container.native
        layout = native.layout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        if len(grouped) < 2:
            return []
        made = []
        for title, entries in grouped.items():
            rows = [self._rows[entry.name] for entry in entries]
            rare = all(entry.rare for entry in entries)
            heading = GroupHeading(title, rows, folded=rare, parent=native)
            layout.insertWidget(layout.indexOf(rows[0]), heading)
            made.append((heading, {entry.name for entry in entries}))
        return made

    def _order_tabs(self) -> None:
        """Let the tab key go from heading to row, not in the order of making."""
        above = {
            min(names, key=list(self._rows).index): h for h, names in self._headings
        }
        stops: list[QWidget] = []
        for name, row in self._rows.items():
            stops += [above[name]] if name in above else []
            stops += row.tab_stops()
        for one, following in pairwise([*stops, self._reset_all]):
            QWidget.setTabOrder(one, following)


def _groups(entries: Iterable[Parameter]) -> dict[str, list[Parameter]]:
    """Return heading -> parameters, in the order of the registry, others last."""
    groups: dict[str, list[Parameter]] = {}
    for entry in sorted(entries, key=lambda entry: not entry.group):
        groups.setdefault(entry.group or _WITHOUT_GROUP, []).append(entry)
    return groups
