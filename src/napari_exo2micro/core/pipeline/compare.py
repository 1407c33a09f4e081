"""A comparison as a table: one row of numbers and words for each value."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_exo2micro.core.base.files import replace_file
from napari_exo2micro.core.parameters.parameters import ParameterValue
from napari_exo2micro.core.parameters.settings import value_words
from napari_exo2micro.core.parameters.stages import STAGES
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.photometry.methods import SCALE_METHODS
from napari_exo2micro.core.pipeline.result import RunResult


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """What one value of a parameter came to.

    Attributes
    ----------
    value : bool, int, float, str or None
        Of the parameter.
    state : State
        `DONE`, `DEGRADED` (a stage fell back or could not vouch for its result) or
        `FAILED`.
    note : str
        Why it is not done, and what a careful reader wants to know.
    accuracy_px : float or None
        Estimated accuracy of the alignment, px.
    scale, scale_uncertainty : float or None
        Of the difference that the value has an effect on.
    seconds : float or None
        Wall time of the run; short where results were there already.
    """

    value: ParameterValue
    state: State
    note: str = ""
    accuracy_px: float | None = None
    scale: float | None = None
    scale_uncertainty: float | None = None
    seconds: float | None = None

    @property
    def verdict(self) -> str:
        """The word in the table: ``complete``, ``degraded`` or ``failed``."""
        return "complete" if self.state == State.DONE else self.state.word


def comparison_row(name: str, result: RunResult) -> ComparisonRow:
    """Return the row of one result of `SampleDye.compare`.

    Parameters
    ----------
    name : str
        The parameter; where a scale method takes it, the row tells the scale that
        this method finds.
    result : RunResult
        With its `value`.
    """
    own = [m.name for m in SCALE_METHODS.values() if m.parameter == name]
    scales = {scale.method: scale for scale in result.scales.values()}
    scale = next((scales[method] for method in own if method in scales), result.scale)
    notes = [result.reason, *result.warnings]
    return ComparisonRow(
        value=result.value,
        state=result.state,
        note="; ".join(note for note in notes if note),
        accuracy_px=result.accuracy_px,
        scale=scale.value if scale else None,
        scale_uncertainty=(scale.uncertainty or None) if scale else None,
        seconds=result.seconds,
    )


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
            own = (name, value_words(row.value), last, row.verdict, *numbers)
            table.writerow([sample, dye, *own, seconds, row.note])
