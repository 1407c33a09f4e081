"""`SampleDye`: the stages in their order, resumed from what is valid on disk."""

from napari_exo2micro.core.base.errors import refuse_assignment
from napari_exo2micro.core.pipeline.difference import (
    difference_records as difference_records,
)
from napari_exo2micro.core.pipeline.figures import (
    FigureEntry as FigureEntry,
    available_figures as available_figures,
    draw_figure as draw_figure,
)
from napari_exo2micro.core.pipeline.log import run_log as run_log
from napari_exo2micro.core.pipeline.microbes import Microbes as Microbes
from napari_exo2micro.core.pipeline.result import (
    ComparisonRow as ComparisonRow,
    RunResult as RunResult,
    StageState as StageState,
    comparison_row as comparison_row,
    save_comparison as save_comparison,
    stage_states as stage_states,
    stages_done as stages_done,
    verdict_table as verdict_table,
)
from napari_exo2micro.core.pipeline.sample_dye import SampleDye as SampleDye
from napari_exo2micro.core.raw.pair import ASSIGNED_LOADER

refuse_assignment(__name__, ASSIGNED_LOADER, "load_image_pair")
