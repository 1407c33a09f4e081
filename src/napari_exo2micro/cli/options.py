"""Options in common, and those that the parameter registry makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, get_type_hints

import typer

from napari_exo2micro.cli.output import run_guarded
from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    Parameter,
    ParameterValue,
    RunSettings,
    load_preset,
    parse_value,
)

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye

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


# What the commands on one sample and dye have in common: name -> option, default.
_TASK: dict[str, tuple[Any, ...]] = {
    "sample": (Sample,),
    "dye": (Dye,),
    "raw_dir": (RawDir, Path("raw")),
    "output_dir": (OutputDir, Path("processed")),
    "checkpoint_format": (CheckpointFormat, "both"),
    "loader": (Loader, None),
}


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


def as_command(function: Callable[..., int]) -> Callable[..., int]:
    """Make a command of a function: errors in one line, and more options.

    Parameters
    ----------
    function : callable
        Takes keyword arguments only, returns the exit code. Where it takes
        `parameters` the command has a preset and an option for each parameter of the
        registry, and the function gets a dict of those that were given. Where it
        takes `task` the command has sample, dye, folders and loader as well, and the
        function gets the `SampleDye`.

    Returns
    -------
    callable
        Like `function`, with the option ``--debug``.
    """
    # The type of a task is not imported until there is one.
    hints = get_type_hints(function, localns={"SampleDye": Any}, include_extras=True)
    own = inspect.signature(function).parameters
    given = {"task", "parameters"} & own.keys()
    options = []
    if "task" in given:
        options = [_parameter(name, *rest) for name, rest in _TASK.items()]
    options += [
        parameter.replace(annotation=hints[name])
        for name, parameter in own.items()
        if name not in given
    ]
    entries = list(PARAMETER_REGISTRY.values()) if given else []
    if given:  # beside the stages, before the form of the output
        options.insert(-1, _parameter("preset", Preset, None))
    options.append(_parameter("debug", Debug, False))
    options.extend(_option(entry) for entry in entries)

    def prepared(**arguments: Any) -> int:
        if given:
            values = {entry.name: arguments.pop(entry.name) for entry in entries}
            parameters = {
                name: None if value is _NOT_WANTED else value
                for name, value in values.items()
                if value is not None
            }
            preset = arguments.pop("preset")
            if preset is not None:
                parameters = {**load_preset(preset), **parameters}
            arguments["parameters"] = parameters
        if "task" in given:
            arguments["task"] = _task(
                arguments.pop("parameters"), *map(arguments.pop, _TASK)
            )
        return function(**arguments)

    def command(*, debug: bool, **arguments: Any) -> int:
        return run_guarded(prepared, arguments, debug=debug)

    # What typer reads to make the options.
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {option.name: option.annotation for option in options}
    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return command


def _task(
    parameters: dict[str, Any],
    sample: str,
    dye: str,
    raw_dir: Path,
    output_dir: Path,
    checkpoint_format: str,
    loader: str | None,
) -> SampleDye:
    from napari_exo2micro.core.pipeline import SampleDye

    settings = RunSettings(
        raw_dir=raw_dir,
        output_dir=output_dir,
        checkpoint_format=checkpoint_format,
        params=parameters,
        loader=loader,
    )
    return SampleDye.from_settings(sample, dye, settings)


def _parameter(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


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
    annotation = Annotated[Optional[kind], option]  # noqa: UP045 - made at run time
    return _parameter(entry.name, annotation, None)


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
