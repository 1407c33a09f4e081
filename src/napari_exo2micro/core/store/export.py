"""Any 2-D image as a TIFF or FITS file that says where it comes from."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import CheckpointError, Monitor, ParameterError, files
from napari_exo2micro.core.images import ImageLike, Transform, io, raster
from napari_exo2micro.core.store.provenance import (
    Provenance,
    StoredScale,
    creation_time,
    storable_pixels,
)

_COLUMNS = 2048
_EXTENSIONS = (".tiff", ".tif", ".fits")


def provenance_of(
    known: Mapping[str, Any], name: str, *, as_stored: bool
) -> Provenance:
    """Return the header of an image that is saved by itself.

    Parameters
    ----------
    known : mapping
        What is known of it: `header` (of the checkpoint that it comes from, may be
        empty), `sample`, `dye`, `stage`, `parameters`, `transform`, `scale`,
        `canvas`, `channels`, `notes`; what is missing is left out.
    name : str
        What the image is, one word.
    as_stored : bool
        Whether the pixels are those of that checkpoint: its header is kept as it is.

    Returns
    -------
    Provenance
        A derived image has the checkpoint's header with its own name and scale.
    """
    told = {"kind": "manual"} | (known.get("scale") or {})
    scale = StoredScale.from_dict(told) if "value" in told else None
    with suppress(CheckpointError):  # no header, or a damaged one
        stored = Provenance.from_header(known.get("header") or {})
        if as_stored:
            return stored
        note = f"derived from {stored.name} of stage {stored.stage}"
        return replace(
            stored,
            name=name,
            scale=scale or stored.scale,
            notes=(*stored.notes, note),
            created=creation_time(),
        )
    transform = known.get("transform")
    return Provenance(
        sample=str(known.get("sample", "")),
        dye=str(known.get("dye", "")),
        stage=int(known.get("stage") or 0),
        name=name,
        parameters=dict(known.get("parameters") or {}),
        inputs="",
        canvas={"channels": known.get("channels"), **(known.get("canvas") or {})},
        transform=Transform.from_dict(transform) if transform else None,
        scale=scale,
        notes=tuple(map(str, known.get("notes") or ())),
    )


def export_image(
    path: Path | str,
    image: ImageLike,
    provenance: Provenance,
    monitor: Monitor | None = None,
) -> Path:
    """Write an image window by window, whole or not at all.

    Parameters
    ----------
    path : Path or str
        Ends in `.tiff`, `.tif` or `.fits`.
    image : ImageLike, shape (rows, columns)
        May be made when it is read; no more than a band of rows is in memory.
    provenance, monitor
        Its header, and who is told the progress.

    Returns
    -------
    Path
        The file; its ending in small letters.

    Raises
    ------
    OutputError
        When it cannot be written, or would lie among the raw files that it was made
        from; a file of that name stays as it was.
    ParameterError
        When the image is not 2-D, of a type without numbers, or the ending is
        another one.
    """
    path = Path(path)
    if path.suffix.lower() not in _EXTENSIONS:
        raise ParameterError(
            f"{path.name} should end in {', '.join(_EXTENSIONS)}; choose such a name"
        )
    path = path.with_suffix(path.suffix.lower())
    if len(image.shape) != 2:
        raise ParameterError(
            f"a 2-D image can be saved with its header, found shape {image.shape}; "
            "choose another layer"
        )
    for side in ("post", "pre"):
        if raw := provenance.raw.get(side, {}).get("file", ""):
            files.check_output(path.parent, Path(raw).parent)
    if isinstance(image, raster.Raster):
        image = image.checking()
    dtype = storable_pixels(np.empty((1, 1), image.dtype)).dtype
    shape = (image.shape[0], image.shape[1])
    io.write_raster(
        [path],
        shape,
        dtype,
        _bands(image, shape, dtype),
        header=provenance.to_header(),
        cards=provenance.to_cards(),
        pixel_size=provenance.pixel_size,
        monitor=monitor,
    )
    return path


def _bands(
    image: ImageLike, shape: tuple[int, int], dtype: np.dtype[Any]
) -> Iterator[tuple[int, NDArray[Any]]]:
    for top, bottom in raster.bands(shape):
        band = np.empty((bottom - top, shape[1]), dtype)
        for left in range(0, shape[1], _COLUMNS):
            right = min(left + _COLUMNS, shape[1])
            band[:, left:right] = image[top:bottom, left:right]
        yield top, band
