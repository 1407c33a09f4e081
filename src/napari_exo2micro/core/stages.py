"""The stages: their order, names, methods and files, in one registry."""

from __future__ import annotations

from dataclasses import dataclass

from napari_exo2micro.core.errors import ParameterError

__all__ = [
    "STAGES",
    "STAGE_NAMES",
    "Stage",
    "register_stage",
    "stage_range",
    "unregister_stage",
]


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
    method : str
        The method of `SampleDye` that does the work; takes ``force=False``.
    checkpoints : tuple of str
        The images that the stage always leaves.
    purpose : str
        What it does and when its parameters need a change, for a form.
    """

    number: int
    name: str
    title: str
    method: str
    checkpoints: tuple[str, ...]
    purpose: str = ""


#: number -> `Stage`, in the order of the run.
STAGES: dict[int, Stage] = {
    stage.number: stage
    for stage in (
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
    )
}

#: number -> name, kept in step with `STAGES`.
STAGE_NAMES: dict[int, str] = {stage.number: stage.name for stage in STAGES.values()}

_BUILT_IN = frozenset(STAGES)


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

    Raises
    ------
    ParameterError
        When the number is not the next one or the name does not begin with it.
    """
    wanted = max(STAGES) + 1
    if stage.number != wanted or not stage.name.startswith(f"{wanted:02d}_"):
        raise ParameterError(
            f"a new stage must have the number {wanted} and a name that begins with "
            f"'{wanted:02d}_', found {stage.number} and '{stage.name}'"
        )
    STAGES[stage.number] = stage
    STAGE_NAMES[stage.number] = stage.name


def unregister_stage(number: int) -> None:
    """Remove a stage that `register_stage` added last."""
    if number in _BUILT_IN or number != max(STAGES):
        raise ParameterError(f"stage {number} is not the last one of yours")
    del STAGES[number], STAGE_NAMES[number]
