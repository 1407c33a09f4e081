"""The catalogue: flags and grades of candidates, and the files that hold them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_exo2micro.core.alignment.error_map import ErrorMap
from napari_exo2micro.core.base import CheckpointError, Monitor
from napari_exo2micro.core.base.files import replace_file
from napari_exo2micro.core.detection.candidates import measure_candidates
from napari_exo2micro.core.detection.significance import Significance
from napari_exo2micro.core.images import ImageLike

ENDINGS: Final = (".ecsv", ".csv", ".geojson")
"""Of the files of a catalogue that are always written; ``.parquet`` beside them where
pyarrow is installed."""


class Flag(IntFlag):
    """What to know of a candidate before it is believed; bits of the column `flags`."""

    DIPOLE = 1
    SEAM = 2
    SATURATED = 4
    HOT_PIXEL = 8
    EDGE_OF_DATA = 16
    EDGE_OF_GRAIN = 32
    BLENDED = 64
    FIBRE = 128
    IN_PRE = 256
    BROAD = 512
    FIT_FAILED = 1024
    ODD_SHAPE = 2048
    BRIGHT_GRAIN = 4096


FLAGS: Final[Mapping[Flag, str]] = {
    Flag.DIPOLE: "a dark spot at least half as strong lies beside it: misregistration",
    Flag.SEAM: "the registration is expected to be off by half a pixel and more here",
    Flag.SATURATED: "post is saturated here: its flux is a lower limit",
    Flag.HOT_PIXEL: "sharper than a lens can make it: a hot pixel or a ray",
    Flag.EDGE_OF_DATA: "a twentieth and more of its surroundings has no data",
    Flag.EDGE_OF_GRAIN: "the light of minerals changes at its rim by twice its peak",
    Flag.BLENDED: "another candidate lies within 10 px: they share their light",
    Flag.FIBRE: "more than four times as long as wide",
    Flag.IN_PRE: "three tenths of its S/N and more follow the minerals' shape in pre",
    Flag.BROAD: "twice as wide as the largest profile: a stained mineral or a colony",
    Flag.ODD_SHAPE: "very bright, and a sixth of its squares is no Gaussian: dust",
    Flag.BRIGHT_GRAIN: "what the background misses of a grain so bright exceeds noise",
    Flag.FIT_FAILED: "no Gaussian fits: place and flux are those of the matched filter",
}
"""The one table of what flags mean."""


class Grade(StrEnum):
    """How much a candidate is worth; see `set_grades`."""

    CANDIDATE = "candidate"
    PROBABLE = "probable"
    CERTAIN = "certain"


REFUSED: Final = Flag.IN_PRE | Flag.BROAD | Flag.HOT_PIXEL | Flag.ODD_SHAPE
"""With one of these no candidate is probable, and none is counted."""

_DOUBTFUL: Final = REFUSED | Flag.DIPOLE | Flag.SEAM | Flag.EDGE_OF_DATA
"""With one of these no candidate is certain."""

_PROBABLE, _CERTAIN = 0.9, 0.99
_BESIDE: Final = 10.0  # px


def set_flags(
    table: Table,
    *,
    dark: NDArray[np.void],
    sizes: tuple[float, ...],
    saturation: float = math.inf,
    bright: float = math.inf,
) -> None:
    """Set the column `flags` of measured candidates by the rules of `FLAGS`.

    Parameters
    ----------
    table : Table
        As `measure_candidates` returns it; changed in place.
    dark : ndarray of `PEAK`
        Dark spots, px of the canvas.
    sizes : tuple of float
        Standard deviations of the profiles, px.
    saturation : float
        Grey level from which on post is saturated.
    bright : float
        Light of minerals, grey levels of post, from which on what the background misses
        of them exceeds the noise; see `NoiseModel.bright`.
    """
    flags = np.zeros(len(table), np.int64)
    if len(table):
        places = np.column_stack([table["x"], table["y"]])
        sigma, long = np.asarray(table["sigma"]), np.asarray(table["elongation"])
        snr, own = np.asarray(table["snr"]), np.asarray(table["snr_own"])
        rules = {
            Flag.SEAM: np.nan_to_num(table["registration_error"]) >= 0.5,
            Flag.SATURATED: np.asarray(table["post"]) >= saturation - 1,
            Flag.HOT_PIXEL: sigma < min(sizes) / 1.5,
            Flag.EDGE_OF_DATA: np.asarray(table["seen"]) < 0.95,
            Flag.EDGE_OF_GRAIN: np.asarray(table["slope"]) > 2.0,
            Flag.FIBRE: long > 4.0,
            Flag.IN_PRE: own < np.minimum(0.7 * snr, snr - 2.0),
            Flag.BROAD: sigma > 2.0 * max(sizes),
            Flag.FIT_FAILED: ~np.asarray(table["fitted"]),
            Flag.BRIGHT_GRAIN: np.asarray(table["post"])
            > bright * np.maximum(np.asarray(table["ratio"]), 1e-9),
        }
        odd = np.asarray(table["misfit"]) > 0.18
        rules[Flag.ODD_SHAPE] = odd & (np.asarray(table["snr"]) >= 40)
        if len(table) > 1:
            distance, _ = cKDTree(places).query(places, k=2)
            rules[Flag.BLENDED] = distance[:, 1] < _BESIDE
            rules[Flag.ODD_SHAPE] &= ~rules[Flag.BLENDED]
        if len(dark):
            tree = cKDTree(np.column_stack([dark["x"], dark["y"]]))
            distance, number = tree.query(places)
            strong = dark["snr"][number] >= 0.5 * table["snr"]
            rules[Flag.DIPOLE] = strong & (distance < 3 * sigma + 2)
        for flag, applies in rules.items():
            flags[np.asarray(applies)] |= int(flag)
    table["flags"] = flags
    table["flags"].description = "sum of: " + "; ".join(
        f"{int(flag)} {flag_name(flag)}" for flag in FLAGS
    )


def is_counted(table: Table, threshold: float) -> NDArray[np.bool_]:
    """Return which candidates a threshold of the S/N counts: none that is refused."""
    kept = (np.asarray(table["flags"]) & int(REFUSED)) == 0
    return np.asarray(kept & (np.asarray(table["snr_own"]) >= threshold))


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What peaks of the S/N are measured and judged with.

    Attributes
    ----------
    pre : array_like, shape (rows, columns)
        Aligned pre.
    scale : float
        Brightness of minerals in post divided by that in pre.
    error_map : ErrorMap, optional
        Expected error of the registration, px.
    saturation : float
        Grey level from which on post is saturated.
    """

    pre: ImageLike
    scale: float
    error_map: ErrorMap | None
    saturation: float

    def measured(
        self,
        significance: Significance,
        peaks: NDArray[np.void],
        others: NDArray[np.void],
        monitor: Monitor | None = None,
        *,
        dark: bool = False,
    ) -> Table:
        """Return bright peaks, or dark ones, measured and flagged.

        Parameters
        ----------
        significance : Significance
            Of the difference that is searched.
        peaks, others : ndarray of `PEAK`
            Those to measure, and those of the other sign.
        monitor : Monitor, optional
            Is told the progress and may stop the work.
        dark : bool
            Whether `peaks` are those of dark spots.

        Returns
        -------
        Table
            As `measure_candidates` returns it, with `flags`.
        """
        table = measure_candidates(
            peaks,
            significance,
            pre=self.pre,
            scale=self.scale,
            error_map=self.error_map,
            dark=dark,
            monitor=monitor,
        )
        set_flags(
            table,
            dark=others,
            sizes=significance.sizes,
            saturation=self.saturation,
            bright=significance.noise.bright,
        )
        return table


def flag_name(flag: Flag) -> str:
    """Return a flag's name in words."""
    return str(flag.name).lower().replace("_", " ")


def flag_words(flags: int) -> str:
    """Return the names of all flags of a candidate.

    Examples
    --------
    >>> flag_words(3)
    'dipole, seam'
    """
    return ", ".join(flag_name(flag) for flag in FLAGS if flags & flag)


def set_grades(table: Table) -> None:
    """Set the column `grade` from `p_real` and `flags`.

    *certain*: real with 99 % and none of dipole, seam, edge of data, hot pixel, in pre,
    broad, odd shape; *probable*: real with 90 % and none of the last four;
    *candidate*: all others.

    Parameters
    ----------
    table : Table
        Changed in place.
    """
    p, flags = np.asarray(table["p_real"]), np.asarray(table["flags"])
    grade = np.full(len(table), str(Grade.CANDIDATE), dtype="U9")
    grade[(p >= _PROBABLE) & (flags & int(REFUSED) == 0)] = str(Grade.PROBABLE)
    grade[(p >= _CERTAIN) & (flags & int(_DOUBTFUL) == 0)] = str(Grade.CERTAIN)
    table["grade"] = grade


# Files -------------------------------------------------------------------------------


def write_catalogue(table: Table, stem: Path) -> list[Path]:
    """Write a catalogue as ECSV, CSV and GeoJSON, and as Parquet with pyarrow.

    Parameters
    ----------
    table : Table
        With `x`, `y` in px of the raw post-stain image.
    stem : Path
        The files' name without an ending.

    Returns
    -------
    list of Path
        What was written, each file whole or not at all.
    """
    # Names may hold points: `with_suffix` would take a part of them off.
    paths = [stem.with_name(f"{stem.name}{ending}") for ending in ENDINGS]
    with replace_file(paths[0]) as part:
        table.write(part, format="ascii.ecsv", overwrite=True)
    plain = Table(table, copy=True)
    for name in plain.colnames:
        unit = plain[name].unit
        if unit is not None:
            plain[name].unit = None
            plain.rename_column(name, f"{name}_{_UNIT_WORDS.get(str(unit), unit)}")
    with replace_file(paths[1]) as part:
        plain.write(part, format="ascii.csv", overwrite=True)
    with replace_file(paths[2]) as part:
        part.write_text(json.dumps(to_geojson(table)), encoding="utf-8")
    if find_spec("pyarrow") is None:
        return paths
    paths.append(stem.with_name(f"{stem.name}.parquet"))
    with replace_file(paths[-1]) as part:
        table.write(part, format="parquet", overwrite=True)
    return paths


_UNIT_WORDS: Final = {"pix": "px", "pix2": "px2"}


def read_catalogue(path: Path) -> Table:
    """Read a catalogue from its ECSV file.

    Parameters
    ----------
    path : Path
        As `write_catalogue` has written it.

    Returns
    -------
    Table
        With units and what was noted of it.

    Raises
    ------
    CheckpointError
        When it cannot be read or is no catalogue.
    """
    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a catalogue of microbes ({error}); run stage 5 "
            "again with force"
        ) from error
    missing = {"id", "x", "y", "snr", "flux", "flags"} - set(table.colnames)
    if missing:
        raise CheckpointError(
            f"{path} is no catalogue of microbes: a table with id, x, y, snr, flux and "
            f"flags was wanted, {', '.join(sorted(missing))} not found; run stage 5 "
            "again with force"
        )
    return table


_MEASURES: Final = (
    "snr",
    "flux",
    "flux_error",
    "p_real",
    "area",
    "sigma",
    "elongation",
)
_COLOURS: Final = {
    Grade.CERTAIN: [0, 158, 115],
    Grade.PROBABLE: [230, 159, 0],
    Grade.CANDIDATE: [153, 153, 153],
}
_CORNERS: Final = 16


def to_geojson(table: Table) -> dict[str, Any]:
    """Return candidates as outlines at half of their peaks, as QuPath reads them.

    Parameters
    ----------
    table : Table
        A catalogue.

    Returns
    -------
    dict
        A FeatureCollection of polygons, px of the raw post-stain image from the corner
        of its first pixel on.
    """
    turn = 2 * math.pi * np.arange(_CORNERS + 1) / _CORNERS
    features = []
    for row in table:
        half = math.sqrt(2 * math.log(2)) * float(row["sigma"])
        ratio = math.sqrt(float(row["elongation"]))
        angle = math.radians(float(row["angle"]))
        along, across = half * ratio * np.cos(turn), half / ratio * np.sin(turn)
        # a pixel's middle is half a pixel from its corner
        x = row["x"] + 0.5 + along * math.cos(angle) - across * math.sin(angle)
        y = row["y"] + 0.5 + along * math.sin(angle) + across * math.cos(angle)
        x[-1], y[-1] = x[0], y[0]
        grade = Grade(str(row["grade"]))
        features.append(
            {
                "type": "Feature",
                "id": f"microbe-{row['id']}",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [np.round(np.column_stack([x, y]), 2).tolist()],
                },
                "properties": {
                    "objectType": "detection",
                    "name": str(row["id"]),
                    "classification": {"name": str(grade), "color": _COLOURS[grade]},
                    "measurements": {
                        name: round(float(row[name]), 4) for name in _MEASURES
                    },
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}
