"""What the panels of one viewer share: the sample, its parameters, what runs."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QWidget

from napari_exo2micro.core.base import Monitor, ParameterError, output_problem
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    ParameterValue,
    build_suffix,
    check_parameters,
    default_params,
    non_default_params,
)
from napari_exo2micro.plugin.session.job import Job, Jobs
from napari_exo2micro.plugin.session.records import KeptRecords
from napari_exo2micro.plugin.session.task import (
    TaskSource,
    read_status,
    run_stages,
    stored_layers,
)

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import RunResult, SampleDye
    from napari_exo2micro.core.store import CheckpointStatus


class SessionParams(QObject):
    """Holds a value for each parameter of the registry and tells when one changes.

    Attributes
    ----------
    params_changed : Signal(object)
        Names of the parameters that changed, a tuple.
    """

    params_changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._params = default_params()

    @property
    def params(self) -> dict[str, ParameterValue]:
        """All parameters, a copy in the order of the registry."""
        known = default_params()
        return {name: self._params.get(name, value) for name, value in known.items()}

    def set_params(self, **values: Any) -> None:
        """Change parameters by name.

        Raises
        ------
        ParameterError
            When a name is unknown or a value does not fit; nothing is changed.
        """
        checked = check_parameters(values)
        check_parameters({**self.params, **checked})
        old = self.params
        changed = tuple(name for name in checked if checked[name] != old[name])
        if changed:
            self._params.update(checked)
            self.params_changed.emit(changed)

    def reset_params(self, *names: str) -> None:
        """Set parameters back to their defaults; all of them when none is named."""
        chosen = names or tuple(PARAMETER_REGISTRY)
        self.set_params(**{name: PARAMETER_REGISTRY[name].default for name in chosen})

    def non_default_params(self, stage: int | None = None) -> dict[str, ParameterValue]:
        """Return the parameters of stages 1..`stage` that differ from defaults."""
        return non_default_params(self.params, stage)

    def suffix(self, stage: int | None = None) -> str:
        """Return what the names of a stage's files will end in."""
        return build_suffix(self.params, stage)


class SessionSource(SessionParams):
    """Holds folders, sample, dye and file format, and tells when one changes.

    Attributes
    ----------
    source_changed : Signal()
        Another sample, dye, folder or checkpoint format.
    output_checked : Signal(str)
        The results folder was looked at: why it cannot be used, empty when it can.
    """

    source_changed = Signal()
    output_checked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Jobs()
        self.raw_dir: Path | None = None
        self.output_dir = Path("processed")
        self.sample = ""
        self.dye = ""
        self.checkpoint_format = "both"
        #: Why the results folder cannot be used, as it was when it was looked at.
        self.output_problem = ""
        #: What the last run returned, None before one and after another choice.
        self.last_result: RunResult | None = None
        self._task_source: TaskSource | None = None

    def set_source(
        self,
        *,
        raw_dir: Path | str | None = None,
        output_dir: Path | str | None = None,
        sample: str | None = None,
        dye: str | None = None,
        checkpoint_format: str | None = None,
    ) -> None:
        """Choose what is worked on; what is left out stays as it is."""
        before, folders = self._source(), (self.raw_dir, self.output_dir)
        if raw_dir is not None:
            self.raw_dir = Path(raw_dir)
        if output_dir is not None:
            self.output_dir = Path(output_dir)
        if sample is not None:
            self.sample = sample
        if dye is not None:
            self.dye = dye
        if checkpoint_format is not None:
            self.checkpoint_format = checkpoint_format
        if self._source() == before:
            return
        self.last_result = None
        self._task_source = None
        # What still reads files of the one before would show them now.
        self.jobs.cancel(
            "status", "show results", "open a result", "show the raw images"
        )
        self._forget_results()
        if folders != (self.raw_dir, self.output_dir):
            self.look_at_output()
        self.source_changed.emit()
        self._on_new_source()

    def _forget_results(self) -> None:
        """Drop what was read of the source before, before others hear of this one."""

    def _on_new_source(self) -> None:
        """Do what is due when all have heard of another source."""

    def _source(self) -> tuple[Any, ...]:
        folders = (self.raw_dir, self.output_dir)
        return (*folders, self.sample, self.dye, self.checkpoint_format)

    @property
    def has_source(self) -> bool:
        """Whether a raw folder, a sample and a dye are chosen."""
        return bool(self.raw_dir and self.sample and self.dye)

    def task(self) -> SampleDye:
        """Return the sample and dye with the present parameters.

        Raises
        ------
        ParameterError
            When none is chosen yet, or a name cannot be used.
        """
        return self.task_source().task(self._params)

    def task_source(self) -> TaskSource:
        """Return what makes `task`, for work in another thread.

        Raises
        ------
        ParameterError
            When no sample is chosen yet.
        """
        if not (self.sample and self.dye):
            raise ParameterError(
                "no sample is chosen yet; choose the raw folder, the sample and the "
                "dye at the top of the workbench"
            )
        if self._task_source is None:
            self._task_source = TaskSource(
                self.sample,
                self.dye,
                self.output_dir,
                self.raw_dir or Path("raw"),
                self.checkpoint_format,
            )
        return self._task_source

    def look_at_output(self) -> None:
        """Learn in the background whether results can go to their folder."""
        self.output_problem = ""
        self.jobs.start(
            _look_at,
            title=f"looking at {self.output_dir}",
            on_result=self._on_output,
            newest="results folder",
            show_progress=False,
            output_dir=self.output_dir,
            raw_dir=self.raw_dir,
        )

    def _on_output(self, problem: str) -> None:
        self.output_problem = problem
        self.output_checked.emit(problem)


def _look_at(output_dir: Path, raw_dir: Path | None, monitor: Monitor) -> str:
    monitor.check()
    return output_problem(output_dir, raw_dir)


_SESSIONS: dict[int, Session] = {}
#: Sessions whose viewer went away in another thread, until they are closed.
_ENDING: list[Session] = []


class Session(SessionSource):
    """What the docks of one viewer share; get it with `Session.of`.

    Attributes
    ----------
    status_changed : Signal(object)
        The check-list was read anew: a list of `CheckpointStatus`. It is empty from
        another choice of the source until its files were looked at.
    results_changed : Signal(int)
        A stage's results were made or loaded; its number, 0 for all.
    run_ended : Signal(object)
        The result of a run, as `SampleDye.run` returns it; not of one that was
        stopped or failed: ``jobs.busy_changed(False)`` comes after each.
    stage_ready : Signal(int, object)
        A stage's results are on disk: its number, and what `describe` made of them.
    run_left : Signal(str, str, int)
        A run ended, was stopped or failed: sample, dye and the last stage that it
        finished.
    stage_shown : Signal(int)
        The form of this stage is the one in front.
    describe : callable
        Takes a `SampleDye` and the number of a stage, and returns what a viewer
        needs to show its results; called in the thread of the run.
    """

    status_changed = Signal(object)
    results_changed = Signal(int)
    run_ended = Signal(object)
    stage_ready = Signal(int, object)
    run_left = Signal(str, str, int)
    stage_shown = Signal(int)

    _viewer_gone = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = weakref.ref(viewer)
        self._thread = threading.get_ident()
        self.describe: Callable[[SampleDye, int], Any] = _undescribed
        #: What the package logged since this session began.
        self.records = KeptRecords()
        #: What the valid results on disk say, as a run returns it; None without any.
        self.stored_result: RunResult | None = None
        self._status: list[CheckpointStatus] = []
        self._shown_stage = 1
        self._ran = 0  # the last stage that the run has finished
        self._has_window = False  # not the window itself: that would keep it alive
        self._checks: list[weakref.WeakMethod[Callable[[], str]]] = []
        self.params_changed.connect(self.refresh_status)
        self._viewer_gone.connect(self.close, Qt.ConnectionType.QueuedConnection)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    @classmethod
    def of(cls, viewer: ViewerModel, widget: QWidget | None = None) -> Session:
        """Return the session of a viewer, made when it is first asked for.

        Parameters
        ----------
        viewer : ViewerModel
            As napari hands it to a widget.
        widget : QWidget, optional
            A dock's widget: the session ends with the window that it is shown in.
        """
        model = getattr(viewer, "__wrapped__", viewer)
        key = id(model)
        session = _SESSIONS.get(key)
        if session is None:
            session = _SESSIONS[key] = cls(model)
            weakref.finalize(model, _end, key)
        if widget is not None:
            session.end_with_window_of(widget)
        return session

    def end_with_window_of(self, widget: QWidget) -> None:
        """End with the window that a dock's widget is shown in."""
        widget.installEventFilter(self)

    @property
    def viewer(self) -> ViewerModel:
        """The viewer.

        Raises
        ------
        RuntimeError
            When it was closed.
        """
        viewer = self._viewer()
        if viewer is None:
            raise RuntimeError("the viewer was closed")
        return viewer

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Learn which window the docks are in; the session ends with it."""
        shown = event is not None and event.type() == QEvent.Type.Show
        if shown and not self._has_window and isinstance(watched, QWidget):
            window = watched.window()
            if window is not None and window is not watched:
                self._has_window = True
                window.destroyed.connect(self.close)
        return False

    def close(self) -> None:
        """Stop all work; nothing is delivered to widgets any more."""
        self.jobs.close()
        self.records.close()
        for key, session in list(_SESSIONS.items()):
            if session is self:
                del _SESSIONS[key]
        if self in _ENDING:
            _ENDING.remove(self)

    # Which form is in front ------------------------------------------------------

    @property
    def shown_stage(self) -> int:
        """The stage whose form is in front."""
        return self._shown_stage

    def show_stage(self, number: int) -> None:
        """Say that the form of a stage came to the front."""
        if number != self._shown_stage:
            self._shown_stage = number
            self.stage_shown.emit(number)

    # Work ------------------------------------------------------------------------

    def _forget_results(self) -> None:
        self._on_status(([], None))

    def _on_new_source(self) -> None:
        self.refresh_status()

    def refresh_status(self, _changed: object = None) -> None:
        """Read in the background what is valid, stale or missing."""
        if not (self.sample and self.dye):
            self._on_status(([], None))
            return
        self.jobs.start(
            read_status,
            title="reading the state of the files",
            on_result=self._on_status,
            on_error=self._on_no_status,
            newest="status",
            show_progress=False,
            source=self.task_source(),
            params=dict(self._params),
        )

    @property
    def status(self) -> list[CheckpointStatus]:
        """The check-list as it was read last; see `status_changed`."""
        return list(self._status)

    def _on_status(self, read: tuple[list[CheckpointStatus], RunResult | None]) -> None:
        self._status, self.stored_result = read
        self.status_changed.emit(self.status)

    def _on_no_status(self, _error: str) -> None:
        # A name that cannot be used: what asks for a run is told so.
        self._on_status(([], None))

    def add_check(self, check: Callable[[], str]) -> None:
        """Have a form asked before each run; it is forgotten with its form.

        Parameters
        ----------
        check : bound method
            Returns why nothing can be run, for example that something typed is not
            a value; empty when it can.
        """
        self._checks.append(weakref.WeakMethod(check))

    def refusal(self) -> str:
        """Return why nothing may be run: a form shows what is no value; else empty.

        Whether the results folder can be used is asked where the work is done, in
        another thread: see `core.folders.check_output`.
        """
        living = [(check, check()) for check in self._checks]
        self._checks = [check for check, method in living if method is not None]
        reasons = (method() for _, method in living if method is not None)
        return next(filter(None, reasons), "")

    def run(
        self,
        from_stage: int,
        to_stage: int,
        *,
        force: bool = False,
        on_error: Callable[[str], None] | None = None,
        on_progress: Callable[[float, str], None] | None = None,
    ) -> Job:
        """Run stages in the background; their layers appear as each one ends.

        Raises
        ------
        ParameterError
            When no sample is chosen yet, or a form shows what is no value.
        RuntimeError
            When a run goes on already.
        """
        tasks = self.task_source()
        problem = self.refusal()
        if problem:
            raise ParameterError(problem)
        self._ran = 0
        numbers = f"stage {from_stage}"
        if to_stage != from_stage:
            numbers = f"stages {from_stage} to {to_stage}"
        return self.jobs.start(
            run_stages,
            title=f"{self.sample} {self.dye}, {numbers}",
            on_sent=self._on_stage,
            on_result=self._on_run,
            on_error=on_error,
            on_progress=on_progress,
            on_finished=self._on_run_finished,
            exclusive=True,
            keep_sent=True,
            source=tasks,
            params=dict(self._params),
            describe=self.describe,
            from_stage=from_stage,
            to_stage=to_stage,
            force=force,
        )

    def show_results(
        self,
        *,
        on_error: Callable[[str], None] | None = None,
        on_result: Callable[[int], None] | None = None,
    ) -> Job:
        """Show the layers of all stages that have valid results.

        Parameters
        ----------
        on_error : callable, optional
            Takes the error's text.
        on_result : callable, optional
            Takes the number of layers that are shown when all are.

        Raises
        ------
        ParameterError
            When no sample is chosen yet.
        """
        return self.jobs.start(
            stored_layers,
            title="opening the results",
            on_sent=self._on_stage,
            on_result=on_result,
            on_error=on_error,
            newest="show results",
            source=self.task_source(),
            params=dict(self._params),
            describe=self.describe,
        )

    def _on_stage(self, sent: tuple[int, Any]) -> None:
        number, described = sent
        if described:
            self.stage_ready.emit(number, described)
            self.results_changed.emit(number)
        if self.jobs.is_busy:
            if described:
                self._ran = number
            self.refresh_status()

    def _on_run_finished(self) -> None:
        self._leave_outdated()  # also of a run that was stopped or broke
        self.refresh_status()
        self.look_at_output()  # the run made it, or something is wrong with it

    def _on_run(self, result: RunResult) -> None:
        self.last_result = result
        self._leave_outdated()
        self.run_ended.emit(result)

    def _leave_outdated(self) -> None:
        ran, self._ran = self._ran, 0
        if ran:
            self.run_left.emit(self.sample, self.dye, ran)


def _undescribed(*_: object) -> None:
    """Describe nothing: without a viewer of results they stay on disk."""


def _end(key: int) -> None:
    """Close the session of a viewer that is gone, in the thread of its window."""
    session = _SESSIONS.pop(key, None)
    if session is None:
        return
    if threading.get_ident() == session._thread:
        session.close()
        return
    # The last that held the viewer was a worker: it cannot wait for itself.
    _ENDING.append(session)
    session.jobs.cancel_all()
    with contextlib.suppress(RuntimeError):  # Qt is gone already
        session._viewer_gone.emit()
