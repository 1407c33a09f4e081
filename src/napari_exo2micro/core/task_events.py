"""What a batch tells of its tasks: events, states and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_exo2micro.core.tasks import Task

__all__ = ["OnEvent", "TaskEvent", "TaskState", "result_without_run", "state_of"]


class TaskState(StrEnum):
    """Where a task is, in a person's words."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    NO_FILES = "no files"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something that happened to a task.

    Attributes
    ----------
    number : int
        The task's place in the batch.
    sample, dye : str
        Whose task it is.
    state : TaskState
        Where it is now.
    stage : int
        The stage that runs, 0 before the first one.
    fraction : float
        Done of the whole task, 0..1.
    text : str
        What is being done, the status in the end, or why there is none.
    result : dict, optional
        In the end: what the run returned.
    """

    number: int
    sample: str
    dye: str
    state: TaskState
    stage: int = 0
    fraction: float = 0.0
    text: str = ""
    result: dict[str, Any] | None = None

    @classmethod
    def queued(cls, task: Task, text: str = "") -> TaskEvent:
        """Return the event of a task that waits for its turn.

        Parameters
        ----------
        task : Task
            Which one.
        text : str
            What it waits for, in words.

        Returns
        -------
        TaskEvent
            Its state is `queued`.
        """
        return cls(task.number, task.sample, task.dye, TaskState.QUEUED, text=text)

    @classmethod
    def ended(cls, number: int, result: dict[str, Any]) -> TaskEvent:
        """Return the last event of a task.

        Parameters
        ----------
        number : int
            The task's place in the batch.
        result : dict
            As `run_batch` returns it.

        Returns
        -------
        TaskEvent
            Its state follows from the result's status.
        """
        state = state_of(result)
        return cls(
            number,
            result["sample"],
            result["dye"],
            state,
            fraction=1.0 if state is TaskState.DONE else 0.0,
            text=result["status"],
            result=result,
        )


OnEvent = Callable[[TaskEvent], None]


def state_of(result: Mapping[str, Any]) -> TaskState:
    """Return the state that a result's status stands for."""
    word = str(result["status"]).partition(":")[0]
    return {
        "error": TaskState.FAILED,
        "skipped": TaskState.NO_FILES,
        "stopped": TaskState.STOPPED,
    }.get(word, TaskState.DONE)


def result_without_run(
    sample: str, dye: str, status: str, *, manual_scale: Any = None
) -> dict[str, Any]:
    """Return the result of a task that gave none.

    Parameters
    ----------
    sample, dye : str
        Whose task it is.
    status : str
        ``'error: ...'``, ``'skipped: ...'`` or ``'stopped: ...'``.
    manual_scale : float, optional
        As it was asked for.
    """
    return {
        "sample": sample,
        "dye": dye,
        "status": status,
        "scale_estimate": None,
        "scale_percentile_value": None,
        "manual_scale": manual_scale,
        "scale": None,
        "scales": {},
        "registration": {},
        "verdicts": {},
        "warnings": [],
        "outputs": [],
        "seconds": 0.0,
    }
