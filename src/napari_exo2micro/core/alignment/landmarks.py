"""What landmarks are worth: the map through them, and how an alignment fits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from napari_exo2micro.core.alignment.fit import (
    FREEDOM,
    MODELS,
    FloatArray,
    Model,
    fit_plane,
)
from napari_exo2micro.core.base.errors import RegistrationError
from napari_exo2micro.core.images.landmarks import Landmarks
from napari_exo2micro.core.images.transform import Transform

_FLATTEST: Final = 0.05
"""Points whose width is less than this part of their length lie on one line."""

_FARTHEST: Final = 0.2
"""The others predict each to this part of their spread, in a bent section, too."""

_HELD_OUT: Final = 2
"""Pairs more than a model needs before its error is taken for known."""

_NONE_TO_BLAME: Final = 3
"""Among so many pairs none can be told to be the wrong one."""

_TOO_MUCH, _CLICK_PX = 3.0, 3.0
"""An alignment disagrees when it misses the landmarks by three times what they miss
each other by, and by what nobody can click more exactly than, px."""


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkFit:
    """The map through landmarks.

    Attributes
    ----------
    transform : Transform
        Post (fixed) to pre (moving), in the px of the landmarks.
    model : {'similarity', 'affine', 'homography'}
        Its freedom: the one that predicts pairs left out best.
    left_out : ndarray, shape (N,), float64
        Distance of each pair from the map through the others, px of pre.
    """

    transform: Transform
    model: Model
    left_out: FloatArray

    @property
    def error_px(self) -> float:
        """Leave-one-out error: the root mean square of `left_out`, px of pre."""
        return float(np.sqrt(np.mean(self.left_out**2)))


def fit_landmarks(landmarks: Landmarks) -> LandmarkFit:
    """Return the map through landmarks, by least squares.

    Parameters
    ----------
    landmarks : Landmarks
        At least three pairs. The hand (a mirror image) follows from them.

    Returns
    -------
    LandmarkFit
        A similarity through three or four pairs; with more an affine map or a
        homography where that predicts pairs left out better.

    Raises
    ------
    RegistrationError
        If they lie on one line, or do not fit each other.

    Examples
    --------
    >>> marks = Landmarks.of([(0, 0, 5, 0), (100, 0, 5, 200), (0, 50, -95, 0)])
    >>> fit = fit_landmarks(marks)
    >>> fit.model, round(fit.transform.decompose()["scale"], 3)
    ('similarity', 2.0)
    """
    post, pre = landmarks.post, landmarks.pre
    for side, points in (("post", post), ("pre", pre)):
        length, width = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if width <= _FLATTEST * max(length, 1e-9):
            raise RegistrationError(
                f"the {len(points)} landmarks lie on one line in {side}-stain, which "
                "does not tell the hand of the image; add one far from that line"
            )
    fits = []
    for model in MODELS:
        least = 3 if model == "similarity" else FREEDOM[model] // 2 + _HELD_OUT
        if len(landmarks) >= least:
            try:
                whole = fit_plane(model, post, pre).transform
                fits.append(LandmarkFit(whole, model, _left_out(model, post, pre)))
            except ValueError:  # what is left lies on one line
                continue
    best = min(fits, key=lambda fit: fit.error_px)
    _check_consistent(landmarks, best)
    return best


def _left_out(model: Model, post: FloatArray, pre: FloatArray) -> FloatArray:
    """Return how far each pair lies from the map through the others."""
    distances = np.empty(len(post))
    hand = None
    if model == "similarity":  # two pairs fit either hand
        hand = fit_plane(model, post, pre).transform.mirrored
    for n in range(len(post)):
        others = np.arange(len(post)) != n
        fit = fit_plane(model, post[others], pre[others], mirrored=hand)
        distances[n] = np.linalg.norm(fit.transform(post[n : n + 1]) - pre[n])
    return distances


def _check_consistent(landmarks: Landmarks, fit: LandmarkFit) -> None:
    """Refuse pairs of which one, or all, are not of one section."""
    pre = landmarks.pre
    spread = float(np.sqrt(np.mean(np.sum((pre - pre.mean(axis=0)) ** 2, axis=1))))
    if fit.error_px <= _FARTHEST * spread:
        return
    if len(landmarks) > _NONE_TO_BLAME:
        worst = landmarks.names[int(np.argmax(fit.left_out))]
        fix = f"look at '{worst}' first: is it the same grain in both images?"
    else:
        fix = "is each the same grain in both images?"
    raise RegistrationError(
        f"the {len(landmarks)} landmarks do not fit each other: the others miss one "
        f"by {fit.left_out.max():.0f} px, and they lie {spread:.0f} px around their "
        f"middle; {fix}"
    )


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkCheck:
    """How an alignment fits landmarks.

    Attributes
    ----------
    landmarks : Landmarks
        In px of the canvases.
    residuals : ndarray, shape (N, 2), float64
        From where the alignment puts each landmark to where it is in pre, (x, y), px of
        pre.
    fit : LandmarkFit
        What they are worth by themselves.
    """

    landmarks: Landmarks
    residuals: FloatArray
    fit: LandmarkFit

    @property
    def lengths(self) -> FloatArray:
        """Lengths of the residuals, shape (N,), px of pre."""
        lengths: FloatArray = np.hypot(*self.residuals.T)
        return lengths

    @property
    def problem(self) -> str:
        """Why the alignment is not believed; empty where the landmarks bear it."""
        found = float(np.sqrt(np.mean(self.lengths**2)))
        most = _TOO_MUCH * self.fit.error_px + _CLICK_PX
        if found <= most:
            return ""
        worst = self.landmarks.names[int(np.argmax(self.lengths))]
        return (
            f"it misses the landmarks by {found:.1f} px, wanted {most:.1f} px at most, "
            f"as they miss each other by {self.fit.error_px:.1f} px; farthest off is "
            f"'{worst}'"
        )

    @property
    def numbers(self) -> dict[str, float]:
        """Figures for a verdict."""
        return {
            "n_landmarks": float(len(self.landmarks)),
            "landmarks_px": float(np.sqrt(np.mean(self.lengths**2))),
            "landmarks_largest_px": float(self.lengths.max()),
            "landmarks_left_out_px": self.fit.error_px,
        }

    def to_details(self) -> Mapping[str, Any]:
        """Return it for a header."""
        marks = self.landmarks
        return {
            "source": marks.source,
            "names": list(marks.names),
            "post_xy": np.round(marks.post, 2).tolist(),
            "pre_xy": np.round(marks.pre, 2).tolist(),
            "residuals": np.round(self.residuals, 3).tolist(),
            "left_out": np.round(self.fit.left_out, 3).tolist(),
            "model": self.fit.model,
        }


def check_landmarks(landmarks: Landmarks, transform: Transform) -> LandmarkCheck:
    """Return how an alignment fits landmarks.

    Parameters
    ----------
    landmarks : Landmarks
        In px of the canvases.
    transform : Transform
        Post (fixed) to pre (moving), px of the canvases.

    Raises
    ------
    RegistrationError
        If the landmarks do not fit each other.
    """
    residuals = landmarks.pre - transform(landmarks.post)
    return LandmarkCheck(landmarks, residuals, fit_landmarks(landmarks))
