"""Raw files: the front door. Finds, checks and reads a pair of images."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_exo2micro.core.errors import DataWarning
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw.files import (
    DyeFiles,
    RawFiles,
    classify_raw_files,
    find_pair,
    list_dyes,
    list_samples,
)
from napari_exo2micro.core.raw.fingerprint import RawFingerprint
from napari_exo2micro.core.raw.images import RawImage
from napari_exo2micro.core.raw.layout import (
    LayoutDiagnosis,
    LayoutProblem,
    SkippedTask,
    TaskDiscovery,
    diagnose_raw_layout,
    discover_tasks,
)
from napari_exo2micro.core.raw.loaders import (
    DEFAULT_LOADER,
    LOADERS,
    Loader,
    NamedLoader,
    call_loader,
    get_loader,
    loader_name,
    loader_names,
    register_loader,
    unregister_loader,
)
from napari_exo2micro.core.raw.names import NameProblem, ParsedName, check_name
from napari_exo2micro.core.raw.pair import RawPair
from napari_exo2micro.core.raw.survey import (
    ChannelStatistics,
    ChannelSurvey,
    survey_raw_channels,
)

__all__ = [
    "ChannelStatistics",
    "ChannelSurvey",
    "DyeFiles",
    "LayoutDiagnosis",
    "LayoutProblem",
    "Loader",
    "NameProblem",
    "ParsedName",
    "RawFiles",
    "RawFingerprint",
    "RawImage",
    "RawPair",
    "SkippedTask",
    "TaskDiscovery",
    "check_name",
    "classify_raw_files",
    "diagnose_raw_layout",
    "discover_tasks",
    "find_pair",
    "get_loader",
    "list_dyes",
    "list_samples",
    "load_image_pair",
    "loader_name",
    "loader_names",
    "open_image_pair",
    "register_loader",
    "survey_raw_channels",
    "unregister_loader",
]

logger = logging.getLogger(__name__)


def open_image_pair(
    sample: str,
    dye: str,
    raw_dir: Path | str = "raw",
    *,
    loader: str | Loader | None = None,
    monitor: Monitor | None = None,
) -> RawPair:
    """Find, check and open the two images of a pair, without loading them.

    All pixels are looked at once: for the channel means, for NaN and for the
    largest sum. The fingerprints of the files are computed meanwhile.

    Parameters
    ----------
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.
    loader : str, callable or None
        Another source of images: a registered name, or a function with the
        signature of `load_image_pair`. Its arrays are checked like files.
    monitor : Monitor, optional
        Told the progress.

    Returns
    -------
    RawPair
        Both images, to be read band by band.

    Raises
    ------
    RawFileNotFoundError
        If the sample folder, the dye or one of its sides does not exist.
    RawDataError
        If a side has more than one file, or a file cannot be used, or the two
        do not fit together.
    ParameterError
        If a name is not safe as a folder name, or the loader is unknown.

    Warns
    -----
    DataWarning
        For each of the pair's `warnings`.
    """
    function = get_loader(loader)
    if function is load_image_pair:
        pair = _open_files(sample, dye, raw_dir, monitor, background=True)
    else:
        check_name("sample", sample)
        check_name("dye", dye)
        pair = RawPair.from_arrays(
            *call_loader(function, sample, dye, raw_dir),
            loader=f"loader '{loader_name(function)}'",
        )
    for side, image in (("post", pair.post), ("pre", pair.pre)):
        logger.info(
            "%s-stain image: %s, %d x %d px, %s",
            side,
            image.path or "an array without a file",
            image.shape[1],
            image.shape[0],
            image.dtype,
        )
    _warn(pair)
    return pair


def load_image_pair(
    sample: str, dye: str, raw_dir: Path | str = "raw"
) -> tuple[NDArray[Any], NDArray[Any], Path, Path]:
    """Find, check and load the two images of a pair.

    Parameters
    ----------
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    post_im, pre_im : numpy.ndarray, shape (rows, columns)
        The signal of each image, both of one dtype.
    post_path, pre_path : pathlib.Path
        The files.

    Raises
    ------
    RawFileNotFoundError
        If the sample folder, the dye or one of its sides does not exist.
    RawDataError
        If a side has more than one file, or a file cannot be used, or the two
        do not fit together or not in memory.
    ParameterError
        If a name is not safe as a folder name.

    Warns
    -----
    DataWarning
        For what a careful reader would not expect.
    """
    pair = _open_files(sample, dye, raw_dir, None, background=False)
    _warn(pair)
    assert pair.post.path is not None
    assert pair.pre.path is not None
    return pair.post.read(), pair.pre.read(), pair.post.path, pair.pre.path


def _open_files(
    sample: str,
    dye: str,
    raw_dir: Path | str,
    monitor: Monitor | None,
    background: bool,
) -> RawPair:
    post_path, pre_path, notes = find_pair(sample, dye, raw_dir)
    return RawPair.from_files(
        post_path, pre_path, monitor=monitor, background=background, notes=notes
    )


def _warn(pair: RawPair) -> None:
    for text in pair.warnings:
        warnings.warn(text, DataWarning, stacklevel=3)


LOADERS.add_built_in(NamedLoader(DEFAULT_LOADER, load_image_pair))
