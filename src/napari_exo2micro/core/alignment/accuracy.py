"""How well a fitted transform is known, judged on tiles it did not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_exo2micro.core.alignment.fit import (
    MODELS,
    FloatArray,
    Model,
    PlaneFit,
    fit_plane_robust,
)
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "Accuracy",
    "assess_accuracy",
    "choose_model",
    "coherent_misfit",
    "held_out_residuals",
    "spatial_folds",
]

_FOLDS = 10
_NEIGHBOURS = 9
_APART = 5
_CLIP = 3.0
_FEWEST = 8


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What is known of the error of a fitted transform, px of the pre image.

    Attributes
    ----------
    residual_median, residual_p95 : float
        Length of the residuals of tiles that the fit did not see.
    statistical : float
        Root mean square error over the section by the noise of the tiles.
    coherent : float
        Root mean square of the misfit that neighbouring tiles share: what the
        section does and a plane transform cannot follow.
    coherent_p95 : float
        95th percentile of that misfit over the section.
    total : float
        Both errors together, added in squares.
    """

    residual_median: float
    residual_p95: float
    statistical: float
    coherent: float
    coherent_p95: float
    total: float


def spatial_folds(points: FloatArray, count: int = _FOLDS) -> NDArray[np.intp]:
    """Return a fold number for each point; a fold is made of compact blocks.

    Neighbouring tiles share their errors, so a tile is only unseen when its
    neighbours are unseen, too.

    Parameters
    ----------
    points : ndarray, shape (N, 2), float64
        Places (x, y).
    count : int
        Number of folds.

    Returns
    -------
    ndarray, shape (N,), int
        0 to `count` - 1; depends on the order of the points along x and y only.
    """
    side = max(2, min(count, round(np.sqrt(len(points) / 3))))
    cells = np.empty((len(points), 2), np.intp)
    for axis in range(2):
        rank = np.empty(len(points), np.intp)
        rank[np.argsort(points[:, axis], kind="stable")] = np.arange(len(points))
        cells[:, axis] = rank * side // max(len(points), 1)
    folds: NDArray[np.intp] = (cells[:, 0] + 3 * cells[:, 1]) % count
    return folds


def _fit_each_fold(
    model: Model,
    source: FloatArray,
    target: FloatArray,
    information: FloatArray,
    start: Transform,
    folds: NDArray[np.intp],
    monitor: Monitor | None,
) -> list[tuple[NDArray[np.bool_], PlaneFit]]:
    fits = []
    monitor = monitor or Monitor()
    for fold in np.unique(folds):
        monitor.check()
        unseen = folds == fold
        seen = ~unseen
        try:
            fit = fit_plane_robust(
                model,
                source[seen],
                target[seen],
                information=information[seen],
                start=start,
                mirrored=start.mirrored,
            )
        except ValueError:
            continue
        fits.append((unseen, fit))
    return fits


def held_out_residuals(
    model: Model,
    source: FloatArray,
    target: FloatArray,
    information: FloatArray,
    start: Transform,
    *,
    folds: NDArray[np.intp] | None = None,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Return each tile's residual from the fit to the other folds.

    Parameters
    ----------
    model : {'similarity', 'affine', 'homography'}
        The freedom to fit.
    source, target : ndarray, shape (N, 2), float64
        Post and pre points, px.
    information : ndarray, shape (N, 2, 2), float64
        Inverse covariance of the pre points.
    start : Transform
        Where the robust fit starts.
    folds : ndarray, shape (N,), int, optional
        By default `spatial_folds` of the source.
    monitor : Monitor, optional
        Asked whether to stop before each fit.

    Returns
    -------
    ndarray, shape (N, 2), float64
        Pre point minus transformed post point, px; NaN where no fit was
        possible without the tile's fold.
    """
    folds = spatial_folds(source) if folds is None else folds
    residuals = np.full((len(source), 2), np.nan)
    fits = _fit_each_fold(model, source, target, information, start, folds, monitor)
    for unseen, fit in fits:
        residuals[unseen] = target[unseen] - fit.transform(source[unseen])
    return residuals


def choose_model(
    source: FloatArray,
    target: FloatArray,
    information: FloatArray,
    start: Transform,
    monitor: Monitor | None = None,
) -> Model:
    """Return the simplest model that predicts unseen tiles as well as any.

    Parameters
    ----------
    source, target, information, start, monitor
        As for `held_out_residuals`.

    Returns
    -------
    {'similarity', 'affine', 'homography'}
        More freedom only when it lowers the held-out misfit by more than the
        standard error of that gain.
    """
    costs: dict[Model, FloatArray] = {}
    folds = spatial_folds(source)
    residuals = {
        model: held_out_residuals(
            model, source, target, information, start, folds=folds, monitor=monitor
        )
        for model in MODELS
    }
    squared = {
        model: np.einsum("ni,nij,nj->n", r, information, r)
        for model, r in residuals.items()
    }
    known = np.all([np.isfinite(s) for s in squared.values()], axis=0)
    if np.count_nonzero(known) < 8:
        return "similarity"
    scale = min(float(np.median(s[known])) for s in squared.values())
    limit = _CLIP**2 * max(scale, 1e-300)
    costs = {model: np.minimum(s[known], limit) for model, s in squared.items()}
    best: Model = "similarity"
    for model in MODELS[1:]:
        gain = costs[best] - costs[model]
        error = float(gain.std()) / np.sqrt(len(gain))
        if float(gain.mean()) > error:
            best = model
    return best


def coherent_misfit(
    points: FloatArray, residuals: FloatArray, *, apart: float = 0.0
) -> tuple[float, float]:
    """Return the misfit that neighbouring tiles share.

    Parameters
    ----------
    points : ndarray, shape (N, 2), float64
        Places of the tiles.
    residuals : ndarray, shape (N, 2), float64
        Residuals (dx, dy), px; outliers may be among them.
    apart : float
        Tiles nearer than this share pixels and so noise, px.

    Returns
    -------
    rms, p95 : float
        Root mean square and 95th percentile over the tiles, px.

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
    order = np.argsort(rank, axis=1, kind="stable")[:, :_APART]
    others = np.take_along_axis(near, order, axis=1)
    around = np.median(residuals[others], axis=1)
    step = residuals - around
    scale = 1.4826 * np.median(np.abs(step), axis=0)
    inlying = (np.abs(step) <= 4.0 * np.maximum(scale, 1e-9)).all(axis=1)
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
) -> Accuracy:
    """Estimate the error of a fitted transform over the section.

    Parameters
    ----------
    fit : PlaneFit
        The fit to all tiles.
    source, target, information
        The tiles, those that the fit rejected included.
    section : ndarray, shape (M, 2), float64
        Points of the post image over which the error counts.
    apart : float
        Tiles nearer than this share pixels, px.
    monitor : Monitor, optional
        Asked whether to stop before each fit.

    Returns
    -------
    Accuracy
        Lengths in px of the pre image.

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
    folds = spatial_folds(source)
    fits = _fit_each_fold(
        fit.model, source, target, information, fit.transform, folds, monitor
    )
    residuals = np.full((len(source), 2), np.nan)
    for unseen, other in fits:
        residuals[unseen] = target[unseen] - other.transform(source[unseen])
    known = np.isfinite(residuals).all(axis=1)
    used = known & (fit.weights > 0.0)
    lengths = np.linalg.norm(residuals[used], axis=1)
    if len(lengths) < _FEWEST or len(fits) < 3:
        nothing = float("inf")
        return Accuracy(nothing, nothing, nothing, nothing, nothing, nothing)
    mapped = np.stack([other.transform(section) for _, other in fits])
    spread = ((mapped - mapped.mean(axis=0)) ** 2).sum(axis=2).mean(axis=1).sum()
    jackknife = float(spread) * (len(fits) - 1) / len(fits)
    chi = np.einsum("ni,nij,nj->n", fit.residuals, information, fit.residuals)
    scale = max(float(np.median(chi[fit.weights > 0.0])) / (2.0 * np.log(2.0)), 0.25)
    covariance = fit.predict_covariance(section)
    by_noise = float(np.trace(covariance, axis1=1, axis2=2).mean()) * scale
    coherent, p95 = coherent_misfit(source[known], residuals[known], apart=apart)
    statistical = float(np.sqrt(max(jackknife, by_noise)))
    return Accuracy(
        residual_median=float(np.median(lengths)),
        residual_p95=float(np.percentile(lengths, 95)),
        statistical=statistical,
        coherent=coherent,
        coherent_p95=p95,
        total=float(np.hypot(statistical, coherent)),
    )
