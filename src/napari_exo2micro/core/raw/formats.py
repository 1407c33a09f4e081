"""Kinds of raw images: which opens a name, and pixels of those that are no TIFFs.

Blocks of whole chunks take the place of the tiles of a TIFF. What is allocated is
bounded by what the metadata say of a chunk; the library `zarr` or bioio reads and
decodes them.
"""

import io
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import errors
from napari_exo2micro.core.base.files import Stamp, stamp
from napari_exo2micro.core.images.containers import (
    ContainedImage,
    bioio_errors,
    is_container_name,
    open_bioio,
    read_container,
)
from napari_exo2micro.core.raw.fingerprint import add_content
from napari_exo2micro.core.raw.pages import (
    AUTO,
    BIOIO,
    COLOURS,
    SUM,
    ImageChoice,
    Plane,
    StoredImage,
    choose_among,
)
from napari_exo2micro.core.raw.tiff import (
    MIN_SIDE,
    TiffImage,
    TiffReader,
    open_tiff,
    require_memory,
    tiff_errors,
)

#: Chunks are read and decoded in blocks of about so many bytes.
_BLOCK_BYTES = 1 << 22
_MOST_PLANES = 4096


class _Page(NamedTuple):
    """The size of the planes of an image, which of them, and where its pixels are."""

    imagelength: int
    imagewidth: int
    image: ContainedImage
    indices: tuple[tuple[int, ...], ...]  # of each sample, on the axes before y and x
    names: tuple[str, ...]  # of each sample


@dataclass(frozen=True, slots=True, eq=False)
class PlanarImage(TiffImage):
    """Where the pixels of a container lie; its samples are channels, each a plane."""

    stamp: Stamp | None = None  # when its metadata were read

    def reader(self, samples: Sequence[int], digest: Any = None) -> "PlanarReader":
        """Return what reads its pixels, see `TiffReader`."""
        return PlanarReader(self, samples, digest)


class PlanarReader(TiffReader):
    """Reads channels of a checked container, as `TiffReader` does those of a TIFF."""

    def _opened(self) -> io.BufferedIOBase:
        if not self._image.path.exists():
            raise errors.RawFileNotFoundError(
                f"{self._image.path}: is missing; copy it again"
            )
        self._digesting: Future[None] | None = None
        return io.BytesIO()  # another library opens what it needs

    def _bytes(self, _segment: Any) -> bytes:
        if self._digest is not None and self._digesting is None:
            path, digest = self._image.path, self._digest
            self._digesting = self._pool.submit(add_content, path, digest)
        return b""

    def _digest_up_to(self, _end: int) -> None:
        """Wait for the digest, which is made beside the pixels."""
        if self._digest is not None:
            self._bytes(None)
            assert self._digesting is not None
            with tiff_errors(self._image.path, "it cannot be read"):
                self._digesting.result()

    def _check_unchanged(self) -> None:
        image = self._image
        assert isinstance(image, PlanarImage)
        try:
            now = stamp(image.path)
        except OSError:
            now = None
        if now != image.stamp:
            raise errors.RawDataError(
                f"{image.path}: changed while it was read; wait until it is complete "
                "and run again"
            )


def open_raw(path: Path | str, choice: ImageChoice | None = None) -> TiffImage:
    """Read and check the header of a raw image: of the image that is wanted of it.

    Raises
    ------
    RawFileNotFoundError
        If it does not exist or cannot be opened.
    RawDataError
        If it cannot be used, holds several images of which none is chosen, or the extra
        that reads it is not installed.
    """
    path, choice = Path(path), choice or ImageChoice()
    with_bioio = choice.reader == BIOIO
    if not (with_bioio or is_container_name(path.name)):
        return open_tiff(path, choice)
    told = read_container(path, with_bioio=with_bioio)
    try:
        seen = stamp(path)
    except OSError as error:
        raise errors.RawFileNotFoundError(
            f"{path}: cannot be read ({error.strerror}); check the folder and its "
            "permissions"
        ) from error
    chosen = choose_among(_stored(path, told, choice), path, choice)
    described = [_describe(path, seen, plane.page) for plane in chosen.planes]
    notes = tuple(f"{path.name}: {note}" for note in chosen.notes)
    first = described[0]
    first = replace(first, warnings=(*notes, *first.warnings))
    if len(described) == 1:
        return first
    return replace(first, planes=tuple(described), projection=choice.projection)


def _stored(
    path: Path, told: Iterable[ContainedImage], choice: ImageChoice
) -> list[StoredImage]:
    """Return images with their planes, numbered from 1 through all of them."""
    number = itertools.count(1)
    images = []
    for image in told:
        *lead, height, width = image.shape
        _check_size(path, height, width)
        outer = dict(zip(image.axes, lead, strict=False))
        count = outer.get("c", 1)
        if math.prod(lead) > _MOST_PLANES:
            raise errors.RawDataError(
                f"{path}: holds more than {_MOST_PLANES} pages; save the one that is "
                "wanted as a file of its own"
            )
        names = tuple(
            image.channels[k] if k < len(image.channels) else "" for k in range(count)
        )
        whole = count > 1 and _is_one_picture(names, choice)
        planes = []
        for index in itertools.product(*map(range, lead)):
            at = dict(zip(image.axes, index, strict=False))
            channel = at.get("c", 0)
            if whole and channel:
                continue  # its channels are the samples of one picture
            name = "" if whole else names[channel]
            page = _Page(height, width, image, (index,), (name,))
            if whole:
                place = image.axes.index("c")
                before, after = index[:place], index[place + 1 :]
                indices = tuple((*before, sample, *after) for sample in range(count))
                page = page._replace(indices=indices, names=names)
            planes.append(Plane(next(number), page, None, channel, name))
        channels = names if count > 1 and not whole else ()
        images.append(StoredImage(tuple(planes), channels))
    return images


def _is_one_picture(names: Sequence[str], choice: ImageChoice) -> bool:
    """Tell whether channels are added up: as asked, or as those of a colour picture."""
    if choice.channel == SUM:
        return True
    letters = [name.casefold() for name in names]
    return choice.channel == AUTO and letters in (list(COLOURS), ["r", "g", "b"])


def _check_size(path: Path, height: int, width: int) -> None:
    if min(height, width) < MIN_SIDE:
        raise errors.RawDataError(
            f"{path}: {width} x {height} px are too few to align; at least "
            f"{MIN_SIDE} x {MIN_SIDE} px are needed, check that it is the right file"
        )


def _describe(path: Path, seen: Stamp, page: _Page) -> PlanarImage:
    """Return what an array says, as far as it can be used."""
    image, samples = page.image, len(page.indices)
    array = _open_array(path, image)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise errors.RawDataError(
            f"{path}: pixels of type {dtype} are not supported; save the image with "
            "8- or 16-bit or float pixels"
        )
    native = np.dtype(np.uint8 if dtype.kind == "b" else dtype.type)
    chunks = tuple(map(int, array.chunks))
    require_memory(path, 2 * math.prod(chunks) * dtype.itemsize, "decoding one chunk")
    rows, columns = _block(chunks, (page.imagelength, page.imagewidth), dtype.itemsize)
    down = math.ceil(page.imagelength / rows)
    across = math.ceil(page.imagewidth / columns)
    count = down * across * samples
    return PlanarImage(
        path=path,
        size=seen.size,
        mtime_ns=seen.mtime_ns,
        height=page.imagelength,
        width=page.imagewidth,
        samples=samples,
        planar=samples > 1,
        dtype=native,
        stored=dtype,
        stored_colour=tuple(range(samples)),
        mode="grey" if samples == 1 else f"{samples} channels",
        segment_rows=rows,
        segment_columns=columns,
        offsets=range(1, count + 1),  # their order: chunks are files of their own
        byte_counts=range(1, count + 1),
        contiguous=None,
        white=None,
        signed=False,
        table=None,
        inks=False,
        separate=False,  # those of a picture, or asked for as a sum
        names=page.names,
        orientation=1,
        decode=_decoder(array, page.indices, (rows, columns), (down, across)),
        warnings=_missing(path, image, array, page.indices),
        stamp=seen,
    )


class _Scene:
    """An image of a file of a microscope, sliced like an array."""

    def __init__(self, path: Path, image: ContainedImage) -> None:
        opened = open_bioio(path)
        with bioio_errors(path):
            opened.set_scene(image.scene)
            is_coloured = "S" in opened.dims.order
            order, more = ("TSZYX", {"C": 0}) if is_coloured else ("TCZYX", {})
            self._data = opened.get_image_dask_data(order, **more)
        self._path = path
        self.dtype, self.chunks = self._data.dtype, self._data.chunksize

    def __getitem__(self, window: tuple[Any, ...]) -> NDArray[Any]:
        with bioio_errors(self._path):
            return np.asarray(self._data[window].compute(scheduler="synchronous"))


def _open_array(path: Path, image: ContainedImage) -> Any:
    if image.zarr_format is None:
        return _Scene(path, image)
    try:
        import zarr  # an extra; and starting is faster without it
    except ImportError as error:
        raise errors.RawDataError(
            f"{path}: OME-Zarr is read with the library zarr, which is not installed "
            'here; install it with: pip install "napari-exo2micro[zarr]"'
        ) from error
    with tiff_errors(path, "its array cannot be opened"):
        array = zarr.open_array(image.array, mode="r", zarr_format=image.zarr_format)
        if array.shape != image.shape:
            raise ValueError(f"shape {array.shape} where {image.shape} is told")
        return array


def _block(
    chunks: Sequence[int], sides: tuple[int, int], itemsize: int
) -> tuple[int, int]:
    """Return rows and columns of the blocks that are read: whole chunks, side by side.

    About `_BLOCK_BYTES` together, a chunk at least.
    """
    (high, wide), (height, width) = chunks[-2:], sides
    high, wide = min(high, height), min(wide, width)
    fitting = max(1, _BLOCK_BYTES // (math.prod(chunks) * itemsize))
    across = min(fitting, math.ceil(width / wide))
    down = min(max(1, fitting // across), math.ceil(height / high))
    return down * high, across * wide


def _decoder(
    array: Any,
    indices: Sequence[tuple[int, ...]],
    block: tuple[int, int],
    grid: tuple[int, int],
) -> Callable[[Any, int], NDArray[Any]]:
    """Return what decodes a block by its number, shape (rows, columns, 1)."""

    def decode(_data: Any, number: int) -> NDArray[Any]:
        plane, place = divmod(number, grid[0] * grid[1])
        below, beside = divmod(place, grid[1])
        window = tuple(
            slice(at * side, (at + 1) * side)
            for at, side in zip((below, beside), block, strict=True)
        )
        pixels = np.asarray(array[(*indices[plane], *window)])
        return pixels[..., np.newaxis]

    return decode


def _missing(
    path: Path, image: ContainedImage, array: Any, indices: Sequence[tuple[int, ...]]
) -> tuple[str, ...]:
    """Return a note of the chunks that are not in the folder of a Zarr."""
    if image.zarr_format is None:
        return ()
    chunks = getattr(array, "shards", None) or array.chunks
    rows, columns = (
        range(math.ceil(side / size))
        for side, size in zip(array.shape[-2:], chunks[-2:], strict=True)
    )
    places = {
        tuple(at // size for at, size in zip(index, chunks, strict=False))
        for index in indices
    }
    name = array.metadata.encode_chunk_key
    missing = sum(
        not (image.array / name((*lead, row, column))).exists()
        for lead in places
        for row in rows
        for column in columns
    )
    if not missing:
        return ()
    value = array.fill_value
    reads = "zero" if not value else str(value)
    return (f"{path.name}: {missing} chunks are not in the folder and read as {reads}",)
