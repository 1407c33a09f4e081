"""The table on the terminal that shows how a batch goes while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_exo2micro.cli.output import console, note, stop_on_ctrl_c, table
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.batch import BatchBoard, BoardRow, TaskEvent, clock_words
from napari_exo2micro.core.parameters import State

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text


# What a person wants to see first where not all rows fit.
_URGENT = (State.RUNNING, State.FAILED)
_BAR = 12
_OTHER_LINES = 5


class TaskBoard(BatchBoard):
    """What is known of each task, as rich draws it."""

    is_stopping = False

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the counts and as many rows as there is room for."""
        room = max((options.max_height or out.height) - _OTHER_LINES, 3)
        rows = sorted(self.rows, key=_urgency)
        shown = sorted(rows[:room], key=lambda row: row.number)
        yield self._table(shown, options.max_width)
        yield self._counts(len(rows) - len(shown))

    def _table(self, rows: Sequence[BoardRow], width: int) -> Table:
        from rich.text import Text

        made = table("sample", "dye", "state", "done", "time", "what", numbers=(4,))
        made.expand = True
        for column in made.columns:  # only long names and the last words are cut
            column.no_wrap = True
            column.overflow = "ellipsis"
        made.columns[0].max_width = max(width // 5, 8)
        made.columns[1].max_width = max(width // 8, 8)
        made.columns[-1].ratio = 1
        for row in rows:
            made.add_row(
                row.sample,
                row.dye,
                Text(row.word, style=row.state.colour),
                _bar(row),
                "" if row.seconds is None else clock_words(row.seconds),
                row.step,
            )
        return made

    def _counts(self, n_hidden: int) -> Text:
        from rich.text import Text

        counts = self.counts_in_words() or "looking at memory and disk"
        words = f"{counts}; {clock_words(self.elapsed)}"
        if n_hidden:
            words += f"; {n_hidden} more rows do not fit"
        if self.is_stopping:
            words += "; stopping, Ctrl-C again ends it at once"
        return Text(words, style="bold")


def _urgency(row: BoardRow) -> tuple[int, bool, int]:
    places = {state: place for place, state in enumerate(_URGENT)}
    is_queued = row.state is State.QUEUED
    return places.get(row.state, len(places)), is_queued, row.number


def _bar(row: BoardRow) -> str:
    if row.state is not State.RUNNING:
        return ""
    full = round(row.fraction * _BAR)
    return "━" * full + "╌" * (_BAR - full) + f" {row.fraction:4.0%}"


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
            and (event.state is not State.RUNNING)
        ):
            seconds = event.result.seconds if event.result else None
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
    return event.text if event.result else f"{event.state.word}: {event.text}"
