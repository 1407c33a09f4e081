"""The pictures of a comparison: one layer or overlay for each value, in a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.parameter_entry import ParameterValue
from napari_exo2micro.core.scale_methods import scales_asked_for
from napari_exo2micro.core.stages import LAST_BUILT_IN, STAGES
from napari_exo2micro.core.value_text import value_words
from napari_exo2micro.plugin.inspection.side_by_side import SideBySide
from napari_exo2micro.plugin.layers import (
    KEY,
    LayerSpec,
    about,
    find_layers,
    remove_layers,
)
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.view import canvas_size, grid, move_camera

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["DIFFERENCE", "OVERLAY", "ComparePictures", "picture_specs"]

DIFFERENCE: Final = "difference"
OVERLAY: Final = "overlay"

_ROLE: Final = "compare "
#: How much of a field of the grid the post-stain image takes.
_FILLED: Final = 0.95


def picture_specs(
    task: SampleDye,
    name: str,
    values: Sequence[ParameterValue],
    picture: str,
    monitor: Monitor,
) -> list[list[LayerSpec]]:
    """Return the layers of each value; a value without valid results has none.

    Parameters
    ----------
    task : SampleDye
        With the other parameters of the comparison.
    name : str
        The parameter.
    values : sequence
        Its values.
    picture : str
        `DIFFERENCE`, or `OVERLAY` for post and the last aligned pre.
    monitor : Monitor
        Asked whether to stop, between two values.
    """
    specs = []
    for number, value in enumerate(values):
        monitor.check()
        one = task.copy()
        one.set_params(**{name: value})
        title = f"{PARAMETER_REGISTRY[name].title} {value_words(value)}"
        found = _difference(one, name) if picture == DIFFERENCE else _overlay(one)
        specs.append([_named(spec, title, number) for spec in found])
    return _alike(specs)


def _difference(task: SampleDye, name: str) -> list[LayerSpec]:
    from napari_exo2micro.plugin.stage_layers import checkpoint_spec, difference_names

    stage = PARAMETER_REGISTRY[name].stage
    if stage > LAST_BUILT_IN:  # the difference is the same for all values
        wanted = STAGES[stage].checkpoints[0]
    else:
        stage, names = LAST_BUILT_IN, difference_names(task)
        asked = scales_asked_for(task.params).values()
        own = (m.image_name(task.params) for m in asked if m.parameter == name)
        wanted = next((one for one in own if one in names), next(iter(names), ""))
    found = task.checkpoint(stage, wanted) if wanted else None
    return [] if found is None else [checkpoint_spec(found, stage, wanted, task=task)]


def _overlay(task: SampleDye) -> list[LayerSpec]:
    from napari_exo2micro.plugin.stage_layers import checkpoint_spec

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
    options = {
        **spec.options,
        "name": name,
        "visible": True,
        "metadata": {KEY: known},
    }
    return replace(spec, options=options)


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
    """Shows the pictures of a comparison and takes them away again.

    Parameters
    ----------
    session : Session
        In whose viewer they are shown.
    parent : QObject, optional
        As for any object.

    Attributes
    ----------
    changed : Signal()
        They were shown, or taken away.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
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

        Returns
        -------
        list of Layer
            Those that are shown; none when no value has a picture.
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
        self._start(layers)
        grid(self._viewer).stride = len(filled[0])
        for layer in layers:
            self._grid.name(layer, not self._is_below(layer))
        if empty:
            self._look_at(filled[0][0])
        return layers

    def show_one(self, number: int) -> bool:
        """Show the pictures of one value alone; False when it has none.

        Parameters
        ----------
        number : int
            Its place among the values, from 0.
        """
        own = find_layers(self._viewer, f"{_ROLE}{number} ")
        if not own:
            return False
        self._start(own)
        grid(self._viewer).stride = len(self._viewer.layers)
        return True

    def close(self) -> None:
        """Remove the pictures, and show what was shown before."""
        self._is_shown = False
        self._grid.stop(self)
        remove_layers(self._viewer, _ROLE)

    def close_down(self) -> None:
        """Remove the pictures, and follow the viewer no more."""
        self.close()
        self._grid.changed.disconnect(self._on_grid)

    def _start(self, layers: list[Layer]) -> None:
        self._grid.start(layers, self)
        self._is_shown = True

    def _on_grid(self) -> None:
        """Leave nothing behind when another comparison or napari's button ends it."""
        if self._is_shown and not self.is_active:
            self._is_shown = False
            remove_layers(self._viewer, _ROLE)
        self.changed.emit()

    def _look_at(self, spec: LayerSpec) -> None:
        """Let the section fill each field, without the padding around it."""
        canvas = spec.about.get("header", {}).get("canvas", {})
        frame = canvas.get("post_frame")
        if not frame:
            self._viewer.reset_view()
            return
        _, _, width, height = frame
        rows, columns = canvas_size(self._viewer)
        zoom = _FILLED * min(rows / height, columns / width)
        move_camera(self._viewer, height / 2, width / 2, zoom)

    @staticmethod
    def _is_below(layer: Layer) -> bool:
        """Return whether another layer of the same value lies on this one."""
        role = str(about(layer).get("role", ""))
        return isinstance(layer, Image) and role.endswith(" post")
