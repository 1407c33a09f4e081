"""Stage 4: statistics, scales, difference images and plots of an aligned pair."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.checkpoints import Checkpoint, CheckpointStatus
from napari_exo2micro.core.defaults import format_value
from napari_exo2micro.core.diagnostics import DIAGNOSTICS, draw_diagnostic
from napari_exo2micro.core.difference import difference_bands, mapped_frame
from napari_exo2micro.core.errors import CheckpointError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.pair_statistics import (
    PairStatistics,
    load_statistics,
    save_statistics,
)
from napari_exo2micro.core.photometry import (
    SCALE_METHODS,
    ScaleEstimate,
    estimate_scale,
    manual_scale,
    scale_at_percentile,
)
from napari_exo2micro.core.raster_writer import replace_file
from napari_exo2micro.core.rasters import BAND_ROWS
from napari_exo2micro.core.statistics import accumulate_statistics
from napari_exo2micro.core.transforms import Transform

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["Differencing"]

logger = logging.getLogger(__name__)

_NOTABLE_SPREAD = 0.03


class Differencing:
    """Stage 4 of one sample and dye.

    Parameters
    ----------
    task : SampleDye
        Whose stage it is.
    """

    def __init__(self, task: SampleDye) -> None:
        self._task = task
        params = task.params
        self._params = params
        # Names of the difference images: the main one and those asked for.
        self._names = {"moffat": "difference"}
        percentile, manual = params["scale_percentile"], params["manual_scale"]
        if isinstance(percentile, float):
            self._names["percentile"] = (
                f"difference_percentile_p{format_value(percentile)}"
            )
        if isinstance(manual, float):
            self._names["manual"] = "difference_manual"

    def checkpoint_names(self) -> list[str]:
        """Return the difference images that the parameters ask for."""
        return list(self._names.values())

    def is_done(self) -> bool:
        """Return whether all images and plots are valid."""
        images = all(self._is_complete(name) for name in self._names.values())
        return images and all(s.state == "valid" for s in self.plot_status())

    def _is_complete(self, name: str) -> bool:
        """Return whether a difference image is valid in each of its formats."""
        return self._task._is_valid(4, name)

    # Plots -------------------------------------------------------------------

    def _plots(self) -> dict[str, tuple[str, str]]:
        """Return for each plot its diagnostic and the scale it shows."""
        plots = {name: (name, "moffat") for name in DIAGNOSTICS}
        for method, image in self._names.items():
            if method != "moffat" and "difference_image" in DIAGNOSTICS:
                kind = image.removeprefix("difference_")
                plots[f"difference_image_{kind}"] = ("difference_image", method)
        return plots

    def plot_status(self) -> list[CheckpointStatus]:
        """Return for every plot whether it shows the present results."""
        drawn = self._record().get("plots", [])
        lines = []
        for name in self._plots():
            path = self._task._check_path(name)
            if not path.is_file():
                lines.append(CheckpointStatus(4, name, "plot", "missing", "", path))
            elif name in drawn:
                lines.append(CheckpointStatus(4, name, "plot", "valid", "", path))
            else:
                reason = "it was drawn from other results"
                lines.append(CheckpointStatus(4, name, "plot", "stale", reason, path))
        return lines

    @property
    def _record_path(self) -> Path:
        return self._task._store.output_path(
            "04_difference_record", self._params, ".json"
        )

    @property
    def _statistics_path(self) -> Path:
        return self._task._store.output_path(
            "04_difference_statistics", self._params, ".npz"
        )

    def _record(self) -> dict[str, Any]:
        """Return the record of the last run on these inputs, or nothing."""
        try:
            inputs = self._task._inputs(4)
            stored = json.loads(self._record_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, CheckpointError):
            return {}
        if not isinstance(stored, dict) or stored.get("inputs") != inputs:
            return {}
        return stored

    def _write_record(self, record: dict[str, Any]) -> None:
        with replace_file(self._record_path) as part:
            part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        self._task._store.written.append(self._record_path)

    # Work --------------------------------------------------------------------

    def run(self, monitor: Monitor, *, force: bool) -> None:
        """Make what is missing: statistics, scales, images, plots."""
        task = self._task
        post, pre = task._need(1, "post"), task._need(3, "pre")
        raw_pre = task._need(1, "pre")
        record = {} if force else self._record()
        statistics = self._statistics(
            post,
            pre,
            raw_pre,
            monitor.part(0.0, 0.15),
            known=record.get("statistics", ""),
        )
        scales = self._scales(statistics)
        self._remember(scales)
        todo = [n for n in self._names.values() if force or not self._is_complete(n)]
        for index, (method, name) in enumerate(self._names.items()):
            if name in todo:
                part = monitor.part(
                    0.15 + 0.45 * index / len(scales),
                    0.15 + 0.45 * (index + 1) / len(scales),
                )
                self._write_difference(
                    name, scales[method], post, pre, part, main=method == "moffat"
                )
        record = {
            "inputs": task._inputs(4),
            "scales": self._compared(statistics, scales),
            "statistics": _file_digest(self._statistics_path),
            "plots": record.get("plots", []),
        }
        self._write_record(record)
        context = self._context(statistics, scales, post, raw_pre)
        self._draw(record, context, post, pre, monitor.part(0.6, 1.0), force=force)

    def _statistics(
        self,
        post: Checkpoint,
        pre: Checkpoint,
        raw_pre: Checkpoint,
        monitor: Monitor,
        *,
        known: str,
    ) -> PairStatistics:
        path = self._statistics_path
        if known and path.is_file() and _file_digest(path) == known:
            try:
                return load_statistics(path)
            except CheckpointError as error:
                logger.warning("%s is made again: %s", path.name, error)
        statistics = accumulate_statistics(
            post.image,
            pre.image,
            raw_pre=raw_pre.image,
            raw_pre_frame=raw_pre.frames["pre"],
            post_frame=post.frames["post"],
            pre_quad=self._quad(raw_pre),
            monitor=monitor,
        )
        with replace_file(path) as part:
            save_statistics(part, statistics)
        self._task._store.written.append(path)
        return statistics

    def _quad(self, raw_pre: Checkpoint) -> Any:
        """Return where on the canvas the aligned pre image has data."""
        frame, transform = raw_pre.frames["pre"], self._transform()
        if frame is None or transform is None:
            return None
        return mapped_frame(transform, frame)

    def _transform(self) -> Transform | None:
        """Return stage 3's transform; None when a script aligned and told none."""
        provenance = self._task._need(3, "pre").provenance
        return provenance.transform if provenance else None

    def _scales(self, statistics: PairStatistics) -> dict[str, ScaleEstimate]:
        correct = bool(self._params["offset_correction"])
        scales = {"moffat": estimate_scale(statistics, offset_correction=correct)}
        percentile, manual = (
            self._params["scale_percentile"],
            self._params["manual_scale"],
        )
        if isinstance(percentile, float):
            scales["percentile"] = scale_at_percentile(statistics, percentile)
        if isinstance(manual, float):
            scales["manual"] = manual_scale(manual)
        return scales

    def _remember(self, scales: dict[str, ScaleEstimate]) -> None:
        results = self._task._results
        results["scale_estimate"] = scales["moffat"].scale
        if "percentile" in scales:
            results["scale_percentile_value"] = scales["percentile"].scale

    def _compared(
        self, statistics: PairStatistics, scales: dict[str, ScaleEstimate]
    ) -> list[dict[str, Any]]:
        """Return every scale that can be had, for comparison with old results."""
        estimates = dict(scales)
        for name in SCALE_METHODS:
            if name in estimates:
                continue
            try:
                estimates[name] = estimate_scale(statistics, name)
            except Exception:  # another package's method must not end the run
                logger.exception("the scale method '%s' failed", name)
        return [_scale_fields(estimate) for estimate in estimates.values()]

    def _write_difference(
        self,
        name: str,
        scale: ScaleEstimate,
        post: Checkpoint,
        pre: Checkpoint,
        monitor: Monitor,
        *,
        main: bool,
    ) -> None:
        task = self._task
        provenance = task._provenance(
            4,
            name,
            scale={**_scale_fields(scale), "main": main},
            verdicts={"4": scale.verdict} if main else {},
            notes=_notes(scale),
        )
        shape = (post.image.shape[0], post.image.shape[1])
        parts = difference_bands(
            post.image,
            pre.image,
            scale=scale.scale,
            offset=scale.offset,
            post_frame=post.frames["post"],
            pre_quad=self._quad(task._need(1, "pre")),
            max_rows=BAND_ROWS,
        )
        task._write(provenance, shape, "float32", parts, monitor)

    def _context(
        self,
        statistics: PairStatistics,
        scales: dict[str, ScaleEstimate],
        post: Checkpoint,
        raw_pre: Checkpoint,
    ) -> dict[str, Any]:
        """Return what diagnostics may ask for by the name of an argument."""
        aligned, difference = (
            self._task._need(3, "pre"),
            self._task._need(4, "difference"),
        )
        stage_2 = self._task._need(2, "pre").provenance
        boundary = dict(stage_2.details) if stage_2 else {}
        coarse = boundary.get("coarse_matrix")
        interior = dict(aligned.provenance.details) if aligned.provenance else {}
        verdicts = difference.provenance.verdicts if difference.provenance else {}
        return {
            "statistics": statistics,
            "scales": list(scales.values()),
            "scale": scales["moffat"].scale,
            "offset": scales["moffat"].offset,
            "difference": difference.image,
            "raw_pre": raw_pre.image,
            "post_frame": post.frames["post"],
            "pre_frame": raw_pre.frames["pre"],
            "coarse_transform": Transform(coarse) if coarse else None,
            "icp_transform": stage_2.transform if stage_2 else None,
            "final_transform": self._transform(),
            "post_contour": boundary.get("post_contour"),
            "pre_contour": boundary.get("pre_contour"),
            "matches": interior.get("matches"),
            "tiles": interior.get("tiles"),
            "down_scale": self._params["down_scale"],
            "verdicts": {int(number): v for number, v in verdicts.items()},
        }

    def _draw(
        self,
        record: dict[str, Any],
        context: dict[str, Any],
        post: Checkpoint,
        pre: Checkpoint,
        monitor: Monitor,
        *,
        force: bool,
    ) -> None:
        task, plots = self._task, self._plots()
        drawn = [] if force else list(record["plots"])
        for index, (name, (diagnostic, method)) in enumerate(plots.items()):
            path = task._check_path(name)
            if name in drawn and path.is_file():
                continue
            monitor.report(index / len(plots), f"drawing {name}")
            shown = dict(context)
            if method != "moffat":
                image = task._need(4, self._names[method])
                stored = image.provenance.scale if image.provenance else {}
                shown.update(
                    difference=image.image,
                    scale=stored["value"],
                    offset=stored["offset"],
                )
            draw_diagnostic(
                DIAGNOSTICS[diagnostic],
                post.image,
                pre.image,
                shown,
                sample=task.sample,
                dye=task.dye,
                save_path=path,
            )
            task._store.written.append(path)
            drawn = [*(n for n in drawn if n != name), name]
            # Each picture counts from now on, whatever becomes of the next one.
            self._write_record({**record, "plots": drawn})


def _file_digest(path: Path) -> str:
    """Return the digest of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _notes(scale: ScaleEstimate) -> tuple[str, ...]:
    """Return what a careful reader of the difference wants to know."""
    spread = scale.verdict.numbers.get("local_spread", 0.0)
    notes = []
    if scale.method != "moffat" and scale.verdict.state != "ok":
        notes.append(f"the {scale.kind} scale: {scale.verdict.reason}")
    if spread > _NOTABLE_SPREAD:
        notes.append(
            "the light or the glow differs from place to place by "
            f"{spread:.0%} of the minerals' brightness: one scale leaves that much "
            "background"
        )
    if scale.offset:
        notes.append(
            f"a constant offset of {scale.offset:.2f} grey levels was taken off post"
        )
    return tuple(notes)


def _scale_fields(estimate: ScaleEstimate) -> dict[str, Any]:
    """Return a scale for a header."""
    return {
        "kind": estimate.kind,
        "value": estimate.scale,
        "uncertainty": estimate.uncertainty,
        "offset": estimate.offset,
        "offset_uncertainty": estimate.offset_uncertainty,
        "verdict": estimate.verdict.to_dict(),
    }
