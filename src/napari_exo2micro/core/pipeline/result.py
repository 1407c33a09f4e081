"""The state of each stage in one word, and results without a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_exo2micro.core.parameters.stages import STAGES

if TYPE_CHECKING:
    from napari_exo2micro.core.store.checkpoint import CheckpointStatus


@dataclass(frozen=True, slots=True)
class StageState:
    """What a stage's results are worth now.

    Attributes
    ----------
    number : int
        Of the stage.
    state : str
        ``'missing'``: it has not run with these parameters. ``'stale'``: results
        exist and are not used. ``'valid'``: they are used. ``'fell_back'``,
        ``'failed'``, ``'skipped'``: they are valid, and the stage says so of its
        own work.
    reason : str
        Why, in words; empty when there is nothing to say.
    """

    number: int
    state: Literal["valid", "stale", "missing", "fell_back", "failed", "skipped"]
    reason: str = ""


def stage_states(
    lines: Iterable[CheckpointStatus], result: Mapping[str, Any] | None = None
) -> dict[int, StageState]:
    """Return the state of each stage.

    Parameters
    ----------
    lines : iterable of CheckpointStatus
        As `SampleDye.status` returns them.
    result : mapping, optional
        As `SampleDye.result` returns it, for the verdicts.

    Returns
    -------
    dict
        Number -> state, for every stage that there is.
    """
    known = list(lines)
    verdicts = _verdicts(result or {})
    return {
        number: _state(
            number,
            [line for line in known if line.stage == number],
            verdicts.get(number, {}),
        )
        for number in sorted(STAGES)
    }


def stages_done(lines: Iterable[CheckpointStatus]) -> int:
    """Return the last stage in a row whose images are all valid; 0 without any."""
    images = [line for line in lines if line.kind == "checkpoint"]
    done = 0
    for number in sorted({line.stage for line in images}):
        if any(one.state != "valid" for one in images if one.stage == number):
            break
        done = number
    return done


def _verdicts(result: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    found = {int(number): one for number, one in result.get("registration", {}).items()}
    of_scale = (result.get("scale") or {}).get("verdict")
    if of_scale:
        found[4] = of_scale
    later = {int(number): one for number, one in result.get("verdicts", {}).items()}
    return later | found


def _state(
    number: int, lines: list[CheckpointStatus], verdict: Mapping[str, Any]
) -> StageState:
    images = [line for line in lines if line.kind == "checkpoint"]
    if not images or all(line.state == "missing" for line in images):
        return StageState(number, "missing")
    for line in images:
        if line.state == "stale":
            return StageState(number, "stale", line.reason)
    for line in images:
        if line.state == "missing":
            return StageState(number, "missing", f"{line.path.name} is missing")
    for line in lines:
        if line.state != "valid":
            why = line.reason or "it is missing"
            return StageState(number, "stale", f"the plot {line.path.name}: {why}")
    state = verdict.get("state", "ok")
    if state == "ok":
        notes = (line.reason for line in images if line.reason)
        return StageState(number, "valid", next(notes, ""))
    return StageState(number, state, str(verdict.get("reason", "")))


def result_without_run(
    sample: str, dye: str, status: str, *, manual_scale: Any = None
) -> dict[str, Any]:
    """Return the result of a task that gave none.

    Parameters
    ----------
    sample, dye : str
        Whose task it is.
    status : str
        ``'error: ...'``, ``'skipped: ...'`` or ``'stopped: ...'``.
    manual_scale : float, optional
        As it was asked for.
    """
    return {
        "sample": sample,
        "dye": dye,
        "status": status,
        "scale_estimate": None,
        "scale_percentile_value": None,
        "manual_scale": manual_scale,
        "scale": None,
        "scales": {},
        "registration": {},
        "verdicts": {},
        "warnings": [],
        "outputs": [],
        "seconds": 0.0,
    }
