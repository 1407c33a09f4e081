"""How a batch is to run: parameters, stages, shared registration, where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

from napari_exo2micro.core.defaults import (
    PARAMETER_REGISTRY,
    default_params,
    non_default_params,
)
from napari_exo2micro.core.parameter_entry import ParameterValue
from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.core.value_text import value_words
from napari_exo2micro.plugin.job import Job
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.settings import read_defaults
from napari_exo2micro.plugin.words_label import WordsLabel
from napari_exo2micro.plugin.workbench.preset_files import (
    PRESET,
    Preset,
    read_preset,
)
from napari_exo2micro.plugin.workbench.recent import recent

__all__ = ["BatchForm"]

_TIP = Qt.ItemDataRole.ToolTipRole
_SPIN_WIDTH = 96
_FROM_WORKBENCH = ""
_OTHER_FILE = "?"
_EACH_BY_ITSELF = ""
_WHERE = {
    "pool": (
        "several at once",
        "In worker processes; each works on one pair after the other. Fast, and "
        "napari goes on.",
    ),
    "serial": (
        "one after the other",
        "In napari itself. It takes the least memory.",
    ),
    "subprocess": (
        "each in a process of its own",
        "A new process for each pair: what one of them breaks, no other one feels.",
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
        self._workers.setVisible(kind in ("pool", "subprocess"))
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
