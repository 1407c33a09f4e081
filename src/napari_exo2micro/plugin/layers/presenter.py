"""Shows in the viewer what its session tells: results, and what was opened."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QObject, QSize
from qtpy.QtWidgets import QWidget

from napari_exo2micro.plugin.layers import sets
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    Ground,
    LayerSpec,
    about,
    camera_place,
    find_layers,
    ground,
    is_stored,
    move_camera,
    role_name,
    scale_bar,
    side_of,
)
from napari_exo2micro.plugin.layers.scene import Display, Wish, wanted
from napari_exo2micro.plugin.layers.stages import stage_specs
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.raw_folder import RawFolder
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import (
    Dock,
    MessageStrip,
    ask_to_save,
    notify_error,
)

#: What napari writes between a place and the values of several layers.
_PLACE = " »"

logger = logging.getLogger(__name__)


def shared_session(viewer: ViewerModel, widget: QWidget | None = None) -> Session:
    """Return the session of a viewer for a dock: its results are shown as layers."""
    session = Session.of(viewer, widget)
    presenter_of(viewer).follow_opened()
    return session


def presenter_of(viewer: ViewerModel) -> Presenter:
    """Return what shows layers in a viewer, made when it is first asked for."""
    session = Session.of(viewer)
    presenter: Presenter | None = session.findChild(Presenter)
    return Presenter(session) if presenter is None else presenter


class Panel(Dock):
    """A dock that works on the session of a viewer and tells messages in a strip.

    Parameters
    ----------
    napari_viewer : ViewerModel
        As napari hands it over; panels of one viewer share its session.

    Attributes
    ----------
    NAME : str
        Its objectName.
    LEAST, SIZE : tuple of int
        Width and height that it needs and wants, px; 0 where its parts say that.
    """

    NAME: ClassVar[str]
    LEAST: ClassVar[tuple[int, int]] = (300, 0)
    SIZE: ClassVar[tuple[int, int]] = (0, 0)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.setObjectName(self.NAME)
        self.setMinimumSize(*self.LEAST)
        self.session = shared_session(napari_viewer, self)
        self.message = MessageStrip(self)
        self.folder: Path | None = None  # where the last file was saved

    def work(
        self,
        function: Callable[..., Any],
        title: str,
        on_result: Callable[[Any], None],
        **how: Any,
    ) -> Job:
        """Start what only reads or draws, see `Jobs.start`; the strip tells errors."""
        how = {"on_error": self.message.error, "show_progress": False, **how}
        return self.session.jobs.start(
            function, title=title, on_result=on_result, **how
        )

    def ask_where_to_save(self, title: str, name: str, kinds: str) -> Path | None:
        """Ask where a file goes, at first where the last one went."""
        return ask_to_save(self, title, (self.folder or Path.home()) / name, kinds)

    def was_saved(self, path: Path) -> None:
        """Say where a file is."""
        self.folder = path.parent
        self.message.note(f"Saved as {path}")

    def sizeHint(self) -> QSize:
        """Leave the room to the picture."""
        hint, (width, height) = super().sizeHint(), self.SIZE
        return QSize(width or hint.width(), height or hint.height())


class Presenter(QObject):
    """Places the layers of results; a session has one, its child."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._folder: RawFolder | None = None
        #: Sample, dye and role of what had to leave the front: it comes back with
        #: its new result.
        self._gave_way: frozenset[tuple[str, str, str]] = frozenset()
        session.describe = stage_specs
        session.stage_ready.connect(self.place_stage)
        session.run_left.connect(self.leave_run)
        # After the window: what is set last is seen.
        self.viewer.events.status.connect(self._tell_pixels, position="last")

    @property
    def viewer(self) -> ViewerModel:
        """The viewer."""
        return self._session.viewer

    # Results of stages -------------------------------------------------------------

    def place_stage(self, number: int, specs: Sequence[LayerSpec]) -> list[Layer]:
        """Add or replace the layers of a stage and bring what is new to the front.

        They are of one sample and dye, bottom first. Of a stage after the fourth its
        new layers are shown, no other is hidden.
        """
        if not specs:
            return []
        viewer = self.viewer
        sample, dye = _pair(specs)
        self._settle(specs)
        before = find_layers(viewer, None, sample, dye)
        roles = set(map(role_name, before))
        if self.hide_sets_apart(sample, dye):
            self._gave_way |= {(sample, dye, name) for name in roles}
        placed = self._place(number, specs, sets.left_by(number, before))
        self.bring_forward(sample, dye)
        if not before:
            fit(viewer, placed)
        came = [role_name(layer) for layer in placed]
        new = [n for n in came if n not in roles or (sample, dye, n) in self._gave_way]
        self._gave_way -= {(sample, dye, name) for name in came}
        own = find_layers(viewer, None, sample, dye)
        self._display.choose(sets.stage_shown(own, number, new))
        for truth in find_layers(viewer, "truth", sample, dye):
            if viewer.layers[-1] is not truth:
                viewer.layers.move(viewer.layers.index(truth), -1)
        return placed

    def _settle(self, specs: Sequence[LayerSpec]) -> None:
        """Put what is there of a pair into the world of what comes.

        The size of a pixel may be known by now, or another one. The same pixels stay
        where they were on the screen.
        """
        new = next((s.ground for s in specs if role_name(s) != "pre"), None)
        own = find_layers(self.viewer, None, *_pair(specs), apart=None)
        if new is None or not own:
            return
        worlds = {False: Ground()}  # whether lengths are known -> that of post-stain
        for layer in own:
            if is_stored(about(layer)) and side_of(layer) == "post":
                below = Ground.of(layer)
                worlds[below.is_length] = below
        place, shown = camera_place(self.viewer), ground(self.viewer)
        for layer in own:
            old = worlds.get(Ground.of(layer).is_length, new)
            if not old.is_like(new):
                new.take(layer, old)
        if not shown.is_like(ground(self.viewer)):
            move_camera(self.viewer, *place)

    def bring_forward(
        self, sample: str, dye: str, coming: Iterable[LayerSpec] = ()
    ) -> None:
        """Show one sample and dye, and hide what is ours of others: they would mix.

        Those come back as they were when their turn comes. napari's controls never act
        on one that was hidden here. Where the size of a pixel is known the scale bar
        is shown.
        """
        viewer = self.viewer
        wish = sets.others_hidden(viewer, sample, dye)
        selection, own = viewer.layers.selection, find_layers(viewer, None, sample, dye)
        grounds = [*(spec.ground for spec in coming), *map(Ground.of, own)]
        if any(below.is_length for below in grounds):
            bar = wanted(scale_bar(viewer), visible=True)
            wish = replace(wish, values=(*wish.values, *bar))
        self._display.show(self, wish)
        if selection.active in [one.part for one in wish.values]:
            seen = [layer for layer in own if layer.visible]
            selection.active = next(reversed(seen), None)

    def leave_run(self, sample: str, dye: str, last: int) -> None:
        """Show a run's last stage if a later result in front does not belong to it."""
        own = find_layers(self.viewer, None, sample, dye)
        outdated = sets.outdated_in_front(own, last)
        if outdated is not None:
            self._gave_way |= {(sample, dye, role_name(outdated))}
            self._display.choose(sets.picture_shown(own, sets.last_picture(last)))

    def hide_sets_apart(self, sample: str, dye: str) -> bool:
        """Hide the sets of a pair that stand apart; return whether any was shown."""
        layers = find_layers(self.viewer, None, sample, dye, apart=None)
        seen = [
            layer for layer in layers if about(layer).get("apart") and layer.visible
        ]
        self._display.choose(sets.shown(dict.fromkeys(seen, False)))
        return bool(seen)

    @property
    def _display(self) -> Display:
        return Display.of(self.viewer)

    def _place(
        self, number: int, specs: Sequence[LayerSpec], replaced: tuple[Layer, ...]
    ) -> list[Layer]:
        failed: list[str] = []

        def note(spec: LayerSpec, error: Exception) -> None:
            name = str(spec.options.get("name", role_name(spec)))
            logger.error("layer %s cannot be shown", name, exc_info=error)
            failed.append(f"{name} ({type(error).__name__}: {error})")

        wish = Wish(specs=tuple(specs), replaced=replaced)
        placed = self._display.choose(wish, note)
        if failed:
            notify_error(
                f"Wanted to show {len(specs)} layers of stage {number}, could not show "
                f"{', '.join(failed)}. The results are on disk; remove the layer from "
                "the layer list and open the results again."
            )
        return placed

    # What a person opens -------------------------------------------------------------

    def open(self, specs: Sequence[LayerSpec]) -> list[LayerSpec]:
        """Show the set of opened layers; return those that the viewer lacks.

        They are of one sample and dye and one run, bottom first, and are returned named
        and marked as their set asks for.
        """
        viewer = self.viewer
        sample, dye = _pair(specs)
        self._make_room(sample, dye, specs)
        self.bring_forward(sample, dye, specs)
        everything = find_layers(viewer, None, sample, dye, apart=None)
        label = sets.set_for(map(about, everything), [spec.about for spec in specs])
        own = find_layers(viewer, None, sample, dye, label)
        opened = set(map(role_name, specs))
        picture = sets.best_roles(set(map(role_name, own)), opened)
        self._display.choose(sets.set_shown(everything, own, picture))
        there = {sets.layer_key(about(layer)): layer for layer in own}
        keys = [sets.layer_key(spec.about) for spec in specs]
        if all(key in there for key in keys):
            viewer.layers.selection = {there[key] for key in keys}
        new = [s for s, key in zip(specs, keys, strict=True) if key not in there]
        marked = [sets.set_apart(spec, label) for spec in new]
        return [
            replace(s, options={**s.options, "visible": role_name(s) in picture})
            for s in marked
        ]

    def choose(self, layers: Sequence[Layer]) -> None:
        """Select layers that the viewer has already, and show their set."""
        viewer, known = self.viewer, about(layers[0])
        pair = known["sample"], known["dye"]
        own = find_layers(viewer, None, *pair, known.get("apart", ""))
        picture = sets.best_roles(set(map(role_name, own)))
        everything = find_layers(viewer, None, *pair, apart=None)
        self.bring_forward(*pair)
        self._display.choose(sets.set_shown(everything, own, picture))
        viewer.layers.selection = set(layers)

    def _make_room(self, sample: str, dye: str, specs: Iterable[LayerSpec]) -> None:
        """Set raw images apart when results come in their place."""
        stored = [spec.about for spec in specs if is_stored(spec.about)]
        if not any(map(sets.stage_of, stored)):
            return
        roles = {known["role"] for known in stored}
        for layer in find_layers(self.viewer, None, sample, dye):
            known = about(layer)
            if is_stored(known) and not sets.stage_of(known) and known["role"] in roles:
                layer.metadata = {**layer.metadata, KEY: {**known, "apart": sets.RAW}}

    # What the status bar says ---------------------------------------------------------

    def _tell_pixels(self, event: Any) -> None:
        """Tell the place under the cursor in px, too, where the world is in um."""
        with contextlib.suppress(RuntimeError):  # the session has ended
            viewer = self.viewer
            below, status = ground(viewer), event.value
            if not below.is_length:
                return
            row, column = below.pixels(viewer.cursor.position[-2:]).round().astype(int)
            place = f"row {row}, column {column}"
            if isinstance(status, str) and _PLACE in status and place not in status:
                viewer.status = f"{place} {status.replace(_PLACE, f' um{_PLACE}', 1)}"
            elif isinstance(status, dict) and status.get("coords"):
                words = f"{place} ({status['coords']} um): {status['value']}"
                # Without `coords` it is ours.
                viewer.status = {**status, "coordinates": words, "coords": ""}

    # Layers that name a source -------------------------------------------------------

    def follow_opened(self) -> None:
        """Let the session work on what is opened, as long as nobody chose a source."""
        if self._folder is not None:
            return
        self._folder = RawFolder.of(self._session)
        layers = self.viewer.layers
        layers.events.inserted.connect(self._on_inserted)
        for layer in reversed(layers):
            if self._folder.take_opened(about(layer)):
                break

    def _on_inserted(self, event: Any) -> None:
        if self._folder is not None:
            self._folder.take_opened(about(event.value))


def _pair(specs: Sequence[LayerSpec]) -> tuple[str, str]:
    known = specs[0].about
    return str(known.get("sample", "")), str(known.get("dye", ""))


def fit(viewer: ViewerModel, placed: Sequence[Layer]) -> None:
    """Fill the view with the section; a canvas is mostly margin."""
    if not placed:
        return
    # Of these alone: a larger sample that is hidden now has no say.
    viewer.reset_view(layers=placed)
    inner = about(placed[0]).get("header", {}).get("canvas", {}).get("post_frame")
    if inner is None:
        return
    columns, rows = float(inner[2]), float(inner[3])
    extent = viewer.layers.get_extent(placed)
    below = ground(viewer).in_units(extent.units)
    height, width = np.diff(extent.world, axis=0)[0][-2:] / below.step
    zoom = camera_place(viewer)[2] * min(height / rows, width / columns)
    move_camera(viewer, rows / 2, columns / 2, zoom)
