"""Stage 5: the S/N of the difference, the candidates in it, and how many are real."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
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
from napari_exo2micro.core.base.files import replace_file
from napari_exo2micro.core.base.text import Listing, Shown
from napari_exo2micro.core.detection import (
    ENDINGS,
    PEAK,
    REFUSED,
    SPOT,
    Completeness,
    Control,
    Count,
    FluxClass,
    Injected,
    Injection,
    Purity,
    Remade,
    Search,
    Significance,
    corrected_count,
    count_of,
    find_peaks,
    fit_significance,
    is_counted,
    label_bands,
    merge_peaks,
    purity_of,
    read_catalogue,
    set_grades,
    threshold_for,
    write_catalogue,
)
from napari_exo2micro.core.images import raster
from napari_exo2micro.core.images.lazy import LazyImage, Window
from napari_exo2micro.core.images.missing import blanked, either
from napari_exo2micro.core.images.pixel_size import PixelSize
from napari_exo2micro.core.parameters import MICROBES_STAGE, State, Verdict
from napari_exo2micro.core.photometry import known_pixels, methods
from napari_exo2micro.core.photometry.background import BackgroundModel, Known
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


_IMPURE: Final = 0.02
"""Such a part of the candidates may be false where more are than were allowed."""


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
        Real ones with a 95 % interval; candidates flagged as hot pixel, broad or
        in pre are not counted.
    threshold : float
        Least S/N.
    area : float
        What was searched, px.
    area_mm2 : float, optional
        The same, square mm; None where the size of a pixel is not known.
    path : Path
        The catalogue as ECSV.
    recovery : Completeness, optional
        What became of test microbes; None where none were put in.
    classes : tuple of FluxClass
        Numbers by brightness, with test microbes.
    faintest : ndarray, shape (rows, columns), float64, optional
        Flux of a microbe of which half are found, on a grid over the canvas, grey
        levels; NaN outside of what was searched.
    regions : mapping
        Name of a region -> Count, where some were drawn.
    """

    sample: str
    dye: str
    table: Table
    counted: Count
    threshold: float
    area: float
    area_mm2: float | None
    path: Path
    recovery: Completeness | None = None
    classes: tuple[FluxClass, ...] = ()
    faintest: NDArray[np.float64] | None = None
    regions: Mapping[str, Count] = field(default_factory=dict)

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
        """Part found of those brighter than `brighter_than`; None: not measured."""
        return None if self.brighter_than is None else self.counted.completeness

    @property
    def brighter_than(self) -> float | None:
        """Flux above which microbes are counted, grey levels; None: those found are."""
        return self.counted.brighter_than

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
        if self.brighter_than is not None:
            words = [
                f"{self.counted} microbes brighter than {self.brighter_than:.3g} grey "
                f"levels, {self.counted.completeness:.0%} of them found"
            ]
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
        it = self.recovery
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
            "brighter_than": self.brighter_than,
            "flux_50": None if it is None else _plain(it.limit(0.5)),
            "flux_90": None if it is None else _plain(it.limit(0.9)),
            "by_brightness": list(map(_class_told, self.classes)),
            "snr_min": self.threshold,
            "area_px": self.area,
            "area_mm2": self.area_mm2,
            "density_per_mm2": self.density,
            "catalogue": str(self.path),
            "regions": {name: _count_told(one) for name, one in self.regions.items()},
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
        if self.regions:
            words = [f"{name}: {count}" for name, count in self.regions.items()]
            notes.append(f"microbes by region: {'; '.join(words)}")
        notes += self._completeness_notes()
        return Listing(
            ("id", "x px", "y px", "S/N", "flux", "p real", "grade"),
            rows,
            title=f"{self.sample} / {self.dye}: {self.summary}",
            notes=tuple(notes),
            numbers=(0, 1, 2, 3, 5),
        )

    def _completeness_notes(self) -> list[str]:
        """Return what test microbes tell, in lines."""
        it = self.recovery
        if it is None:
            return ["how many were missed is not known: set test_microbes=2000"]
        notes = [
            f"{np.count_nonzero(it.found)} of {len(it.flux)} test microbes found: half "
            f"of those with a flux of {it.limit(0.5):.3g} grey levels, 90 % of those "
            f"with {it.limit(0.9):.3g}; flux is measured {it.flux_bias:+.1%} off"
        ]
        if self.classes:
            words = [
                f"{one.low:.3g} to {one.high:.3g}: {one.number:.0f} "
                f"({math.floor(one.interval[0])} to {math.ceil(one.interval[1])})"
                for one in self.classes
            ]
            notes.append(f"microbes by flux: {'; '.join(words)}")
        return notes


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
    search = Search(
        pair.pre.image, scale.value if scale else 1.0, error_map, _saturation(pair.post)
    )

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
    store.write(provenance, shape, "float32", parts, monitor.part(0.1, 0.5))
    bright, dim = (merge_peaks(found.all(side)) for side in ("bright", "dark"))
    bright, dim = bright[bright["snr"] >= least], dim[dim["snr"] >= least]
    table = search.measured(significance, bright, dim, monitor.part(0.5, 0.6))
    others = search.measured(
        significance, dim, bright, monitor.part(0.6, 0.7), dark=True
    )
    if control is not None:
        least = max(least, control.least)
    threshold = least
    if params["snr_min"] is None:
        threshold = _raised(
            least, _own(table), _own(others), _budget(store, area, size)
        )
    table["counted"] = is_counted(table, threshold)
    dark = int(np.count_nonzero(is_counted(others, threshold)))
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
    injected = None
    if params["test_microbes"]:
        injected = Injection(
            significance, search, _remade(store, pair, difference), threshold, table
        ).run(int(params["test_microbes"]), monitor.part(0.7, 0.9))
        table["completeness"] = injected.completeness.by_snr(table["snr_own"])
    negatives = others[is_counted(others, threshold)]
    if is_used:
        negatives = _like(table, false[false >= threshold])
    counting = _Counting(
        table[table["counted"]],
        negatives,
        ratio,
        None if injected is None else injected.completeness,
        area,
        size,
    )
    counted, classes = counting.all()
    masks = _region_masks(store, shape, frame)
    regions = counting.by_region(masks, known)
    if masks:
        table["region"] = _region_names(masks, table)
    verdict, notes = _judged(counted, purity, threshold, least, dark)
    told: dict[str, Any] = {}
    if control is not None:
        told = {**control.to_dict(threshold), "least": control.least, "used": is_used}
        budget = math.inf
        if params["snr_min"] is None:
            budget = _budget(store, area, size)
        verdict = _checked(verdict, control, threshold, dark, budget)
        notes += _doubts(store)
    facts = _Facts(
        threshold, area, counted, dark, told, injected, tuple(classes), regions
    )
    labels = store.provenance(
        MICROBES_STAGE, "labels", verdict=verdict, notes=notes, details=facts.to_dict()
    )
    store.write(
        labels,
        shape,
        "int32",
        label_bands(table, shape, raster.BAND_ROWS),
        monitor.part(0.9, 0.97),
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
    if injected is not None:
        paths.append(_write_injected(injected, _injected_path(store), frame))
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
    tested = told.get("completeness")
    return Microbes(
        store.sample,
        store.dye,
        table,
        _count_read(told["count"]),
        float(told["threshold"]),
        float(told["area"]),
        None if size is None else float(told["area"]) * size.x * size.y / 1e6,
        path,
        _read_recovery(_injected_path(store)) if tested else None,
        tuple(
            FluxClass(
                one["flux_from"],
                math.inf if one["flux_to"] is None else one["flux_to"],
                one["number"],
                (one["interval"][0], one["interval"][1]),
            )
            for one in told.get("by_brightness", ())
        ),
        np.array(tested["faintest"], np.float64) if tested else None,
        {name: _count_read(one) for name, one in told.get("regions", {}).items()},
    )


def _read_recovery(path: Path) -> Completeness:
    try:
        table = Table.read(path, format="ascii.ecsv")
        return Completeness.of(
            *(table[name] for name in ("flux", "light", "snr")),
            *(table[name] for name in ("flux_measured", "snr_measured")),
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a table of test microbes ({error}); run stage 5 "
            "again with force"
        ) from error


def _injected_path(store: CheckpointStore) -> Path:
    return store.output_path("05_microbes_injected", ".ecsv", stage=MICROBES_STAGE)


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
    return [path for path in (*paths, _injected_path(store)) if path.is_file()]


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


# What is told ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    """What header and catalogue tell."""

    threshold: float
    area: float
    count: Count
    dark: int
    control: dict[str, Any]
    injected: Injected | None
    classes: tuple[FluxClass, ...]
    regions: Mapping[str, Count]

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "threshold": self.threshold,
            "area": self.area,
            "count": _count_told(self.count),
            "dark": self.dark,
        }
        if self.regions:
            told["regions"] = {n: _count_told(c) for n, c in self.regions.items()}
        if self.control:
            told["control"] = self.control
        if self.injected is not None:
            told["completeness"] = self.injected.to_dict()
            told["by_brightness"] = list(map(_class_told, self.classes))
        return told


# Test microbes -----------------------------------------------------------------------


def _write_injected(
    injected: Injected, path: Path, frame: tuple[int, int, int, int]
) -> Path:
    """Write a row for each spot; places are those of the raw post-stain image."""
    it, table = injected.completeness, Table()
    for name in SPOT.names or ():
        table[name] = injected.spots[name]
    table["x"] -= frame[0]
    table["y"] -= frame[1]
    table["light"], table["snr"] = it.light, it.snr
    table["flux_measured"], table["snr_measured"] = it.measured, it.measured_snr
    for name in table.colnames:
        table[name] = np.round(table[name], 3)
    table["found"] = it.found
    with replace_file(path) as part:
        table.write(part, format="ascii.ecsv", overwrite=True)
    return path


def _remade(
    store: CheckpointStore, pair: AlignedPair, difference: Checkpoint
) -> Remade:
    """Return how the difference follows from post with spots in it."""
    if difference_name(store) == "difference":
        return lambda _post, added, window: (
            np.asarray(difference.image[window], np.float32) + added
        )
    try:
        model = BackgroundModel.from_dict(difference.details["background"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            "the difference image of stage 4 does not hold all of its background model "
            f"({error}): an older version has written it. Test microbes need it; run "
            "stage 4 again with force"
        ) from error
    missing = (either(pair.post_missing, pair.not_counted), pair.pre_missing)
    known = known_pixels(
        pair.post.image.shape, pair.post.frames["post"], pair.quad, missing
    )
    return lambda post, _added, window: model.subtract(
        post, pair.pre.image, window, known
    )


# What was found ----------------------------------------------------------------------


def _count_told(count: Count) -> dict[str, Any]:
    return {**asdict(count), "interval": list(count.interval)}


def _class_told(one: FluxClass) -> dict[str, Any]:
    return {
        "flux_from": one.low,
        "flux_to": _plain(one.high),
        "number": one.number,
        "interval": list(one.interval),
    }


def _count_read(told: Mapping[str, Any]) -> Count:
    return Count(**{**told, "interval": tuple(told["interval"])})


@dataclass(frozen=True, slots=True, eq=False)
class _Counting:
    """What a number of microbes follows from."""

    found: Table  # counted candidates
    negatives: Table  # dark spots, or those of a control
    ratio: float  # of the area to that of the negatives
    completeness: Completeness | None
    area: float  # px
    size: PixelSize | None

    def all(self) -> tuple[Count, list[FluxClass]]:
        """Return the number in all that was searched, and by brightness."""
        return self._of(self.found, self.negatives, self.ratio, None)

    def by_region(
        self, masks: Mapping[str, LazyImage], known: Known
    ) -> dict[str, Count]:
        """Return the number in each region that a person has named."""
        counts = {}
        for name, mask in masks.items():

            def inside(window: Window, mask: LazyImage = mask) -> NDArray[Any]:
                there, drawn = known(window), np.asarray(mask[window])
                return drawn if there is None else drawn & (there != 0)

            area = _area(inside, (mask.shape[0], mask.shape[1]))
            found = self.found[_lie_in(mask, self.found)]
            if "x" in self.negatives.colnames:
                negatives = self.negatives[_lie_in(mask, self.negatives)]
                ratio = self.ratio
            else:  # of a control: as many on each px
                negatives, ratio = self.negatives, self.ratio * area / self.area
            if area and ratio:
                counts[name] = self._of(found, negatives, ratio, area)[0]
        return counts

    def _of(
        self, found: Table, negatives: Table, ratio: float, area: float | None
    ) -> tuple[Count, list[FluxClass]]:
        side = None if self.size is None else math.sqrt(self.size.x * self.size.y)
        options: dict[str, Any] = {"ratio": ratio}
        if area is not None:
            options |= {"area_px": area, "pixel_size_um": side}
        if self.completeness is None:
            return count_of(len(found), len(negatives), **options), []
        return corrected_count(found, negatives, self.completeness, **options)


def _region_masks(
    store: CheckpointStore, shape: tuple[int, int], frame: tuple[int, int, int, int]
) -> dict[str, LazyImage]:
    """Return where the regions are that a person has named, on the canvas."""
    drawn = store.regions
    if drawn is None:
        return {}
    return {name: drawn.region(name, shape, frame) for name in drawn.names}


def _region_names(masks: Mapping[str, LazyImage], table: Table) -> list[str]:
    """Return the region of each candidate; the first one where two overlap."""
    names = [""] * len(table)
    for name, mask in masks.items():
        for n in np.flatnonzero(_lie_in(mask, table)):
            names[n] = names[n] or name
    return names


def _lie_in(mask: LazyImage, table: Table) -> NDArray[np.bool_]:
    """Return which candidates have their middle in a mask of the canvas."""
    inside = np.zeros(len(table), bool)
    x, y = (
        np.clip(np.rint(np.asarray(table[axis])).astype(np.intp), 0, length - 1)
        for axis, length in (("x", mask.shape[1]), ("y", mask.shape[0]))
    )
    for y0, y1 in raster.bands((mask.shape[0], mask.shape[1])):
        here = np.flatnonzero((y >= y0) & (y < y1))
        if len(here):
            inside[here] = mask[y0:y1, :][y[here] - y0, x[here]] != 0
    return inside


def _own(table: Table) -> NDArray[np.float64]:
    """Return the S/N, less what pre explains, of those that are not refused."""
    kept = (np.asarray(table["flags"]) & int(REFUSED)) == 0
    own: NDArray[np.float64] = np.asarray(table["snr_own"], np.float64)[kept]
    return own


def _above(snr: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    return snr[snr >= least]


def _like(found: Table, snr: NDArray[np.float64]) -> Table:
    """Return false ones of a control with a flux as candidates of their S/N have."""
    flux = snr * float(np.median(found["flux"] / found["snr"])) if len(found) else snr
    return Table({"flux": flux, "snr": snr})


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


def _raised(
    least: float,
    bright: NDArray[np.float64],
    dark: NDArray[np.float64],
    budget: float,
) -> float:
    """Return the threshold at which the dark spots keep the budget, too.

    Where minerals leave something, more dark spots are strong than noise makes. The
    threshold then rises until no more are above it than are allowed, or one of fifty
    candidates: where microbes are many, a few false ones are no reason to lose them.
    """
    allowed = math.floor(budget + 2 * math.sqrt(budget))
    if np.count_nonzero(dark >= least) <= allowed:
        return least
    levels = np.sort(dark[dark >= least])[::-1]  # so many are at least as strong
    number = np.arange(1, len(levels) + 1)
    found = len(bright) - np.searchsorted(np.sort(bright), levels)
    keeps = number <= np.maximum(math.floor(budget), _IMPURE * found)
    last = int(np.flatnonzero(keeps)[-1]) if keeps.any() else -1
    if last + 1 == len(levels):
        return least
    return max(float(levels[last + 1]) + 1e-4, least)


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
    if counted.brighter_than is not None and math.isfinite(counted.brighter_than):
        numbers["brighter_than"] = counted.brighter_than
        numbers["found_percent"] = 100 * counted.completeness
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
