"""How images are shown: brightness, colours, and two images in one picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.images.lazy import LazyImage, Window

#: Colours of a difference from the lowest to the highest value, black at zero.
DIFFERENCE_STOPS = (
    (0.0, "#c8ecff"),
    (0.2, "#3fa7e8"),
    (0.36, "#1b4f9c"),
    (0.5, "#000000"),
    (0.64, "#a33a06"),
    (0.8, "#f39b1d"),
    (1.0, "#fff3b0"),
)

#: Ranges are read from a level of at most this side, px.
_SIDE: Final = 2048

#: So many percent of the pixels with signal are not brighter than full brightness.
_BRIGHTEST: Final = 99.8
#: Per cent of all pixels that may be darker than black.
_DARKEST: Final = 0.5
#: Part of the range in which bare glass lies.
_GLASS_SHARE: Final = 0.1

#: Shades of a look for images whose values are not whole numbers.
_SHADES: Final = 1024

#: Steps of whole levels on which the picture's first pixel lies.
_GRID_LEVELS: Final = 6

#: The last level is for a viewer's thumbnail: nobody looks at it closely.
_THUMBNAIL_SIDE: Final = 64

_Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How grey levels are coloured.

    Attributes
    ----------
    colours : ndarray, shape (N, 3) or (N, 4), uint8
        From the darkest to the brightest shade, red, green, blue.
    low, high : float
        Grey levels of the first and the last colour.
    gamma : float
        The colour of a value is that of ``fraction ** gamma``, with its fraction
        of the way from `low` to `high`.
    """

    colours: NDArray[np.uint8]
    low: float
    high: float
    gamma: float = 1.0
    _tables: dict[int, _Words] = field(default_factory=dict, init=False, repr=False)

    def painted(self, pixels: NDArray[Any]) -> _Words:
        """Return the colours of pixels: red, green, blue, alpha, the bytes of a word.

        What is no number is drawn like `low`.
        """
        dtype = pixels.dtype
        if dtype.kind == "u" and dtype.itemsize <= 2:
            return np.take(self._table(dtype.itemsize), pixels)
        shades = np.array(pixels, dtype=np.float32)
        shades -= np.float32(self.low)
        shades *= np.float32((_SHADES - 1) / self._span)
        shades = np.nan_to_num(shades, copy=False, nan=0.0)
        np.clip(shades, 0, _SHADES - 1, out=shades)
        return np.take(self._table(0), np.rint(shades, out=shades).astype(np.uint16))

    def _table(self, size: int) -> _Words:
        """Return the colour of each value of `size` bytes; 0: that of each shade."""
        if size not in self._tables:
            fractions = np.linspace(0, 1, _SHADES)
            if size:
                values = np.arange(1 << (8 * size), dtype=np.float64)
                fractions = (values - self.low) / self._span
            last = len(self.colours) - 1
            index = np.rint(np.clip(fractions, 0, 1) ** self.gamma * last).astype(int)
            opaque = np.full((len(index), 4), 255, np.uint8)
            opaque[:, :3] = self.colours[index, :3]
            self._tables[size] = opaque.view(np.uint32)[:, 0]
        return self._tables[size]

    @property
    def _span(self) -> float:
        return max(self.high - self.low, 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two images.

    Attributes
    ----------
    levels : sequence of array_like
        A grey image and its smaller levels, full resolution first; each further
        one is smaller by a whole number.
    offset : tuple of float
        (row, column) of its first pixel's centre in the common coordinates, px.
    look : Look
        Its colours.
    """

    levels: Sequence[Any]
    offset: tuple[float, float]
    look: Look

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns at full resolution."""
        rows, columns = self.levels[0].shape
        return int(rows), int(columns)

    def level(self, number: int) -> tuple[Any, int]:
        """Return the image and the step that a level of 2**number px is made from."""
        wanted = 1 << number
        best = (self.levels[0], wanted)
        for level in self.levels[1:]:
            ratios = {
                max(round(full / part), 1)
                for full, part in zip(self.shape, level.shape, strict=True)
                if part > 4
            }
            if len(ratios) == 1:
                factor = ratios.pop()
                if factor <= wanted and wanted % factor == 0:
                    best = (level, wanted // factor)
        return best


@dataclass(frozen=True, slots=True)
class Split:
    """Which parts of the picture show which image.

    Attributes
    ----------
    kind : {'columns', 'rows', 'checkerboard'}
        The first image is left of the curtain, above it, or in every second
        square, the one that begins at (0, 0) among them.
    position : float
        Where the curtain hangs: column or row in the common coordinates, px.
    square : int
        Side of a square, px.
    """

    kind: Literal["columns", "rows", "checkerboard"] = "columns"
    position: float = 0.0
    square: int = 512


class Composite:
    """Two images in one picture that is made window by window.

    `first`, `second` and `split` may be replaced at any time; what is read
    afterwards follows. Both images keep their places when they are replaced by
    others of the same size and offset, for example with another look.

    Parameters
    ----------
    first, second : Side
        The two images.
    split : Split
        Which parts of the picture show which image.

    Attributes
    ----------
    origin : tuple of float
        (row, column) in the common coordinates of the picture's first pixel.
    levels : list of LazyImage, shape (rows, columns, 4), uint8
        Red, green, blue and alpha, full resolution first; alpha is 0 where the
        image to be shown has no pixels. Each level is half as large as the one
        before; the last is no longer than 64 px.

    Notes
    -----
    An image whose offset is not a whole number of a level's pixels from the first
    one's is interpolated linearly on that level, so that both lie on one another
    as exactly as at full resolution. The first one never is.

    Examples
    --------
    >>> import numpy as np
    >>> grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    >>> look = Look(grey, 0, 255)
    >>> dark, bright = (np.full((8, 8), v, np.uint8) for v in (10, 200))
    >>> sides = [Side([image], (0.0, 0.0), look) for image in (dark, bright)]
    >>> picture = Composite(*sides, Split("columns", position=3.0)).levels[0]
    >>> picture[0, :8, 0].tolist()
    [10, 10, 10, 200, 200, 200, 200, 200]
    """

    def __init__(self, first: Side, second: Side, split: Split) -> None:
        self.first, self.second, self.split = first, second, split
        last = 0
        low = np.minimum(first.offset, second.offset)
        high = np.maximum(
            np.add(first.offset, first.shape), np.add(second.offset, second.shape)
        )
        while (high - low).max() > _THUMBNAIL_SIDE << last:
            last += 1
        step = 1 << min(last, _GRID_LEVELS)
        # Whole steps from the first image, so that this one is never interpolated.
        start = np.asarray(first.offset) - step * np.ceil(
            (np.asarray(first.offset) - low) / step
        )
        rows, columns = (
            int(step * math.ceil((e - s) / step))
            for s, e in zip(start, high, strict=True)
        )
        self.origin = (float(start[0]), float(start[1]))
        self._painted: dict[int, tuple[Side, int, Window, _Words]] = {}
        self.levels = [
            LazyImage(
                (-(-rows >> number), -(-columns >> number), 4),
                np.uint8,
                partial(self._read, number),
            )
            for number in range(last + 1)
        ]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns at full resolution."""
        return self.levels[0].shape[0], self.levels[0].shape[1]

    def _read(self, number: int, window: Window) -> NDArray[np.uint8]:
        """Return a window of one level."""
        split = self.split
        colours = []
        for key, side in enumerate((self.first, self.second)):
            # A curtain that moves reads and colours nothing again.
            last = self._painted.get(key)
            if last is None or last[:3] != (side, number, window):
                painted = _painted_window(side, self.origin, window, number)
                last = self._painted[key] = side, number, window, painted
            colours.append(last[3])
        first, result = colours[0], colours[1].copy()
        centres = [
            start + (np.arange(part.start, part.stop) + 0.5) * (1 << number) - 0.5
            for start, part in zip(self.origin, window, strict=True)
        ]
        if split.kind == "checkerboard":
            size = max(int(split.square), 1)
            rows, columns = (np.floor(c / size).astype(np.int64) % 2 for c in centres)
            for parity in (0, 1):
                of_first = columns == parity
                np.copyto(result, first, where=(rows == parity)[:, None] & of_first)
        elif split.kind == "rows":
            end = int(np.searchsorted(centres[0], split.position))
            result[:end] = first[:end]
        else:
            end = int(np.searchsorted(centres[1], split.position))
            result[:, :end] = first[:, :end]
        return result.view(np.uint8).reshape(*result.shape, 4)


def _painted_window(
    side: Side, origin: tuple[float, float], window: Window, number: int
) -> _Words:
    """Return an image's colours in a window of the picture, 0 where it has none."""
    image, step = side.level(number)
    factor = 1 << number
    shape = [-(-length // step) for length in image.shape]
    parts, targets, shifts = [], [], []
    for axis, part in enumerate(window):
        place = (side.offset[axis] - origin[axis]) / factor
        whole = math.floor(place)
        shift = place - whole
        if min(shift, 1 - shift) < 1e-6:
            whole, shift = round(place), 0.0
        # Pixels of the picture that lie on the image, at least by half.
        start = max(part.start, whole + round(shift))
        stop = min(part.stop, whole + round(shift) + shape[axis])
        targets.append(slice(start - part.start, max(stop, start) - part.start))
        parts.append((start - whole, max(stop, start) - whole))
        shifts.append(shift)
    result = np.zeros([part.stop - part.start for part in window], np.uint32)
    if any(start >= stop for start, stop in parts):
        return result
    pixels = _taken(image, step, parts, shifts)
    result[targets[0], targets[1]] = side.look.painted(pixels)
    return result


def _taken(
    image: Any, step: int, parts: Sequence[tuple[int, int]], shifts: Sequence[float]
) -> NDArray[Any]:
    """Return a part of a level, moved by fractions of a pixel to higher numbers."""
    keys, places = [], []
    for (start, stop), shift, length in zip(parts, shifts, image.shape, strict=True):
        count = -(-length // step)
        # What is moved is a mean of each pixel and the one before it.
        first = max(start - 1, 0) if shift else start
        last = min(stop, count)
        half = min(step // 2, length - 1 - (last - 1) * step)
        keys.append(slice(first * step + half, (last - 1) * step + half + 1, step))
        places.append(np.arange(start, stop) - first)
    pixels: NDArray[Any] = np.asarray(image[keys[0], keys[1]])
    if not any(shifts):
        return pixels
    moved = pixels.astype(np.float32)
    for axis, (shift, place) in enumerate(zip(shifts, places, strict=True)):
        if shift:
            weight, end = np.float32(shift), moved.shape[axis] - 1
            here, before = (
                moved.take(np.clip(place - back, 0, end), axis) for back in (0, 1)
            )
            moved = (1 - weight) * here + weight * before
    return np.rint(moved).astype(pixels.dtype) if pixels.dtype.kind == "u" else moved


def brightness_range(levels: Sequence[LazyImage]) -> tuple[float, float]:
    """Return the grey levels to show as black and as full brightness.

    Parameters
    ----------
    levels : sequence of LazyImage
        The image, full resolution first; one level of at most 2048 px is read.

    Returns
    -------
    low, high : float
        See `brightness_limits`.
    """
    return brightness_limits(_sample(levels))


def brightness_limits(
    values: ArrayLike, percentiles: tuple[float, float] = (_DARKEST, _BRIGHTEST)
) -> tuple[float, float]:
    """Return the grey levels to show as black and as full brightness.

    Parameters
    ----------
    values : array_like
        Grey levels of any type, signed ones too. Zeros are no data and do not count,
        nor does what is not finite.
    percentiles : tuple of float
        What of all is darker than black, and what of the section is not brighter than
        white. Bare glass, what lies in the lowest tenth of the range, is no section:
        however much of the frame it fills, the section looks the same.

    Returns
    -------
    low, high : float
        `low` follows the pedestal; `high` is above it.

    Examples
    --------
    >>> glass, section = [1000] * 5000, range(1200, 2200)
    >>> low, high = brightness_limits([*glass, *section])
    >>> low, round(high)
    (1000.0, 2197)
    """
    pixels = np.asarray(values).ravel()
    pixels = pixels[np.isfinite(pixels) & (pixels != 0)]
    if not len(pixels):
        return 0.0, 1.0
    low, top = map(float, np.percentile(pixels, percentiles))
    section = pixels[pixels > low + _GLASS_SHARE * (top - low)]
    high = float(np.percentile(section, percentiles[1])) if len(section) else top
    if low == high:
        low = min(low, 0.0)
    return low, max(high, low + 1e-6 * max(abs(low), 1.0))


def symmetric_range(levels: Sequence[LazyImage]) -> tuple[float, float]:
    """Return the range of a difference image, centred on zero.

    As `brightness_range`, but symmetric: ``-high``, and what 99.8 % of the values that
    are not 0 stay within.
    """
    high = _brightest(np.abs(_sample(levels)), 1.0)
    return -high, high


def _sample(levels: Sequence[LazyImage]) -> NDArray[np.float64]:
    """Return the finite values of the finest level that is read at once."""
    small = next((level for level in levels if max(level.shape) <= _SIDE), levels[-1])
    values = np.asarray(small, dtype=np.float64).ravel()
    return values[np.isfinite(values)]


def _brightest(values: NDArray[np.float64], default: float) -> float:
    lit = values[values > 0]
    return float(np.percentile(lit, _BRIGHTEST)) if len(lit) else default
