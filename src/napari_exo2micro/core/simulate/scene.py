"""A rock section as a continuous function, made of grids, with known microbes.

A scene is a brightness at every real point, so that two images of it can be
taken under any transform, window by window, and the truth is exact. It is a
product of layers; each layer is a grid read by bilinear interpolation. Texture
grids are finer than a pixel and smooth, so a warped image repeats the scene to
far below the noise.

Points are (x, y) = (column, row) px of the post-stain image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["FloatGrid", "Layer", "Scene"]

FloatGrid = NDArray[np.float32]


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
    beyond : {'edge', 'mirror', 'wrap'}
        What lies outside the grid: its outermost values, its mirror image, or
        the grid again.
    period : int
        In nodes, both ways, of a grid that repeats ('wrap'), which is stored
        with its own beginning appended, so that most windows are slices.
    """

    grid: FloatGrid
    spacing: float
    origin: tuple[float, float]
    beyond: Literal["edge", "mirror", "wrap"] = "edge"
    period: int = 0

    def from_pixels(self) -> NDArray[np.float64]:
        """Return the matrix from points (x, y) in px to node coordinates."""
        step = 1.0 / self.spacing
        return np.array(
            [
                [step, 0.0, -self.origin[0] * step],
                [0.0, step, -self.origin[1] * step],
                [0.0, 0.0, 1.0],
            ]
        )

    def warp(self, to_scene: NDArray[np.float64], size: tuple[int, int]) -> FloatGrid:
        """Return the layer as seen by a small window of an image.

        Parameters
        ----------
        to_scene : ndarray, shape (3, 3)
            Homogeneous matrix from the window's px to scene px.
        size : tuple of int
            Rows and columns of the window.
        """
        to_nodes = self.from_pixels() @ to_scene
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
        """Return the layer at points of the scene.

        Parameters
        ----------
        x, y : ndarray, shape (rows, columns)
            Points in scene px; a compact region, such as one window.
        """
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
        wanted_x, wanted_y = np.arange(x0, x1), np.arange(y0, y1)
        if self.beyond == "wrap":
            start_x, start_y = x0 % self.period, y0 % self.period
            stop_x, stop_y = start_x + x1 - x0, start_y + y1 - y0
            if stop_x <= columns and stop_y <= rows:
                return self.grid[start_y:stop_y, start_x:stop_x], x0, y0
            ix, iy = wanted_x % self.period, wanted_y % self.period
        elif x0 >= 0 and y0 >= 0 and x1 <= columns and y1 <= rows:
            return self.grid[y0:y1, x0:x1], x0, y0
        elif self.beyond == "mirror":
            ix, iy = _reflected(wanted_x, columns), _reflected(wanted_y, rows)
        else:
            ix = np.clip(wanted_x, 0, columns - 1)
            iy = np.clip(wanted_y, 0, rows - 1)
        return self.grid[np.ix_(iy, ix)], x0, y0


@dataclass(frozen=True, slots=True)
class Scene:
    """The brightness of a section at every point, without microbes.

    Attributes
    ----------
    layers : tuple of Layer
        Their product is the section's light, grey levels above the glass.
    glass : float
        Grey levels of the slide where there is no section.
    tissue : Layer
        1 on the section and 0 elsewhere, holes included; coarse.
    keep : Layer
        0 where a piece is missing from one of the images, otherwise 1; coarse.
    """

    layers: tuple[Layer, ...]
    glass: float
    tissue: Layer
    keep: Layer

    def visible_layers(self, *, piece_missing: bool) -> tuple[Layer, ...]:
        """Return the factors of one image's light."""
        return (*self.layers, self.keep) if piece_missing else self.layers

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


def _reflected(index: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return indices folded back into 0..length-1."""
    period = 2 * (length - 1)
    folded = np.abs(index % period)
    return np.where(folded < length, folded, period - folded).astype(np.intp)
