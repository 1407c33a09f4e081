"""The searches of stage 2: what each looks at, and what it finds in one pair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from napari_exo2micro.core.alignment.boundary import (
    boundary_ring,
    masked_brightness,
)
from napari_exo2micro.core.alignment.correlation import (
    Candidate,
    Pattern,
    grid_nodes,
    refine_candidates,
    search_grid,
)
from napari_exo2micro.core.alignment.judge import SectionPair
from napari_exo2micro.core.alignment.orientation import (
    FeatureMatch,
    search_features,
    search_full_circle,
)
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.monitor import Monitor

__all__ = ["OutlineSearch", "PairSearches", "coarse_patterns"]

_FIRST_SIDE = 64
_FIRST_KEPT = 5
_GRID_SIDE = 160
_LARGEST_COARSE_SIDE = 512
_SMALLEST_COARSE_SIDE = 96
_BEYOND = 1.14


@dataclass(frozen=True, slots=True)
class OutlineSearch:
    """What the coarse search covers and looks at.

    Attributes
    ----------
    use_edges : bool
        Rings along the outlines, or the brightness inside them.
    boundary_width, boundary_smooth : float
        Of the ring, px at coarse scale.
    angles, scales : list of float
        Nodes, ascending: degrees, factors.
    angle_step, scale_step : float
        Between them; 0 when there is one node.
    multiscale : bool
        Whether there is a coarse search at all.
    down_scale : float
        Four times the coarse scale.
    """

    use_edges: bool
    boundary_width: float
    boundary_smooth: float
    angles: list[float]
    angle_step: float
    scales: list[float]
    scale_step: float
    multiscale: bool
    down_scale: float

    @classmethod
    def over_ranges(
        cls,
        *,
        use_edges: bool,
        boundary_width: float,
        boundary_smooth: float,
        rotation_search: bool,
        angle_range: float,
        angle_step: float,
        scale_search: bool,
        scale_min: float,
        scale_max: float,
        scale_step: float,
        multiscale: bool,
        down_scale: float,
    ) -> Self:
        """Return the search over ranges, as `register_highorder` takes them.

        Raises
        ------
        ParameterError
            If a range is empty.
        """
        if not 0.0 < down_scale <= 1.0:
            raise ParameterError(
                f"down_scale must be above 0 and at most 1, not {down_scale:g}"
            )
        turn = abs(angle_range) if rotation_search else 0.0
        # From the middle outwards, so that no turn at all is always tried.
        half = grid_nodes(0.0, turn, angle_step)
        scales = grid_nodes(scale_min, scale_max, scale_step) if scale_search else [1.0]
        return cls(
            use_edges=use_edges,
            boundary_width=boundary_width,
            boundary_smooth=boundary_smooth,
            angles=sorted({-a for a in half} | set(half)),
            angle_step=angle_step if rotation_search else 0.0,
            scales=scales,
            scale_step=scale_step if scale_search else 0.0,
            multiscale=multiscale,
            down_scale=down_scale,
        )


class PairSearches:
    """What can be sought in one pair; the same search is made once only.

    Parameters
    ----------
    pair : SectionPair
        The two images.
    """

    def __init__(self, pair: SectionPair) -> None:
        self.pair = pair
        self._coarse: tuple[OutlineSearch, list[Candidate]] | None = None
        self._features: list[FeatureMatch] | None = None
        self._full_circle: tuple[list[float], list[Candidate]] | None = None

    def coarse(
        self, search: OutlineSearch, monitor: Monitor | None = None
    ) -> list[Candidate]:
        """Return the best of the coarse search, refined between the nodes."""
        known = self._coarse
        if known is None or known[0] != search:
            found = _search_coarse(self.pair, search, monitor or Monitor())
            self._coarse = known = search, found
        return known[1]

    def features(self, monitor: Monitor | None = None) -> list[FeatureMatch]:
        """Return the maps of either hand that features agree on, best first."""
        if self._features is None:
            self._features = search_features(
                self.pair.post, self.pair.pre, monitor=monitor
            )
        return self._features

    def full_circle(
        self, scales: list[float], monitor: Monitor | None = None
    ) -> list[Candidate]:
        """Return the best of all turns and both hands.

        Parameters
        ----------
        scales : list of float
            Nodes of the coarse search, ascending.
        monitor : Monitor, optional
            Told the fraction done.
        """
        known = self._full_circle
        if known is None or known[0] != scales:
            found = _search_full_circle(self.pair, scales, monitor or Monitor())
            self._full_circle = known = list(scales), found
        return known[1]


def coarse_patterns(pair: SectionPair, search: OutlineSearch) -> tuple[Pattern, ...]:
    """Return what the coarse search correlates, of post and of pre.

    Parameters
    ----------
    pair : SectionPair
        The two images.
    search : OutlineSearch
        Rings or brightness, and their scale.
    """
    nominal = 0.25 * search.down_scale
    full_side = max(
        side * view.factor
        for view in (pair.post, pair.pre)
        for side in view.image.shape
    )
    # A small image at the coarse scale would be a few dozen px: it is seen at
    # more, still in step with the coarse scale.
    least = max(nominal * full_side, 640.0 * search.down_scale, _SMALLEST_COARSE_SIDE)
    side = int(min(round(least), _LARGEST_COARSE_SIDE))
    patterns = []
    for section in (pair.post_section, pair.pre_section):
        view = section.view.reduced(side)
        # A very large image is seen at less than the coarse scale: the ring
        # keeps its thickness on the section.
        ratio = min(1.0, 1.0 / (nominal * view.factor))
        smooth = search.boundary_smooth * ratio
        if search.use_edges:
            values = boundary_ring(
                section, view, width=search.boundary_width * ratio, smooth=smooth
            )
        else:
            values = masked_brightness(section, view, smooth=smooth)
        patterns.append(Pattern(view, values))
    return tuple(patterns)


def _search_coarse(
    pair: SectionPair, search: OutlineSearch, monitor: Monitor
) -> list[Candidate]:
    post, pre = coarse_patterns(pair, search)
    grid = partial(search_grid, angles=search.angles, scales=search.scales)
    rough = grid(
        post.reduced(_FIRST_SIDE),
        pre.reduced(_FIRST_SIDE),
        keep=_FIRST_KEPT,
        monitor=monitor.part(0.0, 0.5),
    )
    found = grid(
        post.reduced(_GRID_SIDE),
        pre.reduced(_GRID_SIDE),
        near=rough,
        monitor=monitor.part(0.5, 1.0),
    )

    return refine_candidates(
        post,
        pre,
        found,
        angle_step=search.angle_step,
        scale_step=search.scale_step,
        angle_limits=(search.angles[0], search.angles[-1]),
        scale_limits=(search.scales[0], search.scales[-1]),
        monitor=monitor,
    )


def _search_full_circle(
    pair: SectionPair, scales: list[float], monitor: Monitor
) -> list[Candidate]:
    low, high, count = scales[0], scales[-1], 1
    if high > low:
        # Outlines bear a step beyond the range; so does this.
        low, high = low / _BEYOND, high * _BEYOND
        count = round(np.log(high / low) / 0.05) + 1
    nodes = [float(s) for s in np.geomspace(low, high, count)]
    both = (pair.post_section, pair.pre_section)
    post, pre = (section if section.trusted else None for section in both)
    return search_full_circle(
        pair.post, pair.pre, sections=(post, pre), scales=nodes, monitor=monitor
    )
