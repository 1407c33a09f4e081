"""The stages: their order, names, methods and files, in one registry."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.registry import Registry

ENTRY_POINT_GROUP: Final = "napari_exo2micro.stages"
"""Other packages offer stages here: a name, and a `Stage` or several."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the pipeline.

    Attributes
    ----------
    number : int
        Counts from 1; the order of the run.
    name : str
        Begins with the number in two digits; the start of the stage's file names.
    title : str
        In words, for people.
    method : callable or str
        Does the work. A function is called with the `SampleDye` and `force` (bool);
        a name is that of a method of it, which is called with `force`.
    checkpoints : tuple of str
        The images that the stage always leaves, one at least: what the stage after
        it is made from.
    purpose : str
        What it does and when its parameters need a change, for a form.
    labels : tuple of str
        Those of the images whose pixels are numbers of objects: a viewer shows
        them in colours.
    """

    number: int
    name: str
    title: str
    method: str | Callable[..., None]
    checkpoints: tuple[str, ...]
    purpose: str = ""
    labels: tuple[str, ...] = ()


def _check(stage: Stage, known: Mapping[int, Stage]) -> None:
    """Raise when a stage cannot be the next one."""
    wanted, names = max(known) + 1, stage.checkpoints
    if stage.number in known:
        raise ParameterError(
            f"there is a stage {stage.number} already, "
            f"'{known[stage.number].name}'; give '{stage.name}' the number {wanted} "
            f"and a name that begins with '{wanted:02d}_'"
        )
    is_named = re.fullmatch(rf"{wanted:02d}_[a-z][a-z0-9_]{{0,39}}", stage.name)
    if stage.number != wanted or not is_named:
        raise ParameterError(
            f"a new stage must have the number {wanted} and a name that begins with "
            f"'{wanted:02d}_' (small letters, digits and '_' follow), found "
            f"{stage.number} and '{stage.name}'"
        )
    if not names or not all(_WORD.fullmatch(name) for name in names):
        raise ParameterError(
            f"stage '{stage.name}' must leave at least one image, named in letters, "
            f"digits and '_' (checkpoints=('labels',)), found {names!r}"
        )
    if not set(stage.labels) <= set(names):
        raise ParameterError(
            f"the labels of stage '{stage.name}' must be among its checkpoints "
            f"{', '.join(names)}, found {', '.join(stage.labels)}"
        )


_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

#: number -> `Stage`, in the order of the run.
STAGES: Registry[int, Stage] = Registry(
    "stage",
    ENTRY_POINT_GROUP,
    Stage,
    key=lambda stage: stage.number,
    check=_check,
    order=lambda stage: stage.number,
    built_in=(
        Stage(
            1,
            "01_padded",
            "padding",
            "_run_stage_1_padding",
            ("post", "pre"),
            "Puts both images on one larger canvas. Widen the margin when the sections "
            "lie so far apart that a part of one would be cut off.",
        ),
        Stage(
            2,
            "02_icp_aligned",
            "boundary alignment",
            "_run_stage_2_boundary",
            ("pre",),
            "Lays the outline of the pre-stain section on that of the post-stain one. "
            "Change something when the two outlines do not lie on each other.",
        ),
        Stage(
            3,
            "03_interior_aligned",
            "interior alignment",
            "_run_stage_3_interior",
            ("pre",),
            "Finds the same grains in both images and lays them on each other to a "
            "fraction of a pixel. Change something when grains show coloured edges.",
        ),
        Stage(
            4,
            "04_difference",
            "scale and difference",
            "_run_stage_4_diagnostics",
            ("difference",),
            "Scales the pre-stain image to the brightness of the minerals after "
            "staining and subtracts it: what remains is stain. Set a scale by hand "
            "when minerals remain visible in the difference.",
        ),
        Stage(
            5,
            "05_microbes",
            "microbes",
            "_run_stage_5_microbes",
            ("snr", "labels"),
            "Finds the spots that stand out of the difference, measures each, and says "
            "how many of them are microbes and how sure that is. Allow fewer false "
            "ones where noise is taken for microbes.",
            labels=("labels",),
        ),
    ),
)

#: number -> name, kept in step with `STAGES`.
STAGE_NAMES: Mapping[int, str] = STAGES.view(lambda stage: stage.name)

#: The stage that makes the difference and draws its plots.
DIFFERENCE_STAGE: Final = 4

#: The stage that finds and counts the microbes.
MICROBES_STAGE: Final = 5


def stage_range(from_stage: int | None, to_stage: int | None) -> tuple[int, int]:
    """Return the first and the last stage of a run, None standing for either end.

    Raises
    ------
    ParameterError
        When there is no such stage, or the last one comes before the first one.
    """
    first = min(STAGES) if from_stage is None else from_stage
    last = max(STAGES) if to_stage is None else to_stage
    if first not in STAGES or last not in STAGES or first > last:
        names = ", ".join(f"{number} ({name})" for number, name in STAGE_NAMES.items())
        raise ParameterError(
            f"from_stage and to_stage take rising numbers of {names}; found {first!r} "
            f"and {last!r}"
        )
    return first, last


def register_stage(stage: Stage) -> None:
    """Add a stage after the last one; run, status and file names follow.

    Parameters
    ----------
    stage : Stage
        Its number is the next one.

    Raises
    ------
    ParameterError
        When the number is not the next one, the name does not begin with it, or the
        stage leaves no image.

    Examples
    --------
    >>> def find_cells(task, force=False):
    ...     ...
    >>> register_stage(Stage(6, "06_cells", "cells", find_cells, ("labels",)))
    >>> STAGE_NAMES[6]
    '06_cells'
    >>> unregister_stage(6)
    """
    STAGES.add(stage)


def unregister_stage(number: int) -> None:
    """Remove a stage that `register_stage` added last.

    Parameters
    ----------
    number : int
        Its number.

    Raises
    ------
    ParameterError
        When it is a built-in stage or not the last one.
    """
    if STAGES.is_built_in(number) or number != max(STAGES):
        raise ParameterError(f"stage {number} is not the last one of yours")
    STAGES.remove(number)
