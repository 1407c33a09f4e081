"""The tuning of stages 2 and 3: all parameters of a stage as one frozen object."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.parameters import check_parameters, default_params


@dataclass(frozen=True, slots=True)
class StageSettings:
    """Parameters of one stage; defaults and limits are those of the registry."""

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """Return the settings that a set of parameters asks for.

        Parameters
        ----------
        params : mapping
            Values by name that were checked where they entered. What is missing has
            its default; parameters of other stages are left aside.
        """
        every = {**default_params(), **params}
        return cls(**{field.name: every[field.name] for field in fields(cls)})

    def tuned(self, **values: Any) -> Self:
        """Return these settings with some parameters changed.

        Parameters
        ----------
        **values
            New values under the parameters' names.

        Raises
        ------
        ParameterError
            When a name is not of this stage or a value does not fit.
        """
        if not values:
            return self
        own = asdict(self)
        foreign = sorted(set(values) - set(own))
        if foreign:
            raise ParameterError(
                f"unknown parameter {', '.join(map(repr, foreign))}; this stage "
                f"takes {', '.join(own)}"
            )
        return type(self).of(check_parameters({**own, **values}))


@dataclass(frozen=True, slots=True)
class BoundarySettings(StageSettings):
    """The tuning of `register_highorder`.

    Attributes
    ----------
    use_edges : bool
        The coarse search correlates rings along the outlines; False: the smoothed
        brightness inside them.
    boundary_width : float
        Thickness of the ring, px at coarse scale (`down_scale` / 4).
    boundary_smooth : float
        Sigma of the Gaussian that softens ring or brightness, px at coarse scale.
    rotation_search : bool
        Whether turns are searched.
    angle_range, angle_step : float
        The turns: up to this on either side, and the step, degrees.
    scale_search : bool
        Whether isotropic magnifications are searched.
    scale_min, scale_max, scale_step : float
        The magnifications (from post to pre).
    multiscale : bool
        Whether the coarse search runs before ICP; False: ICP starts from the images
        as they lie.
    down_scale : float
        Four times the coarse scale; for images that are small or very large at that
        scale, 192 to 512 px are used and the ring keeps its thickness on the section
        of a large one.
    max_translation : float
        Largest movement of the section's middle by ICP, full-resolution px.
    max_rotation : float
        Largest turn by ICP, degrees.
    max_scale_delta, max_scale_diff : float
        Largest deviation of either ICP magnification from 1, and largest difference
        of the two.
    fine_ecc : bool
        Whether a homography that maximises the correlation of the interiors is sought
        at the end; it is kept when it does better.
    stopit, stopdelta : int, float
        Its largest number of iterations and the change at which it stops.
    orientation_search : bool
        Whether features are searched over any turn and both hands when the interior
        does not vouch for the outline's result.
    """

    use_edges: bool
    boundary_width: float
    boundary_smooth: float
    rotation_search: bool
    angle_range: float
    angle_step: float
    scale_search: bool
    scale_min: float
    scale_max: float
    scale_step: float
    multiscale: bool
    down_scale: float
    max_translation: float
    max_rotation: float
    max_scale_delta: float
    max_scale_diff: float
    fine_ecc: bool
    stopit: int
    stopdelta: float
    orientation_search: bool

    @property
    def angles(self) -> list[float]:
        """Nodes of the search over turns, degrees, ascending."""
        turn = self.angle_range if self.rotation_search else 0.0
        # From the middle outwards, so that no turn at all is always tried.
        half = grid_nodes(0.0, turn, self.angle_step)
        return sorted({-angle for angle in half} | set(half))

    @property
    def scales(self) -> list[float]:
        """Nodes of the search over magnifications, ascending."""
        if not self.scale_search:
            return [1.0]
        return grid_nodes(self.scale_min, self.scale_max, self.scale_step)


@dataclass(frozen=True, slots=True)
class InteriorSettings(StageSettings):
    """The tuning of `refine_interior_sift`.

    Attributes
    ----------
    interior_blur_base : float
        Sigma of the Gaussian before features are sought, full-resolution px on a
        section 30000 px wide; it shrinks with the section.
    interior_max_correction : float
        Largest change of the start over the section, full-resolution px.
    interior_min_inlier_ratio : float
        Smallest part of the feature matches that must agree, 0 to 1. Otherwise the
        features are not used and the tiles begin from the start.
    local : {'auto', 'off', 'smooth', 'seams'}
        What is followed beyond a plane map: what unseen tiles prove, nothing, what
        bends, or that and seams.
    """

    interior_blur_base: float
    interior_max_correction: float
    interior_min_inlier_ratio: float
    local: str


def grid_nodes(low: float, high: float, step: float) -> list[float]:
    """Return the nodes from `low` to `high`, both included, `step` apart."""
    count = math.floor((high - low) / step + 1e-9)
    nodes = [low + k * step for k in range(count + 1)]
    if high - nodes[-1] > 1e-9 * max(abs(high), 1.0):
        nodes.append(high)
    return nodes
