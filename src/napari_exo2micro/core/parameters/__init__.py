"""What can be set and said: parameters, suffixes, presets, stages and verdicts."""

from __future__ import annotations

from napari_exo2micro.core.parameters.parameters import (
    ABBREVIATIONS,
    PARAMETER_REGISTRY,
    Parameter,
    ParameterValue,
    build_suffix,
    check_parameters,
    default_params,
    format_value,
    non_default_params,
    parameter,
    params_from_suffix,
    register_parameter,
    unregister_parameter,
)
from napari_exo2micro.core.parameters.run import CHECKPOINT_FORMATS, RunSettings
from napari_exo2micro.core.parameters.settings import (
    as_command_line,
    as_python,
    batch_as_command_line,
    batch_as_python,
    load_preset,
    option_words,
    parse_value,
    parse_values,
    save_preset,
    shell_line,
    suggest_values,
    value_words,
)
from napari_exo2micro.core.parameters.stages import (
    LAST_BUILT_IN,
    STAGE_NAMES,
    STAGES,
    Stage,
    register_stage,
    unregister_stage,
)
from napari_exo2micro.core.parameters.state import State, Verdict, number_words

__all__ = [
    "ABBREVIATIONS",
    "CHECKPOINT_FORMATS",
    "LAST_BUILT_IN",
    "MAX_STAGE",
    "PARAMETER_REGISTRY",
    "STAGES",
    "STAGE_NAMES",
    "Parameter",
    "ParameterValue",
    "RunSettings",
    "Stage",
    "State",
    "Verdict",
    "as_command_line",
    "as_python",
    "batch_as_command_line",
    "batch_as_python",
    "build_suffix",
    "check_parameters",
    "default_params",
    "format_value",
    "load_preset",
    "non_default_params",
    "number_words",
    "option_words",
    "parameter",
    "params_from_suffix",
    "parse_value",
    "parse_values",
    "register_parameter",
    "register_stage",
    "save_preset",
    "shell_line",
    "suggest_values",
    "unregister_parameter",
    "unregister_stage",
    "value_words",
]


def __getattr__(name: str) -> int:
    """Return `MAX_STAGE`, the number of the last stage registered so far."""
    # Not a name of a module: counting the stages imports those of other packages.
    if name == "MAX_STAGE":
        return max(STAGES)
    raise AttributeError(f"{__name__} has no {name!r}")
