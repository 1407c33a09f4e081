"""What is worked on: raw folder, sample, dye, and where the results go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.folders import output_problem
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.channel_survey import ChannelSurveyWindow
from napari_exo2micro.plugin.folder_field import FolderField
from napari_exo2micro.plugin.front_layers import place_stage
from napari_exo2micro.plugin.layer_source import LayerSource, take_source
from napari_exo2micro.plugin.layers import LayerSpec
from napari_exo2micro.plugin.overview_view import TROUBLE, OverviewView, words_label
from napari_exo2micro.plugin.raw_overview import RawOverview, look_into
from napari_exo2micro.plugin.session import Session

if TYPE_CHECKING:
    from napari_exo2micro.core.checkpoint import CheckpointStatus

__all__ = ["SourcePanel"]

_START = (
    "Start here: choose the folder of your raw images (it holds one folder for each "
    "sample), or try it with a simulated section."
)
_FORMATS = {"both": "TIFF and FITS", "tiff": "TIFF", "fits": "FITS"}


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
        self.setObjectName("source_panel")
        self._session = session
        self._message = message
        self._overview: RawOverview | None = None
        self._looking: Path | None = None
        self._survey: ChannelSurveyWindow | None = None
        self._own_output = session.output_dir != Path("processed")
        # Whether a person chose the pair, or it was only the first one there.
        self._is_chosen = session.has_source
        self._make_fields()
        self._arrange()
        session.source_changed.connect(self._follow)
        session.status_changed.connect(self._on_status)
        session.jobs.busy_changed.connect(self._on_busy)
        self._layers = LayerSource(session, lambda: not self._is_chosen, self)
        self._follow()
        self._on_status(session.status)
        self._on_busy(session.jobs.is_busy)
        self.set_folded(session.has_source)
        self._layers.look()

    # What it does ----------------------------------------------------------------

    @property
    def overview(self) -> RawOverview | None:
        """What the raw folder holds; None before one was looked at."""
        return self._overview

    def choose_raw_dir(self, folder: Path | str) -> None:
        """Take another raw folder and look for its samples and dyes."""
        folder = Path(folder)
        output = None
        if not self._own_output:
            output = folder.absolute().parent / "processed"
        self._session.set_source(raw_dir=folder, output_dir=output, sample="", dye="")
        self.look_again()

    def choose_output_dir(self, folder: Path | str) -> None:
        """Take another folder for the results."""
        self._own_output = True
        self._session.set_source(output_dir=folder)

    def look_again(self) -> None:
        """Look into the raw folder anew: files may have come."""
        folder = self._session.raw_dir
        if folder is None:
            return
        self._looking = folder
        self._words.say_looking(folder)
        self._session.jobs.start(
            look_into,
            title=f"looking into {folder}",
            on_result=self._on_look,
            on_error=self._on_look_failed,
            newest="raw folder",
            show_progress=False,
            raw_dir=folder,
        )

    def try_simulated(self) -> None:
        """Make a simulated section, show it and work on it."""
        self._try.setEnabled(False)
        self._session.jobs.start(
            _simulate,
            title="making a simulated section",
            on_result=self._on_simulated,
            on_error=self._message,
            on_finished=self._on_no_longer_busy,
            newest="simulated section",
        )

    def survey_channels(self) -> None:
        """Show what the channels of the sample's raw files hold; of all without one."""
        if self._session.raw_dir is not None:
            self._survey = ChannelSurveyWindow(self._session, self._message, self)
            self._survey.show()

    def set_folded(self, folded: bool) -> None:
        """Show the folders, or only the sample and the dye."""
        self._toggle.setChecked(not folded)

    # What others say -------------------------------------------------------------

    def _on_look(self, found: RawOverview) -> None:
        self._overview, self._looking = found, None
        if found.pairs:
            self._raw.keep()
        now = (self._session.sample, self._session.dye)
        if found.pairs and now not in found.pairs and not now[0]:
            sample, dye = found.pairs[0]
            self._session.set_source(sample=sample, dye=dye)
        self._fill_names()
        self._words.say(found, self._session.sample, self._session.dye)
        self.set_folded(self._session.has_source and not found.problem)

    def _on_look_failed(self, text: str) -> None:
        folder = self._session.raw_dir or Path()
        self._on_look(RawOverview(folder, problem=text))

    def _on_simulated(self, made: Sequence[Any]) -> None:
        specs = [LayerSpec(*layer) for layer in made]
        self._is_chosen = True
        for spec in specs:
            if take_source(self._session, spec.about):
                break
        place_stage(self._session.viewer, 1, specs)

    def _follow(self) -> None:
        """Show what the session works on."""
        session = self._session
        self._raw.show_folder(session.raw_dir)
        self._output.show_folder(session.output_dir)
        with QSignalBlocker(self._format):
            self._format.setCurrentIndex(
                max(self._format.findData(session.checkpoint_format), 0)
            )
        problem = output_problem(session.output_dir, session.raw_dir)
        self._output_note.setText(problem)
        self._output_note.setVisible(bool(problem))
        seen = self._overview.raw_dir if self._overview else None
        if session.raw_dir not in (None, seen, self._looking):
            self._overview = None
            self.look_again()
        self._fill_names()
        self._start.setVisible(not session.has_source)
        self._try.setDefault(not session.has_source)
        if problem:
            self.set_folded(False)

    def _on_status(self, lines: Sequence[CheckpointStatus]) -> None:
        """Tell when the results in the folder do not belong to the raw files."""
        stale = [one for one in lines if one.stage == 1 and one.state == "stale"]
        if stale:
            folder = stale[0].path.parent.parent
            self._stale.setText(
                f"The results in {folder} do not fit: {stale[0].reason}. "
                "A run makes them again; to keep them, choose another results folder."
            )
        self._stale.setVisible(bool(stale))

    def _on_no_longer_busy(self) -> None:
        self._on_busy(self._session.jobs.is_busy)

    def _on_busy(self, busy: bool) -> None:
        """Let the source be while a run writes results for it."""
        for one in (self._sample, self._dye, self._raw, self._output, self._format):
            one.setEnabled(not busy)
        self._try.setEnabled(not busy)

    # What a person does ----------------------------------------------------------

    def _choose_sample(self, _index: int) -> None:
        sample = self._sample.currentText()
        if not sample or self._overview is None:
            return
        dyes = self._overview.dyes(sample)
        dye = self._session.dye if self._session.dye in dyes else (dyes or [""])[0]
        self._is_chosen = True
        self._session.set_source(sample=sample, dye=dye)

    def _choose_dye(self, _index: int) -> None:
        self._is_chosen = True
        self._session.set_source(dye=self._dye.currentText())

    def _choose_format(self, _index: int) -> None:
        self._session.set_source(checkpoint_format=str(self._format.currentData()))

    # How it looks ----------------------------------------------------------------

    def _fill_names(self) -> None:
        """Offer the samples and dyes; what is chosen elsewhere is among them."""
        found, session = self._overview, self._session
        samples = found.samples if found else []
        dyes = found.dyes(session.sample) if found else []
        for combo, names, chosen in (
            (self._sample, samples, session.sample),
            (self._dye, dyes, session.dye),
        ):
            known = [*names, chosen] if chosen and chosen not in names else names
            with QSignalBlocker(combo):
                if [combo.itemText(i) for i in range(combo.count())] != known:
                    combo.clear()
                    combo.addItems(known)
                combo.setCurrentIndex(combo.findText(chosen) if chosen else -1)
        self._pair.setVisible(bool(samples or session.sample))

    def _show_folders(self, shown: bool) -> None:
        self._folders.setVisible(shown)
        self._toggle.setArrowType(
            Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        )

    def _make_fields(self) -> None:
        self._sample = self._combo(
            "sample", "The sample: a folder in the raw folder.", self._choose_sample
        )
        self._dye = self._combo(
            "dye", "The dye: what the file names end in.", self._choose_dye
        )
        self._toggle = QToolButton(self)
        self._toggle.setObjectName("show_folders")
        self._toggle.setText("Folders")
        self._toggle.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._toggle.setCheckable(True)
        self._toggle.setToolTip("Show or hide where the images are and results go.")
        self._toggle.toggled.connect(self._show_folders)
        self._raw = FolderField(
            "raw_dir",
            "raw folder",
            "The folder that holds one folder for each sample, and in each of these "
            "a pre-stain and a post-stain TIFF for each dye.",
            self,
        )
        self._raw.chosen.connect(self.choose_raw_dir)
        self._output = FolderField(
            "output_dir",
            "results folder",
            "Where the results go, in a folder for each sample and dye.",
            self,
        )
        self._output.chosen.connect(self.choose_output_dir)
        self._format = self._combo(
            "checkpoint_format",
            "The file format of the images that each stage leaves.",
            self._choose_format,
        )
        for value, words in _FORMATS.items():
            self._format.addItem(words, value)
        self._words = OverviewView(self)
        self._output_note = words_label("output_note", self, TROUBLE)
        self._stale = words_label("stale_note", self, TROUBLE)
        self._start = words_label("start_hint", self)
        self._start.setText(_START)
        self._channels = QPushButton("Channels…", self)
        self._channels.setObjectName("channels")
        self._channels.setToolTip(
            "Show size, type and brightness of each channel of the raw files."
        )
        self._channels.clicked.connect(lambda: self.survey_channels())
        self._again = QPushButton("Look again", self)
        self._again.setObjectName("look_again")
        self._again.setToolTip("Look for samples and dyes anew: files may have come.")
        self._again.clicked.connect(lambda: self.look_again())
        self._try = QPushButton("Try it with a simulated section", self)
        self._try.setObjectName("try_simulated")
        self._try.setToolTip(
            "Make a small pair of images with microbes at known places, in a "
            "temporary folder, to try everything on."
        )
        self._try.clicked.connect(lambda: self.try_simulated())

    def _arrange(self) -> None:
        self._pair = QWidget(self)
        pair = QHBoxLayout(self._pair)
        pair.setContentsMargins(0, 0, 0, 0)
        pair.addWidget(self._sample, 3)
        pair.addWidget(self._dye, 2)
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self._pair, 1)
        head.addWidget(self._toggle)
        buttons = QHBoxLayout()
        buttons.addWidget(self._again)
        buttons.addWidget(self._channels)
        self._folders = QWidget(self)
        form = QFormLayout(self._folders)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(self._start)
        form.addRow("Raw folder", self._raw)
        form.addRow(self._words)
        form.addRow(buttons)
        form.addRow("Results in", self._output)
        form.addRow(self._output_note)
        form.addRow("Written as", self._format)
        form.addRow(self._try)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self._folders)
        layout.addWidget(self._stale)
        self._show_folders(False)

    def _combo(
        self, name: str, tooltip: str, chosen: Callable[[int], None]
    ) -> QComboBox:
        combo = QComboBox(self)
        combo.setObjectName(name)
        combo.setToolTip(tooltip)
        combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        combo.currentIndexChanged.connect(chosen)
        return combo


def _simulate(monitor: Monitor) -> list[Any]:
    """Return the layers of a simulated section."""
    from napari_exo2micro.plugin.sample_data import simulated_section

    monitor.check()
    return list(simulated_section())
