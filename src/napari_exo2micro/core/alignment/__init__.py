"""Registration: where each point of post lies in pre (stages 2 and 3)."""

from napari_exo2micro.core.alignment.alignments import (
    VIEWS_FILE as VIEWS_FILE,
    Alignment as Alignment,
    Direction as Direction,
    Residuals as Residuals,
    SavedView as SavedView,
    amplification as amplification,
    error_map_from_details as error_map_from_details,
    load_views as load_views,
    residuals_from_details as residuals_from_details,
    round_figure as round_figure,
    save_views as save_views,
)
from napari_exo2micro.core.alignment.boundary import (
    BoundaryAlignment as BoundaryAlignment,
    recover_transform as recover_transform,
    register_highorder as register_highorder,
)
from napari_exo2micro.core.alignment.error_map import ErrorMap as ErrorMap
from napari_exo2micro.core.alignment.interior import (
    InteriorAlignment as InteriorAlignment,
    refine_interior_ecc as refine_interior_ecc,
    refine_interior_sift as refine_interior_sift,
)
from napari_exo2micro.core.alignment.landmarks import (
    LandmarkCheck as LandmarkCheck,
    LandmarkFit as LandmarkFit,
    check_landmarks as check_landmarks,
    fit_landmarks as fit_landmarks,
)
from napari_exo2micro.core.alignment.settings import (
    BoundarySettings as BoundarySettings,
    InteriorSettings as InteriorSettings,
)
