"""`SampleDye`: the stages in their order, resumed from what is valid on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_exo2micro.core import outcome, shared_geometry
from napari_exo2micro.core.alignment.coarse import (
    recover_transform,
    register_highorder,
)
from napari_exo2micro.core.alignment.interior import refine_interior_sift
from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.checkpoints import Checkpoint, CheckpointStatus
from napari_exo2micro.core.comparison import compare_values
from napari_exo2micro.core.differencing import Differencing
from napari_exo2micro.core.locks import sample_lock
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.padding import canvas_shape, frame, padded_bands
from napari_exo2micro.core.parameter import ParameterValue
from napari_exo2micro.core.parameter_table import PARAMETERS
from napari_exo2micro.core.provenance import digest
from napari_exo2micro.core.raw import find_pair, open_image_pair
from napari_exo2micro.core.runlog import run_log
from napari_exo2micro.core.sample_files import SampleFiles
from napari_exo2micro.core.stages import STAGES, stage_range
from napari_exo2micro.core.transforms import Transform
from napari_exo2micro.core.warping import warped_bands

__all__ = ["SampleDye"]

logger = logging.getLogger(__name__)

_STAGE_2_ONLY = frozenset(("save_all_intermediates",))
_MAX_STORED_POINTS = 1000


class SampleDye(SampleFiles):
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
            (None where not asked for); `registration` (for each stage its verdict
            and numbers); `warnings`; `outputs` (paths).

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

    def _do_stage(self, number: int, force: bool = False) -> None:
        with outcome.logged_stage(self, number):
            getattr(self, STAGES[number].method)(force)

    def result(self) -> dict[str, Any]:
        """Return what `run` returned, from what is valid on disk."""
        return outcome.summarise(self, max(STAGES))

    def status(self) -> list[CheckpointStatus]:
        """Return for every checkpoint and plot whether it is valid, and why not."""
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

    # Stages ------------------------------------------------------------------

    def _run_stage_1_padding(self, force: bool = False) -> None:
        """Put both raw images on one canvas."""
        if not force and self._is_done(1):
            return
        pair = open_image_pair(
            self.sample,
            self.dye,
            self.raw_dir,
            loader=self._loader,
            monitor=self._monitor.part(0.0, 0.3),
        )
        pad = _int(self.params["pad"])
        shape = canvas_shape(pair.post.shape, pair.pre.shape, pad)
        sides = {"post": pair.post, "pre": pair.pre}
        raw: dict[str, Any] = {
            side: {
                "file": str(image.path.resolve()) if image.path else "",
                **image.fingerprint().to_dict(),
            }
            for side, image in sides.items()
        }
        raw["loader"] = self._source.loader_name
        self._source.remember(pair.post.fingerprint(), pair.pre.fingerprint())
        canvas = {
            "post_frame": frame(pair.post.shape, pad),
            "pre_frame": frame(pair.pre.shape, pad),
            "channels": pair.channels,
        }
        hashes = [raw["loader"], *(raw[side]["sha256"] for side in sides)]
        for index, (side, image) in enumerate(sides.items()):
            provenance = self._provenance(
                1,
                side,
                raw=raw,
                canvas=canvas,
                notes=tuple(pair.warnings),
                inputs=digest(hashes),
                verdicts={"1": Verdict("ok")},
            )
            self._write(
                provenance,
                shape,
                image.dtype,
                padded_bands(image.bands(), shape, pad, image.dtype),
                self._monitor.part(0.3 + 0.35 * index, 0.65 + 0.35 * index),
            )

    def _run_stage_2_boundary(self, force: bool = False) -> None:
        """Align the outlines of the sections."""
        if not force and self._is_done(2) and self._has_intermediates():
            return
        self._check_upstream(2)
        if shared_geometry.is_asked_for(self):
            shared_geometry.take_over(self, 2)
            return
        post, pre = self._need(1, "post"), self._need(1, "pre")
        found = register_highorder(
            post.image,
            pre.image,
            post_frame=post.frames["post"],
            pre_frame=pre.frames["pre"],
            monitor=self._monitor.part(0.0, 0.6),
            **self._tuning(2, without=_STAGE_2_ONLY),
        )
        details = {
            "method": found.method,
            "coarse_matrix": found.coarse_transform.matrix.tolist(),
            "post_contour": _points(found.post_contour),
            "pre_contour": _points(found.pre_contour),
        }
        verdicts = {"2": found.verdict}
        self._results["warp_matrix"] = found.transform.matrix
        self._results["debug_data"] = details
        if self.params["save_all_intermediates"]:
            self._write_aligned(
                2, "coarse_pre", pre, found.coarse_transform, verdicts=verdicts
            )
        self._write_aligned(
            2, "pre", pre, found.transform, verdicts=verdicts, details=details
        )

    def _pads_otherwise(self) -> bool:
        """Return whether a subclass pads in its own way."""
        return type(self)._run_stage_1_padding is not SampleDye._run_stage_1_padding

    def _has_intermediates(self) -> bool:
        wanted = self.params["save_all_intermediates"]
        return not wanted or self._has_checkpoint(2, "coarse_pre")

    def _run_stage_3_interior(self, force: bool = False) -> None:
        """Refine the alignment on the interior, then warp the original once."""
        if not force and self._is_done(3):
            return
        self._check_upstream(3)
        if shared_geometry.is_asked_for(self):
            shared_geometry.take_over(self, 3)
            return
        post, pre = self._need(1, "post"), self._need(1, "pre")
        initial, notes = self._initial_transform(pre)
        details: dict[str, Any] = {}
        if self.params["interior_ecc"]:
            found = refine_interior_sift(
                post.image,
                pre.image,
                initial,
                post_frame=post.frames["post"],
                pre_frame=pre.frames["pre"],
                monitor=self._monitor.part(0.0, 0.6),
                **self._tuning(3, without={"interior_ecc", "interpolation"}),
            )
            transform, verdict = found.transform, found.verdict
            details = outcome.interior_details(found, _MAX_STORED_POINTS)
        else:
            transform = initial
            verdict = Verdict("skipped", "interior_ecc is off: stage 2 stands")
        self._results["warp_matrix"] = transform.matrix
        self._write_aligned(
            3,
            "pre",
            pre,
            transform,
            verdicts={"3": verdict},
            details=details,
            notes=notes,
            interpolation=str(self.params["interpolation"]),
        )

    def _initial_transform(self, pre: Checkpoint) -> tuple[Transform, tuple[str, ...]]:
        """Return stage 2's transform, found again for an image without header."""
        aligned = self._need(2, "pre")
        if aligned.provenance is not None and aligned.provenance.transform is not None:
            return aligned.provenance.transform, ()
        recovered = recover_transform(aligned.image, pre.image)
        note = f"{aligned.image.path.name} carries no header: its provenance is unknown"
        if recovered is not None:
            return recovered, (f"{note}; its transform was measured again",)
        logger.warning("%s, and its transform cannot be measured: made again", note)
        self._run_stage_2_boundary(force=True)
        return self.transform(2), (f"{note}; stage 2 was made again",)

    def _write_aligned(
        self,
        stage: int,
        name: str,
        pre: Checkpoint,
        transform: Transform,
        *,
        interpolation: str = "linear",  # to look at: stage 3 warps the original again
        **provenance: Any,
    ) -> None:
        shape = (pre.image.shape[0], pre.image.shape[1])
        self._write(
            self._provenance(stage, name, transform=transform, **provenance),
            shape,
            pre.image.dtype,
            warped_bands(
                pre.image,
                transform,
                shape,
                frame=pre.frames["pre"],
                interpolation=interpolation,
            ),
            self._monitor.part(0.6, 1.0),
        )

    def _run_stage_4_diagnostics(self, force: bool = False) -> None:
        """Estimate the scale, subtract, and draw the diagnostic plots."""
        work = Differencing(self)
        if not force and work.is_done():
            return
        self._check_upstream(4)
        work.run(self._monitor, force=force)

    def _check_upstream(self, stage: int) -> None:
        """Run the stages before `stage` whose results are missing or stale."""
        for number in range(1, stage):
            if not self._is_done(number):
                logger.info("stage %d is needed first", number)
                self._do_stage(number)

    def _tuning(self, stage: int, without: Iterable[str] = ()) -> Mapping[str, Any]:
        """Return a stage's own parameters as keyword arguments."""
        own = (p.name for p in PARAMETERS if p.stage == stage)
        return {name: self.params[name] for name in own if name not in set(without)}

    def _checkpoint_names(
        self, number: int, always: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the checkpoints that the present parameters ask for."""
        if number == 2 and self.params["save_all_intermediates"]:
            return (*always, "coarse_pre")
        if number == 4:
            return tuple(Differencing(self).checkpoint_names())
        return always


def _int(value: ParameterValue) -> int:
    assert isinstance(value, int)
    return value


def _points(points: ArrayLike) -> list[list[float]]:
    """Return points thinned for a header, to a tenth of a pixel."""
    array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    step = -(-len(array) // _MAX_STORED_POINTS) or 1
    return [[round(float(x), 1), round(float(y), 1)] for x, y in array[::step]]
