"""A raw pair as a viewer shows it, read where one looks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import Monitor, RawDataError
from napari_exo2micro.core.images.lazy import TOP_SIDE, LazyImage, Window
from napari_exo2micro.core.raw import pair, tiff
from napari_exo2micro.core.raw.read import (
    JUDGED,
    Signal,
    choose_dtype,
    decide_channels,
    summed,
)

#: Levels up to this side stay in memory once they were read.
_SMALL_SIDE = 2048
#: Bytes of the middle levels of a compressed file that are kept in memory.
_HELD_BYTES = 100_000_000
#: A compressed strip or tile of more bytes is not decoded for every look.
_LARGE_SEGMENT = 64_000_000
#: A quick look decodes about so many bytes.
_QUICK_BYTES = 200_000_000
#: Channels of images of up to so many pixels are chosen from all of them.
_MEASURED_WHOLE = 1 << 24
#: No sum of samples exceeds it as far as `choose_dtype` is concerned.
_ANY_SUM = 1 << 53


class RawLevels:
    """The signal of one raw file at full resolution and in smaller levels.

    A smaller level is every 2nd, 4th, 8th, ... pixel of every such row. From an
    uncompressed file only these rows are read; of a compressed one the strips or
    tiles are decoded that hold them. Levels of up to 2048 px stay in memory.

    The signal is the sum of `samples`, which `dtype` must hold. `on_error` is told the
    first error of reading, and what cannot be read is black; without it the error is
    raised.
    """

    def __init__(
        self,
        image: tiff.TiffImage,
        samples: tuple[int, ...],
        dtype: np.dtype[Any],
        on_error: Callable[[RawDataError], None] | None = None,
    ) -> None:
        self.image = image
        self.samples = samples
        self.dtype = dtype
        self._on_error = on_error
        self._is_told = False
        self._kept: _Kept | None = None

    @property
    def is_slow(self) -> bool:
        """Whether a look at a middle level decodes much, see `prepare`."""
        large = max(self.image.shape) > 2 * _SMALL_SIDE
        return self.image.contiguous is None and large

    def levels(self) -> list[LazyImage]:
        """Return all levels, full resolution first.

        The longest side of the last one is at most 1024 px.
        """
        levels: list[LazyImage] = []
        while not levels or max(levels[-1].shape) > TOP_SIDE:
            number = len(levels)
            rows, columns = _places(self.image, number)
            shape = (len(rows), len(columns))
            read = partial(self._read, number)
            levels.append(LazyImage(shape, self.dtype, read, strided=True))
        return levels

    def prepare(self, monitor: Monitor | None = None) -> None:
        """Decode a compressed file once and keep its middle levels, 100 MB at most.

        The levels can be read meanwhile. A damaged file is a `RawDataError`.
        """
        if not self.is_slow:
            return
        number = 0
        while math.prod(map(len, _places(self.image, number))) > (
            _HELD_BYTES // self.dtype.itemsize
        ):
            number += 1
        kept = self._kept
        if kept is None or kept.is_partial or kept.number > number:
            self.keep(number, self._sampled(_places(self.image, number), monitor))

    def tell(self, error: RawDataError) -> None:
        """Hand an error of reading to `on_error`, the first one only, or raise it."""
        if self._on_error is None:
            raise error
        if not self._is_told:
            self._is_told = True
            self._on_error(error)

    def keep(
        self, number: int, pixels: NDArray[Any], *, is_partial: bool = False
    ) -> None:
        """Keep a level, every 2**number-th pixel, that smaller ones are taken from.

        Of a partial one some rows are not read yet.
        """
        self._kept = _Kept(number, pixels, is_partial)

    def _read(self, number: int, window: Window) -> NDArray[Any]:
        """Return a window of a level."""
        rows, columns = (
            places[part]
            for places, part in zip(_places(self.image, number), window, strict=True)
        )
        try:
            kept = self._kept
            if kept is None or kept.number > number:
                self._keep_if_better(number)
                kept = self._kept
            if kept is None or kept.number > number:
                return self._sampled((rows, columns))
            step = 1 << (number - kept.number)
            return kept.pixels[::step, ::step][window]
        except RawDataError as error:
            self.tell(error)
            return np.zeros((len(rows), len(columns)), self.dtype)

    def _keep_if_better(self, number: int) -> None:
        """Read a whole level where windows of it would cost as much."""
        area = _places(self.image, number)
        if max(map(len, area)) <= _SMALL_SIDE:
            self.keep(number, self._sampled(area))
        elif self.image.segment_bytes > _LARGE_SEGMENT:
            size = self.image.height * self.image.width * self.dtype.itemsize
            size += 2 * self.image.segment_bytes
            tiff.require_memory(
                self.image.path, size, "an image compressed in one piece"
            )
            self.keep(0, self._sampled(_places(self.image, 0)))

    def _sampled(self, area: tiff.Area, monitor: Monitor | None = None) -> NDArray[Any]:
        with self.image.reader(self.samples) as reader:
            return summed(reader.read(area, monitor=monitor), self.dtype)


class _Kept(NamedTuple):
    """A level in memory."""

    number: int
    pixels: NDArray[Any]
    is_partial: bool


def _places(image: tiff.TiffImage, number: int) -> tiff.Area:
    """Return the rows and columns of the image that a level consists of."""
    height, width = image.shape
    return range(0, height, 1 << number), range(0, width, 1 << number)


@dataclass(frozen=True, slots=True, eq=False)
class LazyPair:
    """Both images of a pair, to look at.

    Attributes
    ----------
    post, pre : RawLevels
        After and before staining.
    channels : tuple of int or None
        The channels whose sum is shown, 0 = red; None for grey images.
    is_estimate : bool
        Whether the channels were chosen from a part of the pixels; stage 1 looks at
        all of them.
    is_partial : bool
        Whether small levels are black where nothing was decoded yet, until
        `RawLevels.prepare` was called for both images.
    warnings : tuple of str
        What a careful reader would not expect.
    """

    post: RawLevels
    pre: RawLevels
    channels: tuple[int, ...] | None
    is_estimate: bool
    is_partial: bool = False
    warnings: tuple[str, ...] = ()


def open_lazy_pair(
    post_path: Path | str,
    pre_path: Path | str,
    choices: pair.Choices = (None, None),
    *,
    on_error: Callable[[RawDataError], None] | None = None,
    monitor: Monitor | None = None,
    quick: bool = False,
) -> LazyPair:
    """Open two raw files to look at.

    The channels are chosen by the rule of `core.raw.open_image_pair`: from all
    pixels of images of up to 16 million, and from evenly spaced ones of larger
    images.

    Parameters
    ----------
    post_path, pre_path : pathlib.Path or str
        The files.
    choices : pair of ImageChoice or None
        Which image of each, where it holds several.
    on_error : callable, optional
        See `RawLevels`.
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.
    quick : bool
        Decode a part only of a compressed file that would take long, see
        `LazyPair.is_partial`.

    Returns
    -------
    LazyPair
        Both images.

    Raises
    ------
    RawFileNotFoundError
        If a file does not exist.
    RawDataError
        If a file cannot be used, or the two do not fit together.
    """
    monitor = monitor or Monitor()
    images = pair.open_fitting(post_path, pre_path, choices)
    looks = [
        _Look(image, monitor.part(side / 2, (side + 1) / 2), quick)
        for side, image in enumerate(images)
    ]
    post, pre = looks
    decision = decide_channels(post.signals, pre.signals, images)
    largest = max(post.largest(decision.post), pre.largest(decision.pre))
    is_negative = post.is_negative or pre.is_negative
    dtype = choose_dtype(post.image.sample_dtype, largest, is_negative)
    return LazyPair(
        post.levels(decision.post, dtype, on_error),
        pre.levels(decision.pre, dtype, on_error),
        decision.channels,
        decision.channels is not None and any(look.number > 0 for look in looks),
        any(look.every > 1 for look in looks),
        (*post.image.warnings, *pre.image.warnings, *decision.warnings),
    )


def _thinned(plane: NDArray[Any]) -> NDArray[Any]:
    """Return as many pixels of a grid as a channel is judged by."""
    step = max(1, math.isqrt(plane.size // JUDGED))
    return plane[::step, ::step]


class _Look:
    """Every n-th pixel of a file, all of them for a small one, with its colours."""

    def __init__(self, image: tiff.TiffImage, monitor: Monitor, quick: bool) -> None:
        self.image = image
        self.number = 0
        if image.height * image.width > _MEASURED_WHOLE:
            while max(image.shape) > _SMALL_SIDE << self.number:
                self.number += 1
        area = _places(image, self.number)
        decoded = tiff.decoded_bytes(image, area) if quick else 0
        self.every = 1 if image.is_turned else 1 + decoded // _QUICK_BYTES
        with image.reader(image.colour) as reader:
            self._planes = reader.read(area, every=self.every, monitor=monitor)
            rows = reader.rows_read(area[0], self.every)
        self.signals = {
            sample: Signal.of(_thinned(plane[rows]))
            for sample, plane in zip(image.colour, self._planes, strict=True)
        }
        self.is_negative = image.sample_dtype.kind == "i" and (
            self.number > 0 or bool((self._planes < 0).any())
        )

    def largest(self, samples: tuple[int, ...]) -> int:
        """Return the largest sum of some samples, or what none exceeds."""
        dtype = self.image.sample_dtype
        if dtype.kind == "f":
            return 0
        if self.number == 0:
            return int(self._signal(samples, np.dtype(np.float64)).max())
        if dtype.itemsize > 2:
            return _ANY_SUM
        return int(np.iinfo(dtype).max) * len(samples)

    def levels(
        self,
        samples: tuple[int, ...],
        dtype: np.dtype[Any],
        on_error: Callable[[RawDataError], None] | None,
    ) -> RawLevels:
        """Return the levels of the file, of which this one is in memory."""
        levels = RawLevels(self.image, samples, dtype, on_error)
        signal = self._signal(samples, dtype)
        levels.keep(self.number, signal, is_partial=self.every > 1)
        return levels

    def _signal(self, samples: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        chosen = [self.image.colour.index(sample) for sample in samples]
        return summed(self._planes[chosen], dtype)
