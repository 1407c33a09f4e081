"""What is on disk already for a task of a batch, and what it would still do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_exo2micro.core.locks import lock_holder
from napari_exo2micro.core.stage_states import stages_done
from napari_exo2micro.core.stages import STAGES, stage_range

if TYPE_CHECKING:
    from napari_exo2micro.core.checkpoint import CheckpointStatus
    from napari_exo2micro.core.tasks import Task

__all__ = ["StoredState", "stages_to_run", "stored_state"]


@dataclass(frozen=True, slots=True)
class StoredState:
    """What is on disk for a task.

    Attributes
    ----------
    state : {'none', 'part', 'stale', 'done', 'degraded'}
        Nothing; the first stages; results that are not used any more; all that the
        task would make; the same, and a stage does not vouch for its result.
    reason : str
        Why results are stale or degraded; for a part, which stages there are.
    to_run : tuple of int
        Stages that the task would run now.
    holder : str
        Who works on this sample and dye now; empty when nobody does.
    result : dict, optional
        As `SampleDye.run` returned it, where all is done.
    """

    state: Literal["none", "part", "stale", "done", "degraded"]
    reason: str = ""
    to_run: tuple[int, ...] = ()
    holder: str = ""
    result: dict[str, Any] | None = None

    @property
    def has_results(self) -> bool:
        """Whether at least one stage has results that are used."""
        return self.state in ("part", "done", "degraded")


def stages_to_run(task: Task) -> tuple[int, ...]:
    """Return the stages that a task would run now.

    Parameters
    ----------
    task : Task
        Its files are looked at, nothing is written.
    """
    return _to_run(task, task.open().status())


def stored_state(task: Task) -> StoredState:
    """Return what is on disk for a task.

    Parameters
    ----------
    task : Task
        Its files are looked at, nothing is written.

    Raises
    ------
    Exo2MicroError
        When a name or a parameter does not fit.
    """
    opened = task.open()
    lines = opened.status()
    to_run = _to_run(task, lines)
    found = lock_holder(task.output_dir, task.sample, task.dye)
    holder = str(found) if found is not None else ""
    _, last = stage_range(task.from_stage, task.to_stage)
    own = [line for line in lines if line.stage <= last]
    if all(line.state == "valid" for line in own):
        from napari_exo2micro.core.outcome import summarise

        result = summarise(opened, last)
        word, _, reason = str(result["status"]).partition(": ")
        state: Literal["done", "degraded"] = "done"
        if word == "degraded":
            state = "degraded"
        return StoredState(state, reason, to_run, holder, result)
    for line in own:
        if line.state == "stale":
            title = f"stage {line.stage} {STAGES[line.stage].title}"
            return StoredState("stale", f"{title}: {line.reason}", to_run, holder)
    done = stages_done(own)
    if done:
        words = "stage 1 is" if done == 1 else f"stages 1 to {done} are"
        return StoredState("part", f"{words} done", to_run, holder)
    return StoredState("none", "", to_run, holder)


def _to_run(task: Task, lines: list[CheckpointStatus]) -> tuple[int, ...]:
    first, last = stage_range(task.from_stage, task.to_stage)
    invalid = {line.stage for line in lines if line.state != "valid"}
    return tuple(
        stage
        for stage in range(1, last + 1)
        if stage in invalid or (task.force and stage >= first)
    )
