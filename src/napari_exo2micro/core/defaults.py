"""What scripts import from ``defaults``: parameters and file-name suffixes."""

from typing import Any

from napari_exo2micro.core import parameters as _parameters
from napari_exo2micro.core.base.errors import refuse_assignment
from napari_exo2micro.core.parameters import (
    ABBREVIATIONS as ABBREVIATIONS,
    PARAMETER_REGISTRY as PARAMETER_REGISTRY,
    STAGE_NAMES as STAGE_NAMES,
    build_suffix as build_suffix,
    check_parameters as check_parameters,
    default_params as default_params,
    params_from_suffix as params_from_suffix,
    register_parameter as register_parameter,
    unregister_parameter as unregister_parameter,
)


def __getattr__(name: str) -> Any:
    """Return `MAX_STAGE` and `DEFAULTS`, of the stages and parameters known so far."""
    if name in ("DEFAULTS", "MAX_STAGE"):
        return getattr(_parameters, name)
    raise AttributeError(f"{__name__} has no {name!r}")


refuse_assignment(
    __name__, "register_parameter", "ABBREVIATIONS", "DEFAULTS", "PARAMETER_REGISTRY"
)
refuse_assignment(__name__, "register_stage", "MAX_STAGE", "STAGE_NAMES")
