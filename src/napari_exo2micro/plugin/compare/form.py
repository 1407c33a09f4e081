"""What a comparison is made of: a parameter and its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QWidget,
)

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    Parameter,
    ParameterValue,
    parse_values,
    suggest_values,
    value_words,
)
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import STYLES

if TYPE_CHECKING:
    from napari_exo2micro.plugin.session.task import TaskSource


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What a comparison was made of.

    Attributes
    ----------
    source : TaskSource
        Makes the sample and dye, in another thread.
    sample, dye : str
        Their names.
    folders : tuple of Path or None
        The raw folder and that of the results.
    params : dict
        All parameters at that time.
    entry : Parameter
        The parameter that was given several values.
    values : sequence
        Its values.
    to_stage : int
        The last stage of each run.
    keep : bool
        Whether the files of each value stay.
    """

    source: TaskSource
    sample: str
    dye: str
    folders: tuple[Path | None, Path]
    params: dict[str, ParameterValue]
    entry: Parameter
    values: Sequence[ParameterValue]
    to_stage: int
    keep: bool

    def differs_from(self, session: Session) -> str:
        """Return why these are not the results of a session's choices; empty if so."""
        now = session.raw_dir, session.output_dir
        if (session.sample, session.dye) != (self.sample, self.dye):
            return (
                f"This comparison was made of {self.sample} {self.dye}: choose that "
                "in the workbench, or run the comparison again."
            )
        if now != self.folders:
            return (
                "This comparison was made with other folders: choose them in the "
                "workbench, or run the comparison again."
            )
        params = session.params
        others = [
            PARAMETER_REGISTRY[name].title
            for name, value in self.params.items()
            if name != self.entry.name
            and PARAMETER_REGISTRY[name].stage <= self.to_stage
            and params[name] != value
        ]
        if not others:
            return ""
        return (
            "Other parameters were changed since this comparison "
            f"({', '.join(others)}): set them back, or run the comparison again."
        )


_FIRST = "boundary_width"
_FIRST_ALIGNMENT = 2


class CompareForm(QWidget):
    """Asks what to compare and checks it while it is typed.

    Parameters
    ----------
    session : Session
        Whose present parameters the values must go with.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    changed : Signal()
        Something else would be compared now.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compare_form")
        self._session = session
        self._parameter = QComboBox(self)
        self._parameter.setObjectName("parameter")
        self._parameter.setToolTip("The parameter that is given several values.")
        self._about = words_label("about_parameter")
        self._values = QLineEdit(self)
        self._values.setObjectName("values")
        self._values.setToolTip("At least two values, with commas between them.")
        self._state = words_label("values_state")
        self._last = QComboBox(self)
        self._last.setObjectName("last_stage")
        self._last.setToolTip(
            "Where each run ends: the scale and the difference need stage 4, the "
            "accuracy of the alignment stage 3."
        )
        self._keep = QCheckBox("Keep the files of each value", self)
        self._keep.setObjectName("keep_files")
        self._keep.setChecked(True)
        self._keep.setToolTip(
            "Needed to see the pictures side by side. The values stand in the names "
            "of the files. Without the tick only the numbers stay, and what these "
            "runs have written is removed."
        )
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.addRow("Parameter", self._parameter)
        layout.addRow(self._about)
        layout.addRow("Values", self._values)
        layout.addRow(self._state)
        layout.addRow("Up to", self._last)
        layout.addRow(self._keep)
        for box in (self._parameter, self._last):
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            box.setMinimumWidth(120)
        self._fill()
        self._parameter.currentIndexChanged.connect(self._on_parameter)
        self._values.textChanged.connect(self._check)
        self._last.currentIndexChanged.connect(self.changed)
        self._keep.toggled.connect(self.changed)
        session.params_changed.connect(self._on_params)
        self._on_parameter()

    # What is asked for -------------------------------------------------------------

    @property
    def entry(self) -> Parameter:
        """The parameter."""
        return PARAMETER_REGISTRY[str(self._parameter.currentData())]

    @property
    def values(self) -> list[ParameterValue]:
        """Its values.

        Raises
        ------
        ParameterError
            When what is typed cannot be taken.
        """
        return parse_values(self.entry, self._values.text(), self._session.params)

    @property
    def problem(self) -> str:
        """Why nothing can be compared yet; empty when all is well."""
        try:
            _ = self.values
        except ParameterError as error:
            return str(error)
        return ""

    @property
    def to_stage(self) -> int:
        """The last stage of each run."""
        return int(self._last.currentData())

    @property
    def keep(self) -> bool:
        """Whether the files of each value stay."""
        return self._keep.isChecked()

    def choose(self, name: str) -> None:
        """Choose a parameter by its name."""
        self._parameter.setCurrentIndex(self._parameter.findData(name))

    # How it follows ------------------------------------------------------------------

    def _fill(self) -> None:
        """List the parameters under their stages."""
        model = cast(QStandardItemModel, self._parameter.model())
        for number, stage in sorted(STAGES.items()):
            own = [e for e in PARAMETER_REGISTRY.values() if e.stage == number]
            if not own:
                continue
            heading = QStandardItem(f"Stage {number}: {stage.title}")
            heading.setFlags(Qt.ItemFlag.NoItemFlags)
            font = heading.font()
            font.setBold(True)
            heading.setFont(font)
            model.appendRow(heading)
            for entry in own:
                item = QStandardItem(f"  {entry.title}")
                item.setData(entry.name, Qt.ItemDataRole.UserRole)
                item.setToolTip(f"{entry.description} ({entry.name})")
                model.appendRow(item)
        self.choose(_FIRST)

    def _on_parameter(self, _index: int = 0) -> None:
        entry = self.entry
        self._describe()
        params = self._session.params
        around = params[entry.name]
        if around is None and entry.name == "manual_scale":
            result = self._session.stored_result
            around = result.scale.value if result and result.scale else None
        suggested = suggest_values(entry, around, params)
        self._last.blockSignals(True)
        self._last.clear()
        for number in sorted(STAGES):
            if number >= max(entry.stage, _FIRST_ALIGNMENT):
                self._last.addItem(f"stage {number}: {STAGES[number].title}", number)
        self._last.setCurrentIndex(self._last.count() - 1)
        self._last.blockSignals(False)
        self._values.setText(", ".join(map(value_words, suggested)))
        self._check()

    def _on_params(self, _names: object) -> None:
        self._describe()
        self._check()

    def _describe(self) -> None:
        entry = self.entry
        limits = entry.limits()
        now = self._session.params[entry.name]
        words = [entry.description]
        if entry.kind is bool:
            words.append("It takes on or off.")
        elif limits:
            words.append(f"It takes {limits}.")
        present = f"The default is {value_words(entry.default)}"
        if now != entry.default:
            present += f"; at present it is {value_words(now)}"
        self._about.setText(" ".join([*words, f"{present}."]))

    def _check(self, _text: str = "") -> None:
        problem = self.problem
        if problem:
            style = (
                f"QLabel {{ {STYLES['warning']} padding: 3px; border-radius: 3px; }}"
            )
            self._state.setText(problem[:1].upper() + problem[1:])
        else:
            style = ""
            self._state.setText(f"{len(self.values)} runs, one for each value.")
        self._state.setStyleSheet(style)
        self.changed.emit()


def words_label(name: str) -> QLabel:
    """Return an empty label that wraps its words."""
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
    return label
