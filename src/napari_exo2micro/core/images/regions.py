"""Regions drawn on the post-stain image: what counts, and what does not."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base import files
from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.images import geojson
from napari_exo2micro.core.images.io import quiet_tifffile
from napari_exo2micro.core.images.lazy import LazyImage, Window
from napari_exo2micro.core.images.raster import Frame

EXCLUDED: Final = "exclude"
"""Name of what is left out."""

_EXCLUDING: Final = re.compile(r"\W*(exclude|ignore)", re.IGNORECASE)
#: Labels that stand for it: 255 is what masks of ImageJ have.
_EXCLUDED_LABELS: Final = (1, 255)

_BAND: Final = 256
"""Rows of labels that are kept together."""

_BANDS_OPEN: Final = 16
_LOOKED_AT: Final = 1000
"""Rows and columns at which the share of a region is counted, at most."""


class _Area(NamedTuple):
    name: str
    rings: tuple[NDArray[np.float64], ...]

    def bounds(self) -> tuple[float, float, float, float]:
        """Return its smallest and largest x and y."""
        (x0, y0), (x1, y1) = self.rings[0].min(axis=0), self.rings[0].max(axis=0)
        return x0, y0, x1, y1


class _Labels:
    """A labels image, packed: areas of one number take next to no memory."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.shape = pixels.shape
        self.dtype = pixels.dtype.newbyteorder("=")
        self._bands, found = [], set()
        whole, excluded = hashlib.sha256(), hashlib.sha256()
        for y0 in range(0, len(pixels), _BAND):
            band = np.ascontiguousarray(pixels[y0 : y0 + _BAND], self.dtype)
            found.update(np.unique(band).tolist())
            content = band.tobytes()
            self._bands.append(zlib.compress(content, 1))
            whole.update(content)
            excluded.update(np.packbits(np.isin(band, _EXCLUDED_LABELS)).tobytes())
        self.numbers = sorted(number for number in found if number)
        self.digests = whole.hexdigest(), excluded.hexdigest()
        self._opened = lru_cache(maxsize=_BANDS_OPEN)(self._open)

    def _open(self, index: int) -> NDArray[Any]:
        band = np.frombuffer(zlib.decompress(self._bands[index]), self.dtype)
        return band.reshape(-1, self.shape[1])

    def window(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[Any]:
        """Return the labels of a window; 0 beyond the image."""
        result = np.zeros((y1 - y0, x1 - x0), self.dtype)
        rows, columns = self.shape
        left, right = max(x0, 0), min(x1, columns)
        for index in range(max(y0, 0) // _BAND, -(-min(y1, rows) // _BAND)):
            top, end = max(y0, index * _BAND), min(y1, (index + 1) * _BAND, rows)
            if left < right and top < end:
                band = self._opened(index)[top - index * _BAND : end - index * _BAND]
                result[top - y0 : end - y0, left - x0 : right - x0] = band[
                    :, left:right
                ]
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Areas of the raw post-stain image, made into masks window by window.

    Attributes
    ----------
    names : tuple of str
        Of the regions that statistics are confined to; empty where all counts that is
        not left out.
    leaves_out : bool
        Whether something is left out of registration and scale.
    source : str
        The file that they were read from.
    digest, left_out_digest : str
        Stand for all of them, and for what is left out.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> ring = [[10, 10], [30, 10], [30, 20], [10, 20], [10, 10]]
    >>> area = {
    ...     "type": "Feature",
    ...     "geometry": {"type": "Polygon", "coordinates": [ring]},
    ...     "properties": {"classification": {"name": "exclude"}},
    ... }
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "glue.geojson"
    ...     _ = path.write_text(json.dumps(area))
    ...     regions = Regions.load(path)
    >>> regions.leaves_out, regions.names
    (True, ())
    >>> mask = regions.not_registered((40, 50), (0, 0, 50, 40))
    >>> int(mask[15, 12]), int(mask[5, 12])
    (1, 0)
    """

    names: tuple[str, ...]
    leaves_out: bool
    source: str
    digest: str
    left_out_digest: str
    _areas: tuple[_Area, ...] = ()
    _labels: _Labels | None = None

    @classmethod
    def load(cls, path: Path | str) -> Regions:
        """Return the regions in a file.

        Parameters
        ----------
        path : Path or str
            GeoJSON polygons, whose class (or name) is ``exclude``, ``ignore`` or that
            of a region; or a labels image, TIFF or PNG, in which 1 (255 in a mask) is
            left out and any other number is a region.

        Returns
        -------
        Regions
            Each version of a file is read once.

        Raises
        ------
        ParameterError
            When it cannot be read as regions.
        """
        path = Path(path)
        try:
            return _load(path, files.stamp(path))
        except (OSError, ValueError, tifffile.TiffFileError, cv2.error) as error:
            if isinstance(error, ParameterError):
                raise
            reason = getattr(error, "strerror", None) or str(error)
            raise ParameterError(
                f"{path}: the regions cannot be read ({reason}); give polygons as "
                "GeoJSON, or a labels image as TIFF or PNG"
            ) from error

    def check(self, frame: Frame) -> None:
        """Raise an error when they cannot be those of an image.

        Parameters
        ----------
        frame : tuple of int
            (x0, y0, width, height) of the raw post-stain image on its canvas.

        Raises
        ------
        ParameterError
            When the labels image has another size, or a polygon lies outside.
        """
        width, height = frame[2:]
        if self._labels is not None and self._labels.shape != (height, width):
            rows, columns = self._labels.shape
            raise ParameterError(
                f"{self.source}: the labels image has {columns} x {rows} px, the raw "
                f"post-stain image {width} x {height}; draw regions on that image"
            )
        for area in self._areas:
            x0, y0, x1, y1 = area.bounds()
            if x1 < 0 or y1 < 0 or x0 > width or y0 > height:
                raise ParameterError(
                    f"{self.source}: '{area.name}' lies outside of the raw post-stain "
                    f"image of {width} x {height} px, at x {x0:.0f} to {x1:.0f}, y "
                    f"{y0:.0f} to {y1:.0f}; draw regions on that image, in px"
                )

    def not_registered(self, shape: tuple[int, int], frame: Frame) -> LazyImage | None:
        """Return what is left out of the registration, 1 and 0 (uint8).

        Parameters
        ----------
        shape : tuple of int
            Rows and columns of the post canvas.
        frame : tuple of int
            (x0, y0, width, height) of the raw image on it.

        Returns
        -------
        LazyImage or None
            A mask of the canvas; None where nothing is left out.
        """
        return self._mask(shape, frame, (EXCLUDED,)) if self.leaves_out else None

    def not_counted(self, shape: tuple[int, int], frame: Frame) -> LazyImage:
        """Return what is left out of scale and statistics, like `not_registered`.

        Parameters
        ----------
        shape, frame : tuple of int
            As there.

        Returns
        -------
        LazyImage
            With regions that have names: also all that lies in none of these.
        """
        excluded = self._mask(shape, frame, (EXCLUDED,))
        if not self.names:
            return excluded
        named = self._mask(shape, frame, self.names)
        return LazyImage(
            shape, np.uint8, lambda window: excluded[window] | (1 - named[window])
        )

    def region(self, name: str, shape: tuple[int, int], frame: Frame) -> LazyImage:
        """Return where a region is, 1 and 0 (uint8), like `not_registered`.

        Parameters
        ----------
        name : str
            One of `names`.
        shape, frame : tuple of int
            As there.

        Returns
        -------
        LazyImage
            What is left out lies in no region.
        """
        excluded = self._mask(shape, frame, (EXCLUDED,))
        named = self._mask(shape, frame, (name,))
        return LazyImage(
            shape, np.uint8, lambda window: named[window] & (1 - excluded[window])
        )

    def shares(self, frame: Frame) -> Mapping[str, float]:
        """Return which part of the image each region is, about, 0 to 1.

        Parameters
        ----------
        frame : tuple of int
            (x0, y0, width, height) of the raw image on its canvas.

        Returns
        -------
        dict
            Name -> part; ``exclude`` is what is left out.
        """
        width, height = frame[2:]
        step = max(1, -(-max(width, height) // _LOOKED_AT))
        shares = {}
        for name in ((EXCLUDED,) if self.leaves_out else ()) + self.names:
            mask = self._mask((height, width), (0, 0, width, height), (name,))
            rows = [
                mask[y : y + 1, :][:, ::step].mean() for y in range(0, height, step)
            ]
            shares[name] = round(float(np.mean(rows)), 4)
        return shares

    def _mask(
        self, shape: tuple[int, int], frame: Frame, names: Collection[str]
    ) -> LazyImage:
        x0, y0 = frame[:2]

        def read(window: Window) -> NDArray[Any]:
            rows, columns = window
            place = (
                rows.start - y0,
                rows.stop - y0,
                columns.start - x0,
                columns.stop - x0,
            )
            return self._covered(names, *place)

        return LazyImage(shape, np.uint8, read)

    def _covered(
        self, names: Collection[str], y0: int, y1: int, x0: int, x1: int
    ) -> NDArray[np.uint8]:
        """Return where a window of the raw image lies in regions."""
        if self._labels is not None:
            numbers = [n for n in self._labels.numbers if _label_name(n) in names]
            seen = self._labels.window(y0, y1, x0, x1)
            return np.isin(seen, numbers).view(np.uint8)
        result = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for area in self._areas:
            left, top, right, bottom = area.bounds()
            if area.name not in names or right < x0 or left > x1:
                continue
            if bottom < y0 or top > y1:
                continue
            result |= _filled(area.rings, y0, y1, x0, x1)
        return result


def _filled(
    rings: Iterable[NDArray[np.float64]], y0: int, y1: int, x0: int, x1: int
) -> NDArray[np.uint8]:
    """Return which pixels of a window have their middle in an odd number of rings.

    Other fillers also mark what an edge passes, in each window a little differently.
    """
    crossed = np.zeros((y1 - y0, x1 - x0 + 1), bool)
    for ring in rings:
        start, end = ring, np.roll(ring, -1, axis=0)
        low, high = np.sort([start[:, 1], end[:, 1]], axis=0)
        first, last = (np.clip(np.ceil(y), y0, y1).astype(int) for y in (low, high))
        count = last - first  # rows that an edge crosses: low <= y < high
        edge = np.repeat(np.arange(len(ring)), count)
        place = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        rows = first[edge] + place
        (ax, ay), (bx, by) = start[edge].T, end[edge].T
        x = ax + (rows - ay) * (bx - ax) / (by - ay)
        columns = np.clip(np.ceil(x) - x0, 0, x1 - x0).astype(int)
        np.logical_xor.at(crossed, (rows - y0, columns), True)
    inside = np.logical_xor.accumulate(crossed, axis=1)[:, :-1]
    return inside.view(np.uint8)


def save_polygons(
    path: Path | str, areas: Iterable[tuple[str, NDArray[np.float64]]]
) -> Path:
    """Write areas as GeoJSON that `Regions.load` and QuPath read.

    Parameters
    ----------
    path : Path or str
        Where; its folder is made where it is missing.
    areas : iterable of (str, ndarray of shape (N, 2))
        Name and corners (x, y) of each, px of the raw post-stain image, pixel centres
        at integers.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        When it cannot be written; a file of that name stays as it was.
    """
    features = [geojson.polygon_entry(name, ring) for name, ring in areas]
    return files.write_json(path, {"type": "FeatureCollection", "features": features})


def save_labels(path: Path | str, pixels: NDArray[Any], *, excluded: bool) -> Path:
    """Write a labels image that `Regions.load` reads.

    Parameters
    ----------
    path : Path or str
        Where; its folder is made where it is missing.
    pixels : ndarray, shape (rows, columns)
        Whole numbers.
    excluded : bool
        All but 0 is left out.

    Returns
    -------
    Path
        The file, a TIFF.

    Raises
    ------
    OutputError
        When it cannot be written; a file of that name stays as it was.
    """
    if excluded:
        pixels = (pixels != 0).view(np.uint8)
    elif pixels.dtype.itemsize > 4:
        pixels = pixels.astype(np.uint32)
    with files.replace_file(Path(path)) as part:
        tifffile.imwrite(part, pixels, compression="zlib", tile=(512, 512))
    return Path(path)


def ellipse_ring(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the outline of the ellipse in a (turned) rectangle.

    Parameters
    ----------
    corners : ndarray, shape (4, 2)
        Of the rectangle, in their order.

    Returns
    -------
    ndarray, shape (64, 2), float64
        Points of the ellipse.
    """
    middle = corners.mean(axis=0)
    one, other = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    ring: NDArray[np.float64] = middle + one * np.cos(turn) + other * np.sin(turn)
    return ring


def _label_name(number: int) -> str:
    return EXCLUDED if number in _EXCLUDED_LABELS else f"region {number}"


@lru_cache(maxsize=8)
def _load(path: Path, _stamp: files.Stamp) -> Regions:
    if path.suffix.lower() in geojson.ENDINGS:
        areas, labels = tuple(_areas(path)), None
        excluded = [area for area in areas if area.name == EXCLUDED]
        digests = _digest_of(areas), _digest_of(excluded)
        found = [area.name for area in areas]
    else:
        areas, labels = (), _Labels(_pixels(path))
        if not labels.numbers:
            raise ValueError("all its labels are 0")
        digests = labels.digests
        found = [_label_name(number) for number in labels.numbers]
    names = tuple(name for name in dict.fromkeys(found) if name != EXCLUDED)
    return Regions(names, EXCLUDED in found, str(path), *digests, areas, labels)


def _digest_of(areas: Iterable[_Area]) -> str:
    digest = hashlib.sha256()
    for area in areas:
        digest.update(area.name.encode())
        for ring in area.rings:
            digest.update(ring.tobytes())
    return digest.hexdigest()


def _areas(path: Path) -> list[_Area]:
    areas = []
    for number, feature in enumerate(geojson.read_features(path), 1):
        if "Polygon" not in feature.kind:
            continue
        name = feature.label or feature.name
        if not name:
            raise ValueError(
                f"area {number} has no class and no name; call it '{EXCLUDED}' to "
                "leave it out, anything else to count it"
            )
        name = EXCLUDED if _EXCLUDING.match(name) else name
        if feature.parts and all(len(ring) > 2 for ring in feature.parts):
            areas.append(_Area(name, feature.parts))
    if not areas:
        raise ValueError("no polygons are drawn in it")
    return areas


def _pixels(path: Path) -> NDArray[Any]:
    """Return the pixels of a labels image; those of a large TIFF stay on disk."""
    if path.suffix.lower() in (".tif", ".tiff"):
        with quiet_tifffile(path), tifffile.TiffFile(path) as tif:
            pixels = tif.series[0].asarray(out="memmap")
    else:
        read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if read is None:
            raise ValueError("it is no image that can be read")
        pixels = np.asarray(read)
    pixels = pixels.squeeze()
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui":
        raise ValueError(
            f"its pixels are {pixels.dtype} with {pixels.ndim} axes; one whole number "
            "for each pixel is wanted"
        )
    return pixels.view(np.uint8) if pixels.dtype.kind == "b" else pixels
