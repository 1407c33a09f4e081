"""What a comparison came to: its table, its pictures, and what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.errors import Exo2MicroError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.parameter import Parameter, ParameterValue
from napari_exo2micro.plugin.compare_form import words_label
from napari_exo2micro.plugin.compare_pictures import (
    DIFFERENCE,
    OVERLAY,
    ComparePictures,
    picture_specs,
)
from napari_exo2micro.plugin.compare_table import CompareTable
from napari_exo2micro.plugin.layers import LayerSpec
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["CompareResults", "Compared", "enable"]

_NOTHING = "Run a comparison first."
_NO_FILES = (
    "The files of this comparison were not kept. Tick 'Keep the files of each value' "
    "and run it again to see its pictures."
)
_NO_ROW = "Click on a row of the table first."


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What a comparison was made of.

    Attributes
    ----------
    task : SampleDye
        With the other parameters.
    entry : Parameter
        The parameter that was given several values.
    values : sequence
        Its values.
    to_stage : int
        The last stage of each run.
    keep : bool
        Whether the files of each value stay.
    """

    task: SampleDye
    entry: Parameter
    values: Sequence[ParameterValue]
    to_stage: int
    keep: bool


class CompareResults(QWidget):
    """The table of a comparison, and buttons for its pictures and values.

    Parameters
    ----------
    session : Session
        Whose viewer shows the pictures.
    message : MessageStrip
        Where problems are told.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self, session: Session, message: MessageStrip, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("compare_results")
        self._session, self._message = session, message
        self._compared: Compared | None = None
        self._folder: Path | None = None
        self._pictures = ComparePictures(session.viewer, self)
        self._title = words_label("compared")
        self._table = CompareTable(self)
        self._note = words_label("note")
        self._what = QComboBox(self)
        self._what.setObjectName("picture")
        self._what.setToolTip("What is shown of each value.")
        self._what.addItem("Differences", DIFFERENCE)
        self._what.addItem("Aligned pre on post", OVERLAY)
        self._show = _button("show_side_by_side", "Show side by side")
        self._show.setCheckable(True)
        self._use = _button("use_value", "Use this value")
        self._save = _button("save_table", "Save table …")
        self._arrange()
        session.source_changed.connect(self._on_source)
        self._table.itemSelectionChanged.connect(self._update)
        self._table.opened.connect(self._open)
        self._show.clicked.connect(self._toggle)
        self._what.activated.connect(self._on_what)
        self._pictures.grid.changed.connect(self._update)
        self._use.clicked.connect(self._use_value)
        self._save.clicked.connect(self._ask_where_to_save)
        self._update()

    def _arrange(self) -> None:
        pictures = QHBoxLayout()
        pictures.addWidget(self._what, 1)
        pictures.addWidget(self._show, 1)
        others = QHBoxLayout()
        others.addWidget(self._use, 1)
        others.addWidget(self._save, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._title)
        layout.addWidget(self._table, 1)
        layout.addWidget(self._note)
        layout.addLayout(pictures)
        layout.addLayout(others)
        self._table.setMinimumHeight(110)

    # What came out ---------------------------------------------------------------

    @property
    def done(self) -> int:
        """How many values have a result."""
        return len(self._table.rows)

    def begin(self, compared: Compared) -> None:
        """Show the values that wait for their runs."""
        self._pictures.close()
        self._compared = compared
        task, entry = compared.task, compared.entry
        self._table.begin(entry, compared.values, self._session.params[entry.name])
        self._title.setText(
            f"{task.sample} {task.dye}: {entry.title}, up to stage {compared.to_stage}"
        )
        difference = compared.to_stage >= 4
        self._what.setEnabled(difference)
        self._what.setCurrentIndex(0 if difference else 1)
        self._update()

    def add(self, result: dict[str, Any]) -> None:
        """Fill the row of the next value."""
        from napari_exo2micro.core.comparison_table import comparison_row

        if self._compared is not None:
            self._table.add(comparison_row(self._compared.entry.name, result))
            self._update()

    def end(self) -> None:
        """Say of values without a result that their runs were stopped."""
        self._table.end()
        self._update()

    # Pictures --------------------------------------------------------------------

    def _toggle(self) -> None:
        if self._pictures.grid.is_active:
            self._pictures.close()
            self._update()
        else:
            self._load_pictures(-1)

    def _on_what(self, _index: int = 0) -> None:
        if self._pictures.grid.is_active:
            self._load_pictures(-1)

    def _open(self, number: int) -> None:
        """Show the pictures of one row alone."""
        if self._table.row_at(number) is None or self._compared is None:
            return
        if not self._compared.keep:
            self._message.note(_NO_FILES)
        elif not (self._pictures.grid.is_active and self._pictures.show_one(number)):
            self._load_pictures(number)

    def _load_pictures(self, number: int) -> None:
        if self._compared is None:
            return
        self._message.clear()
        self._session.jobs.start(
            _load,
            title="opening the pictures",
            on_result=self._on_pictures,
            on_error=self._message.error,
            newest="compare pictures",
            compared=self._compared,
            count=self.done,
            picture=str(self._what.currentData()),
            number=number,
        )
        self._update()

    def _on_pictures(self, found: tuple[Compared, int, list[list[LayerSpec]]]) -> None:
        compared, number, specs = found
        if compared is not self._compared:
            return
        if not self._pictures.show(specs):
            self._message.warning(
                "No value has such a picture: its files are gone, or its run ended "
                "before the stage that makes it. Run the comparison again."
            )
        elif number >= 0 and not self._pictures.show_one(number):
            self._message.warning(
                "This value has no such picture: its run ended before the stage that "
                "makes it. The note of its row says why."
            )
        self._update()

    # Values and the table ----------------------------------------------------------

    def _use_value(self) -> None:
        row = self._table.row_at(self._table.currentRow())
        compared = self._compared
        if row is None or compared is None:
            return
        self._session.set_params(**{compared.entry.name: row.value})
        known = compared.keep and row.state != "failed"
        self._message.note(
            f"The parameter '{compared.entry.title}' now has this value. "
            + ("Its results are shown." if known else "Run the stages to see more.")
        )
        self._pictures.close()
        if known:
            self._session.show_results(on_error=self._message.error)

    def _ask_where_to_save(self) -> None:
        compared = self._compared
        if compared is None:
            return
        name = f"{compared.task.sample}_{compared.task.dye}_{compared.entry.name}.csv"
        start = (self._folder or Path.home()) / name
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Save table", str(start), "Tables (*.csv)"
        )
        if chosen:
            self.save_table(Path(chosen))

    def save_table(self, path: Path) -> None:
        """Write the table; what goes wrong is said in the dock."""
        compared = self._compared
        if compared is None:
            return
        from napari_exo2micro.core.comparison_table import save_comparison

        path = path if path.suffix else path.with_suffix(".csv")
        try:
            save_comparison(
                path,
                compared.entry.name,
                self._table.rows,
                sample=compared.task.sample,
                dye=compared.task.dye,
                to_stage=compared.to_stage,
            )
        except Exo2MicroError as error:
            self._message.error(str(error))
        else:
            self._folder = path.parent
            self._message.note(f"Saved as {path}")

    # What can be pressed -------------------------------------------------------------

    def _on_source(self) -> None:
        self._pictures.close()
        self._update()

    def _update(self, *_: object) -> None:
        compared, active = self._compared, self._pictures.grid.is_active
        row = self._table.row_at(self._table.currentRow())
        why = "" if self.done else _NOTHING
        lost = "" if compared is None or compared.keep else _NO_FILES
        enable(
            self._show,
            "" if active else why or lost,
            "Show the picture of each value in a field of its own; double-click on a "
            "row of the table to see one value alone.",
        )
        self._show.setChecked(active)
        self._show.setText("Stop side by side" if active else "Show side by side")
        enable(
            self._use,
            why or ("" if row is not None else _NO_ROW),
            "Give the parameter the value of the row that is marked.",
        )
        enable(self._save, why, "Save the table as a CSV file.")
        self._title.setVisible(compared is not None)
        self._note.setText(row.note if row is not None else "")
        self._note.setVisible(bool(self._note.text()))


def _load(
    compared: Compared, count: int, picture: str, number: int, monitor: Monitor
) -> tuple[Compared, int, list[list[LayerSpec]]]:
    """Return the layers of the values that have run."""
    task, name = compared.task, compared.entry.name
    values = compared.values[:count]
    return compared, number, picture_specs(task, name, values, picture, monitor)


def enable(button: QPushButton, problem: str, tip: str) -> None:
    """Enable a button when there is no problem, and say in its tooltip which."""
    button.setEnabled(not problem)
    button.setToolTip(problem or tip)


def _button(name: str, text: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    return button
