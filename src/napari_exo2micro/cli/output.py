"""What the command line prints: results, tables, progress, errors and exit codes."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperGroup

from napari_exo2micro.core.base import (
    CancelledError,
    Exo2MicroError,
    Monitor,
    add_listener,
    console as console,
    progress_bar,
    remove_listener,
    spoken,
    table as table,
    visible,
)
from napari_exo2micro.core.parameters import with_error

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import RunResult


COMPLETE, DEGRADED, USAGE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 130

#: What each exit code says, for the help page.
EXIT_CODES = {
    COMPLETE: "done, and every stage vouches for its result",
    DEGRADED: "done, but look at it first: the status is degraded; of status also: "
    "not everything is there and valid (incomplete); of diagnose, survey, pair and "
    "batch also: some files or pairs cannot be used and the others can",
    USAGE: "bad input, one line says what was wanted and what was found; of batch "
    "also: a pair failed",
    INTERNAL: "a fault of the program",
    INTERRUPTED: "stopped with Ctrl+C",
}

OPENCV_HELP = (
    "OpenCV needs a system library that is not here; on Debian or Ubuntu run "
    "'apt-get install libgl1 libglib2.0-0', or use OpenCV without windows: "
    "'pip uninstall opencv-python && pip install opencv-python-headless'"
)


class Application(TyperGroup):
    """The group of commands; a wrong call ends in one line and exit code 2."""

    def main(self, *args: Any, **more: Any) -> NoReturn:
        """Run a command and leave with its exit code."""
        code: int | None
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A console or a file that knows no such sign must not end the work.
                stream.reconfigure(errors="backslashreplace")
        more["standalone_mode"] = False  # errors and exit codes are made here
        try:
            code = super().main(*args, **more)
            sys.stdout.flush()
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            path = getattr(context, "command_path", "exo2micro")
            text = error.format_message().rstrip(".")
            if text:  # none when the help page was the answer
                note(f"error: {text}; '{path} --help' lists what it takes")
            code = error.exit_code
        except (typer.Abort, KeyboardInterrupt):
            note("stopped")
            code = INTERRUPTED
        except BrokenPipeError:
            # The reader has seen enough: no complaint at the interpreter's exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = COMPLETE
        sys.exit(code or COMPLETE)


@dataclasses.dataclass(slots=True)
class Ending:
    """How a command ends: its exit code."""

    code: int = COMPLETE


@contextmanager
def guarded(*, debug: bool, as_json: bool) -> Iterator[Ending]:
    """Let the work of a command end in an exit code, whatever happens in it.

    An error ends in one line on the standard error; with `as_json` it is also printed
    as a JSON object, with `debug` the log and the traceback are shown.
    """
    ending = Ending()
    if debug:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_VisibleLines(logging.BASIC_FORMAT))
        logging.basicConfig(level=logging.DEBUG, handlers=[handler])
        logging.getLogger("matplotlib").setLevel(logging.INFO)
    elif not logging.root.handlers:
        # Else what libraries log of a damaged file stands beside the one line.
        logging.root.addHandler(logging.NullHandler())
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note_warning
            yield ending
            return
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, CancelledError) as error:
        failure: BaseException = error
        ending.code = INTERRUPTED
        text = str(error) or "stopped; finished stages are kept, run again to go on"
    except Exception as error:  # noqa: BLE001 - the last place to catch it
        failure = error
        is_fault = not isinstance(error, (Exo2MicroError, OSError, MemoryError))
        ending.code = INTERNAL if is_fault else USAGE
        text = _describe_fault(error) if is_fault else _describe(error)
    if debug:
        lines = "".join(traceback.format_exception(failure))
        sys.stderr.write(visible(lines, keep="\n"))
    if as_json:
        print_json({"status": f"error: {text}", "error": text})
    note(text if ending.code == INTERRUPTED else f"error: {text}")


class _VisibleLines(logging.Formatter):
    """Formats what is logged to a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n")


def _note_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    note(f"warning: {message}")


def _describe(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    return str(error)


def _describe_fault(error: Exception) -> str:
    if isinstance(error, ImportError) and "lib" in str(error) and ".so" in str(error):
        return f"{error}: {OPENCV_HELP}"
    return (
        f"this is a fault of exo2micro, not yours: {type(error).__name__}: {error}; "
        "--debug shows where, please report it"
    )


def note(text: str) -> None:
    """Write one line for a person to the standard error."""
    sys.stderr.write(visible(" ".join(text.split())) + "\n")
    sys.stderr.flush()


def jsonable(value: Any) -> Any:
    """Return `value` made of what JSON knows: NaN and infinity become null."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif hasattr(value, "tolist"):  # numpy arrays and scalars
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (int, str)) else str(value)


def print_json(value: Any) -> None:
    """Write one JSON object, and nothing else, to the standard output."""
    text = json.dumps(jsonable(value), indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")


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
    add_listener(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            for quiet in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", quiet)
            warnings.showwarning = show
            yield shown
    finally:
        remove_listener(handler)


@contextmanager
def watched(title: str) -> Iterator[tuple[Monitor, list[str]]]:
    """Show a line of progress and warnings while it lasts; stop cleanly on Ctrl-C.

    The line appears on a terminal only, and begins with the title. The first Ctrl-C
    asks the work to stop between two windows of an image, the second one interrupts
    it at once. It yields a monitor for the work and the texts of the warnings.
    """
    bar, update = progress_bar(title, console(stderr=True))
    done, stopping = 0.0, False

    def ask_to_stop() -> None:
        nonlocal stopping
        stopping = True
        update(done, "stopping ...")

    def report(fraction: float, text: str) -> None:
        nonlocal done
        done = fraction
        if not stopping:
            update(fraction, text)

    with notes_for_warnings() as shown, stop_on_ctrl_c(ask_to_stop), bar:
        yield spoken(report, lambda: stopping), shown


@contextmanager
def stop_on_ctrl_c(on_first: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C ask for a stop; the second one interrupts at once."""
    stopping = False

    def ask_to_stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            raise KeyboardInterrupt
        stopping = True
        on_first()

    before = signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print a line for each label with its text."""
    out = console()
    for label, text in facts:
        out.print(f"{label:<12}{text}")


def show_result(result: RunResult, *, already_shown: Sequence[str] = ()) -> None:
    """Print the result of `SampleDye.run` and, to the standard error, its warnings."""
    from napari_exo2micro.core.pipeline import verdict_table

    if result.verdicts:
        console().print(verdict_table(result.verdicts))
    print_facts((*_scales(result), *_outputs(result), ("status", result.status)))
    for text in result.warnings:
        if text not in already_shown:
            note(f"warning: {text}")


def _scales(result: RunResult) -> Iterator[tuple[str, str]]:
    from napari_exo2micro.core.photometry import further_scales

    scale = result.scale
    if scale is not None:
        formula = "post - scale × pre"
        if scale.offset:
            sign = "-" if scale.offset > 0 else "+"
            formula = f"post {sign} {abs(scale.offset):.3g} - scale × pre"
        words = with_error(scale.value, scale.uncertainty)
        yield "scale", f"{words} ({scale.kind}); difference = {formula}"
    if result.percentile_scale is not None:
        yield "", f"{result.percentile_scale.value:.5g} at the percentile"
    if result.manual_scale is not None:
        yield "", f"{result.manual_scale:.5g} by hand"
    for title, value, error in further_scales(result):
        yield "", f"{with_error(value, error)} ({title})"


def _outputs(result: RunResult) -> Iterator[tuple[str, str]]:
    pictures = [path for path in result.outputs if path.suffix == ".png"]
    images = [p for p in result.outputs if p.name.startswith("04_difference_diff")]
    if images:
        yield "difference", str(images[0].parent)
    for path in sorted(images):
        yield "", f"  {path.name}"
    if result.microbes:
        yield "microbes", result.microbes
    if pictures:
        yield "pictures", f"{len(pictures)} in {pictures[0].parent}"
