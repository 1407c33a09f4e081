"""What scripts import from ``defaults``: parameters and file-name suffixes."""

from __future__ import annotations

from napari_exo2micro.core import parameters as _parameters
from napari_exo2micro.core.parameters import (
    ABBREVIATIONS as ABBREVIATIONS,
)
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY as PARAMETER_REGISTRY,
)
from napari_exo2micro.core.parameters import (
    STAGE_NAMES as STAGE_NAMES,
)
from napari_exo2micro.core.parameters import (
    build_suffix as build_suffix,
)
from napari_exo2micro.core.parameters import (
    check_parameters as check_parameters,
)
from napari_exo2micro.core.parameters import (
    default_params as default_params,
)
from napari_exo2micro.core.parameters import (
    params_from_suffix as params_from_suffix,
)
from napari_exo2micro.core.parameters import (
    register_parameter as register_parameter,
)
from napari_exo2micro.core.parameters import (
    unregister_parameter as unregister_parameter,
)


def __getattr__(name: str) -> int:
    """Return `MAX_STAGE`, the number of the last stage registered so far."""
    if name == "MAX_STAGE":
        return _parameters.MAX_STAGE
    raise AttributeError(f"{__name__} has no {name!r}")
