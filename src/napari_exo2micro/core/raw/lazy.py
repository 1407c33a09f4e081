"""A raw image as a viewer shows it, read where one looks."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import RawDataError
from napari_exo2micro.core.base.machine import require_memory
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.lazy import TOP_SIDE, LazyImage, Window
from napari_exo2micro.core.raw.pair import check_fit
from napari_exo2micro.core.raw.read import (
    Area,
    ChannelMeans,
    choose_dtype,
    decide_channels,
    decoded_bytes,
    read_samples,
    rows_read,
    segment_bytes,
)
from napari_exo2micro.core.raw.tiff import TiffImage, open_tiff

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

    Parameters
    ----------
    image : TiffImage
        The checked file.
    samples : tuple of int
        The samples whose sum is the signal.
    dtype : numpy.dtype
        Of the signal; must hold the largest sum.
    on_error : callable, optional
        Told the first error of reading; what cannot be read is then black. Without
        it the error is raised.
    """

    def __init__(
        self,
        image: TiffImage,
        samples: tuple[int, ...],
        dtype: np.dtype[Any],
        on_error: Callable[[RawDataError], None] | None = None,
    ) -> None:
        self.image = image
        self.samples = samples
        self.dtype = dtype
        self._on_error = on_error
        self._told = self._is_partial = False
        self._lock = threading.Lock()
        # step -> every step-th pixel of every step-th row of the whole image
        self._held: dict[int, NDArray[Any]] = {}

    @property
    def steps(self) -> list[int]:
        """The levels: 1, 2, 4, ... until the longest side is at most 1024 px."""
        steps = [1]
        while max(self._shape(steps[-1])) > TOP_SIDE:
            steps.append(2 * steps[-1])
        return steps

    @property
    def is_slow(self) -> bool:
        """Whether a look at a middle level decodes much, see `prepare`."""
        large = max(self.image.shape) > 2 * _SMALL_SIDE
        return self.image.contiguous is None and large

    def levels(self) -> list[LazyImage]:
        """Return all levels, full resolution first."""

        def level(step: int) -> LazyImage:
            def read(window: Window) -> NDArray[Any]:
                return self._read(window, step)

            return LazyImage(self._shape(step), self.dtype, read)

        return [level(step) for step in self.steps]

    def prepare(self, monitor: Monitor | None = None) -> None:
        """Decode a compressed file once and keep its middle levels, 100 MB at most.

        The levels can be read meanwhile.

        Parameters
        ----------
        monitor : Monitor, optional
            Told the progress, and asked whether to stop.

        Raises
        ------
        RawDataError
            If the file is damaged.
        """
        pixel = self.dtype.itemsize
        steps = [
            s for s in self.steps if math.prod(self._shape(s)) * pixel <= _HELD_BYTES
        ]
        if not (self.is_slow and steps):
            return
        if self._is_partial or min(self._held, default=steps[0] + 1) > steps[0]:
            self.hold(steps[0], self._sampled(self._whole(1), steps[0], monitor))

    def tell(self, error: RawDataError) -> None:
        """Hand an error of reading to `on_error`, the first one only.

        Parameters
        ----------
        error : RawDataError
            Raised where there is no `on_error`.
        """
        if self._on_error is None:
            raise error
        if not self._told:
            self._told = True
            self._on_error(error)

    def hold(
        self, step: int, pixels: NDArray[Any], *, is_partial: bool = False
    ) -> None:
        """Keep every `step`-th pixel of the whole image in memory.

        Parameters
        ----------
        step : int
            Distance of the pixels, px.
        pixels : ndarray
            The level.
        is_partial : bool
            Whether some of its rows are not read yet.
        """
        with self._lock:
            self._is_partial = is_partial
            coarser = [known for known in self._held if known % step == 0]
            for known in coarser:
                del self._held[known]
            self._held[step] = pixels

    def _shape(self, step: int) -> tuple[int, int]:
        height, width = self.image.shape
        return -(-height // step), -(-width // step)

    def _whole(self, step: int) -> Area:
        rows, columns = self._shape(step)
        return 0, rows, 0, columns

    def _read(self, window: Window, step: int) -> NDArray[Any]:
        """Return a window of a level."""
        try:
            if self._find_held(step) is None:
                self._hold_if_better(step)
            held = self._find_held(step)
            if held is not None:
                return held[window]
            rows, columns = window
            height, width = self.image.shape
            area = (
                rows.start * step,
                min((rows.stop - 1) * step + 1, height),
                columns.start * step,
                min((columns.stop - 1) * step + 1, width),
            )
            return self._sampled(area, step)
        except RawDataError as error:
            self.tell(error)
            shape = tuple(part.stop - part.start for part in window)
            return np.zeros(shape, self.dtype)

    def _find_held(self, step: int) -> NDArray[Any] | None:
        with self._lock:
            for known, pixels in self._held.items():
                if step % known == 0:
                    factor = step // known
                    return pixels[::factor, ::factor]
        return None

    def _hold_if_better(self, step: int) -> None:
        """Read a whole level where windows of it would cost as much."""
        if max(self._shape(step)) <= _SMALL_SIDE:
            self.hold(step, self._sampled(self._whole(1), step))
        elif segment_bytes(self.image) > _LARGE_SEGMENT:
            size = self.image.height * self.image.width * self.dtype.itemsize
            size += 2 * segment_bytes(self.image)
            require_memory(self.image.path, size, "an image compressed in one piece")
            self.hold(1, self._sampled(self._whole(1), 1))

    def _sampled(
        self, area: Area, step: int, monitor: Monitor | None = None
    ) -> NDArray[Any]:
        found = read_samples(self.image, self.samples, area, step, monitor)
        return _summed(found, self.dtype)


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
    post, pre = open_tiff(post_path), open_tiff(pre_path)
    check_fit(
        str(post.path),
        post.shape,
        post.sample_dtype,
        str(pre.path),
        pre.shape,
        pre.sample_dtype,
    )
    looks = (
        _Look(post, monitor.part(0.0, 0.5), quick),
        _Look(pre, monitor.part(0.5, 1.0), quick),
    )
    decision = decide_channels(looks[0].means, looks[1].means)
    chosen = (decision.post, decision.pre)
    largest = max(look.largest(own) for look, own in zip(looks, chosen, strict=True))
    dtype = choose_dtype(post.sample_dtype, largest)
    sides = []
    for look, samples in zip(looks, chosen, strict=True):
        levels = RawLevels(look.image, samples, dtype, on_error)
        signal = look.signal(samples, dtype)
        levels.hold(look.step, signal, is_partial=look.every > 1)
        sides.append(levels)
    return LazyPair(
        sides[0],
        sides[1],
        decision.channels,
        decision.channels is not None and any(look.step > 1 for look in looks),
        any(look.every > 1 for look in looks),
        (*post.warnings, *pre.warnings, *decision.warnings),
    )


class _Look:
    """Every n-th pixel of a file, all of them for a small one, with its colours."""

    def __init__(self, image: TiffImage, monitor: Monitor, quick: bool) -> None:
        self.image = image
        self.step = self.every = 1
        if image.height * image.width > _MEASURED_WHOLE:
            while max(image.shape) > self.step * _SMALL_SIDE:
                self.step *= 2
        area = (0, image.height, 0, image.width)
        if quick:
            self.every += decoded_bytes(image, area, self.step) // _QUICK_BYTES
        self._found = read_samples(
            image, image.colour, area, self.step, monitor, every=self.every
        )
        self._rows = rows_read(image, area, self.step, self.every)

    @property
    def means(self) -> ChannelMeans:
        """The mean of each colour."""
        found = np.nanmean(self._found[self._rows], axis=(0, 1), dtype=np.float64)
        means = tuple(float(mean) for mean in np.atleast_1d(found))
        return ChannelMeans(self.image.path.name, self.image.colour, means)

    def largest(self, samples: tuple[int, ...]) -> int:
        """Return the largest sum of some samples, or what none exceeds."""
        kind = self.image.sample_dtype
        if kind.kind == "f":
            return 0
        if self.step == 1:
            return int(self.signal(samples, np.dtype(np.float64)).max())
        return (
            int(np.iinfo(kind).max) * len(samples) if kind.itemsize <= 2 else _ANY_SUM
        )

    def signal(self, samples: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the sum of some samples."""
        colours = self.image.colour
        return _summed(self._found[..., [colours.index(s) for s in samples]], dtype)


def _summed(found: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the sum over the last axis, a contiguous plane."""
    total = np.array(found[..., 0], dtype)
    for index in range(1, found.shape[2]):
        np.add(total, found[..., index], out=total, casting="unsafe")
    return total
