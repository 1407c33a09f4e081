"""The table on the terminal that shows how a batch goes while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_exo2micro.cli.output import console, note, stop_on_ctrl_c, table
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.batch import BatchBoard, TaskEvent, clock_words
from napari_exo2micro.core.parameters import State

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text


# What a person wants to see first where not all rows fit, and last.
_URGENT = {State.RUNNING: 0, State.FAILED: 1, State.QUEUED: 3}
_BAR = 12
_OTHER_LINES = 5


class TaskBoard(BatchBoard):
    """What is known of each task, as rich draws it."""

    is_stopping = False

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the counts and as many rows as there is room for."""
        room = max((options.max_height or out.height) - _OTHER_LINES, 3)
        rows = sorted(self.rows, key=lambda row: _URGENT.get(row.state, 2))
        shown = sorted(rows[:room], key=lambda row: row.number)
        yield self._table(shown, options.max_width)
        yield self._counts(len(rows) - len(shown))

    def _table(self, rows: Sequence[TaskEvent], width: int) -> Table:
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


def _bar(row: TaskEvent) -> str:
    if row.state is not State.RUNNING:
        return ""
    full = round(row.fraction * _BAR)
    return "━" * full + "╌" * (_BAR - full) + f" {row.fraction:4.0%}"


@contextmanager
def watched_batch() -> Iterator[dict[str, Any]]:
    """Show how a batch goes while the block lasts, and stop it on Ctrl-C.

    On a terminal a table shows all tasks; elsewhere a line tells that one has ended.
    It yields `on_event` and `monitor` for `core.batch.run_plan`.
    """
    from rich.live import Live

    board = TaskBoard()
    err = console(stderr=True)

    def show(event: TaskEvent) -> None:
        board.take(event)
        words = event.text
        if err.is_terminal or event.state is State.RUNNING or not words:
            return
        if event.result is None:  # why it waits again
            words = f"{event.state.word}: {words}"
        elif event.result.seconds:
            words += f" ({event.result.seconds:.1f} s)"
        note(f"{event.sample} / {event.dye}: {words}")

    def ask_to_stop() -> None:
        board.is_stopping = True

    monitor = Monitor(should_stop=lambda: board.is_stopping)
    with stop_on_ctrl_c(ask_to_stop):
        if err.is_terminal:
            err.soft_wrap = False
            with Live(board, console=err, refresh_per_second=4, transient=True):
                yield {"on_event": show, "monitor": monitor}
        else:
            yield {"on_event": show, "monitor": monitor}
