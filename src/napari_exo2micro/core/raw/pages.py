"""Which image of a TIFF file: its pages by number, channel, name and size.

A file may hold many: a page for each channel, a stack, smaller copies, a label. The one
that is wanted is found by the name of its channel or said by a person; nothing is
guessed.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import tifffile

from napari_exo2micro.core.base import errors
from napari_exo2micro.core.base.text import composed

#: `ImageChoice.channel`: found by the dye's name; the sum of all that show something;
#: the numbers of a palette image instead of its colours.
AUTO, SUM, STORED = "auto", "sum", "stored"
COLOURS = ("red", "green", "blue")
#: `ImageChoice.reader`, and the name of the loader that asks for it.
BIOIO: Final = "bioio"

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
#: Walking a longer chain of pages takes seconds.
_MOST_PAGES: Final = 4096
#: Pages named in a message.
_MOST_SHOWN: Final = 12
#: A name that stands within another one has at least so many letters.
_LEAST_LETTERS: Final = 3
#: Sides of a smaller copy are those of the image in proportion, to so many px of it.
_COPY_PX: Final = 2.0
_PAGE_NAME = 285


class SeveralImagesError(errors.RawDataError):
    """A file holds several images, and a person has to say which one is wanted."""


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """Which image of a file is wanted.

    Attributes
    ----------
    dye : str
        Its name may be that of a channel; empty when it is not known.
    page : int or None
        Of the file, counted from 1.
    channel : str
        ``'auto'``, a channel's name or number, counted from 1, ``'sum'`` or
        ``'stored'``.
    projection : {'none', 'maximum', 'mean'}
        What becomes of the planes of a stack.
    reader : {'', 'bioio'}
        What opens the file; empty where its name decides.
    """

    dye: str = ""
    page: int | None = None
    channel: str = AUTO
    projection: str = "none"
    reader: str = ""

    @classmethod
    def of(
        cls, dye: str, params: Mapping[str, Any], reader: str = ""
    ) -> tuple[ImageChoice, ImageChoice]:
        """Return the choices for post and pre that parameters make.

        Parameters
        ----------
        dye : str
            Its name.
        params : mapping
            All parameters, name -> value.
        reader : str
            See `ImageChoice`.

        Returns
        -------
        tuple of ImageChoice
            For the post-stain and the pre-stain file.
        """
        projection = params["projection"]
        post = cls(dye, params["page"] or None, params["channel"], projection, reader)
        page, channel = params["pre_page"], params["pre_channel"]
        return post, replace(
            post,
            page=page or post.page,
            channel=post.channel if channel == AUTO else channel,
        )

    def index(self, names: Sequence[str]) -> int | None:
        """Return the place of the channel among names, by choice or by the dye.

        Parameters
        ----------
        names : sequence of str
            Of the channels, some of which may be empty.

        Returns
        -------
        int or None
            None when no name or several fit.
        """
        wanted = self.channel
        if wanted in (AUTO, SUM, STORED):
            return _named(self.dye, names)
        if wanted.isdecimal():
            return int(wanted) - 1 if 1 <= int(wanted) <= len(names) else None
        return _named(wanted, names)


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A page, or one of the planes behind the header of a page."""

    number: int  # in the file, counted from 1
    page: Any  # of a TIFF a `tifffile.TiffPage`; it has imagelength and imagewidth
    offset: int | None = None  # of its plain pixels, when the page does not say
    channel: int = 0
    name: str = ""

    def listed(self) -> str:
        """Return number, name and size for a message."""
        name = f" '{self.name}'" if self.name else ""
        size = f"{self.page.imagewidth} x {self.page.imagelength} px"
        return f"page {self.number}{name} ({size})"


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The planes whose projection is the image; one plane where there is none."""

    planes: tuple[Plane, ...]
    notes: tuple[str, ...] = ()
    #: Names of the samples of a pixel, where the file tells them.
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """Pages of one size that belong together."""

    planes: tuple[Plane, ...]
    channels: tuple[str, ...] = ()  # names; empty when there is no axis of channels
    is_reduced: bool = False

    @property
    def page(self) -> Any:
        """The first of its pages."""
        return self.planes[0].page

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns, px."""
        return self.page.imagelength, self.page.imagewidth


def choose(tif: tifffile.TiffFile, path: Path, choice: ImageChoice) -> Chosen:
    """Return the planes of a file that are wanted.

    Raises
    ------
    SeveralImagesError
        If several fit, with a list of them and the options that choose.
    RawDataError
        If the page that is asked for does not exist, or there are too many.
    """
    first = tif.pages.first
    if not _has_page(tif, 1) and not _is_stack(first):
        _check_page(path, choice, [Plane(1, first)])
        return Chosen((Plane(1, first),), names=_sample_names(tif, first))
    if _has_page(tif, _MOST_PAGES):
        raise errors.RawDataError(
            f"{path}: holds more than {_MOST_PAGES} pages; save the one that is wanted "
            "as a file of its own"
        )
    return choose_among(_images(tif), path, choice)


def choose_among(
    images: Sequence[StoredImage], path: Path, choice: ImageChoice
) -> Chosen:
    """Return the planes that are wanted of what a file holds; errors as of `choose`."""
    planes = sorted(
        (plane for image in images for plane in image.planes),
        key=lambda plane: plane.number,
    )
    if choice.page is not None:
        return Chosen((_check_page(path, choice, planes),))
    wanted, notes = _largest(images)
    if len(wanted) > 1:
        wanted = [image for image in wanted if _matches(image, choice)] or wanted
    if len(wanted) > 1:
        raise _refused(path, choice, [p for image in wanted for p in image.planes])
    return replace(_in_image(path, wanted[0], choice), notes=notes)


def _has_page(tif: tifffile.TiffFile, index: int) -> bool:
    try:
        tif.pages[index]
    except Exception:  # noqa: BLE001 - no such page, or a damaged one behind a sound image
        return False
    return True


def _check_page(path: Path, choice: ImageChoice, planes: Sequence[Plane]) -> Plane:
    """Return the plane of a number that was asked for, or say which there are."""
    for plane in planes:
        if choice.page in (None, plane.number):
            return plane
    raise errors.RawDataError(
        f"{path}: page {choice.page} is asked for, and the file holds "
        f"{_some(planes)}; choose one of them with --page (page and pre_page)"
    )


def _largest(
    images: Sequence[StoredImage],
) -> tuple[list[StoredImage], tuple[str, ...]]:
    """Leave out masks, thumbnails and the smaller copies of the largest image."""
    whole = [image for image in images if not image.is_reduced] or list(images)
    largest = max(whole, key=lambda image: math.prod(image.sides))
    copies = [image for image in whole if _is_copy(image, largest)]
    others = [image for image in whole if image not in copies]
    if not copies:
        return others, ()
    sizes = ", ".join(
        f"{width} x {height}" for height, width in (image.sides for image in copies)
    )
    note = f"the largest of its images is used; others show the same at {sizes} px"
    return others, (note,)


def _is_copy(image: StoredImage, largest: StoredImage) -> bool:
    (height, width), (rows, columns) = image.sides, largest.sides
    if height >= rows or width >= columns:
        return False
    off = abs(height * columns - width * rows)
    return off <= _COPY_PX * max(rows, columns)


def _matches(image: StoredImage, choice: ImageChoice) -> bool:
    names = image.channels or tuple(plane.name for plane in image.planes)
    return choice.index(names) is not None


def _in_image(path: Path, image: StoredImage, choice: ImageChoice) -> Chosen:
    """Choose the channel, and the plane or the projection of its stack."""
    planes = image.planes
    names = image.channels or tuple(plane.name for plane in planes)
    if len(names) > 1 and (image.channels or any(names)):
        index = choice.index(names)
        if image.channels and index is None:
            raise _refused(path, choice, planes)
        if index is not None:
            planes = tuple(
                plane
                for place, plane in enumerate(planes)
                if (plane.channel if image.channels else place) == index
            )
    if len(planes) > 1 and choice.projection == "none":
        raise _refused(path, choice, planes)
    return Chosen(planes)


def _refused(
    path: Path, choice: ImageChoice, planes: Sequence[Plane]
) -> SeveralImagesError:
    """Return the question which of several planes is wanted."""
    by_name = ""
    if choice.channel != AUTO:
        by_name = f", and '{choice.channel}' names none of their channels alone"
    elif choice.dye:
        by_name = f", and none alone has the name of the dye '{choice.dye}'"
    return SeveralImagesError(
        f"{path}: holds several images{by_name}: {_some(planes)}; choose one with "
        "--page or --channel (parameters page and channel; pre_page and pre_channel "
        "where the pre-stain file differs), or make one of a stack with --projection "
        "maximum or mean"
    )


def _some(planes: Sequence[Plane]) -> str:
    shown = ", ".join(plane.listed() for plane in planes[:_MOST_SHOWN])
    more = len(planes) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _named(wanted: str, names: Sequence[str]) -> int | None:
    """Return the place of the one name that is meant, None when it is not clear."""
    key, keys = _letters(wanted), [_letters(name) for name in names]
    if not key:
        return None
    same = [place for place, name in enumerate(keys) if name == key]
    within = [
        place
        for place, name in enumerate(keys)
        if min(len(name), len(key)) >= _LEAST_LETTERS
        and (name.startswith(key) or key.startswith(name))
    ]
    found = same or within
    return found[0] if len(found) == 1 else None


def _letters(name: str) -> str:
    return "".join(c for c in composed(name).casefold() if c.isalnum())


def _is_stack(page: tifffile.TiffPage) -> bool:
    """Return whether a stack is stored behind one page header (ImageJ, tifffile)."""
    if page.is_imagej:
        count = re.search(r"^images=(\d+)", page.description, re.MULTILINE)
        return count is not None and int(count[1]) > 1
    if page.is_shaped:
        stack = re.search(r'"shape": \[([\d, ]+)\]', page.shaped_description or "")
        return (
            stack is not None and math.prod(map(int, stack[1].split(","))) > page.size
        )
    return False


def _images(tif: tifffile.TiffFile) -> list[StoredImage]:
    """Return what a file holds, image by image."""
    images = []
    names = _channel_names(tif)
    for place, series in enumerate(tif.series):
        own = names[place] if place < len(names) else ()
        image = _image(tif, series, own)
        if image is not None:
            images.append(image)
    return images


def _image(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, names: Sequence[str]
) -> StoredImage | None:
    """Return a series of pages as an image with its channels."""
    stored = list(series.pages)
    if not stored or stored[0] is None or stored[0].parent is not tif:
        return None
    first = stored[0].aspage()
    axes = series.axes
    lead = axes.index("Y") if "Y" in axes else 0
    outer = [
        (axis, count)
        for axis, count in zip(axes[:lead], series.shape[:lead], strict=True)
        if axis != "S"
    ]
    if math.prod(series.shape) == first.size:  # the samples of one page have an axis
        outer = []
    count = math.prod(count for _, count in outer)
    # an OME-TIFF of several files names pages that lie in the others
    pages: list[tuple[tifffile.TiffPage, int | None]] = [
        (page.aspage(), None)
        for page in stored
        if page is not None and page.parent is tif
    ]
    if len(pages) == 1 and count > 1 and series.dataoffset is not None:
        step = first.nbytes
        pages = [(first, series.dataoffset + k * step) for k in range(count)]
    axis = next((place for place, (axis, _) in enumerate(outer) if axis == "C"), None)
    if len(pages) != count:
        axis = None
    channels: tuple[str, ...] = ()
    places = [0] * len(pages)
    if axis is not None:
        size = outer[axis][1]
        inner = math.prod(count for _, count in outer[axis + 1 :])
        places = [k // inner % size for k in range(len(pages))]
        if len(names) == len(pages) != size:  # a label for each plane
            names = [names[places.index(c)] for c in range(size)]
        channels = tuple(names[c] if c < len(names) else "" for c in range(size))
    planes = []
    for k, ((page, offset), channel) in enumerate(zip(pages, places, strict=True)):
        name = channels[channel] if channels else ""
        if not channels:
            name = names[k] if len(names) == len(pages) else _page_name(page)
        number = k + 1 if offset is not None else _number(page)
        planes.append(Plane(number, page, offset, channel, name))
    reduced = bool(first.subfiletype & (_REDUCED | _MASK))
    reduced |= str(series.name).lower() in ("thumbnail", "label", "macro")
    return StoredImage(tuple(planes), channels if len(channels) > 1 else (), reduced)


def _number(page: tifffile.TiffPage) -> int:
    return int(page.index) + 1


def _page_name(page: tifffile.TiffPage) -> str:
    """Return what a page calls itself; empty where it does not."""
    name = page.tags.valueof(_PAGE_NAME)
    if isinstance(name, str) and name.strip():
        return name.strip()
    found = re.search(r"<Name>([^<]+)</Name>", page.description or "")
    return found[1].strip() if found else ""


def _channel_names(tif: tifffile.TiffFile) -> list[tuple[str, ...]]:
    """Return the names of the channels, or of all planes, of each series."""
    if tif.is_ome:
        return _ome_names(tif.ome_metadata or "")
    if tif.is_micromanager:
        summary = (tif.micromanager_metadata or {}).get("Summary", {})
        names = summary.get("ChNames", ())
        if isinstance(names, str):
            names = re.findall(r'"([^"]+)"', names) or [names]
        if names:
            return [tuple(map(str, names))]
    if tif.is_imagej:
        labels = (tif.imagej_metadata or {}).get("Labels", ())
        return [tuple(map(str, [labels] if isinstance(labels, str) else labels))]
    return []


def _ome_names(text: str) -> list[tuple[str, ...]]:
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return []
    return [
        tuple(
            channel.get("Name") or channel.get("Fluor") or ""
            for channel in _children(pixels, "Channel")
        )
        for image in _children(root, "Image")
        for pixels in _children(image, "Pixels")
    ]


def _children(element: ET.Element, name: str) -> Iterable[ET.Element]:
    return (child for child in element if child.tag.rpartition("}")[2] == name)


def _sample_names(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[str, ...]:
    """Return the names of the samples of a single page, where the file tells them."""
    if page.samplesperpixel == 1:
        return ()
    names = next(iter(_channel_names(tif)), ())
    return names if len(names) == page.samplesperpixel else ()
