"""The apply dock: an alignment applied to other layers."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image, Layer
from qtpy import QtWidgets
from qtpy.QtCore import Signal
from superqt.utils import signals_blocked

from napari_exo2micro.core import base, images
from napari_exo2micro.core.alignment import Alignment, Direction
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, STAGES
from napari_exo2micro.plugin.apply.moved_layers import (
    MOVABLE,
    Source,
    move_layer,
    request_for,
)
from napari_exo2micro.plugin.layers.layers import LayerSpec, about, side_of
from napari_exo2micro.plugin.layers.pair import LayerChooser, list_events
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import place_layers
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls

_RESAMPLING = {
    "smooth (cubic)": "cubic",
    "simple (linear)": "linear",
    "sharp (Lanczos)": "lanczos",
}
_JSON = "Alignments (*.json)"


# Which alignment ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlignmentChoice:
    """One line of the list; its owner is (sample, dye), empty where not known."""

    title: str
    alignment: Source
    owner: tuple[str, str] = ("", "")


def alignments_in(layers: list[Layer]) -> list[AlignmentChoice]:
    """Return the alignments of layers, each once, in the order of the layers."""
    choices: dict[tuple[object, ...], AlignmentChoice] = {}
    for layer in layers:
        known = about(layer)
        if not known.get("transform") or "direction" in known:
            continue
        try:
            alignment = Alignment.from_header(known.get("header") or {})
            if alignment is None:
                x, y = (-int(side) for side in reversed(known["canvas_offset"]))
                alignment = Alignment(
                    images.Transform.from_dict(known["transform"]),
                    (x, y, 0, 0),
                    (x, y, 0, 0),
                    str(known.get("sample", "")),
                    str(known.get("dye", "")),
                    int(known.get("stage", 0)),
                )
        except (base.CheckpointError, KeyError, TypeError, ValueError):
            continue
        stage = STAGES.get(alignment.stage)
        what = "alignment" if stage is None else stage.title
        title = f"{alignment.sample} {alignment.dye}: {what}".strip(": ")
        owner = (alignment.sample, alignment.dye)
        key = (owner, alignment.transform)
        choices.setdefault(key, AlignmentChoice(title, alignment, owner))
    return list(choices.values())


class AlignmentChooser(QtWidgets.QComboBox):
    """A list of alignments; what is chosen stays so while layers come and go."""

    #: Another one is chosen.
    chosen = Signal()

    def __init__(self, session: Session, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._choices: list[AlignmentChoice] = []
        self._files: dict[Path, Alignment] = {}
        self.setObjectName("alignment")
        self.setToolTip(
            "Which alignment is applied: one of a layer in the viewer, the result of "
            "the chosen sample and dye, or one from a file"
        )
        self.setSizeAdjustPolicy(
            QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(12)
        self.currentIndexChanged.connect(lambda _: self.chosen.emit())

    @property
    def choice(self) -> AlignmentChoice | None:
        """What is chosen; None when there is nothing to choose from."""
        index = self.currentIndex()
        return self._choices[index] if 0 <= index < len(self._choices) else None

    def load(self, path: Path | str) -> None:
        """Read an alignment from a file and choose it.

        Raises
        ------
        CheckpointError
            When the file holds none.
        """
        path = Path(path)
        self._files[path] = Alignment.load(path)
        self.refresh()
        first = self.count() - len(self._files)  # files stand last
        self.setCurrentIndex(first + list(self._files).index(path))

    def prefer(self, sample: str, dye: str) -> None:
        """Choose an alignment of a layer's sample and dye, if there is one."""
        owners = [choice.owner for choice in self._choices]
        chosen = self.choice
        if not sample or chosen is None or chosen.owner == (sample, dye):
            return
        if "" not in chosen.owner and (sample, dye) in owners:
            self.setCurrentIndex(owners.index((sample, dye)))

    def refresh(self) -> None:
        """List anew: those of layers, of the results on disk, of files."""
        before, session = self.currentText(), self._session
        choices = alignments_in(list(reversed(session.viewer.layers)))
        if session.sample and session.dye:
            title = f"{session.sample} {session.dye}: result in the output folder"
            owner = (session.sample, session.dye)
            choices.append(AlignmentChoice(title, partial(_stored, session), owner))
        for path, alignment in self._files.items():
            title = f"file {path.parent.name}/{path.name}"
            owner = (alignment.sample, alignment.dye)
            choices.append(AlignmentChoice(title, alignment, owner))
        seen: Counter[str] = Counter()
        for number, choice in enumerate(choices):  # equal titles are numbered
            seen[choice.title] += 1
            if (count := seen[choice.title]) > 1:
                choices[number] = replace(choice, title=f"{choice.title} ({count})")
        self._choices = choices
        with signals_blocked(self):
            self.clear()
            self.addItems([choice.title for choice in choices])
            self.setCurrentIndex(max(self.findText(before), 0) if choices else -1)
        self.chosen.emit()


def _stored(session: Session) -> Alignment:
    """Read the best alignment of the session's results."""
    task = session.task()
    for stage in (3, 2):
        checkpoint = task.checkpoint(stage, "pre")
        if checkpoint is not None and checkpoint.provenance is not None:
            alignment = Alignment.from_header(checkpoint.provenance.to_header())
            if alignment is not None:
                return alignment
    raise base.CheckpointError(
        f"{session.sample} {session.dye} has no valid alignment for these "
        "parameters yet; run stages 1 to 3 in the workbench first"
    )


# The dock -------------------------------------------------------------------------


class ApplyDock(Panel):
    """Moves a layer from one image of a pair onto the other."""

    NAME = "apply_dock"
    SIZE = (360, 420)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._job: Job | None = None
        self._told_direction = False
        self._make_fields()
        self._lay_out()
        # Layers come and go in batches: one look when all have come.
        self._timer = controls.delayed(self, self.refresh)
        session = self.session
        for emitter in (*list_events(session.viewer), session.source_changed):
            self._connections.add(emitter, self._later)
        self.refresh()

    def _later(self, _event: object = None) -> None:
        self._timer.start()

    def _make_fields(self) -> None:
        self.alignment = AlignmentChooser(self.session, self)
        self.alignment.chosen.connect(self._show)
        self.pad = controls.spin_box(
            self,
            "pad",
            (0, 100_000),
            int(PARAMETER_REGISTRY["pad"].default or 0),
            "The empty margin that stage 1 made around the images (parameter 'pad'): "
            "this file does not tell it",
        )
        self.layer = LayerChooser(self.session.viewer, self)
        self.layer.setObjectName("layer")
        self.layer.chosen.connect(self._on_layer)
        self._sides = QtWidgets.QButtonGroup(self)
        for name, side, target in (
            ("from_pre", "pre-stain", "post-stain"),
            ("from_post", "post-stain", "raw pre-stain"),
        ):
            choice = QtWidgets.QRadioButton(f"the {side} image", self)
            choice.setObjectName(name)
            choice.setToolTip(f"It is moved onto the {target} image")
            self._sides.addButton(choice)
        self.from_pre, self.from_post = self._sides.buttons()
        self.from_pre.setChecked(True)
        self._sides.buttonClicked.connect(self._on_direction)
        self.resampling = controls.combo_box(
            self,
            "resampling",
            "How brightness between pixels is found in a moved image; labels keep "
            "their values and points are moved exactly",
            _RESAMPLING,
        )
        self.words = controls.WordsLabel("what_happens", self)
        tip = "Add the moved layer; the layer itself stays"
        self.apply_button = controls.button(self, "apply", "Apply", tip, self.apply)
        tip = "Stop moving the layer; nothing is added"
        self.stop_button = controls.button(self, "stop", "Stop", tip, self._on_stop)
        tip = "Write the chosen alignment to a JSON file, for scripts and other viewers"
        self.save_button = controls.button(
            self, "save_alignment", "Save alignment…", tip, self._on_save
        )

    def _lay_out(self) -> None:
        tip = "Read an alignment that was saved as a JSON file"
        load = controls.button(self, "load_alignment", "Open…", tip, self._on_load)
        self._form = controls.form(
            ("Alignment", controls.row((self.alignment, 1), load)),
            ("Empty margin", self.pad),
            ("Layer to move", self.layer),
            ("Drawn on", controls.column(self.from_pre, self.from_post)),
            ("Resampling", self.resampling),
        )
        self._form.setRowWrapPolicy(QtWidgets.QFormLayout.RowWrapPolicy.WrapLongRows)
        content = QtWidgets.QWidget()
        controls.column(
            self._form,
            self.words,
            controls.row((self.apply_button, 1), self.stop_button),
            self.save_button,
            None,
            parent=content,
        )
        controls.column(
            self.message, (controls.scrolled(content), 1), parent=self, margin=4
        )

    # What is chosen ---------------------------------------------------------------

    @property
    def direction(self) -> Direction:
        """Onto which image the layer is moved."""
        return "onto post" if self.from_pre.isChecked() else "onto pre"

    def refresh(self) -> None:
        """List layers and alignments anew."""
        layers = [
            layer
            for layer in reversed(self.session.viewer.layers)
            if isinstance(layer, MOVABLE)
        ]
        self.layer.fill(layers)
        if self.layer.layer is None and layers:
            own = [layer for layer in layers if not about(layer)]
            self.layer.choose((own or layers)[0])
        self.alignment.refresh()

    def load(self, path: Path | str) -> None:
        """Read an alignment from a file, or say what is wrong with it."""
        try:
            self.alignment.load(path)
        except base.Exo2MicroError as error:
            self.message.error(str(error))
        else:
            self.message.clear()

    def save(self, path: Path | str) -> None:
        """Write the chosen alignment to a file, in the background."""
        choice = self.alignment.choice
        if choice is not None:
            self.work(
                _save,
                "saving the alignment",
                self.was_saved,
                alignment=choice.alignment,
                path=Path(path),
            )

    def _on_layer(self) -> None:
        """Guess which image a layer lies on, until a person says so."""
        layer = self.layer.layer
        side = side_of(layer) if layer is not None else ""
        if side:
            (self.from_pre if side == "pre" else self.from_post).setChecked(True)
        elif not self._told_direction:
            self.from_pre.setChecked(True)
        if layer is not None:
            known = about(layer)
            self.alignment.prefer(known.get("sample", ""), known.get("dye", ""))
        self._show()

    def _on_direction(self) -> None:
        self._told_direction = True
        self._show()

    def _show(self) -> None:
        """Show what would happen, and what is needed for it."""
        choice, layer = self.alignment.choice, self.layer.layer
        known = choice.alignment if choice is not None else None
        lacks_canvas = isinstance(known, Alignment) and not known.knows_its_canvas
        self._form.setRowVisible(self.pad, lacks_canvas)
        self._form.setRowVisible(self.resampling, isinstance(layer, Image))
        is_busy = self._job is not None
        ready = choice is not None and layer is not None
        self.apply_button.setEnabled(ready and not is_busy)
        self.save_button.setEnabled(choice is not None)
        self.stop_button.setEnabled(is_busy)
        self.words.say(self._sentence())

    def _sentence(self) -> str:
        layer = self.layer.layer
        if self.alignment.choice is None:
            return (
                "There is no alignment yet: run stages 1 to 3 in the workbench, open a "
                "results folder, or open a saved alignment."
            )
        if layer is None:
            return "Add an image, labels or points layer that is to be moved."
        first, second = "pre-stain", "post-stain"
        if self.direction == "onto pre":
            first, second = second, first
        return (
            f"'{layer.name}' was drawn on the {first} image. A new layer shows it "
            f"where it belongs on the {second} image; '{layer.name}' stays as it is."
        )

    # Doing it -------------------------------------------------------------------

    def apply(self) -> None:
        """Move the chosen layer in the background."""
        choice, layer = self.alignment.choice, self.layer.layer
        if choice is None or layer is None or self._job is not None:
            return
        self.message.clear()
        alignment = choice.alignment
        if isinstance(alignment, Alignment) and not alignment.knows_its_canvas:
            alignment = alignment.on_canvas(self.pad.value())
        try:
            request = request_for(
                layer,
                self.direction,
                self.resampling.currentData(),
                self.session.viewer,
            )
        except base.Exo2MicroError as error:
            self.message.error(str(error))
            return
        self._job = self.work(
            move_layer,
            f"moving {layer.name}",
            self._on_moved,
            on_finished=self._on_finished,
            show_progress=True,
            request=request,
            alignment=alignment,
        )
        self._show()

    def _on_moved(self, spec: LayerSpec) -> None:
        place_layers(self.session.viewer, [spec])
        self.message.note(f"Added: {spec.options['name']}")

    def _on_finished(self) -> None:
        self._job = None
        self._show()

    def _on_stop(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _on_load(self) -> None:
        path = controls.ask_to_open(self, "Open an alignment", "", _JSON)
        if path is not None:
            self.load(path)

    def _on_save(self) -> None:
        title, name = "Save the alignment", "alignment.json"
        path = self.ask_where_to_save(title, name, _JSON)
        if path is not None:
            self.save(path)

    def close_down(self) -> None:
        """Stop, and follow the viewer no more."""
        self._timer.stop()
        self._on_stop()
        super().close_down()


def _save(alignment: Source, path: Path, monitor: base.Monitor) -> Path:
    read = alignment() if callable(alignment) else alignment
    monitor.check()
    read.save(path)
    return path
