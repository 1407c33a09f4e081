"""A simulated section: its rock, its texture and its microbes.

A scene is a brightness at every real point, so that two images of it can be
taken under any transform, window by window, and the truth is exact. It is a
product of layers; each layer is a grid read by bilinear interpolation. Texture
grids are finer than a pixel and smooth, so a warped image repeats the scene to
far below the noise.

Points are (x, y) = (column, row) px of the post-stain image.
"""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

FloatGrid = NDArray[np.float32]

#: Up to here one grid holds everything; beyond it, coarse grids and tiles.
WHOLE_GRID_PIXELS = 9_000_000
_COARSE_GRID_CELLS = 12_500_000
_GLASS_LEVEL = 4.0
_TISSUE_LEVEL = 52.0
_BRIGHTEST = 128.0
#: Half size of the section as a part of the half frame: what turns by 20 deg,
#: grows by 15 % and shifts a little stays in view.
_SECTION_FILL = 0.72
_FRAME_FILLING_MARGIN = 0.15
#: Of the grains that take stain.
_STAINED_SHARE = 0.4
#: Room above coarse light for the product of the texture tiles.
_TILES_PEAK = 1.7


@dataclass(frozen=True, slots=True)
class Layer:
    """One factor of a scene: a grid read by bilinear interpolation.

    Attributes
    ----------
    grid : ndarray, shape (rows, columns), float32
        The values at the nodes.
    spacing : float
        Distance of two nodes, px.
    origin : tuple of float
        The point (x, y), px, of the first node.
    beyond : {'edge', 'mirror'}
        What lies outside the grid: its outermost values, or its mirror image.
    period : int
        In nodes, both ways, of a grid that repeats; it is stored with its own
        beginning appended, so that most windows are slices. 0 for other grids.
    """

    grid: FloatGrid
    spacing: float
    origin: tuple[float, float]
    beyond: Literal["edge", "mirror"] = "edge"
    period: int = 0

    def warp(self, to_scene: NDArray[np.float64], size: tuple[int, int]) -> FloatGrid:
        """Return the layer as seen by a small window of an image.

        `to_scene` is the homogeneous matrix from the window's px to scene px, `size`
        the window's rows and columns.
        """
        step = 1.0 / self.spacing
        x, y = self.origin
        from_pixels = [[step, 0.0, -x * step], [0.0, step, -y * step], [0.0, 0.0, 1.0]]
        to_nodes = np.array(from_pixels) @ to_scene
        rows, columns = size
        corners = np.array(
            [(x, y, 1.0) for y in (0, rows - 1) for x in (0, columns - 1)]
        )
        nodes = corners @ to_nodes.T
        nodes = nodes[:, :2] / nodes[:, 2:]
        crop, x0, y0 = self._crop(nodes.min(axis=0), nodes.max(axis=0))
        to_crop = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1.0]]) @ to_nodes
        # Only bilinear interpolation is exact in OpenCV: the others round
        # coordinates to 1/32 px, which would be an error of the truth.
        seen = cv2.warpPerspective(
            crop,
            to_crop,
            (columns, rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(seen, dtype=np.float32)

    def sample(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> FloatGrid:
        """Return the layer at points of the scene, px: a compact region of them."""
        u = (x - self.origin[0]) / self.spacing
        v = (y - self.origin[1]) / self.spacing
        low = np.array([u.min(), v.min()])
        crop, x0, y0 = self._crop(low, np.array([u.max(), v.max()]))
        seen = cv2.remap(
            crop,
            (u - x0).astype(np.float32),
            (v - y0).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(seen, dtype=np.float32)

    def _crop(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[FloatGrid, int, int]:
        """Return the nodes around a box and the coordinates of the first one."""
        x0, y0 = (math.floor(value) - 2 for value in low)
        x1, y1 = (math.ceil(value) + 3 for value in high)
        rows, columns = self.grid.shape
        left, top = (x0 % self.period, y0 % self.period) if self.period else (x0, y0)
        right, bottom = left + x1 - x0, top + y1 - y0
        if left >= 0 and top >= 0 and right <= columns and bottom <= rows:
            return self.grid[top:bottom, left:right], x0, y0
        ix = self._folded(np.arange(x0, x1), columns)
        iy = self._folded(np.arange(y0, y1), rows)
        return self.grid[np.ix_(iy, ix)], x0, y0

    def _folded(self, index: NDArray[np.intp], length: int) -> NDArray[np.intp]:
        """Return where in the grid the nodes are that stand for those outside."""
        if self.period:
            return index % self.period
        if self.beyond == "edge":
            return np.clip(index, 0, length - 1)
        period = 2 * (length - 1)
        folded = index % period
        return np.where(folded < length, folded, period - folded)


@dataclass(frozen=True, slots=True)
class Minerals:
    """How minerals differ between the images.

    Attributes
    ----------
    spread : float
        Standard deviation of the logarithm of a grain's brightness in post relative
        to pre.
    stain : float
        Light that the stain adds to what takes it, at most, relative to the mineral's;
        two grains of five take it, in patches.
    rng : numpy.random.Generator
        Draws both.
    """

    spread: float
    stain: float
    rng: np.random.Generator

    def ratio(self, grains: NDArray[np.int32], patch: float) -> FloatGrid:
        """Return the brightness in post relative to pre of labelled grains.

        `patch` is the size of places with more and with less stain, cells.
        """
        count = int(grains.max()) + 1
        of_grain = self.rng.lognormal(0.0, self.spread, count).astype(np.float32)
        takes = (self.rng.random(count) < _STAINED_SHARE).astype(np.float32)
        size = (grains.shape[0], grains.shape[1])
        uneven = np.clip(0.5 + 0.35 * _noise(size, patch, self.rng), 0.0, 1.0)
        stained = 1.0 + self.stain * takes[grains] * uneven
        return np.asarray(of_grain[grains] * stained, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Scene:
    """The brightness of a section at every point, without microbes.

    The product of `layers` is the section's light, grey levels above the `glass` of
    the slide. `tissue` is 1 on the section and 0 elsewhere, holes included, `keep` 0
    where a piece is missing from one of the images, otherwise 1; both are coarse.
    `ratio` is how bright each mineral is in post relative to pre, None where all are
    alike.
    """

    layers: tuple[Layer, ...]
    glass: float
    tissue: Layer
    keep: Layer
    ratio: Layer | None = None

    def on_section(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which points (x, y) are on the section, clear of its edge."""
        return _lookup(self.tissue, points) > 0.9

    def kept(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which points (x, y) are not on the piece that may be missing."""
        return _lookup(self.keep, points) > 0.999


def _lookup(layer: Layer, points: NDArray[np.float64]) -> FloatGrid:
    """Return the least of the four nodes around each point, 0 outside the grid."""
    nodes = (points - np.array(layer.origin)) / layer.spacing
    index = np.floor(nodes).astype(np.intp)
    rows, columns = layer.grid.shape
    inside = ((index >= 0) & (index < [columns - 1, rows - 1])).all(axis=1)
    index[~inside] = 0
    x, y = index.T
    around = [layer.grid[y + dy, x + dx] for dy in (0, 1) for dx in (0, 1)]
    least = np.min(around, axis=0)
    return np.where(inside, least, np.float32(0.0)).astype(np.float32)


def build_scene(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    frame_filling: bool,
    brightness: float,
    minerals: Minerals | None = None,
) -> Scene:
    """Make a section with grains, texture, cracks, holes and an outline.

    The median of its light is about 52 grey levels (of 255) times `brightness`, the
    highest 132. With `frame_filling` it has no outline: it goes on beyond the image
    on all sides. The same state of `rng` gives the same scene, whatever `minerals`.
    """
    rows, columns = shape
    cell = 1
    if rows * columns > WHOLE_GRID_PIXELS:
        cell = 2
        while rows * columns / cell**2 > _COARSE_GRID_CELLS:
            cell *= 2
    part = _FRAME_FILLING_MARGIN if frame_filling else 0.0
    margin = math.ceil(part * max(shape) / cell) + 4
    frame = (math.ceil(rows / cell), math.ceil(columns / cell))
    size = (frame[0] + 2 * margin, frame[1] + 2 * margin)
    # Node i covers the cell's px: its centre is where area reduction puts it.
    origin = (0.5 - margin) * cell - 0.5

    light, tissue, grains = _rock(size, frame, margin, rng, frame_filling)
    ratio = None
    if minerals is not None:
        of_grain = minerals.ratio(grains, min(frame) / 4.0)
        ratio = Layer(_blurred(of_grain, 0.7), float(cell), (origin, origin))
    del grains
    keep = _piece(size, frame, margin, rng)
    beyond: Literal["edge", "mirror"] = "mirror" if frame_filling else "edge"
    layers: tuple[Layer, ...]
    if cell == 1:
        light *= _texture(size, rng, longest=90.0)
        _limit(light, tissue, brightness)
        layers = (Layer(_doubled(light), 0.5, (origin - 0.25,) * 2, beyond),)
    else:
        _limit(light, tissue, brightness / _TILES_PEAK)
        layers = (
            Layer(light, float(cell), (origin, origin), beyond),
            *_texture_tiles(rng),
        )
    coarse = max(1, 4 // cell)
    wide = float(cell * coarse)
    start = origin + 0.5 * (wide - cell)
    masks = [Layer(_reduced(m, coarse), wide, (start, start)) for m in (tissue, keep)]
    glass = _GLASS_LEVEL * min(brightness, 1.0)
    return Scene(layers, glass, masks[0], masks[1], ratio)


def _grains(
    size: tuple[int, int], spacing: float, rng: np.random.Generator
) -> tuple[NDArray[np.int32], int]:
    """Return a label for each cell: grains about `spacing` wide, and their count."""
    half = (size[0] // 2 + 2, size[1] // 2 + 2)
    step = max(spacing / 2, 3.0)
    grid_y, grid_x = np.mgrid[0 : half[0] : step, 0 : half[1] : step]
    seeds = np.stack([grid_y.ravel(), grid_x.ravel()], axis=1)
    # Dropping some seeds and scattering the rest makes grains of many sizes.
    seeds = seeds[rng.random(len(seeds)) < 0.8]
    seeds += rng.uniform(-0.75, 0.75, seeds.shape) * step
    index = np.clip(seeds.astype(np.intp), 0, np.array(half) - 1)
    image = np.ones(half, dtype=np.uint8)
    image[index[:, 0], index[:, 1]] = 0
    _, labels = cv2.distanceTransformWithLabels(
        image, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    count = int(labels.max()) + 1
    x = np.arange(size[1], dtype=np.float32)[None, :] / 2
    y = np.arange(size[0], dtype=np.float32)[:, None] / 2
    bend, ruffle = 0.09 * spacing, 0.02 * spacing
    maps = [
        axis
        + np.float32(bend) * _noise(size, spacing / 2, rng)
        + np.float32(ruffle) * _noise(size, max(spacing / 9, 2.0), rng)
        for axis in (x, y)
    ]
    bent = cv2.remap(
        labels.astype(np.float32),
        maps[0],
        maps[1],
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return bent.astype(np.int32), count


def _borders(labels: NDArray[np.int32], width: float) -> FloatGrid:
    """Return 1 on the lines between grains, smooth, 0 elsewhere."""
    line = np.zeros(labels.shape, dtype=np.float32)
    line[:, 1:] = labels[:, 1:] != labels[:, :-1]
    line[1:] = np.maximum(line[1:], labels[1:] != labels[:-1])
    smooth = _blurred(line, width) * np.float32(2.5 * width)
    return np.asarray(np.minimum(smooth, 1.0), dtype=np.float32)


def _rock(
    size: tuple[int, int],
    frame: tuple[int, int],
    margin: int,
    rng: np.random.Generator,
    frame_filling: bool,
) -> tuple[FloatGrid, FloatGrid, NDArray[np.int32]]:
    """Return the light, the tissue mask and the grains of a section, on cells."""
    coarse_spacing = max(min(frame) / 13.0, 16.0)
    coarse, coarse_count = _grains(size, coarse_spacing, rng)
    fine, fine_count = _grains(size, max(coarse_spacing / 4.0, 6.0), rng)
    kinds: FloatGrid = np.array([0.3, 0.65, 1.0, 1.5, 2.1], dtype=np.float32)
    shares = [0.2, 0.32, 0.28, 0.14, 0.06]
    level = _grain_light(kinds, shares, coarse_count, 0.12, rng)
    crumb = _grain_light(kinds, shares, fine_count, 0.2, rng)
    # A third of the rock is fine-grained matrix, the rest are clasts.
    share = np.where(rng.random(coarse_count) < 0.35, 0.9, 0.16).astype(np.float32)
    part = share[coarse]
    light: FloatGrid = level[coarse] * (1.0 - part)
    light += part * crumb[fine]
    light *= np.float32(1.0) - np.float32(0.5) * part * _borders(fine, 0.8)
    light *= np.float32(1.0) - np.float32(0.65) * _borders(coarse, 1.3)
    del fine, part
    patches = _noise(size, min(frame) / 5.0, rng)
    light *= np.exp(np.float32(0.22) * patches)
    light = _blurred(light, 0.7)
    _draw_cracks(light, frame, margin, rng)
    if frame_filling:
        tissue = np.ones(size, dtype=np.float32)
    else:
        tissue = _outline(size, frame, margin, rng)
    _draw_holes(tissue, frame, margin, rng)
    tissue = _blurred(tissue, 1.2)
    light *= tissue
    return light, tissue, coarse


def _grain_light(
    kinds: FloatGrid,
    shares: list[float],
    count: int,
    spread: float,
    rng: np.random.Generator,
) -> FloatGrid:
    """Return the light of each grain: that of its mineral, a little varied."""
    light = rng.choice(kinds, count, p=shares) * rng.lognormal(0.0, spread, count)
    return np.asarray(light, dtype=np.float32)


def _blurred(grid: FloatGrid, sigma: float) -> FloatGrid:
    return np.asarray(cv2.GaussianBlur(grid, (0, 0), sigma), dtype=np.float32)


def _draw_cracks(
    light: FloatGrid, frame: tuple[int, int], margin: int, rng: np.random.Generator
) -> None:
    """Draw dark cracks and a few bright veins that run across the section."""
    rows, columns = frame
    for number in range(9):
        bright = number >= 6
        heading = rng.uniform(0.0, 2.0 * math.pi)
        point = rng.uniform(0.2, 0.8, 2) * (columns, rows) + margin
        steps = int(rng.integers(25, 70))
        turns = np.cumsum(rng.normal(0.0, 0.16, steps)) + heading
        jitter = rng.normal(0.0, 0.35, steps)
        length = min(frame) / 70.0
        path = point + np.cumsum(
            length * np.stack([np.cos(turns + jitter), np.sin(turns + jitter)], 1),
            axis=0,
        )
        width = float(rng.uniform(0.6, 2.2)) * max(min(frame) / 1200.0, 0.6)
        canvas = np.zeros(light.shape, dtype=np.uint8)
        cv2.polylines(
            canvas,
            [_polygon(*path.T)],
            isClosed=False,
            color=255,
            thickness=max(1, round(2 * width)),
            lineType=cv2.LINE_AA,
            shift=4,
        )
        x, y, w, h = cv2.boundingRect(np.rint(path).astype(np.int32).reshape(-1, 1, 2))
        pad = round(4 * width) + 8
        box = (
            slice(max(y - pad, 0), max(y + h + pad, 0)),
            slice(max(x - pad, 0), max(x + w + pad, 0)),
        )
        if canvas[box].size == 0:
            continue
        line = cv2.GaussianBlur(canvas[box].astype(np.float32) / 255, (0, 0), 0.8)
        light[box] *= 1.0 + (0.9 if bright else -0.8) * line


def _outline(
    size: tuple[int, int], frame: tuple[int, int], margin: int, rng: np.random.Generator
) -> FloatGrid:
    """Return 1 inside an irregular, ragged outline without any symmetry."""
    angle = np.linspace(0.0, 2.0 * math.pi, 2880, endpoint=False)
    wave = np.zeros_like(angle)
    for order in range(1, 240):
        strength = 0.085 / order**1.25 if order > 1 else 0.03
        wave += (
            strength
            * rng.normal()
            * np.cos(order * angle + rng.uniform(0.0, 2.0 * math.pi))
        )
    wave = np.clip(wave, -0.28, 0.16)
    power = 2.6
    round_off = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (
        -1.0 / power
    )
    radius = _SECTION_FILL * round_off * (1.0 + wave)
    x = margin + frame[1] / 2 * (1.0 + radius * np.cos(angle))
    y = margin + frame[0] / 2 * (1.0 + radius * np.sin(angle))
    mask = np.zeros(size, dtype=np.uint8)
    cv2.fillPoly(mask, [_polygon(x, y)], 255, cv2.LINE_AA, 4)
    return np.asarray(mask, dtype=np.float32) / np.float32(255)


def _polygon(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return points as OpenCV draws them, in sixteenths of a cell."""
    return np.rint(np.stack([x, y], 1) * 16).astype(np.int32).reshape(-1, 1, 2)


def _draw_holes(
    tissue: FloatGrid, frame: tuple[int, int], margin: int, rng: np.random.Generator
) -> None:
    """Cut a few irregular holes into the tissue mask."""
    rows, columns = frame
    angle = np.linspace(0.0, 2.0 * math.pi, 180, endpoint=False)
    for _ in range(7):
        centre = rng.uniform(0.22, 0.78, 2) * (columns, rows) + margin
        size = rng.uniform(0.006, 0.028) * min(frame)
        wave = sum(
            rng.normal(0.0, 0.3 / order) * np.cos(order * angle + rng.uniform(0, 6.28))
            for order in range(2, 9)
        )
        radius = size * np.clip(1.0 + wave, 0.3, 2.0)
        stretch = rng.uniform(0.6, 1.6)
        x = centre[0] + radius * stretch * np.cos(angle)
        y = centre[1] + radius / stretch * np.sin(angle)
        cv2.fillPoly(tissue, [_polygon(x, y)], 0.0, cv2.LINE_AA, 4)


def _piece(
    size: tuple[int, int], frame: tuple[int, int], margin: int, rng: np.random.Generator
) -> FloatGrid:
    """Return 0 on a piece at one side of the section, 1 on the rest."""
    heading = rng.uniform(0.0, 2.0 * math.pi)
    along = np.array([math.cos(heading), math.sin(heading)])
    half = np.array([frame[1], frame[0]]) / 2.0
    # The chord lies half-way out, so that about a fifth of the area breaks off.
    reach = 0.44 * _SECTION_FILL * float(np.hypot(*(along * half)))
    centre = half + margin + along * reach
    across = np.array([-along[1], along[0]])
    t = np.linspace(-3.0, 3.0, 240) * max(frame) / 2.0
    wander = np.cumsum(rng.normal(0.0, 1.0, t.size)) * max(frame) / 900.0
    edge = centre + t[:, None] * across + wander[:, None] * along
    far = along * 4.0 * max(frame)
    polygon = np.concatenate([edge, edge[-1:] + far, edge[:1] + far])
    mask = np.full(size, 255, dtype=np.uint8)
    cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32).reshape(-1, 1, 2)], 0)
    return np.asarray(mask, dtype=np.float32) / np.float32(255)


def _texture(
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    longest: float,
    shortest: float = 2.2,
    contrast: float = 0.24,
) -> FloatGrid:
    """Return a multi-scale texture with mean about 1, which repeats at its edges.

    Its spectrum falls as 1 / frequency between structures of `longest` and `shortest`
    grid steps; `contrast` is the standard deviation of its logarithm.
    """
    rows, columns = (fft.next_fast_len(length, real=True) for length in size)
    noise = rng.standard_normal((rows, columns), dtype=np.float32)
    spectrum = fft.rfft2(noise, workers=2)
    fy = fft.fftfreq(rows).astype(np.float32)[:, None]
    fx = fft.rfftfreq(columns).astype(np.float32)[None, :]
    squared = fx * fx + fy * fy
    low, high = np.float32(1.0 / longest), np.float32(0.5 / shortest)
    weight = np.exp(-squared / (2.0 * high * high)) / np.sqrt(squared + low * low)
    weight[0, 0] = 0.0
    spectrum *= weight
    field = fft.irfft2(spectrum, s=(rows, columns), workers=2)[: size[0], : size[1]]
    field = np.ascontiguousarray(field, dtype=np.float32)
    field /= np.float32(field[::3, ::3].std())
    # Bright specks: the far tail of the same noise.
    specks = np.clip(field - 2.1, 0.0, 1.2)
    pattern = np.exp(np.float32(contrast) * field) + np.float32(0.9) * specks
    return np.asarray(pattern, dtype=np.float32)


def _doubled(grid: FloatGrid) -> FloatGrid:
    """Return a grid of twice the nodes, smooth at the scale of the old ones.

    Repeating and blurring keeps the new nodes evenly spaced to 1e-6. Cubic
    interpolation would pull them apart by some hundredths of a step, and a
    registration of such an image would be biased by its subpixel phase.
    """
    repeated = cv2.resize(grid, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.GaussianBlur(repeated, (0, 0), 1.8), dtype=np.float32)


def _texture_tiles(rng: np.random.Generator) -> tuple[Layer, Layer]:
    """Return fine and middle texture that repeat with periods far apart.

    Their product repeats only after the least common multiple of both, so that
    no two places of a large section look alike.
    """
    # Two nodes a px: smooth enough for bilinear interpolation.
    period = 2000
    once = _texture((period, period), rng, longest=40.0)
    dense = _doubled(np.pad(once, 8, mode="wrap"))
    fine = np.pad(_limited(dense[16:-16, 16:-16], 1.8), ((0, 3200),) * 2, mode="wrap")
    # Five px a node.
    slow = _texture((1531, 1531), rng, longest=60.0, contrast=0.2)
    middle = np.pad(_limited(slow, 1.4), ((0, 400),) * 2, mode="wrap")
    return (
        Layer(fine, 0.5, (-0.25, -0.25), period=2 * period),
        Layer(middle, 5.0, (2.0, 2.0), period=slow.shape[0]),
    )


def _limited(grid: FloatGrid, highest: float) -> FloatGrid:
    """Return values from 0 to below `highest`, the small ones as they are."""
    positive = np.maximum(grid, 0.0)
    # x / (1 + (x / h)^4)^(1/4)
    folded = positive / np.sqrt(np.sqrt(1.0 + (positive / highest) ** 4))
    return np.asarray(folded, dtype=np.float32)


def _reduced(grid: FloatGrid, factor: int) -> FloatGrid:
    """Return the means of factor x factor cells; the last ones may be cut off."""
    rows, columns = (length // factor * factor for length in grid.shape)
    small = cv2.resize(
        grid[:rows, :columns],
        (columns // factor, rows // factor),
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(small, dtype=np.float32)


def _limit(light: FloatGrid, tissue: FloatGrid, brightness: float) -> None:
    """Scale the light to its level and fold its highlights down, in place."""
    sample = light[::7, ::7][tissue[::7, ::7] > 0.5]
    light *= np.float32(_TISSUE_LEVEL / max(float(np.median(sample)), 1e-6))
    light *= np.float32(1.0 / _BRIGHTEST)
    # x / (1 + x^4)^(1/4): straight for most of the section, never above 1.
    light /= np.sqrt(np.sqrt(1.0 + light**4))
    light *= np.float32(_BRIGHTEST * brightness)


def _noise(
    size: tuple[int, int], spacing: float, rng: np.random.Generator
) -> FloatGrid:
    """Return smooth noise of unit variance at the nodes, `spacing` apart."""
    rows, columns = (math.ceil(length / spacing) + 4 for length in size)
    nodes = rng.standard_normal((rows, columns), dtype=np.float32)
    matrix = np.array([[1 / spacing, 0, 1.0], [0, 1 / spacing, 1.0]])
    smooth = cv2.warpAffine(
        nodes,
        matrix,
        (size[1], size[0]),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(smooth, dtype=np.float32)
