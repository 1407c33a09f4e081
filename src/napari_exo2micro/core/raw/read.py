"""The signal of raw images: measured in one pass, decided for a pair, read in bands.

The first pass over a file digests its bytes, measures its channels and judges its
pixels. The second one, once the channels of the pair are decided, reads the signal.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import Monitor, RawDataError
from napari_exo2micro.core.base.files import stamp
from napari_exo2micro.core.images.missing import (
    LitBlocks,
    Missing,
    MissingSearch,
    lit_blocks,
)
from napari_exo2micro.core.raw import tiff
from napari_exo2micro.core.raw.fingerprint import RawFingerprint
from napari_exo2micro.core.raw.pages import COLOURS

#: A channel shows something when its brightest pixels stand so many times its noise
#: above its background, and by a share of what the brightest channel of its image does:
#: the colours of a JPEG leak into each other.
_LIT_NOISE, _LIT_SHARE = 8.0, 0.1
#: Of the pixels that are not 0: background, what is darker only by noise, brightest. %
_PERCENTILES = (0.1, 5.0, 99.9)
#: So many standard deviations of a Gaussian lie between the first two.
_BETWEEN = 1.445
#: Noise of integers is at least that of counting, grey levels.
_LEAST_NOISE = 1.0
#: Channels are judged by about so many pixels of a grid.
JUDGED = 1 << 20

_BAND_ROWS = 512
_MAX_ROWS = 1024
_FLOAT32_EXACT = 1 << 24


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
class Signal:
    """What a channel shows: grey levels above its background, and their noise."""

    contrast: float
    noise: float
    mean: float

    @property
    def is_clear(self) -> bool:
        """Whether there is more than background and noise."""
        return self.contrast > _LIT_NOISE * self.noise

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """Measure pixels, of any shape; zeros may be what was never scanned."""
        values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        lit = values[values != 0]
        if not lit.size:
            return cls(0.0, _LEAST_NOISE, 0.0)
        low, background, top = map(float, np.percentile(lit, _PERCENTILES))
        noise = (background - low) / _BETWEEN
        if values.dtype.kind != "f":
            noise = max(noise, _LEAST_NOISE)
        return cls(top - background, noise, float(values.mean(dtype=np.float64)))


@dataclass(frozen=True, slots=True)
class Measured:
    """What one pass over all pixels of a file gave; by sample of ``image.colour``.

    `largest` bounds all samples from above, 0 for floats; `peaks` does so for the areas
    where sums may need a wider type.
    """

    signals: Mapping[int, Signal]
    lit: frozenset[int]  # samples that are non-zero anywhere
    largest: int
    peaks: Mapping[tiff.Area, int]
    fingerprint: RawFingerprint | None  # None when the file was not digested
    is_negative: bool = False  # integers that are below 0 somewhere
    blank: int = 0  # pixels that are NaN
    missing: Missing | None = None  # where there are no data


def measure(
    image: tiff.TiffImage, monitor: Monitor | None = None, *, digest: bool = False
) -> Measured:
    """Read all pixels once, with `digest` for the fingerprint of the file, too.

    Raises
    ------
    RawDataError
        If the file is damaged, or holds infinite pixels.
    """
    dtype, colours = image.sample_dtype, image.colour
    monitor = monitor or Monitor()
    judged: dict[int, list[NDArray[Any]]] = {sample: [] for sample in colours}
    lit: set[int] = set()
    peaks: dict[tiff.Area, int] = {}
    largest = bad = blank = done = 0
    is_negative = False
    sha256 = hashlib.sha256() if digest else None
    pixels = image.height * image.width
    # each plane of a planar file is a pass of its own
    work = pixels * (len(colours) if image.planar else 1)
    step = max(1, math.isqrt(pixels // JUDGED)) if len(colours) > 1 else 0
    search = MissingSearch(image.shape)
    with image.reader(colours, sha256) as reader:
        status = stamp(image.path)  # before a pixel is read: a later change must show
        for area, (seen, lit_there) in reader.scan(partial(_look_at, image, step)):
            for sample, values in seen.grid.items():
                judged[sample].append(values)
            lit |= seen.lit
            bad += seen.bad
            blank += seen.blank
            is_negative |= seen.is_negative
            largest = max(largest, seen.peak)
            search.add(lit_there)
            if seen.peak * len(colours) > _narrow_limit(dtype):
                peaks[area] = max(seen.peak, peaks.get(area, 0))
            done += len(area[0]) * len(area[1])
            monitor.report(done / work, f"reading {image.path.name}")
    if bad:
        count = len(colours)
        which = f"{bad} of its {pixels * count} {'pixels' if count == 1 else 'samples'}"
        raise RawDataError(
            f"{image.path}: {which} are infinite; export it without them, for example "
            "with 0 instead"
        )
    fingerprint = None
    if sha256 is not None:
        fingerprint = RawFingerprint.seen(status, sha256.hexdigest())
    signals = {
        sample: Signal.of(np.concatenate([*values, np.empty(0, dtype)]))
        for sample, values in judged.items()
    }
    return Measured(
        signals,
        frozenset(lit),
        largest,
        peaks,
        fingerprint,
        is_negative,
        blank,
        _missing(image, search),
    )


def _missing(image: tiff.TiffImage, search: MissingSearch) -> Missing | None:
    """Return where a file has no data, as the image is seen."""
    height, width = image.shape
    # decoding a part of an image in one piece costs as much as all of it
    is_whole = image.contiguous is None and image.segment_rows >= image.height
    kept: list[NDArray[Any]] = []

    def read(rows: range) -> NDArray[Any]:
        if kept:
            return kept[0][rows.start : rows.stop : rows.step]
        with image.reader(image.colour) as reader:
            wanted = range(height) if is_whole else rows
            pixels: NDArray[Any] = reader.read((wanted, range(width))).max(axis=0)
        if not is_whole:
            return pixels
        kept.append(pixels)
        return read(rows)

    return search.result(read)


class _Seen(NamedTuple):
    """Of some pixels: those on a grid, which colours are lit, and of all of them."""

    grid: dict[int, NDArray[Any]]
    lit: set[int]
    peak: int
    bad: int
    blank: int
    is_negative: bool


def _look(
    colours: tuple[int, ...],
    step: int,
    area: tiff.Area,
    samples: tuple[int, ...],
    pixels: NDArray[Any],
) -> _Seen:
    """Look at pixels, shape (rows, columns, n), whose n samples are `samples`.

    With a step each so many-th row and column of the image are handed on.
    """
    kind, count = pixels.dtype.kind, pixels.shape[2]
    sums: Sequence[float]
    if count <= 4:  # channels of OpenCV's sum, which is exact for 8 and 16 bits
        sums = cv2.sumElems(np.ascontiguousarray(pixels))
    else:
        wide = np.float64 if kind == "f" else None
        sums = [pixels[..., index].sum(dtype=wide) for index in range(count)]
    grid: dict[int, NDArray[Any]] = {}
    lit, bad, blank, is_negative = set(), 0, 0, False
    rows, columns = (-part.start % step if step else 0 for part in area)
    for index, sample in enumerate(samples):
        if sample not in colours:
            continue
        total = float(sums[index]) if kind == "f" else int(sums[index])
        if step:  # a copy: the next pixels come into the same memory
            grid[sample] = pixels[rows::step, columns::step, index].flatten()
        if kind == "f" and math.isnan(total):
            unknown = np.isnan(pixels[..., index])
            blank += int(unknown.sum())
            bad += int(np.isinf(pixels[..., index]).sum())
            if (pixels[..., index][~unknown] != 0).any():
                lit.add(sample)
            continue
        if total != 0 or pixels[..., index].any():
            lit.add(sample)
        if kind == "f" and not math.isfinite(total):
            bad += int(np.isinf(pixels[..., index]).sum())
        elif kind == "i":
            is_negative |= bool((pixels[..., index] < 0).any())
    # the peak of grey pixels of 8 and 16 bits decides nothing
    is_asked = kind != "f" and (len(colours) > 1 or pixels.dtype.itemsize > 2)
    peak = int(pixels.max()) if is_asked else 0
    return _Seen(grid, lit, peak, bad, blank, is_negative)


def _look_at(
    image: tiff.TiffImage,
    step: int,
    area: tiff.Area,
    samples: tuple[int, ...],
    pixels: NDArray[Any],
) -> tuple[_Seen, LitBlocks]:
    """Look at pixels of a file for what `_look` tells, and for those that are 0."""
    seen = _look(image.colour, step, area, samples, pixels)
    own = [index for index, sample in enumerate(samples) if sample in image.colour]
    colours = pixels if len(own) == pixels.shape[2] else pixels[..., own]
    if image.orientation > 1 and not image.planes:
        area = image.seen_area(area)
        colours = np.moveaxis(image.oriented(np.moveaxis(colours, 2, 0)), 0, 2)
    return seen, lit_blocks(*area, colours)


def _narrow_limit(dtype: np.dtype[Any]) -> int:
    """Return the largest sum that stays in the pixel type of the file."""
    return 0xFF if dtype.itemsize == 1 else 0xFFFF


def largest_sum(
    image: tiff.TiffImage, samples: tuple[int, ...], measured: Measured
) -> int:
    """Return the largest sum of some samples, as far as `choose_dtype` needs it.

    Only the areas are read again where bright samples may add up to more than the
    pixel type of the file holds, until one does. 0 for floats.
    """
    dtype, limit = image.sample_dtype, _narrow_limit(image.sample_dtype)
    bound = measured.largest * len(samples)
    if dtype.kind == "f" or len(samples) == 1 or bound <= limit:
        return bound
    largest = 0
    wide = np.dtype(np.uint16 if dtype.itemsize == 1 else np.uint64)
    with image.reader(samples) as reader:
        for area, peak in measured.peaks.items():
            if peak * len(samples) > max(largest, limit):
                largest = max(largest, int(summed(reader.read(area), wide).max()))
            # the next type holds any sum of 8 or 16 bits
            if largest > limit and dtype.itemsize <= 2:
                break
    return largest


@dataclass(frozen=True, slots=True)
class ChannelDecision:
    """The samples whose sum is the signal.

    Those of `post` and `pre` differ only when one of them is grey; `channels` is None
    when both are. `warnings` are what a careful reader would not expect.
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
    return COLOURS[index] if index < len(COLOURS) else f"channel {index + 1}"


def decide_channels(
    post: Mapping[int, Signal],
    pre: Mapping[int, Signal],
    files: tuple[tiff.TiffImage, tiff.TiffImage],
) -> ChannelDecision:
    """Choose the channels that carry the signal of a pair.

    A channel counts when it shows more than its own background and noise in either
    image, the brightest one of both when none does. Only the colours of a picture are
    added up. A grey image takes part with its only channel. `post` and `pre` are what
    the colour samples of `files` show.

    Raises
    ------
    RawDataError
        If both have several channels, but not the same number, or if several show
        something and are no colours of a picture.
    """
    counts = len(post), len(pre)
    names = files[0].path.name, files[1].path.name
    if counts == (1, 1):
        chosen = next((own for own in (tuple(post), tuple(pre)) if own != (0,)), None)
        return ChannelDecision(tuple(post), tuple(pre), chosen)
    if 1 in counts:
        side = 1 if counts[0] == 1 else 0
        chosen = _choose((files[side],), (post, pre)[side])
        grey, coloured = names[1 - side], names[side]
        warning = (
            f"{grey} is grey and {coloured} has {max(counts)} "
            f"channels; its {_listed(chosen)} stands for the signal there"
        )
        own_post, own_pre = (
            tuple(own) if len(own) == 1 else chosen for own in (post, pre)
        )
        return ChannelDecision(own_post, own_pre, chosen, (warning,))
    if post.keys() != pre.keys():
        raise RawDataError(
            f"{names[0]} has {counts[0]} channels and {names[1]} has "
            f"{counts[1]}; export both with the same settings"
        )
    own_post, own_pre = _lit(post) or _brightest(post), _lit(pre) or _brightest(pre)
    chosen = _choose(files, post, pre)
    warnings = []
    if own_post != own_pre:
        warnings.append(
            f"alone, {names[0]} would use {_listed(own_post)} and {names[1]} "
            f"{_listed(own_pre)}; {_listed(chosen)} is used for both"
        )
    elif len(chosen) > 1:
        warnings.append(
            f"the signal of {names[0]} and {names[1]} is the sum of {_listed(chosen)}; "
            "choose one of them with --channel where the others are not of the dye"
        )
    left = tuple(
        sample
        for sample in post
        if sample not in chosen and max(post[sample].mean, pre[sample].mean) > 0.5
    )
    if left:
        warnings.append(
            f"{_listed(left)} of {names[0]} and {names[1]} is left out: nothing there "
            "stands out of the background like the signal"
        )
    return ChannelDecision(chosen, chosen, chosen, tuple(warnings))


def _lit(signals: Mapping[int, Signal]) -> tuple[int, ...]:
    """Return the samples that show something."""
    most = max(signal.contrast for signal in signals.values())
    return tuple(
        sample
        for sample, signal in signals.items()
        if signal.is_clear and signal.contrast >= _LIT_SHARE * most
    )


def _brightest(*images: Mapping[int, Signal]) -> tuple[int, ...]:
    def light(sample: int) -> tuple[float, float]:
        own = [image[sample] for image in images]
        return sum(one.contrast for one in own), sum(one.mean for one in own)

    return (max(images[0], key=light),)


def _choose(
    files: Sequence[tiff.TiffImage], *images: Mapping[int, Signal]
) -> tuple[int, ...]:
    lit = {sample for image in images for sample in _lit(image)}
    if len(lit) > 1 and (separate := [file for file in files if file.separate]):
        listed = ", ".join(
            f"{sample + 1} ({_name(separate[0], sample)}, up to "
            f"{max(image[sample].contrast for image in images):.4g} above its "
            "background)"
            for sample in images[0]
        )
        raise RawDataError(
            f"{separate[0].path}: has {len(images[0])} channels, and more than one of "
            f"them shows something: {listed}; choose one with --channel (parameters "
            "channel and pre_channel), or their sum with --channel sum"
        )
    return tuple(sorted(lit)) or _brightest(*images)


def _name(image: tiff.TiffImage, sample: int) -> str:
    names = image.names
    return names[sample] if sample < len(names) else channel_name(sample)


def _listed(channels: Sequence[int]) -> str:
    return " + ".join(channel_name(index) for index in channels)


def choose_dtype(
    stored: np.dtype[Any], largest: int, is_negative: bool = False
) -> np.dtype[Any]:
    """Return the smallest pixel type of the pipeline that holds all values.

    uint8, uint16, float32 (exact up to 2**24) or float64; `stored` is that of the
    samples in the file, `largest` the largest value or sum of both images, which
    floats ignore.
    """
    if stored.kind == "f":
        return np.dtype(np.float64 if stored.itemsize == 8 else np.float32)
    if is_negative:
        is_exact = stored.itemsize <= 2 and largest <= _FLOAT32_EXACT
        return np.dtype(np.float32 if is_exact else np.float64)
    if stored.itemsize == 1 and largest <= 0xFF:
        return np.dtype(np.uint8)
    if largest <= 0xFFFF:
        return np.dtype(np.uint16)
    return np.dtype(np.float32 if largest <= _FLOAT32_EXACT else np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """One image of a pair, read a band of rows at a time."""

    path: Path | None  # None for an array without a file
    shape: tuple[int, int]  # rows, columns
    dtype: np.dtype[Any]  # uint8, uint16, float32 or float64, native byte order
    fingerprint: Callable[[], RawFingerprint]  # of the file, or of the pixels
    _planes: Callable[[], Iterator[tuple[int, NDArray[Any]]]]
    missing: Missing | None = None  # where there are no data

    def bands(self, max_rows: int = _MAX_ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows from top to bottom.

        Yields
        ------
        y0 : int
            First row of the band.
        band : numpy.ndarray, shape (rows, columns)
            At most `max_rows` of the signal, contiguous; not overwritten later.

        Raises
        ------
        RawDataError
            If the file is damaged, or changes while it is read.
        """
        for y0, plane in self._planes():
            for row in range(0, len(plane), max_rows):
                yield y0 + row, plane[row : row + max_rows]

    def read(self) -> NDArray[Any]:
        """Return the whole signal, shape (rows, columns).

        Raises
        ------
        RawDataError
            If it does not fit in memory, or the file is damaged.
        """
        size = self.shape[0] * self.shape[1] * self.dtype.itemsize
        tiff.require_memory(self.path or Path("image"), size, "the whole image")
        out = np.empty(self.shape, self.dtype)
        for y0, band in self.bands():
            out[y0 : y0 + len(band)] = band
        return out


def file_image(
    image: tiff.TiffImage,
    samples: tuple[int, ...],
    dtype: np.dtype[Any],
    measured: Measured,
) -> RawImage:
    """Return the signal of a checked file: the sum of samples, which `dtype` must hold.

    NaN becomes 0, and any other constant where there are no data. A fingerprint that
    was not made is when it is asked for.
    """
    missing = measured.missing

    def all_bands(reader: tiff.TiffReader) -> Iterator[tuple[int, NDArray[Any]]]:
        for y0, planes in reader.blocks():
            if measured.blank:
                np.nan_to_num(planes, copy=False, nan=0.0)
            # a turned image has its columns side by side in memory
            yield y0, np.ascontiguousarray(summed(planes, dtype))

    def bands() -> Iterator[tuple[int, NDArray[Any]]]:
        with image.reader(samples) as reader:
            if missing is None or not missing.fills:
                yield from all_bands(reader)
                return
            values = [
                summed(reader.read(fill.area), dtype)[0, 0] for fill in missing.fills
            ]
            yield from missing.emptied(all_bands(reader), values)

    def mark() -> RawFingerprint:
        return measured.fingerprint or RawFingerprint.of(image.path)

    return RawImage(image.path, image.shape, dtype, mark, bands, measured.missing)


def array_image(
    array: Any,
    file: Path | str | None,
    dtype: np.dtype[Any],
    fingerprint: RawFingerprint,
    missing: Missing | None,
) -> RawImage:
    """Return a checked array as an image.

    `file` is the one that it came from, whose fingerprint is that of the image if it
    exists; otherwise it is `fingerprint`, that of the pixels.
    """
    path = Path(file) if file else None

    def all_bands() -> Iterator[tuple[int, NDArray[Any]]]:
        for y0, band in _array_bands(array):
            yield y0, band.astype(dtype, copy=False)

    def bands() -> Iterator[tuple[int, NDArray[Any]]]:
        if missing is None:
            return all_bands()
        return missing.emptied(all_bands(), [fill.value for fill in missing.fills])

    def mark() -> RawFingerprint:
        return RawFingerprint.of(path) if path and path.exists() else fingerprint

    rows, columns = array.shape
    return RawImage(path, (int(rows), int(columns)), dtype, mark, bands, missing)


def _array_bands(array: Any) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield all rows of anything that can be sliced, contiguous, native byte order."""
    for y0 in range(0, array.shape[0], _BAND_ROWS):
        band = np.asarray(array[y0 : y0 + _BAND_ROWS])
        yield y0, np.ascontiguousarray(band, band.dtype.newbyteorder("="))


def check_array(
    array: Any, name: str
) -> tuple[Any, int, RawFingerprint, Missing | None]:
    """Refuse an array that cannot be an image of a pair, with a `RawDataError`.

    `name` tells loader and side in messages. Returns the array, or one made from a
    list; its largest value as far as `choose_dtype` needs it; the fingerprint of its
    shape, type and pixels; and where it has no data.
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
    if rows < tiff.MIN_SIDE or columns < tiff.MIN_SIDE:
        raise RawDataError(
            f"{name}: {columns} x {rows} px are too few to align; at least "
            f"{tiff.MIN_SIDE} x {tiff.MIN_SIDE} px are needed"
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
    is_lit = False
    search = MissingSearch((rows, columns))
    for y0, band in _array_bands(array):
        sha256.update(band.data)
        size += band.nbytes
        area = range(band.shape[0]), range(band.shape[1])
        seen = _look((0,), 0, area, (0,), band[..., np.newaxis])
        search.add(lit_blocks(range(y0, y0 + len(band)), area[1], band))
        largest = max(largest, seen.peak)
        bad += seen.bad + seen.blank
        if seen.is_negative:
            bad += int((band < 0).sum())
        is_lit = is_lit or bool(seen.lit)
    if bad:
        what = "NaN or infinite" if dtype.kind == "f" else "negative"
        raise RawDataError(
            f"{name}: {bad} of its {rows * columns} pixels are {what}; return an "
            "image without them"
        )
    if not is_lit:
        raise RawDataError(f"{name}: every pixel is 0; return the image's data")

    def read(rows: range) -> NDArray[Any]:
        return np.asarray(array[rows.start : rows.stop : rows.step])

    fingerprint = RawFingerprint(size, 0, sha256.hexdigest())
    return array, largest, fingerprint, search.result(read)
