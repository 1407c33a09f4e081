"""What people draw in QuPath and other programs, read from GeoJSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base.files import read_json

ENDINGS: Final = (".geojson", ".json")
"""Of the names of such files."""

_CORNER: Final = 0.5
"""Programs that write GeoJSON count from the corner of the first pixel, we from its
middle."""

_NO_GEOJSON: Final = "it is no GeoJSON: no 'FeatureCollection' and no 'Feature'"
_KINDS: Final = ("Point", "MultiPoint", "Polygon", "MultiPolygon")


class Feature(NamedTuple):
    """What was drawn: `kind` is that of GeoJSON; (x, y), px, centres at integers.

    `parts` are points (N, 2), or the rings of polygons: what lies in an even number of
    them is outside. `label` is the class that was given, `name` that of this one.
    """

    kind: str
    parts: tuple[NDArray[np.float64], ...]
    label: str = ""
    name: str = ""


def read_features(path: Path | str) -> list[Feature]:
    """Return the points and polygons of a file, in its order.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When it is no GeoJSON, or something else was drawn.
    """
    content = read_json(path)
    return [
        _feature(number, entry)
        for number, entry in enumerate(_entries(content), 1)
        if entry.get("geometry") is not None
    ]


def _entries(content: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the features of a collection, a list, or a single one."""
    if isinstance(content, Mapping) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    entries = content if isinstance(content, list) else [content]
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise ValueError(_NO_GEOJSON)
        if entry.get("type") in _KINDS:  # a bare geometry
            entry = {"geometry": entry}
        elif entry.get("type") != "Feature":
            raise ValueError(_NO_GEOJSON)
        yield entry


def _feature(number: int, entry: Mapping[str, Any]) -> Feature:
    geometry = entry["geometry"]
    kind = geometry.get("type") if isinstance(geometry, Mapping) else geometry
    if kind not in _KINDS:
        raise ValueError(
            f"object {number} is a {kind!s:.30}; points and polygons can be taken, "
            "such as rectangles and ellipses of QuPath"
        )
    try:
        places = geometry["coordinates"]
        if kind in ("Point", "MultiPoint"):
            parts = [places if kind == "MultiPoint" else [places]]
        else:
            parts = places if kind == "Polygon" else [r for one in places for r in one]
        arrays = tuple(
            np.asarray([point[:2] for point in part], np.float64).reshape(-1, 2)
            - _CORNER
            for part in parts
        )
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("not finite")
    except (KeyError, TypeError, ValueError, IndexError):
        raise ValueError(f"the coordinates of object {number} are no numbers") from None
    told = entry.get("properties")
    told = told if isinstance(told, Mapping) else {}
    label = told.get("classification") or told.get("class") or ""
    if isinstance(label, Mapping):
        label = label.get("name") or ""
    name = told.get("name") or told.get("id") or ""
    return Feature(str(kind), arrays, str(label).strip(), str(name).strip())


def polygon_entry(label: str, ring: NDArray[np.float64]) -> dict[str, Any]:
    """Return the polygon of some corners as `read_features` reads it, see `Feature`."""
    closed = np.vstack([ring, ring[:1]]) + _CORNER
    told = {"objectType": "annotation", "classification": {"name": label}}
    geometry = {"type": "Polygon", "coordinates": [closed.tolist()]}
    return {"type": "Feature", "geometry": geometry, "properties": told}
