"""Enhanced correlation coefficient: the optional fine pass of stage 2."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from napari_exo2micro.core.alignment.overlap import Texture
from napari_exo2micro.core.alignment.views import between
from napari_exo2micro.core.transforms import Transform

__all__ = ["EccResult", "correlation_at", "refine_ecc"]


@dataclass(frozen=True, slots=True)
class EccResult:
    """What the ECC pass found.

    Attributes
    ----------
    transform : Transform
        Post to pre, full-resolution px: a homography.
    before, after : float
        Correlation coefficient of the interiors at the start and at the end.
    """

    transform: Transform
    before: float
    after: float


def correlation_at(post: Texture, pre: Texture, transform: Transform) -> float:
    """Return the correlation coefficient of two interiors where both are seen.

    Parameters
    ----------
    post, pre : Texture
        Of the fixed and the moving image.
    transform : Transform
        Post to pre, full-resolution px.
    """
    warped, inside = pre.warped_to(post, transform)
    both = post.mask & inside
    if np.count_nonzero(both) < 400:
        return 0.0
    a = post.values[both] - post.values[both].mean()
    b = warped[both] - warped[both].mean()
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0.0 else 0.0


def refine_ecc(
    post: Texture,
    pre: Texture,
    start: Transform,
    *,
    stopit: int = 500,
    stopdelta: float = 1e-6,
) -> EccResult | None:
    """Maximise the correlation of two interiors over homographies.

    Parameters
    ----------
    post, pre : Texture
        Of the fixed and the moving image, at a few hundred px.
    start : Transform
        Post to pre, full-resolution px; within about the width of the texture.
    stopit : int
        Largest number of iterations.
    stopdelta : float
        Stops when the correlation changes by less.

    Returns
    -------
    EccResult or None
        None when the iteration did not converge.

    References
    ----------
    .. [1] G. Evangelidis and E. Psarakis, "Parametric image alignment using
       enhanced correlation coefficient maximization", IEEE TPAMI 30, 2008.
       :doi:`10.1109/TPAMI.2008.113`
    """
    before = correlation_at(post, pre, start)
    warp = between(post.view, pre.view, start).matrix.astype(np.float32)
    criteria = (
        cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT,
        max(1, int(stopit)),
        float(stopdelta),
    )
    try:
        _, found = cv2.findTransformECC(
            post.values,
            pre.values,
            warp,
            cv2.MOTION_HOMOGRAPHY,
            criteria,
            pre.mask.astype(np.uint8),
            3,
        )
        small = Transform(np.asarray(found, dtype=np.float64))
        full = pre.view.to_full @ small @ post.view.to_full.inverse()
    except (cv2.error, ValueError):
        return None
    return EccResult(full, before, correlation_at(post, pre, full))
