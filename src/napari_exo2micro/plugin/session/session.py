"""What the panels of one viewer share: the sample, its settings, what runs."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QWidget

from napari_exo2micro.core import base, parameters
from napari_exo2micro.core.pipeline import RunResult, SampleDye, stages_done
from napari_exo2micro.core.store import CheckpointStatus
from napari_exo2micro.plugin.session.job import Job, Jobs

#: Takes a task and the number of a stage; returns what shows its results.
Describe = Callable[[SampleDye, int], Any]


#: kind -> the lowest level of Python's logging that it stands for.
KINDS = {"note": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_MOST = 2000
_MOST_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """One record: its number from 1, seconds since 1970, kind (see `KINDS`) and text.

    A text may have several lines: a traceback follows the message.
    """

    number: int
    time: float
    kind: str
    text: str


class _Signals(QObject):
    added = Signal()


class KeptRecords(logging.Handler):
    """The last records of the package's loggers, of all threads.

    Attributes
    ----------
    added : Signal()
        There is a new one; emitted in the thread that logs, so that it arrives in
        the thread of the widget that is connected.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: deque[KeptRecord] = deque(maxlen=_MOST)
        self._numbers = itertools.count(1)
        self._signals = _Signals()
        self.added = self._signals.added
        self.setFormatter(logging.Formatter("%(message)s"))
        base.add_listener(self)

    def since(self, number: int = 0) -> list[KeptRecord]:
        """Return the records after the one with this number, oldest first."""
        new = itertools.takewhile(
            lambda record: record.number > number, reversed(self._kept.copy())
        )
        return list(new)[::-1]

    def close(self) -> None:
        """Hear no more; what was kept stays."""
        base.remove_listener(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        try:
            text = self.format(record)[:_MOST_TEXT]
            kind = next(k for k in reversed(KINDS) if record.levelno >= KINDS[k])
            kept = KeptRecord(next(self._numbers), record.created, kind, text)
        except Exception:  # noqa: BLE001 - as every handler of Python's
            self.handleError(record)
            return
        self._kept.append(kept)
        with contextlib.suppress(RuntimeError):  # the window was closed meanwhile
            self.added.emit()


class TaskSource:
    """Makes the `SampleDye` of one sample and dye; may be used from any thread.

    All objects that it makes share what is known of the files on disk, so that raw
    files whose time changed are read once and not at every look at the state. Of the
    settings the parameters are given to `task`.
    """

    def __init__(self, sample: str, dye: str, settings: parameters.RunSettings) -> None:
        self.sample, self.dye, self.settings = sample, dye, settings
        self._first: SampleDye | None = None
        self._lock = threading.Lock()

    def task(self, params: Mapping[str, parameters.ParameterValue]) -> SampleDye:
        """Return an object of one's own with these parameters."""
        return self.task_with(replace(self.settings, params=params))

    def task_with(self, settings: parameters.RunSettings) -> SampleDye:
        """Return an object of one's own with these settings, for the same folders."""
        with self._lock:
            if self._first is None:
                self._first = SampleDye.from_settings(
                    self.sample, self.dye, self.settings
                )
            task = self._first.copy()
        task.store.settings = settings
        return task


StatusRead = tuple[list[CheckpointStatus], RunResult | None, Mapping[str, Path]]
_NOTHING_READ: StatusRead = ([], None, {})


def read_status(
    source: TaskSource,
    params: Mapping[str, parameters.ParameterValue],
    monitor: base.Monitor,
) -> StatusRead:
    """Return the check-list, what the valid results say, and what was given for them.

    The result is None, or that of the last stage in a row whose files are all valid.
    """
    task = source.task(params)
    lines = task.status()
    monitor.check()
    done = stages_done(lines)
    return lines, task.result(done) if done else None, task.store.given_before()


def run_stages(
    source: TaskSource,
    settings: parameters.RunSettings,
    describe: Describe,
    monitor: base.Monitor,
    send: Callable[[Any], None],
) -> RunResult:
    """Run stages; send number and description of each one that has ended."""
    task = source.task_with(settings)

    def on_stage(number: int) -> None:
        send((number, describe(task, number)))

    first, last = settings.stages
    return task.run(first, last, settings.force, monitor, on_stage)


def stored_layers(
    source: TaskSource,
    params: Mapping[str, parameters.ParameterValue],
    describe: Describe,
    monitor: base.Monitor,
    send: Callable[[Any], None],
) -> int:
    """Send number and description of every stage; return how many layers there are."""
    task, count = source.task(params), 0
    for number in sorted(parameters.STAGES):
        monitor.check()
        described = describe(task, number) or ()
        count += len(described)
        send((number, described))
    return count


_SESSIONS: dict[int, Session] = {}
#: Sessions whose viewer went away in another thread, until they are closed.
_ENDING: list[Session] = []
#: Jobs that read files of the choice before: what they show would be wrong now.
_OF_THE_CHOICE = ("status", "show results", "open a result", "show the raw images")


class Session(QObject):
    """What the docks of one viewer share; get it with `Session.of`.

    It shows nothing: it tells, and others listen.

    Attributes
    ----------
    params_changed : Signal(object)
        Names of the parameters that changed, a tuple.
    source_changed : Signal()
        Another sample, dye, folder or checkpoint format.
    given_changed : Signal()
        Other landmarks or regions; another pair has none, which is `source_changed`.
    output_checked : Signal(str)
        The results folder was looked at: why it cannot be used, empty when it can.
    status_changed : Signal(object)
        The check-list was read anew: a list of `CheckpointStatus`. It is empty from
        another choice of the source until its files were looked at.
    stage_ready : Signal(int, object)
        A stage's results are on disk: its number, and what `describe` made of them.
    results_changed : Signal(int)
        The same, when they are shown: the stage's number, 0 for all.
    run_ended : Signal(object)
        The `RunResult` of a run; not of one that was stopped or failed:
        ``jobs.busy_changed(False)`` comes after each.
    run_left : Signal(str, str, int)
        A run ended, was stopped or failed: sample, dye and the last stage that it
        finished.
    stage_shown : Signal(int)
        The form of this stage is the one in front.
    sample, dye : str
        What is worked on; empty when nothing is chosen. See `set_source`.
    settings : RunSettings
        Folders, format and parameters; see `set_source` and `set_params`.
    jobs : Jobs
        Starts work in the background.
    records : KeptRecords
        What the package logged since this session began.
    output_problem : str
        Why the results folder cannot be used, as it was when it was looked at.
    status : list of CheckpointStatus
        The check-list as it was read last; see `status_changed`.
    stored_result : RunResult or None
        What the valid results on disk say, as a run returns it; None without any.
    shown_stage : int
        The stage whose form is in front; see `show_stage`.
    describe : callable
        Takes a `SampleDye` and the number of a stage, and returns what a viewer
        needs to show its results; called in the thread of the run.
    """

    params_changed = Signal(object)
    source_changed = Signal()
    given_changed = Signal()
    output_checked = Signal(str)
    status_changed = Signal(object)
    stage_ready = Signal(int, object)
    results_changed = Signal(int)
    run_ended = Signal(object)
    run_left = Signal(str, str, int)
    stage_shown = Signal(int)

    _viewer_gone = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = weakref.ref(viewer)
        self._thread = threading.get_ident()
        self.sample = self.dye = ""
        self.settings = parameters.RunSettings()
        self._has_raw_dir = self._has_adopted = False
        self.jobs = Jobs()
        self.records = KeptRecords()
        self.output_problem = ""
        self.status: list[CheckpointStatus] = []
        self.stored_result: RunResult | None = None
        self.shown_stage = 1
        # Where nobody shows results they stay on disk.
        self.describe: Describe = lambda _task, _number: ()
        self._task_source: TaskSource | None = None
        self._last_ended = 0  # the last stage that the run has finished
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

        It ends with the window that the `widget` of a dock is shown in.
        """
        model = getattr(viewer, "__wrapped__", viewer)
        key = id(model)
        session = _SESSIONS.get(key)
        if session is None:
            session = _SESSIONS[key] = cls(model)
            weakref.finalize(model, _end, key)
        if widget is not None:
            widget.installEventFilter(session)
        return session

    @property
    def viewer(self) -> ViewerModel:
        """The viewer; a RuntimeError tells that it was closed."""
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
        for key in [key for key, session in _SESSIONS.items() if session is self]:
            del _SESSIONS[key]
        if self in _ENDING:
            _ENDING.remove(self)

    def leave_thread(self) -> None:
        """Close in the thread of the window; the viewer went away in any."""
        if threading.get_ident() == self._thread:
            self.close()
            return
        # The last that held the viewer was a worker: it cannot wait for itself.
        _ENDING.append(self)
        self.jobs.cancel_all()
        with contextlib.suppress(RuntimeError):  # Qt is gone already
            self._viewer_gone.emit()

    @property
    def raw_dir(self) -> Path | None:
        """The raw folder; None when none is chosen."""
        return self.settings.raw_dir if self._has_raw_dir else None

    @property
    def output_dir(self) -> Path:
        """Where results go."""
        return self.settings.output_dir

    @property
    def checkpoint_format(self) -> str:
        """What stages store: tiff, fits or both."""
        return self.settings.checkpoint_format

    @property
    def params(self) -> dict[str, parameters.ParameterValue]:
        """All parameters, a copy in the order of the registry."""
        # Another package may have registered some, or taken them away, meanwhile.
        known, defaults = self.settings.params, parameters.default_params()
        return {name: known.get(name, value) for name, value in defaults.items()}

    def set_params(self, **values: Any) -> None:
        """Change parameters by name; none when a `ParameterError` is raised."""
        old = self.params
        settings = replace(self.settings, params={**old, **values})
        changed = tuple(name for name in values if settings.params[name] != old[name])
        if changed:
            self.settings = settings
            self.params_changed.emit(changed)

    def reset_params(self, *names: str) -> None:
        """Set parameters back to their defaults; all of them when none is named."""
        defaults = parameters.default_params()
        self.set_params(**{name: defaults[name] for name in names or defaults})

    def non_default_params(
        self, stage: int | None = None
    ) -> dict[str, parameters.ParameterValue]:
        """Return the parameters of stages 1..`stage` that differ from defaults."""
        return parameters.non_default_params(self.params, stage)

    def suffix(self, stage: int | None = None) -> str:
        """Return what the names of a stage's files will end in."""
        return parameters.build_suffix(self.params, stage)

    def set_source(
        self,
        *,
        sample: str | None = None,
        dye: str | None = None,
        raw_dir: Path | str | None = None,
        **changes: Any,
    ) -> None:
        """Choose what is worked on; what is left out, or None, stays as it is.

        Parameters
        ----------
        sample, dye : str, optional
            Empty for none.
        raw_dir : Path or str, optional
            The raw folder.
        **changes
            `output_dir` and `checkpoint_format`.
        """
        before, pair = self._source(), self._pair()
        changes = {name: value for name, value in changes.items() if value is not None}
        if raw_dir is not None:
            changes["raw_dir"], self._has_raw_dir = raw_dir, True
        self.settings = replace(self.settings, params=self.params, **changes)
        self.sample = self.sample if sample is None else sample
        self.dye = self.dye if dye is None else dye
        if self._pair() != pair:  # what was drawn is of the pair of before
            self.settings = replace(self.settings, landmarks=None, regions=None)
            self._has_adopted = False
        if self._source() == before:
            return
        self._task_source = None
        self.jobs.cancel(*_OF_THE_CHOICE)
        self._on_status(_NOTHING_READ)  # before others hear of the new choice
        if before[:2] != self._source()[:2]:
            self.look_at_output()
        self.source_changed.emit()
        self.refresh_status()

    def set_given(self, **given: Any) -> None:
        """Choose `landmarks` or `regions` of the pair by name, None for none."""
        settings = replace(self.settings, params=self.params, **given)
        if settings != replace(self.settings, params=self.params):
            self.settings = settings
            self._task_source = None
            self.given_changed.emit()
            self.refresh_status()

    def _pair(self) -> tuple[object, ...]:
        return self.raw_dir, self.sample, self.dye

    def _source(self) -> tuple[object, ...]:
        folders = self.raw_dir, self.output_dir
        return (*folders, self.checkpoint_format, self.sample, self.dye)

    @property
    def has_pair(self) -> bool:
        """Whether a sample and a dye are chosen."""
        return bool(self.sample and self.dye)

    @property
    def has_source(self) -> bool:
        """Whether a raw folder, a sample and a dye are chosen."""
        return self.raw_dir is not None and self.has_pair

    def task(self) -> SampleDye:
        """Return the sample and dye with the present parameters."""
        return self.task_source().task(self.params)

    def task_source(self) -> TaskSource:
        """Return what makes `task`, for work in another thread.

        Raises
        ------
        ParameterError
            When no sample is chosen yet.
        """
        if not self.has_pair:
            raise base.ParameterError(
                "no sample is chosen yet; choose the raw folder, the sample and the "
                "dye at the top of the workbench"
            )
        if self._task_source is None:
            self._task_source = TaskSource(self.sample, self.dye, self.settings)
        return self._task_source

    def show_stage(self, number: int) -> None:
        """Say that the form of a stage came to the front."""
        if number != self.shown_stage:
            self.shown_stage = number
            self.stage_shown.emit(number)

    def add_check(self, check: Callable[[], str]) -> None:
        """Have a form asked before each run, as long as the form lives.

        The bound method returns why nothing can be run, such as that something typed
        is not a value; empty when it can.
        """
        self._checks.append(weakref.WeakMethod(check))

    def refusal(self) -> str:
        """Return why nothing may be run: a form shows what is no value; else empty."""
        self._checks = [check for check in self._checks if check() is not None]
        methods = filter(None, [check() for check in self._checks])
        return next(filter(None, (method() for method in methods)), "")

    def refresh_status(self, _changed: object = None) -> None:
        """Read in the background what is valid, stale or missing."""
        if not self.has_pair:
            self._on_status(_NOTHING_READ)
            return
        self.jobs.start(
            read_status,
            title="reading the state of the files",
            on_result=self._on_status,
            # A name that cannot be used: what asks for a run is told so.
            on_error=lambda _: self._on_status(_NOTHING_READ),
            newest="status",
            show_progress=False,
            source=self.task_source(),
            params=self.params,
        )

    def look_at_output(self) -> None:
        """Learn in the background whether results can go to their folder."""
        self.output_problem = ""
        self.jobs.start(
            base.output_problem,
            title=f"looking at {self.output_dir}",
            on_result=self._on_output,
            newest="results folder",
            show_progress=False,
            output_dir=self.output_dir,
            raw_dir=self.raw_dir,
        )

    def _on_status(self, read: StatusRead) -> None:
        self.status, self.stored_result, given = read
        self.status_changed.emit(self.status)
        if read is not _NOTHING_READ and not self._has_adopted:
            # Results of an earlier day were made with these; later a person chooses.
            self._has_adopted = True
            if self.settings.landmarks is None and self.settings.regions is None:
                self.set_given(**given)

    def _on_output(self, problem: str) -> None:
        self.output_problem = problem
        self.output_checked.emit(problem)

    def run(
        self,
        from_stage: int,
        to_stage: int,
        *,
        force: bool = False,
        on_error: Callable[[str], None] | None = None,
        on_progress: Callable[[float, str], None] | None = None,
    ) -> Job:
        """Run stages in the background; each is told as it ends, see `stage_ready`.

        Raises
        ------
        ParameterError
            When no sample is chosen yet, or a form shows what is no value.
        RuntimeError
            When a run goes on already.
        """
        source = self.task_source()
        if problem := self.refusal():
            raise base.ParameterError(problem)
        self._last_ended = 0
        numbers = f"stage {from_stage}"
        if to_stage != from_stage:
            numbers = f"stages {from_stage} to {to_stage}"
        chosen = replace(self.settings, params=self.params, force=force)
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
            source=source,
            settings=replace(chosen, from_stage=from_stage, to_stage=to_stage),
            describe=self.describe,
        )

    def show_results(
        self,
        *,
        on_error: Callable[[str], None] | None = None,
        on_result: Callable[[int], None] | None = None,
    ) -> Job:
        """Tell all stages that have valid results, see `stage_ready`.

        `on_result` takes the number of layers when all are shown.
        """
        return self.jobs.start(
            stored_layers,
            title="opening the results",
            on_sent=self._on_stage,
            on_result=on_result,
            on_error=on_error,
            newest="show results",
            source=self.task_source(),
            params=self.params,
            describe=self.describe,
        )

    def _on_stage(self, sent: tuple[int, Any]) -> None:
        number, described = sent
        if described:
            self.stage_ready.emit(number, described)
            self.results_changed.emit(number)
        if self.jobs.is_busy:
            if described:
                self._last_ended = number
            self.refresh_status()

    def _on_run(self, result: RunResult) -> None:
        self._leave_run()
        self.run_ended.emit(result)

    def _on_run_finished(self) -> None:
        self._leave_run()  # also one that was stopped or broke
        self.refresh_status()
        self.look_at_output()  # the run made it, or something is wrong with it

    def _leave_run(self) -> None:
        last, self._last_ended = self._last_ended, 0
        if last:
            self.run_left.emit(self.sample, self.dye, last)


def _end(key: int) -> None:
    """Close the session of a viewer that is gone."""
    session = _SESSIONS.pop(key, None)
    if session is not None:
        session.leave_thread()
