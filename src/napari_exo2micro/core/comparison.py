"""One run for each value of a parameter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.errors import CancelledError, Exo2MicroError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.task_events import result_without_run

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

__all__ = ["compare_values"]


def compare_values(
    task: SampleDye,
    name: str,
    values: Iterable[Any],
    *,
    keep: bool,
    to_stage: int | None,
    monitor: Monitor | None,
    on_result: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Do the work of `SampleDye.compare`; `task` itself stays as it is."""
    tasks = []
    for value in [values] if isinstance(values, str) else values:
        one = task.copy()
        one.set_params(**{name: value})
        tasks.append((one, one.params[name]))
    results = []
    for index, (one, value) in enumerate(tasks):
        before = one._store.existing()
        part = (monitor or Monitor()).part(index / len(tasks), (index + 1) / len(tasks))
        start = time.monotonic()
        try:
            result = one.run(to_stage=to_stage, monitor=part)
        except CancelledError:
            raise
        except Exo2MicroError as error:
            result = result_without_run(
                one.sample,
                one.dye,
                f"error: {error}",
                manual_scale=one.params["manual_scale"],
            )
        finally:
            if not keep:
                one._store.remove_new(before)
        seconds = time.monotonic() - start
        if not keep:
            result["outputs"] = [p for p in result["outputs"] if Path(p).is_file()]
        results.append({**result, "value": value, "seconds": seconds})
        if on_result is not None:
            on_result(results[-1])
    return results
