"""Settings of a run as text: presets, Python code and command lines."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from napari_exo2micro import __version__
from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.files import write_json
from napari_exo2micro.core.parameters.parameters import (
    PARAMETER_REGISTRY,
    Parameter,
    ParameterValue,
    check_parameters,
    default_params,
    format_value,
    non_default_params,
)

NOT_SET = "not set"
_NONE = ("none", NOT_SET)


def value_words(value: ParameterValue) -> str:
    """Return a value as a person reads it: ``on``, ``not set``, ``0.85``."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return NOT_SET if value is None else format_value(value)


def parse_value(entry: Parameter, text: str) -> ParameterValue:
    """Return the value that `text` writes for a parameter.

    Parameters
    ----------
    entry : Parameter
        The parameter.
    text : str
        As typed: ``none`` or ``not set`` for an optional one, and for a flag any of
        on, off, true, false, yes, no, 1, 0.

    Raises
    ------
    ParameterError
        When it is of another type or out of range.
    """
    word = text.strip().lower()
    if entry.optional and word in _NONE:
        return None
    value: Any = text
    if entry.kind is bool:
        value = {
            **dict.fromkeys(("on", "true", "yes", "1"), True),
            **dict.fromkeys(("off", "false", "no", "0"), False),
        }.get(word, text)
    elif entry.kind in (int, float):
        try:
            value = entry.kind(text)
        except ValueError:
            value = text
    return entry.check(value)


def parse_values(
    entry: Parameter, text: str, params: Mapping[str, ParameterValue] | None = None
) -> list[ParameterValue]:
    """Return the values that a person typed in one line.

    Parameters
    ----------
    entry : Parameter
        The parameter.
    text : str
        Values with commas or blanks between them, ``10, 15, 20``; with semicolons
        a comma is a decimal point, ``0,5; 0,75``. A value that comes twice counts
        once.
    params : mapping, optional
        The other parameters, which some values may not go with.

    Returns
    -------
    list
        At least two, in the order typed.

    Raises
    ------
    ParameterError
        When a value cannot be taken, or there are fewer than two; the message says
        which and what can be taken.

    Examples
    --------
    >>> from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
    >>> parse_values(PARAMETER_REGISTRY["scale_min"], "0.8, 0.85 0.9")
    [0.8, 0.85, 0.9]
    """
    values: list[ParameterValue] = []
    for word in _words(text):
        try:
            value = parse_value(entry, word)
        except ParameterError:
            wanted = _wanted(entry)
            raise ParameterError(f"'{word}' cannot be taken: type {wanted}") from None
        if params is not None:
            check_parameters({**params, entry.name: value})
        if not any(_same(value, known) for known in values):
            values.append(value)
    if len(values) < 2:
        found = "one is" if values else "none is"
        raise ParameterError(
            f"a comparison takes at least two values, {found} typed; for example "
            + ", ".join(map(value_words, suggest_values(entry, params=params)))
        )
    return values


def suggest_values(
    entry: Parameter,
    around: ParameterValue = None,
    params: Mapping[str, ParameterValue] | None = None,
) -> list[ParameterValue]:
    """Return a few values that are worth a comparison.

    Parameters
    ----------
    entry : Parameter
        The parameter.
    around : optional
        A value that others should lie around; its default when not given.
    params : mapping, optional
        The other parameters, which some values may not go with.

    Returns
    -------
    list
        All values of a flag or a choice; else the value itself between a third less
        and a third more, where these can be taken.
    """
    if entry.kind is bool:
        return [True, False]
    if entry.choices:
        return list(entry.choices)
    centre = entry.default if around is None else around
    if isinstance(centre, str):
        return [centre]
    candidates: list[float]
    if centre is None:
        high = entry.maximum
        candidates = [90, 95, 99] if high == 100 else [1, 1.25, 1.5]
    elif centre == 0:
        candidates = [0, 1, 2]
    elif abs(centre) < 0.01:
        candidates = [centre / 10, centre, centre * 10]
    else:
        candidates = [_rounded(centre * 2 / 3), centre, _rounded(centre * 4 / 3)]
    values: list[ParameterValue] = []
    for candidate in candidates:
        try:
            value = entry.check(
                round(candidate) if entry.kind is int else float(candidate)
            )
            if params is not None:
                check_parameters({**params, entry.name: value})
        except ParameterError:
            continue
        if value not in values:
            values.append(value)
    return values


def _words(text: str) -> list[str]:
    if ";" in text:
        words = [word.replace(",", ".") for word in text.split(";")]
    elif "," in text or text.strip().lower() in _NONE:
        words = text.split(",")
        # Blanks beside commas: "10, 15 20".
        words = [w for word in words for w in _apart(word)]
    else:
        words = text.split()
    return [word.strip() for word in words if word.strip()]


def _apart(word: str) -> list[str]:
    return [word] if word.strip().lower() in _NONE else word.split()


def _rounded(value: float) -> float:
    """Return a value with two significant digits."""
    return float(f"{value:.2g}")


def _same(first: ParameterValue, second: ParameterValue) -> bool:
    return type(first) is type(second) and first == second


def _wanted(entry: Parameter) -> str:
    words = re.sub("^True or False", "on or off", entry.wanted())
    return words.replace(" or None", f", or '{NOT_SET}'")


#: What a preset says that it is.
PRESET_FORMAT = "napari-exo2micro preset"

#: The version of the format that is written, and the newest one that is read.
PRESET_VERSION = 1

_ENTRIES = ("format", "version", "written_by", "parameters")
_MOST_BYTES = 100_000
_MOST_TOLD = 8
_FIX = "choose a file that was saved as a preset"


def save_preset(path: str | Path, params: Mapping[str, Any]) -> Path:
    """Write the parameters that differ from their defaults as a preset.

    The file is written whole or not at all; an older one is replaced.

    Parameters
    ----------
    path : str or Path
        The file, usually ``<name>.json``; its folder is made where it is missing.
    params : mapping
        Parameter name -> value, for example ``SampleDye.params``; a missing name
        counts as its default.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterError
        When a name is unknown or a value does not fit.
    OutputError
        When the file cannot be written.
    """
    changed = non_default_params(check_parameters({**default_params(), **params}))
    content = {
        "format": PRESET_FORMAT,
        "version": PRESET_VERSION,
        "written_by": f"napari-exo2micro {__version__}",
        "parameters": changed,
    }
    return write_json(path, content)


def load_preset(path: str | Path) -> dict[str, ParameterValue]:
    """Return the parameters of a preset, checked.

    Parameters
    ----------
    path : str or Path
        A file that `save_preset` wrote, or one written by hand in its form.

    Returns
    -------
    dict
        Parameter name -> value, in registry order: those that the file names.
        All others are meant to be at their defaults.

    Raises
    ------
    ParameterError
        When the file cannot be read, is no preset, or any of its entries is
        unknown or does not fit; the message names all of these.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = save_preset(Path(folder) / "wide.json", {"boundary_width": 20})
    ...     load_preset(path)
    {'boundary_width': 20}
    """
    path = Path(path)
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != PRESET_FORMAT:
        raise ParameterError(
            f"{path} is no preset: a preset has the entry "
            f'"format": "{PRESET_FORMAT}"; {_FIX}'
        )
    version = content.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ParameterError(
            f"the preset {path} must tell its version as a whole number from 1 to "
            f"{PRESET_VERSION}, found {_shown(version)}; {_FIX}"
        )
    if version > PRESET_VERSION:
        raise ParameterError(
            f"the preset {path} has version {version} of the format, this program "
            f"reads up to {PRESET_VERSION}; update napari-exo2micro"
        )
    values = content.get("parameters")
    if not isinstance(values, dict):
        raise ParameterError(
            f'the preset {path} must hold its values as "parameters": '
            f"{{name: value, ...}}, found {_shown(values)}; {_FIX}"
        )
    problems = _problems(content, values)
    if problems:
        raise ParameterError(
            f"the preset {path} cannot be used: {'; '.join(problems)}; correct the "
            "file, nothing was changed"
        )
    checked = check_parameters(values)
    return {name: checked[name] for name in PARAMETER_REGISTRY if name in checked}


def _read(path: Path) -> Any:
    """Return what a small JSON file holds."""
    try:
        if path.is_file():  # what is none, such as a pipe, could be waited for
            with path.open("rb") as file:
                raw = file.read(_MOST_BYTES + 1)
        else:
            what = "it is not a file" if path.exists() else "there is no such file"
            raise ParameterError(f"the preset {path} cannot be read: {what}; {_FIX}")
    except OSError as error:
        raise ParameterError(
            f"the preset {path} cannot be read: {error.strerror or error}; {_FIX}"
        ) from error
    if len(raw) > _MOST_BYTES:
        raise ParameterError(
            f"{path} is no preset: it has more than {_MOST_BYTES // 1000} kB, a "
            f"preset has a few; {_FIX}"
        )
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except ParameterError as error:
        raise ParameterError(f"the preset {path} cannot be used: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ParameterError(
            f"{path} is no preset: it is not JSON text ({error}); {_FIX}"
        ) from error


def _without_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ParameterError(f"{_shown(name)} comes twice; keep one of them")
        found[name] = value
    return found


def _problems(content: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return in words everything that keeps a preset from being used."""
    problems = [
        f"unknown entry {_shown(name)} beside the parameters"
        for name in content
        if name not in _ENTRIES
    ]
    known: dict[str, Any] = {}
    for name, value in values.items():
        entry = PARAMETER_REGISTRY.get(name)
        if entry is None:
            problems.append(_unknown(name))
            continue
        try:
            known[name] = entry.check(value)
        except ParameterError as error:
            problems.append(_shortened(str(error)))
    try:
        check_parameters({**default_params(), **known})
    except ParameterError as error:
        problems.append(str(error))
    more = len(problems) - _MOST_TOLD
    return problems[:_MOST_TOLD] + ([f"and {more} more"] if more > 0 else [])


def _unknown(name: str) -> str:
    """Return the words about a name that is no parameter, with the nearest one."""
    text = f"unknown parameter {_shown(name)}"
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    for entry in PARAMETER_REGISTRY.values():
        if plain == entry.abbreviation:
            return f"{text} (did you mean '{entry.name}'?)"
    near = get_close_matches(plain[:100], PARAMETER_REGISTRY, n=1)
    return f"{text} (did you mean '{near[0]}'?)" if near else text


def _shown(value: Any) -> str:
    return "nothing" if value is None else _shortened(repr(value), 60)


def _shortened(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


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


Pairs = Sequence[tuple[str, str]]


def batch_as_command_line(
    pairs: Pairs,
    *,
    raw_dir: str | Path,
    output_dir: str | Path,
    executor: str = "workers",
    n_workers: int | None = None,
    scheduler: str | None = None,
    strict: bool = True,
    params: Mapping[str, Any] | None = None,
    **settings: Any,
) -> str:
    """Return what runs a batch from a command line.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Samples with dyes.
    raw_dir, output_dir : str or Path
        As `run_batch` takes them.
    executor, n_workers, scheduler
        As `make_executor` takes them.
    strict : bool
        Run nothing where a pair has no files; otherwise run the others.
    params : mapping, optional
        Parameter name -> value; those at their defaults are left out.
    **settings
        `checkpoint_format`, `loader`, `register_on`, `from_stage`, `to_stage` and
        `force`, as `run_batch` takes them; those at their defaults are left out.

    Returns
    -------
    str
        One line; several where samples differ in the dyes that are to be run.

    Raises
    ------
    ParameterError
        When a parameter is unknown or its value does not fit.

    Examples
    --------
    >>> batch_as_command_line(
    ...     [("A", "DAPI"), ("B", "DAPI")], raw_dir="raw", output_dir="out", n_workers=2
    ... )
    'exo2micro batch raw out --sample A --sample B --dye DAPI --workers 2'
    """
    where: dict[str, Any] = {}
    if not strict:
        where["lenient"] = True
    if scheduler:
        where["scheduler"] = scheduler
    elif executor != "workers":
        where["executor"] = executor
    if n_workers is not None and executor != "serial" and not scheduler:
        where["workers"] = n_workers
    options = {**changed_settings(**settings), **where, **changed_params(params)}
    given = [
        word for name, value in options.items() for word in option_words(name, value)
    ]
    lines = []
    for samples, dyes in _groups(pairs):
        names = [word for name in samples for word in option_words("sample", name)]
        names += [word for name in dyes for word in option_words("dye", name)]
        folders = [str(raw_dir), str(output_dir)]
        words = ["exo2micro", "batch", *folders, *names, *given]
        if any(folder.startswith("-") for folder in folders):
            words = ["exo2micro", "batch", *names, *given, "--", *folders]
        lines.append(shell_line(words))
    return "\n".join(lines)


def batch_as_python(
    pairs: Pairs,
    *,
    raw_dir: str | Path,
    output_dir: str | Path,
    executor: str = "workers",
    n_workers: int | None = None,
    scheduler: str | None = None,
    strict: bool = True,
    params: Mapping[str, Any] | None = None,
    **settings: Any,
) -> str:
    """Return a Python program that runs a batch.

    The arguments are those of `batch_as_command_line`.

    Raises
    ------
    ParameterError
        When a parameter is unknown or its value does not fit.

    Examples
    --------
    >>> print(batch_as_python([("A", "DAPI")], raw_dir="raw", output_dir="out"))
    from napari_exo2micro import core as e2m
    <BLANKLINE>
    results = e2m.run_batch(
        ["A"],
        ["DAPI"],
        raw_dir="raw",
        output_dir="out",
        parallel=True,
    )
    summary = e2m.summarise_batch(results)
    print(summary.sentence())
    for problem in summary.problems:
        print(problem.sample, problem.dye, problem.kind, problem.reason)
    """
    groups = _groups(pairs)
    lines = ["from napari_exo2micro import core as e2m", "", "results = e2m.run_batch("]
    if len(groups) == 1:
        lines += [f"    {_names(names)}," for names in groups[0]]
    else:
        lines.append("    pairs=[")
        lines += [f"        ({literal(s)}, {literal(d)})," for s, d in pairs]
        lines.append("    ],")
    arguments: dict[str, Any] = {
        "raw_dir": str(raw_dir),
        "output_dir": str(output_dir),
    }
    if scheduler:
        arguments["scheduler"] = scheduler
    elif executor != "serial":
        arguments["parallel"] = True if executor == "workers" else executor
        if n_workers is not None:
            arguments["n_workers"] = n_workers
    if not strict:
        arguments["strict_dyes"] = False
    arguments |= changed_settings(**settings)
    lines += [f"    {name}={literal(value)}," for name, value in arguments.items()]
    changed = changed_params(params)
    if changed:
        lines.append("    params={")
        lines += [f"        {literal(k)}: {literal(v)}," for k, v in changed.items()]
        lines.append("    },")
    return "\n".join(
        [
            *lines,
            ")",
            "summary = e2m.summarise_batch(results)",
            "print(summary.sentence())",
            "for problem in summary.problems:",
            "    print(problem.sample, problem.dye, problem.kind, problem.reason)",
        ]
    )


def _groups(pairs: Pairs) -> list[tuple[list[str], list[str]]]:
    """Return the pairs as few combinations of samples and dyes."""
    dyes_of: dict[str, list[str]] = {}
    for sample, dye in dict.fromkeys(pairs):
        dyes_of.setdefault(sample, []).append(dye)
    groups: dict[tuple[str, ...], list[str]] = {}
    for sample, dyes in dyes_of.items():
        groups.setdefault(tuple(dyes), []).append(sample)
    return [(samples, list(dyes)) for dyes, samples in groups.items()]


def _names(names: Sequence[str]) -> str:
    return f"[{', '.join(literal(name) for name in names)}]"
