"""What a run is made with: one record, and as text in presets, code and commands."""

import math
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from napari_exo2micro import __version__
from napari_exo2micro.core.base import ParameterError, files
from napari_exo2micro.core.parameters import parameters
from napari_exo2micro.core.parameters.stages import stage_range

NOT_SET: Final = "not set"
_NONE: Final = ("none", NOT_SET)

#: What a preset says that it is.
PRESET_FORMAT: Final = "napari-exo2micro preset"

#: The version of the format that is written, and the newest one that is read.
PRESET_VERSION: Final = 1

_PRESET_ENTRIES: Final = ("format", "version", "written_by", "parameters")
_MOST_BYTES: Final = 100_000
_MOST_TOLD: Final = 8

CHECKPOINT_FORMATS: Final = ("tiff", "fits", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Everything that a run depends on beside the sample and the dye.

    Checked once, here; `dataclasses.replace` makes and checks a changed one. It can
    be pickled where its loader can.

    Attributes
    ----------
    raw_dir, output_dir : Path
        May be given as text. Relative folders stay relative.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What checkpoints are written as; the difference is always both.
    params : mapping of str to bool, int, float, str or None
        The parameters that are set; all others are at their defaults.
    loader : callable or str, optional
        Reads a pair instead of `load_image_pair`, or the name of a registered one.
    register_on : str, optional
        The dye whose transform stages 2 and 3 take over.
    landmarks : Path, two of them, or array_like of shape (N, 4), optional
        Points seen in both images: a table or GeoJSON file, one such file for post and
        one for pre, or rows of post x, post y, pre x, pre y, px of the raw images.
    regions : Path, optional
        What is left out or counted, drawn on the raw post-stain image: polygons as
        GeoJSON, or a labels image. May be given as text.
    from_stage, to_stage : int, optional
        First and last stage; all of them by default.
    force : bool
        Run the stages even where a valid result exists.

    Raises
    ------
    ParameterError
        When the format, a parameter or a stage is unknown or does not fit, or landmarks
        are none of these.

    Examples
    --------
    >>> settings = RunSettings(params={"boundary_width": 20}, to_stage=2)
    >>> settings.all_params["boundary_width"], settings.all_params["pad"]
    (20, 2000)
    """

    raw_dir: Path = Path("raw")
    output_dir: Path = Path("processed")
    checkpoint_format: str = "both"
    params: Mapping[str, parameters.ParameterValue] = field(default_factory=dict)
    loader: Callable[..., Any] | str | None = None
    register_on: str | None = None
    landmarks: Any = None
    regions: Path | None = None
    from_stage: int | None = None
    to_stage: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        """Check everything, and put paths and parameters in their types."""
        if self.checkpoint_format not in CHECKPOINT_FORMATS:
            raise ParameterError(
                f"checkpoint_format takes one of {', '.join(CHECKPOINT_FORMATS)}, "
                f"found {self.checkpoint_format!r}"
            )
        stage_range(self.from_stage, self.to_stage)
        checked = parameters.check_parameters(self.params)
        parameters.check_together({**parameters.default_params(), **checked})
        object.__setattr__(self, "params", checked)
        object.__setattr__(self, "landmarks", _landmarks(self.landmarks))
        regions = Path(self.regions) if self.regions else None
        object.__setattr__(self, "regions", regions)
        object.__setattr__(self, "raw_dir", Path(self.raw_dir))
        object.__setattr__(self, "output_dir", Path(self.output_dir))

    @property
    def all_params(self) -> dict[str, parameters.ParameterValue]:
        """Every parameter in registry order, those that are not set at defaults."""
        return {**parameters.default_params(), **self.params}

    @property
    def changed_params(self) -> dict[str, parameters.ParameterValue]:
        """The parameters that differ from their defaults, in registry order."""
        return parameters.non_default_params(self.params)

    @property
    def stages(self) -> tuple[int, int]:
        """The first and the last stage."""
        return stage_range(self.from_stage, self.to_stage)


def _landmarks(given: Any) -> tuple[Any, ...] | None:
    """Return landmarks in one form: paths, or rows of four numbers; None for none."""
    if given is None or (isinstance(given, (str, Path)) and not str(given)):
        return None
    if isinstance(given, (str, Path)):
        return (Path(given),)
    entries = list(given) if isinstance(given, Iterable) else [given]
    if entries and all(isinstance(entry, (str, Path)) for entry in entries):
        return tuple(map(Path, entries))
    with suppress(TypeError, ValueError):
        rows = tuple(tuple(map(float, row)) for row in entries)
        if all(len(row) == 4 and all(map(math.isfinite, row)) for row in rows):
            return rows or None
    raise ParameterError(
        "landmarks take a file, or rows of post x, post y, pre x, pre y, found "
        f"{_shown(given)}; give four finite numbers for each pair of points"
    )


# Values -------------------------------------------------------------------------


def value_words(value: parameters.ParameterValue) -> str:
    """Return a value as a person reads it: ``on``, ``not set``, ``0.85``."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return NOT_SET if value is None else parameters.format_value(value)


def parse_value(entry: parameters.Parameter, text: str) -> parameters.ParameterValue:
    """Return the value that `text` writes for a parameter.

    For an optional one that may be ``none`` or ``not set``, for a flag any of on,
    off, true, false, yes, no, 1, 0.

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
    entry: parameters.Parameter,
    text: str,
    params: Mapping[str, parameters.ParameterValue] | None = None,
) -> list[parameters.ParameterValue]:
    """Return the values that a person typed in one line.

    Parameters
    ----------
    entry : Parameter
        The parameter.
    text : str
        Values with commas or blanks between them, ``10, 15, 20``; with semicolons
        a comma is a decimal point, ``0,5; 0,75``. A value that comes twice counts
        once; there must be two.
    params : mapping, optional
        The other parameters, which some values may not go with.

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
    values: list[parameters.ParameterValue] = []
    for word in _words(text):
        try:
            value = parse_value(entry, word)
        except ParameterError:
            wanted = re.sub("^True or False", "on or off", entry.wanted())
            wanted = wanted.replace(" or None", f", or '{NOT_SET}'")
            raise ParameterError(f"'{word}' cannot be taken: type {wanted}") from None
        if params is not None:
            parameters.check_together({**params, entry.name: value})
        if value not in values:
            values.append(value)
    if len(values) < 2:
        typed = "one is" if values else "none is"
        raise ParameterError(
            f"a comparison takes at least two values, {typed} typed; for example "
            + ", ".join(map(value_words, suggest_values(entry, params=params)))
        )
    return values


def suggest_values(
    entry: parameters.Parameter,
    around: parameters.ParameterValue = None,
    params: Mapping[str, parameters.ParameterValue] | None = None,
) -> list[parameters.ParameterValue]:
    """Return a few values that are worth a comparison.

    All values of a flag or a choice; else the value `around` (by default the
    parameter's own) between a third less and a third more, where these can be taken
    and go with the other `params`.
    """
    if entry.kind is bool:
        return [True, False]
    if entry.choices:
        return list(entry.choices)
    centre = entry.default if around is None else around
    if isinstance(centre, str):
        # free words, such as the name or the number of a channel
        return list(dict.fromkeys((str(entry.default), centre, "1")))
    candidates: list[float]
    if centre is None:
        known: dict[float | None, list[float]] = {100: [90, 95, 99], 500: [4, 5, 7]}
        candidates = known.get(entry.maximum, [1, 1.25, 1.5])
    elif centre == 0:
        candidates = [0, 1, 2]
    elif abs(centre) < 0.01:
        candidates = [centre / 10, centre, centre * 10]
    else:
        less, more = (float(f"{centre * factor:.2g}") for factor in (2 / 3, 4 / 3))
        candidates = [less, centre, more]
    values: dict[parameters.ParameterValue, None] = {}
    for candidate in candidates:
        with suppress(ParameterError):
            value = entry.check(round(candidate) if entry.kind is int else candidate)
            parameters.check_together({**(params or {}), entry.name: value})
            values[value] = None
    return list(values)


def _words(text: str) -> list[str]:
    """Return what stands between the separators of a line."""
    if ";" in text:
        words = [word.replace(",", ".") for word in text.split(";")]
    elif text.strip().lower() in _NONE:
        words = [text]
    elif "," in text:  # and blanks beside commas: "10, 15 20"
        words = []
        for part in text.split(","):
            words += [part] if part.strip().lower() in _NONE else part.split()
    else:
        words = text.split()
    return [word.strip() for word in words if word.strip()]


# Presets ------------------------------------------------------------------------


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
    content = {
        "format": PRESET_FORMAT,
        "version": PRESET_VERSION,
        "written_by": f"napari-exo2micro {__version__}",
        "parameters": RunSettings(params=params).changed_params,
    }
    return files.write_json(path, content)


def load_preset(path: str | Path) -> dict[str, parameters.ParameterValue]:
    """Return the parameters of a preset, checked.

    Parameters
    ----------
    path : str or Path
        A file that `save_preset` wrote, or one written by hand in its form.

    Returns
    -------
    dict
        In registry order those that the file names; others are at their defaults.

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
    content = _read_preset(Path(path))
    checked: dict[str, parameters.ParameterValue] = {}
    problems = [
        f"unknown entry {_shown(name)} beside the parameters"
        for name in content
        if name not in _PRESET_ENTRIES
    ]
    for name, value in content["parameters"].items():
        try:
            checked[name] = _known(name).check(value)
        except ParameterError as error:
            problems.append(_shortened(str(error)))
    try:
        parameters.check_together({**parameters.default_params(), **checked})
    except ParameterError as error:
        problems.append(str(error))
    if problems:
        more = len(problems) - _MOST_TOLD
        told = problems[:_MOST_TOLD] + ([f"and {more} more"] if more > 0 else [])
        raise ParameterError(
            f"the preset {path} cannot be used: {'; '.join(told)}; correct the file, "
            "nothing was changed"
        )
    return {
        name: checked[name] for name in parameters.PARAMETER_REGISTRY if name in checked
    }


def _read_preset(path: Path) -> dict[str, Any]:
    """Return the entries of a preset of a known version that holds parameters."""
    try:
        content = files.read_json(path, _MOST_BYTES)
        flaw = _flaw(content)
    except FileNotFoundError:
        flaw = "there is no such file"
    except OSError as error:
        flaw = error.strerror or str(error)
    except ValueError as error:
        flaw = str(error)
    if flaw:
        raise _no_preset(path, flaw)
    entries: dict[str, Any] = content
    if entries["version"] > PRESET_VERSION:
        raise ParameterError(
            f"the preset {path} has version {entries['version']} of the format, this "
            f"program reads up to {PRESET_VERSION}; update napari-exo2micro"
        )
    return entries


def _no_preset(path: Path, flaw: str) -> ParameterError:
    return ParameterError(
        f"{path} is no preset: {flaw}; choose a file that was saved as a preset"
    )


def _flaw(content: Any) -> str:
    """Return why the content of a file is no preset; empty when it is one."""
    if not isinstance(content, dict) or content.get("format") != PRESET_FORMAT:
        return f'it lacks the entry "format": "{PRESET_FORMAT}"'
    version, values = content.get("version"), content.get("parameters")
    if type(version) is not int or version < 1:
        wanted = f"its version should be a whole number from 1 to {PRESET_VERSION}"
        return f"{wanted}, found {_shown(version)}"
    if version == PRESET_VERSION and not isinstance(values, dict):
        wanted = 'it should hold its values as "parameters": {name: value, ...}'
        return f"{wanted}, found {_shown(values)}"
    return ""


def _known(name: str) -> parameters.Parameter:
    """Return a parameter; the error about an unknown name tells the nearest one."""
    if name in parameters.PARAMETER_REGISTRY:
        return parameters.PARAMETER_REGISTRY[name]
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    near = [
        p.name
        for p in parameters.PARAMETER_REGISTRY.values()
        if p.abbreviation == plain
    ]
    near += get_close_matches(plain[:100], parameters.PARAMETER_REGISTRY, n=1)
    meant = f" (did you mean '{near[0]}'?)" if near else ""
    raise ParameterError(f"unknown parameter {_shown(name)}{meant}")


def _shown(value: Any) -> str:
    return "nothing" if value is None else _shortened(repr(value), 60)


def _shortened(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


# Recipes: a run as a program ------------------------------------------------------


def as_python(
    sample: str, dye: str, settings: RunSettings | None = None, **fields: Any
) -> str:
    """Return a Python program that does a run with these settings.

    Parameters
    ----------
    sample, dye : str
        Names as in the raw folder.
    settings : RunSettings, optional
        What it is made with; what is at its default is left out. Relative folders
        stay relative: they are meant from where the program is started.
    **fields
        Those of `RunSettings`, in place of `settings`.

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
    made, run, params = _described(settings, fields)
    lines = [_IMPORT, "", *_call("task = e2m.SampleDye", (sample, dye), made)]
    if params:
        lines += _call("task.set_params", (), params)
    asked = ", ".join(f"{name}={value}" for name, value in run.items())
    lines += [f"result = task.run({asked})", 'print(result["status"])']
    return "\n".join(lines)


def as_command_line(
    sample: str, dye: str, settings: RunSettings | None = None, **fields: Any
) -> str:
    """Return the command line that does a run with these settings.

    Parameters
    ----------
    sample, dye : str
        Names as in the raw folder.
    settings : RunSettings, optional
        What it is made with, without `register_on`: that is for batches.
    **fields
        Those of `RunSettings`, in place of `settings`.

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
    made, run, params = _described(settings, fields)
    return _command("run", (sample, dye), _option_words(made | run | params))


def batch_as_python(
    pairs: Sequence[tuple[str, str]],
    settings: RunSettings | None = None,
    *,
    executor: str = "workers",
    n_workers: int | None = None,
    scheduler: str | None = None,
    strict: bool = True,
    **fields: Any,
) -> str:
    """Return a Python program that runs a batch.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Samples with dyes.
    settings : RunSettings, optional
        What each run is made with; what is at its default is left out.
    executor, n_workers, scheduler
        As `make_executor` takes them.
    strict : bool
        Run nothing where a pair has no files; otherwise run the others.
    **fields
        Those of `RunSettings`, in place of `settings`.

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
        print(problem.sample, problem.dye, problem.state, problem.reason)
    """
    made, run, params = _described(settings, fields)
    groups = _groups(pairs)
    names = groups[0] if len(groups) == 1 else ()
    named: dict[str, Any] = made if names else {"pairs": list(pairs)} | made
    if scheduler:
        named["scheduler"] = scheduler
    elif executor != "serial":
        named["parallel"] = True if executor == "workers" else executor
        if n_workers is not None:
            named["n_workers"] = n_workers
    if not strict:
        named["strict_dyes"] = False
    named |= run
    if params:
        named["params"] = params
    return "\n".join(
        [
            _IMPORT,
            "",
            *_call("results = e2m.run_batch", names, named),
            "summary = e2m.summarise_batch(results)",
            "print(summary.sentence())",
            "for problem in summary.problems:",
            "    print(problem.sample, problem.dye, problem.state, problem.reason)",
        ]
    )


def batch_as_command_line(
    pairs: Sequence[tuple[str, str]],
    settings: RunSettings | None = None,
    *,
    executor: str = "workers",
    n_workers: int | None = None,
    scheduler: str | None = None,
    strict: bool = True,
    **fields: Any,
) -> str:
    """Return what runs a batch from a command line.

    The arguments are those of `batch_as_python`. It is one line, or several where
    samples differ in the dyes that are to be run.

    Examples
    --------
    >>> batch_as_command_line(
    ...     [("A", "DAPI"), ("B", "DAPI")], raw_dir="raw", output_dir="out", n_workers=2
    ... )
    'exo2micro batch raw out --sample A --sample B --dye DAPI --workers 2'
    """
    made, run, params = _described(settings, fields)
    folders = [made.pop("raw_dir"), made.pop("output_dir")]
    options = made | run
    if not strict:
        options["lenient"] = True
    if scheduler:
        options["scheduler"] = scheduler
    elif executor != "workers":
        options["executor"] = executor
    if n_workers is not None and executor != "serial" and not scheduler:
        options["workers"] = n_workers
    lines = []
    for samples, dyes in _groups(pairs):
        given = [word for name in samples for word in option_words("sample", name)]
        given += [word for name in dyes for word in option_words("dye", name)]
        given += _option_words(options | params)
        lines.append(_command("batch", folders, given))
    return "\n".join(lines)


def shell_line(words: Sequence[str]) -> str:
    """Return words as one line, quoted for the system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def option_words(name: str, value: parameters.ParameterValue) -> Iterator[str]:
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


_IMPORT: Final = "from napari_exo2micro import core as e2m"
# Which fields `SampleDye` takes, and which its `run`.
_OF_OBJECT: Final = (
    "checkpoint_format",
    "loader",
    "register_on",
    "landmarks",
    "regions",
)
_OF_RUN: Final = ("from_stage", "to_stage", "force")


def _described(
    settings: RunSettings | None, fields: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return folders and what else `SampleDye`, then what `run` takes, and parameters.

    What is at its default is left out, but for the folders.
    """
    settings, plain = settings or RunSettings(**fields), RunSettings()
    if callable(settings.loader):
        raise ParameterError(
            "a recipe takes the name of a loader, found a function; register it and "
            "give its name"
        )
    made = {"raw_dir": str(settings.raw_dir), "output_dir": str(settings.output_dir)}
    run: dict[str, Any] = {}
    for name in (*_OF_OBJECT, *_OF_RUN):
        value = getattr(settings, name)
        if value != getattr(plain, name):
            (run if name in _OF_RUN else made)[name] = _as_given(value)
    return made, run, settings.changed_params


def _as_given(value: Any) -> Any:
    """Return a setting as a person gives it: paths as text, one of them alone."""
    if not isinstance(value, tuple):
        return str(value) if isinstance(value, Path) else value
    plain = [str(one) if isinstance(one, Path) else one for one in value]
    return plain[0] if isinstance(plain[0], str) and len(plain) == 1 else plain


def _option_words(options: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, tuple):
                raise ParameterError(
                    f"a command line takes {name} from a file, found {len(value)} rows "
                    "of numbers; write them into a table and give its name"
                )
            words += option_words(name, one)
    return words


def _command(verb: str, names: Sequence[str], options: Sequence[str]) -> str:
    words = ["exo2micro", verb, *names, *options]
    if any(name.startswith("-") for name in names):
        # Else a name would be taken for an option.
        words = ["exo2micro", verb, *options, "--", *names]
    return shell_line(words)


def _call(function: str, values: Iterable[Any], named: Mapping[str, Any]) -> list[str]:
    """Return the lines of a call, one for each argument."""
    arguments = [_literal(value) for value in values]
    arguments += [f"{name}={_literal(value)}" for name, value in named.items()]
    lines = [line for text in arguments for line in f"{text},".split("\n")]
    return [f"{function}(", *(f"    {line}" for line in lines), ")"]


def _literal(value: Any) -> str:
    """Return a value as Python spells it; text in double quotes where it may be."""
    if isinstance(value, dict):
        entries = [f"    {_literal(k)}: {_literal(v)},\n" for k, v in value.items()]
        return f"{{\n{''.join(entries)}}}"
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        entries = [f"    ({', '.join(map(_literal, item))}),\n" for item in value]
        return f"[\n{''.join(entries)}]"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if not isinstance(value, str) or '"' in value:
        return repr(value)
    # Text with one kind of quotes in it is written with the other kind around it.
    return '"' + repr("'" + value)[2:]


def _groups(pairs: Sequence[tuple[str, str]]) -> list[tuple[list[str], list[str]]]:
    """Return the pairs as few combinations of samples and dyes."""
    dyes_of: dict[str, list[str]] = {}
    for sample, dye in dict.fromkeys(pairs):
        dyes_of.setdefault(sample, []).append(dye)
    groups: dict[tuple[str, ...], list[str]] = {}
    for sample, dyes in dyes_of.items():
        groups.setdefault(tuple(dyes), []).append(sample)
    return [(samples, list(dyes)) for dyes, samples in groups.items()]
