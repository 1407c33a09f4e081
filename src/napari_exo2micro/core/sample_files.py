"""The checkpoints of one sample and dye: their names, reading and writing them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core import shared_geometry
from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.checkpoint import storable_pixels
from napari_exo2micro.core.checkpoints import (
    Checkpoint,
    CheckpointStatus,
    stage_inputs,
    verdicts_of,
)
from napari_exo2micro.core.errors import CheckpointError, ParameterError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.padding import canvas_shape
from napari_exo2micro.core.provenance import Provenance, digest, plain_entries
from napari_exo2micro.core.rasters import bands
from napari_exo2micro.core.sample_settings import SampleSettings
from napari_exo2micro.core.stages import LAST_BUILT_IN, STAGE_NAMES, STAGES
from napari_exo2micro.core.transforms import Transform

__all__ = ["SampleFiles"]


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
        return self._made_from(stage, *shared_geometry.expected(self, stage))

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
            if stage > max(shared_geometry.STAGES_TAKEN_OVER):
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
            why = shared_geometry.why_stale(self, stage) if exists else ""
            if exists and not why:
                why = f"stage {stage - 1} is not valid"
            state: Literal["stale", "missing"] = "stale" if exists else "missing"
            return CheckpointStatus(stage, name, "checkpoint", state, why, paths[0])
        found = self._store.state(stage, name, self.params, inputs=inputs, shape=shape)
        if found.state == "stale":
            why = shared_geometry.why_stale(self, stage)
            return replace(found, reason=why) if why else found
        if stage == 1 and found.state == "valid":
            checkpoint = self._store.find(1, name, self.params, inputs=None)
            reason = self._source.mismatch(checkpoint.provenance) if checkpoint else ""
            if reason:
                return CheckpointStatus(
                    stage, name, "checkpoint", "stale", reason, found.path
                )
        return found
