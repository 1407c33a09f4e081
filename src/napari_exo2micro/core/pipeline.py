"""`SampleDye`: the stages in their order, resumed from what is valid on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from napari_exo2micro.core import outcome
from napari_exo2micro.core.checkpoint import CheckpointStatus
from napari_exo2micro.core.comparison import compare_values
from napari_exo2micro.core.differencing import Differencing
from napari_exo2micro.core.locks import sample_lock
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw import find_pair
from napari_exo2micro.core.runlog import run_log
from napari_exo2micro.core.stage_methods import StageMethods
from napari_exo2micro.core.stages import STAGES, stage_range

__all__ = ["SampleDye"]


class SampleDye(StageMethods):
    """One sample with one dye, from raw files to the difference image.

    Each stage takes its inputs from checkpoints and leaves checkpoints, so a run
    goes on in another process where an earlier one stopped.

    Parameters
    ----------
    sample, dye : str
        Names as in the raw folder.
    output_dir, raw_dir : str or Path
        Results go to ``<output_dir>/<sample>/<dye>``.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What checkpoints are written as; the difference is always both.
    loader : callable or str, optional
        Reads a pair instead of `load_image_pair`; same signature, or the name of
        a registered one.
    register_on : str, optional
        Another dye of the sample that was imaged in the same session: stages 2 and
        3 take its transform instead of searching their own. It must have been run
        before. Results made so are valid for an object without `register_on`, too;
        with the name of its own dye they are not.

    Examples
    --------
    >>> from napari_exo2micro.core import SampleDye
    >>> task = SampleDye("CD070", "SybrGld", output_dir="processed", raw_dir="raw")
    >>> task.set_params(boundary_width=20)
    >>> task.non_default_params()
    {'boundary_width': 20}
    """

    def run(
        self,
        from_stage: int | None = None,
        to_stage: int | None = None,
        force: bool = False,
        monitor: Monitor | None = None,
        on_stage: Callable[[int], None] | None = None,
        wait_for_lock: float = 0.0,
    ) -> dict[str, Any]:
        """Run the stages and return what came out.

        Parameters
        ----------
        from_stage, to_stage : int, optional
            First and last stage; all of them by default. A stage before the first
            one runs as well when its result is missing or stale.
        force : bool
            Run the stages even where a valid result exists.
        monitor : Monitor, optional
            Told the fraction done; may stop the run.
        on_stage : callable, optional
            Called with the number of each stage when its results are valid.
        wait_for_lock : float
            Seconds to wait for another run of the same sample and dye to end.

        Returns
        -------
        dict
            `sample`, `dye`; `status` (``'complete'``, or ``'degraded: ...'`` with
            the stage and the reason when one fell back or could not vouch for its
            result); `scale_estimate`, `scale_percentile_value`, `manual_scale`
            (None where not asked for); `scales` (each scale that was used, by its
            kind); `registration` (for stages 2 and 3 the verdict and its numbers),
            `verdicts` (the same for every stage that has one); `warnings`;
            `outputs` (paths).

        Raises
        ------
        Exo2MicroError
            A subclass says what went wrong; valid results are untouched. A
            `LockedError` tells who else works on this sample and dye.
        """
        first, last = stage_range(from_stage, to_stage)
        self._results = {}
        whole = monitor or Monitor()
        numbers = [number for number in sorted(STAGES) if first <= number <= last]
        title = f"{self.sample} {self.dye}, stages {first} to {last}"
        title += ", by force" if force else ""
        with (
            run_log(self.output_dir, title=title, task=self) as log,
            self._locked(wait_for_lock, whole),
        ):
            for index, number in enumerate(numbers):
                self._monitor = whole.part(
                    index / len(numbers), (index + 1) / len(numbers)
                )
                self._monitor.report(0.0, f"stage {number}: {STAGES[number].title}")
                self._do_stage(number, force)
                if on_stage is not None:
                    on_stage(number)
            self._monitor = Monitor()
            whole.report(1.0, "done")
            result = outcome.summarise(self, last)
            log.conclude(result["status"], result["warnings"])
        self._results.update(result)
        return result

    def _locked(self, wait: float, monitor: Monitor) -> AbstractContextManager[None]:
        """Keep other runs away; without raw files no folder is made."""
        built_in = self._loader is None and not self._pads_otherwise()
        if built_in and not self._store.folder.is_dir():
            find_pair(self.sample, self.dye, self.raw_dir)
        return sample_lock(
            self.output_dir, self.sample, self.dye, wait=wait, monitor=monitor
        )

    def result(self) -> dict[str, Any]:
        """Return what `run` returned, from what is valid on disk.

        Returns
        -------
        dict
            As `run` returns it, up to the last stage with a valid result.
        """
        return outcome.summarise(self, max(STAGES))

    def status(self) -> list[CheckpointStatus]:
        """Return for every checkpoint and plot whether it is valid, and why not.

        Returns
        -------
        list of CheckpointStatus
            In the order of the stages; plots come last.
        """
        lines = [
            self._status_of(number, name)
            for number, stage in sorted(STAGES.items())
            for name in self._checkpoint_names(number, stage.checkpoints)
        ]
        return lines + Differencing(self).plot_status()

    def compare(
        self,
        name: str,
        values: Iterable[Any],
        *,
        keep: bool = True,
        to_stage: int | None = None,
        monitor: Monitor | None = None,
        on_result: Callable[[dict[str, Any]], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Run once for each value of one parameter.

        Parameters
        ----------
        name : str
            The parameter.
        values : iterable
            Its values; this object's own parameters stay as they are.
        keep : bool
            Keep each value's files (their names tell the value), or remove what
            these runs have made.
        to_stage : int, optional
            Last stage of each run.
        monitor : Monitor, optional
            Told the fraction done; may stop.
        on_result : callable, optional
            Called with the result of each value as soon as it is there.

        Returns
        -------
        list of dict
            The results of `run`, each with its `value` and the `seconds` that it
            took; where one failed, its `status` is ``'error: ...'``.

        Raises
        ------
        ParameterError
            When the name is unknown or a value does not fit; then nothing runs.
        """
        return compare_values(
            self,
            name,
            values,
            keep=keep,
            to_stage=to_stage,
            monitor=monitor,
            on_result=on_result,
        )

    def _checkpoint_names(
        self, number: int, always: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the checkpoints that the present parameters ask for."""
        if number == 2 and self.params["save_all_intermediates"]:
            return (*always, "coarse_pre")
        if number == 4:
            return tuple(Differencing(self).checkpoint_names())
        return always
