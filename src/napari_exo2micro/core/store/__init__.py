"""Checkpoints on disk: their names, headers, and whether they are valid."""

from __future__ import annotations

from napari_exo2micro.core.store.checkpoint import (
    Checkpoint,
    CheckpointStatus,
    Provenance,
    StoredScale,
    name_ending,
)
from napari_exo2micro.core.store.export import export_image, provenance_of
from napari_exo2micro.core.store.results import (
    ResultSet,
    StageResults,
    StoredImage,
    find_result_folders,
    holds_results,
    may_be_checkpoint,
    read_result_sets,
    read_stored_image,
)

__all__ = [
    "Checkpoint",
    "CheckpointStatus",
    "Provenance",
    "ResultSet",
    "StageResults",
    "StoredImage",
    "StoredScale",
    "export_image",
    "find_result_folders",
    "holds_results",
    "may_be_checkpoint",
    "name_ending",
    "provenance_of",
    "read_result_sets",
    "read_stored_image",
]
