"""A survey: size, mode and channels of every raw file, from a centre crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_exo2micro.core.errors import Exo2MicroError, ParameterError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw.blocks import BlockReader
from napari_exo2micro.core.raw.channels import channel_name
from napari_exo2micro.core.raw.files import list_samples, sample_folder, tiffs_in
from napari_exo2micro.core.raw.guard import require_memory
from napari_exo2micro.core.raw.names import Stain, parse_raw_name
from napari_exo2micro.core.raw.tiff import open_tiff

__all__ = ["ChannelStatistics", "ChannelSurvey", "survey_raw_channels"]


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """One channel of the centre crop.

    Attributes
    ----------
    name : str
        ``'grey'``, ``'red'``, ``'green'``, ``'blue'`` or ``'channel n'``.
    maximum : float
        Largest pixel.
    mean : float
        Mean of all pixels.
    nonzero : int
        How many pixels are not 0.
    """

    name: str
    maximum: float
    mean: float
    nonzero: int


@dataclass(frozen=True, slots=True)
class ChannelSurvey:
    """What one raw file holds.

    Attributes
    ----------
    sample : str
        The sample folder.
    path : pathlib.Path
        The file.
    stain : {'pre', 'post'} or None
        From the name; None when the name does not tell.
    dye : str or None
        From the name; None when the name does not tell.
    height, width : int
        Of the whole image, px; 0 when `problem` is set.
    mode : str
        dtype and kind, such as ``'uint8 RGB'``; empty when `problem` is set.
    crop : tuple of int
        Rows and columns that were looked at.
    channels : tuple of ChannelStatistics
        Alpha is left out.
    warnings : tuple of str
        What a careful reader would not expect.
    problem : str
        Why the file or its name cannot be used; empty when all is well.
    """

    sample: str
    path: Path
    stain: Stain | None
    dye: str | None
    height: int = 0
    width: int = 0
    mode: str = ""
    crop: tuple[int, int] = (0, 0)
    channels: tuple[ChannelStatistics, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""


def survey_raw_channels(
    raw_dir: Path | str = "raw",
    samples: Sequence[str] | None = None,
    *,
    crop: int = 1000,
    monitor: Monitor | None = None,
) -> tuple[ChannelSurvey, ...]:
    """Look at the centre of every raw file.

    Only the strips or tiles that hold the crop are read. A file that cannot be
    read is reported with its problem and does not stop the others.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.
    samples : sequence of str, optional
        Some sample folders; all of them by default.
    crop : int
        Side of the crop, px; smaller images are looked at whole.
    monitor : Monitor, optional
        Told the progress.

    Returns
    -------
    tuple of ChannelSurvey
        By sample, then by file name.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder or a sample folder does not exist.
    ParameterError
        If `crop` is not positive or a sample name is not safe.
    """
    if crop < 1:
        raise ParameterError(f"crop must be at least 1 px, found {crop}")
    raw_dir = Path(raw_dir)
    if samples is None:  # whatever their names are: it only looks
        folders = {sample: raw_dir / sample for sample in list_samples(raw_dir)}
    else:
        folders = {sample: sample_folder(sample, raw_dir) for sample in samples}
    files = [
        (sample, path)
        for sample, folder in folders.items()
        for path in tiffs_in(folder)
    ]
    found = []
    for index, (sample, path) in enumerate(files):
        if monitor is not None:
            monitor.report(index / len(files), f"looking at {path.name}")
        found.append(_survey(sample, path, crop))
    return tuple(found)


def _survey(sample: str, path: Path, crop: int) -> ChannelSurvey:
    parsed = parse_raw_name(path)
    try:
        image = open_tiff(path)
        y0, x0 = ((side - min(side, crop)) // 2 for side in image.shape)
        y1, x1 = y0 + min(image.height, crop), x0 + min(image.width, crop)
        area = (y1 - y0) * (x1 - x0)
        require_memory(path, area * image.samples * image.dtype.itemsize, "the crop")
        channels = []
        with BlockReader(image, image.stored_colour) as reader:
            block = reader.read(y0, y1, x0, x1)
            for sample_index in image.colour:
                plane = block.plane(sample_index)
                name = channel_name(sample_index) if len(image.colour) > 1 else "grey"
                wide = np.float64 if plane.dtype.kind == "f" else None
                mean = float(plane.sum(dtype=wide)) / area
                channels.append(
                    ChannelStatistics(
                        name,
                        float(plane.max()),
                        mean,
                        int(np.count_nonzero(plane)),
                    )
                )
    except Exo2MicroError as error:
        return ChannelSurvey(sample, path, parsed.stain, parsed.dye, problem=str(error))
    return ChannelSurvey(
        sample,
        path,
        parsed.stain,
        parsed.dye,
        image.height,
        image.width,
        f"{image.sample_dtype} {image.mode}",
        (y1 - y0, x1 - x0),
        tuple(channels),
        image.warnings,
        parsed.message,
    )
