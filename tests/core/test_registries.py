"""Registries: built-in entries, those of packages and those of a script."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from napari_exo2micro.core import registries
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.registries import (
    Registry,
    refuse_unknown_here,
    registered_here,
)


@dataclass(frozen=True)
class Filter:
    name: str
    width: int = 1


@dataclass
class Package:
    name: str


class Point:
    """An entry point of an installed package."""

    value = "somebody.filters:one"

    def __init__(self, package: str, name: str, found: Any) -> None:
        self.dist, self.name, self._found = Package(package), name, found

    def load(self) -> Any:
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found() if callable(self._found) else self._found


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Point]]:
    points: list[Point] = []

    def entry_points(*, group: str) -> list[Point]:
        return points if group == "mine.filters" else []

    monkeypatch.setattr(registries, "entry_points", entry_points)
    yield points
    registries._REGISTRIES.pop("filter", None)


@pytest.fixture
def make(installed: list[Point]) -> Callable[..., Registry[str, Filter]]:
    def made(**more: Any) -> Registry[str, Filter]:
        registry: Registry[str, Filter]

        def check(entry: Filter) -> None:
            if entry.name in registry:
                raise ParameterError(f"'{entry.name}' is taken")

        registry = Registry(
            "filter",
            "mine.filters",
            key=lambda entry: entry.name,
            built_in=(Filter("box"),),
            check=check,
            **more,
        )
        return registry

    return made


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the registries log as warnings."""
    texts: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    handler = Collect(logging.WARNING)
    registries.logger.addHandler(handler)
    yield texts
    registries.logger.removeHandler(handler)


def test_packages_come_in_the_order_of_their_names_and_before_a_script(
    installed, make
) -> None:
    installed += [
        Point("zeta", "a", Filter("of zeta")),
        Point("Alpha", "z", Filter("second")),
        Point("alpha", "b", (Filter("first"), Filter("first too"))),
    ]
    registry = make()
    registry.add(Filter("script's"))
    assert list(registry) == [
        "box",
        "first",
        "first too",
        "second",
        "of zeta",
        "script's",
    ]
    assert registry.of_script == ("script's",)


def test_a_built_in_entry_is_had_without_looking_at_packages(installed, make) -> None:
    looked: list[str] = []
    installed.append(Point("p", "n", lambda: looked.append("loaded") or Filter("n")))
    registry = make()
    assert registry["box"].width == 1
    assert "box" in registry
    assert not looked
    assert "n" in registry
    assert len(registry) == 2
    assert looked == ["loaded"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ImportError("no module named x"), "ImportError: no module named x"),
        (SystemExit(3), "SystemExit: 3"),
        (Filter("box"), "'box' is taken"),
        (42, "AttributeError"),
    ],
)
def test_what_cannot_be_used_is_told_and_left_out(
    installed, make, told, found, reason
) -> None:
    installed += [Point("bad", "theirs", found), Point("good", "n", Filter("n"))]
    registry = make()
    assert list(registry) == ["box", "n"]
    (text,) = told
    assert text.startswith("the filter 'theirs' of bad (somebody.filters:one) is left")
    assert reason in text
    assert reason in registry.problems["theirs"]


def test_of_two_packages_with_one_name_the_first_by_name_is_taken(
    installed, make, told
) -> None:
    installed += [Point("b", "n", Filter("n", 2)), Point("a", "n", Filter("n", 1))]
    assert make()["n"].width == 1
    (text,) = told
    assert "of b " in text


def test_entries_that_have_an_order_come_in_it(installed, make, told) -> None:
    installed += [
        Point("a", "late", Filter("late", 9)),
        Point("b", "early", Filter("early", 3)),
        Point("c", "none", object()),
    ]
    registry = make(order=lambda entry: entry.width)
    assert list(registry) == ["box", "early", "late"]
    assert len(told) == 1


def test_a_module_may_register_when_it_is_imported(installed, make) -> None:
    entry = Filter("own")
    registry = make()
    installed.append(Point("p", "own", lambda: registry.add(entry)))
    assert list(registry) == ["box", "own"]
    assert registry.of_script == ()


def test_a_view_follows(installed, make) -> None:
    registry = make()
    widths = registry.view(lambda entry: entry.width)
    registry.add(Filter("wide", 7))
    assert dict(widths) == {"box": 1, "wide": 7}
    registry.remove("wide")
    assert "wide" not in widths


def test_another_process_tells_what_it_does_not_know(installed, make) -> None:
    registry = make()
    registry.add(Filter("mine"))
    wanted = registered_here()
    assert wanted["filter"] == ("mine",)
    refuse_unknown_here(wanted)
    registry.remove("mine")
    assert "filter" not in registered_here()
    with pytest.raises(ParameterError, match=r"the filter 'mine' was registered where"):
        refuse_unknown_here({"filter": ("mine",)})
    with pytest.raises(ParameterError, match=r"the mixer 'x' .* entry point"):
        refuse_unknown_here({"mixer": ("x",)})
