"""The form of a stage: what it does, how its result stands, its parameters."""

import contextlib
import html
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import Any

from magicgui.widgets import Container
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QLabel, QWidget
from superqt import QDoubleSlider
from superqt.utils import signals_blocked

from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, State, value_words
from napari_exo2micro.core.photometry import further_scales, scale_title
from napari_exo2micro.core.pipeline import RunResult, StageState, stage_states
from napari_exo2micro.core.store import name_ending
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls, rows
from napari_exo2micro.plugin.widgets.rows import ParameterRow, scale_words, with_titles
from napari_exo2micro.plugin.workbench.given import GIVEN, GIVEN_AT, GivenRow
from napari_exo2micro.plugin.workbench.preview import PREVIEWED, PreviewRow

_WITHOUT_GROUP = "Others"
_SUFFIX_TIP = (
    "Settings that differ from the defaults become part of the file names, so results "
    "with other settings are kept beside these."
)
_WIDEST = 460  # beyond it a field stands too far from its label


def parameter_rows(stage: int) -> list[ParameterRow]:
    """Return a row for each parameter of a stage, by group; those of none come last."""
    own = [entry for entry in PARAMETER_REGISTRY.values() if entry.stage == stage]
    groups = [*dict.fromkeys(entry.group for entry in own if entry.group), ""]
    own.sort(key=lambda entry: groups.index(entry.group))
    return [ParameterRow(entry) for entry in own]


def _group(entry: parameters.Parameter) -> str:
    return entry.group or _WITHOUT_GROUP


class ParameterForm(QWidget):
    """The parameters of one stage: what is typed reaches the session at once.

    What cannot be taken stays in its field, with the reason below it, until it is
    corrected or reset; meanwhile the last good value counts and nothing can be run.
    Of two values that do not fit each other, the later one waits until the other
    is changed.

    Attributes
    ----------
    container : magicgui.widgets.Container
        The rows: ``container["boundary_width"].value`` is what that field shows. They
        are those of a dock, or of the form's own.
    foot : QWidget
        The suffix and the button that resets the stage; where the rows scroll it is
        kept in sight below them.
    """

    def __init__(
        self,
        session: Session,
        stage: int,
        container: Container[ParameterRow] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"parameters_{stage}")
        self._session = session
        self._stage = stage
        self._editing: set[str] = set()
        if container is None:
            container = Container(widgets=parameter_rows(stage), labels=False)
        self.container = container
        self._rows: dict[str, ParameterRow] = {row.name: row for row in container}
        # What counts when something is typed that cannot be taken.
        self._settled: dict[str, parameters.ParameterValue] = {}
        self.foot = QWidget(self)
        self._suffix = controls.WordsLabel("suffix", self.foot)
        self._reset_all = controls.button(
            self.foot, "reset_stage", "Reset this stage", on_click=lambda: self.reset()
        )
        self._reset_all.setVisible(bool(self._rows))
        last = (self._reset_all, 0, controls.TOP)
        controls.row((self._suffix, 1), last, parent=self.foot, margin=0)
        self._headings = self._arrange()
        for name, row in self._rows.items():
            # What a signal brings is dropped: the row is asked.
            row.changed.connect(self._slot(self._take, name))
            row.settled.connect(self._slot(self._on_settled, name))
            row.reset_asked.connect(self._slot(self.reset, name))
        session.params_changed.connect(self._on_params)
        session.add_check(self.refusal)
        self._on_params(tuple(PARAMETER_REGISTRY))

    def refusal(self) -> str:
        """Return why nothing can be run with what is typed here; empty when it can.

        A form whose dock was closed has nothing to say.
        """
        with contextlib.suppress(RuntimeError):  # its Qt part may be gone already
            window = self.window()
            refused = [row for row in self._rows.values() if row.refusal]
            if refused and window is not None and window.isVisible():
                words = f"Stage {self._stage}, {parameters.STAGES[self._stage].title}"
                return f"{words}, {refused[0].entry.title}: {refused[0].refusal}"
        return ""

    def reset(self, *names: str) -> None:
        """Set parameters of this stage back to their defaults, all by default."""
        names = names or tuple(self._rows)
        for name in names:
            self._rows[name].show_value(PARAMETER_REGISTRY[name].default)
        self._take(*names)
        for name in names:
            self._on_settled(name)

    def _on_settled(self, name: str) -> None:
        if not self._rows[name].refusal:
            self._settled[name] = self._session.params[name]

    def _take(self, *names: str) -> None:
        """Hand to the session what is shown, with what could not be taken before."""
        waiting = [name for name, row in self._rows.items() if row.refusal]
        tried = list(dict.fromkeys([*names, *waiting]))
        self._session.show_stage(self._stage)
        self._editing = set(tried)
        try:
            self._set(tried)
            for name in tried:
                if self._rows[name].refusal:
                    # The session forgets what was half typed on the way to a refusal.
                    with contextlib.suppress(ParameterError):
                        self._session.set_params(**{name: self._settled[name]})
        finally:
            self._editing = set()
        for name in waiting:
            self._on_settled(name)
        self._update()

    def _set(self, names: list[str]) -> None:
        """Set values together, or as many as can be taken; the session checks them."""
        try:
            self._session.set_params(**{n: self._rows[n].value for n in names})
        except ParameterError as error:
            if len(names) == 1:
                self._refuse(self._rows[names[0]], error)
                return
            for name in sorted(names, key=self._is_wrong):
                self._set([name])
        else:
            for name in names:
                self._rows[name].refuse("")

    def _is_wrong(self, name: str) -> bool:
        """Return whether a value cannot be taken whatever the others are."""
        row = self._rows[name]
        try:
            row.entry.check(row.value)
        except ParameterError:
            return True
        return False

    def _refuse(self, row: ParameterRow, error: ParameterError) -> None:
        """Say why a value is not taken: by itself, or beside another one."""
        why = with_titles(str(error))
        if self._is_wrong(row.name):
            whole = "a whole number, " if row.entry.kind is int else ""
            why = f"it must be {whole}{row.entry.limits() or row.entry.wanted()}"
        row.refuse(
            f"{value_words(row.value)} is not used: {why}. Until this is corrected or "
            f"reset, {value_words(self._settled[row.name])} counts and nothing can be "
            "run."
        )

    def _on_params(self, names: tuple[str, ...]) -> None:
        params = self._session.params
        for name in names:
            if name in self._rows and name not in self._editing:
                self._settled[name] = params[name]
                self._rows[name].refuse("")
                self._rows[name].show_value(params[name])
        self._update()

    def _update(self) -> None:
        """Show which parameters differ from their defaults, and the suffix."""
        changed = set(self._session.non_default_params())
        for name, row in self._rows.items():
            row.set_changed(name in changed or bool(row.refusal))
        for heading, names in self._headings:
            heading.set_changed(len(changed.intersection(names)))
        is_refused = any(row.refusal for row in self._rows.values())
        own = bool(changed.intersection(self._rows)) or is_refused
        controls.enable(
            self._reset_all,
            "" if own else "All parameters of this stage are at their defaults.",
            "Set all parameters of this stage back to their defaults.",
        )
        self._show_suffix()

    def _show_suffix(self) -> None:
        """Say what the files will end in, the short form of a long one."""
        stage, suffix = (
            parameters.STAGES[self._stage],
            self._session.suffix(self._stage),
        )
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

    def _slot(self, method: Callable[..., None], name: str) -> Callable[..., None]:
        return lambda *_: method(name)

    def _arrange(self) -> list[tuple[rows.GroupHeading, set[str]]]:
        """Lay out the rows, with a heading above each group if there are several.

        The tab key goes the same way, not in the order of making.
        """
        inside = QWidget(self)
        inside.setMaximumWidth(_WIDEST)
        controls.row((inside, 1), parent=self, margin=0).addStretch(0)
        layout = controls.column(parent=inside, margin=0)
        layout.setSpacing(3)
        headings: list[tuple[rows.GroupHeading, set[str]]] = []
        stops: list[QWidget] = []
        groups = [
            list(g) for _, g in groupby(self.container, lambda r: _group(r.entry))
        ]
        for own in groups:
            if len(groups) > 1:
                heading = rows.GroupHeading(
                    _group(own[0].entry),
                    [row.native for row in own],
                    folded=all(row.entry.rare for row in own),
                    parent=inside,
                )
                layout.addWidget(heading)
                stops.append(heading)
                headings.append((heading, {row.name for row in own}))
            for row in own:
                layout.addWidget(row.native)
                stops += row.tab_stops()
        layout.addWidget(self.foot)
        for first, second in pairwise([*stops, self._reset_all]):
            QWidget.setTabOrder(first, second)
        return headings


_SPAN = 0.4  # of the measured scale, on either side
_DIGITS = 3


class ScaleSlider(QWidget):
    """Moves the number of an optional row between limits around what was measured.

    It stands below the field and follows its tick.
    """

    def __init__(self, row: ParameterRow) -> None:
        super().__init__(row.native)
        self._row = row
        self.measured: float | None = None
        self._slider = QDoubleSlider(  # type: ignore[no-untyped-call]
            Qt.Orientation.Horizontal, self
        )
        self._slider.setObjectName(f"slider_{row.entry.name}")
        self._slider.setAccessibleName(f"{row.entry.title}, slider")
        self._caption = controls.WordsLabel(f"slider_range_{row.entry.name}", self)
        layout = controls.column(self._slider, self._caption, parent=self, margin=0)
        layout.setSpacing(1)
        row.add_below(self)
        QWidget.setTabOrder(row.tab_stops()[1], self._slider)
        self._slider.valueChanged.connect(self._on_slide)
        row.field.changed.connect(self._follow)
        if row.tick is not None:
            row.tick.changed.connect(self._follow)
        self.set_measured(None)

    def set_measured(self, value: float | None) -> None:
        """Put the middle of the slider to a scale; 1 while none is measured."""
        self.measured = value
        middle = 1.0 if value is None else round(value, _DIGITS)
        span = 0.75 if value is None else _SPAN
        low, high = (round(middle * (1 + side * span), _DIGITS) for side in (-1, 1))
        with signals_blocked(self._slider):
            self._slider.setRange(low, high)
            self._slider.setSingleStep(max(10**-_DIGITS, (high - low) / 400))
            self._slider.setPageStep((high - low) / 20)
        if self._row.value is None:
            self._row.field.value = middle  # what a tick will start with
        words = "not measured yet" if value is None else f"measured: {value:.5g}"
        self._caption.say(f"{low:g} to {high:g}; {words}")
        self._follow()

    def _on_slide(self, value: float) -> None:
        self._row.value = round(value, _DIGITS)

    def _follow(self) -> None:
        """Show the number and the tick of the row."""
        ticked = self._row.value is not None
        self._slider.setEnabled(ticked)
        hint = "Tick the box above to choose a scale by hand."
        follows = "Moves the scale; the difference follows."
        self._slider.setToolTip(follows if ticked else hint)
        with signals_blocked(self._slider):
            self._slider.setValue(self._row.field.value)


_ICON = 16
#: State of a stage -> the words on it here, and their level.
_STATES = {
    State.VALID: ("Valid result", ""),
    State.MISSING: ("No result with these settings yet", ""),
    State.STALE: ("Out of date", "warning"),
    State.FELL_BACK: ("A lesser result stands in", "warning"),
    State.FAILED: ("No trustworthy result", "error"),
    State.SKIPPED: ("Left out", ""),
}


class StageForm(QWidget):
    """What a stage does, what its result says, and its `parameters`."""

    def __init__(
        self,
        session: Session,
        stage: int,
        container: Container[ParameterRow] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"stage_form_{stage}")
        self._session = session
        self._stage = stage
        purpose = controls.WordsLabel("purpose", self)
        purpose.say(parameters.STAGES[stage].purpose)
        self._icon = QLabel(self)
        self._icon.setObjectName("state_icon")
        self._icon.setFixedWidth(_ICON)
        self._state = controls.WordsLabel("state", self)
        self._result = controls.WordsLabel("result", self)
        self.parameters = ParameterForm(session, stage, container, self)
        self._slider: ScaleSlider | None = None
        if stage == PARAMETER_REGISTRY["manual_scale"].stage:
            self._slider = ScaleSlider(self.parameters.container["manual_scale"])
        state = controls.row((self._icon, 0, controls.TOP), (self._state, 1))
        preview = [PreviewRow(session, stage, self)] if stage in PREVIEWED else []
        given: list[QWidget] = []
        if stage == GIVEN_AT:
            given = [GivenRow(session, kind, self) for kind in GIVEN]
        page = QWidget(self)
        parts = purpose, state, self._result, *preview, *given, self.parameters, None
        controls.column(*parts, parent=page, margin=0)
        controls.column(
            (controls.scrolled(page), 1), self.parameters.foot, parent=self, margin=0
        )
        session.status_changed.connect(self._on_status)
        session.source_changed.connect(self._on_source)
        self._on_status(session.status)
        if session.has_source and not session.status:
            session.refresh_status()

    def showEvent(self, a0: QShowEvent | None) -> None:
        """Say that this stage's form came to the front."""
        super().showEvent(a0)
        self._session.show_stage(self._stage)

    def _on_source(self) -> None:
        if self._slider is not None:
            self._slider.set_measured(None)
        self._on_status([])
        if self._session.has_pair:
            self._state.say("Looking for results …")

    def _on_status(self, lines: list[Any]) -> None:
        result = self._session.stored_result
        state = stage_states(lines, result)[self._stage]
        chosen = self._session.has_pair
        words = _state_words(state) if chosen else "No sample is chosen yet."
        level = _STATES[state.state][1] if chosen else ""
        self._icon.setPixmap(controls.state_icon(state.state).pixmap(_ICON, _ICON))
        self._state.say(words, controls.label_style(level))
        is_used = state.state not in (State.MISSING, State.STALE)
        known = result if is_used else None
        words, more = _result_words(self._stage, known)
        self._result.say(words)
        self._result.setToolTip(more)
        scale = known.scale if known is not None else None
        if self._slider and scale and scale.value != self._slider.measured:
            self._slider.set_measured(scale.value)


def _state_words(state: StageState) -> str:
    """Return in words how the results of a stage stand."""
    reason = f": {with_titles(state.reason)}" if state.reason else ""
    fix = ". Run this stage again" if state.state == State.STALE else ""
    return f"{_STATES[state.state][0]}{reason}{fix}."


def _result_words(stage: int, result: RunResult | None) -> tuple[str, str]:
    """Return accuracy or scale of a stage's result, and the figures behind it."""
    if result is None:
        return "", ""
    verdict = result.verdicts.get(stage)
    if verdict is not None and verdict.accuracy:
        figures = rows.capitalised(verdict.figures(most=20))
        words = f"Expected accuracy: {verdict.accuracy}"
        return words, f"<p>{html.escape(figures)}</p>"
    scale = result.scale
    if stage != parameters.DIFFERENCE_STAGE or scale is None:
        return "", ""
    title = scale_title(scale.kind)
    lines = [f"Scale: {scale_words(scale.value, scale.uncertainty, title)}"]
    if scale.offset:
        lines.append(f"constant offset of {scale.offset:.3g} grey levels taken off")
    if result.percentile_scale is not None:
        lines.append(f"{result.percentile_scale.value:.5g} at the percentile")
    if result.manual_scale is not None:
        lines.append(f"{result.manual_scale:.5g} by hand")
    lines += [f"{value:.5g}: {title}" for title, value, _ in further_scales(result)]
    return "; ".join(lines), ""
