"""Multi-scale texture of a simulated section."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_exo2micro.core.simulate.scene import FloatGrid, Layer

__all__ = ["doubled", "texture", "texture_tiles"]


def texture(
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    longest: float,
    shortest: float = 2.2,
    contrast: float = 0.24,
) -> FloatGrid:
    """Return a multi-scale texture with mean about 1, which repeats at its edges.

    Parameters
    ----------
    size : tuple of int
        Rows and columns.
    rng : numpy.random.Generator
        Source of the noise.
    longest, shortest : float
        Structure sizes between which the spectrum falls as 1 / frequency,
        in grid steps.
    contrast : float
        Standard deviation of the logarithm.
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


def doubled(grid: FloatGrid) -> FloatGrid:
    """Return a grid of twice the nodes, smooth at the scale of the old ones.

    Repeating and blurring keeps the new nodes evenly spaced to 1e-6. Cubic
    interpolation would pull them apart by some hundredths of a step, and a
    registration of such an image would be biased by its subpixel phase.
    """
    repeated = cv2.resize(grid, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.GaussianBlur(repeated, (0, 0), 1.8), dtype=np.float32)


def texture_tiles(rng: np.random.Generator) -> tuple[Layer, Layer]:
    """Return fine and middle texture that repeat with periods far apart.

    Their product repeats only after the least common multiple of both, so that
    no two places of a large section look alike.
    """
    # Two nodes a px: smooth enough for bilinear interpolation.
    period = 2000
    once = texture((period, period), rng, longest=40.0)
    dense = doubled(np.pad(once, 8, mode="wrap"))
    fine = np.pad(_limited(dense[16:-16, 16:-16], 1.8), ((0, 3200),) * 2, mode="wrap")
    # Five px a node.
    slow = texture((1531, 1531), rng, longest=60.0, contrast=0.2)
    middle = np.pad(_limited(slow, 1.4), ((0, 400),) * 2, mode="wrap")
    return (
        Layer(
            np.asarray(fine, dtype=np.float32), 0.5, (-0.25, -0.25), "wrap", 2 * period
        ),
        Layer(
            np.asarray(middle, dtype=np.float32), 5.0, (2.0, 2.0), "wrap", slow.shape[0]
        ),
    )


def _limited(grid: NDArray[Any], highest: float) -> FloatGrid:
    """Return values from 0 to below `highest`, the small ones as they are."""
    positive = np.maximum(grid, 0.0)
    folded = positive / np.sqrt(np.sqrt(1.0 + (positive / highest) ** 4))
    return np.asarray(folded, dtype=np.float32)
