"""The two images of a pair: checked together, with one decision for both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_exo2micro.core.errors import RawDataError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw.arrays import check_array
from napari_exo2micro.core.raw.channels import ChannelMeans, decide_channels
from napari_exo2micro.core.raw.fingerprint import BackgroundFingerprint
from napari_exo2micro.core.raw.images import RawImage, array_image, file_image
from napari_exo2micro.core.raw.signal import (
    Measured,
    choose_dtype,
    largest_sum,
    measure,
)
from napari_exo2micro.core.raw.tiff import TiffImage, open_tiff

__all__ = ["RawPair"]

_MAX_SIDE_RATIO = 3.0


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
    def from_files(
        cls,
        post_path: Path,
        pre_path: Path,
        *,
        monitor: Monitor | None = None,
        background: bool = True,
        notes: tuple[str, ...] = (),
    ) -> RawPair:
        """Check and open two TIFF files.

        Parameters
        ----------
        post_path, pre_path : pathlib.Path
            The files.
        monitor : Monitor, optional
            Told the progress.
        background : bool
            Compute the fingerprints meanwhile, instead of when they are asked
            for.
        notes : tuple of str
            Warnings to put before the pair's own.

        Returns
        -------
        RawPair
            Both images, to be read band by band.

        Raises
        ------
        RawDataError
            If a file cannot be used, or the two do not fit together.
        """
        post, pre = open_tiff(post_path), open_tiff(pre_path)
        check_fit(
            str(post_path),
            post.shape,
            post.sample_dtype,
            str(pre_path),
            pre.shape,
            pre.sample_dtype,
        )
        jobs = [
            BackgroundFingerprint(image.path) for image in (post, pre) if background
        ]
        try:
            found = _measure(post, pre, monitor)
            decision = decide_channels(_means(post, found[0]), _means(pre, found[1]))
            _check_lit(post, decision.post, found[0])
            _check_lit(pre, decision.pre, found[1])
            largest = max(
                _largest(post, decision.post, found[0]),
                _largest(pre, decision.pre, found[1]),
            )
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
        dtype = choose_dtype(post.sample_dtype, largest)
        widened = _widening(post.sample_dtype, dtype, decision.post)
        return cls(
            file_image(post, decision.post, dtype, jobs[0] if jobs else None),
            file_image(pre, decision.pre, dtype, jobs[1] if jobs else None),
            decision.channels,
            (*notes, *post.warnings, *pre.warnings, *decision.warnings, *widened),
        )

    @classmethod
    def from_arrays(
        cls,
        post: Any,
        pre: Any,
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
        check_fit(names[0], post.shape, post.dtype, names[1], pre.shape, pre.dtype)
        dtype = choose_dtype(np.dtype(post.dtype), max(most_post, most_pre))
        return cls(
            array_image(post, post_path, dtype),
            array_image(pre, pre_path, dtype),
            warnings=_widening(np.dtype(post.dtype), dtype, (0,)),
        )


def _measure(
    post: TiffImage, pre: TiffImage, monitor: Monitor | None
) -> tuple[Measured, Measured]:
    if monitor is None:
        return measure(post), measure(pre)
    return measure(post, monitor.part(0.0, 0.5)), measure(pre, monitor.part(0.5, 1.0))


def _means(image: TiffImage, found: Measured) -> ChannelMeans:
    return ChannelMeans(image.path.name, image.colour, found.means)


def _check_lit(image: TiffImage, samples: tuple[int, ...], found: Measured) -> None:
    if not any(found.lit[image.colour.index(sample)] for sample in samples):
        raise RawDataError(
            f"{image.path}: every pixel of the signal is 0; check that it is the right "
            "file and was exported with its data"
        )


def _largest(image: TiffImage, samples: tuple[int, ...], found: Measured) -> int:
    """Return an upper bound of the signal that tells whether it fits its type."""
    if image.sample_dtype.kind == "f":
        return 0
    if len(samples) == 1:
        return found.largest
    return largest_sum(image, samples, found.largest)


def _widening(
    stored: np.dtype[Any], dtype: np.dtype[Any], samples: tuple[int, ...]
) -> tuple[str, ...]:
    """Return the warning that pixels get another type than they have in the file."""
    if stored.kind == "f" or (dtype.kind != "f" and dtype.itemsize <= stored.itemsize):
        return ()
    what = "sums of channels" if len(samples) > 1 else "pixels"
    limit = 0xFF if dtype.itemsize == 2 else 0xFFFF
    exact = "2**24" if dtype.itemsize == 4 else "2**53"
    note = f" (exact up to {exact})" if dtype.kind == "f" else ""
    return (f"{what} exceed {limit}; both images are widened to {dtype}{note}",)


def check_fit(
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
                f"{sizes}; sides may differ by a factor of {_MAX_SIDE_RATIO:g}, check "
                "that both show the same section at the same magnification"
            )
