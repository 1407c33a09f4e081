"""Sets of results in one viewer: one is worked on and shown, others stand apart.

The layers of one sample and dye that belong to one run are a set. The viewer works
on one set: a run, the check-list and the inspection find its layers by their role and
renew them in place. The rule for all that is opened beside it:

- What fits to the set that is worked on joins it.
- What does not (made with other parameters, lying in another folder, or the raw pair
  beside padded images) is a set of its own. It is *set apart*: its layers say in
  their metadata (``apart``) and at the end of their names how they differ, and no run
  touches or removes them.
- Raw images stand apart as soon as results are opened.
- What was opened last is shown; all else of ours is hidden, nothing is removed.

Only layers that are new decide. When a stage runs again its layers are replaced in
their places, and what a person shows or hides stays as it is, unless that is a later
result which no longer belongs to what was run, or another set of results (see
`layer_sets`): that is hidden, so that the run's own picture is seen.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, build_suffix
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    about,
    find_layers,
    is_stored,
    place_layers,
)
from napari_exo2micro.plugin.widgets.errors import notify_error

# The best picture that there is: the difference covers the overlay of the pair.
_SHOWN = (("difference",), ("aligned 3", "aligned 2", "pre"), ("post",))
# What else a run leaves: made from its images, for a person to show.
_DRAWN = ("ring ", "matches ", "scaled ")
_RAW = "raw"


def made_with(known: Mapping[str, Any], stage: int) -> str:
    """Return what names the parameters of stages 1..`stage` that made a layer."""
    return build_suffix(known.get("parameters", {}), stage)


def _stage(known: Mapping[str, Any]) -> int:
    return int(known.get("stage", 0))


def _belong(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two images can be of one run."""
    if first["role"] == second["role"]:
        return bool(first["paths"] == second["paths"])
    stage = min(_stage(first), _stage(second))
    return stage < 1 or made_with(first, stage) == made_with(second, stage)


def fit_into_sets(
    viewer: ViewerModel, specs: Sequence[LayerSpec]
) -> tuple[list[LayerSpec], str]:
    """Return what of opened layers the viewer lacks, and which set they belong to.

    Raw layers make room: they are set apart when results come.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer that they are opened in.
    specs : sequence of LayerSpec
        Of one sample and dye and one run, bottom first.

    Returns
    -------
    new : list of LayerSpec
        Those that are not there, named and marked as their set asks for.
    apart : str
        The set: empty for the one that is worked on.
    """
    known = [spec.about for spec in specs]
    sample, dye = (str(known[0].get(name, "")) for name in ("sample", "dye"))
    stored = [one for one in known if is_stored(one)]
    keys = {layer_key(one) for one in known}
    if any(_stage(one) > 0 for one in stored):
        _set_raw_apart(viewer, sample, dye, {str(one["role"]) for one in stored})
    everything = find_layers(viewer, None, sample, dye, apart=None)
    labels = {"": None} | {str(about(one).get("apart", "")): None for one in everything}
    for label in labels:
        own = [about(one) for one in find_layers(viewer, None, sample, dye, label)]
        there = {layer_key(one) for one in own}
        others = [one for one in own if is_stored(one)]
        fits = all(_belong(new, old) for new in stored for old in others)
        if fits and (not label or there & keys):
            new = [spec for spec in specs if layer_key(spec.about) not in there]
            return [_marked(spec, label) for spec in new], label
    working = [about(one) for one in find_layers(viewer, None, sample, dye)]
    label = _difference(stored, [one for one in working if is_stored(one)])
    number, first = 2, label
    while label in labels:
        label, number = f"{first} ({number})", number + 1
    return [_marked(spec, label) for spec in specs], label


def layer_key(known: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what tells the layers of one set apart: role, files, kind of scale."""
    scale = known.get("scale") or {}
    return (str(known.get("role")), *known.get("paths", ()), str(scale.get("kind", "")))


def _set_raw_apart(
    viewer: ViewerModel, sample: str, dye: str, roles: Collection[str]
) -> None:
    for layer in find_layers(viewer, None, sample, dye):
        known = about(layer)
        if is_stored(known) and not _stage(known) and known["role"] in roles:
            layer.metadata = {**layer.metadata, KEY: {**known, "apart": _RAW}}


def _marked(spec: LayerSpec, label: str) -> LayerSpec:
    """Return a layer that says in which set it stands."""
    if not label:
        return spec
    metadata = spec.options.get("metadata", {})
    name = str(spec.options.get("name", ""))
    options = {
        **spec.options,
        "name": name if name.endswith(label) else f"{name} ({label})",
        "metadata": {**metadata, KEY: {**spec.about, "apart": label}},
    }
    return LayerSpec(spec.data, options, spec.kind)


def _difference(
    new: Sequence[Mapping[str, Any]], working: Sequence[Mapping[str, Any]]
) -> str:
    """Return in words how a set differs from the one that is worked on."""
    if not any(_stage(one) for one in new):
        return _RAW
    pairs = [(one, old) for one in new for old in working if not _belong(one, old)]
    for one, old in sorted(pairs, key=lambda pair: -min(map(_stage, pair))):
        stage = min(_stage(one), _stage(old))
        mine, theirs = one.get("parameters", {}), old.get("parameters", {})
        words = [
            f"{parameter.title}: {_word(mine.get(name, parameter.default))}"
            for name, parameter in PARAMETER_REGISTRY.items()
            if parameter.stage <= stage
            if mine.get(name, parameter.default) != theirs.get(name, parameter.default)
        ]
        if words:
            return ", ".join(words)
    path = Path(str(new[-1]["paths"][0]))
    folders = {Path(str(one["paths"][0])).parent for one in working}
    return path.suffix[1:].upper() if path.parent in folders else f"in {path.parent}"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value is None else str(value)


def show_set(
    viewer: ViewerModel,
    sample: str,
    dye: str,
    apart: str,
    coming: Sequence[LayerSpec] = (),
) -> set[str]:
    """Show a picture of a set and hide all other results.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    sample, dye, apart : str
        Which set it is.
    coming : sequence of LayerSpec
        What was opened: it is in the picture, whether it is in the viewer or not yet.

    Returns
    -------
    set of str
        The roles that are shown.
    """
    own = find_layers(viewer, None, sample, dye, apart)
    roles = {str(about(layer).get("role")) for layer in own}
    best = best_roles(roles)
    if coming:
        opened = {str(spec.about.get("role")) for spec in coming}
        best = best_roles(opened) or opened
        if not any(role.startswith("difference") for role in best):
            best |= {"post"} & roles
    for layer in find_layers(viewer, apart=None):
        known = about(layer)
        if is_stored(known):
            visible = layer in own and known["role"] in best
        elif str(known.get("role")).startswith(_DRAWN):
            visible = False
        else:
            continue  # of a person, or of the inspection, which ends it itself
        if layer.visible != visible:  # napari draws everything anew even so
            layer.visible = visible
    return best


def best_roles(roles: Collection[str]) -> set[str]:
    """Return the roles that make the best picture of a set, out of those it has."""
    found = {next((r for r in choice if r in roles), "") for choice in _SHOWN}
    return found - {""}


def hide_apart(viewer: ViewerModel, sample: str, dye: str) -> bool:
    """Hide the sets of a sample and dye that stand apart; tell whether any was shown.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    sample, dye : str
        Of which pair the set that is worked on is to be shown.
    """
    was_shown = False
    for layer in find_layers(viewer, None, sample, dye, apart=None):
        if about(layer).get("apart") and layer.visible:
            layer.visible, was_shown = False, True
    return was_shown


def set_in_front(viewer: ViewerModel, sample: str, dye: str) -> str:
    """Return which set of a sample and dye a person looks at.

    That of its topmost visible image; the one that is worked on where none is.
    """
    for layer in reversed(find_layers(viewer, None, sample, dye, apart=None)):
        known = about(layer)
        if layer.visible and isinstance(layer, Image) and is_stored(known):
            return str(known.get("apart", ""))
    return ""


def fitting_layers(
    viewer: ViewerModel, sample: str, dye: str, apart: str = ""
) -> tuple[dict[str, Image], dict[str, Image]]:
    """Return the images of a set by their roles: those that fit, and outdated ones.

    An image is outdated when a stage before its own has been run with other settings
    since, or with other raw files: the images that are there show something else than
    what it was made from.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    sample, dye, apart : str
        Which set it is.
    """
    layers = [
        layer
        for layer in find_layers(viewer, None, sample, dye, apart)
        if isinstance(layer, Image) and is_stored(about(layer))
    ]
    layers.sort(key=lambda layer: _stage(about(layer)))
    fitting: dict[str, Image] = {}
    outdated: dict[str, Image] = {}
    for layer in layers:
        known = about(layer)
        before = [about(one) for one in fitting.values()]
        fits = all(_was_made_from(known, one) for one in before)
        (fitting if fits else outdated)[str(known["role"])] = layer
    return fitting, outdated


def _was_made_from(later: Mapping[str, Any], earlier: Mapping[str, Any]) -> bool:
    stage = _stage(earlier)
    if not 0 < stage < _stage(later):
        return True
    if made_with(later, stage) != made_with(earlier, stage):
        return False
    raw = [_raw_content(one) for one in (later, earlier)]
    return not all(raw) or raw[0] == raw[1]


def _raw_content(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells the raw files apart, wherever they lie; empty if unknown."""
    raw = (known.get("header") or {}).get("raw") or {}
    return {
        side: fields["sha256"]
        for side, fields in raw.items()
        if isinstance(fields, Mapping) and "sha256" in fields
    }


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
