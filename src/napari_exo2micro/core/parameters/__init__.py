"""What can be set and said: parameters, suffixes, presets, stages and verdicts."""

from typing import Any

from napari_exo2micro.core.parameters.parameters import (
    ABBREVIATIONS as ABBREVIATIONS,
    PARAMETER_REGISTRY as PARAMETER_REGISTRY,
    Parameter as Parameter,
    ParameterValue as ParameterValue,
    build_suffix as build_suffix,
    check_parameters as check_parameters,
    default_params as default_params,
    format_value as format_value,
    non_default_params as non_default_params,
    parameter as parameter,
    params_from_suffix as params_from_suffix,
    register_parameter as register_parameter,
    unregister_parameter as unregister_parameter,
)
from napari_exo2micro.core.parameters.settings import (
    CHECKPOINT_FORMATS as CHECKPOINT_FORMATS,
    RunSettings as RunSettings,
    as_command_line as as_command_line,
    as_python as as_python,
    batch_as_command_line as batch_as_command_line,
    batch_as_python as batch_as_python,
    load_preset as load_preset,
    option_words as option_words,
    parse_value as parse_value,
    parse_values as parse_values,
    save_preset as save_preset,
    shell_line as shell_line,
    suggest_values as suggest_values,
    value_words as value_words,
)
from napari_exo2micro.core.parameters.stages import (
    DIFFERENCE_STAGE as DIFFERENCE_STAGE,
    MICROBES_STAGE as MICROBES_STAGE,
    STAGE_NAMES as STAGE_NAMES,
    STAGES as STAGES,
    Stage as Stage,
    register_stage as register_stage,
    unregister_stage as unregister_stage,
)
from napari_exo2micro.core.parameters.state import (
    State as State,
    Verdict as Verdict,
    length_words as length_words,
    number_words as number_words,
    um_words as um_words,
    with_error as with_error,
)


def __getattr__(name: str) -> Any:
    """Return `MAX_STAGE` and `DEFAULTS`, of the stages and parameters known so far."""
    # Not names of a module: looking at all of them imports those of other packages.
    if name == "MAX_STAGE":
        return max(STAGES)
    if name == "DEFAULTS":
        return default_params()
    raise AttributeError(f"{__name__} has no {name!r}")
