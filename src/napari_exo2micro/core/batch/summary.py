"""What came out of a batch: counts, and the problems that a person should see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.pipeline.result import RunResult

# As sentences and scripts know them.
_KINDS: Final = {
    State.DONE: "complete",
    State.DEGRADED: "degraded",
    State.NO_FILES: "skipped",
    State.STOPPED: "stopped",
    State.FAILED: "failed",
}
_WORST_FIRST: Final = (State.FAILED, State.STOPPED, State.NO_FILES, State.DEGRADED)


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


def summarise_batch(results: Iterable[RunResult]) -> BatchSummary:
    """Return counts and problems of the results of `run_batch`.

    Parameters
    ----------
    results : iterable of RunResult
        As `run_batch` returns them.

    Returns
    -------
    BatchSummary
        Counts, and all that is not complete with its reason.

    Examples
    --------
    >>> done = RunResult("CD070", "DAPI", State.DONE)
    >>> failed = RunResult("CD070", "SybrGld", State.FAILED, "no such file")
    >>> summary = summarise_batch([done, failed])
    >>> summary.sentence()
    '2 tasks: 1 complete, 1 failed'
    >>> summary.problems[0].dye, summary.problems[0].reason
    ('SybrGld', 'no such file')
    """
    results = list(results)
    numbers = Counter(result.state for result in results)
    problems = [
        BatchProblem(result.sample, result.dye, _KINDS[state], result.reason)
        for state in _WORST_FIRST
        for result in results
        if result.state is state
    ]
    counts = {kind: numbers[state] for state, kind in _KINDS.items()}
    return BatchSummary(len(results), counts, tuple(problems))
