"""What is worked on: raw folder, sample, dye, and where the results go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.front_layers import place_stage
from napari_exo2micro.plugin.layers import LayerSpec
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.workbench.channel_survey import ChannelSurveyWindow
from napari_exo2micro.plugin.workbench.overview_view import TROUBLE
from napari_exo2micro.plugin.workbench.raw_folder import RawFolder, take_source
from napari_exo2micro.plugin.workbench.raw_overview import RawOverview
from napari_exo2micro.plugin.workbench.source_fields import SourceFields

if TYPE_CHECKING:
    from napari_exo2micro.core.checkpoint import CheckpointStatus

__all__ = ["SourcePanel"]

_START = (
    "Start here: choose the folder of your raw images (it holds one folder for each "
    "sample), or try it with a simulated section."
)
#: Wide enough for the simulated section, px; the default is for large images.
_MARGIN = 400


class SourcePanel(QWidget):
    """Chooses the raw folder, the sample and the dye, and where results go.

    Parameters
    ----------
    session : Session
        Gets what is chosen, and is followed where another dock chooses.
    message : callable, optional
        Takes the text of an error; without it napari shows a notification.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self,
        session: Session,
        message: Callable[[str], None] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._simulated_in: Path | None = None
        self.setObjectName("source_panel")
        self._session = session
        self._message = message
        self._folder = RawFolder.of(session)
        self._fields = SourceFields(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._fields)
        self._connect()
        self._follow()
        self._on_look()
        self._on_status(session.status)
        self._on_busy(session.jobs.is_busy)

    # What it does ----------------------------------------------------------------

    @property
    def overview(self) -> RawOverview | None:
        """What the raw folder holds; None before one was looked at."""
        return self._folder.overview

    def choose_raw_dir(self, folder: Path | str) -> None:
        """Take another raw folder and look for its samples and dyes."""
        self._folder.choose(Path(folder))

    def choose_output_dir(self, folder: Path | str) -> None:
        """Take another folder for the results."""
        self._folder.choose_output(Path(folder))

    def set_folded(self, folded: bool) -> None:
        """Show the folders, or only the sample and the dye."""
        self._fields.set_folded(folded)

    def survey_channels(self) -> None:
        """Show what the channels of the sample's raw files hold; of all without one."""
        if self._session.raw_dir is not None:
            ChannelSurveyWindow(self._session, self).show()

    def try_simulated(self) -> None:
        """Make a simulated section, show it and work on it."""
        self._fields.simulated.setEnabled(False)
        self._session.jobs.start(
            _simulate,
            title="making a simulated section",
            on_result=self._on_simulated,
            on_error=self._message,
            on_finished=self._on_idle,
            newest="simulated section",
        )

    def _on_simulated(self, specs: Sequence[LayerSpec]) -> None:
        session = self._session
        if session.jobs.is_busy:
            return  # a run began meanwhile: its source stays
        for spec in specs:
            if take_source(session, spec.about):
                break
        if not session.non_default_params():
            session.set_params(pad=_MARGIN)
            self._simulated_in = session.raw_dir
        place_stage(session.viewer, 1, specs)

    # What others say -------------------------------------------------------------

    def _on_source(self) -> None:
        self._fields.other_note.say("")
        if not self._folder.is_automatic:
            # A person chose something else than the section that is being made.
            self._session.jobs.cancel("simulated section")
        self._follow()

    def _follow(self) -> None:
        """Show what the session works on."""
        session, fields = self._session, self._fields
        if self._simulated_in not in (None, session.raw_dir):
            # The narrow margin was for the simulated section only.
            self._simulated_in = None
            if session.params["pad"] == _MARGIN:
                session.reset_params("pad")
        fields.raw.show_folder(session.raw_dir)
        fields.output.show_folder(session.output_dir)
        with QSignalBlocker(fields.format):
            fields.format.setCurrentIndex(
                max(fields.format.findData(session.checkpoint_format), 0)
            )
        has_folder = session.raw_dir is not None or bool(session.sample)
        fields.further.setVisible(has_folder)
        self._on_output(session.output_problem)
        fields.start_hint.say("" if session.has_source else _START)
        fields.toggle.setVisible(session.has_source)
        self._say_overview()
        if not session.has_source:
            self.set_folded(False)

    def _on_output(self, problem: str) -> None:
        """Say why results cannot go to their folder, where that is so."""
        self._fields.output_note.say(problem, TROUBLE)
        if problem:
            self.set_folded(False)

    def _on_look(self) -> None:
        """Show what the folder holds; fold when there is nothing more to choose."""
        self._say_overview()
        found = self._folder.overview
        if found is not None and found.pairs:
            self._fields.raw.keep()
        if self._folder.looking is None:
            problem = self._session.output_problem or (found and found.problem)
            self.set_folded(self._session.has_source and not problem)

    def _say_overview(self) -> None:
        """Offer the samples and dyes; what is chosen elsewhere is among them."""
        session, fields, found = self._session, self._fields, self._folder.overview
        if self._folder.looking is not None:
            fields.words.say_looking(self._folder.looking)
        else:
            fields.words.say(found, session.sample, session.dye)
        samples = found.samples if found else []
        dyes = found.dyes(session.sample) if found else []
        for combo, names, chosen in (
            (fields.sample, samples, session.sample),
            (fields.dye, dyes, session.dye),
        ):
            known = [*names, chosen] if chosen and chosen not in names else names
            with QSignalBlocker(combo):
                if [combo.itemText(i) for i in range(combo.count())] != known:
                    combo.clear()
                    combo.addItems(known)
                combo.setCurrentIndex(combo.findText(chosen) if chosen else -1)
        fields.pair.setVisible(bool(samples or session.sample))

    def _on_status(self, lines: Sequence[CheckpointStatus]) -> None:
        """Tell when the results in the folder do not belong to the raw files."""
        stale = [one for one in lines if one.stage == 1 and one.state == "stale"]
        text = ""
        if stale:
            text = (
                f"The results in {stale[0].path.parent.parent} do not fit: "
                f"{stale[0].reason}. A run makes them again; to keep them, choose "
                "another results folder."
            )
        self._fields.stale_note.say(text, TROUBLE)

    def _on_other(self, pair: str) -> None:
        """Tell which pair is worked on when another one was opened in the viewer."""
        session = self._session
        self._fields.other_note.say(
            f"{pair} was opened; the workbench still works on {session.sample} / "
            f"{session.dye}. To work on {pair}, choose its raw folder, sample and dye "
            "above.",
            TROUBLE,
        )

    def _on_busy(self, busy: bool) -> None:
        """Let the source be while a run writes results for it."""
        fields = self._fields
        for one in (fields.sample, fields.dye, fields.raw, fields.output):
            one.setEnabled(not busy)
        fields.format.setEnabled(not busy)
        fields.simulated.setEnabled(not busy)

    def _on_idle(self) -> None:
        self._on_busy(self._session.jobs.is_busy)

    # What a person does ----------------------------------------------------------

    def _connect(self) -> None:
        fields, session = self._fields, self._session
        fields.sample.currentIndexChanged.connect(self._choose_sample)
        fields.dye.currentIndexChanged.connect(self._choose_dye)
        fields.format.currentIndexChanged.connect(self._choose_format)
        fields.raw.chosen.connect(self.choose_raw_dir)
        fields.output.chosen.connect(self.choose_output_dir)
        # `clicked` brings whether it is checked; the methods take nothing.
        fields.again.clicked.connect(lambda: self._folder.look_again())
        fields.channels.clicked.connect(lambda: self.survey_channels())
        fields.simulated.clicked.connect(lambda: self.try_simulated())
        self._folder.changed.connect(self._on_look)
        self._folder.other_opened.connect(self._on_other)
        session.source_changed.connect(self._on_source)
        session.output_checked.connect(self._on_output)
        session.status_changed.connect(self._on_status)
        session.jobs.busy_changed.connect(self._on_busy)

    def _choose_sample(self, _index: int) -> None:
        sample, found = self._fields.sample.currentText(), self._folder.overview
        if not sample or found is None:
            return
        dyes = found.dyes(sample)
        dye = self._session.dye if self._session.dye in dyes else (dyes or [""])[0]
        self._session.set_source(sample=sample, dye=dye)

    def _choose_dye(self, _index: int) -> None:
        self._session.set_source(dye=self._fields.dye.currentText())

    def _choose_format(self, _index: int) -> None:
        chosen = str(self._fields.format.currentData())
        self._session.set_source(checkpoint_format=chosen)


def _simulate(monitor: Monitor) -> list[LayerSpec]:
    """Return the layers of a simulated section."""
    from napari_exo2micro.plugin.files.sample_data import section_specs

    monitor.check()
    return section_specs()
