"""What every other folder stands on: errors, progress, whole files, locks, the log."""

from napari_exo2micro.core.base.errors import (
    CancelledError as CancelledError,
    CheckpointError as CheckpointError,
    DataWarning as DataWarning,
    Exo2MicroError as Exo2MicroError,
    LockedError as LockedError,
    OutputError as OutputError,
    ParameterError as ParameterError,
    RawDataError as RawDataError,
    RawFileNotFoundError as RawFileNotFoundError,
    RegistrationError as RegistrationError,
    ResourceError as ResourceError,
)
from napari_exo2micro.core.base.files import (
    check_output as check_output,
    output_problem as output_problem,
    write_json as write_json,
)
from napari_exo2micro.core.base.locks import lock_holder as lock_holder
from napari_exo2micro.core.base.log import (
    add_listener as add_listener,
    list_logs as list_logs,
    log_path as log_path,
    read_log_tail as read_log_tail,
    remove_listener as remove_listener,
)
from napari_exo2micro.core.base.monitor import Monitor as Monitor
from napari_exo2micro.core.base.text import (
    console as console,
    progress_bar as progress_bar,
    spoken as spoken,
    table as table,
    visible as visible,
)
