"""What every other folder stands on: errors, progress, whole files, locks, the log."""

from __future__ import annotations

from napari_exo2micro.core.base.errors import (
    CancelledError,
    CheckpointError,
    DataWarning,
    Exo2MicroError,
    LockedError,
    OutputError,
    ParameterError,
    RawDataError,
    RawFileNotFoundError,
    RegistrationError,
    ResourceError,
)
from napari_exo2micro.core.base.files import check_output, output_problem
from napari_exo2micro.core.base.locks import lock_holder
from napari_exo2micro.core.base.log import (
    add_listener,
    list_logs,
    log_path,
    read_log_tail,
    remove_listener,
)
from napari_exo2micro.core.base.monitor import Monitor

__all__ = [
    "CancelledError",
    "CheckpointError",
    "DataWarning",
    "Exo2MicroError",
    "LockedError",
    "Monitor",
    "OutputError",
    "ParameterError",
    "RawDataError",
    "RawFileNotFoundError",
    "RegistrationError",
    "ResourceError",
    "add_listener",
    "check_output",
    "list_logs",
    "lock_holder",
    "log_path",
    "output_problem",
    "read_log_tail",
    "remove_listener",
]
