"""Checkpoints on disk: their names, headers, and whether they are valid."""

from napari_exo2micro.core.store.checkpoints import (
    Checkpoint as Checkpoint,
    CheckpointStatus as CheckpointStatus,
    CheckpointStore as CheckpointStore,
)
from napari_exo2micro.core.store.export import (
    export_image as export_image,
    provenance_of as provenance_of,
)
from napari_exo2micro.core.store.provenance import (
    Provenance as Provenance,
    StoredScale as StoredScale,
    name_ending as name_ending,
)
from napari_exo2micro.core.store.results import (
    ResultSet as ResultSet,
    StageResults as StageResults,
    StoredImage as StoredImage,
    find_result_folders as find_result_folders,
    holds_results as holds_results,
    may_be_checkpoint as may_be_checkpoint,
    read_result_sets as read_result_sets,
    read_stored_image as read_stored_image,
)
