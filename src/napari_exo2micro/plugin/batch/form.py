"""What a batch is asked for: its form, checked into one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from napari_exo2micro.core.base import Exo2MicroError, Monitor, check_output
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    ParameterValue,
    default_params,
    non_default_params,
    value_words,
)
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.presets import PRESET, Preset, read_preset
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.session.settings import read_defaults, recent
from napari_exo2micro.plugin.widgets.controls import MessageStrip, WordsLabel
from napari_exo2micro.plugin.widgets.errors import literal

if TYPE_CHECKING:
    from napari_exo2micro.core.batch import (
        BatchBoard,
        BatchPlan,
        BatchSummary,
        Preflight,
    )


Pair = tuple[str, str]

#: How long a pair waits for another run of it, s.
_WAIT = 600.0


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a batch is asked to do.

    Attributes
    ----------
    pairs : tuple of (str, str)
        Samples with dyes.
    raw_dir, output_dir : Path
        Where the images are and results go.
    params : mapping
        All parameters.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What stages store.
    from_stage, to_stage : int or None
        First and last stage.
    force : bool
        Run also where results are valid.
    register_on : str or None
        The dye whose registration the others take.
    executor : str
        One of `core.batch.executors.EXECUTORS`.
    n_workers : int
        How many pairs at once.
    scheduler : str
        Address of a scheduler of dask; empty otherwise.
    """

    pairs: tuple[Pair, ...]
    raw_dir: Path
    output_dir: Path
    params: Mapping[str, ParameterValue]
    checkpoint_format: str = "both"
    from_stage: int | None = None
    to_stage: int | None = None
    force: bool = False
    register_on: str | None = None
    executor: str = "workers"
    n_workers: int = 2
    scheduler: str = ""

    def plan(self) -> BatchPlan:
        """Return what would run; pairs that cannot are listed as skipped.

        Raises
        ------
        Exo2MicroError
            When the folder or a setting cannot be used.
        """
        from napari_exo2micro.core.batch import plan_batch

        return plan_batch(
            pairs=self.pairs,
            raw_dir=self.raw_dir,
            output_dir=self.output_dir,
            strict_dyes=False,
            wait_for_lock=_WAIT,
            **self._settings(),
        )

    def recipe(self, make: Callable[..., str], *, strict: bool) -> str:
        """Return the batch as text, see `core.batch_recipes`."""
        return make(
            self.pairs,
            raw_dir=self.raw_dir.absolute(),
            output_dir=self.output_dir.absolute(),
            executor=self.executor,
            n_workers=self.n_workers,
            scheduler=self.scheduler,
            strict=strict,
            **self._settings(),
        )

    def about_results(self) -> BatchRequest:
        """Return the same without what has no effect on results."""
        return replace(self, pairs=(), executor="", n_workers=0, scheduler="")

    def _settings(self) -> dict[str, Any]:
        return {
            "params": dict(self.params),
            "checkpoint_format": self.checkpoint_format,
            "from_stage": self.from_stage,
            "to_stage": self.to_stage,
            "force": self.force,
            "register_on": self.register_on,
        }


@dataclass(frozen=True, slots=True)
class FolderPairs:
    """What a raw folder holds, pair by pair.

    Attributes
    ----------
    raw_dir : Path
        The folder.
    present : frozenset of (str, str)
        Samples with dyes that can run.
    problems : mapping of (str, str) to str
        Those with files that cannot, and why.
    problem : str
        Why the whole folder cannot be used; empty when it can.
    """

    raw_dir: Path
    present: frozenset[Pair] = frozenset()
    problems: Mapping[Pair, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def pairs(self) -> list[Pair]:
        """All pairs that have files, by sample and dye."""
        return sorted(self.present | self.problems.keys())

    @property
    def samples(self) -> list[str]:
        """Samples, in alphabetical order."""
        return sorted({sample for sample, _ in self.pairs})

    @property
    def dyes(self) -> list[str]:
        """Dyes of all samples, in alphabetical order."""
        return sorted({dye for _, dye in self.pairs})


def look_over(raw_dir: Path, monitor: Monitor) -> FolderPairs:
    """Return which pairs a raw folder holds; only names are read."""
    from napari_exo2micro.core.raw import discover_tasks

    monitor.check()
    try:
        found = discover_tasks(raw_dir=raw_dir)
    except Exo2MicroError as error:
        return FolderPairs(raw_dir, problem=str(error))
    problems = {
        (task.sample, task.dye): task.reason for task in found.skipped if task.dye
    }
    return FolderPairs(raw_dir, frozenset(found.present), problems)


def read_states(
    request: BatchRequest, monitor: Monitor, send: Callable[[Any], None]
) -> None:
    """Send each pair with what is on disk for it, see `core.stored_state`."""
    from napari_exo2micro.core.batch import StoredState, stored_state

    for task in request.plan().tasks:
        monitor.check()
        try:
            state = stored_state(task)
        except Exo2MicroError as error:
            state = StoredState("none", str(error))
        send(((task.sample, task.dye), state))


def check_request(
    request: BatchRequest, monitor: Monitor
) -> tuple[BatchPlan, Preflight]:
    """Return what would run, and whether memory and disk are enough for it.

    Raises
    ------
    Exo2MicroError
        When the raw folder, the results folder or a setting cannot be used.
    """
    from napari_exo2micro.core.batch import check_resources

    check_output(request.output_dir, request.raw_dir)
    monitor.check()
    plan = request.plan()
    monitor.check()
    n_workers = 1 if request.executor == "serial" else request.n_workers
    here = not request.scheduler
    return plan, check_resources(plan.tasks, n_workers, here=here)


def run_request(
    request: BatchRequest, plan: BatchPlan, board: BatchBoard, monitor: Monitor
) -> BatchSummary:
    """Run a batch; the board is told what happens to each pair."""
    from napari_exo2micro.core.batch import make_executor, run_plan, summarise_batch

    try:
        executor = make_executor(
            request.executor,
            n_workers=request.n_workers,
            scheduler=request.scheduler or None,
            monitor=monitor,
        )
        # Memory and disk were checked just now; a person may have overruled that.
        results = run_plan(
            plan, executor, force_run=True, monitor=monitor, on_event=board.take
        )
    finally:
        board.end()
    return summarise_batch(results)


_TIP = Qt.ItemDataRole.ToolTipRole
_SPIN_WIDTH = 96
_FROM_WORKBENCH = ""
_OTHER_FILE = "?"
_EACH_BY_ITSELF = ""
_WHERE = {
    "workers": (
        "several at once",
        "In worker processes: what one pair breaks, no other one feels. Fast, and "
        "napari goes on.",
    ),
    "serial": (
        "one after the other",
        "In napari itself. It takes the least memory.",
    ),
    "dask": (
        "on a cluster",
        "By the workers of a dask scheduler, whose address is asked for. They must "
        "see both folders under the same names.",
    ),
}


class BatchForm(QWidget):
    """Asks how a batch is to run.

    Parameters
    ----------
    session : Session
        Whose parameters are offered.
    message : MessageStrip
        Says what is wrong with a preset.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    changed : Signal()
        Something else would be run now.
    """

    changed = Signal()

    def __init__(
        self, session: Session, message: MessageStrip, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("batch_form")
        self._session = session
        self._message = message
        self._preset: dict[str, ParameterValue] | None = None
        self._preset_path = _FROM_WORKBENCH
        self._reading: Job | None = None
        self._word = f"batch preset {id(self)}"
        self._parameters = self._combo(
            "parameters_from",
            "Every pair is run with the same parameters: those of the forms, or those "
            "of a saved preset.",
        )
        self._about = WordsLabel("about_parameters", self)
        self._first = self._combo(
            "from_stage",
            "The first stage. One before it runs as well where its result is missing.",
        )
        self._last = self._combo("to_stage", "The last stage.")
        self._force = QCheckBox("Force: run again what is valid, too", self)
        self._force.setObjectName("force")
        self._force.setToolTip(
            "Run these stages also where a valid result exists, and replace it."
        )
        self._register = self._combo(
            "register_on",
            "Dyes that were imaged in one session moved alike: then one of them is "
            "registered, and the sample's other dyes take its alignment.",
        )
        self._where = self._combo("executor", "Where the pairs are run.")
        self._workers = QSpinBox(self)
        self._workers.setObjectName("workers")
        self._workers.setRange(1, 64)
        self._workers.setFixedWidth(_SPIN_WIDTH)
        self._workers.setValue(read_defaults().workers)
        self._workers.setToolTip(
            "How many pairs are worked on at the same time. What it begins with is "
            "set in Preferences, Exo2Micro."
        )
        self._scheduler = QLineEdit(self)
        self._scheduler.setObjectName("scheduler")
        self._scheduler.setPlaceholderText("tcp://192.168.1.2:8786")
        self._scheduler.setToolTip("The address that 'dask scheduler' shows.")
        self._scheduler_label = QLabel("Scheduler", self)
        self._scheduler_label.setBuddy(self._scheduler)
        self._arrange()
        self._fill()
        self.offer_dyes(())
        self._connect()
        self._follow()

    # What is asked for -------------------------------------------------------

    @property
    def params(self) -> dict[str, ParameterValue]:
        """All parameters."""
        if self._preset is not None:
            return {**default_params(), **self._preset}
        return self._session.params

    @property
    def uses_workbench(self) -> bool:
        """Whether the parameters are those of the forms."""
        return self._preset is None

    @property
    def settings(self) -> dict[str, Any]:
        """What `BatchRequest` takes, without pairs and folders."""
        first, last = int(self._first.currentData()), int(self._last.currentData())
        kind = str(self._where.currentData())
        return {
            "params": self.params,
            "from_stage": None if first == min(STAGES) else first,
            "to_stage": None if last == max(STAGES) else last,
            "force": self._force.isChecked(),
            "register_on": self._register.currentData() or None,
            "executor": kind,
            "n_workers": self._workers.value(),
            "scheduler": self._scheduler.text().strip() if kind == "dask" else "",
        }

    @property
    def problem(self) -> str:
        """Why nothing can be run like this; empty when all is well."""
        if self._is_reading:
            return "The preset is being read; wait for it, or choose other parameters."
        settings = self.settings
        if settings["executor"] == "dask" and not settings["scheduler"]:
            return (
                "Type the address of the cluster's scheduler, or choose another place "
                "to run."
            )
        return ""

    def offer_dyes(self, dyes: Sequence[str]) -> None:
        """Offer these dyes for a shared registration; one chosen stays if it can."""
        chosen = self._register.currentData()
        with QSignalBlocker(self._register):
            self._register.clear()
            self._register.addItem("each dye by itself", _EACH_BY_ITSELF)
            for dye in dyes:
                self._register.addItem(f"all take that of {dye}", dye)
            self._register.setCurrentIndex(max(self._register.findData(chosen), 0))

    def load_preset(self, path: Path) -> None:
        """Take the parameters of a preset; what is wrong with it is told."""
        self._reading = self._session.jobs.start(
            read_preset,
            title=f"reading {path}",
            on_result=self._take,
            on_error=self._message.error,
            on_finished=self._show_parameters,
            newest=self._word,
            show_progress=False,
            path=path,
        )
        self.changed.emit()

    def _take(self, preset: Preset) -> None:
        self._preset, self._preset_path = dict(preset.params), str(preset.path)

    def _show_parameters(self) -> None:
        if not self._is_reading:  # another one was chosen since
            self._offer_presets()
            self._follow()

    @property
    def _is_reading(self) -> bool:
        reading = self._reading
        return reading is not None and reading.is_running and not reading.is_cancelled

    # How it follows ----------------------------------------------------------

    def _fill(self) -> None:
        for combo in (self._first, self._last):
            for number, stage in sorted(STAGES.items()):
                combo.addItem(f"{number} {stage.title}", number)
        self._last.setCurrentIndex(self._last.count() - 1)
        for kind, (words, tip) in _WHERE.items():
            self._where.addItem(words, kind)
            self._where.setItemData(self._where.count() - 1, tip, _TIP)
        self._offer_presets()

    def _offer_presets(self) -> None:
        with QSignalBlocker(self._parameters):
            self._parameters.clear()
            self._parameters.addItem("as set in the workbench", _FROM_WORKBENCH)
            paths = recent(PRESET)
            if self._preset_path and self._preset_path not in paths:
                paths = [self._preset_path, *paths]
            for path in paths:
                self._parameters.addItem(f"preset {Path(path).stem}", path)
                last = self._parameters.count() - 1
                self._parameters.setItemData(last, literal(path), _TIP)
            self._parameters.addItem("another preset…", _OTHER_FILE)
            index = self._parameters.findData(self._preset_path)
            self._parameters.setCurrentIndex(max(index, 0))

    def _choose_parameters(self, _index: int) -> None:
        chosen = str(self._parameters.currentData())
        if chosen == _OTHER_FILE:
            name, _ = QFileDialog.getOpenFileName(
                self, "Take the parameters of", "", "Presets (*.json);;All files (*)"
            )
            chosen = name or self._preset_path
        if chosen == _FROM_WORKBENCH:
            self._session.jobs.cancel(self._word)
            self._preset, self._preset_path = None, _FROM_WORKBENCH
            self._offer_presets()
            self._follow()
        else:
            self.load_preset(Path(chosen))

    def _follow(self, *_: object) -> None:
        """Say which parameters differ, and what can be set."""
        changed = non_default_params(self.params)
        if changed:
            words = "; ".join(
                f"{PARAMETER_REGISTRY[name].title} {value_words(value)}"
                for name, value in changed.items()
            )
            self._about.say(f"Changed: {words}.")
        else:
            self._about.say("All are at their defaults.")
        kind = str(self._where.currentData())
        self._where.setToolTip(_WHERE[kind][1])
        self._workers.setVisible(kind == "workers")
        for line in (self._scheduler, self._scheduler_label):
            line.setVisible(kind == "dask")
        self.changed.emit()

    def _choose_first(self, _index: int) -> None:
        self._last.setCurrentIndex(
            max(self._last.currentIndex(), self._first.currentIndex())
        )
        self.changed.emit()

    def _choose_last(self, _index: int) -> None:
        self._first.setCurrentIndex(
            min(self._last.currentIndex(), self._first.currentIndex())
        )
        self.changed.emit()

    # How it looks ------------------------------------------------------------

    def _combo(self, name: str, tooltip: str) -> QComboBox:
        combo = QComboBox(self)
        combo.setObjectName(name)
        combo.setToolTip(tooltip)
        combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        combo.setMinimumWidth(90)
        return combo

    def _arrange(self) -> None:
        stages = QHBoxLayout()
        stages.addWidget(self._first, 1)
        stages.addWidget(QLabel("to", self))
        stages.addWidget(self._last, 1)
        where = QHBoxLayout()
        where.addWidget(self._where, 1)
        where.addWidget(self._workers)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.addRow("Parameters", self._parameters)
        layout.addRow(self._about)
        layout.addRow("Stages", stages)
        layout.addRow("", self._force)
        layout.addRow("Registration", self._register)
        layout.addRow("Run", where)
        layout.addRow(self._scheduler_label, self._scheduler)

    def _connect(self) -> None:
        self._parameters.activated.connect(self._choose_parameters)
        self._first.currentIndexChanged.connect(self._choose_first)
        self._last.currentIndexChanged.connect(self._choose_last)
        self._force.toggled.connect(self.changed)
        self._register.currentIndexChanged.connect(self.changed)
        self._where.currentIndexChanged.connect(self._follow)
        self._workers.valueChanged.connect(self.changed)
        self._scheduler.textChanged.connect(self.changed)
        self._session.params_changed.connect(self._follow)
