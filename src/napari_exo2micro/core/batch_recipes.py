"""Recipes of batches: the same run as Python code or as a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_exo2micro.core.recipes import (
    changed_params,
    changed_settings,
    literal,
    option_words,
    shell_line,
)

__all__ = ["batch_as_command_line", "batch_as_python"]

Pairs = Sequence[tuple[str, str]]


def batch_as_command_line(
    pairs: Pairs,
    *,
    raw_dir: str | Path,
    output_dir: str | Path,
    executor: str = "pool",
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
    elif executor != "pool":
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
    executor: str = "pool",
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
        arguments["parallel"] = True if executor == "pool" else executor
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
