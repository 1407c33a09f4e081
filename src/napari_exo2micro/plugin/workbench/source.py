"""What is worked on: raw folder, sample, dye, and where the results go."""

from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy import QtWidgets
from qtpy.QtCore import Qt
from superqt.utils import signals_blocked

from napari_exo2micro.core.parameters import State
from napari_exo2micro.core.raw import ChannelSurvey, survey_raw_channels
from napari_exo2micro.core.store import CheckpointStatus
from napari_exo2micro.plugin.files import sample_data
from napari_exo2micro.plugin.layers.layers import LayerSpec
from napari_exo2micro.plugin.layers.presenter import presenter_of
from napari_exo2micro.plugin.session.raw_folder import (
    RawFolder,
    RawOverview,
    take_source,
)
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.session.settings import recent, remember
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal
from napari_exo2micro.plugin.workbench.pairs import PairsWindow
from napari_exo2micro.plugin.workbench.picture import PictureOfChoice

#: The style of words that deserve care.
TROUBLE = controls.label_style("warning")
#: How much of what was left out is told.
_MOST = 12
_FORMATS = {"TIFF and FITS": "both", "TIFF": "tiff", "FITS": "fits"}
_HEADERS = ("file", "size, px", "type", "channel", "mean", "maximum", "not 0")
_NUMBERS_FROM = 4
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_START = (
    "Start here: choose the folder of your raw images (it holds one folder for each "
    "sample), or try it with a simulated section."
)
#: Wide enough for the simulated section, px; the default is for large images.
_MARGIN = 400


def _folding(parent: QtWidgets.QWidget, name: str, tip: str) -> QtWidgets.QToolButton:
    """Return a button with an arrow, which shows and hides something."""
    made = QtWidgets.QToolButton(parent)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setCheckable(True)
    made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    made.setArrowType(Qt.ArrowType.RightArrow)
    arrows = Qt.ArrowType.RightArrow, Qt.ArrowType.DownArrow
    made.toggled.connect(lambda shown: made.setArrowType(arrows[shown]))
    return made


class OverviewView(QtWidgets.QWidget):
    """Shows a `RawOverview`: how much there is, and on demand what was left out."""

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("raw_overview")
        self._words = controls.WordsLabel("raw_words", self)
        self._why = _folding(
            self, "show_left_out", "Show what cannot be used, and why."
        )
        self._details = controls.WordsLabel("left_out", self)
        self._left_out = ""
        self._why.toggled.connect(self._show_details)
        controls.column(self._words, self._why, self._details, parent=self, margin=0)
        self.say("", RawOverview(Path()))

    def say(self, text: str, overview: RawOverview, *, is_odd: bool = False) -> None:
        """Show a text on a folder, and what was left out of it."""
        self._words.say(text, TROUBLE if is_odd else "")
        troubles = overview.troubles
        more = len(troubles) - _MOST
        shown = (*troubles[:_MOST], *([f"and {more} more"] if more > 0 else []))
        self._left_out = "\n\n".join(shown)
        self._why.setText(f"{len(troubles)} left out or odd: why?")
        self._why.setVisible(bool(troubles))
        self._show_details(self._why.isChecked())

    def _show_details(self, shown: bool) -> None:
        self._details.say(self._left_out if shown else "")


class SourceFields(QtWidgets.QWidget):
    """Sample and dye in one line, and the folders below it, which fold."""

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("source_fields")
        tip = "The sample: a folder in the raw folder."
        self.sample = controls.combo_box(self, "sample", tip)
        tip = "The dye: what the file names end in."
        self.dye = controls.combo_box(self, "dye", tip)
        tip = "Show or hide where the images are and results go."
        self.toggle = _folding(self, "show_folders", tip)
        self.toggle.setText("Folders")
        self.raw = controls.FolderField(
            "raw_dir",
            "raw folder",
            "The folder that holds one folder for each sample, and in each of these "
            "a pre-stain and a post-stain TIFF for each dye.",
            self,
        )
        tip = "Where the results go, in a folder for each sample and dye."
        self.output = controls.FolderField("output_dir", "results folder", tip, self)
        tip = "The file format of the images that each stage leaves."
        self.format = controls.combo_box(self, "checkpoint_format", tip, _FORMATS)
        self.words = OverviewView(self)
        self.output_note, self.stale_note, self.other_note, self.start_hint = (
            controls.WordsLabel(name, self)
            for name in ("output_note", "stale_note", "other_note", "start_hint")
        )
        tip = "Show size, type and brightness of each channel of the raw files."
        self.channels = controls.button(self, "channels", "Channels…", tip)
        tip = "Look for samples and dyes anew: files may have come."
        self.again = controls.button(self, "look_again", "Look again", tip)
        tip = "Make pairs of files that have any names."
        self.pairs = controls.button(self, "make_pairs", "Pairs…", tip)
        self.simulated = controls.button(
            self,
            "try_simulated",
            "Try it with a simulated section",
            "Make a small pair of images with microbes at known places, in a "
            "temporary folder, to try everything on.",
        )
        self.pair = QtWidgets.QWidget(self)
        controls.row((self.sample, 3), (self.dye, 2), parent=self.pair, margin=0)
        # Shown once there is a folder: at first there is one thing to do.
        self.further = QtWidgets.QWidget(self)
        controls.column(
            self.words,
            controls.row(self.again, self.channels, self.pairs),
            controls.labelled("Results in", self.output),
            self.output_note,
            controls.labelled("Written as", self.format),
            parent=self.further,
            margin=0,
        )
        folders = QtWidgets.QWidget(self)
        controls.column(
            self.start_hint,
            controls.labelled("Raw folder", self.raw),
            self.further,
            self.simulated,
            parent=folders,
            margin=0,
        )
        folders.setVisible(False)
        self.toggle.toggled.connect(folders.setVisible)
        controls.column(
            controls.row((self.pair, 1), self.toggle),
            folders,
            self.stale_note,
            self.other_note,
            parent=self,
            margin=0,
        )


class ChannelSurveyWindow(QtWidgets.QDialog):
    """A table of the raw files: size, type and brightness of each channel.

    A centre of 1000 x 1000 px of each is read in the background; without a sample all
    are looked at.
    """

    def __init__(
        self, session: Session, parent: QtWidgets.QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("channel_survey")
        what = session.sample or "all samples"
        self.setWindowTitle(f"Channels of the raw files of {what}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(760, 320)
        self._words = controls.WordsLabel("survey_words", self)
        self._words.setText(f"Looking at the raw files of {what} …")
        self._words.show()
        self._table = QtWidgets.QTableWidget(0, len(_HEADERS), self)
        self._table.setObjectName("survey_table")
        self._table.setHorizontalHeaderLabels(list(_HEADERS))
        self._table.setEditTriggers(self._table.EditTrigger.NoEditTriggers)
        self._table.setSelectionBehavior(self._table.SelectionBehavior.SelectRows)
        controls.column(self._words, (self._table, 1), parent=self)
        self._is_looking = True
        self._job = session.jobs.start(
            survey_raw_channels,
            title="looking at the channels of the raw files",
            on_result=self._fill,
            on_error=self._on_error,
            on_finished=self._on_finished,
            newest="channel survey",
            raw_dir=session.raw_dir,
            samples=[session.sample] if session.sample else None,
        )
        self.finished.connect(self._job.cancel)

    def _on_error(self, text: str) -> None:
        self._is_looking = False
        self._words.setText(f"The channels cannot be shown: {text}")

    def _on_finished(self) -> None:
        if self._is_looking:
            self._words.setText(
                "Stopped before the files were read. Close this window and press "
                "'Channels…' to look again."
            )

    def _fill(self, files: Sequence[ChannelSurvey]) -> None:
        self._is_looking = False
        lines = [line for file in files for line in _rows(file)]
        self._table.setRowCount(len(lines))
        for index, line in enumerate(lines):
            for number, text in enumerate(line):
                item = QtWidgets.QTableWidgetItem(text)
                item.setToolTip(literal(text))
                if number >= _NUMBERS_FROM:
                    item.setTextAlignment(_RIGHT)
                self._table.setItem(index, number, item)
        self._table.resizeColumnsToContents()
        header = self._table.horizontalHeader()
        assert header is not None
        header.setSectionResizeMode(0, header.ResizeMode.Stretch)
        troubles = [
            f"{file.path.name}: {text}" if file.path.name not in text else text
            for file in files
            for text in (file.problem, *file.warnings)
            if text
        ]
        count = f"{len(files)} files, the centre of each was looked at."
        self._words.setText("\n".join([count, *troubles]))


def _rows(file: ChannelSurvey) -> list[tuple[str, ...]]:
    """Return a row for each channel; what concerns the file stands in the first."""
    size = f"{file.width} × {file.height}" if file.width else "cannot be read"
    head: tuple[str, ...] = (file.path.name, size, file.mode)
    if not file.channels:
        return [(*head, "", "", "", "")]
    area = max(file.crop[0] * file.crop[1], 1)
    rows = []
    for channel in file.channels:
        share = f"{100 * channel.nonzero / area:.0f} %"
        figures = f"{channel.mean:.2f}", f"{channel.maximum:g}", share
        rows.append((*head, channel.name, *figures))
        head = ("", "", "")
    return rows


class SourcePanel(QtWidgets.QWidget):
    """Chooses the raw folder, the sample and the dye, and where results go."""

    def __init__(
        self,
        session: Session,
        message: Callable[[str], None] | None = None,
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._simulated_in: Path | None = None
        self.setObjectName("source_panel")
        self._session = session
        self._message = message
        self._folder = RawFolder.of(session)
        PictureOfChoice.of(session).follow(self)
        self._fields = SourceFields(self)
        controls.column(self._fields, parent=self, margin=0)
        self._connect()
        for field in (self._fields.raw, self._fields.output):
            field.offer(recent(field.kind))
        self._follow()
        self._on_look()
        self._on_status(session.status)
        self._on_busy()

    @property
    def overview(self) -> RawOverview | None:
        """What the raw folder holds; None before one was looked at."""
        return self._folder.overview

    def choose_raw_dir(self, folder: Path | str) -> None:
        """Take another raw folder and look for its samples and dyes."""
        self._folder.choose(Path(folder))

    def survey_channels(self) -> None:
        """Show what the channels of the sample's raw files hold; of all without one."""
        if self._session.raw_dir is not None:
            ChannelSurveyWindow(self._session, self).show()

    def make_pairs(self) -> None:
        """Show a window where files of any names are made into pairs."""
        if self._session.raw_dir is not None:
            PairsWindow(self._session, self._folder.look_again, self).show()

    def try_simulated(self) -> None:
        """Make a simulated section, show it and work on it."""
        self._fields.simulated.setEnabled(False)
        self._session.jobs.start(
            sample_data.section_specs,
            title="making a simulated section",
            on_result=self._on_simulated,
            on_error=self._message,
            on_finished=self._on_busy,
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
        presenter_of(session.viewer).place_stage(1, specs)

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
        with signals_blocked(fields.format):
            chosen = fields.format.findData(session.checkpoint_format)
            fields.format.setCurrentIndex(chosen)
        has_folder = session.raw_dir is not None or bool(session.sample)
        fields.further.setVisible(has_folder)
        self._on_output(session.output_problem)
        fields.start_hint.say("" if session.has_source else _START)
        fields.toggle.setVisible(session.has_source)
        self._say_overview()
        if not session.has_source:
            fields.toggle.setChecked(True)

    def _on_output(self, problem: str) -> None:
        """Say why results cannot go to their folder, where that is so."""
        self._fields.output_note.say(problem, TROUBLE)
        if problem:
            self._fields.toggle.setChecked(True)

    def _on_look(self) -> None:
        """Show what the folder holds; fold when there is nothing more to choose."""
        self._say_overview()
        overview = self._folder.overview
        if overview is not None and overview.pairs:
            field = self._fields.raw
            field.offer(remember(field.kind, overview.raw_dir.absolute()))
        if self._folder.looking is None:
            problem = self._session.output_problem or (overview and overview.problem)
            is_chosen = self._session.has_source and not problem
            self._fields.toggle.setChecked(not is_chosen)

    def _say_overview(self) -> None:
        """Offer the samples and dyes; what is chosen elsewhere is among them."""
        session, fields, looking = self._session, self._fields, self._folder.looking
        overview = self._folder.overview or RawOverview(Path())
        samples, dyes = overview.samples, overview.dyes(session.sample)
        text = overview.in_words() if self._folder.overview else ""
        is_odd = bool(overview.problem)
        if looking is not None:
            text = f"Looking into {looking} …"
            is_odd = False
        # A dye may be asked for with what stands before its last underscore.
        elif samples and session.sample and session.dye.rpartition("_")[2] not in dyes:
            text += f"; {session.sample} / {session.dye} is not among them"
            is_odd = True
        fields.words.say(text, overview, is_odd=is_odd)
        for combo, names, chosen in (
            (fields.sample, samples, session.sample),
            (fields.dye, dyes, session.dye),
        ):
            known = [*names, chosen] if chosen and chosen not in names else names
            with signals_blocked(combo):
                controls.refill(combo, known)
                combo.setCurrentIndex(combo.findText(chosen) if chosen else -1)
        fields.pair.setVisible(bool(samples or session.sample))

    def _on_status(self, lines: Sequence[CheckpointStatus]) -> None:
        """Tell when the results in the folder do not belong to the raw files."""
        stale = [x for x in lines if x.stage == 1 and x.state == State.STALE]
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

    def _on_busy(self, _busy: bool = False) -> None:
        """Let the source be while a run writes results for it."""
        fields, is_busy = self._fields, self._session.jobs.is_busy
        choices = fields.sample, fields.dye, fields.raw, fields.output, fields.format
        for field in (*choices, fields.simulated):
            field.setEnabled(not is_busy)

    def _connect(self) -> None:
        fields, session = self._fields, self._session
        fields.sample.currentIndexChanged.connect(self._choose_sample)
        fields.dye.currentIndexChanged.connect(self._choose_dye)
        fields.format.currentIndexChanged.connect(self._choose_format)
        fields.raw.chosen.connect(self.choose_raw_dir)
        fields.output.chosen.connect(self._folder.choose_output)
        # `clicked` brings whether it is checked; the methods take nothing.
        fields.again.clicked.connect(lambda: self._folder.look_again())
        fields.channels.clicked.connect(lambda: self.survey_channels())
        fields.pairs.clicked.connect(lambda: self.make_pairs())
        fields.simulated.clicked.connect(lambda: self.try_simulated())
        self._folder.changed.connect(self._on_look)
        self._folder.other_opened.connect(self._on_other)
        session.source_changed.connect(self._on_source)
        session.output_checked.connect(self._on_output)
        session.status_changed.connect(self._on_status)
        session.jobs.busy_changed.connect(self._on_busy)

    def _choose_sample(self, _index: int) -> None:
        sample, dye = self._fields.sample.currentText(), self._session.dye
        if not sample or self._folder.overview is None:
            return
        dyes = self._folder.overview.dyes(sample)
        other = next(iter(dyes), "")
        self._session.set_source(sample=sample, dye=dye if dye in dyes else other)

    def _choose_dye(self, _index: int) -> None:
        self._session.set_source(dye=self._fields.dye.currentText())

    def _choose_format(self, _index: int) -> None:
        chosen = str(self._fields.format.currentData())
        self._session.set_source(checkpoint_format=chosen)
