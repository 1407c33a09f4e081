"""What a viewer is to show, resolved to one frozen scene and applied to its layers.

A panel changes no layers itself. It says what is to be seen while it is active, its
`Wish`; all wishes resolve to one `Scene`, and only what differs from the scene before
is applied. So a panel that ends takes back what it wanted and nothing else, in whatever
order panels begin and end. What a person changed by hand stays as it is, until another
scene wants that very thing otherwise, and layers of a person's own are never removed.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Vectors
from napari.utils.colormaps.standardize_color import transform_color
from qtpy.QtCore import QObject, Signal

from napari_exo2micro.plugin.layers.layers import (
    Ground,
    LayerSpec,
    about,
    camera,
    find_layers,
    grid,
)
from napari_exo2micro.plugin.session.session import Session

#: Takes a layer that could not be shown, and the error.
OnError = Callable[[LayerSpec, Exception], None]


class Rank(IntEnum):
    """Whose wish counts where two want the same thing otherwise: the higher one."""

    CHOICE = 0
    PREVIEW = 1
    COMPARISON = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """One attribute of a layer, or of another part of the viewer, and its value."""

    part: Any
    name: str
    value: Any

    @property
    def key(self) -> tuple[int, str]:
        """What it is about, whatever the value."""
        return id(self.part), self.name


def wanted(part: Any, **values: Any) -> tuple[Wanted, ...]:
    """Return some attributes of one part with their values."""
    return tuple(Wanted(part, name, value) for name, value in values.items())


@dataclass(frozen=True, slots=True)
class Wish:
    """What one panel wants to be seen.

    Attributes
    ----------
    values : tuple of Wanted
        How the viewer's parts are to look.
    specs : tuple of LayerSpec
        Layers that are there only for this wish, bottom first.
    replaced : tuple of Layer
        What goes when none of the specs renews it.
    active : Layer, optional
        Which one is selected.
    rank : Rank
        Whether it gives way to others.
    below : bool
        Whether its layers lie below all others; otherwise above.
    """

    values: tuple[Wanted, ...] = ()
    specs: tuple[LayerSpec, ...] = ()
    replaced: tuple[Layer, ...] = ()
    active: Layer | None = None
    rank: Rank = Rank.COMPARISON
    below: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What all wishes come to; see `resolve`."""

    values: Mapping[tuple[int, str], Wanted]


def resolve(wishes: Iterable[Wish]) -> Scene:
    """Return the scene of some wishes: a higher rank counts, then the later wish."""
    ordered = sorted(wishes, key=lambda wish: wish.rank)
    return Scene({one.key: one for wish in ordered for one in wish.values})


@dataclass(slots=True)
class _Applied:
    """A value as it was applied, and what was there before."""

    wanted: Wanted
    before: Any
    ours: Any  # as the part gives it back

    @property
    def is_ours(self) -> bool:
        """Whether nobody has changed it since."""
        return _equal(getattr(self.wanted.part, self.wanted.name), self.ours)


def _equal(first: Any, second: Any) -> bool:
    """Compare values, and colour maps by their names."""
    return bool(getattr(first, "name", first) == getattr(second, "name", second))


class Display:
    """Keeps the wishes of a viewer and applies their scene; see `Display.of`."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self._wishes: dict[object, Wish] = {}
        self._made: dict[object, list[tuple[LayerSpec, Layer]]] = {}
        self._applied: dict[tuple[int, str], _Applied] = {}

    @classmethod
    def of(cls, viewer: ViewerModel) -> Display:
        """Return the one of a viewer, made when it is first asked for."""
        model = getattr(viewer, "__wrapped__", viewer)
        display = _DISPLAYS.get(id(model))
        if display is None:
            display = _DISPLAYS[id(model)] = cls(model)
            weakref.finalize(model, _DISPLAYS.pop, id(model), None)
        return display

    def layers_of(self, owner: object) -> list[Layer]:
        """Return the layers that are there for an owner's wish, bottom first."""
        return [layer for _, layer in self._made.get(owner, ())]

    def show(
        self, owner: object, wish: Wish | None, *, one_by_one: bool = False
    ) -> list[Layer]:
        """Show what an owner wishes instead of its wish before; None for nothing.

        Returns the layers that are there for it; none where the viewer was closed.
        One by one only the first new layer is added: the next call adds the next.
        """
        if wish is None:
            self._wishes.pop(owner, None)
        else:
            self._wishes[owner] = wish
        viewer = self._viewer()
        if viewer is not None:
            self._place(viewer, owner, wish or Wish(), one_by_one)
            self._apply(viewer)
        return self.layers_of(owner)

    def choose(self, wish: Wish, on_error: OnError | None = None) -> list[Layer]:
        """Show what is wished for good, where no other wish says otherwise.

        Returns its layers; see `place_layers` for `on_error`.
        """
        viewer = self._viewer()
        if viewer is None:
            return []
        placed = place_layers(viewer, wish.specs, on_error=on_error)
        for layer in wish.replaced:
            if layer not in placed and layer in viewer.layers:
                viewer.layers.remove(layer)
        for one in wish.values:
            held = self._applied.get(one.key)
            if held is not None and held.is_ours:
                held.before = one.value
            else:
                _set(one)
        if wish.active is not None:
            viewer.layers.selection.active = wish.active
        return placed

    def hand_over(self, old: Layer, new: Layer) -> None:
        """Let a layer take the place of another one in all that is wished."""
        for owner, wish in self._wishes.items():
            values = [replace(v, part=new) if v.part is old else v for v in wish.values]
            self._wishes[owner] = replace(wish, values=tuple(values))
        for key, held in list(self._applied.items()):
            if held.wanted.part is old:
                held.wanted = replace(held.wanted, part=new)
                self._applied[held.wanted.key] = self._applied.pop(key)
        for made in self._made.values():
            made[:] = [(spec, new if x is old else x) for spec, x in made]

    def _place(
        self, viewer: ViewerModel, owner: object, wish: Wish, one_by_one: bool
    ) -> None:
        """Add, renew and remove an owner's layers; the active one stays active."""
        active, count = viewer.layers.selection.active, len(viewer.layers)
        before = self._made.pop(owner, [])
        there = {id(spec): layer for spec, layer in before}
        made = []
        for spec in wish.specs:
            layer = there.get(id(spec))
            if layer is None:
                has_come = len(viewer.layers) > count
                if one_by_one and has_come and _placed(viewer, spec) is None:
                    continue
                (layer,) = place_layers(viewer, [spec])
            # One that a person has removed comes back when there is news of it.
            if layer in viewer.layers:
                made.append((spec, layer))
        if made:
            self._made[owner] = made
        layers = [layer for _, layer in made]
        for _, layer in before:
            if layer not in layers and layer in viewer.layers:
                viewer.layers.remove(layer)
        if wish.below:
            for place, layer in enumerate(layers):
                viewer.layers.move(viewer.layers.index(layer), place)
        if count and (active is None or active in viewer.layers):
            viewer.layers.selection.active = active

    def _apply(self, viewer: ViewerModel) -> None:
        """Change what the scene wants otherwise than the one before."""
        scene, changes = resolve(self._wishes.values()), []
        for key, held in list(self._applied.items()):
            if key not in scene.values:
                del self._applied[key]
                if _is_there(viewer, held.wanted) and held.is_ours:
                    changes.append(replace(held.wanted, value=held.before))
        for key, one in scene.values.items():
            applied = self._applied.get(key)
            if not _is_there(viewer, one):
                self._applied.pop(key, None)
            elif applied is None:
                now = getattr(one.part, one.name)
                self._applied[key] = _Applied(one, now, now)
                changes.append(one)
            elif not _equal(applied.wanted.value, one.value):
                if not applied.is_ours:
                    applied.before = getattr(one.part, one.name)
                applied.wanted = one
                changes.append(one)
        # First what is to be seen: no picture without anything is drawn in between.
        for one in sorted(
            changes, key=lambda c: (c.name, c.value) != ("visible", True)
        ):
            _set(one)
            if one.key in self._applied:
                now = getattr(one.part, one.name)
                self._applied[one.key].ours = now


def _is_there(viewer: ViewerModel, one: Wanted) -> bool:
    return not isinstance(one.part, Layer) or one.part in viewer.layers


def _set(one: Wanted) -> None:
    # napari draws everything anew even when nothing changes.
    if not _equal(getattr(one.part, one.name), one.value):
        setattr(one.part, one.name, one.value)


#: id of a viewer -> its display.
_DISPLAYS: dict[int, Display] = {}


# Layers placed -----------------------------------------------------------------


def remove_layers(
    viewer: ViewerModel,
    role: str | None = None,
    sample: str | None = None,
    dye: str | None = None,
) -> None:
    """Remove our layers that `find_layers` finds."""
    for layer in find_layers(viewer, role, sample, dye):
        viewer.layers.remove(layer)


def place_layers(
    viewer: ViewerModel,
    specs: Iterable[LayerSpec],
    *,
    on_error: OnError | None = None,
) -> list[Layer]:
    """Add layers; one of the same role, sample and dye gets the new data instead.

    Such a layer keeps what a person chose for it: its place, whether it is shown,
    its opacity, its blending, its colours, a name of their own, and its contrast
    where that was changed. Copies that a person made of it, and sets of results that
    stand apart, are left alone. `on_error` takes a layer that could not be shown and
    the error; the others are placed all the same.
    """
    placed = []
    for spec in specs:
        try:
            placed.append(_place_layer(viewer, spec))
        except Exception as error:  # napari's layers, and who listens to them
            if on_error is None:
                raise
            on_error(spec, error)
    return placed


def _place_layer(viewer: ViewerModel, spec: LayerSpec) -> Layer:
    old = _placed(viewer, spec)
    if old is not None and renew_layer(old, spec):
        return old
    layer = spec.create()
    if old is None:
        viewer.add_layer(layer)
    else:
        _keep_choices(old, layer)
        chosen = viewer.layers.selection.active
        index = viewer.layers.index(old)
        viewer.layers.remove(old)
        viewer.layers.insert(index, layer)
        Display.of(viewer).hand_over(old, layer)
        # napari chooses what was added last.
        viewer.layers.selection.active = layer if chosen is old else chosen
    return layer


def _placed(viewer: ViewerModel, spec: LayerSpec) -> Layer | None:
    """Return the layer of the same role, sample and dye that is no person's copy.

    napari's "duplicate layer" copies the metadata, and names the copy anew.
    """
    known = spec.about
    names = known.get("role"), known.get("sample"), known.get("dye")
    layers = find_layers(viewer, *names)
    named = [layer for layer in layers if layer.name == about(layer).get("title")]
    return next(reversed(named or layers), None)


def renew_layer(layer: Layer, spec: LayerSpec) -> bool:
    """Give a layer new data where its type allows; what a person chose stays.

    Setting data takes a hundredth of a second where a new layer takes a tenth, and
    nothing is taken away from the graphics card: removing several layers at once
    can end in a crash of the driver (napari issue 6472). False when the layer cannot
    hold the data: then nothing is changed.
    """
    if isinstance(layer, Image):
        takes = spec.kind == "image" and layer.multiscale == isinstance(spec.data, list)
    else:
        takes = isinstance(layer, Vectors) and spec.kind == "vectors"
    if not takes:
        return False
    before = about(layer)
    if not _holds(layer, spec.data):
        layer.data = spec.data
        if isinstance(layer, Vectors):
            # A hidden layer is not sliced anew, and the old slice points at vectors
            # that may be gone: the next colour would be looked up in vain.
            layer.set_view_slice()
    if "first_limits" in before and not _has_own_limits(layer):
        layer.contrast_limits = spec.options["contrast_limits"]
    if layer.name == before.get("title", layer.name):
        layer.name = spec.options.get("name", layer.name)
    layer.metadata = spec.metadata
    told = spec.as_tuple()[1]
    if "units" not in told and Ground.of(layer).is_length:
        told |= {"scale": (1.0, 1.0), "units": ("pixel", "pixel")}
    # Each of these draws the layer anew.
    for name in ("units", "scale", "translate", "edge_color", "edge_width"):
        value = told.get(name)
        if value is not None and not _is_set(layer, name, value):
            setattr(layer, name, value)
    return True


def _has_own_limits(layer: Layer) -> bool:
    """Return whether a person has changed the contrast of an image."""
    first = about(layer).get("first_limits")
    return first is not None and not np.allclose(layer.contrast_limits, first)


def _is_set(layer: Layer, name: str, value: Any) -> bool:
    """Return whether a layer has this value; colours are compared as they look."""
    now = getattr(layer, name)
    if name == "edge_color":
        return bool(np.all(np.isclose(now, transform_color(value))))
    return np.array_equal(now, value)


def _holds(layer: Layer, data: Any) -> bool:
    """Return whether a layer shows this very data already."""
    if isinstance(data, list):
        return len(layer.data) == len(data) and all(
            old is new for old, new in zip(layer.data, data, strict=True)
        )
    return layer.data is data


def _keep_choices(old: Layer, new: Layer) -> None:
    """Hand over what a person chose."""
    new.visible, new.opacity, new.blending = old.visible, old.opacity, old.blending
    if not (isinstance(old, Image) and isinstance(new, Image)):
        return
    new.colormap, new.gamma = old.colormap, old.gamma
    if _has_own_limits(old):
        new.contrast_limits = old.contrast_limits


#: Points; a field is narrow, and names are long.
_NAME_SIZE = 8


class SideBySide(QObject):
    """Turns napari's grid on for some layers, and back to what it was.

    A viewer has one grid: get what switches it with `SideBySide.of`. What is shown
    for one user ends when another one starts.
    """

    #: It began or ended, also by another user or by napari's own button.
    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._user: weakref.ReferenceType[object] | None = None
        grid(session.viewer).events.enabled.connect(self._on_enabled)

    @classmethod
    def of(cls, session: Session) -> SideBySide:
        """Return the one of a session, made when it is first asked for."""
        own = session.findChild(cls)
        return own if isinstance(own, cls) else cls(session)

    def is_used_by(self, user: object) -> bool:
        """Return whether the grid is on for this user."""
        return self._user is not None and self._user() is user

    def start(
        self,
        layers: list[Layer],
        user: object,
        stride: int | None = None,
        nameless: Collection[Layer] = (),
    ) -> None:
        """Show some layers side by side and hide all others.

        Parameters
        ----------
        layers : list of Layer
            The first is at the left, as far as napari's grid allows: it goes
            through the layer list, up or down. Those that the user before takes
            away are left out; without any nothing is started.
        user : object
            For whom; see `stop`.
        stride : int, optional
            How many layers of the list share a field.
        nameless : collection of Layer
            Those whose names are not written into their fields.
        """
        if not self.is_used_by(user):
            self.stop()
        viewer = self._session.viewer
        layers = [layer for layer in layers if layer in viewer.layers]
        if not layers:
            self.stop()
            return
        self._user = weakref.ref(user)
        eye = camera(viewer)
        place = eye.center, eye.zoom
        values: list[Wanted] = []
        for layer in viewer.layers:
            is_shown = layer in layers
            values += wanted(layer, visible=is_shown)
            values += wanted(
                layer.name_overlay,
                font_size=_NAME_SIZE,
                visible=is_shown and layer not in nameless,
            )
        first, last = (viewer.layers.index(layers[end]) for end in (0, -1))
        values += wanted(
            grid(viewer),
            shape=(1, -1) if len(layers) <= 3 else (-1, -1),
            stride=stride or (1 if first < last else -1),
            enabled=True,
        )
        Display.of(viewer).show(self, Wish(tuple(values)))
        eye.center, eye.zoom = place
        self.changed.emit()

    def stop(self, user: object = None) -> None:
        """Switch the grid back to what it was; with a user only if it is on for them.

        What was visible is so again.
        """
        if self._user is None or (user is not None and not self.is_used_by(user)):
            return
        self._user = None
        viewer = self._session.viewer
        eye = camera(viewer)
        place = eye.center, eye.zoom
        Display.of(viewer).show(self, None)
        eye.center, eye.zoom = place
        self.changed.emit()

    def _on_enabled(self, _event: object = None) -> None:
        with contextlib.suppress(RuntimeError):  # the viewer was closed
            if not grid(self._session.viewer).enabled:
                # By hand, with napari's button.
                self.stop()
