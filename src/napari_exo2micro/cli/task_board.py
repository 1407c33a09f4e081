"""A live table of the tasks of a batch, or a line for each where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_exo2micro.cli.output import console, note, stop_on_ctrl_c, table
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.core.tasks import TaskEvent, TaskState

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

__all__ = ["TaskBoard", "watched_batch"]

_STYLES = {
    TaskState.QUEUED: "dim",
    TaskState.RUNNING: "cyan",
    TaskState.DONE: "green",
    TaskState.FAILED: "red",
    TaskState.NO_FILES: "yellow",
    TaskState.STOPPED: "yellow",
}
# What a person wants to see first where not all rows fit.
_ORDER = list(TaskState)
_ORDER.sort(
    key=lambda state: (
        state is not TaskState.RUNNING,
        state is not TaskState.FAILED,
        state is TaskState.QUEUED,
    )
)
_BAR = 12
_OTHER_LINES = 5


class TaskBoard:
    """What is known of each task, as rich draws it."""

    def __init__(self) -> None:
        self.is_stopping = False
        self._last: dict[int, TaskEvent] = {}
        self._begun: dict[int, float] = {}
        self._took: dict[int, float] = {}
        self._start = time.monotonic()

    def take(self, event: TaskEvent) -> None:
        """Remember an event."""
        now = time.monotonic()
        if event.state is TaskState.RUNNING:
            self._begun.setdefault(event.number, now)
        elif event.result is not None:
            begun = self._begun.get(event.number, now)
            self._took[event.number] = now - begun
        else:
            self._begun.pop(event.number, None)
        self._last[event.number] = event

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the counts and as many rows as there is room for."""
        room = max((options.max_height or out.height) - _OTHER_LINES, 3)
        rows = sorted(
            self._last.values(),
            key=lambda event: (_ORDER.index(event.state), event.number),
        )
        shown = sorted(rows[:room], key=lambda event: event.number)
        yield self._table(shown)
        yield self._counts(len(rows) - len(shown))

    def _table(self, events: Sequence[TaskEvent]) -> Table:
        from rich.text import Text

        made = table("sample", "dye", "state", "done", "time", "what", numbers=(4,))
        made.expand = True
        for column in made.columns:  # only the last words are cut
            column.no_wrap = True
        made.columns[-1].overflow = "ellipsis"
        made.columns[-1].ratio = 1
        for event in events:
            made.add_row(
                event.sample,
                event.dye,
                Text(str(event.state), style=_STYLES[event.state]),
                _bar(event),
                self._time(event.number),
                _what(event),
            )
        return made

    def _counts(self, n_hidden: int) -> Text:
        from rich.text import Text

        states = [event.state for event in self._last.values()]
        parts = [f"{states.count(s)} {s}" for s in TaskState if s in states]
        words = f"{', '.join(parts)}; {_clock(time.monotonic() - self._start)}"
        if n_hidden:
            words += f"; {n_hidden} more rows do not fit"
        if self.is_stopping:
            words += "; stopping, Ctrl-C again ends it at once"
        return Text(words, style="bold")

    def _time(self, number: int) -> str:
        if number in self._took:
            return _clock(self._took[number])
        begun = self._begun.get(number)
        return "" if begun is None else _clock(time.monotonic() - begun)


def _bar(event: TaskEvent) -> str:
    if event.state is not TaskState.RUNNING:
        return ""
    full = round(event.fraction * _BAR)
    return "━" * full + "╌" * (_BAR - full) + f" {event.fraction:4.0%}"


def _what(event: TaskEvent) -> str:
    if event.state is TaskState.RUNNING and event.stage:
        title = f"{event.stage} {STAGES[event.stage].title}"
        return title if event.text.startswith("stage ") else f"{title}, {event.text}"
    return event.text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def watched_batch() -> Iterator[dict[str, Any]]:
    """Show how a batch goes while the block lasts, and stop it on Ctrl-C.

    On a terminal a table shows all tasks; elsewhere a line tells that one has ended.

    Yields
    ------
    dict
        `on_event` and `monitor` for `core.batch.run_plan`.
    """
    from rich.live import Live

    board = TaskBoard()
    err = console(stderr=True)

    def tell(event: TaskEvent) -> None:
        board.take(event)
        if (
            not err.is_terminal
            and (event.result or event.text)
            and (event.state is not TaskState.RUNNING)
        ):
            seconds = (event.result or {}).get("seconds")
            took = f" ({seconds:.1f} s)" if seconds else ""
            note(f"{event.sample} / {event.dye}: {_sentence(event)}{took}")

    def ask_to_stop() -> None:
        board.is_stopping = True

    monitor = Monitor(should_stop=lambda: board.is_stopping)
    with stop_on_ctrl_c(ask_to_stop):
        if err.is_terminal:
            err.soft_wrap = False
            with Live(board, console=err, refresh_per_second=4, transient=True):
                yield {"on_event": tell, "monitor": monitor}
        else:
            yield {"on_event": tell, "monitor": monitor}


def _sentence(event: TaskEvent) -> str:
    """Return the status, or why a task waits again."""
    return event.text if event.result else f"{event.state}: {event.text}"
