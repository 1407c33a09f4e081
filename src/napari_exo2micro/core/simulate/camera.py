"""The camera: photographs of a scene, window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.simulate.scene import FloatGrid, Layer
from napari_exo2micro.core.simulate.truth import Deformation, Seams

#: The side of a window. Noise is drawn for each window of this grid, so an image is
#: the same whether it is made in memory or written band by band.
WINDOW = 1024
#: Signal, in 8-bit grey levels, at which shot noise equals read noise.
_SHOT_EQUALS_READ = 40.0
#: Of an 8-bit image.
_TOP_LEVEL = 255.0
#: Half width at half maximum of a Gaussian, in standard deviations.
_HALF_WIDTH = math.sqrt(2.0 * math.log(2.0))


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A smooth function of an image point: a sum of products f(x) g(y).

    Attributes
    ----------
    terms : ndarray, shape (N, 5), float64
        Each term: weight, then centre and width along x and along y, px.
    kind : {'waves', 'blobs'}
        Whether a factor is ``cos(pi (x - centre) / width)`` or a Gaussian of
        standard deviation `width`.
    """

    terms: NDArray[np.float64]
    kind: str

    def window(self, y0: int, y1: int, x0: int, x1: int) -> FloatGrid:
        """Return the field on a window, shape (y1 - y0, x1 - x0)."""
        x = np.arange(x0, x1, dtype=np.float64)
        y = np.arange(y0, y1, dtype=np.float64)
        weight, cx, wx, cy, wy = self.terms.T
        along_x = self._factor((x[None, :] - cx[:, None]) / wx[:, None])
        along_y = self._factor((y[:, None] - cy[None, :]) / wy[None, :])
        field = (along_y * weight).astype(np.float32) @ along_x.astype(np.float32)
        return np.asarray(field, dtype=np.float32)

    def _factor(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind == "waves":
            return np.cos(math.pi * distance)
        return np.exp(-0.5 * distance**2)

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the field at points (x, y), shape (N, 2)."""
        weight, cx, wx, cy, wy = self.terms.T
        along_x = self._factor((points[:, :1] - cx) / wx)
        along_y = self._factor((points[:, 1:] - cy) / wy)
        field: NDArray[np.float64] = (along_x * along_y) @ weight
        return field

    def scaled(self, shape: tuple[int, int], peak: float) -> SmoothField:
        """Return the field with `peak` as its largest size in an image."""
        step = max(1, max(shape) // 64)
        coarse = SmoothField(
            self.terms / np.array([1.0, step, step, step, step]), self.kind
        ).window(0, shape[0] // step + 1, 0, shape[1] // step + 1)
        terms = self.terms.copy()
        terms[:, 0] *= peak / float(np.abs(coarse).max())
        return SmoothField(terms, self.kind)


def uneven_light(
    shape: tuple[int, int], strength: float, rng: np.random.Generator
) -> SmoothField | None:
    """Return slow waves between about -strength and +strength; None for 0."""
    if not strength:
        return None
    rows, columns = shape
    terms = [
        (
            rng.uniform(0.5, 1.0) * rng.choice([-1.0, 1.0]),
            rng.uniform(0.0, columns),
            columns * rng.uniform(0.6, 1.6),
            rng.uniform(0.0, rows),
            rows * rng.uniform(0.6, 1.6),
        )
        for _ in range(3)
    ]
    return SmoothField(np.array(terms), "waves").scaled(shape, strength)


def glow(
    shape: tuple[int, int], peak: float, rng: np.random.Generator
) -> SmoothField | None:
    """Return a few broad blobs of light, `peak` at the brightest point; None for 0."""
    if not peak:
        return None
    rows, columns = shape
    side = min(shape)
    terms = [
        (
            rng.uniform(0.4, 1.0),
            columns * rng.uniform(0.1, 0.9),
            side * rng.uniform(0.15, 0.35),
            rows * rng.uniform(0.1, 0.9),
            side * rng.uniform(0.15, 0.35),
        )
        for _ in range(3)
    ]
    return SmoothField(np.array(terms), "blobs").scaled(shape, peak)


@dataclass(frozen=True, eq=False)
class Camera:
    """One photograph of a scene: ``gain * (glass + light) + offset`` and noise.

    With `photons` the noise is that of a real camera: shot noise of so many photons at
    grey level 255, and read noise. Without, both are `noise` at a fixed ratio.

    Brightnesses are grey levels of an 8-bit image; `grey_level` is how many of `dtype`
    one of these is.
    """

    shape: tuple[int, int]
    to_scene: NDArray[np.float64]  # from this image's px
    layers: tuple[Layer, ...]  # factors of the light
    glass: float
    gain: float
    offset: float
    noise: float  # standard deviation of the read noise
    dtype: np.dtype[Any]
    grey_level: float
    seed: tuple[int, ...]  # of the noise
    deformation: Deformation | None = None  # to be undone after `to_scene`
    light: SmoothField | None = None  # relative unevenness
    glow: SmoothField | None = None
    blur: float = 0.0  # standard deviation, px; geometric mean of both axes
    astigmatism: tuple[float, float] = (1.0, 0.0)  # long to short axis, radians
    seams: Seams | None = None
    tile_light: Seams | None = None  # relative unevenness: the first of each move
    photons: float | None = None
    exposure: float = 1.0  # above 1, the brightest are clipped
    specks: NDArray[np.float64] | None = None  # dust: x, y, radius, grey level
    hot_pixels: NDArray[np.float64] | None = None  # x, y, grey level
    microbes: NDArray[np.void] | None = None  # as in `Truth.microbes`

    def window(self, row: int, column: int) -> NDArray[Any]:
        """Return one window of the grid of windows, in the image's type.

        Those at the right and the lower edge are smaller.
        """
        y0, x0 = row * WINDOW, column * WINDOW
        y1 = min(y0 + WINDOW, self.shape[0])
        x1 = min(x0 + WINDOW, self.shape[1])
        # blurred when out of focus, which needs what lies around
        halo = math.ceil(4.0 * self.blur * math.sqrt(self.astigmatism[0]))
        seen = self._scene(y0 - halo, y1 + halo, x0 - halo, x1 + halo)
        if halo:
            blurred = self._defocused(seen, halo)
            seen = np.array(blurred[halo:-halo, halo:-halo], dtype=np.float32)
        if self.light is not None:
            seen *= 1.0 + self.light.window(y0, y1, x0, x1)
        if self.tile_light is not None:
            seen *= 1.0 + self.tile_light(_grid(y0, y1, x0, x1))[..., 0].astype("f4")
        if self.microbes is not None:
            self._add_microbes(self.microbes, seen, y0, x0)
        if self.glow is not None:
            seen += self.glow.window(y0, y1, x0, x1)
        if self.exposure != 1.0:
            seen *= np.float32(self.exposure)
        if self.offset:
            seen += np.float32(self.offset)
        if self.specks is not None:
            self._add_specks(self.specks, seen, y0, x0)
        if self.noise or self.photons:
            self._add_noise(seen, row, column)
        if self.hot_pixels is not None:
            x, y, level = self.hot_pixels.T
            here = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
            at = (y[here].astype(int) - y0, x[here].astype(int) - x0)
            seen[at] = level[here]
        return self._digitised(seen)

    def light_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the light at points (x, y) of the image, shape (N, 2); 1 is even."""
        light = np.ones(len(points))
        if self.light is not None:
            light *= 1.0 + self.light.at(points)
        if self.tile_light is not None:
            light *= 1.0 + self.tile_light(points)[:, 0]
        return light

    def _scene(self, y0: int, y1: int, x0: int, x1: int) -> FloatGrid:
        """Return gain times the scene."""
        size = (y1 - y0, x1 - x0)
        if self.deformation is None and self.seams is None:
            start = np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]])
            factors = [layer.warp(self.to_scene @ start, size) for layer in self.layers]
        else:
            points = _grid(y0, y1, x0, x1)
            if self.seams is not None:
                points = points + self.seams(points)
            moved = points @ self.to_scene[:, :2].T + self.to_scene[:, 2]
            points = moved[..., :2] / moved[..., 2:]
            if self.deformation is not None:
                points = self.deformation.undo(points)
            factors = [
                layer.sample(points[..., 0], points[..., 1]) for layer in self.layers
            ]
        seen = factors[0]
        for factor in factors[1:]:
            seen *= factor
        seen += np.float32(self.glass)
        seen *= np.float32(self.gain)
        return seen

    def _defocused(self, seen: FloatGrid, halo: int) -> FloatGrid:
        """Return a window out of focus; `halo` px at each side are not right."""
        ratio, angle = self.astigmatism
        size = 2 * halo + 1
        if ratio == 1.0:
            blurred = cv2.GaussianBlur(seen, (size, size), self.blur)
        else:
            inverse = np.linalg.inv(_spread(self.blur, ratio, angle))
            offset = _grid(-halo, halo + 1, -halo, halo + 1)
            square = np.einsum("...i,ij,...j->...", offset, inverse, offset)
            kernel = np.exp(-0.5 * square)
            blurred = cv2.filter2D(seen, -1, kernel / kernel.sum())
        return np.asarray(blurred, dtype=np.float32)

    def _add_specks(
        self, table: NDArray[np.float64], seen: FloatGrid, y0: int, x0: int
    ) -> None:
        """Lay dust over a window: opaque, with a rim of half a pixel, no circles."""
        rows, columns = seen.shape
        for x, y, radius, level in table:
            reach = 1.5 * radius + 2.0
            top, bottom = max(math.floor(y - reach), y0), math.ceil(y + reach) + 1
            left, right = max(math.floor(x - reach), x0), math.ceil(x + reach) + 1
            bottom, right = min(bottom, y0 + rows), min(right, x0 + columns)
            if top >= bottom or left >= right:
                continue
            dx, dy = np.moveaxis(_grid(top, bottom, left, right) - (x, y), -1, 0)
            turn = np.arctan2(dy, dx)
            edge = radius * (1.0 + 0.3 * np.cos(2 * turn + x) + 0.15 * np.cos(5 * turn))
            cover = np.clip(edge - np.hypot(dx, dy) + 0.5, 0.0, 1.0)
            box = seen[top - y0 : bottom - y0, left - x0 : right - x0]
            box += ((level - box) * cover).astype(np.float32)

    def _add_microbes(
        self, table: NDArray[np.void], seen: FloatGrid, y0: int, x0: int
    ) -> None:
        rows, columns = seen.shape
        long = table["radius"] * np.sqrt(table["elongation"]) / _HALF_WIDTH
        blur = self.blur * math.sqrt(self.astigmatism[0])
        reach = np.ceil(4.0 * long + math.hypot(1.0, blur) * 4.0)
        near = (
            (table["x"] + reach >= x0)
            & (table["x"] - reach < x0 + columns)
            & (table["y"] + reach >= y0)
            & (table["y"] - reach < y0 + rows)
        )
        for spot, far in zip(table[near], reach[near], strict=True):
            top = max(math.floor(spot["y"] - far), y0)
            bottom = min(math.ceil(spot["y"] + far) + 1, y0 + rows)
            left = max(math.floor(spot["x"] - far), x0)
            right = min(math.ceil(spot["x"] + far) + 1, x0 + columns)
            if top >= bottom or left >= right:
                continue
            seen[top - y0 : bottom - y0, left - x0 : right - x0] += self._spot(
                spot, top, bottom, left, right
            )

    def _spot(
        self, spot: np.void, top: int, bottom: int, left: int, right: int
    ) -> FloatGrid:
        """Return one microbe on a box: a Gaussian rod, blurred like the image."""
        sigma = spot["radius"] / _HALF_WIDTH
        ratio = math.sqrt(spot["elongation"])
        long, short = sigma * ratio, sigma / ratio
        if self.astigmatism[0] != 1.0:
            turn = math.radians(spot["angle_deg"])
            spread = _spread(sigma, spot["elongation"], turn)
            spread += _spread(self.blur, *self.astigmatism)
            offset = _grid(top, bottom, left, right) - (spot["x"], spot["y"])
            inverse = np.linalg.inv(spread)
            square = np.einsum("...i,ij,...j->...", offset, inverse, offset)
            peak = spot["brightness"] * sigma**2 / math.sqrt(np.linalg.det(spread))
            return np.asarray(peak * np.exp(-0.5 * square), dtype=np.float32)
        wide, narrow = math.hypot(long, self.blur), math.hypot(short, self.blur)
        peak = spot["brightness"] * long * short / (wide * narrow)
        cos = math.cos(math.radians(spot["angle_deg"]))
        sin = math.sin(math.radians(spot["angle_deg"]))
        dx = np.arange(left, right)[None, :] - spot["x"]
        dy = np.arange(top, bottom)[:, None] - spot["y"]
        u, v = (cos * dx + sin * dy) / wide, (cos * dy - sin * dx) / narrow
        return np.asarray(peak * np.exp(-0.5 * (u * u + v * v)), dtype=np.float32)

    def _add_noise(self, seen: FloatGrid, row: int, column: int) -> None:
        rng = np.random.Generator(np.random.SFC64([*self.seed, row, column]))
        noise = rng.standard_normal(seen.shape, dtype=np.float32)
        # In units of the read noise, unless that of photons stands beside it.
        unit, shot, read = self.noise, 1.0 / _SHOT_EQUALS_READ, 1.0
        if self.photons:
            unit, shot, read = 1.0, _TOP_LEVEL / self.photons, self.noise**2
        spread = np.maximum(seen, np.float32(0.0))
        spread *= np.float32(shot)
        spread += np.float32(read)
        np.sqrt(spread, out=spread)
        noise *= spread
        noise *= np.float32(unit)
        seen += noise

    def _digitised(self, seen: FloatGrid) -> NDArray[Any]:
        if self.grey_level != 1.0:
            seen *= np.float32(self.grey_level)
        if self.dtype.kind == "f":
            return seen.astype(self.dtype)
        top = float(np.iinfo(self.dtype).max)
        seen += np.float32(0.5)
        np.clip(seen, 0.0, top, out=seen)
        return seen.astype(self.dtype)


def _grid(y0: int, y1: int, x0: int, x1: int) -> NDArray[np.float64]:
    """Return the points (x, y) of a window, shape (rows, columns, 2)."""
    x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
    return np.stack([x, y], axis=-1).astype(np.float64)


def _spread(sigma: float, ratio: float, angle: float) -> NDArray[np.float64]:
    """Return the covariance of a Gaussian of two axes, px^2.

    `sigma` is the geometric mean of both axes, `ratio` the long to the short one and
    `angle` (radians) that of the long one, from x towards y.
    """
    turn = np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    axes = np.diag([sigma**2 * ratio, sigma**2 / ratio])
    return np.asarray(turn @ axes @ turn.T, dtype=np.float64)


def microbe_flux(
    radius: NDArray[np.float64], brightness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the light of Gaussian spots: the sum of their px, grey levels."""
    return 2.0 * math.pi * (radius / _HALF_WIDTH) ** 2 * brightness


def bands(camera: Camera, monitor: Monitor) -> Iterator[tuple[int, NDArray[Any]]]:
    """Render an image as bands of rows, from the top, with two threads."""
    rows, columns = camera.shape
    down, across = math.ceil(rows / WINDOW), math.ceil(columns / WINDOW)
    with ThreadPoolExecutor(max_workers=2) as pool:

        def start(row: int) -> list[Any]:
            return [pool.submit(camera.window, row, i) for i in range(across)]

        ahead = start(0)
        try:
            for row in range(down):
                running, ahead = ahead, start(row + 1) if row + 1 < down else []
                band = np.concatenate([job.result() for job in running], axis=1)
                monitor.report((row + 1) / down, "photographed the section")
                yield row * WINDOW, band
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
