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
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY, build_suffix
from napari_exo2micro.plugin.layers import KEY, LayerSpec, about, find_layers, is_stored

__all__ = [
    "best_roles",
    "fit_into_sets",
    "fitting_layers",
    "hide_apart",
    "layer_key",
    "made_with",
    "set_in_front",
    "show_set",
]

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
