"""`SampleDye`: the stages in their order, resumed from what is valid on disk.

It has a store, which knows the settings and what is valid, and calls the functions of
`alignment` and `difference`, whose results it stores.

Dyes that were imaged in one session moved alike. Then the one that shows most is
registered, and stages 2 and 3 of the others take its transforms. A result made so
depends on the other dye's transform: when that changes, it is stale.
"""

import copy
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from napari_exo2micro.core.alignment.alignments import error_map_from_details
from napari_exo2micro.core.alignment.boundary import (
    recover_transform,
    register_highorder,
)
from napari_exo2micro.core.alignment.error_map import ErrorMap
from napari_exo2micro.core.alignment.interior import refine_interior_sift
from napari_exo2micro.core.alignment.settings import BoundarySettings, InteriorSettings
from napari_exo2micro.core.base import Monitor, errors, locks, visible
from napari_exo2micro.core.base.text import Listing, Shown, told
from napari_exo2micro.core.images.transform import Transform, TransformLike
from napari_exo2micro.core.parameters import ParameterValue, State, Verdict, parameters
from napari_exo2micro.core.parameters.settings import RunSettings
from napari_exo2micro.core.parameters.stages import (
    DIFFERENCE_STAGE,
    MICROBES_STAGE,
    STAGES,
    stage_range,
)
from napari_exo2micro.core.photometry.methods import DEFAULT_SCALE
from napari_exo2micro.core.pipeline import difference, figures, microbes, stages
from napari_exo2micro.core.pipeline.log import run_log
from napari_exo2micro.core.pipeline.result import (
    CheckList,
    Comparison,
    RunResult,
    judged,
    stage_states,
)
from napari_exo2micro.core.raw.names import find_pair
from napari_exo2micro.core.raw.pages import ImageChoice
from napari_exo2micro.core.raw.pair import Loader, open_image_pair
from napari_exo2micro.core.raw.table import told_params, used_of
from napari_exo2micro.core.store import Checkpoint, CheckpointStatus, CheckpointStore
from napari_exo2micro.core.store.checkpoints import CATALOGUE
from napari_exo2micro.core.store.provenance import StoredScale

logger = logging.getLogger(__name__)

#: Hooks by the names that they have in the reference system.
_OTHER_NAMES = {
    "_run_stage_2_boundary": "_run_stage_2_coarse",
    "_run_stage_3_interior": "_run_stage_3_fine",
}

_MOST_REPAIRS: Final = 10
"""How often a stage is tried again: each time one image more was found damaged."""


class SampleDye(Shown):
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
    landmarks : Path, str, two of them, or array_like of shape (N, 4), optional
        Points seen in both images, three or more, with which stage 2 begins and which
        stage 3 is checked by: a table or GeoJSON file, one file for post and one for
        pre, or rows of post x, post y, pre x, pre y, px of the raw images. By default
        the file that ``pairs.csv`` names, if any.
    regions : Path or str, optional
        What is left out of registration and scale, and what statistics are confined
        to, drawn on the raw post-stain image: polygons as GeoJSON, or a labels image.
        By default the file that ``pairs.csv`` names, if any.

    Attributes
    ----------
    store : CheckpointStore
        The files, the settings, and what is valid.

    Raises
    ------
    ParameterError
        When a name could leave the output folder, or the format or the loader is
        not known.

    Examples
    --------
    >>> from napari_exo2micro.core import SampleDye
    >>> task = SampleDye("CD070", "SybrGld", output_dir="processed", raw_dir="raw")
    >>> task.set_params(boundary_width=20)
    >>> task.non_default_params()
    {'boundary_width': 20}
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Give a hook that is overridden under one of its names the other, too."""
        super().__init_subclass__(**options)
        for pair in _OTHER_NAMES.items():
            own = next(
                vars(c) for c in cls.__mro__ if not vars(c).keys().isdisjoint(pair)
            )
            for name, other in (pair, pair[::-1]):
                if other not in own:
                    setattr(cls, other, own[name])

    def __init__(
        self,
        sample: str,
        dye: str,
        output_dir: str | Path = "processed",
        raw_dir: str | Path = "raw",
        checkpoint_format: str = "both",
        loader: Loader | str | None = None,
        register_on: str | None = None,
        landmarks: Any = None,
        regions: str | Path | None = None,
    ) -> None:
        settings = RunSettings(
            raw_dir=Path(raw_dir),
            output_dir=Path(output_dir),
            checkpoint_format=checkpoint_format,
            loader=loader,
            register_on=register_on,
            landmarks=landmarks,
            regions=Path(regions) if regions else None,
        )
        own = type(self)._run_stage_1_padding is not SampleDye._run_stage_1_padding
        self.store = CheckpointStore(sample, dye, settings, has_own_canvas=own)
        self._results: dict[str, Any] = {}
        self._monitor = Monitor()

    @classmethod
    def from_settings(cls, sample: str, dye: str, settings: RunSettings) -> Self:
        """Return the sample and dye with everything that a run depends on.

        Parameters
        ----------
        sample, dye : str
            Names as in the raw folder.
        settings : RunSettings
            Its stages and `force` are what `run` takes by default.

        Returns
        -------
        SampleDye
            Nothing has run yet.
        """
        task = cls(
            sample,
            dye,
            settings.output_dir,
            settings.raw_dir,
            settings.checkpoint_format,
            settings.loader,
            settings.register_on,
            settings.landmarks,
            settings.regions,
        )
        task.store.settings = settings
        return task

    def __repr__(self) -> str:
        """Return the names, the folder of results and how many stages are valid."""
        names = f"{type(self).__name__}({self.sample!r}, {self.dye!r}"
        words = f"{names}, output_dir={str(self.output_dir)!r}, {self._summary()})"
        return visible(words)

    def __rich__(self) -> Listing:
        """Return the check-list of `status`."""
        title = f"{self.sample} / {self.dye} in {self.output_dir}: {self._summary()}"
        try:
            return replace(self.status().__rich__(), title=title)
        except (errors.Exo2MicroError, OSError) as error:
            return Listing((), (), title=title, notes=(str(error),))

    def _summary(self) -> str:
        try:
            states = stage_states(self._checkpoint_states()).values()
        except (errors.Exo2MicroError, OSError):
            return "not readable"
        valid = sum(it.state is State.VALID for it in states)
        return f"{valid} of {len(states)} stages valid"

    # Settings ----------------------------------------------------------------

    @property
    def sample(self) -> str:
        """The sample's name."""
        return self.store.sample

    @property
    def dye(self) -> str:
        """The dye's name."""
        return self.store.dye

    @property
    def settings(self) -> RunSettings:
        """Everything that a run depends on."""
        return self.store.settings

    @property
    def output_dir(self) -> Path:
        """Where the results go."""
        return self.settings.output_dir

    @property
    def raw_dir(self) -> Path:
        """Where the raw images are."""
        return self.settings.raw_dir

    @property
    def checkpoint_format(self) -> str:
        """What checkpoints are written as."""
        return self.settings.checkpoint_format

    @property
    def register_on(self) -> str | None:
        """The dye whose transforms are taken over, None for what is stored."""
        return self.settings.register_on

    @property
    def params(self) -> dict[str, ParameterValue]:
        """All parameters, a copy in registry order."""
        return self.store.params

    @property
    def _params(self) -> dict[str, ParameterValue]:
        return self.store.params

    def set_params(self, **values: Any) -> None:
        """Change parameters by name.

        Parameters
        ----------
        **values : bool, int, float, str or None
            New values under the parameters' names.

        Raises
        ------
        ParameterError
            When a name is unknown or a value does not fit; nothing is changed.
        """
        settings = self.settings
        self.store.settings = replace(settings, params={**settings.params, **values})

    def reset_params(self) -> None:
        """Set all parameters back to their defaults."""
        self.store.settings = replace(self.settings, params={})

    def non_default_params(self, stage: int | None = None) -> dict[str, ParameterValue]:
        """Return the parameters of stages 1..`stage` that differ from defaults.

        Parameters
        ----------
        stage : int, optional
            The last stage that counts; all of them by default.

        Returns
        -------
        dict
            Parameter name -> value, in registry order.
        """
        return parameters.non_default_params(self.params, stage)

    def copy(self) -> Self:
        """Return another object for the same files with parameters of its own.

        Returns
        -------
        SampleDye
            With the present parameters.
        """
        other = copy.copy(self)
        other._results = {}
        other.store = self.store.copy()
        return other

    # Running -----------------------------------------------------------------

    def run(
        self,
        from_stage: int | None = None,
        to_stage: int | None = None,
        force: bool = False,
        monitor: Monitor | None = None,
        on_stage: Callable[[int], None] | None = None,
        wait_for_lock: float = 0.0,
        verify: bool = False,
        progress: bool = True,
    ) -> RunResult:
        """Run the stages and return what came out.

        Parameters
        ----------
        from_stage, to_stage : int, optional
            First and last stage, by default those of `settings`: all of them unless
            it says otherwise. A stage before the first one runs as well when its
            result is missing or stale.
        force : bool
            Run the stages even where a valid result exists.
        monitor : Monitor, optional
            Told the fraction done; may stop the run.
        on_stage : callable, optional
            Called with the number of each stage when its results are valid.
        wait_for_lock : float
            Seconds to wait for another run of the same sample and dye to end.
        verify : bool
            Read the raw files to see whether they are those that results were made
            from, and the pixels of all results to see whether they are those that
            were written, also where size, times and place on the disk say so.
        progress : bool
            Show how far it is, in a terminal or a notebook, where no `monitor` is
            given.

        Returns
        -------
        RunResult
            Its `status` is ``'complete'``, or ``'degraded: ...'`` with the stage and
            the reason when one fell back or could not vouch for its result.

        Raises
        ------
        Exo2MicroError
            A subclass says what went wrong; valid results are untouched. A
            `LockedError` tells who else works on this sample and dye, an
            `OutputError` that results cannot go to their folder.
        """
        self.store.check_output()
        self.store.check_given()
        if verify:
            self.store.verify()
        settings = self.settings
        first, last = stage_range(
            settings.from_stage if from_stage is None else from_stage,
            settings.to_stage if to_stage is None else to_stage,
        )
        if last >= MICROBES_STAGE:
            self.store.check_control()
        force = force or settings.force
        self._results = {}
        numbers = [number for number in sorted(STAGES) if first <= number <= last]
        start = time.perf_counter()
        title = f"{self.sample} {self.dye}, stages {first} to {last}"
        title += ", by force" if force else ""
        with (
            told(monitor, f"{self.sample} {self.dye}", progress) as whole,
            run_log(self.output_dir, title=title, task=self) as log,
            self._locked(wait_for_lock, whole) as unguarded,
            # Stages share the processors among tiles and windows themselves; beside
            # those, threads of linear algebra wait for each other at full load.
            threadpool_limits(1, user_api="blas"),
        ):
            self.store.check_pixels(last, whole)
            for index, number in enumerate(numbers):
                self._monitor = whole.part(
                    index / len(numbers), (index + 1) / len(numbers)
                )
                words = f"stage {number}: {STAGES[number].title}"
                self._monitor.report(0.0, words, stage=number)
                self._do_stage(number, force)
                if on_stage is not None:
                    on_stage(number)
            self._monitor = Monitor()
            whole.report(1.0, "done")
            seconds = round(time.perf_counter() - start, 3)
            result = replace(self.result(last), seconds=seconds)
            if unguarded:
                result = replace(result, warnings=(*result.warnings, unguarded))
            log.conclude(result.status, result.warnings)
        self._results.update(result)
        return result

    def compare(
        self,
        name: str,
        values: Iterable[Any],
        *,
        keep: bool = True,
        save: bool | None = None,
        to_stage: int | None = None,
        monitor: Monitor | None = None,
        on_result: Callable[[RunResult], None] | None = None,
        progress: bool = True,
    ) -> Comparison:
        """Run once for each value of one parameter.

        Parameters
        ----------
        name : str
            The parameter.
        values : iterable
            Its values; this object's own parameters stay as they are.
        keep, save : bool
            Keep each value's files (their names tell the value), or remove what
            these runs have made. Either name does.
        to_stage : int, optional
            Last stage of each run.
        monitor : Monitor, optional
            Told the fraction done; may stop.
        on_result : callable, optional
            Called with the result of each value as soon as it is there.
        progress : bool
            As for `run`.

        Returns
        -------
        list of RunResult
            The results of `run`, each with its `value` and the `seconds` that it
            took; where one failed, its `status` is ``'error: ...'``. It prints as a
            table.

        Raises
        ------
        ParameterError
            When the name is unknown or a value does not fit; then nothing runs.
        OutputError
            When results cannot go to their folder; then nothing runs.
        """
        self.store.check_output()
        keep = keep if save is None else save
        tasks = []
        for value in [values] if isinstance(values, str) else values:
            tasks.append(self.copy())
            tasks[-1].set_params(**{name: value})
        results = Comparison()
        title = f"{self.sample} {self.dye}, {len(tasks)} values of {name}"
        with told(monitor, title, progress) as whole:
            for index, task in enumerate(tasks):
                before, start = task.store.existing(), time.monotonic()
                part = whole.part(index / len(tasks), (index + 1) / len(tasks))
                try:
                    result = task.run(to_stage=to_stage, monitor=part)
                except errors.CancelledError:
                    raise
                except errors.Exo2MicroError as error:
                    result = RunResult(task.sample, task.dye, State.FAILED, str(error))
                finally:
                    if not keep:
                        task.store.remove_new(before)
                result = replace(
                    result,
                    compared=name,
                    value=task.params[name],
                    manual_scale=_manual_scale(task.params),
                    seconds=time.monotonic() - start,
                    outputs=tuple(path for path in result.outputs if path.is_file()),
                )
                results.append(result)
                if on_result is not None:
                    on_result(result)
        return results

    def _locked(self, wait: float, monitor: Monitor) -> AbstractContextManager[str]:
        """Keep other runs away; without raw files no folder is made."""
        reads_files = self.store.source.reads_files and not self.store.has_own_canvas
        if reads_files and not self.store.folder.is_dir():
            find_pair(self.sample, self.dye, self.raw_dir)
        return locks.sample_lock(
            self.output_dir, self.sample, self.dye, wait=wait, monitor=monitor
        )

    # Results -----------------------------------------------------------------

    def checkpoint(self, stage: int, name: str) -> Checkpoint | None:
        """Return a checkpoint's image and header, None when there is no valid one.

        Parameters
        ----------
        stage : int
            Such as 1.
        name : str
            Such as ``'post'``.

        Returns
        -------
        Checkpoint or None
            Its image is memory-mapped: nothing is read yet.

        Raises
        ------
        ParameterError
            When there is no such stage.
        """
        return self.store.find(stage, name)

    def transform(self, stage: int) -> Transform:
        """Return the map from post (fixed) to pre (moving) that a stage found.

        Parameters
        ----------
        stage : int
            1 (nothing moved yet: the identity), 2, 3, or a later one, which keeps
            stage 3's.

        Returns
        -------
        Transform
            Callable on points (N, 2) as (x, y), px of the padded canvas.

        Raises
        ------
        CheckpointError
            When that stage has no valid result, or one whose transform is lost.
        ParameterError
            When there is no such stage.
        """
        return self.store.transform(stage)

    def registration_error(self) -> ErrorMap | None:
        """Return the error that stage 3 expects at each place of the post image.

        Returns
        -------
        ErrorMap or None
            Callable on points (N, 2) as (x, y), px of the padded canvas; None where
            nothing vouches for the alignment, or an older version made it.

        Raises
        ------
        CheckpointError
            When stage 3 has no valid result.
        """
        return error_map_from_details(self.store.need(3, "pre").details)

    def microbes(self) -> microbes.Microbes:
        """Return what stage 5 has found.

        Returns
        -------
        Microbes
            Its `table` has a row for each candidate; `count` and `interval` tell how
            many are real. It prints as a table.

        Raises
        ------
        CheckpointError
            When stage 5 has no valid result.
        """
        return microbes.microbes_of(self.store)

    def status(self, verify: bool = False) -> CheckList:
        """Return for every checkpoint and plot whether it is valid, and why not.

        Parameters
        ----------
        verify : bool
            Read the raw files and all pixels, as `run` does.

        Returns
        -------
        list of CheckpointStatus
            In the order of the stages; plots come last. It prints as a table.
        """
        if verify:
            self.store.verify()
        if self.store.source.verifies:
            self.store.check_pixels(max(STAGES))
        plots = figures.plot_status(self.store)
        return CheckList([*self._checkpoint_states(), *plots])

    def _checkpoint_states(self) -> list[CheckpointStatus]:
        lines = []
        for number in sorted(STAGES):
            lines += self.store.status_of_stage(number)
            if number == MICROBES_STAGE:
                lines.append(microbes.catalogue_status(self.store))
        return lines

    def result(self, to_stage: int | None = None) -> RunResult:
        """Return what `run` returned, from what is valid on disk.

        Parameters
        ----------
        to_stage : int, optional
            The last stage that counts; all of them by default.

        Returns
        -------
        RunResult
            As `run` returns it, up to the last stage with a valid result.
        """
        last = stage_range(None, to_stage)[1]
        verdicts: dict[int, Verdict] = {}
        notes: list[str] = []
        outputs: list[Path] = []
        scales: dict[str, StoredScale] = {}
        for line in (line for line in self.status() if line.stage <= last):
            if line.state == State.FAILED:
                notes.append(line.reason)
            if line.state != State.VALID:
                continue
            outputs.append(line.path)
            if line.kind == "plot":
                continue
            if line.name == CATALOGUE:
                outputs += microbes.catalogue_files(self.store)
                continue
            paths = self.store.paths(line.stage, line.name)
            outputs += [path for path in paths if path.is_file()]
            checkpoint = self.store.find(line.stage, line.name)
            if checkpoint is None:
                continue
            verdicts |= checkpoint.verdicts
            header = checkpoint.provenance
            if header is None:
                notes.append(checkpoint.verdicts[line.stage].reason)
                continue
            notes += header.notes
            if header.scale is not None:
                scales[header.scale.kind] = header.scale
        state, reason = judged(verdicts, last)
        return RunResult(
            self.sample,
            self.dye,
            state,
            reason,
            verdicts=dict(sorted(verdicts.items())),
            scales=scales,
            manual_scale=_manual_scale(self.params),
            warnings=tuple(dict.fromkeys(notes)),
            outputs=tuple(dict.fromkeys(outputs)),
        )

    # Hooks: stable within a major version, a subclass may override them ---------

    def _run_stage_1_padding(self, force: bool = False) -> None:
        """Put both raw images on one canvas."""
        if not force and self.store.is_done(1):
            return
        source = self.store.source
        table: Mapping[str, ParameterValue] = {}
        if source.reads_files:
            row = told_params(self.sample, self.dye, self.raw_dir)
            table = used_of(self.params, row)
        params = {**self.params, **table}
        choices = ImageChoice.of(self.dye, params, source.reader or "")
        pair = open_image_pair(
            self.sample,
            self.dye,
            self.raw_dir,
            loader=source.loader,
            monitor=self._monitor.part(0.0, 0.3),
            choices=choices,
        )
        source.remember(pair.post.fingerprint(), pair.pre.fingerprint())
        pad = self.params["pad"]
        assert isinstance(pad, int)
        size = params["pixel_size"]
        assert size is None or isinstance(size, float)
        padded = stages.PaddedPair(pair, pad, size, choices[0] != choices[1], table)
        canvas = padded.canvas
        for index, (side, image) in enumerate((("post", pair.post), ("pre", pair.pre))):
            provenance = self.store.provenance(
                1,
                side,
                verdict=Verdict(State.OK),
                notes=padded.notes,
                inputs=padded.inputs(source.loader_name),
                raw=padded.raw(source.loader_name),
                canvas=canvas,
            )
            self.store.write(
                provenance,
                padded.shape,
                image.dtype,
                padded.bands(side),
                self._monitor.part(0.3 + 0.35 * index, 0.65 + 0.35 * index),
            )

    def _run_stage_2_boundary(self, force: bool = False) -> None:
        """Align the outlines of the sections."""
        if not force and self.store.is_done(2):
            return
        self._check_upstream(2)
        if self.store.takes_over:
            alignment = stages.take_over(self.store, 2)
        else:
            post, pre = self.store.need(1, "post"), self.store.need(1, "pre")
            boundary = register_highorder(
                self.store.registered_post,
                pre.known,
                post_frame=post.frames["post"],
                pre_frame=pre.frames["pre"],
                landmarks=self.store.canvas_landmarks,
                settings=BoundarySettings.of(self.params),
                monitor=self._monitor.part(0.0, 0.6),
            )
            alignment = stages.Alignment.of_boundary(boundary)
        self._results["debug_data"] = alignment.details
        if self.params["save_all_intermediates"] and alignment.coarse is not None:
            moved = replace(alignment, transform=alignment.coarse, details={})
            self._write_aligned(2, "coarse_pre", moved, after=alignment.transform)
        self._write_aligned(2, "pre", alignment, after=alignment.transform)

    def _run_stage_3_interior(self, force: bool = False) -> None:
        """Refine the alignment on the interior, then warp the original once."""
        if not force and self.store.is_done(3):
            return
        self._check_upstream(3)
        if self.store.takes_over:
            alignment = stages.take_over(self.store, 3)
        else:
            post, pre = self.store.need(1, "post"), self.store.need(1, "pre")
            initial, notes = self._initial_transform(pre)
            if self.params["interior_ecc"]:
                interior = refine_interior_sift(
                    self.store.registered_post,
                    pre.known,
                    initial,
                    post_frame=post.frames["post"],
                    pre_frame=pre.frames["pre"],
                    settings=InteriorSettings.of(self.params),
                    monitor=self._monitor.part(0.0, 0.6),
                )
                alignment = stages.Alignment.of_interior(interior)
            else:
                skipped = Verdict(State.SKIPPED, "interior_ecc is off: stage 2 stands")
                alignment = stages.Alignment(initial, skipped)
            notes += stages.magnification_note(post, alignment.transform)
            alignment = replace(alignment, notes=notes)
            alignment = alignment.checked_by(self.store.canvas_landmarks, post)
        self._write_aligned(
            3,
            "pre",
            alignment,
            after=alignment.transform,
            interpolation=str(self.params["interpolation"]),
        )

    # Their names in the reference system; an override of either counts for both.
    _run_stage_2_coarse = _run_stage_2_boundary
    _run_stage_3_fine = _run_stage_3_interior

    def _run_stage_4_diagnostics(self, force: bool = False) -> None:
        """Estimate the scale, subtract, and draw the diagnostic plots."""
        plots = figures.plot_status(self.store, DIFFERENCE_STAGE)
        drawn = all(line.state == State.VALID for line in plots)
        if not force and drawn and self.store.is_done(4):
            return
        self._check_upstream(4)
        made = difference.make_differences(self.store, self._monitor, force=force)
        figures.draw_plots(self.store, made, self._monitor.part(0.6, 1.0))
        for method, key in (
            (DEFAULT_SCALE, "scale_estimate"),
            ("percentile", "scale_percentile_value"),
        ):
            if method in made.scales:
                self._results[key] = made.scales[method].scale

    def _run_stage_5_microbes(self, force: bool = False) -> None:
        """Find, measure and count the microbes, and draw the plots of them."""
        store = self.store
        is_there = store.is_done(MICROBES_STAGE) and microbes.has_catalogue(store)
        plots = figures.plot_status(store, MICROBES_STAGE)
        drawn = all(line.state == State.VALID for line in plots)
        if is_there and drawn and not force:
            return
        self._check_upstream(MICROBES_STAGE)
        if force or not is_there:
            microbes.make_microbes(store, self._monitor.part(0.0, 0.9))
        figures.draw_microbes(store, self._monitor.part(0.9, 1.0), force=force)

    def _check_upstream(self, stage: int) -> None:
        """Run the stages before `stage` whose results are missing or stale."""
        for number in range(1, stage):
            if not self.store.is_done(number):
                logger.info("stage %d is needed first", number)
                self._do_stage(number, False)

    def _load_image(self, stage: int, name: str) -> NDArray[Any] | None:
        """Return a checkpoint's pixels, None when there is no valid one.

        A TIFF comes as a read-only memory map: slicing it reads only the slice.
        """
        if self.store.find(stage, name) is None:
            return None
        return self.store.need(stage, name).image.level(0)

    def _has_checkpoint(self, stage: int, name: str) -> bool:
        """Return whether a checkpoint is valid for the present parameters."""
        return self.store.find(stage, name) is not None

    def _tiff_path(self, stage: int, name: str) -> Path:
        """Return the path of a checkpoint as TIFF."""
        return self.store.tiff_path(stage, name)

    def _fits_path(self, stage: int, name: str) -> Path:
        """Return the path of a checkpoint as FITS."""
        return self.store.fits_path(stage, name)

    def _check_path(self, name: str, stage: int = DIFFERENCE_STAGE) -> Path:
        """Return the path of a check plot, with the parameters up to `stage` in it."""
        return self.store.output_path(name, stage=stage)

    def _save_image(
        self,
        image: NDArray[Any],
        stage: int,
        name: str,
        extra_headers: Mapping[str, Any] | None = None,
        *,
        transform: TransformLike | None = None,
        verdict: Verdict | None = None,
    ) -> list[Path]:
        """Write an array as a checkpoint with the usual header.

        Parameters
        ----------
        image : ndarray, shape (rows, columns)
            bool becomes uint8, and other types the next larger one that files hold.
        stage, name : int, str
            Which checkpoint it is.
        extra_headers : mapping, optional
            Entries of one's own; in FITS under their first 8 letters.
        transform : Transform or array_like, shape (3, 3), optional
            Post to pre, of an image that a script aligned itself (stages 2, 3).
        verdict : Verdict, optional
            What the stage says of its own work; the run's status repeats it. ``ok``
            for a stage after the built-in ones.

        Raises
        ------
        ParameterError
            When the image is not 2-D, of a type without numbers, or of another
            shape than the canvas, or the transform is none.
        OutputError
            When it cannot be written, or would go into the raw folder.
        """
        return self.store.write_array(
            image,
            stage,
            name,
            extra_headers or {},
            transform=None if transform is None else Transform.of(transform),
            verdict=verdict,
            monitor=self._monitor,
        )

    # Their helpers -------------------------------------------------------------

    def _do_stage(self, number: int, force: bool) -> None:
        """Do the work of a stage; what it reads and finds damaged is made again."""
        for _ in range(_MOST_REPAIRS):
            try:
                with self._stage(number) as work:
                    work(force)
            except errors.CheckpointError:
                if not self.store.drop_damaged():
                    raise
            else:
                if not self.store.drop_damaged():
                    return
                force = True  # it went on with what it could not read
            self._check_upstream(number)
        with self._stage(number) as work:
            work(force)

    @contextmanager
    def _stage(self, number: int) -> Iterator[Callable[[bool], None]]:
        """Give the work of a stage, log it, and see that it left its images.

        It takes `force`.
        """
        stage, store = STAGES[number], self.store
        title = f"stage {number}, {stage.title}"
        written, start = len(store.written), time.perf_counter()
        logger.info("%s: begins", title)
        if callable(stage.method):
            yield partial(stage.method, self)
        elif (method := self._hook(stage.method)) is not None:
            yield method
        else:
            raise errors.ParameterError(
                f"stage {number} ('{stage.name}') names the method "
                f"'{stage.method}', which {type(self).__name__} does not have; "
                "register the stage with a function instead, or run it with the "
                "subclass that has the method"
            )
        for name in stage.checkpoints if number > DIFFERENCE_STAGE else ():
            if not self._has_checkpoint(number, name):
                raise errors.CheckpointError(
                    f"stage {number} ({stage.title}) ended without its image "
                    f"'{name}'; correct the stage's function: it has to call "
                    f"_save_image(..., {number}, '{name}')"
                )
        seconds = time.perf_counter() - start
        if len(store.written) == written:
            logger.info("%s: valid results exist and are kept", title)
            return
        checkpoint = store.find(number, stage.checkpoints[0])
        told = checkpoint.verdicts.get(number) if checkpoint else None
        verdict = told or Verdict(State.OK)
        words = (verdict.state.word, verdict.reason, verdict.figures())
        text = "; ".join(word for word in words if word)
        logger.info("%s: ended after %.1f s: %s", title, seconds, text)

    def _hook(self, name: str) -> Callable[[bool], None] | None:
        """Return a stage's method, also one put in place under its other name."""
        method: Any = getattr(self, name, None)
        if name in _OTHER_NAMES and method.__module__ == __name__:
            method = getattr(self, _OTHER_NAMES[name])
        return method  # type: ignore[no-any-return]

    def _initial_transform(self, pre: Checkpoint) -> tuple[Transform, tuple[str, ...]]:
        """Return stage 2's transform, found again for an image without header."""
        aligned = self.store.need(2, "pre")
        if aligned.transform is not None:
            return aligned.transform, ()
        recovered = recover_transform(aligned.image, pre.image)
        note = f"{aligned.image.path.name} carries no header: its provenance is unknown"
        if recovered is not None:
            return recovered, (f"{note}; its transform was measured again",)
        logger.warning("%s, and its transform cannot be measured: made again", note)
        self._do_stage(2, True)
        return self.transform(2), (f"{note}; stage 2 was made again",)

    def _write_aligned(
        self,
        stage: int,
        name: str,
        alignment: stages.Alignment,
        *,
        after: Transform,
        interpolation: str = "linear",  # to look at: stage 3 warps the original again
    ) -> None:
        """Store the moved pre-stain image; `after` is the stage's transform."""
        self._results["warp_matrix"] = after.matrix
        pre, post = self.store.need(1, "pre"), self.store.need(1, "post").provenance
        size = post.pixel_size if post else None
        provenance = self.store.provenance(
            stage,
            name,
            verdict=alignment.verdict.in_um(size.mean if size else None),
            notes=alignment.notes,
            transform=alignment.transform,
            details=alignment.details,
            registered_on=alignment.registered_on,
            taken_over=after if alignment.registered_on else None,
        )
        self.store.write(
            provenance,
            pre.image.shape,
            pre.image.dtype,
            stages.aligned_bands(pre, alignment.transform, interpolation),
            self._monitor.part(0.6, 1.0),
        )


def _manual_scale(params: Mapping[str, ParameterValue]) -> float | None:
    scale = params["manual_scale"]
    assert scale is None or isinstance(scale, float)
    return scale
