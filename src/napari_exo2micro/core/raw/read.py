"""The pixels of raw files: looked at once as a whole, read in bands or in windows.

The first pass over a file digests its bytes, measures its channels and judges its
pixels. The second one, once the channels of the pair are decided, reads the signal.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import RawDataError, RawFileNotFoundError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.raw.fingerprint import RawFingerprint
from napari_exo2micro.core.raw.tiff import (
    MIN_SIDE,
    TiffImage,
    require_memory,
    tiff_errors,
)

#: A channel whose mean exceeds this carries signal.
SIGNAL_MEAN = 0.5

# bytes of a block: many enough for few calls, few enough for any machine
_BLOCK_BYTES = 1 << 24
_CHUNK = 1 << 20
_WORKERS = min(4, os.cpu_count() or 1)
#: Segments read and decoded at a time, so that few compressed ones wait in memory.
_BATCH = 8 * _WORKERS
_TOLD_EVERY = 16
_BAND_ROWS = 512
_MAX_ROWS = 1024
_FLOAT32_EXACT = 1 << 24
_NAMES = ("red", "green", "blue")

#: Rows and columns, px of the file; with a step only some of them.
Area = tuple[range, range]

T = TypeVar("T")


class TiffReader:
    """Reads samples of a checked TIFF file; a context manager, for one thread.

    Parameters
    ----------
    image : TiffImage
        The file.
    samples : sequence of int
        The wanted samples of a pixel, out of ``image.colour``.
    digest : hash object, optional
        `scan` gives it every byte of the file, in order.

    Raises
    ------
    RawFileNotFoundError
        If the file is gone.
    """

    def __init__(
        self, image: TiffImage, samples: Sequence[int], digest: Any = None
    ) -> None:
        self._image = image
        self._digest, self._digested = digest, 0
        self._samples = tuple(samples)
        # a palette's colours are all made from its only sample
        self._stored = self._samples if image.table is None else image.stored_colour
        try:
            self._file = image.path.open("rb")
        except OSError as error:
            raise RawFileNotFoundError(
                f"{image.path}: cannot be opened ({error.strerror}); check the file"
            ) from error
        self._pool = ThreadPoolExecutor(_WORKERS)
        self._batch, plain = _BATCH, 0
        if image.contiguous is not None:
            self._batch, plain = 1, max(image.byte_counts)
        self._buffer = memoryview(bytearray(plain))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        self._file.close()

    @property
    def block_rows(self) -> int:
        """Rows that are handy to read at a time: whole strips or tiles."""
        high = self._image.segment_rows
        return high * max(1, _BLOCK_BYTES // (self._image.row_bytes * high))

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows from top to bottom.

        Yields
        ------
        y0 : int
            First row.
        planes : numpy.ndarray, shape (samples, rows, columns)
            Nobody overwrites them later.

        Raises
        ------
        RawDataError
            If the file is damaged, or changes while it is read.
        """
        height, step = self._image.height, self.block_rows
        for y0 in range(0, height, step):
            rows = range(y0, min(y0 + step, height))
            yield y0, self.read((rows, range(self._image.width)))
        self._check_unchanged()

    def read(
        self, area: Area, *, every: int = 1, monitor: Monitor | None = None
    ) -> NDArray[Any]:
        """Read some pixels.

        From an uncompressed file only the wanted rows are read; of a compressed one
        only the strips or tiles are decoded that hold them.

        Parameters
        ----------
        area : tuple of range
            Rows and columns, px, not empty.
        every : int
            Of a compressed file decode each `every`-th row of strips or tiles only;
            the others are 0, see `rows_read`.
        monitor : Monitor, optional
            Told the progress.

        Returns
        -------
        numpy.ndarray, shape (samples, rows, columns), dtype ``image.sample_dtype``
            The samples in the order asked for.

        Raises
        ------
        RawDataError
            If the file is damaged.
        """
        image, monitor = self._image, monitor or Monitor()
        rows, columns = area
        make = np.empty if every == 1 else np.zeros
        out = make((len(self._stored), len(rows), len(columns)), image.dtype)
        with tiff_errors(image.path, _unreadable(rows)):
            is_whole = rows.step == 1 and len(columns) == image.width
            if image.contiguous is None or (
                is_whole and rows.start % image.segment_rows == 0
            ):
                self._read_segments(area, out, every, monitor)
            else:
                self._read_rows(area, out, monitor)
            if image.white is not None:
                np.subtract(image.dtype.type(image.white), out, out=out)
            if image.table is None:
                return out
            colours = image.table[np.minimum(out[0], len(image.table) - 1)]
            return np.stack([colours[..., sample] for sample in self._samples])

    def scan(
        self, look: Callable[[tuple[int, ...], NDArray[Any]], T]
    ) -> Iterator[tuple[Area, T]]:
        """Look at all wanted pixels once, in the order in which the file holds them.

        Parameters
        ----------
        look : callable
            Takes which sample of a pixel each of n is, and the pixels, shape
            (rows, columns, n); samples that are not wanted may come along. It may be
            called from several threads.

        Yields
        ------
        area : tuple of range
            Rows and columns, px.
        seen : object
            What `look` returned for them.

        Raises
        ------
        RawDataError
            If the file is damaged, or changes while it is read.
        """
        image = self._image
        high, wide = image.segment_rows, image.segment_columns
        segments = [
            (plane, down, across)
            for plane in self._planes
            for down in range(image.down)
            for across in range(image.across)
        ]
        segments.sort(key=lambda segment: image.offsets[self._index(segment)])

        def see(segment: tuple[int, int, int], data: bytes | memoryview | None) -> T:
            return self._seen(look, segment[0], self._decoded(data, segment))

        for begin in range(0, len(segments), self._batch):
            batch = segments[begin : begin + self._batch]
            tops = [down * high for _, down, _ in batch]
            rows = range(min(tops), min(max(tops) + high, image.height))
            with tiff_errors(image.path, _unreadable(rows)):
                seen = self._map(see, batch)
            for (_, down, across), result in zip(batch, seen, strict=True):
                yield (
                    (
                        range(down * high, min((down + 1) * high, image.height)),
                        range(across * wide, min((across + 1) * wide, image.width)),
                    ),
                    result,
                )
        self._digest_up_to(self._image.size)
        self._check_unchanged()

    def rows_read(self, rows: range, every: int) -> NDArray[np.bool_]:
        """Return which of some rows `read` fills when it is told `every`."""
        high = self._image.segment_rows
        if self._image.contiguous is not None:
            return np.ones(len(rows), bool)
        return np.isin(np.asarray(rows) // high, _segments_of(rows, high)[::every])

    def _check_unchanged(self) -> None:
        image = self._image
        try:
            status = image.path.stat()
            now = status.st_size, status.st_mtime_ns
        except OSError:
            now = (0, 0)
        if now != (image.size, image.mtime_ns):
            raise RawDataError(
                f"{image.path}: changed while it was read; wait until it is complete "
                "and run again"
            )

    def _bytes(self, offset: int, count: int) -> bytes | memoryview:
        """Return bytes of the file; those of plain pixels until others are read."""
        self._digest_up_to(offset)
        self._file.seek(offset)
        data: bytes | memoryview
        if self._image.contiguous is None:
            data = self._file.read(count)
        else:  # fresh pages of memory would cost more than reading
            size = self._file.readinto(self._buffer[:count])
            data = self._buffer[:size]
        if len(data) < count:
            raise EOFError(f"the file ends {count - len(data)} bytes too early")
        if self._digest is not None:
            # strips or tiles that share their bytes count once
            self._digest.update(memoryview(data)[self._digested - offset :])
            self._digested = max(self._digested, offset + count)
        return data

    def _digest_up_to(self, end: int) -> None:
        """Read what lies between the pixels, for the digest."""
        if self._digest is None:
            return
        self._file.seek(self._digested)
        while self._digested < end and (
            chunk := self._file.read(min(_CHUNK, end - self._digested))
        ):
            self._digest.update(chunk)
            self._digested += len(chunk)

    @property
    def _planes(self) -> tuple[int, ...]:
        """Planes of the file that are read: those of the samples, or all in one."""
        return self._stored if self._image.planar else (0,)

    def _samples_of(self, plane: int) -> tuple[int, ...]:
        if self._image.planar:
            return (plane,)
        return tuple(range(self._image.samples))

    def _read_rows(self, area: Area, out: NDArray[Any], monitor: Monitor) -> None:
        """Read parts of rows of a plain file, and nothing else."""
        image, (rows, columns) = self._image, area
        assert image.contiguous is not None
        left, width = columns[0], columns[-1] + 1 - columns[0]
        size, row_bytes = width * image.pixel_bytes, image.width * image.pixel_bytes
        places = [
            (plane, number, (plane * image.height + row) * row_bytes)
            for plane in self._planes
            for number, row in enumerate(rows)
        ]
        start = image.contiguous + left * image.pixel_bytes
        if hasattr(os, "posix_fadvise"):
            # rows that lie far apart would be waited for one by one
            for _, _, offset in places:
                os.posix_fadvise(
                    self._file.fileno(), start + offset, size, os.POSIX_FADV_WILLNEED
                )
        for done, (plane, number, offset) in enumerate(places):
            if done % _TOLD_EVERY == 0:
                monitor.report(done / len(places), f"reading {image.path.name}")
            row = np.frombuffer(self._bytes(start + offset, size), image.stored)
            pixels = row.reshape(1, width, -1)[:, :: columns.step]
            self._place(out[:, number : number + 1], plane, pixels)

    def _place(self, out: NDArray[Any], plane: int, pixels: NDArray[Any]) -> None:
        """Put the wanted ones of n samples, shape (rows, columns, n), into `out`."""
        of_plane = self._samples_of(plane)
        for target, sample in zip(out, self._stored, strict=True):
            if sample in of_plane:
                target[...] = pixels[..., of_plane.index(sample)]

    def _read_segments(
        self, area: Area, out: NDArray[Any], every: int, monitor: Monitor
    ) -> None:
        image, (rows, columns) = self._image, area
        high, wide = image.segment_rows, image.segment_columns
        jobs = [
            (plane, down, across)
            for plane in self._planes
            for down in _segments_of(rows, high)[::every]
            for across in _segments_of(columns, wide)
        ]

        def place(job: tuple[int, int, int], data: bytes | memoryview | None) -> None:
            plane, down, across = job
            pixels = self._decoded(data, job)
            own_rows, from_rows = _overlap(rows, down * high, (down + 1) * high)
            own_columns, from_columns = _overlap(
                columns, across * wide, (across + 1) * wide
            )
            target = out[:, own_rows, own_columns]
            self._place(target, plane, pixels[from_rows, from_columns])

        for begin in range(0, len(jobs), self._batch):
            monitor.report(begin / len(jobs), f"reading {image.path.name}")
            self._map(place, jobs[begin : begin + self._batch])

    def _index(self, segment: tuple[int, int, int]) -> int:
        plane, down, across = segment
        return (plane * self._image.down + down) * self._image.across + across

    def _map(
        self,
        function: Callable[[tuple[int, int, int], bytes | memoryview | None], T],
        segments: Sequence[tuple[int, int, int]],
    ) -> list[T]:
        """Call a function with each strip or tile and its bytes, side by side."""
        if len(segments) == 1:
            return [function(segments[0], self._segment(segments[0]))]
        data = [self._segment(segment) for segment in segments]
        return list(self._pool.map(function, segments, data))

    def _segment(self, segment: tuple[int, int, int]) -> bytes | memoryview | None:
        """Return the bytes of a strip or tile; None when the file has none."""
        index = self._index(segment)
        offset, count = self._image.offsets[index], self._image.byte_counts[index]
        return self._bytes(offset, count) if offset and count else None

    def _decoded(
        self, data: bytes | memoryview | None, segment: tuple[int, int, int]
    ) -> NDArray[Any]:
        """Return the pixels of a strip or tile that lie in the image."""
        image = self._image
        _, down, across = segment
        rows = min(image.segment_rows, image.height - down * image.segment_rows)
        columns = min(
            image.segment_columns, image.width - across * image.segment_columns
        )
        count = 1 if image.planar else image.samples
        if data is None:
            return np.zeros((rows, columns, count), image.dtype)
        pixels = image.decode(data, self._index(segment))[:rows, :columns]
        if pixels.dtype.kind == "b" or not pixels.dtype.isnative:
            pixels = pixels.astype(image.dtype)
        if pixels.dtype != image.dtype or pixels.shape != (rows, columns, count):
            raise ValueError(
                f"{pixels.dtype} pixels of shape {pixels.shape} where {image.dtype} "
                f"of shape {(rows, columns, count)} are declared"
            )
        return pixels

    def _seen(
        self,
        look: Callable[[tuple[int, ...], NDArray[Any]], T],
        plane: int,
        pixels: NDArray[Any],
    ) -> T:
        image = self._image
        if image.white is not None:
            pixels = image.dtype.type(image.white) - pixels
        if image.table is None:
            return look(self._samples_of(plane), pixels)
        index = np.minimum(pixels[..., 0], len(image.table) - 1)
        return look((0, 1, 2), image.table[index])


def _unreadable(rows: range) -> str:
    return f"its rows {rows[0]} to {rows[-1]} cannot be read"


def _segments_of(places: range, size: int) -> list[int]:
    """Return the numbers of the strips or tiles that hold some rows or columns."""
    return sorted({place // size for place in places})


def _overlap(places: range, start: int, stop: int) -> tuple[slice, slice]:
    """Return which of `places` lie in start..stop, and where they lie there."""
    first, end = (
        min(max(-(-(edge - places.start) // places.step), 0), len(places))
        for edge in (start, stop)
    )
    here = slice(places[first] - start, places[end - 1] - start + 1, places.step)
    return slice(first, end), here


def decoded_bytes(image: TiffImage, area: Area) -> int:
    """Return how many bytes reading an area decodes; 0 for an uncompressed file."""
    rows = _segments_of(area[0], image.segment_rows)
    columns = _segments_of(area[1], image.segment_columns)
    return len(rows) * len(columns) * image.segment_bytes


def summed(planes: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the sum of planes, shape (n, rows, columns); `dtype` must hold it.

    Memory of the first plane may be used.
    """
    total: NDArray[Any] = planes[0].astype(dtype, copy=False)
    for plane in planes[1:]:
        # the addends may be narrower than the sum, never wider
        np.add(total, plane, out=total, casting="unsafe")
    return total


@dataclass(frozen=True, slots=True)
class Measured:
    """What one pass over all pixels of a file found.

    Attributes
    ----------
    means : tuple of float
        Of each colour sample, exact for 8 and 16 bits.
    lit : tuple of bool
        Whether each colour sample is non-zero anywhere.
    largest : int
        Upper bound of all colour samples; 0 for floats.
    peaks : mapping
        Area to the upper bound in it, where sums may need a wider type.
    fingerprint : RawFingerprint or None
        Of the file, when it was digested.
    """

    means: tuple[float, ...]
    lit: tuple[bool, ...]
    largest: int
    peaks: Mapping[Area, int]
    fingerprint: RawFingerprint | None


def measure(
    image: TiffImage, monitor: Monitor | None = None, *, digest: bool = False
) -> Measured:
    """Read all pixels once, and refuse those that nothing can be done with.

    Parameters
    ----------
    image : TiffImage
        The checked file.
    monitor : Monitor, optional
        Told the progress.
    digest : bool
        Make the fingerprint in the same pass.

    Returns
    -------
    Measured
        Of each colour sample, in the order of ``image.colour``.

    Raises
    ------
    RawDataError
        If the file is damaged, or holds NaN, infinite or negative integer pixels.
    """
    dtype, colours = image.sample_dtype, image.colour
    monitor = monitor or Monitor()
    totals: dict[int, float] = dict.fromkeys(colours, 0)
    lit: set[int] = set()
    peaks: dict[Area, int] = {}
    largest = bad = done = 0
    sha256 = hashlib.sha256() if digest else None
    fingerprint: RawFingerprint | None = None
    pixels = image.height * image.width
    # each plane of a planar file is a pass of its own
    work = pixels * (len(colours) if image.planar else 1)
    with TiffReader(image, colours, sha256) as reader:
        for area, seen in reader.scan(partial(_look, colours)):
            for sample, total, is_lit in seen.samples:
                totals[sample] += total
                if is_lit:
                    lit.add(sample)
            bad += seen.bad
            largest = max(largest, seen.peak)
            if seen.peak * len(colours) > _narrow_limit(dtype):
                peaks[area] = max(seen.peak, peaks.get(area, 0))
            done += len(area[0]) * len(area[1])
            monitor.report(done / work, f"reading {image.path.name}")
    if bad:
        count = len(colours)
        kind = "NaN or infinite" if dtype.kind == "f" else "negative"
        which = f"{bad} of its {pixels * count} {'pixels' if count == 1 else 'samples'}"
        raise RawDataError(
            f"{image.path}: {which} are {kind}; export it without them, for example "
            "with 0 instead"
        )
    if sha256 is not None:
        fingerprint = RawFingerprint(image.size, image.mtime_ns, sha256.hexdigest())
    return Measured(
        tuple(totals[sample] / pixels for sample in colours),
        tuple(sample in lit for sample in colours),
        largest,
        peaks,
        fingerprint,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of some pixels: (sample, sum, lit) of each colour, and of all of them."""

    samples: list[tuple[int, float, bool]]
    peak: int
    bad: int


def _look(
    colours: tuple[int, ...], samples: tuple[int, ...], pixels: NDArray[Any]
) -> _Seen:
    kind, count = pixels.dtype.kind, pixels.shape[2]
    sums: Sequence[float]
    if count <= 4:  # channels of OpenCV's sum, which is exact for 8 and 16 bits
        sums = cv2.sumElems(np.ascontiguousarray(pixels))
    else:
        wide = np.float64 if kind == "f" else None
        sums = [pixels[..., index].sum(dtype=wide) for index in range(count)]
    result, bad = [], 0
    for index, sample in enumerate(samples):
        if sample not in colours:
            continue
        total = float(sums[index]) if kind == "f" else int(sums[index])
        is_lit = total != 0 or bool(pixels[..., index].any())
        result.append((sample, total, is_lit))
        if kind == "f" and not math.isfinite(total):
            bad += int((~np.isfinite(pixels[..., index])).sum())
        elif kind == "i":
            bad += int((pixels[..., index] < 0).sum())
    # the peak of grey pixels of 8 and 16 bits decides nothing
    is_asked = kind != "f" and (len(colours) > 1 or pixels.dtype.itemsize > 2)
    return _Seen(result, int(pixels.max()) if is_asked else 0, bad)


def _narrow_limit(dtype: np.dtype[Any]) -> int:
    """Return the largest sum that stays in the pixel type of the file."""
    return 0xFF if dtype.itemsize == 1 else 0xFFFF


def largest_sum(image: TiffImage, samples: tuple[int, ...], measured: Measured) -> int:
    """Return the largest sum of some samples, as far as `choose_dtype` needs it.

    Only the places are read again where bright samples may add up to more than the
    pixel type of the file holds, until one is found that does.

    Parameters
    ----------
    image : TiffImage
        The checked file.
    samples : tuple of int
        Which samples are summed.
    measured : Measured
        Of all colours.

    Returns
    -------
    int
        The largest sum, or a number that asks for the same pixel type; 0 for floats.
    """
    dtype, limit = image.sample_dtype, _narrow_limit(image.sample_dtype)
    bound = measured.largest * len(samples)
    if dtype.kind == "f" or len(samples) == 1 or bound <= limit:
        return bound
    largest = 0
    wide = np.dtype(np.uint16 if dtype.itemsize == 1 else np.uint64)
    with TiffReader(image, samples) as reader:
        for area, peak in measured.peaks.items():
            if peak * len(samples) > max(largest, limit):
                largest = max(largest, int(summed(reader.read(area), wide).max()))
            # the next type holds any sum of 8 or 16 bits
            if largest > limit and dtype.itemsize <= 2:
                break
    return largest


@dataclass(frozen=True, slots=True)
class ChannelMeans:
    """The colour channels of one image.

    Attributes
    ----------
    name : str
        The file, for messages.
    samples : tuple of int
        Which samples of a pixel are colours; alpha is not among them.
    means : tuple of float
        The mean of each over all pixels.
    """

    name: str
    samples: tuple[int, ...]
    means: tuple[float, ...]

    @property
    def is_grey(self) -> bool:
        """There is nothing to choose from."""
        return len(self.samples) == 1


@dataclass(frozen=True, slots=True)
class ChannelDecision:
    """The samples whose sum is the signal.

    Attributes
    ----------
    post, pre : tuple of int
        For each image; the same for both unless one of them is grey.
    channels : tuple of int or None
        The decision; None when both images are grey.
    warnings : tuple of str
        What a careful reader would not expect.
    """

    post: tuple[int, ...]
    pre: tuple[int, ...]
    channels: tuple[int, ...] | None
    warnings: tuple[str, ...] = ()


def channel_name(index: int) -> str:
    """Return the name of a channel for a person.

    Parameters
    ----------
    index : int
        Counted from 0.

    Returns
    -------
    str
        ``'red'``, ``'green'``, ``'blue'``, ``'channel 4'``, ...
    """
    return _NAMES[index] if index < len(_NAMES) else f"channel {index + 1}"


def decide_channels(post: ChannelMeans, pre: ChannelMeans) -> ChannelDecision:
    """Choose the channels that carry the signal of a pair.

    A channel counts when its mean exceeds 0.5 in either image. Several are
    summed. When none does, the one with the highest mean of both is taken.

    Parameters
    ----------
    post, pre : ChannelMeans
        The two images.

    Returns
    -------
    ChannelDecision
        One decision for both; a grey image takes part with its only channel.

    Raises
    ------
    RawDataError
        If both have several channels, but not the same number.

    Examples
    --------
    >>> post = ChannelMeans("post.tif", (0, 1, 2), (0.0, 7.1, 0.1))
    >>> pre = ChannelMeans("pre.tif", (0, 1, 2), (0.0, 3.0, 0.2))
    >>> decide_channels(post, pre).channels
    (1,)
    """
    if post.is_grey and pre.is_grey:
        return ChannelDecision(post.samples, pre.samples, None)
    if post.is_grey or pre.is_grey:
        grey, coloured = (post, pre) if post.is_grey else (pre, post)
        chosen = _choose([coloured.means], coloured.samples)
        warning = (
            f"{grey.name} is grey and {coloured.name} has {len(coloured.samples)} "
            f"channels; its {_listed(chosen)} stands for the signal there"
        )
        sides = (grey.samples, chosen) if post.is_grey else (chosen, grey.samples)
        return ChannelDecision(*sides, chosen, (warning,))
    if post.samples != pre.samples:
        raise RawDataError(
            f"{post.name} has {len(post.samples)} channels and {pre.name} has "
            f"{len(pre.samples)}; export both with the same settings"
        )
    chosen = _choose([post.means, pre.means], post.samples)
    own_post = _choose([post.means], post.samples)
    own_pre = _choose([pre.means], pre.samples)
    if own_post == own_pre:
        return ChannelDecision(chosen, chosen, chosen)
    warning = (
        f"alone, {post.name} would use {_listed(own_post)} and {pre.name} "
        f"{_listed(own_pre)}; {_listed(chosen)} is used for both"
    )
    return ChannelDecision(chosen, chosen, chosen, (warning,))


def _choose(
    means: Sequence[tuple[float, ...]], samples: tuple[int, ...]
) -> tuple[int, ...]:
    lit = tuple(
        sample
        for index, sample in enumerate(samples)
        if any(image[index] > SIGNAL_MEAN for image in means)
    )
    if lit:
        return lit
    totals = [sum(image[index] for image in means) for index in range(len(samples))]
    return (samples[totals.index(max(totals))],)


def _listed(channels: Sequence[int]) -> str:
    return " + ".join(channel_name(index) for index in channels)


def choose_dtype(stored: np.dtype[Any], largest: int) -> np.dtype[Any]:
    """Return the smallest pixel type of the pipeline that holds all values.

    Parameters
    ----------
    stored : numpy.dtype
        Of the samples in the file.
    largest : int
        Largest value or sum of both images; not looked at for floats.

    Returns
    -------
    numpy.dtype
        uint8, uint16, float32 (exact up to 2**24) or float64.
    """
    if stored.kind == "f":
        return np.dtype(np.float64 if stored.itemsize == 8 else np.float32)
    if stored.itemsize == 1 and largest <= 0xFF:
        return np.dtype(np.uint8)
    if largest <= 0xFFFF:
        return np.dtype(np.uint16)
    return np.dtype(np.float32 if largest <= _FLOAT32_EXACT else np.float64)


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
        ValueError
            If `max_rows` is less than 1.
        """
        if max_rows < 1:
            raise ValueError(f"a band needs at least one row, not {max_rows}")
        for y0, plane in self._planes():
            for row in range(0, len(plane), max_rows):
                yield y0 + row, plane[row : row + max_rows]

    def read(self) -> NDArray[Any]:
        """Return the whole image.

        Returns
        -------
        numpy.ndarray, shape (rows, columns)
            The signal, native byte order.

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

        Returns
        -------
        RawFingerprint
            Of the file, or of the array's pixels.

        Raises
        ------
        RawFileNotFoundError
            If the file cannot be read any more.
        """
        return self._fingerprint()


def file_image(
    image: TiffImage,
    samples: tuple[int, ...],
    dtype: np.dtype[Any],
    fingerprint: RawFingerprint | None = None,
) -> RawImage:
    """Return the signal of a checked file.

    Parameters
    ----------
    image : TiffImage
        The file.
    samples : tuple of int
        The samples whose sum is the signal.
    dtype : numpy.dtype
        Of the signal; must hold the largest sum.
    fingerprint : RawFingerprint, optional
        Of the file; otherwise it is made when it is asked for.
    """

    def bands() -> Iterator[tuple[int, NDArray[Any]]]:
        with TiffReader(image, samples) as reader:
            for y0, planes in reader.blocks():
                yield y0, summed(planes, dtype)

    return RawImage(
        image.path,
        image.shape,
        dtype,
        bands,
        lambda: fingerprint or RawFingerprint.of(image.path),
    )


def array_image(
    array: Any, path: Path | None, dtype: np.dtype[Any], fingerprint: RawFingerprint
) -> RawImage:
    """Return a checked array as an image.

    Parameters
    ----------
    array : array_like, shape (rows, columns)
        The pixels.
    path : pathlib.Path or None
        The file they came from: its fingerprint, if it exists, is the image's.
    dtype : numpy.dtype
        Of the signal.
    fingerprint : RawFingerprint
        Of the pixels.
    """
    rows, columns = array.shape

    def bands() -> Iterator[tuple[int, NDArray[Any]]]:
        for y0, band in _array_bands(array):
            yield y0, band.astype(dtype, copy=False)

    return RawImage(
        path,
        (int(rows), int(columns)),
        dtype,
        bands,
        lambda: RawFingerprint.of(path) if path and path.is_file() else fingerprint,
    )


def _array_bands(array: Any) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield all rows of anything that can be sliced, contiguous, native byte order."""
    for y0 in range(0, array.shape[0], _BAND_ROWS):
        band = np.asarray(array[y0 : y0 + _BAND_ROWS])
        yield y0, np.ascontiguousarray(band, band.dtype.newbyteorder("="))


def check_array(array: Any, name: str) -> tuple[Any, int, RawFingerprint]:
    """Refuse an array that cannot be an image of a pair.

    Parameters
    ----------
    array : array_like
        What the loader gave.
    name : str
        Loader and side, for messages.

    Returns
    -------
    array : array_like, shape (rows, columns)
        The same, or an array made from a list.
    largest : int
        Its largest value; 0 for floats.
    fingerprint : RawFingerprint
        Of its shape, type and pixels.

    Raises
    ------
    RawDataError
        If it is not 2-D, too small, not a number type of the pipeline, all
        zero, or holds NaN, infinite or negative integer pixels.
    """
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        try:
            array = np.asarray(array)
        except (TypeError, ValueError) as error:
            raise RawDataError(
                f"{name}: a 2-D array is wanted, found {type(array).__name__}; "
                "return arrays from the loader"
            ) from error
    if len(array.shape) != 2:
        raise RawDataError(
            f"{name}: a 2-D array is wanted, found shape {tuple(array.shape)}; choose "
            "one channel or sum them in the loader"
        )
    rows, columns = array.shape
    if rows < MIN_SIDE or columns < MIN_SIDE:
        raise RawDataError(
            f"{name}: {columns} x {rows} px are too few to align; at least "
            f"{MIN_SIDE} x {MIN_SIDE} px are needed"
        )
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise RawDataError(
            f"{name}: pixels of type {dtype} are not supported; return unsigned "
            "integers or floats from the loader"
        )
    kind = dtype.newbyteorder("=").name
    sha256 = hashlib.sha256(f"{tuple(array.shape)} {kind}".encode())
    largest = bad = size = 0
    lit = False
    for _, band in _array_bands(array):
        sha256.update(band.data)
        size += band.nbytes
        lit = lit or bool(band.any())
        if dtype.kind == "f":
            bad += int((~np.isfinite(band)).sum())
        else:
            largest = max(largest, int(band.max()))
            bad += int((band < 0).sum()) if dtype.kind == "i" else 0
    if bad:
        what = "NaN or infinite" if dtype.kind == "f" else "negative"
        raise RawDataError(
            f"{name}: {bad} of its {rows * columns} pixels are {what}; return an "
            "image without them"
        )
    if not lit:
        raise RawDataError(f"{name}: every pixel is 0; return the image's data")
    return array, largest, RawFingerprint(size, 0, sha256.hexdigest())
