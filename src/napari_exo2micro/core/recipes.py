"""Recipes: the present settings as Python code or as one command line."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_exo2micro.core.defaults import check_parameters, non_default_params
from napari_exo2micro.core.parameter_entry import ParameterValue

__all__ = [
    "as_command_line",
    "as_python",
    "changed_params",
    "changed_settings",
    "literal",
    "option_words",
    "shell_line",
]

_DEFAULTS: dict[str, ParameterValue] = {
    "checkpoint_format": "both",
    "loader": None,
    "register_on": None,
    "from_stage": None,
    "to_stage": None,
    "force": False,
}


def as_python(
    sample: str,
    dye: str,
    *,
    raw_dir: str | Path = "raw",
    output_dir: str | Path = "processed",
    checkpoint_format: str = "both",
    loader: str | None = None,
    params: Mapping[str, Any] | None = None,
    from_stage: int | None = None,
    to_stage: int | None = None,
    force: bool = False,
) -> str:
    """Return a Python program that does a run with these settings.

    Parameters
    ----------
    sample, dye : str
        Names as in the raw folder.
    raw_dir, output_dir : str or Path
        Relative folders stay relative: they are meant from where the
        program is started.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What checkpoints are written as.
    loader : str, optional
        Registered name of a loader.
    params : mapping, optional
        Parameter name -> value; those at their defaults are left out.
    from_stage, to_stage : int, optional
        First and last stage.
    force : bool
        Run the stages even where a valid result exists.

    Returns
    -------
    str
        Lines of Python that can be pasted into a script, a notebook or the
        viewer's console.

    Raises
    ------
    ParameterError
        When a parameter is unknown or its value does not fit.

    Examples
    --------
    >>> print(as_python("CD070", "DAPI", params={"boundary_width": 20}, to_stage=2))
    from napari_exo2micro import core as e2m
    <BLANKLINE>
    task = e2m.SampleDye(
        "CD070",
        "DAPI",
        raw_dir="raw",
        output_dir="processed",
    )
    task.set_params(
        boundary_width=20,
    )
    result = task.run(to_stage=2)
    ...
    """
    lines = [
        "from napari_exo2micro import core as e2m",
        "",
        "task = e2m.SampleDye(",
        f"    {literal(sample)},",
        f"    {literal(dye)},",
        f"    raw_dir={literal(str(raw_dir))},",
        f"    output_dir={literal(str(output_dir))},",
    ]
    made = changed_settings(checkpoint_format=checkpoint_format, loader=loader)
    lines += [f"    {name}={literal(value)}," for name, value in made.items()]
    lines.append(")")
    changed = changed_params(params)
    if changed:
        lines.append("task.set_params(")
        lines += [f"    {name}={literal(value)}," for name, value in changed.items()]
        lines.append(")")
    asked = changed_settings(from_stage=from_stage, to_stage=to_stage, force=force)
    words = (f"{name}={value}" for name, value in asked.items())
    lines.append(f"result = task.run({', '.join(words)})")
    lines.append('print(result["status"])')
    return "\n".join(lines)


def as_command_line(
    sample: str,
    dye: str,
    *,
    raw_dir: str | Path = "raw",
    output_dir: str | Path = "processed",
    checkpoint_format: str = "both",
    loader: str | None = None,
    params: Mapping[str, Any] | None = None,
    from_stage: int | None = None,
    to_stage: int | None = None,
    force: bool = False,
) -> str:
    """Return the command line that does a run with these settings.

    Parameters
    ----------
    sample, dye : str
        Names as in the raw folder.
    raw_dir, output_dir : str or Path
        Relative folders stay relative: they are meant from where the
        command is given.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What checkpoints are written as.
    loader : str, optional
        Registered name of a loader.
    params : mapping, optional
        Parameter name -> value; those at their defaults are left out.
    from_stage, to_stage : int, optional
        First and last stage.
    force : bool
        Run the stages even where a valid result exists.

    Returns
    -------
    str
        One line, quoted for the system's shell: POSIX, or the one of Windows.

    Raises
    ------
    ParameterError
        When a parameter is unknown or its value does not fit.

    Examples
    --------
    >>> as_command_line("CD070", "DAPI", params={"fine_ecc": True}, to_stage=2)
    'exo2micro run CD070 DAPI --raw-dir raw --output-dir processed --to-stage 2 --fine-ecc'
    """  # noqa: E501 - one line is the point
    options: dict[str, ParameterValue] = {
        "raw_dir": str(raw_dir),
        "output_dir": str(output_dir),
        **changed_settings(
            checkpoint_format=checkpoint_format,
            loader=loader,
            from_stage=from_stage,
            to_stage=to_stage,
            force=force,
        ),
        **changed_params(params),
    }
    given = [
        word for name, value in options.items() for word in option_words(name, value)
    ]
    names = [sample, dye]
    if any(name.startswith("-") for name in names):
        # Else a name would be taken for an option.
        words = ["exo2micro", "run", *given, "--", *names]
    else:
        words = ["exo2micro", "run", *names, *given]
    return shell_line(words)


def shell_line(words: Sequence[str]) -> str:
    """Return words as one line, quoted for the system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def changed_settings(**settings: ParameterValue) -> dict[str, ParameterValue]:
    """Return the settings of a run or batch that differ from their defaults."""
    unknown = settings.keys() - _DEFAULTS.keys()
    if unknown:
        raise TypeError(f"a run has no setting {', '.join(sorted(unknown))}")
    return {
        name: settings[name]
        for name, default in _DEFAULTS.items()
        if settings.get(name, default) != default
    }


def changed_params(params: Mapping[str, Any] | None) -> dict[str, ParameterValue]:
    """Return the parameters that differ from their defaults, checked."""
    return non_default_params(check_parameters(params or {}))


def option_words(name: str, value: ParameterValue) -> Iterator[str]:
    """Yield the words that set one option."""
    words = name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{words}" if value else f"--no-{words}"
        return
    text = "none" if value is None else str(value)
    if text.startswith("-"):
        yield f"--{words}={text}"
    else:
        yield from (f"--{words}", text)


def literal(value: ParameterValue) -> str:
    """Return a value as Python spells it; text in double quotes where it may be."""
    if not isinstance(value, str) or '"' in value:
        return repr(value)
    # Text with one kind of quotes in it is written with the other kind around it.
    return '"' + repr("'" + value)[2:]
