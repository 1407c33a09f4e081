"""What a session works on, as the core's object; nothing heavy until it is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.base import Monitor, check_output
from napari_exo2micro.core.parameters import STAGES, ParameterValue
from napari_exo2micro.core.pipeline import stages_done

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import RunResult, SampleDye
    from napari_exo2micro.core.store import CheckpointStatus


class TaskSource:
    """Makes the `SampleDye` of one sample and dye; may be used from any thread.

    All objects that it makes share what is known of the files on disk, so that raw
    files whose time changed are read once and not at every look at the state.

    Parameters
    ----------
    sample, dye, output_dir, raw_dir, checkpoint_format
        As `SampleDye` takes them.
    """

    def __init__(
        self,
        sample: str,
        dye: str,
        output_dir: Path,
        raw_dir: Path,
        checkpoint_format: str,
    ) -> None:
        self._folders = output_dir, raw_dir
        self._arguments = {
            "sample": sample,
            "dye": dye,
            "output_dir": output_dir,
            "raw_dir": raw_dir,
            "checkpoint_format": checkpoint_format,
        }
        self._first: SampleDye | None = None
        self._lock = threading.Lock()

    def check_output(self) -> None:
        """Stop when results cannot go to their folder; slow on a slow drive.

        Raises
        ------
        OutputError
            With the reason and the fix.
        """
        check_output(*self._folders)

    def task(self, params: Mapping[str, ParameterValue]) -> SampleDye:
        """Return an object of one's own with these parameters.

        Raises
        ------
        ParameterError
            When a name could leave the output folder.
        """
        from napari_exo2micro.core.pipeline import SampleDye  # scipy, matplotlib, ...

        with self._lock:
            if self._first is None:
                self._first = SampleDye(**self._arguments)  # type: ignore[arg-type]
            task = self._first.copy()
        task.set_params(**params)
        return task


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
    from napari_exo2micro.core.pipeline import summarise

    lines = task.status()
    monitor.check()
    done = stages_done(lines)
    return lines, summarise(task, done) if done else None


def run_stages(
    source: TaskSource,
    params: Mapping[str, ParameterValue],
    from_stage: int,
    to_stage: int,
    force: bool,
    describe: Callable[[SampleDye, int], Any],
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
    task = source.task(params)

    def ended(number: int) -> None:
        send((number, describe(task, number)))

    return task.run(from_stage, to_stage, force, monitor, ended)


def stored_layers(
    source: TaskSource,
    params: Mapping[str, ParameterValue],
    describe: Callable[[SampleDye, int], Any],
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


def load_core(monitor: Monitor) -> None:
    """Import what the first run needs, so that the first click need not wait."""
    from importlib import import_module

    for module in ("raw", "pipeline", "plotting"):
        monitor.check()
        import_module(f"napari_exo2micro.core.{module}")
