"""What came out of a batch: counts, and the problems that a person should see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from napari_exo2micro.core.batch.task import TaskState, state_of

_ORDER = ("failed", "stopped", "skipped", "degraded")


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """One thing to look at.

    Attributes
    ----------
    sample, dye : str
        Whose it is.
    kind : {'failed', 'stopped', 'skipped', 'degraded'}
        What became of it.
    reason : str
        Why, in words.
    """

    sample: str
    dye: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What came out of a batch.

    Attributes
    ----------
    total : int
        Number of results.
    counts : mapping of str to int
        Of `complete`, `degraded`, `failed`, `skipped` and `stopped` results.
    problems : tuple of BatchProblem
        All that are not complete, the worst first.
    """

    total: int
    counts: Mapping[str, int]
    problems: tuple[BatchProblem, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every result is complete."""
        return self.counts["complete"] == self.total

    def sentence(self) -> str:
        """Return the counts in words: ``8 tasks: 6 complete, 2 failed``."""
        counts = (f"{n} {kind}" for kind, n in self.counts.items() if n)
        tasks = "1 task" if self.total == 1 else f"{self.total} tasks"
        return f"{tasks}: {', '.join(counts) or 'nothing to do'}"


def summarise_batch(results: Iterable[Mapping[str, Any]]) -> BatchSummary:
    """Return counts and problems of the results of `run_batch`.

    Parameters
    ----------
    results : iterable of mapping
        As `run_batch` returns them.

    Returns
    -------
    BatchSummary
        Counts, and all that is not complete with its reason.

    Examples
    --------
    >>> one = {"sample": "CD070", "dye": "DAPI", "status": "complete"}
    >>> two = {**one, "dye": "SybrGld", "status": "error: no such file"}
    >>> summary = summarise_batch([one, two])
    >>> summary.sentence()
    '2 tasks: 1 complete, 1 failed'
    >>> summary.problems[0].dye, summary.problems[0].reason
    ('SybrGld', 'no such file')
    """
    results = list(results)
    kinds = [_kind(result) for result in results]
    found = Counter(kinds)
    problems = [
        BatchProblem(str(result["sample"]), str(result["dye"]), kind, _reason(result))
        for kind, result in zip(kinds, results, strict=True)
        if kind != "complete"
    ]
    problems.sort(key=lambda problem: _ORDER.index(problem.kind))
    counts = {kind: found[kind] for kind in ("complete", *reversed(_ORDER))}
    return BatchSummary(len(results), counts, tuple(problems))


def _kind(result: Mapping[str, Any]) -> str:
    state = state_of(result)
    if state is TaskState.DONE:
        return "complete" if result["status"] == "complete" else "degraded"
    return {TaskState.FAILED: "failed", TaskState.NO_FILES: "skipped"}.get(
        state, "stopped"
    )


def _reason(result: Mapping[str, Any]) -> str:
    return str(result["status"]).partition(": ")[2] or str(result["status"])
