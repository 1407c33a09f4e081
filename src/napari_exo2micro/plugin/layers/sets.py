"""Which layers belong to one run, and which of them are to be seen.

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
result which no longer belongs to what was run, or another set of results: that is
hidden, so that the run's own picture is seen.

All of it is decided here, as a `Wish`, from the layers as they are, and applied by the
viewer's `Display`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    build_suffix,
    value_words,
)
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    Role,
    about,
    find_layers,
    is_stored,
    role_name,
)
from napari_exo2micro.plugin.layers.scene import Rank, Wanted, Wish

#: The set of raw images beside results.
RAW = "raw"
# The best picture that there is: the difference covers the overlay of the pair.
_MODEL = "difference model"
_BEST = ((_MODEL, "difference"), ("aligned 3", "aligned 2", "pre"), ("post",))
# Roles that are shown together once the first of them has come: the overlay of the
# pair as it is aligned so far, and at the end the difference alone.
_PICTURES: tuple[tuple[str, ...], ...] = (
    ("pre", "post"),
    ("aligned 2", "post", "ring pre", "ring post"),
    ("aligned 3", "post"),
    ("difference",),
)
_MANAGED = frozenset(role for picture in _PICTURES for role in picture)

Known = Mapping[str, Any]


def shown(visible: Mapping[Layer, bool], active: Layer | None = None) -> Wish:
    """Return the wish that some layers are seen or not; others stay."""
    values = (Wanted(layer, "visible", is_seen) for layer, is_seen in visible.items())
    return Wish(tuple(values), active=active)


# What is shown -------------------------------------------------------------------


def picture_shown(own: Sequence[Layer], picture: Sequence[str]) -> Wish:
    """Return the layers of a set with one picture of it in front.

    The first role of the picture is selected. What is part of no picture is a
    person's affair.
    """
    named = {layer: role_name(layer) for layer in own}
    return shown(
        {
            layer: name in picture
            for layer, name in named.items()
            if name in picture or _is_managed(layer)
        },
        next((layer for layer, name in named.items() if name == picture[0]), None),
    )


def stage_shown(own: Sequence[Layer], number: int, new: Sequence[str]) -> Wish:
    """Return the layers of a set when a stage has brought results.

    New are the roles that were not there, or had left the front.
    """
    picture: tuple[str, ...] = ()
    if number < len(_PICTURES):
        picture = _PICTURES[number - 1]
    elif number == len(_PICTURES):
        # Without a new main difference that of a further scale is the news.
        picture = tuple(r for r in new if Role.named(r) is Role.DIFFERENCE)[-1:]
        picture = ("difference",) if "difference" in new else picture
        # That of a background model is made where it is the better one.
        picture = (_MODEL,) if _MODEL in new else picture
    if not picture or picture[0] not in new:
        return Wish()
    return picture_shown(own, picture)


def outdated_in_front(own: Sequence[Layer], last: int) -> Layer | None:
    """Return the later result in front that a run up to stage `last` has outdated."""
    first = [layer for layer in own if role_name(layer) == last_picture(last)[0]]
    if last >= len(_PICTURES) or not first:
        return None
    now = made_with(about(first[-1]), last)
    for layer in own:
        is_later = _is_managed(layer) and stage_of(about(layer)) > last
        if layer.visible and is_later and made_with(about(layer), last) != now:
            return layer
    return None


def last_picture(last: int) -> tuple[str, ...]:
    """Return the roles of the picture that a run up to stage `last` ends with."""
    return _PICTURES[min(last, len(_PICTURES)) - 1]


def set_shown(
    layers: Iterable[Layer], own: Collection[Layer], picture: Collection[str]
) -> Wish:
    """Return all our layers with a picture of one set, and no result of another."""
    visible = {}
    for layer in layers:
        if is_stored(about(layer)):
            visible[layer] = layer in own and role_name(layer) in picture
        elif (role := Role.of(layer)) is not None and role.value.is_drawn:
            visible[layer] = False
        # Others are a person's, or of the inspection, which ends them itself.
    return shown(visible)


def best_roles(roles: Collection[str], opened: Collection[str] = ()) -> set[str]:
    """Return the roles that make the best picture of a set that has these roles.

    Those that a person has just opened are in the picture.
    """
    best = {next((r for r in choice if r in (opened or roles)), "") for choice in _BEST}
    best = best - {""} or set(opened)
    if opened and not any(Role.named(r) is Role.DIFFERENCE for r in best):
        best |= {"post"} & set(roles)
    return best


def left_by(number: int, layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return what a stage has left of some layers: it goes when it is not renewed."""
    return tuple(
        layer
        for layer in layers
        if (role := Role.of(layer)) is not None
        and role.value.is_result
        and about(layer).get("stage") == number
    )


def _is_managed(layer: Layer) -> bool:
    """Return whether a layer is part of a picture; others are a person's affair."""
    return role_name(layer) in _MANAGED or Role.of(layer) is Role.DIFFERENCE


def others_hidden(viewer: ViewerModel, sample: str, dye: str) -> Wish:
    """Return the wish that nothing of ours of another sample or dye is seen."""
    return Wish(
        tuple(
            Wanted(layer, "visible", False)
            for layer in find_layers(viewer, apart=None)
            if "sample" in (known := about(layer))
            and (known["sample"], known.get("dye")) != (sample, dye)
        ),
        rank=Rank.CHOICE,
    )


# What belongs to the settings ------------------------------------------------------


def shown_otherwise(seen: Iterable[Known], sample: str, dye: str, params: Known) -> str:
    """Return how what is seen differs from what the panels speak of; empty if not.

    Parameters
    ----------
    seen
        What is known of the visible layers.
    sample, dye, params
        What is chosen in the panels.
    """
    stored = [known for known in seen if is_stored(known)]
    for known in stored:
        if (known["sample"], known["dye"]) != (sample, dye):
            return (
                f"This is {known['sample']} {known['dye']}; {sample} {dye} is chosen "
                "in the workbench"
            )
    words: dict[str, None] = {}
    for known in stored:
        words |= dict.fromkeys(_apart(known["parameters"], params, stage_of(known)))
    return f"Made with other settings: {', '.join(words)}" if words else ""


def has_match(
    there: Sequence[Known], params: Known, valid: Collection[tuple[int, str]]
) -> bool:
    """Return whether valid results belong to settings better than what is there.

    Parameters
    ----------
    there
        What is known of a pair's images in the viewer; without any nothing is missed.
    params
        The present settings.
    valid
        Stage and name of each checkpoint on disk that was made with these.
    """
    if valid and there and not any(map(stage_of, there)):
        return True  # only raw images are there
    return any(
        (stage_of(known), known.get("checkpoint")) in valid
        and made_with(known, stage_of(known)) != build_suffix(params, stage_of(known))
        for known in there
    )


# What belongs together -----------------------------------------------------------


def made_with(known: Known, stage: int) -> str:
    """Return what names the parameters of stages 1..`stage` that made a layer."""
    return build_suffix(known.get("parameters", {}), stage)


def stage_of(known: Known) -> int:
    """Return the stage of a layer, 0 for a raw image."""
    return int(known.get("stage", 0))


def layer_key(known: Known) -> tuple[str, ...]:
    """Return what tells the layers of one set apart: role, files, kind of scale."""
    scale = known.get("scale") or {}
    return (str(known.get("role")), *known.get("paths", ()), str(scale.get("kind", "")))


def set_for(there: Iterable[Known], opened: Sequence[Known]) -> str:
    """Return which set opened layers of one run belong to; empty: the one worked on.

    Parameters
    ----------
    there, opened
        What is known of the layers of that sample and dye in the viewer, and of those
        that come.
    """
    stored = [known for known in opened if is_stored(known)]
    keys = {layer_key(known) for known in opened}
    sets: dict[str, list[Known]] = {"": []}
    for known in there:
        sets.setdefault(str(known.get("apart", "")), []).append(known)
    for label, own in sets.items():
        others = [known for known in own if is_stored(known)]
        fits = all(_belong(new, old) for new in stored for old in others)
        if fits and (not label or keys & {layer_key(known) for known in own}):
            return label
    label = _difference(stored, [known for known in sets[""] if is_stored(known)])
    number, first = 2, label
    while label in sets:
        label, number = f"{first} ({number})", number + 1
    return label


def set_apart(spec: LayerSpec, label: str) -> LayerSpec:
    """Return a layer that says in which set it stands."""
    if not label:
        return spec
    name = str(spec.options.get("name", ""))
    metadata = {**spec.options["metadata"], KEY: {**spec.about, "apart": label}}
    options = {
        **spec.options,
        "name": name if name.endswith(label) else f"{name} ({label})",
        "metadata": metadata,
    }
    return replace(spec, options=options)


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
    """
    layers = [
        layer
        for layer in find_layers(viewer, None, sample, dye, apart)
        if isinstance(layer, Image) and is_stored(about(layer))
    ]
    fitting: dict[str, Image] = {}
    outdated: dict[str, Image] = {}
    for layer in sorted(layers, key=lambda layer: stage_of(about(layer))):
        before = [about(earlier) for earlier in fitting.values()]
        fits = all(_was_made_from(about(layer), earlier) for earlier in before)
        (fitting if fits else outdated)[role_name(layer)] = layer
    return fitting, outdated


def _belong(first: Known, second: Known) -> bool:
    """Return whether two images can be of one run."""
    if first["role"] == second["role"]:
        return bool(first["paths"] == second["paths"])
    stage = min(stage_of(first), stage_of(second))
    return stage < 1 or made_with(first, stage) == made_with(second, stage)


def _difference(new: Sequence[Known], working: Sequence[Known]) -> str:
    """Return in words how a set differs from the one that is worked on."""
    if not any(map(stage_of, new)):
        return RAW
    pairs = [(mine, old) for mine in new for old in working if not _belong(mine, old)]
    for pair in sorted(pairs, key=lambda pair: -min(map(stage_of, pair))):
        stage = min(map(stage_of, pair))
        mine, theirs = (known.get("parameters", {}) for known in pair)
        words = _apart(mine, theirs, stage)
        if words:
            return ", ".join(words)
    path = Path(str(new[-1]["paths"][0]))
    folders = {Path(str(old["paths"][0])).parent for old in working}
    return path.suffix[1:].upper() if path.parent in folders else f"in {path.parent}"


def _apart(mine: Known, theirs: Known, stage: int) -> list[str]:
    """Return in words which parameters up to a stage differ, with those of `mine`."""
    return [
        f"{parameter.title}: {value_words(mine.get(name, parameter.default))}"
        for name, parameter in PARAMETER_REGISTRY.items()
        if parameter.stage <= stage
        if mine.get(name, parameter.default) != theirs.get(name, parameter.default)
    ]


def _was_made_from(later: Known, earlier: Known) -> bool:
    stage = stage_of(earlier)
    if not 0 < stage < stage_of(later):
        return True
    if made_with(later, stage) != made_with(earlier, stage):
        return False
    raw = [_raw_content(known) for known in (later, earlier)]
    return all(raw[0][side] == raw[1][side] for side in raw[0].keys() & raw[1].keys())


def _raw_content(known: Known) -> dict[str, Any]:
    """Return what tells the raw files apart, wherever they lie; empty if unknown."""
    raw = (known.get("header") or {}).get("raw") or {}
    return {
        side: fields["sha256"]
        for side, fields in raw.items()
        if isinstance(fields, Mapping) and "sha256" in fields
    }
