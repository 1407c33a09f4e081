"""What a reader has to know before trusting a figure, in red."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.photometry import ScaleEstimate
from napari_exo2micro.core.stages import STAGES

__all__ = ["NOTE_CHARACTER", "NOTE_LINE", "scale_notes", "verdict_notes", "wrapped"]

NOTE_LINE: Final = 0.19
"""Height of a line of notes, inches."""

NOTE_CHARACTER: Final = 0.073
"""Average width of a character of the notes, inches; on the safe side."""

_MAX_NOTE_LINES: Final = 3


def verdict_notes(verdicts: Mapping[Any, Verdict] | None) -> list[str]:
    """Return what has to be said of stages that fell back or failed.

    Parameters
    ----------
    verdicts : mapping, optional
        Stage (its number or a name) to `Verdict`.

    Returns
    -------
    list of str
        One note for each such stage, in order.
    """
    notes = []
    for stage, verdict in (verdicts or {}).items():
        if verdict.state not in ("fell_back", "failed"):
            continue
        known = STAGES.get(stage) if isinstance(stage, int) else None
        name = f"Stage {stage}" if isinstance(stage, int) else str(stage)
        if known is not None:
            name += f" ({known.title})"
        what = "failed" if verdict.state == "failed" else "fell back"
        notes.append(f"{name} {what}: {verdict.reason or 'no reason given'}")
    return notes


def scale_notes(
    scales: Iterable[ScaleEstimate], verdicts: Mapping[Any, Verdict] | None = None
) -> list[str]:
    """Return what has to be said of scales that cannot be vouched for.

    A reason that a stage's verdict gives already is not said twice.
    """
    said = [verdict.reason for verdict in (verdicts or {}).values() if verdict.reason]
    notes = []
    for scale in scales:
        verdict = scale.verdict
        if verdict.state not in ("fell_back", "failed"):
            continue
        if any(verdict.reason in reason for reason in said):
            continue
        what = "failed" if verdict.state == "failed" else "fell back"
        notes.append(f"Scale ({scale.kind}) {what}: {verdict.reason}")
    return notes


def wrapped(notes: Sequence[str], columns: int) -> list[str]:
    """Return the notes in lines that fit; a long one is cut short."""
    lines: list[str] = []
    for note in notes:
        one_line = " ".join(note.split())
        lines += textwrap.wrap(
            one_line, max(columns, 20), max_lines=_MAX_NOTE_LINES, placeholder=" \u2026"
        )
    return lines
