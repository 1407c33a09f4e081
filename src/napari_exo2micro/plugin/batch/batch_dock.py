"""The batch dock: many samples and dyes run in one go, each seen in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QSize, QTimer

from napari_exo2micro.core.stored_state import StoredState
from napari_exo2micro.plugin.batch.batch_layout import BatchLayout
from napari_exo2micro.plugin.batch.batch_request import (
    BatchRequest,
    FolderPairs,
    Pair,
    check_request,
    look_over,
    read_states,
)
from napari_exo2micro.plugin.batch.batch_run import BatchRun
from napari_exo2micro.plugin.batch.batch_words import (
    count_words,
    needs_words,
    progress_words,
)
from napari_exo2micro.plugin.batch.result_opener import ResultOpener
from napari_exo2micro.plugin.message import STYLES
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.workbench.raw_folder import RawFolder

__all__ = ["BatchDock"]

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
        session = Session.of(napari_viewer)
        super().__init__(session)
        Session.of(napari_viewer, widget=self)
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
        from napari_exo2micro.core.batch_recipes import batch_as_python

        self._copy(batch_as_python, "Copied: Python for {}.")

    def copy_command_line(self) -> None:
        """Put the command line that runs the batch on the clipboard."""
        from napari_exo2micro.core.batch_recipes import batch_as_command_line

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
            self.raw.keep()
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
