"""Robust fits of plane transforms to pairs of points, and how well they are known."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.transform import Transform

Model = Literal["similarity", "affine", "homography"]
MODELS: tuple[Model, ...] = ("similarity", "affine", "homography")
FREEDOM = {"similarity": 4, "affine": 6, "homography": 8}
#: Tukey's constant: 95 % of the efficiency of least squares on normal noise.
_TUKEY = 4.685
#: Median of the length of a 2-D normal vector of unit sigma: sqrt(2 ln 2).
_MEDIAN_LENGTH = 1.1774
_GAUSS_NEWTON_STEPS = 8
_REWEIGHTINGS = 20

_FOLDS = 10
#: Tiles of a neighbourhood, and those of it that stand for a tile's surroundings.
_NEIGHBOURS, _AROUND = 9, 5
#: Held-out residuals count up to so many times their median.
_CLIP = 3.0
#: Fewer held-out tiles than this tell nothing.
_FEWEST = 8

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlaneFit:
    """A transform fitted to pairs of points, source (post) to target (pre).

    Attributes
    ----------
    residuals : ndarray, shape (N, 2), float64
        Target minus transformed source, px of the target.
    weights : ndarray, shape (N,), float64
        Robust weight of each pair, 0 (an outlier) to 1.
    covariance : ndarray, shape (P, P), float64
        Of the parameters for unit information, in normalised coordinates.
    normalisation : ndarray, shape (3,), float64
        Centre x, centre y and length that normalise source points.
    """

    transform: Transform
    model: Model
    residuals: FloatArray
    weights: FloatArray
    covariance: FloatArray
    normalisation: FloatArray

    def predict_covariance(self, points: FloatArray) -> FloatArray:
        """Return the covariance (px squared) of the mapped `points`, (N, 2, 2)."""
        design = _design(self.model, self.transform, points, self.normalisation)
        covariance: FloatArray = design @ self.covariance
        return covariance @ design.transpose(0, 2, 1)


def _design(
    model: Model, transform: Transform, points: FloatArray, normalisation: FloatArray
) -> FloatArray:
    """Return d(target)/d(parameters), shape (N, 2, P), at the present transform."""
    x, y = ((points - normalisation[:2]) / normalisation[2]).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    if model == "similarity":
        # x' = h a x - b y + c, y' = h b x + a y + d, h = -1 for a mirror image
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
    # d(u/w) = (du - (u/w) dw) / w, with (u, v, w) = H (x, y, 1)
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


def _solve(
    design: FloatArray, residuals: FloatArray, information: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the least-squares step and the covariance of its parameters."""
    # p = (sum J' W J)^-1 sum J' W r, conditioned by the diagonal of the normal matrix.
    weighted = information @ design
    normal = np.einsum("nip,niq->pq", design, weighted)
    gradient = np.einsum("nip,ni->p", weighted, residuals)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    inverse = np.linalg.pinv(normal * np.outer(scale, scale), rcond=1e-13)
    covariance = inverse * np.outer(scale, scale)
    return covariance @ gradient, covariance


def _fit_linear(
    model: Model,
    source: FloatArray,
    target: FloatArray,
    information: FloatArray,
    normalisation: FloatArray,
    mirrored: bool,
) -> tuple[Transform, FloatArray]:
    """Return the similarity (of a hand) or affine map of least squares."""
    h = -1.0 if mirrored else 1.0
    design = _design(model, Transform(np.diag([h, 1.0, 1.0])), source, normalisation)
    p, covariance = _solve(design, target, information)
    if model == "similarity":
        matrix = np.array([[h * p[0], -p[1], p[2]], [h * p[1], p[0], p[3]], [0, 0, 1]])
    else:
        matrix = np.array([p[:3], p[3:6], [0.0, 0.0, 1.0]])
    cx, cy, length = normalisation
    to_normal = [[1 / length, 0, -cx / length], [0, 1 / length, -cy / length]]
    return Transform(matrix @ np.array([*to_normal, [0.0, 0.0, 1.0]])), covariance


def _as_matrices(information: FloatArray | None, count: int) -> FloatArray:
    """Return the information of each point as a matrix, shape (N, 2, 2)."""
    if information is None:
        information = np.ones(count)
    if information.ndim == 1:
        information = information[:, None, None] * np.eye(2)
    return information


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
    needed = FREEDOM[model] // 2
    if len(source) < needed:
        raise ValueError(f"a {model} needs {needed} pairs of points, not {len(source)}")
    information = _as_matrices(information, len(source))
    centre = source.mean(axis=0)
    length = max(float(np.sqrt(np.mean((source - centre) ** 2))), 1e-9)
    normalisation = np.array([centre[0], centre[1], length])

    def misfit(transform: Transform) -> float:
        r = target - transform(source)
        return float(np.einsum("ni,nij,nj->", r, information, r))

    hands: tuple[bool, ...] = (False,)
    if model == "similarity":
        hands = (False, True) if mirrored is None else (mirrored,)
    linear: Model = "similarity" if model == "similarity" else "affine"
    transform, covariance = min(
        (
            _fit_linear(linear, source, target, information, normalisation, hand)
            for hand in hands
        ),
        key=lambda pair: misfit(pair[0]),
    )
    if model == "homography":
        best = misfit(transform)
        for _ in range(_GAUSS_NEWTON_STEPS):
            design = _design(model, transform, source, normalisation)
            step, covariance = _solve(design, target - transform(source), information)
            trial = _step_homography(transform, step, normalisation)
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


def _step_homography(
    transform: Transform, step: FloatArray, normalisation: FloatArray
) -> Transform | None:
    """Return the homography after a step of its eight parameters."""
    cx, cy, length = normalisation
    to_pixels = np.array([[length, 0, cx], [0, length, cy], [0, 0, 1.0]])
    x, y = transform(normalisation[None, :2])[0]
    to_middle = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
    # H = M^-1 (L + step) N: N takes px to normal points, M the mapped middle to 0, and
    # L = M H N^-1 has L33 = 1.
    local = to_middle @ transform.matrix @ to_pixels
    local = local / local[2, 2]
    local[0] += step[0:3]
    local[1] += step[3:6]
    local[2, :2] += step[6:8] / length
    from_middle = np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
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
) -> PlaneFit:
    """Fit a transform by iteratively reweighted least squares (Tukey).

    Parameters are those of `fit_plane`; and `start`, with which residuals are first
    judged (by default the fit of all pairs). Their scale is never taken to be below
    `floor`, px.

    Notes
    -----
    Tukey's biweight with the scale from the median absolute residual [1]_.
    Residuals are judged in units of their own uncertainty; pairs of weight 0 take
    no part.

    References
    ----------
    .. [1] P. J. Huber and E. M. Ronchetti, "Robust Statistics", 2nd ed.,
       2009. :doi:`10.1002/9780470434697`
    """
    information = _as_matrices(information, len(source))

    def weighted_fit(weights: FloatArray) -> PlaneFit:
        shares = information * weights[:, None, None]
        return fit_plane(model, source, target, information=shares, mirrored=mirrored)

    weights = np.ones(len(source))
    fit = weighted_fit(weights) if start is None else None
    own = 0.5 * np.trace(information, axis1=1, axis2=2)
    typical = max(float(np.median(own)), 1e-300)
    for number in range(_REWEIGHTINGS):
        transform = start if fit is None else fit.transform
        assert transform is not None
        gap = target - transform(source)
        distance = np.sqrt(np.einsum("ni,nij,nj->n", gap, information, gap) / typical)
        # d^2 = r' W r / typical W; w = (1 - (d / c sigma)^2)^2 within c sigma
        sigma = max(float(np.median(distance)) / _MEDIAN_LENGTH, floor)
        reach = _TUKEY * 1.25 * sigma
        new = np.clip(1.0 - (distance / reach) ** 2, 0.0, None) ** 2
        if number and np.max(np.abs(new - weights)) < 1e-4:
            break
        weights = new
        if np.count_nonzero(weights > 0.05) < FREEDOM[model] // 2 + 1:
            break
        fit = weighted_fit(weights)
    if fit is None:
        raise ValueError(
            f"too few pairs of points agree for a {model}: "
            f"{np.count_nonzero(weights > 0.05)} of {len(source)}"
        )
    return replace(fit, weights=weights)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What is known of the error of a fitted transform, px of the pre image.

    Residuals are those of tiles that the fit did not see. The root mean square error
    over the section has a `statistical` part by the noise of the tiles, and a
    `coherent` one that neighbouring tiles share: what a plane transform cannot follow.
    """

    residual_median: float
    residual_p95: float
    statistical: float
    coherent: float
    coherent_p95: float
    total: float


def spatial_folds(points: FloatArray) -> NDArray[np.intp]:
    """Return a fold number for each point, 0 to 9; a fold is made of compact blocks.

    Neighbouring tiles share their errors, so a tile is only unseen when its
    neighbours are unseen, too.
    """
    side = max(2, min(_FOLDS, round(np.sqrt(len(points) / 3))))
    cells = np.empty((len(points), 2), np.intp)
    for axis in range(2):
        rank = np.empty(len(points), np.intp)
        rank[np.argsort(points[:, axis], kind="stable")] = np.arange(len(points))
        cells[:, axis] = rank * side // max(len(points), 1)
    folds: NDArray[np.intp] = (cells[:, 0] + 3 * cells[:, 1]) % _FOLDS
    return folds


def fit_folds(
    model: Model,
    source: FloatArray,
    target: FloatArray,
    information: FloatArray,
    start: Transform,
    monitor: Monitor | None = None,
) -> tuple[FloatArray, list[PlaneFit]]:
    """Return the residual of each tile from the fit to the other folds, and the fits.

    The robust fits begin at `start`, which gives the hand. Residuals, px, are NaN
    where no fit is possible without the tile's fold (see `spatial_folds`).
    """
    monitor = monitor or Monitor()
    residuals = np.full((len(source), 2), np.nan)
    folds, fits = spatial_folds(source), []
    for fold in np.unique(folds):
        monitor.check()
        unseen = folds == fold
        try:
            fit = fit_plane_robust(
                model,
                source[~unseen],
                target[~unseen],
                information=information[~unseen],
                start=start,
                mirrored=start.mirrored,
            )
        except ValueError:
            continue
        residuals[unseen] = target[unseen] - fit.transform(source[unseen])
        fits.append(fit)
    return residuals, fits


def choose_model(
    source: FloatArray,
    target: FloatArray,
    information: FloatArray,
    start: Transform,
    monitor: Monitor | None = None,
) -> Model:
    """Return the simplest model that predicts unseen tiles as well as any.

    More freedom is taken only when it lowers the held-out misfit by more than the
    standard error of that gain. Parameters are those of `fit_folds`.
    """
    squared: dict[Model, FloatArray] = {}
    for model in MODELS:
        r, _ = fit_folds(model, source, target, information, start, monitor)
        squared[model] = np.einsum("ni,nij,nj->n", r, information, r)
    known = np.all([np.isfinite(s) for s in squared.values()], axis=0)
    if np.count_nonzero(known) < _FEWEST:
        return "similarity"
    scale = min(float(np.median(s[known])) for s in squared.values())
    limit = _CLIP**2 * max(scale, 1e-300)
    costs = {model: np.minimum(s[known], limit) for model, s in squared.items()}
    best: Model = "similarity"
    for model in MODELS[1:]:
        # Taken when mean(gain) > std(gain) / sqrt(n), its standard error.
        gain = costs[best] - costs[model]
        error = float(gain.std()) / np.sqrt(len(gain))
        if float(gain.mean()) > error:
            best = model
    return best


def coherent_misfit(
    points: FloatArray, residuals: FloatArray, *, apart: float = 0.0
) -> tuple[float, float]:
    """Return the root mean square and 95th percentile of the misfit tiles share, px.

    Residuals (dx, dy) of tiles at `points`, outliers among them; tiles nearer than
    `apart` px share pixels and so noise.

    Notes
    -----
    The noise of two tiles that share no pixel is independent, so the mean of
    the products of their residuals is the square of what they share, whatever
    the noise. A local median takes the place of one of the two, so that
    outliers have no say.
    """
    count = len(points)
    if count < 2 * _NEIGHBOURS:
        # Too few to tell noise from misfit: all of it may be misfit.
        typical = float(np.median(np.linalg.norm(residuals, axis=1)))
        return typical, 2.0 * typical
    distance, near = cKDTree(points).query(points, k=min(4 * _NEIGHBOURS, count))
    # The nearest of those that share nothing with the tile.
    rank = np.where(distance >= max(apart, 1e-9), 0, 1)
    order = np.argsort(rank, axis=1, kind="stable")[:, :_AROUND]
    others = np.take_along_axis(near, order, axis=1)
    around = np.median(residuals[others], axis=1)
    step = residuals - around
    scale = 1.4826 * np.median(np.abs(step), axis=0)
    inlying = (np.abs(step) <= 4.0 * np.maximum(scale, 1e-9)).all(axis=1)
    # shared^2 = mean of r_i . median(r_j), the j apart from i
    shared = float((residuals * around).sum(axis=1)[inlying].mean())
    # What the local mean square exceeds the shared part by is noise; the 95th
    # percentile of such noise is ln(20) times its mean.
    local = np.median(residuals[near[:, :_NEIGHBOURS]], axis=1)
    squared = (local**2).sum(axis=1)
    noise = max(float(squared[inlying].mean()) - max(shared, 0.0), 0.0)
    p95 = float(np.percentile(squared, 95)) - np.log(20.0) * noise
    return float(np.sqrt(max(shared, 0.0))), float(np.sqrt(max(p95, 0.0)))


def assess_accuracy(
    fit: PlaneFit,
    source: FloatArray,
    target: FloatArray,
    information: FloatArray,
    section: FloatArray,
    *,
    apart: float = 0.0,
    monitor: Monitor | None = None,
) -> Accuracy | None:
    """Estimate the error of a transform over points of the section, post px.

    From the tiles that it was fitted to, those that it rejected included. `apart`: see
    `coherent_misfit`. None when too few tiles are known.

    Notes
    -----
    The statistical part is the larger of the covariance, scaled to the
    residuals, and of the delete-one-fold jackknife, whose folds are blocks, so
    that errors that neighbours share are counted [1]_.

    References
    ----------
    .. [1] D. R. Roberts et al., "Cross-validation strategies for data with
       temporal, spatial, hierarchical, or phylogenetic structure", Ecography
       40, 2017. :doi:`10.1111/ecog.02881`
    """
    residuals, fits = fit_folds(
        fit.model, source, target, information, fit.transform, monitor
    )
    known = np.isfinite(residuals).all(axis=1)
    used = fit.weights[known] > 0.0
    if np.count_nonzero(used) < _FEWEST or len(fits) < 3:
        return None
    by_noise = float(noise_variance(fit, information, section).mean())
    return accuracy_of(
        source[known],
        residuals[known],
        used,
        np.stack([other.transform(section) for other in fits]),
        noise=float(np.sqrt(by_noise)),
        apart=apart,
    )


def noise_variance(
    fit: PlaneFit, information: FloatArray, points: FloatArray
) -> FloatArray:
    """Return the variance of mapped points by the noise of the tiles, px squared.

    Both directions together, shape (N,); the covariance of the fit, scaled to its
    residuals.
    """
    # The median of chi squared of two degrees of freedom is 2 ln 2.
    chi = np.einsum("ni,nij,nj->n", fit.residuals, information, fit.residuals)
    scale = max(float(np.median(chi[fit.weights > 0.0])) / (2.0 * np.log(2.0)), 0.25)
    covariance = fit.predict_covariance(points)
    variance: FloatArray = scale * np.trace(covariance, axis1=1, axis2=2)
    return variance


def accuracy_of(
    points: FloatArray,
    unseen: FloatArray,
    used: NDArray[np.bool_],
    mapped: FloatArray,
    *,
    noise: float = 0.0,
    apart: float = 0.0,
) -> Accuracy:
    """Return the accuracy that fits without a fold each tell, px.

    `unseen` are the residuals of tiles at `points` from the fit without them, `used`
    those that count in it; `mapped` is where each fit maps the same points, shape
    (fits, N, 2). The statistical part is at least `noise`. `apart`: see
    `coherent_misfit`.
    """
    # Jackknife: (k - 1) / k sum_i (T_i(x) - mean T(x))^2 over k fits that leave a
    # block out each.
    spread = ((mapped - mapped.mean(axis=0)) ** 2).sum(axis=2).mean(axis=1).sum()
    jackknife = float(np.sqrt(spread * (len(mapped) - 1) / len(mapped)))
    statistical = max(jackknife, noise)
    coherent, p95 = coherent_misfit(points, unseen, apart=apart)
    lengths = np.linalg.norm(unseen[used], axis=1)
    return Accuracy(
        residual_median=float(np.median(lengths)),
        residual_p95=float(np.percentile(lengths, 95)),
        statistical=statistical,
        coherent=coherent,
        coherent_p95=p95,
        total=float(np.hypot(statistical, coherent)),
    )
