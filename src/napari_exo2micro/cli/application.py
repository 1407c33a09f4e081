"""The frame of every command: errors in one line, exit codes, options in common."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from napari_exo2micro.cli.output import note, print_json
from napari_exo2micro.core.errors import CancelledError, Exo2MicroError

__all__ = [
    "COMPLETE",
    "DEGRADED",
    "EXIT_CODES",
    "INTERNAL",
    "INTERRUPTED",
    "USAGE",
    "Application",
    "run_guarded",
]

COMPLETE, DEGRADED, USAGE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 130

#: What each exit code says, for the help page.
EXIT_CODES = {
    COMPLETE: "done, and every stage vouches for its result",
    DEGRADED: "done, but look at it first: the status is degraded; of status also: "
    "not everything is there and valid (incomplete); of diagnose, survey and batch "
    "also: some files or pairs cannot be used and the others can",
    USAGE: "bad input, one line says what was wanted and what was found; of batch "
    "also: a pair failed",
    INTERNAL: "a fault of the program",
    INTERRUPTED: "stopped with Ctrl+C",
}

_OPENCV_HELP = (
    "OpenCV needs a system library that is not here; on Debian or Ubuntu run "
    "'apt-get install libgl1 libglib2.0-0', or use OpenCV without windows: "
    "'pip uninstall opencv-python && pip install opencv-python-headless'"
)


class Application(TyperGroup):
    """The group of commands; a wrong call ends in one line and exit code 2."""

    def main(self, *args: Any, **more: Any) -> NoReturn:
        """Run a command and leave with its exit code."""
        code: int | None
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


def run_guarded(
    command: Callable[..., int], arguments: Mapping[str, Any], *, debug: bool
) -> int:
    """Run a command that ends in one line on the standard error, whatever happens.

    Parameters
    ----------
    command : callable
        Returns the exit code.
    arguments : mapping
        Its keyword arguments; with a true `as_json` an error is also printed as a
        JSON object.
    debug : bool
        Show the log and, on an error, the traceback.

    Returns
    -------
    int
        The exit code.
    """
    if debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
        logging.getLogger("matplotlib").setLevel(logging.INFO)
    elif not logging.root.handlers:
        # Else what libraries log of a damaged file stands beside the one line.
        logging.root.addHandler(logging.NullHandler())
    try:
        return command(**arguments)
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, CancelledError) as error:
        failure: BaseException = error
        code = INTERRUPTED
        text = str(error) or "stopped; finished stages are kept, run again to go on"
        line = text
    except (Exo2MicroError, OSError, MemoryError) as error:
        failure, code = error, USAGE
        text = _describe(error)
        line = f"error: {text}"
    except Exception as error:  # noqa: BLE001 - the last place to catch it
        failure, code = error, INTERNAL
        text = _describe_fault(error)
        line = f"error: {text}"
    if debug:
        traceback.print_exception(failure)
    if arguments.get("as_json"):
        print_json({"status": f"error: {text}", "error": text})
    note(line)
    return code


def _describe(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    return str(error)


def _describe_fault(error: Exception) -> str:
    if isinstance(error, ImportError) and "lib" in str(error) and ".so" in str(error):
        return f"{error}: {_OPENCV_HELP}"
    return (
        f"this is a fault of exo2micro, not yours: {type(error).__name__}: {error}; "
        "--debug shows where, please report it"
    )
