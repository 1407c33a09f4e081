"""Stage 2: from two padded canvases to a map that the interior vouches for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.interior import refine_interior_sift
from napari_exo2micro.core.alignment.judge import prepare_pair
from napari_exo2micro.core.alignment.outline import IcpLimits
from napari_exo2micro.core.alignment.searches import OutlineSearch, PairSearches
from napari_exo2micro.core.alignment.sections import BoundaryAlignment, align_sections
from napari_exo2micro.core.alignment.views import open_view
from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.rasters import Frame, ImageLike, warp_window
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "BASE_SIDE",
    "BoundaryAlignment",
    "recover_transform",
    "register_highorder",
]

#: Longer side of the images that stage 2 looks at, about, px.
BASE_SIDE = 1600

_RECOVERED_PX = 0.3


def register_highorder(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    post_frame: Frame | None = None,
    pre_frame: Frame | None = None,
    use_edges: bool = True,
    boundary_width: float = 15,
    boundary_smooth: float = 10,
    rotation_search: bool = True,
    angle_range: float = 20,
    angle_step: float = 1,
    scale_search: bool = True,
    scale_min: float = 0.85,
    scale_max: float = 1.15,
    scale_step: float = 0.05,
    multiscale: bool = True,
    down_scale: float = 0.3,
    max_translation: float = 200,
    max_rotation: float = 5.0,
    max_scale_delta: float = 0.2,
    max_scale_diff: float = 0.15,
    fine_ecc: bool = False,
    stopit: int = 500,
    stopdelta: float = 1e-6,
    orientation_search: bool = True,
    monitor: Monitor | None = None,
) -> BoundaryAlignment:
    """Align two sections by their outlines, and check it on their interiors.

    Parameters
    ----------
    post_im, pre_im : ImageLike, shape (rows, columns)
        Padded canvases of the post-stain (fixed) and pre-stain (moving) image:
        zero outside the frame. uint8, uint16, float32 or float64.
    post_frame, pre_frame : tuple of int, optional
        (x0, y0, width, height) of the real data, px; by default the bounding
        box of what is not zero.
    use_edges : bool
        The coarse search correlates rings along the outlines; False: the
        smoothed brightness inside them.
    boundary_width : float
        Thickness of the ring, px at coarse scale (`down_scale` / 4).
    boundary_smooth : float
        Sigma of the Gaussian that softens ring or brightness, px at coarse
        scale.
    rotation_search : bool
        Whether turns are searched.
    angle_range, angle_step : float
        The turns: up to this on either side, and the step, degrees.
    scale_search : bool
        Whether isotropic magnifications are searched.
    scale_min, scale_max, scale_step : float
        The magnifications (from post to pre).
    multiscale : bool
        Whether the coarse search runs before ICP; False: ICP starts from the
        images as they lie.
    down_scale : float
        Four times the coarse scale; for images that are small or very large at
        that scale, 192 to 512 px are used and the ring keeps its thickness on
        the section of a large one.
    max_translation : float
        Largest movement of the section's middle by ICP, full-resolution px.
    max_rotation : float
        Largest turn by ICP, degrees.
    max_scale_delta, max_scale_diff : float
        Largest deviation of either ICP magnification from 1, and largest
        difference of the two.
    fine_ecc : bool
        Whether a homography that maximises the correlation of the interiors is
        sought at the end; it is kept when it does better.
    stopit, stopdelta : int, float
        Its largest number of iterations and the change at which it stops.
    orientation_search : bool
        Whether features are searched over any turn and both hands when the
        interior does not vouch for the outline's result.
    monitor : Monitor, optional
        Told the fraction done and asked whether to stop.

    Returns
    -------
    BoundaryAlignment
        Its verdict is 'ok' only when the interiors agree: a correlation peak
        far above those of other shifts, and patches that agree on one map.

    Raises
    ------
    RegistrationError
        If an image is empty, constant or too small.
    ParameterError
        If a search range is empty.

    Notes
    -----
    Outlines say where a section lies, seldom which way round; so the winner is
    checked on what lies inside. Patches of the interior that agree also remove
    what little error the outlines left.

    References
    ----------
    Y. Chen and G. Medioni, "Object modelling by registration of multiple range
    images", Image and Vision Computing 10, 1992 (closest points, to lines).

    G. Evangelidis and E. Psarakis, "Parametric image alignment using enhanced
    correlation coefficient maximization", IEEE TPAMI 30, 2008,
    doi:10.1109/TPAMI.2008.113 (`fine_ecc`).

    Examples
    --------
    >>> from napari_exo2micro.core.simulate import simulate_section
    >>> pair = simulate_section((600, 700), seed=1, angle_deg=4.0, shift=(9.0, -5.0))
    >>> post, pre = (np.pad(image, 60) for image in (pair.post, pair.pre))
    >>> found = register_highorder(post, pre)
    >>> found.verdict.state
    'ok'
    >>> round(found.transform.decompose()["angle_deg"], 1)
    4.0
    """
    monitor = monitor or Monitor()
    search = OutlineSearch.over_ranges(
        use_edges=use_edges,
        boundary_width=boundary_width,
        boundary_smooth=boundary_smooth,
        rotation_search=rotation_search,
        angle_range=angle_range,
        angle_step=angle_step,
        scale_search=scale_search,
        scale_min=scale_min,
        scale_max=scale_max,
        scale_step=scale_step,
        multiscale=multiscale,
        down_scale=down_scale,
    )
    limits = IcpLimits(max_translation, max_rotation, max_scale_delta, max_scale_diff)
    monitor.report(0.0, "reading the images at reduced size")
    pair = prepare_pair(
        open_view(post_im, post_frame, BASE_SIDE, name="post"),
        open_view(pre_im, pre_frame, BASE_SIDE, name="pre"),
        monitor=monitor,
    )
    return align_sections(
        PairSearches(pair),
        search,
        limits,
        fine_ecc=fine_ecc,
        stopit=stopit,
        stopdelta=stopdelta,
        orientation_search=orientation_search,
        monitor=monitor.part(0.2, 1.0),
    )


def recover_transform(warped: ImageLike, original: ImageLike) -> Transform | None:
    """Find the transform by which one image was made from the other.

    Parameters
    ----------
    warped : ImageLike, shape (rows, columns)
        A pre-stain image that stage 2 had warped, its matrix lost.
    original : ImageLike, shape (rows, columns)
        The padded pre-stain canvas that it was made from.

    Returns
    -------
    Transform or None
        From points of `warped` to points of `original`, full-resolution px; to
        about 0.1 px. None when the images do not show the same to that measure.
    """
    try:
        start = register_highorder(warped, original)
        if start.verdict.state != "ok":
            return None
        found = refine_interior_sift(warped, original, start.transform)
    except RegistrationError:
        return None
    if found.method != "tiles" or not 0.0 <= found.accuracy_px <= _RECOVERED_PX:
        return None
    centres = np.column_stack([found.tiles.x, found.tiles.y])[found.tiles.used]
    if _likeness(warped, original, found.transform, centres) < 0.95:
        return None
    return found.transform


def _likeness(
    warped: ImageLike,
    original: ImageLike,
    transform: Transform,
    centres: NDArray[np.float64],
) -> float:
    """Return the median correlation of small full-resolution windows."""
    half = 64
    found = []
    for x, y in centres[:: max(1, len(centres) // 40)]:
        x0, y0 = int(x) - half, int(y) - half
        if x0 < 0 or y0 < 0:
            continue
        x1, y1 = x0 + 2 * half, y0 + 2 * half
        if x1 > warped.shape[1] or y1 > warped.shape[0]:
            continue
        a = np.asarray(warped[y0:y1, x0:x1], dtype=np.float64).ravel()
        b = warp_window(original, transform, y0, y1, x0, x1).astype(np.float64).ravel()
        a, b = a - a.mean(), b - b.mean()
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        if norm > 0.0:
            found.append(float(a @ b) / norm)
    return float(np.median(found)) if len(found) >= 5 else 0.0
