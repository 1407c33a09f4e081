"""Docstrings: their examples run, and public ones tell all that a caller needs."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpydoc.docscrape import FunctionDoc
from numpydoc.validate import validate

from napari_exo2micro import core
from napari_exo2micro.core.simulate import simulate_section, write_pair

MODULES = sorted(
    found.name for found in pkgutil.walk_packages(core.__path__, f"{core.__name__}.")
)
#: Packages whose front door is public beside the names of `core`.
PACKAGES = ("core.raw", "core.simulate")

#: Of numpydoc's rules, those about what a caller must know.
RULES = {
    "GL08": "no docstring",
    "PR01": "parameters are not documented",
    "PR02": "parameters that do not exist",
    "PR03": "parameters in another order",
    "PR04": "no type",
    "PR07": "no description",
    "RT01": "no Returns",
    "RT03": "no description of what is returned",
    "SS01": "no summary",
}
#: Whoever documents some parameters documents all of them, private module or not.
RULES_EVERYWHERE = {"PR01", "PR02", "PR03"}
#: But for a monitor: `Monitor` tells once what it is to every function.
MONITOR = "PR01 Parameters {'monitor'} not documented"


def own_methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    homes = [home for home in cls.__mro__ if home.__module__.startswith("napari_exo")]
    members = {name: m for home in reversed(homes) for name, m in vars(home).items()}
    for name, member in members.items():
        if isinstance(member, (classmethod, staticmethod)):
            member = member.__func__
        if inspect.isfunction(member) and (not name.startswith("_")):
            yield f"{cls.__name__}.{name}", member
        if name == "__call__":
            yield f"{cls.__name__}.{name}", member


def with_methods(objects: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in objects.items():
        if inspect.isclass(value):
            found[name] = value
            found |= dict(own_methods(value))
        elif inspect.isfunction(value):
            found[name] = value
    return found


PUBLIC = with_methods({name: getattr(core, name) for name in core.__all__})
for package in PACKAGES:
    home = import_module(f"napari_exo2micro.{package}")
    PUBLIC |= with_methods(
        {name: it for name, it in vars(home).items() if not name.startswith("_")}
    )


def shortcomings(value: Any) -> list[str]:
    """Return what numpydoc's rules find amiss in a docstring."""
    path = f"{value.__module__}.{value.__qualname__}"
    errors = validate(path)["errors"]
    documented = " ".join(inspect.getdoc(value) or "")
    found = []
    for code, text in errors:
        if code == "PR01" and inspect.isclass(value):
            # A record tells its fields as attributes; an exception or a list of
            # states is made by nobody else.
            if issubclass(value, (BaseException, Enum)):
                continue
            if dataclasses.is_dataclass(value):
                text = undocumented_fields(value)
                if not text:
                    continue
        found.append(f"{code} {text}")
    assert documented or found
    return found


def undocumented_fields(cls: type) -> str:
    doc = FunctionDoc(cls, doc=inspect.getdoc(cls))
    sections = (*doc["Attributes"], *doc["Parameters"])
    told = {name.strip() for entry in sections for name in entry.name.split(",")}
    return ", ".join(
        field.name
        for field in dataclasses.fields(cls)
        if field.name not in told and not field.name.startswith("_")
    )


def test_public_names_are_many() -> None:
    assert {"SampleDye", "SampleDye.run", "Transform.__call__"} <= set(PUBLIC)
    assert len(PUBLIC) > 100


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_docstring_tells_parameters_and_results(name: str) -> None:
    wrong = [text for text in shortcomings(PUBLIC[name]) if text[:4] in RULES]
    assert not wrong


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_docstring_tells_what_is_raised(name: str) -> None:
    value = PUBLIC[name]
    if not inspect.isfunction(value):
        return
    told = {entry.type for entry in FunctionDoc(value)["Raises"]}
    told |= {base for text in told for base in families(text)}
    assert raised_by(value) <= told


def families(name: str) -> set[str]:
    """Return the names of all errors that are kinds of this one."""
    base = getattr(core, name, None)
    if not (inspect.isclass(base) and issubclass(base, Exception)):
        return set()
    values = (getattr(core, other) for other in core.__all__)
    return {v.__name__ for v in values if inspect.isclass(v) and issubclass(v, base)}


def raised_by(function: Callable[..., Any]) -> set[str]:
    """Return the names of the errors that a function itself raises.

    What it raises for itself, inside a ``try``, is left out.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.Try)
        for statement in block.body
        for node in ast.walk(statement)
    }
    calls = (
        node.exc.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and id(node) not in guarded
    )
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("module", MODULES)
def test_documented_parameters_are_those_of_the_function(module: str) -> None:
    home = import_module(module)
    names = {
        name: value
        for name, value in vars(home).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module
    }
    for name, value in with_methods(names).items():
        if inspect.isclass(value) or not FunctionDoc(value)["Parameters"]:
            continue
        wrong = {t for t in shortcomings(value) if t[:4] in RULES_EVERYWHERE}
        if name not in PUBLIC:
            wrong.discard(MONITOR)
        assert not wrong, f"{module}.{name}: {wrong}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the raw images that examples speak of."""
    made = tmp_path_factory.mktemp("doctests")
    pair = simulate_section((500, 560), seed=5, angle_deg=4.0, shift=(12.0, -9.0))
    for dye in ("DAPI", "SybrGld"):
        write_pair(pair, made / "raw", "CD070", dye)
    return made


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in (core.__name__, *MODULES):
        module = import_module(name)
        # A module's names are there already; np is what all examples use.
        globs = {**vars(module), "np": np}
        found += [t for t in finder.find(module, globs=globs) if t.examples]
    return found


EXAMPLES = examples()


def test_most_ways_into_the_core_have_an_example() -> None:
    names = {example.name.rpartition(".")[2] for example in EXAMPLES}
    assert {
        "Monitor",
        "SampleDye",
        "Transform",
        "build_suffix",
        "estimate_scale",
        "refine_interior_sift",
        "register_highorder",
        "run_batch",
        "simulate_section",
        "warp_window",
    } <= names


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_of_a_docstring_runs(
    example: doctest.DocTest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)
