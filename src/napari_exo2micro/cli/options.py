"""Options in common, and those that the parameter registry makes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, get_type_hints

import typer

from napari_exo2micro.cli.output import guarded
from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    Parameter,
    RunSettings,
    load_preset,
    parse_value,
    value_words,
)

FILES, WHAT, WHERE = "Files", "What to run", "Where it runs"

# What ``--scale-percentile none`` gives; None stands for an option left out.
_NOT_WANTED = object()


def option(
    panel: str, metavar: str | None, words: str, *flags: str, **more: Any
) -> Any:
    """Return an option under a heading of the help page; a flag has no metavar."""
    return typer.Option(
        *flags, metavar=metavar, help=words, rich_help_panel=panel, **more
    )


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
    option(FILES, "FOLDER", "Folder with one folder of raw TIFFs for each sample."),
]
OutputDir = Annotated[
    Path, option(FILES, "FOLDER", "Folder for checkpoints and pictures.")
]
CheckpointFormat = Annotated[
    Literal["tiff", "fits", "both"],
    option(FILES, "FORMAT", "How stages are stored: tiff, fits or both."),
]
Loader = Annotated[
    str | None,
    option(
        FILES,
        "NAME",
        "What reads raw images: tiff (with Zarr and files of microscopes), bioio for "
        "all files, or a registered loader.",
    ),
]
Landmarks = Annotated[
    list[Path] | None,
    option(
        FILES,
        "FILE",
        "Points seen in both images, three or more: a table (name, post_x, post_y, "
        "pre_x, pre_y) or GeoJSON; twice for a file of post and one of pre.",
    ),
]
Regions = Annotated[
    Path | None,
    option(
        FILES,
        "FILE",
        "Areas drawn on the raw post-stain image: GeoJSON or a labels image. What is "
        "called 'exclude' is left out, other regions are what is measured.",
    ),
]
Preset = Annotated[
    Path | None,
    option(
        WHAT,
        "FILE",
        "Parameters from a file that was saved as a preset; options win over it.",
    ),
]
FromStage = Annotated[
    str | None, option(WHAT, "STAGE", f"First stage, {_stage_words()}.")
]
ToStage = Annotated[str | None, option(WHAT, "STAGE", "Last stage, in the same way.")]
Verify = Annotated[
    bool,
    option(
        WHAT,
        None,
        "Read the raw files and the pixels of all results to see whether they are "
        "those that were there, and do not trust sizes and times.",
        "--verify",
    ),
]
Force = Annotated[
    bool,
    option(
        WHAT,
        None,
        "Make the stages again even where valid checkpoints exist.",
        "--force",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of text.")
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
    "landmarks": (Landmarks, None),
    "regions": (Regions, None),
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
    options.extend(map(_option, entries))

    def command(*, debug: bool, **arguments: Any) -> int:
        with guarded(debug=debug, as_json=arguments.get("as_json", False)) as ending:
            if given:
                values = {entry.name: arguments.pop(entry.name) for entry in entries}
                preset = arguments.pop("preset")
                arguments["parameters"] = (load_preset(preset) if preset else {}) | {
                    name: None if value is _NOT_WANTED else value
                    for name, value in values.items()
                    if value is not None
                }
            if "task" in given:
                from napari_exo2micro.core.pipeline import SampleDye

                sample, dye, *places = map(arguments.pop, _TASK)
                fields = dict(zip(list(_TASK)[2:], places, strict=True))
                fields["landmarks"] = fields["landmarks"] or None
                settings = RunSettings(params=arguments.pop("parameters"), **fields)
                arguments["task"] = SampleDye.from_settings(sample, dye, settings)
            ending.code = function(**arguments)
        return ending.code

    # What typer reads to make the options.
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {option.name: option.annotation for option in options}
    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return command


def _parameter(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _option(entry: Parameter) -> inspect.Parameter:
    """Return the option that sets a parameter."""
    flag = f"--{entry.name.replace('_', '-')}"
    if entry.kind is bool:
        flag += f"/--no-{flag[2:]}"

    def parse(text: str) -> Any:
        try:
            value = parse_value(entry, text)
            return _NOT_WANTED if value is None else value
        except ParameterError as error:
            raise typer.BadParameter(str(error)) from None

    made = option(
        f"Stage {entry.stage}: {STAGES[entry.stage].title}",
        {bool: None, int: "INTEGER", float: "NUMBER"}.get(entry.kind, "WORD"),
        entry.description,
        flag,
        show_default=default_and_limits(entry),
        **({"parser": parse} if entry.optional else {}),
    )
    kind: Any = Literal[entry.choices] if entry.choices else entry.kind
    annotation = Annotated[Optional[kind], made]  # noqa: UP045 - made at run time
    return _parameter(entry.name, annotation, None)


def default_and_limits(entry: Parameter) -> str:
    """Return what stands in brackets: ``15; 1 to 200 px``."""
    default = "none" if entry.default is None else value_words(entry.default)
    return "; ".join(filter(None, (default, entry.limits())))
