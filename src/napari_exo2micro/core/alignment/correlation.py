"""The coarse search: turn, magnification and shift of a pattern by correlation."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_exo2micro.core.alignment.views import View, shrunk
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.transform import Transform

_THREADS = min(4, os.cpu_count() or 1)
#: Turns that are transformed at once: 8 MB at 160 px.
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Candidate:
    """One turn and magnification (post to pre) with its best shift.

    `score` is the normalised correlation of the two patterns, -1 to 1.
    """

    angle_deg: float
    scale: float
    mirrored: bool
    score: float
    transform: Transform


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """What is correlated: a ring, a brightness or a texture on a view's grid.

    Zero where there is nothing to compare.
    """

    view: View
    values: NDArray[np.float32]

    def reduced(self, max_side: int) -> Pattern:
        """Return the pattern with its longer side at most `max_side` px."""
        view = self.view.reduced(max_side)
        if view is self.view:
            return self
        rows, columns = view.image.shape
        return Pattern(view, shrunk(self.values, (columns, rows)))

    def extent(self) -> tuple[NDArray[np.float64], float, float]:
        """Return the middle, half side and radius of what is not empty, in px."""
        magnitude = np.abs(self.values)
        seen = magnitude > 0.02 * float(magnitude.max(initial=0.0))
        y, x = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if not len(y):
            return np.zeros(2), 0.0, 0.0
        middle = np.array([(x[0] + x[-1]) / 2.0, (y[0] + y[-1]) / 2.0])
        half = np.array([x[-1] - x[0], y[-1] - y[0]]) / 2.0 + 1.0
        rows, columns = np.nonzero(seen)
        radius = float(
            np.sqrt(((columns - middle[0]) ** 2 + (rows - middle[1]) ** 2).max()) + 1.0
        )
        return middle, float(half.max()), radius


class _Correlator:
    """Correlates one post pattern with turned and magnified pre patterns."""

    def __init__(self, post: Pattern, pre: Pattern, smallest_scale: float) -> None:
        self._pre = pre
        self._from_post = post.view.to_full.matrix
        self._into_post = np.linalg.inv(self._from_post)
        self._into_pre = pre.view.to_full.inverse().matrix
        post_middle, post_half, _ = post.extent()
        pre_middle, _, pre_radius = pre.extent()
        # The origin of both patterns; a whole pixel, so that post is not
        # resampled.
        self._origin = np.rint(post_middle)
        self._post_centre = post.view.to_full(self._origin[None])[0]
        self._pre_centre = pre.view.to_full(pre_middle[None])[0]
        relative = pre.view.factor / post.view.factor
        reach = pre_radius * relative / smallest_scale
        self._reach = math.ceil(max(post_half, min(reach, 4.0 * post_half + 8.0)))
        self._limit = math.ceil(0.5 * max(post_half, reach)) + 2
        side = math.ceil(post_half) + self._reach + self._limit + 4
        self._side = int(fft.next_fast_len(side, real=True))
        grid = np.zeros((self._side, self._side), np.float32)
        # Circular placing: the origin sits at element (0, 0).
        y, x = np.nonzero(post.values)
        yy = (y - int(self._origin[1])) % self._side
        xx = (x - int(self._origin[0])) % self._side
        np.add.at(grid, (yy, xx), post.values[y, x])
        self._spectrum = fft.rfft2(grid)
        self._norm = float(np.linalg.norm(grid))

    def look(self, turns: Sequence[tuple[float, float, bool]]) -> list[Candidate]:
        """Return the best shift for each turn (degrees), magnification and hand."""
        shift = self._pre_centre - self._post_centre
        turned = [
            Transform.similarity(
                angle_deg=angle_deg,
                scale=scale,
                mirrored=mirrored,
                centre=tuple(self._post_centre),
                translation=tuple(shift),
            )
            for angle_deg, scale, mirrored in turns
        ]
        side = self._side
        grids = np.zeros((len(turns), side, side), np.float32)
        norms = [self._lay(*entry) for entry in zip(turned, grids, strict=True)]
        # c(d) = sum_p post(p + d) pre(p), for all shifts d of all turns at once:
        # threads that take turns one by one would wait for each other.
        spectra = fft.rfft2(grids, workers=_THREADS, overwrite_x=True)
        np.conj(spectra, out=spectra)
        spectra *= self._spectrum
        surfaces = fft.irfft2(spectra, s=(side, side), workers=_THREADS)
        limit = min(self._limit, (side - 1) // 2)
        index = np.arange(-limit, limit + 1) % side
        candidates = []
        for turn, unshifted, norm, surface in zip(
            turns, turned, norms, surfaces, strict=True
        ):
            if norm <= 0.0:
                candidates.append(Candidate(*turn, 0.0, unshifted))
                continue
            near = surface[np.ix_(index, index)]
            row, column = np.unravel_index(int(np.argmax(near)), near.shape)
            dy, dx = _parabola_peak(near, int(row), int(column))
            # post(p + d) looks like the turned pre at p.
            back = np.array([[1.0, 0, limit - dx], [0, 1.0, limit - dy], [0, 0, 1.0]])
            matrix = unshifted.matrix @ self._from_post @ back @ self._into_post
            # score = c(d) / (|post| |pre|), 1 for equal patterns
            score = float(near[row, column]) / norm
            candidates.append(Candidate(*turn, score, Transform(matrix)))
        return candidates

    def _lay(self, turned: Transform, grid: NDArray[np.float32]) -> float:
        """Lay turned pre on a grid, its origin at element (0, 0); return the norm."""
        # small px of post -> full px -> turned -> small px of pre
        small = self._into_pre @ turned.matrix @ self._from_post
        half = min(self._reach, (self._side - 1) // 2)
        size = 2 * half + 1
        left, top = self._origin - half
        place = np.array([[1.0, 0, left], [0, 1.0, top], [0, 0, 1.0]])
        warped = cv2.warpAffine(
            self._pre.values,
            (small @ place)[:2],
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        index = np.arange(-half, half + 1) % self._side
        grid[np.ix_(index, index)] = warped
        return float(np.linalg.norm(warped)) * self._norm


def parabola_vertex(before: float, here: float, after: float) -> float:
    """Return where a parabola through values at -1, 0, 1 has its top, within 0.5."""
    # (f(-1) - f(1)) / (2 (f(-1) - 2 f(0) + f(1)))
    bend = before - 2.0 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend else 0.0


def _parabola_peak(
    surface: NDArray[np.float32], row: int, column: int
) -> tuple[float, float]:
    """Return the place (row, column) of a peak between the pixels."""
    y, x = float(row), float(column)
    if 0 < row < surface.shape[0] - 1:
        y += parabola_vertex(*(float(surface[row + k, column]) for k in (-1, 0, 1)))
    if 0 < column < surface.shape[1] - 1:
        x += parabola_vertex(*(float(surface[row, column + k]) for k in (-1, 0, 1)))
    return y, x


def search_grid(
    post: Pattern,
    pre: Pattern,
    *,
    angles: Iterable[float],
    scales: Iterable[float],
    hands: Iterable[bool] = (False,),
    keep: int = 4,
    near: Iterable[Candidate] | None = None,
    monitor: Monitor,
) -> list[Candidate]:
    """Return the best `keep` of all turns, magnifications and hands, best first.

    Neighbours of a better one on the grid are left out. With what the same nodes gave
    on smaller patterns (`near`), only those and their neighbours are looked at. None
    when a pattern is empty.
    """
    angles, scales, hands = sorted(angles), sorted(scales), list(hands)
    if not post.values.any() or not pre.values.any():
        return []
    nodes = [
        (i, j, (angle, scale, hand))
        for hand in hands
        for i, scale in enumerate(scales)
        for j, angle in enumerate(angles)
    ]
    if near is not None:
        beside = [
            (scales.index(rough.scale), angles.index(rough.angle_deg), rough.mirrored)
            for rough in near
        ]
        nodes = [
            (i, j, turn)
            for i, j, turn in nodes
            if any(
                abs(i - i2) <= 1 and abs(j - j2) <= 1 and turn[2] == hand
                for i2, j2, hand in beside
            )
        ]
    correlate = _Correlator(post, pre, scales[0])
    scored: list[tuple[int, int, Candidate]] = []
    for start in range(0, len(nodes), _AT_ONCE):
        monitor.report(start / len(nodes), "searching turns and magnifications")
        some = nodes[start : start + _AT_ONCE]
        candidates = correlate.look([turn for _, _, turn in some])
        scored += [(i, j, c) for (i, j, _), c in zip(some, candidates, strict=True)]
    scored.sort(key=lambda entry: (-entry[2].score, entry[0], entry[1]))
    kept: list[tuple[int, int, Candidate]] = []
    for i, j, candidate in scored:
        is_beside = any(
            abs(i - i2) <= 1 and abs(j - j2) <= 2 and candidate.mirrored == c2.mirrored
            for i2, j2, c2 in kept
        )
        if not is_beside:
            kept.append((i, j, candidate))
        if len(kept) == keep:
            break
    return [candidate for _, _, candidate in kept]


def refine_candidates(
    post: Pattern,
    pre: Pattern,
    starts: Sequence[Candidate],
    *,
    angle_step: float,
    scale_step: float,
    angle_limits: tuple[float, float],
    scale_limits: tuple[float, float],
    rounds: int = 4,
    monitor: Monitor,
) -> list[Candidate]:
    """Return better turns and magnifications between the nodes of the grid, best first.

    From each start, in halves (so often as `rounds`) of the grid's steps, degrees and
    factor; 0 leaves turn or magnification as it is. The limits are not left, and no
    score is lower than that of its start on the same patterns.
    """
    if not starts:
        return []
    smallest = min(scale_limits[0], *(start.scale for start in starts))
    correlate = _Correlator(post, pre, smallest)
    best = correlate.look([(s.angle_deg, s.scale, s.mirrored) for s in starts])
    for number in range(1, rounds + 1):
        turn, zoom = angle_step / 2**number, scale_step / 2**number
        for d_angle, d_scale in ((turn, 0), (-turn, 0), (0, zoom), (0, -zoom)):
            if d_angle == 0.0 and d_scale == 0.0:
                continue
            monitor.check()
            trials = correlate.look(
                [
                    (
                        float(np.clip(known.angle_deg + d_angle, *angle_limits)),
                        float(np.clip(known.scale + d_scale, *scale_limits)),
                        known.mirrored,
                    )
                    for known in best
                ]
            )
            best = [
                trial if trial.score > known.score else known
                for known, trial in zip(best, trials, strict=True)
            ]
    return sorted(best, key=lambda candidate: -candidate.score)
