"""`SampleDye`: the stages in their order, resumed from what is valid on disk.

Dyes that were imaged in one session moved alike. Then the one that shows most is
registered, and stages 2 and 3 of the others take its transforms. A result made so
depends on the other dye's transform: when that changes, it is stale.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.alignment.boundary import (
    recover_transform,
    register_highorder,
)
from napari_exo2micro.core.alignment.interior import (
    InteriorAlignment,
    refine_interior_sift,
)
from napari_exo2micro.core.alignment.settings import (
    BoundarySettings,
    InteriorSettings,
)
from napari_exo2micro.core.base.errors import (
    CancelledError,
    CheckpointError,
    Exo2MicroError,
    ParameterError,
    RegistrationError,
)
from napari_exo2micro.core.base.locks import sample_lock
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.raster import bands
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import (
    canvas_shape,
    frame,
    padded_bands,
    warped_bands,
)
from napari_exo2micro.core.parameters.parameters import (
    ParameterValue,
    check_parameters,
    default_params,
    non_default_params,
)
from napari_exo2micro.core.parameters.stages import (
    LAST_BUILT_IN,
    STAGE_NAMES,
    STAGES,
    stage_range,
)
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.parameters.verdict import Verdict
from napari_exo2micro.core.pipeline.difference import Differencing
from napari_exo2micro.core.pipeline.log import run_log
from napari_exo2micro.core.pipeline.result import RunResult, judged
from napari_exo2micro.core.raw.names import check_name, find_pair
from napari_exo2micro.core.raw.pair import Loader, get_loader, open_image_pair
from napari_exo2micro.core.store.checkpoint import (
    Checkpoint,
    CheckpointStatus,
    Provenance,
    StoredScale,
    digest,
    plain_entries,
    storable_pixels,
)
from napari_exo2micro.core.store.store import (
    CheckpointStore,
    RawSource,
    stage_inputs,
    verdicts_of,
)


class SampleSettings:
    """Names, folders and parameters of one sample and dye.

    Parameters
    ----------
    sample, dye, output_dir, raw_dir, checkpoint_format, loader, register_on
        As of `SampleDye`.

    Raises
    ------
    ParameterError
        When a name could leave the output folder, or the format or the loader is
        not known.
    """

    def __init__(
        self,
        sample: str,
        dye: str,
        output_dir: str | Path = "processed",
        raw_dir: str | Path = "raw",
        checkpoint_format: str = "both",
        loader: Loader | str | None = None,
        register_on: str | None = None,
    ) -> None:
        self.sample = check_name("sample", sample)
        self.dye = check_name("dye", dye)
        self.output_dir = Path(output_dir)
        self.raw_dir = Path(raw_dir)
        self.register_on = register_on and check_name("dye", register_on)
        self._loader = None if loader is None else get_loader(loader)
        folder = self.output_dir / self.sample / self.dye
        self._store = CheckpointStore(folder, sample, dye, checkpoint_format)
        self._params = default_params()
        self._results: dict[str, Any] = {}
        self._monitor = Monitor()
        self._source = RawSource(self.sample, self.dye, self.raw_dir, self._loader)
        self._references: dict[str, Self] = {}

    @property
    def checkpoint_format(self) -> str:
        """What checkpoints are written as."""
        return self._store.format

    @property
    def params(self) -> dict[str, ParameterValue]:
        """All parameters, a copy in registry order."""
        return {name: self._params.get(name, d) for name, d in default_params().items()}

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
        checked = check_parameters(values)
        check_parameters({**self.params, **checked})
        self._params.update(checked)

    def reset_params(self) -> None:
        """Set all parameters back to their defaults."""
        self._params = default_params()

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
        return non_default_params(self.params, stage)

    def copy(self) -> Self:
        """Return another object for the same files with parameters of its own.

        Returns
        -------
        SampleDye
            With the present parameters.
        """
        other = copy.copy(self)
        other._params = dict(self._params)
        other._results = {}
        other._store = copy.copy(self._store)
        other._store.written = []
        other._references = {}
        return other

    def _of_dye(self, dye: str) -> Self:
        """Return the same sample with another dye, registered by itself."""
        if dye not in self._references:
            other = self.copy()
            other.dye = other.register_on = dye
            folder = self.output_dir / self.sample / dye
            other._store = CheckpointStore(
                folder, self.sample, dye, self.checkpoint_format
            )
            other._source = RawSource(self.sample, dye, self.raw_dir, self._loader)
            self._references[dye] = other
        self._references[dye]._params = dict(self._params)
        return self._references[dye]


class SampleFiles(SampleSettings):
    """The checkpoints of one sample and dye."""

    # Names -------------------------------------------------------------------

    def _tiff_path(self, stage: int, name: str) -> Path:
        """Return the path of a checkpoint as TIFF."""
        return self._store.tiff_path(stage, name, self.params)

    def _fits_path(self, stage: int, name: str) -> Path:
        """Return the path of a checkpoint as FITS."""
        return self._store.fits_path(stage, name, self.params)

    def _check_path(self, name: str, stage: int = LAST_BUILT_IN) -> Path:
        """Return the path of a check plot.

        Parameters
        ----------
        name : str
            Stem of its name.
        stage : int
            Whose plot it is: the parameters of the stages up to it are in the name.
            That of the diagnostic plots by default.
        """
        return self._store.output_path(name, self.params, stage=stage)

    # Reading -----------------------------------------------------------------

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
        return self._find(stage, name)

    def _find(self, stage: int, name: str) -> Checkpoint | None:
        """Return a checkpoint that is valid now, or None."""
        if stage not in STAGES:
            raise ParameterError(
                f"stage takes a number from 1 to {max(STAGES)}, found {stage!r}"
            )
        try:
            found = self._store.find(
                stage,
                name,
                self.params,
                inputs=self._inputs(stage),
                shape=self._expected_shape(stage),
            )
        except CheckpointError:
            return None  # a stage before it is missing or stale
        reason = self._source.mismatch(found.provenance) if found and stage == 1 else ""
        if reason and found:
            path = found.image.path
            self._store.tell(path, f"{path.name} is not used: {reason}")
            return None
        return found

    def _need(self, stage: int, name: str) -> Checkpoint:
        """Return a checkpoint that must be there.

        Raises
        ------
        CheckpointError
            When it is missing or stale.
        """
        found = self._find(stage, name)
        if found is None:
            raise CheckpointError(
                f"{self._tiff_path(stage, name).stem} of {self.sample} / {self.dye} "
                f"is missing or not valid any more; run stage {stage} first"
            )
        return found

    def _inputs(self, stage: int) -> str | None:
        """Return the digest of what a stage is made from, None for raw files."""
        if stage == 1:
            return None
        return self._made_from(stage, *expected(self, stage))

    def _made_from(
        self, stage: int, dye: str = "", transform: Transform | None = None
    ) -> str:
        """Return the digest of the stage before, and of a transform taken over."""
        before = STAGES[stage - 1]
        own = stage_inputs(
            stage,
            {
                (before.number, name): self._need(before.number, name).identity
                for name in before.checkpoints
            },
        )
        if transform is None:
            return own
        return digest([own, dye, transform.matrix.tolist()])

    def _expected_shape(self, stage: int) -> tuple[int, ...] | None:
        """Return the canvas, where it can be known without reading pixels."""
        if stage > 1:
            return self._need(1, "post").image.shape
        if self._loader is not None or self._pads_otherwise():
            return None
        shapes = self._source.shapes()
        if shapes is None:
            return None  # results can be looked at without their raw files
        pad = self.params["pad"]
        assert isinstance(pad, int)
        return canvas_shape(*shapes, pad)

    def _pads_otherwise(self) -> bool:
        """Return whether stage 1 is a script's own; overridden by `SampleDye`."""
        return False

    def _load_image(self, stage: int, name: str) -> NDArray[Any] | None:
        """Return a checkpoint's pixels, None when there is no valid one.

        A TIFF comes as a read-only memory map: slicing it reads only the slice.
        """
        found = self._find(stage, name)
        return None if found is None else found.image.level(0)

    def _has_checkpoint(self, stage: int, name: str) -> bool:
        """Return whether a checkpoint is valid for the present parameters."""
        return self._find(stage, name) is not None

    def _is_done(self, stage: int) -> bool:
        """Return whether all checkpoints of a stage are valid in their formats."""
        return all(self._is_valid(stage, name) for name in STAGES[stage].checkpoints)

    def _is_valid(self, stage: int, name: str) -> bool:
        """Return whether a checkpoint is valid, and tell why one is not used."""
        line = self._status_of(stage, name)
        if line.state == "stale":
            self._store.tell(
                line.path, f"{line.path.name} is made again: {line.reason}"
            )
        return line.state == "valid"

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
        if stage not in STAGE_NAMES:
            raise ParameterError(
                f"stage takes a number from 1 to {max(STAGE_NAMES)}, found {stage!r}"
            )
        if stage == 1:
            return Transform.identity()
        found = self._need(min(stage, 3), "pre")
        if found.provenance is None or found.provenance.transform is None:
            raise CheckpointError(
                f"{found.image.path} does not tell its transform; run stage "
                f"{min(stage, 3)} again with force"
            )
        return found.provenance.transform

    # Writing -----------------------------------------------------------------

    def _provenance(self, stage: int, name: str, **more: Any) -> Provenance:
        """Return the header of a new checkpoint; raw files and canvas follow."""
        first = self._find(1, "post") if stage > 1 else None
        before = (
            self._find(stage - 1, STAGES[stage - 1].checkpoints[-1])
            if (stage > 1)
            else None
        )
        own = more.pop("verdicts", {})
        if first and first.provenance:
            more.setdefault("raw", first.provenance.raw)
            more.setdefault("canvas", first.provenance.canvas)
        earlier = before.provenance if before else None
        taken_over = more.pop("taken_over", None)
        if earlier is not None:
            if stage > max(STAGES_TAKEN_OVER):
                more.setdefault("registered_on", earlier.registered_on)
            more.setdefault("transform", earlier.transform)
            more["notes"] = (*earlier.notes, *more.get("notes", ()))
        made_from = ""
        if stage > 1:
            dye = more.get("registered_on", "")
            made_from = self._made_from(stage, dye, taken_over)
        return Provenance(
            sample=self.sample,
            dye=self.dye,
            stage=stage,
            name=name,
            parameters=self.params,
            inputs=more.pop("inputs", "") or made_from,
            verdicts={**verdicts_of(earlier), **own},
            **more,
        )

    def _write(
        self,
        provenance: Provenance,
        shape: tuple[int, int],
        dtype: Any,
        parts: Iterator[tuple[int, Any]],
        monitor: Monitor | None = None,
    ) -> list[Path]:
        return self._store.write(
            provenance, shape, dtype, parts, monitor or self._monitor
        )

    def _save_image(
        self,
        image: NDArray[Any],
        stage: int,
        name: str,
        extra_headers: Mapping[str, Any] | None = None,
        *,
        transform: Transform | None = None,
        verdict: Verdict | None = None,
    ) -> list[Path]:
        """Write an array as a checkpoint with the usual header.

        Parameters
        ----------
        image : ndarray, shape (rows, columns)
            bool becomes uint8, and other types the next larger one that
            `raster_writer.write_raster` takes.
        stage, name : int, str
            Which checkpoint it is.
        extra_headers : mapping, optional
            Entries of one's own; in FITS under their first 8 letters.
        transform : Transform, optional
            Post to pre, of an image that a script aligned itself (stages 2, 3).
        verdict : Verdict, optional
            What the stage says of its own work; the run's status repeats it. ``ok``
            for a stage after the built-in ones.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        ParameterError
            When the image is not 2-D, of a type without numbers, or of another
            shape than the canvas.
        """
        pixels = storable_pixels(np.asarray(image))
        if stage > 1:
            canvas = self._need(1, "post").image.shape
            if pixels.shape != canvas:
                raise ParameterError(
                    f"an image of stage {stage} has the shape of the canvas, "
                    f"{canvas}, found {pixels.shape}"
                )
        own: dict[str, Any] = {} if stage > 3 else {"transform": transform}
        if verdict is None and stage > LAST_BUILT_IN:
            verdict = Verdict("ok")
        if verdict is not None:
            own["verdicts"] = {str(stage): verdict}
        provenance = self._provenance(
            stage,
            name,
            content=hashlib.sha256(pixels.tobytes()).hexdigest()[:16],
            extra=plain_entries(extra_headers or {}),
            **own,
        )
        parts = ((y0, pixels[y0:y1]) for y0, y1 in bands(pixels.shape))
        shape = (pixels.shape[0], pixels.shape[1])
        return self._write(provenance, shape, pixels.dtype, parts)

    def _status_of(self, stage: int, name: str) -> CheckpointStatus:
        """Return the status line of one checkpoint."""
        try:
            inputs, shape = self._inputs(stage), self._expected_shape(stage)
        except CheckpointError:
            paths = self._store.paths(stage, name, self.params)
            exists = any(path.is_file() for path in paths)
            why = why_stale(self, stage) if exists else ""
            if exists and not why:
                why = f"stage {stage - 1} is not valid"
            state = State.STALE if exists else State.MISSING
            return CheckpointStatus(stage, name, "checkpoint", state, why, paths[0])
        found = self._store.state(stage, name, self.params, inputs=inputs, shape=shape)
        if found.state == "stale":
            why = why_stale(self, stage)
            return replace(found, reason=why) if why else found
        if stage == 1 and found.state == "valid":
            checkpoint = self._store.find(1, name, self.params, inputs=None)
            reason = self._source.mismatch(checkpoint.provenance) if checkpoint else ""
            if reason:
                return CheckpointStatus(
                    stage, name, "checkpoint", State.STALE, reason, found.path
                )
        return found


STAGES_TAKEN_OVER: Final = (2, 3)


def is_asked_for(task: SampleFiles) -> bool:
    """Return whether the stages are to take another dye's transforms."""
    return task.register_on is not None and task.register_on != task.dye


def expected(task: SampleFiles, stage: int) -> tuple[str, Transform | None]:
    """Return the dye and the transform that a valid result has taken over.

    Without `register_on`, what is stored decides whose transform it should be.

    Returns
    -------
    dye : str
        Empty when the result's transform is its own.
    transform : Transform or None
        That of the other dye now; the stored one where nothing of the other dye
        is left to compare with.

    Raises
    ------
    CheckpointError
        When the other dye has no valid transform.
    """
    if stage not in STAGES_TAKEN_OVER or task.register_on == task.dye:
        return "", None
    if task.register_on is not None:
        return task.register_on, _transform_of(task, task.register_on, stage)
    stored = _stored(task, stage)
    if stored is None or not stored.registered_on:
        return "", None
    dye = stored.registered_on
    other = task._of_dye(dye)
    if not other._store._candidates(stage, "pre", other.params):
        return dye, stored.transform
    return dye, _transform_of(task, dye, stage)


def why_stale(task: SampleFiles, stage: int) -> str:
    """Return why a stored result's geometry is not the one asked for.

    Empty when that is not what makes it stale.
    """
    stored = _stored(task, stage) if stage in STAGES_TAKEN_OVER else None
    if stored is None:
        return ""
    try:
        dye, transform = expected(task, stage)
    except CheckpointError as error:
        return str(error)
    if stored.registered_on != dye:
        made = f"that of {stored.registered_on}" if stored.registered_on else "its own"
        asked = f"that of {dye}" if dye else "its own"
        return f"its transform is {made}, {asked} is asked for"
    if dye and stored.transform != transform:
        return f"the transform of {dye}, which it has taken over, has changed"
    return ""


def take_over(task: StageMethods, stage: int) -> None:
    """Do the work of stage 2 or 3 with the transform of `task.register_on`.

    Raises
    ------
    CheckpointError
        When that dye has no valid result of the stage.
    RegistrationError
        When the two dyes' images differ in size: they do not share a geometry.
    """
    dye = task.register_on
    assert dye is not None
    transform = _transform_of(task, dye, stage)
    other = task._of_dye(dye)
    pre = task._need(1, "pre")
    for side in ("post", "pre"):
        mine = task._need(1, side).frames[side]
        theirs = other._need(1, side).frames[side]
        if mine is not None and theirs is not None and mine != theirs:
            raise RegistrationError(
                f"the {side}-stain image of {task.sample} / {task.dye} has "
                f"{mine[2]} x {mine[3]} px, that of {dye} {theirs[2]} x {theirs[3]}: "
                "they do not share one geometry; register each dye by itself"
            )
    found = other._need(stage, "pre").provenance
    details = dict(found.details) if found else {}
    verdict = _verdict(found, dye, stage)
    task._results["warp_matrix"] = transform.matrix
    if stage == 2 and task.params["save_all_intermediates"]:
        coarse = details.get("coarse_matrix")
        task._write_aligned(
            2,
            "coarse_pre",
            pre,
            transform if coarse is None else Transform(coarse),
            verdicts={"2": verdict},
            registered_on=dye,
            taken_over=transform,
        )
    interpolation = str(task.params["interpolation"]) if stage == 3 else "linear"
    task._write_aligned(
        stage,
        "pre",
        pre,
        transform,
        verdicts={str(stage): verdict},
        details=details,
        registered_on=dye,
        taken_over=transform,
        interpolation=interpolation,
    )


def _transform_of(task: SampleFiles, dye: str, stage: int) -> Transform:
    """Return the present transform of another dye.

    Raises
    ------
    CheckpointError
        When it has none that is valid.
    """
    try:
        return task._of_dye(dye).transform(stage)
    except CheckpointError as error:
        raise CheckpointError(
            f"{task.sample} / {task.dye} takes the transform of {dye}, whose stage "
            f"{stage} has no valid result; run {task.sample} / {dye} first"
        ) from error


def _stored(task: SampleFiles, stage: int) -> Provenance | None:
    """Return the header of a stage's file, valid or not."""
    for path in task._store._candidates(stage, "pre", task.params):
        try:
            provenance = task._store._read(path)[1]
        except CheckpointError:
            continue
        if provenance is not None:
            return provenance
    return None


def _verdict(found: Provenance | None, dye: str, stage: int) -> Verdict:
    """Return what the other dye's stage said of its work, and whose it is."""
    theirs = found.verdicts.get(str(stage)) if found else None
    if theirs is None:
        return Verdict("failed", f"taken over from {dye}, which has no verdict")
    reason = f"taken over from {dye}"
    if theirs.reason:
        reason += f": {theirs.reason}"
    return Verdict(theirs.state, reason, theirs.numbers)


logger = logging.getLogger(__name__)

_MAX_STORED_POINTS = 1000


class StageMethods(SampleFiles):
    """The built-in stages, one method each."""

    def _do_stage(self, number: int, force: bool = False) -> None:
        with logged_stage(self, number):
            do_stage(self, number, force)
            if number > LAST_BUILT_IN:
                for name in STAGES[number].checkpoints:
                    self._need_left(number, name)

    def _need_left(self, stage: int, name: str) -> None:
        """Raise when another package's stage has not left what it should."""
        if not self._has_checkpoint(stage, name):
            raise CheckpointError(
                f"stage {stage} ({STAGES[stage].title}) ended without its image "
                f"'{name}'; correct the stage's function: it has to call "
                f"_save_image(..., {stage}, '{name}')"
            )

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
        if is_asked_for(self):
            take_over(self, 2)
            return
        post, pre = self._need(1, "post"), self._need(1, "pre")
        found = register_highorder(
            post.image,
            pre.image,
            post_frame=post.frames["post"],
            pre_frame=pre.frames["pre"],
            monitor=self._monitor.part(0.0, 0.6),
            settings=BoundarySettings.of(self.params),
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
        return type(self)._run_stage_1_padding is not StageMethods._run_stage_1_padding

    def _has_intermediates(self) -> bool:
        wanted = self.params["save_all_intermediates"]
        return not wanted or self._has_checkpoint(2, "coarse_pre")

    def _run_stage_3_interior(self, force: bool = False) -> None:
        """Refine the alignment on the interior, then warp the original once."""
        if not force and self._is_done(3):
            return
        self._check_upstream(3)
        if is_asked_for(self):
            take_over(self, 3)
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
                settings=InteriorSettings.of(self.params),
            )
            transform, verdict = found.transform, found.verdict
            details = interior_details(found, _MAX_STORED_POINTS)
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


def _int(value: ParameterValue) -> int:
    assert isinstance(value, int)
    return value


def _points(points: ArrayLike) -> list[list[float]]:
    """Return points thinned for a header, to a tenth of a pixel."""
    array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    step = -(-len(array) // _MAX_STORED_POINTS) or 1
    return [[round(float(x), 1), round(float(y), 1)] for x, y in array[::step]]


def do_stage(task: StageMethods, number: int, force: bool) -> None:
    """Do the work of a stage.

    Raises
    ------
    ParameterError
        When the stage's method is neither a function nor one of `task`.
    """
    method = STAGES[number].method
    if callable(method):
        method(task, force)
        return
    own = getattr(task, method, None)
    if own is None:
        raise ParameterError(
            f"stage {number} ('{STAGES[number].name}') names the method '{method}', "
            f"which {type(task).__name__} does not have; register the stage with a "
            "function instead, or run it with the subclass that has the method"
        )
    own(force)


@contextmanager
def logged_stage(task: SampleFiles, number: int) -> Iterator[None]:
    """Log when a stage begins and ends, its time and what it says of its work."""
    stage = STAGES[number]
    title = f"stage {number}, {stage.title}"
    written, start = len(task._store.written), time.perf_counter()
    logger.info("%s: begins", title)
    yield
    seconds = time.perf_counter() - start
    if len(task._store.written) == written:
        logger.info("%s: valid results exist and are kept", title)
        return
    found = task.checkpoint(number, stage.checkpoints[0]) if stage.checkpoints else None
    verdicts = found.provenance.verdicts if found and found.provenance else {}
    verdict = verdicts.get(str(number), Verdict("ok"))
    words = (verdict.state.replace("_", " "), verdict.reason, verdict.figures())
    said = "; ".join(word for word in words if word)
    logger.info("%s: ended after %.1f s: %s", title, seconds, said)


def summarise(task: SampleDye, last: int) -> RunResult:
    """Return the result of a run up to stage `last`, from what is on disk."""
    verdicts: dict[int, Verdict] = {}
    notes: dict[str, None] = {}
    outputs: dict[Path, None] = {}
    scales: dict[str, StoredScale] = {}
    for line in task.status():
        if line.stage <= last and line.state == State.FAILED:
            notes[line.reason] = None
        if line.stage > last or line.state != State.VALID:
            continue
        outputs[line.path] = None
        if line.kind == "plot":
            continue
        paths = task._store.paths(line.stage, line.name, task.params)
        outputs.update(dict.fromkeys(path for path in paths if path.is_file()))
        checkpoint = task._find(line.stage, line.name)
        provenance = checkpoint.provenance if checkpoint else None
        if provenance is None:
            note = f"{line.path.name} carries no header: its provenance is unknown"
            notes[note] = None
            continue
        verdicts.update({int(n): v for n, v in provenance.verdicts.items()})
        notes.update(dict.fromkeys(provenance.notes))
        if provenance.scale:
            scale = StoredScale.from_dict(provenance.scale)
            scales[scale.kind] = scale
    state, reason = judged(verdicts, last)
    manual = task.params["manual_scale"]
    assert manual is None or isinstance(manual, float)
    return RunResult(
        task.sample,
        task.dye,
        state,
        reason,
        verdicts=dict(sorted(verdicts.items())),
        scales=scales,
        manual_scale=manual,
        warnings=tuple(notes),
        outputs=tuple(outputs),
    )


def interior_details(found: InteriorAlignment, most: int) -> dict[str, Any]:
    """Return what pictures of stage 3 need, thinned and rounded for a header."""
    matches, tiles = found.matches, found.tiles
    keep = slice(None, None, -(-len(matches.inliers) // most) or 1)
    measured = np.isfinite(tiles.dx) & np.isfinite(tiles.dy)
    return {
        "method": found.method,
        "model": found.model,
        "matches": {
            "post_xy": np.round(matches.post_xy[keep], 2).tolist(),
            "pre_xy": np.round(matches.pre_xy[keep], 2).tolist(),
            "inliers": matches.inliers[keep].tolist(),
        },
        "tiles": {
            "x": np.round(tiles.x[measured], 1).tolist(),
            "y": np.round(tiles.y[measured], 1).tolist(),
            "dx": np.round(tiles.dx[measured], 4).tolist(),
            "dy": np.round(tiles.dy[measured], 4).tolist(),
            "used": tiles.used[measured].tolist(),
        },
    }


def compare_values(
    task: SampleDye,
    name: str,
    values: Iterable[Any],
    *,
    keep: bool,
    to_stage: int | None,
    monitor: Monitor | None,
    on_result: Callable[[RunResult], None] | None = None,
) -> list[RunResult]:
    """Do the work of `SampleDye.compare`; `task` itself stays as it is."""
    tasks = []
    for value in [values] if isinstance(values, str) else values:
        other = task.copy()
        other.set_params(**{name: value})
        tasks.append(other)
    results = []
    for index, other in enumerate(tasks):
        before = other._store.existing()
        part = (monitor or Monitor()).part(index / len(tasks), (index + 1) / len(tasks))
        start = time.monotonic()
        try:
            result = other.run(to_stage=to_stage, monitor=part)
        except CancelledError:
            raise
        except Exo2MicroError as error:
            result = RunResult(other.sample, other.dye, State.FAILED, str(error))
        finally:
            if not keep:
                other._store.remove_new(before)
        manual = other.params["manual_scale"]
        assert manual is None or isinstance(manual, float)
        result = replace(
            result,
            compared=name,
            value=other.params[name],
            manual_scale=manual,
            seconds=time.monotonic() - start,
            outputs=tuple(path for path in result.outputs if path.is_file()),
        )
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


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
    ) -> RunResult:
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
        RunResult
            Its `status` is ``'complete'``, or ``'degraded: ...'`` with the stage and
            the reason when one fell back or could not vouch for its result.

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
        start = time.perf_counter()
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
            seconds = round(time.perf_counter() - start, 3)
            result = replace(summarise(self, last), seconds=seconds)
            log.conclude(result.status, result.warnings)
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

    def result(self) -> RunResult:
        """Return what `run` returned, from what is valid on disk.

        Returns
        -------
        RunResult
            As `run` returns it, up to the last stage with a valid result.
        """
        return summarise(self, max(STAGES))

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
        on_result: Callable[[RunResult], None] | None = None,
    ) -> list[RunResult]:
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
        list of RunResult
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
