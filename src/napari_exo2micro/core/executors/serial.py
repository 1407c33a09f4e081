"""One task after the other, in the process that asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_exo2micro.core.tasks import (
    STOPPED,
    OnEvent,
    Task,
    TaskEvent,
    result_without_run,
    run_task,
)

__all__ = ["SerialExecutor"]


class SerialExecutor:
    """Runs tasks one after the other in this process, see `Executor`."""

    n_workers = 1
    is_here = True

    def run(
        self,
        tasks: Sequence[Task],
        on_event: OnEvent,
        should_stop: Callable[[], bool],
    ) -> list[dict[str, Any]]:
        """Run tasks and return their results in the same order."""
        results = []
        for task in tasks:
            if should_stop():
                result = result_without_run(task.sample, task.dye, STOPPED)
            else:
                result = run_task(task, on_event, should_stop)
            results.append(result)
            on_event(TaskEvent.ended(task.number, result))
        return results

    def close(self) -> None:
        """Do nothing: nothing was started."""
