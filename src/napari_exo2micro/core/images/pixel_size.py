"""The size of a pixel, as cameras and image programs note it in their files."""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from xml.etree import ElementTree

import tifffile

from napari_exo2micro.core.base.errors import RawDataError
from napari_exo2micro.core.images.containers import is_container_name, read_container
from napari_exo2micro.core.images.io import quiet_tifffile

#: Micrometres of a unit, by what OME, ImageJ and people call it.
_MICROMETRES: Final = {
    **dict.fromkeys(("pm", "picometer"), 1e-6),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("um", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("in", "inch", "inches"), 25_400.0),
}
_RESOLUTION_UNITS: Final = {2: "inch", 3: "cm"}

#: A microscope's pixels are of such sizes, um. What is coarser is the resolution of a
#: printer or a screen: 72 dpi are 353 um, 600 dpi are 42 um.
_SMALLEST, _LARGEST = 1e-3, 25.0
#: A first image of a file may be a small view: the pages that are looked at.
_PAGES = 8
_LONGEST_TEXT = 1 << 24

#: Two sizes, or a ratio of sizes and a magnification, differ when they do so by more.
TOLERANCE: Final = 0.02


class PixelSize(NamedTuple):
    """Width and height of a pixel, um.

    Examples
    --------
    >>> print(PixelSize(0.325, 0.325), PixelSize(0.5, 0.25), sep=", ")
    0.325 um, 0.5 x 0.25 um
    """

    x: float
    y: float

    def __str__(self) -> str:
        """Return it in words, with the unit."""
        if math.isclose(self.x, self.y, rel_tol=1e-6):
            return f"{self.x:.6g} um"
        return f"{self.x:.6g} x {self.y:.6g} um"

    @property
    def mean(self) -> float:
        """The side of a square pixel of the same area, um."""
        return math.sqrt(self.x * self.y)

    @classmethod
    def of(cls, stored: Any) -> Self | None:
        """Return the size that a header or a layer tells.

        Parameters
        ----------
        stored : sequence of float or None
            Width and height, um.

        Returns
        -------
        PixelSize or None
            None for what is no size.
        """
        try:
            x, y = (float(value) for value in stored)
        except (TypeError, ValueError):
            return None
        is_size = x > 0 and y > 0 and math.isfinite(x * y)
        return cls(x, y) if is_size else None


def read_pixel_size(
    path: Path | str, shape: tuple[int, int] | None = None
) -> PixelSize | None:
    """Return the pixel size that a TIFF file, or a container, notes.

    What is asked of a TIFF, in this order: OME-XML (``PhysicalSizeX``), ImageJ
    (``unit``), Micro-Manager (``PixelSizeUm``), the TIFF tags ``XResolution`` and
    ``YResolution``.
    Sizes that no microscope has are taken for the resolution of a printer or a screen,
    as programs write it into every file: they are no sizes.

    Parameters
    ----------
    path : Path or str
        A TIFF file, the folder of an OME-Zarr, or a file of a microscope.
    shape : tuple of int, optional
        Rows and columns of the image that is meant, where the file may hold others.

    Returns
    -------
    PixelSize or None
        None when the file tells none, is neither or cannot be read.
    """
    if is_container_name(Path(path).name):
        return _from_container(Path(path), shape)
    try:
        with quiet_tifffile(Path(path)), tifffile.TiffFile(path) as tif:
            page = _page_of(tif, shape)
            for look in (_from_ome, _from_imagej, _from_micromanager, _from_tags):
                with suppress(ArithmeticError, LookupError, TypeError, ValueError):
                    size = look(tif, page, shape)
                    if size is not None and _is_plausible(size):
                        return size
    except Exception:  # noqa: BLE001 - of all kinds; who reads the pixels tells it
        return None
    return None


def pair_pixel_sizes(
    post: tuple[Path | None, tuple[int, int]],
    pre: tuple[Path | None, tuple[int, int]],
    given: float | None = None,
) -> tuple[PixelSize | None, PixelSize | None]:
    """Return the sizes of the pixels of a raw pair.

    Parameters
    ----------
    post, pre : tuple
        The file, if there is one, and the shape (rows, columns) of each image.
    given : float, optional
        The size of post's pixels, um, whatever the files note. Where both note one,
        pre's changes in proportion.

    Returns
    -------
    tuple of PixelSize or None
        Of post and of pre; None where nothing tells it.
    """
    noted, other = (
        read_pixel_size(path, shape) if path else None for path, shape in (post, pre)
    )
    if given is None:
        return noted, other
    if noted and other:
        ratio = given / noted.mean
        other = PixelSize(other.x * ratio, other.y * ratio)
    return PixelSize(given, given), other


def _is_plausible(size: PixelSize) -> bool:
    return all(_SMALLEST <= side <= _LARGEST for side in (size.x, size.y))


def _page_of(tif: tifffile.TiffFile, shape: tuple[int, int] | None) -> Any:
    """Return the first of some pages that has the wanted shape, else the first one."""
    first = tif.pages[0].aspage()
    if shape is None:
        return first
    for number in range(_PAGES):
        try:
            page = tif.pages[number].aspage()
        except IndexError:
            break
        if (page.imagelength, page.imagewidth) == tuple(shape):
            return page
    return first


def _micrometres(unit: str) -> float:
    """Return how many um a unit has; a `KeyError` for one that is no length."""
    words = unit.strip().replace("\\u00B5", "µ").lower()
    return _MICROMETRES[words.replace("µ", "u").replace("μ", "u")]


def _from_container(path: Path, shape: tuple[int, int] | None) -> PixelSize | None:
    with suppress(ArithmeticError, LookupError, TypeError, ValueError, RawDataError):
        told = read_container(path)
        same = [image for image in told if shape in (None, image.shape[-2:])]
        image = (same or told)[0]
        x, y = (
            side * _micrometres(unit)
            for side, unit in zip(image.sizes or (), image.units, strict=True)
        )
        size = PixelSize(x, y)
        return size if _is_plausible(size) else None
    return None


def _from_ome(
    tif: tifffile.TiffFile, _page: Any, shape: tuple[int, int] | None
) -> PixelSize | None:
    text = tif.ome_metadata
    if not text or len(text) > _LONGEST_TEXT:
        return None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    told = [e.attrib for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"]
    if shape is not None:
        sides = str(shape[1]), str(shape[0])
        same = [e for e in told if (e.get("SizeX"), e.get("SizeY")) == sides]
        told = same or told
    entry = told[0]
    x, y = (
        float(entry[f"PhysicalSize{axis}"])
        * _micrometres(entry.get(f"PhysicalSize{axis}Unit", "um"))
        for axis in "XY"
    )
    return PixelSize(x, y)


def _from_imagej(
    tif: tifffile.TiffFile, page: Any, _shape: tuple[int, int] | None
) -> PixelSize | None:
    noted: Mapping[str, Any] | None = tif.imagej_metadata
    if not noted:
        return None
    sizes = _inverse_resolution(page, _micrometres(str(noted["unit"])))
    if "yunit" in noted:
        y = _inverse_resolution(page, _micrometres(str(noted["yunit"]))).y
        return PixelSize(sizes.x, y)
    return sizes


def _from_micromanager(
    _tif: tifffile.TiffFile, page: Any, _shape: tuple[int, int] | None
) -> PixelSize | None:
    noted = page.tags["MicroManagerMetadata"].value
    size = float(noted.get("PixelSizeUm", noted.get("PixelSize_um")))
    return PixelSize(size, size)


def _from_tags(
    _tif: tifffile.TiffFile, page: Any, _shape: tuple[int, int] | None
) -> PixelSize | None:
    unit = _RESOLUTION_UNITS[int(page.tags["ResolutionUnit"].value)]
    return _inverse_resolution(page, _micrometres(unit))


def _inverse_resolution(page: Any, unit: float) -> PixelSize:
    """Return the size of a pixel where the tags tell pixels for each `unit` um."""
    x, y = (
        unit * denominator / numerator
        for numerator, denominator in (
            page.tags[f"{axis}Resolution"].value for axis in "XY"
        )
    )
    return PixelSize(x, y)
