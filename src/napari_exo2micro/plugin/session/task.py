"""What the jobs of a session do in their threads, on one sample and dye."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_exo2micro.core.base import Monitor, check_output, output_problem
from napari_exo2micro.core.parameters import STAGES, ParameterValue, RunSettings
from napari_exo2micro.core.pipeline import (
    RunResult,
    SampleDye,
    stages_done,
)
from napari_exo2micro.core.store import CheckpointStatus

#: Takes a task and the number of a stage; returns what shows its results.
Describe = Callable[[SampleDye, int], Any]


class TaskSource:
    """Makes the `SampleDye` of one sample and dye; may be used from any thread.

    All objects that it makes share what is known of the files on disk, so that raw
    files whose time changed are read once and not at every look at the state.

    Parameters
    ----------
    sample, dye : str
        What is worked on.
    settings : RunSettings
        Folders and format; parameters are given to `task`.
    """

    def __init__(self, sample: str, dye: str, settings: RunSettings) -> None:
        self.sample, self.dye, self.settings = sample, dye, settings
        self._first: SampleDye | None = None
        self._lock = threading.Lock()

    def check_output(self) -> None:
        """Stop when results cannot go to their folder; slow on a slow drive.

        Raises
        ------
        OutputError
            With the reason and the fix.
        """
        check_output(self.settings.output_dir, self.settings.raw_dir)

    def task(self, params: Mapping[str, ParameterValue]) -> SampleDye:
        """Return an object of one's own with these parameters.

        Raises
        ------
        ParameterError
            When a name could leave the output folder.
        """
        return self.task_with(replace(self.settings, params=params))

    def task_with(self, settings: RunSettings) -> SampleDye:
        """Return an object of one's own with these settings, for the same folders."""
        with self._lock:
            if self._first is None:
                self._first = SampleDye.from_settings(
                    self.sample, self.dye, self.settings
                )
            task = self._first.copy()
        task.store.settings = settings
        return task


def look_at_output(output_dir: Path, raw_dir: Path | None, monitor: Monitor) -> str:
    """Return why results cannot go to their folder; empty when they can."""
    monitor.check()
    return output_problem(output_dir, raw_dir)


def read_status(
    source: TaskSource, params: Mapping[str, ParameterValue], monitor: Monitor
) -> tuple[list[CheckpointStatus], RunResult | None]:
    """Return the check-list, and what the valid results say of themselves.

    Returns
    -------
    list of CheckpointStatus
        As `SampleDye.status` returns it.
    RunResult or None
        As `SampleDye.run` returned it, up to the last stage in a row whose results
        are all valid; None when there is none.
    """
    monitor.check()
    task = source.task(params)
    lines = task.status()
    monitor.check()
    done = stages_done(lines)
    return lines, task.result(done) if done else None


def run_stages(
    source: TaskSource,
    settings: RunSettings,
    describe: Describe,
    monitor: Monitor,
    send: Callable[[Any], None],
) -> RunResult:
    """Run stages; send number and description of each one that has ended.

    Raises
    ------
    OutputError
        When results cannot go to their folder.
    """
    source.check_output()
    task = source.task_with(settings)

    def on_stage(number: int) -> None:
        send((number, describe(task, number)))

    first, last = settings.stages
    return task.run(first, last, settings.force, monitor, on_stage)


def stored_layers(
    source: TaskSource,
    params: Mapping[str, ParameterValue],
    describe: Describe,
    monitor: Monitor,
    send: Callable[[Any], None],
) -> int:
    """Send number and description of every stage; return how many layers there are."""
    task, count = source.task(params), 0
    for number in sorted(STAGES):
        monitor.check()
        described = describe(task, number) or ()
        count += len(described)
        send((number, described))
    return count
