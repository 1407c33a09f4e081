"""Seeded searches for the transform on which most pairs of points agree."""

from __future__ import annotations

import cv2
import numpy as np

from napari_exo2micro.core.alignment.fit import FloatArray, Model
from napari_exo2micro.core.transforms import Transform

__all__ = ["search_magsac", "search_similarity"]

_SIMILARITY_TRIALS = 2000


def search_magsac(
    source: FloatArray,
    target: FloatArray,
    model: Model,
    threshold: float,
    mirrored: bool | None,
) -> Transform | None:
    """Return the transform that MAGSAC++ finds, of the hand with more inliers."""
    # Single precision inside OpenCV: coordinates are centred to keep digits.
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    moving = (target - goal).astype(np.float32)
    params = cv2.UsacParams()
    params.threshold = threshold
    params.maxIterations = 5000
    params.confidence = 0.999
    params.score = cv2.SCORE_METHOD_MAGSAC
    params.isParallel = False
    params.randomGeneratorState = 0
    after = np.array([[1, 0, goal[0]], [0, 1, goal[1]], [0, 0, 1.0]])
    best_count, best = 0, None
    for hand in (False, True) if mirrored is None else (mirrored,):
        # OpenCV refuses samples that turn the plane over: mirror one side first.
        flip = np.array([-1.0 if hand else 1.0, 1.0])
        fixed = ((source - middle) * flip).astype(np.float32)
        try:
            if model == "homography":
                found, _ = cv2.findHomography(fixed, moving, params)
            else:
                found, _ = cv2.estimateAffine2D(fixed, moving, params)
        except cv2.error:
            continue
        if found is None or not np.isfinite(found).all():
            continue
        local = np.eye(3)
        local[: found.shape[0]] = found
        before = np.diag([*flip, 1.0])
        before[:2, 2] = -middle * flip
        try:
            transform = Transform(after @ local @ before)
        except ValueError:
            continue
        gap = np.linalg.norm(target - transform(source), axis=1)
        count = int(np.count_nonzero(gap <= threshold))
        if count > best_count:
            best_count, best = count, transform
    return best


def search_similarity(
    source: FloatArray, target: FloatArray, threshold: float, mirrored: bool | None
) -> Transform | None:
    """Return the best similarity through two matches of a seeded sample."""
    count = len(source)
    if count * (count - 1) // 2 <= _SIMILARITY_TRIALS:
        i, j = np.triu_indices(count, 1)
    else:
        rng = np.random.default_rng(20)
        i = rng.integers(0, count, _SIMILARITY_TRIALS)
        j = (i + rng.integers(1, count, _SIMILARITY_TRIALS)) % count
    q = target[:, 0] + 1j * target[:, 1]
    best_score, best = 0.0, None
    for hand in (False, True) if mirrored is None else (mirrored,):
        p = source[:, 0] * (-1.0 if hand else 1.0) + 1j * source[:, 1]
        base = p[j] - p[i]
        usable = np.abs(base) > 3.0 * threshold
        if not usable.any():
            continue
        turn = (q[j] - q[i])[usable] / base[usable]
        shift = q[i][usable] - turn * p[i][usable]
        for start in range(0, len(turn), 256):
            part = slice(start, start + 256)
            gap = np.abs(turn[part, None] * p + shift[part, None] - q)
            score = np.clip(1.0 - (gap / threshold) ** 2, 0.0, None).sum(axis=1)
            top = int(np.argmax(score))
            if score[top] > best_score and abs(turn[part][top]) > 1e-3:
                best_score = float(score[top])
                best = (hand, turn[part][top], shift[part][top])
    if best is None:
        return None
    hand, a, b = best
    h = -1.0 if hand else 1.0
    matrix = [[h * a.real, -a.imag, b.real], [h * a.imag, a.real, b.imag], [0, 0, 1]]
    return Transform(np.array(matrix, dtype=np.float64))
