"""What is known of the tasks of a batch, while it runs and in the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final

from napari_exo2micro.core.batch.task import ENDED_WELL, TaskEvent
from napari_exo2micro.core.parameters.stages import STAGES
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


@dataclass(frozen=True, slots=True)
class BoardRow(TaskEvent):
    """The last event of a task, and what follows from it.

    Attributes
    ----------
    seconds : float or None
        Since it began, or that it took; None before it begins.
    """

    seconds: float | None = None

    @property
    def word(self) -> str:
        """The state in a word; a task that waits for another run is waiting."""
        return (State.WAITING if self.is_waiting else self.state).word

    @property
    def is_waiting(self) -> bool:
        """Whether another run holds it up: no stage has begun, and it says why."""
        return self.state is State.RUNNING and not self.stage and self.text != ""

    @property
    def step(self) -> str:
        """What is being done, or in the end why it is as it is; in words."""
        if self.state is State.RUNNING and self.stage:
            title = f"{self.stage} {STAGES[self.stage].title}"
            return f"{title}, {self.text}" if self.text else title
        return self.text

    @property
    def reason(self) -> str:
        """Why the task is not complete; empty when it is, and before its end."""
        return "" if self.result is None else self.result.reason


class BatchBoard:
    """Keeps what is known of each task; may be told and asked in any thread.

    Parameters
    ----------
    work : mapping of int to float, optional
        How much there is to do for each task, by its number and in any unit; 0 where
        all is done already. All alike when left out.
    clock : callable
        Returns seconds.

    Examples
    --------
    >>> board = BatchBoard()
    >>> board.take(TaskEvent(0, "CD070", "DAPI", State.QUEUED))
    >>> board.counts_in_words()
    '1 queued'
    """

    def __init__(
        self,
        work: Mapping[int, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = dict(work or {})
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[int, TaskEvent] = {}
        self._begun: dict[int, float] = {}
        self._took: dict[int, float] = {}
        self._most_at_once = 1
        self._start = clock()
        self._end: float | None = None

    def take(self, event: TaskEvent) -> None:
        """Remember an event."""
        now = self._clock()
        with self._lock:
            if event.state is State.RUNNING:
                self._begun.setdefault(event.number, now)
            elif event.result is not None:
                begun = self._begun.get(event.number, now)
                self._took[event.number] = now - begun
            else:
                self._begun.pop(event.number, None)
            self._last[event.number] = event
            running = len(self._begun.keys() - self._took.keys())
            self._most_at_once = max(self._most_at_once, running)

    def end(self) -> None:
        """Stop the clock: nothing more comes."""
        if self._end is None:
            self._end = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the board was made, until `end`."""
        return (self._clock() if self._end is None else self._end) - self._start

    @property
    def rows(self) -> list[BoardRow]:
        """What is known of each task, in the order of their numbers."""
        now = self._clock() if self._end is None else self._end
        with self._lock:
            return [
                BoardRow(
                    **{name: getattr(event, name) for name in _OF_EVENT},
                    seconds=self._seconds(number, now),
                )
                for number, event in sorted(self._last.items())
            ]

    @property
    def results(self) -> list[RunResult]:
        """The results of the tasks that have ended, in the order of their numbers."""
        return [row.result for row in self.rows if row.result is not None]

    def counts(self) -> dict[str, int]:
        """Return how many tasks there are of each word, see `BoardRow.word`."""
        counts = Counter(row.word for row in self.rows)
        return {word: counts[word] for word in _WORDS if counts[word]}

    def counts_in_words(self) -> str:
        """Return the counts: ``2 queued, 1 running, 3 done``."""
        return ", ".join(f"{count} {word}" for word, count in self.counts().items())

    @property
    def fraction(self) -> float:
        """Done of the whole batch, 0..1; tasks that cannot run do not count."""
        rows = [row for row in self.rows if row.state is not State.NO_FILES]
        over = (*ENDED_WELL, State.FAILED)
        done = (1.0 if row.state in over else row.fraction for row in rows)
        return sum(done) / len(rows) if rows else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the tasks that came to their end; None before there is one.

        Tasks that failed or had nothing to do say nothing about the others.
        """
        rows = self.rows
        measured = [
            (row.seconds or 0.0, self._work.get(row.number, 1.0))
            for row in rows
            if row.state in ENDED_WELL and self._work.get(row.number, 1.0) > 0
        ]
        left = [
            self._work.get(row.number, 1.0) * (1.0 - row.fraction)
            for row in rows
            if row.result is None
        ]
        if not any(left):
            return 0.0
        if not measured:
            return None
        pace = sum(took for took, _ in measured) / sum(work for _, work in measured)
        return pace * max(sum(left) / self._most_at_once, *left)

    def _seconds(self, number: int, now: float) -> float | None:
        if number in self._took:
            return self._took[number]
        begun = self._begun.get(number)
        return None if begun is None else now - begun


_OF_EVENT = tuple(entry.name for entry in fields(TaskEvent))

_WORDS = tuple(
    state.word
    for state in (
        State.QUEUED,
        State.RUNNING,
        State.WAITING,
        State.DONE,
        State.DEGRADED,
        State.FAILED,
        State.NO_FILES,
        State.STOPPED,
    )
)


def clock_words(seconds: float) -> str:
    """Return a time as a clock shows it.

    Examples
    --------
    >>> clock_words(75), clock_words(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
