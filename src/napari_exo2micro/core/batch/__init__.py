"""Many samples and dyes, on this computer or on a cluster."""

from __future__ import annotations

from napari_exo2micro.core.batch.batch import BatchPlan, plan_batch, run_batch, run_plan
from napari_exo2micro.core.batch.board import (
    BatchBoard,
    BatchProblem,
    BatchSummary,
    BoardRow,
    clock_words,
    summarise_batch,
)
from napari_exo2micro.core.batch.demo import DemoResult, run_demo
from napari_exo2micro.core.batch.executors import Executor, make_executor
from napari_exo2micro.core.batch.resources import Preflight, check_resources
from napari_exo2micro.core.batch.task import (
    StoredState,
    Task,
    TaskEvent,
    TaskState,
    stages_to_run,
    stored_state,
)

__all__ = [
    "BatchBoard",
    "BatchPlan",
    "BatchProblem",
    "BatchSummary",
    "BoardRow",
    "DemoResult",
    "Executor",
    "Preflight",
    "StoredState",
    "Task",
    "TaskEvent",
    "TaskState",
    "check_resources",
    "clock_words",
    "make_executor",
    "plan_batch",
    "run_batch",
    "run_demo",
    "run_plan",
    "stages_to_run",
    "stored_state",
    "summarise_batch",
]
