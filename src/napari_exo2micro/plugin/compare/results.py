"""What a comparison came to: its table, its pictures, and what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.base import Exo2MicroError, Monitor, ParameterError
from napari_exo2micro.core.parameters import (
    LAST_BUILT_IN,
    PARAMETER_REGISTRY,
    STAGES,
    Parameter,
    ParameterValue,
    value_words,
)
from napari_exo2micro.core.photometry import scales_asked_for
from napari_exo2micro.plugin.compare.form import Compared, words_label
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    about,
    canvas_size,
    find_layers,
    grid,
    move_camera,
    remove_layers,
)
from napari_exo2micro.plugin.layers.side_by_side import SideBySide
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip, button
from napari_exo2micro.plugin.widgets.errors import literal

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import ComparisonRow, RunResult, SampleDye


_COLUMNS = (
    ("Value", "The value of the parameter."),
    (
        "Verdict",
        "complete: every stage vouches for its result. degraded: a stage fell back "
        "or cannot vouch for it; the note says why. failed: the run ended early.",
    ),
    (
        "Accuracy",
        "How far the aligned images are apart, as the last alignment estimates it, "
        "pixels.",
    ),
    ("Scale", "Brightness of the minerals after staining divided by that before."),
    (
        "Time",
        "How long the run took; short where results were there already.",
    ),
    ("Note", "Why a run is not complete, and what deserves care."),
)
_VERDICT, _NOTE = 1, 5
# Each brings its background: readable on napari's dark and light themes alike.
_COLOURS = {"complete": "#1e6b3a", "degraded": "#7a5a00", "failed": "#7a1f1f"}
_UNKNOWN = "\u2013"


class CompareTable(QTableWidget):
    """One row for each value; double-clicking one asks for its pictures.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    opened : Signal(int)
        A person wants to see the pictures of this row.
    """

    opened = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_COLUMNS), parent)
        self.setObjectName("comparison")
        self._rows: list[ComparisonRow | None] = []
        for column, (title, tip) in enumerate(_COLUMNS):
            head = QTableWidgetItem(title)
            head.setToolTip(tip)
            self.setHorizontalHeaderItem(column, head)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        rows = self.verticalHeader()
        if rows is not None:
            rows.hide()
        columns = self.horizontalHeader()
        if columns is not None:
            columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            columns.setStretchLastSection(True)
            columns.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        self.cellDoubleClicked.connect(lambda row, _column: self.opened.emit(row))

    @property
    def rows(self) -> list[ComparisonRow]:
        """The rows that have a result."""
        return [row for row in self._rows if row is not None]

    def row_at(self, number: int) -> ComparisonRow | None:
        """Return a row; None for one without a result and for none at all."""
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def begin(
        self, entry: Parameter, values: Sequence[ParameterValue], now: ParameterValue
    ) -> None:
        """Show the values that wait for their runs.

        Parameters
        ----------
        entry : Parameter
            What is compared.
        values : sequence
            Its values.
        now : bool, int, float, str or None
            Its value in the forms.
        """
        self.setRowCount(len(values))
        self._rows = [None] * len(values)
        for number, value in enumerate(values):
            words = value_words(value)
            known = [
                word
                for word, known in (("default", entry.default), ("now", now))
                if known == value
            ]
            self._set(number, 0, f"{words} ({', '.join(known)})" if known else words)
            self._set(number, _VERDICT, "running" if number == 0 else "waiting")
            for column in range(_VERDICT + 1, len(_COLUMNS)):
                self._set(number, column, "")

    def add(self, row: ComparisonRow) -> int:
        """Fill the next row and return its number."""
        number = self._rows.index(None)
        self._rows[number] = row
        cells = (
            _UNKNOWN if row.accuracy_px is None else f"{row.accuracy_px:.2g} px",
            _scale_words(row),
            _UNKNOWN if row.seconds is None else f"{row.seconds:.1f} s",
            row.note,
        )
        self._set(number, _VERDICT, row.verdict, _COLOURS[row.verdict])
        for column, words in enumerate(cells, _VERDICT + 1):
            self._set(number, column, words)
        if number + 1 < len(self._rows):
            self._set(number + 1, _VERDICT, "running")
        return number

    def end(self) -> None:
        """Say of rows without a result that they were stopped."""
        for number, row in enumerate(self._rows):
            if row is None:
                self._set(number, _VERDICT, "stopped")

    def _set(self, row: int, column: int, words: str, colour: str = "") -> None:
        item = QTableWidgetItem(words)
        item.setToolTip(literal(words) if column == _NOTE else "")
        if colour:
            item.setBackground(QBrush(QColor(colour)))
            item.setForeground(QBrush(QColor("white")))
        self.setItem(row, column, item)


def _scale_words(row: ComparisonRow) -> str:
    if row.scale is None:
        return _UNKNOWN
    words = f"{row.scale:.5g}"
    return f"{words} ± {row.scale_uncertainty:.1g}" if row.scale_uncertainty else words


DIFFERENCE: Final = "difference"
OVERLAY: Final = "overlay"

_ROLE: Final = "compare "
#: How much of a field of the grid the post-stain image takes.
_FILLED: Final = 0.95


def picture_specs(
    task: SampleDye,
    name: str,
    values: Sequence[ParameterValue],
    picture: str,
    monitor: Monitor,
) -> list[list[LayerSpec]]:
    """Return the layers of each value; a value without valid results has none.

    Parameters
    ----------
    task : SampleDye
        With the other parameters of the comparison.
    name : str
        The parameter.
    values : sequence
        Its values.
    picture : str
        `DIFFERENCE`, or `OVERLAY` for post and the last aligned pre.
    monitor : Monitor
        Asked whether to stop, between two values.
    """
    specs = []
    for number, value in enumerate(values):
        monitor.check()
        one = task.copy()
        one.set_params(**{name: value})
        title = f"{PARAMETER_REGISTRY[name].title} {value_words(value)}"
        found = _difference(one, name) if picture == DIFFERENCE else _overlay(one)
        specs.append([_named(spec, title, number) for spec in found])
    return _alike(specs)


def _difference(task: SampleDye, name: str) -> list[LayerSpec]:
    from napari_exo2micro.plugin.layers.stages import checkpoint_spec, difference_names

    stage = PARAMETER_REGISTRY[name].stage
    if stage > LAST_BUILT_IN:  # the difference is the same for all values
        wanted = STAGES[stage].checkpoints[0]
    else:
        stage, names = LAST_BUILT_IN, difference_names(task)
        asked = scales_asked_for(task.params).values()
        own = (m.image_name(task.params) for m in asked if m.parameter == name)
        wanted = next((one for one in own if one in names), next(iter(names), ""))
    found = task.checkpoint(stage, wanted) if wanted else None
    return [] if found is None else [checkpoint_spec(found, stage, wanted, task=task)]


def _overlay(task: SampleDye) -> list[LayerSpec]:
    from napari_exo2micro.plugin.layers.stages import checkpoint_spec

    post = task.checkpoint(1, "post")
    for stage in (3, 2):
        pre = task.checkpoint(stage, "pre")
        if post is not None and pre is not None:
            return [
                checkpoint_spec(post, 1, "post", task=task),
                checkpoint_spec(pre, stage, "pre", task=task),
            ]
    return []


def _named(spec: LayerSpec, title: str, number: int) -> LayerSpec:
    role = str(spec.about.get("role", ""))
    known = {**spec.about, "role": f"{_ROLE}{number} {role}"}
    # Short: napari writes the name into each field of the grid.
    name = f"{title}, post" if role.split()[0] == "post" else title
    options = {
        **spec.options,
        "name": name,
        "visible": True,
        "metadata": {KEY: known},
    }
    return replace(spec, options=options)


def _alike(specs: list[list[LayerSpec]]) -> list[list[LayerSpec]]:
    """Give the pictures of all values the same contrast: they are compared."""
    for layers in zip(*[own for own in specs if own], strict=True):
        if any(spec.kind != "image" for spec in layers):
            continue  # labels have colours, no contrast
        ranges = [spec.options["contrast_limits"] for spec in layers]
        widest = min(low for low, _ in ranges), max(high for _, high in ranges)
        for spec in layers:
            spec.options["contrast_limits"] = widest
            spec.options["metadata"][KEY]["first_limits"] = widest
    return specs


class ComparePictures(QObject):
    """Shows the pictures of a comparison and takes them away again.

    Parameters
    ----------
    session : Session
        In whose viewer they are shown.
    parent : QObject, optional
        As for any object.

    Attributes
    ----------
    changed : Signal()
        They were shown, or taken away.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = session.viewer
        self._grid = SideBySide.of(session)
        self._is_shown = False
        self._grid.changed.connect(self._on_grid)

    @property
    def is_active(self) -> bool:
        """Whether pictures are shown."""
        return self._grid.is_used_by(self)

    def show(self, specs: Sequence[Sequence[LayerSpec]]) -> list[Layer]:
        """Show each value's layers in a field of its own; others are hidden.

        Returns
        -------
        list of Layer
            Those that are shown; none when no value has a picture.
        """
        self.close()
        filled = [own for own in specs if own]
        if not filled:
            return []
        layers = [Layer.create(*spec.as_tuple()) for own in filled for spec in own]
        empty = not self._viewer.layers
        # At the bottom: napari's grid counts the layers from there, hidden ones too.
        for place, layer in enumerate(layers):
            self._viewer.layers.insert(place, layer)
        self._start(layers)
        grid(self._viewer).stride = len(filled[0])
        for layer in layers:
            self._grid.name(layer, not self._is_below(layer))
        if empty:
            self._look_at(filled[0][0])
        return layers

    def show_one(self, number: int) -> bool:
        """Show the pictures of one value alone; False when it has none.

        Parameters
        ----------
        number : int
            Its place among the values, from 0.
        """
        own = find_layers(self._viewer, f"{_ROLE}{number} ")
        if not own:
            return False
        self._start(own)
        grid(self._viewer).stride = len(self._viewer.layers)
        return True

    def close(self) -> None:
        """Remove the pictures, and show what was shown before."""
        self._is_shown = False
        self._grid.stop(self)
        remove_layers(self._viewer, _ROLE)

    def close_down(self) -> None:
        """Remove the pictures, and follow the viewer no more."""
        self.close()
        self._grid.changed.disconnect(self._on_grid)

    def _start(self, layers: list[Layer]) -> None:
        self._grid.start(layers, self)
        self._is_shown = True

    def _on_grid(self) -> None:
        """Leave nothing behind when another comparison or napari's button ends it."""
        if self._is_shown and not self.is_active:
            self._is_shown = False
            remove_layers(self._viewer, _ROLE)
        self.changed.emit()

    def _look_at(self, spec: LayerSpec) -> None:
        """Let the section fill each field, without the padding around it."""
        canvas = spec.about.get("header", {}).get("canvas", {})
        frame = canvas.get("post_frame")
        if not frame:
            self._viewer.reset_view()
            return
        _, _, width, height = frame
        rows, columns = canvas_size(self._viewer)
        zoom = _FILLED * min(rows / height, columns / width)
        move_camera(self._viewer, height / 2, width / 2, zoom)

    @staticmethod
    def _is_below(layer: Layer) -> bool:
        """Return whether another layer of the same value lies on this one."""
        role = str(about(layer).get("role", ""))
        return isinstance(layer, Image) and role.endswith(" post")


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

    def add(self, result: RunResult) -> None:
        """Fill the row of the next value."""
        from napari_exo2micro.core.pipeline import comparison_row

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
        from napari_exo2micro.core.pipeline import save_comparison

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
