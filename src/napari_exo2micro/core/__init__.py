"""The headless API: registration, scale and difference of pre- and post-stain images.

Scripts import it as ``from napari_exo2micro import core as e2m``. Nothing here
needs napari, Qt or a display. Names are loaded when they are first used.

Examples
--------
>>> from napari_exo2micro import core as e2m
>>> e2m.build_suffix({"boundary_width": 20})
'_bw20'
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# At once: its module, imported later by whomever, would take the function's name.
from napari_exo2micro.core.base.errors import refuse_assignment
from napari_exo2micro.core.parameters import parameter as parameter

_MODULES = {
    "alignment": """
        Alignment BoundaryAlignment ErrorMap InteriorAlignment recover_transform
        refine_interior_ecc refine_interior_sift register_highorder
    """,
    "base": """
        CancelledError CheckpointError DataWarning Exo2MicroError LockedError
        Monitor OutputError ParameterError RawDataError RawFileNotFoundError
        RegistrationError ResourceError list_logs lock_holder log_path
        read_log_tail
    """,
    "batch": """
        Task TaskEvent TaskState plan_batch run_batch summarise_batch
    """,
    "images": """
        Displacement Landmarks Raster Regions Transform open_raster pad_images
        reduce_image warp_window
    """,
    "parameters": """
        ABBREVIATIONS DEFAULTS MAX_STAGE PARAMETER_REGISTRY Parameter RunSettings STAGES
        STAGE_NAMES Stage State Verdict as_command_line as_python build_suffix
        check_parameters default_params load_preset parameter params_from_suffix
        register_parameter register_stage save_preset unregister_parameter
        unregister_stage
    """,
    "photometry": """
        SCALE_METHODS ScaleEstimate ScaleMethod accumulate_statistics
        difference_bands difference_window estimate_scale register_scale_method
        scale_at_percentile unregister_scale_method
    """,
    "pipeline": """
        FigureEntry RunResult SampleDye available_figures draw_figure run_log
    """,
    "plotting": """
        DIAGNOSTICS Diagnostic PlotContext plot_candidates plot_difference_histogram
        plot_difference_image plot_error_map plot_excess_heatmap plot_fine_alignment
        plot_pre_post_heatmap plot_pre_post_histograms plot_purity_completeness
        plot_ratio_histogram plot_ratio_histogram_simple plot_registration plot_snr_map
        plot_zoom plot_zoom_multi
        register_diagnostic scale_at unregister_diagnostic
    """,
    "raw": """
        classify_raw_files diagnose_raw_layout discover_tasks load_image_pair
        register_loader survey_raw_channels unregister_loader
    """,
    "simulate": """
        read_truth simulate_section write_pair
    """,
    "store": """
        Checkpoint CheckpointStatus
    """,
}

_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_HOME)

#: Earlier names of modules that scripts import from, and the rooms that have them now.
_MOVED = {"alignments": "alignment", "monitor": "base"}


class _Moved(ModuleType):
    """A module under its earlier name: what is asked of it comes from its room."""

    def __getattr__(self, name: str) -> Any:
        room = _MOVED[self.__name__.rpartition(".")[2]]
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(f"{__name__}.{room}"), name)


for _name in _MOVED:
    sys.modules[f"{__name__}.{_name}"] = _Moved(f"{__name__}.{_name}")

refuse_assignment(__name__, "a loader, a registration or a subclass", *_HOME)


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
