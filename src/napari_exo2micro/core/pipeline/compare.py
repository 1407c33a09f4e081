"""A comparison as a table: one row of numbers and words for each value."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from napari_exo2micro.core.base.files import replace_file
from napari_exo2micro.core.parameters.parameters import ParameterValue
from napari_exo2micro.core.parameters.settings import value_words
from napari_exo2micro.core.parameters.stages import STAGES
from napari_exo2micro.core.photometry.methods import SCALE_METHODS


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """What one value of a parameter came to.

    Attributes
    ----------
    value : bool, int, float, str or None
        Of the parameter.
    state : {'complete', 'degraded', 'failed'}
        Degraded: a stage fell back or could not vouch for its result.
    note : str
        Why it is not complete, and what a careful reader wants to know.
    accuracy_px : float or None
        Estimated accuracy of the alignment, px.
    scale, scale_uncertainty : float or None
        Of the difference that the value has an effect on.
    seconds : float or None
        Wall time of the run; short where results were there already.
    """

    value: ParameterValue
    state: Literal["complete", "degraded", "failed"]
    note: str = ""
    accuracy_px: float | None = None
    scale: float | None = None
    scale_uncertainty: float | None = None
    seconds: float | None = None


def comparison_row(name: str, result: Mapping[str, Any]) -> ComparisonRow:
    """Return the row of one result of `SampleDye.compare`.

    Parameters
    ----------
    name : str
        The parameter; with `scale_percentile` and `manual_scale` the row tells the
        scale that they ask for.
    result : mapping
        With its `value`.
    """
    status = str(result["status"])
    state: Literal["complete", "degraded", "failed"] = "complete"
    notes = list(map(str, result.get("warnings", ())))
    kind, _, reason = status.partition(": ")
    if kind == "error":
        state = "failed"
        notes.insert(0, reason)
    elif kind == "degraded":
        state = "degraded"
        notes.insert(0, reason)
    scale, uncertainty = _scale(name, result)
    return ComparisonRow(
        value=result["value"],
        state=state,
        note="; ".join(notes),
        accuracy_px=_accuracy(result),
        scale=scale,
        scale_uncertainty=uncertainty,
        seconds=result.get("seconds"),
    )


def _accuracy(result: Mapping[str, Any]) -> float | None:
    registration = result.get("registration", {})
    for number in sorted(registration, key=int, reverse=True):
        accuracy = registration[number]["numbers"].get("accuracy_px")
        if accuracy is not None and accuracy >= 0:
            return float(accuracy)
    return None


def _scale(name: str, result: Mapping[str, Any]) -> tuple[float | None, float | None]:
    own = {"scale_percentile": "scale_percentile_value", "manual_scale": "manual_scale"}
    value = result.get("scale_estimate")
    if value is None:
        return None, None
    if name in own and result.get(own[name]) is not None:
        return float(result[own[name]]), None
    asked = {method.parameter: method.name for method in SCALE_METHODS.values()}
    of_method = result.get("scales", {}).get(asked.get(name, ""))
    if name in asked and of_method:
        return float(of_method["value"]), float(of_method["uncertainty"]) or None
    uncertainty = (result.get("scale") or {}).get("uncertainty")
    return float(value), None if uncertainty is None else float(uncertainty)


def save_comparison(
    path: str | Path,
    name: str,
    rows: Iterable[ComparisonRow],
    *,
    sample: str = "",
    dye: str = "",
    to_stage: int | None = None,
) -> None:
    """Write a comparison as a CSV table that spreadsheets open; whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file; its folder is made when missing.
    name : str
        The parameter.
    rows : iterable of ComparisonRow
        One line each; a number that is not known is left empty.
    sample, dye : str
        Repeated in every line, so that tables can be put together.
    to_stage : int, optional
        The last stage that ran.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    path = Path(path)
    last = max(STAGES) if to_stage is None else to_stage
    header = (
        "sample dye parameter value last_stage verdict accuracy_px scale "
        "scale_uncertainty seconds note"
    ).split()
    with (
        replace_file(path) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        table.writerow(header)
        for row in rows:
            numbers = (row.accuracy_px, row.scale, row.scale_uncertainty)
            seconds = None if row.seconds is None else round(row.seconds, 2)
            own = (name, value_words(row.value), last, row.state, *numbers)
            table.writerow([sample, dye, *own, seconds, row.note])
