"""Registration: where each point of post lies in pre (stages 2 and 3)."""

from __future__ import annotations

from napari_exo2micro.core.alignment.alignments import (
    VIEWS_FILE,
    Alignment,
    Direction,
    Residuals,
    SavedView,
    amplification,
    load_views,
    residuals_from_details,
    round_figure,
    save_views,
)
from napari_exo2micro.core.alignment.boundary import (
    BoundaryAlignment,
    recover_transform,
    register_highorder,
)
from napari_exo2micro.core.alignment.interior import (
    InteriorAlignment,
    refine_interior_ecc,
    refine_interior_sift,
)
from napari_exo2micro.core.alignment.settings import (
    BoundarySettings,
    InteriorSettings,
)

__all__ = [
    "VIEWS_FILE",
    "Alignment",
    "BoundaryAlignment",
    "BoundarySettings",
    "Direction",
    "InteriorAlignment",
    "InteriorSettings",
    "Residuals",
    "SavedView",
    "amplification",
    "load_views",
    "recover_transform",
    "refine_interior_ecc",
    "refine_interior_sift",
    "register_highorder",
    "residuals_from_details",
    "round_figure",
    "save_views",
]
