"""The dock that applies an alignment to a layer of a person's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import QSize, QTimer
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.alignments import Alignment, Direction
from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.errors import Exo2MicroError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.apply.alignment_chooser import AlignmentChooser
from napari_exo2micro.plugin.apply.moved_layers import (
    MOVABLE,
    move_layer,
    request_for,
    side_of,
)
from napari_exo2micro.plugin.connections import Connections
from napari_exo2micro.plugin.controls import button, scrolled
from napari_exo2micro.plugin.dock import Dock
from napari_exo2micro.plugin.inspection.layer_pair import LayerChooser
from napari_exo2micro.plugin.job import Job
from napari_exo2micro.plugin.layers import LayerSpec, about, place_layers
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.words_label import WordsLabel

__all__ = ["ApplyDock"]

_RESAMPLING = {"smooth (cubic)": "cubic", "simple (linear)": "linear"}
_RESAMPLING["sharp (Lanczos)"] = "lanczos"
_JSON = "Alignments (*.json)"


class ApplyDock(Dock):
    """Moves a layer from one image of a pair onto the other.

    Parameters
    ----------
    napari_viewer : ViewerModel
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.setObjectName("apply_dock")
        self.session = Session.of(napari_viewer, widget=self)
        self.message = MessageStrip(self)
        self._job: Job | None = None
        self._named: list[Layer] = []
        self._told_direction = False
        self._make_fields()
        self._lay_out()
        # Layers come and go in batches: one look when all have come.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self.refresh)
        self._connections = Connections()
        events = self.session.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            self._connections.add(emitter, self._later)
        self._connections.add(self.session.source_changed, self._later)
        self.refresh()

    def _make_fields(self) -> None:
        self.alignment = AlignmentChooser(self.session, self)
        self.alignment.chosen.connect(self._show)
        self.load_button = button(
            self,
            "load_alignment",
            "Open…",
            "Read an alignment that was saved as a JSON file",
        )
        self.load_button.clicked.connect(self._on_load)
        self.pad = QSpinBox(self)
        self.pad.setObjectName("pad")
        self.pad.setRange(0, 100_000)
        self.pad.setSuffix(" px")
        self.pad.setValue(int(PARAMETER_REGISTRY["pad"].default or 0))
        self.pad.setToolTip(
            "The empty margin that stage 1 made around the images (parameter 'pad'): "
            "this file does not tell it"
        )
        self.layer = LayerChooser(self.session.viewer, self)
        self.layer.setObjectName("layer")
        self.layer.chosen.connect(self._on_layer)
        self.from_pre = QRadioButton("the pre-stain image", self)
        self.from_pre.setObjectName("from_pre")
        self.from_pre.setToolTip("It is moved onto the post-stain image")
        self.from_post = QRadioButton("the post-stain image", self)
        self.from_post.setObjectName("from_post")
        self.from_post.setToolTip("It is moved onto the raw pre-stain image")
        self.from_pre.setChecked(True)
        group = QButtonGroup(self)
        group.addButton(self.from_pre)
        group.addButton(self.from_post)
        group.buttonClicked.connect(self._on_direction)
        self.resampling = QComboBox(self)
        self.resampling.setObjectName("resampling")
        self.resampling.addItems(list(_RESAMPLING))
        self.resampling.setToolTip(
            "How brightness between pixels is found in a moved image; labels keep "
            "their values and points are moved exactly"
        )
        self.words = WordsLabel("what_happens", self)
        self.apply_button = button(
            self, "apply", "Apply", "Add the moved layer; the layer itself stays"
        )
        self.apply_button.clicked.connect(self.apply)
        self.stop_button = button(
            self, "stop", "Stop", "Stop moving the layer; nothing is added"
        )
        self.stop_button.setEnabled(False)
        self.stop_button.clicked.connect(self._on_stop)
        self.save_button = button(
            self,
            "save_alignment",
            "Save alignment…",
            "Write the chosen alignment to a JSON file, for scripts and other viewers",
        )
        self.save_button.clicked.connect(self._on_save)

    def _lay_out(self) -> None:
        first = QHBoxLayout()
        first.addWidget(self.alignment, 1)
        first.addWidget(self.load_button)
        self._form = QFormLayout()
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._form.setFieldGrowthPolicy(
            QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow
        )
        self._form.addRow("Alignment", first)
        self._form.addRow("Empty margin", self.pad)
        self._form.addRow("Layer to move", self.layer)
        drawn = QVBoxLayout()
        drawn.addWidget(self.from_pre)
        drawn.addWidget(self.from_post)
        self._form.addRow("Drawn on", drawn)
        self._form.addRow("Resampling", self.resampling)
        buttons = QHBoxLayout()
        buttons.addWidget(self.apply_button, 1)
        buttons.addWidget(self.stop_button)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addLayout(self._form)
        column.addWidget(self.words)
        column.addLayout(buttons)
        column.addWidget(self.save_button)
        column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.message)
        layout.addWidget(scrolled(content), 1)
        self.setMinimumWidth(300)

    # What is chosen ---------------------------------------------------------------

    @property
    def direction(self) -> Direction:
        """Onto which image the layer is moved."""
        return "onto post" if self.from_pre.isChecked() else "onto pre"

    def refresh(self) -> None:
        """List layers and alignments anew."""
        layers = [
            layer
            for layer in reversed(list(self.session.viewer.layers))
            if isinstance(layer, MOVABLE)
        ]
        self._follow_names(layers)
        self.layer.fill(layers)
        if self.layer.layer is None and layers:
            own = [layer for layer in layers if not about(layer)]
            self.layer.choose((own or layers)[0])
        self.alignment.refresh()

    def load(self, path: Path | str) -> None:
        """Read an alignment from a file, or say what is wrong with it."""
        try:
            self.alignment.load(path)
        except Exo2MicroError as error:
            self.message.error(str(error))
        else:
            self.message.clear()

    def save(self, path: Path | str) -> None:
        """Write the chosen alignment to a file, in the background."""
        choice = self.alignment.choice
        if choice is not None:
            self.session.jobs.start(
                _save,
                title="saving the alignment",
                on_result=self._on_saved,
                on_error=self.message.error,
                show_progress=False,
                alignment=choice.alignment,
                path=Path(path),
            )

    def _on_saved(self, path: Path) -> None:
        self.message.note(f"Saved: {path}")

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
        choice, layer = self.alignment.choice, self.layer.layer
        if choice is None:
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
        found = choice.alignment
        if isinstance(found, Alignment) and not found.knows_its_canvas:
            found = found.on_canvas(self.pad.value())
        interpolation = _RESAMPLING[self.resampling.currentText()]
        try:
            request = request_for(layer, self.direction, interpolation)
        except Exo2MicroError as error:
            self.message.error(str(error))
            return
        self._job = self.session.jobs.start(
            move_layer,
            title=f"moving {layer.name}",
            on_result=self._on_moved,
            on_error=self.message.error,
            on_finished=self._on_finished,
            request=request,
            alignment=found,
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
        path, _ = QFileDialog.getOpenFileName(self, "Open an alignment", "", _JSON)
        if path:
            self.load(path)

    def _on_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the alignment", "alignment.json", _JSON
        )
        if path:
            self.save(path if Path(path).suffix else f"{path}.json")

    # Coming and going -------------------------------------------------------------

    def _follow_names(self, layers: list[Layer]) -> None:
        for layer in self._named:
            layer.events.name.disconnect(self._later)
        self._named = layers
        for layer in layers:
            layer.events.name.connect(self._later)

    def _later(self, _event: object = None) -> None:
        self._timer.start()

    def close_down(self) -> None:
        """Stop, and follow the viewer no more."""
        if self._is_closed:
            return
        self._timer.stop()
        self._on_stop()
        self._connections.close()
        self._follow_names([])
        super().close_down()

    def sizeHint(self) -> QSize:
        """Leave the room to the picture."""
        return QSize(360, 420)


def _save(
    alignment: Alignment | Callable[[], Alignment], path: Path, monitor: Monitor
) -> Path:
    found = alignment() if callable(alignment) else alignment
    monitor.check()
    found.save(path)
    return path
