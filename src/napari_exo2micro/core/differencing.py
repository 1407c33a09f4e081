"""Stage 4: statistics, scales, difference images and plots of an aligned pair."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.checkpoints import CheckpointStatus
from napari_exo2micro.core.diagnostic_context import (
    AlignedPair,
    difference_context,
    find_aligned_pair,
)
from napari_exo2micro.core.diagnostics import (
    DIAGNOSTICS,
    Diagnostic,
    draw_diagnostic,
)
from napari_exo2micro.core.difference import difference_bands
from napari_exo2micro.core.errors import CheckpointError, Exo2MicroError
from napari_exo2micro.core.json_files import read_json
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.pair_statistics import (
    PairStatistics,
    load_statistics,
    save_statistics,
)
from napari_exo2micro.core.rasters import BAND_ROWS
from napari_exo2micro.core.scale_estimate import ScaleEstimate
from napari_exo2micro.core.scale_methods import (
    DEFAULT_SCALE,
    SCALE_METHODS,
    scales_asked_for,
)
from napari_exo2micro.core.statistics import accumulate_statistics
from napari_exo2micro.core.whole_files import replace_file

if TYPE_CHECKING:
    from napari_exo2micro.core.sample_files import SampleFiles

__all__ = ["Differencing", "Plot"]

logger = logging.getLogger(__name__)

_NOTABLE_SPREAD = 0.03

#: The statistics that were read last, with what they were read for.
_kept: dict[str, tuple[Any, PairStatistics, list[ScaleEstimate]]] = {}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of stage 4.

    Attributes
    ----------
    name : str
        Stem of its file.
    diagnostic : Diagnostic
        What draws it.
    image : str
        The difference image that it shows.
    """

    name: str
    diagnostic: Diagnostic
    image: str = "difference"


class Differencing:
    """Stage 4 of one sample and dye.

    Parameters
    ----------
    task : SampleDye
        Whose stage it is.
    """

    def __init__(self, task: SampleFiles) -> None:
        self._task = task
        params = task.params
        self._params = params
        self._methods = scales_asked_for(params)
        # Names of the difference images: the main one and those asked for.
        self._names = {
            name: method.image_name(params) for name, method in self._methods.items()
        }

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

    def plots(self) -> list[Plot]:
        """Return every plot that the parameters ask for, in the order of drawing."""
        plots = [Plot(name, found) for name, found in DIAGNOSTICS.items()]
        pictures = DIAGNOSTICS.get("difference_image")
        for image in self._names.values():
            if image != "difference" and pictures is not None:
                kind = image.removeprefix("difference_")
                plots.append(Plot(f"difference_image_{kind}", pictures, image))
        return plots

    def plot_status(self) -> list[CheckpointStatus]:
        """Return for every plot whether it shows the present results."""
        drawn = self._record().get("plots", [])
        lines = []
        for name in (plot.name for plot in self.plots()):
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
            stored = read_json(self._record_path)
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
        task._need(3, "pre")
        pair = find_aligned_pair(task)
        record = {} if force else self._record()
        statistics = self._known_statistics(record)
        if statistics is None:
            statistics = self._count(pair, monitor.part(0.0, 0.15))
        scales = self._scales(statistics)
        self._remember(scales)
        for scale in scales.values():
            logger.info(
                "scale, %s: %.6g ± %.2g, offset %.3g ± %.2g grey levels; %s",
                scale.kind,
                scale.scale,
                scale.uncertainty,
                scale.offset,
                scale.offset_uncertainty,
                scale.verdict.reason or scale.verdict.state.replace("_", " "),
            )
        todo = [n for n in self._names.values() if force or not self._is_complete(n)]
        for index, (method, name) in enumerate(self._names.items()):
            if name in todo:
                part = monitor.part(
                    0.15 + 0.45 * index / len(scales),
                    0.15 + 0.45 * (index + 1) / len(scales),
                )
                self._write_difference(
                    name, scales[method], pair, part, main=method == DEFAULT_SCALE
                )
        record = {
            "inputs": task._inputs(4),
            "scales": self._compared(statistics, scales),
            "statistics": self._statistics_digest(),
            "plots": record.get("plots", []),
        }
        self._write_record(record)
        shown = list(scales.values())
        drawn = [] if force else record["plots"]
        self._draw(record, pair, statistics, shown, drawn, monitor.part(0.6, 1.0))

    def has_stored_results(self) -> bool:
        """Return whether `stored_results` has something to return, without reading."""
        known = self._is_complete("difference") and self._record().get("statistics")
        return bool(known) and self._statistics_digest() == known

    def stored_results(self) -> tuple[PairStatistics, list[ScaleEstimate]]:
        """Return the statistics of the last run and its scales, the default first.

        Raises
        ------
        CheckpointError
            When there is no valid run, or when its statistics are lost.
        """
        if not self.has_stored_results():
            raise CheckpointError("the statistics of stage 4 are lost; run it again")
        chosen = [(m, self._params.get(m.parameter)) for m in self._methods.values()]
        key = (self._statistics_digest(), self._params["offset_correction"], *chosen)
        # One plot is looked at after the other: they share the last statistics.
        kept = _kept.get("results")
        if kept is None or kept[0] != key:
            statistics = load_statistics(self._statistics_path)
            scales = list(self._scales(statistics).values())
            kept = _kept["results"] = (key, statistics, scales)
        return kept[1], list(kept[2])

    def _statistics_digest(self) -> str:
        path = self._statistics_path
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def _known_statistics(self, record: dict[str, Any]) -> PairStatistics | None:
        """Return the statistics that belong to a record, None when they are lost."""
        known, path = record.get("statistics", ""), self._statistics_path
        if known and self._statistics_digest() == known:
            try:
                return load_statistics(path)
            except CheckpointError as error:
                logger.warning("%s is made again: %s", path.name, error)
        return None

    def _count(self, pair: AlignedPair, monitor: Monitor) -> PairStatistics:
        """Count the pixels of the pair and store the statistics."""
        statistics = accumulate_statistics(
            pair.post.image,
            pair.pre.image,
            raw_pre=pair.raw_pre.image,
            raw_pre_frame=pair.raw_pre.frames["pre"],
            post_frame=pair.post.frames["post"],
            pre_quad=pair.quad,
            monitor=monitor,
        )
        path = self._statistics_path
        with replace_file(path) as part:
            save_statistics(part, statistics)
        self._task._store.written.append(path)
        return statistics

    def _scales(self, statistics: PairStatistics) -> dict[str, ScaleEstimate]:
        correct = bool(self._params["offset_correction"])
        return {
            name: method.estimate(
                statistics,
                self._params.get(method.parameter),
                offset_correction=correct,
            )
            for name, method in self._methods.items()
        }

    def _remember(self, scales: dict[str, ScaleEstimate]) -> None:
        results = self._task._results
        results["scale_estimate"] = scales[DEFAULT_SCALE].scale
        if "percentile" in scales:
            results["scale_percentile_value"] = scales["percentile"].scale

    def _compared(
        self, statistics: PairStatistics, scales: dict[str, ScaleEstimate]
    ) -> list[dict[str, Any]]:
        """Return every scale that can be had, for comparison with old results."""
        estimates = dict(scales)
        for name, method in SCALE_METHODS.items():
            if name in estimates or method.needs_value:
                continue
            try:
                estimates[name] = method.estimate(statistics)
            except Exo2MicroError as error:  # nobody has asked for this one
                logger.warning("%s", error)
        return [_scale_fields(estimate) for estimate in estimates.values()]

    def _write_difference(
        self,
        name: str,
        scale: ScaleEstimate,
        pair: AlignedPair,
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
        shape = (pair.post.image.shape[0], pair.post.image.shape[1])
        parts = difference_bands(
            pair.post.image,
            pair.pre.image,
            scale=scale.scale,
            offset=scale.offset,
            post_frame=pair.post.frames["post"],
            pre_quad=pair.quad,
            max_rows=BAND_ROWS,
        )
        task._write(provenance, shape, "float32", parts, monitor)

    def _draw(
        self,
        record: dict[str, Any],
        pair: AlignedPair,
        statistics: PairStatistics,
        scales: list[ScaleEstimate],
        drawn: list[str],
        monitor: Monitor,
    ) -> None:
        """Draw the plots that are missing or not among those drawn already."""
        task, plots = self._task, self.plots()
        new: list[Path] = []
        for index, plot in enumerate(plots):
            path = task._check_path(plot.name)
            if plot.name in drawn and path.is_file():
                continue
            monitor.report(index / len(plots), f"drawing {plot.name}")
            draw_diagnostic(
                plot.diagnostic,
                pair.post.image,
                pair.pre.image,
                difference_context(task, pair, statistics, scales, plot.image),
                sample=task.sample,
                dye=task.dye,
                save_path=path,
            )
            task._store.written.append(path)
            new.append(path)
            drawn = [*(n for n in drawn if n != plot.name), plot.name]
            # Each picture counts from now on, whatever becomes of the next one.
            self._write_record({**record, "plots": drawn})
        if new:
            logger.info("drawn: %d pictures in %s", len(new), new[0].parent.name)


def _notes(scale: ScaleEstimate) -> tuple[str, ...]:
    """Return what a careful reader of the difference wants to know."""
    spread = scale.verdict.numbers.get("local_spread", 0.0)
    notes = []
    if scale.method != DEFAULT_SCALE and scale.verdict.state != "ok":
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
