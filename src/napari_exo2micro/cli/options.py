"""Options in common, and those that the parameter registry makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, get_type_hints

import typer

from napari_exo2micro.cli.output import run_guarded
from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    Parameter,
    ParameterValue,
    parse_value,
)

# What ``--scale-percentile none`` gives; None stands for an option left out.
_NOT_WANTED = object()
_FILES = "Files"
_RUN = "What to run"


def _stage_words() -> str:
    """Return how a stage is given: ``as a number or a name (1 or padded, ...)``."""
    words = (f"{s.number} or {s.name.partition('_')[2]}" for s in STAGES.values())
    return f"as a number or a name ({', '.join(words)})"


Sample = Annotated[
    str, typer.Argument(help="Name of the sample: its folder in the raw folder.")
]
Dye = Annotated[
    str, typer.Argument(help="Name of the dye: what follows the last underscore.")
]
RawDir = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="Folder with one folder of raw TIFFs for each sample.",
        rich_help_panel=_FILES,
    ),
]
OutputDir = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="Folder for checkpoints and pictures.",
        rich_help_panel=_FILES,
    ),
]
CheckpointFormat = Annotated[
    Literal["tiff", "fits", "both"],
    typer.Option(
        metavar="FORMAT",
        help="How stages are stored: tiff, fits or both.",
        rich_help_panel=_FILES,
    ),
]
Loader = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A registered loader of raw images instead of the built-in one.",
        rich_help_panel=_FILES,
    ),
]
Preset = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Parameters from a file that was saved as a preset; options win over it.",
        rich_help_panel=_RUN,
    ),
]
FromStage = Annotated[
    str | None,
    typer.Option(
        metavar="STAGE",
        help=f"First stage, {_stage_words()}.",
        rich_help_panel=_RUN,
    ),
]
ToStage = Annotated[
    str | None,
    typer.Option(
        metavar="STAGE", help="Last stage, in the same way.", rich_help_panel=_RUN
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Make the stages again even where valid checkpoints exist.",
        rich_help_panel=_RUN,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object instead of text."),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the log and, on an error, the traceback."),
]


def stage_number(text: str | None) -> int | None:
    """Return the stage that a person named by number or by name.

    Raises
    ------
    ParameterError
        When there is no such stage; the message lists them.
    """
    if text is None:
        return None
    wanted = text.strip().lower()
    for stage in STAGES.values():
        short = stage.name.partition("_")[2]
        if wanted in (str(stage.number), f"{stage.number:02d}", stage.name, short):
            return stage.number
    raise ParameterError(f"there is no stage '{text}'; give it {_stage_words()}")


def as_command(
    function: Callable[..., int], *, parameters: bool = False
) -> Callable[..., int]:
    """Make a command of a function: errors in one line, and more options.

    Parameters
    ----------
    function : callable
        Takes keyword arguments only, returns the exit code.
    parameters : bool
        Whether the command has an option for each parameter of the registry.
        `function` then takes `parameters`: a dict of those that were given, None
        for an optional one that is not wanted.

    Returns
    -------
    callable
        Like `function`, with the option ``--debug``.
    """
    hints = get_type_hints(function, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "parameters"
    ]
    options.append(inspect.Parameter("debug", keyword, default=False, annotation=Debug))
    entries = list(PARAMETER_REGISTRY.values()) if parameters else []
    options.extend(_option(entry) for entry in entries)

    def command(*, debug: bool, **arguments: Any) -> int:
        if parameters:
            given = {entry.name: arguments.pop(entry.name) for entry in entries}
            arguments["parameters"] = {
                name: None if value is _NOT_WANTED else value
                for name, value in given.items()
                if value is not None
            }
        return run_guarded(function, arguments, debug=debug)

    # What typer reads to make the options.
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {option.name: option.annotation for option in options}
    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return command


def _option(entry: Parameter) -> inspect.Parameter:
    name = entry.name.replace("_", "-")
    flags = f"--{name}/--no-{name}" if entry.kind is bool else f"--{name}"
    kind: Any = entry.kind
    if entry.choices:
        kind = Literal[entry.choices]
    metavar = {bool: None, int: "INTEGER", float: "NUMBER"}.get(entry.kind, "WORD")
    more: dict[str, Any] = {"metavar": metavar}
    if entry.optional:

        def parse(text: str) -> Any:
            try:
                value = parse_value(entry, text)
                return _NOT_WANTED if value is None else value
            except ParameterError as error:
                raise typer.BadParameter(str(error)) from None

        more["parser"] = parse
    option = typer.Option(
        flags,
        help=entry.description,
        show_default=default_and_limits(entry),
        rich_help_panel=f"Stage {entry.stage}: {STAGES[entry.stage].title}",
        **more,
    )
    return inspect.Parameter(
        entry.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[kind], option],  # noqa: UP045 - made at run time
    )


def default_and_limits(entry: Parameter) -> str:
    """Return what stands in brackets: ``15; 1 to 200 px``."""
    words = entry.limits()
    return _words(entry.default) + (f"; {words}" if words else "")


def _words(value: ParameterValue) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
