"""The compare dock: one parameter over several values, their pictures side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from napari.layers import Layer
from qtpy import QtWidgets
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QColor, QStandardItem, QStandardItemModel

from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import Exo2MicroError, Monitor, ParameterError
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    ParameterValue,
    State,
    length_words,
    value_words,
)
from napari_exo2micro.core.photometry import scales_asked_for
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    Role,
    canvas_size,
    find_layers,
    move_camera,
    role_name,
)
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import Display, SideBySide, Wish
from napari_exo2micro.plugin.layers.stages import checkpoint_spec, difference_names
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal
from napari_exo2micro.plugin.widgets.rows import capitalised

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import ComparisonRow, RunResult, SampleDye
    from napari_exo2micro.plugin.session.session import TaskSource

DIFFERENCE: Final = "difference"
OVERLAY: Final = "overlay"

_ROLE: Final = "compare "
#: How much of a field of the grid the post-stain image takes.
_FILLED: Final = 0.95


def picture_specs(
    task: SampleDye,
    name: str,
    values: Sequence[parameters.ParameterValue],
    picture: str,
    monitor: Monitor,
) -> list[list[LayerSpec]]:
    """Return the layers of each value; a value without valid results has none.

    The task has the other parameters of the comparison. The picture is `DIFFERENCE`,
    or `OVERLAY` for post and the last aligned pre.
    """
    specs = []
    for number, value in enumerate(values):
        monitor.check()
        own = task.copy()
        own.set_params(**{name: value})
        title = f"{PARAMETER_REGISTRY[name].title} {value_words(value)}"
        layers = _difference(own, name) if picture == DIFFERENCE else _overlay(own)
        specs.append([_named(spec, title, number) for spec in layers])
    return _alike(specs)


def _difference(task: SampleDye, name: str) -> list[LayerSpec]:
    stage = PARAMETER_REGISTRY[name].stage
    if stage > parameters.DIFFERENCE_STAGE:  # the difference is the same for all values
        wanted = parameters.STAGES[stage].checkpoints[0]
    else:
        stage, names = parameters.DIFFERENCE_STAGE, difference_names(task)
        asked = scales_asked_for(task.params).values()
        own = (m.image_name(task.params) for m in asked if m.parameter == name)
        wanted = next((image for image in own if image in names), next(iter(names), ""))
    image = task.checkpoint(stage, wanted) if wanted else None
    return [] if image is None else [checkpoint_spec(image, stage, wanted, task=task)]


def _overlay(task: SampleDye) -> list[LayerSpec]:
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
    known = {**spec.about, "role": f"{_ROLE}{number} {role_name(spec)}"}
    # Short: napari writes the name into each field of the grid.
    name = f"{title}, post" if Role.of(spec) is Role.POST else title
    more = {"name": name, "visible": True, "metadata": {KEY: known}}
    return replace(spec, options={**spec.options, **more})


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
    """Shows the pictures of a comparison and takes them away again."""

    #: They were shown, or taken away.
    changed = Signal()

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = session.viewer
        self._display = Display.of(self._viewer)
        self._grid = SideBySide.of(session)
        self._is_shown = False
        self._grid.changed.connect(self._on_grid)

    @property
    def is_active(self) -> bool:
        """Whether pictures are shown."""
        return self._grid.is_used_by(self)

    def show(self, specs: Sequence[Sequence[LayerSpec]]) -> list[Layer]:
        """Show each value's layers in a field of its own; others are hidden.

        Returns those that are shown: none when no value has a picture.
        """
        self.close()
        filled = [own for own in specs if own]
        if not filled:
            return []
        empty = not self._viewer.layers
        # At the bottom: napari's grid counts the layers from there, hidden ones too.
        wish = Wish(specs=tuple(spec for own in filled for spec in own), below=True)
        layers = self._display.show(self, wish)
        self._start(layers, stride=len(filled[0]))
        if empty:
            self._look_at(filled[0][0])
        return layers

    def show_one(self, number: int) -> bool:
        """Show the pictures of one value, from 0, alone; False when it has none."""
        own = find_layers(self._viewer, f"{_ROLE}{number} ")
        if own:
            self._start(own, stride=len(self._viewer.layers))
        return bool(own)

    def close(self) -> None:
        """Remove the pictures, and show what was shown before."""
        self._is_shown = False
        self._grid.stop(self)
        self._display.show(self, None)

    def close_down(self) -> None:
        """Remove the pictures, and follow the viewer no more."""
        self.close()
        self._grid.changed.disconnect(self._on_grid)

    def _start(self, layers: list[Layer], stride: int) -> None:
        # Only the topmost layer of a value writes its name into the field.
        below = [x for x in layers if role_name(x).endswith(" post")]
        self._grid.start(layers, self, stride, nameless=below)
        self._is_shown = True

    def _on_grid(self) -> None:
        """Leave nothing behind when another comparison or napari's button ends it."""
        if self._is_shown and not self.is_active:
            self._is_shown = False
            self._display.show(self, None)
        self.changed.emit()

    def _look_at(self, spec: LayerSpec) -> None:
        """Let the section fill each field, without the padding around it."""
        frame = spec.about.get("header", {}).get("canvas", {}).get("post_frame")
        if not frame:
            self._viewer.reset_view()
            return
        _, _, width, height = frame
        rows, columns = canvas_size(self._viewer)
        zoom = _FILLED * min(rows / height, columns / width)
        move_camera(self._viewer, height / 2, width / 2, zoom)


_FIRST = "boundary_width"
_FIRST_ALIGNMENT = 2

_COLUMNS = {
    "Value": "The value of the parameter.",
    "Verdict": (
        "complete: every stage vouches for its result. degraded: a stage fell back "
        "or cannot vouch for it; the note says why. failed: the run ended early."
    ),
    "Accuracy": (
        "How far the aligned images are apart, as the last alignment estimates it, "
        "pixels."
    ),
    "Scale": "Brightness of the minerals after staining divided by that before.",
    "Time": "How long the run took; short where results were there already.",
    "Note": "Why a run is not complete, and what deserves care.",
}
_VERDICT, _NOTE = 1, 5
_UNKNOWN = "\u2013"

_NO_SOURCE = "Choose the raw folder, the sample and the dye in the workbench first."
_BUSY = "Something runs already; wait for it or stop it."
_NOTHING = "Run a comparison first."
_NO_FILES = (
    "The files of this comparison were not kept. Tick 'Keep the files of each value' "
    "and run it again to see its pictures."
)
_NO_ROW = "Click on a row of the table first."


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What a comparison was made of: several values of one parameter of a pair.

    The folders are the raw folder and that of the results, `params` all parameters at
    that time, `to_stage` the last stage of each run; with `keep` the files of each
    value stay.
    """

    source: TaskSource
    sample: str
    dye: str
    folders: tuple[Path | None, Path]
    params: dict[str, ParameterValue]
    entry: parameters.Parameter
    values: Sequence[ParameterValue]
    to_stage: int
    keep: bool

    def differs_from(self, session: Session) -> str:
        """Return why these are not the results of a session's choices; empty if so."""
        if (session.sample, session.dye) != (self.sample, self.dye):
            return (
                f"This comparison was made of {self.sample} {self.dye}: choose that "
                "in the workbench, or run the comparison again."
            )
        if (session.raw_dir, session.output_dir) != self.folders:
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


def run_comparison(
    compared: Compared, monitor: Monitor, send: Callable[[RunResult], None]
) -> None:
    """Run the sample and dye with each value; send the result of each run."""
    compared.source.task(compared.params).compare(
        compared.entry.name,
        compared.values,
        keep=compared.keep,
        to_stage=compared.to_stage,
        monitor=monitor,
        on_result=send,
    )


def load_pictures(
    compared: Compared, count: int, picture: str, number: int, monitor: Monitor
) -> tuple[Compared, int, list[list[LayerSpec]]]:
    """Return the layers of the first `count` values, those that have run."""
    task, name = compared.source.task(compared.params), compared.entry.name
    values = compared.values[:count]
    return compared, number, picture_specs(task, name, values, picture, monitor)


class CompareForm(QtWidgets.QWidget):
    """Asks what to compare, checks it while it is typed and tells when it changed."""

    changed = Signal()

    def __init__(self, session: Session, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("compare_form")
        self._session = session
        tip = "The parameter that is given several values."
        self._parameter = controls.combo_box(self, "parameter", tip)
        self._about = controls.WordsLabel("about_parameter", self)
        tip = "At least two values, with commas between them."
        self._values = controls.line_edit(self, "values", tip, on_change=self._check)
        self._state = controls.WordsLabel("values_state", self)
        self._last = controls.combo_box(
            self,
            "last_stage",
            "Where each run ends: the scale and the difference need stage 4, the "
            "accuracy of the alignment stage 3.",
            on_change=self.changed,
        )
        self._keep = controls.check_box(
            self,
            "keep_files",
            "Keep the files of each value",
            "Needed to see the pictures side by side. The values stand in the names "
            "of the files. Without the tick only the numbers stay, and what these "
            "runs have written is removed.",
            self.changed,
            on=True,
        )
        controls.form(
            ("Parameter", self._parameter),
            self._about,
            ("Values", self._values),
            self._state,
            ("Up to", self._last),
            self._keep,
            parent=self,
            margin=0,
        )
        self._fill()
        self._parameter.currentIndexChanged.connect(self._on_parameter)
        session.params_changed.connect(self._on_params)
        self._on_parameter()

    @property
    def entry(self) -> parameters.Parameter:
        """The parameter."""
        return PARAMETER_REGISTRY[str(self._parameter.currentData())]

    @property
    def values(self) -> list[ParameterValue]:
        """Its values; raises a `ParameterError` when what is typed is none."""
        params = self._session.params
        return parameters.parse_values(self.entry, self._values.text(), params)

    @property
    def problem(self) -> str:
        """Why nothing can be compared yet; empty when all is well."""
        try:
            _ = self.values
        except ParameterError as error:
            return str(error)
        return ""

    def compared(self) -> Compared:
        """Return what is asked for; raises a `ParameterError` when that is nothing."""
        session = self._session
        return Compared(
            source=session.task_source(),
            sample=session.sample,
            dye=session.dye,
            folders=(session.raw_dir, session.output_dir),
            params=session.params,
            entry=self.entry,
            values=self.values,
            to_stage=int(self._last.currentData()),
            keep=self._keep.isChecked(),
        )

    def _fill(self) -> None:
        """List the parameters under their stages."""
        model = cast(QStandardItemModel, self._parameter.model())
        for number, stage in sorted(parameters.STAGES.items()):
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
        self._parameter.setCurrentIndex(self._parameter.findData(_FIRST))

    def _on_parameter(self) -> None:
        """Propose values of another parameter."""
        entry, params = self.entry, self._session.params
        self._describe()
        around, result = params[entry.name], self._session.stored_result
        if around is None and entry.name == "manual_scale" and result and result.scale:
            around = result.scale.value
        stages = {
            f"stage {number}: {stage.title}": number
            for number, stage in sorted(parameters.STAGES.items())
            if number >= max(entry.stage, _FIRST_ALIGNMENT)
        }
        controls.refill(self._last, stages, max(stages.values()))
        suggested = parameters.suggest_values(entry, around, params)
        self._values.setText(", ".join(map(value_words, suggested)))
        self._check()

    def _on_params(self) -> None:
        self._describe()
        self._check()

    def _describe(self) -> None:
        entry = self.entry
        limits, now = entry.limits(), self._session.params[entry.name]
        words = [entry.description]
        if entry.kind is bool:
            words.append("It takes on or off.")
        elif limits:
            words.append(f"It takes {limits}.")
        present = f"The default is {value_words(entry.default)}"
        if now != entry.default:
            present += f"; at present it is {value_words(now)}"
        self._about.say(" ".join([*words, f"{present}."]))

    def _check(self) -> None:
        problem = self.problem
        if problem:
            self._state.say(capitalised(problem), controls.label_style("warning"))
        else:
            self._state.say(f"{len(self.values)} runs, one for each value.")
        self.changed.emit()


class CompareTable(QtWidgets.QTableWidget):
    """One row for each value; double-clicking one asks for its pictures."""

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(0, len(_COLUMNS), parent)
        self.setObjectName("comparison")
        self._rows: list[ComparisonRow | None] = []
        for number, (title, tip) in enumerate(_COLUMNS.items()):
            head = QtWidgets.QTableWidgetItem(title)
            head.setToolTip(tip)
            self.setHorizontalHeaderItem(number, head)
        self.setEditTriggers(QtWidgets.QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QtWidgets.QTableWidget.SelectionBehavior.SelectRows)
        self.setSelectionMode(QtWidgets.QTableWidget.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        self.setMinimumHeight(110)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        columns.setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.ResizeToContents)
        columns.setStretchLastSection(True)
        columns.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)

    @property
    def rows(self) -> list[ComparisonRow]:
        """The rows that have a result."""
        return [row for row in self._rows if row is not None]

    def row_at(self, number: int) -> ComparisonRow | None:
        """Return a row; None for one without a result and for none at all."""
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def begin(self, compared: Compared, now: ParameterValue) -> None:
        """Show the values that wait for their runs; `now` is the form's."""
        self._rows = [None] * len(compared.values)
        self.setRowCount(0)
        self.setRowCount(len(compared.values))
        for number, value in enumerate(compared.values):
            special = {"default": compared.entry.default, "now": now}
            known = [word for word, other in special.items() if other == value]
            words = value_words(value)
            self._set(number, 0, f"{words} ({', '.join(known)})" if known else words)
            state = State.WAITING if number else State.RUNNING
            self._set(number, _VERDICT, state.word)

    def add(self, row: ComparisonRow) -> None:
        """Fill the next row."""
        number = self._rows.index(None)
        self._rows[number] = row
        scale = _UNKNOWN
        if row.scale is not None:
            error = row.scale_uncertainty
            scale = f"{row.scale:.5g}" + (f" ± {error:.1g}" if error else "")
        cells = (
            row.verdict,
            _UNKNOWN
            if row.accuracy_px is None
            else length_words(row.accuracy_px, row.accuracy_um),
            scale,
            _UNKNOWN if row.seconds is None else f"{row.seconds:.1f} s",
            row.note,
        )
        for place, words in enumerate(cells, _VERDICT):
            self._set(number, place, words, row.state if place == _VERDICT else None)
        if number + 1 < len(self._rows):
            self._set(number + 1, _VERDICT, State.RUNNING.word)

    def end(self) -> None:
        """Say of rows without a result that they were stopped."""
        for number, known in enumerate(self._rows):
            if known is None:
                self._set(number, _VERDICT, State.STOPPED.word)

    def _set(
        self, number: int, place: int, words: str, state: State | None = None
    ) -> None:
        item = QtWidgets.QTableWidgetItem(words)
        if place == _NOTE:
            item.setToolTip(literal(words))
        if state is not None:
            item.setBackground(QColor(state.colour).darker(160))  # for white words
            item.setForeground(QColor("white"))
        self.setItem(number, place, item)


class CompareResults(QtWidgets.QWidget):
    """The table of a comparison, and buttons for its pictures and values."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.setObjectName("compare_results")
        self._session, self._message = panel.session, panel.message
        self._compared: Compared | None = None
        self._folder: Path | None = None
        self._loading: Job | None = None
        self._used = ""
        self._stages: set[int] = set()
        self._pictures = ComparePictures(panel.session, self)
        self._title = controls.WordsLabel("compared", self)
        self._table = CompareTable(self)
        self._note = controls.WordsLabel("note", self)
        kinds = {"Differences": DIFFERENCE, "Aligned pre on post": OVERLAY}
        tip = "What is shown of each value."
        self._what = controls.combo_box(self, "picture", tip, kinds)
        self._show, self._use, self._save = (
            controls.button(self, name, text, "", slot)
            for name, text, slot in (
                ("show_side_by_side", "Show side by side", self._toggle),
                ("use_value", "Use this value", self._use_value),
                ("save_table", "Save table …", self._ask_where_to_save),
            )
        )
        self._show.setCheckable(True)
        controls.column(
            self._title,
            (self._table, 1),
            self._note,
            controls.row((self._what, 1), (self._show, 1)),
            controls.row((self._use, 1), (self._save, 1)),
            parent=self,
            margin=0,
        )
        self._session.source_changed.connect(self._on_source)
        self._session.params_changed.connect(self._update)
        self._table.itemSelectionChanged.connect(self._update)
        self._table.cellDoubleClicked.connect(self._open)
        self._what.activated.connect(self._on_what)
        self._pictures.changed.connect(self._update)
        self._update()

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
        self._table.begin(compared, self._session.params[entry.name])
        self._title.say(
            f"{compared.sample} {compared.dye}: {entry.title}, "
            f"up to stage {compared.to_stage}"
        )
        has_difference = compared.to_stage >= parameters.DIFFERENCE_STAGE
        self._what.setEnabled(has_difference)
        self._what.setCurrentIndex(0 if has_difference else 1)
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
            self._load_pictures()

    def _on_what(self) -> None:
        if self._pictures.is_active:
            self._load_pictures()

    def _open(self, number: int) -> None:
        """Show the pictures of one row alone."""
        if self._table.row_at(number) is None or self._compared is None:
            return
        if not self._compared.keep:
            self._message.note(_NO_FILES)
        elif not (self._pictures.is_active and self._pictures.show_one(number)):
            self._load_pictures(number)

    def _load_pictures(self, number: int = -1) -> None:
        """Load the pictures of all values; one number is shown alone."""
        if self._compared is None:
            return
        self._message.clear()
        self._loading = self._session.jobs.start(
            load_pictures,
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

    def _on_pictures(self, loaded: tuple[Compared, int, list[list[LayerSpec]]]) -> None:
        compared, number, specs = loaded
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
        row, compared = self._table.row_at(self._table.currentRow()), self._compared
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
        path = controls.ask_to_save(self, "Save table", start, "Tables (*.csv)")
        if path is not None:
            self.save_table(path)

    def save_table(self, path: Path) -> None:
        """Write the table as a CSV file; what goes wrong is said in the dock."""
        compared = self._compared
        if compared is None:
            return
        from napari_exo2micro.core.pipeline import save_comparison

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
        differs = compared.differs_from(self._session) if compared else ""
        controls.enable(
            self._show,
            "" if active else why or lost,
            "Show the picture of each value in a field of its own; double-click on a "
            "row of the table to see one value alone.",
        )
        self._show.setChecked(active)
        self._show.setText("Stop side by side" if active else "Show side by side")
        tip = "Give the parameter the value of the row that is marked."
        controls.enable(
            self._use, why or differs or ("" if row is not None else _NO_ROW), tip
        )
        controls.enable(self._save, why, "Save the table as a CSV file.")
        self._note.say(row.note if row is not None else "")


class CompareDock(Panel):
    """Runs a sample with several values of a parameter and shows what comes out."""

    NAME = "compare_dock"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._job: Job | None = None
        self._count = 0
        self._ended = ""
        self._form = CompareForm(self.session, self)
        self._results = CompareResults(self)
        self._run = controls.button(
            self, "run_comparison", "Run comparison", "", self.run
        )
        tip = "Stop; the rows that are there already stay. Closing the dock stops, too."
        self._abort = controls.button(self, "abort", "Abort", tip, self._stop)
        self._bar = controls.progress_bar(self)
        self._text = controls.WordsLabel("progress_text", self)
        controls.column(
            self.message,
            self._form,
            controls.row((self._run, 1), self._abort),
            self._bar,
            self._text,
            (self._results, 1),
            parent=self,
            margin=6,
        )
        self.session.jobs.busy_changed.connect(self._update)
        self.session.source_changed.connect(self._update)
        self._form.changed.connect(self._update)
        self._update()

    def run(self) -> None:
        """Run once for each value; rows appear as the runs end."""
        self.message.clear()
        session = self.session
        if problem := session.refusal():
            self.message.error(problem)
            return
        try:
            compared = self._form.compared()
            self._job = session.jobs.start(
                run_comparison,
                title=f"comparing {compared.entry.title} of {session.sample} "
                f"{session.dye}",
                on_sent=self._results.add,
                on_error=self.message.error,
                on_progress=self._on_progress,
                on_finished=self._on_finished,
                exclusive=True,
                compared=compared,
            )
        except (Exo2MicroError, RuntimeError) as error:
            self.message.error(str(error))
            return
        self._count = len(compared.values)
        self._results.begin(compared)
        self._bar.setValue(0)
        self._text.say("Starting …")
        self._update()

    # Coming and going -------------------------------------------------------------

    def close_down(self) -> None:
        """Stop, take the pictures away and follow the viewer no more."""
        if not self._is_closed:
            self._stop()
            self._results.close_down()
        super().close_down()

    def stay_hidden(self) -> None:
        """Take the pictures away; the runs go on."""
        self._results.stop()

    # How a comparison goes on -----------------------------------------------------

    def _stop(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._text.say("Stopping …")

    def _on_progress(self, fraction: float, text: str) -> None:
        if self._job is not None and not self._job.is_cancelled:
            self._bar.setValue(round(1000 * fraction))
            number = min(self._results.done + 1, self._count)
            self._text.say(f"Value {number} of {self._count}, {text}")

    def _on_finished(self) -> None:
        stopped = self._job is not None and self._job.is_cancelled
        self._job = None
        self._ended = "Stopped." if stopped else ""
        self._results.end()
        self._update()
        self.session.refresh_status()

    def _update(self, *_: object) -> None:
        running = self._job is not None
        waits = ""
        if not self.session.has_source:
            waits = _NO_SOURCE
        elif self.session.jobs.is_busy:
            waits = _BUSY
        tip = "Run once for each value."
        controls.enable(self._run, waits or self._form.problem, tip)
        self._abort.setEnabled(running)
        self._bar.setVisible(running)
        if not running:
            self._text.say(waits or self._ended)
