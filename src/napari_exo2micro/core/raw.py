"""Raw files: the front door. Finds, checks and reads a pair of images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import DataWarning, RawDataError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw_arrays import (
    array_bands,
    check_array,
    fingerprint_array,
)
from napari_exo2micro.core.raw_channels import ChannelMeans, decide_channels
from napari_exo2micro.core.raw_fingerprint import BackgroundFingerprint, RawFingerprint
from napari_exo2micro.core.raw_layout import (
    DyeFiles,
    LayoutDiagnosis,
    LayoutProblem,
    RawFiles,
    SkippedTask,
    TaskDiscovery,
    classify_raw_files,
    diagnose_raw_layout,
    discover_tasks,
    find_pair,
    list_dyes,
    list_samples,
)
from napari_exo2micro.core.raw_names import NameProblem, ParsedName, check_name
from napari_exo2micro.core.raw_signal import (
    Measured,
    choose_dtype,
    largest_sum,
    measure,
    signal_planes,
)
from napari_exo2micro.core.raw_tiff import TiffImage, open_tiff, require_memory

__all__ = [
    "DyeFiles",
    "LayoutDiagnosis",
    "LayoutProblem",
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
    "list_dyes",
    "list_samples",
    "load_image_pair",
    "open_image_pair",
]

_MAX_ROWS = 1024
_MAX_SIDE_RATIO = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """One image of a pair, read a band of rows at a time.

    Attributes
    ----------
    path : pathlib.Path or None
        The file; None for an array without one.
    shape : tuple of int
        Rows and columns, px.
    dtype : numpy.dtype
        Of the signal: uint8, uint16, float32 or float64, native byte order.
    """

    path: Path | None
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    _planes: Callable[[], Iterator[tuple[int, NDArray[Any]]]]
    _fingerprint: Callable[[], RawFingerprint]

    def bands(self, max_rows: int = _MAX_ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows from top to bottom.

        Parameters
        ----------
        max_rows : int
            Most rows of a band; fewer when the file is better read so.

        Yields
        ------
        y0 : int
            First row of the band.
        band : numpy.ndarray, shape (rows, columns)
            The signal, contiguous, native byte order; not overwritten later.

        Raises
        ------
        RawDataError
            If the file is damaged, or changes while it is read.
        """
        if max_rows < 1:
            raise ValueError(f"a band needs at least one row, not {max_rows}")
        for y0, plane in self._planes():
            for row in range(0, len(plane), max_rows):
                yield y0 + row, plane[row : row + max_rows]

    def read(self) -> NDArray[Any]:
        """Return the whole image.

        Raises
        ------
        RawDataError
            If it does not fit in memory, or the file is damaged.
        """
        size = self.shape[0] * self.shape[1] * self.dtype.itemsize
        require_memory(self.path or Path("image"), size, "the whole image")
        out = np.empty(self.shape, self.dtype)
        for y0, band in self.bands():
            out[y0 : y0 + len(band)] = band
        return out

    def fingerprint(self) -> RawFingerprint:
        """Return which bytes this image was made from; waits for them if needed.

        Raises
        ------
        RawFileNotFoundError
            If the file cannot be read any more.
        """
        return self._fingerprint()


@dataclass(frozen=True, slots=True, eq=False)
class RawPair:
    """The two images of a pair, of one dtype and with one channel decision.

    Attributes
    ----------
    post, pre : RawImage
        After and before staining.
    channels : tuple of int or None
        The channels whose sum is the signal, 0 = red; None for grey images.
    warnings : tuple of str
        What a careful reader would not expect.
    """

    post: RawImage
    pre: RawImage
    channels: tuple[int, ...] | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_arrays(
        cls,
        post: NDArray[Any],
        pre: NDArray[Any],
        post_path: Path | str | None = None,
        pre_path: Path | str | None = None,
        *,
        loader: str = "the loader",
    ) -> RawPair:
        """Wrap the arrays of a loader of one's own, checked like files.

        Parameters
        ----------
        post, pre : array_like, shape (rows, columns)
            The images, unsigned integers or floats, one dtype for both.
        post_path, pre_path : pathlib.Path or str, optional
            Files they came from. One that exists gives the fingerprint;
            otherwise the pixels do.
        loader : str
            Its name, for messages.

        Returns
        -------
        RawPair
            Without a channel decision, which was the loader's.

        Raises
        ------
        RawDataError
            If an image cannot be used or the two do not fit together.
        """
        names = [f"{loader}: {side}-stain image" for side in ("post", "pre")]
        (post, most_post), (pre, most_pre) = (
            check_array(array, name)
            for array, name in zip((post, pre), names, strict=True)
        )
        _check_fit(names[0], post.shape, post.dtype, names[1], pre.shape, pre.dtype)
        dtype = choose_dtype(np.dtype(post.dtype), max(most_post, most_pre))
        return cls(
            _array_image(post, post_path, dtype), _array_image(pre, pre_path, dtype)
        )


def open_image_pair(
    sample: str,
    dye: str,
    raw_dir: Path | str = "raw",
    *,
    monitor: Monitor | None = None,
) -> RawPair:
    """Find, check and open the two files of a pair, without loading them.

    All pixels are looked at once: for the channel means, for NaN and for the
    largest sum. The fingerprints are computed meanwhile.

    Parameters
    ----------
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.
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
        If a name is not safe as a folder name.

    Warns
    -----
    DataWarning
        For each of the pair's `warnings`.
    """
    pair = _open(sample, dye, raw_dir, monitor, background=True)
    for text in pair.warnings:
        warnings.warn(text, DataWarning, stacklevel=2)
    return pair


def load_image_pair(
    sample: str,
    dye: str,
    raw_dir: Path | str = "raw",
    *,
    monitor: Monitor | None = None,
) -> tuple[NDArray[Any], NDArray[Any], Path, Path]:
    """Find, check and load the two images of a pair.

    Parameters
    ----------
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.
    monitor : Monitor, optional
        Told the progress.

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
    pair = _open(sample, dye, raw_dir, monitor, background=False)
    for text in pair.warnings:
        warnings.warn(text, DataWarning, stacklevel=2)
    assert pair.post.path is not None
    assert pair.pre.path is not None
    return pair.post.read(), pair.pre.read(), pair.post.path, pair.pre.path


def _open(
    sample: str,
    dye: str,
    raw_dir: Path | str,
    monitor: Monitor | None,
    background: bool,
) -> RawPair:
    post_path, pre_path, notes = find_pair(sample, dye, raw_dir)
    post, pre = open_tiff(post_path), open_tiff(pre_path)
    _check_fit(
        str(post_path),
        post.shape,
        post.sample_dtype,
        str(pre_path),
        pre.shape,
        pre.sample_dtype,
    )
    jobs = [BackgroundFingerprint(path) for path in (post_path, pre_path) if background]
    try:
        pair = _decide(post, pre, monitor, jobs)
    except BaseException:
        for job in jobs:
            job.cancel()
        raise
    return RawPair(pair.post, pair.pre, pair.channels, notes + pair.warnings)


def _decide(
    post: TiffImage,
    pre: TiffImage,
    monitor: Monitor | None,
    jobs: list[BackgroundFingerprint],
) -> RawPair:
    found = [
        measure(image, None if monitor is None else monitor.part(0.5 * k, 0.5 * k + 0.5))
        for k, image in enumerate((post, pre))
    ]
    decision = decide_channels(
        *(_means(image, one) for image, one in zip((post, pre), found, strict=True))
    )
    sides = list(zip((post, pre), (decision.post, decision.pre), found, strict=True))
    largest = 0
    for image, samples, one in sides:
        if not any(one.lit[_colours(image).index(sample)] for sample in samples):
            raise RawDataError(
                f"{image.path}: every pixel of the signal is 0; check that it is the "
                "right file and was exported with its data"
            )
        if image.sample_dtype.kind != "f":
            limit = np.iinfo(image.sample_dtype).max
            most = one.largest
            if len(samples) > 1:
                most = largest_sum(image, samples, most, limit)
            largest = max(largest, most)
    stored = post.sample_dtype
    dtype = choose_dtype(stored, largest)
    notes = [*post.warnings, *pre.warnings, *decision.warnings]
    if stored.kind != "f" and dtype.itemsize > stored.itemsize:
        notes.append(
            f"sums of channels exceed {stored}; both images are widened to {dtype}"
        )
    images = []
    for k, (image, samples, _) in enumerate(sides):
        images.append(
            RawImage(
                image.path,
                image.shape,
                dtype,
                _planes_of(image, samples, dtype),
                jobs[k].result if jobs else _fingerprint_of(image.path),
            )
        )
    return RawPair(images[0], images[1], decision.channels, tuple(notes))


def _colours(image: TiffImage) -> tuple[int, ...]:
    return image.colour if image.table is None else (0, 1, 2)


def _means(image: TiffImage, found: Measured) -> ChannelMeans:
    return ChannelMeans(image.path.name, _colours(image), found.means)


def _planes_of(
    image: TiffImage, samples: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[[], Iterator[tuple[int, NDArray[Any]]]]:
    return lambda: signal_planes(image, samples, dtype)


def _fingerprint_of(path: Path) -> Callable[[], RawFingerprint]:
    return lambda: RawFingerprint.of(path)


def _check_fit(
    post_name: str,
    post_shape: tuple[int, ...],
    post_dtype: np.dtype[Any],
    pre_name: str,
    pre_shape: tuple[int, ...],
    pre_dtype: np.dtype[Any],
) -> None:
    """Refuse two images that cannot be a pair."""
    if post_dtype != pre_dtype:
        raise RawDataError(
            f"{post_name} has {post_dtype} pixels and {pre_name} has {pre_dtype}; "
            "export both with the same settings"
        )
    for a, b in zip(post_shape, pre_shape, strict=True):
        if max(a, b) > _MAX_SIDE_RATIO * min(a, b):
            sizes = " and ".join(
                f"{name} is {shape[1]} x {shape[0]} px"
                for name, shape in ((post_name, post_shape), (pre_name, pre_shape))
            )
            raise RawDataError(
                f"{sizes}; sides may differ by a factor of {_MAX_SIDE_RATIO:g} at most, "
                "check that both show the same section at the same magnification"
            )


def _array_image(
    array: Any, path: Path | str | None, dtype: np.dtype[Any]
) -> RawImage:
    file = None if path is None else Path(path)
    rows, columns = array.shape
    return RawImage(
        file,
        (int(rows), int(columns)),
        dtype,
        lambda: array_bands(array, dtype),
        _fingerprint_of(file)
        if file is not None and file.is_file()
        else lambda: fingerprint_array(array),
    )
