"""The pictures of a comparison, side by side: one value in each field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, value_words
from napari_exo2micro.core.photometry import scales_asked_for
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    about,
    canvas_size,
    find_layers,
    move_camera,
    remove_layers,
)
from napari_exo2micro.plugin.layers.side_by_side import SideBySide
from napari_exo2micro.plugin.layers.stages import checkpoint_spec, difference_names
from napari_exo2micro.plugin.session.session import Session

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

DIFFERENCE: Final = "difference"
OVERLAY: Final = "overlay"

_ROLE: Final = "compare "
#: How much of a field of the grid the post-stain image takes.
_FILLED: Final = 0.95


def picture_specs(
    task: SampleDye,
    name: str,
    values: Sequence[parameters.ParameterValue],
    picture: str,
    monitor: Monitor,
) -> list[list[LayerSpec]]:
    """Return the layers of each value; a value without valid results has none.

    The task has the other parameters of the comparison. The picture is `DIFFERENCE`,
    or `OVERLAY` for post and the last aligned pre.
    """
    specs = []
    for number, value in enumerate(values):
        monitor.check()
        own = task.copy()
        own.set_params(**{name: value})
        title = f"{PARAMETER_REGISTRY[name].title} {value_words(value)}"
        layers = _difference(own, name) if picture == DIFFERENCE else _overlay(own)
        specs.append([_named(spec, title, number) for spec in layers])
    return _alike(specs)


def _difference(task: SampleDye, name: str) -> list[LayerSpec]:
    stage = PARAMETER_REGISTRY[name].stage
    if stage > parameters.LAST_BUILT_IN:  # the difference is the same for all values
        wanted = parameters.STAGES[stage].checkpoints[0]
    else:
        stage, names = parameters.LAST_BUILT_IN, difference_names(task)
        asked = scales_asked_for(task.params).values()
        own = (m.image_name(task.params) for m in asked if m.parameter == name)
        wanted = next((image for image in own if image in names), next(iter(names), ""))
    image = task.checkpoint(stage, wanted) if wanted else None
    return [] if image is None else [checkpoint_spec(image, stage, wanted, task=task)]


def _overlay(task: SampleDye) -> list[LayerSpec]:
    post = task.checkpoint(1, "post")
    for stage in (3, 2):
        pre = task.checkpoint(stage, "pre")
        if post is not None and pre is not None:
            return [
                checkpoint_spec(post, 1, "post", task=task),
                checkpoint_spec(pre, stage, "pre", task=task),
            ]
    return []


def _named(spec: LayerSpec, title: str, number: int) -> LayerSpec:
    role = str(spec.about.get("role", ""))
    known = {**spec.about, "role": f"{_ROLE}{number} {role}"}
    # Short: napari writes the name into each field of the grid.
    name = f"{title}, post" if role.split()[0] == "post" else title
    more = {"name": name, "visible": True, "metadata": {KEY: known}}
    return replace(spec, options={**spec.options, **more})


def _alike(specs: list[list[LayerSpec]]) -> list[list[LayerSpec]]:
    """Give the pictures of all values the same contrast: they are compared."""
    for layers in zip(*[own for own in specs if own], strict=True):
        if any(spec.kind != "image" for spec in layers):
            continue  # labels have colours, no contrast
        ranges = [spec.options["contrast_limits"] for spec in layers]
        widest = min(low for low, _ in ranges), max(high for _, high in ranges)
        for spec in layers:
            spec.options["contrast_limits"] = widest
            spec.options["metadata"][KEY]["first_limits"] = widest
    return specs


class ComparePictures(QObject):
    """Shows the pictures of a comparison and takes them away again."""

    #: They were shown, or taken away.
    changed = Signal()

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = session.viewer
        self._grid = SideBySide.of(session)
        self._is_shown = False
        self._grid.changed.connect(self._on_grid)

    @property
    def is_active(self) -> bool:
        """Whether pictures are shown."""
        return self._grid.is_used_by(self)

    def show(self, specs: Sequence[Sequence[LayerSpec]]) -> list[Layer]:
        """Show each value's layers in a field of its own; others are hidden.

        Returns those that are shown: none when no value has a picture.
        """
        self.close()
        filled = [own for own in specs if own]
        if not filled:
            return []
        layers = [Layer.create(*spec.as_tuple()) for own in filled for spec in own]
        empty = not self._viewer.layers
        # At the bottom: napari's grid counts the layers from there, hidden ones too.
        for place, layer in enumerate(layers):
            self._viewer.layers.insert(place, layer)
        self._start(layers, stride=len(filled[0]))
        for layer in layers:
            # Only the topmost layer of a value writes its name into the field.
            role = str(about(layer).get("role", ""))
            is_below = isinstance(layer, Image) and role.endswith(" post")
            self._grid.name(layer, not is_below)
        if empty:
            self._look_at(filled[0][0])
        return layers

    def show_one(self, number: int) -> bool:
        """Show the pictures of one value, from 0, alone; False when it has none."""
        own = find_layers(self._viewer, f"{_ROLE}{number} ")
        if own:
            self._start(own, stride=len(self._viewer.layers))
        return bool(own)

    def close(self) -> None:
        """Remove the pictures, and show what was shown before."""
        self._is_shown = False
        self._grid.stop(self)
        remove_layers(self._viewer, _ROLE)

    def close_down(self) -> None:
        """Remove the pictures, and follow the viewer no more."""
        self.close()
        self._grid.changed.disconnect(self._on_grid)

    def _start(self, layers: list[Layer], stride: int) -> None:
        self._grid.start(layers, self, stride)
        self._is_shown = True

    def _on_grid(self) -> None:
        """Leave nothing behind when another comparison or napari's button ends it."""
        if self._is_shown and not self.is_active:
            self._is_shown = False
            remove_layers(self._viewer, _ROLE)
        self.changed.emit()

    def _look_at(self, spec: LayerSpec) -> None:
        """Let the section fill each field, without the padding around it."""
        frame = spec.about.get("header", {}).get("canvas", {}).get("post_frame")
        if not frame:
            self._viewer.reset_view()
            return
        _, _, width, height = frame
        rows, columns = canvas_size(self._viewer)
        zoom = _FILLED * min(rows / height, columns / width)
        move_camera(self._viewer, height / 2, width / 2, zoom)
