"""Many samples and dyes, on this computer or on a cluster."""

from napari_exo2micro.core.batch.batch import (
    BatchPlan as BatchPlan,
    plan_batch as plan_batch,
    run_batch as run_batch,
    run_plan as run_plan,
)
from napari_exo2micro.core.batch.board import (
    BatchBoard as BatchBoard,
    BatchSummary as BatchSummary,
    clock_words as clock_words,
    summarise_batch as summarise_batch,
)
from napari_exo2micro.core.batch.demo import (
    DemoResult as DemoResult,
    run_demo as run_demo,
)
from napari_exo2micro.core.batch.executors import (
    Executor as Executor,
    executor_kind as executor_kind,
    make_executor as make_executor,
)
from napari_exo2micro.core.batch.resources import (
    Preflight as Preflight,
    check_resources as check_resources,
)
from napari_exo2micro.core.batch.task import (
    StoredState as StoredState,
    Task as Task,
    TaskEvent as TaskEvent,
    TaskState as TaskState,
    stages_to_run as stages_to_run,
    stored_state as stored_state,
)
