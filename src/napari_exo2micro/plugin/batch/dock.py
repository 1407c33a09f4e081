"""The batch dock: many samples and dyes from the window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from qtpy.QtCore import QObject, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import (
    QHBoxLayout,
    QMenu,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.batch import BatchBoard, StoredState
from napari_exo2micro.plugin.batch.form import (
    BatchForm,
    BatchRequest,
    FolderPairs,
    Pair,
    check_request,
    look_over,
    read_states,
    run_request,
)
from napari_exo2micro.plugin.batch.table import (
    OutcomeList,
    PairModel,
    PairView,
    ResultOpener,
)
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.raw_folder import RawFolder
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.session.settings import recent, remember
from napari_exo2micro.plugin.widgets.controls import (
    STYLES,
    FolderField,
    MessageStrip,
    Question,
    WordsLabel,
    button,
    labelled,
    scrolled,
)
from napari_exo2micro.plugin.widgets.dock import Dock
from napari_exo2micro.plugin.widgets.errors import literal
from napari_exo2micro.plugin.widgets.marks import (
    count_words,
    needs_words,
    progress_words,
)

if TYPE_CHECKING:
    from napari_exo2micro.core.batch import BatchPlan, Preflight


_LEAST_WIDTH = 340
_LEAST_HEIGHT = 330


class BatchLayout(Dock):
    """What the batch dock is made of.

    Parameters
    ----------
    session : Session
        What the docks of a viewer share.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("batch_dock")
        self.setMinimumSize(_LEAST_WIDTH, _LEAST_HEIGHT)
        self._session = session
        self._found: FolderPairs | None = None
        self.message = MessageStrip(self)
        self.back = button(
            self,
            "settings_back",
            "Back to the settings before",
            "Give the workbench the settings that it had before the result was opened.",
        )
        self.back.hide()
        self.raw = FolderField(
            "raw_dir",
            "raw folder",
            "The folder that holds one folder for each sample. The workbench has the "
            "same one.",
            self,
        )
        self.output = FolderField(
            "output_dir",
            "results folder",
            "Where the results go, in a folder for each sample and dye. The workbench "
            "has the same one.",
            self,
        )
        for field in (self.raw, self.output):
            field.offer(recent(field.kind))
        self.every = button(self, "choose_all", "All", "Choose every pair.")
        self.none = button(self, "choose_none", "None", "Choose no pair.")
        self.undone = button(
            self,
            "choose_undone",
            "Not done",
            "Choose the pairs that a run would find something to do for.",
        )
        self.again = button(
            self,
            "look_again",
            "Look again",
            "Look for samples and dyes anew: files may have come.",
        )
        self.model = PairModel(self)
        self.table = PairView(self.model, self)
        self._chosen = WordsLabel("chosen_words", self)
        self._why = WordsLabel("cell_words", self)
        self.opens = button(
            self,
            "open_result",
            "Open result",
            "Show the layers of this pair; it becomes the one that the workbench "
            "works on. So does a double-click.",
        )
        self.form = BatchForm(session, self.message, self)
        self._needs = WordsLabel("needs", self)
        self._needs.setToolTip("Estimated from the headers of the raw images.")
        self.question = Question(self)
        self.start = button(self, "run_batch", "Run", "")
        self.abort = button(
            self,
            "abort",
            "Abort",
            "Stop the batch; finished pairs and stages are kept. Closing this panel "
            "stops it, too; hiding it does not.",
        )
        self._copies = QMenu(self)
        self._copies.setObjectName("copies")
        self._copies.setToolTipsVisible(True)
        self.copies = button(
            self,
            "copies_button",
            "Copy as",
            "Copy this batch as Python or as a command line.",
        )
        self.copies.setMenu(self._copies)
        self._bar = QProgressBar(self)
        self._bar.setObjectName("progress")
        self._bar.setRange(0, 1000)
        self._bar.setFormat("%p %")
        self._bar.setToolTip("How much of the batch is done.")
        self._text = WordsLabel("progress_text", self)
        self.outcome = OutcomeList(self)
        self._arrange()
        self.hide_progress()
        self.explain()

    # What it shows -----------------------------------------------------------

    def explain(self) -> None:
        """Say all that is known of the current cell."""
        pair = self.table.current
        if pair is None or not self.model.pairs:
            self._why.say("")
            self.opens.hide()
            return
        view = self.model.view_of(pair)
        word = f"{view.word}. " if view.mark or view.fraction is not None else ""
        self._why.say(f"{pair[0]} / {pair[1]}: {word}{view.why}")
        self.opens.setVisible(view.can_open)

    def say_chosen(self, problem: str) -> None:
        """Say how many pairs are chosen, or why nothing can be run."""
        chosen, total = len(self.model.chosen), len(self.model.pairs)
        for one in (self._choices, self.table):
            one.setVisible(total > 0)
        words = f"{chosen} of {total} pairs are chosen." if total else ""
        self._chosen.say(problem or words)

    def say_needs(self, text: str, style: str = "") -> None:
        """Say what memory and disk the chosen pairs need."""
        self._needs.say(text, style)

    def show_progress(self, fraction: float, text: str) -> None:
        """Show how much is done, 0..1, and in words."""
        self._bar.setValue(round(1000 * fraction))
        self._bar.show()
        self._text.say(text)

    def hide_progress(self) -> None:
        """Show no progress."""
        self._bar.hide()
        self._text.say("")

    def go_to_outcome(self) -> None:
        """Scroll to what came out, once it has its place."""
        QTimer.singleShot(0, self._show_outcome)

    def _show_outcome(self) -> None:
        if self.outcome.isVisible():
            self._scroll.ensureWidgetVisible(self.outcome)

    def set_busy(self, busy: bool, *, fixed: bool) -> None:
        """Let folders be while something writes results, and the rest while we do."""
        folders: tuple[QWidget, ...] = (self.raw, self.output, self.again)
        for one in folders:
            one.setEnabled(not busy)
        choices: tuple[QWidget, ...] = (self.form, self.every, self.none, self.undone)
        for one in choices:
            one.setEnabled(not fixed)
        self.model.set_fixed(fixed)

    def to_clipboard(self, text: str) -> None:
        """Put a text on the clipboard."""
        clipboard = QGuiApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)

    def add_copies(
        self, python: Callable[[], None], command: Callable[[], None]
    ) -> None:
        """Fill the menu of copies."""
        for name, text, tip, function in (
            (
                "copy_python",
                "Copy as Python",
                "Put lines of Python on the clipboard that run the same batch.",
                python,
            ),
            (
                "copy_command",
                "Copy as command line",
                "Put a command on the clipboard that runs the same batch.",
                command,
            ),
        ):
            action = QAction(text, self._copies)
            action.setObjectName(name)
            action.setToolTip(tip)
            action.triggered.connect(lambda _checked=False, f=function: f())
            self._copies.addAction(action)

    def _arrange(self) -> None:
        self._choices = QWidget(self)
        choices = QHBoxLayout(self._choices)
        choices.setContentsMargins(0, 0, 0, 0)
        choices.addWidget(self.every)
        choices.addWidget(self.none)
        choices.addWidget(self.undone)
        choices.addStretch(1)
        choices.addWidget(self.again)
        cell = QHBoxLayout()
        cell.addWidget(self._why, 1)
        cell.addWidget(self.opens, 0, Qt.AlignmentFlag.AlignTop)
        buttons = QHBoxLayout()
        self.start.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        buttons.addWidget(self.start, 2)
        buttons.addWidget(self.abort, 1)
        buttons.addWidget(self.copies, 1)
        page = QWidget(self)
        inside = QVBoxLayout(page)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addLayout(labelled("Raw folder", self.raw))
        inside.addLayout(labelled("Results in", self.output))
        inside.addWidget(self._choices)
        inside.addWidget(self.table, 3)
        inside.addLayout(cell)
        inside.addWidget(self._chosen)
        inside.addWidget(self.form)
        inside.addWidget(self._needs)
        inside.addWidget(self.outcome, 2)
        inside.addStretch(0)  # what is left when all have their height
        self._scroll = scrolled(page)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.message)
        layout.addWidget(self.back)
        layout.addWidget(self._scroll, 1)
        # In sight also where the rest has to be scrolled.
        layout.addWidget(self.question)
        layout.addLayout(buttons)
        layout.addWidget(self._bar)
        layout.addWidget(self._text)


_INTERVAL = 200  # ms between two looks at the board
_MOST_LISTED = 8


class BatchRun(QObject):
    """Runs one batch at a time in the background; get it with `BatchRun.of`.

    It is the session's: a batch that still ends when its panel was closed is shown by
    the next one.

    Parameters
    ----------
    session : Session
        Whose jobs it is one of.

    Attributes
    ----------
    changed : Signal()
        It began, goes on, is stopping or has ended.
    asked : Signal(str, str, str)
        A question before the start: what was found, what the button that goes on
        says, and what that does; see `go_on`.
    refused : Signal(str)
        Why it does not run, or why it ended early.
    ended : Signal()
        It is over; `board` has what came out.
    board : BatchBoard or None
        What is known of each pair of the last batch.
    request : BatchRequest or None
        What was asked for.
    """

    changed = Signal()
    asked = Signal(str, str, str)
    refused = Signal(str)
    ended = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._check: Job | None = None
        self._job: Job | None = None
        self._answers: set[str] = set()
        self._question = ""
        self._states: Mapping[Pair, StoredState] = {}
        self.board: BatchBoard | None = None
        self.request: BatchRequest | None = None
        self.was_stopped = False
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL)
        self._timer.timeout.connect(self.changed)
        session.jobs.closed.connect(self._timer.stop)

    @classmethod
    def of(cls, session: Session) -> BatchRun:
        """Return the batches of a session, made when first asked for."""
        found = session.findChild(cls)
        return found if isinstance(found, cls) else cls(session)

    @property
    def is_active(self) -> bool:
        """Whether it is checked what runs, or a batch runs."""
        return self._check is not None or self._job is not None

    @property
    def is_running(self) -> bool:
        """Whether a batch runs."""
        return self._job is not None

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked to stop: here, in another dock or in napari."""
        job = self._job or self._check
        return job is not None and job.is_cancelled

    @property
    def is_of_session(self) -> bool:
        """Whether the last batch was of the folders that the session has now."""
        request, session = self.request, self._session
        return request is not None and (
            (request.raw_dir, request.output_dir)
            == (session.raw_dir, session.output_dir)
        )

    def start(self, request: BatchRequest, states: Mapping[Pair, StoredState]) -> None:
        """Check what would run and what it needs; then run it, or ask first.

        Parameters
        ----------
        request : BatchRequest
            What is asked for.
        states : mapping
            What is on disk already, for an estimate of the time.
        """
        self.request, self._states = request, dict(states)
        self._answers = set()
        self._look()

    def go_on(self) -> None:
        """Go on after a question."""
        self._answers.add(self._question)
        self._look()

    def stop(self) -> None:
        """Ask it to stop; what is finished stays."""
        for job in (self._check, self._job):
            if job is not None:
                job.cancel()
        self.changed.emit()

    def _look(self) -> None:
        if self.is_active or self.request is None:
            return
        self._check = self._session.jobs.start(
            check_request,
            title="checking what the batch needs",
            on_result=self._on_checked,
            on_error=self.refused.emit,
            on_finished=self._on_check_ended,
            request=self.request,
        )
        self.changed.emit()

    def _on_check_ended(self) -> None:
        self._check = None
        self.changed.emit()

    def _on_checked(self, found: tuple[BatchPlan, Preflight]) -> None:
        plan, needs = found
        if not plan.tasks:
            reasons = [task.sentence() for task in plan.skipped]
            self.refused.emit("No pair can be run. " + " ".join(reasons[:3]))
        elif plan.skipped and "files" not in self._answers:
            self._question = "files"
            self.asked.emit(
                _missing(plan),
                f"Run the rest ({count_words(len(plan.tasks))})",
                "Run the pairs that have their files, and leave the others out.",
            )
        elif needs.level == "too little" and "room" not in self._answers:
            self._question = "room"
            self.asked.emit(
                f"Too little room: {needs.message}.",
                "Run all the same",
                "Start although it may not fit. A pair that finds too little memory "
                "stops and says so; what is finished stays.",
            )
        else:
            self._begin(plan)

    def _begin(self, plan: BatchPlan) -> None:
        work = {
            task.number: float(len(state.to_run))
            for task in plan.tasks
            if (state := self._states.get((task.sample, task.dye))) is not None
        }
        board = BatchBoard(work)
        try:
            self._job = self._session.jobs.start(
                run_request,
                title=f"batch of {count_words(len(plan.tasks))}",
                on_error=self.refused.emit,
                on_finished=self._on_ended,
                exclusive=True,
                request=self.request,
                plan=plan,
                board=board,
            )
        except RuntimeError as error:
            self.refused.emit(f"{error}; wait for it or stop it, then run the batch")
            return
        # Other docks show the state of the files.
        self._job.finished.connect(self._session.refresh_status)
        self.board = board
        self.was_stopped = False
        self._timer.start()
        self.changed.emit()

    def _on_ended(self) -> None:
        self.was_stopped = self.is_stopping
        self._job = None
        self._timer.stop()
        self.changed.emit()
        self.ended.emit()


def _missing(plan: BatchPlan) -> str:
    """Return which pairs have no files, one a line."""
    total = len(plan.skipped) + len(plan.tasks)
    lines = [f"{len(plan.skipped)} of {count_words(total)} cannot run:"]
    lines += [task.sentence() for task in plan.skipped[:_MOST_LISTED]]
    more = len(plan.skipped) - _MOST_LISTED
    if more > 0:
        lines.append(f"and {more} more")
    return "\n".join(lines)


_PAUSE = 150  # ms after a change before disk is looked at
_WIDTH = 450
_STILL_ENDING = (
    "The batch of the panel that was closed is still ending. It is shown here; Run is "
    "offered when it has ended."
)
_TIGHT = f"QLabel {{ {STYLES['warning']} padding: 3px; border-radius: 3px; }}"


class BatchDock(BatchLayout):
    """Runs many samples and dyes in one go.

    Parameters
    ----------
    napari_viewer : ViewerModel
        As napari hands it over; docks of one viewer share folders and parameters.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        session = shared_session(napari_viewer)
        super().__init__(session)
        session.end_with_window_of(self)
        self._folder = RawFolder.of(session)
        self._run = BatchRun.of(session)
        self._opener = ResultOpener(session, self.message, self)
        self._seen: BatchRequest | None = None
        self._has_missed = False  # a look at the folder, while a batch was checked
        self._elsewhere: Pair | None = None  # what runs, by another dock
        self._folders = (session.raw_dir, session.output_dir)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE)
        self._pause.timeout.connect(self._look_at_disk)
        self._connect()
        self._follow_source()
        self._on_folder()
        if self._run.is_active:
            self.message.note(_STILL_ENDING)
        self._on_run()

    def sizeHint(self) -> QSize:
        """Return a width at which three dyes stand side by side."""
        return QSize(_WIDTH, super().sizeHint().height())

    # What a person does ----------------------------------------------------------

    def run(self) -> None:
        """Run the chosen pairs; a question comes first where that is needed."""
        self.message.clear()
        self.question.clear()
        self.outcome.clear()
        problem = self._why_not()
        if problem:
            self.message.error(problem)
            return
        if self._pause.isActive():  # something was changed just now
            self._pause.stop()
            self._look_at_disk()
        self._run.start(self._request(self.model.chosen), self.model.states)

    def open_result(self, pair: Pair | None) -> None:
        """Show the layers of a pair, which becomes the workbench's source."""
        if pair is None:
            return
        session, name = self._session, " / ".join(pair)
        view = self.model.view_of(pair)
        if not view.can_open:
            self.message.warning(f"{name} has no results to open yet: {view.word}.")
            return
        if session.jobs.is_busy and not self._run.is_running:
            self.message.warning(
                "Something else runs; open the results when it has ended."
            )
            return
        request = self._request(())
        if self._run.is_running and self._run.request is not None:
            request = self._run.request
        self._opener.open(pair, request)

    def copy_python(self) -> None:
        """Put Python that runs the batch on the clipboard."""
        from napari_exo2micro.core.parameters import batch_as_python

        self._copy(batch_as_python, "Copied: Python for {}.")

    def copy_command_line(self) -> None:
        """Put the command line that runs the batch on the clipboard."""
        from napari_exo2micro.core.parameters import batch_as_command_line

        self._copy(batch_as_command_line, "Copied: the command line for {}.")

    def _copy(self, make: Any, said: str) -> None:
        chosen = self.model.chosen
        if not chosen or self._session.raw_dir is None:
            self.message.error("Nothing to copy: no pair is chosen.")
            return
        strict = set(chosen) <= set(self.model.present)
        self.to_clipboard(self._request(chosen).recipe(make, strict=strict))
        self.message.note(said.format(count_words(len(chosen))))

    def _choose_undone(self) -> None:
        model = self.model
        model.choose_only(p for p in model.pairs if not model.view_of(p).is_done)

    # What is asked for -------------------------------------------------------

    def _request(self, pairs: tuple[Pair, ...]) -> BatchRequest:
        session = self._session
        return BatchRequest(
            pairs=pairs,
            raw_dir=session.raw_dir or Path("raw"),
            output_dir=session.output_dir,
            checkpoint_format=session.checkpoint_format,
            **self.form.settings,
        )

    def _why_not(self) -> str:
        """Return why nothing can be run now; empty when it can."""
        session, found = self._session, self._found
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
        if found is None:
            return "The raw folder is being looked at."
        if found.problem or not found.pairs:
            return found.problem or f"{found.raw_dir} holds no pairs of images."
        if not self.model.chosen:
            return "No pair is chosen: tick some in the table, or press All."
        if self.form.problem:
            return self.form.problem
        typed = session.refusal() if self.form.uses_workbench else ""
        return session.output_problem or typed

    # What is on disk ---------------------------------------------------------

    def _on_folder(self) -> None:
        """Look over the folder when others have chosen or looked at one."""
        if self._session.raw_dir is None or self._folder.looking is not None:
            return
        self._session.jobs.start(
            look_over,
            title=f"looking over {self._session.raw_dir}",
            on_result=self._on_looked,
            on_error=self.message.error,
            newest="batch folder",
            show_progress=False,
            raw_dir=self._session.raw_dir,
        )

    def _on_looked(self, found: FolderPairs) -> None:
        self._has_missed = self._run.is_active
        is_fixed = self._run.is_active and self._found is not None
        if is_fixed or found.raw_dir != self._session.raw_dir:
            return
        self._found = found
        self.model.show_folder(found)
        self.form.offer_dyes(found.dyes)
        if found.pairs:
            self.raw.offer(remember(self.raw.kind, found.raw_dir.absolute()))
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
        if run.is_running or self._request(self.model.chosen) == run.request:
            return
        self.question.clear()
        if run.is_active and not run.is_stopping:
            run.stop()
            self.message.warning(
                "Something was changed while the batch was checked, and nothing was "
                "started: press Run again."
            )

    def _look_at_disk(self) -> None:
        run = self._run
        if (run.is_active and run.is_of_session) or not self.model.present:
            return
        about = self._request(()).about_results()
        if about != self._seen:
            self._seen = about
            self.model.forget_states()
            self._read_states()
        request = self._request(self.model.chosen)
        problem = self.form.problem or self._session.output_problem
        if request.pairs and not problem:
            self._session.jobs.start(
                check_request,
                title="estimating memory and disk",
                on_result=self._on_needs,
                on_error=self._on_no_needs,
                newest="batch needs",
                show_progress=False,
                request=request,
            )
        else:
            self._session.jobs.cancel("batch needs")
            self.say_needs("")

    def _read_states(self) -> None:
        if not self.model.present:
            return
        self._session.jobs.start(
            read_states,
            title="looking at the results on disk",
            on_sent=self._on_state,
            on_error=self.message.error,
            newest="batch states",
            show_progress=False,
            request=self._request(self.model.present),
        )

    def _on_state(self, sent: tuple[Pair, StoredState]) -> None:
        self.model.set_state(*sent)
        if sent[0] == self.table.current:
            self.explain()

    def _on_needs(self, found: Any) -> None:
        _, needs = found
        is_fine = needs.level == "enough" and not needs.not_estimated
        self.say_needs(needs_words(needs), "" if is_fine else _TIGHT)

    def _on_no_needs(self, text: str) -> None:
        # What is wrong with the results folder is told beside the table already.
        self.say_needs("" if text == self._session.output_problem else text, _TIGHT)

    def _look_again(self) -> None:
        """Look anew at both folders."""
        self._session.look_at_output()
        self._folder.look_again()

    def _on_busy(self, busy: bool) -> None:
        """Look anew at the files when another dock has run a pair, or tried to."""
        if busy and not self._run.is_active:
            self._elsewhere = (self._session.sample, self._session.dye)
        elif not busy and self._elsewhere is not None:
            self.model.forget_row(self._elsewhere)
            self._elsewhere = None
            self._read_states()
        self._update()

    # How a batch goes on -----------------------------------------------------

    def _on_run(self) -> None:
        """Show how far the batch is."""
        run, board = self._run, self._run.board
        if run.is_running and board is not None:
            if run.is_of_session:
                self.model.set_rows(board.rows)
            words = progress_words(board, is_stopping=run.is_stopping)
            self.show_progress(board.fraction, words)
            self.explain()
            self.say_needs("")
        elif run.is_active:
            self.show_progress(0.0, "Checking files, memory and disk …")
        else:
            self.hide_progress()
            if self.message.text == _STILL_ENDING:
                self.message.clear()
            if self._has_missed:
                self._has_missed = False
                self._on_folder()
        self._update()

    def _on_ended(self) -> None:
        run, board, request = self._run, self._run.board, self._run.request
        if board is not None and request is not None and run.is_of_session:
            self.model.end_rows(board.rows)
            self._seen = request.about_results()
            if board.results:
                self.outcome.show_results(
                    board.results, board.elapsed, stopped=run.was_stopped
                )
                self.go_to_outcome()
                ran = {(one["sample"], one["dye"]) for one in board.results}
                self._opener.renew(request, ran)
        self._read_states()
        self._ask_disk()

    # Coming and going --------------------------------------------------------

    def close_down(self) -> None:
        """Stop the batch; its worker processes end."""
        if not self._is_closed:
            self._pause.stop()
            self._session.jobs.cancel("batch folder", "batch states", "batch needs")
            self._run.stop()
            super().close_down()

    def _connect(self) -> None:
        session = self._session
        session.source_changed.connect(self._follow_source)
        session.output_checked.connect(self._ask_disk)
        session.jobs.busy_changed.connect(self._on_busy)
        self._folder.changed.connect(self._on_folder)
        self.raw.chosen.connect(self._folder.choose)
        self.output.chosen.connect(self._folder.choose_output)
        self.again.clicked.connect(lambda: self._look_again())
        self.every.clicked.connect(lambda: self.model.choose(self.model.pairs))
        self.none.clicked.connect(lambda: self.model.choose(self.model.pairs, False))
        self.undone.clicked.connect(lambda: self._choose_undone())
        self.model.chosen_changed.connect(self._ask_disk)
        self.form.changed.connect(self._ask_disk)
        self.table.current_changed.connect(self.explain)
        self.table.opened.connect(self.open_result)
        self.opens.clicked.connect(lambda: self.open_result(self.table.current))
        self._opener.changed.connect(self.back.setVisible)
        self.back.clicked.connect(lambda: self._opener.go_back())
        self.outcome.chosen.connect(self.table.go_to)
        self.question.accepted.connect(self._run.go_on)
        self.start.clicked.connect(lambda: self.run())
        self.abort.clicked.connect(lambda: self._run.stop())
        self._run.changed.connect(self._on_run)
        self._run.asked.connect(self.question.ask)
        self._run.refused.connect(self.message.error)
        self._run.ended.connect(self._on_ended)
        self.add_copies(self.copy_python, self.copy_command_line)

    def _follow_source(self) -> None:
        """Show the folders that the session works on."""
        session = self._session
        self.raw.show_folder(session.raw_dir)
        self.output.show_folder(session.output_dir)
        folders = (session.raw_dir, session.output_dir)
        if folders != self._folders and not self._run.is_running:
            self.outcome.clear()  # it told of the pairs of other folders
        self._folders = folders
        if self._found is not None and self._found.raw_dir != session.raw_dir:
            self._found = None
            self.model.show_folder(FolderPairs(session.raw_dir or Path()))
        self._ask_disk()

    def _update(self, *_: object) -> None:
        """Enable what can be done now, and say why where it cannot."""
        run, jobs = self._run, self._session.jobs
        self.set_busy(jobs.is_busy or run.is_active, fixed=run.is_active)
        problem = self._why_not()
        count = count_words(len(self.model.chosen))
        self.start.setText(f"Run {count}" if self.model.chosen else "Run")
        self.start.setEnabled(not problem)
        self.start.setToolTip(
            literal(problem) or f"Run {count}; what is valid already is not made again."
        )
        self.abort.setEnabled(run.is_active and not run.is_stopping)
        self.say_chosen(problem if not run.is_active else "")
        if run.is_active:
            self.question.clear()
