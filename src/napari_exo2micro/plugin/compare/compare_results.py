"""What a comparison came to: its table, its pictures, and what is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.errors import Exo2MicroError, ParameterError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.value_text import value_words
from napari_exo2micro.plugin.compare.compare_form import words_label
from napari_exo2micro.plugin.compare.compare_pictures import (
    DIFFERENCE,
    OVERLAY,
    ComparePictures,
    picture_specs,
)
from napari_exo2micro.plugin.compare.compare_table import CompareTable
from napari_exo2micro.plugin.compare_request import Compared
from napari_exo2micro.plugin.controls import button
from napari_exo2micro.plugin.job import Job
from napari_exo2micro.plugin.layers import LayerSpec
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.session import Session

__all__ = ["CompareResults", "enable"]

_NOTHING = "Run a comparison first."
_NO_FILES = (
    "The files of this comparison were not kept. Tick 'Keep the files of each value' "
    "and run it again to see its pictures."
)
_NO_ROW = "Click on a row of the table first."


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
        self._loading: Job | None = None
        self._used = ""
        self._stages: set[int] = set()
        self._pictures = ComparePictures(session, self)
        self._title = words_label("compared")
        self._table = CompareTable(self)
        self._note = words_label("note")
        self._what = QComboBox(self)
        self._what.setObjectName("picture")
        self._what.setToolTip("What is shown of each value.")
        self._what.addItem("Differences", DIFFERENCE)
        self._what.addItem("Aligned pre on post", OVERLAY)
        self._show = button(
            self, "show_side_by_side", "Show side by side", checkable=True
        )
        self._use = button(self, "use_value", "Use this value")
        self._save = button(self, "save_table", "Save table …")
        self._arrange()
        session.source_changed.connect(self._on_source)
        session.params_changed.connect(self._update)
        self._table.itemSelectionChanged.connect(self._update)
        self._table.opened.connect(self._open)
        self._show.clicked.connect(self._toggle)
        self._what.activated.connect(self._on_what)
        self._pictures.changed.connect(self._update)
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
        entry = compared.entry
        self._table.begin(entry, compared.values, self._session.params[entry.name])
        self._title.setText(
            f"{compared.sample} {compared.dye}: {entry.title}, "
            f"up to stage {compared.to_stage}"
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

    def stop(self) -> None:
        """Take the pictures away, also those that are on their way."""
        if self._loading is not None:
            self._loading.cancel()
        self._pictures.close()

    def close_down(self) -> None:
        """Stop, and follow the viewer no more."""
        self.stop()
        self._pictures.close_down()

    def _toggle(self) -> None:
        if self._pictures.is_active:
            self._pictures.close()
        else:
            self._load_pictures(-1)

    def _on_what(self, _index: int = 0) -> None:
        if self._pictures.is_active:
            self._load_pictures(-1)

    def _open(self, number: int) -> None:
        """Show the pictures of one row alone."""
        if self._table.row_at(number) is None or self._compared is None:
            return
        if not self._compared.keep:
            self._message.note(_NO_FILES)
        elif not (self._pictures.is_active and self._pictures.show_one(number)):
            self._load_pictures(number)

    def _load_pictures(self, number: int) -> None:
        if self._compared is None:
            return
        self._message.clear()
        self._loading = self._session.jobs.start(
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
        if problem := compared.differs_from(self._session):
            self._message.error(problem)
            return
        entry = compared.entry
        try:
            self._session.set_params(**{entry.name: row.value})
            self.stop()
            job = self._session.show_results(
                on_error=self._message.error, on_result=self._on_shown
            )
        except ParameterError as error:
            self._message.error(str(error))
            return
        # What it sends arrives after this: it is delivered to this thread later.
        job.sent.connect(self._on_stage_shown)
        words = f"The parameter '{entry.title}' is now {value_words(row.value)}."
        self._used, self._stages = words, set()
        self._message.note(words)

    def _on_stage_shown(self, sent: tuple[int, list[LayerSpec]]) -> None:
        number, specs = sent
        if specs:
            self._stages.add(number)

    def _on_shown(self, _count: int) -> None:
        """Say what is shown of the value that is used now."""
        wanted = 0 if self._compared is None else self._compared.to_stage
        missing = [n for n in range(1, wanted + 1) if n not in self._stages]
        if not missing:
            shown = "Its results are in the layer list."
        elif missing[0] == 1:
            shown = "It has no results yet: run the stages to see them."
        else:
            shown = (
                f"Its results up to stage {missing[0] - 1} are in the layer list: run "
                "the stages from there on to see more."
            )
        self._message.note(f"{self._used} {shown}")

    def _ask_where_to_save(self) -> None:
        compared = self._compared
        if compared is None:
            return
        name = f"{compared.sample}_{compared.dye}_{compared.entry.name}.csv"
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
                sample=compared.sample,
                dye=compared.dye,
                to_stage=compared.to_stage,
            )
        except Exo2MicroError as error:
            self._message.error(str(error))
        else:
            self._folder = path.parent
            self._message.note(f"Saved as {path}")

    # What can be pressed -------------------------------------------------------------

    def _on_source(self) -> None:
        self.stop()
        self._update()

    def _update(self, *_: object) -> None:
        compared, active = self._compared, self._pictures.is_active
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
            why
            or (compared.differs_from(self._session) if compared else "")
            or ("" if row is not None else _NO_ROW),
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
    task, name = compared.source.task(compared.params), compared.entry.name
    values = compared.values[:count]
    return compared, number, picture_specs(task, name, values, picture, monitor)


def enable(button: QPushButton, problem: str, tip: str) -> None:
    """Enable a button when there is no problem, and say in its tooltip which."""
    button.setEnabled(not problem)
    button.setToolTip(literal(problem) or tip)
