"""Iterative closest points on the outlines of the two sections."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.alignment.settings import BoundarySettings
from napari_exo2micro.core.images.transform import Transform

_MAX_POINTS = 2500
_ROUNDS = 60
#: The iteration ends when no point moves by more than this, px.
_STILL = 1e-3
_FEWEST = 40
#: Share of the point-to-point distance: nearly round outlines do not spin.
_POINT_SHARE = 0.05
#: Pull towards the map of before, which what the outlines do not determine follows.
_DAMPING = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class IcpResult:
    """An affine map that lays one contour on the other, in the units of the contours.

    With the root mean square distance of the points that agree, and the part of the
    post contour that they are.
    """

    transform: Transform
    rms: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Correction:
    """What ICP changed: the section's middle moved, px; the turn, without sign.

    With the smaller and the larger magnification of the two axes.
    """

    translation: float
    rotation_deg: float
    scales: tuple[float, float]

    def beyond(self, limits: BoundarySettings) -> str:
        """Return which limit is broken, with both numbers; empty when none."""
        low, high = self.scales
        delta = max(abs(low - 1.0), abs(high - 1.0))
        checks = (
            ("moved the section by", self.translation, " px", "max_translation"),
            ("turned it by", self.rotation_deg, " deg", "max_rotation"),
            ("changed a magnification by", delta, "", "max_scale_delta"),
            ("made the two magnifications differ by", high - low, "", "max_scale_diff"),
        )
        return " and ".join(
            f"{what} {value:.4g}{unit}, above {name} = {getattr(limits, name):g}{unit}"
            for what, value, unit, name in checks
            if value > getattr(limits, name)
        )


def correction_of(coarse: Transform, fine: Transform, centre: FloatArray) -> Correction:
    """Return what changed from one transform to the next about the section's middle."""
    middle = centre[None, :]
    moved = float(np.linalg.norm(fine(middle) - coarse(middle)))
    # Singular values of fine coarse^-1 = U S V' are the magnifications; U V' turns.
    change = fine.matrix[:2, :2] @ np.linalg.inv(coarse.matrix[:2, :2])
    u, scales, vt = np.linalg.svd(change)
    turn = u @ vt
    rotation = float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
    return Correction(moved, abs(rotation), (float(scales[1]), float(scales[0])))


def match_contours(
    post: FloatArray, pre: FloatArray, start: Transform, *, reach: float
) -> IcpResult | None:
    """Lay the post contour on the pre contour by an affine map.

    Points (x, y) are about 1 px apart. Those farther than `reach` px from the other
    outline take no part at first; it shrinks with the distances of the points that
    agree. None when there are too few points to say anything.

    Notes
    -----
    Point-to-line distances [1]_ with Tukey weights, so that a chipped corner
    or a mask that leaked does not pull; a small share of the point-to-point
    distance keeps outlines that are nearly round from spinning, and what they
    do not determine stays as the coarse search left it.

    References
    ----------
    .. [1] Y. Chen and G. Medioni, "Object modelling by registration of multiple
       range images", Image and Vision Computing 10, 1992.
       :doi:`10.1016/0262-8856(92)90066-C`
    """
    if len(post) < 50 or len(pre) < 50:
        return None
    source = post[:: max(1, len(post) // _MAX_POINTS)]
    tree = cKDTree(pre)
    normals = _normals(pre, tree)
    centre = source.mean(axis=0)
    length = max(float(np.sqrt(np.mean((source - centre) ** 2))), 1.0)
    x, y = ((source - centre) / length).T
    design = np.stack([x, y, np.ones_like(x)], axis=-1)
    mapped = start(source)
    scale = reach
    for _ in range(_ROUNDS):
        distance, index = tree.query(mapped)
        scale = _spread(distance, reach)
        # Tukey's biweight: w = (1 - (d / c s)^2)^2 within c s, c = 4.685.
        weight = np.clip(1.0 - (distance / (4.685 * scale)) ** 2, 0.0, None) ** 2
        weight[distance > reach] = 0.0
        if np.count_nonzero(weight) < _FEWEST:
            return None
        gap = pre[index] - mapped
        step = _affine_step(design, gap, normals[index], weight)
        moved = design @ step
        mapped = mapped + moved
        if float(np.abs(moved).max()) < _STILL:
            break
    distance, index = tree.query(mapped)
    line = np.abs(np.einsum("ni,ni->n", pre[index] - mapped, normals[index]))
    agree = distance <= min(reach, max(3.0 * scale, 2.0))
    if np.count_nonzero(agree) < _FEWEST:
        return None
    solution = np.linalg.lstsq(
        np.column_stack([source, np.ones(len(source))]), mapped, rcond=None
    )[0]
    matrix = np.vstack([solution.T, [0.0, 0.0, 1.0]])
    if abs(np.linalg.det(matrix)) < 1e-6:
        return None
    rms = float(np.sqrt(np.mean(line[agree] ** 2)))
    return IcpResult(Transform(matrix), rms, float(agree.mean()))


def _spread(distance: FloatArray, reach: float) -> float:
    """Return a robust standard deviation of the distances within reach."""
    near = distance[distance <= reach]
    if not len(near):
        return reach / 3.0
    # sigma = 1.4826 median |d| for normal distances
    return float(np.clip(1.4826 * np.median(near), 0.7, reach / 3.0))


def _normals(points: FloatArray, tree: cKDTree) -> FloatArray:
    """Return unit normals of an outline from the neighbours of each point."""
    count = min(13, len(points))
    _, index = tree.query(points, k=count)
    around = points[index] - points[index].mean(axis=1, keepdims=True)
    cxx = np.mean(around[..., 0] ** 2, axis=1)
    cyy = np.mean(around[..., 1] ** 2, axis=1)
    cxy = np.mean(around[..., 0] * around[..., 1], axis=1)
    # Principal axis of [[cxx, cxy], [cxy, cyy]]: tan 2a = 2 cxy / (cxx - cyy).
    along = 0.5 * np.arctan2(2.0 * cxy, cxx - cyy)
    return np.column_stack([-np.sin(along), np.cos(along)])


def _affine_step(
    design: FloatArray, gap: FloatArray, normal: FloatArray, weight: FloatArray
) -> FloatArray:
    """Return the affine movement, shape (3, 2), that closes the gaps best."""
    # Minimise sum w ((n . (A p - gap))^2 + share |A p - gap|^2) + damping sum w |A|^2.
    rows = np.concatenate([design * normal[:, :1], design * normal[:, 1:]], axis=1)
    target = np.einsum("ni,ni->n", gap, normal)
    system = rows.T @ (rows * weight[:, None])
    right = rows.T @ (weight * target)
    block = _POINT_SHARE * (design.T @ (design * weight[:, None]))
    system[:3, :3] += block
    system[3:, 3:] += block
    right[:3] += _POINT_SHARE * (design.T @ (weight * gap[:, 0]))
    right[3:] += _POINT_SHARE * (design.T @ (weight * gap[:, 1]))
    system += _DAMPING * float(weight.sum()) * np.eye(6)
    step: FloatArray = np.linalg.solve(system, right).reshape(2, 3).T
    return step
