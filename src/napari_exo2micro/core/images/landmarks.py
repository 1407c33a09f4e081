"""Landmarks: points that a person has seen in both images of a section."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import files
from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.images import geojson
from napari_exo2micro.core.images.raster import Frame

SIDES: Final = ("post", "pre")

LEAST_LANDMARKS: Final = 3
"""With fewer neither the magnification nor the hand can be checked."""

_ID: Final = ("name", "id", "label", "landmark", "pair", "point")
_COLUMNS: Final = "name, post_x, post_y, pre_x, pre_y"
#: One side's own file: x and y, or rows and columns as napari saves points.
_AXES: Final = {"x": 0, "y": 1, "axis1": 0, "axis0": 1}
_MICRO: Final = re.compile(r"(µ|μ|\bu|_u)m\b|micron|micromet", re.IGNORECASE)
_OF_SIDE: Final = re.compile(r"[\W_]*(post|pre)(?:[\W_]*stain(?:ed)?)?[\W_]*", re.I)


class _Point(NamedTuple):
    name: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Pairs of points, the same grains in the post-stain and the pre-stain image.

    Attributes
    ----------
    post, pre : ndarray, shape (N, 2), float64
        (x, y), px of the raw images, pixel centres at integers. Of the canvases after
        `on_canvas`.
    names : tuple of str
        Of the pairs.
    source : str
        The files that they were read from; empty for points that were given.

    Examples
    --------
    >>> marks = Landmarks.of([(10, 20, 12, 19), (300, 40, 301, 41), (90, 200, 95, 202)])
    >>> marks.post.tolist()[1], marks.pre.tolist()[1]
    ([300.0, 40.0], [301.0, 41.0])
    """

    post: NDArray[np.float64]
    pre: NDArray[np.float64]
    names: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        """Give numbers to pairs that have no names."""
        if not self.names:
            names = tuple(str(n) for n in range(1, len(self.post) + 1))
            object.__setattr__(self, "names", names)

    @classmethod
    def of(cls, given: Any) -> Self:
        """Return the landmarks that `RunSettings.landmarks` stands for.

        Parameters
        ----------
        given : Path or str, two of them, or array_like, shape (N, 4)
            A table (CSV) or a GeoJSON file with both sides; such files for post and for
            pre; or rows of post x, post y, pre x, pre y, px of the raw images.

        Returns
        -------
        Landmarks
            At least three.

        Raises
        ------
        ParameterError
            When a file cannot be read as landmarks, or there are fewer than three.
        """
        if isinstance(given, (str, Path)):
            given = (given,)
        given = tuple(given)
        if all(isinstance(entry, (str, Path)) for entry in given):
            paths = tuple(map(Path, given))
            return cls._checked(*_read(paths, tuple(map(_stamp, paths))))
        rows = np.asarray(given, dtype=np.float64).reshape(-1, 4)
        return cls._checked(rows[:, :2], rows[:, 2:], (), "")

    @classmethod
    def _checked(
        cls,
        post: NDArray[np.float64],
        pre: NDArray[np.float64],
        names: tuple[str, ...],
        source: str,
    ) -> Self:
        if len(post) < LEAST_LANDMARKS:
            where = f" in {source}" if source else ""
            raise ParameterError(
                f"landmarks take {LEAST_LANDMARKS} pairs of points or more, found "
                f"{len(post)}{where}; add points that are seen in both images, far "
                "from each other"
            )
        return cls(post, pre, names, source)

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return len(self.post)

    def save(self, path: Path | str) -> Path:
        """Write a table that `of` reads.

        Parameters
        ----------
        path : Path or str
            Where; its folder is made where it is missing.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OutputError
            When it cannot be written; a file of that name stays as it was.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(_COLUMNS.split(", "))
        for name, *places in zip(self.names, self.post, self.pre, strict=True):
            writer.writerow([name, *np.concatenate(places).round(3).tolist()])
        with files.replace_file(Path(path)) as part:
            part.write_text(text.getvalue(), encoding="utf-8")
        return Path(path)

    def on_canvas(self, post_frame: Frame | None, pre_frame: Frame | None) -> Landmarks:
        """Return them in px of the padded canvases.

        Parameters
        ----------
        post_frame, pre_frame : tuple of int or None
            (x0, y0, width, height) of the raw images on their canvases.

        Returns
        -------
        Landmarks
            The same pairs, moved.

        Raises
        ------
        ParameterError
            When one lies outside of its image.
        """
        moved: dict[str, Any] = {}
        for side, frame in zip(SIDES, (post_frame, pre_frame), strict=True):
            points: NDArray[np.float64] = getattr(self, side)
            x0, y0, width, height = frame or (0, 0, 0, 0)
            if frame is not None:
                outside = (points < -1) | (points > (width, height))
                for n in np.flatnonzero(outside.any(axis=1))[:1]:
                    x, y = points[n]
                    raise ParameterError(
                        f"landmark '{self.names[n]}' lies at x {x:g}, y {y:g} in "
                        f"{side}-stain, whose image has {width} x {height} px; give "
                        "pixels of the raw image, x from its left edge and y from its "
                        "top"
                    )
            moved[side] = points + np.array([x0, y0])
        return replace(self, **moved)


def _stamp(path: Path) -> Any:
    try:
        return files.stamp(path)
    except OSError:
        return None


@lru_cache(maxsize=32)
def _read(
    paths: tuple[Path, ...], _stamps: tuple[Any, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, ...], str]:
    """Return post, pre, names and source; each version of the files is read once."""
    sides: dict[str, list[_Point]] = {side: [] for side in SIDES}
    if len(paths) > 2:
        raise ParameterError(
            f"landmarks take one file, or one for post-stain and one for pre-stain, "
            f"found {len(paths)}; put them into one table"
        )
    for side, path in zip(SIDES, paths, strict=False):
        try:
            is_drawn = path.suffix.lower() in geojson.ENDINGS
            found = _drawn(path) if is_drawn else _written(path)
            if len(paths) == 2:
                sides[side] = found.get(side) or found[""]
            elif found[""]:
                raise ValueError(_both_sides(is_drawn))
            else:
                sides |= found
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ParameterError(
                f"{path}: the landmarks cannot be read ({reason}); give a table with "
                f"the columns {_COLUMNS}, or GeoJSON"
            ) from error
    source = " and ".join(map(str, paths))
    return _paired(sides, source)


def _both_sides(is_drawn: bool) -> str:
    if is_drawn:
        return (
            "points that are in no class 'post' or 'pre'; set the class, or give one "
            "file for each image"
        )
    return f"the columns of one image only; wanted {_COLUMNS}"


def _paired(
    sides: dict[str, list[_Point]], source: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, ...], str]:
    """Return the points in pairs: by their names, or else in their order."""
    post, pre = (sides[side] for side in SIDES)
    names = [[point.name for point in points] for points in (post, pre)]
    named = all(all(own) and len(set(own)) == len(own) for own in names)
    if named:
        alone = sorted(set(names[0]) ^ set(names[1]))
        if alone:
            side = "post-stain" if alone[0] in names[0] else "pre-stain"
            raise ParameterError(
                f"{source}: landmark '{alone[0]}' stands in {side} only; give its "
                "partner the same name, or remove it"
            )
        places = {point.name: point for point in pre}
        pre = [places[point.name] for point in post]
    elif len(post) != len(pre):
        raise ParameterError(
            f"{source}: {len(post)} landmarks in post-stain and {len(pre)} in "
            "pre-stain; give each pair one name, or the same number in the same order"
        )
    told = tuple(p.name or str(n) for n, p in enumerate(post, 1))
    return _array(post), _array(pre), told, source


def _array(points: Sequence[_Point]) -> NDArray[np.float64]:
    return np.array([point[1:] for point in points], np.float64).reshape(-1, 2)


def _drawn(path: Path) -> dict[str, list[_Point]]:
    """Return the points of a GeoJSON file by side; under '' those of no side."""
    sides: dict[str, list[_Point]] = {side: [] for side in ("", *SIDES)}
    for feature in geojson.read_features(path):
        if "Point" not in feature.kind:
            continue
        side, name = "", feature.name
        if match := _OF_SIDE.match(feature.label):
            side = match[1].lower()
        elif match := _OF_SIDE.match(feature.name):
            side, name = match[1].lower(), feature.name[match.end() :]
        for number, (x, y) in enumerate(feature.parts[0], 1):
            several = len(feature.parts[0]) > 1
            own = f"{name} {number}" if several and name else name
            sides[side].append(_Point(own, float(x), float(y)))
    if sides[""] and any(sides[side] for side in SIDES):
        raise ValueError(_both_sides(True))
    return sides


def _written(path: Path) -> dict[str, list[_Point]]:
    """Return the points of a table by side; under '' those of no side."""
    rows = files.read_rows(path)
    if not rows:
        raise ValueError("it is empty")
    places, id_column = _columns(rows[0][1])
    sides: dict[str, list[_Point]] = {side: [] for side in ("", *SIDES)}
    for number, cells in rows[1:]:
        name = (
            cells[id_column] if id_column is not None and id_column < len(cells) else ""
        )
        for side, columns in places.items():
            values = []
            for axis, column in zip("xy", columns, strict=True):
                text = cells[column]
                try:
                    value = float(text.replace(",", "."))
                    if not np.isfinite(value):
                        raise ValueError
                except ValueError:
                    whose = f"{axis} of {side}" if side else axis
                    raise ValueError(
                        f"row {number}: {whose} should be a number, found '{text:.30}'"
                    ) from None
                values.append(value)
            sides[side].append(_Point(name, *values))
    return sides


def _columns(heads: Sequence[str]) -> tuple[dict[str, tuple[int, int]], int | None]:
    """Return the columns of x and y by side, and that of the names."""
    found: dict[str, dict[int, int]] = {}
    id_column = None
    for column, head in enumerate(heads):
        word = re.sub(
            r"[^a-z0-9]", "", re.sub(r"pixels?|px|stain(ed)?", "", head.lower())
        )
        side = next((side for side in SIDES if side in word), "")
        axis = _AXES.get(word.replace(side, ""))
        if _MICRO.search(head) and (side or "x" in word or "y" in word):
            raise ValueError(f"the column '{head}' is in micrometres; give px")
        if axis is not None:
            found.setdefault(side, {})[axis] = column
        elif word in _ID and id_column is None:
            id_column = column
    places = {
        side: (axes[0], axes[1]) for side, axes in found.items() if len(axes) == 2
    }
    wanted: Iterable[str] = [""] if set(found) <= {""} else SIDES
    if not all(side in places for side in wanted):
        raise ValueError(f"its first row names the columns {', '.join(heads):.80}")
    return {side: places[side] for side in wanted}, id_column
