"""What the docks of one viewer work on: folders, sample and dye."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.folders import output_problem
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.jobs import Jobs
from napari_exo2micro.plugin.session_params import SessionParams
from napari_exo2micro.plugin.task_source import TaskSource

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["SessionSource"]


class SessionSource(SessionParams):
    """Holds folders, sample, dye and file format, and tells when one changes.

    Attributes
    ----------
    source_changed : Signal()
        Another sample, dye, folder or checkpoint format.
    output_checked : Signal(str)
        The results folder was looked at: why it cannot be used, empty when it can.
    """

    source_changed = Signal()
    output_checked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Jobs()
        self.raw_dir: Path | None = None
        self.output_dir = Path("processed")
        self.sample = ""
        self.dye = ""
        self.checkpoint_format = "both"
        #: Why the results folder cannot be used, as it was when it was looked at.
        self.output_problem = ""
        #: What the last run returned, None before one and after another choice.
        self.last_result: dict[str, Any] | None = None
        self._task_source: TaskSource | None = None

    def set_source(
        self,
        *,
        raw_dir: Path | str | None = None,
        output_dir: Path | str | None = None,
        sample: str | None = None,
        dye: str | None = None,
        checkpoint_format: str | None = None,
    ) -> None:
        """Choose what is worked on; what is left out stays as it is."""
        before, folders = self._source(), (self.raw_dir, self.output_dir)
        if raw_dir is not None:
            self.raw_dir = Path(raw_dir)
        if output_dir is not None:
            self.output_dir = Path(output_dir)
        if sample is not None:
            self.sample = sample
        if dye is not None:
            self.dye = dye
        if checkpoint_format is not None:
            self.checkpoint_format = checkpoint_format
        if self._source() == before:
            return
        self.last_result = None
        self._task_source = None
        # What still reads files of the one before would show them now.
        self.jobs.cancel(
            "status", "show results", "open a result", "show the raw images"
        )
        self._forget_results()
        if folders != (self.raw_dir, self.output_dir):
            self.look_at_output()
        self.source_changed.emit()
        self._on_new_source()

    def _forget_results(self) -> None:
        """Drop what was read of the source before, before others hear of this one."""

    def _on_new_source(self) -> None:
        """Do what is due when all have heard of another source."""

    def _source(self) -> tuple[Any, ...]:
        folders = (self.raw_dir, self.output_dir)
        return (*folders, self.sample, self.dye, self.checkpoint_format)

    @property
    def has_source(self) -> bool:
        """Whether a raw folder, a sample and a dye are chosen."""
        return bool(self.raw_dir and self.sample and self.dye)

    def task(self) -> SampleDye:
        """Return the sample and dye with the present parameters.

        Raises
        ------
        ParameterError
            When none is chosen yet, or a name cannot be used.
        """
        return self.task_source().task(self._params)

    def task_source(self) -> TaskSource:
        """Return what makes `task`, for work in another thread.

        Raises
        ------
        ParameterError
            When no sample is chosen yet.
        """
        if not (self.sample and self.dye):
            raise ParameterError(
                "no sample is chosen yet; choose the raw folder, the sample and the "
                "dye at the top of the workbench"
            )
        if self._task_source is None:
            self._task_source = TaskSource(
                self.sample,
                self.dye,
                self.output_dir,
                self.raw_dir or Path("raw"),
                self.checkpoint_format,
            )
        return self._task_source

    def look_at_output(self) -> None:
        """Learn in the background whether results can go to their folder."""
        self.output_problem = ""
        self.jobs.start(
            _look_at,
            title=f"looking at {self.output_dir}",
            on_result=self._on_output,
            newest="results folder",
            show_progress=False,
            output_dir=self.output_dir,
            raw_dir=self.raw_dir,
        )

    def _on_output(self, problem: str) -> None:
        self.output_problem = problem
        self.output_checked.emit(problem)


def _look_at(output_dir: Path, raw_dir: Path | None, monitor: Monitor) -> str:
    monitor.check()
    return output_problem(output_dir, raw_dir)
