"""The workbench with its tabs, and a dock for each stage alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from magicgui.widgets import Container
from napari.components import ViewerModel
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QSplitter, QTabBar, QTabWidget, QWidget

from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.core.batch import BatchSummary
from napari_exo2micro.core.parameters import STAGES, State
from napari_exo2micro.core.pipeline import RunResult, stage_states
from napari_exo2micro.plugin.layers.presenter import Panel, shared_session
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import (
    DockWatch,
    MessageStrip,
    column,
    literal,
    notify_error,
    scrolled,
    state_icon,
)
from napari_exo2micro.plugin.widgets.rows import ParameterRow, with_titles
from napari_exo2micro.plugin.workbench.form import StageForm, parameter_rows
from napari_exo2micro.plugin.workbench.presets import PresetsMenu
from napari_exo2micro.plugin.workbench.source import SourcePanel
from napari_exo2micro.plugin.workbench.status import ResultSummary, StatusList

if TYPE_CHECKING:
    from napari_exo2micro.core.store import CheckpointStatus

#: objectName -> text of the buttons that start a run.
BUTTONS = {
    "run_stage": "Run this stage",
    "run_to_here": "Run to here",
    "run_all": "Run all",
}

_NO_SOURCE = "Choose the raw folder, the sample and the dye first."
_NO_STAGE = "No stage is in front."


class RunBar(QWidget):
    """Buttons that run stages, a tick box to force them, Abort, and the progress.

    Every bar of a viewer follows the same run: while results are being written,
    here, in another dock or by a comparison, the buttons of all bars are disabled
    and each Abort stops it.

    Attributes
    ----------
    started : Signal()
        A run began from this bar; a dock clears its old message then.
    stage : int or None
        The stage of "Run this stage" and "Run to here"; see `set_stage`.
    """

    started = Signal()

    def __init__(
        self,
        session: Session,
        stage: int | None = None,
        *,
        buttons: Sequence[str] = tuple(BUTTONS),
        message: Callable[[str], None] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("run_bar")
        self._session = session
        self.stage = stage
        self._message = message if message is not None else notify_error
        self._job: Job | None = None
        runs = {
            "run_stage": self.run_stage,
            "run_to_here": self.run_to_here,
            "run_all": self.run_all,
        }
        self._buttons = {
            name: controls.button(self, name, BUTTONS[name], on_click=runs[name])
            for name in buttons
        }
        tip = "Run also where a valid result exists already, and replace it."
        self._force = controls.check_box(self, "force", "Force", tip)
        self._abort = controls.button(self, "abort", "Abort", on_click=self.abort)
        self._bar = controls.progress_bar(self, "How much of the run is done.")
        self._bar.hide()
        self._text = controls.WordsLabel("progress_text", self)
        controls.column(
            controls.row(*((button, 1) for button in self._buttons.values())),
            controls.row(self._force, None, self._abort),
            self._bar,
            self._text,
            parent=self,
            margin=0,
        )
        session.jobs.busy_changed.connect(self._on_busy)
        session.source_changed.connect(self._on_source)
        self._on_busy(session.jobs.is_busy)

    def set_stage(self, number: int | None) -> None:
        """Say which stage "Run this stage" and "Run to here" mean."""
        self.stage = number
        self._update()

    def run_stage(self) -> None:
        """Run the stage; one before it runs as well when its result is missing."""
        if self.stage is not None:
            self._start(self.stage, self.stage)

    def run_to_here(self) -> None:
        """Run from the first stage to this one."""
        if self.stage is not None:
            self._start(min(STAGES), self.stage)

    def run_all(self) -> None:
        """Run all stages."""
        self._start(min(STAGES), max(STAGES))

    def abort(self) -> None:
        """Ask what runs to stop; results of finished stages stay."""
        if self._job is not None:
            self._job.cancel()
            self._text.say("Stopping …")
            self._update()

    def _start(self, first: int, last: int) -> None:
        try:
            self._session.run(
                first, last, force=self._force.isChecked(), on_error=self._message
            )
        except (Exo2MicroError, RuntimeError) as error:
            self._message(str(error))
        else:
            self.started.emit()

    def _on_source(self) -> None:
        if self._job is None:  # what was said is about another sample
            self._bar.hide()
            self._text.say("")
        self._update()

    def _on_busy(self, busy: bool) -> None:
        job = self._session.jobs.exclusive
        if busy and job is not None and job is not self._job:
            self._job = job
            self._bar.show()
            self._on_progress(0.0, "")
            job.progressed.connect(self._on_progress)
            job.returned.connect(self._on_returned)
            job.failed.connect(self._on_failed)
        elif not busy:
            if self._job is not None and self._job.is_cancelled:
                self._bar.setValue(0)
                self._text.say("Stopped. What was finished is kept.")
            self._job = None
        self._update()

    def _on_progress(self, fraction: float, text: str) -> None:
        self._bar.setValue(round(1000 * fraction))
        job = self._job
        if job is not None and not job.is_cancelled:
            self._text.say(f"{job.title}: {text}" if text else f"{job.title} …")

    def _on_returned(self, result: Any) -> None:
        self._bar.setValue(self._bar.maximum())
        self._text.say(_ended(result))

    def _on_failed(self, _error: object) -> None:
        self._bar.setValue(0)
        self._text.say("Not finished: something went wrong.")

    def _update(self) -> None:
        """Enable what can be done now, and say why where it cannot."""
        job = self._job
        why = "" if self._session.has_source else _NO_SOURCE
        not_stopping, stop = "Nothing runs at the moment.", ""
        if job is not None:
            why = f"'{job.title}' runs; wait for it, or press Abort."
            not_stopping = "It stops at its next step." if job.is_cancelled else ""
            stop = literal(f"Stop '{job.title}'; results of finished stages are kept.")
        controls.enable(self._abort, not_stopping, stop)
        for name, button in self._buttons.items():
            without_stage = name != "run_all" and self.stage is None
            reason = why or (_NO_STAGE if without_stage else "")
            controls.enable(button, reason, _purpose(name, self.stage))


def _purpose(name: str, stage: int | None) -> str:
    """Return the tooltip of an enabled button."""
    if name == "run_all" or stage is None:
        return "Run every stage whose result is missing or no longer valid."
    title = f"stage {stage}, {STAGES[stage].title}"
    if name == "run_stage":
        before = " A stage before it runs as well when its result is missing."
        words = f"Run {title}, unless its result is valid already."
        return words if stage == min(STAGES) else words + before
    return (
        f"Run every stage up to {title}, where a result is missing or no longer "
        "valid. With Force, all of them run again."
    )


def _ended(result: Any) -> str:
    """Return how something ended; empty where the dock that started it says so."""
    if isinstance(result, BatchSummary):
        return f"The batch has ended, {result.sentence('pair')}."
    if not isinstance(result, RunResult):
        return ""
    if result.state != State.DEGRADED:
        return "Done."
    numbers = " and ".join(map(str, result.doubtful_stages))
    which = f" of stage {numbers}" if numbers else ""
    return f"Done, but look at the result{which}."


class StageDock(Container[ParameterRow]):
    """One stage by itself: choose a sample, set its parameters, run it.

    A magicgui container of the stage's parameters, which scripts can set and read. A
    stage of another package gets a dock by a subclass with its `stage`, declared as a
    widget in that package's manifest.

    Parameters
    ----------
    napari_viewer : ViewerModel
        As napari hands it over; docks of one viewer share sample and parameters.

    Attributes
    ----------
    stage : int
        The number of the stage.
    form : StageForm
        What the stage does, its result and its parameters.

    Examples
    --------
    >>> _, dock = viewer.window.add_plugin_dock_widget(  # doctest: +SKIP
    ...     "napari-exo2micro", "Stage 2: boundary alignment"
    ... )
    >>> dock["boundary_width"].value = 20  # doctest: +SKIP
    """

    stage: ClassVar[int]

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(widgets=parameter_rows(self.stage), labels=False)
        native = self.native
        native.setObjectName(f"stage_dock_{self.stage}")
        session = shared_session(napari_viewer, native)
        self.message = MessageStrip(native)
        self.source = SourcePanel(session, self.message.error, native)
        self.form = StageForm(session, self.stage, self, native)
        self.run_bar = RunBar(
            session, self.stage, buttons=("run_stage",), message=self.message.error
        )
        # What was wrong was said of the source and the settings before.
        for signal in (
            self.run_bar.started,
            session.source_changed,
            session.params_changed,
        ):
            signal.connect(self.message.clear)
        self.margins = (6, 6, 6, 6)
        page = column(self.message, self.source, (self.form, 1), self.run_bar)
        native.layout().addLayout(page)
        DockWatch(native).closed.connect(native.deleteLater)


class PaddingDock(StageDock):
    """Stage 1: both images on one canvas."""

    stage = 1


class BoundaryDock(StageDock):
    """Stage 2: the outlines of the sections aligned."""

    stage = 2


class InteriorDock(StageDock):
    """Stage 3: the interiors aligned to a fraction of a pixel."""

    stage = 3


class DifferenceDock(StageDock):
    """Stage 4: the pre-stain image scaled and subtracted."""

    stage = 4


_ICON = 14
# Round corners show what lies behind a tab in another colour.
_STYLE = (
    "QTabBar { border-radius: 0px; }"
    "QTabBar::tab { padding: 3px 2px; border-radius: 0px; }"
)
_AROUND = 12  # px beside mark and name: borders, padding and the space between


class _EvenBar(QTabBar):
    """Shares the width among its tabs as long as their names fit.

    Where the names do not fit with the stages' numbers they stand without, and where
    that is still too wide only the one in front has its name.
    """

    def __init__(self, names: Mapping[int, str], parent: QWidget) -> None:
        super().__init__(parent)
        self._names = list(names.values())
        self._full = [f"{number} {name}" for number, name in names.items()]
        self._numbers = [str(number) for number in names]
        self.currentChanged.connect(lambda _index: self.fit())
        self.setStyleSheet(_STYLE)
        self.setElideMode(Qt.TextElideMode.ElideNone)

    def fit(self) -> None:
        """Choose the names for the width that there is."""
        front = [
            name if index == self.currentIndex() else number
            for index, (name, number) in enumerate(
                zip(self._full, self._numbers, strict=True)
            )
        ]
        choices = (self._full, self._names, front)
        room = self._room()
        fits = (them for them in choices if sum(map(self._width, them)) <= room)
        for index, text in enumerate(next(fits, front)):
            if self.tabText(index) != text:
                self.setTabText(index, text)

    def tabSizeHint(self, index: int) -> QSize:
        """Return the size of a tab: an even share, or what its name needs."""
        own = super().tabSizeHint(index)
        needed = [self._width(self.tabText(i)) for i in range(self.count())]
        spare = max(self._room() - sum(needed), 0) // max(self.count(), 1)
        return QSize(needed[index] + spare, own.height())

    def _room(self) -> int:
        parent = self.parentWidget()
        return parent.width() - 2 if parent is not None else 0

    def _width(self, text: str) -> int:
        return self.fontMetrics().horizontalAdvance(text) + _ICON + _AROUND


class StageTabs(QTabWidget):
    """A page for each stage; its tab shows a mark, and the state in the tooltip."""

    def __init__(
        self,
        session: Session,
        pages: Mapping[int, QWidget],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("stages")
        self._session = session
        self._numbers = list(pages)
        words = {n: STAGES[n].title.split()[0].capitalize() for n in pages}
        self._bar = _EvenBar(words, self)
        self.setTabBar(self._bar)
        self.setIconSize(QSize(_ICON, _ICON))
        self.setUsesScrollButtons(True)
        for number, page in pages.items():
            self.addTab(page, str(number))
        self._bar.fit()
        session.status_changed.connect(self._on_status)
        session.stage_shown.connect(self.show_stage)
        self.show_stage(session.shown_stage)
        self._on_status(session.status)

    def show_stage(self, number: int) -> None:
        """Bring the page of a stage to the front."""
        if number in self._numbers:
            self.setCurrentIndex(self._numbers.index(number))

    def resizeEvent(self, e: QResizeEvent | None) -> None:
        """Let the names fit the new width."""
        self._bar.fit()
        super().resizeEvent(e)

    def _on_status(self, lines: Sequence[CheckpointStatus]) -> None:
        states = stage_states(lines, self._session.stored_result)
        for index, number in enumerate(self._numbers):
            state = states.get(number)
            if state is None:  # its package took it away meanwhile
                continue
            words = f"Stage {number}, {STAGES[number].title}"
            if lines:
                words += f" – {state.state.word}"
                words += f": {with_titles(state.reason)}" if state.reason else ""
            self.setTabIcon(index, state_icon(state.state))
            self.setTabToolTip(index, literal(words))


_LEAST_FORM = 170


class Workbench(Panel):
    """All that a sample needs, from its raw files to the difference image.

    Attributes
    ----------
    source : SourcePanel
        Raw folder, sample, dye and results folder.
    forms : dict
        Number -> `StageForm`, for each stage that is registered.
    run_bar : RunBar
        Runs the stage of the tab in front, and others.
    status : StatusList
        The check-list.
    """

    NAME = "workbench"
    LEAST = (320, 0)
    SIZE = (385, 0)  # a width at which the tabs carry their numbers

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        session = self.session
        self.source = SourcePanel(session, self.message.error, self)
        self.forms = {
            number: StageForm(session, number, parent=self) for number in STAGES
        }
        self.tabs = StageTabs(session, self.forms, self)
        stage = session.shown_stage
        self.run_bar = RunBar(session, stage, message=self.message.error, parent=self)
        self.summary = ResultSummary(session, self.message, self)
        self.status = StatusList(session, self.message.error, self)
        self.presets = PresetsMenu(session, self.message, self)
        self._arrange()
        for signal in (self.run_bar.started, session.source_changed):
            signal.connect(self.message.clear)
        session.source_changed.connect(self._on_source)
        session.stage_shown.connect(self.run_bar.set_stage)
        events = session.viewer.layers.events
        for emitter in (events.inserted, events.removed):
            self._connections.add(emitter, self.summary.offer)
        self._on_source()

    def _on_source(self) -> None:
        # Without a sample there is nothing to list.
        self._results.setVisible(bool(self.session.sample))

    def _arrange(self) -> None:
        self.tabs.setMinimumHeight(_LEAST_FORM)
        work, self._results, page = QWidget(self), QWidget(self), QWidget(self)
        column((self.tabs, 1), self.run_bar, parent=work, margin=0)
        results = column(self.summary, (self.status, 1), parent=self._results)
        results.setContentsMargins(0, 4, 0, 0)
        halves = QSplitter(Qt.Orientation.Vertical, self)
        halves.setObjectName("halves")
        halves.setChildrenCollapsible(False)
        for index, (half, share) in enumerate(((work, 3), (self._results, 2))):
            halves.addWidget(half)
            halves.setStretchFactor(index, share)
        column(self.source, (halves, 1), self.presets, parent=page, margin=0)
        column(self.message, (scrolled(page), 1), parent=self, margin=6)
