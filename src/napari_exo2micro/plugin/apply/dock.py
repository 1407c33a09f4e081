"""The apply dock: an alignment applied to other layers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points
from qtpy.QtCore import QSize, QTimer, Signal
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

from napari_exo2micro.core.alignment import Alignment, Direction
from napari_exo2micro.core.base import (
    CheckpointError,
    Exo2MicroError,
    Monitor,
    ParameterError,
)
from napari_exo2micro.core.images import (
    Transform,
    moved_image,
    moved_levels,
    outline_of,
)
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, STAGES
from napari_exo2micro.plugin.layers.layers import KEY, LayerSpec, about, place_layers
from napari_exo2micro.plugin.layers.pair import LayerChooser
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import (
    Connections,
    MessageStrip,
    WordsLabel,
    button,
    scrolled,
)
from napari_exo2micro.plugin.widgets.dock import Dock


@dataclass(frozen=True, slots=True)
class AlignmentChoice:
    """One line of the list.

    Attributes
    ----------
    title : str
        In words.
    alignment : Alignment or callable
        Or a function that reads it, to be called in a thread.
    owner : tuple of str
        Sample and dye; empty texts where they are not known.
    """

    title: str
    alignment: Alignment | Callable[[], Alignment]
    owner: tuple[str, str] = ("", "")


def alignments_in(viewer: ViewerModel) -> list[AlignmentChoice]:
    """Return the alignments of the viewer's layers, the topmost first, each once."""
    found: dict[tuple[object, ...], AlignmentChoice] = {}
    for layer in reversed(list(viewer.layers)):
        known = about(layer)
        if not known.get("transform") or "direction" in known:
            continue
        try:
            one = Alignment.from_header(known.get("header") or {})
            if one is None:
                x, y = (-int(side) for side in reversed(known["canvas_offset"]))
                one = Alignment(
                    Transform.from_dict(known["transform"]),
                    (x, y, 0, 0),
                    (x, y, 0, 0),
                    str(known.get("sample", "")),
                    str(known.get("dye", "")),
                    int(known.get("stage", 0)),
                )
        except (CheckpointError, KeyError, TypeError, ValueError):
            continue
        key = (one.sample, one.dye, one.transform)
        owner = (one.sample, one.dye)
        found.setdefault(key, AlignmentChoice(_title(one), one, owner))
    return list(found.values())


def _title(one: Alignment) -> str:
    what = STAGES[one.stage].title if one.stage in STAGES else "alignment"
    return f"{one.sample} {one.dye}: {what}".strip(": ")


class AlignmentChooser(QComboBox):
    """A list of alignments; what is chosen stays so while layers come and go.

    Parameters
    ----------
    session : Session
        Its viewer's layers, and the results of its sample and dye, are listed.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    chosen : Signal()
        Another one is chosen.
    """

    chosen = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
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
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
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
        """Choose an alignment of a sample and dye, if there is one, not another's.

        Parameters
        ----------
        sample, dye : str
            Of the layer that is to be moved; empty if nobody knows.
        """
        owners = [choice.owner for choice in self._choices]
        chosen = self.choice
        if not sample or chosen is None or chosen.owner == (sample, dye):
            return
        if "" not in chosen.owner and (sample, dye) in owners:
            self.setCurrentIndex(owners.index((sample, dye)))

    def refresh(self) -> None:
        """List anew."""
        before = self.currentText()
        self._choices = alignments_in(self._session.viewer)
        session = self._session
        if session.sample and session.dye:
            title = f"{session.sample} {session.dye}: result in the output folder"
            owner = (session.sample, session.dye)
            self._choices.append(AlignmentChoice(title, _reader(session), owner))
        self._choices += [
            AlignmentChoice(_file_title(path), one, (one.sample, one.dye))
            for path, one in self._files.items()
        ]
        self._choices = _told_apart(self._choices)
        self.blockSignals(True)
        self.clear()
        self.addItems([choice.title for choice in self._choices])
        self.setCurrentIndex(max(self.findText(before), 0) if self._choices else -1)
        self.blockSignals(False)
        self.chosen.emit()


def _file_title(path: Path) -> str:
    return f"file {path.parent.name}/{path.name}"


def _told_apart(choices: list[AlignmentChoice]) -> list[AlignmentChoice]:
    """Return choices whose titles differ: those of equal ones are numbered."""
    seen: Counter[str] = Counter()
    named = []
    for choice in choices:
        seen[choice.title] += 1
        count = seen[choice.title]
        title = choice.title if count == 1 else f"{choice.title} ({count})"
        named.append(replace(choice, title=title))
    return named


def _reader(session: Session) -> Callable[[], Alignment]:
    """Return a function that reads the best alignment of the session's results."""

    def read() -> Alignment:
        task = session.task()
        for stage in (3, 2):
            found = task.checkpoint(stage, "pre")
            header = found.provenance.to_header() if found and found.provenance else {}
            one = Alignment.from_header(header)
            if one is not None:
                return one
        raise CheckpointError(
            f"{session.sample} {session.dye} has no valid alignment for these "
            "parameters yet; run stages 1 to 3 in the workbench first"
        )

    return read


MOVABLE = (Image, Labels, Points)

#: A result of up to so many bytes is made at once, a larger one when it is read.
_MADE_AT_ONCE = 256_000_000
#: A larger side than this is shown in several levels.
_ONE_LEVEL = 4096

_KEPT = {
    "image": (
        "blending",
        "colormap",
        "contrast_limits",
        "gamma",
        "interpolation2d",
        "opacity",
        "rgb",
    ),
    "labels": ("blending", "colormap", "features", "opacity"),
    "points": (
        "blending",
        "border_color",
        "border_width",
        "border_width_is_relative",
        "face_color",
        "features",
        "opacity",
        "shown",
        "size",
        "symbol",
    ),
}


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """What is to be moved, taken from the viewer so that a thread can do it.

    Attributes
    ----------
    name, kind : str
        Of the layer.
    data : object
        Coordinates of points, or the levels of an image, full resolution first.
    to_world : Transform
        From the layer's data to the world, both (x, y).
    options : mapping
        How the layer looks.
    direction : {'onto post', 'onto pre'}
        Onto which image it is moved.
    interpolation : {'linear', 'cubic', 'lanczos'}
        For images; labels keep their values.
    """

    name: str
    kind: str
    data: Any
    to_world: Transform
    options: Mapping[str, Any]
    direction: Direction
    interpolation: str


def side_of(layer: Layer) -> str:
    """Return on which image a layer lies, by what its metadata say of it.

    Parameters
    ----------
    layer : Layer
        Any layer; its name does not matter.

    Returns
    -------
    str
        ``'pre'`` for the pre-stain image as it was taken and what was moved onto it;
        ``'post'`` for all else of ours, the aligned images among it; empty for a
        layer of a person's own.
    """
    known = about(layer)
    if not known.get("role"):
        return ""
    if "direction" in known:
        return "pre" if known["direction"] == "onto pre" else "post"
    return "pre" if known["role"] == "pre" else "post"


def request_for(
    layer: Layer, direction: Direction, interpolation: str = "cubic"
) -> MoveRequest:
    """Return what is to be done with a layer.

    Parameters
    ----------
    layer : Layer
        An image, labels or points.
    direction : {'onto post', 'onto pre'}
        Onto which image it is moved.
    interpolation : {'linear', 'cubic', 'lanczos'}
        For images.

    Raises
    ------
    ParameterError
        When this layer cannot be moved.
    """
    _, state, kind = layer.as_layer_data_tuple()
    if not isinstance(layer, MOVABLE):
        raise ParameterError(
            f"images, labels and points can be moved, '{layer.name}' has {kind}; "
            "choose another layer"
        )
    if layer.ndim != 2:
        raise ParameterError(
            f"a layer with 2 axes can be moved, '{layer.name}' has {layer.ndim}; "
            "choose another one, or make a layer of one of its planes"
        )
    if isinstance(layer, Points):
        data: Any = np.array(layer.data, dtype=np.float64)
    else:
        data = list(layer.data) if layer.multiscale else [layer.data]
        if isinstance(data[0], np.ndarray) and not _is_large(data[0]):
            data[0] = data[0].copy()  # a person may go on painting meanwhile
    return MoveRequest(
        layer.name,
        kind,
        data,
        _to_world(layer),
        {name: state[name] for name in _KEPT[kind] if name in state},
        direction,
        interpolation,
    )


def _is_large(data: Any) -> bool:
    size = int(math.prod(data.shape)) * int(data.dtype.itemsize)
    return size > _MADE_AT_ONCE


def _to_world(layer: Layer) -> Transform:
    """Return the map from data to world points as (x, y)."""
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)]
    origin, right, down = (
        np.array(layer.data_to_world(corner))[::-1] for corner in corners
    )
    matrix = np.eye(3)
    matrix[:2, 0], matrix[:2, 1], matrix[:2, 2] = right - origin, down - origin, origin
    try:
        return Transform(matrix)
    except ValueError as error:
        raise ParameterError(
            f"the scale of the layer '{layer.name}' cannot be used ({error}); set it "
            "to 1, so that it lies on the image that it was drawn on"
        ) from error


def move_layer(
    request: MoveRequest,
    alignment: Alignment | Callable[[], Alignment],
    monitor: Monitor,
) -> LayerSpec:
    """Return the moved layer; may be called in a thread.

    Parameters
    ----------
    request : MoveRequest
        What is to be moved.
    alignment : Alignment or callable
        Or a function that reads it.
    monitor : Monitor
        Told the progress, and asked whether to stop.

    Returns
    -------
    LayerSpec
        In the world of the viewer: px of the raw image that it is moved onto.
    """
    monitor.report(0.0, "reading the alignment")
    found = alignment() if callable(alignment) else alignment
    side = "post-stain" if request.direction == "onto post" else "pre-stain"
    options = {
        **request.options,
        "name": f"{request.name} on {side}",
        "metadata": {
            KEY: {
                "role": f"moved {request.direction} {request.name}",
                "sample": found.sample,
                "dye": found.dye,
                "stage": found.stage,
                "parameters": {},
                "paths": [],
                "transform": found.transform.to_dict(),
                "direction": request.direction,
                "canvas_offset": (0.0, 0.0),
            }
        },
    }
    if request.kind == "points":
        there = request.to_world(request.data[:, ::-1])
        moved = found.points_moved(there, request.direction)
        return LayerSpec(moved[:, ::-1], options, "points")
    sampling = request.to_world.inverse() @ found.sampling(request.direction)
    shape = found.shape_of(request.direction)
    if shape is None:  # the file does not tell: as large as what is moved needs
        first, shape = outline_of(request.data[0].shape, sampling)
        start = Transform.similarity(translation=(float(first[0]), float(first[1])))
        sampling = sampling @ start
        options["translate"] = (float(first[1]), float(first[0]))
    levels = moved_levels(
        request.data,
        sampling,
        shape,
        interpolation=request.interpolation,
        labels=request.kind == "labels",
    )
    if _is_large(levels[0]):
        return LayerSpec(levels, {**options, "multiscale": True}, request.kind)
    whole = moved_image(levels[0], monitor)
    if request.kind == "labels" or max(shape) <= _ONE_LEVEL:
        return LayerSpec(whole, {**options, "multiscale": False}, request.kind)
    views = [whole[::step, ::step] for step in (1, 2, 4, 8)]
    return LayerSpec(views, {**options, "multiscale": True}, request.kind)


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
        self.session = shared_session(napari_viewer, self)
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
