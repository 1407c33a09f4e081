"""What is known of the tasks of a batch, while it runs and in the end."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from napari_exo2micro.core.base.text import Listing, Shown, ShownList
from napari_exo2micro.core.batch.task import ENDED_WELL, TaskEvent
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.pipeline.result import RunResult, figures_of

# How a task can end, the worst last.
_ENDS: Final = (State.DONE, State.DEGRADED, State.NO_FILES, State.STOPPED, State.FAILED)


@dataclass(frozen=True, slots=True, repr=False)
class BatchSummary(Shown):
    """What came out of a batch.

    Attributes
    ----------
    total : int
        Number of results.
    counts : mapping of State to int
        How many results are `DONE`, `DEGRADED`, `NO_FILES`, `STOPPED` and `FAILED`; a
        state equals its text, so that ``counts["done"]`` will do.
    problems : tuple of RunResult
        All that are not done, the worst first.
    """

    total: int
    counts: Mapping[State, int]
    problems: tuple[RunResult, ...]

    def __repr__(self) -> str:
        """Return the counts in words, and the problems."""
        return repr(self.__rich__())

    def __rich__(self) -> Listing:
        """Return a row for each problem."""
        rows = [(it.sample, it.dye, it.state, it.reason) for it in self.problems]
        headings = ("sample", "dye", "result", "why")
        return Listing(headings, rows, title=self.sentence())

    @property
    def is_complete(self) -> bool:
        """Whether every result is done."""
        return not self.problems

    def sentence(self, what: str = "task") -> str:
        """Return the counts in words: ``8 tasks: 6 done, 2 failed``.

        Parameters
        ----------
        what : str
            What is counted, as one of them is called.
        """
        counts = (
            f"{count} {state.word}" for state, count in self.counts.items() if count
        )
        ending = "" if self.total == 1 else "s"
        return f"{self.total} {what}{ending}: {', '.join(counts) or 'nothing to do'}"


def summarise_batch(results: Iterable[RunResult]) -> BatchSummary:
    """Return counts and problems of the results of `run_batch`.

    Parameters
    ----------
    results : iterable of RunResult
        As `run_batch` returns them.

    Returns
    -------
    BatchSummary
        Counts, and all that is not done.

    Examples
    --------
    >>> done = RunResult("CD070", "DAPI", State.DONE)
    >>> failed = RunResult("CD070", "SybrGld", State.FAILED, "no such file")
    >>> summary = summarise_batch([done, failed])
    >>> summary.sentence()
    '2 tasks: 1 done, 1 failed'
    >>> summary.problems[0].dye, summary.problems[0].reason
    ('SybrGld', 'no such file')
    """
    results = list(results)
    ended = {state: [r for r in results if r.state is state] for state in _ENDS}
    counts = {state: len(own) for state, own in ended.items()}
    problems = [result for state in reversed(_ENDS[1:]) for result in ended[state]]
    return BatchSummary(sum(counts.values()), counts, tuple(problems))


class BatchResults(ShownList[RunResult]):
    """What `run_batch` returns: results, which print as the table of a batch."""

    def __rich__(self) -> Listing:
        """Return a row for each result; below, problems and what is worth knowing."""
        rows = [
            (
                result.sample,
                result.dye,
                result.state,
                *figures_of(result),
                result.microbes,
                f"{result.seconds:.1f} s" if result.seconds else "",
            )
            for result in self
        ]
        summary = summarise_batch(self)
        notes = ["problems"] if summary.problems else []
        for it in summary.problems:
            who = f"{it.sample} / {it.dye or 'any dye'}"
            notes.append(f"  {who}: {it.state.word}: {it.reason}")
        for it in self:
            who = f"{it.sample} / {it.dye}"
            notes += [f"  {who}: warning: {text}" for text in it.warnings]
        return Listing(
            ("sample", "dye", "result", "accuracy px", "scale", "microbes", "time"),
            rows,
            numbers=(3, 4, 5, 6),
            notes=(*notes, summary.sentence()),
        )


_IN_THIS_ORDER: Final = (
    *(State.QUEUED, State.RUNNING, State.WAITING, State.DONE, State.DEGRADED),
    *(State.FAILED, State.NO_FILES, State.STOPPED),
)


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
        self._end = self._now()

    @property
    def elapsed(self) -> float:
        """Seconds since the board was made, until `end`."""
        return self._now() - self._start

    @property
    def rows(self) -> list[TaskEvent]:
        """The last event of each task in the order of their numbers, with `seconds`."""
        now = self._now()
        with self._lock:
            seconds = {number: now - begun for number, begun in self._begun.items()}
            seconds |= self._took
            return [
                replace(event, seconds=seconds.get(number))
                for number, event in sorted(self._last.items())
            ]

    @property
    def results(self) -> BatchResults:
        """The results of the tasks that have ended, in the order of their numbers."""
        with self._lock:
            events = [event for _, event in sorted(self._last.items())]
        return BatchResults(e.result for e in events if e.result is not None)

    def counts_in_words(self) -> str:
        """Return how many tasks there are of each word: ``2 queued, 1 running``."""
        counts = Counter(row.word for row in self.rows)
        words = (state.word for state in _IN_THIS_ORDER)
        return ", ".join(f"{counts[word]} {word}" for word in words if counts[word])

    @property
    def fraction(self) -> float:
        """Done of the whole batch, 0..1; tasks that cannot run do not count."""
        with self._lock:
            events = [e for e in self._last.values() if e.state is not State.NO_FILES]
        over = (*ENDED_WELL, State.FAILED)
        done = (1.0 if event.state in over else event.fraction for event in events)
        return sum(done) / len(events) if events else 1.0

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

    def _now(self) -> float:
        return self._clock() if self._end is None else self._end


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
