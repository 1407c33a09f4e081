"""The batch dock: many samples and dyes from the window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy import QtWidgets
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QMenu, QSizePolicy, QWidget
from superqt.utils import signals_blocked

from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.core.batch import StoredState
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, value_words
from napari_exo2micro.plugin.batch import run as runs
from napari_exo2micro.plugin.batch.run import BatchRequest, Pair
from napari_exo2micro.plugin.batch.table import OutcomeList, PairTable
from napari_exo2micro.plugin.layers.layers import about
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.raw_folder import RawFolder
from napari_exo2micro.plugin.session.settings import (
    PRESET,
    Preset,
    read_defaults,
    read_preset,
    recent,
    remember,
)
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal

if TYPE_CHECKING:
    from napari_exo2micro.core.batch import BatchPlan, Preflight

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


_PAUSE = 150  # ms after a change before disk is looked at
_STILL_ENDING = (
    "The batch of the panel that was closed is still ending. It is shown here; Run is "
    "offered when it has ended."
)
#: objectName -> what it says, and its tooltip.
_BUTTONS = {
    "settings_back": (
        "Back to the settings before",
        "Give the workbench the settings that it had before the result was opened.",
    ),
    "choose_all": ("All", "Choose every pair."),
    "choose_none": ("None", "Choose no pair."),
    "choose_undone": (
        "Not done",
        "Choose the pairs that a run would find something to do for.",
    ),
    "look_again": (
        "Look again",
        "Look for samples and dyes anew: files may have come.",
    ),
    "open_result": (
        "Open result",
        "Show the layers of this pair; it becomes the one that the workbench works "
        "on. So does a double-click.",
    ),
    "run_batch": ("Run", ""),
    "abort": (
        "Abort",
        "Stop the batch; finished pairs and stages are kept. Closing this panel stops "
        "it, too; hiding it does not.",
    ),
    "copies_button": ("Copy as", "Copy this batch as Python or as a command line."),
}
_COPIES = {
    "copy_python": (
        "Python",
        "Put lines of Python on the clipboard that run the same batch.",
        parameters.batch_as_python,
    ),
    "copy_command": (
        "command line",
        "Put a command on the clipboard that runs the same batch.",
        parameters.batch_as_command_line,
    ),
}


class ResultOpener(QObject):
    """Opens results of a batch, and gives the workbench its own settings back."""

    #: Whether there are settings to go back to.
    changed = Signal(bool)

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._session, self._message = panel.session, panel.message
        self._before: dict[str, parameters.ParameterValue] | None = None
        self._session.params_changed.connect(self._forget)

    def open(self, pair: Pair, request: BatchRequest) -> None:
        """Show the layers of a pair, which becomes the workbench's source."""
        session, settings = self._session, request.settings
        before = session.params
        earlier = before if self._before is None else self._before
        try:
            session.set_params(**settings.params)
        except Exo2MicroError as error:
            self._message.error(str(error))
            return
        session.set_source(
            raw_dir=settings.raw_dir,
            output_dir=settings.output_dir,
            checkpoint_format=settings.checkpoint_format,
            sample=pair[0],
            dye=pair[1],
        )
        session.show_results(on_error=self._message.error)
        name = " / ".join(pair)
        words = "; ".join(
            f"{PARAMETER_REGISTRY[name].title} {value_words(value)} in place of "
            f"{value_words(before[name])}"
            for name, value in session.params.items()
            if value != before[name]
        )
        if words:
            self._before = earlier
            self.changed.emit(True)
            self._message.note(
                f"{name} is open. The workbench has the batch's settings now: {words}."
            )
        else:
            self._message.note(f"{name} is open, and chosen in the workbench.")

    def go_back(self) -> None:
        """Give the workbench the settings that it had before a result was opened."""
        if self._before is not None:
            self._session.set_params(**self._before)
            self._message.note("The workbench has the settings of before again.")

    def renew(self, request: BatchRequest, ran: set[Pair]) -> None:
        """Show the open pair's results anew when a batch has made them again."""
        session, settings = self._session, request.settings
        pair = (session.sample, session.dye)
        is_same = (
            request.folders == (session.raw_dir, session.output_dir)
            and session.checkpoint_format == settings.checkpoint_format
            and session.params == settings.all_params
        )
        known = map(about, session.viewer.layers)
        shown = {(layer.get("sample"), layer.get("dye")) for layer in known}
        if is_same and pair in ran and pair in shown:
            session.show_results(on_error=self._message.error)

    def _forget(self, _names: object = None) -> None:
        """Keep what a person has set since: there is nothing to go back to."""
        if self._before is not None:
            self._before = None
            self.changed.emit(False)


class BatchDock(Panel):
    """Runs many samples and dyes in one go."""

    NAME = "batch_dock"
    LEAST = (340, 330)
    SIZE = (450, 0)  # three dyes stand side by side

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        session = self.session
        self._folder = RawFolder.of(session)
        self._run = runs.BatchRun.of(session)
        self._seen: parameters.RunSettings | None = None
        self._has_missed = False  # a look at the folder, while a batch was checked
        self._elsewhere: Pair | None = None  # what runs, by another dock
        self._folders = (session.raw_dir, session.output_dir)
        self._opener = ResultOpener(self)
        self._pause = controls.delayed(self, self._look_at_disk, _PAUSE)
        self._make_parts()
        self._arrange()
        self._connect()
        self._follow_source()
        self._on_folder()
        if self._run.is_active:
            self.message.note(_STILL_ENDING)
        self._on_run()

    def _make_parts(self) -> None:
        made = (controls.button(self, name, *words) for name, words in _BUTTONS.items())
        self.back, self.every, self.none, self.undone, self.again, *others = made
        self.opens, self.start, self.abort, self.copies = others
        self.back.hide()
        self.opens.hide()
        self.start.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        menu = QMenu(self)
        menu.setObjectName("copies")
        menu.setToolTipsVisible(True)
        for name, (words, tip, make) in _COPIES.items():
            action = menu.addAction(f"Copy as {words}")
            assert action is not None
            action.setObjectName(name)
            action.setToolTip(tip)
            action.triggered.connect(partial(self._copy, words, make))
        self.copies.setMenu(menu)
        tip = "The folder that holds one folder for each sample."
        self.raw = self._folder_field("raw_dir", "raw folder", tip)
        tip = "Where the results go, in a folder for each sample and dye."
        self.output = self._folder_field("output_dir", "results folder", tip)
        self.table = PairTable(self)
        self._why = controls.WordsLabel("cell_words", self)
        self._chosen = controls.WordsLabel("chosen_words", self)
        self.form = BatchForm(self)
        self._needs = controls.WordsLabel("needs", self)
        self._needs.setToolTip("Estimated from the headers of the raw images.")
        self.outcome = OutcomeList(self)
        self.question = controls.Question(self)
        self._bar = controls.progress_bar(self, "How much of the batch is done.")
        self._text = controls.WordsLabel("progress_text", self)

    def _folder_field(self, name: str, kind: str, tip: str) -> controls.FolderField:
        tip = f"{tip} The workbench has the same one."
        field = controls.FolderField(name, kind, tip, self)
        field.offer(recent(kind))
        return field

    def _arrange(self) -> None:
        self._choices = QWidget(self)
        choices = controls.row(self.every, self.none, self.undone, None, self.again)
        controls.column(choices, parent=self._choices, margin=0)
        cell = controls.row((self._why, 1), self.opens)
        cell.setAlignment(self.opens, Qt.AlignmentFlag.AlignTop)
        page = QWidget(self)
        inside = controls.column(
            controls.labelled("Raw folder", self.raw),
            controls.labelled("Results in", self.output),
            self._choices,
            (self.table, 3),
            cell,
            self._chosen,
            self.form,
            self._needs,
            (self.outcome, 2),
            parent=page,
            margin=0,
        )
        inside.addStretch(0)  # what is left when all have their height
        self._scroll = controls.scrolled(page)
        controls.column(
            self.message,
            self.back,
            (self._scroll, 1),
            # In sight also where the rest has to be scrolled.
            self.question,
            controls.row((self.start, 2), (self.abort, 1), (self.copies, 1)),
            self._bar,
            self._text,
            parent=self,
            margin=6,
        )

    def _connect(self) -> None:
        session, table, run = self.session, self.table, self._run
        session.source_changed.connect(self._follow_source)
        session.output_checked.connect(self._ask_disk)
        session.jobs.busy_changed.connect(self._on_busy)
        self._folder.changed.connect(self._on_folder)
        self.raw.chosen.connect(self._folder.choose)
        self.output.chosen.connect(self._folder.choose_output)
        self.again.clicked.connect(self._look_again)
        self.every.clicked.connect(lambda: table.choose(table.pairs))
        self.none.clicked.connect(lambda: table.choose(table.pairs, False))
        self.undone.clicked.connect(self._choose_undone)
        table.chosen_changed.connect(self._ask_disk)
        table.current_changed.connect(self._explain)
        table.opened.connect(self.open_result)
        self.opens.clicked.connect(lambda: self.open_result(table.current))
        self.form.changed.connect(self._ask_disk)
        self._opener.changed.connect(self.back.setVisible)
        self.back.clicked.connect(self._opener.go_back)
        self.outcome.chosen.connect(table.go_to)
        self.question.accepted.connect(run.go_on)
        self.start.clicked.connect(self.run)
        self.abort.clicked.connect(run.stop)
        run.changed.connect(self._on_run)
        run.asked.connect(self.question.ask)
        run.refused.connect(self.message.error)
        run.ended.connect(self._on_ended)

    # What a person does ----------------------------------------------------------

    def run(self) -> None:
        """Run the chosen pairs; a question comes first where that is needed."""
        self.message.clear()
        self.question.hide()
        self.outcome.clear()
        problem = self._why_not()
        if problem:
            self.message.error(problem)
            return
        if self._pause.isActive():  # something was changed just now
            self._pause.stop()
            self._look_at_disk()
        self._run.start(self.form.request(self.table.chosen), self.table.states)

    def open_result(self, pair: Pair | None) -> None:
        """Show the layers of a pair, which becomes the workbench's source."""
        if pair is None:
            return
        session, name = self.session, " / ".join(pair)
        view = self.table.view_of(pair)
        if not view.can_open:
            self.message.warning(f"{name} has no results to open yet: {view.word}.")
            return
        if session.jobs.is_busy and not self._run.is_running:
            self.message.warning(
                "Something else runs; open the results when it has ended."
            )
            return
        request = self._run.request if self._run.is_running else None
        self._opener.open(pair, request or self.form.request())

    def _copy(self, words: str, make: Any) -> None:
        """Put the batch on the clipboard, in words of another kind."""
        chosen = self.table.chosen
        if not chosen or self.session.raw_dir is None:
            self.message.error("Nothing to copy: no pair is chosen.")
            return
        strict = set(chosen) <= set(self.table.present)
        clipboard = QGuiApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(self.form.request(chosen).recipe(make, strict=strict))
        the = "the " if make is parameters.batch_as_command_line else ""
        self.message.note(f"Copied: {the}{words} for {runs.count_words(len(chosen))}.")

    def _choose_undone(self) -> None:
        table = self.table
        table.choose_only(p for p in table.pairs if not table.view_of(p).is_done)

    def _why_not(self) -> str:
        """Return why nothing can be run now; empty when it can."""
        session, table = self.session, self.table
        if self._run.is_stopping:
            return "The batch is being stopped; wait until it has ended."
        if self._run.is_active:
            return "The batch runs; wait for it, or press Abort."
        if session.jobs.exclusive is not None:
            return (
                f"'{session.jobs.exclusive.title}' runs; wait for it, or stop it in "
                "the workbench."
            )
        if session.raw_dir is None:
            return "Choose the raw folder first."
        if table.overview is None:
            return "The raw folder is being looked at."
        if table.overview.problem or not table.pairs:
            none = f"{table.overview.raw_dir} holds no pairs of images."
            return table.overview.problem or none
        if not table.chosen:
            return "No pair is chosen: tick some in the table, or press All."
        if self.form.problem:
            return self.form.problem
        typed = session.refusal() if self.form.uses_workbench else ""
        return session.output_problem or typed

    # What is on disk ---------------------------------------------------------

    def _on_folder(self) -> None:
        """Show what the raw folder holds, once it was looked into."""
        overview, table = self._folder.overview, self.table
        is_looking = self._folder.looking is not None
        if is_looking or overview is None or overview.raw_dir != self.session.raw_dir:
            return
        if self._run.is_active and table.pairs:
            self._has_missed = True  # what runs stays as it is
            return
        table.show_folder(overview)
        self.form.offer_dyes(table.dyes)
        if table.pairs:
            self.raw.offer(remember(self.raw.kind, overview.raw_dir.absolute()))
        self._seen = None
        self._ask_disk()

    def _ask_disk(self, *_: object) -> None:
        """Look at results and room on disk a moment after the last change."""
        if not self._is_closed:
            self._pause.start()
            self._drop_old_question()
            self._update()

    def _drop_old_question(self) -> None:
        """Take away what is asked or checked when something else would be run now."""
        run = self._run
        if run.is_running or self.form.request(self.table.chosen) == run.request:
            return
        self.question.hide()
        if run.is_active and not run.is_stopping:
            run.stop()
            self.message.warning(
                "Something was changed while the batch was checked, and nothing was "
                "started: press Run again."
            )

    def _look_at_disk(self) -> None:
        run = self._run
        if (run.is_active and run.is_of_session) or not self.table.present:
            return
        settings = self.form.request().settings
        if settings != self._seen:  # other settings, other results
            self._seen = settings
            self.table.forget_states()
            self._read_states()
        request = self.form.request(self.table.chosen)
        problem = self.form.problem or self.session.output_problem
        if request.pairs and not problem:
            self.work(
                runs.check_request,
                "estimating memory and disk",
                self._on_needs,
                on_error=self._on_no_needs,
                newest="batch needs",
                request=request,
            )
        else:
            self.session.jobs.cancel("batch needs")
            self._needs.say("")

    def _read_states(self) -> None:
        if self.table.present:
            self.session.jobs.start(
                runs.read_states,
                title="looking at the results on disk",
                on_sent=self._on_state,
                on_error=self.message.error,
                newest="batch states",
                show_progress=False,
                request=self.form.request(self.table.present),
            )

    def _on_state(self, sent: tuple[Pair, StoredState]) -> None:
        self.table.set_state(*sent)
        if sent[0] == self.table.current:
            self._explain()

    def _on_needs(self, checked: tuple[BatchPlan, Preflight]) -> None:
        _, needs = checked
        is_fine = needs.level == "enough" and not needs.not_estimated
        style = "" if is_fine else controls.label_style("warning")
        self._needs.say(runs.needs_words(needs), style)

    def _on_no_needs(self, text: str) -> None:
        # What is wrong with the results folder is told beside the table already.
        told = text == self.session.output_problem
        self._needs.say("" if told else text, controls.label_style("warning"))

    def _look_again(self) -> None:
        """Look anew at both folders."""
        self.session.look_at_output()
        self._folder.look_again()

    def _on_busy(self, busy: bool) -> None:
        """Look anew at the files when another dock has run a pair, or tried to."""
        if busy and not self._run.is_active:
            self._elsewhere = (self.session.sample, self.session.dye)
        elif not busy and self._elsewhere is not None:
            self.table.forget_row(self._elsewhere)
            self._elsewhere = None
            self._read_states()
        self._update()

    # How a batch goes on -----------------------------------------------------

    def _on_run(self) -> None:
        """Show how far the batch is."""
        run, board = self._run, self._run.board
        if run.is_running and board is not None:
            if run.is_of_session:
                self.table.set_rows(board.rows)
            self._bar.setValue(round(1000 * board.fraction))
            self._text.say(runs.progress_words(board, is_stopping=run.is_stopping))
            self._explain()
            self._needs.say("")
        elif run.is_active:
            self._bar.setValue(0)
            self._text.say("Checking files, memory and disk …")
        else:
            self._text.say("")
            if self.message.text == _STILL_ENDING:
                self.message.clear()
            if self._has_missed:
                self._has_missed = False
                self._on_folder()
        self._bar.setVisible(run.is_active)
        self._update()

    def _on_ended(self) -> None:
        run, board, request = self._run, self._run.board, self._run.request
        if board is not None and request is not None and run.is_of_session:
            self.table.end_rows(board.rows)
            # What came out is shown until something else is asked for.
            self._seen = self.form.request().settings
            results = board.results
            if results:
                stopped = run.was_stopped
                self.outcome.show_results(results, board.elapsed, stopped=stopped)
                QTimer.singleShot(0, self._go_to_outcome)  # when it has its place
                ran = {(result.sample, result.dye) for result in results}
                self._opener.renew(request, ran)
        self._read_states()
        self._ask_disk()

    def _go_to_outcome(self) -> None:
        if self.outcome.isVisible():
            self._scroll.ensureWidgetVisible(self.outcome)

    # What it shows -----------------------------------------------------------

    def _explain(self) -> None:
        """Say all that is known of the current cell."""
        pair = self.table.current
        if pair is None:
            self._why.say("")
            self.opens.hide()
            return
        view = self.table.view_of(pair)
        word = f"{view.word}. " if view.state or view.fraction is not None else ""
        self._why.say(f"{pair[0]} / {pair[1]}: {word}{view.why}")
        self.opens.setVisible(view.can_open)

    def _follow_source(self) -> None:
        """Show the folders that the session works on."""
        session = self.session
        self.raw.show_folder(session.raw_dir)
        self.output.show_folder(session.output_dir)
        folders = (session.raw_dir, session.output_dir)
        if folders != self._folders and not self._run.is_running:
            self.outcome.clear()  # it told of the pairs of other folders
        self._folders = folders
        shown = self.table.overview
        if shown is not None and shown.raw_dir != session.raw_dir:
            self.table.show_folder(None)
        self._ask_disk()

    def _update(self, *_: object) -> None:
        """Enable what can be done now, and say why where it cannot."""
        run, table = self._run, self.table
        is_busy = self.session.jobs.is_busy or run.is_active
        for folder in (self.raw, self.output, self.again):
            folder.setEnabled(not is_busy)
        for choice in (self.form, self.every, self.none, self.undone):
            choice.setEnabled(not run.is_active)
        table.set_fixed(run.is_active)
        problem, chosen, total = self._why_not(), len(table.chosen), len(table.pairs)
        count = runs.count_words(chosen)
        self.start.setText(f"Run {count}" if chosen else "Run")
        does = f"Run {count}; what is valid already is not made again."
        controls.enable(self.start, problem, does)
        self.abort.setEnabled(run.is_active and not run.is_stopping)
        for part in (self._choices, table):
            part.setVisible(total > 0)
        words = f"{chosen} of {total} pairs are chosen." if total else ""
        self._chosen.say((not run.is_active and problem) or words)
        if run.is_active:
            self.question.hide()

    def close_down(self) -> None:
        """Stop the batch; its worker processes end."""
        if not self._is_closed:
            self._pause.stop()
            self.session.jobs.cancel("batch states", "batch needs")
            self._run.stop()
            super().close_down()
