"""One geometry for all dyes of a sample: transforms taken over from another dye.

Dyes that were imaged in one session moved alike. Then the one that shows most is
registered, and stages 2 and 3 of the others take its transforms. A result made so
depends on the other dye's transform: when that changes, it is stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.errors import CheckpointError, RegistrationError
from napari_exo2micro.core.transforms import Transform

if TYPE_CHECKING:
    from napari_exo2micro.core.provenance import Provenance
    from napari_exo2micro.core.sample_files import SampleFiles
    from napari_exo2micro.core.stage_methods import StageMethods

__all__ = ["STAGES_TAKEN_OVER", "expected", "is_asked_for", "take_over", "why_stale"]

STAGES_TAKEN_OVER: Final = (2, 3)


def is_asked_for(task: SampleFiles) -> bool:
    """Return whether the stages are to take another dye's transforms."""
    return task.register_on is not None and task.register_on != task.dye


def expected(task: SampleFiles, stage: int) -> tuple[str, Transform | None]:
    """Return the dye and the transform that a valid result has taken over.

    Without `register_on`, what is stored decides whose transform it should be.

    Returns
    -------
    dye : str
        Empty when the result's transform is its own.
    transform : Transform or None
        That of the other dye now; the stored one where nothing of the other dye
        is left to compare with.

    Raises
    ------
    CheckpointError
        When the other dye has no valid transform.
    """
    if stage not in STAGES_TAKEN_OVER or task.register_on == task.dye:
        return "", None
    if task.register_on is not None:
        return task.register_on, _transform_of(task, task.register_on, stage)
    stored = _stored(task, stage)
    if stored is None or not stored.registered_on:
        return "", None
    dye = stored.registered_on
    other = task._of_dye(dye)
    if not other._store._candidates(stage, "pre", other.params):
        return dye, stored.transform
    return dye, _transform_of(task, dye, stage)


def why_stale(task: SampleFiles, stage: int) -> str:
    """Return why a stored result's geometry is not the one asked for.

    Empty when that is not what makes it stale.
    """
    stored = _stored(task, stage) if stage in STAGES_TAKEN_OVER else None
    if stored is None:
        return ""
    try:
        dye, transform = expected(task, stage)
    except CheckpointError as error:
        return str(error)
    if stored.registered_on != dye:
        made = f"that of {stored.registered_on}" if stored.registered_on else "its own"
        asked = f"that of {dye}" if dye else "its own"
        return f"its transform is {made}, {asked} is asked for"
    if dye and stored.transform != transform:
        return f"the transform of {dye}, which it has taken over, has changed"
    return ""


def take_over(task: StageMethods, stage: int) -> None:
    """Do the work of stage 2 or 3 with the transform of `task.register_on`.

    Raises
    ------
    CheckpointError
        When that dye has no valid result of the stage.
    RegistrationError
        When the two dyes' images differ in size: they do not share a geometry.
    """
    dye = task.register_on
    assert dye is not None
    transform = _transform_of(task, dye, stage)
    other = task._of_dye(dye)
    pre = task._need(1, "pre")
    for side in ("post", "pre"):
        mine = task._need(1, side).frames[side]
        theirs = other._need(1, side).frames[side]
        if mine is not None and theirs is not None and mine != theirs:
            raise RegistrationError(
                f"the {side}-stain image of {task.sample} / {task.dye} has "
                f"{mine[2]} x {mine[3]} px, that of {dye} {theirs[2]} x {theirs[3]}: "
                "they do not share one geometry; register each dye by itself"
            )
    found = other._need(stage, "pre").provenance
    details = dict(found.details) if found else {}
    verdict = _verdict(found, dye, stage)
    task._results["warp_matrix"] = transform.matrix
    if stage == 2 and task.params["save_all_intermediates"]:
        coarse = details.get("coarse_matrix")
        task._write_aligned(
            2,
            "coarse_pre",
            pre,
            transform if coarse is None else Transform(coarse),
            verdicts={"2": verdict},
            registered_on=dye,
            taken_over=transform,
        )
    interpolation = str(task.params["interpolation"]) if stage == 3 else "linear"
    task._write_aligned(
        stage,
        "pre",
        pre,
        transform,
        verdicts={str(stage): verdict},
        details=details,
        registered_on=dye,
        taken_over=transform,
        interpolation=interpolation,
    )


def _transform_of(task: SampleFiles, dye: str, stage: int) -> Transform:
    """Return the present transform of another dye.

    Raises
    ------
    CheckpointError
        When it has none that is valid.
    """
    try:
        return task._of_dye(dye).transform(stage)
    except CheckpointError as error:
        raise CheckpointError(
            f"{task.sample} / {task.dye} takes the transform of {dye}, whose stage "
            f"{stage} has no valid result; run {task.sample} / {dye} first"
        ) from error


def _stored(task: SampleFiles, stage: int) -> Provenance | None:
    """Return the header of a stage's file, valid or not."""
    for path in task._store._candidates(stage, "pre", task.params):
        try:
            provenance = task._store._read(path)[1]
        except CheckpointError:
            continue
        if provenance is not None:
            return provenance
    return None


def _verdict(found: Provenance | None, dye: str, stage: int) -> Verdict:
    """Return what the other dye's stage said of its work, and whose it is."""
    theirs = found.verdicts.get(str(stage)) if found else None
    if theirs is None:
        return Verdict("failed", f"taken over from {dye}, which has no verdict")
    reason = f"taken over from {dye}"
    if theirs.reason:
        reason += f": {theirs.reason}"
    return Verdict(theirs.state, reason, theirs.numbers)
