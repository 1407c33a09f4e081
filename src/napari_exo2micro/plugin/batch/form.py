"""How a batch is to run: its parameters, its stages, and where."""

from collections.abc import Sequence
from pathlib import Path

from qtpy import QtWidgets
from qtpy.QtCore import Qt, Signal
from superqt.utils import signals_blocked

from napari_exo2micro.core import parameters
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, value_words
from napari_exo2micro.plugin.batch.run import BatchRequest, Pair
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.settings import (
    PRESET,
    Preset,
    read_defaults,
    read_preset,
    recent,
)
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal

_TIP = Qt.ItemDataRole.ToolTipRole
_SPIN_WIDTH = 96
_FROM_WORKBENCH, _OTHER_FILE, _EACH_BY_ITSELF = "", "?", ""
#: Executor -> what the list says, and its tooltip.
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


class BatchForm(QtWidgets.QWidget):
    """Asks how a batch is to run, and tells when something else would be run now."""

    changed = Signal()

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.setObjectName("batch_form")
        self._session, self._message = panel.session, panel.message
        self._preset: dict[str, parameters.ParameterValue] | None = None
        self._preset_path = _FROM_WORKBENCH
        self._reading: Job | None = None
        self._word = f"batch preset {id(self)}"
        self._parameters = controls.combo_box(
            self,
            "parameters_from",
            "Every pair is run with the same parameters: those of the forms, or those "
            "of a saved preset.",
        )
        self._parameters.activated.connect(self._choose_parameters)
        self._about = controls.WordsLabel("about_parameters", self)
        stages = {
            f"{number} {stage.title}": number
            for number, stage in sorted(parameters.STAGES.items())
        }
        tip = "The first stage. One before it runs as well where its result is missing."
        self._first = controls.combo_box(self, "from_stage", tip, stages)
        self._last = controls.combo_box(self, "to_stage", "The last stage.", stages)
        self._last.setCurrentIndex(self._last.count() - 1)
        self._first.currentIndexChanged.connect(self._choose_first)
        self._last.currentIndexChanged.connect(self._choose_last)
        tip = "Run these stages also where a valid result exists, and replace it."
        words = "Force: run again what is valid, too"
        self._force = controls.check_box(self, "force", words, tip, self.changed)
        self._register = controls.combo_box(
            self,
            "register_on",
            "Dyes that were imaged in one session moved alike: then one of them is "
            "registered, and the sample's other dyes take its alignment.",
            on_change=self.changed,
        )
        where = {words: kind for kind, (words, _) in _WHERE.items()}
        self._where = controls.combo_box(
            self, "executor", "Where the pairs are run.", where, self._follow
        )
        for number, (_, tip) in enumerate(_WHERE.values()):
            self._where.setItemData(number, tip, _TIP)
        self._workers = controls.spin_box(
            self,
            "workers",
            (1, 64),
            read_defaults().workers,
            "How many pairs are worked on at the same time. What it begins with is "
            "set in Preferences, Exo2Micro.",
            self.changed,
            suffix="",
        )
        self._workers.setFixedWidth(_SPIN_WIDTH)
        tip = "The address that 'dask scheduler' shows."
        self._scheduler = controls.line_edit(
            self, "scheduler", tip, "tcp://192.168.1.2:8786", self.changed
        )
        self._lines = controls.form(
            ("Parameters", self._parameters),
            self._about,
            ("Stages", controls.row((self._first, 1), "to", (self._last, 1))),
            ("", self._force),
            ("Registration", self._register),
            ("Run", controls.row((self._where, 1), self._workers)),
            ("Scheduler", self._scheduler),
            parent=self,
            margin=0,
        )
        self._offer_presets()
        self.offer_dyes(())
        self._session.params_changed.connect(self._follow)
        self._follow()

    # What is asked for -------------------------------------------------------

    @property
    def params(self) -> dict[str, parameters.ParameterValue]:
        """All parameters."""
        if self._preset is not None:
            return {**parameters.default_params(), **self._preset}
        return self._session.params

    @property
    def uses_workbench(self) -> bool:
        """Whether the parameters are those of the forms."""
        return self._preset is None

    def request(self, pairs: tuple[Pair, ...] = ()) -> BatchRequest:
        """Return what is asked for, of these pairs in the session's folders."""
        session = self._session
        first, last = int(self._first.currentData()), int(self._last.currentData())
        kind = str(self._where.currentData())
        settings = parameters.RunSettings(
            raw_dir=session.raw_dir or Path("raw"),
            output_dir=session.output_dir,
            checkpoint_format=session.checkpoint_format,
            params=self.params,
            register_on=self._register.currentData() or None,
            from_stage=None if first == min(parameters.STAGES) else first,
            to_stage=None if last == max(parameters.STAGES) else last,
            force=self._force.isChecked(),
        )
        scheduler = self._scheduler.text().strip() if kind == "dask" else ""
        return BatchRequest(pairs, settings, kind, self._workers.value(), scheduler)

    @property
    def problem(self) -> str:
        """Why nothing can be run like this; empty when all is well."""
        if self._is_reading:
            return "The preset is being read; wait for it, or choose other parameters."
        if self._where.currentData() == "dask" and not self._scheduler.text().strip():
            return (
                "Type the address of the cluster's scheduler, or choose another place "
                "to run."
            )
        return ""

    def offer_dyes(self, dyes: Sequence[str]) -> None:
        """Offer these dyes for a shared registration; one chosen stays if it can."""
        items = {f"all take that of {dye}": dye for dye in dyes}
        items = {"each dye by itself": _EACH_BY_ITSELF, **items}
        controls.refill(self._register, items, self._register.currentData())

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

    def _offer_presets(self) -> None:
        paths = recent(PRESET)
        if self._preset_path and self._preset_path not in paths:
            paths = [self._preset_path, *paths]
        with signals_blocked(self._parameters):
            self._parameters.clear()
            self._parameters.addItem("as set in the workbench", _FROM_WORKBENCH)
            for number, path in enumerate(paths, 1):
                self._parameters.addItem(f"preset {Path(path).stem}", path)
                self._parameters.setItemData(number, literal(path), _TIP)
            self._parameters.addItem("another preset…", _OTHER_FILE)
            index = self._parameters.findData(self._preset_path)
            self._parameters.setCurrentIndex(max(index, 0))

    def _choose_parameters(self, _index: int) -> None:
        chosen = str(self._parameters.currentData())
        if chosen == _OTHER_FILE:
            kinds = "Presets (*.json);;All files (*)"
            path = controls.ask_to_open(self, "Take the parameters of", "", kinds)
            chosen = str(path or self._preset_path)
        if chosen == _FROM_WORKBENCH:
            self._session.jobs.cancel(self._word)
            self._preset, self._preset_path = None, _FROM_WORKBENCH
            self._offer_presets()
            self._follow()
        else:
            self.load_preset(Path(chosen))

    def _follow(self, *_: object) -> None:
        """Say which parameters differ, and what can be set."""
        words = "; ".join(
            f"{PARAMETER_REGISTRY[name].title} {value_words(value)}"
            for name, value in parameters.non_default_params(self.params).items()
        )
        self._about.say(f"Changed: {words}." if words else "All are at their defaults.")
        kind = str(self._where.currentData())
        self._where.setToolTip(_WHERE[kind][1])
        self._workers.setVisible(kind == "workers")
        self._lines.setRowVisible(self._scheduler, kind == "dask")
        self.changed.emit()

    def _choose_first(self, index: int) -> None:
        self._last.setCurrentIndex(max(self._last.currentIndex(), index))
        self.changed.emit()

    def _choose_last(self, index: int) -> None:
        self._first.setCurrentIndex(min(self._first.currentIndex(), index))
        self.changed.emit()
