"""Which layers are in front after a stage: those that a person waited for.

Only layers that are new decide. When a stage runs again its layers are replaced in
their places, and what a person shows or hides stays as it is, unless that is a later
result which no longer belongs to what was run, or another set of results (see
`layer_sets`): that is hidden, so that the run's own picture is seen.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from napari.components import ViewerModel
from napari.layers import Layer

from napari_exo2micro.plugin.layer_sets import hide_apart, made_with
from napari_exo2micro.plugin.layers import (
    KEY,
    LayerSpec,
    about,
    find_layers,
    place_layers,
)
from napari_exo2micro.plugin.plain_text import notify_error

__all__ = ["leave_outdated", "place_stage"]

logger = logging.getLogger(__name__)

# Roles that are shown together once the last of them has come, the best last: the
# overlay of the pair as it is aligned so far, and at the end the difference alone.
_PICTURES: tuple[tuple[str, ...], ...] = (
    ("pre", "post"),
    ("aligned 2", "post", "ring pre", "ring post"),
    ("aligned 3", "post"),
    ("difference",),
)
_GAVE_WAY = "gave_way"
# How the roles begin that only a stage's results have.
_RESULTS = ("aligned ", "ring ", "matches ", "scaled ", "difference")
_MANAGED = frozenset(role for picture in _PICTURES for role in picture)


def place_stage(
    viewer: ViewerModel, number: int, specs: Sequence[LayerSpec]
) -> list[Layer]:
    """Add or replace the layers of a stage and bring what is new to the front.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    number : int
        The stage; of a stage after the fourth its new layers are shown, no other
        is hidden.
    specs : sequence of LayerSpec
        Its layers, of one sample and dye, bottom first.

    Returns
    -------
    list of Layer
        The layers, new or replaced.
    """
    if not specs:
        return []
    sample, dye = (str(specs[0].about.get(name, "")) for name in ("sample", "dye"))
    own = find_layers(viewer, sample=sample, dye=dye)
    if hide_apart(viewer, sample, dye):
        for layer in own:
            layer.metadata[KEY] = {**about(layer), _GAVE_WAY: True}
    # What had to leave the front comes back with its new result.
    before = {
        str(about(layer).get("role"))
        for layer in own
        if not about(layer).get(_GAVE_WAY, False)
    }
    failed: list[str] = []

    def note(spec: LayerSpec, error: Exception) -> None:
        name = str(spec.options.get("name", spec.about.get("role", "")))
        logger.error("layer %s cannot be shown", name, exc_info=error)
        failed.append(f"{name} ({type(error).__name__}: {error})")

    placed = place_layers(viewer, specs, on_error=note)
    if failed:
        notify_error(
            f"Wanted to show {len(specs)} layers of stage {number}, could not show "
            f"{', '.join(failed)}. The results are on disk; remove the layer from the "
            "layer list and open the results again."
        )
    _take_away_vanished(viewer, number, placed, own)
    if not own:
        _hide_others(viewer, sample, dye)
        _fit(viewer, placed)
    roles = [str(about(layer).get("role")) for layer in placed]
    new = [role for role in roles if role not in before]
    if number < len(_PICTURES):
        picture = _PICTURES[number - 1]
        if picture[0] in new:
            _bring_forward(viewer, sample, dye, picture)
    elif number == len(_PICTURES):
        # Without a new main difference that of a further scale is the news.
        differences = [role for role in new if role.startswith("difference")]
        if differences:
            main = "difference" if "difference" in differences else differences[-1]
            _bring_forward(viewer, sample, dye, (main,))
    for truth in find_layers(viewer, "truth", sample, dye):
        if viewer.layers[-1] is not truth:
            viewer.layers.move(viewer.layers.index(truth), -1)
    return placed


def _take_away_vanished(
    viewer: ViewerModel, number: int, placed: Sequence[Layer], before: Sequence[Layer]
) -> None:
    """Remove what this stage left earlier and has not left now."""
    roles = {about(layer).get("role") for layer in placed}
    for layer in before:
        known = about(layer)
        role = str(known.get("role"))
        is_result = role.startswith(_RESULTS) and known.get("stage") == number
        if is_result and role not in roles and layer in viewer.layers:
            viewer.layers.remove(layer)


def leave_outdated(viewer: ViewerModel, sample: str, dye: str, last: int) -> None:
    """Show what a run ended with, if a later result in front does not belong to it.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    sample, dye : str
        What was run.
    last : int
        The last stage of the run.
    """
    if last >= len(_PICTURES):
        return
    picture = _PICTURES[last - 1]
    found = find_layers(viewer, picture[0], sample, dye)
    if not found:
        return
    now = made_with(about(found[-1]), last)
    for layer in find_layers(viewer, sample=sample, dye=dye):
        known = about(layer)
        is_later = _is_managed(str(known.get("role"))) and known.get("stage", 0) > last
        if layer.visible and is_later and made_with(known, last) != now:
            layer.metadata[KEY] = {**known, _GAVE_WAY: True}
            _bring_forward(viewer, sample, dye, picture)
            return


def _is_managed(role: str) -> bool:
    """Return whether a role is part of a picture; others are a person's affair."""
    return role in _MANAGED or role.startswith("difference")


def _bring_forward(
    viewer: ViewerModel, sample: str, dye: str, picture: tuple[str, ...]
) -> None:
    """Show the layers of a picture and hide those of the others."""
    own = find_layers(viewer, sample=sample, dye=dye)
    roles = [str(about(layer).get("role")) for layer in own]
    for layer, role in zip(own, roles, strict=True):
        if role in picture:
            _set_visible(layer, True)
        elif _is_managed(role):
            _set_visible(layer, False)
    viewer.layers.selection.active = own[roles.index(picture[0])]


def _fit(viewer: ViewerModel, placed: Sequence[Layer]) -> None:
    """Fill the view with the section; a canvas is mostly margin."""
    if not placed:
        return
    # Of these alone: a larger sample that is hidden now has no say.
    viewer.reset_view(layers=placed)
    canvas = about(placed[0]).get("header", {}).get("canvas", {})
    inner = canvas.get("post_frame")
    if inner is None:
        return
    columns, rows = float(inner[2]), float(inner[3])
    first, last = viewer.layers.get_extent(placed).world
    height, width = (last - first)[-2:]
    camera = getattr(viewer, "scene", viewer).camera  # napari from 0.9 on
    # The raw post-stain image begins at the world's origin.
    camera.center = (*camera.center[:-2], rows / 2, columns / 2)
    camera.zoom *= min(height / rows, width / columns)


def _hide_others(viewer: ViewerModel, sample: str, dye: str) -> None:
    """Hide what is ours and of another sample or dye: pictures would mix."""
    for layer in find_layers(viewer, apart=None):
        known = about(layer)
        if "sample" not in known:
            continue  # a frame or a curtain of the inspection, which ends it itself
        if (known.get("sample"), known.get("dye")) != (sample, dye):
            _set_visible(layer, False)


def _set_visible(layer: Layer, visible: bool) -> None:
    # napari draws everything anew even when nothing changes.
    if layer.visible != visible:
        layer.visible = visible
