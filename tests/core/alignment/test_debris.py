"""Saturated fragments, elsewhere in each image, are no part of what is aligned."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_exo2micro.core.alignment import refine_interior_sift, register_highorder
from napari_exo2micro.core.simulate import registration_error, simulate_section

FRAGMENTS = 120


def with_debris(image: NDArray[Any], seed: int, largest: float) -> NDArray[Any]:
    """Return an image with saturated fragments of some px to a radius."""
    rng = np.random.default_rng(seed)
    fragments = np.zeros(image.shape, np.uint8)
    for _ in range(FRAGMENTS):
        corners = int(rng.integers(5, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = rng.uniform(4, largest) * rng.uniform(0.5, 1.3, corners)
        middle = rng.uniform((0, 0), image.shape[::-1])
        around = np.column_stack([np.cos(angles), np.sin(angles)])
        points = middle + radius[:, None] * around
        cv2.fillPoly(fragments, [np.rint(points).astype(np.int32)], 1)
    top = np.iinfo(image.dtype).max
    light = 1.3 * top * cv2.GaussianBlur(fragments.astype(np.float32), (0, 0), 1.2)
    return np.asarray(np.clip(image + light, 0, top), image.dtype)


@pytest.mark.parametrize("largest", [25, 60])
def test_heavy_debris_leaves_the_alignment(largest: float) -> None:
    pair = simulate_section(
        (900, 1000), seed=1, angle_deg=-5.0, shift=(30.0, -20.0), dtype="uint16"
    )
    post = with_debris(pair.post, 1, largest)
    pre = with_debris(pair.pre, 2, largest)
    coarse = register_highorder(post, pre)
    assert coarse.verdict.state == "ok"
    assert np.median(registration_error(pair.truth, coarse.transform, 0)) < 1.0
    fine = refine_interior_sift(post, pre, coarse.transform)
    assert fine.verdict.state == "ok"
    assert np.median(registration_error(pair.truth, fine.transform, 0)) < 0.05
