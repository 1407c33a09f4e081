"""Stage 4's numbers and images: statistics, scales, and the differences made with them.

The plots of stage 4 are in `figures`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from scipy import ndimage

from napari_exo2micro.core.alignment import views
from napari_exo2micro.core.base import CheckpointError, Exo2MicroError, Monitor, files
from napari_exo2micro.core.images import LazyImage, mapped_frame, raster
from napari_exo2micro.core.images.missing import blanked, either
from napari_exo2micro.core.images.regions import EXCLUDED
from napari_exo2micro.core.parameters import ParameterValue, State
from napari_exo2micro.core.photometry import (
    BACKGROUND_STEPS,
    BackgroundModel,
    ScaleEstimate,
    difference_bands,
    fit_background,
    known_pixels,
    methods,
)
from napari_exo2micro.core.photometry.statistics import (
    PairStatistics,
    accumulate_statistics,
    load_statistics,
    save_statistics,
)
from napari_exo2micro.core.store.checkpoints import Checkpoint, CheckpointStore
from napari_exo2micro.core.store.provenance import StoredScale, digest

logger = logging.getLogger(__name__)

_RECORD: Final = "04_difference_record"

_LOOKED_AT: Final = 512
"""Longest side of the images in which the lost part of the section is measured, px."""

_VISIBLE: Final = 0.06
"""Part of the minerals' light that may remain in the difference unnoticed."""

_MOVED: Final = 0.3
"""How far what remains of minerals may move the scale, as a part of it."""

_NOTABLE_SPREAD: Final = 0.03
"""Part of the minerals' brightness by which light or glow may differ untold."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedPair:
    """Padded post and pre, pre as `stage` 2 or 3 has aligned it, and as stage 2 has."""

    post: Checkpoint
    raw_pre: Checkpoint
    pre: Checkpoint
    boundary: Checkpoint
    stage: int
    not_counted: LazyImage | None = None  # of post, by the regions of the run

    @property
    def quad(self) -> Any:
        """Where on the canvas the aligned pre image has data; see `mapped_frame`."""
        frame, transform = self.raw_pre.frames["pre"], self.pre.transform
        if frame is None or transform is None:
            return None
        return mapped_frame(transform, frame)

    @property
    def post_missing(self) -> LazyImage | None:
        """Where post has no data, 1 and 0 on the canvas; None where all is there."""
        missing = self.post.missing["post"]
        return None if missing is None else missing.mask(self.post.image)

    @property
    def pre_missing(self) -> LazyImage | None:
        """Where the aligned pre has no data, like `post_missing`."""
        missing, transform = self.raw_pre.missing["pre"], self.pre.transform
        if missing is None or transform is None:
            return None
        image = self.raw_pre.image
        return missing.warped(image, transform, (image.shape[0], image.shape[1]))

    @property
    def raw_pre_missing(self) -> LazyImage | None:
        """Where the pre image has no data before the warp."""
        missing = self.raw_pre.missing["pre"]
        return None if missing is None else missing.mask(self.raw_pre.image)


def find_aligned_pair(store: CheckpointStore) -> AlignedPair:
    """Return the pair as the last stage that is valid has aligned it.

    Raises
    ------
    CheckpointError
        When stage 2 has no valid result.
    """
    boundary, interior = store.need(2, "pre"), store.find(3, "pre")
    post, regions = store.need(1, "post"), store.regions
    not_counted, frame = None, post.frames["post"]
    if regions is not None and frame is not None:
        regions.check(frame)
        shape = post.image.shape[0], post.image.shape[1]
        not_counted = regions.not_counted(shape, frame)
    return AlignedPair(
        post=post,
        raw_pre=store.need(1, "pre"),
        pre=boundary if interior is None else store.need(3, "pre"),
        boundary=boundary,
        stage=2 if interior is None else 3,
        not_counted=not_counted,
    )


def lost_shares(pair: AlignedPair) -> dict[str, float]:
    """Return which part of the section has no data in `post` and in `pre`, 0..1.

    Of an image that lacks nothing it is not told. The section is what either image
    shows of it, and what both lack inside of it.
    """
    masks = {"post": pair.post_missing, "pre": pair.pre_missing}
    frame = pair.post.frames["post"]
    if frame is None or all(mask is None for mask in masks.values()):
        return {}
    section: Any = False
    unknown = {}
    for side, image in (("post", pair.post.image), ("pre", pair.pre.image)):
        seen = views.open_view(blanked(image, masks[side]), frame, _LOOKED_AT, side)
        section |= views.find_section(seen).mask
        unknown[side] = ~seen.valid
    section = ndimage.binary_fill_holes(section)
    return {
        side: float(np.count_nonzero(section & unknown[side]) / max(section.sum(), 1))
        for side, mask in masks.items()
        if mask is not None
    }


@dataclass(frozen=True, slots=True)
class DifferenceRecord:
    """What stage 4 notes beside its images, in ``04_difference_record<suffix>.json``.

    Attributes
    ----------
    path, inputs : Path, str
        Its file, and the digest of the alignment that the run was made on.
    scales : tuple of StoredScale
        By every method that needs no value, for comparison, and those asked for.
    digest : str
        SHA-256 of the statistics' file.
    drawn, failed : mapping of str to str
        The plots that show these results with the SHA-256 of their files (empty in
        what an earlier version wrote), and why others could not be drawn.
    """

    path: Path
    inputs: str
    scales: tuple[StoredScale, ...] = ()
    digest: str = ""
    drawn: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, inputs: str | None) -> DifferenceRecord | None:
        """Return a file's record if it is whole and was made from these inputs."""
        try:
            stored = files.read_json(path)
            if inputs is None or stored["inputs"] != inputs:
                return None
            plots = stored["plots"]
            if isinstance(plots, list):  # of an earlier version: names only
                plots = dict.fromkeys(plots, "")
            elif stored.pop("checksum") != digest(stored):
                return None
            return cls(
                path,
                inputs,
                tuple(map(StoredScale.from_dict, stored["scales"])),
                str(stored["statistics"]),
                dict(plots),
                dict(stored.get("failed", {})),
            )
        except (AttributeError, LookupError, OSError, TypeError, ValueError):
            return None

    def write(self) -> None:
        """Write the file, whole or not at all."""
        content = {
            "inputs": self.inputs,
            "scales": [scale.to_dict() for scale in self.scales],
            "statistics": self.digest,
            "plots": dict(sorted(self.drawn.items())),
            "failed": dict(sorted(self.failed.items())),
        }
        files.write_json(self.path, {**content, "checksum": digest(content)})

    @property
    def suffix(self) -> str:
        """What its name tells of the parameters."""
        return self.path.stem.removeprefix(_RECORD)

    @property
    def statistics_path(self) -> Path:
        """Where the statistics are."""
        return self.path.with_name(f"04_difference_statistics{self.suffix}.npz")

    def has_statistics(self) -> bool:
        """Return whether the statistics are those that the run has counted."""
        return (
            bool(self.digest) and files.digest_of(self.statistics_path) == self.digest
        )

    def shows(self, plot: str, path: Path) -> bool:
        """Return whether a plot's file is the picture of these results."""
        if plot not in self.drawn or not path.is_file():
            return False
        told = self.drawn[plot]
        return files.digest_of(path) == told if told else path.stat().st_size > 0

    def statistics(self) -> PairStatistics | None:
        """Return the statistics of the run; None when they are lost."""
        if not self.has_statistics():
            return None
        try:
            return load_statistics(self.statistics_path)
        except CheckpointError:
            return None


def difference_records(store: CheckpointStore) -> Iterator[DifferenceRecord]:
    """Yield the records of stage 4 for the present alignment, whatever the scales.

    Scales do not change what was counted: the statistics of each can be used.
    """
    try:
        inputs = store.inputs(4)
    except CheckpointError:
        return
    for path in sorted(_record_path(store).parent.glob(f"{_RECORD}*.json")):
        record = DifferenceRecord.read(path, inputs)
        if record is not None:
            yield record


def find_record(store: CheckpointStore) -> DifferenceRecord | None:
    """Return the record for the present parameters and alignment."""
    try:
        return DifferenceRecord.read(_record_path(store), store.inputs(4))
    except CheckpointError:
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """What stage 4 knows of a pair: `scales` by method, the default one first."""

    pair: AlignedPair
    statistics: PairStatistics
    scales: Mapping[str, ScaleEstimate]
    record: DifferenceRecord


def make_differences(
    store: CheckpointStore, monitor: Monitor, *, force: bool
) -> Differences:
    """Make what is missing of statistics, scales and difference images."""
    store.need(3, "pre")
    pair = find_aligned_pair(store)
    path, inputs = _record_path(store), store.inputs(4) or ""
    known = None if force else DifferenceRecord.read(path, inputs)
    record = known or DifferenceRecord(path, inputs)
    statistics = record.statistics()
    if statistics is None:
        statistics = accumulate_statistics(
            pair.post.image,
            pair.pre.image,
            raw_pre=pair.raw_pre.image,
            raw_pre_frame=pair.raw_pre.frames["pre"],
            post_frame=pair.post.frames["post"],
            pre_quad=pair.quad,
            post_missing=either(pair.post_missing, pair.not_counted),
            pre_missing=pair.pre_missing,
            raw_pre_missing=pair.raw_pre_missing,
            monitor=monitor.part(0.0, 0.15),
        )
        with files.replace_file(record.statistics_path) as part:
            save_statistics(part, statistics)
        store.written.append(record.statistics_path)
    background = None
    scales = _estimated(statistics, *_choice(store, ()))
    if force or _lacks_images(store):
        main = scales[methods.DEFAULT_SCALE]
        background = _find_background(
            store, pair, statistics, main, monitor.part(0.15, 0.2)
        )
    proven = store.proven_scales() if background is None else _proven(background)
    asked = methods.scales_asked_for(store.params, proven)
    scales = _estimated(statistics, *_choice(store, proven), known=scales)
    scales = _widened(scales, _structure(store, background))
    for scale in scales.values():
        logger.info(
            "scale, %s: %.6g ± %.2g, offset %.3g ± %.2g grey levels; %s",
            scale.kind,
            scale.scale,
            scale.uncertainty,
            scale.offset,
            scale.offset_uncertainty,
            scale.verdict.reason or scale.verdict.state.word,
        )
    lost = lost_shares(pair)
    for index, (method, scale) in enumerate(scales.items()):
        name = asked[method].image_name(store.params)
        if force or not store.is_valid(4, name):
            start, end = (0.2 + 0.4 * n / len(scales) for n in (index, index + 1))
            told = _with_lost(scale, lost), pair, lost, background
            _write_difference(store, name, *told, monitor.part(start, end))
    counted = files.digest_of(record.statistics_path)
    record = DifferenceRecord(
        path,
        inputs,
        _compared(statistics, scales),
        counted,
        record.drawn if record.digest == counted else {},
    )
    record.write()
    store.written.append(path)
    return Differences(pair, statistics, scales, record)


def valid_record(store: CheckpointStore) -> DifferenceRecord | None:
    """Return the record of a valid difference whose statistics are there."""
    if store.status(4, "difference").state != State.VALID:
        return None
    record = find_record(store)
    return record if record and record.has_statistics() else None


def stored_differences(store: CheckpointStore) -> Differences | None:
    """Return what `make_differences` returned, None without a `valid_record`.

    Raises
    ------
    CheckpointError
        When the statistics are those of another version.
    """
    record = valid_record(store)
    if record is None:
        return None
    path, digest = record.statistics_path, record.digest
    statistics, scales = _loaded(path, digest, *_choice(store, store.proven_scales()))
    scales = _widened(scales, _structure(store, None))
    return Differences(find_aligned_pair(store), statistics, scales, record)


_Asked = tuple[tuple[methods.ScaleMethod, ParameterValue], ...]


def _choice(store: CheckpointStore, proven: tuple[str, ...]) -> tuple[_Asked, bool]:
    """Return what the scales depend on beside the statistics."""
    params = store.params
    asked = methods.scales_asked_for(params, proven).values()
    values = tuple((method, params.get(method.parameter)) for method in asked)
    return values, bool(params["offset_correction"])


# One plot is looked at after the other: they share the last statistics.
@lru_cache(maxsize=1)
def _loaded(
    path: Path, _digest: str, asked: _Asked, correct: bool
) -> tuple[PairStatistics, Mapping[str, ScaleEstimate]]:
    statistics = load_statistics(path)
    return statistics, _estimated(statistics, asked, correct)


def _estimated(
    statistics: PairStatistics,
    asked: _Asked,
    correct: bool,
    known: Mapping[str, ScaleEstimate] = MappingProxyType({}),
) -> dict[str, ScaleEstimate]:
    """Return the scales that are asked for; those that are known are not found anew."""
    found = dict(known)
    for method, value in asked:
        if method.name == methods.MODEL_SCALE:
            scale = replace(found[methods.DEFAULT_SCALE], method=method.name)
            found[method.name] = scale
        elif method.name not in found:
            scale = method.estimate(statistics, value, offset_correction=correct)
            found[method.name] = scale
    return found


def _compared(
    statistics: PairStatistics, scales: Mapping[str, ScaleEstimate]
) -> tuple[StoredScale, ...]:
    """Return every scale that can be had, for comparison with old results."""
    estimates = dict(scales)
    for name, method in methods.SCALE_METHODS.items():
        if name in (*estimates, methods.MODEL_SCALE) or method.needs_value:
            continue
        try:
            estimates[name] = method.estimate(statistics)
        except Exo2MicroError as error:  # nobody has asked for this one
            logger.warning("%s", error)
    return tuple(map(_stored, estimates.values()))


def _lacks_images(store: CheckpointStore) -> bool:
    """Return whether an image is missing for which the background must be known."""
    names = "difference", f"difference_{methods.MODEL_SCALE}"
    wanted = [name for name in names if name in store.names(4)]
    return not all(store.is_valid(4, name) for name in wanted)


def _find_background(
    store: CheckpointStore,
    pair: AlignedPair,
    statistics: PairStatistics,
    scale: ScaleEstimate,
    monitor: Monitor,
) -> BackgroundModel:
    """Return what the pair proves of a background model; its figures in any case."""
    frame = pair.post.frames["post"]
    missing = (either(pair.post_missing, pair.not_counted), pair.pre_missing)
    is_off = store.params["background_model"] == "off"
    return fit_background(
        pair.post.image,
        pair.pre.image,
        scale=scale.scale,
        offset=scale.offset,
        statistics=statistics,
        known=known_pixels(pair.post.image.shape, frame, pair.quad, missing),
        steps=() if is_off else BACKGROUND_STEPS,
        monitor=monitor,
    )


def _structure(store: CheckpointStore, background: BackgroundModel | None) -> float:
    """Return the part of the minerals' light that one scale leaves."""
    if background is not None:
        return background.left_by_scale.structure
    told = store.need(4, "difference").details.get("background", {})
    return float(told.get("structure", 0.0))


def _widened(
    scales: Mapping[str, ScaleEstimate], structure: float
) -> dict[str, ScaleEstimate]:
    """Return scales whose error counts what they leave of minerals, too.

    Minerals that brighten in ways of their own may also move the peak of all.
    """

    def widened(scale: ScaleEstimate) -> ScaleEstimate:
        error = math.hypot(scale.uncertainty, _MOVED * structure * scale.scale)
        relative = {"relative_uncertainty": error / scale.scale}
        numbers = {**scale.verdict.numbers, **relative}
        verdict = replace(scale.verdict, numbers=numbers)
        return replace(scale, uncertainty=error, verdict=verdict)

    of_peak = methods.DEFAULT_SCALE, methods.MODEL_SCALE
    return {n: widened(s) if n in of_peak else s for n, s in scales.items()}


def _proven(background: BackgroundModel) -> tuple[str, ...]:
    return (methods.MODEL_SCALE,) if background.is_proven else ()


def _write_difference(
    store: CheckpointStore,
    name: str,
    scale: ScaleEstimate,
    pair: AlignedPair,
    lost: Mapping[str, float],
    background: BackgroundModel | None,
    monitor: Monitor,
) -> None:
    details: dict[str, Any] = {}
    told: list[str] = []
    earlier = *_notes(scale), *_lost_notes(lost), *_region_notes(store, pair)
    stored = _stored(scale)
    is_model = scale.method == methods.MODEL_SCALE
    if background is not None and (stored.is_main or is_model):
        details = {
            "background": background.to_dict(),
            "proven": list(_proven(background)),
        }
    if background is not None and stored.is_main:
        is_made = methods.MODEL_SCALE in methods.scales_asked_for(
            store.params, details["proven"]
        )
        scale, told = _with_structure(scale, background, is_made=is_made)
        stored = _stored(scale)
    provenance = store.provenance(
        4,
        name,
        scale=stored,
        verdict=scale.verdict if stored.is_main else None,
        notes=(*earlier, *told),
        details=details,
    )
    parts = difference_bands(
        pair.post.image,
        pair.pre.image,
        scale=scale.scale,
        offset=scale.offset,
        post_frame=pair.post.frames["post"],
        pre_quad=pair.quad,
        missing=(pair.post_missing, pair.pre_missing),
        background=background if is_model else None,
        max_rows=raster.BAND_ROWS,
    )
    store.write(provenance, pair.post.image.shape, "float32", parts, monitor)


def _with_structure(
    scale: ScaleEstimate, background: BackgroundModel, *, is_made: bool
) -> tuple[ScaleEstimate, list[str]]:
    """Return a scale whose verdict tells what remains of minerals, and notes."""
    verdict, left = scale.verdict, background.left_by_scale.structure
    numbers = {**verdict.numbers, "structure_percent": 100 * left}
    if background.steps:
        numbers |= {
            "structure_with_model_percent": 100 * background.left_by_model.structure,
            "power_with_model_percent": 100 * background.power_ratio,
            "flux_lost_by_model_percent": 100 * background.lost_flux,
        }
    state, reason, notes = verdict.state, verdict.reason, []
    if left > _VISIBLE:
        note = f"minerals remain visible in the difference, {left:.0%} of their light"
        least = left
        if is_made:
            least = background.left_by_model.structure
            more = f"the difference_model leaves {least:.1%}: look at that"
            note = f"{note}; {more}"
        if least > _VISIBLE:
            state = State.FELL_BACK if state.is_good else state
            reason = "; ".join(filter(None, (reason, note)))
        notes.append(note)
    verdict = replace(verdict, state=state, reason=reason, numbers=numbers)
    return replace(scale, verdict=verdict), notes


def _with_lost(scale: ScaleEstimate, lost: Mapping[str, float]) -> ScaleEstimate:
    """Return a scale whose verdict tells which part of the section is lost."""
    if not lost:
        return scale
    verdict = scale.verdict
    numbers = {f"{side}_lost": share for side, share in lost.items()}
    reason = verdict.reason
    if not verdict.state.is_good:
        reason = "; ".join([reason, *_lost_notes(lost)])
    verdict = replace(verdict, reason=reason, numbers={**verdict.numbers, **numbers})
    return replace(scale, verdict=verdict)


def _lost_notes(lost: Mapping[str, float]) -> list[str]:
    """Return which part of the section nothing is known of."""
    return [
        f"about {share:.1%} of the section has no data in {side}-stain: nothing is "
        "measured there"
        for side, share in lost.items()
    ]


def _region_notes(store: CheckpointStore, pair: AlignedPair) -> list[str]:
    """Return what was left out and what was counted because a person drew it."""
    regions, frame = store.regions, pair.post.frames["post"]
    if regions is None or frame is None:
        return []
    shares = dict(regions.shares(frame))
    notes = []
    if EXCLUDED in shares:
        notes.append(
            f"{shares.pop(EXCLUDED):.1%} of post-stain is left out of registration and "
            f"scale, as {regions.source} says"
        )
    if shares:
        words = ", ".join(f"'{name}' ({share:.1%})" for name, share in shares.items())
        notes.append(f"the scale is that of the regions {words} of post-stain")
    return notes


def _notes(scale: ScaleEstimate) -> tuple[str, ...]:
    """Return what a careful reader of the difference wants to know."""
    spread = scale.verdict.numbers.get("local_spread", 0.0)
    notes = []
    if lost := scale.verdict.numbers.get("lost_in_post"):
        notes.append(
            f"about {lost:.0%} of the section of pre-stain is as dark as glass in "
            "post-stain: a piece is missing, the scale rests on the others"
        )
    of_peak = methods.DEFAULT_SCALE, methods.MODEL_SCALE
    if scale.method not in of_peak and scale.verdict.state != State.OK:
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


def _stored(estimate: ScaleEstimate) -> StoredScale:
    """Return a scale for a header."""
    return StoredScale(
        kind=estimate.kind,
        value=estimate.scale,
        uncertainty=estimate.uncertainty,
        offset=estimate.offset,
        offset_uncertainty=estimate.offset_uncertainty,
        verdict=estimate.verdict,
        is_main=estimate.method == methods.DEFAULT_SCALE,
    )


def _record_path(store: CheckpointStore) -> Path:
    return store.output_path(_RECORD, ".json")
