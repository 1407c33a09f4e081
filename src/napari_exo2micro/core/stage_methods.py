"""The work of the stages: what a subclass of `SampleDye` can do in its own way."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
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
from napari_exo2micro.core.checkpoint import Checkpoint
from napari_exo2micro.core.differencing import Differencing
from napari_exo2micro.core.errors import CheckpointError
from napari_exo2micro.core.padding import canvas_shape, frame, padded_bands
from napari_exo2micro.core.parameter_entry import ParameterValue
from napari_exo2micro.core.parameter_table import PARAMETERS
from napari_exo2micro.core.provenance import digest
from napari_exo2micro.core.raw import open_image_pair
from napari_exo2micro.core.sample_files import SampleFiles
from napari_exo2micro.core.stages import LAST_BUILT_IN, STAGES, do_stage
from napari_exo2micro.core.transforms import Transform
from napari_exo2micro.core.warping import warped_bands

__all__ = ["StageMethods"]

logger = logging.getLogger(__name__)

_STAGE_2_ONLY = frozenset(("save_all_intermediates",))
_MAX_STORED_POINTS = 1000


class StageMethods(SampleFiles):
    """The built-in stages, one method each."""

    def _do_stage(self, number: int, force: bool = False) -> None:
        with outcome.logged_stage(self, number):
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
        return type(self)._run_stage_1_padding is not StageMethods._run_stage_1_padding

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


def _int(value: ParameterValue) -> int:
    assert isinstance(value, int)
    return value


def _points(points: ArrayLike) -> list[list[float]]:
    """Return points thinned for a header, to a tenth of a pixel."""
    array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    step = -(-len(array) // _MAX_STORED_POINTS) or 1
    return [[round(float(x), 1), round(float(y), 1)] for x, y in array[::step]]
