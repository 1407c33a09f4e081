"""Least-squares and robust fits of plane transforms to pairs of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.transforms import Transform

__all__ = ["MODELS", "Model", "PlaneFit", "fit_plane", "fit_plane_robust"]

Model = Literal["similarity", "affine", "homography"]
MODELS: tuple[Model, ...] = ("similarity", "affine", "homography")
_FREEDOM = {"similarity": 4, "affine": 6, "homography": 8}
_TUKEY = 4.685
_GAUSS_NEWTON_STEPS = 8

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlaneFit:
    """A transform fitted to pairs of points.

    Attributes
    ----------
    transform : Transform
        Source (post) to target (pre) points.
    model : {'similarity', 'affine', 'homography'}
        The freedom that was fitted.
    residuals : ndarray, shape (N, 2), float64
        Target minus transformed source, px of the target.
    weights : ndarray, shape (N,), float64
        Robust weight of each pair, 0 (an outlier) to 1.
    jacobian_covariance : ndarray, shape (P, P), float64
        Covariance of the parameters for unit information, in the normalised
        coordinates of `normalisation`; see `predict_covariance`.
    normalisation : ndarray, shape (3,), float64
        Centre x, centre y and length that normalise source points.
    """

    transform: Transform
    model: Model
    residuals: FloatArray
    weights: FloatArray
    jacobian_covariance: FloatArray
    normalisation: FloatArray

    def predict_covariance(self, points: FloatArray) -> FloatArray:
        """Return the covariance (px squared) of the mapped `points`, (N, 2, 2)."""
        design = _design(self.model, self.transform, points, self.normalisation)
        covariance: FloatArray = design @ self.jacobian_covariance
        return covariance @ design.transpose(0, 2, 1)


def _normalised(points: FloatArray, normalisation: FloatArray) -> FloatArray:
    result: FloatArray = (points - normalisation[:2]) / normalisation[2]
    return result


def _design(
    model: Model, transform: Transform, points: FloatArray, normalisation: FloatArray
) -> FloatArray:
    """Return d(target)/d(parameters), shape (N, 2, P), at the present transform."""
    x, y = _normalised(points, normalisation).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    if model == "similarity":
        hand = -1.0 if transform.mirrored else 1.0
        rows_x = [hand * x, -y, one, zero]
        rows_y = [y, hand * x, zero, one]
    else:
        rows_x = [x, y, one, zero, zero, zero]
        rows_y = [zero, zero, zero, x, y, one]
    design = np.stack([np.stack(rows_x, -1), np.stack(rows_y, -1)], axis=1)
    if model != "homography":
        return design
    matrix = transform.matrix
    homogeneous = np.column_stack([points, one]) @ matrix.T
    # The denominator at the centre of the points is the unit of the parameters.
    centre = float(matrix[2] @ np.array([*normalisation[:2], 1.0]))
    depth = homogeneous[:, 2] / centre
    target = homogeneous[:, :2] / homogeneous[:, 2:]
    # Targets are taken relative to the mapped centre, where projective terms
    # would otherwise be almost a copy of the translation terms.
    middle = transform(normalisation[None, :2])[0]
    relative = target - middle
    perspective = -np.stack([relative * x[:, None], relative * y[:, None]], axis=-1)
    perspective = perspective / normalisation[2]
    full: FloatArray = np.concatenate([design, perspective], axis=2)
    full /= depth[:, None, None]
    return full


def _from_normalised(matrix: FloatArray, normalisation: FloatArray) -> Transform:
    cx, cy, length = normalisation
    change = np.array([[1 / length, 0, -cx / length], [0, 1 / length, -cy / length]])
    return Transform(matrix @ np.vstack([change, [0.0, 0.0, 1.0]]))


def _solve(
    design: FloatArray, residuals: FloatArray, information: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the least-squares step and the covariance of its parameters."""
    weighted = information @ design
    normal = np.einsum("nip,niq->pq", design, weighted)
    gradient = np.einsum("nip,ni->p", weighted, residuals)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    inverse = np.linalg.pinv(normal * np.outer(scale, scale), rcond=1e-13)
    covariance = inverse * np.outer(scale, scale)
    return covariance @ gradient, covariance


def _linear(
    model: Model,
    source: FloatArray,
    target: FloatArray,
    information: FloatArray,
    normalisation: FloatArray,
    mirrored: bool,
) -> tuple[Transform, FloatArray]:
    hand = Transform(np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0]))
    design = _design(model, hand, source, normalisation)
    p, covariance = _solve(design, target, information)
    if model == "similarity":
        h = -1.0 if mirrored else 1.0
        matrix = np.array([[h * p[0], -p[1], p[2]], [h * p[1], p[0], p[3]], [0, 0, 1]])
        # Rows follow the design: x' = h a x - b y + c, y' = a y + h b x + d.
    else:
        matrix = np.array([p[:3], p[3:6], [0.0, 0.0, 1.0]])
    return _from_normalised(matrix, normalisation), covariance


def fit_plane(
    model: Model,
    source: FloatArray,
    target: FloatArray,
    *,
    information: FloatArray | None = None,
    mirrored: bool | None = None,
) -> PlaneFit:
    """Fit a transform to pairs of points by weighted least squares.

    Parameters
    ----------
    model : {'similarity', 'affine', 'homography'}
        The freedom to fit: 4, 6 or 8 parameters.
    source, target : ndarray, shape (N, 2), float64
        Points (x, y) in px; the transform maps source to target.
    information : ndarray, shape (N,) or (N, 2, 2), optional
        Weight or inverse covariance (1/px squared) of each target point.
    mirrored : bool, optional
        Hand of a similarity; by default the one that fits better.

    Returns
    -------
    PlaneFit
        With all robust weights 1.

    Raises
    ------
    ValueError
        If there are fewer points than the model needs, or they do not
        determine it.

    Notes
    -----
    The homography minimises the distance in the target by Gauss-Newton steps
    from the affine fit, in normalised coordinates [1]_.

    References
    ----------
    .. [1] R. Hartley and A. Zisserman, "Multiple View Geometry in Computer
       Vision", 2nd ed., 2004. :doi:`10.1017/CBO9780511811685`
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    needed = _FREEDOM[model] // 2
    if len(source) < needed:
        raise ValueError(f"a {model} needs {needed} pairs of points, not {len(source)}")
    if information is None:
        information = np.ones(len(source))
    if information.ndim == 1:
        information = information[:, None, None] * np.eye(2)
    total = float(np.trace(information, axis1=1, axis2=2).sum())
    if not total > 0:
        raise ValueError("a fit needs points of positive weight")
    centre = source.mean(axis=0)
    length = max(float(np.sqrt(np.mean((source - centre) ** 2))), 1e-9)
    normalisation = np.array([centre[0], centre[1], length])

    def misfit(transform: Transform) -> float:
        r = target - transform(source)
        return float(np.einsum("ni,nij,nj->", r, information, r))

    if model == "similarity":
        hands = (False, True) if mirrored is None else (mirrored,)
        candidates = [
            _linear(model, source, target, information, normalisation, hand)
            for hand in hands
        ]
        transform, covariance = min(candidates, key=lambda pair: misfit(pair[0]))
    else:
        transform, covariance = _linear(
            "affine", source, target, information, normalisation, False
        )
    if model == "homography":
        best = misfit(transform)
        for _ in range(_GAUSS_NEWTON_STEPS):
            design = _design(model, transform, source, normalisation)
            step, covariance = _solve(design, target - transform(source), information)
            trial = _apply_homography_step(transform, step, normalisation)
            cost = misfit(trial) if trial is not None else np.inf
            if trial is None or not cost <= best * (1 + 1e-12) + 1e-300:
                break
            done = best - cost <= 1e-10 * best
            transform, best = trial, cost
            if done:
                break
    residuals = target - transform(source)
    return PlaneFit(
        transform, model, residuals, np.ones(len(source)), covariance, normalisation
    )


def _apply_homography_step(
    transform: Transform, step: FloatArray, normalisation: FloatArray
) -> Transform | None:
    """Return the homography after a step of its eight parameters."""
    cx, cy, length = normalisation
    to_pixels = np.array([[length, 0, cx], [0, length, cy], [0, 0, 1.0]])
    middle = transform(normalisation[None, :2])[0]
    to_middle = np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1.0]])
    local = to_middle @ transform.matrix @ to_pixels
    local = local / local[2, 2]
    local[0] += step[0:3]
    local[1] += step[3:6]
    local[2, :2] += step[6:8] / length
    from_middle = np.array([[1, 0, middle[0]], [0, 1, middle[1]], [0, 0, 1.0]])
    try:
        return Transform(from_middle @ local @ np.linalg.inv(to_pixels))
    except ValueError:
        return None


def fit_plane_robust(
    model: Model,
    source: FloatArray,
    target: FloatArray,
    *,
    information: FloatArray | None = None,
    start: Transform | None = None,
    mirrored: bool | None = None,
    floor: float = 0.02,
    rounds: int = 20,
) -> PlaneFit:
    """Fit a transform by iteratively reweighted least squares (Tukey).

    Parameters
    ----------
    model, source, target, information
        As for `fit_plane`.
    start : Transform, optional
        Where residuals are first judged; by default the median-like fit of
        all pairs.
    mirrored : bool, optional
        As for `fit_plane`.
    floor : float
        The scale of the residuals is never taken to be below this, px.
    rounds : int
        Greatest number of reweightings.

    Returns
    -------
    PlaneFit
        Pairs of weight 0 took no part.

    Notes
    -----
    Tukey's biweight with the scale from the median absolute residual [1]_.
    Residuals are judged in units of their own uncertainty.

    References
    ----------
    .. [1] P. J. Huber and E. M. Ronchetti, "Robust Statistics", 2nd ed.,
       2009. :doi:`10.1002/9780470434697`
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    if information is None:
        information = np.ones(len(source))
    if information.ndim == 1:
        information = information[:, None, None] * np.eye(2)
    fit = None
    if start is None:
        fit = fit_plane(
            model, source, target, information=information, mirrored=mirrored
        )
        start = fit.transform
    transform = start
    weights = np.ones(len(source))
    own = 0.5 * np.trace(information, axis1=1, axis2=2)
    typical = max(float(np.median(own)), 1e-300)
    for number in range(rounds):
        gap = target - transform(source)
        distance = np.sqrt(np.einsum("ni,nij,nj->n", gap, information, gap) / typical)
        # 1.18: median of the length of a 2-D normal vector of unit sigma.
        sigma = max(float(np.median(distance)) / 1.1774, floor)
        reach = _TUKEY * 1.25 * sigma
        new = np.clip(1.0 - (distance / reach) ** 2, 0.0, None) ** 2
        if number and np.max(np.abs(new - weights)) < 1e-4:
            break
        weights = new
        if np.count_nonzero(weights > 0.05) < _FREEDOM[model] // 2 + 1:
            break
        fit = fit_plane(
            model,
            source,
            target,
            information=information * weights[:, None, None],
            mirrored=mirrored,
        )
        transform = fit.transform
    if fit is None:
        raise ValueError(
            f"too few pairs of points agree for a {model}: "
            f"{np.count_nonzero(weights > 0.05)} of {len(source)}"
        )
    return PlaneFit(
        fit.transform,
        model,
        target - fit.transform(source),
        weights,
        fit.jacobian_covariance,
        fit.normalisation,
    )
