"""What a batch asks of an executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from napari_exo2micro.core.tasks import OnEvent, Task

__all__ = ["Executor"]


class Executor(Protocol):
    """Runs tasks, somewhere.

    Attributes
    ----------
    n_workers : int
        How many tasks run at once at most.
    is_here : bool
        Whether they take the memory of this computer.
    """

    @property
    def n_workers(self) -> int:
        """How many tasks run at once at most."""

    @property
    def is_here(self) -> bool:
        """Whether tasks take the memory of this computer."""

    def run(
        self,
        tasks: Sequence[Task],
        on_event: OnEvent,
        should_stop: Callable[[], bool],
    ) -> list[dict[str, Any]]:
        """Run tasks and return their results in the same order.

        No task's fate has an effect on another one.

        Parameters
        ----------
        tasks : sequence of Task
            What to run.
        on_event : callable
            Told in the calling thread what happens to each; its last event has the
            result.
        should_stop : callable
            Asked a few times each second; once it is true, running tasks are ended
            between two windows, and the others are not begun.
        """

    def close(self) -> None:
        """Let go of what was started for the tasks."""
