"""What a cell of the batch table says: a mark, a word, a detail, a bar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_exo2micro.core.batch_board import BoardRow, clock_words
from napari_exo2micro.core.stored_state import StoredState
from napari_exo2micro.core.tasks import TaskState
from napari_exo2micro.plugin.forms.parameter_row import with_titles

__all__ = ["CellView", "absent", "of_row", "of_state", "without_files"]


@dataclass(frozen=True, slots=True)
class CellView:
    """What a cell says.

    Attributes
    ----------
    word : str
        The state.
    detail : str
        A few words more.
    mark : str
        A state of `marks.state_icon`; empty for none.
    why : str
        All that is known, in sentences.
    fraction : float or None
        How far it is, 0..1, where it runs.
    can_open : bool
        Whether there are results to show.
    is_done : bool
        Whether a run would find nothing to do.
    """

    word: str = ""
    detail: str = ""
    mark: str = ""
    why: str = ""
    fraction: float | None = None
    can_open: bool = False
    is_done: bool = False


def absent() -> CellView:
    """Return the cell of a dye that a sample was not imaged with."""
    return CellView("–", "", "", "The raw folder has no images of this sample and dye.")


def without_files(reason: str) -> CellView:
    """Return the cell of a pair that cannot run.

    Parameters
    ----------
    reason : str
        As `core.discover_tasks` tells it.
    """
    for side in ("pre", "post"):
        if f": no {side}-stain file" in reason:
            return CellView("no files", f"no {side}-stain image", "stale", reason)
        if f" {side}-stain files for dye" in reason:
            detail = f"several {side}-stain images"
            return CellView("no files", detail, "stale", reason)
    return CellView("no files", "cannot be read", "stale", reason)


def of_state(state: StoredState | None) -> CellView:
    """Return the cell of a pair that has not run here; None: not looked at yet."""
    if state is None:
        return CellView("…", "", "", "What is on disk is being looked at.")
    why = with_titles(state.reason)
    if state.holder:
        return CellView(
            "busy",
            "another run",
            "stale",
            f"Another run works on it: {state.holder}. A batch waits for it.",
            can_open=state.has_results,
        )
    done = not state.to_run
    if state.state == "done":
        figures = _figures(state.result)
        detail = f"earlier, {figures}" if figures else "earlier"
        detail = detail if done else "runs again"
        why = "All its results are valid." + ("" if done else " Force makes them anew.")
        return CellView("done", detail, "valid", why, None, True, done)
    if state.state == "degraded":
        detail = _short(why) if done else "runs again"
        return CellView("degraded", detail, "fell_back", why, None, True, done)
    if state.state == "stale":
        return CellView("stale", _short(why), "stale", f"Will be made again: {why}")
    if state.state == "part":
        why = f"{why[:1].upper()}{why[1:]}; the others will run."
        return CellView("begun", _range(state.to_run), "missing", why, None, True)
    return CellView("not run", "", "missing", why or "It has no results yet.")


def of_row(row: BoardRow) -> CellView:
    """Return the cell of a pair that is in the batch that runs, or ran last."""
    took = "" if row.seconds is None else clock_words(row.seconds)
    if row.is_waiting:
        return CellView("waiting", "another run", "stale", row.step)
    if row.state is TaskState.RUNNING:
        word = f"running {row.fraction:.0%}"
        why = f"{row.step or 'begins'} ({took})"
        return CellView(word, row.step or "begins", "", why, row.fraction)
    if row.state is TaskState.QUEUED:
        return CellView(
            "queued", row.text, "missing", row.text or "Waits for its turn."
        )
    if row.state is TaskState.DONE:
        figures = _figures(row.result)
        detail = ", ".join(words for words in (figures, took) if words)
        if row.word == "degraded":
            why = with_titles(row.reason)
            return CellView("degraded", _short(why), "fell_back", why, None, True, True)
        return CellView("done", detail, "valid", f"Done: {detail}.", None, True, True)
    why = with_titles(row.reason)
    if row.state is TaskState.FAILED:
        return CellView("failed", _without_path(why), "failed", why)
    if row.state is TaskState.NO_FILES:
        return without_files(row.reason)
    why = f"{why[:1].upper()}{why[1:]}."
    return CellView("stopped", "", "skipped", why)


def _figures(result: object) -> str:
    scale = result.get("scale_estimate") if isinstance(result, dict) else None
    return f"scale {scale:.4g}" if isinstance(scale, float) else ""


def _range(stages: tuple[int, ...]) -> str:
    if len(stages) < 2:
        return f"stage {stages[0]} to run" if stages else ""
    return f"stages {stages[0]}-{stages[-1]} to run"


def _short(why: str) -> str:
    """Return a reason without the name of its stage, which its number tells."""
    head, found, rest = why.partition(": ")
    words = head.split()
    if found and words[:1] == ["stage"] and len(words) > 1:
        return f"{words[1]}: {rest}"
    return why


def _without_path(why: str) -> str:
    """Return a reason without the path it begins with: the cell has little room."""
    head, found, rest = why.partition(": ")
    return rest if found and Path(head).is_absolute() else why
