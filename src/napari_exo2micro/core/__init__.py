"""The headless API: registration, scale and difference of pre- and post-stain images.

Scripts import it as ``from napari_exo2micro import core as e2m``. Nothing here
needs napari, Qt or a display. Names are loaded when they are first used.

Examples
--------
>>> from napari_exo2micro import core as e2m
>>> e2m.build_suffix({"boundary_width": 20})
'_bw20'
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# At once: its module, imported later by whomever, would take the function's name.
from napari_exo2micro.core.parameter_entry import parameter as parameter

_MODULES = {
    "alignment.coarse": (
        "BoundaryAlignment",
        "recover_transform",
        "register_highorder",
    ),
    "alignment.interior": (
        "InteriorAlignment",
        "refine_interior_ecc",
        "refine_interior_sift",
    ),
    "alignment.quality": ("Verdict",),
    "batch": ("plan_batch", "run_batch", "summarise_batch"),
    "checkpoints": ("Checkpoint", "CheckpointStatus"),
    "defaults": (
        "ABBREVIATIONS",
        "MAX_STAGE",
        "PARAMETER_REGISTRY",
        "STAGE_NAMES",
        "build_suffix",
        "check_parameters",
        "default_params",
        "params_from_suffix",
        "register_parameter",
        "unregister_parameter",
    ),
    "diagnostic_figures": ("FigureEntry", "available_figures", "draw_figure"),
    "diagnostics": (
        "DIAGNOSTICS",
        "Diagnostic",
        "register_diagnostic",
        "unregister_diagnostic",
    ),
    "difference": ("difference_bands", "difference_window"),
    "errors": (
        "CancelledError",
        "CheckpointError",
        "DataWarning",
        "Exo2MicroError",
        "LockedError",
        "OutputError",
        "ParameterError",
        "RawDataError",
        "RawFileNotFoundError",
        "RegistrationError",
        "ResourceError",
    ),
    "locks": ("lock_holder",),
    "monitor": ("Monitor",),
    "padding": ("pad_images",),
    "parameter_entry": ("Parameter", "parameter"),
    "photometry": ("ScaleEstimate", "estimate_scale", "scale_at_percentile"),
    "pipeline": ("SampleDye",),
    "plotting": (
        "plot_difference_histogram",
        "plot_difference_image",
        "plot_excess_heatmap",
        "plot_fine_alignment",
        "plot_pre_post_heatmap",
        "plot_pre_post_histograms",
        "plot_ratio_histogram",
        "plot_registration",
        "plot_zoom",
        "plot_zoom_multi",
    ),
    "plotting.level_grid": ("scale_at",),
    "presets": ("load_preset", "save_preset"),
    "raster_files": ("open_raster",),
    "rasters": ("Raster", "reduce_image", "warp_window"),
    "raw": (
        "classify_raw_files",
        "diagnose_raw_layout",
        "discover_tasks",
        "load_image_pair",
        "register_loader",
        "survey_raw_channels",
        "unregister_loader",
    ),
    "recipes": ("as_command_line", "as_python"),
    "runlog": ("list_logs", "log_path", "read_log_tail", "run_log"),
    "scale_methods": (
        "SCALE_METHODS",
        "ScaleMethod",
        "register_scale_method",
        "unregister_scale_method",
    ),
    "simulate": ("read_truth", "simulate_section", "write_pair"),
    "stages": ("STAGES", "Stage", "register_stage", "unregister_stage"),
    "statistics": ("accumulate_statistics",),
    "tasks": ("Task", "TaskEvent", "TaskState"),
    "transforms": ("Transform",),
}

_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Load a public name, or a module of the core, when it is first used."""
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(f"{__name__} has no {name!r}") from error


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
