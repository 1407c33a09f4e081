"""What people read: text made safe, a line of progress, and results as tables.

Names of files and entries of headers are whatever somebody wrote. A terminal obeys the
control characters among them, bidirectional ones make a line read as another one, and a
spreadsheet calculates what begins with an equals sign.

rich draws in a terminal. In a notebook IPython shows HTML: rich's progress would need
ipywidgets there, and a saved notebook would not keep it. Nobody looks at a file or a
pipe, a worker process or a thread: nothing is shown there. rich is loaded when it has
something to draw; IPython is loaded already, or there is none.
"""

from __future__ import annotations

import html
import io
import multiprocessing
import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO, TypeVar

from napari_exo2micro.core.base.monitor import Monitor

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.progress import Progress
    from rich.table import Table

#: Cc control, Cf format (no glyph of their own), Cs lone surrogates (bytes that are no
#: text), Zl and Zp line breaks.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: What a spreadsheet takes for a formula, or for a blank before one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_unseen(character: str) -> bool:
    """Tell whether a character shows nothing, but may change what is around it."""
    return unicodedata.category(character) in _UNSEEN


def composed(name: str) -> str:
    """Return the composed Unicode form, in which names are compared.

    macOS lists an accented letter as two code points; a person types one.
    """
    return unicodedata.normalize("NFC", name)


def visible(text: str, keep: str = "") -> str:
    r"""Return a text whose every character is seen; others become escapes.

    Parameters
    ----------
    text : str
        Any text.
    keep : str
        Characters that are meant, such as line breaks.

    Examples
    --------
    >>> visible("Rock\x1b[2J\n7")
    'Rock\\x1b[2J\\n7'
    >>> visible("a\nb", keep="\n")
    'a\nb'
    """
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if is_unseen(c) and c not in keep else c
        for c in text
    )


def table_cell(value: object) -> object:
    """Return what a CSV table is given for a value: a text never is a formula.

    Numbers stay numbers; None is an empty cell.

    Examples
    --------
    >>> table_cell("=1+1"), table_cell("Rock"), table_cell(-0.5)
    ("'=1+1", 'Rock', -0.5)
    """
    if not isinstance(value, str):
        return value
    text = visible(value, keep="\n\t\r")
    return f"'{text}" if text.startswith(_FORMULA) else text


T = TypeVar("T")
Update = Callable[[float, str], None]

_FILE_WIDTH: Final = 120
_INTERVAL: Final = 0.2  # s between two updates of a notebook's cell
# Pages and notebooks have styles of their own: what makes a table readable is told.
_CELL: Final = "padding: 1px 12px; text-align: "
_WHOLE: Final = "; white-space: nowrap"  # only words of the last column are broken


class Word(Protocol):
    """A word with a colour: a `State`."""

    word: str
    colour: str


# Terminals --------------------------------------------------------------------------


def console(*, stderr: bool = False) -> Console:
    """Return a console on today's stream, which never guesses at markup.

    Whatever it prints passes `visible`: names of files and entries of headers may hold
    what a terminal obeys. Lines are not broken, but the columns of tables are: to the
    terminal's width, or to one that suits a file.
    """
    made = _console_type()(stderr=stderr, markup=False, highlight=False, soft_wrap=True)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _FILE_WIDTH
    return made


@cache
def _console_type() -> type[Console]:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class VisibleConsole(Console):
        def render_str(self, text: str, **more: Any) -> Text:
            return super().render_str(visible(text), **more)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                text, style, control = segment
                if not control:
                    segment = Segment(visible(text, keep="\n"), style)
                yield segment

    return VisibleConsole


def table(*headings: str, numbers: Sequence[int] = (), plain: bool = False) -> Table:
    """Return an empty table; the columns at `numbers` are set to the right.

    A `plain` one is made of letters that every encoding has.
    """
    from rich import box
    from rich.table import Table

    line = " -- " if plain else " ── "
    look = box.Box("\n".join(["    "] * 2 + [line] + ["    "] * 5) + "\n", ascii=plain)
    made = Table(box=look, pad_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        side: Any = "right" if index in numbers else "left"
        made.add_column(heading, justify=side, overflow="fold")
    return made


def progress_bar(title: str, on: Console) -> tuple[Progress, Update]:
    """Return a line with a title, a bar and words for a terminal, and what moves it.

    It is seen while the first is entered, and gone afterwards.
    """
    from rich import progress as bars
    from rich.table import Column

    title = visible(title)
    # In a narrow window only the words at the end are cut.
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    bar = bars.Progress(
        bars.TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(min_width=len(title)),
        ),
        bars.BarColumn(bar_width=16, table_column=Column(min_width=16)),
        bars.TextColumn("{task.percentage:>3.0f}%", table_column=Column(min_width=4)),
        bars.TimeElapsedColumn(table_column=Column(min_width=7)),
        bars.TextColumn("{task.fields[text]}", markup=False, table_column=rest),
        console=on,
        expand=True,
        transient=True,
        disable=not on.is_terminal,
    )
    task = bar.add_task(title, total=1.0, text="")

    def update(fraction: float, text: str) -> None:
        bar.update(task, completed=fraction, text=visible(text))

    return bar, update


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person sees what is written there."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it was closed
        return False


# Notebooks --------------------------------------------------------------------------


def _shell() -> Any:
    """Return the IPython that runs this program, None where there is none."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def _notebook() -> Any:
    """Return the IPython of a notebook, None elsewhere.

    Not that of a console inside another program's window, which cannot draw meanwhile.
    """
    shell = _shell()
    kinds = {kind.__name__ for kind in type(shell).__mro__}
    inside = "InProcessInteractiveShell" in kinds
    return shell if "ZMQInteractiveShell" in kinds and not inside else None


def _display(*shown: Any, **options: Any) -> Any:
    return import_module("IPython.display").display(*shown, **options)


class _Cell:
    """A line of progress below a notebook's cell."""

    def __init__(self, title: str) -> None:
        self._title = visible(title)
        self._start = time.monotonic()
        self._last = 0.0
        self._handle = _display(self._drawn(0.0, ""), raw=True, display_id=True)

    def update(self, fraction: float, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= _INTERVAL or fraction >= 1.0:
            self._last = now
            self._handle.update(self._drawn(fraction, text), raw=True)

    def _drawn(self, fraction: float, text: str) -> dict[str, str]:
        figures = f"{fraction:4.0%}  {time.monotonic() - self._start:.0f} s  "
        figures += visible(text)
        title = html.escape(self._title)
        bar = f'<progress value="{fraction:.3f}" max="1"></progress>'
        line = f"{title}  {bar} {html.escape(figures)}"
        return {
            "text/plain": f"{self._title}  {figures}",
            "text/html": f'<div style="white-space: pre-wrap">{line}</div>',
        }


# Where somebody looks -----------------------------------------------------------------

_speaking = threading.Lock()


def _has_listener() -> bool:
    """Tell whether this is what a person started, not its worker or thread."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and multiprocessing.current_process().name == "MainProcess"


@contextmanager
def told(monitor: Monitor | None, title: str, progress: bool) -> Iterator[Monitor]:
    """Yield what a run reports to: the caller's own, or one that shows it.

    Nothing is shown without `progress`, where nobody looks, and within a run that is
    shown already.
    """
    speaks = monitor is None and progress and _has_listener()
    if not speaks or not _speaking.acquire(blocking=False):
        yield monitor or Monitor()
        return
    try:
        if _notebook() is not None:
            yield spoken(_Cell(title).update)
        elif is_terminal(sys.stderr):
            bar, update = progress_bar(title, console(stderr=True))
            with bar:
                yield spoken(update)
        else:
            yield Monitor()
    finally:
        _speaking.release()


def spoken(update: Update, should_stop: Callable[[], bool] | None = None) -> Monitor:
    """Return a monitor that hands on the fraction, and words after the stage's."""
    stage, begins = "", False

    def begin(_number: int) -> None:
        nonlocal begins
        begins = True

    def report(fraction: float, text: str) -> None:
        nonlocal stage, begins
        if begins:  # the first report of a stage says which one it is
            stage, text, begins = text, "", False
        update(fraction, ", ".join(filter(None, (stage, text))))

    return Monitor(report, should_stop, begin)


def show(shown: ShownList[Any]) -> None:
    """Print a table, or show it in a notebook; nothing where nobody looks."""
    if not _has_listener():
        return
    if (shell := _notebook()) is not None:
        _display(shown)
        shown.shown_in = shell.execution_count
    elif is_terminal(sys.stdout):
        console().print(shown)
        shown.shown_in = getattr(_shell(), "execution_count", None)


# Tables -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Listing:
    """A table of words: as text, for rich (the command line), and as HTML (notebooks).

    Cells are text, perhaps of several lines, or a word with a colour. The title stands
    above, the notes are lines below. Columns at `numbers` are set to the right.
    """

    headings: tuple[str, ...]
    rows: Sequence[Sequence[str | Word]]
    numbers: tuple[int, ...] = ()
    title: str = ""
    notes: tuple[str, ...] = ()

    def __rich__(self, *, plain: bool = False) -> Group:
        """Return what rich prints."""
        from rich.console import Group
        from rich.text import Text

        parts: list[Any] = [Text(visible(self.title))] if self.title else []
        if self.rows:
            made = table(*self.headings, numbers=self.numbers, plain=plain)
            for row in self.rows:
                made.add_row(*(Text(_words(it), style=_colour(it)) for it in row))
            parts.append(made)
        return Group(*parts, *(Text(visible(note)) for note in self.notes))

    def __repr__(self) -> str:
        """Return the table as text."""
        width = shutil.get_terminal_size((_FILE_WIDTH, 24)).columns
        page = _console_type()(
            file=io.StringIO(),
            width=width,
            color_system=None,
            force_terminal=False,
            force_jupyter=False,
        )
        page.print(self.__rich__(plain=True), soft_wrap=True)
        assert isinstance(page.file, io.StringIO)
        lines = page.file.getvalue().splitlines()
        return "\n".join(line.rstrip() for line in lines).strip("\n")

    def _repr_html_(self) -> str:
        parts = [f"<b>{html.escape(visible(self.title))}</b>"] if self.title else []
        if self.rows:
            sides = [
                _CELL + ("right" if index in self.numbers else "left") + _WHOLE
                for index in range(len(self.headings))
            ]
            sides[-1] = sides[-1].removesuffix(_WHOLE)
            head = (
                f'<th style="{side}">{html.escape(words)}</th>'
                for words, side in zip(self.headings, sides, strict=True)
            )
            body = (
                "".join(
                    f'<td style="{side}">{_html(cell)}</td>'
                    for cell, side in zip(row, sides, strict=True)
                )
                for row in self.rows
            )
            lines = "\n".join(f"<tr>{cells}</tr>" for cells in body)
            parts.append(
                f'<table style="margin: 4px 0">\n'
                f"<thead><tr>{''.join(head)}</tr></thead>\n"
                f"<tbody>\n{lines}\n</tbody>\n</table>"
            )
        parts += [f"<div>{html.escape(visible(note))}</div>" for note in self.notes]
        return "\n".join(parts)


def _words(cell: str | Word) -> str:
    return visible(getattr(cell, "word", str(cell)), keep="\n")


def _colour(cell: str | Word) -> str:
    return getattr(cell, "colour", "")


def _html(cell: str | Word) -> str:
    words = html.escape(_words(cell)).replace("\n", "<br>")
    colour = _colour(cell)
    return f'<span style="color: {colour}">{words}</span>' if colour else words


class Shown:
    """Is shown as a table where a notebook or rich shows it."""

    __slots__ = ()

    def __rich__(self) -> Listing:
        """Return the table."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self.__rich__()._repr_html_()


class ShownList(Shown, list[T]):
    """A list that prints as its table, too."""

    #: The input of IPython in which it was shown already.
    shown_in: int | None = None

    def __repr__(self) -> str:
        """Return the table as text."""
        return repr(self.__rich__())

    def _ipython_display_(self) -> None:
        # What ends a cell and has just been shown is not shown once more; of anything
        # else IPython, which asks here first, is to take the usual forms.
        now = getattr(_shell(), "execution_count", None)
        if self.shown_in is None or self.shown_in != now:
            raise NotImplementedError
