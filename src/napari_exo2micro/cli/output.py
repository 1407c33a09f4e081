"""What the command line prints, and where: results, notes, JSON, progress."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from napari_exo2micro.core.monitor import Monitor

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "console",
    "jsonable",
    "note",
    "notes_for_warnings",
    "print_json",
    "progress",
    "stop_on_ctrl_c",
    "table",
]

_FILE_WIDTH = 120


def console(*, stderr: bool = False) -> Console:
    """Return a console on today's stream, which never guesses at markup.

    Lines are not broken, but the columns of tables are: to the terminal's width,
    or to one that suits a file.
    """
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, highlight=False, soft_wrap=True)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _FILE_WIDTH
    return made


def note(text: str) -> None:
    """Write one line for a person to the standard error."""
    sys.stderr.write(" ".join(text.split()) + "\n")
    sys.stderr.flush()


def jsonable(value: Any) -> Any:
    """Return `value` made of what JSON knows: NaN and infinity become null."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        value = {field.name: getattr(value, field.name) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        value = value.tolist()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    return str(value)


def print_json(value: Any) -> None:
    """Write one JSON object, and nothing else, to the standard output."""
    text = json.dumps(jsonable(value), indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")


def table(*headings: str, numbers: tuple[int, ...] = ()) -> Table:
    """Return an empty table; the columns at `numbers` are set to the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        made.add_column(
            heading,
            justify="right" if index in numbers else "left",
            overflow="fold",
        )
    return made


@contextmanager
def notes_for_warnings() -> Iterator[list[str]]:
    """Turn Python warnings and logged ones into one-line notes; collect their texts.

    A text that comes twice is shown once.
    """
    shown: list[str] = []

    def say(text: str) -> None:
        if text not in shown:
            shown.append(text)
            note(f"warning: {text}")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(str(message))

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("napari_exo2micro")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            for quiet in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", quiet)
            warnings.showwarning = show
            yield shown
    finally:
        logger.removeHandler(handler)


@contextmanager
def progress(title: str) -> Iterator[Monitor]:
    """Show one line of progress while it lasts, and stop cleanly on Ctrl-C.

    The line appears on a terminal only. The first Ctrl-C asks the work to stop
    between two windows of an image, the second one interrupts it at once.

    Parameters
    ----------
    title : str
        What stands at the beginning of the line.

    Yields
    ------
    Monitor
        For the function that works.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.table import Column

    stopping = False

    def ask_to_stop() -> None:
        nonlocal stopping
        stopping = True
        bar.update(task, text="stopping ...")

    err = console(stderr=True)
    # In a narrow window only the words at the end are cut.
    bar = Progress(
        TextColumn("{task.description}", table_column=Column(min_width=len(title))),
        BarColumn(bar_width=16, table_column=Column(min_width=16)),
        TextColumn("{task.percentage:>3.0f}%", table_column=Column(min_width=4)),
        TimeElapsedColumn(table_column=Column(min_width=7)),
        TextColumn(
            "{task.fields[text]}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=err,
        expand=True,
        transient=True,
        disable=not err.is_terminal,
    )
    task = bar.add_task(title, total=1.0, text="")

    stage = ""

    def report(fraction: float, text: str) -> None:
        nonlocal stage
        if text.startswith("stage "):
            stage, text = text.removeprefix("stage "), ""
        if not stopping:
            words = ", ".join(part for part in (stage, text) if part)
            bar.update(task, completed=fraction, text=words)

    with stop_on_ctrl_c(ask_to_stop), bar:
        yield Monitor(report, lambda: stopping)


@contextmanager
def stop_on_ctrl_c(on_first: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C ask for a stop; the second one interrupts at once.

    Parameters
    ----------
    on_first : callable
        Called on the first one.
    """
    stopping = False

    def ask_to_stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            raise KeyboardInterrupt
        stopping = True
        on_first()

    before = _set_handler(ask_to_stop)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _set_handler(handler: Any) -> Any:
    """Set the handler of Ctrl-C; None where only the main thread could."""
    try:
        return signal.signal(signal.SIGINT, handler)
    except ValueError:
        return None
