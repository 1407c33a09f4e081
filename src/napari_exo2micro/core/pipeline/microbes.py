"""Stage 5: the S/N of the difference, the candidates in it, and how many are real."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy import units
from astropy.table import Table
from numpy.typing import NDArray
from scipy import ndimage

from napari_exo2micro.core.alignment import views
from napari_exo2micro.core.alignment.alignments import error_map_from_details
from napari_exo2micro.core.base import CheckpointError, Monitor, ParameterError
from napari_exo2micro.core.base.text import Listing, Shown
from napari_exo2micro.core.detection import (
    ENDINGS,
    PEAK,
    REFUSED,
    Control,
    Count,
    Purity,
    Significance,
    count_of,
    find_peaks,
    fit_significance,
    label_bands,
    measure_candidates,
    merge_peaks,
    purity_of,
    read_catalogue,
    set_flags,
    set_grades,
    threshold_for,
    write_catalogue,
)
from napari_exo2micro.core.images import raster
from napari_exo2micro.core.images.lazy import Window
from napari_exo2micro.core.images.missing import blanked, either
from napari_exo2micro.core.images.pixel_size import PixelSize
from napari_exo2micro.core.parameters import MICROBES_STAGE, State, Verdict
from napari_exo2micro.core.photometry import known_pixels, methods
from napari_exo2micro.core.photometry.background import Known
from napari_exo2micro.core.photometry.statistics import WORKERS
from napari_exo2micro.core.pipeline.difference import AlignedPair, find_aligned_pair
from napari_exo2micro.core.store.checkpoints import (
    CATALOGUE,
    Checkpoint,
    CheckpointStatus,
    CheckpointStore,
)

logger = logging.getLogger(__name__)

_CATALOGUE: Final = "05_microbes_catalogue"

_LOOKED_AT: Final = 1024
"""Longest side of the image in which the section is found, px."""

_RIM: Final = 3
"""So many px of that image around the section count as well."""

_PART: Final = 1024
"""Columns that a thread takes at once."""

_LEAST: Final = 2.5
"""Below this S/N all is noise, and there is too much of it."""

_PURE: Final = 0.9
"""Less than this part of real ones among the candidates is no result to vouch for."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Microbes(Shown):
    """The candidates of a sample and dye, and how many of them are real.

    Attributes
    ----------
    sample, dye : str
        Whose they are.
    table : Table
        A row for each candidate, see the page on microbes in the documentation.
    counted : Count
        Real ones with a 95 % interval; candidates that are flagged as sharp, broad or
        in pre are not counted.
    threshold : float
        Least S/N.
    area : float
        What was searched, px.
    area_mm2 : float, optional
        The same, square mm; None where the size of a pixel is not known.
    path : Path
        The catalogue as ECSV.
    """

    sample: str
    dye: str
    table: Table
    counted: Count
    threshold: float
    area: float
    area_mm2: float | None
    path: Path

    @property
    def count(self) -> float:
        """Number of real ones."""
        return self.counted.number

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return self.counted.interval

    @property
    def purity(self) -> float:
        """Part of the counted candidates that is real; NaN without any."""
        return self.purities().above(self.threshold)[0]

    @property
    def completeness(self) -> float | None:
        """Part of the microbes that was found; None: not measured."""
        return None

    @property
    def density(self) -> float | None:
        """Real ones per square mm; None where the size of a pixel is not known."""
        return None if not self.area_mm2 else self.count / self.area_mm2

    def purities(self) -> Purity:
        """Return the purity above each S/N, and what candidates of an S/N are worth.

        By the control where the count rests on it, else by the dark spots.
        """
        told = self.control
        if told is None or not told["used"]:
            return purity_of(_own(self.table), self.table.meta["dark_snr"])
        return purity_of(
            _above(_own(self.table), told["least"]),
            _above(np.array(self.table.meta["control_snr"]), told["least"]),
            told["ratio"],
        )

    @property
    def dark(self) -> int:
        """Number of dark spots that are as strong, and judged alike."""
        return int(self.table.meta.get("dark", self.counted.false))

    @property
    def control(self) -> dict[str, Any] | None:
        """What the control says; None without one.

        Its name (`sample`), its `spots` above the threshold, `ratio` of the areas, how
        many `false` ones are expected here with their `interval`, the S/N from which
        on it tells anything (`least`), and whether the count rests on it (`used`).
        """
        told = self.table.meta.get("control")
        return None if told is None else dict(told)

    @property
    def summary(self) -> str:
        """Number, interval and what may be false in one line."""
        words = [f"{self.counted} microbes above S/N {self.threshold:.2f}"]
        if self.density is not None:
            low, high = (end / (self.area_mm2 or 1.0) for end in self.interval)
            words.append(f"{self.density:.3g} per mm² ({low:.3g} to {high:.3g})")
        words.append(f"{self.dark} dark spots as strong")
        if (told := self.control) is not None:
            words.append(
                f"{told['false']:.0f} false ones expected from the control "
                f"{told['sample']} ({told['interval'][0]:.1f} to "
                f"{told['interval'][1]:.1f})"
            )
        return ", ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Return count and candidates with JSON-ready values."""
        rows = [
            {name: _plain(row[name]) for name in self.table.colnames}
            for row in self.table
        ]
        return {
            "sample": self.sample,
            "dye": self.dye,
            "count": self.count,
            "interval": list(self.interval),
            "found": self.counted.found,
            "false": self.counted.false,
            "dark": self.dark,
            "control": self.control,
            "purity": self.purity,
            "completeness": self.completeness,
            "snr_min": self.threshold,
            "area_px": self.area,
            "area_mm2": self.area_mm2,
            "density_per_mm2": self.density,
            "catalogue": str(self.path),
            "candidates": rows,
        }

    def __repr__(self) -> str:
        """Return the names and the summary."""
        return f"{type(self).__name__}({self.sample!r}, {self.dye!r}, {self.summary})"

    def __rich__(self) -> Listing:
        """Return the brightest candidates."""
        order = np.argsort(-np.asarray(self.table["snr"]), kind="stable")[:_SHOWN]
        rows = [
            (
                *(str(row["id"]), f"{row['x']:.1f}", f"{row['y']:.1f}"),
                *(f"{row['snr']:.1f}", f"{row['flux']:.4g} ± {row['flux_error']:.2g}"),
                *(f"{row['p_real']:.3f}", str(row["grade"])),
            )
            for row in self.table[order]
        ]
        rest = len(self.table) - len(rows)
        notes = [f"and {rest} more in {self.path}"] if rest > 0 else [f"in {self.path}"]
        return Listing(
            ("id", "x px", "y px", "S/N", "flux", "p real", "grade"),
            rows,
            title=f"{self.sample} / {self.dye}: {self.summary}",
            notes=tuple(notes),
            numbers=(0, 1, 2, 3, 5),
        )


_SHOWN: Final = 25


def _plain(value: Any) -> Any:
    """Return a cell as a built-in type; None for what is not a number."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def make_microbes(store: CheckpointStore, monitor: Monitor) -> None:
    """Find, measure and count what stands out of the difference; write all of it.

    Raises
    ------
    CheckpointError
        When stage 4 has no valid difference, or the control no valid microbes.
    ParameterError
        When false ones are allowed per square mm and the size of a pixel is unknown.
    """
    pair, difference = find_aligned_pair(store), _front(store)
    rows, columns = pair.post.image.shape[:2]
    frame = pair.post.frames["post"] or (0, 0, columns, rows)
    size = pair.post.provenance.pixel_size if pair.post.provenance else None
    params = store.params
    if params["false_positives_per"] == "mm2" and size is None:
        raise ParameterError(
            "false_positives_per is mm2, but the size of a pixel is not known: give "
            "it as 'pixel_size', or false_positives_per='section'"
        )
    known = _searched(pair)
    error_map = error_map_from_details(pair.pre.details)
    significance = fit_significance(
        pair.post.image,
        difference.image,
        known=known,
        error_map=error_map,
        monitor=monitor.part(0.0, 0.1),
    )
    shape = rows, columns
    area = _area(known, shape)
    least = _threshold(store, area, size, significance.sizes)
    control = _control(store, area)
    found = _Peaks(least, [], [])
    scale = difference.provenance.scale if difference.provenance else None
    gain = scale.value if scale else 1.0

    # The S/N is written as it is made, before the peaks are measured: its header tells
    # how it was made, that of the labels what was found.
    noise = significance.to_dict()
    provenance = store.provenance(
        MICROBES_STAGE,
        "snr",
        verdict=Verdict(State.OK),
        details={"significance": noise, "difference": difference_name(store)},
    )
    parts = _snr_bands(significance, shape, found)
    store.write(provenance, shape, "float32", parts, monitor.part(0.1, 0.6))
    bright, dark_peaks = (merge_peaks(found.all(side)) for side in ("bright", "dark"))
    measured = partial(
        measure_candidates,
        significance=significance,
        pre=pair.pre.image,
        scale=gain,
        error_map=error_map,
    )
    table = measured(bright[bright["snr"] >= least], monitor=monitor.part(0.6, 0.8))
    others = measured(dark_peaks[dark_peaks["snr"] >= least], dark=True)
    saturation = _saturation(pair.post)
    for one, against in ((table, dark_peaks), (others, bright)):
        set_flags(one, dark=against, sizes=significance.sizes, saturation=saturation)
    if control is not None:
        least = max(least, control.least)
    threshold = least
    if params["snr_min"] is None:
        threshold = _raised(least, _own(others), _budget(store, area, size))
    table["counted"] = _is_counted(table, threshold)
    dark = int(np.count_nonzero(_is_counted(others, threshold)))
    false, ratio, start = _own(others), 1.0, least
    # A control sees what dark spots see, and stain on minerals. Where it expects fewer
    # false ones, something is wrong here that is not wrong there.
    is_used = control is not None and not control.falls_short(dark, threshold)
    if control is not None and is_used:
        false, ratio, start = control.snr, control.ratio, control.least
    purity = purity_of(_above(_own(table), start), _above(false, start), ratio)
    table["p_real"] = purity.p_real(table["snr_own"])
    refused = (np.asarray(table["flags"]) & int(REFUSED)) != 0
    table["p_real"][refused] = np.minimum(table["p_real"][refused], 0.5)
    set_grades(table)
    counted = count_of(
        int(np.count_nonzero(table["counted"])),
        int(np.count_nonzero(false >= threshold)),
        ratio=ratio,
    )
    verdict, notes = _judged(counted, purity, threshold, least, dark)
    told: dict[str, Any] = {}
    if control is not None:
        told = {**control.to_dict(threshold), "least": control.least, "used": is_used}
        budget = math.inf
        if params["snr_min"] is None:
            budget = _budget(store, area, size)
        verdict = _checked(verdict, control, threshold, dark, budget)
        notes += _doubts(store)
    facts = _Facts(threshold, area, counted, dark, told)
    labels = store.provenance(
        MICROBES_STAGE, "labels", verdict=verdict, notes=notes, details=facts.to_dict()
    )
    store.write(
        labels,
        shape,
        "int32",
        label_bands(table, shape, raster.BAND_ROWS),
        monitor.part(0.8, 0.95),
    )
    _to_raw(table, frame, size)
    table.meta |= {
        # first: `has_catalogue` reads the beginning of the file
        "inputs": store.inputs(MICROBES_STAGE),
        "sample": store.sample,
        "dye": store.dye,
        **facts.to_dict(),
        "dark_snr": _rounded(_own(others)),
    }
    if control is not None:
        table.meta["control_snr"] = _rounded(control.snr)
    paths = write_catalogue(table, _stem(store))
    store.written += paths
    logger.info("catalogue: %d candidates in %s", len(table), paths[0].name)


def microbes_of(store: CheckpointStore) -> Microbes:
    """Return what stage 5 has found, from what is valid on disk.

    Raises
    ------
    CheckpointError
        When stage 5 has no valid result.
    """
    store.check_control()
    labels = store.need(MICROBES_STAGE, "labels")
    path = catalogue_path(store)
    if not has_catalogue(store):
        raise CheckpointError(
            f"{path} is missing or belongs to another run; run stage 5 again"
        )
    table, told = read_catalogue(path), labels.details
    size = labels.provenance.pixel_size if labels.provenance else None
    return Microbes(
        store.sample,
        store.dye,
        table,
        Count(**{**told["count"], "interval": tuple(told["count"]["interval"])}),
        float(told["threshold"]),
        float(told["area"]),
        None if size is None else float(told["area"]) * size.x * size.y / 1e6,
        path,
    )


def catalogue_path(store: CheckpointStore) -> Path:
    """Return where the catalogue is as ECSV."""
    stem = _stem(store)
    return stem.with_name(f"{stem.name}.ecsv")


def catalogue_files(store: CheckpointStore) -> list[Path]:
    """Return the files of the catalogue that are there, ECSV first."""
    stem = _stem(store)
    paths = [
        stem.with_name(f"{stem.name}{ending}") for ending in (*ENDINGS, ".parquet")
    ]
    return [path for path in paths if path.is_file()]


def catalogue_status(store: CheckpointStore) -> CheckpointStatus:
    """Return whether the catalogue is there and that of the present labels."""
    path = catalogue_path(store)
    state, reason = State.VALID, ""
    if not path.is_file():
        state = State.MISSING
    elif not (has_catalogue(store) and store.is_valid(MICROBES_STAGE, "labels")):
        state, reason = State.STALE, f"{path.name} was made from another difference"
    return CheckpointStatus(
        MICROBES_STAGE, CATALOGUE, "checkpoint", state, reason, path
    )


def has_catalogue(store: CheckpointStore) -> bool:
    """Return whether the catalogue is that of the present labels."""
    path = catalogue_path(store)
    if not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8") as lines:
            head = "".join(line for line, _ in zip(lines, range(_HEAD), strict=False))
        inputs = store.inputs(MICROBES_STAGE)
    except (CheckpointError, OSError, UnicodeDecodeError):
        return False  # without a valid difference none is of it
    return f"inputs: {inputs}" in head


_HEAD: Final = 400  # lines


def difference_name(store: CheckpointStore) -> str:
    """Return the difference in which microbes are looked for."""
    name = f"difference_{methods.MODEL_SCALE}"
    is_proven = methods.MODEL_SCALE in store.proven_scales()
    return name if is_proven and name in store.names(4) else "difference"


def _front(store: CheckpointStore) -> Checkpoint:
    return store.need(4, difference_name(store))


def _stem(store: CheckpointStore) -> Path:
    return store.output_path(_CATALOGUE, "", stage=MICROBES_STAGE)


# What is searched --------------------------------------------------------------------


def _searched(pair: AlignedPair) -> Known:
    """Return where the section is and both images have data."""
    frame = pair.post.frames["post"]
    shape = pair.post.image.shape
    gaps = either(pair.post_missing, pair.not_counted), pair.pre_missing
    there = known_pixels(shape, frame, pair.quad, gaps)
    section, view = _section(pair)
    # centres of the view's pixels on the canvas, per axis
    matrix = view.to_full.matrix
    step, start = np.diag(matrix)[:2], matrix[:2, 2]

    def known(window: Window) -> NDArray[Any]:
        at = [
            np.clip(
                np.rint((np.arange(part.start, part.stop) - start[axis]) / step[axis]),
                0,
                section.shape[1 - axis] - 1,
            ).astype(np.intp)
            for part, axis in zip(window, (1, 0), strict=True)
        ]
        mask = section[np.ix_(at[0], at[1])]
        own = there(window)
        return mask if own is None else mask & (own != 0).astype(np.uint8)

    return known


def _section(pair: AlignedPair) -> tuple[NDArray[np.uint8], views.View]:
    """Return where either image shows the section, and the view that it is seen in."""
    rows, columns = pair.post.image.shape[:2]
    frame = pair.post.frames["post"] or (0, 0, columns, rows)
    sides = (
        ("pre", pair.pre.image, pair.pre_missing),
        ("post", pair.post.image, pair.post_missing),
    )
    mask: Any = False
    for side, image, missing in sides:
        view = views.open_view(blanked(image, missing), frame, _LOOKED_AT, side)
        mask |= views.find_section(view).mask
    mask = ndimage.binary_fill_holes(mask)
    if not mask.any():
        mask = np.ones_like(mask)
    grown = ndimage.binary_dilation(mask, iterations=_RIM)
    return np.asarray(grown, np.uint8), view


def _area(known: Known, shape: tuple[int, int]) -> float:
    total = 0
    for y0, y1 in raster.bands(shape):
        mask = known((slice(y0, y1), slice(0, shape[1])))
        total += (y1 - y0) * shape[1] if mask is None else int(np.count_nonzero(mask))
    return float(total)


def _threshold(
    store: CheckpointStore,
    area: float,
    size: PixelSize | None,
    sizes: tuple[float, ...],
) -> float:
    by_hand = store.params["snr_min"]
    if by_hand is not None:
        return max(float(by_hand), _LEAST)
    return threshold_for(_budget(store, area, size), area, sizes)


def _budget(store: CheckpointStore, area: float, size: PixelSize | None) -> float:
    """Return how many false ones are allowed in all."""
    allowed = float(store.params["false_positives"] or 1.0)
    if store.params["false_positives_per"] == "mm2" and size is not None:
        allowed *= area * size.x * size.y / 1e6
    return max(allowed, 1e-6)


# The S/N -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Peaks:
    """Peaks of the S/N and of the same of dark spots, as they are found."""

    threshold: float
    bright: list[NDArray[np.void]]
    dark: list[NDArray[np.void]]

    def all(self, side: str) -> NDArray[np.void]:
        found = self.bright if side == "bright" else self.dark
        return np.concatenate([np.empty(0, PEAK), *found])


def _snr_bands(
    it: Significance, shape: tuple[int, int], found: _Peaks
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the S/N by bands of rows and note the peaks in them."""
    rows, columns = shape

    def part(y0: int, y1: int, x0: int) -> Any:
        x1 = min(x0 + _PART, columns)
        window = slice(y0, y1), slice(x0, x1)
        mask = it.known(window)
        if mask is not None and not mask.any():
            return None
        outer = (
            slice(max(y0 - 1, 0), min(y1 + 1, rows)),
            slice(max(x0 - 1, 0), min(x1 + 1, columns)),
        )
        both = it.both(outer)
        edge = [
            (y0 - outer[0].start == 0, y1 == rows),
            (x0 - outer[1].start == 0, x1 == columns),
        ]
        pads = [(int(before), int(after)) for before, after in edge]
        padded = [np.pad(image, pads) for image in both]
        peaks = [
            find_peaks(image, found.threshold, (x0 - 1, y0 - 1)) for image in padded
        ]
        return padded[0][1:-1, 1:-1], peaks

    with ThreadPoolExecutor(WORKERS) as pool:
        for y0, y1 in raster.bands(shape):
            starts = range(0, columns, _PART)
            parts = list(pool.map(partial(part, y0, y1), starts))
            band = np.zeros((y1 - y0, columns), np.float32)
            for x0, one in zip(starts, parts, strict=True):
                if one is None:
                    continue
                band[:, x0 : x0 + _PART] = one[0]
                found.bright.append(one[1][0])
                found.dark.append(one[1][1])
            yield y0, band


# What was found ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    """What header and catalogue tell."""

    threshold: float
    area: float
    count: Count
    dark: int
    control: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        count = asdict(self.count)
        count["interval"] = list(self.count.interval)
        told = {"threshold": self.threshold, "area": self.area, "count": count}
        told["dark"] = self.dark
        return told | ({"control": self.control} if self.control else {})


def _own(table: Table) -> NDArray[np.float64]:
    """Return the S/N, less what pre explains, of those that are not refused."""
    kept = (np.asarray(table["flags"]) & int(REFUSED)) == 0
    own: NDArray[np.float64] = np.asarray(table["snr_own"], np.float64)[kept]
    return own


def _is_counted(table: Table, threshold: float) -> NDArray[np.bool_]:
    kept = (np.asarray(table["flags"]) & int(REFUSED)) == 0
    return np.asarray(kept & (np.asarray(table["snr_own"]) >= threshold))


def _above(snr: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    return snr[snr >= least]


def _control(store: CheckpointStore, area: float) -> Control | None:
    """Return what the control of a sample has found; None without one."""
    store.check_control()
    other = store.control
    if other is None:
        return None
    found = microbes_of(other)
    labels = other.need(MICROBES_STAGE, "labels")
    least = float(labels.verdicts[MICROBES_STAGE].numbers["snr_min_of_noise"])
    ratio = max(area, 1.0) / max(found.area, 1.0)
    # rounded as in the catalogue, which must tell the same
    return Control(found.sample, np.array(_rounded(_own(found.table))), ratio, least)


def _doubts(store: CheckpointStore) -> tuple[str, ...]:
    """Return what speaks against the control itself."""
    control = store.control
    if control is None:
        return ()
    verdicts = control.need(MICROBES_STAGE, "labels").verdicts
    return tuple(
        f"the control {control.sample} can be doubted itself, at stage {number}: "
        f"{verdict.reason}"
        for number, verdict in sorted(verdicts.items())
        if number < MICROBES_STAGE and not verdict.state.is_good
    )


def _checked(
    verdict: Verdict, control: Control, threshold: float, dark: int, budget: float
) -> Verdict:
    """Return a verdict that tells, too, what the control says against the count."""
    low, high = control.interval(threshold)
    name, false = control.sample, control.false(threshold)
    numbers = {
        **verdict.numbers,
        "control_spots": float(control.number(threshold)),
        "control_false": false,
        "control_false_low": low,
        "control_false_high": high,
    }
    reasons = [verdict.reason] if verdict.reason else []
    if control.falls_short(dark, threshold):
        reasons.append(
            f"the control {name} makes {false:.0f} false ones "
            f"({low:.1f} to {high:.1f}) to be expected, and {dark} dark spots are as "
            "strong: something is wrong with this pair that is not with the control, "
            "and the dark spots are taken off"
        )
    elif control.exceeds(dark, threshold):
        reasons.append(
            f"the control {name} makes {false:.0f} false ones "
            f"({low:.1f} to {high:.1f}) to be expected, and {dark} dark spots are as "
            "strong: what is bright only, such as stain on minerals, looks like "
            "microbes"
        )
    elif low > budget:
        reasons.append(
            f"the control {name} makes {false:.0f} false ones "
            f"({low:.1f} to {high:.1f}) to be expected, and {budget:.3g} were allowed"
        )
    if len(reasons) == bool(verdict.reason):
        return Verdict(verdict.state, verdict.reason, numbers)
    return Verdict(State.FELL_BACK, "; ".join(reasons), numbers)


def _raised(least: float, dark: NDArray[np.float64], budget: float) -> float:
    """Return the threshold at which the dark spots keep the budget, too.

    Where minerals leave something, more dark spots are strong than noise makes. The
    threshold then lies above all of them but as many as are allowed.
    """
    allowed = math.floor(budget + 2 * math.sqrt(budget))
    if np.count_nonzero(dark >= least) <= allowed:
        return least
    return max(float(np.sort(dark)[::-1][math.floor(budget)]) + 1e-4, least)


def _judged(
    counted: Count, purity: Purity, threshold: float, least: float, dark: int
) -> tuple[Verdict, tuple[str, ...]]:
    """Return what the stage says of its count, and notes."""
    low, high = counted.interval
    numbers = {
        "microbes": counted.number,
        "microbes_low": low,
        "microbes_high": high,
        "snr_min": threshold,
        "snr_min_of_noise": least,
        "dark_spots": float(dark),
    }
    real, ends = purity.above(threshold)
    if counted.found:
        numbers["purity"] = real
    notes: tuple[str, ...] = ()
    if threshold > least:
        note = (
            f"microbes are counted above an S/N of {threshold:.1f}, not {least:.1f}: "
            "what minerals leave in the difference makes dark spots that strong, and "
            "so bright ones, too"
        )
        notes = (note,)
    state, reason = State.OK, ""
    if counted.found and ends[1] < _PURE:
        state = State.FELL_BACK
        reason = (
            f"only {real:.0%} of the candidates are expected to be real: "
            f"{counted.false:.0f} false ones are as strong"
        )
    return Verdict(state, reason, numbers), notes


def _saturation(post: Checkpoint) -> float:
    dtype = np.dtype(post.image.dtype)
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else math.inf


def _to_raw(
    table: Table, frame: tuple[int, int, int, int], size: PixelSize | None
) -> None:
    """Move places to the raw post-stain image, px, and tell them in um as well."""
    for axis, start in (("x", frame[0]), ("y", frame[1])):
        table[axis] = np.round(np.asarray(table[axis]) - start, 4)
        table[axis].unit = units.pix
    if size is not None:
        for number, axis in enumerate(("x", "y")):
            side = (size.x, size.y)[number]
            values = np.round(np.asarray(table[axis]) * side, 5)
            table.add_column(values, name=f"{axis}_um", index=3 + number)
            table[f"{axis}_um"].unit = units.um
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            table[name][:] = np.round(table[name], 4)


def _rounded(values: NDArray[Any]) -> list[float]:
    return [round(float(value), 3) for value in np.sort(values)[::-1]]
