"""The apply dock: an alignment applied to other layers."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points
from qtpy import QtWidgets
from qtpy.QtCore import Signal
from superqt.utils import signals_blocked

from napari_exo2micro.core import base, images
from napari_exo2micro.core.alignment import Alignment, Direction
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, STAGES
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    Ground,
    LayerSpec,
    about,
    found_ground,
    side_of,
)
from napari_exo2micro.plugin.layers.pair import LayerChooser, list_events
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import place_layers
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls

MOVABLE = (Image, Labels, Points)

#: A result of up to so many bytes is made at once, a larger one when it is read.
_MADE_AT_ONCE = 256_000_000
#: Sizes, extents and scales are the same when they differ by less, of 1.
_SAME = 0.01
#: A larger side than this is shown in several levels.
_ONE_LEVEL = 4096

#: kind -> how a layer looks, which the moved one takes over; not where it lies.
_KEPT = {
    "image": "blending colormap contrast_limits gamma interpolation2d opacity rgb",
    "labels": "blending colormap features opacity",
    "points": (
        "blending border_color border_width border_width_is_relative face_color "
        "features opacity shown size symbol"
    ),
}

#: An alignment, or a function that reads it from files, to be called in a thread.
Source = Alignment | Callable[[], Alignment]


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """What is to be moved, taken from the viewer so that a thread can do it.

    Its data are coordinates of points, or the levels of an image, full resolution
    first; `to_world` maps places in them to the world, both (x, y), and `to_raw` to px
    of the raw image that they lie on, where the viewer knows. `scale` is that of the
    layer, (x, y), and `unit` that of its world, um; None for pixels. The result lies on
    `ground`, where the viewer has it.
    """

    name: str
    kind: str
    data: Any
    to_world: images.Transform
    scale: tuple[float, float]
    unit: tuple[float, float] | None
    options: Mapping[str, Any]
    direction: Direction
    interpolation: str
    to_raw: images.Transform | None = None
    ground: Ground | None = None


def request_for(
    layer: Layer,
    direction: Direction,
    interpolation: str = "cubic",
    viewer: ViewerModel | None = None,
) -> MoveRequest:
    """Return what is to be done with a layer; see `MoveRequest`.

    Raises
    ------
    ParameterError
        When this layer cannot be moved.
    """
    _, state, kind = layer.as_layer_data_tuple()
    if not isinstance(layer, MOVABLE):
        raise base.ParameterError(
            f"images, labels and points can be moved, '{layer.name}' has {kind}; "
            "choose another layer"
        )
    if layer.ndim != 2:
        raise base.ParameterError(
            f"a layer with 2 axes can be moved, '{layer.name}' has {layer.ndim}; "
            "choose another one, or make a layer of one of its planes"
        )
    if isinstance(layer, Points):
        data: Any = np.array(layer.data, dtype=np.float64)
    else:
        data = list(layer.data) if layer.multiscale else [layer.data]
        if isinstance(data[0], np.ndarray) and not _is_large(data[0]):
            data[0] = data[0].copy()  # a person may go on painting meanwhile
    options = {name: state[name] for name in _KEPT[kind].split() if name in state}
    return MoveRequest(
        layer.name,
        kind,
        data,
        _affine(layer, layer.data_to_world),
        (float(layer.scale[1]), float(layer.scale[0])),
        _unit_of(layer),
        options,
        direction,
        interpolation,
        *_grounds(layer, direction, viewer),
    )


def _grounds(
    layer: Layer, direction: Direction, viewer: ViewerModel | None
) -> tuple[images.Transform | None, Ground | None]:
    """Return the map to the raw image that a layer lies on, and where the other is.

    The map is known for an image of ours, and where both are measured in lengths.
    """
    first, second = ("pre", "post") if direction == "onto post" else ("post", "pre")
    below = target = None
    if viewer is not None:
        target = found_ground(viewer, second)
        if _unit_of(layer) is not None:
            below = found_ground(viewer, first)
    if "canvas_offset" in about(layer):
        below = Ground.of(layer)
    elif below is not None and not below.is_length:
        below = None
    if below is None:
        return None, target
    return _affine(layer, partial(below.pixels_of, layer)), target


def _is_large(data: Any) -> bool:
    size = int(math.prod(data.shape)) * int(data.dtype.itemsize)
    return size > _MADE_AT_ONCE


def _affine(layer: Layer, place: Callable[[Any], Any]) -> images.Transform:
    """Return a map from the data of a layer, told for (row, column), as (x, y)."""
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)]
    origin, right, down = (np.array(place(corner))[::-1] for corner in corners)
    matrix = np.eye(3)
    matrix[:2, 0], matrix[:2, 1], matrix[:2, 2] = right - origin, down - origin, origin
    try:
        return images.Transform(matrix)
    except ValueError as error:
        raise base.ParameterError(
            f"the scale of the layer '{layer.name}' cannot be used ({error}); set it "
            "to 1, so that it lies on the image that it was drawn on"
        ) from error


def _unit_of(layer: Layer) -> tuple[float, float] | None:
    """Return the um of the units of a layer's world, (x, y); None for pixels."""
    if not all(unit.is_compatible_with("micrometer") for unit in layer.units):
        return None
    y, x = (float((1 * unit).to("micrometer").magnitude) for unit in layer.units)
    return x, y


def _to_raw(request: MoveRequest, applied: Alignment) -> images.Transform:
    """Return the map from data to px of the raw image that a layer lies on, (x, y).

    The world of the viewer is in those pixels. A layer with another scale may have
    been reduced, or may have the size of its pixels as scale; where neither its unit,
    its extent nor the pixel size of the image tells which, nothing is guessed.

    Raises
    ------
    ParameterError
        With the scale, when it cannot be known what the layer's world is.
    """
    if request.to_raw is not None:
        return request.to_raw
    onto_post = request.direction == "onto post"
    side = "pre-stain" if onto_post else "post-stain"
    size = applied.pixel_size("pre" if onto_post else "post")
    raw = applied.shape_of("onto pre" if onto_post else "onto post")
    scale, unit = np.array(request.scale), request.unit
    per_pixel = None if size is None else np.array((size.x, size.y))
    shape = None if request.kind == "points" else request.data[0].shape[:2]
    extent = None if shape is None else np.array(shape[::-1])
    full = None if raw is None else np.array(raw[::-1])
    if unit is None and np.all(scale == 1):
        return request.to_world
    if unit is not None and per_pixel is not None:
        return _scaling(unit / per_pixel) @ request.to_world
    if per_pixel is not None and _alike(scale, per_pixel):
        return _scaling(1 / per_pixel) @ request.to_world
    if extent is not None and full is not None and _alike(extent, full):
        return _scaling(1 / scale) @ request.to_world
    fills = extent is not None and full is not None and _alike(extent * scale, full)
    is_reduced = np.all(scale >= 1) and np.all(scale == np.round(scale))
    if unit is None and (fills or is_reduced):
        return request.to_world
    what = f"{scale[0]:g}" if scale[0] == scale[1] else f"{scale[0]:g} x {scale[1]:g}"
    raise base.ParameterError(
        f"the layer '{request.name}' has a scale of {what}, and the alignment does not "
        "tell the size of a pixel: its places cannot be turned into pixels. Set its "
        f"scale to 1 if they are pixels of the raw {side} image, or give 'pixel_size' "
        "and run stages 1 to 3 again"
    )


def _scaling(factors: Any) -> images.Transform:
    return images.Transform(np.diag([float(factors[0]), float(factors[1]), 1.0]))


def _alike(first: Any, second: Any) -> bool:
    return bool(np.allclose(first, second, rtol=_SAME, atol=0))


def move_layer(
    request: MoveRequest, alignment: Source, monitor: base.Monitor
) -> LayerSpec:
    """Return the moved layer; may be called in a thread.

    Returns
    -------
    LayerSpec
        In the world of the viewer: px of the raw image that it is moved onto.

    Raises
    ------
    ParameterError
        When it cannot be known what the layer's world is.
    """
    monitor.report(0.0, "reading the alignment")
    applied = alignment() if callable(alignment) else alignment
    side = "post-stain" if request.direction == "onto post" else "pre-stain"
    known = {
        "role": f"moved {request.direction} {request.name}",
        "sample": applied.sample,
        "dye": applied.dye,
        "stage": applied.stage,
        "parameters": {},
        "paths": [],
        "transform": applied.transform.to_dict(),
        "direction": request.direction,
        "canvas_offset": (0.0, 0.0),
    }
    name = f"{request.name} on {side}"
    to_raw = _to_raw(request, applied)
    own = applied.pixel_size("post" if request.direction == "onto post" else "pre")
    ground = request.ground or Ground.of_size(own)
    options = {**request.options, "name": name, "metadata": {KEY: known}}
    if request.kind == "points":
        there = to_raw(request.data[:, ::-1])
        moved = applied.points_moved(there, request.direction)
        return LayerSpec(moved[:, ::-1], options, "points", ground)
    # What is wanted is known by where each of its pixels is taken from in the data.
    sampling = to_raw.inverse() @ applied.sampling(request.direction)
    shape = applied.shape_of(request.direction)
    if shape is None:  # the file does not tell: as large as what is moved needs
        first, shape = images.outline_of(request.data[0].shape, sampling)
        start = images.Transform.similarity(
            translation=(float(first[0]), float(first[1]))
        )
        sampling = sampling @ start
        place = (float(first[1]), float(first[0]))
        options["translate"] = known["canvas_offset"] = place
    levels = images.moved_levels(
        request.data,
        sampling,
        shape,
        interpolation=request.interpolation,
        labels=request.kind == "labels",
    )
    if _is_large(levels[0]):
        return LayerSpec(levels, {**options, "multiscale": True}, request.kind, ground)
    whole = images.moved_image(levels[0], monitor)
    if request.kind == "labels" or max(shape) <= _ONE_LEVEL:
        return LayerSpec(whole, {**options, "multiscale": False}, request.kind, ground)
    views = [whole[::step, ::step] for step in (1, 2, 4, 8)]
    return LayerSpec(views, {**options, "multiscale": True}, request.kind, ground)


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
