"""What containers say of the images in them: axes, levels, channels, pixel sizes.

OME-Zarr, versions 0.1 to 0.5 of the format (https://ngff.openmicroscopy.org), that is
Zarr formats 2 and 3, on a local disk: only the small JSON files are read. And files of
microscopes, through bioio, an extra.
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from napari_exo2micro.core.base import errors
from napari_exo2micro.core.base.files import Stamp, read_json, stamp

ZARR_EXTENSION: Final = ".zarr"  # of a folder that is one image
#: Files of microscopes, which bioio reads.
MICROSCOPE_EXTENSIONS: Final = (
    ".czi", ".dv", ".ims", ".lif", ".nd2", ".oib", ".oif", ".oir", ".sld", ".sldy",
    ".vsi", ".zvi",
)  # fmt: skip
_AXES = "tczyx"
_COLOURS = ("red", "green", "blue")
_MOST_IMAGES, _MOST_AXES = 4096, 5


@dataclass(frozen=True, slots=True)
class ContainedImage:
    """One image of a container, at its largest level.

    `sizes` are the width and the height of a pixel in `units`, None where they are not
    told.
    """

    array: Path  # the folder of its largest level; the file of a microscope
    scene: int  # its place among the images of a file of a microscope
    zarr_format: Literal[2, 3] | None  # None for a file of a microscope
    axes: str  # a letter for each axis, the last two are yx
    shape: tuple[int, ...]
    channels: tuple[str, ...] = ()  # names, as far as they are told
    sizes: tuple[float, float] | None = None
    units: tuple[str, str] = ("", "")


def is_zarr_name(name: str) -> bool:
    """Tell whether a folder of this name is one image."""
    return name.lower().endswith(ZARR_EXTENSION)


def is_container_name(name: str) -> bool:
    """Tell whether a folder or file of this name is read with what is here."""
    return name.lower().endswith((ZARR_EXTENSION, *MICROSCOPE_EXTENSIONS))


def read_container(
    path: Path, *, with_bioio: bool = False
) -> tuple[ContainedImage, ...]:
    """Return the images of a container; any file may be one for bioio.

    Raises
    ------
    RawFileNotFoundError
        If there is none.
    RawDataError
        If it says what cannot be used, or the extra that reads it is not installed.
    """
    if is_zarr_name(path.name) and not with_bioio:
        return read_ome_zarr(path)
    try:
        return _scenes(path, stamp(path))
    except OSError as error:
        raise errors.RawFileNotFoundError(
            f"{path}: cannot be opened ({error.strerror}); check the file and its "
            "permissions"
        ) from error


@lru_cache(maxsize=32)
def _scenes(path: Path, _stamp: Stamp) -> tuple[ContainedImage, ...]:
    image = open_bioio(path)
    scenes = []
    with bioio_errors(path):
        for number in range(len(image.scenes)):
            image.set_scene(number)
            size = image.dims
            channels = tuple(map(str, image.channel_names or ()))
            count = size.C
            if "S" in size.order:  # a picture in colours
                if count > 1:
                    raise errors.RawDataError(
                        f"{path}: has channels of pictures in colours; save the image "
                        "that is wanted as TIFF"
                    )
                channels, count = _COLOURS, min(size.S, len(_COLOURS))
            shape = (size.T, count, size.Z, size.Y, size.X)
            told = image.physical_pixel_sizes
            sizes = (told.X, told.Y) if told.X and told.Y else None
            scenes.append(
                ContainedImage(
                    path, number, None, _AXES, shape, channels, sizes, ("um", "um")
                )
            )
    return tuple(scenes)


def open_bioio(path: Path) -> Any:
    """Return a file of a microscope as bioio opens it, a ``bioio.BioImage``.

    Raises
    ------
    RawDataError
        If bioio or what reads this kind is not installed, or the file is damaged.
    """
    try:
        from bioio import BioImage  # an extra; and starting is faster without it
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError as error:
        raise errors.RawDataError(
            f"{path}: files of this kind are read with bioio, which is not installed "
            'here; install it with: pip install "napari-exo2micro[formats]"'
        ) from error
    with bioio_errors(path):
        try:
            return BioImage(path)
        except UnsupportedFileFormatError as error:
            raise errors.RawDataError(
                f"{path}: no installed part of bioio reads files of this kind; one of "
                "its others may, such as bioio-bioformats, which needs Java, or export "
                "the image as OME-TIFF or OME-Zarr"
            ) from error


@contextmanager
def bioio_errors(path: Path) -> Iterator[None]:
    """Turn whatever bioio and its parts raise into one `RawDataError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except errors.Exo2MicroError:
        raise
    except Exception as error:  # of all kinds, on damaged files
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise errors.RawDataError(
            f"{path}: bioio cannot read it ({detail}); export it again, or as OME-TIFF"
        ) from error


def read_ome_zarr(folder: Path) -> tuple[ContainedImage, ...]:
    """Return the images of a folder: one, or several as bioformats2raw writes them.

    Raises
    ------
    RawFileNotFoundError
        If there is no such folder.
    RawDataError
        If it is no Zarr, or says what cannot be used.
    """
    if not folder.is_dir():
        is_file = folder.exists()
        reason = "is a file, not the folder of a Zarr" if is_file else "is missing"
        raise errors.RawFileNotFoundError(f"{folder}: {reason}; copy it again")
    try:
        return tuple(_images(folder))
    except errors.RawDataError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise errors.RawDataError(
            f"{folder}: its Zarr metadata are damaged ({detail}); copy or "
            "export it again"
        ) from error


def _images(folder: Path) -> Iterable[ContainedImage]:
    told = _metadata(folder)
    if told is None:
        raise errors.RawDataError(
            f"{folder}: is no Zarr, whatever its name says: it holds neither zarr.json "
            "nor .zattrs nor .zarray; export the image as OME-Zarr or TIFF"
        )
    attributes, array = told
    if array is not None:
        yield _checked(folder, folder, array, "", {})
        return
    if "plate" in attributes:
        raise errors.RawDataError(
            f"{folder}: is a plate of wells; take the folder of one field out of it, "
            "such as A/1/0, and name that"
        )
    if "multiscales" in attributes:
        yield from _multiscales(folder, attributes)
        return
    series = sorted(
        (p for p in folder.iterdir() if p.name.isdecimal() and p.is_dir()),
        key=lambda place: int(place.name),
    )
    found = False
    for place in series[:_MOST_IMAGES]:
        inner = _metadata(place)
        if inner is not None and "multiscales" in inner[0]:
            found = True
            yield from _multiscales(place, inner[0])
    if not found:
        raise errors.RawDataError(
            f"{folder}: is a Zarr without images (no multiscales in its attributes); "
            "export it as OME-Zarr"
        )


def _metadata(
    folder: Path,
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None] | None:
    """Return the OME attributes of a group or array, and what an array says of itself.

    None where the folder is neither.
    """
    if (folder / "zarr.json").is_file():
        node = read_json(folder / "zarr.json")
        attributes = node.get("attributes") or {}
        ome = attributes.get("ome") or attributes
        return ome, {**node} if node["node_type"] == "array" else None
    files = {name: folder / name for name in (".zattrs", ".zarray", ".zgroup")}
    if not any(file.is_file() for file in files.values()):
        return None
    attributes = read_json(files[".zattrs"]) if files[".zattrs"].is_file() else {}
    array = read_json(files[".zarray"]) if files[".zarray"].is_file() else None
    return attributes, array


def _multiscales(
    folder: Path, attributes: Mapping[str, Any]
) -> Iterable[ContainedImage]:
    omero = attributes.get("omero") or {}
    for entry in attributes["multiscales"]:
        levels = []
        for dataset in entry["datasets"]:
            place = _inside(folder, dataset["path"])
            told = _metadata(place)
            if told is None or told[1] is None:
                raise errors.RawDataError(
                    f"{folder}: its level '{dataset['path']}' is missing; copy or "
                    "export it again"
                )
            levels.append((place, told[1], dataset))
        place, array, dataset = max(levels, key=lambda one: _area(one[1]["shape"]))
        names = [
            axis["name"] if isinstance(axis, dict) else axis
            for axis in entry.get("axes") or ()
        ]
        yield _checked(
            folder,
            place,
            array,
            "".join(names),
            {
                "channels": tuple(
                    str(channel.get("label") or "")
                    for channel in omero.get("channels") or ()
                ),
                **_pixel(entry, dataset),
            },
        )


def _area(shape: Sequence[int]) -> int:
    return math.prod(shape[-2:])


def _inside(folder: Path, path: str) -> Path:
    """Return the place of a level; one outside of the folder is refused."""
    parts = PurePosixPath(path).parts
    place = folder.joinpath(*parts)
    is_outside = PurePosixPath(path).is_absolute() or ".." in parts or "\\" in path
    if is_outside or folder.resolve() not in (
        place.resolve(),
        *place.resolve().parents,
    ):
        raise errors.RawDataError(
            f"{folder}: its level '{path}' lies outside of the folder; export it again"
        )
    return place


def _checked(
    folder: Path,
    place: Path,
    array: Mapping[str, Any],
    axes: str,
    more: Mapping[str, Any],
) -> ContainedImage:
    shape = tuple(array["shape"])
    if not all(isinstance(side, int) and side > 0 for side in shape):
        raise errors.RawDataError(
            f"{folder}: its array has the shape {list(shape)}, without a pixel; copy "
            "or export it again"
        )
    axes = axes or _AXES[-len(shape) :]
    is_known = len(axes) == len(shape) <= _MOST_AXES and set(axes) <= set(_AXES)
    if not is_known or len(set(axes)) < len(axes) or axes[-2:] != "yx":
        raise errors.RawDataError(
            f"{folder}: axes t, c, z, y, x or some of them are wanted, y and x "
            f"last, found '{axes}' of shape {list(shape)}; export it as OME-Zarr"
        )
    version: Literal[2, 3] = 3 if array["zarr_format"] == 3 else 2
    return ContainedImage(place, 0, version, axes, shape, **more)


def _pixel(entry: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return size and units of a pixel: the scales of the level and of all levels."""
    axes = entry.get("axes") or ()
    scales = [
        [float(side) for side in transform["scale"][-2:]]
        for told in (dataset, entry)
        for transform in told.get("coordinateTransformations") or ()
        if transform.get("type") == "scale"
    ]
    if not scales or not all(isinstance(axis, dict) for axis in axes):
        return {}
    y, x = (math.prod(sides) for sides in zip(*scales, strict=True))
    units = tuple(str(axis.get("unit") or "") for axis in axes[-2:])[::-1]
    return {"sizes": (x, y), "units": units}
