"""The preview of stage 2: outlines, rings and the alignment that they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.outline import IcpLimits
from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.alignment.searches import OutlineSearch, coarse_patterns
from napari_exo2micro.core.alignment.sections import align_sections
from napari_exo2micro.core.defaults import default_params
from napari_exo2micro.core.errors import ParameterError, RegistrationError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.preview.overlay import OverlayPreview
from napari_exo2micro.core.preview.reduced import ReducedImage
from napari_exo2micro.core.preview.source import PreviewSource
from napari_exo2micro.core.transforms import Transform

__all__ = ["BoundaryPreview", "outline_lines", "preview_boundary"]

Line = NDArray[np.float64]

_SEARCH = (
    "use_edges",
    "boundary_width",
    "boundary_smooth",
    "rotation_search",
    "angle_range",
    "angle_step",
    "scale_search",
    "scale_min",
    "scale_max",
    "scale_step",
    "multiscale",
    "down_scale",
)
_LIMITS = ("max_translation", "max_rotation", "max_scale_delta", "max_scale_diff")
_FINE = ("fine_ecc", "stopit", "stopdelta", "orientation_search")


@dataclass(frozen=True, eq=False)
class BoundaryPreview(OverlayPreview):
    """What stage 2 would find; the transform is the identity when it finds nothing.

    Attributes
    ----------
    method : str
        Which search it comes from; empty when nothing was found.
    reduction : float
        Full-resolution px per px of the images that were looked at. The stage looks
        at the same, so its transform is the same.
    post_outline, pre_outline : list of ndarray, each of shape (N, 2), float64
        Lines (x, y) along the outlines, full-resolution px on the post canvas:
        pre's where `transform` lays it.
    post_ring, pre_ring : ReducedImage or None
        What the coarse search compares, 0 to 1: soft rings, or the brightness when
        `use_edges` is off; pre's as `transform` lays it. None when nothing was
        found.
    """

    method: str = ""
    reduction: float = 1.0
    post_outline: list[Line] | None = None
    pre_outline: list[Line] | None = None
    post_ring: ReducedImage | None = None
    pre_ring: ReducedImage | None = None


def preview_boundary(
    source: PreviewSource,
    params: Mapping[str, Any],
    monitor: Monitor | None = None,
) -> BoundaryPreview:
    """Return what stage 2 would find with these parameters.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    params : mapping
        Parameters by name; those left out have their defaults, other stages' are
        not looked at.
    monitor : Monitor, optional
        Told the fraction done; may stop the work.

    Returns
    -------
    BoundaryPreview
        Also where nothing was found or a parameter does not fit: its verdict is
        then `failed` and says why.

    Raises
    ------
    CancelledError
        When the monitor was asked to stop.
    """
    monitor = monitor or Monitor()
    chosen = {**default_params(), **params}
    try:
        search = OutlineSearch.over_ranges(**{name: chosen[name] for name in _SEARCH})
        searches = source.searches(monitor.part(0.0, 0.4))
    except (RegistrationError, ParameterError) as error:
        verdict = Verdict("failed", str(error))
        return BoundaryPreview(source, verdict, Transform.identity())
    pair = searches.pair
    found = align_sections(
        searches,
        search,
        IcpLimits(*(chosen[name] for name in _LIMITS)),
        **{name: chosen[name] for name in _FINE},
        monitor=monitor.part(0.4, 0.9),
    )
    rings = [
        ReducedImage(p.values, p.view.to_full) for p in coarse_patterns(pair, search)
    ]
    monitor.check()
    into_post = found.transform.inverse()
    section, moving = pair.post_section, pair.pre_section
    return BoundaryPreview(
        source=source,
        verdict=found.verdict,
        transform=found.transform,
        method=found.method,
        reduction=pair.post.factor,
        post_outline=outline_lines(section.view.to_full(section.contour)),
        pre_outline=[
            into_post(line)
            for line in outline_lines(moving.view.to_full(moving.contour))
        ],
        post_ring=rings[0],
        pre_ring=rings[1].warped_onto(rings[0], found.transform),
    )


def outline_lines(contour: Line) -> list[Line]:
    """Return the unbroken lines of an outline.

    Parameters
    ----------
    contour : ndarray, shape (N, 2), float64
        Points (x, y) along the outline; parts of it may be missing.

    Returns
    -------
    list of ndarray, each of shape (M, 2), float64
        Closed ones end with their first point; empty for an empty outline.
    """
    if len(contour) < 3:
        return []
    steps = np.linalg.norm(np.diff(contour, axis=0), axis=1)
    gap = 4.0 * float(np.median(steps)) + 1e-9
    lines = []
    for line in np.split(contour, np.flatnonzero(steps > gap) + 1):
        if len(line) < 3:
            continue
        closed = float(np.linalg.norm(line[0] - line[-1])) <= gap
        lines.append(np.vstack([line, line[:1]]) if closed else line)
    return lines
