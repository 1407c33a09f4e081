"""`SampleDye`: the stages in their order, resumed from what is valid on disk."""

from __future__ import annotations

from napari_exo2micro.core.pipeline.difference import (
    FigureEntry,
    available_figures,
    draw_figure,
)
from napari_exo2micro.core.pipeline.log import run_log
from napari_exo2micro.core.pipeline.result import (
    ComparisonRow,
    RunResult,
    StageState,
    comparison_row,
    save_comparison,
    stage_states,
    stages_done,
)
from napari_exo2micro.core.pipeline.sample_dye import SampleDye

__all__ = [
    "ComparisonRow",
    "FigureEntry",
    "RunResult",
    "SampleDye",
    "StageState",
    "available_figures",
    "comparison_row",
    "draw_figure",
    "run_log",
    "save_comparison",
    "stage_states",
    "stages_done",
]
