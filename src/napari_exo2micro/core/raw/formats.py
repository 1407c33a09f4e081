"""Kinds of raw images: which of them a name stands for, and what opens it."""

from pathlib import Path

from napari_exo2micro.core.raw import names
from napari_exo2micro.core.raw.pages import ImageChoice
from napari_exo2micro.core.raw.tiff import TiffImage, open_tiff
from napari_exo2micro.core.raw.zarr import open_zarr


def open_raw(path: Path | str, choice: ImageChoice | None = None) -> TiffImage:
    """Read and check the header of a raw image: of the image that is wanted of it.

    Raises
    ------
    RawFileNotFoundError
        If it does not exist or cannot be opened.
    RawDataError
        If it cannot be used, or holds several images of which none is chosen.
    """
    if names.is_zarr_name(Path(path).name):
        return open_zarr(path, choice)
    return open_tiff(path, choice)
